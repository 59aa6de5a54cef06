"""Containers: all that files carry besides pixels, in JPEG, PNG, WebP, TIFF, BMP, AVIF and HEIC, without decoding.

The walk allows what is known to be harmless and reports everything else, so that an unknown kind of metadata is a
finding and not an oversight. It reads untrusted bytes: every length is checked before it is used. It shares no code
with what writes and checks pictures in a run: who judges is not who verified.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Residue", "inspect"]

#: PNG chunks that describe pixels only.
_PNG = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"pHYs", b"sBIT", b"bKGD"}
#: What further PNG chunks are.
_PNG_KINDS = {b"eXIf": "exif", b"tEXt": "text", b"zTXt": "text", b"iTXt": "text", b"tIME": "time"}
#: WebP chunks that describe pixels only.
_WEBP = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP"}
_WEBP_KINDS = {b"EXIF": "exif", b"XMP ": "xmp"}
#: TIFF tags that describe pixels only: size, type, strips, tiles, palette, resolution, tables, profile.
_TIFF = {254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284, 292, 293, 296,
         301, 317, 318, 319, 320, 322, 323, 324, 325, 332, 338, 339, 340, 341, 347, 512, 513, 514, 519, 520, 521, 529,
         530, 531, 532, 34675}  # fmt: skip
_TIFF_KINDS = {700: "xmp", 33723: "iptc", 34377: "photoshop", 34665: "exif", 34853: "gps", 305: "software", 306: "time"}
_TIFF_KINDS |= {330: "further picture", 270: "text", 315: "text", 33432: "text", 271: "camera", 272: "camera"}
#: Boxes and items of AVIF and HEIC that hold pixels only.
_ISO = {b"ftyp", b"meta", b"mdat", b"free"}
_ISO_PICTURES = {b"av01", b"hvc1", b"grid"}
_ISO_KINDS = {b"Exif": "exif", b"mime": "xmp"}
#: Bytes of one value of each TIFF type.
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_EXIF_POINTERS = {34665: "exif", 34853: "gps", 40965: "interoperability"}
#: Tags whose values are read: further directories, and where strips, tiles and previews lie.
_READ = {273, 279, 324, 325, 513, 514, *_EXIF_POINTERS}
#: Most directories, and entries in each, walked in one TIFF structure: hostile files loop.
_MOST_DIRECTORIES, _MOST_ENTRIES = 64, 1024


@dataclass(frozen=True, slots=True)
class Residue:
    """What was found in a file.

    Args:
        kind: JPEG, PNG, WEBP, TIFF, BMP or ISO (AVIF, HEIC); empty where the file is none of them.
        items: Kinds of metadata, sorted, each once: ``exif``, ``gps``, ``maker note``, ``thumbnail``, ``xmp``,
            ``iptc``, ``photoshop``, ``mpf``, ``comment``, ``text``, ``time``, ``camera``, ``software``,
            ``further picture``, ``damaged``, or the name of an unknown part. An ICC profile is none of them: it
            describes pixels.
        icc: Whether there is an ICC profile.
        trailing: Bytes behind the format's end.
    """

    kind: str
    items: tuple[str, ...]
    icc: bool
    trailing: int


def inspect(data: bytes) -> Residue:
    """Walk through a picture file and report everything that is not pixels.

    Args:
        data: The file's content; any bytes at all. What breaks the format's rules is reported as ``damaged``.
    """
    items: set[str] = set()
    kind, walk = _format(data)
    if walk is None:
        return Residue("", ("damaged",), False, 0)
    end = len(data)
    try:
        end = walk(data, items)
    except (struct.error, IndexError, ValueError):
        items.add("damaged")
    icc = "icc" in items
    return Residue(kind, tuple(sorted(items - {"icc"})), icc, max(len(data) - end, 0))


def _format(data: bytes) -> tuple[str, Callable[[bytes, set[str]], int] | None]:
    if data[:2] == b"\xff\xd8":
        return "JPEG", _jpeg
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG", _png
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP", _webp
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "TIFF", _tiff
    if data[:2] == b"BM":
        return "BMP", _bmp
    if data[4:8] == b"ftyp":
        return "ISO", _iso
    return "", None


def _jpeg(data: bytes, items: set[str]) -> int:
    """Return where the file ends by its own account."""
    at = 2
    while True:
        if data[at] != 0xFF:
            raise ValueError("marker expected")
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker == 0xD9:
            return at
        if 0xD0 <= marker <= 0xD7 or marker == 0x01:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if length < 2 or at + length > len(data):
            raise ValueError("segment beyond the end")
        body = data[at + 2 : at + length]
        at += length
        if 0xE0 <= marker <= 0xEF or marker == 0xFE:
            _application(marker, body, items)
        elif marker == 0xDA:
            at = _scan(data, at)


def _scan(data: bytes, at: int) -> int:
    """Return where the next marker after entropy-coded data stands."""
    while True:
        at = data.index(b"\xff", at)
        follows = data[at + 1]
        if follows != 0x00 and not 0xD0 <= follows <= 0xD7:
            return at
        at += 2


def _application(marker: int, body: bytes, items: set[str]) -> None:
    if marker == 0xFE:
        items.add("comment")
    elif marker == 0xE0 and body[:5] == b"JFIF\0":
        # Thirteen bytes and a preview of width times height; whatever lies behind it has no place there.
        if len(body) > 14 or (len(body) >= 14 and (body[12] or body[13])):
            items.add("thumbnail")
    elif marker == 0xE0 and body[:5] == b"JFXX\0":
        items.add("thumbnail")
    elif marker == 0xE1 and body[:6] in (b"Exif\0\0", b"Exif\0\xff"):
        items.add("exif")
        _exif(body[6:], items)
    elif marker == 0xE1 and b"ns.adobe.com" in body[:40]:
        items.add("xmp")
    elif marker == 0xE2 and body[:12] == b"ICC_PROFILE\0":
        items.add("icc")
    elif marker == 0xE2 and body[:4] == b"MPF\0":
        items.add("mpf")
    elif marker == 0xED:
        items.add("iptc" if b"8BIM\x04\x04" in body else "photoshop")
    elif marker != 0xEE or body[:5] != b"Adobe" or len(body) != 12:
        items.add(f"APP{marker - 0xE0} segment")


def _exif(block: bytes, items: set[str]) -> None:
    try:
        _tiff(block, items)
    except (struct.error, IndexError, ValueError):
        items.add("damaged")


def _png(data: bytes, items: set[str]) -> int:
    at = 8
    while True:
        length, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            raise ValueError("chunk beyond the end")
        if name == b"iCCP":
            items.add("icc")
        elif name not in _PNG:
            items.add(_PNG_KINDS.get(name, f"{name.decode('latin-1')!r} chunk"))
        if name == b"eXIf":
            _exif(data[at + 8 : at + 8 + length], items)
        elif name == b"iTXt" and b"adobe.xmp" in data[at + 8 : at + 40]:
            items.add("xmp")
        at += 12 + length
        if name == b"IEND":
            return at


def _webp(data: bytes, items: set[str]) -> int:
    (length,) = struct.unpack_from("<I", data, 4)
    end = 8 + length + length % 2
    if 8 + length > len(data):
        raise ValueError("container beyond the end")
    at = 12
    while at + 8 <= 8 + length:
        name, size = struct.unpack_from("<4sI", data, at)
        if at + 8 + size > 8 + length:
            raise ValueError("chunk beyond the end")
        if name == b"ICCP":
            items.add("icc")
        elif name not in _WEBP:
            items.add(_WEBP_KINDS.get(name, f"{name.decode('latin-1')!r} chunk"))
        if name == b"EXIF":
            block = data[at + 8 : at + 8 + size]
            _exif(block[6:] if block[:6] == b"Exif\0\0" else block, items)
        at += 8 + size + size % 2
    return min(end, len(data))


def _bmp(data: bytes, items: set[str]) -> int:
    size, start, header = struct.unpack_from("<I4xII", data, 2)
    (compression,) = struct.unpack_from("<I", data, 30) if header >= 40 else (0,)
    # Masks and a palette of up to 256 colours may stand between the header and the pixels; more has no place there.
    (colours,) = struct.unpack_from("<I", data, 46) if header >= 40 else (0,)
    (bits,) = struct.unpack_from("<H", data, 28) if header >= 40 else (0,)
    palette = 4 * (colours or (2**bits if bits <= 8 else 0))
    masks = 12 if header == 40 and compression == 3 else 0
    if header >= 40 and start > 14 + header + palette + masks:
        items.add("bytes before the pixels")
    if size > len(data):
        raise ValueError("shorter than it says")
    return size if size else len(data)


def _iso(data: bytes, items: set[str]) -> int:
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            return at
        size, name = struct.unpack_from(">I4s", data, at)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            header = 16
        if size < header or at + size > len(data):
            # A box that runs to the end has size 0; what is no box at all was put behind the last one.
            if size == 0 and name in _ISO:
                return len(data)
            return at
        if name not in _ISO:
            items.add(f"{name.decode('latin-1')!r} box")
        if name == b"meta":
            _iso_items(data[at + header : at + size], items)
        at += size
    return at


def _iso_items(meta: bytes, items: set[str]) -> None:
    at = meta.find(b"infe")
    while at >= 0:
        version, kind = meta[at + 4], meta[at + 12 : at + 16] if meta[at + 4] == 2 else meta[at + 14 : at + 18]
        if version < 2 or kind not in _ISO_PICTURES:
            items.add(_ISO_KINDS.get(kind, f"{kind.decode('latin-1')!r} item"))
        at = meta.find(b"infe", at + 4)
    if b"thmb" in meta:
        items.add("thumbnail")
    if b"colrprof" in meta or b"colrrICC" in meta:
        items.add("icc")


def _tiff(data: bytes, items: set[str]) -> int:
    """Walk through the directories of a TIFF file or EXIF block; return where the last thing referred to ends."""
    order = "<" if data[:2] == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", data, 4)
    end, seen = 8, set[int]()
    waiting = [(first, False)]
    main = True
    while waiting and len(seen) < _MOST_DIRECTORIES:
        at, inner = waiting.pop()
        if not at or at in seen:
            continue
        seen.add(at)
        entries = list(_directory(data, at, order))
        (following,) = struct.unpack_from(order + "I", data, at + 2 + 12 * len(entries))
        end = max(end, at + 6 + 12 * len(entries))
        fields = {tag: values for tag, values, _ in entries}
        if len(fields) < len(entries):
            raise ValueError("tag twice")
        for tag, values, last in entries:
            end = max(end, last)
            if tag in _EXIF_POINTERS:
                items.add(_EXIF_POINTERS[tag])
                waiting += [(value, True) for value in values]
            elif tag == 34675:
                items.add("icc")
            elif inner and tag == 37500:
                items.add("maker note")
            elif not inner and tag not in _TIFF:
                items.add(_TIFF_KINDS.get(tag, f"tag {tag}"))
        for starts, lengths in ((273, 279), (324, 325), (513, 514)):
            pieces = zip(fields.get(starts, ()), fields.get(lengths, ()), strict=False)
            end = max([end, *(start + length for start, length in pieces)])
        if not main and not inner:
            items.add("thumbnail" if 513 in fields else "further picture")
        if not inner:
            waiting.append((following, False))
        main = False
    if end > len(data):
        raise ValueError("refers beyond the end")
    # A strip of odd length may be padded.
    return min(end + end % 2, len(data))


def _directory(data: bytes, at: int, order: str) -> Iterator[tuple[int, tuple[int, ...], int]]:
    """Yield tag, whole-number values and end of the values of each entry in a directory."""
    (count,) = struct.unpack_from(order + "H", data, at)
    if count > _MOST_ENTRIES:
        raise ValueError("too many entries")
    for number in range(count):
        place = at + 2 + 12 * number
        tag, kind, values = struct.unpack_from(order + "HHI", data, place)
        size = _TIFF_SIZES.get(kind, 1) * values
        start = place + 8 if size <= 4 else struct.unpack_from(order + "I", data, place + 8)[0]
        if start + size > len(data):
            raise ValueError("value beyond the end")
        letter = {3: "H", 4: "I", 13: "I"}.get(kind) if tag in _READ else None
        whole = struct.unpack_from(f"{order}{values}{letter}", data, start) if letter else ()
        yield tag, whole, (place + 12 if size <= 4 else start + size)
