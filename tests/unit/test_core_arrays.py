"""Arrays: every form of a picture comes out as the same RGB uint8."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from anonymizer import as_rgb
from anonymizer.core.errors import InputError

RGB = np.array([[[255, 0, 10], [0, 128, 255]]], np.uint8)


@pytest.mark.parametrize(
    ("picture", "colour"),
    [
        (RGB, "rgb"),
        (RGB[..., ::-1], "bgr"),
        (RGB.astype(np.uint16) * 257, "rgb"),
        (RGB / 255, "rgb"),
        ((RGB / 255).astype(np.float32)[..., ::-1], "bgr"),
        (np.dstack([RGB, np.full((1, 2), 255, np.uint8)]), "rgb"),
        (Image.fromarray(RGB), "rgb"),
        (Image.fromarray(RGB).convert("RGBA"), "rgb"),
    ],
)
def test_every_form_gives_the_same_picture(picture: object, colour: str) -> None:
    out = as_rgb(picture, colour)  # type: ignore[arg-type]
    assert out.dtype == np.uint8 and out.flags.c_contiguous and np.array_equal(out, RGB)
    assert not np.shares_memory(out, RGB)


def test_grey_becomes_three_equal_channels() -> None:
    grey = np.array([[0, 7, 255]], np.uint8)
    for form in (grey, grey[..., None], Image.fromarray(grey), grey.astype(np.uint16) * 257):
        assert np.array_equal(as_rgb(form), np.repeat(grey[..., None], 3, 2))
    sixteen = Image.fromarray(grey.astype(np.uint16) * 257)
    assert sixteen.mode.startswith("I") and np.array_equal(as_rgb(sixteen)[..., 0], grey)


def test_alpha_is_flattened_onto_white() -> None:
    clear = np.array([[[10, 20, 30, 0], [10, 20, 30, 255]]], np.uint8)
    assert as_rgb(clear).tolist() == [[[255, 255, 255], [10, 20, 30]]]
    assert as_rgb(clear, "bgr").tolist() == [[[255, 255, 255], [30, 20, 10]]]
    assert as_rgb(Image.fromarray(clear)).tolist() == [[[255, 255, 255], [10, 20, 30]]]


def test_a_pillow_picture_is_turned_upright() -> None:
    picture = Image.fromarray(RGB)
    picture.getexif()[274] = 6
    assert as_rgb(picture).shape == (2, 1, 3)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((2, 2, 5), np.uint8), "1, 3 or 4 channels"),
        (np.zeros((0, 2, 3), np.uint8), "got \\(0, 2, 3\\)"),
        (np.zeros((2, 2, 3), np.int64), "uint8, uint16 or floating point, got int64"),
        (np.full((2, 2, 3), 200.0), "must lie in \\[0, 1\\], got 200"),
        (np.full((2, 2, 3), np.nan), "must lie in"),
        ("street.jpg", "got str"),
    ],
)
def test_other_things_are_refused(picture: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        as_rgb(picture)


def test_other_orders_of_channels_are_refused() -> None:
    with pytest.raises(InputError, match="expected rgb or bgr"):
        as_rgb(RGB, "grb")  # type: ignore[arg-type]
