"""Shadows of avatars on the ground: what of the sun and of the sky does not reach it beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.mesh import unit
from anonymizer.avatar.render import Camera, Light, Tracer
from anonymizer.core.geometry import IntBox

__all__ = ["Foot", "cast"]

Floats = NDArray[np.float32]

#: Rays to the sun and to the sky per point of the ground.
SUN_RAYS, SKY_RAYS = 4, 10
#: Radius of the sun's disc, as a share of the distance: hazy sky around it softens shadows.
DISC = 0.06
#: Step in metres at which the ground is looked at, and how far above it rays begin.
STEP, OFF = 0.025, 0.01
#: Metres before and behind the body on which shadows are drawn.
REACH = 1.2
#: Share of the light on the ground that a shadow takes at most, for some comes back from what stands around, and the
#: power that keeps shadows of the open sky close to where a foot stands.
MOST, CLOSE = 0.85, 1.5
#: A picture's values are this root of light.
GAMMA = 2.2


@dataclass(frozen=True, slots=True)
class Foot:
    """A foot on the ground.

    Args:
        level: Height z of its sole in metres.
        front: Its least distance y from the camera in metres.
    """

    level: float
    front: float


def cast(
    tracer: Tracer,
    feet: Sequence[Foot],
    pitch: float,
    camera: Camera,
    box: IntBox,
    light: Light,
    rng: np.random.Generator,
) -> Floats:
    """Return how far a body darkens the ground in a box of the picture, float32 (h, w) in [0, 1].

    The body is seen from the side; the ground before and behind its soles takes as many rows as the camera, which
    looks down, sees of it. Each foot has ground at its own height: one that stands nearer stands lower in a picture.

    Args:
        tracer: The body.
        feet: Where it stands.
        pitch: Sine of the angle by which the camera looks down.
        camera: The view.
        box: Integer xyxy.
        light: Sun and surroundings.
        rng: Directions of rays.
    """
    shadows = [_under(tracer, foot, pitch, camera, box, light, rng) for foot in feet]
    return np.max(shadows, axis=0) if shadows else np.zeros((box[3] - box[1], box[2] - box[0]), np.float32)


def _under(
    tracer: Tracer, foot: Foot, pitch: float, camera: Camera, box: IntBox, light: Light, rng: np.random.Generator
) -> Floats:
    x1, y1, x2, y2 = box
    step = max(camera.scale * STEP, 1.0)
    # Rows of the ground seen nearly from the side are closer together.
    fine = max(step * 0.5, 1.0)
    columns = np.arange(x1 + step / 2, x2 + step / 2, step, dtype=np.float32)
    rows = np.arange(y1 + fine / 2, y2 + fine / 2, fine, dtype=np.float32)
    sole = float(camera.shift[1]) - camera.scale * foot.level
    x = (columns - camera.shift[0]) / np.float32(camera.scale)
    y = np.float32(foot.front) - (rows - np.float32(sole)) / np.float32(camera.scale * pitch)
    low, high = tracer.depths()
    near = (y > low - REACH) & (y < high + REACH)
    out = np.zeros((len(rows), len(columns)), np.float32)
    if not near.any():
        return np.zeros((y2 - y1, x2 - x1), np.float32)
    across, away = (a.ravel() for a in np.meshgrid(x, y[near]))
    start = np.stack([across, away, np.full_like(across, foot.level + OFF)], 1).astype(np.float32)
    up = np.array([0, 0, 1], np.float32)
    sun = unit(light.sun)
    facing = max(float(sun[2]), 0.0)
    lit, open_ = np.ones(len(start), np.float32), np.zeros(len(start), np.float32)
    if facing > 0:
        lit[:] = 0
        for _ in range(SUN_RAYS):
            lit += tracer.free(start, unit(sun + DISC * rng.standard_normal((len(start), 3)).astype(np.float32)))
        lit /= SUN_RAYS
    for _ in range(SKY_RAYS):
        way = unit(up + 0.98 * unit(rng.standard_normal((len(start), 3)).astype(np.float32)))
        open_ += tracer.free(start, way)
    open_ /= SKY_RAYS
    direct, sky = facing * float(light.sunlight.mean()), float(light.sky.mean())
    taken = (direct * (1 - lit) + sky * (1 - open_)) / max(direct + sky, 1e-6)
    out[near] = 1 - np.power(1 - MOST * np.clip(taken, 0, 1) ** CLOSE, 1 / GAMMA).reshape(-1, len(x))
    smooth = cv2.GaussianBlur(out, (0, 0), 1.2)
    return np.clip(cv2.resize(smooth, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR), 0, 1).astype(np.float32)
