"""The released pictures as variants, beside the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anonymizer.core.errors import InputError
from anonymizer.core.records import Image
from anonymizer.evaluation.records import Pair, Subject
from anonymizer.images.decode import read_image

__all__ = ["AGAIN", "ANONYMIZED", "CONTROL", "Released", "read_released"]

ANONYMIZED, AGAIN, CONTROL = "anonymized", "again", "control"


def read_released(path: Path, size: tuple[int, int] | None) -> Image:
    """Return a released picture, RGB uint8 (H, W, 3), resized to (height, width) where a size is given.

    Raises:
        InputError: It cannot be read.
    """
    image = read_image(path).pixels
    if size is None or image.shape[:2] == size:
        return image
    import cv2

    shrinks = image.shape[0] * image.shape[1] > size[0] * size[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size[::-1], interpolation=method), np.uint8)


@dataclass(frozen=True, slots=True)
class Released:
    """Reads what was released, see ``records.Variant``: ``anonymized``, or ``again`` for the second run."""

    name: str = ANONYMIZED
    strength: str = "the released pictures"

    def __call__(self, pair: Pair, original: Image, subjects: Sequence[Subject]) -> Image:
        """Return the released picture, RGB uint8 of the original's shape.

        Raises:
            InputError: It cannot be read or has another size, or there is no second one.
        """
        del subjects
        path = pair.again if self.name == AGAIN else pair.anonymized
        if path is None:
            raise InputError(f"{pair.name}: was not anonymized a second time")
        image = read_released(path, pair.size)
        if image.shape != original.shape:
            raise InputError(f"{path}: {image.shape}, expected the original's {original.shape}; it changed meanwhile")
        return image
