import numpy as np
import pytest

from anonymizer.condition import DEFAULT, OFF, STRICT, guard
from anonymizer.core.errors import InputError
from anonymizer.core.records import Conditions, Instance


@pytest.fixture
def conditions() -> Conditions:
    rng = np.random.default_rng(3)
    depth = np.linspace(0.2, 0.8, 200, dtype=np.float32)[:, None].repeat(160, 1)
    depth[50:70, 60:80] += rng.uniform(0, 0.1, (20, 20)).astype(np.float32)
    return Conditions(depth=depth, edges=rng.uniform(0, 1, (200, 160)).astype(np.float32))


def instance(label: str, x1: int, y1: int, x2: int, y2: int, number: int = 1) -> Instance:
    return Instance(number, label, np.array([x1, y1, x2, y2], np.float32), np.ones((y2 - y1, x2 - x1), bool))


def entropy(values: np.ndarray) -> int:
    return np.unique(values).size


def test_off_returns_the_same_object_and_unknown_levels_are_refused(conditions):
    assert guard(conditions, (), OFF) is conditions
    with pytest.raises(InputError, match="guard level"):
        guard(conditions, (), 3)


@pytest.mark.parametrize("level", [DEFAULT, STRICT])
@pytest.mark.parametrize("label", ["face", "license_plate", "text"])
def test_nothing_of_a_faces_or_plates_edges_and_relief_is_left(conditions, level, label):
    target = instance(label, 60, 50, 80, 70)
    after = guard(conditions, (target,), level)
    other = np.random.default_rng(9).uniform(0, 1, (200, 160)).astype(np.float32)
    changed = conditions.edges.copy()
    changed[48:72, 58:82][1:-1, 1:-1] = other[48:72, 58:82][1:-1, 1:-1]
    again = guard(Conditions(depth=conditions.depth, edges=changed), (target,), level)
    # Whatever the edges inside were, the outcome is the same.
    assert np.array_equal(after.edges, again.edges)
    assert after.edges[53:67, 63:77].max() in (0.0, np.float32(0.7))
    assert (after.edges[48:72, 58:82] > 0).any()
    centre = after.depth[56:64, 66:74].astype(np.float64)
    assert np.abs(np.diff(centre, 2, axis=0)).max() < 1e-5 and np.abs(np.diff(centre, 2, axis=1)).max() < 1e-5


def test_the_face_rim_is_an_ellipse_without_anything_inside(conditions):
    edges = guard(conditions, (instance("face", 40, 40, 100, 120),), DEFAULT).edges
    assert edges[55:105, 55:85].max() == 0.0
    assert edges[80, 39:44].max() > 0 and edges[40:44, 70].max() > 0
    assert edges[30, 70] == 0.0  # the box grows before edges are removed


def test_persons_are_a_rim_and_vehicles_are_coarsened_first(conditions):
    inside = (slice(20, 180), slice(30, 110))
    for label, level in (("person", DEFAULT), ("person", STRICT), ("vehicle", STRICT)):
        hard = guard(conditions, (instance(label, 30, 20, 110, 180),), level).edges[inside]
        assert hard[8:-8, 8:-8].max() == 0.0 and hard[0].min() > 0.5
    soft = guard(conditions, (instance("vehicle", 30, 20, 110, 180),), DEFAULT).edges[inside]
    assert entropy(soft) <= 5 < entropy(conditions.edges[inside])


def test_outside_every_instance_nothing_changes(conditions):
    inside = np.zeros((200, 160), bool)
    inside[20:180, 30:110] = True
    for level in (DEFAULT, STRICT):
        after = guard(conditions, (instance("person", 30, 20, 110, 180),), level)
        assert np.array_equal(after.edges[~inside], conditions.edges[~inside])
        assert np.array_equal(after.depth, conditions.depth)


def test_instances_at_the_border_and_tiny_ones_work(conditions):
    crowd = (
        instance("face", 0, 0, 3, 3, 1),
        instance("license_plate", 150, 190, 170, 210, 2),
        instance("person", -5, -5, 4, 9, 3),
    )
    after = guard(conditions, crowd, STRICT)
    assert after.edges.shape == (200, 160) and np.isfinite(after.depth).all()
