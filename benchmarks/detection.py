"""Benchmark of the embedded preset's detector on annotated packs: recall, coverage, false finds, masks, seconds.

    python benchmarks/detection.py --data DATA [--packs NAME ...] [--limit N] [--dark 30] [--misses PAGE.html]

``DATA`` holds annotated packs (see ``packs.py``). Detection runs once per picture; what was found is kept in the cache,
so that tables can be made again in seconds. ``--out`` gets ``detection.json`` and ``detection.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import detection_tables as tables
import numpy as np
import psutil
from detection_misses import page
from detection_runs import Runs, decided
from markdown_table import table
from packs import pictures, read, some

from anonymizer.models.third_party import offline

#: What the detector is meant to reach: name, value, and whether values below it are the good ones.
TARGETS = (
    ("persons from 40 px, pooled recall", 0.98, False),
    ("persons from 40 px, recall of the worst pack", 0.95, False),
    ("persons from 40 px, pooled recall, people of one label together", 0.98, False),
    ("persons from 40 px, recall of the worst pack, people of one label together", 0.95, False),
    ("persons of 20 to 40 px, pooled recall", 0.75, False),
    ("darkened, recall lost from 40 px", 0.05, True),
    ("cyclists' pixels anonymized", 0.98, False),
    ("faces from 16 px found or covered, union", 0.98, False),
    ("faces from 16 px found or covered, own network", 0.93, False),
    ("faces from 16 px found or covered, union less CenterFace", 0.0, False),
    ("faces from 16 px by box alone, union", 0.98, False),
    ("faces from 16 px by box alone, union less CenterFace", 0.0, False),
    ("plates from 24 px, openalpr", 0.98, False),
    ("plates from 24 px, new packs pooled", 0.96, False),
    ("false plates per picture", 0.3, True),
    ("mask IoU, pennfudan", 0.86, False),
    ("mask IoU, ccp", 0.92, False),
    ("mask IoU, camvid", 0.86, False),
    ("duplicates per picture", 0.03, True),
    ("duplicates per picture, labels of one person", 0.03, True),
    ("false persons per picture", 1.0, True),
)
#: Picture whose detection is timed: (height, width), how many, and rounds of which the first warms up.
TIMED, TIMED_PICTURES = (720, 1280), 8


def measure(runs: Runs, data: Path, chosen: set[str], limit: int, dark: float | None) -> dict[str, Any]:
    """Return rows by table; ``subjects`` and ``plate_counts`` are for the page of misses."""
    subjects: list[tables.Subject] = []
    counts: list[tables.PictureFinds] = []
    light, darker, plates, plate_counts = [], [], [], []
    packs = [pack for pack in tables.PERSON_PACKS if pack.name in chosen]
    for pack in packs:
        found = tables.survey(runs, data, pack, "person", limit)
        subjects += found
        counts += tables.count(runs, data, pack, "person", limit)
        _tell(pack.name, "persons", found)
        if dark is not None:
            every = tables.DARK_EVERY
            light += tables.survey(runs, data, pack, "person", limit, every=every)
            darker += tables.survey(runs, data, pack, "person", limit, dark, every)
            _tell(pack.name, "in the dark", darker)
    faces = tables.faces(runs, data, limit) if tables.FACE_PACK.name in chosen else {}
    seen = tables.seen_face_rows(runs, data, limit, [p for p in tables.SEEN_FACE_PACKS if p.name in chosen])
    for pack in tables.PLATE_PACKS:
        if pack.name in chosen:
            found = tables.survey(runs, data, pack, "license_plate", limit)
            plates += found
            plate_counts += tables.count(runs, data, pack, "license_plate", limit)
            _tell(pack.name, "plates", found)
    for pack in (*packs, tables.FACE_PACK):
        if pack.name in tables.PLATELESS and pack.name in chosen:
            plate_counts += tables.count(runs, data, pack, "license_plate", limit)
    report = {
        "persons": tables.person_rows(subjects, packs),
        "dark": tables.dark_rows(light, darker, packs),
        "cyclists": tables.cyclist_rows(subjects),
        "faces": tables.face_rows(faces),
        "seen_faces": seen,
        "plates": tables.plate_rows(plates),
        "false_plates": tables.find_rows(plate_counts, [name for name in tables.PLATELESS if name in chosen]),
        "plate_finds": tables.find_rows(plate_counts, [pack.name for pack in tables.PLATE_PACKS]),
        "false_persons": tables.find_rows(
            counts, [pack.name for pack in packs], [pack.name for pack in packs if pack.joint]
        ),
        "masks": tables.mask_rows(subjects, ("pennfudan", "ccp", "camvid")),
        "missed_by_size": tables.missed_rows([*subjects, *faces.get("shipped", ()), *plates]),
        "missed": tables.missed(subjects),
        "plate_counts": plate_counts,
    }
    return report


def seconds(runs: Runs, data: Path) -> dict[str, Any]:
    """Return the median time of detection on streets enlarged and cut to 1280 by 720 pixels."""
    height, width = TIMED
    times, spent = [], []
    for path, _ in some(pictures(data, "camvid", "val"), TIMED_PICTURES + 1):
        image = read(path)
        tall = round(image.shape[0] * width / image.shape[1])
        large = cv2.resize(image, (width, tall), interpolation=cv2.INTER_CUBIC)
        seen = np.ascontiguousarray(large[tall - height :])
        spent.append(runs.detectors.spent(seen))
        runs.detectors.forget()
        start = time.perf_counter()
        runs.detectors.find("shipped", seen)
        times.append(time.perf_counter() - start)
    # The first picture builds the networks.
    return {
        "picture": f"{width}x{height}",
        "pictures": len(times) - 1,
        "seconds_median": statistics.median(times[1:]),
        **{f"processor_{name}": round(statistics.median(s[name] for s in spent[1:]), 3) for name in spent[0]},
        "load": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
    }


def targets(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return each target with what was measured, and by how much it is missed."""
    measured = _measured(report)
    rows = []
    for name, wanted, below in TARGETS:
        value = measured.get(name)
        if value is not None:
            short = value - wanted if below else wanted - value
            state = f"missed by {short:.3f}" if short > 1e-9 else "met"
            rows.append(
                {"target": name, "wanted": ("at most " if below else "at least ") + f"{wanted:g}"}
                | {"measured": value, "state": state}
            )
    return rows


