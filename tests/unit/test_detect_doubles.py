from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from anonymizer.core.geometry import full_mask
from anonymizer.core.records import Image, Instance, PersonView
from anonymizer.detect import doubles
from anonymizer.detect.doubles import one_each
from anonymizer.detect.score_filter import ScoreFilter

SIZE = (200, 300)
BOTH = {"yolo": 0.8, "centernet": 0.6}
ALONE = {"centernet": 0.4, "outline": 0.3}


def person(id: int, box: list[int], evidence: Mapping[str, float] = BOTH, body: PersonView | None = None) -> Instance:
    x1, y1, x2, y2 = box
    mask = np.ones((y2 - y1, x2 - x1), bool)
    return Instance(
        id=id,
        label="person",
        box=np.array(box, np.float32),
        mask=mask,
        score=max(evidence.values()),
        source="fake",
        evidence=evidence,
        body=body,
    )


def face(id: int, parent: int, box: list[int], score: float = 0.9) -> Instance:
    return Instance(id=id, label="face", box=np.array(box, np.float32), score=score, source="fake", parent=parent)


def view(x: float, presence: float = 0.9) -> PersonView:
    landmarks = np.zeros((33, 3), np.float32)
    landmarks[:, 0], landmarks[:, 1] = x, np.linspace(20, 120, 33)
    return PersonView(
        landmarks=landmarks,
        visibility=np.ones(33, np.float32),
        inside=np.ones(33, np.float32),
        world=np.zeros((33, 3), np.float32),
        window=(0, 0, 200, 200),
        mask=np.zeros((256, 256), np.float32),
        presence=presence,
    )


def covered(found: tuple[Instance, ...]) -> np.ndarray:
    return np.logical_or.reduce([full_mask(i, SIZE) for i in found])


def test_a_part_of_a_person_joins_them_with_pixels_face_and_evidence() -> None:
    whole, part = person(1, [50, 20, 100, 180], {"yolo": 0.5}), person(2, [45, 20, 90, 80], ALONE)
    found = (whole, part, face(3, 2, [60, 25, 80, 45]))
    one, its_face = one_each(found)
    assert one.id == 1
    assert np.array_equal(covered((one,)), covered(found[:2]))
    assert full_mask(one, SIZE)[50, 47]
    assert not full_mask(Instance(1, "person", one.box, one.outline), SIZE)[50, 47]
    assert its_face.parent == 1
    assert dict(one.signs) == {"yolo": 0.5, "centernet": 0.4, "outline": 0.3}


def test_a_part_of_a_part_ends_in_the_whole_person() -> None:
    boxes = ([50, 20, 100, 180], [52, 20, 95, 120], [55, 20, 90, 60])
    found = [person(n, box) for n, box in enumerate(boxes, start=1)]
    one, its_face = one_each([*found, face(4, 3, [60, 25, 80, 45])])
    assert (one.id, its_face.parent) == (1, 1)


@pytest.mark.parametrize(("score", "count"), [(0.9, 2), (0.3, 1)])
def test_two_with_a_sure_face_each_stay_two(score: float, count: int) -> None:
    adult, child = person(1, [50, 20, 120, 180]), person(2, [60, 100, 100, 180])
    faces = [face(3, 1, [70, 25, 90, 45]), face(4, 2, [70, 105, 90, 125], score)]
    assert sum(i.label == "person" for i in one_each([adult, child, *faces])) == count


def test_people_who_overlap_a_little_stay_apart() -> None:
    found = (person(1, [50, 20, 100, 180]), person(2, [75, 25, 120, 180]))
    assert one_each(found) == found


@pytest.mark.parametrize(("x", "presence", "count"), [(72, 0.9, 1), (120, 0.9, 2), (72, 0.5, 2)])
def test_one_pose_is_one_person(x: float, presence: float, count: int) -> None:
    found = (
        person(1, [50, 20, 100, 180], body=view(70)),
        person(2, [75, 25, 120, 180], body=view(x, presence)),
    )
    assert len(one_each(found)) == count


def test_a_find_around_two_people_leaves_the_two() -> None:
    group = person(1, [50, 20, 150, 180], {"yolo": 0.8})
    left, right = person(2, [50, 20, 95, 180]), person(3, [105, 25, 150, 180])
    found = one_each((group, left, right))
    assert [i.id for i in found] == [2, 3]
    assert covered(found)[100, 100]


