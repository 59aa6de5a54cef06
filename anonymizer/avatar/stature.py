"""Stature: who is too small for the ground they stand on to be an adult."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anonymizer.avatar.stance import ANKLES, NOSE, ROWS, read_stance, trust_of
from anonymizer.core.geometry import outline_box
from anonymizer.core.records import Instance

__all__ = ["children"]

#: Least trust in nose and ankles, and least share of a leg's length along the vertical, of somebody who stands.
SEEN, STANDS = 0.6, 0.85
#: Others whose height must agree, and how far it may be off their median: 12 % is more than two standard deviations of
#: adults' statures.
OTHERS, AGREE = 3, 0.12
#: How far the feet of one or two others may be from somebody's own, as a proportion of the way down from the horizon:
#: where all stand about as far away, it hardly matters where the horizon is.
BESIDE = 0.12
#: Greatest stature of a child in statures of the others: 1.2 m beside adults of 1.7 m.
SMALL = 0.7
#: Least distance in pixels of the feet from the horizon: nearer to it heights are as good as unknown.
BELOW = 8.0
#: Distance in pixels from the picture's border at which somebody counts as cut off.
BORDER = 2


def children(persons: Sequence[Instance], size: tuple[int, int], horizon: float) -> frozenset[int]:
    """Return ids of persons who stand on the ground and reach less high above it than adults would.

    On level ground all who are equally tall reach the same share of the way from their feet up to the horizon. What
    enters is one bit of each person. Somebody is a child where three others agree on how tall adults are, or where one
    or two others, who agree, stand about as far away. Alone, everybody is an adult: proportions do not tell. Of made
    people the face takes 0.10 to 0.12 of a child's height, of photographed adults 0.09 to 0.11, and BlazePose gives
    children the proportions of adults.

    Args:
        persons: All persons of a picture.
        size: Height and width of the picture.
        horizon: Row of the horizon in pixels.
    """
    upright = [person for person in persons if _stands(person, size)]
    boxes = np.array([outline_box(person) for person in upright], np.float64).reshape(-1, 4)
    below = boxes[:, 3] - horizon
    share = (boxes[:, 3] - boxes[:, 1]) / np.maximum(below, BELOW)
    out = set()
    for number, person in enumerate(upright):
        known = (below > BELOW) & (np.arange(len(share)) != number)
        if below[number] <= BELOW or not known.any():
            continue
        few = known.sum() < OTHERS
        if few:
            known &= np.abs(below / below[number] - 1) <= BESIDE
        others = share[known]
        if not len(others):
            continue
        usual = float(np.median(others))
        agree = int((np.abs(others / usual - 1) <= AGREE).sum())
        enough = agree == len(others) if few else agree >= OTHERS and 2 * agree > len(others)
        if enough and share[number] < SMALL * usual:
            out.add(person.id)
    return frozenset(out)


def _stands(person: Instance, size: tuple[int, int]) -> bool:
    """Return whether a person is seen from head to feet and stands."""
    view, box = person.body, outline_box(person)
    if view is None or box[1] <= BORDER or box[3] >= size[0] - BORDER:
        return False
    trust = trust_of(view, size)
    rows = read_stance(view, trust).rows
    legs = [ROWS.index(f"{name}.{side}") for name in ("upperleg", "lowerleg") for side in "LR"]
    return bool(trust[[NOSE, *ANKLES]].min() >= SEEN and -rows[legs, 2].mean() >= STANDS)
