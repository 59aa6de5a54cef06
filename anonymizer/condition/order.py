"""The order in which instances are laid over the picture: far ones first."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import integer_box, paste_window
from anonymizer.core.records import Instance

__all__ = ["far_to_near", "nearness"]


def nearness(depth: NDArray[np.float32], instance: Instance) -> float:
    """Return the median depth in an instance's mask: in [0, 1], 1 nearest; 0 where the mask is empty.

    Args:
        depth: float32 (H, W) in [0, 1], 1 nearest.
        instance: The instance, in the pixels of ``depth``.
    """
    picture, local = paste_window(integer_box(instance.box), (depth.shape[0], depth.shape[1]))
    inside = depth[picture][instance.mask[local]]
    return float(np.median(inside)) if inside.size else 0.0


def far_to_near(depth: NDArray[np.float32], instances: Iterable[Instance]) -> tuple[Instance, ...]:
    """Return the instances farthest first; a face always comes after the person it belongs to.

    Args:
        depth: float32 (H, W) in [0, 1], 1 nearest.
        instances: Instances in the pixels of ``depth``.
    """
    every = tuple(instances)
    near = {instance.id: nearness(depth, instance) for instance in every}

    def key(instance: Instance) -> tuple[float, bool, int]:
        own = near[instance.id]
        if instance.parent is None or instance.parent not in near:
            return own, False, instance.id
        return max(own, near[instance.parent]), True, instance.id

    return tuple(sorted(every, key=key))
