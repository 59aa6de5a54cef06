"""Readers of text: PP-OCR through rapidocr, the network of ddddocr for short lines, and Tesseract; all offline."""

from __future__ import annotations

import csv
import importlib
import io
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from anonymizer.core.errors import InputError, ModelError
from anonymizer.core.records import Image, TextLine, check_image
from anonymizer.models.onnx import open_session

__all__ = ["DdddReader", "RapidOcrReader", "TesseractReader"]

#: Long side in pixels from which a picture is shrunk here rather than by the engine.
HUGE = 4096
#: Which file of the models' folder does what.
FILES = {"Det": "PP-OCRv6_det_small.onnx", "Rec": "PP-OCRv6_rec_small.onnx"}
#: Package of the network for short lines, and its file there.
PACKAGE, NETWORK = "ddddocr", "common.onnx"
#: The program Tesseract, and the language of its model.
PROGRAM, LANGUAGE = "tesseract", "eng"
#: Page segmentation mode: the picture is one word. Mode 7, one line, gives up where a plate's frame is in the picture.
ONE_WORD = 8
#: Page segmentation mode: words anywhere, in no order.
SPARSE = 11
#: Column of the text in a TSV row, the columns in all, and the level of a word.
PAGE, TEXT, COLUMNS, WORD = 1, 11, 12, "5"
#: First column of a word's box (left, top, width, height), and that of its confidence in per cent.
BOX, CONFIDENCE = 6, 10


class RapidOcrReader:
    """Reads lines of text with PP-OCR.

    The networks are opened here: rapidocr looks up, and if need be downloads, only those that it was not given. Text
    upside down is not looked for.

    Args:
        models: Folder with PP-OCR's networks for detection and recognition; None: that of the rapidocr package.
        text_score: Lowest score of a line, in [0, 1]; 0 also returns what was found but not legible.
        max_side: Long side in pixels beyond which a picture is shrunk first.
        min_side: Long side in pixels below which a picture is enlarged first; 0 never enlarges.

    Raises:
        InputError: A setting out of range.
        ModelError: A file is missing or no network.
    """

    def __init__(
        self, models: Path | None = None, text_score: float = 0.5, max_side: int = 1280, min_side: int = 0
    ) -> None:
        if not 0.0 <= text_score <= 1.0:
            raise InputError(f"text_score: expected a share in [0, 1], got {text_score}")
        if max_side < 32 or not 0 <= min_side <= max_side:
            raise InputError(f"max_side, min_side: expected 32 <= max and 0 <= min <= max, got {max_side}, {min_side}")
        if models is None:
            models = _packaged()
        for file in FILES.values():
            if not (models / file).is_file():
                raise ModelError(f"ppocr: expected {file} in {models}, found none; run `anonymizer models verify`")
        from omegaconf import flag_override
        from rapidocr import RapidOCR

        self._engine = RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.text_score": text_score,
                "Global.use_cls": False,
                "Global.max_side_len": max_side,
                "Global.model_root_dir": str(models),
                "Det.limit_type": "max",
                "Det.limit_side_len": max_side,
            }
        )
        for part, file in FILES.items():
            # Threads of its own sessions burn as much time waiting as working.
            with flag_override(self._engine.cfg[part], "allow_objects", True):
                self._engine.cfg[part].session = open_session(models / file, "ppocr")
        # rapidocr sets its level when an engine starts; a later engine elsewhere may lower it, ours stays silent.
        logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
        self._min_side = min_side
        self._max_side = max_side

    def read(self, image: Image) -> tuple[TextLine, ...]:
        """Return the lines found in RGB uint8 (H, W, 3), top to bottom, in its pixels.

        Raises:
            InputError: The picture has another shape or dtype.
        """
        import cv2

        check_image(image)
        height, width = image.shape[:2]
        scale = max(self._min_side / max(height, width), 1.0)
        if max(height, width) > HUGE:
            # The engine would shrink it as well, but only after several copies.
            scale = self._max_side / max(height, width)
        if scale != 1.0:
            size = max(round(width * scale), 1), max(round(height * scale), 1)
            image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC if scale > 1.0 else cv2.INTER_AREA)
        read = self._engine(np.ascontiguousarray(image[..., ::-1]))  # RGB -> BGR
        if read.boxes is None or read.txts is None or read.scores is None:
            return ()
        limit = np.array([width, height], dtype=np.float32)
        return tuple(
            TextLine(
                polygon=np.clip(np.asarray(polygon, dtype=np.float32) / np.float32(scale), 0, limit),
                text=text,
                score=float(score),
            )
            for polygon, text, score in zip(read.boxes, read.txts, read.scores, strict=True)
        )


def _packaged() -> Path:
    spec = find_spec("rapidocr")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("ppocr: expected the rapidocr package, it is not installed; run `pip install rapidocr`")
    return Path(spec.submodule_search_locations[0]) / "models"


class DdddReader:
    """Reads words with the larger of the two networks that the package carries.

    Raises:
        ModelError: The package is not installed or lacks the network.

    Attributes:
        data: The network's file.
    """

    def __init__(self) -> None:
        spec = find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(f"{PACKAGE}: expected the package, it is not installed; run `pip install {PACKAGE}`")
        self.data = Path(spec.submodule_search_locations[0]) / NETWORK
        if not self.data.is_file():
            raise ModelError(f"{PACKAGE}: expected {NETWORK} in {self.data.parent}, found none; install it anew")
        # By name: the package is optional, so that nobody who checks types has to have it.
        self._engine = importlib.import_module(PACKAGE).DdddOcr(show_ad=False, beta=True)

    def read_words(self, images: Sequence[Image]) -> tuple[str, ...]:
        """Return what is read in each RGB uint8 (H, W, 3) picture as one word, "" for nothing.

        Raises:
            InputError: A picture has another shape or dtype.
        """
        from PIL import Image as Pillow

        words = []
        for image in images:
            buffer = io.BytesIO()
            Pillow.fromarray(check_image(image)).save(buffer, "PNG")
            words.append(str(self._engine.classification(buffer.getvalue())))
        return tuple(words)


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
