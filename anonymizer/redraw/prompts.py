"""Prompts of the embedded inpainter: an instance's class and, for persons, colours of clothes drawn at random.

Nothing in a prompt is read off the original instance. Colours are named with the basic colour terms of Berlin & Kay
(1969) plus beige; training names the colours of real clothes with ``name_colour``, so the words mean the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["COLOURS", "every_prompt", "name_colour", "prompt", "random_clothes"]

#: Name: RGB prototype and how often a redrawn garment takes it (street clothing is mostly dark or muted).
#: Beige, pink and orange are never taken: from afar they pass for bare skin.
COLOURS: dict[str, tuple[tuple[int, int, int], float]] = {
    "black": ((28, 27, 30), 4.0),
    "grey": ((120, 120, 122), 3.0),
    "white": ((228, 226, 224), 2.0),
    "blue": ((48, 72, 132), 3.0),
    "brown": ((96, 66, 46), 1.5),
    "beige": ((188, 168, 140), 0.0),
    "red": ((168, 36, 42), 1.0),
    "green": ((58, 98, 62), 1.0),
    "yellow": ((212, 182, 62), 0.4),
    "orange": ((208, 110, 48), 0.0),
    "purple": ((98, 54, 110), 0.4),
    "pink": ((212, 140, 156), 0.0),
}

_NOUNS = {
    "person": "a person",
    "face": "a face",
    "license_plate": "a license plate",
    "text": "a sign",
    "vehicle": "a vehicle",
}


def prompt(label: str, top: str | None = None, bottom: str | None = None) -> str:
    """Return the prompt for a class, for persons optionally with the colours of upper and lower clothes."""
    noun = _NOUNS[label]
    if label != "person" or top is None or bottom is None:
        return noun
    return f"{noun}, {top} top, {bottom} bottom"


def every_prompt() -> tuple[str, ...]:
    """Return all that ``prompt`` says of what is painted: each class, and persons in every pair of colours worn."""
    worn = [name for name, (_, weight) in COLOURS.items() if weight > 0]
    return (*(prompt(label) for label in _NOUNS), *(prompt("person", top, bottom) for top in worn for bottom in worn))


def random_clothes(rng: np.random.Generator) -> tuple[str, str]:
    """Return colour words of upper and lower clothes drawn at random, independent of the original."""
    names = list(COLOURS)
    weights = np.array([COLOURS[name][1] for name in names])
    top, bottom = rng.choice(names, size=2, p=weights / weights.sum())
    return str(top), str(bottom)


def name_colour(pixels: NDArray[np.uint8]) -> str:
    """Return the colour word nearest to the median of RGB uint8 (N, 3) pixels.

    Brightness counts half as much as hue and saturation, so that a red coat in the shade is still red.
    """
    centre = np.median(pixels.reshape(-1, 3), axis=0)
    names = list(COLOURS)
    offsets = np.array([COLOURS[name][0] for name in names], dtype=np.float64) - centre
    brightness = offsets.mean(axis=1, keepdims=True)
    distance = ((offsets - brightness) ** 2).sum(axis=1) * 2.0 + 0.5 * 3 * brightness[:, 0] ** 2
    return names[int(distance.argmin())]
