"""CVAT for images 1.1: one XML file for many pictures."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from anonymizer.annotations.categories import Meanings
from anonymizer.annotations.fields import CVAT_HEAD, CVAT_IMAGE, NAME, Each
from anonymizer.annotations.files import Entry, Read, SharedFile, shared_file
from anonymizer.annotations.records import Page, Record, Remark, mark
from anonymizer.annotations.scrubbing import Scrubber, told_by_xml
from anonymizer.annotations.shapes import ellipse, finite, mask_record, outline, polygon, rectangle
from anonymizer.annotations.voc import parse_xml
from anonymizer.core.errors import InputError
from anonymizer.core.records import Instance, Treatment
from anonymizer.images.release import Release

__all__ = ["Cvat", "cvat_from", "is_cvat"]

#: Shapes with an area.
_AREAS = ("box", "polygon", "ellipse", "mask")
#: Shapes without one, or of several parts; they stay as they are.
_OTHERS = ("polyline", "points", "skeleton", "cuboid")
#: Largest mask in pixels: the largest picture that is read has 200 million.
_MOST_PIXELS = 200_000_000
_ROOT = re.compile(rb"<annotations[\s>]")
_RUNS = re.compile(r"\s*\d{1,9}(?:\s*,\s*\d{1,9})*\s*", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Cvat:
    """CVAT for images. What was done to a shape stands in attributes ``anonymizer_action`` and the like.

    Args:
        head: The file without its images.
        meanings: What labels mean.
    """

    head: bytes
    meanings: Meanings

    @property
    def format(self) -> str:
        """``cvat``."""
        return "cvat"

    @property
    def categories(self) -> Mapping[int, Record]:
        """None: shapes carry names."""
        return {}

    @property
    def fields(self) -> Mapping[str, Any]:
        """Names of classes; what else ``told`` returns is left out."""
        return {"labels": Each(NAME)}

    def place(self, released: str) -> str:
        """Return the picture's own name: its part has no file."""
        return released

    def file_name(self, given: str, release: Release) -> str:
        """Return the released file's name."""
        return "annotations.xml" if release.rename else given

    def read(self, content: bytes, size: tuple[int, int] | None, what: str) -> Read:
        """Return the shapes of an image that have an area; ``id`` is the shape's place among all, from 1.

        Raises:
            InputError: An image of another size.
        """
        image = parse_xml(content, what, "image", "CVAT for images")
        stated = finite(image.get("height")), finite(image.get("width"))
        if size is not None and not any(map(math.isnan, stated)) and stated != size:
            raise InputError(
                f"{what}: image stated as {stated[1]:g}x{stated[0]:g}, the picture is {size[1]}x{size[0]} upright; "
                "annotate the picture as it is shown"
            )
        entries, remarks = [], []
        for number, shape in enumerate(image, start=1):
            label = shape.get("label", "")
            known = shape.tag in (*_AREAS, *_OTHERS)
            if shape.tag == "tag" or not (known or label):
                continue
            where = f"shape {number} ({shape.tag})" if known else f"shape {number}"
            geometry = _geometry(shape, size)
            if isinstance(geometry, str):
                if self.meanings.label(label) is not None:
                    remarks.append(Remark(where, geometry))
                else:
                    entries.append(Entry(label, {"id": number}))
                continue
            entries.append(Entry(label, _told_shape(shape) | geometry | {"id": number}))
        return Read(tuple(entries), tuple(remarks))

    def told(self, content: bytes, what: str) -> Record:
        """Return attributes and what else an image holds that no list names."""
        image = parse_xml(content, what, "image", "CVAT for images")
        labels = [label for element in image.iter() if (label := element.get("label")) is not None]
        shapes = [_told_shape(shape) for shape in image]
        own = {key: value for key, value in image.attrib.items() if f"@{key}" not in CVAT_IMAGE and key != "name"}
        others = [told_by_xml(child) for child in image if child.tag not in CVAT_IMAGE]
        return {"labels": labels, "image": own, "shapes": shapes, "others": others}

    def write(self, content: bytes | None, page: Page, scrubber: Scrubber) -> bytes:
        """Return the image's part with what was done, and a polygon for each added instance."""
        image = ElementTree.Element("image") if content is None else parse_xml(content, page.name, "image", "CVAT")
        treated = {i.record["id"]: (i, t) for i, t in page.treated if i.record is not None}
        shapes = list(image)
        image.attrib.pop("name", None)
        scrubber.element(image, CVAT_IMAGE, "image")
        used: dict[str | None, str] = {}
        for shape in image:
            used.setdefault(self.meanings.label(shape.get("label", "")), shape.get("label", ""))
        for number, shape in enumerate(shapes, start=1):
            if number in treated:
                _mark(shape, *treated[number])
        for instance, treatment in page.treated:
            if instance.record is None:
                points = ";".join(f"{x:.2f},{y:.2f}" for x, y in outline(instance).tolist())
                fields = {"label": used.get(instance.label, instance.label), "source": "auto", "occluded": "0"}
                _mark(ElementTree.SubElement(image, "polygon", {**fields, "points": points}), instance, treatment)
        image.attrib = {**image.attrib, "name": page.released}
        image.attrib |= {"width": str(page.size[1]), "height": str(page.size[0])}
        return ElementTree.tostring(image, encoding="unicode").encode()

    def joined(self, parts: Iterable[str], scrubber: Scrubber) -> bytes:
        """Return the released file: version, labels and images; who made it, when and where is left out."""
        root = parse_xml(self.head, "annotations", "annotations", "CVAT for images")
        scrubber.element(root, CVAT_HEAD)
        free = 0
        for part in parts:
            image = parse_xml(part.encode(), "annotations", "image", "CVAT for images")
            number = image.get("id", "")
            free = max(free, int(number) + 1) if number.isdecimal() and len(number) < 12 else free
            root.append(image)
        for image in root.findall("image"):
            if "id" not in image.attrib:
                image.attrib = {"id": str(free), **image.attrib}
                free += 1
        ElementTree.indent(root)
        return (
            b'<?xml version="1.0" encoding="utf-8"?>\n'
            + ElementTree.tostring(root, encoding="unicode").encode()
            + b"\n"
        )


