"""Files that appear whole or not at all, and the one form of JSON that goes into them."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

__all__ = ["PREFIX", "remove_leftovers", "to_json", "write_atomic"]

#: Start of the name of every unfinished file.
PREFIX = ".tmp-anonymizer-"


def write_atomic(path: Path, data: bytes | Iterable[bytes], *, staging: Path | None = None) -> None:
    """Write a file so that, whenever the process or the machine dies, the old or the whole new content is there.

    Args:
        path: Where the file belongs; its folder is made if missing.
        data: The content, whole or in parts; parts need not fit in memory together.
        staging: Folder on the same file system that holds the file until it is whole; the file's own folder if None.

    Raises:
        OSError: Nothing could be written, for instance on a full disk; no part of the file is left behind.
    """
    folder = path.parent if staging is None else staging
    path.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
    # Not mkstemp: its files are private to the owner, these are results and follow the umask.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for part in (data,) if isinstance(data, bytes) else data:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def remove_leftovers(folder: Path) -> int:
    """Remove the unfinished files that a killed run left anywhere under a folder; return how many."""
    leftovers = [path for path in folder.rglob(f"{PREFIX}*") if path.is_file() and not path.is_symlink()]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


def to_json(value: object) -> bytes:
    """Return strict one-line JSON in ASCII; NumPy numbers become plain ones, figures that are not finite null."""
    return json.dumps(_plain(value), allow_nan=False).encode("ascii")


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut: the entry lives in the folder, so the folder is flushed too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | bool):
        return value
    # Arrays would be pixels or embeddings, which never belong into a file of results.
    raise TypeError(f"values must be plain JSON data, got {type(value).__name__}")
