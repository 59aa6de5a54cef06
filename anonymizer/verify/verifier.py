"""The verifier: every check on a redrawn picture, with one detection pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError, StageError
from anonymizer.core.geometry import context_box, eyes_apart, integer_box, outline_box, paste_window, take
from anonymizer.core.records import (
    Action,
    Detector,
    FaceEmbedder,
    Instance,
    OCRReader,
    Verdict,
    check_image,
)
from anonymizer.verify import checks

__all__ = ["SOME_FACE", "Evidence", "Verifier", "VerifySettings"]

#: A detection with at least this IoU with a redacted face may be that face, still there.
SOME_FACE = 0.2
#: It is compared with the original if less than this share of it was treated: the fill itself holds nothing of a face.
FILLED = 0.8
#: A face is seen in profile if its eyes are less than the first apart, in heights of its box (``eyes_apart``). Where
#: nobody knows the eyes, it is if FaceMesh sees one that faces the camera with less than the second.
PROFILE, FACING = 0.1, 0.1
#: An embedding's length may differ from 1 by this much, for rounding.
UNIT = 1e-2

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class VerifySettings:
    """Limits of the checks.

    Args:
        least_iou: Box IoU per class with which an instance must be found again.
        shared_iou: The same for persons whose box other redrawn persons share.
        face_similarity: Cosine similarity from which two faces are the same; the embedder's own if None.
        text_similarity: Similarity from which two readings are the same text.
        least_cover: Share of a second-pass detection that must have been treated.
        feather: Pixels at a mask's rim that blend by design.
        text_margin: Context around a plate for OCR, as a share of its longer side.
        text_height: Least height in pixels at which a plate is read; smaller ones are enlarged.
    """

    least_iou: Mapping[str, float] = field(default_factory=lambda: dict(checks.LEAST_IOU))
    shared_iou: float = checks.SHARED_IOU
    face_similarity: float | None = None
    text_similarity: float = 0.5
    least_cover: float = 0.5
    feather: int = 0
    text_margin: float = 0.15
    text_height: int = 96


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the original showed, gathered once per picture. Identifying: never write it anywhere.

    Args:
        original: RGB uint8 (H, W, 3).
        instances: What was found in it.
        faces: Unit embedding float32 (D,) by instance id, made when it is first compared; empty without an embedder.
        texts: Readings by instance id; empty without OCR.
        profiles: Ids of faces seen in profile.
    """

    original: Image
    instances: tuple[Instance, ...]
    faces: Mapping[int, NDArray[np.float32]] = field(repr=False)
    texts: Mapping[int, tuple[str, ...]] = field(repr=False)
    profiles: frozenset[int] = frozenset()


class _Embeddings(Mapping[int, NDArray[np.float32]]):
    """Embeddings by instance id, made when they are first asked for: those of faces that are filled rarely are.

    Args:
        make: Makes each.
    """

    def __init__(self, make: Mapping[int, Callable[[], NDArray[np.float32]]]) -> None:
        self._make = dict(make)
        self._made: dict[int, NDArray[np.float32]] = {}

    def __getitem__(self, key: int) -> NDArray[np.float32]:
        if key not in self._made:
            self._made[key] = self._make[key]()
        return self._made[key]

    def __contains__(self, key: object) -> bool:
        return key in self._make

    def __iter__(self) -> Iterator[int]:
        return iter(self._make)

    def __len__(self) -> int:
        return len(self._make)


