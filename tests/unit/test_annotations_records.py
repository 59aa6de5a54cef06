"""Atomic files, the ledger and the report."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anonymizer.core.errors import InputError
from anonymizer.core.files import PREFIX, remove_leftovers, to_json, write_atomic
from anonymizer.run.ledger import START, Ledger
from anonymizer.run.report import MAX_THUMBNAILS, checks, quarantine_list, render_report


def line(name: str, status: str = "released", **fields: Any) -> dict[str, Any]:
    base = {"name": name, "status": status, "reason": "", "input_sha256": "i", "settings_hash": "s"}
    return base | {"annotations_sha256": None, "released_name": name, "instances": [], "verdicts": []} | fields


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "a"
    write_atomic(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / f"{PREFIX}1").write_bytes(b"")
    (tmp_path / "x" / "keep").write_bytes(b"")
    assert remove_leftovers(tmp_path) == 1
    assert list((tmp_path / "x").iterdir()) == [tmp_path / "x" / "keep"]


def test_the_newest_line_of_a_picture_counts_and_compaction_keeps_one(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    for record in (line("b", "failed"), line("a"), line("b")):
        ledger.append(record)
    again = Ledger.open(tmp_path)
    assert again.finished("b", "i", "s")
    again.compact(tmp_path)
    lines = (tmp_path / "ledger.jsonl").read_bytes().splitlines()
    assert [json.loads(item)["name"] for item in lines] == ["a", "b"]


def test_only_the_same_content_settings_and_annotations_count_as_finished(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    ledger.append(line("a"))
    ledger.append(line("q", "quarantined"))
    ledger.append(line("f", "failed"))
    assert ledger.finished("a", "i", "s")
    assert ledger.finished("q", "i", "s")
    assert not ledger.finished("f", "i", "s")
    assert not ledger.finished("a", "other", "s")
    assert not ledger.finished("a", "i", "other")
    assert not ledger.finished("a", "i", "s", "annotations")
    assert not ledger.finished("none", "i", "s")


def test_a_torn_last_line_is_cut_off_at_any_byte_and_the_chain_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger.open(tmp_path)
    ledger.append(line("a"))
    first = path.read_bytes()
    ledger.append(line("b"))
    second = path.read_bytes()[len(first) :]
    for length in range(len(second)):
        path.write_bytes(first + second[:length])
        again = Ledger.open(tmp_path)
        assert [record["name"] for record in again] == ["a"]
        assert path.read_bytes() == first
    again.append(line("b"))
    assert path.read_bytes() == first + second
    assert (again.head, again.lines) == (ledger.head, 2)


def test_a_damaged_whole_line_is_refused(tmp_path: Path) -> None:
    for content in (b"{}\n", b"rubbish\n", b"[1]\n", to_json(line("a") | {"name": 3}) + b"\n"):
        (tmp_path / "ledger.jsonl").write_bytes(content)
        with pytest.raises(InputError, match="line 1"):
            Ledger.open(tmp_path)


@pytest.mark.parametrize("fault", ["altered", "removed", "moved", "repeated", "added"])
def test_a_broken_chain_is_refused_also_after_compaction(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "ledger.jsonl"
    for compacted in (False, True):
        path.unlink(missing_ok=True)
        ledger = Ledger.open(tmp_path)
        for name in "dacb":
            ledger.append(line(name))
        if compacted:
            ledger.compact(tmp_path)
        rows = path.read_bytes().splitlines(keepends=True)
        rows = {
            "altered": [rows[0].replace(b'"released"', b'"failed"'), *rows[1:]],
            "removed": [rows[0], *rows[2:]],
            "moved": [rows[0], rows[2], rows[1], rows[3]],
            "repeated": [*rows[:2], *rows[1:]],
            "added": [*rows[:2], to_json({"previous": START, **line("e")}) + b"\n", *rows[2:]],
        }[fault]
        path.write_bytes(b"".join(rows))
        with pytest.raises(InputError, match="does not follow"):
            Ledger.open(tmp_path)


def test_a_compacted_ledger_goes_on(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    for name in "baab":
        ledger.append(line(name, reason=name * 3))
    ledger.compact(tmp_path)
    ledger.append(line("c"))
    again = Ledger.open(tmp_path)
    assert [record["reason"] for record in again] == ["aaa", "bbb", ""]
    assert (again.head, again.lines, len(again)) == (ledger.head, 3, 3)
    assert again.get("a") == line("a", reason="aaa")


def test_ledger_values_are_plain_and_never_arrays() -> None:
    assert (
        to_json({"a": np.float32(0.5), "b": float("nan"), "c": (1, "é")})
        == b'{"a": 0.5, "b": null, "c": [1, "\\u00e9"]}'
    )
    with pytest.raises(TypeError, match="ndarray"):
        to_json({"embedding": np.zeros(3)})


def verdict(check: str, passed: bool, value: float | None) -> dict[str, Any]:
    return {"check": check, "passed": passed, "value": value, "threshold": 0.4, "detail": ""}


def test_checks_are_counted_with_least_and_median() -> None:
    instance = {"label": "face", "action": "redrawn", "verdicts": [verdict("d", True, 0.1), verdict("d", False, 0.7)]}
    [summary] = checks([line("a", instances=[instance], verdicts=[verdict("d", True, 0.3)])])
    assert (summary.passed, summary.failed, summary.least, summary.median, summary.threshold) == (2, 1, 0.1, 0.3, 0.4)


def test_the_quarantine_list_has_one_line_each_whatever_the_name() -> None:
    records = [line("ok"), line("a\nb\udcff.jpg", "failed", reason="x\ty"), line("q", "quarantined", reason="face")]
    text = quarantine_list(records).decode()
    assert text.splitlines() == ["failed\ta\\nb\\udcff.jpg\tx\\ty", "quarantined\tq\tface"]


def test_the_report_is_self_contained_escaped_and_shows_released_pictures_only(tmp_path: Path) -> None:
    names = [f"{index:03}.png" for index in range(MAX_THUMBNAILS + 2)]
    for name in (*names, "held.png"):
        Image.new("RGB", (400, 10)).save(tmp_path / name)
    hostile = "<script>alert(1)</script>"
    records = [line(name) for name in names]
    records.append(line("held.png", "quarantined", reason=hostile, verdicts=[verdict("face_distance", False, 0.9)]))
    html = render_report(records, tmp_path, {"preset": "x", "models": [{"id": "m"}]}, seconds=1.0).decode()
    assert hostile not in html
    assert "&lt;script&gt;" in html
    assert html.count("<img") == MAX_THUMBNAILS
    assert "And 2 more, in images" in html
    assert not re.search(r'(src|href)="(?!data:)', html)
    assert 'alt="held.png"' not in html
    assert "models.1.id" in html
    assert "face_distance" in html
