"""``evaluation.json``: everything an evaluation found, as plain data."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from anonymizer import __version__
from anonymizer.core.files import write_atomic
from anonymizer.evaluation import summary, verdict
from anonymizer.evaluation.ocr import PlateOCR
from anonymizer.evaluation.records import Recognizer, plain
from anonymizer.evaluation.runner import Evaluation

__all__ = ["FILE", "SCHEMA_VERSION", "build", "headline", "table", "write"]

FILE = "evaluation.json"
#: Packages whose versions are reported.
COMPUTE = ("numpy", "scipy", "torch", "onnxruntime", "pillow", "dlib-bin")
#: Grows with every change that a reader of the file must know of.
SCHEMA_VERSION = 2
#: Estimates that the short table shows: column and name.
COLUMNS = (("rank-1", "rank1"), ("chance", "rank1_chance"), ("TAR@1e-3", "tar_at_far_1e-3"), ("AUC", "auc"))


def build(evaluation: Evaluation, originals: Path, anonymized: Path) -> dict[str, Any]:
    """Return the document.

    Args:
        evaluation: What was found.
        originals: Folder as given.
        anonymized: Folder as given.

    Returns:
        Plain JSON data: ``schema_version``, ``anonymizer``, ``created``, ``versions``, ``verdict``, ``thresholds``,
        ``warnings``, ``inputs``, ``run``, ``settings``, ``recognizers`` (OCR of plates among them), ``controls``,
        ``detectors``, ``unavailable``, ``independent_judge``, ``variants``, ``findings``, ``skipped``, ``subjects``
        (only where asked for), ``utility``, ``timings_s``; see ``evaluation.schema.json``. It holds names of pictures,
        but neither pixels nor embeddings.
    """
    pairing, survey, settings = evaluation.pairing, evaluation.dataset.survey, evaluation.settings
    run = pairing.run
    judges: tuple[Recognizer | PlateOCR, ...] = (*evaluation.recognizers, *evaluation.ocrs)
    labels = sorted({judge.label for judge in judges} & survey.subjects.keys())
    judged = {label: any(judge.judge for judge in judges if judge.label == label) for label in labels}
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "anonymizer": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "warnings": evaluation.warnings,
        "inputs": {
            "originals": str(originals),
            "anonymized": str(anonymized),
            "pairs": len(survey.pairs),
            "subjects": survey.subjects,
            "identified": survey.identified,
            "identities": survey.identities,
            "withheld": len(pairing.withheld),
            "missing": _listed(pairing.missing),
            "extra": _listed(pairing.extra),
            "problems": {name: {"count": n, "first": survey.problems[name]} for name, n in survey.counts.items()},
            "identical": _listed(survey.identical),
            "untouched": {label: _listed(keys) for label, keys in survey.untouched.items()},
            "resized": survey.resized,
            "originals_sha256": _digest(survey.digests, 0),
            "anonymized_sha256": _digest(survey.digests, 1),
        },
        "run": None if run is None else {"statuses": run.statuses, "presets": run.presets, "models": run.models},
        "settings": {
            "attacks": settings.attacks,
            "baselines": settings.baselines,
            "recognizers": settings.recognizers,
            "accept_noncommercial": settings.accept_noncommercial,
            "seed": settings.seed,
            "limit": settings.limit,
            "bootstrap": settings.bootstrap,
            "resize": settings.resize,
            "regions": None if settings.regions is None else str(settings.regions),
            "group_by": settings.group_by,
            "judges": None if settings.judges is None else str(settings.judges),
        },
        "recognizers": [
            {"name": r.name, "label": r.label, "sha256": r.sha256, "licence": r.licence, "judge": r.judge}
            for r in (*judges, *evaluation.predictors)
        ],
        "controls": [asdict(control) for control in evaluation.controls],
        "detectors": [
            {"name": detector.name, "labels": detector.labels, "independent": detector.independent}
            for detector in evaluation.detectors
        ],
        "unavailable": [asdict(missing) for missing in evaluation.unavailable],
        "independent_judge": judged,
        "variants": [{"name": name, "strength": text} for name, text in evaluation.variants.items()],
        "findings": evaluation.findings,
        "skipped": evaluation.skipped,
        "subjects": evaluation.subjects or None,
        "utility": evaluation.utility,
        "timings_s": evaluation.timings_s,
    }
    out = dict(plain(document))
    out["verdict"] = verdict.judge(
        out["findings"],
        out["controls"],
        {
            "subjects": out["inputs"]["subjects"],
            "untouched": plain(survey.untouched),
            "identical": plain(survey.identical),
            "problems": plain(survey.problems),
            "counts": plain(survey.counts),
            "extra": len(pairing.extra),
        },
    )
    out["thresholds"] = verdict.thresholds()
    return out


def versions() -> dict[str, str]:
    """Return what decides values beside the pictures: versions of Python and of the packages that compute them."""
    return {"python": platform.python_version()} | {name: version(name) for name in COMPUTE}


def _digest(digests: Mapping[str, tuple[str, str]], side: int) -> str:
    """Return one sha256 over names and pixels of all pictures of a side."""
    lines = "".join(f"{name} {both[side]}\n" for name, both in sorted(digests.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def write(document: Mapping[str, Any], out: Path) -> Path:
    """Write the document, whole or not at all, and return its path.

    Raises:
        OSError: It cannot be written.
    """
    path = out / FILE
    write_atomic(path, json.dumps(document, indent=1, allow_nan=False).encode("ascii") + b"\n")
    return path


def headline(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the findings of a document without curves, histograms and notes, to be printed."""
    kept = ("attack", "label", "variant", "recognizer", "protocol", "judge", "counts", "estimates")
    return [{key: finding[key] for key in kept} for finding in document["findings"]]


