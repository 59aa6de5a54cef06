"""Scaling of what was anonymized and verified, for ``--max-side``: picture, instances and joints, all by one factor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np

from anonymizer.core.geometry import clip_box, integer_box
from anonymizer.core.records import Floats, Image, Instance, Mask, Result, Treatment
from anonymizer.images.decode import Decoded
from anonymizer.images.high_bit_depth import reduce_deep

__all__ = ["scaled_decoded", "scaled_instance", "scaled_joints", "scaled_result", "size_within"]

Size = tuple[int, int]


def size_within(size: Size, longest: int | None) -> Size:
    """Return the (height, width) of a picture whose longer side is to have at most so many pixels."""
    if longest is None or max(size) <= longest:
        return size
    factor = longest / max(size)
    return max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)


def scaled_result(result: Result, original: Decoded) -> Result:
    """Return a verified result at a smaller size.

    Each pixel is the mean of those that it stands for; it counts as treated if any of these was, and belongs to an
    instance if any of these did. Renderings and depth stay as they are: maps of them are made before.

    Args:
        result: The result; its instances as they are released.
        original: The original, scaled; pixels that were not treated are its own.
    """
    before, size = (result.image.shape[0], result.image.shape[1]), original.size
    treated = _any(result.treated, size)

    across, down = size[1] / before[1], size[0] / before[0]

    def treatment(of: Treatment) -> Treatment:
        if of.found is None:
            return of
        x1, y1, x2, y2 = of.found
        return replace(of, found=(x1 * across, y1 * down, x2 * across, y2 * down))

    def every(instances: tuple[Instance, ...]) -> tuple[Instance, ...]:
        return tuple(scaled_instance(i, before, size) for i in instances)

    return replace(
        result,
        image=np.where(treated[..., None], _mean(result.image, size), original.pixels),
        treated=treated,
        instances=every(result.instances),
        treatments=tuple(treatment(t) for t in result.treatments),
        excluded=every(result.excluded),
        consented=every(result.consented),
    )


def scaled_decoded(decoded: Decoded, size: Size) -> Decoded:
    """Return an original at a smaller size, without what holds for the larger one alone: stored samples, panorama."""
    panorama = [key for key in decoded.exif if isinstance(key, str)]
    notes = [f"scaled from {decoded.size[1]}x{decoded.size[0]} to {size[1]}x{size[0]}"]
    notes += ["properties of a panorama dropped, as they do not hold for the scaled picture"] if panorama else []
    deep = None
    if decoded.deep is not None:
        deep = np.asarray(cv2.resize(decoded.deep, size[::-1], interpolation=cv2.INTER_AREA), np.uint16)
    return replace(
        decoded,
        pixels=_mean(decoded.pixels, size) if deep is None else reduce_deep(deep),
        deep=deep,
        exif={key: value for key, value in decoded.exif.items() if not isinstance(key, str)},
        source=b"",
        notes=(*decoded.notes, *notes),
    )


def scaled_instance(instance: Instance, before: Size, after: Size) -> Instance:
    """Return an instance in the pixels of its scaled picture, without what only a redraw needs."""
    across, down = after[1] / before[1], after[0] / before[0]
    factors = np.array([across, down, across, down], np.float32)
    box = clip_box(instance.box * factors, after)
    # Rounding may leave no room for the rim of a mask at the far end.
    x1, y1, *_ = integer_box(instance.box)
    rows, columns = np.nonzero(instance.mask)
    y, x = _placed(rows + y1, down, after[0]), _placed(columns + x1, across, after[1])
    edges = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], np.float32)
    box = np.concatenate([np.minimum(box[:2], edges[:2]), np.maximum(box[2:], edges[2:])])
    frame = integer_box(box)
    shape = frame[3] - frame[1], frame[2] - frame[0]
    mask = np.zeros(shape, np.bool_)
    mask[y - frame[1], x - frame[0]] = True
    core = None
    if instance.core is not None:
        rows, columns = np.nonzero(instance.core)
        core = np.zeros(shape, np.bool_)
        core[_placed(rows + y1, down, after[0]) - frame[1], _placed(columns + x1, across, after[1]) - frame[0]] = True
    return replace(instance, box=box, mask=mask, core=core, views=None, landmarks=None, body=None, face=None)


def scaled_joints(joints: Mapping[int, Floats], before: Size, after: Size) -> dict[int, Floats]:
    """Return joints float32 (17, 3) by id in the pixels of the scaled picture."""
    factors = np.array([after[1] / before[1], after[0] / before[0], 1.0], np.float32)
    return {number: (values * factors).astype(np.float32) for number, values in joints.items()}


def _placed(positions: np.ndarray, factor: float, end: int) -> np.ndarray:
    """Return which pixel of the scaled picture each pixel goes into."""
    return np.minimum(((positions + 0.5) * factor).astype(int), end - 1)


def _mean(pixels: Image, size: Size) -> Image:
    return np.asarray(cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def _any(mask: Mask, size: Size) -> Mask:
    """Return where any pixel of a mask goes to, widened to all pixels that a mean reaches into."""
    share = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(share > 0, np.bool_)
