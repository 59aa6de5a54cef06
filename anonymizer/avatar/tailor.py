"""Measures of a body at rest, and cloth that spans hollows and hangs between the legs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.body import Body, Shape, once
from anonymizer.avatar.mesh import averaging

__all__ = ["Measures", "hang", "span", "spread", "straighten", "tube"]

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]
Mask = NDArray[np.bool_]

#: Directions around a slice of cloth.
DIRECTIONS = 48
#: Distance of slices of the trunk, in metres.
SLICE = 0.02
#: Armpits below the shoulder joints, in metres.
ARMPIT = 0.09
#: Share in which cloth below the hips follows the thighs; the rest follows the pelvis.
FOLLOW = 0.95
TRUNK = ("spine", "pelvis", "clavicle", "shoulder", "root")


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """Where each vertex lies on its body; all float32 (V,) unless stated.

    Args:
        x, y, z: Coordinates in metres.
        leg: 0 at the height of the hip joint, 1 at the ankle, along the own side's leg.
        arm: 0 at the shoulder joint, 1 at the wrist; below 0 off the arms.
        legs, foot, head, neck: Share of these bones.
        depth: 0 at the tip of the nose, 1 at the back of the head.
        middle: float32 (2,), x and y of the trunk's axis.
        hips, armpit, collar, chin: Heights of hip joints, armpits, the neck's root and the chin, in metres.
        leg_length, head_height: In metres.
        around: Sparse (V, V), averages of neighbours.
    """

    x: Floats
    y: Floats
    z: Floats
    leg: Floats
    arm: Floats
    legs: Floats
    foot: Floats
    head: Floats
    neck: Floats
    depth: Floats
    middle: Floats
    hips: float
    armpit: float
    collar: float
    chin: float
    leg_length: float
    head_height: float
    around: Any

    @classmethod
    def of(cls, body: Body, shape: Shape) -> Measures:
        """Return the measures of a body."""
        points = shape.vertices
        around = _around(body)
        left = points[:, 0] > 0

        def along(start: str, end: str) -> Floats:
            out = np.zeros(len(points), np.float32)
            for side, own in (("L", left), ("R", ~left)):
                a, b = (shape.heads[body.number(f"{bone}.{side}")] for bone in (start, end))
                out[own] = (points[own] - a) @ (b - a) / ((b - a) @ (b - a))
            return out

        part = body.share
        limb = part("upperarm", "lowerarm", "wrist", "finger", "metacarpal") > 0.3
        head = part("head", "eye", "neck03")
        skull, spine = head > 0.5, part("spine") > 0.5
        hip, ankle = shape.heads[body.number("upperleg01.L")], shape.heads[body.number("foot.L")]
        low, high = points[skull].min(0), points[skull].max(0)
        arm = soften(np.where(limb, along("upperarm01", "wrist"), -1).astype(np.float32), around, 6)
        return cls(
            x=points[:, 0],
            y=points[:, 1],
            z=points[:, 2],
            leg=along("upperleg01", "foot"),
            arm=arm,
            legs=part("upperleg", "lowerleg", "pelvis"),
            foot=part("foot", "toe"),
            head=head,
            neck=part("neck"),
            depth=(points[:, 1] - low[1]) / (high[1] - low[1]),
            middle=np.array([0, points[spine, 1].mean()], np.float32),
            hips=float(hip[2]),
            armpit=float(shape.heads[body.number("upperarm01.L")][2]) - ARMPIT,
            collar=float(shape.heads[body.number("neck01")][2]),
            chin=float(low[2]),
            leg_length=float(hip[2] - ankle[2]),
            head_height=float(high[2] - low[2]),
            around=around,
        )

    def soft(self, field: NDArray[Any], steps: int) -> Floats:
        """Return a field (V,) smoothed over the surface."""
        return soften(np.asarray(field, np.float32), self.around, steps)


@once
def _around(body: Body) -> Any:
    """Return the sparse matrix (V, V) that averages a body's vertices with their neighbours."""
    return averaging(len(body.weights), body.faces)


def soften(field: Floats, around: Any, steps: int) -> Floats:
    """Return values (V,) or (V, K) averaged with their neighbours."""
    for _ in range(steps):
        field = np.float32(0.5) * field + np.float32(0.5) * (around @ field)
    return np.asarray(field, np.float32)


