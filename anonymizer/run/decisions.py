"""Decisions of reviewers: one line of JSON each in ``OUTPUT/review.jsonl``, bound to the line before as in the ledger.

Nothing is ever changed or taken out: who thinks better of a decision adds one that undoes it. What stands of the
decisions on a picture are the instructions that the next run follows, and maybe a signature. A signature stands while
it is the last word on the picture and the picture is, byte for byte, the one that was signed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from anonymizer.annotations.regions import instance_from
from anonymizer.core.errors import InputError
from anonymizer.core.files import to_json
from anonymizer.core.geometry import box_iou
from anonymizer.core.records import CLASSES, REVIEWED, Instance, Wish
from anonymizer.run.ledger import START, Record, chained, line_digest, read_lines, refuse_newer, stays_inside

__all__ = ["KINDS", "REVIEW", "SCHEMA_VERSION", "WISHES", "Instructions", "Reviewed", "Reviews", "opened"]

#: The file, relative to OUTPUT.
REVIEW = "review.jsonl"
#: Version of its records, in each as ``schema_version``; grows with every change that a reader must know of.
SCHEMA_VERSION = 1
#: What a run is to do with an instance, by decision.
WISHES: Mapping[str, Wish] = {"false_find": "leave", "redraw": "redraw", "fill": "fill"}
KINDS = ("missed", *WISHES, "reject", "accept", "undo")
#: From this IoU on, two boxes of a class are one instance, as for given annotations.
SAME_BOX = 0.5
#: Longest name of a reviewer, and longest comment, in characters.
LONGEST = {"reviewer": 100, "comment": 500}
#: Most points of a polygon: a hand does not draw more.
MOST_POINTS = 1000
_DIGITS = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Instructions:
    """What reviewers ask of the next run about one picture.

    Args:
        sources: Hex sha256 of the source pictures that the decisions are about: one, unless the source changed.
        marks: What was missed: ``label`` with ``bbox`` (x, y, width, height) or ``segmentation`` (polygons), in pixels
            of the source, upright.
        wishes: What becomes of instances: ``label``, ``bbox`` and ``wish``.
        redraws: How often another redraw was asked for: each time chance starts elsewhere.
        rejected: Why the picture is not to be released; None where it is not rejected.
    """

    sources: tuple[str, ...] = ()
    marks: tuple[Record, ...] = ()
    wishes: tuple[Record, ...] = ()
    redraws: int = 0
    rejected: str | None = None

    @property
    def digest(self) -> str | None:
        """Hex sha256 of what is asked, None where nothing is: a picture with the same digest was made that way."""
        if not self.marks and not self.wishes and not self.redraws and self.rejected is None:
            return None
        asked = [list(self.marks), list(self.wishes), self.redraws, self.rejected]
        return hashlib.sha256(to_json(asked)).hexdigest()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is asked, in a few words each."""
        wished = [str(record["wish"]) for record in self.wishes]
        told = (
            (len(self.marks), "marked as missed"),
            (wished.count("leave"), "left as false finds"),
            (wished.count("fill"), "filled"),
            (self.redraws, "redrawn again"),
        )
        return tuple(f"review: {count} {what}" for count, what in told if count)

    def refusal(self, sha256: str) -> str | None:
        """Return why a picture with this content is not to be released, None if nothing speaks against it."""
        if self.rejected is not None:
            return f"rejected in review: {self.rejected}" if self.rejected else "rejected in review"
        if any(source != sha256 for source in self.sources):
            return "its source has changed since it was reviewed; undo those decisions and review it again"
        return None

    def marked(self, size: tuple[int, int]) -> tuple[Instance, ...]:
        """Return the marks alone: all pixels of their masks are to be treated."""
        return self.instances(size)[: len(self.marks)]

    def instances(self, size: tuple[int, int], first: int = 1) -> tuple[Instance, ...]:
        """Return marks and wishes as instances of a picture of (height, width), numbered from ``first``.

        Raises:
            InputError: One lies outside of the picture.
        """
        out: list[Instance] = []
        for record in (*self.marks, *self.wishes):
            instance, notes = instance_from(first + len(out), record["label"], record, size)
            if instance is None:
                raise InputError(f"review: {record['label']} {'; '.join(notes)}; undo the decision and mark it again")
            wish = cast(Wish | None, record.get("wish"))
            out.append(replace(instance, source=REVIEWED, record=None, wish=wish))
        return tuple(out)


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What reviewers said of one picture.

    Args:
        lines: Every decision, in order.
        undone: Numbers of those that were taken back.
    """

    lines: tuple[Record, ...] = ()
    undone: frozenset[int] = field(default_factory=frozenset)

    @property
    def standing(self) -> tuple[Record, ...]:
        """Decisions that were not taken back, without those that took something back."""
        return tuple(r for r in self.lines if r["number"] not in self.undone and r["decision"] != "undo")

    @property
    def instructions(self) -> Instructions:
        """What the next run is to do."""
        marks: list[Record] = []
        wishes: list[Record] = []
        redraws, rejected = 0, None
        asking = [record for record in self.standing if record["decision"] != "accept"]
        for record in asking:
            kind = record["decision"]
            if kind == "missed":
                marks.append({key: record[key] for key in ("label", "bbox", "segmentation") if key in record})
            elif kind == "reject":
                rejected = record.get("comment", "")
            else:
                # The last wish about an instance counts.
                wishes = [wish for wish in wishes if not _same(wish, record)]
                wishes.append({"label": record["label"], "bbox": record["bbox"], "wish": WISHES[kind]})
                redraws += kind == "redraw"
        sources = dict.fromkeys(record["input_sha256"] for record in asking)
        return Instructions(tuple(sources), tuple(marks), tuple(wishes), redraws, rejected)

    def signed_by(self, output_sha256: str | None) -> str | None:
        """Return who signed the picture with this content, None if nobody did or something was said since."""
        last = self.lines[-1] if self.lines else {}
        stands = last.get("decision") == "accept" and output_sha256 is not None
        return last["reviewer"] if stands and last["output_sha256"] == output_sha256 else None


class Reviews:
    """All decisions on the pictures of one OUTPUT.

    Args:
        path: The file; use :meth:`open` or :meth:`read`.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._pictures: dict[str, Reviewed] = {}
        self._names: list[str] = []
        self._end = 0
        self._heads = [START]

    @classmethod
    def open(cls, output: Path) -> Reviews:
        """Open ``OUTPUT/review.jsonl``, if there is one; a line that was not written whole is cut off.

        Whoever opens it holds OUTPUT's lock.

        Raises:
            InputError: A line is damaged or of a newer schema, the chain is broken, or lines are gone that the seal
                of the last run or review vouches for.
        """
        path = output / REVIEW
        reviews = cls(path)
        if path.exists():
            with path.open("rb") as file:
                reviews._take(file, str(path))
            if reviews._end < path.stat().st_size:
                with path.open("r+b") as file:
                    file.truncate(reviews._end)
                    os.fsync(file.fileno())
        reviews._check_sealed(output / "seal.json")
        return reviews

    @classmethod
    def read(cls, file: BinaryIO, where: str) -> Reviews:
        """Read decisions, and change nothing.

        Args:
            file: The file's content.
            where: What to call it.

        Raises:
            InputError: A line is damaged or of a newer schema, or the chain is broken.
        """
        reviews = cls()
        reviews._take(file, where)
        return reviews

    @property
    def head(self) -> str:
        """Hex sha256 of the last line."""
        return self._heads[-1]

    @property
    def lines(self) -> int:
        """Number of decisions."""
        return len(self._names)

    @property
    def end(self) -> int:
        """Bytes of whole lines."""
        return self._end

    @property
    def seal(self) -> dict[str, Any]:
        """What the seal says of them."""
        return {"lines": self.lines, "head": self.head}

    def __iter__(self) -> Iterator[str]:
        """Yield the names of pictures with decisions, ordered."""
        return iter(sorted(self._pictures))

    def __getitem__(self, name: str) -> Reviewed:
        return self._pictures.get(name, Reviewed())

    def continues(self, sealed: object) -> bool:
        """Return whether these are the decisions that a seal vouches for, maybe with more behind them."""
        if not isinstance(sealed, Mapping):
            return sealed is None
        lines, head = sealed.get("lines"), sealed.get("head")
        return isinstance(lines, int) and 0 <= lines < len(self._heads) and self._heads[lines] == head

    def append(self, name: str, decision: str, reviewer: str, **fields: Any) -> Record:
        """Add a decision and return it; when this returns it is on the disk.

        Args:
            name: The picture's name in the ledger.
            decision: One of ``KINDS``.
            reviewer: Who decides.
            **fields: ``input_sha256`` and ``output_sha256`` of the picture that was seen; ``label`` with ``bbox`` or
                ``segmentation`` where it is about an instance; ``of``, the number of the one to undo; ``comment``.

        Raises:
            InputError: No such decision, or something is wrong with its fields.
            OSError: It could not be written.
        """
        if self._path is None:
            raise InputError("review: expected decisions that were opened for writing, got a copy")
        time = datetime.now(UTC).isoformat(timespec="seconds")
        record = {"number": self.lines + 1, "name": name, "decision": decision, "reviewer": reviewer, "time": time}
        record |= fields
        problem = _problem(record) or self._misses(record)
        if problem:
            raise InputError(f"review: {problem}")
        line = chained(record, self.head, SCHEMA_VERSION)
        with self._path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._add(record, line)
        return record

    def _take(self, file: BinaryIO, where: str) -> None:
        for number, (_, line, record) in enumerate(read_lines(file, lambda record: "decision" in record), start=1):
            if record is None:
                raise InputError(f"{where}, line {number}: no decision; put back the file as it was")
            refuse_newer(record, f"{where}, line {number}", SCHEMA_VERSION)
            if record.get("previous") != self.head or record.get("number") != number:
                raise InputError(
                    f"{where}, line {number}: does not follow the line before it: changed, removed, added or moved; "
                    "find out by whom and put back the file as it was"
                )
            problem = _problem(record) or self._misses(record)
            if problem:
                raise InputError(f"{where}, line {number}: {problem}; put back the file as it was")
            self._add({k: v for k, v in record.items() if k not in ("previous", "schema_version")}, line)

    def _add(self, record: Record, line: bytes) -> None:
        before = self[record["name"]]
        undone = before.undone | ({record["of"]} if record["decision"] == "undo" else set())
        self._pictures[record["name"]] = Reviewed((*before.lines, record), undone)
        self._names.append(record["name"])
        self._heads.append(line_digest(line))
        self._end += len(line)

    def _misses(self, record: Record) -> str | None:
        """Return what is wrong with an undoing: it takes back a decision on the same picture, once."""
        if record["decision"] != "undo":
            return None
        known = {earlier["number"] for earlier in self[record["name"]].standing}
        return None if record["of"] in known else "expected the number of a decision on this picture that stands"

    def _check_sealed(self, path: Path) -> None:
        try:
            sealed = json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError, RecursionError):
            return  # No finished run; or ``verify`` tells that the seal is none.
        if isinstance(sealed, dict) and not self.continues(sealed.get("review")):
            raise InputError(
                f"{self._path}: lacks decisions that the seal vouches for; put back the file as it was, or run with "
                "overwrite"
            )


