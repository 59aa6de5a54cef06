"""Shoes: uppers and soles lofted along a foot, closed all around."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.body import Body, Shape
from anonymizer.avatar.mesh import outward, unit
from anonymizer.avatar.tailor import Measures

__all__ = ["SHOES", "Last", "Shoe", "lasts", "loft"]

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]

#: Sections along a shoe and points around each.
SECTIONS, AROUND = 26, 24
#: Places along a shoe (0 heel, 1 toe) at which its profile is stated.
STATIONS = (0.0, 0.04, 0.12, 0.25, 0.4, 0.52, 0.65, 0.78, 0.9, 0.96, 1.0)
#: Half widths at the stations, as shares of the widest place: a sole's outline.
OUTLINE = (0.0, 0.42, 0.62, 0.7, 0.72, 0.8, 0.95, 1.0, 0.86, 0.62, 0.0)
#: Room before the toes and around the foot, in metres.
TOE_ROOM, ROOM = 0.014, 0.005


@dataclass(frozen=True, slots=True)
class Shoe:
    """One kind of shoe; lengths in metres.

    Args:
        sole: Thickness of the sole under the foot.
        heel: How much higher the heel is.
        top: Height of the upper at the stations, as shares of the foot's own height there and above it in metres: heel,
            below the ankle, instep, toes.
        toe: How much a toe is pointed, in [0, 1].
        welt: How far the sole stands out.
        shaft: Where a boot's shaft ends: 1 at the ankle, 0 at the hip; above 1 there is none.
        material: ``canvas``, ``leather``, ``mesh`` or ``suede``.
        laces: Whether it is laced.
    """

    sole: float
    heel: float
    top: tuple[float, float, float, float]
    toe: float
    welt: float
    shaft: float
    material: str
    laces: bool


SHOES = {
    "sneakers": Shoe(0.022, 0.004, (0.085, 0.095, 0.012, 0.008), 0.1, 0.004, 2.0, "canvas", True),
    "runners": Shoe(0.03, 0.01, (0.09, 0.092, 0.014, 0.01), 0.2, 0.007, 2.0, "mesh", True),
    "high-tops": Shoe(0.022, 0.002, (0.13, 0.135, 0.014, 0.008), 0.1, 0.004, 0.93, "canvas", True),
    "oxfords": Shoe(0.01, 0.014, (0.078, 0.085, 0.008, 0.004), 0.55, 0.003, 2.0, "leather", True),
    "ankle boots": Shoe(0.02, 0.016, (0.12, 0.125, 0.012, 0.008), 0.3, 0.004, 0.86, "leather", True),
    "tall boots": Shoe(0.014, 0.022, (0.12, 0.125, 0.01, 0.006), 0.45, 0.003, 0.6, "leather", False),
    "ballerinas": Shoe(0.007, 0.004, (0.05, 0.034, -0.05, 0.003), 0.5, 0.002, 2.0, "leather", False),
    "sandals": Shoe(0.016, 0.004, (0.002, 0.002, -0.06, -0.02), 0.1, 0.006, 2.0, "leather", False),
}


@dataclass(frozen=True, slots=True, eq=False)
class Last:
    """One foot: where it stands and how it lies.

    Args:
        side: ``L`` or ``R``.
        heel: float32 (3,), the end of the heel on the ground.
        ahead, across: float32 (3,), unit vectors to the toes and to the person's left.
        length, width: Of the foot, in metres; half of its width.
        heights: float32, of the foot at ``STATIONS``.
        middles: float32, across, of the foot at ``STATIONS``.
    """

    side: str
    heel: Floats
    ahead: Floats
    across: Floats
    length: float
    width: float
    heights: Floats
    middles: Floats

    def place(self, points: Floats) -> Floats:
        """Return points (N, 3) along (0 heel, 1 toe), across and above the ground in metres."""
        off = points - self.heel
        return np.stack([off @ self.ahead / np.float32(self.length), off @ self.across, off[:, 2]], 1)


def lasts(body: Body, shape: Shape, at: Measures) -> tuple[Last, Last]:
    """Return both feet of a body at rest."""
    out = []
    for side, sign in (("L", 1), ("R", -1)):
        own = (at.foot > 0.5) & (sign * at.x > 0)
        points = shape.vertices[own]
        ankle, toe = (shape.heads[body.number(f"{bone}.{side}")] for bone in ("foot", "toe2-1"))
        ahead = unit(((toe - ankle) * np.array([1, 1, 0], np.float32)).astype(np.float32))
        across = np.cross(np.array([0, 0, 1], np.float32), -ahead).astype(np.float32)
        ground = float(points[:, 2].min())
        along = (points - ankle) @ ahead
        low = points[:, 2] < ground + 0.05
        start, end = float(along[low].min()), float(along.max())
        heel = ankle + ahead * start
        heel[2] = ground
        length = end - start
        share, wide = (along - start) / length, (points - heel) @ across
        heights, middles = [], []
        for station in STATIONS:
            near = np.abs(share - station) < 0.06
            heights.append(float(points[near, 2].max()) - ground if near.any() else 0.02)
            middles.append(float(wide[near].max() + wide[near].min()) / 2 if near.any() else 0.0)
        width = float(np.ptp(wide[(share > 0.55) & (share < 0.85)])) / 2
        smooth = np.convolve(np.pad(middles, 1, mode="edge"), (0.25, 0.5, 0.25), "valid")
        out.append(
            Last(
                side,
                heel.astype(np.float32),
                ahead,
                across,
                length,
                width,
                np.array(heights, np.float32),
                smooth.astype(np.float32),
            )
        )
    return out[0], out[1]


def tops(shoe: Shoe, last: Last) -> Floats:
    """Return the height of the upper above the ground at ``STATIONS``, in metres."""
    heel, ankle, instep, toes = shoe.top
    base = last.heights
    out = np.array(
        (
            *(0.7 * heel, heel, heel, ankle, max(base[4], 0.07) + instep, base[5] + instep, base[6] + instep),
            *(base[7] + (instep + toes) / 2, base[8] + toes, base[9] + 0.6 * toes, 0.02),
        ),
        np.float32,
    )
    if instep < 0:
        # An open shoe: a cup for the heel and one for the toes.
        out[4:7] = np.maximum(0.018, base[4:7] + instep)
    return np.maximum(out, 0.012)


def loft(shoe: Shoe, last: Last, body: Body) -> tuple[Floats, Numbers, Floats, Floats]:
    """Return a shoe's vertices (M, 3), faces (F, 3), bone weights (M, B) and coordinates (M, 3).

    The coordinates are how far along (0 heel, 1 toe), how far around (0 at the sole, 1 on top, by its sign left or
    right) and the height above the ground in metres.
    """
    share: NDArray[np.float64] = 0.0005 + 0.999 * (1 - np.cos(np.linspace(0.02, 1, SECTIONS) * np.pi)) / 2
    top = np.interp(share, STATIONS, tops(shoe, last))
    outline = np.array(OUTLINE)
    pointed = outline * (1 - shoe.toe * np.clip((np.array(STATIONS) - 0.72) / 0.28, 0, 1) * 0.45)
    half = np.interp(share, STATIONS, pointed)
    # Ends of the outline are round.
    ends: NDArray[np.float64] = np.sqrt(np.clip(1 - (np.abs(share - 0.5) * 2) ** 9, 0, 1))
    half = np.maximum(half, 0.28 * ends) * ends * (last.width + ROOM)
    middle = np.interp(share, STATIONS, last.middles)
    long = last.length + TOE_ROOM * (2 + shoe.toe)
    along: NDArray[np.float64] = share * long - TOE_ROOM * 0.8
    bottom = -shoe.sole - shoe.heel * np.clip((0.42 - share) / 0.14, 0, 1)
    # The sole rises a little under the toes.
    bottom = bottom + 0.010 * np.clip((share - 0.82) / 0.18, 0, 1) ** 2
    turn = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)
    up = -np.cos(turn)
    out = np.sin(turn)
    # Flat below, steep at the sides, round on top.
    wide = np.sign(out) * np.abs(out) ** np.where(up < 0, 0.45, 0.6)
    high = np.sign(up) * np.abs(up) ** np.where(up < 0, 0.35, 0.62)
    height = np.where(high[None] < 0, bottom[:, None] * -high[None], top[:, None] * high[None])
    stand = np.where((high[None] < 0) & (np.abs(wide)[None] > 0.5), shoe.welt, 0.0)
    across = middle[:, None] + (half[:, None] + stand * ends[:, None]) * wide[None]
    # Uppers lean in towards the top.
    lean = 1 - 0.32 * np.clip(high, 0, 1)[None] ** 2 * np.clip(top / 0.09, 0, 1)[:, None]
    across = np.asarray(middle[:, None] + (across - middle[:, None]) * lean)
    points = (
        last.heel
        + along[:, None, None] * last.ahead
        + across[..., None] * last.across
        + height[..., None] * np.array([0, 0, 1], np.float32)
    ).reshape(-1, 3)
    count = len(share)
    caps = np.stack([points.reshape(count, AROUND, 3)[k].mean(0) for k in (0, -1)])
    a = (np.arange(count - 1)[:, None] * AROUND + np.arange(AROUND)).ravel()
    b = (np.arange(count - 1)[:, None] * AROUND + (np.arange(AROUND) + 1) % AROUND).ravel()
    faces = [np.stack([a, b, b + AROUND], 1), np.stack([a, b + AROUND, a + AROUND], 1)]
    ring = np.arange(AROUND)
    first, last_ring = count * AROUND, (count - 1) * AROUND
    faces.append(np.stack([np.full(AROUND, first), (ring + 1) % AROUND, ring], 1))
    faces.append(np.stack([np.full(AROUND, first + 1), last_ring + ring, last_ring + (ring + 1) % AROUND], 1))
    points = np.concatenate([points, caps]).astype(np.float32)
    weights = np.zeros((len(points), len(body.bones)), np.float32)
    weights[:, body.number(f"foot.{last.side}")] = 1
    signed = np.broadcast_to(np.where(turn < np.pi, 1, -1) * (1 - np.abs(turn / np.pi - 1)), (count, AROUND))
    coords = np.stack([np.broadcast_to(share[:, None], (count, AROUND)), signed, height], -1).reshape(-1, 3)
    coords = np.concatenate([coords, coords[[0, -1]]]).astype(np.float32)
    return points, outward(points, np.concatenate(faces)), weights, coords


def covered(shoe: Shoe, last: Last, points: Floats, foot: Floats) -> Floats:
    """Return how far points (N, 3) of a foot lie inside a shoe, float32 (N,) in metres; below 0 outside."""
    place = last.place(points)
    top = np.interp(place[:, 0], STATIONS, tops(shoe, last))
    if shoe.top[2] >= 0:
        # A closed shoe holds the whole foot.
        top = np.full_like(top, min(shoe.top[:2]))
    return np.where(foot > 0.3, top - place[:, 2] - 0.006, -1).astype(np.float32)
