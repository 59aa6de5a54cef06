"""JPEG XL in: the header is read here, pixels by libjxl, so that size and kind are known before a pixel is decoded.

After ISO/IEC 18181-1 (headers of the codestream) and 18181-2 (boxes).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageOps

from anonymizer.core.errors import InputError
from anonymizer.images.formats import open_picture

__all__ = ["JxlHeader", "has_jxl", "is_jxl", "jxl_header", "open_jxl"]

_BARE = b"\xff\x0a"
_BOXED = b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a"
#: Width of a picture for its height, by the number that a header gives for the ratio.
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
#: Pixel types that become RGB of 8 bits.
_MODES = ("RGB", "RGBA", "L", "LA", "I;16")
# What EXIF begins with, behind an offset and, of some writers, the mark of JPEG.
_TIFF = re.compile(rb"II\*\x00|MM\x00\*")
_EXIF_HEAD = 16
#: Most boxes before the codestream; files have a handful.
_MOST_BOXES = 1000


@dataclass(frozen=True, slots=True)
class JxlHeader:
    """Header of a JPEG XL file: size in pixels, and whether it is animated."""

    width: int
    height: int
    animated: bool


def is_jxl(data: bytes) -> bool:
    """Return whether a file's first bytes are those of JPEG XL."""
    return data.startswith((_BARE, _BOXED))


@cache
def has_jxl() -> bool:
    """Return whether pillow-jxl-plugin is installed."""
    try:
        import pillow_jxl  # noqa: F401
    except ImportError:
        return False
    return True


def open_jxl(data: bytes, name: str, max_pixels: int) -> Image.Image:
    """Decode a JPEG XL picture, upright.

    Args:
        data: The file.
        name: What to call it in messages.
        max_pixels: Largest height times width.

    Raises:
        InputError: No decoder, too large, animated, or of pixels that have no RGB form.
        ValueError: Damaged.
    """
    if not has_jxl():
        raise InputError(f"{name}: a JPEG XL picture, which needs pillow-jxl-plugin; install anonymizer[jxl]")
    header = jxl_header(data)
    if header.width * header.height > max_pixels:
        raise InputError(
            f"{name}: {header.width}x{header.height} is {header.width * header.height} pixels, expected at most "
            f"{max_pixels}; cut it into parts"
        )
    if header.animated:
        raise InputError(f"{name}: an animation, expected one picture, as the others would be lost; save each frame")
    from pillow_jxl import Decoder

    # Not Pillow's plugin: it would open what a file says is its JPEG with whatever stands for Pillow's ``open``.
    jpeg, info, pixels, icc, boxes = Decoder(num_threads=0)(data)
    if jpeg:
        image: Image.Image = open_picture(pixels, ("JPEG",))
        if set(image.size) != {header.width, header.height}:
            raise InputError(f"{name}: the JPEG inside is of another size than the file states; copy it again")
        image.load()
        # Without tables: what is written is no JPEG of this file.
        return ImageOps.exif_transpose(image)
    if info.mode not in _MODES:
        raise InputError(f"{name}: pixels of type {info.mode}, expected grey or colour; convert it to an 8-bit PNG")
    image = Image.frombytes(info.mode, (info.width, info.height), pixels)
    if icc:
        image.info["icc_profile"] = icc
    exif = next((bytes(box.data) for box in boxes if box.box_type == b"Exif"), b"")
    start = _TIFF.search(exif[:_EXIF_HEAD])
    if start is not None:
        image.info["exif"] = b"Exif\x00\x00" + exif[start.start() :]
    return image


def jxl_header(data: bytes) -> JxlHeader:
    """Return what the header of a JPEG XL file says.

    Raises:
        ValueError: Damaged.
    """
    bits = _Bits(_codestream(data))
    height, width = _size(bits)
    if bits.take(1):  # all_default
        return JxlHeader(width, height, False)
    if not bits.take(1):  # extra_fields
        return JxlHeader(width, height, False)
    turned = bits.take(3) >= 4  # Orientation 5 to 8 swaps the sides.
    if bits.take(1):
        _size(bits)  # intrinsic size
    if bits.take(1):
        _preview(bits)
    animated = bool(bits.take(1))
    return JxlHeader(height, width, animated) if turned else JxlHeader(width, height, animated)


def _codestream(data: bytes) -> bytes:
    """Return the codestream from its signature on, of a box or bare."""
    if data.startswith(_BARE):
        return data[2:]
    place = 0
    for _ in range(_MOST_BOXES):
        size, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        head = 8
        if size == 1:
            size, head = int.from_bytes(data[place + 8 : place + 16], "big"), 16
        if size == 0:
            size = len(data) - place
        if size < head or place + size > len(data):
            break
        if kind in (b"jxlc", b"jxlp"):
            start = place + head + (4 if kind == b"jxlp" else 0)
            if data[start : start + 2] == _BARE:
                return data[start + 2 : start + 64]
            break
        place += size
    raise ValueError("JPEG XL without a codestream")


class _Bits:
    """Bits of a codestream, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data[:64], "little")
        self._left = 8 * min(len(data), 64)

    def take(self, count: int) -> int:
        """Return the next so many bits as a number."""
        if count > self._left:
            raise ValueError("JPEG XL header breaks off")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return value

    def choose(self, *widths: tuple[int, int]) -> int:
        """Return a number whose width in bits and least value two bits choose."""
        bits, least = widths[self.take(2)]
        return self.take(bits) + least


def _size(bits: _Bits) -> tuple[int, int]:
    """Return height and width of a size header."""
    small = bits.take(1)
    wide = ((9, 1), (13, 1), (18, 1), (30, 1))
    height = 8 * (bits.take(5) + 1) if small else bits.choose(*wide)
    ratio = bits.take(3)
    if ratio:
        over, under = _RATIOS[ratio]
        return height, height * over // under
    return height, 8 * (bits.take(5) + 1) if small else bits.choose(*wide)


def _preview(bits: _Bits) -> None:
    """Read over the header of a preview."""
    eighths = bits.take(1)
    wide = ((0, 16), (0, 32), (5, 1), (9, 33)) if eighths else ((6, 1), (8, 65), (10, 321), (12, 1345))
    bits.choose(*wide)
    if not bits.take(3):
        bits.choose(*wide)
