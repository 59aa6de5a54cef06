"""Informed attack: the attacker learns from other people what does not tell people apart, and fuses several pictures.

He has the tool. He treats pictures of people he knows and sees in which directions descriptions of one person vary:
pose, light, and what the treatment draws at random. These directions are shrunk (within-class whitening, the first half
of a linear discriminant analysis), on originals and on treated pictures alike. One half of the identities teaches, the
other half is attacked. Treated pictures are looked for among originals, and among treated pictures (that finding is
reported with the parrot attack); several treated pictures of one person are also fused into one description.

Source:
    Hatch, Kajarekar and Stolcke, Within-class covariance normalization, Interspeech 2006; shrinkage of the covariance:
    Ledoit and Wolf, 2004.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from anonymizer.evaluation.attacks.adaptive import centred
from anonymizer.evaluation.matching import Mode
from anonymizer.evaluation.protocols import GALLERY, finding, judges
from anonymizer.evaluation.records import Context, Embeddings, Finding, Recognizer, Skipped

__all__ = ["fused", "run", "whitening"]

NAME = "informed"
#: Fewest identities in two pictures: half of them teach.
LEAST_IDENTITIES = 20

Floats = NDArray[np.float64]


def whitening(vectors: Floats, identities: NDArray[np.int64]) -> Floats:
    """Return the matrix (D, D) that makes what varies within identities equal in all directions.

    Args:
        vectors: float (N, D); identities with one row teach nothing.
        identities: int (N,).
    """
    from sklearn.covariance import LedoitWolf

    numbers = np.unique(identities, return_inverse=True)[1]
    sizes = np.bincount(numbers)
    means = np.zeros((len(sizes), vectors.shape[1]))
    np.add.at(means, numbers, vectors)
    apart = (vectors - (means / sizes[:, None])[numbers])[sizes[numbers] > 1]
    values, directions = np.linalg.eigh(LedoitWolf(assume_centered=True).fit(apart).covariance_)
    return np.asarray(directions / np.sqrt(np.maximum(values, 1e-12)) @ directions.T, np.float64)


def fused(probe: Embeddings, gallery: Embeddings) -> tuple[Embeddings, Embeddings] | None:
    """Return one description per identity on each side, of different pictures; None where nobody is in two pictures.

    Args:
        probe: Treated subjects; the first half of each identity's pictures is fused.
        gallery: Originals of the same subjects; the other half is.
    """
    rows: dict[str, list[int]] = {}
    for row, who in enumerate(probe.identities):
        if probe.found[row] and gallery.found[row]:
            rows.setdefault(who, []).append(row)
    halves = {who: (own[: len(own) // 2], own[len(own) // 2 :]) for who, own in rows.items() if len(own) > 1}
    if not halves:
        return None
    names = tuple(halves)

    def side(embeddings: Embeddings, which: int) -> Embeddings:
        vectors = np.stack([embeddings.vectors[halves[who][which]].mean(axis=0) for who in names])
        found = np.ones(len(names), bool)
        return Embeddings(names, names, tuple(f"{which} {who}" for who in names), _unit(vectors), found)

    return side(probe, 0), side(gallery, 1)


def run(context: Context) -> list[Finding | Skipped]:
    """Recognise whitened descriptions of every variant."""
    chosen, skipped = judges(context, NAME)
    out: list[Finding | Skipped] = list(skipped)
    for recognizer in chosen:
        known = context.store.embeddings("original", recognizer)
        teaching = _teaching(context, recognizer, known)
        if teaching is None:
            reason = f"needs at least {LEAST_IDENTITIES} identities in two pictures, half of them to learn from"
            out.append(Skipped(NAME, recognizer.label, reason, recognizer=recognizer.name))
            continue
        numbers = np.unique(np.array(known.identities), return_inverse=True)[1].astype(np.int64)
        for variant in context.variants:
            probe = context.store.embeddings(variant, recognizer)
            seen = context.store.embeddings(variant, recognizer, place="box")
            out += _attack(context, recognizer, variant, (probe, centred(known), seen), teaching, numbers)
    return out


def _attack(
    context: Context,
    recognizer: Recognizer,
    variant: str,
    sides: tuple[Embeddings, Embeddings, Embeddings],
    teaching: NDArray[np.bool_],
    numbers: NDArray[np.int64],
) -> list[Finding | Skipped]:
    """Return the findings of one variant: treated against originals, fused, and treated against treated."""
    probe, gallery, seen = (centred(side) for side in sides)
    usable = probe.found & gallery.found & teaching
    if usable.sum() < LEAST_IDENTITIES:
        return [Skipped(NAME, recognizer.label, "too few found to learn from", variant, recognizer.name)]
    matrix = whitening(
        np.concatenate([probe.vectors[usable], gallery.vectors[usable]]).astype(np.float64),
        np.concatenate([numbers[usable], numbers[usable] + len(numbers)]),
    )
    rows = np.flatnonzero(~teaching)
    probe, gallery, seen = (_turned(side, matrix, rows) for side in (probe, gallery, seen))
    notes = (f"whitened on {int(usable.sum())} subjects of {len(np.unique(numbers[usable]))} other identities",)
    out: list[Finding | Skipped] = []
    modes: tuple[Mode, ...] = ("other",) if variant == "original" else ("other", "own")
    for mode in modes:
        protocol = f"probe and gallery whitened on other people, {GALLERY[mode]}"
        out.append(finding(context, NAME, recognizer, variant, probe, gallery, mode, protocol, notes))
    both = fused(probe, gallery)
    if both is not None:
        protocol = "half of a person's pictures fused, gallery of the other half's originals, fused and whitened"
        out.append(finding(context, NAME, recognizer, variant, *both, "other", protocol, notes))
    protocol = "probe and gallery both treated and whitened on other people, its own picture left out"
    out.append(finding(context, "parrot", recognizer, variant, seen, seen, "other", protocol, notes))
    return out


def _teaching(context: Context, recognizer: Recognizer, known: Embeddings) -> NDArray[np.bool_] | None:
    """Return which rows teach: those of half of the identities; None where too few are in two pictures."""
    names, numbers = np.unique(np.array(known.identities), return_inverse=True)
    often = np.flatnonzero(np.bincount(numbers) > 1)
    if len(often) < LEAST_IDENTITIES:
        return None
    order = context.rng(NAME, recognizer.label).permutation(len(names))
    place = np.empty(len(names), np.int64)
    # Identities in two pictures are dealt evenly: only they teach, and only they can be attacked.
    first = order[np.argsort(~np.isin(order, often), kind="stable")]
    place[first] = np.arange(len(names))
    return np.asarray(place[numbers] % 2 == 0, np.bool_)


def _turned(side: Embeddings, matrix: Floats, rows: NDArray[np.int64]) -> Embeddings:
    keys, identities, pictures = (
        tuple(column[row] for row in rows) for column in (side.keys, side.identities, side.pictures)
    )
    vectors = _unit(side.vectors[rows].astype(np.float64) @ matrix)
    return replace(side, keys=keys, identities=identities, pictures=pictures, vectors=vectors, found=side.found[rows])


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norm, out=np.zeros_like(vectors), where=norm > 1e-12).astype(np.float32)
