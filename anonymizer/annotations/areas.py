"""Areas of pictures that are left as they are (``--exclude``), or to which a run is limited (``--only``).

A file lists areas by polygon or mask, each for the pictures that a pattern names. All of it is read and checked before
the first picture: an area that fits no picture, or a mask that cannot be read, is an error and never an area less.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anonymizer.annotations.records import read_json
from anonymizer.annotations.regions import filled
from anonymizer.annotations.rle import decode_rle, encode_rle
from anonymizer.core.errors import InputError
from anonymizer.core.records import Mask
from anonymizer.images.decode import read_image

__all__ = ["Area", "Areas", "read_areas"]

#: Level from which a pixel of a mask belongs to the area: masks are black and white, give or take what a lossy tool
#: left at their rims.
WHITE = 128
#: Longest name of an area, in characters; it stands in ledger and report.
LONGEST = 60
_FIELDS = frozenset({"name", "pictures", "size", "polygon", "mask"})


@dataclass(frozen=True, slots=True)
class Area:
    """One area.

    Args:
        name: What people call it.
        pictures: Pattern of the relative names of the pictures it is for; ``*`` stands for any text, ``/`` included.
        size: (height, width) of these pictures, upright.
        runs: The area as COCO RLE.
    """

    name: str
    pictures: str
    size: tuple[int, int]
    runs: Mapping[str, Any]

    def fits(self, name: str) -> bool:
        """Return whether it is for a picture."""
        return fnmatch.fnmatchcase(name, self.pictures)


@dataclass(frozen=True, slots=True)
class Areas:
    """Areas to leave out, and areas to keep to.

    Args:
        exclude: What lies in these is left as it is.
        only: What lies outside of these is left as it is, in pictures that have any; others are done whole.
    """

    exclude: tuple[Area, ...] = ()
    only: tuple[Area, ...] = ()

    def check(self, names: Iterable[str]) -> None:
        """Refuse areas that are for no picture of a run.

        Raises:
            InputError: There are such.
        """
        every = list(names)
        for area in (*self.exclude, *self.only):
            if not any(area.fits(name) for name in every):
                raise InputError(
                    f"area {area.name!r}: its pictures {area.pictures!r} fit none of the {len(every)} in INPUT; a "
                    "pattern names relative paths, such as front/*.jpg"
                )

    def of(self, name: str) -> Areas:
        """Return the areas of one picture."""
        return Areas(tuple(a for a in self.exclude if a.fits(name)), tuple(a for a in self.only if a.fits(name)))

    def mask(self, name: str, size: tuple[int, int]) -> Mask | None:
        """Return where a picture is left as it is, bool (H, W); None if nowhere.

        Args:
            name: Its relative name.
            size: Its (height, width), upright.

        Raises:
            InputError: An area is for pictures of another size.
        """
        own = self.of(name)
        left = _union(own.exclude, size)
        kept = _union(own.only, size)
        if kept is None:
            return left
        return ~kept if left is None else left | ~kept

    def names(self, name: str) -> dict[str, list[str]]:
        """Return the names of a picture's areas by what they are for."""
        own = self.of(name)
        named = {"exclude": [a.name for a in own.exclude], "only": [a.name for a in own.only]}
        return {key: names for key, names in named.items() if names}

    def settings(self) -> dict[str, Any]:
        """Return how many areas there are and their digest, as plain JSON data; nothing where there are none."""
        out: dict[str, Any] = {}
        for key, areas in (("exclude", self.exclude), ("only", self.only)):
            if areas:
                told = [[a.name, a.pictures, list(a.size), a.runs["counts"]] for a in areas]
                digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
                out[key] = {"areas": sorted({area.name for area in areas}), "sha256": digest}
        return out

    def settings_hash(self, others: str) -> str:
        """Return the digest of all other settings and these; that of the others where there are no areas."""
        own = self.settings()
        return hashlib.sha256(json.dumps([others, own], sort_keys=True).encode()).hexdigest() if own else others


