"""OCR of plates: windows, Tesseract as a program that works, fails, hangs or is absent, and who counts as judge."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anonymizer.core.errors import InputError, ModelError
from anonymizer.core.records import Image
from anonymizer.evaluation import ocr as ocrs
from anonymizer.evaluation.ocr import LETTERS, PlateWindows, windows
from anonymizer.recognize import ocr as readers
from anonymizer.recognize.ocr import DdddReader, TesseractReader


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """Put a program named tesseract alone on PATH: it lists its data, else runs a line of shell."""
    path = folder / "tesseract"
    listed = f'List of available languages in "{folder}/" (1):'
    path.write_text(f"#!/bin/sh\nif [ \"$1\" = --list-langs ]; then echo '{listed}'; echo eng; exit 0; fi\n{answer}\n")
    path.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(path))


def row(page: int, text: str) -> str:
    return f"5\\t{page}\\t1\\t1\\t1\\t1\\t0\\t0\\t9\\t9\\t90\\t{text}\\n"


CROP = np.full((30, 60, 3), 128, np.uint8)


def test_words_go_to_the_page_they_were_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(
        tmp_path, monkeypatch, f'cat > /dev/null; printf "level\\n{row(1, "AB")}{row(1, "12")}{row(3, chr(39) + "X")}"'
    )
    ocr = TesseractReader()
    assert ocr.data == tmp_path / "eng.traineddata"
    assert ocr.read_words([CROP, CROP, CROP]) == ("AB12", "", "'X")


def placed(box: tuple[int, int, int, int], confidence: int, text: str) -> str:
    numbers = "\\t".join(str(value) for value in box)
    return f"5\\t1\\t1\\t1\\t1\\t1\\t{numbers}\\t{confidence}\\t{text}\\n"


def test_words_of_a_picture_that_look_like_plates_are_found_where_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anonymizer.evaluation.detectors import WordPlateDetector

    words = placed((20, 10, 60, 20), 88, "B-X 123") + placed((0, 0, 60, 20), 90, "STREET")
    words += placed((0, 40, 60, 20), 5, "AB1234") + placed((0, 40, 60, 20), 60, "A1")
    program(tmp_path, monkeypatch, f'cat > /dev/null; printf "level\\n{words}"')
    (plate,) = WordPlateDetector().detect(np.full((100, 200, 3), 90, np.uint8))
    # It was read at twice the size. A street's name, a doubtful word and a short one are no plates.
    assert plate.label == "license_plate" and plate.box.tolist() == [10, 5, 40, 15]
    assert plate.score == pytest.approx(0.88) and plate.source == "tesseract-words"


def test_a_program_that_fails_or_hangs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "echo broken data >&2; exit 3")
    with pytest.raises(ModelError, match="got 3: broken data"):
        TesseractReader().read_words([CROP])
    # `exec` so that the program which is ended is the one that sleeps.
    program(tmp_path, monkeypatch, "exec sleep 20")
    with pytest.raises(ModelError, match="within 0.5 s"):
        TesseractReader(timeout_s=0.5).read_words([CROP])


@pytest.mark.parametrize(
    ("listed", "said"), [(b'languages in "/d/" (1):\nosd\n', "English"), (b"languages (1):\neng\n", "version 5")]
)
def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, listed: bytes, said: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/tesseract")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, listed, b""))
    with pytest.raises(ModelError, match=said):
        TesseractReader()


def test_pictures_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "cat > /dev/null")
    with pytest.raises(InputError, match="image"):
        TesseractReader().read_words([np.zeros((3, 3), np.uint8)])


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="Tesseract is not installed")
def test_tesseract_reads_what_is_plain_to_see() -> None:
    import cv2

    picture = np.full((64, 300, 3), 255, np.uint8)
    cv2.putText(picture, "KX47", (20, 52), cv2.FONT_HERSHEY_DUPLEX, 1.8, (0, 0, 0), 4)
    blank = np.full((64, 300, 3), 255, np.uint8)
    assert TesseractReader(LETTERS).read_words([picture, blank]) == ("KX47", "")


def test_windows_are_enlarged_stretched_and_inside_the_crop() -> None:
    crop = np.full((40, 100, 3), 100, np.uint8)
    crop[:, 50:] = 130
    found = windows(crop)
    assert [place for place, _ in found] == [(4, 11, 96, 34), (12, 11, 88, 34), (8, 8, 92, 34)]
    for (x1, y1, x2, y2), view in found:
        assert view.dtype == np.uint8 and view.shape == (64, round((x2 - x1) * 64 / (y2 - y1)), 3)
        assert view[:, 0].max() == 0 and view[:, -1].min() == 255
    assert all(view.shape[0] == 64 for _, view in windows(np.zeros((1, 1, 3), np.uint8)))


class Words:
    data = Path("words")

    def read_words(self, images: Sequence[Image]) -> tuple[str, ...]:
        return ("AB12", "", "B12")[: len(images)]


def test_every_window_that_is_read_is_one_reading() -> None:
    lines = PlateWindows(Words()).read(CROP)
    assert [line.text for line in lines] == ["AB12", "B12"]
    assert all(line.polygon.shape == (4, 2) and line.score == 0 for line in lines)


def test_who_is_not_here_is_told_and_ppocr_is_no_judge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent() -> Any:
        raise ModelError("ddddocr: not installed")

    class Here(Words):
        def __init__(self, characters: str) -> None:
            self.data = tmp_path / "eng"
            self.data.write_bytes(b"data")

    monkeypatch.setattr(readers, "DdddReader", absent)
    monkeypatch.setattr(readers, "TesseractReader", Here)
    found, missing = ocrs.choose_ocr()
    assert [(ocr.name, ocr.judge) for ocr in found] == [("ppocr", False), ("tesseract", True)]
    assert [(item.name, item.reason) for item in missing] == [("ddddocr", "ddddocr: not installed")]


def test_an_optional_package_that_is_absent_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install ddddocr"):
        DdddReader()
