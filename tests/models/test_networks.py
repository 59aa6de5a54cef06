"""Embedded networks of other packages on photographs that installed packages ship."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from anonymizer.core.geometry import box_iou, full_mask, outlined
from anonymizer.detect.blazepose import LANDMARKS, BlazePose
from anonymizer.detect.centernet import CenterNetDetector
from anonymizer.detect.facemesh import FaceMesh
from anonymizer.detect.faces import CenterFaceDetector
from anonymizer.detect.yolo import YoloSegDetector
from anonymizer.models import weights

#: Three people and a bus, by eye: x1, y1, x2, y2.
PEOPLE = ((50, 399, 245, 905), (215, 405, 345, 860), (668, 390, 810, 880))
BUS = (15, 225, 805, 740)


def picture(package: str, path: str) -> np.ndarray:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    return np.asarray(Pillow.open(Path(spec.origin).parent / path).convert("RGB"))


@pytest.fixture(scope="module")
def street() -> np.ndarray:
    return picture("ultralytics", "assets/bus.jpg")


def test_people_and_a_bus_are_found(street: np.ndarray) -> None:
    thresholds = {"person": 0.3, "vehicle": 0.3}
    found = CenterNetDetector(weights.path("centernet"), thresholds).detect(street)
    persons = np.stack([i.box for i in found if i.label == "person"])
    overlaps = box_iou(np.array(PEOPLE, np.float32), persons)
    assert (overlaps.max(axis=1) > 0.6).all(), overlaps.max(axis=1)
    vehicles = [i for i in found if i.label == "vehicle"]
    assert [i.source for i in vehicles] == ["centernet:bus"]
    assert box_iou(np.array(BUS, np.float32), vehicles[0].box)[0, 0] > 0.8


def test_a_person_has_joints_a_mask_and_a_body_in_metres(street: np.ndarray) -> None:
    nobody = (500, 100, 700, 300)
    views = BlazePose(weights.path("blazepose")).look(street, np.array([*PEOPLE[:2], nobody], np.float32))
    assert [view.presence > 0.9 for view in views] == [True, True, False]
    man = views[0]
    places = dict(zip(LANDMARKS, man.landmarks[:, :2], strict=True))
    for name, place in {"nose": (128, 438), "left_knee": (190, 760), "right_ankle": (80, 860)}.items():
        assert np.linalg.norm(places[name] - place) < 40, (name, places[name])
    assert man.visibility[LANDMARKS.index("nose")] > 0.9
    body = dict(zip(LANDMARKS, man.world, strict=True))
    assert 1.2 < body["left_ankle"][1] - body["nose"][1] < 1.9
    assert body["nose"][2] < 0, "he faces the camera"
    left, top, right, _ = man.window
    share = man.mask.shape[0] / (right - left)
    for (x, y), his in {(125, 440): 1, (150, 540): 1, (95, 740): 1, (50, 420): 0, (30, 760): 0, (215, 430): 0}.items():
        assert round(float(man.mask[int((y - top) * share), int((x - left) * share)])) == his, (x, y)


def test_a_plate_has_corners(street: np.ndarray) -> None:
    corners = np.array([(330, 560), (450, 555), (452, 610), (332, 616)], np.float32)
    plate = np.full((130, 400, 3), 235, np.uint8)
    plate[:26] = (20, 60, 150)
    cv2.rectangle(plate, (3, 3), (396, 126), (20, 20, 25), 3)
    cv2.putText(plate, "ABC 1234", (22, 112), cv2.FONT_HERSHEY_SIMPLEX, 2.6, (20, 20, 25), 9, cv2.LINE_AA)
    size = street.shape[1], street.shape[0]
    place = cv2.getPerspectiveTransform(np.array([(0, 0), (400, 0), (400, 130), (0, 130)], np.float32), corners)
    there = cv2.warpPerspective(np.full((130, 400), 255, np.uint8), place, size) > 127
    image = np.where(there[..., None], cv2.warpPerspective(plate, place, size), street)
    detector = YoloSegDetector(
        weights.path("platedet"),
        {"license_plate": 0.1},
        sizes=(640,),
        classes=("plate",),
        labels={"plate": "license_plate"},
        plate_outlines=True,
    )
    assert detector.detect(street) == ()
    (found,) = detector.detect(image)
    outline = full_mask(outlined(found), image.shape[:2])
    assert np.count_nonzero(outline & there) > 0.7 * np.count_nonzero(outline | there)
    covered = full_mask(found, image.shape[:2]) & there
    assert np.count_nonzero(covered) > 0.9 * np.count_nonzero(there)


def test_a_face_has_its_irises_where_its_eyes_are() -> None:
    image = picture("insightface", "data/images/t1.jpg")
    faces = CenterFaceDetector(weights.path("centerface"), threshold=0.6).detect(image)
    views = FaceMesh(weights.path("facemesh")).look(image, np.stack([face.box for face in faces]))
    sure = [(face, view) for face, view in zip(faces, views, strict=True) if view.confidence > 0.5]
    assert len(sure) >= 4
    for face, view in sure:
        assert face.landmarks is not None
        eyes, irises = face.landmarks[:2], view.points[[468, 473], :2]
        assert np.linalg.norm(eyes - irises, axis=1).max() < 0.4 * np.linalg.norm(eyes[1] - eyes[0])
        nose, ear_to_ear = view.points[1], view.points[[234, 454]]
        assert nose[2] < ear_to_ear[:, 2].min(), "the nose is nearest"
    wall = FaceMesh(weights.path("facemesh")).look(image, np.array([[0, 0, 60, 60]], np.float32))
    assert wall[0].confidence < 0.1
