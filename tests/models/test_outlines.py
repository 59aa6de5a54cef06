"""The embedded outline network on people of a photograph that an installed package ships."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow

from anonymizer.core.geometry import full_mask, outlined
from anonymizer.core.records import Instance
from anonymizer.detect.outlines import OutlineDetector
from anonymizer.models import weights

#: A man who stands upright, and an outline that is too thick, has no feet and takes in the ground between the legs.
BOX = (40, 390, 252, 885)
#: What shows him, and what shows bus or pavement, by eye: x, y.
HIS = ((125, 440), (150, 540), (80, 600), (95, 740), (175, 800))
NOT_HIS = ((50, 420), (215, 430), (135, 860), (30, 760), (235, 660))


def test_an_outline_comes_nearer_to_the_person() -> None:
    spec = importlib.util.find_spec("ultralytics")
    assert spec is not None and spec.origin is not None
    image = np.asarray(Pillow.open(Path(spec.origin).parent / "assets/bus.jpg").convert("RGB"))
    x1, y1, x2, y2 = BOX
    rough = np.zeros((y2 - y1, x2 - x1), np.uint8)
    cv2.ellipse(rough, (90, 65), (60, 65), 0, 0, 360, 1, -1)
    cv2.fillPoly(rough, [np.array([(15, 110), (165, 110), (212, 495), (0, 495)], np.int32)], 1)
    person = Instance(1, "person", np.array(BOX, np.float32), rough > 0)

    class Rough:
        def detect(self, image: np.ndarray) -> tuple[Instance, ...]:
            return (person,)

    (found,) = OutlineDetector(Rough(), weights.path("outlines")).detect(image)
    drawn = full_mask(outlined(found), image.shape[:2])
    assert all(drawn[y, x] for x, y in HIS), [drawn[y, x] for x, y in HIS]
    assert not any(drawn[y, x] for x, y in NOT_HIS), [drawn[y, x] for x, y in NOT_HIS]
    assert drawn[890:, :260].any(), "his shoes"
    assert not (full_mask(person, image.shape[:2]) & ~full_mask(found, image.shape[:2])).any()
