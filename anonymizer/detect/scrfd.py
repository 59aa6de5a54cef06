"""Faces by SCRFD, through insightface."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anonymizer.core.errors import ModelError
from anonymizer.core.records import Image, Instance, check_image
from anonymizer.detect.faces import MARGIN
from anonymizer.detect.regions import ellipse, grow, make_instance, number
from anonymizer.models.onnx import open_session
from anonymizer.models.third_party import extra, offline

__all__ = ["ScrfdDetector"]

#: Side of the square in which the network looks at a picture.
SIDE = 640


class ScrfdDetector:
    """Detects faces with five landmarks and draws an ellipse around each, forehead and chin included.

    Args:
        path: SCRFD with landmarks (``*_bnkps``) in ONNX.
        threshold: Lowest score, in [0, 1].
        device: Where it runs, see ``sessions.open_session``.

    Raises:
        ModelError: The file is missing, unreadable or another network.

    Source:
        Guo et al., SCRFD, arXiv 2105.04714; ``insightface.model_zoo.scrfd`` in insightface 2.1.
    """

    def __init__(self, path: Path, threshold: float = 0.4, device: str = "cpu") -> None:
        # It imports Matplotlib, which writes into the home folder.
        with offline(), extra("hub", "scrfd"):
            from insightface.model_zoo.scrfd import SCRFD

        session = open_session(path, "scrfd", device)
        self._network = SCRFD(model_file=str(path), session=session)
        if not self._network.use_kps:
            raise ModelError(f"scrfd: expected a network with landmarks (9 or 15 outputs) at {path}, got another")
        self._threshold = threshold

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return faces in RGB uint8 (H, W, 3), best first.

        Raises:
            InputError: The picture has another shape or dtype.
        """
        check_image(image)
        size = image.shape[0], image.shape[1]
        # Channels as OpenCV has them: RGB -> BGR.
        rows, points = self._network.detect(
            np.ascontiguousarray(image[..., ::-1]), input_size=(SIDE, SIDE), det_thresh=self._threshold
        )
        found = []
        for row, landmarks in zip(rows, points, strict=True):
            x1, y1, x2, y2, score = (float(value) for value in row)
            if x2 <= x1 or y2 <= y1:
                continue
            box = grow(np.array([x1, y1, x2, y2], np.float32), *MARGIN)
            instance = make_instance(
                "face",
                box,
                size,
                score=score,
                source="scrfd",
                mask=ellipse(box),
                landmarks=landmarks.astype(np.float32),
            )
            if instance is not None:
                found.append(instance)
        return number(found)
