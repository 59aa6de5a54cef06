"""Fetched pickles become files that cannot run code, and what could run code is refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from anonymizer.core.errors import ModelError
from anonymizer.detect.yolo import COCO, COCO_LABELS, YoloSegDetector
from anonymizer.models import convert, weights


class Evil:
    """Runs a command when it is unpickled the ordinary way."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.witness}",)


def test_every_conversion_in_the_list_exists() -> None:
    assert {weight.convert for weight in weights.entries() if weight.convert} == set(convert.CONVERTERS)


def test_hed_becomes_safetensors(tmp_path: Path) -> None:
    torch.save({"norm": torch.ones(2).half()}, tmp_path / "net.pth")
    convert.hed_to_safetensors(tmp_path / "net.pth", tmp_path / "net.safetensors")
    assert torch.equal(load_file(tmp_path / "net.safetensors")["norm"], torch.ones(2))


@pytest.mark.parametrize("name", sorted(convert.CONVERTERS))
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_hostile_pickle_is_refused_and_does_not_run(tmp_path: Path, name: str) -> None:
    source, witness = tmp_path / "net.pt", tmp_path / "witness"
    torch.save({"model": Evil(witness)}, source)
    with pytest.raises(ModelError, match="refused"):
        convert.CONVERTERS[name](source, tmp_path / "net.out")
    source.write_bytes(pickle.dumps(Evil(witness)))
    with pytest.raises(ModelError, match="refused"):
        convert.CONVERTERS[name](source, tmp_path / "net.out")
    assert not witness.exists() and not (tmp_path / "net.out").exists()


def test_tensors_under_other_types_are_refused(tmp_path: Path) -> None:
    torch.save([torch.ones(1)], tmp_path / "net.pth")
    with pytest.raises(ModelError, match="dictionary of tensors, got list"):
        convert.hed_to_safetensors(tmp_path / "net.pth", tmp_path / "net.safetensors")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_osnet_becomes_onnx_that_describes_alike_and_other_networks_are_refused(tmp_path: Path) -> None:
    from anonymizer.evaluation.networks import OsnetEmbedder
    from anonymizer.models.osnet import osnet_ain

    torch.manual_seed(0)
    network = osnet_ain().eval()
    for tensor in network.state_dict().values():  # random weights of the true architecture, moments included
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) * 0.2 + 0.05)
    # As torchreid saves them: on several GPUs, with a classifier of its training's identities.
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({**state, "module.classifier.weight": torch.ones(4, 512)}, tmp_path / "net.pt")
    convert.osnet_to_onnx(tmp_path / "net.pt", tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    person = torch.rand(2, 3, 256, 128)
    (found,) = session.run(None, {"person": person.numpy()})
    with torch.no_grad():
        wanted = network(person).numpy()
    assert found.shape == (2, 512) and np.abs(wanted).max() > 1e-3
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
    vector = OsnetEmbedder(tmp_path / "net.onnx", "0" * 64, "MIT").embed(
        np.full((90, 60, 3), 80, np.uint8), np.array([10, 10, 40, 80], np.float32), None, None
    )
    assert vector.shape == (512,) and np.isclose(np.linalg.norm(vector), 1)
    state.pop("module.conv5.conv.weight")
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(ModelError, match="expected the tensors of OSNet"):
        convert.osnet_to_onnx(tmp_path / "net.pt", tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("architecture", ["yolo11n-seg", "yolo26n-seg"])
def test_a_checkpoint_becomes_a_network_the_detector_reads(tmp_path: Path, architecture: str) -> None:
    from ultralytics.nn.tasks import SegmentationModel

    torch.manual_seed(0)
    made = SegmentationModel(f"{architecture}.yaml", verbose=False)
    made.names = {index: str(index) for index in range(80)}
    torch.save({"model": made.half(), "ema": None, "train_args": {}}, tmp_path / "net.pt")
    convert.yolo_to_onnx(tmp_path / "net.pt", tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    candidates, protos = session.run(None, {"images": np.zeros((1, 3, 64, 96), np.float32)})
    # Every candidate is there, not the few that an end-to-end head would keep.
    assert candidates.shape == (1, 4 + 80 + 32, 8 * 12 + 4 * 6 + 2 * 3) and protos.shape == (1, 32, 16, 24)
    detector = YoloSegDetector(
        tmp_path / "net.onnx", {"person": 0.0, "vehicle": 0.0}, sizes=[64], classes=COCO, labels=COCO_LABELS
    )
    found = detector.detect(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8))
    assert {i.label for i in found} == {"person", "vehicle"}
    assert {i.source for i in found} == {"yolo", "yolo:car", "yolo:motorcycle", "yolo:bus", "yolo:truck"}
