"""Dry runs and previews: what they find and write, and that nothing is released by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anonymizer.annotations.coco import read_coco
from anonymizer.core.errors import InputError
from anonymizer.images.release import Release
from anonymizer.run.audit import audit
from anonymizer.run.local import InProcess, run
from anonymizer.run.request import Request
from anonymizer.run.summary import Progress
from anonymizer.run.trial import evenly, trial

from .fakes import FakeAnonymizer, rejection
from .test_run_local import files, pictures


def test_a_dry_run_writes_annotations_and_releases_nothing(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", *(f"{n}.png" for n in range(8)))
    (source / "cut.png").write_bytes(b"no picture")
    before, steps = files(source), list[Progress]()
    found = trial(InProcess(FakeAnonymizer(delay_s=0.05)), Request(source, tmp_path / "out"), on_progress=steps.append)
    assert files(source) == before
    assert set(files(tmp_path / "out")) == {"dry-run/annotations.json"}
    assert (found.pictures, found.looked_at, found.with_instances, dict(found.found)) == (9, 8, 8, {"person": 8})
    assert list(found.failed) == ["cut.png"] and found.withheld
    assert list(found.sampled) == ["1.png", "4.png", "6.png"]
    # Each of the 8 instances takes 0.05 s; detection takes next to nothing.
    assert found.seconds is not None and 0.3 < found.seconds < 2
    assert [step.done for step in steps] == list(range(1, 13))
    assert json.loads(found.to_json())["found"] == {"person": 8}


def test_what_a_dry_run_writes_can_be_given_back_as_annotations(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", "b/c.png")
    trial(InProcess(FakeAnonymizer()), Request(source, tmp_path / "out"))
    read = read_coco(tmp_path / "out/dry-run/annotations.json").placed(["a.png", "b/c.png"])
    for name in ("a.png", "b/c.png"):
        given = read.instances(name, (24, 32))
        assert given is not None
        (instance,) = given.instances
        assert instance.label == "person" and instance.box.tolist() == [0, 0, 16, 12] and instance.mask.all()


def test_a_run_goes_on_where_a_dry_run_was_and_its_annotations_stay(tmp_path: Path) -> None:
    source, output = pictures(tmp_path / "in", "a.png"), tmp_path / "out"
    trial(InProcess(FakeAnonymizer()), Request(source, output))
    assert run(FakeAnonymizer(), Request(source, output)).released == 1
    assert run(FakeAnonymizer(), Request(source, output, overwrite=True)).released == 1
    trial(InProcess(FakeAnonymizer()), Request(source, output))
    assert (output / "dry-run/annotations.json").is_file()
    assert audit(output).clean


def test_a_preview_shows_pictures_before_and_after_and_leaves_output_alone(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", *(f"{n}.png" for n in range(9)), size=(60, 40))
    fake = FakeAnonymizer()
    fake.raises = {"4.png": rejection()}
    sheet = tmp_path / "sheet.png"
    found = trial(InProcess(fake), Request(source, tmp_path / "out"), dry_run=False, preview=3, sheet=sheet)
    assert found.sampled == {"1.png": "released", "4.png": "quarantined", "7.png": "released"}
    assert found.seconds is None and found.paths == {"preview": str(sheet)} and found.withheld
    assert not (tmp_path / "out").exists() and fake.calls == ["1.png", "4.png", "7.png"]
    shown = np.asarray(Image.open(sheet))
    assert shown[5, 5].tolist() == [170, 25, 25]  # The warning stands above all.
    original = np.asarray(Image.open(source / "1.png"))
    top = 56 + 16 + 26
    assert np.array_equal(shown[top : top + 40, 16:76], original)
    after = shown[top : top + 40, 832:892]
    assert np.array_equal(after[20:], original[20:]) and not np.array_equal(after[:20, :30], original[:20, :30])


@pytest.mark.parametrize(
    ("sheet", "words"),
    [
        ("out/sheet.png", "lies in OUTPUT"),
        ("out/images/sheet.png", "lies in OUTPUT"),
        ("in/0.png", "picture of INPUT"),
        ("sheet.gif", ".jpg or .jpeg or .png"),
        ("nowhere/sheet.png", "does not exist"),
    ],
)
def test_a_sheet_of_originals_lies_neither_in_output_nor_over_a_picture(tmp_path: Path, sheet: str, words: str) -> None:
    source, fake = pictures(tmp_path / "in", "0.png"), FakeAnonymizer()
    with pytest.raises(InputError, match=words):
        trial(InProcess(fake), Request(source, tmp_path / "out"), dry_run=False, preview=1, sheet=tmp_path / sheet)
    assert fake.calls == [] and not (tmp_path / "out").exists()


def test_a_link_into_output_is_no_way_around(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "0.png")
    run(FakeAnonymizer(), Request(source, tmp_path / "out"))
    (tmp_path / "elsewhere").symlink_to(tmp_path / "out/images")
    settings: dict[str, Any] = {"dry_run": False, "preview": 1, "sheet": tmp_path / "elsewhere/sheet.png"}
    with pytest.raises(InputError, match="lies in OUTPUT"):
        trial(InProcess(FakeAnonymizer()), Request(source, tmp_path / "out"), **settings)


def test_a_dry_run_refuses_a_folder_of_something_else_and_urls(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "0.png")
    pictures(tmp_path / "out", "mine.png")
    for output, words in ((tmp_path / "out", "holds other files"), ("memory://bucket/out", "on this machine")):
        with pytest.raises(InputError, match=words):
            trial(InProcess(FakeAnonymizer()), Request(source, output))


def test_linked_identities_can_be_tried(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png")
    given = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "identity": "A"}],
    }
    (tmp_path / "given.json").write_text(json.dumps(given))
    settings: dict[str, Any] = {"annotations": read_coco(tmp_path / "given.json")}
    release = Release(link_identities=True)
    found = trial(InProcess(FakeAnonymizer()), Request(source, tmp_path / "out", release=release, **settings))
    assert found.sampled == {"a.png": "released"}


def test_pictures_are_chosen_at_even_distances() -> None:
    names = list(range(10))
    assert evenly(names, 2) == [2, 7]  # type: ignore[arg-type, comparison-overlap]
    assert evenly(names, 20) == names  # type: ignore[arg-type, comparison-overlap]
