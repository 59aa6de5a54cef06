"""Render a street with people and cars, for trying everything out without a photograph of anybody.

Usage: ``python examples/render_people.py FILE.png [--seed N]``. The same seed gives the same picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from render_plates import HORIZON, render_street, save

from anonymizer.avatar import AvatarArtist
from anonymizer.models import weights
from anonymizer.redraw.avatars import pasted, shaded

__all__ = ["PEOPLE", "render_people"]

#: Stance of the pose prior, feet x and y, height in pixels, turn in radians; far to near.
PEOPLE = (
    (7, (44, 398), 104, 1.2),
    (1, (812, 500), 196, 0.5),
    (16, (492, 640), 330, -0.3),
    (19, (1236, 692), 380, 0.5),
)
#: Faces of rendered people are averages, which descriptors find alike: where avatars drawn next resemble them too much,
#: the demo would fill. With this one it redraws everybody.
SEED = 10


def render_people(seed: int = SEED) -> NDArray[np.uint8]:
    """Return the street with people in it, RGB uint8 (720, 1280, 3)."""
    bank = weights.path("prototypes")
    artist = AvatarArtist(weights.path("body"), bank / "textures.safetensors", weights.path("poses"))
    street = render_street(seed)
    size = street.shape[0], street.shape[1]
    scene = artist.look(street, np.zeros(size, np.bool_), [], float(HORIZON))
    rng = np.random.default_rng(seed)
    stood = [artist.stand(street, stance, foot, height, rng, scene, turn) for stance, foot, height, turn in PEOPLE]
    drawn = [rendering for rendering in stood if rendering is not None]
    street, _ = shaded(street, drawn)
    for rendering in drawn:
        street = pasted(street, (0, 0, size[1], size[0]), rendering)
    return street


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Render a street with people and cars.")
    parser.add_argument("file", type=Path, metavar="FILE.png")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    save(render_people(arguments.seed), arguments.file)
