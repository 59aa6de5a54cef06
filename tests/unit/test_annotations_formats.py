"""Annotations in the user's own format: read as given, written back with what was done, nothing lost, nothing told."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from anonymizer.annotations.reading import read_annotations
from anonymizer.annotations.records import Annotations, Page
from anonymizer.core.errors import InputError
from anonymizer.core.geometry import full_mask
from anonymizer.core.records import CLASSES, Action, Instance, Treatment
from anonymizer.images.release import Release
from anonymizer.run.audit import audit
from anonymizer.run.local import InProcess
from anonymizer.run.request import Request
from anonymizer.run.runner import execute

from .fakes import FakeAnonymizer

SIZE = (60, 80)
NAME = "a/1.png"
PLATE = "B-XY 1234"

COCO: dict[str, Any] = {
    "info": {"year": 2024},
    "tracks": [{"id": 1, "plate": PLATE, "note": "kept"}],
    "categories": [
        {"id": 3, "name": "person", "skeleton": [[1, 2]]},
        {"id": 7, "name": "rider"},
        {"id": 9, "name": "car"},
        {"id": 4, "name": "license plate"},
    ],
    "images": [{"id": 12, "file_name": NAME, "width": 80, "height": 60, "weather": "rain", "note": f"{PLATE} parks"}],
    "annotations": [
        {
            "id": 40, "image_id": 12, "category_id": 3, "bbox": [10, 10, 20, 30], "area": 600.5, "iscrowd": 0,
            "segmentation": [[10, 10, 30, 10, 30, 40, 10, 40]], "keypoints": [15, 12, 2, 16, 12, 1],
            "num_keypoints": 2, "face_kpts": [1, 1, 1], "identity": "Jane Doe", "attributes": {"occluded": True},
        },
        {"id": 33, "image_id": 12, "category_id": 7, "bbox": [40, 10, 20, 30], "ignore": None, "keypoints": [1, 1, 2]},
        {"id": 41, "image_id": 12, "category_id": 9, "bbox": [1, 1, 50, 50], "owner": "jane DOE's car", "doors": 5},
        {"id": 7, "image_id": 12, "category_id": 4, "bbox": [50, 50, 9, 4], "text": PLATE, "region": "eu"},
    ],
}  # fmt: skip
VOC = f"""<annotation verified="yes"><folder>Jane</folder><filename>1.png</filename>
<path>/home/jane/1.png</path><source><database>x</database><flickrid>99</flickrid></source>
<owner><flickrid>jane</flickrid><name>Jane Doe</name></owner>
<size><width>80</width><height>60</height><depth>3</depth></size><segmented>0</segmented>
<object><name>person</name><pose>Left</pose><truncated>1</truncated><mood>calm</mood>
<bndbox><xmin>11</xmin><ymin>11</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>
<part><name>head</name><bndbox><xmin>12</xmin><ymin>12</ymin><xmax>20</xmax><ymax>20</ymax></bndbox></part></object>
<object><name>car</name><note>has {PLATE}</note>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>50</xmax><ymax>50</ymax></bndbox>
</object>
<object><name>license_plate</name><bndbox><xmin>51</xmin><ymin>51</ymin><xmax>59</xmax><ymax>54</ymax></bndbox>
<attributes><attribute><name>plate_number</name><value>{PLATE}</value></attribute>
<attribute><name>colour</name><value>white</value></attribute></attributes></object></annotation>"""
CITYSCAPES: dict[str, Any] = {
    "imgHeight": 60,
    "imgWidth": 80,
    "objects": [
        {"label": "road", "polygon": [[0, 30], [80, 30], [80, 60]], "id": 5, "user": "x"},
        {"label": "rider", "polygon": [[10, 10], [30, 10], [30, 40], [10, 40]], "id": 6, "identity": "Jane Doe"},
        {"label": "car", "polygon": [[0, 0], [50, 0], [50, 50]], "deleted": 0, "note": f"plate {PLATE}"},
        {"label": "license plate", "polygon": [[50, 50], [59, 50], [59, 54], [50, 54]], "text": PLATE},
        {"label": "person", "polygon": [], "deleted": 1},
    ],
}
NAMES = "names:\n  0: car\n  1: person\nnc: 2\ntrain: /home/jane/train\nval: images/val\nlicense: x\n"
BOXES = "1 0.25 0.416666 0.25 0.5\n0 0.5 0.5 0.9 0.90\n"
SEGMENTS = "1 0.125 0.166667 0.375 0.166667 0.375 0.666667 0.125 0.666667\n0 0 0 .5 0 .5 .5 0 0.50\n"


def coco(folder: Path) -> Path:
    return put(folder / "instances_val.json", json.dumps(COCO))


def voc(folder: Path) -> Path:
    put(folder / "Annotations/a/1.xml", VOC)
    return folder


def cityscapes(folder: Path) -> Path:
    put(folder / "gtFine/a/1_gtFine_polygons.json", json.dumps(CITYSCAPES))
    return folder


def yolo(folder: Path, lines: str = BOXES, names: str = NAMES) -> Path:
    put(folder / "labels/a/1.txt", lines)
    return put(folder / "data.yaml", names)


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


FORMATS: dict[str, Callable[[Path], Path]] = {"coco": coco, "voc": voc, "cityscapes": cityscapes, "yolo": yolo}


def found(annotations: Annotations, name: str = NAME) -> tuple[Instance, ...]:
    given = annotations.instances(name, SIZE)
    assert given is not None
    return given.instances


def placement(annotations: Annotations, *names: str) -> tuple[set[str], set[str], tuple[str, ...]]:
    """Return which pictures have a record, are held back and have none."""
    found = annotations.placed(names).placement
    assert found is not None
    return set(found.keys), set(found.held), found.bare


def added(number: int, label: str = "person", box: tuple[int, int, int, int] = (60, 20, 70, 40)) -> Instance:
    mask = np.ones((box[3] - box[1], box[2] - box[0]), bool)
    return Instance(id=number, label=label, box=np.array(box, np.float32), mask=mask, score=0.75, source="network")


def exported(
    annotations: Annotations,
    *more: Instance,
    actions: dict[str, Action] | None = None,
    leave: tuple[str, ...] = (),
    released: str = NAME,
    texts: tuple[str, ...] = (),
) -> dict[str, str]:
    """Return the released annotation files when every given instance and some others were treated."""
    kept = [i for i in found(annotations) if i.label not in leave]
    treated = tuple((i, Treatment(i.id, (actions or {}).get(i.label, "redrawn"), 1)) for i in (*kept, *more))
    side = annotations.only(NAME).export(Page(NAME, released, SIZE, treated, texts))
    return {name: data.decode() for name, data in annotations.files([json.loads(json.dumps(side))], Release())}


@pytest.mark.parametrize("kind", FORMATS)
def test_the_format_is_told_from_a_file_or_a_folder(tmp_path: Path, kind: str) -> None:
    place = FORMATS[kind](tmp_path)
    for path in {place, tmp_path}:
        annotations = read_annotations(path)
        assert annotations.format == kind
        people = [i for i in found(annotations) if i.label == "person"]
        whole = np.zeros(SIZE, bool)
        whole[10:40, 10:30] = True
        assert np.array_equal(full_mask(people[0], SIZE), whole)
        assert placement(annotations, NAME, "b/2.png") == ({NAME}, set(), ("b/2.png",))
        with pytest.raises(InputError, match="none of its"):
            annotations.placed(["b/2.png"])
        twins = ("x/1.png", "y/1.png")
        assert placement(annotations, *twins) == (set(), set(twins), ())
        assert annotations.instances("other.png", SIZE) is None


@pytest.mark.parametrize("file", ["Annotations/a/1.xml", "gtFine/a/1_gtFine_polygons.json"])
def test_one_file_for_one_picture_is_enough(tmp_path: Path, file: str) -> None:
    (voc if file.endswith("xml") else cityscapes)(tmp_path)
    assert len(found(read_annotations(tmp_path / file), "anywhere/1.png")) == 2


def test_plain_class_lists_and_labels_beside_pictures_work(tmp_path: Path) -> None:
    put(tmp_path / "classes.txt", "dog\nPerson\n\n")
    put(tmp_path / "1.txt", BOXES)
    annotations = read_annotations(tmp_path)
    assert [i.label for i in found(annotations, "x/1.png")] == ["person"]
    put(tmp_path / "y/classes.txt", "person\n")
    assert read_annotations(tmp_path).format == "yolo"  # the list nearest to the top counts


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, r"expected COCO.*YOLO.*Pascal VOC.*Cityscapes.*found none"),
        ({"1.txt": BOXES}, r"1 \.txt files, but neither data\.yaml nor classes\.txt"),
        ({"1.xml": VOC, "x.json": json.dumps(COCO)}, "COCO and Pascal VOC; give the file"),
        ({"a.json": "{}", "b.json": "{}"}, r"2 JSON files \(a\.json, b\.json\)"),
        ({"a.yaml": NAMES, "b.yaml": NAMES}, r"class names in a\.yaml and b\.yaml"),
        ({"data.yaml": NAMES}, "no annotation files beside it"),
        ({"labels/1.txt": BOXES, "labels/1.TXT": BOXES, "data.yaml": NAMES}, "belong to the same picture"),
    ],
)
def test_unclear_folders_are_refused_in_one_line(tmp_path: Path, files: dict[str, str], words: str) -> None:
    for name, text in files.items():
        put(tmp_path / name, text)
    with pytest.raises(InputError, match=words) as caught:
        read_annotations(tmp_path)
    assert "\n" not in str(caught.value)


def test_files_of_no_known_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found nothing"):
        read_annotations(tmp_path / "none")
    with pytest.raises(InputError, match="got a CSV file without"):
        read_annotations(put(tmp_path / "a.csv", "1"))


def test_coco_comes_back_with_ids_order_categories_and_the_fields_on_the_list(tmp_path: Path) -> None:
    annotations = read_annotations(coco(tmp_path))
    files = exported(annotations, added(9), added(10, "face"), leave=("license_plate",))
    assert list(files) == ["instances_val.json"]
    out = json.loads(files["instances_val.json"])
    assert (out["info"], out["licenses"], "tracks" in out) == (COCO["info"], [], False)
    assert out["categories"][:4] == COCO["categories"]
    assert out["images"] == [{"id": 12, "file_name": NAME, "width": 80, "height": 60, "weather": "rain"}]
    person, rider, car, plate, new, face = out["annotations"]
    given = COCO["annotations"]
    mark = {"anonymizer": {"action": "redrawn", "attempts": 1, "source": "given"}}
    gone = {"identity", "face_kpts", "owner", "doors", "text", "region"}
    old = {"keypoints", "num_keypoints"}  # Of treated persons: they are the original's.
    listed = [
        {k: v for k, v in record.items() if k not in gone | (old if n < 2 else set())} for n, record in enumerate(given)
    ]
    assert [person, rider, car, plate] == [listed[0] | mark, listed[1] | mark, *listed[2:]]
    assert new["category_id"] == 3 and new["id"] == 42 and new["bbox"] == [60, 20, 10, 20]
    assert new["anonymizer"] == {"action": "redrawn", "attempts": 1, "source": "network", "score": 0.75}
    assert out["categories"][4] == {"id": face["category_id"], "name": "face"} == {"id": 10, "name": "face"}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_is_read_by_pycocotools(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pycocotools import coco as reading

    annotations = read_annotations(coco(tmp_path))
    reader = reading.COCO(str(put(tmp_path / "out.json", exported(annotations, added(9))["instances_val.json"])))
    assert sorted(reader.getAnnIds()) == [7, 33, 40, 41, 42]
    assert reader.annToMask(reader.anns[42]).sum() == 200
    assert "Done" in capsys.readouterr().out


@pytest.mark.parametrize("action", ["redrawn", "redacted"])
def test_keypoints_of_treated_persons_never_stay(tmp_path: Path, action: Action) -> None:
    annotations = read_annotations(coco(tmp_path))
    out = json.loads(exported(annotations, actions={"person": action})["instances_val.json"])
    for record in out["annotations"][:2]:
        assert "keypoints" not in record
        assert record["anonymizer"]["action"] == action
    untreated = json.loads(exported(annotations, leave=("person",))["instances_val.json"])
    assert untreated["annotations"][0]["keypoints"] == COCO["annotations"][0]["keypoints"]


def test_voc_comes_back_with_the_elements_on_the_list(tmp_path: Path) -> None:
    annotations = read_annotations(voc(tmp_path))
    files = exported(annotations, added(9), released="x/new.png")
    assert list(files) == ["x/new.xml"]
    root = ElementTree.fromstring(files["x/new.xml"])
    assert root.get("verified") == "yes"
    assert [root.findtext(tag) for tag in ("folder", "filename", "path")] == ["x", "new.png", "x/new.png"]
    assert root.find("source") is None and root.find("owner") is None
    person, car, plate, new = root.findall("object")
    assert [person.findtext(tag) for tag in ("name", "pose", "truncated", "mood")] == ["person", "Left", "1", None]
    assert person.findtext("part/name") == "head"
    assert person.findtext("anonymizer/action") == "redrawn"
    assert car.find("anonymizer") is None and car.find("note") is None
    assert list(plate.iter("attribute")) == []
    assert [new.findtext(f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")] == ["61", "21", "70", "40"]
    assert new.findtext("anonymizer/source") == "network"
    assert PLATE not in files["x/new.xml"] and "ane" not in files["x/new.xml"]


def test_cityscapes_comes_back_with_the_fields_on_the_list(tmp_path: Path) -> None:
    annotations = read_annotations(cityscapes(tmp_path))
    files = exported(annotations, added(9), added(10, "face"), released="x/new_leftImg8bit.png")
    assert list(files) == ["x/new_gtFine_polygons.json"]
    out = json.loads(files["x/new_gtFine_polygons.json"])
    road, rider, car, plate, gone, new = out["objects"]  # no face: the Cityscapes tools know none
    given = CITYSCAPES["objects"]
    assert (road, gone) == ({k: v for k, v in given[0].items() if k != "user"}, given[4])
    assert rider == {k: v for k, v in given[1].items() if k != "identity"} | {"anonymizer": rider["anonymizer"]}
    assert rider["anonymizer"] == {"action": "redrawn", "attempts": 1, "source": "given"}
    assert car == {k: v for k, v in given[2].items() if k != "note"}
    assert "text" not in plate and plate["polygon"] == given[3]["polygon"]
    assert new["label"] == "person" and new["anonymizer"]["source"] == "network"
    assert np.array(new["polygon"]).min(axis=0).tolist() == [60.5, 20.5]


@pytest.mark.parametrize("lines", [BOXES, SEGMENTS])
def test_yolo_lines_stay_as_they_are_and_others_follow(tmp_path: Path, lines: str) -> None:
    annotations = read_annotations(yolo(tmp_path, lines))
    files = exported(annotations, added(9), added(10, "face"), released="b/new.jpg")
    assert set(files) == {"data.yaml", "labels/b/new.txt", "../labels/b/new.txt"}
    text = files["labels/b/new.txt"]
    assert files["../labels/b/new.txt"] == text
    assert text.startswith(lines)
    person, face = text.removeprefix(lines).splitlines()
    assert person.startswith("1 ") and face.startswith("2 ")
    assert len(person.split()) == (5 if lines == BOXES else 9)
    import yaml

    data = yaml.safe_load(files["data.yaml"])
    assert data["names"] == dict(enumerate(["car", "person", *(label for label in CLASSES if label != "person")]))
    assert (data["nc"], data["train"], data["val"]) == (len(CLASSES) + 1, "../images", "../images")
    assert "license" not in data
    back = tmp_path / "back"
    for name, content in files.items():
        put(back / name, content)
    again = found(read_annotations(back), "b/new.jpg")
    assert [i.label for i in again] == ["person", "person", "face"]
    assert np.array_equal(full_mask(again[0], SIZE), full_mask(found(annotations)[0], SIZE))
    assert np.abs(again[1].box - added(9).box).max() <= 1.0


@pytest.mark.parametrize("action", ["redrawn", "redacted"])
def test_yolo_poses_of_treated_persons_never_stay(tmp_path: Path, action: Action) -> None:
    line = "1 0.25 0.416667 0.25 0.5 0.2 0.2 2 0.3 0.3 1\n"
    annotations = read_annotations(yolo(tmp_path, line, NAMES + "kpt_shape: [2, 3]\n"))
    assert exported(annotations, leave=("person",))["labels/a/1.txt"] == line
    files = exported(annotations, added(9), actions={"person": action})
    given, new = files["labels/a/1.txt"].splitlines()
    assert given == "1 0.25 0.416667 0.25 0.5 0 0 0 0 0 0"
    assert len(new.split()) == 11


@pytest.mark.parametrize(("lines", "segments"), [(BOXES, False), (SEGMENTS, True)])
def test_yolo_is_read_by_ultralytics(tmp_path: Path, lines: str, segments: bool) -> None:
    from ultralytics.data.utils import verify_image_label

    files = exported(read_annotations(yolo(tmp_path, lines)), added(9))
    Image.new("RGB", (80, 60)).save(tmp_path / "1.jpg")
    label = put(tmp_path / "out.txt", files["labels/a/1.txt"])
    checked = verify_image_label((str(tmp_path / "1.jpg"), str(label), "", False, 5, 0, 0, False))
    _, boxes, _, outlines, _, missing, ok, empty, corrupt, message = checked
    assert (missing, ok, empty, corrupt) == (0, 1, 0, 0), message
    assert len(boxes) == 3 and len(outlines) == (3 if segments else 0)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_plate_read_in_the_picture_is_scrubbed_from_every_text(tmp_path: Path, kind: str) -> None:
    place = FORMATS[kind](tmp_path)
    for path in tmp_path.rglob("*.*"):
        if path.is_file():
            path.write_text(path.read_text().replace('"doors": 5', '"doors": "ZZ99 AA"').replace("calm", "zz-99-aa"))
            path.write_text(path.read_text().replace('"user": "x"', '"user": "Zz99Aa"'))
    files = exported(read_annotations(place), texts=("ZZ 99 AA",))
    assert "99" not in "".join(files.values())


@pytest.mark.parametrize("kind", FORMATS)
def test_a_run_writes_annotations_in_the_format_that_was_given(tmp_path: Path, kind: str) -> None:
    place = FORMATS[kind](tmp_path / "given")
    for name in (NAME, "b/2.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True)
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(path)
    out = tmp_path / "out"
    summary = execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", out, annotations=place))
    assert summary.released == 2
    written = {p.relative_to(out / "annotations").as_posix(): p.read_bytes() for p in out.glob("annotations/**/*.*")}
    expected = {
        "coco": {"instances_val.json"},
        "voc": {"a/1.xml", "b/2.xml"},
        "cityscapes": {"a/1_gtFine_polygons.json", "b/2_gtFine_polygons.json"},
        "yolo": {"data.yaml", "labels/a/1.txt", "labels/b/2.txt"},
    }[kind]
    assert set(written) == expected
    assert audit(out).clean
    # The released annotations are annotations again, of every picture, with what was found in the second one.
    again = read_annotations(out / "annotations")
    assert again.format == kind
    assert len(found(again)) == len(found(read_annotations(place)))
    assert [i.label for i in found(again, "b/2.png")] == ["person"]
    document = json.loads((out / "annotations.json").read_text())
    assert {record["source"] for record in document["annotations"] if "action" in record} == {"given", "fake"}
    before = (out / "annotations.json").read_bytes()
    assert execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", out, annotations=place)).skipped == 2
    assert (out / "annotations.json").read_bytes() == before
    assert {
        p.relative_to(out / "annotations").as_posix(): p.read_bytes() for p in out.glob("annotations/**/*.*")
    } == written
    (out / "annotations" / min(written)).write_bytes(b"x")
    put(out / "annotations/stray.txt", "x")
    assert {finding.kind for finding in audit(out).findings} == {"tampered", "extra"}


def test_a_damaged_file_costs_its_own_picture_only(tmp_path: Path) -> None:
    place = voc(tmp_path / "given")
    put(tmp_path / "given/Annotations/b/2.xml", "<annotation><object>")
    for name in (NAME, "b/2.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True)
        Image.new("RGB", (80, 60)).save(path)
    summary = execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", tmp_path / "out", annotations=place))
    assert (summary.released, summary.failed) == (1, 1)
    assert "expected Pascal VOC as XML" in (tmp_path / "out/quarantine.txt").read_text()
    put(tmp_path / "given/Annotations/b/2.xml", VOC.replace("1.png", "2.png"))
    again = execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", tmp_path / "out", annotations=place))
    assert (again.released, again.skipped) == (2, 1)


BOMB = "<!DOCTYPE a [<!ENTITY b 'x'><!ENTITY c '&b;&b;&b;&b;'>]><annotation><folder>&c;</folder></annotation>"
OUTSIDE = "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><annotation><folder>&b;</folder></annotation>"
DEEP = "<annotation>" + "<a>" * 5000 + "</a>" * 5000 + "</annotation>"


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("voc", BOMB, "document type or entities"),
        ("voc", OUTSIDE, "document type or entities"),
        ("voc", DEEP, "nested more than"),
        ("voc", "<html/>", "element annotation"),
        ("voc", "\x00\x01", "expected Pascal VOC"),
        ("voc", VOC.replace("<width>80<", "<width>90<"), "stated as 90x60"),
        ("cityscapes", "[" * 100_000, "expected JSON"),
        ("cityscapes", "{}", "list of objects"),
        ("cityscapes", json.dumps(CITYSCAPES).replace('"imgHeight": 60', '"imgHeight": 61'), "stated as 80x61"),
        ("yolo", "\udcff", "UTF-8"),
    ],
)
def test_hostile_files_are_refused_in_one_line(tmp_path: Path, kind: str, text: str, words: str) -> None:
    place = FORMATS[kind](tmp_path)
    (file,) = (path for path in tmp_path.rglob("*.*") if path.is_file() and path.name != "data.yaml")
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    started = time.monotonic()
    annotations = read_annotations(place)
    with pytest.raises(InputError, match=words) as caught:
        annotations.instances(NAME, SIZE)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &a [x, x]\nnames: [*a, *a]\n", "without aliases"),
        ("names: !!python/object/apply:os.system [ls]\n", "expected YAML"),
        ("names: [dog]\n", "expected one of person"),
        ("names: person\n", "list of class names"),
        ("- person\n", "with names"),
        ("[" * 100_000, "deeper or longer"),
        ("- " * 100_000, "deeper or longer"),
        ("".join(f"{' ' * n}a:\n" for n in range(400)), "deeper or longer"),
        ("a: [" + "x, " * 50_000 + "x]", "deeper or longer"),
        ("names: [person]\nkpt_shape: 17\n", "kpt_shape"),
        ("names: !!int ''\n", "expected YAML"),
        ("names: {a: person}\n", "list of class names"),
        ("names: {999999: person}\n", "list of class names"),
        ("names: [person, license plate blurry]\n", "license plate blurry=license_plate"),
    ],
)
def test_hostile_class_lists_are_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_annotations(yolo(tmp_path, BOXES, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", FORMATS)
def test_mutated_files_give_instances_or_one_line(tmp_path: Path, kind: str) -> None:
    place = FORMATS[kind](tmp_path)
    (file,) = (path for path in tmp_path.rglob("*.*") if path.is_file() and path.name != "data.yaml")
    data = file.read_bytes()
    rng = np.random.default_rng(4)
    refused = 0
    for _ in range(125):
        broken = bytearray(data[: int(rng.integers(1, len(data)))] if rng.random() < 0.2 else data)
        for _ in range(int(rng.integers(1, 5))):
            place_in = int(rng.integers(len(broken)))
            broken[place_in : place_in + int(rng.integers(0, 3))] = rng.bytes(int(rng.integers(0, 4)))
        file.write_bytes(bytes(broken))
        try:
            annotations = read_annotations(place)
            if annotations.instances(NAME, SIZE) is not None:
                exported(annotations)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert 0 < refused < 125
