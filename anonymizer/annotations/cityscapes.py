"""Cityscapes polygons: one JSON file per picture, named ``*_gtFine_polygons.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from anonymizer.annotations.fields import CITYSCAPES
from anonymizer.annotations.outline import outline
from anonymizer.annotations.per_file import Entry, Read
from anonymizer.annotations.records import Page, Record, label_of, mark, parse_json
from anonymizer.annotations.scrubbing import Scrubber
from anonymizer.dataset.ledger import to_json
from anonymizer.errors import InputError

__all__ = ["ENDINGS", "Cityscapes"]

#: How the names of annotation files end.
ENDINGS = ("_gtFine_polygons.json", "_gtCoarse_polygons.json", "_polygons.json")
#: Labels for what is added. The Cityscapes tools stop at labels they do not know, and they know no faces and no text.
_LABELS = {"person": "person", "license_plate": "license plate"}


class Cityscapes:
    """Cityscapes polygons. The fields that ``fields.CITYSCAPES`` lists stay.

    What was done to an object stands under ``anonymizer``.

    Faces and texts that were added stand in ``annotations.json`` alone, unless a file uses such a label itself.
    """

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

        Polygons are cut at the picture's border, which those of Cityscapes often cross.

        Raises:
            InputError: No Cityscapes file, of a picture of another size, or with a malformed polygon.
        """
        document = _document(content, what)
        stated = document.get("imgHeight"), document.get("imgWidth")
        if size is not None and stated != size:
            raise InputError(
                f"{what}: stated as {stated[1]}x{stated[0]}, the picture is {size[1]}x{size[0]} upright; annotate the "
                "picture as it is shown"
            )
        out = []
        for number, item in enumerate(document["objects"], start=1):
            label = item.get("label") if isinstance(item, dict) else None
            if not isinstance(label, str):
                raise InputError(f"{what}: object {number}: expected an object with a label")
            record = dict(item) | {"id": number}
            if label_of(label) is not None and not item.get("deleted"):
                record |= _geometry(item.get("polygon"), size, f"{what}: object {number}")
                out.append(Entry(label, record))
            else:
                out.append(Entry("", record))  # No category of ours: nothing is looked up but its texts.
        return Read(tuple(out))

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
        used = {label_of(item["label"]): item["label"] for item in objects if "label" in item}
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

    def shared(self, scrubber: Scrubber) -> Iterator[tuple[str, bytes]]:
        """Yield nothing."""
        return iter(())


def _document(content: bytes, what: str) -> dict[str, Any]:
    document = parse_json(content, Path(what.removeprefix("annotations ")))
    if not isinstance(document, dict) or not isinstance(document.get("objects"), list):
        raise InputError(f"{what}: expected a Cityscapes file with imgHeight, imgWidth and a list of objects")
    return document


def _geometry(polygon: object, size: tuple[int, int] | None, what: str) -> dict[str, Any]:
    points = polygon if isinstance(polygon, list) else []
    if len(points) < 3 or not all(_is_point(point) for point in points):
        raise InputError(f"{what}: a polygon needs at least 3 points [x, y] of finite numbers")
    height, width = (math.inf, math.inf) if size is None else size
    flat = [value for x, y in points for value in (min(max(x, 0), width), min(max(y, 0), height))]
    x1, y1, x2, y2 = min(flat[0::2]), min(flat[1::2]), max(flat[0::2]), max(flat[1::2])
    if x2 <= x1 or y2 <= y1:
        raise InputError(f"{what}: the polygon covers nothing of the picture; correct it")
    return {"segmentation": [flat], "bbox": [x1, y1, x2 - x1, y2 - y1]}


def _is_point(point: object) -> bool:
    return (
        isinstance(point, list)
        and len(point) == 2
        and all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e7 for v in point)
    )
