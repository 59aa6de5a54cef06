"""Flat license plates: ground, border, band and characters, and the fonts they are set in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from anonymizer.core.errors import InputError, ModelError
from anonymizer.redraw.plate_surface import LINE_WIDTH, Place, Print

__all__ = ["Band", "Colour", "Side", "plate_shape", "render_plate"]

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]
Side = Literal["left", "right", "top"]

#: Heights of the characters of one-line and two-line plates, as proportions of the height they have.
ONE_LINE, TWO_LINE = 0.64, 0.38
#: Widths of characters by those of the font: usual ones, and the narrowest before the line gets lower.
USUAL, NARROWEST = 0.85, 0.55
#: Thickness of strokes beyond the font's own, by its size. It is not measured: how much is inked depends on the text.
STROKE = 0.02
#: Least and greatest gap between characters of a line that has a place to fill, by the font's size.
GAPS = (0.02, 0.25)
#: Greatest height of small print, by the plate's, and its strength against the characters: it is fine.
SMALL_PRINT, FAINT = 0.14, 0.7
#: Radius of a plate's corners, by its height.
ROUND = 0.09
#: Strength of the plate's own border against the characters: embossed rims show as thin grey lines.
BORDER = 0.5


@dataclass(frozen=True, slots=True)
class Band:
    """Strip of another colour along one side of a plate, as of European or Egyptian ones.

    Args:
        side: Where it lies.
        proportion: Its width or height as a proportion of the plate's.
        colour: RGB.
    """

    side: Side
    proportion: float
    colour: Colour


def render_plate(
    text: str,
    size: tuple[int, int],
    background: Colour,
    ink: Colour,
    bands: tuple[Band, ...] = (),
    lines_of: Print | None = None,
    small: Sequence[str] = (),
) -> Image:
    """Return a flat plate with a border and its text, RGB uint8 (h, w, 3).

    Args:
        text: One line, or two parted by a line break.
        size: (height, width) in pixels, at least 8 by 8.
        background: RGB of the plate.
        ink: RGB of the text.
        bands: Strips along its sides, none of text.
        lines_of: Where the line of text and small print stand; None: in the middle.
        small: Texts of its small print.

    Raises:
        InputError: The size is too small.
        ModelError: There is no font with Arabic letters for a text that has some.
    """
    height, width = size
    if min(size) < 8:
        raise InputError(f"plate size: expected at least 8 x 8 pixels, got {height} x {width}")
    canvas = Pillow.new("RGB", (width, height), background)
    draw = ImageDraw.Draw(canvas)
    left, top, right, bottom = 0.0, 0.0, float(width), float(height)
    for band in bands:
        across, down = band.proportion * width, band.proportion * height
        if band.side == "left":
            draw.rectangle((0, 0, across, height), fill=band.colour)
            left = across
        elif band.side == "right":
            draw.rectangle((width - across, 0, width, height), fill=band.colour)
            right = width - across
        else:
            draw.rectangle((0, 0, width, down), fill=band.colour)
            top = down
    inset, line = max(1, round(0.02 * height)), max(1, round(0.02 * height))
    rim = _mixed(ink, background, BORDER)
    draw.rounded_rectangle(
        (inset, inset, width - 1 - inset, height - 1 - inset), radius=round(0.08 * height), outline=rim, width=line
    )
    lines = [part for part in text.splitlines() if part.strip()]
    if lines_of is not None and len(lines) == 1:
        _place_line(canvas, lines[0], lines_of.characters, (left, right), ink, STROKE)
        for words, place in zip(small, lines_of.small, strict=True):
            middle, half = (place.top + place.bottom) / 2, min(place.bottom - place.top, SMALL_PRINT) / 2
            fine = Place(middle - half, middle + half, place.left, place.right)
            _place_line(canvas, words, fine, (left, right), _mixed(ink, background, FAINT), 0.0)
        return np.asarray(canvas, np.uint8).copy()
    for number, part in enumerate(lines):
        room = bottom - top
        tall = ONE_LINE if len(lines) < 2 else TWO_LINE
        glyphs = _glyphs(part, round(tall * room), round(LINE_WIDTH * (right - left)))
        middle = top + room * (0.5 if len(lines) < 2 else 0.28 + 0.44 * number)
        corner = round((left + right - glyphs.width) / 2), round(middle - glyphs.height / 2)
        canvas.paste(Pillow.new("RGB", glyphs.size, ink), corner, glyphs)
    return np.asarray(canvas, np.uint8).copy()


def plate_shape(size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the coverage of a plate with round corners in its frame of ``size`` (h, w), float32 in [0, 1]."""
    height, width = size
    shape = Pillow.new("L", (width, height))
    ImageDraw.Draw(shape).rounded_rectangle((0, 0, width - 1, height - 1), radius=round(ROUND * height), fill=255)
    return np.asarray(shape, np.float32) / np.float32(255)


