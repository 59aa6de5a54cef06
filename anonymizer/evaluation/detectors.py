"""Detectors of the evaluator's own: for what is in the originals, and for what a run may have missed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anonymizer.core.errors import ModelError
from anonymizer.core.records import CLASSES, Image, Instance
from anonymizer.evaluation.networks import boxes_as_instances
from anonymizer.evaluation.ocr import LETTERS
from anonymizer.evaluation.recognizers import Unavailable
from anonymizer.models import weights

if TYPE_CHECKING:
    from anonymizer.core.records import Detector
    from anonymizer.evaluation.judges import Judges

__all__ = [
    "DlibFaceNetwork",
    "DlibFrontalDetector",
    "HaarPlateDetector",
    "HogPersonDetector",
    "LeakDetector",
    "WordPlateDetector",
    "choose_detectors",
    "embedded_detector",
    "outline_detector",
]

#: Scores from which a detection counts: sure ones only, since nobody looks at them afterwards.
THRESHOLDS = {"person": 0.5, "face": 0.5, "license_plate": 0.5}
#: Long side at which outlines are found, and lowest score: an attacker knows that there was somebody.
OUTLINE_VIEW, OUTLINE_SCORE = (384,), 0.2
#: Lowest score of dlib's own detector, whose scores run from below 0 to about 3.
DLIB_SCORE = 0.2
#: Long side in pixels to which pictures are shrunk before dlib looks at them; bounds time.
DLIB_SIDE = 1600
#: Long side in pixels up to which a picture is also seen at twice its size, where faces from 40 pixels appear.
DLIB_SMALL = 800
#: dlib's network sees pictures at twice their size as long as their long side stays below this many pixels (time grows
#: with the area: about 1 s at 700 pixels); its scores run from 0 to about 1.1.
DLIB_GROWN, DLIB_NETWORK_SIDE, DLIB_NETWORK_SCORE = 2.0, 700, 0.5
#: Side in pixels of the tiles in which the judges' detectors of persons look at large pictures.
NANODET_TILE, MULTIPOSE_TILE = 640, 480
#: Lowest score of OpenCV's people detector, and the proportion of its windows left out on each side (x, y): they hold a
#: margin around the person. On Penn-Fudan (264 persons of the training, 28 of the validation pictures) it finds 53 and
#: 57 % at IoU 0.4, with 0.6 and 0.4 false alarms per picture; at 0.3: 57 and 68 %, with 0.8 and 0.4.
HOG_SCORE, HOG_MARGIN = 0.5, (0.15, 0.08)
#: The cascade of OpenCV that finds any plates but Russian ones, and its lowest score. On OpenALPR (207 and 23 plates)
#: it finds 29 and 22 % at IoU 0.3, with 0.14 and 0.22 false alarms per picture; the one of 16 stages finds 6 and 9 %.
HAAR_FILE, HAAR_SCORE = "haarcascade_russian_plate_number.xml", 2.0
HOG_KNOWN = "found 57 % of the persons of 12 Penn-Fudan pictures, with 0.3 false alarms per picture"
HAAR_KNOWN = "found 9 % of the plates of 23 OpenALPR pictures, with 0.2 false alarms per picture"
#: Tesseract sees pictures at twice their size as long as the long side stays below this many pixels; least confidence
#: and number of letters of a word. On OpenALPR and Romanian plates (12 and 9) it finds 3 and 1, with 0.6 and no other
#: words per picture.
WORD_GROWN, WORD_SIDE, WORD_SCORE, WORD_LENGTH = 2.0, 3200, 0.2, 4
WORDS_KNOWN = "found 4 of 21 plates of 20 pictures (OpenALPR, Romania), with 0.4 false alarms per picture"
#: Weights that the union of the embedded detectors has for each class: a run with one of them was not watched by it.
EMBEDDED_PARTS: Mapping[str, tuple[str, ...]] = {
    "person": ("detector",),
    "face": ("detector", "centerface"),
    "license_plate": ("detector", "ppocr"),
}
#: Long sides at which fetched networks look, as in the presets that they are made for.
FETCHED_SIZES = (640, 1280)


@dataclass(frozen=True, slots=True)
class LeakDetector:
    """A detector that looks for what a run has missed.

    Args:
        name: Short name for tables.
        labels: Classes that it finds.
        independent: Of these, those for which nothing of it took part in the run.
        backend: Finds them.
        known: What is known of how well it finds, for people; "" for nothing.
    """

    name: str
    labels: tuple[str, ...]
    independent: tuple[str, ...]
    backend: Detector
    known: str = ""


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
        edges = np.array([(r.left(), r.top(), r.right() + 1, r.bottom() + 1) for r in found], dtype=np.float32)
        return boxes_as_instances("face", edges.reshape(-1, 4) / scale, np.array(scores) / 2, image, "dlib-frontal")


class DlibFaceNetwork:
    """dlib's convolutional detector of faces, from about 80 pixels on, turned ones too; slow.

    Args:
        path: ``mmod_human_face_detector.dat``.

    Raises:
        ModelError: dlib cannot read it.
    """

    def __init__(self, path: Path) -> None:
        import dlib

        try:
            self._detector = dlib.cnn_face_detection_model_v1(str(path))
        except RuntimeError as error:
            raise ModelError(f"dlib: cannot read {path.name} ({error}); run `anonymizer models verify`") from error

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return faces of RGB uint8 (H, W, 3); boxes only."""
        import cv2

        height, width = image.shape[:2]
        scale = min(DLIB_GROWN, DLIB_NETWORK_SIDE / max(height, width))
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        found = self._detector(np.ascontiguousarray(cv2.resize(image, size, interpolation=method)), 0)
        sure = [one for one in found if one.confidence >= DLIB_NETWORK_SCORE]
        edges = [(o.rect.left(), o.rect.top(), o.rect.right() + 1, o.rect.bottom() + 1) for o in sure]
        scores = np.array([one.confidence for one in sure])
        boxes = np.array(edges, np.float32).reshape(-1, 4) / scale
        return boxes_as_instances("face", boxes, scores, image, "dlib-network")


