"""Avatars: pose from what is seen, all else by chance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anonymizer import weights
from anonymizer.avatar import AvatarArtist
from anonymizer.avatar.appearance import SKIN, Faces, draw_appearance
from anonymizer.avatar.body import Body, Shape
from anonymizer.avatar.mesh import areas
from anonymizer.avatar.stance import ANKLES, EARS, ELBOWS, HIPS, KNEES, NOSE, SHOULDERS, WRISTS
from anonymizer.avatar.tailor import Measures
from anonymizer.avatar.wardrobe import BOTTOMS, FULL, HAIR, SHOES, TOPS, Outfit, dress
from anonymizer.errors import ModelError
from anonymizer.types import Instance, PersonView, Rendering

FACES = weights.path("prototypes") / "faces.safetensors"
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


def outfits() -> list[Outfit]:
    out = [Outfit((top,), "trousers", None, "sneakers", "crop") for top in TOPS]
    out += [Outfit(("t-shirt",), bottom, None, "boots", "bob") for bottom in BOTTOMS]
    out += [Outfit(("t-shirt",) if name == "long coat" else (), None, name, "low shoes", "long") for name in FULL]
    out += [Outfit(("t-shirt",), "shorts", None, shoes, "full") for shoes in SHOES]
    return out + [Outfit(("shirt",), "shorts", None, "sneakers", hair) for hair in HAIR]


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize(
    "outfit", outfits(), ids=lambda o: "-".join([*o.tops, str(o.bottom or o.full), o.shoes, o.hair])
)
def test_every_garment_fits(bodies: tuple[Body, Body], outfit: Outfit, level: int) -> None:
    body = bodies[level]
    shape = body.rest(MIDDLE)
    pieces, bare = dress(body, shape, Measures.of(body, shape), outfit, np.random.default_rng(1))
    assert {p.kind for p in pieces} >= {"shoes", "hair"}
    for piece in pieces:
        assert np.isfinite(piece.vertices).all() and len(piece.faces) > 20, piece.name
        assert piece.faces.min() >= 0 and piece.faces.max() < len(piece.vertices)
        assert np.allclose(piece.weights.sum(1), 1, atol=1e-3)
        assert piece.body.shape == piece.vertices.shape
        low, high = shape.vertices.min(0) - 0.3, shape.vertices.max(0) + 0.3
        assert ((piece.vertices > low) & (piece.vertices < high)).all(), piece.name
    # Head and hands are bare, the trunk is not.
    assert (bare[body.parts == 6] > 0).mean() > 0.5
    trunk = (body.parts == 3) & (shape.vertices[:, 2] < shape.heads[body.number("upperarm01.L"), 2] - 0.1)
    assert (bare[trunk] > 0).mean() < 0.25


def test_garments_differ_in_geometry(bodies: tuple[Body, Body]) -> None:
    body = bodies[1]
    shape = body.rest(MIDDLE)

    def size(outfit: Outfit, kind: str) -> float:
        pieces, _ = dress(body, shape, Measures.of(body, shape), outfit, np.random.default_rng(1))
        return sum(float(areas(p.vertices, p.faces).sum()) for p in pieces if p.kind == kind)

    tops = [size(o, "top") + size(o, "outer") for o in outfits()[: len(TOPS)]]
    assert len({round(v, 3) for v in tops}) == len(TOPS)
    bottoms = [size(o, "bottom") for o in outfits()[len(TOPS) : len(TOPS) + len(BOTTOMS)]]
    assert len({round(v, 3) for v in bottoms}) == len(BOTTOMS)


def test_population_has_what_it_states() -> None:
    faces = Faces.load(FACES)
    looks = [draw_appearance(faces, np.random.default_rng(seed)) for seed in range(300)]
    assert {o.hair for o in (look.outfit for look in looks)} == set(HAIR)
    assert {o.shoes for o in (look.outfit for look in looks)} == set(SHOES)
    assert {name for look in looks for name in look.outfit.tops} == set(TOPS)
    assert {look.outfit.full for look in looks} == {None, *FULL}
    bright = np.sort([look.skin.mean() for look in looks])
    ends = [np.mean([int(SKIN[k][i : i + 2], 16) for i in (0, 2, 4)]) / 255 for k in (-1, 0)]
    assert bright[5] < ends[0] + 0.08 and bright[-5] > ends[1] - 0.08
    assert 0.35 < np.mean([look.phenotype[0] > 0.5 for look in looks]) < 0.65


@pytest.fixture(scope="module")
def rendering(artist: AvatarArtist, bodies: tuple[Body, Body], shape: Shape) -> Rendering:
    made = artist.draw(scene(), person(standing(bodies[0], shape)), np.random.default_rng(3))
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


def test_same_seed_same_person_another_seed_another(
    artist: AvatarArtist, bodies: tuple[Body, Body], shape: Shape, rendering: Rendering
) -> None:
    view = standing(bodies[0], shape)
    again = artist.draw(scene(), person(view), np.random.default_rng(3))
    other = artist.draw(scene(), person(view), np.random.default_rng(4))
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
    made = artist.draw(scene(), marked, np.random.default_rng(3))
    assert made is not None
    assert (made.rgb == rendering.rgb).all() and (made.alpha == rendering.alpha).all()


def test_small_persons_get_the_coarse_mesh(artist: AvatarArtist, bodies: tuple[Body, Body], shape: Shape) -> None:
    view = standing(bodies[0], shape, scale=50)
    small = Instance(1, "person", np.array([120, 150, 180, 260], np.float32), body=view)
    made = artist.draw(scene(), small, np.random.default_rng(3))
    assert made is not None and 60 < made.box[3] - made.box[1] < 140


def test_huge_persons_are_rendered_smaller(artist: AvatarArtist, bodies: tuple[Body, Body], shape: Shape) -> None:
    view, times = standing(bodies[0], shape), 8
    corner = np.array([50, 0, 0], np.float32)
    large = replace(view, landmarks=(view.landmarks + corner) * times, window=(0, 0, 400 * times, 400 * times))
    box = np.array([100, 160, 2000, 3160], np.float32)
    image = np.full((400 * times, 400 * times, 3), 120, np.uint8)
    made = artist.draw(image, Instance(1, "person", box, body=large), np.random.default_rng(3))
    assert made is not None and made.box[3] - made.box[1] > 2000 and made.alpha.max() > 0.99
    for number, joint in zip((5, 6), SHOULDERS, strict=True):
        assert np.hypot(*(made.joints[number, :2] - large.landmarks[joint, :2])) < 0.2 * 200 * times


def test_persons_without_a_view_stand_in_their_box(artist: AvatarArtist) -> None:
    made = artist.draw(scene(), person(None), np.random.default_rng(0))
    assert made is not None
    rows = np.flatnonzero((made.alpha > 0.5).any(1)) + made.box[1]
    assert rows[0] == pytest.approx(20, abs=15) and rows[-1] == pytest.approx(394, abs=15)


def test_other_face_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "faces.safetensors"
    file.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="expected average faces"):
        Faces.load(file)
