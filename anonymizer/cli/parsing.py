"""Values of options that are lists, files of lines, or pairs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from anonymizer.core.errors import InputError

__all__ = ["classes_of", "lines_of", "listed", "methods_of"]


def lines_of(place: str) -> list[str]:
    """Return the lines of a list of files, or of stdin."""
    try:
        text = sys.stdin.read() if place == "-" else Path(place).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--files-from {place}: expected a text with one path on each line, got {error}") from error
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError(f"--files-from {place}: expected one path on each line, got an empty text")
    return lines


def methods_of(texts: Sequence[str], classes: Sequence[str] | None) -> dict[str, str]:
    """Return methods by class of ``METHOD`` and ``CLASS=METHOD``; a method alone is for all that have none."""
    pairs = [text.rpartition("=")[::2] for text in texts]
    own = {label: name for label, name in pairs if label}
    alone = [name for label, name in pairs if not label]
    if len(alone) > 1 or len(own) + len(alone) < len(pairs):
        raise InputError(f"--method: expected one for each class, got {', '.join(texts)}")
    every = classes or ("person", "face", "license_plate")
    return (dict.fromkeys(every, alone[0]) if alone else {}) | own


def listed(text: str | None) -> tuple[str, ...]:
    """Return the names in a list by comma, each once."""
    return tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))


def classes_of(text: str) -> tuple[str, ...]:
    """Return the classes in a list by comma.

    Raises:
        InputError: One that is unknown, or none.
    """
    from anonymizer.core.records import CLASSES

    names = listed(text)
    for name in names:
        if name not in CLASSES:
            raise InputError(f"class {name!r} is unknown; expected some of {', '.join(CLASSES)}")
    if not names:
        raise InputError(f"classes: none given; expected some of {', '.join(CLASSES)}")
    return names
