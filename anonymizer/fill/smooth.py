"""Colours spread smoothly into what is hidden."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["push_pull", "spread"]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

#: Longest side in pixels at which colours are spread; more would only cost time.
LONGEST = 128


def spread(crop: Image, known: Mask) -> Floats:
    """Return float32 (h, w, 3) in [0, 255] that follows the crop where it is known and spans the rest.

    Args:
        crop: RGB uint8 (h, w, 3); only what is known is read.
        known: bool (h, w), not all false.
    """
    height, width = known.shape
    scale = min(1.0, LONGEST / max(height, width))
    small = max(round(width * scale), 1), max(round(height * scale), 1)
    # Colours are multiplied by their weight before any averaging, so what is hidden enters as zero times nothing.
    whole = np.where(known[..., None], crop, 0).astype(np.float32)
    colours = np.asarray(cv2.resize(whole, small, interpolation=cv2.INTER_AREA), np.float32)
    share = np.asarray(cv2.resize(known.astype(np.float32), small, interpolation=cv2.INTER_AREA), np.float32)
    values = push_pull(colours.reshape(*small[::-1], 3), share.reshape(*small[::-1]))
    out = np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return out.reshape(height, width, 3)


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
