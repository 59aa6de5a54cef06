"""Turn the exported detector back into a network that can be trained on.

The export folds batch normalisation into the convolutions. Here each normalisation is put back with the statistics
of its input on training pictures, so that the network computes the same as the export and trains like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn


def folded_weights(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Return weight and bias of every convolution in an exported network, by the module's dotted name."""
    graph = onnx.load(path).graph
    # ``onnx_half.py`` stores weights under another name and casts them back.
    arrays = {i.name.removesuffix("_half"): numpy_helper.to_array(i).astype(np.float32) for i in graph.initializer}
    out = {}
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            # "/model.0/m.0/m.0.0/Conv" is module "model.0.m.0.0": each part repeats the tail of the one before.
            parts = node.name.strip("/").split("/")[:-1]
            out["/".join(parts)] = arrays[node.input[1]], arrays[node.input[2]] if len(node.input) > 2 else None
    return out


def scopes(model: nn.Module) -> dict[str, nn.Module]:
    """Return the convolutions of a network by the scope names that the export gives them."""
    out = {}

    def walk(module: nn.Module, path: tuple[str, ...], name: str) -> None:
        for key, child in module.named_children():
            # A container is no scope of its own: its children carry its name in theirs.
            held = isinstance(module, nn.Sequential | nn.ModuleList)
            full = f"{name}.{key}" if held and name else key
            if isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
                out["/".join((*path, full)).removeprefix("model/")] = child
            elif isinstance(child, nn.ModuleList):
                walk(child, path, full)
            else:
                walk(child, (*path, full), full)

    walk(model, (), "")
    # The backbone runs its stages one by one, so the list that holds them leaves no scope.
    return {name.replace("model.0/m/", "model.0/"): conv for name, conv in out.items()}


def pictures(paths: list[Path], size: int) -> torch.Tensor:
    """Return pictures as float32 (N, 3, size, size) in [0, 1]."""
    images = [cv2.resize(cv2.imread(str(p))[..., ::-1], (size, size), interpolation=cv2.INTER_AREA) for p in paths]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def restore(
    model: nn.Module, export: Path, batch: torch.Tensor, rows: Mapping[int, Sequence[int]] | None = None
) -> int:
    """Fill a network with an export's weights, in place.

    Args:
        model: The network.
        export: ONNX file of the same architecture; where ``rows`` is given, parts of it may differ and stay as they
            are.
        batch: Training pictures, float32 (N, 3, h, w) in [0, 1].
        rows: For each class of the network, by its place, the export's classes whose mean it starts from.

    Returns:
        Number of convolutions filled.

    Raises:
        ValueError: The export is of another architecture.
    """
    folded = folded_weights(export)
    found = scopes(model)
    missing = sorted(set(found) ^ set(folded))
    if missing and rows is None:
        raise ValueError(f"{export}: another architecture, e.g. {missing[:4]}")
    followers = _followers(model)
    filled = set()
    for name, conv in found.items():
        if name not in folded:
            continue
        weight, bias = (None if v is None else torch.from_numpy(v.copy()) for v in folded[name])
        norm = followers.get(conv)
        with torch.no_grad():
            if weight.shape != conv.weight.shape:
                if rows is None or weight.shape[1:] != conv.weight.shape[1:] or norm is not None:
                    raise ValueError(
                        f"{export}: {name} has shape {tuple(weight.shape)}, not {tuple(conv.weight.shape)}"
                    )
                for place, sources in rows.items():
                    conv.weight[place] = weight[list(sources)].mean(dim=0)
                    conv.bias[place] = bias[list(sources)].mean(dim=0)
                continue
            conv.weight.copy_(weight)
            filled.add(conv)
            if norm is None:
                if conv.bias is not None and bias is not None:
                    conv.bias.copy_(bias)
                continue
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
            norm.weight.fill_(1.0)
            norm.bias.copy_(bias)

    def calibrate(norm: nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
        mean, var = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3)).clamp_min(1e-4)
        norm.bias.add_(mean)
        norm.weight.copy_((var + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)

    hooks = [followers[conv].register_forward_pre_hook(calibrate) for conv in filled & set(followers)]
    model.eval()
    with torch.no_grad():
        model(batch)
    for hook in hooks:
        hook.remove()
    model.train()
    return len(filled)


def _followers(model: nn.Module) -> dict[nn.Module, nn.BatchNorm2d]:
    """Return the normalisation behind each convolution."""
    order: list[nn.Module] = []
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)
    hooks = [m.register_forward_hook(lambda m, *_: order.append(m)) for m in model.modules() if isinstance(m, kinds)]
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    return {a: b for a, b in pairwise(order) if isinstance(b, nn.BatchNorm2d)}
