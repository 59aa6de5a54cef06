"""What the outlines of two people both claim goes to the one under whose face it lies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from anonymizer.detect.neighbours import told_apart
from anonymizer.types import Instance


def person(number: int, box: tuple[int, int, int, int]) -> Instance:
    x1, y1, x2, y2 = box
    return Instance(number, "person", np.array(box, np.float32), np.ones((y2 - y1, x2 - x1), bool), 0.5, "fake")


def face(number: int, box: tuple[int, int, int, int], parent: int | None, score: float = 0.9) -> Instance:
    x1, y1, x2, y2 = box
    mask = np.ones((y2 - y1, x2 - x1), bool)
    return Instance(number, "face", np.array(box, np.float32), mask, score, "fake", parent=parent)


def claims(instance: Instance, x: int, y: int) -> bool:
    left, top = instance.box[:2].astype(int)
    return bool(instance.outline[y - top, x - left])


LEFT, RIGHT = person(1, (0, 0, 100, 200)), person(2, (20, 0, 140, 200))
FACES = face(3, (20, 10, 40, 36), 1), face(4, (100, 14, 120, 40), 2)


def test_neighbours_with_faces_share_nothing_and_lose_nothing_together() -> None:
    one, two, *rest = told_apart((LEFT, RIGHT, *FACES))
    assert rest == list(FACES)
    assert claims(one, 30, 20) and not claims(two, 30, 20)  # One's face,
    assert claims(one, 40, 150) and not claims(two, 40, 150)  # and the body below it.
    assert claims(two, 95, 150) and not claims(one, 95, 150)
    shared = one.outline[:, 20:] & two.outline[:, :80]
    assert not shared.any()
    assert (one.outline[:, 20:] | two.outline[:, :80]).all()
    # What one alone claims stays; what is treated stays.
    assert one.outline[:, :20].all() and two.outline[:, 80:].all()
    assert one.mask.all() and two.mask.all()


def test_the_body_of_who_stands_in_front_is_not_given_to_who_stands_behind() -> None:
    adult, child = person(1, (0, 0, 100, 300)), person(2, (20, 120, 80, 300))
    one, two, *_ = told_apart((adult, child, face(3, (35, 10, 65, 50), 1), face(4, (38, 125, 62, 155), 2)))
    assert claims(two, 50, 200) and not claims(one, 50, 200)
    assert claims(one, 50, 80)


def test_without_a_face_of_their_own_nobody_loses_or_takes_anything() -> None:
    for faces in ((), FACES[:1], (replace(FACES[0], parent=None), FACES[1])):
        assert told_apart((LEFT, RIGHT, *faces))[:2] == (LEFT, RIGHT)


def test_the_best_face_of_a_person_counts() -> None:
    doubtful = face(5, (100, 12, 120, 38), 1, score=0.2)
    one, two, *_ = told_apart((LEFT, RIGHT, *FACES, doubtful))
    assert claims(two, 95, 150) and not claims(one, 95, 150)


def test_an_outline_never_becomes_empty() -> None:
    inside = person(2, (10, 60, 20, 80))
    far = face(4, (90, 10, 96, 18), 2)
    assert told_apart((LEFT, inside, FACES[0], far))[1].outline.any()
