"""Summary of a run, in numbers."""

from __future__ import annotations

import json
import resource
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from anonymizer.annotations.matching import Placement
from anonymizer.annotations.records import Annotations

__all__ = ["Progress", "Summary", "peak_rss_mb", "summarize", "told_of"]


@dataclass(frozen=True, slots=True)
class Progress:
    """A picture was decided: how many are, of how many, its name and status, whether an earlier run did it, and why."""

    done: int
    total: int
    name: str
    status: str
    skipped: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of a run over its inputs.

    Args:
        released: Pictures released, by this run or an earlier one.
        quarantined: Pictures whose verification failed.
        failed: Pictures that could not be processed.
        skipped: How many of all these were finished before.
        ignored: Files and folders that were passed over.
        flagged_names: Released pictures whose names may tell who or where, see the ledger's ``name_hints``.
        redrawn: Instances redrawn in released pictures, by class.
        redacted: Instances redacted in released pictures, by class.
        seconds: Wall clock time of this run.
        peak_rss_mb: Largest resident memory of any process of the run so far, in 10^6 bytes.
        paths: Where the results lie.
        fields_removed: Fields of given annotations that were left out, by name: how often, in released pictures.
        annotations: What became of the given annotations, see :func:`told_of`, with ``remarks``, the number of
            records in inputs that were not taken as they stand; None where none were given.
        passed_over: What was passed over, by suffix or kind.
        not_in_input: Released pictures in OUTPUT that INPUT no longer holds.
        not_in_input_first: Names of the first of them.
        withdrawn: Pictures of OUTPUT that INPUT no longer holds and that this run withdrew (``prune``).
        excluded: Instances of released pictures that lie in areas that are left out, by class.
        consented: Instances of released pictures who agreed to be shown, by class.
        with_areas: Released pictures of which an area was left out.
    """

    released: int
    quarantined: int
    failed: int
    skipped: int
    ignored: int
    flagged_names: int
    redrawn: Mapping[str, int]
    redacted: Mapping[str, int]
    seconds: float
    peak_rss_mb: float
    paths: Mapping[str, str]
    fields_removed: Mapping[str, int] = field(default_factory=dict)
    annotations: Mapping[str, Any] | None = None
    passed_over: Mapping[str, int] = field(default_factory=dict)
    not_in_input: int = 0
    not_in_input_first: tuple[str, ...] = ()
    withdrawn: int = 0
    excluded: Mapping[str, int] = field(default_factory=dict)
    consented: Mapping[str, int] = field(default_factory=dict)
    with_areas: int = 0

    def to_json(self) -> str:
        """Return the summary as one line of JSON."""
        return json.dumps(asdict(self))


def summarize(
    records: Iterable[Mapping[str, Any]],
    output: Path,
    *,
    skipped: int,
    ignored: int,
    seconds: float,
    fields_removed: Mapping[str, int] | None = None,
    annotations: Mapping[str, Any] | None = None,
) -> Summary:
    """Count the ledger records of a run's inputs; ``fields_removed`` adds fields that belong to no single picture."""
    fields = Counter(fields_removed or {})
    status: Counter[str] = Counter()
    flagged = remarks = with_areas = 0
    left: dict[str, Counter[str]] = {"excluded": Counter(), "consented": Counter()}
    actions: dict[str, Counter[str]] = {"redrawn": Counter(), "redacted": Counter()}
    for record in records:
        status[record["status"]] += 1
        flagged += bool(record.get("name_hints"))
        fields.update(record.get("fields_removed", {}))
        remarks += len(record.get("annotation_remarks", ()))
        with_areas += "areas" in record
        for kind, labels in left.items():
            labels.update(instance["label"] for instance in record.get(kind, ()))
        for instance in record.get("instances", ()):
            actions[instance["action"]][instance["label"]] += 1
    paths = {
        "images": "images",
        "annotations": "annotations.json",
        "ledger": "ledger.jsonl",
        "report": "report.html",
        "quarantine": "quarantine.txt",
        "seal": "seal.json",
    }
    return Summary(
        released=status["released"],
        quarantined=status["quarantined"],
        failed=status["failed"],
        skipped=skipped,
        ignored=ignored,
        flagged_names=flagged,
        fields_removed=dict(sorted(fields.items())),
        redrawn=dict(sorted(actions["redrawn"].items())),
        redacted=dict(sorted(actions["redacted"].items())),
        seconds=round(seconds, 3),
        peak_rss_mb=peak_rss_mb(),
        paths={key: str(output / name) for key, name in paths.items()},
        annotations=None if annotations is None else {**annotations, "remarks": remarks},
        with_areas=with_areas,
        excluded=dict(sorted(left["excluded"].items())),
        consented=dict(sorted(left["consented"].items())),
    )


def told_of(annotations: Annotations) -> dict[str, Any]:
    """Return what became of given annotations as a whole, as plain JSON data.

    Returns:
        ``with_record``, ``without_record`` and ``held``, numbers of pictures; ``fits_no_picture``, names of records;
        ``left_alone``, names of categories; ``data_set_remarks``, odd records that belong to no picture.
    """
    placement = annotations.placement or Placement()
    return {
        "with_record": len(placement.keys),
        "without_record": len(placement.bare),
        "held": len(placement.held),
        "fits_no_picture": list(placement.unplaced),
        "left_alone": list(annotations.left_alone),
        "data_set_remarks": [str(remark) for remark in annotations.remarks],
    }


def peak_rss_mb() -> float:
    """Return the largest resident memory of this process, one that it has ended, or one it runs, in 10^6 bytes."""
    import psutil

    # Linux counts kibibytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * unit
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error, OSError):  # It has ended since.
            status = Path(f"/proc/{child.pid}/status")
            lines = status.read_text(encoding="ascii").splitlines() if status.exists() else []
            mark = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
            # Without a high-water mark, what it holds now.
            peak = max(peak, int(mark) * 1024 if mark else child.memory_info().rss)
    return round(peak / 1e6, 1)
