"""The metadata that may be kept when asked for: an allow-list of names, places and forms.

Nothing is copied. Values are parsed, held to their range, rounded to what their purpose needs, and written anew, so
that no block, no comment and no spare digit of the source comes along.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction

from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from anonymizer.core.errors import InputError
from anonymizer.images.panorama import PROPERTIES

__all__ = ["GROUPS", "TAG_NAMES", "Tags", "check_groups", "chosen", "exif_bytes", "read_tags", "without_place"]

MAIN, EXIF_IFD, GPS_IFD = 0, 0x8769, 0x8825
#: Value of a tag: text, a number, or fractions as (numerator, denominator).
Value = str | int | tuple[tuple[int, int], ...]
#: Values by EXIF tag number, and by name for properties of panoramas (XMP).
Tags = Mapping[int | str, Value]


@dataclass(frozen=True, slots=True)
class _Tag:
    """A tag that may be kept: its EXIF name, its directory, and how its value is read; None where it is unfit."""

    name: str
    place: int
    read: Callable[[object], Value | None]


def _text(pattern: str) -> Callable[[object], str | None]:
    form = re.compile(pattern, re.ASCII)

    def read(value: object) -> str | None:
        text = value.strip("\x00 ") if isinstance(value, str) else ""
        return text if form.fullmatch(text) else None

    return read


def _fraction(value: object) -> Fraction | None:
    """Return an EXIF rational; None where it is none or not finite."""
    if isinstance(value, IFDRational):
        number, parts = value.numerator, value.denominator
        if isinstance(number, int) and isinstance(parts, int) and parts:
            return Fraction(number, parts)
    return Fraction(value) if isinstance(value, int) else None


def _amount(most: int) -> Callable[[object], Value | None]:
    """Return a reader of a rational from 0 to a limit, kept to hundredths."""

    def read(value: object) -> Value | None:
        found = _fraction(value)
        return ((round(found * 100), 100),) if found is not None and 0 <= found <= most else None

    return read


def _angle(most: int) -> Callable[[object], Value | None]:
    """Return a reader of degrees, minutes and seconds; seconds are kept to 1/10000, which is 3 mm on the ground."""

    def read(value: object) -> Value | None:
        parts = value if isinstance(value, tuple) else ()
        found = [_fraction(part) for part in parts]
        if not 1 <= len(found) <= 3 or any(part is None or part < 0 for part in found):
            return None
        total = sum((part / 60**index for index, part in enumerate(found) if part is not None), Fraction())
        if total > most:
            return None
        units = round(total * 3600 * 10000)
        return (units // 36000000, 1), (units // 600000 % 60, 1), (units % 600000, 10000)

    return read


def _direction(value: object) -> Value | None:
    found = _fraction(value)
    return ((round(found * 100) % 36000, 100),) if found is not None and 0 <= found <= 360 else None


def _below_sea(value: object) -> Value | None:
    number = value[0] if isinstance(value, bytes) and len(value) == 1 else value
    return number if isinstance(number, int) and number in (0, 1) else None


def _millimetres(value: object) -> Value | None:
    return value if isinstance(value, int) and 1 <= value <= 10_000 else None


_TIME = _text(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d")
_OFFSET = _text(r"[+-]\d\d:\d\d|Z")
_SUBSECOND = _text(r"\d{1,9}")
# Names of makers and models; no line breaks, no address or path could hide in it unseen.
_NAME = _text(r"[A-Za-z0-9][A-Za-z0-9 ().,+/*_-]{0,63}")

#: The names that ``--keep-metadata`` takes, and the tags each stands for. Serial numbers, owners and maker notes belong
#: to none.
_EXIF: dict[str, dict[int, _Tag]] = {
    "datetime": {
        0x0132: _Tag("DateTime", MAIN, _TIME),
        0x9003: _Tag("DateTimeOriginal", EXIF_IFD, _TIME),
        0x9010: _Tag("OffsetTime", EXIF_IFD, _OFFSET),
        0x9011: _Tag("OffsetTimeOriginal", EXIF_IFD, _OFFSET),
    },
    "datetime-subsec": {
        0x9290: _Tag("SubSecTime", EXIF_IFD, _SUBSECOND),
        0x9291: _Tag("SubSecTimeOriginal", EXIF_IFD, _SUBSECOND),
        0x9292: _Tag("SubSecTimeDigitized", EXIF_IFD, _SUBSECOND),
    },
    "camera": {
        0x010F: _Tag("Make", MAIN, _NAME),
        0x0110: _Tag("Model", MAIN, _NAME),
        0xA433: _Tag("LensMake", EXIF_IFD, _NAME),
        0xA434: _Tag("LensModel", EXIF_IFD, _NAME),
    },
    "focal-length": {
        0x920A: _Tag("FocalLength", EXIF_IFD, _amount(10_000)),
        0xA405: _Tag("FocalLengthIn35mmFilm", EXIF_IFD, _millimetres),
    },
    "gps": {
        1: _Tag("GPSLatitudeRef", GPS_IFD, _text("[NS]")),
        2: _Tag("GPSLatitude", GPS_IFD, _angle(90)),
        3: _Tag("GPSLongitudeRef", GPS_IFD, _text("[EW]")),
        4: _Tag("GPSLongitude", GPS_IFD, _angle(180)),
        5: _Tag("GPSAltitudeRef", GPS_IFD, _below_sea),
        6: _Tag("GPSAltitude", GPS_IFD, _amount(20_000)),
    },
    "heading": {
        16: _Tag("GPSImgDirectionRef", GPS_IFD, _text("[TM]")),
        17: _Tag("GPSImgDirection", GPS_IFD, _direction),
    },
}
GROUPS: dict[str, Collection[int | str]] = {
    **{name: tuple(tags) for name, tags in _EXIF.items()},
    "gpano": tuple(PROPERTIES),
}
_TAGS = {number: tag for group in _EXIF.values() for number, tag in group.items()}
#: Name of each tag that may be kept.
TAG_NAMES: dict[int | str, str] = {
    **{number: tag.name for number, tag in _TAGS.items()},
    **{name: f"GPano:{name}" for name in PROPERTIES},
}
#: Tags that mean nothing without each other.
_TOGETHER = ((1, 2, 3, 4), (5, 6), (16, 17))
#: What EXIF says that a missing tag stands for.
_DEFAULTS: dict[int, tuple[int, Value]] = {6: (5, 0), 17: (16, "T")}
#: Version of the directory that holds GPS tags, which it must state.
_GPS_VERSION = b"\x02\x03\x00\x00"
#: Groups of which a picture keeps what its format has a place for; all others it keeps whole or is not released.
_AS_FAR_AS = ("datetime", "camera")
#: Formats whose writers have a place for XMP.
_XMP_FORMATS = frozenset({"JPEG", "PNG", "WEBP"})


def check_groups(groups: Collection[str]) -> tuple[str, ...]:
    """Return the groups in a fixed order, each once.

    Raises:
        InputError: One is unknown.
    """
    for group in groups:
        if group not in GROUPS:
            raise InputError(f"metadata {group!r} cannot be kept; expected some of {', '.join(GROUPS)}")
    return tuple(group for group in GROUPS if group in groups)


def read_tags(exif: Image.Exif) -> dict[int | str, Value]:
    """Return the EXIF tags that may be kept whose value is fit, rounded; everything else is left behind."""
    directories: dict[int, Mapping[int, object]] = {
        MAIN: exif,
        EXIF_IFD: exif.get_ifd(EXIF_IFD),
        GPS_IFD: exif.get_ifd(GPS_IFD),
    }
    out: dict[int | str, Value] = {}
    for number, tag in _TAGS.items():
        value = tag.read(directories[tag.place].get(number))
        if value is not None:
            out[number] = value
    for number, (missing, value) in _DEFAULTS.items():
        if number in out and directories[GPS_IFD].get(missing) is None:
            out[missing] = value
    for group in _TOGETHER:
        if not all(number in out for number in group):
            for number in group:
                out.pop(number, None)
    return out


def chosen(tags: Tags, groups: Collection[str], kind: str) -> dict[int | str, Value]:
    """Return the tags that belong to the groups and have a place in files of a format.

    BMP has none; TIFF files are written with their main directory only; AVIF and HEIC without XMP.
    """
    wanted = {key for group in groups for key in GROUPS[group]}
    return {key: tags[key] for key in TAG_NAMES if key in tags and key in wanted and _fits(key, kind)}


def without_place(tags: Tags, groups: Collection[str], kind: str) -> tuple[str, ...]:
    """Return the groups that a picture has values of and that its format cannot hold.

    Of ``datetime`` and ``camera`` a picture keeps what its format has a place for, so they are never among them.
    """
    return tuple(
        group
        for group in groups
        if group not in _AS_FAR_AS and any(key in tags and not _fits(key, kind) for key in GROUPS[group])
    )


def _fits(key: int | str, kind: str) -> bool:
    if isinstance(key, str):
        return kind in _XMP_FORMATS
    return kind != "BMP" and (kind != "TIFF" or _TAGS[key].place == MAIN)


def exif_bytes(tags: Tags) -> bytes:
    """Return an EXIF block, beginning with its ``Exif`` mark, that holds these tags and no others; empty for none."""
    exif = Image.Exif()
    inner: dict[int, dict[int, object]] = {EXIF_IFD: {}, GPS_IFD: {}}
    for number, value in tags.items():
        if isinstance(number, int):
            place = _TAGS[number].place
            (exif if place == MAIN else inner[place])[number] = _written(number, value)
    if inner[GPS_IFD]:
        inner[GPS_IFD][0] = _GPS_VERSION
    for place, values in inner.items():
        if values:
            exif[place] = dict(sorted(values.items()))
    return exif.tobytes() if len(exif) else b""


def _written(number: int, value: Value) -> object:
    """Return a value as Pillow's writer takes it."""
    if isinstance(value, tuple):
        fractions = tuple(IFDRational(*part) for part in value)
        return fractions if len(fractions) > 1 else fractions[0]
    return bytes([value]) if number == 5 and isinstance(value, int) else value
