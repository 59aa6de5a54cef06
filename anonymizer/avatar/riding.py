"""Riding: somebody on a bicycle, pelvis on the saddle, hands at the grips, feet on the pedals.

Coordinates as of a stance: x right in the picture, y away from the camera, z up. The posture is that of the bicycle's
kind and of the body that was drawn; of the person only the heading enters, and where the head turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.bicycle import Bicycle, moved
from anonymizer.avatar.body import Body, Shape
from anonymizer.avatar.mesh import about, unit
from anonymizer.avatar.stance import (
    ACROSS_HIPS,
    ACROSS_SHOULDERS,
    HEAD_LEFT,
    HEAD_UP,
    ROWS,
    TRUNK_UP,
    Stance,
    rotations,
)

__all__ = ["Mounted", "heading_of", "mount"]

Floats = NDArray[np.float32]

#: Length of a leg from hip to ankle in metres for which a bicycle is of middle size, and limits of sizes: wheels of 20
#: inches for children.
LEG, SIZES = 0.84, (0.6, 1.12)
#: Proportion of a leg's length that is stretched when its pedal is down, and how far a saddle's post can be moved in
#: metres.
STRETCHED, POST = 0.96, (-0.12, 0.16)
#: Hip joints above the saddle's top, and behind its post, in metres: half of a pelvis.
HIP_ABOVE, HIP_BEHIND = 0.095, 0.065
#: Proportion of an arm's length up to which it reaches for the grips without a further lean; lean in radians by a metre
#: that lacks, and its limit.
REACH, LEAN, BOWED = 0.93, 2.0, 0.95
#: Middle of a foot's ball above the pedal in metres, with the sole of a shoe.
SOLE = 0.045
#: Directions of a sole and of a hand before the rider.
FOOT, HAND = (0.0, -0.985, -0.17), (0.0, -0.9, -0.43)
#: Where knees and elbows of the left side point.
KNEE, ELBOW = (0.12, -1.0, 0.2), (0.6, 0.25, -0.75)
#: Rounds in which limbs are bent until hands and feet lie where they belong: each moves the girdle a little.
ROUNDS = 6
#: Largest angle in radians by which riders turn their head from where they ride, as seen; and trust from which that is
#: believed.
LOOKED, SEEN = 0.9, 0.6
#: Length and width in metres of a bicycle with its rider's hands, and its height, of middle size.
LENGTH, WIDTH, HEIGHT = 1.75, 0.6, 1.08
#: Proportion by which boxes that detectors draw are wider or narrower than what they hold.
BOXED = 0.08
#: Bones of the limbs: where they begin, bend and end, and what has to lie at grip or pedal.
ARM, LEGS = ("upperarm01", "lowerarm01", "wrist"), ("upperleg01", "lowerleg01", "foot")


@dataclass(frozen=True, slots=True, eq=False)
class Mounted:
    """Somebody on a bicycle.

    Args:
        stance: Directions of the rider.
        transforms: float32 (B, 3, 4), of the rider's bones.
        bicycle: What is ridden.
        vertices: float32 (V, 3) of its mesh, in the rider's coordinates.
    """

    stance: Stance
    transforms: Floats
    bicycle: Bicycle
    vertices: Floats


def heading_of(turn: Floats, width: float, height: float, pitch: float) -> Floats:
    """Return the rotation (3, 3) about the vertical to where somebody rides.

    How wide a bicycle's box is for its height tells how far it is seen from the side, the pose to which side and
    whether from behind, and which it is of angles that fit the box.

    Args:
        turn: float32 (3, 3), where the person faces, see ``stance.facing``.
        width: Of the bicycle's box.
        height: Of it.
        pitch: Sine of the angle by which the camera looks down: it sees a bicycle higher that points to it.
    """
    angles = np.linspace(0, np.pi / 2, 46)
    widths = LENGTH * np.sin(angles) + WIDTH * np.cos(angles)
    ratios = widths / (HEIGHT + pitch * LENGTH * np.cos(angles))
    off = np.abs(ratios / (width / height) - 1)
    cosine, sine = (float(v) for v in turn[:2, 0])
    likely = angles[off <= max(float(off.min()), BOXED)]
    angle = float(likely[np.abs(likely - np.arctan2(abs(sine), abs(cosine))).argmin()])
    c, s = np.copysign(np.cos(angle), cosine), np.copysign(np.sin(angle), sine)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], np.float32)


def mount(body: Body, shape: Shape, bicycle: Bicycle, seen: Stance, turn: Floats, pitch: float) -> Mounted:
    """Return a body that rides a bicycle.

    Args:
        body: The body.
        shape: Its shape.
        bicycle: What is ridden.
        seen: Directions of the person: where the head looks.
        turn: float32 (3, 3), rotation about the vertical from facing the camera to where it rides.
        pitch: Sine of the angle by which the camera looks down: wheels that are farther away stand higher.
    """
    heads = shape.heads

    def length(names: tuple[str, str, str]) -> float:
        points = np.stack([heads[body.number(f"{name}.L")] for name in names])
        return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())

    leg, arm = length(LEGS), length(ARM)
    size = float(np.clip(leg / LEG, *SIZES))
    kind = bicycle.frame.kind
    axle = np.array([0, 0, kind.bracket * size])
    along = np.array([0, np.cos(kind.seat), np.sin(kind.seat)])
    ball = heads[body.number("foot.L")] - heads[body.number("toe2-1.L")]
    ankle = axle + np.array([0, 0, -0.17 * size + SOLE]) + np.array([0, ball[1], ball[2]])
    posts = np.linspace(*POST, 29)
    hips = axle + ((kind.saddle + posts) * size)[:, None] * along + np.array([0, HIP_BEHIND, HIP_ABOVE])
    post = float(posts[np.abs(np.linalg.norm(hips - ankle, axis=1) - STRETCHED * leg).argmin()])
    points, pedals = moved(bicycle, post, size)
    hip = axle + (kind.saddle + post) * size * along + np.array([0, HIP_BEHIND, HIP_ABOVE])
    before, above, aside = (size * value for value in kind.grip)
    grips = np.array([(aside, -before, above + 0.015), (-aside, -before, above + 0.015)], np.float32)
    rows, transforms = _bent(
        body, shape, _Aims(hip.astype(np.float32), grips, pedals, kind.lean, REACH * arm), seen, turn
    )
    seen_down = np.array([[1, 0, 0], [0, 1, 0], [0, pitch, 1]], np.float32) @ turn
    stance = Stance((rows @ turn.T).astype(np.float32), np.ones(len(ROWS), np.float32), seen.gaze)
    vertices = (points @ seen_down.T).astype(np.float32)
    return Mounted(stance, (seen_down @ transforms).astype(np.float32), bicycle, vertices)


def _upright(lean: float, seen: Stance, turn: Floats) -> Floats:
    """Return directions (17, 3) of a rider's trunk and head, facing the camera."""
    rows = np.tile(np.array([0, 0, -1], np.float32), (len(ROWS), 1))
    rows[TRUNK_UP] = 0, -np.sin(lean), np.cos(lean)
    rows[[ACROSS_HIPS, ACROSS_SHOULDERS, HEAD_LEFT]] = 1, 0, 0
    # Who leans forwards still looks ahead, and a little down on the road.
    rows[HEAD_UP] = 0, -np.sin(0.1 + 0.15 * lean), np.cos(0.1 + 0.15 * lean)
    if seen.trust[HEAD_LEFT] >= SEEN:
        across = seen.rows[HEAD_LEFT] @ turn
        aside = float(np.clip(np.arctan2(across[1], across[0]), -LOOKED, LOOKED))
        rows[[HEAD_LEFT, HEAD_UP]] = rows[[HEAD_LEFT, HEAD_UP]] @ about(np.array([0, 0, 1], np.float32), aside).T
    return rows


