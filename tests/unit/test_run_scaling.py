"""Results at a smaller size or another quality, with annotations, maps and ledger that fit."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anonymizer.annotations.reading import read_annotations
from anonymizer.annotations.rle import decode_rle, encode_rle
from anonymizer.annotations.shapes import scaled_record
from anonymizer.core.errors import InputError
from anonymizer.core.geometry import full_mask
from anonymizer.core.records import Instance, Result, Treatment
from anonymizer.images.decode import decode_image, read_image
from anonymizer.images.release import Release
from anonymizer.run.audit import audit
from anonymizer.run.local import run
from anonymizer.run.request import Request
from anonymizer.run.scaling import scaled_decoded, scaled_instance, scaled_result, size_within

from .fakes import FakeAnonymizer
from .test_run_local import ledger, pictures


@pytest.mark.parametrize(
    ("size", "longest", "wanted"),
    [
        ((100, 200), None, (100, 200)),
        ((100, 200), 200, (100, 200)),
        ((100, 200), 64, (32, 64)),
        ((5, 900), 64, (1, 64)),
    ],
)
def test_the_longer_side_decides(size: tuple[int, int], longest: int | None, wanted: tuple[int, int]) -> None:
    assert size_within(size, longest) == wanted


def test_every_pixel_of_an_instance_keeps_a_place_in_the_smaller_picture() -> None:
    rng = np.random.default_rng(0)
    before, after = (97, 131), (47, 64)
    for _ in range(50):
        x1, y1 = rng.integers(0, 120), rng.integers(0, 90)
        w, h = rng.integers(1, 131 - x1 + 1), rng.integers(1, 97 - y1 + 1)
        mask = rng.random((h, w)) < 0.3
        mask[0, 0] = True
        box = np.array([x1, y1, x1 + w, y1 + h], np.float32)
        small = scaled_instance(Instance(1, "person", box, mask, core=mask & (rng.random((h, w)) < 0.5)), before, after)
        rows, columns = np.nonzero(mask)
        wanted = np.zeros(after, bool)
        wanted[((rows + y1 + 0.5) * 47 / 97).astype(int), ((columns + x1 + 0.5) * 64 / 131).astype(int)] = True
        assert np.array_equal(full_mask(small, after), wanted)


def test_a_record_is_scaled_with_all_its_geometry() -> None:
    mask = np.zeros((40, 80), bool)
    mask[10:20, 20:60] = True
    runs = encode_rle(mask, (0, 0, 80, 40), (40, 80))
    record = {
        "id": 7,
        "bbox": [20, 10, 40, 10],
        "area": 400,
        "segmentation": [[20, 10, 60, 10, 60, 20]],
        "keypoints": [20, 10, 2, 60, 20, 1],
        "face_box": [20, 10, 4, 4],
        "treated": runs,
        "iscrowd": 0,
    }
    small = scaled_record(record, (40, 80), (20, 40))
    assert small["bbox"] == [10, 5, 20, 5] and small["area"] == 100 and small["face_box"] == [10, 5, 2, 2]
    assert small["segmentation"] == [[10, 5, 30, 5, 30, 10]] and small["keypoints"] == [10, 5, 2, 30, 10, 1]
    part = decode_rle(small["treated"], (20, 40), "treated")
    assert part is not None and part[0] == (10, 5, 30, 10) and part[1].all()
    assert (small["id"], small["iscrowd"]) == (7, 0)
    # What cannot be read would point elsewhere.
    odd = {"bbox": ["x"], "segmentation": {"size": [9, 9], "counts": [81]}, "id": 1}
    assert scaled_record(odd, (40, 80), (20, 40)) == {"id": 1}


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_picture_is_released_scaled_and_the_ledger_says_so(tmp_path: Path, name: str) -> None:
    source = pictures(tmp_path / "in", name, size=(320, 200))
    run(FakeAnonymizer(), Request(source, tmp_path / "out", release=Release(max_side=160, write=("masks",))))
    assert read_image(tmp_path / "out/images" / name).size == (100, 160)
    record = ledger(tmp_path / "out")[name]
    assert record["size"] == [100, 160] and record["scaled_from"] == [200, 320]
    assert "scaled from 320x200 to 160x100" in record["notes"]
    assert record["instances"][0]["box"] == [0, 0, 80, 50]
    assert record["provenance"]["release"]["max_side"] == 160
    coco = json.loads((tmp_path / "out/annotations.json").read_text())
    assert (coco["images"][0]["width"], coco["annotations"][0]["bbox"]) == (160, [0, 0, 80, 50])
    masks = np.asarray(Image.open(tmp_path / "out/masks/a.png"))
    assert masks.shape == (100, 160) and (masks[:50, :80] == 1).all() and not masks[50:].any()
    assert audit(tmp_path / "out").clean


def test_untreated_pixels_are_means_of_the_originals_and_small_pictures_stay(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", size=(320, 200))
    run(FakeAnonymizer(), Request(source, tmp_path / "out", release=Release(max_side=160)))
    original = np.asarray(Image.open(source / "a.png")).astype(float)
    means = original.reshape(100, 2, 160, 2, 3).mean(axis=(1, 3))
    released = read_image(tmp_path / "out/images/a.png").pixels.astype(float)
    assert np.abs(released[50:] - means[50:]).max() <= 0.5
    assert np.abs(released[:50, :80] - means[:50, :80]).mean() > 20
    run(FakeAnonymizer(), Request(source, tmp_path / "same", release=Release(max_side=320)))
    assert "scaled_from" not in ledger(tmp_path / "same")["a.png"]
    assert np.array_equal(read_image(tmp_path / "same/images/a.png").pixels[100:], original[100:])


def test_sixteen_bit_pictures_and_panoramas_are_scaled(tmp_path: Path) -> None:
    import cv2

    (tmp_path / "in").mkdir()
    deep = np.random.default_rng(0).integers(0, 65536, (200, 320, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "in/a.png"), deep)
    assert (
        run(FakeAnonymizer(), Request(tmp_path / "in", tmp_path / "out", release=Release(max_side=160))).released == 1
    )
    released = read_image(tmp_path / "out/images/a.png")
    assert released.deep is not None and released.deep.shape == (100, 160, 3)
    means = deep[..., ::-1].astype(float).reshape(100, 2, 160, 2, 3).mean(axis=(1, 3))
    assert np.abs(released.deep[50:] - means[50:]).max() <= 1


def given_for(folder: Path, kind: str) -> Path:
    folder.mkdir()
    if kind == "coco":
        document: dict[str, Any] = {
            "images": [{"id": 4, "file_name": "a.png", "width": 320, "height": 200}],
            "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}],
            "annotations": [
                {"id": 1, "image_id": 4, "category_id": 1, "bbox": [20, 20, 60, 100], "area": 6000},
                {"id": 2, "image_id": 4, "category_id": 2, "bbox": [200, 20, 60, 100], "area": 6000},
            ],
        }
        (folder / "given.json").write_text(json.dumps(document))
        return folder / "given.json"
    if kind == "yolo":
        (folder / "classes.txt").write_text("person\ncar\n")
        (folder / "a.txt").write_text("0 0.15625 0.35 0.1875 0.5\n1 0.7 0.35 0.1875 0.5\n")
        return folder
    (folder / "a.xml").write_text(
        "<annotation><object><name>person</name><bndbox><xmin>21</xmin><ymin>21</ymin><xmax>80</xmax><ymax>120</ymax>"
        "</bndbox></object></annotation>"
    )
    return folder


def test_coco_annotations_are_scaled_also_of_what_was_not_treated(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", size=(320, 200))
    given = given_for(tmp_path / "given", "coco")
    run(FakeAnonymizer(), Request(source, tmp_path / "out", annotations=given, release=Release(max_side=160)))
    for path in ("annotations/given.json", "annotations.json"):
        document = json.loads((tmp_path / "out" / path).read_text())
        assert (document["images"][0]["width"], document["images"][0]["height"]) == (160, 100)
        boxes = {r["id"]: (r["bbox"], r["area"]) for r in document["annotations"]}
        assert boxes[2] == ([100, 10, 30, 50], 1500)
        assert boxes[1][0] == [10, 10, 30, 50]
    # What was released fits what was released.
    again = read_annotations(tmp_path / "out/annotations/given.json").instances("a.png", (100, 160))
    assert again is not None and [i.box.tolist() for i in again.instances] == [[10, 10, 40, 60]]


def test_yolo_annotations_stay_and_pixels_of_other_formats_are_refused(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", size=(320, 200))
    release = Release(max_side=160)
    run(
        FakeAnonymizer(),
        Request(source, tmp_path / "out", annotations=given_for(tmp_path / "yolo", "yolo"), release=release),
    )
    (path,) = (tmp_path / "out/annotations").rglob("a.txt")
    lines = path.read_text().splitlines()
    assert [float(v) for v in lines[1].split()] == pytest.approx([1, 0.7, 0.35, 0.1875, 0.5], abs=1e-5)
    coco = json.loads((tmp_path / "out/annotations.json").read_text())
    assert coco["annotations"][0]["bbox"] == pytest.approx([10, 10, 30, 50], abs=0.01)
    fake = FakeAnonymizer()
    with pytest.raises(InputError, match="voc cannot be scaled"):
        run(
            fake, Request(source, tmp_path / "voc-out", annotations=given_for(tmp_path / "voc", "voc"), release=release)
        )
    assert fake.calls == []


def test_quality_is_that_of_lossy_files_and_named(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.jpg", "b.png", "c.avif", size=(320, 200))
    for quality in (30, 90):
        output = tmp_path / str(quality)
        assert run(FakeAnonymizer(), Request(source, output, release=Release(quality=quality))).released == 3
        assert ledger(output)["a.jpg"]["provenance"]["release"]["quality"] == quality
        assert "written as JPEG with losses" in ledger(output)["a.jpg"]["notes"]
    for name in ("a.jpg", "c.avif"):
        small, large = ((tmp_path / q / "images" / name).stat().st_size for q in ("30", "90"))
        assert small < large / 1.5
    assert len({(tmp_path / q / "images/b.png").read_bytes() for q in ("30", "90")}) == 1


def test_where_the_original_showed_it_is_scaled_too() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    treatment = Treatment(1, "redrawn", 1, found=(20.0, 10.0, 60.0, 50.0))
    result = Result(image, (), (treatment, Treatment(2, "redacted", 0)), (), np.zeros((100, 200), bool))
    decoded = scaled_decoded(decode_image(encoded(image), "a.png"), (50, 100))
    first, second = scaled_result(result, decoded).treatments
    assert first.found == (10, 5, 30, 25) and second.found is None


def encoded(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("settings", [{"max_side": 63}, {"quality": 0}, {"quality": 101}])
def test_numbers_out_of_range_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(InputError, match="expected"):
        Release(**settings)  # type: ignore[arg-type]
