"""Features of instance crops, from the embedded detector's backbone."""

from __future__ import annotations

import numpy as np

from anonymizer.core.errors import ModelError
from anonymizer.core.geometry import context_box, take
from anonymizer.core.records import Floats, Image, check_image
from anonymizer.models import weights
from anonymizer.models.onnx import open_session

__all__ = ["CropFeatures"]

#: Last map of the backbone (pyramid pooling), 32 input pixels to a cell.
LAYER = "/model.9/cv2/act/Mul_output_0"
#: Side of the square that a crop is resized to, and the context around it, as a proportion of its longer side.
SIDE = 128
MARGIN = 0.1


class CropFeatures:
    """Describes crops by the mean and the spread of the embedded detector's last backbone map.

    The network was trained to find persons, faces and plates, from ImageNet weights; its features tell such crops
    apart in detail, but distances in them cannot be compared with those of Inception or another network. Released
    pictures have passed a check by this very detector, which may make them look slightly nearer than they are.

    Raises:
        ModelError: The detector's file is missing, corrupt or has another layout.
    """

    def __init__(self) -> None:
        import onnx

        path = weights.path("detector")
        model = onnx.load(str(path))
        if not any(LAYER in node.output for node in model.graph.node):
            raise ModelError(f"features: layer {LAYER} not found in {path}; reinstall anonymizer")
        del model.graph.output[:]
        model.graph.output.append(onnx.helper.make_tensor_value_info(LAYER, onnx.TensorProto.FLOAT, None))
        self._session = open_session(model.SerializeToString(), "features")
        self._input = self._session.get_inputs()[0].name
        self.name = f"embedded detector, layer {LAYER}, mean and standard deviation over the map, crops at {SIDE} px"
        self.sha256 = weights.digest("detector")

    def describe(self, image: Image, box: Floats) -> Floats:
        """Return the features of one instance and a little of its surroundings.

        Args:
            image: RGB uint8 (H, W, 3).
            box: float32 (4,) xyxy in pixels.

        Returns:
            float32 (D,).

        Raises:
            InputError: The picture has another shape or dtype.
        """
        import cv2

        crop = take(check_image(image), context_box(box, MARGIN, 1.0))
        method = cv2.INTER_AREA if crop.shape[0] > SIDE else cv2.INTER_LINEAR
        square = cv2.resize(crop, (SIDE, SIDE), interpolation=method)
        blob = (
            np.ascontiguousarray(square.transpose(2, 0, 1)[None], dtype=np.float32) / 255
        )  # (h, w, 3) -> (1, 3, h, w)
        cells = self._session.run(None, {self._input: blob})[0][0]
        cells = cells.reshape(cells.shape[0], -1)  # (C, h, w) -> (C, h w)
        return np.concatenate([cells.mean(axis=1), cells.std(axis=1)]).astype(np.float32)