class HogPersonDetector:
    """OpenCV's linear classifier of upright people on oriented gradients; in OpenCV 4 only, and no network.

    Raises:
        ModelError: The installed OpenCV has none.
    """

    def __init__(self) -> None:
        cv2 = _opencv("HOGDescriptor")
        self._detector = cv2.HOGDescriptor()
        self._detector.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return upright persons of RGB uint8 (H, W, 3) from about 110 pixels of height on; boxes only."""
        pixels = np.ascontiguousarray(image[..., ::-1])  # RGB -> BGR
        # Looked for from 0 on and chosen afterwards: neighbours that agree are what makes a detection here.
        found, scores = self._detector.detectMultiScale(pixels, 0.0, (8, 8), (16, 16), 1.05)
        boxes = np.asarray(found, dtype=np.float32).reshape(-1, 4)  # x, y, width, height
        scores = np.ravel(scores)
        boxes, scores = boxes[scores >= HOG_SCORE], scores[scores >= HOG_SCORE]
        inner = boxes[:, 2:] * np.array(HOG_MARGIN, dtype=np.float32)
        edges = np.concatenate([boxes[:, :2] + inner, boxes[:, :2] + boxes[:, 2:] - inner], axis=1)
        return boxes_as_instances("person", edges, scores / 2, image, "opencv-hog")


class HaarPlateDetector:
    """OpenCV's cascade of Haar features for license plates; in OpenCV 4 only, and no network.

    Raises:
        ModelError: The installed OpenCV has no cascades, or not this one.
    """

    def __init__(self) -> None:
        cv2 = _opencv("CascadeClassifier")
        self._cascade = cv2.CascadeClassifier(f"{cv2.data.haarcascades}{HAAR_FILE}")
        if self._cascade.empty():
            raise ModelError(f"opencv-haar: expected {HAAR_FILE} in {cv2.data.haarcascades}, found none")

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return plates of RGB uint8 (H, W, 3); boxes only."""
        import cv2

        grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
        found, _, scores = self._cascade.detectMultiScale3(grey, 1.05, 4, outputRejectLevels=True)
        boxes, scores = np.asarray(found, dtype=np.float32).reshape(-1, 4), np.ravel(scores)
        boxes, scores = boxes[scores >= HAAR_SCORE], scores[scores >= HAAR_SCORE]
        edges = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        return boxes_as_instances("license_plate", edges, scores / 5, image, "opencv-haar")


