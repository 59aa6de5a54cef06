"""Garments: pieces of cloth cut out of a body at rest, and what their paint goes by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.body import Body, Shape
from anonymizer.avatar.mesh import averaging, border, cut, even, normals
from anonymizer.avatar.tailor import Measures

__all__ = ["COORDS", "Garment", "piece_of"]

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]

#: What paint of cloth goes by, in the order of ``Garment.coords``: share of arm and of leg, how far along the limb (0 at
#: shoulder or hip, 1 at wrist or ankle), two coordinates around its axis and the distance to the border, in metres.
COORDS = ("arm", "leg", "along", "a", "b", "edge")


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
) -> Garment:
    """Return the body's surface where a field (V,) is positive, smoothed and pushed out."""
    part = cut(body.faces, field)
    below = part.of(shape.vertices)
    out_of = part.of(body.weights)
    distance = part.of(np.broadcast_to(np.asarray(ease, np.float32), field.shape))
    around = averaging(len(below), part.faces)
    points = below.copy()
    for _ in range(smooth):
        points = 0.5 * points + 0.5 * (around @ points)
    points = points + normals(points, part.faces) * distance[:, None]
    outward = normals(below, part.faces)
    short = np.maximum(0, distance - ((points - below) * outward).sum(1))
    points = points + outward * short[:, None]
    points = 0.7 * points + 0.3 * (around @ points)
    points = even(points.astype(np.float32), border(part.faces), 12)
    for _ in range(blend):
        out_of = 0.5 * out_of + 0.5 * (around @ out_of)
    weights = out_of / out_of.sum(1, keepdims=True)
    covers = np.minimum(field, 0.04).astype(np.float32)
    coords = np.concatenate([part.of(_coords(body, shape, at)), part.of(field)[:, None]], 1)
    return Garment(
        kind, name, points.astype(np.float32), part.faces, weights.astype(np.float32), below, covers, coords
    )


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
