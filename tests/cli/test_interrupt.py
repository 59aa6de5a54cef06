"""Ctrl-C during a run: one line that says how to go on, and the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import signal
import sys
# Where tests run in the background of a shell, the signal is ignored from the start.
signal.signal(signal.SIGINT, signal.default_int_handler)
from anonymizer.config import presets
from tests.unit.fakes import slow_build
presets.build = slow_build
from anonymizer.cli import main
sys.exit(main())
"""


def start(tmp_path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CODE, "run", str(tmp_path / "in"), str(tmp_path / "out"), "--workers", "2"]
    # A group of its own, as a terminal gives: Ctrl-C there reaches the workers as well.
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.parametrize("when", ["[1/", None])
def test_an_interrupted_run_says_how_to_go_on_and_goes_on(tmp_path: Path, when: str | None) -> None:
    (tmp_path / "in").mkdir()
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"in/{number}.png")
    process = start(tmp_path)
    assert process.stderr is not None
    told = ""
    if when is None:  # While the workers are being started: the first one holds a pipe by then.
        while not children(process.pid):
            assert process.poll() is None
    else:
        while when not in told:
            told += process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)
    printed, rest = process.communicate(timeout=120)
    told += rest
    assert process.returncode == 130, told
    last = told.strip().splitlines()[-1]
    assert last == "interrupted: finished pictures are kept; run the same command again to go on"
    assert printed == "" and not any(word in told for word in ("Traceback", "Warning", "warn", "leaked", "Error")), told
    again = start(tmp_path)
    _, told = again.communicate(timeout=120)
    assert again.returncode == 0, told
    assert len(list((tmp_path / "out/images").iterdir())) == 8
    lines = (tmp_path / "out/ledger.jsonl").read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["released"] * 8


def children(pid: int) -> list[str]:
    """Return the pids of a process's children."""
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
