"""The evaluate command: what it writes, what it prints where, and how it exits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from anonymizer import cli
from tests.unit.evaluation import album

QUICK = ("--attacks", "aligned,parrot", "--baselines", "solid", "--recognizer", "dlib", "--no-utility")


def command(root: Path, *more: str) -> list[str]:
    return ["evaluate", *(str(root / name) for name in ("originals", "released")), "--out", str(root / "out"), *more]


def test_results_are_written_and_the_table_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    album(tmp_path, people=6)
    code = cli.main(command(tmp_path, "--annotations", str(tmp_path / "annotations.json"), *QUICK))
    out, err = capfd.readouterr()
    assert code == 0, err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"evaluation.json", "report.html"}
    rows = [line for line in out.splitlines() if line.startswith("aligned") and "colour-and-shape" in line]
    assert {name for row in rows for name in row.split()} >= {"original", "solid", "anonymized", "own", "other"}
    assert "Warning: ANONYMIZED has no ledger" in out and "survey" in err
    # Without --with-pictures no picture is in the report.
    assert "data:image/jpeg" not in (tmp_path / "out" / "report.html").read_text()


def test_json_is_all_that_stdout_holds(tmp_path: Path) -> None:
    album(tmp_path, people=4)
    keep = tmp_path / "kept"
    arguments = command(tmp_path, "--annotations", str(tmp_path / "annotations.json"), *QUICK, "--json")
    done = subprocess.run(
        [sys.executable, "-m", "anonymizer", *arguments, "--keep-embeddings", str(keep), "--limit", "6"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    document = json.loads(Path(read["paths"]["evaluation"]).read_text())
    assert document["inputs"]["pairs"] == 6 and document["warnings"] == read["warnings"]
    assert len(read["findings"]) == len(document["findings"]) and "curves" not in read["findings"][0]
    assert any(path.name == "vectors.npy" for path in keep.rglob("*"))


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (("--attacks", "guess"), 2, "attacks: guess unknown; expected some of naive"),
        (("--recognizer", "facenet"), 2, "recognizer 'facenet'"),
        (("--recognizer", "buffalo_l"), 1, "buffalo_l: w600k_r50.onnx not found"),
        (("--annotations", "nothing.json"), 2, "annotations nothing.json"),
        (("--again", "nowhere"), 2, "nowhere"),
    ],
)
def test_mistakes_end_in_one_line(
    tmp_path: Path,
    more: tuple[str, ...],
    code: int,
    message: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ANONYMIZER_DEBUG", raising=False)
    for name in ("HOME", "XDG_CACHE_HOME", "ANONYMIZER_MODELS"):
        monkeypatch.setenv(name, str(tmp_path / "empty"))
    album(tmp_path, people=2, views=1)
    assert cli.main(command(tmp_path, *more)) == code
    out, err = capfd.readouterr()
    assert out == "" and message in err and err.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "out").exists()


def test_folders_that_do_not_belong_together_are_a_mistake(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    album(tmp_path, people=2, views=1)
    (tmp_path / "released" / "p0_0.png").rename(tmp_path / "released" / "x.png")
    (tmp_path / "released" / "p1_0.png").unlink()
    assert cli.main(command(tmp_path)) == 2
    assert "nothing to evaluate: none of 2 originals" in capfd.readouterr().err
