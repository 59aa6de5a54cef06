"""Cloth: colours and relief of fabrics, with folds, seams, hems, pockets and fasteners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.appearance import Cloth
from anonymizer.avatar.garment import Garment
from anonymizer.avatar.mesh import areas
from anonymizer.avatar.paint import sheen, waves
from anonymizer.avatar.render import Light
from anonymizer.avatar.tailor import Measures

__all__ = ["Place", "cloth_paint", "press"]

Floats = NDArray[np.float32]

#: Depth in metres of folds around limbs and of drapes on the trunk; distance between the folds of a limb.
RINGS, DRAPES, APART = 0.009, 0.012, 0.06
#: Depth of a seam's groove and of the puckers beside it, and how far these reach, in metres.
GROOVE, PUCKER, BESIDE = 0.0005, 0.0004, 0.009
#: How dark the bottom of a fold is: light comes to it from a part of the sky.
HOLLOW = 0.2
#: Greatest value of cloth: white cotton reflects four fifths of the light.
WHITEST = 0.9
#: Colours of soles, laces, belts and metal, RGB in [0, 1].
RUBBER, LACE, LEATHER, METAL = (
    np.array(c, np.float32) for c in ((0.8, 0.79, 0.76), (0.78, 0.77, 0.75), (0.16, 0.11, 0.08), (0.62, 0.61, 0.58))
)
#: Stitches of denim.
THREAD = np.array((0.62, 0.45, 0.25), np.float32)
#: Garments with a row of buttons, with a zip, and with ribbed hems and cuffs.
BUTTONED, ZIPPED, RIBBED = (
    ("shirt", "polo", "blouse", "cardigan", "denim jacket", "blazer", "long coat", "shirt dress"),
    ("hooded jacket", "parka", "puffer jacket", "jacket", "overalls"),
    ("sweater", "hoodie", "cardigan", "jacket", "joggers"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where rays meet cloth.

    Args:
        at: float32 (N, 3), points of the body at rest below it.
        coords: float32 (N, 6), see ``wardrobe.COORDS``; of shoes see ``shoes.loft``.
        pressed: float32 (N, 1), see ``press``.
        normal: float32 (N, 3), posed normals.
        scale: Pixels a metre in the picture: what is finer than a pixel is left out.
    """

    at: Floats
    coords: Floats
    pressed: Floats
    normal: Floats
    scale: float


def press(garment: Garment, posed: Floats) -> Floats:
    """Return how far the pose presses a garment together at each vertex, float32 (M,) from 0."""
    ratio = areas(posed, garment.faces) / np.maximum(areas(garment.vertices, garment.faces), 1e-9)
    value = np.clip(1 - ratio, 0, 1)
    corners = garment.faces.ravel()
    count = np.maximum(np.bincount(corners, minlength=len(posed)), 1)
    return np.asarray(np.bincount(corners, np.repeat(value, 3), len(posed)) / count, np.float32)


def cloth_paint(
    garment: Garment, cloth: Cloth, place: Place, measures: Measures, light: Light, seed: int
) -> tuple[Floats, Floats]:
    """Return colours (N, 3) and heights (N,) in metres of cloth.

    Args:
        garment: Which piece.
        cloth: Its cloth.
        place: Where.
        measures: The body's.
        light: What lights it: leather shines.
        seed: Of the folds.
    """
    if garment.kind == "shoes":
        return _shoe(garment.name, cloth, place, light, seed)
    fold = _folds(cloth, place, measures, seed)
    colour = _pattern(cloth, place, measures, seed)
    height, shade = _fabric(cloth, place, seed)
    seams, dark, tint = _details(garment, cloth, place, measures)
    height = height + fold + seams
    # Bottoms of folds are darker.
    hollow = np.clip(fold / (RINGS * max(cloth.folds, 0.3)), -1.5, 1.5)
    shade = shade * dark * (1 + HOLLOW * np.minimum(hollow, 0.5))
    colour = colour * shade[:, None]
    colour = np.where(np.isnan(tint), colour, tint)
    if cloth.fabric == "leather":
        colour = colour + 0.22 * sheen(place.normal, light, 22)[:, None]
    elif cloth.fabric == "down":
        colour = colour + 0.07 * sheen(place.normal, light, 12)[:, None]
    return np.clip(colour, 0.012, WHITEST).astype(np.float32), height.astype(np.float32)


