"""Figures: which limb owns which pixel, what is worn where, and that chance decides the rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anonymizer.redraw.figure import HAIR as HAIRS
from anonymizer.redraw.figure import Outfit, draw_figure, random_hair, random_outfit
from anonymizer.redraw.skeleton import Skeleton, skeleton
from anonymizer.types import JOINTS, Pose

#: A person 100 pixels high in a frame of 120 x 80 with one arm stretched out to the right of the picture.
PLACES = {
    "nose": (40, 18),
    "left_ear": (44, 17),
    "right_ear": (36, 17),
    "left_shoulder": (50, 30),
    "right_shoulder": (30, 30),
    "left_elbow": (62, 34),
    "right_elbow": (26, 46),
    "left_wrist": (71, 36),
    "right_wrist": (26, 58),
    "left_hand": (76, 37),
    "right_hand": (26, 63),
    "left_hip": (46, 60),
    "right_hip": (34, 60),
    "left_knee": (47, 82),
    "right_knee": (33, 82),
    "left_ankle": (47, 102),
    "right_ankle": (33, 102),
    "left_toe": (50, 108),
    "right_toe": (30, 108),
}
RED, BLUE, GREEN, WHITE = (200, 20, 20), (20, 20, 200), (20, 160, 20), (230, 230, 230)
SKIN, HAIR = np.array([200, 160, 20], np.float32), np.array([120, 20, 160], np.float32)
PLAIN = Outfit(RED, BLUE, WHITE, GREEN, sleeve=2.0, leg=1.95, hem=1.05, opening=0.0, collar=0.1, light=1.0, folds=1)


def body() -> Skeleton:
    points = np.array([PLACES[name] for name in JOINTS], np.float32)
    made = skeleton(Pose(points, np.ones(len(JOINTS), np.float32)), np.array([20, 8, 78, 110], np.float32), None)
    assert made is not None
    return made


def drawn(outfit: Outfit) -> np.ndarray:
    return draw_figure(np.ones((120, 80), bool), body(), outfit, SKIN, HAIR)


def like(pixel: np.ndarray, colour: tuple[int, int, int] | np.ndarray) -> bool:
    """Whether a pixel has this hue: its shade is free."""
    wanted = np.array(colour, np.float32)
    return bool(np.abs(pixel / np.linalg.norm(pixel) - wanted / np.linalg.norm(wanted)).max() < 0.12)


def test_every_limb_wears_its_own() -> None:
    made = drawn(PLAIN)
    for (x, y), colour in {
        (40, 45): RED,
        (58, 33): RED,
        (75, 37): SKIN,
        (33, 72): BLUE,
        (47, 92): BLUE,
        (49, 106): GREEN,
        (40, 15): HAIR,
    }.items():
        assert like(made[y, x], colour), (x, y, made[y, x])


def test_sleeves_trousers_and_coats_end_where_the_outfit_says() -> None:
    short = drawn(replace(PLAIN, sleeve=0.6, leg=0.8))
    assert like(short[31, 53], RED) and like(short[36, 69], SKIN)
    assert like(short[66, 34], BLUE) and like(short[94, 33], SKIN)
    coat = drawn(replace(PLAIN, hem=1.6))
    assert like(coat[68, 34], RED) and like(coat[80, 33], BLUE)


def test_an_open_jacket_shows_what_is_under_it_in_front_only() -> None:
    opened = replace(PLAIN, opening=0.3)
    assert like(drawn(opened)[50, 40], WHITE) and like(drawn(opened)[50, 31], RED)
    back = draw_figure(np.ones((120, 80), bool), replace(body(), frontal=False), opened, SKIN, HAIR)
    assert like(back[50, 40], RED)


def test_an_arm_that_was_not_seen_stays_behind_the_trunk() -> None:
    across = body()
    for name, place in (("elbow", (44, 44)), ("wrist", (36, 50)), ("hand", (32, 52))):
        across.points[f"left_{name}"] = np.array(place, np.float32)
    mask = np.ones((120, 80), bool)
    bare = replace(PLAIN, sleeve=0.0)
    assert like(draw_figure(mask, across, bare, SKIN, HAIR)[48, 39], SKIN)
    hidden = replace(across, seen=across.seen - {"left_elbow", "left_wrist", "left_hand"})
    assert like(draw_figure(mask, hidden, bare, SKIN, HAIR)[48, 39], RED)


def test_the_light_comes_from_one_side() -> None:
    left, right = drawn(replace(PLAIN, light=-1.0)), drawn(PLAIN)
    assert left[92, 30].sum() > right[92, 30].sum() and left[92, 36].sum() < right[92, 36].sum()


def test_the_outline_is_darker_than_the_middle() -> None:
    mask = np.zeros((120, 80), bool)
    mask[30:60, 30:50] = True
    made = draw_figure(mask, body(), PLAIN, SKIN, HAIR)
    whole = drawn(PLAIN)
    assert made[45, 31].sum() < whole[45, 31].sum() and np.isclose(made[45, 40].sum(), whole[45, 40].sum(), rtol=0.03)


def test_chance_decides_what_is_worn() -> None:
    outfits = [random_outfit(np.random.default_rng(n), RED, BLUE) for n in range(60)]
    assert {bool(o.opening) for o in outfits} == {False, True} and {o.light for o in outfits} == {-1.0, 1.0}
    assert any(o.sleeve < 1 for o in outfits) and any(o.sleeve > 1.5 for o in outfits)
    assert any(o.hem > 1.3 for o in outfits) and len({o.shoes for o in outfits}) > 2
    assert random_outfit(np.random.default_rng(7), RED, BLUE) == outfits[7]
    assert (drawn(replace(PLAIN, folds=1)) != drawn(replace(PLAIN, folds=2))).any()


@pytest.mark.parametrize("place", [(-200.0, -300.0), (500.0, 90.0)])
def test_a_body_out_of_the_frame_is_drawn_without_fault(place: tuple[float, float]) -> None:
    made = draw_figure(np.ones((60, 40), bool), body().moved(*place), PLAIN, SKIN, HAIR)
    assert made.shape == (60, 40, 3) and made.dtype == np.float32 and np.isfinite(made).all()


def test_a_head_from_the_side_has_its_face_in_front_and_hair_behind() -> None:
    plain = body()
    nose, head = plain.points["nose"], np.float32(plain.head)
    ear = nose + np.array([0.5 * head, 0], np.float32)
    turned = replace(plain, points={**plain.points, "left_ear": ear, "right_ear": ear}, frontal=False)
    turned = replace(turned, seen=turned.seen | {"left_ear", "nose"})
    assert turned.profile() == -1
    drawn_head = draw_figure(np.ones((120, 80), bool), turned, PLAIN, SKIN, HAIR)
    x, y = (round(float(v)) for v in nose)
    assert like(drawn_head[y + round(0.1 * head), x + round(0.2 * head)], SKIN)
    assert like(drawn_head[y - round(0.3 * head), x + round(0.5 * head)], HAIR)


def test_clothes_are_shades_of_the_colours_named_and_hair_is_drawn_by_chance() -> None:
    outfits = [random_outfit(np.random.default_rng(n), (200, 40, 40), (40, 40, 200)) for n in range(40)]
    assert len({outfit.upper for outfit in outfits}) == 40
    assert all(o.upper[0] > o.upper[1] == o.upper[2] and o.lower[2] > o.lower[0] == o.lower[1] for o in outfits)
    assert not any(o.leg < 1.5 and o.sleeve > 1.5 for o in outfits)  # no shorts below long sleeves
    colours = {tuple(random_hair(np.random.default_rng(n))) for n in range(60)}
    assert colours == {colour for colour, _ in HAIRS}
