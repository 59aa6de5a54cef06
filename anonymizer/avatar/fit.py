"""Fit of a body to a person's pose: directions of limbs, then scale and place.

Of the person only directions of limbs and head, one scale and the place enter, never lengths of limbs. What is not
seen takes the pose of somebody who stands, and does not count for scale and place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.body import Body, Shape
from anonymizer.avatar.mesh import unit
from anonymizer.types import PersonView

__all__ = ["Fit", "fit", "headed"]

Floats = NDArray[np.float32]

#: BlazePose's landmarks used here; pairs are the person's left and right.
NOSE, EARS, SHOULDERS, ELBOWS, WRISTS, KNUCKLES = 0, (7, 8), (11, 12), (13, 14), (15, 16), (19, 20)
HIPS, KNEES, ANKLES, HEELS, TOES = (23, 24), (25, 26), (27, 28), (29, 30), (31, 32)
#: Visibility below which a landmark counts for nothing, and from which it counts fully.
UNSEEN, SEEN = 0.25, 0.65
#: Values of the person's mask between which a landmark begins to count, and how near it must be, as a share of the
#: window.
MASKED, NEAR = (0.2, 0.6), 0.02
#: How far hips count without knees, and knees without ankles.
ALONE = 0.15
#: Directions of limbs of somebody who stands (left side; x is mirrored for the right), in the trunk's frame: upper
#: and lower arm, upper and lower leg.
STANDING = {
    "upperarm": (0.16, 0.05, -1),
    "lowerarm": (0.08, -0.2, -1),
    "upperleg": (0.06, 0, -1),
    "lowerleg": (0, 0, -1),
}
#: Joints that place the body: landmarks, the bones whose heads they are, and their weight. Ends of the body count most:
#: feet stand where they stood, and what is between has lengths of its own.
PLACED = (
    *((SHOULDERS, "upperarm01", 1.0), (ELBOWS, "lowerarm01", 0.5), (WRISTS, "wrist", 0.4)),
    *((HIPS, "upperleg01", 1.0), (KNEES, "lowerleg01", 0.7), (ANKLES, "foot", 1.5)),
)
#: Weight of nose and ears, and COCO's numbers of them.
HEAD_WEIGHT, HEAD_JOINTS = 1.0, (0, 3, 4)
#: Least summed weight and number of seen joints of a fit, and least share of an upright body's height between them.
LEAST_WEIGHT, LEAST_JOINTS, LEAST_SPAN = 2.0, 4, 0.1
#: Largest root mean square distance of seen joints, in metres of the body.
WORST = 0.14
#: Least presence of a person in the view.
PRESENT = 0.3
#: Share of the view in the tilt of the head; the rest is the trunk's: heads of far persons are seen poorly.
TILT = 0.5
#: Bend of each joint of a relaxed finger, in radians.
CURL = 0.32
#: A fit smaller than this share of the one to head, shoulders and arms has legs that are not there.
SMALLER = 0.8
#: Height of a head in heights of a face's box, and the factor from which a head is too large or small for its face.
HEAD, OTHER = 1.05, 1.25
#: Steps of reweighting, and the distance in metres from which a joint counts less (Huber).
STEPS, HUBER = 4, 0.08


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A pose in a picture, seen from far away.

    Args:
        transforms: float32 (B, 3, 4), see ``Body.transforms``.
        scale: Pixels per metre.
        shift: float32 (2,): a point (x, y, z) of the body lies at ``scale * (x, -z) + shift`` in the picture.
        residual: Root mean square distance of the seen joints in metres of the body.
        seen: Share of the joints' weight that was seen, in [0, 1].
    """

    transforms: Floats
    scale: float
    shift: Floats
    residual: float
    seen: float

    def project(self, points: Floats) -> Floats:
        """Return points (N, 3) in the picture, float32 (N, 2)."""
        return np.asarray(points[:, [0, 2]] * np.array([self.scale, -self.scale], np.float32) + self.shift, np.float32)


