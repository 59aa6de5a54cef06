from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from anonymizer.core.errors import ModelError
from anonymizer.models.onnx import Halves, open_session


@pytest.fixture
def doubling(tmp_path: Path) -> Path:
    """Path of a network that doubles its input."""
    import onnx
    from onnx import TensorProto, helper

    entry, exit_ = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubling", [entry], [exit_])
    path = tmp_path / "doubling.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def test_sessions_take_their_memory_from_one_arena(doubling: Path) -> None:
    for _ in range(2):
        session = open_session(doubling, "doubling")
        options = session.get_session_options()
        assert options.get_session_config_entry("session.use_env_allocators") == "1"
        (out,) = session.run(["y"], {"x": np.arange(3, dtype=np.float32)})
        assert out.tolist() == [0, 2, 4]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not tell")
def test_a_session_has_as_many_threads_as_the_process_has_cores(
    doubling: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5})
    assert open_session(doubling, "doubling").get_session_options().intra_op_num_threads == 3


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="doubling: expected an ONNX file"):
        open_session(tmp_path / "none.onnx", "doubling")


@pytest.mark.parametrize("shared", [True, False])
def test_a_second_output_is_computed_when_it_is_asked_for(tmp_path: Path, shared: bool) -> None:
    import onnx
    from onnx import TensorProto, helper

    # With nothing but the input in common there is nothing to be spared.
    nodes = [
        helper.make_node("Add", ["x", "x"], ["twice"]),
        helper.make_node("Mul", ["twice", "twice"], ["middle"]),
        helper.make_node("Add", ["middle", "middle"], ["y"]),
        helper.make_node("Sub", ["middle", "middle"] if shared else ["x", "x"], ["nothing"]),
        helper.make_node("Exp", ["nothing"], ["z"]),
    ]
    entry, *results = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y", "z"))
    graph = helper.make_graph(nodes, "two", [entry], results)
    path = tmp_path / "two.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    network = Halves(path, "two")
    assert (network._second is not None) == shared
    assert (network.input.name, [output.name for output in network.outputs]) == ("x", ["y", "z"])
    out, between = network.first(np.array([1, 2], np.float32))
    assert out.tolist() == [8, 32]
    assert between.tolist() == ([4, 16] if shared else [1, 1])
    assert network.second(between).tolist() == [1, 1]


def test_what_is_no_network_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="not a readable ONNX model"):
        Halves(tmp_path / "broken.onnx", "broken")
