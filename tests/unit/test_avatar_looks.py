"""Looks of avatars: clothes, hair, faces and the population they are drawn from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from anonymizer.avatar.accessories import BAGS, HATS
from anonymizer.avatar.appearance import SKIN, Appearance, Population, draw_appearance, helmeted, seated, worn_as
from anonymizer.avatar.body import Body, Shape, skin
from anonymizer.avatar.cloth import WHITEST
from anonymizer.avatar.faces import NEUTRAL, SIDE, WIDTH, Faces, places
from anonymizer.avatar.garment import Garment
from anonymizer.avatar.hair import HAIR, Scalp, grow
from anonymizer.avatar.hands import ARM, FOREARM, HAND, free_hands
from anonymizer.avatar.mesh import about, areas, border, even, normals, outward
from anonymizer.avatar.paint import embossed
from anonymizer.avatar.render import Camera, Mesh, Tracer
from anonymizer.avatar.shoes import SHOES, lasts, loft
from anonymizer.avatar.tailor import Measures
from anonymizer.avatar.wardrobe import BOTTOMS, FULL, TOPS, Habits, Outfit, dress
from anonymizer.core.errors import InputError, ModelError
from anonymizer.models import weights

FACES = weights.path("prototypes") / "textures.safetensors"
MIDDLE = np.array([0.1, 0.6, 0.5, 0.5, 0.5, 0.5], np.float32)
#: Pixels a metre of a person 350 pixels high.
SCALE = 200.0


@pytest.fixture(scope="module")
def bodies() -> tuple[Body, Body]:
    return Body.load(weights.path("body"))


@pytest.fixture(scope="module")
def shape(bodies: tuple[Body, Body]) -> Shape:
    return bodies[0].rest(MIDDLE)


@pytest.fixture(scope="module")
def faces() -> Faces:
    return Faces.load(FACES)


@pytest.fixture(scope="module")
def crowd(faces: Faces) -> list[Appearance]:
    return [draw_appearance(faces, np.random.default_rng(seed)) for seed in range(500)]


PLAIN = Outfit(("t-shirt",), "trousers", None, "sneakers", "crop")


def outfits() -> list[Outfit]:
    out = [replace(PLAIN, tops=("t-shirt", name) if top.outer else (name,)) for name, top in TOPS.items()]
    out += [replace(PLAIN, bottom=bottom) for bottom in BOTTOMS]
    for name, (_, below) in FULL.items():
        out.append(replace(PLAIN, full=name) if below is None else replace(PLAIN, tops=(), bottom=None, full=name))
    out += [replace(PLAIN, bottom="shorts", shoes=shoes) for shoes in SHOES]
    out += [replace(PLAIN, hair=hair) for hair in HAIR]
    out += [replace(PLAIN, hat=hat, hair="long") for hat in HATS] + [replace(PLAIN, bag=bag) for bag in BAGS]
    return [*out, replace(PLAIN, glasses="glasses", beard=True), replace(PLAIN, glasses="sunglasses", mask=True)]


def name_of(outfit: Outfit) -> str:
    return "-".join((*outfit.cloths, outfit.hair))


def worn(body: Body, outfit: Outfit, phenotype: np.ndarray = MIDDLE) -> tuple[Shape, list[Garment], np.ndarray]:
    shape = body.rest(phenotype)
    pieces, bare = dress(body, shape, Measures.of(body, shape), outfit, SCALE, np.random.default_rng(1))
    return shape, pieces, bare


def test_wardrobe_is_as_large_as_stated() -> None:
    assert len(TOPS) >= 12 and len(BOTTOMS) >= 8 and len(FULL) >= 4 and len(SHOES) >= 6 and len(HAIR) >= 10
    assert {"cap", "hood", "helmet", "headscarf"} <= set(HATS) and len(BAGS) == 2


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("outfit", outfits(), ids=name_of)
def test_every_garment_fits(bodies: tuple[Body, Body], outfit: Outfit, level: int) -> None:
    body = bodies[level]
    shape, pieces, bare = worn(body, outfit)
    assert {p.kind for p in pieces} >= ({"shoes"} if outfit.hat in ("headscarf", "hood") else {"shoes", "hair"})
    assert {p.name for p in pieces} >= set(outfit.cloths)
    for piece in pieces:
        assert np.isfinite(piece.vertices).all() and len(piece.faces) > 20, piece.name
        assert piece.faces.min() >= 0 and piece.faces.max() < len(piece.vertices)
        assert np.allclose(piece.weights.sum(1), 1, atol=1e-3)
        assert len(piece.body) == len(piece.coords) == len(piece.vertices)
        assert np.isfinite(piece.coords).all()
        low, high = shape.vertices.min(0) - 0.3, shape.vertices.max(0) + 0.3
        assert ((piece.vertices > low) & (piece.vertices < high)).all(), piece.name
    # Hands are bare, the trunk is not.
    assert (bare[body.parts == 6] > 0).mean() > 0.5
    trunk = (body.parts == 3) & (shape.vertices[:, 2] < shape.heads[body.number("upperarm01.L"), 2] - 0.1)
    assert (bare[trunk] > 0).mean() < 0.25


def loops(piece: Garment) -> list[float]:
    """Return the lengths in metres of a piece's borders."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges = border(piece.faces)
    if not len(edges):
        return []
    count = len(piece.vertices)
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    label = connected_components(graph, directed=False)[1][edges[:, 0]]
    length = np.linalg.norm(piece.vertices[edges[:, 0]] - piece.vertices[edges[:, 1]], axis=1)
    return [float(length[label == k].sum()) for k in np.unique(label)]


