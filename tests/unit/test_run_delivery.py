"""Deliveries: only what may leave, whole or not at all, and checksums that standard tools understand."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anonymizer.core.errors import InputError
from anonymizer.images.release import Release
from anonymizer.run.decisions import Reviews
from anonymizer.run.delivery import CHECKSUMS, SHEET, deliver
from anonymizer.run.ledger import Ledger
from anonymizer.run.local import run
from anonymizer.run.output import OutputFolder
from anonymizer.run.request import Request

from .fakes import FakeAnonymizer, rejection


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "in/sub").mkdir(parents=True)
    for index, name in enumerate(("a.png", "sub/b\\\nc.png", "held.png")):
        pixels = np.random.default_rng(index).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    fake = FakeAnonymizer()
    fake.raises = {"held.png": rejection()}
    run(fake, Request(tmp_path / "in", tmp_path / "out", release=Release(write=("masks",))))
    return tmp_path / "out"


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def sign(output: Path, *names: str) -> None:
    with OutputFolder(output) as folder:
        reviews = Reviews.open(output)
        for name in names:
            record = Ledger.open(output).get(name)
            assert record is not None
            hashes = {key: record[key] for key in ("input_sha256", "output_sha256")}
            reviews.append(name, "accept", "Ana", **hashes)
        folder.seal_review(reviews)


def test_only_what_may_leave_is_copied(output: Path, tmp_path: Path) -> None:
    made = deliver(output, tmp_path / "delivery")
    released = {"images/a.png", "images/sub/b\\\nc.png", "masks/a.png", "masks/sub/b\\\nc.png"}
    assert files(tmp_path / "delivery") == {*released, "annotations.json", SHEET, CHECKSUMS}
    assert (made.pictures, made.files, made.signed) == (2, 7, 0)
    for name in released | {"annotations.json"}:
        assert (tmp_path / "delivery" / name).read_bytes() == (output / name).read_bytes()
    sheet = (tmp_path / "delivery" / SHEET).read_text()
    assert "2 pictures" in sheet and "1 more were withheld" in sheet and "Nobody has signed" in sheet
    assert not any(name in sheet for name in ("a.png", "held.png", "Ana"))


class Obscuring(FakeAnonymizer):
    """Blurs what it treats, and leaves one person on request and one with consent."""

    def __call__(self, image: Any, instances: Any = None, *, key: str = "") -> Any:
        result = super().__call__(image, instances, key=key)
        (done,), (one,) = result.treatments, result.instances
        blurred = replace(done, action="redacted", method="blur")
        left = replace(one, id=2, box=one.box + 8)
        return replace(result, treatments=(blurred,), excluded=(left,), consented=(replace(left, id=3),))


def test_a_weaker_method_and_what_was_left_are_named_in_ledger_annotations_report_and_data_sheet(
    tmp_path: Path,
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(
            tmp_path / "in" / name
        )
    run(Obscuring(), Request(tmp_path / "in", tmp_path / "out"))
    record = Ledger.open(tmp_path / "out").get("a.png")
    assert record is not None and record["status"] == "released", record
    assert [one["method"] for one in record["instances"]] == ["blur"]
    annotated = json.loads((tmp_path / "out/annotations.json").read_text())["annotations"]
    assert [one["method"] for one in annotated] == ["blur", "blur"]
    assert "2 person by blur" in (tmp_path / "out/report.html").read_text()
    deliver(tmp_path / "out", tmp_path / "delivery")
    sheet = (tmp_path / "delivery" / SHEET).read_text()
    assert "| class | blur |\n|---|---|\n| person | 2 |" in sheet
    assert "- in areas that were left out: 2 person\n- with consent: 2 person" in sheet


def test_what_reviewers_had_left_is_named_in_the_data_sheet(output: Path, tmp_path: Path) -> None:
    source = Ledger.open(output).get("a.png")
    assert source is not None
    box = {"label": "person", "bbox": [2.0, 2.0, 8.0, 8.0]}
    with OutputFolder(output) as folder:
        reviews = Reviews.open(output)
        for kind in ("fill", "false_find"):  # The last one counts.
            hashes = {key: source[key] for key in ("input_sha256", "output_sha256")}
            reviews.append("a.png", kind, "Ana", **hashes, **box)
        folder.seal_review(reviews)
    run(FakeAnonymizer(), Request(tmp_path / "in", output, release=Release(write=("masks",))))
    deliver(output, tmp_path / "delivery")
    sheet = (tmp_path / "delivery" / SHEET).read_text()
    assert "- as false finds, by reviewers: 1 person\n" in sheet


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_checksums_are_those_of_sha256sum(output: Path, tmp_path: Path) -> None:
    deliver(output, tmp_path / "delivery")
    command = ["sha256sum", "--check", "--strict", "--quiet", CHECKSUMS]
    assert subprocess.run(command, cwd=tmp_path / "delivery", check=False).returncode == 0
    (tmp_path / "delivery/images/a.png").write_bytes(b"other")
    done = subprocess.run(command, cwd=tmp_path / "delivery", check=False, capture_output=True, text=True)
    assert done.returncode == 1 and "images/a.png: FAILED" in done.stdout


def test_nothing_leaves_a_folder_that_was_changed(output: Path, tmp_path: Path) -> None:
    (output / "images/a.png").write_bytes(b"other")
    with pytest.raises(InputError, match=r"images/a\.png.*1 findings in all"):
        deliver(output, tmp_path / "delivery")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_nothing_leaves_unsigned_where_signatures_are_required(output: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nobody has reviewed it"):
        deliver(output, tmp_path / "delivery", require_review=True)
    sign(output, "a.png")
    with pytest.raises(InputError, match="1 pictures are not signed"):
        deliver(output, tmp_path / "delivery", require_review=True)
    sign(output, "sub/b\\\nc.png")
    assert deliver(output, tmp_path / "delivery", require_review=True).signed == 2
    assert "2 of 2 were looked at and signed" in (tmp_path / "delivery" / SHEET).read_text()


def test_a_copy_that_fails_leaves_nothing(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("anonymizer.run.delivery.write_atomic", full)
    with pytest.raises(OSError, match="No space left"):
        deliver(output, tmp_path / "delivery")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.parametrize("place", ["out/delivery", ".", "in"])
def test_places_that_hold_or_lie_in_something_are_refused(output: Path, tmp_path: Path, place: str) -> None:
    with pytest.raises(InputError, match="DEST"):
        deliver(output, tmp_path / place)
    with pytest.raises(InputError, match="expected a folder on this machine.*copy OUTPUT"):
        deliver("s3://bucket/out", tmp_path / "delivery")
