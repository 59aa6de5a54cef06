"""Count persons that MediaPipe's pose detector finds before and after a redraw.

    python -m venv judge && judge/bin/pip install mediapipe==0.10.14
    judge/bin/python benchmarks/pose_judge.py CROPS

``CROPS/before`` and ``CROPS/after`` hold pictures of the same names, one person each, as ``embedded.py --out`` writes
them. MediaPipe's BlazePose was trained on pictures of its own and takes no part in verification; the embedded pose
network learned from its labels on training pictures. It needs an older protobuf than this project's dependencies, so it
lives in an environment of its own. Prints JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import mediapipe
import numpy as np


def found(pose: mediapipe.solutions.pose.Pose, path: Path) -> bool:
    """Return whether a pose is found whose visible landmarks lie mostly inside the picture."""
    rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    scale = 384 / max(rgb.shape[:2])
    rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    marks = pose.process(rgb).pose_landmarks
    if marks is None:
        return False
    points = np.array([(m.x, m.y) for m in marks.landmark])
    return bool(((points > -0.05) & (points < 1.05)).all(axis=1).mean() > 0.6)


def main() -> None:
    """Judge one folder."""
    folder = Path(sys.argv[1])
    with mediapipe.solutions.pose.Pose(static_image_mode=True, model_complexity=1) as pose:
        before = {path.name for path in sorted((folder / "before").glob("*.png")) if found(pose, path)}
        after = {name for name in sorted(before) if found(pose, folder / "after" / name)}
    total = len(list((folder / "before").glob("*.png")))
    print(json.dumps({"crops": total, "found_before": len(before), "of_these_found_after": len(after)}))


if __name__ == "__main__":
    main()
