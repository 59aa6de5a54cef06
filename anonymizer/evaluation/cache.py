"""Embeddings, computed once per picture, subject, recogniser and variant, in plain files that are deleted at the end.

Embeddings of faces are biometric data: they lie in a temporary folder unless the user names one to keep them in.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anonymizer import __version__
from anonymizer.core.errors import InputError
from anonymizer.core.records import Floats, Image
from anonymizer.evaluation.records import Dataset, Embeddings, Pair, Place, Recognizer, Subject, Variant
from anonymizer.evaluation.subjects import FaceFinder
from anonymizer.evaluation.variants import AGAIN, ANONYMIZED, CONTROL
from anonymizer.models.weights import file_sha256

__all__ = ["EmbeddingStore"]

#: Names of tables by what is known of a subject's place.
PLACED: Mapping[Place, str] = {"known": "placed", "found": "found", "box": "box"}


class _Table:
    """Rows of one recogniser, variant and protocol in ``vectors.npy``, ``found.npy`` and ``keys.json`` of a folder.

    Rows of a table that lies there from before are taken over; the new table replaces it when it is whole.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self._folder = folder
        self._new = folder.with_name(folder.name + ".new")
        shutil.rmtree(self._new, ignore_errors=True)
        self._new.mkdir(parents=True)
        self._vectors: Floats | None = None
        self._found = np.zeros(rows, dtype=np.bool_)
        self._keys: list[str] = []
        self._old: tuple[dict[str, int], Floats, NDArray[np.bool_]] | None = None
        if (folder / "keys.json").is_file():
            keys = json.loads((folder / "keys.json").read_bytes())
            vectors = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
            found = np.load(folder / "found.npy", allow_pickle=False)
            if not len(keys) == len(vectors) == len(found):
                raise InputError(f"{folder}: damaged table of embeddings; delete this folder")
            self._old = {key: row for row, key in enumerate(keys)}, vectors, found

    def take_over(self, key: str) -> bool:
        """Append the row of a key from the table of before; return whether there was one."""
        if self._old is None or key not in self._old[0]:
            return False
        row = self._old[0][key]
        self.append(key, self._old[1][row] if self._old[2][row] else None)
        return True

    def append(self, key: str, vector: Floats | None) -> None:
        """Append a row; None: not found."""
        row = len(self._keys)
        self._keys.append(key)
        if vector is None:
            return
        if self._vectors is None:
            self._vectors = self._open(len(vector))
        self._vectors[row] = vector
        self._found[row] = True

    def close(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Put the table in its place and return its vectors, mapped from the file, and which rows were found."""
        vectors = self._open(1) if self._vectors is None else self._vectors
        if isinstance(vectors, np.memmap):
            vectors.flush()
        np.save(self._new / "found.npy", self._found, allow_pickle=False)
        (self._new / "keys.json").write_text(json.dumps(self._keys), encoding="ascii")
        self._vectors = self._old = None
        shutil.rmtree(self._folder, ignore_errors=True)
        self._new.rename(self._folder)
        if not len(self._found):
            return vectors, self._found
        return np.load(self._folder / "vectors.npy", mmap_mode="r", allow_pickle=False), self._found

    def _open(self, dimensions: int) -> Floats:
        path, shape = self._new / "vectors.npy", (len(self._found), dimensions)
        if not len(self._found):
            empty = np.zeros(shape, dtype=np.float32)  # a file of no rows cannot be mapped
            np.save(path, empty, allow_pickle=False)
            return empty
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)


class EmbeddingStore:
    """Describes the subjects of pictures, see ``records.Store``.

    Whenever a variant is asked for, it is described by every recogniser of ``plan`` in one go, so that each treated
    picture is made once.

    Args:
        dataset: The pictures.
        variants: By name.
        recognizers: Everyone who will be asked.
        faces: Finds faces again in treated pictures.
        folder: Where tables are written; tables that lie there already are used.
        places: What will be asked for beside the known place, see ``records.Place``.
        on_picture: Called with (variant, done, total) after each picture.
        predictors: Who else will be asked, at the known place alone.
    """

    def __init__(
        self,
        dataset: Dataset,
        variants: Mapping[str, Variant],
        recognizers: Sequence[Recognizer],
        faces: FaceFinder,
        folder: Path,
        places: Sequence[Place] = ("found",),
        on_picture: Callable[[str, int, int], None] = lambda variant, done, total: None,
        predictors: Sequence[Recognizer] = (),
    ) -> None:
        self._dataset = dataset
        self._variants = variants
        self._faces = faces
        self._folder = folder
        self._on_picture = on_picture
        self._plan: list[tuple[Recognizer, Place]] = [(one, "known") for one in (*recognizers, *predictors)]
        for place in places:
            self._plan += [(r, place) for r in recognizers if place != "found" or r.label == "face"]
        self._ready: dict[tuple[str, str, Place], Embeddings] = {}
        self._names: dict[str, list[tuple[str, str, str]]] = {}

    def embeddings(self, variant: str, recognizer: Recognizer, *, place: Place = "known") -> Embeddings:
        """Return the embeddings of every subject of the recogniser's class in one variant of the pictures.

        Args:
            variant: Name of the variant.
            recognizer: Describes the subjects.
            place: What the attacker knows of the subject's place.

        Raises:
            InputError: There is no such variant, or only faces can be found again.
        """
        if variant not in self._variants:
            raise InputError(f"variant {variant!r}: expected one of {', '.join(self._variants)}")
        if place == "found" and recognizer.label != "face":
            raise InputError(f"{recognizer.name}: describes {recognizer.label}, only faces are found again")
        key = variant, recognizer.sha256, place
        if key not in self._ready:
            planned = [(r, where) for r, where in self._plan if (variant, r.sha256, where) not in self._ready]
            if variant == CONTROL:
                planned = [(r, where) for r, where in planned if where == "known"]
            if not any(r.sha256 == recognizer.sha256 and where == place for r, where in planned):
                planned.append((recognizer, place))
            self._describe(variant, planned)
        return self._ready[key]

    def renamed(self) -> None:
        """Take over the names that subjects were given since they were described."""
        self._names.clear()
        for (variant, sha256, place), known in self._ready.items():
            label = next(recognizer.label for recognizer, _ in self._plan if recognizer.sha256 == sha256)
            identities = tuple(who for _, who, _ in self._subjects_of(label))
            self._ready[variant, sha256, place] = replace(known, identities=identities)

    def _describe(self, variant: str, planned: Sequence[tuple[Recognizer, Place]]) -> None:
        names = [self._subjects_of(recognizer.label) for recognizer, _ in planned]
        tables = [
            _Table(self._folder / f"{variant}-{r.sha256[:16]}-{PLACED[where]}", len(rows))
            for (r, where), rows in zip(planned, names, strict=True)
        ]
        total = len(self._dataset.pairs)
        for done, pair in enumerate(self._dataset.pairs, start=1):
            view = _View(self._dataset, self._variants[variant], self._faces, pair)
            digest = self._digest(variant, pair)
            for (recognizer, place), table in zip(planned, tables, strict=True):
                for subject in view.subjects:
                    if subject.label == recognizer.label:
                        key = _key(subject, digest)
                        if variant == AGAIN and pair.again is None:
                            table.append(key, None)
                        elif not table.take_over(key):
                            table.append(key, view.describe(subject, recognizer, place))
            self._on_picture(variant, done, total)
        for (recognizer, place), rows, table in zip(planned, names, tables, strict=True):
            vectors, found = table.close()
            keys, identities, pictures = (tuple(row[i] for row in rows) for i in range(3))
            self._ready[variant, recognizer.sha256, place] = Embeddings(keys, identities, pictures, vectors, found)

    def _subjects_of(self, label: str) -> list[tuple[str, str, str]]:
        """Return key, identity and picture of every subject of a class, in order."""
        if label not in self._names:
            self._names[label] = [
                (subject.key, subject.who, subject.picture)
                for pair in self._dataset.pairs
                for subject in self._dataset.subjects(pair)
                if subject.label == label
            ]
        return self._names[label]

    def _digest(self, variant: str, pair: Pair) -> str:
        """Return what decides a treated picture's pixels: the file's content and what was done to it."""
        read = {ANONYMIZED: pair.anonymized, AGAIN: pair.again}.get(variant) or pair.original
        return f"{file_sha256(read)} {variant} {__version__}"


class _View:
    """One treated picture, made when first needed."""

    def __init__(self, dataset: Dataset, variant: Variant, faces: FaceFinder, pair: Pair) -> None:
        self.subjects = dataset.subjects(pair)
        self._dataset, self._variant, self._faces, self._pair = dataset, variant, faces, pair
        self._image: Image | None = None
        self._again: dict[int, tuple[Floats, Floats] | None] = {}

    def describe(self, subject: Subject, recognizer: Recognizer, place: Place) -> Floats | None:
        """Return a subject's embedding; None where it was not found or cannot be described."""
        if self._image is None:
            self._image = self._variant(self._pair, self._dataset.original(self._pair), self.subjects)
        box, landmarks, mask = subject.box, subject.landmarks, subject.mask
        if place == "box":
            landmarks = mask = None
        if place == "found":
            if subject.number not in self._again:
                self._again[subject.number] = self._faces.find(self._image, subject.box)
            seen = self._again[subject.number]
            if seen is None:
                return None
            box, landmarks = seen
        try:
            vector = recognizer.embed(self._image, box, landmarks, mask)
        except InputError:
            return None  # landmarks that coincide, a box of no extent: nothing an attacker could use
        return vector if np.isfinite(vector).all() else None


def _key(subject: Subject, digest: str) -> str:
    """Return a hash of everything that decides an embedding, but for the recogniser and the protocol."""
    parts = [digest.encode(), subject.box.tobytes()]
    parts += [b"-" if array is None else array.tobytes() for array in (subject.landmarks, subject.mask)]
    return hashlib.sha256(b" ".join(parts)).hexdigest()
