"""Runner: which pictures are to be done, whatever works on them, and the one place where results are recorded."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any

from anonymizer.annotations.areas import Areas
from anonymizer.annotations.export import annotation_files, coco_out, side_fits
from anonymizer.annotations.matching import Placement
from anonymizer.annotations.reading import annotations_at
from anonymizer.annotations.records import Annotations
from anonymizer.core.errors import InputError
from anonymizer.images.decode import read_bytes
from anonymizer.images.release import Release, map_name
from anonymizer.run.decisions import Reviews
from anonymizer.run.inputs import Found, find_inputs
from anonymizer.run.ledger import Ledger
from anonymizer.run.object_store import open_output
from anonymizer.run.output import ANNOTATIONS, OutputFolder, hold_back
from anonymizer.run.picture import Outcome
from anonymizer.run.report import MAX_THUMBNAILS, quarantine_list, render_report
from anonymizer.run.request import Executor, Request, Task
from anonymizer.run.summary import Progress, Summary, summarize, told_of

__all__ = ["check_scaling", "execute", "held_back"]

_log = logging.getLogger(__name__)

#: Most names of pictures that a summary holds.
FIRST = 20


def execute(executor: Executor, request: Request, on_progress: Callable[[Progress], None] | None = None) -> Summary:
    """Do what a run was asked; the same call again resumes.

    A picture is skipped if it was released or quarantined before with the same content, annotations, settings and
    decisions of reviewers, which lie in OUTPUT itself (``run.decisions``).
    Only this process writes to OUTPUT, whoever executes. Results are written so that a run killed at any moment
    leaves only whole, verified pictures, and leads, when it is resumed, to the same pictures and annotations as one
    that was not disturbed.

    Args:
        executor: Anonymizes.
        request: What is asked for.
        on_progress: Called after each picture.

    Returns:
        Counts over all inputs, those finished earlier included.

    Raises:
        InputError: Input, output or annotations cannot be used, or a store cannot be read or OUTPUT written any more.
        ModelError: The models cannot be used.
    """
    if isinstance(request.annotations, str | Path):
        with annotations_at(request.annotations) as given:
            return execute(executor, replace(request, annotations=given), on_progress)
    annotations, areas = request.annotations, request.areas
    started = time.monotonic()
    inputs = find_inputs(request.source, request.output)
    if request.require_annotations and annotations is None:
        raise InputError("require_annotations: expected annotations, got none; give --annotations")
    check_scaling(request.release, annotations)
    areas.check(file.name for file in inputs.files)
    with open_output(request.output) as folder:
        with folder.writing():
            chosen = request.release.with_key(folder.state)
        chosen.check_names(file.name for file in inputs.files)
        folder.check_names(chosen.name(file.name) for file in inputs.files)
        held: dict[str, str] = {}
        if annotations is not None:
            annotations = annotations.placed((file.name for file in inputs.files), chosen.name)
            held = held_back(annotations, request.require_annotations)
        if request.overwrite:
            folder.clear()
        with folder.writing():
            ledger, reviews = Ledger.open(folder.path), Reviews.open(folder.path)
        for name in reviews:
            if (record := ledger.get(name)) is not None:
                hold_back(folder, record, reviews)
        settings_hash = areas.settings_hash(chosen.settings_hash(executor.settings_hash))
        recorded = _check_earlier(ledger, settings_hash, folder.address())
        if not request.prune:
            _check_left(ledger, folder, {chosen.recorded_name(file.name) for file in inputs.files}, annotations)
        folder.refuse_strays(recorded | {chosen.name(file.name) for file in inputs.files})
        with folder.writing():
            folder.remove_documents()
        stay, withdrawn = _reconcile(
            ledger, folder, {chosen.recorded_name(f.name): chosen.name(f.name) for f in inputs.files}, request.prune
        )
        description = {**executor.describe(), **_released_as(chosen, areas)}
        decided = settings_hash, description
        total = len(inputs.files)
        _log.info(
            "%d pictures in INPUT, %d files passed over, %d lines in the ledger", total, inputs.ignored, len(ledger)
        )
        recorder = _Recorder(decided, folder, ledger, reviews, annotations, held, chosen, areas, total, on_progress)
        for task, outcome in executor.results(recorder.pending(inputs.files)):
            recorder.record(task, outcome)
        recorder.check_complete()
        with folder.writing():
            ledger.compact(folder.staging)
        own = (ledger.get(chosen.recorded_name(file.name)) for file in inputs.files)
        records = (record for record in own if record is not None)
        seconds = time.monotonic() - started
        removed = {} if annotations is None else annotations.public_head(chosen).removed
        told = None if annotations is None else told_of(annotations)
        counts: dict[str, Any] = {"skipped": recorder.skipped, "ignored": inputs.ignored, "annotations": told}
        counts["fields_removed"] = removed
        summary = summarize(records, Path(), seconds=seconds, **counts)
        summary = replace(
            summary,
            paths={key: folder.address(name) for key, name in summary.paths.items()},
            passed_over=inputs.passed_over,
            not_in_input=len(stay),
            not_in_input_first=tuple(stay[:FIRST]),
            withdrawn=withdrawn,
        )
        released = [record["name"] for record in ledger if record["status"] == "released"]
        with folder.shown(_first(ledger, MAX_THUMBNAILS)) as images:
            shown: dict[str, Any] = {
                "annotations": _without_record_names(told) if chosen.rename else told,
                "fields_removed": removed,
                "passed_over": inputs.passed_over,
            }
            report = render_report(ledger, images, description, seconds=seconds, **shown)
        documents: list[tuple[str, Iterable[bytes]]] = [
            ("annotations.json", coco_out(released, folder.state, annotations, chosen)),
            ("quarantine.txt", [quarantine_list(ledger)]),
            ("report.html", [report]),
        ]
        files = () if annotations is None else annotation_files(released, folder.state, annotations, chosen)
        own_format = ((normpath(f"{ANNOTATIONS}/{name}"), [data]) for name, data in files)
        folder.finish(chain(documents, own_format), ledger, reviews)
    return summary


class _Recorder:
    """Hands out the pictures that are not decided yet, and records each decision.

    Args:
        decided: Digest and description of all settings.
    """

    def __init__(
        self,
        decided: tuple[str, dict[str, Any]],
        folder: OutputFolder,
        ledger: Ledger,
        reviews: Reviews,
        annotations: Annotations | None,
        held: Mapping[str, str],
        release: Release,
        areas: Areas,
        total: int,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.skipped = 0
        self._folder = folder
        self._ledger = ledger
        self._reviews = reviews
        self._annotations = annotations
        self._held = held
        self._release = release
        self._areas = areas
        self._settings_hash, self._provenance = decided
        self._total = total
        self._done = 0
        self._open: set[str] = set()
        self._on_progress = on_progress

    def pending(self, files: tuple[Found, ...]) -> Iterator[Task]:
        """Yield what is to be done; pictures that were decided earlier or cannot be read are settled on the way."""
        for file in files:
            digest, recorded = self._digest(file.name), self._release.recorded_name(file.name)
            try:
                content = read_bytes(file.path)
            except OSError as error:  # Of this picture it says nothing: what is left is done when the run is resumed.
                raise InputError(
                    f"INPUT {error}; check the connection and the credentials and run the same command again, "
                    "finished pictures are kept"
                ) from error
            except InputError as error:
                self._folder.remove_picture(recorded, *self._released_names(file.name))
                self._write(file.name, Outcome({"status": "failed", "reason": str(error)}), None, digest)
                continue
            sha256 = hashlib.sha256(content).hexdigest()
            earlier = self._ledger.get(recorded)
            if earlier is not None and self._stands(file.name, earlier, sha256, digest):
                self.skipped += 1
                self._progress(file.name, earlier, skipped=True)
                continue
            # From here on nothing of an earlier run may be found under this name.
            self._folder.remove_picture(recorded, *self._released_names(file.name))
            instructions = self._reviews[recorded].instructions
            refusal = self._held.get(file.name) or instructions.refusal(sha256)
            if refusal is not None:
                self._write(file.name, Outcome({"status": "quarantined", "reason": refusal}), sha256, digest)
                continue
            self._open.add(file.name)
            given = None if self._annotations is None else self._annotations.only(file.name)
            areas = self._areas.of(file.name)
            yield Task(file.name, content, given, sha256, digest, self._release, instructions, areas=areas)

    def record(self, task: Task, outcome: Outcome) -> None:
        """Record an outcome, the only one of its task."""
        if task.name not in self._open:
            raise RuntimeError(f"{task.name} was decided twice")  # A fault of the engine, not of the picture.
        self._open.remove(task.name)
        if (
            (outcome.data is None) == (outcome.record["status"] == "released")
            or (outcome.data is None) != (outcome.side is None)
            or set(outcome.maps) != (set() if outcome.data is None else set(self._release.write))
        ):
            outcome = Outcome({"status": "failed", "reason": "the worker's answer contradicts itself"})
        self._write(task.name, outcome, task.input_sha256, task.annotations_sha256)

    def check_complete(self) -> None:
        """Refuse to close a run in which a picture was taken and never decided."""
        if self._open:
            raise RuntimeError(f"{len(self._open)} pictures were never decided, e.g. {min(self._open)}")

    def _digest(self, name: str) -> str | None:
        """Return the digest of what is given about a picture, or of why it is held back."""
        if name in self._held:
            return hashlib.sha256(f"held back: {self._held[name]}".encode("utf-8", "surrogateescape")).hexdigest()
        return None if self._annotations is None else self._annotations.digest(name)

    def _stands(self, name: str, earlier: dict[str, Any], sha256: str, digest: str | None) -> bool:
        recorded = earlier["name"]
        asked = self._reviews[recorded].instructions.digest
        done = self._ledger.finished(recorded, sha256, self._settings_hash, digest)
        if not done or earlier.get("review_sha256") != asked:
            return False
        if earlier["status"] != "released":
            return not any(self._folder.has_picture(target) for target in self._released_names(name))
        if not side_fits(self._folder.state, recorded, self._annotations):
            return False
        wanted = {map_name(kind, earlier["released_name"]) for kind in self._release.write}
        if set(earlier.get("maps", {})) != wanted:
            return False
        found = [(self._folder.read_picture(earlier["released_name"]), earlier["output_sha256"])]
        found += [(self._folder.read_map(target), digest) for target, digest in earlier.get("maps", {}).items()]
        return all(data is not None and hashlib.sha256(data).hexdigest() == digest for data, digest in found)

    def _write(self, name: str, outcome: Outcome, sha256: str | None, digest: str | None) -> None:
        """Write picture, annotations and ledger line, in this order: the line vouches for the two."""
        maps = {map_name(kind, outcome.record["released_name"]): content for kind, content in outcome.maps.items()}
        if outcome.data is not None and outcome.side is not None:
            recorded = self._release.recorded_name(name)
            self._folder.release(recorded, outcome.record["released_name"], outcome.data, outcome.side, maps)
        record = {
            "name": self._release.recorded_name(name),
            "input_sha256": sha256,
            "output_sha256": None if outcome.data is None else hashlib.sha256(outcome.data).hexdigest(),
            "annotations_sha256": digest,
            "settings_hash": self._settings_hash,
            "provenance": self._provenance,
        } | outcome.record
        asked = self._reviews[self._release.recorded_name(name)].instructions.digest
        if asked is not None:
            record["review_sha256"] = asked
        if maps:
            record["maps"] = {target: hashlib.sha256(content).hexdigest() for target, content in maps.items()}
        with self._folder.writing():
            self._ledger.append(self._without_names(name, record))
        self._folder.recorded()
        self._progress(name, record, skipped=False)

    def _without_names(self, name: str, record: dict[str, Any]) -> dict[str, Any]:
        """Return a record without its picture's own name where names are hidden; the progress has it."""
        if not self._release.rename:
            return record
        if name in self._held:  # The reason names other pictures and records.
            return record | {"reason": "its annotations cannot be placed; the messages of the run say why"}
        hide = partial(self._release.hidden, name, also=self._told_by(name))
        texts = {key: hide(record[key]) for key in ("reason",) if key in record}
        lists = {key: [hide(str(t)) for t in record[key]] for key in ("notes", "annotation_remarks") if key in record}
        return record | texts | lists

    def _told_by(self, name: str) -> tuple[str, ...]:
        """Return where a picture's annotations lie and the folders and stem of the name they have for it."""
        if self._annotations is None:
            return ()
        known = self._annotations.placement or Placement()
        key = known.keys.get(name)
        record = (self._annotations.image(name) or {}).get("file_name", key) if key is not None else None
        path = PurePosixPath(str(record or "").replace("\\", "/"))
        return (str(self._annotations.path), *path.parts[:-1], path.stem)

    def _released_names(self, name: str) -> set[str]:
        """Return the names under which a picture may lie in ``images``: now, and after an earlier run."""
        earlier = self._ledger.get(self._release.recorded_name(name))
        recorded = None if earlier is None else earlier.get("released_name")
        return {self._release.name(name)} | ({recorded} if recorded is not None else set())

    def _progress(self, name: str, record: dict[str, Any], *, skipped: bool) -> None:
        self._done += 1
        if self._on_progress is not None:
            told = name, record["status"], skipped, str(record.get("reason", ""))
            self._on_progress(Progress(self._done, self._total, *told))


