"""Regions as all detectors make them: clipped instances, ellipse and box masks, suppression, unions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import box_iou, clip_box, integer_box, paste_window
from anonymizer.core.records import Floats, Instance, Mask

__all__ = [
    "BOXES_ONLY",
    "MIN_SIDE",
    "OUTLINE",
    "by_boxes",
    "coverage",
    "ellipse",
    "grow",
    "is_sketch",
    "make_instance",
    "nms",
    "number",
    "overlap",
    "seen_alone",
    "unite",
    "widen",
]

#: Boxes narrower or lower than this many pixels hold nothing that could be recognised or redrawn.
MIN_SIDE = 2.0
#: Sources of boxes without outlines: a detector, boxes that were given, and bodies below faces.
BOXES_ONLY = frozenset({"centernet", "box", "body"})
#: Evidence that a network for outlines drew the object, with the proportion of its view that the outline fills.
OUTLINE = "outline"
#: Proportion of a box's width left free at each side of a person's middle line.
SLIM = 0.15


def grow(box: Floats, left: float, top: float, right: float, bottom: float) -> Floats:
    """Move each side of a box (4,) xyxy outwards by a share of the box's width or height; no clipping."""
    x1, y1, x2, y2 = (float(v) for v in box)
    width, height = x2 - x1, y2 - y1
    return np.array([x1 - left * width, y1 - top * height, x2 + right * width, y2 + bottom * height], dtype=np.float32)


def ellipse(box: Floats) -> Mask:
    """Return the ellipse inscribed in a box (4,) xyxy: bool in the frame of its integer box."""
    x1, y1, x2, y2 = (float(v) for v in box)
    left, top, right, bottom = integer_box(box)
    x = (np.arange(left, right) + 0.5 - (x1 + x2) / 2) / (x2 - x1) * 2  # (w,)
    y = (np.arange(top, bottom) + 0.5 - (y1 + y2) / 2) / (y2 - y1) * 2  # (h,)
    inside: Mask = x[None] ** 2 + y[:, None] ** 2 <= 1  # (h, w)
    return inside


def make_instance(
    label: str,
    box: Floats,
    size: tuple[int, int],
    *,
    score: float,
    source: str,
    mask: Mask | None = None,
    landmarks: Floats | None = None,
) -> Instance | None:
    """Clip a box and its mask to the picture and make an instance of them, with id 1.

    Args:
        label: Class.
        box: float (4,) xyxy in pixels; may reach beyond the picture.
        size: Picture (height, width).
        score: Confidence; clipped to [0, 1].
        source: Which detector found it.
        mask: bool in the frame of the unclipped integer box. None or, after clipping, empty: the whole box, since an
            empty mask would release what was found.
        landmarks: float32 (5, 2) x, y in pixels, or None.

    Returns:
        The instance, or None where less than ``MIN_SIDE`` pixels of a side lie inside the picture.
    """
    clipped = clip_box(box, size)
    if min(clipped[2] - clipped[0], clipped[3] - clipped[1]) < MIN_SIDE:
        return None
    x1, y1, x2, y2 = integer_box(clipped)
    kept = np.ones((y2 - y1, x2 - x1), dtype=np.bool_)
    if mask is not None:
        part = mask[paste_window(integer_box(box), size)[1]]
        if part.any():
            kept = part
    return Instance(
        id=1,
        label=label,
        box=clipped,
        mask=kept,
        score=float(np.clip(score, 0.0, 1.0)),
        source=source,
        landmarks=landmarks,
    )


def number(instances: Iterable[Instance]) -> tuple[Instance, ...]:
    """Number instances from 1 in the order given and forget their parents, whose ids meant something else."""
    return tuple(replace(instance, id=i, parent=None) for i, instance in enumerate(instances, start=1))


def nms(boxes: Floats, scores: Floats, iou: float) -> NDArray[np.intp]:
    """Suppress boxes that overlap a better one.

    Args:
        boxes: float32 (N, 4) xyxy.
        scores: float32 (N,).
        iou: Boxes with at least this IoU are the same object, in [0, 1].

    Returns:
        Indices of the boxes kept, best first.
    """
    order = np.argsort(-scores, kind="stable")
    kept = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(best)
        order = rest[box_iou(boxes[best], boxes[rest])[0] < iou]
    return np.array(kept, dtype=np.intp)


