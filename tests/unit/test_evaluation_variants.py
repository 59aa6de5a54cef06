"""Baselines: what they change, how strongly, and deface as it comes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pictures

from anonymizer.core.errors import InputError
from anonymizer.core.records import Image
from anonymizer.evaluation.records import Pair, Subject
from anonymizer.evaluation.variants import BASELINES, CELLS, SIGMA, baseline

PAIR = Pair("a.png", Path("a.png"), Path("b.png"))


def noise(size: tuple[int, int] = (200, 240)) -> Image:
    return np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)


def face(box: tuple[float, float, float, float], mask: np.ndarray | None = None, number: int = 0) -> Subject:
    return Subject("a.png", number, "face", np.array(box, np.float32), mask=mask)


def test_names_are_those_of_the_tables() -> None:
    assert BASELINES == ("original", "blur", "mosaic", "solid", "deface")
    for name in BASELINES:
        assert baseline(name).name == name
    with pytest.raises(InputError, match="one of original"):
        baseline("pixelate")


@pytest.mark.parametrize("name", ["blur", "mosaic", "solid"])
def test_the_mask_changes_and_nothing_else(name: str) -> None:
    image = noise()
    mask = np.zeros((60, 50), dtype=bool)
    mask[10:50, 5:40] = True
    inside = np.zeros(image.shape[:2], dtype=bool)
    inside[30 + 10 : 30 + 50, 20 + 5 : 20 + 40] = True
    before = image.copy()
    treated = baseline(name)(PAIR, image, [face((20, 30, 70, 90), mask)])
    assert np.array_equal(image, before)
    assert np.array_equal(treated[~inside], image[~inside])
    assert (treated[inside] != image[inside]).any(axis=1).mean() > 0.95
    whole = baseline(name)(PAIR, image, [face((20, 30, 70, 90))])
    changed = (whole != image).any(axis=2)
    assert changed[30:90, 20:70].mean() > 0.95
    assert changed.sum() == changed[30:90, 20:70].sum()


@pytest.mark.parametrize("name", ["blur", "mosaic", "solid"])
def test_subjects_at_the_border_and_of_one_pixel_are_treated(name: str) -> None:
    image = noise((40, 40))
    treated = baseline(name)(PAIR, image, [face((30, 30, 40, 40)), face((0, 0, 1, 1))])
    assert treated.shape == image.shape
    assert (treated[30:, 30:] != image[30:, 30:]).any()


@pytest.mark.parametrize("side", [40, 160])
def test_strength_grows_with_the_subject(side: int) -> None:
    image = np.zeros((300, 300, 3), np.uint8)
    image[:, 150:] = 255
    low, high = 150 - side // 2, 150 + side // 2
    subject = face((low, low, high, high))
    step = baseline("blur")(PAIR, image, [subject])[150, :, 0].astype(float)
    # A blurred step is the Gaussian's integral: 84 of 100 one sigma beyond the edge.
    sigma = round(SIGMA * side)
    assert step[150 + sigma - 1 : 150 + sigma + 1].mean() == pytest.approx(255 * 0.8413, abs=3)
    rng = np.random.default_rng(1)
    grain = rng.integers(0, 256, (300, 300, 3), np.uint8)
    cells = baseline("mosaic")(PAIR, grain, [subject])[low:high, low:high]
    size = side // CELLS
    assert len(np.unique(cells.reshape(-1, 3), axis=0)) <= CELLS**2
    mean = grain[low : low + size, low : low + size].reshape(-1, 3).mean(axis=0)
    assert cells[0, 0] == pytest.approx(mean, abs=1)


def test_a_face_is_treated_no_less_than_its_person() -> None:
    image = noise()
    person = Subject("a.png", 0, "person", np.array([20, 10, 120, 190], np.float32))
    small = face((50, 20, 80, 50), number=1)
    both = baseline("blur")(PAIR, image, [person, small])
    weak = baseline("blur")(PAIR, image, [small])
    assert both[25:45, 55:75].std() < weak[25:45, 55:75].std() / 2
    assert np.array_equal(both, baseline("blur")(PAIR, image, [small, person]))


def test_solid_leaves_nothing() -> None:
    treated = baseline("solid")(PAIR, noise(), [face((20, 30, 70, 90))])
    assert not treated[30:90, 20:70].any()


def test_deface_finds_faces_itself_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    spec = find_spec("ultralytics")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "assets" / "zidane.jpg"
    if not path.is_file():
        pytest.skip("this version of ultralytics carries no zidane.jpg")
    image = np.asarray(Pictures.open(path).convert("RGB"))
    treated = baseline("deface")(PAIR, image, [])
    changed = (treated != image).any(axis=2)
    # One face left of the middle, one right of it; the background between them stays.
    assert changed[:, :640].any()
    assert changed[:, 640:].any()
    assert 0.05 < changed.mean() < 0.5
    assert capsys.readouterr().out == ""


def test_deface_leaves_a_picture_without_faces() -> None:
    image = np.full((64, 64, 3), 90, np.uint8)
    assert np.array_equal(baseline("deface")(PAIR, image, [face((10, 10, 50, 50))]), image)
