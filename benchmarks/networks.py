"""Measures the embedded networks of other packages: recall of persons and plates by size, and milliseconds.

    python benchmarks/networks.py DATA

``DATA`` holds the packs as in README.md; those that are absent are left out and named. Recall is that of the network
alone at IoU 0.5 on ``val`` pictures. Prints JSON, one line per pack and way of viewing, then one per network.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from packs import counted, pictures, read

from anonymizer.core.geometry import box_iou
from anonymizer.core.records import Detector, Image
from anonymizer.detect.centernet import THRESHOLD, CenterNetDetector
from anonymizer.detect.regions import nms
from anonymizer.detect.yolo import YoloSegDetector
from anonymizer.models import weights

Boxes = tuple[NDArray[np.float32], NDArray[np.float32]]

PERSON_PACKS = ("coco100", "coco256", "humanseg", "pennfudan", "ccp", "camvid")
PLATE_PACKS = ("openalpr", "plates_br", "plates_ro", "plates_eg", "plates_mix")
#: Height of persons and width of plates, in pixels: from, below.
PERSON_SIZES, PLATE_SIZES = ((40, 100_000), (20, 40)), ((24, 100_000), (12, 24))
PLATE_THRESHOLD, PLATE_SIDE = 0.2, 640
#: Sides of one of two by two tiles as shares of the picture's, so that neighbours share a fifth of it; a box this near
#: to an inner border, in pixels, was cut by it.
TILE, CUT = 0.6, 3.0
#: IoU from which a find shows what an annotation does, and two finds the same.
FOUND = 0.5
#: Runs of which the median counts, after one that warms up.
RUNS = 21
SHAPES = {
    "centernet": (1, 512, 512, 3),
    "blazepose": (1, 256, 256, 3),
    "facemesh": (1, 192, 192, 3),
    "platedet": (1, 3, 640, 640),
}


def recall(
    find: Callable[[Image], Boxes], data: Path, pack: str, label: str, sizes: tuple[tuple[int, int], ...]
) -> dict[str, Any]:
    """Return the recall on one pack by size."""
    hits: dict[tuple[int, int], list[bool]] = {size: [] for size in sizes}
    finds = 0
    items = pictures(data, pack, "val")
    for path, truths in items:
        found, _ = find(read(path))
        finds += len(found)
        for truth in (truth for truth in truths if counted(truth, label, pack)):
            hit = bool(box_iou(truth.box, found).max(initial=0) >= FOUND)
            for low, high in sizes:
                if low <= truth.side < high:
                    hits[low, high].append(hit)
    return {
        "pack": pack,
        "pictures": len(items),
        "finds_per_picture": round(finds / len(items), 2),
        **{f"from_{low}": {"instances": len(part), "found": sum(part)} for (low, _), part in hits.items()},
    }


def whole(detector: Detector, image: Image) -> Boxes:
    """Return the boxes (N, 4) and scores (N,) of what is found in a picture at once."""
    found = detector.detect(image)
    return np.array([i.box for i in found], np.float32).reshape(-1, 4), np.array([i.score for i in found], np.float32)


def tiled(detector: Detector, image: Image) -> Boxes:
    """Return what is found in the whole picture and in two by two tiles; what a tile's inner border cuts is dropped."""
    height, width = image.shape[:2]
    boxes, scores = ([part] for part in whole(detector, image))
    for row, column in itertools.product((0, 1), (0, 1)):
        high, wide = round(height * TILE), round(width * TILE)
        y, x = row * (height - high), column * (width - wide)
        found, likely = whole(detector, image[y : y + high, x : x + wide])
        # Where it ends with the picture, a tile cuts nothing.
        near = (found[:, :2] <= CUT) & (np.array([x, y]) > 0)
        far = (found[:, 2:] >= np.array([wide, high]) - CUT) & (np.array([x + wide, y + high]) < [width, height])
        cut = (near | far).any(axis=1)
        boxes.append(found[~cut] + np.array([x, y, x, y], np.float32))
        scores.append(likely[~cut])
    every, likely = np.concatenate(boxes), np.concatenate(scores)
    kept = nms(every, likely, FOUND)
    return every[kept], likely[kept]


def milliseconds(network: str) -> Iterator[dict[str, Any]]:
    """Yield the median time of a run on one and on two threads; processor time says more on a busy machine."""
    for threads in (1, 2):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # As in the product: threads that wait burn no time.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(str(weights.path(network)), options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        feed = {name: np.random.default_rng(7).random(SHAPES[network]).astype(np.float32)}
        session.run(None, feed)
        times, worked = [], []
        for _ in range(RUNS):
            start, begun = time.perf_counter(), time.process_time()
            session.run(None, feed)
            times.append(time.perf_counter() - start)
            worked.append(time.process_time() - begun)
        wall, cpu = (round(statistics.median(part) * 1000, 1) for part in (times, worked))
        yield {"network": network, "threads": threads, "ms": wall, "cpu_ms": cpu}


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the packs")
    parser.add_argument("--only", choices=("persons", "plates", "speed"), help="one part of the measurement")
    arguments = parser.parse_args()
    if arguments.only in (None, "persons"):
        persons = CenterNetDetector(weights.path("centernet"), {"person": THRESHOLD})
        for pack in PERSON_PACKS:
            if not (arguments.data / pack).is_dir():
                print(json.dumps({"pack": pack, "absent": True}))
                continue
            for views, find in (("whole", whole), ("whole and tiles", tiled)):
                row = recall(partial(find, persons), arguments.data, pack, "person", PERSON_SIZES)
                print(json.dumps({"network": "centernet", "views": views, **row}), flush=True)
    if arguments.only in (None, "plates"):
        plates = YoloSegDetector(
            weights.path("platedet"),
            {"license_plate": PLATE_THRESHOLD},
            sizes=(PLATE_SIDE,),
            classes=("plate",),
            labels={"plate": "license_plate"},
        )
        for pack in PLATE_PACKS:
            if not (arguments.data / pack).is_dir():
                print(json.dumps({"pack": pack, "absent": True}))
                continue
            row = recall(partial(whole, plates), arguments.data, pack, "license_plate", PLATE_SIZES)
            print(json.dumps({"network": "platedet", "views": "whole", **row}), flush=True)
    if arguments.only in (None, "speed"):
        for network in SHAPES:
            for timing in milliseconds(network):
                print(json.dumps(timing), flush=True)


if __name__ == "__main__":
    main()
