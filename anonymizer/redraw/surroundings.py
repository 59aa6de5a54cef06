"""Surroundings of instances in words: light, colours, and how an instance is seen.

Only pixels outside of every instance are read, and only their statistics.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import integer_box, paste_window
from anonymizer.core.records import Instance
from anonymizer.redraw.crops import anonymized_mask

__all__ = ["Surroundings", "describe_surroundings", "describe_view"]

#: Every how many pixels the picture is sampled along each axis, for a long side of this many samples.
SAMPLES = 512
#: Mean luminance of 255 up to which a picture counts as night, as dim; from which it counts as bright.
NIGHT, DIM, BRIGHT = 45.0, 85.0, 165.0
#: Standard deviation of luminance up to which light is soft, from which it is hard.
SOFT, HARD = 38.0, 68.0
#: Mean red minus mean blue from which colours are warm; negated, cool.
TINT = 14.0
#: Mean of the largest minus the smallest channel up to which colours are muted, from which they are vivid.
MUTED, VIVID = 22.0, 70.0
#: Share of the picture's height from which a person is close, up to which they are far away.
CLOSE, FAR = 0.6, 0.12


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Words for a picture's light and colours, each may be empty."""

    light: str
    colours: str


def describe_surroundings(image: NDArray[np.uint8], instances: Iterable[Instance]) -> Surroundings:
    """Return words for light and colours outside of all instances.

    Args:
        image: RGB uint8 (H, W, 3).
        instances: What is left out, with the rim that is redrawn around it.
    """
    size = image.shape[0], image.shape[1]
    outside = ~anonymized_mask(instances, size)
    step = max(max(size) // SAMPLES, 1)
    pixels = image[::step, ::step][outside[::step, ::step]].astype(np.float32)  # (N, 3)
    if not pixels.size:
        return Surroundings("", "")
    luminance = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    mean, spread = float(luminance.mean()), float(luminance.std())
    if mean < NIGHT:
        light = "at night"
    elif mean < DIM:
        light = "dim light"
    elif spread > HARD:
        light = "hard sunlight"
    elif mean > BRIGHT:
        light = "bright daylight"
    else:
        light = "overcast, soft light" if spread < SOFT else "daylight"
    red, _, blue = pixels.mean(axis=0)
    tint = "warm" if red - blue > TINT else "cool" if blue - red > TINT else ""
    chroma = float((pixels.max(axis=1) - pixels.min(axis=1)).mean())
    strength = "muted" if chroma < MUTED else "vivid" if chroma > VIVID else ""
    words = " ".join(word for word in (strength, tint) if word)
    return Surroundings(light, f"{words} colours" if words else "")


def describe_view(instance: Instance, size: tuple[int, int], face: Instance | None) -> str:
    """Return words for how an instance is seen: distance, facing, and whether the border cuts it; may be empty.

    Args:
        instance: The instance.
        size: Picture (height, width).
        face: The person's face, if one was found.
    """
    x1, y1, x2, y2 = integer_box(instance.box)
    share = (y2 - y1) / size[0]
    words = ["close view"] if share > CLOSE else ["seen from far away"] if share < FAR else []
    if instance.label == "person" and face is not None:
        words.append("facing the camera")
    picture, _ = paste_window((x1 - 1, y1 - 1, x2 + 1, y2 + 1), size)
    if (picture[0].stop - picture[0].start, picture[1].stop - picture[1].start) != (y2 - y1 + 2, x2 - x1 + 2):
        words.append("cut off by the border of the picture")
    return ", ".join(words)
