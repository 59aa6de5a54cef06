"""A run with the embedded preset reaches for no network, in any of its processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

# Imported by every Python process that finds it, before anything else.
GUARD = """
import os, sys
ALLOWED = ("AF_UNIX",)
def hook(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        if args[0].family.name in ALLOWED:
            return
    elif event not in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        return
    with open(os.environ["GUARD_LOG"], "a") as log:
        log.write(f"{event} {args[1:]}\\n")
    raise RuntimeError("network")
sys.addaudithook(hook)
with open(os.environ["GUARD_LOG"] + ".pids", "a") as log:
    log.write(f"{os.getpid()}\\n")
"""


def run(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard/sitecustomize.py").write_text(GUARD)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "guard"), "GUARD_LOG": str(tmp_path / "log")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)


def test_the_guard_sees_the_network(tmp_path: Path) -> None:
    done = run(tmp_path, sys.executable, "-c", "import socket; socket.create_connection(('127.0.0.1', 9))")
    assert done.returncode != 0 and "network" in done.stderr
    assert "socket.getaddrinfo" in (tmp_path / "log").read_text()


def test_a_run_stays_off_the_network(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in/a.png")
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 10, 40, 80]}
    coco = {"categories": [{"id": 1, "name": "person"}], "images": [{"id": 1, "file_name": "a.png"}]}
    (tmp_path / "coco.json").write_text(json.dumps(coco | {"annotations": [box]}))
    arguments = ["run", "in", "out", "--annotations", "coco.json", "--seed", "1", "--json"]
    done = run(tmp_path, sys.executable, "-m", "anonymizer", *arguments)
    assert done.returncode in (0, 3), done.stderr
    record = json.loads((tmp_path / "out/ledger.jsonl").read_text())
    assert record["status"] in ("released", "quarantined"), record["reason"]
    # The parent, the worker and what multiprocessing adds were all under guard.
    assert len(set((tmp_path / "log.pids").read_text().split())) >= 2
    assert not (tmp_path / "log").exists(), (tmp_path / "log").read_text()
