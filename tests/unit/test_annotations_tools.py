"""Annotations as tools write them: LabelMe, CVAT, VIA and Open Images."""

import base64
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image

from anonymizer.annotations.reading import read_annotations
from anonymizer.annotations.records import Annotations, Given, Page
from anonymizer.core.errors import InputError
from anonymizer.core.geometry import full_mask
from anonymizer.core.records import Instance, Treatment
from anonymizer.images.release import Release
from anonymizer.run.audit import audit
from anonymizer.run.local import InProcess
from anonymizer.run.request import Request
from anonymizer.run.runner import execute

from .fakes import FakeAnonymizer

SIZE = (60, 80)
NAME = "a/1.png"
PLATE = "B-XY 1234"


def png(mask: Any) -> str:
    return base64.b64encode(cv2.imencode(".png", np.asarray(mask, np.uint8) * 255)[1].tobytes()).decode()


def shape(label: str, kind: str, points: list[Any], **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}} | more


LABELME: dict[str, Any] = {
    "version": "5.4.1",
    "flags": {"night": True, "Jane Doe": True},
    "shapes": [
        shape(
            "person", "rectangle", [[30, 40], [10, 10]], flags={"occluded": True, "jane": True}, description="Jane Doe"
        ),
        shape("car", "polygon", [[1, 1], [50, 1], [50, 50]], description=PLATE),
        shape("face", "circle", [[40, 20], [45, 20]]),
        shape("person", "mask", [[50, 30], [59, 39]], mask=png(np.eye(10))),
        shape("person", "point", [[3, 3]]),
        shape("license plate", "polygon", [[60, 50], [70, 50], [70, 55], [60, 55]], text=PLATE),
    ],
    "imagePath": "C:\\Jane\\1.png",
    "imageData": base64.b64encode(b"the original" * 9).decode(),
    "imageHeight": 60,
    "imageWidth": 80,
}
CVAT = f"""<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><id>7</id><name>Jane Doe drives</name><owner>
<username>jane</username><email>jane@example.org</email></owner>
<labels><label><name>person</name><color>#ff0000</color><type>any</type>
<attributes><attribute><name>who</name><values>Jane Doe</values></attribute></attributes></label></labels></task>
<dumped>2024-01-01</dumped></meta>
<image id="3" name="a/1.png" subset="train" task_id="7" width="80" height="60">
<box label="person" source="manual" occluded="1" xtl="10.0" ytl="10.0" xbr="30.0" ybr="40.0" z_order="0">
<attribute name="who">Jane Doe</attribute><attribute name="pose">standing</attribute></box>
<polygon label="car" source="manual" occluded="0" points="1,1;50,1;50,50" z_order="0">
<attribute name="note">{PLATE}</attribute></polygon>
<ellipse label="face" source="manual" occluded="0" cx="40" cy="20" rx="5" ry="5" z_order="0"/>
<mask label="person" source="semi-auto" occluded="0" rle="1, 2, 1" left="50" top="30" width="2" height="2" z_order="0"/>
<points label="person" source="manual" occluded="0" points="3,3;4,4" z_order="0"/>
<box label="license plate" rotation="90" xtl="60" ytl="45" xbr="70" ybr="55" occluded="0">
<attribute name="number">{PLATE}</attribute></box>
<tag label="street" source="manual"><attribute name="city">Janetown</attribute></tag>
</image></annotations>"""
VIA_PICTURES: dict[str, Any] = {
    "1.png4711": {
        "filename": "1.png",
        "size": 4711,
        "regions": [
            {
                "shape_attributes": {"name": "rect", "x": 10, "y": 10, "width": 20, "height": 30},
                "region_attributes": {"kind": "person", "who": "Jane Doe", "occluded": "yes"},
            },
            {
                "shape_attributes": {"name": "polygon", "all_points_x": [1, 50, 50], "all_points_y": [1, 1, 50]},
                "region_attributes": {"kind": "car", "note": PLATE},
            },
            {
                "shape_attributes": {"name": "circle", "cx": 40, "cy": 20, "r": 5},
                "region_attributes": {"kind": {"face": True, "person": False}},
            },
            {
                "shape_attributes": {"name": "ellipse", "cx": 55, "cy": 35, "rx": 5, "ry": 3, "theta": 0.5},
                "region_attributes": {"kind": "person"},
            },
            {"shape_attributes": {"name": "point", "cx": 3, "cy": 3}, "region_attributes": {"kind": "person"}},
            {
                "shape_attributes": {"name": "polyline", "all_points_x": [60, 70, 70], "all_points_y": [50, 50, 55]},
                "region_attributes": {"kind": "license plate", "text": PLATE},
            },
        ],
        "file_attributes": {"caption": "Jane Doe", "url": "http://x"},
    }
}
VIA: dict[str, Any] = {
    "_via_settings": {"core": {"default_filepath": "/home/jane/"}, "project": {"name": "Jane Doe"}},
    "_via_img_metadata": VIA_PICTURES,
    "_via_attributes": {
        "region": {
            "kind": {
                "type": "dropdown",
                "description": "by Jane",
                "options": {"person": "", "car": ""},
                "default_options": {},
            },
            "who": {"type": "text", "description": "", "default_value": "Jane Doe"},
        },
        "file": {"caption": {"type": "text"}},
    },
    "_via_data_format_version": "2.0.10",
    "_via_image_id_list": ["1.png4711"],
}
COLUMNS = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
)
OPEN_IMAGES = f"""{COLUMNS},Note
1,xclick,/m/01g317,1,0.125,0.375,0.1666667,0.6666667,1,0,0,0,0,Jane Doe
1,xclick,/m/0k4j,1,0.0125,0.625,0.01666,0.833333,0,0,0,0,0,{PLATE}
1,xclick,/m/0dzct,1,0.4375,0.5625,0.25,0.416667,0,0,0,0,0,
1,xclick,/m/01g317,1,0.625,0.6875,0.5,0.6,0,0,1,0,0,
1,xclick,/m/01g317,1,0.9,0.3,0.5,0.6,0,0,0,0,0,
1,xclick,/m/01jfm_,1,0.75,0.875,0.833333,0.916667,0,0,0,0,0,
"""


