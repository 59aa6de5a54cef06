"""Paint: colours and fine relief of skin, face, hair and cloth where rays meet them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.appearance import Appearance, Cloth
from anonymizer.avatar.hair import THIN
from anonymizer.avatar.mesh import areas, unit
from anonymizer.avatar.render import Light
from anonymizer.avatar.tailor import Measures
from anonymizer.avatar.wardrobe import Garment

__all__ = ["bumped", "cloth_paint", "hair_paint", "press", "skin_paint"]

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]

#: Wave lengths per metre of large and small folds, their depth on smooth cloth, and more where cloth is pressed.
FOLDS = ((30, 0.09, 0.30), (80, 0.05, 0.16))
#: Waves summed for one relief.
WAVES = 8
#: How much of the scalp's colour is the hair's: the rest is skin between strands.
ROOTS = 0.6
#: White of a highlight on hair, and of one on skin.
GLINT, SKIN_GLOSS = np.float32(0.13), np.float32(0.07)
#: Colours of eyes and of the soles of sneakers, RGB in [0, 1]; radius of an iris and of a pupil in metres.
WHITE, SOLE = (np.array(c, np.float32) for c in ((0.72, 0.69, 0.67), (0.85, 0.84, 0.82)))
IRIS_RADIUS, PUPIL = 0.006, 0.0019
#: Height of painted soles in metres.
SOLE_HEIGHT = 0.03


def skin_paint(
    look: Appearance, at: Floats, places: Floats, normal: Floats, eye: Floats, pupil: Floats, scalp: Floats, light: Light
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
    """
    mottled = 1 + 0.02 * _waves(at, 60, 5)[1] + 0.015 * _waves(at, 900, 6)[1]
    colour = look.skin * mottled[:, None] * look.face.look_up(places[:, :2], places[:, 2])
    hair = np.clip(scalp / THIN + 0.35 * _waves(at, 700, 3)[1], 0, 1)[:, None]
    colour = colour + (ROOTS * look.hair + (1 - ROOTS) * look.skin * look.hair - colour) * hair * 0.92
    colour = colour + (SKIN_GLOSS * sheen(normal, light, 14))[:, None] * (1 - 0.7 * hair)
    ball = eye > 0.5
    if ball.any():
        colour[ball] = _eye(look, pupil[ball])
    return np.clip(colour, 0, 1).astype(np.float32)


def _eye(look: Appearance, pupil: Floats) -> Floats:
    """Return colours (N, 3) of eyeballs: the white, darker in the corners, the iris with its rim, pupil and a glint."""
    away = np.hypot(pupil[:, 0], pupil[:, 1])
    white = WHITE * np.clip(1.08 - 14 * np.maximum(away - IRIS_RADIUS, 0), 0.7, 1)[:, None]
    # The upper lid shades the eye.
    white = white * np.clip(1.0 - 55 * np.maximum(pupil[:, 1] - 0.001, 0), 0.55, 1)[:, None]
    angle = np.arctan2(pupil[:, 1], pupil[:, 0])
    rays = 1 + 0.12 * np.sin(angle * 23) + 0.1 * np.sin(angle * 37 + 1)
    iris = look.iris * (rays * np.clip(1.25 - 90 * np.maximum(away - 0.0042, 0), 0.45, 1.25))[:, None]
    share = np.clip((IRIS_RADIUS - away) / 0.0005, 0, 1)[:, None]
    colour = white + (iris - white) * share
    colour = colour * np.clip((away - PUPIL) / 0.0004, 0.08, 1)[:, None]
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
    base = colour * (0.62 + 0.62 * tone)[:, None] * (0.72 + 0.34 * np.sqrt(share))[:, None]
    # Strands bleached a little by the sun.
    base = base * (1 + 0.12 * share * tone)[:, None] ** np.array([1.4, 1.1, 0.8], np.float32)
    out = base
    for source, strength in ((light.sun, 1.0), (np.array([0, -0.25, 1], np.float32), 0.55)):
        half = unit(unit(source) + np.array([0, -1, 0], np.float32))
        facing = np.clip(normal @ unit(source) + 0.25, 0, 1)
        for shift, width, tint in ((-0.1, 70.0, GLINT * (0.4 + 0.6 * tone)[:, None]), (0.14, 18.0, 1.25 * base)):
            tilted = unit(along + np.float32(shift) * normal)
            across = np.sqrt(np.clip(1 - (tilted @ half) ** 2, 0, 1))
            out = out + np.float32(strength) * (facing * across**width)[:, None] * tint
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


def press(garment: Garment, posed: Floats) -> Floats:
    """Return how far the pose presses each face of a garment together, float32 (F,) from 0."""
    ratio = areas(posed, garment.faces) / np.maximum(areas(garment.vertices, garment.faces), 1e-9)
    return np.clip(1.2 - ratio, 0, 1.2).astype(np.float32)


