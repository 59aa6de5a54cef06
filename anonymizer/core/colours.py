"""Words for colours: the basic colour terms of Berlin & Kay (1969) plus beige."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["COLOUR_WORDS", "name_colour"]

#: Prototypes by word, RGB, as clothes in the street show them.
COLOUR_WORDS: dict[str, tuple[int, int, int]] = {
    "black": (28, 27, 30),
    "grey": (120, 120, 122),
    "white": (228, 226, 224),
    "blue": (48, 72, 132),
    "brown": (96, 66, 46),
    "beige": (188, 168, 140),
    "red": (168, 36, 42),
    "green": (58, 98, 62),
    "yellow": (212, 182, 62),
    "orange": (208, 110, 48),
    "purple": (98, 54, 110),
    "pink": (212, 140, 156),
}


def name_colour(pixels: NDArray[np.uint8]) -> str:
    """Return the colour word nearest to the median of RGB uint8 (N, 3) pixels.

    Brightness counts half as much as hue and saturation, so that a red coat in the shade is still red.
    """
    centre = np.median(pixels.reshape(-1, 3), axis=0)
    names = list(COLOUR_WORDS)
    offsets = np.array([COLOUR_WORDS[name] for name in names], dtype=np.float64) - centre
    brightness = offsets.mean(axis=1, keepdims=True)
    distance = ((offsets - brightness) ** 2).sum(axis=1) * 2.0 + 0.5 * 3 * brightness[:, 0] ** 2
    return names[int(distance.argmin())]
