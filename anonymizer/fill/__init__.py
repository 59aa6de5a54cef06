"""Fill: what is anonymized is completed from its surroundings, and nothing hidden has influence."""

from __future__ import annotations

from anonymizer.fill.obscure import obscure
from anonymizer.fill.patches import ANYTHING, OBJECT, ONCE
from anonymizer.fill.redaction import redact, safe_fill

__all__ = ["ANYTHING", "OBJECT", "ONCE", "obscure", "redact", "safe_fill"]
