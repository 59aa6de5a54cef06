"""Several detectors as one, and faces and plates with the persons and vehicles they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anonymizer.core.errors import InputError
from anonymizer.core.geometry import box_iou, clip_box, integer_box, paste_window
from anonymizer.core.records import CLASSES, Detector, Image, Instance, check_image
from anonymizer.detect.masks import with_feet, without_gaps
from anonymizer.detect.neighbours import split, tells, told_apart
from anonymizer.detect.regions import MIN_SIDE, coverage, ellipse, grow, overlap, unite, widen

__all__ = ["UnionDetector", "associate", "merge"]

#: IoU of two boxes of one class from which they are the same object.
SAME_BOX = 0.5
#: A small box belongs to a larger one of its class that holds this share of it.
INSIDE = 0.8
#: Classes in which one object does not stand inside another. Persons do: a child in front of an adult.
EXCLUSIVE = ("face", "license_plate", "text")
#: How far a head reaches beyond its face (left, top, right, bottom), as shares of the face's width and height.
HEAD = (0.25, 0.35, 0.25, 0.1)
#: The same for the part of it that most likely is head rather than background.
HAIR = (0.08, 0.28, 0.08, 0.03)
#: Score from which a face that belongs to nobody gets a body, and how far that reaches beyond the face (left, top,
#: right, bottom), as shares of the face's width and height: shoulders, and the trunk down to the hips.
FACED = 0.6
BODY = (1.1, 0.4, 1.1, 4.0)
#: Proportion of a person's mask in the masks of others from which there is no further person.
COVERED = 0.6
#: A person who lies to this share in another's mask, with less than this share of the other's score, is a part of the
#: other. Somebody in front of somebody else is found with a score of their own.
PART, PART_SCORE = 0.85, 0.5
#: What belongs to what, and the share of it that the other has to cover.
BELONGS = {"face": "person", "license_plate": "vehicle"}
PART_IN_WHOLE = 0.6


class UnionDetector:
    """Runs several detectors and unites what they find.

    Args:
        detectors: Detectors to run, in any order.
        classes: Classes to report; others are dropped.

    Raises:
        InputError: No detector, or a class that does not exist.
    """

    def __init__(self, detectors: Sequence[Detector], classes: Sequence[str]) -> None:
        unknown = sorted(set(classes) - set(CLASSES))
        if unknown or not classes:
            raise InputError(f"classes: expected some of {', '.join(CLASSES)}, got {', '.join(unknown) or 'none'}")
        if not detectors:
            raise InputError("detectors: expected at least one, got none")
        self._detectors = tuple(detectors)
        self._classes = frozenset(classes)

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return instances in RGB uint8 (H, W, 3) as ``merge`` orders them, faces with their persons.

        Raises:
            InputError: The picture has another shape or dtype.
        """
        check_image(image)
        found = [i for detector in self._detectors for i in detector.detect(image) if i.label in self._classes]
        return merge(found, (image.shape[0], image.shape[1]))


def merge(instances: Sequence[Instance], size: tuple[int, int]) -> tuple[Instance, ...]:
    """Unite instances that are views of one object, clip them, order and number them, and find faces' persons.

    Two instances of one class are the same object from an IoU of 0.5 of their boxes; faces, plates and text also
    where one holds 80 % of the other. What remains is the union of their masks: recall beats precision. A person who
    lies within a much better found one is a part of that one and dropped: every pixel of theirs is treated anyway; one
    who is nothing but the head of a much better found one is added to that one.
    A sure face that belongs to nobody gets a body. Persons whose face was found get the whole head around it, with hair
    and ears, which segmentation often misses, and those who stand get room for their feet; gaps within and between
    persons are closed. A person with several sure faces is several persons, and outlines of persons with different
    faces share nothing.

    Args:
        instances: From any detectors; ids and parents may repeat and are replaced.
        size: Picture (height, width). Less than 2 pixels left of a side inside the picture drops an instance.

    Returns:
        Instances numbered from 1, ordered by class (person, face, license_plate, text), then by top, left, bottom,
        right of their boxes.
    """
    kept: list[Instance] = []
    clipped = (_clip(instance, size) for instance in instances)
    for instance in sorted((i for i in clipped if i is not None), key=lambda i: -i.score):
        current = instance
        # A union is larger than its parts and may now meet another.
        while (match := next((i for i, other in enumerate(kept) if _is_same(other, current)), None)) is not None:
            current = unite((kept.pop(match), current))
        kept.append(current)
    kept = _without_lone_heads([i for i in kept if not any(_is_part(i, other) for other in kept)])
    found = _numbered(kept)
    bodies = _bodies(found, size)
    found = _numbered([*found, *bodies]) if bodies else found
    people = _single(split(found))
    found = _numbered(people) if len(people) != len(found) else found
    whole = tuple(with_feet(i, size) if i.label == "person" else i for i in _with_heads(found, size))
    return told_apart(without_gaps(whole, size))


