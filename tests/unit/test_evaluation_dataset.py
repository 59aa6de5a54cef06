"""Pictures are checked once, read when asked for, and their subjects survive the way through a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from anonymizer.annotations.reading import read_annotations
from anonymizer.core.errors import InputError
from anonymizer.core.records import Instance
from anonymizer.evaluation.dataset import PictureDataset
from anonymizer.evaluation.pairing import find_pairs
from anonymizer.evaluation.records import Subject
from anonymizer.evaluation.screening import Glance, mixed_up
from anonymizer.evaluation.subjects import SubjectSource

from .evaluation import SIZE, album, picture


class NoFaces:
    def find(self, image: np.ndarray, box: np.ndarray) -> None:
        return None


class Given:
    """Gives the same subjects for every picture."""

    def __init__(self, *subjects: Subject) -> None:
        self._subjects = subjects

    def subjects(self, name: str, image: np.ndarray) -> tuple[Subject, ...]:
        return self._subjects


def dataset(root: Path, source: object, originals: Path, released: Path) -> PictureDataset:
    return PictureDataset(find_pairs(originals, released, root / "out"), source, root / "work")  # type: ignore[arg-type]


def test_subjects_survive_the_file(tmp_path: Path) -> None:
    originals, released, _ = album(tmp_path, people=1, views=1)
    box = np.array([10.5, 20, 30, 41], np.float32)
    mask = np.random.default_rng(0).random((21, 20)) < 0.5
    landmarks = np.arange(10, dtype=np.float32).reshape(5, 2)
    full = Subject("p0_0.png", 0, "face", box, landmarks, mask, "Zoë = # 1", "", "given")
    bare = Subject("p0_0.png", 1, "license_plate", box)
    held = dataset(tmp_path, Given(full, bare), originals, released)
    first, second = held.subjects(held.pairs[0])
    assert (first.identity, first.text, first.label, first.number) == ("Zoë = # 1", "", "face", 0)
    assert np.array_equal(first.box, box) and np.array_equal(first.mask, mask)  # type: ignore[arg-type]
    assert np.array_equal(first.landmarks, landmarks)  # type: ignore[arg-type]
    assert (second.identity, second.text, second.landmarks, second.mask) == (None, None, None, None)
    assert second.who == "p0_0.png#1" and first.who == "Zoë = # 1"
    assert held.survey.subjects == {"face": 1, "license_plate": 1} and held.survey.identities == {"face": 1}


def test_pairs_that_cannot_be_compared_are_counted_not_scored(tmp_path: Path) -> None:
    originals, released, _ = album(tmp_path, people=6, views=1)
    Pillow.fromarray(picture(1, 0)[:90]).save(released / "p1_0.png")
    (released / "p2_0.png").write_bytes(b"no picture")
    (originals / "p3_0.png").write_bytes(b"")
    Pillow.fromarray(255 - picture(4, 0)).save(released / "p4_0.png")
    held = dataset(tmp_path, Given(), originals, released)
    assert [pair.name for pair in held.pairs] == ["p0_0.png", "p5_0.png"]
    assert held.survey.counts == {
        "different sizes": 1,
        "an unreadable released picture": 1,
        "an unreadable original": 1,
        "another scene": 1,
    }
    assert held.survey.problems["different sizes"] == ("p1_0.png",)


def test_only_unusable_pairs_are_an_error(tmp_path: Path) -> None:
    originals, released, _ = album(tmp_path, people=2, views=1)
    for path in released.iterdir():
        Pillow.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    with pytest.raises(InputError, match="none of 2 pairs can be evaluated .2 with different sizes"):
        dataset(tmp_path, Given(), originals, released)


def test_pictures_of_other_scenes_are_an_error(tmp_path: Path) -> None:
    originals, released, _ = album(tmp_path, people=4, views=1)
    for who in range(4):
        Pillow.fromarray(picture((who + 1) % 4, 5)[::-1]).save(released / f"p{who}_0.png")
    with pytest.raises(InputError, match="do not show the same scene"):
        dataset(tmp_path, Given(), originals, released)


def test_the_scene_is_judged_outside_of_the_subjects() -> None:
    rng = np.random.default_rng(0)
    before = rng.integers(0, 256, (12, 12, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    after = before.copy()
    after[:84] = 255 - after[:84]
    box = np.array([0, 0, SIZE, 84], np.float32)
    assert not Glance.of(before, after, []).same_scene() and Glance.of(before, after, [box]).same_scene()
    region = np.zeros((SIZE, SIZE), bool)
    region[:84] = True
    assert Glance.of(before, after, [], region).same_scene()
    # Nothing but the subject to be seen: no judgement.
    assert Glance.of(before, 255 - before, [np.array([0, 0, SIZE, SIZE], np.float32)]).same_scene()


def test_a_bare_wall_with_other_noise_is_one_scene() -> None:
    rng = np.random.default_rng(0)
    wall, again = (np.clip(rng.normal(120, 3, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8) for _ in range(2))
    assert Glance.of(wall, again, []).same_scene()


def test_pictures_of_one_place_are_not_mixed_up_and_swapped_ones_are() -> None:
    place = [picture(0, 0) for _ in range(4)]
    assert not mixed_up([Glance.of(image, image, []) for image in place])
    scenes = [picture(who, 0) for who in range(6)]
    order = [1, 0, 2, 3, 4, 5]
    assert mixed_up([Glance.of(scenes[n], scenes[order[n]], []) for n in range(6)]) == {0, 1}


def test_annotations_are_taken_at_their_word(tmp_path: Path) -> None:
    import json

    originals, released, path = album(tmp_path, people=2, views=1, label="face")
    coco = json.loads(path.read_text())
    coco["annotations"][0]["keypoints"] = [float(n) for n in range(10)]
    # COCO's x, y, visibility.
    coco["annotations"][1]["keypoints"] = [
        float(n) for pair in zip(range(30, 40, 2), range(31, 41, 2), strict=True) for n in (*pair, 2)
    ]
    del coco["annotations"][1]["identity"]
    coco["images"][1]["identity"] = "of the picture"
    coco["annotations"].append({"id": 9, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1})
    path.write_text(json.dumps(coco))
    source = SubjectSource(read_annotations(path), None, NoFaces())  # type: ignore[arg-type]
    held = dataset(tmp_path, source, originals, released)
    (first,), (second,) = (held.subjects(pair) for pair in held.pairs)
    assert first.landmarks is not None and first.landmarks.tolist() == np.arange(10).reshape(5, 2).tolist()
    assert second.landmarks is not None and second.landmarks[:, 0].tolist() == [30, 32, 34, 36, 38]
    assert (first.identity, second.identity) == ("person 0", "of the picture")


def test_pictures_without_annotations_are_detected() -> None:
    box = np.array([1, 2, 9, 12], np.float32)
    found = Instance(1, "person", box, np.ones((10, 8), bool), 0.9, "detector")
    other = Instance(2, "text", box, np.ones((10, 8), bool), 0.9, "detector")

    class Detector:
        def detect(self, image: np.ndarray) -> tuple[Instance, ...]:
            return found, other

    (subject,) = SubjectSource(None, Detector(), NoFaces()).subjects("a.png", picture(0, 0))  # type: ignore[arg-type]
    assert (subject.label, subject.source, subject.identity, subject.who) == ("person", "detector", None, "a.png#0")
