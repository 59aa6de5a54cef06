"""Given annotations, completed by what a detector found: outlines for boxes, and whoever was not annotated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from anonymizer.core.geometry import box_iou, clip_box, integer_box, outline_box
from anonymizer.core.records import REVIEWED, Floats, Image, Instance, PersonSegmenter
from anonymizer.detect.merge import associate

__all__ = ["heeded", "is_crowd", "same_as", "with_given", "without_members"]

#: A detection with at least this IoU with a given box of its class is that object.
SAME_BOX = 0.5


def is_crowd(instance: Instance) -> bool:
    """Return whether a given record stands for several people at once (``iscrowd`` of COCO)."""
    record = instance.record or {}
    return instance.label == "person" and bool(record.get("iscrowd"))


def with_given(
    found: Sequence[Instance],
    given: Sequence[Instance],
    image: Image | None = None,
    segmenter: PersonSegmenter | None = None,
) -> tuple[Instance, ...]:
    """Return given instances, completed by what was found: annotations are rarely complete.

    A given person of whom only a box is known takes the outline of the detection that it stands for, else the one
    that the segmenter draws inside the box; of one that a reviewer marked, all of the box is treated besides. Where
    there is neither the rectangle stays, which is filled and never redrawn. Given persons also take their pose from
    either. Everything else that is given stays as it is.

    Args:
        found: From a detector; ids and parents refer to each other.
        given: From annotations; ids and parents refer to each other.
        image: RGB uint8 (H, W, 3) for the segmenter.
        segmenter: Draws persons inside boxes; None: only detections do.

    Returns:
        The given instances in their order, then the others in theirs, numbered from 1. Parents follow the new
        numbers; faces without one get the person around them. A given face without landmarks takes those of the
        detection it stands for.
    """
    numbers = {instance.id: n for n, instance in enumerate(given, start=1)}
    out = [
        replace(i, id=n, parent=numbers.get(i.parent) if i.parent is not None else None)
        for n, i in enumerate(given, start=1)
    ]
    stands_for, best = _pairs(found, given)
    for match, index in best.items():
        out[match] = _completed(out[match], found[index])
    ids = {found[index].id: out[match].id for index, match in stands_for.items()}
    added = [i for index, i in enumerate(found) if index not in stands_for]
    ids |= {i.id: n for n, i in enumerate(added, start=len(given) + 1)}
    if image is not None and segmenter is not None:
        out = _segmented(out, image, segmenter)
    out += [replace(i, id=ids[i.id], parent=ids.get(i.parent) if i.parent is not None else None) for i in added]
    return associate(tuple(out))


def heeded(found: Sequence[Instance], wishes: Sequence[Instance]) -> tuple[tuple[Instance, ...], tuple[Instance, ...]]:
    """Return what is treated after wishes about single instances, and what is left as it is.

    Args:
        found: What would be treated.
        wishes: Instances with a ``wish``. One that asks for a redraw or a fill where nothing of its class was found is
            treated as if it had been given: a reviewer saw something there.

    Returns:
        Instances to treat, and those left: wishes to leave something, and what was found there. A face whose person is
        left stands alone.
    """
    _, best = _pairs(found, wishes)
    asked = {found[index].id: wishes[match] for match, index in best.items()}
    leave = [wish for wish in wishes if wish.wish == "leave"]
    gone = [i for i in found if (asked[i.id].wish == "leave" if i.id in asked else same_as(i, leave))]
    ids = {i.id for i in gone}
    kept = [replace(i, wish=asked[i.id].wish) if i.id in asked else i for i in found if i.id not in ids]
    first = max((i.id for i in found), default=0) + 1
    alone = [wish for n, wish in enumerate(wishes) if n not in best and wish.wish != "leave"]
    kept += [replace(wish, id=first + n, parent=None) for n, wish in enumerate(alone)]
    return tuple(replace(i, parent=None) if i.parent in ids else i for i in kept), (*leave, *gone)


def same_as(instance: Instance, others: Iterable[Instance]) -> bool:
    """Return whether an instance is one of some others: of the same class, in the same place."""
    boxes = [other.box for other in others if other.label == instance.label]
    return bool(boxes) and float(box_iou(outline_box(instance)[None], np.stack(boxes)).max()) >= SAME_BOX


def without_members(crowd: Instance, found: Sequence[Instance], possible: Sequence[Instance]) -> Instance:
    """Return a crowd region of which only a box is known, cut down to where a person may be.

    Args:
        crowd: The region.
        found: Persons who are anonymized one by one.
        possible: Everything that may be a person, however unsure, ``found`` or not.

    Returns:
        The region with what possible persons cover and found ones do not as its mask. The whole region where nothing
        may be a person: what the annotation points at is not left.
    """
    mask, taken = np.zeros_like(crowd.mask), np.zeros_like(crowd.mask)
    for persons, target in ((possible, mask), (found, taken)):
        for person in persons:
            here, there = _shared(crowd, person)
            target[here] |= person.mask[there]
    if not mask.any():
        return crowd
    rest = mask & ~taken & crowd.mask
    # Everybody was found: one pixel of a person who is anonymized anyway stands for the record.
    return replace(crowd, mask=rest if rest.any() else mask & crowd.mask, core=None)


def _shared(a: Instance, b: Instance) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the slices of two masks, each in its own frame, that show the pixels which both boxes hold."""
    ax1, ay1, ax2, ay2 = integer_box(a.box)
    bx1, by1, bx2, by2 = integer_box(b.box)
    x1, y1 = max(ax1, bx1), max(ay1, by1)
    x2, y2 = max(min(ax2, bx2), x1), max(min(ay2, by2), y1)
    return (
        (slice(y1 - ay1, y2 - ay1), slice(x1 - ax1, x2 - ax1)),
        (slice(y1 - by1, y2 - by1), slice(x1 - bx1, x2 - bx1)),
    )


