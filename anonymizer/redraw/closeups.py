"""Persons seen from near, and heads: their outlines are put right by the pose.

Outlines of close-ups are poor: they miss arms and take the table for a lap; heads are ellipses wide enough for any
hair. Where the joints are known, the figure in that pose says what is added to the outline and what is left out. All
that is treated stays treated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from anonymizer.geometry import integer_box
from anonymizer.redraw.limbs import figure_shape
from anonymizer.redraw.skeleton import skeleton
from anonymizer.types import Instance, Pose

__all__ = ["reshaped"]

#: Height of a head as a share of the person's box from which this is a close-up.
CLOSE = 0.2
#: Share of an outline that must be left.
LEAST = 0.3


def reshaped(instances: Sequence[Instance], poses: Mapping[int, Pose]) -> tuple[Instance, ...]:
    """Return instances with the outlines of persons put right where face and joints are known.

    Args:
        instances: What was found; outlines given by the user stay.
        poses: Joints by instance id, in the picture's pixels.
    """
    faces = {i.parent: i for i in instances if i.label == "face" and i.parent is not None}
    return tuple(
        _fitted(i, poses[i.id], faces[i.id]) if i.id in poses and i.id in faces and i.source != "given" else i
        for i in instances
    )


def _fitted(person: Instance, pose: Pose, face: Instance) -> Instance:
    body = skeleton(pose, person.box, face.box)
    if body is None:
        return person
    x1, y1, x2, y2 = integer_box(person.box)
    shape = figure_shape((y2 - y1, x2 - x1), body.moved(-x1, -y1))
    core = person.outline & ~shape.beside_head
    if body.head >= CLOSE * (y2 - y1):
        core = (core | shape.limbs) & shape.reach & person.mask
    if np.count_nonzero(core) < LEAST * np.count_nonzero(person.outline):
        return person
    return replace(person, core=core)
