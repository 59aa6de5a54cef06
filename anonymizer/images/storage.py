"""Object storage through fsspec: where pictures are read and results go when INPUT or OUTPUT is a URL.

Such a store has no folders, no renaming, no appending and no locks. It has objects that appear whole or not at all,
and it can list them. Nothing here runs, and fsspec is not imported, unless a URL is given; ``file://`` is a path.
"""

from __future__ import annotations

import glob
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from anonymizer.core.errors import InputError

__all__ = ["WHOLE", "Store", "Stored", "check_name", "is_url", "locate"]

#: Protocols whose stores show an object only when it was written to its end: results go to no others.
WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"}
_LOCAL = ("file", "local")
#: What to install for a protocol that fsspec cannot speak alone.
_PACKAGES = {
    "s3": "'anonymizer[s3]'",
    "s3a": "'anonymizer[s3]'",
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "adlfs"),
}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
#: Longest part of a name between slashes, in bytes: what a local file system takes.
_LONGEST = 255
#: Objects fetched at once.
_BATCH = 256


def is_url(place: Path | str) -> bool:
    """Return whether a place is given as a URL, ``file://`` included."""
    return isinstance(place, str) and _URL.match(place) is not None


def locate(place: Path | str, *, writing: bool = False) -> Path | Store:
    """Return the local path that is meant, or the store.

    Args:
        place: A path, or a URL.
        writing: Whether results will be written there.

    Raises:
        InputError: An empty text, a URL that cannot be used, or not for writing; a package is missing.
    """
    if place == "":  # Path would take the current folder for it.
        raise InputError("expected a path or a URL, got an empty text; a variable of the shell may not be set")
    found = _URL.match(place) if isinstance(place, str) else None
    if found is None:
        return Path(place)
    url, protocol = str(place), found[1].lower()
    if protocol in _LOCAL:
        path = url[found.end() :]
        if not path.startswith("/"):
            raise InputError(f"{url}: expected an absolute path such as {protocol}:///data/in, got {path!r}")
        return Path(path)
    if writing and protocol not in WHOLE:
        raise InputError(
            f"OUTPUT {url}: {protocol} may show a file before it is whole; expected a folder or one of "
            f"{', '.join(sorted(WHOLE))}"
        )
    if writing and glob.has_magic(url):
        raise InputError(f"OUTPUT {url}: expected a URL without *, ? and [; choose another name")
    return Store(url)


def check_name(name: str) -> None:
    """Refuse an object's name that is no plain relative path, or that a file could not have.

    Raises:
        InputError: Empty parts, ``.`` or ``..``, control characters, undecodable or too many bytes.
    """
    parts = name.split("/")
    try:
        longest = max(len(part.encode()) for part in parts)
    except UnicodeEncodeError:
        longest = _LONGEST + 1
    # s3fs takes what follows this mark for a version, not for a part of the name.
    odd = any(part in ("", ".", "..") for part in parts) or "?versionId=" in name
    if odd or longest > _LONGEST or any(ord(char) < 32 or ord(char) == 127 for char in name):
        raise InputError(
            f"{name!a} cannot be the name of a picture in object storage: expected a relative path without empty "
            f"parts, '..', control or undecodable characters and with parts of at most {_LONGEST} bytes; rename it"
        )


