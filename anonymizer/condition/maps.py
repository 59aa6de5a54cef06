"""Everything that steers a picture's redraws, as it is before the guard."""

from __future__ import annotations

from collections.abc import Sequence

from anonymizer.errors import StageError
from anonymizer.types import Conditions, DepthEstimator, EdgeDetector, Image, Instance, PoseEstimator

__all__ = ["conditions_of"]


def conditions_of(
    image: Image,
    instances: Sequence[Instance],
    depth: DepthEstimator,
    edges: EdgeDetector,
    poses: PoseEstimator | None = None,
) -> Conditions:
    """Return depth, edges and persons' poses of a picture.

    Args:
        image: RGB uint8 (H, W, 3).
        instances: What was found in it.
        depth: Estimates depth.
        edges: Finds edges.
        poses: Finds joints; None: no poses.

    Raises:
        StageError: A map has another size than the picture.
    """
    persons = [instance for instance in instances if instance.label == "person"]
    found = poses.estimate(image, persons) if poses is not None and persons else ()
    by_id = {person.id: pose for person, pose in zip(persons, found, strict=bool(found))}
    raw = Conditions(depth.estimate(image, tuple(instances)), edges.detect(image), by_id)
    if raw.depth.shape != image.shape[:2]:
        raise StageError("condition", f"maps of {raw.depth.shape}, expected {image.shape[:2]}")
    return raw
