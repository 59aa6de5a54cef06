"""The benchmark's own parts: which pictures it takes, and the table it ends in."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from . import evaluation_document as made


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "reid_leakage.py"
    spec = importlib.util.spec_from_file_location("reid_leakage", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pack(folder: Path) -> Path:
    """Write a pack: two pictures of one person, one of another, one of nobody known, one for training."""
    people = {"a1.jpg": "ann", "b1.jpg": "bob", "a2.jpg": "ann", "x.jpg": None, "t.jpg": "ann"}
    document = {
        "images": [
            {"id": n, "file_name": name, "split": "train" if name == "t.jpg" else "val"}
            for n, name in enumerate(people)
        ],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 2, "identity": who} for n, who in enumerate(people.values())
        ],
    }
    (folder / "images").mkdir()
    for name in people:
        (folder / "images" / name).write_bytes(name.encode())
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def test_people_in_several_pictures_come_first(benchmark: ModuleType, tmp_path: Path) -> None:
    files, annotations = benchmark.choose(pack(tmp_path), None)
    assert [file.name for file in files] == ["a1.jpg", "a2.jpg", "b1.jpg", "x.jpg"]
    assert annotations == tmp_path / "annotations.json"
    assert [file.name for file in benchmark.choose(tmp_path, 2)[0]] == ["a1.jpg", "a2.jpg"]


def test_a_folder_is_taken_as_it_is(benchmark: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "deep/a.jpg", "notes.txt"):
        (tmp_path / name).touch()
    files, annotations = benchmark.choose(tmp_path, None)
    assert [file.relative_to(tmp_path).as_posix() for file in files] == ["b.png", "deep/a.jpg"]
    assert annotations is None


def test_links_go_on_where_they_were_and_refuse_another_selection(benchmark: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    files, _ = benchmark.choose(pack(tmp_path / "data"), None)
    root, out = tmp_path / "data" / "images", tmp_path / "out"
    benchmark.link(files[:2], root, out)
    benchmark.link(files, root, out)
    assert sorted(path.name for path in out.iterdir()) == ["a1.jpg", "a2.jpg", "b1.jpg", "x.jpg"]
    assert (out / "a1.jpg").read_bytes() == b"a1.jpg"
    with pytest.raises(SystemExit, match="2 other pictures"):
        benchmark.link(files[2:], root, out)


def test_the_table_holds_the_strongest_figure_and_its_chance(benchmark: ModuleType) -> None:
    document = made.document()
    table = benchmark.table(document)
    rows = {tuple(cells[:2]): cells for line in table.splitlines() if (cells := line.strip("| ").split(" | "))}
    heads = rows["class", "treatment"]
    assert heads[2:] == ["aligned", "parrot", "plate", "leak", "AP", "kernel distance", "AP trained on it"]
    own = rows["face", "anonymized"]
    parrot = next(
        f["estimates"]
        for f in document["findings"]
        if (f["attack"], f["label"], f["variant"]) == ("parrot", "face", "anonymized")
    )
    assert own[heads.index("parrot")].startswith(f"{100 * parrot['rank1']['value']:.0f} % [")
    assert own[heads.index("leak")] == "2 % [0, 5]"
    assert own[heads.index("AP")] == "0.550"
    assert rows["person", "anonymized"][-1] == "0.400"
    assert own[-1] == "–"
    assert rows["license_plate", "anonymized"][heads.index("plate")] == "9 % [4, 14] / 9 %"


def test_a_recogniser_that_verified_the_run_is_left_out(benchmark: ModuleType) -> None:
    document = made.document()
    for finding in document["findings"]:
        finding["judge"] = False
    assert benchmark.cell(document["findings"], "parrot", "face", "anonymized") == "–"
    for item in document["recognizers"]:
        item["judge"] = False
    assert "NONE" in benchmark.legend(document)
