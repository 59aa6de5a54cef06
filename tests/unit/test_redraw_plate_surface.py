"""Surface of plates: places of lines, grain, compression."""

import cv2
import numpy as np
import pytest

from anonymizer.redraw.plate_corners import plate_quad
from anonymizer.redraw.plate_render import render_plate
from anonymizer.redraw.plate_surface import Place, Print, compressed, grained, measure_print

from .plates import masked, street

WHITE, BLACK = (240, 240, 240), (20, 20, 20)
SIZE = (60, 130)
LINE = Place(0.28, 0.8, 0.06, 0.94)


def flat(printed: Print, text: str = "KR 58 WTX", small: tuple[str, ...] = ()) -> np.ndarray:
    return render_plate(text, SIZE, WHITE, BLACK, (), printed, small)


def test_lines_are_found_where_they_stand() -> None:
    words = Place(0.08, 0.22, 0.2, 0.8)
    found = measure_print(flat(Print(LINE, (words,)), small=("MNB VCXH",)), 240, 20)
    assert found is not None and len(found.small) == 1
    assert found.characters.top == pytest.approx(LINE.top, abs=0.05)
    assert found.characters.bottom == pytest.approx(LINE.bottom, abs=0.05)
    assert found.small[0].bottom <= found.characters.top
    assert found.small[0].left == pytest.approx(words.left, abs=0.1)


def test_a_rim_and_a_dark_frame_are_no_small_print() -> None:
    plate = flat(Print(LINE))
    found = measure_print(plate, 240, 20)
    assert found is not None and found.small == ()
    plate[:10] = BLACK
    framed = measure_print(plate, 240, 20)
    assert framed is not None and framed.small == ()


def test_places_do_not_tell_the_text() -> None:
    found = {measure_print(flat(Print(LINE), text), 240, 20) for text in ("KR 58 WTX", "HD 93 BNM", "WMW 8888")}
    assert len(found) == 1


@pytest.mark.parametrize("plate", [np.full((60, 130, 3), 240, np.uint8), np.full((8, 20, 3), 240, np.uint8)])
def test_bare_and_tiny_plates_have_no_lines(plate: np.ndarray) -> None:
    assert measure_print(plate, 240, 20) is None
    assert measure_print(plate, 240, 240) is None


def test_grain_is_as_strong_as_on_bare_ground_and_ink_does_not_count() -> None:
    rng = np.random.default_rng(0)
    before = (200 + rng.normal(0, 3, (60, 120))).astype(np.float32)
    ground = np.ones(before.shape, bool)
    before[:, 50:60], ground[:, 48:62] = 20, False
    plate = np.full((60, 120, 3), 180, np.float32)
    out = grained(plate, before, ground, np.random.default_rng(1))
    assert 2 < out.std() < 5 and np.ptp(out, axis=2).max() < 1e-3
    assert np.allclose(grained(plate, np.full_like(before, 200), ground, rng), plate, atol=0.05)
    assert (grained(plate, before, np.zeros_like(ground), rng) == plate).all()


def test_detail_is_coded_as_the_picture_was() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)
    box = (5, 9, 69, 41)
    patch = np.ascontiguousarray(sharp[9:41, 5:69])
    assert (compressed(patch, box, sharp) == patch).all()  # No quality leaves noise as it is.
    coded = compressed(patch, box, cv2.GaussianBlur(sharp, (0, 0), 6))
    assert coded.shape == patch.shape and (coded != patch).mean() > 0.5


def test_a_long_plate_lies_as_its_ground_does_where_the_mask_is_an_upright_box() -> None:
    quad = [(110, 80), (290, 108), (288, 148), (108, 120)]
    image, plate = street(quad)
    box = [(109, 82), (291, 82), (291, 146), (109, 146)]
    found = plate_quad(image, masked(plate, box))
    assert np.linalg.norm(found - np.array(quad), axis=1).mean() < 0.03 * 180
