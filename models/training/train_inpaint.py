"""Train the embedded inpainter: UNet, two ControlNets and text encoder, saved as an ordinary diffusers folder.

    LD_PRELOAD=libtcmalloc_minimal.so.4 python models/training/train_inpaint.py --minutes 50

Runs after ``train_autoencoder.py`` and ``inpaint_crops.py``. Unlike in the ControlNet paper (arXiv 2302.05543) nothing
is frozen: there is no pretrained UNet, so UNet, both ControlNets and text encoder learn together. Velocity prediction
with a zero terminal signal-to-noise ratio (arXiv 2305.08891). Denoising starts from a noised prototype, an average or
plainly coloured picture (see ``anonymizer/redraw/prototypes.py``), so two things differ from ordinary training: the
noisiest times, which sampling never visits, are left out, and a part of the samples is blurred before noise is added,
so that the network learns to put detail where a prototype has none. The loss counts inside the mask; outside, the
pipeline keeps the picture. Interrupted runs go on from the checkpoint; ``--start`` begins with exported weights.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from anonymizer.redraw.prompts import COLOURS, prompt

SEED = 29
#: Share of batches of each class, and batch size (crops differ in size between classes, not within a batch).
MIX = {"person": 0.53, "face": 0.40, "license_plate": 0.07}
#: Noisiest time trained: the prototypes' strengths stay below it.
LATEST = 480
#: Share of samples blurred before noise is added, the least time for it, and the blur's sigma in pixels.
BLURRED, BLURRED_FROM, SIGMAS = 0.35, 150, (1.5, 5.0)
WIDTHS = (48, 96, 160)
TEXT_LENGTH = 16
EMA_DECAY = 0.998
#: Where each network lies in the diffusers folder.
FOLDERS = {"unet": "unet", "depth": "controlnet", "edges": "controlnet_1", "text_encoder": "text_encoder"}


def build_tokenizer(folder: Path) -> CLIPTokenizer:
    """Learn byte-pair merges on every prompt the product can make, and save a CLIP tokenizer."""
    names = list(COLOURS)
    corpus = [prompt(label) for label in ("person", "face", "license_plate", "text")]
    corpus += [prompt("person", top, bottom) for top in names for bottom in names]
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["<|startoftext|>", "<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        end_of_word_suffix="</w>",
        initial_alphabet=[chr(c) for c in range(33, 127)],
        show_progress=False,
    )
    learner.train_from_iterator(corpus, trainer)
    state = json.loads(learner.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split()) for m in state["merges"]]
    tokenizer = CLIPTokenizer(vocab=state["vocab"], merges=merges, model_max_length=TEXT_LENGTH)
    tokenizer.save_pretrained(folder)
    return tokenizer


def build(tokenizer: CLIPTokenizer) -> nn.ModuleDict:
    """Return the untrained networks."""
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            projection_dim=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TEXT_LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    shared = {
        "layers_per_block": 1,
        "block_out_channels": WIDTHS,
        "down_block_types": ("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        "cross_attention_dim": 64,
        "attention_head_dim": 4,
        "norm_num_groups": 16,
    }
    unet = UNet2DConditionModel(
        sample_size=32,
        in_channels=9,
        out_channels=4,
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        **shared,
    )
    controls = []
    for _ in range(2):
        # The pipeline hands ControlNets the noisy latents alone, without mask and masked picture.
        control = ControlNetModel(in_channels=4, conditioning_embedding_out_channels=(8, 16, 32), **shared)
        # Zero layers protect a pretrained UNet. Ours is not, so they start small but not at zero.
        for name, parameter in control.named_parameters():
            if name.endswith("weight") and not parameter.any():
                nn.init.normal_(parameter, std=0.02)
        controls.append(control)
    return nn.ModuleDict({"unet": unet, "depth": controls[0], "edges": controls[1], "text_encoder": text})


def scheduler() -> DDIMScheduler:
    """Return the scheduler used in training and inference."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


