import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.fill import redact, redaction, safe_fill
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
    before, after = redact(picture, mask, rng(), mask | other), redact(changed, mask, rng(), mask | other)
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


def test_light_goes_on_across_the_border():
    across = np.linspace(40, 200, 200)[None, :, None] + np.zeros((150, 1, 3))
    image = np.clip(across + np.random.default_rng(3).normal(0, 5, (150, 200, 3)), 0, 255).astype(np.uint8)
    mask = block(30, 120, 80, 130)
    out = redact(image, mask, rng()).astype(float)
    for x in (80, 130):
        assert abs(out[40:110, x - 3 : x].mean() - out[40:110, x : x + 3].mean()) < 8
    assert out[40:110, 85:125].std(axis=0).mean() > 2.5  # the noise goes on as well


def striped() -> np.ndarray:
    image = np.full((150, 200, 3), 90, np.uint8)
    image[:, ::4] = image[:, 1::4] = 150
    return image


def contrast(image: np.ndarray) -> float:
    return float(np.abs(np.diff(image.astype(float).mean(axis=(0, 2)), 2)).mean())


def test_texture_goes_on_unless_the_fill_is_to_be_plain():
    mask = block(30, 120, 40, 160)
    out = redact(striped(), mask, rng())
    near, deep = contrast(out[40:110, 42:50]), contrast(out[60:90, 90:110])
    assert min(near, deep) > 0.5 * contrast(striped()[40:110, 42:50])
    plain = redact(striped(), mask, rng(), plain=mask)
    assert contrast(plain[40:110, 42:50]) < 0.1 * near
    assert plain[60:90, 90:110].std() > 3  # noise


def test_sensitive_texture_is_not_repeated():
    image = np.full((150, 200, 3), 120, np.uint8)
    sensitive = block(30, 120, 20, 60)
    image[sensitive] = striped()[sensitive]
    mask = block(30, 120, 62, 100)
    out = redact(image, mask, rng(), mask | sensitive)
    assert contrast(out[35:115, 63:75]) < 3


def test_large_masks_are_filled_in_blocks_without_a_seam(monkeypatch):
    mask = block(10, 140, 40, 160)
    whole = redact(striped(), mask, rng())
    monkeypatch.setattr(redaction, "BLOCK", 16)
    assert np.array_equal(redact(striped(), mask, rng()), whole)


def test_a_mask_over_everything_gives_grey(picture):
    out = redact(picture, np.ones((150, 200), bool), rng())
    assert out.mean() == pytest.approx(128, abs=1) and out.std() > 3


def test_far_surroundings_are_reached_where_the_near_ones_are_sensitive():
    image = np.full((300, 300, 3), 250, np.uint8)
    image[:, :20] = (10, 200, 10)
    sensitive = np.zeros((300, 300), bool)
    sensitive[:, 20:] = True
    out = safe_fill(image, sensitive, (200, 200, 220, 220), rng())
    assert out.mean(axis=(0, 1)) == pytest.approx([10, 200, 10], abs=6)


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
        redact(picture, block(0, 5, 0, 5), rng(), np.zeros((150, 200), np.uint8))
    with pytest.raises(InputError, match="kinds"):
        redact(picture, block(0, 5, 0, 5), rng(), kinds=np.zeros((150, 200), np.bool_))
