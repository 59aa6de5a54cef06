"""Which finds are treated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anonymizer.detect.likely import LikelyDetector
from anonymizer.errors import InputError
from anonymizer.types import Image, Instance

BODY = Instance(1, "person", np.array([10, 10, 40, 90], np.float32), np.ones((80, 30), bool), 0.15, "fake")
FACE = Instance(2, "face", np.array([20, 12, 30, 24], np.float32), np.ones((12, 10), bool), 0.1, "fake", 1)


class Found:
    def __init__(self, *instances: Instance) -> None:
        self.instances = instances

    def detect(self, image: Image) -> tuple[Instance, ...]:
        return self.instances


def kept(*instances: Instance) -> list[int]:
    picture = np.zeros((100, 100, 3), np.uint8)
    return [i.id for i in LikelyDetector(Found(*instances), {"person": 0.18, "license_plate": 0.25}).detect(picture)]


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
        LikelyDetector(Found(), {"license_plate": 0.6})
