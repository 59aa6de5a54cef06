from pathlib import Path

import numpy as np
import pytest

from anonymizer.condition import EdgeNet
from anonymizer.core.errors import InputError, ModelError

onnx = pytest.importorskip("onnx", reason="builds a tiny network")


def build(path: Path, input_name: str = "image") -> Path:
    """A network that returns the mean of the channels."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    axes = helper.make_tensor("axes", onnx.TensorProto.INT64, [1], [1])
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", [input_name, "axes"], ["edge"], keepdims=1)],
        "mean",
        [helper.make_tensor_value_info(input_name, kind, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("edge", kind, [1, 1, "h", "w"])],
        [axes],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def test_odd_sizes_are_padded_and_cut_back(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (37, 51, 3), dtype=np.uint8)
    edges = EdgeNet(build(tmp_path / "e.onnx")).detect(image)
    assert edges.dtype == np.float32
    np.testing.assert_allclose(edges, image.mean(axis=2) / 255, atol=1e-5)


def test_large_pictures_are_reduced_and_resized_back(tmp_path):
    image = np.zeros((120, 300, 3), np.uint8)
    image[:, 150:] = 255
    edges = EdgeNet(build(tmp_path / "e.onnx"), max_side=64).detect(image)
    assert edges.shape == (120, 300)
    assert edges[:, :140].max() < 0.1 and edges[:, 160:].min() > 0.9


def test_unusable_networks_and_pictures_are_refused(tmp_path):
    with pytest.raises(ModelError, match="expected an ONNX network"):
        EdgeNet(tmp_path / "missing.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"not a network")
    with pytest.raises(ModelError, match="expected an ONNX network"):
        EdgeNet(tmp_path / "broken.onnx")
    with pytest.raises(ModelError, match="input 'image'"):
        EdgeNet(build(tmp_path / "other.onnx", "x"))
    with pytest.raises(InputError):
        EdgeNet(build(tmp_path / "e.onnx")).detect(np.zeros((8, 8), np.uint8))
