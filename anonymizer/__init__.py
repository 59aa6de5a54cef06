"""Anonymizer: redraws every person, face and license plate in a picture, proves it, and fails closed.

>>> import numpy as np
>>> from anonymizer import Anonymizer
>>> anonymizer = Anonymizer.from_preset("embedded", seed=7)
>>> street = np.full((120, 160, 3), 128, np.uint8)
>>> result = anonymizer(street)
>>> result.image.shape, result.instances, [verdict.check for verdict in result.verdicts]
((120, 160, 3), (), ['second_pass'])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anonymizer.core.errors import AnonymizerError, InputError, ModelError, StageError, VerificationFailed
from anonymizer.core.lazy import lazy
from anonymizer.core.records import (
    AvatarArtist,
    DepthEstimator,
    Detector,
    EdgeDetector,
    FaceEmbedder,
    Filler,
    Findings,
    Instance,
    OCRReader,
    Result,
    Treatment,
    Verdict,
)
from anonymizer.models.third_party import disable_telemetry

if TYPE_CHECKING:
    from anonymizer.core.arrays import as_rgb
    from anonymizer.evaluation.evaluate import evaluate
    from anonymizer.flow.pipeline import Anonymizer
    from anonymizer.run.folder import anonymize_folder, iterate_folder

__all__ = [
    "Anonymizer",
    "AnonymizerError",
    "AvatarArtist",
    "DepthEstimator",
    "Detector",
    "EdgeDetector",
    "FaceEmbedder",
    "Filler",
    "Findings",
    "InputError",
    "Instance",
    "ModelError",
    "OCRReader",
    "Result",
    "StageError",
    "Treatment",
    "Verdict",
    "VerificationFailed",
    "__version__",
    "anonymize_folder",
    "as_rgb",
    "evaluate",
    "iterate_folder",
]

__version__ = "0.2.0"

# Before anything else of this package can import a third party, whoever uses it: command line, API or a worker.
disable_telemetry()

# Names that reach heavy packages: who only wants records and errors does not wait for them.
__getattr__ = lazy(
    __name__,
    {
        "Anonymizer": "flow.pipeline",
        "anonymize_folder": "run.folder",
        "iterate_folder": "run.folder",
        "as_rgb": "core.arrays",
        "evaluate": "evaluation.evaluate",
    },
)
