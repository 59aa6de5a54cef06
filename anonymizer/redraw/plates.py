"""License plates with fake text, rendered in the plate's perspective, colours, light and sharpness."""

from __future__ import annotations

import string
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from anonymizer.errors import InputError
from anonymizer.geometry import IntBox, box_iou, clip_box, integer_box, take
from anonymizer.types import Instance, check_image

__all__ = ["fake_text", "plate_layout", "plate_quad", "redraw_plate", "render_plate"]

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Colour = tuple[int, int, int]

#: Letters of plates; I, O and Q are left out, as many countries do, for they look like 1 and 0.
LETTERS = "".join(c for c in string.ascii_uppercase if c not in "IOQ")
#: Width divided by height below which a plate carries two lines (motorcycles, square plates).
TWO_LINES = 1.4
#: Rendering is done this many times larger than the plate in the picture, then reduced.
OVERSAMPLING = 4
#: Least fit of corners found to a look's box, see ``_fit``; below it, the box itself is the better guess.
LEAST_FIT = 0.5
#: Gaps that are closed when a plate's corners are looked for, as parts of its height: characters that meet its rim, and
#: so little that what lies beside a large plate stays apart from it.
CLOSED = (3, 12)
#: Least difference in luminance between ink and background, in levels: fake text must look like text.
LEAST_CONTRAST = 50.0


def plate_layout(aspect: float) -> str:
    """Return a layout for a plate whose text could not be read, from its width divided by its height.

    ``A`` stands for a letter and ``0`` for a digit; a line break parts two lines.
    """
    if aspect < TWO_LINES:
        return "AAA\n000"
    return "AAA 000" if aspect < 3.2 else "AA 00 AAA"


def fake_text(text: str | None, rng: np.random.Generator, layout: str = "AAA 000") -> str:
    """Return text of the same layout that differs in every letter and digit.

    Letters become letters, digits become digits, everything else is kept. Other scripts' letters become Latin ones.

    Args:
        text: What OCR read, or None where it read nothing reliable.
        rng: Source of chance.
        layout: Layout to fill where there is no text, see ``plate_layout``.
    """
    known = text if text is not None and any(c.isalnum() for c in text) else None
    out = []
    for character in layout if known is None else known:
        if character.isdigit():
            choices = string.digits
        elif character.isalpha():
            choices = LETTERS
        else:
            out.append(character)
            continue
        if known is not None:
            choices = choices.replace(character.upper(), "")
        out.append(choices[int(rng.integers(len(choices)))])
    return "".join(out)


