"""Face textures: average faces without shape, laid on a head by where its vertices lie on the middle head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.body import HEAD_PART, Body, once
from anonymizer.avatar.mesh import normals
from anonymizer.core.errors import ModelError

__all__ = ["NEUTRAL", "SIDE", "WIDTH", "Face", "Faces", "face_part", "places", "texel"]

Floats = NDArray[np.float32]

#: Rows and columns of a texture, and texels a metre: a pair of eyes is 42 texels apart, as in its photographs.
SIDE, WIDTH, DENSITY = 128, 112, 680.0
#: Row of the eyes.
EYES = 45.0
#: Value of a texel that is as bright as the skin.
NEUTRAL = 128
#: Oval of the face in texels: middle row, half height, half width, and the width of its soft rim as a share.
OVAL, RIM = (64.0, 60.0, 50.0), 0.24
#: Rows of the forehead over which a texture fades into skin: photographs have hair there.
FOREHEAD = (10.0, 24.0)
#: Rows of the cheeks, and columns of each.
CHEEKS = slice(64, 84), slice(18, 38), slice(74, 94)
#: Rows and columns of the face without its rim.
FRONT = np.s_[32:112, 20:92]
#: Greatest share of a second average in a face, and blur in texels beyond which what is coarser stays as it is mixed.
MIXED, FINE = 0.5, 2.5
#: Brows, eyes, mouth and chin: middle row and columns from the face's middle, half height and half width of ovals.
BROWS, EYE, LIPS, CHIN = (
    *(((38.0, 23.0), (7.0, 18.0)), ((46.0, 22.5), (6.0, 14.0))),
    *(((92.0, 0.0), (8.0, 21.0)), ((98.0, 0.0), (24.0, 38.0))),
)
FEATURES = (BROWS, EYE, LIPS, CHIN)
#: Powers that darkness of these is raised to, least and most, of men and of women: brows that are plucked or painted,
#: lashes, lips, and a beard's shadow, which few women have, though averages of theirs hold faces of men.
DARKER = (
    ((0.7, 1.7), (0.85, 1.3), (0.7, 1.2), (0.7, 1.3)),
    ((0.5, 1.4), (1.1, 1.8), (0.9, 1.5), (0.35, 0.8)),
)
#: Least ratio of a texel.
LEAST = np.float32(0.02)
#: How clearly wrinkles and pores show, least and most.
SKIN_DETAIL = (0.55, 1.15)
#: Share of women who wear lipstick, and what it leaves of green and blue, least and most; ratio of red to green of skin
#: from which a texel is of lips, and over how much more it becomes so.
PAINTED, PAINT, REDDISH = 0.5, (0.55, 0.9), (1.03, 0.1)
#: Columns that one call of remap takes at most.
CHUNK = 30_000


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face.

    Args:
        number: Which of all.
        ratios: float32 (SIDE, WIDTH, 3), its colours as ratios of its skin.
    """

    number: int
    ratios: Floats

    def look_up(self, at: Floats, ahead: Floats) -> Floats:
        """Return ratios float32 (N, 3), 1 beyond the face.

        Args:
            at: float32 (N, 2), column and row of each point.
            ahead: float32 (N,), how far normals look ahead on the middle head, in [-1, 1].
        """
        import cv2

        x, y = np.ascontiguousarray(at[:, 0])[None], np.ascontiguousarray(at[:, 1])[None]
        parts = [
            cv2.remap(
                self.ratios,
                x[:, k : k + CHUNK],
                y[:, k : k + CHUNK],
                cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REPLICATE,
            )[0]
            for k in range(0, len(at), CHUNK)
        ]
        found = np.concatenate(parts) if parts else np.zeros((0, 3), np.float32)
        across = (at[:, 0] - (WIDTH - 1) / 2) / OVAL[2]
        down = (at[:, 1] - OVAL[0]) / OVAL[1]
        inside = np.clip((1 - np.hypot(across, down)) / RIM, 0, 1)
        inside = inside * np.clip((at[:, 1] - FOREHEAD[0]) / (FOREHEAD[1] - FOREHEAD[0]), 0, 1)
        inside = inside * np.clip(ahead / 0.3, 0, 1)
        return np.asarray(1 + (found - 1) * inside[:, None], np.float32)


