"""Wardrobe: garments, shoes and hair cut out of a body at rest along level sets of smooth fields.

Lengths are shares of limbs, so that every garment fits every body. Cloth spans hollows: on the trunk it lies on the
convex hull of each horizontal slice. All is drawn by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.accessories import BAGS, HATS, bag, beard, glasses, hat, hat_line, mask
from anonymizer.avatar.body import Body, Shape
from anonymizer.avatar.garment import DEEP, Garment, let_down, piece_of
from anonymizer.avatar.hair import HAIR, Scalp, grow
from anonymizer.avatar.mesh import cut, normals
from anonymizer.avatar.shoes import SHOES, Shoe, lasts, loft
from anonymizer.avatar.shoes import covered as inside_of
from anonymizer.avatar.tailor import Measures, hang, spread, straighten, tube
from anonymizer.avatar.trimmings import Trim, trimmed

__all__ = [
    "BOTTOMS",
    "FULL",
    "TOPS",
    "Bottom",
    "Habits",
    "Outfit",
    "Top",
    "choose",
    "dress",
    "trousered",
]

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]

#: Cloth over which skin is left out: how far inside the border, in metres.
COVERED = 0.035
#: How far above the hips trousers and skirts reach, in shares of the leg.
WAIST = 0.115
#: Share of the leg from which on trousers are not cut from the body but hang on the shoe.
LONGEST = 0.97
#: How far inside of a shoe's border skin goes on, as a share of leg or foot.
RIM = 0.025
#: How far a boot's shaft is let down into the shoe, in metres.
SHAFT = 0.06
#: How far trousers reach into boots, as a share of the leg; over how much of it they narrow above, and how far towards
#: the skin.
INTO, TAPER, HELD = 0.1, 0.1, 0.7
#: Fewest vertices below a boot's shaft.
LEAST = 24
#: Half width in metres of what there is of a top under an open jacket.
PANEL = 0.085
#: How far long hair lies above cloth, the lowest strand and what the highest has more, and how deep in cloth hair may
#: be, in metres.
LYING, HIDDEN = (0.003, 0.009), 0.08
#: Ease of trousers in metres below which they go into boots.
SLIM = 0.009
#: How far below the hip joints tops are cut from the body, in shares of the leg.
LOWEST = 0.05
#: Least distance of a top from the hull of trunk and legs: it hangs over trousers.
UNTUCKED = 0.016


#: How far bottoms go on below a top, and beside its open front, in metres.
UNDER, ASIDE = 0.04, 0.12
#: Sleeves that are none, and how far out straps lie, as a share of the way to the shoulder joint.
SLEEVELESS, STRAP = 0.05, 0.85
#: A top without trimmings.
PLAIN = Trim()


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
        neck: How far a neckline goes down to a point in front, in metres; 0: it does not.
        sleeve_fall: How much of its width above a sleeve keeps, in [0, 1].
        trim: Collar, lapels, pockets and hood.
        panel: Half width in metres of what there is of it under something else: the front and the neck; 0: all.
    """

    sleeve: float
    hem: float
    collar: float
    ease: float
    fall: float = 0.955
    opening: float = 0.0
    outer: bool = False
    neck: float = 0.0
    sleeve_fall: float = 0.985
    trim: Trim = PLAIN
    panel: float = 0.0


@dataclass(frozen=True, slots=True)
class Bottom:
    """What covers the legs.

    Args:
        length: Where it ends: 0 at the hip, 1 at the ankle.
        ease: Distance from the body, in metres.
        flare: How much wider it is at the ankle, for a skirt at its hem, in metres.
        skirt: Whether it is one tube around both legs.
        fall: How much of its width above each slice keeps, in [0, 1]: straight trousers hang, slim ones follow the leg.
        pleats: Depth of pleats at the hem as a share of its width.
        into: Where it goes into a boot: 0 at the hip, 1 at the ankle; above 1 nowhere.
    """

    length: float
    ease: float
    flare: float = 0.0
    skirt: bool = False
    fall: float = 0.97
    pleats: float = 0.03
    into: float = 2.0


