"""Every segment, chunk, tag and box of a picture file, so that nothing unseen is released with the pixels.

The walkers follow the containers' own specifications (ITU-T T.81 Annex B, PNG 3rd edition, the WebP container) and
share no code with the encoders whose work they check; ``images.containers`` has those for TIFF and ISO files. What
they return covers the file from its first byte to its last.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from anonymizer.images.containers import Damaged, Segment, box_segments, tiff_segments
from anonymizer.images.metadata import Tags, exif_bytes
from anonymizer.images.panorama import PNG_XMP, xmp_bytes

__all__ = ["Segment", "segments", "unexpected"]

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
