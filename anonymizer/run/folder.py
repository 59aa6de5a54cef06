"""Folder: a whole folder of pictures anonymized by one call, as ``anonymizer run`` does it, or one by one in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from anonymizer.annotations.areas import Areas
from anonymizer.annotations.reading import annotations_at
from anonymizer.annotations.records import Annotations
from anonymizer.config import presets
from anonymizer.core.errors import AnonymizerError, ModelError, VerificationFailed
from anonymizer.core.records import Result
from anonymizer.images.decode import decode_image, read_bytes
from anonymizer.images.release import Release
from anonymizer.models.third_party import offline
from anonymizer.run.inputs import Found, Source, find_inputs
from anonymizer.run.local import run_workers
from anonymizer.run.picture import AnonymizerLike, check_result
from anonymizer.run.processes import ProcessCrew
from anonymizer.run.request import Request
from anonymizer.run.summary import Progress, Summary

__all__ = ["anonymize_folder", "iterate_folder"]


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
        return run_workers(
            ProcessCrew(partial(presets.build, preset, seed=seed, **options)),
            Request(source, output, annotations, release or Release(), areas or Areas(), overwrite=overwrite),
            on_progress,
            workers=workers,
            timeout_s=timeout_s,
        )


def iterate_folder(
    anonymizer: AnonymizerLike,
    source: Source,
    *,
    annotations: Path | str | Annotations | None = None,
    areas: Areas | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[tuple[str, Result | AnonymizerError]]:
    """Results of a picture, a folder or a glob, or several, one by one and in order; nothing is written.

    One picture is held in memory at a time. What goes wrong with it is yielded in place of its result, and the next
    one follows: `InputError`, `StageError`, or `VerificationFailed` where it could not be proven anonymized.

    Args:
        anonymizer: An `Anonymizer`, for instance ``with Anonymizer.from_preset(...) as anonymizer``.
        source: Pictures; never modified.
        annotations: As for ``anonymize_folder``.
        areas: As there.
        on_progress: Called before each picture is yielded.

    Yields:
        Relative name, and result or error.

    Raises:
        InputError: Pictures, annotations or areas that cannot be used as a whole.
        ModelError: The models cannot be used.
    """
    if isinstance(annotations, Path | str):
        with annotations_at(annotations) as given:
            yield from iterate_folder(anonymizer, source, annotations=given, areas=areas, on_progress=on_progress)
        return
    files = find_inputs(source, None).files
    areas = areas or Areas()
    areas.check(file.name for file in files)
    placed = None if annotations is None else annotations.placed(file.name for file in files)
    for done, file in enumerate(files, start=1):
        answer = _one(anonymizer, file, placed, areas)
        if on_progress is not None:
            status, reason = "anonymized", ""
            if isinstance(answer, AnonymizerError):
                status, reason = "quarantined" if isinstance(answer, VerificationFailed) else "failed", str(answer)
            on_progress(Progress(done, len(files), file.name, status, False, reason))
        yield file.name, answer


def _one(
    anonymizer: AnonymizerLike, file: Found, annotations: Annotations | None, areas: Areas
) -> Result | AnonymizerError:
    """Return the result of one picture, held to its contract, or what went wrong with it."""
    try:
        decoded = decode_image(read_bytes(file.path), file.name)
        given = None if annotations is None else annotations.instances(file.name, decoded.size)
        exclude = areas.mask(file.name, decoded.size)
        options = {} if exclude is None else {"exclude": exclude}
        result = anonymizer(decoded.pixels, None if given is None else given.instances, key=file.name, **options)
        check_result(result, decoded.pixels)
    except ModelError:
        raise
    except AnonymizerError as error:
        return error
    return result
