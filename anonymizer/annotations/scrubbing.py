"""Taking out of annotations what may tell who or where: fields by an allow-list, plates and names out of texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any
from xml.etree import ElementTree

from anonymizer.annotations.categories import label_of
from anonymizer.annotations.fields import ATTRIBUTES, Attributes, Each, Field, Text
from anonymizer.images.names import LEAST_TEXT, normalized, repeats, text_hints

__all__ = ["REMOVED", "Scrubber", "attribute_name", "identities", "name_parts", "told_by_xml", "without_keypoints"]

#: What stands where a text was that tells who or where, and that the format cannot do without.
REMOVED = "[removed]"
#: What a field is called whose own name may tell; it is counted, not named.
UNNAMED = "(name withheld)"
#: Words in names of fields whose texts are plates, or names of persons and places.
_TELLING = frozenset(
    {
        "address", "artist", "author", "callsign", "caption", "celebrity", "city", "contributor", "creator",
        "driver", "email", "flickrid", "gps", "identity", "licence", "license", "location", "lp", "name",
        "names", "nick", "nickname", "ocr", "owner", "passenger", "person", "phone", "photographer", "pid",
        "place", "plate", "plates", "registration", "serial", "signature", "street", "subject", "surname",
        "text", "title", "transcription", "user", "username", "utf8", "vehicle", "vin",
    }
)  # fmt: skip
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
#: Fields that hold the picture's own name, which is a secret only where it is not released: see ``name_parts``.
_FILE_NAMES = frozenset({"file_name", "filename"})
# Names of fields as programs write them; anything else may be data that became a key.
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z_.:-]{0,39}\d{0,2}", re.ASCII)
_URL = re.compile(r"\b(?:https?|ftp|s3|gs|file)://|\bwww\.", re.IGNORECASE)
# "CC BY 4.0" has the form of a plate.
_LICENCE = re.compile(r"\bCC[ -]BY(?:-[A-Z]{2})*[ -]\d\.\d\b")
#: What stands for no value.
_GONE = object()
_PAIR = ("name", "value")


def identities(
    records: Iterable[Mapping[str, Any]],
    read: Iterable[str] = (),
    *,
    fields: Mapping[str, Any] = MappingProxyType({}),
    keep: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return the plates and names known of a picture.

    Args:
        records: All that is known about it. Texts count, however deep, in fields whose names speak of plates, persons
            or places, and elsewhere the part that looks like a plate or an address; names of classes do not count.
        read: What OCR read on its plates.
        fields: What stays of the records, see ``fields``: that is no secret.
        keep: Fields that are kept on purpose; what they hold is none either.

    Returns:
        Distinct texts with at least four letters and digits: shorter ones occur everywhere by chance.
    """
    records = tuple(records)
    found = [text for record in records for text in _texts(record, fields, (), keep, telling=False)] + list(read)
    classes = {name for record in records for name in _names(record, fields)}
    return tuple(
        dict.fromkeys(
            text
            for text in found
            if len(normalized(text)) >= LEAST_TEXT and label_of(text) is None and text not in classes
        )
    )


def name_parts(name: str, released: str) -> tuple[str, ...]:
    """Return the folders and the stem of a picture's relative name that its released name no longer shows."""
    path = PurePosixPath(name)
    shown = normalized(released)
    return tuple(part for part in (*path.parts[:-1], path.stem) if normalized(part) not in shown)


