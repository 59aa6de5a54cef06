"""Persons found twice: a find that shows somebody again, or a part of them, is joined to the find that shows them.

Each instance becomes one avatar: who is found twice would stand there twice. Nothing is dropped. The pixels of a joined
find stay in the mask of the person it is joined to, its faces are theirs, and what speaks for it speaks for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anonymizer.core.geometry import box_iou, integer_box, outline_box
from anonymizer.core.records import Instance, Mask
from anonymizer.detect.blazepose import LANDMARKS
from anonymizer.detect.regions import BOXES_ONLY, OUTLINE, by_boxes, is_sketch, widen

__all__ = ["one_each"]

#: Proportion of the smaller of two outlines that lies in the larger, or of a find by boxes alone in all larger ones
#: together, from which both show one person.
INSIDE = 0.75
#: Score from which a face tells persons apart: two with a face each are two.
SURE = 0.6
#: Two poses are one person's if BlazePose sees both with this presence, if the median distance of their nose, shoulders
#: and hips is at most this proportion of the smaller one's longer side, and if the outlines share this proportion of
#: the smaller one.
PRESENT, NEAR, SHARED = 0.8, 0.15, 0.3
#: Proportion of a find by boxes alone, without a face, that lies in another's mask, from which it is a part of it.
HELD = 0.85
#: A find is around several people if smaller ones make up the first proportion of its outline, each of which lies in
#: it to the second, shares less than ``SHARED`` with the others, and is seen by networks for outlines and for boxes or
#: well by BlazePose.
MADE_UP, MEMBER = 0.65, 0.7
#: Somebody stands beside or behind a larger find, whose outline often runs into theirs, if their middle is at least the
#: first proportion of its width away from its own and their height is at least the second of its height.
ASIDE, TALL = 0.25, 0.4
#: A larger find with less than this proportion of a smaller one's score is a poor view of the same person.
POOR = 0.6
#: Proportion of a larger find's box that a smaller one has, from which a network's outline of the smaller is better
#: than the one drawn in the box of the larger.
ALIKE = 0.75
#: Landmarks that say where a person is.
PLACES = [LANDMARKS.index(name) for name in ("nose", "left_shoulder", "right_shoulder", "left_hip", "right_hip")]


def one_each(found: Sequence[Instance]) -> tuple[Instance, ...]:
    """Return instances in the same order, without the persons that were joined to others.

    A find around several people who were also found one by one is joined to one of them; then each find that shows a
    larger one again, or a part of it, is joined to that.

    Args:
        found: Instances with different ids, faces with their persons as ``parent``.
    """
    persons = {i.id: i for i in found if i.label == "person"}
    if len(persons) < 2:
        return tuple(found)
    # The smallest come first: a part of a part reaches the whole person in the end.
    order = sorted(persons, key=lambda n: (np.count_nonzero(persons[n].outline), n))
    boxes = np.stack([persons[n].box for n in order])
    near = {order[place]: np.flatnonzero(row) for place, row in enumerate(box_iou(boxes, boxes) > 0)}
    faced = {i.parent for i in found if i.label == "face" and i.score >= SURE}
    into: dict[int, int] = {}

    def final(n: int) -> int:
        return final(into[n]) if n in into else n

    for place, n in reversed(list(enumerate(order))):
        members = [] if n in faced else _members(persons[n], [persons[order[m]] for m in near[n] if m < place])
        if members:
            into[n] = members[0].id
    for group in tuple(into):
        member = persons[final(group)]
        persons[member.id] = _joined(member, persons.pop(group))
    for place, n in enumerate(order):
        larger = [persons[order[m]] for m in near[n] if m > place and order[m] in persons]
        whole = _whole(persons[n], larger, faced) if n in persons else None
        if whole is not None:
            persons[whole.id] = _joined(whole, persons.pop(n))
            into[n] = whole.id
            faced |= {whole.id} if n in faced else set()
    kept = (persons.get(i.id, i) for i in found if i.label != "person" or i.id in persons)
    return tuple(replace(i, parent=final(into[i.parent])) if i.parent in into else i for i in kept)


def _whole(part: Instance, larger: Sequence[Instance], faced: set[int | None]) -> Instance | None:
    """Return which of several larger finds shows the same person as a find, None if none does."""
    # Of two with a face each none is a part of the other.
    others = [i for i in larger if not {part.id, i.id} <= faced]
    shares = {i.id: float(_inside(part, i, i.outline).mean()) for i in others}
    others.sort(key=lambda i: -shares[i.id])
    posed = next((i for i in others if shares[i.id] >= SHARED and _one_pose(part, i)), None)
    if posed is not None:
        return posed
    apart = [i for i in others if not _beside(part, i)]
    if apart and shares[apart[0].id] >= INSIDE:
        return apart[0]
    if part.id in faced or not by_boxes(part) or not others:
        return None
    together = np.logical_or.reduce([_inside(part, i, i.outline) for i in others])
    if shares[others[0].id] < INSIDE <= together.mean():
        return others[0]
    drawn = [i for i in apart if not by_boxes(i)]
    return next((i for i in drawn if _inside(part, i, i.mask).mean() >= HELD), None)


def _beside(one: Instance, other: Instance) -> bool:
    """Return whether somebody stands to the side of a larger find, as tall as people are."""
    x1, y1, x2, y2 = outline_box(one).tolist()
    left, top, right, bottom = outline_box(other).tolist()
    return abs(x1 + x2 - left - right) / 2 >= ASIDE * (right - left) and y2 - y1 >= TALL * (bottom - top)


def _members(group: Instance, smaller: Sequence[Instance]) -> list[Instance]:
    """Return the people whom a find is around if these are several, the largest first."""
    inside = {i.id: float(_inside(i, group, group.outline).mean()) for i in smaller}
    members: list[Instance] = []
    for one in sorted(smaller, key=lambda i: -np.count_nonzero(i.outline)):
        alone = all(
            max(_inside(one, i, i.outline).mean(), _inside(i, one, one.outline).mean()) < SHARED for i in members
        )
        if inside[one.id] >= MEMBER and _sure(one) and alone and not any(_one_pose(one, i) for i in members):
            members.append(one)
    if len(members) < 2:
        return []
    made = np.logical_or.reduce([_inside(group, i, i.outline) for i in members])
    return members if made.mean() >= MADE_UP else []


def _area(person: Instance) -> float:
    x1, y1, x2, y2 = outline_box(person).tolist()
    return float((x2 - x1) * (y2 - y1))


def _sure(person: Instance) -> bool:
    """Return whether networks of both kinds see a person, or BlazePose does well."""
    kinds = {name in BOXES_ONLY for name in person.signs if name != OUTLINE}
    return len(kinds) == 2 or (person.body is not None and person.body.presence >= PRESENT)


def _inside(part: Instance, other: Instance, region: Mask) -> Mask:
    """Return for each pixel of a find's outline whether it lies in a region in another's frame, bool (N,)."""
    x1, y1, x2, y2 = integer_box(part.box)
    left, top, right, bottom = integer_box(other.box)
    a, b, c, d = max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)
    out = np.zeros_like(part.mask)
    if c > a and d > b:
        out[b - y1 : d - y1, a - x1 : c - x1] = region[b - top : d - top, a - left : c - left]
    return out[part.outline]


def _one_pose(part: Instance, other: Instance) -> bool:
    """Return whether BlazePose sees one pose in both finds."""
    if part.body is None or other.body is None or min(part.body.presence, other.body.presence) < PRESENT:
        return False
    away = np.linalg.norm(part.body.landmarks[PLACES, :2] - other.body.landmarks[PLACES, :2], axis=1)
    side = min(float(np.max(np.diff(box.reshape(2, 2), axis=0))) for box in map(outline_box, (part, other)))
    return float(np.median(away)) <= NEAR * side


def _joined(whole: Instance, part: Instance) -> Instance:
    """Return a person with the pixels and the evidence of another find; the better outline stays."""
    drawn = by_boxes(whole) and not by_boxes(part) and _area(part) >= ALIKE * _area(whole)
    poor = drawn or whole.score < POOR * part.score or (is_sketch(whole) and not is_sketch(part))
    kept, added = (part, whole) if poor else (whole, part)
    wider = widen(kept, replace(added, core=np.zeros_like(added.mask), score=0.0, evidence={}))
    best = {**added.signs, **{name: max(score, added.signs.get(name, 0.0)) for name, score in kept.signs.items()}}
    return replace(wider, id=whole.id, score=max(whole.score, part.score), evidence=best)
