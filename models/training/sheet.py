"""Paint held-out crops with the embedded inpainter and write a contact sheet: original, hole, edges, two seeds.

python models/training/sheet.py --crops runs/inpaint --out sheet.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from anonymizer.redraw.diffusion import DiffusionInpainter, DiffusionSettings, InpaintJob
from anonymizer.redraw.prompts import prompt, random_clothes


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=Path, default=Path("runs/inpaint"))
    parser.add_argument("--model", type=Path, default=Path("models/embedded/inpaint"))
    parser.add_argument("--out", type=Path, default=Path("sheet.png"))
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--split", default="val")
    args = parser.parse_args()
    settings = DiffusionSettings(args.steps, 1.0, (1.0, 1.0))
    inpainter = DiffusionInpainter(args.model, (args.model / "controlnet", args.model / "controlnet_1"), settings)
    rows = []
    for name in ("person", "face", "license_plate"):
        crops = np.load(args.crops / f"{name}-{args.split}.npz")
        chosen = np.linspace(0, len(crops["image"]) - 1, args.count).astype(int)
        tiles = []
        for i in chosen:
            image, mask = crops["image"][i], crops["mask"][i]
            jobs = [
                InpaintJob(
                    image,
                    mask,
                    crops["depth"][i].astype(np.float32) / 255,
                    crops["edges"][i].astype(np.float32) / 255,
                    prompt(name, *(random_clothes(np.random.default_rng(seed)) if name == "person" else ())),
                    seed,
                )
                for seed in (1, 2)
            ]
            edges = np.repeat(crops["edges"][i][..., None], 3, axis=2)
            painted = [np.where(mask[..., None], p, image) for p in inpainter.inpaint(jobs)]
            tiles.append(np.concatenate([image, np.where(mask[..., None], 127, image), edges, *painted], axis=1))
        half = (len(tiles) + 1) // 2
        for part in (tiles[:half], tiles[half:]):
            rows.append(np.concatenate(part, axis=1))
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows]
    cv2.imwrite(str(args.out), np.ascontiguousarray(np.concatenate(rows).astype(np.uint8)[..., ::-1]))


if __name__ == "__main__":
    main()
