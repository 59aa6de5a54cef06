"""Annotations of which each picture has a file of its own: YOLO, Pascal VOC, Cityscapes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from anonymizer.annotations.coco import instance_from
from anonymizer.annotations.fields import CATEGORY
from anonymizer.annotations.records import Given, Head, Page, Record, Remark, label_of, read_annotation_bytes
from anonymizer.annotations.scrubbing import Scrubber, identities, name_parts
from anonymizer.dataset.release import Release
from anonymizer.errors import InputError
from anonymizer.types import Instance

__all__ = ["Codec", "Entry", "FileAnnotations", "Read", "picture_key"]

#: Largest annotation file of one picture, in bytes.
MAX_BYTES = 64 * 1024**2
# Folders that data sets keep pictures and annotations in, side by side.
_SIDES = frozenset({"images", "img", "jpegimages", "leftimg8bit", "labels", "annotations", "gtfine", "gtcoarse"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One annotation of a picture.

    Args:
        category: The category's name as given.
        record: ``id`` (its place in the file, from 1), geometry as in COCO, and texts that may identify.
    """

    category: str
    record: Record


@dataclass(frozen=True, slots=True)
class Read:
    """Content of one annotation file.

    Args:
        entries: Its annotations. Their geometry need not be sound: it is checked, cut at the picture's border or left
            out, with a remark, where an instance is made of it.
        remarks: Records that could not even become an entry, and others that were mended.
    """

    entries: tuple[Entry, ...]
    remarks: tuple[Remark, ...] = ()


