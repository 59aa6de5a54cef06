"""The example pictures can be gathered again and again."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_gather_puts_five_pictures_and_the_rendered_ones_are_the_same_each_time(tmp_path: Path) -> None:
    for name in ("first", "second"):
        subprocess.run([sys.executable, EXAMPLES / "gather.py", tmp_path / name], check=True, capture_output=True)
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["bus.jpg", "plates.png", "street.png", "t1.jpg", "zidane.jpg"]
    for picture in ("plates.png", "street.png"):
        first, second = (cv2.imread(str(tmp_path / name / picture)) for name in ("first", "second"))
        assert first is not None and np.array_equal(first, second)


def test_gather_takes_photographs_out_of_wheels(tmp_path: Path) -> None:
    for package, inner in (("ultralytics", "assets/bus.jpg"), ("insightface", "data/images/t1.jpg")):
        with zipfile.ZipFile(tmp_path / f"{package}-9.9-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{package}/{inner}", package)
    command = [sys.executable, EXAMPLES / "gather.py", tmp_path / "in", "--wheels", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "in" / "bus.jpg").read_bytes() == b"ultralytics"
    assert (tmp_path / "in" / "t1.jpg").read_bytes() == b"insightface"


def run(name: str, *arguments: Path) -> str:
    command = [sys.executable, EXAMPLES / name, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_detector_of_ones_own_decides_what_is_anonymized(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(90, 140, (120, 160, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "in.png"), picture)
    assert run("own_detector.py", tmp_path / "in.png", tmp_path / "out.png") == "person operator redacted\n"
    made = cv2.imread(str(tmp_path / "out.png"))
    assert made is not None
    changed = (made != picture).any(2)
    assert changed[84:, 136:].mean() > 0.9 and not changed[:70].any() and not changed[:, :120].any()


def test_a_folder_is_anonymized_and_every_picture_told(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / "in" / name), np.full((64, 64, 3), 128, np.uint8))
    told = run("folder.py", tmp_path / "in", tmp_path / "out").splitlines()
    assert sorted(line.partition(" ")[2] for line in told[:2]) == ["a.png: released", "b.png: released"]
    assert told[2] == "2 released, 0 quarantined, 0 failed"
    assert (tmp_path / "out" / "images" / "b.png").is_file()


def test_the_gate_lets_pictures_without_people_out_and_holds_duplicates_back(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, level in (("a.png", 128), ("b.png", 90)):
        cv2.imwrite(str(tmp_path / "in" / name), np.full((64, 64, 3), level, np.uint8))
    assert run("release.py", tmp_path / "in", tmp_path / "out", tmp_path / "found") == "may go out\n"
    (tmp_path / "in" / "c.png").write_bytes((tmp_path / "in" / "a.png").read_bytes())
    command = [sys.executable, EXAMPLES / "release.py", tmp_path / "in", tmp_path / "out", tmp_path / "found"]
    held = subprocess.run(command, check=False, capture_output=True, text=True)
    assert held.returncode == 1 and held.stdout.startswith("verdict stop; see "), held.stderr
