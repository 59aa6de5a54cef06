"""The embedded inpainter on ONNX Runtime: the same steps as diffusers' pipeline, without importing torch.

Importing torch, diffusers and transformers takes seconds, which a few small pictures do not pay back. The graphs lie
beside the pipeline's parts and name their weights, which come from the parts' safetensors: one copy of each serves
both. ``models/training/export_inpaint.py`` makes the graphs and the embeddings of all prompts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError, ModelError
from anonymizer.models.onnx import open_session
from anonymizer.redraw.batching import Packer
from anonymizer.redraw.diffusion import DiffusionSettings, InpaintJob

__all__ = ["GRAPHS", "MADE_FROM", "PARTS", "Ddim", "ExportedInpainter", "Noise", "is_exported", "sources"]

Floats = NDArray[np.float32]

#: Files in the folder ``onnx`` by what they hold.
GRAPHS = {
    "encoder": "encoder.onnx",
    "denoiser": "denoiser.onnx",
    "decoder": "decoder.onnx",
    "prompts": "prompts.safetensors",
}
#: Parts of the pipeline by the network that is made of them.
PARTS = {"encoder": ("vae",), "decoder": ("vae",), "denoiser": ("unet", "controlnet", "controlnet_1")}
#: How the names of a network's weights begin in its graph.
OWN = {
    "encoder": ("vae.encoder.", "vae.quant_conv."),
    "decoder": ("vae.decoder.", "vae.post_quant_conv."),
    "denoiser": ("unet.", "controlnet.", "controlnet_1."),
}
#: Name under which a file says what it was made from.
MADE_FROM = "made_from"
REMEDY = "run: python models/training/export_inpaint.py"
#: Values that torch's generator makes normal at once.
BLOCK = 16


def is_exported(folder: Path) -> bool:
    """Return whether a pipeline folder holds graphs beside its parts."""
    return (folder / "onnx").is_dir()


def sources(folder: Path) -> dict[str, str]:
    """Return the sha256 of what each graph and the embeddings are made from, by the names of ``GRAPHS``.

    Graphs depend on the shapes of networks, embeddings on the text encoder's weights and on the tokenizer.
    """
    files = {name: [folder / part / "config.json" for part in parts] for name, parts in PARTS.items()}
    files["prompts"] = [folder / "text_encoder" / "model.safetensors", folder / "tokenizer" / "tokenizer.json"]
    return {name: hashlib.sha256(b"".join(p.read_bytes() for p in paths)).hexdigest() for name, paths in files.items()}


class Noise:
    """Normal random numbers as ``torch.Generator("cpu")`` gives them, within rounding of single precision.

    Args:
        seed: Its lower 32 bits count, as for torch.

    Source:
        Mersenne Twister and Box-Muller as in ATen's ``CPUGeneratorImpl`` and ``normal_fill``.
    """

    def __init__(self, seed: int) -> None:
        self._random = np.random.RandomState(seed & 0xFFFFFFFF)

    def draw(self, shape: tuple[int, ...]) -> Floats:
        """Return float32 of a shape with at least 16 values."""
        count = int(np.prod(shape))
        if count < BLOCK:
            raise InputError(f"noise: expected at least {BLOCK} values, got {count}; paint crops of 8 pixels or more")
        values = self._uniform(count)
        whole = count - count % BLOCK
        values[:whole] = _normal(values[:whole])
        if whole < count:
            # torch draws the last sixteen anew.
            values[-BLOCK:] = _normal(self._uniform(BLOCK))
        return values.reshape(shape)

    def _uniform(self, count: int) -> Floats:
        bits = self._random.randint(0, 1 << 32, count, dtype=np.uint32)
        return (bits & np.uint32(0xFFFFFF)).astype(np.float32) * np.float32(2.0**-24)


def _normal(uniform: Floats) -> Floats:
    pairs = uniform.reshape(-1, 2, BLOCK // 2)
    radius = np.sqrt(-2 * np.log(1 - pairs[:, 0]))
    angle = np.float32(2 * np.pi) * pairs[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32).reshape(-1)


class Ddim:
    """Schedule and steps of DDIM for velocity prediction, as diffusers' ``DDIMScheduler`` with trailing times.

    Args:
        config: The scheduler's configuration.

    Raises:
        ModelError: It is another scheduler than this one.

    Source:
        DDIM, arXiv 2010.02502; velocity, arXiv 2202.00512; zero terminal SNR and trailing times, arXiv 2305.08891.
    """

    EXPECTED: Mapping[str, Any] = {
        "_class_name": "DDIMScheduler",
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "set_alpha_to_one": True,
        "thresholding": False,
        "timestep_spacing": "trailing",
        "trained_betas": None,
    }

    def __init__(self, config: Mapping[str, Any]) -> None:
        other = {name: config.get(name) for name, value in self.EXPECTED.items() if config.get(name) != value}
        if other:
            wanted = {name: self.EXPECTED[name] for name in other}
            raise ModelError(f"inpainter: expected a scheduler with {wanted}, got {other}; {REMEDY}")
        self._count = int(config["num_train_timesteps"])
        betas = np.linspace(config["beta_start"] ** 0.5, config["beta_end"] ** 0.5, self._count) ** 2
        root = np.sqrt(np.cumprod(1 - betas))
        # The last step is pure noise; the first stays as it was.
        root = (root - root[-1]) * root[0] / (root[0] - root[-1])
        self._kept = root**2

    def times(self, steps: int, strength: float) -> list[int]:
        """Return the times that a start of a strength passes through, falling.

        Raises:
            InputError: Not one of the steps is left.
        """
        every = np.round(np.arange(self._count, 0, -self._count / steps)).astype(int) - 1
        left = min(int(steps * strength), steps)
        if left < 1:
            raise InputError(f"strength: expected at least 1 of {steps} steps, got {strength}; raise it or the steps")
        return [int(time) for time in every[steps - left :]]

    def noised(self, latents: Floats, noise: Floats, time: int) -> Floats:
        """Return latents with the noise of a time."""
        kept = self._kept[time]
        return (np.sqrt(kept) * latents + np.sqrt(1 - kept) * noise).astype(np.float32)

    def step(self, velocity: Floats, time: int, latents: Floats, steps: int) -> Floats:
        """Return latents one of ``steps`` steps earlier than ``time``."""
        before = time - self._count // steps
        kept, then = self._kept[time], self._kept[before] if before >= 0 else 1.0
        clean = np.sqrt(kept) * latents - np.sqrt(1 - kept) * velocity
        noise = np.sqrt(kept) * velocity + np.sqrt(1 - kept) * latents
        return (np.sqrt(then) * clean + np.sqrt(1 - then) * noise).astype(np.float32)


class ExportedInpainter:
    """Paints crops as ``diffusion.DiffusionInpainter`` does with the same folder, on a CPU and without guidance.

    Args:
        folder: Pipeline folder in diffusers format with two ControlNets and the folder ``onnx``.
        settings: How to sample; crops are painted one by one.

    Attributes:
        stride: Side of a cell of the latent space in pixels.

    Raises:
        ModelError: A file is missing, or was made from others than those in the folder.
    """

    def __init__(self, folder: Path, settings: DiffusionSettings) -> None:
        if settings.guidance_scale > 1:
            raise InputError(f"guidance_scale: expected 1 without torch, got {settings.guidance_scale}")
        self.settings = settings
        noted = sources(folder)
        weights: dict[str, Floats] = {}
        for part in dict.fromkeys(part for parts in PARTS.values() for part in parts):
            weights |= _weights(folder, part)
        self._networks = {name: _Network(folder, name, weights, noted[name]) for name in PARTS}
        self._prompts = _prompts(folder, noted["prompts"])
        self._schedule = Ddim(_json(folder / "scheduler" / "scheduler_config.json"))
        vae = _json(folder / "vae" / "config.json")
        self._scale = np.float32(vae["scaling_factor"])
        self.stride = 2 ** (len(vae["block_out_channels"]) - 1)
        # On a CPU batches are no faster (0.42 s a crop of 384x192 alone, 0.49 s of four at once) and take more memory.
        self._packer = Packer(1, 1)

    def inpaint(self, jobs: Sequence[InpaintJob]) -> list[NDArray[np.uint8]]:
        """Return the painted crops, RGB uint8 (h, w, 3) each, in the order of the jobs.

        Raises:
            ModelError: A prompt that the folder has no embedding of, or pixels that are not finite.
        """
        return self._packer.run(jobs, self._kind, self._paint_batch)

    def _kind(self, job: InpaintJob) -> tuple[tuple[int, ...], float, tuple[float, float]]:
        if job.guidance_scale is not None and job.guidance_scale > 1:
            raise InputError(f"guidance_scale: expected 1 without torch, got {job.guidance_scale}")
        return job.mask.shape, job.strength, job.scales or self.settings.controlnet_conditioning_scale

    def _paint_batch(self, jobs: Sequence[InpaintJob]) -> Sequence[NDArray[np.uint8]]:
        size, strength, scales = self._kind(jobs[0])
        steps, schedule = self.settings.num_inference_steps, self._schedule
        masks = np.stack([job.mask for job in jobs])[:, None]  # (N, 1, h, w)
        shown = np.stack([job.image if job.start is None else job.start for job in jobs])
        image = np.ascontiguousarray(shown.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(127.5) - 1
        maps = {name: np.stack([getattr(job, name) for job in jobs])[:, None] for name in ("depth", "edges")}
        text = np.stack([self._embedding(job.prompt) for job in jobs])
        times = schedule.times(steps, strength)
        # Each crop draws from its own generator, in the order in which the pipeline does.
        random = [Noise(job.seed) for job in jobs]
        cells = size[0] // self.stride, size[1] // self.stride
        begun = self._encode(image, random) if strength < 1 else None
        noise = np.stack([each.draw((4, *cells)) for each in random])
        latents = noise if begun is None else schedule.noised(begun, noise, times[0])
        hidden = self._encode(image * ~masks, random)
        # Masks shrink by their nearest pixel.
        small = masks[:, :, :: self.stride, :: self.stride].astype(np.float32)
        for time in times:
            velocity = self._run(
                "denoiser",
                sample=np.concatenate([latents, small, hidden], axis=1),
                time=np.array(time, np.int64),
                text=text,
                scales=np.array(scales, np.float32),
                **maps,
            )
            latents = schedule.step(velocity, time, latents, steps)
        painted = self._run("decoder", latents=latents / self._scale).transpose(0, 2, 3, 1)
        if not np.isfinite(painted).all():
            raise ModelError("inpainter: expected finite pixels, got NaN or infinity; run `anonymizer models verify`")
        return list(np.rint(np.clip(painted / 2 + np.float32(0.5), 0, 1) * 255).astype(np.uint8))

    def _encode(self, image: Floats, random: Sequence[Noise]) -> Floats:
        """Return latents drawn from what the encoder makes of pictures (N, 3, h, w) in [-1, 1]."""
        mean, spread = np.split(self._run("encoder", image=image), 2, axis=1)
        noise = np.stack([each.draw(mean.shape[1:]) for each in random])
        return (self._scale * (mean + np.exp(np.clip(spread, -30, 20) / 2) * noise)).astype(np.float32)

    def _run(self, network: str, **inputs: NDArray[Any]) -> Floats:
        return self._networks[network](inputs)

    def _embedding(self, prompt: str) -> Floats:
        if prompt not in self._prompts:
            raise ModelError(f"inpainter: expected one of {len(self._prompts)} known prompts, got {prompt!r}; {REMEDY}")
        return self._prompts[prompt]


class _Network:
    """A graph with its weights, which the session reads where they lie: they live as long as it does."""

    def __init__(self, folder: Path, name: str, weights: Mapping[str, Floats], made_from: str) -> None:
        self._weights = {key: value for key, value in weights.items() if key.startswith(OWN[name])}
        self._session = open_session(folder / "onnx" / GRAPHS[name], f"inpainter, {name}", weights=self._weights)
        if self._session.get_modelmeta().custom_metadata_map.get(MADE_FROM) != made_from:
            raise ModelError(f"inpainter: {GRAPHS[name]} was made from other networks than those in {folder}; {REMEDY}")

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Floats:
        return np.asarray(self._session.run(None, dict(inputs))[0])


def _weights(folder: Path, part: str) -> dict[str, Floats]:
    """Return the weights of a part, named ``part.name``."""
    from safetensors.numpy import load_file

    file = folder / part / "diffusion_pytorch_model.safetensors"
    try:
        return {f"{part}.{name}": value.astype(np.float32) for name, value in load_file(file).items()}
    except (OSError, ValueError) as error:
        raise ModelError(
            f"inpainter: expected weights at {file}, got {error}; run `anonymizer models verify`"
        ) from error


def _prompts(folder: Path, made_from: str) -> dict[str, Floats]:
    """Return embeddings float32 (tokens, width) by prompt."""
    from safetensors import safe_open

    file = folder / "onnx" / GRAPHS["prompts"]
    try:
        with safe_open(file, "numpy") as opened:
            about, rows = opened.metadata(), opened.get_tensor("embeddings").astype(np.float32)
    except (OSError, ValueError) as error:
        raise ModelError(f"inpainter: expected embeddings of prompts at {file}, got {error}; {REMEDY}") from error
    if about.get(MADE_FROM) != made_from:
        raise ModelError(f"inpainter: {file} was made from another text encoder than the one in {folder}; {REMEDY}")
    return dict(zip(json.loads(about["prompts"]), rows, strict=True))


def _json(file: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return read
