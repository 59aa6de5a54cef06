"""The pose network's wrapper: what it hands to the network and how it reads what comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from anonymizer.condition.maps import conditions_of
from anonymizer.condition.pose import CROP, PoseNet, peaks
from anonymizer.errors import ModelError, StageError
from anonymizer.types import JOINTS, Instance, Pose


def network(path: Path, output: str = "places") -> Path:
    """A network whose maps are the mask, reduced, for every joint, and whose visibilities are the mean of red."""
    joints = len(JOINTS)
    nodes = [
        helper.make_node("Split", ["person", "parts"], ["rgb", "mask"], axis=1),
        helper.make_node("AveragePool", ["mask"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Expand", ["small", "wide"], [output]),
        helper.make_node("Slice", ["rgb", "zero", "one", "axis"], ["red"]),
        helper.make_node("ReduceMean", ["red"], ["light"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["light", "axis"], ["column"]),
        helper.make_node("Expand", ["column", "row"], ["visible"]),
    ]
    sizes = {"parts": [3, 1], "wide": [1, joints, 48, 36], "zero": [0], "one": [1], "axis": [1], "row": [1, joints]}
    initial = [helper.make_tensor(n, TensorProto.INT64, [len(v)], v) for n, v in sizes.items()]
    graph = helper.make_graph(
        nodes,
        "pose",
        [helper.make_tensor_value_info("person", TensorProto.FLOAT, ["n", 4, CROP[1], CROP[0]])],
        [
            helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", joints, 48, 36]),
            helper.make_tensor_value_info("visible", TensorProto.FLOAT, ["n", joints]),
        ],
        initial,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def person(number: int, x: float, y: float) -> Instance:
    """A person 60 wide and 90 high of whose mask only a spot of 3 x 3 around (x, y) of the box is set."""
    mask = np.zeros((90, 60), bool)
    mask[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = True
    return Instance(number, "person", np.array([20, 10, 80, 100], np.float32), mask)


def test_joints_come_back_in_the_pictures_pixels(tmp_path: Path) -> None:
    net = PoseNet(network(tmp_path / "pose.onnx"))
    image = np.zeros((120, 100, 3), np.uint8)
    image[..., 0] = 51
    spots = [(10, 20), (50, 80), (30, 45)] * 4
    poses = net.estimate(image, [person(n, *spot) for n, spot in enumerate(spots, start=1)])
    for pose, (x, y) in zip(poses, spots, strict=True):
        assert np.abs(pose.points - (20 + x + 0.5, 10 + y + 0.5)).max() < 1.5
        assert np.allclose(pose.visible, 0.2, atol=0.01)
    assert net.estimate(image, []) == ()


def test_peaks_are_found_between_cells_and_other_peaks_do_not_draw() -> None:
    maps = np.zeros((2, 48, 36), np.float32)
    maps[0, 10, 20], maps[0, 10, 21], maps[0, 40, 3] = 0.5, 0.5, 0.3
    maps[1, 0, 0] = 1
    found = peaks(maps) * (36, 48)
    assert np.allclose(found, [(21.0, 10.5), (0.5, 0.5)])


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'places', 'visible'"):
        PoseNet(network(tmp_path / "other.onnx", "heat"))
    with pytest.raises(ModelError, match="pose"):
        PoseNet(tmp_path / "missing.onnx")


class Flat:
    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def estimate(self, image: np.ndarray, instances: tuple[Instance, ...]) -> np.ndarray:
        return np.zeros(self.size, np.float32)

    def detect(self, image: np.ndarray) -> np.ndarray:
        return np.zeros(self.size, np.float32)


class Poses:
    def estimate(self, image: np.ndarray, persons: list[Instance]) -> tuple[Pose, ...]:
        joints = len(JOINTS)
        return tuple(Pose(np.full((joints, 2), p.id, np.float32), np.ones(joints, np.float32)) for p in persons)


def test_conditions_hold_the_poses_of_persons_only() -> None:
    image = np.zeros((120, 100, 3), np.uint8)
    face = Instance(3, "face", np.array([1, 1, 5, 5], np.float32), np.ones((4, 4), bool))
    flat = Flat((120, 100))
    made = conditions_of(image, (person(7, 5, 5), face), flat, flat, Poses())
    assert set(made.poses) == {7} and made.poses[7].points[0, 0] == 7
    assert conditions_of(image, (face,), flat, flat, Poses()).poses == {}
    assert conditions_of(image, (person(7, 5, 5),), flat, flat).poses == {}
    with pytest.raises(StageError, match="maps of"):
        conditions_of(image, (), Flat((60, 50)), Flat((60, 50)))
