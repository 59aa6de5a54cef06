"""Evaluation: how re-identifiable released pictures are, by attacks, metrics, baselines and utility; offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anonymizer.core.lazy import lazy

if TYPE_CHECKING:
    from anonymizer.evaluation.dataset import PictureDataset
    from anonymizer.evaluation.pairing import Rule
    from anonymizer.evaluation.records import Finding, Recognizer
    from anonymizer.evaluation.runner import Evaluation, Settings

__all__ = ["Evaluation", "Finding", "PictureDataset", "Recognizer", "Rule", "Settings"]

__getattr__ = lazy(
    __name__,
    {
        "Evaluation": "runner",
        "Finding": "records",
        "PictureDataset": "dataset",
        "Recognizer": "records",
        "Rule": "pairing",
        "Settings": "runner",
    },
)
