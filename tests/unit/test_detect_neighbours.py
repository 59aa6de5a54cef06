"""What the outlines of two people both claim goes to the one under whose face it lies; two faces are two people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from anonymizer.core.records import Instance
from anonymizer.detect.neighbours import split, told_apart

#: All coordinates below are in units of this many pixels: faces are close.
SCALE = 3


def person(number: int, box: tuple[int, int, int, int]) -> Instance:
    x1, y1, x2, y2 = box = tuple(SCALE * v for v in box)
    return Instance(number, "person", np.array(box, np.float32), np.ones((y2 - y1, x2 - x1), bool), 0.5, "fake")


def face(number: int, box: tuple[int, int, int, int], parent: int | None, score: float = 0.9) -> Instance:
    x1, y1, x2, y2 = box = tuple(SCALE * v for v in box)
    mask = np.ones((y2 - y1, x2 - x1), bool)
    return Instance(number, "face", np.array(box, np.float32), mask, score, "fake", parent=parent)


def claims(instance: Instance, x: int, y: int) -> bool:
    left, top = instance.box[:2].astype(int)
    return bool(instance.outline[SCALE * y - top, SCALE * x - left])


LEFT, RIGHT = person(1, (0, 0, 100, 200)), person(2, (20, 0, 140, 200))
FACES = face(3, (20, 10, 40, 36), 1), face(4, (100, 14, 120, 40), 2)


def test_neighbours_with_faces_share_nothing_and_lose_nothing_together() -> None:
    one, two, *rest = told_apart((LEFT, RIGHT, *FACES))
    assert rest == list(FACES)
    assert claims(one, 30, 20) and not claims(two, 30, 20)  # One's face,
    assert claims(one, 40, 150) and not claims(two, 40, 150)  # and the body below it.
    assert claims(two, 95, 150) and not claims(one, 95, 150)
    first, last = 20 * SCALE, 80 * SCALE
    shared = one.outline[:, first:] & two.outline[:, :last]
    assert not shared.any()
    assert (one.outline[:, first:] | two.outline[:, :last]).all()
    # What one alone claims stays; what is treated stays.
    assert one.outline[:, :first].all() and two.outline[:, last:].all()
    assert one.mask.all() and two.mask.all()


def test_the_body_of_who_stands_in_front_is_not_given_to_who_stands_behind() -> None:
    adult, child = person(1, (0, 0, 100, 300)), person(2, (20, 120, 80, 300))
    one, two, *_ = told_apart((adult, child, face(3, (35, 10, 65, 50), 1), face(4, (38, 125, 62, 155), 2)))
    assert claims(two, 50, 200) and not claims(one, 50, 200)
    assert claims(one, 50, 80)


def test_without_a_face_of_their_own_nobody_loses_or_takes_anything() -> None:
    for faces in ((), FACES[:1], (replace(FACES[0], parent=None), FACES[1])):
        assert told_apart((LEFT, RIGHT, *faces))[:2] == (LEFT, RIGHT)


def test_doubtful_far_or_far_smaller_faces_take_nothing() -> None:
    others = (
        face(4, (100, 14, 120, 40), 2, score=0.5),
        face(4, (100, 14, 115, 34), 2),
        face(4, (85, 14, 125, 70), 2),  # More than twice as high as the other.
    )
    for other in others:
        assert told_apart((LEFT, RIGHT, FACES[0], other))[:2] == (LEFT, RIGHT)


def test_the_best_face_of_a_person_counts() -> None:
    other = face(5, (100, 12, 120, 38), 1, score=0.7)
    one, two, *_ = told_apart((LEFT, RIGHT, *FACES, other))
    assert claims(two, 95, 150) and not claims(one, 95, 150)


def test_an_outline_never_becomes_empty() -> None:
    inside = person(2, (22, 10, 38, 30))
    elsewhere = face(4, (80, 10, 100, 36), 2)
    one, two, *_ = told_apart((LEFT, inside, FACES[0], elsewhere))
    assert one.outline.all() and two.outline.all()


def test_two_sure_faces_in_one_outline_are_two_persons_who_cover_it_all() -> None:
    both = person(1, (0, 0, 140, 200))
    faces = (face(3, (20, 10, 40, 36), 1), face(4, (100, 14, 120, 40), 1, score=0.6))
    one, two, *rest = split((both, *faces))
    assert rest == list(faces) and one.label == two.label == "person"
    for part, x in ((one, 30), (two, 110)):
        assert part.box[0] <= SCALE * x < part.box[2] and claims(part, x, 25) and claims(part, x, 190)
        assert part.views is None and part.mask.shape == part.outline.shape
    covered = np.zeros((200 * SCALE, 140 * SCALE), int)
    for part in (one, two):
        x1, y1, x2, y2 = part.box.astype(int)
        covered[y1:y2, x1:x2] += part.mask
    assert (covered == 1).all()


def test_a_doubtful_or_meeting_or_far_smaller_face_has_no_body_of_its_own() -> None:
    both, first = person(1, (0, 0, 140, 200)), face(3, (20, 10, 40, 36), 1)
    others = (
        face(4, (100, 14, 120, 40), 1, score=0.5),
        face(4, (38, 14, 58, 40), 1),
        face(4, (100, 14, 108, 24), 1),
        face(4, (100, 14, 120, 40), None),
    )
    for other in others:
        assert split((both, first, other)) == [both, first, other]


def test_a_face_that_would_get_next_to_nothing_has_no_body_of_its_own() -> None:
    narrow = person(1, (0, 0, 60, 200))
    beside = face(4, (44, 170, 64, 196), 1)
    assert split((narrow, face(3, (20, 10, 40, 36), 1), beside))[0] is narrow


NETWORKS = {"yolo": 0.5, "centerface": 0.6}
#: Less than 64 pixels high.
FAR = (
    replace(face(3, (20, 10, 34, 28), 1, score=0.8), evidence=NETWORKS),
    replace(face(4, (60, 14, 74, 34), 1, score=0.55), evidence=NETWORKS),
)


def test_two_who_walk_side_by_side_are_told_apart_by_small_faces_that_several_networks_saw() -> None:
    both = person(1, (0, 0, 100, 200))
    one, two, *rest = split((both, *FAR))
    assert rest == list(FAR) and claims(one, 27, 20) and claims(two, 67, 20)
    assert np.count_nonzero(one.mask) + np.count_nonzero(two.mask) == both.mask.size
    # A third is not told apart from these two.
    third = replace(face(5, (40, 12, 54, 30), 1, score=0.52), evidence=NETWORKS)
    assert sum(i.label == "person" for i in split((both, third, *FAR))) == 2


def test_what_may_be_a_print_or_somebody_behind_tells_nobody_apart() -> None:
    both, (first, second) = person(1, (0, 0, 100, 200)), FAR
    others = (
        replace(second, evidence={"centerface": 0.9}),
        replace(second, score=0.45),
        replace(face(4, (60, 60, 74, 80), 1), evidence=NETWORKS),  # Far below.
        replace(face(4, (60, 10, 68, 20), 1), evidence=NETWORKS),  # Half as high.
        replace(face(4, (92, 14, 106, 34), 1), evidence=NETWORKS),  # Half beside the outline.
        replace(face(4, (30, 14, 44, 34), 1), evidence=NETWORKS),  # They meet.
        replace(face(4, (60, 14, 64, 20), 1), evidence=NETWORKS),  # Too small.
    )
    for other in others:
        assert split((both, first, other)) == [both, first, other]
