"""A YOLO segmentation network in ONNX: persons, faces and license plates in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError, ModelError
from anonymizer.core.geometry import box_iou, integer_box
from anonymizer.core.records import Floats, Image, Instance, Mask, check_image
from anonymizer.detect.regions import ellipse, grow, make_instance, nms, number, overlap, unite
from anonymizer.detect.safe_mask import refine, vote
from anonymizer.models.onnx import open_session

__all__ = ["COCO", "COCO_LABELS", "OWN", "YoloSegDetector", "letterbox"]

#: Names of COCO's classes in the order in which ultralytics' networks know them, as far as they matter here; the
#: other 72 of the 80 have no name.
COCO = ("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", *("",) * 72)
#: What they are here. Bicycles carry no plate and hide nobody.
COCO_LABELS = {"person": "person", **dict.fromkeys(("car", "motorcycle", "bus", "truck"), "vehicle")}

#: Classes of the embedded network in its order.
OWN = ("person", "face", "license_plate", "head")

#: Coarsest stride of the network: sides of its input are multiples of it.
STRIDE = 32
#: Grey that fills the letterbox, as in training.
PADDING = 114
#: Candidates per class that enter suppression; bounds time and memory in a crowd.
MAX_CANDIDATES = 2000
#: IoU from which two looks at a person are united rather than the worse one dropped.
AGREE = 0.75
#: Share of the smaller of two faces or plates that lies in the larger, from which two looks show the same one.
NESTED = 0.8
#: Rows of a mask interpolated at once; bounds memory for a person who fills a 100-megapixel picture.
ROWS = 512
#: How far faces (left, top, right, bottom) and plates reach beyond the box found, as shares of width and height.
FACE_MARGIN = (0.05, 0.08, 0.05, 0.05)
PLATE_MARGIN = (0.04, 0.08, 0.04, 0.08)


def letterbox(image: Image, size: int, square: bool = False) -> tuple[Image, float, float, int, int]:
    """Resize a picture to a long side of ``size`` and pad it to multiples of 32, or to a square, centred.

    Returns:
        The padded picture uint8 (h, w, 3); its scale along x and y; the padding at the left and at the top, in its
        pixels.

    Source:
        ``LetterBox`` in ultralytics 8.4: grey 114, centred; with ``auto=True`` the minimal rectangle, else a square.
    """
    import cv2

    height, width = image.shape[:2]
    scale = size / max(height, width)
    new_w, new_h = max(round(width * scale), 1), max(round(height * scale), 1)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(image, (new_w, new_h), interpolation=method)
    pad_w, pad_h = (size - new_w, size - new_h) if square else (-new_w % STRIDE, -new_h % STRIDE)
    left, top = pad_w // 2, pad_h // 2
    out = np.full((new_h + pad_h, new_w + pad_w, 3), PADDING, dtype=np.uint8)
    out[top : top + new_h, left : left + new_w] = resized
    return out, new_w / width, new_h / height, left, top


def _interpolation(
    start: int, stop: int, scale: float, shift: float, cells: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Return for each picture pixel the two prototype cells around it and the weight of the second."""
    # Pixel centres: picture -> network input (scale, shift) -> prototype cells of 4 pixels.
    where = ((np.arange(start, stop) + 0.5) * scale + shift) / 4 - 0.5
    where = np.clip(where, 0, cells - 1)
    low = np.floor(where).astype(np.intp)
    return low, np.minimum(low + 1, cells - 1), (where - low).astype(np.float32)