class Faces:
    """Average faces of at least k people each.

    Args:
        textures: uint8 (M, SIDE, WIDTH, 3), ``NEUTRAL`` is the skin's own colour.
        female: bool (M,).
    """

    def __init__(self, textures: NDArray[np.uint8], female: NDArray[np.bool_]) -> None:
        self._textures = textures
        self._numbers = np.flatnonzero(~female), np.flatnonzero(female)

    @classmethod
    def load(cls, path: Path) -> Faces:
        """Return the textures of a safetensors file.

        Raises:
            ModelError: The file does not hold face textures of men and women.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="numpy") as file:
                textures, female = file.get_tensor("textures"), file.get_tensor("female")
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: expected face textures, got {error}") from error
        right = textures.shape[1:] == (SIDE, WIDTH, 3) and textures.dtype == np.uint8
        if not right or female.shape != (len(textures),) or len(set(female.tolist())) < 2:
            raise ModelError(
                f"{path}: expected textures uint8 (M, {SIDE}, {WIDTH}, 3) of both sexes, got {textures.dtype} "
                f"{textures.shape}; fetch the weights again"
            )
        return cls(textures, female.astype(np.bool_))

    def any(self, rng: np.random.Generator, female: bool) -> Face:
        """Return a face drawn by chance: an average with up to half of another of the same sex, made up by chance."""
        first, second = rng.choice(self._numbers[int(female)], 2, replace=False)
        ratios, other = (self._ratios(int(number)) for number in (first, second))
        share = np.float32(rng.uniform(0, MIXED))
        mixed = ratios + share * (other - ratios)
        # What lies between two faces is softer than either.
        fine = mixed - _blurred(mixed)
        lost = (1 - share) ** 2 + share**2
        ratios = np.maximum(mixed + fine * np.float32(rng.uniform(*SKIN_DETAIL) / np.sqrt(lost) - 1), LEAST)
        for oval, (least, most) in zip(FEATURES, DARKER[int(female)], strict=True):
            power = _oval(*oval)[..., None] * np.float32(rng.uniform(least, most) - 1)
            # Only what is darker than the skin.
            ratios = ratios * np.minimum(ratios, 1) ** power
        if female and rng.random() < PAINTED:
            red = np.array([1.0, rng.uniform(*PAINT), rng.uniform(*PAINT)], np.float32)
            lips = np.clip((ratios[..., 0] / ratios[..., 1] - REDDISH[0]) / REDDISH[1], 0, 1) * _oval(*LIPS)
            ratios = ratios * (1 + lips[..., None] * (red - 1))
        return Face(int(first), ratios.astype(np.float32))

    def _ratios(self, number: int) -> Floats:
        """Return colours as ratios of skin; the face as a whole has its brightness: cheeks alone may have been lit."""
        ratios = self._textures[number].astype(np.float32) / NEUTRAL
        return np.asarray(ratios / np.median(ratios[FRONT]), np.float32)


def _oval(middle: tuple[float, float], half: tuple[float, float]) -> Floats:
    """Return 1 in an oval of the face and its mirror image and 0 outside, with a soft rim, float32 (SIDE, WIDTH)."""
    rows, columns = np.mgrid[:SIDE, :WIDTH]
    across = np.abs(np.abs(columns - (WIDTH - 1) / 2) - middle[1]) / half[1]
    return np.clip((1 - np.hypot((rows - middle[0]) / half[0], across)) / 0.4, 0, 1).astype(np.float32)


def _blurred(values: Floats) -> Floats:
    """Return a texture without what is fine."""
    import cv2

    return np.asarray(cv2.GaussianBlur(values, (0, 0), FINE), np.float32)


def texel(x: Floats, up: Floats) -> Floats:
    """Return columns and rows (N, 2) of points of the middle head: x and height above the eyes, in metres."""
    return np.stack([(WIDTH - 1) / 2 + x * np.float32(DENSITY), np.float32(EYES) - up * np.float32(DENSITY)], -1)


@once
def places(body: Body) -> Floats:
    """Return column, row and how far it looks ahead of each vertex on the middle head, float32 (V, 3)."""
    middle = body.middle
    eye = middle.heads[body.number("eye.L")]
    at = texel(middle.vertices[:, 0], middle.vertices[:, 2] - eye[2])
    ahead = -normals(middle.vertices, body.faces)[:, 1]
    return np.concatenate([at, ahead[:, None]], 1).astype(np.float32)


@once
def face_part(body: Body) -> NDArray[np.bool_]:
    """Return which vertices lie in the oval of the face, bool (V,)."""
    column, row, ahead = places(body).T
    across, down = (column - (WIDTH - 1) / 2) / OVAL[2], (row - OVAL[0]) / OVAL[1]
    return np.asarray((np.hypot(across, down) <= 1) & (ahead > 0) & (body.parts == HEAD_PART))
