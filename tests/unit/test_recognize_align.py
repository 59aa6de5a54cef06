from __future__ import annotations

import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.recognize.align import (
    ARCFACE_TEMPLATE,
    align,
    face_square,
    landmarks_from_box,
    neighbourhood,
    similarity,
)


def test_similarity_recovers_turn_scale_and_shift() -> None:
    turn, scale = 0.4, 2.5
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = ARCFACE_TEMPLATE @ matrix.T + (30, -8)
    assert similarity(ARCFACE_TEMPLATE, moved) == pytest.approx(np.hstack([matrix, [[30], [-8]]]), abs=1e-3)


def test_similarity_never_mirrors() -> None:
    mirrored = ARCFACE_TEMPLATE * (-1, 1)
    assert np.linalg.det(similarity(ARCFACE_TEMPLATE, mirrored)[:, :2]) > 0


def test_points_in_one_place_are_refused() -> None:
    with pytest.raises(InputError, match="distinct"):
        similarity(np.ones((5, 2), np.float32), ARCFACE_TEMPLATE)


def test_align_brings_landmarks_to_the_template() -> None:
    image = np.zeros((300, 300, 3), np.uint8)
    landmarks = ARCFACE_TEMPLATE * 2 + 20
    x, y = np.rint(landmarks[2]).astype(int)
    image[y - 3 : y + 4, x - 3 : x + 4] = 255
    chip = align(image, landmarks, ARCFACE_TEMPLATE, 112)
    rows, columns = np.nonzero(chip[..., 0] > 128)
    assert [columns.mean(), rows.mean()] == pytest.approx(ARCFACE_TEMPLATE[2], abs=0.7)


def test_neighbourhood_is_cut_around_the_face_and_inside_the_picture() -> None:
    part, corner = neighbourhood(np.zeros((500, 900, 3), np.uint8), np.array([10, 100, 50, 160], np.float32))
    assert corner.tolist() == [0, 70]
    assert part.shape == (120, 80, 3)
    with pytest.raises(InputError, match="inside"):
        neighbourhood(np.zeros((50, 50, 3), np.uint8), np.array([90, 90, 95, 99], np.float32))


def test_square_from_box_and_from_landmarks_agree() -> None:
    box = np.array([100, 100, 220, 250], np.float32)
    by_box, by_points = face_square(box, None), face_square(box, landmarks_from_box(box))
    assert by_box == pytest.approx(by_points, abs=0.12 * 150)
