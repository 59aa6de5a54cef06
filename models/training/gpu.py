"""Train the detector on a lent GPU machine: the same recipe, larger and longer, in steps of under ten minutes.

Here, pack pictures, labels and (to go on) an earlier checkpoint into parts of under 16 MiB, 60 MiB in all:

    python models/training/gpu.py pack --data ../shared/data --labels runs/labels.json --out runs/gpu

There, with ``runs/gpu`` beside the code; again and again, until it says that it is done:

    python models/training/gpu.py train --out runs/gpu --results "$OUT" --budget 480

Here, join what came back, export it, and, to go on, pack again with ``--checkpoint``:

    python models/training/gpu.py fetch --results DOWNLOADED --out runs/gpu/result

The machine needs torch, torchvision, ultralytics, OpenCV, pycocotools and onnx. ``--small`` tries everything on a CPU.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import torch

#: Bytes of a part, and of all pictures and labels together.
PART, ALL = 15 * 2**20, 44 * 2**20
#: Long sides in pixels and WebP qualities tried, best first, until everything fits.
TRIED = ((640, 80), (560, 75), (512, 68), (448, 62), (416, 55), (384, 50), (352, 45))
#: One picture in so many is packed to see whether all would fit.
SAMPLE = 25
#: Of packs whose pictures resemble each other only every so many are packed.
THINNED = {"ccp": 3, "camvid": 2, "lfw": 2}
#: The recipe there: batch, sides of the canvas, steps, peak rate, processes that draw scenes.
LARGE = (
    "--batch",
    "64",
    "--sizes",
    "352",
    "416",
    "448",
    "512",
    "--steps",
    "12000",
    "--rate",
    "1.5e-3",
    "--workers",
    "14",
)
SMALL = ("--batch", "2", "--sizes", "160", "--steps", "4", "--workers", "1", "--pictures", "40")


def split(blob: bytes, folder: Path, stem: str) -> None:
    """Write bytes in parts with a list of their hash."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{stem}.*"):
        old.unlink()
    for number, start in enumerate(range(0, len(blob), PART)):
        (folder / f"{stem}.{number:02d}").write_bytes(blob[start : start + PART])
    (folder / f"{stem}.json").write_text(json.dumps({"sha256": hashlib.sha256(blob).hexdigest(), "bytes": len(blob)}))


def joined(folder: Path, stem: str) -> bytes:
    """Return the bytes that ``split`` wrote.

    Raises:
        ValueError: A part is missing or damaged.
    """
    expected = json.loads((folder / f"{stem}.json").read_text())
    blob = b"".join(path.read_bytes() for path in sorted(folder.glob(f"{stem}.[0-9][0-9]")))
    if hashlib.sha256(blob).hexdigest() != expected["sha256"]:
        raise ValueError(f"{folder}/{stem}: expected {expected['bytes']} bytes with another hash, got {len(blob)}")
    return blob


def chosen(labels: Path) -> list[dict[str, Any]]:
    """Return the rows of the label file that are packed."""
    counts = Counter[str]()
    rows = []
    for row in json.loads(labels.read_text()):
        counts[row["pack"]] += 1
        if counts[row["pack"]] % THINNED.get(row["pack"], 1) == 0:
            rows.append(row)
    return rows


