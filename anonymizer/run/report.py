"""The report for people: one self-contained HTML file that shows released pictures only."""

from __future__ import annotations

import base64
import statistics
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from anonymizer.images.decode import thumbnail

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
    groups = _Checks()
    for record in records:
        groups.add(record)
    return groups.summary()


class _Checks:
    """Counts verdicts by check; of each only its figure is held, in 8 bytes, as there may be millions."""

    def __init__(self) -> None:
        self._values: dict[str, array[float]] = defaultdict(lambda: array("d"))
        self._limits: dict[str, set[float | None]] = defaultdict(set)
        self._counts: Counter[tuple[str, bool]] = Counter()

    def add(self, record: Record) -> None:
        for verdict in _verdicts(record):
            name, value = verdict["check"], verdict["value"]
            if value is not None:
                self._values[name].append(value)
            self._limits[name].add(verdict["threshold"])
            self._counts[name, bool(verdict["passed"])] += 1

    def summary(self) -> list[Check]:
        out = []
        for name, limits in sorted(self._limits.items()):
            values = self._values[name]
            out.append(
                Check(
                    name=name,
                    passed=self._counts[name, True],
                    failed=self._counts[name, False],
                    least=min(values, default=None),
                    median=statistics.median(values) if values else None,
                    threshold=next(iter(limits)) if len(limits) == 1 else None,
                )
            )
        return out


def quarantine_list(records: Iterable[Record]) -> bytes:
    """Return one line for each picture that needs a human: status, name and reason, parted by tabs; UTF-8."""
    lines = [
        f"{record['status']}\t{printable(record['name'])}\t{printable(record['reason'])}\n"
        for record in records
        if record["status"] not in ("released", "withdrawn")
    ]
    return "".join(lines).encode()


def printable(text: str) -> str:
    """Return a text on one line: control characters and undecodable bytes of file names are written as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def render_report(
    records: Iterable[Record],
    images: Path,
    description: Mapping[str, Any],
    *,
    seconds: float,
    fields_removed: Mapping[str, int] | None = None,
    annotations: Mapping[str, Any] | None = None,
    passed_over: Mapping[str, int] | None = None,
) -> bytes:
    """Return ``report.html``: counts, settings, checks, timings, pictures and what needs a human; UTF-8.

    Args:
        records: Ledger records, one per picture; read once, and not held.
        images: Folder of released pictures; nothing else is shown.
        description: Preset, models and versions.
        seconds: Wall clock time of the run.
        fields_removed: How often each field of given annotations that belongs to no single picture was left out.
        annotations: What became of given annotations, see ``run.summary``; None where none were given.
        passed_over: What of INPUT was passed over, by suffix or kind.
    """
    fields = Counter(fields_removed or {})
    status: Counter[str] = Counter()
    actions: Counter[tuple[str, str]] = Counter()
    weaker: Counter[tuple[str, str]] = Counter()
    left: Counter[tuple[str, str]] = Counter()
    areas: Counter[tuple[str, str]] = Counter()
    timings: dict[str, array[float]] = defaultdict(lambda: array("d"))
    verdicts = _Checks()
    rows: list[dict[str, Any]] = []
    held: list[Record] = []
    shown: list[Record] = []
    remarks: list[tuple[str, str]] = []
    more_remarks = 0
    gone: list[str] = []
    more_gone = 0
    for record in records:
        status[record["status"]] += 1
        if record["status"] == "released" and not record.get("in_input", True):
            more_gone += len(gone) == MAX_ROWS
            gone += [record["name"]] if len(gone) < MAX_ROWS else []
        verdicts.add(record)
        if len(rows) < MAX_ROWS:
            rows.append(_row(record))
        for remark in record.get("annotation_remarks", ()):
            if len(remarks) < MAX_ROWS:
                remarks.append((record["name"], remark))
            else:
                more_remarks += 1
        if record["status"] != "released":
            if record["status"] != "withdrawn" and len(held) < MAX_ROWS:
                held.append({key: record[key] for key in ("name", "status", "reason")})
            continue
        if len(shown) < MAX_THUMBNAILS:
            shown.append(record)
        fields.update(record.get("fields_removed", {}))
        actions.update((instance["label"], instance["action"]) for instance in record["instances"])
        weaker.update((i["label"], i["method"]) for i in record["instances"] if "method" in i)
        left.update((kind, i["label"]) for kind in ("excluded", "consented") for i in record.get(kind, ()))
        areas.update((use, n) for use in ("exclude", "only") for n in record.get("areas", {}).get(use, ()))
        for stage, taken in record.get("timings_s", {}).items():
            timings[stage].append(taken)
    total, released = sum(status.values()), status["released"]
    environment = Environment(
        loader=PackageLoader("anonymizer.run", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"printable": printable, "figure": _figure}
    html = environment.get_template("report.html.j2").render(
        status=status,
        total=total,
        actions=[
            (label, actions[label, "redrawn"], actions[label, "redacted"]) for label in sorted({k[0] for k in actions})
        ],
        weaker=[(label, method, count) for (label, method), count in sorted(weaker.items())],
        left=[(kind, label, count) for (kind, label), count in sorted(left.items())],
        areas=[(use, name, count) for (use, name), count in sorted(areas.items())],
        fields=sorted(fields.items()),
        settings=_flat(description),
        checks=verdicts.summary(),
        timings=[(stage, statistics.median(values)) for stage, values in timings.items()],
        rows=rows,
        more_rows=total - len(rows),
        held=held,
        more_held=total - released - status["withdrawn"] - len(held),
        passed_over=passed_over or {},
        gone=gone,
        more_gone=more_gone,
        thumbnails=[
            (record["name"], base64.b64encode(thumbnail((images / record["released_name"]).read_bytes())).decode())
            for record in shown
        ],
        more_thumbnails=released - len(shown),
        seconds=seconds,
        annotations=annotations,
        remarks=remarks,
        more_remarks=more_remarks,
        most=MAX_ROWS,
    )
    return html.encode()


def _verdicts(record: Record) -> list[Record]:
    own = [verdict for instance in record.get("instances", ()) for verdict in instance["verdicts"]]
    return own + list(record.get("verdicts", ()))


def _row(record: Record) -> dict[str, Any]:
    counts: Counter[tuple[str, str]] = Counter(
        (instance.get("method", instance["action"]), instance["label"]) for instance in record.get("instances", ())
    )
    done = ", ".join(f"{count} {label} {action}" for (action, label), count in sorted(counts.items()))
    spared = [(f"{len(record[kind])} {kind}") for kind in ("excluded", "consented") if record.get(kind)]
    done = "; ".join([*([done] if done else []), *spared])
    verdicts = _verdicts(record)
    return {
        "name": record["name"],
        "status": record["status"],
        "done": done or ("nothing sensitive found" if record["status"] == "released" else ""),
        "checks": f"{sum(bool(v['passed']) for v in verdicts)} of {len(verdicts)}",
        "notes": "; ".join(
            [
                *record.get("notes", ()),
                *(f"name: {hint}" for hint in record.get("name_hints", ())),
                *([f"metadata kept: {', '.join(record['metadata_kept'])}"] if record.get("metadata_kept") else []),
            ]
        ),
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
