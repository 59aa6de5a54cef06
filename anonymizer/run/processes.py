"""Worker processes on this machine, each with its own model.

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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait

from anonymizer.core.errors import AnonymizerError, InputError, ModelError
from anonymizer.core.logs import PACKAGE, log_to_stderr
from anonymizer.models.third_party import offline
from anonymizer.run.picture import AnonymizerLike, Outcome
from anonymizer.run.pool import Message
from anonymizer.run.prefetch import AHEAD, Steps, pictures_together
from anonymizer.run.request import Task

__all__ = ["Build", "ProcessCrew", "ProcessWorker"]

#: Makes the anonymizer, once in each worker; it must be importable there.
Build = Callable[[], AnonymizerLike]

#: Seconds an idle worker may take to end by itself.
END_S = 10.0
#: A picture during which its worker died is tried once more, alone; then it is the picture.
MOST_DEATHS = 2


class ProcessWorker:
    """A worker process.

    Args:
        build: Makes its anonymizer; must be picklable.
    """

    def __init__(self, build: Build) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        # Workers tell as much as this process does; where nobody said, they keep to warnings.
        level = PACKAGE.level or logging.WARNING
        self.process = context.Process(target=_serve, args=(theirs, build, level), daemon=True)
        with _uninterrupted():
            self.process.start()
        theirs.close()
        self._outbox: queue.SimpleQueue[list[tuple[int, Task]] | None] = queue.SimpleQueue()
        self._dismissed = False
        # A thread of its own: a worker that hangs with its pipe full must not block the one who watches it.
        threading.Thread(target=_post, args=(self.connection, self._outbox), daemon=True).start()

    @property
    def name(self) -> str:
        """The process's id."""
        return str(self.process.pid)

    def send(self, pictures: list[tuple[int, Task]]) -> None:
        """Hand over numbered pictures to be anonymized together."""
        self._outbox.put(pictures)

    def dismiss(self) -> None:
        """Have it hear that nobody is left: it tidies up and ends by itself."""
        self._outbox.put(None)
        self.connection.close()
        self._dismissed = True

    def kill(self) -> None:
        """End the process, with time to end by itself if it was dismissed."""
        if self._dismissed:
            self.process.join(timeout=END_S)
        self._outbox.put(None)
        self.process.kill()
        self.process.join()
        self.connection.close()

    def hear(self) -> Message:
        """Return what it told next; it has told something, or ended."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join(timeout=END_S)
            return "ended", f"exit code {self.process.exitcode}", MOST_DEATHS


class ProcessCrew:
    """Worker processes of this machine.

    Args:
        build: Makes the anonymizer in each.
    """

    ahead = AHEAD

    def __init__(self, build: Build) -> None:
        self._build = build

    def open(self, workers: int) -> None:
        """Nothing has to be made ready."""

    def hire(self) -> ProcessWorker:
        """Return a new worker process."""
        return ProcessWorker(self._build)

    def hear(self, workers: Sequence[ProcessWorker], timeout_s: float) -> list[tuple[ProcessWorker, Message]]:
        """Return what some workers told next, or that they ended."""
        by_connection = {worker.connection: worker for worker in workers}
        told = [by_connection[connection] for connection in wait(list(by_connection), timeout=timeout_s)]  # type: ignore[index]
        return [(worker, worker.hear()) for worker in told]

    def close(self) -> None:
        """Nothing has to be given back."""


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
