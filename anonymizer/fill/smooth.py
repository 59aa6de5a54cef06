"""Smooth completion: colours spread from what is known into what is not, coarse to fine."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["push_pull"]

Floats = NDArray[np.float32]


def push_pull(colours: Floats, weights: Floats) -> Floats:
    """Return colours spread into where weights are zero, coarse to fine.

    Args:
        colours: float32 (h, w, C), C at most 4, already multiplied by the weights.
        weights: float32 (h, w) in [0, 1], not all zero.

    Returns:
        float32 (h, w, C), equal to the known colour where the weight is 1.

    Source:
        Gortler et al., The Lumigraph, SIGGRAPH 1996, section 3.4 (push-pull; four thin pixels make a full one).
    """
    height, width = weights.shape
    known = colours / np.maximum(weights, 1e-6)[..., None]
    if max(height, width) == 1 or float(weights.min()) > 0.99:
        return np.asarray(known, np.float32)
    half = (width + 1) // 2, (height + 1) // 2
    mean = np.asarray(cv2.resize(colours, half, interpolation=cv2.INTER_AREA), np.float32).reshape(*half[::-1], -1)
    share = np.asarray(cv2.resize(weights, half, interpolation=cv2.INTER_AREA), np.float32).reshape(*half[::-1])
    full = np.minimum(4 * share, np.float32(1))
    thick = np.asarray(mean * (full / np.maximum(share, 1e-6))[..., None], np.float32)
    coarse = push_pull(thick, np.asarray(full, np.float32))
    spread = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    part = np.minimum(weights, 1.0)[..., None]
    return np.asarray(part * known + (1 - part) * spread.reshape(known.shape), np.float32)