def table(document: Mapping[str, Any]) -> list[str]:
    """Return the short table of a document as lines: warnings, recognition, other values, what was skipped.

    Of findings that differ in their protocol alone, only the one with the highest rank-1 is shown.
    """
    lines = summary.verdict_lines(document["verdict"])
    lines += [f"Warning: {warning}" for warning in document["warnings"]]
    form = "{:<15}{:<8}{:<22}{:<14}{:<7}{:>22}{:>8}{:>10}{:>7}"
    lines.append(form.format("attack", "class", "recogniser", "pictures", "find", *(name for name, _ in COLUMNS)))
    rows: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    others = []
    for finding in document["findings"]:
        if "rank1" not in finding["estimates"]:
            others.append(_line(finding))
            continue
        who = finding["recognizer"][:20] + ("" if finding["judge"] else "*")
        goal = "other" if "left out" in finding["protocol"] else "own"
        rows.setdefault((finding["attack"], finding["label"][:7], who, finding["variant"], goal), []).append(finding)
    for row, findings in rows.items():
        strongest = max(findings, key=lambda finding: finding["estimates"]["rank1"]["value"] or 0.0)
        metrics = strongest["estimates"]
        cells = [_figure(metrics.get(name), interval=name == "rank1") for _, name in COLUMNS]
        lines.append(form.format(*row, *cells) + (f"  highest of {len(findings)}" if len(findings) > 1 else ""))
    lines.append("find other: the same identity in another picture; own: the very original of the probe")
    if any(not finding["judge"] for finding in document["findings"]):
        lines.append("*: part of this run, so no independent judge")
    lines += others
    for finding in document["findings"]:
        if finding["variant"] == "anonymized" and finding["judge"]:
            lines += [_group_line(finding, group, known) for group, known in finding["groups"].items()]
    for skipped in document["skipped"]:
        what = " ".join(skipped[key] for key in ("attack", "label", "variant", "recognizer") if skipped[key])
        lines.append(f"Skipped: {what}: {skipped['reason']}")
    return lines


def _line(finding: Mapping[str, Any]) -> str:
    """Return a finding of another kind as one line with its first estimates."""
    given = [(name, estimate) for name, estimate in finding["estimates"].items() if estimate["value"] is not None]
    metrics = ", ".join(f"{name} {_figure(estimate, interval=True)}" for name, estimate in given[:4])
    what = " ".join(finding[key] for key in ("attack", "label", "variant", "recognizer") if finding[key])
    return f"{what}{'' if finding['judge'] else '*'}: {metrics or 'nothing measured'}"


def _group_line(finding: Mapping[str, Any], group: str, known: Mapping[str, Any]) -> str:
    """Return one group's values as one line."""
    what = " ".join(finding[key] for key in ("attack", "label", "recognizer", "mode") if finding[key])
    return f"group {group}: {what}: " + ", ".join(f"{name} {_figure(e, interval=True)}" for name, e in known.items())


def _figure(estimate: Mapping[str, Any] | None, interval: bool) -> str:
    if estimate is None or estimate["value"] is None:
        return "-"
    text = f"{estimate['value']:.3f}"
    if interval and estimate["low"] is not None:
        text += f" [{estimate['low']:.3f}, {estimate['high']:.3f}]"
    return text


def _listed(names: Iterable[str]) -> dict[str, Any]:
    every = tuple(names)
    return {"count": len(every), "first": every[:20]}
