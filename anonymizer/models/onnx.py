"""Opening an ONNX file in ONNX Runtime."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["Halves", "open_session"]

_lock = threading.Lock()
_shared = False


def open_session(
    model: Path | bytes, name: str, device: str = "cpu", weights: Mapping[str, NDArray[np.float32]] | None = None
) -> InferenceSession:
    """Return a session on all cores of this process, or on a GPU where ONNX Runtime was built for one.

    Args:
        model: Path of an ONNX file, or its serialised bytes.
        name: What to call the model in an error.
        device: ``cpu``, ``cuda`` or ``cuda:N``. The plain package of ONNX Runtime knows no GPU and stays on the CPU.
        weights: Weights by name, for a graph that names them and does not hold them; contiguous, and not to be freed
            or changed while the session lives.

    Raises:
        ModelError: The file is missing or is no ONNX model, or a weight is missing or of another shape.
    """
    import onnxruntime

    if isinstance(model, Path) and not model.is_file():
        raise ModelError(f"{name}: expected an ONNX file at {model}, found none; run `anonymizer models verify`")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _cores()
    _share_memory()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.log_severity_level = 3  # The exporters' unused initialisers are no news to the user.
    # Threads that wait would otherwise burn as much CPU time as those that work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if weights is not None:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
        options.add_external_initializers(list(weights), values)
    providers: list[str | tuple[str, dict[str, str]]] = ["CPUExecutionProvider"]
    if device.startswith("cuda") and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.partition(":")[2] or "0"}))
    try:
        return onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model), options, providers=providers
        )
    # ONNX Runtime's own exception types are private and share no base below Exception.
    except Exception as error:
        raise ModelError(f"{name}: not a readable ONNX model ({error}); run `anonymizer models verify`") from error


class Halves:
    """A network of one input and two outputs, of which the second is only computed where somebody needs it.

    Args:
        path: ONNX file.
        name: What to call the model in an error.
        device: See :func:`open_session`.

    Attributes:
        input: The input, with ``name`` and ``shape``.
        outputs: The outputs, alike.

    Raises:
        ModelError: The file is missing or is no ONNX model.
    """

    def __init__(self, path: Path, name: str, device: str = "cpu") -> None:
        parts = _halved(path) if path.is_file() else None
        # Where nothing is to be spared, what is passed on is the second output itself.
        self._first = open_session(path if parts is None else parts[0], name, device)
        self._second = None if parts is None else open_session(parts[1], name, device)
        self._between = "" if parts is None else parts[2]
        others = () if self._second is None else self._second.get_outputs()
        self.input = self._first.get_inputs()[0]
        self.outputs = (*self._first.get_outputs()[: -1 if others else None], *others)

    def first(self, pixels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the first output, and what :meth:`second` needs."""
        out, between = self._first.run(None, {self.input.name: pixels})
        return out, between

    def second(self, between: NDArray[Any]) -> NDArray[Any]:
        """Return the second output."""
        if self._second is None:
            return between
        (out,) = self._second.run(None, {self._between: between})
        return np.asarray(out)


def _halved(path: Path) -> tuple[bytes, bytes, str] | None:
    """Return a network without the nodes that its second output alone needs, these nodes, and the tensor between.

    None where there is not one float tensor between: the same numbers come out of the two as of the whole.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path)
    except DecodeError:  # Opening it says so.
        return None
    graph = model.graph
    if len(graph.output) != 2:
        return None
    makers = {output: n for n, node in enumerate(graph.node) for output in node.output}

    def needed(name: str) -> set[int]:
        seen: set[int] = set()
        rest = [name]
        while rest:
            maker = makers.get(rest.pop())
            if maker is not None and maker not in seen:
                seen.add(maker)
                rest += graph.node[maker].input
        return seen

    former, latter = (needed(output.name) for output in graph.output)
    alone = sorted(latter - former)
    stored = {tensor.name for tensor in graph.initializer}
    made = {output for n in alone for output in graph.node[n].output}
    between = {i for n in alone for i in graph.node[n].input if i} - stored - made
    if len(between) != 1 or not between <= set(makers):
        return None
    (name,) = between
    kind = onnx.TensorProto.FLOAT
    known = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    maker = graph.node[makers[name]].op_type
    if known.get(name, kind if maker in ("DequantizeLinear", "Mul") else 0) != kind:
        return None
    middle = onnx.helper.make_tensor_value_info(name, kind, None)

    def part(numbers: list[int], entries: list[Any], results: list[Any]) -> bytes:
        nodes = [graph.node[n] for n in numbers]
        used = {i for node in nodes for i in node.input}
        weights = [tensor for tensor in graph.initializer if tensor.name in used]
        drawn = onnx.helper.make_graph(nodes, graph.name, entries, results, weights)
        made = onnx.helper.make_model(drawn, opset_imports=model.opset_import, ir_version=model.ir_version)
        return bytes(made.SerializeToString())

    entries = [entry for entry in graph.input if entry.name not in stored]
    return part(sorted(former), entries, [graph.output[0], middle]), part(alone, [middle], [graph.output[1]]), name


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _share_memory() -> None:
    """Let all sessions take their memory from one arena, once per process.

    Without an arena each run maps its memory anew, which takes a seventh of detection's processor time; with one arena
    per session the sum of all peaks stays taken, 1.6 instead of 1.0 GB after five pictures of 1280x720.
    """
    global _shared
    with _lock:
        if _shared:
            return
        import onnxruntime as ort

        memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
        # Grows by what is asked for (strategy 1), not to the next power of two.
        grown = {"arena_extend_strategy": 1, "max_mem": 0, "initial_chunk_size_bytes": -1}
        ort.create_and_register_allocator(memory, ort.OrtArenaCfg({**grown, "max_dead_bytes_per_chunk": -1}))
        _shared = True
