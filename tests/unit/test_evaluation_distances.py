from __future__ import annotations

import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.evaluation.distances import LEAST, kid, polynomial_mmd


def test_distance_agrees_with_a_hand_computed_case() -> None:
    # d = 1: k(a, b) = (a b + 1)^3. x = {0, 1}, y = {1, 2}.
    x, y = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    within_x = 2 * 1.0 / 2  # k(0, 1) = 1, both orders
    within_y = 2 * 27.0 / 2  # k(1, 2) = 3^3
    across = (1.0 + 1.0 + 8.0 + 27.0) / 4  # k(0,1), k(0,2), k(1,1), k(1,2)
    assert polynomial_mmd(x, y) == pytest.approx(within_x + within_y - 2 * across, abs=1e-12)


def test_kernel_is_scaled_by_the_number_of_features() -> None:
    x, y = np.array([[1.0, 1.0], [3.0, 1.0]]), np.array([[0.0, 2.0], [2.0, 2.0]])

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / 2 + 1) ** 3

    across = np.mean([k(a, b) for a in x for b in y])
    expected = k(x[0], x[1]) + k(y[0], y[1]) - 2 * across
    assert polynomial_mmd(x, y) == pytest.approx(expected, abs=1e-12)


def test_the_estimate_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    values = [polynomial_mmd(rng.normal(size=(12, 3)), rng.normal(size=(12, 3))) for _ in range(600)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0 < max(values)


def test_equal_sets_are_no_distance_apart_and_others_are() -> None:
    rng = np.random.default_rng(1)
    own = rng.normal(size=(200, 8))
    same = kid(own, own, rng, paired=True)
    moved = kid(own, own + 0.7, rng, paired=True)
    assert same.low is not None and same.high is not None and same.low < 0 < same.high
    assert moved.low is not None and moved.low > same.high
    assert same.count == 200


def test_pairs_never_stand_on_both_sides() -> None:
    # Every instance is all on its own: only the same instance on both sides would look alike.
    own = 10 * np.eye(20)
    apart = kid(own, own, np.random.default_rng(2), paired=True, subsets=20)
    assert apart.value == pytest.approx(0.0, abs=1e-9)
    mixed = kid(own, own, np.random.default_rng(2), subsets=20)
    assert mixed.value is not None and mixed.value < -1


def test_too_few_give_no_figure() -> None:
    few = kid(np.zeros((LEAST - 1, 2)), np.zeros((LEAST - 1, 2)), np.random.default_rng(0), paired=True)
    assert few.value is None
    assert str(LEAST - 1) in few.reason


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((1, 2)), np.zeros((3, 2)), "n of at least 2"),
        (np.zeros((3, 2)), np.zeros((3, 4)), "got 2 and 4"),
        (np.full((3, 2), np.nan), np.zeros((3, 2)), "finite"),
    ],
)
def test_wrong_features_are_refused(x: np.ndarray, y: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        polynomial_mmd(x, y)


def test_pairs_of_different_number_are_refused() -> None:
    with pytest.raises(InputError, match="11 and 12"):
        kid(np.zeros((11, 2)), np.zeros((12, 2)), np.random.default_rng(0), paired=True)
