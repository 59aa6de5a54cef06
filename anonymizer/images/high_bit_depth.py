"""Pictures of 16 bits per sample: the models see 8 bits, untreated pixels keep all 16."""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError
from anonymizer.images.metadata import Tags, exif_bytes
from anonymizer.images.panorama import PNG_XMP, xmp_bytes

__all__ = ["DEEP_FORMATS", "encode_deep", "merge_deep", "read_deep", "reduce_deep"]

#: Formats that are written with 16 bits per sample.
DEEP_FORMATS = frozenset({"PNG", "TIFF"})

Samples = NDArray[np.uint16]


def read_deep(data: bytes) -> Samples | None:
    """Return the samples of a 16-bit PNG or TIFF file as stored, uint16 (H, W, 3) in RGB order.

    Pillow cuts colour samples to 8 bits, so OpenCV decodes them.

    Returns:
        None where OpenCV finds no 16-bit grey or RGB picture; alpha is left to the 8-bit path.
    """
    import cv2

    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if image is None or image.dtype != np.uint16:
        return None
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=2)
    return np.ascontiguousarray(image[..., ::-1]) if image.shape[2] == 3 else None


def reduce_deep(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale samples from 0 to 65535 to uint8, rounding to nearest; 257 times a byte comes back as that byte."""
    out = np.empty(samples.shape, dtype=np.uint8)
    for top in range(0, len(samples), 512):  # Bands: the wide integers need four times the memory.
        band = slice(top, top + 512)
        out[band] = (samples[band].astype(np.uint32) * 255 + 32767) // 65535
    return out


def merge_deep(samples: Samples, pixels: NDArray[np.uint8], treated: NDArray[np.bool_]) -> Samples:
    """Return the original samples outside of the treated pixels and the new ones, scaled up, inside.

    Args:
        samples: uint16 (H, W, 3), the original.
        pixels: uint8 (H, W, 3), the result.
        treated: bool (H, W). It decides, not whether a pixel differs: a redrawn pixel that happens to equal the
            original in 8 bits would bring back the rest of the original's 16.
    """
    return np.where(treated[..., None], pixels.astype(np.uint16) * np.uint16(257), samples)


def encode_deep(
    samples: Samples, kind: str, *, icc: bytes | None, dpi: tuple[float, float] | None, tags: Tags
) -> bytes:
    """Encode 16-bit RGB with nothing but profile, resolution and the tags given.

    Args:
        samples: uint16 (H, W, 3).
        kind: One of ``DEEP_FORMATS``.
        icc: ICC profile or None.
        dpi: Horizontal and vertical dots per inch, or None.
        tags: Metadata to write; for TIFF text of its main directory only.

    Raises:
        InputError: The picture is too large for the format.
    """
    if kind == "PNG":
        return _png(samples, icc, dpi, exif_bytes(tags), xmp_bytes(tags))
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        samples,
        photometric="rgb",
        compression="adobe_deflate",
        metadata=None,
        software=False,
        iccprofile=icc,
        resolution=dpi,
        resolutionunit=None if dpi is None else "INCH",
        extratags=[(number, "s", 0, text, True) for number, text in tags.items()],
    )
    return buffer.getvalue()


def _png(samples: Samples, icc: bytes | None, dpi: tuple[float, float] | None, exif: bytes, xmp: bytes) -> bytes:
    import cv2

    done, encoded = cv2.imencode(".png", samples[..., ::-1])
    if not done:
        raise InputError(f"16-bit picture of {samples.shape[1]}x{samples.shape[0]} pixels cannot be written as PNG")
    data = encoded.tobytes()
    extra = b""
    if icc is not None:
        extra += _chunk(b"iCCP", b"ICC Profile\x00\x00" + zlib.compress(icc))
    if dpi is not None:
        per_metre = (round(value / 0.0254).to_bytes(4, "big") for value in dpi)
        extra += _chunk(b"pHYs", b"".join(per_metre) + b"\x01")
    if exif:
        extra += _chunk(b"eXIf", exif.removeprefix(b"Exif\x00\x00"))
    if xmp:
        extra += _chunk(b"iTXt", PNG_XMP.encode("ascii") + bytes(5) + xmp)
    head = 8 + 25  # signature and IHDR; these chunks belong between it and the pixels
    return data[:head] + extra + data[head:]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
