"""Paint: colours and fine relief of skin, face and hair where rays meet them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.appearance import Appearance
from anonymizer.avatar.faces import WIDTH
from anonymizer.avatar.hair import THIN
from anonymizer.avatar.mesh import dot, unit
from anonymizer.avatar.render import Hits, Light

__all__ = ["bumped", "embossed", "hair_paint", "sheen", "skin_paint", "waves"]

Floats = NDArray[np.float32]

#: Step of depth in metres between neighbours beyond which they are not of one surface; steepest relief.
STEP, STEEPEST = 0.03, np.float32(1.4)
#: Waves summed for one relief.
WAVES = 5
#: How much of the scalp's colour is the hair's: the rest is skin between strands.
ROOTS = 0.8
#: Light that comes to the scalp between strands: at a parting it is darker than the hair beside it.
UNDER = 0.55
#: White of a highlight on hair, and of one on skin.
GLINT, SKIN_GLOSS = np.float32(0.13), np.float32(0.07)
#: Greatest brightness of a highlight on hair beside its colour, and how much of it is lost at the ends.
BRIGHTEST, ENDS = np.float32(0.8), np.float32(0.75)
#: Pixels a metre from which on pores are seen: two for one of them and the skin around it.
PORED = 700.0
#: What the blood under the skin adds to red, green and blue; row and half width of the nose, and row of the cheeks and
#: their distance from the middle, in texels of a face.
FLUSHED, NOSE, CHEEK = np.array((0.025, -0.035, -0.03), np.float32), (78.0, 9.0), (76.0, 27.0)
#: Colour of eyes, RGB in [0, 1]; radius of an iris and of a pupil in metres.
WHITE = np.array((0.62, 0.585, 0.565), np.float32)
IRIS_RADIUS, PUPIL = 0.006, 0.0019


def skin_paint(
    look: Appearance,
    at: Floats,
    places: Floats,
    normal: Floats,
    eye: Floats,
    pupil: Floats,
    scalp: Floats,
    light: Light,
    scale: float,
) -> Floats:
    """Return colours (N, 3) of skin, face, eyes and the scalp under the hair.

    Args:
        look: Whose skin.
        at: float32 (N, 3), points of the body at rest.
        places: float32 (N, 3), where they lie on the face, see ``faces.places``.
        normal: float32 (N, 3), posed normals.
        eye: float32 (N,), share of the eyeballs.
        pupil: float32 (N, 2), right and up from the middle of the next pupil in metres.
        scalp: float32 (N,), how far inside of the hair line, in metres.
        light: What lights the body.
        scale: Pixels a metre in the picture: pores are seen from near by.
    """
    mottled = 1 + 0.02 * waves(at, 60, 5) + 0.012 * waves(at, 900, 6)
    if scale > PORED:
        # Pores are small and apart.
        pores = np.clip(waves(at, 2800, 7) - 0.5, 0, 1)
        mottled = mottled - 0.08 * np.minimum(scale / PORED - 1, 1) * pores
    colour = look.skin * mottled[:, None] * look.face.look_up(places[:, :2], places[:, 2])
    colour = colour * (1 + _flush(places)[:, None] * FLUSHED)
    hair = np.clip(0.7 * scalp / THIN + 0.15 * waves(at, 350, 3), 0, 1)[:, None]
    roots = UNDER * (ROOTS * look.hair + (1 - ROOTS) * look.skin * look.hair)
    colour = colour + (roots - colour) * hair * 0.92
    colour = colour + (SKIN_GLOSS * sheen(normal, light, 14))[:, None] * (1 - 0.7 * hair)
    ball = eye > 0.5
    if ball.any():
        colour[ball] = _eye(look, pupil[ball])
    return np.asarray(np.clip(colour, 0, 1), np.float32)


def _flush(places: Floats) -> Floats:
    """Return how much blood shows through the skin of nose and cheeks, float32 (N,) in [0, 1]."""
    column, row, ahead = places.T
    side = np.abs(column - (WIDTH - 1) / 2)
    nose = np.exp(-(((row - NOSE[0]) / 11) ** 2) - (side / NOSE[1]) ** 2)
    cheeks = np.exp(-(((row - CHEEK[0]) / 12) ** 2) - ((side - CHEEK[1]) / 11) ** 2)
    return np.asarray((nose + 0.7 * cheeks) * np.clip(3 * ahead + 0.5, 0, 1), np.float32)


def _eye(look: Appearance, pupil: Floats) -> Floats:
    """Return colours (N, 3) of eyeballs: the white, darker in the corners, the iris with its rim, pupil and a glint."""
    away = np.hypot(pupil[:, 0], pupil[:, 1])
    white = WHITE * np.clip(1.08 - 22 * np.maximum(away - IRIS_RADIUS, 0), 0.55, 1)[:, None]
    # Veins in the corners.
    white = white * (1 - np.clip(60 * (away - 0.0075), 0, 0.25)[:, None] * np.array([0, 1, 0.9], np.float32))
    angle = np.arctan2(pupil[:, 1], pupil[:, 0])
    rays = 1 + 0.12 * np.sin(angle * 23) + 0.1 * np.sin(angle * 37 + 1)
    # Brighter around the pupil, dark at the limbus, which is no sharp line.
    iris = look.iris * (rays * np.clip(1.35 - 150 * np.maximum(away - 0.0034, 0), 0.3, 1.35))[:, None]
    share = np.clip((IRIS_RADIUS - away) / 0.0009, 0, 1)[:, None]
    colour = white + (iris - white) * share
    colour = colour * np.clip((away - PUPIL) / 0.0005, 0.06, 1)[:, None]
    # The upper lid and its lashes shade the eye.
    colour = colour * np.clip(1.0 - 95 * np.maximum(pupil[:, 1] - 0.0005, 0), 0.4, 1)[:, None]
    glint = np.clip(1 - (np.hypot(pupil[:, 0] - 0.0022, pupil[:, 1] - 0.0022) - 0.0009) / 0.0006, 0, 1)[:, None]
    return np.asarray(colour + (0.95 - colour) * 0.85 * glint, np.float32)


def hair_paint(colour: Floats, coords: Floats, normal: Floats, light: Light) -> tuple[Floats, Floats]:
    """Return colours (N, 3) and relief (N, 3) of hair.

    Two highlights as Marschner et al. (2003) found them: a white one towards the root and one in the hair's colour
    towards the tip.

    Args:
        colour: RGB (3,).
        coords: float32 (N, 5), see ``hair.Strands``, the direction posed.
        normal: float32 (N, 3), posed normals.
        light: What lights the body.
    """
    along, share, tone = unit(coords[:, :3]), coords[:, 3], coords[:, 4]
    base = colour * (0.56 + 0.4 * tone)[:, None] * (0.66 + 0.4 * np.sqrt(share))[:, None]
    # Strands bleached a little by the sun.
    base = base * (1 + 0.12 * share * tone)[:, None] ** np.array([1.4, 1.1, 0.8], np.float32)
    shine = np.zeros_like(base)
    for source, strength in ((light.sun, 1.0), (np.array([0, -0.25, 1], np.float32), 0.55)):
        half = unit(unit(source) + np.array([0, -1, 0], np.float32))
        facing = np.clip(normal @ half, 0, 1)
        for shift, width, tint in ((-0.1, 40.0, GLINT * (0.4 + 0.6 * tone)[:, None]), (0.14, 18.0, 1.25 * base)):
            tilted = unit(along + np.float32(shift) * normal)
            across = np.sqrt(np.clip(1 - (tilted @ half) ** 2, 0, 1))
            shine += np.float32(strength) * (facing * across**width)[:, None] * tint
    # Ends lie over each other: light between them is lost, and they do not gleam.
    out = base + np.minimum(shine, BRIGHTEST * base + GLINT) * (1 - ENDS * share**2)[:, None]
    # Strands across the light are lit as rods are: their normal turns towards it.
    towards = unit(unit(light.sun) - along * (along @ unit(light.sun))[:, None])
    return np.clip(out, 0, 1).astype(np.float32), (-0.5 * towards).astype(np.float32)


def sheen(normal: Floats, light: Light, power: float) -> Floats:
    """Return how far surfaces mirror the sun and the sky above towards the camera, float32 (N,) in [0, 1]."""
    out = np.zeros(len(normal), np.float32)
    for source, strength in ((light.sun, 0.65), (np.array([0, -0.5, 1], np.float32), 0.35)):
        half = unit(unit(source) + np.array([0, -1, 0], np.float32))
        out += np.float32(strength) * np.clip(normal @ half, 0, 1) ** np.float32(power)
    return out


def bumped(smooth: Floats, relief: Floats) -> Floats:
    """Return normals (N, 3) with a relief: its gradient (N, 3) along the surface."""
    along = relief - smooth * dot(relief, smooth)[:, None]
    return unit(smooth - along)


def embossed(hits: Hits, height: Floats) -> Floats:
    """Return the normals (N, 3) of hits raised by a height (N,) in metres, from differences between neighbours.

    Source: Mikkelsen, Bump mapping unparametrized surfaces on the GPU, 2010.
    """
    own = np.isin(hits.mesh, np.unique(hits.mesh[height != 0]))
    out = hits.normals.copy()
    if own.any():
        out[own] = _embossed(hits, height, own)
    return out


def _embossed(hits: Hits, height: Floats, own: NDArray[np.bool_]) -> Floats:
    """Return the normals (M, 3) of the hits ``own`` (N,), see ``embossed``."""
    values = np.concatenate([hits.points[own], height[own, None]], 1)
    mesh, normal = hits.mesh[own], hits.normals[own]
    # Numbers of hits, and one row and one column more, where none is.
    rows, columns = np.divmod(hits.ray[own], hits.size[1])
    rows, columns = rows - rows.min(), columns - columns.min()
    grid = np.full((int(rows.max()) + 2, int(columns.max()) + 2), -1, np.int32)
    grid[rows, columns] = np.arange(len(values), dtype=np.int32)

    def differences(neighbour: NDArray[np.int32]) -> Floats:
        """Return differences (N, 4) along one axis from the hit that follows each, -1 where none does."""
        joined = neighbour >= 0
        joined &= mesh[neighbour] == mesh
        step = values[neighbour] - values
        joined &= np.abs(step[:, 1]) <= STEP
        step[~joined] = 0
        # Both neighbours where both are known, else the one that is.
        total, count = step.copy(), joined.astype(np.float32)
        total[neighbour[joined]] += step[joined]
        count[neighbour[joined]] += 1
        return np.asarray(total / np.maximum(count, 1)[:, None], np.float32)

    right, down = differences(grid[rows, columns + 1]), differences(grid[rows + 1, columns])
    one, two = np.cross(down[:, :3], normal), np.cross(normal, right[:, :3])
    area = dot(right, one)
    slope = np.sign(area)[:, None] * (right[:, 3:] * one + down[:, 3:] * two)
    size = np.maximum(np.abs(area), 1e-12)[:, None]
    steep = slope / size
    length = np.sqrt(dot(steep, steep))[:, None]
    steep = steep * np.minimum(1, STEEPEST / np.maximum(length, 1e-6))
    return unit(normal - steep)


def waves(at: Floats, frequency: float, seed: int, stretch: tuple[float, float, float] = (1, 1, 1)) -> Floats:
    """Return the value (N,) of a sum of random waves, about 1 in size, at points (N, 3)."""
    rng = np.random.default_rng(seed)
    value = np.zeros(len(at), np.float32)
    for _ in range(WAVES):
        way = unit((rng.standard_normal(3) * stretch).astype(np.float32)) * np.float32(
            frequency * rng.uniform(0.6, 1.6)
        )
        value += np.sin(at @ way + np.float32(rng.uniform(0, 2 * np.pi)))
    return value / np.float32(np.sqrt(WAVES))
