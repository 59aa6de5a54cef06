"""Pairs of originals and released pictures, and what the run's ledger says about them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from anonymizer.core.errors import InputError
from anonymizer.evaluation.records import Pair
from anonymizer.run.inputs import Found, find_inputs
from anonymizer.run.ledger import SCHEMA_VERSION, refuse_newer

__all__ = ["Pairing", "Rule", "Run", "by_stem", "find_pairs", "read_run", "stem"]


@dataclass(frozen=True, slots=True)
class Run:
    """What a ledger says.

    Args:
        statuses: Number of pictures by status.
        released: Name under which each picture was released, by its own name.
        withheld: Names of pictures that were not.
        models: Models by id with their sha256.
        presets: Presets used.
    """

    statuses: Mapping[str, int] = field(default_factory=dict)
    released: Mapping[str, str] = field(default_factory=dict)
    withheld: frozenset[str] = frozenset()
    models: Mapping[str, str] = field(default_factory=dict)
    presets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pairing:
    """The pairs found and what found no partner.

    Args:
        pairs: Ordered by name.
        withheld: Originals without a released picture that the ledger says were quarantined or failed.
        missing: Originals without a released picture, unexplained.
        extra: Released pictures without an original.
        run: The ledger's content, or None for a plain folder.
    """

    pairs: tuple[Pair, ...]
    withheld: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    run: Run | None


@dataclass(frozen=True, slots=True)
class Rule:
    """How a tool names what it releases.

    Args:
        suffix: Put behind the name, before the file's suffix: ``_anonymized`` makes ``a.jpg`` to ``a_anonymized.jpg``.
        table: Released name by original's name; what is not in it was not released.
    """

    suffix: str = ""
    table: Mapping[str, str] | None = None

    @classmethod
    def read(cls, path: Path) -> Rule:
        """Read a table of pairs: a CSV file with two columns, original and released, as relative paths; no heading.

        Raises:
            InputError: It cannot be read, has other columns, or names one picture twice.
        """
        try:
            with path.open(encoding="utf-8", newline="") as lines:
                rows = [row for row in csv.reader(lines) if row]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"--pairs {path}: expected a readable CSV file in UTF-8, got {error}") from error
        table: dict[str, str] = {}
        for number, row in enumerate(rows, start=1):
            if len(row) != 2 or not all(row):
                raise InputError(f"--pairs {path}, row {number}: expected original,released, got {len(row)} columns")
            if row[0] in table or row[1] in table.values():
                raise InputError(f"--pairs {path}, row {number}: {', '.join(row)}: one of them was named before")
            table[row[0]] = row[1]
        return cls(table=table)

    def __call__(self, name: str) -> str | None:
        """Return the name under which an original was released, None if it was not."""
        if self.table is not None:
            return self.table.get(name)
        return f"{stem(name)}{self.suffix}{PurePosixPath(name).suffix}"


def find_pairs(
    originals: Path, anonymized: Path, out: Path, again: Path | None = None, *, rule: Rule | None = None
) -> Pairing:
    """Pair pictures by relative path; the suffix may differ. A run's ledger knows what it released under other names.

    Args:
        originals: Folder, file or pattern of originals.
        anonymized: OUTPUT of a run (with ``images`` and ``ledger.jsonl``), or any folder of released pictures.
        out: Where results will go; must not lie inside either.
        again: The same originals anonymized a second time, or None.
        rule: How released pictures of another tool are named, or None: as their originals.

    Raises:
        InputError: A place that cannot be read, the same folder twice, names that fit several, or nothing paired.
    """
    known = rule or Rule()
    released = _Released(anonymized, out, known)
    second = None if again is None else _Released(again, out, known)
    for folder in (released, *([second] if second else [])):
        if folder.pictures.resolve() == originals.resolve():
            raise InputError(
                f"ORIGINALS and released pictures are both {originals}; give originals and what became of them"
            )
    sources, run = find_inputs(originals, out).files, released.run
    by_stem(sources, "ORIGINALS")
    pairs, withheld, missing = [], [], []
    for source in sources:
        target = released.take(source.name)
        if target is not None:
            other = None if second is None else second.take(source.name)
            pairs.append(Pair(source.name, source.path, target, other))
        elif run is not None and source.name in run.withheld:
            withheld.append(source.name)
        else:
            missing.append(source.name)
    if not pairs:
        raise InputError(
            f"nothing to evaluate: none of {len(sources)} originals (first: {sources[0].name}) has a released picture "
            f"of the same relative path in {released.pictures}"
            + (f"; {len(withheld)} were quarantined or failed" if withheld else f" (first: {released.left()[0]})")
        )
    if again is not None and not any(pair.again for pair in pairs):
        raise InputError(f"{again}: expected the same pictures anonymized a second time, none has a name in common")
    return Pairing(tuple(pairs), tuple(withheld), tuple(missing), released.left(), run)


def read_run(ledger: Path) -> Run:
    """Read what matters of a run's ledger; the file is left as it is.

    Raises:
        InputError: It cannot be read, or a whole line is damaged or of a newer schema.
    """
    statuses: dict[str, str] = {}
    released: dict[str, str] = {}
    models: dict[str, str] = {}
    presets: set[str] = set()
    try:
        with ledger.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    break  # a killed run left it unfinished
                try:
                    record = json.loads(line)
                    refuse_newer(record, f"{ledger}, line {number}", SCHEMA_VERSION)
                    statuses[record["name"]] = str(record["status"])
                    released[record["name"]] = str(record.get("released_name") or record["name"])
                    provenance = record.get("provenance", {})
                    models |= {str(key): str(value) for key, value in provenance.get("models", {}).items()}
                    presets |= {str(provenance["preset"])} if "preset" in provenance else set()
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                    raise InputError(f"{ledger}, line {number}: damaged, expected a JSON record of a run") from error
    except OSError as error:
        raise InputError(f"{ledger}: expected a readable ledger, got {error.strerror}") from error
    return Run(
        statuses=dict(Counter(statuses.values())),
        released={name: released[name] for name, status in statuses.items() if status == "released"},
        withheld=frozenset(name for name, status in statuses.items() if status != "released"),
        models=models,
        presets=tuple(sorted(presets)),
    )


class _Released:
    """The released pictures of a folder, each to be taken once.

    Args:
        place: OUTPUT of a run, or a plain folder.
        out: Where results will go.
        rule: How the pictures of a plain folder are named.
    """

    def __init__(self, place: Path, out: Path, rule: Rule) -> None:
        self.pictures, self.run, self._rule = place, None, rule
        ledger = place / "ledger.jsonl"
        if ledger.is_file():
            self.pictures, self.run = place / "images", read_run(ledger)
            if not self.run.released:
                raise InputError(f"ANONYMIZED {place}: a run's folder, but no picture of it was released")
        self._left = by_stem(find_inputs(self.pictures, out).files, f"released pictures in {place}")

    def take(self, name: str) -> Path | None:
        """Return the picture that was made of the original of a name, None if there is none left."""
        known = self._rule(name) if self.run is None else self.run.released.get(name, name)
        found = None if known is None else self._left.pop(stem(known), None)
        return None if found is None else found.path

    def left(self) -> tuple[str, ...]:
        """Return the names of what was not taken."""
        return tuple(sorted(found.name for found in self._left.values()))


def by_stem(files: Iterable[Found], what: str) -> dict[str, Found]:
    """Return files by their names without suffix.

    Raises:
        InputError: Two differ in their suffix only.
    """
    out: dict[str, Found] = {}
    for file in files:
        other = out.setdefault(stem(file.name), file)
        if other is not file:
            raise InputError(f"{what}: {other.name} and {file.name} differ in their suffix only; keep one of them")
    return out


def stem(name: str) -> str:
    """Return a relative name without its suffix."""
    return PurePosixPath(name).with_suffix("").as_posix()
