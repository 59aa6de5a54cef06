"""Measure the embedded preset on annotated packs: recall, identity left, text left, pixels outside the masks.

    python benchmarks/quality.py recall    --data DIR
    python benchmarks/quality.py anonymize --data DIR --judge arcface.onnx [--limit N] [--sheets DIR]
    python benchmarks/quality.py faces     --data DIR --judge arcface.onnx --released DIR

``DIR`` holds packs of pictures with COCO annotations (``PACK/images``, ``PACK/annotations.json``, a ``split`` on each
image). The judge is an ArcFace-shaped ONNX file that took no part in verification. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import psutil
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from anonymizer import Anonymizer, InputError, Instance, Result, VerificationFailed, presets, weights
from anonymizer.detect.faces import CenterFaceDetector
from anonymizer.geometry import box_iou, mask_iou
from anonymizer.quiet import offline
from anonymizer.recognize.arcface import ArcFaceEmbedder

CLASSES = {1: "person", 2: "face", 3: "license_plate"}
RECALL_PACKS = ("pennfudan", "ccp", "camvid", "coco256", "openalpr", "portraits")
#: Smallest instance counted: height of persons and faces, width of plates, in pixels.
LEAST = {"person": 40, "face": 24, "license_plate": 24}
ANONYMIZE_PACKS = {"pennfudan": "val", "openalpr": "val", "portraits": "all", "lfw": "val", "ccp": "val"}
SAME_FACE = 0.35


def read(path: Path) -> NDArray[np.uint8]:
    """Return a picture, RGB uint8 (H, W, 3)."""
    return np.ascontiguousarray(cv2.imread(str(path), cv2.IMREAD_COLOR)[:, :, ::-1])


def pictures(data: Path, pack: str, split: str) -> list[tuple[Path, list[dict]]]:
    """Return (path, annotations) of a pack's pictures in a split, or of all."""
    document = json.loads((data / pack / "annotations.json").read_text())
    by_image = defaultdict(list)
    for annotation in document["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    return [
        (data / pack / "images" / image["file_name"], by_image[image["id"]])
        for image in document["images"]
        if split in ("all", image["split"]) and image.get("annotated", True)
    ]


def box_of(annotation: dict) -> NDArray[np.float32]:
    """Return the box xyxy of an annotation."""
    x, y, w, h = annotation["bbox"]
    return np.array([x, y, x + w, y + h], np.float32)


def counted(annotation: dict) -> bool:
    """Return whether an annotation is large enough to count."""
    side = annotation["bbox"][2 if annotation["category_id"] == 3 else 3]
    return not annotation.get("iscrowd") and side >= LEAST[CLASSES[annotation["category_id"]]]


def truth_mask_iou(annotation: dict, instance: Instance) -> float | None:
    """Return the IoU of a found mask with the annotated one, or None where there is none."""
    if not annotation.get("segmentation"):
        return None
    full = coco_mask.decode(annotation["segmentation"]).astype(bool)
    box = np.array([0, 0, full.shape[1], full.shape[0]], np.float32)
    return mask_iou(Instance(1, instance.label, box, full), instance)


