"""Which part of the picture the inpainter sees for an instance, and which pixels it may change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anonymizer.geometry import IntBox, context_box, dilate, integer_box
from anonymizer.types import Instance

__all__ = ["CropSetting", "crop_box", "grow_radius", "treated_region"]

#: Share of an instance's longer side by which its mask grows before it is redrawn, so that the rim where the
#: segmentation is a little too tight holds no original pixels. The paper dilates by 13×13 at a long side of 768.
GROW_SHARE = 0.025
GROW_LIMITS = (2, 12)


@dataclass(frozen=True, slots=True)
class CropSetting:
    """How crops of one class are cut.

    Args:
        height: Height in pixels at which the model paints.
        width: Width in pixels at which the model paints.
        margin: Context on each side as a share of the instance's longer side.
    """

    height: int
    width: int
    margin: float


def grow_radius(box: NDArray[np.float32]) -> int:
    """Return by how many pixels the mask of an instance with this box grows."""
    side = max(float(box[2] - box[0]), float(box[3] - box[1]))
    return int(np.clip(round(side * GROW_SHARE), *GROW_LIMITS))


def treated_region(instance: Instance, size: tuple[int, int]) -> tuple[IntBox, NDArray[np.bool_]]:
    """Return the region that may change for an instance: its grown mask.

    Args:
        instance: The instance.
        size: Picture (height, width); the region is clipped to it.

    Returns:
        An integer box xyxy inside the picture, and the mask bool (h, w) in its frame.
    """
    radius = grow_radius(instance.box)
    x1, y1, x2, y2 = integer_box(instance.box)
    mask = dilate(np.pad(instance.mask, radius), radius)
    left, top = max(x1 - radius, 0), max(y1 - radius, 0)
    right, bottom = min(x2 + radius, size[1]), min(y2 + radius, size[0])
    inside = mask[top - y1 + radius : bottom - y1 + radius, left - x1 + radius : right - x1 + radius]
    return (left, top, right, bottom), inside


def crop_box(box: NDArray[np.float32], setting: CropSetting) -> IntBox:
    """Return the crop around a box (4,) xyxy in the shape the model paints; it may reach beyond the picture."""
    return context_box(box, setting.margin, setting.height / setting.width)
