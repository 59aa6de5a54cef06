"""Measures of avatars with intervals by bootstrap over pictures: proportions, kernel distance, a linear classifier.

Persons of one picture share light, camera and detector, so that pictures, never persons, are drawn again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Draws behind an interval, and its ends in percent.
DRAWS, ENDS = 1000, (2.5, 97.5)
#: Folds of the classifier, strengths of its regularisation that are tried, and fewest pictures a side.
FOLDS, STRENGTHS, LEAST_GROUPS = 5, (1e-4, 1e-3, 1e-2, 1e-1), 10


@dataclass(frozen=True, slots=True)
class Measured:
    """A value with its 95 % interval and the number of persons or joints it rests on; None where there are none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    count: int = 0


def drawn(groups: Sequence[str], rng: np.random.Generator) -> Array:
    """Return how often each row counts in one draw of as many groups, with replacement: float64 (N,)."""
    names, numbers = np.unique(np.array(groups, dtype=str), return_inverse=True)
    return np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))[numbers].astype(float)


def interval(value: float | None, draw: Callable[[np.random.Generator], float], count: int) -> Measured:
    """Return a value with the interval of its draws; draws without a value (NaN) are left out."""
    if value is None or not np.isfinite(value):
        return Measured(None, count=count)
    rng = np.random.default_rng(0)
    draws = np.array([draw(rng) for _ in range(DRAWS)])
    low, high = np.percentile(draws[np.isfinite(draws)], ENDS)
    return Measured(float(value), float(low), float(high), count)


def proportion(hits: Sequence[float], groups: Sequence[str]) -> Measured:
    """Return the mean of numbers, 0 and 1 for a proportion."""
    values = np.asarray(hits, float)
    if not len(values):
        return Measured(None)

    def draw(rng: np.random.Generator) -> float:
        weights = drawn(groups, rng)
        return float(weights @ values / weights.sum())

    return interval(float(values.mean()), draw, len(values))


class Distance:
    """Kernel distance of pictures to real ones: unbiased squared MMD under (x·y / d + 1)³, as ``distances`` has it.

    Features are standardized by the mean and spread of the real ones: as they are, rare features hardly count. Pairs
    within one picture are left out on either side, so that neither two persons of a scene nor a picture that is drawn
    twice count as alike.

    Args:
        real: Features (M, D) of real persons.
        groups: Their pictures.
        packs: Their packs: the reference is weighted so that each has the share that it has on the other side.
        least: Least spread of a feature, by the median one. A feature that is all but dead on the real ones else counts
            hundreds of its spreads on a single other one, and outweighs all the rest.
    """

    def __init__(
        self, real: NDArray[np.floating], groups: Sequence[str], packs: Sequence[str], least: float = 0.0
    ) -> None:
        spread = np.std(real, axis=0)
        self._mean, self._spread = np.mean(real, axis=0), np.maximum(spread, max(least * np.median(spread), 1e-6))
        self._real = self._standard(real)
        self._groups, self._packs = np.array(groups), np.array(packs)
        self._within = kernel(self._real, self._real) * (self._groups[:, None] != self._groups[None])
        self._apart = (self._groups[:, None] != self._groups[None]).astype(float)

    def __call__(self, other: NDArray[np.floating], groups: Sequence[str], packs: Sequence[str]) -> Measured:
        """Return the distance of features (N, D) with their pictures and packs."""
        (measured,) = self.several([other], groups, packs)
        return measured

    def several(
        self, others: Sequence[NDArray[np.floating]], groups: Sequence[str], packs: Sequence[str]
    ) -> list[Measured]:
        """Return the distance of each of several ways to treat the same persons, and draw the same pictures for all."""
        values, draws = self.drawn(others, groups, packs)
        ends = np.percentile(draws, ENDS, axis=0)
        return [
            Measured(float(v), float(low), float(high), len(groups)) for v, low, high in zip(values, *ends, strict=True)
        ]

    def drawn(
        self, others: Sequence[NDArray[np.floating]], groups: Sequence[str], packs: Sequence[str]
    ) -> tuple[Array, Array]:
        """Return the distances (K,) and draws of them (DRAWS, K)."""
        named, kinds = np.array(groups), np.array(packs)
        apart = (named[:, None] != named[None]).astype(float)
        if not apart.any():
            raise ValueError("kernel distance: expected persons of at least two pictures")
        rows = [self._standard(other) for other in others]
        sides = [(kernel(side, side) * apart, kernel(self._real, side)) for side in rows]

        def values(mine: Array, theirs: Array) -> Array:
            own = self._weighted(mine, theirs, kinds)
            real = own @ self._within @ own / (own @ self._apart @ own)
            scale = theirs @ apart @ theirs
            both = own.sum() * theirs.sum()
            return np.array(
                [
                    real + theirs @ within @ theirs / scale - 2 * (own @ across @ theirs) / both
                    for within, across in sides
                ]
            )

        rng = np.random.default_rng(0)
        draws = []
        while len(draws) < DRAWS:
            mine, theirs = drawn(self._groups.tolist(), rng), drawn(groups, rng)
            # A draw of one picture alone has no pairs.
            if theirs @ apart @ theirs > 0:
                draws.append(values(mine, theirs))
        return values(np.ones(len(self._real)), np.ones(len(groups))), np.array(draws)

    def _standard(self, features: NDArray[np.floating]) -> Array:
        return (np.asarray(features, float) - self._mean) / self._spread

    def _weighted(self, mine: Array, theirs: Array, kinds: NDArray[np.str_]) -> Array:
        """Return weights of the reference that give each pack its share of the other side."""
        out = np.zeros(len(mine))
        for pack in np.unique(kinds):
            here = self._packs == pack
            if not here.any():
                raise ValueError(f"kernel distance: no real person of {pack} to compare with")
            out[here] = mine[here] / max(mine[here].sum(), 1.0) * theirs[kinds == pack].sum()
        return out


def kernel(x: Array, y: Array) -> Array:
    """Return (x·y / d + 1)³ for rows of (M, D) and (N, D): float64 (M, N)."""
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def told_apart(
    first: NDArray[np.floating], second: NDArray[np.floating], groups: tuple[Sequence[str], Sequence[str]]
) -> Measured:
    """Return the accuracy with which a linear classifier tells two kinds of features apart.

    Logistic regression on standardized features in folds by picture; both sides of a picture are in one fold, and the
    strength of the regularisation is chosen by folds inside the training part.

    Args:
        first: Features (M, D).
        second: Features (N, D).
        groups: Pictures of the rows of each side.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names = np.array([*groups[0], *groups[1]])
    if min(len(set(side)) for side in groups) < LEAST_GROUPS:
        return Measured(None, count=len(names))
    rows = np.concatenate([first, second]).astype(float)
    kinds = np.repeat([0, 1], [len(first), len(second)])
    right = np.zeros(len(rows))
    for train, test in GroupKFold(FOLDS).split(rows, kinds, names):
        model = GridSearchCV(
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, class_weight="balanced")),
            {"logisticregression__C": STRENGTHS},
            cv=list(GroupKFold(3).split(rows[train], kinds[train], names[train])),
            scoring="balanced_accuracy",
        ).fit(rows[train], kinds[train])
        right[test] = model.predict(rows[test]) == kinds[test]

    def accuracy(weights: Array) -> float:
        sides = [weights * (kinds == side) for side in (0, 1)]
        return float(np.mean([side @ right / side.sum() for side in sides])) if min(s.sum() for s in sides) else np.nan

    return interval(
        accuracy(np.ones(len(rows))), lambda rng: accuracy(drawn(names.tolist(), rng)), min(len(first), len(second))
    )
