"""Shares that are nought or one still have an interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from anonymizer.evaluate.shares import bootstrap_share


@pytest.mark.parametrize("answer", [0, 1])
def test_equal_answers_have_the_exact_binomial_interval(answer: int) -> None:
    found = bootstrap_share(np.full(30, float(answer)), np.arange(30), np.random.default_rng(0), 50)
    exact = binomtest(30 * answer, 30).proportion_ci(0.95, "exact")
    assert found.value == answer
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_pictures_of_one_identity_are_one_witness() -> None:
    found = bootstrap_share(np.zeros(30), np.repeat(np.arange(3), 10), np.random.default_rng(0), 50)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 3))


def test_mixed_answers_are_resampled_and_nothing_is_nothing() -> None:
    rng = np.random.default_rng(0)
    found = bootstrap_share(np.array([0.0, 1.0] * 20), np.arange(40), rng, 200)
    assert found.value == 0.5
    assert found.low is not None
    assert 0.3 < found.low < 0.5
    assert bootstrap_share(np.array([np.nan]), np.arange(1), rng, 50).value is None