def opened(record: Mapping[str, Any], reviewed: Reviewed) -> bool:
    """Return whether what reviewers ask about a picture differs from what its line of the ledger was made for."""
    return record.get("review_sha256") != reviewed.instructions.digest


def _same(wish: Record, record: Record) -> bool:
    if wish["label"] != record["label"]:
        return False
    boxes = [np.array([[x, y, x + w, y + h]], np.float32) for x, y, w, h in (wish["bbox"], record["bbox"])]
    return float(box_iou(*boxes)[0, 0]) >= SAME_BOX


def _problem(record: Record) -> str | None:
    """Return what is wrong with a record's fields, None if nothing is."""
    kind = record["decision"]
    if kind not in KINDS:
        return f"decision {str(kind)[:40]!a}, expected one of {', '.join(KINDS)}"
    for key in ("name", "reviewer", "time"):
        if not isinstance(record.get(key), str) or not record[key].strip():
            return f"{key}: expected a text"
    if not stays_inside(record["name"]):
        return "name: leads out of the folder"
    for key, most in LONGEST.items():
        text = record.get(key, "")
        if not isinstance(text, str) or len(text) > most or not text.isprintable():
            return f"{key}: expected at most {most} printable characters on one line"
    hashes = {"input_sha256": kind == "undo", "output_sha256": kind != "accept"}
    for key, optional in hashes.items():
        value = record.get(key)
        if not (_is_digest(value) or (value is None and optional)):
            return f"{key}: expected 64 hexadecimal digits"
    if kind == "undo":
        return None if type(record.get("of")) is int else "of: expected the number of a decision"
    return _shape_problem(record) if kind == "missed" or kind in WISHES else None


def _shape_problem(record: Record) -> str | None:
    if record.get("label") not in CLASSES:
        return f"label: expected one of {', '.join(CLASSES)}"
    box, polygons = record.get("bbox"), record.get("segmentation")
    if record["decision"] == "missed" and (box is None) == (polygons is None):
        return "expected bbox or segmentation"
    if polygons is not None and record["decision"] == "missed":
        whole = isinstance(polygons, list) and len(polygons) == 1 and isinstance(polygons[0], list)
        points = polygons[0] if whole else []
        if not 6 <= len(points) <= 2 * MOST_POINTS or len(points) % 2 or not _finite(points):
            return f"segmentation: expected one polygon of 3 to {MOST_POINTS} points"
        return None
    if not isinstance(box, list) or len(box) != 4 or not _finite(box) or min(box[2:]) <= 0:
        return "bbox: expected x, y, width and height with an area"
    return None


def _finite(values: Iterable[object]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e7 for v in values)


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= _DIGITS
