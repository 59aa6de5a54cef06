"""Which limb of a skeleton each pixel belongs to: the nearest one, measured in the limb's own half widths."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.redraw.skeleton import Skeleton

__all__ = ["NECK", "Limb", "Owned", "owned"]

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: Limbs: from and to which joint, and half widths there in heads.
LIMBS = {
    "upper_arm": ("shoulder", "elbow", 0.30, 0.25),
    "forearm": ("elbow", "wrist", 0.25, 0.17),
    "hand": ("wrist", "hand", 0.17, 0.19),
    "thigh": ("hip", "knee", 0.44, 0.30),
    "shin": ("knee", "ankle", 0.30, 0.18),
    "foot": ("ankle", "toe", 0.18, 0.16),
}
ARM = ("upper_arm", "forearm", "hand")
#: Half width of the neck, of the head, and how far clothes reach beyond the trunk, in heads.
NECK, HEAD, TRUNK = 0.26, 0.38, 0.32
#: How far a head's middle line goes below and above the nose, in heads.
UPRIGHT = (0.1, 0.1)
#: How much farther the neck counts than it is, so that it goes into the collar, and how far at least a hidden arm.
COLLAR, HIDDEN = 0.25, 1.05


@dataclass(frozen=True, slots=True, eq=False)
class Limb:
    """One part of the body: a tapering capsule, or the trunk between shoulders and hips.

    Args:
        name: ``trunk``, ``neck``, ``head`` or one of ``LIMBS``.
        group: Limbs of one group pass into each other without a crease: ``trunk``, ``head``, or ``arm`` or ``leg``
            with its side.
        start, end: Middle line, float32 (2,) x, y in pixels.
        wide, narrow: Half widths at start and end in pixels.
        farther: Added to its distances.
        least: Its least distance.
    """

    name: str
    group: str
    start: Floats
    end: Floats
    wide: float
    narrow: float
    farther: float = 0.0
    least: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Owned:
    """To which limb each pixel belongs, and where on it the pixel lies.

    Args:
        limbs: All limbs.
        limb: Number of the nearest one, uint8 (h, w).
        distance: How far that one is, in its half widths, float32 (h, w).
        along: From its start, 0, to its end, 1, float32 (h, w); on the trunk also beyond.
        across: From left, -1, to right, 1, as the picture has them, float32 (h, w).
    """

    limbs: tuple[Limb, ...]
    limb: NDArray[np.uint8]
    distance: Floats
    along: Floats
    across: Floats

    def of(self, *starts: str) -> Mask:
        """Return where limbs lie whose group's last word is one of these, bool (h, w)."""
        return np.isin(self.limb, [n for n, limb in enumerate(self.limbs) if limb.group.split()[-1] in starts])


def owned(size: tuple[int, int], body: Skeleton) -> Owned:
    """Return the nearest limb of every pixel of a frame (height, width), joints in its pixels."""
    limbs = _limbs(body)
    out = Owned(
        limbs,
        np.zeros(size, np.uint8),
        np.full(size, np.inf, np.float32),
        np.zeros(size, np.float32),
        np.zeros(size, np.float32),
    )
    for number, limb in enumerate(limbs):
        distance, along, across = _trunk(size, limb, body) if limb.name == "trunk" else _capsule(size, limb)
        distance = np.maximum(distance + np.float32(limb.farther), np.float32(limb.least))
        nearer = distance < out.distance
        for target, values in ((out.distance, distance), (out.along, along), (out.across, across)):
            np.copyto(target, values, where=nearer)
        out.limb[nearer] = number
    return out


