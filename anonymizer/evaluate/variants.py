"""The released pictures as variants, beside the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anonymizer.dataset.images import read_image
from anonymizer.errors import InputError
from anonymizer.evaluate.records import Pair, Subject
from anonymizer.types import Image

__all__ = ["AGAIN", "ANONYMIZED", "Released"]

ANONYMIZED, AGAIN = "anonymized", "again"


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
        image = read_image(path).pixels
        if image.shape != original.shape:
            raise InputError(f"{path}: {image.shape}, expected the original's {original.shape}; it changed meanwhile")
        return image
