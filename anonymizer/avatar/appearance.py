"""Appearance of a body: phenotype, skin, hair, colours and patterns of cloth, face, all drawn by chance.

The population is stated here and is the same for every picture: nothing of the person replaced enters.
"""

from __future__ import annotations

import colorsys
from collections.abc import Container
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.faces import Face, Faces
from anonymizer.avatar.shoes import SHOES
from anonymizer.avatar.wardrobe import USUAL, Habits, Outfit, choose, trousered
from anonymizer.core.errors import InputError

__all__ = ["Appearance", "Cloth", "Population", "draw_appearance", "helmeted", "seated", "worn_as"]

Floats = NDArray[np.float32]

#: Skin by Fitzpatrick's types I to VI as CIELAB (D65) of the ITA classes of Chardon and Del Bino, and how often it is
#: drawn: the whole range, no type rare. Between neighbours is mixed.
SKIN = (
    ((71.0, 9.0, 13.0), 0.9),
    ((67.0, 10.5, 15.0), 1.1),
    ((62.0, 11.5, 17.0), 1.1),
    ((56.0, 12.5, 19.0), 1.0),
    ((48.0, 13.0, 19.0), 0.8),
    ((38.0, 11.5, 15.5), 0.7),
    ((30.0, 9.0, 11.0), 0.4),
)
#: Hair, RGB in [0, 1], how often it goes with light skin (from ``LIGHT``) and with darker skin; the old have greyer.
HAIR_COLOURS = (
    ((0.1, 0.088, 0.082), 1.2, 8.0),
    ((0.17, 0.125, 0.1), 2.5, 2.0),
    ((0.26, 0.18, 0.125), 2.5, 0.6),
    ((0.38, 0.275, 0.185), 2.0, 0.1),
    ((0.52, 0.4, 0.27), 1.4, 0.0),
    ((0.68, 0.55, 0.38), 0.8, 0.05),
    ((0.36, 0.17, 0.09), 0.5, 0.15),
)
#: Ages of adults and of children as phenotypes: 1/3 is a child, 2/3 a young adult, 1 is old.
AGES = ((0.5, 0.92), (0.15, 0.33))
#: Standard deviations of muscle, weight, height (7 cm) and proportions.
SPREAD = (0.12, 0.14, 0.07, 0.12)
#: Draws until somebody is found who is like nobody else in the picture.
TRIES = 60
#: Steps of each channel in which cloths of one piece have different colours.
SHADES = 4
#: Lightness of CIELAB from which skin counts as light here.
LIGHT = 58.0
#: Irises, RGB in [0, 1], and how often they go with light and with darker skin.
IRISES = (
    ((0.2, 0.11, 0.06), 2.0, 6.0),
    ((0.3, 0.19, 0.1), 1.5, 1.0),
    ((0.33, 0.31, 0.18), 1.0, 0.1),
    ((0.26, 0.34, 0.4), 1.5, 0.0),
    ((0.32, 0.35, 0.35), 0.7, 0.0),
)
#: Cloth: hue, saturation and value with their spread, and how often it is drawn. Street clothes are mostly black, white
#: and grey: half of the pixels of 142 annotated persons have a chroma below 6 (CIELAB).
COLOURS = (
    ((0.62, 0.12, 0.11), (0.05, 0.08, 0.04), 4.0),  # black
    ((0.62, 0.4, 0.28), (0.03, 0.15, 0.08), 3.0),  # navy
    ((0.0, 0.02, 0.45), (0.5, 0.03, 0.15), 3.0),  # grey
    ((0.1, 0.05, 0.89), (0.05, 0.04, 0.06), 4.0),  # white
    ((0.1, 0.3, 0.55), (0.02, 0.1, 0.15), 1.5),  # beige
    ((0.07, 0.5, 0.3), (0.02, 0.1, 0.08), 1.0),  # brown
    ((0.25, 0.35, 0.32), (0.06, 0.1, 0.08), 1.0),  # olive
    ((0.58, 0.4, 0.65), (0.03, 0.15, 0.12), 1.5),  # light blue
    ((0.99, 0.65, 0.5), (0.03, 0.12, 0.15), 1.2),  # red
    ((0.5, 0.5, 0.5), (0.5, 0.2, 0.2), 1.0),  # anything
)
DENIM = ((0.6, 0.42, 0.38), (0.015, 0.12, 0.14))
#: How often each pattern is drawn.
PATTERNS = (
    *(("plain", 7.0), ("stripes", 1.2), ("pinstripes", 0.4), ("checks", 0.8), ("dots", 0.4), ("flowers", 0.5)),
    *(("print", 0.9), ("yoke", 0.3)),
)
#: What may be patterned; all else is plain.
PATTERNED = (
    "t-shirt",
    "tank top",
    "shirt",
    "polo",
    "sweater",
    "blouse",
    "dress",
    "summer dress",
    "shirt dress",
    "skirt",
)
#: Fabrics of garments that are not woven.
FABRICS = {
    **dict.fromkeys(("t-shirt", "tank top", "polo", "hoodie", "joggers", "leggings", "dress", "cap"), "jersey"),
    **dict.fromkeys(("sweater", "cardigan", "turtleneck", "beanie"), "knit"),
    **{"puffer jacket": "down", "leather jacket": "leather"},
}
#: Colours of glasses, masks and helmets, RGB in [0, 1], and how often they are drawn.
WORN = {
    "glasses": (((0.06, 0.055, 0.05), 3.0), ((0.3, 0.18, 0.1), 1.0), ((0.45, 0.44, 0.42), 1.0)),
    "sunglasses": (((0.03, 0.03, 0.032), 4.0), ((0.14, 0.09, 0.06), 1.0)),
    "mask": (((0.6, 0.72, 0.8), 3.0), ((0.85, 0.85, 0.84), 2.0), ((0.08, 0.08, 0.085), 2.0)),
    "helmet": (
        ((0.08, 0.08, 0.085), 3.0),
        ((0.82, 0.82, 0.81), 2.0),
        ((0.55, 0.12, 0.1), 1.0),
        ((0.15, 0.3, 0.5), 1.0),
    ),
}
#: Colours of canvas and of leather shoes, RGB in [0, 1], and how often they are drawn.
SHOE_COLOURS = (
    (((0.84, 0.83, 0.81), 3.0), ((0.1, 0.1, 0.11), 2.5), ((0.4, 0.4, 0.41), 1.0), ((0.16, 0.2, 0.33), 1.0)),
    (((0.07, 0.065, 0.06), 4.0), ((0.24, 0.15, 0.1), 2.0), ((0.42, 0.27, 0.17), 1.0), ((0.6, 0.5, 0.4), 0.5)),
)
#: How often riders wear a helmet. On bicycles counts run from a few in a hundred to nearly all, by country and year: at
#: one half a helmet tells least of where and when it was. On motorcycles it is the law nearly everywhere.
HELMETS = {"bicycle": 0.5, "motorcycle": 0.9}
#: How often trousers are of denim.
DENIM_SHARE = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class Cloth:
    """Cloth of one garment.

    Args:
        colour, second: RGB float32 (3,) in [0, 1].
        pattern: One of ``PATTERNS``.
        period: Distance of the pattern's repeats in metres.
        fabric: ``jersey``, ``woven``, ``knit``, ``denim``, ``leather`` or ``down``.
        folds: Depth of folds, 1 is usual.
        belt: Whether a belt is worn over it.
    """

    colour: Floats
    second: Floats
    pattern: str
    period: float
    fabric: str
    folds: float
    belt: bool


