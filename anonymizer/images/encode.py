"""Pictures out: encoding with nothing of the original file but what is named here."""

from __future__ import annotations

import io
import struct
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from anonymizer.core.errors import InputError
from anonymizer.core.records import Mask, check_image
from anonymizer.images.decode import Decoded, short, upright
from anonymizer.images.formats import SUFFIXES, WRITTEN_AS, has_heif, strict_pillow
from anonymizer.images.high_bit_depth import DEEP_FORMATS, encode_deep, merge_deep
from anonymizer.images.jpeg import encode_planes, source_planes, stored_planes
from anonymizer.images.metadata import Tags, chosen, exif_bytes
from anonymizer.images.panorama import PNG_XMP, xmp_bytes

__all__ = ["encode_image", "target_format"]

#: Quality of formats that are written anew with losses: JPEG from another format, AVIF, HEIC.
QUALITY = 95
_NO_RESOLUTION = frozenset({"WEBP", "AVIF", "HEIF"})


def target_format(like: Decoded, suffix: str) -> str:
    """Return the format to write: the suffix decides, and the content where the suffix names no known format."""
    return SUFFIXES.get(suffix.lower(), WRITTEN_AS.get(like.format, like.format))


def encode_image(
    pixels: NDArray[np.uint8],
    like: Decoded,
    suffix: str,
    *,
    treated: Mask | None = None,
    keep: Collection[str] = (),
    quality: int | None = None,
) -> bytes:
    """Encode a picture with nothing of the original file but its ICC profile, resolution and the metadata to keep.

    PNG, TIFF and WebP are lossless and BMP is plain; PNG and TIFF made from 16-bit samples keep all bits of untreated
    pixels. A JPEG made from a JPEG keeps quantization tables, subsampling and channels, and, where ``treated`` is
    given, nearly all blocks without a treated pixel (see ``images.jpeg``); other JPEGs, AVIF and HEIC are written at
    quality 95.

    Args:
        pixels: RGB uint8 (H, W, 3).
        like: The picture this one replaces.
        suffix: Suffix of the file to write, with its dot.
        treated: bool (H, W): pixels that may have changed; None where that is not known.
        keep: Groups of metadata to keep, as far as the format has a place for them; see ``images.metadata``.
        quality: Quality, 1 to 100, of JPEG, AVIF and HEIC; None: that of the source, or 95. A JPEG of another quality
            is written anew as a whole.

    Raises:
        InputError: The picture does not fit the format.
    """
    check_image(pixels)
    kind = target_format(like, suffix)
    tags = chosen(like.exif, keep, kind)
    try:
        if like.deep is not None and treated is not None and kind in DEEP_FORMATS:
            return encode_deep(merge_deep(like.deep, pixels, treated), kind, icc=like.icc, dpi=like.dpi, tags=tags)
        options = _options(kind, like, quality)
        if tags:
            _add_metadata(options, kind, tags)
        if kind == "JPEG" and quality is None and like.quantization is not None and like.sampling is not None:
            return _jpeg(pixels, like, treated, like.quantization, like.sampling, options)
        buffer = io.BytesIO()
        # A picture made from an array carries no info, so Pillow has no metadata to pass on.
        Image.fromarray(pixels).save(buffer, kind, **options)
    except (OSError, ValueError, RuntimeError, struct.error) as error:
        height, width = pixels.shape[:2]
        raise InputError(
            f"picture of {width}x{height} pixels cannot be written as {kind} ({short(error)}); convert it to PNG"
        ) from error
    return buffer.getvalue()


def _options(kind: str, like: Decoded, quality: int | None) -> dict[str, Any]:
    """Return what Pillow's writer of a format is told."""
    options: dict[str, Any] = {}
    if like.icc is not None and kind != "BMP":
        options["icc_profile"] = like.icc
    if like.dpi is not None and kind not in _NO_RESOLUTION:
        options["dpi"] = like.dpi
    if kind == "JPEG" and quality is not None:
        options |= {"quality": quality, "subsampling": like.subsampling or 0}
    elif kind == "JPEG" and (like.quantization is None or like.sampling is None):
        options |= {"quality": QUALITY, "subsampling": 0}
    elif kind == "WEBP":
        options |= {"lossless": True, "quality": 80}
    elif kind == "TIFF":
        options["compression"] = "tiff_adobe_deflate"
    elif kind in ("AVIF", "HEIF"):
        options["quality"] = quality or QUALITY
    if kind == "HEIF" and not has_heif():
        raise InputError("HEIC cannot be written without pillow-heif; install anonymizer[heif] or use --format png")
    return options


def _add_metadata(options: dict[str, Any], kind: str, tags: Tags) -> None:
    """Tell Pillow's writer of a format to write these tags."""
    exif, xmp = exif_bytes(tags), xmp_bytes(tags)
    if exif:
        options["exif"] = exif
    if xmp and kind == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt(PNG_XMP, xmp.decode("ascii"))
    elif xmp:
        options["xmp"] = xmp


def _jpeg(
    pixels: NDArray[np.uint8],
    like: Decoded,
    treated: Mask | None,
    tables: tuple[tuple[int, ...], ...],
    sampling: tuple[int, int],
    options: dict[str, Any],
) -> bytes:
    """Return a JPEG with tables, subsampling and channels of its source, and its samples where nothing was treated."""
    planes = None
    # Chroma that is coarser cannot be turned where the size is no multiple: its last sample stands for fewer pixels.
    if (
        treated is not None
        and like.source
        and (like.orientation == 1 or not any(side % max(sampling) for side in like.size))
    ):
        with strict_pillow():
            planes = source_planes(like.source)
    turned = None if planes is None else tuple(upright(plane, like.orientation) for plane in planes)
    stored = stored_planes(pixels, sampling, grey=like.grey, treated=treated, source=turned)
    return encode_planes(stored, tables, sampling, options)
