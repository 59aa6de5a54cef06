"""Evaluation by one call, as ``anonymizer evaluate`` does it: findings, verdict and report written to a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anonymizer.evaluation import document as documents
from anonymizer.evaluation import report as reports
from anonymizer.evaluation import runner
from anonymizer.models.third_party import offline

__all__ = ["evaluate"]


def evaluate(
    originals: Path | str,
    anonymized: Path | str,
    out: Path | str,
    *,
    annotations: Path | str | None = None,
    mapping: Mapping[str, str | None] | None = None,
    again: Path | str | None = None,
    with_pictures: bool = False,
    on_progress: runner.Progress = lambda stage, done, total: None,
    **options: Any,
) -> dict[str, Any]:
    """Findings of every attack on released pictures, and the verdict, as ``evaluation.json`` and ``report.html``.

    Args:
        originals: Folder of originals, only read.
        anonymized: OUTPUT of a run or a folder of released pictures, only read.
        out: Folder for the two files, outside of both.
        annotations: Annotations of the originals; None detects. Of COCO also landmarks, identities and texts are read.
        mapping: Class by category name of the annotations, beside the common names; None leaves one alone.
        again: The same originals anonymized a second time, or None.
        with_pictures: Whether the report shows faces.
        on_progress: Called with stage, done and total as the work goes on.
        **options: Fields of ``evaluation.runner.Settings``: ``attacks``, ``baselines``, ``recognizers``, ``seed``, …

    Returns:
        The content of ``evaluation.json``, see its schema; ``["verdict"]["state"]`` is what a pipeline can act on.

    Raises:
        InputError: Pictures, annotations or options that cannot be used.
        ModelError: Weights that were asked for are missing, or a package of the extra ``evaluate`` is.
    """
    originals, anonymized, out = Path(originals), Path(anonymized), Path(out)
    with offline():
        found = runner.evaluate(
            originals,
            anonymized,
            out,
            runner.Settings(**options),
            annotations=None if annotations is None else Path(annotations),
            mapping=mapping,
            again=None if again is None else Path(again),
            on_progress=on_progress,
        )
        document = documents.build(found, originals, anonymized)
        documents.write(document, out)
        reports.write(document, out, found.dataset.pairs if with_pictures else ())
    return document
