"""Read the training packs: pictures with COCO annotations, plus teacher boxes for what a pack leaves unlabelled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

CLASSES = ("person", "face", "license_plate")


@dataclass(frozen=True)
class Label:
    """One labelled object: class name, box xyxy in pixels, and a full-frame mask where the pack has one, perhaps only
    an approximate one."""

    name: str
    box: tuple[float, float, float, float]
    mask: np.ndarray | None = None
    crowd: bool = False
    approximate: bool = False
    landmarks: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Picture:
    """One picture of a pack with every label known for it."""

    pack: str
    path: Path
    width: int
    height: int
    split: str
    labels: tuple[Label, ...]
    record: dict[str, Any]

    def read(self) -> np.ndarray:
        """Return the picture, RGB uint8 (H, W, 3)."""
        bgr = cv2.imread(str(self.path), cv2.IMREAD_COLOR)
        if bgr is None:
            raise FileNotFoundError(self.path)
        return np.ascontiguousarray(bgr[:, :, ::-1])


def read_pack(data: Path, pack: str, teacher: bool = True) -> Iterator[Picture]:
    """Yield the pictures of one pack, completed with teacher faces and plates where ``teacher`` is set."""
    document = json.loads((data / pack / "annotations.json").read_text())
    boxes = json.loads((data / "teacher_boxes.json").read_text()) if teacher else {}
    by_image: dict[int, list[dict[str, Any]]] = {}
    for annotation in document["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    for image in document["images"]:
        labels = [_label(a) for a in by_image.get(image["id"], [])]
        for key, name, least in (("faces", "face", 0.45), ("plates", "license_plate", 0.3)):
            for found in boxes.get(key, {}).get(pack, {}).get(image["file_name"], []):
                box = tuple(float(v) for v in found["box"])
                known = any(other.name == name and _overlap(other.box, box) > 0.3 for other in labels)
                if found["score"] >= least and not known:
                    marks = found.get("landmarks")
                    flat = tuple(np.ravel(marks).tolist()) if marks else None
                    labels.append(Label(name, box, landmarks=flat))  # type: ignore[arg-type]
        yield Picture(
            pack=pack,
            path=data / pack / "images" / image["file_name"],
            width=image["width"],
            height=image["height"],
            split=image["split"],
            labels=tuple(labels),
            record=image,
        )


def _label(annotation: dict[str, Any]) -> Label:
    x, y, w, h = annotation["bbox"]
    segmentation = annotation.get("segmentation")
    mask = coco_mask.decode(segmentation).astype(bool) if segmentation else None
    marks = annotation.get("keypoints")
    return Label(
        name=CLASSES[annotation["category_id"] - 1],
        box=(x, y, x + w, y + h),
        mask=mask,
        crowd=bool(annotation.get("iscrowd")),
        approximate=bool(annotation.get("approx")),
        landmarks=tuple(marks) if marks else None,
    )


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inner = width * height
    return inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner)
