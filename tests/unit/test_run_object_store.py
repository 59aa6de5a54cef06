"""Runs from and into object storage: what is guaranteed for folders holds there, at every moment."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from anonymizer import cli
from anonymizer.core.errors import InputError
from anonymizer.images.release import Release
from anonymizer.images.storage import Store
from anonymizer.review import Desk
from anonymizer.run import object_store as stored
from anonymizer.run.audit import audit
from anonymizer.run.delivery import deliver
from anonymizer.run.local import run, run_workers
from anonymizer.run.object_store import StoredOutput, open_output
from anonymizer.run.processes import ProcessCrew
from anonymizer.run.request import Request

from .fakes import FakeAnonymizer, HoldingAnonymizer, UnrulyAnonymizer
from .object_store import ObjectFolder, contents, objects
from .test_annotations_rendered import Drawing

__all__ = ["objects"]

NAMES = ("01.png", "02.jpg", "05.png", "sub/03.webp", "sub/04.png")
RELEASED = tuple(name for name in NAMES if name != "05.png")


def fill(url: str, names: tuple[str, ...] = NAMES) -> None:
    store = Store(url)
    for index, name in enumerate(names):
        pixels = np.random.default_rng(index).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        path = Path("/dev/shm") / f"{threading.get_ident()}{Path(name).suffix}"
        Image.fromarray(pixels).save(path)
        store.put(name, path.read_bytes())
        path.unlink()


def copy(url: str, folder: Path) -> Path:
    for name, data in contents(url).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_a_copy_of_a_stored_output_is_reviewed_run_and_released_from(objects: str, tmp_path: Path) -> None:
    source, output = f"{objects}/in", f"{objects}/out"
    fill(source)
    assert run(FakeAnonymizer(), Request(source, output)).released == 5
    for place in (Desk, partial(deliver, destination=tmp_path / "delivery")):
        with pytest.raises(InputError, match="got a URL; copy OUTPUT with its .state into a folder first"):
            place(output, *(["Ana"] if place is Desk else []))
    folder = copy(output, tmp_path / "copy")
    desk = Desk(folder, "Ana", source)
    assert desk.original("01.png").startswith(b"\xff\xd8")
    seen = desk.picture("01.png")["seen"]
    desk.decide({"name": "01.png", "decision": "missed", "seen": seen, "label": "person", "bbox": [20, 10, 8, 12]})
    again = FakeAnonymizer()
    summary = run(again, Request(source, folder))
    assert (summary.released, summary.skipped, again.calls) == (5, 4, ["01.png"])
    for name in NAMES:
        desk.decide({"name": name, "decision": "accept", "seen": desk.picture(name)["seen"]})
    assert deliver(folder, tmp_path / "delivery", require_review=True).signed == 5


def lines(data: bytes) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in data.splitlines()]
    return [{key: value for key, value in record.items() if key not in ("timings_s", "previous")} for record in records]


def pictures(url: str) -> dict[str, bytes]:
    return contents(f"{url}/images")


@pytest.fixture
def bucket(objects: str) -> str:
    fill(f"{objects}/in")
    ObjectFolder.heal()
    return objects


@pytest.fixture
def calm(bucket: str, tmp_path: Path) -> Path:
    """What a run on this machine makes of the same pictures."""
    run(HoldingAnonymizer(), Request(copy(f"{bucket}/in", tmp_path / "in"), tmp_path / "calm"))
    return tmp_path / "calm"


def check_equal(output: str, calm: Path) -> None:
    found = contents(output)
    assert pictures(output) == {name: (calm / "images" / name).read_bytes() for name in RELEASED}
    for name in ("annotations.json", "quarantine.txt"):
        assert found[name] == (calm / name).read_bytes()
    assert lines(found["ledger.jsonl"]) == lines((calm / "ledger.jsonl").read_bytes())
    assert {name for name in found if name.startswith(".state/")} == {
        f".state/annotations/{path.name}" for path in (calm / ".state/annotations").iterdir()
    }
    checked = audit(output)
    assert checked.findings == () and (checked.pictures, checked.withheld) == (4, 1)


def elsewhere(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Go on as if on another machine: with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def test_a_run_from_a_store_to_a_store_makes_what_one_between_folders_makes(bucket: str, calm: Path) -> None:
    before = contents(f"{bucket}/in")
    steps: list[str] = []
    summary = run(
        HoldingAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out"), on_progress=lambda step: steps.append(step.name)
    )
    assert (summary.released, summary.quarantined, summary.skipped) == (4, 1, 0)
    assert summary.paths["images"] == f"{bucket}/out/images"
    assert sorted(steps) == sorted(NAMES)
    check_equal(f"{bucket}/out", calm)
    assert contents(f"{bucket}/in") == before
    report = contents(f"{bucket}/out")["report.html"].decode()
    assert report.count("data:image/jpeg;base64,") == 4
    again = FakeAnonymizer()
    assert run(again, Request(f"{bucket}/in", f"{bucket}/out")).skipped == 5 and again.calls == []
    check_equal(f"{bucket}/out", calm)


def test_only_one_side_in_a_store(bucket: str, calm: Path, tmp_path: Path) -> None:
    run(HoldingAnonymizer(), Request(f"{bucket}/in", tmp_path / "out"))
    assert (tmp_path / "out/annotations.json").read_bytes() == (calm / "annotations.json").read_bytes()
    assert audit(tmp_path / "out").clean
    run(HoldingAnonymizer(), Request(tmp_path / "in", f"{bucket}/out"))
    check_equal(f"{bucket}/out", calm)


def test_picture_then_annotations_then_seal(bucket: str) -> None:
    run(HoldingAnonymizer(), Request(f"{bucket}/in/01.png", f"{bucket}/out"))
    order = [path.partition("/out/")[2] for path in ObjectFolder.written]
    side = next(name for name in order if name.startswith(".state/annotations/"))
    documents = ["annotations.json", "quarantine.txt", "report.html"]
    assert order == [
        ".state/lock.json",
        "ledger.jsonl",
        "images/01.png",
        side,
        "ledger.jsonl",
        *documents,
        "seal.json",
    ]


def test_the_local_folder_is_private_and_holds_no_pictures(bucket: str, tmp_path: Path) -> None:
    run(HoldingAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out"))
    (work,) = (tmp_path / "cache/anonymizer/outputs").iterdir()
    assert work.stat().st_mode & 0o077 == 0
    suffixes = {path.suffix for path in work.rglob("*") if path.is_file()}
    assert not suffixes & {".png", ".jpg", ".webp"}


def copy_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy the ledger after every picture."""
    monkeypatch.setattr(stored, "CHECKPOINT_S", 0.0)
    monkeypatch.setattr(stored, "_SHARE", 1e9)