def _mixed(ink: Colour, background: Colour, strength: float) -> Colour:
    red, green, blue = (round(strength * a + (1 - strength) * b) for a, b in zip(ink, background, strict=True))
    return red, green, blue


def _place_line(
    canvas: Pillow.Image, text: str, place: Place, room: tuple[float, float], colour: Colour, stroke: float
) -> None:
    """Write a line of text at its place, within the room (left, right) in pixels that bands leave.

    ``stroke`` is what is added to the font's own strokes, by its size.
    """
    width, height = canvas.size
    left, right = max(place.left * width, room[0]), min(place.right * width, room[1])
    size = max(round((place.bottom - place.top) * height), 4), max(round(right - left), 4)
    glyphs = _filling(text, size, stroke)
    middle = (place.top + place.bottom) / 2 * height
    corner = round((left + right - glyphs.width) / 2), round(middle - glyphs.height / 2)
    canvas.paste(Pillow.new("RGB", glyphs.size, colour), corner, glyphs)


def _filling(text: str, size: tuple[int, int], thickness: float) -> Pillow.Image:
    """Return a line of text as a coverage picture as high as ``size`` (h, w) and, if its gaps allow, as wide."""
    height, width = size
    points = max(2 * height, 32)
    font, stroke = _font(points, any("\u0600" <= c <= "\u06ff" for c in text)), round(thickness * points)
    boxes = [font.getbbox(character, stroke_width=stroke) for character in text]
    advances = [round(font.getlength(character)) + 2 * stroke for character in text]
    top, bottom = int(min(b[1] for b in boxes)), int(max(b[3] for b in boxes))
    scale = height / max(bottom - top, 1)
    gap = (width / scale - sum(advances)) / max(len(text) - 1, 1)
    gap = round(min(max(gap, GAPS[0] * points), GAPS[1] * points))
    drawn = Pillow.new("L", (max(sum(advances) + gap * (len(text) - 1), 1), max(bottom - top, 1)))
    pen, x = ImageDraw.Draw(drawn), stroke
    for character, advance in zip(text, advances, strict=True):
        pen.text((x, -top), character, fill=255, font=font, stroke_width=stroke, stroke_fill=255)
        x += advance + gap
    return drawn.resize((max(min(round(drawn.width * scale), width), 1), height), Pillow.Resampling.LANCZOS)


def _glyphs(text: str, height: int, most_width: int) -> Pillow.Image:
    """Return a line of text as a coverage picture, as tall as asked unless that would make it too wide."""
    height, most_width = max(height, 4), max(most_width, 4)
    size = max(2 * height, 32)
    font = _font(size, any("\u0600" <= c <= "\u06ff" for c in text))
    stroke, gap = max(1, round(STROKE * size)), round(0.1 * size)
    # Letter by letter, for plates set their characters wide apart, and Arabic ones in the shapes that stand alone.
    boxes = [font.getbbox(character, stroke_width=stroke) for character in text]
    advances = [round(font.getlength(character)) + gap for character in text]
    top, bottom = int(min(b[1] for b in boxes)), int(max(b[3] for b in boxes))
    drawn = Pillow.new("L", (max(sum(advances) + 2 * stroke - gap, 1), max(bottom - top, 1)))
    pen, x = ImageDraw.Draw(drawn), stroke
    for character, advance in zip(text, advances, strict=True):
        pen.text((x, -top), character, fill=255, font=font, stroke_width=stroke, stroke_fill=255)
        x += advance
    # Plate types are narrow: squeeze first, then make the line lower.
    natural = drawn.width * height / drawn.height
    width = min(natural * USUAL, most_width)
    if width < NARROWEST * natural:
        height = max(round(width / (NARROWEST * natural) * height), 4)
    return drawn.resize((max(round(width), 1), height), Pillow.Resampling.LANCZOS)


def _font(size: int, arabic: bool) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.truetype(str(_arabic_font()), size) if arabic else ImageFont.load_default(size)


@lru_cache(maxsize=1)
def _arabic_font() -> Path:
    """Return the path of DejaVu Sans, which matplotlib carries; the package itself is not imported."""
    spec = find_spec("matplotlib")
    places = spec.submodule_search_locations if spec is not None else None
    path = Path(places[0]) / "mpl-data/fonts/ttf/DejaVuSans-Bold.ttf" if places else None
    if path is None or not path.is_file():
        raise ModelError("plates: expected the font DejaVuSans-Bold.ttf of matplotlib; run `pip install matplotlib`")
    return path