def fit(view: PersonView, body: Body, shape: Shape, size: tuple[int, int]) -> Fit | None:
    """Return the pose of a body that stands where a person stood, or None where too little of it was seen.

    Args:
        view: The person.
        body: The model.
        shape: Its shape, drawn without regard to the person.
        size: Height and width of the picture; landmarks beyond it are guesses and do not count.
    """
    if view.presence < PRESENT:
        return None
    trust = _trust(view, size)
    found = _fitted(view, trust, body, shape)
    if found is None:
        return None
    upper = trust.copy()
    upper[[*HIPS, *KNEES, *ANKLES, *HEELS, *TOES]] = 0
    above = _fitted(view, upper, body, shape)
    # Legs behind a table are guessed to crouch, which makes the body too small for its shoulders and head.
    if above is not None and (found.residual > WORST or found.scale < SMALLER * above.scale):
        found = above
    return found if found.residual <= WORST else None


def headed(pose: Fit, head: Floats, face: Floats) -> Fit:
    """Return a pose whose head is as large as the face that was found, at its place, if it is not nearly so already.

    In close-ups legs and hips are guesses, and a body that is scaled by them has too small a head.

    Args:
        pose: The pose.
        head: float32 (N, 3), the posed vertices of the head.
        face: float32 (4,) xyxy in the picture, forehead and chin included.
    """
    points = pose.project(head)
    low, high = points.min(0), points.max(0)
    ratio = HEAD * float(face[3] - face[1]) / max(float(high[1] - low[1]), 1e-3)
    if 1 / OTHER <= ratio <= OTHER:
        return pose
    chin = np.array([(low[0] + high[0]) / 2, high[1]], np.float32)
    place = np.array([(face[0] + face[2]) / 2, face[3]], np.float32)
    shift = place - (chin - pose.shift) * np.float32(ratio)
    return replace(pose, scale=pose.scale * ratio, shift=shift.astype(np.float32))


def _fitted(view: PersonView, trust: Floats, body: Body, shape: Shape) -> Fit | None:
    """Return the fit to the landmarks as far as they count, whatever its residual; None where too few do."""
    # x right, y down, z away become x right, y away, z up.
    world = view.world[:, [0, 2, 1]] * np.array([1, 1, -1], np.float32)
    transforms = body.transforms(shape, _rotations(world, trust, body, shape))
    heads = np.einsum("bij,bj->bi", transforms[:, :, :3], shape.heads) + transforms[:, :, 3]
    rows = [
        (mark[k], heads[body.number(f"{bone}.{side}")], weight)
        for mark, bone, weight in PLACED
        for k, side in enumerate("LR")
    ]
    joints = body.joints(shape, transforms)
    rows += [(mark, joints[number], HEAD_WEIGHT) for mark, number in zip((NOSE, *EARS), HEAD_JOINTS, strict=True)]
    marks = [row[0] for row in rows]
    points = np.stack([row[1] for row in rows])[:, [0, 2]] * np.array([1, -1], np.float32)
    full = np.array([row[2] for row in rows], np.float32)
    weights = full * trust[marks]
    placed = _place(points.astype(np.float32), view.landmarks[marks, :2], weights)
    if placed is None:
        return None
    scale, shift, residual = placed
    return Fit(transforms, scale, shift, residual, float(weights.sum() / full.sum()))


