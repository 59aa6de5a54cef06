"""The command line: parsing and printing only.

Exit codes: 0 every picture released; 3 the run went through but some pictures were quarantined or failed;
2 the command was wrong (unknown option, preset, class, model or path, unreadable annotations); 1 anything else.
Results go to stdout, progress and errors to stderr.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from anonymizer import __version__
from anonymizer.errors import AnonymizerError, InputError

if TYPE_CHECKING:
    from anonymizer.engine.summary import Progress as Step
    from anonymizer.engine.summary import Summary
    from anonymizer.weights import Status, Weight

__all__ = ["app", "main"]

RELEASED, FAILURE, USAGE, WITHHELD = 0, 1, 2, 3
DEVICE = re.compile(r"cpu|cuda(:\d+)?")

app = typer.Typer(
    name="anonymizer",
    help="Redraw every person, face and license plate in pictures, prove it, and fail closed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models = typer.Typer(help="List, fetch and verify model weights.", no_args_is_help=True)
app.add_typer(models, name="models")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]


class People(StrEnum):
    """What of a person is redrawn."""

    BODY = "body"
    FACE = "face"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: Arguments without the program's name; None takes the process's.
    """
    try:
        app(args=None if argv is None else list(argv), prog_name="anonymizer")
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else FAILURE
    except InputError as error:
        return _fail(error, str(error), USAGE)
    except AnonymizerError as error:
        return _fail(error, str(error), FAILURE)
    # The last line of defence: whatever else goes wrong ends in one line, not in a traceback.
    except Exception as error:
        return _fail(error, f"unexpected {type(error).__name__}: {error} (ANONYMIZER_DEBUG=1 shows where)", FAILURE)
    return RELEASED


def _fail(error: Exception, message: str, code: int) -> int:
    if os.environ.get("ANONYMIZER_DEBUG") == "1":
        raise error
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return code


