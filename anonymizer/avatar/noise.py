"""Joint noise: metric differential privacy of stance, size and place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.mesh import unit
from anonymizer.avatar.prior import ERROR
from anonymizer.avatar.stance import Stance
from anonymizer.core.errors import InputError

__all__ = ["JointNoise"]

Floats = NDArray[np.float32]

#: Unit of distance between places, in heights of the body: about what a limb that is turned by one radian moves.
FIFTH = 0.2


class JointNoise:
    """Draws stances, sizes and places near the true ones.

    For two people whose stances lie d apart, which is the sum of the distances of their 17 directions as points of
    the unit sphere, any result is at most exp(epsilon * d) times as likely for one as for the other; so with places in
    fifths of the body's height, and with the logarithms of sizes.

    Args:
        epsilon: Loss of privacy per unit of distance, above 0; small hides more.

    Raises:
        InputError: An epsilon that is not above 0 and finite.

    Source:
        Weggenmann and Kerschbaum, Differential Privacy for Directional Data, CCS 2021 (von Mises-Fisher mechanism);
        Andres et al., Geo-Indistinguishability, CCS 2013 (planar Laplace mechanism).
    """

    def __init__(self, epsilon: float) -> None:
        if not (0 < epsilon < float("inf")):
            raise InputError(f"joint_noise: expected an epsilon above 0, got {epsilon}")
        self.epsilon = epsilon

    def stance(self, stance: Stance, rng: np.random.Generator) -> Stance:
        """Return a stance with each direction drawn anew around its own, and trust in it that tells nothing."""
        count = len(stance.rows)
        # Height above the equator of the sphere whose pole is the true direction: its distribution is inverted.
        share = rng.random(count)
        height = 1 + np.log(share + (1 - share) * np.exp(-2 * self.epsilon)) / self.epsilon
        across = rng.normal(size=(count, 3))
        pole = unit(stance.rows).astype(np.float64)
        across -= pole * (across * pole).sum(1, keepdims=True)
        across /= np.linalg.norm(across, axis=1, keepdims=True)
        rows = height[:, None] * pole + np.sqrt(np.maximum(1 - height**2, 0))[:, None] * across
        sure = min(1.0, float(np.sqrt(ERROR * np.sqrt(self.epsilon))))
        return Stance(rows.astype(np.float32), np.full(count, sure, np.float32))

    def scale(self, scale: float, rng: np.random.Generator) -> float:
        """Return a scale whose logarithm has noise of Laplace's distribution."""
        return float(scale * np.exp(rng.laplace(0, 1 / self.epsilon)))

    def place(self, shift: Floats, height: float, rng: np.random.Generator) -> Floats:
        """Return a place (2,) in pixels with noise of the planar Laplace distribution.

        Args:
            shift: float32 (2,).
            height: Height in pixels of the body that is drawn.
            rng: Source of chance.
        """
        angle, away = rng.uniform(0, 2 * np.pi), rng.gamma(2, FIFTH / self.epsilon)
        return np.asarray(shift + height * away * np.array([np.cos(angle), np.sin(angle)]), np.float32)
