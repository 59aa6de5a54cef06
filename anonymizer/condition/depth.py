"""Depth: by a ground plane with every instance as a billboard, or by Depth Anything; and the order that it gives."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import ModelError
from anonymizer.core.geometry import integer_box, paste_window
from anonymizer.core.records import Instance, check_image

__all__ = ["DEFAULT_HORIZON", "DepthAnything", "GroundPlaneDepth", "estimate_horizon", "far_to_near", "nearness"]

Floats = NDArray[np.float32]
#: Horizon as a share of the picture's height where the instances do not tell it.
DEFAULT_HORIZON = 0.45
#: Horizons outside this range of shares come from people standing on steps or balconies, or from cut boxes.
PLAUSIBLE_HORIZON = (0.1, 0.75)
#: Persons needed, and the least ratio of tallest to shortest, before a regression is trusted.
LEAST_PERSONS, LEAST_SPREAD = 3, 1.3
#: Depth of everything above the horizon: far, yet not undefined.
BACKGROUND = 0.02
#: How far a face stands out from its person's billboard, in units of depth.
FACE_STEP = 0.04


def estimate_horizon(instances: Iterable[Instance], size: tuple[int, int]) -> float:
    """Return the horizon's row, estimated from how tall persons are at which row they stand.

    On flat ground under a level camera, people of equal height obey ``bottom = horizon + k * height``. The line is
    fitted with Theil and Sen's median of slopes, which a few children or seated people do not move. Persons cut by
    the lower border are left out: where they stand is not seen.

    Args:
        instances: Instances of any class.
        size: Picture (height, width).

    Returns:
        Row in pixels; ``DEFAULT_HORIZON`` times the height where fewer than three usable persons are seen, where
        they are about equally tall, or where the fit is implausible.
    """
    height = size[0]
    fallback = DEFAULT_HORIZON * height
    boxes = np.array([i.box for i in instances if i.label == "person" and i.box[3] < height - 2], np.float64)
    if len(boxes) < LEAST_PERSONS:
        return fallback
    bottoms, heights = boxes[:, 3], boxes[:, 3] - boxes[:, 1]
    if heights.max() < LEAST_SPREAD * heights.min():
        return fallback
    first, second = np.triu_indices(len(boxes), 1)
    run = heights[second] - heights[first]
    # Pairs of about equal height say nothing about the slope.
    telling = np.abs(run) > 0.05 * heights.max()
    slope = float(np.median((bottoms[second] - bottoms[first])[telling] / run[telling]))
    horizon = float(np.median(bottoms - slope * heights))
    low, high = PLAUSIBLE_HORIZON
    return horizon if slope > 0 and low * height <= horizon <= high * height else fallback


class GroundPlaneDepth:
    """Estimates depth from a ground plane and billboards; no weights.

    Args:
        max_side: Longest side in pixels at which depth is computed before it is resized to the picture.
        relief: Depth by which the middle of a mask stands out from its rim, in [0, 1).
    """

    def __init__(self, max_side: int = 1024, relief: float = 0.08) -> None:
        self.max_side = max_side
        self.relief = relief

    def estimate(self, image: NDArray[np.uint8], instances: tuple[Instance, ...]) -> Floats:
        """Return depth float32 (H, W) in [0, 1], 1 nearest.

        Args:
            image: RGB uint8 (H, W, 3); only its size is used.
            instances: Instances in the picture's pixels.

        Raises:
            InputError: The image is no RGB uint8 (H, W, 3).
        """
        check_image(image)
        height, width = image.shape[:2]
        horizon = estimate_horizon(instances, (height, width))
        scale = min(1.0, self.max_side / max(height, width))
        rows, columns = max(round(height * scale), 1), max(round(width * scale), 1)
        centres = (np.arange(rows, dtype=np.float32) + 0.5) * (height / rows)
        depth = np.repeat(_ground(centres, horizon, height)[:, None], columns, axis=1)
        # Room is left up to 1, so that even the nearest keep their relief and faces stand before their persons.
        most = 1.0 - 1.5 * self.relief - FACE_STEP
        contact = {i.id: min(self._contact(i, horizon, height), most) for i in instances}
        for instance in instances:
            if instance.label == "face" and instance.parent in contact:
                contact[instance.id] = contact[instance.parent] + self.relief / 2 + FACE_STEP
        # A face without a known person would stand at its chin; it is still painted after what is farther.
        for instance in sorted(instances, key=lambda i: contact[i.id]):
            self._paint(depth, instance, contact[instance.id], (height, width))
        if (rows, columns) != (height, width):
            depth = np.asarray(cv2.resize(depth, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        np.clip(depth, 0.0, 1.0, out=depth)
        depth.flags.writeable = False  # Frozen here, it need not be copied for that.
        return depth

    @staticmethod
    def _contact(instance: Instance, horizon: float, height: int) -> float:
        """Return the ground's depth at the lowest row of an instance's mask."""
        rows = np.flatnonzero(instance.mask.any(axis=1))
        top = integer_box(instance.box)[1]
        bottom = top + (int(rows[-1]) + 1 if rows.size else instance.mask.shape[0])
        return float(_ground(np.array([bottom], np.float32), horizon, height)[0])

    def _paint(self, depth: Floats, instance: Instance, base: float, size: tuple[int, int]) -> None:
        """Paint an instance's billboard with its relief into ``depth``, in place."""
        rows, columns = depth.shape
        x1, y1, x2, y2 = integer_box(instance.box)
        across, down = columns / size[1], rows / size[0]
        left, top = round(x1 * across), round(y1 * down)
        right, bottom = max(round(x2 * across), left + 1), max(round(y2 * down), top + 1)
        small = cv2.resize(
            instance.mask.astype(np.uint8), (right - left, bottom - top), interpolation=cv2.INTER_NEAREST_EXACT
        )
        if not small.any():
            return
        # The frame's border counts as outside, or a mask that fills its box would have no relief.
        distance = cv2.distanceTransform(np.pad(small, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
        value = base + self.relief * distance / float(distance.max())
        picture, local = paste_window((left, top, right, bottom), (rows, columns))
        inside = small[local] > 0
        depth[picture][inside] = value[local][inside]


def _ground(rows: Floats, horizon: float, height: int) -> Floats:
    """Return the ground plane's depth at rows (N,): 0 at the horizon, 1 at the lower border."""
    below = (rows - horizon) / max(height - horizon, 1.0)
    return np.clip(below, BACKGROUND, 1.0).astype(np.float32)


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


class DepthAnything:
    """Estimates relative depth of a picture.

    Args:
        folder: Folder of a ``DepthAnythingForDepthEstimation`` with its image processor, safetensors only.
        device: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ModelError: The folder holds something else.

    Source:
        Yang et al., Depth Anything, arXiv 2401.10891; V2, arXiv 2406.09414.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        import torch
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # it would write over ours

        self._torch = torch
        self._device = device
        local = {"local_files_only": True}
        try:
            # The slow path: NumPy alone, the same on every machine.
            self._processor = AutoImageProcessor.from_pretrained(folder, **local)
            model = AutoModelForDepthEstimation.from_pretrained(folder, use_safetensors=True, **local)
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"depth: expected a Depth Anything folder at {folder}, got {error}; run: anonymizer models verify"
            ) from error
        if not type(model).__name__.startswith("DepthAnything"):
            raise ModelError(f"depth: expected Depth Anything in {folder}, got {type(model).__name__}")
        self._model = model.to(device).eval()

    def estimate(self, image: NDArray[np.uint8], instances: tuple[Instance, ...] = ()) -> NDArray[np.float32]:
        """Return depth float32 (H, W) in [0, 1], 1 nearest: the network's inverse depth over its maximum.

        Args:
            image: RGB uint8 (H, W, 3).
            instances: Not needed; part of the contract.
        """
        del instances
        check_image(image)
        torch = self._torch
        inputs = self._processor(images=image, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            found = self._model(**inputs).predicted_depth[0].float().cpu().numpy()  # (h, w), larger is nearer
        if not np.isfinite(found).all():
            raise ModelError("depth: expected finite values, got NaN or infinity; try --device cpu")
        size = image.shape[1], image.shape[0]
        depth = np.clip(cv2.resize(found, size, interpolation=cv2.INTER_CUBIC), 0, None)
        nearest = float(depth.max())
        scaled = depth / nearest if nearest > 0 else np.zeros_like(depth)
        return np.clip(scaled, 0, 1).astype(np.float32)
