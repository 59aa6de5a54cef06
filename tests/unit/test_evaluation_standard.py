"""Standard metrics of utility: what they count, and what they cannot be fooled by."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from anonymizer.core.errors import ModelError
from anonymizer.core.records import Floats, Image, Instance
from anonymizer.evaluation.detectors import LeakDetector
from anonymizer.evaluation.distances import frechet
from anonymizer.evaluation.judges import Judges
from anonymizer.evaluation.networks import CropDistance
from anonymizer.evaluation.records import Subject
from anonymizer.evaluation.standard import CHANGED, LEAST, StandardMetrics, Tools

SIZE = (100, 200)


def subject(number: int, x: int, label: str = "person") -> Subject:
    return Subject("p", number, label, np.array([x, 20, x + 30, 80], np.float32), mask=np.ones((60, 30), np.bool_))


def original() -> Image:
    return np.full((*SIZE, 3), 100, np.uint8)


def measured(
    variant: Image, subjects: tuple[Subject, ...], tools: Tools | None = None, treated: np.ndarray | None = None
) -> dict[str, Any]:
    metrics = StandardMetrics(("person", "face"), tools or Tools())
    metrics.add("original", original(), original(), subjects)
    metrics.add("anonymized", original(), variant, subjects, treated)
    return metrics.rows(np.random.default_rng(0), 20)


def row(rows: list[dict[str, Any]], **what: str) -> dict[str, Any]:
    (found,) = (one for one in rows if all(one[name] == value for name, value in what.items()))
    return found


def test_what_changes_is_counted_and_what_of_it_is_nobody() -> None:
    image = original()
    image[20:80, 40:70] += CHANGED  # the person
    image[0:10, 190:200] += CHANGED  # nobody
    image[90:, :] += CHANGED - 1  # as an encoder would
    treated = np.zeros(SIZE, np.bool_)
    treated[20:80, 40:70] = treated[0:10, 190:200] = treated[95:, :5] = True
    rows = measured(image, (subject(0, 40),), treated=treated)["changed"]
    changed = row(rows, variant="anonymized")
    assert changed["pixels"].value == pytest.approx((60 * 30 + 100) / 20_000)
    assert changed["needless"].value == pytest.approx(100 / 1_900)
    assert changed["false_regions"].value == 2
    same = row(rows, variant="original")
    assert same["pixels"].value == 0 and same["needless"].value is None and same["false_regions"].value is None


class Pose:
    """Sees two sure joints at the brightest row of the box."""

    def find(self, image: Image, box: Floats) -> Floats:
        part = image[int(box[1]) : int(box[3]), int(box[0]) : int(box[2]), 0]
        joints = np.zeros((17, 3), np.float32)
        joints[:2] = [[box[0], box[1] + part.max(axis=1).argmax(), 0.9]] * 2
        joints[1, :2] += part.max() == 251  # This one moves by a pixel more.
        joints[2, 2] = 0.2
        return joints


class Faces:
    """Finds a face whose eyes are 10 pixels apart where it is not black."""

    def find(self, image: Image, box: Floats) -> tuple[Floats, Floats] | None:
        value = float(image[int(box[1]), int(box[0]), 0])
        marks = np.array([[10, 10], [20, 10], [15, 15], [12, 20], [18, 20]], np.float32)
        return None if value == 0 else (box, marks + np.array([value - 100, 0], np.float32))


def test_joints_and_landmarks_are_held_to_the_originals() -> None:
    image = original()
    image[23, 40:70] = 250  # row 3 of the box: 3 of 60 pixels, within a tenth
    image[50, 90:120] = 250  # half of the height
    image[20, 150:180] = 102
    people = (subject(0, 40), subject(1, 90), subject(2, 150, "face"))
    tools = Tools(cast(Any, Faces()), cast(Any, Pose()))
    places = measured(image, people, tools)["places"]
    joints = row(places, label="person", variant="anonymized")
    assert joints["kept"].value == 0.5 and joints["error"].value == pytest.approx((3 + 30) / 60 / 2)
    face = row(places, label="face", variant="anonymized")
    assert face["kept"].value == 1 and face["error"].value == pytest.approx(0.2)
    image[20, 150] = 0
    face = row(measured(image, people, tools)["places"], label="face", variant="anonymized")
    assert face["kept"].value == 0 and face["error"].value is None


class Bright:
    """Finds a person wherever a box of the test is not black."""

    def detect(self, image: Image) -> tuple[Instance, ...]:
        boxes = [np.array([x, 20, x + 30, 80], np.float32) for x in (40, 90) if image[50, x + 15, 0]]
        return tuple(Instance(n + 1, "person", box, np.ones((60, 30), np.bool_)) for n, box in enumerate(boxes))


def test_another_detectors_recall_stands_beside_and_one_of_the_run_is_not_asked() -> None:
    image = original()
    image[20:80, 90:120] = 0
    people = (subject(0, 40), subject(1, 90))
    free = LeakDetector("free", ("person",), ("person",), cast(Any, Bright()))
    used = LeakDetector("used", ("person",), (), cast(Any, Bright()))
    rows = measured(image, people, Tools(detectors=(free, used)))["detected"]
    assert {one["detector"] for one in rows} == {"free"}
    assert row(rows, label="person", variant="original")["found"].value == 1
    assert row(rows, label="person", variant="anonymized")["found"].value == 0.5


def test_frechet_distance_is_that_of_normal_distributions() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=(20_000, 3))
    assert frechet(one, one) == pytest.approx(0, abs=1e-6)
    # Means 2 apart in one direction, deviation 3 instead of 1 in another: 4 + (3 - 1)^2.
    assert frechet(one, one * [1, 3, 1] + [2, 0, 0]) == pytest.approx(8, rel=0.03)


def network(path: Path, inputs: dict[str, list[Any]], nodes: list[onnx.NodeProto], out: str, shape: list[Any]) -> None:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, form) for name, form in inputs.items()],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, shape)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def test_fid_and_lpips_are_measured_where_their_networks_are_given(tmp_path: Path) -> None:
    judges = Judges(tmp_path)
    assert judges.inception() is None and judges.lpips() is None and judges.pose() is None
    assert {one.name for one in judges.unavailable} == {"Inception (FID)", "LPIPS", "movenet (pose)"}
    mean = [helper.make_node("ReduceMean", ["x"], ["features"], axes=[2, 3], keepdims=0)]
    network(tmp_path / "inception.onnx", {"x": ["n", 3, 299, 299]}, mean, "features", ["n", 3])
    apart = [
        helper.make_node("Sub", ["a", "b"], ["d"]),
        helper.make_node("Abs", ["d"], ["e"]),
        helper.make_node("ReduceMean", ["e"], ["distance"], axes=[1, 2, 3], keepdims=0),
    ]
    crops = {name: ["n", 3, 128, 128] for name in "ab"}
    network(tmp_path / "lpips.onnx", crops, apart, "distance", ["n"])
    tools = Tools(inception=judges.inception(), lpips=judges.lpips())
    image = original()
    image[:] = 151
    found = measured(image, (subject(0, 60),), tools)
    # Levels of 255 in [-1, 1]: 51 are 0.4; the surroundings of the box end within the picture.
    assert row(found["lpips"], variant="anonymized")["estimate"].value == pytest.approx(0.4, abs=0.01)
    assert row(found["lpips"], variant="original")["estimate"].value == 0
    few = row(found["fid"], variant="anonymized")["estimate"]
    assert few.value is None and f"at least {LEAST}" in few.reason
    with pytest.raises(ModelError, match="expected two inputs"):
        CropDistance(tmp_path / "inception.onnx")
