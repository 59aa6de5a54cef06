"""Networks of judges, as ``models/judges/make_judges.py`` writes them. None of them takes part in a run.

Pictures are RGB uint8 (H, W, 3), boxes float32 (4,) xyxy in pixels, as everywhere.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import ModelError
from anonymizer.core.geometry import box_iou, clip_box, context_box, integer_box, take
from anonymizer.core.records import Detector, Floats, Image, Instance, Mask, check_image
from anonymizer.models.onnx import open_session
from anonymizer.models.weights import file_sha256
from anonymizer.recognize.align import ARCFACE_TEMPLATE, align, landmarks_from_box, neighbourhood
from anonymizer.recognize.body import found_again

__all__ = [
    "KERAS",
    "AttributePredictor",
    "CropDistance",
    "CropNetwork",
    "FaceInput",
    "ImageFeatures",
    "MoveNet",
    "MultiPoseDetector",
    "NanoDet",
    "NetworkFace",
    "OsnetEmbedder",
    "SilhouetteNetwork",
    "boxes_as_instances",
    "decode_nanodet",
    "outline_frame",
]

#: Side of NanoDet's input in pixels, and of its grids' cells.
NANODET_SIDE, STRIDES = 416, (8, 16, 32)
#: Mean and spread of ImageNet in BGR, as NanoDet was trained with (RangiLyu/nanodet, config of nanodet-g).
NANODET_MEAN, NANODET_SPREAD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
#: Least score that is kept, and IoU from which two finds are the same.
LEAST_SCORE, SAME = 0.05, 0.6
#: Surroundings of a person for NanoDet and for features, as a proportion of the longer side of the box on each side.
DETECT_MARGIN, FEATURE_MARGIN = 0.5, 0.1
#: Side of the input of EfficientNet-Lite2 in pixels (its resolution), and crops described at once.
FEATURE_SIDE, BATCH = 260, 8
#: Height and width of the ellipse of a person that is described, as proportions of the box: the scene is outside.
CORE = (0.9, 0.6)
#: Long side in pixels at which MoveNet MultiPose sees a picture or tile; its maker says 256; more finds smaller people.
MULTIPOSE_SIDE = 384
#: Its sides are multiples of this many pixels.
MULTIPOSE_STEP = 32
#: Height and width of a person for OSNet in pixels, and mean and spread of ImageNet in RGB (torchreid's transforms).
PERSON = (256, 128)
IMAGENET_MEAN, IMAGENET_SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Height and width in pixels of the frame in which a silhouette is seen whole: few standing persons are wider.
OUTLINE = (64, 48)
#: Surroundings of a person for MoveNet on each side, as a proportion of the box's longer side; its input in pixels.
POSE_MARGIN, POSE_SIDE = 0.125, 256
#: Side of crops in pixels: Inception's resolution, and what LPIPS is mostly given.
INCEPTION_SIDE, LPIPS_SIDE = 299, 128
#: Side of ArcFace's template in pixels.
TEMPLATE_SIDE = 112
#: Surroundings of a face that networks trained on loose squares see, as a proportion of its longer side on each side.
FACE_MARGIN = 0.15
#: What is added to blue, green and red for networks trained with Keras on Caffe's means of ImageNet.
KERAS = (-103.939, -116.779, -123.68)
#: Weights of red, green and blue in the grey that the package's own code makes for emotion.
GREY = (0.2989, 0.5870, 0.1140)


class NanoDet:
    """Persons, by NanoDet-g, trained on COCO.

    Args:
        path: ``nanodet.onnx``.
        score: Least score of a person.

    Raises:
        ModelError: The file is missing or unreadable.
    """

    def __init__(self, path: Path, score: float = LEAST_SCORE) -> None:
        self._session = open_session(path, path.stem)
        self._input = self._session.get_inputs()[0].name
        self._score = score
        self.sha256 = file_sha256(path)

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return persons of the whole picture, seen as one square; boxes only."""
        height, width = check_image(image).shape[:2]
        found = self.find(image, np.array([0, 0, width, height], np.float32), 0.0)
        found = found[found[:, 4] >= self._score]
        return boxes_as_instances("person", found[:, :4], found[:, 4], image, "nanodet")

    def find(self, image: Image, box: Floats, margin: float = DETECT_MARGIN) -> Floats:
        """Return persons around a box (4,) as float32 (N, 5): xyxy in the picture's pixels and score."""
        import cv2

        window = context_box(box, margin, 1.0)
        side = window[2] - window[0]
        crop = cv2.resize(take(image, window), (NANODET_SIDE, NANODET_SIDE), interpolation=_method(side, NANODET_SIDE))
        mean, spread = np.array(NANODET_MEAN, np.float32), np.array(NANODET_SPREAD, np.float32)
        blob = (crop[..., ::-1].astype(np.float32) - mean) / spread
        found = self._session.run(None, {self._input: blob.transpose(2, 0, 1)[None]})
        boxes = decode_nanodet(found)
        boxes[:, :4] *= side / NANODET_SIDE
        boxes[:, :4] += np.array([window[0], window[1]] * 2, np.float32)
        return boxes


