"""Masks of persons who are seen well, drawn in to where anybody may be."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from anonymizer.core.geometry import dilate, integer_box, mask_box, outline_box, paste_window, seen_well
from anonymizer.core.records import Instance, Mask
from anonymizer.detect.regions import SLIM, ellipse, grow

__all__ = ["narrowed"]

#: Likelihood from which BlazePose's mask says that somebody may be there.
POSSIBLE = 0.1
#: How far a mask may reach beyond outline and possible pixels, and half the width from which more of it stays all the
#: same: a bag, a leg behind another. Both as shares of the outline's longer side. With these and ``crops.GROW_SEEN``,
#: safe masks cover 1.50 times the annotated pixels instead of 1.67; they leave out 0.78 % of these pixels instead of
#: 0.69 %, with a rim of 1.5 % of the height 1.04 % instead of 0.78 % (54 persons of Penn-Fudan, CCP and HumanSeg).
BEYOND, THICK = 0.005, 0.025
#: Landmarks from the shoulders down. If all of them are in the window with this likelihood, a person is seen whole:
#: what nothing but the box of a detector without masks holds then is background.
BODY, WHOLE = slice(11, 33), 0.9
#: What stays is given back up to this many times that half width around its middle.
BACK = 1.5


def narrowed(person: Instance) -> Instance:
    """Return a person who is seen well with a mask that ends soon after what anything shows of them.

    Masks are unions of coarse views; what only such a view holds, as a thin strip along the outline, is background.

    Args:
        person: Any instance; all but persons who are seen well come back unchanged.
    """
    if person.body is None or not seen_well(person):
        return person
    frame = integer_box(person.box)
    x1, y1, x2, y2 = outline_box(person)
    side = float(max(x2 - x1, y2 - y1))
    left, top, right, bottom = person.body.window
    likely = cv2.resize(person.body.mask, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    seen = person.outline.copy()
    inside, local = paste_window((left - frame[0], top - frame[1], right - frame[0], bottom - frame[1]), seen.shape)
    seen[inside] |= likely[local] >= POSSIBLE
    kept = dilate(seen, max(round(BEYOND * side), 1))
    radius = max(int(THICK * side), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # Beyond the frame lies nothing of the mask: its border wears thick parts away as any other.
    thick = cv2.erode((person.mask & ~kept & ~_sketched(person)).astype(np.uint8), kernel, borderValue=0) > 0
    mask = person.mask & (kept | dilate(thick, round(BACK * radius)))
    tight = mask_box(mask | person.outline)
    if tight is None:
        return person
    box = np.array(tight, np.float32) + np.array([frame[0], frame[1], frame[0], frame[1]], np.float32)
    part = slice(tight[1], tight[3]), slice(tight[0], tight[2])
    return replace(person, box=box, mask=(mask | person.outline)[part], core=person.outline[part], views=person.seen)


def _sketched(person: Instance) -> Mask:
    """Return what is in a person's mask for boxes alone: ellipses, bool (h, w); nothing of a person not seen whole."""
    out = np.zeros_like(person.mask)
    if person.body is None or person.body.inside[BODY].min() < WHOLE:
        return out
    x1, y1, *_ = integer_box(person.box)
    for view in person.seen:
        slim = grow(view, -SLIM, 0.0, -SLIM, 0.0)
        left, top, right, bottom = integer_box(slim)
        inside, local = paste_window((left - x1, top - y1, right - x1, bottom - y1), out.shape)
        out[inside] |= ellipse(slim)[local]
    return out
