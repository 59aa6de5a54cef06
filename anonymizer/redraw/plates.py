"""License plates with fake text, rendered in the plate's perspective, colours, light and sharpness."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import IntBox, take
from anonymizer.core.records import Instance, check_image
from anonymizer.redraw.crops import anonymized_region
from anonymizer.redraw.plate_corners import plate_quad
from anonymizer.redraw.plate_render import SMALL_PRINT, Band, Colour, Side, plate_shape, render_plate
from anonymizer.redraw.plate_surface import Print, compressed, grained, measure_print
from anonymizer.redraw.plate_text import (
    ARABIC_LAYOUT,
    TWO_LINES,
    character_groups,
    fake_text,
    plate_layout,
    plate_reading,
)

__all__ = ["redraw_plate"]

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: Rendering is done this many times larger than the plate in the picture, then reduced; less for plates that are
#: larger than ``LARGE`` pixels wide anyway.
OVERSAMPLING, LARGE = 4, 400
#: Least difference in luminance between ink and background, in levels: fake text must look like text.
LEAST_CONTRAST = 50.0
#: The same for dark characters on a dark plate, as a proportion of its ground's luminance.
DARK_CONTRAST = 0.6
#: Most that blurred text gains in contrast, to have the original's: its colours were measured where it was blurred.
MOST_GAIN = 1.6
#: Part of a flat plate in which colours of ground and characters are measured (top, bottom, left, right): beside it
#: are rims, frames, bands and small print.
MIDDLE = (0.2, 0.85, 0.14, 0.95)
#: Widths of bands at the sides of plates and heights of those on top, as proportions of the plate's.
SIDE_BAND, TOP_BAND = 0.1, 0.28
#: Least distance of a band's colour from the ground's at the same luminance, in levels.
BAND_HUE = 40.0
#: Distance from a band's colour in levels within which pixels are of it, and the least proportion that is: letters and
#: stars lie on bands.
ALIKE, EVEN = 40.0, 0.4
#: Distance from grey of the same luminance from which a colour is a clear one, in levels.
VIVID = 60.0
#: Least width by height of plates with a band that shows by its shade alone, and how much darker than the ground all of
#: it must be there, as a proportion of the difference between ground and characters.
EUROPEAN, BAND_SHADE = 3.2, 0.25
#: Distance from the ground's luminance, by the ink's, within which ground is bare.
BARE = 0.3
#: Width of a character of small print by its height, with its gap, and how many a line has.
SMALL_WIDTH, SMALL_COUNT = 0.9, (4, 20)
#: Cells (rows, columns) of the light's field over a plate: too few to tell one character from another.
LIGHT_CELLS = (2, 3)
#: Weakest and strongest light of a cell, relative to the mean.
LIGHT_LIMITS = (0.6, 1.4)


def redraw_plate(
    image: Image,
    instance: Instance,
    lines: Sequence[str],
    rng: np.random.Generator,
    base: Image,
    avoid: Sequence[str] = (),
) -> Image:
    """Return an anonymized region with a plate of other text, RGB uint8 (h, w, 3) in the box of ``anonymized_region``.

    Only statistics of the original enter: colours of ground, characters and bands, light in six cells, sharpness,
    levels of noise, grain and compression, the layout of its text, and, in steps of its size, where lines stand. Beside
    the plate's corners the region shows the base, so no original pixel stays even where the corners were found wrongly.

    Args:
        image: RGB uint8 (H, W, 3).
        instance: The plate; its mask is what gets replaced.
        lines: What OCR read on it, from top to bottom, all lines joined at the end if there are several.
        rng: Source of text and noise.
        base: The picture that the plate comes to lie on, RGB uint8 (H, W, 3): the original with all plates filled.
        avoid: Texts that the new one must not resemble: all that was read in the picture.

    Raises:
        InputError: The image is no RGB uint8 (H, W, 3).
    """
    check_image(image)
    box, _ = anonymized_region(instance, image.shape[:2])
    height, width = box[3] - box[1], box[2] - box[0]
    original = take(image, box)
    corners = plate_quad(image, instance)
    quad = corners - np.array(box[:2], np.float32)
    side_h = max(_side(quad, 0, 3), _side(quad, 1, 2))
    side_w = max(_side(quad, 0, 1), _side(quad, 3, 2))
    flat = _flattened(image, corners, (max(round(side_h), 8), max(round(side_w), 8)))
    background, ink = _two_colours(flat)
    bands = _bands(flat, background, ink)
    if any(band.side == "top" for band in bands):
        background, ink = _two_colours(flat[round(TOP_BAND * len(flat)) :])
    text = _text(flat, lines, background, ink, bands, rng, avoid)

    ground, dark = (float(level) for level in _luminance(np.array([background, ink], np.float32)))
    one_line = "\n" not in text and all(band.side != "top" for band in bands)
    printed = measure_print(flat, ground, dark) if one_line else None
    small = _small_print(printed, flat.shape[1] / flat.shape[0], rng, (*lines, *avoid))

    times = OVERSAMPLING if side_w <= LARGE else 2
    size = max(round(side_h * times), 16), max(round(side_w * times), 16)
    drawn = render_plate(text, size, background, ink, bands, printed, small)
    light = _light(flat, background, ink)
    lit = drawn * cv2.resize(light, (drawn.shape[1], drawn.shape[0]), interpolation=cv2.INTER_LINEAR)[..., None]
    warped, cover = _warp(np.clip(lit, 0, 255).astype(np.uint8), quad, (height, width), times)
    inner = _filled(_inset(quad), (height, width))
    sharp = np.clip(_match_sharpness(warped, original, inner), 0, 255)
    around = take(base, box).astype(np.float32)
    before = _luminance(original)
    expected = ground * _laid(light, quad, (height, width))
    bare = _filled(quad, (height, width)) & (np.abs(before - expected) < BARE * abs(dark - ground))
    bare = cv2.erode(bare.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    noise = rng.normal(0.0, _noise_level(image, box), (height, width, 1))
    patch = cover[..., None] * grained(sharp, before, bare, rng) + (1 - cover[..., None]) * (around + noise)
    pixels = np.clip(np.rint(patch), 0, 255).astype(np.uint8)
    return compressed(pixels, box, image)


def _text(
    flat: Image,
    lines: Sequence[str],
    background: Colour,
    ink: Colour,
    bands: Sequence[Band],
    rng: np.random.Generator,
    avoid: Sequence[str],
) -> str:
    """Return new text in the layout of what was read, or else of what can be told without reading."""
    aspect = flat.shape[1] / flat.shape[0]
    read = plate_reading(lines, aspect)
    light_ground = sum(background) > sum(ink)
    # PP-OCR reads no Arabic script: a square plate with a coloured top that it cannot read as two lines has such.
    if aspect < TWO_LINES and (read is None or "\n" not in read) and any(band.side == "top" for band in bands):
        return fake_text(None, rng, ARABIC_LAYOUT, (*lines, *avoid))
    groups = character_groups(cv2.cvtColor(flat, cv2.COLOR_RGB2GRAY), light_ground) if read is None else ()
    return fake_text(read, rng, plate_layout(aspect, groups), (*lines, *avoid))


def _small_print(
    printed: Print | None, aspect: float, rng: np.random.Generator, avoid: Sequence[str]
) -> tuple[str, ...]:
    """Return a text for each line of small print: two words that fill it."""
    texts = []
    for place in () if printed is None else printed.small:
        wide = aspect * (place.right - place.left) / max(min(place.bottom - place.top, SMALL_PRINT), 0.01)
        count = int(np.clip(round(wide / SMALL_WIDTH), *SMALL_COUNT))
        words = "A" * (count // 2) + " " + "A" * (count - count // 2)
        texts.append(fake_text(None, rng, words, avoid))
    return tuple(texts)


def _laid(field: Floats, quad: Floats, size: tuple[int, int]) -> Floats:
    """Return a field (h, w) over a flat plate as it lies at its corners in a frame of ``size`` (h, w)."""
    height, width = field.shape
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, quad.astype(np.float32))
    laid = cv2.warpPerspective(field, matrix, (size[1], size[0]), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(laid, np.float32)


def _flattened(image: Image, corners: Floats, size: tuple[int, int]) -> Image:
    """Return the plate as seen from the front, RGB uint8 of ``size`` (h, w)."""
    height, width = size
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    low = np.floor(corners.min(axis=0) - 2).astype(int)
    high = np.ceil(corners.max(axis=0) + 2).astype(int)
    crop = np.ascontiguousarray(take(image, (int(low[0]), int(low[1]), int(high[0]), int(high[1]))))
    # Corners lie on the borders of pixels, and warping counts from their centres.
    matrix = cv2.getPerspectiveTransform((corners - low - 0.5).astype(np.float32), target - 0.5)
    warped = cv2.warpPerspective(crop, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def _bands(flat: Image, background: Colour, ink: Colour) -> tuple[Band, ...]:
    """Return the band that a flat plate shows: another hue than the ground's, or dark all over where Europe has it."""
    height, width = flat.shape[:2]
    if min(height, width) < 10:
        return ()
    across, down = max(round(0.6 * SIDE_BAND * width), 1), max(round(0.6 * TOP_BAND * height), 1)
    inset_x, inset_y = max(round(0.02 * width), 1), max(round(0.06 * height), 1)
    rows, columns = slice(round(0.2 * height), round(0.8 * height)), slice(round(0.1 * width), round(0.9 * width))
    places: tuple[tuple[Side, Image, float], ...] = (
        ("left", flat[rows, inset_x : inset_x + across], SIDE_BAND),
        ("right", flat[rows, width - inset_x - across : width - inset_x], SIDE_BAND),
        ("top", flat[inset_y : inset_y + down, columns], TOP_BAND),
    )
    grounds, dark = np.array([background, ink], np.float32), _luminance(np.array([background, ink], np.float32))
    found: list[tuple[float, Band]] = []
    for side, part, proportion in places:
        pixels = part.reshape(-1, 3).astype(np.float32)
        colour = np.median(pixels, axis=0)
        # Where frame, ground and car meet in a slanted plate, their median is a colour of none of them.
        alike = np.linalg.norm(pixels - colour, axis=1) < ALIKE
        hues, own = (part - _luminance(part)[..., None] for part in (pixels, colour[None]))
        if np.linalg.norm(own) >= VIVID:  # Under uneven light a clear colour still is one.
            alike |= np.linalg.norm(hues - own, axis=1) < ALIKE
        if alike.mean() < EVEN:
            continue
        # Characters and shadows differ in brightness alone: from the ground's hue at their brightness.
        expected = grounds[0] * float(_luminance(colour[None])[0]) / max(float(dark[0]), 1.0)
        hue = float(np.linalg.norm(colour - expected)) / BAND_HUE
        # Ground shows beside a character, and beside glare nothing is dark; a band is dark all over.
        light_ground = dark[0] > dark[1]
        lightest = float(np.percentile(_luminance(pixels), 80))
        shade = (float(dark[0]) - lightest) / max(float(dark[0] - dark[1]), 1.0)
        european = side == "left" and width >= EUROPEAN * height and light_ground
        if light_ground and side != "top" and shade < -BAND_SHADE:
            continue
        strength = max(hue, shade / BAND_SHADE if european else 0.0)
        if strength >= 1:
            found.append((strength, Band(side, proportion, _colour(colour))))
    return (max(found, key=lambda pair: pair[0])[1],) if found else ()


