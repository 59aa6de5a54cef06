import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.errors import InputError
from anonymizer.redraw.plates import fake_text, plate_layout, plate_quad, redraw_plate, render_plate
from anonymizer.types import Instance


def street(quad: list[tuple[int, int]], text: str = "KR 58 WTX", noise: float = 0.0) -> tuple[np.ndarray, Instance]:
    """A dark car with a plate at a quad, and the plate's upright box with a full mask."""
    image = np.full((240, 400, 3), (70, 30, 34), np.uint8)
    flat = render_plate(text, (110, 520), (240, 240, 236), (24, 24, 30))
    source = np.array([[0, 0], [520, 0], [520, 110], [0, 110]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, np.array(quad, np.float32))
    cover = cv2.warpPerspective(np.full((110, 520), 255, np.uint8), matrix, (400, 240)) > 127
    image[cover] = cv2.warpPerspective(flat, matrix, (400, 240), flags=cv2.INTER_AREA)[cover]
    if noise:
        grain = np.random.default_rng(1).normal(0, noise, image.shape)
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
    corners = np.array(quad)
    x1, y1, x2, y2 = *(corners.min(0) - 3), *(corners.max(0) + 3)
    box = np.array([x1, y1, x2, y2], np.float32)
    return image, Instance(1, "license_plate", box, np.ones((y2 - y1, x2 - x1), bool))


FRONTAL = [(110, 90), (290, 90), (290, 128), (110, 128)]
TILTED = [(110, 80), (290, 108), (288, 148), (108, 120)]


@given(st.text(st.sampled_from("ABCDZIOQaz0123456789 -·Жß\n"), min_size=1, max_size=12), st.integers(0, 999))
def test_fake_text_keeps_the_layout_and_differs_everywhere(text, seed):
    if not any(c.isalnum() for c in text):
        return
    fake = fake_text(text, np.random.default_rng(seed))
    assert len(fake) == len(text)
    for old, new in zip(text, fake, strict=True):
        if old.isdigit():
            assert new.isdigit() and new != old
        elif old.isalpha():
            assert new.isalpha() and new.isascii() and new != old.upper()
        else:
            assert new == old


@pytest.mark.parametrize("unread", [None, "", " - "])
def test_without_a_reading_the_layout_is_filled(unread):
    fake = fake_text(unread, np.random.default_rng(0), "AA 00 AAA")
    assert fake[:2].isalpha() and fake[2] == " " and fake[3:5].isdigit() and fake[6:].isalpha()


def test_layout_follows_the_aspect():
    assert "\n" in plate_layout(1.1)
    assert len(plate_layout(2.0)) < len(plate_layout(4.7))


@pytest.mark.parametrize("quad", [FRONTAL, TILTED])
def test_corners_are_found_in_order(quad):
    image, plate = street(quad)
    assert np.abs(plate_quad(image, plate) - np.array(quad)).max() < 6


def test_corners_are_those_of_a_plate_that_one_look_shows_in_a_wider_box():
    image = np.full((80, 160, 3), 40, np.uint8)
    image[32:48, 50:110] = 220
    image[30:50, 120:140] = 220  # a lamp: apart from the plate by less than wide gaps would close
    views = np.array([[30, 10, 130, 70], [48, 31, 112, 50]], np.float32)
    plate = Instance(1, "license_plate", views[0], np.ones((60, 100), bool), views=views)
    quad = plate_quad(image, plate)
    assert np.abs(quad - [[50, 32], [110, 32], [110, 48], [50, 48]]).max() <= 2


def test_corners_fall_back_to_the_box_in_a_flat_picture():
    _, plate = street(FRONTAL)
    corners = plate_quad(np.full((240, 400, 3), 90, np.uint8), plate)
    assert corners[0] == pytest.approx(plate.box[:2], abs=4) and corners[2] == pytest.approx(plate.box[2:], abs=4)


def test_rendering_has_both_colours_and_fits_long_text():
    plate = render_plate("WWWWWWWWWWWWWW", (40, 120), (250, 206, 66), (10, 20, 30))
    assert plate.shape == (40, 120, 3)
    assert (plate == (250, 206, 66)).all(axis=2).mean() > 0.2
    assert (plate == (10, 20, 30)).all(axis=2).any()
    assert (plate[:, 0] == (250, 206, 66)).all()
    two = render_plate("ABC\n123", (80, 100), (255, 255, 255), (0, 0, 0))
    dark = (two < 128).all(axis=2)[8:-8, 8:-8].any(axis=1)
    assert np.diff(dark.astype(int)).tolist().count(1) >= 1 and not dark.all()
    with pytest.raises(InputError, match="plate size"):
        render_plate("A", (4, 100), (0, 0, 0), (255, 255, 255))


def test_a_redrawn_plate_keeps_colours_and_loses_its_text():
    image, plate = street(TILTED, noise=2.0)
    patch, alpha, box = redraw_plate(image, plate, "XY 21 BHQ", np.random.default_rng(0))
    before = image[box[1] : box[3], box[0] : box[2]]
    assert patch.shape == before.shape and patch.dtype == np.uint8
    assert alpha.dtype == np.float32 and np.array_equal(alpha > 0, plate.mask)
    assert np.abs(np.percentile(patch, 90) - np.percentile(before, 90)) < 20
    assert np.percentile(patch, 5) < 90
    middle = (slice(20, 40), slice(20, 160))
    assert (np.abs(patch[middle].astype(int) - before[middle]).max(axis=2) > 40).mean() > 0.15


def test_the_text_shown_is_the_one_asked_for():
    image, plate = street(FRONTAL)
    one, _, _ = redraw_plate(image, plate, "AB 12 CDE", np.random.default_rng(0))
    two, _, _ = redraw_plate(image, plate, "XY 34 ZWV", np.random.default_rng(0))
    assert (np.abs(one.astype(int) - two).max(axis=2) > 40).mean() > 0.1


def test_outside_the_corners_the_fill_comes_from_around_the_mask():
    image, plate = street(FRONTAL)
    x1, y1, x2, _ = (int(v) for v in plate.box)
    image[y1 : y1 + 2, x1:x2] = (0, 255, 0)  # a sticker within the mask, beside the plate
    patch, _, _ = redraw_plate(image, plate, "AB 12 CDE", np.random.default_rng(0))
    red, green, _ = patch[0, 20:160].astype(int).mean(axis=0)
    assert green < red + 60


def test_sharpness_follows_the_original():
    image, plate = street(FRONTAL)
    blurred = cv2.GaussianBlur(image, (0, 0), 2.0)

    def steepest(picture: np.ndarray) -> float:
        patch, _, _ = redraw_plate(picture, plate, "AB 12 CDE", np.random.default_rng(0))
        grey = patch[8:-8, 8:-8].mean(axis=2)
        return float(np.percentile(np.abs(np.diff(grey, axis=1)), 98))

    assert steepest(blurred) < 0.8 * steepest(image)


@pytest.mark.parametrize("box", [(-6, 100, 20, 112), (380, 230, 410, 250), (10, 10, 14, 12)])
def test_cut_and_tiny_plates_work(box):
    image, _ = street(FRONTAL)
    x1, y1, x2, y2 = box
    plate = Instance(1, "license_plate", np.array(box, np.float32), np.ones((y2 - y1, x2 - x1), bool))
    patch, alpha, _ = redraw_plate(image, plate, "AB 123", np.random.default_rng(0))
    assert patch.shape == (y2 - y1, x2 - x1, 3) and alpha.shape == (y2 - y1, x2 - x1)
