"""The CenterNet backend against a network of constants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from anonymizer.core.errors import InputError, ModelError
from anonymizer.detect.centernet import CenterNetDetector, decode

PERSON, BICYCLE, CAR, BACKPACK = 0, 1, 2, 24


def network(path: Path, rows: list[tuple[float, ...]], output: str = "detections") -> Path:
    """Write an ONNX file that gives these detections, whatever it is shown."""
    constants = [
        numpy_helper.from_array(np.array([rows], np.float32), "rows"),
        numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
    ]
    nodes = [
        helper.make_node("ReduceMax", ["image"], ["top"], keepdims=0),
        helper.make_node("Mul", ["top", "zero"], ["nothing"]),
        helper.make_node("Add", ["rows", "nothing"], [output]),
    ]
    graph = helper.make_graph(
        nodes,
        "fake",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 512, 512, 3])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, len(rows), 6])],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


#: The network sees this at half its size, with 128 rows of grey above and below.
PICTURE = np.zeros((512, 1024, 3), np.uint8)


def test_boxes_return_to_the_picture_and_one_person_counts_once(tmp_path: Path) -> None:
    rows = [(100, 148, 150, 248, 0.9, PERSON), (102, 150, 152, 250, 0.8, PERSON), (300, 148, 350, 248, 0.2, PERSON)]
    found = CenterNetDetector(network(tmp_path / "net.onnx", rows), {"person": 0.15}).detect(PICTURE)
    assert [(i.id, i.label, i.source, round(i.score, 2)) for i in found] == [
        (1, "person", "centernet", 0.9),
        (2, "person", "centernet", 0.2),
    ]
    assert found[0].box.tolist() == [200, 40, 300, 240]
    assert found[0].mask.shape == (200, 100) and 0.7 < found[0].mask.mean() < 0.85


def test_classes_and_thresholds_are_those_asked_for(tmp_path: Path) -> None:
    rows = [
        (100, 148, 150, 248, 0.9, PERSON),
        (100, 148, 150, 248, 0.8, BICYCLE),
        (300, 148, 350, 248, 0.6, CAR),
        (400, 148, 450, 248, 0.3, CAR),
        (200, 148, 250, 248, 0.9, BACKPACK),
    ]
    model = network(tmp_path / "net.onnx", rows)
    found = CenterNetDetector(model, {"person": 0.5, "vehicle": 0.5}).detect(PICTURE)
    assert [i.source for i in found] == ["centernet", "centernet:bicycle", "centernet:car"]
    assert [i.label for i in CenterNetDetector(model, {"vehicle": 0.2}).detect(PICTURE)] == ["vehicle"] * 3


def test_boxes_are_clipped_and_what_is_broken_is_dropped(tmp_path: Path) -> None:
    rows = [
        (-20, 100, 40, 248, 0.9, PERSON),
        (60, 148, 50, 248, 0.9, PERSON),
        (np.nan, 148, 150, 248, 0.9, PERSON),
        (1, 1, 5, 5, 0.9, PERSON),  # In the grey above the picture.
        (100, 148, 150, 248, 0.9, 80),
    ]
    (person,) = CenterNetDetector(network(tmp_path / "net.onnx", rows), {"person": 0.15}).detect(PICTURE)
    assert person.box.tolist() == [0, 0, 80, 240]


def test_decode_leaves_the_networks_output_as_it_is() -> None:
    rows = np.array([[10, 30, 20, 50, 0.5, 0]], np.float32)
    assert decode(rows, (0.5, 0.25), (4, 6))[0, :4].tolist() == [12, 96, 32, 176]
    assert rows[0, 0] == 10


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected classes among person, vehicle, got face"):
        CenterNetDetector(tmp_path / "missing.onnx", {"face": 0.5})
    with pytest.raises(ModelError, match="centernet"):
        CenterNetDetector(tmp_path / "missing.onnx", {"person": 0.5})
    other = network(tmp_path / "other.onnx", [(0, 0, 1, 1, 0, 0)], output="boxes")
    with pytest.raises(ModelError, match="detections"):
        CenterNetDetector(other, {"person": 0.5})
