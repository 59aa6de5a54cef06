"""Finer masks by Segment Anything 2, through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import ModelError
from anonymizer.core.geometry import integer_box
from anonymizer.core.records import BODIES, Detector, Image, Instance, Mask, check_image

__all__ = ["SamRefiner"]

#: Boxes decoded at once.
CHUNK = 16
#: IoU with the detector's mask from which a refined mask shows the same object.
SAME = 0.5


class SamRefiner:
    """Runs a detector and adds to each person's and vehicle's mask what SAM sees in its box.

    Masks only grow: where the two agree on the object, the union counts, else the detector's own. A refined mask that
    misses a hand must not release it.

    Args:
        inner: Detector to run.
        folder: Folder of a ``Sam2Model`` with its processor, safetensors only.
        device: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ModelError: The folder holds something else.

    Source:
        Ravi et al., SAM 2, arXiv 2408.00714.
    """

    def __init__(self, inner: Detector, folder: Path, device: str = "cpu") -> None:
        import torch
        from transformers import Sam2Model, Sam2Processor
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # it would write over ours

        self._torch = torch
        self._inner = inner
        self._device = device
        try:
            self._processor = Sam2Processor.from_pretrained(folder, local_files_only=True)
            model = Sam2Model.from_pretrained(folder, use_safetensors=True, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"sam: expected a SAM 2 folder at {folder}, got {error}; run: anonymizer models verify"
            ) from error
        self._model = model.to(device).eval()

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return the inner detector's instances in RGB uint8 (H, W, 3), masks refined."""
        check_image(image)
        found = self._inner.detect(image)
        chosen = [instance for instance in found if instance.label in BODIES]
        if not chosen:
            return found
        refined = dict(zip((i.id for i in chosen), self._refine(image, chosen), strict=True))
        return tuple(
            replace(i, mask=i.mask | refined[i.id], core=refined[i.id]) if i.id in refined else i for i in found
        )

    def _refine(self, image: Image, instances: Sequence[Instance]) -> list[Mask]:
        """Return a mask in the frame of each instance's integer box; the instance's own where SAM disagrees."""
        torch = self._torch
        size = image.shape[0], image.shape[1]
        inputs = self._processor(images=image, return_tensors="pt").to(self._device)
        masks: list[Mask] = []
        with torch.inference_mode():
            embeddings = self._model.get_image_embeddings(inputs["pixel_values"])
            for start in range(0, len(instances), CHUNK):
                part = instances[start : start + CHUNK]
                prompt = self._processor(
                    input_boxes=[[i.box.tolist() for i in part]], original_sizes=[list(size)], return_tensors="pt"
                ).to(self._device)
                logits = self._model(
                    image_embeddings=embeddings, input_boxes=prompt["input_boxes"], multimask_output=False
                ).pred_masks[0, :, 0]  # (N, h, w)
                masks += [_cut(layer, i, size) for layer, i in zip(logits.float().cpu().numpy(), part, strict=True)]
        return [mask if _iou(mask, i.mask) >= SAME else i.mask for mask, i in zip(masks, instances, strict=True)]


def _cut(logits: NDArray[np.float32], instance: Instance, size: tuple[int, int]) -> Mask:
    """Return where logits (h, w) over the whole picture are positive, in the frame of the instance's integer box."""
    x1, y1, x2, y2 = integer_box(instance.box)
    across, down = logits.shape[1] / size[1], logits.shape[0] / size[0]
    # Pixel centres of the box -> cells of the logits.
    back = np.array([[across, 0, (x1 + 0.5) * across - 0.5], [0, down, (y1 + 0.5) * down - 0.5]], np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(logits, back, (x2 - x1, y2 - y1), flags=flags, borderMode=cv2.BORDER_REPLICATE) > 0
    )


def _iou(a: Mask, b: Mask) -> float:
    union = int((a | b).sum())
    return float((a & b).sum()) / union if union else 0.0
