"""Hair: strands as thin ribbons that grow from the scalp along combed directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.body import Body, Shape
from anonymizer.avatar.mesh import normals, unit
from anonymizer.avatar.tailor import Measures

__all__ = ["HAIR", "THIN", "Hair", "Scalp", "Strands", "grow", "rounded", "skull"]

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]

#: Height of the hair line above the eyes, in metres, by the angle from straight ahead, in radians: forehead, temples,
#: sideburns before the ear, over it, behind it, nape. Measured by eye on photographs.
LINE_ANGLES = (0.0, 0.45, 0.8, 1.02, 1.2, 1.42, 1.62, 1.95, 2.3, np.pi)
LINE_HEIGHTS = (0.072, 0.071, 0.058, 0.029, -0.008, -0.004, 0.014, -0.02, -0.062, -0.085)
#: How far behind the middle of the eyes, in metres, angles are measured from: the middle of the skull.
MIDDLE = 0.075
#: Sideways reach of the skull without its ears, in metres of the middle head.
SKULL = 0.0785
#: Steps of a strand, and guides that are grown; all other strands lie between them.
STEPS, GUIDES = 8, 260
#: Least width of a ribbon in metres, and its width in pixels where that is more: of heads so near that their hair gets
#: more rays, and of others; pixels a metre from which on they are near; strands' ribbons overlap that often.
WIDTH, PIXELS, CLOSE, OVERLAP = 0.0009, (0.75, 1.0), 170.0, 2.9
#: Most and fewest ribbons.
MOST, FEWEST = 8000, 150
#: Guides that a strand lies between, and distance in metres of their ends beyond which they part.
BETWEEN, PARTED = 3, 0.06
#: Points of a loose curl and of a tight one, of near heads and of others; distance in metres of the turns of a loose
#: one, most strands that lie in it, and locks that cover a head.
TURNED, PITCH, LOCK, LOCKS = ((18, 12), (9, 9)), 0.017, 5, 250
#: Distance of long hair from shoulders, in metres: it lies on cloth.
ON_CLOTH = 0.032
#: Width over which a hair line thins out, in metres.
THIN = 0.014
#: Part of the mass of hair, beside the single ribbon, in how it is lit.
ROUND = np.float32(0.7)


@dataclass(frozen=True, slots=True)
class Hair:
    """A hair style; lengths in metres.

    Args:
        top, side, back: Lengths of strands.
        comb: ``whorl``, ``part``, ``back``, ``forward``, ``radial`` or ``tie``.
        volume: How far from the scalp the outermost strands lie.
        lift: How steeply strands leave the scalp, in [0, 1].
        wave: Depth of waves.
        fringe: Length of strands combed over the forehead; 0: none.
        recede: How far the line has gone back, in metres.
        knot: Where tied hair goes: how far above the eyes, how far behind the middle of the skull, and the radius of a
            bun or, below 0, minus the length of a tail.
    """

    top: float
    side: float
    back: float
    comb: str
    volume: float
    lift: float = 0.2
    wave: float = 0.0
    fringe: float = 0.0
    recede: float = 0.0
    knot: tuple[float, float, float] | None = None


HAIR = {
    "buzz": Hair(0.006, 0.004, 0.004, "whorl", 0.001, 0.35),
    "crop": Hair(0.03, 0.012, 0.014, "forward", 0.01, 0.5),
    "side part": Hair(0.085, 0.022, 0.024, "part", 0.012, 0.2),
    "swept back": Hair(0.1, 0.03, 0.045, "back", 0.012, 0.35),
    "mop": Hair(0.075, 0.05, 0.055, "whorl", 0.018, 0.2, 0.003, 0.045),
    "curls": Hair(0.05, 0.035, 0.04, "radial", 0.0, 0.8, 0.009),
    "afro": Hair(0.075, 0.065, 0.07, "radial", 0.0, 1.0, 0.0055),
    "receding": Hair(0.035, 0.022, 0.025, "back", 0.006, 0.3, 0.0, 0.0, 0.028),
    "bob": Hair(0.22, 0.16, 0.15, "part", 0.016, 0.15),
    "fringed bob": Hair(0.22, 0.17, 0.16, "whorl", 0.016, 0.15, 0.0, 0.05),
    "long": Hair(0.42, 0.37, 0.35, "part", 0.014, 0.1, 0.003),
    "long waves": Hair(0.38, 0.35, 0.32, "part", 0.022, 0.2, 0.01),
    "ponytail": Hair(0.0, 0.0, 0.0, "tie", 0.005, 0.0, 0.0, 0.0, 0.0, (0.035, 0.105, -0.26)),
    "bun": Hair(0.0, 0.0, 0.0, "tie", 0.005, 0.0, 0.0, 0.0, 0.0, (0.07, 0.1, 0.036)),
}


@dataclass(frozen=True, slots=True, eq=False)
class Scalp:
    """Where hair grows: per vertex of a body, all float32 (V,).

    Args:
        field: Distance inside of the hair line in metres, about; below 0 beyond it.
        angle: From straight ahead, in radians.
        up: Height above the eyes of the middle head, in metres.
    """

    field: Floats
    angle: Floats
    up: Floats

    @classmethod
    def of(cls, body: Body, recede: float) -> Scalp:
        """Return the scalp of a body, found on its middle shape."""
        middle = body.middle
        eyes = (middle.heads[body.number("eye.L")] + middle.heads[body.number("eye.R")]) / 2
        x, y, z = middle.vertices.T
        angle = np.arctan2(np.abs(x), -(y - eyes[1] - MIDDLE)).astype(np.float32)
        up = (z - eyes[2]).astype(np.float32)
        line = np.interp(angle, LINE_ANGLES, LINE_HEIGHTS)
        line = line + recede * np.clip((1.5 - angle) / 0.4, 0, 1) * (0.75 + 0.5 * (np.abs(angle - 0.6) < 0.35))
        # At the top height no longer grows: how far back a vertex lies counts there as well.
        back = np.clip((y - eyes[1] - 0.03) / 0.06, 0, 1) * np.clip(1.2 - angle, 0, 1)
        field = up + 0.6 * recede * back - line
        ear = (np.abs(x) > SKULL) & (up < 0.04)
        inside = body.share("head", "neck") > 0.5
        return cls(np.where(ear | ~inside, -1, field).astype(np.float32), angle, up)


@dataclass(frozen=True, slots=True, eq=False)
class Strands:
    """Ribbons on a body at rest.

    Args:
        vertices: float32 (M, 3).
        faces: int32 (F, 3).
        weights: float32 (M, B) of the bones.
        coords: float32 (M, 5): direction of the strand, share of its length, and a tone by chance in [0, 1].
    """

    vertices: Floats
    faces: Numbers
    weights: Floats
    coords: Floats


def grow(
    hair: Hair,
    body: Body,
    shape: Shape,
    at: Measures,
    scalp: Scalp,
    scale: float,
    rng: np.random.Generator,
    below: float | None = None,
) -> Strands | None:
    """Return the strands of a head, or None where none grow.

    Args:
        hair: The style.
        body: The model.
        shape: Its shape.
        at: Its measures.
        scalp: Where hair grows.
        scale: Pixels a metre in the picture: far heads get few wide ribbons.
        rng: Source of all that varies.
        below: Height in metres from which on a hat covers hair; None: nothing does.
    """
    from scipy.spatial import cKDTree

    whole = scalp.field[body.faces].max(1) > 0
    if below is not None:
        whole &= shape.vertices[body.faces, 2].mean(1) < below
    faces = body.faces[whole]
    if len(faces) < 4:
        return None
    a, b, c = (shape.vertices[faces[:, k]] for k in range(3))
    sizes = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    far = scale < CLOSE
    width = max(WIDTH, PIXELS[int(far)] / scale)
    length = max(hair.top, 0.03) if hair.comb != "tie" else 0.12
    # Long strands cover the head many times over: fewer are needed.
    wanted = OVERLAP * float(sizes.sum()) / (width * min(max(length, 0.012), 0.045))
    # Tight curls, and those of far heads, are short arcs all through the hair.
    count = int(np.clip(wanted * (2.5 if hair.comb == "radial" and (far or hair.lift == 1) else 1.0), FEWEST, MOST))
    # Hair grows the thinner the nearer its line.
    chosen = rng.choice(len(faces), 2 * count, p=sizes / sizes.sum())
    share = rng.dirichlet((1, 1, 1), 2 * count).astype(np.float32)
    inside = (share * scalp.field[faces[chosen]]).sum(1)
    kept = np.flatnonzero(inside / THIN > rng.random(2 * count) ** 1.5)[:count]
    if len(kept) < 4:
        return None
    chosen, share, inside = chosen[kept], share[kept], inside[kept]
    count = len(kept)
    guides = min(GUIDES, count)
    corner = faces[chosen]

    def mixed(values: Floats) -> Floats:
        return np.asarray(np.einsum("nk,nk...->n...", share, values[corner]), np.float32)

    roots = mixed(shape.vertices)
    scalpless = np.isin(np.arange(len(at.head)), np.unique(body.faces)) & (at.arm < 0) & (at.z > at.collar - 0.35)
    numbers = np.flatnonzero(scalpless)
    smooth = normals(shape.vertices, body.faces)
    tree = cKDTree(shape.vertices[numbers])
    mark = _Head.of(body, shape, at)
    # At its line hair is finer and shorter.
    fine = np.clip(0.25 + 0.75 * inside / THIN, 0, 1).astype(np.float32)
    lengths = _lengths(hair, mixed(scalp.angle), mixed(scalp.up), mark, roots, rng)
    if hair.knot is None:
        lengths = lengths * fine
    if hair.comb == "radial":
        lines, tone = _curls(hair, roots, mixed(smooth), lengths, TURNED[int(far)], rng)
        widths = (width * (1.9 - 0.6 * rng.random(len(lines)))).astype(np.float32)
        return _ribbons(lines, widths, tone, mark, body, shape, at, numbers, tree, rng)
    paths = _guides(
        hair,
        mark,
        roots[:guides],
        lengths[:guides],
        mixed(smooth)[:guides],
        tree,
        shape.vertices[numbers],
        smooth[numbers],
        at,
        rng,
    )
    away, around = cKDTree(roots[:guides]).query(roots, k=min(BETWEEN, guides))
    away, around = away.reshape(count, -1), around.reshape(count, -1)
    near = around[:, 0]
    # A strand lies between the guides around it, but for those that are combed elsewhere.
    joined = np.linalg.norm(paths[around, -1] - paths[near, None, -1], axis=2) < PARTED
    weights = (joined / (away + 0.002) ** 1.5).astype(np.float32)
    weights /= weights.sum(1, keepdims=True)
    t = np.linspace(0, 1, STEPS + 1, dtype=np.float32)
    # Strands stay apart at their roots and come together at their ends.
    middle = np.einsum("nk,nkd->nd", weights, roots[around])
    apart = (roots - middle)[:, None] * (1 - 0.45 * t[None, :, None] ** 1.5)
    lines = np.einsum("nk,nksd->nsd", weights, paths[around]) + apart
    cut = np.clip(lengths / np.maximum(lengths[near], 1e-4), 0.12, 1.15) * rng.uniform(0.72, 1.0, count)
    lines = _shortened(lines, cut.astype(np.float32))
    layer = rng.random(count).astype(np.float32)
    outward = unit(lines - mark.skull)
    lines = lines + outward * (hair.volume * layer[:, None] * np.minimum(4 * t, 1))[..., None]
    if hair.wave > 0:
        lines = lines + _waves(hair, lines, near, t, rng)
    loose = 0.25 if hair.knot is not None else 1.0
    frizz = loose * rng.standard_normal((count, 1, 3)) * np.minimum(0.014 * lengths + 0.0005, 0.0025)[:, None, None]
    lines = (lines + frizz * t[None, :, None] ** 1.5).astype(np.float32)
    lines = _outside(lines, tree, shape.vertices[numbers], smooth[numbers])
    # Locks differ more than the strands of one.
    lock = (weights * rng.random(guides).astype(np.float32)[around]).sum(1)
    tone = (0.45 * rng.random(count) + 0.55 * lock).astype(np.float32)
    widths = (width * fine * rng.uniform(0.7, 1.3, count)).astype(np.float32)
    if hair.knot is not None:
        more, thick = _knot(hair, mark, at, width, rng)
        lines = np.concatenate([lines, more])
        widths = np.concatenate([widths, np.full(len(more), thick, np.float32)])
        tone = np.concatenate([tone, rng.random(len(more)).astype(np.float32)])
    return _ribbons(lines.astype(np.float32), widths, tone, mark, body, shape, at, numbers, tree, rng)


@dataclass(frozen=True, slots=True, eq=False)
class _Head:
    """The middle of the skull and of the eyes, float32 (3,), and the head's bone."""

    skull: Floats
    eyes: Floats
    bone: int

    @classmethod
    def of(cls, body: Body, shape: Shape, at: Measures) -> _Head:
        eyes = (shape.heads[body.number("eye.L")] + shape.heads[body.number("eye.R")]) / 2
        skull = np.array([0, eyes[1] + MIDDLE, eyes[2] + 0.03 * at.head_height / 0.24], np.float32)
        return cls(skull, eyes.astype(np.float32), body.number("head"))


