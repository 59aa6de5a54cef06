import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from anonymizer.annotations.coco import read_coco
from anonymizer.annotations.export import coco_out, released_record, side_path
from anonymizer.annotations.records import Page, added_record
from anonymizer.annotations.rle import decode_rle, encode_rle
from anonymizer.core.errors import InputError
from anonymizer.core.geometry import full_mask
from anonymizer.core.records import Instance, Result, Treatment, Verdict

SIZE = (60, 80)


def document(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "info": {"year": 2024},
        "categories": [{"id": 7, "name": "Person"}, {"id": 9, "name": "car", "supercategory": "vehicle"}],
        "images": [{"id": 5, "file_name": "a/1.png", "width": 80, "height": 60, "weather": "rain", "coco_url": "u"}],
        "annotations": [
            {"id": 3, "image_id": 5, "category_id": 7, "bbox": [10, 10, 20, 30], "text": "B-XY 12", "occluded": 1},
            {"id": 4, "image_id": 5, "category_id": 9, "bbox": [1, 1, 5, 5], "colour": "red"},
        ],
    }
    return base | changes


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "annotations.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def with_record(**fields: Any) -> dict[str, Any]:
    return document(annotations=[{"id": 3, "image_id": 5, "category_id": 7} | fields])


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_run_lengths_agree_with_pycocotools(seed: int, height: int, width: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    x1, y1 = int(rng.integers(width)), int(rng.integers(height))
    x2, y2 = int(rng.integers(x1, width)) + 1, int(rng.integers(y1, height)) + 1
    mask = rng.random((y2 - y1, x2 - x1)) < density
    whole = np.zeros((height, width), bool)
    whole[y1:y2, x1:x2] = mask
    ours = encode_rle(mask, (x1, y1, x2, y2), (height, width))
    assert ours["counts"] == coco.encode(np.asfortranarray(whole.astype(np.uint8)))["counts"].decode()
    back = np.zeros_like(whole)
    decoded = decode_rle(ours, (height, width), "x")
    if decoded is not None:
        (a, b, c, d), inner = decoded
        back[b:d, a:c] = inner
    assert np.array_equal(back, whole)


@given(st.text(max_size=12) | st.lists(st.integers(-5, 100), max_size=6))
@settings(max_examples=150, deadline=None)
def test_damaged_run_lengths_never_pass_silently(counts: Any) -> None:
    try:
        decoded = decode_rle({"size": [4, 5], "counts": counts}, (4, 5), "x")
    except InputError:
        return
    assert decoded is None or decoded[1].size <= 20


def given_in(path: Path, name: str = "a/1.png") -> tuple[Instance, ...]:
    given = read_coco(path).instances(name, SIZE)
    assert given is not None
    return given.instances


def test_boxes_polygons_and_run_lengths_become_masks(tmp_path: Path) -> None:
    square = np.zeros(SIZE, np.uint8)
    square[10:40, 10:30] = 1
    packed = coco.encode(np.asfortranarray(square))
    flat = [10 * 60 + 10, 30] + [30, 30] * 19
    flat.append(60 * 80 - sum(flat))
    forms: list[Any] = [
        [],
        [[10, 10, 30, 10, 30, 40, 10, 40]],
        {"size": [60, 80], "counts": packed["counts"].decode()},
        {"size": [60, 80], "counts": flat},
    ]
    for form in forms:
        path = written(tmp_path, with_record(bbox=[10, 10, 20, 30], segmentation=form))
        found = given_in(path)
        assert found[0].label == "person"
        assert np.array_equal(full_mask(found[0], SIZE), square.astype(bool))
        assert found[0].source == "given"


def test_a_face_with_only_a_box_is_an_ellipse(tmp_path: Path) -> None:
    path = written(tmp_path, with_record(bbox=[10, 10, 20, 30]) | {"categories": [{"id": 7, "name": "face"}]})
    found = given_in(path)
    assert not found[0].mask[0, 0]
    assert found[0].mask.mean() == pytest.approx(np.pi / 4, abs=0.03)


def test_a_segmentation_beyond_its_box_is_not_cut(tmp_path: Path) -> None:
    path = written(tmp_path, with_record(bbox=[20, 20, 4, 4], segmentation=[[10, 10, 30, 10, 30, 40, 10, 40]]))
    found = given_in(path)
    assert full_mask(found[0], SIZE)[10:40, 10:30].all()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "JSON"),
        ("[" * 100_000, "JSON"),
        ("[]", "object"),
        (document(images=None), "images"),
        (document(categories=[{"id": 1}]), "categories none, expected one of"),
        (document(categories=[{"id": 7, "name": "dog"}, {"id": 9, "name": "car"}]), "dog"),
        (document(categories=[{"id": 7, "name": "person"}, {"id": 7, "name": "car"}]), "stands twice"),
        (document(categories=[{"id": 7, "name": "person"}, {"id": 9, "name": "face-occluded"}]), "face-occluded=face"),
    ],
)
def test_malformed_files_are_refused_when_read(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_coco(written(tmp_path, content))
    assert "\n" not in str(caught.value)


def remarks_in(path: Path, name: str = "a/1.png") -> list[str]:
    given = read_coco(path).instances(name, SIZE)
    assert given is not None
    return [str(remark) for remark in given.remarks]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "neither box nor outline"),
        ({"keypoints": [1, 2, 2]}, "keypoints only"),
        ({"bbox": [1, 1, float("nan"), 2]}, "finite"),
        ({"bbox": [1, 1, 0, 2]}, "without area"),
        ({"bbox": [1, 1, "5", 2]}, "finite"),
        ({"bbox": [90, 10, 20, 20]}, "outside of the picture"),
        ({"bbox": [-30, 10, 20, 20]}, "outside of the picture"),
        ({"bbox": [80, 10, 1, 1]}, "outside of the picture"),
        ({"segmentation": "text"}, "neither polygons nor run lengths"),
        ({"segmentation": [[1, 2, 3, 4]]}, "fewer than 3 points"),
        ({"segmentation": [[1, 2, 3, 4, 5, float("inf")]]}, "finite"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "half a point"),
        ({"segmentation": [[100, 10, 300, 10, 130, 30]]}, "outside of the picture"),
        ({"segmentation": {"size": [60, 80], "counts": [1, 2, 3]}}, "run lengths"),
        ({"segmentation": {"size": [60, 80], "counts": "~~~"}}, "run lengths"),
        ({"segmentation": {"size": [60, 80]}}, "run lengths"),
    ],
)
def test_an_odd_record_costs_itself_alone_and_is_named(tmp_path: Path, fields: Any, words: str) -> None:
    path = written(tmp_path, with_record(**fields))
    assert given_in(path) == ()
    (remark,) = remarks_in(path)
    assert remark.startswith("annotation 3: ") and words in remark and remark.endswith("left out")
    if "bbox" not in fields:  # A sound box stands where the outline is of no use.
        path = written(tmp_path, with_record(**fields, bbox=[10, 10, 20, 30]))
        assert full_mask(given_in(path)[0], SIZE).sum() == 600
        assert len(remarks_in(path)) == bool(fields.get("segmentation"))


