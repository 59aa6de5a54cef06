"""Train a small network that completes a picture behind people: the comparison of ``benchmarks/fill.py``.

    python models/training/train_fill.py --data DATA --out runs/fill --minutes 60

Crops are taken from training pictures of the packs; what is annotated as person, face or plate counts as unknown and
is never learned from. Holes are outlines of annotated persons of other pictures. The network sees the crop, filled
smoothly (push-pull), with the mask, and learns what to add. Losses: L1 in colours and gradients at three sizes, and L1
of features of the embedded autoencoder's encoder. Interrupted runs go on by themselves. Exports ``fill.onnx``
(float16) beside the checkpoint.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from onnx_half import halve
from packs import read_pack
from torch import nn
from torch.nn import functional as F

from anonymizer.fill.patches import push_pull

SEED = 11
PACKS = (
    "camvid", "pennfudan", "ccp", "coco256", "coco100", "humanseg", "openalpr", "pedstreet", "street", "plates_br",
    "plates_mix", "plates_ro",
)  # fmt: skip
#: Packs whose persons have masks, of which holes are made.
SHAPES = ("pennfudan", "ccp", "humanseg")
#: Longest side in pixels at which pictures are kept in memory.
KEPT = 384
#: Side of a crop in pixels at the start and at the end of training, and the share of the time after which it changes.
SIDES, CHANGE = (64, 128), 0.35
BATCH = {64: 24, 128: 8}
RATE = 1.5e-3


class Block(nn.Module):
    """Two convolutions, the first dilated, and attention over all places."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(8, width)
        self.mixed = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.second(F.silu(self.first(F.silu(x))))
        n, c, h, w = x.shape
        q, k, v = self.mixed(self.norm(x)).reshape(n, 3, 4, c // 4, h * w).transpose(3, 4).unbind(1)
        seen = torch.softmax(q @ k.transpose(2, 3) / (c // 4) ** 0.5, dim=-1) @ v
        return x + self.out(seen.transpose(2, 3).reshape(n, c, h, w))


class Network(nn.Module):
    """(N, 4, H, W), RGB filled smoothly in [-1, 1] and the mask, to RGB (N, 3, H, W); H and W multiples of 8."""

    def __init__(self, widths: tuple[int, int, int] = (48, 96, 128)) -> None:
        super().__init__()
        a, b, c = widths
        self.stem = nn.Conv2d(16, a, 3, padding=1)
        self.down1, self.down2 = nn.Conv2d(a, b, 3, 2, 1), nn.Conv2d(b, c, 3, 2, 1)
        self.middle = nn.ModuleList(Block(c, d) for d in (1, 2, 4, 1))
        self.up2, self.up1 = nn.Conv2d(c + b, b, 3, padding=1), nn.Conv2d(b + a, a, 3, padding=1)
        self.gate2, self.gate1 = nn.Conv2d(c + b, b, 1), nn.Conv2d(b + a, a, 1)
        self.last = nn.Conv2d(a, 12, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        one = F.silu(self.stem(F.pixel_unshuffle(seen, 2)))
        two = F.silu(self.down1(one))
        x = self.down2(two)
        for block in self.middle:
            x = block(x)
        x = torch.cat([F.interpolate(F.silu(x), scale_factor=2.0), two], 1)
        x = F.silu(self.up2(x)) * torch.sigmoid(self.gate2(x))
        x = torch.cat([F.interpolate(x, scale_factor=2.0), one], 1)
        x = F.silu(self.up1(x)) * torch.sigmoid(self.gate1(x))
        return seen[:, :3] + F.pixel_shuffle(self.last(x), 2) * seen[:, 3:]


def gather(data: Path, kept: Path) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Return training pictures, what is unknown in each, and outlines; read once, then kept in a file."""
    if kept.exists():
        loaded = np.load(kept)
        kinds = ("picture", "unknown", "shape")
        pictures, unknown, shapes = ([loaded[name] for name in loaded.files if name.startswith(k)] for k in kinds)
        return pictures, unknown, shapes
    pictures, unknown, shapes = [], [], []
    for pack in PACKS:
        for picture in read_pack(data, pack):
            if picture.split != "train":
                continue
            image = picture.read()
            scale = min(1.0, KEPT / max(image.shape[:2]))
            size = round(image.shape[1] * scale), round(image.shape[0] * scale)
            hidden = np.zeros(image.shape[:2], np.uint8)
            for label in picture.labels:
                x1, y1, x2, y2 = (round(v) for v in label.box)
                if label.mask is None:
                    hidden[max(y1, 0) : y2, max(x1, 0) : x2] = 1
                    continue
                hidden |= label.mask.astype(np.uint8)
                part = label.mask[max(y1, 0) : y2, max(x1, 0) : x2]
                if pack in SHAPES and label.name == "person" and y2 - y1 > 80 and part.any():
                    shapes.append(cv2.resize(part.astype(np.uint8), (max(128 * (x2 - x1) // (y2 - y1), 8), 128)) > 0)
            hidden = cv2.dilate(hidden, np.ones((9, 9), np.uint8))
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            pictures.append(small)
            unknown.append(cv2.resize(hidden, size, interpolation=cv2.INTER_NEAREST) > 0)

    kept.parent.mkdir(parents=True, exist_ok=True)
    named = (("picture", pictures), ("unknown", unknown), ("shape", shapes))
    np.savez(kept, **{f"{kind}{n:06}": array for kind, arrays in named for n, array in enumerate(arrays)})
    return pictures, unknown, shapes


def example(
    pictures: list[np.ndarray],
    unknown: list[np.ndarray],
    shapes: list[np.ndarray],
    side: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a crop RGB uint8 (side, side, 3), the hole and what is unknown, bool (side, side)."""
    while True:
        at = int(rng.integers(len(pictures)))
        image, hidden = pictures[at], unknown[at]
        cut = int(rng.integers(min(96, *image.shape[:2]), min(image.shape[:2]) + 1))
        y, x = (int(rng.integers(image.shape[n] - cut + 1)) for n in (0, 1))
        window = slice(y, y + cut), slice(x, x + cut)
        if hidden[window].mean() > 0.4:
            continue
        crop = cv2.resize(image[window], (side, side), interpolation=cv2.INTER_AREA)
        lost = cv2.resize(hidden[window].astype(np.float32), (side, side), interpolation=cv2.INTER_AREA) > 0
        hole = np.zeros((side, side), np.uint8)
        for _ in range(int(rng.integers(1, 4))):
            shape = shapes[int(rng.integers(len(shapes)))]
            height = int(side * rng.uniform(0.25, 0.9))
            width = max(round(height * shape.shape[1] / shape.shape[0]), 2)
            shape = cv2.resize(shape.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
            top = int(rng.integers(-height // 4, side - height // 2))
            left = int(rng.integers(-width // 2, side - width // 2))
            y1, x1, y2, x2 = max(top, 0), max(left, 0), min(top + height, side), min(left + width, side)
            hole[y1:y2, x1:x2] |= shape[y1 - top : y2 - top, x1 - left : x2 - left]
        hole = cv2.dilate(hole, np.ones((3, 3), np.uint8)) > 0
        known = (hole & ~lost).sum()
        if known < 0.03 * side * side or (hole | lost).mean() > 0.7:
            continue
        if rng.random() < 0.5:
            crop, hole, lost = crop[:, ::-1], hole[:, ::-1], lost[:, ::-1]
        return np.ascontiguousarray(crop), np.ascontiguousarray(hole), np.ascontiguousarray(lost)


def batch(seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return input (N, 4, H, W), truth (N, 3, H, W) and where it counts (N, 1, H, W)."""
    inputs, truths, counts = [], [], []
    for crop, hole, lost in seen:
        known = (~(hole | lost)).astype(np.float32)
        smooth = push_pull(crop * known[..., None], known)
        inputs.append(np.dstack([smooth / 127.5 - 1, 1 - known]))
        truths.append(crop / np.float32(127.5) - 1)
        counts.append((~lost).astype(np.float32)[..., None])
    stacked = (torch.from_numpy(np.stack(a).astype(np.float32)).permute(0, 3, 1, 2) for a in (inputs, truths, counts))
    one, two, three = stacked
    return one.contiguous(), two.contiguous(), three.contiguous()


class Features(nn.Module):
    """The first stages of the embedded autoencoder's encoder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from diffusers import AutoencoderKL

        encoder = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32).encoder
        self.first, self.stages = encoder.conv_in, encoder.down_blocks[:2]
        self.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x, out = self.first(x), []
        for stage in self.stages:
            x = stage(x)
            out.append(x)
        return out


def loss_of(
    made: torch.Tensor, truth: torch.Tensor, count: torch.Tensor, hole: torch.Tensor, features: Features
) -> torch.Tensor:
    """Return the loss of a batch."""
    weight = count * hole
    total = made.new_zeros(())
    a, b, w = made, truth, weight
    for _ in range(3):
        total = total + ((a - b).abs() * w).sum() / (3 * w.sum() + 1)
        for axis in (2, 3):
            off = (a.diff(dim=axis) - b.diff(dim=axis)).abs()
            both = torch.minimum(w.narrow(axis, 0, w.shape[axis] - 1), w.narrow(axis, 1, w.shape[axis] - 1))
            total = total + (off * both).sum() / (3 * both.sum() + 1)
        a, b, w = (F.avg_pool2d(v, 2) for v in (a, b, w))
    whole = made * count + truth * (1 - count)
    for x, y in zip(features(whole), features(truth), strict=True):
        w = F.interpolate(weight, x.shape[2:], mode="area")
        total = total + 0.3 * ((x - y).abs() * w).sum() / (x.shape[1] * w.sum() + 1) / (y.abs().mean() + 0.1)
    return total


def export(network: Network, path: Path) -> None:
    """Write the network in half precision."""
    network.eval()
    torch.onnx.export(
        network, (torch.zeros(1, 4, 128, 128),), path, input_names=["seen"], output_names=["made"], dynamo=False,
        dynamic_axes={"seen": {0: "n", 2: "h", 3: "w"}, "made": {0: "n", 2: "h", 3: "w"}}, opset_version=17,
    )  # fmt: skip
    halve(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--features", type=Path, default=Path("models/embedded/inpaint/vae"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    pictures, unknown, shapes = gather(args.data, args.out / "crops.npz")
    print(f"{len(pictures)} pictures, {len(shapes)} outlines", flush=True)
    network, features = Network(), Features(args.features)
    print(f"{sum(p.numel() for p in network.parameters())} parameters", flush=True)
    averaged = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998)
    )
    optimizer = torch.optim.AdamW(network.parameters(), RATE, betas=(0.9, 0.98), weight_decay=1e-3)
    checkpoint, spent, step = args.out / "fill.pt", 0.0, 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        spent, step = state["spent"], state["step"]
    limit, mean, saved = 60 * args.minutes, 0.0, spent
    while spent < limit:
        started = time.thread_time()
        rng = np.random.default_rng((SEED, step))
        side = SIDES[int(spent > CHANGE * limit)]
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(step / 100, 1.0) * (0.02 + 0.49 * (1 + math.cos(math.pi * spent / limit)))
        seen, truth, count = batch([example(pictures, unknown, shapes, side, rng) for _ in range(BATCH[side])])
        loss = loss_of(network(seen), truth, count, seen[:, 3:], features)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        averaged.update_parameters(network)
        spent, step = spent + time.thread_time() - started, step + 1
        mean += (loss.item() - mean) / min(step, 200)
        if step % 50 == 0:
            print(f"{step} steps, {spent / 60:.1f} min, side {side}, loss {mean:.4f}", flush=True)
        if spent - saved > 120 or spent >= limit:
            saved = spent
            state = {"network": network.state_dict(), "averaged": averaged.state_dict()}
            torch.save(state | {"optimizer": optimizer.state_dict(), "spent": spent, "step": step}, checkpoint)
    export(averaged.module, args.out / "fill.onnx")


if __name__ == "__main__":
    main()
