"""Camera RAW in: developed by LibRaw to 8-bit sRGB, with the white balance that the camera set."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image

from anonymizer.core.errors import InputError

__all__ = ["has_raw", "open_raw"]


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
