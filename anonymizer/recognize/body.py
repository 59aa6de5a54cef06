"""Two descriptors of whole bodies from what is at hand without weights: colours with shape, and the silhouette alone.

They are weaker than a trained body re-identifier, and are named so wherever their figures stand. The silhouette
descriptor matters on its own: published body re-identification on silhouettes does nearly as well as on raw pictures,
and a redraw that keeps the mask keeps the silhouette.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError
from anonymizer.core.geometry import box_iou, integer_box, take
from anonymizer.core.records import Detector, Floats, Image, Mask, check_image

__all__ = ["ColourShapeEmbedder", "SilhouetteEmbedder", "found_again", "hog"]

LICENCE = "AGPL-3.0-or-later"
#: Height and width in pixels that a body is resized to.
BODY = (128, 64)
#: Horizontal stripes: head, shoulders, chest, hips, thighs, shins. What people wear changes from one to the next.
STRIPES = 6
#: Bins of hue, saturation and value. Hues are weighted by saturation times value: grey has none.
BINS = (12, 6, 8)
#: Share of the squared length that colour has beside shape. Clothes tell more than a coarse outline.
COLOUR_SHARE = 0.7
#: Pixels of a HOG cell, and orientations without sign.
CELL, ORIENTATIONS = 8, 9
#: Height and width of a silhouette.
SILHOUETTE = (64, 32)
#: Surroundings in which a person is looked for again, as a share of the longer side; IoU from which it is the same.
AROUND, SAME_PLACE = 0.25, 0.5
#: Harmonics kept of the outline's Fourier descriptor.
HARMONICS = 16


class ColourShapeEmbedder:
    """Describes a person by colour histograms in stripes of the mask and by oriented gradients.

    Attributes:
        name: For reports; says that it is not a trained re-identifier.
        label: Class it describes.
        sha256: Hash of its name and version; it has no weights.
        licence: That of this package.
        judge: True: nothing is verified with it.

    Source:
        Stripe histograms: Gray and Tao, Viewpoint invariant pedestrian recognition, ECCV 2008. Square roots of
        histograms (Hellinger): Arandjelovic and Zisserman, CVPR 2012. Gradients: Dalal and Triggs, CVPR 2005.
    """

    name: str = "colour-and-shape (no trained re-identifier)"
    label: str = "person"
    sha256: str = hashlib.sha256(b"colour-and-shape 1").hexdigest()
    licence: str = LICENCE
    judge: bool = True

    def embed(self, image: Image, box: Floats, landmarks: Floats | None, mask: Mask | None) -> Floats:
        """Return a unit-length float32 (D,) descriptor.

        Args:
            image: RGB uint8 (H, W, 3).
            box: float (4,) xyxy in pixels.
            landmarks: Ignored; bodies have none.
            mask: bool (h, w) in the frame of the box's integer box; None: the whole box, background and all.

        Raises:
            InputError: The picture has another shape or dtype, or the mask does not fit the box or is empty.
        """
        import cv2

        del landmarks
        check_image(image)
        inside = _checked(box, mask)
        size = BODY[1], BODY[0]
        crop = np.asarray(cv2.resize(take(image, integer_box(box)), size, interpolation=cv2.INTER_AREA), np.uint8)
        weight = np.asarray(cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)
        colour = _stripes(crop, weight)
        grey = np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.float32)
        # The surroundings become the body's mean, so that they add no gradients but the outline.
        mean = float((grey * weight).sum() / weight.sum())
        shape = hog(weight * grey + (1 - weight) * mean)
        return _unit(np.concatenate([np.sqrt(COLOUR_SHARE) * colour, np.sqrt(1 - COLOUR_SHARE) * shape]))


class SilhouetteEmbedder:
    """Describes a person by the outline alone.

    The descriptor joins the mask resized to a fixed frame, its proportions, row and column profiles, and the size of
    the outline's Fourier coefficients.

    The mask is either the one given, which says what a treatment that keeps it keeps, but is the same whatever was
    done to the pixels; or, with a detector, the one found again in the picture, which is what an attacker sees.

    Args:
        detector: Finds persons with masks in the picture again; None: the mask given is taken.

    Attributes:
        name: For reports.
        label: Class it describes.
        sha256: Hash of its name and version; it has no weights of its own.
        licence: That of this package.
        judge: True: nothing is verified with it.
    """

    label: str = "person"
    licence: str = LICENCE
    judge: bool = True

    def __init__(self, detector: Detector | None = None) -> None:
        self._detector = detector
        self.name = "silhouette (mask alone)" if detector is None else "silhouette (found again)"
        self.sha256 = hashlib.sha256(f"{self.name} 1".encode()).hexdigest()

    def embed(self, image: Image, box: Floats, landmarks: Floats | None, mask: Mask | None) -> Floats:
        """Return a unit-length float32 (D,) descriptor.

        Args:
            image: RGB uint8 (H, W, 3); looked at only by the detector.
            box: float (4,) xyxy in pixels.
            landmarks: Ignored; bodies have none.
            mask: bool (h, w) in the frame of the box's integer box; None: the box's proportions are all there is.
                Ignored where there is a detector.

        Raises:
            InputError: The mask does not fit the box or is empty, or no person is found there again.
        """
        if self._detector is not None:
            box, mask = found_again(self._detector, image, box)
        return self._describe(box, mask)

    @staticmethod
    def _describe(box: Floats, mask: Mask | None) -> Floats:
        import cv2

        inside = _checked(box, mask)
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        tight = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        height, width = tight.shape
        frame = np.asarray(
            cv2.resize(tight.astype(np.float32), (SILHOUETTE[1], SILHOUETTE[0]), interpolation=cv2.INTER_AREA)
        )
        parts = [
            # Differences to the half count alike on either side of the outline.
            np.sqrt(0.6) * _unit((frame - 0.5).ravel()),
            np.sqrt(0.2)
            * _unit(np.concatenate([frame.mean(axis=1) - frame.mean(), frame.mean(axis=0) - frame.mean()])),
            np.sqrt(0.1) * _unit(_outline(tight)),
            # Proportions as an angle, so that their part of the descriptor has a fixed length.
            np.sqrt(0.1) * _angle(np.log(height / width)),
        ]
        return _unit(np.concatenate(parts))


def hog(image: NDArray[np.float32]) -> Floats:
    """Return histograms of oriented gradients of a single-channel picture, unit length (zeros where it is flat).

    Args:
        image: float32 (H, W), H and W at least two cells of 8 pixels; what is left of whole cells is cut off.

    Returns:
        float32 (blocks * 36,): 9 orientations in cells of 8 x 8 pixels, blocks of 2 x 2 cells normalised and clipped.

    Raises:
        InputError: Another shape.

    Source:
        Dalal and Triggs, Histograms of oriented gradients for human detection, CVPR 2005.
    """
    rows, columns = (side // CELL for side in image.shape[:2])
    if image.ndim != 2 or rows < 2 or columns < 2:
        raise InputError(f"hog: expected one channel of at least {2 * CELL} x {2 * CELL} pixels, got {image.shape}")
    cut = np.asarray(image, np.float32)[: rows * CELL, : columns * CELL]
    down, across = np.gradient(cut)
    strength = np.hypot(across, down)
    # Orientation without sign, spread linearly over the two nearest bins.
    place = (np.arctan2(down, across) % np.pi) / np.pi * ORIENTATIONS - 0.5
    low = np.floor(place)
    share = place - low
    first = low.astype(int) % ORIENTATIONS
    cell = (np.arange(rows * CELL) // CELL)[:, None] * columns + (np.arange(columns * CELL) // CELL)[None]
    bins = [(cell * ORIENTATIONS + (first + step) % ORIENTATIONS).ravel() for step in (0, 1)]
    total = np.bincount(np.concatenate(bins), np.concatenate([strength * (1 - share), strength * share], axis=None))
    cells = np.zeros(rows * columns * ORIENTATIONS)
    cells[: total.size] = total
    cells = cells.reshape(rows, columns, ORIENTATIONS)
    blocks = np.concatenate([cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]], axis=2)
    blocks /= np.sqrt((blocks**2).sum(axis=2, keepdims=True) + 1e-3)
    return _unit(np.minimum(blocks, 0.2).ravel())


def _stripes(crop: Image, weight: Floats) -> Floats:
    """Return square-rooted histograms of hue, saturation and value per stripe, unit length."""
    import cv2

    hsv = np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2HSV), np.float32)  # hue in [0, 180)
    hue, saturation, value = hsv[..., 0] / 180, hsv[..., 1] / 255, hsv[..., 2] / 255
    parts = []
    for rows in np.array_split(np.arange(crop.shape[0]), STRIPES):
        inside = weight[rows]
        total = float(inside.sum())
        for channel, bins, strength in (
            (hue, BINS[0], saturation * value),
            (saturation, BINS[1], np.ones_like(value)),
            (value, BINS[2], np.ones_like(value)),
        ):
            counts, _ = np.histogram(channel[rows], bins, (0.0, 1.0), weights=inside * strength[rows])
            parts.append(np.sqrt(counts / total) if total > 0 else np.zeros(bins))
    return _unit(np.concatenate(parts))


def _outline(mask: Mask) -> NDArray[np.float64]:
    """Return sizes of the longest outline's Fourier coefficients, free of scale, shift, turn and start."""
    import cv2

    padded = np.pad(mask.astype(np.uint8), 1)
    outlines, _ = cv2.findContours(padded, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    longest = max(outlines, key=len).reshape(-1, 2).astype(np.float64)
    if len(longest) < 2 * HARMONICS + 2:
        # Few pixels: repeat them, so that the coefficients exist.
        longest = np.repeat(longest, -(-(2 * HARMONICS + 2) // len(longest)), axis=0)
    sizes = np.abs(np.fft.fft(longest[:, 0] + 1j * longest[:, 1]))
    kept = np.concatenate([sizes[1 : HARMONICS + 1], sizes[-HARMONICS:]])
    return kept / max(float(kept.max()), 1e-12)


def _angle(value: float) -> NDArray[np.float64]:
    bounded = np.clip(value, -2.0, 2.0) / 2.0 * (np.pi / 2)
    return np.array([np.cos(bounded), np.sin(bounded)])


def found_again(detector: Detector, image: Image, box: Floats) -> tuple[Floats, Mask]:
    """Return box and mask of the person that overlaps a box most, as an attacker sees it.

    Args:
        detector: Finds persons with masks.
        image: RGB uint8 (H, W, 3).
        box: float (4,) xyxy in pixels.

    Returns:
        The box, in the frame of the box's surroundings, and the mask in that of its integer box.

    Raises:
        InputError: None overlaps it by half.
    """
    height, width = check_image(image).shape[:2]
    x1, y1, x2, y2 = integer_box(box)
    pad = round(AROUND * max(x2 - x1, y2 - y1))
    left, top = max(x1 - pad, 0), max(y1 - pad, 0)
    part = np.ascontiguousarray(image[top : min(y2 + pad, height), left : min(x2 + pad, width)])
    here = np.asarray(box, np.float32) - np.array([left, top, left, top], np.float32)
    persons = [instance for instance in detector.detect(part) if instance.label == "person" and instance.mask.any()]
    overlaps = box_iou(here[None], np.stack([p.box for p in persons]))[0] if persons else np.zeros(1)
    best = int(overlaps.argmax())
    if overlaps[best] < SAME_PLACE:
        raise InputError(f"person: none found again at {np.round(box).tolist()}; an attacker has no outline there")
    return persons[best].box, persons[best].mask


def _checked(box: Floats, mask: Mask | None) -> Mask:
    x1, y1, x2, y2 = integer_box(box)
    if mask is None:
        return np.ones((y2 - y1, x2 - x1), dtype=bool)
    if mask.dtype != np.bool_ or mask.shape != (y2 - y1, x2 - x1):
        raise InputError(f"mask: expected bool {(y2 - y1, x2 - x1)} to fit its box, got {mask.dtype} {mask.shape}")
    if not mask.any():
        raise InputError("mask: expected at least one pixel of the body, got none; leave such instances out")
    return mask


def _unit(vector: NDArray[np.floating]) -> Floats:
    norm = float(np.linalg.norm(vector))
    return np.asarray(vector / norm if norm > 0 else vector, np.float32)
