"""Training batches for the detector: scenes put together from labelled pictures, changed in size, light and quality.

Labels come from ``complete_labels.py``. What is unknown is not taught: every picture carries regions per class in
which finding something costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch.utils.data import Dataset

CLASSES = ("person", "face", "license_plate", "head")
#: How often a picture of each pack is drawn, relative to others. CamVid's are neighbours in a video; CCP is one kind.
SHARES = {
    "facemask": 1.5,
    "humanseg": 1.2,
    "pedstreet": 1.0,
    "coco100": 2.0,
    "coco256": 2.0,
    "pennfudan": 2.0,
    "camvid": 0.7,
    "ccp": 0.35,
    "openalpr": 0.9,
    "plates_br": 1.3,
    "plates_ro": 1.3,
    "plates_eg": 1.3,
    "plates_mix": 1.8,
    "portraits": 1.0,
    "lfw": 0.25,
    "made": 0.6,
}
#: Shares of mosaics and of zoom-ins; the rest are single pictures.
MOSAIC, ZOOM = 0.45, 0.2
#: Range of the size of a single picture, and of one in a mosaic, relative to the canvas.
SINGLE, PART = (0.3, 2.0), (0.35, 1.4)
#: Share of an object that must stay visible for it to be taught; less is a region that costs nothing.
VISIBLE = {"person": 0.12, "face": 0.5, "license_plate": 0.5, "head": 0.5}
#: Least side in pixels of the canvas: height, of plates width.
SMALLEST = {"person": 10, "face": 6, "license_plate": 7, "head": 7}
#: Long side in pixels beyond which pictures are kept smaller in memory, and by how much one is enlarged at most.
KEPT, ENLARGED = 800, 4.0
#: Grey around pictures, as in the product's letterbox.
GREY = 114
STRIDES = (8, 16, 32)


@dataclass(slots=True)
class Item:
    """One object: class, box xyxy (float64), and its mask inside the box's integer frame, if there is one."""

    name: str
    box: np.ndarray
    mask: np.ndarray | None = None


@dataclass(slots=True)
class Source:
    """One training picture: JPEG-decoded pixels RGB uint8, objects, and regions (class, box) that are unknown."""

    image: np.ndarray
    items: list[Item]
    ignore: list[tuple[str, np.ndarray]]
    share: float


@dataclass(slots=True)
class Canvas:
    """A picture in the making; masks are at a quarter of its resolution."""

    image: np.ndarray
    items: list[Item] = field(default_factory=list)
    ignore: list[tuple[str, np.ndarray]] = field(default_factory=list)