TOPS = {
    "t-shirt": Top(0.34, 0.1, 0.0, 0.013),
    "tank top": Top(0.02, 0.08, -0.04, 0.008),
    "shirt": Top(0.97, 0.14, 0.012, 0.014, trim=Trim(collar=0.026, points=0.035, pockets=("chest",))),
    "polo": Top(0.36, 0.08, 0.012, 0.013, trim=Trim(collar=0.022, points=0.03)),
    "blouse": Top(0.62, 0.05, -0.015, 0.016, neck=0.1),
    "sweater": Top(0.99, 0.06, 0.008, 0.02),
    "turtleneck": Top(0.98, 0.07, 0.05, 0.014),
    "hoodie": Top(0.98, 0.08, 0.015, 0.024, trim=Trim(pockets=("pouch",), hood=True)),
    "cardigan": Top(0.98, 0.12, 0.0, 0.02, 0.97, 0.045, True),
    "jacket": Top(0.99, 0.03, 0.03, 0.026, 0.98, 0.0, True, trim=Trim(collar=0.012)),
    "hooded jacket": Top(0.98, 0.1, 0.02, 0.026, 0.97, 0.0, True, trim=Trim(pockets=("flap",), hood=True)),
    "blazer": Top(0.98, 0.16, 0.0, 0.022, 0.975, 0.03, True, trim=Trim(0.03, 0.01, 0.3, ("flap",))),
    "denim jacket": Top(0.98, 0.0, 0.01, 0.02, 0.97, 0.02, True, trim=Trim(0.026, 0.04, 0.0, ("chest",))),
    "leather jacket": Top(0.98, 0.0, 0.012, 0.02, 0.97, 0.035, True, trim=Trim(0.026, 0.03, 0.2)),
    "puffer jacket": Top(0.97, 0.07, 0.045, 0.036, 0.98, 0.0, True),
    "parka": Top(0.98, 0.36, 0.03, 0.032, 0.98, 0.0, True, trim=Trim(0.02, 0.02, 0.0, ("hip",), True)),
}
BOTTOMS = {
    "trousers": Bottom(1.08, 0.012, fall=0.965),
    "slim trousers": Bottom(1.04, 0.006, fall=0.9),
    "wide trousers": Bottom(1.09, 0.02, 0.02, fall=0.99),
    "cropped trousers": Bottom(0.8, 0.012, fall=0.975),
    "shorts": Bottom(0.48, 0.02, 0.015, fall=0.985),
    "joggers": Bottom(1.0, 0.022, fall=0.97),
    "skirt": Bottom(0.5, 0.012, 0.08, True),
    "pencil skirt": Bottom(0.58, 0.008, 0.0, True, pleats=0.0),
    "long skirt": Bottom(0.88, 0.012, 0.14, True, pleats=0.05),
    "leggings": Bottom(0.96, 0.003, fall=0.5),
}
#: Full-length pieces: a top and what hangs from it.
FULL = {
    "dress": (Top(0.25, 0.05, -0.01, 0.01), Bottom(0.5, 0.014, 0.1, True, pleats=0.05)),
    "summer dress": (Top(0.02, 0.05, -0.04, 0.008, neck=0.08), Bottom(0.62, 0.012, 0.18, True, pleats=0.06)),
    "shirt dress": (Top(0.6, 0.05, 0.012, 0.014, trim=Trim(0.032, 0.03)), Bottom(0.55, 0.012, 0.04, True)),
    "long coat": (Top(0.98, 0.58, 0.0, 0.03, 0.985, 0.025, True, trim=Trim(0.04, 0.02, 0.28, ("flap",))), None),
    "overalls": (Top(0.3, 0.02, 0.012, 0.014, trim=Trim(0.03, 0.03, 0.0, ("chest",))), Bottom(1.04, 0.018)),
}
#: How often each is worn by men and by women: neighbours in the tables above, in their order.
HAIR_WEIGHTS = (
    (2, 4, 4, 2.5, 2, 1.5, 0.8, 2, 0.2, 0.1, 0.3, 0.2, 0.2, 0.1),
    (0.2, 0.5, 0.8, 0.6, 0.6, 1.5, 0.7, 0.1, 2.5, 1.5, 3, 3, 2.2, 2),
)
TOP_WEIGHTS = (
    (5, 0.4, 4, 2, 0, 2, 0.6, 2, 0.5, 1.5, 1.2, 1.8, 0.8, 0.8, 1.2, 0.8),
    (4, 1, 2, 0.6, 3, 2, 1, 1, 1.5, 0.8, 0.8, 1.2, 1, 0.9, 1.2, 0.8),
)
BOTTOM_WEIGHTS = ((6, 2.5, 0.7, 0.4, 1.0, 1, 0, 0, 0, 0), (3, 4, 1.2, 1, 0.6, 0.5, 1, 0.7, 0.8, 1.5))
SHOE_WEIGHTS = ((3, 2, 0.7, 2.5, 1.2, 0, 0, 0.1), (3, 1.5, 0.5, 0.7, 1.5, 1.0, 1.8, 0.4))
#: How often a full-length piece is worn.
FULL_SHARE = (0.1, 0.25)


