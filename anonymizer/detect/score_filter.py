"""Score filter: which detections are anonymized, each person once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from anonymizer.core.errors import InputError
from anonymizer.core.records import Detector, Image, Instance
from anonymizer.detect.doubles import one_each
from anonymizer.detect.plates import LIKELY
from anonymizer.detect.regions import BOXES_ONLY, OUTLINE

__all__ = ["ScoreFilter"]

#: Source whose scores say how well text was read, not how likely it is there.
READER = "ocr"


class ScoreFilter:
    """Leaves out detections with a low score and no other sign that the object is there.

    A person stays with a face, with a score of ``scores`` from a network for outlines, with a score of ``box_scores``
    (``sure``) from a network for boxes, or where networks of both kinds see them. Of persons whom boxes alone show,
    with a lower score, those stay who are near enough (``near``, from ``near_height`` pixels on).

    Plates stay by the scores of the networks that saw them, which are higher where no vehicle is: there, lettering,
    lamps and signs are taken for plates.

    To find again what was redrawn a low score is enough: the verifier uses the detector itself, and this filter for
    what may have been missed.

    Args:
        inner: Detector to run.
        scores: Per class, the score from which an instance is reported by itself; classes left out all are, and plates
            that OCR found.
        box_scores: ``sure``, ``near`` and ``near_height``, see above; None: ``scores`` alone count.
        plate_scores: ``on_vehicle`` and ``elsewhere``, each the least score of a plate by network; None: ``scores``
            alone count.

    Raises:
        InputError: A score for plates beyond that of a plate which OCR read: a plate that a network also saw would then
            be left out.
    """

    def __init__(
        self,
        inner: Detector,
        scores: Mapping[str, float],
        box_scores: Mapping[str, float] | None = None,
        plate_scores: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        plates = scores.get("license_plate", 0.0)
        if plates > LIKELY:
            raise InputError(f"treat_from: expected at most {LIKELY} for license_plate, got {plates}")
        self._inner = inner
        self._scores = dict(scores)
        self._box_scores = dict(box_scores or {})
        self._plate_scores = dict(plate_scores or {})

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return instances in RGB uint8 (H, W, 3) with the numbers the detector gave them, see :meth:`kept`.

        Persons found twice, or in parts, are one each, see ``doubles.one_each``.
        """
        return one_each(self.kept(self._inner.detect(image)))

    def kept(self, found: Sequence[Instance]) -> tuple[Instance, ...]:
        """Return the detections that are anonymized, all of a picture given.

        Plates on a vehicle carry its score as evidence, so that they are known from lettering elsewhere.
        """
        parents = {instance.parent for instance in found}
        vehicles = {i.id: i.score for i in found if i.label == "vehicle"}
        known = (_on_vehicle(i, vehicles) for i in found)
        return tuple(i for i in known if i.id in parents or self._stays(i))

    def _stays(self, instance: Instance) -> bool:
        if instance.label == "person" and self._box_scores:
            return self._person(instance)
        if instance.label == "license_plate" and self._plate_scores:
            return self._plate(instance)
        return instance.score >= self._scores.get(instance.label, 0.0) or instance.source == READER

    def _person(self, instance: Instance) -> bool:
        signs = {name: score for name, score in instance.signs.items() if name != OUTLINE}
        box = max((score for name, score in signs.items() if name in BOXES_ONLY), default=0.0)
        outlined = max((score for name, score in signs.items() if name not in BOXES_ONLY), default=0.0)
        if outlined >= self._scores.get("person", 0.0) or box >= self._box_scores["sure"] or (outlined and box):
            return True
        height = float(instance.box[3] - instance.box[1])
        return box >= self._box_scores["near"] and height >= self._box_scores["near_height"]

    def _plate(self, instance: Instance) -> bool:
        place = "on_vehicle" if "vehicle" in instance.signs else "elsewhere"
        least = self._plate_scores[place]
        return any(score >= least.get(name, 0.0) for name, score in instance.signs.items() if name != "vehicle")


def _on_vehicle(instance: Instance, vehicles: Mapping[int, float]) -> Instance:
    score = None if instance.parent is None else vehicles.get(instance.parent)
    if instance.label != "license_plate" or score is None:
        return instance
    return replace(instance, evidence={**instance.signs, "vehicle": score})
