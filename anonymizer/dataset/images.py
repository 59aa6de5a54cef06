"""Pictures in and out: decoding of untrusted files and encoding without metadata."""

from __future__ import annotations

import hashlib
import io
import math
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, JpegImagePlugin, UnidentifiedImageError

from anonymizer.errors import InputError
from anonymizer.types import check_image

__all__ = [
    "LOSSLESS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "SUFFIXES",
    "Decoded",
    "decode_image",
    "encode_image",
    "read_bytes",
    "read_image",
    "target_format",
    "thumbnail",
]

#: Largest picture decoded, in pixels: 600 MB as RGB.
MAX_PIXELS = 200_000_000
#: Largest file read, in bytes.
MAX_BYTES = 2 * 1024**3
#: Format written for each file suffix.
SUFFIXES: dict[str, str] = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
#: Formats that are written so that the same pixels come back.
LOSSLESS = frozenset({"PNG", "WEBP", "BMP", "TIFF"})

Image.init()  # Pillow knows some formats only after this.
_READABLE = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
_SUPPORTED = "JPEG, PNG, WebP, BMP or TIFF"
# What Pillow's parsers raise on damaged files. A MemoryError is not among them: it says nothing about the file.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
)
# Pillow's limits are globals, which other packages change on import.
_pillow = threading.RLock()
# EXIF orientation (1 to 8) to the transposition that makes the picture upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A decoded picture and what of its file may be kept.

    Args:
        pixels: RGB uint8 (H, W, 3), upright, read-only.
        format: JPEG, PNG, WEBP, BMP or TIFF, by content.
        icc: ICC profile of the pixels, or None for sRGB.
        dpi: Horizontal and vertical dots per inch, or None.
        quantization: JPEG quantization tables, 64 numbers each, or None.
        subsampling: JPEG chroma subsampling: 0 is 4:4:4, 1 is 4:2:2, 2 is 4:2:0; None where unknown.
        notes: Conversions made, for people.
        sha256: Hex digest of the file's bytes.
    """

    pixels: NDArray[np.uint8]
    format: str
    icc: bytes | None
    dpi: tuple[float, float] | None
    quantization: tuple[tuple[int, ...], ...] | None
    subsampling: int | None
    notes: tuple[str, ...]
    sha256: str

    def __post_init__(self) -> None:
        check_image(self.pixels).flags.writeable = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]


def read_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return a file's content.

    Raises:
        InputError: No such file, not a regular file, larger than ``max_bytes``, or unreadable.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: expected a picture file, got a folder or device; give the path of a file")
        if status.st_size > max_bytes:
            raise InputError(f"{path}: {status.st_size} bytes, expected at most {max_bytes}; make the picture smaller")
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: expected a readable file, got {error.strerror or error}; check the path and its permissions"
        ) from error


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Read and decode one picture; see :func:`decode_image`.

    Raises:
        InputError: The file cannot be read or is not a whole picture.
    """
    return decode_image(read_bytes(path), str(path), max_pixels)


