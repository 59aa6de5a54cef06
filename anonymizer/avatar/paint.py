"""Paint: colours and fine relief of skin, face, hair and cloth where rays meet them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.appearance import Appearance, Cloth, Face
from anonymizer.avatar.body import Body, Shape
from anonymizer.avatar.mesh import areas, normals, unit
from anonymizer.avatar.tailor import Measures
from anonymizer.avatar.wardrobe import Garment

__all__ = ["FaceMap", "cloth_paint", "hair_paint", "press", "skin_paint"]

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]

#: Wave lengths per metre of large and small folds, their depth on smooth cloth, and more where cloth is pressed.
FOLDS = ((30, 0.09, 0.30), (80, 0.05, 0.16))
#: Waves summed for one relief.
WAVES = 8
#: Relief and colour of strands of hair: waves per metre, depth.
STRANDS = ((260, 0.42), (420, 0.22))
#: Share of a projected face's own light and shade that stays beside the rendered one.
BAKED = 0.45
#: Colours of eyes and of the soles of sneakers, RGB in [0, 1]; radius of an iris in metres.
IRIS, WHITE, SOLE = (np.array(c, np.float32) for c in ((0.12, 0.08, 0.06), (0.75, 0.73, 0.7), (0.85, 0.84, 0.82)))
IRIS_RADIUS = 0.0062
#: Height of painted soles in metres.
SOLE_HEIGHT = 0.03


class FaceMap:
    """Projection of an average face from ahead onto a head at rest.

    Args:
        face: The average.
        body: The model.
        shape: Its shape.
        skin: RGB float32 (3,), the colour the face is to have.
    """

    def __init__(self, face: Face, body: Body, shape: Shape, skin: Floats) -> None:
        left, right = (shape.heads[body.number(f"eye.{side}")] for side in "LR")
        marks = face.landmarks
        # The person's left eye is at larger x in the picture and on the body.
        scale = float(np.linalg.norm(marks[1] - marks[0])) / float(left[0] - right[0])
        nose = body.joints(shape)[0]
        down = float((left[2] + right[2]) / 2 - nose[2]) * scale
        self._stretch = float(np.clip((marks[2, 1] - marks[:2, 1].mean()) / max(down, 1), 0.8, 1.3)) * scale
        self._scale = scale
        self._centre = marks[:2].mean(0)
        self._eyes = ((left + right) / 2)[[0, 2]]
        self._pixels = face.pixels * np.clip(skin / np.maximum(face.skin, 0.05), 0.15, 1.4)
        self._apart = float(np.linalg.norm(marks[1] - marks[0]))

    def look_up(self, at: Floats, ahead: Floats) -> tuple[Floats, Floats]:
        """Return colours float32 (N, 3) and how far they belong to the face, float32 (N,).

        Args:
            at: float32 (N, 3), points of the body at rest.
            ahead: float32 (N,), how far their normals look ahead at rest, in [-1, 1].
        """
        import cv2

        x = self._centre[0] + (at[:, 0] - self._eyes[0]) * self._scale
        y = self._centre[1] - (at[:, 2] - self._eyes[1]) * self._stretch
        maps = x.astype(np.float32)[None], y.astype(np.float32)[None]
        # remap takes at most 32767 columns.
        parts = [
            cv2.remap(
                self._pixels,
                maps[0][:, k : k + 30000],
                maps[1][:, k : k + 30000],
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )[0]
            for k in range(0, len(at), 30000)
        ]
        texels = np.concatenate(parts) if parts else np.zeros((0, 3), np.float32)
        # An oval around eyes and mouth with a wide soft rim.
        across = (x - self._centre[0]) / (1.25 * self._apart)
        down = (y - self._centre[1] - 0.45 * self._apart) / (1.6 * self._apart)
        inside = np.clip((1.0 - np.hypot(across, down)) / 0.35, 0, 1) * np.clip((ahead - 0.1) / 0.45, 0, 1)
        return texels.astype(np.float32), inside.astype(np.float32)


def skin_paint(
    look: Appearance, face: FaceMap, at: Floats, ahead: Floats, head: Floats, eye: Floats, iris: Floats
) -> tuple[Floats, Floats]:
    """Return colours (N, 3) of skin and how far each keeps its own light, (N,).

    Args:
        look: Whose skin.
        face: The face on the head.
        at: float32 (N, 3), points of the body at rest.
        ahead: float32 (N,), how far normals look ahead at rest.
        head: float32 (N,), share of the head.
        eye: float32 (N,), share of the eyeballs.
        iris: float32 (N,), distance from the middle of the next pupil in metres.
    """
    mottled = 1 + 0.03 * _waves(at, 60, 5)[1] + 0.02 * _waves(at, 400, 6)[1]
    colour = look.skin * mottled[:, None]
    white = np.where((iris < IRIS_RADIUS)[:, None], IRIS, WHITE)
    colour = np.where((eye > 0.5)[:, None], white, colour)
    texels, inside = face.look_up(at, ahead)
    inside = inside * (head > 0.6)
    colour = colour + (texels - colour) * inside[:, None]
    return colour.astype(np.float32), (BAKED * inside).astype(np.float32)


def hair_paint(colour: Floats, at: Floats, curly: bool) -> tuple[Floats, Floats]:
    """Return colours (N, 3) and relief (N, 3) of hair at points (N, 3) of the body at rest."""
    stretch = (1.0, 1.0, 0.6) if curly else (1.0, 1.0, 0.07)
    relief = STRANDS[0][1] * _waves(at, STRANDS[0][0], 1, stretch)[0]
    shade = 1 + STRANDS[1][1] * _waves(at, STRANDS[1][0], 2, stretch)[1]
    return (colour * shade[:, None]).astype(np.float32), relief.astype(np.float32)


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


def rest_ahead(body: Body, shape: Shape) -> Floats:
    """Return how far each vertex looks ahead at rest, float32 (V,) in [-1, 1]."""
    return -normals(shape.vertices, body.faces)[:, 1]


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
