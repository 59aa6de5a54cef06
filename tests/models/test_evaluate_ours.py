"""A real run and its audit, command after command: what is released of a street picture is stopped by no rule."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from PIL import Image as Pillow

from anonymizer import cli


@pytest.mark.parametrize("seed", (0, 1, 2))
def test_what_a_run_releases_of_so_few_people_is_too_few_to_tell(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], seed: int
) -> None:
    spec = importlib.util.find_spec("ultralytics")
    assert spec is not None and spec.origin is not None
    street = Pillow.open(Path(spec.origin).parent / "assets/bus.jpg").convert("RGB").resize((270, 360))
    originals, run, out = (tmp_path / name for name in ("originals", "run", "audit"))
    originals.mkdir()
    street.save(originals / "street.png")
    assert cli.main(["run", str(originals), str(run), "--seed", str(seed), "--json"]) == 0
    options = ["--attacks", "aligned,parrot", "--baselines", "solid-region", "--recognizer", "dlib", "--no-utility"]
    arguments = ["evaluate", str(originals), str(run), "--out", str(out), "--seed", str(seed), *options]
    assert cli.main([*arguments, "--fail-on", "leak"]) == 0, capfd.readouterr().err
    document = json.loads((out / "evaluation.json").read_text())
    assert document["verdict"]["stops"] == [] and document["inputs"]["subjects"]["person"] >= 3
    # dlib verified the run, so it is no judge of its faces.
    states = {part["label"]: part["state"] for part in document["verdict"]["classes"]}
    assert states == {"person": "few", "face": "unable"} and document["verdict"]["state"] == "unable"
