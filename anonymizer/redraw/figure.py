"""A clothed figure for a person's prototype: every pixel of the mask belongs to the limb it is nearest to.

The mask and the joints say where trunk, arms, hands, legs and feet are; what they wear is chance: colours, length of
sleeves, legs and coat, an open jacket, folds, and from which side the light comes. No pixel of the original is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.redraw.skeleton import Skeleton

__all__ = ["Outfit", "Shape", "draw_figure", "figure_shape", "random_outfit"]

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: Limbs: from and to which joint, and half widths there in heads.
LIMBS = {
    "upper_arm": ("shoulder", "elbow", 0.30, 0.25),
    "forearm": ("elbow", "wrist", 0.25, 0.17),
    "hand": ("wrist", "hand", 0.17, 0.19),
    "thigh": ("hip", "knee", 0.44, 0.30),
    "shin": ("knee", "ankle", 0.30, 0.18),
    "foot": ("ankle", "toe", 0.18, 0.16),
}
#: Half width of the neck, of the head, and how far clothes reach beyond the trunk, in heads.
NECK, HEAD, TRUNK = 0.26, 0.38, 0.32
#: How far a head's middle line goes below and above the nose, in heads.
UPRIGHT = (0.1, 0.1)
#: Clothes and hair reach up to this many half widths from a limb's middle.
LOOSE = 1.9
#: Hair reaches up to this many half widths of the head from its middle.
HAIR = 1.3
#: Beyond this many half widths of the neck hair hangs down.
NAPE = 1.4
#: Shoes, RGB, and how often they are drawn.
SHOES = (((30, 28, 28), 4.0), ((62, 44, 34), 2.0), ((215, 213, 208), 2.0), ((70, 74, 84), 1.0))
#: How often sleeves are short, trousers are short, a coat is worn and a jacket is open.
SHORT_SLEEVES, SHORTS, COAT, OPEN = 0.3, 0.12, 0.2, 0.4
#: How dark a limb is at its side away from the light, beside what lies in front of it, and at the figure's outline.
TURNED, BESIDE, RIM = 0.42, 0.30, 0.18
#: Depth of folds, and how much brighter all is drawn so that with its shadows it is as bright as its colours.
FOLDS, LIFT = 0.16, 1.15


@dataclass(frozen=True, slots=True)
class Outfit:
    """What a figure wears.

    Args:
        upper, lower, inner, shoes: Colours RGB in [0, 255]: of top or jacket, trousers, what shows under an open
            jacket, and shoes.
        sleeve: Where sleeves end: 0 shoulder, 1 elbow, 2 wrist.
        leg: Where trousers end: 0 hip, 1 knee, 2 ankle.
        hem: Where the top ends: 1 at the hip, 2 at the knee.
        opening: Half width of an open jacket's gap at the hip as a share of the shoulders'; 0: closed.
        collar: Depth of the neckline in heads.
        light: From where the light comes: -1 left, 1 right.
        folds: Seed of the folds.
    """

    upper: tuple[int, int, int]
    lower: tuple[int, int, int]
    inner: tuple[int, int, int]
    shoes: tuple[int, int, int]
    sleeve: float
    leg: float
    hem: float
    opening: float
    collar: float
    light: float
    folds: int


#: For a figure's shape clothes do not matter.
NAKED = Outfit((0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0), 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0)


def random_outfit(rng: np.random.Generator, upper: tuple[int, int, int], lower: tuple[int, int, int]) -> Outfit:
    """Return an outfit drawn at random, independent of the original, with these colours of top and trousers."""
    coat, short = bool(rng.random() < COAT), bool(rng.random() < SHORT_SLEEVES)
    weights = np.array([weight for _, weight in SHOES])
    opened = (coat or not short) and rng.random() < OPEN
    light_inner = int(rng.integers(130, 235))
    return Outfit(
        upper=upper,
        lower=lower,
        inner=(light_inner, light_inner, min(light_inner + 6, 255)),
        shoes=SHOES[rng.choice(len(SHOES), p=weights / weights.sum())][0],
        sleeve=float(rng.uniform(0.5, 0.75) if short and not coat else rng.uniform(1.85, 2.0)),
        leg=float(rng.uniform(0.7, 1.0) if rng.random() < SHORTS else rng.uniform(1.85, 1.97)),
        hem=float(rng.uniform(1.4, 1.7) if coat else rng.uniform(0.98, 1.15)),
        opening=float(rng.uniform(0.15, 0.35)) if opened else 0.0,
        collar=float(rng.uniform(0.25, 0.7)),
        light=float(rng.choice([-1.0, 1.0])),
        folds=int(rng.integers(2**31)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Where a figure is, bool (h, w) each.

    Args:
        limbs: Surely.
        reach: At most: limbs, and what clothes and hair add to them.
        beside_head: What is nearest to the head and too far from it even for hair.
    """

    limbs: Mask
    reach: Mask
    beside_head: Mask