@dataclass(frozen=True, slots=True, eq=False)
class _Aims:
    """Where a rider's parts belong.

    Args:
        hip: float32 (3,), the middle of the hip joints.
        grips, pedals: float32 (2, 3), palms and tops of pedals, left and right.
        lean: The trunk's angle from upright, as long as the arms reach.
        arm: How far they do in metres.
    """

    hip: Floats
    grips: Floats
    pedals: Floats
    lean: float
    arm: float


def _bent(body: Body, shape: Shape, aims: _Aims, seen: Stance, turn: Floats) -> tuple[Floats, Floats]:
    """Return a rider's directions (17, 3), facing the camera, and bones' transforms (B, 3, 4)."""
    root, lean = shape.heads[0], aims.lean
    rows = _upright(lean, seen, turn)
    for side in "LR":
        rows[ROWS.index(f"foot.{side}")] = unit(np.array(FOOT, np.float32))
        rows[ROWS.index(f"hand.{side}")] = unit(np.array(HAND, np.float32))
    certain = np.ones(len(rows), np.float32)
    for _ in range(ROUNDS):
        transforms = body.transforms(shape, rotations(Stance(rows, certain), body, shape), root)
        at = np.einsum("bij,bj->bi", transforms[:, :, :3], shape.heads) + transforms[:, :, 3]

        def joint(name: str, at: Floats = at) -> Floats:
            return np.asarray(at[body.number(name)], np.float32)

        shift = aims.hip - (joint("upperleg01.L") + joint("upperleg01.R")) / 2
        root = root + shift
        lacks = 0.0
        for k, side in enumerate("LR"):
            mirror = np.array([1 - 2 * k, 1, 1], np.float32)
            palm = (joint(f"wrist.{side}") + 2 * joint(f"finger3-1.{side}")) / 3
            grip = aims.grips[k] - shift + joint(f"wrist.{side}") - palm
            pedal = aims.pedals[k] - shift + joint(f"foot.{side}") - joint(f"toe2-1.{side}")
            pedal[2] += SOLE
            for names, rest, end, pole in ((ARM, "arm", grip, ELBOW), (LEGS, "leg", pedal, KNEE)):
                start, middle, tip = (joint(f"{name}.{side}") for name in names)
                upper, lower = float(np.linalg.norm(middle - start)), float(np.linalg.norm(tip - middle))
                ways = _reach(start, end, upper, lower, np.array(pole, np.float32) * mirror)
                rows[[ROWS.index(f"upper{rest}.{side}"), ROWS.index(f"lower{rest}.{side}")]] = ways
                if names is ARM:
                    lacks = max(lacks, float(np.linalg.norm(end - start)) - aims.arm)
        if lacks > 0 and lean < BOWED:
            lean = min(lean + LEAN * lacks, BOWED)
            trunk = [TRUNK_UP, HEAD_LEFT, HEAD_UP]
            rows[trunk] = _upright(lean, seen, turn)[trunk]
    return rows, body.transforms(shape, rotations(Stance(rows, certain), body, shape), root)


def _reach(start: Floats, end: Floats, upper: float, lower: float, pole: Floats) -> tuple[Floats, Floats]:
    """Return the directions of a limb's two bones from its start towards an end, bent towards ``pole``."""
    line = end - start
    far = float(np.clip(np.linalg.norm(line), abs(upper - lower) + 1e-3, upper + lower - 1e-3))
    way = unit(line)
    aside = unit(pole - way * float(pole @ way))
    cosine = (upper**2 + far**2 - lower**2) / (2 * upper * far)
    bend = way * cosine + aside * float(np.sqrt(max(1 - cosine**2, 0.0)))
    return unit(bend.astype(np.float32)), unit((way * far - bend * upper).astype(np.float32))
