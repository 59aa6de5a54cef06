"""Instances from the geometry of COCO-like records; what is odd is mended or left out, with a note."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anonymizer.annotations.records import Record, agrees
from anonymizer.annotations.rle import decode_rle
from anonymizer.core.errors import InputError
from anonymizer.core.geometry import IntBox, clip_box, integer_box
from anonymizer.core.records import Instance

__all__ = ["filled", "instance_from"]

#: Pixels by which a box or polygon may leave the picture without a note, as rounded annotations do.
TOLERANCE = 2.0
#: Largest coordinate in pixels that is taken for one; far above any picture.
_FARTHEST = 1e7

Edges = tuple[float, float, float, float]
Part = tuple[IntBox, NDArray[np.bool_]]


def instance_from(
    number: int, label: str, record: Record, size: tuple[int, int]
) -> tuple[Instance | None, tuple[str, ...]]:
    """Return the instance that a COCO-like record describes, None if its geometry cannot be used, and notes.

    A box without segmentation stands for the whole box, of a face for the ellipse in it. Where a segmentation reaches
    beyond its box, the box grows: no annotated pixel is left out. Both are cut at the picture's border.

    Args:
        number: Its id within the picture.
        label: Its class.
        record: ``bbox`` (x, y, width, height) or ``segmentation``, or both; it is carried along.
        size: Picture (height, width).

    Raises:
        InputError: Run lengths of a picture of another size: where its regions are cannot be told.
    """
    notes: list[str] = []
    box = _box(record.get("bbox"), size, notes)
    cut = _segmentation(record.get("segmentation"), size, notes)
    # Files that this package wrote say where more than the object itself was treated; others may mean something else.
    treated = record.get("treated")
    runs = isinstance(treated, dict) and {"size", "counts"} <= treated.keys()
    wide = _segmentation(treated, size, notes) if runs else None
    core = None
    if cut is None and box is not None:
        x1, y1, x2, y2 = integer_box(box)
        mask = _ellipse((y2 - y1, x2 - x1)) if label == "face" else np.ones((y2 - y1, x2 - x1), dtype=bool)
    elif cut is not None:
        edges = np.array([part[0] for part in (cut, wide) if part is not None], dtype=np.float32)
        edges = edges if box is None else np.concatenate([edges, box[None]])
        box = np.concatenate([edges[:, :2].min(axis=0), edges[:, 2:].max(axis=0)])
        mask = _framed(cut, integer_box(box))
        if wide is not None:
            core, mask = mask, mask | _framed(wide, integer_box(box))
    else:
        found = "; ".join(notes) or ("keypoints only" if record.get("keypoints") else "neither box nor outline")
        return None, (f"{found}, left out",)
    consent = agrees(record)
    if consent and record.get("iscrowd"):
        notes.append("consent of several people at once, not followed")
        consent = False
    made = Instance(number, label, box, mask, score=1.0, source="given", record=record, core=core, consent=consent)
    return made, tuple(notes)


def _box(box: object, size: tuple[int, int], notes: list[str]) -> NDArray[np.float32] | None:
    """Return a box as float32 (4,) xyxy inside the picture, None if there is none of use."""
    if box is None or box == []:
        return None
    if not isinstance(box, list) or len(box) != 4 or not all(_finite(value) for value in box):
        notes.append("box that is not four finite numbers")
        return None
    x, y, width, height = (float(value) for value in box)
    if width == 0 or height == 0:
        notes.append("box without area")
        return None
    if width < 0 or height < 0:
        notes.append("box with swapped corners, put right")
    x1, x2 = sorted((x, x + width))
    y1, y2 = sorted((y, y + height))
    cut = clip_box(np.array([x1, y1, x2, y2], dtype=np.float32), size)
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        notes.append("box outside of the picture")
        return None
    if _leaves((x1, y1, x2, y2), size):
        notes.append("box cut at the picture's border")
    return cut


def _leaves(edges: Edges, size: tuple[int, int]) -> bool:
    x1, y1, x2, y2 = edges
    return min(x1, y1) < -TOLERANCE or x2 > size[1] + TOLERANCE or y2 > size[0] + TOLERANCE


def _segmentation(segmentation: object, size: tuple[int, int], notes: list[str]) -> Part | None:
    """Return tight box and mask of a COCO segmentation, None if there is none of use."""
    if segmentation is None or segmentation in ([], {}, [[]]):
        return None
    if isinstance(segmentation, dict):
        stated = segmentation.get("size")
        if isinstance(stated, list) and len(stated) == 2 and all(map(_finite, stated)) and tuple(stated) != size:
            raise InputError(
                f"run lengths of a picture of {stated[1]:g}x{stated[0]:g}, this one is {size[1]}x{size[0]} upright; "
                "annotate the picture as it is shown"
            )
        try:
            part = decode_rle(segmentation, size, "segmentation")
        except InputError:
            notes.append("run lengths that do not fit the picture")
            return None
        if part is None:
            notes.append("outline without a pixel")
        return part
    if not isinstance(segmentation, list):
        notes.append("outline that is neither polygons nor run lengths")
        return None
    flat = all(isinstance(value, int | float) for value in segmentation)
    listed = [segmentation] if flat else segmentation
    whole = [points for item in listed if (points := _points(item, notes)) is not None]
    polygons = [cut for points in whole if len(cut := _clipped(points, size)) >= 3]
    if not polygons:
        if whole:
            notes.append("outline outside of the picture")
        return None
    outer = np.concatenate(whole)
    if _leaves((*outer.min(axis=0), *outer.max(axis=0)), size):
        notes.append("outline cut at the picture's border")
    part = filled(polygons, size)
    if part is None:
        notes.append("outline without a pixel")
    return part


def _points(polygon: object, notes: list[str]) -> NDArray[np.float64] | None:
    """Return a polygon's points, float64 (N, 2) x, y with N ≥ 3, None if it is no polygon."""
    if not isinstance(polygon, list) or not all(_finite(value) for value in polygon):
        notes.append("polygon with points that are no finite numbers")
        return None
    if len(polygon) % 2 or len(polygon) < 6:
        notes.append("polygon with fewer than 3 points" if len(polygon) < 6 else "polygon with half a point")
        return None
    return np.asarray(polygon, dtype=np.float64).reshape(-1, 2)


