"""Annotations in object storage: read as if they lay in a folder."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from anonymizer import cli
from anonymizer.annotations import reading
from anonymizer.annotations.reading import annotations_at
from anonymizer.core.errors import InputError
from anonymizer.run.local import run
from anonymizer.run.request import Request

from .fakes import FakeAnonymizer

COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
    "annotations": [{"id": 5, "image_id": 1, "category_id": 1, "bbox": [4, 6, 10, 12]}],
    "categories": [{"id": 1, "name": "person"}],
}
VOC = """<annotation><filename>a.png</filename><size><width>40</width><height>30</height></size><object>
<name>person</name><bndbox><xmin>5</xmin><ymin>7</ymin><xmax>14</xmax><ymax>18</ymax></bndbox></object></annotation>"""


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    yield
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def put(name: str, text: str) -> None:
    MemoryFileSystem().pipe_file(f"/{name}", text.encode())


def released(tmp_path: Path, place: str | Path, output: str) -> dict[str, bytes]:
    (tmp_path / "in").mkdir(exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)).save(tmp_path / "in/a.png")
    assert run(FakeAnonymizer(), Request(tmp_path / "in", tmp_path / output, annotations=place)).released == 1
    files = [tmp_path / output / "annotations.json", *(tmp_path / output / "annotations").rglob("*")]
    return {file.relative_to(tmp_path / output).as_posix(): file.read_bytes() for file in files if file.is_file()}


@pytest.mark.parametrize(("name", "text"), [("labels/all.json", json.dumps(COCO)), ("labels/sub/a.xml", VOC)])
def test_a_url_is_read_as_the_same_files_in_a_folder(tmp_path: Path, name: str, text: str) -> None:
    put(name, text)
    local = tmp_path / name
    local.parent.mkdir(parents=True)
    local.write_text(text)
    calm = released(tmp_path, tmp_path / "labels", "calm")
    assert len(calm) == 2
    assert released(tmp_path, "memory://labels", "by-folder") == calm
    assert released(tmp_path, f"memory://{name}", "by-file").keys() == calm.keys()


def test_a_damaged_file_is_named_by_its_url() -> None:
    put("labels/a.xml", "<annotation>")
    put("coco/all.json", json.dumps(COCO))
    with (
        annotations_at("memory://labels") as given,
        pytest.raises(InputError, match="memory://labels/a.xml"),
    ):
        given.only("a.png").instances("a.png", (30, 40))
    with (
        annotations_at("memory://labels") as given,
        pytest.raises(InputError, match="memory://labels: none"),
    ):
        given.placed(["b.png"])
    for place in ("memory://coco", "memory://coco/all.json"):
        with annotations_at(place) as given, pytest.raises(InputError, match="memory:/coco/all.json: "):
            given.instances("a.png", (5, 5))


def test_the_copy_is_gone_when_the_run_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    put("labels/a.xml", VOC)
    with annotations_at("memory://labels") as given:
        assert list(tmp_path.glob("anonymizer-annotations-*"))
        one = given.instances("a.png", (30, 40))
        assert one is not None and len(one.instances) == 1
    assert not list(tmp_path.iterdir())


def test_errors_name_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    put("labels/bad.json", "{")
    put("odd/a\nb.xml", VOC)
    with pytest.raises(InputError, match="annotations memory://labels/bad.json"), annotations_at("memory://labels"):
        pass
    with (
        pytest.raises(InputError, match="annotations memory://none: .* found nothing"),
        annotations_at("memory://none"),
    ):
        pass
    with pytest.raises(InputError, match="cannot be the name"), annotations_at("memory://odd"):
        pass
    monkeypatch.setattr(reading, "MAX_BYTES", 0)
    with pytest.raises(InputError, match="labels: 1 bytes, expected at most 0"), annotations_at("memory://labels"):
        pass


def test_a_lost_connection_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put("labels/a.xml", VOC)
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")

    def lost(*_: object, **__: object) -> None:
        raise RuntimeError("connection reset")

    monkeypatch.setattr(MemoryFileSystem, "cat", lost)
    command = ["run", str(tmp_path / "a.png"), str(tmp_path / "out"), "--annotations", "memory://labels"]
    assert cli.main(command) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "annotations memory://labels: cannot be read" in told and "connection reset" in told
    assert not (tmp_path / "out").exists()