def figure_shape(size: tuple[int, int], body: Skeleton) -> Shape:
    """Return the shape of a figure.

    Args:
        size: Height and width.
        body: Joints in pixels of that frame.
    """
    parts = _parts(_grid(size), body, NAKED, np.zeros(3, np.float32), np.zeros(3, np.float32))
    distances = np.stack([part.distance for part in parts])
    nearest, owner = distances.min(axis=0), distances.argmin(axis=0)
    beside = (owner == [part.group for part in parts].index("head")) & (nearest > HAIR)
    return Shape(nearest <= 1, (nearest <= LOOSE) & ~beside, beside)


def _grid(size: tuple[int, int]) -> Floats:
    columns, rows = np.meshgrid(np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5)
    return np.stack([columns, rows], axis=-1).astype(np.float32)


def draw_figure(mask: Mask, body: Skeleton, outfit: Outfit, skin: Floats, hair: Floats) -> Floats:
    """Return a figure that fills a mask, RGB float32 (h, w, 3), 0 to 255; pixels beyond the mask mean nothing.

    Args:
        mask: bool (h, w).
        body: Joints in the mask's pixels.
        outfit: What it wears.
        skin: Colour RGB float32 (3,).
        hair: Colour RGB float32 (3,), what a head shows where no face is drawn on it later.
    """
    height, width = mask.shape
    parts = _parts(_grid((height, width)), body, outfit, skin, hair)
    distances = np.stack([part.distance for part in parts])
    owner = distances.argmin(axis=0)
    colour, shade = np.zeros((height, width, 3), np.float32), np.ones((height, width), np.float32)
    for number, part in enumerate(parts):
        own = owner == number
        colour[own] = np.broadcast_to(part.colour, colour.shape)[own]
        across = np.clip(part.across[own], -1, 1)
        # A round limb lit from one side: Lambert's law with the light half in front.
        lit = np.sqrt(1 - 0.9 * across**2) * 0.82 + 0.5 * across * outfit.light
        shade[own] = 1 - TURNED + TURNED * np.clip(lit, 0, 1.15)
    shade *= _creases(owner, parts, body.head)
    inside = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1, mode="edge"), cv2.DIST_L2, 5)[1:-1, 1:-1]
    shade *= 1 - RIM * np.exp(-inside / (0.12 * body.head))
    cloth = ~np.isin(owner, [n for n, part in enumerate(parts) if part.bare])
    shade = cv2.GaussianBlur(shade, (0, 0), max(0.04 * body.head, 0.7))
    shade *= 1 + FOLDS * _folds((height, width), body.head, outfit.folds) * cloth
    soft = cv2.GaussianBlur(colour, (0, 0), max(0.02 * body.head, 0.5))
    return np.asarray(LIFT * soft * shade[..., None], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One part of the body.

    Args:
        distance: How far each pixel is from it, in its own half widths, float32 (h, w).
        across: Where each pixel lies across it, -1 to 1 from left to right, float32 (h, w).
        colour: RGB float32 (h, w, 3) or (3,).
        group: Limbs of one group pass into each other without a crease: ``trunk``, ``arm`` or ``leg`` with its side.
        bare: Whether it is skin or hair, without folds.
    """

    distance: Floats
    across: Floats
    colour: Floats
    group: str
    bare: bool = False


def _parts(grid: Floats, body: Skeleton, outfit: Outfit, skin: Floats, hair: Floats) -> list[_Part]:
    head = body.head
    upper, lower, shoes = (np.array(c, np.float32) for c in (outfit.upper, outfit.lower, outfit.shoes))
    shoulder, hip = body.middle("shoulder"), body.middle("hip")
    parts = [_trunk(grid, body, outfit, skin)]
    throat = shoulder + (shoulder - hip) / max(float(np.linalg.norm(shoulder - hip)), 1e-6) * np.float32(0.95 * head)
    crown = body.points["nose"] if "nose" in body.seen else throat
    _, distance, across = _capsule(grid, shoulder, crown, NECK * head, NECK * head)
    neck = np.where((distance < NAPE)[..., None], skin, hair)
    parts.append(
        _Part(np.asarray(distance + 0.25, np.float32), across, np.asarray(neck, np.float32), "trunk", bare=True)
    )
    up = (throat - shoulder) / np.float32(max(float(np.linalg.norm(throat - shoulder)), 1e-6)) * np.float32(head)
    _, distance, across = _capsule(grid, crown - UPRIGHT[0] * up, crown + UPRIGHT[1] * up, HEAD * head, HEAD * head)
    parts.append(_Part(distance, across, hair, "head", bare=True))
    for side in ("left", "right"):
        for name, (first, last, wide, narrow) in LIMBS.items():
            start, end = body.points[f"{side}_{first}"], body.points[f"{side}_{last}"]
            along, distance, across = _capsule(grid, start, end, wide * head, narrow * head)
            arm = name in ("upper_arm", "forearm", "hand")
            if arm and f"{side}_{last}" not in body.seen:
                # Hidden behind the trunk, or cut off: it shows only beyond the trunk.
                distance = np.asarray(np.maximum(distance, 1.05), np.float32)
            at = along[..., None]
            if name in ("upper_arm", "forearm"):
                colour = np.where(at + (name == "forearm") < outfit.sleeve, upper, skin)
            elif name in ("thigh", "shin"):
                worn = at + (name == "shin")
                colour = np.where(worn + 1 < outfit.hem, upper, np.where(worn < outfit.leg, lower, skin))
            else:
                colour = skin if name == "hand" else shoes
            group = f"{side} {'arm' if arm else 'leg'}"
            parts.append(_Part(distance, across, np.asarray(colour, np.float32), group, name == "hand"))
    return parts


def _trunk(grid: Floats, body: Skeleton, outfit: Outfit, skin: Floats) -> _Part:
    """Return the trunk: top, neckline, an open jacket, and what the hips wear."""
    head = body.head
    upper, lower, inner = (np.array(c, np.float32) for c in (outfit.upper, outfit.lower, outfit.inner))
    names = ("left_shoulder", "right_shoulder", "right_hip", "left_hip")
    corners = np.array([body.points[name] for name in names], np.float32)
    shape = np.zeros(grid.shape[:2], np.uint8)
    cv2.fillConvexPoly(shape, cv2.convexHull(np.rint(corners).astype(np.int32)), 1)
    if not shape.any():
        middle = corners.mean(axis=0)
        outside = np.linalg.norm(grid - middle, axis=-1)
    else:
        outside = cv2.distanceTransform(1 - shape, cv2.DIST_L2, 5)
    shoulder, hip = body.middle("shoulder"), body.middle("hip")
    axis = hip - shoulder
    length = max(float(np.linalg.norm(axis)), 1e-6)
    down = ((grid - shoulder) @ axis) / length**2
    normal = np.array([axis[1], -axis[0]], np.float32) / length
    half = max(float(np.linalg.norm(corners[0] - corners[1])) / 2, 0.5 * head) + 0.2 * head
    across = np.asarray(((grid - shoulder) @ normal) / half, np.float32)
    colour = np.where((down < outfit.hem)[..., None], upper, lower)
    if body.frontal:
        side = np.abs(across)
        if outfit.opening:
            gap = (0.12 + outfit.opening * np.clip(down, 0, 1.2))[..., None]
            colour = np.where((side[..., None] < gap) & (down < min(outfit.hem, 1.05))[..., None], inner, colour)
        # A neckline in the shape of a V.
        neck = side * half / head < NECK * (1 - np.clip(down * length / head, 0, None) / outfit.collar)
        colour = np.where(neck[..., None], skin, colour)
    distance = 1 + outside / (TRUNK * head)
    return _Part(np.asarray(distance, np.float32), across, np.asarray(colour, np.float32), "trunk")


def _capsule(grid: Floats, start: Floats, end: Floats, wide: float, narrow: float) -> tuple[Floats, Floats, Floats]:
    """Return along (0 to 1), distance in half widths, across (-1 left to 1 right) of a tapering limb, (h, w) each."""
    axis = (end - start).astype(np.float32)
    length = float(np.linalg.norm(axis))
    offset = grid - start
    if length < 1e-3:
        ball = max(wide, 0.5)
        return (
            np.zeros(grid.shape[:2], np.float32),
            np.asarray(np.linalg.norm(offset, axis=-1) / ball, np.float32),
            np.asarray(offset[..., 0] / ball, np.float32),
        )
    along = np.clip((offset @ axis) / length**2, 0, 1)
    radius = np.maximum(wide + (narrow - wide) * along, 0.5)
    away = offset - along[..., None] * axis
    # Left and right as the picture has them, whichever way the limb points.
    sign = 1 if axis[1] >= 0 else -1
    normal = np.array([sign * axis[1], -sign * axis[0]], np.float32) / np.float32(length)
    distance = np.linalg.norm(away, axis=-1) / radius
    return (
        np.asarray(along, np.float32),
        np.asarray(distance, np.float32),
        np.asarray((away @ normal) / radius, np.float32),
    )


def _creases(owner: NDArray[np.intp], parts: list[_Part], head: float) -> Floats:
    """Return the shadow (h, w) that head and arms throw on what lies behind, and the dark between limbs that meet."""
    groups = sorted({part.group for part in parts})
    numbers = np.array([groups.index(part.group) for part in parts])[owner]
    front = np.isin(numbers, [n for n, group in enumerate(groups) if group == "head" or group.endswith("arm")])
    out = 1 - 2 * BESIDE * cv2.GaussianBlur(front.astype(np.float32), (0, 0), max(0.1 * head, 0.7)) * ~front
    # Trousers pass from the trunk into both legs: no crease there.
    body = np.isin(numbers, [n for n, group in enumerate(groups) if group == "trunk" or group.endswith("leg")])
    trunk = numbers == groups.index("trunk")
    line = np.zeros(owner.shape, np.float32)
    for one, other, where in (
        (np.s_[:, 1:], np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[1:], np.s_[:-1], np.s_[1:]),
    ):
        joined = body[one] & body[other] & (trunk[one] | trunk[other])
        line[where] = np.maximum(line[where], (numbers[one] != numbers[other]) & ~joined)
    line = cv2.GaussianBlur(line, (0, 0), max(0.05 * head, 0.6))
    return np.asarray(out * (1 - 0.6 * np.clip(line, 0, 0.5)), np.float32)


def _folds(size: tuple[int, int], head: float, seed: int) -> Floats:
    """Return folds of cloth, float32 (h, w) about -1 to 1: ridges along two slanting directions."""
    rng = np.random.default_rng(seed)
    out = np.zeros(size, np.float32)
    for angle, weight in ((0.6, 0.6), (-0.6, 0.6), (1.4, 0.4)):
        noise = rng.standard_normal(size).astype(np.float32)
        length = max(int(0.9 * head) | 1, 3)
        kernel = _streak(length, angle, max(0.09 * head, 0.7))
        ridge = cv2.filter2D(noise, -1, kernel, borderType=cv2.BORDER_REFLECT)
        out += weight * ridge / max(float(ridge.std()), 1e-6)
    return np.clip(out / 2, -1, 1)


def _streak(length: int, angle: float, thick: float) -> Floats:
    """Return a Gaussian drawn out along an angle, float32 (length, length)."""
    half = length // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    kernel = np.exp(-((across / thick) ** 2) / 2 - ((along / max(length / 4, 0.7)) ** 2) / 2)
    return np.asarray(kernel / kernel.sum(), np.float32)
