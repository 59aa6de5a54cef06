"""Open Images boxes: one CSV file for many pictures, coordinates as shares of the picture's sides."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from anonymizer.annotations.categories import Meanings
from anonymizer.annotations.fields import OPEN_IMAGES
from anonymizer.annotations.files import Entry, Read, SharedFile, shared_file
from anonymizer.annotations.records import Page, Record, Remark, mark
from anonymizer.annotations.scrubbing import Scrubber
from anonymizer.annotations.shapes import finite, rectangle
from anonymizer.core.errors import InputError
from anonymizer.core.geometry import outline_box
from anonymizer.core.records import Instance, Treatment
from anonymizer.images.formats import SUFFIXES
from anonymizer.images.release import Release

__all__ = ["OpenImages", "is_open_images", "open_images_from"]

#: Columns without which a file is none of Open Images.
NEEDED = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")
#: Classes by identifier: person, man, woman, boy, girl, human body, arm, hand, leg and foot; human face, head, eye,
#: nose, mouth, ear, hair and beard; vehicle registration plate.
_CLASSES: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("/m/01g317", "/m/04yx4", "/m/03bt1vf", "/m/01bl7v", "/m/05r655", "/m/02p0tk3"),
            *("/m/0dzf4", "/m/0k65p", "/m/035r7c", "/m/031n1"),
        ),
        "person",
    ),
    **dict.fromkeys(
        ("/m/0dzct", "/m/04hgtk", "/m/014sv8", "/m/0k0pj", "/m/0283dt1", "/m/039xj_", "/m/03q69", "/m/015h_t"),
        "face",
    ),
    "/m/01jfm_": "license_plate",
}
#: Identifiers of the classes that are added.
_ADDED: Mapping[str, str] = {"person": "/m/01g317", "face": "/m/0dzct", "license_plate": "/m/01jfm_"}
#: Shares may leave [0, 1] by this much, as rounded ones do; the pixel tolerance of all boxes applies besides.
_SLACK = 0.01
#: Columns that say what was done.
_MARKS = ("AnonymizerAction", "AnonymizerAttempts", "AnonymizerSource", "AnonymizerMethod", "AnonymizerScore")
_FLAGS = ("IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside")


@dataclass(frozen=True, slots=True, eq=False)
class OpenImages:
    """Open Images. What was done to a box stands in columns of its own, ``AnonymizerAction`` and the like.

    Args:
        columns: Names of the columns as given.
        meanings: What names of classes mean.
    """

    columns: tuple[str, ...]
    meanings: Meanings

    @property
    def format(self) -> str:
        """``open_images``."""
        return "open_images"

    @property
    def categories(self) -> Mapping[int, Record]:
        """None: rows carry identifiers."""
        return {}

    @property
    def fields(self) -> Mapping[str, Any]:
        """Columns that stay."""
        return {"rows": OPEN_IMAGES}

    def place(self, released: str) -> str:
        """Return the picture's own name: its part has no file."""
        return released

    def file_name(self, given: str, release: Release) -> str:
        """Return the released file's name."""
        return "boxes.csv" if release.rename else given

    def read(self, content: bytes, size: tuple[int, int] | None, what: str) -> Read:
        """Return the boxes of a picture; ``id`` is the row's place among the picture's, from 1.

        Raises:
            InputError: No CSV.
        """
        height, width = size or (10_000, 10_000)
        entries, remarks = [], []
        for number, row in enumerate(self._rows(content, what), start=1):
            name = row.get("LabelName", "").strip()
            name = _CLASSES.get(name, name)
            x1, x2, y1, y2 = (finite(row.get(edge, "")) for edge in NEEDED[2:])
            odd = not all(-_SLACK <= value <= 1 + _SLACK for value in (x1, x2, y1, y2))  # NaN compares as false.
            if odd or x2 <= x1 or y2 <= y1:
                if self.meanings.label(name) is not None:
                    why = "coordinates are no shares of the picture from 0 to 1" if odd else "a box without area"
                    remarks.append(Remark(f"box {number}", f"{why}, left out"))
                else:
                    entries.append(Entry(name, {"id": number}))
                continue
            edges = (round(value, 2) for value in (x1 * width, y1 * height, x2 * width, y2 * height))
            attributes = {
                "occluded": row.get("IsOccluded", ""),
                "truncated": row.get("IsTruncated", ""),
                "is_depiction": row.get("IsDepiction", ""),
            }
            crowd = {"iscrowd": 1} if row.get("IsGroupOf", "").strip() == "1" else {}
            entries.append(Entry(name, {"id": number, "attributes": attributes} | crowd | rectangle(*edges)))
        return Read(tuple(entries), tuple(remarks))

    def told(self, content: bytes, what: str) -> Record:
        """Return the picture's rows but for its own name."""
        return {"rows": [{k: v for k, v in row.items() if k != "ImageID"} for row in self._rows(content, what)]}

    def write(self, content: bytes | None, page: Page, scrubber: Scrubber) -> bytes:
        """Return the picture's rows with what was done, and one for each added instance that has an identifier."""
        rows = [] if content is None else list(self._rows(content, page.name))
        treated = {i.record["id"]: (i, t) for i, t in page.treated if i.record is not None}
        flat = bool(rows) and "/" not in rows[0].get("ImageID", "")
        released = PurePosixPath(page.released).with_suffix("")
        name = released.name if flat else str(released)
        out = []
        for number, row in enumerate(rows, start=1):
            given = {key: value for key, value in row.items() if key not in (*_MARKS, "ImageID")}
            public = scrubber.record(given, OPEN_IMAGES, "rows")
            if any(math.isnan(finite(public.get(edge))) for edge in NEEDED[2:]):
                continue  # A box without its place is none; what was there is counted.
            out.append({"ImageID": name} | public | (_marks(*treated[number]) if number in treated else {}))
        for instance, treatment in page.treated:
            if instance.record is None and instance.label in _ADDED:
                out.append({"ImageID": name} | self._added(instance, page.size) | _marks(instance, treatment))
        return self._text(out, scrubber, header=False).encode()

    def joined(self, parts: Iterable[str], scrubber: Scrubber) -> bytes:
        """Return the released file: the columns that stay, and those that say what was done."""
        return (self._text([], scrubber, header=True) + "".join(parts)).encode()

    def _rows(self, content: bytes, what: str) -> Iterator[dict[str, str]]:
        for values in _read(content.decode("utf-8"), what):
            yield dict(zip(self.columns, values, strict=False))

    def _public(self, scrubber: Scrubber) -> tuple[str, ...]:
        columns = (name for name in self.columns if name not in _MARKS)
        listed = [n for n in columns if n == "ImageID" or n in OPEN_IMAGES or scrubber.keeps(f"rows.{n}")]
        return (*listed, *_MARKS)

    def _text(self, rows: Iterable[Mapping[str, Any]], scrubber: Scrubber, *, header: bool) -> str:
        file = io.StringIO()
        writer = csv.DictWriter(file, self._public(scrubber), restval="", extrasaction="ignore", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return file.getvalue()

    def _added(self, instance: Instance, size: tuple[int, int]) -> dict[str, str]:
        x1, y1, x2, y2 = (float(value) for value in outline_box(instance))
        height, width = size
        edges = {"XMin": x1 / width, "XMax": x2 / width, "YMin": y1 / height, "YMax": y2 / height}
        shares = {key: f"{min(max(value, 0.0), 1.0):.6f}" for key, value in edges.items()}
        # -1 is how Open Images says that it is not known.
        unknown = dict.fromkeys(_FLAGS, "-1")
        score = f"{min(max(float(instance.score), 0.0), 1.0):.4f}"
        return unknown | {"Source": "machine", "LabelName": _ADDED[instance.label], "Confidence": score} | shares


def is_open_images(content: bytes) -> bool:
    """Return whether the first line of a CSV file names the columns of Open Images."""
    first = content[:4096].splitlines()[:1]
    header = first[0].decode("utf-8-sig", "replace") if first else ""
    return set(NEEDED) <= {name.strip() for name in header.split(",")}


def open_images_from(content: bytes, path: Path, meanings: Meanings) -> SharedFile:
    """Take a CSV file apart, by ``ImageID``.

    Raises:
        InputError: No CSV in UTF-8, or columns are missing or stand twice.
    """
    what = f"annotations {path}"
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{what}: expected text in UTF-8; export it again") from error
    rows = _read(text, what)
    columns = tuple(name.strip() for name in next(rows, []))
    if not set(NEEDED) <= set(columns) or len(set(columns)) < len(columns):
        raise InputError(f"{what}: expected the columns {', '.join(NEEDED)}, each once; give a file of boxes")
    place = columns.index("ImageID")
    parts: dict[str, io.StringIO] = {}
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        if place >= len(row) or not row[place].strip():
            raise InputError(f"{what}, line {number}: no ImageID; correct the line")
        name = row[place].strip()
        # Names of pictures have a suffix, which identifiers lack.
        name = name if PurePosixPath(name).suffix.lower() in SUFFIXES else f"{name}.jpg"
        part = parts.setdefault(name, io.StringIO())
        csv.writer(part, lineterminator="\n").writerow(row)
    texts = ((name, part.getvalue().encode()) for name, part in parts.items())
    return shared_file(path, OpenImages(columns, meanings), texts, meanings)


def _read(text: str, what: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise InputError(f"{what}: expected CSV, got {str(error)[:100]}; export it again") from error


def _marks(instance: Instance, treatment: Treatment) -> dict[str, str]:
    return {f"Anonymizer{key.capitalize()}": str(value) for key, value in mark(instance, treatment).items()}
