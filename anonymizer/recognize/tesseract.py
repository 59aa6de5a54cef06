"""Tesseract, the OCR program, called for one line of text at a time."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anonymizer.core.errors import ModelError
from anonymizer.core.records import Image, TextLine, check_image

__all__ = ["TesseractReader"]

PROGRAM, LANGUAGE = "tesseract", "eng"
#: Page segmentation mode: the picture is one word. Mode 7, one line, gives up where a plate's frame is in the picture.
ONE_WORD = 8
#: Page segmentation mode: words anywhere, in no order.
SPARSE = 11
#: Column of the text in a TSV row, the columns in all, and the level of a word.
PAGE, TEXT, COLUMNS, WORD = 1, 11, 12, "5"
#: First column of a word's box (left, top, width, height), and that of its confidence in per cent.
BOX, CONFIDENCE = 6, 10


class TesseractReader:
    """Reads words with Tesseract's own networks, by the program installed on this machine; no shell takes part.

    Args:
        characters: Characters it may read; "" for all that it knows.
        timeout_s: Seconds after which a call is given up.

    Raises:
        ModelError: The program or its English data are not installed.

    Attributes:
        data: The file of English data that it reads with.
    """

    def __init__(self, characters: str = "", timeout_s: float = 60.0) -> None:
        program = shutil.which(PROGRAM)
        if program is None:
            raise ModelError(f"{PROGRAM}: expected the program on PATH, found none; install the package tesseract-ocr")
        self._program, self._timeout_s = program, timeout_s
        self._options = ["-c", f"tessedit_char_whitelist={characters}"] if characters else []
        listed = self._call(["--list-langs"]).decode(errors="replace")
        # The first line names the folder: List of available languages in "/usr/share/…/tessdata/" (2):
        folder = re.search(r'"(.+)"', listed)
        if folder is None:
            raise ModelError(f"{PROGRAM}: expected version 5, which names the folder of its data, got an older one")
        if LANGUAGE not in listed.split():
            raise ModelError(f"{PROGRAM}: expected its English data, found none; install the package tesseract-ocr-eng")
        self.data = Path(folder[1]) / f"{LANGUAGE}.traineddata"

    def read_words(self, images: Sequence[Image]) -> tuple[str, ...]:
        """Return what is read in each picture as one word, "" for nothing.

        Args:
            images: RGB uint8 (H, W, 3) each, all read in one call, which costs less than a call for each.

        Raises:
            InputError: A picture has another shape or dtype.
            ModelError: The program failed or took too long.
        """
        import tifffile

        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as writer:
            for image in images:
                # 70 dots per inch is what Tesseract assumes; said so that it has nothing to warn of.
                pixels = np.ascontiguousarray(check_image(image))
                writer.write(pixels, photometric="rgb", resolution=(70, 70), resolutionunit=2, metadata=None)
        call = ["stdin", "stdout", "-l", LANGUAGE, "--psm", str(ONE_WORD), *self._options, "tsv"]
        table = self._call(call, buffer.getvalue()).decode(errors="replace")
        words = [""] * len(images)
        for row in csv.reader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE):
            if len(row) == COLUMNS and row[0] == WORD:
                words[int(row[PAGE]) - 1] += row[TEXT].strip()
        return tuple(words)

    def find_words(self, image: Image, score: float) -> tuple[TextLine, ...]:
        """Return the words that stand anywhere in a picture, with their boxes as polygons float32 (4, 2).

        Args:
            image: RGB uint8 (H, W, 3).
            score: Least confidence, in [0, 1].

        Raises:
            InputError: The picture has another shape or dtype.
            ModelError: The program failed or took too long.
        """
        import tifffile

        buffer = io.BytesIO()
        pixels = np.ascontiguousarray(check_image(image))
        tifffile.imwrite(buffer, pixels, photometric="rgb", resolution=(70, 70), resolutionunit=2, metadata=None)
        call = ["stdin", "stdout", "-l", LANGUAGE, "--psm", str(SPARSE), *self._options, "tsv"]
        table = self._call(call, buffer.getvalue()).decode(errors="replace")
        words = []
        for row in csv.reader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE):
            if len(row) == COLUMNS and row[0] == WORD and float(row[CONFIDENCE]) >= 100 * score:
                x, y, width, height = (float(value) for value in row[BOX : BOX + 4])
                corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
                polygon = np.array(corners, dtype=np.float32)
                words.append(TextLine(polygon, row[TEXT].strip(), float(row[CONFIDENCE]) / 100))
        return tuple(words)

    def _call(self, arguments: Sequence[str], data: bytes = b"") -> bytes:
        # One thread: on crops this small, its threads only wait for each other.
        environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}
        try:
            done = subprocess.run(  # noqa: S603 - a fixed program, no shell, nothing of the pictures' names
                [self._program, *arguments], input=data, capture_output=True, timeout=self._timeout_s, env=environment
            )
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"{PROGRAM}: expected an answer within {self._timeout_s:g} s, got none") from error
        if done.returncode != 0:
            lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
            raise ModelError(f"{PROGRAM}: expected exit code 0, got {done.returncode}: {lines[-1]}")
        return done.stdout
