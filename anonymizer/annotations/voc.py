"""Pascal VOC annotations: one XML file per picture."""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

from anonymizer.annotations.categories import label_of
from anonymizer.annotations.fields import VOC
from anonymizer.annotations.files import Entry, Read
from anonymizer.annotations.records import CONSENT, Page, Record, Remark, mark
from anonymizer.annotations.scrubbing import Scrubber, told_by_xml
from anonymizer.core.errors import InputError
from anonymizer.core.geometry import integer_box, outline_box
from anonymizer.core.records import Instance, Treatment

__all__ = ["Voc", "parse_xml"]

_EDGES = ("xmin", "ymin", "xmax", "ymax")
_DEEPEST = 50
# Encodings of texts; Python knows others that are compressions or take long.
_DECLARED = re.compile(
    rb"""\s*<\?xml[^>]*?encoding=["'](utf-?8|us-ascii|iso-8859-\d+|latin-?1|windows-125\d|cp\d+|gbk?|gb2312|gb18030|big5|"""
    rb"""shift[_-]jis|euc-(?:jp|kr)|koi8-[ru])["']""",
    re.IGNORECASE,
)


class Voc:
    """Pascal VOC: boxes in pixels counted from 1, the last one included.

    The elements that ``fields.VOC`` lists stay. What was done to an object stands in its element ``anonymizer``.
    """

    @property
    def format(self) -> str:
        """``voc``."""
        return "voc"

    @property
    def categories(self) -> Mapping[int, Record]:
        """None: objects carry names."""
        return {}

    def place(self, released: str) -> str:
        """Return ``<name>.xml``."""
        return str(PurePosixPath(released).with_suffix(".xml"))

    def read(self, content: bytes, size: tuple[int, int] | None, what: str) -> Read:
        """Return the objects of a file; ``id`` is the object's place among them.

        Raises:
            InputError: No VOC file, or of a picture of another size.
        """
        root = _parse(content, what)
        if size is not None:
            _check_size(root, size, what)
        entries: list[Entry] = []
        remarks: list[Remark] = []
        objects = root.findall("object")
        misplaced = sum(item.tag.lower() == "object" for item in root.iter()) - len(objects)
        if misplaced:
            remarks.append(Remark("objects", f"{misplaced} of them not directly below annotation, left out"))
        for number, item in enumerate(objects, start=1):
            name = (item.findtext("name") or "").strip()
            notes = ["several boxes, the first one is used"] if len(item.findall("bndbox")) > 1 else []
            parts = {label_of(part.findtext("name") or "") for part in item.findall("part")} - {None}
            if parts and label_of(name) is None:
                notes.append(f"a part of it is a {' and a '.join(sorted(map(str, parts)))}, left alone")
            entries.append(Entry(name, {"id": number} | _consent(item) | _geometry(item, notes)))
            remarks += [Remark(f"annotation {number}", note) for note in notes]
        return Read(tuple(entries), tuple(remarks))

    def write(self, content: bytes | None, page: Page, scrubber: Scrubber) -> bytes:
        """Return the given file with what was done, and an object for each added instance."""
        root = ElementTree.Element("annotation") if content is None else _parse(content, page.name)
        treated = {i.record["id"]: (i, t) for i, t in page.treated if i.record is not None}
        scrubber.element(root, VOC)
        for number, item in enumerate(root.findall("object"), start=1):
            if number in treated:
                _mark(item, *treated[number])
        released = PurePosixPath(page.released)
        _set(root, "folder", released.parent.name)
        _set(root, "filename", released.name)
        if root.find("path") is not None:
            _set(root, "path", page.released)
        if root.find("size") is None:
            _set(root, "size", "")
            dimensions = root.find("size")
            for name, value in (("width", page.size[1]), ("height", page.size[0]), ("depth", 3)):
                _set(dimensions, name, str(value))
        for instance, treatment in page.treated:
            if instance.record is None:
                root.append(_added(instance, treatment))
        ElementTree.indent(root)
        return ElementTree.tostring(root, encoding="unicode").encode() + b"\n"

    @property
    def fields(self) -> Mapping[str, Any]:
        """Elements that stay."""
        return VOC

    def told(self, content: bytes, what: str) -> Record:
        """Return the whole file as plain data."""
        return told_by_xml(_parse(content, what))


def parse_xml(content: bytes, what: str, tag: str, expected: str) -> ElementTree.Element:
    """Return the root of XML that is neither an attack nor of another format.

    Args:
        content: The file.
        what: What to call it in messages.
        tag: The root's tag.
        expected: Name of the format, for messages.

    Raises:
        InputError: Anything else.
    """
    from defusedxml import ElementTree as Safe
    from defusedxml.common import DefusedXmlException

    try:
        root: ElementTree.Element = Safe.fromstring(_decode(content), forbid_dtd=True)
    except DefusedXmlException as error:
        raise InputError(f"{what}: XML with a document type or entities, as attacks have; remove them") from error
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise InputError(f"{what}: expected {expected} as XML, got {str(error)[:100]}; export it again") from error
    if root.tag != tag:
        raise InputError(f"{what}: expected the element {tag} of {expected}, got {root.tag[:60]!r}")
    if _depth(root) > _DEEPEST:
        raise InputError(f"{what}: elements nested more than {_DEEPEST} deep, expected {expected}; export it again")
    return root