def load(labels: Path, data: Path, pictures: int = 0) -> list[Source]:
    """Read the training pictures into memory, all of them or so many, evenly spread over the packs."""
    # The process that draws scenes is forked from this one, and OpenCV's threads would not be there.
    cv2.setNumThreads(1)
    sources = []
    rows = json.loads(labels.read_text())
    if pictures:
        rows = [rows[n] for n in np.linspace(0, len(rows) - 1, pictures).astype(int)]
    for row in rows:
        folder = labels.parent / "made" if row["pack"] == "made" else data / row["pack"] / "images"
        bgr = cv2.imread(str(folder / row["file"]), cv2.IMREAD_COLOR)
        if bgr is None:
            raise FileNotFoundError(folder / row["file"])
        image = np.ascontiguousarray(bgr[..., ::-1])
        shrink = min(1.0, KEPT / max(image.shape[:2]))
        if shrink < 1:
            image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        # Pictures packed for another machine are smaller than their labels say.
        scale = image.shape[1] / row["size"][0]
        items = []
        for label in row["labels"]:
            box = np.array(label["box"], np.float64)
            mask = None
            if label.get("rle"):
                whole = coco_mask.decode(label["rle"])
                x1, y1 = np.floor(box[:2]).astype(int).clip(0)
                x2, y2 = np.ceil(box[2:]).astype(int)
                mask = np.ascontiguousarray(whole[y1:y2, x1:x2])
                if scale < 1:
                    mask = cv2.resize(mask, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                if not mask.any():
                    continue
            items.append(Item(label["name"], box * scale, mask))
        ignore = [(name, np.array(box, np.float64) * scale) for name, box in row["ignore"]]
        sources.append(Source(image, items, ignore, SHARES[row["pack"]]))
    return sources


def put(canvas: Canvas, source: Source, matrix: np.ndarray, window: Sequence[int]) -> None:
    """Draw a picture into a window (x1, y1, x2, y2) of the canvas.

    Args:
        canvas: Changed in place.
        source: The picture.
        matrix: float64 (2, 3), scale (negative along x: mirrored) and shift from the picture to the canvas.
        window: What of the canvas it may cover.
    """
    x1, y1, x2, y2 = window
    scale = matrix[1, 1]
    image, shrunk = source.image, 1.0
    if scale < 0.7:
        # Warping alone would alias.
        image, shrunk = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), scale
    local = matrix.copy()
    local[:, :2] /= shrunk
    local[:, 2] += 0.5 * local[:, :2].sum(axis=1) - 0.5 - [x1, y1]
    part = cv2.warpAffine(image, local, (x2 - x1, y2 - y1), flags=cv2.INTER_LINEAR, borderValue=(GREY, GREY, GREY))
    canvas.image[y1:y2, x1:x2] = part
    size = canvas.image.shape[0]
    for name, box in source.ignore:
        moved = _moved(box, matrix).clip([x1, y1] * 2, [x2, y2] * 2)
        if (moved[2:] > moved[:2]).all():
            canvas.ignore.append((name, moved))
    for item in source.items:
        whole = _moved(item.box, matrix)
        box = whole.clip([x1, y1] * 2, [x2, y2] * 2)
        if (box[2:] - box[:2] < 1).any():
            continue
        mask = None
        visible = np.prod(box[2:] - box[:2]) / np.prod(whole[2:] - whole[:2])
        if item.mask is not None:
            mask, visible, box = _masked(item, matrix, window, size, box)
        canvas.items.append(Item(item.name, box, mask))
        _settle(canvas, visible)


