"""Damaged and hostile files, made from a seed: pictures and annotation files as nobody should have to read them."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

SIDE = 40


def sound_pictures() -> list[tuple[str, bytes]]:
    """Return small sound files (suffix, content) of many formats and pixel types: what mutations start from."""
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)
    colour = Image.fromarray(noise[..., :3])
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker" * 20
    made: list[tuple[str, Image.Image, str, dict[str, Any]]] = [
        ("jpg", colour, "JPEG", {"quality": 90, "exif": exif, "comment": b"hello"}),
        ("jpg", colour, "JPEG", {"progressive": True, "subsampling": 0}),
        ("jpg", colour.convert("L"), "JPEG", {}),
        ("jpg", colour.convert("CMYK"), "JPEG", {}),
        ("png", colour, "PNG", {"exif": exif}),
        ("png", Image.fromarray(noise), "PNG", {}),
        ("png", colour.convert("P"), "PNG", {}),
        ("png", colour.convert("1"), "PNG", {}),
        ("png", colour.convert("LA"), "PNG", {}),
        ("png", Image.fromarray(noise[..., 0].astype(np.uint16) * 257), "PNG", {}),
        ("webp", colour, "WEBP", {"lossless": True, "exif": exif}),
        ("webp", Image.fromarray(noise), "WEBP", {"quality": 50}),
        ("bmp", colour, "BMP", {}),
        ("bmp", colour.convert("P"), "BMP", {}),
        ("tif", colour, "TIFF", {"compression": "tiff_adobe_deflate", "exif": exif}),
        ("tif", colour, "TIFF", {"compression": "raw"}),
        ("tif", colour.convert("CMYK"), "TIFF", {"compression": "tiff_lzw"}),
        ("tif", colour.convert("F"), "TIFF", {}),
        ("tif", colour.convert("LAB"), "TIFF", {}),
        ("tif", colour.convert("I"), "TIFF", {}),
        ("avif", colour, "AVIF", {}),
    ]
    out = []
    for suffix, image, kind, options in made:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        out.append((suffix, buffer.getvalue()))
    return out


def mutated_pictures(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield ``count`` files (name, content), each damaged in one of many ways; the same for the same seed."""
    rng = random.Random(seed)
    sound = sound_pictures()
    ways = (flip, flip, flip, cut, cut, splice, grow, repeat, absurd, absurd, bomb, bomb, swap, strange)
    for number in range(count):
        suffix, content = rng.choice(sound)
        way = rng.choice(ways)
        data = way(content, rng, sound) if way is not absurd else absurd(content, rng, suffix)
        if rng.random() < 0.2:  # Damage seldom comes alone.
            data = flip(data, rng, sound)
        yield f"{number:04}-{way.__name__}.{rng.choice((suffix, suffix, 'png', 'jpg'))}", data


def flip(data: bytes, rng: random.Random, sound: Any) -> bytes:
    """Change some bits, most often early, where the headers are."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if out:
            place = int(len(out) * rng.random() ** rng.choice((1, 3)))
            out[min(place, len(out) - 1)] ^= 1 << rng.randrange(8)
    return bytes(out)


def cut(data: bytes, rng: random.Random, sound: Any) -> bytes:
    """Cut the end off, or take a piece out."""
    a, b = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    return data[:a] if rng.random() < 0.6 else data[:a] + data[b:]


def splice(data: bytes, rng: random.Random, sound: list[tuple[str, bytes]]) -> bytes:
    """Put the header of one file before the body of another."""
    _, other = rng.choice(sound)
    return other[: rng.randrange(1, 200)] + data[rng.randrange(200) :]


def swap(data: bytes, rng: random.Random, sound: list[tuple[str, bytes]]) -> bytes:
    """Put one file behind another, or inside it."""
    _, other = rng.choice(sound)
    place = rng.randrange(len(data))
    return data + other if rng.random() < 0.5 else data[:place] + other + data[place:]


def grow(data: bytes, rng: random.Random, sound: Any) -> bytes:
    """Add rubbish at the end or at the beginning."""
    rubbish = rng.randbytes(rng.choice((1, 100, 10_000)))
    return data + rubbish if rng.random() < 0.7 else rubbish[:20] + data


def repeat(data: bytes, rng: random.Random, sound: Any) -> bytes:
    """Repeat a piece many times: segments and directories that never end."""
    start = rng.randrange(len(data))
    piece = data[start : start + rng.randrange(1, 64)]
    return data[:start] + piece * rng.choice((2, 50, 2000)) + data[start:]


def absurd(data: bytes, rng: random.Random, suffix: str) -> bytes:
    """State sizes that no file holds, in the header's own fields, checksums made to fit."""
    value = rng.choice((0, 1, 2**15, 14_000, 65_535, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1))
    out = bytearray(data)
    if suffix == "png":
        which = rng.choice((16, 20, 24))
        if which == 24:
            out[24:26] = bytes((rng.choice((1, 2, 3, 8, 16, 32)), rng.choice((0, 1, 2, 3, 4, 6, 7))))
        else:
            out[which : which + 4] = struct.pack(">I", value)
        out[29:33] = struct.pack(">I", zlib.crc32(bytes(out[12:29])))
    elif suffix == "bmp":
        place = rng.choice((10, 14, 18, 22, 26, 28, 30, 46))
        out[place : place + 4] = struct.pack("<I", value)
    elif suffix == "jpg":
        for marker in (b"\xff\xc0", b"\xff\xc2"):
            place = data.find(marker)
            if place > 0:
                out[place + 5 : place + 9] = struct.pack(">HH", value & 0xFFFF, rng.choice((1, SIDE, 65_535)))
    else:
        place = rng.randrange(max(len(out) - 4, 1))
        out[place : place + 4] = struct.pack(rng.choice("<>") + "I", value)
    return bytes(out)


