"""Deals: what the same comparison gives when every person is dealt another one's name.

The chance floor of a comparison is measured, not computed: whatever makes some gallery entries near to everybody stays.
A deal hands each person's probes the gallery entries of another person, never their own, which would mix the truth into
chance where people are few. Pictures of one person stay together, and each probe gets as many entries to find as it
really has. Where both sides are the same set, people swap names in pairs, since then each similarity counts twice.

A probe's own person is left out of the gallery meanwhile, so that galleries are a little smaller; what a lot would give
in each corrects for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import partial
from math import factorial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["DEALS", "Deals", "Null", "by_lot", "deal", "lot_precision", "mean_of"]

#: Deals behind each chance floor.
DEALS = 200
#: Most entries that a probe looks for in a deal; more are thinned.
MOST_TARGETS = 16
#: Ways to deal beyond which their number no longer matters.
PLENTY = 10**9

Ids = NDArray[np.int64]
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Null:
    """A value as it was drawn, and under chance: mean, standard deviation, skewness, percentiles, and ways to deal.

    ``value`` is the value with ties decided by lot, as they are in the deals; ``low`` and ``high`` are the 2.5th and
    97.5th percentile over the deals.
    """

    value: float
    mean: float
    deviation: float
    skew: float
    low: float
    high: float
    possible: int

    @classmethod
    def of(cls, value: float, draws: Array, possible: int, people: int) -> Null | None:
        """Return what a value's deals say; None where none has a value.

        Args:
            value: The value itself, ties decided by lot.
            draws: float (n,), the value in each deal.
            possible: Ways to deal.
            people: Among how many persons: the deals are of the same few people as the value itself, so that where it
                is high they are low, and their own spread is too small by as much.
        """
        draws = draws[np.isfinite(draws)]
        if not draws.size:
            return None
        deviation = float(draws.std()) * np.sqrt(people / max(people - 2, 1))
        skew = float(stats.skew(draws)) if deviation > 1e-12 else 0.0
        low, high = np.percentile(draws, [2.5, 97.5])
        return cls(value, float(draws.mean()), deviation, skew, float(low), float(high), possible)

    def plain(self) -> dict[str, float]:
        """Return the fields by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


class Deals:
    """Deals of names, and what probes find under them.

    Args:
        identities: int (G,), number of each gallery entry's person.
        pictures: int (G,), number of each gallery entry's picture.
        people: int (K,), numbers of the persons that have probes.
        mode: As ``matching.Mode``.
        swap: Whether people swap names in pairs: probes and gallery are the same set.
        rng: Deals.
        count: How many deals.
    """

    def __init__(
        self,
        identities: Ids,
        pictures: Ids,
        people: Ids,
        mode: Literal["own", "other"],
        swap: bool,
        rng: np.random.Generator,
        count: int = DEALS,
    ) -> None:
        entries: dict[int, list[int]] = {}
        for column, who in enumerate(identities.tolist()):
            entries.setdefault(who, []).append(column)
        self._pictures, self._mode = pictures, mode
        known = [who for who in np.unique(people).tolist() if who in entries]
        self._place = {who: place for place, who in enumerate(known)}
        lists = [entries[who] for who in known]
        if mode == "other" and max(map(len, lists), default=0) > MOST_TARGETS:
            lists = [np.sort(rng.permutation(cols)[:MOST_TARGETS]).tolist() for cols in lists]
        width = max(map(len, lists), default=0)
        self._columns = np.full((len(lists), width), -1, np.int64)
        for row, cols in enumerate(lists):
            self._columns[row, : len(cols)] = cols
        self._sizes = np.array([len(cols) for cols in lists], np.int64)
        self.possible = _ways(len(known), swap)
        self.count = count if self.possible else 0
        self._partners = _dealt(len(known), self.count, swap, rng)
        # Pictures of a pair of people are matched up with a turn; who swaps names has to use the same one, backwards.
        turns = rng.integers(0, 1 << 30, (self.count, len(known)))
        self._turns = turns
        if swap and self.count:
            mate = np.where(self._partners < 0, np.arange(len(known))[None], self._partners)
            first = np.minimum(np.arange(len(known))[None], mate)
            shared = np.take_along_axis(turns, first, axis=1)
            self._turns = np.where(np.arange(len(known))[None] <= mate, shared, -shared)

    def targets(self, who: int, column: int) -> tuple[Ids, NDArray[np.bool_], Ids, NDArray[np.bool_]] | None:
        """Return what a probe looks for in each deal.

        Args:
            who: Number of its person.
            column: Its place among its person's gallery entries; any number where it has none.

        Returns:
            Gallery columns (deals, m) of the person it was dealt; which of them it looks for; the same columns again,
            and which of them leave its gallery. None where nothing was dealt.
        """
        place = self._place.get(who)
        if place is None or not self.count:
            return None
        partner = self._partners[:, place]
        columns = self._columns[partner]  # (deals, m); a partner of -1 takes the last row and is dropped below
        there = (columns >= 0) & (partner >= 0)[:, None]
        paired = (column + self._turns[:, place]) % self._sizes[partner]
        chosen = np.zeros_like(there)
        chosen[np.arange(len(partner)), paired] = True
        if self._mode == "own":
            return columns, chosen & there, columns, there & ~chosen
        # The picture that stands for the probe's own leaves its gallery, as the probe's own really does.
        left_out = self._pictures[columns] == self._pictures[columns[chosen]][:, None]
        return columns, there & ~left_out, columns, there & left_out

    def place(self, who: int, pictures: Ids, picture: int) -> int:
        """Return the place of a picture among a person's entries, 0 where it is not there."""
        row = self._place.get(who)
        if row is None:
            return 0
        here = np.flatnonzero(pictures[self._columns[row, : self._sizes[row]]] == picture)
        return int(here[0]) if len(here) else 0

    def found(
        self, scores: Array, others: NDArray[np.bool_], dealt: tuple[Ids, NDArray[np.bool_], Ids, NDArray[np.bool_]],
        real: tuple[int, int],
    ) -> dict[str, Array]:  # fmt: skip
        """Return what one probe finds in each deal.

        Args:
            scores: float (G,), similarity with every gallery entry, no two of them equal.
            others: bool (G,), entries in its gallery that show other people.
            dealt: What :meth:`targets` returns.
            real: How many entries its own gallery has, and how many of them it really looks for.

        Returns:
            ``rank1``, ``rank5``, ``map``, float (deals,), NaN where there is nothing to find; ``best``, the highest
            similarity of what it looks for; ``scores`` (deals, m), those similarities, NaN where there are fewer.
        """
        columns, wanted, gone, leaving = dealt
        wanted, leaving = wanted & others[columns], leaving & others[gone]
        usual = np.sort(scores[others])
        given = np.where(wanted, scores[columns], np.nan)  # (deals, m)
        amount = wanted.sum(axis=1)
        best = np.where(wanted, given, -np.inf).max(axis=1, initial=-np.inf)
        above = _above(usual, np.where(wanted, given, np.inf), scores[gone], leaving)  # (deals, m)
        first = np.where(wanted, above, len(usual)).min(axis=1, initial=len(usual))
        good = (given[:, None, :] >= given[:, :, None]).sum(axis=2)  # (deals, m)
        wants, sizes = np.maximum(amount, 1), np.maximum(len(usual) - leaving.sum(axis=1), 1)
        precision = np.where(wanted, good / (above + 1), 0.0).sum(axis=1) / wants
        out = {"best": best, "scores": given}
        for name, found, lot in (
            ("rank1", first < 1, by_lot),
            ("rank5", first < 5, partial(by_lot, first=5)),
            ("map", precision, lot_precision),
        ):
            ratio = lot(*real) / np.maximum(lot(sizes, wants), 1e-12)
            out[name] = np.where(amount > 0, found * ratio, np.nan)
        return out