def _pairs(found: Sequence[Instance], given: Sequence[Instance]) -> tuple[dict[int, int], dict[int, int]]:
    """Return the given instance that each detection stands for, and the one detection that is each given instance.

    Both by index. Of persons side by side each gets a detection of its own, the best pairs first; further detections
    of a given person are no further persons, unless that one agreed to be shown: then they may be somebody else.
    """
    if not given or not found:
        return {}, {}
    iou = box_iou(np.stack([outline_box(i) for i in found]), np.stack([g.box for g in given]))
    same = np.array([[i.label == g.label and not is_crowd(g) for g in given] for i in found])
    iou = np.where(same, iou, 0.0)
    stands_for: dict[int, int] = {}
    best: dict[int, int] = {}
    for flat in np.argsort(-iou, axis=None, kind="stable"):
        index, match = divmod(int(flat), len(given))
        if iou[index, match] < SAME_BOX:
            break
        if index not in stands_for and match not in best:
            stands_for[index], best[match] = match, index
    iou[:, [g.consent for g in given]] = 0.0
    for further in np.flatnonzero(iou.max(axis=1) >= SAME_BOX).tolist():
        stands_for.setdefault(further, int(iou[further].argmax()))
    return stands_for, best


def _completed(given: Instance, found: Instance) -> Instance:
    """Return a given instance with what the detection adds: landmarks, pose, and the outline of a mere box."""
    if given.landmarks is None and found.landmarks is not None:
        given = replace(given, landmarks=found.landmarks)
    if given.label == found.label:
        given = replace(given, body=given.body or found.body, face=given.face or found.face)
    if given.label != "person" or not given.boxed or found.boxed:
        return given
    if given.source == REVIEWED:
        return _widened(given, found)
    return replace(given, box=found.box, mask=found.mask, core=found.core, views=found.views, body=found.body)


def _widened(given: Instance, found: Instance) -> Instance:
    """Return an instance with the outline that was found and all of the box that was given as its mask.

    What no detector saw as a person is outlined badly, and whoever marked it sees that all of it goes.
    """
    boxes = np.stack([given.box, found.box])
    box = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    x1, y1, x2, y2 = integer_box(box)
    mask, core = np.zeros((y2 - y1, x2 - x1), np.bool_), np.zeros((y2 - y1, x2 - x1), np.bool_)
    for target, instance, part in ((mask, given, given.mask), (mask, found, found.mask), (core, found, found.outline)):
        left, top, right, bottom = integer_box(instance.box)
        target[top - y1 : bottom - y1, left - x1 : right - x1] |= part
    return replace(given, box=box, mask=mask, core=core, views=found.seen, body=found.body)


def _segmented(given: list[Instance], image: Image, segmenter: PersonSegmenter) -> list[Instance]:
    """Return given instances, persons in boxes with the outline that the segmenter sees there, all with their pose."""
    size = image.shape[0], image.shape[1]
    persons = [(n, i) for n, i in enumerate(given) if i.label == "person" and not is_crowd(i)]
    bare = [n for n, i in persons if i.boxed or i.body is None]
    if not bare:
        return given
    boxes: Floats = np.stack([clip_box(given[n].box, size) for n in bare])
    out = list(given)
    for n, person in zip(bare, segmenter.segment(image, boxes), strict=True):
        if person is not None:
            out[n] = _completed(given[n], person)
    return out
