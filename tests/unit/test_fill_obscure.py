"""Obscuring: what is left of a box, and where it may be asked for."""

from __future__ import annotations

import numpy as np
import pytest

from anonymizer.config import presets
from anonymizer.core.errors import InputError
from anonymizer.fill import obscure

BOX = (10, 20, 42, 52)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (80, 90, 3)).astype(np.uint8)


@pytest.mark.parametrize("method", ["blur", "mosaic", "solid", "blank"])
def test_little_of_the_detail_is_left(picture: np.ndarray, method: str) -> None:
    before = picture.copy()
    made = obscure(picture, BOX, method)
    assert made.shape == (32, 32, 3) and made.dtype == np.uint8 and np.array_equal(picture, before)
    inner = picture[20:52, 10:42]
    assert made.std() < inner.std() / 2
    assert (made == inner).all(2).mean() < 0.05


def test_strength_widens_blur_and_cells(picture: np.ndarray) -> None:
    for method in ("blur", "mosaic"):
        spread = [float(obscure(picture, BOX, method, strength).std()) for strength in (0.5, 1.0, 3.0)]
        assert spread[0] > spread[1] > spread[2], method
    assert not obscure(picture, BOX, "solid").any()
    plate = np.full((80, 90, 3), 230, np.uint8)
    plate[30:35, 15:35] = 20
    assert (obscure(plate, BOX, "blank") == 230).all()


@pytest.mark.parametrize(("method", "strength"), [("pixelate", 1.0), ("blur", 0.1), ("blur", 9.0)])
def test_other_methods_and_strengths_are_refused(picture: np.ndarray, method: str, strength: float) -> None:
    with pytest.raises(InputError, match="expected"):
        obscure(picture, BOX, method, strength)


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ({"dog": "blur"}, "'dog' is not among the classes to treat"),
        ({"face": "smear"}, "expected redraw or one of blur, mosaic, solid, blank, got 'smear'"),
        ({"face": "blank"}, "blank is for license_plate only"),
    ],
)
def test_methods_are_checked_before_anything_is_loaded(methods: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        presets.build("embedded", methods=methods)