#: What children do not wear.
GROWN_UP = frozenset(
    (
        *("receding", "blazer", "leather jacket", "turtleneck", "long coat", "shirt dress", "pencil skirt", "blouse"),
        *("oxfords", "tall boots", "ankle boots", "headscarf"),
    )
)
#: How often each hat is worn by men and by women: neighbours in ``HATS``. Helmets are for riders.
HAT_WEIGHTS = ((5, 3, 0, 0, 1), (2, 3, 0, 3, 1))


@dataclass(frozen=True, slots=True)
class Outfit:
    """Names of what somebody wears.

    Args:
        tops: One at least unless ``full`` is one, the second over the first.
        bottom: Or None.
        full: A full-length piece, or None.
        shoes, hair: Names.
        hat, bag, glasses: Or None.
        beard, mask: Whether there is one.
    """

    tops: tuple[str, ...]
    bottom: str | None
    full: str | None
    shoes: str
    hair: str
    hat: str | None = None
    bag: str | None = None
    glasses: str | None = None
    beard: bool = False
    mask: bool = False

    @property
    def cloths(self) -> tuple[str, ...]:
        """Names of all that has a cloth of its own."""
        names = (*self.tops, self.bottom, self.full, self.shoes, self.hat, self.bag, self.glasses)
        return (*(name for name in names if name is not None), *(("mask",) if self.mask else ()))


@dataclass(frozen=True, slots=True)
class Habits:
    """Shares of people, in [0, 1], who wear a hat, a bag, glasses or a face mask, and of men with a beard."""

    hats: float = 0.16
    bags: float = 0.28
    glasses: float = 0.2
    masks: float = 0.02
    beards: float = 0.18


#: What is worn where nothing else is stated.
USUAL = Habits()