def _measured(report: dict[str, Any]) -> dict[str, float | None]:
    def value(part: str, key: str, **fixed: str) -> float | None:
        return next((row[key] for row in report[part] if fixed.items() <= row.items()), None)

    large = [row for row in report["persons"] if row["height_px"] == "from 40" and row["pack"] != "all"]
    worst, together = ([row[key] for row in large] for key in ("recall", "recall_together"))
    lost = value("dark", "difference", pack="all", height_px="from 40")
    faces = {row["detector"]: row["found_or_covered"] for row in report["faces"]}
    boxes = {row["detector"]: row["recall"] for row in report["faces"]}
    lead, box_lead = ((by["union"] - by["CenterFace at 0.2"] if by else None) for by in (faces, boxes))
    return {
        "persons from 40 px, pooled recall": value("persons", "recall", pack="all", height_px="from 40"),
        "persons from 40 px, recall of the worst pack": min(worst, default=None),
        "persons from 40 px, pooled recall, people of one label together": value(
            "persons", "recall_together", pack="all", height_px="from 40"
        ),
        "persons from 40 px, recall of the worst pack, people of one label together": min(together, default=None),
        "persons of 20 to 40 px, pooled recall": value("persons", "recall", pack="all", height_px="20 to 40"),
        "darkened, recall lost from 40 px": None if lost is None else -lost,
        "cyclists' pixels anonymized": value("cyclists", "with_rim"),
        "faces from 16 px found or covered, union": faces.get("union"),
        "faces from 16 px found or covered, own network": faces.get("own network"),
        "faces from 16 px found or covered, union less CenterFace": lead,
        "faces from 16 px by box alone, union": boxes.get("union"),
        "faces from 16 px by box alone, union less CenterFace": box_lead,
        "plates from 24 px, openalpr": value("plates", "recall", pack="openalpr"),
        "plates from 24 px, new packs pooled": value("plates", "recall", pack="new packs"),
        "false plates per picture": value("false_plates", "false_per_picture", pack="all"),
        **{f"mask IoU, {name}": value("masks", "mask_iou", pack=name) for name in ("pennfudan", "ccp", "camvid")},
        "duplicates per picture": value("false_persons", "duplicates_per_picture", pack="all"),
        "duplicates per picture, labels of one person": value(
            "false_persons", "duplicates_per_picture", pack=tables.SINGLE
        ),
        "false persons per picture": value("false_persons", "false_per_picture", pack="all"),
    }


