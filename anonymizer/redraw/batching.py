"""Batches: crops of equal size painted together, from many instances and many pictures, as memory allows."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Hashable, Sequence
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import ModelError

__all__ = ["Packer", "SharedInpainter", "is_out_of_memory"]

Job = TypeVar("Job")
Done = TypeVar("Done")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that the device's memory was too small for the batch."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    if isinstance(error, torch.OutOfMemoryError):
        return True
    # cuBLAS and cuDNN report it in words only.
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
    )


class Packer:
    """Runs jobs in batches of like ones and finds how large a batch may be.

    A batch starts at ``start`` jobs and doubles after each full one that went through, up to ``most``. Where memory
    runs out, the batch is halved and the same jobs are run again, so nothing done is lost; it never grows beyond what
    once failed. What fits is remembered per kind of job.

    Args:
        start: Jobs in the first batch.
        most: Jobs in the largest; equal to ``start`` for a fixed size.
    """

    def __init__(self, start: int, most: int) -> None:
        self._start = start
        self._most = max(start, most)
        self._limits: dict[Hashable, int] = {}
        self._ceilings: dict[Hashable, int] = {}

    def run(
        self,
        jobs: Sequence[Job],
        key: Callable[[Job], Hashable],
        work: Callable[[Sequence[Job]], Sequence[Done]],
    ) -> list[Done]:
        """Return what ``work`` makes of each job, in the order of the jobs.

        Args:
            jobs: Any jobs.
            key: What jobs must share to be run together.
            work: Runs a batch of like jobs.

        Raises:
            ModelError: Memory is too small even for one job.
        """
        alike: dict[Hashable, list[int]] = {}
        for index, job in enumerate(jobs):
            alike.setdefault(key(job), []).append(index)
        done: dict[int, Done] = {}
        for kind, indices in alike.items():
            rest = indices
            while rest:
                part = rest[: self.limit(kind)]
                results = self._try(kind, [jobs[i] for i in part], work)
                if results is not None:
                    done.update(zip(part, results, strict=True))
                    rest = rest[len(part) :]
        return [done[index] for index in range(len(jobs))]

    def limit(self, kind: Hashable) -> int:
        """Return how many jobs of a kind the next batch may hold."""
        return self._limits.get(kind, self._start)

    def _try(
        self, kind: Hashable, batch: list[Job], work: Callable[[Sequence[Job]], Sequence[Done]]
    ) -> Sequence[Done] | None:
        """Run one batch; return None if it did not fit and is to be tried smaller."""
        try:
            results = work(batch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise ModelError(
                    "the device's memory is too small for a single crop; switch on cpu_offload and vae_tiling in the "
                    "preset, or take a smaller preset"
                ) from error
        else:
            if len(batch) == self.limit(kind):
                self._limits[kind] = min(2 * len(batch), self._ceilings.get(kind, self._most))
            return results
        # Outside of the handler: the error held on to the failed batch's tensors.
        self._limits[kind] = self._ceilings[kind] = len(batch) // 2
        _free()
        return None


def _free() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class Inpainter(Protocol):
    """Paints crops; see ``redrawer.Inpainter``."""

    def inpaint(self, jobs: Sequence[Any]) -> list[NDArray[np.uint8]]:
        """Return the painted crops in the order of the jobs."""
        ...


class SharedInpainter:
    """A inpainter that several pictures at work can share, so that their crops are painted together.

    ``together`` runs tasks in turns, never two at once: each goes on until it wants something painted. When all wait,
    all their crops are painted in one go. Which crops meet is decided by the order of the tasks alone, not by time.

    Args:
        inner: Paints crops.
    """

    def __init__(self, inner: Inpainter) -> None:
        self._inner = inner
        self._turn: ContextVar[_Turn | None] = ContextVar("turn", default=None)

    def inpaint(self, jobs: Sequence[Any]) -> list[NDArray[np.uint8]]:
        """Return the painted crops in the order of the jobs."""
        if not jobs:
            return []
        turn = self._turn.get()
        return self._inner.inpaint(jobs) if turn is None else turn.ask(jobs)

    def together(self, tasks: Sequence[Callable[[], Done]]) -> list[Done | Exception]:
        """Run tasks that call ``paint``; return what each returned, or the error it ended with, in their order."""
        turns = [_Turn() for _ in tasks]
        outcomes: list[Any] = [None] * len(tasks)

        def follow(index: int) -> None:
            turns[index].wait()
            self._turn.set(turns[index])
            try:
                outcomes[index] = tasks[index]()
            except Exception as error:
                outcomes[index] = error
            finally:
                turns[index].finish()

        threads = [threading.Thread(target=follow, args=(index,), daemon=True) for index in range(len(tasks))]
        for thread in threads:
            thread.start()
        waiting = turns
        while waiting:
            for turn in waiting:
                turn.give()
            waiting = [turn for turn in waiting if turn.jobs]
            if waiting:
                self._serve(waiting)
        for thread in threads:
            thread.join()
        return outcomes

    def _serve(self, turns: Sequence[_Turn]) -> None:
        """Paint for all who wait; if that fails, for each alone, so that one bad job costs only its own picture."""
        try:
            painted = iter(self._inner.inpaint([job for turn in turns for job in turn.jobs]))
            for turn in turns:
                turn.answer = [next(painted) for _ in turn.jobs]
        except Exception as error:
            if len(turns) == 1:
                turns[0].answer = error
                return
            for turn in turns:
                self._serve([turn])


class _Turn:
    """One task's side of the exchange: it works only while the turn is its own."""

    def __init__(self) -> None:
        self.jobs: Sequence[Any] = ()
        self.answer: list[NDArray[np.uint8]] | Exception = []
        self._mine, self._back = threading.Semaphore(0), threading.Semaphore(0)

    def give(self) -> None:
        """Let the task work until it asks or ends."""
        self._mine.release()
        self._back.acquire()

    def wait(self) -> None:
        """In the task's thread: wait for the first turn."""
        self._mine.acquire()

    def ask(self, jobs: Sequence[Any]) -> list[NDArray[np.uint8]]:
        """In the task's thread: hand jobs over, and return what was painted."""
        self.jobs = jobs
        self._back.release()
        self._mine.acquire()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def finish(self) -> None:
        """In the task's thread: it is done."""
        self.jobs = ()
        self._back.release()
