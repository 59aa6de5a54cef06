"""Release settings: format, metadata kept and names of released pictures."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from anonymizer.core.errors import InputError
from anonymizer.images.formats import NAMES, READ_ONLY, SUFFIXES
from anonymizer.images.metadata import check_groups
from anonymizer.images.names import LEAST_TEXT

__all__ = ["MAPS", "Release", "map_name"]

KEY_BYTES = 32
#: Maps of a released picture that can be written beside it; ``annotations.rendered`` makes them.
MAPS = ("masks", "parts", "depth")
#: Least longest side of a released picture, in pixels: below, JPEG's blocks are all there is.
LEAST_SIDE = 64
#: Hexadecimal digits of an identity's number: 128 bits, so that two never meet.
LINK_DIGITS = 32


def map_name(kind: str, released: str) -> str:
    """Return where a map of a released picture lies, relative to OUTPUT.

    >>> map_name("masks", "front/0001.jpg")
    'masks/front/0001.png'
    """
    return f"{kind}/{PurePosixPath(released).with_suffix('.png')}"


@dataclass(frozen=True, slots=True)
class Release:
    """How results are released; part of what decides whether an earlier result stands.

    Names are hashed with a key (HMAC-SHA256) and not plainly: whoever guesses a file name, as one can guess plates and
    counters, could check the guess against a plain hash. The key is drawn once per OUTPUT and stays in its ``.state``,
    so that a resumed run gives the same names. Folders and files are hashed apart: what lay together stays together.
    Under the same key an identity becomes the number that its avatars are drawn from.

    Args:
        format: Key of ``formats.NAMES``, or None for the format of each source.
        keep_metadata: Groups of metadata to keep, see ``images.metadata``.
        rename: Whether released files get hashed names.
        key: The secret for that; see :meth:`with_key`.
        write: Maps to write beside each picture: ``masks``, ``parts``, ``depth``, see ``annotations.rendered``.
        link_identities: Whether persons whom annotations call by one ``identity`` or ``track_id`` get the same avatar.
        max_side: Longest side of released pictures in pixels; longer ones are scaled down, with their annotations.
        quality: Quality of JPEG, AVIF and HEIC, 1 to 100; None: the source's, or 95.
        keep_fields: Fields of given annotations that stay although no list names them: a name (``weather``), or the
            end of a dotted path (``images.weather``).

    Raises:
        InputError: An unknown format, group or map, no field's name, or a number out of range.
    """

    format: str | None = None
    keep_metadata: tuple[str, ...] = ()
    rename: bool = False
    key: bytes = field(default=b"", repr=False)
    keep_fields: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    link_identities: bool = False
    max_side: int | None = None
    quality: int | None = None

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in NAMES:
            raise InputError(f"format {self.format!r} is unknown; expected {', '.join(NAMES)}")
        object.__setattr__(self, "keep_metadata", check_groups(self.keep_metadata))
        for name in self.keep_fields:
            if not all(part and part == part.strip() for part in name.split(".")):
                raise InputError(
                    f"keep_fields {name!r}: expected a field's name or a dotted path, such as weather or images.weather"
                )
        unknown = [name for name in self.write if name not in MAPS]
        if unknown:
            raise InputError(f"write {', '.join(unknown)}: expected some of {', '.join(MAPS)}")
        if self.max_side is not None and not self.max_side >= LEAST_SIDE:
            raise InputError(f"max_side: expected at least {LEAST_SIDE} pixels, got {self.max_side}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise InputError(f"quality: expected 1 to 100, got {self.quality}")
        object.__setattr__(self, "write", tuple(name for name in MAPS if name in self.write))
        object.__setattr__(self, "keep_fields", tuple(sorted(set(self.keep_fields))))

    def settings(self) -> dict[str, Any]:
        """Return what was chosen, without the key, as plain JSON data."""
        renamed = {"rename": "hash"} if self.rename else {}
        chosen: dict[str, Any] = {"format": self.format} if self.format is not None else {}
        if self.keep_metadata:
            chosen["keep_metadata"] = list(self.keep_metadata)
        if self.keep_fields:
            chosen["keep_fields"] = list(self.keep_fields)
        if self.write:
            chosen["write"] = list(self.write)
        if self.link_identities:
            chosen["link_identities"] = True
        chosen |= {"max_side": self.max_side} if self.max_side is not None else {}
        chosen |= {"quality": self.quality} if self.quality is not None else {}
        return chosen | renamed

    def settings_hash(self, anonymizer: str) -> str:
        """Return the digest of the anonymizer's settings and these; the anonymizer's own where nothing was chosen.

        Hashed names and linked avatars are part of it with their key: under another one they would be others.
        """
        settings = self.settings() | ({"names": self._digest("settings", 16)} if self.keyed and self.key else {})
        if not settings:
            return anonymizer
        return hashlib.sha256(json.dumps([anonymizer, settings], sort_keys=True).encode()).hexdigest()

    def with_key(self, state: Path) -> Release:
        """Return these settings with the key of an OUTPUT folder, which is drawn if there is none yet.

        Args:
            state: The folder's ``.state``.

        Raises:
            OSError: The key cannot be read or written.
        """
        if not self.keyed:
            return self
        path = state / "rename.key"
        key = path.read_bytes() if path.exists() else b""
        if len(key) != KEY_BYTES:  # A key that a killed run left unfinished has named nothing yet.
            key = secrets.token_bytes(KEY_BYTES)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(key)
                file.flush()
                os.fsync(file.fileno())
        return replace(self, key=key)

    @property
    def keyed(self) -> bool:
        """Whether names or identities are hashed, which takes a key."""
        return self.rename or self.link_identities

    def link(self, record: Mapping[str, Any] | None) -> int | None:
        """Return the secret number of a given person's identity, None where it has none or none are linked.

        Args:
            record: The annotation; ``identity`` counts before ``track_id``, each also among its ``attributes``.

        Raises:
            InputError: There is no key.
        """
        if not self.link_identities or record is None:
            return None
        attributes = record.get("attributes")
        places = [record, attributes] if isinstance(attributes, Mapping) else [record]
        for field_name in ("identity", "track_id"):
            for place in places:
                value = place.get(field_name)
                if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
                    if not self.key:
                        raise InputError("link_identities: expected the key of an OUTPUT folder, got none")
                    return int(self._digest(f"{field_name}\n{value}", LINK_DIGITS), 16)
        return None

    def name(self, name: str) -> str:
        """Return the relative name under which a picture is released.

        Args:
            name: Its relative name among the inputs.
        """
        path = PurePosixPath(name)
        own = path.suffix.lower()
        suffix = NAMES[self.format or "png"] if self.format is not None or own in READ_ONLY else path.suffix
        if not self.rename:
            if own not in READ_ONLY and (self.format is None or SUFFIXES.get(own) == SUFFIXES[suffix]):
                return name
            known = path.suffix.lower() in SUFFIXES
            return str(path.with_suffix(suffix)) if known else name + suffix
        if not self.key:
            raise InputError("rename: expected the key of an OUTPUT folder, got none")
        folders = [self._digest(str(folder), 16) for folder in list(path.parents)[-2::-1]]
        return "/".join([*folders, self._digest(name, 32) + suffix.lower()])

    def recorded_name(self, name: str) -> str:
        """Return the name under which ledger, report and state know a picture: its own, or a hashed one."""
        return self.name(name) if self.rename else name

    def hidden(self, name: str, text: str, also: Iterable[str] = ()) -> str:
        """Return a text with the released name in place of a picture's name, its last part, stem and folders.

        Args:
            name: The picture's relative name among the inputs.
            text: Such as the reason for which it was not released.
            also: What else may tell, such as the name that its annotations have for it.
        """
        path = PurePosixPath(name)
        released = PurePosixPath(self.name(name))
        pairs = [(name, str(released)), (path.name, released.name), (path.stem, released.stem)]
        pairs += [(part, "…") for part in (*path.parts[:-1], *also)]
        for part, shown in sorted(pairs, key=lambda pair: -len(pair[0])):
            text = text.replace(part, shown) if len(part) >= LEAST_TEXT else text
        return text

    def check_names(self, names: Iterable[str]) -> None:
        """Refuse pictures that would be released under one name.

        Raises:
            InputError: There are such.
        """
        seen: dict[str, str] = {}
        for name in names:
            released = self.name(name)
            for target in (released, *(map_name(kind, released) for kind in self.write[:1])):
                other = seen.setdefault(target, name)
                if other != name:
                    raise InputError(
                        f"{other} and {name} would both be released as {target}; rename one, or add --rename hash"
                    )

    def _digest(self, text: str, length: int) -> str:
        content = text.encode("utf-8", "surrogateescape")
        return hmac.new(self.key, content, hashlib.sha256).hexdigest()[:length]
