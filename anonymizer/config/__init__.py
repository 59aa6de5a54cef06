"""Settings of a run as typed tables: ``Preset`` and its parts, and ``read_preset``, which checks a table."""

from anonymizer.config.schema import Preset, read_preset

__all__ = ["Preset", "read_preset"]
