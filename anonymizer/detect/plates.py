"""Text as license plates: what OCR finds and what looks like a plate."""

from __future__ import annotations

import numpy as np

from anonymizer.core.errors import InputError
from anonymizer.core.geometry import integer_box
from anonymizer.core.records import Floats, Image, Instance, Mask, OCRReader, TextLine, check_image
from anonymizer.detect.regions import make_instance, number

__all__ = ["TextDetector", "is_bright", "plate_like"]

#: Width divided by height of a plate's characters as one line: a short line of a two-line plate to a long European.
ASPECT = (1.5, 8.0)
#: Lowest line that can be read, in pixels, and the highest a plate can be, as a share of the picture's height.
MIN_HEIGHT, MAX_HEIGHT_SHARE = 8.0, 0.20
#: Letters and digits on a plate.
CHARACTERS = (4, 10)
#: From this score on, what OCR read is believed.
READ = 0.5
#: A plate that cannot be read: brightness of its light part and contrast to its dark part, of 255.
LIGHT, CONTRAST = 110.0, 50.0
#: Highest score of a line as a plate: of 36 that read like plates on held-out pictures 21 were some.
LIKELY = 0.5
#: How far plates and other text reach beyond the line, as a share of its height: the line is smaller than the plate.
PLATE_MARGIN, TEXT_MARGIN = 0.2, 0.1


def _sides(polygon: Floats) -> tuple[float, float]:
    """Return mean width and height of a quadrilateral (4, 2), clockwise from top left."""
    top_left, top_right, bottom_right, bottom_left = np.asarray(polygon, dtype=np.float64)
    width = (np.linalg.norm(top_right - top_left) + np.linalg.norm(bottom_right - bottom_left)) / 2
    height = (np.linalg.norm(bottom_left - top_left) + np.linalg.norm(bottom_right - top_right)) / 2
    return float(width), float(height)


def plate_like(line: TextLine, size: tuple[int, int], bright: bool = False) -> bool:
    """Return whether a line of text may be a license plate.

    It may, if it is 1.5 to 8 times as wide as high, at least 8 pixels and at most 20 % of the picture high, and

    - OCR read it (score of at least 0.5) as 4 to 10 letters and digits, at least one of them a digit; or
    - OCR could not read it, and it is dark on light with clear contrast (``bright``), as plates are.

    The embedded networks know no vehicles, so whether the text is on or near one is not checked: house numbers, bus
    lines and street signs with digits pass as plates. That costs fidelity, not privacy.

    Args:
        line: What OCR found.
        size: Picture (height, width).
        bright: Whether the line's pixels are light with dark characters; see ``is_bright``.
    """
    width, height = _sides(line.polygon)
    if height < MIN_HEIGHT or height > MAX_HEIGHT_SHARE * size[0]:
        return False
    if not ASPECT[0] <= width / height <= ASPECT[1]:
        return False
    if line.score < READ:
        return bright
    characters = [c for c in line.text if c.isalnum()]
    return CHARACTERS[0] <= len(characters) <= CHARACTERS[1] and any(c.isdigit() for c in characters)


def is_bright(image: Image, polygon: Floats) -> bool:
    """Return whether the upright box around a polygon (4, 2) holds light ground with darker characters."""
    x1, y1 = np.maximum(np.floor(polygon.min(axis=0)), 0).astype(int)
    x2, y2 = np.ceil(polygon.max(axis=0)).astype(int)
    patch = image[y1:y2, x1:x2]
    if not patch.size:
        return False
    dark, light = np.percentile(patch.mean(axis=2), (10, 75))
    return bool(light >= LIGHT and light - dark >= CONTRAST)


class TextDetector:
    """Finds text with OCR and reports lines that may be license plates, and others if asked for.

    Args:
        ocr_reader: Reader of lines. For plates that are found but not legible it should also return lines of low
            score.
        emit_text: Whether to report text that is no plate as class ``text``.

    Raises:
        InputError: The reader has no ``read``.
    """

    def __init__(self, ocr_reader: OCRReader, emit_text: bool = False) -> None:
        if not callable(getattr(ocr_reader, "read", None)):
            raise InputError(f"ocr_reader: expected an object with read(image), got {type(ocr_reader).__name__}")
        self._reader = ocr_reader
        self._emit_text = emit_text

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return plates, and other text if asked for, in RGB uint8 (H, W, 3), in the reader's order.

        Raises:
            InputError: The picture has another shape or dtype.
        """
        check_image(image)
        size = image.shape[0], image.shape[1]
        found = []
        for line in self._reader.read(image):
            plate = plate_like(line, size, is_bright(image, line.polygon))
            if not plate and not self._emit_text:
                continue
            polygon = _widen(line.polygon, PLATE_MARGIN if plate else TEXT_MARGIN)
            box = np.concatenate([polygon.min(axis=0), polygon.max(axis=0)]).astype(np.float32)
            instance = make_instance(
                "license_plate" if plate else "text",
                box,
                size,
                score=min(line.score, LIKELY) if plate else line.score,
                source="ocr",
                mask=_fill(polygon, box),
            )
            if instance is not None:
                found.append(instance)
        return number(found)


def _widen(polygon: Floats, margin: float) -> Floats:
    """Move the sides of a quadrilateral (4, 2) outwards by a share of its height, along its own axes."""
    top_left, top_right, bottom_right, bottom_left = np.asarray(polygon, dtype=np.float64)
    reach = margin * _sides(polygon)[1]

    def unit(vector: np.ndarray) -> np.ndarray:
        return vector / max(float(np.linalg.norm(vector)), 1e-6) * reach

    right = unit(top_right - top_left + bottom_right - bottom_left)
    down = unit(bottom_left - top_left + bottom_right - top_right)
    corners = [
        top_left - right - down,
        top_right + right - down,
        bottom_right + right + down,
        bottom_left - right + down,
    ]
    return np.array(corners, dtype=np.float32)


def _fill(polygon: Floats, box: Floats) -> Mask:
    """Return the mask of a polygon (4, 2) in the frame of its integer box."""
    import cv2

    x1, y1, x2, y2 = integer_box(box)
    canvas = np.zeros((y2 - y1, x2 - x1), dtype=np.uint8)
    cv2.fillConvexPoly(canvas, np.rint(polygon - np.array([x1, y1]) - 0.5).astype(np.int32), 1)
    return canvas.astype(np.bool_)
