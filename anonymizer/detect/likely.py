"""What is likely enough to be treated, of all that a detector finds."""

from __future__ import annotations

from collections.abc import Mapping

from anonymizer.detect.plates import LIKELY
from anonymizer.errors import InputError
from anonymizer.types import Detector, Image, Instance

__all__ = ["LikelyDetector"]

#: Source whose scores say how well text was read, not how likely it is there.
READER = "ocr"


class LikelyDetector:
    """Leaves out what a detector finds with a low score, unless something belongs to it: a person whose face was found.

    The verifier uses the detector itself: a low score is enough to find again what was redrawn.

    Args:
        inner: Detector to run.
        scores: Per class, the score from which an instance is reported by itself; classes left out all are, and plates
            that OCR found.

    Raises:
        InputError: A score for plates beyond that of a plate which OCR read: a plate that a network also saw would then
            be left out.
    """

    def __init__(self, inner: Detector, scores: Mapping[str, float]) -> None:
        plates = scores.get("license_plate", 0.0)
        if plates > LIKELY:
            raise InputError(f"treat_from: expected at most {LIKELY} for license_plate, got {plates}")
        self._inner = inner
        self._scores = dict(scores)

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return instances in RGB uint8 (H, W, 3) with the numbers the detector gave them."""
        found = self._inner.detect(image)
        parents = {instance.parent for instance in found}
        return tuple(
            i for i in found if i.score >= self._scores.get(i.label, 0.0) or i.id in parents or i.source == READER
        )
