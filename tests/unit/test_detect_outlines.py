"""The outline network's wrapper: what it hands to the network and what it makes of what comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from anonymizer.core.errors import ModelError
from anonymizer.core.geometry import full_mask, outline_box, outlined
from anonymizer.core.records import FaceView, Instance, PersonView
from anonymizer.detect.outlines import CROP, OutlineDetector
from anonymizer.detect.regions import ellipse, is_sketch

SIZE = (200, 150)
#: A red person before grey.
TRUTH = np.zeros(SIZE, bool)
TRUTH[40:160, 60:100] = True


class Found:
    def __init__(self, *instances: Instance) -> None:
        self.instances = instances

    def detect(self, image: np.ndarray) -> tuple[Instance, ...]:
        return self.instances


def network(path: Path, output: str = "outline", channel: int = 0) -> Path:
    """A network that takes a channel (0: red; 3: the outline handed in), at half the size, for the outline."""
    nodes = [
        helper.make_node("Slice", ["person", "first", "last", "axis"], ["one"]),
        helper.make_node("AveragePool", ["one"], ["small"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Squeeze", ["small", "axis"], [output]),
    ]
    sizes = {"first": [channel], "last": [channel + 1], "axis": [1]}
    graph = helper.make_graph(
        nodes,
        "outlines",
        [helper.make_tensor_value_info("person", TensorProto.FLOAT, ["n", 4, CROP[1], CROP[0]])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", CROP[1] // 2, CROP[0] // 2])],
        [helper.make_tensor(n, TensorProto.INT64, [1], v) for n, v in sizes.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def picture() -> np.ndarray:
    image = np.full((*SIZE, 3), (20, 90, 90), np.uint8)
    image[TRUTH] = (240, 30, 30)
    return image


def person(number: int = 1, shift: int = 0) -> Instance:
    """Somebody whose outline misses the feet and a strip at the right and takes in one at the left."""
    core = np.zeros((114, 60), bool)
    core[5:, 8:48] = True
    mask = core.copy()
    mask[:, :50] = True
    return Instance(number, "person", np.array([48 + shift, 36, 108 + shift, 150], np.float32), mask, core=core)


def test_the_outline_is_drawn_anew_and_what_is_treated_only_grows(tmp_path: Path) -> None:
    face = Instance(2, "face", np.array([70, 42, 90, 62], np.float32), np.ones((20, 20), bool), parent=1)
    detector = OutlineDetector(Found(person(), face), network(tmp_path / "outlines.onnx"))
    found, same = detector.detect(picture())
    assert same is face
    drawn = full_mask(outlined(found), SIZE)
    assert (drawn & TRUTH).sum() / (drawn | TRUTH).sum() > 0.95
    treated = full_mask(found, SIZE)
    assert not (full_mask(person(), SIZE) & ~treated).any() and not (drawn & ~treated).any()
    assert np.array_equal(found.seen, person().seen)


def test_an_outline_of_something_else_is_left(tmp_path: Path) -> None:
    beside = person(shift=-30)
    detector = OutlineDetector(Found(beside), network(tmp_path / "outlines.onnx"))
    assert detector.detect(picture())[0] is beside


def test_the_network_sees_the_outline_found_before(tmp_path: Path) -> None:
    many = tuple(person(n) for n in range(1, 12))
    detector = OutlineDetector(Found(*many), network(tmp_path / "outlines.onnx", channel=3))
    for old, new in zip(many, detector.detect(np.full((*SIZE, 3), 99, np.uint8)), strict=True):
        before, after = (full_mask(outlined(i), SIZE) for i in (old, new))
        assert (before & after).sum() / (before | after).sum() > 0.9


def test_a_person_beyond_the_border_keeps_to_the_picture(tmp_path: Path) -> None:
    image = picture()[40:, 60:]
    core = np.ones((110, 40), bool)
    cut = Instance(1, "person", np.array([0, 0, 40, 110], np.float32), core, core=core)
    (found,) = OutlineDetector(Found(cut), network(tmp_path / "outlines.onnx")).detect(image)
    drawn = full_mask(outlined(found), image.shape[:2])
    assert (drawn & TRUTH[40:, 60:]).sum() / (drawn | TRUTH[40:, 60:]).sum() > 0.95
    assert found.box.min() >= 0 and (found.box[2:] <= (90, 160)).all()


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="output 'outline'"):
        OutlineDetector(Found(), network(tmp_path / "other.onnx", "mask"))
    with pytest.raises(ModelError, match="outlines"):
        OutlineDetector(Found(), tmp_path / "missing.onnx")


def box_of(number: int = 1) -> Instance:
    """The same person as a box alone."""
    box = np.array([52, 36, 108, 164], np.float32)
    return Instance(number, "person", box, ellipse(box), 0.4, "centernet")


class Pose:
    """Sees whoever is asked for, with the left half of the true person."""

    def __init__(self, presence: float) -> None:
        self.presence = presence

    def look(self, image: np.ndarray, boxes: np.ndarray) -> tuple[PersonView, ...]:
        height, width = SIZE
        left = TRUTH & (np.arange(width) < 90)
        mask = cv2.resize(left.astype(np.float32), (256, 256))
        points = np.zeros((33, 3), np.float32)
        flat = np.ones(33, np.float32)
        return tuple(PersonView(points, flat, flat, points, (0, 0, width, height), mask, self.presence) for _ in boxes)


def test_who_is_known_as_a_box_is_drawn_inside_it(tmp_path: Path) -> None:
    (found,) = OutlineDetector(Found(box_of()), network(tmp_path / "outlines.onnx")).detect(picture())
    drawn = full_mask(outlined(found), SIZE)
    assert (drawn & TRUTH).sum() / (drawn | TRUTH).sum() > 0.9
    assert not is_sketch(found) and found.signs["centernet"] == pytest.approx(0.4)
    grey = np.full((*SIZE, 3), (20, 90, 90), np.uint8)
    (missed,) = OutlineDetector(Found(box_of()), network(tmp_path / "outlines.onnx")).detect(grey)
    assert is_sketch(missed)


def test_given_boxes_are_segmented_or_refused(tmp_path: Path) -> None:
    detector = OutlineDetector(Found(), network(tmp_path / "outlines.onnx"))
    there, nowhere = detector.segment(picture(), np.array([[52, 36, 108, 164], [2, 2, 40, 30]], np.float32))
    assert there is not None and not there.boxed and nowhere is None


@pytest.mark.parametrize(("presence", "draws"), [(0.9, True), (0.5, False)])
def test_blazepose_draws_who_it_sees_well_and_its_view_travels_on(tmp_path: Path, presence: float, draws: bool) -> None:
    detector = OutlineDetector(Found(person()), network(tmp_path / "outlines.onnx"), pose=Pose(presence))
    (found,) = detector.detect(picture())
    assert found.body is not None and found.body.presence == presence
    right = full_mask(outlined(found), SIZE)[60:140, 94:99]
    assert bool(right.any()) is not draws


class Mesh:
    """Sees every face it is asked for."""

    def look(self, image: np.ndarray, boxes: np.ndarray) -> tuple[FaceView, ...]:
        return tuple(FaceView(np.full((478, 3), box[0], np.float32), 0.5) for box in boxes)


def test_the_surface_of_faces_travels_on(tmp_path: Path) -> None:
    face = Instance(2, "face", np.array([70, 42, 90, 62], np.float32), np.ones((20, 20), bool), parent=1)
    detector = OutlineDetector(Found(person(), face), network(tmp_path / "outlines.onnx"), mesh=Mesh())
    found = detector.detect(picture())[1]
    assert found.face is not None and found.face.points[0, 0] == 70 and found.body is None


class Looks(Pose):
    """Remembers what it was shown, and sees its own box."""

    def __init__(self, presence: float = 0.9) -> None:
        super().__init__(presence)
        self.seen: list[tuple[np.ndarray, np.ndarray]] = []

    def look(self, image: np.ndarray, boxes: np.ndarray) -> tuple[PersonView, ...]:
        self.seen += [(image, box) for box in boxes]
        corner = np.concatenate([boxes[0][:2], [0]])
        return tuple(
            replace(view, landmarks=view.landmarks + corner.astype(np.float32)) for view in super().look(image, boxes)
        )


def test_who_is_cut_off_is_seen_again_as_a_whole_and_alone(tmp_path: Path) -> None:
    box = np.array([70, 42, 90, 66], np.float32)
    face = Instance(2, "face", box, np.ones((24, 20), bool), score=0.9, parent=1)
    near = Instance(3, "person", np.array([90, 60, 130, 140], np.float32), np.tri(80, 40, dtype=np.bool_))
    pose = Looks()
    detector = OutlineDetector(Found(person(), face, near), network(tmp_path / "outlines.onnx"), pose=pose, mesh=Mesh())
    found = detector.detect(picture())[0]
    part, seen = pose.seen[-1]
    height = float(seen[3] - seen[1])
    # Seven and a half heights of the face, from the top of the person on.
    assert height == pytest.approx(7.5 * 24) and found.body is not None
    assert (part == 127).all(2).sum() > 0.5 * near.mask.sum(), "the other one is grey"
    # What it saw in a part of the picture lies where it does in the picture.
    top = float(min(box[1], outline_box(found)[1]))
    assert found.body.landmarks[0, 1] == pytest.approx(top, abs=2)


def test_who_shows_whole_is_seen_once(tmp_path: Path) -> None:
    face = Instance(2, "face", np.array([74, 42, 84, 52], np.float32), np.ones((10, 10), bool), score=0.9, parent=1)
    pose = Looks()
    OutlineDetector(Found(person(), face), network(tmp_path / "outlines.onnx"), pose=pose, mesh=Mesh()).detect(
        picture()
    )
    assert len(pose.seen) == 1


def test_who_is_seen_doubtfully_is_seen_from_farther_away(tmp_path: Path) -> None:
    pose = Looks(0.2)
    OutlineDetector(Found(person()), network(tmp_path / "outlines.onnx"), pose=pose, mesh=Mesh()).detect(picture())
    heights = [float(box[3] - box[1]) for _, box in pose.seen]
    assert len(heights) == 2 and heights[1] == pytest.approx(1.6 * heights[0])


def test_seen_once_masks_are_the_same_and_nobody_is_seen_again(tmp_path: Path) -> None:
    class Counting(Pose):
        views = 0

        def look(self, image: np.ndarray, boxes: np.ndarray) -> tuple[PersonView, ...]:
            self.views += len(boxes)
            return super().look(image, boxes)

    pose = Counting(0.3)
    detector = OutlineDetector(Found(person()), network(tmp_path / "outlines.onnx"), pose=pose)
    (twice,) = detector.detect(picture())
    assert pose.views == 2
    (once,) = detector.once().detect(picture())
    assert pose.views == 3
    assert np.array_equal(once.mask, twice.mask) and np.array_equal(once.box, twice.box)
    assert np.array_equal(once.outline, twice.outline)
    detector.detect(picture())
    assert pose.views == 5, "the detector itself goes on as before"


def test_without_a_network_blazepose_draws_who_it_sees_well() -> None:
    (drawn,) = OutlineDetector(Found(person()), None, pose=Pose(0.9)).detect(picture())
    (kept,) = OutlineDetector(Found(person()), None, pose=Pose(0.5)).detect(picture())
    assert not full_mask(outlined(drawn), SIZE)[60:140, 94:99].any()
    assert np.array_equal(kept.outline, person().outline) and kept.body is not None