@pytest.mark.parametrize("outfit", outfits()[: len(TOPS) + len(BOTTOMS) + len(FULL) + len(SHOES)], ids=name_of)
def test_garments_have_no_holes_but_their_openings(bodies: tuple[Body, Body], outfit: Outfit) -> None:
    for piece in worn(bodies[0], outfit)[1]:
        if piece.kind == "hair":
            continue
        edges = np.sort(piece.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        assert np.unique(edges, axis=0, return_counts=True)[1].max() == 2, piece.name
        # The smallest opening, a cuff or the rim of a pocket, is this long.
        assert all(length > 0.09 for length in loops(piece)), (piece.name, sorted(loops(piece))[:3])


@pytest.mark.parametrize("name", [n for n, top in TOPS.items() if not top.opening and not top.trim.pockets])
@pytest.mark.parametrize("phenotype", [MIDDLE, np.array([0.05, 0.65, 0.6, 0.55, 0.6, 0.5], np.float32)])
def test_hems_are_whole_and_nothing_shows_above_them(
    bodies: tuple[Body, Body], name: str, phenotype: np.ndarray
) -> None:
    body = bodies[0]
    outfit = replace(PLAIN, tops=("t-shirt", name) if TOPS[name].outer else (name,))
    _, pieces, _ = worn(body, outfit, phenotype)
    hips = body.rest(phenotype).heads[body.number("upperleg01.L"), 2]
    (top,) = (piece for piece in pieces if piece.name == name)
    edges = border(top.faces)
    low = (top.vertices[edges, 2] < hips).all(1) & (top.coords[edges, 0] < 0.3).all(1)
    hem = float(top.vertices[edges[low], 2].min())
    assert (top.vertices[edges[low], 2] < hem + 0.04).all()
    bottom = next(piece for piece in pieces if piece.kind == "bottom")
    assert bottom.vertices[:, 2].max() < hem + 0.1


def test_shoulders_are_bare_in_what_has_no_sleeves(bodies: tuple[Body, Body]) -> None:
    body = bodies[0]
    joint = body.rest(MIDDLE).heads[body.number("upperarm01.L")]
    for outfit, bare in ((replace(PLAIN, tops=("tank top",)), True), (PLAIN, False)):
        shape, _, shown = worn(body, outfit)
        x, z = shape.vertices[:, 0], shape.vertices[:, 2]
        shoulder = (x > joint[0]) & (z > joint[2])
        assert shoulder.sum() > 10 and ((shown[shoulder] > 0).mean() > 0.9) == bare


@pytest.mark.parametrize("name", ["cropped trousers", "leggings"])
def test_trousers_stay_in_boots(bodies: tuple[Body, Body], name: str) -> None:
    _, pieces, _ = worn(bodies[0], replace(PLAIN, bottom=name, shoes="tall boots"))
    trousers, boots = (next(p for p in pieces if p.kind == kind) for kind in ("bottom", "shoes"))
    edges = border(boots.faces)
    rim = float(np.percentile(boots.vertices[edges, 2], 90))
    inside = trousers.vertices[:, 2] < rim - 0.02
    away = np.pad(trousers.coords[inside, 3:5], ((0, 0), (0, 1)))
    assert 30 < inside.sum() < 0.3 * len(inside)
    assert met(boots, trousers.vertices[inside], away / np.linalg.norm(away, axis=1, keepdims=True)).mean() > 0.97


def met(piece: Garment, start: np.ndarray, way: np.ndarray) -> np.ndarray:
    """Return which rays meet a piece, bool (N,)."""
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    scene = EmbreeScene()
    TriangleMesh(scene, piece.vertices.astype(np.float32), piece.faces)
    return np.asarray(scene.run(start.astype(np.float32), way.astype(np.float32), query="OCCLUDED")) >= 0


def about_x(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]], np.float32)


