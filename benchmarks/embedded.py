"""Measure the embedded preset: redraws, identity left, speed; one table in Markdown and JSON.

    python benchmarks/embedded.py --data DATA --judge arcface.onnx [--limit N] [--out DIR]

``DATA`` holds annotated packs (see ``packs.py``); ``val`` pictures are used, of the portraits all. The judge is an
ArcFace-shaped ONNX file that took no part in training or verification. ``--out`` gets ``embedded.json``,
``embedded.md``, pictures before and after, and crops for ``pose_judge.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import psutil
from markdown_table import table
from packs import pictures, read, some
from redraws import PACKS, Bench, two_seeds

from anonymizer.config import presets
from anonymizer.models.third_party import offline
from anonymizer.recognize.faces import ArcFaceEmbedder


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=40, help="pictures per pack")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    args = parser.parse_args()
    with offline():
        anonymizer = presets.build("embedded", seed=args.seed)
        described = anonymizer.describe()
        report: dict[str, Any] = {
            "command": " ".join(["python", *sys.argv]),
            "hardware": f"{os.cpu_count()} cores, {platform.machine()}, {psutil.virtual_memory().total / 1e9:.0f} GB",
            "preset": described["preset_settings"],
            "models": described["models"],
            "versions": described["versions"],
        }
        bench = Bench(anonymizer, ArcFaceEmbedder(args.judge, 0.35), args.out / "crops", args.out / "sheets")
        report["redraws"] = []
        for pack in PACKS:
            report["redraws"].append(bench.pack(args.data, pack, args.limit))
            print(report["redraws"][-1], file=sys.stderr, flush=True)
        report["kid"] = {"features": bench.features, "rows": bench.kids()}
        images = [read(path) for path, _ in some(pictures(args.data, "pennfudan", "val"), 4)]
        other = presets.build("embedded", seed=args.seed + 1)
        report["two_seeds"] = two_seeds(anonymizer, other, images)
        report["memory_gb"] = psutil.Process().memory_info().rss / 1e9
    args.out.mkdir(parents=True, exist_ok=True)
    parts = [
        f"`{report['command']}`, {report['hardware']}",
        *("### Redraws", table(report["redraws"])),
        *(f"### KID ({report['kid']['features']})", table(report["kid"]["rows"])),
        *("### Two seeds", table([report["two_seeds"]])),
    ]
    text = "\n\n".join(parts) + "\n"
    print(text)
    (args.out / "embedded.md").write_text(text, encoding="utf-8")
    (args.out / "embedded.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
