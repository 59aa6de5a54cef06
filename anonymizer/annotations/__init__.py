"""Annotations in and out: COCO, YOLO, Pascal VOC, Cityscapes, and what is taken out of them before release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anonymizer.core.lazy import lazy

if TYPE_CHECKING:
    from anonymizer.annotations.areas import Areas, read_areas
    from anonymizer.annotations.coco import read_coco
    from anonymizer.annotations.matching import Placement
    from anonymizer.annotations.reading import annotations_at, read_annotations
    from anonymizer.annotations.records import Annotations

__all__ = ["Annotations", "Areas", "Placement", "annotations_at", "read_annotations", "read_areas", "read_coco"]

__getattr__ = lazy(
    __name__,
    {
        "Annotations": "records",
        "Areas": "areas",
        "Placement": "matching",
        "annotations_at": "reading",
        "read_annotations": "reading",
        "read_areas": "areas",
        "read_coco": "coco",
    },
)
