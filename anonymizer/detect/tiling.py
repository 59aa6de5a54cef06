"""Tiling: a large picture seen whole and in overlapping tiles, so that small objects are found too."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from anonymizer.core.errors import InputError
from anonymizer.core.geometry import IntBox, box_iou, integer_box, mask_iou
from anonymizer.core.records import Detector, Floats, Image, Instance, check_image
from anonymizer.detect.regions import number, overlap, unite

__all__ = ["TiledDetector", "tiles"]

#: A box this close to an inner border of its tile, in pixels, was cut by it.
CUT_MARGIN = 3.0
#: Two views of one object: IoU of their boxes, or at half of that the IoU of their masks.
SAME_BOX = 0.5
#: A cut view belongs to a larger one that covers this share of it.
INSIDE = 0.7
#: Two cut views are pieces of one object if they agree this well (IoU) where both tiles could see it.
SAME_PIECE = 0.6
#: Pictures twice as wide as high and at least this wide are taken for equirectangular panoramas: left meets right.
PANORAMA_WIDTH = 4096
#: Steps per pixel that boxes found in tiles are rounded to; float32 holds them exactly up to 500,000 pixels.
STEPS = 32


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

    What was found in a view is remembered until the next picture, by the view's content: the second pass over a
    picture, of which a redraw changed a part, looks only at that part again. A detector gives the same for the same
    pixels, so nothing is lost by that.

    In equirectangular panoramas (see ``PANORAMA_WIDTH``) tiles across the seam are looked at, too. An object there
    becomes two instances, one at each border. Polar distortion is left as it is.

    Args:
        inner: Detector to run.
        tile: Side of a tile in pixels.
        overlap: Least share of a tile that its neighbour repeats, in [0, 0.9]. Objects smaller than the overlap are
            whole in some tile.
        min_side: Pictures with a long side up to this are only seen whole.
        large_tile: Side of a tile in pixels for pictures from ``large_from`` on, which show things larger. The overlap
            in pixels stays.
        large_from: Pixels from which a picture is large.

    Raises:
        InputError: ``tile`` below 32, ``large_tile`` below ``tile``, or ``overlap`` out of range.
    """

    def __init__(
        self,
        inner: Detector,
        tile: int = 960,
        overlap: float = 0.25,
        min_side: int = 1280,
        large_tile: int = 1536,
        large_from: int = 24_000_000,
    ) -> None:
        if tile < 32 or large_tile < tile:
            raise InputError(f"tile, large_tile: expected at least 32 and no less than that, got {tile}, {large_tile}")
        if not 0.0 <= overlap <= 0.9:
            raise InputError(f"overlap: expected a share in [0, 0.9], got {overlap}")
        self._inner = inner
        self._tile = tile
        self._overlap = overlap
        self._min_side = min_side
        self._large_tile = large_tile
        self._large_from = large_from
        self._known: dict[bytes, tuple[Instance, ...]] = {}

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return instances in RGB uint8 (H, W, 3), whole views first, then best first.

        Raises:
            InputError: The picture has another shape or dtype.
        """
        check_image(image)
        size = image.shape[0], image.shape[1]
        whole = (0, 0, size[1], size[0])
        seen: dict[bytes, tuple[Instance, ...]] = {}
        views = [_View(instance, whole, False) for instance in self._look(image, seen)]
        if max(size) > self._min_side:
            side, share = self._tiling(size)
            for tile in tiles(size, side, share):
                if tile == whole:
                    continue
                x1, y1, x2, y2 = tile
                views += _moved(self._look(image[y1:y2, x1:x2], seen), tile, size)
            if size[1] >= PANORAMA_WIDTH and size[1] == 2 * size[0]:
                views += self._seam(image, side, share, seen)
        # Only what this picture shows is kept: the next pass over it asks for most of it again.
        self._known = seen
        return number(_merge(views))

    def _tiling(self, size: tuple[int, int]) -> tuple[int, float]:
        """Return the side of a tile and the share that its neighbour repeats."""
        if size[0] * size[1] < self._large_from:
            return self._tile, self._overlap
        return self._large_tile, self._overlap * self._tile / self._large_tile

    def _look(self, view: Image, seen: dict[bytes, tuple[Instance, ...]]) -> tuple[Instance, ...]:
        """Return what the detector finds in a view, from memory if its content was looked at before."""
        digest = hashlib.blake2b(np.ascontiguousarray(view).data, digest_size=32)
        digest.update(repr(view.shape).encode())
        key = digest.digest()
        if key not in seen:
            seen[key] = self._known[key] if key in self._known else self._inner.detect(view)
        return seen[key]

    def _seam(self, image: Image, side: int, share: float, seen: dict[bytes, tuple[Instance, ...]]) -> Iterator[_View]:
        """Yield what tiles show that lie across the left and right border of a panorama."""
        height, width = image.shape[:2]
        half = side // 2
        for _, y1, _, y2 in tiles((height, side), side, share):
            joined = np.concatenate([image[y1:y2, width - half :], image[y1:y2, :half]], axis=1)
            left, right = (width - half, y1, width, y2), (0, y1, half, y2)
            for instance in self._look(joined, seen):
                for part, tile, offset in (
                    (_part(instance, 0, half), left, width - half),
                    (_part(instance, half, 2 * half), right, -half),
                ):
                    if part is not None:
                        moved = _shift(part, offset, y1)
                        yield _View(moved, tile, _is_cut(moved.box, tile, (height, width)))


def _moved(found: tuple[Instance, ...], tile: IntBox, size: tuple[int, int]) -> Iterator[_View]:
    for instance in found:
        moved = _shift(instance, tile[0], tile[1])
        yield _View(moved, tile, _is_cut(moved.box, tile, size))


def _part(instance: Instance, low: int, high: int) -> Instance | None:
    """Return what of an instance lies in columns ``low`` to ``high`` (exclusive), None if nothing does."""
    x1, y1, x2, y2 = (float(v) for v in instance.box)
    if x1 >= low and x2 <= high:
        return instance
    box = np.array([max(x1, low), y1, min(x2, high), y2], np.float32)
    if box[2] <= box[0]:
        return None
    left = integer_box(instance.box)[0]
    start, _, stop, _ = integer_box(box)
    columns = slice(start - left, stop - left)
    mask = instance.mask[:, columns]
    core = None if instance.core is None or not mask.any() else instance.core[:, columns]
    # The box of a thin piece stays whole where its mask is empty: an empty mask would release what was found.
    mask = mask if mask.any() else np.ones_like(mask)
    views = np.clip(instance.seen, box[[0, 1, 0, 1]], box[[2, 3, 2, 3]])
    return replace(instance, box=box, mask=mask, core=core, landmarks=None, views=views)


def _shift(instance: Instance, x: int, y: int) -> Instance:
    offset = np.array([x, y, x, y], dtype=np.float32)
    # Far from the corner float32 has no room for fine fractions, and rounding would change the mask's frame. Widened to
    # steps that it has room for, the box keeps its frame.
    low, high = np.floor(instance.box[:2] * STEPS) / STEPS, np.ceil(instance.box[2:] * STEPS) / STEPS
    box = np.concatenate([low, high]) + offset
    landmarks = None if instance.landmarks is None else instance.landmarks + np.array([x, y], dtype=np.float32)
    return replace(instance, box=box, views=instance.seen + offset, landmarks=landmarks)


def _is_cut(box: Floats, tile: IntBox, size: tuple[int, int]) -> bool:
    """Return whether a box touches a border of its tile that is not the picture's border."""
    height, width = size
    gaps = (box[0] - tile[0], box[1] - tile[1], tile[2] - box[2], tile[3] - box[3])
    inner = (tile[0] > 0, tile[1] > 0, tile[2] < width, tile[3] < height)
    return any(here and gap <= CUT_MARGIN for here, gap in zip(inner, gaps, strict=True))


def _merge(views: list[_View]) -> list[Instance]:
    """Unite views of the same object; whole ones lead, so that pieces join them."""
    kept: list[_View] = []
    boxes = np.empty((len(views), 4), np.float32)
    labels = np.empty(len(views), object)
    for view in sorted(views, key=lambda v: (v.cut, -v.instance.score)):
        shared = overlap(view.instance.box, boxes[: len(kept)])
        near = np.flatnonzero((shared > 0) & (labels[: len(kept)] == view.instance.label))
        nearest = near[np.argsort(-shared[near], kind="stable")]
        match = next((i for i in nearest if _is_same(kept[i], view)), None)
        if match is None:
            boxes[len(kept)], labels[len(kept)] = view.instance.box, view.instance.label
            kept.append(view)
            continue
        other = kept[match]
        seen = tuple(pick(a, b) for pick, a, b in zip((min, min, max, max), other.seen, view.seen, strict=True))
        x1, y1, x2, y2 = seen
        kept[match] = _View(unite((other.instance, view.instance)), (x1, y1, x2, y2), other.cut and view.cut)
        boxes[match] = kept[match].instance.box
    return [view.instance for view in kept]


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
