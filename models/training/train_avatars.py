"""Teach the embedded inpainter to turn a rendering into a photograph: UNet and decoder, from exported weights.

    LD_PRELOAD=libtcmalloc_minimal.so.4 python models/training/train_avatars.py --minutes 90 \\
        --backbone mobilenet_v2-b0353104.pth

Runs after ``avatar_pairs.py`` and ``inpaint_crops.py``. Each sample is a step that inference takes as well: the noised
rendering at a time of the schedule goes in, and what comes out, decoded, is held against the photograph. Held how: in
latents and pixels little, since two different people are never the same pixels and their mean is a blur; in features of
a network trained on ImageNet more; and in the statistics of those features within the avatar (arXiv 1508.06576), which
need no pixel to agree: cloth is to look like cloth. ControlNets and text encoder stay as they are, and so does the
encoder, so latents are made once. Faces and plates are trained with a small share, so that they stay what they are.
``--no-pixels`` leaves the decoder alone and learns in latents only, for comparison.

The schedule follows the clock. Interrupted runs go on from the checkpoint; exported is the running mean of the weights.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import time
from pathlib import Path

import numpy as np
import torch
import torchvision
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch import nn
from torch.nn import functional as F
from train_inpaint import Crops, scheduler
from transformers import CLIPTextModel, CLIPTokenizer

SEED = 53
#: Share of batches of each class.
MIX = {"person": 0.84, "face": 0.12, "license_plate": 0.04}
#: Times of the noise schedule at which inference is, and how often each is trained.
TIMES = {"person": {99: 0.6, 199: 0.4}, "face": {99: 1.0}, "license_plate": {99: 0.4, 199: 0.3, 299: 0.3}}
#: Share of samples at the last time that start between rendering and photograph, as the second of two steps does.
BETWEEN = 0.3
#: Window of latents, height and width: the smaller of the two sizes at which persons are painted.
WINDOW = (48, 24)
#: Least share of a window of a large crop that is painted.
LEAST_PAINTED = 0.25
#: Weights of the losses.
LATENT, PIXEL, FEATURES, STYLE = 0.5, 0.5, 1.0, 0.5
#: Weight of what is painted but not shown or not the person in the photograph: there the rendering is its own target.
ELSEWHERE = 0.2
EMA_DECAY = 0.995
#: Stages of MobileNetV2 whose outputs are compared: strides 2, 4, 8, 16.
STAGES = (2, 4, 7, 11)
PROMPT = "a person"


class Pairs:
    """Pairs of renderings and photographs with their latents, held in memory.

    Args:
        folder: Files of ``avatar_pairs.py``.
        vae: Encodes what has not been encoded before.
        tokens: int64 (1, L), the prompt.
    """

    KEYS = ("image", "mask", "core", "same", "depth", "edges")

    def __init__(self, folder: Path, vae: AutoencoderKL, tokens: torch.Tensor) -> None:
        self._vae, self._folder = vae, folder
        self.tokens = tokens
        self.items: list[dict[str, torch.Tensor]] = []
        self._seen: set[str] = set()
        self.more()

    def more(self) -> None:
        """Take in what was made since."""
        for path in sorted(self._folder.glob("*.npz")):
            if path.name in self._seen or ".part" in path.name:
                continue
            self._seen.add(path.name)
            arrays = np.load(path)
            made = []
            cache = path.with_suffix(".latents.pt")
            latents = torch.load(cache, weights_only=True) if cache.exists() else []
            for n in range(int(arrays["count"])):
                item = {key: torch.from_numpy(arrays[f"{n}/{key}"]) for key in self.KEYS}
                if n >= len(latents):
                    latents.append(self._encoded(arrays, n))
                made.append({**item, **latents[n]})
            if not cache.exists():
                torch.save(latents, cache)
            self.items += made

    def _encoded(self, arrays: np.lib.npyio.NpzFile, n: int) -> dict[str, torch.Tensor]:
        def picture(key: str) -> torch.Tensor:
            return torch.from_numpy(arrays[f"{n}/{key}"]).permute(2, 0, 1).float() / 127.5 - 1

        hole = picture("clean") * ~torch.from_numpy(arrays[f"{n}/mask"])
        with torch.inference_mode():
            batch = torch.stack([picture("start"), picture("image"), hole])
            start, full, hole = self._vae.encode(batch).latent_dist.mode() * self._vae.config.scaling_factor
        return {"start": start.clone(), "full": full.clone(), "hole": hole.clone()}

    def __len__(self) -> int:
        return len(self.items)

    def batch(self, count: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Return tensors of windows of random pairs, mirrored or not."""
        rows = []
        while len(rows) < count:
            item = self.items[int(rng.integers(len(self.items)))]
            high, wide = item["full"].shape[1:]
            y, x = int(rng.integers(high - WINDOW[0] + 1)), int(rng.integers(wide - WINDOW[1] + 1))
            large = slice(4 * y, 4 * (y + WINDOW[0])), slice(4 * x, 4 * (x + WINDOW[1]))
            if item["mask"][large].float().mean() < LEAST_PAINTED and high > WINDOW[0]:
                continue
            small = slice(y, y + WINDOW[0]), slice(x, x + WINDOW[1])
            row = {k: item[k][:, small[0], small[1]] for k in ("start", "full", "hole")}
            row |= {k: item[k][large].float()[None] for k in ("core", "same")}
            row |= {k: item[k][large].float()[None] / 255 for k in ("depth", "edges")}
            row["mask"] = item["mask"][large][::4, ::4].float()[None]
            row["image"] = item["image"][large].permute(2, 0, 1).float() / 127.5 - 1
            rows.append(row)
        out = {key: torch.stack([row[key] for row in rows]) for key in rows[0]}
        for key in ("depth", "edges"):
            out[key] = out[key].expand(-1, 3, -1, -1)
        return {**out, "tokens": self.tokens.expand(count, -1)}


