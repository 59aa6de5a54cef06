"""Completion by MI-GAN: a network that goes on with walls, ground and things behind what is hidden."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import ModelError
from anonymizer.fill.colours import familiar
from anonymizer.models.onnx import open_session

__all__ = ["SIDE", "MiGan"]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

#: Height and width in pixels at which the network sees a crop.
SIDE = 512


class MiGan:
    """Completes crops; no random numbers take part.

    Args:
        path: ONNX file with input ``seen`` float32 (1, 4, 512, 512), known less 0.5 and RGB in [-1, 1], zero where it
            is hidden, and output ``picture`` float32 (1, 3, 512, 512), about [0, 1].
        device: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ModelError: The file cannot be loaded, or its input or output has another name.

    Source:
        Sargsyan, Navasardyan, Xu, Shi: MI-GAN: A Simple Baseline for Image Inpainting on Mobile Devices, ICCV 2023.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._session = open_session(path, "fill", device)
        names = [i.name for i in self._session.get_inputs()], [o.name for o in self._session.get_outputs()]
        if names != (["seen"], ["picture"]):
            raise ModelError(
                f"fill: expected input 'seen' and output 'picture' in {path}, got {names[0]} and {names[1]}"
            )

    def complete(self, crop: Image, known: Mask) -> Image:
        """Return the crop with what is not known made up: RGB uint8 (h, w, 3).

        Known pixels come back changed a little: they went through the network's size. No hidden pixel has influence.

        Args:
            crop: RGB uint8 (h, w, 3), of any size; only what is known is read.
            known: bool (h, w).
        """
        height, width = known.shape
        # Pixels need not be square for the network; what a crop lacks of a square, if hidden, makes a larger hole.
        larger = max(height, width) > SIDE
        how = cv2.INTER_AREA if larger else cv2.INTER_LINEAR
        sure = cv2.resize(np.where(known, np.uint8(255), np.uint8(0)), (SIDE, SIDE), interpolation=how)
        # A pixel of the network's size is known where all are that went into it.
        whole = (sure == 255)[..., None]
        seen = cv2.resize(np.where(known[..., None], crop, np.uint8(0)), (SIDE, SIDE), interpolation=how)
        colours = seen / np.float32(127.5) - np.float32(1)
        given = np.dstack([whole - np.float32(0.5), colours * whole]).transpose(2, 0, 1)[None]
        (made,) = self._session.run(["picture"], {"seen": np.ascontiguousarray(given, np.float32)})
        picture = np.clip(np.rint(255 * made[0].transpose(1, 2, 0)), 0, 255).astype(np.uint8)
        picture = familiar(seen, whole[..., 0], picture)
        how = cv2.INTER_CUBIC if larger else cv2.INTER_AREA
        return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8)
