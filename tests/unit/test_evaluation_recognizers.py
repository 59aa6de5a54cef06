"""Who judges: licences are accepted explicitly, and who verified a run is no judge of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from anonymizer.core.errors import InputError, ModelError
from anonymizer.evaluation.recognizers import PACKS, choose, open_recognizer
from anonymizer.models import weights


def network(path: Path, value: float = 1.0) -> Path:
    """Write an ONNX network of ArcFace's shape: the mean of each channel, times a value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nodes = [
        helper.make_node("ReduceMean", ["data"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "value"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor("value", TensorProto.FLOAT, [1], [value])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture(autouse=True)
def _empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ANONYMIZER_MODELS", str(tmp_path / "models"))


def test_a_file_is_named_hashed_and_used(tmp_path: Path) -> None:
    path = network(tmp_path / "mine.onnx")
    found = open_recognizer(str(path), {}, False)
    assert (found.name, found.label, found.judge) == ("mine", "face", True)
    assert found.sha256 == weights.file_sha256(path)
    image = np.full((60, 60, 3), (255, 128, 128), np.uint8)
    vector = found.embed(image, np.array([10, 10, 50, 50], np.float32), None, None)
    assert vector.shape == (3,) and vector[0] > 0.99


def test_who_verified_the_run_is_no_judge(tmp_path: Path) -> None:
    path = network(tmp_path / "mine.onnx")
    assert not open_recognizer(str(path), {"some-model": weights.file_sha256(path)}, False).judge
    assert open_recognizer("dlib", {}, False).judge
    assert not open_recognizer("dlib", {"dlib-face": weights.digest("dlib-face")}, False).judge


def test_packs_under_other_licences_need_a_yes(tmp_path: Path) -> None:
    network(tmp_path / "home" / ".insightface" / "models" / "buffalo_l" / PACKS["buffalo_l"].file)
    with pytest.raises(ModelError, match="forbids commercial use; add --accept-noncommercial"):
        open_recognizer("buffalo_l", {}, False)
    accepted = open_recognizer("buffalo_l", {}, True)
    assert accepted.name == "buffalo_l" and "non-commercial" in accepted.licence


def test_auraface_is_used_as_it_was_fetched_and_pinned(tmp_path: Path) -> None:
    path = network(tmp_path / "cache" / "anonymizer" / "models" / "auraface" / "glintr100.onnx")
    with pytest.raises(ModelError, match="no sha256 is recorded"):
        open_recognizer("auraface", {}, False)
    record = weights.FileRecord(path.name, weights.file_sha256(path), path.stat().st_size)
    weights.write_lock("auraface", weights.Lock("abc", (record,)))
    found = open_recognizer("auraface", {}, False)
    assert (found.licence, found.sha256) == ("Apache-2.0", record.sha256)


def test_what_is_missing_says_what_to_fetch() -> None:
    with pytest.raises(ModelError, match=r"w600k_mbf.onnx not found.*release v0.7.*non-commercial"):
        open_recognizer("buffalo_s", {}, True)
    with pytest.raises(ModelError, match="anonymizer models fetch auraface"):
        open_recognizer("auraface", {}, False)
    with pytest.raises(ModelError, match="expected an ONNX file there"):
        open_recognizer("nothing.onnx", {}, False)
    with pytest.raises(InputError, match="expected dlib, auraface, buffalo_l, buffalo_s, antelopev2, or the path"):
        open_recognizer("facenet", {}, False)


def test_without_names_everybody_at_hand_takes_part_and_the_others_are_listed() -> None:
    found, missing = choose((), {}, False)
    assert [recognizer.name for recognizer in found] == ["dlib"]
    assert [gone.name for gone in missing] == ["auraface", *PACKS] and all(gone.reason for gone in missing)


def test_one_network_twice_is_refused(tmp_path: Path) -> None:
    first, second = network(tmp_path / "a" / "same.onnx"), network(tmp_path / "b" / "same.onnx", 2.0)
    with pytest.raises(InputError, match="two have the same name"):
        choose((str(first), str(second)), {}, False)
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(first.read_bytes())
    with pytest.raises(InputError, match="two have the same sha256"):
        choose((str(first), str(copy)), {}, False)
