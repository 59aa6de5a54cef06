"""Detectors that look for what a run missed: who is independent of it, and who is not here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from anonymizer.core.records import Image, Instance
from anonymizer.evaluation import detectors
from anonymizer.evaluation.attacks import leak
from anonymizer.evaluation.detectors import HaarPlateDetector, HogPersonDetector, LeakDetector, choose_detectors
from anonymizer.evaluation.records import Finding, Subject
from anonymizer.models import weights

from .attack_fakes import Scene


def test_who_took_part_in_the_run_is_not_independent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detectors, "HogPersonDetector", Nothing)
    found, missing = choose_detectors({"detector": weights.digest("detector")})
    by_name = {detector.name: detector for detector in found}
    assert by_name["embedded"].independent == ()
    assert by_name["dlib-frontal"].independent == ("face",)
    assert by_name["opencv-hog"].independent == ("person",)
    assert "yolo26m-seg (detector)" in {item.name for item in missing} or "yolo26m-seg" in by_name
    found, _ = choose_detectors({"centerface": weights.digest("centerface")})
    assert found[0].independent == ("person", "license_plate")
    found, _ = choose_detectors(None)
    assert found[0].independent == ()


class Nothing:
    def detect(self, image: Image) -> tuple[Instance, ...]:
        return ()


@pytest.mark.parametrize("make", [HogPersonDetector, HaarPlateDetector])
def test_opencv_5_has_no_classifiers_and_says_so(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOGDescriptor", "CascadeClassifier"):
        monkeypatch.delattr(cv2, name, raising=False)
    with pytest.raises(detectors.ModelError, match="OpenCV 4 has"):
        make()


def test_hog_windows_lose_their_margin_and_stay_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Image] = []

    class Hog:
        def setSVMDetector(self, detector: object) -> None:  # noqa: N802 - OpenCV's name
            assert detector == "people"

        def detectMultiScale(self, image: Image, *options: Any) -> tuple[Any, Any]:  # noqa: N802
            seen.append(image)
            return ((10, 20, 100, 200), (150, 0, 100, 200), (0, 0, 100, 200)), np.array([[1.0], [9.0], [0.4]])

    monkeypatch.setattr(cv2, "HOGDescriptor", Hog, raising=False)
    monkeypatch.setattr(cv2, "HOGDescriptor_getDefaultPeopleDetector", lambda: "people", raising=False)
    red = np.zeros((240, 200, 3), np.uint8)
    red[..., 0] = 255
    first, second = HogPersonDetector().detect(red)
    assert seen[0][0, 0].tolist() == [0, 0, 255]
    assert first.label == "person" and first.box.tolist() == [25, 36, 95, 204] and first.score == 0.5
    assert second.box.tolist() == [165, 16, 200, 184] and second.score == 1.0


def test_nothing_found_by_hog_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hog = SimpleNamespace(setSVMDetector=lambda d: None, detectMultiScale=lambda *a: ((), ()))
    monkeypatch.setattr(cv2, "HOGDescriptor", lambda: hog, raising=False)
    monkeypatch.setattr(cv2, "HOGDescriptor_getDefaultPeopleDetector", lambda: None, raising=False)
    assert HogPersonDetector().detect(np.zeros((200, 200, 3), np.uint8)) == ()


def test_haar_boxes_below_the_threshold_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = np.array([[10, 10, 40, 12], [60, 60, 40, 12]])
    cascade = SimpleNamespace(
        empty=lambda: False, detectMultiScale3=lambda *a, **k: (boxes, None, np.array([3.0, 1.0]))
    )
    monkeypatch.setattr(cv2, "CascadeClassifier", lambda path: cascade, raising=False)
    monkeypatch.setattr(cv2.data, "haarcascades", "/none/", raising=False)
    (plate,) = HaarPlateDetector().detect(np.zeros((100, 120, 3), np.uint8))
    assert plate.label == "license_plate" and plate.box.tolist() == [10, 10, 50, 22]


class Sees:
    """Finds a person in the picture's middle."""

    def detect(self, image: Image) -> tuple[Instance, ...]:
        box = np.array([40, 40, 80, 100], np.float32)
        return (Instance(1, "person", box, np.ones((60, 40), np.bool_), 0.9, "sees"),)


