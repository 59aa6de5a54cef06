"""Masks as outlines, for formats that know polygons only."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import integer_box
from anonymizer.core.records import Instance

__all__ = ["outline"]


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
