"""The ArcFace backend against networks that pass their input's mean colour on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from anonymizer.core.errors import InputError, ModelError
from anonymizer.recognize.faces import ArcFaceEmbedder

BOX = np.array([20, 20, 120, 150], np.float32)


def network(path: Path, *, normalises: bool, side: int = 112) -> Path:
    """Write a network that gives the mean of each channel after normalisation by itself or by the caller."""
    nodes = [helper.make_node("ReduceMean", ["scaled"], ["out"], axes=[2, 3], keepdims=0)]
    if normalises:
        nodes.insert(0, helper.make_node("Mul", ["shifted", "factor"], ["scaled"], name="_mulscalar0"))
        nodes.insert(0, helper.make_node("Sub", ["data", "mean"], ["shifted"], name="_minusscalar0"))
    else:
        nodes.insert(0, helper.make_node("Identity", ["data"], ["scaled"], name="Conv_0"))
    constants = {"mean": 127.5, "factor": 0.0078125}
    graph = helper.make_graph(
        nodes,
        "fake",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, side, side])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.float32(v).reshape(1), k) for k, v in constants.items()] if normalises else [],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("normalises", [True, False])
def test_input_is_rgb_and_normalised_once(tmp_path: Path, normalises: bool) -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    image[:] = (255, 127, 0)
    embedder = ArcFaceEmbedder(network(tmp_path / "net.onnx", normalises=normalises), 0.35)
    vector = embedder.embed(image, BOX, None)
    assert vector == pytest.approx([2**-0.5, 0, -(2**-0.5)], abs=0.01)
    assert embedder.threshold == 0.35


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="none"):
        ArcFaceEmbedder(tmp_path / "gone.onnx", 0.35)
    with pytest.raises(ModelError, match="takes"):
        ArcFaceEmbedder(network(tmp_path / "net.onnx", normalises=True, side=96), 0.35)
    with pytest.raises(InputError, match="cosine"):
        ArcFaceEmbedder(tmp_path / "net.onnx", 35.0)
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="readable"):
        ArcFaceEmbedder(tmp_path / "broken.onnx", 0.35)
