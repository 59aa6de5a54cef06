"""Nothing but pixels is released: planted secrets, judged by our own walker over every segment and by exiftool."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anonymizer.core.errors import InputError
from anonymizer.images.decode import decode_image
from anonymizer.images.encode import encode_image
from anonymizer.images.metadata import GROUPS, TAG_NAMES, chosen, exif_bytes, read_tags
from anonymizer.images.release import Release
from anonymizer.images.segments import segments, unexpected
from anonymizer.run import picture as steps
from anonymizer.run.local import InProcess
from anonymizer.run.request import Request
from anonymizer.run.runner import execute

from . import planted
from .fakes import FakeAnonymizer

KINDS = {
    "jpg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
    "tif": "TIFF",
    "bmp": "BMP",
    "avif": "AVIF",
    "heic": "HEIF",
    "16.png": "PNG",
}
EXIFTOOL = shutil.which("exiftool")
needs_exiftool = pytest.mark.skipif(EXIFTOOL is None, reason="exiftool (Debian: libimage-exiftool-perl) is missing")
TIMES = ["2024:05:06 07:08:09"]


def exiftool(*files: Path) -> list[dict[str, Any]]:
    """Return every tag exiftool finds, unknown and embedded ones included, with its group."""
    assert EXIFTOOL is not None
    command = [EXIFTOOL, "-json", "-a", "-u", "-U", "-ee", "-G1", "-api", "largefilesupport=1", *map(str, files)]
    return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)


def released(tmp_path: Path, release: Release | None = None) -> dict[str, Path]:
    """Anonymize the planted files; return the released ones by kind."""
    source = planted.plant(tmp_path / "in")
    summary = execute(
        InProcess(FakeAnonymizer()), Request(tmp_path / "in", tmp_path / "out", release=release or Release())
    )
    lines = [json.loads(line) for line in (tmp_path / "out/ledger.jsonl").read_text().splitlines()]
    assert (summary.released, summary.failed) == (len(source), 0), [line["reason"] for line in lines]
    names = {line["name"]: line["released_name"] for line in lines}
    return {kind: tmp_path / "out/images" / names[path.name] for kind, path in source.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_walker_covers_every_byte_and_sees_what_is_planted(kind: str) -> None:
    data = planted.MAKERS[kind]()
    parts = segments(data)
    assert not [part.name for part in parts if part.name == "damaged"]
    end = 0
    for part in sorted(parts, key=lambda part: part.start):
        assert part.start <= end, f"nothing claims the bytes from {end} to {part.start}"
        end = max(end, part.end)
    assert end == len(data)
    # Wherever a secret is, the part that holds it is not one that a plain file may have.
    stray = [part for part in parts if part.name in unexpected(data, KINDS[kind], {})]
    places = [place for place in range(len(data)) if data.startswith(planted.SECRET.encode(), place)]
    assert places
    for place in places:
        assert any(part.start <= place < part.end for part in stray), data[place : place + 40]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_short_is_damaged_and_never_plain(kind: str) -> None:
    data = encode_image(*plain(planted.MAKERS[kind]()), "." + kind)
    assert unexpected(data, KINDS[kind], {}) == ()
    for length in (len(data) // 3, len(data) - 1):
        assert unexpected(data[:length], KINDS[kind], {}) != ()
    for extra in (b"x", b"\x00" * 64):
        assert unexpected(data + extra, KINDS[kind], {}) != ()


def plain(data: bytes) -> tuple[Any, Any]:
    decoded = decode_image(data, "x")
    return decoded.pixels, decoded


def test_no_planted_secret_is_released(tmp_path: Path) -> None:
    started = time.time() - 2
    for kind, path in released(tmp_path).items():
        data = path.read_bytes()
        assert unexpected(data, KINDS[kind], {}) == ()
        for form in ("ascii", "utf-16-le", "utf-16-be"):
            assert planted.SECRET.encode(form) not in data
        assert path.stat().st_mtime > started
        if kind != "16.png":  # The thumbnail's colour is nowhere in the picture, and no second picture follows.
            assert data.count(b"\xff\xd8\xff") <= 1


@needs_exiftool
def test_exiftool_finds_every_planted_secret_before_and_none_after(tmp_path: Path) -> None:
    after = released(tmp_path)
    before = {kind: tmp_path / "in" / f"planted.{kind}" for kind in KINDS}
    found = {kind: json.dumps(exiftool(path)).count(planted.SECRET) for kind, path in before.items()}
    # exiftool knows no tags for bytes before a BMP's pixels; our own walker does.
    assert all(count for kind, count in found.items() if kind != "bmp"), found
    for kind, path in after.items():
        tags = exiftool(path)[0]
        assert planted.SECRET not in json.dumps(tags)
        groups = {name.split(":")[0] for name in tags if ":" in name} - {"ExifTool", "System", "File", "Composite"}
        # What is left describes the container: IFD0 is a TIFF file's own directory.
        assert groups <= {"JFIF", "ICC_Profile", "PNG", "PNG-pHYs", "RIFF", "IFD0", "Meta", "QuickTime"}, (kind, tags)
        if "IFD0" in groups:
            allowed = "ImageWidth ImageHeight BitsPerSample Compression Photometric StripOffsets StripByteCounts Rows"
            allowed += (
                " SamplesPerPixel XResolution YResolution PlanarConfiguration ResolutionUnit Predictor SubfileType"
            )
            own = [name.removeprefix("IFD0:") for name in tags if name.startswith("IFD0:")]
            assert all(name.startswith(tuple(allowed.split())) for name in own), own
        assert not any("Warning" in name for name in tags), tags


@needs_exiftool
def test_exiftool_finds_what_was_to_be_kept_and_nothing_else(tmp_path: Path) -> None:
    wanted = {
        "Make": "Acme",
        "Model": "X100 Mark II",
        "LensModel": "Acme 35mm F2",
        "DateTimeOriginal": TIMES[0],
        "ModifyDate": TIMES[0],
    }
    files = released(tmp_path, Release(keep_metadata=("camera", "datetime")))
    for kind in ("jpg", "png", "webp", "tif", "avif", "heic"):
        tags = exiftool(files[kind])[0]
        assert planted.SECRET not in json.dumps(tags)
        kept = {name.split(":")[1]: value for name, value in tags.items() if name.split(":")[0] in ("IFD0", "ExifIFD")}
        expected = wanted if kind != "tif" else {key: wanted[key] for key in ("Make", "Model", "ModifyDate")}
        assert {key: kept[key] for key in expected} == expected, kind
        for absent in ("SerialNumber", "LensSerialNumber", "OwnerName", "Artist", "MakerNoteUnknown", "GPSLatitude"):
            assert absent not in kept
        assert not any(name.startswith("GPS:") for name in tags)


def test_what_is_kept_is_chosen_by_group_and_shown_in_the_ledger(tmp_path: Path) -> None:
    files = released(tmp_path, Release(keep_metadata=("datetime",)))
    lines = [json.loads(line) for line in (tmp_path / "out/ledger.jsonl").read_text().splitlines()]
    kept = {line["name"]: line["metadata_kept"] for line in lines}
    assert kept["planted.jpg"] == ["DateTime", "DateTimeOriginal"]
    assert kept["planted.tif"] == ["DateTime"]
    assert kept["planted.bmp"] == kept["planted.16.png"] == []
    assert lines[0]["provenance"]["release"] == {"keep_metadata": ["datetime"]}
    with Image.open(files["jpg"]) as image:
        assert set(image.getexif()) == {0x0132, 0x8769}
        assert dict(image.getexif().get_ifd(0x8769)) == {0x9003: TIMES[0]}


def test_other_metadata_settings_do_not_resume(tmp_path: Path) -> None:
    released(tmp_path)
    with pytest.raises(InputError, match="other settings"):
        released(tmp_path, Release(keep_metadata=("camera",)))
    with pytest.raises(InputError, match="'owner' cannot be kept; expected some of datetime, "):
        Release(keep_metadata=("owner",))


def test_a_file_that_holds_more_than_it_should_is_not_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaky(*arguments: Any, **options: Any) -> bytes:
        data = encode_image(*arguments, **options)
        return data[:2] + b"\xff\xfe\x00\x09hidden!" + data[2:]

    monkeypatch.setattr(steps, "encode_image", leaky)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(planted.jpeg())
    summary = execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", tmp_path / "out"))
    assert (summary.released, summary.failed) == (0, 1)
    assert "holds more than it should: COM" in (tmp_path / "out/ledger.jsonl").read_text()
    assert not list((tmp_path / "out/images").iterdir())


NUMBERS = sorted(key for key in TAG_NAMES if isinstance(key, int) and key > 0x100)
TEXT = st.text(max_size=40) | st.sampled_from(["2024:01:02 03:04:05", "+02:00", "Canon EOS R5", "x" * 200, "a\nb"])


@given(st.dictionaries(st.sampled_from(NUMBERS), TEXT), st.sets(st.sampled_from(sorted(GROUPS))))
@settings(max_examples=80, deadline=None)
def test_kept_tags_come_back_and_odd_texts_never_do(values: dict[int, str], groups: set[str]) -> None:
    block = Image.Exif()
    inner = {}
    for tag, text in values.items():
        (inner if tag > 0x8769 else block).__setitem__(tag, text)
    block[0x8769] = inner
    try:
        read = Image.Exif()
        read.load(block.tobytes())
    except (UnicodeEncodeError, ValueError):
        return
    tags = chosen(read_tags(read), groups, "JPEG")
    for text in tags.values():
        assert isinstance(text, str) and text.isprintable() and text.isascii() and len(text) <= 64
    again = Image.Exif()
    again.load(exif_bytes(tags))
    assert read_tags(again) == tags
    wanted = {tag for group in groups for tag in GROUPS[group]}
    assert set(tags) <= wanted


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_never_trouble_the_walker(kind: str, seed: int) -> None:
    data = planted.MAKERS[kind]()
    rng = np.random.default_rng(seed)
    started = time.monotonic()
    for _ in range(60):
        broken = bytearray(data[: int(rng.integers(1, len(data) + 1))] if rng.random() < 0.3 else data)
        for _ in range(int(rng.integers(1, 6))):
            broken[int(rng.integers(len(broken)))] = int(rng.integers(256))
        for part in segments(bytes(broken)):
            assert 0 <= part.start <= part.end
    assert time.monotonic() - started < 20


def test_heic_without_its_package_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from anonymizer.images import decode as images

    data = planted.heic()
    monkeypatch.setattr(images, "has_heif", lambda: False)
    with pytest.raises(InputError, match=r"a\.heic: a HEIC picture.*anonymizer\[heif\]"):
        decode_image(data, "a.heic")


@pytest.mark.parametrize("make", [planted.avif, planted.heic])
@pytest.mark.parametrize("orientation", [3, 6])
def test_turned_avif_and_heic_come_out_upright_once(make: Callable[[], bytes], orientation: int) -> None:
    kind = "AVIF" if make is planted.avif else "HEIF"
    planted.heic()  # registers the format
    flat = np.zeros((64, 128, 3), np.uint8)
    flat[:32, :32] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(planted.saved(Image.fromarray(flat), kind, quality=95, exif=exif.tobytes()), "a")
    upright = {3: flat[::-1, ::-1], 6: np.rot90(flat, -1)}[orientation]
    assert np.array_equal(decoded.pixels > 127, upright > 127)
    again = decode_image(encode_image(decoded.pixels, decoded, f".{kind.lower()}"), "b")
    assert np.array_equal(again.pixels > 127, upright > 127)