def decode_image(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Decode a picture from untrusted bytes; its size is checked before any pixel is decoded.

    Args:
        data: Content of a JPEG, PNG, WebP, BMP or TIFF file. The content decides, not the name.
        name: What to call the picture in messages.
        max_pixels: Largest height times width.

    Returns:
        The picture as RGB uint8 (H, W, 3) with the EXIF orientation applied.

    Raises:
        InputError: Empty, no picture, damaged, too large, of several frames, or of a pixel type that has no RGB form.
    """
    if not data:
        raise InputError(f"{name}: the file is empty (0 bytes), expected a picture; copy it again from its source")
    with _strict_pillow():
        try:
            with Image.open(io.BytesIO(data), formats=_READABLE) as image:
                _check_header(image, name, max_pixels)
                deep = any(";16" in str(tile[3]) for tile in image.tile) or image.mode.startswith("I")
                image.load()
                return _decoded(image, name, deep, hashlib.sha256(data).hexdigest())
        except UnidentifiedImageError as error:
            raise InputError(f"{name}: not a picture, expected {_SUPPORTED}; convert or remove the file") from error
        except _DAMAGE as error:
            raise InputError(
                f"{name}: damaged or truncated picture ({_short(error)}), expected a whole {_SUPPORTED} file; "
                "copy it again from its source"
            ) from error


def target_format(like: Decoded, suffix: str) -> str:
    """Return the format to write: the suffix decides, and the content where the suffix names no known format."""
    return SUFFIXES.get(suffix.lower(), like.format)


def encode_image(pixels: NDArray[np.uint8], like: Decoded, suffix: str) -> bytes:
    """Encode a picture with nothing of the original file but its ICC profile and resolution.

    PNG, TIFF and WebP are lossless and BMP is plain. A JPEG made from a JPEG keeps the quantization tables and
    subsampling, so that it neither grows nor degrades visibly; other JPEGs are written at quality 95, 4:4:4.

    Args:
        pixels: RGB uint8 (H, W, 3).
        like: The picture this one replaces.
        suffix: Suffix of the file to write, with its dot.

    Raises:
        InputError: The picture does not fit the format.
    """
    kind = target_format(like, suffix)
    options: dict[str, Any] = {}
    if like.icc is not None and kind != "BMP":
        options["icc_profile"] = like.icc
    if like.dpi is not None and kind != "WEBP":
        options["dpi"] = like.dpi
    if kind == "JPEG" and like.quantization is not None:
        options |= {"qtables": [list(table) for table in like.quantization], "subsampling": like.subsampling or 0}
    elif kind == "JPEG":
        options |= {"quality": 95, "subsampling": 0}
    elif kind == "WEBP":
        options |= {"lossless": True, "quality": 80}
    elif kind == "TIFF":
        options["compression"] = "tiff_adobe_deflate"
    buffer = io.BytesIO()
    try:
        # A picture made from an array carries no info, so Pillow has no metadata to pass on.
        Image.fromarray(check_image(pixels)).save(buffer, kind, **options)
    except (OSError, ValueError, struct.error) as error:
        height, width = pixels.shape[:2]
        raise InputError(
            f"picture of {width}x{height} pixels cannot be written as {kind} ({_short(error)}); convert it to PNG"
        ) from error
    return buffer.getvalue()


def thumbnail(data: bytes, side: int = 320) -> bytes:
    """Return a picture file's content as a JPEG of at most ``side`` pixels on its longer side, without metadata."""
    with _strict_pillow(), Image.open(io.BytesIO(data), formats=_READABLE) as image:
        image.draft("RGB", (side, side))
        small = image.convert("RGB")
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(small)).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


