"""Objects of a second domain: what is cut out, recoloured and found again."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BOX = np.array([30, 20, 90, 60], np.float32)


@pytest.fixture(scope="module")
def domains() -> Iterator[ModuleType]:
    names = ("domains", "avatars", "avatar_measures", "avatar_run", "judges", "packs", "markdown_table")
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("domains")
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture
def image() -> np.ndarray:
    """A blue ellipse that fills a box, on grey."""
    out = np.random.default_rng(0).integers(120, 136, (80, 120, 3)).astype(np.uint8)
    cv2.ellipse(out, (60, 40), (29, 19), 0, 0, 360, (40, 60, 160), -1)
    return out


def test_an_object_is_cut_out_and_recoloured_alone(domains: ModuleType, image: np.ndarray) -> None:
    mask = domains.cut_out(image, BOX)
    truth = image[..., 2] == 160
    assert (mask & truth).sum() / (mask | truth).sum() > 0.9
    new = domains.recoloured(image, mask, np.random.default_rng(1))
    assert np.array_equal(new[~mask], image[~mask])
    assert np.abs(new[40, 60].astype(int) - image[40, 60]).max() > 20
    assert not np.array_equal(new, domains.recoloured(image, mask, np.random.default_rng(2)))


def test_what_fills_little_of_its_box_is_no_object(domains: ModuleType, image: np.ndarray) -> None:
    image[:] = 128
    image[38:42, 58:62] = 250
    assert domains.cut_out(image, BOX) is None


def test_objects_are_found_again_by_score_and_place(domains: ModuleType) -> None:
    sure, unsure = np.array([*BOX, 0.5], np.float32), np.array([*BOX, 0.2], np.float32)
    away = np.array([0, 0, 20, 20, 0.9], np.float32)
    assert domains.again([away, sure], BOX)
    assert not domains.again([away, unsure], BOX) and not domains.again([], BOX)


def test_the_surest_of_several_classes_stands_for_all(domains: ModuleType) -> None:
    scores = np.zeros((1, 4, 80), np.float32)
    scores[0, 1, 7], scores[0, 2, 9] = 0.7, 0.8
    assert domains.heeding(scores, (2, 7))[0, :, 0].tolist() == pytest.approx([0, 0.7, 0, 0])
    sides = np.ones((1, 4, 44), np.float32)
    assert domains.heeding(sides, (2, 7)) is sides and sides.all()