def _folds(cloth: Cloth, place: Place, measures: Measures, seed: int) -> Floats:
    """Return the height of folds in metres, float32 (N,), on limbs and on the trunk.

    They are ridges that run in a direction and come and go: on limbs around them, on the trunk down from shoulders
    and bust, aslant from the armpits, and across where the waist presses.
    """
    arm, leg, along, a, b, edge = place.coords.T
    pressed = np.clip(place.pressed[:, 0], 0, 0.8)
    limb = np.clip(np.maximum(arm, leg), 0, 1)
    rng = np.random.default_rng(seed)
    warp = waves(place.at, 22, seed, (1, 1, 0.6))
    finer = waves(place.at, 48, seed + 1, (1, 1, 0.45))
    turn = np.arctan2(b, a)
    length = np.where(leg > arm, np.float32(0.8), np.float32(0.52))
    # Rings are aslant, and more so at one side of the limb than at the other.
    aslant = rng.uniform(0.8, 1.6) * np.sin(turn + rng.uniform(0, 6.3)) + 0.5 * np.sin(2 * turn + rng.uniform(0, 6.3))
    ring = _ridge(2 * np.pi * along * length / APART + 1.7 * warp + 1.3 * aslant)
    joint = np.exp(-(((along - np.where(leg > arm, np.float32(0.53), np.float32(0.55))) / 0.12) ** 2))
    end = np.exp(-((edge / 0.1) ** 2)) * (along > 0.7)
    start = np.exp(-((along / 0.16) ** 2))
    # Folds come and go.
    patchy = np.clip(0.4 + 0.9 * waves(place.at, 11, seed + 2), 0, 1.5)
    envelope = 0.08 + patchy * (joint * (0.5 + 1.8 * pressed) + 0.8 * end + 0.7 * start + 1.1 * pressed)
    rings = RINGS * ring * envelope * (0.65 + 0.35 * np.sin(turn * 2 + 3 * warp))
    lengthwise = 0.6 * DRAPES * _ridge(2.5 * turn + 2 * warp + 6 * along) * patchy
    x, z = place.at[:, 0], place.at[:, 2]
    round_ = 0.16 * np.arctan2(place.at[:, 1] - measures.middle[1], x)
    up = (z - measures.hips) / max(measures.armpit - measures.hips, 0.1)
    # Wider and narrower ones beside each other.
    sway = waves(place.at, 8, seed + 6, (1, 1, 0.25))
    hanging = _ridge(2 * np.pi * round_ / 0.11 + 2.6 * sway + 0.9 * warp + 0.3 * finer) * np.clip(0.9 - 0.8 * up, 0, 1)
    pulled = _ridge(2 * np.pi * (0.75 * np.abs(x) + 0.65 * z) / 0.065 + 1.8 * warp)
    pulled *= np.exp(-(((z - measures.armpit + 0.05) / 0.11) ** 2 + ((np.abs(x) - 0.15) / 0.07) ** 2))
    across = _ridge(2 * np.pi * (z + rng.uniform(-0.35, 0.35) * x) / 0.07 + 2.4 * warp + 0.8 * finer)
    # Folds of one direction at a time: both together look woven.
    waist = np.exp(-(((up - 0.3) / 0.25) ** 2)) * np.clip(1.0 - 1.2 * patchy, 0, 1)
    trunk = DRAPES * (patchy * (0.9 * hanging + 1.1 * pulled) + 0.8 * waist * across)
    trunk = trunk + RINGS * 1.3 * pressed * across
    out = trunk * (1 - limb) + (rings + lengthwise) * limb
    return np.asarray(cloth.folds * out, np.float32)


def _ridge(phase: Floats) -> Floats:
    """Return folds of a phase in radians, in [-1, 1]: narrow crests, wide hollows."""
    # OpenCV's power is ten times as fast as NumPy's.
    return np.asarray(1 - 2 * cv2.pow(np.abs(np.sin(phase / 2)), 1.2).ravel(), np.float32)


