"""The command line: what it accepts, what it prints where, and how it exits."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

import anonymizer
import anonymizer.config
from anonymizer import cli
from anonymizer.annotations.areas import Areas
from anonymizer.annotations.coco import CocoAnnotations
from anonymizer.config import presets
from anonymizer.core.errors import InputError, ModelError, StageError
from anonymizer.images.release import Release
from anonymizer.models import hub, weights
from anonymizer.run.local import InProcess
from anonymizer.run.request import Request
from anonymizer.run.summary import Progress, Summary
from tests.unit.fakes import FakeAnonymizer

ROOT = Path(__file__).resolve().parents[2]


def summary(**changes: Any) -> Summary:
    plain = Summary(
        released=2,
        quarantined=0,
        failed=0,
        skipped=1,
        ignored=0,
        flagged_names=0,
        redrawn={"person": 3, "face": 0},
        redacted={},
        seconds=4.0,
        peak_rss_mb=512.0,
        paths={"report": "out/report.html"},
    )
    return replace(plain, **changes)


@dataclass
class Calls:
    """What the command line asked for, and what it is to be told."""

    built: dict[str, Any] = field(default_factory=dict)
    ran: dict[str, Any] = field(default_factory=dict)
    summary: Summary = field(default_factory=summary)
    error: Exception | None = None


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Replace the presets and the engine by records of how they were called."""
    seen = Calls()

    def build(preset: str, **settings: Any) -> str:
        seen.built = {"preset": preset, **settings}
        return "the anonymizer"

    def crew(make: Callable[[], str], **settings: Any) -> str:
        assert make() == "the anonymizer"
        seen.ran |= settings
        return "the crew"

    def pool(crew: str, **settings: Any) -> nullcontext[str]:
        seen.ran |= settings
        return nullcontext(f"the pool of {crew}")

    def run(executor: str, request: Request, on_progress: Callable[[Progress], None]) -> Summary:
        assert executor == "the pool of the crew"
        seen.ran |= {item.name: getattr(request, item.name) for item in fields(request)}
        seen.ran["on_progress"] = on_progress
        print("noise of a third party")
        on_progress(Progress(1, 2, "a.jpg", "released", False))
        if seen.error:
            raise seen.error
        return seen.summary

    monkeypatch.delenv("ANONYMIZER_DEBUG", raising=False)
    fake = SimpleNamespace(build=build, fetchable=presets.fetchable)
    monkeypatch.setattr(anonymizer.config, "presets", fake)
    monkeypatch.setattr("anonymizer.run.processes.ProcessCrew", crew)
    monkeypatch.setattr("anonymizer.run.cluster.RayCrew", crew)
    monkeypatch.setattr("anonymizer.run.pool.Pool", pool)
    monkeypatch.setattr("anonymizer.run.runner.execute", run)
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "in" / "a.jpg")
    categories = '[{"id": 1, "name": "person"}, {"id": 2, "name": "Fahrer"}]'
    (tmp_path / "a.json").write_text(f'{{"images": [], "annotations": [], "categories": {categories}}}')
    return seen


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert "run" in capsys.readouterr().out
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"anonymizer {anonymizer.__version__}\n"


