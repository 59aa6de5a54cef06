"""The likeliest outline of an object within the wide mask that is treated: looks vote, the picture's edges decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import integer_box, take
from anonymizer.core.records import Floats, Image, Instance, Mask

__all__ = ["refine", "vote"]

#: Radius of the guided filter for votes, as a share of the longer side, and its regularisation for values in [0, 1].
RADIUS, SMOOTHNESS = 0.045, 1e-3
#: Longer side in pixels at which the filter's coefficients are computed; they are smooth.
WORK_SIDE = 160


def vote(looks: Sequence[Instance], whole: Instance) -> Floats:
    """Return for each pixel of ``whole`` the share of looks, weighted by score, that see the object there.

    Args:
        looks: Views of one object.
        whole: Their union, see ``regions.unite``.

    Returns:
        float32 (h, w) in [0, 1] in the frame of the union's integer box.
    """
    x1, y1, *_ = integer_box(whole.box)
    out = np.zeros(whole.mask.shape, np.float32)
    total = sum(look.score for look in looks)
    for look in looks:
        left, top, right, bottom = integer_box(look.box)
        out[top - y1 : bottom - y1, left - x1 : right - x1] += np.float32(look.score / total) * look.mask
    return out


def refine(image: Image, box: Floats, share: Floats, limit: Mask, radius: float = RADIUS) -> Mask:
    """Return the outline that votes and the picture's edges agree on.

    Args:
        image: RGB uint8 (H, W, 3).
        box: float32 (4,) xyxy inside the picture.
        share: Votes, float32 (h, w) in [0, 1] in the frame of the integer box.
        limit: bool (h, w), what the outline must not leave.
        radius: How far off the votes may lie, as a share of the object's longer side.

    Returns:
        bool (h, w); ``limit`` where nothing would be left.

    Source:
        He, Sun, Tang: Guided Image Filtering (2010); coefficients at a reduced size as in He, Sun (2015).
    """
    height, width = share.shape
    side = max(height, width)
    # Beyond the box lies background, which the filter has to see to tell the object from it.
    pad = max(2, round(2 * radius * side))
    x1, y1, x2, y2 = integer_box(box)
    frame = x1 - pad, y1 - pad, x2 + pad, y2 + pad
    guide = take(image, frame)
    scale = min(1.0, WORK_SIDE / side)
    size = max(round(guide.shape[1] * scale), 1), max(round(guide.shape[0] * scale), 1)
    small = _resized(np.asarray(guide, np.float32) / 255, size)
    slope, offset = _coefficients(small, _resized(np.pad(share, pad), size), max(2, round(radius * side * scale)))
    inner = (slice(pad, pad + height), slice(pad, pad + width))
    whole = guide.shape[1], guide.shape[0]
    out: NDArray[Any] = _resized(offset, whole)[inner]
    for channel in range(3):
        out = out + _resized(slope[..., channel], whole)[inner] * (guide[inner][..., channel] / np.float32(255))
    kept: Mask = (out >= 0.5) & limit
    return kept if kept.any() else limit


def _coefficients(guide: Floats, target: Floats, radius: int) -> tuple[Floats, Floats]:
    """Return slope (h, w, 3) and offset (h, w) of the locally linear model that takes the guide to the target."""

    def mean(values: Floats) -> Floats:
        return np.asarray(cv2.blur(values, (2 * radius + 1, 2 * radius + 1)), np.float32)

    of_guide, of_target = mean(guide), mean(target)
    cross = mean(guide * target[..., None]) - of_guide * of_target[..., None]
    # The covariance of red, green and blue is symmetric: six of its nine values, and its inverse by cofactors, which
    # takes a fourth of the time of a general solver. Grey pictures make it nearly singular, so in double precision.
    first, second = [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]
    products = np.dstack([mean(guide[..., first[n : n + 3]] * guide[..., second[n : n + 3]]) for n in (0, 3)])
    covariance = np.asarray(products - of_guide[..., first] * of_guide[..., second], np.float64)
    rr, rg, rb, gg, gb, bb = (covariance[..., n] + (SMOOTHNESS if n in (0, 3, 5) else 0.0) for n in range(6))
    inverse = (gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb, rr * bb - rb * rb, rg * rb - rr * gb)
    last = rr * gg - rg * rg
    scale = rr * inverse[0] + rg * inverse[1] + rb * inverse[2]
    rows = (inverse[:3], (inverse[1], inverse[3], inverse[4]), (inverse[2], inverse[4], last))
    slope = np.dstack([sum(row[n] * cross[..., n] for n in range(3)) / scale for row in rows]).astype(np.float32)
    offset = of_target - (slope * of_guide).sum(axis=2)
    return mean(slope), mean(offset.astype(np.float32))


def _resized(values: NDArray[Any], size: tuple[int, int]) -> Floats:
    if values.shape[1::-1] == size:
        return values
    shrinks = size[0] < values.shape[1]
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))
