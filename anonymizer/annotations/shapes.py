"""Shapes that annotation tools draw, as COCO-like geometry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anonymizer.annotations.rle import encode_rle

__all__ = ["ellipse", "finite", "mask_record", "polygon", "rectangle"]

#: Corners of the polygon that stands for an ellipse: it leaves out less than a thousandth of the area.
_CORNERS = 72


def finite(value: object) -> float:
    """Return a number or a text that is one as float, NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def polygon(points: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Return ``bbox`` and ``segmentation`` of a closed polygon of (x, y) in pixels."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    return {"bbox": box, "segmentation": [[value for point in points for value in point]]}


def rectangle(x1: float, y1: float, x2: float, y2: float, degrees: float = 0.0) -> dict[str, Any]:
    """Return the geometry of a box given by two opposite corners, turned clockwise about its centre."""
    left, top, right, bottom = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
    if not degrees % 360:
        return {"bbox": [left, top, right - left, bottom - top]}
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return polygon(_turned(corners, ((left + right) / 2, (top + bottom) / 2), degrees))


def ellipse(cx: float, cy: float, rx: float, ry: float, degrees: float = 0.0) -> dict[str, Any]:
    """Return the geometry of an ellipse by centre and half axes, turned clockwise about its centre."""
    angles = [2 * math.pi * step / _CORNERS for step in range(_CORNERS)]
    points = [(cx + rx * math.cos(angle), cy + ry * math.sin(angle)) for angle in angles]
    return polygon(_turned(points, (cx, cy), degrees))


def mask_record(mask: NDArray[np.bool_], left: int, top: int, size: tuple[int, int]) -> dict[str, Any]:
    """Return the geometry of a mask whose upper left pixel lies at (left, top) in a picture of (height, width).

    Args:
        mask: bool (h, w); what lies outside of the picture is cut off.
        left: Its first column in the picture.
        top: Its first row in the picture.
        size: Picture (height, width).
    """
    height, width = mask.shape
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + width, size[1]), min(top + height, size[0])
    if x2 <= x1 or y2 <= y1:
        return {"bbox": [left, top, width, height]}
    inside = mask[y1 - top : y2 - top, x1 - left : x2 - left]
    return {
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "segmentation": encode_rle(inside, (x1, y1, x2, y2), size),
    }


def _turned(
    points: Sequence[tuple[float, float]], centre: tuple[float, float], degrees: float
) -> list[tuple[float, float]]:
    """Return points turned about a centre; clockwise as one looks at the picture, whose y points down."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    cx, cy = centre
    return [(cx + (x - cx) * cos - (y - cy) * sin, cy + (x - cx) * sin + (y - cy) * cos) for x, y in points]
