"""Screening of pairs: what makes a verdict void whatever the rates say.

Found while the pictures are looked at for the first time: subjects whose pixels are still the original's, pictures that
are the original's pixel for pixel, pairs that do not show the same scene, that were mixed up, or that occur twice. All
of it is found without any recogniser, so that no judge can be fooled into overlooking it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import integer_box, paste_window
from anonymizer.core.records import Floats, Image, Mask
from anonymizer.evaluation.records import Subject
from anonymizer.verify.checks import pixels_replaced

__all__ = ["Glance", "mixed_up", "pixel_digest", "twice", "unchanged", "untouched"]

#: Side in pixels to which two pictures are shrunk to see whether they show the same scene.
GLANCE = 32
#: Levels of 0 to 255 up to which a cell of both is the same, and the proportion of such cells outside of what was
#: treated below which two pictures do not show the same scene, if they do not correlate either.
SAME_LEVELS, SAME_CELLS = 6.0, 0.2
#: Correlation from which they do. Anonymization changes persons, faces and plates, not the scene.
SAME_SCENE = 0.3
#: Proportion of a picture outside of what was treated that it takes to judge.
LEAST_OUTSIDE = 0.1
#: By how much more cells another original must share with a released picture than its own for the pair to be mixed up.
MARGIN = 0.2
#: Most pairs that are all compared with all; beyond, each is compared with its own original only.
MOST_COMPARED = 4000
#: Proportion of a box's sides that the ellipse spans in which a subject known by its box alone is looked for: corners
#: show what lies behind, which nobody has to treat.
CORE = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Glance:
    """Two pictures at a glance: float32 (1024,) luminance of each, and bool (1024,) what lies outside of subjects."""

    original: NDArray[np.float32]
    released: NDArray[np.float32]
    outside: NDArray[np.bool_]

    @classmethod
    def of(cls, original: Image, released: Image, boxes: Sequence[Floats], region: Mask | None = None) -> Glance:
        """Return the glance of two pictures.

        Args:
            original: RGB uint8 (H, W, 3).
            released: RGB uint8 (H, W, 3).
            boxes: Each (4,) xyxy in pixels: what anonymization changes.
            region: bool (H, W), what was treated, or None where that is not known.
        """
        outside = np.ones((GLANCE, GLANCE), dtype=bool)
        scale = np.array([GLANCE / original.shape[1], GLANCE / original.shape[0]] * 2)
        for box in boxes:
            x1, y1, x2, y2 = integer_box((box * scale).astype(np.float32))
            outside[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = False
        if region is not None:
            outside &= (
                _shrunk(np.repeat(region[..., None].astype(np.uint8) * 255, 3, axis=2)).reshape(outside.shape) < 1
            )
        return cls(_shrunk(original), _shrunk(released), outside.ravel())

    @property
    def judges(self) -> bool:
        """Whether enough lies outside of what was treated to tell scenes apart."""
        return bool(self.outside.mean() >= LEAST_OUTSIDE)

    def shared(self, originals: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the proportion of cells outside of what was treated that are the same in originals (n, 1024): (n,)."""
        where = self.outside if self.judges else np.ones_like(self.outside)
        apart = np.abs(originals[:, where] - self.released[where])
        return np.asarray((apart <= SAME_LEVELS).mean(axis=1), np.float64)

    def same_scene(self) -> bool:
        """Return whether both show one scene; true where that cannot be judged."""
        if not self.judges or self.shared(self.original[None])[0] >= SAME_CELLS:
            return True
        a, b = (side[self.outside].astype(np.float64) for side in (self.original, self.released))
        a, b = a - a.mean(), b - b.mean()
        norm = float(np.sqrt((a @ a) * (b @ b)))
        return norm > 0 and float(a @ b) / norm >= SAME_SCENE


def unchanged(original: Image, treated: Image, box: Floats, mask: Mask | None) -> bool:
    """Return whether what is in a box is still the original's: its pixels, or its fine texture.

    Args:
        original: RGB uint8 (H, W, 3).
        treated: RGB uint8 (H, W, 3).
        box: float32 (4,) xyxy.
        mask: bool (h, w) in the frame of the integer box, or None for the whole box.
    """
    (rows, columns), local = paste_window(integer_box(box), (original.shape[0], original.shape[1]))
    before, after = original[rows, columns], treated[rows, columns]
    inside = np.ones(before.shape[:2], dtype=bool) if mask is None else mask[local]
    return bool(inside.any()) and not pixels_replaced(before, after, inside).passed


def untouched(original: Image, treated: Image, subject: Subject) -> bool:
    """Return whether a subject was left as it was, wholly or for more than a quarter of its texture.

    Args:
        original: RGB uint8 (H, W, 3).
        treated: RGB uint8 (H, W, 3).
        subject: One known by its box alone is looked for in the ellipse inside of it.
    """
    mask = subject.mask
    if mask is None or mask.all():
        x1, y1, x2, y2 = integer_box(subject.box)
        down, across = np.linspace(-1, 1, y2 - y1)[:, None], np.linspace(-1, 1, x2 - x1)[None]
        mask = down**2 + across**2 <= CORE**2
        if not mask.any():
            mask = None
    return unchanged(original, treated, subject.box, mask)


def pixel_digest(image: Image) -> str:
    """Return the sha256 of a picture's size and pixels."""
    return hashlib.sha256(str(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def mixed_up(glances: Sequence[Glance]) -> frozenset[int]:
    """Return the numbers of pairs whose released picture shows another scene than its own original, or another's."""
    out = {number for number, glance in enumerate(glances) if not glance.same_scene()}
    if len(glances) <= MOST_COMPARED:
        everything = np.array([glance.original for glance in glances], np.float32).reshape(-1, GLANCE**2)
        for number, glance in enumerate(glances):
            proportions = glance.shared(everything)
            if float(proportions.max()) > float(proportions[number]) + MARGIN:
                out.add(number)
    return frozenset(out)


def twice(digests: Sequence[str]) -> Mapping[int, int]:
    """Return which numbers hold what an earlier number holds already, and that earlier number."""
    first: dict[str, int] = {}
    return {
        number: first[digest] for number, digest in enumerate(digests) if first.setdefault(digest, number) != number
    }


def _shrunk(image: Image) -> NDArray[np.float32]:
    import cv2

    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (GLANCE, GLANCE), interpolation=cv2.INTER_AREA), np.float32).ravel()
