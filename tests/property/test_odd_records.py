"""One odd record beside two sane ones, in every format: the sane are applied, the odd one is applied or named."""

import csv
import io
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anonymizer.run.audit import audit
from anonymizer.run.local import InProcess
from anonymizer.run.request import Request
from anonymizer.run.runner import execute
from tests.unit.fakes import FakeAnonymizer

WIDTH, HEIGHT = 80, 60
Box = tuple[int, int, int, int]
SANE: tuple[tuple[str, Box], ...] = (("person", (4, 4, 24, 28)), ("face", (60, 4, 76, 20)))
ODD: tuple[str, Box] = ("license_plate", (30, 36, 50, 44))
Record = dict[str, Any]
Change = Mapping[str, Any]
#: Takes a field away.
MISSING = object()
NUMBERS = (0, -1, -7.5, 1, 3, 0.5, 45, 79.5, 1e6, 1e15, 1e308, -1e308, 10**400, float("nan"), float("inf"), True)
TEXTS = ("", " ", "0", "-3", "nan", "1e999", "x", "12;34", "tree", "\u202e\U0001f697", "ä" * 300, "1" * 5000, "=1+1")
VALUES: st.SearchStrategy[Any] = (
    st.sampled_from((MISSING, None, [], {}, [[]], [None], {"a": [1]}, [[1, 2], [3]]))
    | st.sampled_from(NUMBERS)
    | st.sampled_from(TEXTS)
    | st.lists(st.sampled_from((*NUMBERS, None, "1")), min_size=1, max_size=8)
)


def put(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def changed(record: Record, change: Change) -> Record:
    """Return a record with some fields of other values, or without them."""
    return {key: value for key, value in (record | change).items() if value is not MISSING}


def text(value: Any) -> str:
    """Return a value as formats without types write it, without what XML or a line cannot hold."""
    return "" if value is None else str(value)[:6000]


def elements(record: Record) -> str:
    parts = []
    for key, value in record.items():
        inner = elements(value) if isinstance(value, dict) and key == "bndbox" else quoteattr(text(value))[1:-1]
        parts.append(f"<{key}>{inner}</{key}>")
    return "".join(parts)


def coco(folder: Path, change: Change) -> Path:
    numbers = {"person": 1, "face": 2, "license_plate": 3}
    records = [
        {"id": n, "image_id": 1, "category_id": numbers[name], "iscrowd": 0, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for n, (name, (x1, y1, x2, y2)) in enumerate((*SANE, ODD), start=1)
    ]
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    records.insert(1, changed(records.pop(), change))
    images = [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}]
    return put(folder / "coco.json", json.dumps({"images": images, "annotations": records, "categories": categories}))


def yolo(folder: Path, change: Change) -> Path:
    rows = [
        {
            "class": n,
            "x": (x1 + x2) / 2 / WIDTH,
            "y": (y1 + y2) / 2 / HEIGHT,
            "w": (x2 - x1) / WIDTH,
            "h": (y2 - y1) / HEIGHT,
        }
        for n, (_, (x1, y1, x2, y2)) in enumerate((*SANE, ODD))
    ]
    rows.insert(1, changed(rows.pop(), change))
    lines = [" ".join(text(value).replace("\n", " ") for value in row.values()) for row in rows]
    put(folder / "data.yaml", "names: [person, face, license_plate, tree]\n")
    put(folder / "labels/a.txt", "\n".join(lines))
    return folder


def voc(folder: Path, change: Change) -> Path:
    rows: list[Record] = []
    for name, (x1, y1, x2, y2) in (*SANE, ODD):
        edges = {"xmin": x1 + 1, "ymin": y1 + 1, "xmax": x2, "ymax": y2}
        rows.append({"name": name, "truncated": 0, "bndbox": edges})
    odd = rows.pop()
    own = {key: value for key, value in change.items() if key in odd}
    odd["bndbox"] = changed(odd["bndbox"], {key: value for key, value in change.items() if key not in odd})
    rows.insert(1, changed(odd, own))
    objects = "".join(f"<object>{elements(row)}</object>" for row in rows)
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
    put(folder / "a.xml", f"<annotation>{size}{objects}</annotation>")
    return folder


def corners(box: Box) -> list[list[int]]:
    x1, y1, x2, y2 = box
    return [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]


def cityscapes(folder: Path, change: Change) -> Path:
    rows: list[Record] = [{"label": name, "polygon": corners(box), "id": 1} for name, box in (*SANE, ODD)]
    rows.insert(1, changed(rows.pop(), change))
    put(folder / "a_gtFine_polygons.json", json.dumps({"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": rows}))
    return folder


def labelme(folder: Path, change: Change) -> Path:
    rows: list[Record] = [
        {"label": name, "points": corners(box), "shape_type": "polygon", "group_id": None, "flags": {}}
        for name, box in (*SANE, ODD)
    ]
    rows.insert(1, changed(rows.pop(), change))
    document = {"version": "5.0.1", "flags": {}, "imagePath": "a.png", "imageData": None, "shapes": rows}
    put(folder / "a.json", json.dumps(document | {"imageHeight": HEIGHT, "imageWidth": WIDTH}))
    return folder


def cvat(folder: Path, change: Change) -> Path:
    rows: list[Record] = [
        {"label": name, "xtl": x1, "ytl": y1, "xbr": x2, "ybr": y2, "occluded": 0, "rotation": 0}
        for name, (x1, y1, x2, y2) in (*SANE, ODD)
    ]
    rows.insert(1, changed(rows.pop(), change))
    shapes = [f"<box {' '.join(f'{k}={quoteattr(text(v))}' for k, v in row.items())}/>" for row in rows]
    image = f'<image id="0" name="a.png" width="{WIDTH}" height="{HEIGHT}">{"".join(shapes)}</image>'
    return put(folder / "annotations.xml", f"<annotations><version>1.1</version>{image}</annotations>")


def via(folder: Path, change: Change) -> Path:
    rows: list[Record] = [
        {"name": "rect", "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "type": name}
        for name, (x1, y1, x2, y2) in (*SANE, ODD)
    ]
    rows.insert(1, changed(rows.pop(), change))
    regions = [
        {
            "shape_attributes": {key: value for key, value in row.items() if key != "type"},
            "region_attributes": {key: value for key, value in row.items() if key == "type"},
        }
        for row in rows
    ]
    picture = {"filename": "a.png", "size": 1, "regions": regions, "file_attributes": {}}
    return put(folder / "via.json", json.dumps({"a.png1": picture}))


def open_images(folder: Path, change: Change) -> Path:
    rows: list[Record] = [
        {
            "ImageID": "a",
            "LabelName": name,
            "XMin": x1 / WIDTH,
            "XMax": x2 / WIDTH,
            "YMin": y1 / HEIGHT,
            "YMax": y2 / HEIGHT,
        }
        for name, (x1, y1, x2, y2) in (*SANE, ODD)
    ]
    columns = list(rows[0])
    rows.insert(1, changed(rows.pop(), change))
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: text(value) for key, value in row.items()} for row in rows)
    return put(folder / "boxes.csv", file.getvalue())


