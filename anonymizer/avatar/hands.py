"""Hands: arms moved a little where hand or forearm would go through what is worn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.body import Body, Shape, owners
from anonymizer.avatar.garment import Garment
from anonymizer.avatar.mesh import about, normals, unit

__all__ = ["free_hands"]

Floats = NDArray[np.float32]

#: Numbers of the forearm and the hand among the parts of the body: an arm comes out of cloth as a whole.
FOREARM, HAND = 5, 6
#: What hands go through.
CLOTH = ("top", "outer", "bottom")
#: Share of an arm's bones from which cloth is a sleeve, which moves with the hand.
SLEEVE = 0.3
#: Every how many-th vertex of a hand and forearm is asked.
EVERY = 4
#: Room in metres that a forearm needs beside a hand, for its sleeve.
ROOM = 0.012
#: Distances in metres: beyond which cloth tells nothing of a hand, that a hand keeps from cloth, and depth from which
#: an arm is moved.
NEAR, KEPT, DEEP = 0.09, 0.006, 0.004
#: Times that an arm is moved, and the largest angle in radians of each.
STEPS, MOST = 3, 0.3
#: Bones of an arm from the shoulder joint on.
ARM = ("upperarm", "lowerarm", "wrist", "finger", "metacarpal")


def free_hands(
    body: Body, shape: Shape, points: Floats, garments: Sequence[Garment], worn: Sequence[Floats], transforms: Floats
) -> Floats | None:
    """Return bones' transforms (B, 3, 4) with no hand inside of cloth, or None where none is.

    The arm turns about its shoulder, out of the cloth: clothes are wider than those that were worn there.

    Args:
        body: The model.
        shape: Its shape.
        points: float32 (V, 3), its posed vertices.
        garments: What is worn.
        worn: Posed vertices of each.
        transforms: float32 (B, 3, 4), of the bones.
    """
    from scipy.spatial import cKDTree

    arms = np.array([bone.startswith(ARM) for bone in body.bones])
    pieces = [(g, p) for g, p in zip(garments, worn, strict=True) if g.kind in CLOTH]
    if not pieces:
        return None
    still = [g.weights[:, arms].sum(1) < SLEEVE for g, _ in pieces]
    cloth = np.concatenate([p[s] for (_, p), s in zip(pieces, still, strict=True)])
    if not len(cloth):
        return None
    outward = np.concatenate([normals(p, g.faces)[s] for (g, p), s in zip(pieces, still, strict=True)])
    tree = cKDTree(cloth)
    main = np.array([bone.rpartition(".")[2] for bone in body.bones])[owners(body)]
    out = transforms.copy()
    for side in "LR":
        asked = np.flatnonzero(np.isin(body.parts, (FOREARM, HAND)) & (main == side))[::EVERY]
        hand, spare = points[asked], np.where(body.parts[asked] == HAND, 0, ROOM)
        if not len(hand):
            continue
        own = np.array([bone.startswith(ARM) and bone.endswith(f".{side}") for bone in body.bones])
        shoulder = body.number(f"upperarm01.{side}")
        joint = transforms[shoulder, :, :3] @ shape.heads[shoulder] + transforms[shoulder, :, 3]
        for _ in range(STEPS):
            away, near = tree.query(hand, distance_upper_bound=NEAR)
            known = np.isfinite(away)
            if not known.any():
                break
            off = ((hand[known] - cloth[near[known]]) * outward[near[known]]).sum(1) - spare[known]
            if -float(off.min()) < DEEP:
                break
            deepest = near[known][off < KEPT]
            way = unit(outward[deepest].mean(0))
            arm = hand.mean(0) - joint
            axis = np.cross(arm, way)
            reach = float(np.linalg.norm(axis))
            if reach < 0.1:
                break
            angle = min((KEPT - float(off.min())) / reach, MOST)
            turn = about((axis / reach).astype(np.float32), angle)
            hand = (hand - joint) @ turn.T + joint
            out[own, :, :3] = turn @ out[own, :, :3]
            out[own, :, 3] = (out[own, :, 3] - joint) @ turn.T + joint
    return None if np.array_equal(out, transforms) else out
