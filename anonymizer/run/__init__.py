"""Runs: an anonymizer over a set of pictures, safely resumable; ledger, report and audit of what it released."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anonymizer.core.lazy import lazy

if TYPE_CHECKING:
    from anonymizer.run.cluster import RayCrew
    from anonymizer.run.place import Place
    from anonymizer.run.pool import Pool
    from anonymizer.run.processes import ProcessCrew
    from anonymizer.run.request import Executor, Request
    from anonymizer.run.runner import execute
    from anonymizer.run.summary import Summary

__all__ = ["Executor", "Place", "Pool", "ProcessCrew", "RayCrew", "Request", "Summary", "execute"]

__getattr__ = lazy(
    __name__,
    {
        "Executor": "request",
        "Place": "place",
        "Pool": "pool",
        "ProcessCrew": "processes",
        "RayCrew": "cluster",
        "Request": "request",
        "Summary": "summary",
        "execute": "runner",
    },
)
