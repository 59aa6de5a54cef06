"""Pool: workers kept at work and supervised, so that none can hold up or end a run, wherever they are.

A crew says where workers come from: processes of this machine (``run.processes``) or actors of Ray (``run.cluster``). A
worker does the pictures it is sent and tells of them; whatever is decided about them is decided here.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from anonymizer.core.errors import InputError, ModelError
from anonymizer.run.picture import Outcome
from anonymizer.run.prefetch import groups
from anonymizer.run.request import Task

__all__ = ["Crew", "Message", "Pool", "Worker"]

_log = logging.getLogger(__name__)

#: Seconds a worker may take to load its models.
START_S = 900.0
#: Workers that may end one after the other while they load their models, before the run gives up.
MOST_STARTS = 2

#: What a worker tells, its kind first: ``ready`` with settings hash, description and pictures it wants together;
#: ``step`` with numbers of pictures and the step that they begin, or "" at its end; ``done`` with a number and the
#: outcome; ``InputError`` or ``ModelError`` with why it is of no use; ``ended`` with how it ended by itself, and how
#: often that happens with a picture at work alone until it counts for the picture's fault.
Message = tuple[Any, ...]


class Worker(Protocol):
    """One worker: does pictures and tells of them through its crew."""

    @property
    def name(self) -> str:
        """The worker's name in messages."""
        ...

    def send(self, pictures: list[tuple[int, Task]]) -> None:
        """Hand over numbered pictures to be anonymized together, without waiting until they are taken."""
        ...

    def dismiss(self) -> None:
        """Have an idle worker end by itself."""
        ...

    def kill(self) -> None:
        """End it now, whatever it does."""
        ...


W = TypeVar("W", bound=Worker)


class Crew(Protocol[W]):
    """Where workers come from."""

    @property
    def ahead(self) -> int:
        """Groups of pictures that a worker holds at once, so that it never waits for the next one."""
        ...

    def open(self, workers: int) -> None:
        """Make room for so many workers.

        Raises:
            InputError: What the crew needs is missing.
            ModelError: There is no room.
        """
        ...

    def hire(self) -> W:
        """Return a new worker; it tells when it is ready."""
        ...

    def hear(self, workers: Sequence[W], timeout_s: float) -> list[tuple[W, Message]]:
        """Return what some workers told next, or nothing if none of them did in time.

        Raises:
            ModelError: Nobody will tell anything any more.
        """
        ...

    def close(self) -> None:
        """Give the room back."""
        ...


@dataclass(slots=True, eq=False)
class _Job:
    task: Task
    deaths: int = 0
    #: Whether its worker hung or ended with it at work: it wants a worker for itself.
    suspect: bool = False
    #: The group with which it was sent.
    group: int = 0
    #: The step at work, when it began, and how many pictures share it; no step while it waits for its turn.
    step: str = ""
    since: float = 0.0
    sharing: int = 1


@dataclass(slots=True, eq=False)
class _Post(Generic[W]):
    worker: W
    since: float
    ready: bool = False
    jobs: dict[int, _Job] = field(default_factory=dict)

    def has_room(self, ahead: int, again: _Job | None = None) -> bool:
        """Return whether it can take a group of pictures: a suspect one wants a worker for itself."""
        if not self.ready or any(job.suspect for job in self.jobs.values()):
            return False
        if again is not None and again.suspect:
            return not self.jobs
        return len({job.group for job in self.jobs.values()}) < ahead


