"""Pascal VOC annotations: one XML file per picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

from anonymizer.annotations.per_file import Entry, Read
from anonymizer.annotations.records import Page, Record, mark
from anonymizer.annotations.scrubbing import IDENTIFYING, REMOVED, Scrubber
from anonymizer.errors import InputError
from anonymizer.geometry import integer_box, outline_box
from anonymizer.types import Instance, Treatment

__all__ = ["Voc"]

_EDGES = ("xmin", "ymin", "xmax", "ymax")
#: Elements whose ``name`` is that of a category or field, not of a person.
_KINDS = frozenset({"object", "part", "attribute"})
_DEEPEST = 50


class Voc:
    """Pascal VOC: boxes in pixels counted from 1, the last one included.

    Everything in a file stays but the texts that identify: names and folders of the original, its place in the web,
    and texts that repeat a plate or a name. What was done to an object stands in its element ``anonymizer``.
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
            InputError: No VOC file, of a picture of another size, or with a malformed box.
        """
        root = _parse(content, what)
        if size is not None:
            _check_size(root, size, what)
        return Read(tuple(_entry(number, item, what) for number, item in enumerate(root.findall("object"), start=1)))

    def write(self, content: bytes | None, page: Page, scrubber: Scrubber) -> bytes:
        """Return the given file with what was done, and an object for each added instance."""
        root = ElementTree.Element("annotation") if content is None else _parse(content, page.name)
        treated = {i.record["id"]: (i, t) for i, t in page.treated if i.record is not None}
        _scrub(root, scrubber, treated=True)
        for number, item in enumerate(root.findall("object"), start=1):
            if number in treated:
                _scrub(item, scrubber, treated=True)
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

    def shared(self) -> Iterator[tuple[str, bytes]]:
        """Yield nothing."""
        return iter(())


def _parse(content: bytes, what: str) -> ElementTree.Element:
    from defusedxml import ElementTree as Safe
    from defusedxml.common import DefusedXmlException

    try:
        root: ElementTree.Element = Safe.fromstring(content, forbid_dtd=True)
    except DefusedXmlException as error:
        raise InputError(f"{what}: XML with a document type or entities, as attacks have; remove them") from error
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise InputError(f"{what}: expected Pascal VOC as XML, got {str(error)[:100]}; export it again") from error
    if root.tag != "annotation":
        raise InputError(f"{what}: expected the element annotation of Pascal VOC, got {root.tag[:60]!r}")
    if _depth(root) > _DEEPEST:
        raise InputError(f"{what}: elements nested more than {_DEEPEST} deep, expected Pascal VOC; export it again")
    return root


def _depth(root: ElementTree.Element) -> int:
    depth, level = 0, [root]
    while level and depth <= _DEEPEST:
        depth, level = depth + 1, [child for item in level for child in item]
    return depth


def _check_size(root: ElementTree.Element, size: tuple[int, int], what: str) -> None:
    stated = tuple(_number(root.findtext(f"size/{name}", "0"), what) for name in ("height", "width"))
    # Some tools write zeros where they do not know.
    if all(stated) and stated != size:
        raise InputError(
            f"{what}: stated as {stated[1]:g}x{stated[0]:g}, the picture is {size[1]}x{size[0]} upright; annotate the "
            "picture as it is shown"
        )


def _entry(number: int, item: ElementTree.Element, what: str) -> Entry:
    where = f"{what}: object {number}"
    name = (item.findtext("name") or "").strip()
    if not name:
        raise InputError(f"{where}: expected a name; add its category")
    x1, y1, x2, y2 = (_number(item.findtext(f"bndbox/{edge}", ""), where) for edge in _EDGES)
    # Pixels are counted from 1 and the last one belongs to the box. Tools that count from 0 are covered as well.
    record: dict[str, Any] = {"id": number, "bbox": [x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1], "fields": _fields(item)}
    return Entry(name, record)


def _fields(item: ElementTree.Element) -> list[dict[str, str]]:
    """Return the texts of identifying fields, for comparison."""
    out = [{"text": child.text.strip()} for child in _children(item) if _identifies(child) and child.text]
    for child in item.iter("attribute"):
        if (child.findtext("name") or "").strip().lower() in IDENTIFYING:
            out.append({"text": (child.findtext("value") or "").strip()})
    return out


def _children(item: ElementTree.Element) -> Iterator[ElementTree.Element]:
    """Yield every element below one, but for the names of categories and attributes."""
    for child in item:
        if child.tag != "name":
            yield child
        yield from _children(child)


def _identifies(element: ElementTree.Element) -> bool:
    return element.tag.lower() in IDENTIFYING or "url" in element.tag.lower()


def _scrub(root: ElementTree.Element, scrubber: Scrubber, *, treated: bool) -> None:
    """Take identifying elements and texts out of a file's own fields or of an object; objects inside are left alone."""
    for child in list(root):
        if child.tag == "object":
            _scrub_texts(child, scrubber)
        elif treated and _identifies(child) and not (child.tag == "name" and root.tag in _KINDS):
            root.remove(child)
        elif child.tag == "attribute" and (child.findtext("name") or "").strip().lower() in IDENTIFYING:
            _set(child, "value", REMOVED)
        else:
            _scrub(child, scrubber, treated=treated)
    _scrub_own(root, scrubber)


def _scrub_texts(root: ElementTree.Element, scrubber: Scrubber) -> None:
    for element in root.iter():
        _scrub_own(element, scrubber)


def _scrub_own(element: ElementTree.Element, scrubber: Scrubber) -> None:
    if element.text and element.text.strip():
        element.text = scrubber.text(element.text)
    if element.tail and element.tail.strip():
        element.tail = scrubber.text(element.tail)
    for key, value in element.attrib.items():
        element.set(key, scrubber.text(value))


def _mark(item: ElementTree.Element, instance: Instance, treatment: Treatment) -> None:
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


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{what}: expected a number, got {text[:40]!r}")
    return value
