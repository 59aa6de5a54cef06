"""Heads of persons' prototypes: an average of other people's heads with hair and neck, but with nobody's features.

A person is painted first and the face on top of it later, at its own scale. So that a face that is redacted leaves a
head without a face, features are blurred away here and the same neutral ones for everyone take their place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Head", "faceless", "fitted", "hair_colour", "oval", "shoulderless", "skin_colour", "with_head"]

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: The face itself around the landmarks of an average: half width and half height in distances of the eyes, where its
#: middle lies on the way from the eyes to the mouth, how far it moves against the turn of the nose, and its soft rim.
OVAL, OVAL_MIDDLE, OVAL_TURN, OVAL_RIM = (1.12, 1.58), 0.4, 0.4, 0.15
#: Neutral features: which landmark they lie at, how far above it, half width and half height in distances of the eyes,
#: and how dark. Brows, eyes, nose, corners of the mouth.
FEATURES = (
    *((eye, 0.27, 0.27, 0.08, 0.35) for eye in (0, 1)),
    *((eye, 0.0, 0.19, 0.1, 0.6) for eye in (0, 1)),
    (2, 0.0, 0.2, 0.1, 0.3),
    *((corner, 0.0, 0.3, 0.08, 0.25) for corner in (3, 4)),
)
#: Blur that leaves no features, in distances of the eyes.
FEATURELESS = 0.35
#: The mattes between which an average fades.
FADE = (0.35, 0.65)
#: How far hair may go on around the middle of the landmarks, where that middle is moved up, and where hair ends below
#: the mouth, in distances of the eyes.
HAIR, HAIR_UP, HAIR_END = (1.9, 2.7), 0.3, 0.35
#: Directions in which hair is fitted to an outline, how far it is stretched at most, and between which sines of the
#: angle below the horizontal that ends.
ANGLES, STRETCH, DOWN = 180, 1.7, (0.25, 0.65)
#: Strands around a head, how deep they are, and the brightness of each, the same for everyone.
COUNT, DEPTH = 110, 0.16
STRANDS = 1 + DEPTH * np.random.default_rng(0).uniform(-1, 1, COUNT).astype(np.float32)
#: Where chin and neck end, below the mouth, and how wide the neck is, in distances of the eyes; softness of both.
CHIN, NECK_END, NECK_HALF, SOFT = 0.6, 1.15, 0.75, 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """An average of at least k people's heads.

    Args:
        pixels: RGB and how far each pixel belongs to the person, uint8 (S, S, 4).
        landmarks: Where the five landmarks lie in it, float32 (5, 2) x, y.
    """

    pixels: Image
    landmarks: Floats


def fitted(head: Head, outline: Mask) -> Head:
    """Return a head whose hair reaches as far as a person's outline.

    Around the middle of the face, what lies between the features and the edge of the hair is stretched or squeezed to
    the outline, the more the less it points down.

    Args:
        head: Any average.
        outline: The person in the average's frame, bool (S, S).
    """
    side = len(head.pixels)
    x, y = (float(v) for v in head.landmarks[:3].mean(axis=0))

    def reach(mask: Mask) -> Floats:
        """Return how far a mask reaches from the middle without a gap for each of ANGLES directions, in pixels."""
        # Without the last flag, what lies beyond the frame is whatever was in memory.
        flags = cv2.WARP_POLAR_LINEAR | cv2.INTER_NEAREST | cv2.WARP_FILL_OUTLIERS
        rays = cv2.warpPolar(mask.astype(np.uint8), (side, ANGLES), (x, y), side, flags)
        out = np.where((rays > 0).all(axis=1), side, np.argmin(rays > 0, axis=1)).astype(np.float32)
        # Around a circle, the last direction is the first one's neighbour.
        around = np.pad(out, ANGLES // 4, mode="wrap")[None]
        return np.asarray(cv2.GaussianBlur(around, (0, 0), ANGLES / 60)[0, ANGLES // 4 : -(ANGLES // 4)], np.float32)

    inner = 0.9 * reach(oval(head.landmarks, (side, side)) > 0)
    own = np.maximum(reach(head.pixels[..., 3] > 127), inner + 1)
    down = np.sin(np.arange(ANGLES, dtype=np.float32) * np.float32(2 * np.pi / ANGLES))
    share = np.clip((DOWN[1] - down) / (DOWN[1] - DOWN[0]), 0, 1)
    wanted = own + share * (np.clip(reach(outline), inner + 1, STRETCH * own) - own)
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    radius = np.hypot(columns - x, rows - y)
    angle = np.mod(np.arctan2(rows - y, columns - x) * np.float32(ANGLES / (2 * np.pi)), ANGLES).astype(np.float32)

    def there(values: Floats) -> Floats:
        table = np.concatenate([values, values[:1]])[None].astype(np.float32)
        return np.asarray(cv2.remap(table, angle, np.zeros_like(angle), cv2.INTER_LINEAR), np.float32)

    near, far, edge = there(inner), there(np.maximum(wanted, inner + 1)), there(own)
    within = near + (radius - near) * (edge - near) / (far - near)
    source = np.where(radius < near, radius, np.where(radius < far, within, radius + edge - far))
    scale = source / np.maximum(radius, 1e-3)
    maps = (x + (columns - x) * scale).astype(np.float32), (y + (rows - y) * scale).astype(np.float32)
    return replace(head, pixels=cv2.remap(head.pixels, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def oval(landmarks: Floats, size: tuple[int, int]) -> Floats:
    """Return how far each pixel belongs to the face with these landmarks (5, 2), float32 (h, w) in [0, 1]."""
    eyes, nose, mouth = landmarks[:2].mean(axis=0), landmarks[2], landmarks[3:].mean(axis=0)
    apart = _apart(landmarks)
    x = eyes[0] + OVAL_TURN * (eyes[0] - nose[0])
    y = eyes[1] + OVAL_MIDDLE * (mouth[1] - eyes[1])
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    radius = np.hypot((columns - x) / (OVAL[0] * apart), (rows - y) / (OVAL[1] * apart))
    return np.asarray(np.clip((1 - radius) / OVAL_RIM, 0, 1), np.float32)


def faceless(head: Head) -> Image:
    """Return a head without the features of its face, its hair carried on beyond its outline, RGB uint8 (S, S, 3)."""
    face, landmarks = head.pixels, head.landmarks
    apart, size = _apart(landmarks), (face.shape[0], face.shape[1])
    own = shoulderless(head)[..., None]
    around = _combed(size, landmarks, hair_colour(head))
    out = around + own * (face[..., :3] - around)
    inner = oval(landmarks, size)[..., None]
    smooth = cv2.GaussianBlur(out, (0, 0), FEATURELESS * apart)
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    shade = np.ones(size, np.float32)
    for mark, above, half_width, half_height, dark in FEATURES:
        x, y = landmarks[mark][0], landmarks[mark][1] - above * apart
        shade *= 1 - dark * np.exp(
            -(((columns - x) / (half_width * apart)) ** 2) - ((rows - y) / (half_height * apart)) ** 2
        )
    out = out + inner * (smooth * shade[..., None] - out)
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def shoulderless(head: Head) -> Floats:
    """Return how far each pixel belongs to the head or its neck, float32 (S, S) in [0, 1]."""
    face, landmarks = head.pixels, head.landmarks
    apart = _apart(landmarks)
    mouth, middle = float(landmarks[3:, 1].mean()), float(landmarks[:, 0].mean())
    rows, columns = np.mgrid[: face.shape[0], : face.shape[1]].astype(np.float32)
    own = np.clip((face[..., 3] / np.float32(255) - FADE[0]) / (FADE[1] - FADE[0]), 0, 1)
    below = np.clip((mouth + NECK_END * apart - rows) / (SOFT * apart), 0, 1)
    beside = np.clip((NECK_HALF * apart - np.abs(columns - middle)) / (SOFT * apart), 0, 1)
    above = np.clip((mouth + CHIN * apart - rows) / (SOFT * apart), 0, 1)
    return np.asarray(own * below * np.maximum(above, beside), np.float32)


def with_head(content: Floats, head: Floats, own: Floats, landmarks: Floats) -> Floats:
    """Return a person's prototype with a head.

    Args:
        content: RGB float32 (h, w, 3), 0 to 255.
        head: A head without features that goes on to all sides, likewise.
        own: How far each pixel belongs to head or neck, float32 (h, w) in [0, 1].
        landmarks: float32 (5, 2) x, y of the face in it.
    """
    apart = _apart(landmarks)
    (x, y), mouth = landmarks.mean(axis=0), float(landmarks[3:, 1].mean())
    rows, columns = np.mgrid[: content.shape[0], : content.shape[1]].astype(np.float32)
    # Where the person's outline is wider than this head, its hair goes on.
    radius = np.hypot((columns - x) / (HAIR[0] * apart), (rows - y + HAIR_UP * apart) / (HAIR[1] * apart))
    hair = np.clip((1 - radius) / OVAL_RIM, 0, 1)
    hair *= np.clip((mouth + HAIR_END * apart - rows) / (SOFT * apart), 0, 1)
    weight = np.maximum(hair, own)[..., None]
    return np.asarray(content + weight * (head - content), np.float32)


def skin_colour(head: Head) -> Floats:
    """Return the colour of a head's skin, RGB float32 (3,): the median around its nose and cheeks."""
    x1, y1 = head.landmarks.min(axis=0).astype(int)
    x2, y2 = head.landmarks.max(axis=0).astype(int)
    middle = head.pixels[y1 + (y2 - y1) // 4 : y2, x1:x2, :3].reshape(-1, 3)
    return np.median(middle, axis=0).astype(np.float32)


def hair_colour(head: Head) -> Floats:
    """Return the colour of a head's hair, RGB float32 (3,): the median of what is above its forehead."""
    face, landmarks = head.pixels, head.landmarks
    eyes, apart = landmarks[:2].mean(axis=0), _apart(landmarks)
    half = max(int(apart / 2), 1)
    columns = slice(max(int(eyes[0]) - half, 0), int(eyes[0]) + half)
    above = face[: max(int(eyes[1] - 1.1 * apart), 1), columns].reshape(-1, 4)
    sure = above[above[:, 3] >= 128][:, :3]
    return np.median(sure if len(sure) else above[:, :3], axis=0).astype(np.float32)


def _combed(size: tuple[int, int], landmarks: Floats, colour: Floats) -> Floats:
    """Return hair in strands that run from the crown, RGB float32 (h, w, 3)."""
    apart = _apart(landmarks)
    crown = landmarks[:2].mean(axis=0) - np.array([0, 1.2 * apart], np.float32)
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    angle = np.arctan2(columns - crown[0], rows - crown[1])  # 0 straight down
    where = (angle / (2 * np.pi) + 0.5) * COUNT
    # Strands are looked up along their number; the last one meets the first.
    table = np.concatenate([STRANDS, STRANDS[:1]])[None]
    strand = cv2.remap(table, where.astype(np.float32), np.zeros_like(where, np.float32), cv2.INTER_LINEAR)
    return np.asarray(colour * strand[..., None], np.float32)


def _apart(landmarks: Floats) -> float:
    """Return the size of a face, as the distance of the eyes of a frontal one, at least a hundredth of a pixel."""
    across = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    # Turned to the side, eyes come close to each other and mouth and eyes do not.
    down = float(np.linalg.norm(landmarks[3:].mean(axis=0) - landmarks[:2].mean(axis=0)))
    return max(across, 0.9 * down, 1e-2)
