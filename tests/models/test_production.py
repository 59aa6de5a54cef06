"""Production presets: pipelines of the true classes, reduced and random, through the production path.

Nothing here says how pictures look; it says that loading, calling, batching and refusing work with the installed
libraries.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from anonymizer.core.errors import InputError, ModelError
from anonymizer.redraw import loading
from anonymizer.redraw.diffusion import DiffusionInpainter, DiffusionSettings, InpaintJob
from anonymizer.redraw.loading import LoadSettings, load_pipeline

torch: Any = importlib.import_module("torch")
diffusers: Any = importlib.import_module("diffusers")
transformers: Any = importlib.import_module("transformers")
ROOT = Path(__file__).resolve().parents[2]

# Third parties' own deprecations, in loading and in schedulers.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

#: Largest difference in levels of 255 that another batch may make, on one device and precision.
TOLERANCE = 2
PARTS = {
    "sd15": ("sd15-inpaint", ("sd15-depth", "sd15-softedge"), "sd15-lcm-lora", "fp16"),
    "sdxl": ("sdxl-base", ("sdxl-union",), "sdxl-lcm-lora", "fp16"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The redraw weights of every preset, reduced and random, as a fetch leaves them."""
    out = tmp_path_factory.mktemp("production")
    ids = [part for pipeline, nets, lora, _ in PARTS.values() for part in (pipeline, *nets, lora)]
    script("make_random_pipeline").write(out, True, ids)
    return out / "anonymizer" / "models"


