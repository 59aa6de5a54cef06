"""Place: files below one address by relative names, in a folder on this machine or in object storage.

OUTPUT is written to a place and checked in one; neither asks which kind it is.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from anonymizer.core.files import write_atomic
from anonymizer.images.storage import Store, locate

__all__ = ["STAGING", "FolderPlace", "Place", "StorePlace", "place_at"]

#: Folder of an OUTPUT for unfinished files: on the same file system, and apart from what is released.
STAGING = ".state/unfinished"


class Place(Protocol):
    """Files below one address; names are relative to it, with forward slashes.

    Methods raise OSError where the place cannot be reached, read or written.
    """

    def address(self, name: str = "") -> str:
        """Return the address of a file, or of the place itself, for people."""
        ...

    def is_file(self, name: str) -> bool | None:
        """Return whether something is a file; None if nothing is there."""
        ...

    def top(self) -> list[str]:
        """Return the names directly in it, in order; none if the place itself is not there."""
        ...

    def below(self, folder: str) -> Iterator[str]:
        """Yield all below a folder that is no folder, in order; the folder's own name if it is a link."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading in parts."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None if there is no such file."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        ...

    def remove_below(self, folder: str) -> None:
        """Remove a folder with all that is in it, if it is there."""
        ...

    def unreadable(self, error: OSError) -> str:
        """Return what could not be read, and what helps."""
        ...


class FolderPlace:
    """A folder on this machine.

    Args:
        path: The folder; made by the first ``put``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def address(self, name: str = "") -> str:
        """Return the path of a file, or of the folder."""
        return str(self.path / name)

    def is_file(self, name: str) -> bool | None:
        """Return whether something is a regular file; None if nothing is there."""
        try:
            return stat.S_ISREG((self.path / name).lstat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def top(self) -> list[str]:
        """Return the names directly in the folder, in order."""
        return sorted(path.name for path in self.path.iterdir()) if self.path.is_dir() else []

    def below(self, folder: str) -> Iterator[str]:
        """Yield all below a folder that is no folder, in order; the folder's own name if it is a link."""
        root = self.path / folder
        if root.is_symlink():
            yield folder
        elif root.is_dir():
            # Folder by folder, never all at once: there may be millions of files.
            with os.scandir(root) as entries:
                found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
            for name, is_folder in found:
                if is_folder:
                    yield from self.below(f"{folder}/{name}")
                else:
                    yield f"{folder}/{name}"

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading."""
        return (self.path / name).open("rb")

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None if there is none, or a link."""
        return (self.path / name).read_bytes() if self.is_file(name) else None

    def put(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all; until then it lies in ``STAGING``."""
        write_atomic(self.path / name, data, staging=self.path / STAGING)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def remove_below(self, folder: str) -> None:
        """Remove a folder with all that is in it, if it is there."""
        if (self.path / folder).exists():
            shutil.rmtree(self.path / folder)

    def unreadable(self, error: OSError) -> str:
        """Return which file could not be read."""
        return f"{error.filename} cannot be read ({error.strerror}); change its permissions"


class StorePlace:
    """Objects in a store, as they were when listed and changed since; links there are none.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._names: set[str] | None = None

    @property
    def names(self) -> set[str]:
        """Names of all objects; listed when first asked for."""
        if self._names is None:
            self._names = set(self.store.sizes())
        return self._names

    def refresh(self) -> None:
        """Have the objects listed anew: another may have written there."""
        self._names = None

    def address(self, name: str = "") -> str:
        """Return the URL of an object, or of the place."""
        return self.store.address(name)

    def is_file(self, name: str) -> bool | None:
        """Return True if there is such an object, else None."""
        return True if name in self.names else None

    def top(self) -> list[str]:
        """Return the names directly in the place, in order."""
        return sorted({name.split("/")[0] for name in self.names})

    def below(self, folder: str) -> Iterator[str]:
        """Yield the names of all objects below a folder, in order."""
        yield from sorted(name for name in self.names if name.startswith(f"{folder}/"))

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading in parts."""
        return self.store.open(name)

    def read(self, name: str) -> bytes | None:
        """Return an object's content, None if it was not there when listed or is no longer."""
        if name not in self.names:
            return None
        try:
            return self.store.read(name)
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes | Path) -> None:
        """Write an object, whole or not at all; from a local file where a path is given."""
        self.store.put(name, data)
        self.names.add(name)

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        if name in self.names:
            self.store.remove(name)
            self.names.remove(name)

    def remove_below(self, folder: str) -> None:
        """Remove every object below a folder."""
        below = set(self.below(folder))
        if below:
            self.store.remove_below(folder)
            self.names.difference_update(below)

    def unreadable(self, error: OSError) -> str:
        """Return what went wrong with the store."""
        return f"{error}; check the connection and the credentials"


def place_at(output: Path | str, *, writing: bool = False) -> FolderPlace | StorePlace:
    """Return the place that a path or a URL names.

    Args:
        output: The path or URL.
        writing: Whether results will be written there.

    Raises:
        InputError: A URL that cannot be used, or not for writing.
    """
    found = locate(output, writing=writing)
    return FolderPlace(found) if isinstance(found, Path) else StorePlace(found)
