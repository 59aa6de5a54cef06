"""Kill a real run at random moments, resume it, and compare with an undisturbed run.

    python benchmarks/kill_resume.py INPUT WORK --kills 10

INPUT is a folder of a few pictures. After every kill, each picture in the output must be one that the undisturbed run
released, byte for byte; in the end pictures and annotations must be the same.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path


def command(source: Path, output: Path) -> list[str]:
    """Return the run's command line."""
    return [sys.executable, "-m", "anonymizer", "run", str(source), str(output), "--seed", "7", "--json"]


def digests(folder: Path) -> dict[str, str]:
    """Return sha256 by relative path of every finished file that must not depend on interruptions."""
    files = [p for p in sorted((folder / "images").rglob("*")) if p.is_file() and not p.name.startswith(".")]
    files += [p for p in [folder / "annotations.json"] if p.exists()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def main() -> int:
    """Run the comparison; exit 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    shutil.rmtree(args.work, ignore_errors=True)

    calm, shaken = args.work / "calm", args.work / "shaken"
    start = time.monotonic()
    subprocess.run(command(args.source, calm), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    whole = time.monotonic() - start
    expected = digests(calm)
    wrong, partly = 0, 0
    for kill in range(args.kills):
        # A third of the kills fall into start-up and the first picture; the rest reach ever further.
        after = rng.uniform(0.05, 1.0) * whole
        process = subprocess.Popen(command(args.source, shaken), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(after)
            state = "had finished"
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            state = "killed"
        found = {k: v for k, v in digests(shaken).items() if k.startswith("images/")}
        bad = [name for name, digest in found.items() if expected.get(name) != digest]
        wrong += len(bad)
        partly += 0 < len(found) < len(expected) - 1
        print(
            f"kill {kill + 1}: after {after:.1f} s, {state}, pictures {len(found)}, unexpected {len(bad)}", flush=True
        )
        if state == "had finished":
            shutil.rmtree(shaken)
    subprocess.run(command(args.source, shaken), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    same = digests(shaken) == expected
    print(
        f"undisturbed run {whole:.1f} s, {len(expected)} files; {partly} kills left some pictures finished; "
        f"unexpected files {wrong}; resumed result {'equal' if same else 'DIFFERENT'}"
    )
    return 0 if same and not wrong and expected else 1


if __name__ == "__main__":
    raise SystemExit(main())
