"""What surrounds a run: links, odd names, folders that must not change, full disks, clocks that jump, many pictures."""

import json
import os
import subprocess
import sys
import textwrap
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anonymizer.core.errors import InputError
from anonymizer.run import ledger as ledgers
from anonymizer.run.audit import audit
from anonymizer.run.ledger import Ledger
from anonymizer.run.local import run
from anonymizer.run.request import Request

from .fakes import FakeAnonymizer

ROOT = Path(__file__).parents[2]


def pictures(folder: Path, *names: str, size: tuple[int, int] = (32, 24)) -> Path:
    for index, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, "PNG")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def child(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_links_to_pictures_are_followed_and_loops_and_folders_are_not(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png")
    elsewhere = pictures(tmp_path / "elsewhere", "b.png", "deep/c.png")
    (source / "linked.png").symlink_to(elsewhere / "b.png")
    (source / "folder").symlink_to(elsewhere)
    (source / "loop").symlink_to(source)
    (source / "loop.png").symlink_to(source / "loop.png")
    summary = run(FakeAnonymizer(), Request(source, tmp_path / "out"))
    assert (summary.released, summary.failed) == (2, 1)
    assert set(files(tmp_path / "out/images")) == {"a.png", "linked.png"}
    assert not (tmp_path / "out/images/linked.png").is_symlink()
    assert audit(tmp_path / "out").clean


def test_links_planted_in_the_output_are_neither_followed_nor_left(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "sub/a.png", "b.png")
    run(FakeAnonymizer(), Request(source, tmp_path / "out"))
    treasure = pictures(tmp_path / "treasure", "a.png", "b.png")
    before = files(treasure)
    released = files(tmp_path / "out/images")
    (tmp_path / "out/images/b.png").unlink()
    (tmp_path / "out/images/b.png").symlink_to(treasure / "b.png")
    assert run(FakeAnonymizer(), Request(source, tmp_path / "out")).skipped == 1
    assert files(tmp_path / "out/images") == released
    assert files(treasure) == before
    assert not (tmp_path / "out/images/b.png").is_symlink()
    (tmp_path / "out/images/other").symlink_to(treasure)
    with pytest.raises(InputError, match="no recorded run released"):
        run(FakeAnonymizer(), Request(source, tmp_path / "out"))


def test_a_folder_swapped_for_a_link_is_not_written_through(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "sub/a.png", "b.png")
    run(FakeAnonymizer(), Request(source, tmp_path / "out"))
    treasure = pictures(tmp_path / "treasure", "keep.png")
    before = files(treasure)
    (tmp_path / "out/images/sub/a.png").unlink()
    (tmp_path / "out/images/sub").rmdir()
    (tmp_path / "out/images/sub").symlink_to(treasure)
    with pytest.raises(InputError, match="no recorded run released"):
        run(FakeAnonymizer(), Request(source, tmp_path / "out"))
    assert files(treasure) == before


@pytest.mark.skipif(os.fsencode("ü") != b"\xc3\xbc", reason="needs a file system of byte names")
def test_names_that_are_no_text_go_through_every_document(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", os.fsdecode(b"\xff\xfe/caf\xe9.png"), "x" * 200 + ".png", "a\tb\nc.png")
    summary = run(FakeAnonymizer(), Request(source, tmp_path / "out"))
    assert summary.released == 3
    assert set(files(tmp_path / "out/images")) == set(files(source))
    assert audit(tmp_path / "out").clean
    assert run(FakeAnonymizer(), Request(source, tmp_path / "out")).skipped == 3


def test_the_input_is_only_ever_opened_for_reading(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", "sub/b.png")
    (source / "bad.png").write_bytes(b"bad")
    for path in (*source.rglob("*"), source):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in source.rglob("*")}
    code = """
        import os, sys
        source, changes = sys.argv[1], []
        CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "os.chown", "os.link", "os.symlink",
                   "os.truncate", "os.utime", "os.setxattr", "shutil.rmtree")
        def hook(event, args):
            paths = [os.fspath(a) for a in args if isinstance(a, (str, os.PathLike))]
            if not any(path.startswith(source) for path in paths if isinstance(path, str)):
                return
            writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
            if event in CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & writes):
                changes.append((event, paths))
        from anonymizer.run.local import run
        from anonymizer.run.request import Request
        from tests.unit.fakes import FakeAnonymizer
        sys.addaudithook(hook)
        summary = run(FakeAnonymizer(), Request(source, sys.argv[2]))
        print(summary.released, summary.failed, changes)
    """
    done = child(code, source, tmp_path / "out")
    assert done.stdout == "2 1 []\n", done.stdout + done.stderr
    assert {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in source.rglob("*")} == before


FULL = """
    import sys
    from anonymizer.run.local import run
    from anonymizer.run.request import Request
    from anonymizer.core.errors import InputError
    from tests.unit.fakes import FakeAnonymizer
    {prepare}
    try:
        print(run(FakeAnonymizer(), Request(sys.argv[1], sys.argv[2])).released)
    except InputError as error:
        print(error)
"""


def check_stop_and_resume(source: Path, output: Path, prepare: str) -> None:
    done = child(FULL.format(prepare=prepare), source, output)
    assert "cannot write" in done.stdout and "free space" in done.stdout, done.stdout + done.stderr
    released = {p.name: p.read_bytes() for p in (output / "images").iterdir()} if (output / "images").exists() else {}
    assert len(released) < len(list(source.iterdir()))
    for name, data in released.items():
        assert np.asarray(Image.open(output / "images" / name)).shape == (200, 200, 3), name
        assert data
    assert not list(output.rglob("*.tmp-anonymizer*")) and not (output / "seal.json").exists()


def test_a_limit_on_file_size_stops_the_run_cleanly_and_it_resumes(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", *(f"{n}.png" for n in range(3)), size=(200, 200))
    prepare = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))"
    check_stop_and_resume(source, tmp_path / "out", prepare)
    assert run(FakeAnonymizer(), Request(source, tmp_path / "out")).released == 3
    assert audit(tmp_path / "out").clean


def test_a_full_disk_stops_the_run_cleanly_and_it_resumes(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", *(f"{n}.png" for n in range(12)), size=(200, 200))
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs privileges")
    try:
        check_stop_and_resume(source, disk / "out", "")
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        assert run(FakeAnonymizer(), Request(source, disk / "out")).released == 12
        assert audit(disk / "out").clean
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = pictures(tmp_path / "in", "a.png", "b.png", "c.png")
    run(FakeAnonymizer(), Request(source, tmp_path / "calm"))
    jumps = iter(range(10_000))
    monkeypatch.setattr(time, "time", lambda: 2e9 - 1e6 * next(jumps))
    monkeypatch.setattr(time, "time_ns", lambda: 10**18 - 10**15 * next(jumps))
    summary = run(FakeAnonymizer(), Request(source, tmp_path / "out"))
    assert summary.released == 3 and 0 <= summary.seconds < 60
    assert files(tmp_path / "out/images") == files(tmp_path / "calm/images")
    for path in source.iterdir():
        os.utime(path, (0, 0))
    assert run(FakeAnonymizer(), Request(source, tmp_path / "out")).skipped == 3


def test_the_ledger_holds_little_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers.os, "fsync", lambda descriptor: None)
    ledger = Ledger.open(tmp_path)
    record: dict[str, Any] = {"status": "failed", "input_sha256": "i", "settings_hash": "s", "reason": "x" * 3000}
    tracemalloc.start()
    try:
        for number in range(4000):
            ledger.append(record | {"name": f"folder/{number:08}.jpg"})
        assert tracemalloc.get_traced_memory()[0] < 4000 * 400
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        ledger.compact(tmp_path)
        assert sum(1 for _ in ledger) == 4000
        assert tracemalloc.get_traced_memory()[1] - before < 4000 * 600
    finally:
        tracemalloc.stop()
    assert json.loads((tmp_path / "ledger.jsonl").read_bytes().splitlines()[7])["name"] == "folder/00000007.jpg"
