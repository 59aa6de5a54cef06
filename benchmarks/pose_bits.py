"""Bits that a stance carries: entropy of plausible poses at the precision of an angle.

    python benchmarks/pose_bits.py

Poses are those of the embedded bank: a mixture of normal distributions, each taken on the tangent planes of its 17
directions, turned anywhere. The entropy of the mixture is at most that of its choice plus the mean of its parts.
Prints bits by angle, and what 17 independent directions would carry.
"""

from __future__ import annotations

import numpy as np

from anonymizer.avatar.prior import PosePrior
from anonymizer.models import weights

#: Angles in degrees at which directions are told apart.
ANGLES = (5, 10, 20)


def tangents(rows: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of the tangent planes of unit vectors (R, 3): (3R, 2R)."""
    out = np.zeros((3 * len(rows), 2 * len(rows)))
    for number, row in enumerate(rows):
        out[3 * number : 3 * number + 3, 2 * number : 2 * number + 2] = np.linalg.svd(row[None])[2][1:].T
    return out


def main() -> None:
    """Print the table."""
    prior = PosePrior.load(weights.path("poses"))
    shares = np.exp(prior._shares - prior._shares.max())
    shares /= shares.sum()
    choice = -float((shares * np.log2(shares)).sum())
    parts = []
    for rows in prior.stances.astype(np.float64):
        basis = tangents(rows)
        spread = basis.T @ prior._covariance @ basis + 1e-6 * np.eye(basis.shape[1])
        parts.append(0.5 * np.linalg.slogdet(2 * np.pi * np.e * spread)[1] / np.log(2))
    mean, count = float((shares * parts).sum()), prior.stances.shape[1]
    for angle in ANGLES:
        cell = np.radians(angle)
        known = choice + np.log2(360 / angle) + mean - 2 * count * np.log2(cell)
        print(f"{angle} degrees: {known:.0f} bits; independent {count * np.log2(4 * np.pi / cell**2):.0f}")


if __name__ == "__main__":
    main()
