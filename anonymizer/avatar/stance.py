"""Stance: directions of a person's trunk, head and limbs, read from BlazePose and FaceMesh, and a body turned by them.

Coordinates: x right in the picture, y away from the camera, z up; left and right are the person's own. Lengths of limbs
and shape of the face are not part of a stance.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.body import Body, Shape
from anonymizer.avatar.mesh import about, unit
from anonymizer.core.geometry import eyes_apart
from anonymizer.core.records import Instance, PersonView

__all__ = ["ROWS", "Stance", "facing", "girdle", "grounded", "read_stance", "rotations", "trust_of"]

Floats = NDArray[np.float32]

#: BlazePose's landmarks used here; pairs are the person's left and right.
NOSE, EARS, SHOULDERS, ELBOWS, WRISTS, KNUCKLES = 0, (7, 8), (11, 12), (13, 14), (15, 16), (19, 20)
HIPS, KNEES, ANKLES, HEELS, TOES = (23, 24), (25, 26), (27, 28), (29, 30), (31, 32)
#: Directions of a stance. ``hips`` and ``shoulders`` point to the person's left, ``head_left`` and ``head_up`` are the
#: head's axes, ``foot`` runs from heel to toes along the sole.
ROWS = (
    *("trunk_up", "hips", "shoulders", "head_left", "head_up"),
    *("upperarm.L", "upperarm.R", "lowerarm.L", "lowerarm.R", "upperleg.L", "upperleg.R", "lowerleg.L", "lowerleg.R"),
    *("hand.L", "hand.R", "foot.L", "foot.R"),
)
TRUNK_UP, ACROSS_HIPS, ACROSS_SHOULDERS, HEAD_LEFT, HEAD_UP = range(5)
#: First row of each limb's part, and the landmarks between which it lies.
LIMBS = (
    *((5, SHOULDERS, ELBOWS), (7, ELBOWS, WRISTS), (9, HIPS, KNEES), (11, KNEES, ANKLES)),
    *((13, WRISTS, KNUCKLES), (15, HEELS, TOES)),
)
#: Visibility below which a landmark counts for nothing, and from which it counts fully.
UNSEEN, SEEN = 0.25, 0.65
#: How far beyond the picture's border a landmark still counts, less and less, as a share of the window.
BEYOND = 0.05
#: How far a landmark counts that the network only guesses, but inside of picture and person; and where guesses are
#: believed, which the person's outline has to bear out.
GUESSED, BELIEVED = 0.3, 0.9
#: Values of the person's mask between which a landmark begins to count, and how near it must be, as a share of the
#: window.
MASKED, NEAR = (0.2, 0.6), 0.03
#: How far hips count without knees, and knees without ankles.
ALONE = 0.15
#: Share of its length that a limb must show across the line of sight for the picture to tell where it points.
AHEAD = 0.35
#: Presence of a face that counts fully, and presence or score below which it counts nothing.
FACED = (0.9, 0.5)
#: Angle in radians by which BlazePose's nose lies below the middle of the ears when FaceMesh calls a head level: median
#: of 58 people.
NOSE_DROP = 0.2
#: Heads of people who look ahead come out as bowed by this angle in radians, and tilts as too large by one part in two.
BOWED, TILTED = 0.07, 0.65
#: How far the nose's tip lies ahead of the eyes, in heights of a face's box, and how sure eyes and nose are.
NOSE_AHEAD, MARKED = 0.29, 0.7
#: Distances of the eyes (``eyes_apart``) between which they begin to tell how a head is turned.
EYES_APART = (0.1, 0.2)
#: Distance of the eyes of a face that looks ahead (``eyes_apart``), and how far in profile the mouth lies behind the
#: eyes, as the tangent of an angle: medians of 40 and 24 faces.
AHEAD_APART, MOUTH_BEHIND = 0.3, 0.16
#: Vertices of FaceMesh: outer corners of the left and the right eye, corners of the mouth, forehead and chin.
EYES_OUT, MOUTH, FOREHEAD, CHIN = (263, 33), (291, 61), 10, 152
FIRST_LEG, FIRST_FOOT = 9, 15
#: A foot stands if its ankle lies at most this higher than the other, in lengths of half a leg, and its shin points
#: down at least this far.
STEP, UPRIGHT = 0.15, -0.7
#: Middles of FaceMesh's irises, with the corners of the eyes to their right and left as the person has it.
IRISES = ((468, 33, 133), (473, 362, 263))
#: Width of an eye in radii of its ball; the largest angle of gaze in radians, and the largest sine of the head's turn
#: at which it is read.
EYE, GAZE, ASIDE = 2.5, 0.4, 0.6
#: Slope of the sole (sine, up is positive) of feet that stand, and of others.
FLAT, LIFTED = (-0.1, 0.1), (-0.75, 0.5)
#: Sine of the bend of a knee or elbow from which the bend says how the limb is rolled, and from which it alone does.
BENT = (0.15, 0.45)
#: Directions of the three bones of a relaxed forefinger in radians from the hand's, and how much more each further
#: finger bends: equal bends at all joints look like claws.
CURL, MORE = (0.3, 0.8, 1.05), 0.12
#: How much of the angles between fingers, which the body's rest spreads, a relaxed hand has.
SPREAD = 0.35
#: How far collar bone and shoulder follow an arm that is raised above the shoulder, and one that hangs: at rest arms
#: are held away from the body, and shoulders left there look padded.
SHRUG, HANG = 0.25, 0.35


@dataclass(frozen=True, slots=True, eq=False)
class Stance:
    """Directions of a person.

    Args:
        rows: float32 (17, 3), unit vectors in the order of ``ROWS``.
        trust: float32 (17,) in [0, 1], how far each was seen.
        gaze: Angle in radians by which the eyes look to the person's left of where the head faces.
    """

    rows: Floats
    trust: Floats
    gaze: float = 0.0


def trust_of(view: PersonView, size: tuple[int, int], believed: bool = False) -> Floats:
    """Return how far each landmark counts, float32 (33,) in [0, 1]; those outside of picture or person do not.

    Args:
        view: The person.
        size: Height and width of the picture.
        believed: Whether what the network guesses inside of the person, as legs under a coat, counts almost as if seen.
    """
    x, y = view.landmarks[:, 0], view.landmarks[:, 1]
    left, top, right, bottom = view.window
    beyond = np.maximum.reduce([-x, -y, x - size[1], y - size[0]])
    shown = np.clip(1 - beyond / (BEYOND * (right - left)), 0, 1)
    seen = np.minimum(view.visibility, view.inside)
    # What stands before a person hides it, and the mask leaves that out; beyond the picture there is none.
    rows, columns = view.mask.shape
    x, y = np.clip(x, 0, size[1] - 1), np.clip(y, 0, size[0] - 1)
    reach = max(round(NEAR * rows), 1)
    mask = cv2.dilate(view.mask, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    column = np.clip((x - left) / (right - left) * columns, 0, columns - 1).astype(int)
    row = np.clip((y - top) / (bottom - top) * rows, 0, rows - 1).astype(int)
    owned = np.clip((mask[row, column] - MASKED[0]) / (MASKED[1] - MASKED[0]), 0, 1)
    guessed = (
        (BELIEVED if believed else GUESSED) * view.presence * np.clip((view.inside - UNSEEN) / (SEEN - UNSEEN), 0, 1)
    )
    out = np.maximum(np.clip((seen - UNSEEN) / (SEEN - UNSEEN), 0, 1), guessed) * shown * owned
    # Of people cut at the hips the network guesses crouching legs and is sure of the hips: these count by what follows.
    for joints, ends in ((KNEES, ANKLES), (HIPS, KNEES)):
        out[list(joints)] *= ALONE + (1 - ALONE) * out[list(ends)].max()
    return np.asarray(out, np.float32)


def read_stance(view: PersonView, trust: Floats, face: Instance | None = None) -> Stance:
    """Return the directions that were seen of a person.

    Args:
        view: The person.
        trust: float32 (33,), see ``trust_of``.
        face: The person's face, if it was found: it gives the head's rotation.
    """
    # x right, y down, z away become x right, y away, z up.
    world = view.world[:, [0, 2, 1]] * np.array([1, 1, -1], np.float32)
    rows, sure = np.zeros((len(ROWS), 3), np.float32), np.zeros(len(ROWS), np.float32)
    for row, pair in ((ACROSS_HIPS, HIPS), (ACROSS_SHOULDERS, SHOULDERS)):
        rows[row], sure[row] = world[pair[0]] - world[pair[1]], trust[list(pair)].mean()
    rows[TRUNK_UP] = world[list(SHOULDERS)].mean(0) - world[list(HIPS)].mean(0)
    sure[TRUNK_UP] = min(trust[list(HIPS)].mean(), trust[list(SHOULDERS)].mean())
    for first, starts, ends in LIMBS:
        for k in range(2):
            limb = world[ends[k]] - world[starts[k]]
            # A sole that lies flat points down in the picture, as far as the camera stands above it.
            flat = starts is HEELS
            rows[first + k] = limb if flat else _as_seen(limb, view.landmarks[ends[k]] - view.landmarks[starts[k]])
            sure[first + k] = min(float(trust[ends[k]]), 0.3 + float(trust[starts[k]]))
    rows[[HEAD_LEFT, HEAD_UP]] = _head(world)
    sure[[HEAD_LEFT, HEAD_UP]] = trust[[NOSE, *EARS]].max()
    turned = None if face is None else _turned_face(face)
    if turned is not None:
        axes, share = turned
        rows[[HEAD_LEFT, HEAD_UP]] = share * axes + (1 - share) * unit(rows[[HEAD_LEFT, HEAD_UP]])
        sure[[HEAD_LEFT, HEAD_UP]] = np.maximum(sure[[HEAD_LEFT, HEAD_UP]], share)
    rows = unit(rows)
    rows[HEAD_UP] = _raised(rows[HEAD_LEFT], rows[HEAD_UP])
    return Stance(rows, sure, 0.0 if face is None else _gaze(face, rows[HEAD_LEFT]))


def grounded(rows: Floats) -> Floats:
    """Return directions (17, 3) with the sole that stands flat on the ground, and no toes that point straight down."""
    legs = [rows[FIRST_LEG + k] + rows[FIRST_LEG + 2 + k] for k in range(2)]
    out = rows.copy()
    for k in range(2):
        stands = float(legs[k][2]) <= float(legs[1 - k][2]) + STEP and float(rows[FIRST_LEG + 2 + k, 2]) < UPRIGHT
        low, high = FLAT if stands else LIFTED
        foot = out[FIRST_FOOT + k]
        z = float(np.clip(foot[2], low, high))
        level = unit(np.array([foot[0], foot[1], 0], np.float32))
        out[FIRST_FOOT + k] = np.sqrt(1 - z * z) * level + np.array([0, 0, z], np.float32)
    return out


def facing(stance: Stance) -> Floats:
    """Return the rotation about the vertical, float32 (3, 3), of somebody who faces the camera to where one faces."""
    shoulders, hips = (stance.rows[row] * (0.1 + stance.trust[row]) for row in (ACROSS_SHOULDERS, ACROSS_HIPS))
    x, y = (float(v) for v in (shoulders + 0.5 * hips)[:2])
    length = float(np.hypot(x, y))
    c, s = (x / length, y / length) if length > 1e-6 else (1.0, 0.0)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], np.float32)


def rotations(stance: Stance, body: Body, shape: Shape) -> Floats:
    """Return the rotation of each bone from rest that gives a body a stance, float32 (B, 3, 3)."""
    out = np.tile(np.eye(3, dtype=np.float32), (len(body.bones), 1, 1))
    up = stance.rows[TRUNK_UP]
    hips, chest = _frame(stance.rows[ACROSS_HIPS], up), _frame(stance.rows[ACROSS_SHOULDERS], up)
    for number, bone in enumerate(body.bones):
        if bone.startswith(("clavicle", "shoulder", "neck", "head", "eye")):
            out[number] = chest
        elif bone.startswith("spine"):
            out[number] = _between(hips, chest, (5 - int(bone[5:])) / 4)
        else:
            out[number] = hips
    head = _frame(stance.rows[HEAD_LEFT], stance.rows[HEAD_UP])
    for bone, share in (("neck01", 0.25), ("neck02", 0.5), ("neck03", 0.75), ("head", 1)):
        out[body.number(bone)] = _between(chest, head, share)
    for bone in ("eye.L", "eye.R"):
        out[body.number(bone)] = head @ about(np.array([0, 0, 1], np.float32), stance.gaze)
    for side in "LR":
        _limb(out, stance, body, shape, side, chest, ("upperarm", "lowerarm", "hand"))
        _limb(out, stance, body, shape, side, hips, ("upperleg", "lowerleg", "foot"))
        _relax(out, body, shape, side)
    return out


def _as_seen(limb: Floats, pixels: Floats) -> Floats:
    """Return a limb turned about the line of sight to where it points in the picture.

    The picture tells that better than the metres do, unless the limb points to or from the camera.
    """
    x, z = float(pixels[0]), -float(pixels[1])
    flat, length = float(np.hypot(limb[0], limb[2])), float(np.hypot(x, z))
    if flat < AHEAD * float(np.linalg.norm(limb)) or length < 1:
        return limb
    return np.array([flat * x / length, limb[1], flat * z / length], np.float32)


def _head(world: Floats) -> Floats:
    """Return the left and the up of the head, float32 (2, 3), from nose and ears."""
    across = unit(world[EARS[0]] - world[EARS[1]])
    ahead = unit(world[NOSE] - world[list(EARS)].mean(0))
    up = unit(_cross(ahead, across))
    # Level again: the nose lies lower than the ears.
    ahead = unit(_cross(across, up))
    return np.stack([across, unit(np.cos(NOSE_DROP) * up - np.sin(NOSE_DROP) * ahead)])


def _raised(left: Floats, up: Floats) -> Floats:
    """Return the up of a head, float32 (3,), whose tilt is not exaggerated."""
    frame = _frame(left, up)
    ahead = -frame[:, 1]
    tilt = float(np.arcsin(np.clip(ahead[2], -1, 1)))
    return np.asarray(about(frame[:, 0], tilt - TILTED * (tilt + BOWED)) @ frame[:, 2], np.float32)


def _turned_face(face: Instance) -> tuple[Floats, float] | None:
    """Return left and up of a head, float32 (2, 3), from points of its face, and how sure they are, if they are."""
    mesh, apart = face.face, eyes_apart(face)
    if face.landmarks is None or face.score < FACED[1]:
        apart = None
    # In profile FaceMesh places a face that is half turned.
    if mesh is not None and mesh.confidence > FACED[1] and (apart is None or apart >= EYES_APART[0]):
        points = mesh.points[:, [0, 2, 1]] * np.array([1, 1, -1], np.float32)
        across = points[EYES_OUT[0]] - points[EYES_OUT[1]] + points[MOUTH[0]] - points[MOUTH[1]]
        axes = _frame(unit(across), unit(points[FOREHEAD] - points[CHIN]))[:, [0, 2]].T
        return axes, min((mesh.confidence - FACED[1]) / (FACED[0] - FACED[1]), 1.0)
    if face.landmarks is None or apart is None:
        return None
    # Of masked, small and turned faces only eyes, nose and mouth are known.
    plain = float(np.clip((apart - EYES_APART[0]) / (EYES_APART[1] - EYES_APART[0]), 0, 1))
    axes = (1 - plain) * _profile(face.landmarks, apart)
    if plain:
        axes = axes + plain * _between_eyes(face.landmarks, float(face.box[3] - face.box[1]))
    return unit(axes), MARKED


def _between_eyes(marks: Floats, height: float) -> Floats:
    """Return left and up of a head, float32 (2, 3), by where the nose lies between the eyes.

    Args:
        marks: float32 (5, 2), landmarks of a face.
        height: Height of its box.
    """
    eyes, nose = marks[:2], marks[2]
    line = eyes[1] - eyes[0]
    roll = unit(np.array([line[0], 0, -line[1]], np.float32))
    aside = float((nose - eyes.mean(0)) @ line) / max(float(np.hypot(*line)), 1e-3)
    sine = float(np.clip(aside / (NOSE_AHEAD * height), -1, 1))
    up = np.array([-roll[2], 0, roll[0]], np.float32)
    return np.stack([np.sqrt(1 - sine**2) * roll + np.array([0, sine, 0], np.float32), up])


def _profile(marks: Floats, apart: float) -> Floats:
    """Return left and up of a head in profile, float32 (2, 3): eyes and mouth tell its tilt, the nose where it looks.

    Args:
        marks: float32 (5, 2), landmarks of a face.
        apart: ``eyes_apart`` of it.
    """
    # From here on as in a stance: x right, z up.
    eyes, nose, mouth = (np.array([1, -1], np.float32) * at for at in (marks[:2].mean(0), marks[2], marks[3:].mean(0)))
    down = unit(mouth - eyes)
    right = np.array([-down[1], down[0]], np.float32)
    side = 1.0 if float((nose - eyes) @ right) > 0 else -1.0
    x, z = (float(v) for v in unit(-down - np.float32(side * MOUTH_BEHIND) * right))
    cosine = min(apart / AHEAD_APART, 1.0)
    return np.array([[cosine * z, side * np.sqrt(1 - cosine**2), -cosine * x], [x, 0, z]], np.float32)


def _gaze(face: Instance, left: Floats) -> float:
    """Return how far in radians eyes look to the left of where the head faces; 0 where that is not seen well."""
    mesh = face.face
    if mesh is None or mesh.confidence < FACED[0] or abs(float(left[1])) > ASIDE:
        return 0.0
    aside = []
    for iris, right, leftmost in IRISES:
        corners = mesh.points[[right, leftmost], :2]
        line = corners[1] - corners[0]
        aside.append(float((mesh.points[iris, :2] - corners.mean(0)) @ line) / max(float(line @ line), 1e-6))
    sine = float(np.clip(np.mean(aside) * EYE, -1, 1))
    return float(np.clip(np.arcsin(sine), -GAZE, GAZE))


def girdle(long: Floats, first: Floats, trunk: Floats) -> Floats:
    """Return the rotation of a collar bone and shoulder, float32 (3, 3), which follow an arm up or down.

    Args:
        long: float32 (3,), the upper arm at rest, which is held away from the body.
        first: float32 (3,), its direction now.
        trunk: float32 (3, 3), the rotation of the chest.
    """
    low, up = -float(unit(long)[2]), float(first @ trunk[:, 2])
    share = SHRUG * np.clip(up, 0, 1) + HANG * np.clip((-up - low) / (1 - low), 0, 1)
    return _between(trunk, _turn(trunk @ long, first) @ trunk, float(share))


def _limb(
    out: Floats, stance: Stance, body: Body, shape: Shape, side: str, trunk: Floats, names: tuple[str, str, str]
) -> None:
    """Set the rotations of one arm or leg."""
    upper, lower, end = names
    arm = end == "hand"
    root, tip = ("wrist", "finger2-1") if arm else ("foot", "toe2-1")

    def rest(bone: str) -> Floats:
        return np.asarray(shape.heads[body.number(f"{bone}.{side}")], np.float32)

    first, second, third = (stance.rows[ROWS.index(f"{name}.{side}")] for name in names)
    long, short = rest(f"{lower}01") - rest(f"{upper}01"), rest(root) - rest(f"{lower}01")
    if arm:
        lifted = girdle(long, first, trunk)
        for bone in ("clavicle", "shoulder01"):
            out[body.number(f"{bone}.{side}")] = lifted
    plain = _turn(trunk @ long, first) @ trunk
    # The bend of the joint says how the limb is rolled about itself.
    hinge = _cross(unit(long), unit(short)) if arm else np.array([1, 0, 0], np.float32)
    bend = _cross(first, second)
    share = float(np.clip((np.linalg.norm(bend) - BENT[0]) / (BENT[1] - BENT[0]), 0, 1))
    usual = plain @ unit(hinge)
    axis = unit(bend) if arm or bend @ usual > 0 else usual
    turned = np.asarray(share * axis + (1 - share) * usual, np.float32)
    rolled = _two(unit(long), unit(hinge), first, unit(turned))
    bottom = _turn(rolled @ short, second) @ rolled
    if arm:
        tail = _turn(bottom @ (rest(tip) - rest(root)), third) @ bottom
    else:
        flat = (rest(tip) - rest(root)) * np.array([1, 1, 0], np.float32)
        tail = _turn(bottom @ flat, third) @ bottom
    prefixes = ((upper, rolled), (lower, bottom), (("wrist", "finger", "metacarpal") if arm else ("foot", "toe"), tail))
    for number, bone in enumerate(body.bones):
        if bone.endswith(f".{side}"):
            for prefix, rotation in prefixes:
                if bone.startswith(prefix):
                    out[number] = rotation
    out[body.number(f"{upper}01.{side}")] = _between(plain, rolled, 0.5)


def _relax(out: Floats, body: Body, shape: Shape, side: str) -> None:
    """Bend the fingers of one hand towards the palm, and each other."""

    def rest(bone: str) -> Floats:
        return np.asarray(shape.heads[body.number(f"{bone}.{side}")], np.float32)

    along, across = unit(rest("finger3-3") - rest("finger3-1")), rest("finger2-1") - rest("finger5-1")
    palm = unit(_cross(across, along))
    # The thumb's tip lies on the palm's side.
    if palm @ (rest("finger1-3") - rest("finger2-1")) < 0:
        palm = -palm
    axis = unit(_cross(along, palm))
    for finger in range(2, 6):
        own = rest(f"finger{finger}-3") - rest(f"finger{finger}-1")
        # Angle about the palm's normal from the middle finger's direction.
        aside = float(np.arctan2(own @ unit(_cross(palm, along)), own @ along))
        together = about(palm, (SPREAD - 1) * aside)
        for joint, bend in enumerate(CURL, 1):
            number = body.number(f"finger{finger}-{joint}.{side}")
            out[number] = out[number] @ about(axis, bend * (1 + MORE * (finger - 2))) @ together


def _two(along: Floats, across: Floats, new_along: Floats, new_across: Floats) -> Floats:
    """Return the rotation that takes a direction to a new one, and one across as near as it can to its new one."""
    return np.asarray(_frame(new_across, new_along) @ _frame(across, along).T, np.float32)


def _cross(a: Floats, b: Floats) -> Floats:
    """Return the cross product of two vectors (3,); NumPy's own takes ten times as long for single ones."""
    (x, y, z), (u, v, w) = a, b
    return np.array([y * w - z * v, z * u - x * w, x * v - y * u], np.float32)


def _turn(start: Floats, end: Floats) -> Floats:
    """Return the smallest rotation that takes one direction to another."""
    a, b = unit(start), unit(end)
    v, c = _cross(a, b), float(a @ b)
    if c < -0.9999:
        # Opposite ones leave the axis open: any across the first.
        return about(unit(_cross(a, np.eye(3, dtype=np.float32)[int(np.abs(a).argmin())])), float(np.pi))
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.asarray(np.eye(3) + k + k @ k / (1 + c), np.float32)


def _frame(left: Floats, up: Floats) -> Floats:
    """Return the rotation that takes x to a direction across and z to ``up``, the first as near as it can."""
    left = left - up * (left @ up)
    if float(left @ left) < 1e-8:
        left = _cross(up, np.array([0, 1, 0.1], np.float32))
    left = unit(left)
    return np.stack([left, _cross(up, left), up], 1).astype(np.float32)


def _between(a: Floats, b: Floats, share: float) -> Floats:
    """Return the rotation at a share of the way from one to another."""
    u, _, v = np.linalg.svd((1 - share) * a + share * b)
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ v))])
    return np.asarray(u @ sign @ v, np.float32)
