"""Adaptive attack: the attacker learns, on other people, what the anonymizer does to descriptions, and undoes it.

A linear head maps the description of a treated subject to that of the original. It is trained on pairs of other
identities and tested on those it never saw: the identities are dealt into folds, and each fold is attacked with a head
trained on the others. How strongly the head is regularised, or whether to use none at all, the attacker decides on
identities held out from the training ones. Whoever can learn can also leave it: where comparing descriptions as they
are gets further, that is the attack's value, so that it is never weaker than the aligned one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError
from anonymizer.evaluation.matching import Mode, has_repeats
from anonymizer.evaluation.protocols import GALLERY, finding, judges
from anonymizer.evaluation.records import Context, Embeddings, Finding, Skipped

__all__ = ["Head", "centred", "fit", "fit_best", "folds", "run", "translate"]

NAME = "adaptive"
FOLDS = 5
#: Fewer identities teach a head nothing that holds for others.
LEAST_IDENTITIES = 20
#: Ridge penalties tried, as multiples of the mean variance of the input; None is no head: only the means are removed.
PENALTIES: tuple[float | None, ...] = (None, 0.01, 0.1, 1.0, 10.0)
#: Proportion of the training identities on which the penalty is chosen.
HELD_OUT = 0.25

AS_IT_IS = "learning did not help: descriptions compared as they are get further"

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A linear map between descriptions less their means.

    Args:
        mean: float64 (D,), mean description of treated subjects.
        weights: float64 (D, D), or None for no change.
        penalty: The ridge penalty it was fitted with, or None.
    """

    mean: Floats
    weights: Floats | None
    penalty: float | None

    def __call__(self, treated: Floats) -> Floats:
        """Return what the originals' descriptions (N, D), less their mean, look like to the head."""
        apart = treated - self.mean
        return apart if self.weights is None else apart @ self.weights


def fit(treated: Floats, targets: Floats, penalty: float | None) -> Head:
    """Fit a head in closed form: ridge regression of targets on treated descriptions.

    Args:
        treated: float64 (N, D).
        targets: float64 (N, D), less their mean.
        penalty: Multiple of the mean variance of ``treated``; None fits only the mean.

    Raises:
        InputError: No rows, or different numbers of them.
    """
    if not len(treated) or treated.shape != targets.shape:
        raise InputError(
            f"treated, targets: expected equal shapes (N, D), N >= 1, got {treated.shape}, {targets.shape}"
        )
    mean = treated.mean(axis=0)
    if penalty is None:
        return Head(mean, None, None)
    apart = treated - mean
    rows, width = apart.shape
    strength = penalty * float((apart**2).sum()) / width + 1e-9
    if rows < width:  # The same solution by the smaller of the two systems: long descriptors of few subjects.
        weights = apart.T @ np.linalg.solve(apart @ apart.T + strength * np.eye(rows), targets)
    else:
        weights = np.linalg.solve(apart.T @ apart + strength * np.eye(width), apart.T @ targets)
    return Head(mean, weights, penalty)


def fit_best(treated: Floats, targets: Floats, identities: Ids, rng: np.random.Generator) -> Head:
    """Fit a head with the penalty that tells held-out identities apart best, then on all identities given.

    Args:
        treated: float64 (N, D).
        targets: float64 (N, D), less their mean.
        identities: int (N,), number of each row's identity; at least two different ones.
        rng: Chooses who is held out.
    """
    names = rng.permutation(np.unique(identities))
    held = np.isin(identities, names[: max(round(HELD_OUT * len(names)), 1)])
    margins = []
    for penalty in PENALTIES:
        head = fit(treated[~held], targets[~held], penalty)
        margins.append(_margin(head(treated[held]), targets[held], identities[held]))
    return fit(treated, targets, PENALTIES[int(np.argmax(margins))])


def folds(identities: Sequence[str], count: int, rng: np.random.Generator) -> Ids:
    """Deal identities into folds of about equal size; rows of one identity are in one fold: int (N,)."""
    names, numbers = np.unique(np.array(identities, dtype=str), return_inverse=True)
    places = rng.permutation(len(names)) % count
    return places[numbers].astype(np.int64)


def centred(embeddings: Embeddings) -> Embeddings:
    """Return embeddings less the mean of those found, at unit length again."""
    vectors = embeddings.vectors.astype(np.float64)
    if embeddings.found.any():
        vectors -= vectors[embeddings.found].mean(axis=0)
    return replace(embeddings, vectors=_unit(vectors, embeddings.found))


