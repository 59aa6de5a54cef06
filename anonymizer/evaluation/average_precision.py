"""Average precision and recall as COCO defines them, gathered picture by picture with little memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from anonymizer.annotations.rle import encode_rle
from anonymizer.core.errors import InputError
from anonymizer.core.geometry import integer_box
from anonymizer.core.records import Instance
from anonymizer.evaluation.records import Estimate

__all__ = ["Precision", "Scores", "resample"]

Kind = Literal["bbox", "segm"]

#: IoU 0.50, 0.55, ... 0.95 and recall 0.00, 0.01, ... 1.00, as in COCO.
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = 100


@dataclass(frozen=True, slots=True)
class Scores:
    """Averages over IoU 0.50 to 0.95, in [0, 1]; NaN where nothing is annotated.

    Args:
        ap: Average precision.
        ap50: Average precision at IoU 0.50 alone.
        ar: Average recall with at most 100 detections a picture.
    """

    ap: float
    ap50: float
    ar: float


class Precision:
    """Gathers how detections of one class met its annotations.

    Each picture is matched by pycocotools; of it only one score and ten flags per detection are kept.

    Args:
        kind: Compare boxes (``bbox``) or masks (``segm``).

    Source:
        ``COCOeval`` in pycocotools 2.0 (Lin et al., Microsoft COCO, ECCV 2014), one class, all sizes.
    """

    def __init__(self, kind: Kind = "bbox") -> None:
        self.kind = kind
        self._scores: list[NDArray[np.float64]] = []
        self._hits: list[NDArray[np.bool_]] = []
        self._truths: list[int] = []

    @property
    def pictures(self) -> int:
        """Pictures added."""
        return len(self._truths)

    @property
    def truths(self) -> NDArray[np.int64]:
        """Annotations in each picture, int64 (pictures,)."""
        return np.array(self._truths, np.int64)

    @property
    def instances(self) -> int:
        """Annotations added."""
        return sum(self._truths)

    def add(self, truths: Sequence[Instance], found: Sequence[Instance], size: tuple[int, int]) -> None:
        """Match one picture.

        Args:
            truths: Annotations of the class.
            found: Detections of the class, with scores.
            size: Picture (height, width).
        """
        from pycocotools.cocoeval import COCOeval

        evaluation = COCOeval(iouType=self.kind)
        parameters = evaluation.params
        parameters.imgIds, parameters.catIds, parameters.maxDets = [1], [1], [MAX_DETECTIONS]
        parameters.areaRng, parameters.areaRngLbl = [[0, 1e12]], ["all"]
        evaluation._gts[1, 1] = [self._record(n, truth, size) for n, truth in enumerate(truths, start=1)]
        evaluation._dts[1, 1] = [self._record(n, one, size) for n, one in enumerate(found, start=1)]
        evaluation.ious = {(1, 1): evaluation.computeIoU(1, 1)}
        result = evaluation.evaluateImg(1, 1, parameters.areaRng[0], MAX_DETECTIONS)
        self._truths.append(len(truths))
        self._scores.append(np.array([] if result is None else result["dtScores"], np.float64))
        self._hits.append(np.zeros((10, 0), bool) if result is None else result["dtMatches"] > 0)

    def scores(self, weights: NDArray[np.integer] | None = None) -> Scores:
        """Return the averages over all pictures.

        Args:
            weights: How often each picture counts, integer (pictures,), for resampling; each once if None.

        Raises:
            InputError: As many weights as pictures are expected.
        """
        counts = np.ones(self.pictures, int) if weights is None else np.asarray(weights)
        if counts.shape != (self.pictures,):
            raise InputError(f"weights: expected one for each of {self.pictures} pictures, got {counts.shape}")
        truths = int((self.truths * counts).sum())
        if not truths:
            return Scores(np.nan, np.nan, np.nan)
        owner = np.repeat(np.arange(self.pictures), [len(s) for s in self._scores])
        order = np.argsort(-np.concatenate(self._scores), kind="mergesort")
        times = counts[owner][order]
        hits = np.concatenate(self._hits, axis=1)[:, order]
        true = np.cumsum(hits * times, axis=1, dtype=float)
        false = np.cumsum(~hits * times, axis=1, dtype=float)
        recall = true / truths
        precision = true / (true + false + np.spacing(1))
        # The best precision at this recall or any higher one.
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        at_recall = np.zeros((10, len(RECALLS)))
        for row in range(10):
            where = np.searchsorted(recall[row], RECALLS, side="left")
            reached = where < recall.shape[1]
            at_recall[row, reached] = precision[row, where[reached]]
        ar = recall[:, -1].mean() if recall.shape[1] else 0.0
        return Scores(float(at_recall.mean()), float(at_recall[0].mean()), float(ar))

    def _record(self, number: int, instance: Instance, size: tuple[int, int]) -> dict[str, Any]:
        x1, y1, x2, y2 = (float(v) for v in instance.box)
        record: dict[str, Any] = {
            "id": number,
            "image_id": 1,
            "category_id": 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": 0,
            "ignore": 0,
            "score": float(instance.score),
        }
        if self.kind == "segm":
            record["segmentation"] = encode_rle(instance.mask, integer_box(instance.box), size)
            record["area"] = int(instance.mask.sum())
        return record


def resample(
    sides: Sequence[Precision], rng: np.random.Generator, rounds: int = 200
) -> tuple[dict[str, Estimate], ...]:
    """Return averages with 95 % intervals by bootstrap over pictures, the same pictures drawn for every side.

    Args:
        sides: Results on the same pictures, treated in different ways; the first is the reference.
        rng: Draws the pictures.
        rounds: Resamples.

    Returns:
        For each side ``ap``, ``ap50``, ``ar`` and ``ap_drop``: the reference's AP minus its own; no value where
        nothing is annotated.

    Raises:
        InputError: The sides hold different numbers of pictures.
    """
    count = sides[0].pictures
    if any(side.pictures != count for side in sides):
        raise InputError(f"precision: expected the same pictures on each side, got {[s.pictures for s in sides]}")
    names = ("ap", "ap50", "ar", "ap_drop")

    def table(weights: NDArray[np.integer] | None) -> NDArray[np.float64]:
        scores = [side.scores(weights) for side in sides]
        return np.array([[s.ap, s.ap50, s.ar, scores[0].ap - s.ap] for s in scores])

    instances = sides[0].instances
    if not instances:
        empty = Estimate(None, reason="nothing of this class is annotated")
        return tuple(dict.fromkeys(names, empty) for _ in sides)
    values = table(None)
    draws = np.stack([table(np.bincount(rng.integers(0, count, count), minlength=count)) for _ in range(rounds)])
    # A draw may hold no annotation at all; it says nothing. (rounds, sides, 4) -> (sides, 4)
    low, high = np.nanpercentile(draws, [2.5, 97.5], axis=0)
    return tuple(
        {
            name: Estimate(float(values[s, n]), float(low[s, n]), float(high[s, n]), instances)
            for n, name in enumerate(names)
        }
        for s in range(len(sides))
    )
