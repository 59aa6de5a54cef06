"""Scene: is a released picture found among the originals by its surroundings alone? They are kept on purpose.

No risk by itself, and part of no verdict: it says how to read every value whose protocol is "its own among them". Where
whole pictures are found in nearly all cases, such a value may come from what stands around a person.
"""

from __future__ import annotations

import numpy as np

from anonymizer.evaluation.matching import compare
from anonymizer.evaluation.networks import ImageFeatures
from anonymizer.evaluation.records import Context, Embeddings, Finding, Skipped

__all__ = ["run"]

NAME, LABEL = "scene", "picture"
PROTOCOL = "whole treated picture, gallery of whole originals, its own among them"
KEPT = "surroundings are kept on purpose: this is how to read other values with the own original in the gallery"


def run(context: Context) -> list[Finding | Skipped]:
    """Look for every variant of every picture among the originals, by ImageNet features of whole pictures."""
    network = next((judge for judge in context.recognizers if isinstance(judge, ImageFeatures)), None)
    if network is None:
        return [
            Skipped(NAME, LABEL, "no features of pictures are at hand: make them with models/judges/make_judges.py")
        ]
    names = tuple(pair.name for pair in context.dataset.pairs)
    vectors: dict[str, list[np.ndarray]] = {variant: [] for variant in context.variants}
    for pair, original, subjects in context.walk():
        for variant, rows in vectors.items():
            image = context.variants[variant](pair, original, subjects)
            whole = np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32)
            row = network.describe(image, whole)[0]
            rows.append(row / max(float(np.linalg.norm(row)), 1e-12))
    found = np.ones(len(names), np.bool_)
    sides = {
        variant: Embeddings(names, names, names, np.stack(rows).astype(np.float32), found)
        for variant, rows in vectors.items()
    }
    out: list[Finding | Skipped] = []
    for variant in (name for name in context.variants if name != "original"):
        rng = context.rng(NAME, variant)
        compared = compare(sides[variant], sides["original"], "own", rng, context.bootstrap)
        out.append(
            Finding(
                attack=NAME,
                label=LABEL,
                variant=variant,
                recognizer="ImageNet features of whole pictures",
                protocol=PROTOCOL,
                estimates=compared.estimates,
                counts=compared.counts,
                notes=(KEPT, *compared.notes),
                mode="own",
            )
        )
    return out
