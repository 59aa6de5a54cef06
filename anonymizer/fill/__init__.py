"""Fill: what is anonymized is completed from its surroundings, and nothing hidden has influence."""

from __future__ import annotations

from anonymizer.fill.redaction import redact, safe_fill

__all__ = ["redact", "safe_fill"]
