"""Cluster: an anonymizer on Ray, with workers anywhere and one driver that records.

Each Ray actor supervises a worker process of its own, as the local engine does, so that a picture that hangs or kills
its worker is handled the same way; what Ray adds is machines. Only the driver reads INPUT and writes OUTPUT, also
where they are in object storage, so that no other machine needs access to them.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from anonymizer.annotations.areas import Areas
from anonymizer.annotations.records import Annotations
from anonymizer.core.errors import AnonymizerError, InputError, ModelError
from anonymizer.images.release import Release
from anonymizer.run.inputs import Source
from anonymizer.run.picture import Outcome
from anonymizer.run.prefetch import AHEAD
from anonymizer.run.processes import MOST_DEATHS, START_S, Build, ProcessPool
from anonymizer.run.runner import Task, execute
from anonymizer.run.summary import Progress, Summary

__all__ = ["RayPool", "run"]

#: Calls that wait in each actor, so that none idles between two: with the pictures of each call, all that is in flight.
CALLS = 2
#: A picture whose worker was lost is tried again, alone, until this many were lost with it.
MOST_LOSSES = 3
#: Workers lost one after the other without a result, per worker, before the run gives up.
PATIENCE = 3
#: Seconds in which a cluster must answer.
REACH_S = 10.0
#: Seconds in which a cluster must find a place for every worker; one that adds machines takes minutes.
PLACE_S = 600.0
#: Read by Ray before it starts. It reports usage to its makers unless told not to, and nothing here goes on the
#: network. It runs workers at niceness 15, at which whatever else the machine does keeps them from any work at all,
#: so that they never start, or pictures fail by ``--timeout``.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}


def run(
    build: Build,
    source: Source,
    output: Path | str,
    *,
    workers: int = 1,
    timeout_s: float,
    address: str | None = None,
    gpus: float = 0.0,
    annotations: Path | str | Annotations | None = None,
    release: Release | None = None,
    areas: Areas | None = None,
    require_annotations: bool = False,
    overwrite: bool = False,
    prune: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Anonymize pictures with Ray; the guarantees are those of the local engine.

    Args:
        build: Makes the anonymizer, once in each worker; this package must be installed on every node.
        source: See ``runner.execute``, as for everything not listed here.
        output: As there; a path is one on the driver's machine.
        workers: Number of actors.
        timeout_s: Seconds that reading, anonymizing or writing one picture may take before it counts as failed.
        address: The cluster's address, ``auto`` for one that runs here; None starts one that ends with the run.
        gpus: GPUs that each actor takes; may be a fraction.
        annotations: As there.
        release: As there.
        areas: As there.
        require_annotations: As there.
        overwrite: As there.
        prune: As there.
        on_progress: As there.

    Raises:
        InputError: As there; Ray is not installed or the cluster cannot be reached.
        ModelError: The models cannot be used, the cluster has no room for every worker, one of them falls silent, or
            they are lost faster than they get anything done.
    """
    with RayPool(build, workers=workers, timeout_s=timeout_s, address=address, gpus=gpus) as pool:
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


class Worker:
    """What a Ray actor runs: a supervised worker process, started with the first call.

    Args:
        build: Makes the anonymizer.
        timeout_s: Seconds that one step of one picture may take.
    """

    def __init__(self, build: Build, timeout_s: float) -> None:
        self._pool = ProcessPool(build, workers=1, timeout_s=timeout_s)
        self._started = False

    def start(self) -> tuple[str, dict[str, Any], int, str]:
        """Load the models; return settings hash, description, pictures to give at once and, if unusable, why."""
        if not self._started:
            try:
                self._pool.__enter__()
            except AnonymizerError as error:
                return "", {"refused": type(error).__name__}, 1, str(error)
            self._started = True
        return self._pool.settings_hash, dict(self._pool.describe()), self._pool.together, ""

    def work(self, tasks: list[Task]) -> tuple[str, list[Outcome], str]:
        """Return settings hash, the tasks' outcomes in order and, if the models cannot be used, why."""
        settings_hash, _, _, refusal = self.start()
        if refusal:
            return "", [], refusal
        outcomes: dict[str, Outcome] = {}
        try:
            for task, outcome in self._pool.results(iter(tasks)):
                outcomes[task.name] = outcome
        except ModelError as error:
            return "", [], str(error)
        return settings_hash, [outcomes[task.name] for task in tasks], ""


@dataclass(slots=True, eq=False)
class _Job:
    task: Task
    losses: int = 0


