"""Lazy names: a room states its public names, and a module is imported when a name of it is first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazy"]


def lazy(room: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a room.

    Args:
        room: The room's ``__name__``.
        names: Its public names, and the module of each, relative to the room.
    """

    def find(name: str) -> Any:
        if name in names:
            return getattr(importlib.import_module(f"{room}.{names[name]}"), name)
        raise AttributeError(f"module {room!r} has no attribute {name!r}")

    return find
