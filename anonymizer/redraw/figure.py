"""A clothed figure for a person's prototype: every pixel of the mask belongs to the limb it is nearest to.

The mask and the joints say where trunk, arms, hands, legs and feet are; what they wear is chance: colours, length of
sleeves, legs and coat, an open jacket, folds, and from which side the light comes. No pixel of the original is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.redraw.limbs import NECK, Limb, Owned, owned
from anonymizer.redraw.skeleton import Skeleton

__all__ = ["Outfit", "draw_figure", "random_hair", "random_outfit"]

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: Beyond this many half widths of the neck hair hangs down.
NAPE = 1.4
#: Of a head seen from the side: how far behind the nose its face ends and how far above it hair begins, in heads; where
#: ear, eye and brow lie behind and above the nose, their half widths and half heights, and how dark they are.
FACE_DEPTH, HAIRLINE = 0.42, 0.34
PROFILE_MARKS = ((0.44, 0.06, 0.07, 0.12, 0.25), (0.15, 0.13, 0.05, 0.04, 0.6), (0.15, 0.21, 0.08, 0.03, 0.35))
#: Hair, RGB, and how often it is drawn.
HAIR = (((36, 30, 28), 4.0), ((60, 44, 34), 4.0), ((96, 70, 48), 2.0), ((150, 120, 84), 1.0), ((134, 132, 130), 1.0))
#: Shoes, RGB, and how often they are drawn.
SHOES = (((30, 28, 28), 4.0), ((62, 44, 34), 2.0), ((215, 213, 208), 2.0), ((70, 74, 84), 1.0))
#: How often sleeves are short, trousers are short below short sleeves, a coat is worn and a jacket is open.
SHORT_SLEEVES, SHORTS, COAT, OPEN = 0.3, 0.25, 0.2, 0.4
#: Colours of clothes are mixed with their grey by such shares, and made darker or brighter by such factors.
WASHED, SHADE = (0.15, 0.6), (0.7, 1.1)
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


def random_outfit(rng: np.random.Generator, upper: tuple[int, int, int], lower: tuple[int, int, int]) -> Outfit:
    """Return an outfit drawn at random, independent of the original, in shades of these colours of top and trousers."""
    coat = bool(rng.random() < COAT)
    short = not coat and bool(rng.random() < SHORT_SLEEVES)
    opened = (coat or not short) and rng.random() < OPEN
    light_inner = int(rng.integers(130, 235))
    return Outfit(
        upper=_shade(upper, rng),
        lower=_shade(lower, rng),
        inner=(light_inner, light_inner, min(light_inner + 6, 255)),
        shoes=_drawn(SHOES, rng),
        sleeve=float(rng.uniform(0.5, 0.75) if short else rng.uniform(1.85, 2.0)),
        leg=float(rng.uniform(0.7, 1.0) if short and rng.random() < SHORTS else rng.uniform(1.85, 1.97)),
        hem=float(rng.uniform(1.4, 1.7) if coat else rng.uniform(0.98, 1.15)),
        opening=float(rng.uniform(0.15, 0.35)) if opened else 0.0,
        collar=float(rng.uniform(0.25, 0.7)),
        light=float(rng.choice([-1.0, 1.0])),
        folds=int(rng.integers(2**31)),
    )


def random_hair(rng: np.random.Generator) -> Floats:
    """Return a colour of hair drawn at random, RGB float32 (3,)."""
    return np.array(_drawn(HAIR, rng), np.float32)


def draw_figure(mask: Mask, body: Skeleton, outfit: Outfit, skin: Floats, hair: Floats) -> Floats:
    """Return a figure that fills a mask, RGB float32 (h, w, 3), 0 to 255; pixels beyond the mask mean nothing.

    Args:
        mask: bool (h, w).
        body: Joints in the mask's pixels.
        outfit: What it wears.
        skin: Colour RGB float32 (3,).
        hair: Colour RGB float32 (3,), what a head shows where no face is drawn on it, here or later.
    """
    found = owned((mask.shape[0], mask.shape[1]), body)
    colour = np.zeros((*mask.shape, 3), np.float32)
    for number, limb in enumerate(found.limbs):
        own = found.limb == number
        if own.any():
            where = found.along[own], found.across[own], found.distance[own]
            colour[own] = _dressed(limb, *where, body, outfit, skin, hair)
    head = found.limb == next(n for n, limb in enumerate(found.limbs) if limb.name == "head")
    face, marks = _profile((mask.shape[0], mask.shape[1]), body)
    colour = np.where((head & face)[..., None], skin, colour)
    bare = (colour == skin).all(axis=2)
    shade = _lit(found.across, outfit.light) * _creases(found, body.head)
    inside = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1, mode="edge"), cv2.DIST_L2, 5)[1:-1, 1:-1]
    shade *= 1 - RIM * np.exp(inside / np.float32(-0.12 * body.head))
    shade = cv2.GaussianBlur(shade, (0, 0), max(0.04 * body.head, 0.7))
    shade *= 1 + FOLDS * _folds((mask.shape[0], mask.shape[1]), body.head, outfit.folds) * ~bare
    shade *= np.where(head, marks, np.float32(1))
    soft = cv2.GaussianBlur(colour, (0, 0), max(0.02 * body.head, 0.5))
    return np.asarray(np.float32(LIFT) * soft * shade[..., None], np.float32)


def _drawn(choices: tuple[tuple[tuple[int, int, int], float], ...], rng: np.random.Generator) -> tuple[int, int, int]:
    """Return one of several colours by its weight."""
    weights = np.array([weight for _, weight in choices])
    return choices[rng.choice(len(choices), p=weights / weights.sum())][0]


def _shade(colour: tuple[int, int, int], rng: np.random.Generator) -> tuple[int, int, int]:
    """Return a duller, darker or brighter shade of a colour."""
    grey, washed, factor = float(np.mean(colour)), rng.uniform(*WASHED), rng.uniform(*SHADE)
    red, green, blue = (round(min(factor * (c + washed * (grey - c)), 255)) for c in colour)
    return red, green, blue


def _profile(size: tuple[int, int], body: Skeleton) -> tuple[Mask, Floats]:
    """Return where a head from the side shows its face, bool (h, w), and the shade of ear and eye, float32 (h, w)."""
    side, nose, head = body.profile(), body.points["nose"], np.float32(body.head)
    if side == 0:
        return np.zeros(size, np.bool_), np.ones(size, np.float32)
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    behind, above = side * (nose[0] - columns) / head, (nose[1] - rows) / head
    shade = np.ones(size, np.float32)
    for x, y, half_width, half_height, dark in PROFILE_MARKS:
        shade *= 1 - dark * np.exp(-(((behind - x) / half_width) ** 2) - ((above - y) / half_height) ** 2)
    # The hair's edge runs from the forehead down to behind the ear.
    return (behind < FACE_DEPTH) & (above < HAIRLINE - np.float32(0.3) * np.clip(behind, 0, None)), shade


def _dressed(
    limb: Limb,
    along: Floats,
    across: Floats,
    distance: Floats,
    body: Skeleton,
    outfit: Outfit,
    skin: Floats,
    hair: Floats,
) -> Floats:
    """Return what N pixels of a limb wear, RGB float32 (N, 3), by where on it they lie, (N,) each."""
    upper, lower, inner, shoes = (
        np.array(c, np.float32) for c in (outfit.upper, outfit.lower, outfit.inner, outfit.shoes)
    )

    def choose(condition: Mask, one: Floats, other: Floats) -> Floats:
        return np.where(condition[:, None], one, other)

    if limb.name == "trunk":
        colour = choose(along < outfit.hem, upper, lower)
        if not body.frontal:
            return colour
        side = np.abs(across)
        if outfit.opening:
            gap = 0.12 + outfit.opening * np.clip(along, 0, 1.2)
            colour = choose((side < gap) & (along < min(outfit.hem, 1.05)), inner, colour)
        # A neckline in the shape of a V. Half of the shoulders is about a head: so wide is the neck among them.
        depth = np.clip(along, 0, None) * float(np.linalg.norm(limb.end - limb.start)) / body.head
        return choose(side < NECK * (1 - depth / outfit.collar), skin, colour)
    if limb.name in ("upper_arm", "forearm"):
        return choose(along + (limb.name == "forearm") < outfit.sleeve, upper, skin)
    if limb.name in ("thigh", "shin"):
        worn = along + (limb.name == "shin")
        return choose(worn + 1 < outfit.hem, upper, choose(worn < outfit.leg, lower, skin))
    if limb.name == "neck":
        return choose(distance - limb.farther < NAPE, skin, hair)
    return np.broadcast_to({"head": hair, "hand": skin, "foot": shoes}[limb.name], (len(along), 3))


def _lit(across: Floats, light: float) -> Floats:
    """Return how bright round limbs are, lit from one side: Lambert's law with the light half in front."""
    across = np.clip(across, -1, 1)
    lit = np.sqrt(1 - np.float32(0.9) * across**2) * np.float32(0.82) + np.float32(0.5 * light) * across
    return np.float32(1 - TURNED) + np.float32(TURNED) * np.clip(lit, 0, np.float32(1.15))


def _creases(found: Owned, head: float) -> Floats:
    """Return the shadow (h, w) that head and arms throw on what lies behind, and the dark between limbs that meet."""
    groups = sorted({limb.group for limb in found.limbs})
    numbers = np.array([groups.index(limb.group) for limb in found.limbs], np.uint8)[found.limb]
    front, body, trunk = found.of("head", "arm"), found.of("trunk", "leg"), found.of("trunk")
    shadow = cv2.GaussianBlur(front.astype(np.float32), (0, 0), max(0.1 * head, 0.7))
    line = np.zeros(numbers.shape, np.float32)
    # Trousers pass from the trunk into both legs: no crease there.
    for one, other in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        joined = body[one] & body[other] & (trunk[one] | trunk[other])
        line[one] = np.maximum(line[one], (numbers[one] != numbers[other]) & ~joined)
    line = cv2.GaussianBlur(line, (0, 0), max(0.05 * head, 0.6))
    dark = np.float32(2 * BESIDE) * shadow * ~front
    return np.asarray((1 - dark) * (1 - np.float32(0.6) * np.clip(line, 0, 0.5)), np.float32)


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
