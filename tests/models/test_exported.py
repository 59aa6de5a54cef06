"""The embedded inpainter on ONNX Runtime: the pictures of diffusers' pipeline, and refusals of what is stale."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from anonymizer import cli
from anonymizer.cli import doctor
from anonymizer.config import factory, read_preset, requirements
from anonymizer.config.presets import tables
from anonymizer.core.errors import InputError, ModelError
from anonymizer.models import weights
from anonymizer.redraw.diffusion import DiffusionInpainter, DiffusionSettings, InpaintJob
from anonymizer.redraw.exported import Ddim, ExportedInpainter, Noise
from anonymizer.redraw.prompts import every_prompt, prompt, random_clothes

SETTINGS = DiffusionSettings(num_inference_steps=10, guidance_scale=1.0, controlnet_conditioning_scale=(1.0, 0.5))


def job(seed: int, strength: float, size: tuple[int, int] = (96, 64), words: str = "a person") -> InpaintJob:
    rng = np.random.default_rng(seed)
    image = np.kron(rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    mask = np.zeros(size, bool)
    mask[9:-13, 11:-7] = True
    depth, edges = rng.random((2, *size), np.float32)
    return InpaintJob(image, mask, depth, edges, words, seed, start=image if strength < 1 else None, strength=strength)


@pytest.fixture(scope="module")
def exported() -> ExportedInpainter:
    return ExportedInpainter(weights.path("inpaint"), SETTINGS)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(weights.path("inpaint"), tmp_path / "inpaint"))


@pytest.mark.parametrize("shape", [(4, 4, 4), (4, 24, 12), (1, 3, 9), (16,), (17,)])
def test_noise_is_that_of_torch(shape: tuple[int, ...]) -> None:
    torch = importlib.import_module("torch")
    for seed in (0, 7, 2**63 - 1):
        theirs, ours = torch.Generator("cpu").manual_seed(seed), Noise(seed)
        for _ in range(3):
            expected = torch.randn(shape, generator=theirs).numpy()
            assert np.allclose(ours.draw(shape), expected, atol=1e-5)


def test_too_little_noise_is_refused() -> None:
    with pytest.raises(InputError, match="at least 16"):
        Noise(1).draw((3, 5))


@pytest.mark.parametrize(("steps", "strength"), [(10, 0.1), (10, 0.3), (20, 0.5), (4, 1.0)])
def test_steps_are_those_of_diffusers(steps: int, strength: float) -> None:
    torch, diffusers = importlib.import_module("torch"), importlib.import_module("diffusers")
    config = json.loads((weights.path("inpaint") / "scheduler" / "scheduler_config.json").read_text())
    theirs, ours = diffusers.DDIMScheduler.from_config(config), Ddim(config)
    theirs.set_timesteps(steps)
    times = ours.times(steps, strength)
    assert times == theirs.timesteps.tolist()[steps - round(steps * strength) :]
    rng = np.random.default_rng(0)
    latents, noise, velocity = rng.standard_normal((3, 2, 4, 6, 5)).astype(np.float32)
    there = [torch.from_numpy(part) for part in (latents, noise, velocity)]
    begun = theirs.add_noise(there[0], there[1], torch.tensor([times[0]] * 2))
    assert np.allclose(ours.noised(latents, noise, times[0]), begun.numpy(), atol=1e-4)
    for time in times:
        expected = theirs.step(there[2], time, there[0], return_dict=False)[0]
        assert np.allclose(ours.step(velocity, time, latents, steps), expected.numpy(), atol=1e-4)


def test_a_strength_without_a_step_is_refused() -> None:
    config = json.loads((weights.path("inpaint") / "scheduler" / "scheduler_config.json").read_text())
    with pytest.raises(InputError, match="expected at least 1 of 10 steps"):
        Ddim(config).times(10, 0.05)


def test_another_scheduler_is_refused() -> None:
    config = json.loads((weights.path("inpaint") / "scheduler" / "scheduler_config.json").read_text())
    with pytest.raises(ModelError, match="'prediction_type': 'epsilon'"):
        Ddim(config | {"prediction_type": "epsilon"})


def test_crops_are_those_of_the_pipeline(exported: ExportedInpainter) -> None:
    folder = weights.path("inpaint")
    stock = DiffusionInpainter(folder, (folder / "controlnet", folder / "controlnet_1"), SETTINGS)
    jobs = [job(1, 0.1), job(2, 0.1), job(3, 0.5, (64, 64), "a face"), job(4, 1.0, (64, 128), "a license plate")]
    jobs.append(replace(job(5, 0.3, words="a person, red top, black bottom"), scales=(0.2, 0.9)))
    for ours, theirs in zip(exported.inpaint(jobs), stock.inpaint(jobs), strict=True):
        assert ours.shape == theirs.shape and ours.dtype == np.uint8
        assert np.abs(ours.astype(int) - theirs).max() <= 2


def test_every_prompt_has_an_embedding(exported: ExportedInpainter) -> None:
    rng = np.random.default_rng(0)
    said = {prompt("person", *random_clothes(rng)) for _ in range(2000)} | {prompt(name) for name in ("person", "face")}
    assert said <= set(every_prompt())
    assert set(every_prompt()) <= set(exported._prompts)


def test_another_prompt_is_refused(exported: ExportedInpainter) -> None:
    with pytest.raises(ModelError, match="known prompts, got 'a horse'"):
        exported.inpaint([job(1, 0.1, words="a horse")])


def test_guidance_is_refused(exported: ExportedInpainter) -> None:
    with pytest.raises(InputError, match="guidance_scale: expected 1"):
        exported.inpaint([replace(job(1, 0.1), guidance_scale=7.0)])
    with pytest.raises(InputError, match="guidance_scale: expected 1"):
        ExportedInpainter(weights.path("inpaint"), replace(SETTINGS, guidance_scale=2.0))


def test_new_weights_are_taken_without_a_new_graph(copied: Path, exported: ExportedInpainter) -> None:
    file = copied / "vae" / "diffusion_pytorch_model.safetensors"
    changed = load_file(file)
    changed["decoder.conv_out.bias"] = changed["decoder.conv_out.bias"] + np.float16(0.5)
    save_file(changed, str(file))
    (old,), (new,) = (inpainter.inpaint([job(1, 0.1)]) for inpainter in (exported, ExportedInpainter(copied, SETTINGS)))
    assert (new.astype(int) - old).mean() > 20


def test_weights_of_another_shape_are_refused(copied: Path) -> None:
    file = copied / "vae" / "diffusion_pytorch_model.safetensors"
    changed = load_file(file)
    changed["decoder.conv_out.bias"] = changed["decoder.conv_out.bias"][:2]
    save_file(changed, str(file))
    with pytest.raises(ModelError, match="inpainter, decoder"):
        ExportedInpainter(copied, SETTINGS)


def test_a_lacking_weight_is_refused(copied: Path) -> None:
    file = copied / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({name: value for name, value in load_file(file).items() if name != "decoder.conv_out.bias"}, str(file))
    with pytest.raises(ModelError, match="inpainter, decoder"):
        ExportedInpainter(copied, SETTINGS)


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_what_was_made_from_something_else_is_refused(copied: Path, part: str) -> None:
    if part == "unet":
        file = copied / "unet" / "config.json"
        file.write_text(file.read_text().replace("48", "32"))
    else:
        file = copied / "text_encoder" / "model.safetensors"
        save_file({name: value + 1 for name, value in load_file(file).items()}, str(file))
    with pytest.raises(ModelError, match=r"was made from (other networks|another text encoder).*export_inpaint\.py"):
        ExportedInpainter(copied, SETTINGS)


def test_the_embedded_preset_runs_without_the_packages_of_extras() -> None:
    code = (
        "import sys\n"
        # An import of a name that stands for None fails as if the package were not installed.
        "sys.modules |= dict.fromkeys(('torch', 'torchvision', 'diffusers', 'transformers', 'accelerate', 'sklearn',\n"
        "    'huggingface_hub', 'ultralytics', 'insightface', 'fsspec'))\n"
        "import numpy, anonymizer\n"
        "made = anonymizer.Anonymizer.from_preset('embedded', seed=1)\n"
        "result = made(numpy.full((64, 96, 3), 120, numpy.uint8))\n"
        "print(sorted(result.provenance['versions']))\n"
        "try:\n"
        "    anonymizer.Anonymizer.from_preset('embedded', device='cuda')\n"
        "except anonymizer.ModelError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    versions, refusal = done.stdout.splitlines()
    assert versions == "['anonymizer', 'numpy', 'onnxruntime', 'opencv-python', 'rapidocr']"
    assert "expected the package torch" in refusal and "anonymizer[hub]" in refusal


def test_what_runs_torch_is_refused_without_it_and_names_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert requirements.check_packages("embedded", needs_torch=False) == ()
    assert requirements.check_packages("sd15", needs_torch=True) == requirements.TORCH
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ModelError, match=r"preset 'sd15': expected the package diffusers.*anonymizer\[hub\]"):
        requirements.check_packages("sd15", needs_torch=True)


def test_the_doctor_opens_every_embedded_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    found = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert found["inpaint"]["level"] == "ok" and found["embedded"]["detail"] == "usable"


def test_the_doctor_tells_of_graphs_without_their_weights(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "path", lambda name: copied)
    assert doctor._refusal(weights.entry("inpaint")) is None
    (copied / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    assert "unet" in (doctor._refusal(weights.entry("inpaint")) or "")


@pytest.mark.parametrize(
    "change",
    [
        {"guidance_scale": 2.0},
        {"scheduler": "unipc"},
        {"dtype": "bf16"},
        {"compile": True},
        {"controlnets": ["sd15-depth", "sd15-softedge"]},
        {"direction": {"wording": "scene"}},
    ],
)
def test_what_the_graphs_cannot_do_is_left_to_torch(change: dict[str, Any]) -> None:
    table = tables()["embedded"]
    embedded = read_preset("embedded", table).redraw
    other = read_preset("other", table | {"redraw": table["redraw"] | change}).redraw
    folder = weights.path("inpaint")
    assert factory.runs_exported(embedded, folder, "cpu")
    assert not factory.runs_exported(embedded, folder, "cuda")
    assert not factory.runs_exported(embedded, folder / "unet", "cpu")
    assert not factory.runs_exported(other, folder, "cpu")
