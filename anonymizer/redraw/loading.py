"""Loading diffusion pipelines from folders: which classes, at which precision, in how much memory.

Two families of inpainting pipelines are known:

=======  ============================================  ====================================================
family   pipeline class of diffusers                   ControlNets
=======  ============================================  ====================================================
sd15     ``StableDiffusionControlNetInpaintPipeline``  two ``ControlNetModel``: depth, soft edges
sdxl     ``StableDiffusionXLControlNetUnionInpaint-    one ``ControlNetUnionModel`` for both; the UNet has four
         Pipeline``                                    channels (a nine-channel one is refused by diffusers)
=======  ============================================  ====================================================

Attention runs through torch's scaled_dot_product_attention, which diffusers chooses by itself.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anonymizer.core.errors import InputError, ModelError
from anonymizer.models.third_party import extra

__all__ = ["FAMILIES", "SCHEDULERS", "LoadSettings", "load_pipeline"]

#: Family: pipeline class and how many ControlNet folders it takes.
FAMILIES = {
    "sd15": ("StableDiffusionControlNetInpaintPipeline", 2),
    "sdxl": ("StableDiffusionXLControlNetUnionInpaintPipeline", 1),
}
#: Schedulers a preset may name; the pipeline's own if it names none.
SCHEDULERS = {"unipc": "UniPCMultistepScheduler", "lcm": "LCMScheduler", "dpm++": "DPMSolverMultistepScheduler"}
#: Input channels of the UNet: nine for one trained to inpaint.
CHANNELS = {"sd15": 9, "sdxl": 4}
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How a pipeline is loaded.

    Args:
        family: ``sd15`` or ``sdxl``.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: ``fp32``, ``fp16``, ``bf16`` or ``auto`` (fp16 on a GPU, fp32 on the CPU).
        scheduler: One of ``SCHEDULERS``, or empty for the pipeline's own.
        variant: Precision in the pipeline's file names, e.g. ``fp16``; empty for plain names.
        channels_last: Lay tensors out channels last, which GPUs' convolutions prefer.
        compile: Compile UNet and ControlNets with ``torch.compile``; the first batches take minutes.
        vae_tiling: Decode in tiles: less memory for large crops.
        cpu_offload: Keep on the GPU only the network at work: less memory, more time.
    """

    family: str = "sd15"
    device: str = "cpu"
    dtype: str = "auto"
    scheduler: str = ""
    variant: str = ""
    channels_last: bool = False
    compile: bool = False
    vae_tiling: bool = False
    cpu_offload: bool = False

    def __post_init__(self) -> None:
        for name, known in (
            ("family", FAMILIES),
            ("scheduler", {"": "", **SCHEDULERS}),
            ("dtype", {"auto": "", **DTYPES}),
        ):
            if getattr(self, name) not in known:
                raise InputError(
                    f"{name}: expected one of {', '.join(filter(None, known))}, got {getattr(self, name)!r}"
                )
        if self.cpu_offload and not self.device.startswith("cuda"):
            raise InputError(f"cpu_offload: expected a GPU to offload from, got device {self.device!r}; switch it off")


def load_pipeline(folder: Path, controlnets: Sequence[Path], settings: LoadSettings, lora: Path | None = None) -> Any:
    """Return a diffusers pipeline, ready to paint.

    Args:
        folder: Pipeline folder in diffusers format, safetensors only.
        controlnets: Folders of the ControlNets: depth and edges for ``sd15``, the union for ``sdxl``.
        settings: How to load.
        lora: LoRA file in safetensors, fused into the UNet once; None for none.

    Raises:
        InputError: The number of ControlNets does not fit the family.
        ModelError: A folder does not hold what it should, or the device is not there.
    """
    import torch

    # diffusers builds these modules on first use, so a checker cannot see their names.
    diffusers: Any = importlib.import_module("diffusers")
    # Their loading bars would write over ours.
    for library in ("diffusers", "transformers"):
        importlib.import_module(f"{library}.utils.logging").disable_progress_bar()
    if settings.device.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(f"device {settings.device!r}: no CUDA device is available; use --device cpu")
    name, count = FAMILIES[settings.family]
    if len(controlnets) != count:
        raise InputError(f"controlnets: expected {count} for family {settings.family}, got {len(controlnets)}")
    local = {"dtype": _dtype(settings), "use_safetensors": True, "local_files_only": True}
    variant = {"variant": settings.variant} if settings.variant else {}
    extra = {"safety_checker": None, "requires_safety_checker": False} if settings.family == "sd15" else {}
    try:
        _check_family(folder, settings.family)
        controlnet = _controlnet(diffusers, controlnets, local)
        pipeline = getattr(diffusers, name).from_pretrained(folder, controlnet=controlnet, **extra, **variant, **local)
        if settings.scheduler:
            scheduler = getattr(diffusers, SCHEDULERS[settings.scheduler])
            pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
        if lora is not None:
            _fuse(pipeline, lora)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{folder}: expected a diffusers inpainting pipeline of family {settings.family} with {count} "
            f"ControlNet{'s' if count > 1 else ''}, got {error}; check it with 'anonymizer models verify'"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return _place(pipeline, settings)


def _check_family(folder: Path, family: str) -> None:
    """Raise ValueError if a folder holds another family: diffusers would load what it finds and leave the rest out."""
    index, unet = (json.loads((folder / name).read_text("utf-8")) for name in ("model_index.json", "unet/config.json"))
    kind, channels = str(index["_class_name"]), unet["in_channels"]
    if kind.startswith("StableDiffusionXL") != (family == "sdxl"):
        raise ValueError(f"a {kind}")
    # With four channels the model sees the picture's own latents around the mask, and `diffusion` has to fill it.
    if channels != CHANNELS[family]:
        raise ValueError(f"a UNet of {channels} input channels, not {CHANNELS[family]}")


def _dtype(settings: LoadSettings) -> Any:
    import torch

    name = settings.dtype
    if name == "auto":
        name = "fp16" if settings.device.startswith("cuda") else "fp32"
    return getattr(torch, DTYPES[name])


def _controlnet(diffusers: Any, folders: Sequence[Path], local: dict[str, Any]) -> Any:
    if len(folders) == 1:
        return diffusers.ControlNetUnionModel.from_pretrained(folders[0], **local)
    # A folder saved with two ControlNets names this module; diffusers accepts it only once it is imported.
    several: Any = importlib.import_module("diffusers.models.controlnets.multicontrolnet")
    return several.MultiControlNetModel([diffusers.ControlNetModel.from_pretrained(f, **local) for f in folders])


def _fuse(pipeline: Any, lora: Path) -> None:
    """Add a LoRA to the weights, so that it costs nothing per step."""
    with extra("hub", lora.name):
        importlib.import_module("peft")  # diffusers needs it for this alone and says so in words of its own.
    pipeline.load_lora_weights(lora.parent, weight_name=lora.name, local_files_only=True)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()


def _place(pipeline: Any, settings: LoadSettings) -> Any:
    import torch

    networks = [pipeline.unet, *getattr(pipeline.controlnet, "nets", [pipeline.controlnet])]
    if settings.channels_last:
        for network in (*networks, pipeline.vae):
            network.to(memory_format=torch.channels_last)
    if settings.vae_tiling:
        pipeline.vae.enable_tiling()
    if settings.cpu_offload:
        pipeline.enable_model_cpu_offload(device=settings.device)
    else:
        pipeline.to(settings.device)
    if settings.compile:
        for network in networks:
            # In place: the network keeps its class, which the pipeline looks at.
            network.compile(dynamic=True)
    return pipeline
