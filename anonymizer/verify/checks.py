"""Single checks: pure functions of pictures, detections, similarities and texts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError
from anonymizer.core.geometry import box_iou, distance_inside, integer_box, outline_box, paste_window
from anonymizer.core.readings import LEAST_TEXT, folded, text_similarity
from anonymizer.core.records import FREE, Instance, Verdict

__all__ = [
    "LEAST_IOU",
    "SHARED_IOU",
    "class_kept",
    "face_distance",
    "outlined_person",
    "pixels_replaced",
    "plate_text",
    "second_pass",
    "shares_box",
]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

#: IoU with which an instance of each class must be found again.
LEAST_IOU = {"person": 0.7, "face": 0.5, "license_plate": 0.5, "text": 0.5, "vehicle": 0.7}
#: The same for a person of whose box another person's takes at least the proportion ``SHARED``: who stands behind
#: somebody shows in parts, and a detector draws its box around some of these or around both people.
SHARED_IOU, SHARED = 0.5, 0.1

#: Largest difference over the channels up to which a pixel counts as unchanged: rounding in blending and resizing.
SAME = 2
#: High-pass magnitude from which a pixel counts as textured: above sensor noise and JPEG ringing on flat areas.
TEXTURE = 6.0
#: Largest share of textured pixels that may be unchanged. A textured pixel meets a redrawn one by chance in about
#: 5 of 100 cases, so a quarter leaves room for chance and none for a part that was kept.
MOST_KEPT = 0.25
#: Largest share of all pixels that may be unchanged. Flat clothes and saturated areas coincide by chance.
MOST_SAME = 0.9
#: Correlation of the high-pass of original and result from which the original's texture shines through. A redraw
#: held to the same silhouette and coarse edges stays well below; a faint overlay or a shift in brightness does not.
MOST_CORRELATION = 0.5
#: The same for few pixels, times the root of their number, at most ``MOST_BY_CHANCE``: the standard deviation of what
#: heads of 34 pixels have by chance is 0.23, so these may reach three of them. From 64 pixels on nothing changes.
CHANCE, MOST_BY_CHANCE = 4.0, 0.75


def pixels_replaced(
    original: Image, result: Image, mask: Mask, feather: int = 0, instance_id: int | None = None
) -> Verdict:
    """Check that no original pixels are left inside a mask.

    Three figures, all over the mask less its feathered rim, must hold: the share of unchanged pixels among textured
    ones is at most ``MOST_KEPT``, that among all is at most ``MOST_SAME``, and the normalised cross-correlation of
    the two pictures' high-pass (luminance minus its Gaussian blur, sigma 2 pixels) is below ``MOST_CORRELATION``, or
    a little more of fewer than 64 pixels.

    Args:
        original: RGB uint8 (H, W, 3), picture or crop.
        result: RGB uint8 (H, W, 3), the same frame.
        mask: bool (H, W).
        feather: Pixels at the rim that blend by design and are not judged; all are judged if nothing else is left.
        instance_id: The instance, for the verdict.

    Returns:
        Verdict ``pixels_replaced``; its value is the figure nearest to or beyond its limit, its threshold that limit.

    Raises:
        InputError: The shapes differ.
    """
    if original.shape != result.shape or original.shape[:2] != mask.shape:
        raise InputError(
            f"pixels_replaced: expected equal frames, got {original.shape}, {result.shape} and mask {mask.shape}"
        )
    core = distance_inside(mask, feather + 1) > feather if feather > 0 else mask
    if not core.any():
        core = mask
    if not core.any():  # A check of nothing proves nothing.
        return Verdict("pixels_replaced", False, None, None, instance_id, "mask is empty")
    same = np.abs(original.astype(np.int16) - result).max(axis=2)[core] <= SAME
    before, after = _high_pass(original)[core], _high_pass(result)[core]
    textured = np.abs(before) > TEXTURE
    kept = float(same[textured].mean()) if textured.any() else 0.0
    correlated = max(MOST_CORRELATION, min(CHANCE / float(np.sqrt(core.sum())), MOST_BY_CHANCE))
    figures = (
        (kept, MOST_KEPT, "unchanged share of textured pixels"),
        (float(same.mean()), MOST_SAME, "unchanged share of pixels"),
        (_correlation(before, after), correlated, "correlation of fine texture"),
    )
    value, limit, detail = max(figures, key=lambda figure: figure[0] / figure[1])
    return Verdict("pixels_replaced", value <= limit, value, limit, instance_id, detail)


def outlined_person(instance: Instance) -> Verdict:
    """Check that a redrawn person has the outline of one: a rectangle filled to the corners is a box, not a person.

    Returns:
        Verdict ``outline``; its value is the share of the box that the outline leaves free.
    """
    free = 1.0 - float(instance.outline.mean())
    return Verdict("outline", free >= FREE, free, FREE, instance.id, "share of the box outside of the person")


def class_kept(instance: Instance, found: Sequence[Instance], least_iou: float | None = None) -> Verdict:
    """Check that an instance's class is still found where its annotation says.

    Detections are united from several views to cover all that may be an object, and so are wide; a single view is
    what another detector's box would be like.

    Args:
        instance: The instance as it was.
        found: Detections in the result.
        least_iou: Box IoU wanted; ``LEAST_IOU`` of the class if None.
    """
    least = LEAST_IOU[instance.label] if least_iou is None else least_iou
    seen = [boxes for i in found if i.label == instance.label for boxes in (i.seen, outline_box(i)[None])]
    best = float(box_iou(outline_box(instance)[None], np.concatenate(seen)).max()) if seen else 0.0
    return Verdict("class_kept", best >= least, best, least, instance.id, "best IoU with a view of the class")


def shares_box(person: Instance, others: Sequence[Instance]) -> bool:
    """Return whether another person's box takes part of a person's, both as annotations describe them."""
    x1, y1, x2, y2 = (float(v) for v in outline_box(person))
    boxes = [outline_box(i) for i in others if i.label == person.label == "person" and i.id != person.id]
    taken = [
        max(min(x2, float(b[2])) - max(x1, float(b[0])), 0.0) * max(min(y2, float(b[3])) - max(y1, float(b[1])), 0.0)
        for b in boxes
    ]
    return max(taken, default=0.0) >= SHARED * (x2 - x1) * (y2 - y1)


def face_distance(
    similarity: float, threshold: float, instance_id: int | None = None, profile: bool = False
) -> Verdict:
    """Check that a face is no longer the same person's: cosine similarity to the original below the threshold.

    A descriptor that hardly tells profiles apart says so: what shows then that nothing is left is ``pixels_replaced``.
    """
    detail = "cosine similarity to the original" + (", which tells little of a profile" if profile else "")
    return Verdict("face_distance", similarity < threshold, similarity, threshold, instance_id, detail)


def plate_text(
    original_texts: Sequence[str], new_texts: Sequence[str], instance_id: int | None = None, most: float = 0.5
) -> Verdict:
    """Check that no reading of the result resembles a reading of the original.

    Args:
        original_texts: Readings of the original plate; those under three characters are ignored.
        new_texts: Readings of the same place in the result.
        instance_id: The instance, for the verdict.
        most: Similarity (``text_similarity``) from which two readings count as the same text.
    """
    pairs = [(a, b) for a, b in product(original_texts, new_texts) if len(folded(a)) >= LEAST_TEXT]
    # A reading that holds the whole original among other characters is not less readable for it.
    worst = max((1.0 if folded(a) in folded(b) else text_similarity(a, b) for a, b in pairs), default=0.0)
    detail = "similarity of readings" if pairs else "no text was read in both pictures"
    return Verdict("plate_text", worst < most, worst, most, instance_id, detail)


def second_pass(found: Sequence[Instance], treated: Mask, least_cover: float = 0.5) -> list[Instance]:
    """Return the detections in a result that were not treated: sensitive, with original pixels.

    Args:
        found: Detections in the result.
        treated: bool (H, W), pixels that were replaced.
        least_cover: Share of a detection's mask that must be treated.
    """
    uncovered = []
    for instance in found:
        picture, local = paste_window(integer_box(instance.box), (treated.shape[0], treated.shape[1]))
        mask = instance.mask[local]
        # An empty mask proves nothing: judge the whole box.
        covered = treated[picture][mask] if mask.any() else treated[picture].ravel()
        if not covered.size or float(covered.mean()) < least_cover:
            uncovered.append(instance)
    return uncovered


def _high_pass(image: Image) -> NDArray[np.float32]:
    """Return luminance (H, W) less its blur, in levels of 0 to 255."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(grey - cv2.GaussianBlur(grey, (0, 0), 2.0), np.float32)


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the normalised cross-correlation of two samples (N,) in [0, 1]; negative ones count as 0."""
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return max(float((a * b).sum()) / norm, 0.0) if norm > 0 else 0.0
