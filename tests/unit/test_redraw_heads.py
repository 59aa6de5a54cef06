"""Heads of prototypes: hair and neck of an average, fitted to an outline, without anybody's features."""

from __future__ import annotations

import numpy as np
import pytest

from anonymizer.redraw.galleries import FaceGallery, put_head
from anonymizer.redraw.heads import Head, faceless, fitted, hair_colour, shoulderless, skin_colour
from anonymizer.weights import path as weight_path

#: Eyes, nose and corners of the mouth in a frame of 128 pixels.
MARKS = np.array([[50, 57], [78, 57], [64, 73], [53, 87], [75, 87]], np.float32)
HAIR, SKIN, BEHIND = (20, 20, 200), (200, 120, 20), (0, 255, 0)


def disc(half_width: float, half_height: float) -> np.ndarray:
    rows, columns = np.mgrid[:128, :128]
    return np.hypot((columns - 64) / half_width, (rows - 66) / half_height) <= 1


def head() -> Head:
    """An oval face with hair around it and a collar below, in front of green."""
    pixels = np.zeros((128, 128, 4), np.uint8)
    pixels[..., :3] = BEHIND
    hair, face, collar = disc(38, 50), disc(28, 38), np.zeros((128, 128), bool)
    collar[112:, 20:108] = True
    for where, colour in ((collar, (9, 9, 9)), (hair, HAIR), (face, SKIN)):
        pixels[where] = (*colour, 255)
    return Head(pixels, MARKS)


def test_colours_are_those_of_cheeks_and_crown() -> None:
    assert tuple(skin_colour(head())) == SKIN and tuple(hair_colour(head())) == HAIR
    bald = head()
    bald.pixels[..., 3] = 0
    assert np.isfinite(hair_colour(bald)).all()


def test_a_head_without_features_shows_nothing_of_what_was_behind_it_or_of_its_face() -> None:
    plain = head()
    marked = head()
    for x, y in MARKS.astype(int):
        marked.pixels[y - 1 : y + 2, x - 1 : x + 2, :3] = 255
    made, other = faceless(plain).astype(int), faceless(marked).astype(int)
    assert (made[..., 1] < 160).all()  # No green.
    # White marks on eyes, nose and mouth are blurred to a shimmer.
    assert np.abs(made - other).max() < 30
    assert made[57, 50].sum() < 0.7 * made[64, 64].sum()  # An eye is darker than the nose's bridge for everyone.


def test_beyond_a_head_its_hair_goes_on() -> None:
    made = faceless(head()).astype(int)
    corner = made[:20, :20].reshape(-1, 3)
    assert np.abs(corner.mean(axis=0) - HAIR).max() < 40 and corner.std(axis=0).max() > 1


def test_a_head_has_a_neck_and_no_shoulders() -> None:
    own = shoulderless(head())
    assert own[20, 64] == own[66, 64] == 1
    assert own[116, 30] == 0 and own[126, 64] == 0 and own[60, 2] == 0


@pytest.mark.parametrize(("half_width", "half_height"), [(50, 60), (33, 42)])
def test_hair_is_fitted_to_an_outline_and_the_face_stays(half_width: float, half_height: float) -> None:
    outline = disc(half_width, half_height)
    made = fitted(head(), outline)
    upper = np.s_[:60]
    own = made.pixels[..., 3] > 127
    before = (head().pixels[..., 3] > 127)[upper] != outline[upper]
    assert (own[upper] != outline[upper]).sum() < 0.25 * before.sum()
    inner = disc(20, 28)
    assert np.abs(made.pixels[inner][:, :3].astype(int) - head().pixels[inner][:, :3]).max() <= 2
    # The collar does not move.
    assert np.array_equal(made.pixels[122:, 40:88, :3], head().pixels[122:, 40:88, :3])


def test_hair_is_not_stretched_without_end() -> None:
    made = fitted(head(), np.ones((128, 128), bool))
    assert not (made.pixels[..., 3] > 127)[40, [1, 126]].any()
    assert (fitted(head(), np.zeros((128, 128), bool)).pixels[66, 64, :3] == SKIN).all()


def test_fitting_reads_nothing_but_the_head_and_the_outline() -> None:
    """What lies beyond the frame must not be what happened to be in memory."""
    outline, made = np.ones((128, 128), bool), []
    for filling in (0, 255, 1, 254):
        for size in (128 * 180, 128 * 128, 4 * 128 * 128):
            np.full(size, filling, np.uint8)
        made.append(fitted(head(), outline).pixels)
    assert all(np.array_equal(made[0], other) for other in made[1:])


def test_the_candidate_that_fills_an_outline_is_taken() -> None:
    narrow, wide = head(), head()
    wide.pixels[disc(60, 60)] = (*HAIR, 255)
    gallery = FaceGallery(np.stack([narrow.pixels, wide.pixels]), np.stack([MARKS, MARKS]), 12)
    chosen = [gallery.fitting(disc(60, 60), MARKS, np.random.default_rng(n)) for n in range(8)]
    assert sum(bool((h.pixels[66, 64, :3] == HAIR).all()) for h in chosen) >= 7  # Six draws from two may miss one.


def test_a_head_is_put_where_the_landmarks_are() -> None:
    content = np.full((200, 160, 3), 100, np.float32)
    made = put_head(content, MARKS + np.float32([10, 20]), head())
    assert np.abs(made[86, 74] - SKIN).max() < 40 and np.abs(made[42, 74] - HAIR).max() < 60
    assert (made[180] == 100).all() and (made[:, 155] == 100).all()


@pytest.mark.parametrize("place", [(-90, -90), (0, 0), (150, 190)])
def test_a_face_of_no_size_or_at_the_border_is_drawn_without_fault(place: tuple[int, int]) -> None:
    gallery = FaceGallery.load(weight_path("prototypes") / "faces.safetensors")
    for size in (0.0, 0.02, 1.0):
        marks = (MARKS * np.float32(size) + np.array(place, np.float32)).astype(np.float32)
        chosen = gallery.fitting(np.ones((60, 50), bool), marks, np.random.default_rng(0))
        made = put_head(np.full((120, 100, 3), 100, np.float32), marks, chosen)
        assert made.shape == (120, 100, 3) and made.dtype == np.float32 and np.isfinite(made).all()