class Crops:
    """Crops of one class with their latents, held in memory."""

    def __init__(self, path: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> None:
        arrays = np.load(path)
        self.depth, self.edges = arrays["depth"], arrays["edges"]
        texts = [str(t) for t in arrays["prompt"]]
        self.tokens = tokenizer(
            texts, padding="max_length", max_length=TEXT_LENGTH, truncation=True, return_tensors="pt"
        ).input_ids
        # Nearest sampling, as the pipeline reduces a mask to latent size.
        self.mask = F.interpolate(torch.from_numpy(arrays["mask"]).float()[:, None], scale_factor=0.25)
        cache = path.with_suffix(".latents.pt")
        if cache.exists():
            stored = torch.load(cache, weights_only=True)
        else:
            stored = {"full": [], "hole": [], "soft": []}
            rng = np.random.default_rng(SEED)
            with torch.inference_mode():
                for start in range(0, len(texts), 64):
                    part = slice(start, start + 64)
                    image = torch.from_numpy(arrays["image"][part]).permute(0, 3, 1, 2).float() / 127.5 - 1
                    hole = image * ~torch.from_numpy(arrays["mask"][part])[:, None]
                    soft = [cv2.GaussianBlur(a, (0, 0), rng.uniform(*SIGMAS)) for a in arrays["image"][part]]
                    soft = torch.from_numpy(np.stack(soft)).permute(0, 3, 1, 2).float() / 127.5 - 1
                    for key, picture in (("full", image), ("hole", hole), ("soft", soft)):
                        stored[key].append(vae.encode(picture).latent_dist.mode() * vae.config.scaling_factor)
            stored = {key: torch.cat(parts) for key, parts in stored.items()}
            torch.save(stored, cache)
        self.full, self.hole, self.soft = stored["full"], stored["hole"], stored["soft"]

    def __len__(self) -> int:
        return len(self.full)

    def batch(self, index: np.ndarray, device: str) -> dict[str, torch.Tensor]:
        """Return the tensors of the crops at ``index``."""
        out = {k: getattr(self, k)[index].to(device) for k in ("full", "hole", "soft", "mask", "tokens")}
        for key in ("depth", "edges"):
            control = torch.from_numpy(getattr(self, key)[index])[:, None].to(device).float() / 255
            out[key] = control.expand(-1, 3, -1, -1)
        return out


def predict(
    nets: nn.ModuleDict, noisy: torch.Tensor, times: torch.Tensor, data: dict[str, torch.Tensor]
) -> torch.Tensor:
    """Return the networks' prediction for noisy latents."""
    text = nets["text_encoder"](data["tokens"])[0]
    down, middle = None, None
    for name in ("depth", "edges"):
        more, mid = nets[name](noisy, times, text, data[name], return_dict=False)
        down = more if down is None else [a + b for a, b in zip(down, more, strict=True)]
        middle = mid if middle is None else middle + mid
    return nets["unet"](
        torch.cat([noisy, data["mask"], data["hole"]], 1),
        times,
        text,
        down_block_additional_residuals=down,
        mid_block_additional_residual=middle,
        return_dict=False,
    )[0]


def loss_of(
    nets: nn.ModuleDict, plan: DDIMScheduler, data: dict[str, torch.Tensor], generator: torch.Generator
) -> torch.Tensor:
    """Return the velocity loss, counted inside the mask with a little of the outside."""
    full, count = data["full"], len(data["full"])
    noise = torch.randn(full.shape, generator=generator).to(full.device)
    times = (20 + (LATEST - 20) * torch.rand(count, generator=generator)).long()
    blurred = (torch.rand(count, generator=generator) < BLURRED) & (times >= BLURRED_FROM)
    times, blurred = times.to(full.device), blurred.to(full.device)
    noisy = plan.add_noise(torch.where(blurred.view(-1, 1, 1, 1), data["soft"], full), noise, times)
    # The velocity that leads from the noisy latents to the sharp picture, whatever they were made from.
    kept = plan.alphas_cumprod.to(full.device)[times].view(-1, 1, 1, 1)
    target = (kept.sqrt() * noisy - full) / (1 - kept).sqrt()
    weight = data["mask"] * 0.95 + 0.05
    error = (predict(nets, noisy, times, data) - target) ** 2 * weight
    return error.sum() / (weight.sum() * 4)


def save(nets: nn.ModuleDict, tokenizer: CLIPTokenizer, out: Path) -> None:
    """Write the diffusers folder in fp16 (the autoencoder is already there)."""
    nets = copy.deepcopy(nets).half()
    for name, folder in FOLDERS.items():
        nets[name].save_pretrained(out / folder)
    tokenizer.save_pretrained(out / "tokenizer")
    scheduler().save_pretrained(out / "scheduler")
    index = {
        "_class_name": "StableDiffusionControlNetInpaintPipeline",
        "controlnet": ["diffusers.models.controlnets.multicontrolnet", "MultiControlNetModel"],
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def main() -> None:
    """Train until the time or the steps are used up; save every few minutes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=Path, default=Path("runs/inpaint"))
    parser.add_argument("--out", type=Path, default=Path("models/embedded/inpaint"))
    parser.add_argument("--minutes", type=float, default=50, help="length of the whole schedule")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--start", type=Path, help="begin with the weights of this diffusers folder")
    args = parser.parse_args()
    torch.manual_seed(SEED)
    tokenizer = build_tokenizer(args.out / "tokenizer")
    vae = AutoencoderKL.from_pretrained(args.out / "vae", torch_dtype=torch.float32).eval()
    data = {name: Crops(args.crops / f"{name}-train.npz", vae, tokenizer) for name in MIX}
    held = {name: Crops(args.crops / f"{name}-val.npz", vae, tokenizer) for name in MIX}
    print({name: (len(data[name]), len(held[name])) for name in MIX}, flush=True)

    nets = build(tokenizer).to(args.device)
    if args.device == "cpu":
        nets = nets.to(memory_format=torch.channels_last)
    average = copy.deepcopy(nets).requires_grad_(False)
    sizes = {k: round(sum(p.numel() for p in v.parameters()) / 1e6, 2) for k, v in nets.items()}
    print("parameters in millions", sizes, flush=True)
    optimiser = torch.optim.AdamW(nets.parameters(), lr=args.rate, weight_decay=1e-2, betas=(0.9, 0.99))
    plan = scheduler()
    checkpoint = args.crops / "checkpoint.pt"
    step, spent = 0, 0.0
    if args.start and not checkpoint.exists():
        for name, folder in FOLDERS.items():
            file = "model" if name == "text_encoder" else "diffusion_pytorch_model"
            state = load_file(args.start / folder / f"{file}.safetensors")
            nets[name].load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
            average[name].load_state_dict(nets[name].state_dict())
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        nets.load_state_dict(state["nets"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["spent"]
    generator = torch.Generator().manual_seed(SEED + step)
    rng = np.random.default_rng(SEED + step)
    names, shares = list(MIX), list(MIX.values())
    begun, total, losses = time.monotonic() - spent, args.minutes * 60, []
    while (spent := time.monotonic() - begun) < total:
        # Warm up, hold, then fall: the schedule follows the clock, so a run ends when it should.
        done = spent / total
        rate = args.rate * min(1.0, (step + 1) / 60) * (1.0 if done < 0.6 else max((1 - done) / 0.4, 0.02))
        for group in optimiser.param_groups:
            group["lr"] = rate
        name = names[rng.choice(len(names), p=shares)]
        picked = rng.integers(len(data[name]), size=args.batch)
        loss = loss_of(nets, plan, data[name].batch(picked, args.device), generator)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(nets.parameters(), 1.0)
        optimiser.step()
        step += 1
        losses.append(loss.item())
        decay = min(EMA_DECAY, (step + 1) / (step + 10))
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), nets.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)
        if step % 100 == 0:
            print(f"step {step} {spent / 60:.1f} min loss {np.mean(losses[-100:]):.4f} rate {rate:.1e}", flush=True)
        if step % 200 == 0:
            state = {"nets": nets.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
            torch.save({**state, "step": step, "spent": time.monotonic() - begun}, checkpoint)
            save(average, tokenizer, args.out)
    save(average, tokenizer, args.out)
    with torch.inference_mode():
        for name, crops in held.items():
            fixed = torch.Generator().manual_seed(1)
            parts = [np.arange(i, min(i + 32, len(crops))) for i in range(0, min(len(crops), 320), 32)]
            figures = [loss_of(average, plan, crops.batch(p, args.device), fixed).item() for p in parts]
            print(f"val {name} loss {np.mean(figures):.4f}")
    print(f"steps {step}, samples {step * args.batch}, {spent / 60:.1f} min")


if __name__ == "__main__":
    main()
