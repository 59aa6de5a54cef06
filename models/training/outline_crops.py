"""Cut crops of annotated persons with what the embedded detector makes of them, for ``train_outlines.py``.

    python models/training/outline_crops.py --data ../shared/data --out runs/outlines --packs camvid ccp

Writes ``PACK/*.png`` (RGB), ``PACK/*.mask.png`` (the annotated mask, the outline found, all that would be treated, as
red, green and blue) and ``PACK.json`` (name, split and, as shares of the crop, the box of the outline found). Persons
who were not found get their own mask and box. Masks that packs call approximate are left out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from packs import Label, Picture, read_pack

from anonymizer import Anonymizer
from anonymizer.core.geometry import context_box, full_mask, mask_box, outlined, take
from anonymizer.core.records import Instance
from anonymizer.detect.outlines import CROP

#: Room around the box as a share of its longer side, more than the network sees, and the crop's size against its.
MARGIN, TIMES = 0.4, 1.5
#: Least height of a person in pixels, and IoU from which somebody found is the one annotated.
LEAST, SAME = 24, 0.3


def examples(picture: Picture, found: list[Instance]) -> list[tuple[Label, np.ndarray, np.ndarray]]:
    """Return annotated persons with the outline found and all that would be treated, bool (H, W) each."""
    size = picture.height, picture.width
    marked = {i: a for i, a in enumerate(picture.labels) if a.name == "person" and a.mask is not None and not a.crowd}
    seen = [(full_mask(outlined(i), size), full_mask(i, size)) for i in found if i.label == "person"]
    out = []
    for label in marked.values():
        if label.approximate or label.box[3] - label.box[1] < LEAST:
            continue
        overlaps = [float((o & label.mask).sum()) / float((o | label.mask).sum()) for o, _ in seen]
        best = int(np.argmax(overlaps)) if overlaps and max(overlaps) >= SAME else None
        out.append((label, label.mask, label.mask) if best is None else (label, *seen[best]))
    return out


def main() -> None:
    """Cut all crops."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--packs", nargs="+", default=["camvid", "pennfudan", "ccp", "coco256"])
    options = parser.parse_args()
    detector = Anonymizer.from_preset("embedded", seed=0)._verifier.detector
    size = round(TIMES * CROP[0]), round(TIMES * CROP[1])
    for pack in options.packs:
        (options.out / pack).mkdir(parents=True, exist_ok=True)
        rows = []
        for picture in read_pack(options.data, pack, teacher=False):
            if not any(label.mask is not None for label in picture.labels):
                continue
            image = picture.read()
            for number, (label, outline, treated) in enumerate(examples(picture, list(detector.detect(image)))):
                box = np.array(mask_box(outline), np.float32)
                window = context_box(box, MARGIN, CROP[1] / CROP[0])
                name = f"{picture.path.stem}_{number}"
                method = cv2.INTER_AREA if window[2] - window[0] > size[0] else cv2.INTER_LINEAR
                crop = cv2.resize(take(image, window), size, interpolation=method)
                masks = np.stack([label.mask, outline, treated], axis=2).astype(np.uint8) * 255
                masks = cv2.resize(take(masks, window), size, interpolation=method)
                cv2.imwrite(str(options.out / pack / f"{name}.png"), crop[..., ::-1])
                cv2.imwrite(str(options.out / pack / f"{name}.mask.png"), masks[..., ::-1])
                share = (box.reshape(2, 2) - window[:2]) / (window[2] - window[0], window[3] - window[1])
                rows.append({"name": name, "split": picture.split, "box": share.ravel().tolist()})
        (options.out / f"{pack}.json").write_text(json.dumps(rows))
        print(pack, len(rows), flush=True)


if __name__ == "__main__":
    main()