def archive(rows: list[dict[str, Any]], labels: Path, data: Path, side: int, quality: int) -> bytes:
    """Return a tar of labels and pictures."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:

        def add(name: str, blob: bytes) -> None:
            entry = tarfile.TarInfo(name)
            entry.size = len(blob)
            tar.addfile(entry, io.BytesIO(blob))

        add("labels.json", json.dumps(rows).encode())
        for row in rows:
            made = row["pack"] == "made"
            folder = labels.parent / "made" if made else data / row["pack"] / "images"
            image = cv2.imread(str(folder / row["file"]), cv2.IMREAD_COLOR)
            scale = min(1.0, side / max(image.shape[:2]))
            if scale < 1:
                image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            _, coded = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])
            # OpenCV reads pictures by what they hold, so the name may stay.
            add(f"made/{row['file']}" if made else f"{row['pack']}/images/{row['file']}", coded.tobytes())
    return stream.getvalue()


def light(checkpoint: Path) -> bytes:
    """Return a checkpoint in half precision without the optimiser's state, which a few hundred steps restore."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    for part in ("model", "average"):
        state[part] = {k: v.half() if v.dtype.is_floating_point else v for k, v in state[part].items()}
    state.pop("solver", None)
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def pack(args: argparse.Namespace) -> None:
    """Write the parts."""
    rows = chosen(args.labels)
    for side, quality in TRIED:
        # A sample tells nearly what all of them take.
        sample = archive(rows[::SAMPLE], args.labels, args.data, side, quality)
        if len(sample) * SAMPLE > 0.96 * ALL:
            continue
        blob = archive(rows, args.labels, args.data, side, quality)
        if len(blob) <= ALL:
            split(blob, args.out, "data.tar")
            print(f"{len(rows)} pictures, {len(blob) / 2**20:.1f} MiB at {side} pixels, quality {quality}")
            break
    else:
        raise SystemExit(f"the pictures do not fit into {ALL / 2**20:.0f} MiB: pack fewer")
    for old in args.out.glob("last.pt.*"):
        old.unlink()
    if args.checkpoint:
        split(light(args.checkpoint), args.out, "last.pt")
    total = sum(path.stat().st_size for path in args.out.iterdir() if path.is_file())
    print(f"{total / 2**20:.1f} MiB in {args.out}")


def train(args: argparse.Namespace) -> int:
    """Train for one step; return the trainer's exit status."""
    work = args.out / "work"
    data, run = work / "data", work / "run"
    if not (data / "labels.json").exists():
        data.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(joined(args.out, "data.tar"))) as tar:
            tar.extractall(data, filter="data")
    if (args.out / "last.pt.json").exists() and not (run / "last.pt").exists():
        run.mkdir(parents=True, exist_ok=True)
        (run / "last.pt").write_bytes(joined(args.out, "last.pt"))
    recipe = SMALL if args.small else (*LARGE, "--device", "cuda", "--half")
    command = [sys.executable, str(Path(__file__).with_name("train_detector.py"))]
    command += [
        "--data",
        str(data),
        "--labels",
        str(data / "labels.json"),
        "--out",
        str(run),
        "--start",
        str(args.start),
    ]
    status = subprocess.run([*command, "--budget", str(args.budget), *recipe]).returncode
    split(light(run / "last.pt"), args.results, "last.pt")
    (args.results / "log.jsonl").write_bytes((run / "log.jsonl").read_bytes())
    print("done" if (run / "detector.onnx").exists() else "not done: run again")
    return status


def fetch(args: argparse.Namespace) -> int:
    """Join the checkpoint that came back and export it; return the exporter's exit status."""
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "last.pt").write_bytes(joined(args.results, "last.pt"))
    command = [sys.executable, str(Path(__file__).with_name("train_detector.py")), "--export-only"]
    return subprocess.run([*command, "--out", str(args.out)]).returncode


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("--data", type=Path, default=Path("../shared/data"))
    packing.add_argument("--labels", type=Path, default=Path("runs/labels.json"))
    packing.add_argument("--checkpoint", type=Path, help="checkpoint to go on from")
    packing.add_argument("--out", type=Path, default=Path("runs/gpu"))
    training = commands.add_parser("train")
    training.add_argument("--out", type=Path, default=Path("runs/gpu"))
    training.add_argument("--results", type=Path, required=True)
    training.add_argument("--start", type=Path, default=Path("models/embedded/detector/detector.onnx"))
    training.add_argument("--budget", type=float, default=480.0)
    training.add_argument("--small", action="store_true")
    fetching = commands.add_parser("fetch")
    fetching.add_argument("--results", type=Path, required=True)
    fetching.add_argument("--out", type=Path, default=Path("runs/gpu/result"))
    args = parser.parse_args()
    if args.command == "pack":
        pack(args)
    else:
        sys.exit(train(args) if args.command == "train" else fetch(args))


if __name__ == "__main__":
    main()