@contextmanager
def _strict_pillow() -> Iterator[None]:
    """Hold Pillow to our own size check and to whole files, and keep its warnings about odd files to ourselves."""
    with _pillow, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _check_header(image: Image.Image, name: str, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise InputError(
            f"{name}: {width}x{height} is {width * height} pixels, expected at most {max_pixels}; cut it into parts"
        )
    frames = int(getattr(image, "n_frames", 1))
    if frames > 1 and image.format != "MPO":
        raise InputError(
            f"{name}: {frames} frames or pages, expected one, as the others would be lost; save each as its own file"
        )


def _decoded(image: Image.Image, name: str, deep: bool, sha256: str) -> Decoded:
    notes: list[str] = []
    if image.format == "MPO":
        notes.append("further embedded pictures dropped")
    dpi, icc = _dpi(image.info.get("dpi")), _icc(image.info.get("icc_profile"))
    quantization, subsampling = _jpeg_tables(image)
    if deep:
        notes.append("16-bit reduced to 8-bit")
    # Only after loading: Pillow turns some TIFF files itself and then clears the tag.
    orientation = _orientation(image, notes)
    rgb, icc = _to_rgb(image, name, icc, notes)
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
        notes.append("EXIF orientation applied")
        if orientation >= 5 and subsampling == 1:
            subsampling = 0  # 4:2:2 halves the width; on its side it would halve the height, which is not written.
    return Decoded(
        pixels=np.array(rgb),
        format="JPEG" if image.format == "MPO" else str(image.format),
        icc=icc,
        dpi=dpi,
        quantization=quantization,
        subsampling=subsampling,
        notes=tuple(notes),
        sha256=sha256,
    )


def _to_rgb(image: Image.Image, name: str, icc: bytes | None, notes: list[str]) -> tuple[Image.Image, bytes | None]:
    """Return the picture in mode RGB and the ICC profile that still describes it."""
    if image.mode == "CMYK":
        notes.append("CMYK converted to sRGB")
        if icc is not None and _space(icc) == b"CMYK":
            try:
                source, target = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
            except (ImageCms.PyCMSError, OSError) as error:
                notes.append(f"ICC profile unusable ({_short(error)}), converted without it")
            else:
                if converted is not None:
                    return converted, None
        return image.convert("RGB"), None
    if icc is not None and _space(icc) != b"RGB ":
        notes.append("ICC profile of another colour space dropped")
        icc = None
    if image.mode.startswith("I"):
        return _reduce(image, name), icc
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        if np.asarray(layered.getchannel("A")).min() < 255:
            notes.append("alpha flattened onto white")
            white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
            return Image.alpha_composite(white, layered).convert("RGB"), icc
        return layered.convert("RGB"), icc
    if image.mode not in ("1", "L", "P", "RGB", "YCbCr"):
        raise InputError(f"{name}: pixels of type {image.mode}, expected grey or colour; convert it to an 8-bit PNG")
    return (image if image.mode == "RGB" else image.convert("RGB")), icc


def _reduce(image: Image.Image, name: str) -> Image.Image:
    """Scale 16-bit grey, also held in 32-bit integers, to 8-bit RGB."""
    grey = np.asarray(image).astype(np.int64)
    if grey.min() < 0 or grey.max() > 65535:
        raise InputError(
            f"{name}: grey values from {grey.min()} to {grey.max()}, expected 0 to 65535; convert it to 8-bit"
        )
    return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")


def _orientation(image: Image.Image, notes: list[str]) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DAMAGE:
        notes.append("EXIF unreadable, orientation taken as stored")
        return 1
    return value if isinstance(value, int) else 1


def _jpeg_tables(image: Image.Image) -> tuple[tuple[tuple[int, ...], ...] | None, int | None]:
    """Return quantization tables and subsampling that a JPEG of RGB pixels can reuse."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.mode not in ("L", "RGB"):
        return None, None
    tables = tuple(tuple(int(value) for value in image.quantization[key]) for key in sorted(image.quantization))
    # Baseline JPEG holds tables of 64 numbers from 1 to 255.
    if not 1 <= len(tables) <= 4 or any(len(t) != 64 or min(t) < 1 or max(t) > 255 for t in tables):
        return None, None
    subsampling = int(JpegImagePlugin.get_sampling(image))
    return tables, (subsampling if subsampling in (0, 1, 2) else None)


def _space(icc: bytes) -> bytes:
    return icc[16:20]


def _icc(profile: object) -> bytes | None:
    """Return a well-formed ICC profile cut to its declared length, so that nothing rides behind it."""
    if not isinstance(profile, bytes) or len(profile) < 132 or profile[36:40] != b"acsp":
        return None
    length = int.from_bytes(profile[:4], "big")
    return profile[:length] if 132 <= length <= len(profile) else None


def _dpi(value: object) -> tuple[float, float] | None:
    if not isinstance(value, tuple) or len(value) != 2:
        return None
    try:
        x, y = float(value[0]), float(value[1])
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if all(math.isfinite(v) and 1.0 <= v <= 65535.0 for v in (x, y)) else None