def test_one_person_in_two_halves_is_no_group() -> None:
    whole = person(1, [50, 20, 100, 180])
    halves = person(2, [50, 20, 100, 100], ALONE), person(3, [50, 100, 100, 180], ALONE)
    assert [i.id for i in one_each((whole, *halves))] == [1]


def test_a_box_between_people_joins_them_but_a_seen_person_does_not() -> None:
    left, right = person(1, [20, 20, 70, 180]), person(2, [70, 20, 120, 180])
    assert len(one_each((left, right, person(3, [50, 40, 90, 160], ALONE)))) == 2
    assert len(one_each((left, right, person(3, [50, 40, 90, 160])))) == 3


@pytest.mark.parametrize(("left", "height", "count"), [(50, 100, 2), (80, 100, 1), (50, 50, 1)])
def test_who_stands_at_the_side_of_a_larger_find_stays(left: int, height: int, count: int) -> None:
    # The outline of who is in front often runs into that of who is behind.
    front, behind = person(1, [50, 20, 130, 180]), person(2, [left, 30, left + 24, 30 + height], ALONE)
    assert len(one_each((front, behind))) == count


@pytest.mark.parametrize(("score", "width"), [(0.3, 40), (0.7, 60)])
def test_the_better_of_two_outlines_is_kept(score: float, width: int) -> None:
    whole, part = person(1, [50, 20, 110, 180], {"yolo": score}), person(2, [60, 20, 100, 180], {"yolo": 0.8})
    (one,) = one_each((whole, part))
    assert (one.id, one.score) == (1, pytest.approx(0.8))
    assert int(one.outline.any(axis=0).sum()) == width


def test_a_box_in_the_margin_of_a_person_joins_them() -> None:
    core = np.zeros((160, 60), bool)
    core[:, :30] = True
    wide = person(1, [50, 20, 110, 180])
    wide = Instance(1, "person", wide.box, wide.mask, 0.8, "fake", core=core, evidence=BOTH)
    assert len(one_each((wide, person(2, [85, 60, 108, 120], ALONE)))) == 1
    assert len(one_each((wide, person(2, [85, 60, 108, 120])))) == 2


def test_an_outline_is_kept_rather_than_a_box_without_one() -> None:
    sketch, drawn = person(1, [50, 20, 110, 180], {"centernet": 0.3}), person(2, [55, 30, 100, 170])
    (one,) = one_each((sketch, drawn))
    assert np.array_equal(full_mask(Instance(1, "person", one.box, one.outline), SIZE), full_mask(drawn, SIZE))
    assert np.array_equal(full_mask(one, SIZE), full_mask(sketch, SIZE))


@pytest.mark.parametrize(("top", "width"), [(20, 70), (120, 90)])
def test_a_networks_outline_is_kept_rather_than_one_in_a_box_as_large(top: int, width: int) -> None:
    boxed, drawn = person(1, [40, 20, 130, 180], ALONE), person(2, [50, top, 120, 180], {"yolo": 0.5})
    (one,) = one_each((boxed, drawn))
    assert int(one.outline.any(axis=0).sum()) == width
    assert np.array_equal(full_mask(one, SIZE), full_mask(boxed, SIZE))


def test_no_pixel_is_ever_lost() -> None:
    rng = np.random.default_rng(5)
    for _ in range(40):
        found = []
        for n in range(1, 9):
            x, y = (int(v) for v in rng.integers(0, (200, 100)))
            w, h = (int(v) for v in rng.integers(8, (100, 100)))
            evidence = (BOTH, ALONE, {"yolo": 0.4})[int(rng.integers(3))]
            found.append(person(n, [x, y, x + w, y + h], evidence))
        kept = one_each(found)
        assert np.array_equal(covered(kept), covered(tuple(found)))
        assert len(kept) <= len(found)
        assert [i.id for i in kept] == sorted(i.id for i in kept)


def test_what_is_left_out_by_its_score_joins_nobody() -> None:
    class Fake:
        def detect(self, image: Image) -> tuple[Instance, ...]:
            return (person(1, [50, 20, 110, 180], {"yolo": 0.1}), person(2, [55, 30, 100, 170]))

    chosen = ScoreFilter(Fake(), {"person": 0.4}).detect(np.zeros((*SIZE, 3), np.uint8))
    assert [i.id for i in chosen] == [2]


def test_landmarks_that_place_a_person_are_the_networks() -> None:
    assert doubles.PLACES == [0, 11, 12, 23, 24]
