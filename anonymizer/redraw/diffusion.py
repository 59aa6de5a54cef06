"""The diffusion core: masked inpainting held to depth and edge maps, in batches.

The embedded model, SD 1.5 and SDXL go through the same code; ``loading`` knows how they differ as files, ``batching``
how many crops fit at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import ModelError
from anonymizer.redraw.batching import Packer
from anonymizer.redraw.crops import continued
from anonymizer.redraw.loading import LoadSettings, load_pipeline

__all__ = ["DiffusionInpainter", "DiffusionSettings", "InpaintJob", "TextCache"]

#: What the union ControlNet calls depth and soft edges (HED, PiDiNet).
DEPTH_MODE, EDGE_MODE = 1, 2
#: Prompts remembered; 128 of SDXL take about 40 MB.
REMEMBERED = 128


@dataclass(frozen=True, slots=True, eq=False)
class InpaintJob:
    """One crop to paint.

    Args:
        image: RGB uint8 (h, w, 3), h and w multiples of the model's stride. What lies under the mask never reaches
            the model.
        mask: bool (h, w), pixels to paint.
        depth: float32 (h, w) in [0, 1], 1 nearest.
        edges: float32 (h, w) in [0, 1].
        prompt: What to paint.
        seed: Seed of this crop's noise.
        start: RGB uint8 (h, w, 3), ``image`` with a prototype under the mask (see ``prototypes``), or None to start
            from pure noise. It must hold nothing of the original under the mask.
        strength: Share of the noise schedule a prototype passes through, in (0, 1]; 1.0 without one.
        guidance_scale: Classifier-free guidance of this crop; the inpainter's if None.
        scales: Strengths of depth and edges for this crop; the inpainter's if None.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    depth: NDArray[np.float32]
    edges: NDArray[np.float32]
    prompt: str
    seed: int
    start: NDArray[np.uint8] | None = None
    strength: float = 1.0
    guidance_scale: float | None = None
    scales: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class DiffusionSettings:
    """How the pipeline samples; names as in diffusers.

    Args:
        num_inference_steps: Denoising steps.
        guidance_scale: Classifier-free guidance; 1.0 switches it off.
        controlnet_conditioning_scale: Strengths of depth and edges.
        negative_prompt: What not to paint; used only with guidance.
        batch_size: Crops painted at once, to begin with.
        batch_limit: Crops painted at once at most: batches grow up to it while memory lasts. 0: they do not grow.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
    """

    num_inference_steps: int
    guidance_scale: float
    controlnet_conditioning_scale: tuple[float, float]
    negative_prompt: str = ""
    batch_size: int = 8
    device: str = "cpu"
    batch_limit: int = 0