def translate(
    probe: Embeddings, gallery: Embeddings, mode: Mode, rng: np.random.Generator
) -> tuple[Embeddings, list[float | None]]:
    """Map every probe with a head trained on other identities.

    Args:
        probe: Treated subjects; row i shows the same subject as row i of ``gallery``.
        gallery: The originals, ``centred``.
        mode: ``own`` trains towards each subject's own original, ``other`` towards the mean of its identity.
        rng: Deals folds and held-out identities.

    Returns:
        The probes as the heads translate them, and the penalty of each fold's head.
    """
    numbers = np.unique(np.array(probe.identities, dtype=str), return_inverse=True)[1].astype(np.int64)
    treated, targets = probe.vectors.astype(np.float64), gallery.vectors.astype(np.float64)
    usable = probe.found & gallery.found
    if mode == "other":
        sums = np.zeros((int(numbers.max()) + 1, targets.shape[1]))
        np.add.at(sums, numbers[usable], targets[usable])
        targets = sums[numbers] / np.maximum(np.bincount(numbers[usable], minlength=len(sums)), 1)[numbers, None]
    places = folds(probe.identities, FOLDS, rng)
    out = np.zeros_like(treated)
    penalties: list[float | None] = []
    for place in range(FOLDS):
        train, test = usable & (places != place), places == place
        head = fit_best(treated[train], targets[train], numbers[train], rng)
        out[test] = head(treated[test])
        penalties.append(head.penalty)
    return replace(probe, vectors=_unit(out, probe.found)), penalties


def run(context: Context) -> list[Finding | Skipped]:
    """Recognise translated descriptions of every variant in a gallery of originals."""
    chosen, skipped = judges(context, NAME)
    out: list[Finding | Skipped] = list(skipped)
    for recognizer in chosen:
        known = context.store.embeddings("original", recognizer)
        modes: tuple[Mode, ...] = ("other", "own") if has_repeats(known) else ("own",)
        for variant in context.variants:
            probe = context.store.embeddings(variant, recognizer)
            usable = probe.found & known.found
            identities = len({who for who, use in zip(probe.identities, usable, strict=True) if use})
            if identities < LEAST_IDENTITIES:
                reason = f"{identities} identities to train and test on, needs at least {LEAST_IDENTITIES}"
                out.append(Skipped(NAME, recognizer.label, reason, variant, recognizer.name))
                continue
            for mode in modes:
                if variant == "original" and mode == "own":
                    continue  # a picture compared with itself measures nothing
                rng = context.rng(NAME, recognizer.name, variant, mode)
                gallery = centred(known)
                translated, penalties = translate(probe, gallery, mode, rng)
                protocol = f"probe translated by a linear head, or as it is, {GALLERY[mode]}"
                used = ", ".join("no head" if p is None else f"ridge {p:g}" for p in penalties)
                notes = (f"{FOLDS} folds by identity; chosen on held-out identities: {used}",)
                learnt = finding(context, NAME, recognizer, variant, translated, gallery, mode, protocol, notes)
                plain = finding(context, NAME, recognizer, variant, probe, known, mode, protocol, (AS_IT_IS,))
                out.append(max(learnt, plain, key=_strength))
    return out


def _strength(found: Finding) -> tuple[float, float]:
    """Return how far a finding got: rank 1, then mAP; below everything where it has none."""
    rank1, precision = (found.estimates[name].value for name in ("rank1", "map"))
    return (-1.0 if rank1 is None else rank1), (-1.0 if precision is None else precision)


def _margin(guesses: Floats, targets: Floats, identities: Ids) -> float:
    """Return by how much a guess is more alike to its own target than to those of others, on average."""
    scores = _unit(guesses).astype(np.float64) @ _unit(targets).astype(np.float64).T
    own = identities[:, None] == identities[None]
    if own.all():
        return float(scores.diagonal().mean())
    apart = scores - (scores * ~own).sum(axis=1, keepdims=True) / np.maximum((~own).sum(axis=1, keepdims=True), 1)
    # In units of the spread among others: a shrunken guess is as good as a long one.
    return float(apart.diagonal().mean() / max(float(scores[~own].std()), 1e-9))


def _unit(vectors: Floats, found: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    out = np.divide(vectors, norm, out=np.zeros_like(vectors), where=norm > 1e-12)
    if found is not None:
        out[~found] = 0.0
    return out.astype(np.float32)
