"""Plates rendered flat and redrawn in the picture: colours, bands, light, sharpness, nothing of the original's text."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest

from anonymizer.core.errors import InputError, ModelError
from anonymizer.core.records import Instance
from anonymizer.fill import redact
from anonymizer.redraw import plate_render, plates
from anonymizer.redraw.crops import anonymized_mask, anonymized_region
from anonymizer.redraw.plate_render import Band, render_plate
from anonymizer.redraw.plates import redraw_plate

from .plates import FRONTAL, TILTED, masked, street

SQUARE = [(140, 60), (260, 60), (260, 160), (140, 160)]
BLUE = (20, 70, 190)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Band, ...]]]:
    """Texts and bands of the plates that are rendered."""
    out: list[tuple[str, tuple[Band, ...]]] = []

    def record(text: str, size: tuple[int, int], ground: Any, ink: Any, bands: tuple[Band, ...], *print_: Any) -> Any:
        out.append((text, bands))
        return render_plate(text, size, ground, ink, bands, *print_)

    monkeypatch.setattr(plates, "render_plate", record)
    return out


def filled(image: np.ndarray, plate: Instance) -> np.ndarray:
    """Return the picture with the plate filled from around it."""
    return redact(image, anonymized_mask([plate], image.shape[:2]), np.random.default_rng(0))


def redrawn(image: np.ndarray, plate: Instance, lines: Sequence[str] = ("KR 58 WTX",), seed: int = 0) -> np.ndarray:
    """Return the plate's box with its new content."""
    (x1, y1, *_), _ = anonymized_region(plate, image.shape[:2])
    region = redraw_plate(image, plate, lines, np.random.default_rng(seed), filled(image, plate))
    left, top, right, bottom = (int(v) for v in plate.box)
    return region[top - y1 : bottom - y1, left - x1 : right - x1]


def test_rendering_has_both_colours_and_fits_long_text() -> None:
    plate = render_plate("WWWWWWWWWWWWWW", (40, 120), (250, 206, 66), (10, 20, 30))
    assert plate.shape == (40, 120, 3)
    assert (plate == (250, 206, 66)).all(axis=2).mean() > 0.2
    assert (plate == (10, 20, 30)).all(axis=2).any()
    assert (plate[:, 0] == (250, 206, 66)).all()
    two = render_plate("ABC\n123", (80, 100), (255, 255, 255), (0, 0, 0))
    dark = (two < 128).all(axis=2)[6:-6, 8:-8].any(axis=1)
    assert np.diff(dark.astype(int)).tolist().count(1) == 2
    with pytest.raises(InputError, match="plate size"):
        render_plate("A", (4, 100), (0, 0, 0), (255, 255, 255))


@pytest.mark.parametrize(
    ("side", "inside", "outside"),
    [("left", (20, 5), (20, 20)), ("right", (20, 115), (20, 100)), ("top", (4, 60), (38, 116))],
)
def test_bands_lie_at_their_side(side: str, inside: tuple[int, int], outside: tuple[int, int]) -> None:
    band = Band(side, 0.1, BLUE)  # type: ignore[arg-type]
    plate = render_plate("A", (40, 120), (255, 255, 255), (0, 0, 0), (band,))
    assert tuple(plate[inside]) == BLUE and tuple(plate[outside]) != BLUE


def test_arabic_text_needs_its_font(monkeypatch: pytest.MonkeyPatch) -> None:
    plate = render_plate("ب ج\n١ ٢", (80, 100), (255, 255, 255), (0, 0, 0))
    assert (plate[8:-8, 8:-8] < 128).any()
    assert not np.array_equal(plate, render_plate("د ر\n١ ٢", (80, 100), (255, 255, 255), (0, 0, 0)))
    plate_render._arabic_font.cache_clear()
    monkeypatch.setattr(plate_render, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="matplotlib"):
        render_plate("ب", (80, 100), (255, 255, 255), (0, 0, 0))