Builder = Callable[[Path, Change], Path]
FORMATS: list[tuple[Builder, tuple[str, ...]]] = [
    (coco, ("id", "image_id", "category_id", "iscrowd", "bbox", "segmentation", "keypoints", "treated", "attributes")),
    (yolo, ("class", "x", "y", "w", "h")),
    (voc, ("name", "truncated", "bndbox", "xmin", "ymin", "xmax", "ymax")),
    (cityscapes, ("label", "polygon", "id", "deleted", "bbox")),
    (labelme, ("label", "points", "shape_type", "group_id", "flags", "mask")),
    (cvat, ("label", "xtl", "ytl", "xbr", "ybr", "occluded", "rotation")),
    (via, ("name", "x", "y", "width", "height", "type")),
    (open_images, ("LabelName", "XMin", "XMax", "YMin", "YMax")),
]


@pytest.mark.parametrize(("build", "fields"), FORMATS, ids=[build.__name__ for build, _ in FORMATS])
@given(data=st.data())
@settings(max_examples=20, deadline=None, derandomize=True)
def test_one_odd_record_costs_at_most_itself(build: Builder, fields: tuple[str, ...], data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(fields), min_size=1, max_size=2, unique=True))
    change = {name: data.draw(VALUES, label=name) for name in names}
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        (root / "in").mkdir()
        Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 60)).save(root / "in/a.png")
        (root / "ann").mkdir()
        annotated = build(root / "ann", change)
        summary = execute(InProcess(FakeAnonymizer()), Request(root / "in", root / "out", annotations=annotated))
        record = json.loads((root / "out/ledger.jsonl").read_text().splitlines()[-1])
        assert audit(root / "out").clean
        json.loads((root / "out/annotations.json").read_text(), parse_constant=pytest.fail)
    if record["status"] != "released":
        assert record["reason"]
        return
    if change.get("deleted") in (1, True):  # The person who annotated took it away.
        return
    found = [(i["label"], tuple(round(value) for value in i["box"])) for i in record["instances"]]
    assert set(SANE) <= set(found)
    told = summary.annotations or {}
    named = record.get("annotation_remarks") or told["data_set_remarks"] or told["left_alone"]
    assert len(found) == len(SANE) + 1 or named