def walking(body: Body, shape: Shape) -> np.ndarray:
    """Return transforms: arms down, one thigh ahead and one back."""
    rotations = np.tile(np.eye(3, dtype=np.float32), (len(body.bones), 1, 1))
    for side, sign in (("L", 1), ("R", -1)):
        c, s = np.cos(0.6), np.sin(0.6) * sign
        down = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], np.float32)
        for number, bone in enumerate(body.bones):
            if bone.endswith(f".{side}") and bone.startswith(("upperarm", "lowerarm", "wrist", "finger", "metacarpal")):
                rotations[number] = down
            elif bone.endswith(f".{side}") and bone.startswith(("upperleg", "lowerleg", "foot", "toe")):
                rotations[number] = about_x(0.35 * sign)
    return body.transforms(shape, rotations)


def uncovered(piece: Garment, points: np.ndarray, body: Body, vertices: np.ndarray) -> tuple[int, int]:
    """Return how many vertices that a garment covers see out past it, and how many it covers."""
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    scene = EmbreeScene()
    TriangleMesh(scene, points.astype(np.float32), piece.faces)
    chosen = np.flatnonzero(piece.covers > 0.03)
    away = normals(vertices, body.faces)[chosen]
    start = (vertices[chosen] - 0.002 * away).astype(np.float32)
    return int((scene.run(start, away, query="OCCLUDED") < 0).sum()), len(chosen)


@pytest.mark.parametrize(
    "phenotype", [MIDDLE, np.array([0.9, 0.8, 0.5, 0.8, 0.4, 0.5], np.float32)], ids=["man", "woman"]
)
def test_less_than_a_hundredth_of_the_body_is_outside_its_clothes(
    bodies: tuple[Body, Body], phenotype: np.ndarray
) -> None:
    body = bodies[0]
    total = np.zeros((2, 2))
    for outfit in outfits()[: len(TOPS) + len(BOTTOMS)]:
        shape, pieces, _ = worn(body, outfit, phenotype)
        moves = walking(body, shape)
        for piece in pieces:
            if piece.kind not in ("top", "outer", "bottom"):
                continue
            skirt = piece.kind == "bottom" and BOTTOMS[piece.name].skirt
            at_rest = uncovered(piece, piece.vertices, body, shape.vertices)
            posed = uncovered(piece, skin(piece.vertices, piece.weights, moves), body, body.pose(shape, moves))
            total += np.array([at_rest, posed])
            assert at_rest[0] < 0.05 * at_rest[1], piece.name
            assert posed[0] < (0.15 if skirt else 0.05) * posed[1], piece.name
    assert (total[:, 0] < 0.01 * total[:, 1]).all(), total