def test_options_reach_the_preset_and_the_engine(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "in out --preset sd15 --classes face,license_plate --annotations a.json --people face --seed 7"
    more = "--device cuda:1 --batch-size 4 --overwrite --accept-noncommercial --force --workers 2 --timeout 60"
    more += " --format png --keep-metadata camera,datetime --rename hash --require-annotations --map Fahrer=person"
    more += " --write depth,masks --link-identities --max-side 2048 --quality 80"
    assert cli.main(["run", *arguments.split(), *more.split()]) == 0
    assert calls.built == {
        "preset": "sd15",
        "classes": ("face", "license_plate"),
        "people": "face",
        "sensitivity": "normal",
        "seed": 7,
        "device": "cuda:1",
        "batch_size": 4,
        "accept_noncommercial": True,
        "force": True,
        "depth_map": True,
        "methods": {},
        "strength": 1.0,
    }
    calls.ran.pop("on_progress")
    given = calls.ran.pop("annotations")
    assert isinstance(given, CocoAnnotations) and given.label("fahrer") == "person"
    wanted = Release("png", ("datetime", "camera"), rename=True, write=("masks", "depth"), link_identities=True)
    wanted = replace(wanted, max_side=2048, quality=80)
    assert calls.ran.pop("release") == wanted and calls.ran.pop("areas") == Areas()
    assert calls.ran == {
        "source": "in",
        "output": "out",
        "require_annotations": True,
        "overwrite": True,
        "prune": False,
        "workers": 2,
        "timeout_s": 60.0,
    }
    captured = capsys.readouterr()
    assert re.search(r"Released: +2\n", captured.out)
    assert re.search(r"Redrawn: +3 person\n", captured.out)
    assert "noise" not in captured.out
    assert "[1/2] a.jpg: released" in captured.err


def test_defaults_leave_the_choice_to_the_preset(calls: Calls) -> None:
    assert cli.main(["run", "in", "out"]) == 0
    assert calls.built["preset"] == "embedded"
    assert calls.built["classes"] is None and calls.built["seed"] is None and calls.built["batch_size"] is None
    assert calls.built["people"] == "body" and calls.built["accept_noncommercial"] is False
    assert calls.ran["annotations"] is None and calls.ran["overwrite"] is False


@pytest.mark.parametrize(
    ("device", "more", "share"), [("cpu", [], 0.0), ("cuda", [], 1.0), ("cuda", ["--worker-gpus", "0.5"], 0.5)]
)
def test_ray_gets_its_address_and_share_of_gpus(calls: Calls, device: str, more: list[str], share: float) -> None:
    arguments = ["run", "in", "out", "--engine", "ray", "--ray-address", "head:10001", "--device", device, *more]
    assert cli.main(arguments) == 0
    assert (calls.ran["address"], calls.ran["gpus"], calls.ran["workers"]) == ("head:10001", share, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--map rider=person", "add --annotations"),
        ("--require-annotations", "add --annotations"),
        ("--annotations a.json --map rider", "expected NAME=CLASS"),
        ("--annotations a.json --map rider=human", "class 'human' is unknown"),
        ("--annotations a.json --map dog=none", "'dog', which is not among 'Fahrer', 'person'"),
        ("--annotations b.json", '--map "person on screen=person"'),
    ],
)
def test_what_categories_mean_is_told_with_annotations_and_understood(
    calls: Calls, capsys: pytest.CaptureFixture[str], arguments: str, words: str
) -> None:
    document = Path("a.json").read_text()
    Path("b.json").write_text(document.replace("Fahrer", "person on screen"))
    assert cli.main(["run", "in", "out", *arguments.split()]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and "\n" not in error and not calls.built


def test_json_is_the_only_thing_on_stdout(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "in", "out", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["released"] == 2
    assert captured.out.count("\n") == 1


@pytest.mark.parametrize("kind", ["quarantined", "failed"])
def test_a_withheld_picture_shows_in_the_exit_code(calls: Calls, kind: str) -> None:
    calls.summary = summary(**{kind: 1})
    assert cli.main(["run", "in", "out"]) == 3


def test_places_of_results_are_printed(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["run", "in", "out"])
    assert re.search(r"Report: +out/report.html\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("annotations: not JSON"), 2),
        (ModelError("model detector: missing"), 1),
        (StageError("redraw", "out of memory"), 1),
        (RuntimeError("first line\nsecond line"), 1),
    ],
)
def test_errors_end_in_one_line(calls: Calls, capsys: pytest.CaptureFixture[str], error: Exception, code: int) -> None:
    calls.error = error
    assert cli.main(["run", "in", "out", "--json"]) == code
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["exit_code"] == code
    last = captured.err.splitlines()[-1]
    assert last.startswith("error: ") and str(error).split("\n")[0] in last
    assert "Traceback" not in captured.err


def test_debug_shows_the_traceback(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANONYMIZER_DEBUG", "1")
    calls.error = ModelError("missing")
    with pytest.raises(ModelError):
        cli.main(["run", "in", "out"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "Missing argument"),
        (["run", "in", "out", "--nothing"], "No such option"),
        (["run", "in", "out", "--classes", "person,dog"], "class 'dog' is unknown; expected some of person"),
        (["run", "in", "out", "--classes", ","], "none given"),
        (["run", "in", "out", "--people", "hat"], "hat"),
        (["run", "in", "out", "--seed", "-1"], "'--seed'"),
        (["run", "in", "out", "--batch-size", "0"], "'--batch-size'"),
        (["run", "in", "out", "--device", "gpu"], "expected cpu, cuda or cuda:N"),
        (["run", "in", "out", "--ray-address", "auto"], "add --engine ray"),
        (["run", "in", "out", "--workers", "0"], "'--workers'"),
        (["verify", "in"], "expected the folder of a run"),
        (["models", "fetch", "nothing"], "'nothing' is not in the list"),
        (["models", "fetch", "centerface"], "nothing to fetch"),
    ],
)
def test_wrong_usage_exits_2_and_does_no_work(
    calls: Calls, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in " ".join(captured.err.split())
    assert not calls.built and not calls.ran


def test_fetching_a_preset_shows_everything_before_it_asks_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ANONYMIZER_MODELS", raising=False)
    fetched: list[str] = []
    monkeypatch.setattr(
        hub, "offer", lambda name: hub.Offer(weights.entry(name), "c0ffee", (("a", 2 * 10**9, None),), "openrail")
    )
    monkeypatch.setattr(hub, "fetch", lambda offered: fetched.append(offered.weight.id) or tmp_path)
    assert cli.main(["models", "fetch", "sd15", "scrfd-10g", "--yes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert fetched[0] == "sd15-inpaint" and fetched[-1] == "scrfd-10g" and len(fetched) == 8
    assert [line.split(":")[0] for line in lines[:8]] == fetched
    assert "2.00 GB" in lines[0] and "CreativeML-OpenRAIL-M" in lines[0] and "the hub says: openrail" in lines[0]
    assert "NOT for commercial use" in lines[7]
    monkeypatch.setattr(typer, "confirm", lambda question, err: False)
    fetched.clear()
    assert cli.main(["models", "fetch", "sd15"]) == 1 and not fetched
    assert cli.main(["models", "fetch", "embedded"]) == 0
    assert "Everything is here already" in capsys.readouterr().out


def test_models_list_names_every_model_with_its_licence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for weight in weights.entries():
        assert any(line.startswith(f"{weight.id} ") and line.endswith(f"  {weight.licence}") for line in lines)
    assert cli.main(["models", "list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["models"]) == len(weights.entries())


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("missing", 1), ("wrong", 1), ("unpinned", 1)])
def test_models_verify_fails_on_anything_but_a_hub_model_never_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], state: weights.State, code: int
) -> None:
    def verify(weight_id: str) -> weights.Status:
        if weights.entry(weight_id).source == "hub":
            return weights.Status(weight_id, "missing", None, "fetch it")
        return weights.Status(weight_id, state if weight_id == "detector" else "ok", Path(), "see here")

    monkeypatch.setattr(weights, "verify", verify)
    assert cli.main(["models", "verify"]) == code
    assert f"detector: {state}" in capsys.readouterr().out
    assert cli.main(["models", "verify", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["exit_code"] == code


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("missing", 1)])
def test_doctor_tells_whether_the_embedded_preset_can_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], state: weights.State, code: int
) -> None:
    from anonymizer.cli import doctor

    def verify(weight_id: str) -> weights.Status:
        hub = weights.entry(weight_id).source == "hub"
        return weights.Status(weight_id, "missing" if hub else state, Path(), "reinstall it")

    monkeypatch.setattr(weights, "verify", verify)
    monkeypatch.setattr(doctor, "_refusal", lambda weight: None)
    assert cli.main(["doctor", "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert found["healthy"] is (code == 0) and found["exit_code"] == code
    levels = {check["name"]: check["level"] for check in found["checks"] if check["group"] == "presets"}
    assert levels["embedded"] == ("ok" if code == 0 else "problem")
    assert levels["sd15"] == "note"
    assert cli.main(["doctor"]) == code
    assert "models fetch sd15 (about" in capsys.readouterr().out


def in_a_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "anonymizer", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize("case", ["missing", "empty", "inside", "annotations", "preset"])
def test_wrong_paths_exit_2_with_one_line(tmp_path: Path, case: str) -> None:
    picture(tmp_path / "in" / "a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.json").write_text("{")
    source, output = tmp_path / "in", tmp_path / "out"
    arguments: list[object] = {
        "missing": [tmp_path / "nowhere", output],
        "empty": [tmp_path / "empty", output],
        "inside": [source, source / "out"],
        "annotations": [source, output, "--annotations", tmp_path / "bad.json"],
        "preset": [source, output, "--preset", "nothing"],
    }[case]
    done = in_a_process("run", *arguments, "--json")
    assert done.returncode == 2 and json.loads(done.stdout)["error"]["exit_code"] == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: ")
    assert not output.exists() and not (source / "out").exists()


def test_files_that_a_shell_expanded_are_taken_together(tmp_path: Path, calls: Calls) -> None:
    names = [str(picture(tmp_path / "in" / name)) for name in ("a.png", "b.png", "c.png")]
    assert cli.main(["run", *names, str(tmp_path / "out"), "--prune"]) == 0
    assert (calls.ran["source"], calls.ran["output"]) == (names, str(tmp_path / "out"))
    assert calls.ran["prune"] is True


@pytest.mark.parametrize(("options", "told"), [(["--seed", "3"], True), ([], False)])
def test_a_seed_that_does_not_apply_to_what_is_done_is_told(
    tmp_path: Path, calls: Calls, capsys: pytest.CaptureFixture[str], options: list[str], told: bool
) -> None:
    picture(tmp_path / "in/a.png")
    assert cli.main(["run", str(tmp_path / "in"), str(tmp_path / "out"), *options]) == 0
    assert ("whatever --seed" in capsys.readouterr().err) is told


def test_what_was_passed_over_or_left_the_input_is_told(
    tmp_path: Path, calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "in/a.png")
    calls.summary = summary(
        passed_over={".mp4": 3, ".j\x1b": 1}, not_in_input=4, not_in_input_first=("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    )
    assert cli.main(["run", str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Passed over:  3 .mp4, 1 .j\\x1b" in lines
    assert "Not in INPUT: 4 stay in OUTPUT (a.jpg, b.jpg, c.jpg, …); --prune withdraws them" in lines
    calls.summary = summary(withdrawn=2)
    assert cli.main(["run", str(tmp_path / "in"), str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["withdrawn"] == 2


def test_the_documentation_names_every_command_and_option() -> None:
    import typer

    pages = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    command = typer.main.get_command(cli.app)
    lacking: set[str] = set()

    def walk(name: str, node: Any) -> None:
        for option in (text for parameter in node.params for text in parameter.opts if text.startswith("--")):
            if option != "--help" and option not in text:
                lacking.add(f"{name} {option}")
        for child, inner in getattr(node, "commands", {}).items():
            if f"{name} {child}" not in text:
                lacking.add(f"{name} {child}")
            walk(f"{name} {child}", inner)

    walk("anonymizer", command)
    assert not lacking


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["run", "--json"], "MissingParameter", "INPUT"),
        (["run", "a", "b", "--nothing", "--json"], "NoSuchOption", "--nothing"),
        (["run", "nowhere", "out", "--json"], "InputError", "nowhere"),
        (["run", "a", "b", "--classes", "dog", "--json"], "InputError", "dog"),
    ],
)
def test_with_json_every_error_is_one_object(
    arguments: list[str], kind: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    told = json.loads(capsys.readouterr().out)["error"]
    assert told["kind"] == kind and words in told["message"] and told["exit_code"] == 2


def test_inputs_are_read_from_a_list(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.jpg", "b c.jpg", "d.jpg", "e.jpg"):
        picture(tmp_path / name)
    (tmp_path / "list.txt").write_text("a.jpg\n\nb c.jpg\n")
    assert cli.main(["run", "out", "--files-from", str(tmp_path / "list.txt")]) == 0
    assert calls.ran["source"] == ["a.jpg", "b c.jpg"] and calls.ran["output"] == "out"
    monkeypatch.setattr(sys, "stdin", io.StringIO("d.jpg\n"))
    assert cli.main(["run", "e.jpg", "out", "--files-from", "-"]) == 0
    assert calls.ran["source"] == ["e.jpg", "d.jpg"]
    (tmp_path / "empty.txt").write_text("\n")
    for place, words in (("empty.txt", "got an empty text"), ("nowhere.txt", "No such file")):
        assert cli.main(["run", "out", "--files-from", str(tmp_path / place)]) == 2
        assert words in capsys.readouterr().err


def test_a_review_to_follow_must_be_there(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    for output, words in (("out", "holds no review.jsonl"), ("s3://bucket/out", "copy OUTPUT with its .state")):
        assert cli.main(["run", "in", output, "--review"]) == 2
        error = capsys.readouterr().err.strip()
        assert words in error and "\n" not in error and not calls.built
    Path("out").mkdir()
    Path("out/review.jsonl").touch()
    assert cli.main(["run", "in", "out", "--review"]) == 0
    assert calls.ran["output"] == "out"


@pytest.mark.parametrize(
    ("typed", "words"), [("anonymizer re", ["review", "release"]), ("anonymizer run --preview-", [])]
)
def test_a_shell_completes_commands_and_options(typed: str, words: list[str]) -> None:
    asked = {"_ANONYMIZER_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    command = [sys.executable, "-m", "anonymizer"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | asked, check=True)
    assert done.stdout.split() == (words or ["--preview-to"])
    script = subprocess.run(
        [*command, "--show-completion", "bash"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert "complete -o default -F _anonymizer_completion anonymizer" in script.stdout


def test_one_path_is_not_enough(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "in"]) == 2
    assert "expected INPUT and OUTPUT, got one path" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "methods"),
    [
        ([], {}),
        (["--method", "blur"], {"person": "blur", "face": "blur", "license_plate": "blur"}),
        (["--method", "face=blur", "--method", "license_plate=blank"], {"face": "blur", "license_plate": "blank"}),
        (["--classes", "face", "--method", "solid"], {"face": "solid"}),
        (
            ["--method", "mosaic", "--method", "person=redraw"],
            {"person": "redraw", "face": "mosaic", "license_plate": "mosaic"},
        ),
    ],
)
def test_methods_by_class(calls: Calls, options: list[str], methods: dict[str, str]) -> None:
    assert cli.main(["run", "in", "out", *options]) == 0
    assert calls.built["methods"] == methods and calls.built["strength"] == 1.0


def test_two_methods_for_one_class_are_refused(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--method", "blur", "--method", "solid"], ["--method", "face=blur", "--method", "face=solid"]):
        assert cli.main(["run", "in", "out", *options]) == 2
        assert "expected one for each class" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--preview 3", "--preview N and --preview-to FILE go together"),
        ("--preview-to sheet.jpg", "--preview N and --preview-to FILE go together"),
        ("--dry-run --overwrite", "release nothing"),
        ("--dry-run --prune", "release nothing"),
        ("--preview 51 --preview-to sheet.jpg", "1 to 50"),
        ("--preview 1 --preview-to out/images/sheet.jpg", "holds originals"),
    ],
)
def test_trials_that_cannot_be_end_before_models_are_loaded(
    calls: Calls, capsys: pytest.CaptureFixture[str], options: str, words: str
) -> None:
    assert cli.main(["run", "in", "out", *options.split()]) == 2
    assert words in capsys.readouterr().err and not calls.built and not Path("out").exists()


def test_a_trial_is_printed_and_releases_nothing(
    calls: Calls, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anonymizer.run.pool.Pool", pool_of_fakes)
    picture(Path("in/b.png"))
    assert cli.main(["run", "in", "out", "--dry-run", "--preview", "1", "--preview-to", "sheet.png"]) == 0
    captured = capsys.readouterr()
    assert re.search(r"Found: +2 person; in 2 of 2 pictures\n", captured.out)
    assert re.search(r"HOLDS ORIGINALS: +sheet.png\n", captured.out)
    assert "warning: sheet.png will hold ORIGINALS" in captured.err
    assert Path("sheet.png").is_file() and not Path("out/images").exists() and not calls.ran
    Path("in/b.png").write_bytes(b"none")
    assert cli.main(["run", "in", "out", "--dry-run", "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["trial"] and told["found"] == {"person": 1} and list(told["failed"]) == ["b.png"]


def pool_of_fakes(crew: str, **settings: Any) -> nullcontext[InProcess]:
    return nullcontext(InProcess(FakeAnonymizer()))


def test_areas_are_read_and_checked_before_models_are_loaded(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    area = {"name": "bonnet", "pictures": "*.jpg", "size": [8, 8], "polygon": [[0, 4], [8, 4], [8, 8]]}
    Path("bonnet.json").write_text(json.dumps({"areas": [area]}))
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save("all.png")
    assert cli.main(["run", "in", "out", "--exclude", "bonnet.json", "--only", "all.png"]) == 0
    areas = calls.ran["areas"]
    assert areas.names("a.jpg") == {"exclude": ["bonnet"], "only": ["all"]}
    calls.built = {}
    Path("bonnet.json").write_text(json.dumps({"areas": [area | {"pictures": "rear/*"}]}))
    assert cli.main(["run", "in", "out", "--exclude", "bonnet.json"]) == 2
    assert "'rear/*' fit none" in capsys.readouterr().err
    Path("bonnet.json").write_text("{}")
    assert cli.main(["run", "in", "out", "--only", "bonnet.json"]) == 2
    assert not calls.built


def test_quiet_tells_what_was_held_back_and_no_more(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    calls.summary = summary(quarantined=1, skipped=3)
    assert cli.main(["run", "in", "out", "--quiet", "--seed", "1"]) == 3
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == "noise of a third party\n"
    calls.ran["on_progress"](Progress(2, 2, "b\x1b.jpg", "quarantined", False, "a face is left"))
    told = capsys.readouterr().err
    assert told == "WARNING anonymizer.cli.console: b\\x1b.jpg: quarantined: a face is left\n"
    assert cli.main(["run", "in", "out", "--quiet", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["quarantined"] == 1
    calls.error = InputError("no")
    assert cli.main(["run", "in", "out", "--quiet"]) == 2
    assert capsys.readouterr().err.endswith("error: no\n")


def test_verbose_lets_the_package_tell_more(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("anonymizer.somewhere")
    assert cli.main(["run", "in", "out", "-v"]) == 0
    log.debug("a\x1b[31m %s", 7)
    assert "DEBUG anonymizer.somewhere: a\\x1b[31m 7\n" in capsys.readouterr().err
    assert cli.main(["run", "in", "out"]) == 0
    log.info("nothing")
    log.warning("something")
    told = capsys.readouterr().err
    assert "nothing" not in told and told.count("something") == 1
    assert cli.main(["run", "in", "out", "-v", "--quiet"]) == 2
    assert "leave one of them out" in capsys.readouterr().err
