"""Pictures in: decoding of untrusted files."""

from __future__ import annotations

import hashlib
import io
import math
import stat
import struct
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from anonymizer.core.errors import InputError
from anonymizer.core.records import check_image
from anonymizer.images.formats import (
    LOSSLESS,
    SUFFIXES,
    SUPPORTED,
    has_heif,
    is_heif,
    is_raw,
    open_picture,
    open_raw,
    readable,
    strict_pillow,
)
from anonymizer.images.high_bit_depth import DEEP_FORMATS, read_deep, reduce_deep
from anonymizer.images.jpeg import WRITTEN, read_tables
from anonymizer.images.jxl import is_jxl, jxl_header, open_jxl
from anonymizer.images.metadata import Tags, Value, read_tags
from anonymizer.images.panorama import read_panorama
from anonymizer.images.segments import Damaged, tiff_pages
from anonymizer.images.storage import Stored

__all__ = [
    "LOSSLESS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "SUFFIXES",
    "Decoded",
    "decode_image",
    "read_bytes",
    "read_image",
    "short",
    "stated_pixels",
    "thumbnail",
    "upright",
]

#: Largest picture decoded, in pixels: 600 MB as RGB.
MAX_PIXELS = 200_000_000
#: Largest file read, in bytes.
MAX_BYTES = 2 * 1024**3
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
_ORIENTATION_TAG = 0x0112
#: Markers that begin the codestream of JPEG 2000.
_SIZ = b"\xff\x4f\xff\x51"
#: TIFF tags.
_NEW_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _PHOTOMETRIC, _SUB_DIRECTORIES, _SAMPLE_FORMAT = 254, 255, 262, 330, 339


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A decoded picture and what of its file may be kept.

    Args:
        pixels: RGB uint8 (H, W, 3), upright, read-only.
        format: JPEG, PNG, WEBP, BMP, TIFF, AVIF, HEIF, GIF, JPEG2000, JXL or RAW.
        icc: ICC profile of the pixels, or None for sRGB.
        dpi: Horizontal and vertical dots per inch, or None.
        quantization: JPEG quantization tables by component, 64 numbers each, or None.
        sampling: JPEG pixels per chroma sample, across and down, upright; None where none or unknown.
        notes: Conversions made, for people.
        sha256: Hex digest of the file's bytes.
        exif: Metadata that may be kept when asked for, see ``images.metadata``.
        orientation: EXIF orientation that was applied, 1 to 8.
        deep: The samples behind ``pixels`` where they have 16 bits, uint16 (H, W, 3), upright; else None.
        source: The file's content where stored samples can be taken from it (JPEG), else empty.
        grey: Whether the file is a JPEG of one component.
    """

    pixels: NDArray[np.uint8]
    format: str
    icc: bytes | None
    dpi: tuple[float, float] | None
    quantization: tuple[tuple[int, ...], ...] | None
    sampling: tuple[int, int] | None
    notes: tuple[str, ...]
    sha256: str
    exif: Tags = field(default_factory=dict)
    orientation: int = 1
    deep: NDArray[np.uint16] | None = None
    source: bytes = field(default=b"", repr=False)
    grey: bool = False

    def __post_init__(self) -> None:
        check_image(self.pixels).flags.writeable = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def subsampling(self) -> int | None:
        """Pillow's number of the subsampling: 0 is 4:4:4, 1 is 4:2:2, 2 is 4:2:0; None for any other."""
        return None if self.sampling is None else WRITTEN.get(self.sampling)