def span(
    points: Floats,
    centre: Floats,
    ease: float,
    where: Mask,
    fall: float,
    step: float = SLICE,
    hull: Mask | None = None,
) -> Floats:
    """Return cloth pushed out to the convex hull of its horizontal slices.

    Args:
        points: float32 (M, 3).
        centre: float32 (2,), the x and y around which it lies.
        ease: Distance from the hull in metres.
        where: bool (M,), what is pushed.
        fall: How much of its width above each slice has at least, in [0, 1].
        step: Distance of the slices in metres.
        hull: bool (M,), what the hull is made of; None: all that is pushed.
    """
    chosen, made = np.flatnonzero(where), where if hull is None else hull
    z, around = points[chosen, 2], points[chosen, :2] - centre
    rows = np.arange(points[made, 2].min(), points[made, 2].max() + step, step)
    reach = slices(points[made, 2], points[made, :2] - centre, rows, step)
    for k in range(len(rows) - 2, -1, -1):
        reach[k] = np.maximum(reach[k], reach[k + 1] * fall)
    out = points.copy()
    wanted = looked_up(reach, rows, z, around) + ease
    longer = np.maximum(wanted / np.maximum(np.hypot(around[:, 0], around[:, 1]), 1e-4), 1)
    out[chosen, :2] = centre + around * longer[:, None]
    return out


def slices(z: Floats, around: Floats, rows: Floats, step: float) -> Floats:
    """Return how far the convex hull of each slice reaches, float32 (R, DIRECTIONS), smoothed."""
    angle = np.linspace(-np.pi, np.pi, DIRECTIONS, endpoint=False)
    way = np.stack([np.cos(angle), np.sin(angle)], 1)
    reach = np.zeros((len(rows), DIRECTIONS), np.float32)
    for k, row in enumerate(rows):
        near = around[np.abs(z - row) < 1.2 * step]
        reach[k] = reach[max(k - 1, 0)]
        if len(near) < 4:
            continue
        hull = cv2.convexHull(np.ascontiguousarray(near, np.float32))[:, 0].astype(np.float64)
        # All points on one line have no hull: the slice below goes on.
        if len(hull) < 3:
            continue
        along = np.roll(hull, -1, axis=0) - hull
        # Normals of the sides, away from the inside.
        across = np.stack([along[:, 1], -along[:, 0]], 1) / np.linalg.norm(along, axis=1)[:, None]
        away = (across * hull).sum(1)
        across, away = (across, away) if along[0, 0] * along[1, 1] > along[0, 1] * along[1, 0] else (-across, -away)
        # One that lies beside the middle, of the last few points of a hem, would reach without end on the other side.
        if away.min() <= 0:
            continue
        slope = way @ across.T
        reach[k] = np.clip(np.where(slope > 1e-6, away / np.maximum(slope, 1e-6), np.inf).min(1), 0, 2)
    wide = np.concatenate([reach, reach, reach], 1)
    return np.asarray(cv2.GaussianBlur(wide, (5, 5), 1.0)[:, DIRECTIONS : 2 * DIRECTIONS], np.float32)


def looked_up(reach: Floats, rows: Floats, z: Floats, around: Floats) -> Floats:
    """Return the reach at heights z (M,) in the directions of ``around`` (M, 2), float32 (M,)."""
    down = np.clip((z - rows[0]) / (rows[1] - rows[0]) if len(rows) > 1 else z * 0, 0, len(rows) - 1)
    turn = ((np.arctan2(around[:, 1], around[:, 0]) + np.pi) / (2 * np.pi) * DIRECTIONS) % DIRECTIONS
    r, c = np.minimum(down.astype(int), len(rows) - 1), turn.astype(int) % DIRECTIONS
    dr, dc = down - r, turn - turn.astype(int)
    r2, c2 = np.minimum(r + 1, len(rows) - 1), (c + 1) % DIRECTIONS
    first = reach[r, c] * (1 - dc) + reach[r, c2] * dc
    second = reach[r2, c] * (1 - dc) + reach[r2, c2] * dc
    return np.asarray(first * (1 - dr) + second * dr, np.float32)


def spread(
    points: Floats, weights: Floats, faces: Numbers, body: Body, at: Measures, ease: float, fall: float
) -> Floats:
    """Return a top whose trunk spans hollows and hangs around both legs.

    Args:
        points: float32 (M, 3).
        weights: float32 (M, B).
        faces: int32 (F, 3).
        body: The model.
        at: The body's measures.
        ease: Distance from the hull in metres.
        fall: How much of the width above it keeps, in [0, 1].
    """
    trunk = weights[:, [b.startswith(TRUNK) for b in body.bones]].sum(1)
    legs = weights[:, [b.startswith(("upperleg", "lowerleg")) for b in body.bones]].sum(1)
    share = (trunk + legs).astype(np.float32)
    # Shoulders are wider than what hangs below them: they are no part of the hull.
    hull = (share > 0.9) & (points[:, 2] < at.armpit)
    if not hull.any():
        return points
    wide = span(points, at.middle, ease, share > 0.5, fall, hull=hull)
    soft = soften(share, averaging(len(points), faces), 4)
    amount = np.clip((soft - 0.5) / 0.3, 0, 1) * np.clip((at.armpit + 0.04 - points[:, 2]) / 0.08, 0, 1)
    return np.asarray(points + (wide - points) * amount[:, None], np.float32)