class RayPool:
    """Keeps Ray actors at work; use it as a context manager.

    Args:
        build: Makes the anonymizer in each actor's worker process.
        workers: Number of actors; Ray places them, and lost ones are replaced.
        timeout_s: Seconds that one step of one picture may take.
        address: See ``run``.
        gpus: GPUs that each actor takes.

    Raises:
        InputError: A number out of range; on entering, Ray is missing or the cluster cannot be reached.
        ModelError: On entering: the models cannot be used, or the cluster has no room for every worker.
    """

    def __init__(
        self, build: Build, *, workers: int = 1, timeout_s: float, address: str | None = None, gpus: float = 0.0
    ) -> None:
        if workers < 1:
            raise InputError(f"workers: expected at least 1, got {workers}")
        self._build = build
        self._count = workers
        self._timeout_s = timeout_s
        self._address = address
        self._gpus = gpus
        self._ray: Any = None
        self._kind: Any = None
        self._actors: list[Any] = []
        self._settings_hash = ""
        self._together = 1
        self._description: dict[str, Any] = {}

    def __enter__(self) -> RayPool:
        self._ray = _connect(self._address, self._count)
        try:
            self._kind = self._ray.remote(Worker).options(num_cpus=1, num_gpus=self._gpus)
            self._actors = [self._actor() for _ in range(self._count)]
            self._await_places()
            try:
                self._settings_hash, self._description, self._together, refusal = self._ray.get(
                    self._actors[0].start.remote(), timeout=self._longest()
                )
            except self._ray.exceptions.RayError as error:
                raise ModelError(f"a Ray worker did not start: {_line(error)}") from error
            if refusal:
                kind = InputError if self._description["refused"] == "InputError" else ModelError
                raise kind(refusal)
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

    def results(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Yield each task once with its outcome, as they are finished.

        Raises:
            ModelError: The models cannot be used, a worker fell silent, or too many were lost.
        """
        again: deque[_Job] = deque()
        calls: dict[Any, tuple[int, Any, list[_Job]]] = {}
        #: When each worker gave an answer, or got a call while it had none.
        heard = [0.0] * self._count
        lost = 0
        while True:
            for number in range(self._count):
                while sum(at == number for at, *_ in calls.values()) < CALLS:
                    # What was lost goes alone, so that it costs no other picture a second time.
                    jobs = [again.popleft()] if again else [_Job(t) for t in _take(tasks, AHEAD * self._together)]
                    if not jobs:
                        break
                    if not any(at == number for at, *_ in calls.values()):
                        heard[number] = time.monotonic()
                    actor = self._actors[number]
                    calls[actor.work.remote([job.task for job in jobs])] = number, actor, jobs
            if not calls:
                return
            left = min(heard[at] for at, *_ in calls.values()) + self._longest() - time.monotonic()
            done, _ = self._ray.wait(list(calls), num_returns=1, timeout=max(left, 0.0))
            if not done:
                raise ModelError(
                    f"a Ray worker gave no answer for {self._longest():.0f} s; is its machine still there?"
                )
            number, actor, jobs = calls.pop(done[0])
            heard[number] = time.monotonic()
            try:
                settings_hash, outcomes, refusal = self._ray.get(done[0])
            except self._ray.exceptions.RayTaskError as error:
                raise ModelError(f"a Ray worker failed: {_line(error)}") from error
            except self._ray.exceptions.RayError as error:
                if actor is self._actors[number]:
                    self._ray.kill(actor)
                    self._actors[number] = self._actor()
                lost += 1
                if lost > PATIENCE * self._count * CALLS:
                    raise ModelError(f"{lost} calls to Ray workers were lost in a row: {_line(error)}") from error
                yield from _give_up(jobs, again, error)
                continue
            if refusal:
                raise ModelError(refusal)
            if settings_hash != self._settings_hash:
                raise ModelError("Ray workers loaded different models or settings; install the same on every node")
            lost = 0
            yield from zip([job.task for job in jobs], outcomes, strict=True)

    def _actor(self) -> Any:
        # Made anew when lost: while Ray itself restarts an actor, calls to it fail at once and cost their pictures.
        return self._kind.remote(self._build, self._timeout_s)

    def _await_places(self) -> None:
        """Wait until every worker runs somewhere; calls to one that never does would never return.

        Raises:
            ModelError: The cluster has no room for them.
        """
        up = [actor.__ray_ready__.remote() for actor in self._actors]
        placed, missing = self._ray.wait(up, num_returns=len(up), timeout=PLACE_S)
        if missing:
            raise ModelError(
                f"Ray started {len(placed)} of {len(up)} workers within {PLACE_S:.0f} s; expected 1 free CPU and "
                f"{self._gpus:g} GPU for each; lower --workers or --worker-gpus"
            )

    def _longest(self) -> float:
        """Return the seconds after which one call must have come back by the limits that its worker keeps itself."""
        # Pictures that failed in company are done again alone, each with as many deaths as any.
        return AHEAD * self._together * (MOST_DEATHS + 1) * (START_S + self._timeout_s)

    def _end(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors = []
        if self._address is None:
            self._ray.shutdown()


def _give_up(jobs: list[_Job], again: deque[_Job], error: Exception) -> Iterator[tuple[Task, Outcome]]:
    """Queue lost jobs again; yield those that were lost too often."""
    for job in jobs:
        job.losses += 1
        if job.losses < MOST_LOSSES:
            again.append(job)
        else:
            reason = f"its Ray worker was lost {job.losses} times: {_line(error)}"
            yield job.task, Outcome({"status": "failed", "reason": reason, "notes": []})


def _take(tasks: Iterator[Task], count: int) -> Iterator[Task]:
    for _ in range(count):
        task = next(tasks, None)
        if task is None:
            return
        yield task


def _connect(address: str | None, workers: int) -> Any:
    """Return the ray module, connected; a cluster of our own has room for that many workers.

    Raises:
        InputError: It is not installed or the cluster cannot be reached.
    """
    os.environ.update(ENVIRONMENT)
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "engine ray: expected the ray package, it is not installed; pip install anonymizer[ray]"
        ) from error
    _check_reachable(address)
    try:
        if address is None:
            ray.init(
                address="local",
                num_cpus=workers,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
            )
        else:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise InputError(f"Ray cluster {address or 'here'}: expected to connect, got {_line(error)}") from error
    return ray


def _check_reachable(address: str | None) -> None:
    """Refuse an address at which nobody listens; Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return  # A cluster of our own, or a name such as "auto" that Ray resolves.
    try:
        socket.create_connection((host, int(port)), timeout=REACH_S).close()
    except OSError as error:
        raise InputError(
            f"Ray cluster {address}: nobody answers there ({_line(error)}); check --ray-address"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
