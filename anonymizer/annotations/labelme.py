"""LabelMe annotations: one JSON file per picture."""

from __future__ import annotations

import base64
import binascii
import json
import math
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.annotations.categories import Meanings
from anonymizer.annotations.fields import LABELME
from anonymizer.annotations.files import Entry, Read
from anonymizer.annotations.records import Page, Record, Remark, mark, parse_json
from anonymizer.annotations.scrubbing import Scrubber
from anonymizer.annotations.shapes import ellipse, finite, mask_record, outline, polygon, rectangle
from anonymizer.core.errors import InputError
from anonymizer.core.files import to_json

__all__ = ["LabelMe", "is_labelme"]

_PNG = b"\x89PNG\r\n\x1a\n"
#: Shapes without an area; they stay as they are.
_THIN = ("point", "points", "line", "linestrip")
#: Longest side of a mask and most pixels, as of no picture that is read.
_LONGEST_SIDE, _MOST_PIXELS = 2**17, 200_000_000


@dataclass(frozen=True, slots=True)
class LabelMe:
    """LabelMe: polygons, rectangles, circles and masks. What was done to a shape stands under ``anonymizer``.

    The embedded picture (``imageData``) is the original and never stays; ``imagePath`` leads to the released one.

    Args:
        meanings: What labels mean.
    """

    meanings: Meanings = field(default_factory=Meanings)

    @property
    def format(self) -> str:
        """``labelme``."""
        return "labelme"

    @property
    def categories(self) -> Mapping[int, Record]:
        """None: shapes carry names."""
        return {}

    @property
    def fields(self) -> Mapping[str, Any]:
        """Fields that stay."""
        return LABELME

    def place(self, released: str) -> str:
        """Return ``<name>.json``."""
        return str(PurePosixPath(released).with_suffix(".json"))

    def read(self, content: bytes, size: tuple[int, int] | None, what: str) -> Read:
        """Return the shapes of a file; ``id`` is the shape's place among all, from 1.

        Raises:
            InputError: No LabelMe file, or of a picture of another size.
        """
        document = _document(content, what)
        stated = document.get("imageHeight"), document.get("imageWidth")
        if size is not None and all(stated) and stated != size:
            raise InputError(
                f"{what}: stated as {stated[1]}x{stated[0]}, the picture is {size[1]}x{size[0]} upright; annotate the "
                "picture as it is shown"
            )
        entries, remarks = [], []
        for number, shape in enumerate(document["shapes"], start=1):
            where = f"shape {number}"
            label = shape.get("label") if isinstance(shape, dict) else None
            if not isinstance(label, str):
                remarks.append(Remark(where, "no object with a label, left out"))
                continue
            geometry = _geometry(shape, size)
            if isinstance(geometry, str):
                if self.meanings.label(label) is not None:
                    remarks.append(Remark(where, geometry))
                else:
                    entries.append(Entry(label, {"id": number}))
                continue
            texts = {key: value for key, value in shape.items() if key not in ("points", "mask")}
            entries.append(Entry(label, texts | geometry | {"id": number}))
        return Read(tuple(entries), tuple(remarks))

    def told(self, content: bytes, what: str) -> Record:
        """Return the whole file but the pictures in it."""
        document = dict(_document(content, what))
        document.pop("imageData", None)
        document.pop("imagePath", None)
        shapes = [shape for shape in document["shapes"] if isinstance(shape, dict)]
        return document | {"shapes": [{k: v for k, v in shape.items() if k != "mask"} for shape in shapes]}

    def write(self, content: bytes | None, page: Page, scrubber: Scrubber) -> bytes:
        """Return the given file with what was done, and a polygon for each added instance."""
        document: Mapping[str, Any] = {"shapes": []} if content is None else _document(content, page.name)
        treated = {i.record["id"]: (i, t) for i, t in page.treated if i.record is not None}
        shapes: list[dict[str, Any]] = []
        used: dict[str | None, str] = {}
        for number, shape in enumerate(document["shapes"], start=1):
            # The mask is written anew: a text in its place could be anything.
            plain = {k: v for k, v in shape.items() if k != "mask"} if isinstance(shape, dict) else shape
            for kept in scrubber.record({"shapes": [plain]}, LABELME)["shapes"]:
                mask = _mask(shape) if kept.get("shape_type") == "mask" else None
                again = {} if mask is None else {"mask": _packed(mask)}
                note = {"anonymizer": mark(*treated[number])} if number in treated else {}
                shapes.append(kept | again | note)
                if isinstance(kept.get("label"), str):
                    used.setdefault(self.meanings.label(kept["label"]), kept["label"])
        for instance, treatment in page.treated:
            if instance.record is None:
                points = [[round(x, 1), round(y, 1)] for x, y in outline(instance).tolist()]
                label = used.get(instance.label, instance.label)
                shapes.append(_polygon(label, points) | {"anonymizer": mark(instance, treatment)})
        head = {k: v for k, v in document.items() if k not in ("shapes", "imageData", "imagePath")}
        folder = PurePosixPath("annotations", self.place(page.released)).parent
        whole = {"version": "5.0.0", "flags": {}} | scrubber.record(head, LABELME)
        whole |= {
            "shapes": shapes,
            "imagePath": posixpath.relpath(f"images/{page.released}", str(folder)),
            "imageData": None,
            "imageHeight": page.size[0],
            "imageWidth": page.size[1],
        }
        return json.dumps(json.loads(to_json(whole)), indent=1).encode() + b"\n"


