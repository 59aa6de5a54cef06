"""Intervals and tests that hold for few people: proportions, bounds, power, corrections.

Pictures of one person are no independent tries. A proportion therefore rests on an effective number of tries, between
the number of people and that of pictures, and its interval is that of a beta distribution with as many. Coverage is
shown by simulation, see ``benchmarks/audit_statistics.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from anonymizer.core.errors import InputError
from anonymizer.evaluation.records import Estimate

__all__ = ["bounded", "detectable", "holm", "most_of_all", "proportion", "tail"]

#: Probability that an interval misses the truth.
ALPHA = 0.05
#: Probability with which a leak of the size that is stated would have been seen.
POWER = 0.8


def proportion(
    values: NDArray[np.float64], groups: NDArray[np.int64], lots: NDArray[np.float64] | None = None
) -> Estimate:
    """Return the mean of proportions with a 95 % interval that holds for few people.

    Args:
        values: float (n,) in [0, 1]; NaN rows are left out.
        groups: int (n,), number of each row's person.
        lots: float (n,), variance of what the lot decides in each row: a tie that is won with probability h is worth h
            on average and has the variance h (1 - h). None: nothing is decided by lot.

    Returns:
        The estimate; no interval with fewer than two people, no value without rows.

    Raises:
        InputError: Values outside [0, 1].
    """
    use = np.isfinite(values)
    values, groups = np.asarray(values, np.float64)[use], np.asarray(groups)[use]
    if not values.size:
        return Estimate(None, reason="no probe to measure")
    if values.min() < 0.0 or values.max() > 1.0:
        raise InputError(f"share: expected values in [0, 1], got {values.min():g} to {values.max():g}")
    numbers = np.unique(groups, return_inverse=True)[1]
    people, count = int(numbers.max()) + 1, values.size
    mean = float(values.mean())
    if people < 2:
        return Estimate(mean, count=count, reason="one identity only, so no interval")
    sums = np.bincount(numbers, values - mean, people)
    variance = people / (people - 1) * float((sums**2).sum()) / count**2
    if lots is not None:
        variance += float(np.asarray(lots)[use].sum()) / count**2
    return bounded(mean, variance, people, count)


def bounded(value: float, variance: float, people: int, count: int) -> Estimate:
    """Return a value in [0, 1] with the 95 % beta interval of its effective number of tries.

    Where nothing varies (none or all), that number is the number of people: four of four are no certainty.

    Args:
        value: The value, in [0, 1].
        variance: Of the value, over people.
        people: How many people it rests on, at least 2.
        count: How many rows it rests on.

    Source:
        Korn and Graubard, Confidence intervals for proportions with small expected number of positive counts estimated
        from survey data, Survey Methodology 24, 1998.
    """
    if variance > 1e-15 and 0.0 < value < 1.0:
        effective = min(value * (1.0 - value) / variance, float(max(count, people)))
        # The variance itself is known from so many people only.
        effective *= float(stats.t.ppf(1 - ALPHA / 2, max(count - 1, 1)) / stats.t.ppf(1 - ALPHA / 2, people - 1)) ** 2
    else:
        effective = float(people)
    hits = value * effective
    low = float(stats.beta.ppf(ALPHA / 2, hits, effective - hits + 1)) if hits > 0 else 0.0
    high = float(stats.beta.ppf(1 - ALPHA / 2, hits + 1, effective - hits)) if hits < effective else 1.0
    return Estimate(value, min(low, value), max(high, value), count)


def most_of_all(hit: int, people: int, alpha: float = ALPHA) -> float:
    """Return the proportion of all people of this kind that at most has what ``hit`` of ``people`` have, one-sided.

    Args:
        hit: How many have it.
        people: Of how many, at least 1.
        alpha: Probability that the bound is too low.

    Source:
        Clopper and Pearson, The use of confidence or fiducial limits, Biometrika 26, 1934.
    """
    return 1.0 if hit >= people else float(stats.beta.ppf(1 - alpha, hit + 1, people - hit))


def tail(value: float, mean: float, deviation: float, skew: float, possible: int) -> float:
    """Return the probability that chance reaches a value, from the first three moments of the value under chance.

    Args:
        value: What was measured.
        mean: Of the same value under chance.
        deviation: Its standard deviation there.
        skew: Its skewness there.
        possible: How many ways of dealing there are: no probability is smaller than one in as many and one.

    Source:
        Winkler et al., Faster permutation inference in brain imaging, NeuroImage 141, 2016 (gamma approximation).
    """
    least = 1.0 / (possible + 1)
    if deviation <= 1e-12:
        return least if value > mean + 1e-9 else 1.0
    z = (value - mean) / deviation
    # A gamma that leans to the left would promise certainty beyond its end; a normal one does not.
    found = stats.pearson3.sf(z, skew) if skew > 1e-3 else stats.norm.sf(z)
    return float(min(max(found, least), 1.0))


def detectable(mean: float, deviation: float, skew: float, people: int, alpha: float) -> float:
    """Return the least true share that would have been told from chance in 80 of 100 such evaluations.

    Args:
        mean: Of the share under chance.
        deviation: Its standard deviation there.
        skew: Its skewness there.
        people: How many people: each counts as one try, which is the worst case.
        alpha: Level of the test, after correction.
    """
    if deviation <= 1e-12:
        critical = mean
    elif skew > 1e-3:
        critical = mean + deviation * float(stats.pearson3.isf(alpha, skew))
    else:
        critical = mean + deviation * float(stats.norm.isf(alpha))
    needed = np.floor(critical * people) + 1
    return 1.0 if needed > people else float(stats.beta.ppf(POWER, needed, people - needed + 1))


def holm(probabilities: Sequence[float]) -> list[float]:
    """Return probabilities corrected for their number, in the same order; valid however they depend on each other.

    Source:
        Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    order = np.argsort(probabilities, kind="stable")
    out = np.empty(len(probabilities))
    highest = 0.0
    for place, row in enumerate(order):
        highest = max(highest, min(1.0, (len(probabilities) - place) * probabilities[row]))
        out[row] = highest
    return out.tolist()
