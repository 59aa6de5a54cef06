"""How released pictures are written and named: format, metadata kept, names."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from anonymizer.dataset.formats import NAMES, SUFFIXES
from anonymizer.dataset.metadata import check_groups
from anonymizer.dataset.names import LEAST_TEXT
from anonymizer.errors import InputError

__all__ = ["Release"]

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Release:
    """How results are released; part of what decides whether an earlier result stands.

    Names are hashed with a key (HMAC-SHA256) and not plainly: whoever guesses a file name, as one can guess plates and
    counters, could check the guess against a plain hash. The key is drawn once per OUTPUT and stays in its ``.state``,
    so that a resumed run gives the same names. Folders and files are hashed apart: what lay together stays together.

    Args:
        format: Key of ``formats.NAMES``, or None for the format of each source.
        keep_metadata: Groups of metadata to keep, see ``dataset.metadata``.
        rename: Whether released files get hashed names.
        key: The secret for that; see :meth:`with_key`.
        keep_fields: Fields of given annotations that stay although no list names them: a name (``weather``), or the
            end of a dotted path (``images.weather``).

    Raises:
        InputError: An unknown format or group, or no field's name.
    """

    format: str | None = None
    keep_metadata: tuple[str, ...] = ()
    rename: bool = False
    key: bytes = field(default=b"", repr=False)
    keep_fields: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in NAMES:
            raise InputError(f"format {self.format!r} is unknown; expected {', '.join(NAMES)}")
        object.__setattr__(self, "keep_metadata", check_groups(self.keep_metadata))
        for name in self.keep_fields:
            if not all(part and part == part.strip() for part in name.split(".")):
                raise InputError(
                    f"keep_fields {name!r}: expected a field's name or a dotted path, such as weather or images.weather"
                )
        object.__setattr__(self, "keep_fields", tuple(sorted(set(self.keep_fields))))

    def settings(self) -> dict[str, Any]:
        """Return what was chosen, without the key, as plain JSON data."""
        renamed = {"rename": "hash"} if self.rename else {}
        chosen: dict[str, Any] = {"format": self.format} if self.format is not None else {}
        if self.keep_metadata:
            chosen["keep_metadata"] = list(self.keep_metadata)
        if self.keep_fields:
            chosen["keep_fields"] = list(self.keep_fields)
        return chosen | renamed

    def settings_hash(self, anonymizer: str) -> str:
        """Return the digest of the anonymizer's settings and these; the anonymizer's own where nothing was chosen.

        Hashed names are part of it with their key: under another one no earlier picture would be found again.
        """
        settings = self.settings() | ({"names": self._digest("settings", 16)} if self.rename and self.key else {})
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
        if not self.rename:
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

    def name(self, name: str) -> str:
        """Return the relative name under which a picture is released.

        Args:
            name: Its relative name among the inputs.
        """
        path = PurePosixPath(name)
        suffix = path.suffix if self.format is None else NAMES[self.format]
        if not self.rename:
            if self.format is None or SUFFIXES.get(path.suffix.lower()) == SUFFIXES[suffix]:
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
            target = self.name(name)
            other = seen.setdefault(target, name)
            if other != name:
                raise InputError(
                    f"{other} and {name} would both be released as {target}; rename one, or add --rename hash"
                )

    def _digest(self, text: str, length: int) -> str:
        content = text.encode("utf-8", "surrogateescape")
        return hmac.new(self.key, content, hashlib.sha256).hexdigest()[:length]
