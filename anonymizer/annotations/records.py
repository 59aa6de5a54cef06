"""Given annotations as one interface, whatever their format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from anonymizer.annotations.categories import label_of
from anonymizer.annotations.matching import Placement
from anonymizer.annotations.rle import encode_rle
from anonymizer.core.errors import InputError
from anonymizer.core.geometry import integer_box, outline_box
from anonymizer.core.records import Floats, Instance, Treatment
from anonymizer.images.release import Release

__all__ = [
    "CONSENT",
    "Annotations",
    "Given",
    "Head",
    "Page",
    "Record",
    "Remark",
    "added_record",
    "agrees",
    "free_id",
    "label_of",
    "mark",
    "parse_json",
    "read_annotation_bytes",
    "read_json",
]

#: Largest annotation file read, in bytes.
MAX_BYTES = 4 * 1024**3
#: Deepest nesting of JSON; formats need 6 levels, and attributes of tools a few more.
_DEEPEST = 50
Record = Mapping[str, Any]
#: Attribute of a record whose object is left as it is.
CONSENT = "consent"


@dataclass(frozen=True, slots=True)
class Remark:
    """Note on a given record that was not taken as it stands.

    Args:
        where: The record by number, such as ``annotation 17`` or ``line 3``; nothing that it says.
        what: What was odd and what became of it, such as ``box without area, left out``; no text of the record.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Instances that annotations give for one picture.

    Args:
        instances: Those of the classes we know, ids from 1.
        remarks: Records that were left out or mended.
    """

    instances: tuple[Instance, ...]
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """What became of one released picture, for its annotations.

    Args:
        name: Relative name among the inputs; it selects what was given.
        released: Relative name under which it is released.
        size: Its (height, width).
        treated: Every treated instance with what was done to it; given ones carry their ``record``.
        texts: What was read on plates of the original. Identifying: for comparison only.
        keep: Fields that stay although no list names them, see ``scrubbing.Scrubber``.
        joints: COCO's joints of persons with an avatar by instance id, float32 (17, 3) as of ``rendered.joints_of``.
            Outlines and boxes of these persons are the avatars', too.
    """

    name: str
    released: str
    size: tuple[int, int]
    treated: tuple[tuple[Instance, Treatment], ...]
    texts: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    joints: Mapping[int, Floats] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Head:
    """What released annotations say of the data set as a whole.

    Args:
        fields: ``info``, ``licenses`` and the like, as in COCO.
        categories: Category records in the order of those given, with numbers as ids.
        removed: How often each field was left out, by name.
    """

    fields: dict[str, Any]
    categories: list[dict[str, Any]]
    removed: dict[str, int]


class Annotations(Protocol):
    """Annotations of many pictures, read and checked."""

    @property
    def format(self) -> str:
        """``coco``, ``yolo``, ``voc``, ``cityscapes``, ``labelme``, ``cvat``, ``via`` or ``open_images``."""
        ...

    @property
    def path(self) -> Path:
        """Where they were read from."""
        ...

    @property
    def head(self) -> Record:
        """Fields of the whole data set, such as ``info`` and ``licenses``."""
        ...

    @property
    def categories(self) -> Mapping[int, Record]:
        """Category records (``id``, ``name``, ...) by id; empty where the format has names alone."""
        ...

    def image(self, name: str) -> Record | None:
        """Return the image record of a picture, None if the annotations do not know it."""
        ...

    @property
    def placement(self) -> Placement | None:
        """Which record belongs to which picture, None before :meth:`placed`."""
        ...

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """Records of the data set as a whole that were not taken as they stand."""
        ...

    @property
    def left_alone(self) -> tuple[str, ...]:
        """Names of given categories that mean none of our classes, ordered."""
        ...

    def label(self, category: str) -> str | None:
        """Return the class that a category name means here, None if it is left alone."""
        ...

    def placed(self, names: Iterable[str], released: Callable[[str], str] = str) -> Annotations:
        """Return these annotations with every picture of a run matched.

        Without it each picture is matched as if it were the only one.

        Args:
            names: Relative names of all pictures.
            released: Name under which a picture is released.

        Raises:
            InputError: They fit none of the pictures, or a category name may mean a class and is not known.
        """
        ...

    def instances(self, name: str, size: tuple[int, int]) -> Given | None:
        """Return a picture's instances of the classes we know; None if the picture is unknown.

        Raises:
            InputError: The annotations as a whole do not fit the picture of (height, width), or cannot be read.
        """
        ...

    def records(self, name: str) -> tuple[tuple[str, Record], ...]:
        """Return (category name, record) of each of a picture's annotations; ``id`` tells them apart."""
        ...

    def identities(self, name: str, texts: Iterable[str], keep: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the plates and names that a picture's annotations tell, and those of ``texts`` worth comparing.

        What stands in fields that are kept on purpose is no secret.
        """
        ...

    def digest(self, name: str) -> str | None:
        """Return a sha256 of all that is known about a picture, None if nothing is."""
        ...

    def only(self, name: str) -> Annotations:
        """Return the annotations cut down to one picture, for a worker that has no access to the files."""
        ...

    @property
    def scales(self) -> bool:
        """Whether the geometry can be scaled with the pictures."""
        ...

    def scaled(self, name: str, before: tuple[int, int], after: tuple[int, int]) -> Annotations:
        """Return the annotations of a picture that is scaled from a (height, width) to another.

        Raises:
            InputError: The format cannot be scaled.
        """
        ...

    def export(self, page: Page) -> dict[str, Any]:
        """Return what the released annotations will say about a picture, as plain JSON data.

        ``removed`` counts the fields that were left out, by name.
        """
        ...

    def files(self, exports: Iterable[dict[str, Any]], release: Release) -> Iterator[tuple[str, bytes]]:
        """Yield the released annotation files, relative name and content, in the format that was given."""
        ...

    def public_head(self, release: Release) -> Head:
        """Return what the released annotations say of the data set as a whole."""
        ...


def agrees(record: Record) -> bool:
    """Return whether a record says that whoever it shows agreed to be shown: ``consent`` is true wherever it stands.

    It may stand in the record, or among its ``attributes`` or ``flags``, as true or as the text ``true``.
    """
    said: list[object] = []
    for place in (record, record.get("attributes"), record.get("flags")):
        if isinstance(place, list):
            place = {str(i.get("name")): i.get("value") for i in place if isinstance(i, Mapping)}
        if isinstance(place, Mapping):
            said += [value for key, value in place.items() if str(key).strip().lower() == CONSENT]
    return bool(said) and all(value is True or str(value).strip().lower() == "true" for value in said)


def free_id(records: Iterable[Record]) -> int | str:
    """Return an id that none of some records has: one above the highest number, a text where their ids are texts."""
    texts, highest = False, 0
    for record in records:
        value = record.get("id")
        texts |= isinstance(value, str)
        number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 16 else value
        highest = max(highest, number) if type(number) is int else highest
    return str(highest + 1) if texts else highest + 1


def mark(instance: Instance, treatment: Treatment) -> dict[str, Any]:
    """Return what was done to an instance, as it is noted in annotations."""
    score = {} if instance.given else {"score": round(float(instance.score), 4)}
    how = {} if treatment.method is None else {"method": treatment.method}
    return {"action": treatment.action, "attempts": treatment.attempts, "source": instance.source} | how | score


def added_record(instance: Instance, size: tuple[int, int]) -> dict[str, Any]:
    """Return the COCO geometry of an instance in a picture of (height, width)."""
    x1, y1, x2, y2 = (round(float(value), 2) for value in outline_box(instance))
    frame = integer_box(instance.box)
    # More may have been treated than is likely to be the object; auditors need to know where.
    treated = {} if instance.core is None else {"treated": encode_rle(instance.mask, frame, size)}
    return {
        "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
        "area": int(instance.outline.sum()),
        "segmentation": encode_rle(instance.outline, frame, size),
        "iscrowd": 0,
    } | treated


def read_annotation_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return an annotation file's content.

    Raises:
        InputError: It cannot be read or is too large.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise InputError(f"annotations {path}: {size} bytes, expected at most {max_bytes}; split the file")
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"annotations {path}: expected a readable file, got {error.strerror}; check the path"
        ) from error


def read_json(path: Path) -> object:
    """Return the content of a JSON file.

    Raises:
        InputError: Unreadable, or no JSON.
    """
    return parse_json(read_annotation_bytes(path), path)


def parse_json(content: bytes, path: Path) -> object:
    """Return what JSON content says.

    Raises:
        InputError: No JSON.
    """
    try:
        document: object = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"annotations {path}: expected JSON, got {str(error)[:100]}; export it again") from error
    level = [document]
    for _ in range(_DEEPEST):
        items = (
            value.values() if isinstance(value, dict) else value for value in level if isinstance(value, dict | list)
        )
        level = [item for several in items for item in several if isinstance(item, dict | list)]
    if level:
        raise InputError(f"annotations {path}: JSON nested more than {_DEEPEST} deep; export it again")
    return document
