"""Prototypes: what they show, and that they hold nothing of the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from anonymizer import ModelError
from anonymizer.redraw import galleries, prototypes
from anonymizer.redraw.diffusion import PaintJob
from anonymizer.redraw.galleries import FaceGallery, PersonGallery, dyed, row_spans
from anonymizer.redraw.prototypes import Prototypes, usual_landmarks
from anonymizer.types import JOINTS, Instance, Pose
from anonymizer.weights import path as weight_path

BOX = np.array([20, 10, 60, 110], np.float32)


def crop(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    image = np.random.default_rng(seed).integers(0, 256, (120, 80, 3), dtype=np.uint8)
    mask = np.zeros((120, 80), bool)
    mask[10:110, 20:60] = True
    return image, mask


def gallery() -> FaceGallery:
    return FaceGallery.load(weight_path("prototypes") / "faces.safetensors")


def persons() -> PersonGallery:
    return PersonGallery.load(weight_path("prototypes") / "persons.safetensors")


def changed_inside(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    other = image.copy()
    other[mask] = 255 - other[mask]
    return other


def standing() -> Pose:
    """A person in ``BOX`` who faces the camera, every joint seen."""
    rows = {"nose": 18, "ear": 17, "shoulder": 28, "elbow": 42, "wrist": 54, "hand": 58, "hip": 58, "knee": 80}
    rows |= {"ankle": 102, "toe": 107}
    half = {"ear": 4, "shoulder": 11, "elbow": 15, "wrist": 16, "hand": 17, "hip": 6, "knee": 7, "ankle": 7, "toe": 8}
    points = []
    for joint in JOINTS:
        side, _, name = joint.rpartition("_")
        points.append((40 + {"left": 1, "right": -1, "": 0}[side] * half.get(name, 0), rows[name]))
    return Pose(np.array(points, np.float32), np.ones(len(JOINTS), np.float32))


def begun(image: np.ndarray, mask: np.ndarray, edges: float = 0.0, pose: Pose | None = None, **more: int) -> PaintJob:
    flat = np.full(mask.shape, edges, np.float32)
    job = PaintJob(image, mask, np.zeros(mask.shape, np.float32), flat, "a person", 1)
    person = Instance(1, "person", BOX, np.ones((100, 40), bool))
    starts = Prototypes(gallery(), persons(), {"person": 0.6})
    return starts.begin(job, person, None, pose, (0, 0, 80, 120), ("white", "white"), np.random.default_rng(4), **more)


@pytest.mark.parametrize("pose", [None, standing()])
def test_a_person_reads_nothing_under_the_mask(pose: Pose | None) -> None:
    image, mask = crop()
    made = [begun(picture, mask, pose=pose).start for picture in (image, changed_inside(image, mask))]
    assert (made[0][mask] == made[1][mask]).all()
    assert (made[0][~mask] == image[~mask]).all()


def test_a_known_pose_gives_another_start_than_an_average() -> None:
    image, mask = crop()
    drawn, average = begun(image, mask, pose=standing()).start, begun(image, mask).start
    assert np.abs(drawn[mask].astype(int) - average[mask]).mean() > 10


def test_a_prototype_goes_on_beyond_a_grown_mask() -> None:
    image, mask = crop()
    made = begun(image, mask, pose=standing(), wider=4)
    assert made.mask[8, 40] and made.mask[50, 17] and not made.mask[50, 14]
    assert (made.start[~made.mask] == image[~made.mask]).all()
    assert not (made.start[made.mask & ~mask] == image[made.mask & ~mask]).all(axis=1).any()


def test_a_face_reads_nothing_under_the_mask() -> None:
    image, mask = crop()
    marks = usual_landmarks(BOX)
    made = [
        gallery().draw(picture, mask, marks, np.random.default_rng(3))
        for picture in (image, changed_inside(image, mask))
    ]
    assert (made[0][mask] == made[1][mask]).all()
    assert (made[0][~mask] == image[~mask]).all()


def test_a_person_is_fitted_to_the_mask_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((120, 80), bool)
    for row in range(10, 110):
        mask[row, 40 - row // 4 : 40 + row // 4] = True
    # Red on the left of every row, blue on the right.
    person = np.zeros((1, 40, 20, 3), np.uint8)
    person[:, :, :10, 0], person[:, :, 10:, 2] = 200, 200
    monkeypatch.setattr(galleries, "DYE", 0.0)
    made = PersonGallery(person, 12).draw(mask, BOX, None, 0, ("red", "blue"))
    for row in (30, 60, 100):
        span = np.flatnonzero(mask[row])
        third = len(span) // 3
        assert made[row, span[:third], 0].min() > 100 > made[row, span[:third], 2].max()
        assert made[row, span[-third:], 2].min() > 100 > made[row, span[-third:], 0].max()


def test_clothes_are_dyed_and_skin_is_not() -> None:
    person = np.full((100, 20, 3), 90, np.uint8)
    person[70:80] = (200, 140, 110)
    made = dyed(person, ("red", "blue")).astype(int)
    assert made[30, 10].argmax() == 0 and made[60, 10].argmax() == 2
    assert (made[75, 10] == (200, 140, 110)).all() and (made[5, 10] == 90).all()


def test_row_spans_follow_the_mask_and_fill_gaps() -> None:
    mask = np.zeros((30, 20), bool)
    mask[5:10, 4:9] = mask[20:25, 4:9] = True
    left, right = row_spans(mask)
    assert np.allclose(left, 4) and np.allclose(right, 9)
    left, right = row_spans(np.zeros((4, 6), bool))
    assert (left == 0).all() and (right == 6).all()


def test_edges_darken_an_average_person() -> None:
    image, mask = crop()
    flat, folded = begun(image, mask).start, begun(image, mask, edges=1.0).start
    assert folded[mask].mean() < 0.75 * flat[mask].mean()


def test_chance_changes_faces() -> None:
    image, mask = crop()
    drawn = {gallery().draw(image, mask, usual_landmarks(BOX), np.random.default_rng(n)).tobytes() for n in range(30)}
    assert len(drawn) >= 5


def test_landmarks_of_an_average_land_on_the_instances() -> None:
    faces = np.zeros((1, 96, 96, 4), np.uint8)
    marks = np.array([[[34, 39], [62, 39], [48, 55], [37, 69], [59, 69]]], np.float32)
    for x, y in marks[0].astype(int):
        faces[0, y - 1 : y + 2, x - 1 : x + 2] = 255
    image, mask = np.full((120, 80, 3), 112, np.uint8), np.ones((120, 80), bool)
    target = usual_landmarks(np.array([10, 20, 70, 100], np.float32))
    mask[0] = False
    made = FaceGallery(faces, marks, 12).draw(image, mask, target, np.random.default_rng(0))
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
        np.mean([gallery().draw(image, mask, marks, np.random.default_rng(n))[40:70, 30:50].mean() for n in range(12)])
        for image in (light, dark)
    ]
    assert made[0] > made[1] + 10


def test_a_face_shows_the_hair_of_the_head_it_is_painted_on() -> None:
    faces = np.full((1, 96, 96, 4), 255, np.uint8)
    faces[0, ..., :3] = (10, 10, 250)
    marks = np.array([[[34, 39], [62, 39], [48, 55], [37, 69], [59, 69]]], np.float32)
    head = FaceGallery(faces, marks, 12).head(0)
    image, mask = np.full((120, 80, 3), 112, np.uint8), np.zeros((120, 80), bool)
    mask[5:110, 5:75] = True
    target = usual_landmarks(np.array([15, 25, 65, 100], np.float32))
    alone, fitting = (gallery().draw(image, mask, target, np.random.default_rng(0), h) for h in (None, head))
    beside = 85, 12  # Beside the mouth: a frame's width of hair.
    assert np.abs(alone[beside].astype(int) - 112).max() < 5 and fitting[beside][2] > 200


def test_a_large_person_without_a_face_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pose calls a nose on a large person is none: that face would have been found."""
    image, mask = crop()
    drawn: list[object] = []
    monkeypatch.setattr(prototypes, "put_head", lambda content, marks, head: drawn.append(marks) or content)
    begun(image, mask, pose=standing())
    assert len(drawn) == 1
    monkeypatch.setattr(prototypes, "HIDDEN_FACE", 1)
    begun(image, mask, pose=standing())
    assert len(drawn) == 1


