"""Load: many pictures, several workers, overlapped steps, and what a million pictures would take.

    python benchmarks/scale.py folder WORK --count 20000      # memory and time per picture of the engine alone
    python benchmarks/scale.py workers INPUT WORK             # the preset: steps overlapped or not, one worker and two
    python benchmarks/scale.py million --worker-s 5.0 --engine-ms 12

``folder`` makes tiny pictures and takes them through a run whose anonymizer only paints a box: what is left is what
the engine costs. ``workers`` takes INPUT, a folder of a few dozen pictures, through the embedded preset; every worker
is held to one thread (OMP_NUM_THREADS=1), so that two of them use two cores. ``million`` is arithmetic on these
figures.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from anonymizer.core.records import Instance, Result, Treatment, Verdict
from anonymizer.run.audit import audit
from anonymizer.run.local import InProcess, run
from anonymizer.run.request import Request
from anonymizer.run.runner import execute
from anonymizer.run.summary import Progress

WORKERS = (1, 8, 64, 256)


class BoxInpainter:
    """Paints a box, as an anonymizer would, in no time."""

    settings_hash = "box"

    def describe(self) -> Mapping[str, Any]:
        """Return what a preset would tell, of the size it has."""
        return {"preset": "box", "models": {f"model{n}": "0" * 64 for n in range(8)}, "versions": {"numpy": "0"}}

    def __call__(self, image: Any, instances: Any = None, *, key: str = "") -> Result:
        """Paint it."""
        out, treated = image.copy(), np.zeros(image.shape[:2], bool)
        out[2:6, 2:6], treated[2:6, 2:6] = 128, True
        box = np.array([2, 2, 6, 6], np.float32)
        found = Instance(1, "person", box, np.ones((4, 4), bool), 0.9, "box")
        verdicts = (Verdict("pixels_replaced", True, 0.1, 0.5, 1), Verdict("second_pass", True, 0.0, 0.0))
        return Result(out, (found,), (Treatment(1, "redrawn", 1),), verdicts, treated)


def folder(work: Path, count: int) -> None:
    """Print memory and time while a folder of ``count`` tiny pictures is run, resumed and verified."""
    shutil.rmtree(work, ignore_errors=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        path = work / "in" / f"{number // 1000:04}" / f"{number:07}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(path)
    process, samples, started, cpu = psutil.Process(), [], time.perf_counter(), time.process_time()

    def sample(step: Progress) -> None:
        if step.done % max(count // 10, 1) == 0:
            samples.append((step.done, process.memory_info().rss / 1e6))
            print(f"{step.done} pictures: {samples[-1][1]:.1f} MB, {time.perf_counter() - started:.1f} s", flush=True)

    summary = run(BoxInpainter(), Request(work / "in", work / "out"), on_progress=sample)
    taken, cpu = time.perf_counter() - started, time.process_time() - cpu
    # The first tenth fills caches and pools.
    (low, before), (high, after) = samples[1], samples[-1]
    slope = (after - before) * 1e6 / (high - low)
    print(f"run: {taken:.1f} s, {1e3 * taken / count:.1f} ms per picture, of CPU {1e3 * cpu / count:.1f} ms")
    print(f"{summary.released} released")
    print(f"memory: {slope:.0f} bytes per picture from {low} to {high}, at the very end {summary.peak_rss_mb} MB peak")
    started = time.perf_counter()
    again = run(BoxInpainter(), Request(work / "in", work / "out"))
    print(f"resumed: {time.perf_counter() - started:.1f} s, {again.skipped} skipped")
    started = time.perf_counter()
    found = audit(work / "out")
    print(f"verified: {time.perf_counter() - started:.1f} s, {len(found.findings)} findings")


def workers(source: Path, work: Path, preset: str) -> None:
    """Print seconds per picture: steps one after the other, overlapped, one worker process, two."""
    shutil.rmtree(work, ignore_errors=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    from anonymizer import Anonymizer

    anonymizer = Anonymizer.from_preset(preset, seed=7)
    for overlapped in (False, True):
        started = time.perf_counter()
        executor = InProcess(anonymizer, overlapped=overlapped)
        summary = execute(executor, Request(source, work / f"overlapped-{overlapped}"))
        taken = time.perf_counter() - started
        count = summary.released + summary.quarantined + summary.failed
        print(
            f"in process, {'overlapped' if overlapped else 'one by one'}: {taken:.1f} s, {taken / count:.2f} a picture"
        )
    for number in (1, 2):
        command = [sys.executable, "-m", "anonymizer", "run", str(source), str(work / f"workers-{number}")]
        options = ["--preset", preset, "--seed", "7", "--workers", str(number), "--json"]
        done = subprocess.run([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        told = json.loads(done.stdout)
        count = told["released"] + told["quarantined"] + told["failed"]
        print(
            f"{number} workers: {told['seconds']:.1f} s after loading, {told['seconds'] / count:.2f} a picture, "
            f"largest process {told['peak_rss_mb'] / 1e3:.2f} GB"
        )
    steps: dict[str, list[float]] = {}
    for line in (work / "workers-1/ledger.jsonl").read_text().splitlines():
        for step, seconds in json.loads(line).get("timings_s", {}).items():
            steps.setdefault(step, []).append(seconds)
    print("median of steps:", {step: round(statistics.median(values), 3) for step, values in steps.items()})


def million(worker_s: float, engine_ms: float) -> None:
    """Print a table: a million pictures with so many workers.

    Workers work side by side; the one process that records does so one picture after the other.
    """
    print("| workers | hours | bound by |")
    print("|---|---|---|")
    for count in WORKERS:
        side_by_side, one_by_one = worker_s / count, engine_ms / 1e3
        bound = "workers" if side_by_side > one_by_one else "recording"
        print(f"| {count} | {1e6 * max(side_by_side, one_by_one) / 3600:.1f} | {bound} |")
    print(f"recording keeps up with {worker_s / (engine_ms / 1e3):.0f} workers")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("folder")
    first.add_argument("work", type=Path)
    first.add_argument("--count", type=int, default=20_000)
    second = commands.add_parser("workers")
    second.add_argument("source", type=Path)
    second.add_argument("work", type=Path)
    second.add_argument("--preset", default="embedded")
    third = commands.add_parser("million")
    third.add_argument("--worker-s", type=float, required=True, help="seconds of one worker for one picture")
    third.add_argument("--engine-ms", type=float, required=True, help="milliseconds of the engine for one picture")
    args = parser.parse_args()
    if args.command == "folder":
        folder(args.work, args.count)
    elif args.command == "workers":
        workers(args.source, args.work, args.preset)
    else:
        million(args.worker_s, args.engine_ms)


if __name__ == "__main__":
    main()
