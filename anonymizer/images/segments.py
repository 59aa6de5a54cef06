"""Every segment, chunk, tag and box of a picture file, so that nothing unseen is released with the pixels.

The walkers follow the containers' own specifications (ITU-T T.81 Annex B, PNG 3rd edition, the WebP container,
TIFF 6.0, ISO/IEC 14496-12 and 23008-12) and share no code with the encoders whose work they check; they judge files and
decode none. What they return covers the file from its first byte to its last.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from anonymizer.images.metadata import Tags, exif_bytes
from anonymizer.images.panorama import PNG_XMP, xmp_bytes

__all__ = ["Damaged", "Segment", "box_segments", "segments", "tiff_pages", "tiff_segments", "unexpected"]

_EXIF_MARK = b"Exif\x00\x00"
_EXIF_NAMES = ("APP1 Exif", "eXIf", "EXIF", "item Exif")
_XMP_NAMES = ("APP1 http://ns.adobe.com/xap/1.0/", "iTXt", "XMP ")
#: What an iTXt chunk of XMP begins with: keyword, not compressed, no language.
_XMP_HEAD = PNG_XMP.encode("ascii") + bytes(5)
# What a plain file of each format is made of. EXIF blocks are judged by their content.
_BOXES = (
    r"ftyp|meta|mdat|padding|meta/(hdlr|pitm|iloc|iinf|iprp|iref|idat|dinf)|dinf/dref|iprp/ip(co|ma)"
    r"|ipco/(colr|ispe|pixi|pasp|clli|mdcv|{0})|(item|iinf/infe) ({1})|iref/dimg"
)
_PLAIN = {
    "JPEG": r"SOI|APP0 JFIF|APP2 ICC_PROFILE|DQT|DHT|SOF[012]|DRI|SOS|scan|EOI",
    "PNG": r"signature|IHDR|iCCP|pHYs|IDAT|IEND",
    "WEBP": r"RIFF|VP8X|VP8L|VP8 |ICCP|ALPH",
    "BMP": r"header|pixels",
    "TIFF": r"header|directory|strip|padding"
    r"|tag (254|256|257|258|259|262|273|277|278|279|282|283|284|296|317|339|34675)",
    "AVIF": _BOXES.format("av1C", "av01|grid"),
    "HEIF": _BOXES.format("hvcC|clap", "hvc1|grid"),
}
#: Bytes per value of each TIFF type.
_TYPES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
#: Tags that point to further directories.
_POINTERS = {34665: "exif", 34853: "gps", 40965: "interoperability", 330: "sub"}
_CONTAINERS = frozenset({"iprp", "ipco", "iinf", "iref", "dinf", "meta"})
_MOST_ENTRIES = 100_000


def segments(data: bytes) -> tuple[Segment, ...]:
    """Return the parts a picture file consists of.

    What follows the file's own end is named ``trailing``, what no part claims ``gap``; where the structure breaks off,
    the rest is named ``damaged``.
    """
    out: list[Segment] = []
    try:
        for segment in _walk(data):
            out.append(segment)
    except (Damaged, IndexError):
        end = max((segment.end for segment in out), default=0)
        out.append(Segment("damaged", end, len(data), (end, len(data))))
    return tuple(out)


def unexpected(data: bytes, kind: str, tags: Tags) -> tuple[str, ...]:
    """Return what in a file is not as it should be: parts that belong neither to its pixels nor to what was to be kept.

    Args:
        data: Content of a file we wrote.
        kind: The format it was written in.
        tags: Metadata that was to be kept: one EXIF block and one XMP packet must hold exactly these.

    Returns:
        Names of parts, and ``missing …`` for metadata that is not there once; empty if all is as it should be.
    """
    plain = re.compile(_PLAIN[kind])
    wanted = _wanted(kind, tags)
    items = {"iinf/infe Exif", "iref/cdsc"} if wanted and kind in ("AVIF", "HEIF") else set()
    out = []
    for segment in segments(data):
        name = segment.name
        if name == "APP0 JFIF" and segment.end - segment.start != 18:
            name = "JFIF thumbnail"
        what = "EXIF" if name in _EXIF_NAMES else "XMP" if name in _XMP_NAMES else name
        # Each is taken once: a second block, of whatever content, is a stray.
        if what in wanted and _content(data, segment) == wanted[what]:
            del wanted[what]
        elif not plain.fullmatch(name) and name not in items:
            out.append(name)
    return (*out, *(f"missing {what}" for what in wanted))


def _wanted(kind: str, tags: Tags) -> dict[str, bytes]:
    """Return the content of each part that was to be kept."""
    if kind == "TIFF":
        return {f"tag {number}": str(text).encode("ascii") for number, text in tags.items()}
    wanted = {"EXIF": exif_bytes(tags).removeprefix(_EXIF_MARK), "XMP": xmp_bytes(tags)}
    return {what: content for what, content in wanted.items() if content}


def _content(data: bytes, segment: Segment) -> bytes:
    """Return the content of a part that holds metadata, without what its container puts before it."""
    content = data[slice(*segment.body)]
    if segment.name == "iTXt":
        return content.removeprefix(_XMP_HEAD)
    if segment.name.startswith("tag "):
        return content.removesuffix(b"\x00")
    # Items begin with the offset of the block; some writers put the mark of JPEG before it.
    return (content[4:] if segment.name.startswith("item") else content).removeprefix(_EXIF_MARK)


def _walk(data: bytes) -> Iterator[Segment]:
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith(b"RIFF"):
        return _webp(data)
    if data.startswith(b"BM"):
        return _bmp(data)
    if data[4:8] == b"ftyp":
        return iter(box_segments(data))
    return iter(tiff_segments(data))


def _jpeg(data: bytes) -> Iterator[Segment]:
    yield Segment("SOI", 0, 2)
    place = 2
    while place < len(data):
        if data[place] != 0xFF:
            raise Damaged
        marker = data[place + 1]
        if marker == 0xFF:  # fill byte
            raise Damaged
        if marker == 0xD9:
            yield Segment("EOI", place, place + 2)
            if place + 2 < len(data):
                yield Segment("trailing", place + 2, len(data), (place + 2, len(data)))
            return
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        end = place + 2 + length
        if length < 2 or end > len(data):
            raise Damaged
        name, body = _marker(marker, data[place + 4 : end])
        yield Segment(name, place, end, (place + 4 + body, end))
        place = end
        if marker == 0xDA:
            end = _scan_end(data, place)
            yield Segment("scan", place, end)
            place = end
    raise Damaged


def _marker(marker: int, body: bytes) -> tuple[str, int]:
    """Return a segment's name and how long the identifier is that its content begins with."""
    if 0xE0 <= marker <= 0xEF:
        identifier = body.split(b"\x00", 1)[0][:40]
        known = b"\x00" in body[:41]
        mark = len(_EXIF_MARK) if body.startswith(_EXIF_MARK) else len(identifier) + 1 if known else 0
        return f"APP{marker - 0xE0} {identifier.decode('ascii', 'replace') if known else ''}".strip(), mark
    if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
        return f"SOF{marker - 0xC0}", 0
    names = {0xC4: "DHT", 0xCC: "DAC", 0xDA: "SOS", 0xDB: "DQT", 0xDD: "DRI", 0xFE: "COM"}
    return names.get(marker, f"marker {marker:02X}"), 0


