"""Train the embedded outline network: MobileNetV2 with a small pyramid, one mask per person, exported to ONNX.

Run with tcmalloc preloaded:

    LD_PRELOAD=libtcmalloc_minimal.so.4 python models/training/train_outlines.py \
        --crops runs/outlines --start runs/pose/pose.pt --out runs/outlines/outlines.onnx

``outline_crops.py`` makes the crops. The network starts from the trained pose network, whose backbone has learned
what people look like in the same crops. Interrupted runs go on with ``--resume``. Prints, for held-out persons of each
pack, the mean IoU of the outline found before and of the network's with the annotated mask.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from onnx_half import halve
from torch import nn
from torch.nn import functional as F
from train_pose import Network as PoseNetwork

from anonymizer.core.geometry import mask_box
from anonymizer.detect.outlines import CROP, MARGIN

SEED = 5
BATCH = 24
RATE = 8e-4
#: Width and height of the network's output.
CELLS = (CROP[0] // 2, CROP[1] // 2)
#: Share of training views whose mask is made from the annotated one instead of the one found.
MADE = 0.4
#: Share of training views in which the picture ends within the person, as it does in close-ups.
CUT = 0.25


@dataclass(frozen=True)
class Example:
    """A person: RGB uint8 (h, w, 3), annotated mask, outline found and what is treated, uint8 (h, w, 3), and pack."""

    crop: np.ndarray
    masks: np.ndarray
    pack: str


class Network(nn.Module):
    """(N, 4, 192, 144) in [0, 1], RGB and outline found, to logits (N, 1, 96, 72)."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        pose = PoseNetwork(width)
        pose.widen()
        self.stages, self.sides, self.mix = pose.stages, pose.sides, pose.mix
        self.register_buffer("mean", pose.mean)
        self.register_buffer("std", pose.std)
        # The backbone's finest level, at half of the input's size, and the outline found at the same size.
        self.fine = nn.Conv2d(16 + 1, width // 2, 1)
        self.down = nn.Conv2d(width, width // 2, 1)
        self.last = PoseNetwork._block(width // 2)
        self.out = nn.Conv2d(width // 2, 1, 3, padding=1)

    def start_from(self, checkpoint: Path) -> None:
        """Load what a trained pose network shares."""
        state = torch.load(checkpoint, weights_only=True)["network"]
        shared = {k: v for k, v in state.items() if k.split(".")[0] in ("stages", "sides", "mix", "mean", "std")}
        missing, unexpected = self.load_state_dict(shared, strict=False)
        if unexpected or {name.split(".")[0] for name in missing} != {"fine", "down", "last", "out"}:
            raise ValueError(f"{checkpoint}: no pose network of this width")

    def forward(self, person: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        x, levels = (person - self.mean) / self.std, []
        for place, stage in enumerate(self.stages):
            if place == 0:
                fine = stage[:2](x)
                x = stage[2:](fine)
            else:
                x = stage(x)
            levels.append(x)
        top = self.sides[3](levels[3])
        for level in (2, 1, 0):
            side = self.sides[level](levels[level])
            top = self.mix[level](side + F.interpolate(top, size=side.shape[2:], mode="nearest"))
        found = F.avg_pool2d(person[:, 3:], 2)
        fine = self.fine(torch.cat([fine, found], dim=1))
        wide = F.interpolate(self.down(top), size=fine.shape[2:], mode="bilinear", align_corners=False)
        return self.out(self.last(fine + wide))


class Shipped(nn.Module):
    """The network as it ships: likelihoods in [0, 1]."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, person: torch.Tensor) -> torch.Tensor:
        """Return the outline."""
        return self.network(person)[:, 0].sigmoid()


def load(folder: Path) -> dict[str, list[Example]]:
    """Return examples by split."""
    out: dict[str, list[Example]] = {"train": [], "val": []}
    for table in sorted(folder.glob("*.json")):
        for row in json.loads(table.read_text()):
            file = folder / table.stem / row["name"]
            crop = cv2.imread(f"{file}.png")[..., ::-1]
            masks = cv2.imread(f"{file}.mask.png")[..., ::-1]
            out[row["split"]].append(Example(np.ascontiguousarray(crop), np.ascontiguousarray(masks), table.stem))
    return out


def made(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an outline such as a coarse network might find, float32 (h, w), from an annotated mask (h, w)."""
    height, width = truth.shape
    rows = int(rng.integers(14, 48))
    size = max(round(rows * width / height), 4), rows
    coarse = cv2.resize(truth, size, interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), rng.uniform(0.3, 1.2))
    noise = cv2.GaussianBlur(rng.normal(0, 1, coarse.shape), (0, 0), rng.uniform(0.7, 2.0))
    coarse = coarse + rng.uniform(0, 0.3) * noise / max(float(noise.std()), 1e-6)
    whole = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return (whole > rng.uniform(0.3, 0.65)).astype(np.float32)


def worse(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a mask float32 (h, w) with a part missing, something added, or another thickness."""
    height, out = mask.shape[0], mask.copy()
    if rng.random() < 0.3:
        side = int(rng.integers(2, 12))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        out = cv2.dilate(out, kernel) if rng.random() < 0.5 else cv2.erode(out, kernel)
    rows = np.flatnonzero(out.any(axis=1))
    if rows.size and rng.random() < 0.3:  # Feet or the head were missed.
        part = round(rng.uniform(0.02, 0.13) * rows.size)
        out[slice(rows[-1] - part, None) if rng.random() < 0.7 else slice(0, rows[0] + part)] = 0
    for value, chance in ((0.0, 0.3), (1.0, 0.25)):
        if rng.random() < chance:
            rows, columns = np.nonzero(out)
            if rows.size:
                place = int(rng.integers(rows.size))
                axes = int(rng.uniform(0.04, 0.16) * height), int(rng.uniform(0.04, 0.14) * height)
                shift = rng.normal(0, 0.06 * height, 2) if value else (0, 0)
                middle = int(columns[place] + shift[0]), int(rows[place] + shift[1])
                cv2.ellipse(out, middle, axes, float(rng.uniform(0, 180)), 0, 360, value, -1)
    return out


def cut(layers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return layers (h, w, 5) as at a picture's border: beyond a line the picture repeats and nobody is there."""
    out = layers.copy()
    rows, columns = (np.flatnonzero(layers[..., 4].any(axis=axis)) for axis in (1, 0))
    if rows.size and columns.size:
        row = round(rows[0] + rng.uniform(0.3, 0.8) * rows.size)
        out[row:, :, :3], out[row:, :, 3:] = out[row - 1 : row, :, :3], 0
        if rng.random() < 0.3:
            column = round(columns[0] + rng.uniform(0.5, 0.9) * columns.size)
            out[:, column:, :3], out[:, column:, 3:] = out[:, column - 1 : column, :3], 0
    return out


def view(example: Example, rng: np.random.Generator | None) -> tuple[np.ndarray, np.ndarray]:
    """Return what the network sees, float32 (192, 144, 4), and the mask wanted, float32 (96, 72)."""
    truth, found = (example.masks[..., n].astype(np.float32) / 255 for n in (0, 1))
    flip = False
    if rng is not None:
        if rng.random() < MADE:
            found = made(truth, rng)
        found = worse(found, rng)
        flip = bool(rng.random() < 0.5)
    layers = np.dstack([example.crop.astype(np.float32) / 255, found, truth]).astype(np.float32)
    if rng is not None and rng.random() < CUT:
        layers = cut(layers, rng)
    tight = mask_box(layers[..., 3] >= 0.5)
    height, width = truth.shape
    box = np.array((0, 0, width, height) if tight is None else tight, np.float64)
    middle, side = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    room = 2 * MARGIN * side.max()
    scale = min(CROP[0] / (side[0] + room), CROP[1] / (side[1] + room))
    if rng is not None:
        middle += rng.normal(0, 0.03, 2) * side.max()
        scale *= float(np.exp(rng.normal(0, 0.08)))
    turn = np.array([[-scale if flip else scale, 0, 0], [0, scale, 0]])
    if rng is not None:
        angle = np.deg2rad(rng.normal(0, 5))
        turn[:, :2] = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ turn[:, :2]
    turn[:, 2] = np.array(CROP) / 2 - turn[:, :2] @ middle
    small = cv2.warpAffine(layers[..., :3], turn, CROP, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    masks = cv2.warpAffine(layers[..., 3:], turn, CROP, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    if rng is not None:
        small = spoilt(small, rng)
    return np.dstack([small, masks[..., 0]]), cv2.resize(masks[..., 1], CELLS, interpolation=cv2.INTER_AREA)


def spoilt(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a crop (h, w, 3) in other light, coarser, noisy."""
    rgb = np.clip((rgb - 0.5) * rng.uniform(0.6, 1.3) + 0.5 + rng.normal(0, 0.1) + rng.normal(0, 0.04, 3), 0, 1)
    if rng.random() < 0.1:
        rgb = np.repeat(rgb.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < 0.4:
        share = rng.uniform(0.15, 0.7)
        tiny = cv2.resize(rgb, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        rgb = cv2.resize(tiny, CROP, interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.3:
        rgb = rgb + rng.normal(0, rng.uniform(0.01, 0.06), rgb.shape)
    return np.clip(rgb, 0, 1).astype(np.float32)


def stacked(views: list[tuple[np.ndarray, np.ndarray]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a batch (N, 4, 192, 144) and its masks (N, 96, 72)."""
    seen = np.stack([v[0] for v in views]).transpose(0, 3, 1, 2).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(seen)), torch.from_numpy(np.stack([v[1] for v in views]))


def step(network: Network, group: list[Example], rng: np.random.Generator) -> torch.Tensor:
    """Return the loss of one batch: cross-entropy and one minus the soft Dice overlap."""
    seen, wanted = stacked([view(example, rng) for example in group])
    logits = network(seen)[:, 0]
    guess = logits.sigmoid()
    shared, total = (guess * wanted).sum(dim=(1, 2)), guess.sum(dim=(1, 2)) + wanted.sum(dim=(1, 2))
    return F.binary_cross_entropy_with_logits(logits, wanted) + (1 - (2 * shared + 1) / (total + 1)).mean()


def judge(network: Network, examples: list[Example]) -> dict[str, tuple[float, float]]:
    """Return by pack the mean IoU of outlines found, and of the network's, with the annotated masks."""
    network.eval()
    overlaps: dict[str, list[tuple[float, float]]] = {}
    with torch.no_grad():
        for first in range(0, len(examples), BATCH):
            group = examples[first : first + BATCH]
            seen, wanted = stacked([view(example, None) for example in group])
            guess = network(seen)[:, 0] > 0
            before = F.avg_pool2d(seen[:, 3], 2) >= 0.5
            for example, new, old, truth in zip(group, guess, before, wanted >= 0.5, strict=True):
                pair = tuple(float((m & truth).sum()) / max(float((m | truth).sum()), 1) for m in (old, new))
                if pair[0] < 0.98:  # else nobody was found, and the annotated mask stands in
                    overlaps.setdefault(example.pack, []).append(pair)
    network.train()
    return {pack: tuple(np.mean(pairs, axis=0).round(3).tolist()) for pack, pairs in overlaps.items()}


def export(network: Network, path: Path) -> None:
    """Write the network as ONNX with weights in half precision."""
    network.eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        Shipped(network),
        (torch.zeros(2, 4, CROP[1], CROP[0]),),
        str(path),
        input_names=["person"],
        output_names=["outline"],
        dynamic_axes={name: {0: "n"} for name in ("person", "outline")},
        opset_version=17,
        dynamo=False,
    )
    halve(path)
    network.train()


def main() -> None:
    """Train and export."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    examples = load(options.crops)
    network, begun = Network(), 0
    network.start_from(options.start)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.02)
    each = len(examples["train"]) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=options.epochs * each, pct_start=0.15)
    kept = options.crops / "outlines.pt"
    if options.resume:
        state = torch.load(kept, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        begun = state["epoch"]
    network.train()
    print({split: len(part) for split, part in examples.items()}, flush=True)
    for epoch in range(begun, options.epochs):
        losses = []
        order = rng.permutation(len(examples["train"]))[: each * BATCH].reshape(each, BATCH)
        for group in order:
            loss = step(network, [examples["train"][n] for n in group], rng)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        print(epoch + 1, round(float(np.mean(losses)), 4), judge(network, examples["val"]), flush=True)
        state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "epoch": epoch + 1}
        torch.save(state | {"schedule": schedule.state_dict()}, kept)
        export(network, options.out)


if __name__ == "__main__":
    main()
