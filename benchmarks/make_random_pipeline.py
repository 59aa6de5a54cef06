"""Write random weights of the production presets to disk, laid out as `anonymizer models fetch` leaves them.

    python benchmarks/make_random_pipeline.py OUT [--tiny] [--only ID ...] [--seed N]
    XDG_CACHE_HOME=OUT anonymizer models verify

Speed and memory do not depend on what the weights are; what such a pipeline paints is noise. Full size takes about
20 GB on disk; `--tiny` keeps classes and layout and reduces every width and depth. The tokenizer is the embedded
model's, whose ids are all valid in the larger vocabularies.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anonymizer.models import convert, weights
from anonymizer.models.third_party import offline
from anonymizer.models.weights import FileRecord, Lock, file_sha256

diffusers: Any = importlib.import_module("diffusers")
transformers: Any = importlib.import_module("transformers")
torch: Any = importlib.import_module("torch")

#: Width of SD 1.5's and SDXL's text encoders and of what they condition.
TINY = 32


def sd15_unet(tiny: bool, channels: int) -> dict[str, Any]:
    """Return what UNet and ControlNets of SD 1.5 share."""
    if tiny:
        return {
            "in_channels": channels,
            "block_out_channels": (32, 64),
            "layers_per_block": 1,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "cross_attention_dim": TINY,
        }
    return {
        "in_channels": channels,
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    }


def sdxl_unet(tiny: bool) -> dict[str, Any]:
    """Return what UNet and ControlNet of SDXL share."""
    shared = {
        "in_channels": 4,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    }
    if tiny:
        return shared | {
            "block_out_channels": (32, 64),
            "layers_per_block": 1,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "transformer_layers_per_block": (1, 1),
            "attention_head_dim": (2, 4),
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": TINY + 6 * 8,
            "cross_attention_dim": 2 * TINY,
        }
    return shared | {
        "block_out_channels": (320, 640, 1280),
        "layers_per_block": 2,
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 1280 + 6 * 256,
        "cross_attention_dim": 2048,
    }


def vae(tiny: bool, scaling: float) -> Any:
    """Return an autoencoder of SD's class."""
    widths = (32, 64) if tiny else (128, 256, 512, 512)
    return diffusers.AutoencoderKL(
        block_out_channels=widths,
        layers_per_block=1 if tiny else 2,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        latent_channels=4,
        scaling_factor=scaling,
    )


def tokenizer() -> Any:
    """Return the embedded model's tokenizer."""
    return transformers.CLIPTokenizer.from_pretrained(weights.path("inpaint") / "tokenizer")


def text_encoder(tiny: bool, large: bool = False) -> Any:
    """Return CLIP ViT-L's text tower, or OpenCLIP bigG's with a projection."""
    width, layers, heads = (TINY, 2, 4) if tiny else ((1280, 32, 20) if large else (768, 12, 12))
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer()) if tiny else 49408,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=77,
        projection_dim=width,
        hidden_act="gelu" if large else "quick_gelu",
    )
    return (transformers.CLIPTextModelWithProjection if large else transformers.CLIPTextModel)(config)


def scheduler() -> Any:
    """Return the noise schedule that SD 1.5 and SDXL were trained with."""
    return diffusers.PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )


def sd15_inpaint(folder: Path, tiny: bool) -> None:
    """Write an inpainting pipeline of SD 1.5 with file names as the hub's half precision has them."""
    shared = sd15_unet(tiny, 9)
    ups = ("CrossAttnUpBlock2D", "UpBlock2D") if tiny else ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    pipeline = diffusers.StableDiffusionInpaintPipeline(
        vae=vae(tiny, 0.18215),
        text_encoder=text_encoder(tiny),
        tokenizer=tokenizer(),
        unet=diffusers.UNet2DConditionModel(sample_size=16 if tiny else 64, up_block_types=ups, **shared),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=transformers.CLIPImageProcessor(),
        requires_safety_checker=False,
    )
    pipeline.to(dtype=torch.float16).save_pretrained(folder, variant="fp16")
    # The published index names a safety checker, whose files are not fetched.
    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    (folder / "model_index.json").write_text(json.dumps(index, indent=1))


def awake(net: Any) -> Any:
    """Give a new ControlNet's zero convolutions weights, or it would say nothing whatever it is shown."""
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(".weight") and not parameter.any():
                parameter.normal_(std=0.2 / parameter[0].numel() ** 0.5)
    return net


def sd15_controlnet(folder: Path, tiny: bool) -> None:
    """Write a ControlNet of SD 1.5."""
    embedding = (16, 32) if tiny else (16, 32, 96, 256)
    made = diffusers.ControlNetModel(conditioning_embedding_out_channels=embedding, **sd15_unet(tiny, 4))
    awake(made).save_pretrained(folder)


def sdxl_base(folder: Path, tiny: bool) -> None:
    """Write SDXL with file names as the hub's half precision has them."""
    ups = ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")
    unet = diffusers.UNet2DConditionModel(
        sample_size=16 if tiny else 128, up_block_types=ups[1:] if tiny else ups, **sdxl_unet(tiny)
    )
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=vae(tiny, 0.13025),
        text_encoder=text_encoder(tiny),
        text_encoder_2=text_encoder(tiny, large=True),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=unet,
        scheduler=scheduler(),
    )
    pipeline.to(dtype=torch.float16).save_pretrained(folder, variant="fp16")


def sdxl_union(folder: Path, tiny: bool) -> None:
    """Write a union ControlNet of SDXL."""
    own = (
        {"conditioning_embedding_out_channels": (16, 32), "num_trans_channel": 32, "num_proj_channel": 32}
        if tiny
        else {"conditioning_embedding_out_channels": (16, 32, 96, 256)}
    )
    heads = {"num_trans_head": 4} if tiny else {}
    awake(diffusers.ControlNetUnionModel(**sdxl_unet(tiny), **own, **heads)).save_pretrained(folder)