def read_areas(exclude: Path | None = None, only: Path | None = None) -> Areas:
    """Read the files of areas.

    Args:
        exclude: A JSON file ``{"areas": [{"name", "pictures", "size", "polygon"}, {"name", "pictures", "mask"}]}``, or
            a mask for all pictures. ``pictures`` is a pattern (all if left out), ``size`` [height, width] of the
            upright picture, ``polygon`` [[x, y], …] in its pixels, ``mask`` a black and white picture of its size,
            relative to the file, white where the area is.
        only: The same.

    Raises:
        InputError: Unreadable or malformed.
    """
    return Areas(*(() if path is None else _read(path) for path in (exclude, only)))


def _read(path: Path) -> tuple[Area, ...]:
    if path.suffix.lower() != ".json":
        return (_masked(path.stem[:LONGEST], "*", path),)
    document = read_json(path)
    listed = document.get("areas") if isinstance(document, dict) and set(document) == {"areas"} else None
    if not isinstance(listed, list) or not listed:
        raise InputError(f'areas {path}: expected {{"areas": [...]}} with at least one area, and nothing else')
    return tuple(_area(item, path, f"areas {path}, area {number}") for number, item in enumerate(listed, start=1))


def _area(item: object, path: Path, what: str) -> Area:
    if not isinstance(item, dict) or not set(item) <= _FIELDS:
        raise InputError(f"{what}: expected an object with some of {', '.join(sorted(_FIELDS))}, got {str(item)[:80]}")
    name, pictures = item.get("name"), item.get("pictures", "*")
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST or not name.isprintable():
        raise InputError(f"{what}: expected a name of 1 to {LONGEST} characters, which ledger and report show")
    if not isinstance(pictures, str) or not pictures:
        raise InputError(f"{what}: pictures: expected a pattern of relative names, got {str(pictures)[:80]!r}")
    if ("mask" in item) == ("polygon" in item) or ("polygon" in item) != ("size" in item):
        raise InputError(f"{what}: expected either mask, or polygon and size")
    if "mask" in item:
        if not isinstance(item["mask"], str) or not item["mask"]:
            raise InputError(f"{what}: mask: expected the path of a picture, got {str(item['mask'])[:80]!r}")
        return _masked(name, pictures, path.parent / item["mask"])
    size = item["size"]
    if not isinstance(size, list) or len(size) != 2 or not all(type(s) is int and 0 < s < 2**20 for s in size):
        raise InputError(f"{what}: size: expected [height, width] of its pictures in pixels, got {str(size)[:80]}")
    height, width = size
    points = item["polygon"]
    if not isinstance(points, list) or len(points) < 3 or not all(_is_point(p, width, height) for p in points):
        raise InputError(
            f"{what}: polygon: expected 3 or more points [x, y] within its size of {width}x{height} pixels"
        )
    part = filled([np.asarray(points, np.float64)], (height, width))
    if part is None:
        raise InputError(f"{what}: polygon: it covers no pixel")
    box, mask = part
    return Area(name, pictures, (height, width), encode_rle(mask, box, (height, width)))


def _is_point(point: object, width: int, height: int) -> bool:
    if not isinstance(point, list) or len(point) != 2 or any(type(value) not in (int, float) for value in point):
        return False
    x, y = point
    return 0 <= x <= width and 0 <= y <= height


def _masked(name: str, pictures: str, path: Path) -> Area:
    pixels = read_image(path).pixels
    mask = np.asarray((pixels >= WHITE).all(axis=2), np.bool_)
    if not mask.any():
        raise InputError(f"mask {path}: expected white where the area is, found no white pixel")
    size = mask.shape[0], mask.shape[1]
    return Area(name, pictures, size, encode_rle(mask, (0, 0, size[1], size[0]), size))


def _union(areas: Iterable[Area], size: tuple[int, int]) -> Mask | None:
    listed = list(areas)
    out: Mask = np.zeros(size, np.bool_)
    for area in listed:
        if area.size != size:
            raise InputError(
                f"area {area.name!r} is for pictures of {area.size[1]}x{area.size[0]}, this one is {size[1]}x{size[0]} "
                "upright; give pictures of each size an area of their own"
            )
        part = decode_rle(dict(area.runs), size, f"area {area.name!r}")
        if part is not None:
            (x1, y1, x2, y2), mask = part
            out[y1:y2, x1:x2] |= mask
    return out if listed else None
