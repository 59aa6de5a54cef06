"""Redraw: crops, prompts, the diffusion core, and plates drawn with other text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anonymizer.core.lazy import lazy

if TYPE_CHECKING:
    from anonymizer.redraw.batching import SharedInpainter
    from anonymizer.redraw.diffusion import DiffusionInpainter
    from anonymizer.redraw.direction import Direction
    from anonymizer.redraw.exported import ExportedInpainter
    from anonymizer.redraw.plates import redraw_plate
    from anonymizer.redraw.redrawer import Inpainter, Redrawer

__all__ = [
    "DiffusionInpainter",
    "Direction",
    "ExportedInpainter",
    "Inpainter",
    "Redrawer",
    "SharedInpainter",
    "redraw_plate",
]

__getattr__ = lazy(
    __name__,
    {
        "DiffusionInpainter": "diffusion",
        "Direction": "direction",
        "ExportedInpainter": "exported",
        "Inpainter": "redrawer",
        "Redrawer": "redrawer",
        "SharedInpainter": "batching",
        "redraw_plate": "plates",
    },
)
