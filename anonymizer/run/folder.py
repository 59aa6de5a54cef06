"""Folder: a whole folder of pictures anonymized by one call, as ``anonymizer run`` does it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from anonymizer.annotations.areas import Areas
from anonymizer.annotations.records import Annotations
from anonymizer.config import presets
from anonymizer.images.release import Release
from anonymizer.models.third_party import offline
from anonymizer.run import local
from anonymizer.run.inputs import Source
from anonymizer.run.summary import Progress, Summary

__all__ = ["anonymize_folder"]


def anonymize_folder(
    source: Source,
    output: Path | str,
    *,
    preset: str | Path = "embedded",
    seed: int | None = None,
    annotations: Path | str | Annotations | None = None,
    release: Release | None = None,
    areas: Areas | None = None,
    workers: int = 1,
    timeout_s: float = 1800.0,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Summary:
    """Counts of a run over a picture, a folder or a glob, or several; resumed where an earlier run was interrupted.

    Worker processes import the calling module, so a script calls this below ``if __name__ == "__main__":``.

    Args:
        source: Pictures; never modified.
        output: Folder for pictures, annotations, ledger and report, outside of ``source``.
        preset: Name of a preset, or a preset file.
        seed: Makes a run repeatable; None draws fresh noise.
        annotations: Instances to use as given: file or folder in a known format, or what ``read_annotations`` returns.
        release: Format, metadata and names of what is released; None keeps formats and names and no metadata.
        areas: What is left as it is, see ``annotations.areas.read_areas``.
        workers: Worker processes, each with its own models.
        timeout_s: Longest time in seconds for one step of one picture; then it counts as failed.
        overwrite: Redo finished pictures.
        on_progress: Called after each picture.
        **options: Further options of ``Anonymizer.from_preset``: ``classes``, ``people``, ``device``, …

    Raises:
        InputError: Pictures, annotations or options that cannot be used.
        ModelError: Weights are missing or not accepted.
    """
    with offline():
        return local.run_processes(
            partial(presets.build, preset, seed=seed, **options),
            source,
            output,
            workers=workers,
            timeout_s=timeout_s,
            annotations=annotations,
            release=release,
            areas=areas,
            overwrite=overwrite,
            on_progress=on_progress,
        )