def _numbered(instances: Sequence[Instance]) -> tuple[Instance, ...]:
    """Return instances in order, numbered from 1, faces and plates with what they belong to."""
    ordered = sorted(instances, key=lambda i: (CLASSES.index(i.label), *(float(i.box[axis]) for axis in (1, 0, 3, 2))))
    return associate(tuple(replace(i, id=n, parent=None) for n, i in enumerate(ordered, start=1)))


def _single(found: Sequence[Instance]) -> list[Instance]:
    """Return instances, persons without a face joined to persons with sure, close faces who are mostly the same pixels.

    Their masks go to the person who covers most of them, so that what was anonymized stays so; outlines stay.
    """
    faced = {i.parent for i in found if i.label == "face"}
    sure = {i.parent for i in found if tells(i)}
    anchors = [i for i in found if i.label == "person" and i.id in sure]
    joined: dict[int, list[Instance]] = {}
    gone: set[int] = set()
    for person in found:
        if person.label == "person" and person.id not in faced:
            near = [i for i in anchors if not _apart(i, person)]
            if _covered(person, near) >= COVERED:
                most = max(near, key=lambda i: coverage(person, i))
                part = replace(person, core=np.zeros_like(person.mask), score=0.0, evidence={})
                joined.setdefault(most.id, []).append(part)
                gone.add(person.id)
    return [widen(i, *joined[i.id]) if i.id in joined else i for i in found if i.id not in gone]


def _covered(person: Instance, others: Sequence[Instance]) -> float:
    """Return the proportion of a person's mask that lies in the masks of others taken together, in [0, 1]."""
    x1, y1, x2, y2 = integer_box(person.box)
    union = np.zeros_like(person.mask)
    for other in others:
        left, top, right, bottom = integer_box(other.box)
        a, b, c, d = max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)
        if c > a and d > b:
            union[b - y1 : d - y1, a - x1 : c - x1] |= other.mask[b - top : d - top, a - left : c - left]
    return float((union & person.mask).sum()) / float(person.mask.sum())


def _bodies(found: Sequence[Instance], size: tuple[int, int]) -> list[Instance]:
    """Return a body for each sure face that belongs to nobody: a face never stays on an untouched trunk."""
    out = []
    for face in found:
        if face.label == "face" and face.parent is None and face.score >= FACED:
            box = clip_box(grow(face.box, *BODY), size)
            out.append(Instance(1, "person", box, ellipse(box), face.score, "body"))
    return out


def _without_lone_heads(instances: Sequence[Instance]) -> list[Instance]:
    """Add persons that are no more than a face's head to the much better found person in whose box they lie."""
    heads = [grow(i.box, *HEAD) for i in instances if i.label == "face"]
    persons = [i for i in instances if i.label == "person"]
    if not heads or not persons:
        return list(instances)
    # All at once: a crowd has thousands of pairs.
    alike = box_iou(np.stack([i.box for i in persons]), np.stack(heads)).max(axis=1) >= SAME_BOX
    lone = [i for i, is_head in zip(persons, alike, strict=True) if is_head]
    wholes = [i for i, is_head in zip(persons, alike, strict=True) if not is_head]
    parts: dict[int, list[Instance]] = {}
    for head in lone:
        area = float(np.prod(head.box[2:] - head.box[:2]))
        for whole in (i for i in wholes if head.score < PART_SCORE * i.score and not _apart(head, i)):
            if float(overlap(head.box, whole.box[None])[0]) >= INSIDE * area:
                parts.setdefault(id(whole), []).append(head)
                break
    added = {id(head) for several in parts.values() for head in several}
    return [widen(i, *parts[id(i)]) if id(i) in parts else i for i in instances if id(i) not in added]