def skull(body: Body, shape: Shape, at: Measures) -> Floats:
    """Return the middle of the skull at rest, float32 (3,)."""
    return _Head.of(body, shape, at).skull


def rounded(points: Floats, ribbons: Floats, middle: Floats) -> Floats:
    """Return the normals (N, 3) of hair: the mass of it is lit as what is round, each ribbon a little for itself.

    Args:
        points: float32 (N, 3), of posed hair.
        ribbons: float32 (N, 3), normals of its ribbons.
        middle: float32 (3,), the middle of the posed skull.
    """
    away = points - middle
    # What hangs lies around the neck.
    away[:, 2] = np.maximum(away[:, 2], 0)
    return unit(ROUND * unit(away) + (1 - ROUND) * ribbons)


def _lengths(hair: Hair, angle: Floats, up: Floats, mark: _Head, roots: Floats, rng: np.random.Generator) -> Floats:
    """Return the length of each strand in metres, float32 (N,)."""
    if hair.knot is not None:
        tie = mark.skull + np.array([0, hair.knot[1], hair.knot[0] - 0.03], np.float32)
        return np.asarray(1.12 * np.linalg.norm(roots - tie, axis=1) + 0.01, np.float32)
    top = np.clip((up - 0.045) / 0.03, 0, 1)
    behind = np.clip((angle - 1.6) / 0.8, 0, 1)
    low = hair.side + (hair.back - hair.side) * behind
    out = low + (hair.top - low) * top
    if hair.fringe > 0:
        # What grows further back is longer, and ends at the same height.
        front = np.clip((0.95 - angle) / 0.12, 0, 1)
        behind_line = np.maximum(roots[:, 1] - (mark.skull[1] - 0.085), 0)
        out = out + (hair.fringe + 1.1 * behind_line - out) * front
    return np.asarray(out, np.float32)


