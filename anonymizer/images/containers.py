"""Walkers over TIFF files and over ISO media files (AVIF, HEIC): every tag, strip, box and item.

After TIFF 6.0 and ISO/IEC 14496-12 and 23008-12; meant for judging files, not for decoding them.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Damaged", "Segment", "box_segments", "tiff_pages", "tiff_segments"]

#: Bytes per value of each TIFF type.
_TYPES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
#: Tags that point to further directories.
_POINTERS = {34665: "exif", 34853: "gps", 40965: "interoperability", 330: "sub"}
_CONTAINERS = frozenset({"iprp", "ipco", "iinf", "iref", "dinf", "meta"})
_MOST_ENTRIES = 100_000


class Damaged(Exception):
    """The structure of a file breaks off."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a file: its name, where it starts and ends, and where its content starts and ends."""

    name: str
    start: int
    end: int
    body: tuple[int, int] = (0, 0)


def tiff_segments(data: bytes) -> tuple[Segment, ...]:
    """Return header, directories, tag values and strips of a TIFF file, and the gaps between them.

    Values of up to four bytes lie in the directory; they are listed with the place they have there. Alignment by up to
    three zero bytes is named ``padding``.

    Raises:
        Damaged: No TIFF file, or a reference that leads out of it or in a circle.
    """
    order = {b"II*\x00": "little", b"MM\x00*": "big"}.get(data[:4])
    if order is None:
        raise Damaged
    little = order == "little"

    def number(place: int, size: int) -> int:
        if place + size > len(data):
            raise Damaged
        return int.from_bytes(data[place : place + size], "little" if little else "big")

    out = [Segment("header", 0, 8)]
    pending = [("", number(4, 4), 0)]
    seen: set[int] = set()
    while pending:
        kind, place, page = pending.pop()
        if place in seen or len(out) > _MOST_ENTRIES:
            raise Damaged
        seen.add(place)
        count = number(place, 2)
        name = f"{kind} directory" if kind else "directory" if page == 0 else f"directory of page {page + 1}"
        out.append(Segment(name, place, place + 2 + 12 * count + 4))
        values: dict[int, list[int]] = {}
        for entry in range(place + 2, place + 2 + 12 * count, 12):
            tag, form, many = number(entry, 2), number(entry + 2, 2), number(entry + 4, 4)
            size = _TYPES.get(form, 1) * many
            start = entry + 8 if size <= 4 else number(entry + 8, 4)
            if start + size > len(data):
                raise Damaged
            out.append(Segment(f"{kind or 'tag'} {tag}", start, start + size, (start, start + size)))
            if tag in _POINTERS or tag in (273, 279, 324, 325, 513, 514):
                width = _TYPES.get(form, 1)
                if many > _MOST_ENTRIES or width not in (2, 4):
                    raise Damaged
                values[tag] = [number(start + width * index, width) for index in range(many)]
        for tag, inner in _POINTERS.items():
            pending += [(inner, offset, page) for offset in values.get(tag, ())]
        for offsets, sizes, label in ((273, 279, "strip"), (324, 325, "strip"), (513, 514, "thumbnail")):
            for offset, size in zip(values.get(offsets, ()), values.get(sizes, ()), strict=False):
                out.append(Segment(label, offset, offset + size, (offset, offset + size)))
        following = number(place + 2 + 12 * count, 4)
        if following and kind in ("", "sub"):
            pending.append((kind, following, page + 1))
    return tuple(out) + _gaps(data, out)


def tiff_pages(data: bytes) -> tuple[dict[int, int], ...]:
    """Return, for each page of a TIFF or BigTIFF file, the first value of every tag that holds whole numbers.

    Raises:
        Damaged: No such file, or a reference that leads out of it or in a circle.
    """
    order = {b"II": "little", b"MM": "big"}.get(data[:2])

    def number(place: int, size: int) -> int:
        if place + size > len(data):
            raise Damaged
        return int.from_bytes(data[place : place + size], "little" if order == "little" else "big")

    version = number(2, 2)
    if order is None or version not in (42, 43):
        raise Damaged
    # Bytes of an offset or a count of values, of the count of entries, and of an entry.
    wide, many, entry = (4, 2, 12) if version == 42 else (8, 8, 20)
    place = number(4, 4) if version == 42 else number(8, 8)
    pages: list[dict[int, int]] = []
    seen: set[int] = set()
    while place:
        count = number(place, many)
        if place in seen or count > _MOST_ENTRIES or len(pages) > _MOST_ENTRIES:
            raise Damaged
        seen.add(place)
        values: dict[int, int] = {}
        start = place + many
        for at in range(start, start + count * entry, entry):
            size = {1: 1, 3: 2, 4: 4, 13: 4, 16: 8}.get(number(at + 2, 2))
            total = number(at + 4, wide)
            if size is not None and total:
                inside = size * total <= wide
                values[number(at, 2)] = number(at + 4 + wide if inside else number(at + 4 + wide, wide), size)
        pages.append(values)
        place = number(start + count * entry, wide)
    return tuple(pages)


