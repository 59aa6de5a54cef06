"""Naive attack: the face is looked for in the treated picture and recognised as it is found there."""

from __future__ import annotations

from anonymizer.evaluation.protocols import recognise
from anonymizer.evaluation.records import Context, Finding, Skipped

__all__ = ["run"]


def run(context: Context) -> list[Finding | Skipped]:
    """Recognise faces of every variant, found again in it, in a gallery of originals.

    Faces that are not found are ranked by lot and never accepted, and are counted. Bodies have no alignment to find
    again; they are the aligned attack's.
    """
    return recognise(context, "naive", redetect=True)
