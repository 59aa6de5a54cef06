"""Made-up training pictures for the detector: plates of many countries, drawn over those of real cars.

The packs hold plates of two regions by day. Styles here are made of what plates share (proportions, colours, a band,
one line or two) and copy no country's typeface.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from packs import Label, Picture
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

Colour = tuple[int, int, int]
Scene = tuple[np.ndarray, list[Label]]

#: Height in pixels at which plates are drawn before they are warped into the picture.
DRAWN = 120


@dataclass(frozen=True)
class Style:
    """Width divided by height, lines, ground, ink, and the colour of a band at the left or along the top."""

    aspect: float
    lines: int
    ground: Colour
    ink: Colour
    left: Colour | None = None
    top: Colour | None = None


WHITE, BLACK, BLUE, YELLOW = (240, 240, 235), (20, 20, 25), (25, 60, 150), (245, 200, 40)
STYLES = (
    Style(4.6, 1, WHITE, BLACK, left=BLUE),
    Style(4.6, 1, WHITE, BLACK),
    Style(4.6, 1, YELLOW, BLACK),
    Style(4.6, 1, YELLOW, BLACK, left=BLUE),
    Style(4.6, 1, BLACK, WHITE),
    Style(4.6, 1, (235, 240, 235), (150, 25, 30)),
    Style(4.6, 1, (205, 225, 205), BLACK),
    Style(3.1, 1, (30, 80, 170), WHITE),
    Style(3.1, 1, (120, 205, 150), BLACK),
    Style(3.1, 1, WHITE, BLACK, top=(30, 70, 150)),
    Style(3.1, 1, (200, 200, 195), BLACK, top=(180, 185, 180)),
    Style(2.0, 1, WHITE, (30, 50, 120)),
    Style(2.0, 1, WHITE, (20, 90, 50), top=(150, 190, 160)),
    Style(2.0, 1, (225, 215, 150), (120, 30, 40)),
    Style(2.0, 2, WHITE, (20, 90, 50)),
    Style(2.0, 2, YELLOW, BLACK),
    Style(2.0, 2, (20, 80, 60), WHITE),
    Style(1.4, 2, WHITE, BLACK),
    Style(1.4, 2, YELLOW, BLACK),
    Style(1.4, 2, WHITE, BLACK, left=BLUE),
)
HERSHEY = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX)
#: Ranges of code points other scripts' characters are drawn from, where the font at hand has them.
SCRIPTS = ((0x0410, 0x042F), (0x0391, 0x03A9), (0x0621, 0x063A), (0x0041, 0x005A), (0x0041, 0x005A))


def draw(style: Style, fonts: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """Return a flat plate, RGB uint8 (DRAWN, w, 3)."""
    height, width = DRAWN, round(DRAWN * style.aspect * rng.uniform(0.88, 1.12))
    jitter = rng.integers(-18, 19, size=3)
    ground = tuple(int(v) for v in np.clip(np.array(style.ground) + jitter, 0, 255))
    canvas = Pillow.new("RGB", (width, height), ground)
    pen = ImageDraw.Draw(canvas)
    left = round(0.1 * width) if style.left else 0
    top = round(0.2 * height) if style.top else 0
    if style.left:
        pen.rectangle((0, 0, left, height), fill=style.left)
    if style.top:
        pen.rectangle((0, 0, width, top), fill=style.top)
    if rng.random() < 0.6:
        pen.rounded_rectangle(
            (3, 3, width - 4, height - 4), radius=10, outline=style.ink, width=int(rng.integers(2, 6))
        )
    room = left + 0.05 * width, top + 0.08 * height, 0.96 * width, 0.94 * height
    rows = _text(style.lines, rng)
    font = fonts[rng.integers(len(fonts))] if rng.random() < 0.65 else None
    for number, text in enumerate(rows):
        y1 = room[1] + (room[3] - room[1]) * number / len(rows)
        y2 = room[1] + (room[3] - room[1]) * (number + 1) / len(rows)
        glyphs = _glyphs(text, font, rng)
        share = rng.uniform(0.72, 0.95)
        size = round((room[2] - room[0]) * share), round((y2 - y1) * rng.uniform(0.7, 0.95))
        # Plates of few characters are not stretched to the full width.
        size = min(size[0], round(size[1] * 0.75 * len(text))), size[1]
        glyphs = glyphs.resize((max(size[0], 4), max(size[1], 4)), Pillow.Resampling.LANCZOS)
        corner = round((room[0] + room[2] - glyphs.width) / 2), round((y1 + y2 - glyphs.height) / 2)
        canvas.paste(Pillow.new("RGB", glyphs.size, style.ink), corner, glyphs)
    return np.asarray(canvas, np.uint8).copy()


def replaced(picture: Picture, fonts: Sequence[str], rng: np.random.Generator) -> Scene | None:
    """Return a picture whose annotated plate is another country's, larger, smaller and turned at will."""
    plates = [p for p in picture.labels if p.name == "license_plate" and p.box[2] - p.box[0] >= 24]
    if not plates:
        return None
    image, labels = picture.read().copy(), [p for p in picture.labels if p.name != "license_plate"]
    for plate in plates:
        labels.append(_lay(image, plate, fonts, rng))
    return image, labels


