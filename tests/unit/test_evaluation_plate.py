"""The plate attack: characters counted by hand, floors, and a reader that sees what a test painted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.core.readings import edits
from anonymizer.core.records import Image, TextLine
from anonymizer.evaluation.attacks.plate import Plate, attack, character_error, enhance, fold, measure
from anonymizer.evaluation.ocr import PlateOCR
from anonymizer.evaluation.records import Finding, Skipped, Subject

from .attack_fakes import Scene

TEXTS = ("ABC123", "XYZ789", "KLM456")


def test_characters_that_ocr_confuses_are_equal() -> None:
    assert fold("oi-bs zg.1Q") == fold("0185 2610")
    assert fold("äb") == "Ä8"
    assert fold("-- ") == ""


@pytest.mark.parametrize(
    ("a", "b", "steps"), [("", "", 0), ("abc", "abc", 0), ("kitten", "sitting", 3), ("abc", "", 3), ("flaw", "lawn", 2)]
)
def test_edits(a: str, b: str, steps: int) -> None:
    assert edits(a, b) == edits(b, a) == steps


def test_the_best_reading_counts_and_nothing_read_is_all_wrong() -> None:
    assert character_error(["ZZZ", "ABC12"], "ABC123") == 1
    assert character_error([], "ABC123") == 6
    assert character_error(["a very long line of something else"], "ABC123") == 6
    with pytest.raises(InputError, match="text"):
        character_error(["A"], "")


def test_figures_by_hand() -> None:
    plates = [Plate("ABC1", "a", ("ABC1",)), Plate("ABD1", "b", ("ABX1",)), Plate("ZZZZ", "c", ())]
    found = measure(plates, np.random.default_rng(0), 50)
    assert found["exact_read"].value == pytest.approx(1 / 3)
    assert found["character_accuracy"].value == pytest.approx((1 + 0.75 + 0) / 3)
    assert found["edit_distance"].value == pytest.approx((0 + 1 + 4) / 3)
    assert found["any_read"].value == pytest.approx(2 / 3)
    # ABC1 against ABD1 and ZZZZ: 0.75 and 0; ABX1 against ABC1 and ZZZZ: 0.75 and 0; nothing against anything: 0.
    assert found["character_accuracy_chance"].value == pytest.approx((0.375 + 0.375 + 0) / 3)
    assert found["character_accuracy_lift"].value == pytest.approx((1.75 / 3) / 0.25)
    assert found["exact_read_chance"].value == 0
    assert found["exact_read_lift"].value is None
    assert found["exact_read_lift"].reason


def test_one_text_alone_has_no_floor() -> None:
    found = measure([Plate("ABC1", "a", ("ABC1",))], np.random.default_rng(0), 50)
    assert found["exact_read"].value == 1
    assert found["character_accuracy_chance"].value is None
    assert "two plates" in found["character_accuracy_chance"].reason


def test_enhancing_enlarges_and_stretches() -> None:
    crop = np.full((20, 60, 3), 100, np.uint8)
    crop[:, 30:] = 120
    large = enhance(crop)
    assert large.shape == (60, 180, 3)
    assert large[:, :40].mean() < 10
    assert large[:, -40:].mean() > 245
    assert enhance(np.zeros((500, 900, 3), np.uint8)).shape == (667, 1200, 3)
    assert enhance(np.zeros((10, 1500, 3), np.uint8)).shape == (10, 1500, 3)


class Painted:
    """Reads a plate's grey level: 100 shows text 0, 101 text 1, and so on."""

    def read(self, image: Image) -> tuple[TextLine, ...]:
        level = int(image[image.shape[0] // 2, image.shape[1] // 2, 0]) - 100
        if not 0 <= level < len(TEXTS):
            return ()
        return (TextLine(np.zeros((4, 2), np.float32), TEXTS[level], 0.9),)


class Blind:
    """Reads nothing but a wrong letter."""

    def read(self, image: Image) -> tuple[TextLine, ...]:
        return (TextLine(np.zeros((4, 2), np.float32), "J", 0.9),)


OWN = PlateOCR("painted", "0" * 64, "none", False, Painted())
OTHER = PlateOCR("other", "1" * 64, "none", True, Painted())


def scene(*, annotated: bool) -> Scene:
    out = Scene()
    for number, text in enumerate(TEXTS):
        image = np.full((60, 100, 3), 100 + number, np.uint8)
        box = np.array([20, 20, 80, 40], np.float32)
        name = f"{number}.png"
        out.add(name, image, Subject(name, 0, "license_plate", box, text=text if annotated else None))
    return out


def black(image: Image, subjects: Sequence[Subject]) -> Image:
    return np.zeros_like(image)


@pytest.mark.parametrize("annotated", [True, False])
def test_originals_are_read_and_black_is_not(tmp_path: Path, annotated: bool) -> None:
    context = scene(annotated=annotated).context(tmp_path, ("license_plate",), black)
    found = attack(context, (OWN,))
    assert len(found) == 6
    by_variant = {(f.variant, "as it is" in f.protocol): f for f in found if isinstance(f, Finding)}
    as_it_is = by_variant["original", True]
    assert as_it_is.estimates["exact_read"].value == 1
    assert as_it_is.estimates["character_accuracy_chance"].value == 0
    assert as_it_is.counts["texts_annotated"] == (3 if annotated else 0)
    assert by_variant["anonymized", True].estimates["exact_read"].value == 0
    assert by_variant["anonymized", True].estimates["any_read"].value == 0
    assert by_variant["anonymized", True].estimates["exact_read"].high == pytest.approx(1 - 0.025 ** (1 / 3))
    assert not by_variant["anonymized", True].judge
    assert any("read from the originals" in note for note in as_it_is.notes) is not annotated


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    empty = Scene()
    empty.add("a.png", np.zeros((50, 50, 3), np.uint8))
    (found,) = attack(empty.context(tmp_path, ("license_plate",), black), (OWN,))
    assert isinstance(found, Skipped)
    assert "no plates" in found.reason
    dark = Scene()
    box = np.array([5, 5, 45, 25], np.float32)
    dark.add("a.png", np.zeros((50, 50, 3), np.uint8), Subject("a.png", 0, "license_plate", box))
    every = attack(dark.context(tmp_path, ("license_plate",), black), (OWN,))
    assert all(isinstance(f, Skipped) and "legible" in f.reason for f in every)


def test_a_reader_that_took_no_part_judges_releases_and_the_own_one_does_not(tmp_path: Path) -> None:
    context = scene(annotated=True).context(tmp_path, ("license_plate",), black)
    found = [f for f in attack(context, (OWN, OTHER)) if isinstance(f, Finding)]
    assert len(found) == 12
    assert {(f.recognizer, f.judge) for f in found if f.variant == "anonymized"} == {
        ("painted", False),
        ("other", True),
    }
    assert all(f.judge for f in found if f.variant == "original")
    assert all(any("no judge" in note for note in f.notes) == (f.recognizer == "painted") for f in found)
    assert not any("WEAK" in note for f in found for note in f.notes)


def test_a_reader_that_cannot_read_originals_is_called_weak(tmp_path: Path) -> None:
    context = scene(annotated=True).context(tmp_path, ("license_plate",), black)
    blind = PlateOCR("blind", "2" * 64, "none", True, Blind())
    found = [f for f in attack(context, (OWN, blind)) if isinstance(f, Finding)]
    for finding in found:
        assert any("WEAK JUDGE" in note and "0 %" in note for note in finding.notes) == (finding.recognizer == "blind")


def test_texts_that_nobody_annotated_come_from_the_first_reader(tmp_path: Path) -> None:
    context = scene(annotated=False).context(tmp_path, ("license_plate",), black)
    blind = PlateOCR("blind", "2" * 64, "none", True, Blind())
    assert all(isinstance(f, Skipped) for f in attack(context, (blind, OWN)))
    found = [f for f in attack(context, (OWN, blind)) if isinstance(f, Finding)]
    assert {f.counts["plates_read"] for f in found} == {3}