def test_garments_differ_in_geometry(bodies: tuple[Body, Body]) -> None:
    def size(outfit: Outfit, name: str) -> float:
        return sum(float(areas(p.vertices, p.faces).sum()) for p in worn(bodies[1], outfit)[1] if p.name == name)

    for table, kind in ((TOPS, "tops"), (BOTTOMS, "bottom"), (SHOES, "shoes"), (HAIR, "hair")):
        found = []
        for name in table:
            outfit = replace(PLAIN, **{kind: (name,) if kind == "tops" else name})
            found.append(round(size(outfit, name), 4))
        assert len(set(found)) == len(table), kind


def test_shoes_are_closed_and_hold_the_foot(bodies: tuple[Body, Body], shape: Shape) -> None:
    body = bodies[0]
    at = Measures.of(body, shape)
    for last, sign in zip(lasts(body, shape, at), (1, -1), strict=True):
        for name, shoe in SHOES.items():
            points, faces, weights_, coords = loft(shoe, last, body)
            assert not len(border(faces)), name
            a, b, c = (points[faces[:, k]] for k in range(3))
            assert (a * np.cross(b, c)).sum() > 0, name
            assert np.allclose(weights_.sum(1), 1) and coords.shape == (len(points), 3)
            foot = shape.vertices[(at.foot > 0.6) & (sign * at.x > 0)]
            place, own = last.place(foot), last.place(points)
            assert own[:, 0].min() < place[:, 0].min() and own[:, 0].max() > place[:, 0].max(), name
            assert own[:, 2].min() == pytest.approx(-shoe.sole - shoe.heel, abs=0.002), name


def test_hair_grows_on_the_scalp_and_lies_outside_the_head(bodies: tuple[Body, Body], shape: Shape) -> None:
    body = bodies[0]
    at = Measures.of(body, shape)
    own = (at.head > 0.9) & (np.abs(at.x) < 0.072)
    away = normals(shape.vertices, body.faces)
    for name, hair in HAIR.items():
        scalp = Scalp.of(body, hair.recede)
        eyes = (scalp.up < 0.03) & (scalp.angle < 0.7)
        assert eyes.sum() > 100 and (scalp.field[eyes] < 0).all(), name
        made = grow(hair, body, shape, at, scalp, SCALE, np.random.default_rng(0))
        assert made is not None
        assert np.allclose(made.weights.sum(1), 1, atol=1e-3) and np.isfinite(made.vertices).all()
        head = made.vertices[made.vertices[:, 2] > at.chin + 0.08]
        near = np.linalg.norm(head[::7, None] - shape.vertices[own][None], axis=2).argmin(1)
        depth = ((head[::7] - shape.vertices[own][near]) * away[own][near]).sum(1)
        assert (depth > -0.006).mean() > 0.98, name


def test_far_heads_get_fewer_and_wider_ribbons(bodies: tuple[Body, Body], shape: Shape) -> None:
    body = bodies[0]
    at, scalp = Measures.of(body, shape), Scalp.of(body, 0.0)
    near, far = (grow(HAIR["long"], body, shape, at, scalp, s, np.random.default_rng(0)) for s in (600.0, 60.0))
    assert near is not None and far is not None
    assert len(near.faces) > 3 * len(far.faces)
    assert areas(far.vertices, far.faces).sum() == pytest.approx(areas(near.vertices, near.faces).sum(), rel=0.6)


def test_a_hat_covers_hair(bodies: tuple[Body, Body]) -> None:
    def highest(outfit: Outfit) -> float:
        return max(float(p.vertices[:, 2].max()) for p in worn(bodies[0], outfit)[1] if p.kind == "hair")

    assert highest(replace(PLAIN, hat="cap")) < highest(PLAIN) - 0.01
    kinds = [p.kind for p in worn(bodies[0], replace(PLAIN, hat="headscarf", hair="bun"))[1]]
    assert "hair" not in kinds and "hat" in kinds


def test_population_has_what_it_states(crowd: list[Appearance]) -> None:
    worn_by = [look.outfit for look in crowd]
    assert {o.hair for o in worn_by} == set(HAIR) and {o.shoes for o in worn_by} == set(SHOES)
    assert {name for o in worn_by for name in o.tops} == set(TOPS)
    assert {o.full for o in worn_by} == {None, *FULL}
    assert {o.hat for o in worn_by} == {None, *HATS} - {"helmet"}
    assert 0.4 < np.mean([look.phenotype[0] > 0.5 for look in crowd]) < 0.6
    assert any(o.beard for o in worn_by) and not any(
        o.beard and c.phenotype[0] > 0.5 for o, c in zip(worn_by, crowd, strict=True)
    )