def choose(rng: np.random.Generator, female: bool, child: bool = False, habits: Habits = USUAL) -> Outfit:
    """Return what somebody wears, drawn by chance.

    Args:
        rng: Source of everything.
        female: Whether what women wear is drawn from.
        child: Whether it is a child: of what is worn at any age.
        habits: How often what is worn.
    """

    def one(table: Iterable[str], weights: tuple[float, ...], only: Callable[[str], bool] = lambda _: True) -> str:
        names = list(table)
        share = np.array(
            [w if only(n) and not (child and n in GROWN_UP) else 0.0 for n, w in zip(names, weights, strict=True)]
        )
        return str(names[int(rng.choice(len(names), p=share / share.sum()))])

    sex = int(female)
    hair, shoes = one(HAIR, HAIR_WEIGHTS[sex]), one(SHOES, SHOE_WEIGHTS[sex])
    inner = one(TOPS, TOP_WEIGHTS[sex], lambda n: not TOPS[n].outer)
    bottom = one(BOTTOMS, BOTTOM_WEIGHTS[sex])
    tops: tuple[str, ...] = (inner,)
    full: str | None = None
    if rng.random() < FULL_SHARE[sex]:
        fit_for = [n for n in FULL if (female or "dress" not in n) and not (child and n in GROWN_UP)]
        full = str(rng.choice(fit_for))
        if full == "long coat":
            bottom = one(BOTTOMS, BOTTOM_WEIGHTS[sex], lambda n: not BOTTOMS[n].skirt)
    else:
        top = one(TOPS, TOP_WEIGHTS[sex])
        if TOPS[top].outer:
            tops = (inner, top)
            bottom = "slim trousers" if TOPS[top].hem > 0.2 and BOTTOMS[bottom].skirt else bottom
        else:
            tops = (top,)
    hat = one(HATS, HAT_WEIGHTS[sex]) if rng.random() < habits.hats else None
    worn = Outfit(
        tops=tops,
        bottom=bottom,
        full=full,
        shoes=shoes,
        hair=hair,
        hat=hat,
        bag=str(rng.choice(BAGS)) if rng.random() < habits.bags else None,
        glasses=("glasses" if rng.random() < 0.6 else "sunglasses") if rng.random() < habits.glasses else None,
        beard=not female and not child and bool(rng.random() < habits.beards),
        mask=bool(rng.random() < habits.masks),
    )
    return replace(worn, tops=(), bottom=None) if full is not None and full != "long coat" else worn


def trousered(outfit: Outfit) -> Outfit:
    """Return an outfit for somebody who sits or rides: trousers where there is a skirt."""
    if outfit.full is not None and FULL[outfit.full][1] is not None and "dress" in outfit.full:
        return replace(outfit, tops=("t-shirt",), bottom="trousers", full=None)
    if outfit.bottom is not None and BOTTOMS[outfit.bottom].skirt:
        return replace(outfit, bottom="trousers")
    return outfit


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
    shoe = SHOES[outfit.shoes]
    tucked = bottom is None or bottom.skirt or bottom.length < 0.9 or bottom.ease < SLIM
    if bottom is not None and not bottom.skirt and tucked:
        # Into boots: what is below their rim would poke through.
        bottom = replace(bottom, length=min(bottom.length, shoe.shaft + INTO), into=shoe.shaft)
    if bottom is not None:
        varied = replace(bottom, length=bottom.length * float(rng.uniform(0.97, 1.0)))
        pieces.append(_bottom(body, shape, at, varied, outfit.bottom or outfit.full or ""))
    covered = any(top.outer for _, top in tops)
    for name, top in tops:
        # Below a jacket no sleeve shows, and none pokes through.
        hidden = covered and not top.outer
        worn = (
            replace(
                top,
                sleeve=-0.1,
                ease=0.5 * top.ease,
                hem=min(top.hem, 0.03),
                panel=PANEL,
                trim=replace(top.trim, pockets=(), hood=False),
            )
            if hidden
            else top
        )
        worn = replace(
            worn, hem=worn.hem + float(rng.uniform(-0.02, 0.03)), ease=worn.ease * float(rng.uniform(0.9, 1.25))
        )
        # The skirt of a dress hangs from its top.
        legs = pieces[0] if pieces and pieces[0].kind == "bottom" and full_bottom is None else None
        pieces.append(_top(body, shape, at, worn, name, legs))
        over = worn
    pieces.append(_shoes(body, shape, at, shoe, outfit.shoes, tucked))
    above = [p for p in pieces if p.kind in ("top", "outer")]
    if outfit.bag is not None:
        pieces.append(bag(outfit.bag, body, at, above, rng))
    if outfit.hat is not None:
        pieces.append(hat(outfit.hat, body, shape, at))
    if outfit.mask:
        pieces.append(mask(body, shape, at))
    covers = np.max([p.covers for p in pieces], axis=0)
    if tops and pieces[0].kind == "bottom" and full_bottom is None:
        pieces[0] = _below(pieces[0], at, over)
    if outfit.glasses is not None:
        pieces.append(glasses(outfit.glasses, body, shape))
    below = None if outfit.hat is None else hat_line(outfit.hat, body, shape)
    grown = [_hair(body, shape, at, outfit.hair, scale, rng, below, above)]
    if outfit.beard and not outfit.mask and outfit.hat not in ("headscarf", "hood"):
        grown.append(beard(body, shape, at, scale, rng))
    pieces += [p for p in grown if p is not None]
    return pieces, np.asarray(COVERED - covers, np.float32)