@dataclass(frozen=True, slots=True)
class Population:
    """Who avatars are drawn from.

    Args:
        female: Share of women, in [0, 1].
        skin: Weights of the tones of ``SKIN`` from light to dark; those stated there where it is empty.
        habits: How often hats, bags, glasses, beards and face masks are worn.

    Raises:
        InputError: Weights of another number, below 0 or all 0.
    """

    female: float = 0.5
    skin: tuple[float, ...] = ()
    habits: Habits = USUAL

    def __post_init__(self) -> None:
        if self.skin and (len(self.skin) != len(SKIN) or min(self.skin) < 0 or sum(self.skin) <= 0):
            raise InputError(f"population.skin: expected {len(SKIN)} weights from 0, not all 0, got {list(self.skin)}")


#: Who is drawn where nothing else is stated.
EVERYBODY = Population()


@dataclass(frozen=True, slots=True, eq=False)
class Appearance:
    """What somebody looks like.

    Args:
        phenotype: float32 (6,), see ``body.PHENOTYPES``.
        outfit: What is worn.
        skin, hair, iris: RGB float32 (3,) in [0, 1].
        face: An average face.
        cloths: By garment.
    """

    phenotype: Floats
    outfit: Outfit
    skin: Floats
    hair: Floats
    iris: Floats
    face: Face
    cloths: dict[str, Cloth]

    @property
    def marks(self) -> frozenset[str]:
        """What nobody else in a picture has while there is enough of it: the face, and the piece that shows on top."""
        piece = self.outfit.full or self.outfit.tops[-1]
        colour = (self.cloths[piece].colour * SHADES).astype(int)
        return frozenset((f"face {self.face.number}", piece, f"{piece} {colour.tolist()}"))


