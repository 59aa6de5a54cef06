"""Silhouette judge for ``anonymizer evaluate``: a small network trained to know the outline of a person again.

    python models/judges/train_silhouettes.py JUDGES ANNOTATIONS... [--steps N] [--seed N]

``ANNOTATIONS`` are COCO files with masks of persons; of pictures with a ``split`` only those of ``train`` are taken.
Writes ``JUDGES/silhouette.onnx`` and prints how often it knows masks of pictures that it never saw among each other,
beside the descriptor that needs no training. No picture is read: masks alone.

Every mask is a class of its own. It is seen in two versions that differ as outlines found in original and redrawn
picture do: moved, turned, stretched, thicker here and thinner there, cut, with things added. Nearest
in the batch must be the other version of the same mask (InfoNCE).

Source:
    van den Oord, Li and Vinyals, Representation learning with contrastive predictive coding, 2018.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask
from torch import Tensor, nn

from anonymizer.evaluation.networks import OUTLINE, outline_frame
from anonymizer.recognize.body import SilhouetteEmbedder

#: Least height and width of a mask in pixels: smaller ones have no outline to learn from.
LEAST = (48, 12)
#: Masks in a step, temperature of the comparison (SimCLR tries 0.05 to 1), and numbers that describe a silhouette.
BATCH, TEMPERATURE, WIDTH = 160, 0.1, 128
#: Peak of the one-cycle learning rate, and weight decay, of AdamW.
RATE, DECAY = 2e-3, 1e-2
#: Steps, and after how many the loss is told.
STEPS, TOLD = 350, 50
#: Every so manieth mask, by picture, is left for the measurement.
HELD_OUT = 10
#: Largest turn in radians; stretch, shift, and displacement of a point of a coarse grid, of the frame.
TURN, STRETCH, SHIFT, BEND = 0.08, 0.12, 0.06, 0.03
#: Radius of the blur in pixels, and how far from one half the level lies at which its edge is drawn anew, at most.
BLUR, THICKER = 2.0, 0.3
#: How often a side is cut off or something is added, and how much of the frame at most.
OFTEN, PART = 0.3, 0.25
#: Points of the coarse grids along height and width.
COARSE = (6, 5)
SEED, OPSET = 7, 17


def masks(files: list[Path]) -> tuple[Tensor, Tensor]:
    """Return silhouettes of persons, float32 (N, 1, 64, 48), and the number of each one's picture, int64 (N,)."""
    frames, pictures = [], []
    for number, file in enumerate(files):
        document = json.loads(file.read_bytes())
        persons = {item["id"] for item in document["categories"] if item["name"] == "person"}
        images = {item["id"]: item for item in document["images"] if item.get("split", "train") == "train"}
        for record in document["annotations"]:
            if record["category_id"] not in persons or record.get("iscrowd") or record["image_id"] not in images:
                continue
            mask = decoded(record.get("segmentation"), images[record["image_id"]])
            if mask is not None and np.all([mask.any(axis=1).sum() >= LEAST[0], mask.any(axis=0).sum() >= LEAST[1]]):
                frames.append(outline_frame(mask))
                pictures.append(number * 1_000_000 + int(record["image_id"]))
    if len(frames) < 2 * BATCH:
        raise SystemExit(f"{len(frames)} masks of persons: expected at least {2 * BATCH}; give more annotations")
    return torch.from_numpy(np.stack(frames)[:, None]), torch.tensor(pictures)


def decoded(segmentation: Any, image: dict[str, Any]) -> np.ndarray | None:
    """Return the mask, bool (H, W), of polygons or RLE as COCO writes them; None where there is none."""
    if not segmentation:
        return None
    size = image["height"], image["width"]
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    elif isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, *size)
    return np.asarray(coco_mask.decode(segmentation), np.bool_)