def lightness(rgb: np.ndarray) -> float:
    import cv2

    return float(cv2.cvtColor(rgb[None, None].astype(np.float32), cv2.COLOR_RGB2Lab)[0, 0, 0])


def test_skin_covers_the_whole_range_and_no_type_is_rare(crowd: list[Appearance]) -> None:
    found = np.array([lightness(look.skin) for look in crowd])
    middles = np.array([row[0][0] for row in SKIN])
    shares = np.bincount(np.abs(found[:, None] - middles).argmin(1), minlength=len(SKIN)) / len(found)
    stated = np.array([row[1] for row in SKIN]) / sum(row[1] for row in SKIN)
    assert np.abs(shares - stated).max() < 0.07
    assert found.min() < middles.min() + 2 and found.max() > middles.max() - 2


def test_cloth_is_no_whiter_than_white(crowd: list[Appearance]) -> None:
    # Reflectance of four fifths, linear.
    assert WHITEST**2.2 <= 0.8
    for look in crowd:
        for cloth in look.cloths.values():
            assert cloth.colour.min() >= 0 and cloth.colour.max() <= 0.95


def test_nobody_comes_twice_in_a_picture(faces: Faces) -> None:
    taken: set[str] = set()
    tops = []
    for seed in range(12):
        look = draw_appearance(faces, np.random.default_rng(seed), taken)
        assert not look.marks & taken
        taken |= look.marks
        tops.append(look.outfit.full or look.outfit.tops[-1])
    assert len(set(tops)) == len(tops), "what shows on top is never the same piece"
    alone = [draw_appearance(faces, np.random.default_rng(seed)).marks for seed in range(12)]
    assert len(set().union(*alone)) < sum(len(marks) for marks in alone)


def test_more_people_than_pieces_wear_the_same_piece_in_another_colour(faces: Faces) -> None:
    taken: set[str] = set()
    shades = []
    for seed in range(30):
        look = draw_appearance(faces, np.random.default_rng(seed), taken)
        taken |= look.marks
        shades += [mark for mark in look.marks if mark.endswith("]")]
    assert len(set(shades)) == len(shades)


def test_population_can_be_set(faces: Faces) -> None:
    mine = Population(female=1.0, skin=(0, 0, 0, 0, 0, 0, 1), habits=Habits(1.0, 0.0, 1.0, 0.0, 1.0))
    for seed in range(40):
        look = draw_appearance(faces, np.random.default_rng(seed), population=mine)
        assert look.phenotype[0] > 0.5 and lightness(look.skin) < 35
        worn_ = look.outfit
        assert worn_.hat is not None and worn_.glasses is not None and worn_.bag is None and not worn_.mask
    with pytest.raises(InputError, match="expected 7 weights"):
        Population(skin=(1.0, 2.0))


def test_children_are_children(faces: Faces, bodies: tuple[Body, Body]) -> None:
    for seed in range(40):
        look = draw_appearance(faces, np.random.default_rng(seed), child=True)
        tall = np.ptp(bodies[1].rest(look.phenotype).vertices[:, 2])
        assert 0.85 < tall < 1.55
        assert not look.outfit.beard and look.outfit.shoes not in ("oxfords", "tall boots")


@pytest.mark.parametrize(("rides", "least", "most"), [("bicycle", 0.4, 0.6), ("motorcycle", 0.8, 1.0)])
def test_some_riders_wear_a_helmet_and_nothing_else_changes(
    crowd: list[Appearance], rides: str, least: float, most: float
) -> None:
    ridden = [helmeted(look, rides, np.random.default_rng(number)) for number, look in enumerate(crowd[:300])]
    assert least < np.mean([look.outfit.hat == "helmet" for look in ridden]) < most
    assert not any(look.outfit.hat == "helmet" for look in crowd)
    for look, before in zip(ridden, crowd, strict=False):
        assert look.outfit.bottom is None or not BOTTOMS[look.outfit.bottom].skirt
        assert set(look.cloths) == set(look.outfit.cloths)
        same = set(look.cloths) & set(before.cloths)
        assert all(look.cloths[name] is before.cloths[name] for name in same) and look.face is before.face