class YoloSegDetector:
    """Detects and segments with a YOLO-seg network exported by ultralytics without suppression.

    The network takes float32 (1, 3, h, w) RGB in [0, 1] with h and w multiples of 32, and gives (1, 4 + C + 32, N)
    candidates (centre x, centre y, width, height in input pixels, C class scores in [0, 1], 32 mask coefficients) and
    (1, 32, h/4, w/4) mask prototypes.

    Persons get the network's mask. Faces get an ellipse and plates their whole box, both slightly grown: a mask with
    a hole would let part of them through.

    Args:
        path: ONNX file.
        thresholds: Lowest score per class, in [0, 1]; classes not named here are not reported.
        sizes: Long sides of the picture as the network sees it, in pixels, one look each. The network was trained at
            352 pixels and loses what fills a large view, a small view loses what is small: several looks find both.
        iou: Boxes of one class with at least this IoU are the same object.
        classes: Names of the network's classes in its order.
        labels: Class here by the network's name, for names that differ; names without one are not reported. None: the
            names are the classes.
        plate_outlines: Plates carry the network's mask as their ``core``, e.g. to find their corners; the mask that is
            anonymized stays the whole box.
        device: Where it runs, see ``models.onnx.open_session``.
        source: Name of the network in what it finds.

    Raises:
        InputError: A threshold for a class the network does not have, no size or one below 32, or another size than
            the one of a network with a fixed input.
        ModelError: The file is missing, unreadable or of another layout.
    """

    def __init__(
        self,
        path: Path,
        thresholds: Mapping[str, float],
        sizes: Sequence[int] = (192, 256, 384, 576),
        iou: float = 0.5,
        classes: Sequence[str] = ("person", "face", "license_plate"),
        labels: Mapping[str, str] | None = None,
        plate_outlines: bool = False,
        device: str = "cpu",
        source: str = "yolo",
    ) -> None:
        self._labels = tuple(name if labels is None else labels.get(name, "") for name in classes)
        unknown = sorted(set(thresholds) - set(self._labels))
        if unknown:
            known = ", ".join(sorted(filter(None, set(self._labels))))
            raise InputError(f"thresholds: expected classes among {known}, got {', '.join(unknown)}")
        if not sizes or min(sizes) < STRIDE:
            raise InputError(f"sizes: expected one or more of at least {STRIDE} pixels, got {tuple(sizes)}")
        self._session = open_session(path, "detector", device)
        outputs = self._session.get_outputs()
        if len(outputs) != 2 or len(outputs[0].shape) != 3 or len(outputs[1].shape) != 4:
            shapes = ", ".join(str(output.shape) for output in outputs)
            raise ModelError(
                f"detector: expected a YOLO-seg export with outputs of 3 and 4 axes, got {shapes} in {path}"
            )
        entry = self._session.get_inputs()[0]
        # Exported for one size, a network sees squares of it; others see the smallest rectangle.
        side = entry.shape[-1]
        self._square = isinstance(side, int)
        if self._square and tuple(sizes) != (side,):
            raise InputError(f"sizes: expected ({side},), the fixed input of {path}, got {tuple(sizes)}")
        self._input = entry.name
        self._thresholds = dict(thresholds)
        self._sizes = tuple(sizes)
        self._iou = iou
        self._classes = tuple(classes)
        self._plate_outlines = plate_outlines
        self._source = source

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return instances in RGB uint8 (H, W, 3), best first within each class.

        Raises:
            InputError: The picture has another shape or dtype.
            ModelError: The network's output does not fit its classes.
        """
        check_image(image)
        seen = [instance for long_side in self._sizes for instance in self._look(image, long_side)]
        if len(self._sizes) == 1:
            return number(seen)
        found: list[Instance] = []
        for label in dict.fromkeys(self._labels):
            mine = [instance for instance in seen if instance.label == label]
            found += self._join(image, mine)
        return number(found)

    def _join(self, image: Image, seen: Sequence[Instance]) -> list[Instance]:
        """Make one instance of what several looks show of one object.

        The best look counts. Persons' masks miss other parts in other looks, so looks that agree well are united;
        what most of them agree on is the core. Of faces and plates, which do not stand inside each other, one that
        holds or lies in a better one is that one.
        """
        rest = sorted(seen, key=lambda instance: -instance.score)
        out = []
        while rest:
            overlaps = box_iou(rest[0].box[None], np.stack([instance.box for instance in rest]))[0]
            alike = overlaps >= (AGREE if rest[0].label == "person" else 1.0)
            looks = [rest[0], *(rest[n] for n in np.flatnonzero(alike) if n)]
            whole = unite(looks)
            if whole.label == "person":
                whole = replace(whole, core=refine(image, whole.box, vote(looks, whole), whole.mask))
            same = overlaps >= self._iou
            if rest[0].label != "person":
                boxes = np.stack([instance.box for instance in rest])
                areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
                same |= overlap(boxes[0], boxes) >= NESTED * np.minimum(areas, areas[0])
            out.append(replace(whole, views=np.stack([rest[n].box for n in np.flatnonzero(same)])))
            rest = [rest[n] for n in np.flatnonzero(~same)]
        return out

    def _look(self, image: Image, long_side: int) -> list[Instance]:
        """Return what the network finds in one view of the picture, all with id 1."""
        size = image.shape[0], image.shape[1]
        boxed, scale_x, scale_y, left, top = letterbox(image, long_side, self._square)
        blob = np.ascontiguousarray(boxed.transpose(2, 0, 1)[None], dtype=np.float32) / 255  # (h, w, 3) -> (1, 3, h, w)
        raw, protos = self._session.run(None, {self._input: blob})
        count = len(self._classes)
        if raw.shape[1] != 4 + count + protos.shape[1]:
            raise ModelError(
                f"detector: expected {4 + count + protos.shape[1]} channels for {count} classes, got {raw.shape[1]}"
            )
        table = raw[0].T  # (4 + C + 32, N) -> (N, 4 + C + 32)
        shift, scale = np.array([left, top] * 2, np.float32), np.array([scale_x, scale_y] * 2, np.float32)
        found: list[Instance] = []
        for index, label in enumerate(self._labels):
            if label not in self._thresholds:
                continue
            rows = np.flatnonzero(table[:, 4 + index] >= self._thresholds[label])
            rows = rows[np.argsort(-table[rows, 4 + index], kind="stable")][:MAX_CANDIDATES]
            centre, half = table[rows, :2], table[rows, 2:4] / 2
            boxes = (np.concatenate([centre - half, centre + half], axis=1) - shift) / scale
            for keep in nms(boxes, table[rows, 4 + index], self._iou):
                row = table[rows[keep]]
                instance = self._instance(
                    label,
                    boxes[keep],
                    size,
                    float(row[4 + index]),
                    row[4 + count :],
                    protos[0],
                    (scale_x, scale_y, left, top),
                )
                if instance is not None:
                    name = self._classes[index]
                    found.append(instance if name == label else replace(instance, source=f"{self._source}:{name}"))
        return found

    def _instance(
        self,
        label: str,
        box: Floats,
        size: tuple[int, int],
        score: float,
        coefficients: Floats,
        protos: Floats,
        frame: tuple[float, float, int, int],
    ) -> Instance | None:
        if box[2] <= box[0] or box[3] <= box[1]:
            return None
        mask: Mask | None = None
        if label == "face":
            box = grow(box, *FACE_MARGIN)
            mask = ellipse(box)
        elif label == "license_plate":
            box = grow(box, *PLATE_MARGIN)
        else:
            height, width = size
            low, high = np.zeros(4, np.float32), np.array([width, height, width, height], np.float32)
            box = np.clip(box, low, high)
            mask = _mask(box, coefficients, protos, frame)
        instance = make_instance(label, box, size, score=score, source=self._source, mask=mask)
        if instance is None or label != "license_plate" or not self._plate_outlines:
            return instance
        core = _mask(instance.box, coefficients, protos, frame)
        return replace(instance, core=core) if core.any() else instance


def _mask(box: Floats, coefficients: Floats, protos: Floats, frame: tuple[float, float, int, int]) -> Mask:
    """Return the network's mask for one box: bool in the frame of its integer box.

    Args:
        box: float32 (4,) xyxy in picture pixels, inside the picture.
        coefficients: float32 (32,).
        protos: float32 (32, h/4, w/4).
        frame: Scale along x and y and padding at the left and top that take the picture to the network's input.

    Source:
        ``process_mask`` in ultralytics 8.4: prototypes times coefficients, cut to the box, logits above 0. Only the
        cells under the box are computed, and the result is interpolated at the box's size.
    """
    scale_x, scale_y, left, top = frame
    x1, y1, x2, y2 = integer_box(box)
    low_x, high_x, weight_x = _interpolation(x1, x2, scale_x, left, protos.shape[2])
    low_y, high_y, weight_y = _interpolation(y1, y2, scale_y, top, protos.shape[1])
    if not low_x.size or not low_y.size:
        return np.zeros((low_y.size, low_x.size), dtype=np.bool_)
    x0, y0 = int(low_x[0]), int(low_y[0])
    cells = protos[:, y0 : int(high_y[-1]) + 1, x0 : int(high_x[-1]) + 1]
    logits = np.tensordot(coefficients, cells, axes=1)  # (32,), (32, h, w) -> (h, w)
    wide = logits[:, low_x - x0] * (1 - weight_x) + logits[:, high_x - x0] * weight_x  # (h, w) -> (h, W)
    out = np.empty((low_y.size, low_x.size), dtype=np.bool_)
    for start in range(0, low_y.size, ROWS):
        part = slice(start, start + ROWS)
        second = weight_y[part, None]
        out[part] = wide[low_y[part] - y0] * (1 - second) + wide[high_y[part] - y0] * second > 0
    return out