def decode_nanodet(found: list[Floats]) -> Floats:
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


class MultiPoseDetector:
    """Persons, by MoveNet MultiPose: the six that it is surest of in a picture or tile.

    Args:
        path: ``movenet-multipose.onnx``.
        score: Least score of a person.

    Raises:
        ModelError: The file is missing or unreadable.
    """

    def __init__(self, path: Path, score: float) -> None:
        self._session = open_session(path, path.stem)
        self._input = self._session.get_inputs()[0].name
        self._score = score
        self.sha256 = file_sha256(path)

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return persons; boxes only."""
        import cv2

        height, width = check_image(image).shape[:2]
        scale = MULTIPOSE_SIDE / max(height, width)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        small = cv2.resize(image, size, interpolation=_method(max(height, width), MULTIPOSE_SIDE))
        down, across = (-side % MULTIPOSE_STEP for side in small.shape[:2])
        whole = np.pad(small, ((0, down), (0, across), (0, 0)))
        # (1, 6, 56): 17 joints of y, x, score, then top, left, bottom, right and score, in proportions of the input.
        found = self._session.run(None, {self._input: whole.astype(np.int32)[None]})[0][0]
        sides = np.array([whole.shape[1], whole.shape[0]] * 2, np.float32) / scale
        boxes = found[:, [52, 51, 54, 53]] * sides
        sure = found[:, 55] >= self._score
        return boxes_as_instances("person", boxes[sure], found[sure, 55], image, "movenet-multipose")


def boxes_as_instances(
    label: str, boxes: np.ndarray, scores: np.ndarray, image: Image, source: str
) -> tuple[Instance, ...]:
    """Return boxes (N, 4) xyxy with scores (N,) as instances with full masks; what lies outside is dropped."""
    out: list[Instance] = []
    for row, score in zip(boxes, scores, strict=True):
        box = clip_box(np.asarray(row, dtype=np.float32), (image.shape[0], image.shape[1]))
        if min(box[2] - box[0], box[3] - box[1]) >= 2:
            x1, y1, x2, y2 = integer_box(box)
            mask = np.ones((y2 - y1, x2 - x1), dtype=np.bool_)
            out.append(Instance(len(out) + 1, label, box, mask, float(np.clip(score, 0, 1)), source))
    return tuple(out)


class MoveNet:
    """Joints of a person, by MoveNet Thunder.

    Args:
        path: ``movenet.onnx``.

    Raises:
        ModelError: The file is missing or unreadable.
    """

    def __init__(self, path: Path) -> None:
        self._session = open_session(path, path.stem)
        self.sha256 = file_sha256(path)

    def find(self, image: Image, box: Floats) -> Floats:
        """Return COCO's 17 joints of the person in a box, float32 (17, 3): x, y in the picture's pixels and score."""
        crop, window = _window(image, box, POSE_MARGIN, POSE_SIDE)
        feed = {self._session.get_inputs()[0].name: crop.astype(np.int32)[None]}
        joints = self._session.run(None, feed)[0][0, 0][:, [1, 0, 2]]
        joints[:, :2] = joints[:, :2] * (window[2] - window[0]) + np.array(window[:2], np.float32)
        return np.asarray(joints, np.float32)


class CropNetwork:
    """Features of a crop for the Fréchet distance, by a network whose user has its file.

    Args:
        path: ``inception.onnx``: RGB in [0, 1], (N, 3, 299, 299) -> (N, D).

    Raises:
        ModelError: The file is missing or unreadable.
    """

    def __init__(self, path: Path) -> None:
        self._session = open_session(path, path.stem)
        self.sha256 = file_sha256(path)

    def describe(self, image: Image, box: Floats) -> Floats:
        """Return float32 (D,) for the square around a box."""
        blob = _blob(_window(image, box, FEATURE_MARGIN, INCEPTION_SIDE)[0])
        return np.asarray(self._session.run(None, {self._session.get_inputs()[0].name: blob})[0][0], np.float32).ravel()


class CropDistance:
    """LPIPS of two crops, by a network whose user has its file.

    Args:
        path: ``lpips.onnx``: two inputs, RGB in [-1, 1], (N, 3, H, W) each -> one number for each pair.

    Raises:
        ModelError: The file is missing or unreadable, or takes another number of inputs.
    """

    def __init__(self, path: Path) -> None:
        self._session = open_session(path, path.stem)
        self._inputs = [taken.name for taken in self._session.get_inputs()]
        if len(self._inputs) != 2:
            raise ModelError(f"{path.name}: expected two inputs, got {len(self._inputs)}")
        self.sha256 = file_sha256(path)

    def between(self, one: Image, two: Image, box: Floats) -> float:
        """Return the distance of what two pictures show in the square around a box."""
        blobs = [_blob(_window(image, box, FEATURE_MARGIN, LPIPS_SIDE)[0]) * 2 - 1 for image in (one, two)]
        return float(np.ravel(self._session.run(None, dict(zip(self._inputs, blobs, strict=True)))[0])[0])


def _window(image: Image, box: Floats, margin: float, side: int) -> tuple[Image, tuple[int, int, int, int]]:
    """Return the square around a box, RGB uint8 (side, side, 3), and where it lies."""
    import cv2

    window = context_box(box, margin, 1.0)
    method = _method(window[2] - window[0], side)
    return np.asarray(cv2.resize(take(image, window), (side, side), interpolation=method), np.uint8), window


def _blob(crop: Image) -> Floats:
    """Return a crop (H, W, 3) in [0, 1] as float32 (1, 3, H, W)."""
    return np.ascontiguousarray((crop.astype(np.float32) / 255).transpose(2, 0, 1)[None])


class ImageFeatures:
    """Features of crops, by EfficientNet-Lite2, trained on ImageNet. Of persons it is a judge; see ``Recognizer``.

    It was never trained to tell people apart, but sees clothes, hair and what people carry, which histograms of colour
    do not.

    Args:
        path: ``efficientnet-lite2.onnx``.

    Raises:
        ModelError: The file is missing or unreadable.
    """

    name: str = "ImageNet features (no trained re-identifier)"
    label: str = "person"
    licence: str = "Apache-2.0"
    judge: bool = True

    def __init__(self, path: Path) -> None:
        self._session = open_session(path, path.stem)
        self.sha256 = file_sha256(path)

    def describe(self, image: Image, boxes: Floats) -> Floats:
        """Return features float32 (N, 1280) of the square crops around boxes (N, 4)."""
        import cv2

        crops = []
        for box in boxes:
            window = context_box(box, FEATURE_MARGIN, 1.0)
            method = _method(window[2] - window[0], FEATURE_SIDE)
            crops.append(cv2.resize(take(image, window), (FEATURE_SIDE, FEATURE_SIDE), interpolation=method))
        return self._run(crops)

    def embed(self, image: Image, box: Floats, landmarks: Floats | None, mask: Mask | None) -> Floats:
        """Return a unit-length float32 (1280,) description of the middle of a person.

        Seen is an ellipse that is the same for everybody: corners of the box show the scene, which is kept on purpose,
        and a mask would draw its own outline into every picture, released or not.

        Args:
            image: RGB uint8 (H, W, 3).
            box: float (4,) xyxy in pixels.
            landmarks: Ignored.
            mask: Ignored.

        Raises:
            InputError: The picture has another shape or dtype.
        """
        import cv2

        del landmarks, mask
        crop = take(check_image(image), integer_box(box))
        method = _method(max(crop.shape[:2]), FEATURE_SIDE)
        square = cv2.resize(crop, (FEATURE_SIDE, FEATURE_SIDE), interpolation=method)
        at = (np.arange(FEATURE_SIDE) + 0.5) / FEATURE_SIDE * 2 - 1
        inside = np.hypot(at[:, None] / CORE[0], at[None] / CORE[1]) <= 1
        middle = np.where(inside[..., None], square, square[inside].mean(axis=0)).astype(np.uint8)
        return _unit(self._run([middle])[0])

    def _run(self, crops: list[np.ndarray]) -> Floats:
        # 127 and 128: how the network's makers normalise (tensorflow/tpu, efficientnet/lite).
        blob = ((np.stack(crops).astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2)
        parts = [
            self._session.run(None, {"image": np.ascontiguousarray(blob[n : n + BATCH])})[0]
            for n in range(0, len(blob), BATCH)
        ]
        return np.concatenate(parts).astype(np.float32)


class OsnetEmbedder:
    """Descriptions of persons by OSNet-AIN x0.25, trained to tell people apart in other places; see ``Recognizer``.

    Args:
        path: ``osnet.onnx``, as ``models fetch osnet-ain`` makes it.
        sha256: Hash of that file.
        licence: Of its weights.

    Raises:
        ModelError: The file is missing or unreadable, or takes another input.
    """

    name: str = "osnet-ain"
    label: str = "person"
    judge: bool = True

    def __init__(self, path: Path, sha256: str, licence: str) -> None:
        self._session = open_session(path, path.stem)
        taken = self._session.get_inputs()[0]
        if list(taken.shape[1:]) != [3, *PERSON]:
            raise ModelError(f"osnet-ain: expected an input of (N, 3, {PERSON[0]}, {PERSON[1]}), got {taken.shape}")
        self._input, self.sha256, self.licence = taken.name, sha256, licence

    def embed(self, image: Image, box: Floats, landmarks: Floats | None, mask: Mask | None) -> Floats:
        """Return a unit-length float32 (512,) description of RGB uint8 (H, W, 3) in a box; it was trained on boxes.

        Raises:
            InputError: The picture has another shape or dtype.
        """
        import cv2

        del landmarks, mask
        crop = take(check_image(image), integer_box(box))
        method = _method(crop.shape[0], PERSON[0])
        small = cv2.resize(crop, (PERSON[1], PERSON[0]), interpolation=method).astype(np.float32) / 255
        mean, spread = np.array(IMAGENET_MEAN, np.float32), np.array(IMAGENET_SPREAD, np.float32)
        blob = ((small - mean) / spread).transpose(2, 0, 1)[None]  # (256, 128, 3) -> (1, 3, 256, 128)
        return _unit(self._session.run(None, {self._input: blob})[0][0])


class SilhouetteNetwork:
    """Descriptions of persons by their outline alone, by a network that learned it from masks; see ``Recognizer``.

    Args:
        path: ``silhouette.onnx``, as ``models/judges/train_silhouettes.py`` writes it.
        detector: Finds the outline in the picture, which is what an attacker sees.

    Raises:
        ModelError: The file is missing or unreadable, or takes another input.
    """

    name: str = "silhouette network (found again)"
    label: str = "person"
    licence: str = "as the masks that it was trained on"
    judge: bool = True

    def __init__(self, path: Path, detector: Detector) -> None:
        self._session = open_session(path, path.stem)
        taken = self._session.get_inputs()[0]
        if list(taken.shape[1:]) != [1, *OUTLINE]:
            raise ModelError(f"{path.name}: expected an input of (N, 1, {OUTLINE[0]}, {OUTLINE[1]}), got {taken.shape}")
        self._input, self._detector, self.sha256 = taken.name, detector, file_sha256(path)

    def embed(self, image: Image, box: Floats, landmarks: Floats | None, mask: Mask | None) -> Floats:
        """Return a unit-length float32 (D,) description of the outline found in RGB uint8 (H, W, 3) at a box.

        Raises:
            InputError: The picture has another shape or dtype, or no person is found there.
        """
        del landmarks, mask
        _, outline = found_again(self._detector, image, box)
        return _unit(self._session.run(None, {self._input: outline_frame(outline)[None, None]})[0][0])


def outline_frame(mask: Mask) -> Floats:
    """Return a mask as large as it fits into a frame, in the middle: float32 (64, 48) in [0, 1].

    Args:
        mask: bool (H, W), at least one pixel set.
    """
    import cv2

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    tight = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
    scale = min(OUTLINE[0] / tight.shape[0], OUTLINE[1] / tight.shape[1])
    height, width = (max(round(side * scale), 1) for side in tight.shape)
    small = cv2.resize(tight, (width, height), interpolation=_method(max(tight.shape), max(height, width)))
    frame = np.zeros(OUTLINE, np.float32)
    top, left = (OUTLINE[0] - height) // 2, (OUTLINE[1] - width) // 2
    frame[top : top + height, left : left + width] = small
    return frame


@dataclass(frozen=True, slots=True)
class FaceInput:
    """What a network of faces takes and gives: RGB 0..255 times ``scale`` plus ``shift``.

    Args:
        output: Width of the output that is used.
        licence: Of its weights.
        aligned: Whether faces lie on ArcFace's template; else in squares around their boxes.
        bgr: Whether blue comes first.
        scale: Factor.
        shift: What is added, by channel in the network's order.
    """

    output: int
    licence: str
    aligned: bool = False
    bgr: bool = False
    scale: float = 1.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)


class _FaceNetwork:
    """A network of TensorFlow's order of axes, on one face at a time."""

    def __init__(self, path: Path, taken: FaceInput) -> None:
        self._session = open_session(path, path.stem)
        first = self._session.get_inputs()[0]
        self._input, self._side, self._channels = first.name, int(first.shape[1]), int(first.shape[3])
        wide = [o.name for o in self._session.get_outputs() if len(o.shape) == 2 and o.shape[1] == taken.output]
        if len(wide) != 1:
            raise ModelError(
                f"{path.name}: expected one output of width {taken.output}, found {len(wide)}; make the judge again"
            )
        self._output, self._taken = wide[0], taken

    def run(self, image: Image, box: Floats, landmarks: Floats | None) -> Floats:
        """Return the output (D,) for the face in a box."""
        taken = self._taken
        if taken.aligned:
            part, corner = neighbourhood(image, box)
            points = landmarks_from_box(box) if landmarks is None else landmarks
            chip = align(part, points - corner, ARCFACE_TEMPLATE * (self._side / TEMPLATE_SIDE), self._side)
        else:
            chip = _square(image, box, self._side)
        pixels = chip[..., ::-1].astype(np.float32) if taken.bgr else chip.astype(np.float32)
        if self._channels == 1:
            pixels = (pixels @ np.array(GREY, np.float32))[..., None]
        blob = pixels * taken.scale + np.array(taken.shift[: self._channels], np.float32)
        return np.asarray(self._session.run([self._output], {self._input: blob[None].astype(np.float32)})[0][0]).ravel()


