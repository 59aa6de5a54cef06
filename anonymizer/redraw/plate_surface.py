"""Surface of a license plate besides its text: where lines of print stand, grain and dirt, and compression."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import IntBox, take

__all__ = ["LINE_WIDTH", "Place", "Print", "compressed", "grained", "measure_print"]

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: Least height of a flat plate in pixels at which lines of print are told apart.
LEAST_HEIGHT = 14
#: Proportion of the plate's height and width that is rim, where nothing is printed.
RIM_Y, RIM_X = 0.06, 0.08
#: Rows of a plate's middle through which a single line of characters runs.
MIDDLE = (0.3, 0.75)
#: Least proportion of those rows that is inked where there are characters; that of their other rows, by the fullest's.
INKED, IN_LINE = 0.1, 0.35
#: Least proportion of a column of characters that is inked.
IN_COLUMN = 0.15
#: Heights of a line of characters, its least width and its width when drawn, by the plate's.
TALL, WIDE, LINE_WIDTH = (0.3, 0.85), 0.4, 0.88
#: Least height of small print, by the plate's: lower ones are lines of its rim.
SMALL = 0.07
#: Distance from the ground's luminance, by the ink's, from which small print counts: it is blurred.
MARKED = 0.3
#: Proportion of a strip that is marked where there is small print, and most of a row's: more is a shadow or a frame.
PRINTED, FULL = (0.06, 0.6), 0.75
#: Steps of the places of lines, by the plate's height or width: too wide to tell one text from another.
STEP = 0.04
#: Standard deviations in pixels of the Gaussians that part grain from dirt, and dirt from light.
BANDS = (1.0, 4.0)
#: Least pixels of bare ground in which grain is measured, and the most that counts, in levels: more is print.
LEAST_GROUND, MOST_GRAIN = 30, 6.0
#: From the median of absolute values to a standard deviation, under a normal distribution.
SPREAD = 1.4826
#: JPEG qualities that are tried, and the root mean square in levels that coding may change where a picture has no more
#: detail than the quality leaves. Blocks of chroma are 16 pixels wide.
QUALITIES, UNCHANGED, BLOCK = (20, 30, 45, 60, 75, 90), 5.0, 16


@dataclass(frozen=True, slots=True)
class Place:
    """Place of a line of print on a flat plate, as proportions of its height and width.

    Args:
        top: Upper border.
        bottom: Lower border.
        left: Left border.
        right: Right border.
    """

    top: float
    bottom: float
    left: float
    right: float


@dataclass(frozen=True, slots=True)
class Print:
    """Lines of print on a plate, without what they say.

    Args:
        characters: The line of characters.
        small: Lines of small print above and below.
    """

    characters: Place
    small: tuple[Place, ...] = ()


def measure_print(flat: Image, ground: float, ink: float) -> Print | None:
    """Return the lines of print on a one-line plate; None where they cannot be told.

    Args:
        flat: The plate seen from the front, RGB uint8 (h, w, 3).
        ground: Luminance of its ground in levels.
        ink: Luminance of its characters.
    """
    height, width = flat.shape[:2]
    if height < LEAST_HEIGHT or abs(ink - ground) < 1:
        return None
    contrast = (cv2.cvtColor(flat, cv2.COLOR_RGB2GRAY) - np.float32(ground)) / np.float32(ink - ground)
    inked = contrast > 0.5
    rim, side = max(round(RIM_Y * height), 1), max(round(RIM_X * width), 1)
    rows = inked[:, side : width - side].mean(axis=1)
    first, last = (round(part * height) for part in MIDDLE)
    full = float(np.percentile(rows[first:last], 80))
    top = bottom = first + int(np.argmax(rows[first:last]))
    while top > rim and rows[top - 1] > IN_LINE * full:
        top -= 1
    while bottom < height - rim and rows[bottom] > IN_LINE * full:
        bottom += 1
    if full < INKED or not TALL[0] * height <= bottom - top <= TALL[1] * height:
        return None
    columns = np.flatnonzero(inked[top:bottom, rim : width - rim].mean(axis=0) > IN_COLUMN) + rim
    if not len(columns) or columns[-1] - columns[0] < WIDE * width:
        return None
    strips = (_small(contrast, rim, top - 1, side), _small(contrast, bottom + 1, height - rim, side))
    return Print(
        # As wide as lines are: how wide this one is depends on its characters.
        _place((top, bottom, (1 - LINE_WIDTH) / 2 * width, (1 + LINE_WIDTH) / 2 * width), flat),
        tuple(strip for strip in strips if strip is not None),
    )


def _small(contrast: Floats, first: int, last: int, side: int) -> Place | None:
    """Return the place of small print between two rows of a plate's contrast (h, w); None where there is none."""
    height, width = contrast.shape
    if last - first < max(SMALL * height, 3):
        return None
    marked = np.abs(contrast[first:last, side : width - side]) > MARKED
    if not PRINTED[0] <= float(marked.mean()) <= PRINTED[1]:
        return None
    rows = marked.mean(axis=1)
    within = np.flatnonzero(rows > MARKED * rows.max()) + first
    if within[-1] + 1 - within[0] < SMALL * height or rows.max() > FULL:
        return None
    left, right = np.percentile(np.flatnonzero(marked.any(axis=0)) + side, [5, 95])
    return _place((int(within[0]), int(within[-1]) + 1, float(left), float(right)), contrast)


