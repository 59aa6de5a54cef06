"""Flow: one picture from its pixels to a verified result, stage by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anonymizer.core.lazy import lazy

if TYPE_CHECKING:
    from anonymizer.flow.pipeline import Anonymizer, Settings
    from anonymizer.flow.work import Target, Work

__all__ = ["Anonymizer", "Settings", "Target", "Work"]

__getattr__ = lazy(
    __name__,
    {"Anonymizer": "pipeline", "Settings": "pipeline", "Target": "work", "Work": "work"},
)
