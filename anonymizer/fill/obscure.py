"""Obscuring: blur, mosaic and solid colour in place of a redraw, where somebody asks for them.

They are weaker than a redraw or a fill: of a blur or a mosaic, persons are recognised (``anonymizer evaluate`` shows
how often), and all three destroy what the data could teach.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError
from anonymizer.core.geometry import IntBox, paste_window

__all__ = ["LEAST_STRENGTH", "METHODS", "MOST_STRENGTH", "REDRAW", "obscure"]

Image = NDArray[np.uint8]

#: The method that is not obscuring.
REDRAW = "redraw"
#: Methods by name, with the classes they are for; none: all.
METHODS: dict[str, tuple[str, ...]] = {"blur": (), "mosaic": (), "solid": (), "blank": ("license_plate",)}
#: Standard deviation of the blur, and side of a mosaic's cell, as shares of the square root of the box's area at
#: strength 1: those with which blur tools are compared (``evaluation.variants``).
SIGMA, CELL = 0.10, 0.125
#: Below the first, what is left can be read; above the second, nothing changes any more.
LEAST_STRENGTH, MOST_STRENGTH = 0.5, 4.0
#: Standard deviations of the surroundings that a blur mixes in.
REACH = 3


def obscure(image: Image, box: IntBox, method: str, strength: float = 1.0) -> Image:
    """A box of a picture obscured: RGB uint8 (h, w, 3).

    Args:
        image: RGB uint8 (H, W, 3).
        box: Integer xyxy within the picture.
        method: ``blur``: Gaussian. ``mosaic``: cells of their mean colour. ``solid``: black. ``blank``: the median
            colour of the box's inner half, which of a plate is its ground.
        strength: Multiple of the usual width of blur and cells.

    Raises:
        InputError: An unknown method, or a strength out of range.
    """
    if method not in METHODS:
        raise InputError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    if not LEAST_STRENGTH <= strength <= MOST_STRENGTH:
        raise InputError(f"strength: expected {LEAST_STRENGTH:g} to {MOST_STRENGTH:g}, got {strength:g}")
    x1, y1, x2, y2 = box
    inner = image[y1:y2, x1:x2]
    if method == "solid":
        return np.zeros_like(inner)
    if method == "blank":
        middle = inner[(y2 - y1) // 4 : -((y2 - y1) // 4) or None, (x2 - x1) // 4 : -((x2 - x1) // 4) or None]
        return np.broadcast_to(np.median(middle, axis=(0, 1)), inner.shape).astype(np.uint8)
    scale = float(np.sqrt((x2 - x1) * (y2 - y1))) * strength
    if method == "mosaic":
        size = tuple(max(round(side / max(CELL * scale, 1.0)), 1) for side in (x2 - x1, y2 - y1))
        means = cv2.resize(inner, size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(means, (x2 - x1, y2 - y1), interpolation=cv2.INTER_NEAREST), np.uint8)
    sigma = max(SIGMA * scale, 0.5)
    pad = int(np.ceil(REACH * sigma))
    wide, _ = paste_window((x1 - pad, y1 - pad, x2 + pad, y2 + pad), (image.shape[0], image.shape[1]))
    blurred = cv2.GaussianBlur(np.ascontiguousarray(image[wide]), (0, 0), sigma)
    top, left = y1 - wide[0].start, x1 - wide[1].start
    return np.asarray(blurred[top : top + y2 - y1, left : left + x2 - x1], np.uint8)
