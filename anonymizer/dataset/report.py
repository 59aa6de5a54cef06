"""The report for people: one self-contained HTML file that shows released pictures only."""

from __future__ import annotations

import base64
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from anonymizer.dataset.images import thumbnail

__all__ = ["MAX_ROWS", "MAX_THUMBNAILS", "Check", "checks", "quarantine_list", "render_report"]

#: Most thumbnails and most table rows shown; the rest is counted, the ledger has all.
MAX_THUMBNAILS = 60
MAX_ROWS = 1000

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """One kind of check over all pictures: how often it held, and the least and median figure measured."""

    name: str
    passed: int
    failed: int
    least: float | None
    median: float | None
    threshold: float | None


def checks(records: Iterable[Record]) -> list[Check]:
    """Summarize every verdict, of instances and of pictures, by check, ordered by name."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        for verdict in _verdicts(record):
            groups[verdict["check"]].append(verdict)
    out = []
    for name, verdicts in sorted(groups.items()):
        values = [verdict["value"] for verdict in verdicts if verdict["value"] is not None]
        limits = {verdict["threshold"] for verdict in verdicts}
        passed = sum(bool(verdict["passed"]) for verdict in verdicts)
        out.append(
            Check(
                name=name,
                passed=passed,
                failed=len(verdicts) - passed,
                least=min(values, default=None),
                median=statistics.median(values) if values else None,
                threshold=limits.pop() if len(limits) == 1 else None,
            )
        )
    return out


def quarantine_list(records: Iterable[Record]) -> bytes:
    """Return one line for each picture that needs a human: status, name and reason, parted by tabs; UTF-8."""
    lines = [
        f"{record['status']}\t{printable(record['name'])}\t{printable(record['reason'])}\n"
        for record in records
        if record["status"] != "released"
    ]
    return "".join(lines).encode()


def printable(text: str) -> str:
    """Return a text on one line: control characters and undecodable bytes of file names are written as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def render_report(records: Iterable[Record], images: Path, description: Mapping[str, Any], *, seconds: float) -> bytes:
    """Return ``report.html``: counts, settings, checks, timings, pictures and what needs a human; UTF-8.

    Args:
        records: Ledger records, one per picture.
        images: Folder of released pictures; nothing else is shown.
        description: Preset, models and versions.
        seconds: Wall clock time of the run.
    """
    everything = list(records)
    status = Counter(record["status"] for record in everything)
    released = [record for record in everything if record["status"] == "released"]
    held = [record for record in everything if record["status"] != "released"]
    environment = Environment(
        loader=PackageLoader("anonymizer.dataset", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"printable": printable, "figure": _figure}
    html = environment.get_template("report.html.j2").render(
        status=status,
        total=len(everything),
        actions=_actions(released),
        settings=_flat(description),
        checks=checks(everything),
        timings=_timings(released),
        rows=[_row(record) for record in everything[:MAX_ROWS]],
        more_rows=max(len(everything) - MAX_ROWS, 0),
        held=held[:MAX_ROWS],
        more_held=max(len(held) - MAX_ROWS, 0),
        thumbnails=[
            (record["name"], base64.b64encode(thumbnail((images / record["name"]).read_bytes())).decode())
            for record in released[:MAX_THUMBNAILS]
        ],
        more_thumbnails=max(len(released) - MAX_THUMBNAILS, 0),
        seconds=seconds,
    )
    return html.encode()


def _verdicts(record: Record) -> list[Record]:
    own = [verdict for instance in record.get("instances", ()) for verdict in instance["verdicts"]]
    return own + list(record.get("verdicts", ()))


def _actions(released: list[Record]) -> list[tuple[str, int, int]]:
    """Return (class, redrawn, redacted), ordered by class."""
    counts: Counter[tuple[str, str]] = Counter(
        (instance["label"], instance["action"]) for record in released for instance in record["instances"]
    )
    return [
        (label, counts[label, "redrawn"], counts[label, "redacted"]) for label in sorted({key[0] for key in counts})
    ]


def _timings(released: list[Record]) -> list[tuple[str, float]]:
    stages: dict[str, list[float]] = defaultdict(list)
    for record in released:
        for stage, seconds in record.get("timings_s", {}).items():
            stages[stage].append(seconds)
    return [(stage, statistics.median(values)) for stage, values in stages.items()]


def _row(record: Record) -> dict[str, Any]:
    counts: Counter[tuple[str, str]] = Counter(
        (instance["action"], instance["label"]) for instance in record.get("instances", ())
    )
    done = ", ".join(f"{count} {label} {action}" for (action, label), count in sorted(counts.items()))
    verdicts = _verdicts(record)
    return {
        "name": record["name"],
        "status": record["status"],
        "done": done or ("nothing sensitive found" if record["status"] == "released" else ""),
        "checks": f"{sum(bool(v['passed']) for v in verdicts)} of {len(verdicts)}",
        "notes": "; ".join(record.get("notes", ())),
    }


def _flat(value: object, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as (dotted name, text) pairs."""
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in _flat(item, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        return [pair for index, item in enumerate(value, start=1) for pair in _flat(item, f"{prefix}.{index}")]
    return [(prefix, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))]


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
