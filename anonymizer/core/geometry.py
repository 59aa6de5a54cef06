"""Boxes, masks, crops and blending in pure NumPy. Boxes are xyxy in absolute pixels, x2 and y2 exclusive."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from anonymizer.core.records import Instance

__all__ = [
    "blend",
    "box_iou",
    "clip_box",
    "context_box",
    "dilate",
    "distance_inside",
    "eyes_apart",
    "feather",
    "full_mask",
    "integer_box",
    "mask_box",
    "mask_iou",
    "outline_box",
    "outlined",
    "paste_window",
    "seen_well",
    "take",
]

#: Least presence of a person, length of the outline's longer side in pixels, and IoU of the outline with BlazePose's
#: mask from which the outline is relied on; the IoU is taken at so many rows and columns.
PRESENT, LONG, ALIKE, SAMPLES = 0.8, 80, 0.8, 64
IntBox = tuple[int, int, int, int]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


def integer_box(box: Floats) -> IntBox:
    """Return the smallest box of whole pixels that holds a float box (4,) xyxy.

    >>> integer_box(np.array([1.5, 2.0, 7.2, 9.0]))
    (1, 2, 8, 9)
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    return int(np.floor(x1)), int(np.floor(y1)), int(np.ceil(x2)), int(np.ceil(y2))


def clip_box(box: Floats, size: tuple[int, int]) -> Floats:
    """Clip a box (4,) xyxy to a picture of ``size`` (height, width); the result may be empty."""
    height, width = size
    low, high = np.zeros(4), np.array([width, height, width, height])
    return np.clip(np.asarray(box, dtype=np.float32), low, high).astype(np.float32)


def box_iou(a: Floats, b: Floats) -> Floats:
    """Return the IoU of every box of ``a`` (N, 4) with every box of ``b`` (M, 4): float32 (N, M) in [0, 1].

    >>> box_iou(np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 2], [0, 0, 2, 1], [5, 5, 6, 6]])).tolist()
    [[1.0, 0.5, 0.0]]
    """
    a, b = np.asarray(a, np.float32).reshape(-1, 4), np.asarray(b, np.float32).reshape(-1, 4)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inner = np.prod(np.clip(high - low, 0, None), axis=2)
    area_a = np.prod(np.clip(a[:, 2:] - a[:, :2], 0, None), axis=1)
    area_b = np.prod(np.clip(b[:, 2:] - b[:, :2], 0, None), axis=1)
    union = area_a[:, None] + area_b[None] - inner
    return np.divide(inner, union, out=np.zeros_like(inner), where=union > 0).astype(np.float32)


def mask_box(mask: Mask) -> IntBox | None:
    """Return the tight integer box around a full-frame mask (H, W), or None if it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def paste_window(box: IntBox, size: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return index slices (in the picture, in the box's frame) of the part of a box inside a picture.

    Args:
        box: Integer xyxy; may reach beyond the picture.
        size: Picture (height, width).
    """
    height, width = size
    x1, y1, x2, y2 = box
    left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    right, bottom = max(right, left), max(bottom, top)
    return (
        (slice(top, bottom), slice(left, right)),
        (slice(top - y1, bottom - y1), slice(left - x1, right - x1)),
    )


def full_mask(instance: Instance, size: tuple[int, int]) -> Mask:
    """Return the instance's mask in the frame of a picture of ``size``: bool (H, W)."""
    out = np.zeros(size, dtype=bool)
    picture, local = paste_window(integer_box(instance.box), size)
    out[picture] = instance.mask[local]
    return out


def outline_box(instance: Instance) -> Floats:
    """Return the box (4,) xyxy around an instance's outline; the instance's own where the outline is its mask."""
    tight = None if instance.core is None else mask_box(instance.core)
    if tight is None:
        return instance.box
    x1, y1, *_ = integer_box(instance.box)
    return np.array(tight, np.float32) + np.array([x1, y1, x1, y1], np.float32)


def seen_well(instance: Instance) -> bool:
    """Return whether an instance is a person whose outline can be relied on: BlazePose is sure and sees the same."""
    body = instance.body
    if instance.label != "person" or body is None or instance.core is None or body.presence < PRESENT:
        return False
    x1, y1, x2, y2 = outline_box(instance)
    if not instance.core.any() or max(x2 - x1, y2 - y1) < LONG:
        return False
    left, top, *_ = integer_box(instance.box)
    rows, columns = (np.unique(np.linspace(0, n - 1, SAMPLES).astype(int)) for n in instance.core.shape)
    height, width = body.mask.shape
    across, down = body.window[2] - body.window[0], body.window[3] - body.window[1]
    y = ((rows + top - body.window[1] + 0.5) * height / down).astype(int)
    x = ((columns + left - body.window[0] + 0.5) * width / across).astype(int)
    within = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))[None]
    likely = body.mask[np.ix_(np.clip(y, 0, height - 1), np.clip(x, 0, width - 1))]
    theirs, ours = within & (likely >= 0.5), instance.core[np.ix_(rows, columns)]
    return float((theirs & ours).sum()) >= ALIKE * float((theirs | ours).sum())


def eyes_apart(face: Instance) -> float | None:
    """Return the distance of a face's eyes in heights of its box, None without landmarks.

    In profile it is at most 0.08, and the line through both points runs anywhere; of faces turned by up to 45 degrees
    it is 0.18 to 0.3 (CenterFace).
    """
    if face.landmarks is None:
        return None
    return float(np.hypot(*(face.landmarks[1] - face.landmarks[0]))) / float(face.box[3] - face.box[1])


