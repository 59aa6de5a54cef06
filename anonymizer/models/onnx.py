"""Opening an ONNX file in ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["open_session"]


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
    # Views of many sizes leave an arena, be it each session's own or one for all, with the sum of their peaks, about
    # 0.4 GB; runs are no faster with it.
    options.enable_cpu_mem_arena = False
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


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
