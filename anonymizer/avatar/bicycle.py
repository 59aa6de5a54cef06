"""Bicycle: a mesh of wheels, frame, fork, handlebar, saddle and cranks, built once for each kind.

Coordinates in metres, as of the body: x to the rider's left, y backwards, z up; the bottom bracket lies at x = y = 0,
the ground at z = 0. Kind, size and colours have nothing of the bicycle that was there.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.mesh import about, outward, unit
from anonymizer.avatar.render import Light

__all__ = ["KINDS", "Bicycle", "Frame", "bicycle_paint", "draw_bicycle", "frame_of", "moved"]

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]
Point = NDArray[np.float64]

#: Materials of faces.
RUBBER, METAL, LACQUER, SADDLE, GRIP = range(5)
#: Parts that move: nothing, the saddle with its post, the cranks, the left and the right pedal.
FIXED, SEAT, CRANK, PEDALS = 0, 1, 2, (3, 4)
#: Length of a crank, and distance of a pedal's middle from the bicycle's plane, in metres.
CRANK_LENGTH, TREAD = 0.17, 0.125
#: Corners of a tube and of the section of a tyre, points around a wheel, and spokes of one.
SIDES, SECTION, AROUND, SPOKES = 8, 8, 48, 20
#: Radius of a rim's section in metres.
RIM = 0.009
#: Radius of a spoke in metres, and of a hub; least width of a spoke in pixels: few rays meet what is narrower, and make
#: bright dots of it.
SPOKE, HUB, FINE = 0.0011, 0.02, 0.25
#: Lacquers as hue, saturation and value with their spreads, and how many bicycles wear them: black, greys and whites
#: lead, as on streets.
LACQUERS = (
    ((0.0, 0.02, 0.10), (0.5, 0.02, 0.05), 0.34),
    ((0.6, 0.04, 0.50), (0.5, 0.04, 0.15), 0.14),
    ((0.1, 0.03, 0.85), (0.5, 0.03, 0.07), 0.10),
    ((0.6, 0.70, 0.40), (0.04, 0.2, 0.2), 0.15),
    ((0.0, 0.75, 0.55), (0.02, 0.15, 0.15), 0.12),
    ((0.38, 0.50, 0.35), (0.08, 0.2, 0.15), 0.10),
    ((0.1, 0.60, 0.65), (0.04, 0.2, 0.2), 0.05),
)
#: Colours of rubber, bare metal, blackened metal, and saddles and grips of plastic and of leather.
TYRE, SILVER, BLACKENED = (0.13, 0.13, 0.13), (0.66, 0.67, 0.69), (0.17, 0.17, 0.18)
SADDLES = ((0.12, 0.12, 0.12), (0.38, 0.23, 0.13))
#: How often metal is black and saddle and grips are of leather.
BLACK, LEATHER = 0.35, 0.2
#: Strength and sharpness of highlights on metal and lacquer.
GLOSS, SHARP = 0.35, 24


@dataclass(frozen=True, slots=True)
class Kind:
    """Measures of a kind of bicycle in metres and radians.

    Args:
        wheel, tyre: Radius of the wheel with its tyre, and of the tyre's section.
        bracket: Height of the bottom bracket.
        rear, front: Distance of the hubs behind and before the bottom bracket.
        seat, head: Angles of seat tube and steering axis from level ground.
        saddle: Usual distance of the saddle's top from the bottom bracket along the seat tube.
        grip: Distance before the bottom bracket, height and distance from the middle of the palms' place.
        lean: Angle of the rider's trunk from upright.
        low: Whether the frame is open, to step through.
        dressed: Whether it has mudguards, a chain case and a carrier.
        dropped: Whether the handlebar is bent down.
    """

    wheel: float
    tyre: float
    bracket: float
    rear: float
    front: float
    seat: float
    head: float
    saddle: float
    grip: tuple[float, float, float]
    lean: float
    low: bool = False
    dressed: bool = False
    dropped: bool = False

    @property
    def rim(self) -> float:
        """Radius of the rim's middle in metres."""
        return self.wheel - 2 * self.tyre - RIM / 2