class Codec(Protocol):
    """A format of annotation files."""

    @property
    def format(self) -> str:
        """Its name."""
        ...

    @property
    def categories(self) -> Mapping[int, Record]:
        """Category records by id, if the format has ids."""
        ...

    def place(self, released: str) -> str:
        """Return the relative name of the annotation file of a picture that is released under a name."""
        ...

    def read(self, content: bytes, size: tuple[int, int] | None, what: str) -> Read:
        """Return a file's annotations, in pixels where the picture's (height, width) is known.

        One odd record costs at most itself: it is mended or left out, with a remark.

        Raises:
            InputError: The file as a whole is not of this format, or states another size.
        """
        ...

    def write(self, content: bytes | None, page: Page, scrubber: Scrubber) -> bytes:
        """Return the content of the released file.

        Args:
            content: The given file, None if there is none.
            page: What became of the picture; ``record["id"]`` names the annotation an instance came from.
            scrubber: Takes plates and names out of texts.
        """
        ...

    @property
    def fields(self) -> Mapping[str, Any]:
        """Fields that stay in a file, see ``fields``."""
        ...

    def told(self, content: bytes, what: str) -> Record:
        """Return all that a file says as plain data, to look for plates and names in it.

        Raises:
            InputError: As for :meth:`read`.
        """
        ...

    def shared(self, scrubber: Scrubber) -> Iterator[tuple[str, bytes]]:
        """Yield files that belong to all pictures together."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FileAnnotations:
    """Annotation files, each read when its picture's turn comes: a damaged one costs its picture only.

    Args:
        path: Where they were found.
        codec: Their format.
        places: Each file by the key of the picture it belongs to, see :func:`picture_key`.
        content: The one file of :meth:`only`, by key: its content, or why it cannot be read.
        copied: Where the files are copies, the local folder and the URL that messages name in its place.
    """

    path: Path
    codec: Codec
    places: Mapping[str, Path]
    content: Mapping[str, bytes | str] = field(default_factory=dict)
    copied: tuple[str, str] = ("", "")
    lasts: Mapping[str, str | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        lasts: dict[str, str | None] = {}
        for key in self.places:
            last = key.rsplit("/", 1)[-1]
            lasts[last] = None if last in lasts else key
        object.__setattr__(self, "lasts", lasts)

    @property
    def format(self) -> str:
        """The codec's name."""
        return self.codec.format

    @property
    def head(self) -> Record:
        """Nothing: these formats have no fields of the whole data set."""
        return {}

    @property
    def categories(self) -> Mapping[int, Record]:
        """Category records by id, if the format has ids."""
        return self.codec.categories

    def image(self, name: str) -> Record | None:
        """Return an empty record if there is a file for a picture, else None."""
        return None if self._key(name) is None else {}

    def check_names(self, names: Iterable[str]) -> None:
        """Refuse files that belong to none of the pictures, or of which one fits several.

        Raises:
            InputError: As said.
        """
        taken: dict[str, str] = {}
        for name in names:
            key = self._key(name)
            if key is None:
                continue
            other = taken.setdefault(key, name)
            if other != name:
                raise InputError(
                    f"{self._shown(self.places[key])}: fits both {other} and {name}; put it in its picture's folders"
                )
        if not taken:
            raise InputError(
                f"annotations {self._shown(self.path)}: none of its {len(self.places)} files belongs to a picture "
                "given; each must be named as its picture"
            )

    def instances(self, name: str, size: tuple[int, int]) -> Given | None:
        """Return a picture's instances of the classes we know; None if it has no file.

        Raises:
            InputError: Its file is malformed or does not fit.
        """
        key = self._key(name)
        if key is None:
            return None
        out: list[Instance] = []
        read = self.codec.read(self._read(key), size, self._what(key))
        for entry in read.entries:
            label = label_of(entry.category)
            if label is not None:
                what = f"{self._what(key)}: annotation {entry.record['id']}"
                out.append(instance_from(len(out) + 1, label, entry.record, size, what))
        return Given(tuple(out), read.remarks)

    def records(self, name: str) -> tuple[tuple[str, Record], ...]:
        """Return nothing: what is not treated stays in the picture's own file and is no COCO record."""
        return ()

    def identities(self, name: str, texts: Iterable[str], keep: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the plates and names that a picture's file tells, and those of ``texts`` worth comparing."""
        key = self._key(name)
        told = {} if key is None else self.codec.told(self._read(key), self._what(key))
        return identities([told], texts, fields=self.codec.fields, keep=keep)

    def digest(self, name: str) -> str | None:
        """Return a sha256 of a picture's file and the categories, None if it has no file."""
        key = self._key(name)
        if key is None:
            return None
        content = self._content(key)
        whole = hashlib.sha256(repr(sorted(self.categories.items())).encode())
        whole.update(content if isinstance(content, bytes) else content.encode())
        return whole.hexdigest()

    def only(self, name: str) -> FileAnnotations:
        """Return the annotations cut down to one picture, with its file's content."""
        key = self._key(name)
        if key is None:
            return replace(self, places={}, content={})
        own = picture_key(name)
        return replace(self, places={own: self.places[key]}, content={own: self._content(key)})

    def export(self, page: Page) -> dict[str, Any]:
        """Return name and content of the picture's released file."""
        key = self._key(page.name)
        content = None if key is None else self._read(key)
        texts = (*page.texts, *name_parts(page.name, page.released))
        scrubber = Scrubber(self.identities(page.name, texts, page.keep), page.keep)
        text = self.codec.write(content, page, scrubber).decode("utf-8")
        return {"path": self.codec.place(page.released), "text": text, "removed": scrubber.removed}

    def files(self, exports: Iterable[dict[str, Any]], release: Release) -> Iterator[tuple[str, bytes]]:
        """Yield every released annotation file."""
        yield from self.codec.shared(Scrubber((), release.keep_fields))
        for export in exports:
            yield export["path"], export["text"].encode("utf-8")

    def public_head(self, release: Release) -> Head:
        """Return the categories; of the fields of the whole data set none is a COCO field."""
        scrubber = Scrubber((), release.keep_fields)
        self._head_files(scrubber)
        categories = [scrubber.record(record, CATEGORY, "categories") for record in self.categories.values()]
        return Head({}, categories, scrubber.removed)

    def _head_files(self, scrubber: Scrubber) -> None:
        """Count what is left out of the files that belong to all pictures together."""
        for _ in self.codec.shared(scrubber):
            pass

    def _key(self, name: str) -> str | None:
        key = picture_key(name)
        return key if key in self.places else self.lasts.get(key.rsplit("/", 1)[-1])

    def _content(self, key: str) -> bytes | str:
        if key in self.content:
            return self.content[key]
        try:
            return read_annotation_bytes(self.places[key], MAX_BYTES)
        except InputError as error:
            return self._shown(error)

    def _read(self, key: str) -> bytes:
        content = self._content(key)
        if isinstance(content, str):
            raise InputError(content)
        return content

    def _what(self, key: str) -> str:
        return f"annotations {self._shown(self.places[key])}"

    def _shown(self, text: object) -> str:
        local, url = self.copied
        return str(text).replace(local, url) if local else str(text)


def picture_key(name: str, ending: str | None = None) -> str:
    """Return what a picture and its annotation file have in common: folders that tell the data apart, and the stem.

    Args:
        name: Relative name of either, with forward slashes.
        ending: End of an annotation file's name that is no part of the stem; None for pictures.
    """
    *folders, file = name.split("/")
    stem = PurePosixPath(file).stem.removesuffix("_leftImg8bit") if ending is None else file.removesuffix(ending)
    return "/".join([*(folder for folder in folders if folder.lower() not in _SIDES), stem])