def _with_heads(instances: tuple[Instance, ...], size: tuple[int, int]) -> tuple[Instance, ...]:
    heads: dict[int, list[Instance]] = {}
    for face in instances:
        if face.label == "face" and face.parent is not None:
            box = clip_box(grow(face.box, *HEAD), size)
            x1, y1, *_ = integer_box(box)
            hair = clip_box(grow(face.box, *HAIR), size)
            left, top, right, bottom = integer_box(hair)
            mask = ellipse(box)
            core = np.zeros_like(mask)
            core[top - y1 : bottom - y1, left - x1 : right - x1] = ellipse(hair)
            head = Instance(face.parent, "person", box, mask | core, 0.0, "head", core=core)
            heads.setdefault(face.parent, []).append(head)
    return tuple(widen(i, *heads[i.id]) if i.label == "person" and i.id in heads else i for i in instances)


def associate(instances: tuple[Instance, ...]) -> tuple[Instance, ...]:
    """Give each face and plate without a parent the person or vehicle it belongs to: the smallest that covers 60 %.

    A mask counts before a box, since heads are the part that masks miss most often. What lies in none stays without a
    parent.
    """
    wholes = {
        label: sorted(
            (i for i in instances if i.label == body), key=lambda i: (float(np.prod(i.box[2:] - i.box[:2])), i.id)
        )
        for label, body in BELONGS.items()
    }

    def parent(part: Instance) -> int | None:
        area = float(np.prod(part.box[2:] - part.box[:2]))
        near = [p for p in wholes[part.label] if not _apart(part, p)]
        by_mask = (p.id for p in near if coverage(part, p) >= PART_IN_WHOLE)
        by_box = (p.id for p in near if float(overlap(part.box, p.box[None])[0]) >= PART_IN_WHOLE * area)
        return next(by_mask, next(by_box, None))

    return tuple(replace(i, parent=parent(i)) if i.label in BELONGS and i.parent is None else i for i in instances)


def _clip(instance: Instance, size: tuple[int, int]) -> Instance | None:
    box = clip_box(instance.box, size)
    if min(box[2] - box[0], box[3] - box[1]) < MIN_SIDE:
        return None
    if np.array_equal(box, instance.box):
        return instance
    local = paste_window(integer_box(instance.box), size)[1]
    core = None if instance.core is None else instance.core[local]
    height, width = size
    views = np.clip(instance.seen, 0, np.array([width, height, width, height], np.float32))
    return replace(instance, box=box, mask=instance.mask[local], core=core, views=views)


def _is_same(a: Instance, b: Instance) -> bool:
    if a.label != b.label or _apart(a, b):
        return False
    if float(box_iou(a.box, b.box)[0, 0]) >= SAME_BOX:
        return True
    smallest = min(float(np.prod(i.box[2:] - i.box[:2])) for i in (a, b))
    return a.label in EXCLUSIVE and float(overlap(a.box, b.box[None])[0]) >= INSIDE * smallest


def _apart(a: Instance, b: Instance) -> bool:
    """Return whether two boxes share no area; in a crowd nearly all pairs do not, and plain numbers tell fastest."""
    ax1, ay1, ax2, ay2 = a.box.tolist()
    bx1, by1, bx2, by2 = b.box.tolist()
    return bool(ax2 <= bx1 or bx2 <= ax1 or ay2 <= by1 or by2 <= ay1)


def _is_part(a: Instance, b: Instance) -> bool:
    if a is b or a.label != "person" or b.label != "person" or a.score >= PART_SCORE * b.score or _apart(a, b):
        return False
    return coverage(a, b) >= PART
