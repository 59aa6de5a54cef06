"""The pool by itself: what it decides on what workers tell, with workers that only pretend and a clock that jumps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from types import SimpleNamespace

import pytest

from anonymizer.core.errors import InputError, ModelError
from anonymizer.run import pool as pools
from anonymizer.run.picture import Outcome
from anonymizer.run.pool import Message, Pool
from anonymizer.run.request import Task


class Clock:
    """Seconds that pass only where somebody waits in vain."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Pretending:
    """A worker that does what the names of its pictures say, one after the other, until it hangs or ends."""

    def __init__(self, crew: PretendingCrew, number: int) -> None:
        self.name = str(number)
        self.crew = crew
        self.groups: list[list[str]] = []
        self.over = self.dismissed = self.killed = False

    def tell(self, *message: object) -> None:
        self.crew.told.append((self, message))

    def send(self, pictures: list[tuple[int, Task]]) -> None:
        assert not self.killed and not self.dismissed
        names = [task.name for _, task in pictures]
        self.groups.append(names)
        if self.over:  # It never gets to these.
            return
        numbers = [number for number, _ in pictures]
        self.tell("step", numbers, "anonymize")
        self.crew.worked += names
        if any(name.startswith("hang") for name in names):
            self.over = True
        elif any(name.startswith("die") or (name.startswith("once") and name not in self.crew.died) for name in names):
            self.over = True
            self.crew.died.update(names)
            self.tell("ended", "exit code -9", self.crew.most)
        else:
            self.tell("step", numbers, "")
            for number in numbers:
                self.tell("done", number, Outcome({"status": "released"}))

    def dismiss(self) -> None:
        self.dismissed = True

    def kill(self) -> None:
        self.killed = True
        self.crew.told = deque((worker, message) for worker, message in self.crew.told if worker is not self)


class PretendingCrew:
    """Hires them.

    Args:
        clock: Moved on where nobody tells anything in time.
        starts: What each new worker tells first; the last is for all others.
        together: Pictures that a worker wants at once.
        most: Deaths with a picture at work alone that count for its fault.
    """

    ahead = 3

    def __init__(self, clock: Clock, starts: Iterable[Message] = (), together: int = 1, most: int = 2) -> None:
        self.clock, self.most = clock, most
        self.starts = deque(starts or [("ready", "hash", {"preset": "fake"}, together)])
        self.told: deque[tuple[Pretending, Message]] = deque()
        self.hired: list[Pretending] = []
        self.worked: list[str] = []
        self.died: set[str] = set()
        self.room = 0

    def open(self, workers: int) -> None:
        self.room = workers

    def hire(self) -> Pretending:
        worker = Pretending(self, len(self.hired))
        self.hired.append(worker)
        start = self.starts.popleft() if len(self.starts) > 1 else self.starts[0]
        worker.over = start[0] != "ready"
        if start[0] != "silent":
            worker.tell(*start)
        return worker

    def hear(self, workers: Sequence[Pretending], timeout_s: float) -> list[tuple[Pretending, Message]]:
        if not self.told:
            self.clock.now += timeout_s
            return []
        return [self.told.popleft()]

    def close(self) -> None:
        self.room = 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pools, "time", SimpleNamespace(monotonic=clock))
    return clock


def tasks(*names: str) -> list[Task]:
    return [Task(name, b"", None, "", None) for name in names]


def run(crew: PretendingCrew, *names: str, workers: int = 1) -> dict[str, str]:
    """Return the reason by picture, "" where it was released; each is decided once, and everybody is ended."""
    decided: dict[str, str] = {}
    with Pool(crew, workers=workers, timeout_s=10) as pool:
        assert (pool.settings_hash, pool.describe()) == ("hash", {"preset": "fake"})
        for task, outcome in pool.results(iter(tasks(*names))):
            assert task.name not in decided
            decided[task.name] = outcome.record.get("reason", "")
    assert all(worker.killed for worker in crew.hired) and crew.room == 0
    assert decided.keys() == set(names)
    return decided


def test_workers_share_what_there_is_and_are_dismissed(clock: Clock) -> None:
    crew = PretendingCrew(clock)
    assert set(run(crew, *"abcdefgh", workers=2).values()) == {""}
    assert len(crew.hired) == 2 and all(worker.groups and worker.dismissed for worker in crew.hired)
    assert sorted(crew.worked) == list("abcdefgh") and clock.now == 0


def test_one_that_hangs_alone_fails_at_its_limit_and_what_waited_is_done(clock: Clock) -> None:
    crew = PretendingCrew(clock)
    decided = run(crew, "a", "hang", "b", "c")
    assert decided.pop("hang") == "anonymize: took longer than 10 s and was given up; see --timeout"
    assert set(decided.values()) == {""} and crew.worked.count("hang") == 1
    assert len(crew.hired) == 2 and 10 <= clock.now < 11


def test_several_at_work_are_each_done_again_alone(clock: Clock) -> None:
    crew = PretendingCrew(clock, together=3)
    decided = run(crew, "a", "hang", "b", "c")
    assert "took longer" in decided.pop("hang") and set(decided.values()) == {""}
    # Three have three times as long; then the guilty one has its own limit.
    assert 40 <= clock.now < 41
    alone = [names for worker in crew.hired[1:] for names in worker.groups]
    assert ["a"] in alone and ["hang"] in alone and ["b"] in alone


def test_a_picture_that_ends_its_worker_is_tried_again_alone_and_then_it_is_the_picture(clock: Clock) -> None:
    crew = PretendingCrew(clock)
    decided = run(crew, "a", "die", "once", "b")
    assert decided.pop("die").startswith("anonymize: the worker ended (exit code -9) each time")
    assert set(decided.values()) == {""}
    assert (crew.worked.count("die"), crew.worked.count("once")) == (2, 2)


def test_a_death_in_company_counts_for_nobody(clock: Clock) -> None:
    crew = PretendingCrew(clock, together=2)
    decided = run(crew, "a", "die")
    assert decided["a"] == "" and "each time" in decided["die"]
    assert crew.worked.count("die") == 3, "once in company, twice alone"


def test_a_crew_says_how_often_workers_may_be_lost(clock: Clock) -> None:
    crew = PretendingCrew(clock, most=3)
    assert "each time" in run(crew, "die")["die"]
    assert crew.worked.count("die") == 3


READY: Message = ("ready", "hash", {"preset": "fake"}, 1)


@pytest.mark.parametrize(
    ("starts", "kind", "words"),
    [
        ([("InputError", "no such preset")], InputError, "no such preset"),
        ([("ModelError", "no such weights")], ModelError, "no such weights"),
        ([("ended", "exit code 1", 2)], ModelError, r"ended while it loaded the models \(exit code 1\)"),
        ([("silent",)], ModelError, "did not load its models within 900 s"),
        ([READY, ("ready", "other", {}, 1)], ModelError, "different models or settings"),
    ],
)
def test_workers_that_are_of_no_use_end_the_run_and_nobody_stays(
    clock: Clock, starts: list[Message], kind: type[Exception], words: str
) -> None:
    crew = PretendingCrew(clock, starts)
    with pytest.raises(kind, match=words):
        run(crew, *"abcd", workers=2)
    assert all(worker.killed for worker in crew.hired) and crew.room == 0


def test_a_worker_that_ends_while_it_loads_is_replaced(clock: Clock) -> None:
    ended: Message = ("ended", "exit code 1", 2)
    crew = PretendingCrew(clock, [ended, ended, READY])
    assert run(crew, "a") == {"a": ""} and len(crew.hired) == 3