def _masked(
    item: Item, matrix: np.ndarray, window: Sequence[int], size: int, box: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray]:
    """Return an item's mask at a quarter of the canvas, the share of it that shows, and the box around that."""
    assert item.mask is not None
    corner = np.floor(item.box[:2]).clip(0)
    quarter = matrix / 4
    mask = item.mask.astype(np.float32)
    shrink = min(1.0, abs(quarter[1, 1]) * 2)
    if shrink < 0.7:
        mask = cv2.resize(mask, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    times = np.array([item.mask.shape[1] / mask.shape[1], item.mask.shape[0] / mask.shape[0]])
    local = quarter.copy()
    local[:, 2] += quarter[:, :2] @ (corner + 0.5 * times) - 0.5
    local[:, :2] = quarter[:, :2] * times
    small = cv2.warpAffine(mask, local, (size // 4, size // 4), flags=cv2.INTER_LINEAR) >= 0.5
    x1, y1, x2, y2 = window
    keep = np.zeros_like(small)
    keep[y1 // 4 : -(-y2 // 4), x1 // 4 : -(-x2 // 4)] = True
    whole = item.mask.sum() * abs(matrix[0, 0] * matrix[1, 1]) / 16
    small &= keep
    return small, float(small.sum() / max(whole, 1.0)), _tight(small, box)


def _tight(mask: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return a box drawn in to a mask at a quarter of its resolution where the mask ends well within it."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return box
    low, high = np.array([columns[0], rows[0]]) * 4.0, np.array([columns[-1] + 1, rows[-1] + 1]) * 4.0
    # A cell of the mask is four pixels: within that, the box is the better of the two.
    return np.concatenate([np.where(low - box[:2] > 4, low, box[:2]), np.where(box[2:] - high > 4, high, box[2:])])


def _settle(canvas: Canvas, visible: float) -> None:
    """Turn the last item into an unknown region if too little of it shows."""
    item = canvas.items[-1]
    extent = item.box[2:] - item.box[:2]
    least = extent[0] if item.name == "license_plate" else extent[1]
    if visible < VISIBLE[item.name] or least < SMALLEST[item.name] or extent.min() < 3:
        canvas.items.pop()
        canvas.ignore.append((item.name, item.box))


def _moved(box: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return a box under a scale and shift, corners in order."""
    ends = box.reshape(2, 2) * [matrix[0, 0], matrix[1, 1]] + matrix[:, 2]
    return np.concatenate([ends.min(axis=0), ends.max(axis=0)])


def _matrix(source: Source, scale: float, at: np.ndarray, on: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the matrix that takes the point ``at`` of a picture to ``on``, half of the time mirrored."""
    turn = -1.0 if rng.random() < 0.5 else 1.0
    stretch = np.exp(rng.uniform(-0.12, 0.12))
    scales = np.array([turn * scale * stretch, scale])
    return np.array([[scales[0], 0, on[0] - scales[0] * at[0]], [0, scales[1], on[1] - scales[1] * at[1]]])


def _shown(source: Source, matrix: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Shift a matrix so that a picture fills its window as far as it is large enough."""
    height, width = source.image.shape[:2]
    low, _, high, _ = _moved(np.array([0, 0, width, 1.0]), matrix)
    _, top, _, bottom = _moved(np.array([0, 0, 1.0, height]), matrix)
    for axis, (a, b) in enumerate(((low, high), (top, bottom))):
        start, stop = window[axis], window[axis + 2]
        if b - a >= stop - start:
            matrix[axis, 2] += min(start - a, 0) + max(stop - b, 0)
        else:
            matrix[axis, 2] += max(start - a, 0) + min(stop - b, 0)
    return matrix


class Scenes:
    """Draws scenes from sources, reproducibly by number."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        shares = np.array([source.share for source in sources])
        self._shares = shares / shares.sum()
        self._near = [
            n
            for n, source in enumerate(sources)
            if any(item.name == "person" and item.box[3] - item.box[1] >= 110 for item in source.items)
        ]
        near = self._shares[self._near]
        self._near_shares = near / near.sum()

    def draw(self, size: int, rng: np.random.Generator) -> Canvas:
        """Return one scene of ``size`` by ``size`` pixels."""
        canvas = Canvas(np.full((size, size, 3), GREY, np.uint8))
        kind = rng.random()
        if kind < MOSAIC:
            self._mosaic(canvas, size, rng)
        elif kind < MOSAIC + ZOOM:
            self._zoom(canvas, size, rng)
        else:
            self._single(canvas, size, rng)
        if rng.random() < 0.25:
            self._occlude(canvas, size, rng)
        canvas.image = spoil(canvas.image, rng)
        return canvas

    def _any(self, rng: np.random.Generator) -> Source:
        return self._sources[int(rng.choice(len(self._sources), p=self._shares))]

    def _single(self, canvas: Canvas, size: int, rng: np.random.Generator) -> None:
        source = self._any(rng)
        self._place(canvas, source, SINGLE, np.array([0, 0, size, size]), size, rng)

    def _mosaic(self, canvas: Canvas, size: int, rng: np.random.Generator) -> None:
        # On multiples of 4, so that masks at a quarter of the resolution end where their windows do.
        x, y = (int(v) // 4 * 4 for v in rng.uniform(0.3, 0.7, 2) * size)
        for window in ((0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size)):
            self._place(canvas, self._any(rng), PART, np.array(window), size, rng)

    def _place(
        self,
        canvas: Canvas,
        source: Source,
        sizes: tuple[float, float],
        window: np.ndarray,
        size: int,
        rng: np.random.Generator,
    ) -> None:
        height, width = source.image.shape[:2]
        scale = size / max(height, width) * np.exp(rng.uniform(*np.log(sizes)))
        at = rng.uniform(0, 1, 2) * [width, height]
        if source.items and rng.random() < 0.75:
            item = source.items[int(rng.integers(len(source.items)))]
            at = (item.box[:2] + item.box[2:]) / 2
        on = window[:2] + rng.uniform(0.1, 0.9, 2) * (window[2:] - window[:2])
        matrix = _shown(source, _matrix(source, min(scale, ENLARGED), at, on, rng), window)
        put(canvas, source, matrix, [int(v) for v in window])

    def _zoom(self, canvas: Canvas, size: int, rng: np.random.Generator) -> None:
        """Show the upper part of a person, from head alone to hips, from whatever side it is seen."""
        source = self._sources[int(self._near[int(rng.choice(len(self._near), p=self._near_shares))])]
        tall = [i for i in source.items if i.name == "person" and i.box[3] - i.box[1] >= 110]
        x1, y1, x2, y2 = tall[int(rng.integers(len(tall)))].box
        height = (y2 - y1) * np.exp(rng.uniform(np.log(0.14), np.log(0.7)))
        room = height * rng.uniform(1.1, 1.9)
        scale = min(size / room, ENLARGED)
        at = np.array([(x1 + x2) / 2 + room * rng.uniform(-0.2, 0.2), y1 + height / 2])
        on = np.array([0.5, rng.uniform(0.4, 0.65)]) * size
        window = np.array([0, 0, size, size])
        put(canvas, source, _shown(source, _matrix(source, scale, at, on, rng), window), (0, 0, size, size))

    def _occlude(self, canvas: Canvas, size: int, rng: np.random.Generator) -> None:
        """Lay pieces of other pictures over the scene, rectangles or ellipses."""
        for _ in range(int(rng.integers(1, 4))):
            width, height = (int(v) for v in rng.uniform(0.05, 0.35, 2) * size)
            left, top = int(rng.integers(0, size - width)), int(rng.integers(0, size - height))
            other = self._any(rng).image
            if other.shape[0] <= height or other.shape[1] <= width:
                continue
            y, x = int(rng.integers(other.shape[0] - height)), int(rng.integers(other.shape[1] - width))
            shape = np.zeros((size, size), np.uint8)
            if rng.random() < 0.5:
                shape[top : top + height, left : left + width] = 1
            else:
                centre = left + width // 2, top + height // 2
                cv2.ellipse(shape, centre, (width // 2, height // 2), 0, 0, 360, 1, -1)
            part = (slice(top, top + height), slice(left, left + width))
            inside = shape[part] > 0
            canvas.image[part][inside] = other[y : y + height, x : x + width][inside]
            small = cv2.resize(shape, (size // 4, size // 4), interpolation=cv2.INTER_AREA) > 0
            items, canvas.items = canvas.items, []
            for item in items:
                a, b, c, d = (int(v) for v in item.box)
                visible = 1.0 - float(shape[b : d + 1, a : c + 1].mean())
                if item.mask is not None and visible < 1:
                    before = item.mask.sum()
                    item.mask = item.mask & ~small
                    visible = float(item.mask.sum() / max(before, 1))
                    item.box = _tight(item.mask, item.box)
                canvas.items.append(item)
                # Of a person without a mask nobody knows what an occluder leaves.
                _settle(canvas, visible if item.mask is not None or visible > 0.6 else 0.0)


def spoil(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a picture in other light and of worse quality."""
    if rng.random() < 0.5:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hue = (np.arange(256) + rng.uniform(-5, 5)) % 180
        steps = np.arange(256)
        saturation = np.clip(steps * rng.uniform(0.4, 1.5), 0, 255)
        table = np.stack([hue, saturation, steps], axis=1).astype(np.uint8)[None]
        image = cv2.cvtColor(cv2.LUT(hsv, table), cv2.COLOR_HSV2RGB)
    steps = np.arange(256) / 255
    curve = steps ** np.exp(rng.normal(0, 0.3)) * np.exp(rng.normal(0, 0.15)) + rng.normal(0, 0.04)
    tint = np.ones(3)
    night = rng.random() < 0.08
    if night:
        curve = curve.clip(0, 1) ** rng.uniform(1.1, 1.8) * rng.uniform(0.25, 0.6)
        tint = np.array([1.0, rng.uniform(0.78, 1.0), rng.uniform(0.5, 1.05)])
    table = np.clip(np.rint(curve[:, None] * tint * 255), 0, 255).astype(np.uint8)[None]
    image = cv2.LUT(image, table)
    if night:
        image = _lamps(image, rng)
    if rng.random() < 0.1:
        image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    kind = rng.random()
    if kind < 0.08:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8))
    elif kind < 0.13:
        length, angle = int(rng.integers(3, 10)), rng.uniform(0, np.pi)
        kernel = np.zeros((length, length), np.float32)
        middle = (length - 1) / 2
        reach = np.array([np.cos(angle), np.sin(angle)]) * middle
        a, b = np.rint(middle - reach).astype(int), np.rint(middle + reach).astype(int)
        cv2.line(kernel, tuple(a.tolist()), tuple(b.tolist()), 1.0)
        image = cv2.filter2D(image, -1, kernel / kernel.sum())
    elif kind < 0.2:
        small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    if rng.random() < (0.6 if night else 0.12):
        noise = rng.normal(0, rng.uniform(2, 14), image.shape).astype(np.float32)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        quality = int(rng.integers(25, 90))
        _, coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1]
    return image


def _lamps(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a dark picture with up to four lamps."""
    height, width = image.shape[:2]
    out = image.astype(np.float32)
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    for _ in range(int(rng.integers(0, 5))):
        x, y, radius = rng.uniform(0, width), rng.uniform(0.1, 0.9) * height, rng.uniform(0.01, 0.05) * width
        glow = np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * radius**2))
        out += glow[..., None] * np.array([255, 255 * rng.uniform(0.75, 1), 255 * rng.uniform(0.4, 1)], np.float32)
    return np.clip(out, 0, 255).astype(np.uint8)


def counted(canvas: Canvas, size: int) -> np.ndarray:
    """Return for each cell of the network's three maps and each class whether a find there counts, bool (A, C)."""
    maps = []
    for stride in STRIDES:
        side = size // stride
        cells = np.ones((side, side, len(CLASSES)), bool)
        for name, box in canvas.ignore:
            # Cells whose centre lies in the region.
            x1, y1 = np.ceil(box[:2] / stride - 0.5).astype(int).clip(0)
            x2, y2 = np.floor(box[2:] / stride - 0.5).astype(int) + 1
            cells[y1:y2, x1:x2, CLASSES.index(name)] = False
        maps.append(cells.reshape(-1, len(CLASSES)))
    return np.concatenate(maps)


class Batches(Dataset[dict[str, Any]]):
    """Batch number n, always the same for the same seed.

    Args:
        sources: Training pictures.
        batch: Pictures in a batch.
        sizes: Sides of the canvas, one drawn for each batch.
        seed: Seed.
        start: Number of the first batch.
        stop: Number after the last batch.
    """

    def __init__(
        self, sources: Sequence[Source], batch: int, sizes: Sequence[int], seed: int, start: int, stop: int
    ) -> None:
        self._scenes = Scenes(sources)
        self._batch, self._sizes, self._seed, self._start, self._stop = batch, sizes, seed, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, number: int) -> dict[str, Any]:
        if number >= len(self):
            raise IndexError(number)
        rng = np.random.default_rng((self._seed, self._start + number))
        size = int(rng.choice(np.array(self._sizes)))
        scenes = [self._scenes.draw(size, rng) for _ in range(self._batch)]
        rows, masks, masked, owner = [], [], [], []
        for place, scene in enumerate(scenes):
            for item in scene.items:
                x1, y1, x2, y2 = item.box / size
                rows.append([CLASSES.index(item.name), (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])
                owner.append(place)
                masked.append(item.mask is not None)
                masks.append(np.zeros((size // 4, size // 4), bool) if item.mask is None else item.mask)
        table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)
        stack = np.stack(masks) if masks else np.zeros((0, size // 4, size // 4), bool)
        return {
            "img": torch.from_numpy(np.stack([scene.image for scene in scenes]).transpose(0, 3, 1, 2).copy()),
            "cls": table[:, :1],
            "bboxes": table[:, 1:],
            "batch_idx": torch.tensor(owner, dtype=torch.float32),
            "masks": torch.from_numpy(stack),
            "masked": torch.tensor(masked, dtype=torch.bool),
            "counted": torch.from_numpy(np.stack([counted(scene, size) for scene in scenes])),
        }
