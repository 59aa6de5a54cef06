"""Gaps in and between persons' masks, where a strip of jacket, an ear or a hand would keep its pixels."""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import IntBox, integer_box
from anonymizer.core.records import Instance, Mask
from anonymizer.detect.regions import widen

__all__ = ["without_gaps"]

#: Half the width of gaps that are closed within one mask and between two, as shares of the (smaller) longer side.
WITHIN, BETWEEN = 0.012, 0.045
#: Share of both masks up to which a hole that they enclose is filled.
HOLE = 0.03
#: Longer side in pixels at which gaps are looked for.
WORK_SIDE = 256


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