def box_segments(data: bytes) -> tuple[Segment, ...]:
    """Return the boxes of an ISO media file, the items they describe, and parts of ``mdat`` that no item claims.

    Names are ``type`` at the top and ``parent/type`` below; an item's entry is ``iinf/infe type`` and its content
    ``item type``.

    Raises:
        Damaged: A box that does not fit into what holds it.
    """
    out: list[Segment] = []
    items: dict[int, str] = {}
    places: dict[int, list[tuple[int, int]]] = {}
    _boxes(data, 0, len(data), "", out, items, places)
    claimed = []
    for number, extents in places.items():
        name = f"item {items.get(number, '')}".strip()
        claimed += [Segment(name, start, end, (start, end)) for start, end in extents]
    stores = [segment for segment in out if segment.name in ("mdat", "meta/idat")]
    for store in stores:
        inside = [Segment("", 0, store.body[0]), *(s for s in claimed if store.body[0] <= s.start < store.body[1])]
        out += _gaps(data[: store.body[1]], inside)
    return (*out, *claimed)


def _gaps(data: bytes, parts: list[Segment]) -> tuple[Segment, ...]:
    """Return what of a file no part covers."""
    out = []
    end = 0
    for part in sorted(parts, key=lambda part: part.start):
        if part.start > end:
            out.append(_gap(data, end, part.start))
        end = max(end, part.end)
    if end < len(data):
        out.append(_gap(data, end, len(data)))
    return tuple(out)


def _gap(data: bytes, start: int, end: int) -> Segment:
    aligning = end - start < 4 and not any(data[start:end])
    return Segment("padding" if aligning else "gap", start, end, (start, end))


def _boxes(
    data: bytes,
    start: int,
    end: int,
    parent: str,
    out: list[Segment],
    items: dict[int, str],
    places: dict[int, list[tuple[int, int]]],
) -> None:
    while start < end:
        head = 8
        size = int.from_bytes(data[start : start + 4], "big")
        kind = data[start + 4 : start + 8].decode("latin-1")
        if size == 1:
            size, head = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        elif size == 0:
            size = end - start
        if size < head or start + size > end or len(out) > _MOST_ENTRIES:
            raise Damaged
        body, stop = start + head, start + size
        name = f"{parent}/{kind}" if parent else kind
        if kind == "infe":
            number, what = _item(data, body, stop)
            items[number] = what
            name += f" {what}"
        out.append(Segment(name, start, stop, (body, stop)))
        if kind == "iloc":
            places |= _locations(data, body, stop, out)
        elif kind in _CONTAINERS:
            version = data[body] if body < stop else 0
            full = {"meta": 4, "dinf": 0, "iprp": 0, "ipco": 0, "iref": 4, "iinf": 6 if version == 0 else 8}[kind]
            _boxes(data, body + full, stop, kind, out, items, places)
        start = stop


def _item(data: bytes, body: int, stop: int) -> tuple[int, str]:
    """Return an item's number and type, of ``infe`` version 2 or 3."""
    version = data[body]
    width = {2: 2, 3: 4}.get(version)
    if width is None or body + 4 + width + 6 > stop:
        raise Damaged
    place = body + 4
    kind = data[place + width + 2 : place + width + 6].decode("latin-1")
    return int.from_bytes(data[place : place + width], "big"), kind


def _locations(data: bytes, body: int, stop: int, out: list[Segment]) -> dict[int, list[tuple[int, int]]]:
    """Return the places of every item's content in the file, from ``iloc``."""
    version, sizes = data[body], int.from_bytes(data[body + 4 : body + 6], "big")
    widths = [(sizes >> shift) & 15 for shift in (12, 8, 4, 0)]
    offset_width, length_width, base_width, index_width = widths
    place = body + 6

    def read(width: int) -> int:
        nonlocal place
        if place + width > stop:
            raise Damaged
        place += width
        return int.from_bytes(data[place - width : place], "big")

    wide = 4 if version == 2 else 2
    found: dict[int, list[tuple[int, int]]] = {}
    inner = next((segment.body[0] for segment in out if segment.name == "meta/idat"), 0)
    for _ in range(read(wide)):
        number = read(wide)
        method = read(2) & 15 if version in (1, 2) else 0
        read(2)
        base = read(base_width)
        for _ in range(read(2)):
            if version in (1, 2):
                read(index_width)
            first = base + read(offset_width) + (inner if method == 1 else 0)
            length = read(length_width)
            if first + length > len(data) or len(found) > _MOST_ENTRIES:
                raise Damaged
            found.setdefault(number, []).append((first, first + length))
    return found
