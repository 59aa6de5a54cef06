"""Whole pictures are found by what is kept, and that is said beside values with the own original in the gallery."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from anonymizer.core.records import Image
from anonymizer.evaluation.attacks import scene
from anonymizer.evaluation.networks import ImageFeatures
from anonymizer.evaluation.records import Context, Finding, Skipped, Subject

from .attack_fakes import Scene


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> ImageFeatures:
    """Return a network that sees mean colours in a grid of 4 x 4."""
    nodes = [
        helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=[65, 65], strides=[65, 65]),
        helper.make_node("Flatten", ["cells"], ["features"]),
    ]
    graph = helper.make_graph(
        nodes,
        "judge",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 260, 260])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 48])],
    )
    path = tmp_path_factory.mktemp("judges") / "efficientnet-lite2.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return ImageFeatures(path)


def black_middle(image: Image, subjects: Sequence[Subject]) -> Image:
    out = image.copy()
    out[20:60, 20:60] = 0
    return out


def black(image: Image, subjects: Sequence[Subject]) -> Image:
    return np.zeros_like(image)


def context(folder: Path, *judges: ImageFeatures) -> Context:
    made = Scene()
    rng = np.random.default_rng(0)
    for number in range(12):
        image = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(20, axis=0).repeat(20, axis=1)
        made.add(f"{number}.png", image, Subject(f"{number}.png", 0, "person", np.array([20, 20, 60, 60], np.float32)))
    return made.context(folder, ("person",), black_middle, judges, everything=black)


def test_a_scene_that_is_kept_is_found_and_one_that_is_gone_is_chance(tmp_path: Path, features: ImageFeatures) -> None:
    found = {f.variant: f.estimates for f in scene.run(context(tmp_path, features)) if isinstance(f, Finding)}
    assert set(found) == {"everything", "anonymized"}
    assert found["anonymized"]["rank1"].value == 1.0
    gone = found["everything"]["rank1"].value
    assert gone is not None and gone < 0.2


def test_without_features_it_is_skipped(tmp_path: Path) -> None:
    (skipped,) = scene.run(context(tmp_path))
    assert isinstance(skipped, Skipped) and "make_judges.py" in skipped.reason