def test_who_sits_wears_no_skirt(crowd: list[Appearance]) -> None:
    for look in crowd[:200]:
        worn_ = seated(look, np.random.default_rng(0)).outfit
        assert worn_.bottom is None or not BOTTOMS[worn_.bottom].skirt
        assert worn_.full is None or "dress" not in worn_.full
    same = worn_as(crowd[0], PLAIN, np.random.default_rng(0))
    assert set(same.cloths) == set(PLAIN.cloths) and seated(same, np.random.default_rng(0)) is same


def test_faces_have_the_tone_of_the_skin(faces: Faces, bodies: tuple[Body, Body]) -> None:
    body = bodies[0]
    where = places(body)
    head = body.parts == 1
    rng = np.random.default_rng(0)
    for _ in range(30):
        face = faces.any(rng, bool(rng.random() < 0.5))
        assert face.ratios.shape == (SIDE, WIDTH, 3)
        found = face.look_up(where[:, :2], where[:, 2])
        # Beyond the face nothing is changed.
        assert (found[~head & (body.parts > 2)] == 1).all()
        back = head & (where[:, 2] < -0.05)
        assert (found[back] == 1).all()
        front = head & (where[:, 2] > 0.3) & (np.abs(where[:, 1] - 75) < 40) & (np.abs(where[:, 0] - 55.5) < 40)
        triangles = body.faces[front[body.faces].all(1)]
        assert len(triangles) > 500
        # Vertices lie close at eyes and lips: what is seen goes by area.
        seen = (found[triangles].mean((1, 2)) * areas(body.middle.vertices, triangles)).sum()
        assert seen / areas(body.middle.vertices, triangles).sum() == pytest.approx(1, abs=0.12)


def test_other_face_files_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    file = tmp_path / "textures.safetensors"
    file.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="expected face textures"):
        Faces.load(file)
    textures = np.full((2, SIDE, WIDTH, 3), NEUTRAL, np.uint8)
    save_file({"textures": textures, "female": np.zeros(2, np.uint8)}, file)
    with pytest.raises(ModelError, match="both sexes"):
        Faces.load(file)


def test_relief_tilts_normals_as_its_slope() -> None:
    corners = np.array([[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]], np.float32)
    plane = Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32))
    hits = Tracer([plane]).primary(Camera(20.0, np.array([20, 20], np.float32)), (0, 0, 40, 40), 1)
    assert np.allclose(hits.normals, [0, -1, 0], atol=1e-5)
    flat = embossed(hits, np.full(len(hits.ray), 0.3, np.float32))
    assert np.allclose(flat, hits.normals, atol=1e-4)
    # Height grows to the right by 0.2 a metre: the normal leans to the left by as much.
    leaning = embossed(hits, (0.2 * hits.points[:, 0]).astype(np.float32))
    assert np.allclose(leaning, np.array([-0.2, -1, 0]) / np.hypot(1, 0.2), atol=1e-3)


def test_borders_are_found_evened_and_meshes_turned_outward() -> None:
    square = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    assert border(square).tolist() == [[0, 1], [0, 3], [1, 2], [2, 3]]
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    rough = np.stack([np.cos(turn), np.sin(turn), 0.1 * (-1.0) ** np.arange(40)], 1).astype(np.float32)
    ring = np.stack([np.arange(40), (np.arange(40) + 1) % 40], 1).astype(np.int32)
    smooth = even(rough, ring, 12)
    assert np.abs(smooth[:, 2]).max() < 0.02
    assert np.hypot(smooth[:, 0], smooth[:, 1]) == pytest.approx(np.ones(40), abs=0.05)
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    inward = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    assert (outward(points, inward) == inward[:, ::-1]).all()
    assert (outward(points, inward[:, ::-1]) == inward[:, ::-1]).all()


