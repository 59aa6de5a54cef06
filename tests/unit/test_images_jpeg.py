"""JPEGs of every subsampling: stored samples are had and written again, with tables, factors and channels."""

from __future__ import annotations

import io
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from anonymizer.images.decode import decode_image
from anonymizer.images.encode import encode_image
from anonymizer.images.jpeg import encode_planes, source_planes, stored_planes
from anonymizer.images.segments import segments, unexpected
from anonymizer.run.audit import audit
from anonymizer.run.local import run
from anonymizer.run.request import Request

from .fakes import FakeAnonymizer
from .planted import saved, scene
from .test_images_encode import away_from, redrawn, treated_box

#: Inputs from the field, kept beside the checkout.
CASES = Path(__file__).resolve().parents[2].parent / "shared/cases/fmt"
FACTORS = {"4:4:4": (1, 1), "4:2:2": (2, 1), "4:2:0": (2, 2), "4:4:0": (1, 2), "4:1:1": (4, 1)}
TABLES = (tuple(range(3, 67)), tuple(range(5, 69)), tuple(range(7, 71)))


def foreign(size: tuple[int, int], sampling: str, *, progressive: bool = False, restart: int = 0) -> bytes:
    """Return a JPEG as another encoder writes it."""
    names = {"4:4:4": "444", "4:2:2": "422", "4:2:0": "420", "4:4:0": "440", "4:1:1": "411"}
    factor = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{names[sampling]}")
    options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor, cv2.IMWRITE_JPEG_QUALITY, 85]
    options += [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive), cv2.IMWRITE_JPEG_RST_INTERVAL, restart]
    done, data = cv2.imencode(".jpg", np.asarray(scene(size))[..., ::-1], options)
    assert done
    return data.tobytes()


@pytest.mark.parametrize("sampling", FACTORS)
@pytest.mark.parametrize(("progressive", "restart"), [(False, 0), (True, 0), (False, 3), (True, 2)])
@pytest.mark.parametrize("size", [(160, 128), (97, 61)])
def test_every_subsampling_keeps_tables_factors_and_blocks(
    sampling: str, progressive: bool, restart: int, size: tuple[int, int]
) -> None:
    decoded = decode_image(foreign(size, sampling, progressive=progressive, restart=restart), "a.jpg")
    assert decoded.sampling == FACTORS[sampling]
    treated = treated_box(decoded.size, (32, 16, 48, 40))
    data = encode_image(redrawn(decoded, treated), decoded, ".jpg", treated=treated)
    assert unexpected(data, "JPEG", {}) == ()
    again = decode_image(data, "b.jpg")
    assert (again.quantization, again.sampling, again.grey) == (decoded.quantization, decoded.sampling, False)
    away = away_from(np.asarray(treated))
    away[:, 56:72] &= sampling != "4:1:1"  # Its blocks of chroma are 32 pixels wide.
    away[:, 24:32] &= sampling != "4:1:1"
    away[-16:] = away[:, -32:] = False  # Blocks cut by the edge.
    assert away.any()
    assert (again.pixels == decoded.pixels).all(axis=2)[away].mean() > 0.99
    inner = np.abs(again.pixels[22:34, 38:42].astype(int) - [30, 160, 90]).mean()
    assert inner < (40 if sampling == "4:1:1" else 12)


@pytest.mark.parametrize("sampling", list(product((1, 2, 4), (1, 2, 4))))
@pytest.mark.parametrize("size", [(64, 64), (51, 37)])
def test_planes_come_back_as_they_were_written(sampling: tuple[int, int], size: tuple[int, int]) -> None:
    fine = tuple(tuple(1 for _ in range(64)) for _ in range(3))
    rng = np.random.default_rng(1)
    shape = -(-size[1] // sampling[1]), -(-size[0] // sampling[0])
    planes = tuple(rng.integers(40, 210, s, dtype=np.uint8) for s in ((size[1], size[0]), shape, shape))
    read = source_planes(encode_planes(planes, fine, sampling, {}))
    assert read is not None
    for plane, got in zip(planes, read, strict=True):
        assert got.shape == plane.shape and np.abs(got.astype(int) - plane).max() <= 2


@pytest.mark.parametrize("sampling", [(1, 1), (2, 2), (1, 2), (4, 1)])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_component_keeps_its_own_table(sampling: tuple[int, int], count: int) -> None:
    planes = stored_planes(np.asarray(scene((64, 48))), sampling)
    decoded = decode_image(encode_planes(planes, TABLES[:count], sampling, {}), "a.jpg")
    assert (decoded.quantization, decoded.sampling) == (TABLES[:count], sampling)
    again = decode_image(encode_image(decoded.pixels, decoded, ".jpg"), "b.jpg")
    assert (again.quantization, again.sampling) == (TABLES[:count], sampling)


def test_profile_resolution_and_metadata_stand_in_files_of_several_scans_too() -> None:
    exif = Image.Exif()
    exif[0x0110] = "A camera"
    planes = stored_planes(np.asarray(scene((64, 48))), (1, 2))
    data = encode_planes(planes, TABLES, (1, 2), {"dpi": (300, 300), "exif": exif.tobytes()})
    assert [part.name for part in segments(data)].count("scan") == 3
    assert unexpected(data, "JPEG", {0x0110: "A camera"}) == ()
    decoded = decode_image(data, "a.jpg")
    assert decoded.dpi == (300.0, 300.0) and decoded.exif == {0x0110: "A camera"}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("sampling", ["4:2:2", "4:4:0", "4:1:1"])
def test_a_turned_picture_keeps_its_factors_turned(orientation: int, sampling: str) -> None:
    data = foreign((128, 96), sampling)
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = b"Exif\x00\x00" + exif.tobytes().removeprefix(b"Exif\x00\x00")
    data = data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]
    decoded = decode_image(data, "a.jpg")
    across, down = FACTORS[sampling]
    assert decoded.sampling == ((across, down) if orientation < 5 else (down, across))
    treated = treated_box(decoded.size, (0, 0, 8, 8))
    again = decode_image(encode_image(redrawn(decoded, treated), decoded, ".jpg", treated=treated), "b.jpg")
    assert (again.quantization, again.sampling) == (decoded.quantization, decoded.sampling)
    part = np.abs(again.pixels[40:, 40:].astype(int) - decoded.pixels[40:, 40:])
    assert part.mean() < 0.5  # Turned, chroma is interpolated with other rounding.