def straighten(
    points: Floats, start: Floats, end: Floats, where: Mask, amount: Floats, ease: float, fall: float
) -> Floats:
    """Return cloth of a limb that hangs from its widest place instead of following calves or forearms.

    Args:
        points: float32 (M, 3).
        start: float32 (3,), where the limb's axis begins.
        end: float32 (3,), where it ends: cloth falls from start to end.
        where: bool (M,), the limb's own cloth.
        amount: float32 (M,), how far each point takes part, in [0, 1].
        ease: Distance from the hull in metres.
        fall: How much of its width above each slice keeps, in [0, 1].
    """
    if where.sum() < 30:
        return points
    axis = (start - end) / np.float32(np.linalg.norm(start - end))
    first = np.cross(axis, np.array([0.3, -1, 0.2], np.float32))
    first /= np.linalg.norm(first)
    frame = np.stack([first, np.cross(axis, first), axis], 1).astype(np.float32)
    local = ((points - end) @ frame).astype(np.float32)
    # Limbs at rest are a little bent: each slice is seen from its own middle.
    rows = np.arange(local[where, 2].min(), local[where, 2].max() + 2 * SLICE, 2 * SLICE)
    near = np.clip(((local[where, 2] - rows[0]) / (2 * SLICE)).astype(int), 0, len(rows) - 1)
    count = np.maximum(np.bincount(near, minlength=len(rows)), 1)
    for k in (0, 1):
        middle = np.bincount(near, local[where, k], len(rows)) / count
        known = np.bincount(near, minlength=len(rows)) > 0
        local[:, k] -= np.interp(local[:, 2], rows[known] + SLICE, middle[known])
    # Slices twice as high as on the trunk: limbs are long.
    wide = span(local, np.zeros(2, np.float32), ease, where, fall**2, 2 * SLICE)
    return np.asarray(points + ((wide - local) * amount[:, None]) @ frame.T, np.float32)


def hang(weights: Floats, points: Floats, body: Body, at: Measures) -> Floats:
    """Return bone weights (M, B) of cloth below the hips that hangs between the thighs and follows both."""
    below = np.clip((at.hips + 0.05 - points[:, 2]) / 0.15, 0, 1)
    share = np.clip(0.5 + points[:, 0] / 0.18, 0.02, 0.98)
    out = weights * (1 - below)[:, None]
    follow = FOLLOW * below
    out[:, body.number("upperleg01.L")] += follow * share
    out[:, body.number("upperleg01.R")] += follow * (1 - share)
    out[:, body.number("root")] += below - follow
    return np.asarray(out / out.sum(1, keepdims=True), np.float32)


def tube(
    body: Body, shape: Shape, at: Measures, top: float, end: float, ease: float, flare: float, pleats: float
) -> tuple[Floats, Numbers, Floats]:
    """Return a skirt: vertices float32 (M, 3), faces int32 (F, 3), bone weights float32 (M, B).

    Args:
        body: The model.
        shape: Its shape.
        at: Its measures.
        top: Height of the waist in metres.
        end: Height of the hem in metres.
        ease: Distance from the body in metres.
        flare: How much wider the hem is, in metres.
        pleats: Their depth at the hem as a share of its width.
    """
    own = (at.arm < 0) & (at.z < top + SLICE) & (at.z > end - 2 * SLICE)
    rows = np.linspace(end, top, max(int((top - end) / SLICE), 4), dtype=np.float32)
    reach = slices(at.z[own], shape.vertices[own, :2] - at.middle, rows, float(rows[1] - rows[0]))
    for k in range(len(rows) - 2, -1, -1):
        reach[k] = np.maximum(reach[k], reach[k + 1])
    down = (top - rows) / (top - end)
    reach = reach + ease + (flare * down)[:, None]
    angle = np.linspace(-np.pi, np.pi, DIRECTIONS, endpoint=False)
    # Pleats grow towards the hem.
    reach = reach * (1 + pleats * down[:, None] * np.cos(11 * angle + 2 * np.sin(3 * angle)))
    x, y = at.middle[0] + reach * np.cos(angle), at.middle[1] + reach * np.sin(angle)
    points = np.stack([x, y, np.broadcast_to(rows[:, None], x.shape)], -1).reshape(-1, 3).astype(np.float32)
    a = (np.arange(len(rows) - 1)[:, None] * DIRECTIONS + np.arange(DIRECTIONS)).ravel()
    b = (np.arange(len(rows) - 1)[:, None] * DIRECTIONS + (np.arange(DIRECTIONS) + 1) % DIRECTIONS).ravel()
    faces = np.concatenate([np.stack([a, b, b + DIRECTIONS], 1), np.stack([a, b + DIRECTIONS, a + DIRECTIONS], 1)])
    base = np.zeros((len(points), len(body.bones)), np.float32)
    base[:, body.number("root")] = 1
    return points, faces.astype(np.int32), hang(base, points, body, at)
