"""Average faces: what they show, and that they hold nothing of the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from anonymizer import ModelError
from anonymizer.core.records import Instance
from anonymizer.models.weights import path as weight_path
from anonymizer.redraw.diffusion import InpaintJob
from anonymizer.redraw.prototypes import FaceBank, usual_landmarks

BOX = np.array([20, 10, 60, 110], np.float32)


def crop(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    image = np.random.default_rng(seed).integers(0, 256, (120, 80, 3), dtype=np.uint8)
    mask = np.zeros((120, 80), bool)
    mask[10:110, 20:60] = True
    return image, mask


def bank() -> FaceBank:
    return FaceBank.load(weight_path("prototypes") / "faces.safetensors")


def changed_inside(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    other = image.copy()
    other[mask] = 255 - other[mask]
    return other


def test_a_face_reads_nothing_under_the_mask() -> None:
    image, mask = crop()
    marks = usual_landmarks(BOX)
    made = [
        bank().draw(picture, mask, marks, np.random.default_rng(3)) for picture in (image, changed_inside(image, mask))
    ]
    assert (made[0][mask] == made[1][mask]).all()
    assert (made[0][~mask] == image[~mask]).all()


def test_chance_changes_faces() -> None:
    image, mask = crop()
    drawn = {bank().draw(image, mask, usual_landmarks(BOX), np.random.default_rng(n)).tobytes() for n in range(30)}
    assert len(drawn) >= 5


def test_landmarks_of_an_average_land_on_the_instances() -> None:
    faces = np.zeros((1, 96, 96, 4), np.uint8)
    marks = np.array([[[34, 39], [62, 39], [48, 55], [37, 69], [59, 69]]], np.float32)
    for x, y in marks[0].astype(int):
        faces[0, y - 1 : y + 2, x - 1 : x + 2] = 255
    image, mask = np.full((120, 80, 3), 112, np.uint8), np.ones((120, 80), bool)
    target = usual_landmarks(np.array([10, 20, 70, 100], np.float32))
    mask[0] = False
    made = FaceBank(faces, marks, 12).draw(image, mask, target, np.random.default_rng(0))
    for x, y in np.rint(target).astype(int):
        assert made[y - 2 : y + 3, x - 2 : x + 3].max() > 120
    # The average is black between its landmarks; beyond the face its surroundings go on.
    assert made[45:65, 20:60].mean() < 20
    assert (made[:8] == 112).all() and (made[:, :4] == 112).all()


def test_a_face_has_the_skin_of_the_neck_below_it() -> None:
    mask = np.zeros((120, 80), bool)
    mask[10:100, 10:70] = True
    light, dark = np.full((120, 80, 3), (225, 180, 160), np.uint8), np.full((120, 80, 3), (95, 65, 50), np.uint8)
    # The same surroundings but for what lies below the chin, so that their brightness does not decide.
    light[:96] = dark[:96] = 112
    marks = usual_landmarks(np.array([10, 10, 70, 100], np.float32))
    made = [
        np.mean([bank().draw(image, mask, marks, np.random.default_rng(n))[40:70, 30:50].mean() for n in range(12)])
        for image in (light, dark)
    ]
    assert made[0] > made[1] + 10


def test_banks_average_at_least_twelve_people() -> None:
    assert bank().k >= 12 and len(bank().faces) >= 32


def test_a_face_begins_with_an_average_at_its_landmarks() -> None:
    image, mask = crop()
    nothing = np.zeros(mask.shape, np.float32)
    job = InpaintJob(image, mask, nothing, nothing, "a face", 1)
    face = Instance(2, "face", BOX, np.ones((100, 40), bool))
    made = bank().begin(job, face, (0, 0, 80, 120), np.random.default_rng(0), 0.6)
    assert made.strength == 0.6 and made.start is not None
    assert not (made.start[mask] == image[mask]).all(axis=1).any()
    assert (made.start == bank().draw(image, mask, usual_landmarks(BOX), np.random.default_rng(0))).all()


def test_a_damaged_bank_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "faces.safetensors"
    path.write_bytes(b"no bank")
    with pytest.raises(ModelError, match="bank"):
        FaceBank.load(path)
    save_file(
        {"faces": np.zeros((2, 8, 8, 3), np.uint8), "landmarks": np.zeros((2, 5, 2), np.float32), "k": np.array([12])},
        path,
    )
    with pytest.raises(ModelError, match="M, S, S, 4"):
        FaceBank.load(path)
