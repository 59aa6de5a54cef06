"""Released sets load in the tools they are made for, with pictures and annotations found."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anonymizer.run.audit import audit
from anonymizer.run.local import InProcess
from anonymizer.run.request import Request
from anonymizer.run.runner import execute

from .fakes import FakeAnonymizer, rejection

BOX = "1 0.25 0.5 0.25 0.5\n"
OUTLINE = "1 0.1 0.1 0.3 0.1 0.3 0.4 0.1 0.4\n"


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(folder / name)
    return folder


def loaded(out: Path, task: str = "detect") -> dict[str, dict[str, int]]:
    """Return by split, of every picture that ultralytics finds, how many labels it has; all files are in order."""
    from ultralytics.data.utils import check_det_dataset, img2label_paths, verify_image_label

    before = Path.cwd()
    os.chdir("/")  # Paths must not hang on where a user stands.
    try:
        data: dict[str, Any] = check_det_dataset(str(out / "annotations/data.yaml"), autodownload=False)
    finally:
        os.chdir(before)
    found: dict[str, dict[str, int]] = {}
    for split in ("train", "val", "test"):
        folders = data.get(split) or []
        listed = [
            path for folder in ([folders] if isinstance(folders, str) else folders) for path in Path(folder).rglob("*")
        ]
        files = sorted(str(path) for path in listed if path.suffix in (".jpg", ".png"))
        found[split] = {}
        for file, label in zip(files, img2label_paths(files), strict=True):
            checked = verify_image_label((file, label, "", task == "pose", data["nc"], 0, 0, False))
            missing, corrupt = checked[5], checked[8]
            assert (missing, corrupt) == (0, 0), checked[9]
            assert task != "segment" or len(checked[3]) == len(checked[1])
            found[split][Path(file).relative_to(out / "images").as_posix()] = len(checked[1])
    return found


@pytest.mark.parametrize("rename", [False, True])
def test_splits_beside_each_other_load_in_ultralytics(tmp_path: Path, rename: bool) -> None:
    from anonymizer.images.release import Release

    names = ("train/images/a.jpg", "train/images/b.jpg", "valid/images/c.jpg")
    pictures(tmp_path / "in", *names)
    put(tmp_path / "ann/README.roboflow.txt", "street - v1\n")
    put(tmp_path / "ann/train/labels/a.txt", OUTLINE)
    put(tmp_path / "ann/valid/labels/c.txt", OUTLINE)
    put(tmp_path / "ann/data.yaml", "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: [dog, person]\n")
    out = tmp_path / "out"
    release = Release(rename=rename)
    execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", out, annotations=tmp_path / "ann", release=release))
    found = loaded(out, "segment")
    if rename:
        assert [sorted(found[split].values()) for split in ("train", "val")] == [[1, 1], [1]]
    else:
        assert found["train"] == {names[0]: 1, names[1]: 1} and found["val"] == {names[2]: 1}
        assert (out / "images/train/labels/a.txt").read_bytes() == (
            out / "annotations/labels/train/images/a.txt"
        ).read_bytes()
    assert audit(out).clean
    # The picture without labels of its own was given the outline of what was found.
    (empty,) = [p for p in (out / "annotations/labels").rglob("*.txt") if p.read_text() != OUTLINE]
    assert len(empty.read_text().split()) >= 9
    # The same call again makes the same, and strays among the copies are told.
    assert (
        execute(
            InProcess(FakeAnonymizer()), Request(tmp_path / "in", out, annotations=tmp_path / "ann", release=release)
        ).skipped
        == 3
    )
    assert audit(out).clean
    put(out / "labels/stray.txt", "x")
    assert {finding.kind for finding in audit(out).findings} == {"extra"}
    execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", out, release=release))
    assert audit(out).clean and [path.name for path in out.rglob("*.txt")] == ["quarantine.txt"]


@pytest.mark.parametrize(
    ("names", "labels", "splits", "train", "val"),
    [
        (("a.jpg", "x/b.png"), "labels", "", {"a.jpg", "x/b.png"}, {"a.jpg", "x/b.png"}),
        (
            ("train/a.jpg", "val/b.jpg"),
            "labels",
            "train: images/train\nval: images/val\n",
            {"train/a.jpg"},
            {"val/b.jpg"},
        ),
        (
            ("train/a.jpg",),
            ".",
            "path: /data\ntrain: /data/train\nval: [val, test]\n",
            {"train/a.jpg"},
            {"train/a.jpg"},
        ),
        (("images/train/a.jpg",), "labels", "train: [images/train]\nval: x.txt\n", {"images/train/a.jpg"}, None),
    ],
)
def test_every_layout_loads_in_ultralytics(
    tmp_path: Path, names: tuple[str, ...], labels: str, splits: str, train: set[str], val: set[str] | None
) -> None:
    pictures(tmp_path / "in", *names)
    for name in names:
        put((tmp_path / "ann" / labels / name.removeprefix("images/")).with_suffix(".txt"), BOX)
    put(tmp_path / "ann/data.yaml", f"{splits}names: [dog, person]\ndownload: touch /tmp/never\n")
    execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", tmp_path / "out", annotations=tmp_path / "ann"))
    found = loaded(tmp_path / "out")
    assert (found["train"], found["val"]) == (dict.fromkeys(train, 1), dict.fromkeys(train if val is None else val, 1))
    assert "download" not in (tmp_path / "out/annotations/data.yaml").read_text()


def test_lines_that_tools_refuse_are_put_right_or_left_out(tmp_path: Path) -> None:
    lines = [
        "1 0.25 0.5 0.25 0.5 0.87",
        "1.0 0.25 0.5 0.25 0.25",
        "9 0.5 0.5 0.1 0.1",
        "1 0.5 x",
        "1 0.9 0.5 0.3 0.3",
        "1 1.05 0.5 0.3 0.3",
        "1 1.5 0.5 0.1 0.1",
    ]
    pictures(tmp_path / "in", "a.jpg", "b.jpg")
    put(tmp_path / "ann/a.txt", "\n".join(lines))
    put(tmp_path / "ann/b.txt", OUTLINE + "1 0.5 0.5 0.25 0.25\n1 0.1 0.1 1.3 0.1 1.3 0.4 0.1 0.4 0.9\n")
    put(tmp_path / "ann/classes.txt", "dog\nperson\n")
    execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", tmp_path / "out", annotations=tmp_path / "ann"))
    assert loaded(tmp_path / "out")["train"] == {"a.jpg": 4, "b.jpg": 3}
    a = (tmp_path / "out/annotations/labels/a.txt").read_text().splitlines()
    assert a[:3] == ["1 0.25 0.5 0.25 0.5", lines[1], lines[4]]
    assert a[3] == "1 0.950000 0.500000 0.100000 0.300000"
    b = (tmp_path / "out/annotations/labels/b.txt").read_text().splitlines()
    assert b[0] == OUTLINE.strip() and b[1].split()[1:5] == ["0.375000", "0.375000", "0.625000", "0.375000"]


def test_the_style_is_that_of_most_files_and_of_each_file_first(tmp_path: Path) -> None:
    from anonymizer.annotations.reading import read_annotations

    put(tmp_path / "0.txt", "")
    put(tmp_path / "1.txt", BOX)
    put(tmp_path / "2.txt", OUTLINE)
    put(tmp_path / "3.txt", OUTLINE)
    put(tmp_path / "README.txt", "1 2 3 4 5\nread me\n")
    put(tmp_path / "classes.txt", "dog\nperson\n")
    assert read_annotations(tmp_path).codec.segments is True  # type: ignore[union-attr]
    put(tmp_path / "4.txt", BOX)
    assert read_annotations(tmp_path).codec.segments is False  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["voc", "cityscapes"])
def test_files_of_pictures_that_differ_in_the_suffix_alone_stay_apart(tmp_path: Path, kind: str) -> None:
    pictures(tmp_path / "in", "a.jpg", "a.png", "b.png")
    if kind == "voc":
        put(tmp_path / "ann/b.xml", "<annotation></annotation>")
    else:
        put(tmp_path / "ann/b_gtFine_polygons.json", '{"imgHeight": 60, "imgWidth": 80, "objects": []}')
    out = tmp_path / "out"
    summary = execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", out, annotations=tmp_path / "ann"))
    assert summary.released == 3
    ending = ".xml" if kind == "voc" else "_gtFine_polygons.json"
    files = {path.name for path in (out / "annotations").iterdir()}
    assert files == {f"a{ending}", f"a.png{ending}", f"b{ending}"}
    if kind == "voc":
        assert "<filename>a.jpg<" in (out / "annotations/a.xml").read_text()
        assert "<filename>a.png<" in (out / "annotations/a.png.xml").read_text()
    from anonymizer.annotations.reading import read_annotations

    again = read_annotations(out / "annotations").placed(["a.jpg", "a.png", "b.png"]).placement
    assert again is not None and again.keys == {"a.jpg": "a", "a.png": "a.png", "b.png": "b"}


def test_tools_files_beside_labels_are_no_annotations(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.jpg")
    put(tmp_path / "ann/labels/a.txt", BOX)
    put(tmp_path / "ann/classes.txt", "dog\nperson\n")
    put(tmp_path / "ann/notes.json", '{"categories": [{"id": 0, "name": "dog"}], "info": {"contributor": "x"}}')
    put(tmp_path / "ann/train.txt", "images/a.jpg\n")
    summary = execute(
        InProcess(FakeAnonymizer()), Request(tmp_path / "in", tmp_path / "out", annotations=tmp_path / "ann")
    )
    assert summary.redrawn == {"person": 1} and summary.annotations is not None
    assert summary.annotations["fits_no_picture"] == [] and summary.annotations["left_alone"] == ["dog"]
    put(tmp_path / "ann/args.yaml", "task: detect\n")
    put(tmp_path / "ann/list.yaml", "- a\n")
    put(tmp_path / "ann/broken.yaml", "a: [\n")
    put(tmp_path / "ann/data.yaml", "names: [dog, person]\n")
    summary = execute(
        InProcess(FakeAnonymizer()), Request(tmp_path / "in", tmp_path / "two", annotations=tmp_path / "ann")
    )
    assert summary.redrawn == {"person": 1}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("given", [True, False])
def test_coco_loads_in_pycocotools_with_results_on_top(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: bool
) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    pictures(tmp_path / "in", "a.jpg", "b.jpg", "held.jpg")
    document = {
        "images": [{"id": "7", "file_name": "a.jpg"}, {"id": 7.0, "file_name": "lost.jpg"}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {"id": 1, "image_id": "7", "category_id": 1, "bbox": [5, 5, 10, 10], "area": 100, "iscrowd": 0},
            {"id": 1, "image_id": "7", "category_id": 1, "bbox": [25, 5, 10, 10], "area": 100, "iscrowd": 0},
        ],
    }
    anonymizer = FakeAnonymizer()
    anonymizer.raises = {"held.jpg": rejection()}
    annotations = put(tmp_path / "ann.json", json.dumps(document)) if given else None
    execute(InProcess(anonymizer), Request(tmp_path / "in", tmp_path / "out", annotations=annotations))
    for file in [tmp_path / "out/annotations.json", *(tmp_path / "out/annotations").glob("*.json")]:
        truth = COCO(str(file))
        ours = {"anonymizer_schema": 2} if file.parent == tmp_path / "out" else {}
        assert (truth.dataset["info"], truth.dataset["licenses"]) == (ours, [])
        truth.info()
        ids = truth.getAnnIds()
        assert len(set(ids)) == len(ids) == len(truth.dataset["annotations"]) == (3 if given else 2)
        assert all(truth.anns[n]["image_id"] in truth.imgs for n in ids)
        assert len({type(number) for number in truth.imgs}) == 1
        results = [{k: truth.anns[n][k] for k in ("image_id", "category_id", "bbox")} | {"score": 0.9} for n in ids]
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == pytest.approx(1.0)
    capsys.readouterr()