def outlined(instance: Instance) -> Instance:
    """Return an instance as annotations describe it: its outline for a mask, in the box around that."""
    if instance.core is None:
        return instance
    x1, y1, *_ = integer_box(instance.box)
    box = outline_box(instance)
    left, top, right, bottom = integer_box(box)
    return replace(instance, box=box, mask=instance.outline[top - y1 : bottom - y1, left - x1 : right - x1], core=None)


def mask_iou(a: Instance, b: Instance) -> float:
    """Return the IoU of two instances' masks, computed in the frame of their joint box."""
    box_a, box_b = integer_box(a.box), integer_box(b.box)
    left, top = min(box_a[0], box_b[0]), min(box_a[1], box_b[1])
    size = max(box_a[3], box_b[3]) - top, max(box_a[2], box_b[2]) - left
    frames = []
    for box, mask in ((box_a, a.mask), (box_b, b.mask)):
        frame = np.zeros(size, dtype=bool)
        frame[box[1] - top : box[3] - top, box[0] - left : box[2] - left] = mask
        frames.append(frame)
    union = int((frames[0] | frames[1]).sum())
    return float((frames[0] & frames[1]).sum()) / union if union else 0.0


def context_box(box: Floats, margin: float, aspect: float) -> IntBox:
    """Return a crop around a box with context, of a given shape; it may reach beyond the picture.

    Args:
        box: float (4,) xyxy.
        margin: Context added on each side, as a share of the box's longer side.
        aspect: Height divided by width of the crop wanted; the shorter side grows to meet it.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    pad = margin * max(x2 - x1, y2 - y1)
    width, height = x2 - x1 + 2 * pad, y2 - y1 + 2 * pad
    if height / width < aspect:
        height = width * aspect
    else:
        width = height / aspect
    whole_w, whole_h = max(round(width), 1), max(round(height), 1)
    left, top = round((x1 + x2 - whole_w) / 2), round((y1 + y2 - whole_h) / 2)
    return left, top, left + whole_w, top + whole_h


def take(array: np.ndarray, box: IntBox) -> np.ndarray:
    """Cut an integer box out of (H, W) or (H, W, C); beyond the border the nearest pixel repeats."""
    x1, y1, x2, y2 = box
    height, width = array.shape[:2]
    if 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height:  # Most boxes; slices are copied ten times as fast.
        return array[y1:y2, x1:x2].copy()
    rows = np.clip(np.arange(y1, y2), 0, height - 1)
    columns = np.clip(np.arange(x1, x2), 0, width - 1)
    # One axis after the other: indexing by both at once takes several times as long.
    return array[rows][:, columns]


def dilate(mask: Mask, radius: int) -> Mask:
    """Grow a mask (H, W) by a disc of ``radius`` pixels; the frame stays the same."""
    if radius <= 0 or not mask.any():
        return mask.copy()
    out = mask.copy()
    height, width = mask.shape
    reach_y = min(radius, height - 1)
    for dy in range(-reach_y, reach_y + 1):
        reach = int(np.sqrt(radius * radius - dy * dy))
        rows = mask[max(-dy, 0) : height - max(dy, 0)]
        grown = rows.copy()
        # A run of shifts along x: doubling keeps the work logarithmic in the reach.
        total = 0
        while total < reach:
            step = min(max(total, 1), reach - total)
            wider = grown.copy()
            wider[:, step:] |= grown[:, :-step] if step < width else False
            wider[:, :-step] |= grown[:, step:] if step < width else False
            grown, total = wider, total + step
        out[max(dy, 0) : height + min(dy, 0)] |= grown
    return out


def distance_inside(mask: Mask, limit: int) -> Floats:
    """Return for each pixel of a mask (H, W) its chessboard distance to the outside, at most ``limit``.

    Outside the mask 0; on its rim 1. The frame's border counts as outside only where the mask ends there with it:
    a mask cut by the picture's border is not eroded there.
    """
    padded = np.pad(mask, 1, mode="edge")
    out = np.zeros(mask.shape, dtype=np.float32)
    for _ in range(limit):
        inner = padded[1:-1, 1:-1]
        if not inner.any():
            break
        out += inner
        rows = padded[:-2] & padded[1:-1] & padded[2:]
        eroded = rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]
        padded = np.pad(eroded, 1, mode="edge")
    return out


def feather(mask: NDArray[np.bool_], width: int) -> NDArray[np.float32]:
    """Return alpha for a mask: 0 outside, rising inside from its rim to 1 over ``width`` pixels.

    Args:
        mask: bool (H, W).
        width: Pixels over which alpha rises; 0 gives the mask itself.

    Returns:
        float32 (H, W) in [0, 1], exactly 0 outside the mask and above 0 inside.
    """
    if width <= 0:
        return mask.astype(np.float32)
    return np.minimum(distance_inside(mask, width + 1) / (width + 1), 1.0).astype(np.float32)


def blend(base: NDArray[np.uint8], patch: NDArray[np.uint8], alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay a patch over a base: ``alpha * patch + (1 - alpha) * base``.

    Args:
        base: uint8 (H, W, 3).
        patch: uint8 (H, W, 3).
        alpha: float32 (H, W) in [0, 1]; 0 where a nearer object stands that keeps its pixels.

    Returns:
        uint8 (H, W, 3), bit for bit equal to the base where alpha is 0.

    Source:
        arXiv 2406.08249, eq. 2.
    """
    mixed = np.rint(alpha[..., None] * patch + (1 - alpha[..., None]) * base).astype(np.uint8)
    out = base.copy()
    inside = alpha > 0
    out[inside] = mixed[inside]
    return out