def test_a_redrawn_plate_keeps_colours_and_loses_its_text() -> None:
    image, plate = street(TILTED, noise=2.0)
    x1, y1, x2, y2 = (int(v) for v in plate.box)
    patch, before = redrawn(image, plate), image[y1:y2, x1:x2]
    assert patch.shape == before.shape and patch.dtype == np.uint8
    assert np.abs(np.percentile(patch, 90) - np.percentile(before, 90)) < 20
    assert np.percentile(patch, 5) < 90
    middle = (slice(20, 40), slice(20, 160))
    assert (np.abs(patch[middle].astype(int) - before[middle]).max(axis=2) > 40).mean() > 0.15


def test_the_text_has_the_layout_of_the_reading(written: list[tuple[str, tuple[Band, ...]]]) -> None:
    image, plate = street(FRONTAL, "KR 58 BHX")
    redrawn(image, plate, ("COUNTY", "KR 58 BHX", "COUNTYKR 58 BHX"))
    redrawn(image, plate, ())
    read, counted = (text for text, _ in written)
    assert [part.isdigit() for part in read.split()] == [False, True, False] and len(read) == 9
    assert [len(part) for part in counted.split()] == [2, 2, 3]  # As the picture shows, though nothing was read.


def test_no_pixel_tells_which_text_there_was() -> None:
    """Two originals that differ in their characters alone give nearly the same plate under one seed."""
    one, other = (street(FRONTAL, text)[0] for text in ("KR 58 WTX", "HD 93 BNM"))
    plate = street(FRONTAL)[1]
    with_one, with_other = (redrawn(image, plate, ("AA 11 AAA",)).astype(int) for image in (one, other))
    apart = np.abs(one.astype(int) - other)[87:131, 107:293].max(axis=2) > 100
    assert apart.mean() > 0.1
    assert np.abs(with_one - with_other).max(axis=2)[apart].mean() < 12


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_coloured_strip_stays_where_it_was(side: str, written: list[tuple[str, tuple[Band, ...]]]) -> None:
    image, plate = street(FRONTAL, "KR 58 WT", bands=(Band(side, 0.1, BLUE),))  # type: ignore[arg-type]
    redrawn(image, masked(plate, FRONTAL))
    redrawn(street(FRONTAL)[0], masked(plate, FRONTAL))
    (band,), none = (bands for _, bands in written)
    assert band.side == side and np.abs(np.array(band.colour) - BLUE).max() < 20
    assert none == ()


def test_what_meets_in_a_slanted_plate_is_no_strip() -> None:
    yellow, ink = (250, 206, 66), (40, 40, 42)
    flat = np.full((71, 197, 3), yellow, np.uint8)
    flat[30:60, 20:170:12] = ink
    # The frame, and the car's silver above it, cut the top at a slant.
    rows, columns = np.mgrid[:71, :197]
    flat[rows < 0.12 * columns - 2] = 116, 117, 120
    flat[rows < 0.12 * columns - 8] = 197, 199, 203
    assert plates._bands(flat, yellow, ink) == ()
    flat[:20] = BLUE
    assert [band.side for band in plates._bands(flat, yellow, ink)] == ["top"]
    flat[:20] = (np.linspace(0.4, 1.3, 197)[:, None] * BLUE).clip(0, 255)
    assert [band.side for band in plates._bands(flat, yellow, ink)] == ["top"]


def test_a_square_plate_with_a_coloured_top_that_is_not_read_gets_arabic_script(
    written: list[tuple[str, tuple[Band, ...]]],
) -> None:
    image, plate = street(SQUARE, "ب ج د\n١ ٢ ٣", size=(200, 240), bands=(Band("top", 0.28, BLUE),))
    plate = masked(plate, SQUARE)
    redrawn(image, plate, ("2r",))
    redrawn(image, plate, ("ABC", "1D23", "ABC1D23"))
    redrawn(street(SQUARE, "ABC\n123", size=(200, 240))[0], plate, ())
    (arabic, bands), (latin, _), (plain, none) = written
    assert bands[0].side == "top" and "\n" in arabic and not any(c.isascii() and c.isalnum() for c in arabic)
    assert latin.replace("\n", "").isascii() and [len(part) for part in latin.split("\n")] == [3, 4]
    assert plain.isascii() and "\n" in plain and none == ()


