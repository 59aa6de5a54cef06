"""What is found in picture files, and what passes as clean."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pictures
from PIL import PngImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from anonymizer.evaluation.container import inspect

PIXELS = Pictures.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8))
EXIF = Pictures.Exif()
EXIF[271] = "Maker"
EXIF.get_ifd(0x8825)[1] = "N"
EXIF.get_ifd(0x8769)[37500] = b"what only the maker knows"


def saved(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    PIXELS.save(buffer, kind, **options)
    return buffer.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def with_segment(data: bytes, marker: int, body: bytes) -> bytes:
    return data[:2] + segment(marker, body) + data[2:]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 90}),
        ("JPEG", {"quality": 90, "progressive": True, "restart_marker_blocks": 2, "dpi": (72, 72)}),
        ("PNG", {"dpi": (72, 72)}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"quality": 80}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_adobe_deflate", "dpi": (72, 72)}),
        ("BMP", {}),
    ],
)
def test_plain_files_are_clean_and_trailing_bytes_are_counted(kind: str, options: dict[str, object]) -> None:
    data = saved(kind, **options)
    found = inspect(data)
    assert (found.kind, found.items, found.icc, found.trailing) == (kind, (), False, 0)
    assert inspect(data + b"secret").trailing in (5, 6)  # a TIFF may be padded by one byte


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_is_read_through(kind: str) -> None:
    found = inspect(saved(kind, exif=EXIF))
    assert {"exif", "gps", "maker note", "camera"} <= set(found.items)


def test_icc_profiles_are_told_apart() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        found = inspect(saved(kind, icc_profile=profile))
        assert found.icc
        assert not found.items


@pytest.mark.parametrize(
    ("marker", "body", "item"),
    [
        (0xFE, b"taken at home", "comment"),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>", "xmp"),
        (0xE2, b"MPF\0II*\0", "mpf"),
        (0xED, b"Photoshop 3.0\x008BIM\x04\x04", "iptc"),
        (0xED, b"Photoshop 3.0\x008BIM\x03\xed", "photoshop"),
        (0xE0, b"JFXX\0\x10", "thumbnail"),
        (0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\x02\x02" + bytes(12), "thumbnail"),
        (0xEB, b"JP", "APP11 segment"),
        (0xEE, b"Adobe" + bytes(40), "APP14 segment"),
    ],
)
def test_jpeg_segments(marker: int, body: bytes, item: str) -> None:
    found = inspect(with_segment(saved("JPEG"), marker, body))
    assert found.items == (item,)
    assert found.trailing == 0


def test_a_preview_in_exif_is_a_thumbnail() -> None:
    first = struct.pack("<HI", 0, 14)  # an empty directory, then one with a JPEG preview
    second = struct.pack("<HHHIIHHIII", 2, 513, 4, 1, 44, 514, 4, 1, 6, 0)
    block = b"II*\0" + struct.pack("<I", 8) + first + second + b"\xff\xd8junk"
    assert inspect(with_segment(saved("JPEG"), 0xE1, b"Exif\0\0" + block)).items == ("exif", "thumbnail")


def test_png_text_and_unknown_chunks() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("place", "home")
    notes.add_itxt("XML:com.adobe.xmp", "<x/>")
    notes.add(b"tIME", bytes(7))
    notes.add(b"prVt", b"private")
    assert set(inspect(saved("PNG", pnginfo=notes)).items) == {"text", "xmp", "time", "'prVt' chunk"}


def test_webp_xmp() -> None:
    assert inspect(saved("WEBP", xmp=b"<x/>")).items == ("xmp",)


def test_tiff_tags() -> None:
    tags = ImageFileDirectory_v2()
    tags[305] = "editor"
    tags[700] = b"<x/>"
    tags[65000] = "own"
    assert set(inspect(saved("TIFF", tiffinfo=tags)).items) == {"software", "xmp", "tag 65000"}
    buffer = io.BytesIO()
    PIXELS.save(buffer, "TIFF", save_all=True, append_images=[PIXELS])
    assert "further picture" in inspect(buffer.getvalue()).items


def test_bmp_gap() -> None:
    data = bytearray(saved("BMP"))
    (size, start) = struct.unpack_from("<I4xI", data, 2)
    data[start:start] = b"hidden text!"
    struct.pack_into("<I4xI", data, 2, size + 12, start + 12)
    assert inspect(bytes(data)).items == ("bytes before the pixels",)


def test_avif_is_walked(tmp_path: Path) -> None:
    from PIL import features

    if not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    plain = inspect(saved("AVIF"))
    assert (plain.kind, plain.items, plain.trailing) == ("ISO", (), 0)
    assert inspect(saved("AVIF", exif=EXIF)).items == ("exif",)
    assert inspect(saved("AVIF") + b"secret").trailing == 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_cut_files_are_damaged(kind: str) -> None:
    data = saved(kind)
    assert "damaged" in inspect(data[: len(data) // 2]).items


def test_other_files_are_said_to_be_none() -> None:
    assert inspect(b"GIF89a").items == ("damaged",)
    assert inspect(b"").kind == ""


def test_a_directory_that_points_at_itself_ends() -> None:
    loop = b"II*\0" + struct.pack("<IHI", 8, 0, 8)
    assert inspect(loop).trailing == 0


@settings(max_examples=300, deadline=2000)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "BMP"]), st.data())
def test_hostile_bytes_never_raise(kind: str, data: st.DataObject) -> None:
    content = bytearray(saved(kind, exif=EXIF) if kind in ("JPEG", "PNG", "WEBP") else saved(kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    found = inspect(bytes(content[: data.draw(st.integers(0, len(content)))]))
    assert found.trailing >= 0