class DiffusionInpainter:
    """Paints crops with a latent-diffusion inpainting model and two ControlNets.

    From pure noise (``strength`` 1.0) or from a noised prototype: the original's latents never enter the painted
    region.

    Args:
        folder: Pipeline folder in diffusers format, safetensors only.
        controlnets: Folders of the ControlNets: of depth and edges, or of the one for both.
        settings: How to sample.
        load: How to load; if None, as SD 1.5 on the settings' device.
        lora: LoRA file to fuse, or None.

    Attributes:
        stride: Side of a cell of the latent space in pixels.

    Raises:
        InputError: The number of ControlNets does not fit the family.
        ModelError: The folder does not hold such a pipeline, or the device is not there.

    Source:
        Latent diffusion inpainting, arXiv 2112.10752; ControlNet, arXiv 2302.05543.
    """

    def __init__(
        self,
        folder: Path,
        controlnets: Sequence[Path],
        settings: DiffusionSettings,
        load: LoadSettings | None = None,
        lora: Path | None = None,
    ) -> None:
        import torch

        self._torch = torch
        self.settings = settings
        loading = load or LoadSettings(device=settings.device)
        self._union = loading.family == "sdxl"
        self._pipeline = load_pipeline(folder, controlnets, loading, lora)
        self.stride = int(self._pipeline.vae_scale_factor)
        self._texts = TextCache(self._pipeline, loading.family, settings.negative_prompt)
        self._packer = Packer(settings.batch_size, settings.batch_limit)

    def inpaint(self, jobs: Sequence[InpaintJob]) -> list[NDArray[np.uint8]]:
        """Return the painted crops, RGB uint8 (h, w, 3) each, in the order of the jobs.

        Jobs of equal size and settings are painted together. A job's result depends on its own content and seed; in
        another batch it differs by rounding only.
        """
        return self._packer.run(jobs, self._kind, self._paint_batch)

    def _kind(self, job: InpaintJob) -> tuple[tuple[int, ...], float, float, tuple[float, float]]:
        """Return what one run of the pipeline has a single value for."""
        guidance = self.settings.guidance_scale if job.guidance_scale is None else job.guidance_scale
        return job.mask.shape, job.strength, guidance, job.scales or self.settings.controlnet_conditioning_scale

    def _paint_batch(self, jobs: Sequence[InpaintJob]) -> Sequence[NDArray[np.uint8]]:
        torch, settings = self._torch, self.settings
        _, strength, guidance, scales = self._kind(jobs[0])
        if int(settings.num_inference_steps * strength) < 1:
            raise ModelError(
                f"inpainter: strength {strength:g} of {settings.num_inference_steps} steps is no step; raise "
                "redraw.steps or redraw.strength"
            )

        def stack(arrays: list[NDArray[Any]]) -> Any:
            return torch.from_numpy(np.stack(arrays).astype(np.float32))

        # The pipeline blanks what lies under the mask for the model; only the start of the denoising sees a prototype.
        shown = [_shown(job, self._union) for job in jobs]
        image = stack(shown).permute(0, 3, 1, 2) / 255  # (N, h, w, 3) -> (N, 3, h, w)
        mask = stack([job.mask for job in jobs])[:, None]  # (N, 1, h, w)
        controls = [
            stack([getattr(job, name) for job in jobs])[:, None].expand(-1, 3, -1, -1) for name in ("depth", "edges")
        ]
        # The control types of the union network, in the order of the maps.
        union = {"control_mode": [DEPTH_MODE, EDGE_MODE]} if self._union else {}
        with torch.inference_mode():
            painted = self._pipeline(
                **self._texts.embed([job.prompt for job in jobs], guidance > 1),
                **union,
                image=image,
                mask_image=mask,
                control_image=controls,
                height=image.shape[2],
                width=image.shape[3],
                strength=strength,
                num_inference_steps=settings.num_inference_steps,
                guidance_scale=guidance,
                controlnet_conditioning_scale=list(scales),
                generator=[torch.Generator("cpu").manual_seed(job.seed) for job in jobs],
                output_type="np",
            ).images  # float32 (N, h, w, 3) in [0, 1]
        if not np.isfinite(painted).all():
            raise ModelError("inpainter: expected finite pixels, got NaN or infinity; try --device cpu")
        return np.rint(np.clip(painted, 0, 1) * 255).astype(np.uint8)


def _shown(job: InpaintJob, fill: bool) -> NDArray[np.uint8]:
    """Return the picture a pipeline is given, RGB uint8 (h, w, 3): with a prototype, or with the mask filled.

    The nine-channel pipelines blank what lies under the mask by themselves. The others encode the whole picture, so
    here the masked part takes on blurred colours of what surrounds it; no pixel under the mask is read.
    """
    if job.start is not None:
        return job.start
    if not fill:
        return job.image
    return np.rint(continued(job.image, job.mask)).astype(np.uint8)


class TextCache:
    """Encodes prompts with a pipeline's text encoders and remembers the result.

    Args:
        pipeline: A pipeline of diffusers.
        family: Its family, see ``loading``.
        negative_prompt: What not to paint; used with guidance only.
    """

    def __init__(self, pipeline: Any, family: str, negative_prompt: str) -> None:
        self._pipeline = pipeline
        self._names: tuple[str, ...] = ("prompt_embeds", "negative_prompt_embeds")
        if family == "sdxl":
            self._names += ("pooled_prompt_embeds", "negative_pooled_prompt_embeds")
        self._negative = negative_prompt
        self._known: OrderedDict[tuple[str, bool], tuple[Any, ...]] = OrderedDict()

    def embed(self, prompts: Sequence[str], guided: bool) -> dict[str, Any]:
        """Return the pipeline's arguments that stand for prompts: tensors with one row each.

        Args:
            prompts: One per crop.
            guided: Whether classifier-free guidance needs the negative prompt, too.
        """
        import torch

        rows = [self._row(prompt, guided) for prompt in prompts]
        columns = zip(self._names, zip(*rows, strict=True), strict=True)
        return {name: torch.cat(parts) for name, parts in columns if parts[0] is not None}

    def _row(self, prompt: str, guided: bool) -> tuple[Any, ...]:
        key = prompt, guided
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        row = self._pipeline.encode_prompt(
            prompt=prompt,
            device=self._pipeline._execution_device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=guided,
            negative_prompt=self._negative if guided else None,
        )
        # Without guidance SDXL returns negatives all the same; a batch must not carry what is not used.
        kept = tuple(
            part if guided or not name.startswith("negative") else None
            for name, part in zip(self._names, row, strict=True)
        )
        self._known[key] = kept
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return kept