def _bottom(body: Body, shape: Shape, at: Measures, bottom: Bottom, name: str) -> Garment:
    top = at.hips + WAIST * at.leg_length
    below_waist = top - at.z
    if bottom.skirt:
        end = at.hips - bottom.length * at.leg_length
        field = np.where(at.arm > 0, -1, np.minimum(at.z - end - 0.03, below_waist))
        points, faces, weights = tube(body, shape, at, top, end, bottom.ease, bottom.flare, bottom.pleats)
        down = (top - points[:, 2]) / (top - end)
        zero = np.zeros_like(down)
        coords = np.stack(
            [zero, zero, down, *(points[:, :2] - at.middle).T, np.minimum(points[:, 2] - end, top - points[:, 2])], 1
        )
        covers = np.minimum(field, DEEP).astype(np.float32)
        return Garment("bottom", name, points, faces, weights, points.copy(), covers, coords.astype(np.float32))
    length = min(bottom.length, LONGEST)
    field = np.where(at.arm > 0, -1, np.minimum((length - at.leg) * at.leg_length, below_waist))
    piece = piece_of(body, shape, at, "bottom", name, at.soft(field, 1), bottom.ease, 14, 3)
    points, along = piece.vertices, piece.coords[:, 2]
    for side, sign in (("L", 1), ("R", -1)):
        hip, foot = (shape.heads[body.number(f"{bone}.{side}")] for bone in ("upperleg01", "foot"))
        own = (sign * piece.body[:, 0] > 0) & (along > 0.12)
        amount = np.clip((along - 0.16) / 0.2, 0, 1).astype(np.float32)
        points = straighten(points, hip, foot, own, amount, 0.0, bottom.fall)
    if bottom.into < 1:
        # Held by the boot.
        held = np.clip((along - bottom.into + TAPER) / TAPER, 0, 1) * HELD
        points = (points + (piece.body - points) * held[:, None]).astype(np.float32)
    if bottom.flare:
        # Wider towards the hem, seen from the leg's axis.
        away = piece.coords[:, 3:5] / np.maximum(np.linalg.norm(piece.coords[:, 3:5], axis=1, keepdims=True), 1e-4)
        points = points.copy()
        points[:, :2] += away * (bottom.flare * np.clip(along, 0, 1) ** 1.5 * piece.coords[:, 1])[:, None]
    if bottom.length > length:
        # The rest hangs on the shoe.
        more = (bottom.length - length) * at.leg_length
        points = points.copy()
        points[:, 2] -= more * np.clip((along - 0.78) / (length - 0.78), 0, 1)
        away = piece.coords[:, 3:5] / np.maximum(np.linalg.norm(piece.coords[:, 3:5], axis=1, keepdims=True), 1e-4)
        points[:, :2] += away * (0.006 * np.clip((along - 0.8) / 0.15, 0, 1))[:, None]
    return replace(piece, vertices=points.astype(np.float32))