def _scan_end(data: bytes, place: int) -> int:
    """Return where entropy-coded data ends: at the first marker that is neither stuffing nor a restart."""
    while True:
        place = data.find(b"\xff", place)
        if place < 0 or place + 1 >= len(data):
            raise Damaged
        if data[place + 1] != 0 and not 0xD0 <= data[place + 1] <= 0xD7:
            return place
        place += 2


def _png(data: bytes) -> Iterator[Segment]:
    yield Segment("signature", 0, 8)
    place = 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        end = place + 12 + length
        if end > len(data) or zlib.crc32(data[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise Damaged
        name = data[place + 4 : place + 8].decode("latin-1")
        yield Segment(name, place, end, (place + 8, end - 4))
        place = end
        if name == "IEND":
            break
    if place < len(data):
        yield Segment("trailing", place, len(data), (place, len(data)))


def _webp(data: bytes) -> Iterator[Segment]:
    yield Segment("RIFF", 0, 12)
    whole = 8 + int.from_bytes(data[4:8], "little")
    if whole > len(data) or data[8:12] != b"WEBP":
        raise Damaged
    place = 12
    while place < whole:
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        end = place + 8 + length
        if end + length % 2 > whole:
            raise Damaged
        yield Segment(data[place : place + 4].decode("latin-1"), place, end + length % 2, (place + 8, end))
        place = end + length % 2
    if whole < len(data):
        yield Segment("trailing", whole, len(data), (whole, len(data)))


def _bmp(data: bytes) -> Iterator[Segment]:
    start = int.from_bytes(data[10:14], "little")
    width, height = (int.from_bytes(data[at : at + 4], "little", signed=True) for at in (18, 22))
    depth = int.from_bytes(data[28:30], "little")
    head = 14 + int.from_bytes(data[14:18], "little")
    end = start + (width * depth + 31) // 32 * 4 * abs(height)
    if not head <= start <= end <= len(data):
        raise Damaged
    yield Segment("header", 0, head)
    palette = 4 << depth if depth <= 8 else 0
    if start > head:
        yield Segment("palette" if start - head <= palette else "gap", head, start, (head, start))
    yield Segment("pixels", start, end)
    if end < len(data):
        yield Segment("trailing", end, len(data), (end, len(data)))


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
