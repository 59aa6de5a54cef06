"""Safe redaction: a fill made of pieces of its surroundings, into which nothing sensitive enters."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.errors import InputError
from anonymizer.geometry import IntBox, paste_window
from anonymizer.types import check_image
from anonymizer.verify.exemplar import exemplar

__all__ = ["redact", "safe_fill"]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

#: Longest side at which pieces are fitted; more would only cost time.
WORK_SIDE = 128
#: Share of a small pixel from which it counts as known.
KNOWN = 0.999
#: Standard deviation of the noise in levels of 0 to 255. Constant: an estimate could carry something over.
NOISE = 6.0
#: Pixels filled at once, in whole rows; bounds memory for large masks.
BLOCK = 500_000
#: Fill where nothing outside can be seen.
GREY = 128.0


def redact(
    image: Image, mask: Mask, rng: np.random.Generator, sensitive: Mask | None = None, plain: Mask | None = None
) -> Image:
    """Return the picture with a mask filled safely.

    Each connected part is filled on its own from a ring around it. Colours come only from pixels outside the mask
    and outside everything sensitive; where there are none, the fill is grey.

    Args:
        image: RGB uint8 (H, W, 3).
        mask: bool (H, W), pixels to fill.
        rng: Source of the noise.
        sensitive: bool (H, W), union of all sensitive masks, or None if ``mask`` is all there is.
        plain: bool (H, W), where the fill gets noise instead of texture, or None for nowhere.

    Returns:
        RGB uint8 (H, W, 3), bit for bit the input outside the mask.

    Raises:
        InputError: The image is no RGB uint8 (H, W, 3) or a mask has another size.
    """
    check_image(image)
    for name, array in (("mask", mask), ("sensitive", sensitive), ("plain", plain)):
        if array is not None and (array.dtype != np.bool_ or array.shape != image.shape[:2]):
            raise InputError(f"{name}: expected bool {image.shape[:2]}, got {array.dtype} {array.shape}")
    avoid = mask if sensitive is None else mask | sensitive
    out = image.copy()
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    for part in range(1, count):
        x, y, width, height = (int(v) for v in stats[part, :4])
        box = x, y, x + width, y + height
        window = slice(y, y + height), slice(x, x + width)
        inside = labels[window] == part
        out[window][inside] = safe_fill(image, avoid, box, rng, plain)[inside]
    return out


def safe_fill(image: Image, sensitive: Mask, box: IntBox, rng: np.random.Generator, plain: Mask | None = None) -> Image:
    """Return a fill for a box, made of pieces of what is not sensitive around it.

    At a small size, colours are first spread smoothly and then replaced by pieces of the surroundings that fit; what
    the small size leaves out of a piece is added at the picture's own size. Where there is no such piece, noise is.

    Args:
        image: RGB uint8 (H, W, 3).
        sensitive: bool (H, W), union of all sensitive masks, the one to fill among them.
        box: Integer xyxy within the picture.
        rng: Source of the noise.
        plain: bool (H, W), where colours stay smooth with noise in any case, or None for nowhere.

    Returns:
        RGB uint8 (h, w, 3) for the box; no pixel under ``sensitive`` has any influence on it.
    """
    x1, y1, x2, y2 = box
    height, width = image.shape[:2]
    ring = max(16, (x2 - x1) // 2, (y2 - y1) // 2)
    while True:
        wide = x1 - ring, y1 - ring, x2 + ring, y2 + ring
        (rows, columns), _ = paste_window(wide, (height, width))
        outside = ~sensitive[rows, columns]
        whole = rows == slice(0, height) and columns == slice(0, width)
        if whole or outside.mean() > 0.05:
            break
        ring *= 2
    crop = image[rows, columns]
    smooth, known = _shrunk(crop, outside)
    pieces = exemplar(smooth, known, rng)
    left, top = columns.start, rows.start
    out = np.empty((y2 - y1, x2 - x1, 3), np.uint8)
    step = max(BLOCK // (x2 - x1), 1)
    for start in range(0, len(out), step):
        stop = min(start + step, len(out))
        here = np.mgrid[y1 - top + start : y1 - top + stop, x1 - left : x2 - left].astype(np.int32)
        filled = _enlarged(smooth, here, outside.shape)
        texture = rng.normal(0.0, NOISE, filled.shape).astype(np.float32)
        if pieces is not None:
            there, shown = _repeated(pieces.places, here, outside)
            fitting = _enlarged(pieces.colours, here, outside.shape)
            detail = crop[there[0], there[1]] - _enlarged(smooth, there, outside.shape)
            if plain is not None:
                hidden = plain[y1 + start : y1 + stop, x1:x2]
                shown, fitting = shown & ~hidden, np.where(hidden[..., None], filled, fitting)
            filled, texture = fitting, np.where(shown[..., None], detail, texture)
        out[start:stop] = np.clip(np.rint(filled + texture), 0, 255)
    return out


def _repeated(
    places: NDArray[np.int32], here: NDArray[np.int32], outside: Mask
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return which pixels of a crop some of its pixels repeat, and which of those may be shown.

    Args:
        places: What the pixels of the small crop repeat, int32 (h, w, 2).
        here: Rows and columns in the crop, int32 (2, n, m).
        outside: bool (H, W), what may be shown.
    """
    size, small = np.array(outside.shape)[:, None, None], np.array(places.shape[:2])[:, None, None]
    at = np.minimum((2 * here + 1) * small // (2 * size), small - 1)
    away = (np.moveaxis(places[at[0], at[1]], 2, 0) - at) * (size / small)
    there = (here + np.rint(away)).astype(np.int32)
    inside = ((there >= 0) & (there < size)).all(axis=0)
    there = np.clip(there, 0, size - 1).astype(np.int32)
    return there, inside & outside[there[0], there[1]]


def _enlarged(small: Floats, here: NDArray[np.int32], size: tuple[int, ...]) -> Floats:
    """Return what a small crop (h, w, 3) shows at rows and columns (2, n, m) of the crop of this size."""
    scale = np.array(small.shape[:2], np.float32) / np.array(size, np.float32)
    y, x = ((here[n].astype(np.float32) + np.float32(0.5)) * scale[n] - np.float32(0.5) for n in (0, 1))
    return np.asarray(cv2.remap(small, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _shrunk(crop: Image, outside: Mask) -> tuple[Floats, Mask]:
    """Return a small float32 (h, w, 3) that follows the crop ``outside`` and spans the rest, and where it does."""
    height, width = outside.shape
    scale = min(1.0, WORK_SIDE / max(height, width))
    small = max(round(width * scale), 1), max(round(height * scale), 1)
    if not outside.any():
        return np.full((small[1], small[0], 3), GREY, np.float32), np.zeros((small[1], small[0]), np.bool_)
    weight = outside.astype(np.float32)
    # Colours are multiplied by their weight before any averaging, so what is sensitive enters as zero times nothing.
    colours = np.asarray(cv2.resize(crop * weight[..., None], small, interpolation=cv2.INTER_AREA), np.float32)
    weights = np.asarray(cv2.resize(weight, small, interpolation=cv2.INTER_AREA), np.float32)
    colours, weights = colours.reshape(small[1], small[0], 3), weights.reshape(small[1], small[0])
    return _push_pull(colours, weights), weights > KNOWN


def _push_pull(colours: Floats, weights: Floats) -> Floats:
    """Return colours spread into where weights are zero, coarse to fine.

    Args:
        colours: float32 (h, w, 3), already multiplied by the weights.
        weights: float32 (h, w) in [0, 1], not all zero.

    Source:
        Gortler et al., The Lumigraph, SIGGRAPH 1996, section 3.4 (push-pull).
    """
    height, width = weights.shape
    known = colours / np.maximum(weights, 1e-6)[..., None]
    if max(height, width) == 1 or float(weights.min()) > 0.99:
        return np.asarray(known, np.float32)
    half = (width + 1) // 2, (height + 1) // 2
    coarse = _push_pull(
        np.asarray(cv2.resize(colours, half, interpolation=cv2.INTER_AREA), np.float32).reshape(half[1], half[0], 3),
        np.asarray(cv2.resize(weights, half, interpolation=cv2.INTER_AREA), np.float32).reshape(half[1], half[0]),
    )
    spread = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    part = np.minimum(weights, 1.0)[..., None]
    return np.asarray(part * known + (1 - part) * spread.reshape(height, width, 3), np.float32)
