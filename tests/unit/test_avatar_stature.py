"""Stature: children are who is too small for the ground they stand on, and are drawn as such."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anonymizer.avatar import AvatarArtist
from anonymizer.avatar.body import Body, Shape
from anonymizer.avatar.stance import ROWS, Stance
from anonymizer.avatar.stature import children
from anonymizer.core.records import Instance, Rendering
from anonymizer.models import weights

from .avatars import drawn
from .test_avatar_fit import MIDDLE, SIZE, posed, standing


@pytest.fixture(scope="module")
def body() -> Body:
    return Body.load(weights.path("body"))[1]


@pytest.fixture(scope="module")
def shape(body: Body) -> Shape:
    return body.rest(MIDDLE)


def standing_on(body: Body, shape: Shape, number: int, x: float, scale: float, row: float) -> Instance:
    """Return somebody who stands with their feet on a row of the picture."""
    legs = float(posed(body, shape, standing())[0].box[3] - 190) / 180
    person, _ = posed(body, shape, standing(), scale, (x, row - legs * scale))
    return replace(person, id=number)


def test_who_is_too_small_for_the_ground_is_a_child(body: Body, shape: Shape) -> None:
    horizon = 100.0
    # Adults reach 1.75 m of scale for 1.6 of the way to the horizon.
    adults = [
        standing_on(body, shape, n, 40 + 60 * n, scale, horizon + 1.6 * scale)
        for n, scale in enumerate((70, 90, 110, 130))
    ]
    small = standing_on(body, shape, 9, 270, 0.6 * 90, horizon + 1.6 * 90)
    assert children([*adults, small], SIZE, horizon) == {9}
    assert not children([*adults, replace(small, box=small.box, body=None)], SIZE, horizon)
    # As tall as they are: somebody farther away.
    assert not children([*adults, standing_on(body, shape, 9, 270, 60, horizon + 1.6 * 60)], SIZE, horizon)
    # Two who stand elsewhere are not enough to tell how tall adults are, nor are people on steps.
    assert not children([*adults[:1], *adults[2:3], small], SIZE, horizon)
    steps = [standing_on(body, shape, n, 40 + 60 * n, 80, horizon + row) for n, row in enumerate((60, 110, 170, 250))]
    assert not children([*steps, small], SIZE, horizon)
    # Who sits is no child.
    seat = standing().rows.copy()
    for side in "LR":
        seat[ROWS.index(f"upperleg.{side}")] = 0.1, -0.99, -0.1
    sitting, _ = posed(
        body, shape, Stance(seat / np.linalg.norm(seat, axis=1, keepdims=True), standing().trust), 60, (250, 190)
    )
    assert not children([*adults, replace(sitting, id=9)], SIZE, horizon)


def test_one_adult_who_stands_as_far_away_is_enough(body: Body, shape: Shape) -> None:
    adult = standing_on(body, shape, 1, 80, 110, 276.0)
    small = standing_on(body, shape, 2, 250, 0.6 * 110, 276.0)
    # Wherever the horizon is.
    for horizon in (60.0, 100.0, 150.0):
        assert children([adult, small], SIZE, horizon) == {2}
    assert not children([small], SIZE, 100.0) and not children([adult], SIZE, 100.0)
    # Nearly as tall, or who stands farther away, is an adult.
    assert not children([adult, standing_on(body, shape, 2, 250, 0.8 * 110, 276.0)], SIZE, 100.0)
    assert not children([adult, standing_on(body, shape, 2, 250, 0.6 * 110, 225.0)], SIZE, 100.0)
    # Two who do not agree tell nothing.
    assert not children([adult, standing_on(body, shape, 3, 160, 0.72 * 110, 276.0), small], SIZE, 100.0)


def test_children_have_larger_heads(body: Body, shape: Shape) -> None:
    artist = AvatarArtist(
        weights.path("body"), weights.path("prototypes") / "textures.safetensors", weights.path("poses")
    )
    person, _ = posed(body, shape, standing())
    image = np.full((*SIZE, 3), 120, np.uint8)
    around, hidden, taken, young = artist.look(image, np.zeros(SIZE, np.bool_), [person], 100.0)
    assert not young

    def head(small: bool) -> float:
        scene = around, hidden, set(taken), frozenset({person.id} if small else ())
        made = drawn(artist, image, person, np.random.default_rng(3), None, scene)
        assert isinstance(made, Rendering)
        return float(np.ptp(made.joints[:5, 1]) + np.ptp(made.joints[:5, 0])) / float(made.joints[15:, 1].mean())

    assert head(True) > 1.1 * head(False)