def lora(base: str) -> Callable[[Path, bool], None]:
    """Return a writer of a LoRA for a UNet written before, named as the LCM-LoRAs name their tensors."""

    def write(folder: Path, tiny: bool) -> None:
        from safetensors.torch import save_file

        unet = diffusers.UNet2DConditionModel.from_pretrained(folder.parent / base / "unet", variant="fp16")
        rank, tensors = 4 if tiny else 64, {}
        for name, module in unet.named_modules():
            if isinstance(module, torch.nn.Linear) and name.rsplit(".to_", 1)[-1] in ("q", "k", "v", "out.0"):
                key = "lora_unet_" + name.replace(".", "_")
                tensors[f"{key}.lora_down.weight"] = torch.randn(rank, module.in_features) / rank
                tensors[f"{key}.lora_up.weight"] = torch.randn(module.out_features, rank) / rank
                tensors[f"{key}.alpha"] = torch.tensor(float(rank))
        folder.mkdir(parents=True)
        save_file(tensors, folder / "pytorch_lora_weights.safetensors")

    return write


def depth_anything(folder: Path, tiny: bool) -> None:
    """Write Depth Anything: DINOv2 small under a DPT head."""
    width, layers, heads = (32, 4, 2) if tiny else (384, 12, 6)
    stages = [f"stage{n * layers // 4}" for n in range(1, 5)]
    backbone = transformers.Dinov2Config(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=518,
        patch_size=14,
        out_features=stages,
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=width,
        neck_hidden_sizes=[8, 16, 32, 32] if tiny else [48, 96, 192, 384],
        fusion_hidden_size=16 if tiny else 64,
        head_hidden_size=8 if tiny else 32,
    )
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    transformers.DPTImageProcessor(
        size={"height": 518, "width": 518}, ensure_multiple_of=14, keep_aspect_ratio=True
    ).save_pretrained(folder)


def hed(folder: Path, tiny: bool) -> None:
    """Write HED as the annotators publish it, then convert it as `models fetch` does; its size is fixed."""
    del tiny
    tensors, before = {"norm": torch.zeros(1, 3, 1, 1)}, 3
    for block, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for layer in range(count):
            tensors[f"block{block}.convs.{layer}.weight"] = torch.randn(width, before, 3, 3) * (2 / (9 * before)) ** 0.5
            tensors[f"block{block}.convs.{layer}.bias"] = torch.zeros(width)
            before = width
        tensors[f"block{block}.projection.weight"] = torch.randn(1, width, 1, 1) / width
        tensors[f"block{block}.projection.bias"] = torch.zeros(1)
    folder.mkdir(parents=True)
    torch.save(tensors, folder / "ControlNetHED.pth")
    convert.hed_to_safetensors(folder / "ControlNetHED.pth", folder / "hed.safetensors")
    (folder / "ControlNetHED.pth").unlink()


def yolo(architecture: str, tiny_architecture: str, classes: int = 80) -> Callable[[Path, bool], None]:
    """Return a writer of a YOLO network, saved as ultralytics does and converted as `models fetch` does."""

    def write(folder: Path, tiny: bool) -> None:
        from ultralytics.nn.tasks import DetectionModel, SegmentationModel

        name = tiny_architecture if tiny else architecture
        made = (SegmentationModel if "-seg" in name else DetectionModel)(f"{name}.yaml", nc=classes, verbose=False)
        made.names = {index: str(index) for index in range(classes)}
        folder.mkdir(parents=True)
        torch.save({"model": made.half(), "ema": None, "train_args": {}}, folder / "model.pt")
        convert.yolo_to_onnx(folder / "model.pt", folder / "model.onnx")
        (folder / "model.pt").unlink()

    return write


#: Writers in an order in which what another one needs comes first.
WRITERS: dict[str, Callable[[Path, bool], None]] = {
    "sd15-inpaint": sd15_inpaint,
    "sd15-depth": sd15_controlnet,
    "sd15-softedge": sd15_controlnet,
    "sd15-lcm-lora": lora("sd15-inpaint"),
    "sdxl-base": sdxl_base,
    "sdxl-union": sdxl_union,
    "sdxl-lcm-lora": lora("sdxl-base"),
    "depth-anything-v2-small": depth_anything,
    "depth-anything-v1-large": depth_anything,
    "hed": hed,
    "yolo26m-seg": yolo("yolo26m-seg", "yolo26n-seg"),
    "yolo11x-seg": yolo("yolo11x-seg", "yolo11n-seg"),
    "plates": yolo("yolo11s", "yolo11n", classes=1),
}


def write(out: Path, tiny: bool, ids: list[str], seed: int = 0) -> None:
    """Write weights into OUT/anonymizer/models, each with the lock file that a fetch would leave."""
    root = out / "anonymizer" / "models"
    with offline():
        for weight_id in ids:
            folder = root / weight_id
            if folder.exists():
                shutil.rmtree(folder)
            torch.manual_seed(seed)
            WRITERS[weight_id](folder, tiny)
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            records = tuple(
                FileRecord(path.relative_to(folder).as_posix(), file_sha256(path), path.stat().st_size)
                for path in files
            )
            weights.write_lock(weight_id, Lock("random", records), root)


def main() -> None:
    """Write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--only", nargs="+", choices=list(WRITERS), default=list(WRITERS))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    write(args.out, args.tiny, args.only, args.seed)
    print(f"use it with: XDG_CACHE_HOME={args.out.resolve()}")


if __name__ == "__main__":
    main()
