"""Judges made by a script: which there are, where they lie, and what a report says about them.

``models/judges/make_judges.py`` writes them, out of published packages, into a folder of the user's;
``train_silhouettes.py`` beside it trains one on masks that the user has. They take part in ``evaluate`` alone. A file
has no hash that could be known beforehand, since converters differ: its own is reported, and the positive control shows
whether it judges.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from anonymizer.core.errors import InputError
from anonymizer.core.records import Detector
from anonymizer.evaluation.networks import (
    AttributePredictor,
    CropDistance,
    CropNetwork,
    FaceInput,
    ImageFeatures,
    MoveNet,
    MultiPoseDetector,
    NanoDet,
    SilhouetteNetwork,
)
from anonymizer.evaluation.recognizers import FACES, FaceRecognizer, Unavailable, face_network
from anonymizer.models import weights

__all__ = ["SCRIPT", "TRAINING", "Judges", "judges_folder"]

#: Script that makes every judge but one, and the one that trains it.
SCRIPT = "models/judges/make_judges.py"
TRAINING = "models/judges/train_silhouettes.py"
FOLDER = "judges"


#: Predictors of attributes: file, attribute, input and output.
PREDICTORS: tuple[tuple[str, str, FaceInput], ...] = (
    ("faceres", "sex", replace(FACES["faceres"], output=1)),
    ("faceres", "age", replace(FACES["faceres"], output=100)),
    (
        "emotion",
        "emotion",
        FaceInput(7, "package MIT; origin (oarriaga/face_classification) MIT", scale=2 / 255, shift=(-1.0, -1.0, -1.0)),
    ),
)
#: Scores from which persons count as found. On 8 Penn-Fudan pictures (20 persons, no small ones annotated) both find
#: all, with 1.0 and 0.1 finds per picture where nobody is annotated; of small people MultiPose finds none.
NANODET_SCORE, MULTIPOSE_SCORE = 0.4, 0.4


def judges_folder(given: Path | None = None) -> Path:
    """Return the folder of judges: the one given, else ``$ANONYMIZER_MODELS/judges``, else that of the user's cache.

    Raises:
        InputError: The folder given is none.
    """
    if given is not None:
        if not given.is_dir():
            raise InputError(f"judges: expected a folder, {given} is none; fill one with {SCRIPT}")
        return given
    own = os.environ.get("ANONYMIZER_MODELS")
    return Path(own) / FOLDER if own else weights.cache_root() / FOLDER


class Judges:
    """Opens what lies in a folder of judges.

    Args:
        folder: See :func:`judges_folder`; it may be missing or hold a few of them only.

    Attributes:
        unavailable: What was asked for and is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.unavailable: list[Unavailable] = []

    def faces(self) -> tuple[FaceRecognizer, ...]:
        """Return the face networks that are there."""
        found = []
        for name in FACES:
            path = self._path(name, name)
            if path is not None:
                found.append(face_network(path))
        return tuple(found)

    def features(self) -> ImageFeatures | None:
        """Return the features that describe persons, or None."""
        path = self._path("efficientnet-lite2", "ImageNet features")
        return None if path is None else ImageFeatures(path)

    def silhouette(self, detector: Detector) -> SilhouetteNetwork | None:
        """Return the network that describes outlines, as ``detector`` finds them, or None."""
        path = self._path("silhouette", "silhouette network", TRAINING)
        return None if path is None else SilhouetteNetwork(path, detector)

    def predictors(self) -> tuple[AttributePredictor, ...]:
        """Return the predictors of attributes that are there."""
        found = []
        for file, attribute, taken in PREDICTORS:
            path = self._path(file, f"{file} ({attribute})")
            if path is not None:
                found.append(AttributePredictor(f"{file} ({attribute})", attribute, path, taken))
        return tuple(found)

    def detectors(self) -> tuple[tuple[str, NanoDet | MultiPoseDetector], ...]:
        """Return detectors of persons that are there, by name."""
        makers: tuple[tuple[str, Callable[[Path], NanoDet | MultiPoseDetector]], ...] = (
            ("nanodet", lambda path: NanoDet(path, NANODET_SCORE)),
            ("movenet-multipose", lambda path: MultiPoseDetector(path, MULTIPOSE_SCORE)),
        )
        found = []
        for name, make in makers:
            path = self._path(name, f"{name} (detector)")
            if path is not None:
                found.append((name, make(path)))
        return tuple(found)

    def pose(self) -> MoveNet | None:
        """Return the network that finds joints, or None."""
        path = self._path("movenet", "movenet (pose)")
        return None if path is None else MoveNet(path)

    def inception(self) -> CropNetwork | None:
        """Return the features for the Fréchet distance, or None: no script makes them."""
        path = self._path("inception", "Inception (FID)", "")
        return None if path is None else CropNetwork(path)

    def lpips(self) -> CropDistance | None:
        """Return LPIPS, or None: no script makes it."""
        path = self._path("lpips", "LPIPS", "")
        return None if path is None else CropDistance(path)

    def _path(self, file: str, name: str, script: str = SCRIPT) -> Path | None:
        """Return a judge's file; None, and a note of it, where it is not there."""
        path = self._folder / f"{file}.onnx"
        if path.is_file():
            return path
        remedy = f"make it with {script}" if script else "see docs/evaluation.md for what it takes"
        self.unavailable.append(Unavailable(name, f"{path.name} not found in {self._folder}; {remedy}"))
        return None
