"""Masks of persons, as wide as they must be: gaps closed, with room for feet, drawn in where people are seen well."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import IntBox, dilate, integer_box, mask_box, outline_box, paste_window, seen_well
from anonymizer.core.records import Instance, Mask
from anonymizer.detect.regions import SLIM, ellipse, grow, widen

__all__ = ["narrowed", "with_feet", "without_gaps"]

#: Half the width of gaps that are closed within one mask and between two, as shares of the (smaller) longer side.
WITHIN, BETWEEN = 0.012, 0.045
#: Share of both masks up to which a hole that they enclose is filled.
HOLE = 0.03
#: Longer side in pixels at which gaps are looked for.
WORK_SIDE = 256
#: Share of a person's height, from below, that is widened, and by how much, as a share of the height. On held-out
#: pictures the lowest tenth of people was left out to 3.1 % (Penn-Fudan) and 1.4 % (CCP) before, 0.3 % with it.
BAND, REACH = 0.12, 0.03
#: Boxes at least this many times as high as wide show somebody standing or walking.
UPRIGHT = 1.5
#: Likelihood from which BlazePose's mask says that somebody may be there.
POSSIBLE = 0.1
#: How far a mask may reach beyond outline and possible pixels, and half the width from which more of it stays all the
#: same: a bag, a leg behind another. Both as shares of the outline's longer side. With these and ``crops.GROW_SEEN``,
#: safe masks cover 1.50 times the annotated pixels instead of 1.67; they leave out 0.78 % of these pixels instead of
#: 0.69 %, with a rim of 1.5 % of the height 1.04 % instead of 0.78 % (54 persons of Penn-Fudan, CCP and HumanSeg).
BEYOND, THICK = 0.005, 0.025
#: Landmarks from the shoulders down. If all of them are in the window with this likelihood, a person is seen whole:
#: what nothing but the box of a detector without masks holds then is background.
BODY, WHOLE = slice(11, 33), 0.9
#: What stays is given back up to this many times that half width around its middle.
BACK = 1.5


def without_gaps(instances: tuple[Instance, ...], size: tuple[int, int]) -> tuple[Instance, ...]:
    """Return the instances, persons' masks with narrow gaps and small holes filled; their cores stay.

    Args:
        instances: Instances with different ids.
        size: Picture (height, width).
    """
    persons = {i.id: i for i in instances if i.label == "person"}
    for number, person in persons.items():
        persons[number] = _filled(person, person, WITHIN, size)
    for a, b in combinations(sorted(persons), 2):
        if _near(persons[a], persons[b]):
            # What lies between two persons goes to one of them: it is treated either way.
            persons[a] = _filled(persons[a], persons[b], BETWEEN, size)
    return tuple(persons.get(i.id, i) for i in instances)


def _near(a: Instance, b: Instance) -> bool:
    reach = 2 * BETWEEN * min(_side(a), _side(b))
    ax1, ay1, ax2, ay2 = a.box.tolist()
    bx1, by1, bx2, by2 = b.box.tolist()
    return bool(ax1 - reach < bx2 and bx1 - reach < ax2 and ay1 - reach < by2 and by1 - reach < ay2)


def _side(instance: Instance) -> float:
    x1, y1, x2, y2 = instance.box.tolist()
    return max(x2 - x1, y2 - y1)


def _filled(person: Instance, other: Instance, share: float, size: tuple[int, int]) -> Instance:
    """Return a person whose mask covers the gaps that it shares with another's, or its own if both are one."""
    boxes = np.array([integer_box(person.box), integer_box(other.box)])
    frame: IntBox = (*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist())
    scale = min(1.0, WORK_SIDE / max(frame[2] - frame[0], frame[3] - frame[1]))
    one, two = _small(person, frame, scale), _small(other, frame, scale)
    radius = max(round(share * min(_side(person), _side(other)) * scale), 1)
    new = _gaps(one, two, radius, between=person.id != other.id)
    if not new.any():
        return person
    whole = frame[2] - frame[0], frame[3] - frame[1]
    mask: Mask = cv2.resize(new.astype(np.uint8), whole, interpolation=cv2.INTER_NEAREST) > 0
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x1, y1, x2, y2 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    box = np.array([x1 + frame[0], y1 + frame[1], x2 + frame[0], y2 + frame[1]], np.float32)
    box = np.clip(box, 0, np.array([size[1], size[0]] * 2, np.float32))
    inner = mask[y1:y2, x1:x2]
    gap = Instance(person.id, "person", box, inner, 0.0, "gap", core=np.zeros_like(inner))
    return widen(person, gap)