def draw_appearance(
    faces: Faces,
    rng: np.random.Generator,
    taken: Container[str] = (),
    child: bool = False,
    population: Population = EVERYBODY,
) -> Appearance:
    """Return somebody drawn by chance, with none of the ``Appearance.marks`` that others have taken.

    In a crowd larger than the wardrobe, or than the faces of a sex, marks come again, as few as possible.

    Args:
        faces: Average faces.
        rng: Source of everything.
        taken: Marks of others in the picture.
        child: Whether it is a child of 4 to 12 years; else an adult.
        population: Who is drawn from.
    """
    best = _drawn_once(faces, rng, child, population)
    fewest = sum(mark in taken for mark in best.marks)
    for _ in range(TRIES - 1):
        if not fewest:
            break
        drawn = _drawn_once(faces, rng, child, population)
        shared = sum(mark in taken for mark in drawn.marks)
        if shared < fewest:
            best, fewest = drawn, shared
    return best


def _drawn_once(faces: Faces, rng: np.random.Generator, child: bool, population: Population) -> Appearance:
    female = bool(rng.random() < population.female)
    youngest, oldest = AGES[int(child)]
    age = float(youngest + (oldest - youngest) * rng.beta(2, 2))
    gender = rng.uniform(0.85, 1) if female else rng.uniform(0, 0.15)
    spread = np.clip(rng.normal(0.5, SPREAD), 0.2, 0.85)
    phenotype = np.array([gender, age, *spread], np.float32)
    outfit = choose(rng, female, child, habits=population.habits)
    tone = _tone(rng, population.skin)
    dark = int(tone[0] < LIGHT)
    hair, iris = (
        _one(tuple((colour, (light, darker)[dark]) for colour, light, darker in table), rng)
        for table in (HAIR_COLOURS, IRISES)
    )
    hair = hair * np.float32(rng.uniform(0.85, 1.2))
    grey = float(np.clip((age - 0.72) / 0.2, 0, 1)) * rng.random()
    hair = hair + (np.array([0.62, 0.61, 0.6], np.float32) - hair) * np.float32(grey)
    cloths = {name: _cloth(name, rng) for name in outfit.cloths}
    face = faces.any(rng, female)
    return Appearance(phenotype, outfit, _rgb(tone), hair.astype(np.float32), iris, face, cloths)


def seated(look: Appearance, rng: np.random.Generator) -> Appearance:
    """Return somebody in trousers: skirts do not follow who sits, crouches or rides."""
    outfit = trousered(look.outfit)
    return look if outfit == look.outfit else worn_as(look, outfit, rng)


