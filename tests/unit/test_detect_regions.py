from __future__ import annotations

import numpy as np
import pytest

from anonymizer.core.records import Instance
from anonymizer.detect.regions import coverage, ellipse, grow, make_instance, nms, unite


def instance(
    box: list[float], *, label: str = "person", score: float = 0.5, mask: np.ndarray | None = None
) -> Instance:
    made = make_instance(label, np.array(box, np.float32), (1000, 1000), score=score, source="test", mask=mask)
    assert made is not None
    return made


def test_nms_keeps_the_best_of_each_object() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60], [0, 0, 10, 4]], np.float32)
    scores = np.array([0.6, 0.9, 0.3, 0.5], np.float32)
    assert nms(boxes, scores, 0.5).tolist() == [1, 3, 2]


def test_nms_of_nothing() -> None:
    assert nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5).tolist() == []


def test_ellipse_fills_its_box_and_leaves_the_corners() -> None:
    mask = ellipse(np.array([3.2, 5.0, 43.2, 65.0], np.float32))
    assert mask.shape == (60, 41)
    assert mask.mean() == pytest.approx(np.pi / 4, abs=0.03)
    assert not mask[0, 0] and not mask[-1, -1] and mask[30, 20]


def test_grow_moves_each_side_by_its_own_share() -> None:
    assert grow(np.array([10, 10, 20, 30], np.float32), 0.1, 0.2, 0.3, 0.4).tolist() == [9, 6, 23, 38]


def test_make_instance_clips_box_and_mask_together() -> None:
    mask = np.zeros((10, 10), bool)
    mask[:, 7:] = True
    made = make_instance("face", np.array([-5, 0, 5, 10], np.float32), (20, 20), score=1.2, source="t", mask=mask)
    assert made is not None
    assert made.box.tolist() == [0, 0, 5, 10]
    assert made.score == 1.0
    assert np.flatnonzero(made.mask.any(axis=0)).tolist() == [2, 3, 4]


def test_make_instance_never_has_an_empty_mask() -> None:
    made = make_instance(
        "person", np.array([0, 0, 5, 5], np.float32), (9, 9), score=1, source="t", mask=np.zeros((5, 5), bool)
    )
    assert made is not None and made.mask.all()


def test_make_instance_drops_what_lies_outside() -> None:
    assert make_instance("face", np.array([-9, 0, 1, 9], np.float32), (20, 20), score=1, source="t") is None


def test_unite_keeps_every_pixel_of_every_view() -> None:
    united = unite((instance([10, 10, 20, 20], score=0.4), instance([15, 5, 30, 15], score=0.8)))
    assert united.box.tolist() == [10, 5, 30, 20]
    assert united.score == pytest.approx(0.8)
    assert united.mask.sum() == 100 + 150 - 25
    assert united.seen.tolist() == [[15, 5, 30, 15], [10, 10, 20, 20]]
    assert len(unite((united, instance([0, 0, 5, 5]))).seen) == 3


def test_coverage_is_a_share_of_the_inner_mask() -> None:
    assert coverage(instance([0, 0, 10, 10]), instance([5, 0, 50, 50])) == pytest.approx(0.5)
    assert coverage(instance([0, 0, 10, 10]), instance([20, 0, 50, 50])) == 0.0
