"""Colours of a fill: what a network made up in colours that are nowhere around is drawn to those that are."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.fill.smooth import spread

__all__ = ["familiar"]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

#: Cells of lightness and of each of the two other axes of CIELAB.
LIGHTNESS, HUE = 8, 32
#: Proportion of the known pixels below which the colours of a cell are strange.
RARE = 1e-4
#: Standard deviation in pixels of the surroundings in which strange pixels count together.
NEAR = 4.0
#: Proportions of strange pixels around one from which it begins to change, and from which it does so in full.
SOME, MOST = 0.3, 0.5
#: Steps in which a colour goes to the smooth one, until it is strange no more.
STEPS = 4
#: How far beyond what is strange colours change as well, in pixels.
BEYOND = 8
#: Distances from what is known, in pixels, up to which all stays, and from which what is strange changes in full.
RIM, DEEP = 4.0, 16.0


def familiar(crop: Image, known: Mask, made: Image) -> Image:
    """Return a fill in which no thing stands out by its colours: RGB uint8 (h, w, 3).

    In a hole of the shape of a person a network may put a thing of its own, often in colours that nothing around has.
    These go towards the smooth ones, so far as they must: what is there keeps its shape.

    Args:
        crop: RGB uint8 (h, w, 3) at a network's size, of some hundred pixels; only what is known is read.
        known: bool (h, w).
        made: RGB uint8 (h, w, 3), the fill; only what is not known is read.
    """
    whole = np.where(known[..., None], crop, made)
    strange = _strange(whole, known)
    if not strange.any() or not known.any():
        return made
    own, smooth = _lab(made), _lab(spread(crop, known))
    way = np.zeros(known.shape, np.float32)
    left = strange
    for step in range(1, STEPS + 1):
        way[left] = step / STEPS
        mixed = _rgb(own + (smooth - own) * np.float32(step / STEPS))
        left = left & _strange(np.where(known[..., None], crop, mixed), known)
    together = cv2.GaussianBlur(strange.astype(np.float32), (0, 0), NEAR)
    share = np.clip((together - np.float32(SOME)) / np.float32(MOST - SOME), 0, 1)
    way = cv2.dilate(way, np.ones((BEYOND + 1, BEYOND + 1), np.uint8))
    way *= cv2.dilate(share, np.ones((2 * BEYOND + 1, 2 * BEYOND + 1), np.uint8))
    depth = cv2.distanceTransform((~known).view(np.uint8), cv2.DIST_L2, 3)
    way = cv2.GaussianBlur(way, (0, 0), BEYOND / 2) * np.clip((depth - RIM) / (DEEP - RIM), 0, 1)
    return _rgb(own + (smooth - own) * way[..., None])


def _lab(picture: Image | Floats) -> Floats:
    """Return CIELAB float32 (h, w, 3) of RGB in [0, 255]."""
    return np.asarray(cv2.cvtColor(np.asarray(picture, np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def _rgb(lab: Floats) -> Image:
    """Return RGB uint8 (h, w, 3) of CIELAB float32."""
    return np.clip(np.rint(255 * cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)), 0, 255).astype(np.uint8)


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