class Verifier:
    """Checks redrawn pictures against their originals.

    Args:
        detector: Finds instances in the result.
        face_embedder: Compares faces, or None to leave that check out.
        ocr: Reads plates, or None to leave that check out.
        settings: Limits of the checks.
        keep: Chooses what is anonymized of all that the detector finds, with the thresholds of the first pass: what is
            chosen in a result and shows original pixels is a leak. None: everything found is.
    """

    def __init__(
        self,
        detector: Detector,
        face_embedder: FaceEmbedder | None = None,
        ocr: OCRReader | None = None,
        settings: VerifySettings | None = None,
        keep: Callable[[Sequence[Instance]], tuple[Instance, ...]] | None = None,
    ) -> None:
        self.detector = detector
        self.face_embedder = face_embedder
        self.ocr = ocr
        self.settings = settings or VerifySettings()
        self.keep = keep or tuple

    def examine(self, original: Image, instances: Sequence[Instance], known: Evidence | None = None) -> Evidence:
        """Return what the original shows: embeddings of its faces, made when compared, and readings of its plates.

        Args:
            original: RGB uint8 (H, W, 3).
            instances: What was found in it.
            known: What was returned for the same picture before: the same instances are not looked at again.

        Raises:
            InputError: The image is no RGB uint8 (H, W, 3), or two instances share an id.
        """
        check_image(original)
        every = tuple(instances)
        if len({instance.id for instance in every}) != len(every):
            raise InputError("instances: expected a different id for each, got duplicates; number them from 1")
        faces: dict[int, Callable[[], NDArray[np.float32]]] = {}
        texts: dict[int, tuple[str, ...]] = {}
        profiles: set[int] = set()
        before = {id(instance) for instance in known.instances} if known is not None else set()
        for instance in every:
            if known is not None and id(instance) in before:
                if instance.id in known.faces:
                    faces[instance.id] = partial(known.faces.__getitem__, instance.id)
                texts |= {instance.id: known.texts[instance.id]} if instance.id in known.texts else {}
                profiles |= {instance.id} & known.profiles
            elif instance.label == "face" and self.face_embedder is not None:
                faces[instance.id] = partial(self._embed, self.face_embedder, original, instance)
                if _in_profile(instance):
                    profiles.add(instance.id)
            elif instance.label in ("license_plate", "text") and self.ocr is not None:
                texts[instance.id] = self._read(self.ocr, original, instance)
        return Evidence(original, every, _Embeddings(faces), texts, frozenset(profiles))

    def find(self, result: Image) -> tuple[Instance, ...]:
        """Return detections in a result; give them to ``check`` and ``leaks`` to detect only once."""
        return self.detector.detect(check_image(result))

    def check(
        self,
        evidence: Evidence,
        result: Image,
        treated: Mask,
        actions: Mapping[int, Action],
        found: Sequence[Instance] | None = None,
        leaks: Sequence[Instance] | None = None,
    ) -> tuple[Verdict, ...]:
        """Return every verdict on a result: per instance in order, then ``second_pass`` for the whole picture.

        A redacted instance need not be found again; that nothing of it leaks is checked all the same.

        Args:
            evidence: What ``examine`` returned for the original.
            result: RGB uint8 (H, W, 3).
            treated: bool (H, W), pixels that were replaced.
            actions: What was done, by instance id.
            found: What ``find`` returned for this result, or None to detect now.
            leaks: What ``leaks`` returned for it and is to be anonymized, or None to look for leaks among ``found``.

        Raises:
            InputError: Sizes differ or an instance has no action.
            StageError: An embedding is not of unit length.
        """
        self._check_frames(evidence, result, treated)
        missing = [instance.id for instance in evidence.instances if instance.id not in actions]
        if missing:
            raise InputError(f"actions: expected one per instance, none given for ids {missing}")
        seen = self.find(result) if found is None else tuple(found)
        verdicts: list[Verdict] = []
        # Faces, or parts of them, that show pixels which were not replaced.
        bare = checks.second_pass([i for i in seen if i.label == "face"], treated, FILLED)
        redrawn = [instance for instance in evidence.instances if actions[instance.id] == "redrawn"]
        for instance in evidence.instances:
            verdicts += self._check_instance(evidence, result, instance, actions[instance.id], seen, bare, redrawn)
        count = len(self.leaks(treated, seen) if leaks is None else leaks)
        verdicts.append(Verdict("second_pass", count == 0, float(count), 0.0, None, "untreated detections"))
        return tuple(verdicts)

    def leaks(self, treated: Mask, found: Sequence[Instance]) -> tuple[Instance, ...]:
        """Return detections in a result that still show original pixels.

        Args:
            treated: bool (H, W), pixels that were replaced.
            found: What ``find`` returned for the result.
        """
        return tuple(checks.second_pass(self.keep(found), treated, self.settings.least_cover))

    def keeps(self, instance: Instance, found: Sequence[Instance]) -> bool:
        """Return whether an instance's class is found in a result where the instance is."""
        return self._class_kept(instance, found, ()).passed

    def _class_kept(self, instance: Instance, found: Sequence[Instance], redrawn: Sequence[Instance]) -> Verdict:
        shared = checks.shares_box(instance, redrawn)
        least = self.settings.shared_iou if shared else self.settings.least_iou.get(instance.label)
        return checks.class_kept(instance, found, least)

    def _check_instance(
        self,
        evidence: Evidence,
        result: Image,
        instance: Instance,
        action: Action,
        found: Sequence[Instance],
        bare: Sequence[Instance],
        redrawn: Sequence[Instance],
    ) -> list[Verdict]:
        settings = self.settings
        size = evidence.original.shape[0], evidence.original.shape[1]
        picture, local = paste_window(integer_box(instance.box), size)
        verdicts = [
            checks.pixels_replaced(
                evidence.original[picture], result[picture], instance.mask[local], settings.feather, instance.id
            )
        ]
        # Text is found by OCR, not by the detector: there is no class to find again.
        if action == "redrawn" and instance.label != "text":
            verdicts.append(self._class_kept(instance, found, redrawn))
        if action == "redrawn" and instance.label == "person":
            verdicts.append(checks.outlined_person(instance))
        if self.face_embedder is not None and instance.id in evidence.faces:
            verdicts.append(self._compare_face(self.face_embedder, evidence, result, instance, action, bare))
        if self.ocr is not None and instance.id in evidence.texts:
            # Nothing of a redacted plate's own can be read: around it, text that was never part of it may go on.
            readings = self._read(self.ocr, result, instance, 0.0 if action == "redacted" else None)
            verdicts.append(
                checks.plate_text(evidence.texts[instance.id], readings, instance.id, settings.text_similarity)
            )
        return verdicts

    def _compare_face(
        self,
        embedder: FaceEmbedder,
        evidence: Evidence,
        result: Image,
        instance: Instance,
        action: Action,
        bare: Sequence[Instance],
    ) -> Verdict:
        limit = self.settings.face_similarity
        usual = embedder.threshold
        apart = getattr(embedder, "profile_threshold", None) if instance.id in evidence.profiles else None
        usual = usual if apart is None else apart
        threshold = usual if limit is None else limit
        # A descriptor says nothing about a patch without a face: such patches all lie near the average face.
        if action == "redacted" and not checks.class_kept(instance, bare, SOME_FACE).passed:
            return Verdict(
                "face_distance", True, None, threshold, instance.id, "nothing of the face is left to compare"
            )
        # Where the face shows: the original's box and landmarks, or the place of an avatar's.
        now = self._embed(embedder, result, instance)
        similarity = float(np.dot(evidence.faces[instance.id], now))
        return checks.face_distance(similarity, threshold, instance.id, apart is not None)

    def _read(self, ocr: OCRReader, image: Image, instance: Instance, margin: float | None = None) -> tuple[str, ...]:
        """Return what OCR reads in and around an instance: each line, and all lines joined."""
        x1, y1, x2, y2 = (float(v) for v in instance.box)
        around = self.settings.text_margin if margin is None else margin
        crop = take(image, context_box(instance.box, around, (y2 - y1) / (x2 - x1)))
        scale = self.settings.text_height / crop.shape[0]
        if scale > 1:
            size = round(crop.shape[1] * scale), self.settings.text_height
            crop = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        lines = tuple(line.text for line in ocr.read(np.ascontiguousarray(crop)))
        return (*lines, "".join(lines)) if len(lines) > 1 else lines

    @staticmethod
    def _embed(embedder: FaceEmbedder, image: Image, instance: Instance) -> NDArray[np.float32]:
        embedding = np.asarray(embedder.embed(image, outline_box(instance), instance.landmarks), np.float32)
        # A vector without direction would be unlike every face, and so pass for an anonymized one.
        if not abs(float(np.linalg.norm(embedding)) - 1.0) < UNIT:
            raise StageError("verify", "expected a finite face embedding of length 1", instance.id)
        return embedding

    @staticmethod
    def _check_frames(evidence: Evidence, result: Image, treated: Mask) -> None:
        check_image(result)
        if result.shape != evidence.original.shape or treated.shape != result.shape[:2]:
            raise InputError(
                f"result {result.shape} and treated {treated.shape}: expected the original's size "
                f"{evidence.original.shape[:2]}"
            )


def _in_profile(face: Instance) -> bool:
    apart = eyes_apart(face)
    if apart is not None:
        return apart < PROFILE
    return face.face is not None and face.face.confidence < FACING