def _pattern(cloth: Cloth, place: Place, measures: Measures, seed: int) -> Floats:
    """Return the colours of a dyed or printed pattern, float32 (N, 3)."""
    at = place.at
    x, z = at[:, 0], at[:, 2]
    limb = np.maximum(place.coords[:, 0], place.coords[:, 1]) > 0.5
    # Patterns run along the limbs.
    down: Floats = np.where(limb & (place.coords[:, 0] > 0.5), place.coords[:, 2] * 0.55, z)
    round_: Floats = np.where(limb, np.arctan2(place.coords[:, 4], place.coords[:, 3]) * 0.07, x)
    mix: NDArray[Any] = np.zeros(len(at), np.float32)
    if cloth.pattern == "stripes":
        mix = _band(down / cloth.period)
    elif cloth.pattern == "pinstripes":
        mix = 0.35 * (np.abs((round_ / 0.018) % 1 - 0.5) < 0.06)
    elif cloth.pattern == "checks":
        mix = 0.5 * _band(down / cloth.period) + 0.5 * _band(round_ / cloth.period)
    elif cloth.pattern == "dots":
        u, v = (round_ / cloth.period * 1.5) % 1 - 0.5, (down / cloth.period * 1.5) % 1 - 0.5
        mix = np.clip((0.22 - np.hypot(u, v)) * 12, 0, 1)
    elif cloth.pattern == "flowers":
        mix = np.clip(waves(at, 110, seed + 4) * 3 - 2.2, 0, 1)
    elif cloth.pattern == "print":
        front = at[:, 1] < measures.middle[1]
        wide, high, centre = 0.085, 0.06, measures.collar - 0.19
        inside = ((np.abs(x) / wide) ** 4 + (np.abs(z - centre) / high) ** 4 < 1) & front
        mix = inside * np.clip(waves(at, 70, seed + 5) * 3 + 0.6, 0, 1)
    elif cloth.pattern == "yoke":
        mix = np.clip((z - measures.collar + 0.14) / 0.002, 0, 1)
    return np.asarray(cloth.colour + (cloth.second - cloth.colour) * mix[:, None], np.float32)


def _fabric(cloth: Cloth, place: Place, seed: int) -> tuple[Floats, Floats]:
    """Return height in metres and shade, both (N,), of a fabric's weave and wear."""
    at, coords = place.at, place.coords
    x, z = at[:, 0], at[:, 2]
    shade = 1 + 0.022 * waves(at, 9, seed + 8) + 0.01 * waves(at, 45, seed + 3)
    height: NDArray[Any] = np.zeros(len(at), np.float32)

    def seen(period: float) -> float:
        return float(np.clip(place.scale * period / 2.5 - 0.6, 0, 1))

    if cloth.fabric == "knit":
        turn = np.where(coords[:, 0] > 0.5, np.arctan2(coords[:, 4], coords[:, 3]) * 0.05, x + 0.6 * at[:, 1])
        # No knitted rib is as wide as the next.
        turn = turn + 0.0012 * waves(at, 35, seed + 9)
        rib = np.cos(2 * np.pi * turn / 0.009)
        stitch = np.abs((z / 0.006 + 0.5 * np.abs((turn / 0.009) % 1 - 0.5) * 2) % 1 - 0.5)
        # A stitch is narrower than a rib, and seen from nearer.
        height = height + seen(0.0045) * 0.0005 * rib + seen(0.0045) * 0.0005 * stitch
        shade = shade + seen(0.0045) * 0.035 * rib - seen(0.0045) * 0.05 * stitch
    elif cloth.fabric == "denim":
        front = coords[:, 4] < 0
        worn = np.exp(-(((coords[:, 2] - 0.28) / 0.2) ** 2)) * front * (coords[:, 1] > 0.5)
        shade = shade + 0.25 * worn + 0.05 * waves(at, 240, seed + 9, (1, 1, 0.35)) * seen(0.006)
        height = height + seen(0.003) * 0.0002 * np.sin(2 * np.pi * (x + z) / 0.003)
    elif cloth.fabric == "down":
        down = np.where(coords[:, 0] > 0.5, coords[:, 2] * 0.55, z)
        quilt = np.abs(np.sin(np.pi * down / 0.075))
        height = height + 0.011 * quilt**0.7 + 0.0015 * waves(at, 90, seed + 9) * (1.2 - quilt)
        shade = shade * (0.72 + 0.28 * np.clip(quilt * 4, 0, 1))
    elif cloth.fabric == "leather":
        height = height + 0.0002 * seen(0.004) * waves(at, 700, seed + 9)
    else:
        grain = np.sin(2 * np.pi * x / 0.0022) * np.sin(2 * np.pi * z / 0.0022)
        shade = shade + 0.03 * seen(0.0022) * grain + 0.015 * waves(at, 500, seed + 7)
    return height.astype(np.float32), shade.astype(np.float32)


