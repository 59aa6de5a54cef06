"""Wardrobe: garments, shoes and hair cut out of a body at rest along level sets of smooth fields.

Lengths are shares of limbs, so that every garment fits every body. Cloth spans hollows: on the trunk it lies on the
convex hull of each horizontal slice. All is drawn by chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.body import Body, Shape
from anonymizer.avatar.hair import HAIR, Scalp, grow
from anonymizer.avatar.mesh import averaging, cut, normals
from anonymizer.avatar.tailor import Measures, hang, spread, tube

__all__ = [
    "BOTTOMS",
    "FULL",
    "SHOES",
    "TOPS",
    "Bottom",
    "Garment",
    "Outfit",
    "Shoe",
    "Top",
    "choose",
    "dress",
]

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]

#: Cloth over which skin is left out: how far inside the border, in metres.
COVERED = 0.012
#: How far above the hips trousers and skirts reach, in shares of the leg.
WAIST = 0.115
#: What of a shoe is its sole, in metres above the ground.
FLAT = 0.018
#: How far inside of a shoe's border skin goes on, as a share of leg or foot.
RIM = 0.025
#: Least distance of a top from the hull of trunk and legs: it hangs over trousers.
UNTUCKED = 0.016


@dataclass(frozen=True, slots=True)
class Top:
    """What covers the trunk.

    Args:
        sleeve: Where sleeves end: 0 at the shoulder, 1 at the wrist.
        hem: Where it ends below the hip joints, in shares of the leg.
        collar: How far it reaches up the neck, in metres above its root.
        ease: Distance from the body, in metres.
        fall: How much of its width above it keeps below, in [0, 1].
        opening: Half width in metres of an open front; 0: closed.
        outer: Whether it is worn over another top.
    """

    sleeve: float
    hem: float
    collar: float
    ease: float
    fall: float = 0.955
    opening: float = 0.0
    outer: bool = False


@dataclass(frozen=True, slots=True)
class Bottom:
    """What covers the legs.

    Args:
        length: Where it ends: 0 at the hip, 1 at the ankle.
        ease: Distance from the body, in metres.
        flare: How much wider it is at the ankle, for a skirt at its hem, in metres.
        skirt: Whether it is one tube around both legs.
    """

    length: float
    ease: float
    flare: float = 0.0
    skirt: bool = False


@dataclass(frozen=True, slots=True)
class Shoe:
    """What covers the feet up to a share of the leg (1 ankle), with a sole, in metres."""

    height: float
    sole: float


TOPS = {
    "t-shirt": Top(0.3, 0.1, 0.0, 0.014),
    "tank top": Top(0.02, 0.08, -0.04, 0.008),
    "shirt": Top(0.97, 0.14, 0.025, 0.014),
    "polo": Top(0.33, 0.08, 0.025, 0.012),
    "sweater": Top(0.97, 0.06, 0.01, 0.02),
    "blouse": Top(0.6, 0.05, -0.015, 0.016),
    "jacket": Top(0.98, 0.07, 0.03, 0.024, 0.97, 0.05, True),
    "hooded jacket": Top(0.98, 0.1, 0.035, 0.028, 0.97, 0.0, True),
    "parka": Top(0.98, 0.4, 0.03, 0.032, 0.98, 0.0, True),
}
BOTTOMS = {
    "trousers": Bottom(1.0, 0.014, 0.014),
    "slim trousers": Bottom(0.94, 0.007),
    "wide trousers": Bottom(1.02, 0.02, 0.035),
    "shorts": Bottom(0.5, 0.022, 0.02),
    "skirt": Bottom(0.52, 0.012, 0.1, True),
    "long skirt": Bottom(0.86, 0.012, 0.16, True),
}
#: Full-length pieces: a top and what hangs from it.
FULL = {
    "dress": (Top(0.22, 0.05, -0.01, 0.01), Bottom(0.5, 0.014, 0.12, True)),
    "long coat": (Top(0.98, 0.62, 0.03, 0.032, 0.985, 0.03, True), None),
    "overalls": (Top(0.3, 0.02, 0.0, 0.014), Bottom(0.97, 0.018, 0.015)),
}
SHOES = {"sneakers": Shoe(0.945, 0.016), "low shoes": Shoe(0.98, 0.01), "boots": Shoe(0.78, 0.018)}
#: How often each is worn by men and by women: neighbours in the tables above, in their order.
HAIR_WEIGHTS = (
    (2, 4, 4, 2.5, 2, 1.5, 0.8, 2, 0.2, 0.1, 0.3, 0.2, 0.2, 0.1),
    (0.2, 0.5, 0.8, 0.6, 0.6, 1.5, 0.7, 0.1, 2.5, 1.5, 3, 3, 2.2, 2),
)
TOP_WEIGHTS = ((4, 0.5, 4, 2, 3, 0, 3, 2.5, 1.2), (3.5, 1, 2, 0.7, 3, 3, 2.5, 1.5, 1.2))
BOTTOM_WEIGHTS = ((5, 2.5, 1, 1.2, 0, 0), (3, 4, 1.2, 0.8, 1.5, 0.8))
SHOE_WEIGHTS = ((3, 3, 0.7), (3, 2, 1.5))
#: How often a full-length piece is worn.
FULL_SHARE = (0.1, 0.25)


@dataclass(frozen=True, slots=True)
class Outfit:
    """Names of what somebody wears: one top at least, one of them on the other, bottom or none, shoes and hair."""

    tops: tuple[str, ...]
    bottom: str | None
    full: str | None
    shoes: str
    hair: str


@dataclass(frozen=True, slots=True, eq=False)
class Garment:
    """One piece on a body at rest.

    Args:
        kind: ``top``, ``outer``, ``bottom``, ``shoes`` or ``hair``.
        name: Which.
        vertices: float32 (M, 3).
        faces: int32 (F, 3).
        weights: float32 (M, B) of the bones.
        body: float32 (M, 3), the points of the body that lie below; patterns hang on them.
        covers: float32 (V,), above 0 where it covers the body.
        coords: float32 (M, C), what paint goes by: of hair see ``Strands``, of cloth see ``COORDS``.
    """

    kind: str
    name: str
    vertices: Floats
    faces: Numbers
    weights: Floats
    body: Floats
    covers: Floats
    coords: Floats


def choose(rng: np.random.Generator, female: bool) -> Outfit:
    """Return what somebody wears, drawn by chance."""

    def one(table: dict[str, object], weights: tuple[float, ...], only: Callable[[str], bool] = lambda _: True) -> str:
        names = list(table)
        share = np.array([w if only(n) else 0.0 for n, w in zip(names, weights, strict=True)])
        return str(names[int(rng.choice(len(names), p=share / share.sum()))])

    sex = int(female)
    hair, shoes = one({**HAIR}, HAIR_WEIGHTS[sex]), one({**SHOES}, SHOE_WEIGHTS[sex])
    inner = one({**TOPS}, TOP_WEIGHTS[sex], lambda n: not TOPS[n].outer)
    bottom = one({**BOTTOMS}, BOTTOM_WEIGHTS[sex])
    if rng.random() < FULL_SHARE[sex]:
        full = str(rng.choice([n for n in FULL if female or n != "dress"]))
        if full == "long coat":
            trousers = one({**BOTTOMS}, BOTTOM_WEIGHTS[sex], lambda n: not BOTTOMS[n].skirt)
            return Outfit((inner,), trousers, full, shoes, hair)
        return Outfit((), None, full, shoes, hair)
    top = one({**TOPS}, TOP_WEIGHTS[sex])
    if not TOPS[top].outer:
        return Outfit((top,), bottom, None, shoes, hair)
    if TOPS[top].hem > 0.2 and BOTTOMS[bottom].skirt:
        bottom = "slim trousers"
    return Outfit((inner, top), bottom, None, shoes, hair)


def dress(
    body: Body, shape: Shape, at: Measures, outfit: Outfit, scale: float, rng: np.random.Generator
) -> tuple[list[Garment], Floats]:
    """Return an outfit on a body at rest, and where skin shows, float32 (V,): above 0 where it does.

    Args:
        body: The model.
        shape: Its shape.
        at: Its measures.
        outfit: What is worn.
        scale: Pixels a metre in the picture.
        rng: Small differences of lengths and widths.
    """
    pieces: list[Garment] = []
    full_top, full_bottom = FULL[outfit.full] if outfit.full else (None, None)
    bottom = full_bottom if outfit.bottom is None else BOTTOMS[outfit.bottom]
    tops = [(name, TOPS[name]) for name in outfit.tops]
    if full_top is not None and outfit.full is not None:
        tops.append((outfit.full, full_top))
    if bottom is not None:
        varied = replace(bottom, length=bottom.length * float(rng.uniform(0.97, 1.0)))
        pieces.append(_bottom(body, shape, at, varied, outfit.bottom or outfit.full or ""))
    covered = any(top.outer for _, top in tops)
    for name, top in tops:
        # Below a jacket no sleeve shows, and none pokes through.
        hidden = covered and not top.outer
        worn = replace(top, sleeve=min(top.sleeve, 0.1), hem=min(top.hem, 0.03)) if hidden else top
        worn = replace(
            worn, hem=worn.hem + float(rng.uniform(-0.02, 0.03)), ease=worn.ease * float(rng.uniform(0.9, 1.25))
        )
        pieces.append(_top(body, shape, at, worn, name))
    pieces.append(_shoes(body, shape, at, SHOES[outfit.shoes], outfit.shoes))
    covers = np.max([p.covers for p in pieces], axis=0)
    hair = _hair(body, shape, at, outfit.hair, scale, rng)
    if hair is not None:
        pieces.append(hair)
    return pieces, np.asarray(COVERED - covers, np.float32)


def _piece(
    body: Body, shape: Shape, kind: str, name: str, field: Floats, ease: float | Floats, smooth: int, blend: int
) -> Garment:
    """Return the body's surface where a field (V,) is positive, smoothed and pushed out."""
    part = cut(body.faces, field)
    below = part.of(shape.vertices)
    out_of = part.of(body.weights)
    distance = part.of(np.broadcast_to(np.asarray(ease, np.float32), field.shape))
    around = averaging(len(below), part.faces)
    points = below.copy()
    for _ in range(smooth):
        points = 0.5 * points + 0.5 * (around @ points)
    points = points + normals(points, part.faces) * distance[:, None]
    outward = normals(below, part.faces)
    short = np.maximum(0, distance - ((points - below) * outward).sum(1))
    points = points + outward * short[:, None]
    points = 0.7 * points + 0.3 * (around @ points)
    for _ in range(blend):
        out_of = 0.5 * out_of + 0.5 * (around @ out_of)
    weights = out_of / out_of.sum(1, keepdims=True)
    covers = np.minimum(field, 0.04).astype(np.float32)
    coords = np.zeros((len(below), 1), np.float32)
    return Garment(kind, name, points.astype(np.float32), part.faces, weights.astype(np.float32), below, covers, coords)


