"""Embeddings are computed once, kept only where asked, and never through pickle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from anonymizer.annotations.reading import read_annotations
from anonymizer.core.errors import InputError
from anonymizer.evaluation.cache import EmbeddingStore
from anonymizer.evaluation.dataset import PictureDataset
from anonymizer.evaluation.pairing import find_pairs
from anonymizer.evaluation.subjects import SubjectSource
from anonymizer.evaluation.variants import Released, baseline

from .evaluation import album, picture


class Faces:
    """Finds every face but those of one colour, a pixel further to the right."""

    def __init__(self) -> None:
        self.asked = 0

    def find(self, image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        self.asked += 1
        if (image[40, 40] == 128).all():
            return None
        return box + np.array([1, 0, 1, 0], np.float32), np.ones((5, 2), np.float32)


class Colours:
    """Describes a face by the mean colours of its rows."""

    name, label, licence, judge = "colours", "face", "none", True

    def __init__(self, sha256: str = "c" * 64) -> None:
        self.sha256 = sha256
        self.calls = 0

    def embed(self, image: np.ndarray, box: np.ndarray, landmarks: object, mask: object) -> np.ndarray:
        self.calls += 1
        x1, y1, x2, y2 = box.astype(int)
        rows = image[y1:y2, x1:x2].mean(axis=1).ravel() - 127.0
        norm = np.linalg.norm(rows)
        if norm < 200:
            raise InputError("flat")
        return np.asarray(rows / norm, np.float32)


def store(root: Path, recognizers: Sequence[Colours], folder: Path, faces: Faces | None = None) -> EmbeddingStore:
    faces = faces or Faces()
    source = SubjectSource(read_annotations(root / "annotations.json"), None, faces)  # type: ignore[arg-type]
    pairing = find_pairs(root / "originals", root / "released", root / "out")
    variants = {"original": baseline("original"), "blur": baseline("blur"), "anonymized": Released()}
    return EmbeddingStore(PictureDataset(pairing, source, root / "work"), variants, recognizers, faces, folder)  # type: ignore[arg-type]


def test_every_subject_has_a_row_in_the_same_order_in_every_variant(tmp_path: Path) -> None:
    album(tmp_path, people=3, label="face")
    kept, colours = tmp_path / "kept", Colours()
    held = store(tmp_path, [colours], kept)
    original, released = held.embeddings("original", colours), held.embeddings("anonymized", colours)
    assert original.keys == released.keys == tuple(f"p{who}_{view}.png#0" for who in range(3) for view in range(2))
    assert original.identities[:3] == ("person 0", "person 0", "person 1")
    np.testing.assert_allclose(np.linalg.norm(original.vectors, axis=1), 1, atol=1e-6)
    # Painted over: no colour left to describe, so not found rather than a value.
    assert original.found.all() and not released.found.any() and not released.vectors.any()


def test_each_subject_is_described_once_per_protocol(tmp_path: Path) -> None:
    album(tmp_path, people=3, label="face")
    colours, faces = Colours(), Faces()
    held = store(tmp_path, [colours], tmp_path / "kept", faces)
    looked = faces.asked  # for landmarks, at first
    held.embeddings("original", colours)
    again = held.embeddings("original", colours, place="found")
    held.embeddings("original", colours)
    assert colours.calls == 12 and faces.asked == looked + 6
    moved = held.embeddings("anonymized", colours, place="found")
    assert again.found.all() and not moved.found.any()


def test_kept_embeddings_are_used_again_for_the_same_content_only(tmp_path: Path) -> None:
    album(tmp_path, people=3, label="face")
    kept = tmp_path / "kept"
    first = Colours()
    before = store(tmp_path, [first], kept).embeddings("original", first)
    expected = np.array(before.vectors)
    second = Colours()
    after = store(tmp_path, [second], kept).embeddings("original", second)
    assert second.calls == 0
    np.testing.assert_array_equal(after.vectors, expected)
    # Another picture under the same name, and another recogniser, are described anew.
    changed_picture = picture(7, 7)
    Pillow.fromarray(changed_picture).save(tmp_path / "originals" / "p0_0.png")
    changed_picture[16:80, 24:72] = 128
    Pillow.fromarray(changed_picture).save(tmp_path / "released" / "p0_0.png")
    third = Colours()
    changed = store(tmp_path, [third], kept).embeddings("original", third)
    assert third.calls == 2  # placed and found again
    np.testing.assert_array_equal(changed.vectors[1:], expected[1:])
    assert changed.vectors[0] @ expected[0] < 0.9
    other = Colours("d" * 64)
    store(tmp_path, [other], kept).embeddings("original", other)
    assert other.calls == 12


def test_files_hold_plain_arrays_and_no_names(tmp_path: Path) -> None:
    album(tmp_path, people=2, label="face")
    colours = Colours()
    store(tmp_path, [colours], tmp_path / "kept").embeddings("original", colours)
    files = sorted(path for path in (tmp_path / "kept").rglob("*") if path.is_file())
    assert {path.name for path in files} == {"vectors.npy", "found.npy", "keys.json"}
    for path in files:
        if path.suffix == ".npy":
            np.load(path, allow_pickle=False)
        else:
            assert b"p0_0" not in path.read_bytes() and b"person" not in path.read_bytes()


def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    album(tmp_path, people=1, label="face")
    colours = Colours()
    held = store(tmp_path, [colours], tmp_path / "kept")
    with pytest.raises(InputError, match="expected one of original, blur, anonymized"):
        held.embeddings("mosaic", colours)
    colours.label = "person"
    with pytest.raises(InputError, match="only faces"):
        held.embeddings("original", colours, place="found")
