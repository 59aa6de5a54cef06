"""Avatars in a redraw: what shows of them, and that nothing of the original does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from anonymizer.geometry import full_mask
from anonymizer.pipeline import Anonymizer, Settings
from anonymizer.redraw.avatars import cover, draw_avatars, pasted, rendered_conditions, shown_as
from anonymizer.redraw.galleries import FaceGallery, PersonGallery
from anonymizer.redraw.prototypes import Prototypes
from anonymizer.redraw.redrawer import Redrawer
from anonymizer.types import Conditions, Image, Instance, Rendering
from anonymizer.verify.verifier import Verifier

from .test_pipeline import CROPS, FACE, PERSON, SIZE, Detector, Painter, picture

#: Where the avatar is drawn: narrower than the person.
BOX = (22, 22, 48, 79)


def rendering(box: tuple[int, int, int, int] = BOX, shade: int = 90) -> Rendering:
    size = box[3] - box[1], box[2] - box[0]
    ones = np.ones(size, np.float32)
    return Rendering(
        box=box,
        rgb=np.full((*size, 3), shade, np.uint8),
        alpha=ones,
        depth=ones,
        edges=ones * 0,
        joints=np.zeros((17, 3), np.float32),
        parts=np.ones(size, np.uint8),
        residual=0.0,
    )


class Artist:
    """Draws the same avatar for everybody and remembers the picture that it saw."""

    def __init__(self, drawn: Rendering | None) -> None:
        self.drawn = drawn
        self.seen: list[Image] = []

    def draw(
        self, image: Image, person: Instance, rng: np.random.Generator, face: Instance | None = None
    ) -> Rendering | None:
        self.seen.append(image)
        return self.drawn


class Brightness:
    """Depth and edges that are the picture's own brightness."""

    def estimate(self, image: Image, instances: Sequence[Instance]) -> np.ndarray:
        return image.mean(axis=2).astype(np.float32) / 255

    def detect(self, image: Image) -> np.ndarray:
        return image.mean(axis=2).astype(np.float32) / 255


def test_an_avatar_shows_inside_the_safe_mask_alone_and_becomes_the_outline() -> None:
    wide = rendering((10, 24, 60, 78))
    shown = cover(PERSON, wide, SIZE)
    person = shown_as(PERSON, wide)
    assert 0 < shown.sum() < wide.alpha.sum()
    assert np.array_equal(person.mask, PERSON.mask) and not (person.outline & ~person.mask).any()
    assert person.outline.sum() < PERSON.mask.sum()


def test_an_avatar_that_is_mostly_cut_off_is_left_out() -> None:
    image = picture()
    assert set(draw_avatars(Artist(rendering()), image, [PERSON], {1: 5}, {})) == {1}
    assert not draw_avatars(Artist(rendering((40, 20, 90, 80))), image, [PERSON], {1: 5}, {})
    assert not draw_avatars(Artist(rendering((30, 24, 40, 60))), image, [PERSON], {1: 5}, {}), "it covers too little"
    assert not draw_avatars(Artist(None), image, [PERSON], {1: 5}, {})


def test_conditions_inside_persons_are_those_of_the_avatars() -> None:
    clean = np.full((*SIZE, 3), 51, np.uint8)
    given = Conditions(np.ones(SIZE, np.float32), np.ones(SIZE, np.float32))
    person = shown_as(PERSON, rendering())
    mixed = rendered_conditions(clean, [person], {1: rendering()}, given, Brightness(), Brightness())
    inside = full_mask(PERSON, SIZE)
    assert np.isclose(mixed.edges[inside][:, None], [51 / 255, 90 / 255]).any(axis=1).all()
    assert mixed.edges[0, 0] == 1


def test_a_pasted_avatar_lies_where_the_crop_shows_it() -> None:
    crop = pasted(np.zeros((20, 20, 3), np.uint8), (20, 20, 40, 40), rendering())
    assert (crop[2:, 2:] == 90).all() and not crop[:2].any() and not crop[:, :2].any()


@pytest.fixture
def galleries() -> tuple[FaceGallery, PersonGallery]:
    from anonymizer import weights

    folder = weights.path("prototypes")
    return FaceGallery.load(folder / "faces.safetensors"), PersonGallery.load(folder / "persons.safetensors")


def test_nothing_under_the_masks_enters_the_result(galleries: tuple[FaceGallery, PersonGallery]) -> None:
    """What is under the masks is replaced by noise after detection: the result stays the same, bit for bit."""
    found = (PERSON, FACE)
    settings = Settings(("person", "face"), "body", 3, {"person": 1, "face": 1}, 1, {}, {})
    detector, seen = Detector(lambda _: found), Brightness()
    results = []
    for noise in (0, 1):
        image = picture()
        treated = full_mask(PERSON, SIZE) | full_mask(FACE, SIZE)
        image[treated] = np.random.default_rng(noise).integers(0, 256, (int(treated.sum()), 3), dtype=np.uint8)
        painter, artist = Painter(), Artist(rendering())
        redrawer = Redrawer(painter, CROPS, Prototypes(*galleries, {"person": 0.2}), avatar_strength=0.1)
        anonymizer = Anonymizer(
            detector=detector,
            depth=seen,
            edges=seen,
            artist=artist,
            redrawer=redrawer,
            verifier=Verifier(detector),
            settings=settings,
            description={},
        )
        result = anonymizer(image)
        assert [t.action for t in result.treatments] == ["redrawn", "redrawn"]
        assert len(painter.jobs) == 1, "the face is the avatar's"
        assert painter.jobs[0].strength == 0.1
        results.append(result)
    assert np.array_equal(results[0].treated, results[1].treated)
    inside = results[0].treated
    assert np.array_equal(results[0].image[inside], results[1].image[inside])


def test_a_person_whose_avatar_fails_has_their_own_outline_again(galleries: tuple[FaceGallery, PersonGallery]) -> None:
    image, calls = picture(), []

    def find(_: Image) -> tuple[Instance, ...]:
        calls.append(1)
        return (PERSON,) if len(calls) == 1 else ()

    detector, seen = Detector(find), Brightness()
    redrawer = Redrawer(Painter(), CROPS, Prototypes(*galleries, {"person": 0.2}), avatar_strength=0.1)
    anonymizer = Anonymizer(
        detector=detector,
        depth=seen,
        edges=seen,
        artist=Artist(rendering()),
        redrawer=redrawer,
        verifier=Verifier(detector),
        settings=Settings(("person",), "body", 3, {"person": 2}, 1, {}, {}),
        description={},
    )
    result = anonymizer(image)
    assert [(t.action, t.attempts) for t in result.treatments] == [("redacted", 2)]
    assert np.array_equal(result.instances[0].outline, PERSON.outline)