def test_faces_of_one_average_differ(faces: Faces) -> None:
    women = [faces.any(np.random.default_rng(seed), True) for seed in range(40)]
    same = [(a, b) for n, a in enumerate(women) for b in women[:n] if a.number == b.number]
    assert same and min(float(np.abs(a.ratios - b.ratios)[32:112, 20:92].mean()) for a, b in same) > 0.01
    assert all(np.isfinite(face.ratios).all() and face.ratios.min() > 0 for face in women)
    # The skin itself stays as bright as it was.
    assert all(0.85 < float(np.median(face.ratios[32:112, 20:92])) < 1.15 for face in women)


def test_lipstick_reddens_lips_alone(faces: Faces, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, painted = [], []
    for share, out in ((0.0, plain), (1.0, painted)):
        monkeypatch.setattr("anonymizer.avatar.faces.PAINTED", share)
        out += [faces.any(np.random.default_rng(seed), True).ratios for seed in range(6)]
    for a, b in zip(plain, painted, strict=True):
        assert np.array_equal(a[:80], b[:80]) and np.array_equal(a[..., 0], b[..., 0])
        assert (b[..., 1] <= a[..., 1] + 1e-6).all()
    assert max(float(np.abs(a - b).max()) for a, b in zip(plain, painted, strict=True)) > 0.05


def test_long_hair_lies_over_what_is_worn(bodies: tuple[Body, Body]) -> None:
    body = bodies[0]
    shape, pieces, _ = worn(body, replace(PLAIN, tops=("t-shirt", "puffer jacket"), hair="long"))
    jacket = next(p for p in pieces if p.name == "puffer jacket")
    hair = next(p for p in pieces if p.kind == "hair")
    low = hair.vertices[hair.vertices[:, 2] < Measures.of(body, shape).chin - 0.05]
    near = cKDTree(jacket.vertices).query(low, distance_upper_bound=0.05)
    known = np.isfinite(near[0])
    place = near[1][known]
    high = ((low[known] - jacket.vertices[place]) * normals(jacket.vertices, jacket.faces)[place]).sum(1)
    assert known.sum() > 500 and (high > 0).mean() > 0.95


def test_hands_come_out_of_wide_clothes(bodies: tuple[Body, Body]) -> None:
    body = bodies[0]
    shape, pieces, _ = worn(body, replace(PLAIN, tops=("t-shirt", "parka")))
    rotations = np.tile(np.eye(3, dtype=np.float32), (len(body.bones), 1, 1))
    # Arms are turned down and back until they lie in the coat.
    for side, angle in (("L", 0.7), ("R", -0.7)):
        turned = about(np.array([1, 0, 0], np.float32), 0.5) @ about(np.array([0, 1, 0], np.float32), angle)
        for number, bone in enumerate(body.bones):
            if bone.startswith(ARM) and bone.endswith(f".{side}"):
                rotations[number] = turned
    transforms = body.transforms(shape, rotations)
    worn_at = [skin(p.vertices, p.weights, transforms) for p in pieces]
    freed = free_hands(body, shape, body.pose(shape, transforms), pieces, worn_at, transforms)
    assert freed is not None
    coat = next(p for p in pieces if p.name == "parka")
    still = coat.weights[:, [b.startswith(ARM) for b in body.bones]].sum(1) < 0.3

    def inside(by: np.ndarray) -> float:
        cloth = skin(coat.vertices, coat.weights, by)
        hands = body.pose(shape, by)[np.isin(body.parts, (FOREARM, HAND))]
        outward = normals(cloth, coat.faces)[still]
        near = cKDTree(cloth[still]).query(hands)[1]
        return float((((hands - cloth[still][near]) * outward[near]).sum(1) < 0).mean())

    assert inside(transforms) > 0.5 > 0.05 > inside(freed)
    # Who holds the arms away is left alone.
    still_there = body.transforms(shape, np.tile(np.eye(3, dtype=np.float32), (len(body.bones), 1, 1)))
    assert (
        free_hands(body, shape, body.pose(shape, still_there), pieces, [p.vertices for p in pieces], still_there)
        is None
    )
