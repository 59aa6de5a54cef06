"""Fit: stances of the model itself are found again, and what was not seen is plausible."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from anonymizer.avatar.body import Body, Shape
from anonymizer.avatar.fit import Fit, Fitter
from anonymizer.avatar.noise import JointNoise
from anonymizer.avatar.prior import WAYS, PosePrior
from anonymizer.avatar.stance import (
    ACROSS_SHOULDERS,
    ANKLES,
    EARS,
    ELBOWS,
    HEAD_LEFT,
    HEAD_UP,
    HEELS,
    HIPS,
    KNEES,
    KNUCKLES,
    NOSE,
    ROWS,
    SHOULDERS,
    TOES,
    WRISTS,
    Stance,
    facing,
    read_stance,
    rotations,
)
from anonymizer.core.errors import InputError, ModelError
from anonymizer.core.records import FaceView, Instance, PersonView
from anonymizer.models import weights

SIZE = 400, 300
MIDDLE = np.array([0.1, 0.6, 0.5, 0.5, 0.5, 0.5], np.float32)
LEGS = [ROWS.index(f"{name}.{side}") for name in ("upperleg", "lowerleg") for side in "LR"]


@pytest.fixture(scope="module")
def body() -> Body:
    return Body.load(weights.path("body"))[1]


@pytest.fixture(scope="module")
def shape(body: Body) -> Shape:
    return body.rest(MIDDLE)


@pytest.fixture(scope="module")
def prior() -> PosePrior:
    return PosePrior.load(weights.path("poses"))


@pytest.fixture(scope="module")
def fitter(body: Body, prior: PosePrior) -> Fitter:
    return Fitter(body, prior)


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def posed(
    body: Body, shape: Shape, stance: Stance, scale: float = 180.0, place: tuple[float, float] = (150, 190)
) -> tuple[Instance, np.ndarray]:
    """Return a person whom a network sees exactly in a stance, and the bones' rotations."""
    turned = rotations(stance, body, shape)
    transforms = body.transforms(shape, turned)

    def at(point: np.ndarray, bone: str) -> np.ndarray:
        matrix = transforms[body.number(bone)]
        return np.asarray(matrix[:, :3] @ point + matrix[:, 3], np.float32)

    points = np.zeros((33, 3), np.float32)
    pairs = ((SHOULDERS, "upperarm01"), (ELBOWS, "lowerarm01"), (WRISTS, "wrist"), (KNUCKLES, "finger2-1"))
    for joints, bone in (*pairs, (HIPS, "upperleg01"), (KNEES, "lowerleg01"), (ANKLES, "foot")):
        for k, side in enumerate("LR"):
            points[joints[k]] = at(shape.heads[body.number(f"{bone}.{side}")], f"{bone}.{side}")
    for k, side in enumerate("LR"):
        ankle = shape.heads[body.number(f"foot.{side}")]
        points[HEELS[k]] = at(ankle + np.array([0, 0.05, -0.06], np.float32), f"foot.{side}")
        along = shape.heads[body.number(f"toe2-1.{side}")] - ankle
        points[TOES[k]] = points[HEELS[k]] + turned[body.number(f"foot.{side}")] @ (along * np.array([1, 1, 0]))
    marks = body.joints(shape)
    points[NOSE], points[EARS[0]], points[EARS[1]] = (at(marks[n], "head") for n in (0, 3, 4))
    vertices = body.pose(shape, transforms)
    origin = points[list(HIPS)].mean(0)
    flat = (np.concatenate([points, vertices]) - origin)[:, [0, 2]] * np.array([scale, -scale]) + np.array(place)
    drawn = np.zeros(SIZE, np.uint8)
    for triangle in np.rint(flat[33:][body.faces]).astype(np.int32):
        cv2.fillConvexPoly(drawn, triangle, 1)
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    x1, y1, x2, y2 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    view = PersonView(
        landmarks=np.concatenate([flat[:33], scale * (points - origin)[:, 1:2]], 1).astype(np.float32),
        visibility=np.ones(33, np.float32),
        inside=np.ones(33, np.float32),
        world=((points - origin)[:, [0, 2, 1]] * np.array([1, -1, 1])).astype(np.float32),
        window=(0, 0, SIZE[1], SIZE[0]),
        mask=cv2.resize(drawn.astype(np.float32), (256, 256)),
        presence=1.0,
    )
    box = np.array([x1, y1, x2, y2], np.float32)
    return Instance(1, "person", box, drawn[y1:y2, x1:x2] > 0, body=view), turned


