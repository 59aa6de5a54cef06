"""Galleries of averages over at least k training pictures each: the k-same idea (Newton, Sweeney, Malin, 2005).

Whoever recognises a source of an average can tell it from the k - 1 others with a probability of at most 1/k.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.errors import ModelError
from anonymizer.geometry import dilate
from anonymizer.redraw.crops import continued
from anonymizer.redraw.heads import Head, faceless, fitted, oval, shoulderless, skin_colour, with_head
from anonymizer.redraw.prompts import COLOURS

__all__ = ["FaceGallery", "PersonGallery", "dyed", "light", "put_head", "row_spans", "under"]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

#: Luminance of ordinary surroundings, for which the colours below are meant.
USUAL_LIGHT = 112.0
LIGHT_LIMITS = (0.65, 1.2)
#: Persons follow the brightness around them less than in proportion: they are seldom lit like the wall behind.
LIGHT_POWER = 0.4
#: Heads in the height of a standing person.
HEADS = 7.3
#: Height over width from which a person's box is taken for the whole figure.
WHOLE = 1.9
#: Faces drawn by chance of which the best fitting is taken, the rim compared, in pixels, and the shade below a chin.
CANDIDATES, RING, SHADE = 6, 4, 0.8
#: Where upper and lower clothes begin and end, as shares of the height, and how strongly they are dyed.
CLOTHES = ((0.15, 0.48), (0.44, 0.92))
DYE = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class FaceGallery:
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
    def load(cls, path: Path) -> FaceGallery:
        """Read a gallery from a safetensors file.

        Raises:
            ModelError: The file does not hold a gallery.
        """
        tensors = _tensors(path, ("faces", "landmarks", "k"))
        faces, landmarks = tensors["faces"], tensors["landmarks"]
        if faces.shape[3:] != (4,) or faces.dtype != np.uint8 or landmarks.shape != (len(faces), 5, 2):
            raise ModelError(f"{path}: expected faces (M, S, S, 4) and landmarks (M, 5, 2), got {faces.shape}")
        return cls(faces, landmarks.astype(np.float32), int(tensors["k"][0]))

    def head(self, number: int) -> Head:
        """Return one average."""
        return Head(self.faces[number], self.landmarks[number])

    def any(self, rng: np.random.Generator) -> Head:
        """Return an average drawn by chance."""
        return self.head(int(rng.integers(len(self.faces))))

    def fitting(self, outline: Mask, landmarks: Floats, rng: np.random.Generator) -> Head:
        """Return an average drawn by chance whose hair is fitted to a person's outline.

        Args:
            outline: bool (h, w).
            landmarks: float32 (5, 2) x, y of the person's face in it.
            rng: Source of chance.
        """
        side = self.faces.shape[1]

        def seen(head: Head) -> Mask:
            matrix = _affine(landmarks, head.landmarks)
            return np.asarray(cv2.warpAffine(outline.astype(np.uint8), matrix, (side, side)) > 0)

        def apart(head: Head) -> float:
            chin = round(float(head.landmarks[3:, 1].max()))
            return float((seen(head) != (head.pixels[..., 3] > 127))[:chin].mean())

        # Long hair for long hair, as far as a few drawn by chance have it.
        best = min(self._candidates(landmarks, rng), key=apart)
        return fitted(best, seen(best))

    def draw(
        self, image: Image, mask: Mask, landmarks: Floats, rng: np.random.Generator, head: Head | None = None
    ) -> Image:
        """Return the crop with an average face under the mask.

        Args:
            image: Crop, RGB uint8 (h, w, 3); only pixels outside the mask are read.
            mask: bool (h, w), what is to be painted.
            landmarks: float32 (5, 2) x, y in the crop.
            rng: Chooses among the averages that turn the head alike.
            head: The one whose hair and neck are already around the mask, and then under it too; None: somebody else's
                are, and the face alone is drawn.
        """
        size, bright = (image.shape[1], image.shape[0]), light(image, mask)
        below = dilate(mask, RING) & ~mask
        below[: max(int(landmarks[3:, 1].mean()), 0)] = False
        throat = image[below].mean(axis=0) if below.any() else None

        def apart(head: Head) -> float:
            return 0.0 if throat is None else float(np.abs(SHADE * bright * skin_colour(head) - throat).sum())

        # Of a few drawn by chance, the one whose skin is nearest to what is below the chin: a neck of the same colour.
        chosen = min(self._candidates(landmarks, rng), key=apart) if head is None else head
        matrix = _affine(chosen.landmarks, landmarks)
        face = cv2.warpAffine(chosen.pixels[..., :3], matrix, size, borderMode=cv2.BORDER_REPLICATE)
        inner = oval(chosen.landmarks, (chosen.pixels.shape[0], chosen.pixels.shape[1]))
        if head is not None:
            inner = np.maximum(inner, shoulderless(head))
        own = cv2.warpAffine(inner, matrix, size)[..., None]
        # Beyond the face itself an average shows what was behind its sources: there the surroundings go on.
        around = continued(image, mask)
        return under(image, mask, around + own * (face.astype(np.float32) * bright - around))

    def _candidates(self, landmarks: Floats, rng: np.random.Generator) -> list[Head]:
        """Return a few averages drawn by chance from those that turn the head like landmarks (5, 2)."""
        turns = np.array([_turn(marks) for marks in self.landmarks])
        near = np.argsort(np.abs(turns - _turn(landmarks)), kind="stable")[: max(8, len(turns) // 3)]
        return [self.head(int(n)) for n in rng.choice(near, CANDIDATES, replace=len(near) < CANDIDATES)]


def put_head(content: Floats, landmarks: Floats, head: Head) -> Floats:
    """Return a person's prototype, RGB float32 (h, w, 3), with a head without features.

    Args:
        content: The prototype without a head.
        landmarks: float32 (5, 2) x, y of the face in it.
        head: Any average, or one that is fitted.
    """
    matrix, size = _affine(head.landmarks, landmarks), (content.shape[1], content.shape[0])
    pixels = cv2.warpAffine(faceless(head), matrix, size, borderMode=cv2.BORDER_REPLICATE)
    own = cv2.warpAffine(shoulderless(head), matrix, size)
    return with_head(content, pixels.astype(np.float32), own, landmarks)


@dataclass(frozen=True, slots=True, eq=False)
class PersonGallery:
    """Averages of k whole persons each, every row of the mask stretched to the full width.

    Args:
        persons: RGB uint8 (M, H, W, 3), head at the top and feet at the bottom.
        k: Least number of photos behind an average.
    """

    persons: Image
    k: int

    @classmethod
    def load(cls, path: Path) -> PersonGallery:
        """Read a gallery from a safetensors file.

        Raises:
            ModelError: The file does not hold a gallery.
        """
        tensors = _tensors(path, ("persons", "k"))
        persons = tensors["persons"]
        if persons.ndim != 4 or persons.shape[3] != 3 or persons.dtype != np.uint8:
            raise ModelError(f"{path}: expected persons uint8 (M, H, W, 3), got {persons.dtype} {persons.shape}")
        return cls(persons, int(tensors["k"][0]))

    def draw(self, mask: Mask, box: Floats, face: Floats | None, chosen: int, clothes: tuple[str, str]) -> Floats:
        """Return an average person that fills a mask, RGB float32 (h, w, 3), 0 to 255.

        Args:
            mask: bool (h, w), what is to be painted.
            box: The person's box (4,) xyxy in the mask's pixels.
            face: The person's face box (4,) xyxy likewise, or None if no face is known.
            chosen: Which average.
            clothes: Colour words of upper and lower clothes to dye the average in.
        """
        person = dyed(self.persons[chosen], clothes)
        top, head = _proportions(box, face)
        left, right = row_spans(mask)
        height, width = mask.shape
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        # Rows by the height of a whole figure, columns by the mask's span in the row.
        down = (rows + 0.5 - top) / (HEADS * head) * person.shape[0] - 0.5
        across = (columns + 0.5 - left[:, None]) / (right - left)[:, None] * person.shape[1] - 0.5
        content = cv2.remap(
            person,
            across.astype(np.float32),
            down.astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(content, np.float32)


def dyed(person: Image, clothes: tuple[str, str]) -> Image:
    """Return an average person (H, W, 3) with upper and lower clothes in the colours named.

    Averages of many clothes are all the same murky brown. Their light and shade stays, and what looks like skin.
    """
    pixels = person.astype(np.float32)
    height = (np.arange(len(person), dtype=np.float32)[:, None] + 0.5) / len(person)
    grey = pixels.mean(axis=2)
    skin = np.clip((pixels[..., 0] - pixels[..., 2] - 45) / 30, 0, 1)
    out = pixels.copy()
    for word, (first, last) in zip(clothes, CLOTHES, strict=True):
        inside = np.clip((height - first) / 0.04, 0, 1) * np.clip((last - height) / 0.04, 0, 1) * (1 - skin)
        shade = np.clip(grey / max(float((grey * inside).sum() / max(inside.sum(), 1e-6)), 1.0), 0.45, 1.5)
        dye = np.array(COLOURS[word][0], np.float32) * shade[..., None]
        out += DYE * inside[..., None] * (dye - out)
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def row_spans(mask: Mask) -> tuple[Floats, Floats]:
    """Return where the mask begins and ends in each row, smoothed along the rows, float32 (h,) each.

    Rows without any mask take the span of the nearest row that has some.
    """
    filled = np.flatnonzero(mask.any(axis=1))
    if not filled.size:
        return np.zeros(len(mask), np.float32), np.full(len(mask), mask.shape[1], np.float32)
    first = mask[filled].argmax(axis=1).astype(np.float32)
    last = mask.shape[1] - mask[filled][:, ::-1].argmax(axis=1).astype(np.float32)
    rows = np.arange(len(mask))
    sigma = max(len(filled) / 60, 0.8)
    left, right = (_smooth(np.interp(rows, filled, side), sigma) for side in (first, last))
    return left, np.maximum(right, left + 1)


def _proportions(box: Floats, face: Floats | None) -> tuple[float, float]:
    """Return the top of the head and the height of the head, in pixels."""
    x1, y1, x2, y2 = (float(v) for v in box)
    # A box much wider than a standing person shows only the upper part of one.
    whole = y2 - y1 if (y2 - y1) >= WHOLE * (x2 - x1) else 2.3 * (x2 - x1)
    if face is not None:
        # A face is a good ruler where the figure is cut, a poor one where it is small beside the figure's own height.
        head = 1.25 * float(face[3] - face[1])
        whole = max(min(HEADS * head, 1.25 * whole), y2 - y1)
        # A raised arm is no head: the clothes begin below the face.
        return float(face[3]) - whole / HEADS, whole / HEADS
    return y1, whole / HEADS


def _smooth(values: NDArray[np.float64], sigma: float) -> Floats:
    """Return a sequence (n,) smoothed with a Gaussian."""
    column = values.astype(np.float32)[:, None]
    return np.asarray(cv2.GaussianBlur(column, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)[:, 0], np.float32)


def _tensors(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            return {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: expected a gallery of averages, got {error}") from error


def light(image: Image, mask: Mask) -> float:
    """Return the brightness of what surrounds a mask relative to ordinary surroundings, limited."""
    outside = image[~mask]
    if not outside.size:
        return 1.0
    return float(np.clip((float(outside.mean()) / USUAL_LIGHT) ** LIGHT_POWER, *LIGHT_LIMITS))


def under(image: Image, mask: Mask, content: Floats) -> Image:
    """Return a crop (h, w, 3) with ``content``, float32 0 to 255, under the mask."""
    out = image.copy()
    out[mask] = np.clip(np.rint(content[mask]), 0, 255).astype(np.uint8)
    return out


def _turn(landmarks: Floats) -> float:
    """Return how far the head is turned: where the nose lies between the eyes, 0 in the middle."""
    left, right, nose = landmarks[0], landmarks[1], landmarks[2]
    across = right - left
    length = float(across @ across)
    return float((nose - left) @ across) / length - 0.5 if length > 1e-6 else 0.0


def _affine(source: Floats, target: Floats) -> Floats:
    """Return the affine map (2, 3) that takes five points nearest to five others."""
    system = np.concatenate([source, np.ones((5, 1), np.float32)], axis=1)
    solution, *_ = np.linalg.lstsq(system, target, rcond=None)
    return np.asarray(solution.T, np.float32)
