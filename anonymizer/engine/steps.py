"""A pipeline of three threads: the next picture is read and the last one written while the model works."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from PIL import Image

from anonymizer.dataset.formats import open_picture
from anonymizer.engine.picture import AnonymizerLike, Outcome, Picture
from anonymizer.engine.runner import Task

__all__ = ["AHEAD", "LARGE", "Steps"]

#: Pictures taken at once: one in each step.
AHEAD = 3
#: Pictures from this many pixels on go through the steps alone, so that memory holds one of them and not three.
LARGE = 16_000_000

Report = Callable[[str], None]


class Steps:
    """Takes pictures through reading, anonymizing and writing, each step in a thread of its own, in order.

    Args:
        anonymizer: Redraws and verifies; always called from the same thread.
        overlapped: Whether the steps of different pictures may run side by side.
    """

    def __init__(self, anonymizer: AnonymizerLike, *, overlapped: bool = True) -> None:
        self._anonymizer = anonymizer
        self._overlapped = overlapped
        self._read, self._model, self._write = (
            ThreadPoolExecutor(1, thread_name_prefix=step) for step in ("read", "anonymize", "write")
        )
        self._last: tuple[Future[Outcome], bool] | None = None

    def submit(self, task: Task, report: Report = lambda step: None) -> Future[Outcome]:
        """Take a picture in; bounding how many are in is up to the caller.

        Args:
            task: The picture.
            report: Called from the threads with ``read``, ``anonymize`` or ``write`` when that step begins and with
                ``""`` when it ends.

        Returns:
            Its outcome to come. It raises ModelError if the models cannot be used.
        """
        picture = Picture(task.name, task.content, task.annotations, task.release)
        alone = not self._overlapped or _pixels(task.content) >= LARGE
        before = None if self._last is None or not (alone or self._last[1]) else self._last[0]
        read = self._read.submit(_do_read, picture, before, report)
        model = self._model.submit(_do_model, picture, self._anonymizer, read, report)
        outcome = self._write.submit(_do_write, picture, model, report)
        self._last = outcome, alone
        return outcome

    def close(self) -> None:
        """Wait for the steps at work, drop those that have not begun, and end the threads."""
        for threads in (self._read, self._model, self._write):
            threads.shutdown(cancel_futures=True)


def _do_read(picture: Picture, before: Future[Outcome] | None, report: Report) -> None:
    if before is not None:
        wait([before])
    report("read")
    picture.read()
    report("")


def _do_model(picture: Picture, anonymizer: AnonymizerLike, read: Future[None], report: Report) -> None:
    read.result()
    report("anonymize")
    picture.anonymize(anonymizer)
    report("")


def _do_write(picture: Picture, model: Future[None], report: Report) -> Outcome:
    model.result()
    report("write")
    outcome = picture.write()
    report("")
    return outcome


def _pixels(content: bytes) -> int:
    """Return the number of pixels that a file's header states, 0 if it cannot be read, as then no pixel will be."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_picture(content) as image:
                return image.width * image.height
    except Image.DecompressionBombError:
        return LARGE
    except Exception:  # Damaged headers raise what they like; reading will say so in its own words.
        return 0
