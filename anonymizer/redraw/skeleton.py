"""A whole skeleton from the joints that were seen: what is hidden or cut off is put where it usually lies.

Lengths are in heads, the artist's measure: a standing adult is seven to eight heads high.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from anonymizer.types import JOINTS, Pose

__all__ = ["Skeleton", "skeleton"]

Floats = NDArray[np.float32]

#: Visibility from which a joint is taken as seen.
SEEN = 0.4
#: Lengths in heads.
TORSO, HALF_SHOULDERS, HALF_HIPS = 2.3, 0.85, 0.5
UPPER_ARM, FOREARM, HAND, THIGH, SHIN, FOOT = 1.4, 1.1, 0.5, 1.9, 1.8, 0.7
#: Heads in the height of a face's box, and of a standing person.
FACE, FIGURE = 0.8, 7.5
#: How far the nose of an upright head lies above the shoulders at least.
LEAST_NECK = 0.3
#: How far the nose lies beside the middle of the ears where a head is seen from the side, in heads.
PROFILE = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Skeleton:
    """All joints of a person.

    Args:
        points: Where each joint lies, float32 (2,) x, y in pixels, by its name in ``JOINTS``.
        seen: Names of the joints that were seen; the others are where they usually lie.
        head: Height of a head in pixels.
        frontal: Whether the person faces the camera.
    """

    points: dict[str, Floats]
    seen: frozenset[str]
    head: float
    frontal: bool

    def middle(self, name: str) -> Floats:
        """Return the point between the left and the right joint of this name."""
        return _between(self.points, name)

    def moved(self, x: float, y: float) -> Skeleton:
        """Return the skeleton moved by so many pixels."""
        by = np.array([x, y], np.float32)
        return replace(self, points={name: point + by for name, point in self.points.items()})

    def profile(self) -> int:
        """Return to which side a head looks that is seen from the side: -1 left, 1 right; 0 from ahead or behind."""
        if "nose" not in self.seen or not {"left_ear", "right_ear"} & self.seen:
            return 0
        ahead = float(self.points["nose"][0] - self.middle("ear")[0]) / self.head
        return 0 if abs(ahead) < PROFILE else 1 if ahead > 0 else -1

    def face(self) -> Floats | None:
        """Return the box (4,) xyxy of a face around the nose; None from behind, from the side, or among the limbs."""
        if "nose" not in self.seen or not self.frontal or self.profile():
            return None
        x, y = (float(v) for v in self.points["nose"])
        if y > float(self.middle("shoulder")[1]) - LEAST_NECK * self.head:
            return None
        half, height = 0.36 * FACE * self.head, FACE * self.head
        return np.array([x - half, y - 0.58 * height, x + half, y + 0.42 * height], np.float32)


def skeleton(pose: Pose, box: Floats, face: Floats | None) -> Skeleton | None:
    """Return the whole skeleton, or None where neither shoulders nor a face were seen.

    Args:
        pose: Joints in pixels.
        box: The person's box (4,) xyxy in the same pixels.
        face: Box (4,) xyxy of the person's face, or None.
    """
    points = {name: point.astype(np.float32) for name, point in zip(JOINTS, pose.points, strict=True)}
    seen = {name for name, visible in zip(JOINTS, pose.visible, strict=True) if visible >= SEEN}
    if not {"left_shoulder", "right_shoulder"} <= seen and face is None:
        return None
    head = _head(points, seen, box, face)
    _complete_trunk(points, seen, head, face)
    frontal = bool(face is not None or points["left_shoulder"][0] > points["right_shoulder"][0])
    down = _unit(_between(points, "hip") - _between(points, "shoulder"))
    for side in ("left", "right"):
        outward = points[f"{side}_shoulder"] - _between(points, "shoulder")
        out = 0.12 * _unit(outward) if np.linalg.norm(outward) > 1e-3 else np.zeros(2, np.float32)
        _complete(
            points, seen, side, ("shoulder", "elbow", "wrist", "hand"), (UPPER_ARM, FOREARM, HAND), down + out, head
        )
        _complete(points, seen, side, ("hip", "knee", "ankle"), (THIGH, SHIN), down, head)
        if f"{side}_toe" not in seen:
            points[f"{side}_toe"] = points[f"{side}_ankle"] + head * np.float32(FOOT) * np.array([0, 0.6], np.float32)
    return Skeleton(points, frozenset(seen), head, frontal)


def _head(points: dict[str, Floats], seen: set[str], box: Floats, face: Floats | None) -> float:
    """Return the height of a head in pixels: by the face, else the torso, else the shoulders or the whole figure."""
    if face is not None:
        return max(float(face[3] - face[1]) / FACE, 1.0)
    rulers = [float(box[3] - box[1]) / FIGURE]
    if {"left_hip", "right_hip"} <= seen:
        rulers.append(float(np.linalg.norm(_between(points, "hip") - _between(points, "shoulder"))) / TORSO)
    # In profile shoulders seem narrow: the largest ruler counts.
    rulers.append(float(np.linalg.norm(points["left_shoulder"] - points["right_shoulder"])) / (2.4 * HALF_SHOULDERS))
    return max(*rulers, 1.0)


def _complete_trunk(points: dict[str, Floats], seen: set[str], head: float, face: Floats | None) -> None:
    """Put shoulders and hips that were not seen below the face and below the shoulders."""
    shoulders = [f"{side}_shoulder" for side in ("left", "right")]
    if face is not None:
        middle = np.array([(face[0] + face[2]) / 2, face[3] + 0.35 * head], np.float32)
        for name, side in zip(shoulders, (1, -1), strict=True):
            if name not in seen:
                points[name] = middle + np.array([side * HALF_SHOULDERS * head, 0], np.float32)
    across = points["left_shoulder"] - points["right_shoulder"]
    hips = ("left_hip", "right_hip")
    if not set(hips) <= seen:
        # Below the shoulders, more upright than these: a shoulder drops where an arm rests.
        down = _unit(np.array([-0.4 * across[1], abs(across[0]) + head], np.float32))
        middle = _between(points, "shoulder") + down * np.float32(TORSO * head)
        half = 0.5 * np.clip(np.linalg.norm(across), 0.6 * head, 2 * HALF_HIPS * head) * _unit(across)
        for name, side in zip(hips, (1, -1), strict=True):
            points[name] = (middle + side * half).astype(np.float32)


def _complete(
    points: dict[str, Floats],
    seen: set[str],
    side: str,
    chain: tuple[str, ...],
    lengths: tuple[float, ...],
    down: Floats,
    head: float,
) -> None:
    """Let a limb hang down from its last joint that was seen."""
    for upper, lower, length in zip(chain, chain[1:], lengths, strict=False):
        if f"{side}_{lower}" not in seen:
            points[f"{side}_{lower}"] = (points[f"{side}_{upper}"] + _unit(down) * np.float32(length * head)).astype(
                np.float32
            )


def _between(points: dict[str, Floats], name: str) -> Floats:
    return np.asarray((points[f"left_{name}"] + points[f"right_{name}"]) / 2, np.float32)


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6), np.float32)
