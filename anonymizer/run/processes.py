"""Worker processes on this machine, each with its own model, supervised so that none can hold up or end a run.

Workers get pictures and give back outcomes; they never write to OUTPUT. What travels between a worker and its parent
is pickled, over a private pipe between two processes of this program; nothing from a file is ever unpickled.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

from anonymizer.core.errors import AnonymizerError, InputError, ModelError
from anonymizer.core.logs import PACKAGE, log_to_stderr
from anonymizer.models.third_party import offline
from anonymizer.run.batches import pictures_together
from anonymizer.run.picture import AnonymizerLike, Outcome
from anonymizer.run.prefetch import AHEAD, Steps, groups
from anonymizer.run.runner import Task

__all__ = ["Build", "ProcessPool"]

Build = Callable[[], AnonymizerLike]

_log = logging.getLogger(__name__)

#: Seconds a worker may take to load its models.
START_S = 900.0
#: Seconds an idle worker may take to end by itself.
END_S = 10.0
#: A picture during which its worker died is tried once more, alone; then it is the picture. Where several were
#: anonymized together, nobody knows which it was, and it counts for none.
MOST_DEATHS = 2


@dataclass(slots=True, eq=False)
class _Job:
    task: Task
    deaths: int = 0
    #: Whether its worker hung or died with it at work: it wants a worker for itself.
    suspect: bool = False
    #: The group with which it was sent.
    group: int = 0
    #: The step at work, when it began, and how many pictures share it; no step while it waits for its turn.
    step: str = ""
    since: float = 0.0
    sharing: int = 1


@dataclass(slots=True, eq=False)
class _Worker:
    process: multiprocessing.process.BaseProcess
    connection: Connection
    outbox: queue.SimpleQueue[list[tuple[int, Task]] | None]
    since: float
    ready: bool = False
    jobs: dict[int, _Job] = field(default_factory=dict)


class ProcessPool:
    """Keeps worker processes at work; use it as a context manager.

    A worker that takes longer than the limit for one step of a picture is ended and replaced. The picture fails if
    no other was at work; otherwise each of them is done again alone, which shows which of them it was. A worker that
    dies is replaced; the pictures it was working on are tried once more, each alone, and fail if that kills a worker
    again. Pictures that only waited in it are passed on.

    Pictures that are anonymized together have as long as they would have one after the other.

    Args:
        build: Makes the anonymizer in each worker; must be picklable.
        workers: Number of processes.
        timeout_s: Seconds that one step of one picture may take.

    Raises:
        InputError: A number out of range; on entering, settings that ``build`` refuses.
        ModelError: On entering: the models cannot be used.
    """

    def __init__(self, build: Build, *, workers: int = 1, timeout_s: float) -> None:
        if workers < 1:
            raise InputError(f"workers: expected at least 1, got {workers}")
        if not timeout_s > 0:
            raise InputError(f"timeout: expected seconds above 0, got {timeout_s}")
        self._build = build
        self._count = workers
        self._timeout_s = timeout_s
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._numbers = count(1)
        self._together = 1
        self._failed_starts = 0
        self._description: dict[str, Any] = {}
        self._settings_hash = ""

    def __enter__(self) -> ProcessPool:
        try:
            self._workers.append(self._start())
            # The others start when this one has shown that the models can be used.
            while not self._workers[0].ready:
                for _ in self._step(deque()):
                    pass
            self._workers += [self._start() for _ in range(self._count - 1)]
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def settings_hash(self) -> str:
        """Hex digest of every setting and weight that decides the pixels."""
        return self._settings_hash

    def describe(self) -> Mapping[str, Any]:
        """Return preset, models with hashes, and versions, as the first worker told them."""
        return self._description

    @property
    def together(self) -> int:
        """Pictures that are anonymized together, at most, as the first worker told."""
        return self._together

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        return tuple(worker.process.pid or 0 for worker in self._workers)

    def results(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Yield each task once with its outcome, as they are finished.

        Raises:
            ModelError: The models cannot be used.
        """
        again: deque[_Job] = deque()
        rest = groups(tasks, self._together)
        exhausted = False
        while True:
            while again and (worker := self._free(again[0])) is not None:
                self._send(worker, [again.popleft()])
            while not exhausted and not again and (worker := self._free()) is not None:
                group = next(rest, None)
                exhausted = group is None
                if group is not None:
                    self._send(worker, [_Job(task) for task in group])
            if exhausted and not again and not any(worker.jobs for worker in self._workers):
                return
            yield from self._step(again)

    def _step(self, again: deque[_Job]) -> Iterator[tuple[Task, Outcome]]:
        """Wait for what happens next and yield what it decides; jobs to be done again are added to ``again``."""
        by_connection = {worker.connection: worker for worker in self._workers}
        for connection in wait(list(by_connection), timeout=self._patience()):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                yield from self._bury(worker, again)
                continue
            yield from self._hear(worker, message)
        now = time.monotonic()
        for worker in list(self._workers):
            if not worker.ready and now - worker.since > START_S:
                raise ModelError(f"a worker did not load its models within {START_S:.0f} s; see its messages above")
            late = [n for n, job in worker.jobs.items() if job.step and now > self._end_of_step(job)]
            if late:
                yield from self._replace(worker, late, again)

    def _patience(self) -> float:
        """Return the seconds until the next limit."""
        ends = [w.since + START_S for w in self._workers if not w.ready]
        ends += [self._end_of_step(job) for w in self._workers for job in w.jobs.values() if job.step]
        return max(min(ends, default=time.monotonic() + 1.0) - time.monotonic(), 0.0) + 0.01

    def _end_of_step(self, job: _Job) -> float:
        return job.since + self._timeout_s * job.sharing

    def _hear(self, worker: _Worker, message: tuple[Any, ...]) -> Iterator[tuple[Task, Outcome]]:
        kind, *rest = message
        if kind == "ready":
            settings_hash, description, self._together = rest
            if self._settings_hash not in ("", settings_hash):
                raise ModelError("workers loaded different models or settings; do not change them during a run")
            self._settings_hash, self._description, worker.ready = settings_hash, description, True
            self._failed_starts = 0
            _log.info("worker %s is ready after %.1f s", worker.process.pid, time.monotonic() - worker.since)
        elif kind == "step":
            numbers, step = rest
            for job in (worker.jobs[number] for number in numbers):
                job.step, job.since, job.sharing = step, time.monotonic(), len(numbers)
        elif kind == "done":
            number, outcome = rest
            yield worker.jobs.pop(number).task, outcome
        else:
            raise (InputError if kind == "InputError" else ModelError)(rest[0])

    def _replace(self, worker: _Worker, late: list[int], again: deque[_Job]) -> Iterator[tuple[Task, Outcome]]:
        """End a worker that hangs: a picture that was at work alone fails, all others are done again.

        Several at work are each done again alone: one that holds the interpreter makes the others late as well.
        """
        working = [job for job in worker.jobs.values() if job.step]
        told = ", ".join(f"{job.task.name} ({job.step})" for job in working)
        _log.warning("worker %s hangs and is replaced; at work: %s", worker.process.pid, told)
        if len(working) > 1:
            for job in working:
                job.suspect = True
        else:
            job = worker.jobs.pop(late[0])
            reason = f"{job.step}: took longer than {self._timeout_s:g} s and was given up; see --timeout"
            yield job.task, Outcome({"status": "failed", "reason": reason, "notes": []})
        self._requeue(worker, again)
        self._renew(worker)

    def _bury(self, worker: _Worker, again: deque[_Job]) -> Iterator[tuple[Task, Outcome]]:
        """Replace a worker that died."""
        worker.process.join(timeout=10)
        code = worker.process.exitcode
        _log.warning("worker %s ended by itself (exit code %s) and is replaced", worker.process.pid, code)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts > 2:
                raise ModelError(f"a worker ended while it loaded the models (exit code {code}); is there memory?")
        for number, job in list(worker.jobs.items()):
            job.suspect |= bool(job.step)
            job.deaths += bool(job.step) and job.sharing == 1
            if job.deaths >= MOST_DEATHS:
                del worker.jobs[number]
                reason = f"{job.step}: the worker ended (exit code {code}) each time; too little memory, or a fault"
                yield job.task, Outcome({"status": "failed", "reason": reason, "notes": []})
        self._requeue(worker, again)
        self._renew(worker)

    def _requeue(self, worker: _Worker, again: deque[_Job]) -> None:
        for job in worker.jobs.values():
            job.step = ""
            again.append(job)
        worker.jobs.clear()

    def _renew(self, worker: _Worker) -> None:
        _kill(worker)
        self._workers[self._workers.index(worker)] = self._start()

    def _free(self, job: _Job | None = None) -> _Worker | None:
        """Return the worker with the least to do of those that can take a new group, or a job again; None if none."""
        free = [worker for worker in self._workers if _room(worker, job)]
        return min(free, key=lambda worker: len(worker.jobs), default=None)

    def _send(self, worker: _Worker, jobs: list[_Job]) -> None:
        group = next(self._numbers)
        numbered = {next(self._numbers): job for job in jobs}
        for job in jobs:
            job.group = group
        worker.jobs |= numbered
        worker.outbox.put([(number, job.task) for number, job in numbered.items()])

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        # Workers tell as much as this process does; where nobody said, they keep to warnings.
        level = PACKAGE.level or logging.WARNING
        process = self._context.Process(target=_serve, args=(theirs, self._build, level), daemon=True)
        with _uninterrupted():
            process.start()
        theirs.close()
        worker = _Worker(process, ours, queue.SimpleQueue(), time.monotonic())
        # A thread of its own: a worker that hangs with its pipe full must not block the one who watches it.
        threading.Thread(target=_post, args=(worker.connection, worker.outbox), daemon=True).start()
        return worker

    def _end(self) -> None:
        idle = [worker for worker in self._workers if worker.ready and not worker.jobs]
        for worker in idle:  # These hear that nobody is left, tidy up and end by themselves.
            worker.outbox.put(None)
            worker.connection.close()
        for worker in idle:
            worker.process.join(timeout=END_S)
        for worker in self._workers:
            _kill(worker)
        self._workers = []


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Have a process that is started here know no Ctrl-C from its first moment on; ours waits until then."""
    # Its own start unblocks the signal, so it comes first.
    resource_tracker.ensure_running()
    seen: list[int] = []
    # Blocked here, the signal may still reach another thread of ours, and Python then interrupts the main one.
    ours = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number)) if ours else None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        if seen:
            signal.raise_signal(signal.SIGINT)


def _room(worker: _Worker, again: _Job | None = None) -> bool:
    """Return whether a worker can take a group of pictures: a suspect one wants a worker for itself."""
    if not worker.ready or any(job.suspect for job in worker.jobs.values()):
        return False
    if again is not None and again.suspect:
        return not worker.jobs
    return len({job.group for job in worker.jobs.values()}) < AHEAD


def _kill(worker: _Worker) -> None:
    worker.outbox.put(None)
    worker.process.kill()
    worker.process.join()
    worker.connection.close()


def _post(connection: Connection, outbox: queue.SimpleQueue[list[tuple[int, Task]] | None]) -> None:
    while (item := outbox.get()) is not None:
        try:
            connection.send(item)
        except (OSError, ValueError):  # The worker is gone; whoever watches it sees that for himself.
            return


def _serve(connection: Connection, build: Build, level: int) -> None:
    """Be a worker: load the models, then take pictures until the parent is gone."""
    # The parent decides when to end; an interrupt in the terminal reaches it as well.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)  # Results go through the pipe; third parties may chat on stderr.
    sys.stdout = sys.stderr
    log_to_stderr(level)
    lock = threading.Lock()

    def tell(*message: object) -> None:
        with lock:
            try:
                connection.send(message)
            except (OSError, ValueError):
                os._exit(0)  # Nobody listens any more.

    with offline():
        try:
            anonymizer = build()
            tell("ready", anonymizer.settings_hash, dict(anonymizer.describe()), pictures_together(anonymizer))
        except InputError as error:
            return tell("InputError", str(error))
        except AnonymizerError as error:
            return tell("ModelError", str(error))
        except Exception as error:
            return tell("ModelError", f"the models cannot be loaded: {type(error).__name__}: {error}")
        steps = Steps(anonymizer)
        futures: list[Future[Outcome]] = []
        while True:
            try:
                numbers, tasks = zip(*connection.recv(), strict=True)
            except (EOFError, OSError):
                if all(future.done() for future in futures):
                    return
                os._exit(0)  # Whoever wanted the picture in work is gone: do not finish it.
            futures = [future for future in futures if not future.done()]
            for number, future in zip(numbers, steps.submit(tasks, partial(_report, tell, numbers)), strict=True):
                futures.append(future)
                future.add_done_callback(partial(_answer, tell, number))


def _report(tell: Callable[..., None], numbers: Sequence[int], which: Sequence[int], step: str) -> None:
    tell("step", [numbers[index] for index in which], step)


def _answer(tell: Callable[..., None], number: int, future: Future[Outcome]) -> None:
    error = future.exception()
    if error is None:
        tell("done", number, future.result())
    elif isinstance(error, ModelError):
        tell("ModelError", str(error))
    else:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        tell("done", number, Outcome({"status": "failed", "reason": reason, "notes": []}))
