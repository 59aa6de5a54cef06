"""The pure parts of the detection benchmark: intervals, bins, matching, coverage, doubles, darkening."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import binomtest


@pytest.fixture(scope="module")
def measures() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "detection_measures.py"
    spec = importlib.util.spec_from_file_location("detection_measures", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rectangle(x1: int, y1: int, x2: int, y2: int, size: tuple[int, int] = (20, 20)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[y1:y2, x1:x2] = True
    return mask


@pytest.mark.parametrize(("hits", "total"), [(0, 10), (10, 10), (9, 10), (50, 100), (293, 300)])
def test_wilson_intervals_are_those_of_scipy(measures: ModuleType, hits: int, total: int) -> None:
    expected = binomtest(hits, total).proportion_ci(0.95, method="wilson")
    assert measures.wilson(hits, total) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_wilson_of_nothing_is_everything_and_impossible_counts_are_refused(measures: ModuleType) -> None:
    assert measures.wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 of 2"):
        measures.wilson(3, 2)


def test_every_height_from_the_least_lies_in_one_bin(measures: ModuleType) -> None:
    for side in (20, 39.9, 40, 79.9, 80, 160, 5000):
        assert sum(measures.in_size(side, low, high) for low, high in measures.SIZES) == 1
    assert not any(measures.in_size(19.9, low, high) for low, high in measures.SIZES)
    assert measures.in_size(40, 40, 80) and not measures.in_size(40, 20, 40)


def test_one_find_shows_one_person_and_as_many_persons_as_possible_are_shown(measures: ModuleType) -> None:
    # The first find fits both persons, the first one best; the second find fits the first person only.
    iou = np.array([[0.9, 0.6], [0.55, 0.1]], np.float32)
    assert measures.matched(iou, 0.5).tolist() == [1, 0]
    assert measures.matched(iou[:1], 0.5).tolist() == [0, -1]
    assert measures.matched(iou, 0.95).tolist() == [-1, -1]
    assert measures.matched(np.zeros((0, 3), np.float32), 0.5).tolist() == [-1, -1, -1]
    assert measures.matched(np.zeros((2, 0), np.float32), 0.5).tolist() == []


def test_coverage_is_the_proportion_of_the_annotated_pixels(measures: ModuleType) -> None:
    person = rectangle(0, 0, 10, 10)
    assert measures.inside(person, rectangle(0, 0, 20, 3)) == pytest.approx(0.3)
    assert measures.inside(person, ~person) == 0.0
    assert measures.inside(np.zeros((20, 20), bool), person) == 0.0


def test_coverage_of_a_box_counts_pixels_by_their_centres(measures: ModuleType) -> None:
    region = rectangle(0, 0, 5, 20)
    assert measures.box_inside(np.array([0, 0, 10, 10], np.float32), region) == pytest.approx(0.5)
    assert measures.box_inside(np.array([4.4, 0, 6.4, 2], np.float32), region) == pytest.approx(0.5)
    assert measures.box_inside(np.array([3.1, 3.1, 3.2, 3.2], np.float32), region) == 1.0
    assert measures.box_inside(np.array([25, 25, 30, 30], np.float32), region) == 0.0


def test_only_finds_beyond_a_persons_first_are_doubles(measures: ModuleType) -> None:
    left, right = rectangle(0, 0, 8, 16), rectangle(10, 0, 18, 16)
    head, elsewhere = rectangle(0, 0, 8, 4), rectangle(0, 18, 3, 20)
    assert measures.duplicates([left, right], [left, right]) == 0
    assert measures.duplicates([left, head, right], [left, right]) == 1
    assert measures.duplicates([left, elsewhere], [left, right]) == 0
    # Who stands in front of another is not shown again by the find of the other.
    behind = rectangle(6, 0, 16, 16)
    assert measures.duplicates([left, behind], [left, behind]) == 0
    assert measures.duplicates([], [left]) == measures.duplicates([left], []) == 0


def test_finds_in_one_label_are_taken_together(measures: ModuleType) -> None:
    label = rectangle(0, 0, 20, 10)
    finds = [rectangle(1, 0, 9, 10), rectangle(11, 0, 19, 9), rectangle(0, 11, 20, 20)]
    boxes = np.array([[1, 0, 9, 10], [11, 0, 19, 9], [0, 11, 20, 20]], np.float32)
    assert measures.joint_box(finds, boxes, label).tolist() == [1, 0, 19, 10]
    assert measures.joint_box(finds[2:], boxes[2:], label) is None
    assert measures.joint_box([], boxes[:0], label) is None


def test_darkening_reaches_the_mean_by_one_gain_and_leaves_dark_pictures(measures: ModuleType) -> None:
    image = np.random.default_rng(3).integers(0, 256, (40, 60, 3), np.uint8)
    dark = measures.darkened(image, 30)
    assert dark.dtype == np.uint8 and dark.shape == image.shape
    assert float(dark.mean()) == pytest.approx(30, abs=0.3)
    # Order of levels stays, black stays black.
    order = np.argsort(image.ravel(), kind="stable")
    assert (np.diff(dark.ravel()[order].astype(int)) >= 0).all()
    assert dark[image == 0].max(initial=0) == 0
    darker = dark // 2
    assert (measures.darkened(darker, 30) == darker).all()


def test_a_gain_of_one_changes_nothing(measures: ModuleType) -> None:
    assert measures._curve(1.0).tolist() == list(range(256))


def test_a_label_moved_by_a_pixel_says_what_a_pixel_is_worth(measures: ModuleType) -> None:
    assert measures.moved_iou(rectangle(5, 5, 9, 15)) == pytest.approx(3 / 5)
    assert measures.moved_iou(rectangle(5, 5, 15, 15)) == pytest.approx(9 / 11)


def test_what_differs_at_the_border_of_a_label_alone_does_not_count(measures: ModuleType) -> None:
    label = rectangle(5, 5, 15, 15)
    assert measures.inner_iou(rectangle(4, 4, 16, 16), label) == 1
    assert measures.inner_iou(rectangle(6, 6, 14, 14), label) == 1
    assert measures.inner_iou(rectangle(2, 6, 14, 14), label) == pytest.approx(64 / (64 + 2 * 8))
