"""Distance of redrawn plates to real ones: how alike they look to a network, with blur and fill beside.

    python benchmarks/plate_distance.py --data DATA --judges JUDGES --out DIR [--limit N] [--most-seconds N]

Plates are annotated ones from 24 pixels of width on ``val`` pictures of four packs that platedet finds, redrawn as in a
run, but not verified. Crops of them, stretched to squares, are compared by features of EfficientNet-Lite2 with plates
of ``train`` pictures, see ``avatar_measures.Distance``; *real* are the same plates as they were. ``DIR`` gets
``plates.md`` and a sheet; pictures done before are read from it.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from avatar_measures import Distance, told_apart
from avatar_run import Kept
from avatars import cell
from markdown_table import table
from numpy.typing import NDArray
from packs import pictures, read, some
from plates import WIDTH

from anonymizer.core.geometry import box_iou, context_box, take
from anonymizer.detect.yolo import YoloSegDetector
from anonymizer.evaluation.networks import FEATURE_MARGIN, FEATURE_SIDE, ImageFeatures
from anonymizer.evaluation.records import Pair, Subject
from anonymizer.evaluation.variants import Blur
from anonymizer.fill import redact
from anonymizer.fill.migan import MiGan
from anonymizer.models import weights
from anonymizer.models.third_party import offline
from anonymizer.recognize.ocr import RapidOcrReader
from anonymizer.redraw.crops import anonymized_mask
from anonymizer.redraw.plates import redraw_plate
from anonymizer.redraw.redrawer import compose, region_patch
from anonymizer.verify.verifier import Verifier

PACKS = ("openalpr", "plates_br", "plates_ro", "plates_eg")
#: Least score and IoU with an annotation of a find that is redrawn.
SURE, SAME = 0.15, 0.5
#: Least spread of a feature, by the median one, see ``Distance``: one of the 1,280 has 0.0003 on real plates, and of a
#: single redrawn one up to 430 times that.
LEAST_SPREAD = 0.1
#: Pictures of a pack that others are compared with, plates on a sheet, width and height of each in pixels.
REFERENCE, ROWS, TILE = 60, 20, (240, 120)

Image, Floats = NDArray[np.uint8], NDArray[np.float32]


class Bench:
    """Redraws and describes plates."""

    def __init__(self, judges: Path) -> None:
        self._find = YoloSegDetector(
            weights.path("platedet"),
            {"license_plate": SURE},
            sizes=[640],
            classes=("license_plate",),
            plate_outlines=True,
            source="platedet",
        )
        self._filler = MiGan(weights.path("fill"))
        self._read = Verifier(self._find, None, RapidOcrReader())
        self._describe, self._blur = ImageFeatures(judges / "efficientnet-lite2.onnx"), Blur()

    def real(self, path: Path, boxes: list[Floats]) -> list[Any]:
        """Return features of the plates of a picture."""
        image = read(path)
        return [self._features(image, box) for box in boxes]

    def treated(self, path: Path, boxes: list[Floats]) -> list[dict[str, tuple[Any, Image]]]:
        """Return features and tiles of the plates of a picture by variant; those that are not found are left out."""
        image, name = read(path), path.name
        found = self._find.detect(image)
        if not boxes or not found:
            return []
        overlaps = box_iou(np.stack(boxes), np.stack([plate.box for plate in found]))
        here = [(box, found[int(row.argmax())]) for box, row in zip(boxes, overlaps, strict=True) if row.max() >= SAME]
        rng = np.random.default_rng((7, zlib.crc32(name.encode())))
        plates = [plate for _, plate in here]
        hidden = anonymized_mask(plates, (image.shape[0], image.shape[1]))
        filled = redact(image, hidden, rng, self._filler)
        texts = self._read.examine(image, plates).texts
        every = tuple(line for lines in texts.values() for line in lines)
        patches = [
            replace(
                region_patch(filled, plate),
                pixels=redraw_plate(image, plate, texts.get(plate.id, ()), rng, filled, every),
            )
            for plate in plates
        ]
        subjects = [Subject(name, n, "license_plate", box) for n, (box, _) in enumerate(here)]
        variants = {
            "real": image,
            "redrawn": compose(filled, patches)[0],
            "fill": filled,
            "blur": self._blur(Pair(name, Path(), Path()), image, subjects),
        }
        return [{v: (self._features(p, box), _tile(p, box)) for v, p in variants.items()} for box, _ in here]

    def _features(self, image: Image, box: Floats) -> Any:
        crop = take(image, context_box(box, FEATURE_MARGIN, float((box[3] - box[1]) / (box[2] - box[0]))))
        square = cv2.resize(crop, (FEATURE_SIDE, FEATURE_SIDE), interpolation=cv2.INTER_LINEAR)
        # The crop's own margin is its surroundings: the judge's margin begins at its border.
        inner = FEATURE_SIDE * FEATURE_MARGIN / (1 + 2 * FEATURE_MARGIN)
        middle = np.array([inner, inner, FEATURE_SIDE - inner, FEATURE_SIDE - inner], np.float32)
        return self._describe.describe(np.asarray(square, np.uint8), middle[None])[0]


def _tile(image: Image, box: Floats) -> Image:
    return np.asarray(cv2.resize(take(image, context_box(box, 0.2, 0.5)), TILE, interpolation=cv2.INTER_AREA), np.uint8)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "judges", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=1000, help="treated pictures of a pack")
    parser.add_argument("--most-seconds", type=float, default=float("inf"), help="processor time to stop after")
    arguments = parser.parse_args()
    kept = Kept(arguments.out / "done")
    sides: dict[str, list[Any]] = {"train": [], "val": []}
    groups: dict[str, list[str]] = {"train": [], "val": []}
    with offline():
        bench = Bench(arguments.judges)
        for split, limit, make in (("train", REFERENCE, bench.real), ("val", arguments.limit, bench.treated)):
            for pack in PACKS:
                for path, truths in some(pictures(arguments.data, pack, split), limit):
                    boxes = [t.box for t in truths if t.label == "license_plate" and t.side >= WIDTH]
                    made = kept.get(partial(make, path, boxes), split, path)
                    sides[split] += made
                    groups[split] += [f"{pack}/{path.name}"] * len(made)
                    if time.process_time() > arguments.most_seconds:
                        raise SystemExit(f"stopped at {path}; the same command goes on")
    packs = {split: [name.partition("/")[0] for name in names] for split, names in groups.items()}
    plates = {v: np.stack([plate[v][0] for plate in sides["val"]]) for v in sides["val"][0]}
    measured = [
        Distance(np.stack(sides["train"]), groups["train"], packs["train"], least).several(
            [*plates.values()], groups["val"], packs["val"]
        )
        for least in (0.0, LEAST_SPREAD)
    ]
    rows = []
    for (variant, features), far, held in zip(plates.items(), *measured, strict=True):
        told = told_apart(plates["real"], features, (groups["val"], groups["val"])) if variant != "real" else None
        row = {"variant": variant, "kernel distance": cell("kernel", dataclasses.asdict(far))}
        row["with a least spread"] = cell("kernel", dataclasses.asdict(held))
        rows.append(row | {"told apart": "" if told is None else cell("told apart", dataclasses.asdict(told))})
    count = ", ".join(f"{pack} {packs['val'].count(pack)}" for pack in PACKS)
    text = f"{len(sides['val'])} plates ({count}), {len(sides['train'])} real ones of others\n\n{table(rows)}\n"
    (arguments.out / "plates.md").write_text(text, encoding="utf-8")
    lines = [np.concatenate([tile for _, tile in plate.values()], axis=1) for plate in some(sides["val"], ROWS)]
    cv2.imwrite(str(arguments.out / "plates.png"), np.concatenate(lines)[..., ::-1])
    print(text)


if __name__ == "__main__":
    main()
