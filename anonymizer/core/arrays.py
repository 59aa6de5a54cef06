"""Arrays: one way from the many forms of a picture to RGB uint8 (H, W, 3)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError

__all__ = ["as_rgb"]

#: Steps of 16 bits for one of 8: 65535 / 255.
STEP = 257
#: Alpha is flattened onto white, as files with alpha are.
WHITE = 255.0


def as_rgb(picture: Any, colour: Literal["rgb", "bgr"] = "rgb") -> NDArray[np.uint8]:
    """RGB uint8 (H, W, 3) of a picture in another form.

    >>> as_rgb(np.array([[0.0, 1.0]]))
    array([[[  0,   0,   0],
            [255, 255, 255]]], dtype=uint8)

    Args:
        picture: A ``PIL.Image.Image`` (turned upright by its EXIF orientation), or an array: grey (H, W) or (H, W, 1),
            colour (H, W, 3), or colour with alpha (H, W, 4), which is flattened onto white. uint8, uint16, or
            floating point in [0, 1].
        colour: Order of an array's channels: ``rgb``, or ``bgr`` as OpenCV has it.

    Returns:
        An array of its own, C-contiguous.

    Raises:
        InputError: Another shape, dtype or range; NaN; no pixel.
    """
    if colour not in ("rgb", "bgr"):
        raise InputError(f"colour: expected rgb or bgr, got {colour!r}")
    if not isinstance(picture, np.ndarray):
        return _of_pillow(picture)
    array = picture[..., None] if picture.ndim == 2 else picture
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or array.size == 0:
        raise InputError(f"picture: expected (H, W), or (H, W, C) with 1, 3 or 4 channels, got {picture.shape}")
    values = _eight_bits(array)
    if values.shape[2] == 4:
        alpha = values[..., 3:].astype(np.float32) / 255
        values = np.rint(values[..., :3] * alpha + WHITE * (1 - alpha)).astype(np.uint8)
    if values.shape[2] == 1:
        values = np.repeat(values, 3, axis=2)
    elif colour == "bgr":
        values = values[..., ::-1]
    return np.array(values, np.uint8, order="C")


def _eight_bits(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return np.rint(array.astype(np.float32) / STEP).astype(np.uint8)
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"picture: expected uint8, uint16 or floating point, got {array.dtype}")
    # NaN fails both comparisons.
    if not (array.min() >= 0 and array.max() <= 1):
        raise InputError(
            f"picture: floating point must lie in [0, 1], got {array.min():g} to {array.max():g}; divide by the "
            "largest value the camera can give"
        )
    return np.rint(array * 255).astype(np.uint8)


def _of_pillow(picture: Any) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    if not isinstance(picture, Image.Image):
        raise InputError(f"picture: expected an array or a PIL image, got {type(picture).__name__}")
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith(("I", "F")):
        array = np.asarray(upright)
        return as_rgb(array.astype(np.uint16) if upright.mode.startswith("I") else array)
    if "A" in upright.getbands() or "transparency" in upright.info:
        return as_rgb(np.asarray(upright.convert("RGBA")))
    return np.array(upright.convert("RGB"), np.uint8)
