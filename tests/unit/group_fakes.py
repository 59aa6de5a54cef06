"""Anonymizers for tests that take several pictures at once; importable in worker processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anonymizer.core.errors import InputError, StageError
from anonymizer.core.records import Image, Instance, Result

from .fakes import UnrulyAnonymizer, rejection


class GroupFake(UnrulyAnonymizer):
    """Takes pictures together, notes in a file which it was given, and misbehaves on some by their names.

    Args:
        marks: Folder of ``groups``, with a line per group, and ``seen``, with a line per picture tried.
        together: Pictures that it wants at once.
        delay_s: Seconds for each picture.
    """

    def __init__(self, marks: Path, together: int, delay_s: float = 0.0) -> None:
        super().__init__(marks, delay_s)
        self.together = together
        self._in_company = False

    def __call__(self, image: Image, instances: tuple[Instance, ...] | None = None, *, key: str = "") -> Result:
        if key.startswith("reject"):
            raise rejection()
        if key.startswith("stage"):
            raise StageError("redraw", "no")
        if key.startswith("given"):
            raise InputError("no such instance")
        if key.startswith("crowd") and self._in_company:
            raise MemoryError
        return super().__call__(image, instances, key=key)

    def anonymize_many(
        self, images: Sequence[Image], instances: Sequence[tuple[Instance, ...] | None], keys: Sequence[str]
    ) -> list[Result | Exception]:
        with (self._marks / "groups").open("a") as file:
            file.write(" ".join(keys) + "\n")
        answers: list[Result | Exception] = []
        self._in_company = True
        try:
            for image, found, key in zip(images, instances, keys, strict=True):
                try:
                    answers.append(self(image, found, key=key))
                except Exception as error:
                    answers.append(error)
        finally:
            self._in_company = False
        return answers
