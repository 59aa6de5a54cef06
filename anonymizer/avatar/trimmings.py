"""Trimmings: collars, lapels, pockets and hoods laid on a garment at rest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.garment import Garment
from anonymizer.avatar.mesh import border, outward
from anonymizer.avatar.tailor import Measures

__all__ = ["Trim", "ball", "trimmed"]

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]

#: Points around a collar, and rows and columns of a patch.
RING, GRID = 44, (9, 7)
#: Distance of a patch from the cloth below it, in metres.
LIFT = 0.006


@dataclass(frozen=True, slots=True)
class Trim:
    """What is sewn on a top; lengths in metres.

    Args:
        collar: Height of a turned-down collar; 0: none.
        points: How far its points hang down in front.
        lapels: How far below the neck lapels begin; 0: none.
        pockets: ``hip``, ``chest``, ``pouch``, ``flap`` or none.
        hood: Whether a hood lies on the back.
    """

    collar: float = 0.0
    points: float = 0.0
    lapels: float = 0.0
    pockets: tuple[str, ...] = ()
    hood: bool = False


#: Pockets on the front: middle beside the body's axis, middle above the hips, half width, half height, in metres.
POCKETS = {
    "hip": (0.105, 0.02, 0.062, 0.07),
    "chest": (0.085, 0.335, 0.045, 0.052),
    "flap": (0.11, 0.075, 0.065, 0.022),
    "pouch": (0.0, 0.06, 0.13, 0.085),
}


def trimmed(piece: Garment, trim: Trim, at: Measures) -> Garment:
    """Return a garment with its trimmings.

    Args:
        piece: A top at rest.
        trim: What is sewn on it.
        at: The body's measures.
    """
    parts: list[tuple[Floats, Numbers, float]] = []
    if trim.collar:
        parts.append((*_collar(piece, trim, at), 0.02))
    for name in trim.pockets:
        x, z, wide, high = POCKETS[name]
        u, v = np.meshgrid(np.linspace(-1, 1, GRID[1]), np.linspace(1, -1, GRID[0]))
        for sign in (1, -1) if x else (1,):
            lean = 0.75 + 0.25 * (v < 0.2) if name == "pouch" else 1.0
            places = (x * sign + u * wide * lean).astype(np.float32), (at.hips + z + v * high).astype(np.float32)
            parts.append((*_patch(piece, *places, at), 0.03))
    if trim.lapels:
        low = at.collar - trim.lapels
        t = np.linspace(0, 1, GRID[0])[:, None]
        u = np.linspace(0, 1, GRID[1])[None]
        inner = 0.052 * (1 - t) + 0.012 * t
        outer = np.interp(t, (0, 0.22, 0.3, 1), (0.098, 0.118, 0.105, 0.02))
        for sign in (1, -1):
            down = at.collar + 0.012 + (low - at.collar - 0.012) * np.broadcast_to(t, GRID)
            places = (sign * (inner + (outer - inner) * u)).astype(np.float32), down.astype(np.float32)
            parts.append((*_patch(piece, *places, at), 0.01))
    if trim.hood:
        middle = np.array([0, at.middle[1] + 0.085, at.collar + 0.005], np.float32)
        parts.append((*ball(middle, np.array([0.105, 0.055, 0.055], np.float32), 2.4), 0.03))
    return joined(piece, parts)


def joined(piece: Garment, parts: list[tuple[Floats, Numbers, float]]) -> Garment:
    """Return a garment with more meshes that move as its nearest vertices do; each with its distance to a border."""
    from scipy.spatial import cKDTree

    tree = cKDTree(piece.vertices)
    for points, faces, edge in parts:
        count = len(piece.vertices)
        near = tree.query(points)[1]
        coords = piece.coords[near].copy()
        coords[:, 5] = edge
        piece = replace(
            piece,
            vertices=np.concatenate([piece.vertices, points]),
            faces=np.concatenate([piece.faces, faces + count]).astype(np.int32),
            weights=np.concatenate([piece.weights, piece.weights[near]]),
            body=np.concatenate([piece.body, points]),
            coords=np.concatenate([piece.coords, coords]),
        )
    return piece


def _neck(piece: Garment, at: Measures) -> tuple[Floats, Floats, Floats]:
    """Return the neck's middle (2,) and, at RING angles from the back around, its radius and height."""
    edge = np.unique(border(piece.faces))
    points = piece.vertices[edge]
    near = (points[:, 2] > at.collar - 0.06) & (np.hypot(points[:, 0], points[:, 1] - at.middle[1]) < 0.16)
    points = points[near] if near.sum() > 8 else piece.vertices[piece.vertices[:, 2] > at.collar - 0.02]
    middle = np.array([0, (points[:, 1].min() + points[:, 1].max()) / 2], np.float32)
    off = points[:, :2] - middle
    angle = np.arctan2(off[:, 0], off[:, 1])
    order = np.argsort(angle)
    turn = np.linspace(-np.pi, np.pi, RING)
    values = [np.interp(turn, angle[order], v[order], period=2 * np.pi) for v in (np.hypot(*off.T), points[:, 2])]
    smooth = [np.convolve(np.r_[v[-4:], v, v[:4]], np.ones(5) / 5, "same")[4:-4] for v in values]
    return middle, smooth[0].astype(np.float32), smooth[1].astype(np.float32)


