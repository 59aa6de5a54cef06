"""Conversion of fetched pickles into files that cannot run code, once, when they are fetched.

Some weights are published only as PyTorch pickles. They are read with ``weights_only=True``, which rebuilds tensors and
an allow-list of known classes and refuses everything else, and are written as safetensors or ONNX. The pickle is
deleted; what runs later never sees it.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from anonymizer.core.errors import ModelError
from anonymizer.models.third_party import extra, offline

__all__ = ["CONVERTERS", "hed_to_safetensors", "osnet_to_onnx", "yolo_to_onnx"]


def hed_to_safetensors(source: Path, target: Path) -> None:
    """Rewrite a flat dictionary of tensors (the ControlNet annotators' HED) as safetensors.

    Raises:
        ModelError: The file holds anything but tensors by name.
    """
    from safetensors.torch import save_file

    save_file({name: value.float().contiguous() for name, value in _tensors(source).items()}, target)


def osnet_to_onnx(source: Path, target: Path) -> None:
    """Rewrite torchreid's OSNet-AIN x0.25 as ONNX: input ``person`` (N, 3, 256, 128), output ``features`` (N, 512).

    Raises:
        ModelError: The file holds anything but the tensors of this network; a classifier of its training's identities
            is left out.
    """
    import torch

    from anonymizer.models.osnet import INPUT, osnet_ain

    network = osnet_ain().eval()
    tensors = _tensors(source)
    # Checkpoints of several GPUs have a prefix; identities of the training set are no part of a description.
    tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    tensors = {name: value for name, value in tensors.items() if not name.startswith("classifier.")}
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(
            f"{source.name}: expected the tensors of OSNet-AIN x0.25, got others; nothing was kept"
        ) from error
    with warnings.catch_warnings():
        # Tracing fixes the checks of shapes, and the exporter is the old one: both are meant.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, *INPUT),),
            str(target),
            input_names=["person"],
            output_names=["features"],
            dynamic_axes={"person": {0: "n"}, "features": {0: "n"}},
            opset_version=17,
            dynamo=False,
        )


def _tensors(source: Path) -> dict[str, Any]:
    """Return a flat dictionary of tensors from a pickle that may hold nothing else.

    Raises:
        ModelError: It holds something else.
    """
    import torch

    try:
        read = torch.load(source, map_location="cpu", weights_only=True)
    # A refused pickle, a torn archive and a wrong format each raise their own type.
    except Exception as error:
        raise ModelError(
            f"{source.name}: refused, not plain tensors ({type(error).__name__}); nothing was kept"
        ) from error
    if not isinstance(read, dict) or not all(isinstance(value, torch.Tensor) for value in read.values()):
        raise ModelError(
            f"{source.name}: expected a dictionary of tensors, got {type(read).__name__}; nothing was kept"
        )
    return {str(name): value for name, value in read.items()}


def yolo_to_onnx(source: Path, target: Path) -> None:
    """Rewrite an ultralytics checkpoint as ONNX with free input size and without suppression.

    The end-to-end head of YOLO26 is left out in favour of the one-to-many head: the detector here does its own
    suppression and unites looks, for which it needs every candidate.

    Raises:
        ModelError: The file asks for classes that are not ultralytics' own, or holds no network.
    """
    with offline():
        with extra("hub", source.name):
            from ultralytics.engine.exporter import Exporter
            from ultralytics.nn import tasks

        try:
            checkpoint, _ = tasks.torch_safe_load(str(source), safe_only=True)
            model: Any = (checkpoint.get("ema") or checkpoint["model"]).float().eval()
        # ultralytics turns refusals into TypeError, AttributeError or ModuleNotFoundError, torch into its own types.
        except Exception as error:
            raise ModelError(
                f"{source.name}: refused, not a network of known classes ({type(error).__name__}); nothing was kept"
            ) from error
        with TemporaryDirectory(dir=target.parent) as folder:
            # Where the exporter writes is derived from where the network says it came from.
            model.pt_path = str(Path(folder) / "model.pt")
            model.task = tasks.guess_model_task(model)
            settings = {
                "format": "onnx",
                "dynamic": True,
                "opset": 17,
                "simplify": False,
                "device": "cpu",
                "imgsz": 640,
            }
            made = Exporter(overrides={**settings, "task": model.task, "batch": 1})(model=model)
            shutil.move(str(made), target)


#: Converters by the name ``weights.toml`` gives them.
CONVERTERS: dict[str, Callable[[Path, Path], None]] = {
    "hed": hed_to_safetensors,
    "osnet": osnet_to_onnx,
    "yolo": yolo_to_onnx,
}