class Pool(Generic[W]):
    """Keeps workers at work; use it as a context manager.

    A worker that takes longer than the limit for one step of a picture is ended and replaced. The picture fails if
    no other was at work; otherwise each of them is done again alone, which shows which of them it was. A worker that
    ends by itself is replaced; the pictures it was working on are tried again, each alone, and fail if that ends a
    worker too often. Pictures that only waited in it are passed on.

    Pictures that are anonymized together have as long as they would have one after the other.

    Args:
        crew: Where workers come from.
        workers: How many.
        timeout_s: Seconds that one step of one picture may take.

    Raises:
        InputError: A number out of range; on entering, settings that are refused, or what the crew needs is missing.
        ModelError: On entering: the models cannot be used, or there is no room for every worker.
    """

    def __init__(self, crew: Crew[W], *, workers: int = 1, timeout_s: float) -> None:
        if workers < 1:
            raise InputError(f"workers: expected at least 1, got {workers}")
        if not timeout_s > 0:
            raise InputError(f"timeout: expected seconds above 0, got {timeout_s}")
        self._crew = crew
        self._count = workers
        self._timeout_s = timeout_s
        self._posts: list[_Post[W]] = []
        self._numbers = count(1)
        self._together = 1
        self._failed_starts = 0
        self._description: dict[str, Any] = {}
        self._settings_hash = ""

    def __enter__(self) -> Pool[W]:
        try:
            self._crew.open(self._count)
            self._posts.append(self._hired())
            # The others start when this one has shown that the models can be used.
            while not self._posts[0].ready:
                for _ in self._step(deque()):
                    pass
            self._posts += [self._hired() for _ in range(self._count - 1)]
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
    def ready(self) -> list[W]:
        """The workers whose models are loaded."""
        return [post.worker for post in self._posts if post.ready]

    def results(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Yield each task once with its outcome, as they are finished.

        Raises:
            ModelError: The models cannot be used, or workers are lost faster than they get anything done.
        """
        again: deque[_Job] = deque()
        rest = groups(tasks, self._together)
        exhausted = False
        while True:
            while again and (post := self._free(again[0])) is not None:
                self._send(post, [again.popleft()])
            while not exhausted and not again and (post := self._free()) is not None:
                group = next(rest, None)
                exhausted = group is None
                if group is not None:
                    self._send(post, [_Job(task) for task in group])
            if exhausted and not again and not any(post.jobs for post in self._posts):
                return
            yield from self._step(again)

    def _step(self, again: deque[_Job]) -> Iterator[tuple[Task, Outcome]]:
        """Wait for what happens next and yield what it decides; jobs to be done again are added to ``again``."""
        posts = {post.worker: post for post in self._posts}
        for worker, message in self._crew.hear(list(posts), self._patience()):
            if message[0] == "ended":
                yield from self._bury(posts[worker], message[1], message[2], again)
            else:
                yield from self._take(posts[worker], message)
        now = time.monotonic()
        for post in list(self._posts):
            if not post.ready and now - post.since > START_S:
                raise ModelError(f"a worker did not load its models within {START_S:.0f} s; see its messages above")
            late = [n for n, job in post.jobs.items() if job.step and now > self._end_of_step(job)]
            if late:
                yield from self._replace(post, late, again)

    def _patience(self) -> float:
        """Return the seconds until the next limit."""
        ends = [post.since + START_S for post in self._posts if not post.ready]
        ends += [self._end_of_step(job) for post in self._posts for job in post.jobs.values() if job.step]
        return max(min(ends, default=time.monotonic() + 1.0) - time.monotonic(), 0.0) + 0.01

    def _end_of_step(self, job: _Job) -> float:
        return job.since + self._timeout_s * job.sharing

    def _take(self, post: _Post[W], message: Message) -> Iterator[tuple[Task, Outcome]]:
        """Take note of what a worker told."""
        kind, *rest = message
        if kind == "ready":
            settings_hash, description, self._together = rest
            if self._settings_hash not in ("", settings_hash):
                raise ModelError(
                    "workers loaded different models or settings; install the same everywhere and do not change it "
                    "during a run"
                )
            self._settings_hash, self._description, post.ready = settings_hash, description, True
            self._failed_starts = 0
            _log.info("worker %s is ready after %.1f s", post.worker.name, time.monotonic() - post.since)
        elif kind == "step":
            numbers, step = rest
            for job in (post.jobs[number] for number in numbers):
                job.step, job.since, job.sharing = step, time.monotonic(), len(numbers)
        elif kind == "done":
            number, outcome = rest
            yield post.jobs.pop(number).task, outcome
        else:
            raise (InputError if kind == "InputError" else ModelError)(rest[0])

    def _replace(self, post: _Post[W], late: list[int], again: deque[_Job]) -> Iterator[tuple[Task, Outcome]]:
        """End a worker that hangs: a picture that was at work alone fails, all others are done again.

        Several at work are each done again alone: one that holds the interpreter makes the others late as well.
        """
        working = [job for job in post.jobs.values() if job.step]
        told = ", ".join(f"{job.task.name} ({job.step})" for job in working)
        _log.warning("worker %s hangs and is replaced; at work: %s", post.worker.name, told)
        if len(working) > 1:
            for job in working:
                job.suspect = True
        else:
            job = post.jobs.pop(late[0])
            reason = f"{job.step}: took longer than {self._timeout_s:g} s and was given up; see --timeout"
            yield job.task, Outcome({"status": "failed", "reason": reason, "notes": []})
        self._renew(post, again)

    def _bury(self, post: _Post[W], how: str, most: int, again: deque[_Job]) -> Iterator[tuple[Task, Outcome]]:
        """Replace a worker that ended by itself."""
        _log.warning("worker %s ended by itself (%s) and is replaced", post.worker.name, how)
        if not post.ready:
            self._failed_starts += 1
            if self._failed_starts > MOST_STARTS:
                raise ModelError(f"a worker ended while it loaded the models ({how}); is there memory?")
        for number, job in list(post.jobs.items()):
            job.suspect |= bool(job.step)
            # Where several were anonymized together, nobody knows which it was, and it counts for none.
            job.deaths += bool(job.step) and job.sharing == 1
            if job.deaths >= most:
                del post.jobs[number]
                reason = f"{job.step}: the worker ended ({how}) each time; too little memory, or a fault"
                yield job.task, Outcome({"status": "failed", "reason": reason, "notes": []})
        self._renew(post, again)

    def _renew(self, post: _Post[W], again: deque[_Job]) -> None:
        """End a worker and put another in its place; what it had is done again."""
        for job in post.jobs.values():
            job.step = ""
            again.append(job)
        post.jobs.clear()
        post.worker.kill()
        self._posts[self._posts.index(post)] = self._hired()

    def _hired(self) -> _Post[W]:
        return _Post(self._crew.hire(), time.monotonic())

    def _free(self, job: _Job | None = None) -> _Post[W] | None:
        """Return the worker with the least to do of those that can take a new group, or a job again; None if none."""
        free = [post for post in self._posts if post.has_room(self._crew.ahead, job)]
        return min(free, key=lambda post: len(post.jobs), default=None)

    def _send(self, post: _Post[W], jobs: list[_Job]) -> None:
        group = next(self._numbers)
        numbered = {next(self._numbers): job for job in jobs}
        for job in jobs:
            job.group = group
        post.jobs |= numbered
        post.worker.send([(number, job.task) for number, job in numbered.items()])

    def _end(self) -> None:
        for post in self._posts:
            if post.ready and not post.jobs:
                post.worker.dismiss()
        for post in self._posts:
            post.worker.kill()
        self._posts = []
        self._crew.close()