#: Kinds of bicycles. Measures are those of adults' frames of middle size; others are larger or smaller as a whole.
KINDS = {
    "city": Kind(0.345, 0.02, 0.29, 0.46, 0.64, 1.20, 1.19, 0.66, (0.34, 1.06, 0.28), 0.26, dressed=True),
    "road": Kind(0.335, 0.014, 0.27, 0.41, 0.60, 1.28, 1.27, 0.70, (0.59, 0.94, 0.20), 0.70, dropped=True),
    "step-through": Kind(0.345, 0.021, 0.28, 0.47, 0.66, 1.19, 1.18, 0.62, (0.30, 1.08, 0.29), 0.17, True, True),
}
#: How often each is drawn.
SHARES = (0.4, 0.3, 0.3)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The mesh of a kind, cranks level, the left one before.

    Args:
        kind: Its measures.
        vertices: float32 (V, 3).
        faces: int32 (F, 3), counter-clockwise from outside; each part is closed.
        parts: uint8 (V,), which part moves a vertex.
        materials: uint8 (F,).
        wheels: bool (2, V), vertices of the rear and the front tyre.
        coarse: Number of faces without the spokes, which come last.
    """

    kind: Kind
    vertices: Floats
    faces: Numbers
    parts: NDArray[np.uint8]
    materials: NDArray[np.uint8]
    wheels: NDArray[np.bool_]
    coarse: int

    def drawn(self, scale: float) -> Numbers:
        """Return the faces that show at a scale in pixels per metre, int32 (F, 3): first of all."""
        return self.faces if 2 * SPOKE * scale >= FINE else self.faces[: self.coarse]


@dataclass(frozen=True, slots=True, eq=False)
class Bicycle:
    """One bicycle.

    Args:
        frame: The mesh of its kind.
        colours: float32 (5, 3) sRGB in [0, 1] by material.
        crank: Angle in radians by which the cranks are turned from level: the left pedal is down at a quarter.
    """

    frame: Frame
    colours: Floats
    crank: float


def draw_bicycle(rng: np.random.Generator) -> Bicycle:
    """Return a bicycle drawn by chance, one pedal up and one down."""
    kind = str(rng.choice(list(KINDS), p=SHARES))
    (middle, spread, _) = LACQUERS[int(rng.choice(len(LACQUERS), p=[row[2] for row in LACQUERS]))]
    h, s, v = np.array(middle) + np.array(spread) * rng.uniform(-1, 1, 3)
    lacquer = colorsys.hsv_to_rgb(h % 1, float(np.clip(s, 0, 1)), float(np.clip(v, 0.05, 0.92)))
    metal = BLACKENED if rng.random() < BLACK else SILVER
    saddle = SADDLES[int(rng.random() < LEATHER)]
    colours = np.array([TYRE, metal, lacquer, saddle, saddle], np.float32)
    # Half a turn apart, and up to 35 degrees off: whoever pedals is rarely seen at the turning point.
    crank = np.pi / 2 * (1 if rng.random() < 0.5 else -1) + rng.uniform(-0.6, 0.6)
    return Bicycle(frame_of(kind), colours, float(crank))


def moved(bicycle: Bicycle, seat: float, size: float) -> tuple[Floats, Floats]:
    """Return the vertices (V, 3) of a bicycle as it is ridden, and the middles of its pedals' tops, left and right.

    Args:
        bicycle: The bicycle.
        seat: How far the saddle's post is drawn out beyond the usual, in metres of a bicycle of middle size.
        size: How large it is, 1: of middle size.
    """
    frame = bicycle.frame
    points = frame.vertices.copy()
    own = frame.parts == SEAT
    points[own] += np.float32(seat) * _along(frame.kind.seat)
    axle = np.array([0, 0, frame.kind.bracket], np.float32)
    # Turned forwards at the top, as one pedals: from before down.
    turn = about(np.array([1, 0, 0], np.float32), bicycle.crank)
    own = frame.parts == CRANK
    points[own] = (points[own] - axle) @ turn.T + axle
    tops = []
    for part, side in zip(PEDALS, (1, -1), strict=True):
        level = np.array([0, -side * CRANK_LENGTH, 0], np.float32)
        places = level @ turn.T
        points[frame.parts == part] += places - level
        tops.append(axle + places + np.array([side * TREAD, 0, 0.012], np.float32))
    return (points * np.float32(size)).astype(np.float32), np.stack(tops).astype(np.float32) * np.float32(size)


def bicycle_paint(bicycle: Bicycle, faces: Numbers, facing: Floats, light: Light) -> Floats:
    """Return colours float32 (N, 3) of hits on a bicycle.

    Args:
        bicycle: The bicycle.
        faces: int32 (N,), which faces are met.
        facing: float32 (N, 3), unit normals there.
        light: The sun's direction gives highlights.
    """
    material = bicycle.frame.materials[faces]
    half = unit(unit(light.sun) - np.array([0, 1, 0], np.float32))
    shine = np.where((material == METAL) | (material == LACQUER), GLOSS, 0.0).astype(np.float32)
    bright = shine * np.clip(facing @ half, 0, 1) ** SHARP
    return np.asarray(bicycle.colours[material] + bright[:, None], np.float32)


@cache
def frame_of(name: str) -> Frame:
    """Return the mesh of one of ``KINDS``."""
    kind = KINDS[name]
    build = _Build()
    axle = _by(0, 0, kind.bracket)
    rear, front = _by(0, kind.rear, kind.wheel), _by(0, -kind.front, kind.wheel)
    for hub in (rear, front):
        build.wheel(hub, kind)
    up, steering = _along(kind.seat), _along(kind.head)
    top = axle + up * (0.42 if kind.low else 0.50)
    crown = front + _by(0, 0.045, 0) + steering * (kind.wheel + 0.045)
    neck = crown + steering * (0.17 if not kind.dropped else 0.13)
    # Triangles of the frame.
    build.tube([axle, top], 0.016)
    if kind.low:
        build.tube([neck - 0.02 * steering, (neck + axle) / 2 + _by(0, 0.02, -0.09), axle + up * 0.10], 0.017)
        build.tube([crown + 0.02 * steering, (crown + axle) / 2 + _by(0, 0.02, -0.08), axle], 0.018)
    else:
        build.tube([neck - 0.02 * steering, top - 0.03 * up], 0.015)
        build.tube([crown + 0.02 * steering, axle], 0.019)
    build.tube([crown, neck], 0.019)
    for side in (1, -1):
        aside = _by(side * 0.06, 0, 0)
        build.tube([axle + _by(side * 0.03, 0.02, 0), rear + aside], 0.009)
        build.tube([top + _by(side * 0.018, 0, -0.02), rear + aside], 0.008)
        # Fork: bent forwards, as far as the hub lies before the steering axis.
        blade = _by(side * 0.05, 0, 0)
        build.tube([crown + blade * 0.8, crown + blade - steering * kind.wheel * 0.6, front + blade], 0.011)
    build.tube([crown + _by(0.045, 0, 0), crown - _by(0.045, 0, 0)], 0.013)
    if kind.dressed:
        lamp = (crown + neck) / 2 + _by(0, -0.015, 0)
        build.tube([lamp, lamp + _by(0, -0.04, 0), lamp + _by(0, -0.10, 0)], [0.012, 0.025, 0.035], METAL)
    _cockpit(build, kind, neck, steering)
    _saddle(build, kind, axle, top, up)
    _drive(build, kind, axle, rear)
    if kind.dressed:
        _dress(build, kind, rear, front)
    coarse = build.size
    for hub in (rear, front):
        build.spokes(hub, kind)
    return build.frame(kind, coarse)


def _along(angle: float) -> Point:
    """Return the direction up a tube that leans backwards at an angle from level ground."""
    return _by(0, np.cos(angle), np.sin(angle))


def _by(x: float, y: float, z: float) -> Point:
    """Return a place or a shift."""
    return np.array([x, y, z], np.float64)


def _cockpit(build: _Build, kind: Kind, neck: Point, steering: Point) -> None:
    """Add stem, handlebar and grips."""
    before, height, wide = kind.grip
    clamp = neck + steering * max((height - neck[2]) / steering[2] - 0.02, 0.04)
    if kind.dropped:
        clamp = neck + steering * 0.05 + _by(0, -0.10, 0)
        build.tube([neck, neck + steering * 0.05, clamp], 0.014, METAL)
        for side in (1, -1):
            hood = _by(side * wide, -before, height)
            corner = _by(side * wide, clamp[1], clamp[2])
            bend = [clamp, corner * [0.85, 1, 1], corner + _by(0, -0.03, 0), hood + _by(0, 0, -0.02)]
            bend += [hood + _by(0, -0.02, -0.09), hood + _by(0, 0.03, -0.13), hood + _by(0, 0.12, -0.14)]
            build.tube(bend, 0.015, GRIP)
            brake = [hood + _by(0, 0.02, -0.015), hood + _by(0, -0.03, 0.02), hood + _by(0, -0.045, 0.045)]
            build.tube(brake, 0.017, GRIP)
        return
    build.tube([neck, clamp], 0.012, METAL)
    for side in (1, -1):
        palm = _by(side * wide, -before, height)
        middle = clamp + _by(side * 0.14, -0.02, 0.01)
        end = palm + _by(side * 0.03, 0.06, -0.005)
        start = palm - _by(side * 0.03, 0.06, -0.005)
        build.tube([clamp, middle, start], 0.011, METAL)
        build.tube([start, end], 0.017, GRIP)


def _saddle(build: _Build, kind: Kind, axle: Point, top: Point, up: Point) -> None:
    """Add the saddle and its post."""
    seat = axle + up * kind.saddle
    build.tube([top - up * 0.12, seat - up * 0.05], 0.013, METAL, SEAT)
    # Narrow before, wide behind: rows of half widths and heights along its length.
    broad = 0.072 if kind.dropped else 0.1
    nose = ((-0.18, 0.018, -0.012), (-0.13, 0.022, 0.0), (-0.05, 0.03, 0.0))
    rows = (*nose, (0.03, 0.7 * broad, 0.0), (0.06, broad, 0.006), (0.082, 0.75 * broad, 0.004))
    spine = [seat + _by(0, y, z - 0.028) for y, _, z in rows]
    build.tube(spine, [wide for _, wide, _ in rows], SADDLE, SEAT, flat=0.028)


def _drive(build: _Build, kind: Kind, axle: Point, rear: Point) -> None:
    """Add chain ring, chain, cranks and pedals."""
    ring = _by(-0.045, 0, 0)
    build.ring(axle + ring, 0.088, 0.006, METAL, CRANK)
    for angle in np.arange(5) * 2 * np.pi / 5:
        arm = np.array([0, np.cos(angle), np.sin(angle)]) * 0.086
        build.tube([axle + ring, axle + ring + arm], 0.006, METAL, CRANK)
    for far, near in ((0.088, 0.035), (-0.088, -0.035)):
        build.tube([axle + ring + _by(0, 0, far), rear + ring + _by(0, 0, near)], 0.0045, METAL)
    build.tube([axle + _by(0.075, 0, 0), axle - _by(0.075, 0, 0)], 0.018, METAL)
    for side in (1, -1):
        end = axle + _by(side * 0.075, -side * CRANK_LENGTH, 0)
        build.tube([axle + _by(side * 0.07, 0, 0), end], 0.011, METAL, CRANK)
        pedal = end + _by(side * (TREAD - 0.075), 0, 0)
        half = _by(0.045, 0, 0)
        build.tube([pedal - half, pedal + half], 0.042, GRIP, PEDALS[(1 - side) // 2], flat=0.012)
    if kind.dressed:
        case = axle + _by(-0.065, 0, 0)
        path = [case + _by(0, -0.1, 0), case, rear + _by(-0.065, 0.05, 0)]
        build.tube(path, [0.06, 0.11, 0.055], LACQUER, sides=10, flat=0.008)


def _dress(build: _Build, kind: Kind, rear: Point, front: Point) -> None:
    """Add mudguards, carrier and rear light."""
    # From behind the wheel over its top, in half turns from straight behind.
    for hub, first, last in ((rear, -0.15, 1.0), (front, -0.1, 0.72)):
        angles = np.pi * np.linspace(first, last, 17)
        arc = [hub + (kind.wheel + 0.022) * _by(0, np.cos(a), np.sin(a)) for a in angles]
        build.tube(arc, 0.026, LACQUER, flat=0.005)
    rack = kind.wheel * 2 + 0.06
    for side in (1, -1):
        edge = _by(side * 0.055, 0, 0)
        build.tube([edge + _by(0, rear[1] - 0.2, rack), edge + _by(0, rear[1] + 0.18, rack)], 0.006, METAL)
        build.tube([edge + _by(0, rear[1] + 0.12, rack), rear + edge], 0.005, METAL)
    for y in (-0.18, 0.0, 0.17):
        build.tube([_by(0.055, rear[1] + y, rack), _by(-0.055, rear[1] + y, rack)], 0.005, METAL)
    build.tube([_by(0, rear[1] + 0.19, rack - 0.04), _by(0, rear[1] + 0.21, rack - 0.04)], 0.03, RUBBER)


class _Build:
    """A mesh that grows part by part."""

    def __init__(self) -> None:
        self._points: list[Floats] = []
        self._faces: list[Numbers] = []
        self._parts: list[NDArray[np.uint8]] = []
        self._materials: list[NDArray[np.uint8]] = []
        self._wheels: list[NDArray[np.int64]] = []
        self._count = 0

    def add(self, points: Floats, faces: Numbers, material: int, part: int) -> None:
        """Add a closed surface."""
        self._points.append(points)
        self._faces.append(outward(points, faces) + np.int32(self._count))
        self._parts.append(np.full(len(points), part, np.uint8))
        self._materials.append(np.full(len(faces), material, np.uint8))
        self._count += len(points)

    def tube(
        self,
        path: list[Point],
        radius: float | list[float],
        material: int = LACQUER,
        part: int = FIXED,
        sides: int = SIDES,
        flat: float | None = None,
    ) -> None:
        """Add a closed tube along points.

        Args:
            path: Its middle, (3,) each.
            radius: Half its width, one for all or one for each point.
            material: What it is of.
            part: What moves it.
            sides: Corners of its section.
            flat: Half its thickness across x and its length, where it is no round tube.
        """
        line = np.asarray(path, np.float64)
        widths = np.broadcast_to(np.asarray(radius, np.float64), (len(line),))
        ahead = np.gradient(line, axis=0)
        ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
        across = _by(1.0, 0, 0) if abs(ahead[:, 0]).max() < 0.9 else _by(0, 1.0, 0)
        turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
        rings = []
        for at, way, wide in zip(line, ahead, widths, strict=True):
            u = across - way * (across @ way)
            u /= np.linalg.norm(u)
            thick = wide if flat is None else flat
            rings.append(at + wide * np.cos(turn)[:, None] * u + thick * np.sin(turn)[:, None] * np.cross(way, u))
        points = np.concatenate([*rings, line[:1], line[-1:]]).astype(np.float32)
        faces = []
        for row in range(len(line) - 1):
            for k in range(sides):
                a, b = row * sides + k, row * sides + (k + 1) % sides
                faces += [(a, b, b + sides), (a, b + sides, a + sides)]
        first, last, end = len(points) - 2, len(points) - 1, (len(line) - 1) * sides
        for k in range(sides):
            faces += [(first, (k + 1) % sides, k), (last, end + k, end + (k + 1) % sides)]
        self.add(points, np.array(faces, np.int32), material, part)

    def ring(self, middle: Point, radius: float, thick: float, material: int, part: int = FIXED) -> None:
        """Add a torus about an axis along x."""
        around = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)
        section = np.linspace(0, 2 * np.pi, SECTION, endpoint=False)
        far = radius + thick * np.cos(section)
        a, b = np.meshgrid(around, section, indexing="ij")
        points = np.stack([thick * np.sin(b), np.cos(a) * far, np.sin(a) * far], 2).reshape(-1, 3) + middle
        faces = []
        for row in range(AROUND):
            for k in range(SECTION):
                one, two = row * SECTION, (row + 1) % AROUND * SECTION
                other = (k + 1) % SECTION
                faces += [(one + k, two + k, two + other), (one + k, two + other, one + other)]
        self.add(points.astype(np.float32), np.array(faces, np.int32), material, part)

    def wheel(self, hub: Point, kind: Kind) -> None:
        """Add tyre, rim and hub."""
        first = self._count
        self.ring(hub, kind.wheel - kind.tyre, kind.tyre, RUBBER)
        self._wheels.append(np.arange(first, self._count))
        self.ring(hub, kind.rim, RIM, METAL)
        self.tube([hub + _by(0.045, 0, 0), hub - _by(0.045, 0, 0)], HUB, METAL)

    def spokes(self, hub: Point, kind: Kind) -> None:
        """Add spokes."""
        for number, angle in enumerate(np.arange(SPOKES) * 2 * np.pi / SPOKES):
            way = _by(0, np.cos(angle), np.sin(angle))
            flange = np.array([0.03 * (1 - 2 * (number % 2)), 0, 0])
            self.tube([hub + flange + way * HUB, hub + way * kind.rim], SPOKE, METAL, sides=3)

    @property
    def size(self) -> int:
        """Number of faces so far."""
        return sum(len(faces) for faces in self._faces)

    def frame(self, kind: Kind, coarse: int) -> Frame:
        """Return what was built."""
        wheels = np.zeros((2, self._count), np.bool_)
        for row, own in zip(wheels, self._wheels, strict=True):
            row[own] = True
        points, faces = np.concatenate(self._points), np.concatenate(self._faces).astype(np.int32)
        parts, materials = np.concatenate(self._parts), np.concatenate(self._materials)
        return Frame(kind, points, faces, parts, materials, wheels, coarse)
