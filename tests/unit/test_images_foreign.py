"""Formats that are only read: GIF, JPEG 2000, JPEG XL and camera RAW, whole, damaged, animated and too large."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from anonymizer.core.errors import InputError
from anonymizer.images import formats, jxl
from anonymizer.images.decode import decode_image, stated_pixels
from anonymizer.images.jxl import jxl_header
from anonymizer.images.release import Release
from anonymizer.images.segments import segments
from anonymizer.run.inputs import find_inputs
from anonymizer.run.local import run
from anonymizer.run.request import Request

from .fakes import FakeAnonymizer
from .test_run_local import files, ledger

pillow_jxl = pytest.importorskip("pillow_jxl")
rawpy = pytest.importorskip("rawpy")


def pixels(height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(array: np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def dng(height: int = 96, width: int = 128) -> bytes:
    """A camera RAW file of an RGGB sensor: dark at the left, bright at the right."""
    sensor = np.full((height, width), 2000, np.uint16)
    sensor[:, width // 2 :] = 9000
    matrix = (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1)
    tags = [
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, bytes([0, 1, 1, 2]), True),
        (50706, "B", 4, bytes([1, 4, 0, 0]), True),
        (50708, "s", 0, "Test Camera", True),
        (271, "s", 0, "Test", True),
        (272, "s", 0, "Camera", True),
        (50714, "H", 1, 512, True),
        (50717, "I", 1, 16383, True),
        (50721, "2i", 9, matrix, True),
        (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),
        (50778, "H", 1, 21, True),
    ]
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, sensor, photometric=32803, metadata=None, software=False, extratags=tags)
    return buffer.getvalue()


def animated(array: np.ndarray) -> bytes:
    return saved(array, "GIF", save_all=True, append_images=[Image.fromarray(255 - array)])


WHOLE = {
    "a.gif": lambda: saved(pixels(), "GIF"),
    "a.jp2": lambda: saved(pixels(), "JPEG2000"),
    "a.j2k": lambda: saved(pixels(), "JPEG2000", no_jp2=True),
    "a.jxl": lambda: saved(pixels(), "JXL", lossless=True),
    "a.dng": dng,
}
EXACT = ("a.jp2", "a.j2k", "a.jxl")


@pytest.mark.parametrize("name", WHOLE)
def test_a_picture_is_released_as_png_with_nothing_of_its_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    content = WHOLE[name]()
    (tmp_path / "in" / name).write_bytes(content)
    assert run(FakeAnonymizer(), Request(tmp_path / "in", tmp_path / "out")).released == 1
    assert set(files(tmp_path / "out/images")) == {"a.png"}
    record = ledger(tmp_path / "out")[name]
    assert record["released_name"] == "a.png" and "written as PNG" in record["notes"][-1]
    written = (tmp_path / "out/images/a.png").read_bytes()
    assert {part.name for part in segments(written)} <= {"signature", "IHDR", "iCCP", "IDAT", "IEND"}
    released, original = decode_image(written, "a.png").pixels, decode_image(content, name).pixels
    half = original.shape[0] // 2
    assert np.array_equal(released[half:], original[half:])
    if name in EXACT:
        assert np.array_equal(original, pixels())


def test_a_gif_is_released_exactly_outside_of_what_was_treated(tmp_path: Path) -> None:
    few = np.repeat(np.repeat(pixels(5, 5), 8, 0), 12, 1)  # 25 colours: nothing is lost in a GIF.
    decoded = decode_image(saved(few, "GIF"), "a.gif")
    assert decoded.format == "GIF" and np.array_equal(decoded.pixels, few)


def test_raw_is_developed_upright_and_noted() -> None:
    decoded = decode_image(dng(), "a.DNG")
    assert decoded.size == (96, 128) and decoded.format == "RAW" and decoded.deep is None
    assert decoded.pixels[:, :50].mean() + 50 < decoded.pixels[:, 80:].mean()
    assert any("developed" in note for note in decoded.notes)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("cut", [20, 0.3, 0.5])
def test_what_is_damaged_or_forged_fails_by_name(name: str, cut: float) -> None:
    content = WHOLE[name]()
    end = int(cut * len(content)) if cut < 1 else int(cut)
    with pytest.raises(InputError, match=name):
        decode_image(content[:end], name)
    with pytest.raises(InputError):
        decode_image(b"no picture at all" * 20, name)


@pytest.mark.parametrize("name", [n for n in WHOLE if n != "a.dng"])
def test_size_is_checked_before_pixels_are_decoded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("decoded")

    content = WHOLE[name]()
    assert stated_pixels(content, name) == 2400
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    monkeypatch.setattr(pillow_jxl, "Decoder", never)
    with pytest.raises(InputError, match="expected at most 2399"):
        decode_image(content, name, max_pixels=2399)


def test_size_of_raw_is_checked_before_it_is_developed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="128x96 is 12288 pixels, expected at most 1000"):
        decode_image(dng(), "a.dng", max_pixels=1000)
    assert stated_pixels(dng(), "a.dng") > 10**8  # Unknown before it is opened: it goes alone.


def test_an_animated_gif_is_refused() -> None:
    with pytest.raises(InputError, match="2 frames"):
        decode_image(animated(pixels()), "a.gif")


def test_an_animated_jxl_is_refused_by_its_header() -> None:
    # A still picture's header with the flags set that announce an animation: not all_default, extra_fields, no
    # orientation, size or preview, have_animation. 8x8 pixels: small, height 8, ratio 1.
    bits = [1, *[0] * 5, *[1, 0, 0], 0, 1, *[0] * 3, 0, 0, 1]
    head = sum(bit << place for place, bit in enumerate(bits)).to_bytes(4, "little")
    assert jxl_header(b"\xff\x0a" + head).animated
    with pytest.raises(InputError, match="animation"):
        decode_image(b"\xff\x0a" + head, "a.jxl")


@pytest.mark.parametrize("size", [(40, 60), (256, 256), (123, 457), (1080, 1920), (300, 400)])
@pytest.mark.parametrize("options", [{"lossless": True}, {"use_container": True}, {"quality": 50}])
def test_the_header_of_jxl_is_read_as_it_was_written(size: tuple[int, int], options: dict[str, Any]) -> None:
    header = jxl_header(saved(pixels(*size), "JXL", effort=1, **options))
    assert (header.height, header.width, header.animated) == (*size, False)


@pytest.mark.parametrize("head", [b"", b"\xff", b"\x00" * 64, bytes(jxl._BOXED) + b"\x00\x00\x00\x07junk"])
def test_a_header_that_breaks_off_is_damage(head: bytes) -> None:
    with pytest.raises(ValueError, match="JPEG XL"):
        jxl_header(head if head.startswith(jxl._BOXED) else b"\xff\x0a" + head[:1])


def test_orientation_of_jxl_is_that_of_its_codestream_and_a_jpeg_inside_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    plain = decode_image(saved(pixels(), "JXL", lossless=True, exif=exif.tobytes()), "a.jxl")
    assert np.array_equal(plain.pixels, pixels()) and plain.orientation == 1 and 0x010F in plain.exif
    Image.fromarray(pixels(64, 96)).save(tmp_path / "a.jpg", exif=exif)
    buffer = io.BytesIO()
    with Image.open(tmp_path / "a.jpg") as image, pytest.warns(UserWarning, match="JPEG reconstruction"):
        image.save(buffer, "JXL")
    rebuilt = decode_image(buffer.getvalue(), "a.jxl")
    assert rebuilt.format == "JXL" and rebuilt.quantization is None and rebuilt.source == b""
    assert np.array_equal(rebuilt.pixels, decode_image((tmp_path / "a.jpg").read_bytes(), "a.jpg").pixels)


def test_sixteen_bits_are_reduced_and_noted() -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (40, 60), dtype=np.uint16)
    for kind, name in (("JXL", "a.jxl"), ("JPEG2000", "a.jp2")):
        options = {"lossless": True} if kind == "JXL" else {}
        decoded = decode_image(saved(deep, kind, **options), name)
        assert decoded.deep is None and "16-bit reduced to 8-bit" in decoded.notes
        assert np.abs(decoded.pixels[..., 0].astype(float) - deep / 257).max() <= 1


def test_a_jpeg_2000_whose_codestream_is_larger_than_it_states_is_refused() -> None:
    content = bytearray(saved(pixels(), "JPEG2000"))
    place = content.find(b"\xff\x4f\xff\x51")
    content[place + 8 : place + 12] = (6000).to_bytes(4, "big")
    with pytest.raises(InputError, match="its codestream is 6000x40"):
        decode_image(bytes(content), "a.jp2")


def test_without_their_packages_jxl_fails_by_name_and_raw_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jxl, "has_jxl", lambda: False)
    monkeypatch.setattr(formats, "has_raw", lambda: False)
    monkeypatch.setattr("anonymizer.run.inputs.has_raw", lambda: False)
    with pytest.raises(InputError, match=r"install anonymizer\[jxl\]"):
        decode_image(WHOLE["a.jxl"](), "a.jxl")
    with pytest.raises(InputError, match=r"install anonymizer\[raw\]"):
        decode_image(dng(), "a.dng")
    (tmp_path / "a.dng").write_bytes(dng())
    (tmp_path / "a.gif").write_bytes(WHOLE["a.gif"]())
    found = find_inputs(tmp_path, tmp_path.parent / "out")
    assert [file.name for file in found.files] == ["a.gif"] and found.passed_over == {".dng": 1}


def test_names_of_pictures_that_are_only_read() -> None:
    assert Release().name("b/a.CR2") == "b/a.png"
    assert Release("png").name("a.gif") == "a.png"
    assert Release("jpeg").name("a.gif") == "a.jpg"
    assert Release(rename=True, key=b"k" * 32).name("a.jxl").endswith(".png")
    with pytest.raises(InputError, match=r"both be released as a\.png"):
        Release().check_names(["a.gif", "a.png"])
