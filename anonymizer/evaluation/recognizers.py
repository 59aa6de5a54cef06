"""Recognisers as judges: those at hand, their hashes and licences, and which of them verified the run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from anonymizer.core.errors import InputError, ModelError
from anonymizer.core.records import Floats, Image, Mask
from anonymizer.evaluation.networks import KERAS, FaceInput, NetworkFace, OsnetEmbedder
from anonymizer.models import weights

__all__ = [
    "FACES",
    "PACKS",
    "FaceRecognizer",
    "Pack",
    "Unavailable",
    "choose",
    "choose_person",
    "face_network",
    "open_recognizer",
]


@dataclass(frozen=True, slots=True)
class Pack:
    """A face recogniser that its user puts on this machine. Its hash is reported, not known beforehand."""

    name: str
    file: str


#: insightface's packs; all of them for non-commercial research only.
PACKS: Mapping[str, Pack] = {
    pack.name: pack
    for pack in (
        Pack("buffalo_l", "w600k_r50.onnx"),
        Pack("buffalo_s", "w600k_mbf.onnx"),
        Pack("antelopev2", "glintr100.onnx"),
    )
}
PACK_LICENCE, PACK_ORIGIN = "non-commercial research only", "insightface's release v0.7"
#: Fetched by ``anonymizer models fetch``. Only this file of it is its maker's own and under its licence.
AURAFACE = "auraface"
DLIB = "dlib"
#: Trained re-identifier of persons, fetched by ``anonymizer models fetch``.
OSNET = "osnet-ain"


#: Face networks of judges by the name of their file. Ranges, order of colours and crops: whichever told most people of
#: LFW apart, see ``models/judges/README.md``.
FACES: Mapping[str, FaceInput] = {
    "mobileface": FaceInput(256, aligned=True, licence="package MIT; origin (becauseofAI/MobileFace) states none"),
    "faceres": FaceInput(1024, shift=KERAS, bgr=True, licence="package MIT; origin (HSE_FaceRec_tf) Apache-2.0"),
}


class _Embedder(Protocol):
    def embed(self, image: Image, box: Floats, landmarks: Floats | None) -> Floats: ...


@dataclass(frozen=True, slots=True)
class FaceRecognizer:
    """A face embedder with what a report says about it, see ``records.Recognizer``."""

    name: str
    sha256: str
    licence: str
    judge: bool
    embedder: _Embedder
    label: str = "face"

    def embed(self, image: Image, box: Floats, landmarks: Floats | None, mask: Mask | None) -> Floats:
        """Return a unit-length float32 (D,) description of the face in a box; its mask is of no use here.

        Raises:
            InputError: The picture has another shape or dtype, the box lies outside it, or the landmarks coincide.
        """
        del mask
        return self.embedder.embed(image, box, landmarks)


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A recogniser that could not take part, and why."""

    name: str
    reason: str


def choose(
    names: Sequence[str], verified_with: Mapping[str, str], accept_noncommercial: bool
) -> tuple[tuple[FaceRecognizer, ...], tuple[Unavailable, ...]]:
    """Open the face recognisers asked for; without names, every one on this machine.

    Args:
        names: ``dlib``, a pack's name or an ONNX file's path each.
        verified_with: Models of the run by id with their sha256: a recogniser among them is no judge.
        accept_noncommercial: Whether the user accepts licences that forbid commercial use.

    Returns:
        Recognisers, and those that are unavailable; only without names, else what is missing is an error.

    Raises:
        InputError: An unknown name.
        ModelError: One that was asked for is missing, broken, or its licence was not accepted.
    """
    if names:
        chosen = tuple(open_recognizer(name, verified_with, accept_noncommercial) for name in dict.fromkeys(names))
        for what in ("name", "sha256"):
            known = [getattr(recognizer, what) for recognizer in chosen]
            if len(set(known)) < len(known):
                raise InputError(f"recognizer: {', '.join(names)}: two have the same {what}; give each network once")
        return chosen, ()
    found: list[FaceRecognizer] = []
    missing: list[Unavailable] = []
    for name in (AURAFACE, *PACKS, DLIB):
        try:
            found.append(open_recognizer(name, verified_with, accept_noncommercial))
        except ModelError as error:
            missing.append(Unavailable(name, str(error)))
    return tuple(found), tuple(missing)


