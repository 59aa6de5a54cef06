"""The few EXIF fields that may be kept when asked for: an allow-list of names, tags and forms."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from PIL import Image

from anonymizer.errors import InputError

__all__ = ["GROUPS", "NESTED", "TAG_NAMES", "check_groups", "chosen", "exif_bytes", "read_tags"]

EXIF_IFD = 0x8769


@dataclass(frozen=True, slots=True)
class _Tag:
    """A tag that may be kept: its EXIF name, whether it stands in the EXIF sub-directory, and the form of its text."""

    name: str
    nested: bool
    form: re.Pattern[str]


_TIME = re.compile(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d")
_OFFSET = re.compile(r"[+-]\d\d:\d\d|Z")
# Names of makers and models; no line breaks, no address or path could hide in it unseen.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ().,+/*_-]{0,63}")

#: The names that ``--keep-metadata`` takes, and the tags each stands for. Serial numbers, owners, places and maker
#: notes belong to none.
GROUPS: dict[str, dict[int, _Tag]] = {
    "datetime": {
        0x0132: _Tag("DateTime", False, _TIME),
        0x9003: _Tag("DateTimeOriginal", True, _TIME),
        0x9010: _Tag("OffsetTime", True, _OFFSET),
        0x9011: _Tag("OffsetTimeOriginal", True, _OFFSET),
    },
    "camera": {
        0x010F: _Tag("Make", False, _NAME),
        0x0110: _Tag("Model", False, _NAME),
        0xA433: _Tag("LensMake", True, _NAME),
        0xA434: _Tag("LensModel", True, _NAME),
    },
}
_TAGS = {number: tag for group in GROUPS.values() for number, tag in group.items()}
#: EXIF name of each tag that may be kept.
TAG_NAMES: dict[int, str] = {number: tag.name for number, tag in _TAGS.items()}

#: Tags that stand in the EXIF sub-directory.
NESTED = frozenset(number for number, tag in _TAGS.items() if tag.nested)


def check_groups(groups: Collection[str]) -> tuple[str, ...]:
    """Return the groups in a fixed order, each once.

    Raises:
        InputError: One is unknown.
    """
    for group in groups:
        if group not in GROUPS:
            raise InputError(f"metadata {group!r} cannot be kept; expected some of {', '.join(GROUPS)}")
    return tuple(group for group in GROUPS if group in groups)


def read_tags(exif: Image.Exif) -> dict[int, str]:
    """Return the tags that may be kept whose text has the form it should; everything else is left behind."""
    nested = exif.get_ifd(EXIF_IFD)
    out = {}
    for number, tag in _TAGS.items():
        value = (nested if tag.nested else exif).get(number)
        text = value.strip("\x00 ") if isinstance(value, str) else ""
        if tag.form.fullmatch(text):
            out[number] = text
    return out


def chosen(tags: Mapping[int, str], groups: Collection[str], kind: str) -> dict[int, str]:
    """Return the tags that belong to the groups and have a place in files of a format.

    BMP has none; TIFF files are written with their main directory only.
    """
    wanted = {number for group in groups for number in GROUPS[group]}
    wanted -= NESTED if kind == "TIFF" else wanted if kind == "BMP" else frozenset()
    return {number: text for number, text in sorted(tags.items()) if number in wanted}


def exif_bytes(tags: Mapping[int, str]) -> bytes:
    """Return an EXIF block, beginning with its ``Exif`` mark, that holds these tags and nothing else."""
    exif = Image.Exif()
    nested = {number: text for number, text in tags.items() if number in NESTED}
    for number, text in tags.items():
        if number not in nested:
            exif[number] = text
    if nested:
        exif[EXIF_IFD] = nested
    return exif.tobytes()
