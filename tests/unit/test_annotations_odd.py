"""One odd record costs at most itself: the others are used, the picture is released, and the record is named."""

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anonymizer.annotations.reading import annotations_at
from anonymizer.core.errors import InputError
from anonymizer.images.release import Release
from anonymizer.run.audit import audit
from anonymizer.run.local import InProcess
from anonymizer.run.request import Request
from anonymizer.run.runner import execute
from anonymizer.run.summary import Summary

from .fakes import FakeAnonymizer

SIZE = (60, 80)
NAMES = "names: [person, face, license_plate, tree]\n"
Box = tuple[int, int, int, int]


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(folder / name)
    return folder


def run(root: Path, given: Path, **options: Any) -> tuple[Summary, dict[str, dict[str, Any]]]:
    """Return the summary of a run and its ledger by name; the folder is as the run left it."""
    summary = execute(InProcess(FakeAnonymizer()), Request(root / "in", root / "out", annotations=given, **options))
    lines = (root / "out/ledger.jsonl").read_text().splitlines()
    assert audit(root / "out").clean
    return summary, {record["name"]: record for record in map(json.loads, lines)}


def coco(root: Path, boxes: list[Box], odd: Any) -> Path:
    records = [
        {"id": n, "image_id": 1, "category_id": 1, "bbox": [x, y, x2 - x, y2 - y]}
        for n, (x, y, x2, y2) in enumerate(boxes, start=1)
    ]
    records.insert(len(records) // 2, {"id": 90, "image_id": 1, "category_id": 1} | odd if odd is not None else 7)
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "tree"}]
    images = [{"id": 1, "file_name": "a.png", "width": 80, "height": 60}]
    return put(root / "ann.json", json.dumps({"images": images, "categories": categories, "annotations": records}))


def yolo_line(box: Box) -> str:
    x1, y1, x2, y2 = box
    return f"0 {(x1 + x2) / 160} {(y1 + y2) / 120} {(x2 - x1) / 80} {(y2 - y1) / 60}"


