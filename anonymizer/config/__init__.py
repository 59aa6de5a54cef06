"""Settings of a run as typed tables: ``Preset`` and its parts, and ``read_preset``, which checks a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anonymizer.core.lazy import lazy

if TYPE_CHECKING:
    from anonymizer.config.factory import component
    from anonymizer.config.presets import build, tables
    from anonymizer.config.schema import Preset, read_preset

__all__ = ["Preset", "build", "component", "read_preset", "tables"]

__getattr__ = lazy(
    __name__,
    {"Preset": "schema", "build": "presets", "component": "factory", "read_preset": "schema", "tables": "presets"},
)