class Store:
    """Objects below one URL; names are relative to it, with forward slashes.

    Every method raises FileNotFoundError where something is not there, and OSError for whatever else stands between
    us and the store: no connection, no permission, no credentials.

    Args:
        url: Such as ``s3://bucket/folder``.

    Raises:
        InputError: fsspec, or its package for this protocol, is missing, or the URL names no place.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        protocol = self.url.partition("://")[0].lower()
        try:
            from fsspec.core import url_to_fs

            # Listings are never remembered: they decide what is taken for released.
            self._fs, root = url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            package = _PACKAGES.get(protocol, f"'fsspec[{protocol}]'")
            raise InputError(f"{url}: expected a package for {protocol}://, got {error}; pip install {package}") from (
                error
            )
        except ValueError as error:
            raise InputError(f"{url}: expected the URL of a store, such as s3://bucket/folder; {error}") from error
        self._root = str(root).rstrip("/")
        if not self._root.strip("/") or "::" in url:
            raise InputError(f"{url}: expected the URL of a folder in a store, such as s3://bucket/folder")

    def __str__(self) -> str:
        return self.url

    def address(self, name: str) -> str:
        """Return the URL of an object."""
        return f"{self.url}/{name}" if name else self.url

    def holds(self, other: Store, name: str = "") -> bool:
        """Return whether another store's URL, or an object of it, is this one's URL or below it."""
        place = f"{other._root}/{name}" if name else other._root
        return type(self._fs) is type(other._fs) and f"{place}/".startswith(f"{self._root}/")

    def size(self) -> int | None:
        """Return the size in bytes of the object that the URL itself names; None if it names none."""
        try:
            with self._calling(""):
                found = self._fs.info(self._root)
        except FileNotFoundError:
            return None
        # Some stores show a folder as an object of no bytes whose name ends in a slash.
        whole = found["type"] == "file" and not str(found["name"]).endswith("/")
        return int(found["size"] or 0) if whole else None

    def sizes(self, under: str = "") -> dict[str, int]:
        """Return names and sizes in bytes of every object below the URL, or below a folder there."""
        try:
            with self._calling(under):
                return self._relative(self._fs.find(self._path(under), detail=True))
        except FileNotFoundError:
            return {}

    def matches(self) -> tuple[Store, dict[str, int]]:
        """Return the objects that the URL matches as a pattern: their store, and names in it with sizes in bytes."""
        parts = self.url.split("/")
        first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
        if first < 3:
            raise InputError(f"{self.url}: expected a pattern within one bucket, such as s3://bucket/folder/*.jpg")
        base = Store("/".join(parts[:first]))
        with self._calling(""):
            return base, base._relative(self._fs.glob(self._root, detail=True))

    def top(self) -> list[str]:
        """Return the names directly below the URL, of objects and folders."""
        try:
            with self._calling(""):
                found = self._fs.ls(self._root, detail=False)
        except FileNotFoundError:
            return []
        names = (str(path).rstrip("/").removeprefix(f"{self._root}/") for path in found)
        return sorted(name for name in names if name and name != self._root)

    def read(self, name: str, most: int | None = None) -> bytes:
        """Return an object's content, of which no more than ``most`` bytes are fetched."""
        with self._calling(name):
            if most is None:
                return bytes(self._fs.cat_file(self._path(name)))
            return bytes(self._fs.cat_file(self._path(name), start=0, end=most))

    def read_all(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of small objects, many fetched at once."""
        waiting = list(names)
        for start in range(0, len(waiting), _BATCH):
            paths = {self._path(name): name for name in waiting[start : start + _BATCH]}
            with self._calling(waiting[start]):
                found = self._fs.cat(list(paths), recursive=False, on_error="raise")
            contents = found if isinstance(found, dict) else {next(iter(paths)): found}
            yield from ((paths[path], bytes(content)) for path, content in contents.items())

    def fetch(self, name: str, path: Path) -> None:
        """Copy an object into a local file."""
        with self._calling(name):
            self._fs.get_file(self._path(name), str(path))

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading in parts."""
        with self._calling(name):
            return cast(BinaryIO, io.BufferedReader(_Reading(self, name), 1 << 20))

    def put(self, name: str, data: bytes | Path) -> None:
        """Write one object, whole or not at all; from a local file where a path is given."""
        with self._calling(name):
            if isinstance(data, Path):
                self._fs.put_file(str(data), self._path(name))
            else:
                self._fs.pipe_file(self._path(name), data)

    def create(self, name: str, data: bytes) -> bool:
        """Write one object if there is none of its name; return whether that was so.

        Of two processes only one succeeds where the store has conditional writes (Amazon S3, Google, Azure). fsspec
        looks first and then writes where it has none.
        """
        try:
            with self._calling(name):
                self._fs.pipe_file(self._path(name), data, mode="create")
        except OSError:
            # How a store says "there is one" differs; what is there counts.
            with suppress(FileNotFoundError):
                return self.read(name) == data
            raise
        return True

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        with suppress(FileNotFoundError), self._calling(name):
            self._fs.rm_file(self._path(name))

    def remove_below(self, folder: str) -> None:
        """Remove every object below a folder."""
        with suppress(FileNotFoundError), self._calling(folder):
            self._fs.rm(self._path(folder), recursive=True)

    def _path(self, name: str) -> str:
        if not name:
            return self._root
        check_name(name)
        return f"{self._root}/{name}"

    def _relative(self, found: dict[str, Any]) -> dict[str, int]:
        start = f"{self._root}/"
        return {
            path[len(start) :]: int(info["size"] or 0)
            for path, info in found.items()
            if info["type"] == "file" and path.startswith(start) and not path.endswith("/")
        }

    @contextmanager
    def _calling(self, name: str) -> Iterator[None]:
        """Make an OSError that people can read of what the packages behind fsspec raise, which is anything."""
        try:
            yield
        except (FileNotFoundError, InputError):
            raise
        except Exception as error:
            text = " ".join(str(error).split())[:200]
            raise OSError(f"{self.address(name)}: {text or type(error).__name__}") from error


class _Reading(io.RawIOBase):
    """An object's content, read in parts."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name
        self._file = store._fs.open(store._path(name), "rb")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def readinto(self, buffer: Any) -> int:
        with self._store._calling(self._name):
            part = self._file.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is an input.

    Args:
        store: Where it lies.
        name: Its name there.
        size: Bytes, as listed.
    """

    store: Store
    name: str
    size: int

    def __str__(self) -> str:
        return self.store.address(self.name)

    def read(self, most: int) -> bytes:
        """Return the content.

        Args:
            most: Largest size in bytes.

        Raises:
            InputError: It is gone, or larger.
            OSError: The store cannot be read, which says nothing about this object.
        """
        # A range of an object without bytes is an error to some stores.
        size, data = self.size, b""
        if 0 < size <= most:
            try:
                data = self.store.read(self.name, most + 1)
            except FileNotFoundError as error:
                raise InputError(f"{self}: expected a picture, it is gone; check the URL") from error
            size = len(data)  # It may have been replaced since it was listed.
        if size > most:
            raise InputError(f"{self}: {self.size} bytes, expected at most {most}; make the picture smaller")
        return data
