"""Ray tracing and meshes against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from anonymizer.avatar.mesh import areas, cut, normals
from anonymizer.avatar.render import Camera, Hits, Light, Mesh, Tracer, averaged

NOBODY = np.zeros(3, np.float32)
CAMERA = Camera(50.0, np.array([100, 100], np.float32))
BOX = (0, 0, 200, 200)


def sphere(radius: float = 1.0, middle: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    around, down = 96, 48
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, around, endpoint=False), np.linspace(0, np.pi, down))
    points = np.stack([np.sin(v) * np.cos(u), np.sin(v) * np.sin(u), np.cos(v)], -1).reshape(-1, 3)
    a = (np.arange(down - 1)[:, None] * around + np.arange(around)).ravel()
    b = (np.arange(down - 1)[:, None] * around + (np.arange(around) + 1) % around).ravel()
    faces = np.concatenate([np.stack([a, a + around, b], 1), np.stack([b, a + around, b + around], 1)])
    return Mesh((points * radius + middle).astype(np.float32), faces.astype(np.int32))


def plane(height: float = 0.0, half: float = 50.0) -> Mesh:
    corners = [(-half, -half, height), (half, -half, height), (half, half, height), (-half, half, height)]
    return Mesh(np.array(corners, np.float32), np.array([[0, 1, 2], [0, 2, 3]], np.int32))


def lit(sun: tuple[float, float, float], sunlight: float, sky: float, ground: float) -> Light:
    return Light(np.array(sun, np.float32), *(np.full(3, value, np.float32) for value in (sunlight, sky, ground)))


def shade(tracer: Tracer, hits: Hits, light: Light, rays: int = 0, seed: int = 0) -> np.ndarray:
    return tracer.shade(hits, hits.normals, light, rays, np.random.default_rng(seed))[:, 0]


def test_sphere_covers_its_disc() -> None:
    tracer = Tracer([sphere()])
    hits = tracer.primary(CAMERA, BOX, 2)
    alpha = averaged(hits, np.ones((len(hits.ray), 1), np.float32), 2)[..., 0]
    assert alpha.sum() == pytest.approx(np.pi * 50**2, rel=0.01)
    rows, columns = np.mgrid[:200, :200] + 0.5
    assert np.abs((alpha * columns).sum() / alpha.sum() - 100) < 0.1
    assert np.abs((alpha * rows).sum() / alpha.sum() - 100) < 0.1
    assert alpha[100, 100] == 1 and alpha[0, 0] == 0


def test_points_and_normals_are_the_spheres() -> None:
    hits = Tracer([sphere()]).primary(CAMERA, BOX, 1)
    assert np.abs(np.linalg.norm(hits.points, axis=1) - 1).max() < 3e-3
    inner = np.hypot(hits.points[:, 0], hits.points[:, 2]) < 0.95
    assert np.abs(hits.normals[inner] - hits.points[inner]).max() < 0.02
    assert (hits.normals[:, 1] <= 1e-6).all()


def test_nearer_mesh_hides_the_farther() -> None:
    hits = Tracer([sphere(middle=(0, 5, 0)), sphere(0.5, (0, -5, 0))]).primary(CAMERA, BOX, 1)
    radius = np.hypot(hits.points[:, 0], hits.points[:, 2])
    assert (hits.mesh[radius < 0.49] == 1).all() and (hits.mesh[radius > 0.51] == 0).all()


def test_sunlight_follows_lamberts_law() -> None:
    tracer = Tracer([sphere()])
    hits = tracer.primary(CAMERA, BOX, 1)
    sun = np.array([0.6, -0.64, 0.48], np.float32)
    bright = shade(tracer, hits, lit(tuple(sun), 1, 0, 0))
    expected = np.clip(hits.normals @ (sun / np.linalg.norm(sun)), 0, 1)
    # Beside the border between light and shadow the mesh shadows itself.
    clear = expected > 0.25
    assert np.abs(bright[clear] - expected[clear]).max() < 0.02
    assert bright[expected == 0].max() == 0


def test_what_stands_in_the_sun_throws_a_shadow() -> None:
    ball, wall = sphere(0.5), Mesh(*_wall(2.0))
    tracer = Tracer([wall, ball])
    hits = tracer.primary(CAMERA, BOX, 1)
    bright = shade(tracer, hits, lit((1, -1, 0), 1, 0, 0))
    own = hits.mesh == 0
    # The sun stands at 45 degrees, so the ball's shadow falls beside it by the wall's distance.
    offset = hits.points[own][:, [0, 2]] - np.array([-2, 0])
    inside, outside = np.hypot(*offset.T) < 0.3, np.hypot(*offset.T) > 1.1
    visible = np.hypot(*hits.points[own][:, [0, 2]].T) > 0.6
    assert bright[own][inside & visible].mean() < 0.05
    assert bright[own][outside & visible].mean() > 0.69


def _wall(at: float) -> tuple[np.ndarray, np.ndarray]:
    corners = np.array([(-9, at, -9), (9, at, -9), (9, at, 9), (-9, at, 9)], np.float32)
    return corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def test_open_surfaces_get_the_whole_sky_and_ground_by_their_tilt() -> None:
    tracer = Tracer([sphere()])
    hits = tracer.primary(CAMERA, BOX, 1)
    light = shade(tracer, hits, lit((0, 0, 1), 0, 1, 1), 16)
    assert np.abs(light - 1).mean() < 0.02, "nothing closes a sphere in"
    sky = shade(tracer, hits, lit((0, 0, 1), 0, 1, 0), 64)
    up, down = hits.normals[:, 2] > 0.9, hits.normals[:, 2] < -0.9
    assert sky[up].mean() > 0.9 and sky[down].mean() < 0.1


def test_closed_surfaces_are_darker() -> None:
    near = Tracer([sphere(), sphere(1.0, (2.02, 0, 0))])
    hits = near.primary(CAMERA, BOX, 1)
    light = shade(near, hits, lit((0, 0, 1), 0, 1, 1), 32)
    own = hits.mesh == 0
    side = hits.points[own][:, 0]
    assert light[own][side > 0.8].mean() < 0.8 < light[own][side < -0.8].mean()


def test_same_seed_gives_the_same_light() -> None:
    tracer = Tracer([sphere()])
    hits = tracer.primary(CAMERA, BOX, 1)
    light = lit((0.5, -0.5, 1), 1, 1, 0.5)
    assert (shade(tracer, hits, light, 3, 5) == shade(tracer, hits, light, 3, 5)).all()
    assert (shade(tracer, hits, light, 3, 5) != shade(tracer, hits, light, 3, 6)).any()


def test_cut_keeps_the_area_above_the_field() -> None:
    mesh = sphere()
    part = cut(mesh.faces, mesh.vertices[:, 2] - np.float32(0.3))
    kept = areas(part.of(mesh.vertices), part.faces).sum()
    assert kept == pytest.approx(2 * np.pi * 0.7, rel=0.01)
    assert part.of(mesh.vertices)[:, 2].min() == pytest.approx(0.3, abs=1e-5)
    assert (normals(part.of(mesh.vertices), part.faces) * part.of(mesh.vertices)).sum(1).mean() > 0.95


def test_cut_of_nothing_and_of_everything() -> None:
    mesh = sphere()
    assert len(cut(mesh.faces, np.full(len(mesh.vertices), -1, np.float32)).faces) == 0
    assert len(cut(mesh.faces, np.full(len(mesh.vertices), 1, np.float32)).faces) == len(mesh.faces)


def test_plane_seen_along_itself_and_from_the_front() -> None:
    assert not len(Tracer([plane(half=1.0)]).primary(CAMERA, (0, 0, 200, 90), 1).ray)
    hits = Tracer([Mesh(*_wall(2.0))]).primary(CAMERA, BOX, 1)
    assert len(hits.ray) == 200 * 200
    assert np.allclose(hits.points[:, 1], 2) and np.allclose(hits.normals, [0, -1, 0])
