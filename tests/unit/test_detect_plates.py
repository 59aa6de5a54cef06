from __future__ import annotations

import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.core.records import Image, TextLine
from anonymizer.detect.plates import TextDetector, is_bright, plate_like

SIZE = (480, 640)


def line(text: str, width: float = 100, height: float = 25, score: float = 0.9) -> TextLine:
    x1, y1, x2, y2 = 200, 300, 200 + width, 300 + height
    return TextLine(np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32), text, score)


class Reader:
    def __init__(self, *lines: TextLine) -> None:
        self.lines = lines

    def read(self, image: Image) -> tuple[TextLine, ...]:
        return self.lines


@pytest.mark.parametrize("text", ["6MMD595", "RK-115AN", "AB 12", "KA·1234"])
def test_plates_are_plate_like(text: str) -> None:
    assert plate_like(line(text), SIZE)


@pytest.mark.parametrize(
    "other",
    [
        line("CALIFORNIA"),
        line("B1"),
        line("0800 123 456 789"),
        line("6MMD595", width=30),
        line("6MMD595", width=300),
        line("6MMD595", width=20, height=6),
        line("6MMD595", width=300, height=110),
    ],
    ids=["no digit", "short", "long", "square", "wide", "low", "high"],
)
def test_other_text_is_not(other: TextLine) -> None:
    assert not plate_like(other, SIZE, bright=True)


def test_illegible_text_counts_if_it_is_dark_on_light() -> None:
    assert plate_like(line("?", score=0.2), SIZE, bright=True)
    assert not plate_like(line("6MMD595", score=0.2), SIZE, bright=False)


def test_a_turned_line_is_measured_along_itself() -> None:
    turn = np.deg2rad(30)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    straight = line("6MMD595")
    turned = TextLine(((straight.polygon - 200) @ rotation + 200).astype(np.float32), "6MMD595", 0.9)
    assert plate_like(turned, SIZE)


def test_is_bright() -> None:
    image = np.full((*SIZE, 3), 40, np.uint8)
    polygon = line("x").polygon
    assert not is_bright(image, polygon)
    image[300:325, 200:300] = 200
    assert not is_bright(image, polygon), "a blank sign has no characters"
    image[305:320, 210:290:3] = 30
    assert is_bright(image, polygon)


def test_detector_grows_plates_and_reports_other_text_only_if_asked() -> None:
    reader = Reader(line("6MMD595"), TextLine(line("BAKERY").polygon - 150, "BAKERY", 0.9))
    image = np.zeros((*SIZE, 3), np.uint8)
    (plate,) = TextDetector(reader).detect(image)
    assert plate.label == "license_plate"
    assert plate.box.tolist() == [195, 295, 305, 330]
    assert plate.mask.all()
    assert plate.score == 0.5, "OCR is sure of the text, not of its being a plate"
    assert [i.label for i in TextDetector(reader, emit_text=True).detect(image)] == ["license_plate", "text"]


def test_detector_needs_a_reader() -> None:
    with pytest.raises(InputError, match="read"):
        TextDetector(object())  # type: ignore[arg-type]