def _text(lines: int, rng: np.random.Generator) -> list[str]:
    low, high = SCRIPTS[rng.integers(len(SCRIPTS))]

    def characters(count: int) -> str:
        letters = "".join(chr(rng.integers(low, high + 1)) for _ in range(count))
        digits = "".join(rng.choice(list(string.digits), count))
        return "".join(a if rng.random() < 0.45 else b for a, b in zip(letters, digits, strict=True))

    if lines == 2:
        return [characters(int(rng.integers(2, 5))), characters(int(rng.integers(3, 6)))]
    text = characters(int(rng.integers(5, 9)))
    cut = int(rng.integers(1, len(text)))
    return [text[:cut] + rng.choice(["", " ", "-", "·"]) + text[cut:]]


def _glyphs(text: str, font: str | None, rng: np.random.Generator) -> Pillow.Image:
    """Return the text as a mask, cut to its ink; Hershey strokes where no font is given."""
    canvas = Pillow.new("L", (120 * len(text) + 80, 240), 0)
    if font is not None:
        ImageDraw.Draw(canvas).text((20, 20), text, fill=255, font=ImageFont.truetype(font, 120))
    else:
        pixels = np.zeros((240, 120 * len(text) + 80), np.uint8)
        plain = "".join(c if c.isascii() else string.ascii_uppercase[ord(c) % 26] for c in text)
        cv2.putText(pixels, plain, (20, 150), HERSHEY[rng.integers(3)], 4, 255, int(rng.integers(7, 15)), cv2.LINE_AA)
        canvas = Pillow.fromarray(pixels)
    box = canvas.getbbox()
    return canvas.crop(box) if box else canvas.crop((0, 0, 40, 40))


def _lay(image: np.ndarray, plate: Label, fonts: Sequence[str], rng: np.random.Generator) -> Label:
    """Warp a drawn plate over a real one, in place; return its label."""
    x1, y1, x2, y2 = plate.box
    flat = draw(STYLES[rng.integers(len(STYLES))], fonts, rng)
    aspect = flat.shape[1] / flat.shape[0]
    # At least as large as the plate below, whose characters would else show beside it.
    height = max(y2 - y1, (x2 - x1) / aspect) * rng.uniform(1.02, 1.25)
    width = height * aspect
    middle = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    corners = np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2
    turn, shear, narrow = np.radians(rng.normal(0, 5)), rng.normal(0, 0.12), rng.uniform(0.75, 1.0)
    corners[:, 1] += shear * corners[:, 0] * (1 - narrow + 0.3)
    corners[:, 0] *= narrow if width * narrow >= (x2 - x1) else 1.0
    corners *= 1 + rng.normal(0, 0.03, corners.shape)
    corners = corners @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + middle
    source = np.array([[0, 0], [flat.shape[1], 0], [flat.shape[1], flat.shape[0]], [0, flat.shape[0]]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, corners.astype(np.float32))
    # Reduced beforehand: warping alone would alias.
    blur = max(DRAWN / height / 2, 0.1)
    soft = cv2.GaussianBlur(flat, (0, 0), blur).astype(np.float32)
    inner = image[int(y1) : int(y2), int(x1) : int(x2)].astype(np.float32)
    soft = soft * np.clip(np.percentile(inner, 85) / 235, 0.35, 1.05) * rng.uniform(0.85, 1.1)
    size = image.shape[1], image.shape[0]
    warped = cv2.warpPerspective(soft, matrix, size, flags=cv2.INTER_LINEAR)
    alpha = cv2.warpPerspective(np.ones(flat.shape[:2], np.float32), matrix, size, flags=cv2.INTER_LINEAR)
    if rng.random() < 0.4:
        sigma = rng.uniform(0.3, 0.06 * height + 0.5)
        warped, alpha = cv2.GaussianBlur(warped, (0, 0), sigma), cv2.GaussianBlur(alpha, (0, 0), 0.5)
    warped += rng.normal(0, rng.uniform(0, 5), warped.shape) * alpha[..., None]
    image[:] = np.clip(np.rint(image * (1 - alpha[..., None]) + warped * alpha[..., None]), 0, 255).astype(np.uint8)
    low, high = corners.min(axis=0), corners.max(axis=0)
    box = (
        np.clip(low[0], 0, size[0]),
        np.clip(low[1], 0, size[1]),
        np.clip(high[0], 0, size[0]),
        np.clip(high[1], 0, size[1]),
    )
    return Label("license_plate", tuple(float(v) for v in box))  # type: ignore[arg-type]
