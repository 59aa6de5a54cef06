"""Judge an inpainter on held-out pairs: how far its persons are from photographs, beside those of the rendering alone.

    python models/training/judge_pairs.py --judge efficientnet-lite2.onnx --strengths 0.1 0.2

The distance is the kernel distance of features of a judge that takes no part in training (see
``models/judges/make_judges.py``), of crops that differ within the avatar alone, so it is smaller than that of whole
persons in ``benchmarks/avatars.py``: it compares ways to paint, not figures to publish. The photograph passed through
the autoencoder bounds what the latents allow. One row a way is printed and added to ``judged.csv``, which is the curve
over training; a sheet shows what the figures do not.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from anonymizer.evaluation.distances import kid
from anonymizer.models.onnx import open_session
from anonymizer.redraw.diffusion import DiffusionInpainter, DiffusionSettings, InpaintJob

SEED = 61
#: Side in pixels of the square the judge sees; crops, half as wide as high, stand in its middle on grey.
SIDE = 260
#: Sigma in pixels of an avatar's soft rim.
RIM = 0.7
BATCH = 8
#: Grey and range of the judge's input, of 255.
GREY, RANGE = 127, 128
#: Rows of the sheet.
SHOWN = 12


def pairs_of(folder: Path, limit: int) -> list[dict[str, np.ndarray]]:
    """Return pairs from every file in turn, so that a limit leaves none out."""
    files = [np.load(path) for path in sorted(folder.glob("*.npz")) if ".part" not in path.name]
    names = ("start", "image", "clean", "mask", "core", "depth", "edges")
    most = max((int(file["count"]) for file in files), default=0)
    chosen = [(file, n) for n in range(most) for file in files if n < int(file["count"])][:limit]
    return [{name: file[f"{n}/{name}"] for name in names} for file, n in chosen]


def laid(pair: dict[str, np.ndarray], painted: np.ndarray) -> np.ndarray:
    """Return a crop RGB uint8 with what was painted laid over the fill within the avatar."""
    alpha = cv2.GaussianBlur(pair["core"].astype(np.float32), (0, 0), RIM)[..., None]
    return np.clip(np.rint(pair["clean"] * (1 - alpha) + painted * alpha), 0, 255).astype(np.uint8)


class Judge:
    """Features of crops.

    Args:
        path: ONNX file with input ``image`` float32 (N, 3, 260, 260), RGB in about [-1, 1], and features (N, D).
    """

    def __init__(self, path: Path) -> None:
        self._session = open_session(path, path.stem)

    def describe(self, crops: list[np.ndarray]) -> np.ndarray:
        """Return features (N, D) of crops RGB uint8."""
        out = []
        for first in range(0, len(crops), BATCH):
            group = np.full((len(crops[first : first + BATCH]), SIDE, SIDE, 3), GREY, np.uint8)
            left = (SIDE - SIDE // 2) // 2
            for row, crop in zip(group, crops[first : first + BATCH], strict=True):
                method = cv2.INTER_AREA if crop.shape[0] > SIDE else cv2.INTER_LINEAR
                row[:, left : left + SIDE // 2] = cv2.resize(crop, (SIDE // 2, SIDE), interpolation=method)
            blob = ((group.astype(np.float32) - GREY) / RANGE).transpose(0, 3, 1, 2)
            out.append(self._session.run(None, {"image": np.ascontiguousarray(blob)})[0])
        return np.concatenate(out).reshape(len(crops), -1)


def coded(vae: Any, picture: np.ndarray) -> np.ndarray:
    """Return a crop passed through the autoencoder, float32 in 0 to 255."""
    with torch.inference_mode():
        batch = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
        out = vae.decode(vae.encode(batch).latent_dist.mode()).sample
    return np.clip(out[0].permute(1, 2, 0).numpy() * 127.5 + 127.5, 0, 255)


def main() -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=Path("runs/inpaint/pairs/val"))
    parser.add_argument("--model", type=Path, default=Path("models/embedded/inpaint"))
    parser.add_argument("--controlnets", type=Path, default=Path("models/embedded/inpaint"))
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.1, 0.2])
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--bounds", action="store_true", help="also the autoencoder alone")
    parser.add_argument("--out", type=Path, default=Path("runs/inpaint/judged"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    pairs = pairs_of(args.pairs, args.limit)
    controls = [args.controlnets / "controlnet", args.controlnets / "controlnet_1"]
    inpainter = DiffusionInpainter(args.model, controls, DiffusionSettings(10, 1.0, (1.0, 1.0), batch_size=4))
    judge = Judge(args.judge)
    ways = {"rendering": [laid(p, p["start"]) for p in pairs]}
    if args.bounds:
        vae = inpainter._pipeline.vae
        ways["photograph, coded"] = [laid(p, coded(vae, p["image"])) for p in pairs]
        ways["rendering, coded"] = [laid(p, coded(vae, p["start"])) for p in pairs]
    for strength in args.strengths:
        jobs = [
            InpaintJob(
                image=p["clean"],
                mask=p["mask"],
                depth=p["depth"].astype(np.float32) / 255,
                edges=p["edges"].astype(np.float32) / 255,
                prompt="a person",
                seed=SEED + n,
                start=np.where(p["mask"][..., None], p["start"], p["clean"]),
                strength=strength,
            )
            for n, p in enumerate(pairs)
        ]
        made = inpainter.inpaint(jobs)
        ways[f"denoised from {strength}"] = [laid(p, m) for p, m in zip(pairs, made, strict=True)]
    photographs = [laid(p, p["image"]) for p in pairs]
    real = judge.describe(photographs)
    with (args.out / "judged.csv").open("a", newline="", encoding="utf-8") as file:
        for name, crops in ways.items():
            found = kid(judge.describe(crops), real, np.random.default_rng(SEED), paired=True)
            print(f"{name:36s} {found.value:.4f} [{found.low:.4f}, {found.high:.4f}] of {found.count}", flush=True)
            csv.writer(file).writerow([int(time.time()), args.model, name, found.value, found.count])
    rows = [
        np.concatenate([cv2.resize(crops[n], (192, 384)) for crops in (photographs, *ways.values())], axis=1)
        for n in range(0, len(pairs), max(len(pairs) // SHOWN, 1))
    ]
    cv2.imwrite(str(args.out / "sheet.png"), np.concatenate(rows)[..., ::-1])


if __name__ == "__main__":
    main()
