"""Packages of extras: one line names what is missing and how to get it."""

import sys
from importlib import metadata
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from anonymizer.cli import doctor
from anonymizer.core.errors import ModelError
from anonymizer.detect.faces import ScrfdDetector
from anonymizer.evaluation.runner import Settings, evaluate
from anonymizer.models.convert import yolo_to_onnx
from anonymizer.models.third_party import single_blas


def test_a_detector_of_insightface_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "insightface.model_zoo.scrfd", None)
    with pytest.raises(ModelError, match=r"scrfd: expected the package .*pip install 'anonymizer\[hub\]'"):
        ScrfdDetector(tmp_path / "scrfd.onnx")


def test_a_conversion_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics.engine.exporter", None)
    with pytest.raises(ModelError, match=r"a\.pt: expected the package .*pip install 'anonymizer\[hub\]'"):
        yolo_to_onnx(tmp_path / "a.pt", tmp_path / "a.onnx")


def test_an_evaluation_says_at_once_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ModelError, match=r"evaluate: expected the package sklearn.*anonymizer\[evaluate\]"):
        evaluate(tmp_path, tmp_path, tmp_path / "out", Settings())


def test_the_doctor_notes_missing_extras_and_leaves_out_those_for_development(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["numpy>=1", 'absent-one>=2; extra == "hub"', "absent-two>=2; extra == 'test'"]
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    found = {check.name: check for check in doctor._packages()}
    assert set(found) == {"numpy", "absent-one"}
    assert found["absent-one"].level == "note" and "anonymizer[hub]" in found["absent-one"].detail


def test_products_of_matrices_keep_to_one_thread_until_the_last_block_ends() -> None:
    def threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    with threadpool_limits(limits=2, user_api="blas"):
        before = threads()
        first, second = single_blas(), single_blas()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert before and set(threads()) == {1}
        second.__exit__(None, None, None)
        assert threads() == before
