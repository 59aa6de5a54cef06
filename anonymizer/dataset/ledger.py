"""The run ledger: one line of JSON per picture, written when its fate is decided."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from anonymizer.dataset.atomic import write_atomic
from anonymizer.errors import InputError

__all__ = ["FINAL", "Ledger", "Record", "Status", "to_json"]

Status = Literal["released", "quarantined", "failed"]
Record = dict[str, Any]

#: States that the same picture and settings would reach again. A failure may have been a passing one, so it is retried.
FINAL: tuple[Status, ...] = ("released", "quarantined")


class Ledger:
    """The ledger of one OUTPUT folder; of several lines for a picture the newest counts.

    Each record holds at least ``name``, ``status``, ``input_sha256``, ``annotations_sha256`` and ``settings_hash``.

    Args:
        path: The file; use :meth:`open`.
        records: The newest record of each picture.
    """

    def __init__(self, path: Path, records: dict[str, Record]) -> None:
        self._path = path
        self._records = records

    @classmethod
    def open(cls, output: Path) -> Ledger:
        """Open or begin ``OUTPUT/ledger.jsonl``; a line that a killed run left unfinished is cut off.

        Raises:
            InputError: A whole line is damaged.
        """
        path = output / "ledger.jsonl"
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            with path.open("r+b") as file:
                file.truncate(len(whole))
                os.fsync(file.fileno())
        records: dict[str, Record] = {}
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                record = json.loads(line)
                records[record["name"]] = record
                complete = {"status", "input_sha256", "settings_hash"} <= record.keys()
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                complete = False
            if not complete:
                raise InputError(f"{path}, line {number}: damaged, expected a JSON record; run again with overwrite")
        return cls(path, records)

    def __iter__(self) -> Iterator[Record]:
        """Yield the newest record of each picture, ordered by name."""
        return iter([self._records[name] for name in sorted(self._records)])

    def get(self, name: str) -> Record | None:
        """Return the newest record of a picture, or None."""
        return self._records.get(name)

    def finished(self, name: str, input_sha256: str, settings_hash: str, annotations_sha256: str | None = None) -> bool:
        """Return whether the picture, with these settings and annotations, was released or quarantined before."""
        record = self._records.get(name)
        return (
            record is not None
            and record["status"] in FINAL
            and record["input_sha256"] == input_sha256
            and record["settings_hash"] == settings_hash
            and record.get("annotations_sha256") == annotations_sha256
        )

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a record; when this returns it is on the disk.

        Raises:
            OSError: It could not be written; what was written of it is cut off when the ledger is next opened.
        """
        with self._path.open("ab") as file:
            file.write(to_json(record) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._records[record["name"]] = dict(record)

    def compact(self, staging: Path) -> None:
        """Rewrite the file, whole or not at all, so that each picture has one line, ordered by name."""
        write_atomic(self._path, b"".join(to_json(record) + b"\n" for record in self), staging=staging)


def to_json(value: object) -> bytes:
    """Return strict one-line JSON in ASCII; NumPy numbers become plain ones, figures that are not finite null."""
    return json.dumps(_plain(value), allow_nan=False).encode("ascii")


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | bool):
        return value
    # Arrays would be pixels or embeddings, which never belong into a ledger.
    raise TypeError(f"ledger values must be plain JSON data, got {type(value).__name__}")
