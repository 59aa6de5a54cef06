"""Redraws every person, face and license plate in a picture, proves it, and fails closed.

>>> from anonymizer import Anonymizer
>>> anonymizer = Anonymizer.from_preset("embedded", seed=7)  # doctest: +SKIP
>>> result = anonymizer(image)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anonymizer.errors import AnonymizerError, InputError, ModelError, StageError, VerificationFailed
from anonymizer.quiet import disable_telemetry
from anonymizer.types import Instance, Result, Treatment, Verdict

if TYPE_CHECKING:
    from anonymizer.pipeline import Anonymizer

__all__ = [
    "Anonymizer",
    "AnonymizerError",
    "InputError",
    "Instance",
    "ModelError",
    "Result",
    "StageError",
    "Treatment",
    "Verdict",
    "VerificationFailed",
    "__version__",
]

__version__ = "0.2.0"

# Before anything else of this package can import a third party, whoever uses it: command line, API or a worker.
disable_telemetry()


def __getattr__(name: str) -> Any:
    # The pipeline reaches heavy packages; who only wants the records and errors does not wait for them.
    if name == "Anonymizer":
        from anonymizer.pipeline import Anonymizer

        return Anonymizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
