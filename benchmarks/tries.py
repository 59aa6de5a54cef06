"""Measure what further redraws of a person gain, and whether a quality score chooses the better ones.

    python benchmarks/tries.py --data DATA --judges JUDGES --out OUT [--persons 20] [--tries 4] [--only 0:7]

Each of the first listed persons of ``avatar_instances.json`` from 96 pixels of height, spread over the packs, is cut
out with half of its longer side around, and that crop goes through the embedded preset once per try, each with a seed
of its own and one attempt. Noted are whether the person was redrawn or filled, the IoU with which verification found it
again and processor seconds; of those redrawn also

- a quality score that a run could compute: that IoU's margin less the distance of the person's latents (mean and spread
  of the embedded autoencoder's channels, by thirds of the height) from those of real persons, each in its own spread;
- what judges say that take no part in a run: NanoDet's score, and how much nearer the crop is to real persons than to
  blurred ones by EfficientNet-Lite2's features (kernel witness).

``--only`` measures some of the persons and leaves its lines in OUT; without it, all lines of OUT become the tables.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from avatar_measures import kernel
from avatar_run import LIST, SAME, best
from markdown_table import table
from numpy.typing import NDArray
from packs import pictures, read

from anonymizer import Anonymizer, VerificationFailed
from anonymizer.core.geometry import box_iou, context_box, take
from anonymizer.evaluation.networks import ImageFeatures, NanoDet
from anonymizer.models import weights
from anonymizer.models.third_party import offline
from anonymizer.redraw.diffusion import DiffusionSettings
from anonymizer.redraw.exported import ExportedInpainter

Floats = NDArray[np.float32]
#: Surroundings of a person in the crop, as a share of the longer side of the box, and the least height in pixels.
AROUND, TALL = 0.5, 96
#: Real persons of ``train`` pictures that references are made of.
REFERENCE = 60
#: Width and height at which the autoencoder sees a person.
SIZE = 96, 192


class Latents:
    """Small feature space: mean and spread of the embedded autoencoder's channels in three thirds of a person."""

    def __init__(self) -> None:
        self._inpainter = ExportedInpainter(weights.path("inpaint"), DiffusionSettings(10, 1.0, (1.0, 1.0)))

    def describe(self, image: NDArray[np.uint8], box: Floats) -> Floats:
        """Return float32 (24,) of the person in a box (4,)."""
        crop = cv2.resize(take(image, context_box(box, 0.0, SIZE[1] / SIZE[0])), SIZE, interpolation=cv2.INTER_AREA)
        blob = np.ascontiguousarray(crop.transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(127.5) - 1
        mean = self._inpainter._run("encoder", image=blob)[0, :4]
        thirds = np.array_split(mean, 3, axis=1)
        return np.concatenate([f(t, axis=(1, 2)) for t in thirds for f in (np.mean, np.std)]).astype(np.float32)


def reference(data: Path, latents: Latents, judge: ImageFeatures) -> dict[str, Any]:
    """Return latents and judge features of real persons, and judge features of the same blurred."""
    space, real, blurred = [], [], []
    for pack in ("ccp", "pennfudan", "humanseg"):
        left = REFERENCE // 3
        for picture, truths in pictures(data, pack, "train"):
            image = None
            for truth in truths:
                height = float(truth.box[3] - truth.box[1])
                if truth.label != "person" or height < TALL or left == 0:
                    continue
                image = read(picture) if image is None else image
                space.append(latents.describe(image, truth.box))
                real.append(judge.describe(image, truth.box[None])[0])
                blurred.append(judge.describe(cv2.GaussianBlur(image, (0, 0), height / 12), truth.box[None])[0])
                left -= 1
    return {"latents": np.stack(space), "real": np.stack(real), "blurred": np.stack(blurred)}


def chosen(count: int) -> list[dict[str, Any]]:
    """Return listed persons, the same number of each pack as far as it has some, tall ones only."""
    listed = [p for p in json.loads(LIST.read_text())["persons"] if p["box"][3] - p["box"][1] >= TALL]
    packs: dict[str, list[dict[str, Any]]] = {}
    for person in listed:
        packs.setdefault(person["pack"], []).append(person)
    turns = [row[n] for n in range(len(listed)) for row in packs.values() if n < len(row)]
    return turns[:count]


def tried(
    anonymizer: Anonymizer, person: dict[str, Any], image: NDArray[np.uint8], tries: int, judges: Any, known: Any
) -> list[dict[str, Any]]:
    """Return what each try of a person gave."""
    latents, nanodet, lite = judges
    box = np.array(person["box"], np.float32)
    height, width = image.shape[:2]
    around = AROUND * float(max(box[2] - box[0], box[3] - box[1]))
    x1, y1 = max(int(box[0] - around), 0), max(int(box[1] - around), 0)
    x2, y2 = min(int(box[2] + around), width), min(int(box[3] + around), height)
    crop, place = np.ascontiguousarray(image[y1:y2, x1:x2]), box - np.array([x1, y1, x1, y1], np.float32)
    spread = known["latents"].std(axis=0)
    out = []
    for number in range(tries):
        begun = time.process_time()
        line: dict[str, Any] = {"person": f"{person['pack']}/{person['annotation']}", "try": number, "redrawn": False}
        try:
            result = anonymizer(crop, key=f"{person['annotation']} {number}")
        except VerificationFailed:
            out.append(line | {"seconds": time.process_time() - begun, "fate": "withheld"})
            continue
        line["seconds"] = time.process_time() - begun
        persons = [i for i in result.instances if i.label == "person"]
        overlaps = box_iou(place[None], np.stack([i.box for i in persons]))[0] if persons else np.zeros(1)
        if overlaps.max() < SAME:
            out.append(line | {"fate": "missed"})
            continue
        mine = persons[int(overlaps.argmax())]
        treatment = next(t for t in result.treatments if t.instance_id == mine.id)
        line["fate"] = "filled" if treatment.action == "redacted" and treatment.attempts else "not tried"
        if treatment.action == "redrawn":
            line |= {"fate": "redrawn", "redrawn": True}
            line["iou"] = next(v.value for v in result.verdicts if v.check == "class_kept" and v.instance_id == mine.id)
            offset = (latents.describe(result.image, place) - known["latents"].mean(axis=0)) / spread
            line["distance"] = float(np.sqrt((offset**2).mean()))
            line["nanodet"] = best(nanodet.find(result.image, place), place)[0]
            centre, wide = known["real"].mean(axis=0), known["real"].std(axis=0) + 1e-6
            feature = (lite.describe(result.image, place[None]) - centre) / wide
            near, far = (float(kernel(feature, (known[name] - centre) / wide).mean()) for name in ("real", "blurred"))
            line["witness"] = near - far
        out.append(line)
    return out


def report(lines: list[dict[str, Any]]) -> None:
    """Print tries against gain."""
    persons: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        persons.setdefault(line["person"], []).append(line)
    posed = [group for group in persons.values() if any(line["fate"] in ("redrawn", "filled") for line in group)]
    most = max(len(group) for group in posed)
    redrawn = [line for line in lines if line["redrawn"]]
    iou, distance = (np.array([line[name] for line in redrawn]) for name in ("iou", "distance"))
    for line in redrawn:
        line["score"] = (line["iou"] - iou.mean()) / iou.std() - (line["distance"] - distance.mean()) / distance.std()
    rows: list[dict[str, Any]] = []
    for count in range(1, most + 1):
        # First over the choices of tries of one person, then over persons: each counts once.
        shares, gains = [], {name: ([], []) for name in ("nanodet", "witness")}
        for group in posed:
            some = [[line for line in c if line["redrawn"]] for c in combinations(group, min(count, len(group)))]
            shares.append(np.mean([bool(good) for good in some]))
            for name, (mean, top) in gains.items():
                kept = [good for good in some if good]
                if kept:
                    mean.append(np.mean([np.mean([line[name] for line in good]) for good in kept]))
                    top.append(np.mean([max(good, key=lambda line: line["score"])[name] for good in kept]))
        row: dict[str, Any] = {"tries": count, "redrawn": f"{100 * np.mean(shares):.0f} %"}
        for name, (mean, top) in gains.items():
            row |= {f"{name}, any of them": float(np.mean(mean)), f"{name}, best by score": float(np.mean(top))}
        rows.append(row)
    print(table(rows))
    within = []
    for group in posed:
        good = [line for line in group if line["redrawn"]]
        if len(good) > 1:
            within.append(
                [[line[n] - np.mean([g[n] for g in good]) for n in ("score", "nanodet", "witness")] for line in good]
            )
    centred = np.concatenate(within)
    for place, name in ((1, "NanoDet"), (2, "witness")):
        together = np.corrcoef(centred[:, 0], centred[:, place])[0, 1]
        print(f"correlation of score and {name} within a person: {together:.2f} ({len(centred)} redraws)")
    fates = {
        fate: sum(line["fate"] == fate for line in lines)
        for fate in ("redrawn", "filled", "not tried", "missed", "withheld")
    }
    print(f"{len(persons)} persons, {len(posed)} posed; tries by fate: {fates}")
    print(
        f"processor seconds a try, with detection and verification: {np.mean([line['seconds'] for line in lines]):.2f}"
    )


def main() -> None:
    """Measure or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "judges", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--persons", type=int, default=20)
    parser.add_argument("--tries", type=int, default=4)
    parser.add_argument("--only", help="which of the persons, as FROM:TO")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    persons = chosen(args.persons)
    if args.only:
        low, high = (int(part) for part in args.only.split(":"))
        persons = persons[low:high]
        with offline():
            latents, lite = Latents(), ImageFeatures(args.judges / "efficientnet-lite2.onnx")
            kept = args.out / "reference.npz"
            if not kept.is_file():
                np.savez(kept, **reference(args.data, latents, lite))
            known = dict(np.load(kept))
            anonymizer = Anonymizer.from_preset("embedded", seed=7, classes=("person", "face"))
            anonymizer.settings.attempts["person"] = 1  # type: ignore[index]
            judges = latents, NanoDet(args.judges / "nanodet.onnx"), lite
            for person in persons:
                image = read(args.data / person["pack"] / "images" / person["picture"])
                lines = tried(anonymizer, person, image, args.tries, judges, known)
                name = f"{person['pack']}-{person['annotation']}.json"
                (args.out / name).write_text(json.dumps(lines, indent=1))
                print(name, [(line["fate"], round(line["seconds"], 1)) for line in lines], flush=True)
        return
    report([line for file in sorted(args.out.glob("*.json")) for line in json.loads(file.read_text())])


if __name__ == "__main__":
    main()
