"""Cityscapes polygons: one JSON file per picture, named ``*_gtFine_polygons.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from anonymizer.annotations.categories import Meanings
from anonymizer.annotations.fields import CITYSCAPES
from anonymizer.annotations.files import Entry, Read
from anonymizer.annotations.records import Page, Record, mark, parse_json
from anonymizer.annotations.scrubbing import Scrubber
from anonymizer.annotations.shapes import outline
from anonymizer.core.errors import InputError
from anonymizer.core.files import to_json

__all__ = ["ENDINGS", "Cityscapes"]

#: How the names of annotation files end.
ENDINGS = ("_gtFine_polygons.json", "_gtCoarse_polygons.json", "_polygons.json")
#: Labels for what is added. The Cityscapes tools stop at labels they do not know, and they know no faces and no text.
_LABELS = {"person": "person", "license_plate": "license plate"}


class Cityscapes:
    """Cityscapes polygons. The fields that ``fields.CITYSCAPES`` lists stay.

    What was done to an object stands under ``anonymizer``.

    Faces and texts that were added stand in ``annotations.json`` alone, unless a file uses such a label itself.

    Args:
        meanings: What labels mean; common names if None.
    """

    def __init__(self, meanings: Meanings | None = None) -> None:
        self._meanings = meanings or Meanings()

    @property
    def format(self) -> str:
        """``cityscapes``."""
        return "cityscapes"

    @property
    def categories(self) -> Mapping[int, Record]:
        """None: objects carry names."""
        return {}

    def place(self, released: str) -> str:
        """Return ``<name>_gtFine_polygons.json``, without ``_leftImg8bit``."""
        path = PurePosixPath(released)
        return str(path.with_name(path.stem.removesuffix("_leftImg8bit") + ENDINGS[0]))

    def read(self, content: bytes, size: tuple[int, int] | None, what: str) -> Read:
        """Return the objects of a file but for deleted ones; ``id`` is the object's place among all, from 1.

        Raises:
            InputError: No Cityscapes file, or of a picture of another size.
        """
        document = _document(content, what)
        sides = [document.get(side) for side in ("imgHeight", "imgWidth")]
        if size is not None and all(side is not None for side in sides) and tuple(sides) != size:
            raise InputError(
                f"{what}: stated as {sides[1]}x{sides[0]}, the picture is {size[1]}x{size[0]} upright; annotate the "
                "picture as it is shown"
            )
        entries: list[Entry] = []
        for number, item in enumerate(document["objects"], start=1):
            record = (dict(item) if isinstance(item, dict) else {}) | {"id": number}
            label = label if isinstance(label := record.get("label"), str) else ""
            if record.get("deleted") not in (1, True):  # Whatever else stands there, the object is taken to be there.
                entries.append(Entry(label, record | _geometry(record.get("polygon"))))
        return Read(tuple(entries))

    def write(self, content: bytes | None, page: Page, scrubber: Scrubber) -> bytes:
        """Return the given file with what was done, and an object for each added instance that has a label."""
        height, width = page.size
        new: dict[str, Any] = {"imgHeight": height, "imgWidth": width, "objects": []}
        document = new if content is None else _document(content, page.name)
        treated = {i.record["id"]: (i, t) for i, t in page.treated if i.record is not None}
        objects: list[dict[str, Any]] = []
        for number, item in enumerate(document["objects"], start=1):
            kept = scrubber.record({"objects": [item]}, CITYSCAPES)["objects"]
            objects += [o | {"anonymizer": mark(*treated[number])} for o in kept] if number in treated else kept
        labels = [item.get("label") for item in objects]
        used = {self._meanings.label(label): label for label in labels if isinstance(label, str)}
        for instance, treatment in page.treated:
            label = _LABELS.get(instance.label) or used.get(instance.label)
            if instance.record is None and label is not None:
                points = [[round(x, 1), round(y, 1)] for x, y in outline(instance).tolist()]
                objects.append({"label": label, "polygon": points, "anonymizer": mark(instance, treatment)})
        whole = scrubber.record({key: value for key, value in document.items() if key != "objects"}, CITYSCAPES)
        return json.dumps(json.loads(to_json(whole | {"objects": objects})), indent=1).encode() + b"\n"

    @property
    def fields(self) -> Mapping[str, Any]:
        """Fields that stay."""
        return CITYSCAPES

    def told(self, content: bytes, what: str) -> Record:
        """Return the whole file."""
        return _document(content, what)


def _document(content: bytes, what: str) -> dict[str, Any]:
    document = parse_json(content, Path(what.removeprefix("annotations ")))
    if not isinstance(document, dict) or not isinstance(document.get("objects"), list):
        raise InputError(f"{what}: expected a Cityscapes file with imgHeight, imgWidth and a list of objects")
    return document


def _geometry(polygon: object) -> dict[str, Any]:
    """Return a polygon as in COCO; one that is no list of pairs stays as it is, to be refused there."""
    if polygon is None or polygon == []:
        return {}
    if isinstance(polygon, list) and all(isinstance(point, list) and len(point) == 2 for point in polygon):
        return {"segmentation": [[value for point in polygon for value in point]]}
    return {"segmentation": [polygon]}