class Scrubber:
    """Leaves in records what an allow-list names, and no text that repeats a plate or a name.

    Args:
        known: Plates and names, see :func:`identities`.
        keep: Fields that are kept although no list names them: a name (``weather``) or the end of a dotted path
            (``images.weather``). Texts in them that repeat one of ``known`` are replaced.
    """

    def __init__(self, known: Iterable[str] = (), keep: Iterable[str] = ()) -> None:
        self._known = tuple(known)
        self._keep = tuple(keep)
        self._removed: Counter[str] = Counter()

    @property
    def removed(self) -> dict[str, int]:
        """How often each field was left out so far, by dotted path; never what it held."""
        return dict(sorted(self._removed.items()))

    def text(self, text: str) -> str:
        """Return a text, or ``REMOVED`` if it repeats a plate or a name."""
        return REMOVED if repeats(text, self._known) else text

    def tells(self, text: str) -> bool:
        """Return whether a text repeats a plate or a name, or looks like a plate or an address."""
        return bool(repeats(text, self._known) or _URL.search(text) or text_hints(_LICENCE.sub("", text)))

    def record(self, record: Mapping[str, Any], fields: Mapping[str, Any], path: str = "") -> dict[str, Any]:
        """Return a record with those of its fields that are listed and hold what they should.

        Args:
            record: JSON data.
            fields: What may stay, see ``fields``.
            path: Dotted path of the record, such as ``annotations``.
        """
        out: dict[str, Any] = {}
        for key, value in record.items():
            whole = f"{path}.{key}" if path else str(key)
            kept = self._value(value, fields.get(key), whole)
            if kept is not _GONE:
                out[key] = kept
        return out

    def element(self, element: ElementTree.Element, fields: Mapping[str, Any], path: str = "") -> None:
        """Take out of an XML element, in place, attributes and elements that are not listed.

        Args:
            element: Its tag is not checked.
            fields: By tag, and by name of an attribute after ``@``: what may stay, see ``fields``.
            path: Dotted path of the element; attributes stand in it as elements do.
        """
        for key, value in list(element.attrib.items()):
            kept = self._value(value, fields.get(f"@{key}"), f"{path}.{key}" if path else key)
            if kept is _GONE:
                del element.attrib[key]
            else:
                element.set(key, str(kept))
        if not _is_blank(element.text):
            self._count(f"{path}.text" if path else "text")
            element.text = None
        for child in list(element):
            child.tail = None
            if not self._child(child, fields.get(child.tag), f"{path}.{child.tag}" if path else child.tag):
                element.remove(child)

    def _child(self, child: ElementTree.Element, field: Field | None, path: str) -> bool:
        """Clean an element inside another and return whether it stays."""
        if self.keeps(path):
            for element in child.iter():
                element.text = None if element.text is None else self.text(element.text)
                element.tail = None if element is child or element.tail is None else self.text(element.tail)
                for key, value in element.attrib.items():
                    element.set(key, self.text(value))
            return True
        if isinstance(field, Attributes):
            return self._attribute_element(child, path)
        if isinstance(field, Mapping) or (field is None and self._holds_kept(child, path)):
            self.element(child, field or {}, path)
            return True
        if field is None:
            self._count(path)
            return False
        text = (child.text or "").strip()
        child.text = None
        self.element(child, {}, path)
        kept = self._value(text, field, path)
        child.text = None if kept is _GONE else str(kept)
        return kept is not _GONE

    def keeps(self, path: str) -> bool:
        """Return whether a field is kept although no list names it."""
        return _matches(path, self._keep)

    def left_out(self, path: str) -> None:
        """Count a field that was left out by other means."""
        self._count(path)

    def _value(self, value: Any, field: Field | None, path: str) -> Any:
        if self.keeps(path):
            return self._scrubbed(value)
        if isinstance(field, Mapping) and isinstance(value, Mapping):
            return self.record(value, field, path)
        if isinstance(field, Each) and isinstance(value, list):
            return [kept for item in value if (kept := self._value(item, field.field, path)) is not _GONE]
        if isinstance(field, Attributes) and isinstance(value, Mapping):
            return self._attributes(value, path)
        if isinstance(field, Attributes) and isinstance(value, list):
            return self._attribute_pairs(value, path)
        if isinstance(field, Text) and isinstance(value, str):
            if len(value) <= field.longest and not self.tells(value):
                return value
            if field.needed:
                self._count(path)
                return REMOVED
        elif callable(field) and (value is None or field(value)):
            return value
        # What a field that nobody listed holds is left out as a whole, but for what is asked for by name.
        if field is None and isinstance(value, Mapping | list) and _any_kept(value, path, self._keep):
            items = [value] if isinstance(value, Mapping) else [item for item in value if isinstance(item, Mapping)]
            inner = [self.record(item, {}, path) for item in items]
            return inner[0] if isinstance(value, Mapping) else [item for item in inner if item]
        self._count(path)
        return _GONE

    def _attributes(self, value: Mapping[str, Any], path: str) -> dict[str, Any]:
        checks = {key: ATTRIBUTES.get(attribute_name(key)) for key in value}
        return self.record(value, checks, path)

    def _attribute_pairs(self, value: list[Any], path: str) -> list[Any]:
        out = []
        for item in value:
            pair = isinstance(item, Mapping) and set(_PAIR) <= item.keys() and isinstance(item["name"], str)
            name = item["name"] if pair else UNNAMED
            kept = self._value(item["value"], ATTRIBUTES.get(attribute_name(name)), f"{path}.{name}") if pair else _GONE
            if kept is not _GONE:
                out.append({"name": name, "value": kept})
            elif not pair:
                self._count(path)
        return out

    def _attribute_element(self, element: ElementTree.Element, path: str) -> bool:
        """Return whether an element ``<attribute><name/><value/></attribute>`` may stay; others of its parts go.

        Also of the form ``<attribute name="">value</attribute>``.
        """
        outer = path.rpartition(".")[0] or path
        if "name" in element.attrib:
            name, value = element.attrib["name"].strip(), (element.text or "").strip()
            kept = self._value(value, ATTRIBUTES.get(attribute_name(name)), f"{outer}.{name}")
            if kept is _GONE:
                return False
            element.clear()
            element.set("name", name)
            element.text = str(kept)
            return True
        name, value = ((element.findtext(tag) or "").strip() for tag in _PAIR)
        if self._value(value, ATTRIBUTES.get(attribute_name(name)), f"{outer}.{name}") is _GONE:
            return False
        for child in list(element):
            if child.tag not in _PAIR or len(child):
                element.remove(child)
            child.attrib.clear()
            child.tail = None
        element.attrib.clear()
        element.text = None
        return True

    def _scrubbed(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self._scrubbed(item) for item in value]
        if isinstance(value, Mapping):
            return {key: self._scrubbed(item) for key, item in value.items() if self.text(str(key)) == str(key)}
        return value

    def _holds_kept(self, element: ElementTree.Element, path: str) -> bool:
        names = (*element.attrib, *(child.tag for child in element))
        return any(self.keeps(f"{path}.{name}") for name in names) or any(
            self._holds_kept(child, f"{path}.{child.tag}") for child in element
        )

    def _count(self, path: str) -> None:
        parts = path.split(".")
        tells = any(_PLAIN_NAME.fullmatch(part) is None or self.tells(part) for part in parts)
        self._removed[UNNAMED if tells else path] += 1


