"""Crops: the part of a picture that the inpainter sees for an instance, and the pixels it may change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import IntBox, clip_box, context_box, dilate, integer_box, paste_window, seen_well
from anonymizer.core.records import Instance

__all__ = [
    "Crop",
    "CropSetting",
    "LongSideCrop",
    "anonymized_mask",
    "anonymized_region",
    "continued",
    "crop_box",
    "grow_radius",
    "paint_region",
    "paint_size",
    "safe_radius",
]

#: Share of an instance's longer side by which its mask grows before it is redrawn, so that the rim where the
#: segmentation is a little too tight holds no original pixels. The paper dilates by 13×13 at a long side of 768.
GROW_SHARE = 0.025
GROW_LIMITS = (2, 12)
#: The same share for persons whose outline was found and seen well, see ``detect.masks``; their limits follow it.
GROW_SEEN = 0.75 * GROW_SHARE
#: What stands for the surroundings where there are none.
GREY = 112.0
#: Sides that SD 1.5 and SDXL paint are multiples of this.
STEP = 8


@dataclass(frozen=True, slots=True)
class CropSetting:
    """How crops of one class are cut.

    Args:
        height: Height in pixels at which the model paints.
        width: Width in pixels at which the model paints.
        margin: Context on each side as a share of the instance's longer side.
        double_from: How many times larger than painted a crop must be in the picture to be painted at twice the size;
            0: never.
    """

    height: int
    width: int
    margin: float
    double_from: float = 0.0


@dataclass(frozen=True, slots=True)
class LongSideCrop:
    """How the paper's official code cuts crops: in the instance's own shape, cut off at the picture's border.

    Args:
        long_side: Longer side in pixels at which the model paints; the shorter one follows, in steps of 8.
        margin: Context on each side as a share of the instance's width and height.
        dilation: Diameter in picture pixels of the ellipse by which the painted mask grows; odd.
        small_area: Masks with fewer pixels than this are not grown.

    Source:
        ``ImageGenerator`` in github.com/KupynOrest/instance_augmentation, 621c1cb.
    """

    long_side: int
    margin: float
    dilation: int
    small_area: int


Crop = CropSetting | LongSideCrop


def grow_radius(box: NDArray[np.float32], share: float = GROW_SHARE) -> int:
    """Return by how many pixels the mask of an instance with this box grows: a share of its longer side."""
    side = max(float(box[2] - box[0]), float(box[3] - box[1]))
    return int(np.clip(round(side * share), GROW_LIMITS[0], round(GROW_LIMITS[1] * share / GROW_SHARE)))


def safe_radius(instance: Instance) -> int:
    """Return by how many pixels the mask of an instance grows: less for persons who were found and seen well."""
    well = not instance.given and seen_well(instance)
    return grow_radius(instance.box, GROW_SEEN if well else GROW_SHARE)


def anonymized_region(instance: Instance, size: tuple[int, int]) -> tuple[IntBox, NDArray[np.bool_]]:
    """Return the region that may change for an instance: its grown mask.

    Args:
        instance: The instance.
        size: Picture (height, width); the region is clipped to it.

    Returns:
        An integer box xyxy inside the picture, and the mask bool (h, w) in its frame.
    """
    radius = safe_radius(instance)
    x1, y1, x2, y2 = integer_box(instance.box)
    mask = dilate(np.pad(instance.mask, radius), radius)
    left, top = max(x1 - radius, 0), max(y1 - radius, 0)
    right, bottom = min(x2 + radius, size[1]), min(y2 + radius, size[0])
    inside = mask[top - y1 + radius : bottom - y1 + radius, left - x1 + radius : right - x1 + radius]
    return (left, top, right, bottom), inside


def anonymized_mask(instances: Iterable[Instance], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return all that may change for instances, bool (H, W), in a picture of ``size`` (height, width)."""
    out = np.zeros(size, dtype=bool)
    for instance in instances:
        (x1, y1, x2, y2), inner = anonymized_region(instance, size)
        out[y1:y2, x1:x2] |= inner
    return out


def continued(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return a crop with what surrounds a mask continued under it, smoothed; no pixel under the mask is read.

    Args:
        image: RGB uint8 (h, w, 3).
        mask: bool (h, w).

    Returns:
        float32 (h, w, 3), equal to the crop outside the mask; grey if the mask covers all of it.
    """
    out = image.astype(np.float32)
    if mask.all():
        return np.full_like(out, GREY)
    _, labels = cv2.distanceTransformWithLabels(mask.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    source = np.zeros((int(labels.max()) + 1, 3), np.float32)
    source[labels[~mask]] = out[~mask]
    out[mask] = source[labels[mask]]
    smooth = cv2.GaussianBlur(out, (0, 0), max(mask.shape) / 24)
    out[mask] = smooth[mask]
    return out


def crop_box(box: NDArray[np.float32], setting: Crop, size: tuple[int, int]) -> IntBox:
    """Return the crop around a box (4,) xyxy in a picture of ``size`` (height, width).

    A ``CropSetting`` gives the shape the model paints, which may reach beyond the picture; a ``LongSideCrop`` stays
    within it.
    """
    if isinstance(setting, CropSetting):
        return context_box(box, setting.margin, setting.height / setting.width)
    x1, y1, x2, y2 = (float(v) for v in box)
    # What is pasted must have been painted, also around a long and low box.
    least = grow_radius(box) + 1
    across, down = (max(setting.margin * side, least) for side in (x2 - x1, y2 - y1))
    wide = np.array([x1 - across, y1 - down, x2 + across, y2 + down], np.float32)
    return integer_box(clip_box(wide, size))


def paint_size(window: IntBox, setting: Crop) -> tuple[int, int]:
    """Return (width, height) in pixels at which the model paints a crop."""
    if isinstance(setting, CropSetting):
        times = 2 if 0 < setting.double_from * setting.height <= window[3] - window[1] else 1
        return times * setting.width, times * setting.height
    width, height = window[2] - window[0], window[3] - window[1]
    scale = setting.long_side / max(width, height)
    return max(int(width * scale) // STEP, 1) * STEP, max(int(height * scale) // STEP, 1) * STEP


def paint_region(
    instance: Instance,
    window: IntBox,
    size: tuple[int, int],
    setting: Crop,
) -> NDArray[np.bool_]:
    """Return which pixels of a crop the model paints: bool (h, w) in the frame of ``window``.

    At least the treated region, so that no pixel that goes into the picture comes from outside of what was painted.

    Args:
        instance: The instance.
        window: Its crop, integer xyxy.
        size: Picture (height, width).
        setting: How crops are cut.
    """
    frame = np.zeros((window[3] - window[1], window[2] - window[0]), dtype=np.bool_)
    box, mask = anonymized_region(instance, size)
    inside, local = paste_window(
        (box[0] - window[0], box[1] - window[1], box[2] - window[0], box[3] - window[1]), frame.shape
    )
    frame[inside] = mask[local]
    if isinstance(setting, LongSideCrop) and int(instance.mask.sum()) >= setting.small_area:
        own = np.zeros(frame.shape, np.uint8)
        x1, y1, x2, y2 = integer_box(instance.box)
        shifted = x1 - window[0], y1 - window[1], x2 - window[0], y2 - window[1]
        inside, local = paste_window(shifted, frame.shape)
        own[inside] = instance.mask[local]
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (setting.dilation, setting.dilation))
        frame |= cv2.dilate(own, kernel) > 0
    return frame
