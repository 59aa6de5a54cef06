"""Strange colours in a fill."""

from __future__ import annotations

import numpy as np
import pytest

from anonymizer.fill.colours import familiar


@pytest.fixture
def known() -> np.ndarray:
    out = np.ones((200, 240), bool)
    out[40:160, 60:180] = False
    return out


def grey() -> np.ndarray:
    return np.clip(np.random.default_rng(1).normal(120, 12, (200, 240, 1)) + np.zeros(3), 0, 255).astype(np.uint8)


def test_a_thing_of_a_colour_that_is_nowhere_around_is_gone(known: np.ndarray) -> None:
    crop, made = grey(), grey()
    made[80:120, 100:140] = (200, 30, 30)
    out = familiar(crop, known, made)
    assert np.abs(out[82:118, 102:138].astype(int) - 120).mean() < 20
    # What lies at the border stays as it was made.
    assert np.array_equal(out[40:44], made[40:44])


def test_colours_that_are_around_stay(known: np.ndarray) -> None:
    crop, made = grey(), grey()
    crop[10:30, 10:60] = made[80:120, 100:140] = (200, 30, 30)
    assert np.array_equal(familiar(crop, known, made), made)


def test_hidden_pixels_have_no_influence(known: np.ndarray) -> None:
    crop, made = grey(), grey()
    made[80:120, 100:140] = (200, 30, 30)
    changed = np.where(known[..., None], crop, 255)
    assert np.array_equal(familiar(crop, known, made), familiar(changed, known, made))
