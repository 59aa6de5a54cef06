"""Outlines put right by the pose: only those of persons whose face and joints are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from anonymizer.redraw.closeups import reshaped
from anonymizer.types import JOINTS, Instance, Pose

BOX = np.array([10, 10, 110, 110], np.float32)
FACE = Instance(2, "face", np.array([50, 20, 70, 50], np.float32), np.ones((30, 20), bool), parent=1)


def person(outline: np.ndarray) -> Instance:
    return Instance(1, "person", BOX, np.ones((100, 100), bool), source="yolo", core=outline)


def pose() -> Pose:
    points, visible = np.full((len(JOINTS), 2), 500, np.float32), np.zeros(len(JOINTS), np.float32)
    for name, place in {"nose": (60, 38), "left_shoulder": (85, 65), "right_shoulder": (35, 65)}.items():
        points[JOINTS.index(name)], visible[JOINTS.index(name)] = place, 1
    return Pose(points, visible)


def test_a_close_up_gains_limbs_and_loses_what_is_no_limb() -> None:
    outline = np.zeros((100, 100), bool)
    outline[:, :50] = True
    (made, face) = reshaped((person(outline), FACE), {1: pose()})
    assert face is FACE
    assert made.outline[75, 60] and not outline[75, 60]
    assert not made.outline[5, 2] and outline[5, 2]
    assert made.mask.all() and (made.box == BOX).all()


def test_others_keep_their_outline() -> None:
    outline = np.ones((100, 100), bool)
    outline[:, :30] = False
    one = person(outline)
    assert reshaped((one, FACE), {}) == (one, FACE)
    assert reshaped((one, replace(FACE, parent=None)), {1: pose()})[0] is one
    given = replace(one, source="given")
    assert reshaped((given, FACE), {1: pose()})[0] is given


def test_a_pose_that_leaves_little_of_an_outline_does_not_count() -> None:
    outline = np.zeros((100, 100), bool)
    outline[:12, :20] = True
    one = person(outline)
    nowhere = Pose(pose().points - 400, pose().visible)
    far = replace(FACE, box=np.array([0, 0, 4, 6], np.float32), mask=np.ones((6, 4), bool))
    assert reshaped((one, far), {1: nowhere})[0] is one


def test_a_standing_person_loses_only_what_is_too_far_from_the_head() -> None:
    box = np.array([10, 10, 60, 410], np.float32)
    face = replace(FACE, box=np.array([25, 30, 45, 56], np.float32), mask=np.ones((26, 20), bool))
    whole = Instance(1, "person", box, np.ones((400, 50), bool), source="yolo")
    points = pose().points.copy()
    for name, place in {"nose": (35, 44), "left_shoulder": (50, 75), "right_shoulder": (20, 75)}.items():
        points[JOINTS.index(name)] = place
    (made, _) = reshaped((whole, face), {1: Pose(points, pose().visible)})
    assert not made.outline[0, 0] and made.outline[34, 25] and made.outline[60:].all()