class Killed(BaseException):
    """Ends a run at once, as a signal would."""


def broken(bucket: str, output: str, at: int, error: BaseException, *, done: bool, keep_lock: bool) -> bool:
    """Run until a change of the store fails; return whether there were so many."""
    ObjectFolder.fail(at, error, done=done)
    lock = Path(output.removeprefix("objects://")) / ".state/lock.json"
    left = b""
    real = StoredOutput.__exit__

    def leave(self: StoredOutput, *arguments: Any) -> None:
        nonlocal left
        left = lock.read_bytes() if lock.exists() else b""
        real(self, *arguments)

    StoredOutput.__exit__ = leave  # type: ignore[method-assign]
    try:
        run(HoldingAnonymizer(), Request(f"{bucket}/in", output))
    except (InputError, Killed) as caught:
        assert isinstance(error, Killed) or "run the same command again, finished pictures are kept" in str(caught)
    finally:
        StoredOutput.__exit__ = real  # type: ignore[method-assign]
        reached = ObjectFolder.count >= at
        ObjectFolder.heal()
    if keep_lock and left:  # Nobody removes it when a process is killed.
        lock.write_bytes(left)
    return reached


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", ["lost", "killed", "killed, elsewhere"])
def test_at_every_moment_only_whole_verified_pictures_lie_there_and_resuming_equals_calm(
    bucket: str, calm: Path, kind: str, done: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``lost``: the store does not answer; ``killed``: the process ends, with the change made or not."""
    copy_often(monkeypatch)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # Hundreds of runs; no power is cut here.
    verified = {name: (calm / "images" / name).read_bytes() for name in RELEASED}
    moments = 0
    for at in range(1, 100):
        output = f"{bucket}/out{at}"
        elsewhere(monkeypatch, tmp_path / f"cache{at}")
        error: BaseException = OSError("connection reset") if kind == "lost" else Killed()
        if not broken(bucket, output, at, error, done=done, keep_lock=kind == "killed"):
            break
        moments += 1
        assert pictures(output).items() <= verified.items()
        if found := contents(output):
            assert audit(output).clean == ("seal.json" in found)
        if kind == "killed, elsewhere":
            elsewhere(monkeypatch, tmp_path / f"other{at}")
            Store(output).remove(".state/lock.json")
        run(HoldingAnonymizer(), Request(f"{bucket}/in", output))
        check_equal(output, calm)
    # Lock, empty ledger, 4 pictures, 4 annotations, 5 ledgers and the last one, 3 documents, seal; lock away.
    assert moments >= 21


def test_a_run_that_was_killed_goes_on_from_the_local_ledger(bucket: str, calm: Path) -> None:
    first = HoldingAnonymizer()
    first.raises["sub/04.png"] = Killed()
    with pytest.raises(Killed):
        run(first, Request(f"{bucket}/in", f"{bucket}/out"))
    assert contents(f"{bucket}/out")["ledger.jsonl"] == b"", "no half minute has passed"
    second = HoldingAnonymizer()
    assert run(second, Request(f"{bucket}/in", f"{bucket}/out")).skipped >= 1
    check_equal(f"{bucket}/out", calm)


def test_another_machine_goes_on_from_the_copied_ledger_and_the_first_learns_of_it(
    bucket: str, calm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy_often(monkeypatch)
    first = HoldingAnonymizer()
    first.raises["sub/04.png"] = Killed()
    with pytest.raises(Killed):
        run(first, Request(f"{bucket}/in", f"{bucket}/out"))
    known = {record["name"] for record in lines(contents(f"{bucket}/out")["ledger.jsonl"])}
    assert known
    elsewhere(monkeypatch, tmp_path / "other")
    second = HoldingAnonymizer()
    run(second, Request(f"{bucket}/in", f"{bucket}/out"))
    assert not known & set(second.calls)
    check_equal(f"{bucket}/out", calm)
    # The first one's ledger is behind now; it takes the other's.
    elsewhere(monkeypatch, tmp_path / "cache")
    fill(f"{bucket}/in", (*NAMES, "06.png"))
    third = HoldingAnonymizer()
    run(third, Request(f"{bucket}/in", f"{bucket}/out"))
    assert third.calls == ["06.png"]
    assert audit(f"{bucket}/out").clean


def test_a_removed_local_folder_costs_nothing_but_time(bucket: str, calm: Path, tmp_path: Path) -> None:
    run(HoldingAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out"))
    shutil.rmtree(tmp_path / "cache")
    again = HoldingAnonymizer()
    assert run(again, Request(f"{bucket}/in", f"{bucket}/out")).skipped == 5 and again.calls == []
    check_equal(f"{bucket}/out", calm)


def test_an_emptied_store_is_an_empty_output(bucket: str, calm: Path) -> None:
    run(HoldingAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out"))
    shutil.rmtree(Path(bucket.removeprefix("objects://")) / "out")
    again = HoldingAnonymizer()
    assert run(again, Request(f"{bucket}/in", f"{bucket}/out")).skipped == 0
    assert sorted(again.calls) == sorted(NAMES)
    check_equal(f"{bucket}/out", calm)


def test_two_runs_into_one_output_are_refused(bucket: str, tmp_path: Path) -> None:
    with open_output(f"{bucket}/out"):
        with pytest.raises(InputError, match="is in use by another run"):
            run(FakeAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out"))
        with (
            pytest.raises(
                InputError, match=r"in use by a run on .*remove objects://.*/out/\.state/lock\.json and run the"
            ),
            StoredOutput(Store(f"{bucket}/out"), tmp_path / "another machine"),
        ):
            pass
    assert run(FakeAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out")).released == 5


def test_a_run_stops_before_it_writes_over_another_ones_ledger(
    bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def take_over(*_: object) -> None:
        Store(f"{bucket}/out").put(".state/lock.json", b'{"owner": "another"}')

    with pytest.raises(InputError, match=r"lock\.json was removed or taken over while this run was at work"):
        run(FakeAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out"), on_progress=take_over)
    assert contents(f"{bucket}/out")["ledger.jsonl"] == b"" and "seal.json" not in contents(f"{bucket}/out")
    assert contents(f"{bucket}/out")[".state/lock.json"] == b'{"owner": "another"}', "it is not ours to remove"


@pytest.mark.parametrize("lock", [b"", b"[]", b"{}", b"\xff", b'{"owner": 1}'])
def test_a_damaged_lock_is_no_ones_to_take(bucket: str, lock: bytes) -> None:
    Store(f"{bucket}/out").put(".state/lock.json", lock)
    with pytest.raises(InputError, match="is in use by a run"):
        run(FakeAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out"))


def test_strays_are_refused_and_overwrite_removes_them(bucket: str, calm: Path) -> None:
    run(HoldingAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out"))
    Store(f"{bucket}/out").put("images/original.png", b"x")
    with pytest.raises(InputError, match=r"out/images holds 1 files that no recorded run released, e\.g\. original"):
        run(HoldingAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out"))
    again = HoldingAnonymizer()
    run(again, Request(f"{bucket}/in", f"{bucket}/out", overwrite=True))
    assert sorted(again.calls) == sorted(NAMES)
    check_equal(f"{bucket}/out", calm)


def test_other_objects_are_not_taken_for_an_output(bucket: str) -> None:
    Store(f"{bucket}/out").put("holiday.txt", b"x")
    with pytest.raises(InputError, match="out holds other objects; choose a new or empty folder"):
        run(FakeAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out"))
    assert contents(f"{bucket}/out") == {"holiday.txt": b"x"}
    with pytest.raises(InputError, match=r"holiday\.txt is an object, expected a folder"):
        run(FakeAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out/holiday.txt"))


def test_pictures_that_were_lost_or_changed_there_are_made_anew(bucket: str, calm: Path) -> None:
    run(HoldingAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out"))
    store = Store(f"{bucket}/out")
    store.put("images/01.png", b"x")
    store.remove("images/sub/04.png")
    store.put("images/05.png", b"what was held back")
    again = HoldingAnonymizer()
    run(again, Request(f"{bucket}/in", f"{bucket}/out"))
    assert sorted(again.calls) == ["01.png", "05.png", "sub/04.png"]
    check_equal(f"{bucket}/out", calm)


def test_what_an_earlier_run_left_of_a_picture_goes_before_it_is_made_anew(bucket: str) -> None:
    run(FakeAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out"))
    side = f".state/annotations/{hashlib.sha256(b'05.png').hexdigest()}.json"
    assert {"images/05.png", side, "seal.json"} <= contents(f"{bucket}/out").keys()
    source = Store(f"{bucket}/in")
    for name in ("05.png", "sub/04.png"):
        source.put(name, source.read("01.png"))
    second = HoldingAnonymizer()
    second.raises["sub/04.png"] = Killed()
    with pytest.raises(Killed):
        run(second, Request(f"{bucket}/in", f"{bucket}/out"))
    left = contents(f"{bucket}/out").keys()
    assert not left & {"images/05.png", "images/sub/04.png", side, "seal.json", "annotations.json", "report.html"}
    assert "images/01.png" in left


def test_a_changed_ledger_there_is_not_gone_on_from(bucket: str) -> None:
    run(HoldingAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out"))
    store = Store(f"{bucket}/out")
    ledger = store.read("ledger.jsonl")
    for changed in (ledger.replace(b"quarantined", b"released"), ledger[1:], b"".join(ledger.splitlines(True)[1:])):
        store.put("ledger.jsonl", changed)
        with pytest.raises(InputError, match="run again with overwrite"):
            run(HoldingAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out"))
    run(HoldingAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out", overwrite=True))
    assert audit(f"{bucket}/out").clean


def test_other_settings_are_not_mixed(bucket: str) -> None:
    run(FakeAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out"))
    with pytest.raises(InputError, match=r"OUTPUT objects://.*/out holds 5 pictures made with other settings"):
        run(FakeAnonymizer(settings_hash="other"), Request(f"{bucket}/in", f"{bucket}/out"))


SPOILS: dict[str, tuple[str, bytes | None, tuple[str, str]]] = {
    "a pixel": ("images/01.png", b"x", ("tampered", "images/01.png")),
    "picture gone": ("images/sub/04.png", None, ("missing", "images/sub/04.png")),
    "extra picture": ("images/sub/z.png", b"x", ("extra", "images/sub/z.png")),
    "held one put back": ("images/05.png", b"x", ("extra", "images/05.png")),
    "extra object": ("notes/a.txt", b"x", ("extra", "notes")),
    "odd name": ("images/sub/03.webp/..a.png", b"x", ("extra", "images/sub/03.webp/..a.png")),
    "ledger gone": ("ledger.jsonl", None, ("missing", "ledger.jsonl")),
    "ledger torn": ("ledger.jsonl", b'{"name": "a', ("unfinished", "ledger.jsonl")),
    "ledger rubbish": ("ledger.jsonl", b"[]\n", ("ledger", "ledger.jsonl")),
    "seal gone": ("seal.json", None, ("unfinished", "seal.json")),
    "seal rubbish": ("seal.json", b"{}", ("tampered", "seal.json")),
    "report altered": ("report.html", b"all fine", ("tampered", "report.html")),
    "annotations gone": ("annotations.json", None, ("missing", "annotations.json")),
    "extra annotations": ("annotations/a.json", b"{}", ("extra", "annotations/a.json")),
}


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    fill("memory://bucket/in")
    yield "memory://bucket"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def test_verify_finds_what_was_changed(memory: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = f"{memory}/out"
    run(HoldingAnonymizer(), Request(f"{memory}/in", output))
    assert cli.main(["verify", output]) == 0
    assert f"{output}: as the run left it; 4 pictures released, 1 withheld" in capsys.readouterr().out
    before, files = dict(MemoryFileSystem.store), Store(output)
    for spoil, (name, data, finding) in SPOILS.items():
        if data is None:
            files.remove(name)
        else:
            MemoryFileSystem.store[f"/bucket/out/{name}"] = file = type(before["/bucket/in/01.png"])(
                MemoryFileSystem(), f"/bucket/out/{name}", data
            )
            assert file.getvalue() == data
        assert finding in [(found.kind, found.name) for found in audit(output).findings], spoil
        assert cli.main(["verify", output, "--json"]) == 1
        assert json.loads(capsys.readouterr().out)["clean"] is False
        MemoryFileSystem.store.clear()
        MemoryFileSystem.store.update(before)
    assert audit(output).clean


def test_verify_says_when_the_store_cannot_be_read(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run(HoldingAnonymizer(), Request(f"{memory}/in", f"{memory}/out"))

    def refuse(*_: object, **__: object) -> bytes:
        raise PermissionError("token expired")

    monkeypatch.setattr(MemoryFileSystem, "open", refuse)
    with pytest.raises(InputError, match="token expired; check the connection and the credentials"):
        audit(f"{memory}/out")


def test_worker_processes_read_and_write_no_store(memory: str, tmp_path: Path) -> None:
    """The store is in this process's memory: no other one can reach it."""
    fill(f"{memory}/in", ("die.png", "sleep.png"))
    build = partial(UnrulyAnonymizer, tmp_path)
    summary = run_workers(ProcessCrew(build), Request(f"{memory}/in", f"{memory}/out"), workers=2, timeout_s=5)
    assert (summary.released, summary.failed) == (5, 2)
    assert audit(f"{memory}/out").clean
    assert sorted(pictures(f"{memory}/out")) == sorted(NAMES)


def test_one_connection_lost_while_reading_stops_the_run_and_fails_no_picture(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = MemoryFileSystem.cat_file

    def lost(self: MemoryFileSystem, path: str, *arguments: Any, **options: Any) -> bytes:
        if path.endswith("in/sub/03.webp"):
            raise ConnectionResetError("connection reset by peer")
        return real(self, path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "cat_file", lost)
        with pytest.raises(InputError, match=r"INPUT memory://bucket/in/sub/03\.webp: connection reset by peer; check"):
            run(HoldingAnonymizer(), Request(f"{memory}/in", f"{memory}/out"))
    summary = run(HoldingAnonymizer(), Request(f"{memory}/in", f"{memory}/out"))
    assert (summary.released, summary.quarantined, summary.failed) == (4, 1, 0)


def test_an_object_that_is_gone_or_empty_costs_itself_only(memory: str) -> None:
    Store(f"{memory}/in").put("00.png", b"")

    def vanish(step: Any) -> None:
        Store(f"{memory}/in").remove("sub/04.png")

    summary = run(HoldingAnonymizer(), Request(f"{memory}/in", f"{memory}/out"), on_progress=vanish)
    records = {record["name"]: record for record in lines(contents(f"{memory}/out")["ledger.jsonl"])}
    assert (summary.released, summary.failed) == (3, 2)
    assert "it is gone" in records["sub/04.png"]["reason"]
    assert "0 bytes" in records["00.png"]["reason"]
    assert len(records) == 6


def test_hashed_names_are_the_same_on_every_machine(
    bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    release = Release(rename=True)
    first = HoldingAnonymizer()
    first.raises["sub/04.png"] = Killed()
    copy_often(monkeypatch)
    with pytest.raises(Killed):
        run(first, Request(f"{bucket}/in", f"{bucket}/out", release=release))
    before = pictures(f"{bucket}/out")
    (work,) = (tmp_path / "cache/anonymizer/outputs").iterdir()
    key = (work / ".state/rename.key").read_bytes()
    assert before and not any(name in before for name in NAMES)
    elsewhere(monkeypatch, tmp_path / "other")
    run(HoldingAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out", release=release))
    assert before.items() <= pictures(f"{bucket}/out").items()
    assert len(pictures(f"{bucket}/out")) == 4 and audit(f"{bucket}/out").clean
    (work,) = (tmp_path / "other/anonymizer/outputs").iterdir()
    assert (work / ".state/rename.key").read_bytes() == key
    assert (work / ".state/rename.key").stat().st_mode & 0o077 == 0
    Store(f"{bucket}/out").put(".state/rename.key", b"short")
    with pytest.raises(InputError, match=r"rename\.key: expected a key of 32 bytes, got 5"):
        run(HoldingAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out", release=release))


def test_annotations_in_their_own_format_are_sealed_there(bucket: str, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "classes.txt").write_text("person\n")
    for name in ("01", "02"):
        (labels / f"{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    run(FakeAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out", annotations=labels))
    assert any(name.startswith("annotations/") for name in contents(f"{bucket}/out"))
    assert audit(f"{bucket}/out").clean
    # Another run's closing documents take their place, and nothing of the old ones stays.
    run(FakeAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out", overwrite=True))
    assert not any(name.startswith("annotations/") for name in contents(f"{bucket}/out"))
    assert audit(f"{bucket}/out").clean


def test_names_that_objects_cannot_have_are_refused_before_anything_is_released(bucket: str, tmp_path: Path) -> None:
    source = copy(f"{bucket}/in", tmp_path / "in")
    (source / "01.png").rename(source / "a\nb.png")
    with pytest.raises(InputError, match="cannot be the name of a picture in object storage"):
        run(FakeAnonymizer(), Request(source, f"{bucket}/out"))
    assert contents(f"{bucket}/out").keys() == {"ledger.jsonl"}
    assert run(FakeAnonymizer(), Request(source, f"{bucket}/out", release=Release(rename=True))).released == 5


def test_the_ledger_is_copied_from_time_to_time_and_seldom_where_that_takes_long(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copies() -> int:
        return sum(path.endswith("ledger.jsonl") for path in ObjectFolder.written)

    copy_often(monkeypatch)
    run(FakeAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out"))
    assert copies() == len(NAMES) + 2
    ObjectFolder.heal()
    monkeypatch.setattr(stored, "_SHARE", 1e-9)
    run(FakeAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out2"))
    assert copies() == 2, "at the start and at the end"


KILLED = """
    import os, random, signal, sys, threading, time
    from anonymizer.run import object_store as stored
    from anonymizer.run.local import run
    from anonymizer.run.request import Request
    from tests.unit.fakes import HoldingAnonymizer
    from tests.unit.object_store import register
    register()
    stored.CHECKPOINT_S = 0.05
    seconds = float(sys.argv[2])
    if seconds >= 0:
        threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
    run(HoldingAnonymizer(delay_s=0.03), Request(sys.argv[1] + "/in", sys.argv[1] + "/out"))
"""


def test_processes_killed_at_random_moments(bucket: str, calm: Path) -> None:
    verified = {name: (calm / "images" / name).read_bytes() for name in RELEASED}
    partial_runs = 0
    for seconds in (0.02, 0.05, 0.08, 0.11, 0.14, 0.17, 0.2, -1.0):
        command = [sys.executable, "-c", textwrap.dedent(KILLED), bucket, str(seconds)]
        done = subprocess.run(command, cwd=Path(__file__).parents[2], check=False)
        assert done.returncode in (0, -9)
        found = pictures(f"{bucket}/out")
        assert found.items() <= verified.items()
        partial_runs += 0 < len(found) < len(verified)
    assert done.returncode == 0
    assert partial_runs >= 1
    check_equal(f"{bucket}/out", calm)


def test_ray_reads_and_writes_no_store_elsewhere(memory: str) -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'anonymizer[ray]'")
    from anonymizer.run.cluster import RayCrew

    try:
        summary = run_workers(
            RayCrew(FakeAnonymizer), Request(f"{memory}/in", f"{memory}/out"), workers=1, timeout_s=60
        )
    finally:
        ray.shutdown()
    assert summary.released == 5
    records = lines(contents(f"{memory}/out")["ledger.jsonl"])
    assert sorted(record["name"] for record in records) == sorted(NAMES)
    assert audit(f"{memory}/out").clean


def test_what_left_the_input_is_named_and_withdrawn_in_a_store_too(bucket: str) -> None:
    run(FakeAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out"))
    Store(f"{bucket}/in").remove("sub/04.png")
    summary = run(FakeAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out"))
    assert (summary.not_in_input_first, summary.withdrawn) == (("sub/04.png",), 0)
    assert audit(f"{bucket}/out").not_in_input == ("sub/04.png",)
    summary = run(FakeAnonymizer(), Request(f"{bucket}/in", f"{bucket}/out", prune=True))
    assert (summary.not_in_input, summary.withdrawn) == (0, 1)
    assert set(pictures(f"{bucket}/out")) == set(NAMES) - {"sub/04.png"}
    assert len([name for name in contents(f"{bucket}/out") if name.startswith(".state/annotations/")]) == 4
    found = audit(f"{bucket}/out")
    assert found.clean and (found.pictures, found.withdrawn) == (4, 1)


def test_maps_lie_beside_the_pictures_there_and_go_with_them(bucket: str) -> None:
    release = Release(write=("masks", "parts"))
    run(Drawing(), Request(f"{bucket}/in", f"{bucket}/out", release=release))
    maps = {f"{kind}/{Path(name).with_suffix('.png')}" for kind in ("masks", "parts") for name in NAMES}
    found = contents(f"{bucket}/out")
    assert {name for name in found if name.startswith(("masks/", "parts/"))} == maps
    assert audit(f"{bucket}/out").clean
    Store(f"{bucket}/out").put("masks/01.png", b"x")
    assert [(f.kind, f.name) for f in audit(f"{bucket}/out").findings] == [("tampered", "masks/01.png")]
    assert run(Drawing(), Request(f"{bucket}/in", f"{bucket}/out", release=release)).skipped == len(NAMES) - 1
    assert contents(f"{bucket}/out")["masks/01.png"] == found["masks/01.png"]
    Store(f"{bucket}/in").remove("01.png")
    run(Drawing(), Request(f"{bucket}/in", f"{bucket}/out", release=release, prune=True))
    left = {name for name in contents(f"{bucket}/out") if name.startswith(("masks/", "parts/"))}
    assert left == maps - {"masks/01.png", "parts/01.png"} and audit(f"{bucket}/out").clean
