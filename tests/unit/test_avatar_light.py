"""Light, noise and shadows on 20 made scenes whose sun, exposure and noise are known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import pytest

from anonymizer.avatar.light import (
    GAMMA,
    crisp,
    developed,
    estimate_light,
    exposed,
    look,
    noise_level,
    sharpness,
)
from anonymizer.avatar.render import Camera, Light, Mesh, Tracer
from anonymizer.avatar.shadow import Foot, cast
from anonymizer.core.records import Instance

SIZE = (240, 320)
HORIZON = 70
#: Height of a figure in metres.
TALL = 1.7


def capsule(radius: float = 0.2, height: float = TALL) -> Mesh:
    """A standing figure: a lathe of 16 by 12 vertices with its foot at the origin."""
    turns, rings = 16, 12
    t = np.linspace(0, 1, rings)
    profile = radius * np.sqrt(np.clip(1 - np.abs(2 * t - 1) ** 6, 1e-4, 1))
    angle = np.arange(turns) * 2 * np.pi / turns
    points = np.stack(
        [
            np.outer(profile, np.cos(angle)),
            np.outer(profile, np.sin(angle)),
            np.repeat(height * t[:, None], turns, 1),
        ],
        2,
    ).reshape(-1, 3)
    faces = []
    for row in range(rings - 1):
        for k in range(turns):
            a, b = row * turns + k, row * turns + (k + 1) % turns
            faces += [(a, b, a + turns), (b, b + turns, a + turns)]
    return Mesh(points.astype(np.float32), np.array(faces, np.int32))


@dataclass(frozen=True)
class Made:
    """A made scene: picture, mask, persons, and the truth about it."""

    image: np.ndarray
    hidden: np.ndarray
    persons: tuple[Instance, ...]
    sun: np.ndarray
    exposure: float
    noise: float


@cache
def made(seed: int, shadows: bool = True) -> Made:
    """Return a scene with three figures on rough ground before a wall, in sun of a random direction."""
    rng = np.random.default_rng(seed)
    pitch = float(rng.uniform(0.25, 0.4))
    azimuth, high = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(30, 60))
    level = np.array([np.sin(azimuth) * np.cos(high), np.cos(azimuth) * np.cos(high), np.sin(high)])
    cosine = np.sqrt(1 - pitch**2)
    sun = np.array([level[0], cosine * level[1] - pitch * level[2], pitch * level[1] + cosine * level[2]], np.float32)
    exposure, noise, direct = rng.uniform(0.35, 1.6), rng.uniform(1.5, 6), rng.uniform(0.5, 0.75)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    rough = cv2.GaussianBlur(rng.standard_normal(SIZE).astype(np.float32), (0, 0), 1.5)
    albedo = np.where(rows > HORIZON, 0.22, 0.3) * (1 + 0.25 * rough / rough.std() * 0.4)
    lit = np.ones(SIZE, np.float32)
    hidden = np.zeros(SIZE, bool)
    persons = []
    for n, x in enumerate((70, 160, 250)):
        scale = float(rng.uniform(36, 46))
        foot = np.array([x + rng.uniform(-15, 15), rng.uniform(165, 190)], np.float32)
        # The ground in the frame of this figure, whose foot is the origin; its axis leans as the camera does.
        slope = pitch / cosine
        z = -(rows - foot[1]) / scale
        points = np.stack([(columns - foot[0]) / scale, z / slope, z], 2).reshape(-1, 3).astype(np.float32)
        body = capsule()
        turn = np.array([[1, 0, 0], [0, cosine, -pitch], [0, pitch, cosine]], np.float32)
        tracer = Tracer([Mesh((body.vertices @ turn.T).astype(np.float32), body.faces)])
        up = np.array([0, -slope, 1], np.float32) / np.hypot(1, slope)
        free = tracer.free((points + 0.01 * up).astype(np.float32), np.broadcast_to(sun, points.shape).copy())
        if shadows:
            lit *= free.reshape(SIZE)
        half, tall = 0.25 * scale, TALL * scale * cosine
        box = np.array([foot[0] - half, foot[1] - tall, foot[0] + half, foot[1] + 2], np.float32)
        persons.append(Instance(n + 1, "person", box))
        hidden[int(box[1]) : int(box[3]) + 1, int(box[0]) : int(box[2]) + 1] = True
    lit[rows <= HORIZON] = 1
    light = exposure * albedo * (1 - direct + direct * lit)
    values = 255 * np.power(np.clip(light, 0, 1), 1 / GAMMA) + rng.normal(0, noise, SIZE)
    image = np.repeat(np.clip(np.rint(values), 0, 255).astype(np.uint8)[..., None], 3, 2)
    image[hidden] = 0
    return Made(image, hidden, tuple(persons), level.astype(np.float32), float(exposure), float(noise))


def test_the_sun_is_found_by_the_shadows_of_20_scenes() -> None:
    near = 0
    for seed in range(20):
        scene = made(seed)
        found = look(scene.image, scene.hidden, scene.persons, HORIZON).sun
        if found is not None:
            assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
            near += float(found @ scene.sun) >= np.cos(np.radians(45))
    assert near >= 17, near


def test_no_sun_is_found_where_nothing_casts_a_shadow() -> None:
    found = [look(*(s.image, s.hidden, s.persons), HORIZON).sun for s in (made(k, False) for k in range(20))]
    assert sum(sun is not None for sun in found) <= 1


def test_avatars_are_as_bright_as_their_surroundings_and_as_noisy() -> None:
    bright, noise = [], []
    body = capsule()
    for seed in range(20):
        scene = made(seed)
        seen = look(scene.image, scene.hidden, scene.persons, HORIZON)
        box = tuple(int(v) for v in scene.persons[1].box)
        rng = np.random.default_rng(seed)
        tracer = Tracer([body])
        hits = tracer.primary(Camera(40.0, np.array([20, 75], np.float32)), (0, 0, 40, 80), 1)
        shade = tracer.shade(hits, hits.normals, estimate_light(seen, box, rng), 3, rng)
        around = scene.image[~scene.hidden].astype(np.float32) / 255
        bright.append((np.power(shade, 1 / GAMMA).mean(), around.mean()))
        noise.append(255 * noise_level(scene.image, scene.hidden, box) / scene.noise)
    shown, real = np.array(bright).T
    assert np.corrcoef(shown, real)[0, 1] >= 0.7
    # The ground itself is a little rough, which looks like noise.
    assert 0.7 <= np.median(noise) <= 1.3 and np.mean(np.abs(np.array(noise) - 1) <= 0.3) >= 0.9, noise


def test_nothing_that_is_hidden_enters_the_light() -> None:
    scene = made(3)
    other = scene.image.copy()
    other[scene.hidden] = np.random.default_rng(1).integers(0, 256, (int(scene.hidden.sum()), 3), dtype=np.uint8)
    one, two = (look(image, scene.hidden, scene.persons, HORIZON) for image in (scene.image, other))
    box = tuple(int(v) for v in scene.persons[0].box)
    lights = [estimate_light(seen, box, np.random.default_rng(0)) for seen in (one, two)]
    for name in ("sun", "sunlight", "sky", "ground"):
        assert np.array_equal(getattr(lights[0], name), getattr(lights[1], name)), name
    assert one.blur == two.blur
    assert noise_level(scene.image, scene.hidden, box) == noise_level(other, scene.hidden, box)


def test_light_follows_the_surroundings() -> None:
    rng, nothing = np.random.default_rng(0), np.zeros(SIZE, bool)

    def light(colour: tuple[int, int, int]) -> Light:
        image = np.full((*SIZE, 3), colour, np.uint8)
        return estimate_light(look(image, nothing, (), HORIZON), (100, 100, 150, 200), rng)

    assert light((40, 40, 40)).sky.mean() < light((120, 120, 120)).sky.mean() < light((200, 200, 200)).sky.mean()
    # What is burnt out lies behind people, and there is no more to be read in it: of a door in the dark, nothing.
    door = np.full((*SIZE, 3), 40, np.uint8)
    door[80:160, 90:160] = 255
    dark = estimate_light(look(door, nothing, (), HORIZON), (100, 100, 150, 200), rng)
    assert dark.sky.mean() < light((120, 120, 120)).sky.mean()
    assert light((255, 255, 255)).sky.mean() < light((200, 200, 200)).sky.mean()
    warm = light((160, 110, 70))
    assert warm.sky[0] > warm.sky[2] and warm.ground[0] > warm.ground[2]


def test_who_stands_in_the_shade_of_a_picture_is_darker() -> None:
    rng, nothing = np.random.default_rng(0), np.zeros(SIZE, bool)
    shade = np.full((*SIZE, 3), 60, np.uint8)
    shade[:, 200:] = 220
    seen = look(shade, nothing, (), HORIZON)
    dark, bright = (estimate_light(seen, box, rng).sky.mean() for box in ((20, 100, 60, 200), (260, 100, 300, 200)))
    assert dark < bright / 3


def test_a_camera_adds_contrast_around_a_middle_and_keeps_hues() -> None:
    values = np.linspace(0.1, 0.9, 50, dtype=np.float32)[:, None] * np.array([1, 0.8, 0.6], np.float32)
    middle = float(values[:, 0].mean())
    out = developed(values, middle)
    # A part is developed as the whole is.
    assert np.array_equal(developed(values[:5], middle), out[:5])
    assert out[:, 0].std() > 1.2 * values[:, 0].std() and out[:, 0].mean() == pytest.approx(
        values[:, 0].mean(), rel=0.1
    )
    assert np.allclose(out[:, 2] / out[:, 0], 0.6, atol=1e-4)


def test_detail_of_the_tall_is_strengthened_without_a_rim() -> None:
    rng = np.random.default_rng(0)
    cover = np.zeros((60, 60, 1), np.float32)
    cover[10:50, 10:50] = 1
    plain, rough = (
        np.concatenate([v * cover, cover], 2) for v in (np.full((60, 60, 3), 0.5), rng.uniform(0.4, 0.6, (60, 60, 3)))
    )
    assert np.array_equal(crisp(rough.astype(np.float32), 100, 0.4), rough.astype(np.float32))
    assert crisp(rough.astype(np.float32), 600, 0.4)[12:48, 12:48, 0].std() > 1.2 * rough[12:48, 12:48, 0].std()
    assert crisp(rough.astype(np.float32), 600, 2.0)[12:48, 12:48, 0].std() < 1.2 * rough[12:48, 12:48, 0].std()
    assert np.allclose(crisp(plain.astype(np.float32), 600, 0.4), plain, atol=1e-5), (
        "nothing to strengthen at the outline"
    )


def test_highlights_approach_white_and_keep_their_hue() -> None:
    ramp = np.linspace(0, 3, 50, dtype=np.float32)[:, None] * np.array([1, 0.8, 0.6], np.float32)
    out = exposed(ramp)
    assert out.max() < 1 and (np.diff(out[:, 0]) > 0).all()
    assert np.allclose(out[ramp[:, 0] <= 0.7], ramp[ramp[:, 0] <= 0.7])
    assert np.allclose(out[1:, 2] / out[1:, 0], 0.6, atol=1e-4)


def test_sharpness_is_that_of_the_sharpest_edges() -> None:
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 2, (24, 32)) * 150 + 50, np.ones((10, 10))).astype(np.float32)
    for blur in (0.7, 1.2, 2.0):
        soft = np.repeat(cv2.GaussianBlur(blocks, (0, 0), blur)[..., None], 3, 2)
        found = sharpness(np.rint(soft).astype(np.uint8), np.zeros(SIZE, bool))
        assert found == pytest.approx(blur, rel=0.35)


def test_a_shadow_lies_at_the_foot_and_away_from_the_sun() -> None:
    body, rng = capsule(), np.random.default_rng(0)
    camera, box = Camera(60.0, np.array([100, 120], np.float32)), (0, 0, 200, 160)
    foot = [Foot(0.0, -0.05)]
    full = np.full(3, 0.6, np.float32)
    from_left = Light(np.array([-0.7, 0, 0.7], np.float32), full, full, full / 3)
    shadow = cast(Tracer([body]), foot, 0.3, camera, box, from_left, rng)
    assert shadow.shape == (160, 200) and shadow.min() >= 0 and shadow.max() <= 1
    rows = shadow[112:126]
    assert rows[:, 112:135].mean() > 3 * rows[:, 65:88].mean()
    overcast = cast(Tracer([body]), foot, 0.3, camera, box, Light(from_left.sun, full * 0, full, full / 3), rng)
    right, left = overcast[112:126, 105:125].mean(), overcast[112:126, 75:95].mean()
    assert right == pytest.approx(left, rel=0.25) and overcast[112:126, 90:110].max() > 0.12
    assert overcast[112:126, 95:105].mean() > 3 * overcast[112:126, 150:].mean()