def _top(body: Body, shape: Shape, at: Measures, top: Top, name: str, legs: Garment | None) -> Garment:
    end = at.hips - top.hem * at.leg_length
    # Between the legs there is no body to cut cloth from: what is longer is let down.
    hem = max(end, at.hips - LOWEST * at.leg_length)
    trunk = np.minimum(at.z - hem, at.collar + top.collar - at.z)
    if top.collar < 0:
        # A wide neckline is round: deeper in the middle.
        trunk = np.minimum(trunk, at.collar + 0.5 * top.collar + 0.25 * np.abs(at.x) - at.z + 0.03)
    if top.sleeve < SLEEVELESS:
        # Straps lie inside of the shoulders, and armholes open below.
        joint = shape.heads[body.number("upperarm01.L")]
        trunk = np.minimum(trunk, STRAP * float(joint[0]) + 1.2 * np.maximum(float(joint[2]) - at.z, 0) - np.abs(at.x))
    if top.neck > 0:
        # A neckline in front goes down to a point.
        front = at.y < at.middle[1] + 0.02
        trunk = np.where(front, np.minimum(trunk, 0.7 * (at.collar - top.neck + 1.25 * np.abs(at.x) - at.z)), trunk)
    if top.panel > 0:
        front = at.y < at.middle[1]
        trunk = np.minimum(
            trunk, np.where(front, np.maximum(top.panel - np.abs(at.x), at.z - at.collar), at.z - at.collar + 0.03)
        )
    if top.opening > 0:
        front = at.y < at.middle[1]
        trunk = np.where(
            front,
            np.minimum(trunk, np.abs(at.x) - top.opening * np.clip((at.collar + 0.1 - at.z) / 0.4, 0.3, 1)),
            trunk,
        )
    arm_length = 0.9 * float(at.leg_length) * 0.65
    field = np.where(at.arm > 0, np.minimum((top.sleeve - at.arm) * arm_length, 0.5), trunk)
    piece = piece_of(body, shape, at, "outer" if top.outer else "top", name, at.soft(field, 2), top.ease, 10, 12)
    points = piece.vertices
    arm = piece.coords[:, 0]
    for side, sign in (("L", 1), ("R", -1)):
        shoulder, wrist = (shape.heads[body.number(f"{bone}.{side}")] for bone in ("upperarm01", "wrist"))
        own = (sign * piece.body[:, 0] > 0) & (piece.coords[:, 2] > 0.24) & (arm > 0.9)
        amount = (np.clip((piece.coords[:, 2] - 0.24) / 0.25, 0, 1) * (arm > 0.9)).astype(np.float32)
        points = straighten(points, shoulder, wrist, own, amount, 0.0, top.sleeve_fall)
    # Over trousers, and a coat over all.
    ease = top.ease if top.outer else max(0.6 * top.ease, UNTUCKED)
    points = spread(points, piece.weights, piece.faces, body, at, ease, top.fall)
    piece = replace(piece, vertices=points)
    if end < hem:
        piece = let_down(piece, shape, at, hem, end, ease, top.opening > 0, None if legs is None else legs.vertices)
    piece = replace(piece, weights=hang(piece.weights, piece.vertices, body, at))
    return trimmed(piece, top.trim, at)


def _below(bottom: Garment, at: Measures, top: Top) -> Garment:
    """Return what of a bottom shows below the outermost top: what is hidden would poke through in some pose."""

    def shown(x: Floats, y: Floats, z: Floats) -> Floats:
        hidden = z - (at.hips - top.hem * at.leg_length + UNDER)
        if top.opening > 0:
            hidden = np.where(y < at.middle[1] + 0.02, np.minimum(hidden, np.abs(x) - top.opening - ASIDE), hidden)
        return np.asarray(-hidden, np.float32)

    part = cut(bottom.faces, shown(*bottom.body.T))
    if not len(part.faces):
        return bottom
    return replace(
        bottom,
        covers=np.minimum(bottom.covers, shown(at.x, at.y, at.z)),
        vertices=part.of(bottom.vertices),
        faces=part.faces,
        weights=part.of(bottom.weights),
        body=part.of(bottom.body),
        coords=part.of(bottom.coords),
    )


