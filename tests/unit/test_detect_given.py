"""Given boxes take outlines; crowd regions are cut down to where a person may be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.core.geometry import full_mask
from anonymizer.core.records import Floats, Image, Instance, PersonView
from anonymizer.detect.given import is_crowd, with_given, without_members
from anonymizer.detect.regions import ellipse

IMAGE = np.zeros((200, 300, 3), np.uint8)


def boxed(number: int, *box: float, label: str = "person", **record: object) -> Instance:
    return Instance(number, label, np.array(box, np.float32), record=record)


def found(number: int, *box: float, score: float = 0.5) -> Instance:
    place = np.array(box, np.float32)
    return Instance(number, "person", place, ellipse(place), score, "fake")


class Segmenter:
    """Draws the ellipse in each box, or nothing."""

    def __init__(self, sees: bool = True) -> None:
        self.sees = sees
        self.asked: list[list[float]] = []

    def segment(self, image: Image, boxes: Floats) -> tuple[Instance | None, ...]:
        self.asked += [box.tolist() for box in boxes]
        return tuple(found(1, *box.tolist()) if self.sees else None for box in boxes)


def test_a_mask_left_out_is_the_box_and_an_empty_one_is_refused() -> None:
    assert boxed(1, 10, 10, 20, 30).mask.shape == (20, 10) and boxed(1, 10, 10, 20, 30).boxed
    assert not found(1, 10, 10, 60, 90).boxed
    with pytest.raises(InputError, match="holds no pixel"):
        Instance(3, "license_plate", np.array([0, 0, 8, 4], np.float32), np.zeros((4, 8), bool))


def test_a_person_in_a_box_takes_the_outline_of_the_detection() -> None:
    (person,) = with_given([found(7, 12, 10, 62, 150)], [boxed(1, 10, 10, 60, 150, id=5)], IMAGE, Segmenter())
    assert person.source == "given" and person.record == {"id": 5} and person.id == 1
    assert person.box.tolist() == [12, 10, 62, 150] and not person.boxed


def test_each_of_two_boxes_takes_a_detection_of_its_own_and_the_best_one() -> None:
    given = [boxed(1, 10, 10, 60, 150), boxed(2, 30, 10, 80, 150)]
    left, right, worse = found(1, 11, 10, 61, 150), found(2, 31, 10, 81, 150), found(3, 4, 10, 54, 150, score=0.9)
    out = with_given([worse, left, right], given, IMAGE, Segmenter())
    assert [i.box.tolist() for i in out] == [left.box.tolist(), right.box.tolist()]


def test_a_box_without_a_detection_is_segmented_else_it_stays_a_rectangle() -> None:
    segmenter = Segmenter()
    out = with_given(
        [], [boxed(1, 10, 10, 60, 150), boxed(2, 100, 10, 140, 30, label="license_plate")], IMAGE, segmenter
    )
    assert segmenter.asked == [[10, 10, 60, 150]]
    assert not out[0].boxed and out[1].boxed
    (rectangle,) = with_given([], [boxed(1, 10, 10, 60, 150)], IMAGE, Segmenter(sees=False))
    assert rectangle.boxed


def test_a_given_outline_stays() -> None:
    drawn = replace(found(1, 10, 10, 60, 150), source="given")
    (person,) = with_given([found(1, 12, 10, 62, 150)], [drawn], IMAGE, Segmenter())
    assert person.box.tolist() == [10, 10, 60, 150]


def test_a_crowd_is_no_single_person_and_swallows_none() -> None:
    crowd = boxed(1, 0, 0, 200, 180, iscrowd=1)
    assert is_crowd(crowd) and not is_crowd(boxed(1, 0, 0, 9, 9, iscrowd=0))
    out = with_given([found(4, 5, 0, 195, 180)], [crowd], IMAGE, Segmenter())
    assert [i.source for i in out] == ["given", "fake"]


def test_a_crowd_box_is_cut_down_to_possible_persons_who_are_not_anonymized_by_themselves() -> None:
    crowd = boxed(1, 0, 0, 200, 180, iscrowd=1)
    sure, unsure = found(1, 20, 20, 60, 160), found(2, 120, 20, 160, 160, score=0.1)
    rest = without_members(crowd, [sure], [sure, unsure])
    assert rest.mask.sum() == unsure.mask.sum() and rest.mask[20:160, 120:160].any()
    everybody = without_members(crowd, [sure], [sure])
    assert everybody.mask.any() and not (everybody.mask[20:160, 20:60] & ~sure.mask).any()
    assert without_members(crowd, [], []).mask.all()


def view(mark: float) -> PersonView:
    ones = np.full(33, mark, np.float32)
    places = np.zeros((33, 3), np.float32)
    return PersonView(places, ones, ones, places, (0, 0, 9, 9), np.zeros((256, 256), np.float32), mark)


def test_a_person_with_an_outline_takes_the_pose_of_the_detection_or_of_the_segmenter() -> None:
    class Posing(Segmenter):
        def segment(self, image: Image, boxes: Floats) -> tuple[Instance | None, ...]:
            return tuple(None if i is None else replace(i, body=view(0.2)) for i in super().segment(image, boxes))

    outlined = replace(found(1, 10, 10, 60, 150), source="given", record={"id": 5})
    seen = replace(found(7, 12, 10, 62, 150), body=view(0.9))
    (person,) = with_given([seen], [outlined], IMAGE, Posing())
    assert person.body is seen.body and person.box.tolist() == outlined.box.tolist()
    (person,) = with_given([], [outlined], IMAGE, Posing())
    assert person.body is not None and person.body.presence == pytest.approx(0.2)
    assert np.array_equal(person.mask, outlined.mask) and person.source == "given"
    (person,) = with_given([], [outlined], IMAGE, Posing(sees=False))
    assert person.body is None


@pytest.mark.parametrize("detected", [True, False])
def test_of_a_box_that_a_reviewer_marked_every_pixel_is_treated(detected: bool) -> None:
    mark = replace(boxed(1, 10, 10, 60, 150), source="given:review")
    seen = [found(7, 14, 4, 62, 150)] if detected else []
    (person,) = with_given(seen, [mark], IMAGE, Segmenter())
    assert person.source == "given:review" and not person.boxed
    inside = full_mask(person, (200, 300))
    assert inside[10:150, 10:60].all()
    assert person.box.tolist() == ([10, 4, 62, 150] if detected else [10, 10, 60, 150])
    outline = full_mask(replace(person, mask=person.outline, core=None), (200, 300))
    assert outline.sum() < 0.85 * inside.sum() and not (outline & ~inside).any()
