"""Depth by Depth Anything, V1 or V2, through transformers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import ModelError
from anonymizer.core.records import Instance, check_image

__all__ = ["DepthAnything"]


class DepthAnything:
    """Estimates relative depth of a picture.

    Args:
        folder: Folder of a ``DepthAnythingForDepthEstimation`` with its image processor, safetensors only.
        device: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ModelError: The folder holds something else.

    Source:
        Yang et al., Depth Anything, arXiv 2401.10891; V2, arXiv 2406.09414.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        import torch
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # it would write over ours

        self._torch = torch
        self._device = device
        local = {"local_files_only": True}
        try:
            # The slow path: NumPy alone, the same on every machine.
            self._processor = AutoImageProcessor.from_pretrained(folder, **local)
            model = AutoModelForDepthEstimation.from_pretrained(folder, use_safetensors=True, **local)
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"depth: expected a Depth Anything folder at {folder}, got {error}; run: anonymizer models verify"
            ) from error
        if not type(model).__name__.startswith("DepthAnything"):
            raise ModelError(f"depth: expected Depth Anything in {folder}, got {type(model).__name__}")
        self._model = model.to(device).eval()

    def estimate(self, image: NDArray[np.uint8], instances: tuple[Instance, ...] = ()) -> NDArray[np.float32]:
        """Return depth float32 (H, W) in [0, 1], 1 nearest: the network's inverse depth over its maximum.

        Args:
            image: RGB uint8 (H, W, 3).
            instances: Not needed; part of the contract.
        """
        del instances
        check_image(image)
        torch = self._torch
        inputs = self._processor(images=image, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            found = self._model(**inputs).predicted_depth[0].float().cpu().numpy()  # (h, w), larger is nearer
        if not np.isfinite(found).all():
            raise ModelError("depth: expected finite values, got NaN or infinity; try --device cpu")
        size = image.shape[1], image.shape[0]
        depth = np.clip(cv2.resize(found, size, interpolation=cv2.INTER_CUBIC), 0, None)
        nearest = float(depth.max())
        scaled = depth / nearest if nearest > 0 else np.zeros_like(depth)
        return np.clip(scaled, 0, 1).astype(np.float32)
