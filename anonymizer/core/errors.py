"""Errors this package raises.

    AnonymizerError
    ├── InputError           what was given cannot be used: picture, annotations, settings, paths
    ├── ModelError           weights are missing, corrupt, unavailable or under a licence not accepted
    ├── StageError           a stage failed on a picture
    └── VerificationFailed   a picture could not be proven anonymized, so nothing is released

Messages name what was given, what was expected and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anonymizer.core.records import Verdict

__all__ = ["AnonymizerError", "InputError", "ModelError", "StageError", "VerificationFailed"]


class AnonymizerError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(AnonymizerError):
    """A picture, annotation, setting or path cannot be used."""


class ModelError(AnonymizerError):
    """Weights are missing, corrupt, unavailable or under a licence that was not accepted."""


class StageError(AnonymizerError):
    """A stage failed on a picture.

    Args:
        stage: Name of the stage: detect, condition, redraw, blend or verify.
        message: What went wrong, for people.
        instance_id: The instance at work, if there was one.
    """

    def __init__(self, stage: str, message: str, instance_id: int | None = None) -> None:
        where = stage if instance_id is None else f"{stage}, instance {instance_id}"
        super().__init__(f"{where}: {message}")
        self.stage = stage
        self.instance_id = instance_id


class VerificationFailed(AnonymizerError):
    """A picture could not be proven anonymized after every retry and redaction.

    Args:
        message: What failed, for people.
        verdicts: Every verdict reached, passed and failed.
    """

    def __init__(self, message: str, verdicts: tuple[Verdict, ...] = ()) -> None:
        super().__init__(message)
        self.verdicts = verdicts