def overlap(box: Floats, boxes: Floats) -> Floats:
    """Return the area that a box (4,) shares with each of ``boxes`` (N, 4), in pixels: float32 (N,)."""
    boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    area: Floats = np.prod(np.clip(high - low, 0, None), axis=1).astype(np.float32)
    return area


def coverage(inner: Instance, outer: Instance) -> float:
    """Return the share of one instance's mask that lies inside another's mask, in [0, 1]."""
    box, other = integer_box(inner.box), integer_box(outer.box)
    left, top = max(box[0], other[0]), max(box[1], other[1])
    right, bottom = min(box[2], other[2]), min(box[3], other[3])
    total = int(inner.mask.sum())
    if right <= left or bottom <= top or not total:
        return 0.0
    part = inner.mask[top - box[1] : bottom - box[1], left - box[0] : right - box[0]]
    cover = outer.mask[top - other[1] : bottom - other[1], left - other[0] : right - other[0]]
    return float((part & cover).sum()) / total


def is_sketch(instance: Instance) -> bool:
    """Return whether all that is known of an instance comes from detectors that give boxes without an outline."""
    return bool(instance.signs) and set(instance.signs) <= BOXES_ONLY


def by_boxes(instance: Instance) -> bool:
    """Return whether only detectors that give boxes saw an instance, whether or not an outline was drawn since."""
    return set(instance.signs) - {OUTLINE} <= BOXES_ONLY


def seen_alone(instance: Instance, networks: Collection[str]) -> bool:
    """Return whether an instance was seen by some of these networks and by nothing else."""
    seen = set(instance.signs) - {OUTLINE}
    return bool(seen) and seen <= set(networks)


def unite(instances: Sequence[Instance]) -> Instance:
    """Make one instance of several views of one object: union of the masks in the union of the boxes.

    Recall beats precision: a pixel that any view calls part of the object is replaced. Everything else comes from the
    view with the highest score, but landmarks and record from the best view that has them, and evidence from all.
    Beside a view with an outline, a box says where the middle of the object runs and no more.
    """
    ranked = sorted(instances, key=lambda instance: -instance.score)
    if any(i.signs and not is_sketch(i) for i in ranked):
        ranked = [_middle(i) if is_sketch(i) and i.core is None else i for i in ranked]
    evidence: dict[str, float] = {}
    for instance in ranked:
        for name, score in instance.signs.items():
            evidence[name] = max(score, evidence.get(name, 0.0))
    boxes = np.stack([instance.box for instance in ranked])
    box = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    x1, y1, x2, y2 = integer_box(box)
    mask = np.zeros((y2 - y1, x2 - x1), dtype=np.bool_)
    core = mask.copy() if any(instance.core is not None for instance in ranked) else None
    for instance in ranked:
        left, top, right, bottom = integer_box(instance.box)
        place = slice(top - y1, bottom - y1), slice(left - x1, right - x1)
        mask[place] |= instance.mask
        # A plate's outline is that of the network which draws one; the others give wider boxes.
        if core is not None and (instance.core is not None or instance.label != "license_plate"):
            core[place] |= instance.outline
    return replace(
        ranked[0],
        box=box,
        mask=mask,
        core=core,
        views=np.concatenate([instance.seen for instance in ranked]),
        evidence=evidence,
        landmarks=next((i.landmarks for i in ranked if i.landmarks is not None), None),
        record=next((i.record for i in ranked if i.record is not None), None),
    )


def _middle(instance: Instance) -> Instance:
    """Return an instance whose mask is the slim ellipse around the middle line of its box, unless that is empty."""
    slim = grow(instance.box, -SLIM, 0.0, -SLIM, 0.0)
    x1, y1, *_ = integer_box(instance.box)
    left, top, right, bottom = integer_box(slim)
    mask = np.zeros_like(instance.mask)
    mask[top - y1 : bottom - y1, left - x1 : right - x1] = ellipse(slim)
    mask &= instance.mask
    return replace(instance, mask=mask) if mask.any() else instance


def widen(instance: Instance, *parts: Instance) -> Instance:
    """Return an instance with more of the picture in its mask, and in its outline what the parts' outlines add.

    Parts are what a face, a gap or a stance suggests, no views of the object.
    """
    return replace(unite((replace(instance, core=instance.outline), *parts)), views=instance.seen)
