"""What INPUT no longer holds and what a run passes over: told, never passed over in silence."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from anonymizer.annotations.export import side_path
from anonymizer.core.errors import InputError
from anonymizer.evaluation.pairing import read_run
from anonymizer.images.release import Release
from anonymizer.run.audit import audit
from anonymizer.run.ledger import SCHEMA_VERSION, Ledger
from anonymizer.run.local import run
from anonymizer.run.request import Request
from anonymizer.run.summary import Summary

from .fakes import FakeAnonymizer, rejection
from .test_run_environment import pictures


def records(output: Path) -> dict[str, dict[str, Any]]:
    lines = (output / "ledger.jsonl").read_text().splitlines()
    return {record["name"]: record for record in map(json.loads, lines)}


@pytest.fixture
def shrunk(tmp_path: Path) -> Path:
    """An INPUT and its OUTPUT, after b.png (released) and c.png (quarantined) were taken out of INPUT."""
    source = pictures(tmp_path / "in", "a.png", "b.png", "c.png")
    anonymizer = FakeAnonymizer()
    anonymizer.raises["c.png"] = rejection()
    run(anonymizer, Request(source, tmp_path / "out"))
    (source / "b.png").unlink()
    (source / "c.png").unlink()
    return tmp_path


def again(place: Path, **options: Any) -> Summary:
    return run(FakeAnonymizer(), Request(place / "in", place / "out", **options))


def test_a_picture_that_left_the_input_is_named(shrunk: Path) -> None:
    summary = again(shrunk)
    assert (summary.not_in_input, summary.not_in_input_first, summary.withdrawn) == (1, ("b.png",), 0)
    assert (shrunk / "out/images/b.png").is_file()
    report = (shrunk / "out/report.html").read_text()
    assert "No longer in the input" in report and "--prune" in report
    found = audit(shrunk / "out")
    assert found.clean and found.not_in_input == ("b.png",) and found.withheld == 1


def test_a_picture_that_came_back_is_no_longer_named(shrunk: Path) -> None:
    again(shrunk)
    pictures(shrunk / "in", "a.png", "b.png")
    summary = again(shrunk)
    assert (summary.not_in_input, summary.skipped) == (0, 2)
    assert audit(shrunk / "out").not_in_input == ()
    assert "in_input" not in records(shrunk / "out")["b.png"]


def test_prune_withdraws_picture_and_annotations(shrunk: Path) -> None:
    summary = again(shrunk, prune=True)
    assert (summary.not_in_input, summary.withdrawn) == (0, 2)
    output = shrunk / "out"
    assert [path.name for path in (output / "images").iterdir()] == ["a.png"]
    assert [image["file_name"] for image in json.loads((output / "annotations.json").read_bytes())["images"]] == [
        "a.png"
    ]
    assert len(list((output / ".state/annotations").iterdir())) == 1
    assert (output / "quarantine.txt").read_text() == ""
    written = records(output)
    assert [written[name]["status"] for name in ("a.png", "b.png", "c.png")] == ["released", "withdrawn", "withdrawn"]
    assert "was released" in written["b.png"]["reason"] and "instances" not in written["b.png"]
    assert "2 withdrawn" in (output / "report.html").read_text()
    found = audit(output)
    assert found.clean and (found.pictures, found.withheld, found.withdrawn) == (1, 0, 2)
    assert again(shrunk, prune=True).withdrawn == 0


@pytest.mark.parametrize("lost", ["picture", "both"])
def test_a_withdrawal_that_was_cut_short_is_completed(shrunk: Path, lost: str) -> None:
    (shrunk / "out/images/b.png").unlink()
    if lost == "both":
        side_path(shrunk / "out/.state", "b.png").unlink()
    summary = again(shrunk)
    assert (summary.not_in_input, summary.withdrawn) == (0, 1)
    assert records(shrunk / "out")["b.png"]["status"] == "withdrawn"
    assert audit(shrunk / "out").clean


def test_a_picture_whose_place_another_takes_is_withdrawn(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", "b.png")
    release = Release("jpeg")
    run(FakeAnonymizer(), Request(source, tmp_path / "out", release=release))
    (source / "a.png").rename(source / "a.bmp")
    summary = run(FakeAnonymizer(), Request(source, tmp_path / "out", release=release))
    assert (summary.released, summary.not_in_input, summary.withdrawn) == (2, 0, 1)
    assert sorted(path.name for path in (tmp_path / "out/images").iterdir()) == ["a.jpg", "b.jpg"]
    assert audit(tmp_path / "out").clean


def test_a_withdrawn_picture_that_comes_back_is_made_anew(shrunk: Path) -> None:
    again(shrunk, prune=True)
    pictures(shrunk / "in", "a.png", "b.png")
    summary = again(shrunk)
    assert (summary.released, summary.skipped) == (2, 1)
    assert audit(shrunk / "out").clean


def test_withdrawn_pictures_hold_nobody_to_their_settings(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png")
    run(FakeAnonymizer(), Request(source, tmp_path / "out"))
    (source / "a.png").rename(source / "b.png")
    with pytest.raises(InputError, match="other settings"):
        run(FakeAnonymizer(settings_hash="others"), Request(source, tmp_path / "out"))
    ledger = Ledger.open(tmp_path / "out")
    ledger.append({**(ledger.get("a.png") or {}), "status": "withdrawn", "reason": "", "output_sha256": None})
    (tmp_path / "out/images/a.png").unlink()
    assert run(FakeAnonymizer(settings_hash="others"), Request(source, tmp_path / "out")).released == 1


def test_what_is_passed_over_is_told_by_suffix(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png")
    for name in ("film.mp4", "other.MP4", "notes.<b>", ".hidden.png"):
        (source / name).touch()
    summary = run(FakeAnonymizer(), Request(source, tmp_path / "out"))
    assert summary.passed_over == {".mp4": 2, ".<b>": 1, "hidden files": 1} and summary.ignored == 4
    assert json.loads(summary.to_json())["passed_over"][".mp4"] == 2
    report = (tmp_path / "out/report.html").read_text()
    assert "Passed over" in report and ".mp4" in report and "&lt;b&gt;" in report and "<b>" not in report


def plain(output: Path, version: object = None) -> None:
    """Write the ledger of an OUTPUT anew, without a version or with another one."""
    ledger = Ledger.open(output)
    lines = [json.dumps({**record, **({} if version is None else {"schema_version": version})}) for record in ledger]
    (output / "ledger.jsonl").unlink()
    head, out = "0" * 64, []
    for line in lines:
        text = json.dumps({"previous": head, **json.loads(line)})
        head = sha256(text.encode()).hexdigest()
        out.append(text)
    (output / "ledger.jsonl").write_text("".join(f"{line}\n" for line in out))
    seal = json.loads((output / "seal.json").read_bytes())
    seal["ledger"]["head"] = head
    (output / "seal.json").write_text(json.dumps(seal))


def test_a_ledger_without_a_version_is_read_and_gets_one(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", "b.png")
    run(FakeAnonymizer(), Request(source, tmp_path / "out"))
    plain(tmp_path / "out")
    assert not any("schema_version" in record for record in records(tmp_path / "out").values())
    assert audit(tmp_path / "out").clean
    assert read_run(tmp_path / "out/ledger.jsonl").statuses == {"released": 2}
    assert run(FakeAnonymizer(), Request(source, tmp_path / "out")).skipped == 2
    assert {record["schema_version"] for record in records(tmp_path / "out").values()} == {SCHEMA_VERSION}


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, "2", 0, True])
def test_a_ledger_of_a_newer_version_is_refused_with_what_is_needed(tmp_path: Path, version: object) -> None:
    source = pictures(tmp_path / "in", "a.png")
    run(FakeAnonymizer(), Request(source, tmp_path / "out"))
    plain(tmp_path / "out", version)
    for call in (
        lambda: audit(tmp_path / "out"),
        lambda: run(FakeAnonymizer(), Request(source, tmp_path / "out")),
        lambda: read_run(tmp_path / "out/ledger.jsonl"),
    ):
        with pytest.raises(InputError, match=r"schema version .*use the release of anonymizer that wrote it"):
            call()


def test_a_record_that_cannot_be_read_is_made_anew(shrunk: Path) -> None:
    side_path(shrunk / "out/.state", "a.png").write_text('{"schema": 1}')
    summary = again(shrunk)
    assert (summary.released, summary.skipped) == (1, 0)
    assert audit(shrunk / "out").clean


def test_a_picture_that_can_neither_stay_nor_be_made_anew_ends_the_run_before_it_begins(shrunk: Path) -> None:
    side_path(shrunk / "out/.state", "b.png").write_text('{"schema": 1}')
    with pytest.raises(InputError, match=r"holds 1 pictures .* e\.g\. b\.png; withdraw them \(--prune\)"):
        again(shrunk)
    assert audit(shrunk / "out").clean
    assert again(shrunk, prune=True).withdrawn == 2


@pytest.mark.parametrize("empty", ["source", "output", "annotations"])
def test_an_empty_path_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    monkeypatch.chdir(pictures(tmp_path / "in", "a.png"))
    places: dict[str, Any] = {"source": str(tmp_path / "in"), "output": str(tmp_path / "out"), empty: ""}
    with pytest.raises(InputError, match="got an empty text"):
        run(FakeAnonymizer(), Request(**places))
    with pytest.raises(InputError, match="got an empty text"):
        run(FakeAnonymizer(), Request([str(tmp_path / "in/a.png"), ""], tmp_path / "out"))
    assert not (tmp_path / "out").exists()