def read_bytes(path: Path | Stored, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a file, or of an object in a store.

    Raises:
        InputError: No such file, not a regular file, larger than ``max_bytes``, or unreadable.
        OSError: The store cannot be read, which says nothing about this object.
    """
    if isinstance(path, Stored):
        return path.read(max_bytes)
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
        data: Content of a JPEG, PNG, WebP, BMP, TIFF, AVIF, HEIC, GIF, JPEG 2000 or JPEG XL file. The content decides,
            not the name, but for camera RAW, which is TIFF by its content.
        name: What to call the picture in messages; its suffix tells camera RAW.
        max_pixels: Largest height times width.

    Returns:
        The picture as RGB uint8 (H, W, 3) with the EXIF orientation applied.

    Raises:
        InputError: Empty, no picture, damaged, too large, of several frames, or of a pixel type that has no RGB form.
    """
    if not data:
        raise InputError(f"{name}: the file is empty (0 bytes), expected a picture; copy it again from its source")
    if is_heif(data) and not has_heif():
        raise InputError(f"{name}: a HEIC picture, which needs pillow-heif; install anonymizer[heif] or convert it")
    with strict_pillow():
        try:
            if is_raw(name):
                notes = ["camera RAW developed to 8-bit sRGB, with the camera's white balance"]
                return _decoded(open_raw(data, name, max_pixels), name, data, False, notes, kind="RAW")
            if is_jxl(data):
                return _decoded(open_jxl(data, name, max_pixels), name, data, False, [], kind="JXL")
            with open_picture(data, readable()) as image:
                notes = _check_header(image, data, name, max_pixels)
                deep = any(";16" in str(tile[3]) for tile in image.tile) or image.mode.startswith("I")
                image.load()
                return _decoded(image, name, data, deep, notes)
        except UnidentifiedImageError as error:
            if _is_float(data):
                raise _float_error(name) from error
            raise InputError(f"{name}: not a picture, expected {SUPPORTED}; convert or remove the file") from error
        except _DAMAGE as error:
            raise InputError(
                f"{name}: damaged or truncated picture ({short(error)}), expected a whole {SUPPORTED} file; "
                "copy it again from its source"
            ) from error


def stated_pixels(data: bytes, name: str) -> int:
    """Return how many pixels a file's header states; 0 where it cannot be read, as then no pixel will be.

    Of camera RAW, whose header speaks of its thumbnail, ``MAX_PIXELS``.
    """
    if is_raw(name):
        return MAX_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if is_jxl(data):
                header = jxl_header(data)
                return header.width * header.height
            with open_picture(data, readable()) as image:
                return image.width * image.height
    except Image.DecompressionBombError:
        return MAX_PIXELS
    except Exception:  # Damaged headers raise what they like; reading will say so in its own words.
        return 0


def thumbnail(data: bytes, side: int = 320) -> bytes:
    """Return a picture file's content as a JPEG of at most ``side`` pixels on its longer side, without metadata."""
    with strict_pillow(), open_picture(data, readable()) as image:
        image.draft("RGB", (side, side))
        small = image.convert("RGB")
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(small)).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return an array (H, W, ...) as it lies in a file turned the way its EXIF orientation, 1 to 8, says."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return array


def short(error: BaseException) -> str:
    """Return what an error says on one short line."""
    return " ".join(str(error).split())[:120] or type(error).__name__


def _check_header(image: Image.Image, data: bytes, name: str, max_pixels: int) -> list[str]:
    """Choose the picture of a file of several, and refuse what is too large; return notes for people."""
    notes = []
    # Not counted by Pillow, which stumbles over pages that it cannot decode.
    pages = _pages(data) if image.format == "TIFF" else ()
    if pages:
        notes += _choose_page(image, pages, name)
    elif (frames := int(getattr(image, "n_frames", 1))) > 1 and image.format != "MPO":
        raise _many(name, frames)
    width, height = image.size
    if width * height > max_pixels:
        raise InputError(
            f"{name}: {width}x{height} is {width * height} pixels, expected at most {max_pixels}; cut it into parts"
        )
    if image.format == "JPEG2000":
        notes += _check_codestream(image, data, name)
    if image.format == "MPO":
        notes.append("further embedded pictures dropped")
    return notes


def _check_codestream(image: Image.Image, data: bytes, name: str) -> list[str]:
    """Hold the size that a JPEG 2000 file states to that of its codestream, which is decoded; return notes.

    Source: ISO/IEC 15444-1, A.5.1: after the markers SOC and SIZ come length, capabilities, the far and near corners of
    the picture, those of its tiles, the number of components, and the bits of each.
    """
    place = data.find(_SIZ)
    fields = data[place + 4 : place + 46]
    if place < 0 or len(fields) < 42:
        raise InputError(f"{name}: JPEG 2000 without a codestream; copy it again from its source")
    right, bottom, left, top = struct.unpack(">4I", fields[4:20])
    if (right - left, bottom - top) != image.size:
        raise InputError(
            f"{name}: stated as {image.size[0]}x{image.size[1]}, its codestream is {right - left}x{bottom - top}; copy "
            "it again from its source"
        )
    return ["16-bit reduced to 8-bit"] if (fields[38] & 127) + 1 > 8 and not image.mode.startswith("I") else []


def _many(name: str, frames: int) -> InputError:
    return InputError(
        f"{name}: {frames} frames or pages, expected one, as the others would be lost; save each as its own file"
    )


def _choose_page(image: Image.Image, pages: Sequence[Mapping[int, int]], name: str) -> list[str]:
    """Go to the one page of a TIFF file that is neither a reduced version nor a mask of another; return notes."""
    if len(pages) < 2:
        # A single page is the picture, whatever it calls itself.
        return _sub_directories(pages)
    kinds = [_page_kind(page) for page in pages]
    full = [number for number, kind in enumerate(kinds) if kind == "full"]
    if len(full) != 1:
        raise _many(name, len(full) or len(pages))
    if full[0]:
        image.seek(full[0])
    reduced, masks = kinds.count("reduced"), kinds.count("mask")
    notes = [f"{reduced} reduced versions of the picture dropped"] if reduced else []
    notes += [f"{masks} transparency masks dropped"] if masks else []
    return notes + _sub_directories(pages)


def _sub_directories(pages: Sequence[Mapping[int, int]]) -> list[str]:
    found = any(_SUB_DIRECTORIES in page for page in pages)
    return ["further pictures in subdirectories dropped"] if found else []


def _pages(data: bytes) -> tuple[Mapping[int, int], ...]:
    """Return the tags of each page of a TIFF file; of a damaged one none, as its decoder will say so."""
    try:
        return tiff_pages(data)
    except Damaged:
        return ()


