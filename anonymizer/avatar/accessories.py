"""Accessories: hats, scarves, glasses, masks, beards and bags."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.body import Body, Shape
from anonymizer.avatar.garment import Garment, piece_of
from anonymizer.avatar.hair import SKULL, Hair, Scalp, grow
from anonymizer.avatar.mesh import normals, outward, unit
from anonymizer.avatar.tailor import Measures
from anonymizer.avatar.trimmings import ball

__all__ = ["BAGS", "BEARD", "GLASSES", "HATS", "bag", "beard", "glasses", "hat", "hat_line", "mask"]

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]

#: Angle from straight ahead in radians and height above the eyes in metres of a hat's rim.
RIM_ANGLES = (0.0, 0.8, 1.6, 2.4, np.pi)
#: By hat: its rim, its distance from the head in metres, and steps of smoothing.
HATS = {
    "cap": ((0.048, 0.042, 0.024, -0.012, -0.03), 0.013, 8),
    "beanie": ((0.048, 0.03, -0.004, -0.02, -0.035), 0.013, 12),
    "helmet": ((0.05, 0.042, 0.022, 0.0, -0.02), 0.032, 10),
    "headscarf": None,
    "hood": None,
}
BAGS = ("backpack", "shoulder bag")
#: Points of a strap on each side that it is as stiff over: five centimetres.
STIFF = 2
GLASSES = ("glasses", "sunglasses")
#: A full beard: lengths of strands in metres.
BEARD = Hair(0.013, 0.013, 0.013, "whorl", 0.004, 0.2)


def hat_line(name: str, body: Body, shape: Shape) -> float:
    """Return the height in metres from which on a hat covers hair; below 0 of the world: all of it."""
    rim = HATS[name]
    eyes = shape.heads[body.number("eye.L"), 2]
    return -1e3 if rim is None else float(eyes + rim[0][2])


def hat(name: str, body: Body, shape: Shape, at: Measures) -> Garment:
    """Return a hat on a head at rest."""
    rim = HATS[name]
    scalp = Scalp.of(body, 0.0)
    skull = body.share("head", "eye") > 0.5
    if rim is None:
        return _wrapped(name, body, shape, at, scalp)
    line, ease, smooth = rim
    field = np.where(skull, scalp.up - np.interp(scalp.angle, RIM_ANGLES, line), -1)
    piece = piece_of(body, shape, at, "hat", name, at.soft(field, 1), ease, smooth, 0, _ears(body, at, scalp))
    if name != "cap":
        return piece
    return _with(piece, *_brim(body, shape), body)


def _ears(body: Body, at: Measures, scalp: Scalp) -> Floats:
    """Return which vertices are ears, float32 (V,), with a soft rim."""
    x = np.abs(body.middle.vertices[:, 0])
    return at.soft((x > SKULL - 0.004) & (np.abs(scalp.up) < 0.06), 3)


def _wrapped(name: str, body: Body, shape: Shape, at: Measures, scalp: Scalp) -> Garment:
    """Return a headscarf or a hood: all around the face, down on the shoulders."""
    hood = name == "hood"
    head = body.share("head", "eye", "neck")
    middle = body.middle.vertices
    wide, high, down = (0.074, 0.098, 0.036) if hood else (0.063, 0.094, 0.034)
    oval = np.hypot(middle[:, 0] / wide, (scalp.up + down) / high) - 1
    # Nostrils and lips look all ways: only where they lie tells them from the back of the head.
    face = np.where(scalp.angle < 1.35, oval * 0.07, 0.06)
    shoulders = np.minimum(at.z - at.collar + 0.012, 0.1 - np.abs(at.x))
    field = np.where(head > 0.4, np.minimum(face, 0.06), np.where(at.arm > 0, -1, np.minimum(shoulders, 0.06)))
    ease = np.where(head > 0.4, 0.026 if hood else 0.013, 0.034).astype(np.float32)
    return piece_of(
        body, shape, at, "hat", name, at.soft(field, 3), ease, 30 if hood else 24, 3, _ears(body, at, scalp)
    )


def _brim(body: Body, shape: Shape) -> tuple[Floats, Numbers]:
    """Return the peak of a cap, two layers."""
    eyes = (shape.heads[body.number("eye.L")] + shape.heads[body.number("eye.R")]) / 2
    u, v = np.meshgrid(np.linspace(-1, 1, 15), np.linspace(0, 1, 6))
    head = shape.vertices[body.parts == 1]
    forehead = head[np.abs(head[:, 2] - eyes[2] - 0.055) < 0.012]
    front, half = float(forehead[:, 1].min()) - 0.01, float(np.abs(forehead[:, 0]).max()) * 0.92
    x = u * half * (1 - 0.12 * v)
    y = front + 0.075 * u**2 * (1 - 0.55 * v) - 0.075 * v * np.sqrt(1 - 0.75 * u**2)
    z = eyes[2] + 0.057 - 0.022 * u**2 - 0.02 * v * (1 - 0.3 * u**2)
    upper = np.stack([x, y, z], -1).reshape(-1, 3)
    lower = upper - np.array([0, 0, 0.004])
    a = (np.arange(5)[:, None] * 15 + np.arange(14)).ravel()
    faces = np.concatenate([np.stack([a, a + 15, a + 1], 1), np.stack([a + 1, a + 15, a + 16], 1)])
    if np.cross(upper[faces[0, 1]] - upper[faces[0, 0]], upper[faces[0, 2]] - upper[faces[0, 0]])[2] < 0:
        faces = faces[:, ::-1]
    both = np.concatenate([faces, faces[:, ::-1] + len(upper)])
    return np.concatenate([upper, lower]).astype(np.float32), both.astype(np.int32)


def _with(piece: Garment, points: Floats, faces: Numbers, body: Body) -> Garment:
    """Return a garment with a mesh that moves with the head."""
    more = _rigid(piece.kind, piece.name, points, faces, body, "head")
    return Garment(
        piece.kind,
        piece.name,
        np.concatenate([piece.vertices, more.vertices]),
        np.concatenate([piece.faces, more.faces + len(piece.vertices)]).astype(np.int32),
        np.concatenate([piece.weights, more.weights]),
        np.concatenate([piece.body, more.body]),
        piece.covers,
        np.concatenate([piece.coords, more.coords]),
    )


def _rigid(kind: str, name: str, points: Floats, faces: Numbers, body: Body, bone: str) -> Garment:
    weights = np.zeros((len(points), len(body.bones)), np.float32)
    weights[:, body.number(bone)] = 1
    coords = np.zeros((len(points), 6), np.float32)
    coords[:, 5] = 0.05
    bare = np.full(len(body.weights), -1, np.float32)
    return Garment(kind, name, points.astype(np.float32), faces.astype(np.int32), weights, points, bare, coords)


def glasses(name: str, body: Body, shape: Shape) -> Garment:
    """Return glasses: two rims, a bridge and temples; of sunglasses also the lenses."""
    meshes = []
    ears = body.joints(shape)[[3, 4]]
    for side, ear in zip("LR", ears, strict=True):
        eye = shape.heads[body.number(f"eye.{side}")]
        sign = 1 if side == "L" else -1
        middle = eye + np.array([sign * 0.0015, -0.026, -0.004], np.float32)
        turn = np.linspace(0, 2 * np.pi, 25)
        shape_x = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** 0.75
        shape_z = np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** 0.75
        curve = np.stack([0.0255 * shape_x, 0.006 * np.abs(shape_x), 0.0195 * shape_z], 1) + middle
        meshes.append(_tube(curve.astype(np.float32), 0.0014))
        outer = middle + np.array([sign * 0.026, 0.006, 0.008], np.float32)
        meshes.append(
            _tube(
                np.stack(
                    [outer, outer + np.array((sign * 0.012, 0.02, 0)), ear + np.array((sign * 0.004, 0, 0.012))]
                ).astype(np.float32),
                0.0014,
            )
        )
        if side == "L":
            inner = middle + np.array([-0.0255, 0.004, 0.004], np.float32)
            meshes.append(
                _tube(
                    np.stack([inner, inner * [0, 1, 1] + [0, -0.003, 0.003], inner * [-1, 1, 1]]).astype(np.float32),
                    0.0014,
                )
            )
        if name == "sunglasses":
            ring = curve[:-1]
            points = np.concatenate([ring, [middle + np.array([0, -0.002, 0])]])
            k = np.arange(len(ring))
            meshes.append((points, np.stack([k, (k + 1) % len(ring), np.full(len(ring), len(ring))], 1)))
    points = np.concatenate([m[0] for m in meshes]).astype(np.float32)
    counts = np.cumsum([0, *(len(m[0]) for m in meshes)])
    faces = np.concatenate([m[1] + c for m, c in zip(meshes, counts[:-1], strict=True)])
    return _rigid("glasses", name, points, faces, body, "head")


def _tube(curve: Floats, radius: float) -> tuple[Floats, Numbers]:
    """Return a tube of six sides along a curve (N, 3)."""
    way = unit(np.gradient(curve, axis=0).astype(np.float32))
    first = unit(np.cross(way, np.array([0.1, 1, 0.3], np.float32)))
    second = np.cross(way, first)
    turn = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    ring = first[:, None] * np.cos(turn)[None, :, None] + second[:, None] * np.sin(turn)[None, :, None]
    points = (curve[:, None] + radius * ring).reshape(-1, 3)
    a = (np.arange(len(curve) - 1)[:, None] * 6 + np.arange(6)).ravel()
    b = (np.arange(len(curve) - 1)[:, None] * 6 + (np.arange(6) + 1) % 6).ravel()
    return points, outward(points, np.concatenate([np.stack([a, b, a + 6], 1), np.stack([b, b + 6, a + 6], 1)]))


def mask(body: Body, shape: Shape, at: Measures) -> Garment:
    """Return a face mask over nose, mouth and chin."""
    scalp = Scalp.of(body, 0.0)
    x = np.abs(body.middle.vertices[:, 0])
    ahead = -normals(body.middle.vertices, body.faces)[:, 1]
    top = -0.012 - 0.25 * np.maximum(x - 0.012, 0)
    field = np.minimum(np.minimum(top - scalp.up, scalp.up + 0.116), 0.062 - x)
    skull = body.share("head") > 0.5
    field = np.where(skull & ((ahead > -0.1) | (scalp.up < -0.09)) & (scalp.angle < 1.1), field, -0.05)
    return piece_of(body, shape, at, "mask", "mask", at.soft(field, 2), 0.005, 26, 0)


def beard(body: Body, shape: Shape, at: Measures, scale: float, rng: np.random.Generator) -> Garment | None:
    """Return a full beard."""
    scalp = Scalp.of(body, 0.0)
    x = np.abs(body.middle.vertices[:, 0])
    cheek = np.interp(scalp.angle, (0, 0.3, 0.6, 0.9, 1.15, 1.3), (-0.048, -0.05, -0.062, -0.05, -0.02, -0.2))
    field = np.minimum(cheek - scalp.up, scalp.up + 0.135)
    lips = 1 - np.hypot(x / 0.026, (scalp.up + 0.0705) / 0.0115)
    field = np.minimum(field, -0.02 * lips)
    head = body.share("head", "neck") > 0.5
    field = np.where(head & (scalp.angle < 1.3) & (scalp.up > -0.13), field, -1).astype(np.float32)
    made = grow(BEARD, body, shape, at, Scalp(field, scalp.angle, scalp.up), scale, rng)
    if made is None:
        return None
    bare = np.full(len(body.weights), -1, np.float32)
    return Garment("hair", "beard", made.vertices, made.faces, made.weights, made.vertices, bare, made.coords)


def bag(name: str, body: Body, at: Measures, tops: list[Garment], rng: np.random.Generator) -> Garment:
    """Return a bag with its straps, worn over tops."""
    from scipy.spatial import cKDTree

    points = np.concatenate([p.vertices for p in tops])
    trunk = points[(np.abs(points[:, 0]) < 0.13) & (points[:, 2] > at.hips + 0.1)]
    back = float(trunk[:, 1].max())
    middle = (at.collar + at.hips) / 2 + 0.05
    meshes: list[tuple[Floats, Numbers]] = []
    if name == "backpack":
        size = np.array([0.145, 0.075, 0.215], np.float32)
        meshes.append(ball(np.array([0, back + 0.055, middle], np.float32), size, 4.5))
        meshes.append(
            ball(
                np.array([0, back + 0.125, middle - 0.08], np.float32),
                (size * np.array((0.75, 0.45, 0.45), np.float32)),
                4.5,
            )
        )
        for sign in (1.0, -1.0):
            meshes.append(_strap(points, sign, back, at))
        bone = "spine02"
    else:
        sign = 1.0 if rng.random() < 0.5 else -1.0
        low = points[(points[:, 2] < at.hips + 0.06) & (points[:, 2] > at.hips - 0.1) & (np.abs(points[:, 0]) < 0.3)]
        side = float(np.abs(low[:, 0]).max()) if len(low) else 0.2
        place = np.array([sign * (side + 0.045), at.middle[1] + 0.02, at.hips - 0.04], np.float32)
        meshes.append(ball(place, np.array([0.05, 0.14, 0.1], np.float32), 4.0))
        meshes.append(_across(points, sign, place, at))
        bone = "spine04"
    counts = np.cumsum([0, *(len(m[0]) for m in meshes)])
    faces = np.concatenate([m[1] + c for m, c in zip(meshes, counts[:-1], strict=True)])
    made = _rigid("bag", name, np.concatenate([m[0] for m in meshes]).astype(np.float32), faces, body, bone)
    # Straps go with the cloth they lie on: shoulders at rest are higher than those of hanging arms.
    first = counts[-3 if name == "backpack" else -2]
    weights = made.weights.copy()
    weights[first:] = np.concatenate([piece.weights for piece in tops])[cKDTree(points).query(made.vertices[first:])[1]]
    return replace(made, weights=weights)


def _strap(points: Floats, sign: float, back: float, at: Measures) -> tuple[Floats, Numbers]:
    """Return one strap of a backpack: from the back over the shoulder, down the chest and back below the arm."""
    from scipy.spatial import cKDTree

    front = points[points[:, 1] < at.middle[1]]
    behind = points[points[:, 1] >= at.middle[1]]
    low = at.armpit - 0.2
    x = np.array([0.085, 0.09, 0.1, 0.115, 0.15])
    z = np.array([at.collar - 0.06, at.armpit + 0.03, at.armpit - 0.07, at.armpit - 0.15, low])
    y = np.array(
        [front[np.hypot(front[:, 0] - sign * u, front[:, 2] - v).argmin(), 1] for u, v in zip(x, z, strict=True)]
    )
    near = points[np.abs(points[:, 0] - sign * 0.085) < 0.025]
    top = float(near[:, 2].max())
    over = near[near[:, 2].argmax(), 1]
    down = behind[np.hypot(behind[:, 0] - sign * 0.085, behind[:, 2] - at.collar + 0.08).argmin(), 1]
    rough = np.concatenate(
        [
            [[0.08, down, at.collar - 0.08], [0.083, over + 0.03, top], [0.085, over - 0.03, top]],
            np.stack([x, y, z], 1),
            [[0.17, at.middle[1] + 0.02, low - 0.04], [0.12, back, low - 0.07]],
        ]
    ) * [sign, 1, 1]
    place = np.arange(len(rough))
    fine = np.stack([np.interp(np.linspace(0, len(rough) - 1, 46), place, rough[:, k]) for k in range(3)], 1)
    for _ in range(3):
        fine[1:-1] = 0.5 * fine[1:-1] + 0.25 * (fine[:-2] + fine[2:])
    # Outside of all cloth: pushed away from the trunk's axis.
    axis = np.stack([0 * fine[:, 0], np.full(len(fine), at.middle[1]), fine[:, 2] - 0.06], 1)
    way = unit((fine - axis).astype(np.float32))
    near_cloth = points[cKDTree(points).query(fine)[1]]
    short = np.maximum(((near_cloth - fine) * way).sum(1), -0.002)
    # A strap is stiff: it lies as high as the highest cloth near by, and does not follow each fold.
    high = np.pad(short, STIFF, "edge")
    high = np.lib.stride_tricks.sliding_window_view(high, 2 * STIFF + 1).max(1)
    high = np.convolve(np.pad(high, STIFF, "edge"), np.ones(2 * STIFF + 1) / (2 * STIFF + 1), "valid")
    fine = fine + way * (high + 0.002)[:, None]
    return _band(fine, np.array([sign * 1.0, 0, 0]), 0.022)


def _across(points: Floats, sign: float, place: Floats, at: Measures) -> tuple[Floats, Numbers]:
    """Return the strap of a shoulder bag: from the hip across chest and back over the other shoulder."""
    from scipy.spatial import cKDTree

    turn = np.linspace(-np.pi, np.pi, 60)
    shoulder = np.array([-sign * 0.085, at.middle[1], at.collar + 0.01])
    middle, half = (shoulder + place) / 2, (shoulder - place) / 2
    out = np.cos(turn)[:, None] * half + np.sin(turn)[:, None] * np.array([0, 0.17, 0]) + middle
    tree = cKDTree(points)
    near = points[tree.query(out)[1]]
    # From the axis out to the cloth.
    axis = np.stack([np.zeros(60), np.full(60, at.middle[1]), out[:, 2]], 1)
    reach = np.linalg.norm((near - axis)[:, :2], axis=1)
    way = (out - axis)[:, :2] / np.maximum(np.linalg.norm((out - axis)[:, :2], axis=1, keepdims=True), 1e-3)
    low = np.abs(out[:, 2] - place[2]) < 0.1
    out[:, :2] = np.where(low[:, None], out[:, :2], axis[:, :2] + way * np.minimum(reach + 0.01, 0.32)[:, None])
    return _band(out.astype(np.float32), np.array([0.5 * sign, 0, 1.0]), 0.014)


def _band(curve: Floats, across: Floats, half: float) -> tuple[Floats, Numbers]:
    """Return a flat band along a curve (N, 3), outside of cloth."""
    along = unit(np.gradient(curve, axis=0).astype(np.float32))
    side = unit((across - along * (along @ across)[:, None]).astype(np.float32))
    out = unit(np.cross(along, side).astype(np.float32))
    flip = np.where((out * (curve - curve.mean(0))).sum(1) < 0, -1, 1)[:, None]
    out = out * flip
    layers = [
        curve - half * side + 0.004 * out,
        curve - half * side + 0.009 * out,
        curve + half * side + 0.009 * out,
        curve + half * side + 0.004 * out,
    ]
    mesh = np.stack(layers, 1).reshape(-1, 3).astype(np.float32)
    a = (np.arange(len(curve) - 1)[:, None] * 4 + np.arange(4)).ravel()
    b = (np.arange(len(curve) - 1)[:, None] * 4 + (np.arange(4) + 1) % 4).ravel()
    return mesh, outward(mesh, np.concatenate([np.stack([a, b, a + 4], 1), np.stack([b, b + 4, a + 4], 1)]))