def labelme(folder: Path) -> Path:
    put(folder / "a/1.json", json.dumps(LABELME))
    return folder


def cvat(folder: Path) -> Path:
    return put(folder / "annotations.xml", CVAT)


def via(folder: Path) -> Path:
    return put(folder / "via_project.json", json.dumps(VIA))


def via_plain(folder: Path) -> Path:
    first = next(iter(VIA_PICTURES.values()))
    regions = {str(number): region for number, region in enumerate(first["regions"])}  # As VIA 1 wrote them.
    return put(folder / "via_regions.json", json.dumps({"1.png4711": first | {"regions": regions}}))


def open_images(folder: Path) -> Path:
    return put(folder / "boxes.csv", OPEN_IMAGES)


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


FORMATS: dict[str, Callable[[Path], Path]] = {
    "labelme": labelme,
    "cvat": cvat,
    "via": via,
    "via_plain": via_plain,
    "open_images": open_images,
}


def given(annotations: Annotations) -> Given:
    out = annotations.instances(NAME, SIZE)
    assert out is not None
    return out


def added() -> Instance:
    box = np.array([60, 20, 70, 40], np.float32)
    return Instance(id=9, label="person", box=box, mask=np.ones((20, 10), bool), score=0.75, source="network")


def exported(annotations: Annotations, *more: Instance, released: str = NAME) -> tuple[dict[str, str], dict[str, int]]:
    """Return the released files when every given instance and some others were redrawn, and what was left out."""
    treated = tuple((i, Treatment(i.id, "redrawn", 1)) for i in (*given(annotations).instances, *more))
    side = json.loads(json.dumps(annotations.only(NAME).export(Page(NAME, released, SIZE, treated))))
    removed = side.pop("removed")
    return {name: data.decode() for name, data in annotations.files([side], Release())}, removed


