"""Small data sets from the field, each with what must become of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from anonymizer.annotations.reading import read_annotations
from anonymizer.run.audit import audit
from anonymizer.run.local import InProcess
from anonymizer.run.request import Request
from anonymizer.run.runner import execute

from .fakes import FakeAnonymizer

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
PLATE = ("license_plate", [4, 4, 44, 20])
PERSON = ("person", [40, 20, 210, 245])
#: Instances by released picture, words of the reason by picture that is held back, words of the remarks.
EXPECTED: dict[str, tuple[dict[str, list[Any]], dict[str, str], list[str]]] = {
    "leak_amb": ({name: [PLATE] for name in ("cam0/0001.png", "cam1/0001.png", "cam1/0002.png")}, {}, []),
    "leak_ext": ({"a.png": [PLATE], "b.png": [PLATE]}, {}, []),
    "leak_yolo": ({"000002.png": [PLATE]}, {"000001.png": "labels/train/000001, labels/val/000001"}, []),
    "leak_oi": ({"a.png": [PLATE, ("face", [4, 30, 24, 54]), ("person", [34, 30, 54, 54])]}, {}, []),
    "leak_stem": ({"b.jpg": [PLATE]}, {"a.jpg": "label file with a.png", "a.png": "label file with a.jpg"}, []),
    "rf_seg": (
        {
            "train/images/train1.jpg": [],
            "train/images/train2.jpg": [("person", [0, 0, 234, 192])],
            "valid/images/valid1.jpg": [],
            "valid/images/valid2.jpg": [("person", [0, 0, 234, 192])],
        },
        {},
        [],
    ),
    "coco_zero_height": ({"a.jpg": [PERSON], "b.jpg": []}, {}, ["annotation 2: box without area"]),
    "coco_oob_bbox": ({"a.jpg": [PERSON], "b.jpg": [("person", [0, 20, 160, 250])]}, {}, ["annotation 2: box cut"]),
    "coco_dup_ids": ({"a.jpg": [PERSON], "b.jpg": [PERSON]}, {}, ["annotation 1: without an id of its own, now 2"]),
    "coco_oob_poly": ({"a.jpg": [("person", [0, 20, 210, 250])]}, {}, ["annotation 1: outline cut"]),
    "coco_seg_flat": ({"a.jpg": [PERSON]}, {}, []),
    "yolo_conf": ({"a.jpg": [PERSON]}, {}, []),
    "yolo_args_yaml": ({"a.jpg": [PERSON]}, {}, []),
    "voc_no_bndbox": ({"a.jpg": []}, {}, ["annotation 1: polygon with fewer than 3 points, left out"]),
    "voc_swapped": ({"a.jpg": [("person", [39, 19, 210, 245])]}, {}, ["annotation 1: box with swapped corners"]),
}


@pytest.mark.parametrize("case", EXPECTED)
def test_cases_come_out_right(tmp_path: Path, case: str) -> None:
    folder = CASES / case
    if not folder.is_dir():
        pytest.skip(f"no cases beside this checkout at {CASES}")
    given = next(path for path in (folder / "ann", folder / "ann.json") if path.exists())
    expected, held, remarks = EXPECTED[case]
    summary = execute(InProcess(FakeAnonymizer()), Request(folder / "in", tmp_path / "out", annotations=given))
    records: dict[str, Mapping[str, Any]] = {}
    for line in (tmp_path / "out/ledger.jsonl").read_text().splitlines():
        record = json.loads(line)
        records[record["name"]] = record
    found = {
        name: [(instance["label"], [round(v) for v in instance["box"]]) for instance in record["instances"]]
        for name, record in records.items()
        if record["status"] == "released"
    }
    assert found == expected
    assert {name for name, record in records.items() if record["status"] == "quarantined"} == set(held)
    assert all(words in records[name]["reason"] for name, words in held.items())
    told = [remark for name in sorted(records) for remark in records[name].get("annotation_remarks", ())]
    assert len(told) == len(remarks) and all(t.startswith(r) for t, r in zip(told, remarks, strict=True))
    assert summary.quarantined == len(held) and summary.failed == 0
    assert audit(tmp_path / "out").clean
    # What was released is of the same format, one file per picture, and read again.
    again = read_annotations(tmp_path / "out/annotations")
    assert again.placed(expected).placement is not None
    assert set(again.placed(expected).placement.keys) == set(expected)  # type: ignore[union-attr]