def yolo(root: Path, boxes: list[Box], odd: str) -> Path:
    lines = [yolo_line(box) for box in boxes]
    lines.insert(len(lines) // 2, odd)
    put(root / "ann/labels/a.txt", "\n".join(lines))
    put(root / "ann/data.yaml", NAMES)
    return root / "ann"


def voc(root: Path, boxes: list[Box], odd: str) -> Path:
    objects = [
        f"<object><name>person</name><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax>"
        f"<ymax>{y2}</ymax></bndbox></object>"
        for x1, y1, x2, y2 in boxes
    ]
    objects.insert(len(objects) // 2, f"<object>{odd}</object>")
    size = "<size><width>80</width><height>60</height></size>"
    put(root / "ann/a.xml", f"<annotation><filename>a.png</filename>{size}{''.join(objects)}</annotation>")
    return root / "ann"


def cityscapes(root: Path, boxes: list[Box], odd: Any) -> Path:
    objects: list[Any] = [
        {"label": "person", "polygon": [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]} for x1, y1, x2, y2 in boxes
    ]
    objects.insert(len(objects) // 2, odd)
    put(root / "ann/a_gtFine_polygons.json", json.dumps({"imgHeight": 60, "imgWidth": 80, "objects": objects}))
    return root / "ann"


def edges(*values: object) -> str:
    named = zip(("xmin", "ymin", "xmax", "ymax"), values, strict=False)
    return "<bndbox>" + "".join(f"<{edge}>{value}</{edge}>" for edge, value in named) + "</bndbox>"


PERSON = "<name>person</name>"
ODD: list[tuple[Callable[[Path, list[Box], Any], Path], list[Any]]] = [
    (
        coco,
        [
            None,
            {},
            {"bbox": []},
            {"bbox": [5, 5, 0, 9]},
            {"bbox": [5, 5, 9, 0.0], "segmentation": [[5, 5, 14, 5, 14, 5]]},
            {"bbox": [None, 5, 9, 9]},
            {"bbox": [float("nan"), 5, 9, 9]},
            {"bbox": [500, 5, 9, 9]},
            {"bbox": "1 2 3 4"},
            {"segmentation": [[1, 2, 3, 4]]},
            {"segmentation": [[]]},
            {"segmentation": {"size": [60, 80], "counts": "x"}},
            {"keypoints": [5, 5, 2], "num_keypoints": 1},
            {"bbox": [5, 5, 9, 9], "category_id": 99},
            {"bbox": [5, 5, 9, 9], "category_id": None},
            {"bbox": [5, 5, 9, 9], "image_id": 99},
            {"bbox": [5, 5, 9, 9], "image_id": [1]},
            {"bbox": [10**400, 5, 9, 9]},
            {"segmentation": [[10**400, 5, 9, 9, 5, 9]]},
            {"segmentation": {"size": None, "counts": [0, 4800]}},
        ],
    ),
    (
        yolo,
        [
            "0 0.5 0.5 0 0.1",
            "0 0.5 0.5 0.1",
            "0 0.5 0.5 0.1 nan",
            "9 0.5 0.5 0.1 0.1",
            "-1 0.5 0.5 0.1 0.1",
            "0.5 0.5 0.5 0.1 0.1",
            "person 0.5 0.5 0.1 0.1",
            "0 50 50 10 10",
            "0 1.5 0.5 0.1 0.1",
            "# a note",
            "1" * 400 + " 0.5 0.5 0.1 0.1",
        ],
    ),
    (
        voc,
        [
            "",
            PERSON,
            PERSON + "<bndbox/>",
            PERSON + edges(5, 5, 9),
            PERSON + edges("nan", 5, 9, 9),
            PERSON + edges("x", 5, 9, 9),
            PERSON + edges(500, 5, 509, 9),
            PERSON + "<polygon><x1>4</x1><y1>4</y1></polygon>",
            PERSON + "<polygon><pt><x>4</x><y>z</y></pt></polygon>",
            PERSON + "<robndbox><cx>9</cx></robndbox>",
            edges(5, 5, 9, 9),
        ],
    ),
    (
        cityscapes,
        [
            7,
            {},
            {"label": 3},
            {"label": "person"},
            {"label": "person", "polygon": []},
            {"label": "person", "polygon": [[1, 1], [2, 2]]},
            {"label": "person", "polygon": [[1, 1], [2, 2], 5]},
            {"label": "person", "polygon": [[1, "1"], [2, 2], [3, 3]]},
            {"label": "person", "polygon": [[500, 1], [600, 2], [600, 30]]},
            {"label": "person", "polygon": "x"},
            {"label": "", "polygon": [[1, 1], [9, 1], [9, 9]]},
            {"label": "person", "polygon": [[1, 1], [2, 2], [3, 10**400]]},
        ],
    ),
]


@pytest.mark.parametrize(
    ("write", "odd"), [pytest.param(w, o, id=f"{w.__name__}-{n}") for w, odds in ODD for n, o in enumerate(odds)]
)
def test_the_others_are_used_and_the_odd_one_is_named(
    tmp_path: Path, write: Callable[[Path, list[Box], Any], Path], odd: Any
) -> None:
    rng = np.random.default_rng(zlib.crc32(str(odd).encode()))
    corners = [(int(rng.integers(0, 40)), int(rng.integers(0, 30))) for _ in range(int(rng.integers(1, 5)))]
    boxes = [(x, y, x + int(rng.integers(2, 40)), y + int(rng.integers(2, 30))) for x, y in corners]
    pictures(tmp_path / "in", "a.png")
    summary, ledger = run(tmp_path, write(tmp_path, boxes, odd))
    assert summary.released == 1 and summary.annotations is not None
    record = ledger["a.png"]
    found = [tuple(round(v) for v in instance["box"]) for instance in record["instances"]]
    assert found == boxes
    told = [*record.get("annotation_remarks", ()), *summary.annotations["data_set_remarks"]]
    assert len(told) == 1 and told[0].endswith(("left out", "left alone"))
    assert summary.annotations["remarks"] == len(record.get("annotation_remarks", ()))
    report = (tmp_path / "out/report.html").read_text()
    assert told[0].replace("'", "&#39;") in report


def test_another_size_holds_the_picture_back_by_name(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png", "b.png")
    given = voc(tmp_path, [(5, 5, 20, 20)], PERSON + edges(5, 5, 9, 9))
    put(given / "b.xml", (given / "a.xml").read_text().replace("<width>80", "<width>81"))
    summary, ledger = run(tmp_path, given)
    assert (summary.released, summary.failed) == (1, 1)
    assert "stated as 81x60" in ledger["b.png"]["reason"]


YOLO_MENDED = [
    ("names: [person, face]\n", "0 0.25 0.5 0.25 0.5 0.87", "person"),
    ("names: [person, face]\n", "0.0 0.25 0.5 0.25 0.5", "person"),
    ("names: [person, face]\n", "0 0.125 0.25 0.375 0.25 0.375 0.75 0.125 0.75 0.9", "person"),
    ("names: {'0': car, '1': person}\n", "1 0.25 0.5 0.25 0.5", "person"),
    ("names: {0: car, 7: person}\n", "7 0.25 0.5 0.25 0.5", "person"),
    ("names: [yes, no, face]\n", "2 0.25 0.5 0.25 0.5", "face"),
    ("names: [yes, off, plate]\nkpt_shape: [1, 2]\n", "2 0.25 0.5 0.25 0.5 0.3 0.3 0.99", "license_plate"),
]


@pytest.mark.parametrize(("names", "line", "label"), YOLO_MENDED)
def test_lines_and_names_as_tools_write_them_are_read(tmp_path: Path, names: str, line: str, label: str) -> None:
    pictures(tmp_path / "in", "a.png")
    put(tmp_path / "ann/a.txt", line)
    put(tmp_path / "ann/data.yaml", names)
    _, ledger = run(tmp_path, tmp_path / "ann")
    (instance,) = ledger["a.png"]["instances"]
    assert (instance["label"], instance["box"]) == (label, [10.0, 15.0, 30.0, 45.0])
    assert "annotation_remarks" not in ledger["a.png"]
    if "yes" in names:
        assert "0: 'yes'" in (tmp_path / "out/annotations/data.yaml").read_text()


VOC_MENDED = [
    (edges(30, 45, 11, 16), [10, 15, 30, 45], True),
    (edges(30, 16, 11, 45), [10, 15, 30, 45], True),
    (edges("10.6", "15.6", "29.6", "44.6"), [9.6, 14.6, 29.6, 44.6], False),
    (edges(-20, 16, 30, 400), [0, 15, 30, 60], True),
    ("<polygon><x1>10</x1><y1>15</y1><x2>30</x2><y2>15</y2><x3>30</x3><y3>45</y3></polygon>", [10, 15, 30, 45], False),
    (
        "<polygon><pt><x>10</x><y>15</y></pt><pt><x>30</x><y>15</y></pt><pt><x>30</x><y>45</y></pt></polygon>",
        [10, 15, 30, 45],
        False,
    ),
    (
        "<robndbox><cx>20</cx><cy>30</cy><w>30</w><h>20</h><angle>1.5707963</angle></robndbox>",
        [10, 15, 30, 45],
        False,
    ),
]


@pytest.mark.parametrize(("geometry", "box", "told"), VOC_MENDED)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252", "undeclared", "bare utf-16"])
def test_objects_in_every_shape_and_encoding_are_read(
    tmp_path: Path, geometry: str, box: list[float], told: bool, encoding: str
) -> None:
    pictures(tmp_path / "in", "a.png")
    text = f"<annotation><folder>Straße</folder><object>{PERSON}{geometry}</object></annotation>"
    if encoding == "undeclared":
        content = text.encode("latin-1")
    elif encoding == "bare utf-16":
        content = text.encode("utf-16-le")
    else:
        content = f'<?xml version="1.0" encoding="{encoding}"?>{text}'.encode(encoding)
    put(tmp_path / "ann/a.xml", content)
    _, ledger = run(tmp_path, tmp_path / "ann")
    (instance,) = ledger["a.png"]["instances"]
    assert np.abs(np.array(instance["box"]) - box).max() <= 1
    assert ("annotation_remarks" in ledger["a.png"]) is told


def test_a_polygon_over_the_border_is_cut_in_cityscapes(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png")
    over = {"label": "person", "polygon": [[-5, 30], [40, 30], [40, 99], [-5, 99]]}
    _, ledger = run(tmp_path, cityscapes(tmp_path, [], over))
    assert ledger["a.png"]["instances"][0]["box"] == [0, 30, 40, 60]


@pytest.mark.parametrize("write", [coco, voc, cityscapes, yolo])
def test_a_doubtful_category_ends_the_run_before_anything_is_written(
    tmp_path: Path, write: Callable[[Path, list[Box], Any], Path]
) -> None:
    pictures(tmp_path / "in", "a.png")
    odd = {coco: {"bbox": [5, 5, 9, 9], "category_id": 2}, yolo: "3 0.5 0.5 0.1 0.1", voc: "<name>tree</name>"}
    given = write(tmp_path, [(5, 5, 20, 20)], odd.get(write, {"label": "tree", "polygon": [[1, 1], [9, 1], [9, 9]]}))
    summary, _ = run(tmp_path, given)
    assert summary.annotations is not None and summary.annotations["left_alone"] == ["tree"]
    for file in [given] if given.is_file() else [path for path in given.rglob("*") if path.is_file()]:
        file.write_text(file.read_text().replace("tree", "face in a mirror"))
    with pytest.raises(InputError, match='--map "face in a mirror=face"'):
        execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", tmp_path / "refused", annotations=given))
    assert not (tmp_path / "refused/ledger.jsonl").exists()
    with annotations_at(given, {"face in a mirror": "face"}) as told:
        summary = execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", tmp_path / "told", annotations=told))
    assert summary.annotations is not None and summary.annotations["left_alone"] == []
    assert summary.redrawn.get("face", 0) == (write is not voc)  # that one has no box


def test_pictures_without_a_record_are_counted_and_held_on_demand(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png", "b.png")
    given = yolo(tmp_path, [(5, 5, 20, 20)], "")
    put(given / "labels/lost.txt", "0 0.5 0.5 0.1 0.1")
    put(given / "README.txt", "Street people\n")
    summary, ledger = run(tmp_path, given)
    assert summary.released == 2 and summary.annotations is not None
    assert summary.annotations["without_record"] == 1
    assert summary.annotations["fits_no_picture"] == ["labels/lost"]
    assert ledger["b.png"]["instances"][0]["source"] == "fake"
    again, ledger = run(tmp_path, given, require_annotations=True)
    assert (again.released, again.quarantined, again.skipped) == (1, 1, 1)
    assert "without annotations" in ledger["b.png"]["reason"]
    assert not (tmp_path / "out/images/b.png").exists()
    assert run(tmp_path, given, require_annotations=True)[0].skipped == 2
    assert run(tmp_path, given)[0].released == 2


def test_what_is_mended_in_the_annotations_counts_when_the_run_goes_on(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "1.png")
    given = yolo(tmp_path, [(5, 5, 20, 20)], "")
    (given / "labels/a.txt").rename(given / "labels/1.txt")
    put(given / "val/1.txt", "0 0.5 0.5 0.1 0.1")
    summary, ledger = run(tmp_path, given)
    assert summary.quarantined == 1 and "labels/1, val/1 fit it equally well" in ledger["1.png"]["reason"]
    assert "labels/1" in (tmp_path / "out/quarantine.txt").read_text()
    (given / "val/1.txt").unlink()
    assert run(tmp_path, given)[0].released == 1


@pytest.mark.parametrize("write", [coco, voc, cityscapes, yolo])
@pytest.mark.parametrize(
    ("given_as", "names", "held"),
    [
        ("x/a", ["a.png"], []),
        ("a", ["deep/a.jpg"], []),
        ("a", ["cam0/a.png", "cam1/a.png"], ["cam0/a.png", "cam1/a.png"]),
        ("cam0/a", ["cam0/a.png", "cam1/a.png"], []),
        ("cam2/a", ["cam0/a.png", "cam1/a.png"], ["cam0/a.png", "cam1/a.png"]),
    ],
)
def test_given_regions_are_used_or_the_picture_is_not_released_in_every_format(
    tmp_path: Path, write: Callable[[Path, list[Box], Any], Path], given_as: str, names: list[str], held: list[str]
) -> None:
    pictures(tmp_path / "in", *names, "other.png")
    odd = {coco: {"bbox": [5, 5, 9, 9], "category_id": 2}, yolo: "3 0.5 0.5 0.1 0.1", voc: "<name>tree</name>"}
    given = write(tmp_path, [(5, 5, 20, 20)], odd.get(write, {"label": "tree", "polygon": [[1, 1], [9, 1], [9, 9]]}))
    if given.is_file():
        given.write_text(given.read_text().replace('"a.png"', f'"{given_as}.png"'))
    else:
        (file,) = (path for path in given.rglob("a*") if path.is_file())
        target = file.parent / f"{given_as}{file.name.removeprefix('a')}"
        target.parent.mkdir(exist_ok=True)
        file.rename(target)
    summary, ledger = run(tmp_path, given)
    assert [name for name, record in sorted(ledger.items()) if record["status"] == "quarantined"] == held
    assert all(given_as in ledger[name]["reason"] for name in held)
    used = [i["box"] for record in ledger.values() for i in record.get("instances", ()) if i["source"] == "given"]
    assert used == ([] if held else [[5, 5, 20, 20]])
    assert summary.annotations is not None and summary.annotations["fits_no_picture"] == []
    assert (summary.annotations["held"], summary.released) == (len(held), len(names) + 1 - len(held))


PLATE = "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>20</xmax><ymax>20</ymax></bndbox>"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"<objects><object><name>plate</name>{PLATE}</object></objects>", "1 of them not directly below annotation"),
        (f"<Object><name>plate</name>{PLATE}</Object>", "1 of them not directly below annotation"),
        (
            f"<object><name>car</name>{PLATE}<part><name>plate</name>{PLATE}</part></object>",
            "a part of it is a license",
        ),
        (f"<object><name>plate</name>{PLATE}{PLATE}</object>", "several boxes, the first one is used"),
        (f"<object>{PLATE}</object>", "without the name of a class, left alone"),
    ],
)
def test_what_voc_files_hold_elsewhere_is_named(tmp_path: Path, content: str, words: str) -> None:
    pictures(tmp_path / "in", "a.png")
    put(tmp_path / "ann/a.xml", f"<annotation>{content}</annotation>")
    _, ledger = run(tmp_path, tmp_path / "ann")
    assert [words in remark for remark in ledger["a.png"]["annotation_remarks"]].count(True) == 1


@pytest.mark.parametrize("deleted", ["0", 2, None, "no", []])
def test_only_what_is_surely_deleted_in_cityscapes_is_not_there(tmp_path: Path, deleted: Any) -> None:
    pictures(tmp_path / "in", "a.png")
    odd = {"label": "person", "polygon": [[1, 1], [9, 1], [9, 9], [1, 9]], "deleted": deleted}
    _, ledger = run(tmp_path, cityscapes(tmp_path, [(20, 20, 40, 40)], odd))
    assert [instance["box"] for instance in ledger["a.png"]["instances"]] == [[1, 1, 9, 9], [20, 20, 40, 40]]
    (tmp_path / "ann/a_gtFine_polygons.json").unlink()
    _, ledger = run(tmp_path, cityscapes(tmp_path, [(20, 20, 40, 40)], odd | {"deleted": 1}))
    assert [instance["box"] for instance in ledger["a.png"]["instances"]] == [[20, 20, 40, 40]]


def test_an_odd_shape_of_a_doubtful_name_ends_the_run_as_a_sound_one_does(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png")
    shapes = [{"label": "person on screen", "shape_type": "mask", "points": [[1, 1], [9, 9]], "mask": "x"}]
    put(tmp_path / "ann/a.json", json.dumps({"shapes": shapes, "imagePath": "a.png", "flags": {}}))
    with pytest.raises(InputError, match="person on screen"):
        run(tmp_path, tmp_path / "ann")


def test_a_mask_that_claims_to_be_huge_is_left_out(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png")
    header = b"IHDR" + (100_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    png = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
    shape = {"label": "plate", "shape_type": "mask", "points": [[0, 0], [99_999, 99_999]]}
    shapes = [shape | {"mask": base64.b64encode(png).decode()}]
    put(tmp_path / "ann/a.json", json.dumps({"shapes": shapes, "imagePath": "a.png", "flags": {}}))
    _, ledger = run(tmp_path, tmp_path / "ann")
    assert ledger["a.png"]["annotation_remarks"] == ["shape 1: a mask that cannot be read, left out"]


def test_deep_json_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png")
    given = coco(tmp_path, [(5, 5, 20, 20)], {"bbox": [1, 1, 3, 3]})
    given.write_text(given.read_text()[:-1] + ', "info": {"x": ' + "[" * 60 + "]" * 60 + "}}")
    with pytest.raises(InputError, match="nested more than 50 deep"):
        run(tmp_path, given)
    assert not (tmp_path / "out/ledger.jsonl").exists()


def test_a_flat_segmentation_is_released_as_one_polygon(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png")
    run(tmp_path, coco(tmp_path, [], {"segmentation": [1, 1, 9, 1, 9, 9]}))
    (record,) = json.loads((tmp_path / "out/annotations/ann.json").read_text())["annotations"]
    assert record["segmentation"] == [[1, 1, 9, 1, 9, 9]]


def test_annotations_that_come_later_also_make_pictures_without_a_record_anew(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png", "b.png")
    execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", tmp_path / "out"))
    given = coco(tmp_path, [(5, 5, 20, 20)], {"bbox": [1, 1, 3, 3]})
    assert run(tmp_path, given)[0].skipped == 0
    assert run(tmp_path, given)[0].skipped == 2
    assert run(tmp_path, yolo(tmp_path, [(5, 5, 20, 20)], ""))[0].skipped == 0
    # Lines of a picture without labels count by the same names.
    put(tmp_path / "ann/data.yaml", "names: [face, person]\n")
    assert run(tmp_path, tmp_path / "ann")[0].skipped == 0


def test_reasons_under_hashed_names_tell_nothing_of_the_annotations_place(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "erika.png")
    put(tmp_path / "Mustermann/home/erika.xml", "<annotation>")
    execute(
        InProcess(FakeAnonymizer()),
        Request(tmp_path / "in", tmp_path / "out", annotations=tmp_path / "Mustermann", release=Release(rename=True)),
    )
    for name in ("ledger.jsonl", "quarantine.txt", "report.html"):
        text = (tmp_path / "out" / name).read_text()
        assert "Pascal VOC" in text and "Mustermann" not in text and "home" not in text and "erika" not in text
