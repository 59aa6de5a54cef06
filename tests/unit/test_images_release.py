"""Names: what they tell, hashing them, and that runs resume under hashed names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anonymizer.core.errors import InputError
from anonymizer.images.names import name_hints, repeats, text_hints
from anonymizer.images.release import Release
from anonymizer.run.audit import audit
from anonymizer.run.local import InProcess
from anonymizer.run.request import Request
from anonymizer.run.runner import execute
from anonymizer.run.summary import Summary

from .fakes import FakeAnonymizer, rejection

PART = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=8).filter(
    lambda text: text not in (".", "..")
)
NAME = st.builds(lambda parts, suffix: "/".join(parts) + suffix, st.lists(PART, min_size=1, max_size=3), PART)


def run(tmp_path: Path, fake: FakeAnonymizer | None = None, **options: Any) -> Summary:
    on_progress = options.pop("on_progress", None)
    request = Request(tmp_path / "in", tmp_path / "out", **options)
    return execute(InProcess(fake or FakeAnonymizer()), request, on_progress)


def pictures(tmp_path: Path, *names: str) -> None:
    for index, name in enumerate(names):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)


def ledger(tmp_path: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in (tmp_path / "out/ledger.jsonl").read_text().splitlines()]
    return {line["name"]: line for line in lines}


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("B-XY 1234.jpg", "text like a plate in file name"),
        ("B_XY_1234.jpg", "text like a plate in file name"),
        ("AB12CDE_front.png", "text like a plate in file name"),
        ("HH-AB 12/x.png", "text like a plate in folder name"),
        ("KA01AB1234.jpg", "text like a plate in file name"),
        ("52.5163_13.3777.jpg", "coordinates in file name"),
        ("N52.5163E13.3777.png", "coordinates in file name"),
        ("lat52.51632_lon13.37771.jpg", "coordinates in file name"),
        ("52°30'58N.jpg", "coordinates in file name"),
        ("jane@doe.org/1.png", "e-mail address in folder name"),
        ("+49 171 1234567.jpg", "phone number in file name"),
        ("0171-1234567.jpg", "phone number in file name"),
    ],
)
def test_names_that_tell_are_found(name: str, hint: str) -> None:
    assert name_hints(name) == (hint,)


@pytest.mark.parametrize(
    "name",
    [
        "IMG_1234.jpg", "DSC0001.jpg", "DJI_0123.JPG", "P1010012.JPG", "PXL_20230101_120000.jpg", "GX010123.JPG",
        "20240101_123456.jpg", "2024-01-02 10.11.12.jpg", "frame_000123.png", "000000000139.jpg", "us_012.jpg",
        "aachen_000000_000019_leftImg8bit.png", "COCO_train2014_000000123.jpg", "FudanPed00001.png",
        "0001TP_006690.png", "cam-1/1699999999.123456.jpg", "photo 1.2.3.jpg", "train/images/a.jpg",
    ],
)  # fmt: skip
def test_common_names_are_left_in_peace(name: str) -> None:
    assert name_hints(name) == ()


def test_a_plate_or_name_of_the_picture_is_found_however_it_is_spelled() -> None:
    assert name_hints("trip/abc-12 3_front.jpg", ["ABC 123"]) == ("plate or name of the picture in file name",)
    assert name_hints("Jane_Doe/1.jpg", ["jane doe"]) == ("plate or name of the picture in folder name",)
    assert not repeats("a1.jpg", ["A"])
    assert not repeats("x", [""])


@given(st.lists(NAME, min_size=2, max_size=6, unique=True), st.binary(min_size=32, max_size=32))
@settings(max_examples=60, deadline=None)
def test_hashed_names_differ_tell_nothing_and_keep_folders_together(names: list[str], key: bytes) -> None:
    release = Release(rename=True, key=key)
    hashed = [release.name(name) for name in names]
    assert len(set(hashed)) == len(names)
    for name, new in zip(names, hashed, strict=True):
        assert release.name(name) == new
        assert new.count("/") == name.strip("/").count("/") or "//" in name
        stems = new.rsplit("/", 1)
        assert all(char in "0123456789abcdef/" for char in "/".join([*stems[:-1], stems[-1].split(".")[0]]))
    same = [release.name(f"folder/{index}.png") for index in range(3)]
    assert len({name.split("/")[0] for name in same}) == 1


def test_without_the_key_a_guess_cannot_be_checked() -> None:
    names = [Release(rename=True, key=bytes([n] * 32)).name("B-XY 1234.jpg") for n in range(2)]
    assert names[0] != names[1]
    with pytest.raises(InputError, match="key"):
        Release(rename=True).name("a.jpg")
    assert "key" not in json.dumps(Release(rename=True, key=b"s" * 32).settings())
    assert "ssss" not in repr(Release(rename=True, key=b"s" * 32))


def test_a_run_under_hashed_names_resumes_and_nothing_in_output_knows_the_names(tmp_path: Path) -> None:
    names = ("Jane Doe/B-XY 1234.png", "Jane Doe/2.jpg", "kitchen.webp")
    pictures(tmp_path, *names)
    hashed = Release(rename=True)
    fake = FakeAnonymizer()
    fake.raises = {"kitchen.webp": rejection()}
    assert run(tmp_path, fake, release=hashed).released == 2
    lines = ledger(tmp_path)
    out = tmp_path / "out"
    assert set(files(out / "images")) == {line["released_name"] for line in lines.values() if "released_name" in line}
    assert all(name == line.get("released_name", name) for name, line in lines.items())
    assert audit(out).clean
    coco = json.loads((out / "annotations.json").read_text())
    assert {image["file_name"] for image in coco["images"]} == set(files(out / "images"))
    # No word here can be the end of a hashed name, which is made of hexadecimal digits.
    for word in ("Jane", "XY 1234", "kitchen"):
        assert not any(word in name or word.encode() in data for name, data in files(out).items())
    assert not any("name_hints" in line for line in lines.values())
    assert (out / ".state/rename.key").stat().st_mode & 0o077 == 0
    before = files(out / "images")
    again = run(tmp_path, release=hashed)
    assert (again.skipped, again.released, again.quarantined) == (3, 2, 1)
    assert files(out / "images") == before
    with pytest.raises(InputError, match="other settings"):
        run(tmp_path)


def test_a_changed_input_leaves_nothing_of_its_earlier_release(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    hashed = Release(rename=True)
    run(tmp_path, release=hashed)
    (tmp_path / "in/a.png").write_bytes((tmp_path / "in/b.png").read_bytes())
    fake = FakeAnonymizer()
    fake.raises = {"a.png": rejection()}
    run(tmp_path, fake, release=hashed)
    (line,) = (line for line in ledger(tmp_path).values() if line["status"] == "released")
    assert set(files(tmp_path / "out/images")) == {line["released_name"]} and len(ledger(tmp_path)) == 2


def test_a_lost_key_is_noticed(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    run(tmp_path, release=Release(rename=True))
    (tmp_path / "out/.state/rename.key").write_bytes(b"cut")
    with pytest.raises(InputError, match="other settings"):
        run(tmp_path, release=Release(rename=True))
    assert run(tmp_path, release=Release(rename=True), overwrite=True).released == 1


def test_reasons_do_not_tell_hashed_names(tmp_path: Path) -> None:
    path = tmp_path / "in/Jane Doe/B-XY 1234.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no picture")
    told: list[str] = []
    summary = run(tmp_path, release=Release(rename=True), on_progress=lambda step: told.append(step.name + step.reason))
    assert summary.failed == 1 and "Jane Doe/B-XY 1234.png" in told[0]
    for name, data in files(tmp_path / "out").items():
        assert not any(word in name or word.encode() in data for word in ("Jane", "XY 1234"))
    (line,) = ledger(tmp_path).values()
    assert line["name"] in line["reason"]


def test_pictures_that_would_be_released_under_one_name_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "a.jpg")
    with pytest.raises(InputError, match=r"a\.jpg and a\.png would both be released as a\.png.*--rename hash"):
        run(tmp_path, release=Release("png"))
    assert run(tmp_path, release=Release("png", rename=True)).released == 2
    with pytest.raises(InputError, match="format 'gif' is unknown; expected png, jpeg, webp, tiff"):
        Release("gif")


def test_telling_names_are_flagged_in_ledger_report_and_summary(tmp_path: Path) -> None:
    pictures(tmp_path, "B-XY 1234.png", "plain.png", "seen abcd99.png")
    fake = FakeAnonymizer()
    fake.texts = ("ABCD 99",)
    summary = run(tmp_path, fake)
    lines = ledger(tmp_path)
    assert lines["B-XY 1234.png"]["name_hints"] == ["text like a plate in file name"]
    assert lines["plain.png"]["name_hints"] == []
    assert lines["seen abcd99.png"]["name_hints"] == ["plate or name of the picture in file name"]
    assert summary.flagged_names == 2
    assert "name: text like a plate in file name" in (tmp_path / "out/report.html").read_text()
    assert "ABCD 99" not in "".join(content.decode("latin-1") for content in files(tmp_path / "out").values())


@pytest.mark.parametrize("text", ["a" * 200_000, "lat" * 70_000, "1.2345" + " " * 200_000, "1d1m" + "1" * 200_000])
def test_long_texts_that_tell_nothing_are_looked_through(text: str) -> None:
    assert text_hints(text) == ()
