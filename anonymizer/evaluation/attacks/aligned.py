"""Aligned attack: the attacker knows the place, size and turn of every subject in the original."""

from __future__ import annotations

from anonymizer.evaluation.protocols import recognise
from anonymizer.evaluation.records import Context, Finding, Skipped

__all__ = ["run"]


def run(context: Context) -> list[Finding | Skipped]:
    """Recognise subjects of every variant at their original boxes and landmarks in a gallery of originals."""
    return recognise(context, "aligned", redetect=False)
