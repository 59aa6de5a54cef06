"""The command line: parsing and printing only.

Exit codes: 0 every picture released, or done; 3 the run went through but some pictures were quarantined or failed;
2 the command was wrong (unknown option, preset, class, model or path, unreadable annotations); 130 interrupted with
Ctrl-C; 4 an evaluation's verdict is one that ``--fail-on`` names; 1 anything else.
Results go to stdout, progress and errors to stderr.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from anonymizer import __version__
from anonymizer.cli.console import (
    FAILURE,
    GATED,
    RELEASED,
    USAGE,
    WITHHELD,
    JsonFlag,
    QuietFlag,
    VerboseFlag,
    interruptible,
    print_summary,
    set_volume,
    show_progress,
    show_stages,
)
from anonymizer.cli.models import models
from anonymizer.cli.parsing import classes_of, lines_of, listed, methods_of
from anonymizer.cli.release import release
from anonymizer.cli.review import check_review, review
from anonymizer.cli.trials import check_sheet, check_trial, print_trial
from anonymizer.core.errors import AnonymizerError, InputError

__all__ = ["app", "main"]

#: What typer raises where the command line itself is wrong: its parent has no public name.
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]

DEVICE = re.compile(r"cpu|cuda(:\d+)?")

app = typer.Typer(
    name="anonymizer",
    help="Redraw every person, face and license plate in pictures, prove it, and fail closed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(models, name="models")
app.command("review")(review)
app.command("release")(release)


class Sensitivity(StrEnum):
    """How little it takes to be anonymized."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


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


class FailOn(StrEnum):
    """Verdicts that a pipeline stops on; each also on what is worse."""

    LEAK = "leak"
    MORE = "more-than-chance"
    FEW = "too-few"


class People(StrEnum):
    """What of a person is redrawn."""

    BODY = "body"
    FACE = "face"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: Arguments without the program's name; None takes the process's.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    fail = partial(_fail, as_json="--json" in arguments)
    try:
        code = app(args=arguments, prog_name="anonymizer", standalone_mode=False)
    except USAGE_ERROR as error:
        message = error.format_message().strip()
        if message and "--json" in arguments:
            return fail(error, message, USAGE)
        error.show()
        return error.exit_code
    except InputError as error:
        return fail(error, str(error), USAGE)
    except AnonymizerError as error:
        return fail(error, str(error), FAILURE)
    # The last line of defence: whatever else goes wrong ends in one line, not in a traceback.
    except Exception as error:
        return fail(error, f"unexpected {type(error).__name__}: {error} (ANONYMIZER_DEBUG=1 shows where)", FAILURE)
    return code if isinstance(code, int) else RELEASED