@pytest.mark.parametrize("colours", [((60, 60, 64), (30, 30, 30)), ((20, 22, 26), (200, 200, 190))])
def test_dark_plates_stay_what_they_are(colours: tuple[tuple[int, int, int], tuple[int, int, int]]) -> None:
    image, plate = street(FRONTAL, colours=colours)
    inner = redrawn(image, plate)[10:-10, 12:-12].mean(axis=2)
    ground, ink = (float(np.mean(colour)) for colour in colours)
    assert abs(np.median(inner) - ground) < 12
    extreme = np.percentile(inner, 3 if ink < ground else 97)
    assert (extreme < ground - 15) if ink < ground else (extreme > ground + 60)


def test_a_shadow_over_one_side_stays() -> None:
    image, plate = street(FRONTAL)
    image[:, 200:] = (image[:, 200:] * 0.6).astype(np.uint8)
    patch = redrawn(image, plate).mean(axis=2)
    assert np.percentile(patch[:, 120:170], 80) < 0.8 * np.percentile(patch[:, 20:70], 80)


def test_outside_the_corners_the_fill_comes_from_around_the_region() -> None:
    image, plate = street(FRONTAL)
    x1, y1, x2, _ = (int(v) for v in plate.box)
    image[y1 : y1 + 2, x1:x2] = (0, 255, 0)  # A sticker within the mask, beside the plate.
    red, green, _ = redrawn(image, plate)[0, 20:160].astype(int).mean(axis=0)
    assert green < red + 60


def test_around_the_corners_lies_the_picture_underneath() -> None:
    image, plate = street(FRONTAL)
    region = redraw_plate(image, plate, (), np.random.default_rng(0), np.full_like(image, (200, 40, 40)))
    assert region[0].astype(int)[:, 0].min() > 150 and region[0].astype(int)[:, 1].max() < 90


@pytest.mark.parametrize("whole", [False, True])
def test_at_the_pictures_border_nothing_of_the_plate_counts_as_surroundings(whole: bool) -> None:
    image = np.full((60, 90, 3), 60, np.uint8)
    box = (0, 0, 90, 60) if whole else (50, 20, 90, 40)
    image[box[1] : box[3], box[0] : box[2]] = (0, 255, 0)
    core = np.zeros((box[3] - box[1], box[2] - box[0]), bool)
    core[4:-4, 4:-14] = True
    image[box[1] + 4 : box[3] - 4, box[0] + 4 : box[2] - 14] = 230
    seen = np.array([[box[0] + 4, box[1] + 4, box[2] - 14, box[3] - 4]], np.float32)
    plate = Instance(1, "license_plate", np.array(box, np.float32), np.ones(core.shape, bool), core=core, views=seen)
    column = redraw_plate(image, plate, (), np.random.default_rng(0), filled(image, plate))[:, -1].astype(int)
    assert (column[:, 1] - column[:, 0]).max() < 40


def test_sharpness_follows_the_original() -> None:
    image, plate = street(FRONTAL)
    blurred = cv2.GaussianBlur(image, (0, 0), 2.0)

    def steepest(picture: np.ndarray) -> float:
        grey = redrawn(picture, plate)[8:-8, 8:-8].mean(axis=2)
        return float(np.percentile(np.abs(np.diff(grey, axis=1)), 98))

    assert steepest(blurred) < 0.8 * steepest(image)


@pytest.mark.parametrize("box", [(-6, 100, 20, 112), (380, 230, 410, 250), (10, 10, 14, 12)])
def test_cut_and_tiny_plates_work(box: tuple[int, int, int, int]) -> None:
    image, _ = street(FRONTAL)
    x1, y1, x2, y2 = box
    plate = Instance(1, "license_plate", np.array(box, np.float32), np.ones((y2 - y1, x2 - x1), bool))
    patch = redraw_plate(image, plate, ("AB 123",), np.random.default_rng(0), filled(image, plate))
    (left, top, right, bottom), _ = anonymized_region(plate, image.shape[:2])
    assert patch.shape == (bottom - top, right - left, 3)
