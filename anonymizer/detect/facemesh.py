"""Surface points of single faces, irises included, by MediaPipe's FaceMesh with attention in ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anonymizer.core.errors import ModelError
from anonymizer.core.records import FaceView, Floats, Image, check_image
from anonymizer.detect.blazepose import seen, square_windows
from anonymizer.models.onnx import open_session

__all__ = ["FaceMesh"]

#: Side in pixels of the square in which the network sees a face, and the room around the face's box (forehead and
#: chin included) as a share of its longer side. Squares of 1.0 to 1.4 times that do as well; larger ones lose faces.
SIDE, MARGIN = 192, 0.125
#: Vertices of the mesh, and five points each for the left and the right iris that follow: centre, then the border.
POINTS = 478
#: Faces seen in one run; bounds memory in a crowd.
BATCH = 8
OUTPUTS = ["points", "presence"]


class FaceMesh:
    """Sees one face per box.

    Args:
        path: ONNX file with input ``face`` float32 (N, 192, 192, 3) RGB in [0, 1] and outputs ``points`` float32
            (N, 478, 3) in input pixels and ``presence`` float32 (N, 1) in [0, 1].
        device: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ModelError: The file cannot be loaded or its input or outputs have other names.

    Source:
        Grishchenko et al., Attention Mesh, arXiv 2006.10962.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._session = open_session(path, "facemesh", device)
        names = [i.name for i in self._session.get_inputs()], [o.name for o in self._session.get_outputs()]
        if names != (["face"], OUTPUTS):
            raise ModelError(
                f"facemesh: expected input 'face' and outputs {', '.join(OUTPUTS)} in {path}, got {names[0]} and "
                f"{names[1]}; fetch the weights again"
            )

    def look(self, image: Image, boxes: Floats) -> tuple[FaceView, ...]:
        """Return what the network sees of the face in each box, in the same order.

        Args:
            image: RGB uint8 (H, W, 3).
            boxes: float32 (N, 4) xyxy in pixels, one face each, forehead and chin included.

        Raises:
            InputError: The picture or the boxes have another shape, or a box is empty or not finite.
            ModelError: The network gives numbers that are not finite.
        """
        check_image(image)
        windows = square_windows(boxes, MARGIN)
        out: list[FaceView] = []
        for first in range(0, len(windows), BATCH):
            group = windows[first : first + BATCH]
            points, presence = self._session.run(
                OUTPUTS, {"face": np.stack([seen(image, window, SIDE) for window in group])}
            )
            if not np.isfinite(points).all() or not np.isfinite(presence).all():
                raise ModelError("facemesh: the network gives numbers that are not finite; fetch the weights again")
            for (x1, y1, x2, _), found, likely in zip(group, points, presence.ravel(), strict=True):
                # Depth has the scale of x.
                moved = found * np.float32((x2 - x1) / SIDE) + np.array([x1, y1, 0], np.float32)
                out.append(FaceView(moved.astype(np.float32), float(np.clip(likely, 0, 1))))
        return tuple(out)