def _details(garment: Garment, cloth: Cloth, place: Place, measures: Measures) -> tuple[Floats, Floats, Floats]:
    """Return height (N,) in metres, shade (N,) and own colours (N, 3, NaN where none) of seams and fasteners."""
    at = place.at
    arm, leg, along, a, b, edge = place.coords.T
    x, z = at[:, 0], at[:, 2]
    front = (at[:, 1] < measures.middle[1]) & (arm < 0.3)
    line = max(0.0014, 0.6 / place.scale)
    height, shade = np.zeros(len(at), np.float32), np.ones(len(at), np.float32)
    tint = np.full((len(at), 3), np.nan, np.float32)
    name = garment.name

    def seam(away: Floats, where: NDArray[np.bool_] | bool = True, dark: float = 0.8) -> None:
        """Sew cloth along where ``away``, in metres, is 0: a soft groove, with puckers beside it."""
        near = np.flatnonzero((np.abs(away) < 2 * BESIDE) & where)
        groove = np.exp(-((away[near] / line) ** 2))
        shade[near] *= 1 - (1 - dark) * groove
        height[near] += np.exp(-((away[near] / BESIDE) ** 2)) * PUCKER * waves(at[near], 260, 1) - GROOVE * groove

    if name in RIBBED:
        band = (edge < 0.055) & (edge > 0) & ((along > 0.6) | (z < measures.hips + 0.1))
        turn = np.arctan2(b, a) * np.where(np.maximum(arm, leg) > 0.5, 0.045, 0.16)
        shade += band * (0.09 * np.cos(2 * np.pi * turn / max(0.008, 2.2 / place.scale)) - 0.06)
        height -= 0.003 * np.clip((0.055 - edge) / 0.01, 0, 1) * band
    elif cloth.fabric != "down":
        # A hem, stitched.
        seam(edge - 0.02, dark=0.88)
        height += 0.0012 * np.clip((0.021 - edge) / 0.002, 0, 1)
    seam(b, np.maximum(arm, leg) > 0.5, 0.88)
    if name in BUTTONED or name in ZIPPED:
        low = measures.collar - 0.2 if name == "polo" else -9.0
        strip = front & (z > low) & (leg < 0.5 if name != "overalls" else np.ones_like(front))
        if name in ZIPPED:
            zip_ = strip & (np.abs(x) < max(0.004, line))
            tint[zip_] = (METAL + cloth.colour) / 2 * np.where((z[zip_] / 0.004) % 1 < 0.5, 1, 0.6)[:, None]
            seam(np.abs(x) - np.float32(0.014), strip)
        else:
            seam(np.abs(x) - np.float32(0.016), strip)
            height += 0.0012 * (strip & (np.abs(x) < 0.016))
            button = strip & (np.hypot(x, ((z - measures.collar) % 0.09) - 0.045) < max(0.0055, 1.0 / place.scale))
            tint[button] = cloth.colour * 0.45 if cloth.colour.mean() > 0.3 else cloth.colour * 1.6 + 0.1
    if garment.kind == "bottom":
        _trousers(garment, cloth, place, measures, line, height, shade, tint)
    return height, shade, tint


