"""Log of the package: how much of it goes to stderr, in this process and in its workers."""

from __future__ import annotations

import logging
import sys

__all__ = ["PACKAGE", "log_to_stderr"]

#: The logger above those of all modules.
PACKAGE = logging.getLogger("anonymizer")


class _Line(logging.Formatter):
    """One line per record; names of files may hold what a terminal would obey."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class _Stderr(logging.StreamHandler):
    """Handler of ``log_to_stderr``, to be found again."""


def log_to_stderr(level: int) -> None:
    """Send what the package logs from a level of ``logging`` on to stderr, and to nobody else.

    Without it, as in a program of your own, records go where that program's logging sends them.
    """
    for handler in PACKAGE.handlers[:]:
        if isinstance(handler, _Stderr):
            PACKAGE.removeHandler(handler)
    handler = _Stderr(sys.stderr)
    handler.setFormatter(_Line("%(levelname)s %(name)s: %(message)s"))
    PACKAGE.addHandler(handler)
    PACKAGE.setLevel(level)
    PACKAGE.propagate = False  # Third parties hang handlers of their own on the root.
