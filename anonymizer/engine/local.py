"""Runs an anonymizer over pictures in this process, one after the other."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anonymizer.dataset.annotations import Annotations, read_coco
from anonymizer.dataset.images import read_bytes
from anonymizer.dataset.inputs import Found, check_collisions, find_inputs
from anonymizer.dataset.ledger import Ledger
from anonymizer.dataset.released import coco_out
from anonymizer.dataset.report import quarantine_list, render_report
from anonymizer.engine.output import OutputFolder
from anonymizer.engine.picture import AnonymizerLike, Outcome, anonymize_picture
from anonymizer.engine.summary import Progress, Summary, summarize
from anonymizer.errors import InputError

__all__ = ["run"]


def run(
    anonymizer: AnonymizerLike,
    source: Path | str,
    output: Path | str,
    *,
    annotations: Path | str | Annotations | None = None,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Anonymize a file, a folder or a glob pattern into an OUTPUT folder; the same call again resumes.

    A picture is skipped if it was released or quarantined before with the same content, annotations and settings.
    Results are written so that a run killed at any moment leaves only whole, verified pictures, and leads, when it
    is resumed, to the same pictures and annotations as one that was not disturbed.

    Args:
        anonymizer: Redraws and verifies.
        source: What to anonymize; never modified.
        output: Where results go: a new folder, an empty one, or one of an earlier run.
        annotations: COCO file, or folder with ``annotations.json``, to use instead of detection.
        overwrite: Remove the results of earlier runs first.
        on_progress: Called after each picture.

    Returns:
        Counts over all inputs, those finished earlier included.

    Raises:
        InputError: Input, output or annotations cannot be used, or OUTPUT cannot be written any more.
        ModelError: The models cannot be used.
    """
    started = time.monotonic()
    output = Path(output)
    inputs = find_inputs(source, output)
    given = read_coco(Path(annotations)) if isinstance(annotations, str | Path) else annotations
    if given is not None:
        given.check_names(file.name for file in inputs.files)
    with OutputFolder(output) as folder:
        if folder.ignores_case:
            check_collisions(inputs.files)
        if overwrite:
            folder.clear()
        with folder.writing():
            ledger = Ledger.open(output)
        _check_earlier(ledger, anonymizer.settings_hash, output)
        recorded = {record["name"] for record in ledger if record["status"] == "released"}
        folder.refuse_strays(recorded | {file.name for file in inputs.files})
        with folder.writing():
            folder.remove_documents()
        runner = _Runner(anonymizer, folder, ledger, given)
        for done, file in enumerate(inputs.files, start=1):
            status, skipped = runner.decide(file)
            if on_progress is not None:
                on_progress(Progress(done, len(inputs.files), file.name, status, skipped))
        records = [record for file in inputs.files if (record := ledger.get(file.name)) is not None]
        seconds = time.monotonic() - started
        summary = summarize(records, output, skipped=runner.skipped, ignored=inputs.ignored, seconds=seconds)
        with folder.writing():
            ledger.compact(folder.staging)
        released = [record["name"] for record in ledger if record["status"] == "released"]
        folder.write(output / "annotations.json", coco_out(released, folder.state, given))
        folder.write(output / "quarantine.txt", quarantine_list(ledger))
        report = render_report(ledger, folder.images, dict(anonymizer.describe()), seconds=seconds)
        folder.write(output / "report.html", report)
    return summary


class _Runner:
    """Decides pictures one by one and records each decision."""

    def __init__(
        self, anonymizer: AnonymizerLike, folder: OutputFolder, ledger: Ledger, annotations: Annotations | None
    ) -> None:
        self.skipped = 0
        self._anonymizer = anonymizer
        self._folder = folder
        self._ledger = ledger
        self._annotations = annotations
        self._provenance = dict(anonymizer.describe())

    def decide(self, file: Found) -> tuple[str, bool]:
        """Return the picture's status and whether an earlier run had decided it."""
        digest = None if self._annotations is None else self._annotations.digest(file.name)
        try:
            content = read_bytes(file.path)
        except InputError as error:
            self._folder.remove_picture(file.name)
            return self._record(file.name, Outcome({"status": "failed", "reason": str(error)}), None, digest), False
        sha256 = hashlib.sha256(content).hexdigest()
        earlier = self._ledger.get(file.name)
        if earlier is not None and self._stands(earlier, sha256, digest):
            self.skipped += 1
            return str(earlier["status"]), True
        # From here on nothing of an earlier run may be found under this name.
        self._folder.remove_picture(file.name)
        outcome = anonymize_picture(self._anonymizer, file.name, content, self._annotations)
        return self._record(file.name, outcome, sha256, digest), False

    def _stands(self, earlier: dict[str, Any], sha256: str, digest: str | None) -> bool:
        name = earlier["name"]
        if not self._ledger.finished(name, sha256, self._anonymizer.settings_hash, digest):
            return False
        path = self._folder.image(name)
        if earlier["status"] != "released":
            return not path.exists()
        if not path.is_file() or not self._folder.has_side(name):
            return False
        return hashlib.sha256(path.read_bytes()).hexdigest() == earlier["output_sha256"]

    def _record(self, name: str, outcome: Outcome, sha256: str | None, digest: str | None) -> str:
        """Write picture, annotations and ledger line, in this order: the line vouches for the two."""
        if outcome.data is not None and outcome.side is not None:
            self._folder.release(name, outcome.data, outcome.side)
        record = {
            "name": name,
            "input_sha256": sha256,
            "output_sha256": None if outcome.data is None else hashlib.sha256(outcome.data).hexdigest(),
            "annotations_sha256": digest,
            "settings_hash": self._anonymizer.settings_hash,
            "provenance": self._provenance,
        } | outcome.record
        with self._folder.writing():
            self._ledger.append(record)
        return str(record["status"])


def _check_earlier(ledger: Ledger, settings_hash: str, output: Path) -> None:
    other = sum(record["settings_hash"] != settings_hash for record in ledger)
    if other:
        raise InputError(
            f"OUTPUT {output} holds {other} pictures made with other settings; use the same settings, another OUTPUT, "
            "or overwrite (--overwrite) to make all anew"
        )
