"""Parrot attack: the attacker treats the gallery in the same way and compares like with like.

Source:
    Newton, Sweeney and Malin, Preserving privacy by de-identifying face images, 2005 ("parrot recognition").
"""

from __future__ import annotations

from anonymizer.evaluation.matching import has_repeats
from anonymizer.evaluation.protocols import finding, judges
from anonymizer.evaluation.records import Context, Finding, Skipped

__all__ = ["run"]


def run(context: Context) -> list[Finding | Skipped]:
    """Recognise treated subjects in a gallery of other pictures of the same identities, treated the same way.

    This is also the measure of linkability between released pictures. It needs identities in two pictures; with a
    second anonymization of the same pictures, the same subject is looked for there as well. Subjects are described by
    what lies in their box: whoever has released pictures alone sees no landmarks and no mask of an original.
    """
    chosen, skipped = judges(context, "parrot")
    out: list[Finding | Skipped] = list(skipped)
    for recognizer in chosen:
        label = recognizer.label
        known = context.store.embeddings("original", recognizer)
        repeats = has_repeats(known)
        if not repeats:
            reason = "no identity is known to be in two pictures; give identities with --annotations"
            out.append(Skipped("parrot", label, reason, recognizer=recognizer.name))
        for variant in context.variants:
            probe = context.store.embeddings(variant, recognizer, place="box")
            if repeats:
                protocol = "probe and gallery both treated, described by the box alone, its own picture left out"
                out.append(finding(context, "parrot", recognizer, variant, probe, probe, "other", protocol))
            if variant == "anonymized" and context.again is not None:
                gallery = context.store.embeddings(context.again.name, recognizer, place="box")
                protocol = "gallery of the same pictures anonymized a second time"
                notes = ("what surrounds a subject is the same in both pictures and helps, as it would an attacker",)
                out.append(finding(context, "parrot", recognizer, variant, probe, gallery, "own", protocol, notes))
    return out