@pytest.mark.parametrize("kind", FORMATS)
def test_shapes_become_masks_and_what_has_no_area_is_named(tmp_path: Path, kind: str) -> None:
    place = FORMATS[kind](tmp_path)
    for path in {place, tmp_path}:
        annotations = read_annotations(path)
        assert annotations.format == kind.removesuffix("_plain")
        found = given(annotations)
        assert [i.label for i in found.instances] == ["person", "face", "person", "license_plate"]
        person, face, second, plate = (full_mask(i, SIZE) for i in found.instances)
        whole = np.zeros(SIZE, bool)
        whole[10:40, 10:30] = True
        assert np.array_equal(person, whole)
        assert face[20, 40] and not face[15, 35] and face.sum() == pytest.approx(np.pi * 25, rel=0.2)
        assert second[30:40, 50:60].any() and not second[:, :50].any()
        assert plate[45:56, 60:71].any() and not plate[:45].any()
        (remark,) = found.remarks
        assert "5" in remark.where and PLATE not in str(remark)
        placement = annotations.placed([NAME, "b/2.png"]).placement
        assert placement is not None and (list(placement.keys), placement.bare) == ([NAME], ("b/2.png",))
        with pytest.raises(InputError):
            annotations.placed(["b/2.png"])


def test_masks_are_read_pixel_by_pixel(tmp_path: Path) -> None:
    second = full_mask(given(read_annotations(labelme(tmp_path / "l"))).instances[2], SIZE)
    assert np.array_equal(second[30:40, 50:60], np.eye(10, dtype=bool)) and second.sum() == 10
    second = full_mask(given(read_annotations(cvat(tmp_path / "c"))).instances[2], SIZE)
    assert second[30:32, 50:52].tolist() == [[False, True], [True, False]] and second.sum() == 2


def test_a_turned_box_is_turned_clockwise(tmp_path: Path) -> None:
    text = CVAT.replace(
        'rotation="90" xtl="60" ytl="45" xbr="70" ybr="55"', 'rotation="90" xtl="50" ytl="45" xbr="70" ybr="49"'
    )
    plate = given(read_annotations(put(tmp_path / "x.xml", text))).instances[3]
    assert plate.box.round().tolist() == [58, 37, 62, 57]
    slanted = text.replace(
        'rotation="90" xtl="50" ytl="45" xbr="70" ybr="49"', 'rotation="30" xtl="40" ytl="30" xbr="60" ybr="34"'
    )
    mask = full_mask(given(read_annotations(put(tmp_path / "x.xml", slanted))).instances[3], SIZE)
    rows, columns = np.nonzero(mask)
    assert np.polyfit(columns, rows, 1)[0] > 0.3  # Downwards to the right, as y points down.


@pytest.mark.parametrize("kind", FORMATS)
def test_nothing_that_tells_comes_back(tmp_path: Path, kind: str) -> None:
    files, removed = exported(read_annotations(FORMATS[kind](tmp_path)), added())
    text = "".join([*files, *files.values()])
    assert not any(word in text.lower() for word in ("jane", "xy", "4711", "dGhlIG9yaWdp".lower()))
    assert removed and PLATE not in str(removed) and "Jane" not in str(removed)


@pytest.mark.parametrize("kind", FORMATS)
def test_what_comes_back_is_read_as_the_same_again(tmp_path: Path, kind: str) -> None:
    annotations = read_annotations(FORMATS[kind](tmp_path / "given"))
    files, _ = exported(annotations, added())
    for name, text in files.items():
        put(tmp_path / "back" / name, text)
    again = read_annotations(tmp_path / "back")
    assert again.format == annotations.format
    before, after = given(annotations), given(again)
    assert [i.label for i in after.instances] == [*(i.label for i in before.instances), "person"]
    for one, other in zip(before.instances, after.instances, strict=False):
        assert np.array_equal(full_mask(one, SIZE), full_mask(other, SIZE))
    assert np.abs(after.instances[-1].box - added().box).max() <= 1.0
    # A second export changes nothing but the added instance, which is a given one now.
    second, _ = exported(again)
    assert second.keys() == files.keys()


