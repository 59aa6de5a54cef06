"""Colours spread into what is hidden."""

from __future__ import annotations

import numpy as np
import pytest

from anonymizer.fill.smooth import push_pull, spread


@pytest.mark.parametrize("size", [(1, 9), (7, 3), (40, 61)])
def test_what_is_known_stays_and_the_rest_is_within_its_range(size: tuple[int, int]) -> None:
    known = np.ones(size, bool)
    known[size[0] // 2, size[1] // 3 :] = False
    colours = np.random.default_rng(2).uniform(50, 90, (*size, 3)).astype(np.float32)
    made = push_pull(colours * known[..., None], known.astype(np.float32))
    assert np.allclose(made[known], colours[known], atol=1e-3)
    assert made.min() >= 50 - 1e-3 and made.max() <= 90 + 1e-3


def test_a_slope_goes_on_across_a_hole_and_hidden_pixels_have_no_influence() -> None:
    crop = np.zeros((100, 200, 3), np.uint8)
    crop[:] = np.linspace(20, 220, 200)[None, :, None]
    known = np.ones((100, 200), bool)
    known[30:70, 60:140] = False
    changed = np.where(known[..., None], crop, 255 - crop)
    made = spread(crop, known)
    assert np.array_equal(made, spread(changed, known))
    assert (
        np.abs(made[50, 62:70] - crop[50, 62:70]).max() < 30
        and np.abs(made[50, 130:138] - crop[50, 130:138]).max() < 30
    )
