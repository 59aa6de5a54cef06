"""Pictures anonymized together, for what a GPU gains by it; each comes out as it would alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from anonymizer.core.errors import AnonymizerError, ModelError, StageError
from anonymizer.core.records import Image, Instance, Mask, Result
from anonymizer.run.picture import AnonymizerLike, Asked, Picture

__all__ = ["GroupAnonymizer", "anonymize_together", "pictures_together"]


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