def version(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Return frames (N, 1, H, W) as they might be found again."""
    count, _, height, width = frames.shape

    def uniform(*shape: int, most: float = 1.0) -> Tensor:
        return (torch.rand(shape, generator=generator) * 2 - 1) * most

    def smooth(channels: int, most: float) -> Tensor:
        return F.interpolate(uniform(count, channels, *COARSE, most=most), (height, width), mode="bicubic")

    turn, stretch = uniform(count, most=TURN), 1 + uniform(count, 2, most=STRETCH)
    rows = torch.stack([turn.cos() * stretch[:, 0], -turn.sin() * stretch[:, 1], uniform(count, most=SHIFT)], dim=1)
    more = torch.stack([turn.sin() * stretch[:, 0], turn.cos() * stretch[:, 1], uniform(count, most=SHIFT)], dim=1)
    grid = F.affine_grid(torch.stack([rows, more], dim=1), [count, 1, height, width], align_corners=False)
    bent = F.grid_sample(frames, grid + smooth(2, 2 * BEND).permute(0, 2, 3, 1), align_corners=False)
    # Thicker here and thinner there: the edge of the blurred mask is drawn at a level that varies slowly.
    at = torch.arange(-4, 5, dtype=torch.float32)
    kernel = torch.exp(-(at**2) / (2 * BLUR**2))
    kernel /= kernel.sum()
    soft = F.conv2d(
        F.conv2d(bent, kernel[None, None, :, None], padding=(4, 0)), kernel[None, None, None], padding=(0, 4)
    )
    out = torch.sigmoid((soft - 0.5 - smooth(1, THICKER)) * 12)
    down = (torch.arange(height) + 0.5)[None, :, None] / height
    across = (torch.arange(width) + 0.5)[None, None] / width
    chance, much = torch.rand(3, count, 1, 1, generator=generator), torch.rand(3, count, 1, 1, generator=generator)
    limits = torch.where(chance < OFTEN, much * PART, torch.zeros(()))
    left = torch.rand(count, 1, 1, generator=generator) < 0.5
    kept = (down < 1 - limits[0]) & (torch.where(left, across, 1 - across) >= limits[1] / 2)
    middle = torch.rand(2, count, 1, 1, generator=generator)
    added = (chance[2] < OFTEN) & (torch.hypot(down - middle[0], across - middle[1]) < much[2] * PART / 2)
    return torch.where(added[:, None], 1.0, out * kept[:, None])


class Network(nn.Module):
    """Four strided convolutions and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((1, 24, 48, 72), (24, 48, 72, 96), strict=True):
            layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        cells = (OUTLINE[0] // 16) * (OUTLINE[1] // 16)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.1), nn.Linear(96 * cells, WIDTH))

    def forward(self, frames: Tensor) -> Tensor:
        """Return unit-length descriptions (N, 128) of frames (N, 1, 64, 48) in [0, 1]."""
        return F.normalize(self.layers(frames - 0.5))


def train(frames: Tensor, steps: int, generator: torch.Generator) -> Network:
    """Return a network trained for some steps."""
    network = Network()
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    started = time.process_time()
    for step in range(1, steps + 1):
        batch = frames[torch.randint(len(frames), (BATCH,), generator=generator)]
        one, two = network(torch.cat([version(batch, generator), version(batch, generator)])).chunk(2)
        scores = one @ two.T / TEMPERATURE
        # The same mask drawn twice is no stranger to itself: who is equal pixel for pixel does not count.
        same = torch.cdist(batch.flatten(1), batch.flatten(1)) < 1e-3
        scores = scores.masked_fill(same & ~torch.eye(BATCH, dtype=torch.bool), -1e4)
        target = torch.arange(BATCH)
        loss = (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % TOLD == 0:
            seconds = round(time.process_time() - started, 1)
            print(json.dumps({"step": step, "loss": round(loss.item(), 3), "processor_s": seconds}), flush=True)
    return network.eval()


def rank1(one: np.ndarray, two: np.ndarray) -> float:
    """Return how often the row of the same number is nearest."""
    return float(((one @ two.T).argmax(axis=1) == np.arange(len(one))).mean())


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("judges", type=Path, help="folder of the judges")
    parser.add_argument("annotations", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    generator = torch.Generator().manual_seed(arguments.seed)
    frames, pictures = masks(arguments.annotations)
    held = torch.unique(pictures, return_inverse=True)[1] % HELD_OUT == 0
    network = train(frames[~held], arguments.steps, generator)
    one, two = version(frames[held], generator), version(frames[held], generator)
    with torch.no_grad():
        learned = rank1(network(one).numpy(), network(two).numpy())
    plain = SilhouetteEmbedder()
    box = np.array([0, 0, OUTLINE[1], OUTLINE[0]], np.float32)
    image = np.zeros((*OUTLINE, 3), np.uint8)
    described = [np.stack([plain.embed(image, box, None, f[0].numpy() > 0.5) for f in side]) for side in (one, two)]
    arguments.judges.mkdir(parents=True, exist_ok=True)
    target = arguments.judges / "silhouette.onnx"
    names = {"input_names": ["frame"], "output_names": ["description"], "dynamic_axes": {"frame": {0: "n"}}}
    torch.onnx.export(network, (frames[:2],), str(target), opset_version=OPSET, dynamo=False, **names)
    print(
        json.dumps(
            {
                "judge": "silhouette",
                "bytes": target.stat().st_size,
                "masks": int((~held).sum()),
                "held_out": int(held.sum()),
                "rank1": round(learned, 3),
                "rank1_descriptor": round(rank1(*described), 3),
            }
        )
    )


if __name__ == "__main__":
    main()
