"""The example pictures can be gathered again and again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_gather_puts_four_pictures_and_the_rendered_one_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("first", "second"):
        subprocess.run([sys.executable, EXAMPLES / "gather.py", tmp_path / name], check=True, capture_output=True)
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["bus.jpg", "plates.png", "t1.jpg", "zidane.jpg"]
    first, second = (cv2.imread(str(tmp_path / name / "plates.png")) for name in ("first", "second"))
    assert first is not None and np.array_equal(first, second)
