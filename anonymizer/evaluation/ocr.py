"""OCR of plates: PP-OCR, which also checks this package's own runs, and others that took no part in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from anonymizer.core.errors import ModelError
from anonymizer.core.records import Image, OCRReader, TextLine
from anonymizer.evaluation.recognizers import Unavailable
from anonymizer.models import weights

__all__ = ["LETTERS", "PlateOCR", "PlateWindows", "choose_ocr", "windows"]

LABEL = "license_plate"
#: What stands on the plates measured: no lower case, no signs.
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#: Where on a plate's crop its characters are looked for: top and bottom as proportions of the height, and what is left
#: out at each side. Frames, names of states and screws make OCR of one word fail; which window leaves them out differs
#: from plate to plate. Chosen on the training pictures of OpenALPR: of 80 plates Tesseract read 71, 73 and 72 % of the
#: characters in one window each, 80 % in the best of all three.
WINDOWS = ((0.28, 0.84, 0.04), (0.28, 0.84, 0.12), (0.20, 0.86, 0.08))
#: Height in pixels of a window when it is read, and percentiles of brightness that become black and white.
HEIGHT, STRETCH = 64, (2.0, 98.0)


@dataclass(frozen=True, slots=True)
class PlateOCR:
    """A reader of plates with what a report says about it.

    Args:
        name: Short name for tables.
        sha256: Hash of what it reads with.
        licence: Licence of that.
        judge: False for the reader that this package verifies plates with: of its own releases it proves nothing.
        ocr: Reads a plate's crop.
        label: Class it reads.
    """

    name: str
    sha256: str
    licence: str
    judge: bool
    ocr: OCRReader
    label: str = LABEL


class _WordReader(Protocol):
    data: Path

    def read_words(self, images: Sequence[Image]) -> tuple[str, ...]: ...


class PlateWindows:
    """Lets a reader of single words read plates: in several windows of the crop, each one reading.

    Args:
        words: Reads a word per picture.
    """

    def __init__(self, words: _WordReader) -> None:
        self._words = words

    def read(self, image: Image) -> tuple[TextLine, ...]:
        """Return what is read in each window of a plate's crop, RGB uint8 (H, W, 3); polygons are the windows.

        The readings are guesses at the same text, none surer than another: every score is 0.

        Raises:
            InputError: The picture has another shape or dtype.
            ModelError: The reader failed.
        """
        views = windows(image)
        read = self._words.read_words([view for _, view in views])
        return tuple(
            TextLine(np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], dtype=np.float32), text, 0.0)
            for ((x1, y1, x2, y2), _), text in zip(views, read, strict=True)
            if text
        )


def windows(image: Image) -> list[tuple[tuple[int, int, int, int], Image]]:
    """Return the windows of a plate's crop: place (x1, y1, x2, y2), and a grey picture RGB uint8 (64, w, 3) of it."""
    import cv2

    height, width = image.shape[:2]
    out = []
    for top, bottom, side in WINDOWS:
        y1, x1 = int(top * height), int(side * width)
        y2, x2 = max(round(bottom * height), y1 + 1), max(width - x1, x1 + 1)
        grey = cv2.cvtColor(np.ascontiguousarray(image[y1:y2, x1:x2]), cv2.COLOR_RGB2GRAY)
        size = max(round((x2 - x1) * HEIGHT / (y2 - y1)), 1), HEIGHT
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC), np.float32)
        low, high = np.percentile(grey, STRETCH)
        grey = np.clip((grey - low) * (255.0 / max(high - low, 1.0)), 0, 255).astype(np.uint8)
        out.append(((x1, y1, x2, y2), np.repeat(grey[..., None], 3, axis=2)))
    return out


def choose_ocr() -> tuple[tuple[PlateOCR, ...], tuple[Unavailable, ...]]:
    """Open every reader of plates on this machine.

    Returns:
        PP-OCR first, which reads texts that nobody annotated from the originals, then the independent ones; and those
        that are not here.

    Raises:
        ModelError: PP-OCR's weights are missing or others than listed, or a reader that is here does not work.
    """
    from anonymizer.recognize.ocr import DdddReader, RapidOcrReader, TesseractReader

    # Score 0: what the reader itself doubts may still be the text.
    ppocr = RapidOcrReader(weights.path("ppocr"), text_score=0.0)
    found = [PlateOCR("ppocr", weights.digest("ppocr"), weights.entry("ppocr").licence, False, ppocr)]
    missing = []
    for name, licence, make in (
        ("tesseract", "Apache-2.0", lambda: TesseractReader(LETTERS)),
        ("ddddocr", "MIT", DdddReader),
    ):
        try:
            words: _WordReader = make()
        except ModelError as error:
            missing.append(Unavailable(name, str(error)))
            continue
        found.append(PlateOCR(name, weights.file_sha256(words.data), licence, True, PlateWindows(words)))
    return tuple(found), tuple(missing)
