"""Text of plates: choice among readings, layouts, new characters, and characters counted."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.core.readings import text_similarity
from anonymizer.redraw.plate_render import render_plate
from anonymizer.redraw.plate_text import (
    ARABIC_LAYOUT,
    character_groups,
    fake_text,
    plate_layout,
    plate_reading,
)


@given(st.text(st.sampled_from("ABCDZIOQaz0123456789 -·Жßبج٣٤\n"), min_size=1, max_size=12), st.integers(0, 999))
def test_fake_text_keeps_the_layout_and_differs_everywhere(text: str, seed: int) -> None:
    if not any(c.isalnum() for c in text):
        return
    fake = fake_text(text, np.random.default_rng(seed))
    assert len(fake) == len(text)
    for old, new in zip(text, fake, strict=True):
        if not old.isalnum():
            assert new == old
            continue
        assert new != old.upper() and new.isdigit() == old.isdigit() and new.isalpha() == old.isalpha()
        assert new.isascii() == (not "\u0600" <= old <= "\u06ff")


@pytest.mark.parametrize("unread", [None, "", " - "])
def test_without_a_reading_the_layout_is_filled(unread: str | None) -> None:
    fake = fake_text(unread, np.random.default_rng(0), "AA 00 AAA")
    assert fake[:2].isalpha() and fake[2] == " " and fake[3:5].isdigit() and fake[6:].isalpha()
    upper, lower = fake_text(None, np.random.default_rng(0), ARABIC_LAYOUT).split("\n")
    assert all(c.isalpha() and not c.isascii() for c in upper if c != " ")
    assert all(c.isdigit() and not c.isascii() for c in lower if c != " ")


@given(st.integers(0, 99))
def test_fake_text_resembles_no_other_text_of_the_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Of three characters one in ten would share two places with one of these by chance.
    avoid = [f"{letter}12" for letter in "ABCDEFGHJK"] + ["9"]
    drawn = [fake_text("X99", rng, avoid=avoid) for _ in range(10)]
    assert all(text_similarity(text, other) < 0.5 for text in drawn for other in avoid[:-1])


def test_where_everything_is_taken_the_least_similar_is_drawn() -> None:
    taken = [f"{n:03}" for n in range(1000)]
    assert fake_text("123", np.random.default_rng(0), avoid=taken).isdigit()


@pytest.mark.parametrize(
    ("lines", "aspect", "text"),
    [
        (("KR58 WTX",), 4.6, "KR58 WTX"),
        (("TEXAS", "BTZ-7148", "TEXASBTZ-7148"), 2.0, "BTZ-7148"),
        (("SUNSHINE STATE", "AB12CDE", "SUNSHINE STATEAB12CDE"), 2.0, "AB12CDE"),
        (("59 CADI", "COLLECTOR", "59 CADICOLLECTOR"), 2.0, "59 CADI"),
        (("WSQ", "3021", "WSQ3021"), 4.6, "WSQ 3021"),
        (("MH12", "AB1234", "MH12AB1234"), 1.3, "MH12\nAB1234"),
        (("1Z7:5233",), 4.0, "1Z7 5233"),
        (("JIT·7463",), 3.1, "JIT·7463"),
        (("myplate",), 2.0, "MYPLATE"),
        (("svra",), 1.1, None),
        (("SUNSHINE STATE",), 2.0, None),
        (("1",), 2.0, None),
        ((), 4.0, None),
    ],
)
def test_the_plates_own_text_is_told_from_lettering_around_it(
    lines: tuple[str, ...], aspect: float, text: str | None
) -> None:
    assert plate_reading(lines, aspect) == text


def test_layouts_follow_aspect_and_groups() -> None:
    assert "\n" in plate_layout(1.1)
    assert len(plate_layout(2.0)) < len(plate_layout(4.7))
    assert plate_layout(4.7, (2, 3, 2)) == "AA 000 AA"
    assert plate_layout(4.7, (6,)) == "AAA000" and plate_layout(4.7, (8,)) == "AAA00000"


@pytest.mark.parametrize(
    ("text", "groups"), [("ABC 123", (3, 3)), ("AB 12 CDE", (2, 2, 3)), ("HTR4827", (7,)), ("KL 5738", (2, 4))]
)
@pytest.mark.parametrize("dark", [False, True])
def test_characters_are_counted_without_reading_them(text: str, groups: tuple[int, ...], dark: bool) -> None:
    colours = ((30, 30, 40), (220, 220, 200)) if dark else ((230, 230, 220), (20, 20, 30))
    plate = cv2.resize(render_plate(text, (110, 480), *colours), (130, 30), interpolation=cv2.INTER_AREA)
    assert character_groups(cv2.cvtColor(plate, cv2.COLOR_RGB2GRAY), not dark) == groups


def test_where_characters_cannot_be_told_apart_none_are_counted() -> None:
    assert character_groups(np.full((30, 120), 200, np.uint8), True) == ()
    assert character_groups(np.full((8, 40), 200, np.uint8), True) == ()
    bars = np.full((30, 240), 230, np.uint8)
    for x in range(8, 232, 8):
        bars[8:22, x : x + 3] = 20
    assert character_groups(bars, True) == ()