def test_samples_inside_owe_nothing_to_the_source() -> None:
    treated: NDArray[np.bool_] = treated_box((96, 128), (33, 21, 101, 75))
    out = []
    for turn in (False, True):
        pixels = np.asarray(scene((128, 96)))
        data = saved(Image.fromarray(255 - pixels if turn else pixels), "JPEG", quality=90)
        source = source_planes(data)
        assert source is not None
        grey = np.full((96, 128, 3), 128, np.uint8)
        out.append(stored_planes(grey, (2, 2), treated=treated, source=source))
    for first, second, factor in zip(*out, (1, 2, 2), strict=True):
        touched = treated[::factor, ::factor] | treated[factor - 1 :: factor, factor - 1 :: factor]
        assert np.array_equal(first[touched], second[touched]) and not np.array_equal(first, second)


@pytest.mark.parametrize("kind", ["cmyk", "wide tables"])
def test_what_is_not_kept_is_noted(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in").mkdir()
    if kind == "cmyk":
        data = saved(scene((64, 48)).convert("CMYK"), "JPEG")
    else:
        tables = [[min(255, 200 + n) for n in range(64)]]
        data = saved(scene((64, 48)), "JPEG", qtables=tables)
        at = data.index(b"\xff\xdb")
        old = data[at : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
        wide = b"\x10" + b"".join(int(value + 200).to_bytes(2, "big") for value in old[5:69])
        data = data.replace(old, b"\xff\xdb" + (len(wide) + 2).to_bytes(2, "big") + wide)
        data = data.replace(b"\xff\xc0", b"\xff\xc1")  # Tables of 16 bits are for extended JPEG.
    (tmp_path / "in/a.jpg").write_bytes(data)
    assert run(FakeAnonymizer(), Request(tmp_path / "in", tmp_path / "out")).released == 1
    assert "JPEG of an unusual kind" in (tmp_path / "out/ledger.jsonl").read_text()


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases from the field are not here")
@pytest.mark.parametrize("name", ["sampling_s440.jpg", "saved_by_windows.jfif", "geotiff_overview.tif"])
def test_cases_of_the_field_are_released_as_they_came(tmp_path: Path, name: str) -> None:
    data = (CASES / name).read_bytes()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(data)
    summary = run(FakeAnonymizer(), Request(tmp_path / "in", tmp_path / "out"))
    assert summary.released == 1 and audit(tmp_path / "out").clean
    before, after = decode_image(data, name), decode_image((tmp_path / "out/images" / name).read_bytes(), name)
    assert (after.format, after.quantization, after.sampling) == (before.format, before.quantization, before.sampling)
    ledger = (tmp_path / "out/ledger.jsonl").read_text()
    assert "unusual" not in ledger and ("1 reduced versions" in ledger) == name.endswith(".tif")


def test_a_stereo_picture_is_released_as_one_jpeg(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    first, second = scene((64, 48)), Image.fromarray(255 - np.asarray(scene((64, 48))))
    buffer = io.BytesIO()
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    (tmp_path / "in/a.mpo").write_bytes(buffer.getvalue())
    assert run(FakeAnonymizer(), Request(tmp_path / "in", tmp_path / "out")).released == 1
    data = (tmp_path / "out/images/a.mpo").read_bytes()
    assert data.count(b"\xff\xd8\xff") == 1 and unexpected(data, "JPEG", {}) == ()
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
    assert "further embedded pictures dropped" in (tmp_path / "out/ledger.jsonl").read_text()
