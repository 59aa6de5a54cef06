"""Annotations in files: one for each picture (YOLO, VOC, Cityscapes), or one for many (CVAT, VIA, Open Images)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, cast

from anonymizer.annotations.categories import Meanings
from anonymizer.annotations.fields import CATEGORY
from anonymizer.annotations.matching import Index, Placement, key_of
from anonymizer.annotations.records import Given, Head, Page, Record, Remark, read_annotation_bytes
from anonymizer.annotations.regions import instance_from
from anonymizer.annotations.scrubbing import Scrubber, identities, name_parts
from anonymizer.core.errors import InputError
from anonymizer.core.records import Instance
from anonymizer.images.release import Release

__all__ = ["Codec", "Entry", "FileAnnotations", "Read", "SharedCodec", "SharedFile", "shared_file"]

#: Largest annotation file of one picture, in bytes.
MAX_BYTES = 64 * 1024**2
#: Formats whose geometry is in proportions of the picture.
RELATIVE = ("yolo", "open_images")


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


@dataclass(frozen=True, slots=True, eq=False)
class FileAnnotations:
    """Annotation files, each read when its picture's turn comes: a damaged one costs its picture only.

    Args:
        path: Where they were found.
        codec: Their format.
        places: Each file by the name it gives its picture: its relative path without the format's ending.
        meanings: What category names mean.
        content: The one file of :meth:`only`, by the same name: its content, or why it cannot be read.
        copied: Where the files are copies, the local folder and the URL that messages name in its place.
        placement: Name in ``places`` by picture, None before :meth:`placed`.
        index: Names of ``places``, to be matched with pictures; made of them if None.
        left_alone: Names of categories in the files that mean none of our classes; told by :meth:`placed`.
    """

    path: Path
    codec: Codec
    places: Mapping[str, Path]
    meanings: Meanings = field(default_factory=Meanings)
    content: Mapping[str, bytes | str] = field(default_factory=dict)
    copied: tuple[str, str] = ("", "")
    placement: Placement | None = None
    left_alone: tuple[str, ...] = ()
    index: Index | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.index is None:
            object.__setattr__(self, "index", Index({name: name for name in self.places}))

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

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """None: every record is in the file of a picture."""
        return ()

    def label(self, category: str) -> str | None:
        """Return the class that a category name means, None if it is left alone."""
        return self.meanings.label(category)

    def image(self, name: str) -> Record | None:
        """Return an empty record if there is a file for a picture, else None."""
        return None if self._key(name) is None else {}

    def placed(self, names: Iterable[str], released: Callable[[str], str] = str) -> FileAnnotations:
        """Return these annotations with every picture of a run matched.

        The files of these pictures are read once for the names of their categories.

        Raises:
            InputError: They fit none of the pictures, or a category name may mean a class and is not known.
        """
        found = (self.index or Index({})).place(names)
        if not found.keys and not found.held:
            raise InputError(
                f"annotations {self._shown(self.path)}: none of its {len(self.places)} files belongs to a picture "
                "given; each must be named as its picture"
            )
        used: set[str] = set()
        if not self.codec.categories:
            for key in found.keys.values():
                used |= self._categories(str(key))
            self.meanings.check(used, f"annotations {self._shown(self.path)}")
        else:
            used |= {str(record["name"]) for record in self.codec.categories.values()}
        return replace(self, placement=found, left_alone=self.meanings.left_alone(used))

    def _categories(self, key: str) -> set[str]:
        """Return the names of the categories in a file; none of one that cannot be read, as its picture will fail."""
        try:
            return {entry.category for entry in self.codec.read(self._read(key), None, self._what(key)).entries} - {""}
        except InputError:
            return set()

    def instances(self, name: str, size: tuple[int, int]) -> Given | None:
        """Return a picture's instances of the classes we know; None if it has no file.

        Raises:
            InputError: Its file is malformed or does not fit.
        """
        key = self._key(name)
        if key is None:
            return None
        read = self.codec.read(self._read(key), size, self._what(key))
        out: list[Instance] = []
        remarks = list(read.remarks)
        for entry in read.entries:
            where = f"{'line' if self.format == 'yolo' else 'annotation'} {entry.record['id']}"
            label = self.label(entry.category)
            if label is None:
                remarks += [] if entry.category.strip() else [Remark(where, "without the name of a class, left alone")]
                continue
            instance, notes = instance_from(len(out) + 1, label, entry.record, size)
            out += [instance] if instance is not None else []
            remarks += [Remark(where, note) for note in notes]
        return Given(tuple(out), tuple(remarks))

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
        told = sorted((name, label or "") for name, label in self.meanings.told.items())
        whole = hashlib.sha256(repr([*sorted(self.categories.items()), *told]).encode())
        whole.update(content if isinstance(content, bytes) else content.encode())
        return whole.hexdigest()

    def only(self, name: str) -> FileAnnotations:
        """Return the annotations cut down to one picture, with its file's content."""
        key = self._key(name)
        if key is None:
            return replace(self, places={}, content={}, index=Index({}), placement=Placement())
        own = {name: self.places[key]}
        content = {name: self._content(key)}
        return replace(self, places=own, content=content, index=Index({}), placement=Placement({name: name}))

    @property
    def scales(self) -> bool:
        """Whether the geometry can be scaled with the pictures: it can where it is relative to them."""
        return self.format in RELATIVE

    def scaled(self, name: str, before: tuple[int, int], after: tuple[int, int]) -> FileAnnotations:
        """Return these annotations, whose geometry holds at every size.

        Raises:
            InputError: It does not.
        """
        if not self.scales:
            raise InputError(f"annotations {self._shown(self.path)}: {self.format} cannot be scaled with its pictures")
        return self

    def export(self, page: Page) -> dict[str, Any]:
        """Return name and content of the picture's released file."""
        key = self._key(page.name)
        content = None if key is None else self._read(key)
        texts = (*page.texts, *name_parts(page.name, page.released))
        scrubber = Scrubber(self.identities(page.name, texts, page.keep), page.keep)
        text = self.codec.write(content, page, scrubber).decode("utf-8")
        names = {"path": self.codec.place(page.released), "released": page.released}
        return names | {"text": text, "removed": scrubber.removed}

    def files(self, exports: Iterable[dict[str, Any]], release: Release) -> Iterator[tuple[str, bytes]]:
        """Yield every released annotation file; of pictures that differ in the suffix alone, later ones keep it."""
        used: set[str] = set()
        for export in exports:
            path = export["path"]
            if path.casefold() in used:
                path = self.codec.place(export["released"] + PurePosixPath(export["released"]).suffix)
            if path.casefold() in used:
                raise InputError(f"{export['released']}: its annotation file {path} would replace another; rename it")
            used.add(path.casefold())
            yield path, export["text"].encode("utf-8")

    def public_head(self, release: Release) -> Head:
        """Return the categories; of the fields of the whole data set none is a COCO field."""
        scrubber = Scrubber((), release.keep_fields)
        self._count_shared(scrubber)
        categories = [scrubber.record(record, CATEGORY, "categories") for record in self.categories.values()]
        return Head({}, categories, scrubber.removed)

    def _count_shared(self, scrubber: Scrubber) -> None:
        """Count what is left out of what belongs to all pictures together: nothing, where there is no such file."""

    def _key(self, name: str) -> str | None:
        return cast(str | None, key_of(self.index or Index({}), self.placement, name))

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