def release(image: Image, subjects: Sequence[Subject]) -> Image:
    out = image.copy()
    out[:30, :30] = 0
    return out


@pytest.mark.parametrize("independent", [True, False])
def test_leaks_are_found_and_the_finding_names_who_looked(tmp_path: Path, independent: bool) -> None:
    scene = Scene()
    noise = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    scene.add("a.png", noise, Subject("a.png", 0, "person", np.array([0, 0, 30, 30], np.float32)))
    context = scene.context(tmp_path, ("person",), release)
    detector = LeakDetector(
        "sees", ("person",), ("person",) if independent else (), Sees(), "sees what is in the middle"
    )
    object.__setattr__(context, "detectors", (detector,))
    (found,) = leak.run(context)
    assert isinstance(found, Finding)
    assert found.counts == {"known": 1, "known_leaked": 0, "detected_leaked": 1, "detected_leaked_by_sees": 1}
    assert found.judge is independent
    assert "sees sees what is in the middle" in found.notes
    assert found.recognizer == ("sees" if independent else "sees (part of the run)")
    assert any("no detector that is independent" in note for note in found.notes) is not independent


class SeesLarge:
    """Finds persons that are at least 40 pixels wide, wherever they were put."""

    def detect(self, image: Image) -> tuple[Instance, ...]:
        if not image[:, :60].any():
            return ()
        box = np.array([0, 0, 60, 60], np.float32)
        return (Instance(1, "person", box, np.ones((60, 60), np.bool_), 0.9, "large"),)


def test_recall_of_independent_detectors_stands_beside_the_leaks_by_size_and_group(tmp_path: Path) -> None:
    scene = Scene()
    noise = np.random.default_rng(0).integers(1, 256, (120, 120, 3), dtype=np.uint8)
    large, small = np.array([0, 0, 60, 60], np.float32), np.array([90, 90, 110, 110], np.float32)
    for name in ("a.png", "b.png"):
        one = Subject(name, 0, "person", large, group="adult")
        other = Subject(name, 1, "person", small, group="child")
        scene.add(name, noise, one, other)

    def hide_large(image: Image, subjects: Sequence[Subject]) -> Image:
        out = image.copy()
        out[:60, :60] = 0
        return out

    context = scene.context(tmp_path, ("person",), hide_large)
    own = LeakDetector("own", ("person",), (), SeesLarge())
    object.__setattr__(context, "detectors", (LeakDetector("large", ("person",), ("person",), SeesLarge()), own))
    (found,) = leak.run(context)
    assert isinstance(found, Finding)
    values = {name: estimate.value for name, estimate in found.estimates.items()}
    assert values["recall"] == 0.5 and values["recall_of_large"] == 0.5
    assert values["recall_32-64px"] == 1.0 and values["recall_16-32px"] == 0.0 and values["recall_0-16px"] is None
    assert values["leak_rate_32-64px"] == 0.0 and values["leak_rate_16-32px"] == 1.0
    assert "recall_of_own" not in values  # it took part in the run
    groups = {name: {k: e.value for k, e in group.items()} for name, group in found.groups.items()}
    assert groups == {"adult": {"leak_rate": 0.0, "recall": 1.0}, "child": {"leak_rate": 1.0, "recall": 0.0}}


def test_without_an_independent_detector_there_is_no_recall(tmp_path: Path) -> None:
    scene = Scene()
    noise = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    scene.add("a.png", noise, Subject("a.png", 0, "person", np.array([0, 0, 30, 30], np.float32)))
    context = scene.context(tmp_path, ("person",), release)
    object.__setattr__(context, "detectors", (LeakDetector("sees", ("person",), (), Sees()),))
    (found,) = leak.run(context)
    assert isinstance(found, Finding) and found.estimates["recall"].value is None
    assert "no independent detector" in found.estimates["recall"].reason