def test_galleries_average_at_least_twelve_people() -> None:
    assert gallery().k >= 12 and persons().k >= 12
    assert len(gallery().faces) >= 32 and len(persons().persons) >= 32


def test_jobs_begin_with_a_prototype_of_their_class() -> None:
    image, mask = crop()
    nothing = np.zeros(mask.shape, np.float32)
    job = PaintJob(image, mask, nothing, nothing, "a person", 1)
    person = Instance(1, "person", BOX, np.ones((100, 40), bool))
    starts = Prototypes(gallery(), persons(), {"person": 0.6})
    made = starts.begin(job, person, None, None, (0, 0, 80, 120), ("red", "blue"), np.random.default_rng(0))
    assert made.strength == 0.6 and made.start is not None
    assert not (made.start[mask] == image[mask]).all(axis=1).any()
    face = Instance(2, "face", BOX, np.ones((100, 40), bool))
    assert starts.begin(job, face, None, None, (0, 0, 80, 120), None, np.random.default_rng(0)) is job


def test_a_damaged_gallery_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "faces.safetensors"
    path.write_bytes(b"no gallery")
    for kind in (FaceGallery, PersonGallery):
        with pytest.raises(ModelError, match="gallery"):
            kind.load(path)
    save_file(
        {"faces": np.zeros((2, 8, 8, 3), np.uint8), "landmarks": np.zeros((2, 5, 2), np.float32), "k": np.array([12])},
        path,
    )
    with pytest.raises(ModelError, match="M, S, S, 4"):
        FaceGallery.load(path)
    save_file({"persons": np.zeros((1, 4, 4), np.uint8), "k": np.array([12])}, path)
    with pytest.raises(ModelError, match="M, H, W, 3"):
        PersonGallery.load(path)