def is_labelme(document: object) -> bool:
    """Return whether a JSON document is a LabelMe file."""
    return isinstance(document, dict) and isinstance(document.get("shapes"), list) and "imagePath" in document


def _document(content: bytes, what: str) -> dict[str, Any]:
    document = parse_json(content, Path(what.removeprefix("annotations ")))
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        raise InputError(f"{what}: expected a LabelMe file with a list of shapes")
    return document


def _polygon(label: str, points: list[list[float]]) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": "polygon", "flags": {}}


def _geometry(shape: Mapping[str, Any], size: tuple[int, int] | None) -> dict[str, Any] | str:
    """Return the geometry of a shape, or why it has none."""
    kind = shape.get("shape_type") or "polygon"
    if kind in _THIN:
        return f"a {kind} without area, left alone"
    points = _points(shape.get("points"))
    if points is None:
        return "points are not pairs of finite numbers, left out"
    if kind == "mask" and len(points) == 2:
        mask = _mask(shape)
        if mask is None:
            return "a mask that cannot be read, left out"
        (x1, y1), (x2, y2) = points
        height, width = size or (math.ceil(max(y1, y2)) + 1, math.ceil(max(x1, x2)) + 1)
        return mask_record(mask, round(min(x1, x2)), round(min(y1, y2)), (height, width))
    if kind == "rectangle" and len(points) == 2:
        return rectangle(*points[0], *points[1])
    if kind == "circle" and len(points) == 2:
        radius = math.dist(points[0], points[1])
        return ellipse(*points[0], radius, radius)
    if kind in ("polygon", "rectangle", "oriented_rectangle") and len(points) >= 3:
        return polygon(points)
    return "not a shape of LabelMe with points as it needs, left out"


def _points(value: object) -> list[tuple[float, float]] | None:
    if not isinstance(value, list) or not all(isinstance(point, list) and len(point) == 2 for point in value):
        return None
    points = [(finite(x), finite(y)) for x, y in value]
    return None if any(math.isnan(number) for point in points for number in point) else points


def _mask(shape: Mapping[str, Any]) -> NDArray[np.bool_] | None:
    """Return the mask of a shape, a PNG in base64, as bool (h, w); None if it is none or not as large as its box."""
    points, text = _points(shape.get("points")), shape.get("mask")
    if points is None or len(points) != 2 or not isinstance(text, str):
        return None
    (x1, y1), (x2, y2) = points
    if max(abs(number) for point in points for number in point) > _LONGEST_SIDE:
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    # The header's size is looked at first: a small file can claim to be a huge picture.
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    expected = round(abs(x2 - x1)) + 1, round(abs(y2 - y1)) + 1
    if (
        width * height > _MOST_PIXELS
        or not data.startswith(_PNG)
        or not all(0 <= a - b <= 1 for a, b in zip(expected, (width, height), strict=True))
    ):
        return None
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error:
        return None
    return None if found is None or found.shape != (height, width) else np.asarray(found) > 0


def _packed(mask: NDArray[np.bool_]) -> str:
    done, data = cv2.imencode(".png", mask.astype(np.uint8) * 255)
    if not done:
        raise InputError("a mask of LabelMe cannot be written as PNG")
    return base64.b64encode(data.tobytes()).decode("ascii")
