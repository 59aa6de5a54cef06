"""Light of a scene from its surroundings: brightness and cast of sky and ground, and the picture's noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.render import Light
from anonymizer.geometry import IntBox, paste_window

__all__ = ["estimate_light", "noise_level"]

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]

#: Surroundings of a person that are looked at, as a share of the longer side of its box on each side.
AROUND = 0.6
#: Brightness of ordinary surroundings in [0, 1]; the (linear) light on people follows it with this power, within
#: limits: half of what it does in the picture, for people are seldom lit like the wall behind.
USUAL, POWER, LIMITS = 0.44, 1.1, (0.3, 1.4)
#: Share of the surroundings' colour in the light.
CAST = 0.5
#: Sun and sky on white surfaces in ordinary light; the ground sends back a part of both.
SUN, SKY, GROUND = 0.9, 0.52, 0.26
#: Contrast (standard deviation of brightness) of surroundings in full sun and under clouds.
SUNNY, CLOUDY = 0.26, 0.12


def estimate_light(image: Image, box: IntBox, rng: np.random.Generator) -> Light:
    """Return the light on a person.

    Args:
        image: RGB uint8 (H, W, 3) with everything anonymized filled; nothing of the person is in it.
        box: Integer xyxy of the person in it.
        rng: From which side the sun comes.
    """
    pad = round(AROUND * max(box[2] - box[0], box[3] - box[1]))
    near = _window(image, (box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad))
    pixels = near.reshape(-1, 3).astype(np.float32) / 255
    mean = pixels.mean(0)
    grey = float(mean.mean())
    bright = float(np.clip((grey / USUAL) ** POWER, *LIMITS))
    tint = 1 + CAST * (np.clip(mean / max(grey, 0.02), 0.6, 1.5) - 1)
    lower = near[near.shape[0] // 2 :].reshape(-1, 3).astype(np.float32).mean(0) / 255
    floor = 1 + CAST * (np.clip(lower / max(float(lower.mean()), 0.02), 0.6, 1.5) - 1)
    sunny = float(np.clip((pixels.mean(1).std() - CLOUDY) / (SUNNY - CLOUDY), 0.15, 1))
    side = 1.0 if rng.random() < 0.5 else -1.0
    sun = np.array([0.55 * side, -0.65, 0.8], np.float32)
    # What the sun does not give the sky does.
    return Light(
        sun=sun,
        sunlight=np.float32(bright * SUN * sunny) * tint.astype(np.float32) * np.array([1.03, 1, 0.95], np.float32),
        sky=np.float32(bright * (SKY + 0.35 * SUN * (1 - sunny))) * tint.astype(np.float32),
        ground=np.float32(bright * GROUND) * floor.astype(np.float32),
    )


def noise_level(image: Image, box: IntBox) -> float:
    """Return the standard deviation of a picture's noise around a box, in [0, 1], from its smoothest places."""
    grey = _window(image, box).astype(np.float32).mean(2) / 255
    if min(grey.shape) < 8:
        return 0.0
    # Immerkaer, 1996: a kernel that sees neither slopes nor edges' first order.
    k = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    out = sum(
        float(k[i, j]) * grey[i : grey.shape[0] - 2 + i, j : grey.shape[1] - 2 + j] for i in range(3) for j in range(3)
    )
    return float(np.percentile(np.abs(np.asarray(out)), 35) / 0.45 / 6)


def _window(image: Image, box: IntBox) -> Image:
    """Return the part of a picture inside a box; the whole picture where they do not meet."""
    inside, _ = paste_window(box, (image.shape[0], image.shape[1]))
    part = image[inside]
    return part if part.size else image