def script(name: str) -> ModuleType:
    """Return a script of ``benchmarks`` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(root: Path, family: str, lcm: bool = False, guidance: float = 1.0, **other: Any) -> DiffusionInpainter:
    pipeline, nets, lora, variant = PARTS[family]
    settings = DiffusionSettings(2, guidance, (0.7, 0.1), negative_prompt="blurry", batch_size=8)
    return DiffusionInpainter(
        root / pipeline,
        [root / net for net in nets],
        settings,
        LoadSettings(family=family, variant=variant, scheduler="lcm" if lcm else "unipc", **other),
        root / lora / "pytorch_lora_weights.safetensors" if lcm else None,
    )


def job(seed: int, size: tuple[int, int] = (64, 32), hidden: int | None = None, **other: Any) -> InpaintJob:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    mask = np.zeros(size, bool)
    mask[8:-8, 8:-8] = True
    if hidden is not None:
        image[mask] = hidden
    maps = rng.random((2, *size), dtype=np.float32)
    return InpaintJob(image, mask, maps[0], maps[1], f"a person {seed % 2}", seed, **other)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize(("lcm", "guidance"), [(False, 5.0), (True, 1.0)])
def test_presets_paint_and_batches_give_what_single_jobs_give(
    root: Path, family: str, lcm: bool, guidance: float
) -> None:
    inpainter = load(root, family, lcm, guidance)
    pipeline = inpainter._pipeline
    assert type(pipeline).__name__ == loading.FAMILIES[family][0]
    assert type(pipeline.scheduler).__name__ == ("LCMScheduler" if lcm else "UniPCMultistepScheduler")
    jobs = [job(1), job(2), job(3, (32, 64)), job(4), job(5, scales=(0.1, 0.1)), job(6, guidance_scale=guidance + 1)]
    together = inpainter.inpaint(jobs)
    assert [p.shape for p in together] == [(*j.mask.shape, 3) for j in jobs]
    for one, many in zip(jobs, together, strict=True):
        (alone,) = inpainter.inpaint([one])
        assert np.abs(alone.astype(int) - many).max() <= TOLERANCE
    assert not np.array_equal(together[0], together[1])


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_nothing_under_the_mask_reaches_the_model(root: Path, family: str) -> None:
    inpainter = load(root, family)
    (dark,), (light,) = (inpainter.inpaint([job(1, hidden=value)]) for value in (0, 255))
    assert np.array_equal(dark, light)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_every_setting_of_a_job_changes_what_is_painted(root: Path, family: str) -> None:
    inpainter = load(root, family, guidance=5.0)
    base, *others = inpainter.inpaint(
        [job(1), job(1, guidance_scale=9.0), job(1, scales=(0.0, 0.0)), job(1, scales=(0.0, 0.1))]
    )
    for other in others:
        assert np.abs(base.astype(int) - other).max() > TOLERANCE


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_lora_changes_the_unet_and_leaves_no_adapter(root: Path, family: str) -> None:
    plain, fused = (load(root, family, lcm)._pipeline.unet for lcm in (False, True))
    weights = dict(plain.named_parameters())
    changed = {name for name, weight in fused.named_parameters() if not torch.equal(weights[name], weight)}
    assert set(weights) == {name for name, _ in fused.named_parameters()}, "layers of an adapter were left"
    assert changed and all(
        name.rsplit(".weight", 1)[0].endswith(("to_q", "to_k", "to_v", "to_out.0")) for name in changed
    )


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_text_is_encoded_once_per_prompt_and_guidance(root: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inpainter = load(root, family)
    encode, asked = inpainter._pipeline.encode_prompt, []

    def counted(*arguments: Any, **options: Any) -> Any:
        if options.get("prompt") is not None:
            asked.append((options["prompt"], options["do_classifier_free_guidance"]))
        return encode(*arguments, **options)

    monkeypatch.setattr(inpainter._pipeline, "encode_prompt", counted)
    inpainter.inpaint([job(1), job(2), job(3), job(1, guidance_scale=4.0)])
    inpainter.inpaint([job(1)])
    assert sorted(asked) == [("a person 0", False), ("a person 1", False), ("a person 1", True)]


def test_memory_running_out_backs_off_and_loses_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inpainter = load(root, "sd15")
    whole, paint, sizes = inpainter.inpaint([job(n) for n in range(5)]), inpainter._paint_batch, []

    def small(jobs: list[InpaintJob]) -> Any:
        sizes.append(len(jobs))
        if len(jobs) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return paint(jobs)

    monkeypatch.setattr(inpainter, "_paint_batch", small)
    again = inpainter.inpaint([job(n) for n in range(5)])
    assert sizes == [5, 2, 2, 1]
    assert all(np.abs(a.astype(int) - b).max() <= TOLERANCE for a, b in zip(whole, again, strict=True))


@pytest.mark.parametrize(("name", "expected"), [("bf16", "bfloat16"), ("fp32", "float32"), ("auto", "float32")])
@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_precision_is_what_was_asked_for(root: Path, family: str, name: str, expected: str) -> None:
    inpainter = load(root, family, dtype=name)
    assert inpainter._pipeline.unet.dtype == inpainter._pipeline.controlnet.dtype == getattr(torch, expected)
    assert np.isfinite(inpainter.inpaint([job(1)])[0]).all()


def test_layout_tiling_and_compilation_are_switched_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: compiled.append((self, options)))
    for family, nets in (("sd15", 2), ("sdxl", 1)):
        compiled.clear()
        pipeline = load(root, family, channels_last=True, vae_tiling=True, compile=True)._pipeline
        weight = pipeline.unet.conv_in.weight
        assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
        assert pipeline.vae.use_tiling
        assert len(compiled) == 1 + nets and compiled[0] == (pipeline.unet, {"dynamic": True})
        assert (
            "SDPA" in type(next(iter(pipeline.unet.attn_processors.values()))).__name__
            or "2_0" in type(next(iter(pipeline.unet.attn_processors.values()))).__name__
        )


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_offload_hands_networks_to_the_device_one_by_one(
    root: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine without a GPU the CPU plays it: the hooks run and the result is the same."""
    (plain,) = load(root, family).inpaint([job(1)])
    offload, asked = diffusers.DiffusionPipeline.enable_model_cpu_offload, []

    def on_cpu(self: Any, device: str) -> None:
        asked.append(device)
        offload(self, device="cpu")

    monkeypatch.setattr(diffusers.DiffusionPipeline, "enable_model_cpu_offload", on_cpu)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    inpainter = load(root, family, device="cuda", dtype="fp32", cpu_offload=True)
    monkeypatch.undo()
    assert asked == ["cuda"]
    assert hasattr(inpainter._pipeline.unet, "_hf_hook")
    assert np.abs(inpainter.inpaint([job(1)])[0].astype(int) - plain).max() <= TOLERANCE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"family": "sd3"}, "family: expected one of sd15, sdxl"),
        ({"scheduler": "euler"}, "scheduler: expected one of unipc, lcm"),
        ({"dtype": "int8"}, "dtype: expected one of auto, fp32"),
        ({"cpu_offload": True}, "expected a GPU to offload from"),
    ],
)
def test_wrong_settings_are_refused_before_loading(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        LoadSettings(**change)


def test_folders_that_are_not_what_was_expected_are_refused(root: Path, tmp_path: Path) -> None:
    sd15, nets = root / "sd15-inpaint", [root / "sd15-depth", root / "sd15-softedge"]
    with pytest.raises(InputError, match="expected 2 for family sd15, got 1"):
        load_pipeline(sd15, nets[:1], LoadSettings())
    with pytest.raises(ModelError, match="of family sd15"):
        load_pipeline(tmp_path, nets, LoadSettings(variant="fp16"))
    with pytest.raises(ModelError, match="of family sdxl"):
        load_pipeline(sd15, [root / "sdxl-union"], LoadSettings(family="sdxl", variant="fp16"))
    with pytest.raises(ModelError, match="of family sd15"):
        load_pipeline(sd15, nets, LoadSettings(variant="fp16"), lora=tmp_path / "none.safetensors")


def test_pickles_in_a_pipeline_folder_are_never_loaded(root: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "pipeline"
    shutil.copytree(root / "sd15-inpaint", folder)
    (unet,) = (folder / "unet").glob("*.safetensors")
    unet.rename(unet.with_suffix(".bin"))
    with pytest.raises(ModelError, match="of family sd15"):
        load_pipeline(folder, [root / "sd15-depth", root / "sd15-softedge"], LoadSettings(variant="fp16"))


def names(callee: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(callee).parameters)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_every_argument_is_one_the_installed_pipeline_takes(
    root: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline swallows unknown keywords into ``**kwargs`` and ignores them: they must be in its signature."""
    inpainter, pipeline_class = load(root, family, guidance=5.0), getattr(diffusers, loading.FAMILIES[family][0])
    call, encode = pipeline_class.__call__, pipeline_class.encode_prompt
    passed: dict[str, set[str]] = {"call": set(), "encode": set()}

    def record(name: str, callee: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(self: Any, *arguments: Any, **options: Any) -> Any:
            passed[name] |= options.keys()
            return callee(self, *arguments, **options)

        return recorded

    monkeypatch.setattr(pipeline_class, "__call__", record("call", call))
    monkeypatch.setattr(pipeline_class, "encode_prompt", record("encode", encode))
    inpainter.inpaint([job(1)])
    assert {"image", "mask_image", "control_image", "generator", "strength", "prompt_embeds"} <= passed["call"]
    assert passed["call"] <= names(call)
    assert passed["encode"] <= names(encode)
    assert {"vae", "unet", "controlnet", "scheduler"} <= names(pipeline_class.__init__)


def test_other_calls_are_ones_the_installed_libraries_take() -> None:
    """What goes through ``**kwargs`` of ``from_pretrained`` is read there by name; these are the names relied on."""
    pipeline = diffusers.DiffusionPipeline
    source = inspect.getsource(pipeline.from_pretrained.__func__) + inspect.getsource(pipeline.download.__func__)
    for name in ("use_safetensors", "local_files_only", "variant"):
        assert f'"{name}"' in source
    model = inspect.getsource(diffusers.ControlNetModel.from_pretrained.__func__)
    for name in ("use_safetensors", "local_files_only"):
        assert f'"{name}"' in model
    assert "device" in names(pipeline.enable_model_cpu_offload)
    assert "memory_format" in inspect.getsource(torch.nn.Module.to)
    assert "control_type_idx" in names(diffusers.ControlNetUnionModel.forward)
    assert {"input_boxes", "image_embeddings", "multimask_output"} <= names(transformers.Sam2Model.forward)
    assert {"input_boxes", "original_sizes"} <= names(transformers.Sam2Processor.__call__)
    scrfd = importlib.import_module("insightface.model_zoo.scrfd").SCRFD
    assert {"input_size", "det_thresh"} <= names(scrfd.detect) and {"model_file", "session"} <= names(scrfd.__init__)
