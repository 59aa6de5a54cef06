"""Checks on a redrawn picture."""

from __future__ import annotations

from anonymizer.verify.checks import class_kept, face_distance, pixels_replaced, plate_text, second_pass
from anonymizer.verify.verifier import Evidence, Verifier, VerifySettings

__all__ = [
    "Evidence",
    "Verifier",
    "VerifySettings",
    "class_kept",
    "face_distance",
    "pixels_replaced",
    "plate_text",
    "second_pass",
]