def _light(flat: Image, background: Colour, ink: Colour) -> Floats:
    """Return the field of relative light (h, w) over a flat plate, around 1: ground's brightness in a few cells."""
    height, width = flat.shape[:2]
    grey = _luminance(flat)
    ground, dark = (float(_luminance(np.array([colour], np.float32))[0]) for colour in (background, ink))
    mine = np.abs(grey - ground) < np.abs(grey - dark)
    rows, columns = LIGHT_CELLS
    cells = np.ones((rows, columns), np.float32)
    for row in range(rows):
        for column in range(columns):
            place = (
                slice(row * height // rows, (row + 1) * height // rows),
                slice(column * width // columns, (column + 1) * width // columns),
            )
            if mine[place].mean() >= 0.15:
                cells[row, column] = float(np.median(grey[place][mine[place]])) / max(ground, 1.0)
    cells = np.clip(cells / cells.mean(), *LIGHT_LIMITS)
    return np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _two_colours(flat: Image) -> tuple[Colour, Colour]:
    """Return a flat plate's background and ink: the main one of two clusters of colour and the other, kept apart."""
    height, width = flat.shape[:2]
    top, bottom, left, right = MIDDLE
    part = flat[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
    pixels = (part if part.size else flat).reshape(-1, 3)
    sample = pixels[:: max(1, len(pixels) // 4096)].astype(np.float32)
    grey = _luminance(sample)
    # Means of the two sides of the luminance's mid-point, refined: k-means in one dimension, without chance.
    split = float(np.percentile(grey, [2, 98]).mean())  # Specks are brighter than any ground.
    for _ in range(8):
        upper = grey > split
        if upper.all() or not upper.any():
            break
        split = float(grey[upper].mean() + grey[~upper].mean()) / 2
    upper = grey > split
    # Most plates are light, and a dark frame may lie within the corners: dark ones must be clearly dark.
    major = upper if upper.mean() >= 0.35 else ~upper
    # Pixels between the two are mixtures, on a small plate most of them: take each side's outer half, ink's quarter.
    toward_light = 1 if major is upper else -1
    background = _outer(sample[major], grey[major], 0.5, toward_light)
    ink = _outer(sample[~major], grey[~major], 0.25, -toward_light) if (~major).any() else background
    ground = float(_luminance(background[None])[0])
    gap = float(_luminance(ink[None])[0]) - ground
    # In the dark everything is close: there a part of the ground's brightness has to do.
    least = LEAST_CONTRAST if gap > 0 else min(LEAST_CONTRAST, DARK_CONTRAST * ground)
    if abs(gap) < least:
        ink = np.clip(background + (least if gap > 0 else -least), 0, 255)
    return _colour(background), _colour(ink)


def _outer(colours: Floats, grey: Floats, share: float, direction: int) -> Floats:
    """Return the median colour of the share (N, 3) that is lightest (direction 1) or darkest (-1)."""
    most = np.argsort(-direction * grey, kind="stable")[: max(1, round(share * len(grey)))]
    return np.asarray(np.median(colours[most], axis=0), np.float32)


def _colour(values: NDArray[np.floating]) -> Colour:
    red, green, blue = (int(np.clip(round(float(v)), 0, 255)) for v in values)
    return red, green, blue


def _inset(quad: Floats) -> Floats:
    """Return the corners (4, 2) of the middle part of a plate, see ``MIDDLE``."""
    top, bottom, left, right = MIDDLE
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    places = np.array([[[left, top], [right, top], [right, bottom], [left, bottom]]], np.float32)
    return np.asarray(cv2.perspectiveTransform(places, cv2.getPerspectiveTransform(unit, quad))[0], np.float32)


def _filled(corners: Floats, size: tuple[int, int]) -> Mask:
    frame = np.zeros(size, np.uint8)
    cv2.fillConvexPoly(frame, np.rint(corners).astype(np.int32), 1)
    return frame > 0


def _side(corners: Floats, first: int, second: int) -> float:
    return float(np.linalg.norm(corners[first] - corners[second]))


def _luminance(pixels: NDArray[np.number]) -> Floats:
    return np.asarray(pixels @ np.array([0.299, 0.587, 0.114]), np.float32)


def _warp(flat: Image, quad: Floats, size: tuple[int, int], times: int) -> tuple[Floats, Floats]:
    """Return the flat plate in the quad's perspective, float32 (h, w, 3), and its coverage (h, w) in [0, 1]."""
    height, width = size
    fine = (width * times, height * times)
    source = np.array([[0, 0], [flat.shape[1], 0], [flat.shape[1], flat.shape[0]], [0, flat.shape[0]]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, (quad * times).astype(np.float32))
    warped = cv2.warpPerspective(flat, matrix, fine, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    ones = plate_shape((flat.shape[0], flat.shape[1]))
    cover = cv2.warpPerspective(ones, matrix, fine, flags=cv2.INTER_LINEAR)
    return (
        np.asarray(cv2.resize(warped, (width, height), interpolation=cv2.INTER_AREA), np.float32),
        np.asarray(cv2.resize(cover, (width, height), interpolation=cv2.INTER_AREA), np.float32),
    )


def _sharpness(grey: Floats, region: Mask) -> float:
    """Return the steepest gradients (98th percentile) relative to the contrast, per pixel."""
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(grey, cv2.CV_32F, 0, 1) / 8
    steep = float(np.percentile(np.hypot(across, down)[region], 98))
    low, high = np.percentile(grey[region], [5, 95])
    return steep / max(float(high - low), 1.0)


def _match_sharpness(warped: Floats, original: Image, inner: Mask) -> Floats:
    """Return the warped plate blurred until it is no sharper than the original, with the original's contrast.

    Args:
        warped: float32 (h, w, 3).
        original: RGB uint8 (h, w, 3).
        inner: bool (h, w), the plate without its rims, where both are compared.
    """
    if not inner.any():
        return warped
    before = _luminance(original)
    # The value saturates where text is crisp, so a tenth above still counts as equal.
    wanted = 1.1 * _sharpness(before, inner)
    most = max(0.5, min(inner.shape) / 24)  # Beyond this the text could not be read.
    blurred = warped
    for sigma in np.linspace(0.0, most, 9):
        if sigma > 0:
            blurred = np.asarray(cv2.GaussianBlur(warped, (0, 0), float(sigma)), np.float32)
        if _sharpness(_luminance(blurred), inner) <= wanted:
            break
    low, middle, high = np.percentile(_luminance(blurred)[inner], [5, 50, 95])
    spread = np.subtract(*np.percentile(before[inner], [95, 5]))
    gain = float(np.clip(spread / max(float(high - low), 1.0), 1.0, MOST_GAIN))
    ground = high if high - middle < middle - low else low
    # Added to all channels alike, so that hues stay.
    return np.asarray(blurred + (gain - 1) * (_luminance(blurred) - ground)[..., None], np.float32)


def _noise_level(image: Image, box: IntBox) -> float:
    """Return the noise's standard deviation around a box in levels, at most 6: inside, text would pass for noise.

    Source:
        Immerkaer, Fast noise variance estimation, CVIU 1996; the median instead of the mean, for edges are no noise.
    """
    ring = max(8, (box[3] - box[1]) // 2)
    crop = take(image, (box[0] - ring, box[1] - ring, box[2] + ring, box[3] + ring))
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(_luminance(crop), cv2.CV_32F, kernel))
    around = np.ones(response.shape, dtype=bool)
    around[ring:-ring, ring:-ring] = False
    return float(min(np.median(response[around]) / (0.6745 * 6), 6.0))