def _clipped(points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the part of a polygon inside a picture of (height, width), maybe without points.

    Source: Sutherland and Hodgman, Reentrant polygon clipping, 1974.
    """
    height, width = size
    for axis, limit, sign in ((0, 0.0, 1), (0, float(width), -1), (1, 0.0, 1), (1, float(height), -1)):
        if not len(points):
            break
        inside = sign * (points[:, axis] - limit)
        if (inside >= 0).all():
            continue
        out: list[NDArray[np.float64]] = []
        for at in range(len(points)):
            a, b = inside[at - 1], inside[at]
            if (a < 0) != (b < 0):
                out.append(points[at - 1] + (points[at] - points[at - 1]) * (a / (a - b)))
            if b >= 0:
                out.append(points[at])
        points = np.array(out, dtype=np.float64).reshape(-1, 2)
    return points


def filled(polygons: list[NDArray[np.float64]], size: tuple[int, int]) -> Part | None:
    """Return tight box and mask of polygons inside the picture, None if they cover no pixel."""
    from pycocotools import mask as coco

    whole = np.concatenate(polygons)
    outer = np.concatenate([whole.min(axis=0), whole.max(axis=0)]).astype(np.float32)
    frame = integer_box(clip_box(outer, size))
    height, width = frame[3] - frame[1], frame[2] - frame[0]
    if height < 1 or width < 1:
        return None
    # COCO's own rasteriser decides which pixels a polygon covers; what it makes is read by our own decoder.
    shifted = [(points - frame[:2]).ravel().tolist() for points in polygons]
    runs: dict[str, Any] = coco.merge(coco.frPyObjects(shifted, height, width))
    cut = decode_rle({"size": [height, width], "counts": runs["counts"].decode("ascii")}, (height, width), "polygons")
    if cut is None:
        return None
    (x1, y1, x2, y2), mask = cut
    return (x1 + frame[0], y1 + frame[1], x2 + frame[0], y2 + frame[1]), mask


def _framed(part: Part, frame: IntBox) -> NDArray[np.bool_]:
    """Return a mask with its tight box as bool (h, w) in the frame of a box around it."""
    (x1, y1, x2, y2), inner = part
    out = np.zeros((frame[3] - frame[1], frame[2] - frame[0]), dtype=bool)
    out[y1 - frame[1] : y2 - frame[1], x1 - frame[0] : x2 - frame[0]] = inner
    return out


def _ellipse(shape: tuple[int, int]) -> NDArray[np.bool_]:
    height, width = shape
    rows = (np.arange(height) + 0.5) / height * 2 - 1
    columns = (np.arange(width) + 0.5) / width * 2 - 1
    return rows[:, None] ** 2 + columns[None] ** 2 <= 1.0


def _finite(value: object) -> bool:
    # Whole numbers of any length can be compared, but not all of them become floats; NaN compares as false.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _FARTHEST
