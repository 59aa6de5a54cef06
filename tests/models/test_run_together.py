"""`anonymizer run` with a production preset: the diffusion pipeline gets crops of several pictures in one batch.

The pipeline is of the true class with few random weights; it runs in a worker process, as it always does.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from anonymizer.cli import main
from anonymizer.config import presets, requirements
from anonymizer.models import weights
from anonymizer.run.audit import audit

from . import recording

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

PRESET = """[mine]
base = "sd15"
[mine.detect]
sizes = [160]
plate_sizes = [160]
person = 1.0
license_plate = 1.0
[mine.redraw]
steps = 2
attempts = { person = 1, vehicle = 1, face = 1, license_plate = 1 }
pictures = { cpu = PICTURES }
[mine.redraw.crops]
person = { height = 64, width = 32, margin = 0.1 }
face = { height = 32, width = 32, margin = 0.3 }
license_plate = { height = 32, width = 32, margin = 0.3 }
"""
NAMES = ("a.png", "b.png", "c.png", "d.png", "e.png")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the weights of sd15, reduced and random."""
    out = tmp_path_factory.mktemp("cache")
    making = script("make_random_pipeline")
    making.write(out, True, [name for name in requirements.weight_ids(presets.tables()["sd15"]) if hub(name)])
    return out


def hub(weight_id: str) -> bool:
    return weights.entry(weight_id).source == "hub"


def script(name: str) -> ModuleType:
    """Return a script of ``benchmarks`` as a module."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def material(folder: Path) -> tuple[Path, Path]:
    """Write five pictures of noise and annotations that say where a person stands in each."""
    (folder / "in").mkdir()
    for seed, name in enumerate(NAMES):
        pixels = np.random.default_rng(seed).integers(0, 256, (96, 128, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "in" / name)
    # A box alone would be filled, as nobody is seen in noise.
    outline = [[20, 10, 30, 10, 40, 40, 36, 80, 14, 80, 10, 40]]
    person = {"category_id": 1, "bbox": [10, 10, 30, 70], "segmentation": outline}
    document = {
        "categories": [{"id": 1, "name": "person"}],
        "images": [{"id": n, "file_name": name} for n, name in enumerate(NAMES)],
        "annotations": [{"id": n, "image_id": n} | person for n in range(5)],
    }
    (folder / "given.json").write_text(json.dumps(document))
    return folder / "in", folder / "given.json"


def test_a_run_paints_crops_of_several_pictures_in_one_batch(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.delenv("ANONYMIZER_MODELS", raising=False)
    monkeypatch.setattr(presets, "build", recording.build)
    source, given = material(tmp_path)
    batches, made = {}, {}
    for pictures in (1, 3):
        preset, out, noted = (tmp_path / f"{pictures}{suffix}" for suffix in (".toml", "", ".txt"))
        preset.write_text(PRESET.replace("PICTURES", str(pictures)))
        monkeypatch.setenv(recording.BATCHES, str(noted))
        command = ["run", str(source), str(out), "--preset", str(preset), "--annotations", str(given), "--seed", "1"]
        assert main(command) == 0
        assert audit(out).clean
        batches[pictures] = noted.read_text().split()
        made[pictures] = out
    # One person in each picture: a batch of three holds crops of three pictures.
    assert batches == {1: ["1"] * 5, 3: ["3", "2"]}
    for name in NAMES:
        alone, together = (np.asarray(Image.open(out / "images" / name)).astype(int) for out in made.values())
        assert np.abs(alone - together).max() <= 2
    hashes = {json.loads((out / "ledger.jsonl").read_text().splitlines()[0])["settings_hash"] for out in made.values()}
    assert len(hashes) == 1, "a run may be taken up with other pictures together"
