"""Time the embedded preset: edges alone, each stage on one street picture, and what every further instance costs.

    python benchmarks/speed.py [PICTURE] [--runs N]

Without PICTURE, `bus.jpg` of the ultralytics package is used, cut and resized to 1280x720. Prints medians. The cost of
an instance is the slope of a line through pictures of 1280x720 with one to eight copies of a person from `bus.jpg`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
import psutil
from numpy.typing import NDArray

from anonymizer import Anonymizer
from anonymizer.condition.edges import EdgeNet
from anonymizer.models import weights
from anonymizer.models.third_party import offline


def packaged_picture() -> Path:
    """Return the path of `bus.jpg` without importing its package."""
    spec = importlib.util.find_spec("ultralytics")
    if spec is None or spec.origin is None:
        raise SystemExit("ultralytics is not installed; name a PICTURE")
    return Path(spec.origin).parent / "assets/bus.jpg"


def crowd(count: int) -> NDArray[np.uint8]:
    """Return a picture of 1280x720 with ``count`` copies of one person, RGB."""
    bus = cv2.imread(str(packaged_picture()), cv2.IMREAD_COLOR)[:, :, ::-1]
    out = cv2.resize(bus[:180, :720], (1280, 720), interpolation=cv2.INTER_CUBIC)
    person = cv2.resize(bus[395:875, 210:350], (105, 360), interpolation=cv2.INTER_AREA)
    for number in range(count):
        x = 30 + 155 * number
        out[300:660, x : x + 105] = person
    return np.ascontiguousarray(out)


def slope(anonymizer: Anonymizer, runs: int) -> tuple[float, list[tuple[int, float]]]:
    """Return seconds per further instance, and the instances and median seconds they come from."""
    points = []
    for count in (1, 3, 5, 8):
        image, times = crowd(count), []
        for _ in range(runs):
            start = time.perf_counter()
            result = anonymizer(image)
            times.append(time.perf_counter() - start)
        points.append((len(result.instances), statistics.median(times)))
    line = np.polyfit([n for n, _ in points], [seconds for _, seconds in points], 1)
    return float(line[0]), points


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    image = cv2.imread(str(args.picture or packaged_picture()), cv2.IMREAD_COLOR)[:, :, ::-1]
    if args.picture is None:
        image = cv2.resize(image[400:856], (1280, 720), interpolation=cv2.INTER_AREA)
    image = np.ascontiguousarray(image)
    with offline():
        net, frame = EdgeNet(weights.path("edges")), np.ascontiguousarray(cv2.resize(image, (640, 480)))
        net.detect(frame)
        times = []
        for _ in range(3 * args.runs):
            start = time.perf_counter()
            net.detect(frame)
            times.append(time.perf_counter() - start)
        print(f"{os.cpu_count()} cores; edges at 640x480: median {1000 * statistics.median(times):.0f} ms")
        start = time.perf_counter()
        anonymizer = Anonymizer.from_preset("embedded", seed=7)
        print(f"loading: {time.perf_counter() - start:.1f} s")
        stages: dict[str, list[float]] = {}
        for run in range(args.runs + 1):
            start = time.perf_counter()
            result = anonymizer(image)
            timings = dict(result.provenance["timings_s"]) | {"whole": time.perf_counter() - start}
            if run:  # the first run warms up
                for name, seconds in timings.items():
                    stages.setdefault(name, []).append(seconds)
        further, points = slope(anonymizer, args.runs)
    actions = [treatment.action for treatment in result.treatments]
    print(f"{image.shape[1]}x{image.shape[0]}, {len(actions)} instances, {actions.count('redacted')} redacted")
    for name, values in stages.items():
        print(f"{name}: median {statistics.median(values):.2f} s")
    print(f"per further instance: {further:.2f} s ({', '.join(f'{n}: {seconds:.2f} s' for n, seconds in points)})")
    print(f"memory at the end: {psutil.Process().memory_info().rss / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