def _trust(view: PersonView, size: tuple[int, int]) -> Floats:
    """Return how far each landmark counts, float32 (33,) in [0, 1]."""
    x, y = view.landmarks[:, 0], view.landmarks[:, 1]
    shown = (x >= 0) & (y >= 0) & (x < size[1]) & (y < size[0])
    seen = np.minimum(view.visibility, view.inside)
    # What stands before a person hides it, and the mask leaves that out.
    left, top, right, bottom = view.window
    rows, columns = view.mask.shape
    reach = max(round(NEAR * rows), 1)
    mask = cv2.dilate(view.mask, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    column = np.clip((x - left) / (right - left) * columns, 0, columns - 1).astype(int)
    row = np.clip((y - top) / (bottom - top) * rows, 0, rows - 1).astype(int)
    owned = np.clip((mask[row, column] - MASKED[0]) / (MASKED[1] - MASKED[0]), 0, 1)
    out = np.clip((seen - UNSEEN) / (SEEN - UNSEEN), 0, 1) * shown * owned
    # Of people cut at the hips the network guesses crouching legs and is sure of the hips: these count by what follows.
    for joints, ends in ((KNEES, ANKLES), (HIPS, KNEES)):
        out[list(joints)] *= ALONE + (1 - ALONE) * out[list(ends)].max()
    return np.asarray(out, np.float32)


def _place(points: Floats, targets: Floats, weights: Floats) -> tuple[float, Floats, float] | None:
    """Return scale, shift (2,) and residual that take points (N, 2) in metres nearest to targets (N, 2) in pixels."""
    if weights.sum() < LEAST_WEIGHT or (weights > 0.1).sum() < LEAST_JOINTS:
        return None
    robust, scale, shift, distance = weights, 0.0, np.zeros(2, np.float32), np.zeros(len(points), np.float32)
    for _ in range(STEPS):
        share = (robust / robust.sum())[:, None]
        middle, target = (share * points).sum(0), (share * targets).sum(0)
        spread = float((share * (points - middle) ** 2).sum())
        if spread < (LEAST_SPAN / 2) ** 2:
            return None
        scale = float((share * (points - middle) * (targets - target)).sum()) / spread
        if scale <= 0:
            return None
        shift = (target - scale * middle).astype(np.float32)
        distance = np.linalg.norm(scale * points + shift - targets, axis=1) / scale
        robust = weights * np.minimum(1, HUBER / np.maximum(distance, 1e-6)).astype(np.float32)
    return scale, shift, float(np.sqrt((weights * distance**2).sum() / weights.sum()))


def _rotations(world: Floats, trust: Floats, body: Body, shape: Shape) -> Floats:
    """Return the rotation of each bone from rest, float32 (B, 3, 3)."""
    rest = body.joints(shape)
    out = np.tile(np.eye(3, dtype=np.float32), (len(body.bones), 1, 1))
    hips, chest = _trunk(world, trust)
    for number, bone in enumerate(body.bones):
        if bone.startswith(("clavicle", "shoulder", "neck", "head", "eye")):
            out[number] = chest
        elif bone.startswith("spine"):
            out[number] = _between(hips, chest, (5 - int(bone[5:])) / 4)
        else:
            out[number] = hips
    head = _head(world, trust, rest, chest)
    for bone, share in (("neck01", 0.25), ("neck02", 0.5), ("neck03", 0.75), ("head", 1), ("eye.L", 1), ("eye.R", 1)):
        out[body.number(bone)] = _between(chest, head, share)
    for k, side in enumerate("LR"):
        _limb(out, world, trust, body, shape, k, side, chest, ("upperarm", "lowerarm", "wrist"))
        _limb(out, world, trust, body, shape, k, side, hips, ("upperleg", "lowerleg", "foot"))
    return out


def _trunk(world: Floats, trust: Floats) -> tuple[Floats, Floats]:
    """Return the rotations of pelvis and chest."""
    shoulders, hips = world[list(SHOULDERS)], world[list(HIPS)]
    # The hips of close-ups are guesses: the trunk is upright then, and turns with the shoulders.
    known = float(trust[list(HIPS)].mean())
    upright = np.array([0, 0, 1], np.float32)
    up = unit(known * unit(shoulders.mean(0) - hips.mean(0)) + (1 - known) * upright)
    across = unit(shoulders[0] - shoulders[1])
    pelvis = unit(known * unit(hips[0] - hips[1]) + (1.2 - known) * across)
    return _frame(pelvis, up), _frame(across, up)


def _head(world: Floats, trust: Floats, rest: Floats, chest: Floats) -> Floats:
    """Return the rotation of the head."""

    def turned(nose: Floats, ears: Floats) -> Floats:
        across = unit(ears[0] - ears[1])
        ahead = nose - ears.mean(0)
        return _frame(across, unit(np.cross(unit(ahead), across)))

    seen = turned(world[NOSE], world[list(EARS)]) @ turned(rest[0], rest[[3, 4]]).T
    sure = float(trust[[NOSE, *EARS]].max())
    up = unit(TILT * sure * seen[:, 2] + (1 - TILT * sure) * chest[:, 2])
    return _frame(unit(sure * seen[:, 0] + (1 - sure) * chest[:, 0]), up)


def _limb(
    out: Floats,
    world: Floats,
    trust: Floats,
    body: Body,
    shape: Shape,
    k: int,
    side: str,
    trunk: Floats,
    names: tuple[str, str, str],
) -> None:
    """Set the rotations of one arm or leg."""
    upper, lower, end = names
    arm = end == "wrist"
    marks = (SHOULDERS, ELBOWS, WRISTS) if arm else (HIPS, KNEES, ANKLES)
    first, second, third = (m[k] for m in marks)

    def rest(bone: str) -> Floats:
        return np.asarray(shape.heads[body.number(f"{bone}.{side}")], np.float32)

    def direction(a: int, b: int, name: str) -> Floats:
        sure = min(float(trust[b]), 0.3 + float(trust[a]))
        x, y, z = STANDING[name]
        usual = trunk @ unit(np.array([x if side == "L" else -x, y, z], np.float32))
        return unit(sure * unit(world[b] - world[a]) + (1 - sure) * usual)

    top = _turn(trunk @ (rest(f"{lower}01") - rest(f"{upper}01")), direction(first, second, upper)) @ trunk
    bottom = _turn(top @ (rest(end) - rest(f"{lower}01")), direction(second, third, lower)) @ top
    tail = bottom
    if not arm:
        sure = min(float(trust[TOES[k]]), float(trust[HEELS[k]]))
        ahead = -trunk[:, 1] * np.array([1, 1, 0], np.float32) + np.array([0, 0, -0.3], np.float32)
        step = unit(sure * unit(world[TOES[k]] - world[HEELS[k]]) + (1 - sure) * unit(ahead))
        tail = _turn(bottom @ (rest("toe2-1") - rest("foot")), step) @ bottom
    elif trust[KNUCKLES[k]] > 0 and trust[third] > 0:
        sure = 0.7 * float(trust[KNUCKLES[k]])
        ahead = unit(sure * unit(world[KNUCKLES[k]] - world[third]) + (1 - sure) * unit(world[third] - world[second]))
        tail = _turn(bottom @ (rest("finger2-1") - rest("wrist")), ahead) @ bottom
    prefixes = ((upper, top), (lower, bottom), (("wrist", "finger", "metacarpal") if arm else ("foot", "toe"), tail))
    for number, bone in enumerate(body.bones):
        if bone.endswith(f".{side}"):
            for prefix, rotation in prefixes:
                if bone.startswith(prefix):
                    out[number] = rotation
    if arm:
        _relax(out, body, shape, side)


def _relax(out: Floats, body: Body, shape: Shape, side: str) -> None:
    """Bend the fingers of one hand towards the palm."""

    def rest(bone: str) -> Floats:
        return np.asarray(shape.heads[body.number(f"{bone}.{side}")], np.float32)

    along, across = unit(rest("finger3-3") - rest("finger3-1")), rest("finger2-1") - rest("finger5-1")
    palm = unit(np.cross(across, along))
    # The thumb's tip lies on the palm's side.
    if palm @ (rest("finger1-3") - rest("finger2-1")) < 0:
        palm = -palm
    axis = unit(np.cross(along, palm))
    for finger in range(2, 6):
        for joint in range(1, 4):
            number = body.number(f"finger{finger}-{joint}.{side}")
            out[number] = out[number] @ _about(axis, CURL * joint)


def _about(axis: Floats, angle: float) -> Floats:
    """Return the rotation about a unit axis by an angle in radians."""
    x, y, z = (float(v) for v in axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k, np.float32)


def _turn(start: Floats, end: Floats) -> Floats:
    """Return the smallest rotation that takes one direction to another."""
    a, b = unit(start), unit(end)
    v, c = np.cross(a, b), float(a @ b)
    if c < -0.9999:
        # Opposite ones leave the axis open: any across the first.
        return _about(unit(np.cross(a, np.eye(3, dtype=np.float32)[int(np.abs(a).argmin())])), float(np.pi))
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.asarray(np.eye(3) + k + k @ k / (1 + c), np.float32)


def _frame(left: Floats, up: Floats) -> Floats:
    """Return the rotation that takes x to a direction across and z to ``up``, both as near as they allow."""
    left = left - up * (left @ up)
    if float(left @ left) < 1e-8:
        left = np.cross(up, np.array([0, 1, 0.1], np.float32))
    left = unit(left)
    return np.stack([left, np.cross(up, left), up], 1).astype(np.float32)


def _between(a: Floats, b: Floats, share: float) -> Floats:
    """Return the rotation at a share of the way from one to another."""
    u, _, v = np.linalg.svd((1 - share) * a + share * b)
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ v))])
    return np.asarray(u @ sign @ v, np.float32)
