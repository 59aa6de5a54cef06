"""Scaling of COCO-like records to a smaller picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from anonymizer.annotations.fields import number
from anonymizer.annotations.rle import decode_rle, encode_rle, is_rle

__all__ = ["scaled_record"]

Size = tuple[int, int]


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
