"""What is left as it is: areas and consent, in the first pass, in the second, and in what is written of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from anonymizer.annotations.areas import read_areas
from anonymizer.annotations.reading import read_annotations
from anonymizer.core.errors import InputError
from anonymizer.core.geometry import full_mask
from anonymizer.core.records import Image, Instance, Result
from anonymizer.detect.given import with_given
from anonymizer.detect.left import unlike, with_consent, within
from anonymizer.run.audit import audit
from anonymizer.run.local import run
from anonymizer.run.request import Request

from .test_flow_pipeline import FACE, PERSON, SIZE, build, instance, picture
from .test_run_local import ledger, pictures

OTHER = instance(3, "person", (70, 20, 100, 80))


def agreed(person: Instance) -> Instance:
    return replace(person, source="given", consent=True)


def area_of(*instances: Instance) -> np.ndarray:
    return np.logical_or.reduce([full_mask(i, SIZE) for i in instances])


def test_an_area_is_left_out_of_both_passes() -> None:
    image = picture()
    area = np.zeros(SIZE, bool)
    area[:, 64:] = True
    result = build(lambda _: [PERSON, FACE, OTHER])(image, exclude=area)
    assert [i.id for i in result.instances] == [1, 2]
    assert [(i.label, i.id) for i in result.excluded] == [("person", 3)]
    assert np.array_equal(result.image[area], image[area]) and not result.treated[area].any()
    assert all(v.passed for v in result.verdicts)
    # Without the area, the same detections are anonymized.
    assert [i.id for i in build(lambda _: [PERSON, FACE, OTHER])(image).instances] == [1, 2, 3]


def test_what_the_second_pass_alone_finds_outside_of_the_area_is_still_a_leak() -> None:
    image, area = picture(), np.zeros(SIZE, bool)
    area[:, :64] = True
    calls = iter([[], [OTHER, PERSON], [OTHER, PERSON], [OTHER, PERSON], [OTHER, PERSON]])
    result = build(lambda _: next(calls))(image, exclude=area)
    assert [(t.instance_id, t.action) for t in result.treatments] == [(1, "redacted")]
    assert np.array_equal(result.image[area], image[area])


def test_who_reaches_out_of_an_area_is_anonymized_whole() -> None:
    area = np.zeros(SIZE, bool)
    area[:, :46] = True  # More than a tenth of the person lies beyond.
    result = build(lambda _: [PERSON, FACE])(picture(), exclude=area)
    assert [i.id for i in result.instances] == [1, 2] and result.excluded == ()
    assert result.treated[full_mask(PERSON, SIZE)].all()


def test_a_face_in_an_area_goes_with_its_person_who_is_not() -> None:
    kept, left = within([PERSON, FACE], area_of(FACE))
    assert [i.id for i in kept] == [1, 2] and left == ()
    kept, left = within([PERSON, FACE], area_of(PERSON))
    assert kept == () and len(left) == 2


@pytest.mark.parametrize("area", [np.zeros(SIZE, np.uint8), np.zeros((4, 4), bool), [[True]]])
def test_an_area_of_another_form_is_refused(area: Any) -> None:
    with pytest.raises(InputError, match="exclude: expected bool"):
        build(lambda _: [])(picture(), exclude=area)


def test_areas_differ_between_pictures_taken_together() -> None:
    area = area_of(PERSON)
    anonymizer = build(lambda _: [PERSON])
    results = anonymizer.anonymize_many([picture(), picture()], excludes=[area, None])
    assert [len(result.instances) for result in results if isinstance(result, Result)] == [0, 1]
    with pytest.raises(InputError, match="as many instances, keys and areas"):
        anonymizer.anonymize_many([picture()], excludes=[None, None])


def test_whoever_agreed_is_left_with_their_face_and_the_second_pass_does_not_complain() -> None:
    image = picture()
    found = [replace(PERSON, id=7), replace(FACE, id=8, parent=7), replace(OTHER, id=9)]
    result = build(lambda _: found)(image, [agreed(PERSON)])
    assert [i.label for i in result.instances] == ["person"]
    assert [(i.label, i.source) for i in result.consented] == [("person", "given"), ("face", "fake")]
    shown = full_mask(PERSON, SIZE)
    assert np.array_equal(result.image[shown], image[shown])
    assert result.treated[full_mask(OTHER, SIZE)].all()
    assert [v.passed for v in result.verdicts if v.check == "second_pass"] == [True]


def test_a_person_before_one_who_agreed_is_still_anonymized() -> None:
    near = instance(2, "person", (36, 22, 62, 84))
    result = build(lambda _: [PERSON, near])(picture(), [agreed(PERSON)])
    assert len(result.instances) == 1 and len(result.consented) == 1
    assert result.treated[full_mask(near, SIZE)].all()
    # Two detections that both look like the one who agreed may be two people.
    double = replace(PERSON, id=2, box=PERSON.box + np.array([2, 0, 2, 0], np.float32))
    result = build(lambda _: [PERSON, double])(picture(), [agreed(PERSON)])
    assert len(result.instances) == 1 and result.treated[full_mask(double, SIZE)].all()


def test_of_faces_that_may_be_somebody_elses_none_is_left() -> None:
    second = replace(FACE, id=3, box=FACE.box + np.array([0, 30, 0, 30], np.float32))
    kept, left = with_consent([agreed(PERSON), FACE, second])
    assert [i.id for i in kept] == [2, 3] and [i.id for i in left] == [1]
    # Somebody else's mask reaches the face.
    behind = instance(4, "person", (34, 18, 60, 70))
    kept, left = with_consent([agreed(PERSON), FACE, behind])
    assert [i.id for i in kept] == [2, 4]
    # A face that was given without consent is not covered by the person's.
    kept, left = with_consent([agreed(PERSON), replace(FACE, source="given")])
    assert [i.id for i in kept] == [2]


def test_for_each_who_agreed_the_second_pass_forgives_one_detection() -> None:
    double = replace(PERSON, id=5, score=0.3)
    assert unlike([PERSON, double, OTHER], [agreed(PERSON)]) == (double, OTHER)
    assert unlike([FACE], [agreed(PERSON)]) == (FACE,)
    assert unlike([OTHER], [agreed(PERSON)]) == (OTHER,)


def test_further_detections_of_one_who_agreed_stay_persons_of_their_own() -> None:
    double = replace(PERSON, id=2, box=PERSON.box + np.array([1, 0, 1, 0], np.float32))
    assert len(with_given([PERSON, double], [replace(PERSON, source="given")])) == 1
    assert len(with_given([PERSON, double], [agreed(PERSON)])) == 2


class FakePipeline:
    """The real pipeline behind fakes, for runs of pictures of 128x96."""

    def __init__(self, find: Any) -> None:
        self._inner = build(find)
        self.settings_hash, self.describe, self.find = "fake", self._inner.describe, self._inner.find

    def __call__(self, image: Image, instances: Any = None, **options: Any) -> Any:
        return self._inner(image, instances, **options)


def coco(path: Path, *annotations: dict[str, Any], **more: Any) -> Path:
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 128, "height": 96}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [{"id": n, "image_id": 1, "category_id": 1, **a} for n, a in enumerate(annotations, start=1)],
    }
    path.write_text(json.dumps(document))
    return path


def test_what_is_left_is_named_in_ledger_report_summary_and_annotations(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", size=(128, 96))
    given = coco(tmp_path / "given.json", {"bbox": [20, 20, 30, 60], "consent": True})
    area = {"name": "bonnet <b>", "size": [96, 128], "polygon": [[68, 0], [128, 0], [128, 96], [68, 96]]}
    (tmp_path / "areas.json").write_text(json.dumps({"areas": [area]}))
    areas = read_areas(tmp_path / "areas.json")
    fake = FakePipeline(lambda _: [PERSON, FACE, OTHER])
    summary = run(fake, Request(source, tmp_path / "out", annotations=given, areas=areas))
    assert (summary.released, summary.redrawn, summary.redacted) == (1, {}, {})
    assert (summary.excluded, summary.consented, summary.with_areas) == ({"person": 1}, {"face": 1, "person": 1}, 1)
    record = ledger(tmp_path / "out")["a.png"]
    assert [i["label"] for i in record["excluded"]] == ["person"] and record["excluded"][0]["box"] == [70, 20, 100, 80]
    assert [i["source"] for i in record["consented"]] == ["given", "fake"]
    assert record["areas"] == {"exclude": ["bonnet <b>"], "proportion": 0.4688}
    assert record["provenance"]["areas"]["exclude"]["areas"] == ["bonnet <b>"]
    report = (tmp_path / "out/report.html").read_text()
    assert "Left as it was" in report and "bonnet &lt;b&gt;" in report and "agreed to be shown" in report
    (released,) = json.loads((tmp_path / "out/annotations/given.json").read_text())["annotations"]
    assert released["consent"] is True and "anonymizer" not in released
    assert np.array_equal(
        np.asarray(Pillow.open(tmp_path / "out/images/a.png")), np.asarray(Pillow.open(source / "a.png"))
    )
    assert audit(tmp_path / "out").clean
    # Another choice is another setting.
    with pytest.raises(InputError, match="other settings"):
        run(fake, Request(source, tmp_path / "out", annotations=given))


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({"consent": True}, True),
        ({"attributes": {"consent": True}}, True),
        ({"attributes": {"Consent": "TRUE"}}, True),
        ({"attributes": [{"name": "consent", "value": "true"}]}, True),
        ({"consent": False}, False),
        ({"consent": "yes"}, False),
        ({"consent": 1}, False),
        ({"consent": None}, False),
        ({"consent": True, "attributes": {"consent": False}}, False),
        ({"consent": True, "iscrowd": 1}, False),
        ({"consented": True}, False),
    ],
)
def test_only_a_plain_true_is_consent(tmp_path: Path, fields: dict[str, Any], left: bool) -> None:
    read = read_annotations(coco(tmp_path / "given.json", {"bbox": [20, 20, 30, 60], **fields}))
    given = read.instances("a.png", (96, 128))
    assert given is not None and [i.consent for i in given.instances] == [left]
    assert bool(given.remarks) == ("iscrowd" in fields)


VOC = """<annotation><size><width>128</width><height>96</height></size><object><name>person</name>
<attributes><attribute><name>consent</name><value>{}</value></attribute></attributes>
<bndbox><xmin>21</xmin><ymin>21</ymin><xmax>50</xmax><ymax>80</ymax></bndbox></object></annotation>"""
CVAT = """<annotations><image id="0" name="a.png" width="128" height="96"><box label="person" xtl="20" ytl="20"
xbr="50" ybr="80"><attribute name="consent">{}</attribute></box></image></annotations>"""
LABELME = (
    '{{"version": "5.0.0", "flags": {{}}, "imagePath": "a.png", "imageHeight": 96, "imageWidth": 128, "shapes": '
    '[{{"label": "person", "shape_type": "rectangle", "points": [[20, 20], [50, 80]], "flags": {{"consent": {}}}}}]}}'
)


@pytest.mark.parametrize(("name", "text"), [("a.xml", VOC), ("cvat.xml", CVAT), ("a.json", LABELME)])
@pytest.mark.parametrize("value", ["true", "false"])
def test_consent_is_read_in_other_formats_and_stays_in_what_is_released(
    tmp_path: Path, name: str, text: str, value: str
) -> None:
    (tmp_path / name).write_text(text.format(value))
    source = pictures(tmp_path / "in", "a.png", size=(128, 96))
    summary = run(FakePipeline(lambda _: [PERSON]), Request(source, tmp_path / "out", annotations=tmp_path / name))
    assert summary.consented == ({"person": 1} if value == "true" else {})
    assert summary.redrawn == ({} if value == "true" else {"person": 1})
    assert "consent" in (tmp_path / "out/annotations" / name).read_text()