def _shoes(body: Body, shape: Shape, at: Measures, shoe: Shoe, name: str, tucked: bool) -> Garment:
    pair = lasts(body, shape, at)
    made = [loft(shoe, last, body) for last in pair]
    inside = np.max([inside_of(shoe, last, shape.vertices, at.foot) for last in pair], axis=0)
    vertices, weights, coords = (np.concatenate([m[k] for m in made]) for k in (0, 2, 3))
    faces = np.concatenate([made[0][1], made[1][1] + len(made[0][0])])
    coords = np.concatenate([coords, np.zeros((len(coords), 3), np.float32)], 1)
    covers = np.minimum(np.where(inside > 0, inside + COVERED, inside), DEEP)
    # Wide trousers hang over boots.
    if shoe.shaft < 1 and tucked:
        low = at.hips - 1.06 * at.leg_length
        field = np.where(at.legs > 0.3, np.minimum((at.leg - shoe.shaft) * at.leg_length, at.z - low), -1)
        field = np.where(at.arm > 0, -1, field)
    # Few vertices of a coarse body make no shaft.
    if shoe.shaft < 1 and tucked and (field > 0).sum() >= LEAST:
        shaft = piece_of(body, shape, at, "shoes", name, at.soft(field, 1), 0.019, 8, 2)
        # Let down into the shoe: smoothing draws its lower border up.
        into = shaft.vertices.copy()
        low = np.clip(1 - (into[:, 2] - into[:, 2].min()) / SHAFT, 0, 1)
        # It lies close at the ankle, or its rim would stand out of the shoe.
        into += (shaft.body - into) * np.clip(1.6 * low, 0, 0.6)[:, None]
        into[:, 2] -= SHAFT * low
        shaft = replace(shaft, vertices=into)
        count = len(vertices)
        vertices = np.concatenate([vertices, shaft.vertices])
        weights = np.concatenate([weights, shaft.weights])
        own = np.stack(
            [np.full(len(shaft.vertices), 0.2), np.zeros(len(shaft.vertices)), shaft.vertices[:, 2] - pair[0].heel[2]],
            1,
        )
        coords = np.concatenate([coords, np.concatenate([own, np.zeros((len(own), 3))], 1)])
        faces = np.concatenate([faces, shaft.faces + count])
        covers = np.maximum(covers, shaft.covers - RIM)
    return Garment(
        "shoes",
        name,
        vertices.astype(np.float32),
        faces.astype(np.int32),
        weights.astype(np.float32),
        vertices.astype(np.float32),
        covers.astype(np.float32),
        coords.astype(np.float32),
    )


def _hair(
    body: Body,
    shape: Shape,
    at: Measures,
    name: str,
    scale: float,
    rng: np.random.Generator,
    below: float | None,
    above: list[Garment],
) -> Garment | None:
    hair = HAIR[name]
    made = grow(hair, body, shape, at, Scalp.of(body, hair.recede), scale, rng, below)
    if made is None:
        return None
    covers = np.full(len(body.weights), -1, np.float32)
    points = _over(made.vertices, made.coords[:, 4], above, at)
    return Garment("hair", name, points, made.faces, made.weights, points, covers, made.coords)


def _over(points: Floats, layer: Floats, above: list[Garment], at: Measures) -> Floats:
    """Return points (N, 3) of long hair outside of what is worn: each lies over it as high as its layer (N,) says."""
    from scipy.spatial import cKDTree

    low = np.flatnonzero(points[:, 2] < at.chin)
    if not len(low) or not above:
        return points
    cloth = np.concatenate([piece.vertices for piece in above])
    outward = np.concatenate([normals(piece.vertices, piece.faces) for piece in above])
    away, near = cKDTree(cloth).query(points[low], distance_upper_bound=HIDDEN)
    known = np.isfinite(away)
    low, near = low[known], near[known]
    high = ((points[low] - cloth[near]) * outward[near]).sum(1)
    out = points.copy()
    out[low] += outward[near] * np.maximum(LYING[0] + LYING[1] * layer[low] - high, 0)[:, None]
    return out
