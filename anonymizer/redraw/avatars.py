"""Avatars as starts of redraws: where they show, and what steers the model there.

An avatar shows only inside of the person's anonymized region, so that what stands in front stays in front; what it
leaves free is the fill. Of the original's depth and edges nothing is used in there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.blend import blend
from anonymizer.geometry import IntBox, dilate, integer_box, paste_window, take
from anonymizer.redraw.crops import treated_region
from anonymizer.redraw.diffusion import PaintJob
from anonymizer.types import Conditions, Instance, Rendering

__all__ = ["Artist", "Avatar", "begin_avatar", "cover", "steered"]

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

#: Least share of a person's outline that its avatar covers; below, the body was posed badly.
LEAST_COVER = 0.5


class Artist(Protocol):
    """Draws avatars; see ``avatar.AvatarArtist``."""

    def draw(self, image: Image, person: Instance, rng: np.random.Generator) -> Rendering | None:
        """Return somebody else in a person's place in the filled picture, or None where none can be posed."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Avatar:
    """An avatar in a picture.

    Args:
        rendering: The avatar.
        shown: float32 (h, w), see ``cover``; None: all of the region is painted.
        filled: RGB uint8 (H, W, 3), the filled picture.
    """

    rendering: Rendering
    shown: Floats | None
    filled: Image


def cover(person: Instance, rendering: Rendering, size: tuple[int, int]) -> Floats | None:
    """Return how much of each pixel of the person's treated region its avatar covers.

    Args:
        person: Whose place it takes.
        rendering: The avatar.
        size: Picture (height, width).

    Returns:
        float32 (h, w) in [0, 1] in the frame of ``treated_region``'s box, 0 outside of its mask; None where too little
        of the person's outline is covered.
    """
    box, mask = treated_region(person, size)
    out = np.where(mask, _moved(rendering.alpha, rendering.box, box, np.zeros(mask.shape, np.float32)), np.float32(0))
    outline = _moved(person.outline, integer_box(person.box), box, np.zeros(mask.shape, np.bool_))
    if float(out[outline].sum()) < LEAST_COVER * max(int(outline.sum()), 1):
        return None
    return out.astype(np.float32)


def steered(conditions: Conditions, person: Instance, rendering: Rendering, window: IntBox) -> tuple[Floats, Floats]:
    """Return depth and edges of a crop, float32 (h, w) each, with the avatar's inside the person's treated region.

    Args:
        conditions: Of the picture.
        person: Whose place it takes.
        rendering: The avatar.
        window: Integer xyxy of the crop; it may reach beyond the picture.
    """
    depth, edges = take(conditions.depth, window), take(conditions.edges, window)
    box, mask = treated_region(person, (conditions.depth.shape[0], conditions.depth.shape[1]))
    region = _moved(mask, box, window, np.zeros(depth.shape, np.bool_))
    alpha = _moved(rendering.alpha, rendering.box, window, np.zeros(depth.shape, np.float32))
    drawn = _moved(rendering.edges, rendering.box, window, np.zeros(depth.shape, np.float32))
    # The whole body lies at one depth of the scene, as it does in the ground-plane depth.
    at = float(np.median(depth[region])) if region.any() else 0.0
    behind = _continued(depth, region)
    depth = np.where(region, behind + (at - behind) * alpha, depth)
    return depth.astype(np.float32), np.where(region, drawn, edges).astype(np.float32)


def begin_avatar(
    view: Callable[[tuple[int, int]], PaintJob],
    image: Image,
    rendering: Rendering,
    window: IntBox,
    size: tuple[int, int],
    wider: int,
    strength: float,
) -> PaintJob:
    """Return a job of ``size`` (width, height) that starts from an avatar on the filled picture.

    Args:
        view: Makes the job without a start.
        image: RGB uint8 (H, W, 3), filled.
        rendering: The avatar.
        window: Integer xyxy of the crop.
        size: At which the start is made.
        wider: By how many of the job's pixels the mask is grown.
        strength: Share of the noise schedule.
    """
    crop = take(image, window)
    alpha = _moved(rendering.alpha, rendering.box, window, np.zeros(crop.shape[:2], np.float32))
    pixels = _moved(rendering.rgb, rendering.box, window, np.zeros(crop.shape, np.uint8))
    whole = blend(crop, pixels, alpha)
    job = view(size)
    method = cv2.INTER_AREA if whole.shape[0] > size[1] else cv2.INTER_CUBIC
    mask = dilate(job.mask, wider)
    start = np.where(mask[..., None], cv2.resize(whole, size, interpolation=method), job.image)
    return replace(job, mask=mask, start=start.astype(np.uint8), strength=strength)


def _moved(array: np.ndarray, box: IntBox, frame: IntBox, out: np.ndarray) -> np.ndarray:
    """Return ``out``, which has the frame of one box, with an array that has the frame of another laid into it."""
    shifted = box[0] - frame[0], box[1] - frame[1], box[2] - frame[0], box[3] - frame[1]
    inside, local = paste_window(shifted, (out.shape[0], out.shape[1]))
    out[inside] = array[local]
    return out


def _continued(values: Floats, region: NDArray[np.bool_]) -> Floats:
    """Return values (h, w) with the nearest ones from outside of a region inside it."""
    if not region.any() or region.all():
        return values
    _, labels = cv2.distanceTransformWithLabels(region.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros(int(labels.max()) + 1, np.float32)
    table[labels[~region]] = values[~region]
    return np.asarray(table[labels], np.float32)
