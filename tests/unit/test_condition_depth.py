import numpy as np
import pytest

from anonymizer.condition import GroundPlaneDepth, estimate_horizon, far_to_near, nearness
from anonymizer.condition.depth import DEFAULT_HORIZON
from anonymizer.core.errors import InputError
from anonymizer.core.records import Instance

SIZE = (480, 640)


def standing(number: int, x: float, bottom: float, height: float, label: str = "person", parent: int | None = None):
    box = np.array([x, bottom - height, x + height / 3, bottom], np.float32)
    left, top, right, low = np.floor(box[0]), np.floor(box[1]), np.ceil(box[2]), np.ceil(box[3])
    mask = np.ones((int(low - top), int(right - left)), bool)
    return Instance(number, label, box, mask, parent=parent)


def on_ground(horizon: float, heights: list[float]) -> tuple[Instance, ...]:
    return tuple(standing(n, 20 + 90 * n, horizon + 1.1 * h, h) for n, h in enumerate(heights, 1))


def test_horizon_is_recovered_from_equally_tall_people_despite_a_child():
    people = (*on_ground(170, [60, 90, 120, 180, 220]), standing(9, 500, 170 + 1.1 * 150, 90))
    assert estimate_horizon(people, SIZE) == pytest.approx(170, abs=6)


def test_horizon_falls_back_with_few_or_equal_or_implausible_people():
    fallback = DEFAULT_HORIZON * SIZE[0]
    assert estimate_horizon(on_ground(170, [60, 120]), SIZE) == fallback
    assert estimate_horizon(on_ground(170, [100, 100, 100]), SIZE) == fallback
    shrinking = tuple(standing(n, 50 * n, 450 - h, h) for n, h in enumerate([60, 100, 150], 1))
    assert estimate_horizon(shrinking, SIZE) == fallback


def test_people_cut_by_the_lower_border_are_not_used():
    people = on_ground(170, [60, 90, 120])
    cut = tuple(standing(10 + n, 30 * n, 480, 300) for n in range(4))
    assert estimate_horizon((*people, *cut), SIZE) == pytest.approx(estimate_horizon(people, SIZE))


def test_ground_rises_to_the_lower_border_and_is_far_above_the_horizon():
    depth = GroundPlaneDepth().estimate(np.zeros((*SIZE, 3), np.uint8), ())
    assert depth.shape == SIZE and depth.dtype == np.float32
    column = depth[:, 300]
    assert (np.diff(column) >= 0).all()
    assert column[: int(DEFAULT_HORIZON * SIZE[0])].max() < 0.05 and column[-1] > 0.98


def test_a_person_is_an_upright_billboard_with_relief():
    person = standing(1, 200, 400, 240)
    depth = GroundPlaneDepth(relief=0.08).estimate(np.zeros((*SIZE, 3), np.uint8), (person,))
    horizon = DEFAULT_HORIZON * SIZE[0]
    contact = (400 - horizon) / (480 - horizon)
    inside = depth[165:395, 205:275]
    assert inside.min() >= contact - 0.01 and inside.max() == pytest.approx(contact + 0.08, abs=0.01)
    assert depth[280, 240] > depth[280, 202]


def test_faces_stand_before_their_person_and_near_hides_far():
    near, far = standing(1, 200, 460, 300), standing(2, 280, 320, 120)
    face = Instance(3, "face", np.array([230, 170, 260, 200], np.float32), np.ones((30, 30), bool), parent=1)
    depth = GroundPlaneDepth().estimate(np.zeros((*SIZE, 3), np.uint8), (near, far, face))
    assert nearness(depth, face) > nearness(depth, near)
    assert depth[300, 290] > 0.75 > depth[300, 310]  # where both stand, the near one shows
    assert [i.id for i in far_to_near(depth, (face, near, far))] == [2, 1, 3]


def test_a_face_follows_its_person_whatever_the_depth_says():
    person = standing(1, 200, 460, 300)
    face = Instance(2, "face", np.array([230, 170, 260, 200], np.float32), np.ones((30, 30), bool), parent=1)
    depth = np.ones(SIZE, np.float32)
    depth[170:200, 230:260] = 0
    assert [i.id for i in far_to_near(depth, (face, person))] == [1, 2]


def test_large_pictures_are_computed_small_and_reach_their_size():
    person = Instance(1, "person", np.array([900, 800, 1100, 1800], np.float32), np.ones((1000, 200), bool))
    depth = GroundPlaneDepth(max_side=200).estimate(np.zeros((2000, 3000, 3), np.uint8), (person,))
    assert depth.shape == (2000, 3000)
    assert nearness(depth, person) > 0.7


def test_boxes_beyond_the_border_are_harmless():
    beyond = Instance(2, "license_plate", np.array([-10, 460, 30, 500], np.float32), np.ones((40, 40), bool))
    depth = GroundPlaneDepth().estimate(np.zeros((*SIZE, 3), np.uint8), (beyond,))
    assert np.isfinite(depth).all()
    with pytest.raises(InputError):
        GroundPlaneDepth().estimate(np.zeros(SIZE, np.uint8), ())
