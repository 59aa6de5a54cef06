from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.core.geometry import outline_box
from anonymizer.core.records import Image, Instance
from anonymizer.detect.given import with_given
from anonymizer.detect.merge import UnionDetector, merge

SIZE = (200, 300)


def make(label: str, box: list[float], *, score: float = 0.5, id: int = 1, landmarks: bool = False) -> Instance:
    x1, y1, x2, y2 = np.floor(box[0]), np.floor(box[1]), np.ceil(box[2]), np.ceil(box[3])
    return Instance(
        id=id,
        label=label,
        box=np.array(box, np.float32),
        mask=np.ones((int(y2 - y1), int(x2 - x1)), bool),
        score=score,
        source="fake",
        landmarks=np.arange(10, dtype=np.float32).reshape(5, 2) if landmarks else None,
    )


class Fake:
    def __init__(self, *instances: Instance) -> None:
        self.instances = instances

    def detect(self, image: Image) -> tuple[Instance, ...]:
        return self.instances


def test_one_face_seen_twice_is_one_with_landmarks_and_both_masks() -> None:
    (face,) = merge(
        [make("face", [10, 10, 30, 40], score=0.5), make("face", [8, 12, 30, 42], score=0.4, landmarks=True)], SIZE
    )
    assert face.box.tolist() == [8, 10, 30, 42]
    assert face.score == pytest.approx(0.5)
    assert face.landmarks is not None
    assert face.mask.sum() == 20 * 30 + 22 * 30 - 20 * 28


def test_a_small_plate_inside_a_large_one_joins_it_but_a_small_person_does_not() -> None:
    inner, outer = [50, 50, 60, 55], [45, 45, 90, 60]
    assert len(merge([make("license_plate", inner), make("license_plate", outer)], SIZE)) == 1
    assert len(merge([make("person", inner), make("person", outer)], SIZE)) == 2


def test_classes_never_join() -> None:
    assert len(merge([make("face", [0, 0, 20, 20]), make("license_plate", [0, 0, 20, 20])], SIZE)) == 2


def test_boxes_are_clipped_and_slivers_dropped() -> None:
    (plate,) = merge([make("license_plate", [-10, 5, 20, 15]), make("face", [298.5, 0, 320, 40])], SIZE)
    assert plate.box.tolist() == [0, 5, 20, 15]
    assert plate.mask.shape == (10, 20)


def test_order_is_by_class_then_place_and_ids_count_from_one() -> None:
    mixed = [
        make("text", [0, 0, 9, 9], id=7),
        make("face", [100, 0, 120, 20], id=7),
        make("person", [200, 0, 280, 150], id=7),
        make("person", [20, 0, 90, 150], id=7),
    ]
    for order in (mixed, mixed[::-1]):
        merged = merge(order, SIZE)
        assert [(i.id, i.label, float(i.seen[0, 0])) for i in merged] == [
            (1, "person", 20.0),
            (2, "person", 200.0),
            (3, "face", 100.0),
            (4, "text", 0.0),
        ]


def test_a_face_belongs_to_the_smallest_person_around_it() -> None:
    merged = merge(
        [
            make("person", [0, 0, 150, 200]),
            make("person", [40, 20, 90, 150]),
            make("face", [50, 25, 70, 50]),
            make("face", [200, 10, 220, 30]),
        ],
        SIZE,
    )
    child = next(i for i in merged if i.label == "person" and i.seen[0, 0] == 40)
    faces = [i for i in merged if i.label == "face"]
    assert {float(f.box[0]): f.parent for f in faces} == {50.0: child.id, 200.0: None}


def test_a_face_that_the_mask_misses_belongs_to_the_box() -> None:
    person = make("person", [0, 0, 100, 200])
    mask = person.mask.copy()
    mask[:60] = False
    merged = merge([replace(person, mask=mask), make("face", [40, 5, 60, 30])], SIZE)
    assert merged[1].parent == merged[0].id


def test_union_detector_joins_detectors_and_drops_other_classes() -> None:
    detector = UnionDetector(
        [Fake(make("person", [0, 0, 50, 90]), make("text", [60, 0, 90, 9])), Fake(make("person", [1, 0, 50, 90]))],
        ("person",),
    )
    (person,) = detector.detect(np.zeros((*SIZE, 3), np.uint8))
    assert outline_box(person).tolist() == [0, 0, 50, 90]
    # Room for the feet.
    assert person.box.tolist() == [0, 0, 53, 93]


def test_union_detector_refuses_unknown_classes_and_no_detector() -> None:
    with pytest.raises(InputError, match="cat"):
        UnionDetector([Fake()], ("cat",))
    with pytest.raises(InputError, match="at least one"):
        UnionDetector([], ("person",))


