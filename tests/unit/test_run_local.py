import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anonymizer.core import files as atomic
from anonymizer.core.errors import InputError, ModelError, StageError
from anonymizer.run.local import run
from anonymizer.run.output import OutputFolder
from anonymizer.run.request import Request
from anonymizer.run.summary import Progress

from .fakes import FakeAnonymizer, rejection


def pictures(folder: Path, *names: str, size: tuple[int, int] = (32, 24)) -> Path:
    for index, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


def ledger(output: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in (output / "ledger.jsonl").read_text().splitlines()]
    assert len({line["name"] for line in lines}) == len(lines)
    return {line["name"]: line for line in lines}


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_releases_every_picture_with_ledger_annotations_and_report(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", "b/c.jpg", "d.webp")
    (source / "notes.txt").write_text("x")
    before = files(source)
    seen: list[Progress] = []
    summary = run(FakeAnonymizer(), Request(source, tmp_path / "out"), on_progress=seen.append)
    assert (summary.released, summary.quarantined, summary.failed, summary.skipped) == (3, 0, 0, 0)
    assert summary.redrawn == {"person": 3}
    assert summary.ignored == 1
    assert summary.peak_rss_mb > 1
    assert json.loads(summary.to_json())["released"] == 3
    assert [(step.done, step.name) for step in seen] == [(1, "a.png"), (2, "b/c.jpg"), (3, "d.webp")]
    assert set(files(tmp_path / "out/images")) == {"a.png", "b/c.jpg", "d.webp"}
    record = ledger(tmp_path / "out")["b/c.jpg"]
    assert record["output_sha256"] == hashlib.sha256((tmp_path / "out/images/b/c.jpg").read_bytes()).hexdigest()
    assert record["instances"][0]["verdicts"][0]["check"] == "pixels_replaced"
    assert record["timings_s"]["redraw"] == 0.01
    assert "seed" not in json.dumps(record)
    coco = json.loads((tmp_path / "out/annotations.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["a.png", "b/c.jpg", "d.webp"]
    assert (tmp_path / "out/quarantine.txt").read_text() == ""
    assert "a.png" in (tmp_path / "out/report.html").read_text()
    assert files(source) == before


def test_pictures_that_fail_are_named_and_nothing_of_them_is_released(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", "b.png", "c.png", "d.png", "e.png")
    (source / "zero.jpg").write_bytes(b"")
    (source / "cut.png").write_bytes((source / "a.png").read_bytes()[:200])
    (source / "text.png").write_bytes(b"hello")
    (source / "dangling.png").symlink_to(tmp_path / "nowhere")
    fake = FakeAnonymizer()
    fake.raises = {
        "a.png": rejection(),
        "b.png": StageError("redraw", "no"),
        "c.png": MemoryError(),
        "d.png": RuntimeError("CUDA out\nof memory"),
    }
    summary = run(fake, Request(source, tmp_path / "out"))
    assert (summary.released, summary.quarantined, summary.failed) == (1, 1, 7)
    assert set(files(tmp_path / "out/images")) == {"e.png"}
    lines = ledger(tmp_path / "out")
    assert lines["a.png"]["verdicts"][0]["value"] == 0.9
    assert lines["d.png"]["reason"] == "RuntimeError: CUDA out of memory"
    assert lines["c.png"]["reason"].startswith("MemoryError")
    listed = (tmp_path / "out/quarantine.txt").read_text().splitlines()
    assert len(listed) == 8
    assert "a.png" in listed[0] and "still recognised" in listed[0]


def test_a_wrong_suffix_is_noted_and_the_name_kept(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png")
    (source / "a.png").rename(source / "a.jpg")
    run(FakeAnonymizer(), Request(source, tmp_path / "out"))
    assert (tmp_path / "out/images/a.jpg").read_bytes().startswith(b"\xff\xd8")
    assert ledger(tmp_path / "out")["a.jpg"]["notes"] == [
        "written as JPEG with losses",
        "PNG content under the suffix .jpg",
    ]


def test_change_outside_of_the_treated_mask_is_never_released(tmp_path: Path) -> None:
    fake = FakeAnonymizer()
    fake.spill = True
    summary = run(fake, Request(pictures(tmp_path / "in", "a.png"), tmp_path / "out"))
    assert summary.failed == 1
    assert "outside" in ledger(tmp_path / "out")["a.png"]["reason"]
    assert files(tmp_path / "out/images") == {}


def test_a_second_run_skips_what_is_decided_and_retries_failures(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", "b.png", "c.png")
    fake = FakeAnonymizer()
    fake.raises = {"b.png": rejection(), "c.png": RuntimeError("passing")}
    run(fake, Request(source, tmp_path / "out"))
    again = FakeAnonymizer()
    summary = run(again, Request(source, tmp_path / "out"))
    assert again.calls == ["c.png"]
    assert (summary.released, summary.quarantined, summary.failed, summary.skipped) == (2, 1, 0, 2)
    assert summary.redrawn == {"person": 2}


@pytest.mark.parametrize("spoil", ["input", "image", "side", "gone"])
def test_what_changed_since_is_made_anew(tmp_path: Path, spoil: str) -> None:
    source = pictures(tmp_path / "in", "a.png", "b.png")
    out = tmp_path / "out"
    run(FakeAnonymizer(), Request(source, out))
    before = files(out / "images")
    if spoil == "input":
        (source / "a.png").write_bytes((source / "b.png").read_bytes())
    elif spoil == "image":
        (out / "images/a.png").write_bytes(b"tampered")
    elif spoil == "gone":
        (out / "images/a.png").unlink()
    else:
        for path in (out / ".state/annotations").iterdir():
            path.unlink()
    again = FakeAnonymizer()
    run(again, Request(source, out))
    assert again.calls == (["a.png", "b.png"] if spoil == "side" else ["a.png"])
    if spoil != "input":
        assert files(out / "images") == before
    assert ledger(out).keys() == {"a.png", "b.png"}


def test_a_picture_that_is_held_back_now_loses_its_earlier_release(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", "b.png")
    out = tmp_path / "out"
    run(FakeAnonymizer(), Request(source, out))
    (source / "a.png").write_bytes((source / "b.png").read_bytes())
    fake = FakeAnonymizer()
    fake.raises = {"a.png": rejection()}
    assert run(fake, Request(source, out)).quarantined == 1
    assert set(files(out / "images")) == {"b.png"}
    assert len(json.loads((out / "annotations.json").read_text())["images"]) == 1


def test_other_settings_are_refused_unless_overwriting(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png")
    run(FakeAnonymizer(), Request(source, tmp_path / "out"))
    other = FakeAnonymizer(settings_hash="other")
    with pytest.raises(InputError, match="other settings.*overwrite"):
        run(other, Request(source, tmp_path / "out"))
    assert (tmp_path / "out/annotations.json").exists()
    assert run(other, Request(source, tmp_path / "out", overwrite=True)).skipped == 0
    assert ledger(tmp_path / "out")["a.png"]["settings_hash"] == "other"


def test_a_folder_that_is_not_ours_is_refused_even_when_overwriting(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png")
    pictures(tmp_path / "out", "family.png")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="other files"):
            run(FakeAnonymizer(), Request(source, tmp_path / "out", overwrite=overwrite))
    assert set(files(tmp_path / "out")) == {"family.png"}
    with pytest.raises(InputError, match="is a file"):
        run(FakeAnonymizer(), Request(source, tmp_path / "out/family.png"))


def test_files_that_no_run_released_are_not_left_among_the_released(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png")
    run(FakeAnonymizer(), Request(source, tmp_path / "out"))
    pictures(tmp_path / "out/images", "stray.png")
    with pytest.raises(InputError, match=r"stray\.png"):
        run(FakeAnonymizer(), Request(source, tmp_path / "out"))


def test_two_runs_cannot_share_an_output(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png")
    with OutputFolder(tmp_path / "out"), pytest.raises(InputError, match="in use"):
        run(FakeAnonymizer(), Request(source, tmp_path / "out"))
    assert run(FakeAnonymizer(), Request(source, tmp_path / "out")).released == 1


def test_names_that_collide_are_refused_where_case_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = pictures(tmp_path / "in", "a.png", "A.png")
    monkeypatch.setattr(OutputFolder, "ignores_case", True)
    with pytest.raises(InputError, match="same file"):
        run(FakeAnonymizer(), Request(source, tmp_path / "out"))


def test_missing_models_and_interruptions_end_the_run_resumably(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", "b.png")
    for error in (ModelError("weights missing"), KeyboardInterrupt()):
        fake = FakeAnonymizer()
        fake.raises = {"b.png": error}
        with pytest.raises(type(error)):
            run(fake, Request(source, tmp_path / "out"))
        assert set(files(tmp_path / "out/images")) == {"a.png"}
        assert not (tmp_path / "out/annotations.json").exists()
    assert run(FakeAnonymizer(), Request(source, tmp_path / "out")).released == 2


def test_a_full_disk_stops_cleanly_and_the_run_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = pictures(tmp_path / "in", "a.png", "b.png")
    fsync, calls = os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", full)
        with pytest.raises(InputError, match="No space left.*free space"):
            run(FakeAnonymizer(), Request(source, tmp_path / "out"))
    assert not [name for name in files(tmp_path / "out") if atomic.PREFIX in name]
    assert run(FakeAnonymizer(), Request(source, tmp_path / "out")).released == 2


def test_given_annotations_are_used_and_a_change_of_them_redoes_their_picture(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", "b.png", size=(32, 24))
    document: dict[str, Any] = {
        "categories": [{"id": 1, "name": "face"}],
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 8, 8]}],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(document))
    out = tmp_path / "out"
    summary = run(FakeAnonymizer(), Request(source, out, annotations=path))
    assert summary.redrawn == {"face": 1, "person": 1}
    document["annotations"][0]["bbox"] = [5, 5, 8, 8]
    path.write_text(json.dumps(document))
    again = FakeAnonymizer()
    run(again, Request(source, out, annotations=path))
    assert again.calls == ["a.png"]
    document["annotations"][0]["segmentation"] = {"size": [1, 1], "counts": [1]}
    path.write_text(json.dumps(document))
    assert run(FakeAnonymizer(), Request(source, out, annotations=path)).failed == 1
    assert set(files(out / "images")) == {"b.png"}


@pytest.mark.skipif(sys.platform == "win32" or os.fsencode("ü") != b"\xc3\xbc", reason="needs byte file names")
def test_odd_names_survive(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "ü ß.png", "new\nline.png", "<b>&.png")
    pictures(tmp_path / "x", "a.png")
    (tmp_path / "x/a.png").rename(source / os.fsdecode(b"\xff.png"))
    assert run(FakeAnonymizer(), Request(source, tmp_path / "out")).released == 4
    assert len(json.loads((tmp_path / "out/annotations.json").read_text())["images"]) == 4


CHILD = """
    import sys
    from anonymizer.run.local import run
    from anonymizer.run.request import Request
    from tests.unit.fakes import FakeAnonymizer, rejection
    anonymizer = FakeAnonymizer(delay_s=0.02)
    anonymizer.raises = {"05.png": rejection()}
    print("ready", flush=True)
    run(anonymizer, Request(sys.argv[1], sys.argv[2]))
"""


def test_a_run_killed_at_random_moments_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    names = [f"{index:02}.{suffix}" for index, suffix in enumerate(["png", "jpg", "webp", "tif", "bmp", "png"] * 3)]
    source = pictures(tmp_path / "in", *names)
    calm, out = tmp_path / "calm", tmp_path / "out"
    fake = FakeAnonymizer()
    fake.raises = {"05.png": rejection()}
    run(fake, Request(source, calm))
    verified = files(calm / "images")
    child = [sys.executable, "-c", textwrap.dedent(CHILD), str(source), str(out)]
    rng = random.Random(3)
    kills = 0
    for _ in range(10):
        process = subprocess.Popen(child, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(timeout=rng.uniform(0.0, 0.25))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
        process.stdout.close()
        if (out / "images").exists():
            assert files(out / "images").items() <= verified.items()
    assert kills >= 3
    subprocess.run(child, cwd=Path(__file__).parents[2], check=True, stdout=subprocess.DEVNULL)
    assert files(out / "images") == verified
    assert (out / "annotations.json").read_bytes() == (calm / "annotations.json").read_bytes()
    assert (out / "quarantine.txt").read_bytes() == (calm / "quarantine.txt").read_bytes()
    for lines in (left := ledger(out), right := ledger(calm)):
        for line in lines.values():
            line.pop("timings_s", None)
            line.pop("previous")  # The chain binds the timings, too.
    assert left == right