def open_recognizer(name: str, verified_with: Mapping[str, str], accept_noncommercial: bool) -> FaceRecognizer:
    """Open one face recogniser; arguments and errors as :func:`choose`."""
    if name == DLIB:
        return _dlib(verified_with)
    if name == AURAFACE:
        return _arcface(name, weights.path(name), weights.entry(name).licence, verified_with)
    if name in PACKS:
        path = _pack_file(PACKS[name])
        if not accept_noncommercial:
            raise ModelError(
                f"{name}: its licence ({PACK_LICENCE}) forbids commercial use; "
                "add --accept-noncommercial if yours is not commercial"
            )
        return _arcface(name, path, PACK_LICENCE, verified_with)
    path = Path(name)
    if path.suffix.lower() != ".onnx":
        raise InputError(
            f"recognizer {name!r}: expected {DLIB}, {AURAFACE}, {', '.join(PACKS)}, or the path of an .onnx file"
        )
    if not path.is_file():
        raise ModelError(f"recognizer {name}: expected an ONNX file there, found none; check the path")
    if path.stem in FACES:
        return face_network(path)
    return _arcface(path.stem, path, "as its owner states", verified_with)


def choose_person() -> tuple[tuple[OsnetEmbedder, ...], tuple[Unavailable, ...]]:
    """Open the trained re-identifier of persons, where it was fetched; else say how to."""
    try:
        path = weights.path(OSNET)
    except ModelError as error:
        return (), (Unavailable(OSNET, str(error)),)
    return (OsnetEmbedder(path, weights.digest(OSNET), weights.entry(OSNET).licence),), ()


def face_network(path: Path) -> FaceRecognizer:
    """Open a face network of the judges by its file, whose name is one of ``FACES``; it takes part in no run.

    Raises:
        ModelError: It is unreadable or another network.
    """
    face = FACES[path.stem]
    return FaceRecognizer(path.stem, weights.file_sha256(path), face.licence, True, NetworkFace(path, face))


def _arcface(name: str, path: Path, licence: str, verified_with: Mapping[str, str]) -> FaceRecognizer:
    from anonymizer.recognize.faces import ArcFaceEmbedder

    sha256 = weights.file_sha256(path)
    # The threshold is the verifier's business; here whole distributions are compared.
    return FaceRecognizer(
        name, sha256, licence, sha256 not in verified_with.values(), ArcFaceEmbedder(path, threshold=0.0)
    )


def _dlib(verified_with: Mapping[str, str]) -> FaceRecognizer:
    from anonymizer.recognize.faces import DlibFaceEmbedder

    sha256 = weights.digest("dlib-face")
    embedder = DlibFaceEmbedder(weights.path("dlib-face"), weights.path("dlib-landmarks"))
    return FaceRecognizer(
        DLIB, sha256, weights.entry("dlib-face").licence, sha256 not in verified_with.values(), embedder
    )


def _pack_file(pack: Pack) -> Path:
    """Return the recognition network of a pack on this machine.

    Raises:
        ModelError: It is not there; says what to fetch.
    """
    own = os.environ.get("ANONYMIZER_MODELS")
    folders = [
        *([Path(own) / pack.name] if own else []),
        weights.cache_root() / pack.name,
        Path.home() / ".insightface" / "models" / pack.name,
    ]
    for folder in folders:
        if (folder / pack.file).is_file():
            return folder / pack.file
    raise ModelError(
        f"{pack.name}: {pack.file} not found on this machine; get it from {PACK_ORIGIN} (licence: {PACK_LICENCE}) "
        f"and put it into {weights.cache_root() / pack.name}"
    )
