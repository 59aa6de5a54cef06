"""Treated regions: where a run, or another tool, replaced pixels; and baselines on exactly these regions.

What a treatment hides depends on how much it covers. Black on a face's box leaves hair and clothes to be recognised by;
black on all that a redraw replaces does not. So that like is compared with like, baselines are also made on the region
that was really treated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from anonymizer.core.errors import InputError
from anonymizer.core.geometry import integer_box
from anonymizer.core.records import Image, Mask, check_image
from anonymizer.evaluation.pairing import by_stem, stem
from anonymizer.evaluation.records import Pair, Subject
from anonymizer.evaluation.variants import Blur, Mosaic, Solid
from anonymizer.images.decode import read_image
from anonymizer.run.inputs import find_inputs

__all__ = ["ON_REGION", "MaskFolder", "OnRegion", "Regions"]

#: Filters by the name of the baseline that lays them on the treated region.
_FILTERS: dict[str, type[Blur | Mosaic | Solid]] = {f"{kind.name}-region": kind for kind in (Blur, Mosaic, Solid)}
#: Names of these baselines.
ON_REGION: tuple[str, ...] = tuple(_FILTERS)


class Regions(Protocol):
    """Knows what was treated in a picture."""

    def knows(self, pair: Pair) -> bool:
        """Return whether it is known what was treated in a picture."""
        ...

    def __call__(self, pair: Pair, size: tuple[int, int]) -> Mask | None:
        """Return bool (H, W) of (height, width), or None where that is not known."""
        ...


class MaskFolder:
    """Treated regions as pictures: of the same relative path as the original, 0 where nothing was done.

    Args:
        folder: Folder of masks.
        out: Where results will go, to refuse places inside.

    Raises:
        InputError: It cannot be read, or two masks differ in their suffix only.
    """

    def __init__(self, folder: Path, out: Path) -> None:
        self._files = by_stem(find_inputs(folder, out).files, "--regions")

    def knows(self, pair: Pair) -> bool:
        """Return whether there is a mask of a picture."""
        return stem(pair.name) in self._files

    def __call__(self, pair: Pair, size: tuple[int, int]) -> Mask | None:
        """Return bool (H, W), or None if there is no mask of the picture.

        Raises:
            InputError: The mask cannot be read or has another size.
        """
        found = self._files.get(stem(pair.name))
        if found is None:
            return None
        mask: Mask = np.asarray(read_image(found.path).pixels.any(axis=2), np.bool_)
        if mask.shape != size:
            raise InputError(f"{found.path}: expected a mask of the original's size {size}, got {mask.shape}")
        return mask


@dataclass(frozen=True, slots=True)
class OnRegion:
    """A filter on the whole treated region, see ``records.Variant``; its strength follows the largest subject.

    Args:
        name: One of ``ON_REGION``.
        regions: Knows what was treated.
    """

    name: str
    regions: Regions

    @property
    def strength(self) -> str:
        """One line for tables."""
        return f"{_FILTERS[self.name].strength}, on exactly what was treated"

    def __call__(self, pair: Pair, original: Image, subjects: Sequence[Subject]) -> Image:
        """Return the treated picture, equal to the original outside of the treated region.

        Raises:
            InputError: It is not known what was treated, or the picture has another shape or dtype.
        """
        out = check_image(original).copy()
        region = self.regions(pair, (original.shape[0], original.shape[1]))
        if region is None:
            raise InputError(f"{self.name}: it is not known what was treated in {pair.name}; leave this baseline out")
        boxes = [integer_box(subject.box) for subject in subjects]
        scale = max((float(np.sqrt((x2 - x1) * (y2 - y1))) for x1, y1, x2, y2 in boxes), default=1.0)
        out[region] = _FILTERS[self.name]().treat(out.copy(), scale)[region]
        return out
