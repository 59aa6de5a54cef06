"""Depth and edges that hold a redraw to the scene, and the guard that limits what identity they carry."""

from __future__ import annotations

from anonymizer.condition.depth import GroundPlaneDepth, estimate_horizon, far_to_near, nearness
from anonymizer.condition.edges import EdgeNet
from anonymizer.condition.guard import DEFAULT, OFF, STRICT, GuardSettings, guard

__all__ = [
    "DEFAULT",
    "OFF",
    "STRICT",
    "EdgeNet",
    "GroundPlaneDepth",
    "GuardSettings",
    "estimate_horizon",
    "far_to_near",
    "guard",
    "nearness",
]
