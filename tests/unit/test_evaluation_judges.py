"""Judges made by a script: what is there takes part, what is not is named, and networks are read as they were made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from anonymizer.core.errors import InputError, ModelError
from anonymizer.core.records import Image, Instance
from anonymizer.evaluation import networks
from anonymizer.evaluation.judges import Judges, judges_folder
from anonymizer.evaluation.networks import AttributePredictor, FaceInput, MultiPoseDetector, NetworkFace
from anonymizer.evaluation.recognizers import choose


def test_nanodet_is_read_at_its_cells() -> None:
    found = []
    for stride in networks.STRIDES:
        cells = networks.NANODET_SIDE // stride
        scores, sides = np.zeros((1, cells**2, 80), np.float32), np.full((1, cells**2, 44), -30, np.float32)
        sides.reshape(-1, 4, 11)[:, :, 3] = 30  # Three cells to each side.
        if stride == 16:
            scores[0, 2 * cells + 5, 0] = 0.9
            scores[0, 7, 1] = 0.9  # Not a person.
        found += [scores, sides]
    (person,) = networks.decode_nanodet(found)
    assert person.tolist() == pytest.approx([88 - 48, 40 - 48, 88 + 48, 40 + 48, 0.9])


def network(path: Path, nodes: list[onnx.NodeProto], taken: list[int | str], given: dict[str, list[int | str]],
            constants: dict[str, np.ndarray], kind: int = TensorProto.FLOAT) -> Path:  # fmt: skip
    """Write a small network with one input ``x``."""
    graph = helper.make_graph(
        nodes,
        "judge",
        [helper.make_tensor_value_info("x", kind, taken)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in given.items()],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def face_network(path: Path) -> Path:
    """Write a network whose first output is the mean colour, and whose second one is 100 ages of which 30 is sure."""
    ages = np.zeros((1, 100), np.float32)
    ages[0, 30] = 1
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["colour"], axes=[1, 2], keepdims=0),
        helper.make_node("Identity", ["ages"], ["years"]),
    ]
    return network(path, nodes, [1, 8, 8, 3], {"colour": [1, 3], "years": [1, 100]}, {"ages": ages})


def orange() -> tuple[np.ndarray, np.ndarray]:
    image = np.zeros((40, 40, 3), np.uint8)
    image[...] = (200, 100, 0)
    return image, np.array([10, 10, 30, 30], np.float32)


def test_colours_come_in_the_networks_order_and_range(tmp_path: Path) -> None:
    path = face_network(tmp_path / "net.onnx")
    image, box = orange()
    plain = networks._FaceNetwork(path, FaceInput(3, "none"))
    assert plain.run(image, box, None) == pytest.approx([200, 100, 0], abs=0.01)
    shifted = networks._FaceNetwork(path, FaceInput(3, "none", bgr=True, scale=0.5, shift=(1.0, 2.0, 3.0)))
    assert shifted.run(image, box, None) == pytest.approx([1, 52, 103], abs=0.01)
    vector = NetworkFace(path, FaceInput(3, "none", aligned=True)).embed(image, box, None)
    assert np.linalg.norm(vector) == pytest.approx(1) and vector[0] > vector[1] > vector[2]


def test_one_file_predicts_two_attributes_under_two_hashes(tmp_path: Path) -> None:
    path = face_network(tmp_path / "faceres.onnx")
    image, box = orange()
    age = AttributePredictor("net (age)", "age", path, FaceInput(100, "none"))
    other = AttributePredictor("net (emotion)", "emotion", path, FaceInput(3, "none"))
    assert age.sha256 != other.sha256
    assert age.read(age.embed(image, box, None, None)[None]).tolist() == [30.0]
    assert other.read(other.embed(image, box, None, None)[None]).tolist() == [0.0]
    with pytest.raises(ModelError, match="expected one output of width 7"):
        AttributePredictor("net (emotion)", "emotion", path, FaceInput(7, "none"))


def test_multipose_boxes_lie_where_the_picture_has_them(tmp_path: Path) -> None:
    found = np.zeros((1, 6, 56), np.float32)
    # Of an input of 192 x 384 pixels: upper quarter, right half; the second one is unsure.
    found[0, 0, 51:] = (0.0, 0.5, 0.25, 1.0, 0.9)
    found[0, 1, 51:] = (0.0, 0.0, 1.0, 1.0, 0.1)
    nodes = [helper.make_node("Identity", ["found"], ["people"])]
    path = network(tmp_path / "movenet-multipose.onnx", nodes, [1, "h", "w", 3], {"people": [1, 6, 56]},
                   {"found": found}, TensorProto.INT32)  # fmt: skip
    (person,) = MultiPoseDetector(path, 0.4).detect(np.zeros((100, 200, 3), np.uint8))
    assert person.label == "person" and person.score == pytest.approx(0.9)
    assert person.box.tolist() == pytest.approx([100, 0, 200, 25], abs=0.6)


def test_judges_at_hand_take_part_and_missing_ones_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "judges"
    folder.mkdir()
    nodes = [helper.make_node("Identity", ["v"], ["out"])]
    network(
        folder / "mobileface.onnx", nodes, [1, 112, 112, 3], {"out": [1, 256]}, {"v": np.ones((1, 256), np.float32)}
    )
    monkeypatch.setenv("ANONYMIZER_MODELS", str(tmp_path))
    judges = Judges(judges_folder())
    (face,) = judges.faces()
    assert face.name == "mobileface" and face.judge and "MIT" in face.licence
    assert (
        judges.features() is None
        and judges.silhouette(Outline()) is None
        and judges.predictors() == ()
        and judges.detectors() == ()
    )
    missing = {item.name for item in judges.unavailable}
    assert {"faceres", "ImageNet features", "faceres (age)", "nanodet (detector)"} <= missing
    scripts = {item.name: item.reason.rsplit("/", 1)[1] for item in judges.unavailable}
    assert scripts.pop("silhouette network") == "train_silhouettes.py" and set(scripts.values()) == {"make_judges.py"}
    with pytest.raises(InputError, match="expected a folder"):
        judges_folder(tmp_path / "none")
    # Named by its file it is the same judge.
    (named,), _ = choose((str(folder / "mobileface.onnx"),), {}, False)
    assert named.name == "mobileface" and named.sha256 == face.sha256


class Outline:
    """Sees one person, as wide as it is bright, wherever somebody is looked for."""

    def detect(self, image: Image) -> tuple[Instance, ...]:
        mask = (image[..., 0] > 100)[10:70, 5:45]
        return (Instance(1, "person", np.array([5, 10, 45, 70], np.float32), mask, 0.9, "test"),) if mask.any() else ()


def silhouettes(path: Path) -> Path:
    """Write a network that describes a frame by the sums of its rows."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["frame", "axes"], ["rows"], keepdims=0),
            helper.make_node("Squeeze", ["rows", "one"], ["description"]),
        ],
        "judge",
        [helper.make_tensor_value_info("frame", TensorProto.FLOAT, ["n", 1, *networks.OUTLINE])],
        [helper.make_tensor_value_info("description", TensorProto.FLOAT, ["n", networks.OUTLINE[0]])],
        [onnx.numpy_helper.from_array(np.array([n], np.int64), name) for name, n in (("axes", 3), ("one", 1))],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_the_network_of_silhouettes_sees_the_outline_found_in_the_picture_and_nothing_else(tmp_path: Path) -> None:
    silhouettes(tmp_path / "silhouette.onnx")
    judge = Judges(tmp_path).silhouette(Outline())
    assert judge is not None and judge.label == "person" and judge.judge
    image, box = np.zeros((80, 50, 3), np.uint8), np.array([5, 10, 45, 70], np.float32)
    image[12:70, 20:30, 0] = 200
    image[30:40, 10:40, 0] = 200
    given = np.ones((60, 40), np.bool_)
    rows = judge.embed(image, box, None, given)
    assert np.linalg.norm(rows) == pytest.approx(1)
    # 58 rows of 10 pixels, ten of them of 30: arms are three times as wide as the body, whatever mask was given.
    assert rows.max() / rows[2] == pytest.approx(3, rel=0.1) and 9 <= (rows > 2 * rows[2]).sum() <= 13
    bright = image.copy()
    bright[..., 1:] = 255
    bright[image[..., 0] > 0] = (250, 3, 7)
    assert np.array_equal(judge.embed(bright, box, None, None), rows)
    with pytest.raises(InputError, match="none found again"):
        judge.embed(np.zeros_like(image), box, None, given)


