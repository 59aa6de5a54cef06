"""Geometry: boxes cut out of arrays."""

from __future__ import annotations

import numpy as np
import pytest

from anonymizer.core.geometry import take


@pytest.mark.parametrize("box", [(1, 0, 4, 3), (-2, 1, 3, 9), (3, -4, 9, 2), (-3, -3, -1, -1), (2, 1, 2, 3)])
@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 3)])
def test_a_box_beyond_the_border_repeats_the_nearest_pixel(
    box: tuple[int, int, int, int], shape: tuple[int, ...]
) -> None:
    array = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    x1, y1, x2, y2 = box
    cut = take(array, box)
    assert cut.shape[:2] == (y2 - y1, x2 - x1)
    for y in range(y1, y2):
        for x in range(x1, x2):
            assert np.array_equal(cut[y - y1, x - x1], array[min(max(y, 0), 4), min(max(x, 0), 5)])
    cut[...] = -1  # A copy: the array stays.
    assert array.min() == 0
