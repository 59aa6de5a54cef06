"""JPEG written so that blocks without a treated pixel stay as they were.

A JPEG that is decoded to RGB and encoded again changes everywhere: by rounding between colour spaces and by chroma
that is interpolated and averaged again. Here the decoder is asked for the stored samples instead, luma and chroma each
at its own resolution; outside of the treated pixels they go back unchanged. The encoder's DCT with the same
quantization tables then finds the coefficients the file had, but for blocks with samples that were clipped to 0 or
255, blocks cut by the picture's edge and tables of ones and twos, where rounding may move a coefficient by one step.

Pillow neither hands out stored chroma nor writes every subsampling. Both are done here on the level of segments
(ITU-T T.81, Annex B), with its own decoder and encoder at work on what is between.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from anonymizer.images.formats import open_picture
from anonymizer.images.segments import segments

__all__ = ["encode_planes", "read_tables", "source_planes", "stored_planes"]

Plane = NDArray[np.uint8]
Planes = tuple[Plane, ...]
Tables = tuple[tuple[int, ...], ...]
#: Pixels that share a chroma sample, across and down: (2, 2) is 4:2:0, (1, 2) is 4:4:0, (4, 1) is 4:1:1.
Sampling = tuple[int, int]

#: What Pillow's encoder writes, by its own number.
WRITTEN: dict[Sampling, int] = {(1, 1): 0, (2, 1): 1, (2, 2): 2}
_FACTORS = (1, 2, 4)
#: Longest side a JPEG can state.
_LONGEST = 65535
#: A Huffman table of one code of one bit, for the symbol 0.
_ONE_CODE = bytes([1, *[0] * 15, 0])


def read_tables(image: Image.Image) -> tuple[Tables | None, Sampling | None]:
    """Return quantization tables, by component, and subsampling of a JPEG that its result can reuse, None where not.

    Components that have the same table as the one before and all after it are left out. Grey has the sampling (1, 1).
    """
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.mode not in ("L", "RGB"):
        return None, None
    # Pillow's stubs know neither table numbers nor their values as numbers.
    quantization: dict[int, Any] = image.quantization
    layers: list[tuple[int, int, int, int]] = image.layer
    if not all(layer[3] in quantization for layer in layers):
        return None, None
    tables = [tuple(int(value) for value in quantization[layer[3]]) for layer in layers]
    # Baseline JPEG holds tables of 64 numbers from 1 to 255.
    if any(len(t) != 64 or min(t) < 1 or max(t) > 255 for t in tables):
        return None, None
    while len(tables) > 1 and tables[-1] == tables[-2]:
        tables.pop()
    return tuple(tables), _sampling(layers)


def _sampling(layers: Sequence[tuple[int, int, int, int]]) -> Sampling | None:
    if len(layers) == 1:
        return 1, 1
    (_, across, down, _), *chroma = layers
    if len({layer[1:3] for layer in chroma}) != 1:
        return None
    _, h, v, _ = chroma[0]
    found = across // h, down // v
    exact = across % h == 0 and down % v == 0 and set(found) <= set(_FACTORS)
    return found if exact else None


def source_planes(data: bytes) -> Planes | None:
    """Return the samples a JPEG file stores, as it lies in the file (no orientation applied).

    Args:
        data: Content of a whole JPEG file that Pillow has decoded before.

    Returns:
        Luma uint8 (H, W), and but for grey both chroma planes uint8 (ceil(H / down), ceil(W / across)); None where the
        stored samples cannot be had: unusual subsampling, or colours that are not stored as YCbCr.
    """
    with open_picture(data, ("JPEG",)) as image:
        width, height = image.size
        if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.mode not in ("L", "RGB"):
            return None
        if image.mode == "L":
            return (np.asarray(image),)
        layers: list[tuple[int, int, int, int]] = image.layer
        stored_as_rgb = image.info.get("adobe_transform") == 0 or [layer[0] for layer in layers] == [82, 71, 66]
        sampling = _sampling(layers)
        if stored_as_rgb or sampling is None or min(width, height) < 16:
            return None
        image.draft("YCbCr", image.size)
        whole = np.asarray(image)
    if sampling == (1, 1):
        return whole[..., 0], whole[..., 1], whole[..., 2]
    if any(layer[1:3] != (1, 1) for layer in layers[1:]):
        return None
    chroma = _stored_chroma(data, (width, height), sampling)
    return None if chroma is None else (whole[..., 0], *chroma)


def _stored_chroma(data: bytes, size: tuple[int, int], sampling: Sampling) -> Planes | None:
    """Return the chroma planes of a subsampled JPEG as they are stored, without interpolation.

    At 1 / n of the size, libjpeg leaves components as stored whose sampling is n times as coarse as the finest, across
    and down. So the file is given a fourth, empty component that is the finest in both directions, and a size at which
    the other components keep their numbers of blocks.
    """
    across, down = sampling
    scale = max(sampling)
    width, height = size[0] * scale // across, size[1] * scale // down
    if max(width, height) > _LONGEST:
        return None
    out = b""
    progressive = False
    for part in segments(data):
        name, content = part.name, data[part.start : part.end]
        if name in ("SOF0", "SOF1", "SOF2"):
            progressive = name == "SOF2"
            components = [content[10 + 3 * index : 13 + 3 * index] for index in range(3)]
            extra = next(number for number in range(4) if number not in {c[0] for c in components})
            head = content[:2] + bytes([0, 20, 8]) + height.to_bytes(2, "big") + width.to_bytes(2, "big") + b"\4"
            out += head + b"".join(components) + bytes([extra, scale << 4 | scale, 3])
        elif name == "EOI":
            break
        elif name in ("SOI", "DQT", "DHT", "DRI", "SOS", "scan"):
            out += content
        elif not name.startswith(("APP", "COM")):
            return None  # Arithmetic coding, a hierarchy, or damage.
    else:
        return None
    # The empty component's scan: one bit for the first coefficient and one for the others of each block, all zero.
    bits = -(-width // 8) * -(-height // 8) * (1 if progressive else 2)
    empty = bytes(bits // 8) + (bytes([0xFF >> bits % 8]) if bits % 8 else b"")
    out += _segment(0xDB, bytes([3, *[1] * 64])) + _segment(0xDD, bytes(2))
    out += _segment(0xC4, bytes([0x00]) + _ONE_CODE) + _segment(0xC4, bytes([0x10]) + _ONE_CODE)
    out += _segment(0xDA, bytes([1, extra, 0, 0, 0 if progressive else 63, 0])) + empty + b"\xff\xd9"
    try:
        with open_picture(out, ("JPEG",)) as image:
            image.draft(None, (width // scale, height // scale))
            planes = np.asarray(image)
    except (OSError, SyntaxError):  # A file of a form that the decoder takes but this one cannot be made of.
        return None
    if planes.shape != (-(-size[1] // down), -(-size[0] // across), 4):
        return None
    return 255 - planes[..., 1], 255 - planes[..., 2]  # Pillow takes four components for inverted CMYK.


def stored_planes(
    pixels: NDArray[np.uint8],
    sampling: Sampling,
    *,
    grey: bool = False,
    treated: NDArray[np.bool_] | None = None,
    source: Planes | None = None,
) -> Planes:
    """Return the samples to store: those of the source outside of the treated pixels, the new colours inside.

    Args:
        pixels: RGB uint8 (H, W, 3), the result.
        sampling: Pixels per chroma sample, across and down.
        grey: Whether to store luma only.
        treated: bool (H, W), pixels that may have changed; None where that is not known.
        source: Planes of the source, upright; see :func:`source_planes`.

    Returns:
        Luma, and but for grey both chroma planes. A chroma sample is the source's where none of its pixels is treated,
        and else the mean of its pixels.
    """
    new = np.asarray(Image.fromarray(pixels).convert("YCbCr"))
    luma = new[..., 0]
    if treated is not None and source is not None:
        luma = np.where(treated, luma, source[0])
    if grey:
        return (luma,)
    out = [luma]
    touched = None if treated is None else np.logical_or.reduce(_corners(treated, sampling))
    count = sampling[0] * sampling[1]
    for channel in (1, 2):
        corners = _corners(new[..., channel], sampling)
        total = sum((corner.astype(np.uint16) for corner in corners), np.full(corners[0].shape, count // 2, np.uint16))
        coarse = (total // count).astype(np.uint8)
        if touched is not None and source is not None:
            coarse = np.where(touched, coarse, source[channel])
        out.append(coarse)
    return tuple(out)


def encode_planes(planes: Planes, tables: Tables, sampling: Sampling, options: dict[str, Any]) -> bytes:
    """Return a JPEG file that stores these samples.

    Args:
        planes: Luma, or luma and both chroma planes.
        tables: Quantization tables by component; the last one serves all that follow.
        sampling: Pixels per chroma sample, across and down.
        options: Profile, resolution and EXIF, as Pillow's ``save`` takes them.
    """
    named = [list(table) for table in tables]
    if len(planes) == 1:
        return _saved(Image.fromarray(planes[0]), {**options, "qtables": named[:1]})
    if sampling in WRITTEN:
        height, width = planes[0].shape
        # The encoder's mean of equal samples is that sample.
        chroma = [p.repeat(sampling[1], axis=0).repeat(sampling[0], axis=1)[:height, :width] for p in planes[1:]]
        whole = Image.merge("YCbCr", [Image.fromarray(np.ascontiguousarray(p)) for p in (planes[0], *chroma)])
        return _saved(whole, {**options, "qtables": named, "subsampling": WRITTEN[sampling]})
    return _in_scans(planes, named, sampling, options)


def _in_scans(planes: Planes, tables: list[list[int]], sampling: Sampling, options: dict[str, Any]) -> bytes:
    """Return a JPEG with a scan per component: each is the scan of a grey JPEG of that component's samples."""
    numbers = [min(index, len(tables) - 1) for index in range(3)]
    height, width = planes[0].shape
    heads, components, scans = b"\xff\xd8", b"", b""
    for index, plane in enumerate(planes):
        grey = _saved(Image.fromarray(plane), {**(options if index == 0 else {}), "qtables": [tables[numbers[index]]]})
        for part in segments(grey):
            content = grey[part.start : part.end]
            if part.name.startswith("APP") and index == 0:
                heads += content
            elif part.name == "DQT" and numbers[index] == index:
                heads += content[:4] + bytes([index]) + content[5:]
            elif part.name == "SOF0":
                factors = sampling if index == 0 else (1, 1)
                components += bytes([index + 1, factors[0] << 4 | factors[1], numbers[index]])
            elif part.name in ("DHT", "scan"):
                scans += content
            elif part.name == "SOS":
                scans += content[:5] + bytes([index + 1]) + content[6:]
    frame = bytes([8]) + height.to_bytes(2, "big") + width.to_bytes(2, "big") + b"\3" + components
    return heads + _segment(0xC0, frame) + scans + b"\xff\xd9"


def _saved(picture: Image.Image, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def _corners(plane: NDArray[Any], sampling: Sampling) -> list[NDArray[Any]]:
    """Return the pixels that share a chroma sample, each (ceil(H / down), ceil(W / across)); a cut edge is repeated."""
    across, down = sampling
    height, width = plane.shape
    even = np.pad(plane, ((0, -height % down), (0, -width % across)), mode="edge")
    return [even[row::down, column::across] for row in range(down) for column in range(across)]
