"""Picture formats that are read and written, camera RAW included, and how well each gives back what it is given."""

from __future__ import annotations

import io
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from anonymizer.core.errors import InputError

__all__ = [
    "FORMATS",
    "LOSSLESS",
    "NAMES",
    "RAW",
    "READ_ONLY",
    "SUFFIXES",
    "SUPPORTED",
    "WRITTEN_AS",
    "has_heif",
    "has_raw",
    "is_heif",
    "is_raw",
    "open_picture",
    "open_raw",
    "readable",
    "strict_pillow",
]

#: Format written for each file suffix.
SUFFIXES: dict[str, str] = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".mpo": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
    ".heic": "HEIF",
    ".heif": "HEIF",
}
#: Suffixes of camera RAW. The suffix decides, since these files are TIFF by their content.
RAW = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw")
#: Suffixes of formats that are only read: their pictures are released as PNG, which loses nothing.
READ_ONLY = frozenset({".gif", ".jp2", ".j2k", ".jxl", *RAW})
SUFFIXES |= dict.fromkeys(sorted(READ_ONLY), "PNG")
#: The format written for these by their content, where the suffix names none.
WRITTEN_AS: dict[str, str] = dict.fromkeys(("GIF", "JPEG2000", "JXL", "RAW"), "PNG")
#: Formats that are written so that the same pixels come back.
LOSSLESS = frozenset({"PNG", "WEBP", "BMP", "TIFF"})
#: What ``--format`` takes, with the suffix each gives a file.
NAMES: dict[str, str] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif"}
#: Every format that can be written.
FORMATS = frozenset(SUFFIXES.values())
#: The formats by name, for messages.
SUPPORTED = "JPEG, PNG, WebP, BMP, TIFF, AVIF, HEIC, GIF, JPEG 2000, JPEG XL or camera RAW"
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
# Pillow's limits are globals, which other packages change on import.
_pillow = threading.RLock()
Image.init()  # Pillow knows some formats only after this.


def is_heif(data: bytes) -> bool:
    """Return whether a file's first bytes name it HEIC or HEIF rather than AVIF."""
    if data[4:8] != b"ftyp":
        return False
    box = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    brands = {box[start : start + 4] for start in range(0, len(box), 4)}
    return bool(brands & _HEIF_BRANDS) and not brands & {b"avif", b"avis"}


def is_raw(name: str) -> bool:
    """Return whether a file's name is that of camera RAW."""
    return name.lower().endswith(RAW)


def readable() -> tuple[str, ...]:
    """Return the formats that can be read here."""
    return ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF", "GIF", "JPEG2000", *(("HEIF",) if has_heif() else ()))


@cache
def has_heif() -> bool:
    """Make Pillow read and write HEIC through pillow-heif; return whether that package is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    # Thumbnails, depth maps and further pictures of the file are not for us.
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return True


def open_picture(data: bytes, formats: Sequence[str] | None = None) -> ImageFile.ImageFile:
    """Open a picture with Pillow's own ``open``, whatever another package put in its place.

    ultralytics replaces ``PIL.Image.open`` by a function that installs a package from the network when a file is no
    picture, and keeps the original beside it.
    """
    function: Any = Image.open
    if function.__module__ != "PIL.Image":
        function = sys.modules[function.__module__]._image_open
    opened: ImageFile.ImageFile = function(io.BytesIO(data), formats=formats)
    return opened


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Hold Pillow to our own size check and to whole files, and keep its warnings about odd files to ourselves."""
    with _pillow, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


@cache
def has_raw() -> bool:
    """Return whether rawpy is installed."""
    try:
        import rawpy  # noqa: F401
    except ImportError:
        return False
    return True


def open_raw(data: bytes, name: str, max_pixels: int) -> Image.Image:
    """Develop a camera RAW file, upright.

    Args:
        data: The file.
        name: What to call it in messages.
        max_pixels: Largest height times width.

    Raises:
        InputError: No decoder, or too large.
        ValueError: Damaged, or no RAW of a camera that LibRaw knows.
    """
    if not has_raw():
        raise InputError(f"{name}: a camera RAW picture, which needs rawpy; install anonymizer[raw] or convert it")
    import rawpy

    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            sizes = raw.sizes
            width, height = max(sizes.raw_width, sizes.iwidth), max(sizes.raw_height, sizes.iheight)
            if width * height > max_pixels:
                raise InputError(
                    f"{name}: {width}x{height} is {width * height} pixels, expected at most {max_pixels}; cut it into "
                    "parts"
                )
            pixels = raw.postprocess(use_camera_wb=True, output_bps=8, output_color=rawpy.ColorSpace.sRGB)
    except rawpy.LibRawError as error:
        raise ValueError(f"LibRaw: {error.args[0].decode() if error.args else error}") from error
    return Image.fromarray(np.ascontiguousarray(pixels))
