"""Annotations of which one file holds many pictures, each in a part of its own: CVAT, VIA, Open Images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from anonymizer.annotations.categories import Meanings
from anonymizer.annotations.per_file import Codec, FileAnnotations
from anonymizer.annotations.scrubbing import Scrubber
from anonymizer.core.errors import InputError
from anonymizer.images.release import Release

__all__ = ["SharedCodec", "SharedFile", "shared_file"]


class SharedCodec(Codec, Protocol):
    """A format of which one file holds many pictures; ``read`` and ``write`` see the part of one."""

    def joined(self, parts: Iterable[str], scrubber: Scrubber) -> bytes:
        """Return the released file.

        Args:
            parts: What ``write`` returned for each released picture.
            scrubber: Cleans what belongs to no single picture, and counts what it leaves out.
        """
        ...

    def file_name(self, given: str, release: Release) -> str:
        """Return the released file's name, by the name of the given one."""
        ...


class SharedFile(FileAnnotations):
    """Parts of one file, each read when its picture's turn comes: a damaged one costs its picture only.

    Its codec is a :class:`SharedCodec`; use :func:`shared_file`.
    """

    __slots__ = ()

    def files(self, exports: Iterable[dict[str, Any]], release: Release) -> Iterator[tuple[str, bytes]]:
        """Yield the released file."""
        codec = self._shared_codec()
        parts = (export["text"] for export in exports)
        yield codec.file_name(self.path.name, release), codec.joined(parts, Scrubber((), release.keep_fields))

    def _count_shared(self, scrubber: Scrubber) -> None:
        self._shared_codec().joined((), scrubber)

    def _shared_codec(self) -> SharedCodec:
        codec: Any = self.codec
        shared: SharedCodec = codec
        return shared


def shared_file(path: Path, codec: SharedCodec, parts: Iterable[tuple[str, bytes]], meanings: Meanings) -> SharedFile:
    """Return the annotations of a file that was taken apart.

    Args:
        path: The file.
        codec: Its format.
        parts: Name of each picture as the file has it, and its part.
        meanings: What category names mean.

    Raises:
        InputError: Two parts of one name, or none at all.
    """
    content: dict[str, bytes | str] = {}
    for number, (name, part) in enumerate(parts, start=1):
        if name in content:
            raise InputError(f"annotations {path}: picture {number} ({name[:80]!r}) stands twice; merge the two")
        content[name] = part
    if not content:
        raise InputError(f"annotations {path}: expected pictures, found none; export the file again")
    places: Mapping[str, Path] = dict.fromkeys(content, path)
    return SharedFile(path, codec, places, meanings, content)
