"""Detectors of the evaluator's own: for what is in the originals, and for what a run may have missed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anonymizer import weights
from anonymizer.geometry import clip_box
from anonymizer.types import CLASSES, Image, Instance

if TYPE_CHECKING:
    from anonymizer.types import Detector

__all__ = ["DlibFrontalDetector", "build_detectors", "outline_detector"]

#: Scores from which a detection counts: sure ones only, since nobody looks at them afterwards.
THRESHOLDS = {"person": 0.5, "face": 0.5, "license_plate": 0.5}
#: Long side at which outlines are found, and lowest score: an attacker knows that there was somebody.
OUTLINE_LOOK, OUTLINE_SCORE = (384,), 0.2
#: Lowest score of dlib's own detector, whose scores run from below 0 to about 3.
DLIB_SCORE = 0.2
#: Long side in pixels to which pictures are shrunk before dlib looks at them; bounds time.
DLIB_SIDE = 1600
#: Long side in pixels up to which a picture is also seen at twice its size, where faces from 40 pixels appear.
DLIB_SMALL = 800


class DlibFrontalDetector:
    """dlib's frontal face detector on oriented gradients: no network, nothing in common with the other detectors."""

    def __init__(self) -> None:
        import dlib

        self._detector = dlib.get_frontal_face_detector()

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return frontal faces of RGB uint8 (H, W, 3) from about 80 pixels on, 40 in small pictures; boxes only."""
        import cv2

        height, width = image.shape[:2]
        scale = min(1.0, DLIB_SIDE / max(height, width))
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        small = np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image)
        found, scores, _ = self._detector.run(small, int(max(size) <= DLIB_SMALL), DLIB_SCORE)
        out: list[Instance] = []
        for rectangle, score in zip(found, scores, strict=True):
            edges = (rectangle.left(), rectangle.top(), rectangle.right() + 1, rectangle.bottom() + 1)
            box = clip_box(np.array(edges, dtype=np.float32) / np.float32(scale), (height, width))
            if min(box[2] - box[0], box[3] - box[1]) >= 2:
                shape = (int(np.ceil(box[3]) - np.floor(box[1])), int(np.ceil(box[2]) - np.floor(box[0])))
                mask = np.ones(shape, dtype=np.bool_)
                confidence = float(np.clip(score / 2, 0, 1))
                out.append(Instance(len(out) + 1, "face", box, mask, confidence, "dlib-frontal"))
        return tuple(out)


def outline_detector() -> Detector:
    """Return a detector of persons with masks, in one look: it runs once for every person described.

    Raises:
        ModelError: Weights are missing or corrupt.
    """
    from anonymizer.detect.yolo import YoloSegDetector

    return YoloSegDetector(weights.path("detector"), {"person": OUTLINE_SCORE}, sizes=OUTLINE_LOOK)


def build_detectors() -> dict[str, Detector]:
    """Return detectors by name: ``embedded`` (network, CenterFace and text) and ``dlib-frontal``.

    Raises:
        ModelError: Weights are missing or corrupt.
    """
    from anonymizer.detect.faces import CenterFaceDetector
    from anonymizer.detect.merge import UnionDetector
    from anonymizer.detect.plates import TextDetector
    from anonymizer.detect.tiling import TiledDetector
    from anonymizer.detect.yolo import YoloSegDetector
    from anonymizer.recognize.ocr import RapidOcrReader

    parts = (
        YoloSegDetector(weights.path("detector"), THRESHOLDS),
        CenterFaceDetector(weights.path("centerface"), THRESHOLDS["face"]),
        TextDetector(RapidOcrReader(weights.path("ppocr"))),
    )
    union = UnionDetector([TiledDetector(part) for part in parts], CLASSES)
    return {"embedded": union, "dlib-frontal": DlibFrontalDetector()}