def check_scaling(release: Release, annotations: Annotations | None) -> None:
    """Refuse to scale pictures whose annotations would stay as they are.

    Raises:
        InputError: They would.
    """
    if release.max_side is not None and annotations is not None and not annotations.scales:
        raise InputError(
            f"max_side: annotations in {annotations.format} cannot be scaled with their pictures; give them as COCO or "
            "YOLO, or leave --max-side out"
        )


def held_back(annotations: Annotations, require: bool) -> dict[str, str]:
    """Return the reason for each picture that is not released for what the annotations say of it."""
    placement = annotations.placement or Placement()
    bare = placement.bare if require else ()
    return {**placement.held, **dict.fromkeys(bare, "without annotations, and all pictures are required to have some")}


def _without_record_names(told: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what became of given annotations without the names of records, which are those of pictures."""
    if told is None or not told["fits_no_picture"]:
        return told
    return told | {"fits_no_picture": [f"{len(told['fits_no_picture'])} records, named in the summary of the run"]}


def _released_as(release: Release, areas: Areas) -> dict[str, Any]:
    """Return how results are released and what is left out, as part of their provenance; nothing where neither is."""
    chosen = {"release": release.settings(), "areas": areas.settings()}
    return {key: settings for key, settings in chosen.items() if settings}


def _first(ledger: Ledger, count: int) -> Sequence[str]:
    """Return the names under which the ledger's first pictures were released."""
    released = (record["released_name"] for record in ledger if record["status"] == "released")
    return tuple(islice(released, count))


def _reconcile(ledger: Ledger, folder: OutputFolder, targets: Mapping[str, str], prune: bool) -> tuple[list[str], int]:
    """Mark in the ledger which pictures INPUT still holds, or withdraw those that it does not.

    Args:
        ledger: The ledger.
        folder: OUTPUT.
        targets: Names of the pictures in INPUT, and those that they are released under.
        prune: Whether to withdraw.

    Returns:
        Names of released pictures that are not in INPUT and stay, and the number of pictures withdrawn.
    """
    stay: list[str] = []
    withdrawn = 0
    taken = set(targets.values())
    for record in ledger:  # Lines that are appended on the way are no part of what is read here.
        name, status = record["name"], record["status"]
        released = str(record.get("released_name", name))
        # The picture goes before its line says so: of a run that was killed in between, the rest is done here. And one
        # whose place another picture takes cannot stay.
        held = folder.has_picture(released) and folder.has_side(name) and released not in taken
        if name in targets or status == "withdrawn":
            changed = {key: value for key, value in record.items() if key != "in_input"}
        elif prune or (status == "released" and not held):
            withdrawn += 1
            if status == "released":
                folder.remove_picture(name, released)
            kept = ("name", "input_sha256", "annotations_sha256", "settings_hash", "provenance")
            reason = f"no longer in INPUT; was {status}"
            changed = {key: record[key] for key in kept if key in record}
            changed |= {"output_sha256": None, "status": "withdrawn", "reason": reason}
        else:
            stay += [name] if status == "released" else []
            changed = {**record, "in_input": False}
        if changed != record:
            with folder.writing():
                ledger.append(changed)
            folder.recorded()
    return stay, withdrawn


def _check_left(ledger: Ledger, folder: OutputFolder, present: set[str], annotations: Annotations | None) -> None:
    """Refuse to go on with released pictures that can neither stay nor be made anew.

    Args:
        ledger: The ledger.
        folder: OUTPUT.
        present: Names of the pictures in INPUT.
        annotations: What is given now.

    Raises:
        InputError: There are such.
    """
    released = (r["name"] for r in ledger if r["status"] == "released" and r["name"] not in present)
    left = [n for n in released if folder.has_side(n) and not side_fits(folder.state, n, annotations)]
    if left:
        raise InputError(
            f"OUTPUT {folder.address()} holds {len(left)} pictures that INPUT no longer holds and that were made with "
            f"other annotations or by another version, e.g. {left[0]}; withdraw them (--prune) or choose another OUTPUT"
        )


def _check_earlier(ledger: Ledger, settings_hash: str, output: str) -> set[str]:
    """Return the names released earlier; refuse to mix settings."""
    released, other = set(), 0
    for record in ledger:
        other += record["settings_hash"] != settings_hash and record["status"] != "withdrawn"
        if record["status"] == "released":
            released.add(record["released_name"])
    if other:
        raise InputError(
            f"OUTPUT {output} holds {other} pictures made with other settings or by another version; use the same, "
            "another OUTPUT, or overwrite (--overwrite) to make all anew"
        )
    return released
