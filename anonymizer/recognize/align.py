"""Cutting faces out of pictures and turning them upright."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError
from anonymizer.core.records import Floats, Image, check_image

__all__ = ["ARCFACE_TEMPLATE", "align", "face_square", "landmarks_from_box", "neighbourhood", "similarity"]

#: Where left eye, right eye, nose, left and right mouth corner go in ArcFace's crop of 112 x 112 pixels.
#: Source: ``arcface_dst`` in insightface ``utils/face_align.py``.
ARCFACE_TEMPLATE: Floats = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)
#: Mean places of the five landmarks in a detected face's box, as shares of its width and height. Measured on the boxes
#: and landmarks that CenterFace gives for 2,600 upright faces (Labeled Faces in the Wild), boxes grown as the face
#: detector grows them.
LANDMARKS_IN_BOX: Floats = np.array(
    [[0.311, 0.430], [0.682, 0.419], [0.497, 0.584], [0.344, 0.714], [0.654, 0.705]], dtype=np.float32
)
#: Side of a dlib-style face square (eyebrows to chin) per root mean square distance of the landmarks to their centre.
SQUARE_PER_SPREAD = 4.3
#: Side of the same square per square root of a detected face's box area.
SQUARE_PER_BOX = 0.88


def similarity(source: Floats, target: Floats) -> NDArray[np.float64]:
    """Return the rotation, scaling and shift (2, 3) that takes points (N, 2) onto others with least squares.

    Raises:
        InputError: The points coincide, so no scale can be found.

    Source:
        Umeyama, Least-squares estimation of transformation parameters between two point patterns, 1991.
    """
    a, b = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    spread = float(((a - mean_a) ** 2).sum(axis=1).mean())
    if not np.isfinite(spread) or spread < 1e-6:
        raise InputError(f"landmarks: expected five distinct points, got {np.round(a, 1).tolist()}")
    u, s, vt = np.linalg.svd((b - mean_b).T @ (a - mean_a) / len(a))
    # A mirrored fit is no rotation: flip the weaker axis back.
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    turn = u @ np.diag(sign) @ vt * float((s * sign).sum()) / spread
    return np.hstack([turn, (mean_b - turn @ mean_a)[:, None]])


def neighbourhood(image: Image, box: Floats) -> tuple[Image, Floats]:
    """Cut a face with half its size around it out of a picture, so that a large picture is never warped whole.

    Args:
        image: RGB uint8 (H, W, 3).
        box: float (4,) xyxy in pixels.

    Returns:
        The part, uint8 (h, w, 3), and its top left corner x, y in the picture, float32 (2,).

    Raises:
        InputError: The picture has another shape or dtype, or the box lies outside it.
    """
    check_image(image)
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (float(v) for v in box)
    pad = max(x2 - x1, y2 - y1) / 2
    left, top = max(int(x1 - pad), 0), max(int(y1 - pad), 0)
    right, bottom = min(int(np.ceil(x2 + pad)), width), min(int(np.ceil(y2 + pad)), height)
    if right <= left or bottom <= top or x2 <= x1 or y2 <= y1:
        raise InputError(f"box: expected xyxy inside a picture of {width} x {height}, got {np.round(box, 1).tolist()}")
    return image[top:bottom, left:right], np.array([left, top], dtype=np.float32)


def landmarks_from_box(box: Floats) -> Floats:
    """Return where the five landmarks of an upright frontal face in a box (4,) most likely are: float32 (5, 2)."""
    corner, end = np.asarray(box[:2], np.float32), np.asarray(box[2:], np.float32)
    points: Floats = corner + LANDMARKS_IN_BOX * (end - corner)
    return points


def align(image: Image, landmarks: Floats, template: Floats, side: int) -> Image:
    """Warp a face so that its landmarks (5, 2) fall on a template (5, 2): RGB uint8 (side, side, 3).

    Raises:
        InputError: The landmarks coincide.
    """
    import cv2

    matrix = similarity(landmarks, template)
    warped: Image = cv2.warpAffine(np.ascontiguousarray(image), matrix, (side, side), flags=cv2.INTER_LINEAR)
    return warped


def face_square(box: Floats, landmarks: Floats | None) -> Floats:
    """Return the square that dlib's predictors expect, eyebrows to chin: float32 (4,) xyxy in pixels.

    From landmarks (5, 2) if there are any, since boxes of different detectors and annotators differ in extent;
    otherwise from the box.
    """
    if landmarks is None:
        centre = (np.asarray(box[:2]) + np.asarray(box[2:])) / 2
        side = SQUARE_PER_BOX * float(np.sqrt((box[2] - box[0]) * (box[3] - box[1])))
    else:
        centre = landmarks.mean(axis=0)
        side = SQUARE_PER_SPREAD * float(np.sqrt(((landmarks - centre) ** 2).sum(axis=1).mean()))
    return np.concatenate([centre - side / 2, centre + side / 2]).astype(np.float32)
