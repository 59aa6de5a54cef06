"""The YOLO backend against a network of constants: one known candidate per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from anonymizer.core.errors import InputError, ModelError
from anonymizer.detect.yolo import YoloSegDetector, letterbox

#: Input of the fake network for a picture of 320 x 640 pixels seen at 320: (160 + 0) x 320.
CELLS = (40, 80)


def network(path: Path, rows: list[list[float]], protos: np.ndarray, sides: tuple[str | int, ...] = ("h", "w")) -> Path:
    """Write an ONNX file that gives these candidates and prototypes, whatever it is shown."""
    table = np.array(rows, np.float32).T[None]  # (N, 39) -> (1, 39, N)
    zero = numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    constants = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(protos[None], "protos"), zero]
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["top"], keepdims=0),
        helper.make_node("Mul", ["top", "zero"], ["nothing"]),
        helper.make_node("Add", ["table", "nothing"], ["output0"]),
        helper.make_node("Add", ["protos", "nothing"], ["output1"]),
    ]
    graph = helper.make_graph(
        nodes,
        "fake",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *sides])],
        [
            helper.make_tensor_value_info("output0", TensorProto.FLOAT, list(table.shape)),
            helper.make_tensor_value_info("output1", TensorProto.FLOAT, [1, *protos.shape]),
        ],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def row(box: tuple[float, float, float, float], scores: tuple[float, float, float], first: float = 1.0) -> list[float]:
    return [*box, *scores, first, *[0.0] * 31]


def left_half() -> np.ndarray:
    protos = np.zeros((32, *CELLS), np.float32)
    protos[0] = -1
    protos[0, :, :40] = 1
    return protos


THRESHOLDS = {"person": 0.3, "face": 0.3, "license_plate": 0.3}


def test_letterbox_is_centred_and_a_multiple_of_32() -> None:
    out, scale_x, scale_y, left, top = letterbox(np.full((100, 300, 3), 7, np.uint8), 160)
    assert out.shape == (64, 160, 3)
    assert (left, top) == (0, 5)
    assert scale_x == pytest.approx(160 / 300) and scale_y == pytest.approx(53 / 100)
    assert (out[:5] == 114).all() and (out[5:58] == 7).all() and (out[58:] == 114).all()


def test_letterbox_is_a_square_for_a_network_of_one_size() -> None:
    out, scale_x, scale_y, left, top = letterbox(np.full((300, 100, 3), 7, np.uint8), 160, square=True)
    assert out.shape == (160, 160, 3)
    assert (left, top) == (53, 0)
    assert scale_x == pytest.approx(53 / 100) and scale_y == pytest.approx(160 / 300)
    assert (out[:, :53] == 114).all() and (out[:, 53:106] == 7).all() and (out[:, 106:] == 114).all()


def test_a_network_of_one_size_sees_a_square_and_plates_can_carry_its_mask(tmp_path: Path) -> None:
    # The square has 80 rows of grey above; the mask is positive left of x = 160 there, 320 in the picture.
    protos = np.zeros((32, 80, 80), np.float32)
    protos[0], protos[0, :, :40] = -1, 1
    table = [[160, 160, 40, 20, 0.9, 1.0, *[0.0] * 31]]
    model = network(tmp_path / "net.onnx", table, protos, sides=(320, 320))
    image, options = np.zeros((320, 640, 3), np.uint8), {"classes": ("plate",), "labels": {"plate": "license_plate"}}
    (plain,) = YoloSegDetector(model, {"license_plate": 0.3}, sizes=(320,), **options).detect(image)
    assert plain.core is None and plain.source == "yolo:plate"
    assert (plain.box[:2] + plain.box[2:]).tolist() == [640, 320]
    (plate,) = YoloSegDetector(model, {"license_plate": 0.3}, sizes=(320,), plate_outlines=True, **options).detect(
        image
    )
    assert plate.core is not None and plate.mask.all()
    half = plate.core.shape[1] // 2
    assert plate.core[:, : half - 1].all() and not plate.core[:, half + 1 :].any()
    with pytest.raises(InputError, match="fixed input"):
        YoloSegDetector(model, {"license_plate": 0.3}, sizes=(320, 640), **options)


def test_boxes_and_masks_return_to_the_picture(tmp_path: Path) -> None:
    # Network pixels are half of the picture's. The mask is positive left of x = 160 there, 320 in the picture.
    rows = [row((150, 60, 60, 80), (0.9, 0, 0)), row((152, 60, 60, 80), (0.8, 0, 0))]
    model = network(tmp_path / "net.onnx", rows, left_half())
    (person,) = YoloSegDetector(model, THRESHOLDS, sizes=(320,)).detect(np.zeros((320, 640, 3), np.uint8))
    assert person.label == "person" and person.score == pytest.approx(0.9)
    assert person.box.tolist() == [240, 40, 360, 200]
    assert person.mask[:, :78].all() and not person.mask[:, 82:].any()


def test_classes_do_not_suppress_each_other_and_faces_and_plates_are_filled(tmp_path: Path) -> None:
    box = (240, 60, 40, 20)
    rows = [row(box, (0.9, 0, 0)), row(box, (0, 0.8, 0)), row(box, (0, 0, 0.7)), row(box, (0.2, 0.2, 0.2))]
    model = network(tmp_path / "net.onnx", rows, left_half())
    person, face, plate = YoloSegDetector(model, THRESHOLDS, sizes=(320,)).detect(np.zeros((320, 640, 3), np.uint8))
    assert (person.label, face.label, plate.label) == ("person", "face", "license_plate")
    assert person.mask.all(), "an empty mask becomes the whole box"
    assert face.mask.mean() == pytest.approx(np.pi / 4, abs=0.03)
    assert plate.mask.all() and plate.box[0] < 440 and plate.box[3] > 140


def test_only_classes_with_a_threshold_are_reported(tmp_path: Path) -> None:
    model = network(tmp_path / "net.onnx", [row((100, 60, 40, 20), (0.9, 0.9, 0.9))], left_half())
    found = YoloSegDetector(model, {"face": 0.5}, sizes=(320,)).detect(np.zeros((320, 640, 3), np.uint8))
    assert [i.label for i in found] == ["face"]


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    model = network(tmp_path / "net.onnx", [row((100, 60, 40, 20), (0.9, 0, 0))], left_half())
    with pytest.raises(InputError, match="cat"):
        YoloSegDetector(model, {"cat": 0.5})
    with pytest.raises(InputError, match="size"):
        YoloSegDetector(model, THRESHOLDS, sizes=(8,))
    with pytest.raises(ModelError, match="none"):
        YoloSegDetector(tmp_path / "missing.onnx", THRESHOLDS)
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="readable"):
        YoloSegDetector(tmp_path / "broken.onnx", THRESHOLDS)
    with pytest.raises(ModelError, match="channels"):
        YoloSegDetector(model, {"person": 0.3}, classes=("person",)).detect(np.zeros((64, 64, 3), np.uint8))


def test_two_looks_at_one_object_are_one_instance(tmp_path: Path) -> None:
    model = network(tmp_path / "net.onnx", [row((150, 60, 60, 80), (0.9, 0, 0))], left_half())
    image = np.zeros((320, 640, 3), np.uint8)
    once = YoloSegDetector(model, THRESHOLDS, sizes=(320,)).detect(image)
    twice = YoloSegDetector(model, THRESHOLDS, sizes=(320, 320)).detect(image)
    assert [(i.id, i.label, i.box.tolist()) for i in twice] == [(i.id, i.label, i.box.tolist()) for i in once]
