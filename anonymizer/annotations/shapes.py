"""Shapes as COCO-like geometry: as annotation tools draw them, as outlines of masks, scaled to a smaller picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.annotations.fields import number
from anonymizer.annotations.rle import decode_rle, encode_rle, is_rle
from anonymizer.core.geometry import integer_box
from anonymizer.core.records import Instance

__all__ = ["ellipse", "finite", "mask_record", "outline", "polygon", "rectangle", "scaled_record"]

#: Corners of the polygon that stands for an ellipse: it leaves out less than a thousandth of the area.
_CORNERS = 72
Size = tuple[int, int]


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


def outline(instance: Instance) -> NDArray[np.float64]:
    """Return one closed polygon around an instance's outline, float64 (N, 2) x, y in pixels, N ≥ 4.

    It runs through the centres of the mask's outermost pixels. Parts that lie apart are joined by lines without area,
    walked there and back; holes are filled.
    """
    x1, y1, x2, y2 = integer_box(instance.box)
    found, _ = cv2.findContours(instance.outline.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    parts = [contour[:, 0, :].astype(np.float64) + 0.5 for contour in found if len(contour) >= 3]
    if not parts:  # Nothing but points and lines: the box it is.
        return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], dtype=np.float64)
    if len(parts) == 1:
        return parts[0] + np.array([x1, y1])
    closed = [np.concatenate([part, part[:1]]) for part in parts]
    back = [part[:1] for part in parts[-2::-1]]
    return np.concatenate([*closed, *back]) + np.array([x1, y1])


def scaled_record(record: Mapping[str, Any], before: Size, after: Size) -> dict[str, Any]:
    """Return a record with its geometry in the pixels of the scaled picture.

    Geometry that cannot be read is left out: in the larger picture's pixels it would point elsewhere.

    Args:
        record: ``bbox``, ``segmentation``, ``area``, ``keypoints`` and the parts of COCO-WholeBody are scaled.
        before: (height, width) that it was made for.
        after: That of the scaled picture.
    """
    across, down = after[1] / before[1], after[0] / before[0]
    out: dict[str, Any] = {}
    for key, value in record.items():
        scaled: Any = value
        if key == "bbox" or key.endswith("_box"):
            scaled = _turns(value, (across, down))
        elif key == "keypoints" or key.endswith("_kpts"):
            scaled = _turns(value, (across, down, 1))
        elif key == "area":
            scaled = round(value * across * down, 2) if number(value) else None
        elif key in ("segmentation", "treated"):
            scaled = _segmentation(value, before, after)
        if scaled is not None or value is None:
            out[key] = scaled
    return out


def _turns(values: object, factors: tuple[float, ...]) -> list[float] | None:
    """Return numbers multiplied by factors in turns."""
    if not isinstance(values, list) or not all(map(number, values)):
        return None
    return [round(value * factors[n % len(factors)], 2) for n, value in enumerate(values)]


def _segmentation(value: object, before: Size, after: Size) -> object:
    factors = after[1] / before[1], after[0] / before[0]
    if isinstance(value, list):
        polygons = [_turns(polygon, factors) for polygon in value]
        return None if None in polygons else polygons
    if not is_rle(value) or value["size"] != list(before):  # type: ignore[index]
        return None
    part = decode_rle(value, before, "segmentation")  # type: ignore[arg-type]
    mask = np.zeros(after, np.bool_)
    if part is not None:
        (x1, y1, *_), inner = part
        rows, columns = np.nonzero(inner)
        y, x = (rows + y1 + 0.5) * factors[1], (columns + x1 + 0.5) * factors[0]
        mask[np.minimum(y.astype(int), after[0] - 1), np.minimum(x.astype(int), after[1] - 1)] = True
    return encode_rle(mask, (0, 0, after[1], after[0]), after)