def test_run_lengths_of_another_size_hold_the_picture_back(tmp_path: Path) -> None:
    record = {"bbox": [10, 10, 20, 30], "segmentation": {"size": [80, 60], "counts": [4800]}}
    annotations = read_coco(written(tmp_path, with_record(**record)))
    with pytest.raises(InputError, match="run lengths of a picture of 60x80, this one is 80x60"):
        annotations.instances("a/1.png", SIZE)


@pytest.mark.parametrize(
    ("fields", "box", "words"),
    [
        ({"bbox": [-10, 20, 30, 60]}, [0, 20, 20, 60], "cut at the picture's border"),
        ({"bbox": [30, 40, -20, -30]}, [10, 10, 30, 40], "swapped corners"),
        ({"segmentation": [[-8, 20, 21, 20, 21, 70, -8, 70]]}, [0, 20, 21, 60], "cut at the picture's border"),
        ({"segmentation": [10, 10, 30, 10, 30, 40, 10, 40]}, [10, 10, 30, 40], ""),
        ({"segmentation": [[10, 10, 30, 10, 30, 40, 10, 40], [1, 1, 2, 2]]}, [10, 10, 30, 40], "fewer than 3"),
        ({"segmentation": [[-1e6, -1e6, 1e6, -1e6, 1e6, 1e6, -1e6, 1e6]]}, [0, 0, 80, 60], "cut"),
    ],
)
def test_what_can_be_mended_is(tmp_path: Path, fields: Any, box: list[float], words: str) -> None:
    path = written(tmp_path, with_record(**fields))
    assert given_in(path)[0].box.tolist() == box
    assert [words in remark for remark in remarks_in(path)] == ([True] if words else [])


