"""Background fidelity: pixels outside of the anonymized regions, which nothing should have changed."""

from __future__ import annotations

import statistics
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from anonymizer.annotations.categories import Meanings, label_of
from anonymizer.annotations.coco import coco_from
from anonymizer.annotations.records import read_json
from anonymizer.core.records import Image, Instance, Mask
from anonymizer.evaluation.records import Pair
from anonymizer.images.decode import LOSSLESS, SUFFIXES, Decoded, decode_image, read_image
from anonymizer.images.encode import encode_image
from anonymizer.redraw.crops import anonymized_mask

__all__ = ["BackgroundFidelity", "RunRegions"]


class RunRegions:
    """The treated regions of a run, from the ``annotations.json`` it wrote.

    Args:
        path: That file.

    Raises:
        InputError: It is no COCO file.
    """

    def __init__(self, path: Path) -> None:
        document = read_json(path)
        listed = document.get("categories") if isinstance(document, dict) else None
        names = [str(item.get("name")) for item in listed or () if isinstance(item, dict)]
        # What the names meant was told to the run and does not stand here: what it treated is marked.
        told = {name: label_of(name) or "person" for name in names}
        self._known = {name for name in names if label_of(name) is not None}
        self._annotations = coco_from(document, path, Meanings(told))

    def knows(self, pair: Pair) -> bool:
        """Return whether the run says what it treated in a picture."""
        return any(self._annotations.image(name) is not None for name in self._names(pair))

    @staticmethod
    def _names(pair: Pair) -> tuple[str, ...]:
        # A run asked for another format writes other suffixes than its originals have.
        return pair.name, PurePosixPath(pair.name).with_suffix(pair.anonymized.suffix).as_posix()

    def __call__(self, pair: Pair, size: tuple[int, int]) -> Mask | None:
        """Return bool (H, W), or None if the run does not know the picture."""
        for name in self._names(pair):
            given = self._annotations.instances(name, size)
            if given is not None:
                return anonymized_mask(tuple(i for i in given.instances if self._was_treated(i)), size)
        return None

    def _was_treated(self, instance: Instance) -> bool:
        record = instance.record or {}
        category = self._annotations.categories.get(record.get("category_id"), {})
        return "action" in record or category.get("name") in self._known


class BackgroundFidelity:
    """Gathers changes outside of the treated regions.

    Lossless files are compared exactly. JPEG and other lossy files were encoded anew: there a proportion of changed
    pixels and the peak signal-to-noise ratio are given, beside that of encoding the whole original anew.
    """

    def __init__(self) -> None:
        self._exact: list[tuple[int, int]] = []
        self._lossy: list[tuple[float, float, float]] = []
        self._without = 0

    def add(self, pair: Pair, original: Image, anonymized: Image, treated: Mask | None) -> None:
        """Compare one picture.

        Args:
            pair: Its files.
            original: RGB uint8 (H, W, 3).
            anonymized: The same shape.
            treated: bool (H, W), or None if unknown: then the picture is only counted.

        Raises:
            InputError: The original cannot be read.
        """
        if treated is None:
            self._without += 1
            return
        outside = ~treated
        changed = (original != anonymized).any(axis=2) & outside
        if SUFFIXES.get(pair.anonymized.suffix.lower(), "") in LOSSLESS:
            self._exact.append((int(changed.sum()), int(outside.sum())))
        elif outside.any():
            again = _encoded_anew(read_image(pair.original), pair)
            proportion = float(changed.sum() / outside.sum())
            self._lossy.append((proportion, _error(original, anonymized, outside), _error(original, again, outside)))

    def summary(self) -> dict[str, Any]:
        """Return counts and values as plain data; a value without pictures is None.

        Keys: ``lossless`` (``pictures``, ``changed_pixels``, ``pixels``, ``pictures_with_changes``); ``lossy``
        (``pictures``, ``identical``, ``changed_share`` in [0, 1], ``psnr_db`` of the mean error, ``lowest_psnr_db``
        and ``median_psnr_db`` of a picture, ``encoding_alone_psnr_db``); ``unknown``, pictures whose regions are not
        known. Where nothing differs there is no ratio to give; ``identical`` counts such pictures.
        """
        proportions, errors, alone = ([row[column] for row in self._lossy] for column in range(3))
        return {
            "lossless": {
                "pictures": len(self._exact),
                "changed_pixels": sum(changed for changed, _ in self._exact) if self._exact else None,
                "pixels": sum(pixels for _, pixels in self._exact),
                "pictures_with_changes": sum(changed > 0 for changed, _ in self._exact),
            },
            "lossy": {
                "pictures": len(errors),
                "identical": proportions.count(0.0),
                "changed_share": statistics.fmean(proportions) if proportions else None,
                "psnr_db": _psnr(statistics.fmean(errors)) if errors else None,
                "lowest_psnr_db": _psnr(max(errors)) if errors else None,
                "median_psnr_db": _psnr(statistics.median(errors)) if errors else None,
                "encoding_alone_psnr_db": _psnr(statistics.fmean(alone)) if alone else None,
            },
            "unknown": self._without,
        }


def _encoded_anew(decoded: Decoded, pair: Pair) -> Image:
    data = encode_image(decoded.pixels, decoded, pair.anonymized.suffix)
    return decode_image(data, pair.name).pixels


def _error(a: Image, b: Image, where: Mask) -> float:
    """Return the mean squared difference in levels of 0 to 255, in bands so that huge pictures fit in memory."""
    total = 0
    for top in range(0, len(a), 512):
        band = slice(top, top + 512)
        difference = a[band][where[band]].astype(np.int32) - b[band][where[band]]
        total += int((difference * difference).sum())
    return total / (3 * int(where.sum()))


def _psnr(error: float) -> float | None:
    return None if error == 0 else float(10 * np.log10(255.0**2 / error))