def _guides(
    hair: Hair,
    mark: _Head,
    roots: Floats,
    lengths: Floats,
    away: Floats,
    tree: Any,
    points: Floats,
    smooth: Floats,
    at: Measures,
    rng: np.random.Generator,
) -> Floats:
    """Return the paths of strands, float32 (N, STEPS + 1, 3), that stay outside of the body."""
    ragged = rng.normal(0, 0.004, len(roots))
    side = np.where(roots[:, 0] > _parting(hair) + ragged, 1.0, -1.0).astype(np.float32)
    where = roots.copy()
    out = [where]
    step = (lengths / STEPS)[:, None]
    angle = np.arctan2(np.abs(roots[:, 0]), -(roots[:, 1] - mark.skull[1]))
    # Long strands that go their own way end as single ones.
    loose = 0.02 if hair.knot is not None else float(np.clip(0.012 / max(hair.top, 0.05), 0.035, 0.07))
    own = (rng.standard_normal(roots.shape) * loose).astype(np.float32)
    normal = away
    for k in range(STEPS):
        t = k / STEPS
        way: NDArray[Any] = _combed(hair, mark, where, side, angle) + own
        # What is longer than a finger hangs.
        weight = np.clip(lengths * t / 0.1 - 0.25, 0, 1.6)[:, None] * (hair.comb != "tie")
        way = np.asarray(way + weight * np.array([0, 0.12, -1], np.float32), np.float32)
        # On the shoulders it goes back and in.
        on = np.clip((at.chin - 0.03 - where[:, 2]) / 0.06, 0, 1)[:, None]
        back = np.stack([-4 * where[:, 0], np.full(len(where), 0.35), np.zeros(len(where))], 1)
        way = np.asarray(way + on * back, np.float32)
        along: NDArray[Any] = way - normal * np.minimum((way * normal).sum(1, keepdims=True), 0)
        steep = hair.lift * (1 - t)
        where = np.asarray(where + step * unit((along + steep * normal).astype(np.float32)), np.float32)
        _, near = tree.query(where)
        normal = unit(0.5 * normal + smooth[near])
        high = ((where - points[near]) * smooth[near]).sum(1)
        wanted = 0.002 + np.where(where[:, 2] < at.collar + 0.03, ON_CLOTH, 0.0) * np.clip(
            (at.collar + 0.05 - where[:, 2]) / 0.06, 0, 1
        )
        # Above the neck it lies on the head, but for what its lift raises.
        raised = 0.002 + 0.035 * hair.lift * np.minimum(lengths / 0.06, 1) * np.sin(np.pi * min(t + 0.12, 1) ** 0.8)
        most = np.where(where[:, 2] > mark.eyes[2] - 0.05, raised, np.inf)
        where = where + smooth[near] * (np.clip(high, wanted, np.maximum(most, wanted)) - high)[:, None]
        out.append(where.astype(np.float32))
    return np.stack(out, 1)


