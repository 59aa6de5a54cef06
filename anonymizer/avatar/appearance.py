"""Appearance of a body: phenotype, skin, hair, colours and patterns of cloth, face, all drawn by chance.

The population is stated here and is the same for every picture: nothing of the person replaced enters.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.wardrobe import Outfit, choose
from anonymizer.errors import ModelError

__all__ = ["Appearance", "Cloth", "Face", "Faces", "draw_appearance"]

Floats = NDArray[np.float32]

#: Skin from light to dark over the range of Monk's scale, as reflectances; between them is mixed. Each interval is as
#: likely.
SKIN = ("e6c9b3", "deb798", "cea17b", "b5865f", "9c6d4b", "7f5439", "64422f", "4d3326", "3c2820")
#: Hair, RGB in [0, 1], and how often it is drawn; of the old it is greyer.
HAIR = (
    ((0.07, 0.06, 0.055), 5.0),
    ((0.16, 0.11, 0.08), 4.0),
    ((0.3, 0.2, 0.12), 2.0),
    ((0.5, 0.38, 0.22), 1.0),
    ((0.4, 0.17, 0.08), 0.4),
    ((0.55, 0.54, 0.53), 0.8),
)
#: Cloth: hue, saturation and value with their spread, and how often it is drawn. Street clothes are mostly dark and
#: grey.
COLOURS = (
    ((0.62, 0.15, 0.13), (0.05, 0.1, 0.04), 3.0),  # black
    ((0.62, 0.4, 0.28), (0.03, 0.15, 0.08), 3.0),  # navy
    ((0.0, 0.02, 0.45), (0.5, 0.03, 0.15), 3.0),  # grey
    ((0.1, 0.06, 0.82), (0.05, 0.04, 0.08), 2.5),  # white
    ((0.1, 0.3, 0.55), (0.02, 0.1, 0.15), 1.5),  # beige
    ((0.07, 0.5, 0.3), (0.02, 0.1, 0.08), 1.0),  # brown
    ((0.25, 0.35, 0.32), (0.06, 0.1, 0.08), 1.0),  # olive
    ((0.58, 0.4, 0.65), (0.03, 0.15, 0.12), 1.5),  # light blue
    ((0.99, 0.65, 0.5), (0.03, 0.12, 0.15), 1.2),  # red
    ((0.5, 0.5, 0.5), (0.5, 0.2, 0.2), 1.0),  # anything
)
DENIM = ((0.6, 0.42, 0.38), (0.015, 0.12, 0.14))
#: How often each pattern is drawn.
PATTERNS = (("plain", 6.0), ("stripes", 1.2), ("checks", 0.8), ("print", 1.2), ("yoke", 0.5))
#: How often trousers are of denim.
DENIM_SHARE = 0.4
#: Greatest turn of an average face that is projected from ahead: how far its nose is off the middle of its eyes.
FRONTAL = 0.12


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """An average face: RGB float32 (S, S, 3) in [0, 1], five landmarks float32 (5, 2), colour of its skin (3,)."""

    pixels: Floats
    landmarks: Floats
    skin: Floats


class Faces:
    """Average faces of at least k people each.

    Args:
        faces: uint8 (M, S, S, 4), RGB and matte.
        landmarks: float32 (M, 5, 2).
    """

    def __init__(self, faces: NDArray[np.uint8], landmarks: Floats) -> None:
        across = landmarks[:, 1, 0] - landmarks[:, 0, 0]
        turn = (landmarks[:, 2, 0] - landmarks[:, :2, 0].mean(1)) / np.maximum(across, 1e-3)
        self._chosen = np.flatnonzero(np.abs(turn) < FRONTAL)
        if not len(self._chosen):
            raise ModelError("average faces: none looks ahead")
        self._faces, self._landmarks = faces, landmarks

    @classmethod
    def load(cls, path: Path) -> Faces:
        """Read the averages of a safetensors file.

        Raises:
            ModelError: The file does not hold average faces.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="numpy") as file:
                faces, landmarks = file.get_tensor("faces"), file.get_tensor("landmarks")
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: expected average faces, got {error}") from error
        if faces.ndim != 4 or faces.shape[3] != 4 or landmarks.shape != (len(faces), 5, 2):
            raise ModelError(f"{path}: expected faces (M, S, S, 4) and landmarks (M, 5, 2), got {faces.shape}")
        return cls(faces, landmarks.astype(np.float32))

    def any(self, rng: np.random.Generator) -> Face:
        """Return an average drawn by chance."""
        number = int(rng.choice(self._chosen))
        pixels = self._faces[number, ..., :3].astype(np.float32) / 255
        marks = self._landmarks[number]
        (x1, y1), (x2, y2) = marks.min(0).astype(int), marks.max(0).astype(int)
        middle = pixels[y1 + (y2 - y1) // 4 : y2, x1:x2].reshape(-1, 3)
        return Face(pixels.astype(np.float32), marks, np.median(middle, axis=0).astype(np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Cloth:
    """Cloth of one garment.

    Args:
        colour, second: RGB float32 (3,) in [0, 1].
        pattern: ``plain``, ``stripes``, ``checks``, ``print``, ``yoke`` or ``denim``.
        period: Distance of the pattern's repeats in metres.
        folds: Depth of folds, 1 is usual.
    """

    colour: Floats
    second: Floats
    pattern: str
    period: float
    folds: float


@dataclass(frozen=True, slots=True, eq=False)
class Appearance:
    """What somebody looks like.

    Args:
        phenotype: float32 (6,), see ``body.PHENOTYPES``.
        outfit: What is worn.
        skin, hair: RGB float32 (3,) in [0, 1].
        face: An average face.
        cloths: By garment.
    """

    phenotype: Floats
    outfit: Outfit
    skin: Floats
    hair: Floats
    face: Face
    cloths: dict[str, Cloth]


def draw_appearance(faces: Faces, rng: np.random.Generator) -> Appearance:
    """Return an adult drawn by chance."""
    female = bool(rng.random() < 0.5)
    age = float(np.clip(rng.beta(2, 2) * 0.42 + 0.5, 0, 1))
    gender = rng.uniform(0.85, 1) if female else rng.uniform(0, 0.15)
    spread = np.clip(rng.normal(0.5, (0.12, 0.14, 0.12, 0.12)), 0.2, 0.85)
    phenotype = np.array([gender, age, *spread], np.float32)
    outfit = choose(rng, female)
    position = rng.uniform(0, len(SKIN) - 1)
    tones = np.array([[int(tone[k : k + 2], 16) / 255 for k in (0, 2, 4)] for tone in SKIN], np.float32)
    at = int(position)
    skin = tones[at] + (tones[min(at + 1, len(SKIN) - 1)] - tones[at]) * np.float32(position - at)
    hair = _one(HAIR, rng)
    # Light hair goes with light skin.
    if position > 3.5:
        hair = np.array(HAIR[0][0], np.float32) * np.float32(rng.uniform(0.8, 1.3))
    grey = float(np.clip((age - 0.72) / 0.2, 0, 1)) * rng.random()
    hair = hair + (np.array([0.62, 0.61, 0.6], np.float32) - hair) * np.float32(grey)
    names = [*outfit.tops, outfit.bottom, outfit.full, outfit.shoes]
    cloths = {name: _cloth(name, rng) for name in names if name is not None}
    return Appearance(phenotype, outfit, skin.astype(np.float32), hair.astype(np.float32), faces.any(rng), cloths)


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
    period, folds = float(rng.uniform(0.025, 0.08)), float(rng.uniform(0.7, 1.2))
    if name in ("sneakers", "low shoes", "boots"):
        base = np.array([0.88, 0.87, 0.85] if name == "sneakers" else [0.12, 0.115, 0.11], np.float32)
        return Cloth(colour if rng.random() < 0.5 else base, base, "plain", period, 0.3)
    if "trousers" in name or "shorts" in name:
        if rng.random() < DENIM_SHARE:
            return Cloth(_colour(*DENIM, rng), second, "denim", period, folds)
        return Cloth(colour, second, "plain", period, folds)
    weights = np.array([weight for _, weight in PATTERNS])
    pattern = str(PATTERNS[int(rng.choice(len(PATTERNS), p=weights / weights.sum()))][0])
    if "jacket" in name or name in ("parka", "long coat"):
        pattern = "plain"
    return Cloth(colour, second, pattern, period, folds)