def is_cvat(start: bytes) -> bool:
    """Return whether XML starts as that of CVAT does."""
    return _ROOT.search(start) is not None


def cvat_from(content: bytes, path: Path, meanings: Meanings) -> SharedFile:
    """Take a CVAT file apart.

    Raises:
        InputError: No CVAT for images: of a video, without images, or hostile XML.
    """
    root = parse_xml(content, f"annotations {path}", "annotations", "CVAT for images")
    if root.find("track") is not None:
        raise InputError(
            f"annotations {path}: CVAT for video (tracks over frames), expected CVAT for images; export the task again "
            "as 'CVAT for images 1.1'"
        )
    images = root.findall("image")
    parts = []
    for number, image in enumerate(images, start=1):
        name = image.get("name", "")
        if not name:
            raise InputError(f"annotations {path}: image {number} has no name; export the file again")
        image.tail = None
        parts.append((name, ElementTree.tostring(image, encoding="unicode").encode()))
        root.remove(image)
    head = copy.copy(root)
    codec = Cvat(ElementTree.tostring(head, encoding="unicode").encode(), meanings)
    return shared_file(path, codec, parts, meanings)


def _told_shape(shape: ElementTree.Element) -> dict[str, Any]:
    """Return the attributes of a shape, and what it holds that no list names."""
    listed: Any = CVAT_IMAGE.get(shape.tag, {})
    own = {key: value for key, value in shape.attrib.items() if f"@{key}" not in listed and key not in ("id", "label")}
    return own | {"attributes": {item.get("name", ""): item.text or "" for item in shape.iter("attribute")}}


def _geometry(shape: ElementTree.Element, size: tuple[int, int] | None) -> dict[str, Any] | str:
    """Return the geometry of a shape, or why it has none."""

    def numbers(*names: str) -> list[float]:
        return [finite(shape.get(name)) for name in names]

    if shape.tag not in _AREAS:
        return "a shape without an area of its own, left alone"
    turned = finite(shape.get("rotation", "0"))
    if shape.tag == "box" or shape.tag == "ellipse":
        box = shape.tag == "box"
        values = numbers("xtl", "ytl", "xbr", "ybr") if box else numbers("cx", "cy", "rx", "ry")
        if any(map(math.isnan, (*values, turned))):
            return "coordinates are not finite numbers, left out"
        x, y, a, b = values
        return rectangle(x, y, a, b, turned) if box else ellipse(x, y, a, b, turned)
    if shape.tag == "polygon":
        points = [tuple(finite(part) for part in pair.split(",")) for pair in shape.get("points", "").split(";")]
        if len(points) < 3 or not all(len(p) == 2 and not any(map(math.isnan, p)) for p in points):
            return "a polygon needs at least 3 points of finite numbers, left out"
        return polygon([(point[0], point[1]) for point in points])
    values = numbers("left", "top", "width", "height")
    if any(map(math.isnan, values)) or not all(value == int(value) for value in values):
        return "a mask whose place is not in whole pixels, left out"
    left, top, width, height = (int(value) for value in values)
    mask = _mask(shape.get("rle", ""), (height, width))
    if mask is None:
        return "a mask whose run lengths do not fill its box, left out"
    return mask_record(mask, left, top, size or (max(top, 0) + height, max(left, 0) + width))


def _mask(text: str, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Return what CVAT's run lengths say, bool (h, w): row by row, beginning with what is not set; None if odd."""
    height, width = shape
    if _RUNS.fullmatch(text) is None or min(shape) <= 0 or height * width > _MOST_PIXELS:
        return None
    counts = np.array([int(part) for part in text.split(",")], dtype=np.int64)
    if counts.sum() != height * width:
        return None
    return np.repeat(np.arange(counts.size) % 2 == 1, counts).reshape(height, width)


def _mark(shape: ElementTree.Element, instance: Instance, treatment: Treatment) -> None:
    for item in shape.findall("attribute"):
        if item.get("name", "").startswith("anonymizer_"):
            shape.remove(item)
    for key, value in mark(instance, treatment).items():
        ElementTree.SubElement(shape, "attribute", {"name": f"anonymizer_{key}"}).text = str(value)
