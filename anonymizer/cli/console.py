"""Console: progress while the command line works, what it prints at the end, and what its commands share."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from anonymizer.core.errors import InputError
from anonymizer.core.logs import log_to_stderr

if TYPE_CHECKING:
    from anonymizer.run.summary import Progress as Step
    from anonymizer.run.summary import Summary

__all__ = [
    "FAILURE",
    "GATED",
    "INTERRUPTED",
    "RELEASED",
    "USAGE",
    "WITHHELD",
    "JsonFlag",
    "QuietFlag",
    "VerboseFlag",
    "interruptible",
    "print_summary",
    "set_volume",
    "show_progress",
    "show_stages",
]

#: Exit codes; that of an interrupt is what a shell gives for SIGINT, 128 + 2.
RELEASED, FAILURE, USAGE, WITHHELD, GATED, INTERRUPTED = 0, 1, 2, 3, 4, 130

#: Names of one kind that the summary prints.
NAMES = 8

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]

VerboseFlag = Annotated[bool, typer.Option("--verbose", "-v", help="Also tell on stderr what is done, step by step.")]
QuietFlag = Annotated[bool, typer.Option("--quiet", help="Tell warnings and errors only: no progress, no summary.")]

_log = logging.getLogger(__name__)


def set_volume(verbose: bool, quiet: bool) -> None:
    """Say how much is told on stderr.

    Raises:
        InputError: More and less at once.
    """
    if verbose and quiet:
        raise InputError("--verbose and --quiet say the opposite; leave one of them out")
    log_to_stderr(logging.DEBUG if verbose else logging.WARNING)


@contextmanager
def interruptible(remedy: str) -> Iterator[None]:
    """End a command that is interrupted (Ctrl-C) with one line that says how to go on, and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"\ninterrupted: {remedy}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def show_stages(quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Show what an evaluation is doing: a bar on a terminal, else a line whenever the stage changes, on stderr."""
    if quiet:
        yield lambda stage, done, total: None
        return
    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        from rich.progress import Progress

        with Progress(console=console, transient=True, redirect_stdout=False, redirect_stderr=True) as bar:
            task = bar.add_task("", total=None)
            yield lambda stage, done, total: bar.update(task, completed=done, total=total, description=stage)
        return
    last = ""

    def say(stage: str, done: int, total: int) -> None:
        nonlocal last
        if stage != last:
            print(f"{stage} ({total})", file=sys.stderr)
            last = stage

    yield say


@contextmanager
def show_progress(quiet: bool = False) -> Iterator[Callable[[Step], None]]:
    """Show a bar with the time left on a terminal, else one line per picture, on stderr, and why any was held back.

    Where it is to be quiet, only the latter, as warnings.
    """
    if quiet:
        yield lambda step: _log.warning("%s", _outcome(step, step.reason)) if step.reason else None
        return
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda step: print(f"[{step.done}/{step.total}] {_outcome(step, step.reason)}", file=sys.stderr)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=True) as bar:
        task = bar.add_task("", total=None)

        def show(step: Step) -> None:
            bar.update(task, completed=step.done, total=step.total, description=_outcome(step))
            if step.reason:  # The bar shows the last picture only; what needs a look must not scroll away with it.
                console.print(_outcome(step, step.reason), markup=False, emoji=False)

        yield show


def _outcome(step: Step, reason: str = "") -> str:
    """Return a picture's fate on one line; names and reasons may hold what a terminal would obey."""
    from anonymizer.run.report import printable

    before = " (before)" if step.skipped else ""
    return printable(f"{step.name}: {step.status}{before}" + (f": {reason}" if reason else ""))


def _annotation_rows(told: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return what became of given annotations: counts, and the first names of what was not used."""
    from anonymizer.run.report import printable

    if told is None:
        return []
    rows = [("Annotated", f"{told['with_record']} pictures, {told['without_record']} without annotations")]
    for title, key in (("Fit nothing", "fits_no_picture"), ("Left alone", "left_alone"), ("Odd", "data_set_remarks")):
        names = told[key]
        if names:
            more = f" and {len(names) - NAMES} more, see report" if len(names) > NAMES else ""
            rows.append((title, f"{len(names)}: " + ", ".join(printable(name) for name in names[:NAMES]) + more))
    if told["remarks"]:
        rows.append(("Remarks", f"{told['remarks']} records mended or left out, see report"))
    return rows


def print_summary(summary: Summary) -> None:
    """Print what became of the pictures and where everything lies."""

    def counted(by_class: Mapping[str, int]) -> str:
        return ", ".join(f"{count} {name}" for name, count in sorted(by_class.items()) if count) or "none"

    worked_on = summary.released + summary.quarantined + summary.failed - summary.skipped
    per_picture = f", {summary.seconds / worked_on:.2f} s per picture" if worked_on else ""
    rows = [
        ("Released", str(summary.released)),
        ("Quarantined", str(summary.quarantined)),
        ("Failed", str(summary.failed)),
        ("Done before", str(summary.skipped)),
        *_left_behind(summary),
        *([("Telling names", f"{summary.flagged_names}, see report; --rename hash")] if summary.flagged_names else []),
        *([("Left out", _fields(summary.fields_removed))] if summary.fields_removed else []),
        *_annotation_rows(summary.annotations),
        ("Redrawn", counted(summary.redrawn)),
        ("Redacted", counted(summary.redacted)),
        *(
            [("Areas", f"left out of {summary.with_areas} pictures, in them {counted(summary.excluded)}")]
            if summary.with_areas
            else []
        ),
        *([("Consented", f"{counted(summary.consented)}, left as they are")] if summary.consented else []),
        ("Time", f"{summary.seconds:.1f} s{per_picture}"),
        ("Peak memory", f"{summary.peak_rss_mb:.0f} MB"),
        *((name.capitalize(), path) for name, path in summary.paths.items()),
    ]
    for name, value in rows:
        print(f"{name + ':':<14}{value}")


def _left_behind(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield rows on what INPUT holds and this run did not read, and on what OUTPUT holds and INPUT does not."""
    from anonymizer.run.report import printable

    if summary.passed_over:
        told = ", ".join(f"{count} {printable(kind)}" for kind, count in summary.passed_over.items())
        yield "Passed over", told
    if summary.not_in_input:
        first = ", ".join(map(printable, summary.not_in_input_first[:3]))
        more = ", …" if summary.not_in_input > 3 else ""
        yield "Not in INPUT", f"{summary.not_in_input} stay in OUTPUT ({first}{more}); --prune withdraws them"
    if summary.withdrawn:
        yield "Withdrawn", f"{summary.withdrawn}, no longer in INPUT"


def _fields(removed: Mapping[str, int]) -> str:
    """Return the most frequent annotation fields that were left out, on one line."""
    most = sorted(removed, key=lambda name: (-removed[name], name))
    more = f" and {len(most) - 8} more" if len(most) > 8 else ""
    return f"{', '.join(f'{name} ({removed[name]})' for name in most[:8])}{more}, see report; --keep-fields"