def _limbs(body: Skeleton) -> tuple[Limb, ...]:
    head, shoulder, hip = body.head, body.middle("shoulder"), body.middle("hip")
    up = (shoulder - hip) / np.float32(max(float(np.linalg.norm(shoulder - hip)), 1e-6)) * np.float32(head)
    crown = body.points["nose"] if "nose" in body.seen else shoulder + np.float32(0.95) * up
    if body.profile():
        crown = (crown + body.middle("ear")) / 2
    top, chin = crown + np.float32(UPRIGHT[1]) * up, crown - np.float32(UPRIGHT[0]) * up
    limbs = [
        Limb("trunk", "trunk", shoulder, hip, TRUNK * head, TRUNK * head, farther=1.0),
        Limb("neck", "trunk", shoulder, crown, NECK * head, NECK * head, farther=COLLAR),
        Limb("head", "head", chin, top, HEAD * head, HEAD * head),
    ]
    for side in ("left", "right"):
        for name, (first, last, wide, narrow) in LIMBS.items():
            start, end = body.points[f"{side}_{first}"], body.points[f"{side}_{last}"]
            arm = name in ARM
            # Hidden behind the trunk, or cut off: such an arm shows only beyond the trunk.
            least = HIDDEN if arm and f"{side}_{last}" not in body.seen else 0.0
            group = f"{side} {'arm' if arm else 'leg'}"
            limbs.append(Limb(name, group, start, end, wide * head, narrow * head, least=least))
    return tuple(limbs)


def _trunk(size: tuple[int, int], limb: Limb, body: Skeleton) -> tuple[Floats, Floats, Floats]:
    """Return distance beyond shoulders and hips, along and across of the trunk, float32 (h, w) each."""
    names = ("left_shoulder", "right_shoulder", "right_hip", "left_hip")
    corners = np.array([body.points[name] for name in names], np.float32)
    shape = np.zeros(size, np.uint8)
    cv2.fillConvexPoly(shape, cv2.convexHull(np.rint(corners).astype(np.int32)), 1)
    x, y = _offsets(size, limb.start)
    axis = limb.end - limb.start
    length = max(float(np.linalg.norm(axis)), 1e-6)
    if shape.any():
        outside = cv2.distanceTransform(1 - shape, cv2.DIST_L2, 5)
    else:  # All of it lies beyond the frame.
        outside = np.hypot(x - axis[0] / 2, y - axis[1] / 2)
    half = max(float(np.linalg.norm(corners[0] - corners[1])) / 2, 0.5 * body.head) + 0.2 * body.head
    along = (x * axis[0] + y * axis[1]) / np.float32(length**2)
    across = (x * axis[1] - y * axis[0]) / np.float32(length * half)
    return np.asarray(outside / np.float32(limb.wide), np.float32), along, across


def _capsule(size: tuple[int, int], limb: Limb) -> tuple[Floats, Floats, Floats]:
    """Return distance, along and across of a tapering limb, float32 (h, w) each."""
    x, y = _offsets(size, limb.start)
    axis = (limb.end - limb.start).astype(np.float32)
    length = float(np.linalg.norm(axis))
    if length < 1e-3:
        ball = np.float32(max(limb.wide, 0.5))
        distance = np.asarray(np.sqrt(x * x + y * y) / ball, np.float32)
        return distance, np.zeros(size, np.float32), np.asarray(np.broadcast_to(x / ball, size), np.float32)
    along = np.clip((x * axis[0] + y * axis[1]) / np.float32(length**2), 0, 1)
    radius = np.maximum(np.float32(limb.wide) + np.float32(limb.narrow - limb.wide) * along, np.float32(0.5))
    x, y = x - along * axis[0], y - along * axis[1]
    # Left and right as the picture has them, whichever way the limb points.
    normal = axis / np.float32(length if axis[1] >= 0 else -length)
    return np.sqrt(x * x + y * y) / radius, along, (x * normal[1] - y * normal[0]) / radius


def _offsets(size: tuple[int, int], origin: Floats) -> tuple[Floats, Floats]:
    """Return x (1, w) and y (h, 1) of pixels' middles relative to a point."""
    x = (np.arange(size[1], dtype=np.float32) + np.float32(0.5) - np.float32(origin[0]))[None]
    y = (np.arange(size[0], dtype=np.float32) + np.float32(0.5) - np.float32(origin[1]))[:, None]
    return x, y