def _parting(hair: Hair) -> float:
    """Return where hair is parted: x in metres."""
    return 0.0 if hair.top > 0.3 else 0.03


def _combed(hair: Hair, mark: _Head, where: Floats, side: Floats, angle: Floats) -> Floats:
    """Return the directions (N, 3) in which strands are combed at points (N, 3)."""
    x, zero = side, np.zeros_like(side)
    whorl = mark.skull + np.array([0.01, 0.055, 0.08], np.float32)
    down = np.stack([0.0 * x, 0.2 + zero, -1 + zero], 1)
    low = np.clip((0.05 - (where[:, 2] - mark.eyes[2])) / 0.03, 0, 1)
    if hair.comb == "tie" and hair.knot is not None:
        return unit(mark.skull + np.array([0, hair.knot[1], hair.knot[0] - 0.03], np.float32) - where)
    if hair.comb == "part":
        way = np.stack([x, 0.3 + zero, -0.35 + zero], 1)
    elif hair.comb == "back":
        way = np.stack([0.25 * x, 1 + zero, -0.2 + zero], 1)
    elif hair.comb == "forward":
        way = np.stack([0.15 * x, -1 + zero, -0.35 + zero], 1)
    else:
        way = unit(where - whorl) + np.array([0, 0, -0.3], np.float32)
    way = unit(way)
    if hair.fringe > 0:
        front = np.clip((0.95 - angle) / 0.12, 0, 1)[:, None]
        way = way + front * (np.stack([0.2 * x, -1 + zero, -0.8 + zero], 1) - way)
    return np.asarray(way + low[:, None] * (down - way), np.float32)


