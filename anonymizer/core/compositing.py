"""Alpha blending of a redrawn instance onto the picture (Kupyn & Rupprecht 2024, eq. 2), pure NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import distance_inside

__all__ = ["blend", "feather"]


def feather(mask: NDArray[np.bool_], width: int) -> NDArray[np.float32]:
    """Return alpha for a mask: 0 outside, rising inside from its rim to 1 over ``width`` pixels.

    Args:
        mask: bool (H, W).
        width: Pixels over which alpha rises; 0 gives the mask itself.

    Returns:
        float32 (H, W) in [0, 1], exactly 0 outside the mask and above 0 inside.
    """
    if width <= 0:
        return mask.astype(np.float32)
    return np.minimum(distance_inside(mask, width + 1) / (width + 1), 1.0).astype(np.float32)


def blend(base: NDArray[np.uint8], patch: NDArray[np.uint8], alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay a patch over a base: ``alpha * patch + (1 - alpha) * base``.

    Args:
        base: uint8 (H, W, 3).
        patch: uint8 (H, W, 3).
        alpha: float32 (H, W) in [0, 1]; 0 where a nearer object stands that keeps its pixels.

    Returns:
        uint8 (H, W, 3), bit for bit equal to the base where alpha is 0.

    Source:
        arXiv 2406.08249, eq. 2.
    """
    mixed = np.rint(alpha[..., None] * patch + (1 - alpha[..., None]) * base).astype(np.uint8)
    out = base.copy()
    inside = alpha > 0
    out[inside] = mixed[inside]
    return out
