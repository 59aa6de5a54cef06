"""SIGKILL at random points of a run: never a partial or unverified file, and resuming equals an undisturbed run."""

import json
import os
import random
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from PIL import Image

from anonymizer.run.audit import audit
from anonymizer.run.local import run
from anonymizer.run.request import Request

from .fakes import FakeAnonymizer, rejection

#: Kills in the usual suite, and with ANONYMIZER_LONG_TESTS=1.
KILLS = 200 if os.environ.get("ANONYMIZER_LONG_TESTS") == "1" else 40
HELD = "05.png"

# Everything is imported once; each run is a fork of this process, which is killed after the seconds asked for.
ZYGOTE = """
    import os, signal, sys, time
    from anonymizer.run.local import run
    from anonymizer.run.request import Request
    from tests.unit.fakes import FakeAnonymizer, rejection
    print("ready", flush=True)
    for line in sys.stdin:
        output, seconds = line.rsplit(None, 1)
        pid = os.fork()
        if pid == 0:
            anonymizer = FakeAnonymizer(delay_s=0.005)
            anonymizer.raises = {"05.png": rejection()}
            run(anonymizer, Request(sys.argv[1], output))
            os._exit(0)
        if float(seconds) >= 0:
            time.sleep(float(seconds))
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        print("killed" if os.WIFSIGNALED(status) else f"finished {os.WEXITSTATUS(status)}", flush=True)
"""


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ledger(output: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (output / "ledger.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("timings_s", "previous")} for line in lines]


@pytest.fixture
def calm(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for index, suffix in enumerate(["png", "jpg", "webp", "tif", "bmp", "png"] * 3):
        pixels = np.random.default_rng(index).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{index:02}.{suffix}")
    fake = FakeAnonymizer()
    fake.raises = {HELD: rejection()}
    run(fake, Request(tmp_path / "in", tmp_path / "calm"))
    return tmp_path / "calm"


def test_kills_at_random_points(tmp_path: Path, calm: Path) -> None:
    verified = files(calm / "images")
    rng, kills, finished, partial = random.Random(3), 0, 0, 0
    out = tmp_path / "out0"
    command = [sys.executable, "-c", textwrap.dedent(ZYGOTE), str(tmp_path / "in")]
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as zygote:
        assert zygote.stdin is not None and zygote.stdout is not None
        assert zygote.stdout.readline() == "ready\n"
        # How long a run takes here and now; the last one goes on to its end.
        started = time.perf_counter()
        ask(zygote.stdin, tmp_path / "timed", -1)
        assert zygote.stdout.readline() == "finished 0\n"
        whole = time.perf_counter() - started
        while kills < KILLS or not finished:
            ask(zygote.stdin, out, rng.uniform(0.0, 0.6 * whole) if kills < KILLS else -1)
            answer = zygote.stdout.readline().strip()
            found = files(out / "images") if (out / "images").exists() else {}
            assert found.items() <= verified.items()
            partial += 0 < len(found) < len(verified)
            kills += answer == "killed"
            if answer != "killed":
                assert answer == "finished 0"
                check_equal(out, calm)
                finished += 1
                out = tmp_path / f"out{finished}"
        zygote.stdin.close()
    assert finished >= 1
    assert partial >= KILLS // 4
    print(f"{kills} kills, {partial} with some pictures released, {finished} resumed to the end")


def ask(zygote: IO[str], output: Path, seconds: float) -> None:
    zygote.write(f"{output} {seconds}\n")
    zygote.flush()


def check_equal(out: Path, calm: Path) -> None:
    assert files(out / "images") == files(calm / "images")
    for name in ("annotations.json", "quarantine.txt"):
        assert (out / name).read_bytes() == (calm / name).read_bytes()
    assert ledger(out) == ledger(calm)
    assert audit(out).clean


@pytest.mark.parametrize("moment", range(3))
def test_the_parent_of_worker_processes_can_be_killed(tmp_path: Path, calm: Path, moment: int) -> None:
    code = """
        import sys
        from functools import partial
        from anonymizer.run.local import run_workers
        from anonymizer.run.processes import ProcessCrew
        from anonymizer.run.request import Request
        from tests.unit.fakes import HoldingAnonymizer
        crew = ProcessCrew(partial(HoldingAnonymizer, delay_s=0.03))
        run_workers(crew, Request(sys.argv[1], sys.argv[2]), workers=2, timeout_s=60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "in"), str(tmp_path / "out")]
    wait_for: Callable[[], bool] = [
        lambda: (tmp_path / "out/.state").exists(),
        lambda: len(list((tmp_path / "out").glob("images/*"))) >= 3,
        lambda: (tmp_path / "out/annotations.json").exists(),
    ][moment]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as process:
        while not wait_for() and process.poll() is None:
            pass
        process.kill()
    verified = files(calm / "images")
    assert files(tmp_path / "out/images").items() <= verified.items()
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
    check_equal(tmp_path / "out", calm)
