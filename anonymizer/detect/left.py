"""Instances that are left as they are: whoever agreed to be shown, and what lies in areas that are left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from anonymizer.core.geometry import box_iou, integer_box, outline_box, paste_window
from anonymizer.core.records import Instance, Mask
from anonymizer.detect.given import SAME_BOX
from anonymizer.detect.regions import coverage

__all__ = ["inside", "unlike", "with_consent", "within"]

#: Proportion of an outline that must lie in an area to lie in it: who reaches out of it is anonymized whole.
INSIDE = 0.9
#: Least coverage of a face by the mask of another person for which it may be that person's.
ANOTHERS = 0.1


def with_consent(found: Sequence[Instance]) -> tuple[tuple[Instance, ...], tuple[Instance, ...]]:
    """Split instances into those to anonymize and those who agreed to be shown.

    The face that a detector found on a person with consent is left with them if it is the only one there and nobody
    else's: of two faces, or of one that another person's mask reaches, nobody can tell whose it is.

    Args:
        found: Given and found instances, ids and parents as in one picture.
    """
    agreed = {i.id for i in found if i.consent}
    others = [i for i in found if i.label == "person" and i.id not in agreed]
    faces = [i for i in found if i.label == "face" and not i.consent and i.parent in agreed]
    for face in faces:
        alone = sum(i.label == "face" and i.parent == face.parent for i in found) == 1
        if alone and not face.given and all(coverage(face, other) < ANOTHERS for other in others):
            agreed.add(face.id)
    kept = (replace(i, parent=None) if i.parent in agreed else i for i in found if i.id not in agreed)
    return tuple(kept), tuple(i for i in found if i.id in agreed)


def within(found: Sequence[Instance], area: Mask | None) -> tuple[tuple[Instance, ...], tuple[Instance, ...]]:
    """Split instances into those to anonymize and those in an area that is left out.

    A face or plate whose person or vehicle is anonymized goes with it.

    Args:
        found: Instances of one picture.
        area: bool (H, W); None: nothing is left out.
    """
    if area is None:
        return tuple(found), ()
    left = {i.id for i in found if inside(i, area)}
    left -= {i.id for i in found if i.parent is not None and i.parent not in left and i.id in left}
    kept = (replace(i, parent=None) if i.parent in left else i for i in found if i.id not in left)
    return tuple(kept), tuple(i for i in found if i.id in left)


def inside(instance: Instance, area: Mask | None) -> bool:
    """Return whether an instance lies in an area, bool (H, W), that is left out."""
    if area is None:
        return False
    picture, local = paste_window(integer_box(instance.box), (area.shape[0], area.shape[1]))
    total = int(instance.outline.sum())
    return total > 0 and float((area[picture] & instance.outline[local]).sum()) >= INSIDE * total


def unlike(found: Iterable[Instance], consented: Sequence[Instance]) -> tuple[Instance, ...]:
    """Return detections without those that are somebody who agreed to be shown: for each at most one.

    Args:
        found: Detections in a result.
        consented: Who was left.
    """
    rest = list(found)
    for person in consented:
        same = [i for i in rest if i.label == person.label]
        if same:
            iou = box_iou(outline_box(person)[None], np.stack([outline_box(i) for i in same]))[0]
            if float(iou.max()) >= SAME_BOX:
                gone = same[int(iou.argmax())]
                rest = [i for i in rest if i is not gone]
    return tuple(rest)
