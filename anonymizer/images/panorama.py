"""Properties of panoramas (GPano, in XMP): read from untrusted XML, and written anew."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

__all__ = ["PNG_XMP", "PROPERTIES", "read_panorama", "xmp_bytes"]

_GPANO = "http://ns.google.com/photos/1.0/panorama/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
#: Keyword of the text chunk that holds XMP in PNG.
PNG_XMP = "XML:com.adobe.xmp"
#: Longest XMP packet read, in bytes: more does not fit into a JPEG's segment.
_LONGEST = 65_536
_NUMBER = re.compile(r"[+-]?\d{1,6}(\.\d{1,20})?", re.ASCII)


def _word(*words: str) -> Callable[[str], str | None]:
    return lambda text: next((word for word in words if word.lower() == text.lower()), None)


def _number(least: int, most: int, places: int = 0) -> Callable[[str], str | None]:
    """Return a reader of a number in a range, kept to some decimal places."""

    def read(text: str) -> str | None:
        if not _NUMBER.fullmatch(text):
            return None
        value = round(Decimal(text), places)
        # Zero has no sign.
        return format(value if value else abs(value), "f") if least <= value <= most else None

    return read


_PIXELS = _number(0, 1_000_000)

#: The properties that may be kept, and how each is read: None where the text is unfit. Dates, software and counts of
#: source photographs are not among them.
PROPERTIES: dict[str, Callable[[str], str | None]] = {
    "ProjectionType": _word("equirectangular", "cylindrical"),
    "UsePanoramaViewer": _word("True", "False"),
    "FullPanoWidthPixels": _PIXELS,
    "FullPanoHeightPixels": _PIXELS,
    "CroppedAreaImageWidthPixels": _PIXELS,
    "CroppedAreaImageHeightPixels": _PIXELS,
    "CroppedAreaLeftPixels": _PIXELS,
    "CroppedAreaTopPixels": _PIXELS,
    "PoseHeadingDegrees": _number(0, 360, 2),
    "PosePitchDegrees": _number(-90, 90, 2),
    "PoseRollDegrees": _number(-180, 180, 2),
}


def read_panorama(packet: object) -> dict[str, str]:
    """Return the properties of a panorama in an XMP packet whose text is fit, rounded; none where it is unreadable.

    Documents with a type definition or entities, which XMP has no use for, count as unreadable.
    """
    data = packet.encode("utf-8", "replace") if isinstance(packet, str) else packet
    if not isinstance(data, bytes) or len(data) > _LONGEST:
        return {}
    try:
        root: Element = defusedxml.ElementTree.fromstring(data.strip(b"\x00 \r\n\t"), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return {}
    found: dict[str, str] = {}
    for description in root.iter(f"{{{_RDF}}}Description"):
        for name, read in PROPERTIES.items():
            tag = f"{{{_GPANO}}}{name}"
            texts = [description.get(tag), *(child.text for child in description.findall(tag))]
            values = [value for text in texts if text and (value := read(text.strip())) is not None]
            if values:
                found.setdefault(name, values[0])
    return found


def xmp_bytes(tags: Mapping[int | str, object]) -> bytes:
    """Return an XMP packet with the properties of a panorama among the tags and nothing else; empty for none."""
    values = "".join(f' GPano:{name}="{tags[name]}"' for name in PROPERTIES if name in tags)
    if not values:
        return b""
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{_RDF}"><rdf:Description rdf:about="" xmlns:GPano="{_GPANO}"{values}/></rdf:RDF>'
        '</x:xmpmeta><?xpacket end="r"?>'
    ).encode("ascii")
