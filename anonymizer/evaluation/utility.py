"""Utility of released pictures, measured on the same pictures as the attacks, for every variant.

Per class: average precision and recall of a detector against the annotations of the originals, overlap of what it
finds, and the kernel distance between original and treated crops; standard metrics beside them. For the released
pictures also what changed outside of the treated regions. One pass over the pictures, each decoded once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from anonymizer.core.records import CLASSES, Detector, Floats
from anonymizer.evaluation.background_fidelity import BackgroundFidelity
from anonymizer.evaluation.distances import CropFeatures, kid
from anonymizer.evaluation.label_consistency import LabelConsistency, as_instance
from anonymizer.evaluation.records import Context, Pair
from anonymizer.evaluation.regions import Regions
from anonymizer.evaluation.standard import StandardMetrics, Tools
from anonymizer.models import weights
from anonymizer.redraw.crops import anonymized_mask

__all__ = ["LIMIT", "embedded_detector", "evenly", "measure_utility"]

#: Most pictures looked at, evenly spaced over all, and most crops of a class compared.
LIMIT = 120
CROPS = 200
#: Lowest score of a detection; low, since the curve of precision over recall needs the whole range.
LEAST_SCORE = 0.05
#: Long sides at which the detector looks at a picture: close-ups are found in the small view, others in the larger.
SIZES = (192, 384)
#: Resamples behind the intervals of average precision.
ROUNDS = 200


def embedded_detector() -> tuple[Detector, dict[str, Any]]:
    """Return the embedded network alone, at low thresholds, and what to say about it.

    Raises:
        ModelError: Its file is missing or corrupt.
    """
    from anonymizer.detect.yolo import OWN, YoloSegDetector

    path = weights.path("detector")
    labels = ("person", "face", "license_plate")
    return YoloSegDetector(path, dict.fromkeys(labels, LEAST_SCORE), sizes=SIZES, classes=OWN), {
        "name": f"embedded network, looks at {' and '.join(map(str, SIZES))} px, scores from {LEAST_SCORE}",
        "sha256": weights.digest("detector"),
        "note": (
            "The embedded preset releases a picture only if a union of detectors, this network among them, still "
            "finds its instances, so this detector favours that preset."
        ),
    }


def evenly(pairs: tuple[Pair, ...], limit: int) -> tuple[Pair, ...]:
    """Return at most ``limit`` pairs, evenly spaced over all of them."""
    if len(pairs) <= limit:
        return pairs
    return tuple(pairs[n] for n in np.linspace(0, len(pairs) - 1, limit).round().astype(int))


def measure_utility(
    context: Context,
    *,
    detector: tuple[Detector, dict[str, Any]] | None = None,
    regions: Regions | None = None,
    tools: Tools | None = None,
    limit: int = LIMIT,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure every variant's utility.

    Args:
        context: Pictures, variants, classes and seed.
        detector: A detector and what to say about it (``name``, ``sha256``, ``note``); the embedded one if None.
        regions: Knows exactly what was treated. None: the subjects' masks stand for that.
        tools: What else measures, see ``standard``; None: nothing.
        limit: Most pictures, evenly spaced.
        on_progress: Called with pictures done and pictures in all.

    Returns:
        Plain data and estimates: ``pictures``, ``of``, ``detector``, ``annotations`` (where the truth comes from),
        ``retention`` (records of ``LabelConsistency.rows``), ``features``, ``kid`` (``label``, ``variant``,
        ``estimate``), ``outside`` (``BackgroundFidelity.summary`` and ``regions``, where they come from), ``standard``
        (``StandardMetrics.rows``).

    Raises:
        InputError: A picture cannot be read or does not fit its annotations.
        ModelError: A network is missing or corrupt.
    """
    finder, about = embedded_detector() if detector is None else detector
    network = CropFeatures()
    names = ("original", *(name for name in context.variants if name != "original"))
    labels = tuple(label for label in CLASSES if label in context.labels)
    retention = {label: LabelConsistency(label, names) for label in labels}
    crops: dict[tuple[str, str], list[Floats]] = {(label, name): [] for label in labels for name in names}
    outside, sources = BackgroundFidelity(), set[str]()
    standard = StandardMetrics(labels, tools or Tools())
    chosen = evenly(context.dataset.pairs, limit)
    for done, pair in enumerate(chosen, start=1):
        original = context.dataset.original(pair)
        size = original.shape[0], original.shape[1]
        subjects = tuple(s for s in context.dataset.subjects(pair) if s.label in labels)
        sources |= {subject.source for subject in subjects}
        wanted = [s for s in subjects if len(crops[s.label, "original"]) < CROPS]
        found = {}
        for name in names:
            image = original if name == "original" else context.variants[name](pair, original, subjects)
            found[name] = finder.detect(image)
            known = regions(pair, size) if regions is not None and name == "anonymized" else None
            standard.add(name, original, image, subjects, known)
            for subject in wanted:
                crops[subject.label, name].append(network.describe(image, subject.box))
            if name == "anonymized":
                treated = anonymized_mask(map(as_instance, subjects), size) if regions is None else known
                outside.add(pair, original, image, treated)
        for each in retention.values():
            each.add(subjects, found, size)
        if on_progress is not None:
            on_progress(done, len(chosen))
    distances = []
    for (label, name), rows in crops.items():
        reference = _matrix(crops[label, "original"])
        estimate = kid(reference, _matrix(rows), context.rng("kid", label, name), paired=True)
        distances.append({"label": label, "variant": name, "estimate": estimate})
    return {
        "pictures": len(chosen),
        "of": len(context.dataset.pairs),
        "detector": about,
        "annotations": sorted(sources),
        "retention": [
            row for each in retention.values() for row in each.rows(context.rng("retention", each.label), ROUNDS)
        ],
        "features": {"name": network.name, "sha256": network.sha256},
        "kid": distances,
        "outside": outside.summary() | {"regions": "subjects' masks" if regions is None else "what was treated"},
        "standard": standard.rows(context.rng("standard"), ROUNDS),
    }


def _matrix(rows: list[Floats]) -> Floats:
    return np.stack(rows) if rows else np.zeros((0, 1), np.float32)
