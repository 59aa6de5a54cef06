"""Time and memory of one large picture.

    python benchmarks/large.py DATA --megapixels 50            # the whole preset on a made-up street
    python benchmarks/large.py DATA --megapixels 128 --quick   # memory alone: detections given, noise for the inpainter

DATA holds packs as in ``packs.py``; the street is one of CamVid enlarged, with pictures of Penn-Fudan (two to three
persons each) pasted in at their own size. ``--quick`` skips what only costs time (the networks' many tiles), not what
costs memory: decoding, maps, guard, blending, redaction, checks and encoding are the real ones.
"""

from __future__ import annotations

import argparse
import io
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anonymizer import Anonymizer
from anonymizer.core.records import Instance
from anonymizer.run.picture import Picture


def street(data: Path, height: int, width: int, insets: int) -> bytes:
    """Return a large JPEG."""
    rng = np.random.default_rng(0)
    with Image.open(sorted((data / "camvid/images").iterdir())[0]) as ground:
        out = ground.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    files = sorted((data / "pennfudan/images").iterdir())
    for number in range(insets):
        with Image.open(files[number % len(files)]) as inset:
            out.paste(inset, (int(rng.integers(0, width - 600)), int(rng.integers(0, height - 600))))
    buffer = io.BytesIO()
    out.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


class Given:
    """Finds the same persons and faces every time."""

    def __init__(self, height: int, width: int, count: int) -> None:
        rng = np.random.default_rng(0)
        self.instances = []
        for number in range(count):
            x, y = int(rng.integers(0, width - 300)), int(rng.integers(0, height - 500))
            box, label = ((x, y, x + 120, y + 300), "person") if number % 2 else ((x, y, x + 60, y + 80), "face")
            mask = np.ones((box[3] - box[1], box[2] - box[0]), bool)
            self.instances.append(Instance(number + 1, label, np.array(box, np.float32), mask, 0.9, "given"))

    def detect(self, image: Any) -> tuple[Instance, ...]:
        """Return them."""
        return tuple(self.instances)


class Noise:
    """Paints noise."""

    def inpaint(self, jobs: Any) -> list[Any]:
        """Return one crop per job."""
        return [np.random.default_rng(job.seed).integers(0, 256, job.image.shape, dtype=np.uint8) for job in jobs]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--megapixels", type=float, default=50.0)
    parser.add_argument("--aspect", type=float, default=1.5, help="width by height; 2 is a panorama")
    parser.add_argument("--insets", type=int, default=40)
    parser.add_argument("--preset", default="embedded")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    height = round((args.megapixels * 1e6 / args.aspect) ** 0.5)
    width = round(height * args.aspect)
    content = street(args.data, height, width, args.insets)
    anonymizer = Anonymizer.from_preset(args.preset, seed=7)
    if args.quick:
        anonymizer._detector = anonymizer._verifier.detector = Given(height, width, 100)
        anonymizer._redrawer._inpainter = Noise()  # type: ignore[assignment]
    before, cpu, wall = peak_gb(), time.process_time(), time.perf_counter()
    picture = Picture("street.jpg", content)
    picture.read()
    peaks = [peak_gb()]
    picture.anonymize(anonymizer)
    peaks.append(peak_gb())
    outcome = picture.write()
    peaks.append(peak_gb())
    record = outcome.record
    print(f"{width}x{height}, {width * height / 1e6:.0f} megapixels, {len(content) / 1e6:.0f} MB: {record['status']}")
    print(f"{record['reason']}{len(record.get('instances', []))} instances")
    print(f"seconds {time.perf_counter() - wall:.0f}, of CPU {time.process_time() - cpu:.0f}")
    print(f"steps {record.get('timings_s')}")
    told = ", ".join(f"{step} {peak:.2f}" for step, peak in zip(("read", "anonymize", "write"), peaks, strict=True))
    print(f"peak memory in GB, models and the picture's making {before:.2f}; up to the end of: {told}")


def peak_gb() -> float:
    """Return the largest resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