def without_keypoints(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a COCO-like annotation of a treated instance without the landmarks of the original."""
    return {k: v for k, v in record.items() if k not in ("keypoints", "num_keypoints") and not k.endswith("_kpts")}


def told_by_xml(element: ElementTree.Element) -> dict[str, Any]:
    """Return what an XML element holds as plain data: attributes and elements by name, in lists; texts as they are."""
    out: dict[str, Any] = {key: [value] for key, value in element.attrib.items()}
    for child in element:
        out.setdefault(child.tag, []).append(told_by_xml(child) if len(child) or child.attrib else child.text or "")
        if (len(child) or child.attrib) and not _is_blank(child.text):
            out[child.tag].append(child.text or "")
    return out


def _is_blank(text: str | None) -> bool:
    return not (text or "").strip()


def _matches(path: str, keep: Sequence[str]) -> bool:
    return any(path == wanted or path.endswith(f".{wanted}") for wanted in keep)


def _any_kept(value: object, path: str, keep: Sequence[str]) -> bool:
    if not keep:
        return False
    if isinstance(value, list):
        return any(_any_kept(item, path, keep) for item in value)
    if not isinstance(value, Mapping):
        return False
    return any(_matches(f"{path}.{key}", keep) or _any_kept(item, f"{path}.{key}", keep) for key, item in value.items())


def attribute_name(name: str) -> str:
    """Return an attribute's name as ``fields.ATTRIBUTES`` has it: in lower case, with ``_``."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _speaks(name: str) -> bool:
    """Return whether a field's name is about plates, persons or places."""
    words = {word.lower() for word in _WORDS.findall(name)}
    # Long words are found in others, too, as in "licenseplate"; short ones would be found everywhere.
    return bool(words & _TELLING) or any(word in name.lower() for word in _TELLING if len(word) >= 5)


def _texts(
    value: object, field: Field | None, path: tuple[str, ...], keep: Sequence[str], *, telling: bool
) -> Iterator[str]:
    if isinstance(field, Text) and isinstance(value, str):
        return
    if callable(field) and field(value):
        return
    if isinstance(value, str):
        yield from [value] if telling else [found for _, found in text_hints(value)]
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, field.field if isinstance(field, Each) else field, path, keep, telling=telling)
    elif isinstance(value, Mapping):
        name = value.get("name")
        if isinstance(name, list):  # As XML has it.
            name = next(iter(name), None)
        pair = isinstance(name, str) and set(_PAIR) <= value.keys()
        for key, item in value.items():
            inner = (*path, str(key))
            if _matches(".".join(inner), keep) or key in _FILE_NAMES or (pair and key == "name"):
                continue
            about = telling or _speaks(str(name) if pair else str(key))
            own = field.get(key) if isinstance(field, Mapping) else None
            yield from _texts(item, own, inner, keep, telling=about)


def _names(value: object, field: Field | None) -> Iterator[str]:
    """Yield what stands in fields of which the format needs the text: names of classes."""
    if isinstance(value, str) and isinstance(field, Text) and field.needed:
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _names(item, field.field if isinstance(field, Each) else field)
    elif isinstance(value, Mapping) and isinstance(field, Mapping):
        for key, item in value.items():
            yield from _names(item, field.get(key))
