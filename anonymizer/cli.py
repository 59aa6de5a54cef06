"""The command line: parsing and printing only.

Exit codes: 0 every picture released, or done; 3 the run went through but some pictures were quarantined or failed;
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
from functools import partial
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


class Engine(StrEnum):
    """Where pictures are worked on."""

    LOCAL = "local"
    RAY = "ray"


class Format(StrEnum):
    """Formats that every picture can be released in."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"
    TIFF = "tiff"


class Rename(StrEnum):
    """How released files are renamed."""

    HASH = "hash"


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
        str | None, typer.Option(metavar="A,B", help="Classes to redraw: person, face, license_plate, text, vehicle.")
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(metavar="FILE|DIR", help="Instances to use as given: COCO, YOLO, Pascal VOC or Cityscapes."),
    ] = None,
    people: Annotated[People, typer.Option(help="Redraw whole bodies, or faces only.")] = People.BODY,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed, for repeatable results; random if left out.")] = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda|cuda:N", help="Where the models run.")] = "cpu",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Crops redrawn at once; the preset's if left out.")
    ] = None,
    picture_format: Annotated[
        Format | None, typer.Option("--format", help="Format of released pictures; each source's own if left out.")
    ] = None,
    keep_metadata: Annotated[
        str | None, typer.Option(metavar="A,B", help="EXIF to keep: datetime, camera; none if left out.")
    ] = None,
    rename: Annotated[Rename | None, typer.Option(help="Release under keyed hashes instead of names.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes, each with its own models.")] = 1,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Longest time for one step of one picture; then it fails.")
    ] = 1800.0,
    engine: Annotated[Engine, typer.Option(help="Work on this machine, or on a Ray cluster.")] = Engine.LOCAL,
    ray_address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Ray cluster to use; one is started here if left out.")
    ] = None,
    worker_gpus: Annotated[
        float | None, typer.Option(min=0.0, metavar="SHARE", help="GPUs per Ray worker, e.g. 0.5; 1 for cuda.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Redo pictures that are already finished.")] = False,
    accept_noncommercial: Annotated[
        bool, typer.Option("--accept-noncommercial", help="Allow weights that forbid commercial use.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Run a preset meant for a GPU on the CPU.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Anonymize pictures. Only pictures that passed every check are written."""
    wanted = None if classes is None else _classes(classes)
    if engine is not Engine.RAY and (ray_address is not None or worker_gpus is not None):
        raise InputError("--ray-address and --worker-gpus say how Ray works; add --engine ray")
    if not DEVICE.fullmatch(device):
        raise InputError(f"device {device!r} is unknown; expected cpu, cuda or cuda:N")

    from anonymizer.quiet import offline

    # Third parties print to stdout as they please; only the result belongs there.
    with offline(), redirect_stdout(sys.stderr):
        from anonymizer import presets
        from anonymizer.dataset.inputs import find_inputs
        from anonymizer.dataset.reading import read_annotations
        from anonymizer.dataset.release import Release
        from anonymizer.engine import distributed, local

        # A mistake in the command shows at once, not after the models have been loaded.
        release = Release(
            None if picture_format is None else picture_format.value, _listed(keep_metadata), rename is not None
        )
        find_inputs(source, output)
        given = None if annotations is None else read_annotations(annotations)
        build = partial(
            presets.build,
            preset,
            classes=wanted,
            people=people.value,
            seed=seed,
            device=device,
            batch_size=batch_size,
            accept_noncommercial=accept_noncommercial,
            force=force,
        )
        settings: dict[str, Any] = {"workers": workers, "timeout_s": timeout}
        with _progress() as report:
            settings |= {"annotations": given, "release": release, "overwrite": overwrite, "on_progress": report}
            if engine is Engine.RAY:
                share = worker_gpus if worker_gpus is not None else float(device != "cpu")
                summary = distributed.run(build, source, output, address=ray_address, gpus=share, **settings)
            else:
                summary = local.run_processes(build, source, output, **settings)
    code = WITHHELD if summary.quarantined or summary.failed else RELEASED
    if as_json:
        print(summary.to_json())
    else:
        _print_summary(summary)
    raise typer.Exit(code)


@app.command("verify")
def verify_output(
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder of a finished run.")],
    as_json: JsonFlag = False,
) -> None:
    """Check a finished folder against its ledger: exit 0 if every file is as the run left it, 1 if not."""
    from anonymizer.engine.audit import audit

    found = audit(output)
    code = RELEASED if found.clean else FAILURE
    if as_json:
        print(found.to_json())
        raise typer.Exit(code)
    for finding in found.findings:
        print(ascii(f"{finding.kind}: {finding.name}: {finding.detail}")[1:-1])
    state = "as the run left it" if found.clean else f"NOT as the run left it, {len(found.findings)} findings"
    print(f"{output}: {state}; {found.pictures} pictures released, {found.withheld} withheld")
    print(f"ledger head {found.head}")
    raise typer.Exit(code)


@app.command()
def evaluate(
    originals: Annotated[Path, typer.Argument(metavar="ORIGINALS", help="Folder of originals; only read.")],
    anonymized: Annotated[
        Path, typer.Argument(metavar="ANONYMIZED", help="OUTPUT of a run, or any folder of released pictures.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for evaluation.json and report.html.")],
    annotations: Annotated[
        Path | None, typer.Option(metavar="FILE", help="COCO of the originals, with identities where known.")
    ] = None,
    recognizer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|FILE", help="Who judges faces: dlib, auraface, an insightface pack, an ONNX file."),
    ] = None,
    attacks: Annotated[str | None, typer.Option(metavar="LIST", help="Attacks, by comma; all if left out.")] = None,
    baselines: Annotated[
        str | None, typer.Option(metavar="LIST", help="Treatments to compare with, by comma; all if left out.")
    ] = None,
    again: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The same originals anonymized again with other seeds.")
    ] = None,
    keep_embeddings: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep embeddings (biometric data) here instead of deleting them.")
    ] = None,
    with_pictures: Annotated[bool, typer.Option("--with-pictures", help="Show faces in the report.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of samples and resamples.")] = 0,
    limit: Annotated[int | None, typer.Option(min=2, help="Evaluate the first N pairs only.")] = None,
    utility: Annotated[bool, typer.Option(" /--no-utility", help="Leave out what pictures are still good for.")] = True,
    accept_noncommercial: Annotated[
        bool, typer.Option("--accept-noncommercial", help="Allow weights that forbid commercial use.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Attack released pictures: how well can who was in them be recognised?"""
    from anonymizer.quiet import offline

    with offline(), redirect_stdout(sys.stderr):
        from anonymizer.evaluate import document as documents
        from anonymizer.evaluate import report as reports
        from anonymizer.evaluate import runner
        from anonymizer.evaluate.attacks import ATTACKS
        from anonymizer.evaluate.baselines import BASELINES

        settings = runner.Settings(
            attacks=ATTACKS if attacks is None else _names(attacks),
            baselines=BASELINES if baselines is None else _names(baselines),
            recognizers=tuple(recognizer or ()),
            accept_noncommercial=accept_noncommercial,
            utility=utility,
            keep_embeddings=keep_embeddings,
            seed=seed,
            limit=limit,
        )
        with _stages() as show:
            evaluation = runner.evaluate(
                originals, anonymized, out, settings, annotations=annotations, again=again, on_progress=show
            )
        document = documents.build(evaluation, originals, anonymized)
        shown = evaluation.material.pairs if with_pictures else ()
        paths = {
            "evaluation": str(documents.write(document, out)),
            "report": str(reports.write(document, out, shown)),
        }
    if as_json:
        found = {"warnings": document["warnings"], "findings": documents.headline(document)}
        print(json.dumps({**found, "skipped": document["skipped"], "paths": paths, "exit_code": RELEASED}))
    else:
        for line in documents.table(document):
            print(line)
        for name, path in paths.items():
            print(f"{name.capitalize() + ':':<14}{path}")


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
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Presets or models to download; see: anonymizer models list")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Download models from the Hugging Face hub after showing their size and licence."""
    from anonymizer import hub, presets

    offers = [hub.offer(model) for model in presets.fetchable(ids)]
    for offered in offers:
        weight = offered.weight
        restricted = "" if weight.commercial else ", NOT for commercial use"
        today = f" (the hub says: {offered.licence})" if offered.licence else ""
        print(
            f"{weight.id}: {offered.bytes / 1e9:.2f} GB from {weight.path}, licence {weight.licence}{today}{restricted}"
        )
    if not offers:
        print("Everything is here already.")
        return
    total = sum(offered.bytes for offered in offers) / 1e9
    if not yes and not typer.confirm(f"Download {total:.2f} GB?", err=True):
        raise typer.Exit(FAILURE)
    for offered in offers:
        print(f"{offered.weight.id}: saved to {hub.fetch(offered)}")


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


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _classes(text: str) -> tuple[str, ...]:
    from anonymizer.types import CLASSES

    names = _listed(text)
    for name in names:
        if name not in CLASSES:
            raise InputError(f"class {name!r} is unknown; expected some of {', '.join(CLASSES)}")
    if not names:
        raise InputError(f"classes: none given; expected some of {', '.join(CLASSES)}")
    return names


def _plain(weight: Weight) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(weight), "bytes": weight.bytes}


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


@contextmanager
def _stages() -> Iterator[Callable[[str, int, int], None]]:
    """Show what an evaluation is doing: a bar on a terminal, else a line whenever the stage changes, on stderr."""
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
        *([("Telling names", f"{summary.flagged_names}, see report; --rename hash")] if summary.flagged_names else []),
        ("Redrawn", counted(summary.redrawn)),
        ("Redacted", counted(summary.redacted)),
        ("Time", f"{summary.seconds:.1f} s{per_picture}"),
        ("Peak memory", f"{summary.peak_rss_mb:.0f} MB"),
        *((name.capitalize(), path) for name, path in summary.paths.items()),
    ]
    for name, value in rows:
        print(f"{name + ':':<14}{value}")
