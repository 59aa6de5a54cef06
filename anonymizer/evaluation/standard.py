"""Standard metrics of utility that tools are compared by, beside average precision and kernel distance.

For every treatment: the proportion of pixels changed, and of these what lies in nobody; joints and face landmarks that
are found at the same place; recall of detectors that are no part of the run; and, where their networks are given as
files, Fréchet distance (FID) and LPIPS of crops. Of released pictures also regions in which nobody is known.

Source:
    Heusel et al., GANs trained by a two time-scale update rule converge, 2017 (FID); Zhang et al., The unreasonable
    effectiveness of deep features as a perceptual metric, 2018 (LPIPS).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anonymizer.core.geometry import box_iou, full_mask
from anonymizer.core.records import Floats, Image, Mask
from anonymizer.evaluation.distances import frechet
from anonymizer.evaluation.label_consistency import MATCH, as_instance, mean_ratio
from anonymizer.evaluation.records import Estimate, Subject
from anonymizer.redraw.crops import anonymized_mask

if TYPE_CHECKING:
    from anonymizer.evaluation.detectors import LeakDetector
    from anonymizer.evaluation.networks import CropDistance, CropNetwork, MoveNet
    from anonymizer.evaluation.subjects import FaceFinder

__all__ = ["StandardMetrics", "Tools"]

#: Levels of 255 from which a pixel counts as changed: saving a JPEG of quality 85 anew moves hardly one so far.
CHANGED = 16
#: Score from which a joint is sure (MoveNet's maker draws them from 0.3), and how far it may move, of the box's height.
JOINT_SCORE, JOINT_NEAR = 0.3, 0.1
#: Most subjects of a class that networks look at.
MOST = 200
#: Fewest crops for a Fréchet distance.
LEAST = 20
NOBODY = "nobody of this class is known"


@dataclass(frozen=True, slots=True)
class Tools:
    """What measures.

    Args:
        faces: Finds landmarks of faces; None: they are not measured.
        pose: Finds joints, or None.
        detectors: Detectors that are no part of the run.
        inception: Features for the Fréchet distance, or None.
        lpips: Perceptual distance of two crops, or None.
    """

    faces: FaceFinder | None = None
    pose: MoveNet | None = None
    detectors: tuple[LeakDetector, ...] = ()
    inception: CropNetwork | None = None
    lpips: CropDistance | None = None


class StandardMetrics:
    """Gathers the metrics picture by picture, of each the original first.

    Args:
        labels: Classes.
        tools: What measures.
    """

    def __init__(self, labels: Sequence[str], tools: Tools) -> None:
        self._labels, self._tools = tuple(labels), tools
        # Sum and count in each picture, by metric and what it is of.
        self._sums: dict[tuple[str, ...], list[tuple[float, float]]] = defaultdict(list)
        self._crops: dict[tuple[str, str], list[Floats]] = defaultdict(list)
        self._seen: dict[str, int] = defaultdict(int)
        self._known: dict[int, Floats | None] = {}
        self._mine: tuple[Subject, ...] = ()

    def add(
        self, variant: str, original: Image, image: Image, subjects: Sequence[Subject], treated: Mask | None = None
    ) -> None:
        """Take one variant of a picture.

        Args:
            variant: Its name; ``original`` begins a picture.
            original: RGB uint8 (H, W, 3).
            image: The same treated.
            subjects: Who is in it.
            treated: bool (H, W), what the run treated; None where that is not known, and for other variants.
        """
        if variant == "original":
            self._known = {}
            self._mine = tuple(s for s in subjects if s.label in self._labels and self._within(s.label))
        size = original.shape[0], original.shape[1]
        self._area(variant, original, image, subjects, treated, size)
        for label in self._labels:
            mine = [subject for subject in self._mine if subject.label == label]
            for detector in self._tools.detectors:
                if label in detector.independent:
                    self._detected(detector, label, variant, image, mine)
            for subject in mine:
                self._crop(variant, original, image, subject)
        for subject in self._mine:
            if subject.label == "person" and self._tools.pose is not None:
                self._pose(self._tools.pose, variant, image, subject)
            if subject.label == "face" and self._tools.faces is not None:
                self._face(self._tools.faces, variant, image, subject)

    def rows(self, rng: np.random.Generator, rounds: int) -> dict[str, Any]:
        """Return records with estimates and 95 % intervals by bootstrap over pictures.

        Args:
            rng: Draws the pictures.
            rounds: Resamples.

        Returns:
            ``changed``: by ``variant`` ``pixels``, the proportion changed, ``needless``, of these the proportion in
            nobody's region, and ``false_regions``, treated regions in a picture in which nobody is known. ``places``:
            by ``label`` and ``variant`` ``error``, of joints in heights of the box, of landmarks in distances between
            the eyes, and ``kept``, the proportion found at the same place. ``detected``: by ``detector``, ``label``
            and ``variant`` the recall ``found``. ``fid`` and ``lpips``: by ``label`` and ``variant`` ``estimate``.
        """

        def ratio(key: tuple[str, ...], reason: str) -> Estimate:
            table = np.array(self._sums.get(key, []), np.float64).reshape(-1, 2)
            return mean_ratio(table[:, 0], table[:, 1], rng, rounds, reason)

        def of(metric: str) -> list[tuple[str, ...]]:
            return [key[1:] for key in self._sums if key[0] == metric]

        return {
            "changed": [
                {
                    "variant": variant,
                    "pixels": ratio(("pixels", variant), ""),
                    "needless": ratio(("needless", variant), "no pixel is changed"),
                    "false_regions": ratio(("false_regions", variant), "it is not known what was treated"),
                }
                for (variant,) in of("pixels")
            ],
            "places": [
                {
                    "label": label,
                    "variant": variant,
                    "error": ratio(("error", label, variant), "nothing is found in both pictures"),
                    "kept": ratio(("kept", label, variant), "nothing is found in the originals"),
                }
                for label, variant in of("kept")
            ],
            "detected": [
                {"detector": name, "label": label, "variant": variant, "found": ratio(("found", *key), NOBODY)}
                for key in of("found")
                for name, label, variant in [key]
            ],
            "fid": [
                {"label": label, "variant": variant, "estimate": _fid(self._crops, label, variant)}
                for label, variant in self._crops
                if variant != "original"
            ],
            "lpips": [
                {"label": label, "variant": variant, "estimate": ratio(("lpips", label, variant), NOBODY)}
                for label, variant in of("lpips")
            ],
        }

    def _within(self, label: str) -> bool:
        self._seen[label] += 1
        return self._seen[label] <= MOST

    def _area(
        self, variant: str, original: Image, image: Image, subjects: Sequence[Subject], treated: Mask | None,
        size: tuple[int, int],
    ) -> None:  # fmt: skip
        """Count pixels that differ, those of them in nobody's region, and regions in which nobody is known."""
        import cv2

        differs = cv2.absdiff(original, image).max(axis=2) >= CHANGED
        people = anonymized_mask(map(as_instance, subjects), size)
        self._sums["pixels", variant].append((float(differs.sum()), float(differs.size)))
        self._sums["needless", variant].append((float((differs & ~people).sum()), float(differs.sum())))
        if treated is None:
            return
        count, numbers = cv2.connectedComponents(treated.astype(np.uint8), connectivity=8)
        known = np.zeros(size, np.bool_)
        for subject in subjects:
            known |= full_mask(as_instance(subject), size)
        self._sums["false_regions", variant].append((float(count - len(np.union1d(numbers[known], [0]))), 1.0))

    def _detected(
        self, detector: LeakDetector, label: str, variant: str, image: Image, mine: Sequence[Subject]
    ) -> None:
        """Count subjects that a detector finds at their place."""
        boxes = [found.box for found in detector.backend.detect(image) if found.label == label] if mine else []
        overlaps = box_iou(np.stack([s.box for s in mine]), np.stack(boxes)) if boxes else np.zeros((len(mine), 1))
        found = float((overlaps.max(axis=1, initial=0.0) >= MATCH).sum())
        self._sums["found", detector.name, label, variant].append((found, float(len(mine))))

    def _pose(self, pose: MoveNet, variant: str, image: Image, subject: Subject) -> None:
        """Compare joints (17, 3) with those of the original."""
        joints = pose.find(image, subject.box)
        if variant == "original":
            self._known[subject.number] = joints
        before = self._known[subject.number]
        if before is None:
            return
        moved = np.hypot(*(joints - before)[:, :2].T) / max(float(subject.box[3] - subject.box[1]), 1.0)
        sure = before[:, 2] >= JOINT_SCORE
        both = sure & (joints[:, 2] >= JOINT_SCORE)
        self._sums["error", "person", variant].append((float(moved[both].sum()), float(both.sum())))
        self._sums["kept", "person", variant].append((float((moved[both] <= JOINT_NEAR).sum()), float(sure.sum())))

    def _face(self, faces: FaceFinder, variant: str, image: Image, subject: Subject) -> None:
        """Compare landmarks (5, 2) with those of the original."""
        seen = faces.find(image, subject.box)
        if variant == "original":
            self._known[subject.number] = None if seen is None else seen[1]
        before = self._known[subject.number]
        if before is None:
            return
        self._sums["kept", "face", variant].append((float(seen is not None), 1.0))
        if seen is not None:
            eyes = max(float(np.hypot(*(before[0] - before[1]))), 1.0)
            error = float(np.hypot(*(seen[1] - before).T).mean()) / eyes
            self._sums["error", "face", variant].append((error, 1.0))

    def _crop(self, variant: str, original: Image, image: Image, subject: Subject) -> None:
        """Describe a crop, and compare it with the original's."""
        if self._tools.inception is not None:
            self._crops[subject.label, variant].append(self._tools.inception.describe(image, subject.box))
        if self._tools.lpips is not None:
            distance = self._tools.lpips.between(original, image, subject.box)
            self._sums["lpips", subject.label, variant].append((distance, 1.0))


def _fid(crops: Mapping[tuple[str, str], list[Floats]], label: str, variant: str) -> Estimate:
    """Return the distance of treated crops to the original ones."""
    before, after = crops[label, "original"], crops[label, variant]
    if len(after) < LEAST:
        return Estimate(None, count=len(after), reason=f"{len(after)} crops, a Fréchet distance needs at least {LEAST}")
    return Estimate(frechet(np.stack(before), np.stack(after)), count=len(after))
