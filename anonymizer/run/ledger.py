"""The run ledger: one line of JSON per picture, written when its fate is decided, each line bound to the one before.

Every line holds, as ``previous``, the sha256 of the line before it (of its bytes without the newline; 64 zeros for the
first). A line that is altered, taken out, put in or moved breaks the chain at the next line. What the chain cannot
show by itself: lines cut off at the end, and a chain made anew over altered lines, as it holds no secret. The first is
caught by the seal of a finished run, the second only by whoever kept the seal's head elsewhere (see ``run.audit``).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal

from anonymizer.core.errors import InputError
from anonymizer.core.files import to_json, write_atomic

__all__ = [
    "FINAL",
    "SCHEMA_VERSION",
    "START",
    "Ledger",
    "Record",
    "Status",
    "chained",
    "line_digest",
    "read_lines",
    "refuse_newer",
    "stays_inside",
]

Status = Literal["released", "quarantined", "failed", "withdrawn"]
Record = dict[str, Any]

#: States that the same picture and settings would reach again. A failure may have been a passing one, so it is retried.
FINAL: tuple[Status, ...] = ("released", "quarantined")
#: What the first line names as the line before it.
START = "0" * 64
#: Version of the records, in each as ``schema_version``; grows with every change that a reader must know of. Records of
#: release 0.1 have none and count as 1; 2 added the status ``withdrawn``, the mark ``in_input``, what a review asked
#: for (``review_sha256``) and what was left as it is (``areas``, ``excluded``, ``consented``).
SCHEMA_VERSION = 2
_NEEDED = frozenset({"name", "status", "input_sha256", "settings_hash"})


class Ledger:
    """The ledger of one OUTPUT folder; of several lines for a picture the newest counts.

    Each record holds at least ``name``, ``status``, ``input_sha256``, ``annotations_sha256`` and ``settings_hash``.
    Only names and places in the file are held in memory, so that millions of records fit.

    Args:
        path: The file; use :meth:`open`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, int] = {}
        self._head = START
        self._lines = 0

    @classmethod
    def open(cls, output: Path) -> Ledger:
        """Open or begin ``OUTPUT/ledger.jsonl``; a line that a killed run left unfinished is cut off.

        Raises:
            InputError: A whole line is damaged or of a newer schema, or the chain of lines is broken.
        """
        path = output / "ledger.jsonl"
        ledger = cls(path)
        if not path.exists():
            return ledger
        end = 0
        with path.open("rb") as file:
            for number, (place, line, record) in enumerate(read_lines(file), start=1):
                if record is None:
                    raise InputError(
                        f"{path}, line {number}: damaged, expected a JSON record; run again with overwrite"
                    )
                refuse_newer(record, f"{path}, line {number}", SCHEMA_VERSION)
                if record.get("previous") != ledger._head:
                    raise InputError(
                        f"{path}, line {number}: does not follow the line before it, lines were changed, removed or "
                        "moved; find out by whom, then run again with overwrite"
                    )
                ledger._places[record["name"]] = place
                ledger._head, ledger._lines, end = line_digest(line), number, place + len(line)
        if end < path.stat().st_size:
            with path.open("r+b") as file:
                file.truncate(end)
                os.fsync(file.fileno())
        return ledger

    @property
    def head(self) -> str:
        """Hex sha256 of the last line: whoever knows it can tell whether any line was changed since."""
        return self._head

    @property
    def lines(self) -> int:
        """Number of lines, superseded ones included."""
        return self._lines

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Record]:
        """Yield the newest record of each picture, ordered by name."""
        if not self._places:
            return
        with self._path.open("rb") as file:
            for name in sorted(self._places):
                yield _at(file, self._places[name])

    def get(self, name: str) -> Record | None:
        """Return the newest record of a picture, or None."""
        if name not in self._places:
            return None
        with self._path.open("rb") as file:
            return _at(file, self._places[name])

    def finished(self, name: str, input_sha256: str, settings_hash: str, annotations_sha256: str | None = None) -> bool:
        """Return whether the picture, with these settings and annotations, was released or quarantined before."""
        record = self.get(name)
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
        line = chained(record, self._head, SCHEMA_VERSION)
        with self._path.open("ab") as file:
            place = file.tell()
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._places[record["name"]] = place
        self._head, self._lines = line_digest(line), self._lines + 1

    def compact(self, staging: Path) -> None:
        """Rewrite the file, whole or not at all, so that each picture has one line, ordered by name, chained anew."""
        places: dict[str, int] = {}
        head, end = START, 0

        def lines() -> Iterator[bytes]:
            nonlocal head, end
            for record in self:
                line = chained(record, head, SCHEMA_VERSION)
                places[record["name"]], head, end = end, line_digest(line), end + len(line)
                yield line

        write_atomic(self._path, lines(), staging=staging)
        self._places, self._head, self._lines = places, head, len(places)


def refuse_newer(record: Mapping[str, Any], where: str, newest: int) -> None:
    """Refuse what a later release wrote, as its meaning is not known here.

    Args:
        record: A record or a document; without ``schema_version`` it is of the first schema.
        where: What to call it.
        newest: The newest schema that is known.

    Raises:
        InputError: It is of a newer schema, or its version is no number.
    """
    version = record.get("schema_version", 1)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1 or version > newest:
        raise InputError(
            f"{where}: schema version {str(version)[:20]!a}, expected at most {newest}; use the release of anonymizer "
            "that wrote it, or a later one"
        )


def _is_whole(record: Record) -> bool:
    """Return whether a record has what every record of a ledger needs, and names that lead nowhere else."""
    whole = record.keys() >= _NEEDED and isinstance(record["name"], str)
    return whole and all(stays_inside(str(record.get(key, "x"))) for key in ("name", "released_name"))


def read_lines(
    file: BinaryIO, is_whole: Callable[[Record], bool] = _is_whole
) -> Iterator[tuple[int, bytes, Record | None]]:
    """Yield place, bytes and record of every whole line; the record is None where it is damaged.

    A last line without its newline is left out: a killed run may leave one.

    Args:
        file: A chain of lines, opened for reading.
        is_whole: Whether a JSON object has what a record of this chain needs; as in ledgers if left out.
    """
    place = 0
    for line in file:
        if not line.endswith(b"\n"):
            return
        yield place, line, _record(line, is_whole)
        place += len(line)


def chained(record: Mapping[str, Any], head: str, version: int) -> bytes:
    """Return a record as the line that follows the one with this digest."""
    return to_json({"previous": head, "schema_version": version, **record}) + b"\n"


def line_digest(line: bytes) -> str:
    """Return the hex sha256 of a line without its newline: what the next line names as ``previous``."""
    return hashlib.sha256(line.removesuffix(b"\n")).hexdigest()


def _record(line: bytes, is_whole: Callable[[Record], bool]) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and is_whole(record) else None


def stays_inside(name: str) -> bool:
    """Return whether a name, taken relative to a folder, stays in it."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _at(file: BinaryIO, place: int) -> Record:
    """Return the record whose line starts at a place, without its link to the line before."""
    file.seek(place)
    record: Record = json.loads(file.readline())
    record.pop("previous", None)
    # A line that is written again has the newest schema: what an older one lacks has the meaning it had.
    record.pop("schema_version", None)
    return record
