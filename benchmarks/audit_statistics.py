"""Simulate people, attack them, and count how often the audit's statistics are right.

    python benchmarks/audit_statistics.py [--rounds N] [--layout 7x5] [--seed N]

For people drawn anew in every round, whose descriptions keep more or less of who they are, the table gives

- *coverage*: how often the 95 % interval of rank 1, mAP and AUC holds the true value (the mean over all rounds),
- *false alarms*: how often chance alone is called more than chance at 5 %, where nothing is left (first rows),
- *power*: how often a leak is seen, by each value alone and by all three with Holm's correction.

``own``: the very original of a probe is looked for among the originals; ``other``: the person in other pictures;
``parrot``: treated pictures among each other. *hidden* is what pictures of one person share that does not say who it
is.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from anonymizer.evaluation import intervals
from anonymizer.evaluation.matching import Mode, compare
from anonymizer.evaluation.records import Embeddings

METRICS = ("rank1", "map", "auc")
#: People and pictures of each.
LAYOUTS = ((7, 5), (25, 4), (240, 3))
#: What is left of an identity, and what else pictures of one person share: in units of the noise.
SETTINGS = ((0.0, 0.0), (0.0, 2.0), (0.15, 0.0), (0.3, 0.0), (0.5, 1.0), (1.0, 0.0))
#: Length of a description.
SIZE = 32
#: Level of the tests.
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Row:
    """What came out for one setting: coverage and power by value, and power of all three."""

    people: int
    each: int
    mode: str
    left: float
    hidden: float
    truth: dict[str, float]
    coverage: dict[str, float]
    power: dict[str, float]
    together: float


def described(vectors: np.ndarray, each: int) -> Embeddings:
    """Return vectors (N, D) as descriptions of people of ``each`` pictures."""
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    names = tuple(f"p{n:05d}" for n in range(len(unit)))
    who = tuple(f"w{n // each}" for n in range(len(unit)))
    return Embeddings(tuple(f"{name}#0" for name in names), who, names, unit, np.ones(len(unit), bool))


def people(
    rng: np.random.Generator, count: int, each: int, left: float, hidden: float
) -> tuple[Embeddings, Embeddings]:
    """Return released pictures and originals of people drawn anew."""
    own, shared = (rng.normal(size=(count, SIZE)).repeat(each, axis=0) for _ in range(2))
    gallery = described(2 * own + rng.normal(size=own.shape), each)
    return described(left * own + hidden * shared + rng.normal(size=own.shape), each), gallery


def simulate(
    count: int, each: int, mode: str, left: float, hidden: float, rounds: int, seed: int, resamples: int = 200
) -> Row:
    """Return how often intervals and tests were right over some rounds."""
    rng = np.random.default_rng(seed)
    ends: dict[str, list[tuple[float, float, float]]] = {name: [] for name in METRICS}
    tails: dict[str, list[float]] = {name: [] for name in METRICS}
    for _ in range(rounds):
        probe, gallery = people(rng, count, each, left, hidden)
        kind: Mode = "own" if mode == "own" else "other"
        found = compare(probe, probe if mode == "parrot" else gallery, kind, rng, resamples)
        for name in METRICS:
            one, null = found.estimates[name], found.null[name]
            assert one.value is not None and one.low is not None and one.high is not None
            ends[name].append((one.value, one.low, one.high))
            moments = (null["mean"], null["deviation"], null["skew"], int(null["possible"]))
            tails[name].append(intervals.tail(null["value"], *moments))
    truth = {name: float(np.mean([value for value, _, _ in rows])) for name, rows in ends.items()}
    return Row(
        count,
        each,
        mode,
        left,
        hidden,
        truth,
        {name: float(np.mean([low <= truth[name] <= high for _, low, high in rows])) for name, rows in ends.items()},
        {name: float(np.mean(np.array(values) < LEVEL)) for name, values in tails.items()},
        float(np.mean([min(intervals.holm(list(three))) < LEVEL for three in zip(*tails.values(), strict=True)])),
    )


def table(rows: Iterator[Row]) -> Iterator[str]:
    """Yield the table line by line."""
    heads = (
        "people",
        "compared",
        "left",
        "hidden",
        "rank 1, mAP, AUC",
        "coverage",
        "told from chance by each",
        "by all",
    )
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        cells = [", ".join(f"{part[name]:.3f}" for name in METRICS) for part in (row.truth, row.coverage, row.power)]
        yield (
            f"| {row.people} x {row.each} | {row.mode} | {row.left:g} | {row.hidden:g} | {' | '.join(cells)} "
            f"| {row.together:.3f} |"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--layout", action="append", help="people x pictures of each, as 7x5")
    parser.add_argument("--mode", action="append", choices=("own", "other", "parrot"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    layouts = [tuple(map(int, text.split("x"))) for text in args.layout or ()] or list(LAYOUTS)
    for line in table(
        simulate(count, each, mode, left, hidden, args.rounds, args.seed)
        for count, each in layouts
        for mode in args.mode or ("own", "other", "parrot")
        for left, hidden in SETTINGS
    ):
        print(line, flush=True)


if __name__ == "__main__":
    main()
