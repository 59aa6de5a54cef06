"""Soft edges: by a small network in ONNX, or by HED as the ControlNets were trained with, from safetensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import ModelError
from anonymizer.core.records import check_image

__all__ = ["EdgeNet", "HedEdges"]

#: Height and width the network takes are multiples of this.
STRIDE = 8
#: Convolutions of each block of VGG16 and their channels.
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


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


class HedEdges:
    """Finds soft edges with the network of ``ControlNetHED_Apache2``.

    Args:
        path: Safetensors file with ``norm`` and, per block, ``blockN.convs.M`` and ``blockN.projection``.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        max_side: Longest side in pixels at which the network runs; a larger picture is reduced for it.

    Raises:
        ModelError: The file is not that network.

    Source:
        Xie and Tu, Holistically-Nested Edge Detection, arXiv 1504.06375; controlnet_aux 0.0.10, ``hed``.
    """

    def __init__(self, path: Path, device: str = "cpu", max_side: int = 1024) -> None:
        import torch
        from safetensors.torch import load_file

        self._torch = torch
        self._device = device
        self.max_side = max_side
        try:
            tensors = load_file(path)
        # safetensors raises its own type, the system OSError.
        except Exception as error:
            raise ModelError(f"edges: expected safetensors at {path}, got {type(error).__name__}") from error
        before = 3
        expected: dict[str, tuple[int, ...]] = {"norm": (1, 3, 1, 1)}
        for block, (count, width) in enumerate(BLOCKS, start=1):
            for layer in range(count):
                name = f"block{block}.convs.{layer}"
                expected |= {f"{name}.weight": (width, before, 3, 3), f"{name}.bias": (width,)}
                before = width
            name = f"block{block}.projection"
            expected |= {f"{name}.weight": (1, width, 1, 1), f"{name}.bias": (1,)}
        wrong = sorted(name for name, shape in expected.items() if name not in tensors or tensors[name].shape != shape)
        if wrong:
            raise ModelError(
                f"edges: expected HED in {path}, {', '.join(wrong[:3])} differ; run: anonymizer models verify"
            )
        self._tensors = {name: tensors[name].float().to(device) for name in expected}

    def detect(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return edge strength float32 (H, W) in [0, 1]: the sigmoid of the five blocks' mean.

        Args:
            image: RGB uint8 (H, W, 3).
        """
        check_image(image)
        torch = self._torch
        height, width = image.shape[:2]
        scale = min(1.0, self.max_side / max(height, width))
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        reduced = image if scale == 1.0 else np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        batch = torch.from_numpy(np.ascontiguousarray(reduced.transpose(2, 0, 1)[None], dtype=np.float32))
        with torch.inference_mode():
            sides = [side[0, 0].float().cpu().numpy() for side in self._blocks(batch.to(self._device))]
        mean = np.mean([cv2.resize(side, size, interpolation=cv2.INTER_LINEAR) for side in sides], axis=0)
        edge = 1 / (1 + np.exp(-mean.astype(np.float64)))
        full = cv2.resize(edge, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.clip(full, 0, 1).astype(np.float32)

    def _blocks(self, batch: Any) -> list[Any]:
        """Return each block's side output for a batch float32 (1, 3, h, w) in [0, 255]."""
        functional, own = self._torch.nn.functional, self._tensors
        out, sides = batch - own["norm"], []
        for block, (count, _) in enumerate(BLOCKS, start=1):
            # A strip of one pixel cannot be halved.
            if block > 1 and min(out.shape[2:]) > 1:
                out = functional.max_pool2d(out, 2)
            for layer in range(count):
                name = f"block{block}.convs.{layer}"
                out = functional.relu(functional.conv2d(out, own[f"{name}.weight"], own[f"{name}.bias"], padding=1))
            name = f"block{block}.projection"
            sides.append(functional.conv2d(out, own[f"{name}.weight"], own[f"{name}.bias"]))
        return sides
