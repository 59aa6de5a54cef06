"""Safe redaction: a smooth fill with the texture of its surroundings, into which nothing sensitive enters."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.errors import InputError
from anonymizer.geometry import IntBox, paste_window
from anonymizer.types import check_image

__all__ = ["redact", "safe_fill"]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

#: Longest side at which the fill is interpolated: it is smooth, so more would only cost time.
WORK_SIDE = 96
#: Standard deviation of the noise in levels of 0 to 255. Constant: an estimate could carry something over.
NOISE = 6.0
#: Depth to which texture is mirrored into the fill, as a share of the ring's width.
TEXTURED = 0.5
#: Rows filled at once; bounds memory for large masks.
BLOCK = 512
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
    """Return a fill for a box: colours interpolated from what is not sensitive around it, texture mirrored from there.

    Texture is what the interpolation leaves out of the surroundings. Where its mirrored place is sensitive or lies
    outside the ring that is looked at, there is noise instead.

    Args:
        image: RGB uint8 (H, W, 3).
        sensitive: bool (H, W), union of all sensitive masks, the one to fill among them.
        box: Integer xyxy within the picture.
        rng: Source of the noise.
        plain: bool (H, W), where there is noise in any case, or None for nowhere.

    Returns:
        RGB uint8 (h, w, 3) for the box; no pixel under ``sensitive`` has any influence on it.
    """
    x1, y1, x2, y2 = box
    height, width = image.shape[:2]
    ring = max(8, (x2 - x1) // 4, (y2 - y1) // 4)
    while True:
        wide = x1 - ring, y1 - ring, x2 + ring, y2 + ring
        (rows, columns), _ = paste_window(wide, (height, width))
        outside = ~sensitive[rows, columns]
        whole = rows == slice(0, height) and columns == slice(0, width)
        if whole or outside.mean() > 0.05:
            break
        ring *= 2
    crop = image[rows, columns]
    smooth = _interpolate(crop, outside)
    mirror = _Mirror(outside, ring * TEXTURED)
    left, top = columns.start, rows.start
    out = np.empty((y2 - y1, x2 - x1, 3), np.uint8)
    for start in range(0, len(out), BLOCK):
        stop = min(start + BLOCK, len(out))
        inner = slice(y1 - top + start, y1 - top + stop), slice(x1 - left, x2 - left)
        places, share = mirror.places(inner)
        if plain is not None:
            share = np.where(plain[y1 + start : y1 + stop, x1:x2], np.float32(0), share)
        noise = rng.normal(0.0, NOISE, (*share.shape, 3)).astype(np.float32)
        texture = crop[places].astype(np.float32) - smooth[places]
        filled = smooth[inner] + noise + share[..., None] * (texture - noise)
        out[start:stop] = np.clip(np.rint(filled), 0, 255)
    return out


class _Mirror:
    """Says which place outside each hidden pixel mirrors at the nearest border, and how much it does.

    Args:
        outside: bool (h, w), what may be shown.
        reach: Distance in pixels from the border at which nothing is mirrored any more: deep inside, neighbours mirror
            places far from each other, which looks torn.
    """

    def __init__(self, outside: Mask, reach: float) -> None:
        self._outside = outside
        self._reach = reach
        # Only pixels beside hidden ones are nearest to any; few of them make a small table.
        border = outside & (cv2.dilate((~outside).view(np.uint8), np.ones((3, 3), np.uint8)) > 0)
        self._known = bool(border.any())
        if self._known:
            self._far, self._labels = cv2.distanceTransformWithLabels(
                (~border).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
            )
            self._nearest = np.zeros((int(self._labels.max()) + 1, 2), np.int32)
            self._nearest[self._labels[border]] = np.argwhere(border)

    def places(self, window: tuple[slice, slice]) -> tuple[tuple[NDArray[np.int32], NDArray[np.int32]], Floats]:
        """Return rows and columns, (n, m) each, that a window mirrors, and shares, float32 (n, m) in [0, 1].

        The share is 0 where the place may not be shown or is none.
        """
        rows, columns = (axis.astype(np.int32) for axis in np.mgrid[window])
        if not self._known:
            return (np.zeros_like(rows), np.zeros_like(rows)), np.zeros(rows.shape, np.float32)
        height, width = self._outside.shape
        near = self._nearest[self._labels[window]]
        at_rows, at_columns = 2 * near[..., 0] - rows, 2 * near[..., 1] - columns
        within = (at_rows >= 0) & (at_rows < height) & (at_columns >= 0) & (at_columns < width)
        places = np.where(within, at_rows, 0), np.where(within, at_columns, 0)
        share = np.clip(1 - self._far[window] / max(self._reach, 1e-6), 0, 1)
        return places, np.where(within & self._outside[places], share, 0).astype(np.float32)


def _interpolate(crop: Image, outside: Mask) -> Floats:
    """Return a smooth float32 (h, w, 3) that follows the crop where ``outside`` and spans the rest."""
    height, width = outside.shape
    if not outside.any():
        return np.full((height, width, 3), GREY, np.float32)
    scale = min(1.0, WORK_SIDE / max(height, width))
    small = max(round(width * scale), 1), max(round(height * scale), 1)
    weight = outside.astype(np.float32)
    # Colours are multiplied by their weight before any averaging, so what is sensitive enters as zero times nothing.
    colours = np.asarray(cv2.resize(crop * weight[..., None], small, interpolation=cv2.INTER_AREA), np.float32)
    weights = np.asarray(cv2.resize(weight, small, interpolation=cv2.INTER_AREA), np.float32)
    filled = _push_pull(colours, weights)
    return np.asarray(cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


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