def _small(instance: Instance, frame: IntBox, scale: float) -> NDArray[np.uint8]:
    """Return the mask in a frame, reduced: uint8 (h, w), 1 where any of it lies."""
    out = np.zeros((frame[3] - frame[1], frame[2] - frame[0]), np.float32)
    x1, y1, x2, y2 = integer_box(instance.box)
    out[y1 - frame[1] : y2 - frame[1], x1 - frame[0] : x2 - frame[0]] = instance.mask
    if scale == 1.0:
        return out.astype(np.uint8)
    size = max(round(out.shape[1] * scale), 1), max(round(out.shape[0] * scale), 1)
    return (cv2.resize(out, size, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)


def _gaps(one: NDArray[np.uint8], two: NDArray[np.uint8], radius: int, *, between: bool) -> Mask:
    """Return what closing the union of two masks adds, and its small holes; between two, only what touches both."""
    union = one | two
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    padded = np.pad(union, radius)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[radius:-radius, radius:-radius] | union
    added = (closed & ~union & 1) | _holes(closed)
    if not between or not added.any():
        return np.asarray(added > 0)
    _, parts = cv2.connectedComponents(added.astype(np.uint8), connectivity=8)
    near = np.ones((3, 3), np.uint8)
    first, second = (np.unique(parts[cv2.dilate(mask, near) > 0]) for mask in (one, two))
    kept = np.intersect1d(first, second)
    return np.asarray(np.isin(parts, kept[kept > 0]))


def _holes(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the small holes of a mask, uint8 (h, w)."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(np.pad(1 - mask, 1, constant_values=1), connectivity=4)
    limit = HOLE * int(mask.sum())
    outside = parts[0, 0]
    small = [n for n in range(1, count) if n != outside and stats[n, cv2.CC_STAT_AREA] <= limit]
    return np.asarray(np.isin(parts[1:-1, 1:-1], small), np.uint8)


def with_feet(person: Instance, size: tuple[int, int]) -> Instance:
    """Return a person whose mask has room for the feet; the outline stays.

    Args:
        person: Anybody; who does not stand upright, or stands beyond the lower border, is returned unchanged.
        size: Picture (height, width).
    """
    x1, y1, x2, y2 = integer_box(person.box)
    width, height = x2 - x1, y2 - y1
    radius = round(REACH * height)
    rows = np.flatnonzero(person.mask.any(axis=1))
    if height < UPRIGHT * width or radius < 1 or not rows.size or y1 + rows[-1] + 1 >= size[0]:
        return person
    bottom = int(rows[-1]) + 1
    top = max(bottom - max(round(BAND * height), 1), 0)
    low = np.pad(person.mask[top:bottom].astype(np.uint8), ((0, radius), (radius, radius)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    grown = cv2.dilate(low, kernel) > 0  # (band, width) -> (band + radius, width + 2 radius)
    frame = x1 - radius, y1 + top, x2 + radius, y1 + bottom + radius
    picture, local = paste_window(frame, size)
    down, across = picture
    box = np.array([across.start, down.start, across.stop, down.stop], np.float32)
    feet = grown[local]
    room = Instance(person.id, "person", box, feet, 0.0, "feet", core=np.zeros_like(feet))
    return widen(person, room)


def narrowed(person: Instance) -> Instance:
    """Return a person who is seen well with a mask that ends soon after what anything shows of them.

    Masks are unions of coarse views; what only such a view holds, as a thin strip along the outline, is background.

    Args:
        person: Any instance; all but persons who are seen well come back unchanged.
    """
    if person.body is None or not seen_well(person):
        return person
    frame = integer_box(person.box)
    x1, y1, x2, y2 = outline_box(person)
    side = float(max(x2 - x1, y2 - y1))
    left, top, right, bottom = person.body.window
    likely = cv2.resize(person.body.mask, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    seen = person.outline.copy()
    inside, local = paste_window((left - frame[0], top - frame[1], right - frame[0], bottom - frame[1]), seen.shape)
    seen[inside] |= likely[local] >= POSSIBLE
    kept = dilate(seen, max(round(BEYOND * side), 1))
    radius = max(int(THICK * side), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # Beyond the frame lies nothing of the mask: its border wears thick parts away as any other.
    thick = cv2.erode((person.mask & ~kept & ~_sketched(person)).astype(np.uint8), kernel, borderValue=0) > 0
    mask = person.mask & (kept | dilate(thick, round(BACK * radius)))
    tight = mask_box(mask | person.outline)
    if tight is None:
        return person
    box = np.array(tight, np.float32) + np.array([frame[0], frame[1], frame[0], frame[1]], np.float32)
    part = slice(tight[1], tight[3]), slice(tight[0], tight[2])
    return replace(person, box=box, mask=(mask | person.outline)[part], core=person.outline[part], views=person.seen)


def _sketched(person: Instance) -> Mask:
    """Return what is in a person's mask for boxes alone: ellipses, bool (h, w); nothing of a person not seen whole."""
    out = np.zeros_like(person.mask)
    if person.body is None or person.body.inside[BODY].min() < WHOLE:
        return out
    x1, y1, *_ = integer_box(person.box)
    for view in person.seen:
        slim = grow(view, -SLIM, 0.0, -SLIM, 0.0)
        left, top, right, bottom = integer_box(slim)
        inside, local = paste_window((left - x1, top - y1, right - x1, bottom - y1), out.shape)
        out[inside] |= ellipse(slim)[local]
    return out