def _trousers(
    garment: Garment,
    cloth: Cloth,
    place: Place,
    measures: Measures,
    line: float,
    height: Floats,
    shade: Floats,
    tint: Floats,
) -> None:
    """Add waistband, belt, fly and pockets to trousers and skirts, in place."""
    at, name = place.at, garment.name
    x, z = at[:, 0], at[:, 2]
    front = at[:, 1] < measures.middle[1]
    waist = measures.hips + 0.108 * measures.leg_length
    band = z > waist - 0.032
    denim = cloth.fabric == "denim"
    if (cloth.belt and "trousers" in name) or (name == "shorts" and cloth.belt):
        tint[band] = LEATHER
        tint[band & front & (np.abs(x) < 0.02)] = METAL
        height += 0.002 * band
    shade[np.abs(z - waist + 0.034) < line / 2] *= 0.75
    if "skirt" in name or name in ("leggings", "dress", "shirt dress", "summer dress"):
        return
    pockets = front & (np.abs((waist - 0.03 - z) - 1.15 * (np.abs(x) - 0.085) * 1.4 + 0.03) < line) & (z > waist - 0.17)
    pockets &= np.abs(x) > 0.07
    fly = front & (np.abs(x - 0.012) < line / 2) & (z > waist - 0.17)
    u, v = np.abs(np.abs(x) - 0.085), z - (waist - 0.145)
    patch = ~front & (u < 0.06) & (np.abs(v) < 0.07)
    rim = patch & ((u > 0.06 - line) | (np.abs(v) > 0.07 - line))
    shade[pockets | fly | rim] *= 0.82
    height += 0.001 * patch
    if denim and place.scale > 250:
        tint[rim | fly] = THREAD


def _shoe(name: str, cloth: Cloth, place: Place, light: Light, seed: int) -> tuple[Floats, Floats]:
    """Return colours (N, 3) and heights (N,) in metres of a shoe."""
    from anonymizer.avatar.shoes import SHOES

    shoe = SHOES[name]
    along, turn, up = place.coords[:, 0], place.coords[:, 1], place.coords[:, 2]
    across = np.abs(turn)
    colour = np.broadcast_to(cloth.colour, (len(along), 3)).astype(np.float32).copy()
    height = 0.0008 * waves(place.at, 60, seed)
    line = max(0.0015, 0.7 / place.scale)
    crease = np.exp(-(((along - 0.7) / 0.07) ** 2)) * (across > 0.55)
    height = height - 0.0012 * crease * np.abs(np.sin(along * 110))
    if shoe.laces:
        tongue = (across > 0.86) & (along > 0.3) & (along < 0.66)
        colour[tongue] *= 0.75
        lace = tongue & ((along * 16 + 0.12 * np.sign(turn)) % 1 < 0.42)
        colour[lace] = LACE if shoe.material in ("canvas", "mesh") else cloth.colour * 0.6
        height = height + 0.0015 * lace
    if shoe.material == "mesh":
        stripe = (across > 0.3) & (across < 0.8) & (np.abs((along - 0.45) * 3 + (across - 0.55)) < 0.1)
        colour[stripe] = cloth.second
        heel = along < 0.1
        colour[heel] = 0.5 * colour[heel] + 0.5 * cloth.second
    elif shoe.material == "canvas":
        cap = (along > 0.86) & (across < 0.95)
        colour[cap] = RUBBER
    else:
        seam = (np.abs(along - 0.8) < line / 0.27) | (np.abs(along - 0.32 + 0.1 * across) < line / 0.27)
        colour[seam & (across > 0.3)] *= 0.7
        colour = colour + 0.2 * sheen(place.normal, light, 30)[:, None]
    sole = up < (0.012 if shoe.material in ("canvas", "mesh") else 0.003)
    colour[sole] = RUBBER if shoe.material in ("canvas", "mesh") else np.array([0.07, 0.06, 0.055], np.float32)
    ground = sole & (up < -shoe.sole * 0.55)
    colour[ground] *= 0.72
    edge = np.abs(up - (0.012 if shoe.material in ("canvas", "mesh") else 0.003)) < line
    colour[edge] *= 0.6
    return np.clip(colour, 0.012, WHITEST).astype(np.float32), height.astype(np.float32)


def _band(turns: NDArray[Any]) -> Floats:
    """Return stripes of half a turn with short soft rims."""
    return np.clip(np.sin(turns * 2 * np.pi) * 4 + 0.5, 0, 1).astype(np.float32)
