"""Local runs: an anonymizer in this process; and the one call that has workers do a run, wherever they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from anonymizer.run.picture import AnonymizerLike, Outcome
from anonymizer.run.pool import Crew, Pool, W
from anonymizer.run.prefetch import AHEAD, Steps, groups, pictures_together
from anonymizer.run.request import Request, Task
from anonymizer.run.runner import execute
from anonymizer.run.summary import Progress, Summary

__all__ = ["InProcess", "run", "run_workers"]


def run(anonymizer: AnonymizerLike, request: Request, on_progress: Callable[[Progress], None] | None = None) -> Summary:
    """Anonymize pictures in this process; a picture on which the model hangs stops the run.

    Arguments, results and errors are those of ``runner.execute``.
    """
    return execute(InProcess(anonymizer), request, on_progress)


def run_workers(
    crew: Crew[W],
    request: Request,
    on_progress: Callable[[Progress], None] | None = None,
    *,
    workers: int = 1,
    timeout_s: float,
) -> Summary:
    """Anonymize pictures with workers: one that hangs or dies costs its picture, not the run.

    Args:
        crew: Where workers come from, see ``processes.ProcessCrew`` and ``cluster.RayCrew``.
        request: What is asked for.
        on_progress: Called after each picture.
        workers: Number of workers.
        timeout_s: Seconds that reading, anonymizing or writing one picture may take before it counts as failed.

    Raises:
        InputError: As for ``runner.execute``; or settings that are refused, or what the crew needs is missing.
        ModelError: The models cannot be used, there is no room for every worker, or workers are lost faster than they
            get anything done.
    """
    with Pool(crew, workers=workers, timeout_s=timeout_s) as pool:
        return execute(pool, request, on_progress)


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