def measure_recall(anonymizer: Anonymizer, data: Path) -> None:
    """Print recall at IoU 0.5 of the whole detector and of the own network alone, per pack and class."""
    union = anonymizer._detector
    own = union._detectors[0]
    print(
        "| pack | class | instances | recall, union | recall, own net | false per picture | mask IoU | s per picture |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for pack in RECALL_PACKS:
        hits: dict[str, Counter] = defaultdict(Counter)
        overlaps, times, count = [], [], 0
        for path, truths in pictures(data, pack, "val"):
            image = read(path)
            start = time.perf_counter()
            found = {"union": union.detect(image)}
            times.append(time.perf_counter() - start)
            found["own"] = own.detect(image)
            count += 1
            for label in CLASSES.values():
                truth = [a for a in truths if CLASSES[a["category_id"]] == label]
                boxes = np.array([box_of(a) for a in truth], np.float32).reshape(-1, 4)
                for name, instances in found.items():
                    mine = [i for i in instances if i.label == label]
                    iou = box_iou(np.array([i.box for i in mine], np.float32).reshape(-1, 4), boxes)
                    for n, annotation in enumerate(truth):
                        if counted(annotation):
                            best = iou[:, n].max(initial=0)
                            hits[label][name] += bool(best >= 0.5)
                            hits[label]["all"] += name == "union"
                            if name == "union" and best >= 0.5 and label == "person":
                                overlaps.append(truth_mask_iou(annotation, mine[int(iou[:, n].argmax())]))
                    if name == "union":
                        hits[label]["false"] += int((iou.max(axis=1, initial=0) < 0.3).sum())
        known = [o for o in overlaps if o is not None]
        for label, c in hits.items():
            if c["all"]:
                mask = f"{np.mean(known):.2f}" if label == "person" and known else ""
                print(
                    f"| {pack} | {label} | {c['all']} | {c['union'] / c['all']:.3f} | {c['own'] / c['all']:.3f} "
                    f"| {c['false'] / count:.2f} | {mask} | {statistics.median(times):.2f} |",
                    flush=True,
                )


def measure_anonymized(
    anonymizer: Anonymizer, data: Path, judge: ArcFaceEmbedder, limit: int, sheets: Path | None
) -> None:
    """Anonymize ``val`` pictures and print what is left of faces and plates, and what was touched outside masks."""
    print(
        "| pack | pictures | released | quarantined | redrawn | redacted | face pairs | cosine > 0.35 | median cosine "
        "| plates read | plates still read | pixels changed outside | s per picture |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    reasons: Counter[str] = Counter()
    for pack, split in ANONYMIZE_PACKS.items():
        chosen = pictures(data, pack, split)
        chosen = chosen[:: max(1, len(chosen) // limit)][:limit]
        count: Counter[str] = Counter()
        cosines, times = [], []
        for path, truths in chosen:
            image = read(path)
            start = time.perf_counter()
            try:
                result = anonymizer(image, key=path.name)
            except VerificationFailed as error:
                count["quarantined"] += 1
                reasons.update(f"{v.check} failed at the end" for v in error.verdicts if not v.passed)
                continue
            times.append(time.perf_counter() - start)
            count["released"] += 1
            count.update(t.action for t in result.treatments)
            count["outside"] += int((result.image != image).any(axis=2)[~result.treated].sum())
            cosines += face_cosines(judge, image, result)
            read_before, read_after = plates(anonymizer, image, result, truths)
            count["read"] += read_before
            count["still"] += read_after
            if sheets and count["released"] <= 6:
                write_sheet(sheets / f"{pack}-{path.stem}.png", image, result)
        share = f"{np.mean(np.array(cosines) > SAME_FACE):.3f}" if cosines else ""
        middle = f"{np.median(cosines):.3f}" if cosines else ""
        print(
            f"| {pack} | {len(chosen)} | {count['released']} | {count['quarantined']} | {count['redrawn']} "
            f"| {count['redacted']} | {len(cosines)} | {share} | {middle} | {count['read']} | {count['still']} "
            f"| {count['outside']} | {statistics.median(times) if times else float('nan'):.2f} |",
            flush=True,
        )
    print(f"\npeak memory {psutil.Process().memory_info().rss / 1e9:.2f} GB at the end; failures: {dict(reasons)}")


def face_cosines(judge: ArcFaceEmbedder, image: NDArray[np.uint8], result: Result) -> list[float]:
    """Return the judge's cosine between each face and its redraw, both aligned by the original's landmarks."""
    faces = [i for i in result.instances if i.label == "face" and i.landmarks is not None]
    return [
        float(judge.embed(image, f.box, f.landmarks) @ judge.embed(result.image, f.box, f.landmarks)) for f in faces
    ]


def measure_faces(judge: ArcFaceEmbedder, data: Path, released: Path) -> None:
    """Print how similar faces of finished runs are to their originals, beside pairs of different faces as chance.

    ``released/PACK/images`` holds what ``anonymizer run`` made of ``data/PACK/images``. A blurred or tiny face has an
    embedding that is near every other blurred or tiny one, so a share above 0.35 means little without its chance.
    """
    finder = CenterFaceDetector(weights.path("centerface"), threshold=0.5)
    bins = ((0, 32), (32, 64), (64, 4096))
    print(
        "| pack | face height | faces | cosine > 0.35 to own | to others (chance) | median own | median others "
        "| rank-1 | rank-1 by chance |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for folder in sorted(p for p in released.iterdir() if (p / "images").is_dir()):
        before, after, heights = [], [], []
        for made in sorted((folder / "images").rglob("*")):
            image, result = read(data / folder.name / "images" / made.name), read(made)
            for face in finder.detect(image):
                before.append(judge.embed(image, face.box, face.landmarks))
                after.append(judge.embed(result, face.box, face.landmarks))
                heights.append(float(face.box[3] - face.box[1]))
        for low, high in bins:
            chosen = [n for n, height in enumerate(heights) if low <= height < high]
            if len(chosen) < 5:
                continue
            cosines = np.stack([after[n] for n in chosen]) @ np.stack([before[n] for n in chosen]).T
            own, other = np.diag(cosines), cosines[~np.eye(len(chosen), dtype=bool)]
            first = float((cosines.argmax(axis=1) == np.arange(len(chosen))).mean())
            print(
                f"| {folder.name} | {low} to {high} | {len(chosen)} | {(own > SAME_FACE).mean():.3f} "
                f"| {(other > SAME_FACE).mean():.3f} | {np.median(own):.3f} | {np.median(other):.3f} "
                f"| {first:.3f} | {1 / len(chosen):.3f} |",
                flush=True,
            )


def plates(
    anonymizer: Anonymizer, image: NDArray[np.uint8], result: Result, annotations: list[dict]
) -> tuple[int, int]:
    """Return how many annotated plate texts OCR reads in the original, and how many of those in the result."""
    texts = [(a, a["text"].upper()) for a in annotations if a.get("text")]
    counts = [0, 0]
    for annotation, text in texts:
        readings = []
        for pixels in (image, result.image):
            x1, y1, x2, y2 = (int(v) for v in box_of(annotation) + np.array([-8, -8, 8, 8]))
            crop = pixels[max(y1, 0) : y2, max(x1, 0) : x2]
            crop = cv2.resize(crop, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
            lines = anonymizer._verifier.ocr.read(np.ascontiguousarray(crop))
            readings.append("".join(c for line in lines for c in line.text.upper() if c.isalnum()))
        if text in readings[0]:
            counts[0] += 1
            counts[1] += text in readings[1]
    return counts[0], counts[1]


def write_sheet(path: Path, image: NDArray[np.uint8], result: Result) -> None:
    """Write original and result side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.concatenate([image, result.image], axis=1)[:, :, ::-1])


def main() -> None:
    """Run one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("recall", "anonymize", "faces"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--released", type=Path, help="folder of finished runs, one per pack")
    parser.add_argument("--limit", type=int, default=40, help="pictures per pack")
    parser.add_argument("--sheets", type=Path, help="write originals and results side by side here")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    with offline():
        if args.what == "faces":
            measure_faces(ArcFaceEmbedder(args.judge, SAME_FACE), args.data, args.released)
            return
        anonymizer = presets.build("embedded", seed=args.seed)
        if args.what == "recall":
            measure_recall(anonymizer, args.data)
            return
        if args.judge is None:
            raise InputError("anonymize: expected --judge FILE, an ArcFace-shaped ONNX file")
        measure_anonymized(anonymizer, args.data, ArcFaceEmbedder(args.judge, SAME_FACE), args.limit, args.sheets)


if __name__ == "__main__":
    main()
