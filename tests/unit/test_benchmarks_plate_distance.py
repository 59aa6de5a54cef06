"""Crops of plates for the judge: the whole crop is seen, whatever the plate's shape."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from anonymizer.core.geometry import context_box, take
from anonymizer.evaluation.networks import FEATURE_MARGIN, FEATURE_SIDE

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def distance() -> Iterator[ModuleType]:
    names = (
        "plate_distance",
        "plates",
        "avatars",
        "avatar_measures",
        "avatar_run",
        "judges",
        "packs",
        "markdown_table",
    )
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("plate_distance")
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in names:
            sys.modules.pop(name, None)


@pytest.mark.parametrize("box", [(20, 30, 60, 40), (10, 10, 30, 30)])
def test_the_judge_sees_a_plate_with_its_margin_stretched(distance: ModuleType, box: tuple[int, ...]) -> None:
    image = np.zeros((80, 100, 3), np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 255
    seen = []

    def describe(square: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        window = context_box(boxes[0], FEATURE_MARGIN, 1.0)
        seen.append((window, take(square, window)))
        return np.zeros((1, 4), np.float32)

    bench = distance.Bench.__new__(distance.Bench)
    bench._describe = SimpleNamespace(describe=describe)
    bench._features(image, np.array(box, np.float32))
    ((window, square),) = seen
    assert np.abs(np.array(window) - (0, 0, FEATURE_SIDE, FEATURE_SIDE)).max() <= 1
    bright = square[..., 0] > 127
    # A tenth of the longer side lies above and below, and at the sides as much as keeps the plate's shape.
    height = y2 - y1 + 2 * FEATURE_MARGIN * max(x2 - x1, y2 - y1)
    assert bright.mean() == pytest.approx(((y2 - y1) / height) ** 2, abs=0.02)
    assert bright[FEATURE_SIDE // 2, FEATURE_SIDE // 2] and not bright[:5].any()


def test_a_feature_that_hardly_varies_does_not_decide_the_distance(distance: ModuleType) -> None:
    rng = np.random.default_rng(0)
    real, other = rng.standard_normal((40, 30)), rng.standard_normal((20, 30))
    real[:, 0] *= 1e-4
    other[:, 0] = 0
    other[3, 0] = 0.05
    sides = [f"r{n}" for n in range(40)], ["pack"] * 40
    far, held = (
        distance.Distance(real, *sides, least)(other, [f"o{n}" for n in range(20)], ["pack"] * 20).value
        for least in (0.0, distance.LEAST_SPREAD)
    )
    assert abs(far) > 100 and abs(held) < 1
