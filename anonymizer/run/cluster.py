"""Cluster: workers on Ray, anywhere, and one driver that supervises and records.

Each actor holds one worker process, as the machine at hand has them, and passes on what goes to it and what it tells:
a picture that hangs or kills its worker is handled by the same pool in the same way; what Ray adds is machines. Only
the driver reads INPUT and writes OUTPUT, also where they are in object storage, so that no other machine needs access
to them.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

from anonymizer.core.errors import InputError, ModelError
from anonymizer.run.pool import Message
from anonymizer.run.prefetch import AHEAD
from anonymizer.run.processes import Build, ProcessCrew, ProcessWorker
from anonymizer.run.request import Task

__all__ = ["RayCrew", "RayWorker"]

#: A picture whose actor was lost is tried again, alone, until this many were lost with it.
MOST_LOSSES = 3
#: Actors lost one after the other without a result, per worker, before the run gives up.
PATIENCE = 3
#: Seconds in which a cluster must answer.
REACH_S = 10.0
#: Seconds in which a cluster must find a place for every worker; one that adds machines takes minutes.
PLACE_S = 600.0
#: Seconds for which an actor waits for news of its worker before it says that there are none.
BEAT_S = 1.0
#: Seconds without any answer after which an actor's machine is taken for gone; new ones need a place first.
SILENCE_S = PLACE_S
#: Seconds an actor may take to end its worker; then it is ended itself.
STOP_S = 10.0
#: Read by Ray before it starts. It reports usage to its makers unless told not to, and nothing here goes on the
#: network. It runs workers at niceness 15, at which whatever else the machine does keeps them from any work at all,
#: so that they never start, or pictures fail by ``--timeout``.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}


class Actor:
    """What Ray runs: one worker process at a time.

    Args:
        build: Makes the anonymizer in it.
    """

    def __init__(self, build: Build) -> None:
        self._crew = ProcessCrew(build)
        self._worker: ProcessWorker | None = None
        self._listening = threading.Lock()

    def hear(self, new: bool = False) -> list[Message]:
        """Return what the worker told, after a while also nothing; of a new one if that is asked for."""
        with self._listening:
            if new:
                self._worker = self._crew.hire()
            told: list[Message] = []
            wait_s = BEAT_S
            while self._worker is not None and (heard := self._crew.hear([self._worker], wait_s)):
                told.append(heard[0][1])
                if told[-1][0] == "ended":
                    break
                wait_s = 0.0
            return told

    def send(self, pictures: list[tuple[int, Task]]) -> None:
        """Hand pictures to the worker."""
        if self._worker is not None:
            self._worker.send(pictures)

    def stop(self) -> None:
        """End the worker."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.process.kill()  # Whoever listens to it stops.
            with self._listening:
                worker.kill()


class RayWorker:
    """A worker in an actor.

    Args:
        crew: Where it comes from.
        actor: The actor.
        name: A name for messages.
    """

    def __init__(self, crew: RayCrew, actor: Any, name: str) -> None:
        self.name = name
        self.actor = actor
        self.heard = time.monotonic()
        #: The call that returns with what it told.
        self.told = actor.hear.remote(True)
        self._crew = crew

    def listen(self) -> None:
        """Ask for what it tells next."""
        self.heard = time.monotonic()
        self.told = self.actor.hear.remote()

    def send(self, pictures: list[tuple[int, Task]]) -> None:
        """Hand over numbered pictures to be anonymized together."""
        self.actor.send.remote(pictures)

    def dismiss(self) -> None:
        """Leave it; its actor is ended in any case."""

    def kill(self) -> None:
        """End the worker, and its actor with it if that does not do so."""
        self._crew.stop(self.actor)


