"""The evaluator on a real group picture: faces are known in the original and not under a solid fill."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pictures

from anonymizer.core.geometry import box_iou
from anonymizer.core.records import Image, Instance
from anonymizer.detect.faces import CenterFaceDetector
from anonymizer.evaluation import runner
from anonymizer.evaluation.detectors import DlibFrontalDetector
from anonymizer.evaluation.runner import Evaluation, Settings
from anonymizer.evaluation.subjects import FaceFinder
from anonymizer.models import weights


@pytest.fixture(scope="module")
def group() -> Image:
    """Return RGB uint8 (H, W, 3): six people side by side."""
    spec = find_spec("insightface")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("insightface is not installed")
    path = Path(spec.submodule_search_locations[0]) / "data" / "images" / "t1.jpg"
    if not path.is_file():
        pytest.skip("this version of insightface carries no t1.jpg")
    return np.asarray(Pictures.open(path).convert("RGB"))


@pytest.fixture(scope="module")
def faces(group: Image) -> tuple[Instance, ...]:
    found = CenterFaceDetector(weights.path("centerface"), 0.5).detect(group)
    assert len(found) == 6
    return tuple(sorted(found, key=lambda face: float(face.box[0])))


@pytest.fixture(scope="module")
def evaluation(group: Image, faces: tuple[Instance, ...], tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Evaluate two pictures of the six (the second darker, with a third of its detail gone), faces blacked out."""
    root = tmp_path_factory.mktemp("group")
    height, width = group.shape[:2]
    small = Pictures.fromarray(group).resize((width * 2 // 3, height * 2 // 3))
    second = (np.asarray(small.resize((width, height))) * 0.8).astype(np.uint8)
    images, annotations = [], []
    for number, pixels in enumerate((group, second), start=1):
        name = f"{number}.png"
        filled = pixels.copy()
        for who, face in enumerate(faces):
            x1, y1, x2, y2 = (int(v) for v in face.box)
            filled[y1:y2, x1:x2] = 0
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "identity": f"person {who}", "category_id": 1}
            annotations.append({"id": 10 * number + who, "image_id": number, **box})
        for folder, content in (("originals", pixels), ("released", filled)):
            (root / folder).mkdir(exist_ok=True)
            Pictures.fromarray(content).save(root / folder / name)
        images.append({"id": number, "file_name": name, "width": width, "height": height})
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "face"}]}
    (root / "annotations.json").write_text(json.dumps(coco))
    settings = Settings(
        attacks=("naive", "aligned"), baselines=("blur",), recognizers=("dlib",), utility=False, bootstrap=50
    )
    return runner.evaluate(
        root / "originals", root / "released", root / "out", settings, annotations=root / "annotations.json"
    )


@pytest.mark.parametrize("attack", ["naive", "aligned"])
def test_originals_are_recognised_in_the_other_picture(evaluation: Evaluation, attack: str) -> None:
    (found,) = (f for f in evaluation.findings if (f.attack, f.variant) == (attack, "original"))
    assert found.estimates["rank1"].value == 1.0 and found.counts["not_found"] == 0
    chance = found.estimates["rank1_chance"].value
    assert chance is not None and chance < 0.4


def test_black_faces_are_not(evaluation: Evaluation) -> None:
    assert evaluation.dataset.survey.subjects == {"face": 12}
    for finding in evaluation.findings:
        if finding.variant == "anonymized":
            rank1 = finding.estimates["rank1"]
            if finding.attack == "naive" and finding.counts["not_found"] == 12:
                assert rank1.value is None and "none of the 12 probes was found" in rank1.reason
            else:
                assert rank1.value is not None and rank1.value <= 0.5


def test_a_face_is_found_again_where_it_was(group: Image, faces: tuple[Instance, ...]) -> None:
    finder = FaceFinder()
    for face in faces:
        shifted = face.box + np.float32(0.15) * (face.box[2] - face.box[0])
        found = finder.find(group, shifted)
        assert found is not None and face.landmarks is not None
        assert box_iou(found[0][None], face.box[None])[0, 0] > 0.7
        # Landmarks agree within 8 % of the face's width.
        assert np.abs(found[1] - face.landmarks).max() < 0.08 * (face.box[2] - face.box[0])
    x1, y1, x2, y2 = (int(v) for v in faces[0].box)
    black = group.copy()
    black[max(y1 - 40, 0) : y2 + 40, max(x1 - 40, 0) : x2 + 40] = 0
    assert finder.find(black, faces[0].box) is None


def test_the_second_detector_shares_nothing_with_the_first_and_agrees(
    group: Image, faces: tuple[Instance, ...]
) -> None:
    found = DlibFrontalDetector().detect(group)
    overlaps = box_iou(np.stack([face.box for face in found]), np.stack([face.box for face in faces]))
    assert len(found) >= 5 and (overlaps.max(axis=1) > 0.3).all()
    assert all(face.source == "dlib-frontal" for face in found)
