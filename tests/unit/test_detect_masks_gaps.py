from __future__ import annotations

import numpy as np

from anonymizer.core.geometry import full_mask
from anonymizer.core.records import Instance, Mask
from anonymizer.detect.masks import without_gaps

SIZE = (240, 320)


def person(number: int, whole: Mask) -> Instance:
    rows, columns = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
    x1, y1, x2, y2 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return Instance(number, "person", np.array([x1, y1, x2, y2], np.float32), whole[y1:y2, x1:x2], 0.9, "fake")


def area(x1: int, y1: int, x2: int, y2: int) -> Mask:
    out = np.zeros(SIZE, bool)
    out[y1:y2, x1:x2] = True
    return out


def covered(instances: tuple[Instance, ...]) -> Mask:
    return np.logical_or.reduce([full_mask(i, SIZE) for i in instances])


def test_a_strip_between_two_persons_is_covered_and_stays_out_of_their_cores() -> None:
    a, b = person(1, area(40, 20, 120, 220)), person(2, area(128, 30, 210, 220))
    closed = without_gaps((a, b), SIZE)
    assert covered(closed)[40:210, 120:128].all()
    assert closed[0].outline.sum() == a.mask.sum()
    assert covered((closed[1],)).sum() == b.mask.sum()


def test_persons_who_stand_apart_keep_their_masks() -> None:
    a, b = person(1, area(40, 20, 100, 220)), person(2, area(140, 30, 210, 220))
    closed = without_gaps((a, b), SIZE)
    assert [i.mask.sum() for i in closed] == [a.mask.sum(), b.mask.sum()]
    assert closed[0].core is None


def test_a_small_hole_in_one_person_is_filled_and_a_large_one_is_not() -> None:
    small, large = area(40, 20, 120, 220), area(160, 20, 300, 220)
    small[100:108, 70:80] = False
    large[60:180, 200:260] = False
    first, second = without_gaps((person(1, small), person(2, large)), SIZE)
    assert first.mask[100 - 20 : 108 - 20, 70 - 40 : 80 - 40].all()
    assert not second.mask[100, 60:80].any()


def test_a_bay_that_touches_only_one_of_two_persons_stays() -> None:
    shape = area(40, 20, 120, 220)
    shape[120:220, 74:86] = False  # Between the legs.
    a, b = person(1, shape), person(2, area(124, 20, 200, 220))
    closed = without_gaps((a, b), SIZE)
    assert not covered(closed)[140:216, 77:83].any()
    assert covered(closed)[30:210, 120:124].all()


def test_faces_pass_untouched() -> None:
    face = Instance(1, "face", np.array([10, 10, 40, 50], np.float32), np.ones((40, 30), bool), 0.9, "fake")
    assert without_gaps((face,), SIZE) == (face,)
