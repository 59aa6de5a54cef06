"""Write one label file for the detector's training: annotations, completed by teachers that agree.

    python models/training/complete_labels.py --data ../shared/data --teachers runs/teachers.jsonl

A pack labels some classes and leaves others unknown. What two networks see in the same place, or one is sure of,
becomes a label; what one of them only suspects becomes a region that costs nothing; the rest is background. A picture
that no teacher has seen is unknown as a whole for that class. Manual annotations are never changed.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from packs import Label, Picture, read_pack
from pycocotools import mask as coco_mask

from anonymizer.core.geometry import box_iou

PACKS = (
    "facemask",
    "humanseg",
    "pedstreet",
    "coco100",
    "coco256",
    "pennfudan",
    "camvid",
    "ccp",
    "openalpr",
    "plates_br",
    "plates_ro",
    "plates_eg",
    "plates_mix",
    "portraits",
    "lfw",
)
#: Packs that annotate every object of a class. In the last three a plate detector's finds were looked at: none was one.
COMPLETE = {
    "person": ("camvid", "pennfudan", "coco256", "coco100"),
    "face": ("facemask",),
    "license_plate": ("facemask", "humanseg", "coco100"),
}
#: Pictures taken of a pack at most, evenly spread.
MOST = {"lfw": 250, "ccp": 980}
#: Scores per class: (sure alone, enough if the other agrees, suspected) of the teacher, (agreeing, suspected) of the
#: embedded detector.
TEACHER = {"person": (0.55, 0.3, 0.2), "face": (0.55, 0.35, 0.3), "license_plate": (0.5, 0.25, 0.15)}
OWN = {"person": (0.25, 0.16), "face": (0.25, 0.15), "license_plate": (0.2, 0.15)}
#: Packs in which the plate teacher alone is not believed: makers' names on motorcycles deceive it.
DECEIVED = ("plates_eg",)
TEACHERS = {"person": "centernet", "face": "centerface", "license_plate": "platedet"}
#: Faces are hard to see on persons below this height in pixels: where none was found, the upper part is unknown.
SMALL, UPPER = 140, 0.3

Box = Sequence[float]


def best(box: Box, others: Sequence[Box]) -> float:
    """Return the largest IoU of a box with others, 0 without any."""
    if not len(others):
        return 0.0
    rest = np.array([other[:4] for other in others], np.float32)
    return float(box_iou(np.array(box[:4], np.float32)[None], rest).max())


def complete(
    name: str, known: Sequence[Box], teacher: Sequence[Box], own: Sequence[Box], deceived: bool
) -> tuple[list[Box], list[Box]]:
    """Return new labels and unknown regions of one class; boxes carry their score at the end."""
    sure, agreed, suspected = TEACHER[name]
    sure = 1.0 if deceived else sure
    agreeing, doubtful = OWN[name]
    labels: list[Box] = []
    unknown: list[Box] = []
    for box in sorted(teacher, key=lambda b: -b[4]):
        # Looser than a match: a box of half of an annotated person is no second one.
        if best(box, known) > 0.3 or best(box, labels) > 0.45:
            continue
        second = best(box, [other for other in own if other[4] >= agreeing]) >= 0.5
        if box[4] >= sure or (second and box[4] >= agreed):
            labels.append(box)
        elif box[4] >= suspected:
            unknown.append(box)
    for box in own:
        if box[4] >= doubtful and max(best(box, known), best(box, labels)) < 0.3:
            unknown.append(box)
    return labels, unknown


def boxes(labels: Sequence[Label], name: str) -> list[Box]:
    """Return the boxes of a class."""
    return [label.box for label in labels if label.name == name and not label.crowd]


def row(picture: Picture, known_faces: dict[str, Any], seen: dict[str, Any] | None) -> dict[str, Any]:
    """Return labels and unknown regions of one picture."""
    whole = [0.0, 0.0, float(picture.width), float(picture.height)]
    labels = [
        {
            "name": label.name,
            "box": [round(float(v), 2) for v in label.box],
            # Riders' masks of CamVid end at the waist.
            "rle": None if label.mask is None or label.approximate else encoded(label.mask),
        }
        for label in picture.labels
        if not label.crowd
    ]
    ignore: list[tuple[str, Box]] = []
    for label in picture.labels:
        if label.crowd:
            ignore += [(name, label.box) for name in ("person", "face")]
    unlabelled = picture.pack == "coco256" and picture.record["annotation_type"] == "none" and not picture.labels
    for name in ("person", "face", "license_plate"):
        known = boxes(picture.labels, name)
        finished = picture.pack in COMPLETE[name] and not unlabelled
        stored = {"face": "faces", "license_plate": "plates"}.get(name)
        earlier = known_faces.get(stored, {}).get(picture.pack) if stored else None
        own = seen["own"][name] if seen else []
        if finished:
            # Nearly complete: small and blurred ones are missing, lettering on hard negatives is not.
            doubtful = own if name != "license_plate" else []
            ignore += [(name, b[:4]) for b in doubtful if b[4] >= OWN[name][0] and best(b, known) < 0.3]
            continue
        if earlier is not None:
            teacher = [[*f["box"], f["score"]] for f in earlier.get(picture.path.name, [])]
        elif seen is not None:
            teacher = seen[TEACHERS[name]]
        elif name == "license_plate" and picture.pack in ("ccp", "lfw", "portraits"):
            continue
        else:
            ignore.append((name, whole))
            continue
        added, unknown = complete(name, known, teacher, own, name == "license_plate" and picture.pack in DECEIVED)
        labels += [
            {"name": name, "box": [round(float(v), 2) for v in b[:4]], "rle": None, "added": True} for b in added
        ]
        ignore += [(name, b[:4]) for b in unknown]
    faces = [label["box"] for label in labels if label["name"] == "face"]
    for label in labels:
        x1, y1, x2, y2 = label["box"]
        if label["name"] == "person" and y2 - y1 < SMALL:
            upper = [x1, y1 - 0.03 * (y2 - y1), x2, y1 + UPPER * (y2 - y1)]
            if not any(
                upper[0] < (f[0] + f[2]) / 2 < upper[2] and upper[1] < (f[1] + f[3]) / 2 < upper[3] for f in faces
            ):
                ignore.append(("face", upper))
    return {
        "pack": picture.pack,
        "file": picture.path.name,
        "size": [picture.width, picture.height],
        "labels": labels,
        "ignore": [[name, [round(float(v), 2) for v in box]] for name, box in ignore],
    }


def encoded(mask: np.ndarray) -> dict[str, Any]:
    """Return a mask as COCO's compressed run lengths."""
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def main() -> None:
    """Write the file and print how many labels of each kind it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--teachers", type=Path, help="what teachers.py wrote; without it, only older teacher boxes")
    parser.add_argument("--out", type=Path, default=Path("runs/labels.json"))
    parser.add_argument("--without", nargs="+", default=[], help="packs that are left out")
    parser.add_argument("--every", type=int, default=1, help="take every so many pictures only")
    parser.add_argument(
        "--unaided", action="store_true", help="the embedded detector, which knows every pack, agrees with no teacher"
    )
    args = parser.parse_args()
    seen: dict[tuple[str, str], Any] = {}
    if args.teachers:
        seen = {(r["pack"], r["file"]): r for r in map(json.loads, args.teachers.read_text().splitlines())}
    if args.unaided:
        seen = {key: {**found, "own": dict.fromkeys(found["own"], ())} for key, found in seen.items()}
    earlier = json.loads((args.data / "teacher_boxes.json").read_text())
    rows, counts = [], Counter[str]()
    for pack in PACKS:
        if pack in args.without:
            continue
        training = [p for p in read_pack(args.data, pack, teacher=False) if p.split == "train"][:: args.every]
        most = max(MOST.get(pack, args.every * len(training)) // args.every, 1)
        for picture in training[:: max(len(training) // most, 1)][:most]:
            made = row(picture, earlier, seen.get((pack, picture.path.name)))
            # Until head_labels.py has looked.
            made["ignore"].append(["head", [0, 0, picture.width, picture.height]])
            if made["labels"] or pack in COMPLETE["license_plate"] + COMPLETE["person"]:
                rows.append(made)
                counts.update(f"{pack} {label['name']}" for label in made["labels"])
                counts.update(f"{pack} unknown {name}" for name, _ in made["ignore"])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(rows))
    print(len(rows), "pictures")
    for key, number in sorted(counts.items()):
        print(f"{number:6d} {key}")


if __name__ == "__main__":
    main()
