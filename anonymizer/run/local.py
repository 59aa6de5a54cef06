"""Local runs: an anonymizer in this process, or in processes that can be ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from anonymizer.annotations.areas import Areas
from anonymizer.annotations.records import Annotations
from anonymizer.images.release import Release
from anonymizer.run.batches import pictures_together
from anonymizer.run.inputs import Source
from anonymizer.run.picture import AnonymizerLike, Outcome
from anonymizer.run.prefetch import AHEAD, Steps, groups
from anonymizer.run.processes import Build, ProcessPool
from anonymizer.run.runner import Task, execute
from anonymizer.run.summary import Progress, Summary

__all__ = ["InProcess", "run", "run_processes"]


def run(
    anonymizer: AnonymizerLike,
    source: Source,
    output: Path | str,
    *,
    annotations: Path | str | Annotations | None = None,
    release: Release | None = None,
    areas: Areas | None = None,
    require_annotations: bool = False,
    overwrite: bool = False,
    prune: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Anonymize pictures in this process; a picture on which the model hangs stops the run.

    Arguments, results and errors are those of ``runner.execute``.
    """
    return execute(
        InProcess(anonymizer),
        source,
        output,
        annotations=annotations,
        release=release,
        areas=areas,
        require_annotations=require_annotations,
        overwrite=overwrite,
        prune=prune,
        on_progress=on_progress,
    )


def run_processes(
    build: Build,
    source: Source,
    output: Path | str,
    *,
    workers: int = 1,
    timeout_s: float,
    annotations: Path | str | Annotations | None = None,
    release: Release | None = None,
    areas: Areas | None = None,
    require_annotations: bool = False,
    overwrite: bool = False,
    prune: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Anonymize pictures in worker processes: one that hangs or dies costs its picture, not the run.

    Args:
        build: Makes the anonymizer, once in each worker; it must be importable there.
        source: See ``runner.execute``, as for everything not listed here.
        output: As there.
        workers: Number of worker processes.
        timeout_s: Seconds that reading, anonymizing or writing one picture may take before it counts as failed.
        annotations: As there.
        release: As there.
        areas: As there.
        require_annotations: As there.
        overwrite: As there.
        prune: As there.
        on_progress: As there.

    Raises:
        InputError: As there; or ``build`` refused its settings.
        ModelError: The models cannot be used, or workers die before they are ready.
    """
    with ProcessPool(build, workers=workers, timeout_s=timeout_s) as pool:
        return execute(
            pool,
            source,
            output,
            annotations=annotations,
            release=release,
            areas=areas,
            require_annotations=require_annotations,
            overwrite=overwrite,
            prune=prune,
            on_progress=on_progress,
        )


class InProcess:
    """Anonymizes in this process; reading, model and writing overlap.

    Args:
        anonymizer: Redraws and verifies.
        overlapped: Whether they do.
    """

    def __init__(self, anonymizer: AnonymizerLike, *, overlapped: bool = True) -> None:
        self._anonymizer = anonymizer
        self._overlapped = overlapped

    @property
    def settings_hash(self) -> str:
        """Hex digest of every setting and weight that decides the pixels."""
        return self._anonymizer.settings_hash

    def describe(self) -> Mapping[str, Any]:
        """Return preset, models with hashes, and versions."""
        return self._anonymizer.describe()

    def results(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Yield each task with its outcome, in order."""
        steps = Steps(self._anonymizer, overlapped=self._overlapped)
        running: deque[tuple[list[Task], list[Future[Outcome]]]] = deque()
        try:
            for group in groups(tasks, pictures_together(self._anonymizer)):
                running.append((group, steps.submit(group)))
                if len(running) == AHEAD:
                    yield from _awaited(*running.popleft())
            while running:
                yield from _awaited(*running.popleft())
        finally:
            steps.close()


def _awaited(tasks: list[Task], outcomes: list[Future[Outcome]]) -> Iterator[tuple[Task, Outcome]]:
    for task, outcome in zip(tasks, outcomes, strict=True):
        yield task, outcome.result()
