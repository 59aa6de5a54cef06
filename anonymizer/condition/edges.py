"""Soft edges by a small network in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import ModelError
from anonymizer.core.records import check_image

__all__ = ["EdgeNet"]

#: Height and width the network takes are multiples of this.
STRIDE = 8


class EdgeNet:
    """Finds soft edges; the network normalises within its graph.

    Args:
        path: ONNX file with input ``image`` float32 (1, 3, H, W), RGB in [0, 1], H and W multiples of 8, and
            output ``edge`` float32 (1, 1, H, W) in [0, 1].
        max_side: Longest side in pixels at which the network runs; a larger picture is reduced for it.
        providers: ONNX Runtime execution providers, preferred first.

    Raises:
        ModelError: The file cannot be loaded or its input or output has another name.
    """

    def __init__(self, path: Path, max_side: int = 1024, providers: Sequence[str] = ("CPUExecutionProvider",)) -> None:
        import onnxruntime

        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=list(providers))
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise ModelError(
                f"edges: expected an ONNX network at {path}, got {type(error).__name__}; "
                "verify or fetch the weights again"
            ) from error
        names = [i.name for i in self._session.get_inputs()], [o.name for o in self._session.get_outputs()]
        if names[0] != ["image"] or "edge" not in names[1]:
            raise ModelError(
                f"edges: expected input 'image' and output 'edge' in {path}, got {names[0]} and {names[1]}; "
                "fetch the weights again"
            )
        self.max_side = max_side

    def detect(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return edge strength float32 (H, W) in [0, 1].

        Args:
            image: RGB uint8 (H, W, 3).

        Raises:
            InputError: The image is no RGB uint8 (H, W, 3).
        """
        check_image(image)
        height, width = image.shape[:2]
        scale = min(1.0, self.max_side / max(height, width))
        rows, columns = max(round(height * scale), 1), max(round(width * scale), 1)
        reduced = image
        if (rows, columns) != (height, width):
            reduced = np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
        padded = np.pad(reduced, ((0, -rows % STRIDE), (0, -columns % STRIDE), (0, 0)), mode="edge")
        # (H, W, 3) -> (1, 3, H, W)
        batch = np.ascontiguousarray(padded.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)
        (found,) = self._session.run(["edge"], {"image": batch})
        edge = np.asarray(found[0, 0, :rows, :columns], np.float32)
        if (rows, columns) != (height, width):
            edge = np.asarray(cv2.resize(edge, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        edge = np.clip(edge, 0.0, 1.0, out=edge if edge.flags.writeable else None)
        edge.flags.writeable = False  # Frozen here, it need not be copied for that.
        return edge
