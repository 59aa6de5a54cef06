"""Safe redaction: a fill that goes on with the surroundings, into which nothing sensitive enters."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError
from anonymizer.core.records import Filler, check_image
from anonymizer.fill.smooth import spread

__all__ = ["redact"]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Window = tuple[slice, slice]

#: Side of the window that a hole is completed in, in longer sides of the hole: what is around it says what it hides.
AROUND = 2.0
#: Least side of a window in pixels: fillers see 512 pixels, so that nothing is lost of a smaller one.
LEAST = 512
#: How many times larger a window may be than a hole asks for that is completed in it beside a larger one.
SHARED = 1.6
#: Least distance from a hole to its window's border, in longer sides of the hole, unless the picture ends there.
ROOM = 0.25
#: Least proportion of a window that is known; a window with less grows.
KNOWN = 0.05
#: Standard deviation of the noise on plain fills in levels of 0 to 255. Constant: an estimate could carry something
#: over.
NOISE = 6.0
#: Fill where nothing outside can be seen.
GREY = 128.0


def redact(
    image: Image,
    mask: Mask,
    rng: np.random.Generator,
    filler: Filler | None = None,
    sensitive: Mask | None = None,
    plain: Mask | None = None,
) -> Image:
    """Return the picture with a mask filled safely.

    Colours come only from pixels outside the mask and outside everything sensitive; where there are none, the fill is
    grey.

    Args:
        image: RGB uint8 (H, W, 3).
        mask: bool (H, W), pixels to fill.
        rng: Source of the noise on what is plain.
        filler: Makes up what is behind; None: all is plain.
        sensitive: bool (H, W), union of all sensitive masks, or None if ``mask`` is all there is.
        plain: bool (H, W), where colours are spread smoothly with noise, or None for nowhere.

    Returns:
        RGB uint8 (H, W, 3), bit for bit the input outside the mask.

    Raises:
        InputError: The image is no RGB uint8 (H, W, 3) or a mask has another size.
    """
    check_image(image)
    for name, array in (("mask", mask), ("sensitive", sensitive), ("plain", plain)):
        if array is not None and (array.dtype != np.bool_ or array.shape != image.shape[:2]):
            raise InputError(f"{name}: expected bool {image.shape[:2]}, got {array.dtype} {array.shape}")
    known = ~mask if sensitive is None else ~(mask | sensitive)
    smooth = mask if filler is None else np.zeros_like(mask) if plain is None else mask & plain
    out = image.copy()
    for window, holes in _windows(mask, known):
        crop, seen = image[window], known[window]
        if filler is not None and seen.any():
            made = filler.complete(crop, seen)
            out[window][holes] = made[holes]
        flat = holes & smooth[window] if seen.any() else holes
        if flat.any():
            colours = spread(crop, seen)[flat] if seen.any() else np.full((int(flat.sum()), 3), GREY, np.float32)
            colours += rng.normal(0.0, NOISE, colours.shape).astype(np.float32)
            out[window][flat] = np.clip(np.rint(colours), 0, 255).astype(np.uint8)
    return out


def _windows(mask: Mask, known: Mask) -> Iterator[tuple[Window, Mask]]:
    """Yield windows of a picture, and of each which pixels are filled in it, bool (h, w); every hole is in one.

    The largest hole comes first; what lies well within its window, and is not too small for it, is filled with it.
    """
    size = mask.shape[0], mask.shape[1]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    boxes = stats[:, :4].astype(np.int64)
    boxes[:, 2:] += boxes[:, :2]
    longer = stats[:, 2:4].max(axis=1)
    left = np.arange(count) > 0  # The first is what is no hole.
    for hole in np.argsort(-longer[1:], kind="stable") + 1:
        if not left[hole]:
            continue
        side = max(LEAST, round(AROUND * int(longer[hole])))
        window = _window(boxes[hole], side, size)
        while known[window].mean() < KNOWN and known[window].shape != size:
            side *= 2
            window = _window(boxes[hole], side, size)
        with_it = left & _within(boxes, longer, window, size) & (side <= SHARED * np.maximum(LEAST, AROUND * longer))
        with_it[hole] = True
        left &= ~with_it
        yield window, with_it[labels[window]]


def _window(box: NDArray[np.int64], side: int, size: tuple[int, int]) -> Window:
    """Return a window around a box (xyxy), of a side in pixels as far as the picture has room."""
    spans = []
    for low, high, length in ((box[1], box[3], size[0]), (box[0], box[2], size[1])):
        wide = min(side, length)
        start = min(max(int(low + high - wide) // 2, 0), length - wide)
        spans.append(slice(start, start + wide))
    return spans[0], spans[1]


def _within(boxes: NDArray[np.int64], longer: NDArray[np.int32], window: Window, size: tuple[int, int]) -> Mask:
    """Return which holes lie in a window with room around them, bool (N,)."""
    out = np.ones(len(boxes), np.bool_)
    for axis, span, length in ((1, window[0], size[0]), (0, window[1], size[1])):
        low, high = boxes[:, axis], boxes[:, axis + 2]
        out &= (low >= span.start) & (high <= span.stop)
        if span.start > 0:
            out &= low - span.start >= ROOM * longer
        if span.stop < length:
            out &= span.stop - high >= ROOM * longer
    return out