def _page_kind(page: Mapping[int, int]) -> str:
    """Return what a page of a TIFF file is by its tags NewSubfileType (bits) or SubfileType (a number)."""
    bits = page.get(_NEW_SUBFILE_TYPE, 0)
    if bits & 1 or (_NEW_SUBFILE_TYPE not in page and page.get(_OLD_SUBFILE_TYPE) == 2):
        return "reduced"
    return "mask" if bits & 4 or page.get(_PHOTOMETRIC) == 4 else "full"


def _is_float(data: bytes) -> bool:
    """Return whether a file is TIFF with floating-point samples."""
    return any(page.get(_SAMPLE_FORMAT) == 3 for page in _pages(data))


def _float_error(name: str) -> InputError:
    return InputError(
        f"{name}: floating-point samples, expected whole numbers, as nothing says which value is black and which "
        "white; scale them to 8 or 16 bits"
    )


def _decoded(
    image: Image.Image, name: str, data: bytes, deep: bool, notes: list[str], kind: str | None = None
) -> Decoded:
    """Make the record of a picture that was loaded.

    Args:
        image: It.
        name: What to call it in messages.
        data: Content of its file.
        deep: Whether its file has 16 bits per sample.
        notes: Conversions made so far.
        kind: Its format, where a decoder of our own has opened it and turned it upright; None: Pillow knows.
    """
    dpi, icc = _dpi(image.info.get("dpi")), _icc(image.info.get("icc_profile"))
    quantization, sampling = read_tables(image)
    # Only after loading: Pillow turns some TIFF files itself and then clears the tag.
    orientation, exif = _exif(image, notes)
    orientation = orientation if kind is None else 1
    kind = kind or ("JPEG" if image.format == "MPO" else str(image.format))
    deep = deep or image.mode.startswith("I")
    rgb, icc = _to_rgb(image, name, icc, notes)
    pixels = np.asarray(rgb)
    samples = _samples(data, pixels) if deep and kind in DEEP_FORMATS else None
    if deep and samples is None:
        notes.append("16-bit reduced to 8-bit")
    if orientation > 1:
        pixels, samples = upright(pixels, orientation), None if samples is None else upright(samples, orientation)
        notes.append("EXIF orientation applied")
    if orientation >= 5:
        if sampling is not None:
            sampling = sampling[1], sampling[0]
        if quantization is not None:
            quantization = tuple(tuple(np.reshape(table, (8, 8)).T.ravel().tolist()) for table in quantization)
    return Decoded(
        pixels=reduce_deep(samples) if samples is not None else np.array(pixels),
        format=kind,
        icc=icc,
        dpi=dpi,
        quantization=quantization,
        sampling=sampling,
        notes=tuple(notes),
        sha256=hashlib.sha256(data).hexdigest(),
        exif=exif,
        orientation=orientation,
        deep=samples,
        source=data if quantization is not None else b"",
        grey=kind == "JPEG" and image.mode == "L",
    )


def _samples(data: bytes, pixels: NDArray[np.uint8]) -> NDArray[np.uint16] | None:
    """Return 16-bit samples if they are, but for rounding, what Pillow decoded; two decoders guard each other."""
    samples = read_deep(data)
    if samples is None or samples.shape != pixels.shape:
        return None
    for top in range(0, len(samples), 512):
        band = slice(top, top + 512)
        if np.abs(reduce_deep(samples[band]).astype(np.int16) - pixels[band]).max() > 1:
            return None
    return samples


def _to_rgb(image: Image.Image, name: str, icc: bytes | None, notes: list[str]) -> tuple[Image.Image, bytes | None]:
    """Return the picture in mode RGB and the ICC profile that still describes it."""
    if image.mode == "CMYK":
        notes.append("CMYK converted to sRGB")
        if icc is not None and _space(icc) == b"CMYK":
            try:
                source, target = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
            except (ImageCms.PyCMSError, OSError) as error:
                notes.append(f"ICC profile unusable ({short(error)}), converted without it")
            else:
                if converted is not None:
                    return converted, None
        return image.convert("RGB"), None
    if icc is not None and _space(icc) != b"RGB ":
        notes.append("ICC profile of another colour space dropped")
        icc = None
    if image.mode == "F":
        raise _float_error(name)
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


def _exif(image: Image.Image, notes: list[str]) -> tuple[int, dict[int | str, Value]]:
    """Return the orientation, 1 to 8, and the metadata that may be kept."""
    panorama: dict[int | str, Value] = dict(read_panorama(image.info.get("xmp")).items())
    try:
        exif = image.getexif()
        value, tags = exif.get(_ORIENTATION_TAG, 1), read_tags(exif)
    except _DAMAGE:
        notes.append("EXIF unreadable, orientation taken as stored")
        return 1, panorama
    orientation = value if isinstance(value, int) and 1 <= value <= 8 else 1
    if panorama and orientation > 1:
        notes.append("properties of a panorama dropped, as they do not hold for the turned picture")
        panorama = {}
    return orientation, tags | panorama


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
