"""Core: what every part agrees on: records, arrays, errors, geometry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anonymizer.core.lazy import lazy

if TYPE_CHECKING:
    from anonymizer.core.arrays import as_rgb
    from anonymizer.core.errors import AnonymizerError
    from anonymizer.core.geometry import blend, integer_box
    from anonymizer.core.records import Instance, Result, Treatment, Verdict

__all__ = ["AnonymizerError", "Instance", "Result", "Treatment", "Verdict", "as_rgb", "blend", "integer_box"]

__getattr__ = lazy(
    __name__,
    {
        "AnonymizerError": "errors",
        "Instance": "records",
        "Result": "records",
        "Treatment": "records",
        "Verdict": "records",
        "as_rgb": "arrays",
        "blend": "geometry",
        "integer_box": "geometry",
    },
)
