"""What a run tells while it goes on."""

import pytest

from anonymizer.console import show_progress
from anonymizer.engine.summary import Progress


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
