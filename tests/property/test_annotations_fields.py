"""What stands in fields that no list names never reaches OUTPUT, whatever the field, its depth and the format."""

import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anonymizer.dataset.release import Release
from anonymizer.engine.local import InProcess
from anonymizer.engine.runner import execute
from tests.unit.fakes import FakeAnonymizer

MARKER = "Zyxwv Qfuturamant"
FORMS = (MARKER, MARKER.replace(" ", "_"))
STEM = "IMG_Erika_Musterfrau"
NAME = st.text("abcdefghijklmnop_XYZ", min_size=1, max_size=9).filter(lambda name: name.strip("_") != "")


def planted(rng: random.Random, names: list[str], depth: int = 0) -> Any:
    """Return the marker at some depth in objects and lists."""
    if depth == 4 or rng.random() < 0.4:
        return rng.choice(FORMS)
    inner = planted(rng, names, depth + 1)
    return {rng.choice(names): inner, "n": 1} if rng.random() < 0.6 else [1, inner]


def plant(document: Any, rng: random.Random, names: list[str]) -> Any:
    """Return JSON data with the marker in new fields of its objects, and of objects in lists."""
    if isinstance(document, list):
        return [plant(item, rng, names) for item in document]
    if not isinstance(document, dict):
        return document
    out = {key: plant(value, rng, names) for key, value in document.items()}
    new = {name: planted(rng, names) for name in names if name not in out and rng.random() < 0.7}
    return out | new


def coco(folder: Path, rng: random.Random, names: list[str]) -> Path:
    document: dict[str, Any] = {
        "info": {"year": 2024, "contributor": MARKER, "url": MARKER, "version": MARKER},
        "licenses": [{"id": 1, "name": "CC", "url": MARKER}],
        "images": [{"id": 1, "file_name": f"{STEM}.png", "license": MARKER, "path": f"/x/{MARKER}"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 9, 9], "attributes": {"note": MARKER}},
            {"id": 2, "image_id": 1, "category_id": 2, "bbox": [1, 1, 9, 9], "score": MARKER, "segmentation": MARKER},
            {"id": 3, "image_id": 1, "category_id": 2, "bbox": [1, 1, 9, 9], "attributes": {"pose": MARKER}},
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}],
        "tracks": [{"id": 1}],
        "videos": [{"id": 1, "name": MARKER}],
    }
    return put(folder / "coco.json", json.dumps(plant(document, rng, names)))


def cityscapes(folder: Path, rng: random.Random, names: list[str]) -> Path:
    square = [[4, 4], [20, 4], [20, 20]]
    document: dict[str, Any] = {
        "imgHeight": 60,
        "imgWidth": 80,
        "objects": [{"label": label, "polygon": square, "user": MARKER} for label in ("person", "car")],
    }
    put(folder / f"{STEM}_gtFine_polygons.json", json.dumps(plant(document, rng, names)))
    return folder


def voc(folder: Path, rng: random.Random, names: list[str]) -> Path:
    text = f"""<annotation verified="{MARKER}"><folder>{MARKER}</folder><filename>{STEM}.png</filename><path>{
        MARKER
    }</path>
    <source><database>{MARKER}</database></source>{MARKER}
    <size><width>80</width><height>60</height><depth>3</depth></size><segmented>{MARKER}</segmented>
    {
        "".join(
            f'<object a="{MARKER}">{MARKER}<name b="{MARKER}">{label}</name><pose>{MARKER}</pose><bndbox><xmin>5</xmin>'
            f"<ymin>5</ymin><xmax>20</xmax><ymax>20</ymax></bndbox><attributes><attribute><name>note</name><value>{MARKER}</value>"
            f"</attribute></attributes></object>"
            for label in ("person", "car")
        )
    }</annotation>"""
    root = ElementTree.fromstring(text)
    for element in list(root.iter()):
        for name in names:
            if rng.random() < 0.5 and element.find(name) is None:
                child = ElementTree.SubElement(element, name, {name: rng.choice(FORMS)})
                ElementTree.SubElement(child, rng.choice(names)).text = MARKER
                child.tail = MARKER
    put(folder / f"{STEM}.xml", ElementTree.tostring(root, encoding="unicode"))
    return folder


def yolo(folder: Path, rng: random.Random, names: list[str]) -> Path:
    import yaml

    document = {"names": ["car", "person"], "train": f"/home/{MARKER}/train", "val": MARKER, "path": MARKER}
    put(folder / "data.yaml", yaml.safe_dump(plant(document, rng, [n for n in names if n not in document])))
    put(folder / f"labels/{STEM}.txt", "1 0.5 0.5 0.5 0.5\n0 0.25 0.25 0.5 0.5\n")
    return folder


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


FORMATS: dict[str, Callable[[Path, random.Random, list[str]], Path]] = {
    "coco": coco,
    "cityscapes": cityscapes,
    "voc": voc,
    "yolo": yolo,
}


def contents(output: Path, *, state: bool) -> dict[str, bytes]:
    """Return every file of OUTPUT by its relative name, which counts as well."""
    files = [path for path in output.rglob("*") if path.is_file()]
    own = {path.relative_to(output).as_posix(): path for path in files}
    return {
        name: name.encode() + path.read_bytes() for name, path in own.items() if state or not name.startswith(".state")
    }


@pytest.mark.parametrize("kind", FORMATS)
@given(st.randoms(use_true_random=False), st.lists(NAME, min_size=1, max_size=3, unique=True), st.booleans())
@settings(max_examples=12, deadline=None)
def test_nothing_unlisted_is_released(kind: str, rng: random.Random, names: list[str], rename: bool) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        given_place = FORMATS[kind](folder / "given", rng, names)
        (folder / "in").mkdir()
        Image.new("RGB", (80, 60)).save(folder / "in" / f"{STEM}.png")
        release = Release(rename=rename)
        anonymizer = InProcess(FakeAnonymizer())
        summary = execute(anonymizer, folder / "in", folder / "out", annotations=given_place, release=release)
        assert summary.released == 1
        assert summary.fields_removed
        needles = [form.encode() for form in FORMS]
        for name, data in contents(folder / "out", state=True).items():
            assert not any(needle in data for needle in needles), name
        if rename:
            internal = {"ledger.jsonl", "report.html", "quarantine.txt"}
            for name, data in contents(folder / "out", state=False).items():
                assert name in internal or b"Musterfrau" not in data, name
