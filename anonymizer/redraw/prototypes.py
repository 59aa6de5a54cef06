"""Faces from which redraws start: averages over at least k training pictures each.

A small model that starts from pure noise has to invent everything. For a face it starts from a noised average of k
other people's (the k-same idea of Newton, Sweeney and Malin, 2005) and adds the detail. The start is made from five
landmarks and the mask, which the redraw keeps on purpose, from what surrounds the mask, and from chance; no pixel under
the mask is read. Whoever recognises a source of an average can tell it from the k - 1 others with a probability of at
most 1/k.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import ModelError
from anonymizer.core.geometry import IntBox, dilate
from anonymizer.core.records import Instance
from anonymizer.redraw.crops import continued
from anonymizer.redraw.diffusion import InpaintJob

__all__ = ["FaceBank", "Head", "affine", "skin_colour", "turn", "usual_landmarks"]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

#: Where a face's five landmarks (eyes, nose, corners of the mouth) lie in its box, as shares: the mean over LFW.
USUAL_LANDMARKS = np.array([[0.30, 0.40], [0.70, 0.40], [0.50, 0.58], [0.34, 0.77], [0.66, 0.77]], np.float32)
#: Luminance of ordinary surroundings, for which the averages are meant, and the limits of the factor for others.
USUAL_LIGHT = 112.0
LIGHT_LIMITS = (0.65, 1.2)
#: Faces follow the brightness around them less than in proportion: they are seldom lit like the wall behind.
LIGHT_POWER = 0.4
#: Faces drawn by chance of which the best fitting is taken, the rim compared, in pixels, and the shade below a chin.
CANDIDATES, RING, SHADE = 6, 4, 0.8
#: The face itself around the landmarks of an average: half width and half height in distances of the eyes, where its
#: middle lies on the way from the eyes to the mouth, how far it moves against the turn of the nose, and its soft rim.
OVAL, OVAL_MIDDLE, OVAL_TURN, OVAL_RIM = (1.12, 1.58), 0.4, 0.4, 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """An average of at least k people's heads.

    Args:
        pixels: RGB and how far each pixel belongs to the person, uint8 (S, S, 4).
        landmarks: Where the five landmarks lie in it, float32 (5, 2) x, y.
    """

    pixels: Image
    landmarks: Floats


@dataclass(frozen=True, slots=True, eq=False)
class FaceBank:
    """Averages of k aligned heads each.

    Args:
        faces: RGB and how far each pixel belongs to the person, uint8 (M, S, S, 4).
        landmarks: Where the five landmarks lie in each, float32 (M, 5, 2) x, y.
        k: Least number of people behind an average.
    """

    faces: Image
    landmarks: Floats
    k: int

    @classmethod
    def load(cls, path: Path) -> FaceBank:
        """Read a bank from a safetensors file.

        Raises:
            ModelError: The file does not hold average faces.
        """
        tensors = _tensors(path, ("faces", "landmarks", "k"))
        faces, landmarks = tensors["faces"], tensors["landmarks"]
        if faces.shape[3:] != (4,) or faces.dtype != np.uint8 or landmarks.shape != (len(faces), 5, 2):
            raise ModelError(f"{path}: expected faces (M, S, S, 4) and landmarks (M, 5, 2), got {faces.shape}")
        return cls(faces, landmarks.astype(np.float32), int(tensors["k"][0]))

    def begin(
        self, job: InpaintJob, face: Instance, window: IntBox, rng: np.random.Generator, strength: float
    ) -> InpaintJob:
        """Return a job that starts from an average face.

        Args:
            job: One crop to paint.
            face: The face that it shows.
            window: Integer xyxy in the picture that the crop shows.
            rng: Source of chance.
            strength: Share of the noise schedule that the average passes through, in (0, 1].
        """
        scale = np.array(job.mask.shape[::-1], np.float32) / (window[2] - window[0], window[3] - window[1])
        marks = usual_landmarks(face.box) if face.landmarks is None else face.landmarks
        placed = ((marks - np.array(window[:2], np.float32)) * scale).astype(np.float32)
        return replace(job, start=self.draw(job.image, job.mask, placed, rng), strength=strength)

    def draw(self, image: Image, mask: Mask, landmarks: Floats, rng: np.random.Generator) -> Image:
        """Return the crop with an average face under the mask.

        Args:
            image: Crop, RGB uint8 (h, w, 3); only pixels outside the mask are read.
            mask: bool (h, w), what is to be painted.
            landmarks: float32 (5, 2) x, y in the crop.
            rng: Chooses among the averages that turn the head alike.
        """
        size, bright = (image.shape[1], image.shape[0]), _light(image, mask)
        below = dilate(mask, RING) & ~mask
        below[: max(int(landmarks[3:, 1].mean()), 0)] = False
        throat = image[below].mean(axis=0) if below.any() else None

        def apart(head: Head) -> float:
            return 0.0 if throat is None else float(np.abs(SHADE * bright * skin_colour(head) - throat).sum())

        # Of a few drawn by chance, the one whose skin is nearest to what is below the chin: a neck of the same colour.
        chosen = min(self._candidates(landmarks, rng), key=apart)
        matrix = affine(chosen.landmarks, landmarks)
        face = cv2.warpAffine(chosen.pixels[..., :3], matrix, size, borderMode=cv2.BORDER_REPLICATE)
        inner = _oval(chosen.landmarks, (chosen.pixels.shape[0], chosen.pixels.shape[1]))
        own = cv2.warpAffine(inner, matrix, size)[..., None]
        # Beyond the face itself an average shows what was behind its sources: there the surroundings go on.
        around = continued(image, mask)
        content = around + own * (face.astype(np.float32) * bright - around)
        out = image.copy()
        out[mask] = np.clip(np.rint(content[mask]), 0, 255).astype(np.uint8)
        return out

    def _candidates(self, landmarks: Floats, rng: np.random.Generator) -> list[Head]:
        """Return a few averages drawn by chance from those that turn the head like landmarks (5, 2)."""
        turns = np.array([turn(marks) for marks in self.landmarks])
        near = np.argsort(np.abs(turns - turn(landmarks)), kind="stable")[: max(8, len(turns) // 3)]
        chosen = rng.choice(near, CANDIDATES, replace=len(near) < CANDIDATES)
        return [Head(self.faces[int(n)], self.landmarks[int(n)]) for n in chosen]


def usual_landmarks(box: Floats) -> Floats:
    """Return where the landmarks of a face with this box (4,) xyxy usually lie, float32 (5, 2)."""
    return (box[:2] + USUAL_LANDMARKS * (box[2:] - box[:2])).astype(np.float32)


def skin_colour(head: Head) -> Floats:
    """Return the colour of a head's skin, RGB float32 (3,): the median around its nose and cheeks."""
    x1, y1 = head.landmarks.min(axis=0).astype(int)
    x2, y2 = head.landmarks.max(axis=0).astype(int)
    middle = head.pixels[y1 + (y2 - y1) // 4 : y2, x1:x2, :3].reshape(-1, 3)
    return np.median(middle, axis=0).astype(np.float32)


def _oval(landmarks: Floats, size: tuple[int, int]) -> Floats:
    """Return how far each pixel belongs to the face with these landmarks (5, 2), float32 (h, w) in [0, 1]."""
    eyes, nose, mouth = landmarks[:2].mean(axis=0), landmarks[2], landmarks[3:].mean(axis=0)
    apart = _apart(landmarks)
    x = eyes[0] + OVAL_TURN * (eyes[0] - nose[0])
    y = eyes[1] + OVAL_MIDDLE * (mouth[1] - eyes[1])
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    radius = np.hypot((columns - x) / (OVAL[0] * apart), (rows - y) / (OVAL[1] * apart))
    return np.asarray(np.clip((1 - radius) / OVAL_RIM, 0, 1), np.float32)


def turn(landmarks: Floats) -> float:
    """Return how far the head is turned: where the nose lies between the eyes, 0 in the middle."""
    left, right, nose = landmarks[0], landmarks[1], landmarks[2]
    across = right - left
    length = float(across @ across)
    return float((nose - left) @ across) / length - 0.5 if length > 1e-6 else 0.0


def affine(source: Floats, target: Floats) -> Floats:
    """Return the affine map (2, 3) that takes five points nearest to five others."""
    system = np.concatenate([source, np.ones((5, 1), np.float32)], axis=1)
    solution, *_ = np.linalg.lstsq(system, target, rcond=None)
    return np.asarray(solution.T, np.float32)


def _light(image: Image, mask: Mask) -> float:
    """Return the brightness of what surrounds a mask relative to ordinary surroundings, limited."""
    outside = image[~mask]
    if not outside.size:
        return 1.0
    return float(np.clip((float(outside.mean()) / USUAL_LIGHT) ** LIGHT_POWER, *LIGHT_LIMITS))


def _tensors(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            return {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: expected a bank of averages, got {error}") from error


def _apart(landmarks: Floats) -> float:
    """Return the size of a face, as the distance of the eyes of a frontal one, at least a hundredth of a pixel."""
    across = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    # Turned to the side, eyes come close to each other and mouth and eyes do not.
    down = float(np.linalg.norm(landmarks[3:].mean(axis=0) - landmarks[:2].mean(axis=0)))
    return max(across, 0.9 * down, 1e-2)