def _tell(pack: str, kind: str, subjects: list[tables.Subject]) -> None:
    here = [s for s in subjects if s.pack == pack]
    print(f"{pack}, {kind}: {sum(s.found for s in here)} of {len(here)}", file=sys.stderr, flush=True)


HEADINGS = {
    "targets": "Targets",
    "persons": "Persons, manual annotations, cyclists left out: recall at box IoU 0.5; covered to 75 % of the mask; "
    "recall together, where the joint box of the finds in a label of touching people (CamVid) counts as well",
    "dark": "Every third of these pictures as it is and darkened by one gain in linear light",
    "cyclists": "Cyclists: annotated pixels that are anonymized",
    "faces": "Faces from 16 pixels: found at box IoU 0.5; found, or the box covered to 80 %",
    "seen_faces": "Faces that CenterFace is sure of (0.6, from 24 pixels), and all it sees from 0.2",
    "plates": "Plates from 24 pixels of width: recall at box IoU 0.5; the box covered to 80 %",
    "false_plates": "Plates found in packs without plates",
    "plate_finds": "Finds of plates in packs with plates that meet no annotation at IoU 0.3 (not every plate has one)",
    "false_persons": "Finds of persons that meet no annotation at IoU 0.3 (many people have none), and doubles",
    "masks": "Mean IoU of outlines with annotated masks, persons from 40 pixels, cyclists left out",
    "missed_by_size": "Neither found nor covered, by size (what `anonymizer doctor` shows)",
    "seconds": "Seconds of detection",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--packs", nargs="+", help="packs to measure; all if left out")
    parser.add_argument("--limit", type=int, default=10_000, help="pictures per pack, at most")
    parser.add_argument("--cache", type=Path, default=Path("runs/detections"), help="where detections are kept")
    parser.add_argument("--dark", type=float, help="mean, of 255, to which every third picture of persons is darkened")
    parser.add_argument("--seconds", action="store_true", help="time detection, on a quiet machine")
    parser.add_argument("--misses", type=Path, help="page with crops of missed persons and of false plates")
    parser.add_argument("--out", type=Path, default=Path("runs/detection"))
    args = parser.parse_args()
    every = (*tables.PERSON_PACKS, tables.FACE_PACK, *tables.SEEN_FACE_PACKS, *tables.PLATE_PACKS)
    names = dict.fromkeys(pack.name for pack in every)
    if unknown := set(args.packs or ()) - set(names):
        parser.error(f"--packs: expected some of {', '.join(names)}, got {', '.join(sorted(unknown))}")
    with offline():
        runs = Runs(args.cache)
        report = measure(runs, args.data, set(args.packs or names), args.limit, args.dark)
        missed, plate_counts = report.pop("missed"), report.pop("plate_counts")
        if args.seconds:
            report["seconds"] = [seconds(runs, args.data)]
    report["targets"] = targets(report)
    head = {
        "command": " ".join(["python", *sys.argv]),
        "hardware": f"{os.cpu_count()} cores, {platform.machine()}, {psutil.virtual_memory().total / 1e9:.0f} GB",
        "detector": runs.folder.name,
        "decided_by": decided(),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    sections = [f"### {title}\n\n{table(report[key])}" for key, title in HEADINGS.items() if report.get(key)]
    text = "\n\n".join([f"`{head['command']}`, {head['hardware']}, detector {head['detector']}", *sections]) + "\n"
    print(text)
    (args.out / "detection.md").write_text(text, encoding="utf-8")
    (args.out / "detection.json").write_text(json.dumps(head | report, indent=1) + "\n", encoding="utf-8")
    if args.misses:
        args.misses.parent.mkdir(parents=True, exist_ok=True)
        args.misses.write_text(page(runs, missed, plate_counts), encoding="utf-8")


if __name__ == "__main__":
    main()