def plate_quad(image: Image, instance: Instance) -> Floats:
    """Return the plate's four corners float32 (4, 2) x, y, clockwise from top left, in the picture's pixels.

    The plate is looked for inside its box as a four-cornered region that stands out from its surroundings, brighter
    or darker. Where none is found, the corners come from the mask, and from the box if the mask fills it.

    Args:
        image: RGB uint8 (H, W, 3).
        instance: The plate.
    """
    box = integer_box(clip_box(instance.box, (image.shape[0], image.shape[1])))
    height = box[3] - box[1]
    pad = max(3, round(0.2 * height))
    frame = box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad
    grey = cv2.cvtColor(np.ascontiguousarray(take(image, frame)), cv2.COLOR_RGB2GRAY)
    # Every look at it may be the one that shows the plate; their union is what has to be treated.
    expected = np.concatenate([instance.seen, instance.box[None]]) - np.array(frame[:2] * 2, np.float32)
    best, best_fit = None, LEAST_FIT
    for mode, part in product((cv2.THRESH_BINARY, cv2.THRESH_BINARY_INV), CLOSED):
        _, standing_out = cv2.threshold(grey, 0, 255, mode | cv2.THRESH_OTSU)
        # Characters are holes in the plate: close them along the line of text.
        kernel = np.ones((max(3, height // (2 * part)) | 1, max(3, height // part) | 1), np.uint8)
        # Room around the crop, or closing would draw everything near its border out to it.
        room = kernel.shape[0]
        roomy = np.pad(standing_out, room)
        closed = cv2.morphologyEx(roomy, cv2.MORPH_CLOSE, kernel)[room:-room, room:-room]
        contours, _ = cv2.findContours(np.ascontiguousarray(closed), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        for contour in contours:
            x, y, across, down = cv2.boundingRect(contour)
            touching = (x == 0) + (y == 0) + (x + across == grey.shape[1]) + (y + down == grey.shape[0])
            if touching > 2:  # what surrounds the plate
                continue
            for corners in _four_corners(contour):
                fit = _fit(corners, contour, expected)
                if fit > best_fit and _plausible(corners):
                    best, best_fit = corners, fit
    quad = _mask_quad(instance, box) if best is None else best + np.array(frame[:2], np.float32)
    return np.clip(quad, [0, 0], [image.shape[1], image.shape[0]]).astype(np.float32)


def render_plate(text: str, size: tuple[int, int], background: Colour, ink: Colour) -> Image:
    """Return a flat plate with a border and its text, RGB uint8 (h, w, 3).

    Args:
        text: One line, or two parted by a line break.
        size: (height, width) in pixels, at least 8 by 8.
        background: RGB of the plate.
        ink: RGB of text and border.

    Raises:
        InputError: The size is too small.
    """
    height, width = size
    if min(size) < 8:
        raise InputError(f"plate size: expected at least 8 x 8 pixels, got {height} x {width}")
    canvas = Pillow.new("RGB", (width, height), background)
    inset, line = max(1, round(0.03 * height)), max(1, round(0.025 * height))
    ImageDraw.Draw(canvas).rounded_rectangle(
        (inset, inset, width - 1 - inset, height - 1 - inset), radius=round(0.1 * height), outline=ink, width=line
    )
    lines = [part for part in text.splitlines() if part.strip()]
    share = 0.62 if len(lines) < 2 else 0.36
    for number, part in enumerate(lines):
        glyphs = _glyphs(part, round(share * height), round(0.86 * width))
        centre = height / 2 if len(lines) < 2 else height * (0.29 + 0.42 * number)
        corner = (width - glyphs.width) // 2, round(centre - glyphs.height / 2)
        canvas.paste(Pillow.new("RGB", glyphs.size, ink), corner, glyphs)
    return np.asarray(canvas, np.uint8).copy()


def redraw_plate(image: Image, instance: Instance, text: str, rng: np.random.Generator) -> tuple[Image, Floats, IntBox]:
    """Return the plate with other text, ready to be blended over its box.

    Only statistics of the original enter: two colours, a plane of light, sharpness and noise level. What lies inside
    the mask but beside the plate's corners is filled in from outside the mask, so no original pixel stays even where
    the corners were found wrongly.

    Args:
        image: RGB uint8 (H, W, 3).
        instance: The plate; its mask is what gets replaced.
        text: Text to show.
        rng: Source of the noise.

    Returns:
        Patch RGB uint8 (h, w, 3), alpha float32 (h, w) that is 1 inside the mask and 0 outside, and the integer box.

    Raises:
        InputError: The image is no RGB uint8 (H, W, 3).
    """
    check_image(image)
    box = integer_box(instance.box)
    height, width = box[3] - box[1], box[2] - box[0]
    original = take(image, box)
    quad = plate_quad(image, instance) - np.array(box[:2], np.float32)
    region = _filled(quad, (height, width))
    background, ink = _two_colours(original, region)
    light = _light_plane(original, region)

    side_h = max(_side(quad, 0, 3), _side(quad, 1, 2))
    side_w = max(_side(quad, 0, 1), _side(quad, 3, 2))
    flat = render_plate(
        text, (max(round(side_h * OVERSAMPLING), 16), max(round(side_w * OVERSAMPLING), 16)), background, ink
    )
    warped, cover = _warp(flat, quad, (height, width))
    sharp = _match_sharpness(warped, original, region)
    shaded = np.clip(sharp * light[..., None], 0, 255)
    around = _surroundings(image, instance, box)
    patch = cover[..., None] * shaded + (1 - cover[..., None]) * around
    noise = rng.normal(0.0, _noise_level(image, box), (height, width, 1))
    patch = np.clip(np.rint(patch + noise), 0, 255).astype(np.uint8)
    return patch, instance.mask.astype(np.float32), box


def _glyphs(text: str, height: int, most_width: int) -> Pillow.Image:
    """Return a line of text as a coverage picture, as tall as asked unless that would make it too wide."""
    height, most_width = max(height, 4), max(most_width, 4)
    size = max(2 * height, 32)
    font = ImageFont.load_default(size)
    stroke, gap = max(1, round(0.02 * size)), round(0.1 * size)
    # Letter by letter, for plates set their characters wide apart.
    boxes = [font.getbbox(character, stroke_width=stroke) for character in text]
    advances = [round(font.getlength(character)) + gap for character in text]
    top, bottom = int(min(b[1] for b in boxes)), int(max(b[3] for b in boxes))
    drawn = Pillow.new("L", (max(sum(advances) + 2 * stroke - gap, 1), max(bottom - top, 1)))
    pen, x = ImageDraw.Draw(drawn), stroke
    for character, advance in zip(text, advances, strict=True):
        pen.text((x, -top), character, fill=255, font=font, stroke_width=stroke, stroke_fill=255)
        x += advance
    # Plate types are narrow: squeeze down to 55 %, then make the line lower.
    natural = drawn.width * height / drawn.height
    width = min(natural * 0.85, most_width)
    if width < 0.55 * natural:
        height = max(round(width / (0.55 * natural) * height), 4)
    return drawn.resize((max(round(width), 1), height), Pillow.Resampling.LANCZOS)


def _four_corners(contour: NDArray[np.int32]) -> list[Floats]:
    """Return candidate corners (4, 2), ordered: the contour's own four if it has them, then its tightest rectangle."""
    hull = cv2.convexHull(contour)
    found = []
    perimeter = cv2.arcLength(hull, True)
    for tolerance in (0.02, 0.04, 0.06):
        corners = cv2.approxPolyDP(hull, tolerance * perimeter, True)
        if len(corners) == 4:
            found.append(_ordered(corners.reshape(4, 2).astype(np.float32)))
            break
    found.append(_ordered(np.asarray(cv2.boxPoints(cv2.minAreaRect(hull)), np.float32)))
    return found


def _ordered(corners: Floats) -> Floats:
    """Return corners (4, 2) clockwise from top left, for plates tilted by less than 45 degrees."""
    centre = corners.mean(axis=0)
    angle = np.arctan2(corners[:, 1] - centre[1], corners[:, 0] - centre[0])
    turned = corners[np.argsort(angle)]  # clockwise on screen, for y points down
    start = int(np.argmin(turned.sum(axis=1)))
    return np.roll(turned, -start, axis=0)


def _plausible(corners: Floats) -> bool:
    """Return whether corners (4, 2) can be a plate: about a parallelogram, at least 4 pixels high, tilt up to 35°."""
    edges = np.roll(corners, -1, axis=0) - corners
    lengths = np.linalg.norm(edges, axis=1)
    if lengths.min() < 4:
        return False
    wide, high = (lengths[0] + lengths[2]) / 2, (lengths[1] + lengths[3]) / 2
    alike = max(lengths[0], lengths[2]) < 1.4 * min(lengths[0], lengths[2]) and max(lengths[1], lengths[3]) < 1.6 * min(
        lengths[1], lengths[3]
    )
    tilt = np.degrees(np.abs(np.arctan2(edges[0, 1], edges[0, 0])))
    # Sides lean by as much as the plate is rolled; more than that is a corner found wrongly, and italic text.
    lean = np.degrees(np.arctan2(np.abs(edges[[1, 3], 0]), np.abs(edges[[1, 3], 1]))).max()
    return bool(alike and tilt <= 35 and lean <= tilt + 5 and 0.8 <= wide / high <= 8)


def _fit(corners: Floats, contour: NDArray[np.int32], expected: Floats) -> float:
    """Return how well corners (4, 2) fit in [0, 1]: their upright box to one expected, and they to the contour."""
    upright = np.concatenate([corners.min(axis=0), corners.max(axis=0) + 1]).astype(np.float32)
    inner, outer = cv2.contourArea(contour), cv2.contourArea(corners)
    filled = min(inner, outer) / max(inner, outer, 1.0)
    return float(box_iou(upright[None], expected).max()) * filled


def _mask_quad(instance: Instance, box: IntBox) -> Floats:
    """Return the corners of the mask's tightest rectangle, or of the box where the mask fills it."""
    left, top, right, bottom = (float(v) for v in box)
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    if instance.mask.mean() > 0.9 or not instance.mask.any():
        return corners
    points = np.argwhere(instance.mask)[:, ::-1].astype(np.float32)  # (N, 2) row, column -> x, y
    origin = np.array(integer_box(instance.box)[:2], np.float32)
    tight = _ordered(np.asarray(cv2.boxPoints(cv2.minAreaRect(points)), np.float32)) + origin
    return tight if _plausible(tight) else corners


def _filled(corners: Floats, size: tuple[int, int]) -> Mask:
    frame = np.zeros(size, np.uint8)
    cv2.fillConvexPoly(frame, np.rint(corners).astype(np.int32), 1)
    return frame > 0


def _side(corners: Floats, first: int, second: int) -> float:
    return float(np.linalg.norm(corners[first] - corners[second]))


def _luminance(pixels: NDArray[np.number]) -> Floats:
    return np.asarray(pixels @ np.array([0.299, 0.587, 0.114]), np.float32)


def _two_colours(original: Image, region: Mask) -> tuple[Colour, Colour]:
    """Return the plate's background and ink: the main one of two clusters of colour and the other, kept apart."""
    pixels = original[region] if region.any() else original.reshape(-1, 3)
    sample = pixels[:: max(1, len(pixels) // 4096)].astype(np.float32)
    grey = _luminance(sample)
    # Means of the two sides of the luminance's mid-point, refined: k-means in one dimension, without chance.
    split = float(grey.min() + grey.max()) / 2
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
    gap = float(_luminance(ink[None])[0] - _luminance(background[None])[0])
    if abs(gap) < LEAST_CONTRAST:
        darker = float(_luminance(background[None])[0]) > 100
        ink = np.clip(background + (-1 if darker else 1) * 1.5 * LEAST_CONTRAST, 0, 255)
    return _colour(background), _colour(ink)


def _outer(colours: Floats, grey: Floats, share: float, direction: int) -> Floats:
    """Return the median colour of the share (N, 3) that is lightest (direction 1) or darkest (-1)."""
    most = np.argsort(-direction * grey, kind="stable")[: max(1, round(share * len(grey)))]
    return np.asarray(np.median(colours[most], axis=0), np.float32)


def _colour(values: NDArray[np.floating]) -> Colour:
    red, green, blue = (int(np.clip(round(float(v)), 0, 255)) for v in values)
    return red, green, blue


def _light_plane(original: Image, region: Mask) -> Floats:
    """Return a plane (h, w) of relative light over the plate, around 1, from its brighter half."""
    height, width = region.shape
    grey = _luminance(original)
    usable = region & (grey >= np.median(grey[region])) if region.any() else region
    if usable.sum() < 16:
        return np.ones((height, width), np.float32)
    rows, columns = np.nonzero(usable)
    design = np.stack([rows / height - 0.5, columns / width - 0.5, np.ones(len(rows))], axis=1)
    plane, *_ = np.linalg.lstsq(design, grey[usable].astype(np.float64), rcond=None)
    down, across = np.mgrid[0:height, 0:width]
    light = plane[0] * (down / height - 0.5) + plane[1] * (across / width - 0.5) + plane[2]
    return np.clip(light / max(float(light[usable].mean()), 1.0), 0.7, 1.3).astype(np.float32)


def _warp(flat: Image, quad: Floats, size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return the flat plate in the quad's perspective, float32 (h, w, 3), and its coverage (h, w) in [0, 1]."""
    height, width = size
    fine = (width * OVERSAMPLING, height * OVERSAMPLING)
    source = np.array([[0, 0], [flat.shape[1], 0], [flat.shape[1], flat.shape[0]], [0, flat.shape[0]]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, (quad * OVERSAMPLING).astype(np.float32))
    warped = cv2.warpPerspective(flat, matrix, fine, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    ones = np.ones(flat.shape[:2], np.float32)
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


def _match_sharpness(warped: Floats, original: Image, region: Mask) -> Floats:
    """Return the warped plate blurred until it is no sharper than the original."""
    if not region.any():
        return warped
    # The figure saturates where text is crisp, so a tenth above still counts as equal.
    wanted = 1.1 * _sharpness(_luminance(original), region)
    most = max(0.5, min(region.shape) / 18)  # beyond this the text could not be read
    for sigma in np.linspace(0.0, most, 9)[1:]:
        if _sharpness(_luminance(warped), region) <= wanted:
            break
        candidate = np.asarray(cv2.GaussianBlur(warped, (0, 0), float(sigma)), np.float32)
        if _sharpness(_luminance(candidate), region) <= wanted or sigma == most:
            return candidate
    return warped


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


def _surroundings(image: Image, instance: Instance, box: IntBox) -> Floats:
    """Return a fill of the box from the pixels around the mask, float32 (h, w, 3)."""
    height, width = box[3] - box[1], box[2] - box[0]
    ring = max(3, min(height, width) // 6)
    crop = np.ascontiguousarray(take(image, (box[0] - ring, box[1] - ring, box[2] + ring, box[3] + ring)))
    hole = np.pad(instance.mask.astype(np.uint8), ring)
    filled = cv2.inpaint(crop, hole, 3, cv2.INPAINT_TELEA)
    return np.asarray(filled[ring : ring + height, ring : ring + width], np.float32)