def _place(borders: tuple[float, float, float, float], flat: Image | Floats) -> Place:
    height, width = flat.shape[:2]
    top, bottom, left, right = borders
    return Place(*(round(part / STEP) * STEP for part in (top / height, bottom / height, left / width, right / width)))


def grained(plate: Floats, original: Floats, ground: Mask, rng: np.random.Generator) -> Floats:
    """Return a plate float32 (h, w, 3) with as much grain and dirt as there was on its bare ground.

    Args:
        plate: The new one, without either.
        original: Luminance of what was there, float32 (h, w).
        ground: bool (h, w), its bare ground.
        rng: Source of grain.
    """
    if int(ground.sum()) < LEAST_GROUND:
        return plate
    out, rest = plate.copy(), original
    noise = np.asarray(rng.standard_normal(original.shape), np.float32)
    for sigma in BANDS:
        # Weighted, so that no ink beside the ground counts.
        weight = cv2.GaussianBlur(ground.astype(np.float32), (0, 0), sigma) + np.float32(1e-6)
        low = cv2.GaussianBlur(rest * ground, (0, 0), sigma) / weight
        level = min(SPREAD * float(np.median(np.abs(rest - low)[ground])), MOST_GRAIN)
        smooth = cv2.GaussianBlur(noise, (0, 0), sigma)
        out += (level / max(float((noise - smooth).std()), 1e-6) * (noise - smooth))[..., None]
        rest, noise = low, smooth
    return out


def compressed(patch: Image, box: IntBox, original: Image) -> Image:
    """Return a patch RGB uint8 (h, w, 3) with no more detail than a JPEG of the picture's quality would leave it.

    Args:
        patch: What comes to lie in the box.
        box: Its place in the picture.
        original: RGB uint8 (H, W, 3): its quality is the lowest that would leave it nearly as it is.
    """
    x1, y1, x2, y2 = (n // BLOCK * BLOCK for n in (box[0], box[1], box[2] + BLOCK - 1, box[3] + BLOCK - 1))
    before = take(original, box)
    # Blocks reach beyond the box, where other hidden things may lie.
    after = np.pad(patch, ((box[1] - y1, y2 - box[3]), (box[0] - x1, x2 - box[2]), (0, 0)), mode="edge")
    inside = slice(box[1] - y1, box[3] - y1), slice(box[0] - x1, box[2] - x1)
    for quality in QUALITIES:
        lost = _coded(before, quality).astype(np.float32) - before
        if float(np.sqrt(np.mean(lost**2))) <= UNCHANGED:
            return np.ascontiguousarray(_coded(after, quality)[inside])
    return patch


def _coded(picture: Image, quality: int) -> Image:
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
