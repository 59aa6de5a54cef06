from __future__ import annotations

import numpy as np
import pytest

from anonymizer.detect.faces import decode


def test_decode_reads_centre_size_and_landmarks() -> None:
    heatmap, sizes = np.zeros((8, 16), np.float32), np.zeros((2, 8, 16), np.float32)
    offsets, landmarks = np.zeros((2, 8, 16), np.float32), np.zeros((10, 8, 16), np.float32)
    heatmap[5, 10], heatmap[2, 2] = 0.9, 0.2
    sizes[:, 5, 10] = np.log(6), np.log(4)  # height, width in cells of 4 pixels
    offsets[:, 5, 10] = 0.25, -0.5
    landmarks[:, 5, 10] = [0.25, 0.5] * 5  # y, x in box heights and widths
    boxes, scores, points = decode(heatmap, sizes, offsets, landmarks, 0.5)
    assert boxes[0] == pytest.approx([32, 11, 48, 35])
    assert scores == pytest.approx([0.9])
    assert points[0] == pytest.approx(np.tile([40, 17], (5, 1)))


def test_decode_of_an_empty_map_keeps_its_shapes() -> None:
    zeros = np.zeros((10, 4, 4), np.float32)
    boxes, scores, points = decode(zeros[0], zeros[:2], zeros[:2], zeros, 0.5)
    assert (boxes.shape, scores.shape, points.shape) == ((0, 4), (0,), (0, 5, 2))
