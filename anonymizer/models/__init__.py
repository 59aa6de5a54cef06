"""Models: the one list of weights, where each is found and fetched, and sessions that run them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anonymizer.core.lazy import lazy

if TYPE_CHECKING:
    from anonymizer.models.hub import Offer, fetch
    from anonymizer.models.onnx import open_session
    from anonymizer.models.third_party import offline
    from anonymizer.models.weights import Weight, entries

__all__ = ["Offer", "Weight", "entries", "fetch", "offline", "open_session"]

__getattr__ = lazy(
    __name__,
    {
        "Offer": "hub",
        "Weight": "weights",
        "entries": "weights",
        "fetch": "hub",
        "offline": "third_party",
        "open_session": "onnx",
    },
)
