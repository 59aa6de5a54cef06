"""License plates by a YOLO detection network in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anonymizer.core.errors import InputError, ModelError
from anonymizer.core.records import Floats, Image, Instance, check_image
from anonymizer.detect.regions import grow, make_instance, nms, number
from anonymizer.detect.yolo import MAX_CANDIDATES, PLATE_MARGIN, STRIDE, letterbox
from anonymizer.models.onnx import open_session

__all__ = ["PlateNetwork"]


class PlateNetwork:
    """Detects plates with a YOLO network of one class, exported by ultralytics without suppression.

    The network takes float32 (1, 3, h, w) RGB in [0, 1] with h and w multiples of 32 and gives (1, 5, N) candidates:
    centre x, centre y, width, height in input pixels, and a score in [0, 1]. The mask is the whole box, slightly grown.

    Args:
        path: ONNX file.
        threshold: Lowest score, in [0, 1].
        sizes: Long sides of the picture as the network sees it, in pixels, one look each.
        iou: Boxes with at least this IoU are the same plate.
        device: Where it runs, see ``models.onnx.open_session``.

    Raises:
        InputError: No size, or one below 32.
        ModelError: The file is missing, unreadable or of another layout.
    """

    def __init__(
        self, path: Path, threshold: float, sizes: Sequence[int] = (640, 1280), iou: float = 0.5, device: str = "cpu"
    ) -> None:
        if not sizes or min(sizes) < STRIDE:
            raise InputError(f"sizes: expected one or more of at least {STRIDE} pixels, got {tuple(sizes)}")
        self._session = open_session(path, "plate detector", device)
        outputs = self._session.get_outputs()
        if len(outputs) != 1 or len(outputs[0].shape) != 3:
            shapes = ", ".join(str(output.shape) for output in outputs)
            raise ModelError(f"plate detector: expected one output of 3 axes, got {shapes} in {path}")
        self._input = self._session.get_inputs()[0].name
        self._threshold = threshold
        self._sizes = tuple(sizes)
        self._iou = iou

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return plates in RGB uint8 (H, W, 3), best first.

        Raises:
            InputError: The picture has another shape or dtype.
            ModelError: The network has more than one class.
        """
        check_image(image)
        size = image.shape[0], image.shape[1]
        looks = [self._look(image, long_side) for long_side in self._sizes]
        boxes, scores = (np.concatenate(parts) for parts in zip(*looks, strict=True))
        found = (
            make_instance(
                "license_plate",
                grow(boxes[keep], *PLATE_MARGIN),
                size,
                score=float(scores[keep]),
                source="plate-network",
            )
            for keep in nms(boxes, scores, self._iou)
        )
        return number(instance for instance in found if instance is not None)

    def _look(self, image: Image, long_side: int) -> tuple[Floats, Floats]:
        """Return boxes (N, 4) xyxy in picture pixels and scores (N,), best first."""
        boxed, scale_x, scale_y, left, top = letterbox(image, long_side)
        blob = np.ascontiguousarray(boxed.transpose(2, 0, 1)[None], dtype=np.float32) / 255  # (h, w, 3) -> (1, 3, h, w)
        (raw,) = self._session.run(None, {self._input: blob})
        if raw.shape[1] != 5:
            raise ModelError(f"plate detector: expected 5 channels for one class, got {raw.shape[1]}")
        table = raw[0].T  # (5, N) -> (N, 5)
        rows = np.flatnonzero(table[:, 4] >= self._threshold)
        rows = rows[np.argsort(-table[rows, 4], kind="stable")][:MAX_CANDIDATES]
        rows = rows[(table[rows, 2] > 0) & (table[rows, 3] > 0)]
        centre, half = table[rows, :2], table[rows, 2:4] / 2
        shift, scale = np.array([left, top] * 2, np.float32), np.array([scale_x, scale_y] * 2, np.float32)
        boxes = (np.concatenate([centre - half, centre + half], axis=1) - shift) / scale
        return boxes.astype(np.float32), table[rows, 4].astype(np.float32)
