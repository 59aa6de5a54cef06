"""Face descriptors: dlib's, and any recogniser in ONNX with ArcFace's input."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from anonymizer.core.errors import InputError, ModelError
from anonymizer.core.records import Floats, Image
from anonymizer.recognize.align import ARCFACE_TEMPLATE, align, face_square, landmarks_from_box, neighbourhood

__all__ = ["ArcFaceEmbedder", "DlibFaceEmbedder"]

SIDE = 112


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
            different people come out alike (0.91 on average, 32 % above 0.925). The 0.999 quantile of 4,437 pairs of 95
            faces in profile is 0.972 (0.964 to 0.980, bootstrap over faces; ``benchmarks/profiles.py``), of 10,701
            pairs of 147 faces 0.974 (0.970 to 0.980). The price is high: of profiles that were only stored anew, as
            JPEG of quality 40, 25 % lie above it.

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


class ArcFaceEmbedder:
    """Describes a face by an ArcFace-shaped network: RGB float32 (1, 3, 112, 112) in, (1, D) out.

    Networks converted from MXNet normalise 0..255 in their first nodes, others expect (x - 127.5) / 127.5. Which one a
    file is shows in the names of its first eight nodes, as insightface decides it.

    Args:
        path: ONNX file.
        threshold: Cosine above which two faces are the same person; it belongs to the file and should be measured at
            a false accept rate of 1e-3.

    Raises:
        InputError: A threshold outside [-1, 1].
        ModelError: The file is missing, unreadable or takes another input.

    Source:
        ``ArcFaceONNX`` in insightface ``model_zoo/arcface_onnx.py``.
    """

    def __init__(self, path: Path, threshold: float) -> None:
        import onnx
        import onnxruntime
        from google.protobuf.message import DecodeError

        if not -1.0 <= threshold <= 1.0:
            raise InputError(f"threshold: expected a cosine in [-1, 1], got {threshold}")
        if not path.is_file():
            raise ModelError(f"arcface: expected an ONNX file at {path}, found none; check the recogniser's path")
        try:
            nodes = onnx.load(path).graph.node[:8]
        except DecodeError as error:
            raise ModelError(f"arcface: {path} is not a readable ONNX model; check the recogniser's path") from error
        names = [node.name for node in nodes]
        subtracts = any(name.startswith(("Sub", "_minus")) for name in names)
        multiplies = any(name.startswith(("Mul", "_mul")) for name in names)
        self._mean, self._std = (0.0, 1.0) if subtracts and multiplies else (127.5, 127.5)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = os.cpu_count() or 1
        options.log_severity_level = 3
        # Threads that wait would otherwise burn as much CPU time as those that work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        taken = self._session.get_inputs()[0]
        if len(taken.shape) != 4 or list(taken.shape[1:]) != [3, SIDE, SIDE]:
            raise ModelError(f"arcface: expected an input of (N, 3, {SIDE}, {SIDE}), {path} takes {taken.shape}")
        self._input = taken.name
        self.threshold = threshold

    def embed(self, image: Image, box: Floats, landmarks: Floats | None) -> Floats:
        """Return a unit-length float32 (D,) embedding of the face in a box.

        Args:
            image: RGB uint8 (H, W, 3).
            box: float (4,) xyxy in pixels.
            landmarks: float32 (5, 2) x, y in pixels. None: those of an average upright face in the box, which is less
                exact.

        Raises:
            InputError: The picture has another shape or dtype, the box lies outside it, or the landmarks coincide.
        """
        part, corner = neighbourhood(image, box)
        points = landmarks_from_box(box) if landmarks is None else landmarks
        chip = align(part, points - corner, ARCFACE_TEMPLATE, SIDE)
        blob = (
            chip.transpose(2, 0, 1)[None].astype(np.float32) - self._mean
        ) / self._std  # (112, 112, 3) -> (1, 3, 112, 112)
        vector = self._session.run(None, {self._input: blob.astype(np.float32)})[0][0]
        unit: Floats = (vector / np.linalg.norm(vector)).astype(np.float32)
        return unit