def _version(wanted: bool) -> None:
    if wanted:
        print(f"anonymizer {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command()
def run(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A picture, a folder (with subfolders) or a glob.")],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder for the results, outside INPUT.")],
    preset: Annotated[str, typer.Option(help="Name of a preset, or a preset file (TOML).")] = "embedded",
    classes: Annotated[
        str | None, typer.Option(metavar="A,B", help="Classes to redraw: person, face, license_plate, text.")
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(metavar="FILE|DIR", help="COCO instances to use instead of detection.")
    ] = None,
    people: Annotated[People, typer.Option(help="Redraw whole bodies, or faces only.")] = People.BODY,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed, for repeatable results; random if left out.")] = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda|cuda:N", help="Where the models run.")] = "cpu",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Crops redrawn at once; the preset's if left out.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Redo pictures that are already finished.")] = False,
    accept_noncommercial: Annotated[
        bool, typer.Option("--accept-noncommercial", help="Allow weights that forbid commercial use.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Anonymize pictures. Only pictures that passed every check are written."""
    wanted = None if classes is None else _classes(classes)
    if not DEVICE.fullmatch(device):
        raise InputError(f"device {device!r} is unknown; expected cpu, cuda or cuda:N")

    from anonymizer.quiet import offline

    # Third parties print to stdout as they please; only the result belongs there.
    with offline(), redirect_stdout(sys.stderr):
        from anonymizer import presets
        from anonymizer.dataset.annotations import read_coco
        from anonymizer.dataset.inputs import find_inputs
        from anonymizer.engine import local

        # A mistake in the command shows at once, not after the models have been loaded.
        find_inputs(source, output)
        given = None if annotations is None else read_coco(annotations)
        anonymizer = presets.build(
            preset,
            classes=wanted,
            people=people.value,
            seed=seed,
            device=device,
            batch_size=batch_size,
            accept_noncommercial=accept_noncommercial,
        )
        with _progress() as report:
            summary = local.run(anonymizer, source, output, annotations=given, overwrite=overwrite, on_progress=report)
    code = WITHHELD if summary.quarantined or summary.failed else RELEASED
    if as_json:
        print(summary.to_json())
    else:
        _print_summary(summary)
    raise typer.Exit(code)


@models.command("list")
def list_models(as_json: JsonFlag = False) -> None:
    """List every model: where it comes from, its size and its licence."""
    from anonymizer import weights

    if as_json:
        print(json.dumps({"models": [_plain(weight) for weight in weights.entries()]}))
        return
    form = "{:<16}{:<11}{:<10}{:>7}  {:<23}{}"
    print(form.format("model", "stage", "source", "MB", "licence", "commercial use"))
    for weight in weights.entries():
        size = f"{weight.bytes / 1e6:.1f}" if weight.bytes else "-"
        commercial = "yes" if weight.commercial else "no"
        print(form.format(weight.id, weight.stage, weight.source, size, weight.licence, commercial))


@models.command()
def fetch(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Models to download; see: anonymizer models list")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Download models from the Hugging Face hub after showing their size and licence."""
    from anonymizer import hub

    for offered in [hub.offer(model) for model in ids]:
        weight = offered.weight
        restricted = "" if weight.commercial else ", NOT for commercial use"
        print(f"{weight.id}: {offered.bytes / 1e9:.2f} GB from {weight.path}, licence {weight.licence}{restricted}")
        if not yes and not typer.confirm("Download?", err=True):
            raise typer.Exit(FAILURE)
        print(f"{weight.id}: saved to {hub.fetch(offered)}")


@models.command()
def verify(as_json: JsonFlag = False) -> None:
    """Check that models are what they should be; hub models that were never fetched are no error."""
    from anonymizer import weights

    pairs = [(weight, weights.verify(weight.id)) for weight in weights.entries()]
    bad = [status for weight, status in pairs if status.state != "ok" and not _never_fetched(weight, status)]
    code = FAILURE if bad else RELEASED
    if as_json:
        found = [{"id": status.id, "state": status.state, "detail": status.detail} for _, status in pairs]
        print(json.dumps({"models": found, "exit_code": code}))
        raise typer.Exit(code)
    for weight, status in pairs:
        state = "not fetched" if _never_fetched(weight, status) else status.state
        print(f"{status.id}: {state}" + (f" ({status.detail})" if status in bad else ""))
    raise typer.Exit(code)


@app.command()
def doctor(as_json: JsonFlag = False) -> None:
    """Check this installation; exit 0 if the embedded preset can run."""
    from anonymizer import doctor as examiner

    with redirect_stdout(sys.stderr):
        checks = examiner.examine()
    code = RELEASED if examiner.healthy(checks) else FAILURE
    if as_json:
        print(json.dumps({**examiner.to_json(checks), "exit_code": code}))
        raise typer.Exit(code)
    group = ""
    for check in checks:
        if check.group != group:
            group = check.group
            print(group)
        print(f"  {check.name:<24}{check.level:<9}{check.detail}")
    print("The embedded preset can run." if code == RELEASED else "The embedded preset cannot run; see the problems.")
    raise typer.Exit(code)


def _never_fetched(weight: Weight, status: Status) -> bool:
    return weight.source == "hub" and status.state == "missing"


def _classes(text: str) -> tuple[str, ...]:
    from anonymizer.types import CLASSES

    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in CLASSES:
            raise InputError(f"class {name!r} is unknown; expected some of {', '.join(CLASSES)}")
    if not names:
        raise InputError(f"classes: none given; expected some of {', '.join(CLASSES)}")
    return names


def _plain(weight: Weight) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(weight), "bytes": weight.bytes}


@contextmanager
def _progress() -> Iterator[Callable[[Step], None]]:
    """Show a bar with the time left on a terminal, else one line per picture, on stderr."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda step: print(f"[{step.done}/{step.total}] {_outcome(step)}", file=sys.stderr)
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
        yield lambda step: bar.update(task, completed=step.done, total=step.total, description=_outcome(step))


def _outcome(step: Step) -> str:
    return f"{step.name}: {step.status}" + (" (before)" if step.skipped else "")


def _print_summary(summary: Summary) -> None:
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
        ("Redrawn", counted(summary.redrawn)),
        ("Redacted", counted(summary.redacted)),
        ("Time", f"{summary.seconds:.1f} s{per_picture}"),
        ("Peak memory", f"{summary.peak_rss_mb:.0f} MB"),
        *((name.capitalize(), path) for name, path in summary.paths.items()),
    ]
    for name, value in rows:
        print(f"{name + ':':<14}{value}")