def _bottom(body: Body, shape: Shape, at: Measures, bottom: Bottom, name: str) -> Garment:
    top = at.hips + WAIST * at.leg_length
    below_waist = top - at.z
    if not bottom.skirt:
        field = at.soft(np.where(at.arm > 0, -1, np.minimum(bottom.length - at.leg, below_waist)), 1)
        ease = bottom.ease + bottom.flare * np.clip(at.leg, 0, 1)
        return _piece(body, shape, "bottom", name, field, ease.astype(np.float32), 14, 3)
    end = at.hips - bottom.length * at.leg_length
    field = np.where(at.arm > 0, -1, np.minimum(at.z - end - 0.03, below_waist))
    points, faces, weights = tube(body, shape, at, top, end, bottom.ease, bottom.flare)
    covers = np.minimum(field, 0.04).astype(np.float32)
    return Garment("bottom", name, points, faces, weights, points.copy(), covers, np.zeros((len(points), 1), np.float32))


def _top(body: Body, shape: Shape, at: Measures, top: Top, name: str) -> Garment:
    hem = at.hips - top.hem * at.leg_length
    trunk = np.minimum(at.z - hem, at.collar + top.collar - at.z)
    if top.collar < 0:
        # A wide neckline is round: deeper in the middle.
        trunk = np.minimum(trunk, at.collar + 0.5 * top.collar + 0.25 * np.abs(at.x) - at.z + 0.03)
    if top.opening > 0:
        front = at.y < at.middle[1]
        trunk = np.where(
            front,
            np.minimum(trunk, np.abs(at.x) - top.opening * np.clip((at.collar + 0.1 - at.z) / 0.4, 0.3, 1)),
            trunk,
        )
    field = np.where(at.arm > 0, np.minimum(top.sleeve - at.arm, 1.0), trunk)
    piece = _piece(body, shape, "outer" if top.outer else "top", name, at.soft(field, 2), top.ease, 10, 3)
    # Over trousers, and a coat over all.
    ease = top.ease if top.outer else max(0.6 * top.ease, UNTUCKED)
    points = spread(piece.vertices, piece.weights, piece.faces, body, at, ease, top.fall)
    return replace(piece, vertices=points, weights=hang(piece.weights, points, body, at))


