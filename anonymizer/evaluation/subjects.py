"""Subjects: people and plates in the originals, from annotations or found by detectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from anonymizer.annotations.records import Annotations
from anonymizer.core.errors import InputError
from anonymizer.core.geometry import box_iou, clip_box, integer_box
from anonymizer.core.records import Detector, Floats, Image, Instance
from anonymizer.evaluation.records import Subject

__all__ = ["CLASSES", "FaceFinder", "SubjectSource"]

#: Classes attacked.
CLASSES = ("person", "face", "license_plate")

#: Side in pixels to which the surroundings of a face are brought before it is looked for.
VIEW = 96
#: Surroundings looked at, as a proportion of the face's longer side added on each side.
AROUND = 0.5
#: IoU from which a face found is the face looked for; boxes of annotators and detectors differ in extent.
SAME_PLACE = 0.2
#: Lowest score of a face looked for at a known place: an attacker who knows where to look is not picky.
LEAST_SCORE = 0.2


class FaceFinder:
    """Finds a face again near a known place, with landmarks.

    The surroundings are brought to one size first, so a face is looked for at the scale that suits the detector.
    """

    def __init__(self) -> None:
        from anonymizer.detect.faces import CenterFaceDetector
        from anonymizer.models import weights

        # Seen once, at twice the size: a face of half the window's side, as the detector likes it.
        self._detector = CenterFaceDetector(weights.path("centerface"), LEAST_SCORE, scales=(2.0,))

    def find(self, image: Image, box: Floats) -> tuple[Floats, Floats] | None:
        """Return box (4,) and landmarks (5, 2) of the face that overlaps a box most, in pixels; None if none does.

        Args:
            image: RGB uint8 (H, W, 3).
            box: float32 (4,) xyxy.
        """
        import cv2

        x1, y1, x2, y2 = (float(v) for v in box)
        pad = AROUND * max(x2 - x1, y2 - y1)
        around = np.array([x1 - pad, y1 - pad, x2 + pad, y2 + pad], dtype=np.float32)
        left, top, right, bottom = integer_box(clip_box(around, (image.shape[0], image.shape[1])))
        part = image[top:bottom, left:right]
        scale = VIEW / max(part.shape[:2])
        size = max(round(part.shape[1] * scale), 1), max(round(part.shape[0] * scale), 1)
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        small: Image = np.asarray(cv2.resize(np.ascontiguousarray(part), size, interpolation=method), np.uint8)
        back = np.array([part.shape[1] / size[0], part.shape[0] / size[1]], dtype=np.float32)
        corner = np.array([left, top], dtype=np.float32)
        found = [face for face in self._detector.detect(small) if face.landmarks is not None]
        if not found:
            return None
        boxes = np.stack([face.box for face in found]) * np.tile(back, 2) + np.tile(corner, 2)
        overlaps = box_iou(boxes, box[None])[:, 0]
        best = int(overlaps.argmax())
        landmarks = found[best].landmarks
        if overlaps[best] < SAME_PLACE or landmarks is None:
            return None
        return boxes[best], landmarks * back + corner


class SubjectSource:
    """Gives the subjects of a picture.

    Annotated pictures are taken at their word; what an annotator left out is the leak attack's matter. Pictures without
    annotations are given to the detector. Faces without landmarks are looked at once more to get them.

    Args:
        annotations: Of the originals, or None.
        detector: Finds persons, faces and plates where nothing is annotated; None: such pictures have no subjects.
        faces: Finds landmarks.
        group_by: Annotated attribute that findings are split by, or "".
    """

    def __init__(
        self, annotations: Annotations | None, detector: Detector | None, faces: FaceFinder, group_by: str = ""
    ) -> None:
        self._annotations = annotations
        self._detector = detector
        self._faces = faces
        self._group_by = group_by

    def subjects(self, name: str, image: Image) -> tuple[Subject, ...]:
        """Return the subjects of RGB uint8 (H, W, 3).

        Raises:
            InputError: An annotation does not fit the picture.
        """
        size = image.shape[0], image.shape[1]
        given = None if self._annotations is None else self._annotations.instances(name, size)
        if given is None:
            found = () if self._detector is None else self._detector.detect(image)
        else:
            # A crowd region is nobody in particular.
            found = tuple(i for i in given.instances if not (i.record or {}).get("iscrowd"))
        found = tuple(instance for instance in found if instance.label in CLASSES)
        record: Mapping[str, Any] = {}
        if self._annotations is not None and given is not None:
            record = self._annotations.image(name) or {}
        return tuple(self._subject(name, number, found, record, image) for number in range(len(found)))

    def _subject(
        self, name: str, number: int, found: tuple[Instance, ...], picture: Mapping[str, Any], image: Image
    ) -> Subject:
        instance = found[number]
        record = instance.record or {}
        identity = record.get("identity")
        alone = sum(other.label == instance.label for other in found) == 1
        if "identity" not in record and alone and instance.label != "license_plate":
            identity = picture.get("identity")
        text = record.get("text")
        if instance.label == "license_plate" and identity is None and text:
            identity = str(text)
        landmarks = instance.landmarks if instance.landmarks is not None else _keypoints(record, f"{name}#{number}")
        if landmarks is None and instance.label == "face":
            seen = self._faces.find(image, instance.box)
            landmarks = None if seen is None else seen[1]
        return Subject(
            picture=name,
            number=number,
            label=instance.label,
            box=instance.box,
            landmarks=landmarks,
            mask=instance.mask,
            identity=None if identity is None else str(identity),
            text=None if text is None else str(text),
            source=instance.source,
            group=self._group(record, picture if alone else {}),
        )

    def _group(self, record: Mapping[str, Any], picture: Mapping[str, Any]) -> str | None:
        """Return the value of the attribute in a record's ``attributes``, the record itself, or its picture's."""
        if not self._group_by:
            return None
        attributes = record.get("attributes")
        for fields in (attributes if isinstance(attributes, Mapping) else {}, record, picture):
            value = fields.get(self._group_by)
            if isinstance(value, str | int | bool) and value != "":
                return str(value)
        return None


def _keypoints(record: Mapping[str, Any], what: str) -> Floats | None:
    """Return five landmarks of a face's record, given as x, y or as COCO's x, y, visibility; None if there are none.

    Raises:
        InputError: Other numbers than that.
    """
    values = record.get("keypoints")
    if not values:
        return None
    try:
        points = np.asarray(values, dtype=np.float32).ravel()
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: keypoints must be a list of numbers") from error
    if points.size == 15:
        triples = points.reshape(5, 3)
        if (triples[:, 2] == 0).any():
            return None  # COCO: visibility 0 is "not labelled"
        points = triples[:, :2].ravel()
    if points.size != 10 or not np.isfinite(points).all():
        return None  # a body's keypoints, say: no face landmarks
    return points.reshape(5, 2)
