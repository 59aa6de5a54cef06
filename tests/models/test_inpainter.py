"""The diffusion core: with random weights of the true classes, and with the embedded weights."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anonymizer.core.errors import ModelError
from anonymizer.models import weights
from anonymizer.redraw.diffusion import DiffusionInpainter, DiffusionSettings, InpaintJob

# diffusers' UniPC scheduler hands NumPy scalars to torch in a way that NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SETTINGS = DiffusionSettings(num_inference_steps=2, guidance_scale=1.0, controlnet_conditioning_scale=(1.0, 1.0))


def job(seed: int, size: tuple[int, int] = (64, 32), hidden: int = 0, prompt: str = "a person") -> InpaintJob:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    mask = np.zeros(size, bool)
    mask[8:-8, 8:-8] = True
    image[mask] = hidden
    zeros = np.zeros(size, np.float32)
    return InpaintJob(image, mask, zeros, zeros, prompt, seed)


@pytest.fixture(scope="module")
def random_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of the class and layout of SD 1.5, reduced and untrained, saved as the hub has it: one ControlNet
    folder each, beside the pipeline."""
    torch, diffusers = importlib.import_module("torch"), importlib.import_module("diffusers")
    transformers = importlib.import_module("transformers")
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sd15")
    blocks = {
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "cross_attention_dim": 32,
    }
    unet = diffusers.UNet2DConditionModel(
        sample_size=16, in_channels=9, up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **blocks
    )
    tokenizer = transformers.CLIPTokenizer.from_pretrained(weights.path("inpaint") / "tokenizer")
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=37,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            projection_dim=32,
        )
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
    )
    pipeline = diffusers.StableDiffusionInpaintPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=diffusers.UniPCMultistepScheduler(steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder / "pipeline")
    for name in ("depth", "softedge"):
        control = diffusers.ControlNetModel(in_channels=4, conditioning_embedding_out_channels=(16, 32), **blocks)
        control.save_pretrained(folder / name)
    return folder


def load(folder: Path, settings: DiffusionSettings = SETTINGS) -> DiffusionInpainter:
    return DiffusionInpainter(folder / "pipeline", (folder / "depth", folder / "softedge"), settings)


def test_a_hub_shaped_pipeline_loads_and_paints(random_folder: Path) -> None:
    guided = DiffusionSettings(2, 7.5, (0.7, 0.1), negative_prompt="blurry", batch_size=2)
    painted = load(random_folder, guided).inpaint([job(1), job(2), job(3, (32, 64))])
    assert [p.shape for p in painted] == [(64, 32, 3), (64, 32, 3), (32, 64, 3)]
    assert all(p.dtype == np.uint8 for p in painted)


def test_a_strength_that_leaves_no_step_is_told(random_folder: Path) -> None:
    few = load(random_folder, DiffusionSettings(1, 1.0, (0.7, 0.1)))
    begun = replace(job(1), start=job(1).image, strength=0.7)
    with pytest.raises(ModelError, match=r"strength 0\.7 of 1 steps is no step"):
        few.inpaint([begun])


def test_seed_decides_and_what_lies_under_the_mask_does_not(random_folder: Path) -> None:
    inpainter = load(random_folder)
    (first,), (same,), (other,) = (inpainter.inpaint([job(n)]) for n in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    (hidden,) = inpainter.inpaint([job(1, hidden=255)])
    assert np.array_equal(first, hidden)


def test_batches_give_what_single_jobs_give(random_folder: Path) -> None:
    inpainter = load(random_folder)
    together = inpainter.inpaint([job(1), job(2)])
    alone = [inpainter.inpaint([job(n)])[0] for n in (1, 2)]
    for a, b in zip(together, alone, strict=True):
        assert np.abs(a.astype(int) - b.astype(int)).max() <= 1


def test_a_folder_without_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected a diffusers inpainting pipeline"):
        DiffusionInpainter(tmp_path, (tmp_path, tmp_path), SETTINGS)


def test_a_device_that_is_not_there_is_refused(random_folder: Path) -> None:
    torch = importlib.import_module("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ModelError, match="no CUDA device"):
        load(random_folder, DiffusionSettings(2, 1.0, (1.0, 1.0), device="cuda"))


def test_the_embedded_inpainter_keeps_the_clothes_it_starts_from() -> None:
    folder = weights.path("inpaint")
    settings = DiffusionSettings(20, 1.0, (1.0, 1.0))
    inpainter = DiffusionInpainter(folder, (folder / "controlnet", folder / "controlnet_1"), settings)
    size = (192, 96)
    image = np.full((*size, 3), 150, np.uint8)
    mask = np.zeros(size, bool)
    mask[20:180, 25:70] = True
    depth, edges = mask * np.float32(0.6), np.zeros(size, np.float32)
    jobs = []
    for word, level in (("white", 215), ("black", 35)):
        start = image.copy()
        start[mask] = level
        jobs.append(
            InpaintJob(image, mask, depth, edges, f"a person, {word} top, {word} bottom", 1, start=start, strength=0.2)
        )
    white, black = inpainter.inpaint(jobs)
    assert white[mask].mean() > black[mask].mean() + 60
    # It is denoised, not copied.
    assert np.abs(white[mask].astype(int) - jobs[0].start[mask]).mean() > 2
