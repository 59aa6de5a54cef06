"""Fill: what is anonymized is completed from its surroundings, and nothing hidden has influence."""

from __future__ import annotations

from anonymizer.fill.obscure import obscure
from anonymizer.fill.redaction import redact

__all__ = ["obscure", "redact"]