@pytest.mark.parametrize(
    ("kind", "keep"),
    [
        ("labelme", "shapes.description"),
        ("cvat", "note"),
        ("via", "region_attributes.note"),
        ("via_plain", "note"),
        ("open_images", "Note"),
    ],
)
def test_fields_are_kept_by_name(tmp_path: Path, kind: str, keep: str) -> None:
    place = FORMATS[kind](tmp_path)
    for path in tmp_path.rglob("*.*"):
        if path.is_file():
            path.write_text(path.read_text().replace(PLATE, "dark red", 1))
    annotations = read_annotations(place)
    treated = tuple((i, Treatment(i.id, "redrawn", 1)) for i in given(annotations).instances)
    for kept in ((), (keep,)):
        side = annotations.only(NAME).export(Page(NAME, NAME, SIZE, treated, keep=kept))
        files = dict(annotations.files([side], Release(keep_fields=kept)))
        assert any(b"dark red" in data for data in files.values()) is bool(kept)
        assert not any(PLATE.encode() in data for data in files.values())


def test_labelme_leads_to_the_released_picture_and_says_what_was_done(tmp_path: Path) -> None:
    files, removed = exported(read_annotations(labelme(tmp_path)), added(), released="b/c/new.jpg")
    assert list(files) == ["b/c/new.json"]
    out = json.loads(files["b/c/new.json"])
    assert (out["imagePath"], out["imageData"]) == ("../../../images/b/c/new.jpg", None)
    assert (out["imageHeight"], out["imageWidth"], out["flags"]) == (60, 80, {})
    first, car, *_, new = out["shapes"]
    assert first["points"] == LABELME["shapes"][0]["points"] and first["flags"] == {"occluded": True}
    assert first["anonymizer"] == {"action": "redrawn", "attempts": 1, "source": "given"}
    assert "anonymizer" not in car and new["label"] == "person" and new["anonymizer"]["source"] == "network"
    assert removed["shapes.description"] == 2


def test_cvat_keeps_ids_labels_and_listed_attributes(tmp_path: Path) -> None:
    files, removed = exported(read_annotations(cvat(tmp_path)), added(), released="b/new.png")
    assert list(files) == ["annotations.xml"]
    root = ElementTree.fromstring(files["annotations.xml"])
    assert root.findtext("meta/task/labels/label/name") == "person" and root.find("meta/task/owner") is None
    image = root.find("image")
    assert image is not None
    assert image.attrib == {"id": "3", "name": "b/new.png", "subset": "train", "width": "80", "height": "60"}
    box = image[0]
    listed = {item.get("name"): item.text for item in box}
    marks = {"anonymizer_action": "redrawn", "anonymizer_attempts": "1", "anonymizer_source": "given"}
    assert listed == {"pose": "standing"} | marks
    assert [item.tag for item in image] == ["box", "polygon", "ellipse", "mask", "points", "box", "tag", "polygon"]
    assert image[3].get("rle") == "1, 2, 1" and image[4].get("points") == "3,3;4,4"
    assert removed["image.box.who"] == 1


def test_cvat_for_video_is_refused(tmp_path: Path) -> None:
    text = '<annotations><version>1.1</version><track id="0" label="person"><box frame="0"/></track></annotations>'
    with pytest.raises(InputError, match="CVAT for video.*CVAT for images 1.1"):
        read_annotations(put(tmp_path / "a.xml", text))