def test_given_instances_stay_and_missed_ones_are_added() -> None:
    given = (make("person", [10, 10, 60, 150], score=1.0, id=41),)
    found = (
        make("person", [12, 10, 62, 150], id=1),
        make("person", [150, 10, 190, 150], id=2),
        replace(make("face", [20, 12, 40, 40], id=3), parent=1),
        replace(make("face", [160, 12, 180, 40], id=4), parent=2),
    )
    out = with_given(found, given)
    assert [i.id for i in out] == [1, 2, 3, 4]
    assert out[0].box.tolist() == [10, 10, 60, 150]
    assert [i.parent for i in out] == [None, None, 1, 2]


def test_a_given_face_takes_the_landmarks_found_for_it_but_keeps_its_box() -> None:
    out = with_given((make("face", [20, 10, 40, 42], landmarks=True),), (make("face", [20, 10, 40, 40], id=5),))
    assert len(out) == 1
    assert out[0].landmarks is not None
    assert out[0].box.tolist() == [20, 10, 40, 40]


def test_a_given_box_of_another_class_hides_nothing() -> None:
    assert len(with_given((make("face", [20, 10, 40, 40]),), (make("person", [20, 10, 40, 40]),))) == 2


def test_a_person_has_the_whole_head_around_their_face() -> None:
    body = Instance(1, "person", np.array([10, 40, 50, 120], np.float32), np.ones((80, 40), bool), 0.8, "yolo")
    face = Instance(1, "face", np.array([22, 42, 38, 62], np.float32), np.ones((20, 16), bool), 0.9, "centerface")
    person, found = merge([body, face], (200, 100))
    assert found.parent == person.id and person.source == "yolo" and person.score == 0.8
    assert np.allclose(person.box, [7, 35, 53, 123])
    # The head is what the face suggests; the detector saw the person without it.
    assert person.seen.tolist() == [[10, 40, 50, 120]]
    # Hair above the face belongs to the person now; what is beside it does not.
    assert person.mask[2, 23] and not person.mask[2, 5]


def test_a_weak_person_who_is_only_a_head_is_added_to_the_sure_one() -> None:
    body = Instance(1, "person", np.array([10, 10, 110, 190], np.float32), np.ones((180, 100), bool), 0.8, "yolo")
    body = replace(body, mask=np.arange(180)[:, None].repeat(100, 1) >= 60)
    head = Instance(2, "person", np.array([30, 12, 90, 82], np.float32), np.ones((70, 60), bool), 0.3, "yolo")
    face = Instance(3, "face", np.array([42, 30, 78, 76], np.float32), np.ones((46, 36), bool), 0.9, "centerface")
    person, found = merge([body, head, face], (200, 120))
    assert found.parent == person.id and person.score == 0.8
    assert person.mask[20, 30] and not person.mask[5, 3]
    # Somebody of their own right, without a face, or beside the other: no part of them.
    for other in (replace(head, score=0.5), replace(head, box=head.box + np.array([60, 0, 60, 0], np.float32))):
        assert [i.label for i in merge([body, other, face], (200, 180))].count("person") == 2
    assert len(merge([body, head], (200, 120))) == 2


def test_a_weak_find_inside_a_sure_person_is_a_part_of_them() -> None:
    body = Instance(1, "person", np.array([10, 10, 50, 110], np.float32), np.ones((100, 40), bool), 0.8, "yolo")
    leg = Instance(2, "person", np.array([15, 60, 35, 105], np.float32), np.ones((45, 20), bool), 0.2, "yolo")
    child = Instance(3, "person", np.array([15, 60, 35, 105], np.float32), np.ones((45, 20), bool), 0.6, "yolo")
    assert len(merge([body, leg], (200, 100))) == 1
    assert len(merge([body, child], (200, 100))) == 2


def test_two_people_taken_for_one_are_two_with_a_face_each() -> None:
    one, two, left, right = merge(
        [
            make("person", [20, 20, 280, 190]),
            make("face", [50, 30, 100, 96], score=0.9),
            make("face", [190, 34, 240, 100], score=0.7),
        ],
        SIZE,
    )
    assert [i.label for i in (one, two, left, right)] == ["person", "person", "face", "face"]
    parents = {one.id: one, two.id: two}
    assert 100 < outline_box(parents[left.parent])[2] < 190 and 100 < outline_box(parents[right.parent])[0] < 190


def test_a_sure_face_that_belongs_to_nobody_gets_a_body() -> None:
    body, face = merge([make("face", [100, 20, 120, 44], score=0.9)], SIZE)
    assert body.label == "person" and face.parent == body.id
    assert body.box[3] - body.box[1] > 4 * 24 and not body.boxed
    assert [i.label for i in merge([make("face", [100, 20, 120, 44], score=0.5)], SIZE)] == ["face"]
