"""From two sets of embeddings to estimates: who is compared with whom, and the measured chance floor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anonymizer.evaluation import metrics
from anonymizer.evaluation.deals import DEALS, Deals, Null, mean_of
from anonymizer.evaluation.intervals import proportion
from anonymizer.evaluation.records import Embeddings, Estimate

__all__ = ["Comparison", "Mode", "PairScores", "compare", "has_repeats", "pair_scores"]

#: ``own``: find the original of this very subject; other pictures of the same identity are left out of the gallery.
#: ``other``: find the identity in other pictures; the probe's own picture is left out, so its background helps nobody.
Mode = Literal["own", "other"]

#: Similarity of a comparison in which one side was not found: rejected at every threshold, ranked by lot.
NOT_FOUND = -1.0
#: Probes beyond this number are sampled, and further where the gallery is so large that there would be more than
#: MOST_SCORES comparisons; the gallery is never cut.
MOST_PROBES, MOST_SCORES = 5_000, 200_000_000
#: Pairs of one identity, and of two, beyond these numbers are sampled.
MOST_SAME, MOST_DIFFERENT = 50_000, 120_000
#: Entries of one block of the similarity matrix: 64 MB as float64.
BLOCK = 8_000_000
#: False accept rate above which nobody counts as recognised, and fewest pairs of two people above a threshold: the
#: rate is the finest that the pairs resolve, but none finer than this.
ACCEPT_RATE, LEAST_ABOVE = 1e-3, 10
#: Rates of false names at which an open set is searched.
FALSE_NAMES = (1e-1, 1e-2)
#: Proportion of the people that is most exposed, reported by itself.
WORST = 0.05
#: False accept rates reported.
FARS = (1e-2, 1e-3, 1e-4)
#: Highest rank of the CMC curve.
RANKS = 20
#: Most points of a ROC curve handed on.
POINTS = 160

#: What tells equal similarities apart where lots are drawn; cosines of 32 bits differ by at least 6e-8.
LOT = 1e-9
#: A tie counts as won from this probability on.
MORE_LIKELY_THAN_NOT = 0.5
NO_DEAL = "one person only: nobody else's name can be dealt"

Ids = NDArray[np.int64]
#: Similarities with probe rows and gallery rows.
_Scored = tuple[NDArray[np.float64], Ids, Ids]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Estimates, counts, curves, histograms and values under chance as in ``Finding``, remarks, and rows by person.

    ``people`` has a row for each person: name, whether recognised, mean of rank 1, tries.
    """

    estimates: Mapping[str, Estimate]
    counts: Mapping[str, int]
    curves: Mapping[str, Mapping[str, list[float]]]
    histograms: Mapping[str, Mapping[str, list[float]]]
    notes: tuple[str, ...]
    null: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    people: tuple[tuple[str, bool, float, int], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """Similarities of pairs: of one identity, float64 (n,), with its number (n,); of two, float64 (m,)."""

    same: NDArray[np.float64]
    identities: Ids
    different: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Sides:
    """Probes and gallery with numbers instead of names."""

    probe: Embeddings
    gallery: Embeddings
    rows: Ids
    usable: int
    keys: tuple[Ids, Ids]
    identities: tuple[Ids, Ids]
    pictures: tuple[Ids, Ids]
    mode: Mode

    def rules(self, rows: Ids) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which gallery entries match the probes in ``rows``, and which are in their gallery: (n, G) each."""
        one = self.identities[0][rows, None] == self.identities[1][None]
        if self.mode == "own":
            match = self.keys[0][rows, None] == self.keys[1][None]
            return match, match | ~one
        elsewhere = self.pictures[0][rows, None] != self.pictures[1][None]
        return one & elsewhere, elsewhere

    def scores(self, rows: Ids) -> NDArray[np.float64]:
        """Return cosines of the probes in ``rows`` with the whole gallery: float64 (n, G)."""
        scores = np.asarray(self.probe.vectors[rows] @ self.gallery.vectors.T, dtype=np.float64)
        scores[~self.probe.found[rows]] = NOT_FOUND
        scores[:, ~self.gallery.found] = NOT_FOUND
        return scores

    def blocks(self) -> Iterator[tuple[slice, Ids]]:
        """Yield runs of probes whose similarity matrix fits in memory."""
        step = max(BLOCK // max(len(self.gallery.keys), 1), 1)
        for start in range(0, len(self.rows), step):
            part = slice(start, min(start + step, len(self.rows)))
            yield part, self.rows[part]


def has_repeats(embeddings: Embeddings) -> bool:
    """Return whether some identity is in more than one picture."""
    first: dict[str, str] = {}
    return any(
        first.setdefault(who, picture) != picture
        for who, picture in zip(embeddings.identities, embeddings.pictures, strict=True)
    )


def pair_scores(probe: Embeddings, gallery: Embeddings, mode: Mode, rng: np.random.Generator) -> PairScores:
    """Return similarities of pairs as :func:`compare` verifies them, less those with a side that was not found."""
    sides = _numbered(probe, gallery, mode, rng)
    if not len(sides.rows) or not len(gallery.keys):
        empty = np.zeros(0)
        return PairScores(empty, np.zeros(0, dtype=np.int64), empty)
    same, different = _pairs(sides, rng)
    kept, others = (probe.found[rows] & gallery.found[columns] for _, rows, columns in (same, different))
    return PairScores(same[0][kept], sides.identities[0][same[1][kept]], different[0][others])


def compare(
    probe: Embeddings,
    gallery: Embeddings,
    mode: Mode,
    rng: np.random.Generator,
    bootstrap: int = 500,
    threshold: float | None = None,
) -> Comparison:
    """Measure how well probes are recognised in a gallery.

    Args:
        probe: Descriptions of what the attacker wants to name.
        gallery: Descriptions of what the attacker knows; the same object as ``probe`` counts each pair once.
        mode: Who is to be found, see ``Mode``.
        rng: Draws samples, shuffles and resamples.
        bootstrap: Resamples behind each interval.
        threshold: Similarity from which a face system that was set on originals accepts, or None.

    Returns:
        Closed set: ``rank1``, ``rank5``, ``map`` with ``_chance`` and ``_lift``. Verification: TAR at FAR, ``auc``,
        ``eer``. Open set: ``fnir_at_fpir_1e-1`` and ``1e-2``, how often somebody who is in the gallery is not found,
        where one in ten, or a hundred, searches for somebody who is not in it gives a false name;
        ``accepted_as_original``, how often a probe is accepted at ``threshold``. People: ``people_recognised``, the
        proportion of persons of whom some picture is both ranked first and accepted at ``accept_rate``, and
        ``rank1_worst``, rank 1 of the most exposed twentieth of the persons, both with ``_chance``. ``found``: the
        proportion of probes the attacker found at all. Without anything to compare estimates are empty and say why.
    """
    sides = _numbered(probe, gallery, mode, rng)
    counts = {
        "probes": len(sides.rows),
        "gallery": len(gallery.keys),
        "identities": len(np.unique(sides.identities[0][sides.rows])),
        "not_found": int((~probe.found[sides.rows]).sum()),
        "gallery_not_found": int((~gallery.found).sum()),
    }
    reason = _nothing(sides, counts)
    if reason:
        names = ("rank1", "rank5", "map", "auc", "eer", *(f"tar_at_far_{name}" for name in ("1e-2", "1e-3", "1e-4")))
        return Comparison({name: Estimate(None, reason=reason) for name in names}, counts, {}, {}, (reason,))
    same, different = _pairs(sides, rng)
    found = _identification(sides, same, different, rng, threshold)
    verified, more_curves, histograms, pairs = _verification(sides, same, different, rng, bootstrap)
    who = sides.identities[0][sides.rows]
    if "auc" in found.nulls:
        verified["auc_chance"] = _floor(found.nulls["auc"])
    notes = []
    if counts["not_found"]:
        notes.append(f"{counts['not_found']} of {counts['probes']} probes not found: ranked by lot, never accepted")
    if len(sides.rows) < sides.usable:
        notes.append(f"a random sample of {len(sides.rows)} of {sides.usable} probes")
    return Comparison(
        {**found.estimates, **verified, "found": proportion(probe.found[sides.rows].astype(float), who)},
        counts | pairs | found.counts,
        {"cmc": found.cmc} | more_curves,
        {"cosine": histograms} if histograms else {},
        tuple(notes),
        {name: null.plain() for name, null in found.nulls.items()},
        found.people,
    )


def _numbered(probe: Embeddings, gallery: Embeddings, mode: Mode, rng: np.random.Generator) -> _Sides:
    """Turn names into numbers and choose the probes that have somebody to be found."""
    columns: list[tuple[Ids, Ids]] = []
    for column in ("keys", "identities", "pictures"):
        ours, theirs = getattr(probe, column), getattr(gallery, column)
        numbers = np.unique(np.array([*ours, *theirs], dtype=str), return_inverse=True)[1].astype(np.int64)
        columns.append((numbers[: len(ours)], numbers[len(ours) :]))
    keys, identities, pictures = columns
    if mode == "own":
        usable = np.isin(keys[0], keys[1])
    else:
        # Somebody to be found is in a picture other than the probe's own.
        places: dict[int, set[int]] = {}
        for who, where in zip(identities[1].tolist(), pictures[1].tolist(), strict=True):
            places.setdefault(who, set()).add(where)
        usable = np.array(
            [
                bool(places.get(who, set()) - {where})
                for who, where in zip(identities[0].tolist(), pictures[0].tolist(), strict=True)
            ],
            dtype=bool,
        )
    rows = np.flatnonzero(usable)
    most = min(MOST_PROBES, max(MOST_SCORES // max(len(gallery.keys), 1), 1))
    chosen = np.sort(rng.choice(rows, most, replace=False)) if len(rows) > most else rows
    return _Sides(probe, gallery, chosen, len(rows), keys, identities, pictures, mode)


def _nothing(sides: _Sides, counts: Mapping[str, int]) -> str:
    """Return why there is nothing to measure, or an empty text."""
    if not counts["probes"]:
        return "no identity is in two pictures" if sides.mode == "other" else "no subject is in both sets"
    if len(sides.gallery.keys) < 2:
        return "a gallery of one entry: whoever is asked for is found, so nothing is measured"
    if counts["not_found"] == counts["probes"]:
        return f"none of the {counts['probes']} probes was found by the attacker, so nothing could be compared"
    if counts["gallery_not_found"] == counts["gallery"]:
        return "nothing was found in the gallery"
    return ""


@dataclass(frozen=True, slots=True)
class _Identified:
    """Closed-set values with what chance gives, and what becomes of each person."""

    estimates: dict[str, Estimate]
    cmc: dict[str, list[float]]
    counts: dict[str, int]
    nulls: dict[str, Null]
    people: tuple[tuple[str, bool, float, int], ...]


def _identification(
    sides: _Sides, same: _Scored, different: _Scored, rng: np.random.Generator, accepts: float | None
) -> _Identified:
    """Rank the gallery for each probe, as it is and under every deal of names."""
    ranks, count = min(RANKS, len(sides.gallery.keys)), len(sides.rows)
    persons, person = np.unique(sides.identities[0][sides.rows], return_inverse=True)
    swap = sides.probe is sides.gallery
    deals = Deals(sides.identities[1], sides.pictures[1], persons, sides.mode, swap, rng)
    beyond = np.sort(different[0])
    threshold, rate = _threshold(beyond)
    hits, precision, accepted = np.empty((count, ranks)), np.empty(count), np.zeros(count, bool)
    lots = np.empty((count, 3))
    mate, stranger = np.empty(count), np.empty(count)
    dealt: dict[str, list[NDArray[np.float64]]] = {"rank1": [], "rank5": [], "map": [], "auc": []}
    by_person, tries = np.zeros((deals.count, len(persons))), np.zeros((deals.count, len(persons)))
    taken = np.zeros((deals.count, len(persons)), bool)
    for part, rows in sides.blocks():
        scores = sides.scores(rows)
        match, valid = sides.rules(rows)
        hits[part] = metrics.expected_hits(scores, match, valid, ranks)
        precision[part] = metrics.average_precision(scores, match, valid)
        # Lots are drawn: what is equal is told apart by less than two similarities ever differ.
        drawn = scores + LOT * rng.random(scores.shape)
        lots[part, :2] = metrics.expected_hits(drawn, match, valid, 5)[:, [0, 4]]
        lots[part, 2] = metrics.average_precision(drawn, match, valid)
        best = np.where(match & valid, scores, -np.inf).max(axis=1, initial=-np.inf)
        others_only = valid & (sides.identities[0][rows, None] != sides.identities[1][None])
        mate[part] = best
        stranger[part] = np.where(others_only, scores, -np.inf).max(axis=1, initial=-np.inf)
        accepted[part] = (hits[part, 0] >= MORE_LIKELY_THAN_NOT) & (best > threshold)
        for line, row in enumerate(rows.tolist()):
            who, at = int(sides.identities[0][row]), part.start + line
            place = deals.place(who, sides.pictures[1], int(sides.pictures[0][row]))
            targets = deals.targets(who, place)
            if targets is None:
                continue
            others = valid[line] & (sides.identities[1] != who)
            real = int(valid[line].sum()), int((match[line] & valid[line]).sum())
            got = deals.found(drawn[line], others, targets, real)
            for name in ("rank1", "rank5", "map"):
                dealt[name].append(got[name])
            one = np.nan_to_num(got["rank1"])
            by_person[:, person[at]] += one
            tries[:, person[at]] += np.isfinite(got["rank1"])
            taken[:, person[at]] |= (one >= MORE_LIKELY_THAN_NOT) & (
                np.nan_to_num(got["best"], nan=-np.inf) > threshold
            )
            if len(beyond):
                dealt["auc"].append(_placement(got["scores"], beyond))
    values = dict(zip(("rank1", "rank5", "map"), lots.mean(axis=0).tolist(), strict=True))
    if len(same[0]) and len(different[0]):
        values["auc"] = metrics.auc(same[0], different[0])
    nulls = {
        name: null
        for name, value in values.items()
        if dealt[name] and (null := Null.of(value, mean_of(dealt[name]), deals.possible, len(persons))) is not None
    }
    out: dict[str, Estimate] = {}
    first, fifth = hits[:, 0], hits[:, min(5, ranks) - 1]
    for name, each, spread in (
        ("rank1", first, first * (1 - first)), ("rank5", fifth, fifth * (1 - fifth)), ("map", precision, None)
    ):  # fmt: skip
        out[name] = proportion(each, person, spread)
        out[f"{name}_chance"] = _floor(nulls[name]) if name in nulls else Estimate(None, reason=NO_DEAL)
        out[f"{name}_lift"] = _lift(out[name], out[f"{name}_chance"].value)
    out |= _open_set(mate, stranger, person)
    if accepts is not None:
        out["accepted_as_original"] = proportion((mate >= accepts).astype(np.float64), person)
    recognised = np.zeros(len(persons), bool)
    np.logical_or.at(recognised, person, accepted)
    mean = np.bincount(person, first) / np.bincount(person)
    out["people_recognised"] = proportion(recognised.astype(np.float64), np.arange(len(persons)))
    out["accept_rate"] = Estimate(rate, count=len(beyond), reason="" if rate is not None else "no pairs of two people")
    worst = max(round(WORST * len(persons)), 1)
    out["rank1_worst"] = Estimate(float(np.sort(mean)[-worst:].mean()), count=worst)
    if deals.count:
        out["people_recognised_chance"] = Estimate(float(taken.mean()), count=deals.count)
        lot = np.divide(by_person, tries, out=np.zeros_like(by_person), where=tries > 0)
        out["rank1_worst_chance"] = Estimate(float(np.sort(lot, axis=1)[:, -worst:].mean()), count=deals.count)
    cmc = {"rank": [float(k) for k in range(1, ranks + 1)], "share": hits.mean(axis=0).tolist()}
    sizes = np.bincount(person)
    names = dict(zip(sides.identities[0].tolist(), sides.probe.identities, strict=True))
    people = tuple(
        (names[int(who)], bool(recognised[n]), float(mean[n]), int(sizes[n])) for n, who in enumerate(persons)
    )
    counts = {"people": len(persons), "recognised": int(recognised.sum()), "deals": deals.count}
    return _Identified(out, cmc, counts, nulls, people)


def _open_set(
    mate: NDArray[np.float64], stranger: NDArray[np.float64], person: NDArray[np.int64]
) -> dict[str, Estimate]:
    """Return how often somebody enrolled is missed, by the rate of false names for somebody who is not.

    Args:
        mate: float (n,), highest similarity of each probe with its own person.
        stranger: float (n,), highest similarity with anybody else: what a search finds if the person is not enrolled.
        person: int (n,), number of each probe's person.

    Source:
        Grother, Ngan and Hanaoka, Face Recognition Vendor Test part 2: identification, NISTIR 8271.
    """
    out = {}
    for rate in FALSE_NAMES:
        name = f"fnir_at_fpir_1e-{round(-np.log10(rate))}"
        if len(mate) * rate < LEAST_ABOVE:
            reason = f"needs at least {round(LEAST_ABOVE / rate)} searches, there are {len(mate)}"
            out[name] = Estimate(None, count=len(mate), reason=reason)
            continue
        limit = np.sort(stranger)[-int(len(stranger) * rate)]
        # Found is who comes first and lies above: equal to a stranger is neither.
        out[name] = proportion(((mate <= stranger) | (mate <= limit)).astype(np.float64), person)
    return out


def _threshold(different: NDArray[np.float64]) -> tuple[float, float | None]:
    """Return the similarity above which pairs count as one person, and the proportion of pairs of two that do."""
    if not len(different):
        return np.inf, None
    rate = min(max(ACCEPT_RATE, LEAST_ABOVE / len(different)), 1.0)
    above = max(int(rate * len(different)), 1)
    # Strictly above: where many are equally similar none of them is.
    return float(different[-above]), rate


def _placement(scores: NDArray[np.float64], different: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each deal, the mean proportion of pairs of two people less alike than what a probe looks for."""
    there = np.isfinite(scores)
    values = np.where(there, scores, 0.0)
    at = np.searchsorted(different, values, "left") + np.searchsorted(different, values, "right")
    total = np.where(there, at / (2 * len(different)), 0.0).sum(axis=1)
    return np.divide(total, there.sum(axis=1), out=np.full(len(total), np.nan), where=there.any(axis=1))


def _floor(null: Null) -> Estimate:
    return Estimate(null.mean, null.low, null.high, DEALS)


def _lift(estimate: Estimate, floor: float | None) -> Estimate:
    if estimate.value is None or not floor or floor <= 0:
        return Estimate(None, reason="the measured chance floor is 0, so there is no ratio to it")
    low, high = (None if end is None else end / floor for end in (estimate.low, estimate.high))
    return Estimate(estimate.value / floor, low, high, estimate.count)


def _verification(
    sides: _Sides, same: _Scored, different: _Scored, rng: np.random.Generator, bootstrap: int
) -> tuple[dict[str, Estimate], dict[str, dict[str, list[float]]], dict[str, list[float]], dict[str, int]]:
    pairs = {"same_pairs": len(same[0]), "different_pairs": len(different[0])}
    if not len(same[0]) or not len(different[0]):
        reason = f"{pairs['same_pairs']} same and {pairs['different_pairs']} different pairs: verification needs both"
        names = ("auc", "eer", *(f"tar_at_far_1e-{power}" for power in (2, 3, 4)))
        return {name: Estimate(None, reason=reason) for name in names}, {}, {}, pairs
    first = sides.identities[0][same[1]]
    both = np.stack([sides.identities[0][different[1]], sides.identities[1][different[2]]], axis=1)
    estimates = metrics.bootstrap_verification(same[0], different[0], first, both, FARS, rng, bootstrap // 2)
    far, tar, _ = metrics.roc(same[0], different[0])
    kept = _thinned(far)
    curve = {"far": far[kept].tolist(), "tar": tar[kept].tolist()}
    return estimates, {"roc": curve}, metrics.cosine_histogram(same[0], different[0]), pairs


def _pairs(sides: _Sides, rng: np.random.Generator) -> tuple[_Scored, _Scored]:
    """Return pairs of one identity and of two, each as scores, probe rows and gallery rows, sampled if too many."""
    symmetric = sides.probe is sides.gallery
    total = len(sides.rows) * len(sides.gallery.keys)
    # Different pairs are thinned block by block, so that their number stays near the limit.
    proportion = min(1.0, MOST_DIFFERENT * (2 if symmetric else 1) / max(total, 1))
    found: tuple[list[tuple[NDArray[np.float64], Ids, Ids]], ...] = ([], [])
    for _, rows in sides.blocks():
        scores = sides.scores(rows)
        match, valid = sides.rules(rows)
        if symmetric:
            valid &= rows[:, None] < np.arange(scores.shape[1])[None]
        wanted = (match & valid, valid & ~match)
        for kind, chosen in zip(found, wanted, strict=True):
            if kind is found[1] and proportion < 1.0:
                chosen = chosen & (rng.random(chosen.shape, dtype=np.float32) < proportion)
            row, column = np.nonzero(chosen)
            kind.append((scores[row, column], rows[row], column.astype(np.int64)))
    same, different = (tuple(np.concatenate(parts) for parts in zip(*kind, strict=True)) for kind in found)
    return _sampled(same, MOST_SAME, rng), _sampled(different, MOST_DIFFERENT, rng)  # type: ignore[arg-type]


def _sampled(pairs: _Scored, most: int, rng: np.random.Generator) -> _Scored:
    if len(pairs[0]) <= most:
        return pairs
    at = rng.choice(len(pairs[0]), most, replace=False)
    return pairs[0][at], pairs[1][at], pairs[2][at]


def _thinned(far: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return indices of points of a ROC that are evenly spread over the logarithm of its false accept rate."""
    if len(far) <= POINTS:
        return np.arange(len(far))
    wanted = np.concatenate([[0.0], np.geomspace(max(far[far > 0].min(initial=1.0), 1e-6), 1.0, POINTS - 1)])
    last = np.clip(np.searchsorted(far, wanted, side="right") - 1, 0, len(far) - 1)
    return np.unique(np.concatenate([[0], last, [len(far) - 1]]))
