"""Looking at a large picture whole and in overlapping tiles, so that small objects are found too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from anonymizer.detect.regions import number, overlap, unite
from anonymizer.errors import InputError
from anonymizer.geometry import IntBox, box_iou, mask_iou
from anonymizer.types import Detector, Floats, Image, Instance, check_image

__all__ = ["TiledDetector", "tiles"]

#: A box this close to an inner border of its tile, in pixels, was cut by it.
CUT_MARGIN = 3.0
#: Two views of one object: IoU of their boxes, or at half of that the IoU of their masks.
SAME_BOX = 0.5
#: A cut view belongs to a larger one that covers this share of it.
INSIDE = 0.7
#: Two cut views are pieces of one object if they agree this well (IoU) where both tiles could see it.
SAME_PIECE = 0.6


@dataclass(frozen=True, slots=True)
class _View:
    instance: Instance
    seen: IntBox
    cut: bool


def tiles(size: tuple[int, int], tile: int, overlap_share: float) -> Iterator[IntBox]:
    """Yield the fewest evenly spread square tiles that cover a picture, row by row.

    Args:
        size: Picture (height, width).
        tile: Side of a tile in pixels; tiles never reach beyond the picture.
        overlap_share: Least share of a tile that its neighbour repeats, in [0, 0.9].

    Yields:
        Integer xyxy.
    """

    def starts(length: int) -> list[int]:
        if length <= tile:
            return [0]
        steps = int(np.ceil((length - tile) / max(tile * (1 - overlap_share), 1)))
        return [round(i * (length - tile) / steps) for i in range(steps + 1)]

    height, width = size
    for y in starts(height):
        for x in starts(width):
            yield x, y, min(x + tile, width), min(y + tile, height)


class TiledDetector:
    """Runs a detector on the whole picture and, if it is large, on overlapping tiles, and unites what they find.

    Views of one object are united: their boxes or masks agree, or one was cut by its tile's border and lies inside
    another, or two cut ones agree in the strip that both tiles show. Tiles are views into the picture and masks are
    held in their boxes, so memory beyond the picture is that of one tile.

    Args:
        inner: Detector to run.
        tile: Side of a tile in pixels.
        overlap: Least share of a tile that its neighbour repeats, in [0, 0.9]. Objects smaller than the overlap are
            whole in some tile.
        min_side: Pictures with a long side up to this are only seen whole.

    Raises:
        InputError: ``tile`` below 32 or ``overlap`` out of range.
    """

    def __init__(self, inner: Detector, tile: int = 960, overlap: float = 0.25, min_side: int = 1280) -> None:
        if tile < 32:
            raise InputError(f"tile: expected at least 32 pixels, got {tile}")
        if not 0.0 <= overlap <= 0.9:
            raise InputError(f"overlap: expected a share in [0, 0.9], got {overlap}")
        self._inner = inner
        self._tile = tile
        self._overlap = overlap
        self._min_side = min_side

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return instances in RGB uint8 (H, W, 3), whole views first, then best first.

        Raises:
            InputError: The picture has another shape or dtype.
        """
        check_image(image)
        size = image.shape[0], image.shape[1]
        whole = (0, 0, size[1], size[0])
        views = [_View(instance, whole, False) for instance in self._inner.detect(image)]
        if max(size) > self._min_side:
            for tile in tiles(size, self._tile, self._overlap):
                if tile == whole:
                    continue
                x1, y1, x2, y2 = tile
                for instance in self._inner.detect(image[y1:y2, x1:x2]):
                    moved = _shift(instance, x1, y1)
                    views.append(_View(moved, tile, _is_cut(moved.box, tile, size)))
        return number(_merge(views))


def _shift(instance: Instance, x: int, y: int) -> Instance:
    box = instance.box + np.array([x, y, x, y], dtype=np.float32)
    landmarks = None if instance.landmarks is None else instance.landmarks + np.array([x, y], dtype=np.float32)
    return replace(instance, box=box, landmarks=landmarks)


def _is_cut(box: Floats, tile: IntBox, size: tuple[int, int]) -> bool:
    """Return whether a box touches a border of its tile that is not the picture's border."""
    height, width = size
    gaps = (box[0] - tile[0], box[1] - tile[1], tile[2] - box[2], tile[3] - box[3])
    inner = (tile[0] > 0, tile[1] > 0, tile[2] < width, tile[3] < height)
    return any(here and gap <= CUT_MARGIN for here, gap in zip(inner, gaps, strict=True))


def _merge(views: list[_View]) -> list[Instance]:
    """Unite views of the same object; whole ones lead, so that pieces join them."""
    kept: list[_View] = []
    for view in sorted(views, key=lambda v: (v.cut, -v.instance.score)):
        same = [i for i, other in enumerate(kept) if other.instance.label == view.instance.label]
        match = None
        if same:
            boxes = np.stack([kept[i].instance.box for i in same])
            match = next((i for i in _nearest(view.instance.box, boxes, same) if _is_same(kept[i], view)), None)
        if match is None:
            kept.append(view)
            continue
        other = kept[match]
        seen = tuple(pick(a, b) for pick, a, b in zip((min, min, max, max), other.seen, view.seen, strict=True))
        x1, y1, x2, y2 = seen
        kept[match] = _View(unite((other.instance, view.instance)), (x1, y1, x2, y2), other.cut and view.cut)
    return [view.instance for view in kept]


def _nearest(box: Floats, boxes: Floats, indices: list[int]) -> list[int]:
    """Return the indices whose boxes meet the box, largest shared area first."""
    shared = overlap(box, boxes)
    return [indices[i] for i in np.argsort(-shared, kind="stable") if shared[i] > 0]


def _is_same(kept: _View, view: _View) -> bool:
    a, b = kept.instance, view.instance
    iou = float(box_iou(a.box, b.box)[0, 0])
    if iou >= SAME_BOX or (iou >= SAME_BOX / 2 and mask_iou(a, b) >= SAME_BOX):
        return True
    if not view.cut:
        return False
    area = float(np.prod(b.box[2:] - b.box[:2]))
    if float(overlap(b.box, a.box[None])[0]) >= INSIDE * area:
        return True
    if not kept.cut:
        return False
    low, high = np.maximum(kept.seen[:2], view.seen[:2]), np.minimum(kept.seen[2:], view.seen[2:])
    strip = np.concatenate([low, high, low, high]).astype(np.float32)
    pieces = [np.clip(box, strip[[0, 1, 0, 1]], strip[[2, 3, 2, 3]]) for box in (a.box, b.box)]
    return float(box_iou(pieces[0], pieces[1])[0, 0]) >= SAME_PIECE
