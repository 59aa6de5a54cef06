"""Judge of avatars' poses, which takes no part in a run; ``models/judges/make_judges.py`` makes its file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import context_box, take
from anonymizer.models.onnx import open_session
from anonymizer.models.weights import file_sha256

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

#: Surroundings of a person on each side, as a proportion of the longer side of the box; side of the input in pixels.
POSE_MARGIN, POSE_SIDE = 0.125, 256


class MoveNet:
    """MoveNet Thunder: the pose of the person in a window."""

    def __init__(self, folder: Path) -> None:
        self._session = open_session(folder / "movenet.onnx", "movenet")
        self.sha256 = file_sha256(folder / "movenet.onnx")

    def find(self, image: Image, box: Floats) -> Floats:
        """Return COCO's 17 joints, float32 (17, 3): x, y in the picture's pixels and score."""
        window = context_box(box, POSE_MARGIN, 1.0)
        side = window[2] - window[0]
        crop = cv2.resize(
            take(image, window),
            (POSE_SIDE, POSE_SIDE),
            interpolation=cv2.INTER_AREA if side > POSE_SIDE else cv2.INTER_LINEAR,
        )
        feed = {self._session.get_inputs()[0].name: crop.astype(np.int32)[None]}
        joints = self._session.run(None, feed)[0][0, 0][:, [1, 0, 2]]
        joints[:, :2] = joints[:, :2] * side + np.array(window[:2], np.float32)
        return joints.astype(np.float32)
