"""Areas that are left out, or to which a run is limited: how they are told, and what of them is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anonymizer.annotations.areas import Areas, read_areas
from anonymizer.core.errors import InputError
from anonymizer.run.local import run
from anonymizer.run.request import Request

from .fakes import FakeAnonymizer
from .test_run_local import ledger, pictures

SQUARE = [[4, 2], [12, 2], [12, 10], [4, 10]]


def written(path: Path, *areas: Any) -> Path:
    path.write_text(json.dumps({"areas": list(areas)}))
    return path


def area(**changes: Any) -> dict[str, Any]:
    plain = {"name": "bonnet", "pictures": "*", "size": [24, 32], "polygon": SQUARE} | changes
    return {key: value for key, value in plain.items() if value is not None}


def mask_file(path: Path, size: tuple[int, int] = (24, 32)) -> Path:
    mask = np.zeros(size, np.uint8)
    mask[2:10, 4:12] = 255
    Image.fromarray(mask).save(path)
    return path


def test_a_polygon_and_a_mask_say_the_same(tmp_path: Path) -> None:
    mask_file(tmp_path / "m.png")
    drawn = read_areas(written(tmp_path / "a.json", area())).mask("a.png", (24, 32))
    masked = read_areas(written(tmp_path / "b.json", area(size=None, polygon=None, mask="m.png")))
    assert drawn is not None and drawn.sum() == 64 and drawn[2:10, 4:12].all()
    assert np.array_equal(drawn, masked.mask("a.png", (24, 32)))
    assert np.array_equal(drawn, read_areas(tmp_path / "m.png").mask("a.png", (24, 32)))
    # What is kept to is the complement.
    kept = read_areas(only=tmp_path / "m.png").mask("a.png", (24, 32))
    assert kept is not None and np.array_equal(kept, ~drawn)


def test_patterns_choose_pictures_and_areas_add_up(tmp_path: Path) -> None:
    other = [[0, 0], [4, 0], [4, 4], [0, 4]]
    listed = written(tmp_path / "a.json", area(pictures="front/*"), area(name="photographer", polygon=other))
    areas = read_areas(listed)
    both, one = areas.mask("front/a.png", (24, 32)), areas.mask("rear/a.png", (24, 32))
    assert both is not None and one is not None and (both.sum(), one.sum()) == (80, 16)
    assert areas.names("front/a.png") == {"exclude": ["bonnet", "photographer"]}
    limited = read_areas(only=written(tmp_path / "b.json", area(pictures="front/*")))
    # A picture without an area to keep to is done whole.
    assert limited.mask("rear/a.png", (24, 32)) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"areas": []}, "at least one area"),
        ({"areas": [area()], "more": 1}, "nothing else"),
        ([area()], "expected"),
        ({"areas": [area(nmae="x")]}, "some of mask, name"),
        ({"areas": [area(name="")]}, "expected a name"),
        ({"areas": [area(name=None)]}, "expected a name"),
        ({"areas": [area(pictures=7)]}, "a pattern"),
        ({"areas": [area(size=None)]}, "polygon and size"),
        ({"areas": [area(mask="m.png")]}, "either mask"),
        ({"areas": [area(polygon=None, size=None)]}, "either mask"),
        ({"areas": [area(size=[24.0, 32])]}, "height, width"),
        ({"areas": [area(size=[0, 32])]}, "height, width"),
        ({"areas": [area(polygon=SQUARE[:2])]}, "3 or more points"),
        ({"areas": [area(polygon=[*SQUARE, [40, 2]])]}, "within its size of 32x24"),
        ({"areas": [area(polygon=[*SQUARE, [float("nan"), 2]])]}, "3 or more points"),
        ({"areas": [area(polygon=[[1, 1], [1, 1], [1, 1]])]}, "covers no pixel"),
        ({"areas": [area(polygon=None, size=None, mask="nowhere.png")]}, "readable file"),
    ],
)
def test_a_malformed_file_is_an_error_before_any_picture(tmp_path: Path, content: Any, words: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=words):
        read_areas(tmp_path / "a.json")


def test_a_black_mask_and_no_picture_are_errors(tmp_path: Path) -> None:
    Image.new("L", (32, 24)).save(tmp_path / "black.png")
    (tmp_path / "text.png").write_text("none")
    for name, words in (("black.png", "no white pixel"), ("text.png", "not a picture"), ("none.json", "readable file")):
        with pytest.raises(InputError, match=words):
            read_areas(tmp_path / name)


def test_an_area_for_no_picture_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    source, fake = pictures(tmp_path / "in", "a.png"), FakeAnonymizer()
    areas = read_areas(written(tmp_path / "a.json", area(), area(name="rear", pictures="rear/*")))
    with pytest.raises(InputError, match="'rear/\\*' fit none of the 1 in INPUT"):
        run(fake, Request(source, tmp_path / "out", areas=areas))
    assert fake.calls == [] and not (tmp_path / "out").exists()


def test_an_area_of_another_size_fails_its_picture(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png")
    fake = FakeAnonymizer()
    summary = run(
        fake, Request(source, tmp_path / "out", areas=read_areas(written(tmp_path / "a.json", area(size=[12, 32]))))
    )
    assert summary.failed == 1 and fake.calls == []
    assert "for pictures of 32x12, this one is 32x24" in ledger(tmp_path / "out")["a.png"]["reason"]


def test_areas_are_part_of_the_settings(tmp_path: Path) -> None:
    first, second = (read_areas(written(tmp_path / f"{n}.json", area(name=n))) for n in ("bonnet", "sill"))
    assert Areas().settings_hash("x") == "x" and Areas().settings() == {}
    swapped = Areas(only=first.exclude)
    assert len({a.settings_hash("x") for a in (first, second, swapped, Areas())}) == 4
    assert first.settings()["exclude"]["areas"] == ["bonnet"]
