"""Recall of detector networks on held-out pictures, manual annotations only, in one table.

    python models/training/judge_detector.py --data ../shared/data models/embedded/detector/detector.onnx new.onnx

Each class is judged at the lowest score that gives at most one false find a picture (and, more strictly, one in ten
pictures). A find is false where it meets no annotation of its class at IoU 0.3 and lies in no region that is not
judged (crowds, riders, objects under the least size count neither way). Recall is at IoU 0.5, one find an object.
Pictures are seen as the product sees them: letterboxed at several long sides, joined by suppression.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from packs import Label, Picture, read_pack

from anonymizer.core.geometry import box_iou
from anonymizer.detect.regions import nms
from anonymizer.detect.yolo import letterbox

CLASSES = ("person", "face", "license_plate")
#: Packs of each class: whether every object of the class is annotated, so that false finds can be counted there.
JUDGED = {
    "person": {
        "pennfudan": True,
        "camvid": True,
        "coco256": True,
        "coco100": True,
        "humanseg": False,
        "ccp": False,
    },
    "face": {"facemask": True},
    "license_plate": {
        "openalpr": True,
        "plates_br": True,
        "plates_ro": True,
        "plates_eg": True,
        "plates_mix": True,
        # Without plates: a plate detector's finds there were looked at, and none was one.
        "facemask": True,
    },
}
#: Least and largest side judged, in pixels: height of persons and faces, width of plates.
BANDS = {"person": ((20, 40), (40, 1e9)), "face": ((16, 1e9),), "license_plate": ((24, 1e9),)}
#: Packs whose masks of persons are exact enough to judge masks by.
MASKED = ("pennfudan", "ccp", "camvid")
#: Lowest score looked at, and the most finds of a class in one view.
FLOOR, MOST = 0.02, 300
#: The other network of each class, and the score from which it counts.
BESIDE = {"person": ("centernet", 0.3), "face": ("centerface", 0.3), "license_plate": ("platedet", 0.3)}
#: False finds a picture.
ALLOWED = (1.0, 0.1)


@dataclass(slots=True)
class Tally:
    """Scores of one class over all pictures."""

    #: (pack, band, whether the other network found it, score of the find that met it or 0, IoU of the masks or NaN)
    #: per object.
    objects: list[tuple[str, int, bool, float, float]] = field(default_factory=list)
    false: list[float] = field(default_factory=list)
    pictures: int = 0


def views(session: ort.InferenceSession, image: np.ndarray, sizes: Sequence[int]) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield table (N, 4 + C + 32), prototypes (32, h, w) and frame of each view."""
    name = session.get_inputs()[0].name
    for size in sizes:
        boxed, scale_x, scale_y, left, top = letterbox(image, size)
        blob = np.ascontiguousarray(boxed.transpose(2, 0, 1)[None], dtype=np.float32) / 255
        raw, protos = session.run(None, {name: blob})
        yield raw[0].T, protos[0], np.array([scale_x, scale_y, left, top])


def finds(seen: Sequence[tuple[np.ndarray, ...]], index: int, count: int) -> list[tuple[np.ndarray, float, int, int]]:
    """Return (box, score, view, row) of one class, best first, after suppression over all views."""
    boxes, scores, where = [], [], []
    for view, (table, _, (scale_x, scale_y, left, top)) in enumerate(seen):
        column = table[:, 4 + index]
        rows = np.flatnonzero(column >= FLOOR)
        rows = rows[np.argsort(-column[rows], kind="stable")][:MOST]
        centre, half = table[rows, :2], table[rows, 2:4] / 2
        shift, scale = np.array([left, top] * 2), np.array([scale_x, scale_y] * 2)
        found = ((np.concatenate([centre - half, centre + half], axis=1) - shift) / scale).astype(np.float32)
        for keep in nms(found, column[rows], 0.5):
            boxes.append(found[keep])
            scores.append(float(column[rows[keep]]))
            where.append((view, int(rows[keep])))
    if not boxes:
        return []
    order = nms(np.stack(boxes), np.array(scores, np.float32), 0.5)
    kept: list[int] = []
    for n in order:
        # Faces and plates do not stand inside each other.
        if index == 0 or all(_inside(boxes[n], boxes[m]) < 0.8 for m in kept):
            kept.append(int(n))
    return [(boxes[n], scores[n], *where[n]) for n in kept]


