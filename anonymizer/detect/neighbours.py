"""Persons who were taken for one, told apart by their faces.

Coarse masks run together where people stand close. What two outlines both claim belongs to the person under whose face
it lies, and one outline around two faces is that of two persons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from itertools import combinations

import numpy as np

from anonymizer.core.geometry import box_iou, integer_box, mask_box, outline_box
from anonymizer.core.records import Floats, Instance
from anonymizer.detect.regions import overlap

__all__ = ["split", "tells", "told_apart"]

#: The body below a face: how far its middle line is, and how much a pixel counts as farther for each face's width to
#: the side of it and each face's height below it, against 1 for half a face's size from the middle of a face.
BODY, ASIDE, BELOW = 0.6, 1.0, 0.16
#: The body begins this share of a face's height below its middle.
CHIN = 0.4
#: Score and height in pixels from which a face tells people apart: doubtful ones take parts of people who are there,
#: and who is farther away is more often found alone, and cut better than by this rule of thumb.
SURE, CLOSE = 0.6, 64
#: How many times as high one of two faces may be as the other, and the least share of an outline that each of several
#: faces in it has to get.
SIZES, LEAST = 2.0, 0.2
#: Smaller faces tell people who walk side by side apart: two that several networks saw, with this score and height in
#: pixels, of which the first proportion lies in the outline's box, one as high as the other up to the second factor,
#: their middles at most one height of a face above each other. In 23 pictures with many people that is so of one find,
#: of two who walk close together; a print or a face in the background would have to meet all of it.
SEEN, HIGH, INNER, LIKE = 0.5, 20, 0.8, 1.5


def told_apart(found: tuple[Instance, ...]) -> tuple[Instance, ...]:
    """Return instances of which persons with sure, close faces of alike size share no outline; masks stay.

    Args:
        found: Instances, faces with their persons as ``parent``.
    """
    faces: dict[int, Instance] = {}
    for face in sorted((i for i in found if tells(i)), key=lambda i: i.score):
        faces[face.parent or 0] = face  # The best comes last.
    persons = [i for i in found if i.label == "person" and i.id in faces]
    if not persons:
        return found
    # All at once: a crowd has thousands of pairs, and few of them meet.
    boxes = np.stack([person.box for person in persons])
    meet = box_iou(boxes, boxes) > 0
    apart = {
        person.id: _own(person, [persons[n] for n in np.flatnonzero(near)], faces)
        for person, near in zip(persons, meet, strict=True)
    }
    return tuple(apart.get(i.id, i) if i.label == "person" else i for i in found)


def split(found: Sequence[Instance]) -> list[Instance]:
    """Return instances of which every person with several sure, close faces, or two side by side, is several persons.

    Args:
        found: Instances, faces with their persons as ``parent``.
    """
    known: dict[int | None, list[Instance]] = {}
    for face in found:
        if face.label == "face" and face.parent is not None:
            known.setdefault(face.parent, []).append(face)
    out: list[Instance] = []
    for instance in found:
        several = known.get(instance.id, []) if instance.label == "person" else []
        faces = [face for face in several if tells(face)]
        faces = faces if len(faces) > 1 else _side_by_side(instance, several)
        heights = [float(i.box[3] - i.box[1]) for i in faces]
        apart = all(not box_iou(a.box, b.box).any() for a, b in combinations(faces, 2))
        alike = len(faces) > 1 and apart and max(heights) <= SIZES * min(heights)
        out += _parts(instance, faces) if alike else [instance]
    return out


def _side_by_side(person: Instance, faces: Sequence[Instance]) -> list[Instance]:
    """Return the two best of a person's faces that are those of people beside each other, none if there are none."""
    box = outline_box(person)
    seen = [
        i
        for i in faces
        if i.score >= SEEN
        and len(i.signs) > 1
        and i.box[3] - i.box[1] >= HIGH
        and float(overlap(i.box, box[None])[0]) >= INNER * float(np.prod(i.box[2:] - i.box[:2]))
    ]
    for pair in combinations(sorted(seen, key=lambda i: -i.score), 2):
        heights = [float(i.box[3] - i.box[1]) for i in pair]
        rows = [float(i.box[1] + i.box[3]) / 2 for i in pair]
        level = abs(rows[0] - rows[1]) <= max(heights) and max(heights) <= LIKE * min(heights)
        if level and not box_iou(pair[0].box, pair[1].box).any():
            return list(pair)
    return []


def tells(face: Instance) -> bool:
    """Return whether an instance is a face that tells its person apart from others."""
    height = float(face.box[3] - face.box[1])
    return face.label == "face" and face.parent is not None and face.score >= SURE and height >= CLOSE


def _parts(person: Instance, faces: Sequence[Instance]) -> list[Instance]:
    """Return a person for each face, or the one there was where a face would get next to nothing."""
    x1, y1, x2, y2 = integer_box(person.box)
    away = [_away(face.box, (x1, y1, x2, y2)) for face in faces]
    nearest = reduce(np.minimum, away)
    free, parts = np.ones(person.mask.shape, np.bool_), []
    for distance in away:
        cell = free & (distance <= nearest)
        free &= ~cell
        tight = mask_box(person.mask & cell)
        if tight is None or np.count_nonzero(person.outline & cell) < LEAST * np.count_nonzero(person.outline):
            return [person]
        box = np.array(tight, np.float32) + np.array([x1, y1, x1, y1], np.float32)
        part = np.s_[tight[1] : tight[3], tight[0] : tight[2]]
        mask, core = (person.mask & cell)[part], (person.outline & cell)[part]
        parts.append(replace(person, box=box, mask=mask, core=core, views=None))
    return parts


def _own(person: Instance, persons: list[Instance], faces: dict[int, Instance]) -> Instance:
    """Return a person without what others' outlines claim with more right."""
    x1, y1, x2, y2 = integer_box(person.box)
    outline = person.outline
    core = outline.copy()
    for other in persons:
        left, top, right, bottom = integer_box(other.box)
        shared = max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)
        pair = [faces[i.id].box[3] - faces[i.id].box[1] for i in (person, other)]
        if other is person or max(pair) > SIZES * min(pair) or shared[2] <= shared[0] or shared[3] <= shared[1]:
            continue
        mine = np.s_[shared[1] - y1 : shared[3] - y1, shared[0] - x1 : shared[2] - x1]
        theirs = other.outline[shared[1] - top : shared[3] - top, shared[0] - left : shared[2] - left]
        both = outline[mine] & theirs
        if both.any():
            core[mine] &= ~(both & (_away(faces[other.id].box, shared) < _away(faces[person.id].box, shared)))
    return replace(person, core=core) if core.any() and not np.array_equal(core, outline) else person


def _away(face: Floats, window: tuple[int, int, int, int]) -> Floats:
    """Return how far pixels of a window (integer xyxy) are from a face's person, in half sizes of the face, (h, w)."""
    x1, y1, x2, y2 = (float(v) for v in face)
    half_width, half_height = (x2 - x1) / 2, (y2 - y1) / 2
    across = np.abs(np.arange(window[0], window[2], dtype=np.float32) + 0.5 - (x1 + x2) / 2)[None] / half_width
    down = (np.arange(window[1], window[3], dtype=np.float32) + 0.5 - (y1 + y2) / 2)[:, None] / half_height
    below = np.where(down > 2 * CHIN, BODY + ASIDE / 2 * across + BELOW / 2 * down, np.float32(np.inf))
    return np.asarray(np.minimum(np.hypot(across, down), below), np.float32)
