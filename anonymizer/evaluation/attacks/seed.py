"""Seed attack: does anything that was redrawn carry a mark of who it was, or of the noise it was made from?

Two tests. *The same person in two pictures*: released pictures of one identity must be no more alike than those of two.
*The same picture twice*: a second anonymization must not repeat the first, or the noise is fixed and can be searched.
"""

from __future__ import annotations

import numpy as np

from anonymizer.core.geometry import integer_box, paste_window
from anonymizer.evaluation.intervals import proportion
from anonymizer.evaluation.matching import compare, has_repeats, pair_scores
from anonymizer.evaluation.metrics import bootstrap_mean
from anonymizer.evaluation.protocols import judges
from anonymizer.evaluation.records import Context, Estimate, Finding, Recognizer, Skipped, Variant

__all__ = ["run"]

NAME = "seed"
#: Treatments worth the test: the released pictures, and beside them what has no signature and what has the strongest.
VARIANTS = ("original", "solid", "anonymized")
VERIFICATION = ("auc", "eer", "tar_at_far_1e-2", "tar_at_far_1e-3", "tar_at_far_1e-4")


def run(context: Context) -> list[Finding | Skipped]:
    """Test for shared signatures between pictures, and for repetition between two runs."""
    chosen, skipped = judges(context, NAME)
    out: list[Finding | Skipped] = list(skipped)
    for recognizer in chosen:
        if not has_repeats(context.store.embeddings("original", recognizer)):
            reason = "same person in two pictures: no identity is known to be in two; give them with --annotations"
            out.append(Skipped(NAME, recognizer.label, reason, recognizer=recognizer.name))
            continue
        out += [_signature(context, recognizer, name) for name in VARIANTS if name in context.variants]
    if context.again is not None:
        out += [_repetition(context, context.again, label) for label in context.labels]
    else:
        reason = "same picture twice: needs a second anonymization of the same originals; give it with --again"
        out.append(Skipped(NAME, "picture", reason))
    return out


def _signature(context: Context, recognizer: Recognizer, variant: str) -> Finding:
    """Compare treated pictures of one identity with treated pictures of two."""
    embeddings = context.store.embeddings(variant, recognizer, place="box")
    rng = context.rng(NAME, recognizer.name, variant)
    compared = compare(embeddings, embeddings, "other", rng, context.bootstrap)
    scores = pair_scores(embeddings, embeddings, "other", rng)
    same = bootstrap_mean(scores.same, scores.identities, rng, context.bootstrap)
    estimates = {name: compared.estimates[name] for name in VERIFICATION} | {"cosine_same": same}
    if scores.different.size and same.value is not None:
        mean = float(scores.different.mean())
        low, high = (None if end is None else end - mean for end in (same.low, same.high))
        estimates["cosine_different"] = Estimate(mean, count=scores.different.size)
        estimates["cosine_gap"] = Estimate(same.value - mean, low, high, same.count)
    notes = ["a gap or an AUC above 0.5 also comes from what is kept on purpose or by the frame: pose, light, hair"]
    if not recognizer.judge:
        notes.append("the run was verified with this recogniser: no independent judge")
    return Finding(
        attack=NAME,
        label=recognizer.label,
        variant=variant,
        recognizer=recognizer.name,
        protocol="same person in two pictures, both treated, described by the box alone",
        estimates=estimates,
        counts=compared.counts,
        histograms=compared.histograms,
        notes=tuple(notes),
        judge=recognizer.judge,
        null=compared.null,
    )


def _repetition(context: Context, again: Variant, label: str) -> Finding:
    """Count subjects whose treated pixels are the same in both runs, and how alike their changes are."""
    equal: list[float] = []
    alike: list[float] = []
    pictures: list[int] = []
    for number, pair in enumerate(context.dataset.pairs):
        subjects = [s for s in context.dataset.subjects(pair) if s.label == label]
        if pair.again is None or not subjects:
            continue
        original = context.dataset.original(pair)
        first = context.variants["anonymized"](pair, original, subjects).astype(np.int16)
        second = again(pair, original, subjects).astype(np.int16)
        for subject in subjects:
            (rows, columns), local = paste_window(integer_box(subject.box), original.shape[:2])
            mask = np.ones(first[rows, columns].shape[:2], dtype=bool) if subject.mask is None else subject.mask[local]
            a, b = first[rows, columns][mask], second[rows, columns][mask]
            equal.append(float((np.abs(a - b).max(axis=1) == 0).mean() == 1.0) if a.size else float("nan"))
            before = original[rows, columns][mask]
            alike.append(_correlation((a - before).ravel(), (b - before).ravel()))
            pictures.append(number)
    rng, groups = context.rng(NAME, label, "again"), np.array(pictures, dtype=np.int64)
    return Finding(
        attack=NAME,
        label=label,
        variant="anonymized",
        recognizer="",
        protocol="same picture anonymized twice",
        estimates={
            "identical": proportion(np.array(equal), groups),
            "change_correlation": bootstrap_mean(np.array(alike), groups, rng, context.bootstrap),
        },
        counts={"subjects": len(equal)},
        notes=(
            "identical: proportion of subjects with the same pixels in both runs, 0 unless the seed was fixed; "
            "changes correlate in any case, as both runs remove the same content",
        ),
    )


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if not a.size:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else float("nan")
