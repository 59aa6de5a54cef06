"""The embedded pose network on people of a photograph that an installed package ships."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from anonymizer import weights
from anonymizer.condition.pose import PoseNet
from anonymizer.types import JOINTS, Instance

#: Two men who stand upright and face the camera, and where their joints are by eye: x, y.
MEN = {
    (45, 395, 245, 905): {
        "nose": (128, 438),
        "left_knee": (190, 760),
        "right_knee": (80, 750),
        "left_ankle": (190, 865),
    },
    (215, 405, 345, 860): {"nose": (287, 444), "left_elbow": (340, 560), "right_toe": (275, 850)},
}


def test_joints_of_upright_people_lie_where_they_are() -> None:
    spec = importlib.util.find_spec("ultralytics")
    assert spec is not None and spec.origin is not None
    image = np.asarray(Pillow.open(Path(spec.origin).parent / "assets/bus.jpg").convert("RGB"))
    persons = [
        Instance(n, "person", np.array(box, np.float32), np.ones((box[3] - box[1], box[2] - box[0]), bool))
        for n, box in enumerate(MEN, start=1)
    ]
    poses = PoseNet(weights.path("pose")).estimate(image, persons)
    for pose, (box, known) in zip(poses, MEN.items(), strict=True):
        places = dict(zip(JOINTS, pose.points, strict=True))
        for name, place in known.items():
            assert np.linalg.norm(places[name] - place) < 0.1 * (box[3] - box[1]), (name, places[name])
        heights = [places[f"left_{name}"][1] for name in ("ear", "shoulder", "hip", "knee", "ankle")]
        assert heights == sorted(heights)
        assert places["left_shoulder"][0] > places["right_shoulder"][0]
        assert pose.visible[JOINTS.index("nose")] > 0.5
