"""Measures of detections against annotations: intervals, size bins, matching, coverage, duplicates, darkening."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

#: Standard normal quantile of a two-sided interval of 95 %.
QUANTILE = 1.959964
#: Heights of persons in pixels, from and below; 0: no limit.
SIZES = ((20, 40), (40, 80), (80, 160), (160, 0))
#: Mean of sRGB values that counts as reached when a picture is darkened, in levels of 255.
TOLERANCE = 0.1
#: Steps of the search for a gain; each halves the interval, which starts as [0, 1].
STEPS = 24

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


def wilson(hits: int, total: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion; [0, 1] where nothing was counted.

    Source:
        Wilson: Probable Inference, the Law of Succession, and Statistical Inference (1927).
    """
    if not 0 <= hits <= total:
        raise ValueError(f"expected 0 <= hits <= total, got {hits} of {total}")
    if not total:
        return 0.0, 1.0
    share, square = hits / total, QUANTILE**2
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = QUANTILE / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def in_size(side: float, low: float, high: float) -> bool:
    """Return whether a side in pixels lies in a bin: ``low`` counts, ``high`` does not; 0 for ``high``: no limit."""
    return side >= low and (not high or side < high)


def matched(iou: Floats, least: float) -> NDArray[np.intp]:
    """Return for each annotation the find that shows it, -1 for none; no find shows two.

    As many annotations as possible are matched; among these ways the one of greatest IoU is taken.

    Args:
        iou: float32 (N, M), IoU of N finds with M annotations.
        least: IoU from which a find shows an annotation.

    Returns:
        int (M,).
    """
    out = np.full(iou.shape[1], -1, np.intp)
    # A match weighs more than all IoU together can.
    worth = np.where(iou >= least, iou + min(iou.shape, default=0) + 1, 0.0)
    for find, truth in zip(*linear_sum_assignment(worth, maximize=True), strict=True):
        if iou[find, truth] >= least:
            out[truth] = find
    return out


def inside(mask: Mask, region: Mask) -> float:
    """Return the proportion of a mask's pixels that lie in a region, both bool (H, W); 0 for an empty mask."""
    total = int(mask.sum())
    return int((mask & region).sum()) / total if total else 0.0


def box_inside(box: Floats, region: Mask) -> float:
    """Return the proportion of a box (4,) xyxy that lies in a region bool (H, W), by pixels whose centres it holds.

    A box so small that it holds no centre counts by the pixel in its middle.
    """
    height, width = region.shape
    x1, y1, x2, y2 = (float(v) for v in box)
    columns = np.flatnonzero((np.arange(width) + 0.5 >= x1) & (np.arange(width) + 0.5 < x2))
    rows = np.flatnonzero((np.arange(height) + 0.5 >= y1) & (np.arange(height) + 0.5 < y2))
    if not columns.size:
        columns = np.array([min(max(int((x1 + x2) / 2), 0), width - 1)])
    if not rows.size:
        rows = np.array([min(max(int((y1 + y2) / 2), 0), height - 1)])
    return float(region[np.ix_(rows, columns)].mean())


def duplicates(finds: Sequence[Mask], persons: Sequence[Mask]) -> int:
    """Return how many finds show an annotated person again.

    A find belongs to the person whose mask has the greatest IoU with its own, of those where the two share at least
    half of the smaller one.

    Args:
        finds: Masks bool (H, W) of finds.
        persons: Masks bool (H, W) of annotated persons.
    """
    shown = np.zeros(len(persons), int)
    for find in finds:
        area, best, best_iou = int(find.sum()), -1, 0.0
        for n, person in enumerate(persons):
            other = int(person.sum())
            shared = int((find & person).sum())
            iou = shared / max(area + other - shared, 1)
            if 2 * shared >= min(area, other) > 0 and iou > best_iou:
                best, best_iou = n, iou
        if best >= 0:
            shown[best] += 1
    return int(np.clip(shown - 1, 0, None).sum())


def joint_box(finds: Sequence[Mask], boxes: Floats, person: Mask) -> Floats | None:
    """Return the box (4,) xyxy around the finds that share half of the smaller mask with an annotation, or None.

    Args:
        finds: Masks bool (H, W) of finds.
        boxes: float32 (N, 4) xyxy, their boxes.
        person: Annotated mask bool (H, W); it may hold several people who touch.
    """
    total = int(person.sum())
    theirs = [2 * int((find & person).sum()) >= min(int(find.sum()), total) > 0 for find in finds]
    if not any(theirs):
        return None
    chosen = boxes[np.array(theirs)]
    return np.concatenate([chosen[:, :2].min(axis=0), chosen[:, 2:].max(axis=0)])


def moved_iou(mask: Mask) -> float:
    """Return the IoU of a mask bool (H, W) with itself one pixel farther right: what a pixel's doubt is worth."""
    other = np.zeros_like(mask)
    other[:, 1:] = mask[:, :-1]
    return float((mask & other).sum() / max((mask | other).sum(), 1))


def inner_iou(found: Mask, mask: Mask) -> float:
    """Return the IoU of two masks bool (H, W) without the pixels that touch the border of the second, 8 neighbours."""
    near = np.ones((3, 3), np.uint8)
    whole = mask.astype(np.uint8)
    sure = (cv2.dilate(whole, near) == 0) | (cv2.erode(whole, near) > 0)
    return float((found & mask & sure).sum() / max(((found | mask) & sure).sum(), 1))


def darkened(image: NDArray[np.uint8], mean: float) -> NDArray[np.uint8]:
    """Return a picture that one gain in linear light brings down to a mean of sRGB values; darker ones as they are.

    Args:
        image: RGB uint8 (H, W, 3), sRGB.
        mean: Mean wanted, in levels of 255.
    """
    if float(image.mean()) <= mean:
        return image
    counts = np.bincount(image.ravel(), minlength=256)
    low, high, curve = 0.0, 1.0, _curve(1.0)
    for _ in range(STEPS):
        gain = (low + high) / 2
        curve = _curve(gain)
        reached = float((counts * curve).sum() / counts.sum())
        if abs(reached - mean) <= TOLERANCE:
            break
        low, high = (gain, high) if reached < mean else (low, gain)
    return curve[image]


def _curve(gain: float) -> NDArray[np.uint8]:
    """Return what becomes of each of 256 sRGB levels when its linear light is multiplied by a gain."""
    level = np.arange(256) / 255
    light = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4) * gain
    out = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(out * 255), np.uint8)
