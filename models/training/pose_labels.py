"""Label the crops of ``pose_crops.py`` with joints by MediaPipe's BlazePose.

    python -m venv teacher && teacher/bin/pip install mediapipe==0.10.14
    teacher/bin/python models/training/pose_labels.py runs/pose

MediaPipe needs an older protobuf than this project's dependencies, so it lives in an environment of its own. A pose
counts if most of its visible joints lie on the person's mask; where another person is found instead, a second look is
taken with everything beyond the mask blurred. Writes ``labels.json``: name to 33 rows of x, y in shares of the crop
and BlazePose's own visibility in [0, 1].
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import mediapipe
import numpy as np

#: Share of the visible joints that must lie on the mask, and how far beyond it they may lie, as a share of the height.
ON_MASK, SLACK = 0.75, 0.02
#: Visibility from which a joint is asked to lie on the mask.
VISIBLE = 0.5
#: Height in pixels at which the teacher looks.
HEIGHT = 512


def on_mask(marks: np.ndarray, mask: np.ndarray) -> bool:
    """Return whether a pose (33, 3) belongs to the person with this mask, bool (h, w)."""
    reach = max(int(SLACK * mask.shape[0]), 1)
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
    seen = marks[marks[:, 2] >= VISIBLE]
    inside = seen[((seen[:, :2] > 0) & (seen[:, :2] < 1)).all(axis=1)]
    if len(inside) < 6:
        return False
    columns, rows = (inside[:, :2] * (mask.shape[1], mask.shape[0])).astype(int).T
    return bool(wide[rows, columns].mean() >= ON_MASK)


def main() -> None:
    """Label one folder."""
    folder = Path(sys.argv[1])
    labels = {}
    names = sorted(path.name for path in (folder / "crops").glob("*.png"))
    with mediapipe.solutions.pose.Pose(static_image_mode=True, model_complexity=1) as pose:
        for name in names:
            rgb = cv2.cvtColor(cv2.imread(str(folder / "crops" / name)), cv2.COLOR_BGR2RGB)
            mask = cv2.imread(str(folder / "masks" / name), cv2.IMREAD_GRAYSCALE) >= 128
            soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 4)[..., None]
            alone = rgb + (1 - soft) * (cv2.GaussianBlur(rgb, (0, 0), 12).astype(np.float32) - rgb)
            for picture in (rgb, np.clip(alone, 0, 255).astype(np.uint8)):
                scale = HEIGHT / picture.shape[0]
                large = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
                found = pose.process(large).pose_landmarks
                if found is None:
                    continue
                marks = np.array([(m.x, m.y, m.visibility) for m in found.landmark])
                if on_mask(marks, mask):
                    labels[name] = marks.round(4).tolist()
                    break
    (folder / "labels.json").write_text(json.dumps(labels))
    print(f"{len(labels)} of {len(names)} crops labelled")


if __name__ == "__main__":
    main()
