"""Grouping: who is who where nobody said so, by a judge's own eyes on the originals.

Without known identities only the very original of a picture can be looked for, not the person in other pictures. A
judge that knows originals again therefore groups faces of unknown identity; persons take over the group of the one face
in their box. Its errors are errors of every value that rests on these identities, and the report says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from anonymizer.evaluation.control import Control
from anonymizer.evaluation.records import Context, Recognizer

__all__ = ["Grouped", "group"]

#: Most faces that are compared all with all: 200 MB of distances.
MOST = 5000
#: False accept rate of the threshold, and fewest pairs of different people to set it by.
RATE, LEAST_PAIRS = 1e-3, 1000
#: Proportion of a face's box that must lie in a person's for it to be theirs.
INSIDE = 0.9


@dataclass(frozen=True, slots=True)
class Grouped:
    """Names for subjects of unknown identity, by ``Subject.key``, and one line for people about how they came about."""

    names: Mapping[str, str]
    said: str


def group(context: Context, controls: tuple[Control, ...]) -> Grouped | None:
    """Group faces of unknown identity; None where there are none, or nobody able to do it.

    Args:
        context: Its store describes the originals.
        controls: Who is able.
    """
    able = {c.judge for c in controls if c.label == "face" and c.mode == "own" and c.able}
    judges = [recognizer for recognizer in context.of("face") if recognizer.name in able]
    subjects = {s.key: s for pair in context.dataset.pairs for s in context.dataset.subjects(pair)}
    unknown = {key for key, s in subjects.items() if s.label == "face" and s.identity is None}
    if not unknown or not judges:
        return None
    judge = judges[0]
    known = context.store.embeddings("original", judge)
    if len(known.keys) > MOST:
        return Grouped({}, f"{len(unknown)} faces have no identity and are too many to group: each counts as its own")
    similar = np.asarray(known.vectors, np.float64) @ np.asarray(known.vectors, np.float64).T
    threshold, how = _threshold(similar, known.pictures, known.found, judge)
    if threshold is None:
        return Grouped({}, f"{len(unknown)} faces have no identity, and {how}: each counts as its own")
    clusters = _clusters(similar, known.found, threshold)
    names = {
        key: f"group {cluster} of {judge.name}"
        for key, cluster in zip(known.keys, clusters, strict=True)
        if key in unknown and cluster >= 0
    }
    names |= _persons(context, names)
    groups = len({name for key, name in names.items() if key in unknown})
    return Grouped(
        names,
        f"{len(unknown)} faces have no identity: {judge.name} grouped them into {groups} people by their originals "
        f"(cosine from {threshold:.3f}, {how}); its errors are errors of these values",
    )


def _threshold(
    similar: np.ndarray, pictures: tuple[str, ...], found: np.ndarray, judge: Recognizer
) -> tuple[float | None, str]:
    """Return the similarity from which two faces are one person's, and how it was set."""
    numbers = np.unique(np.array(pictures), return_inverse=True)[1]
    together = (numbers[:, None] == numbers[None]) & found[:, None] & found[None]
    apart = similar[np.triu(together, 1)]  # two faces of one picture are two people
    if len(apart) >= LEAST_PAIRS:
        return float(np.quantile(apart, 1 - RATE)), f"what {RATE:.1%} of {len(apart)} pairs in one picture reach"
    given = float(getattr(getattr(judge, "embedder", None), "threshold", 0.0))
    if given > 0:
        return given, f"{judge.name}'s own threshold"
    return None, f"{judge.name} has no threshold of its own and {len(apart)} pairs in one picture set none"


def _clusters(similar: np.ndarray, found: np.ndarray, threshold: float) -> np.ndarray:
    """Return group numbers, int (n,), -1 for who was not found; groups are alike on average."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    out = np.full(len(similar), -1, np.int64)
    rows = np.flatnonzero(found)
    if len(rows) < 2:
        out[rows] = np.arange(len(rows))
        return out
    distance = np.clip(1.0 - similar[np.ix_(rows, rows)], 0.0, 2.0)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average")
    out[rows] = fcluster(tree, 1.0 - threshold, "distance")
    return out


def _persons(context: Context, names: Mapping[str, str]) -> dict[str, str]:
    """Return the names of persons of unknown identity in whose box exactly one named face lies."""
    out: dict[str, str] = {}
    for pair in context.dataset.pairs:
        subjects = context.dataset.subjects(pair)
        faces = [s for s in subjects if s.label == "face"]
        for person in subjects:
            if person.label != "person" or person.identity is not None:
                continue
            inside = []
            for face in faces:
                low, high = np.maximum(face.box[:2], person.box[:2]), np.minimum(face.box[2:], person.box[2:])
                proportion = np.clip(high - low, 0, None).prod() / (face.box[2:] - face.box[:2]).prod()
                if proportion >= INSIDE:
                    inside.append(face)
            if len(inside) == 1 and inside[0].key in names:
                out[person.key] = names[inside[0].key]
    return out