def _collar(piece: Garment, trim: Trim, at: Measures) -> tuple[Floats, Numbers]:
    middle, radius, height = _neck(piece, at)
    turn = np.linspace(-np.pi, np.pi, RING)
    # From one side of the open front around the back to the other.
    gap = 0.16
    turn = turn * (np.pi - gap) / np.pi
    radius, height = (np.interp(turn, np.linspace(-np.pi, np.pi, RING), v).astype(np.float32) for v in (radius, height))
    front = np.clip((np.abs(turn) - 1.7) / 1.2, 0, 1)
    rows = [
        (radius + 0.001, height - 0.008),
        (radius + 0.003, height + trim.collar * (1 - 0.6 * front)),
        (radius + 0.009, height + trim.collar * (1 - 0.6 * front) + 0.001),
        (radius + 0.012 + 0.008 * front, height + 0.004 - 0.5 * trim.points * front),
        (radius + 0.014 + 0.01 * front, height - 0.01 - trim.points * front**1.5),
    ]
    points = np.stack(
        [np.stack([middle[0] + r * np.sin(turn), middle[1] + r * np.cos(turn), z], 1) for r, z in rows]
    ).astype(np.float32)
    # Cloth below pushes its points out.
    low = points[3:].reshape(-1, 3)
    out = np.maximum(low[:, 1] - _front(piece, low[:, 0], low[:, 2], at) + 0.003, 0).reshape(2, RING) * front
    # Stiff as a collar is, it goes out as far as its neighbours have to.
    out = np.lib.stride_tricks.sliding_window_view(np.pad(out, ((0, 0), (2, 2)), "edge"), 5, axis=1).max(2)
    for _ in range(3):
        out[:, 1:-1] = (out[:, :-2] + 2 * out[:, 1:-1] + out[:, 2:]) / 4
    points[3:, :, 1] -= out
    return points.reshape(-1, 3), _sheet(len(rows), RING)


def _front(piece: Garment, x: Floats, z: Floats, at: Measures) -> Floats:
    """Return y of the front of a garment at places (N,)."""
    from scipy.spatial import cKDTree

    own = (piece.vertices[:, 1] < at.middle[1]) & (piece.coords[:, 0] < 0.4)
    points = piece.vertices[own]
    distance, near = cKDTree(points[:, [0, 2]]).query(np.stack([x, z], 1), k=4)
    share = 1 / (distance + 0.004)
    return np.asarray((points[near, 1] * share).sum(1) / share.sum(1), np.float32)


def _patch(piece: Garment, x: Floats, z: Floats, at: Measures) -> tuple[Floats, Numbers]:
    """Return cloth on the front of a garment over a grid of places (rows, columns), its rim sewn down."""
    rows, columns = z.shape
    x = np.broadcast_to(x, z.shape)
    rim = np.zeros(z.shape, bool)
    rim[[0, -1]], rim[:, [0, -1]] = True, True
    y = _front(piece, x.ravel(), z.ravel(), at) - np.where(rim, 0.5 * LIFT, LIFT).ravel()
    points = np.stack([x.ravel(), y, z.ravel()], 1).astype(np.float32)
    faces = _sheet(rows, columns)
    a, b, c = (points[faces[0, k]] for k in range(3))
    # Outside is in front.
    return points, faces if np.cross(b - a, c - a)[1] < 0 else faces[:, ::-1]


def _sheet(rows: int, columns: int) -> Numbers:
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    return np.concatenate(
        [np.stack([a, a + 1, a + columns], 1), np.stack([a + 1, a + columns + 1, a + columns], 1)]
    ).astype(np.int32)


def ball(middle: Floats, radii: Floats, power: float) -> tuple[Floats, Numbers]:
    """Return a closed superellipsoid: vertices and faces; a power of 2 is round, more is boxy."""
    rows, columns = 13, 24
    v, u = np.meshgrid(np.linspace(0.03, np.pi - 0.03, rows), np.linspace(0, 2 * np.pi, columns, False), indexing="ij")

    def shaped(values: Floats) -> Floats:
        return np.sign(values) * np.abs(values) ** np.float32(2 / power)

    unit = np.stack(
        [shaped(np.sin(v)) * shaped(np.cos(u)), shaped(np.sin(v)) * shaped(np.sin(u)), shaped(np.cos(v))], -1
    )
    points = np.concatenate([unit.reshape(-1, 3), [[0, 0, 1], [0, 0, -1]]]) * radii + middle
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns)).ravel()
    b = (np.arange(rows - 1)[:, None] * columns + (np.arange(columns) + 1) % columns).ravel()
    ring, last = np.arange(columns), (rows - 1) * columns
    top, low = rows * columns, rows * columns + 1
    faces = np.concatenate(
        [
            np.stack([a, a + columns, b], 1),
            np.stack([b, a + columns, b + columns], 1),
            np.stack([np.full(columns, top), ring, (ring + 1) % columns], 1),
            np.stack([np.full(columns, low), last + (ring + 1) % columns, last + ring], 1),
        ]
    )
    return points.astype(np.float32), outward(points, faces)
