"""Matching of pictures and given records by the longest common tail of their paths."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from posixpath import splitext
from typing import Any

from anonymizer.core.errors import InputError
from anonymizer.images.formats import SUFFIXES

__all__ = ["Index", "Placement", "key_of"]

# Folders that data sets keep pictures and annotations in, side by side.
_SIDES = frozenset(
    {"images", "img", "imgs", "jpegimages", "leftimg8bit", "labels", "annotations", "gtfine", "gtcoarse"}
)
# Suffixes that names in annotations may have, beside those that are read.
_OTHERS = ".jpe .jfif .jif .mpo .jp2 .j2k .gif .ppm .pgm .pbm .pnm .dng .cr2 .cr3 .nef .arw .orf .rw2 .raw .tga"
_SUFFIXES = frozenset(SUFFIXES) | frozenset(_OTHERS.split())
#: Most pairs of pictures and records with one tail that are told apart by suffix and case; more are all ambiguous.
_MOST_PAIRS = 10_000
#: Most names told in a reason.
_MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class Placement:
    """Records by the picture they belong to, and what could not be placed.

    Args:
        keys: Key of the record by picture.
        held: Reason by picture that given regions may belong to but cannot be placed on.
        bare: Pictures without any record.
        unplaced: Names of records that fit no picture.
    """

    keys: Mapping[str, Hashable] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    bare: tuple[str, ...] = ()
    unplaced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Form:
    """A name in the form that is compared.

    Args:
        parts: Folders and stem from the end, without side folders, case and suffix; Unicode composed.
        cased: The same with case.
        raw: As ``parts``, side folders included.
        suffix: Suffix with its case.
    """

    parts: tuple[str, ...]
    cased: tuple[str, ...]
    raw: tuple[str, ...]
    suffix: str


def key_of(index: Index, placement: Placement | None, name: str) -> Hashable | None:
    """Return the key of a picture's record, None if it has none.

    Raises:
        InputError: Given regions may belong to the picture but cannot be placed on it.
    """
    known = index.place([name]) if placement is None else placement
    if name in known.held:
        raise InputError(f"{name}: {known.held[name]}")
    return known.keys.get(name)


class Index:
    """Records by name, to be matched with pictures.

    The longest common tail of the path decides; suffix, its case and the Unicode form do not count. Side folders such
    as ``images`` and ``labels`` are left out. Equally long tails are told apart by the case of
    letters, by side folders and by the suffix; what is still equal is ambiguous.

    Args:
        names: Name of each record by its key.
    """

    def __init__(self, names: Mapping[Any, str]) -> None:
        self._names: dict[Hashable, str] = dict(names)
        self._forms = {key: _record_forms(name) for key, name in self._names.items()}
        self._by_tail: dict[tuple[str, ...], list[Hashable]] = defaultdict(list)
        for key, forms in self._forms.items():
            for tail in {form.parts[:length] for form in forms for length in range(1, len(form.parts) + 1)}:
                self._by_tail[tail].append(key)

    def place(self, pictures: Iterable[str]) -> Placement:
        """Match pictures, given by relative name with forward slashes."""
        open_pictures = {name: _form(name, any_suffix=True) for name in pictures}
        every = list(open_pictures)
        crowded = self._crowded(open_pictures.values())
        keys: dict[str, Hashable] = {}
        held: dict[str, str] = {}
        taken: set[Hashable] = set()
        latest: Sequence[Hashable] = ()
        deepest = max((len(form.parts) for form in open_pictures.values()), default=0)
        for length in range(deepest, 0, -1):
            buckets: dict[tuple[str, ...], list[str]] = defaultdict(list)
            for name, form in open_pictures.items():
                if len(form.parts) >= length and form.parts[:length] in self._by_tail:
                    buckets[form.parts[:length]].append(name)
            for tail, names in buckets.items():
                records = [key for key in self._by_tail[tail] if key not in taken]
                for name, fitting, rivals in self._resolve(names, records, open_pictures):
                    apart = tail[0] in crowded and self._contradicts(open_pictures[name], fitting[0], length)
                    if len(fitting) == 1 and len(rivals) == 1 and not apart:
                        keys[name] = fitting[0]
                    else:
                        held[name] = self._reason(name, fitting, rivals)
                    if fitting is not latest:  # Where very many fit, they are one list for all pictures.
                        taken.update(fitting)
                    latest = fitting
            open_pictures = {n: form for n, form in open_pictures.items() if n not in keys and n not in held}
        unplaced = tuple(name for key, name in self._names.items() if key not in taken)
        return Placement(keys, held, tuple(n for n in every if n in open_pictures), unplaced)

    def _crowded(self, forms: Iterable[_Form]) -> set[str]:
        """Return the stems that several pictures or several records share."""
        pictures: dict[str, int] = defaultdict(int)
        for form in forms:
            pictures[form.parts[0]] += 1
        return {stem for stem, count in pictures.items() if count > 1 or len(self._by_tail.get((stem,), ())) > 1}

    def _resolve(
        self, names: Sequence[str], records: Sequence[Hashable], forms: Mapping[str, _Form]
    ) -> list[tuple[str, Sequence[Hashable], Sequence[str]]]:
        """Return (picture, records that fit it best, pictures that the first of these fits as well) of one tail."""
        if not names or not records:
            return []
        if len(names) * len(records) > _MOST_PAIRS:
            return [(name, records, names) for name in names]
        pairs: dict[tuple[int, ...], list[tuple[str, Hashable]]] = defaultdict(list)
        for name in names:
            for key in records:
                pairs[max(_score(forms[name], form) for form in self._forms[key])].append((name, key))
        out: list[tuple[str, Sequence[Hashable], Sequence[str]]] = []
        done: set[object] = set()
        for score in sorted(pairs, reverse=True):
            free = [(name, key) for name, key in pairs[score] if ("p", name) not in done and ("r", key) not in done]
            fits: dict[str, list[Hashable]] = defaultdict(list)
            shared: dict[Hashable, list[str]] = defaultdict(list)
            for name, key in free:
                fits[name].append(key)
                shared[key].append(name)
            for name, keys in fits.items():
                out.append((name, keys, shared[keys[0]]))
            done |= {("p", name) for name in fits} | {("r", key) for key in shared}
        return out

    def _contradicts(self, picture: _Form, key: Hashable, length: int) -> bool:
        """Return whether both paths go on beyond their common tail: folders that differ may be other pictures."""
        return len(picture.parts) > length and all(len(form.parts) > length for form in self._forms[key])

    def _reason(self, name: str, fitting: Sequence[Hashable], rivals: Sequence[str]) -> str:
        records = _listed([self._names[key] for key in fitting[:_MOST_NAMES]], len(fitting))
        if len(fitting) > 1:
            return f"given regions cannot be placed: {records} fit it equally well; name them with their folders"
        others = list(islice((rival for rival in rivals if rival != name), _MOST_NAMES))
        if others:
            rest = _listed(others, len(rivals) - 1)
            return f"given regions cannot be placed: {records} fits it and {rest} equally well; rename them"
        return f"given regions cannot be placed: {records} lies in another folder, and others share the name"


def _listed(names: Sequence[str], count: int) -> str:
    return ", ".join(names) + (f" and {count - len(names)} more" if count > len(names) else "")


def _record_forms(name: str) -> tuple[_Form, ...]:
    """Return the forms of a record's name: as it stands, and without a picture's suffix."""
    whole = _form(name, suffixes=frozenset())
    named = splitext(name)[1].lower() in _SUFFIXES
    return (whole, _form(name)) if named else (whole,)


def _form(name: str, *, any_suffix: bool = False, suffixes: frozenset[str] = _SUFFIXES) -> _Form:
    composed = unicodedata.normalize("NFC", name.replace("\\", "/"))
    *folders, file = [part for part in composed.split("/") if part not in ("", ".")] or [""]
    suffix = splitext(file)[1].rstrip(".")
    if not any_suffix and suffix.lower() not in suffixes:
        suffix = ""
    stem = file.removesuffix(suffix) if suffix else file
    if stem.lower().endswith("_leftimg8bit"):
        stem = stem[: -len("_leftimg8bit")]
    cased = [*(folder for folder in folders if folder.lower() not in _SIDES), stem][::-1]
    raw = tuple(part.casefold() for part in [*folders, stem][::-1])
    return _Form(tuple(part.casefold() for part in cased), tuple(cased), raw, suffix)


def _score(picture: _Form, record: _Form) -> tuple[int, ...]:
    """Return what tells apart records whose tail is equally long."""
    same = picture.suffix.lower() == record.suffix.lower()
    suffix = 0 if not same else 1 + (picture.suffix == record.suffix)
    tails = _common(picture.parts, record.parts), _common(picture.cased, record.cased)
    return (*tails, _common(picture.raw, record.raw), suffix)


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    count = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        count += 1
    return count