def bomb(data: bytes, rng: random.Random, sound: Any) -> bytes:
    """A small file that would become a huge picture, a huge profile or a huge text."""
    kind = rng.choice(("png", "png16", "text", "icc", "gray", "tiff"))
    side = rng.choice((9_000, 20_000, 50_000, 200_000))
    if kind == "tiff":
        entries = {256: side, 257: side, 258: 8, 259: 8, 262: 1, 273: 200, 277: 1, 278: side, 279: 64}
        body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
        head = b"II*\x00" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + body + struct.pack("<I", 0)
        return head.ljust(200, b"\0") + zlib.compress(bytes(1000))
    depth, colour = {"png16": (16, 2), "gray": (1, 0)}.get(kind, (8, 2))
    size = (side, side) if kind in ("png", "png16", "gray") else (SIDE, SIDE)
    head = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    rows = zlib.compress(bytes(3_000_000), 9) * (1 if kind in ("text", "icc") else 3)
    extra = b""
    if kind == "text":
        extra = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(30_000_000), 9))
    if kind == "icc":
        extra = chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(30_000_000), 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def strange(data: bytes, rng: random.Random, sound: Any) -> bytes:
    """Things that are no pictures, or pictures of kinds nobody asked for."""
    buffer = io.BytesIO()
    kind = rng.randrange(6)
    if kind == 0:
        frames = [Image.new("RGB", (8, 8), (n, n, n)) for n in range(3)]
        frames[0].save(buffer, rng.choice(("PNG", "TIFF", "WEBP")), save_all=True, append_images=frames[1:])
    elif kind == 1:
        Image.new("RGB", (1, rng.choice((1, 30_000)))).save(buffer, rng.choice(("PNG", "TIFF", "BMP")))
    elif kind == 2:
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[270] = "x" * 100_000
        Image.new("RGB", (8, 8)).save(buffer, "TIFF", tiffinfo=tags)
    elif kind == 3:
        Image.new("L", (8, 8)).save(buffer, rng.choice(("GIF", "PPM", "ICO", "PCX", "TGA")))
    else:
        return rng.choice((b"", b"\0", rng.randbytes(500), b"<svg/>", b"%PDF-1.7", b"\x80\x04\x95.", b"PK\x03\x04" * 9))
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def sound_annotations() -> dict[str, Any]:
    """Return a sound COCO document about ``a.png`` of ``SIDE`` by ``SIDE`` pixels."""
    return {
        "info": {"year": 2024},
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "face"}, {"id": 7, "name": "dog"}],
        "images": [{"id": 1, "file_name": "a.png", "width": SIDE, "height": SIDE}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 20, 30], "iscrowd": 0, "area": 600},
            {"id": 2, "image_id": 1, "category_id": 2, "bbox": [5, 5, 8, 8], "segmentation": [[5, 5, 12, 5, 12, 12]]},
            {
                "id": 3,
                "image_id": 1,
                "category_id": 1,
                "bbox": [0, 0, 10, 10],
                "segmentation": {"size": [SIDE, SIDE], "counts": [0, 10, 30, 10, SIDE * SIDE - 50]},
                "iscrowd": 1,
            },
            {
                "id": 4,
                "image_id": 1,
                "category_id": 1,
                "bbox": [10, 10, 9, 9],
                "keypoints": [12, 12, 2] * 17,
                "num_keypoints": 17,
            },
            {"id": 5, "image_id": 1, "category_id": 7, "bbox": [1, 1, 5, 5], "name": "Rex"},
        ],
    }


JUNK: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1e308,
    -1e-308,
    2**70,
    float("nan"),
    float("inf"),
    "",
    "x" * 5000,
    "../../etc/passwd",
    "\u0000",
    "\ud800",
    [],
    [[]],
    {},
    [None] * 50,
    [1e9] * 8,
    {"size": [2**31, 2**31], "counts": [2**62]},
    {"size": [SIDE, SIDE], "counts": "junk\u00ff"},
    {"size": [SIDE, SIDE], "counts": [-5, SIDE * SIDE + 5]},
)


def mutated_annotations(count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield ``count`` COCO files, each damaged in one of many ways; the same for the same seed."""
    rng = random.Random(seed)
    for _ in range(count):
        document = sound_annotations()
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            _spoil(document, rng)
        text = json.dumps(document).encode()
        way = rng.random()
        if way < 0.1:
            text = flip(text, rng, None)
        elif way < 0.2:
            text = cut(text, rng, None)
        elif way < 0.25:
            text = rng.choice((b"", b"[" * 100_000, b'{"a":' * 100_000, text.decode().encode("utf-16"), b"\x80\x04."))
        yield text


def _spoil(document: dict[str, Any], rng: random.Random) -> None:
    """Replace, remove or repeat something, anywhere in the document."""
    node: Any = document
    while True:
        if not isinstance(node, dict | list) or not node:
            return
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        if isinstance(node[key], dict | list) and node[key] and rng.random() < 0.8:
            node = node[key]
            continue
        way = rng.random()
        if way < 0.6:
            node[key] = copy.deepcopy(rng.choice(JUNK))
        elif way < 0.8:
            del node[key]
        elif isinstance(node, list):
            node.extend([node[key]] * rng.choice((1, 100)))
        else:
            node[rng.choice(("id", "bbox", "name", "extra"))] = node[key]
        return
