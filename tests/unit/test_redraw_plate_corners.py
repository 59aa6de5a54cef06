"""Corners of plates: from masks, refined on edges, from contrast, from boxes."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymizer.core.records import Instance
from anonymizer.redraw.plate_corners import plate_quad, stands_out

from .plates import FRONTAL, TILTED, masked, street


def error(found: np.ndarray, quad: list[tuple[int, int]]) -> float:
    return float(np.linalg.norm(found - np.array(quad), axis=1).mean() / (quad[1][0] - quad[0][0]))


@pytest.mark.parametrize("quad", [FRONTAL, TILTED])
@pytest.mark.parametrize("shift", [-3.0, 0.0, 3.0])
def test_a_mask_gives_corners_and_edges_mend_them(quad: list[tuple[int, int]], shift: float) -> None:
    image, plate = street(quad, wider=6)
    assert error(plate_quad(image, masked(plate, quad, shift)), quad) < 0.02
    flat = np.full_like(image, 90)
    assert error(plate_quad(flat, masked(plate, quad, shift)), quad) < 0.03


@given(st.integers(-25, 25), st.integers(-14, 14), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_corners_of_rolled_and_slanted_plates(roll: int, lean: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    angle, across, down = np.radians(roll), rng.uniform(120, 200), rng.uniform(40, 60)
    right = np.array([np.cos(angle), np.sin(angle)]) * across
    below = np.array([np.sin(np.radians(lean) - angle), np.cos(np.radians(lean) - angle)]) * down
    start = np.array([200.0, 120.0]) - (right + below) / 2
    quad = [tuple(int(v) for v in corner) for corner in (start, start + right, start + right + below, start + below)]
    image, plate = street(quad)  # type: ignore[arg-type]
    assert error(plate_quad(image, masked(plate, quad)), quad) < 0.03  # type: ignore[arg-type]


def test_a_mask_of_half_a_plate_does_not_count() -> None:
    image, plate = street(FRONTAL)
    found = plate_quad(image, masked(plate, FRONTAL, keep=0.4))
    assert error(found, FRONTAL) < 0.04


@pytest.mark.parametrize("quad", [FRONTAL, TILTED])
def test_corners_are_found_in_order_without_a_mask(quad: list[tuple[int, int]]) -> None:
    image, plate = street(quad)
    assert np.abs(plate_quad(image, plate) - np.array(quad)).max() < 6


def test_corners_are_those_of_a_plate_that_one_view_shows_in_a_wider_box() -> None:
    image = np.full((80, 160, 3), 40, np.uint8)
    image[32:48, 50:110] = 220
    image[30:50, 120:140] = 220  # A lamp: apart from the plate by less than wide gaps would close.
    views = np.array([[30, 10, 130, 70], [48, 31, 112, 50]], np.float32)
    plate = Instance(1, "license_plate", views[0], np.ones((60, 100), bool), views=views)
    quad = plate_quad(image, plate)
    assert np.abs(quad - [[50, 32], [110, 32], [110, 48], [50, 48]]).max() <= 2


def test_corners_fall_back_to_the_box_in_a_flat_picture() -> None:
    _, plate = street(FRONTAL)
    corners = plate_quad(np.full((240, 400, 3), 90, np.uint8), plate)
    assert corners[0] == pytest.approx(plate.box[:2], abs=4) and corners[2] == pytest.approx(plate.box[2:], abs=4)


def test_text_on_a_ground_of_its_own_stands_out_and_lettering_on_metal_does_not() -> None:
    image, plate = street(FRONTAL)
    assert stands_out(image, plate)
    bare = np.full_like(image, (70, 30, 34))
    cv2.putText(bare, "GS 300", (120, 122), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (220, 220, 220), 3)
    assert not stands_out(bare, plate)
