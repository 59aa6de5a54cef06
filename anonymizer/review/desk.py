"""Desk: the pictures of one OUTPUT as reviewers see them, and the decisions that they make."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from anonymizer.core.errors import InputError
from anonymizer.core.records import CLASSES
from anonymizer.images.decode import decode_image, read_bytes, thumbnail
from anonymizer.images.release import Release
from anonymizer.images.storage import is_url
from anonymizer.review.doubt import doubt
from anonymizer.run.decisions import LONGEST, REVIEW, WISHES, Reviews, opened
from anonymizer.run.delivery import COPY_FIRST
from anonymizer.run.inputs import Source, find_inputs
from anonymizer.run.ledger import SCHEMA_VERSION, START, Record, line_digest, read_lines, refuse_newer
from anonymizer.run.output import OutputFolder, hold_back, is_output

__all__ = ["FITTED", "Desk"]

#: Longest side in pixels of a picture that is shown to fit a screen, and of a thumbnail.
FITTED = 2560
THUMBNAIL = 480
#: Thumbnails that are held, of about 30 kB each; and JPEG quality of what is shown, where losses cannot be seen.
_HELD = 1000
_QUALITY = 92
#: Pictures decoded at once: a browser asks for dozens of thumbnails, and each may have 200 megapixels.
_AT_ONCE = 2


class Desk:
    """What reviewers see and do; every method may be called from several threads.

    Args:
        output: OUTPUT of a run, a folder on this machine.
        reviewer: Who decides.
        source: INPUT of the run, to show originals; they are read when asked for, and never written anywhere.

    Raises:
        InputError: No such folder, a damaged ledger or review, no name, or INPUT holds none of the pictures.
    """

    def __init__(self, output: Path | str, reviewer: str, source: Source | None = None) -> None:
        if is_url(output):
            raise InputError(f"OUTPUT {output}: {COPY_FIRST}, then review and run there")
        self._output = Path(output)
        if not (self._output / "ledger.jsonl").is_file() or not is_output(self._output):
            raise InputError(f"OUTPUT {output}: expected the folder of a run with its ledger.jsonl; check the path")
        self.reviewer = " ".join(reviewer.split())
        if not self.reviewer or not self.reviewer.isprintable() or len(self.reviewer) > LONGEST["reviewer"]:
            most = LONGEST["reviewer"]
            raise InputError(f"reviewer {reviewer[:40]!a}: expected a name of at most {most} characters")
        self._lock = threading.RLock()
        self._decoding = threading.BoundedSemaphore(_AT_ONCE)
        self._ledger = _LedgerView(self._output / "ledger.jsonl")
        self._reviews = Reviews()
        self._seen: tuple[int, ...] = ()
        self._thumbnail = lru_cache(maxsize=_HELD)(self._draw_thumbnail)
        self.refresh()
        self._originals = {} if source is None else self._find(source)

    @property
    def has_originals(self) -> bool:
        """Whether originals can be shown."""
        return bool(self._originals)

    def refresh(self) -> str:
        """Take in what runs and reviewers wrote since; return a text that differs whenever anything changed.

        Raises:
            InputError: Ledger or review is damaged.
        """
        with self._lock:
            review = self._output / REVIEW
            status = review.stat() if review.exists() else None
            mark = () if status is None else (status.st_ino, status.st_size, status.st_mtime_ns)
            self._ledger.refresh()
            if mark != self._seen:
                with review.open("rb") as file:
                    self._reviews = Reviews.read(file, str(review))
                self._seen = mark
            return f"{self._ledger.head[:16]}-{self._reviews.head[:16]}"

    def overview(self) -> dict[str, Any]:
        """Return all pictures, the most doubtful first, and what holds for all of them."""
        with self._lock:
            version = self.refresh()
            entries = [{"name": n, **e["told"], "state": self._state(e)} for n, e in self._ledger.extracts.items()]
            entries.sort(key=lambda entry: (-entry["doubt"], entry["name"]))
            states = Counter(entry["state"] for entry in entries)
        return {
            "version": version,
            "output": self._output.resolve().name,
            "reviewer": self.reviewer,
            "originals": self.has_originals,
            "states": states,
            "pictures": entries,
        }

    def picture(self, name: str) -> dict[str, Any]:
        """Return what is known of one picture.

        Raises:
            InputError: The ledger does not know it.
        """
        with self._lock:
            version = self.refresh()
            record, reviewed = self._record(name), self._reviews[name]
            state = self._state(record)
        shown = ("id", "label", "box", "score", "source", "action", "attempts", "method", "second_pass")
        reason = str(record.get("reason", ""))
        x, y = _factors(record)
        return {
            "version": version,
            "name": name,
            "state": state,
            "status": record["status"],
            "reason": reason,
            "why": doubt(record)[1],
            "size": self._size(record),
            "seen": record.get("output_sha256"),
            "original": name in self._originals,
            "classes": _classes(record),
            "instances": [{k: i[k] for k in shown if k in i} for i in record.get("instances", ())],
            "failed": [v for v in record.get("verdicts", ()) if not v["passed"]],
            "decisions": [
                {**_scaled(line, 1 / x, 1 / y), "undone": line["number"] in reviewed.undone}
                for line in reviewed.lines
                if line["decision"] != "undo"
            ],
            "signed": reviewed.signed_by(record.get("output_sha256")),
        }

    def thumbnail(self, name: str) -> bytes:
        """Return a small JPEG of a result, or of the original where nothing was released and INPUT is given.

        Raises:
            InputError: There is neither.
        """
        record = self._current(name)
        digest = record.get("output_sha256")
        if digest is None:
            return self._shown(self._original(record), name, THUMBNAIL)
        return self._thumbnail(name, str(digest))

    def result(self, name: str, full: bool = False) -> bytes:
        """Return a released picture, or one that the review holds back, as a JPEG that fits a screen.

        Args:
            name: Its name in the ledger.
            full: In its full size instead.

        Raises:
            InputError: There is none, or it is not the one that the run wrote.
        """
        return self._shown(self._result(self._current(name)), name, None if full else FITTED)

    def original(self, name: str, full: bool = False) -> bytes:
        """Return a picture of INPUT in the same way.

        Raises:
            InputError: INPUT is not given or lacks it, or it has changed since the run.
        """
        return self._shown(self._original(self._current(name)), name, None if full else FITTED)

    def decide(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Write a decision down and hold the picture back if a run has to follow it; return the picture as it is now.

        Args:
            asked: ``name``; ``decision``, one of ``decisions.KINDS``; ``seen``, the output sha256 that was looked at;
                ``instance``, an id, for wishes about an instance; ``label`` with ``bbox`` or ``segmentation`` for what
                was missed; ``of`` to undo; ``comment`` to reject.

        Raises:
            InputError: It is not one, the picture is another one by now, or a run is at work in OUTPUT.
        """
        name, kind = str(asked.get("name")), str(asked.get("decision"))
        # The lock of OUTPUT: no run reads half of the decisions, and no two reviewers write at once.
        with self._lock, OutputFolder(self._output) as folder:
            self.refresh()
            record = self._record(name)
            fields = self._fields(record, kind, asked)
            with folder.writing():
                reviews = Reviews.open(folder.path)
                reviews.append(name, kind, self.reviewer, **fields)
            hold_back(folder, record, reviews)
            folder.seal_review(reviews)
        return self.picture(name)

    def _fields(self, record: Record, kind: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a decision, held to what the run wrote."""
        name, digest = record["name"], record.get("output_sha256")
        if asked.get("seen") != digest:
            raise InputError(f"{name}: a run has made it anew since it was shown; look at it again")
        fields: dict[str, Any] = {"input_sha256": record.get("input_sha256"), "output_sha256": digest}
        if kind == "undo":
            return {"of": asked.get("of")}
        if fields["input_sha256"] is None:
            raise InputError(f"{name}: the run could not read it, so there is nothing to decide; run again")
        if kind == "accept":
            if record["status"] != "released" or opened(record, self._reviews[name]):
                raise InputError(f"{name}: not released as it is, so it cannot be signed; run again first")
            self._result(record)
        elif kind == "missed":
            if asked.get("label") not in _classes(record):
                known = ", ".join(_classes(record))
                raise InputError(f"{name}: the run treats {known} only; run with other --classes to mark anything else")
            shape = {key: asked[key] for key in ("label", "bbox", "segmentation") if asked.get(key) is not None}
            try:
                fields |= _scaled(shape, *_factors(record))
            except (TypeError, ValueError) as error:
                raise InputError(f"{name}: expected bbox or segmentation in numbers, got neither") from error
        elif kind in WISHES:
            found = [i for i in record.get("instances", ()) if i["id"] == asked.get("instance")]
            if not found:
                raise InputError(f"{name}: has no instance {asked.get('instance')!a}; look at it again")
            # The next run looks at the original: what stands in the result may lie a little elsewhere.
            x1, y1, x2, y2 = found[0].get("found", found[0]["box"])
            shape = {"label": found[0]["label"], "bbox": [x1, y1, x2 - x1, y2 - y1]}
            fields |= _scaled(shape, *_factors(record))
        elif kind == "reject":
            fields["comment"] = " ".join(str(asked.get("comment") or "").split())
        return fields

    def _find(self, source: Source) -> dict[str, Any]:
        """Return where originals lie, by the name that the ledger has for them."""
        names = self._ledger.names
        releases = (r.get("provenance", {}).get("release", {}) for r in map(self._record, names))
        told: dict[str, Any] = next(releases, {})
        release = Release(told.get("format"), rename="rename" in told)
        if release.rename and not (self._output / ".state/rename.key").is_file():
            raise InputError(f"OUTPUT {self._output}: lacks .state/rename.key, so hashed names lead to no original")
        release = release.with_key(self._output / ".state")
        files = {release.recorded_name(f.name): f.path for f in find_inputs(source, self._output).files}
        found = {name: files[name] for name in names if name in files}
        if not found:
            raise InputError(f"INPUT holds none of the {len(names)} pictures of {self._output}; give the run's own")
        return found

    def _current(self, name: str) -> Record:
        with self._lock:
            self.refresh()
            return self._record(name)

    def _record(self, name: str) -> Record:
        record = self._ledger.get(name)
        if record is None:
            raise InputError(f"{name[:200]}: no picture of this OUTPUT")
        return record

    def _result(self, record: Record) -> bytes:
        """Return the content of the result, which must be what the run wrote: that is what a reviewer signs."""
        if record["status"] != "released":
            raise InputError(f"{record['name']}: was not released")
        folder = OutputFolder(self._output)
        released = record["released_name"]
        for path in (folder.image(released), folder.held(released)):
            if path.is_file() and not path.is_symlink():
                content = read_bytes(path)
                if hashlib.sha256(content).hexdigest() == record["output_sha256"]:
                    return content
        raise InputError(f"{record['name']}: is not the file that the run wrote; anonymizer verify says more")

    def _original(self, record: Record) -> bytes:
        name = record["name"]
        if name not in self._originals:
            raise InputError(f"{name}: its original is not at hand; give --input with the run's INPUT")
        content = read_bytes(self._originals[name])
        if hashlib.sha256(content).hexdigest() != record.get("input_sha256"):
            raise InputError(f"{name}: its original has changed since the run; run again")
        return content

    def _size(self, record: Record) -> list[int] | None:
        """Return height and width; of what was not released, the ledger has none, but the original has."""
        if "size" in record or record["name"] not in self._originals:
            return cast(list[int] | None, record.get("size"))
        try:
            return list(decode_image(self._original(record), record["name"]).size)
        except InputError:
            return None  # No picture, which is why it failed: nothing of it is shown.

    def _draw_thumbnail(self, name: str, digest: str) -> bytes:
        with self._decoding:
            return thumbnail(self._result(self._record(name)), THUMBNAIL)

    def _shown(self, content: bytes, name: str, side: int | None) -> bytes:
        """Return a picture of any format as an upright JPEG without metadata, at most ``side`` pixels long."""
        with self._decoding:
            image = Image.fromarray(np.asarray(decode_image(content, name).pixels))
            if side is not None:
                image.thumbnail((side, side), Image.Resampling.LANCZOS)
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
        return buffer.getvalue()

    def _state(self, record: Mapping[str, Any]) -> str:
        """Return ``open`` (waits for a run), ``withheld``, ``signed`` or ``unsigned``."""
        reviewed = self._reviews[record["name"]]
        if opened(record, reviewed):
            return "open"
        if record["status"] != "released":
            return "withheld"
        return "unsigned" if reviewed.signed_by(record.get("output_sha256")) is None else "signed"


class _LedgerView:
    """A ledger that is only read, also while a run adds to it; the newest line of each picture that was not withdrawn.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin()

    def _begin(self) -> None:
        self._places: dict[str, int] = {}
        #: What the overview needs of each record: a ledger of many thousand pictures is not read again for it.
        self.extracts: dict[str, dict[str, Any]] = {}
        self._node, self._end, self.head = -1, 0, START

    @property
    def names(self) -> list[str]:
        """Names of the pictures, ordered."""
        return sorted(self._places)

    def refresh(self) -> None:
        """Read the lines that are new, all of them if the file was written anew."""
        try:
            status = self._path.stat()
        except FileNotFoundError as error:
            raise InputError(f"{self._path}: expected the ledger, found none; run again") from error
        if status.st_ino != self._node or status.st_size < self._end:
            self._begin()
            self._node = status.st_ino
        with self._path.open("rb") as file:
            file.seek(self._end)
            start = self._end
            for place, line, record in read_lines(file):
                if record is None or record.get("previous") != self.head:
                    raise InputError(f"{self._path}: its chain of lines is broken; anonymizer verify says where")
                refuse_newer(record, str(self._path), SCHEMA_VERSION)
                if record["status"] == "withdrawn":
                    self._places.pop(record["name"], None)
                    self.extracts.pop(record["name"], None)
                else:
                    self._places[record["name"]] = start + place
                    self.extracts[record["name"]] = _extract(record)
                self._end, self.head = start + place + len(line), line_digest(line)

    def get(self, name: str) -> Record | None:
        """Return the newest record of a picture, or None."""
        if name not in self._places:
            return None
        with self._path.open("rb") as file:
            file.seek(self._places[name])
            _, _, record = next(read_lines(file), (0, b"", None))
        # Written anew between two looks: the next refresh reads all of it.
        return record if record is not None and record["name"] == name else None


def _factors(record: Record) -> tuple[float, float]:
    """Return width and height of the source in multiples of the released picture's, which may be scaled down."""
    if "scaled_from" not in record:
        return 1.0, 1.0
    (height, width), (down, across) = record["scaled_from"], record["size"]
    return width / across, height / down


def _scaled(line: Record, x: float, y: float) -> Record:
    """Return a decision with its shape in other pixels: decisions are written in those of the source."""
    moved = dict(line)
    if "bbox" in line:
        moved["bbox"] = [round(value * (x, y)[at % 2], 2) for at, value in enumerate(line["bbox"])]
    if "segmentation" in line:
        polygons = line["segmentation"]
        moved["segmentation"] = [[round(v * (x, y)[at % 2], 2) for at, v in enumerate(points)] for points in polygons]
    return moved


def _extract(record: Record) -> dict[str, Any]:
    value, why = doubt(record)
    told = {"doubt": value, "why": why, "seen": (record.get("output_sha256") or "")[:16]}
    return {"told": told} | {key: record.get(key) for key in ("name", "status", "output_sha256", "review_sha256")}


def _classes(record: Record) -> list[str]:
    """Return the classes that the run treated: only these can be marked, as only these would be done."""
    settings = record.get("provenance", {}).get("settings", {})
    classes = cast(list[str], settings.get("classes", CLASSES[:3]))
    return [name for name in classes if not (name == "person" and settings.get("people") == "face")]
