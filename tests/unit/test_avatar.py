"""Avatars: pose from what is seen, all else by chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anonymizer.avatar import AvatarArtist
from anonymizer.avatar.body import Body, Shape
from anonymizer.avatar.stance import ANKLES, EARS, ELBOWS, HIPS, KNEES, NOSE, SHOULDERS, WRISTS
from anonymizer.core.records import Instance, PersonView, Rendering
from anonymizer.models import weights

from .avatars import drawn

FACES = weights.path("prototypes") / "textures.safetensors"
SIZE = 400, 300
MIDDLE = np.array([0.1, 0.6, 0.5, 0.5, 0.5, 0.5], np.float32)


@pytest.fixture(scope="module")
def bodies() -> tuple[Body, Body]:
    return Body.load(weights.path("body"))


@pytest.fixture(scope="module")
def shape(bodies: tuple[Body, Body]) -> Shape:
    return bodies[0].rest(MIDDLE)


@pytest.fixture(scope="module")
def artist() -> AvatarArtist:
    return AvatarArtist(weights.path("body"), FACES, weights.path("poses"))


def standing(body: Body, shape: Shape, scale: float = 200.0, raised: bool = False, turn: float = 0.0) -> PersonView:
    """Return what a network would see of a body with given bone lengths, seen from ahead (or turned, in radians)."""
    heads = shape.heads
    points = np.zeros((33, 3), np.float32)
    for joints, bone in ((SHOULDERS, "upperarm01"), (HIPS, "upperleg01"), (KNEES, "lowerleg01"), (ANKLES, "foot")):
        for k, side in enumerate("LR"):
            points[joints[k]] = heads[body.number(f"{bone}.{side}")]
    for k, sign in enumerate((1, -1)):
        elbow = points[SHOULDERS[k]] + np.array([0.05 * sign, 0, 0.27 if raised else -0.27])
        points[ELBOWS[k]] = elbow
        points[WRISTS[k]] = elbow + np.array([0.02 * sign, -0.05, 0.24 if raised else -0.24])
        points[29 + k] = points[ANKLES[k]] + np.array([0, 0.05, -0.06])
        points[31 + k] = points[ANKLES[k]] + np.array([0.03 * sign, -0.15, -0.07])
    marks = body.joints(shape)
    points[NOSE], points[EARS[0]], points[EARS[1]] = marks[0], marks[3], marks[4]
    points -= points[list(HIPS)].mean(0)
    c, s = np.cos(turn), np.sin(turn)
    points = points @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], np.float32)
    pixels = points[:, [0, 2, 1]] * np.array([scale, -scale, scale]) + np.array([150, 210, 0])
    return PersonView(
        landmarks=pixels.astype(np.float32),
        visibility=np.ones(33, np.float32),
        inside=np.ones(33, np.float32),
        world=(points[:, [0, 2, 1]] * np.array([1, -1, 1])).astype(np.float32),
        window=(-50, 0, 350, 400),
        mask=np.ones((256, 256), np.float32),
        presence=1.0,
    )


def person(view: PersonView | None) -> Instance:
    return Instance(1, "person", np.array([80, 20, 220, 395], np.float32), body=view)


def scene(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 180, (*SIZE, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def rendering(artist: AvatarArtist, bodies: tuple[Body, Body], shape: Shape) -> Rendering:
    made = drawn(artist, scene(), person(standing(bodies[0], shape)), np.random.default_rng(3))
    assert made is not None
    return made


def test_rendering_is_whole(rendering: Rendering) -> None:
    x1, y1, x2, y2 = rendering.box
    assert 0 <= x1 < x2 <= SIZE[1] and 0 <= y1 < y2 <= SIZE[0]
    assert rendering.rgb.dtype == np.uint8 and rendering.alpha.dtype == np.float32
    assert 0.2 < rendering.alpha.mean() < 0.9 and rendering.alpha.max() == pytest.approx(1, abs=1e-3)
    for array in (rendering.alpha, rendering.depth, rendering.edges):
        assert array.min() >= 0 and array.max() <= 1
    assert set(np.unique(rendering.parts)) >= {0, 1, 3, 6, 7, 8, 9}
    assert rendering.edges[rendering.alpha > 0.5].max() > 0.3
    assert ((rendering.depth > 0) == (rendering.parts > 0)).mean() > 0.97


def test_joints_are_where_the_persons_were(rendering: Rendering, bodies: tuple[Body, Body], shape: Shape) -> None:
    view = standing(bodies[0], shape)
    # COCO's numbers of shoulders and ankles.
    for numbers, joints in (((5, 6), SHOULDERS), ((15, 16), ANKLES)):
        for number, joint in zip(numbers, joints, strict=True):
            assert np.hypot(*(rendering.joints[number, :2] - view.landmarks[joint, :2])) < 0.2 * 200
    assert rendering.joints[[5, 6, 11, 12], 2].all()


def test_the_face_is_told_while_it_looks_this_way(
    artist: AvatarArtist, bodies: tuple[Body, Body], shape: Shape, rendering: Rendering
) -> None:
    nose, *eyes = rendering.joints[:3]
    assert rendering.face is not None
    x1, y1, x2, y2 = rendering.face
    # At 200 pixels a metre a face is as wide as 0.11 to 0.17 m, and as high as 0.19 to 0.26 m.
    assert 22 < x2 - x1 < 34 and 38 < y2 - y1 < 52
    assert all(x1 < x < x2 and y1 < y < (y1 + y2) / 2 for x, y, _ in eyes) and y1 < nose[1] < y2
    head = np.flatnonzero((rendering.parts == 1).any(1)) + rendering.box[1]
    # Long hair hangs lower.
    assert head.min() < y1 + 6 and head.max() > y2 - 6
    half, behind = (
        drawn(artist, scene(), person(standing(bodies[0], shape, turn=turn)), np.random.default_rng(3))
        for turn in (np.pi / 2, np.pi)
    )
    assert half is not None and behind is not None
    assert half.face is not None and 14 < half.face[2] - half.face[0] < 28
    assert behind.face is None


def test_same_seed_same_person_another_seed_another(
    artist: AvatarArtist, bodies: tuple[Body, Body], shape: Shape, rendering: Rendering
) -> None:
    view = standing(bodies[0], shape)
    again = drawn(artist, scene(), person(view), np.random.default_rng(3))
    other = drawn(artist, scene(), person(view), np.random.default_rng(4))
    assert again is not None and other is not None
    assert (again.rgb == rendering.rgb).all() and (again.alpha == rendering.alpha).all()
    assert other.rgb.shape != rendering.rgb.shape or (other.rgb != rendering.rgb).any()


def test_nothing_but_pose_and_surroundings_enters(
    artist: AvatarArtist, bodies: tuple[Body, Body], shape: Shape, rendering: Rendering
) -> None:
    view = standing(bodies[0], shape)
    marked = replace(
        person(view),
        score=0.5,
        source="given",
        landmarks=np.full((5, 2), 100, np.float32),
        record={"attributes": {"sex": "female"}},
    )
    made = drawn(artist, scene(), marked, np.random.default_rng(3))
    assert made is not None
    assert (made.rgb == rendering.rgb).all() and (made.alpha == rendering.alpha).all()


def test_nobody_is_drawn_twice_in_a_picture(artist: AvatarArtist, bodies: tuple[Body, Body], shape: Shape) -> None:
    surroundings = artist.look(scene(), np.zeros(SIZE, np.bool_), [], SIZE[0] / 2)
    view = standing(bodies[0], shape)
    made = [drawn(artist, scene(), person(view), np.random.default_rng(3), scene=surroundings) for _ in range(3)]
    assert all(m is not None for m in made)
    # The same chance, and yet three faces, and three pieces with their colours.
    assert len(surroundings[2]) == 9


def test_nobody_is_drawn_again_when_the_picture_was_filled_anew(
    artist: AvatarArtist, bodies: tuple[Body, Body], shape: Shape
) -> None:
    looks: set[str] = set()
    view = standing(bodies[0], shape)
    for count in (1, 2):
        surroundings = artist.look(scene(), np.zeros(SIZE, np.bool_), [], SIZE[0] / 2, looks)
        assert drawn(artist, scene(), person(view), np.random.default_rng(3), scene=surroundings) is not None
        assert len(looks) == 3 * count


def test_small_persons_get_the_coarse_mesh(artist: AvatarArtist, bodies: tuple[Body, Body], shape: Shape) -> None:
    view = standing(bodies[0], shape, scale=50)
    small = Instance(1, "person", np.array([120, 150, 180, 260], np.float32), body=view)
    made = drawn(artist, scene(), small, np.random.default_rng(3))
    assert made is not None and 60 < made.box[3] - made.box[1] < 140


def test_huge_persons_are_rendered_smaller(artist: AvatarArtist, bodies: tuple[Body, Body], shape: Shape) -> None:
    view, times = standing(bodies[0], shape), 8
    corner = np.array([50, 0, 0], np.float32)
    large = replace(view, landmarks=(view.landmarks + corner) * times, window=(0, 0, 400 * times, 400 * times))
    box = np.array([100, 160, 2000, 3160], np.float32)
    image = np.full((400 * times, 400 * times, 3), 120, np.uint8)
    made = drawn(artist, image, Instance(1, "person", box, body=large), np.random.default_rng(3))
    assert made is not None and made.box[3] - made.box[1] > 2000 and made.alpha.max() > 0.99
    assert made.face is not None and made.face[1] < made.joints[0, 1] < made.face[3]
    for number, joint in zip((5, 6), SHOULDERS, strict=True):
        assert np.hypot(*(made.joints[number, :2] - large.landmarks[joint, :2])) < 0.2 * 200 * times


def test_persons_without_a_view_stand_in_their_box(artist: AvatarArtist) -> None:
    made = drawn(artist, scene(), person(None), np.random.default_rng(0))
    assert made is not None
    rows = np.flatnonzero((made.alpha > 0.5).any(1)) + made.box[1]
    assert rows[0] == pytest.approx(20, abs=15) and rows[-1] == pytest.approx(394, abs=15)