def test_another_file_is_no_network_of_silhouettes(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["v"], ["out"])]
    network(tmp_path / "silhouette.onnx", nodes, [1, 3, 64, 48], {"out": [1, 4]}, {"v": np.ones((1, 4), np.float32)})
    with pytest.raises(ModelError, match="expected an input of"):
        Judges(tmp_path).silhouette(Outline())


@pytest.mark.parametrize(("shape", "frame"), [((120, 30), (0, 64, 16, 32)), ((30, 120), (26, 38, 0, 48))])
def test_a_silhouette_keeps_its_proportions_in_the_frame(
    shape: tuple[int, int], frame: tuple[int, int, int, int]
) -> None:
    mask = np.zeros((200, 200), np.bool_)
    mask[20 : 20 + shape[0], 40 : 40 + shape[1]] = True
    seen = networks.outline_frame(mask)
    wanted = np.zeros(networks.OUTLINE, np.float32)
    wanted[frame[0] : frame[1], frame[2] : frame[3]] = 1
    assert np.allclose(seen, wanted, atol=1e-3)


def test_features_of_persons_see_neither_scene_nor_outline(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceMean", ["image"], ["features"], axes=[2, 3], keepdims=0)]
    graph = helper.make_graph(
        nodes,
        "judge",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 260, 260])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 3])],
    )
    path = tmp_path / "efficientnet-lite2.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    judge = networks.ImageFeatures(path)
    image, box = np.full((100, 60, 3), (10, 20, 30), np.uint8), np.array([0, 0, 60, 100], np.float32)
    mask = np.zeros((100, 60), np.bool_)
    mask[10:90, 20:40] = True
    person = image.copy()
    person[30:70, 20:40] = (200, 10, 60)  # the middle
    scene = person.copy()
    scene[:10, :10] = scene[-10:, -10:] = (0, 255, 0)
    plain = judge.embed(person, box, None, None)
    assert np.array_equal(judge.embed(scene, box, None, None), plain)
    assert np.array_equal(judge.embed(person, box, None, mask), plain)
    assert np.abs(judge.embed(image, box, None, None) - plain).max() > 0.1