def helmeted(look: Appearance, rides: str, rng: np.random.Generator) -> Appearance:
    """Return somebody who rides one of ``HELMETS``: in trousers, by chance with a helmet, otherwise as they were."""
    outfit = trousered(look.outfit)
    if rng.random() < HELMETS[rides]:
        outfit = replace(outfit, hat="helmet")
    return look if outfit == look.outfit else worn_as(look, outfit, rng)


def worn_as(look: Appearance, outfit: Outfit, rng: np.random.Generator) -> Appearance:
    """Return somebody in another outfit; colours of what is new are drawn by chance."""
    return replace(
        look, outfit=outfit, cloths={name: look.cloths.get(name) or _cloth(name, rng) for name in outfit.cloths}
    )


def _tone(rng: np.random.Generator, skin: tuple[float, ...]) -> Floats:
    """Return a colour of skin in CIELAB, drawn by chance."""
    tones = np.array([row[0] for row in SKIN], np.float32)
    weights = np.array(skin or [row[1] for row in SKIN])
    place = int(rng.choice(len(SKIN), p=weights / weights.sum())) + rng.uniform(-0.5, 0.5)
    place = float(np.clip(place, 0, len(SKIN) - 1))
    first = min(int(place), len(SKIN) - 2)
    return np.asarray(tones[first] + (tones[first + 1] - tones[first]) * np.float32(place - first), np.float32)


def _rgb(lab: Floats) -> Floats:
    """Return sRGB (3,) in [0, 1] of a colour in CIELAB."""
    import cv2

    return np.asarray(cv2.cvtColor(lab[None, None], cv2.COLOR_Lab2RGB)[0, 0], np.float32)


def _one(table: tuple[tuple[tuple[float, float, float], float], ...], rng: np.random.Generator) -> Floats:
    weights = np.array([row[1] for row in table])
    return np.array(table[int(rng.choice(len(table), p=weights / weights.sum()))][0], np.float32)


def _colour(middle: tuple[float, ...], width: tuple[float, ...], rng: np.random.Generator) -> Floats:
    h, s, v = np.array(middle) + np.array(width) * rng.uniform(-1, 1, 3)
    return np.array(colorsys.hsv_to_rgb(h % 1, np.clip(s, 0, 1), np.clip(v, 0.07, 0.92)), np.float32)


def _drawn(rng: np.random.Generator) -> Floats:
    weights = np.array([row[2] for row in COLOURS])
    middle, width, _ = COLOURS[int(rng.choice(len(COLOURS), p=weights / weights.sum()))]
    return _colour(middle, width, rng)


def _cloth(name: str, rng: np.random.Generator) -> Cloth:
    colour, second = _drawn(rng), _drawn(rng)
    period, folds, belt = float(rng.uniform(0.025, 0.07)), float(rng.uniform(0.75, 1.2)), bool(rng.random() < 0.4)
    if name in SHOES:
        leather = SHOES[name].material in ("leather", "suede")
        base = _one(SHOE_COLOURS[int(leather)], rng) * np.float32(rng.uniform(0.9, 1.1))
        return Cloth(colour if rng.random() < 0.2 else base, second, "plain", period, "leather", 0.3, False)
    denim = name == "denim jacket" or (
        ("trousers" in name or name in ("shorts", "overalls", "skirt", "pencil skirt")) and rng.random() < DENIM_SHARE
    )
    if denim:
        return Cloth(_colour(*DENIM, rng), second, "plain", period, "denim", folds, belt)
    if name in WORN:
        return Cloth(
            _one(WORN[name], rng), second, "plain", period, "leather" if name == "helmet" else "woven", 0.3, False
        )
    fabric = FABRICS.get(name, "woven")
    pattern = str(_chosen(PATTERNS, rng)) if name in PATTERNED else "plain"
    if name == "leather jacket":
        colour = _one(SHOE_COLOURS[1], rng)
    return Cloth(colour, second, pattern, period, fabric, folds * (0.6 if fabric == "knit" else 1.0), belt)


def _chosen(table: tuple[tuple[str, float], ...], rng: np.random.Generator) -> str:
    weights = np.array([weight for _, weight in table])
    return str(table[int(rng.choice(len(table), p=weights / weights.sum()))][0])
