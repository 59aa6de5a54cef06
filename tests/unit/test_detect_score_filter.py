"""Detections that are anonymized."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.core.records import Image, Instance
from anonymizer.detect.score_filter import ScoreFilter

BODY = Instance(1, "person", np.array([10, 10, 40, 90], np.float32), np.ones((80, 30), bool), 0.15, "fake")
FACE = Instance(2, "face", np.array([20, 12, 30, 24], np.float32), np.ones((12, 10), bool), 0.1, "fake", 1)


class Found:
    def __init__(self, *instances: Instance) -> None:
        self.instances = instances

    def detect(self, image: Image) -> tuple[Instance, ...]:
        return self.instances


def kept(*instances: Instance) -> list[int]:
    picture = np.zeros((100, 100, 3), np.uint8)
    return [i.id for i in ScoreFilter(Found(*instances), {"person": 0.18, "license_plate": 0.25}).detect(picture)]


def test_low_scores_are_left_out_in_classes_that_have_a_limit() -> None:
    assert kept(BODY) == []
    assert kept(replace(BODY, score=0.18)) == [1]
    assert kept(replace(FACE, parent=None)) == [2]


def test_a_person_whose_face_was_found_stays_whatever_the_score() -> None:
    assert kept(BODY, FACE) == [1, 2]
    assert kept(BODY, replace(FACE, parent=None)) == [2]


def test_plates_that_were_read_stay_however_badly() -> None:
    plate = Instance(3, "license_plate", np.array([10, 10, 40, 20], np.float32), np.ones((10, 30), bool), 0.1, "yolo")
    assert kept(plate) == []
    assert kept(replace(plate, source="ocr")) == [3]


def test_a_score_for_plates_that_would_leave_out_read_ones_is_refused() -> None:
    with pytest.raises(InputError, match=r"treat_from: expected at most 0.5"):
        ScoreFilter(Found(), {"license_plate": 0.6})


BOXES = {"sure": 0.3, "near": 0.2, "near_height": 40}


@pytest.mark.parametrize(
    ("evidence", "height", "stays"),
    [
        ({"centernet": 0.3}, 20, True),
        ({"centernet": 0.25}, 20, False),
        ({"centernet": 0.25}, 60, True),
        ({"centernet": 0.15}, 60, False),
        ({"centernet": 0.15, "yolo": 0.14}, 20, True),
        ({"yolo": 0.14}, 60, False),
        ({"yolo": 0.18}, 20, True),
    ],
)
def test_boxes_need_another_sign_or_a_high_score(evidence: dict[str, float], height: int, stays: bool) -> None:
    box = np.array([10, 10, 30, 10 + height], np.float32)
    person = Instance(1, "person", box, score=max(evidence.values()), source="fake", evidence=evidence)
    found = ScoreFilter(Found(person), {"person": 0.18}, BOXES).detect(np.zeros((100, 100, 3), np.uint8))
    assert bool(found) is stays


def test_a_plate_on_a_vehicle_is_known_as_such() -> None:
    car = Instance(1, "vehicle", np.array([0, 0, 90, 60], np.float32), score=0.7, source="centernet:car")
    plate = Instance(2, "license_plate", np.array([30, 40, 60, 50], np.float32), score=0.4, source="yolo", parent=1)
    _, found = ScoreFilter(Found(car, plate), {}).detect(np.zeros((100, 100, 3), np.uint8))
    assert found.signs == {"yolo": 0.4, "vehicle": 0.7}
