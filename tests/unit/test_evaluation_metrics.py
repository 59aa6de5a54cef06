"""The measures agree with scikit-learn or with cases counted by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from sklearn import metrics as reference

from anonymizer.core.errors import InputError
from anonymizer.evaluation import intervals, metrics

EXACT = 1e-9


def similarities(seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    same, different = rng.normal(0.3, 0.2, 150), rng.normal(0.0, 0.2, 1000)
    return (same.round(1), different.round(1)) if ties else (same, different)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_verification_agrees_with_scikit_learn(seed: int, ties: bool) -> None:
    same, different = similarities(seed, ties)
    truth = np.r_[np.ones(same.size), np.zeros(different.size)]
    fpr, tpr, _ = reference.roc_curve(truth, np.r_[same, different], drop_intermediate=False)
    far, tar, thresholds = metrics.roc(same, different)
    np.testing.assert_allclose(far, fpr, atol=EXACT)
    np.testing.assert_allclose(tar, tpr, atol=EXACT)
    assert thresholds[0] == np.inf and (np.diff(thresholds) < 0).all()
    assert metrics.auc(same, different) == pytest.approx(
        reference.roc_auc_score(truth, np.r_[same, different]), abs=EXACT
    )
    for limit in (1e-1, 1e-2, 1e-3):
        assert metrics.tar_at_far(same, different, limit) == pytest.approx(tpr[fpr <= limit].max(), abs=EXACT)
    fine = np.linspace(0, 1, 200_001)
    crossing = fine[np.abs(fine - (1 - np.interp(fine, fpr, tpr))).argmin()]
    if not ties:  # with ties the curve has slopes, and interpolation over a fine grid is only near
        assert metrics.eer(same, different) == pytest.approx(crossing, abs=2e-3)


def test_eer_by_hand() -> None:
    # Accepting from 0.6 on: 1 of 4 same rejected, 1 of 4 different accepted.
    assert metrics.eer(np.array([0.9, 0.8, 0.6, 0.1]), np.array([0.7, 0.3, 0.2, 0.0])) == pytest.approx(0.25, abs=EXACT)
    assert metrics.eer(np.array([0.9]), np.array([0.1])) == 0.0
    assert metrics.eer(np.array([0.1]), np.array([0.9])) == 1.0
    # All alike: the curve is the diagonal.
    assert metrics.eer(np.full(3, 0.5), np.full(5, 0.5)) == pytest.approx(0.5, abs=EXACT)


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_agrees_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(20, 40)).round(1)  # ties
    match = rng.random((20, 40)) < 0.1
    valid = rng.random((20, 40)) < 0.8
    found = metrics.average_precision(scores, match, valid)
    for row in range(20):
        use = valid[row]
        if not (match[row] & use).any():
            assert np.isnan(found[row])
            continue
        expected = reference.average_precision_score(match[row][use], scores[row][use])
        assert found[row] == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("seed", range(6))
def test_hits_equal_the_mean_over_all_orders_of_tied_entries(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, 6).astype(float)
    match = np.zeros(6, dtype=bool)
    match[rng.choice(6, rng.integers(1, 3), replace=False)] = True
    valid = np.ones(6, dtype=bool)
    valid[rng.integers(6)] = False
    if not (match & valid).any():
        valid[:] = True
    counted = np.zeros(6)
    orders = list(permutations(np.flatnonzero(valid)))
    for order in orders:
        ranked = sorted(order, key=lambda i: -scores[i])  # stable: keeps the order among ties
        first = next(place for place, i in enumerate(ranked) if match[i])
        counted[first:] += 1
    found = metrics.expected_hits(scores[None], match[None], valid[None], 6)[0]
    np.testing.assert_allclose(found[: valid.sum()], counted[: valid.sum()] / len(orders), atol=EXACT)


def test_hits_by_hand() -> None:
    scores = np.array([[0.9, 0.8, 0.7], [0.1, 0.2, 0.3], [0.5, 0.5, 0.5], [0.1, 0.2, 0.3]])
    match = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]], dtype=bool)
    hits = metrics.expected_hits(scores, match, np.ones_like(match), 3)
    np.testing.assert_allclose(hits[0], [0, 1, 1], atol=EXACT)
    np.testing.assert_allclose(hits[1], [1, 1, 1], atol=EXACT)
    np.testing.assert_allclose(hits[2], [1 / 3, 2 / 3, 1], atol=EXACT)
    assert np.isnan(hits[3]).all()


def test_equal_scores_give_chance_not_zero_or_one() -> None:
    scores, match = np.zeros((10, 50)), np.eye(50, dtype=bool)[:10]
    hits = metrics.expected_hits(scores, match, np.ones_like(match), 5)
    np.testing.assert_allclose(hits[:, 0], 1 / 50, atol=EXACT)
    np.testing.assert_allclose(hits[:, 4], 5 / 50, atol=EXACT)
    assert metrics.auc(np.zeros(5), np.zeros(7)) == pytest.approx(0.5, abs=EXACT)


def test_histogram_counts_everything_once() -> None:
    histogram = metrics.cosine_histogram(np.array([-1.0, 0.0, 1.0 + 1e-7]), np.array([0.1]), bins=4)
    assert histogram["edges"] == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert histogram["same"] == [1.0, 0.0, 1.0, 1.0] and histogram["different"] == [0.0, 0.0, 1.0, 0.0]


def test_intervals_resample_identities_not_rows() -> None:
    rng = np.random.default_rng(0)
    # Ten identities of 100 equal rows each: the spread is that of ten values, not of a thousand.
    values = np.repeat(rng.random(10), 100)
    found = metrics.bootstrap_mean(values, np.repeat(np.arange(10), 100), rng, 4000)
    deviation = values[::100].std() / np.sqrt(10)
    assert found.value == pytest.approx(values.mean(), abs=EXACT) and found.count == 1000
    assert found.low is not None and found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.1)


def test_intervals_are_not_made_up() -> None:
    rng = np.random.default_rng(0)
    none = metrics.bootstrap_mean(np.full(3, np.nan), np.arange(3), rng, 10)
    assert none.value is None and none.reason
    one = metrics.bootstrap_mean(np.array([1.0, 0.0]), np.zeros(2, dtype=np.int64), rng, 10)
    assert one.value == 0.5 and one.low is None and one.reason


def test_never_seen_is_not_never() -> None:
    never = intervals.proportion(np.zeros(40), np.repeat(np.arange(20), 2))
    always = intervals.proportion(np.ones(40), np.repeat(np.arange(20), 2))
    # Twenty people, not forty probes: a chance p stays unseen with probability (1 - p)^20.
    assert (never.value, never.low) == (0.0, 0.0) and never.high is not None
    assert (1 - never.high) ** 20 == pytest.approx(0.025, abs=EXACT)
    assert (always.value, always.high) == (1.0, 1.0) and always.low == pytest.approx(1 - never.high, abs=EXACT)


def test_verification_intervals_hold_the_figure_and_small_samples_give_no_rates() -> None:
    rng = np.random.default_rng(1)
    same, different = similarities(3, ties=False)
    ids = rng.integers(0, 40, (different.size, 2))
    found = metrics.bootstrap_verification(
        same, different, rng.integers(0, 40, same.size), ids, (1e-2, 1e-3), np.random.default_rng(0), 200
    )
    assert found["auc"].value == metrics.auc(same, different)
    for name in ("auc", "eer", "tar_at_far_1e-2"):
        estimate = found[name]
        assert estimate.low is not None and estimate.high is not None and estimate.value is not None
        assert estimate.low <= estimate.value <= estimate.high
    # 1,000 pairs of two identities resolve a rate of 1e-2, not one of 1e-3.
    assert found["tar_at_far_1e-3"].value is None and "10000" in found["tar_at_far_1e-3"].reason


def test_one_person_gives_figures_and_no_interval() -> None:
    same, different = similarities(5, ties=True)
    one = np.zeros(same.size, dtype=np.int64)
    both = np.zeros((different.size, 2), dtype=np.int64)
    found = metrics.bootstrap_verification(same, different, one, both, (1e-2,), np.random.default_rng(0), 3)
    assert found["auc"].value == metrics.auc(same, different)
    for name in ("auc", "eer", "tar_at_far_1e-2"):
        assert found[name].low is None and "one identity" in found[name].reason


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.auc(np.zeros(0), np.zeros(3)),
        lambda: metrics.roc(np.array([np.nan]), np.zeros(3)),
        lambda: metrics.tar_at_far(np.zeros(2), np.zeros(2), 0.0),
        lambda: metrics.expected_hits(np.zeros((2, 3)), np.zeros((2, 2), bool), np.zeros((2, 3), bool), 1),
        lambda: metrics.expected_hits(np.zeros((2, 3)), np.zeros((2, 3), bool), np.zeros((2, 3), bool), 0),
    ],
)
def test_unusable_arrays_are_refused(call: object) -> None:
    with pytest.raises(InputError):
        call()  # type: ignore[operator]
