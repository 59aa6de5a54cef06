"""Reads the annotated packs that the benchmarks run on: ``PACK/images`` and COCO ``PACK/annotations.json``."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from anonymizer import Instance
from anonymizer.core.geometry import mask_iou, outlined

CLASSES = {1: "person", 2: "face", 3: "license_plate"}


@dataclass(frozen=True)
class Truth:
    """One annotation: its class, box xyxy, and the COCO record."""

    label: str
    box: NDArray[np.float32]
    record: dict[str, Any]

    @property
    def side(self) -> float:
        """Height of a person or face, width of a plate, in pixels."""
        axis = 0 if self.label == "license_plate" else 1
        return float(self.box[axis + 2] - self.box[axis])

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """The annotated mask in the picture's frame, bool (H, W), or None where there is none."""
        if not self.record.get("segmentation"):
            return None
        return np.asarray(coco_mask.decode(self.record["segmentation"]), bool)

    def mask_iou(self, found: Instance) -> float | None:
        """Return the IoU of a found outline with the annotated mask, or None where there is none."""
        full = self.mask
        if full is None:
            return None
        frame = np.array([0, 0, full.shape[1], full.shape[0]], np.float32)
        return mask_iou(Instance(1, found.label, frame, full), outlined(found))


def read(path: Path) -> NDArray[np.uint8]:
    """Return a picture, RGB uint8 (H, W, 3)."""
    return np.ascontiguousarray(cv2.imread(str(path), cv2.IMREAD_COLOR)[:, :, ::-1])


def pictures(
    data: Path, pack: str, split: str, only: Mapping[str, str] | None = None, crowds: bool = False
) -> list[tuple[Path, list[Truth]]]:
    """Return (path, annotations) of a pack's annotated pictures in a split, or of all.

    Args:
        data: Folder of the packs.
        pack: Name of the pack.
        split: ``train``, ``val`` or ``all``.
        only: Values that the picture's record must have.
        crowds: Return crowd regions instead of single objects.
    """
    document = json.loads((data / pack / "annotations.json").read_text())
    by_image: dict[int, list[Truth]] = defaultdict(list)
    for record in document["annotations"]:
        x, y, w, h = record["bbox"]
        if bool(record.get("iscrowd")) is crowds:
            box = np.array([x, y, x + w, y + h], np.float32)
            by_image[record["image_id"]].append(Truth(CLASSES[record["category_id"]], box, record))
    return [
        (data / pack / "images" / image["file_name"], by_image[image["id"]])
        for image in document["images"]
        if split in ("all", image["split"])
        and image.get("annotated", True)
        and all(image[key] == value for key, value in (only or {}).items())
    ]


def counted(truth: Truth, label: str, pack: str) -> bool:
    """Return whether a network is expected to find what an annotation shows."""
    if truth.label != label or truth.record.get("source_label") == "bicyclist":
        return False
    return pack != "humanseg" or truth.mask is not None


def some(items: list[Any], limit: int) -> list[Any]:
    """Return at most ``limit`` items, spread evenly."""
    return items if len(items) <= limit else [items[round(n)] for n in np.linspace(0, len(items) - 1, limit)]
