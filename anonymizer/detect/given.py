"""Annotations that came with a picture, completed by what a detector found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anonymizer.detect.merge import associate
from anonymizer.geometry import box_iou, outline_box
from anonymizer.types import Instance

__all__ = ["with_given"]

#: A detection with at least this IoU with a given box of its class is that object.
SAME_BOX = 0.5


def with_given(found: Sequence[Instance], given: Sequence[Instance]) -> tuple[Instance, ...]:
    """Use given instances as they are and add what was found beside them: annotations are rarely complete.

    Args:
        found: From a detector; ids and parents refer to each other.
        given: From annotations; ids and parents refer to each other.

    Returns:
        The given instances in their order, then the others in theirs, numbered from 1. Parents follow the new
        numbers; faces without one get the person around them. A given face without landmarks takes those of the
        detection it stands for.
    """
    numbers = {instance.id: n for n, instance in enumerate(given, start=1)}
    out = [
        replace(i, id=n, parent=numbers.get(i.parent) if i.parent is not None else None)
        for n, i in enumerate(given, start=1)
    ]
    ids: dict[int, int] = {}
    added: list[Instance] = []
    for instance in found:
        match = _match(instance, out[: len(given)])
        if match is None:
            ids[instance.id] = len(given) + len(added) + 1
            added.append(instance)
            continue
        ids[instance.id] = out[match].id
        if out[match].landmarks is None and instance.landmarks is not None:
            out[match] = replace(out[match], landmarks=instance.landmarks)
    out += [replace(i, id=ids[i.id], parent=ids.get(i.parent) if i.parent is not None else None) for i in added]
    return associate(tuple(out))


def _match(instance: Instance, given: Sequence[Instance]) -> int | None:
    """Return the index of the given instance of the same class with the highest IoU, at least ``SAME_BOX``."""
    if not given:
        return None
    iou = box_iou(outline_box(instance), np.stack([g.box for g in given]))[0]
    iou = np.where([g.label == instance.label for g in given], iou, 0.0)
    best = int(np.argmax(iou))
    return best if iou[best] >= SAME_BOX else None
