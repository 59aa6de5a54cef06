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

from anonymizer.images.release import Release
from anonymizer.run.local import InProcess
from anonymizer.run.request import Request
from anonymizer.run.runner import execute
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


def labelme(folder: Path, rng: random.Random, names: list[str]) -> Path:
    square = [[4, 4], [20, 4], [20, 20]]
    shapes = [
        {
            "label": label,
            "points": square,
            "shape_type": kind,
            "flags": {MARKER: True},
            "description": MARKER,
            "mask": MARKER,
        }
        for label in ("person", "car")
        for kind in ("polygon", "mask", "linestrip")
    ]
    document = {"version": MARKER, "flags": {}, "shapes": shapes, "imagePath": f"{STEM}.png", "imageData": MARKER}
    put(folder / f"{STEM}.json", json.dumps(plant(document, rng, names)))
    return folder


def cvat(folder: Path, rng: random.Random, names: list[str]) -> Path:
    shapes = "".join(
        f'<box label="{label}" xtl="4" ytl="4" xbr="20" ybr="20" source="{MARKER}" points="{MARKER}">{MARKER}'
        f'<attribute name="{MARKER}">1</attribute><attribute name="pose">{MARKER}</attribute></box>'
        f'<mask label="{label}" rle="{MARKER}" left="0" top="0" width="2" height="2"/>'
        f'<skeleton label="{label}"><points label="nose" points="1,1" x="{MARKER}"/></skeleton>'
        f'<tag label="x" y="{MARKER}"/>'
        for label in ("person", "car")
    )
    root = ElementTree.fromstring(
        f"<annotations><version>{MARKER}</version><meta><task><name>{MARKER}</name><labels><label><name>car</name>"
        f"<attributes><attribute><name>{MARKER}</name></attribute></attributes></label></labels></task></meta>"
        f'<image id="0" name="{STEM}.png" subset="{MARKER}">{MARKER}{shapes}</image></annotations>'
    )
    for element in list(root.iter()):
        for name in names:
            if rng.random() < 0.5 and name not in element.attrib:
                element.set(name, rng.choice(FORMS))
            if rng.random() < 0.3:
                ElementTree.SubElement(element, name, {name: MARKER}).text = MARKER
    return put(folder / "annotations.xml", ElementTree.tostring(root, encoding="unicode"))


def via(folder: Path, rng: random.Random, names: list[str]) -> Path:
    regions = [
        {
            "shape_attributes": {"name": "rect", "x": 4, "y": 4, "width": 9, "height": 9, "z": MARKER},
            "region_attributes": {"class": label, MARKER: "1", "pose": MARKER},
        }
        for label in ("person", "car")
    ]
    regions.append({"shape_attributes": {"name": MARKER}, "region_attributes": {"class": "person"}})
    picture = {"filename": f"{STEM}.png", "size": 3, "regions": regions, "file_attributes": {"caption": MARKER}}
    attribute = {"type": MARKER, "description": MARKER, "options": {"person": MARKER}}
    document = {
        "_via_settings": {"project": {"name": MARKER}},
        "_via_img_metadata": {"k": plant(picture, rng, names)},
        "_via_attributes": {"region": {"class": attribute, MARKER: attribute}, "file": {}},
    }
    return put(folder / "via.json", json.dumps(document))


def open_images(folder: Path, rng: random.Random, names: list[str]) -> Path:
    columns = ["ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax", "Source", "IsOccluded", *names]
    rows = [
        ",".join([STEM, label, "0.1", "0.5", "0.1", "0.5", MARKER, MARKER, *(rng.choice(FORMS) for _ in names)])
        for label in ("/m/01g317", "/m/0k4j")
    ]
    odd = ",".join([STEM, "/m/01g317", MARKER, "0.5", "0.1", "0.5", "", "", *names])
    return put(folder / "boxes.csv", "\n".join([",".join(columns), *rows, odd]))


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


FORMATS: dict[str, Callable[[Path, random.Random, list[str]], Path]] = {
    "coco": coco,
    "cityscapes": cityscapes,
    "voc": voc,
    "yolo": yolo,
    "labelme": labelme,
    "cvat": cvat,
    "via": via,
    "open_images": open_images,
}


def contents(output: Path) -> dict[str, bytes]:
    """Return every file of OUTPUT by its relative name, which counts as well."""
    files = [path for path in output.rglob("*") if path.is_file()]
    own = {path.relative_to(output).as_posix(): path for path in files}
    return {name: name.encode() + path.read_bytes() for name, path in own.items()}


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
        summary = execute(anonymizer, Request(folder / "in", folder / "out", annotations=given_place, release=release))
        assert summary.released == 1
        assert summary.fields_removed or kind == "yolo"
        needles = [form.encode() for form in FORMS]
        for name, data in contents(folder / "out").items():
            assert not any(needle in data for needle in needles), name
        if rename:
            for name, data in contents(folder / "out").items():
                assert b"Musterfrau" not in data, name