class WordPlateDetector:
    """License plates by Tesseract's reading of the whole picture: words of plates' letters with a digit. Weak.

    Raises:
        ModelError: The program is not installed.
    """

    def __init__(self) -> None:
        from anonymizer.recognize.ocr import TesseractReader

        self._reader = TesseractReader()

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return words that look like plates in RGB uint8 (H, W, 3); boxes only."""
        import cv2

        scale = min(WORD_GROWN, WORD_SIDE / max(image.shape[:2]))
        size = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
        large = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        found = [word for word in self._reader.find_words(large, WORD_SCORE) if _like_a_plate(word.text)]
        boxes = np.array([[*w.polygon.min(axis=0), *w.polygon.max(axis=0)] for w in found], np.float32).reshape(-1, 4)
        scores = np.array([word.score for word in found])
        return boxes_as_instances("license_plate", boxes / scale, scores, image, "tesseract-words")


def _like_a_plate(text: str) -> bool:
    letters = [letter for letter in text.upper() if letter in LETTERS]
    return len(letters) >= WORD_LENGTH and any(letter.isdigit() for letter in letters)


def outline_detector() -> Detector:
    """Return a detector of persons with masks, in one look: it runs once for every person described.

    Raises:
        ModelError: Weights are missing or corrupt.
    """
    from anonymizer.detect.yolo import OWN, YoloSegDetector

    return YoloSegDetector(weights.path("detector"), {"person": OUTLINE_SCORE}, sizes=OUTLINE_VIEW, classes=OWN)


def embedded_detector() -> Detector:
    """Return the union of the embedded network, CenterFace and text: for what is in the originals.

    Raises:
        ModelError: Weights are missing or corrupt.
    """
    from anonymizer.detect.faces import CenterFaceDetector
    from anonymizer.detect.merge import UnionDetector
    from anonymizer.detect.plates import TextDetector
    from anonymizer.detect.tiling import TiledDetector
    from anonymizer.detect.yolo import OWN, YoloSegDetector
    from anonymizer.recognize.ocr import RapidOcrReader

    parts = (
        YoloSegDetector(weights.path("detector"), THRESHOLDS, classes=OWN),
        CenterFaceDetector(weights.path("centerface"), THRESHOLDS["face"]),
        TextDetector(RapidOcrReader(weights.path("ppocr"))),
    )
    return UnionDetector([TiledDetector(part) for part in parts], CLASSES)


def choose_detectors(
    models: Mapping[str, str] | None, judges: Judges | None = None
) -> tuple[tuple[LeakDetector, ...], tuple[Unavailable, ...]]:
    """Open every detector on this machine that can look for what a run has missed.

    Args:
        models: Models of the run by id with their sha256. None: unknown; then the embedded detectors are taken to have
            been part of it, and others not.
        judges: What a script has made, or None.

    Returns:
        Detectors, the embedded ones first, and those that are not here.

    Raises:
        ModelError: Embedded weights are missing or corrupt.
    """
    used = {} if models is None else models

    def apart(weight_id: str) -> bool:
        return weight_id not in used and weights.digest(weight_id) not in used.values()

    labels = tuple(EMBEDDED_PARTS)
    free = () if models is None else tuple(label for label in labels if all(map(apart, EMBEDDED_PARTS[label])))
    found = [
        LeakDetector("embedded", labels, free, embedded_detector()),
        LeakDetector("dlib-frontal", ("face",), ("face",), DlibFrontalDetector()),
        LeakDetector("dlib-network", ("face",), ("face",), DlibFaceNetwork(weights.path("dlib-cnn"))),
        *_made(judges),
    ]
    missing = []
    others: tuple[tuple[str, str, Callable[[], Detector], str, str], ...] = (
        ("opencv-hog", "person", HogPersonDetector, "", HOG_KNOWN),
        ("opencv-haar", "license_plate", HaarPlateDetector, "", HAAR_KNOWN),
        ("tesseract-words", "license_plate", WordPlateDetector, "", WORDS_KNOWN),
        ("yolo26m-seg", "person", _fetched_persons, "yolo26m-seg", ""),
        ("plates", "license_plate", _fetched_plates, "plates", ""),
    )
    for name, label, make, weight_id, known in others:
        try:
            detector = make()
        except ModelError as error:
            missing.append(Unavailable(f"{name} (detector)", str(error)))
            continue
        independent = (label,) if not weight_id or apart(weight_id) else ()
        found.append(LeakDetector(name, (label,), independent, detector, known))
    return tuple(found), tuple(missing)


def _made(judges: Judges | None) -> tuple[LeakDetector, ...]:
    """Return the judges' detectors of persons: no run has them, so they are independent of every one."""
    from anonymizer.detect.tiling import TiledDetector

    if judges is None:
        return ()
    tiles = {"nanodet": NANODET_TILE, "movenet-multipose": MULTIPOSE_TILE}
    return tuple(
        LeakDetector(name, ("person",), ("person",), TiledDetector(detector, tiles[name], min_side=tiles[name]))
        for name, detector in judges.detectors()
    )


def _fetched_persons() -> Detector:
    from anonymizer.detect.yolo import COCO, COCO_LABELS, YoloSegDetector

    thresholds = {"person": THRESHOLDS["person"]}
    path = weights.path("yolo26m-seg")
    return YoloSegDetector(path, thresholds, sizes=FETCHED_SIZES, classes=COCO, labels=COCO_LABELS)


def _fetched_plates() -> Detector:
    from anonymizer.detect.plate_network import PlateNetwork

    return PlateNetwork(weights.path("plates"), THRESHOLDS["license_plate"], FETCHED_SIZES)


def _opencv(name: str) -> Any:
    """Return OpenCV if it has what is named.

    Raises:
        ModelError: It has not.
    """
    import cv2

    if not hasattr(cv2, name):
        raise ModelError(f"OpenCV {cv2.__version__} has no {name}; OpenCV 4 has (`pip install 'opencv-python<5'`)")
    return cv2
