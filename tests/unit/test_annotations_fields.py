"""Fields of annotations: what stays by the list, what is kept by name, what is known and scrubbed from texts."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from anonymizer.annotations.fields import ANNOTATION, CATEGORY, IMAGE, VOC, Each
from anonymizer.annotations.scrubbing import REMOVED, Scrubber, identities, name_parts
from anonymizer.core.errors import InputError
from anonymizer.images.release import Release
from anonymizer.run.local import InProcess
from anonymizer.run.request import Request
from anonymizer.run.runner import execute
from anonymizer.run.summary import Summary

from .fakes import FakeAnonymizer

STEM = "IMG_Erika_Musterfrau"
DOCUMENT: dict[str, Any] = {
    "info": {"description": "Streets of Bonn", "contributor": "Rhine Survey", "year": 2024, "version": "1.0"},
    "licenses": [
        {"id": 1, "name": "CC BY 4.0", "url": "https://creativecommons.org/licenses/by/4.0/"},
        {"id": 2, "name": "Rhine Survey", "url": "https://example.org"},
    ],
    "images": [
        {
            "id": STEM, "file_name": f"{STEM}.png", "width": 64, "height": 64, "license": 1, "lat": 52.520008,
            "path": f"/home/erika/{STEM}.png", "sequence": "seq-777",
            "exif": {"Artist": "Erika Musterfrau", "ISO": 100},
        }
    ],
    "annotations": [
        {
            "id": 1, "image_id": STEM, "category_id": 1, "bbox": [4, 4, 40, 16], "plate_no": "B-XY 1234", "track_id": 7,
            "attributes": {"occluded": True, "note": "B-XY 1234", "Erika Musterfrau": True, "number": "M AB 77"},
        },
        {"id": 2, "image_id": STEM, "category_id": 3, "bbox": [4, 4, 9, 9], "owner": "Erika Musterfrau", "doors": 5},
    ],
    "categories": [
        {"id": 1, "name": "license_plate"},
        {"id": 2, "name": "face", "owner": "Erika"},
        {"id": 3, "name": "car", "supercategory": "bought from Erika Musterfrau"},
    ],
}  # fmt: skip


def run(tmp_path: Path, document: Any = DOCUMENT, **release: Any) -> tuple[Summary, dict[str, Any], dict[str, Any]]:
    """Return the summary of a run, and the documents in COCO and as given."""
    given = tmp_path / "given.json"
    given.write_text(json.dumps(document))
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / f"in/{STEM}.png")
    out = tmp_path / "out"
    made = execute(
        InProcess(FakeAnonymizer()), Request(tmp_path / "in", out, annotations=given, release=Release(**release))
    )
    (own,) = (out / "annotations").glob("*.json")
    return made, json.loads((out / "annotations.json").read_text()), json.loads(own.read_text())


def test_the_list_holds_for_every_record_and_names_what_went(tmp_path: Path) -> None:
    summary, ours, own = run(tmp_path)
    assert own["info"] == {"description": "Streets of Bonn", "year": 2024, "version": "1.0"}
    assert ours["info"] == own["info"] | {"anonymizer_schema": 2}
    # The contributor is known by name, so that a licence of the same name goes, and its address in any case.
    assert own["licenses"] == ours["licenses"] == [DOCUMENT["licenses"][0], {"id": 2}]
    image = {"width": 64, "height": 64, "license": 1, "file_name": f"{STEM}.png"}
    for document in (ours, own):
        assert {key: value for key, value in document["images"][0].items() if key != "id"} == image
        assert isinstance(document["images"][0]["id"], int)  # A text is no id to release.
        assert {record["image_id"] for record in document["annotations"]} == {document["images"][0]["id"]}
        assert document["annotations"][0]["attributes"] == {"occluded": True}
        assert document["annotations"][1].keys() == {"id", "image_id", "category_id", "bbox"}
        assert document["categories"][:3] == [
            {"id": 1, "name": "license_plate"},
            {"id": 2, "name": "face"},
            {"id": 3, "name": "car"},
        ]
    removed = summary.fields_removed
    assert removed["annotations.plate_no"] == removed["images.exif"] == removed["info.contributor"] == 1
    assert removed["categories.owner"] == removed["categories.supercategory"] == 1
    assert removed["(name withheld)"] == 1 and "annotations.attributes.note" in removed
    report = (tmp_path / "out/report.html").read_text()
    assert "annotations.plate_no" in report and "XY 1234" not in report and "Erika Musterfrau" not in report
    assert summary.flagged_names == 1  # By the name in fields that went.


def test_hashed_names_leave_nothing_of_the_original_name(tmp_path: Path) -> None:
    described = DOCUMENT | {"info": {"description": f"{STEM}.png and others"}}
    _, ours, own = run(tmp_path, described, rename=True)
    assert "Musterfrau" not in json.dumps([ours, own])
    assert ours["info"] == {"anonymizer_schema": 2}
    for path in (tmp_path / "out").rglob("*"):
        assert "Musterfrau" not in path.name and (path.is_dir() or b"Musterfrau" not in path.read_bytes()), path


def test_fields_are_kept_by_name_or_path_and_still_scrubbed(tmp_path: Path) -> None:
    keep = ("sequence", "exif.ISO", "annotations.owner", "track_id", "attributes.note")
    summary, ours, own = run(tmp_path, keep_fields=keep)
    for document in (ours, own):
        assert document["images"][0]["sequence"] == "seq-777" and document["images"][0]["exif"] == {"ISO": 100}
        assert document["annotations"][0]["track_id"] == 7
        assert document["annotations"][0]["attributes"] == {
            "occluded": True,
            "note": REMOVED,
        }  # plate_no says the same.
        assert document["annotations"][1]["owner"] == REMOVED
        assert "owner" not in document["categories"][1]
    assert "images.exif.Artist" in summary.fields_removed and "images.sequence" not in summary.fields_removed


def test_pycocotools_loads_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pycocotools import coco

    bare = {key: value for key, value in DOCUMENT.items() if key not in ("info", "licenses")}
    run(tmp_path, bare)
    for path in (tmp_path / "out/annotations.json", tmp_path / "out/annotations/given.json"):
        reader = coco.COCO(str(path))
        reader.info()
        results = [{"image_id": reader.getImgIds()[0], "category_id": 1, "bbox": [1, 1, 2, 2], "score": 0.5}]
        assert len(reader.loadRes(results).anns) == 1
        assert reader.dataset["licenses"] == []
    assert "Done" in capsys.readouterr().out


def test_kept_fields_are_part_of_the_settings() -> None:
    plain, kept = Release(), Release(keep_fields=("b", "a.c", "b"))
    assert kept.settings() == {"keep_fields": ["a.c", "b"]}
    assert plain.settings_hash("x") != kept.settings_hash("x") == Release(keep_fields=("a.c", "b")).settings_hash("x")
    for name in ("", " a", "a..b", "a. b"):
        with pytest.raises(InputError, match="field's name"):
            Release(keep_fields=(name,))


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("id", 3, "x"),
        ("bbox", [1, 2, 3, 4.5], [1, 2, 3, "x"]),
        ("segmentation", [[1, 2, 3, 4, 5, 6]], [["x"]]),
        ("segmentation", {"size": [2, 2], "counts": [1, 3]}, {"size": [2, 2], "counts": "BXY1234"}),
        ("segmentation", [], {"size": [2, 2], "counts": [1, 3], "note": "x"}),
        ("keypoints", [1, 2, 2], [True]),
        ("iscrowd", 1, 1234),
        ("score", 0.25, 1234.5),
        ("attributes", {"pose": "Left"}, 3),
        ("anonymizer", {"action": "redrawn"}, "x"),
    ],
)
def test_values_must_be_of_the_expected_kind(field: str, good: Any, bad: Any) -> None:
    scrubber = Scrubber()
    assert scrubber.record({field: good}, ANNOTATION) == {field: good} and scrubber.removed == {}
    assert scrubber.record({field: bad}, ANNOTATION) == {} and scrubber.removed == {field: 1}


@pytest.mark.parametrize(
    "value", ["B-XY 123", "call +49 228 123456", "a@b.de", "see https://x", "x" * 99, "50.7374, 7.0982"]
)
def test_texts_that_tell_by_their_form_go(value: str) -> None:
    record = Scrubber().record({"supercategory": value, "name": value}, CATEGORY)
    assert record == {"name": REMOVED}


def test_attributes_stay_by_name_and_word() -> None:
    given = {"Age-Group": "child", "occlusion": 0.5, "helmet": "yes", "pose": "B-XY 123", "visibility": 52.520008}
    kept = {"Age-Group": "child", "occlusion": 0.5, "helmet": "yes"}
    assert Scrubber().record({"attributes": given}, IMAGE) == {"attributes": kept}
    pairs = [{"name": key, "value": value, "by": "x"} for key, value in given.items()]
    assert Scrubber().record({"attributes": [*pairs, "x"]}, IMAGE) == {
        "attributes": [{"name": key, "value": value} for key, value in kept.items()]
    }


def test_elements_lose_what_no_list_names() -> None:
    root = ElementTree.fromstring(
        "<annotation x='1'>tail<folder>a</folder><object><name lang='de'>car<b>x</b></name><owner><name>Jane</name>"
        "<phone a='3'>7</phone></owner></object></annotation>"
    )
    scrubber = Scrubber((), ("owner.phone",))
    scrubber.element(root, VOC)
    text = ElementTree.tostring(root, encoding="unicode")
    expected = '<object><name>car</name><owner><phone a="3">7</phone></owner></object></annotation>'
    assert text == f"<annotation><folder>a</folder>{expected}"
    removed = {"object.name.b", "object.name.lang", "object.owner.name", "text", "x"}
    assert scrubber.removed == dict.fromkeys(sorted(removed), 1)


def test_names_come_from_fields_that_go_and_speak_or_look_like_it() -> None:
    told = {
        "annotations": [
            {
                "licensePlate": "XX 99",
                "meta": {"deep": [{"ownerName": "Jane Doe"}]},
                "colour": "dark red",
                "remark": "parked, B-XY 1234, since May",
                "vehicle_type": "truck",
                "label_name": "person",
                "attributes": [{"name": "celebrity", "value": "Max Muster"}, {"name": "pose", "value": "standing"}],
                "score": "Eva Example",
            }
        ],
        "categories": [{"name": "truck", "supercategory": "outdoor"}],
    }
    fields = {"annotations": Each(ANNOTATION), "categories": Each(CATEGORY)}
    found = ("XX 99", "Jane Doe", "B-XY 1234", "Max Muster", "OCR 55")
    assert identities([told], ["OCR 55"], fields=fields) == found
    assert "Jane Doe" not in identities([told], fields=fields, keep=("ownerName",))


def test_parts_of_a_name_are_secret_unless_they_are_released() -> None:
    assert name_parts("bonn/erika.png", "bonn/erika.jpg") == ()
    assert name_parts("bonn/erika.png", "0f/1e.png") == ("bonn", "erika")
