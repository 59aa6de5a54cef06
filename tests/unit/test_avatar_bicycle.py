"""Bicycles: closed meshes on the ground, and riders with pelvis, hands and feet where they belong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anonymizer.avatar import AvatarArtist
from anonymizer.avatar.bicycle import GRIP, KINDS, PEDALS, SADDLE, Bicycle, draw_bicycle, frame_of
from anonymizer.avatar.body import Body
from anonymizer.avatar.mesh import about
from anonymizer.avatar.riding import HIP_ABOVE, SOLE, Mounted, heading_of, mount
from anonymizer.avatar.stance import ANKLES, KNEES, ROWS, Stance
from anonymizer.core.records import Instance, PersonView
from anonymizer.models import weights

from .test_avatar import FACES, MIDDLE, scene, standing

UNSEEN = Stance(np.tile(np.array([0, 0, 1], np.float32), (len(ROWS), 1)), np.zeros(len(ROWS), np.float32))
UP = np.array([0, 0, 1], np.float32)
#: A child, a short woman, and a tall man.
PEOPLE = ([0.5, 0.25, 0.5, 0.5, 0.5, 0.5], [1, 0.6, 0.5, 0.5, 0.2, 0.5], [0, 0.6, 0.7, 0.6, 0.85, 0.6])


@pytest.fixture(scope="module")
def body() -> Body:
    return Body.load(weights.path("body"))[0]


def bicycle(kind: str, seed: int = 1) -> Bicycle:
    return replace(draw_bicycle(np.random.default_rng(seed)), frame=frame_of(kind))


def joint(body: Body, shape_heads: np.ndarray, on: Mounted, bone: str) -> np.ndarray:
    matrix = on.transforms[body.number(bone)]
    return np.asarray(matrix[:, :3] @ shape_heads[body.number(bone)] + matrix[:, 3])


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_of_a_bicycle_is_closed_and_both_wheels_stand_on_the_ground(kind: str) -> None:
    frame = frame_of(kind)
    assert frame_of(kind) is frame, "made once"
    edges = np.sort(frame.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, count = np.unique(edges, axis=0, return_counts=True)
    assert (count == 2).all()
    for tyre in frame.wheels:
        assert abs(float(frame.vertices[tyre, 2].min())) < 1e-3
    # Mudguards and pedals stay above.
    assert frame.vertices[:, 2].min() > -1e-3
    length, height = float(np.ptp(frame.vertices[:, 1])), float(frame.vertices[:, 2].max())
    assert 1.6 < length < 1.95 and 0.9 < height < 1.15
    assert np.array_equal(frame.drawn(1000.0), frame.faces)
    assert len(frame.drawn(50.0)) == frame.coarse < len(frame.faces), "spokes are too thin to be seen"


def test_bicycles_differ_in_kind_and_colour_and_have_one_pedal_up() -> None:
    drawn = [draw_bicycle(np.random.default_rng(seed)) for seed in range(60)]
    assert {id(b.frame) for b in drawn} == {id(frame_of(kind)) for kind in KINDS}
    assert len({tuple(b.colours[2]) for b in drawn}) == 60
    assert all(abs(np.sin(b.crank)) > 0.5 for b in drawn)
    assert 0.3 < np.mean([b.crank > 0 for b in drawn]) < 0.7


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("phenotype", PEOPLE)
def test_riders_sit_on_the_saddle_hold_the_grips_and_stand_on_the_pedals(
    body: Body, kind: str, phenotype: list[float]
) -> None:
    shape = body.rest(np.array(phenotype, np.float32))
    on = mount(body, shape, bicycle(kind), UNSEEN, np.eye(3, dtype=np.float32), 0.0)
    frame, points = on.bicycle.frame, on.vertices
    saddle = points[np.unique(frame.faces[frame.materials == SADDLE])]
    hips = (joint(body, shape.heads, on, "upperleg01.L") + joint(body, shape.heads, on, "upperleg01.R")) / 2
    above = saddle[np.abs(saddle[:, 1] - hips[1]) < 0.05]
    assert len(above) and abs(float(hips[2] - above[:, 2].max()) - HIP_ABOVE) < 0.03
    corners = points[frame.faces[(frame.materials == GRIP) & (frame.parts[frame.faces[:, 0]] == 0)]]
    # Tubes have corners at their ends alone.
    shares = np.random.default_rng(0).dirichlet((1, 1, 1), 40).astype(np.float32)
    grips = np.einsum("sk,fkx->fsx", shares, corners).reshape(-1, 3)
    for k, side in enumerate("LR"):
        pedal = points[frame.parts == PEDALS[k]]
        ball = joint(body, shape.heads, on, f"toe2-1.{side}")
        assert np.linalg.norm(ball[:2] - pedal[:, :2].mean(0)) < 0.02
        assert abs(float(ball[2] - pedal[:, 2].max()) - SOLE) < 0.02
        wrist, knuckle = (joint(body, shape.heads, on, f"{bone}.{side}") for bone in ("wrist", "finger3-1"))
        assert np.linalg.norm(grips - (wrist + 2 * knuckle) / 3, axis=1).min() < 0.04
    assert abs(float(points[frame.wheels.any(0), 2].min())) < 1e-3
    # Nobody reaches below the wheels, and knees point ahead.
    assert float(body.pose(shape, on.transforms)[:, 2].min()) > 0.02
    assert joint(body, shape.heads, on, "lowerleg01.L")[1] < hips[1]


def test_where_the_camera_looks_down_the_farther_wheel_stands_higher_and_riders_keep_hold(body: Body) -> None:
    shape = body.rest(MIDDLE)
    turn = about(UP, np.radians(160))
    on = mount(body, shape, bicycle("city"), UNSEEN, turn, 0.2)
    rear, front = (on.vertices[own] for own in on.bicycle.frame.wheels)
    assert rear[:, 1].mean() < front[:, 1].mean() and rear[:, 2].min() < front[:, 2].min() - 0.15
    pedal = on.vertices[on.bicycle.frame.parts == PEDALS[0]]
    assert np.linalg.norm(joint(body, shape.heads, on, "toe2-1.L") - pedal.mean(0)) < 0.09
    assert np.allclose(on.stance.rows[ROWS.index("hips")], turn[:, 0], atol=1e-5)


@pytest.mark.parametrize("degrees", [-160, -120, -90, -30, 0, 20, 45, 70, 135, 180])
def test_a_bicycles_box_tells_how_far_it_is_turned(degrees: float) -> None:
    turn = about(UP, np.radians(degrees))
    points = frame_of("city").vertices @ turn.T
    width, height = float(np.ptp(points[:, 0])), float(np.ptp(points[:, 2]))
    # As a pose tells it, 15 degrees off.
    told = heading_of(about(UP, np.radians(degrees + (15 if 0 < degrees % 90 < 70 else 0))), width, height, 0.0)
    assert np.degrees(np.arccos(np.clip((np.trace(told @ turn.T) - 1) / 2, -1, 1))) < 20


def rider(view: PersonView) -> Instance:
    """Return a person whose feet are raised."""
    marks = view.landmarks.copy()
    marks[list(ANKLES), 1] -= 60
    marks[list(KNEES), 1] -= 20
    return Instance(1, "person", np.array([80, 20, 220, 395], np.float32), body=replace(view, landmarks=marks))


def test_a_rendering_tells_the_rider_from_the_bicycle(body: Body) -> None:
    artist = AvatarArtist(weights.path("body"), FACES, weights.path("poses"))
    person, box = rider(standing(body, body.rest(MIDDLE))), np.array([110, 200, 190, 396], np.float32)
    begun = [
        artist.begin(scene(), person, np.random.default_rng(3), None, None, "bicycle", ridden) for ridden in (box, None)
    ]
    on, off = (drawing() for drawing in begun if drawing is not None)
    assert on is not None and off is not None and not off.ridden.any()
    assert on.words[-1] == "riding a bicycle" and off.words == on.words[:-1]
    cycle, rides = on.ridden > 0.9, (on.ridden < 0.1) & (on.alpha > 0.9)
    assert cycle.sum() > 500 and rides.sum() > 2000
    assert (on.parts[on.ridden == 1] == 0).all() and (on.parts[rides] > 0).mean() > 0.99
    bottom = on.box[1] + int(np.flatnonzero(cycle.any(1))[-1])
    assert abs(bottom - 396) < 12, "the wheels stand where they stood"
    assert np.flatnonzero(cycle.any(1))[-1] > np.flatnonzero(rides.any(1))[-1], "feet do not reach the ground"
    # Shadows lie under the wheels.
    rows = np.flatnonzero((on.shadow > 0.1).any(1))
    assert len(rows) and on.box[1] + rows.max() > bottom - 10
