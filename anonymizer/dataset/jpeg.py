"""JPEG written so that blocks without a treated pixel stay as they were.

A JPEG that is decoded to RGB and encoded again changes everywhere: by rounding between colour spaces and by chroma
that is interpolated and averaged again. Here the decoder is asked for the stored samples instead, luma and chroma each
at its own resolution; outside of the treated pixels they go back unchanged. The encoder's DCT with the same
quantization tables then finds the coefficients the file had, but for blocks with samples that were clipped to 0 or
255, blocks cut by the picture's edge and tables of ones and twos, where rounding may move a coefficient by one step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from anonymizer.dataset.formats import open_picture

__all__ = ["read_tables", "source_planes", "with_source_blocks"]

Plane = NDArray[np.uint8]
Tables = tuple[tuple[int, ...], ...]


def read_tables(image: Image.Image) -> tuple[Tables | None, int | None]:
    """Return quantization tables and subsampling of a JPEG that a JPEG of RGB pixels can reuse, None where not."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.mode not in ("L", "RGB"):
        return None, None
    # Pillow's stubs know neither table numbers nor their values as numbers.
    quantization: dict[int, Any] = image.quantization
    tables = tuple(tuple(int(value) for value in quantization[key]) for key in sorted(quantization))
    # Baseline JPEG holds tables of 64 numbers from 1 to 255.
    if not 1 <= len(tables) <= 4 or any(len(t) != 64 or min(t) < 1 or max(t) > 255 for t in tables):
        return None, None
    subsampling = int(JpegImagePlugin.get_sampling(image))
    return tables, (subsampling if subsampling in (0, 1, 2) else None)


def source_planes(data: bytes) -> tuple[Plane, Plane] | None:
    """Return the samples a JPEG file stores, as it lies in the file (no orientation applied).

    Args:
        data: Content of a whole JPEG file that Pillow has decoded before.

    Returns:
        Luma uint8 (H, W) and chroma uint8 (H, W, 2) for 4:4:4 or (ceil(H/2), ceil(W/2), 2) for 4:2:0; None where the
        stored samples cannot be had: other subsampling, or colours that are not stored as YCbCr.
    """
    with open_picture(data, ("JPEG",)) as image:
        width, height = image.size
        if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.mode not in ("L", "RGB"):
            return None
        if image.mode == "L":
            return np.asarray(image), np.full((height, width, 2), 128, dtype=np.uint8)
        stored_as_rgb = image.info.get("adobe_transform") == 0 or [layer[0] for layer in image.layer] == [82, 71, 66]
        sampling = int(JpegImagePlugin.get_sampling(image))
        if stored_as_rgb or sampling not in (0, 2) or min(width, height) < 16:
            return None
        image.draft("YCbCr", image.size)
        whole = np.asarray(image)
    if sampling == 0:
        return whole[..., 0], whole[..., 1:]
    with open_picture(data, ("JPEG",)) as image:
        # At half size libjpeg scales luma down and leaves 4:2:0 chroma as stored, so nothing is interpolated.
        image.draft("YCbCr", (width // 2, height // 2))
        half = np.asarray(image)
    if half.shape != ((height + 1) // 2, (width + 1) // 2, 3):
        return None
    return whole[..., 0], half[..., 1:]


def with_source_blocks(
    pixels: NDArray[np.uint8], treated: NDArray[np.bool_], planes: tuple[Plane, Plane]
) -> Image.Image:
    """Return the picture to encode: stored samples outside of the treated pixels, the new colours inside.

    Args:
        pixels: RGB uint8 (H, W, 3), the result.
        treated: bool (H, W), pixels that may have changed.
        planes: Luma and chroma of the source, upright; see :func:`source_planes`.

    Returns:
        A picture in mode YCbCr whose chroma, averaged by an encoder of the source's subsampling, is exactly ``planes``
        wherever no pixel of a sample is treated.
    """
    luma, chroma = planes
    # In place: a huge picture should be held no more often than needed.
    out = np.array(Image.fromarray(pixels).convert("YCbCr"))
    np.copyto(out[..., 0], luma, where=~treated)
    height, width = luma.shape
    if chroma.shape[:2] == (height, width):
        np.copyto(out[..., 1:], chroma, where=~treated[..., None])
        return _merged(out)
    touched = np.logical_or.reduce(_quarters(treated))
    for channel in (1, 2):
        corners = _quarters(out[..., channel])
        total = sum((corner.astype(np.uint16) for corner in corners), np.full(touched.shape, 2, dtype=np.uint16))
        coarse = np.where(touched, (total // 4).astype(np.uint8), chroma[..., channel - 1])
        out[..., channel] = coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return _merged(out)


def _merged(planes: NDArray[np.uint8]) -> Image.Image:
    return Image.merge("YCbCr", [Image.fromarray(np.ascontiguousarray(planes[..., c])) for c in range(3)])


def _quarters(plane: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the four pixels that share a chroma sample, each (ceil(H/2), ceil(W/2)); an odd edge is repeated."""
    height, width = plane.shape
    even = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")
    return [even[row::2, column::2] for row in (0, 1) for column in (0, 1)]