def test_via_keeps_classes_and_opens_as_a_project(tmp_path: Path) -> None:
    files, _ = exported(read_annotations(via(tmp_path)), added(), released="b/new.png")
    out = json.loads(files["via_project.json"])
    assert out["_via_image_id_list"] == list(out["_via_img_metadata"]) == ["b/new.png-1"]
    assert out["_via_settings"]["project"] == {"name": "anonymized"}
    assert out["_via_attributes"]["region"] == {
        "kind": {"type": "dropdown", "description": "", "options": {"person": "", "car": ""}, "default_options": {}}
    }
    picture = out["_via_img_metadata"]["b/new.png-1"]
    assert (picture["filename"], picture["size"], picture["file_attributes"]) == ("b/new.png", -1, {})
    first = picture["regions"][0]
    assert first["shape_attributes"] == VIA_PICTURES["1.png4711"]["regions"][0]["shape_attributes"]
    assert first["region_attributes"]["kind"] == "person" and first["region_attributes"]["occluded"] == "yes"
    assert first["region_attributes"]["anonymizer_action"] == "redrawn"


def test_open_images_keeps_digits_and_columns(tmp_path: Path) -> None:
    files, removed = exported(read_annotations(open_images(tmp_path)), added(), released="a/new.png")
    rows = list(csv.DictReader(io.StringIO(files["boxes.csv"])))
    assert [row["ImageID"] for row in rows] == ["new"] * 7
    assert rows[0]["YMin"] == "0.1666667" and rows[0]["LabelName"] == "/m/01g317" and "Note" not in rows[0]
    assert [row["AnonymizerAction"] for row in rows] == ["redrawn", "", "redrawn", "redrawn", "", "redrawn", "redrawn"]
    assert rows[6]["LabelName"] == "/m/01g317" and rows[6]["Source"] == "machine"
    assert removed["rows.Note"] == 6


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("rename", [False, True])
def test_a_run_writes_the_format_that_was_given(tmp_path: Path, kind: str, rename: bool) -> None:
    place = FORMATS[kind](tmp_path / "given")
    for name in (NAME, "b/2.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True)
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(path)
    out = tmp_path / "out"
    release = Release(rename=rename)
    summary = execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", out, annotations=place, release=release))
    assert (summary.released, summary.redrawn["person"]) == (2, 3)
    assert audit(out).clean
    again = read_annotations(out / "annotations")
    assert again.format == kind.removesuffix("_plain")
    lines = [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]
    names = {line["released_name"] for line in lines}
    assert (NAME in names) is not rename
    for name in names:
        assert again.instances(name, SIZE) is not None
    document = json.loads((out / "annotations.json").read_text())
    assert len(document["annotations"]) == 5 and document["info"]["anonymizer_schema"] == 2
    assert (
        execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", out, annotations=place, release=release)).skipped
        == 2
    )


BOMB = "<!DOCTYPE a [<!ENTITY b 'x'>]><annotations><version>&b;</version></annotations>"


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("a.xml", BOMB, "document type or entities"),
        ("a.xml", "<annotations>" + "<a>" * 5000 + "</a>" * 5000 + "</annotations>", "nested more than"),
        ("a.xml", "<annotations><version>1.1</version></annotations>", "found none"),
        ("a.xml", "<annotations><image/></annotations>", "has no name"),
        ("a.xml", '<annotations><image name="1.png"/><image name="1.png"/></annotations>', "stands twice"),
        ("a.xml", "<annotations>", "as XML"),
        ("a.json", json.dumps({"_via_img_metadata": []}), "expected pictures"),
        ("a.json", json.dumps({"x": {"filename": 3, "regions": []}}), "no filename"),
        ("a.json", json.dumps({"x": {"filename": "1.png", "regions": 3}}), "regions must be a list"),
        ("a.json", json.dumps({"x": {"filename": "1.png", "regions": []}}), "names a class"),
        ("a.csv", "a,b\n", "without the columns"),
        ("a.csv", "ImageID,LabelName,XMin,XMax,YMin,YMax,YMax\n", "each once"),
        ("a.csv", "ImageID,LabelName,XMin,XMax,YMin,YMax\n", "found none"),
        ("a.csv", "ImageID,LabelName,XMin,XMax,YMin,YMax\n,x\n", "line 2: no ImageID"),
        ("a.csv", "ImageID,LabelName,XMin,XMax,YMin,YMax\n" + "x" * 200_000, "expected CSV"),
        ("a.csv", 'ImageID,LabelName,XMin,XMax,YMin,YMax\n"a"b', "expected CSV"),
    ],
)
def test_hostile_files_are_refused_in_one_line(tmp_path: Path, file: str, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_annotations(put(tmp_path / file, text))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("kind", FORMATS)
def test_beside_another_format_nothing_is_passed_over(tmp_path: Path, kind: str) -> None:
    FORMATS[kind](tmp_path)
    put(tmp_path / "data.yaml", "names: [person]\n")
    put(tmp_path / "labels/1.txt", "0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(InputError, match=r"holds files of .* and .*; give the file or the folder of one format"):
        read_annotations(tmp_path)


def huge_png() -> str:
    data = bytearray(base64.b64decode(png(np.eye(10))))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    return base64.b64encode(bytes(data)).decode()


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (shape("person", "mask", [[1, 1], [10, 10]], mask=huge_png()), "mask that cannot be read"),
        (shape("person", "mask", [[1, 1], [10, 10]], mask="&"), "mask that cannot be read"),
        (shape("person", "mask", [[1, 1], [1e9, 1e9]], mask=png(np.eye(2))), "mask that cannot be read"),
        (shape("person", "polygon", [[1, 1], [2, 2]]), "points as it needs"),
        (shape("person", "polygon", [[1, 1], [2, 2], [None, 3]]), "finite"),
        (shape("person", "linestrip", [[1, 1], [2, 2]]), "without area"),
        (3, "no object with a label"),
        ({"label": ["person"]}, "no object with a label"),
    ],
)
def test_one_odd_shape_of_labelme_costs_itself_only(tmp_path: Path, odd: Any, words: str) -> None:
    shapes = [odd, LABELME["shapes"][0]]
    annotations = read_annotations(put(tmp_path / "1.json", json.dumps(LABELME | {"shapes": shapes})))
    found = given(annotations)
    assert [i.label for i in found.instances] == ["person"]
    assert [words in str(remark) for remark in found.remarks] == [True]
    files, _ = exported(annotations)
    marked = [
        s for s in json.loads(files["1.json" if "1.json" in files else "a/1.json"])["shapes"] if "anonymizer" in s
    ]
    assert [s["shape_type"] for s in marked] == ["rectangle"]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('rle="1, 2, 1"', 'rle="1, 2"', "run lengths"),
        ('rle="1, 2, 1"', f'rle="{"9" * 5000}"', "run lengths"),
        ('width="2" height="2"', 'width="99999999" height="99999999"', "run lengths"),
        ('left="50"', 'left="nan"', "whole pixels"),
        ('cx="40"', 'cx="x"', "finite"),
        ('xtl="10.0"', 'xtl="inf"', "finite"),
    ],
)
def test_one_odd_shape_of_cvat_costs_itself_only(tmp_path: Path, before: str, after: str, words: str) -> None:
    found = given(read_annotations(put(tmp_path / "a.xml", CVAT.replace(before, after))))
    assert len(found.instances) == 3
    assert [words in str(remark) for remark in found.remarks].count(True) == 1


@pytest.mark.parametrize("kind", FORMATS)
def test_mutated_files_give_instances_or_one_line(tmp_path: Path, kind: str) -> None:
    place = FORMATS[kind](tmp_path)
    (file,) = (path for path in tmp_path.rglob("*.*") if path.is_file())
    data = file.read_bytes()
    rng = np.random.default_rng(4)
    refused = 0
    for _ in range(80):
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
    assert 0 < refused < 80
