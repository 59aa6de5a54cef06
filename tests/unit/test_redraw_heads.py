"""Heads drawn around the place of a face: where hair, skin and neck come to lie, and that chance decides the rest."""

from __future__ import annotations

import numpy as np
import pytest

from anonymizer.redraw.heads import COUNT, Look, random_look, with_head

FACE = np.array([40, 30, 60, 56], np.float32)
HAIR, SKIN = np.array([20, 20, 200], np.float32), np.array([200, 120, 20], np.float32)
#: Middle of the face and what lies around it, x and y.
MIDDLE, CROWN, THROAT, BESIDE_THROAT, CHEST, FAR = (50, 43), (50, 22), (50, 61), (62, 63), (50, 90), (5, 43)


def drawn(long: bool) -> np.ndarray:
    look = Look(HAIR, SKIN, long, np.ones(COUNT, np.float32))
    return with_head(np.full((120, 100, 3), 100, np.float32), FACE, look)


def is_hair(pixel: np.ndarray) -> bool:
    return bool(pixel[2] > 120 > 60 > pixel[0])


def is_skin(pixel: np.ndarray) -> bool:
    return bool(pixel[0] > 120 > 60 > pixel[2])


@pytest.mark.parametrize("long", [False, True])
def test_hair_is_above_a_face_and_a_neck_below(long: bool) -> None:
    made = drawn(long)
    assert np.allclose(made[MIDDLE[::-1]], SKIN, rtol=0.02)
    assert is_hair(made[CROWN[::-1]])
    assert is_skin(made[THROAT[::-1]]) and made[THROAT[::-1]].mean() < SKIN.mean()
    for x, y in (CHEST, FAR):
        assert (made[y, x] == 100).all()


def test_a_head_has_the_same_neutral_features_for_everyone() -> None:
    made = drawn(False) / SKIN
    eye, cheek, mouth = (40, 46), (46, 45), (50, 50)
    assert made[eye][0] < 0.6 * made[cheek][0] and made[mouth][0] < 0.8 * made[cheek][0]


def test_long_hair_hangs_beside_the_neck_and_short_hair_does_not() -> None:
    assert is_hair(drawn(True)[BESIDE_THROAT[::-1]]) and not is_hair(drawn(False)[BESIDE_THROAT[::-1]])


def test_chance_decides_how_a_head_looks() -> None:
    looks = [random_look(np.random.default_rng(n), SKIN) for n in range(40)]
    assert {look.long for look in looks} == {False, True}
    assert len({look.hair.round().tobytes() for look in looks}) > 20
    assert all((look.skin == SKIN).all() for look in looks)
    again = random_look(np.random.default_rng(3), SKIN)
    assert (again.hair == looks[3].hair).all() and (again.strands == looks[3].strands).all()


def test_a_face_of_no_size_at_the_border_is_drawn_without_fault() -> None:
    look = random_look(np.random.default_rng(0), SKIN)
    for face in ([-30, -20, -5, 5], [10, 10, 10, 10], [95, 110, 140, 160]):
        made = with_head(np.full((120, 100, 3), 100, np.float32), np.array(face, np.float32), look)
        assert made.shape == (120, 100, 3) and made.dtype == np.float32 and np.isfinite(made).all()
