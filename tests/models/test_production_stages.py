"""Detectors, depth and edges of the production presets, and whole presets, with random weights of the true classes."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from anonymizer.condition.depth import DepthAnything
from anonymizer.condition.edges import HedEdges
from anonymizer.config import presets
from anonymizer.core.errors import InputError, ModelError
from anonymizer.core.records import Instance, Result
from anonymizer.detect.faces import ScrfdDetector
from anonymizer.detect.plate_network import PlateNetwork
from anonymizer.detect.sam import SamRefiner
from anonymizer.models import weights

torch: Any = importlib.import_module("torch")
transformers: Any = importlib.import_module("transformers")
ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def script(name: str) -> ModuleType:
    """Return a script of ``benchmarks`` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with every weight of every preset, reduced and random."""
    out = tmp_path_factory.mktemp("cache")
    making = script("make_random_pipeline")
    making.write(out, True, list(making.WRITERS))
    return out


@pytest.fixture
def fetched(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, in the place where it is looked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.delenv("ANONYMIZER_MODELS", raising=False)
    return cache / "anonymizer" / "models"


def noise(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.mark.parametrize("weight_id", ["depth-anything-v2-small", "depth-anything-v1-large"])
def test_depth_is_relative_and_as_large_as_the_picture(fetched: Path, weight_id: str) -> None:
    depth = DepthAnything(weights.path(weight_id)).estimate(noise((45, 80)))
    assert depth.shape == (45, 80) and depth.dtype == np.float32
    assert depth.min() >= 0 and depth.max() <= 1
    with pytest.raises(ModelError, match="expected a Depth Anything folder"):
        DepthAnything(fetched / "sd15-depth")


def test_hed_equals_the_network_written_as_modules(fetched: Path) -> None:
    """The same layers as `nn.Module`, the way the annotators write them, on the same weights."""
    from safetensors.torch import load_file

    nn, tensors = torch.nn, load_file(weights.path("hed"))
    image = noise((40, 56))
    x = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32)) - tensors["norm"]
    sides = []
    for block, count in enumerate((2, 2, 3, 3, 3), start=1):
        x = nn.MaxPool2d(2, 2)(x) if block > 1 else x
        for layer in range(count):
            weight = tensors[f"block{block}.convs.{layer}.weight"]
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
            conv.load_state_dict({k: tensors[f"block{block}.convs.{layer}.{k}"] for k in ("weight", "bias")})
            x = torch.relu(conv(x))
        projection = nn.Conv2d(x.shape[1], 1, 1)
        projection.load_state_dict({k: tensors[f"block{block}.projection.{k}"] for k in ("weight", "bias")})
        side = nn.functional.interpolate(projection(x), (40, 56), mode="bilinear", align_corners=False)
        sides.append(side[0, 0].detach().numpy())
    expected = 1 / (1 + np.exp(-np.mean(sides, axis=0)))
    edges = HedEdges(weights.path("hed")).detect(image)
    assert edges.dtype == np.float32 and edges.shape == (40, 56)
    assert np.abs(edges - expected).max() < 1e-3
    assert HedEdges(weights.path("hed"), max_side=32).detect(image).shape == (40, 56)
    assert HedEdges(weights.path("hed")).detect(noise((1, 9))).shape == (1, 9)


def test_other_weights_are_not_taken_for_hed(fetched: Path) -> None:
    with pytest.raises(ModelError, match="expected HED"):
        HedEdges(weights.path("sd15-lcm-lora"))
    with pytest.raises(ModelError, match="expected safetensors"):
        HedEdges(fetched / "none.safetensors")


def constant_network(path: Path, outputs: dict[str, np.ndarray]) -> Path:
    """Write a network with a free input that always says the same."""
    nodes = [
        helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(value, name + "_v"))
        for name, value in outputs.items()
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(value.shape)) for name, value in outputs.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_plates_come_back_in_the_pictures_pixels(tmp_path: Path) -> None:
    # Two candidates for one plate and a weak one, in a view of 64 x 64 of a picture of 128 x 128.
    table = np.array([[20, 30, 20, 10, 0.9], [21, 30, 20, 10, 0.5], [50, 50, 8, 4, 0.1]], np.float32)
    path = constant_network(tmp_path / "plates.onnx", {"output0": table.T[None]})
    (plate,) = PlateNetwork(path, 0.3, sizes=[64]).detect(noise((128, 128)))
    assert plate.label == "license_plate" and plate.score == pytest.approx(0.9)
    x1, y1, x2, y2 = plate.box
    assert x1 <= 20 and y1 <= 50 and x2 >= 60 and y2 >= 70 and x2 - x1 < 50
    assert plate.mask.all()


def test_plate_networks_of_another_layout_are_refused(tmp_path: Path, fetched: Path) -> None:
    with pytest.raises(ModelError, match="expected one output"):
        PlateNetwork(weights.path("yolo26m-seg"), 0.3)
    path = constant_network(tmp_path / "six.onnx", {"output0": np.zeros((1, 6, 3), np.float32)})
    with pytest.raises(ModelError, match="5 channels"):
        PlateNetwork(path, 0.3, sizes=[64]).detect(noise((64, 64)))
    with pytest.raises(InputError, match="at least 32"):
        PlateNetwork(path, 0.3, sizes=[])
    assert PlateNetwork(weights.path("plates"), 0.0, sizes=[64]).detect(noise((64, 64)))


def scrfd(path: Path, landmarks: bool = True) -> Path:
    """Write a network with SCRFD's outputs for 640 x 640 that sees one face at the cell (row 20, column 30) of 16."""
    outputs: dict[str, np.ndarray] = {}
    widths = (1, 4, 10) if landmarks else (1, 4)
    for width in widths:
        for stride in (8, 16, 32):
            values = np.zeros(((640 // stride) ** 2 * 2, width), np.float32)
            if stride == 16:
                cell = 2 * (20 * 40 + 30)
                values[cell] = {1: [0.8], 4: [2, 2, 2, 3], 10: [-1, -1, 1, -1, 0, 0, -1, 1, 1, 1]}[width]
            outputs[f"o{width}_{stride}"] = values
    return constant_network(path, outputs)


def test_scrfd_faces_come_with_landmarks(tmp_path: Path) -> None:
    (face,) = ScrfdDetector(scrfd(tmp_path / "scrfd.onnx"), 0.5).detect(noise((320, 320)))
    # Stride 16, centre (480, 320) in 640 pixels: half of that in the picture.
    assert face.label == "face" and face.score == pytest.approx(0.8)
    assert face.box[0] < 224 < 256 < face.box[2] and face.box[1] < 144 < 184 < face.box[3]
    assert face.landmarks is not None
    assert face.landmarks.tolist() == [[232, 152], [248, 152], [240, 160], [232, 168], [248, 168]]
    assert ScrfdDetector(scrfd(tmp_path / "scrfd.onnx"), 0.9).detect(noise((320, 320))) == ()
    with pytest.raises(ModelError, match="with landmarks"):
        ScrfdDetector(scrfd(tmp_path / "plain.onnx", landmarks=False))


class Found:
    """Finds what it is told."""

    def __init__(self, *instances: Instance) -> None:
        self.instances = instances

    def detect(self, image: np.ndarray) -> tuple[Instance, ...]:
        return self.instances


@pytest.fixture(scope="module")
def sam_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SAM 2 of the true class, reduced and random."""
    folder = tmp_path_factory.mktemp("sam")
    torch.manual_seed(0)
    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=12,
        num_attention_heads=1,
        image_size=[128, 128],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[12, 24, 48, 96],
        num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=[8, 4, 4, 4],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[7, 7],
    )
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[96, 48, 24, 12],
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
        fpn_hidden_size=32,
    )
    config = transformers.Sam2Config(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 32, "image_size": 128},
        mask_decoder_config={"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32},
    )
    transformers.Sam2Model(config).save_pretrained(folder)
    size = {"height": 128, "width": 128}
    processor = transformers.Sam2ImageProcessor(size=size, mask_size={"height": 32, "width": 32})
    transformers.Sam2Processor(processor, target_size=128).save_pretrained(folder)
    return folder


def test_refined_masks_only_grow(sam_folder: Path) -> None:
    mask = np.zeros((40, 20), bool)
    mask[5:35, 4:16] = True
    person = Instance(1, "person", np.array([30, 20, 50, 60], np.float32), mask, score=0.8)
    face = Instance(2, "face", np.array([35, 20, 45, 30], np.float32), np.ones((10, 10), bool), parent=1)
    refiner = SamRefiner(Found(person, face), sam_folder)
    refined, kept = refiner.detect(noise((90, 120)))
    assert (refined.mask >= mask).all() and kept is face
    assert np.array_equal(refined.box, person.box)
    assert SamRefiner(Found(face), sam_folder).detect(noise((90, 120))) == (face,)


def test_a_refined_mask_counts_where_it_agrees(sam_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The logits say: the left half of a picture of 120 x 90. Cut to each box, that is added or, if off, ignored."""
    instances = tuple(
        Instance(n, "vehicle", np.array(box, np.float32), np.ones((20, 20), bool) & (np.arange(20) < 10))
        for n, box in enumerate([(48, 20, 68, 40), (90, 20, 110, 40)], start=1)
    )
    refiner = SamRefiner(Found(*instances), sam_folder)
    real = refiner._model.forward

    def half(*arguments: Any, **options: Any) -> Any:
        found = real(*arguments, **options)
        found.pred_masks[:] = -1
        found.pred_masks[..., : found.pred_masks.shape[-1] // 2] = 1
        return found

    monkeypatch.setattr(refiner._model, "forward", half)
    first, second = refiner.detect(noise((90, 120)))
    assert first.mask.sum(axis=1).tolist() == [12] * 20  # columns 48 to 59 lie in the left half
    assert np.array_equal(second.mask, instances[1].mask)


def test_sam_folders_of_another_kind_are_refused(fetched: Path) -> None:
    with pytest.raises(ModelError, match="expected a SAM 2 folder"):
        SamRefiner(Found(), fetched / "sd15-depth")


SMALL = """[mine]
base = "{base}"
[mine.detect]
sizes = [160]
plate_sizes = [160]
person = 1.0
vehicle = 1.0
license_plate = 1.0
[mine.redraw]
steps = 1
attempts = {{ person = 1, vehicle = 1, face = 1, license_plate = 1 }}
"""
CROPS = """[mine.redraw.crops]
person = { height = 64, width = 32, margin = 0.1 }
vehicle = { height = 32, width = 32, margin = 0.1 }
face = { height = 32, width = 32, margin = 0.3 }
license_plate = { height = 32, width = 32, margin = 0.3 }
"""
PAPER_CROPS = """[mine.redraw.crops]
person = { long_side = 64, margin = 0.9, dilation = 13, small_area = 1000 }
vehicle = { long_side = 64, margin = 0.9, dilation = 13, small_area = 1000 }
face = { height = 32, width = 32, margin = 0.3 }
license_plate = { height = 32, width = 32, margin = 0.3 }
"""


def given(labels: Sequence[str], size: tuple[int, int]) -> list[Instance]:
    boxes = {"person": (10, 10, 40, 80), "vehicle": (60, 40, 110, 80), "license_plate": (70, 60, 100, 70)}
    made = []
    for n, label in enumerate(labels, start=1):
        x1, y1, x2, y2 = boxes[label]
        made.append(Instance(n, label, np.array(boxes[label], np.float32), np.ones((y2 - y1, x2 - x1), bool)))
    return made


@pytest.mark.parametrize("name", presets.names()[1:])
def test_whole_presets_fail_closed_on_noise(fetched: Path, tmp_path: Path, name: str) -> None:
    """Random weights redraw nothing a detector would find again: every instance must end redacted, none original."""
    file = tmp_path / "mine.toml"
    file.write_text(SMALL.format(base=name) + (PAPER_CROPS if "paper" in name else CROPS))
    labels = ["person", "vehicle", "license_plate"] if name == "paper-cars" else ["person"]
    anonymizer = presets.build(file, seed=1, force=True)
    image = noise((96, 128))
    first, second = anonymizer.anonymize_many([image] * 2, [given(labels, (96, 128))] * 2, keys=["a", "b"])
    for result in (first, second):
        assert isinstance(result, Result), result
        assert {instance.label for instance in result.instances} >= set(labels)
        assert {treatment.action for treatment in result.treatments} == {"redacted"}
        for instance in given(labels, (96, 128)):
            x1, y1, x2, y2 = (int(value) for value in instance.box)
            assert (result.image[y1:y2, x1:x2] != image[y1:y2, x1:x2]).any(axis=2).mean() > 0.9
    with pytest.raises(InputError, match="as many instances, keys and areas as pictures"):
        anonymizer.anonymize_many([image], keys=["a", "b"])
    told = anonymizer.describe()
    assert set(told["models"]) == set(requirements_of(name))


def requirements_of(name: str) -> tuple[str, ...]:
    from anonymizer.config import requirements

    return requirements.weight_ids(presets.tables()[name])
