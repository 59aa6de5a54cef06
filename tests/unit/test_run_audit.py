"""``anonymizer verify OUTPUT``: what was changed after a run is found."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anonymizer import cli
from anonymizer.core.errors import InputError
from anonymizer.run.audit import audit
from anonymizer.run.local import run
from anonymizer.run.request import Request

from .fakes import FakeAnonymizer, rejection


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("audit")
    (base / "in/sub").mkdir(parents=True)
    for index, name in enumerate(["a.png", "b.png", "sub/c.jpg", "held.png"]):
        pixels = np.random.default_rng(index).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(base / "in" / name)
    fake = FakeAnonymizer()
    fake.raises = {"held.png": rejection()}
    run(fake, Request(base / "in", base / "out"))
    return base / "out"


@pytest.fixture
def output(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "out", symlinks=True))


def edit(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text()
    after = change(before)
    assert after != before
    path.write_text(after)


def coco(path: Path, change: Callable[[dict], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def link(path: Path) -> None:
    path.rename(path.parent.parent.parent / "elsewhere.png")
    path.symlink_to(path.parent.parent.parent / "elsewhere.png")


def drop(path: Path, number: int) -> None:
    rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(rows[:number] + rows[number + 1 :]))


def swap(path: Path) -> None:
    rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([rows[1], rows[0], *rows[2:]]))


SPOILS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a pixel": (lambda out: (out / "images/a.png").write_bytes(b"x"), "tampered", "images/a.png"),
    "a bit": (
        lambda out: (p := out / "images/sub/c.jpg").write_bytes(p.read_bytes()[:-1] + b"\x00"),
        "tampered",
        "images/sub/c.jpg",
    ),
    "picture gone": (lambda out: (out / "images/b.png").unlink(), "missing", "images/b.png"),
    "picture a link": (lambda out: link(out / "images/a.png"), "tampered", "images/a.png"),
    "extra picture": (lambda out: shutil.copy(out / "images/a.png", out / "images/z.png"), "extra", "images/z.png"),
    "held one put back": (
        lambda out: shutil.copy(out / "images/a.png", out / "images/held.png"),
        "extra",
        "images/held.png",
    ),
    "extra link": (lambda out: (out / "images/deep").symlink_to("/"), "extra", "images/deep"),
    "extra file": (lambda out: (out / "original.png").write_bytes(b""), "extra", "original.png"),
    "half a file": (
        lambda out: (out / ".state/unfinished/.tmp-anonymizer-1").write_bytes(b""),
        "unfinished",
        ".state/unfinished/.tmp-anonymizer-1",
    ),
    "line altered": (
        lambda out: edit(out / "ledger.jsonl", lambda s: s.replace("quarantined", "failed", 1)),
        "ledger",
        "ledger.jsonl",
    ),
    "first line gone": (lambda out: drop(out / "ledger.jsonl", 0), "ledger", "ledger.jsonl"),
    "last line gone": (lambda out: drop(out / "ledger.jsonl", 3), "ledger", "ledger.jsonl"),
    "lines swapped": (lambda out: swap(out / "ledger.jsonl"), "ledger", "ledger.jsonl"),
    "line torn": (
        lambda out: edit(out / "ledger.jsonl", lambda s: s[:-5]),
        "unfinished",
        "ledger.jsonl",
    ),
    "ledger rubbish": (lambda out: edit(out / "ledger.jsonl", lambda s: s + "[]\n"), "ledger", "ledger.jsonl"),
    "annotations altered": (
        lambda out: coco(out / "annotations.json", lambda d: d.update(info={})),
        "tampered",
        "annotations.json",
    ),
    "annotation gone": (
        lambda out: coco(out / "annotations.json", lambda d: d["annotations"].pop()),
        "annotations",
        "annotations.json",
    ),
    "annotated picture gone": (
        lambda out: coco(out / "annotations.json", lambda d: d["images"].pop()),
        "annotations",
        "annotations.json",
    ),
    "annotations rubbish": (
        lambda out: (out / "annotations.json").write_text("[1]"),
        "annotations",
        "annotations.json",
    ),
    "annotations gone": (lambda out: (out / "annotations.json").unlink(), "missing", "annotations.json"),
    "report altered": (lambda out: (out / "report.html").write_text("all fine"), "tampered", "report.html"),
    "quarantine altered": (lambda out: (out / "quarantine.txt").write_text(""), "tampered", "quarantine.txt"),
    "seal gone": (lambda out: (out / "seal.json").unlink(), "unfinished", "seal.json"),
    "seal rubbish": (lambda out: (out / "seal.json").write_text("{}"), "tampered", "seal.json"),
}


def test_a_finished_run_is_clean(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = audit(output)
    assert found.findings == ()
    assert (found.pictures, found.withheld) == (3, 1)
    assert cli.main(["verify", str(output)]) == 0
    assert found.head in capsys.readouterr().out
    assert cli.main(["verify", str(output), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clean"] is True


@pytest.mark.parametrize("spoil", SPOILS)
def test_whatever_is_changed_afterwards_is_found(output: Path, spoil: str, capsys: pytest.CaptureFixture[str]) -> None:
    change, kind, name = SPOILS[spoil]
    change(output)
    found = [(finding.kind, finding.name) for finding in audit(output).findings]
    assert (kind, name) in found
    assert cli.main(["verify", str(output), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["clean"] is False


def test_a_run_that_was_not_finished_is_not_clean(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "ab":
        Image.new("RGB", (8, 8)).save(tmp_path / f"in/{name}.png")
    fake = FakeAnonymizer()
    fake.raises = {"b.png": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        run(fake, Request(tmp_path / "in", tmp_path / "out"))
    assert ("unfinished", "seal.json") in [(f.kind, f.name) for f in audit(tmp_path / "out").findings]
    run(FakeAnonymizer(), Request(tmp_path / "in", tmp_path / "out"))
    assert audit(tmp_path / "out").clean


def test_a_released_record_with_a_failed_check_is_not_clean(tmp_path: Path) -> None:
    from anonymizer.run.ledger import Ledger

    (tmp_path / "images").mkdir()
    ledger = Ledger.open(tmp_path)
    base = {"status": "released", "input_sha256": "", "settings_hash": "", "output_sha256": "", "size": [1, 1]}
    failed = {"check": "face_distance", "passed": False}
    ledger.append(base | {"name": "a", "instances": [], "verdicts": [failed]})
    ledger.append(base | {"name": "b", "instances": [], "verdicts": []})
    details = [f.name for f in audit(tmp_path).findings if "passed every check" in f.detail]
    assert details == ["images/a", "images/b"]


def test_a_name_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    from anonymizer.run.ledger import Ledger

    ledger = Ledger.open(tmp_path)
    for name in ("../../etc/passwd", "/etc/passwd"):
        ledger.append({"name": name, "status": "released", "input_sha256": "", "settings_hash": "", "verdicts": []})
    found = audit(tmp_path).findings
    assert [f.detail for f in found if f.kind == "ledger"] == ["line 1 is no record", "line 2 is no record"]
    assert not any("sha256" in finding.detail for finding in found)
    with pytest.raises(InputError, match="line 1: damaged"):
        Ledger.open(tmp_path)


def test_other_folders_are_wrong_usage(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="folder of a run"):
            audit(path)
        assert cli.main(["verify", str(path)]) == 2
