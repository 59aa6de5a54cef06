"""Garments: pieces of cloth cut out of a body at rest, and what their paint goes by."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.body import Body, Shape
from anonymizer.avatar.mesh import averaging, border, cut, even, normals
from anonymizer.avatar.tailor import SLICE, Measures, looked_up, slices

__all__ = ["COORDS", "DEEP", "Garment", "let_down", "piece_of"]

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]

#: What paint of cloth goes by, in the order of ``Garment.coords``: share of arm and of leg, how far along the limb (0
#: at shoulder or hip, 1 at wrist or ankle), two coordinates around its axis and the distance to the border, in metres.
COORDS = ("arm", "leg", "along", "a", "b", "edge")

#: Distance to the border in metres from which on cover is full.
DEEP = 0.08
#: Distance from the middle in metres beyond which no border belongs to an open front.
BESIDE_OPENING = 0.1
#: Least distance of what is let down from trousers, in metres.
OVER = 0.012
#: Steps of smoothing that leave nothing of an ear.
FLAT = 60


@dataclass(frozen=True, slots=True, eq=False)
class Garment:
    """One piece on a body at rest.

    Args:
        kind: ``top``, ``outer``, ``bottom``, ``shoes`` or ``hair``.
        name: Which.
        vertices: float32 (M, 3).
        faces: int32 (F, 3).
        weights: float32 (M, B) of the bones.
        body: float32 (M, 3), the points of the body that lie below; patterns hang on them.
        covers: float32 (V,), above 0 where it covers the body.
        coords: float32 (M, C), what paint goes by: of hair see ``Strands``, of cloth see ``COORDS``.
    """

    kind: str
    name: str
    vertices: Floats
    faces: Numbers
    weights: Floats
    body: Floats
    covers: Floats
    coords: Floats


def piece_of(
    body: Body,
    shape: Shape,
    at: Measures,
    kind: str,
    name: str,
    field: Floats,
    ease: float | Floats,
    smooth: int,
    blend: int,
    flat: Floats | None = None,
) -> Garment:
    """Return the body's surface where a field (V,) is positive, smoothed and pushed out.

    Args:
        body: The model.
        shape: Its shape.
        at: Its measures.
        kind: See ``Garment``.
        name: Which.
        field: float32 (V,), about metres inside of the border.
        ease: Distance from the body in metres, of all or (V,).
        smooth: Steps in which cloth spans hollows.
        blend: Steps in which bone weights are mixed with their neighbours'.
        flat: float32 (V,) in [0, 1], what is pressed flat first: ears under a hat.
    """
    part = cut(body.faces, field)
    below = part.of(shape.vertices)
    out_of = part.of(body.weights)
    distance = part.of(np.broadcast_to(np.asarray(ease, np.float32), field.shape))
    around = averaging(len(below), part.faces)
    points = below.copy()
    if flat is not None:
        for _ in range(FLAT):
            points = 0.5 * points + 0.5 * (around @ points)
        points = (below + (points - below) * part.of(flat)[:, None]).astype(np.float32)
    under = points
    for _ in range(smooth):
        points = 0.5 * points + 0.5 * (around @ points)
    points = points + normals(points, part.faces) * distance[:, None]
    outward = normals(under, part.faces)
    short = np.maximum(0, distance - ((points - under) * outward).sum(1))
    points = points + outward * short[:, None]
    points = 0.7 * points + 0.3 * (around @ points)
    points = even(points.astype(np.float32), border(part.faces), 12)
    for _ in range(blend):
        out_of = 0.5 * out_of + 0.5 * (around @ out_of)
    weights = out_of / out_of.sum(1, keepdims=True)
    covers = np.minimum(field, DEEP).astype(np.float32)
    coords = np.concatenate([part.of(_coords(body, shape, at)), part.of(field)[:, None]], 1)
    return Garment(kind, name, points.astype(np.float32), part.faces, weights.astype(np.float32), below, covers, coords)


def _coords(body: Body, shape: Shape, at: Measures) -> Floats:
    """Return the coordinates of cloth on each vertex but for the distance to the border, see ``COORDS``."""
    arm = np.clip((at.arm + 0.02) * 8, 0, 1)
    leg = np.where(at.arm > 0, 0, np.clip((at.leg + 0.02) * 5, 0, 1)) * (at.legs > 0.3)
    along = np.where(at.arm > 0, at.arm, np.where(leg > 0, at.leg, 0))
    left = at.x > 0
    a, b = at.x - at.middle[0], at.y - at.middle[1]
    for side, own in (("L", left), ("R", ~left)):
        hip = shape.heads[body.number(f"upperleg01.{side}")]
        foot = shape.heads[body.number(f"foot.{side}")]
        axis = hip[None] + (foot - hip)[None] * np.clip(at.leg, 0, 1.1)[:, None]
        a = np.where(own & (leg > 0), at.x - axis[:, 0], a)
        b = np.where(own & (leg > 0), at.y - axis[:, 1], b)
        shoulder, wrist = (shape.heads[body.number(f"{bone}.{side}")] for bone in ("upperarm01", "wrist"))
        way = (wrist - shoulder) / np.linalg.norm(wrist - shoulder)
        off = shape.vertices - shoulder
        off = off - (off @ way)[:, None] * way
        back = np.array([0, 1, 0]) - way * way[1]
        back /= np.linalg.norm(back)
        a = np.where(own & (at.arm > 0), off @ np.cross(way, back), a)
        b = np.where(own & (at.arm > 0), off @ back, b)
    return np.stack([arm, leg, along, a, b], 1).astype(np.float32)


def let_down(
    piece: Garment,
    shape: Shape,
    at: Measures,
    hem: float,
    end: float,
    ease: float,
    opened: bool,
    under: Floats | None = None,
) -> Garment:
    """Return a top whose lower border is let down to a new hem, around both legs.

    Args:
        piece: A top that ends above the crotch.
        shape: The body.
        at: Its measures.
        hem: Height of the present hem in metres.
        end: Height of the new one.
        ease: Distance from the hull of both legs in metres.
        opened: Whether it is open in front, and so covers no legs.
        under: float32 (N, 3), points of trousers that it hangs over; None: there are none.
    """
    edges = border(piece.faces)
    z = piece.vertices[:, 2]
    along = piece.vertices[edges[:, 1]] - piece.vertices[edges[:, 0]]
    level = np.abs(along[:, 2]) < 0.7 * np.linalg.norm(along, axis=1)
    # Only in front may steep edges belong to an opening: elsewhere a left out one would leave a hole.
    level |= np.abs(piece.vertices[edges, 0]).min(1) > BESIDE_OPENING if opened else np.bool_(True)
    low = edges[level & (np.abs(z[edges] - hem) < 0.07).all(1) & (piece.coords[edges, 0] < 0.3).all(1)]
    if not len(low):
        return piece
    # Turned as the faces run, so that outside stays outside.
    directed = piece.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    count = len(z)
    keys = np.isin(
        directed[:, 0].astype(np.int64) * count + directed[:, 1], low[:, 0].astype(np.int64) * count + low[:, 1]
    )
    keys |= np.isin(
        directed[:, 0].astype(np.int64) * count + directed[:, 1], low[:, 1].astype(np.int64) * count + low[:, 0]
    )
    first, second = directed[keys].T
    ring, local = np.unique(np.r_[first, second], return_inverse=True)
    a, b = local.reshape(2, -1)
    steps = max(int((hem - end) / SLICE), 2)
    rows = np.linspace(end, at.hips + 0.1, max(int((at.hips + 0.1 - end) / SLICE), 4), dtype=np.float32)
    own = (at.arm < 0) & (at.z < at.hips + 0.12) & (at.z > end - 2 * SLICE)
    reach = slices(at.z[own], shape.vertices[own, :2] - at.middle, rows, float(rows[1] - rows[0])) + np.float32(ease)
    if under is not None:
        legs = under[(under[:, 2] > end - 2 * SLICE) & (under[:, 2] < at.hips + 0.12)]
        over = slices(legs[:, 2], legs[:, :2] - at.middle, rows, float(rows[1] - rows[0])) + np.float32(OVER)
        reach = np.maximum(reach, over)
    for k in range(len(rows) - 2, -1, -1):
        reach[k] = np.maximum(reach[k], reach[k + 1])
    start = piece.vertices[ring]
    off = start[:, :2] - at.middle
    away = np.maximum(np.linalg.norm(off, axis=1), 1e-4)
    pleat = 1 + 0.012 * np.cos(7 * np.arctan2(off[:, 1], off[:, 0]))
    points, faces, heights = [], [], []
    for k in range(1, steps + 1):
        share = k / steps
        height = start[:, 2] + (end - start[:, 2]) * share
        wanted = looked_up(reach, rows, height.astype(np.float32), off)
        wide = np.maximum(away, away + (np.maximum(wanted, away) - away) * min(3 * share, 1)) * (
            1 + (pleat - 1) * share
        )
        points.append(np.concatenate([at.middle + off * (wide / away)[:, None], height[:, None]], 1))
        heights.append(piece.body[ring, 2] + (end - piece.body[ring, 2]) * share)
        above = ring if k == 1 else count + (k - 2) * len(ring) + np.arange(len(ring))
        below = count + (k - 1) * len(ring) + np.arange(len(ring))
        faces += [np.stack([above[b], above[a], below[a]], 1), np.stack([above[b], below[a], below[b]], 1)]
    flat = np.concatenate(points).astype(np.float32)
    # Patterns go on where the piece ends.
    below_it = np.concatenate([flat[:, :2], np.concatenate(heights)[:, None]], 1).astype(np.float32)
    coords = np.tile(piece.coords[ring], (steps, 1))
    coords[:, 5] = flat[:, 2] - end
    old = piece.coords.copy()
    near = np.abs(z - hem) < 0.06
    old[near, 5] = np.maximum(old[near, 5], 0.05)
    return replace(
        piece,
        vertices=np.concatenate([piece.vertices, flat]),
        faces=np.concatenate([piece.faces, *faces]).astype(np.int32),
        weights=np.concatenate([piece.weights, np.tile(piece.weights[ring], (steps, 1))]),
        body=np.concatenate([piece.body, below_it]),
        covers=piece.covers
        if opened
        else np.where((at.arm < 0) & (at.z < hem + 0.02), np.clip(at.z - end - 0.05, -1, DEEP), piece.covers).astype(
            np.float32
        ),
        coords=np.concatenate([old, coords]).astype(np.float32),
    )
