"""Cut the crops the embedded inpainter is trained on: picture, mask, depth, edges and prompt, per class.

    python models/training/inpaint_crops.py --data ../shared/data --split train

Uses the product's own condition stage, guard and crop geometry, so that training sees what inference will see.
Writes one ``.npz`` per class and split. Runs after ``train_edges.py``.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import cv2
import numpy as np
from packs import Picture, read_pack

from anonymizer.condition.depth import GroundPlaneDepth
from anonymizer.condition.edges import EdgeNet
from anonymizer.condition.guard import guard
from anonymizer.core.colours import name_colour
from anonymizer.core.geometry import clip_box, integer_box, take
from anonymizer.core.records import Conditions, Instance
from anonymizer.detect.regions import ellipse
from anonymizer.redraw.crops import CropSetting, anonymized_region, crop_box
from anonymizer.redraw.prompts import prompt

SEED = 17
#: Sizes at which the embedded model paints, as in the preset.
SETTINGS = {
    "person": CropSetting(192, 96, 0.1),
    "face": CropSetting(128, 128, 0.35),
    "license_plate": CropSetting(64, 128, 0.25),
}
#: Smallest instance worth learning from: height for persons and faces, width for plates, in pixels.
LEAST = {"person": 56, "face": 28, "license_plate": 24}
PACKS = {"ccp": 1.0, "pennfudan": 1.0, "coco256": 1.0, "camvid": 1.0, "openalpr": 1.0, "portraits": 1.0, "lfw": 1.0}
#: How many jittered crops are cut per instance.
VARIANTS = {"person": 2, "face": 1, "license_plate": 3}


def instances_of(picture: Picture) -> tuple[Instance, ...]:
    """Turn the labels of a picture into instances with masks, as the detect stage would give them."""
    out: list[Instance] = []
    for label in picture.labels:
        box = clip_box(np.array(label.box, np.float32), (picture.height, picture.width))
        x1, y1, x2, y2 = integer_box(box)
        if label.crowd or min(x2 - x1, y2 - y1) < 4:
            continue
        mask = np.ones((y2 - y1, x2 - x1), dtype=bool)
        if label.mask is not None:
            mask = label.mask[y1:y2, x1:x2]
        elif label.name == "face":
            mask = ellipse(box)
        elif label.name == "person":
            continue
        if mask.any():
            marks = np.array(label.landmarks, np.float32).reshape(5, 2) if label.landmarks else None
            out.append(Instance(len(out) + 1, label.name, box, mask, landmarks=marks))
    return tuple(out)


def usable(instance: Instance) -> bool:
    """Return whether an instance is large enough to learn from."""
    width, height = instance.box[2:] - instance.box[:2]
    return bool((width if instance.label == "license_plate" else height) >= LEAST[instance.label])


def colours(image: np.ndarray, instance: Instance) -> str:
    """Name the colours of a person's upper and lower clothes by the middle of the mask's second and third quarter."""
    x1, y1, x2, y2 = integer_box(instance.box)
    pixels, height = image[y1:y2, x1:x2], y2 - y1
    bands = []
    for low, high in ((0.22, 0.45), (0.55, 0.8)):
        rows = slice(int(low * height), int(high * height))
        inside = pixels[rows][instance.mask[rows]]
        if len(inside) < 20:
            return prompt("person")
        bands.append(name_colour(inside))
    return prompt("person", *bands)


def jittered(box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shift and scale a box a little."""
    size = box[2:] - box[:2]
    centre = (box[2:] + box[:2]) / 2 + size * rng.uniform(-0.06, 0.06, 2)
    half = size / 2 * rng.uniform(0.92, 1.12)
    return np.concatenate([centre - half, centre + half]).astype(np.float32)


def inside(mask: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    """Cut a window out of a full-frame mask; beyond the picture there is nothing to paint."""
    x, y = np.arange(window[0], window[2]), np.arange(window[1], window[3])
    within = ((y >= 0) & (y < mask.shape[0]))[:, None] & ((x >= 0) & (x < mask.shape[1]))
    return take(mask, window) & within


def cut(picture: Picture, edge_net: EdgeNet, rng: np.random.Generator) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Return (class, arrays) for every usable instance of a picture."""
    instances = instances_of(picture)
    wanted = [i for i in instances if usable(i)]
    if not wanted:
        return []
    image = picture.read()
    # The maps are made at the size at which the product makes them: the whole picture, once.
    raw = Conditions(GroundPlaneDepth().estimate(image, instances), edge_net.detect(image))
    out = []
    guarded = {level: guard(raw, instances, level) for level in (1, 2)}
    for instance in wanted:
        setting = SETTINGS[instance.label]
        region, inner = anonymized_region(instance, image.shape[:2])
        full = np.zeros(image.shape[:2], dtype=bool)
        full[region[1] : region[3], region[0] : region[2]] = inner
        words = colours(image, instance) if instance.label == "person" else prompt(instance.label)
        variants = VARIANTS[instance.label] if picture.split == "train" else 1
        for variant in range(variants):
            box = instance.box if picture.split != "train" else jittered(instance.box, rng)
            window = crop_box(box, setting, image.shape[:2])
            maps = guarded[1 if rng.random() < 0.7 or picture.split != "train" else 2]
            size = (setting.width, setting.height)
            shrink = cv2.INTER_AREA if window[3] - window[1] > setting.height else cv2.INTER_LINEAR
            arrays = {
                "image": cv2.resize(take(image, window), size, interpolation=shrink),
                "mask": cv2.resize(inside(full, window).astype(np.uint8), size, interpolation=cv2.INTER_LINEAR) > 0,
                "depth": np.rint(cv2.resize(take(maps.depth, window), size, interpolation=shrink) * 255),
                "edges": np.rint(cv2.resize(take(maps.edges, window), size, interpolation=shrink) * 255),
                "prompt": np.array(words),
            }
            arrays["depth"], arrays["edges"] = arrays["depth"].astype(np.uint8), arrays["edges"].astype(np.uint8)
            # Mirrored characters would be learnt as characters, so plates are never flipped.
            flips = picture.split == "train" and instance.label != "license_plate"
            if flips and (variant % 2 or (variants == 1 and rng.random() < 0.5)):
                arrays = {k: v[:, ::-1] if v.ndim >= 2 else v for k, v in arrays.items()}
            out.append((instance.label, arrays))
    return out


def main() -> None:
    """Cut crops of one split and store them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--split", choices=("train", "val"), default="train")
    parser.add_argument("--edges", type=Path, default=Path("models/embedded/edges/edges.onnx"))
    parser.add_argument("--out", type=Path, default=Path("runs/inpaint"))
    args = parser.parse_args()
    edge_net, rng = EdgeNet(args.edges), np.random.default_rng(SEED)
    crops: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in SETTINGS}
    for pack, share in PACKS.items():
        pictures = [p for p in read_pack(args.data, pack) if p.split == args.split]
        random.Random(SEED).shuffle(pictures)
        for picture in pictures[: round(len(pictures) * share)]:
            for label, arrays in cut(picture, edge_net, rng):
                crops[label].append(arrays)
        print(pack, {k: len(v) for k, v in crops.items()}, flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    for label, items in crops.items():
        stacked = {key: np.stack([item[key] for item in items]) for key in items[0]}
        np.savez(args.out / f"{label}-{args.split}.npz", **stacked)


if __name__ == "__main__":
    main()
