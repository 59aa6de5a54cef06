"""BlazePose's and FaceMesh's windows and decoding, against networks of constants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from anonymizer.core.errors import InputError, ModelError
from anonymizer.detect.blazepose import LANDMARKS, BlazePose, decode, square_windows
from anonymizer.detect.facemesh import FaceMesh

IMAGE = np.full((400, 600, 3), 128, np.uint8)
BOXES = np.array([[100, 100, 180, 300], [400, 50, 500, 90]], np.float32)


def network(path: Path, source: str, side: int, outputs: dict[str, np.ndarray]) -> Path:
    """Write an ONNX file that gives the same outputs for each of a batch, whatever it is shown."""
    constants = [numpy_helper.from_array(np.zeros(1, np.float32), "zero")]
    nodes = [
        helper.make_node("ReduceMax", [source], ["top"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Mul", ["top", "zero"], ["nothing4"]),
        helper.make_node("Squeeze", ["nothing4", "last_axes"], ["nothing2"]),
        helper.make_node("Squeeze", ["nothing4", "last_axis"], ["nothing3"]),
    ]
    constants += [
        numpy_helper.from_array(np.array([2, 3]), "last_axes"),
        numpy_helper.from_array(np.array([3]), "last_axis"),
    ]
    infos = []
    for name, value in outputs.items():
        constants.append(numpy_helper.from_array(value.astype(np.float32)[None], f"{name}_value"))
        nodes.append(helper.make_node("Add", [f"{name}_value", f"nothing{value.ndim + 1}"], [name]))
        infos.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *value.shape]))
    shown = helper.make_tensor_value_info(source, TensorProto.FLOAT, ["N", side, side, 3])
    graph = helper.make_graph(nodes, "fake", [shown], infos, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def person_outputs() -> dict[str, np.ndarray]:
    landmarks = np.zeros((39, 5))
    landmarks[:, 0], landmarks[:, 1], landmarks[:, 2] = 64, 128, -32
    landmarks[:, 3], landmarks[:, 4] = 0, 1000
    world = np.tile([0.1, -0.2, 0.3], (39, 1))
    mask = np.zeros((256, 256, 1))
    mask[:, :128] = 1
    return {"landmarks": landmarks.ravel(), "world": world.ravel(), "mask": mask, "presence": np.array([0.75])}


def test_windows_are_squares_a_quarter_larger_than_the_box() -> None:
    assert square_windows(BOXES, 0.125) == [(15, 75, 265, 325), (388, 8, 513, 133)]
    assert square_windows(np.zeros((0, 4), np.float32), 0.125) == []


@pytest.mark.parametrize("boxes", [[[5, 5, 5, 9]], [[0, 0, np.nan, 9]], [0, 0, 5, 5]])
def test_boxes_that_show_nobody_are_refused(boxes: list[list[float]]) -> None:
    with pytest.raises(InputError, match="boxes"):
        square_windows(np.array(boxes, np.float32), 0.125)


def test_each_box_gives_one_person_in_picture_pixels(tmp_path: Path) -> None:
    model = network(tmp_path / "net.onnx", "person", 256, person_outputs())
    views = BlazePose(model).look(IMAGE, BOXES)
    assert len(views) == 2
    for view, box in zip(views, BOXES, strict=True):
        x1, y1, x2, y2 = view.window
        side = x2 - x1
        assert side == y2 - y1 == round(1.25 * max(box[2] - box[0], box[3] - box[1]))
        assert view.landmarks.shape == (len(LANDMARKS), 3) == (33, 3)
        assert np.allclose(view.landmarks, [x1 + side / 4, y1 + side / 2, -side / 8])
        assert np.allclose(view.visibility, 0.5) and np.allclose(view.inside, 1)
        assert np.allclose(view.world, [0.1, -0.2, 0.3])
        assert view.mask.shape == (256, 256) and view.mask.dtype == np.float32
        assert (view.mask[:, :128] == 1).all() and (view.mask[:, 128:] == 0).all()
        assert view.presence == 0.75
    assert BlazePose(model).look(IMAGE, np.zeros((0, 4), np.float32)) == ()


def test_left_and_right_are_the_persons_own_in_the_order_of_the_network() -> None:
    outputs = person_outputs()
    points = outputs["landmarks"].reshape(39, 5)
    points[:, 0] = np.arange(39)
    view = decode((0, 0, 256, 256), points.ravel(), *(outputs[name] for name in ("world", "mask", "presence")))
    assert view.landmarks[LANDMARKS.index("left_hip"), 0] == 23 and view.landmarks[-1, 0] == 32


def test_a_face_is_moved_to_the_picture(tmp_path: Path) -> None:
    points = np.tile([48.0, 96.0, 19.2], (478, 1))
    model = network(tmp_path / "net.onnx", "face", 192, {"points": points, "presence": np.array([0.25])})
    for view, box in zip(FaceMesh(model).look(IMAGE, BOXES), BOXES, strict=True):
        side = round(1.25 * max(box[2] - box[0], box[3] - box[1]))
        assert view.points.shape == (478, 3) and view.confidence == 0.25
        assert view.points[0, 2] == pytest.approx(side / 10)
        assert np.abs(view.points[0, :2] - (box[:2] + box[2:]) / 2 - [-side / 4, 0]).max() <= 1


def test_numbers_that_are_not_finite_and_other_networks_are_refused(tmp_path: Path) -> None:
    outputs = person_outputs()
    outputs["presence"][:] = np.nan
    with pytest.raises(ModelError, match="finite"):
        BlazePose(network(tmp_path / "nan.onnx", "person", 256, outputs)).look(IMAGE, BOXES)
    faces = {"points": np.full((478, 3), np.inf), "presence": np.array([0.25])}
    with pytest.raises(ModelError, match="finite"):
        FaceMesh(network(tmp_path / "inf.onnx", "face", 192, faces)).look(IMAGE, BOXES)
    with pytest.raises(ModelError, match="blazepose: expected input 'person'"):
        BlazePose(tmp_path / "inf.onnx")
    with pytest.raises(ModelError, match="facemesh: expected input 'face'"):
        FaceMesh(tmp_path / "nan.onnx")