def test_a_slanted_outline_is_cut_and_not_bent_at_the_border(tmp_path: Path) -> None:
    path = written(tmp_path, with_record(segmentation=[[-40, 30, 40, -50, 40, 110]]))  # x + y = -10 and its mirror
    mask = full_mask(given_in(path)[0], SIZE)
    assert mask[:, :40].all() and not mask[:, 41:].any()
    path = written(tmp_path, with_record(segmentation=[[-40, 30, 40, -10, 40, 70]]))
    mask = full_mask(given_in(path)[0], SIZE)
    assert not mask[5, 2] and mask[30, 2]  # at x = 2 it reaches from 9 to 51


def test_ids_are_taken_as_other_readers_take_them(tmp_path: Path) -> None:
    box = {"bbox": [10, 10, 20, 30]}
    records = [
        {"id": 3, "image_id": 5, "category_id": 7, **box},
        {"id": 3, "image_id": "5", "category_id": 7.0, **box},
        {"id": "x", "image_id": 5.0, "category_id": "7", **box},
        {"image_id": 5, "category_id": 7, **box},
        {"id": 9, "image_id": 99, "category_id": 7, **box},
        {"id": 10, "image_id": 5, "category_id": 99, **box},
        5,
    ]
    images = [{"id": 5, "file_name": "a/1.png", "width": None, "height": 60.0}, {"id": 8}, {"id": 6, "file_name": "b"}]
    path = written(tmp_path, document(annotations=records, images=images))
    annotations = read_coco(path)
    assert len(given_in(path)) == 4
    assert [instance.record["id"] for instance in given_in(path) if instance.record] == [3, 11, "x", 12]
    assert len(remarks_in(path)) == 3 and "category is not among" in " ".join(remarks_in(path))
    told = " ".join(map(str, annotations.remarks))
    assert "annotation 9: its image is not among" in told and "image at place 2: without file_name" in told
    assert "annotation at place 7: no record" in told
    (given,) = [annotations.instances("a/1.png", SIZE)]
    assert given is not None
    image = {"id": 5, "file_name": "c/1.png"}
    twice = read_coco(written(tmp_path, document(annotations=records[:1], images=[images[0], image])))
    assert "image 2 of 2: without an id of its own" in " ".join(map(str, twice.remarks))
    for name in ("a/1.png", "c/1.png"):
        with pytest.raises(InputError, match="share the id"):
            twice.instances(name, SIZE)
    assert set(twice.placed(["a/1.png", "c/1.png", "d.png"]).placement.held) == {"a/1.png", "c/1.png"}  # type: ignore[union-attr]
    same = read_coco(written(tmp_path, document(annotations=records[:1], images=[images[0]] * 2)))
    with pytest.raises(InputError, match="fit it equally well"):
        same.instances("a/1.png", SIZE)


