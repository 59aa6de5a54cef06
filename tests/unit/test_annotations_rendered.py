"""Labels out of a rendering: outlines that show, COCO's joints, maps beside pictures, and avatars of one identity."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from anonymizer.annotations.reading import read_annotations
from anonymizer.annotations.rendered import COCO_JOINTS, instance_map, joints_of, placed_joints, visible
from anonymizer.core.errors import InputError, StageError
from anonymizer.core.records import Instance, Rendering, Result, Treatment
from anonymizer.images.release import Release
from anonymizer.redraw.avatars import draw_avatars, seen_by
from anonymizer.run.audit import audit
from anonymizer.run.local import InProcess
from anonymizer.run.request import Request
from anonymizer.run.runner import execute

from .fakes import FakeAnonymizer
from .test_flow_pipeline import PERSON, picture
from .test_redraw_avatars import Artist, rendering

SIZE = (60, 80)
#: Two persons, the second nearer and over the right part of the first.
FAR, NEAR = (10, 10, 40, 50), (30, 10, 60, 50)


def person(number: int, box: tuple[int, int, int, int]) -> Instance:
    mask = np.ones((box[3] - box[1], box[2] - box[0]), bool)
    core = mask.copy()
    core[:, :5] = False
    return Instance(number, "person", np.array(box, np.float32), mask, core=core)


def drawn(box: tuple[int, int, int, int]) -> Rendering:
    """An avatar over a box: nose in its middle, an eye at its right end, an ear outside of the picture."""
    joints = np.zeros((17, 3), np.float32)
    joints[:, :2] = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    joints[:, 2] = 1
    joints[1, :2] = box[2] - 2, box[1] + 20
    joints[3] = -5, 12, 1
    joints[4, 2] = 0
    made = rendering(box)
    parts = np.full(made.parts.shape, 3, np.uint8)
    parts[:, :6] = 0
    return replace(made, joints=joints, parts=parts)


def result(**changes: Any) -> Result:
    face = Instance(3, "face", np.array([15, 10, 25, 20], np.float32), parent=1)
    image = np.zeros((*SIZE, 3), np.uint8)
    return replace(
        Result(
            image=image,
            instances=(person(1, FAR), person(2, NEAR), face),
            treatments=tuple(Treatment(n, "redrawn", 1, 0.5 if n < 3 else None) for n in (1, 2, 3)),
            verdicts=(),
            treated=np.ones(SIZE, bool),
            renderings={1: drawn(FAR), 2: drawn(NEAR)},
            order=(1, 2, 3),
            depth=np.linspace(0, 1, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE),
        ),
        **changes,
    )


class Drawing(FakeAnonymizer):
    """Puts an avatar in the place of each person."""

    def __call__(self, image: Any, instances: Any = None, *, key: str = "") -> Result:
        made = super().__call__(image, instances, key=key)
        persons = [i for i in made.instances if i.label == "person"]
        boxes = {i.id: tuple(int(v) for v in i.box) for i in persons}
        return replace(
            made,
            instances=tuple(
                person(i.id, boxes[i.id]) if i.id in boxes and i.record is None else i for i in made.instances
            ),
            renderings={number: drawn(box) for number, box in boxes.items()},
            treatments=tuple(replace(t, mask_iou=0.25 if t.instance_id in boxes else None) for t in made.treatments),
            order=tuple(i.id for i in made.instances),
            depth=np.full(image.shape[:2], 0.5, np.float32),
        )


def run(tmp_path: Path, fake: FakeAnonymizer | None = None, **options: Any) -> Any:
    return execute(InProcess(fake or Drawing()), Request(tmp_path / "in", tmp_path / "out", **options))


def pictures(tmp_path: Path, *names: str) -> None:
    for name in names:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(len(name)).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)


def ledger(tmp_path: Path) -> dict[str, dict[str, Any]]:
    lines = (tmp_path / "out/ledger.jsonl").read_text().splitlines()
    return {record["name"]: record for record in map(json.loads, lines)}


def test_what_nearer_ones_cover_is_hidden_and_faces_are_their_persons() -> None:
    made = result()
    ids = instance_map(made)
    assert ids[30, 20] == 1 and ids[30, 38] == 2 and ids[15, 20] == 1 and ids[5, 5] == 0
    assert ids[30, 32] == 1, "the nearer outline begins five pixels inside of its box"
    first, second, _ = visible(made, ids)
    assert first.outline.sum() == 40 * 20 and second.outline.sum() == 40 * 25
    assert instance_map(replace(made, order=(2, 1, 3)))[30, 38] == 1


def test_redacted_ones_are_not_in_the_map() -> None:
    treatments = (Treatment(1, "redacted", 1), Treatment(2, "redrawn", 1), Treatment(3, "redacted", 1))
    assert set(np.unique(instance_map(result(treatments=treatments)))) == {0, 2}


def test_an_order_that_lacks_somebody_is_refused() -> None:
    with pytest.raises(StageError, match="order of 3 instances"):
        instance_map(result(order=(1, 2)))


def test_joints_are_visible_hidden_or_outside() -> None:
    made = result()
    joints = joints_of(made, instance_map(made))
    assert joints[1][0].tolist() == [25, 30, 2]
    assert joints[1][1].tolist() == [38, 30, 1], "the nearer person stands before it"
    assert joints[1][3].tolist() == [0, 0, 0]
    assert joints[1][4, 2] == 1, "the body itself hides it"
    assert joints[2][1].tolist() == [58, 30, 2]
    placed = placed_joints(joints[1])
    assert placed["num_keypoints"] == 16 and placed["keypoints"][:6] == [25, 30, 2, 38, 30, 1]
    named = placed_joints(joints[1], ("left_eye", "tail", "nose"))
    assert named == {"keypoints": [38, 30, 1, 0, 0, 0, 25, 30, 2], "num_keypoints": 2}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_loads_the_joints_and_the_ledger_tells_the_iou(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    run(tmp_path)
    coco = COCO(str(tmp_path / "out/annotations.json"))
    (category,) = coco.loadCats(coco.getCatIds(["person"]))
    assert category["keypoints"] == list(COCO_JOINTS) and max(map(max, category["skeleton"])) == 17
    (record,) = coco.loadAnns(coco.getAnnIds())
    assert len(record["keypoints"]) == 51 and record["num_keypoints"] == 16 and record["instance"] == 1
    assert coco.annToMask(record).sum() == record["area"] == 30 * 35
    (instance,) = ledger(tmp_path)["a.png"]["instances"]
    assert instance["mask_iou"] == 0.25 and "linked" not in instance


def given(tmp_path: Path, *records: Mapping[str, Any], **category: Any) -> Path:
    boxed = [{"id": n, "image_id": 1, "category_id": 1, **record} for n, record in enumerate(records, start=1)]
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 80, "height": 60}],
        "categories": [{"id": 1, "name": "person", **category}],
        "annotations": boxed,
    }
    path = tmp_path / "given.json"
    path.write_text(json.dumps(document))
    return path


def test_given_keypoints_are_replaced_and_never_kept(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    old = {"bbox": [10, 10, 30, 40], "keypoints": [11, 12, 2] * 17, "num_keypoints": 17, "foot_kpts": [11, 12, 2]}
    path = given(tmp_path, old)
    run(tmp_path, annotations=path)
    for file in ("annotations.json", "annotations/given.json"):
        document = json.loads((tmp_path / "out" / file).read_text())
        (record,) = document["annotations"]
        assert record["keypoints"][:3] == [25, 30, 2] and "foot_kpts" not in record and 12 not in record["keypoints"]
    run(tmp_path, FakeAnonymizer(), annotations=path, overwrite=True)
    for file in ("annotations.json", "annotations/given.json"):
        (record,) = json.loads((tmp_path / "out" / file).read_text())["annotations"]
        assert not record.keys() & {"keypoints", "num_keypoints", "foot_kpts"}


def test_joints_follow_the_names_of_the_given_category(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    path = given(tmp_path, {"bbox": [10, 10, 30, 40]}, {"bbox": [50, 10, 20, 40]}, keypoints=["left_ankle", "nose"])
    run(tmp_path, annotations=path)
    document = json.loads((tmp_path / "out/annotations/given.json").read_text())
    assert [len(record["keypoints"]) for record in document["annotations"]] == [6, 6]
    assert document["categories"][0]["keypoints"] == ["left_ankle", "nose"]


def test_persons_without_joints_have_them_unlabelled(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")

    class One(Drawing):
        def __call__(self, image: Any, instances: Any = None, *, key: str = "") -> Result:
            made = super().__call__(image, instances, key=key)
            return replace(made, renderings={1: made.renderings[1]})

    run(tmp_path, One(), annotations=given(tmp_path, {"bbox": [10, 10, 20, 40]}, {"bbox": [50, 10, 20, 40]}))
    for file in ("annotations.json", "annotations/given.json"):
        first, second = json.loads((tmp_path / "out" / file).read_text())["annotations"]
        assert first["num_keypoints"] == 16 and second["keypoints"] == [0] * 51 and second["num_keypoints"] == 0


def test_yolo_poses_are_the_avatars(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    folder = tmp_path / "yolo"
    (folder / "labels").mkdir(parents=True)
    (folder / "labels/a.txt").write_text("0 0.3125 0.5 0.375 0.666667 " + "0.5 0.5 2 " * 17 + "\n")
    (folder / "data.yaml").write_text("names: [person]\nkpt_shape: [17, 3]\n")
    run(tmp_path, annotations=read_annotations(folder))
    words = (tmp_path / "out/annotations/labels/a.txt").read_text().split()
    assert (
        len(words) == 5 + 51
        and words[5:8] == ["0.312500", "0.500000", "2"]
        and words[14:17] == ["0.000000"] * 2 + ["0"]
    )


def test_maps_are_written_recorded_verified_and_resumed(tmp_path: Path) -> None:
    pictures(tmp_path, "x/a.jpg", "b.png")
    release = Release(write=("depth", "masks", "parts"))
    run(tmp_path, release=release)
    out = tmp_path / "out"
    maps = {kind: cv2.imread(str(out / kind / "x/a.png"), cv2.IMREAD_UNCHANGED) for kind in release.write}
    assert maps["masks"].dtype == np.uint16 and set(np.unique(maps["masks"])) == {0, 1}
    assert maps["parts"].dtype == np.uint8 and set(np.unique(maps["parts"])) == {0, 3}
    assert (maps["parts"] > 0).sum() == 30 * 35, "the rim of the mask belongs to the part beside it"
    assert (maps["depth"] == 32768).all()
    assert set(ledger(tmp_path)["x/a.jpg"]["maps"]) == {f"{kind}/x/a.png" for kind in ("masks", "parts", "depth")}
    assert audit(out).clean
    again = run(tmp_path, release=release)
    assert again.skipped == 2
    (out / "parts/b.png").unlink()
    assert [f.kind for f in audit(out).findings] == ["missing"]
    assert run(tmp_path, release=release).skipped == 1
    (out / "masks/b.png").write_bytes(b"x")
    assert [(f.kind, f.name) for f in audit(out).findings] == [("tampered", "masks/b.png")]
    assert run(tmp_path, release=release).skipped == 1 and audit(out).clean
    with pytest.raises(InputError, match="other settings"):
        run(tmp_path, release=Release(write=("masks",)))
    (tmp_path / "in/b.png").unlink()
    run(tmp_path, release=release, prune=True)
    assert not (out / "masks/b.png").exists() and audit(out).clean


def test_maps_of_nobody_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    run(tmp_path, release=Release(write=("masks",)))
    (tmp_path / "out/masks/other.png").write_bytes(b"x")
    assert [(f.kind, f.name) for f in audit(tmp_path / "out").findings] == [("extra", "masks/other.png")]
    with pytest.raises(InputError, match=r"1 maps that belong to no recorded picture, e.g. masks/other.png"):
        run(tmp_path, release=Release(write=("masks",)))


def test_pictures_that_would_share_a_map_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "a.jpg")
    with pytest.raises(InputError, match=r"would both be released as masks/a\.png"):
        run(tmp_path, release=Release(write=("masks",)))
    with pytest.raises(InputError, match="write heat: expected some of masks, parts, depth"):
        Release(write=("heat",))


def test_depth_is_not_made_up(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")

    class Flat(Drawing):
        def __call__(self, image: Any, instances: Any = None, *, key: str = "") -> Result:
            return replace(super().__call__(image, instances, key=key), depth=None)

    assert run(tmp_path, Flat(), release=Release(write=("depth",))).failed == 1
    assert "build with depth_map" in ledger(tmp_path)["a.png"]["reason"]


def test_one_identity_is_one_number_under_one_key() -> None:
    release = Release(link_identities=True, key=b"k" * 32)
    number = release.link({"identity": "Jane", "track_id": 5})
    assert number is not None and number == release.link({"identity": "Jane", "track_id": 6})
    assert number == release.link({"attributes": {"identity": "Jane"}})
    assert len({number, release.link({"identity": "Joe"}), release.link({"track_id": "Jane"})}) == 3
    assert number != Release(link_identities=True, key=b"l" * 32).link({"identity": "Jane"})
    assert release.link({"identity": " "}) is None and release.link(None) is None
    assert Release(key=b"k" * 32).link({"identity": "Jane"}) is None
    with pytest.raises(InputError, match="expected the key"):
        Release(link_identities=True).link({"identity": "Jane"})


def test_linked_persons_are_handed_over_named_in_the_ledger_and_keyed_per_output(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    seen: list[int | None] = []

    class Watching(Drawing):
        def __call__(self, image: Any, instances: Any = None, *, key: str = "") -> Result:
            seen.extend(i.link for i in instances)
            return super().__call__(image, instances, key=key)

    boxes = ([1, 10, 20, 40], [30, 10, 20, 40], [55, 10, 20, 40])
    records = [{"bbox": box, "identity": who} for box, who in zip(boxes, ("Jane", "Jane", "Joe"), strict=True)]
    path = given(tmp_path, *records)
    run(tmp_path, Watching(), annotations=path, release=Release(link_identities=True))
    assert seen[0] == seen[1] != seen[2] and None not in seen
    line = ledger(tmp_path)["a.png"]
    assert [i.get("linked") for i in line["instances"]] == [True] * 3
    assert line["provenance"]["release"] == {"link_identities": True}
    written = b"".join(p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file() and p.suffix != ".key")
    assert b"Jane" not in written and not any(str(number).encode() in written for number in seen)
    assert (tmp_path / "out/.state/rename.key").stat().st_mode & 0o077 == 0
    assert run(tmp_path, Watching(), annotations=path, release=Release(link_identities=True)).skipped == 1
    before = list(seen)
    execute(
        InProcess(Watching()),
        Request(tmp_path / "in", tmp_path / "other", annotations=path, release=Release(link_identities=True)),
    )
    assert not set(before) & set(seen[len(before) :])
    run(tmp_path, Watching(), annotations=path, overwrite=True)
    assert seen[-3:] == [None] * 3, "off by default"


def test_a_linked_person_draws_the_same_by_chance_whatever_the_seed() -> None:
    drawn_numbers: list[int] = []

    class Chance(Artist):
        def begin(
            self, image: Any, person: Instance, rng: np.random.Generator, *rest: Any
        ) -> Callable[[], Rendering | None]:
            drawn_numbers.append(int(rng.integers(2**62)))
            return super().begin(image, person, rng, *rest)

    for link, seed in ((77, 5), (77, 6), (78, 5), (None, 5), (None, 6)):
        someone = replace(PERSON, link=link)
        artist = Chance(rendering())
        view = seen_by(artist, picture(), [someone], 20.0)
        draw_avatars(artist, picture(), [someone], [someone], {1: seed}, view)
    assert drawn_numbers[0] == drawn_numbers[1] and len(set(drawn_numbers)) == 4
