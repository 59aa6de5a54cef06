from __future__ import annotations

import os
from pathlib import Path

import pytest

from anonymizer.core.errors import ModelError
from anonymizer.models.onnx import open_session


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


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not tell")
def test_a_session_has_as_many_threads_as_the_process_has_cores(
    doubling: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5})
    assert open_session(doubling, "doubling").get_session_options().intra_op_num_threads == 3


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="doubling: expected an ONNX file"):
        open_session(tmp_path / "none.onnx", "doubling")


def test_what_is_no_network_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="not a readable ONNX model"):
        open_session(tmp_path / "broken.onnx", "broken")