def _inside(a: np.ndarray, b: np.ndarray) -> float:
    """Share of the smaller box that lies in the other."""
    width, height = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    least = min(np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2]))
    return float(width * height / max(least, 1e-6))


def _mask(view: tuple[np.ndarray, ...], row: int, count: int, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the mask of one find in the picture's frame, bool (H, W)."""
    table, protos, (scale_x, scale_y, left, top) = view
    logits = np.tensordot(table[row, 4 + count :], protos, axes=1)
    height, width = size
    matrix = np.array([[4 / scale_x, 0, (2.0 - left) / scale_x - 0.5], [0, 4 / scale_y, (2.0 - top) / scale_y - 0.5]])
    full = cv2.warpAffine(logits, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) > 0
    x1, y1, x2, y2 = (round(float(v)) for v in box)
    cut = np.zeros_like(full)
    part = slice(max(y1, 0), max(y2, 0)), slice(max(x1, 0), max(x2, 0))
    cut[part] = full[part]
    return cut


def side(label: Label) -> float:
    """Size by which an object is judged, in pixels."""
    x1, y1, x2, y2 = label.box
    return x2 - x1 if label.name == "license_plate" else y2 - y1


def judge(
    picture: Picture,
    sources: dict[int, str | None],
    name: str,
    seen: Sequence[tuple[np.ndarray, ...]],
    others: np.ndarray,
    tally: Tally,
) -> None:
    """Add one picture's objects and false finds of class ``name`` to the tally; ``others`` are another network's."""
    index = CLASSES.index(name)
    count = seen[0][0].shape[1] - 36
    found = finds(seen, index, count)
    truth = [(n, label) for n, label in enumerate(picture.labels) if label.name == name]
    judged, aside = [], []
    for n, label in truth:
        sure = sources[n] is None and not label.crowd and side(label) >= BANDS[name][0][0]
        (judged if sure else aside).append(label)
    boxes = np.array([label.box for label in judged], np.float32).reshape(-1, 4)
    met: dict[int, tuple[float, float]] = {}
    for box, score, view, row in found:
        overlaps = box_iou(box[None], boxes)[0] if len(boxes) else np.zeros(0)
        free = [m for m in np.argsort(-overlaps) if overlaps[m] >= 0.5 and int(m) not in met]
        if free:
            best = int(free[0])
            quality = np.nan
            if name == "person" and picture.pack in MASKED and judged[best].mask is not None:
                mask = _mask(seen[view], row, count, box, (picture.height, picture.width))
                quality = (mask & judged[best].mask).sum() / max((mask | judged[best].mask).sum(), 1)
            met[best] = score, float(quality)
        elif JUDGED[name][picture.pack] and not (len(overlaps) and overlaps.max() >= 0.3):
            size = max(float(np.prod(box[2:] - box[:2])), 1e-6)
            excused = False
            for label in aside:
                low, high = np.maximum(box[:2], label.box[:2]), np.minimum(box[2:], label.box[2:])
                shared = float(np.prod(np.clip(high - low, 0, None)))
                both = size + (label.box[2] - label.box[0]) * (label.box[3] - label.box[1]) - shared
                excused |= shared / size >= 0.5 if label.crowd else shared / both >= 0.3
            if not excused:
                tally.false.append(score)
    for n, label in enumerate(judged):
        band = next(k for k, (low, high) in enumerate(BANDS[name]) if low <= side(label) < high)
        score, quality = met.get(n, (0.0, np.nan))
        elsewhere = bool(len(others) and box_iou(boxes[n][None], others).max() >= 0.5)
        tally.objects.append((picture.pack, band, elsewhere, score, quality))
    tally.pictures += JUDGED[name][picture.pack]


def sources(picture: Picture, document: dict[str, list[dict[str, object]]]) -> dict[int, str | None]:
    """Return for each label, by its place, the reason not to judge by it, None where there is none."""
    own = [a for a in document["annotations"] if a["image_id"] == picture.record["id"]]
    return {
        n: "detector" if a.get("box_source") == "detector" or a.get("source_label") == "bicyclist" else None
        for n, a in enumerate(own)
    }


def run(
    path: Path,
    data: Path,
    packs: Sequence[str],
    split: str,
    sizes: Sequence[int],
    beside: dict[tuple[str, str], Any],
) -> dict[str, Tally]:
    """Judge one network on some packs, ``beside`` what others found."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    # Threads that wait would otherwise burn as much time as those that work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    tallies = {name: Tally() for name in CLASSES}
    for pack in packs:
        document = json.loads((data / pack / "annotations.json").read_text())
        for picture in read_pack(data, pack, teacher=False):
            if split not in ("all", picture.split) or (pack == "ccp" and not picture.record["annotated"]):
                continue
            if picture.record.get("annotation_type") == "none" and pack == "coco256" and picture.labels:
                continue
            seen = list(views(session, picture.read(), sizes))
            known = sources(picture, document)
            for name in CLASSES:
                if pack in JUDGED[name]:
                    other, least = BESIDE[name]
                    rows = beside.get((pack, picture.path.name), {}).get(other, [])
                    boxes = np.array([row[:4] for row in rows if row[4] >= least], np.float32).reshape(-1, 4)
                    judge(picture, known, name, seen, boxes, tallies[name])
    return tallies


def threshold(tally: Tally, allowed: float) -> float:
    """Return the lowest score with at most ``allowed`` false finds a picture."""
    most = int(allowed * tally.pictures)
    scores = sorted(tally.false, reverse=True)
    return max(float(np.nextafter(scores[most], 1)), FLOOR) if len(scores) > most else FLOOR


def summary(tallies: dict[str, Tally]) -> dict[str, str]:
    """Return the figures of one network by the row's name, and the pooled figure as the last."""
    rows: dict[str, str] = {}
    pooled = []
    for name, tally in tallies.items():
        if not tally.objects:
            continue
        lowest, strict = (threshold(tally, allowed) for allowed in ALLOWED)
        rows[f"{name}: scores at {ALLOWED[0]:g} and {ALLOWED[1]:g} false"] = f"{lowest:.2f}, {strict:.2f}"
        for band, (low, high) in enumerate(BANDS[name]):
            sized = [o for o in tally.objects if o[1] == band]
            limit = f"from {low:g}" if high > 1e6 else f"{low:g} to {high:g}"
            for pack in ["all", *dict.fromkeys(o[0] for o in sized)]:
                mine = [o for o in sized if pack in ("all", o[0])]
                scores = np.array([o[3] for o in mine])
                rows[f"{name} {limit} px, {pack} ({len(mine)})"] = (
                    f"{(scores >= lowest).mean():.3f} / {(scores >= strict).mean():.3f}"
                )
        scores = np.array([o[3] for o in tally.objects])
        elsewhere = np.array([o[2] for o in tally.objects])
        if elsewhere.any():
            rows[f"{name}: {BESIDE[name][0]} at {BESIDE[name][1]}"] = f"{elsewhere.mean():.3f}"
            rows[f"{name}: both together"] = (
                f"{(elsewhere | (scores >= lowest)).mean():.3f} / {(elsewhere | (scores >= strict)).mean():.3f}"
            )
        pooled.append((scores >= lowest).mean())
        for pack in MASKED if name == "person" else ():
            masks = np.array([o[4] for o in tally.objects if o[0] == pack and o[1] == 1 and o[3] >= lowest])
            if len(masks):
                rows[f"mask IoU, {pack} from 40 px"] = f"{np.nanmean(masks):.3f}"
    rows["pooled: mean of the classes' recall"] = f"{np.mean(pooled):.4f}"
    return rows


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    every = list(dict.fromkeys(pack for packs in JUDGED.values() for pack in packs))
    parser.add_argument("--packs", nargs="+", choices=every, default=every)
    parser.add_argument("--split", choices=("val", "train", "all"), default="val")
    parser.add_argument("--sizes", type=int, nargs="+", default=[192, 256, 384, 576])
    parser.add_argument("--beside", type=Path, help="what teachers.py wrote with --judged: adds recall together")
    args = parser.parse_args()
    beside = {}
    if args.beside:
        beside = {(r["pack"], r["file"]): r for r in map(json.loads, args.beside.read_text().splitlines())}
    columns = [summary(run(path, args.data, args.packs, args.split, args.sizes, beside)) for path in args.networks]
    names = (path.parent.name if path.stem == "detector" else path.stem for path in args.networks)
    print("| recall at 1 / 0.1 false a picture | " + " | ".join(names) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for row in columns[0]:
        print(f"| {row} | " + " | ".join(column.get(row, "") for column in columns) + " |")


if __name__ == "__main__":
    main()
