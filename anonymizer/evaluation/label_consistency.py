"""Label consistency: a detector on released pictures, held to the annotations of the originals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import box_iou, integer_box, mask_iou, outlined
from anonymizer.core.records import Instance
from anonymizer.evaluation.average_precision import Precision, resample
from anonymizer.evaluation.records import Estimate, Subject

__all__ = ["LabelConsistency", "as_instance", "mean_ratio"]

#: IoU from which a detection stands for an annotated instance.
MATCH = 0.5


def as_instance(subject: Subject) -> Instance:
    """Return a subject as an instance; one without a mask is its whole box."""
    x1, y1, x2, y2 = integer_box(subject.box)
    mask = np.ones((y2 - y1, x2 - x1), dtype=bool) if subject.mask is None else subject.mask
    return Instance(subject.number + 1, subject.label, subject.box, mask)


class LabelConsistency:
    """Gathers, for one class, how well detections in each variant of the pictures fit the same annotations.

    Args:
        label: The class.
        variants: Names of the variants, the reference first.
    """

    def __init__(self, label: str, variants: Sequence[str]) -> None:
        self.label = label
        self.variants = tuple(variants)
        self._boxes = {name: Precision("bbox") for name in self.variants}
        self._masks = {name: Precision("segm") for name in self.variants}
        # Per picture and variant: matched, sum of box IoU, sum of mask IoU over instances with a mask, how many.
        self._sums: dict[str, list[tuple[int, float, float, int]]] = {name: [] for name in self.variants}

    def add(self, subjects: Sequence[Subject], found: Mapping[str, Sequence[Instance]], size: tuple[int, int]) -> None:
        """Take one picture.

        Args:
            subjects: Annotations of the original, of any class.
            found: Detections in each variant, of any class.
            size: Picture (height, width).
        """
        mine = [subject for subject in subjects if subject.label == self.label]
        truths = [as_instance(subject) for subject in mine]
        masked = [subject.mask is not None for subject in mine]
        for name in self.variants:
            ours = [outlined(instance) for instance in found[name] if instance.label == self.label]
            self._boxes[name].add(truths, ours, size)
            # Where only boxes are known, masks cannot be judged; a picture without the class is a fair negative.
            if all(masked):
                self._masks[name].add(truths, ours, size)
            self._sums[name].append(_overlaps(truths, masked, ours))

    def rows(self, rng: np.random.Generator, rounds: int = 200) -> list[dict[str, Any]]:
        """Return one record per variant, values as estimates with intervals by bootstrap over pictures.

        Args:
            rng: Draws the pictures.
            rounds: Resamples.

        Returns:
            Keys ``label``, ``variant``, ``pictures``, ``instances``; ``boxes`` and ``masks``, see
            ``precision.resample``; ``found``, the proportion of instances detected at an IoU of at least ``MATCH``;
            ``box_iou`` and ``mask_iou``, means over those.
        """
        instances = self._boxes[self.variants[0]].instances
        boxes = resample([self._boxes[name] for name in self.variants], rng, rounds)
        masks = resample([self._masks[name] for name in self.variants], rng, rounds)
        out = []
        for n, name in enumerate(self.variants):
            table = np.array(self._sums[name], float).reshape(-1, 4)
            totals = self._boxes[name].truths
            out.append(
                {
                    "label": self.label,
                    "variant": name,
                    "pictures": self._boxes[name].pictures,
                    "instances": instances,
                    "boxes": boxes[n],
                    "masks": masks[n],
                    "found": mean_ratio(table[:, 0], totals, rng, rounds, "nothing of this class is annotated"),
                    "box_iou": mean_ratio(table[:, 1], table[:, 0], rng, rounds, "nothing was found again"),
                    "mask_iou": mean_ratio(table[:, 2], table[:, 3], rng, rounds, "no found instance has a mask"),
                }
            )
        return out


def mean_ratio(
    sums: NDArray[np.floating], counts: NDArray[np.number], rng: np.random.Generator, rounds: int, reason: str
) -> Estimate:
    """Return the sum of sums over the sum of counts, with a 95 % interval by bootstrap over rows.

    Args:
        sums: Sum of the value in each picture, float (n,).
        counts: How many instances each sum is over, (n,).
        rng: Draws the pictures.
        rounds: Resamples.
        reason: Why there is no value where all counts are 0.
    """
    total = int(np.sum(counts))
    if not total:
        return Estimate(None, reason=reason)
    draws = rng.integers(0, len(sums), (rounds, len(sums)))
    below = np.asarray(counts, float)[draws].sum(axis=1)
    values = np.asarray(sums, float)[draws].sum(axis=1)[below > 0] / below[below > 0]
    low, high = np.percentile(values, [2.5, 97.5])
    return Estimate(float(np.sum(sums) / total), float(low), float(high), total)


def _overlaps(
    truths: Sequence[Instance], masked: Sequence[bool], found: Sequence[Instance]
) -> tuple[int, float, float, int]:
    """Pair annotations and detections, best overlap first, and sum up their IoU."""
    if not truths or not found:
        return 0, 0.0, 0.0, 0
    table = box_iou(np.stack([t.box for t in truths]), np.stack([f.box for f in found]))
    matched, boxes, masks, with_mask = 0, 0.0, 0.0, 0
    while table.max() >= MATCH:
        row, column = divmod(int(table.argmax()), table.shape[1])
        matched, boxes = matched + 1, boxes + float(table[row, column])
        if masked[row]:
            masks, with_mask = masks + mask_iou(truths[row], found[column]), with_mask + 1
        table[row], table[:, column] = -1, -1
    return matched, boxes, masks, with_mask
