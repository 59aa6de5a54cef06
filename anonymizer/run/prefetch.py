"""Pictures through reading, anonymizing and writing, each step in a thread of its own; several anonymized together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Protocol, runtime_checkable

from anonymizer.core.errors import AnonymizerError, ModelError, StageError
from anonymizer.core.records import Image, Instance, Mask, Result
from anonymizer.images.decode import stated_pixels
from anonymizer.run.picture import AnonymizerLike, Asked, Outcome, Picture
from anonymizer.run.request import Task

__all__ = ["AHEAD", "LARGE", "GroupAnonymizer", "Steps", "anonymize_together", "groups", "pictures_together"]

#: Groups of pictures taken at once: one in each step.
AHEAD = 3
#: Pixels of a group are fewer. A picture with this many or more is a group of its own and goes through the steps
#: alone, so that memory holds one of them and not three.
LARGE = 16_000_000
#: Bytes of the files in a group, but for a single file that is larger: what a process holds that decodes nothing.
CONTENT = 32_000_000
#: Told which of the pictures handed in together, by index, begin a step; or with "" that they ended it.
Report = Callable[[Sequence[int], str], None]


def groups(tasks: Iterator[Task], together: int) -> Iterator[list[Task]]:
    """Yield tasks in groups, in order.

    Which pictures meet depends on the pictures alone and not on time, so that a run with a seed can be repeated.

    Args:
        tasks: Pictures; no more are taken than a group needs.
        together: Pictures in a group, at most.
    """
    group: list[Task] = []
    size = 0
    for task in tasks:
        if group and size + len(task.content) > CONTENT:
            yield group
            group, size = [], 0
        group.append(task)
        size += len(task.content)
        if len(group) == together:
            yield group
            group, size = [], 0
    if group:
        yield group


class Steps:
    """Takes pictures through reading, anonymizing and writing, each step in a thread of its own, in order.

    At most ``AHEAD`` groups are decoded at any time.

    Args:
        anonymizer: Redraws and verifies; always called from the same thread.
        overlapped: Whether the steps of different groups may run side by side.
    """

    def __init__(self, anonymizer: AnonymizerLike, *, overlapped: bool = True) -> None:
        self._anonymizer = anonymizer
        self._overlapped = overlapped
        self._read, self._model, self._write = (
            ThreadPoolExecutor(1, thread_name_prefix=step) for step in ("read", "anonymize", "write")
        )
        #: The last groups: set when each is out, and whether it goes alone.
        self._last: deque[tuple[threading.Event, bool]] = deque(maxlen=AHEAD)

    def submit(self, tasks: Sequence[Task], report: Report = lambda which, step: None) -> list[Future[Outcome]]:
        """Take in pictures to be anonymized together; bounding how many files are in is up to the caller.

        Where they have too many pixels, they are anonymized in several groups.

        Args:
            tasks: The pictures.
            report: Called from the threads with ``read``, ``anonymize`` or ``write`` when that step begins, for all
                pictures that share it, and with ``""`` when it ends.

        Returns:
            Their outcomes to come. They raise ModelError if the models cannot be used.
        """
        pixels = [stated_pixels(task.content, task.name) for task in tasks]
        outcomes: list[Future[Outcome]] = []
        for group in _split(pixels):
            alone = not self._overlapped or sum(pixels[index] for index in group) >= LARGE
            outcomes += self._enter({index: tasks[index] for index in group}, self._before(alone), report)
            out = threading.Event()
            outcomes[-1].add_done_callback(partial(_tell, out))
            self._last.append((out, alone))
        return outcomes

    def close(self) -> None:
        """Drop the steps that have not begun, wait for those at work, and end the threads."""
        for wait in (False, True):
            for threads in (self._read, self._model, self._write):
                threads.shutdown(wait=wait, cancel_futures=True)

    def _before(self, alone: bool) -> threading.Event | None:
        """Return what must be out before the next group may be read."""
        if self._last and (alone or self._last[-1][1]):
            return self._last[-1][0]
        return self._last[0][0] if len(self._last) == AHEAD else None

    def _enter(
        self, group: Mapping[int, Task], before: threading.Event | None, report: Report
    ) -> list[Future[Outcome]]:
        pictures = {
            n: Picture(
                task.name,
                task.content,
                task.annotations,
                task.release,
                task.instructions,
                dry_run=task.dry_run,
                areas=task.areas,
            )
            for n, task in group.items()
        }
        reads = [self._read.submit(_do_read, picture, before, partial(report, [n])) for n, picture in pictures.items()]
        model = self._model.submit(_do_model, pictures, self._anonymizer, reads, report)
        return [self._write.submit(_do_write, picture, model, partial(report, [n])) for n, picture in pictures.items()]


def _tell(event: threading.Event, _: Future[Outcome]) -> None:
    event.set()


def _do_read(picture: Picture, before: threading.Event | None, report: Callable[[str], None]) -> None:
    if before is not None:
        before.wait()
    report("read")
    picture.read()
    report("")


def _do_model(
    pictures: Mapping[int, Picture], anonymizer: AnonymizerLike, reads: Sequence[Future[None]], report: Report
) -> None:
    for read in reads:
        read.result()
    readable = [n for n, picture in pictures.items() if picture.outcome is None]
    report(readable, "anonymize")
    anonymize_together([pictures[n] for n in readable], anonymizer)
    report(readable, "")


def _do_write(picture: Picture, model: Future[None], report: Callable[[str], None]) -> Outcome:
    model.result()
    report("write")
    outcome = picture.write()
    report("")
    return outcome


def _split(pixels: Sequence[int]) -> Iterator[range]:
    """Yield which of some pictures make a group each, in order, given how many pixels each has."""
    start, total = 0, 0
    for index, size in enumerate(pixels):
        if index > start and total + size >= LARGE:
            yield range(start, index)
            start, total = index, 0
        total += size
    yield range(start, len(pixels))


@runtime_checkable
class GroupAnonymizer(Protocol):
    """What an anonymizer has besides if it is faster with several pictures at once."""

    @property
    def together(self) -> int:
        """Pictures that it wants at once, at most; 1 if it gains nothing from more."""
        ...

    def anonymize_many(
        self,
        images: Sequence[Image],
        instances: Sequence[tuple[Instance, ...] | None],
        keys: Sequence[str],
        excludes: Sequence[Mask | None] | None = None,
    ) -> Sequence[Result | Exception]:
        """Return per picture what a call with it alone would return, or the error that it would raise."""
        ...


def pictures_together(anonymizer: AnonymizerLike) -> int:
    """Return how many pictures an anonymizer wants at once, at most."""
    return anonymizer.together if isinstance(anonymizer, GroupAnonymizer) else 1


def anonymize_together(pictures: Sequence[Picture], anonymizer: AnonymizerLike) -> None:
    """Redraw pictures in common batches where the anonymizer can, and hold each result to its contract.

    What goes wrong costs the picture with which it went wrong. Where that may be the company's fault, as when memory
    runs out, the picture is tried again alone, so that its fate is the same in any company.

    Args:
        pictures: Pictures that were read.
        anonymizer: Redraws and verifies.

    Raises:
        ModelError: The models cannot be used, which no other picture would change.
    """
    dry = any(picture.dry_run for picture in pictures)  # Detection gains nothing from company.
    if dry or len(pictures) < 2 or not isinstance(anonymizer, GroupAnonymizer):
        for picture in pictures:
            picture.anonymize(anonymizer)
        return
    company = [(picture, asked) for picture in pictures if (asked := picture.asked()) is not None]
    started = time.perf_counter()
    answers = _answers(anonymizer, [asked for _, asked in company])
    seconds = (time.perf_counter() - started) / max(len(company), 1)
    for (picture, _), answer in zip(company, answers, strict=True):
        if isinstance(answer, Result | AnonymizerError) and not isinstance(answer, StageError):
            picture.take(answer, seconds)
        else:
            picture.anonymize(anonymizer)


def _answers(anonymizer: GroupAnonymizer, company: Sequence[Asked]) -> Sequence[Result | Exception]:
    """Return an answer per picture; one that failed as a whole is no picture's fault, but that of a stage."""
    images, instances, keys = [a.image for a in company], [a.instances for a in company], [a.key for a in company]
    excludes = [a.exclude for a in company]
    areas = {"excludes": excludes} if any(area is not None for area in excludes) else {}
    try:
        answers = anonymizer.anonymize_many(images, instances, keys, **areas)
        if len(answers) != len(company):
            raise StageError("anonymize", f"{len(answers)} answers, expected {len(company)}")
    except ModelError:
        raise
    except Exception as error:
        return [StageError("anonymize", f"{type(error).__name__}: {error}")] * len(company)
    return answers
