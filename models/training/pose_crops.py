"""Cut crops of training persons with their masks, for ``pose_labels.py`` and ``train_pose.py``.

    python models/training/pose_crops.py --data ../shared/data --out runs/pose

Masks are the packs' own where they have them. LFW's people, who are close-ups, and CCP's unlabelled ones get those of
the embedded detector. Writes ``crops/*.png`` (RGB), ``masks/*.png`` and ``crops.json`` (name and split).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from packs import Picture, read_pack

from anonymizer.core.geometry import context_box, take
from anonymizer.detect.outlines import CROP, MARGIN
from anonymizer.detect.yolo import OWN, YoloSegDetector

#: Crops are kept larger than the network looks at them: the teacher sees more, and training may turn and scale.
TIMES = 2
#: Least height of a person in pixels, and how many pictures of LFW are taken.
LEAST = {"ccp": 100, "pennfudan": 80, "coco256": 80, "camvid": 70, "lfw": 80, "portraits": 80}
LFW = 700


def persons(picture: Picture, detector: YoloSegDetector) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield box (4,) xyxy and mask bool (H, W) of each person."""
    size = picture.height, picture.width
    own = [label for label in picture.labels if label.name == "person" and label.mask is not None and not label.crowd]
    if own:
        for label in own:
            yield np.array(label.box, np.float32), label.mask
        return
    if picture.pack not in ("lfw", "ccp", "portraits"):
        return
    found = detector.detect(picture.read())
    for person in (instance for instance in found if instance.label == "person"):
        whole = np.zeros(size, bool)
        for part in (person, *(face for face in found if face.label == "face" and on(face.box, person.box))):
            x1, y1 = np.floor(part.box[:2]).astype(int)
            whole[y1 : y1 + part.outline.shape[0], x1 : x1 + part.outline.shape[1]] |= part.outline
        yield person.box, whole


def on(face: np.ndarray, person: np.ndarray) -> bool:
    """Return whether the middle of a face's box (4,) lies in a person's; the network leaves faces out of persons."""
    middle = (face[:2] + face[2:]) / 2
    return bool((middle >= person[:2]).all() and (middle <= person[2:]).all())


def main() -> None:
    """Cut all crops."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--packs", nargs="+", default=list(LEAST))
    options = parser.parse_args()
    for folder in ("crops", "masks"):
        (options.out / folder).mkdir(parents=True, exist_ok=True)
    network = Path(__file__).parents[1] / "embedded/detector/detector.onnx"
    detector = YoloSegDetector(network, {"person": 0.3, "face": 0.3}, sizes=[192, 256, 384], classes=OWN)
    rows, seen = [], {"lfw": 0}
    for pack in options.packs:
        for picture in read_pack(options.data, pack):
            if pack == "lfw":
                if picture.split != "train" or seen["lfw"] >= LFW:
                    continue
                seen["lfw"] += 1
            for number, (box, mask) in enumerate(persons(picture, detector)):
                if box[3] - box[1] < LEAST[pack]:
                    continue
                window = context_box(box, MARGIN, CROP[1] / CROP[0])
                size = TIMES * CROP[0], TIMES * CROP[1]
                name = f"{pack}_{picture.path.stem}_{number}.png"
                crop = cv2.resize(take(picture.read(), window), size, interpolation=cv2.INTER_AREA)
                inside = cv2.resize(take(mask.astype(np.uint8) * 255, window), size, interpolation=cv2.INTER_AREA)
                cv2.imwrite(str(options.out / "crops" / name), crop[..., ::-1])
                cv2.imwrite(str(options.out / "masks" / name), inside)
                rows.append({"name": name, "split": picture.split})
        print(pack, len(rows), flush=True)
        (options.out / "crops.json").write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
