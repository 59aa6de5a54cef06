"""Train the embedded autoencoder: AutoencoderKL with downsampling 4, saved as ``vae`` of the diffusers folder.

    LD_PRELOAD=libtcmalloc_minimal.so.4 python models/training/train_autoencoder.py \
        --data ../shared/data --backbone mobilenet_v2-b0353104.pth

Loss: L1, L1 of image gradients, and a perceptual term on the first stages of an ImageNet MobileNetV2 (as in LPIPS,
arXiv 1801.03924, with the MobileNet in VGG's place), with a slight KL. Interrupted runs go on from the checkpoint.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torchvision
from diffusers import AutoencoderKL
from packs import read_pack
from torch import nn
from torch.nn import functional as F

from anonymizer.core.geometry import context_box, take

SEED = 3
PACKS = ("camvid", "pennfudan", "ccp", "coco256", "openalpr", "portraits", "lfw")
POOL_SIDE = 112
CROP = 64


def build() -> AutoencoderKL:
    """Return the untrained autoencoder (about 1 M parameters)."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=128,
        mid_block_add_attention=False,
    )


def pool(data: Path, split: str, limit: int | None = None) -> np.ndarray:
    """Return crops (N, POOL_SIDE, POOL_SIDE, 3) uint8 around instances and at random places."""
    rng = np.random.default_rng(SEED)
    out = []
    for pack in PACKS:
        for picture in read_pack(data, pack):
            if picture.split != split:
                continue
            rgb = picture.read()
            size = min(rgb.shape[:2])
            boxes = [label.box for label in picture.labels if min(label.box[2:]) > 0]
            chosen = [boxes[i] for i in rng.permutation(len(boxes))[:2]]
            side = size * rng.uniform(0.25, 0.9)
            x, y = rng.uniform(0, rgb.shape[1] - side), rng.uniform(0, rgb.shape[0] - side)
            chosen.append((x, y, x + side, y + side))
            for box in chosen:
                crop = take(rgb, context_box(np.array(box, np.float32), 0.15, 1.0))
                if crop.shape[0] >= 32:
                    out.append(cv2.resize(crop, (POOL_SIDE, POOL_SIDE), interpolation=cv2.INTER_AREA))
        if limit and len(out) > limit:
            break
    return np.stack(out[:limit])


class Perceptual(nn.Module):
    """Distance of MobileNetV2 features at strides 2 and 4."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        net = torchvision.models.mobilenet_v2(weights=None)
        net.load_state_dict(torch.load(weights, weights_only=True))
        self.stages = nn.ModuleList([net.features[:2], net.features[2:4]]).eval().requires_grad_(False)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the mean distance of (N, 3, H, W) in [-1, 1]."""
        mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
        std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
        x = (torch.cat([a, b]) * 0.5 + 0.5 - mean) / std
        total = torch.zeros(())
        for stage in self.stages:
            x = stage(x)
            unit = F.normalize(x, dim=1)
            first, second = unit.chunk(2)
            total = total + (first - second).abs().sum(dim=1).mean()
        return total


def gradients(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return horizontal and vertical differences."""
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def main() -> None:
    """Train, measure on ``val`` crops, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--backbone", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/autoencoder"))
    parser.add_argument("--out", type=Path, default=Path("models/embedded/inpaint/vae"))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    args.work.mkdir(parents=True, exist_ok=True)
    cache = args.work / "pool.npy"
    if not cache.exists():
        np.save(cache, pool(args.data, "train"))
    crops = np.load(cache)
    print(f"{len(crops)} crops", flush=True)

    net, perceptual = build(), Perceptual(args.backbone)
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=args.steps, pct_start=0.05)
    checkpoint, first = args.work / "checkpoint.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        first = state["step"]
        rng = np.random.default_rng(SEED + first)
    start = time.monotonic()
    for step in range(first, args.steps):
        picked = crops[rng.integers(len(crops), size=args.batch)]
        y, x = rng.integers(POOL_SIDE - CROP, size=2)
        images = picked[:, y : y + CROP, x : x + CROP][:, :, :: rng.choice([-1, 1])]
        image = torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
        posterior = net.encode(image).latent_dist
        out = net.decode(posterior.sample()).sample
        sharp = sum(F.l1_loss(a, b) for a, b in zip(gradients(out), gradients(image), strict=True))
        loss = F.l1_loss(out, image) + sharp + 0.3 * perceptual(out, image) + 1e-6 * posterior.kl().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 49:
            state = {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            torch.save({**state, "schedule": schedule.state_dict()}, checkpoint)
            mse = F.mse_loss(out.clamp(-1, 1), image).item()
            print(
                f"step {step + 1} loss {loss.item():.4f} psnr {10 * np.log10(4 / mse):.2f} dB "
                f"{time.monotonic() - start:.0f} s",
                flush=True,
            )
    net.eval()
    held_out = pool(args.data, "val", limit=400)
    with torch.inference_mode():
        image = torch.from_numpy(held_out).permute(0, 3, 1, 2).float() / 127.5 - 1
        latents = torch.cat([net.encode(part).latent_dist.mode() for part in image.split(50)])
        out = torch.cat([net.decode(part).sample for part in latents.split(50)]).clamp(-1, 1)
    mse = ((out - image) ** 2).mean(dim=(1, 2, 3))
    net.register_to_config(scaling_factor=round(1 / latents.std().item(), 4))
    print(
        f"val crops {len(held_out)} PSNR {(10 * torch.log10(4 / mse)).mean().item():.2f} dB, "
        f"latent std {latents.std().item():.3f}, parameters {sum(p.numel() for p in net.parameters())}"
    )
    sample = torch.cat([image[::40], out[::40]], dim=2).permute(0, 2, 3, 1).mul(127.5).add(127.5).byte().numpy()
    cv2.imwrite(str(args.work / "val.png"), np.concatenate(list(sample), axis=1)[..., ::-1])
    net.half().save_pretrained(args.out)


if __name__ == "__main__":
    main()