def _shoes(body: Body, shape: Shape, at: Measures, shoe: Shoe, name: str) -> Garment:
    field = at.soft(np.maximum(at.foot - 0.35, np.where(at.legs > 0.3, at.leg - shoe.height, -1)), 1)
    # Smooth enough that no toe shows.
    piece = _piece(body, shape, "shoes", name, field, 0.012, 60, 1)
    points = piece.vertices.copy()
    ground = shape.vertices[:, 2].min()
    # Soles are flat.
    low = points[:, 2] < ground + FLAT
    # The border shrinks when it is smoothed: skin goes on a little below it.
    covers = piece.covers - RIM
    points[:, 2] = np.where(low, ground - shoe.sole + 0.2 * (points[:, 2] - ground - FLAT), points[:, 2])
    return replace(piece, vertices=points, covers=covers)


def _hair(
    body: Body, shape: Shape, at: Measures, name: str, scale: float, rng: np.random.Generator
) -> Garment | None:
    hair = HAIR[name]
    made = grow(hair, body, shape, at, Scalp.of(body, hair.recede), scale, rng)
    if made is None:
        return None
    covers = np.full(len(body.weights), -1, np.float32)
    return Garment("hair", name, made.vertices, made.faces, made.weights, made.vertices, covers, made.coords)
