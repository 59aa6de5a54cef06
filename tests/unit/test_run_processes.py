"""Worker processes: one that hangs or dies costs its picture, never the run, and nothing unverified gets out."""

import json
import logging
import multiprocessing
import os
import signal
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anonymizer.core.errors import InputError, ModelError
from anonymizer.core.logs import log_to_stderr
from anonymizer.run.audit import audit
from anonymizer.run.local import run, run_workers
from anonymizer.run.pool import Pool
from anonymizer.run.processes import ProcessCrew
from anonymizer.run.request import Request
from anonymizer.run.runner import execute

from .fakes import FakeAnonymizer, HangingStep, StarvingAnonymizer, UnrulyAnonymizer, broken_build, dying_build


def pictures(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        pixels = np.random.default_rng(index).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def ledger(output: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in (output / "ledger.jsonl").read_text().splitlines()]
    assert len({line["name"] for line in lines}) == len(lines)
    return {line["name"]: line for line in lines}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def seen(folder: Path) -> list[str]:
    return (folder / "seen").read_text().splitlines()


def test_two_processes_make_what_one_thread_makes(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", *(f"{index}.png" for index in range(9)))
    run(FakeAnonymizer(), Request(source, tmp_path / "calm"))
    summary = run_workers(ProcessCrew(FakeAnonymizer), Request(source, tmp_path / "out"), workers=2, timeout_s=60)
    assert (summary.released, summary.failed) == (9, 0)
    assert contents(tmp_path / "out/images") == contents(tmp_path / "calm/images")
    assert (tmp_path / "out/annotations.json").read_bytes() == (tmp_path / "calm/annotations.json").read_bytes()
    assert audit(tmp_path / "out").clean
    assert run_workers(ProcessCrew(FakeAnonymizer), Request(source, tmp_path / "out"), timeout_s=60).skipped == 9


@pytest.mark.parametrize("fault", ["sleep", "spin"])
def test_a_picture_that_hangs_fails_and_the_run_goes_on(tmp_path: Path, fault: str) -> None:
    source = pictures(tmp_path / "in", "a.png", f"{fault}.png", "x.png", "y.png", "z.png")
    build = partial(UnrulyAnonymizer, tmp_path)
    summary = run_workers(ProcessCrew(build), Request(source, tmp_path / "out"), timeout_s=6)
    assert (summary.released, summary.failed) == (4, 1)
    assert "anonymize: took longer than 6 s" in ledger(tmp_path / "out")[f"{fault}.png"]["reason"]
    assert not (tmp_path / f"out/images/{fault}.png").exists()
    # Where another was at work as well, it is done again alone to find out which of them hangs.
    assert seen(tmp_path).count(f"{fault}.png") <= 2
    assert audit(tmp_path / "out").clean


def test_a_picture_that_another_kept_from_being_read_is_done_again(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "spin.png", "starved.png")
    summary = run_workers(
        ProcessCrew(partial(StarvingAnonymizer, tmp_path)), Request(source, tmp_path / "out"), timeout_s=6
    )
    assert (summary.released, summary.failed) == (1, 1)
    assert "anonymize: took longer than 6 s" in ledger(tmp_path / "out")["spin.png"]["reason"]
    assert seen(tmp_path) == ["spin.png", "spin.png", "starved.png"]
    assert audit(tmp_path / "out").clean


@pytest.mark.parametrize(("step", "told"), [("decode_image", "read"), ("released_record", "write")])
def test_reading_and_writing_that_hang_fail_the_picture(tmp_path: Path, step: str, told: str) -> None:
    source = pictures(tmp_path / "in", "a.png", "hang.png", "z.png")
    summary = run_workers(ProcessCrew(partial(HangingStep, step)), Request(source, tmp_path / "out"), timeout_s=6)
    assert (summary.released, summary.failed) == (2, 1)
    assert ledger(tmp_path / "out")["hang.png"]["reason"].startswith(f"{told}: took longer than 6 s")


def test_a_picture_that_kills_its_worker_fails_and_costs_no_other(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", "b.png", "die.png", "e.png", "f.png", "once.png", "z.png")
    summary = run_workers(
        ProcessCrew(partial(UnrulyAnonymizer, tmp_path)), Request(source, tmp_path / "out"), timeout_s=60
    )
    assert (summary.released, summary.failed) == (6, 1)
    assert "exit code -9" in ledger(tmp_path / "out")["die.png"]["reason"]
    assert seen(tmp_path).count("die.png") == 2
    assert seen(tmp_path).count("once.png") == 2
    assert audit(tmp_path / "out").clean


def test_workers_killed_from_outside_are_replaced(tmp_path: Path) -> None:
    names = [f"{index:02}.png" for index in range(30)]
    source = pictures(tmp_path / "in", *names)
    run(FakeAnonymizer(), Request(source, tmp_path / "calm"))
    with Pool(ProcessCrew(partial(FakeAnonymizer, delay_s=0.4)), workers=2, timeout_s=60) as pool:
        stop, kills = threading.Event(), []

        def shoot() -> None:
            while not stop.wait(0.5):
                ready = [worker.process.pid for worker in pool.ready]
                # One of the two is spared: workers that never get ready are another test's.
                if len(ready) == 2 and len(kills) < 4:
                    kills.append(ready[0])
                    os.kill(ready[0], signal.SIGKILL)

        shooter = threading.Timer(0.3, shoot)
        shooter.start()
        summary = execute(pool, Request(source, tmp_path / "out"))
        stop.set()
        shooter.join()
    assert kills
    # A picture that happened to be at work during two kills is given up; the next run does it.
    assert summary.released + summary.failed == 30
    assert run(FakeAnonymizer(), Request(source, tmp_path / "out")).released == 30
    assert contents(tmp_path / "out/images") == contents(tmp_path / "calm/images")


def test_models_that_do_not_load_end_the_run_with_their_message(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png")
    with pytest.raises(ModelError, match="RuntimeError: no such library"):
        run_workers(ProcessCrew(broken_build), Request(source, tmp_path / "out"), timeout_s=60)
    with pytest.raises(ModelError, match="ended while it loaded the models"):
        run_workers(ProcessCrew(dying_build), Request(source, tmp_path / "out"), timeout_s=60)
    assert not (tmp_path / "out").exists()
    assert not multiprocessing.active_children()


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="workers"):
        Pool(ProcessCrew(FakeAnonymizer), workers=0, timeout_s=1)
    for seconds in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="timeout"):
            Pool(ProcessCrew(FakeAnonymizer), timeout_s=seconds)


def test_workers_log_as_much_as_the_one_who_started_them(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = pictures(tmp_path / "in", "a.png")
    log_to_stderr(logging.DEBUG)
    try:
        run_workers(ProcessCrew(FakeAnonymizer), Request(source, tmp_path / "out"), timeout_s=60)
    finally:
        log_to_stderr(logging.WARNING)
    told = capfd.readouterr().err
    assert "is ready after" in told and "1 pictures in INPUT" in told
    assert "INFO anonymizer.run.picture: a.png: released; read" in told
    assert "DEBUG anonymizer.run.picture: a.png: person at [0.0, 0.0, 16.0, 12.0] redrawn after 1 attempts" in told
    run_workers(ProcessCrew(FakeAnonymizer), Request(source, tmp_path / "again"), timeout_s=60)
    assert "anonymizer." not in capfd.readouterr().err
