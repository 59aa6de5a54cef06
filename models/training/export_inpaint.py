"""Export of the embedded inpainter for runs without torch: graphs for ONNX Runtime, and text embeddings.

    python models/training/export_inpaint.py [FOLDER]
    python models/training/update_manifest.py

Run it after each training of the diffusers folder, which stays what it is. Beside its parts it writes

    FOLDER/onnx/encoder.onnx    picture (N, 3, h, w) in [-1, 1] -> moments of its latents
    FOLDER/onnx/denoiser.onnx   both ControlNets and the UNet: one prediction
    FOLDER/onnx/decoder.onnx    latents -> picture in [-1, 1]
    FOLDER/onnx/prompts.safetensors   the embedding of every prompt that `anonymizer.redraw.prompts` can say

The graphs hold no weights, only their names: `anonymizer.redraw.exported` reads them from the folder's safetensors. So
the package carries each weight once, and weights of the same shape need new text embeddings only. It ends by painting
random crops with diffusers' own pipeline and with the graphs, and prints the largest difference in levels of 0 to 255.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from diffusers import StableDiffusionControlNetInpaintPipeline
from onnx import TensorProto
from safetensors.numpy import save_file
from torch import nn

from anonymizer.redraw.diffusion import DiffusionInpainter, DiffusionSettings, InpaintJob
from anonymizer.redraw.exported import GRAPHS, MADE_FROM, ExportedInpainter, sources
from anonymizer.redraw.loading import LoadSettings, load_pipeline
from anonymizer.redraw.prompts import every_prompt

OPSET = 17
FOLDER = Path(__file__).resolve().parents[1] / "embedded" / "inpaint"
#: Tensors smaller than this stay in the graph: shapes and constants, no weights.
LEAST = 8


class Encoder(nn.Module):
    """Moments of the latents of a picture."""

    def __init__(self, pipeline: Any) -> None:
        super().__init__()
        self.vae = pipeline.vae

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.vae.quant_conv(self.vae.encoder(image))


class Decoder(nn.Module):
    """Picture of latents."""

    def __init__(self, pipeline: Any) -> None:
        super().__init__()
        self.vae = pipeline.vae

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.vae.decoder(self.vae.post_quant_conv(latents))


class Denoiser(nn.Module):
    """One prediction of the UNet, held by both ControlNets."""

    def __init__(self, pipeline: Any) -> None:
        super().__init__()
        self.unet = pipeline.unet
        self.controlnet, self.controlnet_1 = pipeline.controlnet.nets

    def forward(
        self,
        sample: torch.Tensor,
        time: torch.Tensor,
        text: torch.Tensor,
        depth: torch.Tensor,
        edges: torch.Tensor,
        scales: torch.Tensor,
    ) -> torch.Tensor:
        noisy = sample[:, :4]
        down: list[torch.Tensor] = []
        middle = None
        for place, (net, control) in enumerate(((self.controlnet, depth), (self.controlnet_1, edges))):
            parts, last = net(noisy, time, text, control.expand(-1, 3, -1, -1), return_dict=False)
            scale = scales[place]
            parts, last = [part * scale for part in parts], last * scale
            down = parts if middle is None else [a + b for a, b in zip(down, parts, strict=True)]
            middle = last if middle is None else middle + last
        return self.unet(
            sample,
            time,
            text,
            down_block_additional_residuals=tuple(down),
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]


def export(module: nn.Module, inputs: dict[str, torch.Tensor], output: str, file: Path, made_from: str) -> None:
    """Write a module's graph without its weights."""
    spatial = {name: {0: "n", 2: f"{name}_h", 3: f"{name}_w"} for name, part in inputs.items() if part.ndim == 4}
    batch = {name: {0: "n"} for name, part in inputs.items() if part.ndim == 3}
    torch.onnx.export(
        module.eval(),
        tuple(inputs.values()),
        str(file),
        input_names=list(inputs),
        output_names=[output],
        dynamic_axes=spatial | batch | {output: {0: "n", 2: f"{output}_h", 3: f"{output}_w"}},
        opset_version=OPSET,
        do_constant_folding=False,
        dynamo=False,
    )
    model = onnx.load(str(file))
    known = dict(module.named_parameters())
    for tensor in model.graph.initializer:
        if tensor.name not in known:
            if int(np.prod(tensor.dims)) >= LEAST:
                raise SystemExit(f"{file}: {tensor.name} {list(tensor.dims)} is no weight of the folder")
            continue
        for field in ("raw_data", "float_data"):
            tensor.ClearField(field)
        tensor.data_location = TensorProto.EXTERNAL
        del tensor.external_data[:]
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "weights"
    shorten(model)
    del model.metadata_props[:]
    note = model.metadata_props.add()
    note.key, note.value = MADE_FROM, made_from
    onnx.save(model, str(file))


