"""Judges of avatars: a detector, a pose network and features of pictures that take no part in a run.

``judge_networks.py`` makes their files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import box_iou, context_box, take
from anonymizer.models.onnx import open_session
from anonymizer.models.weights import file_sha256

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

#: Side of NanoDet's input in pixels, and of its grids' cells.
NANODET_SIDE, STRIDES = 416, (8, 16, 32)
#: Mean and spread of ImageNet in BGR, as NanoDet was trained with (RangiLyu/nanodet, config of nanodet-g).
NANODET_MEAN, NANODET_SPREAD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
#: Least score that is kept, and IoU from which two finds are the same.
LEAST_SCORE, SAME = 0.05, 0.6
#: Surroundings of a person for each judge, as a proportion of the longer side of the box on each side.
DETECT_MARGIN, POSE_MARGIN, FEATURE_MARGIN = 0.5, 0.125, 0.1
POSE_SIDE, FEATURE_SIDE = 256, 260
#: Crops described at once.
BATCH = 8


def open_judge(path: Path) -> Any:
    """Open a judge.

    Raises:
        SystemExit: It is not there.
    """
    if not path.is_file():
        raise SystemExit(f"{path}: judge not found; see judge_networks.py")
    return open_session(path, path.stem)


class NanoDet:
    """NanoDet, trained on COCO: persons in a window around a place."""

    def __init__(self, folder: Path) -> None:
        self._session = open_judge(folder / "nanodet.onnx")
        self.sha256 = file_sha256(folder / "nanodet.onnx")

    def find(self, image: Image, box: Floats) -> Floats:
        """Return persons around a box (4,) as float32 (N, 5): xyxy in the picture's pixels and score."""
        window = context_box(box, DETECT_MARGIN, 1.0)
        side = window[2] - window[0]
        crop = cv2.resize(take(image, window), (NANODET_SIDE, NANODET_SIDE), interpolation=_method(side, NANODET_SIDE))
        blob = (crop[..., ::-1].astype(np.float32) - np.float32(NANODET_MEAN)) / np.float32(NANODET_SPREAD)
        found = self._session.run(None, {self._session.get_inputs()[0].name: blob.transpose(2, 0, 1)[None]})
        boxes = decoded(found)
        boxes[:, :4] *= side / NANODET_SIDE
        boxes[:, :4] += np.array([window[0], window[1]] * 2, np.float32)
        return boxes


def decoded(found: list[Floats]) -> Floats:
    """Return NanoDet's persons, float32 (N, 5) xyxy in pixels of its input and score, doubles suppressed.

    Args:
        found: Per grid scores (1, cells, 80) and distances to the four sides (1, cells, 44) as 11 logits each.
    """
    parts = []
    for stride in STRIDES:
        cells = NANODET_SIDE // stride
        scores, sides = (
            next(part[0] for part in found if part.shape[1] == cells**2 and part.shape[2] == width)
            for width in (80, 44)
        )
        logits = sides.reshape(-1, 4, 11)
        likely = np.exp(logits - logits.max(axis=2, keepdims=True))
        reach = (likely / likely.sum(axis=2, keepdims=True)) @ np.arange(11, dtype=np.float32) * stride
        y, x = np.divmod(np.arange(cells**2), cells)
        middle = np.stack([x, y], axis=1).astype(np.float32) * stride + np.float32(stride / 2)
        parts.append(np.concatenate([middle - reach[:, :2], middle + reach[:, 2:], scores[:, :1]], axis=1))
    every = np.concatenate(parts)
    every = every[every[:, 4] >= LEAST_SCORE]
    every = every[np.argsort(-every[:, 4])]
    kept: list[int] = []
    for number in range(len(every)):
        if not kept or box_iou(every[number : number + 1, :4], every[kept, :4]).max() < SAME:
            kept.append(number)
    return every[kept].astype(np.float32)


class MoveNet:
    """MoveNet Thunder: the pose of the person in a window."""

    def __init__(self, folder: Path) -> None:
        self._session = open_judge(folder / "movenet.onnx")
        self.sha256 = file_sha256(folder / "movenet.onnx")

    def find(self, image: Image, box: Floats) -> Floats:
        """Return COCO's 17 joints, float32 (17, 3): x, y in the picture's pixels and score."""
        window = context_box(box, POSE_MARGIN, 1.0)
        side = window[2] - window[0]
        crop = cv2.resize(take(image, window), (POSE_SIDE, POSE_SIDE), interpolation=_method(side, POSE_SIDE))
        feed = {self._session.get_inputs()[0].name: crop.astype(np.int32)[None]}
        joints = self._session.run(None, feed)[0][0, 0][:, [1, 0, 2]]
        joints[:, :2] = joints[:, :2] * side + np.array(window[:2], np.float32)
        return joints.astype(np.float32)


class Lite2:
    """EfficientNet-Lite2, trained on ImageNet: features of crops."""

    def __init__(self, folder: Path) -> None:
        self._session = open_judge(folder / "efficientnet-lite2.onnx")
        self.sha256 = file_sha256(folder / "efficientnet-lite2.onnx")

    def describe(self, image: Image, boxes: Floats) -> Floats:
        """Return features float32 (N, 1280) of the square crops around boxes (N, 4)."""
        crops = []
        for box in boxes:
            window = context_box(box, FEATURE_MARGIN, 1.0)
            method = _method(window[2] - window[0], FEATURE_SIDE)
            crops.append(cv2.resize(take(image, window), (FEATURE_SIDE, FEATURE_SIDE), interpolation=method))
        blob = ((np.stack(crops).astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2)
        parts = [
            self._session.run(None, {"image": np.ascontiguousarray(blob[n : n + BATCH])})[0]
            for n in range(0, len(blob), BATCH)
        ]
        return np.concatenate(parts).astype(np.float32)


def _method(side: int, target: int) -> int:
    return int(cv2.INTER_AREA if side > target else cv2.INTER_LINEAR)