class NetworkFace:
    """Descriptions of faces by a judge's network; see ``recognizers.FaceRecognizer``.

    Args:
        path: ONNX file that takes (1, side, side, 3).
        taken: What it takes and gives.

    Raises:
        ModelError: The file is missing, unreadable, or has no such output.
    """

    def __init__(self, path: Path, taken: FaceInput) -> None:
        self._network = _FaceNetwork(path, taken)

    def embed(self, image: Image, box: Floats, landmarks: Floats | None) -> Floats:
        """Return a unit-length float32 (D,) embedding of the face in a box, as ``ArcFaceEmbedder.embed``."""
        return _unit(self._network.run(image, box, landmarks))


class AttributePredictor:
    """What a network takes a face for: probabilities of one attribute's classes; see ``Recognizer``.

    These are guesses from looks, and wrong more often for some groups than for others. They say whether the same guess
    is made before and after, never what a person is.

    Args:
        name: Short name for tables.
        attribute: ``sex``, ``age`` or ``emotion``, as the network sees it.
        path: ONNX file that takes (1, side, side, 1 or 3).
        taken: What it takes and gives.

    Raises:
        ModelError: The file is missing, unreadable, or has no such output.
    """

    label: str = "face"
    judge: bool = True

    def __init__(self, name: str, attribute: str, path: Path, taken: FaceInput) -> None:
        self.name, self.attribute, self.licence = name, attribute, taken.licence
        self._network = _FaceNetwork(path, taken)
        # One file may predict two attributes, and describe faces too: each has a hash of its own.
        self.sha256 = hashlib.sha256(f"{file_sha256(path)} {attribute}".encode()).hexdigest()

    def embed(self, image: Image, box: Floats, landmarks: Floats | None, mask: Mask | None) -> Floats:
        """Return the output for the face in a box, float32 (D,): one probability, or one for each class or year."""
        del mask
        return np.asarray(self._network.run(image, box, landmarks), np.float32)

    def read(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return what outputs (N, D) say, float64 (N,): years of age, or the number of a class."""
        if self.attribute == "age":
            return np.asarray(outputs @ np.arange(outputs.shape[1]), np.float64)
        if outputs.shape[1] == 1:
            return (outputs[:, 0] > 0.5).astype(np.float64)
        return outputs.argmax(axis=1).astype(np.float64)


def _square(image: Image, box: Floats, side: int) -> Image:
    """Return the square around a face with a little of its surroundings, RGB uint8 (side, side, 3)."""
    import cv2

    window = context_box(box, FACE_MARGIN, 1.0)
    part = take(check_image(image), window)
    return np.asarray(cv2.resize(part, (side, side), interpolation=_method(part.shape[0], side)), np.uint8)


def _unit(vector: np.ndarray) -> Floats:
    norm = float(np.linalg.norm(vector))
    return np.asarray(vector / norm if norm > 0 else vector, np.float32)


def _method(side: int, target: int) -> int:
    import cv2

    return int(cv2.INTER_AREA if side > target else cv2.INTER_LINEAR)
