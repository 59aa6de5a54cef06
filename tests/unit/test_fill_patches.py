"""Patches of the surroundings over what is hidden."""

from __future__ import annotations

import numpy as np
import pytest

from anonymizer.fill.patches import ANYTHING, HALF, OBJECT, ONCE, Mosaic, mosaic, push_pull


def rng() -> np.random.Generator:
    return np.random.default_rng(2)


def fill(picture: np.ndarray, known: np.ndarray, kinds: np.ndarray | None = None) -> Mosaic:
    made = mosaic(picture, known, ~known, 224, rng(), kinds)
    assert made is not None
    return made


@pytest.fixture
def known() -> np.ndarray:
    out = np.ones((80, 120), bool)
    out[20:60, 40:80] = False
    return out


def noise() -> np.ndarray:
    return rng().integers(0, 256, (80, 120, 3), dtype=np.uint8)


def test_patches_lie_over_all_that_is_wanted(known: np.ndarray) -> None:
    made = fill(noise(), known)
    covered = np.zeros_like(known)
    for y, x in made.here:
        covered[max(y - HALF, 0) : y + HALF + 1, max(x - HALF, 0) : x + HALF + 1] = True
    assert made.size == known.shape and covered[~known].all()


def test_only_wholly_known_patches_are_repeated(known: np.ndarray) -> None:
    made = fill(noise(), known)
    for y, x in made.there:
        window = known[y - HALF : y + HALF + 1, x - HALF : x + HALF + 1]
        assert window.shape == (2 * HALF + 1, 2 * HALF + 1) and window.all()


def test_stripes_are_met_in_their_phase(known: np.ndarray) -> None:
    picture = np.full((80, 120, 3), 60, np.uint8)
    picture[:, (np.arange(120) // 6) % 2 == 0] = 180
    made = fill(picture, known)
    away = (made.there - made.here)[:, 1] % 12
    assert (np.minimum(away, 12 - away) <= 1).mean() > 0.9


def test_walls_and_ground_go_on_to_the_side(known: np.ndarray) -> None:
    picture = np.clip(rng().normal(120, 4, (80, 120, 3)), 0, 255).astype(np.uint8)
    made = fill(picture, known)
    away = np.abs(made.there - made.here)
    assert away[:, 0].mean() < 0.5 * away[:, 1].mean()


def test_the_same_chance_gives_the_same_patches(known: np.ndarray) -> None:
    one, two = fill(noise(), known), fill(noise(), known)
    assert np.array_equal(one.there, two.there) and np.array_equal(one.worth, two.worth)


def test_hidden_pixels_have_no_influence(known: np.ndarray) -> None:
    changed = noise()
    changed[~known] = 255 - changed[~known]
    one, two = fill(noise(), known), fill(changed, known)
    assert np.array_equal(one.there, two.there) and np.array_equal(one.worth, two.worth)


def dark_beside_the_hole() -> tuple[np.ndarray, np.ndarray]:
    """Return a light picture that is dark to the left of the hole, and where it is."""
    dark = np.zeros((80, 120), bool)
    dark[15:65, 12:40] = True
    picture = np.clip(rng().normal(200, 6, (80, 120, 3)), 0, 255).astype(np.uint8)
    picture[dark] //= 4
    return picture, dark


def repeated(made: Mosaic, where: np.ndarray) -> np.ndarray:
    """Return which patches repeat a place, bool (N,)."""
    return np.asarray(where[made.there[:, 0], made.there[:, 1]])


def test_lettering_is_not_repeated(known: np.ndarray) -> None:
    picture, dark = dark_beside_the_hole()
    kinds = np.where(dark, ONCE, ANYTHING).astype(np.uint8)
    assert repeated(fill(picture, known), dark).mean() > 0.2
    assert not repeated(fill(picture, known, kinds), dark).any()


def test_lettering_is_repeated_where_nothing_else_is(known: np.ndarray) -> None:
    made = fill(noise(), known, np.full(known.shape, ONCE, np.uint8))
    assert np.array_equal(made.there, fill(noise(), known).there)


def test_objects_are_repeated_inside_of_objects_only(known: np.ndarray) -> None:
    picture, dark = dark_beside_the_hole()
    kinds = np.where(dark, OBJECT, ANYTHING).astype(np.uint8)
    made = fill(picture, known, kinds)
    hole = ~known[made.here[:, 0], made.here[:, 1]]
    assert repeated(made, dark)[hole].mean() < 0.01
    kinds[15:65, 12:60] = OBJECT
    made = fill(picture, known, kinds)
    inside = kinds[made.here[:, 0], made.here[:, 1]] == OBJECT
    assert repeated(made, dark)[hole & inside].mean() > 0.2
    assert repeated(made, dark)[hole & ~inside].mean() < 0.01


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (64, 64), (65, 129)])
def test_where_no_whole_patch_is_known_nothing_is_made(size: tuple[int, int]) -> None:
    known = np.zeros(size, bool)
    known[0] = True
    assert mosaic(np.zeros((*size, 3), np.uint8), known, ~known, 224, rng()) is None


@pytest.mark.parametrize("size", [(1, 9), (7, 3), (40, 61)])
def test_smooth_completion_keeps_what_is_known_and_stays_in_its_range(size: tuple[int, int]) -> None:
    known = np.ones(size, bool)
    known[size[0] // 2, size[1] // 3 :] = False
    colours = rng().uniform(50, 90, (*size, 3)).astype(np.float32)
    made = push_pull(colours * known[..., None], known.astype(np.float32))
    assert np.allclose(made[known], colours[known], atol=1e-3)
    assert made.min() >= 50 - 1e-3 and made.max() <= 90 + 1e-3