class Features(nn.Module):
    """Stages of MobileNetV2 of ImageNet."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        net = torchvision.models.mobilenet_v2(weights=None)
        net.load_state_dict(torch.load(weights, weights_only=True))
        bounds = (0, *STAGES)
        self.stages = nn.ModuleList([net.features[a:b] for a, b in itertools.pairwise(bounds)])
        self.eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the stages' outputs for (N, 3, H, W) in [-1, 1]."""
        x = (x * 0.5 + 0.5 - self.mean) / self.std
        out = []
        for stage in self.stages:
            x = stage(x)
            out.append(x)
        return out


def gram(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return second moments and means (N, C + 1, C + 1) of features (N, C, h, w) under weights (N, 1, h, w)."""
    flat = torch.cat([x, torch.ones_like(x[:, :1])], 1).flatten(2)
    return (flat * weight.flatten(2)) @ flat.transpose(1, 2) / weight.flatten(2).sum(2, keepdim=True).clamp(min=1e-3)


def looks(net: Features, out: torch.Tensor, data: dict[str, torch.Tensor], style: float) -> torch.Tensor:
    """Return how different painted pictures look from their photographs, beside the difference of pixels."""
    shown, same, image = data["core"], data["same"], data["image"]
    whole = out * shown + image * (1 - shown)
    total = PIXEL * ((whole - image).abs() * (ELSEWHERE + (1 - ELSEWHERE) * same)).sum() / (3 * shown.sum() + 1)
    with torch.no_grad():
        wanted = net(image)
    for found, aim in zip(net(whole), wanted, strict=True):
        size = found.shape[2:]
        inner, agree = (F.adaptive_avg_pool2d(m, size) for m in (shown, same))
        error = (F.normalize(found, dim=1) - F.normalize(aim, dim=1)).abs().sum(1, keepdim=True)
        weight = ELSEWHERE * inner + (1 - ELSEWHERE) * agree
        total = total + FEATURES / len(STAGES) * (error * weight).sum() / (inner.sum() + 1)
        if style:
            first, second = gram(found, agree), gram(aim, agree)
            apart = ((first - second) ** 2).sum((1, 2)) / (second**2).sum((1, 2)).clamp(min=1e-6)
            total = total + style / len(STAGES) * apart.clamp(max=4).mean()
    return total


class Trainer:
    """Networks and losses.

    Args:
        start: Exported diffusers folder.
        features: Judges pictures; None: learn in latents only.
    """

    def __init__(self, start: Path, features: Features | None) -> None:
        self.vae = AutoencoderKL.from_pretrained(start / "vae", torch_dtype=torch.float32).requires_grad_(False)
        self.unet = UNet2DConditionModel.from_pretrained(start / "unet", torch_dtype=torch.float32)
        controls = [
            ControlNetModel.from_pretrained(start / name, torch_dtype=torch.float32)
            for name in ("controlnet", "controlnet_1")
        ]
        self.controls = nn.ModuleList(controls).requires_grad_(False).eval()
        text = CLIPTextModel.from_pretrained(start / "text_encoder", torch_dtype=torch.float32)
        self.text = text.requires_grad_(False).eval()
        self.tokenizer = CLIPTokenizer.from_pretrained(start / "tokenizer")
        self.features = features
        self.plan: DDIMScheduler = scheduler()
        self.trained = nn.ModuleDict({"unet": self.unet})
        if features is not None:
            self.trained["decoder"] = self.vae.decoder.requires_grad_(True)
            self.trained["last"] = self.vae.post_quant_conv.requires_grad_(True)
        for net in (self.unet, self.controls, self.vae):
            net.to(memory_format=torch.channels_last)

    def tokens(self, text: str) -> torch.Tensor:
        """Return a prompt as int64 (1, L)."""
        length = self.tokenizer.model_max_length
        return self.tokenizer(
            [text], padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids

    def clean(self, noisy: torch.Tensor, times: torch.Tensor, data: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the latents that one step predicts."""
        with torch.no_grad():
            text = self.text(data["tokens"])[0]
            down, middle = None, None
            for net, name in zip(self.controls, ("depth", "edges"), strict=True):
                more, mid = net(noisy, times, text, data[name], return_dict=False)
                down = more if down is None else [a + b for a, b in zip(down, more, strict=True)]
                middle = mid if middle is None else middle + mid
        speed = self.unet(
            torch.cat([noisy, data["mask"], data["hole"]], 1),
            times,
            text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
        kept = self.plan.alphas_cumprod[times].view(-1, 1, 1, 1)
        return kept.sqrt() * noisy - (1 - kept).sqrt() * speed

    def loss(self, name: str, data: dict[str, torch.Tensor], generator: torch.Generator) -> torch.Tensor:
        """Return the loss of a batch of one class."""
        full, count = data["full"], len(data["full"])
        table = TIMES[name]
        chosen = torch.multinomial(torch.tensor(list(table.values())), count, True, generator=generator)
        times = torch.tensor(list(table))[chosen]
        share = torch.ones(count)
        if name == "person":
            between = (torch.rand(count, generator=generator) < BETWEEN) & (times == min(table))
            share[between] = torch.rand(int(between.sum()), generator=generator)
        share = share.view(-1, 1, 1, 1)
        begun = data["start"] * share + full * (1 - share)
        noisy = self.plan.add_noise(begun, torch.randn(full.shape, generator=generator), times)
        found = self.clean(noisy, times, data)
        same = F.interpolate(data["same"], scale_factor=0.25, mode="area")
        weight = data["mask"] * (ELSEWHERE + (1 - ELSEWHERE) * same) + 0.05
        kept = self.plan.alphas_cumprod[times].view(-1, 1, 1, 1)
        # Errors of the velocity are those of the latents over the noise; its weight here is that of min-SNR with 5.
        ratio = (kept / (1 - kept)).clamp(max=5)
        total = ((found - full) ** 2 * weight * ratio).sum() / (weight.sum() * 4)
        if self.features is None:
            return total
        out = self.vae.decode(found / self.vae.config.scaling_factor).sample
        return LATENT * total / 5 + looks(self.features, out, data, STYLE if name == "person" else 0.0)


class Others:
    """Crops of faces or plates in the form of pairs: they start from what they are, some blurred."""

    def __init__(self, path: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> None:
        self._crops = Crops(path, vae, tokenizer)
        arrays = np.load(path)
        self._image, self._mask = arrays["image"], arrays["mask"]

    def __len__(self) -> int:
        return len(self._crops)

    def batch(self, count: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Return tensors of random crops."""
        index = rng.integers(len(self), size=count)
        out = self._crops.batch(index, "cpu")
        blurred = torch.from_numpy(rng.random(count) < 0.35).view(-1, 1, 1, 1)
        shown = torch.from_numpy(self._mask[index]).float()[:, None]
        image = torch.from_numpy(self._image[index]).permute(0, 3, 1, 2).float() / 127.5 - 1
        start = torch.where(blurred, out.pop("soft"), out["full"])
        return {**out, "start": start, "core": shown, "same": shown, "image": image}


def export(trainer: Trainer, average: nn.ModuleDict, out: Path) -> None:
    """Write UNet and autoencoder in fp16 into a diffusers folder that has the rest."""
    now = copy.deepcopy(trainer.trained.state_dict())
    trainer.trained.load_state_dict(average.state_dict())
    for name, net in (("unet", trainer.unet), ("vae", trainer.vae)):
        copy.deepcopy(net).half().save_pretrained(out / name)
        # Where it was loaded from is nobody's business, and graphs are bound to what this file says.
        config = out / name / "config.json"
        lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
        config.write_text("".join(line for line in lines if '"_name_or_path"' not in line), encoding="utf-8")
    trainer.trained.load_state_dict(now)


@torch.inference_mode()
def held_out(trainer: Trainer, average: nn.ModuleDict, held: dict[str, Pairs | Others], count: int) -> dict[str, float]:
    """Return the loss of the averaged weights on the same held-out windows and noise each time."""
    now = copy.deepcopy(trainer.trained.state_dict())
    trainer.trained.load_state_dict(average.state_dict())
    out = {}
    for name, crops in held.items():
        rng, generator = np.random.default_rng(SEED), torch.Generator().manual_seed(SEED)
        batches = range(max(count // 8, 1))
        out[name] = float(np.mean([float(trainer.loss(name, crops.batch(8, rng), generator)) for _ in batches]))
    trainer.trained.load_state_dict(now)
    return out


def main() -> None:
    """Train until the time is used up; save every few minutes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=Path, default=Path("runs/inpaint"))
    parser.add_argument("--start", type=Path, default=Path("models/embedded/inpaint"))
    parser.add_argument("--out", type=Path, default=Path("runs/inpaint/avatars"))
    parser.add_argument("--backbone", type=Path, required=True, help="torchvision's MobileNetV2 weights")
    parser.add_argument("--minutes", type=float, default=90, help="length of the whole schedule")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--no-pixels", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(SEED)
    args.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(args.start, None if args.no_pixels else Features(args.backbone))
    tokens = trainer.tokens(PROMPT)
    data: dict[str, Pairs | Others] = {"person": Pairs(args.crops / "pairs/train", trainer.vae, tokens)}
    held: dict[str, Pairs | Others] = {"person": Pairs(args.crops / "pairs/val", trainer.vae, tokens)}
    for name in ("face", "license_plate"):
        for split, into in (("train", data), ("val", held)):
            path = args.crops / f"{name}-{split}.npz"
            if path.exists():
                into[name] = Others(path, trainer.vae, trainer.tokenizer)
    print({name: (len(data[name]), len(held[name])) for name in data}, flush=True)

    average = copy.deepcopy(trainer.trained).requires_grad_(False)
    parameters = list(trainer.trained.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=args.rate, weight_decay=1e-3, betas=(0.9, 0.99))
    checkpoint = args.out / "checkpoint.pt"
    step, spent = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        trainer.trained.load_state_dict(state["trained"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["spent"]
    else:
        print("before", held_out(trainer, average, held, 48), flush=True)
    generator, rng = torch.Generator().manual_seed(SEED + step), np.random.default_rng(SEED + step)
    names = list(data)
    shares = np.array([MIX[name] for name in names]) / sum(MIX[name] for name in names)
    begun, total, losses, saved = time.monotonic() - spent, args.minutes * 60, [], time.monotonic()
    while (spent := time.monotonic() - begun) < total:
        # Warm up, hold, then fall: the schedule follows the clock, so a run ends when it should.
        done = spent / total
        rate = args.rate * min(1.0, (step + 1) / 30) * (1.0 if done < 0.6 else max((1 - done) / 0.4, 0.02))
        for group in optimiser.param_groups:
            group["lr"] = rate
        name = names[rng.choice(len(names), p=shares)]
        loss = trainer.loss(name, data[name].batch(args.batch, rng), generator)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        step += 1
        if name == "person":
            losses.append(loss.item())
        decay = min(EMA_DECAY, (step + 1) / (step + 10))
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), parameters, strict=True):
                slow.lerp_(fast, 1 - decay)
        if step % 25 == 0:
            print(f"step {step} {spent / 60:.1f} min loss {np.mean(losses[-25:]):.4f} rate {rate:.1e}", flush=True)
        if time.monotonic() - saved > 240:
            state = {"trained": trainer.trained.state_dict(), "average": average.state_dict()}
            state |= {"optimiser": optimiser.state_dict(), "step": step, "spent": time.monotonic() - begun}
            torch.save(state, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").rename(checkpoint)
            export(trainer, average, args.out)
            data["person"].more()
            print(f"held out {held_out(trainer, average, held, 48)}, {len(data['person'])} pairs", flush=True)
            saved = time.monotonic()
    export(trainer, average, args.out)
    print("after", held_out(trainer, average, held, 96), flush=True)


if __name__ == "__main__":
    main()
