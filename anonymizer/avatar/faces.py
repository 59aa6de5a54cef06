"""Face textures: average faces without shape, laid on a head by where its vertices lie on the middle head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.body import HEAD_PART, Body
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
        """Return a face drawn by chance."""
        number = int(rng.choice(self._numbers[int(female)]))
        ratios = self._textures[number].astype(np.float32) / NEUTRAL
        # The face as a whole has the skin's brightness: of photographs the cheeks alone may have been lit.
        return Face(number, ratios / np.median(ratios[FRONT]))


def texel(x: Floats, up: Floats) -> Floats:
    """Return columns and rows (N, 2) of points of the middle head: x and height above the eyes, in metres."""
    return np.stack([(WIDTH - 1) / 2 + x * np.float32(DENSITY), np.float32(EYES) - up * np.float32(DENSITY)], -1)


def places(body: Body) -> Floats:
    """Return column, row and how far it looks ahead of each vertex on the middle head, float32 (V, 3)."""
    middle = body.middle
    eye = middle.heads[body.number("eye.L")]
    at = texel(middle.vertices[:, 0], middle.vertices[:, 2] - eye[2])
    ahead = -normals(middle.vertices, body.faces)[:, 1]
    return np.concatenate([at, ahead[:, None]], 1).astype(np.float32)


def face_part(body: Body) -> NDArray[np.bool_]:
    """Return which vertices lie in the oval of the face, bool (V,)."""
    column, row, ahead = places(body).T
    across, down = (column - (WIDTH - 1) / 2) / OVAL[2], (row - OVAL[0]) / OVAL[1]
    return np.asarray((np.hypot(across, down) <= 1) & (ahead > 0) & (body.parts == HEAD_PART))
