"""Pose prior: plausible stances of people, with which what was not seen of a person is filled in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.mesh import unit
from anonymizer.avatar.stance import ROWS, Stance, facing, grounded
from anonymizer.core.errors import ModelError

__all__ = ["PosePrior", "stepped"]

Floats = NDArray[np.float32]

#: Error in radians of a direction that is fully seen; it grows with the square of what trust it lacks.
ERROR = 0.05
#: Trust from which a direction counts at all: what is less is as good as unseen.
LEAST = 0.02
#: How far arms and head count when a stance is chosen: they move freely, and tell little of legs that were not seen.
LOOSE = 0.4
ABOVE = [number for number, name in enumerate(ROWS) if name.startswith(("head", "upperarm", "lowerarm", "hand"))]
#: Rows of each arm, and trust in an arm's direction at which half of it is what was seen.
ARMS = [[ROWS.index(f"{name}.{side}") for name in ("upperarm", "lowerarm", "hand")] for side in "LR"]
HALF_SEEN = 0.12
#: Ways in which a stance of the bank may face.
WAYS = 16


class PosePrior:
    """A mixture of normal distributions of stances, turned so that all face the camera, with one covariance.

    Args:
        stances: float32 (K, 17, 3), the middles, in the order of ``stance.ROWS``.
        shares: float32 (K,), how often each occurs; they sum to 1.
        covariance: float32 (51, 51).

    Raises:
        ModelError: Arrays of other shapes.
    """

    def __init__(self, stances: Floats, shares: Floats, covariance: Floats) -> None:
        size = 3 * len(ROWS)
        if stances.shape != (len(shares), len(ROWS), 3) or covariance.shape != (size, size) or not len(shares):
            raise ModelError(
                f"poses: expected stances (K, {len(ROWS)}, 3), shares (K,) and a covariance ({size}, {size}), got "
                f"{stances.shape}, {shares.shape} and {covariance.shape}"
            )
        self._middles = stances.reshape(-1, size).astype(np.float64)
        self._shares = np.log(np.maximum(shares, 1e-9)).astype(np.float64)
        self._covariance = covariance.astype(np.float64)

    @property
    def stances(self) -> Floats:
        """The middles, float32 (K, 17, 3) unit vectors, facing the camera."""
        return unit(self._middles.reshape(-1, len(ROWS), 3).astype(np.float32))

    @classmethod
    def load(cls, path: Path) -> PosePrior:
        """Read the file that ``models/training/make_poses.py`` writes.

        Raises:
            ModelError: The file does not hold a prior.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            tensors = load_file(path)
            return cls(*(tensors[name].astype(np.float32) for name in ("stances", "shares", "covariance")))
        except (OSError, SafetensorError, KeyError) as error:
            raise ModelError(
                f"{path}: expected poses as models/training/make_poses.py writes them, got {error}"
            ) from error

    def complete(self, stance: Stance) -> Stance:
        """Return a stance with what was not seen as it is in the likeliest plausible stance; trust and gaze stay."""
        turn = facing(stance)
        number, away = self._likeliest(stance, turn)
        rows = (self._middles[number] + self._covariance @ away).reshape(-1, 3).astype(np.float32)
        for own, other in (ARMS, ARMS[::-1]):
            unseen = HALF_SEEN**2 / (HALF_SEEN**2 + stance.trust[own, None] ** 2)
            if unseen.max() > HALF_SEEN:
                rows[own] = (1 - unseen) * rows[own] + unseen * self._rested(stance, turn, other)[own]
        return replace(stance, rows=grounded((unit(rows) @ turn.T).astype(np.float32)))

    def _rested(self, stance: Stance, turn: Floats, other: list[int]) -> Floats:
        """Return directions (17, 3) as they are on average over all plausible stances, whatever the other arm does.

        A raised hand says nothing of the one that is not seen: that hangs, or rests where hands do in such a stance.
        """
        trust = stance.trust.copy()
        trust[other] = 0
        away = (stance.rows @ turn).reshape(-1).astype(np.float64) - self._middles
        weighed = self._weighed(away, trust)
        likely = self._shares - (away * weighed).sum(1) / 2
        share = np.exp(likely - likely.max())
        mean = (share / share.sum()) @ (self._middles + weighed @ self._covariance)
        return unit(mean.reshape(-1, 3).astype(np.float32))

    def nearest(self, stance: Stance) -> Stance:
        """Return the middle that is likeliest, facing where somebody faces to the next of ``WAYS`` ways."""
        turn = facing(stance)
        number, _ = self._likeliest(stance, turn)
        return Stance((self.stances[number] @ stepped(turn).T).astype(np.float32), stance.trust)

    def _likeliest(self, stance: Stance, turn: Floats) -> tuple[int, NDArray[np.float64]]:
        """Return the likeliest part of the mixture, and its distance (51,) weighed by the inverse of both spreads."""
        away = (stance.rows @ turn).reshape(-1).astype(np.float64) - self._middles
        choosing = stance.trust.copy()
        choosing[ABOVE] *= LOOSE
        weighed = self._weighed(away, choosing)
        # One covariance for all: its determinant does not tell them apart.
        number = int((self._shares - (away * weighed).sum(1) / 2).argmax())
        return number, self._weighed(away[number : number + 1], stance.trust)[0]

    def _weighed(self, away: NDArray[np.float64], trust: Floats) -> NDArray[np.float64]:
        """Return distances (N, 51) from middles times the inverse of the spread around them and the error of sight."""
        noise = (ERROR / np.maximum(trust.astype(np.float64), LEAST) ** 2) ** 2
        return np.asarray(np.linalg.solve(self._covariance + np.diag(np.repeat(noise, 3)), away.T).T)


def stepped(turn: Floats) -> Floats:
    """Return the rotation (3, 3) about the vertical that is next to one, of ``WAYS`` ways."""
    step = 2 * np.pi / WAYS
    angle = step * round(float(np.arctan2(turn[1, 0], turn[0, 0])) / step)
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], np.float32)
