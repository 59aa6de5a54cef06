"""File and folder names that tell who or where: hints that a name should not be released as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["name_hints", "normalized", "repeats", "text_hints"]

#: Fewest letters and digits a text needs before finding it again elsewhere means anything.
LEAST_TEXT = 4

# Texts of annotations may be long and hostile: what repeats is bounded, so that no text takes more than linear time.
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
# International form, or a trunk zero and an area code set apart: bare digits are mostly dates and counters.
_PHONE = re.compile(r"(?<!\d)\+\d[\d ()./-]{6,16}\d(?!\d)|(?<!\d)0\d{1,4}[ /-]\d{5,8}(?!\d)")
_DEGREES = r"[+-]?\d{1,3}[.,]\d{3,20}"
_COORDINATES = re.compile(
    rf"(?<![\d.]){_DEGREES}\s{{0,3}}°?\s{{0,3}}[NS]?[ _,;x@-]{{1,5}}\s{{0,3}}{_DEGREES}(?![\d.])"
    rf"|[NS][ _]?{_DEGREES}[ _,;-]{{0,5}}[EW][ _]?{_DEGREES}"
    rf"|lat[a-z]{{0,9}}[ _=:-]{{0,5}}{_DEGREES}[ _,;-]{{0,5}}lon[a-z]{{0,9}}[ _=:-]{{0,5}}{_DEGREES}"
    r"|\d{1,3}°\s{0,3}\d{1,2}['′]|(?<!\d)\d{1,2}d\d{1,2}m[\d.]{0,9}s?[NS]"
)
# Plates of the larger systems, in capitals as plates are written. What cameras count with is taken out before.
_PLATE = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"[A-ZÄÖÜ]{1,3}[- ][A-Z]{1,2}[- ]?[1-9]\d{0,3}[EH]?"  # Germany
    r"|[A-Z]{2}\d{2} ?[A-Z]{3}"  # United Kingdom
    r"|[A-Z]{2}-?\d{3}-?[A-Z]{2}"  # France, Italy
    r"|\d{4} ?[BCDFGHJKLMNPRSTVWXYZ]{3}"  # Spain
    r"|[A-Z]{3}[- ]?\d{3,4}|\d[A-Z]{3}\d{3}|\d{3}[- ][A-Z]{3}"  # North America and others
    r"|[A-Z]{3}\d[A-Z]\d{2}"  # Mercosur
    r"|[A-Z]{2}[- ]?\d{1,2}[- ]?[A-Z]{1,2}[- ]?\d{4}"  # India
    r")(?![A-Za-z0-9])"
)
_CAMERA = re.compile(
    r"^(?:IMG|DSC|DSCN?|DSCF|MVI|MAH|GOPR|PANO|CAM|VID|MOV|SAM|CIMG|HPIM|PICT|IMAG|RIMG|KIMG|LRM|DCIM|PXL|BURST|FRM|DJI)"
    r"(?=[-_ ]?\d)",
    re.IGNORECASE,
)


def normalized(text: str) -> str:
    """Return the letters and digits of a text, case folded: spellings of one plate become one."""
    return "".join(char for char in text.casefold() if char.isalnum())


def repeats(text: str, identities: Iterable[str]) -> bool:
    """Return whether a text holds one of the identities: plates or names, however they are spaced or spelled in case.

    >>> repeats("crop_b-ab1234.jpg", ["B AB 1234"])
    True

    Identities of fewer than four letters and digits are found only where they are the whole text.
    """
    own = normalized(text)
    return any(
        (len(known) >= LEAST_TEXT and known in own) or (known != "" and known == own)
        for known in map(normalized, identities)
    )


def name_hints(name: str, identities: Iterable[str] = ()) -> tuple[str, ...]:
    """Return what in a relative file name may tell who or where, by kind and part, without repeating it.

    Found are e-mail addresses, phone numbers, coordinates, texts in the form of common license plates, and the plates
    and names that are known of this very picture. Personal names are not recognised as such; a counter may look like a
    plate. These are hints for a human, not proof.

    Args:
        name: Relative name with forward slashes.
        identities: Plates read in the picture, plates and names in its annotations.
    """
    known = tuple(identities)
    *folders, file = name.split("/")
    parts = [("folder name", part) for part in folders] + [("file name", file.rpartition(".")[0] or file)]
    out = []
    for place, part in parts:
        kinds = [kind for kind, _ in text_hints(part)]
        kinds += ["plate or name of the picture"] if repeats(part, known) else []
        out += [f"{kind} in {place}" for kind in kinds]
    return tuple(dict.fromkeys(out))


def text_hints(text: str) -> tuple[tuple[str, str], ...]:
    """Return what in a text may tell who or where by its form alone: kind and the part of the text.

    Found are e-mail addresses, coordinates, phone numbers and common license plates; ``_`` counts as a space.
    """
    spaced = text.replace("_", " ")
    kinds = (
        ("e-mail address", _EMAIL.search(text)),
        ("coordinates", _COORDINATES.search(text) or _COORDINATES.search(spaced)),
        ("phone number", _PHONE.search(spaced)),
        ("text like a plate", _PLATE.search(_CAMERA.sub("", spaced))),
    )
    return tuple((kind, found.group()) for kind, found in kinds if found)