def test_a_picture_of_another_size_is_refused_and_an_unknown_one_has_no_instances(tmp_path: Path) -> None:
    annotations = read_coco(written(tmp_path, document()).parent)
    with pytest.raises(InputError, match="60x80"):
        annotations.instances("a/1.png", (80, 60))
    assert annotations.instances("other.png", SIZE) is None
    assert annotations.digest("other.png") is None


def test_pictures_that_fit_nothing_are_refused_and_such_that_fit_equally_well_are_held(tmp_path: Path) -> None:
    annotations = read_coco(written(tmp_path, document()))
    assert annotations.image("images/1.png") is annotations.image("a/1.png")
    placed = annotations.placed(["a/1.png", "b/2.png"])
    assert placed.placement is not None and placed.placement.bare == ("b/2.png",)
    placed = annotations.placed(["x/1.png", "y/1.png"])
    assert placed.placement is not None and set(placed.placement.held) == {"x/1.png", "y/1.png"}
    with pytest.raises(InputError, match="equally well"):
        placed.instances("x/1.png", SIZE)
    with pytest.raises(InputError, match="none of"):
        annotations.placed(["2.png"])


def test_released_annotations_keep_what_was_given_but_what_identifies(tmp_path: Path) -> None:
    path = written(tmp_path, document())
    annotations = read_coco(path)
    image = np.zeros((*SIZE, 3), np.uint8)
    found = given_in(path)
    result = Result(image, found, (Treatment(1, "redacted", 3),), (Verdict("x", True),), np.ones(SIZE, bool))
    side = side_path(tmp_path, "a/1.png")
    side.parent.mkdir()
    page = Page("a/1.png", "a/1.png", SIZE, tuple(zip(result.instances, result.treatments, strict=True)))
    side.write_text(json.dumps(released_record(page, annotations)))
    out = json.loads(b"".join(coco_out(["a/1.png"], tmp_path, annotations)))
    assert out["info"] == {"year": 2024, "anonymizer_schema": 2} and out["licenses"] == []
    assert out["images"] == [{"id": 5, "file_name": "a/1.png", "width": 80, "height": 60, "weather": "rain"}]
    person, car = out["annotations"]
    assert person["id"] == 3
    assert person["category_id"] == 7
    assert (person["action"], person["attempts"], person["source"]) == ("redacted", 3, "given")
    assert person["occluded"] == 1
    assert "text" not in person
    assert person["bbox"] == [10, 10, 20, 30]
    assert coco.area(person["segmentation"]) == person["area"] == 600
    assert car == {k: v for k, v in document()["annotations"][1].items() if k != "colour"}
    assert {"id": 7, "name": "Person"} in out["categories"]
    assert len({category["id"] for category in out["categories"]}) == len(out["categories"])


def test_what_was_treated_beside_the_object_comes_back(tmp_path: Path) -> None:
    mask, core = np.ones((20, 30), bool), np.zeros((20, 30), bool)
    core[4:16, 5:25] = True
    person = Instance(1, "person", np.array([10, 8, 40, 28], np.float32), mask, 0.9, "yolo", core=core)
    record = added_record(person, (60, 80)) | {"id": 1, "image_id": 1, "category_id": 1}
    assert record["area"] == core.sum() and record["bbox"] == [15, 12, 20, 12]
    document = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [record],
        "categories": [{"id": 1, "name": "person"}],
    }
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(document))
    (again,) = given_in(path, "a.png")
    assert (again.box == person.box).all()
    assert (again.mask == mask).all() and (again.outline == core).all()


def test_a_missing_side_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing or damaged"):
        b"".join(coco_out(["a.png"], tmp_path, None))


def test_an_unknown_field_of_the_same_name_is_no_region(tmp_path: Path) -> None:
    document = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 10, 10], "treated": {"by": "us"}}],
        "categories": [{"id": 1, "name": "person"}],
    }
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(document))
    (person,) = given_in(path, "a.png")
    assert person.core is None and person.mask.all()