def standing(turn: float = 0.0) -> Stance:
    """Return somebody who stands with hanging arms, facing the camera or turned by an angle in radians."""
    plain = {"trunk_up": (0, 0, 1), "hips": (1, 0, 0), "shoulders": (1, 0, 0), "head_left": (1, 0, 0)}
    plain |= {"head_up": (0, 0, 1)}
    for side, sign in (("L", 1), ("R", -1)):
        plain |= {f"upperarm.{side}": (0.2 * sign, 0, -1), f"lowerarm.{side}": (0.1 * sign, -0.15, -1)}
        plain |= {f"hand.{side}": (0.05 * sign, -0.2, -1), f"upperleg.{side}": (0.05 * sign, 0, -1)}
        plain |= {f"lowerleg.{side}": (0.02 * sign, 0.05, -1), f"foot.{side}": (0.15 * sign, -1, 0)}
    rows = np.array([plain[name] for name in ROWS], np.float32)
    c, s = np.cos(turn), np.sin(turn)
    rows = rows @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], np.float32)
    return Stance(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.ones(len(ROWS), np.float32))


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return angles in degrees between unit vectors (N, 3)."""
    return np.degrees(np.arccos(np.clip((a * b).sum(-1), -1, 1)))


def test_random_stances_of_the_model_are_found_again(
    fitter: Fitter, body: Body, shape: Shape, prior: PosePrior
) -> None:
    chance = np.random.default_rng(2)
    off, sizes, places = [], [], []
    for number in chance.choice(len(prior.stances), 24, replace=False):
        angle = chance.uniform(-np.pi, np.pi)
        c, s = np.cos(angle), np.sin(angle)
        rows = prior.stances[number] + chance.normal(0, 0.12, (len(ROWS), 3))
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True) @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        stance = Stance(rows.astype(np.float32), np.ones(len(ROWS), np.float32))
        person, _ = posed(body, shape, stance)
        pose = fitter.fit(person, shape, SIZE, rng())
        assert pose is not None
        true, found = (rotations(each, body, shape) for each in (stance, pose.stance))
        bones = [
            body.number(f"{b}.{side}")
            for b in ("upperarm02", "lowerarm01", "upperleg02", "lowerleg01")
            for side in "LR"
        ]
        turned = np.einsum("bji,bjk->bik", true[bones], found[bones])
        off.append(np.degrees(np.arccos(np.clip((np.trace(turned, axis1=1, axis2=2) - 1) / 2, -1, 1))))
        sizes.append(pose.scale / 180)
        hips = np.mean([body.transforms(shape, found)[body.number(f"upperleg01.{k}")] for k in "LR"], 0)
        middle = np.mean([shape.heads[body.number(f"upperleg01.{k}")] for k in "LR"], 0)
        places.append(np.hypot(*(pose.project((hips[:, :3] @ middle + hips[:, 3])[None])[0] - (150, 190))) / 180)
    # In degrees of rotation, shares of the size and metres.
    assert np.median(off) < 8 and np.percentile(off, 90) < 25
    assert np.abs(np.log(sizes)).max() < 0.1
    assert np.median(places) < 0.04 and max(places) < 0.12


@pytest.mark.parametrize("turn", [0.0, 0.8, -1.5, np.pi])
def test_who_stands_stands_with_soles_on_the_ground(fitter: Fitter, body: Body, shape: Shape, turn: float) -> None:
    person, _ = posed(body, shape, standing(turn))
    pose = fitter.fit(person, shape, SIZE, rng())
    assert pose is not None and pose.residual < 0.05 and pose.seen > 0.9
    assert pose.scale == pytest.approx(180, rel=0.04)
    points = pose.project(body.pose(shape, pose.transforms))
    assert points[:, 1].max() == pytest.approx(person.box[3], abs=0.03 * 180)
    assert points[:, 1].min() == pytest.approx(person.box[1], abs=0.05 * 180)
    feet = pose.stance.rows[[ROWS.index("foot.L"), ROWS.index("foot.R")]]
    assert np.abs(feet[:, 2]).max() < 0.15


def test_lengths_of_limbs_do_not_enter(fitter: Fitter, body: Body, shape: Shape) -> None:
    person, _ = posed(body, shape, standing())
    view = person.body
    assert view is not None
    longer = view.world.copy()
    for a, b, c in zip(HIPS, KNEES, ANKLES, strict=True):
        knee = longer[a] + 1.3 * (view.world[b] - view.world[a])
        longer[c] = knee + 0.7 * (view.world[c] - view.world[b])
        longer[b] = knee
    one = fitter.fit(person, shape, SIZE, rng())
    other = fitter.fit(replace(person, body=replace(view, world=longer)), shape, SIZE, rng())
    assert one is not None and other is not None
    assert np.abs(one.transforms[:, :, :3] - other.transforms[:, :, :3]).max() < 1e-4


def test_of_an_outline_only_its_ends_enter(fitter: Fitter, body: Body, shape: Shape) -> None:
    person, _ = posed(body, shape, standing(0.4))
    thin = cv2.erode(person.mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    kept = slice(round(0.85 * len(thin)), None)
    thin[kept] = person.mask[kept]
    one, other = (fitter.fit(each, shape, SIZE, rng()) for each in (person, replace(person, mask=thin)))
    assert one is not None and other is not None and (thin != person.mask).mean() > 0.02
    assert (one.transforms == other.transforms).all() and one.scale == other.scale and (one.shift == other.shift).all()


def cut(person: Instance, row: int) -> Instance:
    """Return a person of whom nothing shows below a row of the picture."""
    x1, y1, x2, _ = (int(v) for v in person.box)
    assert person.body is not None
    below = person.body.mask.copy()
    below[round(row / SIZE[0] * 256) :] = 0
    mask = person.mask[: row - y1]
    return replace(
        person, box=np.array([x1, y1, x2, row], np.float32), mask=mask, body=replace(person.body, mask=below)
    )


def test_legs_behind_a_table_count_nothing_and_are_plausible(
    fitter: Fitter, body: Body, shape: Shape, prior: PosePrior
) -> None:
    whole, _ = posed(body, shape, standing())
    person = cut(whole, 215)
    view = person.body
    assert view is not None
    # Guessed as crouching, above the table, by a network that is unsure.
    guessed, visible, world = view.landmarks.copy(), view.visibility.copy(), view.world.copy()
    below = [*KNEES, *ANKLES, *HEELS, *TOES]
    guessed[below, 1], visible[below] = 205, 0.3
    world[below, 1] = 0.1
    pose = fitter.fit(
        replace(person, body=replace(view, landmarks=guessed, visibility=visible, world=world)), shape, SIZE, rng()
    )
    assert pose is not None and pose.scale == pytest.approx(180, rel=0.1)
    thighs = pose.stance.rows[[ROWS.index("upperleg.L"), ROWS.index("upperleg.R")]]
    assert (thighs[:, 2] < -0.5).all()
    # Nobody has legs like these.
    legs = (pose.stance.rows @ facing(pose.stance))[LEGS]
    assert apart(legs, prior.stances[:, LEGS]).max(1).min() < 25


def seated() -> Stance:
    """Return somebody who sits, seen from the side, hands before them."""
    rows = standing(1.3).rows.copy()
    ahead = np.array([np.sin(1.3), -np.cos(1.3), 0])
    for side in "LR":
        rows[ROWS.index(f"upperleg.{side}")] = ahead
        rows[ROWS.index(f"lowerarm.{side}")] = ahead
    return Stance((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), np.ones(17, np.float32))


def test_guessed_legs_count_where_the_outline_bears_them_out(fitter: Fitter, body: Body, shape: Shape) -> None:
    person, _ = posed(body, shape, seated())
    view = person.body
    assert view is not None
    visible = view.visibility.copy()
    visible[[*KNEES, *ANKLES, *HEELS, *TOES]] = 0.1
    pose = fitter.fit(replace(person, body=replace(view, visibility=visible)), shape, SIZE, rng())
    assert pose is not None and (pose.stance.rows[LEGS[:2], 2] > -0.5).all(), "they sit"
    # The same guess inside of an outline of somebody who stands is none.
    upright, _ = posed(body, shape, standing(1.3))
    assert upright.body is not None
    wrong = replace(upright, body=replace(view, visibility=visible, mask=upright.body.mask))
    pose = fitter.fit(wrong, shape, SIZE, rng())
    assert pose is not None and (pose.stance.rows[LEGS[:2], 2] < -0.8).all(), "they stand"


def test_an_arm_that_is_not_seen_hangs_though_the_other_is_raised(prior: PosePrior) -> None:
    rows = standing().rows.copy()
    for name, row in {
        "upperarm.L": (0.3, -0.5, -0.8),
        "lowerarm.L": (-0.3, -0.5, 0.8),
        "hand.L": (-0.3, -0.4, 0.85),
    }.items():
        rows[ROWS.index(name)] = np.array(row) / np.linalg.norm(row)
    trust = np.ones(len(ROWS), np.float32)
    trust[[ROWS.index(f"{name}.R") for name in ("upperarm", "lowerarm", "hand")]] = 0
    whole = prior.complete(Stance(rows, trust))
    assert whole.rows[ROWS.index("lowerarm.L"), 2] > 0.4
    assert whole.rows[ROWS.index("upperarm.R"), 2] < -0.7 and whole.rows[ROWS.index("lowerarm.R"), 2] < -0.3


def test_legs_that_a_bicycle_hides_pedal(prior: PosePrior) -> None:
    # Knees raised in turn before an upright trunk, hands at the bars: the shins are not seen.
    rows = standing().rows.copy()
    shown = {"upperleg.L": (0, -0.9, -0.45), "upperleg.R": (0, -0.5, -0.85), "trunk_up": (0, -0.3, 0.95)}
    for side in "LR":
        shown |= {f"upperarm.{side}": (0.1, -0.7, -0.7), f"lowerarm.{side}": (0, -0.95, -0.3)}
    for name, row in shown.items():
        rows[ROWS.index(name)] = np.array(row) / np.linalg.norm(row)
    trust = np.ones(len(ROWS), np.float32)
    trust[[ROWS.index(f"{name}.{side}") for name in ("lowerleg", "foot") for side in "LR"]] = 0
    whole = prior.complete(Stance(rows, trust))
    shins = whole.rows[[ROWS.index("lowerleg.L"), ROWS.index("lowerleg.R")]]
    assert (shins[:, 2] < -0.7).all()
    assert apart(whole.rows[LEGS[:2]], rows[LEGS[:2]]).max() < 15


def test_joints_well_beyond_the_picture_count_nothing(fitter: Fitter, body: Body, shape: Shape) -> None:
    whole, _ = posed(body, shape, standing())
    person = cut(whole, 260)
    size = 260, SIZE[1]
    view = person.body
    assert view is not None
    odd = view.landmarks.copy()
    odd[odd[:, 1] >= 276, 0] += 90
    one, other = (
        fitter.fit(person, shape, size, rng()),
        fitter.fit(replace(person, body=replace(view, landmarks=odd)), shape, size, rng()),
    )
    assert one is not None and other is not None
    assert one.scale == pytest.approx(180, rel=0.06)
    assert one.scale == pytest.approx(other.scale) and np.allclose(one.shift, other.shift)


@pytest.mark.parametrize("poor", ["no view", "not present", "scattered"])
def test_poor_landmarks_leave_somebody_who_stands_in_the_outline(
    fitter: Fitter, body: Body, shape: Shape, poor: str
) -> None:
    person, _ = posed(body, shape, standing())
    view = person.body
    assert view is not None
    scattered = view.landmarks.copy()
    scattered[:, :2] = np.random.default_rng(0).uniform((70, 20), (220, 380), (33, 2))
    worse = {
        "no view": None,
        "not present": replace(view, presence=0.1),
        "scattered": replace(view, landmarks=scattered),
    }
    pose = fitter.fit(replace(person, body=worse[poor]), shape, SIZE, rng())
    assert pose is not None and pose.scale == pytest.approx(180, rel=0.1)
    points = pose.project(body.pose(shape, pose.transforms))
    assert points[:, 1].max() == pytest.approx(person.box[3], abs=0.05 * 180)


@pytest.mark.parametrize("turn", [0.0, 1.3])
def test_landmarks_count_though_presence_is_low(fitter: Fitter, body: Body, shape: Shape, turn: float) -> None:
    stance = seated() if turn else standing()
    person, _ = posed(body, shape, stance)
    assert person.body is not None
    pose = fitter.fit(replace(person, body=replace(person.body, presence=0.1)), shape, SIZE, rng())
    assert pose is not None and pose.seen > 0.9
    assert np.median(apart(pose.stance.rows[LEGS], stance.rows[LEGS])) < 15


@pytest.mark.parametrize(
    ("score", "face", "drawn"), [(0.4, None, False), (0.4, 0.5, False), (0.4, 0.9, True), (0.8, None, True)]
)
def test_nobody_stands_where_a_doubtful_find_has_the_landmarks_of_nobody(
    fitter: Fitter, body: Body, shape: Shape, score: float, face: float | None, drawn: bool
) -> None:
    person, _ = posed(body, shape, standing())
    assert person.body is not None
    elsewhere = person.body.landmarks + np.array([130, 0, 0], np.float32)
    found = replace(person, score=score, source="yolo", body=replace(person.body, landmarks=elsewhere))
    seen = None
    if face is not None:
        top = person.box[1]
        seen = Instance(2, "face", np.array([138, top + 4, 162, top + 40], np.float32), score=face, source="yolo")
    assert (fitter.fit(found, shape, SIZE, rng(), seen) is not None) == drawn


def test_nobody_is_put_where_no_person_fits(fitter: Fitter, shape: Shape) -> None:
    flat = Instance(1, "person", np.array([10, 200, 290, 240], np.float32))
    assert fitter.fit(flat, shape, SIZE, rng()) is None


def test_a_face_turns_the_head(body: Body, shape: Shape) -> None:
    person, _ = posed(body, shape, standing())
    assert person.body is not None
    points = np.zeros((478, 3), np.float32)
    # Eyes, mouth, forehead and chin of a face turned by 30 degrees to its left, in pixels.
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    for number, (x, y) in {
        263: (20, -10),
        33: (-20, -10),
        291: (12, 15),
        61: (-12, 15),
        10: (0, -40),
        152: (0, 40),
    }.items():
        points[number] = c * x, y, s * x
    box = np.array([130, 40, 170, 90], np.float32)
    face = Instance(2, "face", box, score=0.9, face=FaceView(points, 1.0))
    stance = read_stance(person.body, np.ones(33, np.float32), face)
    assert apart(stance.rows[HEAD_LEFT], np.array([c, s, 0])) < 1
    assert apart(stance.rows[HEAD_UP], np.array([0, 0, 1])) < 5
    # Irises in the middle of eyes of 10 pixels, then a tenth of that to the person's left.
    for right, leftmost, x in ((33, 133, -20), (362, 263, 10)):
        points[right, :2], points[leftmost, :2] = (c * x, -10), (c * (x + 10), -10)
    for to_left, angle in ((0.0, 0.0), (1.0, np.arcsin(0.25))):
        for iris, x in ((468, -15), (473, 15)):
            points[iris, :2] = c * (x + to_left), -10
        looking = read_stance(person.body, np.ones(33, np.float32), replace(face, face=FaceView(points, 1.0)))
        assert looking.gaze == pytest.approx(angle, abs=0.02)
    turned = rotations(replace(standing(), gaze=0.25), body, shape)
    assert apart(-turned[body.number("eye.L")][:, 1], np.array([np.sin(0.25), -np.cos(0.25), 0])) < 0.1
    # Of a face whose surface is unsure eyes and nose count: here it is turned to the other side.
    marks = np.array([[138, 60], [158, 60], [141, 68], [140, 78], [156, 78]], np.float32)
    masked = replace(face, face=FaceView(points, 0.3), landmarks=marks)
    stance = read_stance(person.body, np.ones(33, np.float32), masked)
    assert stance.rows[HEAD_LEFT, 1] < -0.2
    unsure = read_stance(person.body, np.ones(33, np.float32), replace(masked, landmarks=None))
    assert apart(unsure.rows[HEAD_LEFT], np.array([1, 0, 0])) < 3


@pytest.mark.parametrize(("side", "tilt"), [(1, 0.0), (-1, 0.0), (1, 0.3)])
def test_a_head_in_profile_looks_where_the_nose_is(body: Body, shape: Shape, side: int, tilt: float) -> None:
    # Both eyes are nearly one point, and the line through them runs anywhere; a surface found there is that of a face
    # which is half turned.
    person, _ = posed(body, shape, standing())
    assert person.body is not None
    marks = np.array([[0, -10], [1, -7], [4, 0], [-3, 8], [-2.5, 8]], np.float32) * np.array([side, 1], np.float32)
    c, s = np.cos(tilt), np.sin(tilt)
    marks = marks @ np.array([[c, s], [-s, c]], np.float32) + np.array([150, 65], np.float32)
    points = np.zeros((478, 3), np.float32)
    points[[263, 33, 291, 61, 10, 152], :2] = (20, -10), (-20, -10), (12, 15), (-12, 15), (0, -40), (0, 40)
    box = np.array([130, 40, 170, 90], np.float32)
    face = Instance(2, "face", box, score=0.9, face=FaceView(points, 1.0), landmarks=marks)
    left, up = read_stance(person.body, np.ones(33, np.float32), face).rows[[HEAD_LEFT, HEAD_UP]]
    assert side * left[1] > 0.8, "the pose, which says ahead, counts a little"
    assert abs(apart(up, np.array([side * s, 0, c]))) < 15


def test_noise_is_that_of_the_mechanisms() -> None:
    epsilon, chance = 20.0, np.random.default_rng(1)
    noise, stance = JointNoise(epsilon), standing()
    near = np.concatenate([(noise.stance(stance, chance).rows * stance.rows).sum(1) for _ in range(600)])
    # Mean of the von Mises-Fisher distribution.
    assert near.mean() == pytest.approx(1 / np.tanh(epsilon) - 1 / epsilon, abs=0.002)
    assert np.allclose(np.linalg.norm(noise.stance(stance, chance).rows, axis=1), 1, atol=1e-5)
    logs = np.log([noise.scale(100.0, chance) / 100 for _ in range(4000)])
    assert np.abs(logs).mean() == pytest.approx(1 / epsilon, rel=0.08)
    places = np.stack([noise.place(np.zeros(2, np.float32), 200.0, chance) for _ in range(4000)])
    assert np.hypot(*places.T).mean() == pytest.approx(200 / 5 * 2 / epsilon, rel=0.05)
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(InputError, match="joint_noise: expected an epsilon above 0"):
            JointNoise(wrong)


def test_trust_and_true_rows_do_not_pass_the_noise(body: Body, shape: Shape, prior: PosePrior) -> None:
    """What is drawn has other directions, and how well each was seen leaves no trace in it."""
    noise = JointNoise(20.0)
    stance = standing()
    vague = Stance(stance.rows, np.full(len(ROWS), 0.2, np.float32))
    one, other = noise.stance(stance, rng()), noise.stance(vague, rng())
    assert (one.rows == other.rows).all() and (one.trust == other.trust).all()
    person, _ = posed(body, shape, stance)
    poses = [Fitter(body, prior, noise).fit(person, shape, SIZE, np.random.default_rng(k)) for k in range(2)]
    assert all(pose is not None for pose in poses)
    assert poses[0] is not None and poses[1] is not None
    assert np.abs(poses[0].stance.rows - poses[1].stance.rows).max() > 0.05
    assert poses[0].scale != poses[1].scale and (poses[0].shift != poses[1].shift).all()


def test_a_bank_gives_its_own_stances_alone(body: Body, shape: Shape, prior: PosePrior) -> None:
    person, _ = posed(body, shape, standing(0.75))
    pose = Fitter(body, prior, bank=True).fit(person, shape, SIZE, rng())
    assert pose is not None
    found: list[tuple[int, int]] = []
    for way in range(WAYS):
        angle = 2 * np.pi * way / WAYS
        c, s = np.cos(angle), np.sin(angle)
        turned = prior.stances @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], np.float32)
        found += [(way, int(k)) for k in np.flatnonzero(np.abs(turned - pose.stance.rows).max((1, 2)) < 1e-4)]
    assert found and apart(pose.stance.rows[ACROSS_SHOULDERS], standing(0.75).rows[ACROSS_SHOULDERS]) < 25
    points = pose.project(body.pose(shape, pose.transforms))
    assert points[:, 1].max() == pytest.approx(person.box[3], abs=0.03 * 180)


def test_fit_is_repeatable(fitter: Fitter, body: Body, shape: Shape) -> None:
    person, _ = posed(body, shape, standing(0.5))
    one, other = (fitter.fit(person, shape, SIZE, rng()) for _ in range(2))
    assert isinstance(one, Fit) and isinstance(other, Fit)
    assert (one.transforms == other.transforms).all() and one.scale == other.scale


def test_other_pose_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "poses.safetensors"
    file.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="expected poses"):
        PosePrior.load(file)
    with pytest.raises(ModelError, match="expected stances"):
        PosePrior(np.zeros((2, 3, 3), np.float32), np.ones(2, np.float32), np.eye(51, dtype=np.float32))