class RayCrew:
    """Actors of a Ray cluster; lost ones are replaced.

    Args:
        build: Makes the anonymizer in each actor's worker; this package must be installed on every node.
        address: The cluster's address, ``auto`` for one that runs here; None starts one that ends with the run.
        gpus: GPUs that each actor takes; may be a fraction.
    """

    #: More than a worker at hand holds: pictures are on their way for a while.
    ahead = 2 * AHEAD

    def __init__(self, build: Build, *, address: str | None = None, gpus: float = 0.0) -> None:
        self._build = build
        self._address = address
        self._gpus = gpus
        self._ray: Any = None
        self._kind: Any = None
        self._count = 0
        self._lost = 0
        self._hired = 0
        #: Actors without a worker, and all that run.
        self._spare: list[Any] = []
        self._actors: list[Any] = []

    def open(self, workers: int) -> None:
        """Connect, and wait until every actor runs somewhere; calls to one that never does would never return.

        Raises:
            InputError: Ray is not installed or the cluster cannot be reached.
            ModelError: The cluster has no room for them.
        """
        self._ray, self._count = _connect(self._address, workers), workers
        # Three calls at once: one listens, one hands over, one ends.
        self._kind = self._ray.remote(Actor).options(num_cpus=1, num_gpus=self._gpus, max_concurrency=3)
        self._spare = [self._actor() for _ in range(workers)]
        up = [actor.__ray_ready__.remote() for actor in self._spare]
        placed, missing = self._ray.wait(up, num_returns=len(up), timeout=PLACE_S)
        if missing:
            raise ModelError(
                f"Ray started {len(placed)} of {len(up)} workers within {PLACE_S:.0f} s; expected 1 free CPU and "
                f"{self._gpus:g} GPU for each; lower --workers or --worker-gpus"
            )

    def hire(self) -> RayWorker:
        """Return a new worker in an actor that has none."""
        # Made anew when lost: while Ray itself restarts an actor, calls to it fail at once and cost their pictures.
        self._hired += 1
        return RayWorker(self, self._spare.pop() if self._spare else self._actor(), f"{self._hired} of Ray")

    def hear(self, workers: Sequence[RayWorker], timeout_s: float) -> list[tuple[RayWorker, Message]]:
        """Return what some workers told next, or that they are lost.

        Raises:
            ModelError: One of them fell silent or failed, or too many were lost one after the other.
        """
        by_call = {worker.told: worker for worker in workers}
        left = min(worker.heard for worker in workers) + SILENCE_S - time.monotonic()
        done, _ = self._ray.wait(list(by_call), num_returns=1, timeout=max(min(timeout_s, left), 0.0))
        if not done and left < timeout_s:
            raise ModelError(f"a Ray worker gave no answer for {SILENCE_S:.0f} s; is its machine still there?")
        if done:  # Whoever else has told something by now is not kept waiting.
            done, _ = self._ray.wait(list(by_call), num_returns=len(by_call), timeout=0.0)
        heard: list[tuple[RayWorker, Message]] = []
        for call in done:
            worker = by_call[call]
            try:
                told = self._ray.get(call)
            except self._ray.exceptions.RayTaskError as error:
                raise ModelError(f"a Ray worker failed: {_line(error)}") from error
            except self._ray.exceptions.RayError as error:
                self._lost += 1
                if self._lost > PATIENCE * self._count:
                    raise ModelError(f"{self._lost} Ray workers were lost in a row: {_line(error)}") from error
                told = [("ended", f"its Ray actor was lost: {_line(error)}", MOST_LOSSES)]
            else:
                worker.listen()
            if any(message[0] == "done" for message in told):
                self._lost = 0
            heard += [(worker, message) for message in told]
        return heard

    def stop(self, actor: Any) -> None:
        """End an actor's worker; the actor itself as well if it does not do so, or is lost."""
        try:
            self._ray.get(actor.stop.remote(), timeout=STOP_S)
            self._spare.append(actor)
        except self._ray.exceptions.RayError:  # Also when time runs out.
            self._ray.kill(actor)
            self._actors.remove(actor)

    def close(self) -> None:
        """End all actors, and the cluster if it is our own."""
        if self._ray is None:
            return
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors, self._spare = [], []
        if self._address is None:
            self._ray.shutdown()

    def _actor(self) -> Any:
        actor = self._kind.remote(self._build)
        self._actors.append(actor)
        return actor


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
