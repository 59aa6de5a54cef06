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
from collections.abc import Iterator
from pathlib import Path

import cv2

#: Bytes of a part, and of all pictures and labels together.
PART, ALL = 15 * 2**20, 44 * 2**20
#: Long sides in pixels and JPEG qualities tried, best first, until everything fits.
TRIED = ((640, 85), (640, 75), (560, 75), (512, 70), (448, 68), (384, 65))
#: The recipe there: batch, sides of the canvas, steps, peak rate, processes that draw scenes.
LARGE = ("--batch", "64", "--sizes", "352", "416", "448", "512", "--steps", "12000", "--rate", "1.5e-3", "--workers", "14")
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


def pictures(labels: Path, data: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name in the archive and the file of each training picture."""
    for row in json.loads(labels.read_text()):
        folder = labels.parent / "made" if row["pack"] == "made" else data / row["pack"] / "images"
        inside = "made" if row["pack"] == "made" else f"{row['pack']}/images"
        yield f"{inside}/{row['file']}", folder / row["file"]


def archive(labels: Path, data: Path, side: int, quality: int) -> bytes | None:
    """Return a tar of labels and pictures, None as soon as it is too large."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        packed = labels.read_bytes()

        def add(name: str, blob: bytes) -> None:
            entry = tarfile.TarInfo(name)
            entry.size = len(blob)
            tar.addfile(entry, io.BytesIO(blob))

        add("labels.json", packed)
        for name, path in pictures(labels, data):
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            scale = min(1.0, side / max(image.shape[:2]))
            if scale < 1:
                image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
            add(name, coded.tobytes())
            if stream.tell() > ALL:
                return None
    return stream.getvalue()


def pack(args: argparse.Namespace) -> None:
    """Write the parts."""
    for side, quality in TRIED:
        blob = archive(args.labels, args.data, side, quality)
        if blob is not None:
            split(blob, args.out, "data.tar")
            print(f"{len(blob) / 2**20:.1f} MiB at {side} pixels, quality {quality}")
            break
    else:
        raise SystemExit(f"the pictures do not fit into {ALL / 2**20:.0f} MiB: pack fewer")
    for old in args.out.glob("last.pt.*"):
        old.unlink()
    if args.checkpoint:
        split(args.checkpoint.read_bytes(), args.out, "last.pt")
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
    command += ["--data", str(data), "--labels", str(data / "labels.json"), "--out", str(run), "--start", str(args.start)]
    status = subprocess.run([*command, "--budget", str(args.budget), *recipe]).returncode
    split((run / "last.pt").read_bytes(), args.results, "last.pt")
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
