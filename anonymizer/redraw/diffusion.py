"""The diffusion core: masked inpainting held to depth and edge maps, in batches.

Loads any ``StableDiffusionControlNetInpaintPipeline`` folder with two ControlNets (depth, edges): the embedded model
and SD 1.5 go through the same code.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anonymizer.errors import ModelError

__all__ = ["DiffusionInpainter", "DiffusionSettings", "PaintJob"]


@dataclass(frozen=True, slots=True, eq=False)
class PaintJob:
    """One crop to paint.

    Args:
        image: RGB uint8 (h, w, 3), h and w multiples of the model's stride. What lies under the mask never reaches
            the model.
        mask: bool (h, w), pixels to paint.
        depth: float32 (h, w) in [0, 1], 1 nearest.
        edges: float32 (h, w) in [0, 1].
        prompt: What to paint.
        seed: Seed of this crop's noise.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    depth: NDArray[np.float32]
    edges: NDArray[np.float32]
    prompt: str
    seed: int


@dataclass(frozen=True, slots=True)
class DiffusionSettings:
    """How the pipeline samples; names as in diffusers.

    Args:
        num_inference_steps: Denoising steps.
        guidance_scale: Classifier-free guidance; 1.0 switches it off.
        controlnet_conditioning_scale: Strengths of depth and edges.
        negative_prompt: What not to paint; used only with guidance.
        batch_size: Crops painted at once.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
    """

    num_inference_steps: int
    guidance_scale: float
    controlnet_conditioning_scale: tuple[float, float]
    negative_prompt: str = ""
    batch_size: int = 8
    device: str = "cpu"


class DiffusionInpainter:
    """Paints crops with a latent-diffusion inpainting model and two ControlNets.

    Always from pure noise (``strength`` 1.0): the original's latents never enter the painted region.

    Args:
        folder: Pipeline folder in diffusers format, safetensors only.
        controlnets: Folders of the depth and the edge ControlNet.
        settings: How to sample.

    Raises:
        ModelError: The folder does not hold such a pipeline, or the device is not there.

    Source:
        Latent diffusion inpainting, arXiv 2112.10752; ControlNet, arXiv 2302.05543.
    """

    def __init__(self, folder: Path, controlnets: tuple[Path, Path], settings: DiffusionSettings) -> None:
        import torch

        # diffusers builds these modules on first use, so a checker cannot see their names.
        diffusers: Any = importlib.import_module("diffusers")
        # A folder saved with two ControlNets names this module; diffusers accepts it only once it is imported.
        several: Any = importlib.import_module("diffusers.models.controlnets.multicontrolnet")

        # Their loading bars would write over ours.
        for library in ("diffusers", "transformers"):
            importlib.import_module(f"{library}.utils.logging").disable_progress_bar()
        self._torch = torch
        self.settings = settings
        if settings.device.startswith("cuda") and not torch.cuda.is_available():
            raise ModelError(f"device {settings.device!r}: no CUDA device is available; use --device cpu")
        dtype = torch.float16 if settings.device.startswith("cuda") else torch.float32
        local = {"dtype": dtype, "use_safetensors": True, "local_files_only": True}
        try:
            controls = [diffusers.ControlNetModel.from_pretrained(path, **local) for path in controlnets]
            pipeline = diffusers.StableDiffusionControlNetInpaintPipeline.from_pretrained(
                folder,
                controlnet=several.MultiControlNetModel(controls),
                safety_checker=None,
                requires_safety_checker=False,
                **local,
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"{folder}: expected a diffusers inpainting pipeline with two ControlNets, got {error}; "
                "check it with 'anonymizer models verify'"
            ) from error
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline = pipeline.to(settings.device)

    def paint(self, jobs: Sequence[PaintJob]) -> list[NDArray[np.uint8]]:
        """Return the painted crops, RGB uint8 (h, w, 3) each, in the order of the jobs.

        Jobs of equal size are painted together, up to ``batch_size`` at once.
        """
        out: list[NDArray[np.uint8] | None] = [None] * len(jobs)
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, job in enumerate(jobs):
            by_size.setdefault((job.image.shape[0], job.image.shape[1]), []).append(index)
        for indices in by_size.values():
            for start in range(0, len(indices), self.settings.batch_size):
                part = indices[start : start + self.settings.batch_size]
                for index, painted in zip(part, self._paint_batch([jobs[i] for i in part]), strict=True):
                    out[index] = painted
        return [painted for painted in out if painted is not None]

    def _paint_batch(self, jobs: Sequence[PaintJob]) -> NDArray[np.uint8]:
        torch, settings = self._torch, self.settings

        def stack(arrays: list[NDArray[Any]]) -> Any:
            return torch.from_numpy(np.stack(arrays).astype(np.float32))

        image = stack([job.image for job in jobs]).permute(0, 3, 1, 2) / 255  # (N, h, w, 3) -> (N, 3, h, w)
        mask = stack([job.mask for job in jobs])[:, None]  # (N, 1, h, w)
        controls = [
            stack([getattr(job, name) for job in jobs])[:, None].expand(-1, 3, -1, -1) for name in ("depth", "edges")
        ]
        guided = settings.guidance_scale > 1
        with torch.inference_mode():
            painted = self._pipeline(
                prompt=[job.prompt for job in jobs],
                negative_prompt=[settings.negative_prompt] * len(jobs) if guided else None,
                image=image,
                mask_image=mask,
                control_image=controls,
                height=image.shape[2],
                width=image.shape[3],
                strength=1.0,
                num_inference_steps=settings.num_inference_steps,
                guidance_scale=settings.guidance_scale,
                controlnet_conditioning_scale=list(settings.controlnet_conditioning_scale),
                generator=[torch.Generator("cpu").manual_seed(job.seed) for job in jobs],
                output_type="np",
            ).images  # float32 (N, h, w, 3) in [0, 1]
        if not np.isfinite(painted).all():
            raise ModelError("inpainter: expected finite pixels, got NaN or infinity; try --device cpu")
        return np.rint(np.clip(painted, 0, 1) * 255).astype(np.uint8)
