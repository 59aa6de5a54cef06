"""Skeletons: what was not seen is put where it usually lies, what was seen stays."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from anonymizer.redraw.skeleton import FACE, TORSO, skeleton
from anonymizer.types import JOINTS, InputError, Pose

BOX = np.array([20, 10, 60, 110], np.float32)


def pose(**joints: tuple[float, float]) -> Pose:
    """The joints named were seen, all others lie far off and were not."""
    points, visible = np.full((len(JOINTS), 2), 500, np.float32), np.zeros(len(JOINTS), np.float32)
    for name, place in joints.items():
        points[JOINTS.index(name)], visible[JOINTS.index(name)] = place, 1
    return Pose(points, visible)


SHOULDERS = {"left_shoulder": (50.0, 30.0), "right_shoulder": (30.0, 30.0)}


def test_joints_that_were_seen_stay() -> None:
    body = skeleton(pose(**SHOULDERS, left_elbow=(58, 40), left_hip=(46, 60), right_hip=(34, 60)), BOX, None)
    assert body is not None and body.frontal
    assert body.seen == {*SHOULDERS, "left_elbow", "left_hip", "right_hip"}
    assert (body.points["left_elbow"] == (58, 40)).all() and (body.points["left_hip"] == (46, 60)).all()


def test_hidden_limbs_hang_down_from_what_was_seen() -> None:
    body = skeleton(pose(**SHOULDERS), BOX, None)
    assert body is not None
    for side, sign in (("left", 1), ("right", -1)):
        arm = [body.points[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist", "hand")]
        leg = [body.points[f"{side}_{name}"] for name in ("hip", "knee", "ankle", "toe")]
        for chain in (arm, leg):
            assert all(upper[1] < lower[1] for upper, lower in pairwise(chain))
        assert sign * (arm[0][0] - 40) > 0 and sign * (leg[0][0] - 40) > 0
    assert body.middle("hip")[1] == pytest.approx(30 + TORSO * body.head, abs=1)


def test_a_face_alone_is_enough_and_measures_the_head() -> None:
    face = np.array([32, 12, 48, 32], np.float32)
    body = skeleton(pose(), BOX, face)
    assert body is not None and body.frontal
    assert body.head == pytest.approx(20 / FACE)
    assert body.points["left_shoulder"][0] > 48 and body.points["right_shoulder"][0] < 32
    assert body.middle("shoulder")[1] > 32


def test_without_shoulders_and_face_there_is_no_skeleton() -> None:
    assert skeleton(pose(left_knee=(40, 80)), BOX, None) is None


def test_a_back_and_a_nose_among_the_limbs_have_no_face() -> None:
    facing = skeleton(pose(**SHOULDERS, nose=(40, 20)), BOX, None)
    assert facing is not None
    box = facing.face()
    assert box is not None and box[0] < 40 < box[2] and box[1] < 20 < box[3]
    turned = {"left_shoulder": (30.0, 30.0), "right_shoulder": (50.0, 30.0)}
    for seen in (pose(**turned, nose=(40, 20)), pose(**SHOULDERS), pose(**SHOULDERS, nose=(40, 50))):
        body = skeleton(seen, BOX, None)
        assert body is not None and body.face() is None


def test_a_skeleton_moves_as_a_whole() -> None:
    body = skeleton(pose(**SHOULDERS), BOX, None)
    assert body is not None
    moved = body.moved(-5, 7)
    assert all(np.allclose(moved.points[name], body.points[name] + (-5, 7)) for name in JOINTS)


def test_joints_on_one_spot_are_no_fault() -> None:
    body = skeleton(pose(left_shoulder=(40, 30), right_shoulder=(40, 30)), BOX, None)
    assert body is not None and all(np.isfinite(point).all() for point in body.points.values())


def test_other_numbers_of_joints_are_refused() -> None:
    with pytest.raises(InputError, match="pose"):
        Pose(np.zeros((4, 2), np.float32), np.zeros(4, np.float32))


def test_a_nose_beside_the_ears_makes_a_profile() -> None:
    ears = {"left_ear": (60, 20), "right_ear": (62, 20), "left_shoulder": (64, 40), "right_shoulder": (58, 40)}
    for nose, side in ((50, -1), (72, 1), (61, 0)):
        body = skeleton(pose(nose=(nose, 22), **ears), np.array([40, 10, 80, 200], np.float32), None)
        assert body is not None and body.profile() == side
        assert (body.face() is None) == (side != 0)


def test_without_ears_no_profile_is_guessed() -> None:
    shoulders = {"left_shoulder": (64, 40), "right_shoulder": (58, 40)}
    body = skeleton(pose(nose=(40, 22), **shoulders), np.array([40, 10, 80, 200], np.float32), None)
    assert body is not None and body.profile() == 0