def cloth_paint(
    garment: Garment, cloth: Cloth, at: Floats, height: Floats, pressed: Floats, measures: Measures, seed: int
) -> tuple[Floats, Floats]:
    """Return colours (N, 3) and relief (N, 3) of cloth.

    Args:
        garment: Which piece.
        cloth: Its cloth.
        at: float32 (N, 3), points of the body at rest below it.
        height: float32 (N,), z of the cloth itself at rest.
        pressed: float32 (N,), see ``press``.
        measures: The body's.
        seed: Of the folds.
    """
    relief = np.zeros_like(at)
    for number, (frequency, usual, more) in enumerate(FOLDS):
        depth = cloth.folds * (usual + more * pressed)
        relief += depth[:, None] * _waves(at, frequency, seed + number, (1, 1, 0.55))[0]
    x, z = at[:, 0], at[:, 2]
    front = at[:, 1] < measures.middle[1]
    mix = np.zeros(len(at), np.float32)
    period = cloth.period
    if cloth.pattern == "stripes":
        mix = _band(z / period)
    elif cloth.pattern == "checks":
        mix = 0.5 * _band(z / period) + 0.5 * _band(x / period)
    elif cloth.pattern == "print":
        wide, high = 0.075, 0.055
        centre = measures.collar - 0.19
        ragged = 0.25 * _waves(at, 160, seed + 5)[1]
        mix = ((np.abs(x) / wide) ** 4 + (np.abs(z - centre) / high) ** 4 < 1 + ragged) & front
        mix = mix.astype(np.float32) * (0.6 + 0.4 * (np.sin(x * 260) * np.sin(z * 330) > -0.2))
    elif cloth.pattern == "yoke":
        mix = (z > measures.collar - 0.14).astype(np.float32)
    colour = cloth.colour + (cloth.second - cloth.colour) * mix[:, None].astype(np.float32)
    weave = 1 + 0.035 * _waves(at, 900, seed + 7)[1] + 0.03 * _waves(at, 25, seed + 8)[1]
    if cloth.pattern == "denim":
        # Washed on the thighs, seams along the sides.
        washed = np.clip(1 - np.abs(measures.hips - 0.25 - z) / 0.3, 0, 1) * front
        weave = weave + 0.28 * washed + 0.05 * _waves(at, 500, seed + 9, (1, 1, 0.3))[1]
    if garment.name in ("shirt", "polo", "blouse", "parka", "hooded jacket"):
        # A placket with buttons, or a zip.
        line = front & (np.abs(x) < 0.012) & (z > measures.hips - 0.4)
        weave = np.where(line, weave * 0.88, weave)
        button = front & (np.hypot(x, (z % 0.085) - 0.04) < 0.006)
        weave = np.where(button, 0.55, weave) if "jacket" not in garment.name else weave
    if garment.kind == "bottom":
        waist = measures.hips + 0.105 * measures.leg_length
        weave = np.where(z > waist - 0.02, weave * 0.7, weave)
    if garment.kind == "shoes":
        sole = garment.vertices[:, 2].min() + SOLE_HEIGHT
        colour = np.where((height < sole)[:, None] & (garment.name == "sneakers"), SOLE, colour)
    return np.clip(colour * weave[:, None], 0.01, 1).astype(np.float32), relief.astype(np.float32)


def bumped(smooth: Floats, relief: Floats) -> Floats:
    """Return normals (N, 3) with a relief: its gradient (N, 3) along the surface."""
    along = relief - smooth * (relief * smooth).sum(1, keepdims=True)
    return unit(smooth - along)


def _band(turns: Floats) -> Floats:
    """Return stripes of half a turn with short soft rims."""
    return np.clip(np.sin(turns * 2 * np.pi) * 4 + 0.5, 0, 1).astype(np.float32)


def _waves(
    at: Floats, frequency: float, seed: int, stretch: tuple[float, float, float] = (1, 1, 1)
) -> tuple[Floats, Floats]:
    """Return the gradient (N, 3) over the frequency and the value (N,) of a sum of random waves, about 1 in size."""
    rng = np.random.default_rng(seed)
    slope, value = np.zeros_like(at), np.zeros(len(at), np.float32)
    for _ in range(WAVES):
        way = unit((rng.standard_normal(3) * stretch).astype(np.float32)) * np.float32(
            frequency * rng.uniform(0.6, 1.6)
        )
        phase = at @ way + np.float32(rng.uniform(0, 2 * np.pi))
        slope += np.cos(phase)[:, None] * (way / np.float32(frequency))
        value += np.sin(phase)
    size = np.float32(np.sqrt(WAVES))
    return slope / size, value / size
