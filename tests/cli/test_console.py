"""What a run tells while it goes on."""

from pathlib import Path

import pytest

from anonymizer.cli.console import print_summary, show_progress
from anonymizer.run.summary import Progress, summarize


def test_pictures_that_are_held_back_are_told_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress() as show:
        show(Progress(1, 3, "a.jpg", "released", False))
        show(Progress(2, 3, "b\x1b[31m.jpg", "failed", False, "truncated\npicture"))
        show(Progress(3, 3, "c.jpg", "quarantined", True, "a face is left"))
    assert capsys.readouterr().err.splitlines() == [
        "[1/3] a.jpg: released",
        "[2/3] b\\x1b[31m.jpg: failed: truncated\\npicture",
        "[3/3] c.jpg: quarantined (before): a face is left",
    ]


def test_a_terminal_keeps_what_needs_a_look(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with show_progress() as show:
        show(Progress(1, 2, "b[red].jpg", "failed", False, "truncated\x1b[2J picture"))
        show(Progress(2, 2, "a.jpg", "released", False))
    told = capsys.readouterr().err
    assert "b[red].jpg: failed: truncated\\x1b[2J picture" in told and "\x1b[2J" not in told


def test_the_summary_names_what_of_the_annotations_was_not_used(capsys: pytest.CaptureFixture[str]) -> None:
    told = {
        "with_record": 3,
        "without_record": 2,
        "held": 0,
        "fits_no_picture": [f"{n}\x1b.jpg" for n in range(9)],
        "left_alone": ["car", "dog"],
        "data_set_remarks": [],
    }
    records = [{"status": "released", "annotation_remarks": ["line 3: box without area, left out"]}]
    summary = summarize(records, Path(), skipped=0, ignored=0, seconds=1.0, annotations=told)
    print_summary(summary)
    printed = capsys.readouterr().out.splitlines()
    assert "Annotated:    3 pictures, 2 without annotations" in printed
    assert "Left alone:   2: car, dog" in printed
    assert "Remarks:      1 records mended or left out, see report" in printed
    (lost,) = [line for line in printed if line.startswith("Fit nothing:")]
    assert lost.endswith("7\\x1b.jpg and 1 more, see report") and "\x1b" not in lost
    print_summary(summarize(records, Path(), skipped=0, ignored=0, seconds=1.0))
    assert "Annotated" not in capsys.readouterr().out
