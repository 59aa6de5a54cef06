"""Colours of a fill: what a network made up in colours that are nowhere around gives way to smooth ones."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.fill.smooth import spread

__all__ = ["familiar"]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

#: Cells of lightness and of each of the two other axes of CIELAB.
LIGHTNESS, HUE = 8, 32
#: Proportion of the known pixels below which the colours of a cell are strange.
RARE = 1e-4
#: Standard deviation in pixels of the surroundings in which strange pixels count together.
NEAR = 4.0
#: Proportions of strange pixels around one from which it begins to give way, and from which it is gone.
SOME, MOST = 0.3, 0.5
#: How far beyond what is strange colours are smooth as well, in pixels.
BEYOND = 8
#: Distances from what is known, in pixels, up to which all stays, and from which what is strange is gone.
RIM, DEEP = 4.0, 16.0


def familiar(crop: Image, known: Mask, made: Image) -> Image:
    """Return a fill in which things of strange colours are gone: RGB uint8 (h, w, 3).

    In a hole of the shape of a person a network may put a thing of its own, often in colours that nothing around has.

    Args:
        crop: RGB uint8 (h, w, 3) at a network's size, of some hundred pixels; only what is known is read.
        known: bool (h, w).
        made: RGB uint8 (h, w, 3), the fill; only what is not known is read.
    """
    whole = np.where(known[..., None], crop, made)
    strange = _strange(whole, known)
    if not strange.any() or not known.any():
        return made
    together = cv2.GaussianBlur(strange.astype(np.float32), (0, 0), NEAR)
    share = np.clip((together - np.float32(SOME)) / np.float32(MOST - SOME), 0, 1)
    share = cv2.dilate(share, np.ones((2 * BEYOND + 1, 2 * BEYOND + 1), np.uint8))
    depth = cv2.distanceTransform((~known).view(np.uint8), cv2.DIST_L2, 3)
    share = cv2.GaussianBlur(share, (0, 0), BEYOND / 2) * np.clip((depth - RIM) / (DEEP - RIM), 0, 1)
    share = share[..., None]
    return np.rint(made * (1 - share) + spread(crop, known) * share).astype(np.uint8)


def _strange(picture: Image, known: Mask) -> Mask:
    """Return which pixels of a picture are not known and of a colour that hardly any known one has."""
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.intp)
    cell = (lab[..., 0] * LIGHTNESS // 256 * HUE + lab[..., 1] * HUE // 256) * HUE + lab[..., 2] * HUE // 256
    count = np.bincount(cell[known], minlength=LIGHTNESS * HUE * HUE).reshape(LIGHTNESS, HUE, HUE)
    # Colours of neighbouring cells are alike.
    share = np.pad(count / max(int(known.sum()), 1), 1)
    for axis in range(3):
        share = 0.25 * np.roll(share, 1, axis) + 0.5 * share + 0.25 * np.roll(share, -1, axis)
    return np.asarray((share[1:-1, 1:-1, 1:-1].ravel()[cell] < RARE) & ~known)