def _parse(content: bytes, what: str) -> ElementTree.Element:
    return parse_xml(content, what, "annotation", "Pascal VOC")


def _decode(content: bytes) -> str:
    """Return XML as text: by its byte order mark, else as declared, else as UTF-8, else as Latin-1."""
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    marked = [name for mark, name in marks.items() if content.startswith(mark)]
    declared = _DECLARED.match(content[:200].replace(b"\0", b""))
    named = [] if declared is None else [declared[1].decode("ascii")]
    # UTF-16 without a mark shows by the zero beside its first character.
    wide = ["utf-16-be" if content[:1] == b"\0" else "utf-16-le"] if b"\0" in content[:2] else []
    for name in [*marked, *wide, *named, "utf-8"]:
        try:
            return content.decode(name)
        except (UnicodeError, LookupError):
            continue
    return content.decode("latin-1")


def _depth(root: ElementTree.Element) -> int:
    depth, level = 0, [root]
    while level and depth <= _DEEPEST:
        depth, level = depth + 1, [child for item in level for child in item]
    return depth


def _check_size(root: ElementTree.Element, size: tuple[int, int], what: str) -> None:
    stated = tuple(_number(root.findtext(f"size/{name}")) for name in ("height", "width"))
    # Some tools write zeros where they do not know.
    if all(stated) and stated != size:
        raise InputError(
            f"{what}: stated as {stated[1]:g}x{stated[0]:g}, the picture is {size[1]}x{size[0]} upright; annotate the "
            "picture as it is shown"
        )


def _consent(item: ElementTree.Element) -> dict[str, Any]:
    """Return what an object's attributes say of consent, once or more often; nothing where they do not."""
    said = []
    for attribute in item.iterfind("attributes/attribute"):
        name = attribute.get("name") or attribute.findtext("name") or ""
        if name.strip().lower() == CONSENT:
            said.append(attribute.findtext("value") or attribute.text or "")
    agreed = all(value.strip().lower() == "true" for value in said)
    return {"attributes": {CONSENT: "true" if agreed else "false"}} if said else {}


def _geometry(item: ElementTree.Element, notes: list[str]) -> dict[str, Any]:
    """Return an object's geometry as in COCO: of its box, else of its rotated box or polygon."""
    found = [_number(item.findtext(f"bndbox/{edge}")) for edge in _EDGES]
    edges = [edge for edge in found if edge is not None]
    if len(edges) == len(_EDGES):
        x1, x2 = sorted(edges[0::2])
        y1, y2 = sorted(edges[1::2])
        if edges != [x1, y1, x2, y2]:
            notes.append("box with swapped corners, put right")
        # Pixels are counted from 1 and the last one belongs to the box. Tools that count from 0 are covered as well.
        return {"bbox": [x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1]}
    rotated = item.find("robndbox")
    if rotated is not None:
        x, y, w, h, angle = (_number(rotated.findtext(tag)) or 0.0 for tag in ("cx", "cy", "w", "h", "angle"))
        c, s = math.cos(angle), math.sin(angle)
        corners = [(i * w / 2, j * h / 2) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        return {"segmentation": [[v for a, b in corners for v in (x + a * c - b * s, y + a * s + b * c)]]}
    polygon = item.find("polygon")
    if polygon is not None:
        return {"segmentation": [_points(polygon)]}
    return {} if item.find("bndbox") is None else {"bbox": found}


def _points(polygon: ElementTree.Element) -> list[float]:
    """Return a polygon's x and y in turns: of elements x1, y1, x2, ... or of points with x and y."""
    points = [child for child in polygon if child.find("x") is not None]
    if points:
        texts = [child.findtext(axis) for child in points for axis in ("x", "y")]
    else:
        count = sum(child.tag.startswith("x") for child in polygon)
        texts = [polygon.findtext(f"{axis}{number}") for number in range(1, count + 1) for axis in ("x", "y")]
    return [math.nan if (value := _number(text)) is None else value for text in texts]


def _mark(item: ElementTree.Element, instance: Instance, treatment: Treatment) -> None:
    for earlier in item.findall("anonymizer"):
        item.remove(earlier)
    note = ElementTree.SubElement(item, "anonymizer")
    for key, value in mark(instance, treatment).items():
        _set(note, key, str(value))


def _added(instance: Instance, treatment: Treatment) -> ElementTree.Element:
    item = ElementTree.Element("object")
    for key, value in (("name", instance.label), ("pose", "Unspecified"), ("truncated", "0"), ("difficult", "0")):
        _set(item, key, value)
    x1, y1, x2, y2 = integer_box(outline_box(instance))
    box = ElementTree.SubElement(item, "bndbox")
    for edge, place in zip(_EDGES, (x1 + 1, y1 + 1, x2, y2), strict=True):
        _set(box, edge, str(place))
    _mark(item, instance, treatment)
    return item


def _set(parent: ElementTree.Element | None, tag: str, text: str) -> None:
    if parent is None:
        return
    child = parent.find(tag)
    if child is None:
        child = ElementTree.SubElement(parent, tag)
    child.text = text


def _number(text: str | None) -> float | None:
    """Return a finite number, None if the text is none."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