def shorten(model: onnx.ModelProto) -> None:
    """Give tensors between nodes short names, and drop names of nodes: they make up half of the file."""
    graph = model.graph
    kept = {part.name for parts in (graph.input, graph.output, graph.initializer) for part in parts}
    short: dict[str, str] = {}
    for node in graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
        del node.metadata_props[:]
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name and name not in kept:
                    names[place] = short.setdefault(name, f"t{len(short)}")
    del graph.value_info[:]


def main() -> None:
    """Export, embed, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    folder: Path = parser.parse_args().folder
    nets = (folder / "controlnet", folder / "controlnet_1")
    pipeline = load_pipeline(folder, nets, LoadSettings())
    assert isinstance(pipeline, StableDiffusionControlNetInpaintPipeline)
    out = folder / "onnx"
    out.mkdir(exist_ok=True)
    size = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
    n, h, w = 2, 16, 24
    image = torch.rand(n, 3, h * size, w * size)
    text = torch.rand(n, pipeline.text_encoder.config.max_position_embeddings, pipeline.unet.config.cross_attention_dim)
    sample = torch.rand(n, pipeline.unet.config.in_channels, h, w)
    noted = sources(folder)
    prompts = every_prompt()
    with torch.no_grad():
        rows = [pipeline.encode_prompt(prompt, "cpu", 1, False)[0][0].numpy() for prompt in prompts]
        # The exporter makes one of parameters that are equal, as many are that are all 0; others may not be.
        for part in (pipeline.vae, pipeline.unet, pipeline.controlnet):
            for parameter in part.parameters():
                parameter.uniform_()
        export(Encoder(pipeline), {"image": image}, "moments", out / GRAPHS["encoder"], noted["encoder"])
        export(Decoder(pipeline), {"latents": sample[:, :4]}, "image", out / GRAPHS["decoder"], noted["decoder"])
        control = image[:, :1]
        inputs = {"sample": sample, "time": torch.tensor(99), "text": text, "depth": control, "edges": control}
        inputs["scales"] = torch.ones(2)
        export(Denoiser(pipeline), inputs, "prediction", out / GRAPHS["denoiser"], noted["denoiser"])
    about = {"prompts": json.dumps(prompts), MADE_FROM: noted["prompts"]}
    save_file({"embeddings": np.stack(rows).astype(np.float16)}, str(out / GRAPHS["prompts"]), about)
    (out / GRAPHS["prompts"]).chmod(0o644)
    compare(folder, nets)


def compare(folder: Path, nets: tuple[Path, Path]) -> None:
    """Print how far the graphs are from diffusers' pipeline."""
    settings = DiffusionSettings(10, 1.0, (1.0, 1.0))
    both = DiffusionInpainter(folder, nets, settings), ExportedInpainter(folder, settings)
    rng = np.random.default_rng(7)
    jobs = []
    for place, (size, prompt) in enumerate((((384, 192), "a person"), ((128, 128), "a face"))):
        coarse = rng.integers(0, 256, (size[0] // 32, size[1] // 32, 3), dtype=np.uint8)
        image = np.asarray(
            torch.nn.functional.interpolate(torch.from_numpy(coarse).permute(2, 0, 1)[None].float(), size)
        )
        image = np.ascontiguousarray(image[0].transpose(1, 2, 0).astype(np.uint8))
        mask = np.zeros(size, bool)
        mask[16:-16, 16:-16] = True
        maps = [rng.random(size, np.float32) for _ in range(2)]
        for strength, start in ((0.1, image), (0.5, image), (1.0, None)):
            jobs.append(InpaintJob(image, mask, maps[0], maps[1], prompt, place, start=start, strength=strength))
    for job, a, b in zip(jobs, *(inpainter.inpaint(jobs) for inpainter in both), strict=True):
        print(job.prompt, job.strength, "largest difference", int(np.abs(a.astype(int) - b).max()))


if __name__ == "__main__":
    main()
