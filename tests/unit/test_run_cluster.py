"""The Ray engine on a cluster of one machine: the guarantees of the local engine, also when workers are lost."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from anonymizer.core.errors import InputError, ModelError
from anonymizer.run import cluster as distributed
from anonymizer.run.audit import audit
from anonymizer.run.cluster import RayCrew, RayWorker
from anonymizer.run.local import run, run_workers
from anonymizer.run.pool import Pool
from anonymizer.run.request import Request
from anonymizer.run.runner import execute

from .fakes import FakeAnonymizer, UnrulyAnonymizer, broken_build

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'anonymizer[ray]'")
pytestmark = pytest.mark.filterwarnings("ignore")


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


@contextmanager
def limit(seconds: int) -> Iterator[None]:
    """End a test that hangs: Ray's own limits are made for clusters that add machines."""

    def late(*_: object) -> None:
        raise TimeoutError(f"Ray took longer than {seconds} s; is this machine busy with something else?")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """One cluster for all tests, reached by address as an existing one would be."""
    os.environ.update(distributed.ENVIRONMENT)
    with limit(120):
        context = ray.init(
            address="local",
            num_cpus=2,
            num_gpus=1,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=200_000_000,
        )
    yield context.address_info["address"]
    ray.shutdown()


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    with limit(120):
        yield


@pytest.fixture
def address(cluster: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Tests share a connection; a second ``ray.init`` in one process is refused."""
    monkeypatch.setattr(distributed, "_connect", lambda *_: ray)
    return cluster


def test_two_workers_share_a_gpu_and_make_what_one_thread_makes(tmp_path: Path, address: str) -> None:
    names = [f"{index:02}.png" for index in range(20)]
    source = pictures(tmp_path / "in", *names, "sleep.png", "die.png")
    run(FakeAnonymizer(), Request(source, tmp_path / "calm"))
    build = partial(UnrulyAnonymizer, tmp_path)
    with Pool(RayCrew(build, address=address, gpus=0.5), workers=2, timeout_s=8) as pool:
        summary = execute(pool, Request(source, tmp_path / "out"))
    assert (summary.released, summary.failed) == (20, 2)
    calm = contents(tmp_path / "calm/images")
    assert contents(tmp_path / "out/images") == {name: calm[name] for name in names}
    assert "took longer than 8 s" in ledger(tmp_path / "out")["sleep.png"]["reason"]
    assert "exit code -9" in ledger(tmp_path / "out")["die.png"]["reason"]
    assert audit(tmp_path / "out").clean


def actors() -> list[psutil.Process]:
    return [p for p in psutil.Process().children(recursive=True) if any("ray::Actor" in part for part in p.cmdline())]


def test_lost_workers_are_replaced_and_every_picture_gets_one_record(tmp_path: Path, address: str) -> None:
    names = [f"{index:02}.png" for index in range(24)]
    source = pictures(tmp_path / "in", *names)
    run(FakeAnonymizer(), Request(source, tmp_path / "calm"))
    taken: list[str] = []
    decided: list[str] = []
    killed: list[int] = []

    def shoot() -> None:
        for victim in actors()[:1]:
            victim.send_signal(signal.SIGKILL)
            killed.append(victim.pid)

    class Watched(Pool[RayWorker]):
        def results(self, tasks: Any) -> Any:
            def watched() -> Any:
                for task in tasks:
                    taken.append(task.name)
                    # Back-pressure: two calls of three pictures for each of two workers, and the one handed out.
                    assert len(taken) - len(decided) <= 13
                    yield task

            for task, outcome in super().results(watched()):
                decided.append(task.name)
                if len(decided) in (4, 12):
                    shoot()
                yield task, outcome

    with Watched(RayCrew(partial(FakeAnonymizer, delay_s=0.05), address=address), workers=2, timeout_s=30) as pool:
        summary = execute(pool, Request(source, tmp_path / "out"))
    assert len(killed) == 2
    assert sorted(decided) == names
    assert summary.released == 24
    assert contents(tmp_path / "out/images") == contents(tmp_path / "calm/images")
    assert audit(tmp_path / "out").clean


def test_models_that_do_not_load_end_the_run_with_their_message(tmp_path: Path, address: str) -> None:
    source = pictures(tmp_path / "in", "a.png")
    with (
        pytest.raises(ModelError, match="RuntimeError: no such library"),
        Pool(RayCrew(broken_build, address=address), timeout_s=60) as pool,
    ):
        execute(pool, Request(source, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_workers_for_whom_there_is_no_room_end_the_run_with_the_reason(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "PLACE_S", 3.0)
    with (
        pytest.raises(ModelError, match="started 0 of 1 workers within 3 s; expected 1 free CPU and 2 GPU"),
        Pool(RayCrew(FakeAnonymizer, address=address, gpus=2.0), timeout_s=60),
    ):
        pass


def test_a_worker_that_does_not_answer_ends_the_run_with_the_reason(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = pictures(tmp_path / "in", "a.png")
    with Pool(RayCrew(FakeAnonymizer, address=address), timeout_s=60) as pool:
        monkeypatch.setattr(distributed, "SILENCE_S", 2.0)
        for process in actors():
            process.suspend()
        with pytest.raises(ModelError, match="gave no answer for 2 s"):
            execute(pool, Request(source, tmp_path / "out"))


@pytest.mark.parametrize("nowhere", ["127.0.0.1:1", "ray://127.0.0.1:1", "cluster.invalid:6379"])
def test_an_address_that_leads_nowhere_is_wrong_usage(tmp_path: Path, nowhere: str) -> None:
    source = pictures(tmp_path / "in", "a.png")
    with pytest.raises(InputError, match="nobody answers there"):
        run_workers(RayCrew(FakeAnonymizer, address=nowhere), Request(source, tmp_path / "out"), timeout_s=60)


def test_a_run_can_start_its_own_cluster(tmp_path: Path) -> None:
    ray.shutdown()
    source = pictures(tmp_path / "in", "a.png", "b.png")
    summary = run_workers(RayCrew(FakeAnonymizer), Request(source, tmp_path / "out"), timeout_s=60)
    assert summary.released == 2
    assert not ray.is_initialized()
    assert threading.active_count() < 20