def _above(usual: Array, at: Array, gone: Array, leaving: NDArray[np.bool_]) -> Ids:
    """Return how many entries are above each similarity (deals, m), without those that leave the gallery."""
    count = len(usual) - np.searchsorted(usual, at, side="right")
    for column in range(gone.shape[1]):
        count = count - (leaving[:, column, None] & (gone[:, column, None] > at))
    return np.asarray(count, np.int64)


def deal(people: int, rng: np.random.Generator, count: int = DEALS) -> tuple[Ids, int]:
    """Return whom each person is dealt, never himself: int (count, people), and in how many ways that is possible."""
    possible = _ways(people, swap=False)
    return _dealt(people, count if possible else 0, False, rng), possible


def by_lot(size: Ids | int, wanted: Ids | int, first: int = 1) -> Array:
    """Return the probability that one of ``wanted`` entries is among the first of ``size`` drawn blindly."""
    size, missed = np.asarray(size, np.float64), np.ones(1)
    for drawn in range(first):
        missed = missed * np.clip((size - wanted - drawn) / np.maximum(size - drawn, 1), 0.0, 1.0)
    return np.asarray(1.0 - missed)


def lot_precision(size: Ids | int, wanted: Ids | int) -> Array:
    """Return the mean average precision of ``wanted`` entries among ``size`` in random order.

    Source:
        Bestgen, Exact expected average precision of the random baseline, Prague Bulletin 103, 2015.
    """
    size = np.asarray(size, np.float64)
    harmonic = np.log(np.maximum(size, 1)) + 0.5772156649 + 1 / (2 * np.maximum(size, 1))
    harmonic = np.where(size <= 1, 1.0, harmonic)
    rest = np.where(size > 1, (wanted - 1) / np.maximum(size - 1, 1), 1.0)
    return np.asarray(rest * (1 - harmonic / size) + harmonic / size, np.float64)


def _ways(people: int, swap: bool) -> int:
    """Return in how many ways names can be dealt so that nobody keeps his own, at most ``PLENTY``."""
    if people < 2:
        return 0
    if people > 20:
        return PLENTY
    if swap:
        even = people - people % 2
        ways = factorial(even) // (factorial(even // 2) * 2 ** (even // 2))
        return min(ways * (people if people % 2 else 1), PLENTY)
    before, now = 1, 0  # subfactorials of 0 and 1
    for number in range(2, people + 1):
        before, now = now, (number - 1) * (now + before)
    return min(now, PLENTY)


def _dealt(people: int, count: int, swap: bool, rng: np.random.Generator) -> Ids:
    """Return whom each person is dealt in each deal: int (count, people), -1 for who is left over."""
    out = np.full((count, people), -1, np.int64)
    for row in range(count):
        if swap:
            order = rng.permutation(people)
            half = people // 2
            out[row, order[:half]], out[row, order[half : 2 * half]] = order[half : 2 * half], order[:half]
            continue
        while True:
            order = rng.permutation(people)
            if not (order == np.arange(people)).any():
                break
        out[row] = order
    return out


def mean_of(parts: Iterable[Array]) -> Array:
    """Return the mean over probes of what each found in each deal: float (deals,), NaN where none has a value."""
    table = np.stack(list(parts))
    there = np.isfinite(table)
    return np.divide(
        np.where(there, table, 0).sum(axis=0), there.sum(axis=0), out=np.full(table.shape[1], np.nan),
        where=there.any(axis=0),
    )  # fmt: skip
