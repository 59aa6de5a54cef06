"""Pieces of the surroundings in what is hidden."""

from __future__ import annotations

import numpy as np
import pytest

from anonymizer.verify.exemplar import exemplar

Floats = np.ndarray


def rng() -> np.random.Generator:
    return np.random.default_rng(2)


def fill(picture: Floats, known: np.ndarray) -> tuple[Floats, np.ndarray]:
    hidden = np.where(known[..., None], picture, picture[known].mean(axis=0)).astype(np.float32)
    made = exemplar(hidden, known, rng())
    assert made is not None
    return made.colours, made.places


@pytest.fixture
def known() -> np.ndarray:
    out = np.ones((80, 120), bool)
    out[20:60, 40:80] = False
    return out


def test_stripes_go_on_through_what_is_hidden(known: np.ndarray) -> None:
    picture = np.full((80, 120, 3), 60, np.float32)
    picture[:, (np.arange(120) // 4) % 2 == 0] = 180
    colours, _ = fill(picture, known)
    assert np.abs(colours - picture)[~known].mean() < 15
    smooth = np.abs(picture[known].mean(axis=0) - picture[~known]).mean()
    assert smooth > 50  # what a smooth fill would be off by


def test_only_known_pixels_are_repeated_and_known_ones_stay(known: np.ndarray) -> None:
    picture = rng().uniform(0, 255, (80, 120, 3)).astype(np.float32)
    colours, places = fill(picture, known)
    assert np.array_equal(colours[known], picture[known])
    assert known[places[..., 0], places[..., 1]].all()
    assert np.array_equal(places[known], np.argwhere(known))


def test_walls_and_ground_go_on_to_the_side(known: np.ndarray) -> None:
    picture = rng().normal(120, 4, (80, 120, 3)).astype(np.float32)
    _, places = fill(picture, known)
    away = np.abs(places - np.moveaxis(np.indices(known.shape), 0, 2))[~known]
    assert away[:, 0].mean() < 0.5 * away[:, 1].mean()


def test_the_same_chance_gives_the_same_fill(known: np.ndarray) -> None:
    picture = rng().uniform(0, 255, (80, 120, 3)).astype(np.float32)
    assert np.array_equal(fill(picture, known)[0], fill(picture, known)[0])


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (64, 64), (65, 129)])
def test_where_no_whole_patch_is_known_nothing_is_made(size: tuple[int, int]) -> None:
    known = np.zeros(size, bool)
    known[0] = True
    assert exemplar(np.zeros((*size, 3), np.float32), known, rng()) is None


def test_a_picture_of_known_pixels_alone_comes_back() -> None:
    picture = rng().uniform(0, 255, (70, 90, 3)).astype(np.float32)
    made = exemplar(picture, np.ones((70, 90), bool), rng())
    assert made is not None and np.array_equal(made.colours, picture)