def _fail(error: Exception, message: str, code: int, as_json: bool) -> int:
    """Say what went wrong on one line of stderr; with --json as one object on stdout as well."""
    if os.environ.get("ANONYMIZER_DEBUG") == "1":
        raise error
    line = " ".join(message.split())
    print("error: " + line, file=sys.stderr)
    if as_json:
        print(json.dumps({"error": {"kind": type(error).__name__, "message": line, "exit_code": code}}))
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
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT... OUTPUT",
            help="Pictures, folders (with subfolders), a glob or a URL; last, a folder or URL for the results.",
        ),
    ],
    files_from: Annotated[
        str | None,
        typer.Option("--files-from", metavar="LIST", help="Read INPUTs from a file, one on each line; - for stdin."),
    ] = None,
    preset: Annotated[str, typer.Option(help="Name of a preset, or a preset file (TOML).")] = "embedded",
    classes: Annotated[
        str | None, typer.Option(metavar="A,B", help="Classes to redraw: person, face, license_plate, text, vehicle.")
    ] = None,
    annotations: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|DIR|URL",
            help="Instances to use as given: COCO, YOLO, VOC, Cityscapes, LabelMe, CVAT, VIA, Open Images.",
        ),
    ] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="NAME=CLASS", help="Class of an annotated category, or none; repeatable."),
    ] = None,
    require_annotations: Annotated[
        bool, typer.Option("--require-annotations", help="Hold back pictures that the annotations do not know.")
    ] = False,
    exclude: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Areas to leave as they are: JSON of polygons and masks, or a mask for all."),
    ] = None,
    only: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Areas to keep to, in the same form; the rest is left as it is.")
    ] = None,
    people: Annotated[People, typer.Option(help="Redraw whole bodies, or faces only.")] = People.BODY,
    sensitivity: Annotated[
        Sensitivity, typer.Option(help="Anonymize more that may be none (high), or less (low).")
    ] = Sensitivity.NORMAL,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[CLASS=]METHOD",
            help="redraw, or weaker and on request: blur, mosaic, solid, blank (plates); repeatable, by class.",
        ),
    ] = None,
    strength: Annotated[float, typer.Option(help="Width of blur and cells, in multiples of what is usual.")] = 1.0,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed, for repeatable results; random if left out.")] = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda|cuda:N", help="Where the models run.")] = "cpu",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Crops redrawn at once; the preset's if left out.")
    ] = None,
    picture_format: Annotated[
        Format | None, typer.Option("--format", help="Format of released pictures; each source's own if left out.")
    ] = None,
    max_side: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", help="Scale results down to this longer side, with their annotations."),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(metavar="N", help="Quality, 1 to 100, of JPEG, AVIF, HEIC; the source's if left out."),
    ] = None,
    keep_fields: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Annotation fields to keep beside those on the list: weather,images.scene."),
    ] = None,
    keep_metadata: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Metadata to keep: datetime, datetime-subsec, camera, focal-length, gps, heading, gpano; else none.",
        ),
    ] = None,
    write: Annotated[
        str | None, typer.Option(metavar="A,B", help="Maps to write beside pictures, as PNG: masks, parts, depth.")
    ] = None,
    link_identities: Annotated[
        bool,
        typer.Option("--link-identities", help="Same avatar for one identity or track_id of the annotations."),
    ] = False,
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
    follow_review: Annotated[
        bool, typer.Option("--review", help="Follow a review: end at once if OUTPUT holds no decisions.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Withdraw pictures that INPUT no longer holds from OUTPUT.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Detect only: counts and estimated time, annotations in OUTPUT/dry-run; nothing is released.",
        ),
    ] = False,
    preview: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Anonymize N pictures, evenly spaced, for --preview-to; nothing is released."
        ),
    ] = None,
    preview_to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Sheet of these beside their ORIGINALS (.jpg, .png), outside of OUTPUT."),
    ] = None,
    accept_noncommercial: Annotated[
        bool, typer.Option("--accept-noncommercial", help="Allow weights that forbid commercial use.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Run a preset meant for a GPU on the CPU.")] = False,
    verbose: VerboseFlag = False,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Anonymize pictures. Only pictures that passed every check are written."""
    set_volume(verbose, quiet)
    *source, output = places
    if files_from is not None:
        source += lines_of(files_from)
    if not source:
        raise InputError("expected INPUT and OUTPUT, got one path; name the pictures first, or give --files-from")
    wanted = None if classes is None else classes_of(classes)
    if engine is not Engine.RAY and (ray_address is not None or worker_gpus is not None):
        raise InputError("--ray-address and --worker-gpus say how Ray works; add --engine ray")
    if not DEVICE.fullmatch(device):
        raise InputError(f"device {device!r} is unknown; expected cpu, cuda or cuda:N")
    trying = dry_run or preview is not None
    check_trial(trying, preview, preview_to, overwrite or prune)
    if follow_review:
        check_review(output)

    from anonymizer.models.third_party import offline

    # Third parties print to stdout as they please; only the result belongs there.
    remedy = "finished pictures are kept; run the same command again to go on"
    with interruptible(remedy), offline(), redirect_stdout(sys.stderr), ExitStack() as kept:
        from anonymizer.annotations.areas import read_areas
        from anonymizer.annotations.categories import parse_map
        from anonymizer.annotations.reading import annotations_at
        from anonymizer.config import presets
        from anonymizer.images.release import Release
        from anonymizer.run.cluster import RayCrew
        from anonymizer.run.inputs import find_inputs
        from anonymizer.run.pool import Pool
        from anonymizer.run.processes import ProcessCrew
        from anonymizer.run.request import Request
        from anonymizer.run.runner import execute
        from anonymizer.run.trial import trial

        # A mistake in the command shows at once, not after the models have been loaded.
        release = Release(
            None if picture_format is None else picture_format.value,
            listed(keep_metadata),
            rename is not None,
            keep_fields=listed(keep_fields),
            write=listed(write),
            link_identities=link_identities,
            max_side=max_side,
            quality=quality,
        )
        areas = read_areas(exclude, only)
        inputs = source[0] if len(source) == 1 else source
        areas.check(file.name for file in find_inputs(inputs, output).files)
        if annotations is None and (mapping or require_annotations or link_identities):
            raise InputError(
                "--map, --require-annotations and --link-identities say how annotations are used; add --annotations"
            )
        told = parse_map(mapping or ())
        given = None if annotations is None else kept.enter_context(annotations_at(annotations, told))
        build = partial(
            presets.build,
            preset,
            classes=wanted,
            people=people.value,
            sensitivity=sensitivity.value,
            seed=seed,
            device=device,
            batch_size=batch_size,
            accept_noncommercial=accept_noncommercial,
            force=force,
            depth_map="depth" in release.write,
            methods=methods_of(method or (), wanted),
            strength=strength,
        )
        request = Request(
            inputs,
            output,
            given,
            release,
            areas,
            require_annotations=require_annotations,
            overwrite=overwrite,
            prune=prune,
        )
        check_sheet(request, preview, preview_to)
        crew: Any = ProcessCrew(build)
        if engine is Engine.RAY:
            gpus = worker_gpus if worker_gpus is not None else float(device != "cpu")
            crew = RayCrew(build, address=ray_address, gpus=gpus)
        with show_progress(quiet) as report, Pool(crew, workers=workers, timeout_s=timeout) as pool:
            if trying:
                options: dict[str, Any] = {"preview": preview or 0, "sheet": preview_to, "workers": workers}
                tried = trial(pool, request, report, dry_run=dry_run, **options)
            else:
                summary = execute(pool, request, report)
    if trying:
        if as_json:
            print(tried.to_json())
        elif not quiet:
            print_trial(tried)
        raise typer.Exit(WITHHELD if tried.withheld else RELEASED)
    if seed is not None and summary.skipped and not quiet:
        print(
            f"note: {summary.skipped} pictures were done before and stay as they are, whatever --seed they were made "
            "with; --overwrite makes all anew",
            file=sys.stderr,
        )
    code = WITHHELD if summary.quarantined or summary.failed else RELEASED
    if as_json:
        print(summary.to_json())
    elif not quiet:
        print_summary(summary)
    raise typer.Exit(code)


@app.command("verify")
def verify_output(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="Folder or URL of a finished run.")],
    as_json: JsonFlag = False,
) -> None:
    """Check a finished folder against its ledger: exit 0 if every file is as the run left it, 1 if not."""
    from anonymizer.run.audit import audit

    found = audit(output)
    code = RELEASED if found.clean else FAILURE
    if as_json:
        print(found.to_json())
        raise typer.Exit(code)
    for finding in found.findings:
        print(ascii(f"{finding.kind}: {finding.name}: {finding.detail}")[1:-1])
    state = "as the run left it" if found.clean else f"NOT as the run left it, {len(found.findings)} findings"
    for name in found.not_in_input:
        print(
            ascii(f"not in INPUT: images/{name}: the last run did not find its source; run --prune withdraws it")[1:-1]
        )
    withdrawn = f", {found.withdrawn} withdrawn" if found.withdrawn else ""
    print(f"{output}: {state}; {found.pictures} pictures released, {found.withheld} withheld{withdrawn}")
    if found.decisions:
        print(f"{found.pictures - len(found.unsigned)} of {found.pictures} released pictures signed in review")
    print(f"ledger head {found.head}")
    if found.decisions:
        print(f"review head {found.review_head}")
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
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="NAME=CLASS", help="Class of an annotated category, or none; repeatable."),
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
    pairs: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV of original,released where names differ: outputs of other tools."),
    ] = None,
    suffix: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What released names have behind the original's: _anonymized.")
    ] = None,
    resize_to_original: Annotated[
        bool, typer.Option("--resize-to-original", help="Resize released pictures of another size instead of stopping.")
    ] = False,
    regions: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Masks of what was treated; a run's own annotations.json if left out."),
    ] = None,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(help="Exit 4 on this verdict or a worse one: leak, more-than-chance, too-few."),
    ] = None,
    group_by: Annotated[
        str, typer.Option(metavar="NAME", help="Annotated attribute by which figures are split into groups of people.")
    ] = "",
    judges: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder that models/judges/make_judges.py filled; the cache's if left out."),
    ] = None,
    subjects: Annotated[
        bool, typer.Option("--subjects", help="Also write a row for each subject and person (names them).")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of samples and resamples.")] = 0,
    limit: Annotated[int | None, typer.Option(min=2, help="Evaluate the first N pairs only.")] = None,
    utility: Annotated[bool, typer.Option(" /--no-utility", help="Leave out what pictures are still good for.")] = True,
    accept_noncommercial: Annotated[
        bool, typer.Option("--accept-noncommercial", help="Allow weights that forbid commercial use.")
    ] = False,
    verbose: VerboseFlag = False,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Attack released pictures: how well can who was in them be recognised?"""
    set_volume(verbose, quiet)
    from anonymizer.models.third_party import offline

    with interruptible("run the same command again"), offline(), redirect_stdout(sys.stderr):
        from anonymizer.annotations.categories import parse_map
        from anonymizer.evaluation import document as documents
        from anonymizer.evaluation import report as reports
        from anonymizer.evaluation import runner
        from anonymizer.evaluation import verdict as verdicts
        from anonymizer.evaluation.attacks import ATTACKS
        from anonymizer.evaluation.evaluate import evaluate as run_evaluation
        from anonymizer.evaluation.pairing import Rule

        if pairs is not None and suffix is not None:
            raise InputError("--pairs and --suffix both say how released pictures are named; give one of them")
        rule = Rule.read(pairs) if pairs is not None else Rule(suffix) if suffix is not None else None
        with show_stages(quiet) as show:
            document = run_evaluation(
                originals,
                anonymized,
                out,
                annotations=annotations,
                mapping=parse_map(mapping or ()),
                again=again,
                with_pictures=with_pictures,
                on_progress=show,
                attacks=ATTACKS if attacks is None else listed(attacks),
                baselines=runner.DEFAULT_BASELINES if baselines is None else listed(baselines),
                recognizers=tuple(recognizer or ()),
                accept_noncommercial=accept_noncommercial,
                utility=utility,
                keep_embeddings=keep_embeddings,
                seed=seed,
                limit=limit,
                resize=resize_to_original,
                rule=rule,
                regions=regions,
                rows=subjects,
                group_by=group_by,
                judges=judges,
            )
        paths = {"evaluation": str(out / documents.FILE), "report": str(out / reports.FILE)}
    failed = fail_on is not None and verdicts.fails(document["verdict"]["state"], fail_on.value)
    code = GATED if failed else RELEASED
    if as_json:
        found = {"verdict": document["verdict"], "warnings": document["warnings"]}
        found |= {"findings": documents.headline(document), "skipped": document["skipped"]}
        print(json.dumps({**found, "paths": paths, "exit_code": code}))
    elif not quiet:
        for line in documents.table(document):
            print(line)
        for name, path in paths.items():
            print(f"{name.capitalize() + ':':<14}{path}")
    raise typer.Exit(code)


@app.command()
def doctor(as_json: JsonFlag = False) -> None:
    """Check this installation; exit 0 if the embedded preset can run."""
    from anonymizer.cli import doctor as examiner

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
