"""A small detector of one class that is trained from scratch: objects as centre points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from anonymizer.core.records import Floats, Image

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["GREY", "detect", "train"]

#: Picture pixels to a cell of the maps.
CELL = 4
BATCH = 8
RATE = 2e-3
#: Shift of a picture in training, at most, in pixels.
SHIFT = 12
#: Detections kept of a picture.
MOST = 50
WIDTHS = (16, 32, 64, 96)
#: Level of what lies beyond a picture.
GREY = 114


def train(images: Image, boxes: Sequence[Floats], *, steps: int, seed: int, device: str = "cpu") -> nn.Module:
    """Train a detector.

    Args:
        images: RGB uint8 (N, S, S, 3), S a multiple of 8.
        boxes: Of each picture float32 (n, 4) xyxy in its pixels.
        steps: Optimiser steps, each on a batch of 8 pictures drawn with replacement, flipped and shifted at random.
        seed: Decides initial weights and batches.
        device: ``cpu``, ``cuda`` or ``cuda:N``.

    Returns:
        The network in evaluation mode, on the CPU.

    Source:
        Zhou et al., Objects as Points, 2019: loss of equation 1, sizes and offsets by L1.
    """
    import torch

    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network().to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=RATE, total_steps=steps + 1)
    network.train()
    for _ in range(steps):
        batch = [_varied(images[n], boxes[n], rng) for n in rng.integers(0, len(images), BATCH)]
        targets = [_targets(one, images.shape[1] // CELL) for _, one in batch]
        maps = network(_input(np.stack([image for image, _ in batch])).to(device))
        loss = _loss(maps, *(torch.from_numpy(np.stack(part)).to(device) for part in zip(*targets, strict=True)))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        schedule.step()
    return network.to("cpu").eval()


def detect(network: nn.Module, image: Image) -> tuple[Floats, Floats]:
    """Find objects.

    Args:
        network: What ``train`` returned.
        image: RGB uint8 (S, S, 3).

    Returns:
        Boxes float32 (n, 4) xyxy inside the picture, and scores float32 (n,), best first.
    """
    import torch
    from torch.nn import functional as F

    side = image.shape[0]
    with torch.inference_mode():
        maps = network(_input(image[None]))[0]  # (1, 5, s, s) -> (5, s, s)
        heat = torch.sigmoid(maps[:1])
        heat = (heat * (heat == F.max_pool2d(heat, 3, 1, 1)))[0]
        scores, where = heat.flatten().topk(min(MOST, heat.numel()))
        rows, columns = where // heat.shape[1], where % heat.shape[1]
        width, height, right, down = maps[1:, rows, columns]
        x, y = (columns + right) * CELL, (rows + down) * CELL
        width, height = width.clamp(-2, 5).exp() * CELL, height.clamp(-2, 5).exp() * CELL
        found = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], dim=1).clamp(0, side)
    boxes = found.numpy().astype(np.float32)
    kept = (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
    return boxes[kept], scores.numpy()[kept]


def _network() -> nn.Module:
    """Return the network: (N, 3, S, S) to (N, 5, S/4, S/4): heat, log width, log height, offset x, offset y."""
    import torch
    from torch import nn

    def block(before: int, after: int, stride: int = 1, dilation: int = 1) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(before, after, 3, stride, dilation, dilation, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        )

    class Centres(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            a, b, c, d = WIDTHS
            self.fine = nn.Sequential(block(3, a, 2), block(a, b, 2), block(b, b))
            self.coarse = nn.Sequential(block(b, c, 2), block(c, c), block(c, d, 2), block(d, d), block(d, d, 1, 2))
            self.narrow = nn.Conv2d(d, b, 1)
            self.mix = block(b, b)
            self.head = nn.Conv2d(b, 5, 1)
            # At first almost nothing is an object: the loss then starts small (Lin et al., Focal Loss, section 3.3).
            with torch.no_grad():
                self.head.weight.mul_(0.1)
                cast(torch.Tensor, self.head.bias).copy_(torch.tensor([-4.0, 0, 0, 0, 0]))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            fine = self.fine(images)
            coarse = self.narrow(self.coarse(fine))
            return self.head(self.mix(fine + nn.functional.interpolate(coarse, size=fine.shape[2:], mode="nearest")))

    return Centres()


def _input(images: Image) -> torch.Tensor:
    """Return uint8 (N, S, S, 3) as float32 (N, 3, S, S) in [-1, 1]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / 127.5 - 1.0


def _varied(image: Image, boxes: Floats, rng: np.random.Generator) -> tuple[Image, Floats]:
    """Flip and shift a picture and its boxes at random; boxes whose centre leaves the picture go."""
    side = image.shape[0]
    if rng.random() < 0.5:
        image, boxes = image[:, ::-1], boxes[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (side, 0, side, 0)
    x, y = (int(v) for v in rng.integers(-SHIFT, SHIFT + 1, 2))
    padded = np.pad(image, ((SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), constant_values=GREY)
    moved = padded[SHIFT - y : SHIFT - y + side, SHIFT - x : SHIFT - x + side]
    boxes = boxes + np.array([x, y, x, y], np.float32)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    return moved, boxes[((centre >= 0) & (centre < side)).all(axis=1)].astype(np.float32)


def _targets(boxes: Floats, cells: int) -> tuple[Floats, Floats, Floats]:
    """Return heat (s, s), regression (4, s, s) and where it counts (s, s), all float32."""
    heat, values = np.zeros((cells, cells), np.float32), np.zeros((4, cells, cells), np.float32)
    counts = np.zeros((cells, cells), np.float32)
    grid = np.arange(cells, dtype=np.float32)
    for x1, y1, x2, y2 in boxes / CELL:
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        column, row = min(int(x), cells - 1), min(int(y), cells - 1)
        # A box whose centre is off by a standard deviation still overlaps well.
        spread_x, spread_y = max((x2 - x1) / 10, 0.5), max((y2 - y1) / 10, 0.5)
        bump = np.exp(-(((grid - row) / spread_y) ** 2)[:, None] / 2 - (((grid - column) / spread_x) ** 2)[None] / 2)
        heat = np.maximum(heat, bump).astype(np.float32)
        values[:, row, column] = np.log(x2 - x1), np.log(y2 - y1), x - column, y - row
        counts[row, column] = 1.0
    return heat, values, counts


def _loss(maps: torch.Tensor, heat: torch.Tensor, values: torch.Tensor, counts: torch.Tensor) -> Any:
    import torch
    from torch.nn import functional as F

    logits, centres = maps[:, 0], counts.sum().clamp(min=1.0)
    chance = torch.sigmoid(logits)
    hit = F.softplus(-logits) * (1 - chance) ** 2 * counts
    miss = F.softplus(logits) * chance**2 * (1 - heat) ** 4 * (1 - counts)
    regression = (F.l1_loss(maps[:, 1:], values, reduction="none").sum(dim=1) * counts).sum()
    return ((hit + miss).sum() + 0.5 * regression) / centres
