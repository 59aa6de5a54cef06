"""Pose in the picture and in metres, mask and presence of single persons by MediaPipe's BlazePose in ONNX."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError, ModelError
from anonymizer.core.geometry import IntBox, context_box, take
from anonymizer.core.records import Floats, Image, PersonView, check_image
from anonymizer.models.onnx import open_session

__all__ = ["LANDMARKS", "BlazePose"]

#: Side in pixels of the square in which the network sees a person, and the room around the person's box as a
#: share of its longer side: the square's side is 1.25 times that, as in training.
SIDE, MARGIN = 256, 0.125
#: Persons seen in one run; bounds memory in a crowd.
BATCH = 8
#: Landmarks in the order of the network; six more that follow them only place the next frame's crop.
LANDMARKS = (
    "nose",
    *("left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer"),
    *("left_ear", "right_ear", "mouth_left", "mouth_right"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_pinky", "right_pinky", "left_index", "right_index", "left_thumb", "right_thumb"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    *("left_heel", "right_heel", "left_foot_index", "right_foot_index"),
)
#: All points that the network gives.
POINTS = 39
OUTPUTS = ["landmarks", "world", "mask", "presence"]


class BlazePose:
    """Sees one person per box.

    Args:
        path: ONNX file with input ``person`` float32 (N, 256, 256, 3) RGB in [0, 1] and outputs ``landmarks`` float32
            (N, 195), 39 times x, y, z in input pixels and logits of visibility and presence; ``world`` float32
            (N, 117), 39 times x, y, z in metres; ``mask`` float32 (N, 256, 256, 1) and ``presence`` float32 (N, 1),
            both in [0, 1].
        device: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ModelError: The file cannot be loaded or its input or outputs have other names.

    Source:
        Bazarevsky et al., BlazePose, arXiv 2006.10204.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._session = open_session(path, "blazepose", device)
        names = [i.name for i in self._session.get_inputs()], [o.name for o in self._session.get_outputs()]
        if names != (["person"], OUTPUTS):
            raise ModelError(
                f"blazepose: expected input 'person' and outputs {', '.join(OUTPUTS)} in {path}, got {names[0]} and "
                f"{names[1]}; fetch the weights again"
            )

    def look(self, image: Image, boxes: Floats) -> tuple[PersonView, ...]:
        """Return what the network sees of the person in each box, in the same order.

        Args:
            image: RGB uint8 (H, W, 3).
            boxes: float32 (N, 4) xyxy in pixels, one person each.

        Raises:
            InputError: The picture or the boxes have another shape, or a box is empty or not finite.
            ModelError: The network gives numbers that are not finite.
        """
        check_image(image)
        windows = square_windows(boxes, MARGIN)
        out: list[PersonView] = []
        for first in range(0, len(windows), BATCH):
            group = windows[first : first + BATCH]
            batch = np.stack([seen(image, window, SIDE) for window in group])
            parts = self._session.run(OUTPUTS, {"person": batch})
            if not all(np.isfinite(part).all() for part in parts):
                raise ModelError("blazepose: the network gives numbers that are not finite; fetch the weights again")
            out += [decode(window, *part) for window, *part in zip(group, *parts, strict=True)]
        return tuple(out)


def square_windows(boxes: Floats, margin: float) -> list[IntBox]:
    """Return a square around each box (N, 4) xyxy with a margin that is a share of the box's longer side.

    Raises:
        InputError: Another shape, or a box that is empty or not finite.
    """
    table = np.asarray(boxes, dtype=np.float32)
    if table.size == 0:
        return []
    if table.ndim != 2 or table.shape[1] != 4:
        raise InputError(f"boxes: expected (N, 4) xyxy, got {table.shape}")
    if not np.isfinite(table).all() or (table[:, 2:] <= table[:, :2]).any():
        raise InputError("boxes: expected finite xyxy with x2 > x1 and y2 > y1")
    return [context_box(box, margin, 1.0) for box in table]


def seen(image: Image, window: IntBox, side: int) -> NDArray[np.float32]:
    """Return a window of a picture as a network sees it: float32 (side, side, 3) in [0, 1]."""
    method = cv2.INTER_AREA if window[2] - window[0] > side else cv2.INTER_LINEAR
    crop = cv2.resize(take(image, window), (side, side), interpolation=method)
    return np.asarray(crop, dtype=np.float32) / np.float32(255)


def decode(window: IntBox, landmarks: Floats, world: Floats, mask: Floats, presence: Floats) -> PersonView:
    """Return one person of the network's output, in picture pixels.

    Args:
        window: Integer xyxy that the network saw.
        landmarks: float32 (195,).
        world: float32 (117,).
        mask: float32 (256, 256, 1) in [0, 1].
        presence: float32 (1,) in [0, 1].
    """
    x1, y1, x2, _ = window
    count = len(LANDMARKS)
    table = landmarks.reshape(POINTS, 5)[:count]
    # Depth has the scale of x.
    points = table[:, :3] * np.float32((x2 - x1) / SIDE) + np.array([x1, y1, 0], np.float32)
    # Logits beyond 30 are certain, and exp of far larger ones would overflow.
    likely = 1 / (1 + np.exp(-np.clip(table[:, 3:], -30, 30)))
    return PersonView(
        landmarks=points.astype(np.float32),
        visibility=likely[:, 0].astype(np.float32),
        inside=likely[:, 1].astype(np.float32),
        world=world.reshape(POINTS, 3)[:count].astype(np.float32),
        window=window,
        mask=np.clip(mask[..., 0], 0, 1).astype(np.float32),
        presence=float(np.clip(presence[0], 0, 1)),
    )
