"""Alpha blending of a redrawn instance onto the picture (Kupyn & Rupprecht 2024, eq. 2), pure NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anonymizer.geometry import distance_inside

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


def blend(
    base: NDArray[np.uint8],
    patch: NDArray[np.uint8],
    alpha: NDArray[np.float32],
    occluder: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Lay a patch over a base: ``alpha * patch + (1 - alpha) * base``, nothing where an occluder stands.

    Args:
        base: uint8 (H, W, 3).
        patch: uint8 (H, W, 3).
        alpha: float32 (H, W) in [0, 1].
        occluder: bool (H, W), pixels of nearer objects that keep the base, or None.

    Returns:
        uint8 (H, W, 3), bit for bit equal to the base where alpha is 0 or an occluder stands.

    Source:
        arXiv 2406.08249, eq. 2.
    """
    weight = alpha if occluder is None else np.where(occluder, np.float32(0), alpha)
    mixed = np.rint(weight[..., None] * patch + (1 - weight[..., None]) * base).astype(np.uint8)
    out = base.copy()
    inside = weight > 0
    out[inside] = mixed[inside]
    return out
