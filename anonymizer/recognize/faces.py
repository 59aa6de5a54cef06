"""dlib's face descriptor."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anonymizer.core.errors import ModelError
from anonymizer.core.records import Floats, Image
from anonymizer.recognize.align import face_square, neighbourhood

__all__ = ["DlibFaceEmbedder"]


class DlibFaceEmbedder:
    """Describes a face by dlib's ResNet descriptor, aligned by dlib's predictor of eye corners and nose.

    dlib's own pictures were aligned by that predictor, and so are ours. Landmarks of another detector, where there are
    any, only place the square that the predictor starts from: mapped straight onto the crop they separate no better.

    Args:
        descriptor: ``dlib_face_recognition_resnet_model_v1.dat``.
        landmarks: ``shape_predictor_5_face_landmarks.dat``.

    Attributes:
        threshold: Cosine at a false accept rate of 1e-3, 0.925: the 0.999 quantile of 118,454 pairs of different people
            among 488 pictures of Labeled Faces in the Wild (upright, mostly men); 98 to 99 of 100 pairs of the same
            person lie above. Cosines of this descriptor are high throughout (different people 0.84 on average),
            since it was trained on distances and not centred.
        profile_threshold: The same of faces in profile, 0.975: the predictor knows frontal faces only, and profiles of
            different people come out alike (0.91 on average, 30 % above 0.925). It is the 0.999 quantile of 10,701
            pairs of 147 faces in profile of different pictures, 0.974 (0.970 to 0.980, bootstrap over faces). The price
            is high: of profiles that were only stored as JPEG of quality 40, 42 % still lie above it.

    Raises:
        ModelError: A file is missing or dlib cannot read it.
    """

    threshold: float = 0.925
    profile_threshold: float = 0.975

    def __init__(self, descriptor: Path, landmarks: Path) -> None:
        import dlib

        for path in (descriptor, landmarks):
            if not path.is_file():
                raise ModelError(f"dlib: expected a model at {path}, found none; run `anonymizer models verify`")
        try:
            self._describe = dlib.face_recognition_model_v1(str(descriptor))
            self._predict = dlib.shape_predictor(str(landmarks))
        except RuntimeError as error:
            raise ModelError(f"dlib: cannot read its models ({error}); run `anonymizer models verify`") from error
        self._rectangle = dlib.rectangle

    def embed(self, image: Image, box: Floats, landmarks: Floats | None) -> Floats:
        """Return a unit-length float32 (128,) embedding of the face in a box.

        Args:
            image: RGB uint8 (H, W, 3).
            box: float (4,) xyxy in pixels.
            landmarks: float32 (5, 2) x, y in pixels, or None.

        Raises:
            InputError: The picture has another shape or dtype, or the box lies outside it.
        """
        part, corner = neighbourhood(image, box)
        square = np.rint(face_square(box, landmarks) - np.tile(corner, 2)).astype(int).tolist()
        part = np.ascontiguousarray(part)
        shape = self._predict(part, self._rectangle(*square))
        vector = np.array(self._describe.compute_face_descriptor(part, shape), dtype=np.float32)
        unit: Floats = vector / np.linalg.norm(vector)
        return unit
