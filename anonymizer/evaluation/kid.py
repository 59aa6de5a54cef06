"""Kernel distance between two sets of features: how alike two kinds of pictures look to a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError
from anonymizer.evaluation.records import Estimate

__all__ = ["LEAST", "kid", "polynomial_mmd"]

#: Fewest instances a distance is given for: with fewer, each subset would hold only a handful.
LEAST = 10
#: Subsets drawn, and the most features in each, as published.
SUBSETS, SUBSET_SIZE = 100, 1000


def polynomial_mmd(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    """Return the unbiased squared MMD of two samples under the kernel (x·y / d + 1)³.

    Args:
        x: Features (m, d), one a row, m ≥ 2.
        y: Features (n, d), n ≥ 2.

    Returns:
        The estimate; 0 in expectation where both come from one distribution, so it may be slightly negative.

    Raises:
        InputError: Other shapes, fewer than two rows, or features that are not finite.

    Source:
        Bińkowski et al., Demystifying MMD GANs, ICLR 2018, section 4; Gretton et al., JMLR 2012, equation 3.
    """
    from sklearn.metrics.pairwise import polynomial_kernel

    x, y = _checked("x", x), _checked("y", y)
    if x.shape[1] != y.shape[1]:
        raise InputError(f"features: expected the same length on both sides, got {x.shape[1]} and {y.shape[1]}")
    m, n = len(x), len(y)
    # The kernel of KID: (x . y / d + 1)^3.
    within_x, within_y, across = (
        polynomial_kernel(*pair, degree=3, gamma=1 / x.shape[1], coef0=1) for pair in ((x, x), (y, y), (x, y))
    )
    np.fill_diagonal(within_x, 0.0)
    np.fill_diagonal(within_y, 0.0)
    return float(within_x.sum() / (m * (m - 1)) + within_y.sum() / (n * (n - 1)) - 2 * across.mean())


def kid(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    rng: np.random.Generator,
    *,
    paired: bool = False,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
) -> Estimate:
    """Return the kernel inception distance: the mean of ``polynomial_mmd`` over random subsets.

    Args:
        x: Features (m, d).
        y: Features (n, d).
        rng: Draws the subsets.
        paired: Row k of both shows the same instance. The two sides of a subset then never hold the same instance:
            samples that depend on each other would look nearer than they are.
        subsets: How many subsets.
        subset_size: Most rows of each side in a subset.

    Returns:
        The mean, with the 2.5th and 97.5th percentile over subsets, and the smaller side's number of rows; without
        a value where that is below ``LEAST``. The spread over subsets is wider than the error of the mean.

    Raises:
        InputError: Shapes do not fit.
    """
    if paired and len(x) != len(y):
        raise InputError(f"paired features: expected as many rows on both sides, got {len(x)} and {len(y)}")
    count = min(len(x), len(y))
    if count < LEAST:
        return Estimate(None, count=count, reason=f"{count} instances, a distance needs at least {LEAST}")
    size = min(count // 2 if paired else count, subset_size)
    values = []
    for _ in range(subsets):
        if paired:
            order = rng.permutation(count)
            rows, columns = order[:size], order[size : 2 * size]
        else:
            rows, columns = (rng.choice(len(side), size, replace=False) for side in (x, y))
        values.append(polynomial_mmd(x[rows], y[columns]))
    low, high = np.percentile(values, [2.5, 97.5])
    return Estimate(float(np.mean(values)), float(low), float(high), count)


def _checked(name: str, features: NDArray[np.floating]) -> NDArray[np.float64]:
    array = np.asarray(features, dtype=np.float64)
    if array.ndim != 2 or len(array) < 2 or not array.shape[1]:
        raise InputError(f"features {name}: expected (n, d) with n of at least 2, got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"features {name}: expected finite numbers; look for a network that gave NaN")
    return array
