"""Measures of re-identification on plain arrays: closed-set identification, verification, intervals, chance floors.

Ties are judged as a fair coin would: where several gallery entries are equally similar, a probe's hit counts with the
probability it has in a random order. An anonymization that makes all faces equal therefore scores chance, neither 0
nor 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from anonymizer.core.errors import InputError
from anonymizer.evaluation import intervals
from anonymizer.evaluation.records import Estimate

__all__ = [
    "auc",
    "average_precision",
    "bootstrap_mean",
    "bootstrap_verification",
    "cosine_histogram",
    "eer",
    "expected_hits",
    "identity_weights",
    "roc",
    "tar_at_far",
]

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]


def expected_hits(scores: Array, match: Bools, valid: Bools, ranks: int) -> Array:
    """Return for each probe the probability that a match is among the first k of its gallery, k from 1 to ``ranks``.

    Args:
        scores: float (P, G), similarity of every probe with every gallery entry; higher is more alike.
        match: bool (P, G), whether an entry shows who the probe shows.
        valid: bool (P, G), whether an entry belongs to the probe's gallery at all.
        ranks: Highest k.

    Returns:
        float64 (P, ranks); NaN in rows without a valid match.

    Raises:
        InputError: The shapes differ or ``ranks`` is below 1.
    """
    _check_matrices(scores, match, valid)
    if ranks < 1:
        raise InputError(f"ranks: expected at least 1, got {ranks}")
    match = match & valid
    best = np.where(match, scores, -np.inf).max(axis=1, initial=-np.inf)[:, None]  # (P, 1)
    above = (valid & (scores > best)).sum(axis=1)  # (P,) entries certainly before the best match
    tied = valid & (scores == best)
    ties, hits = tied.sum(axis=1), (tied & match).sum(axis=1)
    out = np.empty((len(scores), ranks))
    # Of the first k places `above` are taken; the others draw from the tied ones without putting back.
    missed = np.ones(len(scores))
    for k in range(1, ranks + 1):
        drawn = k - 1 - above  # tied entries drawn before this place
        left, wrong = ties - drawn, ties - hits - drawn
        active = (drawn >= 0) & (left > 0)
        step = np.divide(np.clip(wrong, 0, None), left, out=np.ones(len(scores)), where=active)
        missed = np.where(drawn >= ties, 0.0, missed * step)
        out[:, k - 1] = 1.0 - missed
    out[~match.any(axis=1)] = np.nan
    return out


def average_precision(scores: Array, match: Bools, valid: Bools) -> Array:
    """Return each probe's average precision over its gallery, equally similar entries taken as one block.

    Args:
        scores: float (P, G), similarity; higher is more alike.
        match: bool (P, G), whether an entry shows who the probe shows.
        valid: bool (P, G), whether an entry belongs to the probe's gallery.

    Returns:
        float64 (P,); NaN where a probe has no valid match. Its mean is the mAP.

    Raises:
        InputError: The shapes differ.

    Source:
        The sum over thresholds of (R_n - R_{n-1}) P_n, as ``sklearn.metrics.average_precision_score``.
    """
    _check_matrices(scores, match, valid)
    match = match & valid
    out = np.full(len(scores), np.nan)
    for row, (line, hit, usable) in enumerate(zip(scores, match, valid, strict=True)):
        own = line[hit]
        if own.size:
            gallery = line[usable]
            # Per match: matches, and entries, with at least its similarity; their ratio is the precision there.
            good = np.array([np.count_nonzero(own >= score) for score in own])
            seen = np.array([np.count_nonzero(gallery >= score) for score in own])
            out[row] = float((good / seen).mean())
    return out


def roc(same: Array, different: Array) -> tuple[Array, Array, Array]:
    """Return the verification ROC at every threshold that occurs.

    Args:
        same: float (n,), similarities of pairs of one identity.
        different: float (m,), similarities of pairs of two identities.

    Returns:
        False accept rates, true accept rates and thresholds, float64 (k,), from (0, 0) at infinity to (1, 1); a pair
        is accepted if its similarity is at least the threshold.

    Raises:
        InputError: A sample is empty or not finite.
    """
    from sklearn.metrics import roc_curve

    same, different = _sample(same, "same"), _sample(different, "different")
    labels = np.repeat([1, 0], [same.size, different.size])
    far, tar, thresholds = roc_curve(labels, np.concatenate([same, different]), drop_intermediate=False)
    return far, tar, thresholds


def tar_at_far(same: Array, different: Array, far: float) -> float:
    """Return the highest true accept rate whose false accept rate is at most ``far``, in [0, 1].

    Raises:
        InputError: A sample is empty or not finite, or ``far`` is not in (0, 1].
    """
    if not 0.0 < far <= 1.0:
        raise InputError(f"far: expected a rate in (0, 1], got {far}")
    fars, tars, _ = roc(same, different)
    return float(tars[fars <= far].max())


def auc(same: Array, different: Array) -> float:
    """Return the probability that a pair of one identity is more alike than one of two, ties counting half.

    Raises:
        InputError: A sample is empty or not finite.
    """
    from sklearn.metrics import roc_auc_score

    same, different = _sample(same, "same"), _sample(different, "different")
    labels = np.repeat([1, 0], [same.size, different.size])
    return float(roc_auc_score(labels, np.concatenate([same, different])))


def eer(same: Array, different: Array) -> float:
    """Return the equal error rate: where, on the ROC joined by straight lines, false accepts equal false rejects.

    Raises:
        InputError: A sample is empty or not finite.
    """
    far, tar, _ = roc(same, different)
    return _crossing(far, tar)


def cosine_histogram(same: Array, different: Array, bins: int = 80) -> dict[str, list[float]]:
    """Return counts of cosines in equal bins over [-1, 1]: ``edges`` (bins + 1), ``same`` and ``different`` (bins)."""
    edges = np.linspace(-1.0, 1.0, bins + 1)
    return {
        "edges": [round(float(edge), 6) for edge in edges],
        "same": [float(n) for n in np.histogram(np.clip(same, -1, 1), edges)[0]],
        "different": [float(n) for n in np.histogram(np.clip(different, -1, 1), edges)[0]],
    }


def identity_weights(rng: np.random.Generator, identities: int, resamples: int) -> Array:
    """Return how often each identity is drawn in each bootstrap resample: float64 (resamples, identities)."""
    return rng.multinomial(identities, np.full(identities, 1.0 / identities), size=resamples).astype(np.float64)


def bootstrap_mean(values: Array, identities: NDArray[np.int64], rng: np.random.Generator, resamples: int) -> Estimate:
    """Return the mean of values of any range with a 95 % interval (BCa) from resampling identities.

    Proportions of yes and no have an interval that holds for fewer people: ``intervals.share``.

    Args:
        values: float (n,); NaN rows are left out.
        identities: int (n,), number of each row's identity.
        rng: Draws the resamples.
        resamples: How many.

    Returns:
        The estimate; its interval is None with fewer than two identities, its value with no value at all.

    Source:
        Efron, Better bootstrap confidence intervals, JASA 82, 1987; ``scipy.stats.bootstrap``.
    """
    use = np.isfinite(values)
    values, identities = values[use], identities[use]
    if not values.size:
        return Estimate(None, reason="no probe to measure")
    mean, names = float(values.mean()), np.unique(identities, return_inverse=True)
    count, groups = len(names[0]), names[1]
    if count < 2:
        return Estimate(mean, count=values.size, reason="one identity only, so no interval")
    if values.min() == values.max():
        return Estimate(mean, mean, mean, values.size)
    sums, sizes = np.bincount(groups, values, count), np.bincount(groups, minlength=count).astype(np.float64)

    def ratio(above: Array, below: Array, axis: int = -1) -> Array:
        return np.asarray(above.sum(axis=axis) / below.sum(axis=axis))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # resamples that are all alike: the interval is then NaN, and left out
        found = stats.bootstrap(
            (sums, sizes), ratio, n_resamples=resamples, paired=True, vectorized=True, method="BCa", rng=rng
        ).confidence_interval
    if not np.isfinite([found.low, found.high]).all():
        return Estimate(mean, count=values.size, reason="too few different identities for an interval")
    return Estimate(mean, float(found.low), float(found.high), values.size)


def bootstrap_verification(
    same: Array,
    different: Array,
    same_ids: NDArray[np.int64],
    different_ids: NDArray[np.int64],
    fars: Sequence[float],
    rng: np.random.Generator,
    resamples: int,
) -> dict[str, Estimate]:
    """Return ``auc``, ``eer`` and ``tar_at_far_X`` with 95 % intervals whose spread comes from resampling identities.

    A pair of one identity counts as often as that identity is drawn; a pair of two as often as both together. The
    interval is the beta interval of that spread, see ``intervals.bounded``.

    Args:
        same: float (n,), similarities of pairs of one identity.
        different: float (m,), similarities of pairs of two identities.
        same_ids: int (n,), number of the identity, from 0.
        different_ids: int (m, 2), numbers of both identities.
        fars: False accept rates; one that the pairs do not resolve (fewer than ten different pairs beyond it) gives
            an estimate without a value.
        rng: Draws the resamples.
        resamples: How many.

    Raises:
        InputError: A sample is empty or not finite.
    """
    same, different = _sample(same, "same"), _sample(different, "different")
    resolved = [far for far in fars if different.size * far >= 10]
    values = [auc(same, different), eer(same, different), *(tar_at_far(same, different, far) for far in resolved)]
    draws = _weighted(same, different, same_ids, different_ids, resolved, rng, resamples)
    names = ["auc", "eer", *(f"tar_at_far_{_power(far)}" for far in resolved)]
    out: dict[str, Estimate] = {}
    for name, value, draw in zip(names, values, draws.T, strict=True):
        usable = draw[np.isfinite(draw)]
        if usable.size < resamples / 2:
            out[name] = Estimate(value, count=same.size, reason="too few identities for an interval")
        else:
            people = len(np.unique(same_ids))
            if people < 2:
                out[name] = Estimate(value, count=same.size, reason="one identity only, so no interval")
            else:
                out[name] = intervals.bounded(value, float(usable.var()), people, same.size)
    for far in fars:
        if far not in resolved:
            needed = f"needs at least {round(10 / far)} pairs of different identities, there are {different.size}"
            out[f"tar_at_far_{_power(far)}"] = Estimate(None, reason=needed, count=same.size)
    return out


def _weighted(
    same: Array,
    different: Array,
    same_ids: NDArray[np.int64],
    different_ids: NDArray[np.int64],
    fars: Sequence[float],
    rng: np.random.Generator,
    resamples: int,
) -> Array:
    """Return AUC, EER and TAR at each FAR of every resample: float64 (resamples, 2 + fars); NaN where none is left."""
    identities = int(max(same_ids.max(), different_ids.max())) + 1
    order, descending = np.argsort(-same), np.argsort(-different)
    same, same_ids = same[order], same_ids[order]
    different, different_ids = different[descending], different_ids[descending]
    steps = np.unique(np.concatenate([same, different]))[::-1]
    # How many pairs, in falling order, have at least the similarity of each step.
    accepted = np.searchsorted(-same, -steps, side="right")
    falsely = np.searchsorted(-different, -steps, side="right")
    out = np.full((resamples, 2 + len(fars)), np.nan)
    for row in range(resamples):
        weights = identity_weights(rng, identities, 1)[0]
        good = np.concatenate([[0.0], np.cumsum(weights[same_ids])])
        bad = np.concatenate([[0.0], np.cumsum(weights[different_ids[:, 0]] * weights[different_ids[:, 1]])])
        if good[-1] <= 0 or bad[-1] <= 0:
            continue
        tar = np.concatenate([[0.0], good[accepted] / good[-1]])
        far = np.concatenate([[0.0], bad[falsely] / bad[-1]])
        out[row, 0] = float(((tar[1:] + tar[:-1]) / 2 * np.diff(far)).sum())
        out[row, 1] = _crossing(far, tar)
        # FAR never falls along the curve, so the last step within the limit has the highest TAR.
        out[row, 2:] = [tar[np.searchsorted(far, limit, side="right") - 1] for limit in fars]
    return out


def _crossing(far: Array, tar: Array) -> float:
    gap = far - (1.0 - tar)  # from -1 to 1, never falling
    at = int(np.searchsorted(gap, 0.0, side="left"))
    if at == 0 or gap[at] == gap[at - 1]:
        return float(far[at])
    proportion = -gap[at - 1] / (gap[at] - gap[at - 1])
    return float(far[at - 1] + proportion * (far[at] - far[at - 1]))


def _power(far: float) -> str:
    return f"1e{round(np.log10(far))}" if np.isclose(np.log10(far), round(np.log10(far))) else f"{far:g}"


def _sample(values: Array, name: str) -> Array:
    array = np.asarray(values, dtype=np.float64).ravel()
    if not array.size or not np.isfinite(array).all():
        raise InputError(f"{name}: expected finite similarities, got {'none' if not array.size else 'NaN or infinity'}")
    return array


def _check_matrices(scores: Array, match: Bools, valid: Bools) -> None:
    if scores.ndim != 2 or scores.shape != match.shape or scores.shape != valid.shape:
        raise InputError(
            f"scores, match, valid: expected one shape (P, G), got {scores.shape}, {match.shape}, {valid.shape}"
        )
