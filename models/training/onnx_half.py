"""Store an ONNX network's weights in half precision; it still computes in single precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Tensors smaller than this stay as they are.
LEAST = 256


def halve(path: Path) -> None:
    """Rewrite the file: large float32 initialisers become float16 with a cast in front, folded when it is loaded."""
    model = onnx.load(str(path))
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or int(np.prod(tensor.dims)) < LEAST:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(values, f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    for place, node in enumerate(casts):
        model.graph.node.insert(place, node)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
