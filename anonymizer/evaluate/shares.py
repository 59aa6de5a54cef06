"""Shares of yes and no with an honest interval where all answers are the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from anonymizer.evaluate.metrics import bootstrap_mean
from anonymizer.evaluate.records import Estimate

__all__ = ["bootstrap_share"]


def bootstrap_share(
    answers: NDArray[np.float64], identities: NDArray[np.int64], rng: np.random.Generator, resamples: int
) -> Estimate:
    """Return the share of ones with a 95 % interval.

    Resampling answers that are all equal gives an interval of no width, as if nothing could ever happen that did not
    happen in this sample. There the exact binomial limit over identities takes its place: none of 30 is compatible
    with up to 12 in 100.

    Args:
        answers: float (n,) of 0 and 1; NaN rows are left out.
        identities: int (n,), number of each row's identity.
        rng: Draws the resamples.
        resamples: How many.

    Source:
        Clopper and Pearson, The use of confidence or fiducial limits, 1934.
    """
    found = bootstrap_mean(answers, identities, rng, resamples)
    if found.value not in (0.0, 1.0):
        return found
    count = len(np.unique(identities[np.isfinite(answers)]))
    reach = 1.0 - 0.025 ** (1.0 / count)
    low, high = (0.0, reach) if found.value == 0.0 else (1.0 - reach, 1.0)
    return replace(found, low=low, high=high, reason="")