def _curls(
    hair: Hair, roots: Floats, away: Floats, lengths: Floats, points: tuple[int, int], rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return curls, float32 (M, S, 3), and their tones in [0, 1], float32 (M,).

    Loose ones are locks of strands that wind from the scalp outwards and down; of tight ones each strand has a turn or
    two at some height, all through the hair. ``points`` of either make one curl.
    """
    loose = hair.lift < 1
    lock = int(np.clip(len(roots) // LOCKS, 1, LOCK)) if loose else 1
    count = len(roots) // lock
    turn = np.linspace(0, 1, points[int(not loose)], dtype=np.float32)[None, :, None]
    base, out, long = roots[:count], away[:count], lengths[:count, None, None]
    out = unit(out + (0.3 if loose else 0.15) * rng.standard_normal((count, 3)).astype(np.float32))
    across = rng.standard_normal((count, 3)).astype(np.float32)
    if loose:
        # Outwards first, then down by its weight.
        way = out[:, None] * (turn - 0.35 * turn**2) + np.array([0, 0, -0.55], np.float32) * turn**2
        path = base[:, None] + long * rng.uniform(0.8, 1.15, (count, 1, 1)) * way
        axis, angle = out, 2 * np.pi * turn * long / PITCH + rng.uniform(0, 2 * np.pi, (count, 1, 1))
        radius = hair.wave * rng.uniform(0.55, 1.0, (count, 1, 1)) * np.minimum(3 * turn + 0.15, 1)
    else:
        # The outline of such hair is uneven by some millimetres.
        uneven = 0.86 + 0.14 * np.sin(base @ rng.normal(0, 130, (3, 4))).mean(1)
        path = (base + out * (lengths * rng.random(count) ** 0.6 * uneven)[:, None])[:, None]
        axis = unit(across + 0.6 * out)
        across = rng.standard_normal((count, 3)).astype(np.float32)
        angle = turn * rng.uniform(5, 10, (count, 1, 1))
        radius = hair.wave * rng.uniform(0.6, 1.2, (count, 1, 1))
    first = unit(np.cross(axis, across))
    second = np.cross(axis, first)
    ring = first[:, None] * np.cos(angle) + second[:, None] * np.sin(angle)
    lines = path + radius * ring + (0 if loose else 0.1 * radius * angle * axis[:, None])
    tone = rng.random(count)
    if loose:
        lines = np.repeat(lines, lock, 0) + 0.0016 * rng.standard_normal((count * lock, 1, 3)) * (0.6 + turn)
        tone = 0.6 * np.repeat(tone, lock) + 0.4 * rng.random(count * lock)
    return lines.astype(np.float32), tone.astype(np.float32)


def _shortened(lines: Floats, share: Floats) -> Floats:
    """Return paths (N, S, 3) cut to a share of their length, or made longer by up to a step, with as many points."""
    last = lines.shape[1] - 1
    place = np.linspace(0, 1, last + 1)[None] * share[:, None] * last
    first = np.minimum(place.astype(int), last - 1)
    rest = (place - first)[..., None].astype(np.float32)
    rows = np.arange(len(lines))[:, None]
    return np.asarray(lines[rows, first] * (1 - rest) + lines[rows, first + 1] * rest, np.float32)


def _waves(hair: Hair, lines: Floats, near: NDArray[np.int64], t: Floats, rng: np.random.Generator) -> Floats:
    """Return displacements of strands in waves, neighbours alike."""
    turns = rng.uniform(1.2, 2.2, (GUIDES, 1))
    phase = rng.uniform(0, 2 * np.pi, (GUIDES, 2))
    angle = 2 * np.pi * turns[near] * t + phase[near, :1] + rng.uniform(-0.4, 0.4, (len(near), 1))
    across = unit(np.cross(np.gradient(lines, axis=1), np.array([0.2, 1, 0.3], np.float32)).astype(np.float32))
    other = np.cos(angle + phase[near, 1:])[..., None] * np.array([0.5, 0.5, 0.5], np.float32)
    grown = np.minimum(2.5 * t, 1)[None, :, None]
    return np.asarray(hair.wave * grown * (np.sin(angle)[..., None] * across + other), np.float32)


def _outside(lines: Floats, tree: Any, points: Floats, smooth: Floats) -> Floats:
    """Return paths of which no point but the root lies under the skin."""
    flat = lines[:, 1:].reshape(-1, 3)
    _, near = tree.query(flat)
    high = ((flat - points[near]) * smooth[near]).sum(1)
    moved = flat + smooth[near] * np.maximum(0.0015 - high, 0)[:, None]
    return np.concatenate([lines[:, :1], moved.reshape(len(lines), -1, 3)], 1).astype(np.float32)


def _knot(hair: Hair, mark: _Head, at: Measures, width: float, rng: np.random.Generator) -> tuple[Floats, float]:
    """Return the strands of a tail or a bun, float32 (N, STEPS + 1, 3), and their width."""
    if hair.knot is None:
        raise ValueError("hair: expected a knot")
    up, back, size = hair.knot
    tie = mark.skull + np.array([0, back, up - 0.03], np.float32)
    t = np.linspace(0, 1, STEPS + 1)
    count = int(np.clip(0.5 / width, 60, 420))
    if size > 0:
        axis = unit(rng.standard_normal((count, 3)).astype(np.float32) + np.array([0, 3.0, 0.5], np.float32))
        first = unit(np.cross(axis, rng.standard_normal((count, 3)).astype(np.float32)))
        second = np.cross(axis, first)
        turn = 2.6 * t
        ring = first[:, None] * np.cos(turn)[None, :, None] + second[:, None] * np.sin(turn)[None, :, None]
        tilt = axis[:, None] * rng.uniform(-0.9, 0.9, (count, 1, 1))
        ball = unit((ring + tilt).astype(np.float32)) * size * rng.uniform(0.8, 1.04, (count, 1, 1))
        return np.asarray(ball + tie + np.array([0, 0.6 * size, 0], np.float32), np.float32), 2.2 * width
    length = -size
    spread = rng.standard_normal((count, 3)) * np.array([0.012, 0.009, 0.008])
    reach = rng.uniform(0.75, 1.05, (count, 1))
    arch = np.stack([0 * t, 0.045 * np.sin(np.minimum(t * 3, 1) * np.pi / 2) - 0.02 * t, 0 * t], -1)
    down = -(np.maximum(t - 0.06, 0) ** 1.05)[None] * length * reach
    wide = (0.5 + 1.3 * np.sin(np.pi * np.minimum(t * 1.1, 1) ** 0.7) * (1 - 0.5 * t))[None, :, None]
    path = tie + arch[None] + spread[:, None] * wide
    path[..., 2] += down
    return np.asarray(path, np.float32), 1.6 * width


def _ribbons(
    lines: Floats,
    widths: Floats,
    tone: Floats,
    mark: _Head,
    body: Body,
    shape: Shape,
    at: Measures,
    numbers: NDArray[np.int64],
    tree: Any,
    rng: np.random.Generator,
) -> Strands:
    """Return ribbons along paths (N, S, 3) that lie flat on the head, each a little twisted."""
    count, points = lines.shape[:2]
    along = unit(np.gradient(lines, axis=1).astype(np.float32))
    outward = unit(lines - mark.skull)
    twist = (rng.uniform(-0.7, 0.7, (count, 1, 1))).astype(np.float32)
    across = unit(np.cross(along, outward).astype(np.float32))
    across = unit(across + twist * np.cross(across, along))
    t = np.linspace(0, 1, points, dtype=np.float32)
    half = (widths[:, None] * 0.5 * (np.clip(1.1 - t, 0, 1) ** 0.35)[None])[..., None] * across
    vertices = np.stack([lines + half, lines - half], 2).reshape(-1, 3).astype(np.float32)
    first = (np.arange(count)[:, None] * points + np.arange(points - 1)).ravel() * 2
    faces = np.concatenate([np.stack([first, first + 1, first + 2], 1), np.stack([first + 1, first + 3, first + 2], 1)])
    weights = np.zeros((len(vertices), len(body.bones)), np.float32)
    weights[:, mark.bone] = 1
    low = np.flatnonzero(vertices[:, 2] < at.chin + 0.03)
    if len(low):
        _, near = tree.query(vertices[low])
        share = np.clip((at.chin + 0.03 - vertices[low, 2]) / 0.12, 0, 1)[:, None]
        weights[low] = (1 - share) * weights[low] + share * body.weights[numbers[near]]
    coords = np.concatenate(
        [
            np.repeat(along.reshape(-1, 3), 2, 0),
            np.tile(np.repeat(t, 2), count)[:, None],
            np.repeat(tone, 2 * points)[:, None],
        ],
        1,
    )
    return Strands(vertices, faces.astype(np.int32), weights, coords.astype(np.float32))
