"""Flat license plates: ground, border, band and characters, and the fonts they are set in."""

from __future__ import annotations

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

__all__ = ["Band", "Colour", "Side", "render_plate"]

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]
Side = Literal["left", "right", "top"]

#: Heights of the characters of one-line and two-line plates, as proportions of the height they have.
ONE_LINE, TWO_LINE = 0.64, 0.38
#: Width of the line of text, as a proportion of the width it has.
LINE_WIDTH = 0.88
#: Widths of characters by those of the font: usual ones, and the narrowest before the line gets lower.
USUAL, NARROWEST = 0.85, 0.55
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
    text: str, size: tuple[int, int], background: Colour, ink: Colour, bands: tuple[Band, ...] = ()
) -> Image:
    """Return a flat plate with a border and its text, RGB uint8 (h, w, 3).

    Args:
        text: One line, or two parted by a line break.
        size: (height, width) in pixels, at least 8 by 8.
        background: RGB of the plate.
        ink: RGB of the text.
        bands: Strips along its sides, none of text.

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
    rim: Colour = tuple(round(BORDER * a + (1 - BORDER) * b) for a, b in zip(ink, background, strict=True))  # type: ignore[assignment]
    draw.rounded_rectangle(
        (inset, inset, width - 1 - inset, height - 1 - inset), radius=round(0.08 * height), outline=rim, width=line
    )
    lines = [part for part in text.splitlines() if part.strip()]
    for number, part in enumerate(lines):
        room = bottom - top
        tall = ONE_LINE if len(lines) < 2 else TWO_LINE
        glyphs = _glyphs(part, round(tall * room), round(LINE_WIDTH * (right - left)))
        middle = top + room * (0.5 if len(lines) < 2 else 0.28 + 0.44 * number)
        corner = round((left + right - glyphs.width) / 2), round(middle - glyphs.height / 2)
        canvas.paste(Pillow.new("RGB", glyphs.size, ink), corner, glyphs)
    return np.asarray(canvas, np.uint8).copy()


def _glyphs(text: str, height: int, most_width: int) -> Pillow.Image:
    """Return a line of text as a coverage picture, as tall as asked unless that would make it too wide."""
    height, most_width = max(height, 4), max(most_width, 4)
    size = max(2 * height, 32)
    font = _font(size, any("\u0600" <= c <= "\u06ff" for c in text))
    stroke, gap = max(1, round(0.02 * size)), round(0.1 * size)
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
