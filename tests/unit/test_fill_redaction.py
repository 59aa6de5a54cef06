import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.fill import redact
from anonymizer.verify import pixels_replaced


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(5).integers(60, 200, (150, 200, 3), dtype=np.uint8)


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def block(y1: int, y2: int, x1: int, x2: int) -> np.ndarray:
    mask = np.zeros((150, 200), bool)
    mask[y1:y2, x1:x2] = True
    return mask


def test_outside_stays_and_inside_is_replaced(picture):
    mask = block(40, 90, 50, 120) | block(100, 130, 150, 190)
    out = redact(picture, mask, rng())
    assert np.array_equal(out[~mask], picture[~mask])
    assert pixels_replaced(picture, out, mask).passed


def test_nothing_inside_any_sensitive_mask_has_influence(picture):
    mask, other = block(40, 90, 50, 120), block(30, 100, 120, 170)
    changed = picture.copy()
    changed[mask | other] = 255 - changed[mask | other]
    before, after = (redact(p, mask, rng(), sensitive=mask | other) for p in (picture, changed))
    assert np.array_equal(before[mask], after[mask])


def test_the_fill_follows_the_surroundings():
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, :, 0] = np.linspace(20, 220, 200)[None]
    mask = np.zeros((100, 200), bool)
    mask[30:70, 60:140] = True
    out = redact(image, mask, rng()).astype(float)
    left, right = out[40:60, 62:70, 0].mean(), out[40:60, 130:138, 0].mean()
    assert left == pytest.approx(image[50, 66, 0], abs=30) and right == pytest.approx(image[50, 134, 0], abs=30)
    assert out[40:60, 80:120, 0].std() > 3  # noise


class Stripes:
    """Completes with what the window's known pixels are on average, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[np.ndarray, np.ndarray]] = []

    def complete(self, crop: np.ndarray, known: np.ndarray) -> np.ndarray:
        self.asked.append((crop, known))
        return np.full(crop.shape, crop[known].mean(axis=0), np.uint8)


def test_a_filler_makes_what_is_hidden_and_nothing_else(picture):
    mask, filler = block(40, 90, 50, 120), Stripes()
    out = redact(picture, mask, rng(), filler)
    (crop, known), *_ = filler.asked
    assert crop.shape == (150, 200, 3) and np.array_equal(known, ~mask)
    assert np.array_equal(out[~mask], picture[~mask])
    assert (out[mask] == picture[~mask].mean(axis=0).astype(np.uint8)).all()


def test_what_is_to_be_plain_gets_smooth_colours_with_noise(picture):
    mask, plain = block(40, 90, 50, 120), block(40, 90, 50, 80)
    out = redact(picture, mask, rng(), Stripes(), plain=plain)
    made = picture[~mask].mean(axis=0).astype(np.uint8)
    assert (out[mask & ~plain] == made).all() and (out[plain] == made).all(axis=1).mean() < 0.1


def test_holes_share_a_window_unless_they_are_far_apart_or_too_small_for_it():
    image = np.random.default_rng(2).integers(0, 255, (700, 2000, 3), dtype=np.uint8)
    mask = np.zeros((700, 2000), bool)
    mask[100:160, 100:140] = mask[120:180, 300:330] = True  # near each other
    mask[100:160, 1500:1540] = True  # far away
    filler = Stripes()
    redact(image, mask, rng(), filler)
    assert [crop.shape[:2] for crop, _ in filler.asked] == [(512, 512), (512, 512)]
    assert all(known.sum() < known.size for _, known in filler.asked)
    mask[:] = False
    mask[50:650, 300:700], mask[300:310, 900:910] = True, True
    filler = Stripes()
    redact(image, mask, rng(), filler)
    # The large one's window would leave nothing of a small one, which has its own.
    assert [crop.shape[:2] for crop, _ in filler.asked] == [(700, 1200), (512, 512)]


def test_every_hole_is_filled_once():
    holes = np.random.default_rng(4).random((900, 1400)) > 0.9995
    holes[20:500, 30:300] = holes[600:890, 1100:1390] = True
    image = np.full((900, 1400, 3), 90, np.uint8)
    image[holes] = 255
    out = redact(image, holes, rng(), Stripes())
    assert (out == 90).all()


def test_a_mask_over_everything_gives_grey(picture):
    out = redact(picture, np.ones((150, 200), bool), rng())
    assert out.mean() == pytest.approx(128, abs=1) and out.std() > 3


def test_far_surroundings_are_reached_where_the_near_ones_are_sensitive():
    image = np.full((300, 300, 3), 250, np.uint8)
    image[:, :20] = (10, 200, 10)
    sensitive = np.zeros((300, 300), bool)
    sensitive[:, 20:] = True
    mask = np.zeros((300, 300), bool)
    mask[200:220, 200:220] = True
    out = redact(image, mask, rng(), sensitive=sensitive)
    assert out[mask].mean(axis=0) == pytest.approx([10, 200, 10], abs=6)


def test_single_pixels_and_single_rows_work():
    image = np.full((1, 9, 3), 100, np.uint8)
    mask = np.zeros((1, 9), bool)
    mask[0, 4] = True
    out = redact(image, mask, rng())
    assert np.abs(out[0, 4].astype(int) - 100).max() < 40
    assert np.array_equal(redact(image, np.zeros((1, 9), bool), rng()), image)


def test_wrong_masks_are_refused(picture):
    with pytest.raises(InputError, match="mask"):
        redact(picture, np.ones((10, 10), bool), rng())
    with pytest.raises(InputError, match="plain"):
        redact(picture, block(1, 5, 1, 5), rng(), plain=np.ones((10, 10), bool))
    with pytest.raises(InputError, match="sensitive"):
        redact(picture, block(0, 5, 0, 5), rng(), sensitive=np.zeros((150, 200), np.uint8))
