"""Persons and vehicles by CenterNet with MobileNetV3, trained on COCO, in ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from anonymizer.core.errors import InputError, ModelError
from anonymizer.core.geometry import IntBox
from anonymizer.core.records import Floats, Image, Instance, check_image
from anonymizer.detect.regions import ellipse, make_instance, nms, number
from anonymizer.detect.yolo import COCO, COCO_LABELS, letterbox
from anonymizer.models.onnx import open_session

__all__ = ["THRESHOLD", "CenterNetDetector"]

#: Side of the network's input in pixels.
SIDE = 512
#: Lowest score at which persons count unless said otherwise; the figures in the model card are for it.
THRESHOLD = 0.15
#: Boxes of one class with at least this IoU are the same object: the network itself only drops neighbouring cells.
IOU = 0.5
#: Side of a quarter view as a proportion of the picture's: neighbours share a fifth of it.
QUARTER = 0.6
#: A box this close to an inner border of its view, in pixels, was cut by it: another view shows more of the object.
CUT_MARGIN = 3.0
#: Added to the threshold of finds that only a quarter view shows, and of those among them lower than so many pixels:
#: enlarged, posts and bins look like people far away. Together with the whole picture 0.15, 0.2 and 0.3.
DOUBT, SMALL_DOUBT, SMALL = 0.05, 0.15, 32.0
#: What a class of COCO is here; a bicycle counts, since its rider is often found as a part of it.
LABELS = {**COCO_LABELS, "bicycle": "vehicle"}


class CenterNetDetector:
    """Detects persons and, when asked, vehicles as boxes.

    The network takes float32 (1, 512, 512, 3) RGB in [0, 255], letterboxed with grey 114, and gives the 100 best
    detections of all 80 classes of COCO: float32 (1, 100, 6) x1, y1, x2, y2 in input pixels, score in [0, 1], class.

    Args:
        path: ONNX file with input ``image`` and output ``detections``.
        thresholds: Lowest score by class, in [0, 1]: ``person``, ``vehicle`` (car, bus, truck, motorcycle, bicycle)
            or both; classes not named here are not reported.
        device: Where it runs, see ``models.onnx.open_session``.
        quarters: Whether the picture is also seen in four overlapping quarters, where small persons appear.

    Raises:
        InputError: A threshold for a class that the network does not have.
        ModelError: The file is missing, unreadable or of another layout.

    Source:
        Zhou et al., Objects as Points, arXiv 1904.07850.
    """

    def __init__(
        self, path: Path, thresholds: Mapping[str, float], device: str = "cpu", quarters: bool = False
    ) -> None:
        known = sorted(set(LABELS.values()))
        unknown = sorted(set(thresholds) - set(known))
        if unknown:
            raise InputError(f"thresholds: expected classes among {', '.join(known)}, got {', '.join(unknown)}")
        self._session = open_session(path, "centernet", device)
        names = [i.name for i in self._session.get_inputs()], [o.name for o in self._session.get_outputs()]
        if names != (["image"], ["detections"]):
            raise ModelError(
                f"centernet: expected input 'image' and output 'detections' in {path}, got {names[0]} and {names[1]}; "
                "fetch the weights again"
            )
        self._thresholds = dict(thresholds)
        self._quarters = quarters

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return instances in RGB uint8 (H, W, 3), best first within each class, masks ellipses (persons) or boxes.

        Raises:
            InputError: The picture has another shape or dtype.
            ModelError: The network's output has another shape.
        """
        check_image(image)
        table = self._table(image)
        size = image.shape[0], image.shape[1]
        found = []
        for label, threshold in self._thresholds.items():
            mine = np.array([LABELS.get(COCO[int(row[5])]) == label and row[4] >= threshold for row in table], bool)
            for row in table[mine][nms(table[mine, :4], table[mine, 4], IOU)]:
                box, name = row[:4], COCO[int(row[5])]
                source = "centernet" if name == label else f"centernet:{name}"
                # Of a vehicle the whole box counts; a person is drawn anew by a network for outlines.
                mask = ellipse(box) if label == "person" else None
                instance = make_instance(label, box, size, score=float(row[4]), source=source, mask=mask)
                if instance is not None:
                    found.append(instance)
        return number(found)

    def _table(self, image: Image) -> Floats:
        """Return the detections of all views, float32 (N, 6) as of :func:`decode`."""
        whole = self._look(image)
        if not self._quarters:
            return whole
        tables, doubts = [whole], [np.zeros(len(whole), np.float32)]
        height, width = image.shape[:2]
        for x1, y1, x2, y2 in quarters((height, width)):
            table = self._look(image[y1:y2, x1:x2])
            table[:, :4] += np.array([x1, y1, x1, y1], np.float32)
            inner = np.array([x1 > 0, y1 > 0, x2 < width, y2 < height])
            gaps = np.abs(table[:, :4] - np.array([x1, y1, x2, y2], np.float32))
            table = table[~(inner & (gaps <= CUT_MARGIN)).any(axis=1)]
            tables.append(table)
            small = table[:, 3] - table[:, 1] < SMALL
            doubts.append(np.where(small, SMALL_DOUBT, DOUBT).astype(np.float32))
        every, doubt = np.concatenate(tables), np.concatenate(doubts)
        least = np.array([self._thresholds.get(LABELS.get(COCO[int(row[5])], ""), 1.0) for row in every], np.float32)
        return every[every[:, 4] >= least + doubt]

    def _look(self, view: Image) -> Floats:
        """Return the network's detections in one view, in its pixels."""
        boxed, scale_x, scale_y, left, top = letterbox(view, SIDE, square=True)
        (rows,) = self._session.run(["detections"], {"image": boxed[None].astype(np.float32)})
        if rows.ndim != 3 or rows.shape[2] != 6:
            raise ModelError(f"centernet: expected detections of shape (1, N, 6), got {rows.shape}")
        return decode(rows[0], (scale_x, scale_y), (left, top))


def quarters(size: tuple[int, int]) -> tuple[IntBox, ...]:
    """Return four overlapping views of a picture of ``size`` (height, width), integer xyxy."""
    height, width = size
    tall, wide = max(round(QUARTER * height), 1), max(round(QUARTER * width), 1)
    return tuple((x, y, x + wide, y + tall) for y in (0, height - tall) for x in (0, width - wide))


def decode(rows: Floats, scale: tuple[float, float], padding: tuple[int, int]) -> Floats:
    """Return detections with boxes in picture pixels; broken ones are dropped.

    Args:
        rows: float32 (N, 6) x1, y1, x2, y2 in input pixels, score, class.
        scale: Scale along x and y that took the picture to the network's input.
        padding: Padding at the left and at the top, in input pixels.
    """
    shift, factor = np.array(padding * 2, np.float32), np.array(scale * 2, np.float32)
    out: Floats = rows.astype(np.float32)
    out[:, :4] = (out[:, :4] - shift) / factor
    whole = np.isfinite(out).all(axis=1) & (out[:, 2] > out[:, 0]) & (out[:, 3] > out[:, 1])
    return out[whole & (out[:, 5] >= 0) & (out[:, 5] < len(COCO))]
