"""Surroundings of every stage: the time it took, and its name in what goes wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from anonymizer.core.errors import AnonymizerError, StageError

__all__ = ["stage", "timed"]


@contextmanager
def timed(timings: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds that the block takes to ``timings[name]``."""
    start = time.perf_counter()
    try:
        yield
    finally:
        timings[name] = timings.get(name, 0.0) + time.perf_counter() - start


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Name the stage in errors that a backend did not foresee.

    Raises:
        StageError: Anything but the package's own errors was raised in the block.
    """
    try:
        yield
    except AnonymizerError:
        raise
    except Exception as error:
        raise StageError(name, f"{type(error).__name__}: {error}") from error
