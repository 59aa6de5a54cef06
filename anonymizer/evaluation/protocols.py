"""Protocol shared by several attacks: the loop over recognisers and variants, and findings from comparisons."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from anonymizer.evaluation.intervals import proportion
from anonymizer.evaluation.matching import ACCEPT_RATE, LEAST_ABOVE, Mode, compare, has_repeats, pair_scores
from anonymizer.evaluation.records import Context, Embeddings, Estimate, Finding, Place, Recognizer, Skipped

__all__ = ["finding", "judges", "recognise"]

#: What each mode of comparison means, for reports.
GALLERY = {
    "own": "gallery of originals, its own among them",
    "other": "gallery of originals, its own picture left out",
}


def finding(
    context: Context,
    attack: str,
    recognizer: Recognizer,
    variant: str,
    probe: Embeddings,
    gallery: Embeddings,
    mode: Mode,
    protocol: str,
    notes: Iterable[str] = (),
    threshold: float | None = None,
) -> Finding:
    """Compare probes with a gallery and return the finding.

    Args:
        context: For randomness and the number of resamples.
        attack: Name of the attack.
        recognizer: Who described both sides.
        variant: Name of the variant attacked.
        probe: What the attacker wants to name.
        gallery: What the attacker knows.
        mode: ``own`` or ``other``, see ``matching.Mode``.
        protocol: One line for people.
        notes: Further remarks.
        threshold: Similarity from which a system that was set on originals accepts, or None.
    """
    rng = context.rng(attack, recognizer.name, variant, mode, protocol)
    compared = compare(probe, gallery, mode, rng, context.bootstrap, threshold)
    remarks = [*notes, *compared.notes]
    if not recognizer.judge:
        remarks.append("the run was verified with this recogniser: no independent judge")
    return Finding(
        attack=attack,
        label=recognizer.label,
        variant=variant,
        recognizer=recognizer.name,
        protocol=protocol,
        estimates=compared.estimates,
        counts=compared.counts,
        curves=compared.curves,
        histograms=compared.histograms,
        notes=tuple(remarks),
        judge=recognizer.judge,
        null=compared.null,
        mode=mode,
        people=compared.people if context.rows else (),
        groups=_by_group(context, probe, compared.people),
    )


def _by_group(
    context: Context, probe: Embeddings, people: tuple[tuple[str, bool, float, int], ...]
) -> dict[str, dict[str, Estimate]]:
    """Return rank 1 and the proportion of people recognised for each group, whose members search the same gallery."""
    if not context.groups:
        return {}
    groups: dict[str, set[str]] = {}
    for key, who in zip(probe.keys, probe.identities, strict=True):
        if key in context.groups:
            groups.setdefault(who, set()).add(context.groups[key])
    members: dict[str, list[tuple[bool, float, int]]] = {}
    for who, recognised, rank1, tries in people:
        # Whoever is annotated in two ways belongs to no group.
        if len(groups.get(who, ())) == 1:
            members.setdefault(next(iter(groups[who])), []).append((recognised, rank1, tries))
    out = {}
    for group, rows in sorted(members.items()):
        counts = [row[2] for row in rows]
        numbers = np.arange(len(rows))
        out[group] = {
            "rank1": proportion(np.repeat([row[1] for row in rows], counts), np.repeat(numbers, counts)),
            "people_recognised": proportion(np.array([row[0] for row in rows], np.float64), numbers),
        }
    return out


def judges(context: Context, attack: str, faces_only: bool = False) -> tuple[list[Recognizer], list[Skipped]]:
    """Return the recognisers of the classes to attack, and for classes without any why they are skipped."""
    chosen: list[Recognizer] = []
    skipped: list[Skipped] = []
    for label in context.labels:
        if label not in ("person", "face"):
            continue  # plates are read, not recognised: the plate attack
        if faces_only and label != "face":
            skipped.append(Skipped(attack, label, "bodies have no alignment to find again; see the aligned attack"))
        elif not context.of(label):
            skipped.append(Skipped(attack, label, "no recogniser of this class is at hand"))
        else:
            chosen += context.of(label)
    return chosen, skipped


def recognise(context: Context, attack: str, *, redetect: bool) -> list[Finding | Skipped]:
    """Compare subjects of every variant with the originals.

    Each variant is attacked twice: to find the very original of a subject, and, where identities are in several
    pictures, to find the identity in other pictures. The second is what a stranger's photo album allows; the first is
    the stronger link.
    """
    chosen, skipped = judges(context, attack, faces_only=redetect)
    out: list[Finding | Skipped] = list(skipped)
    place: Place = "found" if redetect else "known"
    how = "found again in the picture" if redetect else "at the original's place and alignment"
    for recognizer in chosen:
        gallery = context.store.embeddings("original", recognizer, place=place)
        if not gallery.keys:
            out.append(Skipped(attack, recognizer.label, "no subject of this class", recognizer=recognizer.name))
            continue
        modes: tuple[Mode, ...] = ("other", "own") if has_repeats(gallery) else ("own",)
        accepts = _accepts(context, recognizer, gallery)
        for variant in context.variants:
            probe = context.store.embeddings(variant, recognizer, place=place)
            for mode in modes:
                if variant == "original" and mode == "own":
                    continue  # a picture compared with itself measures nothing
                protocol = f"probe {how}, {GALLERY[mode]}"
                out.append(finding(context, attack, recognizer, variant, probe, gallery, mode, protocol, (), accepts))
    return out


def _accepts(context: Context, recognizer: Recognizer, gallery: Embeddings) -> float | None:
    """Return the similarity that one in a thousand pairs of two people in the originals reaches; None with too few."""
    different = pair_scores(gallery, gallery, "other", context.rng("accepts", recognizer.name)).different
    if len(different) * ACCEPT_RATE < LEAST_ABOVE:
        return None
    return float(np.quantile(different, 1 - ACCEPT_RATE))
