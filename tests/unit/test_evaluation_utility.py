from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image as Pillow

from anonymizer.core.errors import ModelError
from anonymizer.core.records import Image, Instance
from anonymizer.evaluation import distances as features_module
from anonymizer.evaluation.background_fidelity import BackgroundFidelity, RunRegions
from anonymizer.evaluation.distances import CropFeatures
from anonymizer.evaluation.label_consistency import LabelConsistency, as_instance
from anonymizer.evaluation.records import Context, Pair, Subject
from anonymizer.evaluation.utility import evenly, measure_utility
from anonymizer.images.decode import read_image
from anonymizer.redraw.crops import anonymized_mask

SIZE = (64, 96)


def subject(picture: str, box: Sequence[float], number: int = 0, label: str = "person", mask: bool = True) -> Subject:
    x1, y1, x2, y2 = (int(v) for v in box)
    inside = np.ones((y2 - y1, x2 - x1), bool) if mask else None
    return Subject(picture, number, label, np.array(box, np.float32), mask=inside)


@dataclass
class Drawings:
    """Noise with one bright box each; released, the box is darker and, on request, a pixel elsewhere differs."""

    folder: Path
    count: int = 10
    suffix: str = ".png"
    stray: bool = False
    read: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        made = []
        for n in range(self.count):
            box = (10 + n, 12, 40 + n, 50)
            picture = rng.integers(0, 110, (*SIZE, 3), dtype=np.uint8)
            picture[12:50, 10 + n : 40 + n] = 220
            released = picture.copy()
            released[12:50, 10 + n : 40 + n] = 150
            if self.stray:
                released[0, 0] ^= 1
            paths = self.folder / f"o{n}{self.suffix}", self.folder / f"a{n}{self.suffix}"
            for path, pixels in zip(paths, (picture, released), strict=True):
                Pillow.fromarray(pixels).save(path)
            made.append((Pair(f"p{n}{self.suffix}", *paths), subject(f"p{n}", box)))
        self.made = tuple(made)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return tuple(pair for pair, _ in self.made)

    def subjects(self, pair: Pair) -> tuple[Subject, ...]:
        return tuple(one for own, one in self.made if own == pair)

    def original(self, pair: Pair) -> Image:
        self.read.append(pair.name)
        return read_image(pair.original).pixels

    def anonymized(self, pair: Pair) -> Image:
        return read_image(pair.anonymized).pixels


class BoxDetector:
    """Finds the box by its brightness; blind below ``least``."""

    def __init__(self, least: int) -> None:
        self.least = least

    def detect(self, image: Image) -> tuple[Instance, ...]:
        rows, columns = np.nonzero(image.min(axis=2) > self.least)
        if not rows.size:
            return ()
        box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float32)
        shape = int(box[3] - box[1]), int(box[2] - box[0])
        return (Instance(1, "person", box, np.ones(shape, bool), 0.9),)


def context(dataset: Any, labels: tuple[str, ...] = ("person",)) -> Context:
    def black(pair: Pair, original: Image, subjects: Sequence[Subject]) -> Image:
        out = original.copy()
        for one in subjects:
            x1, y1, x2, y2 = one.box.astype(int)
            out[y1:y2, x1:x2] = 0
        return out

    variants = {
        "original": lambda pair, original, subjects: original,
        "solid": black,
        "anonymized": lambda pair, original, subjects: dataset.anonymized(pair),
    }
    return Context(dataset, cast(Any, variants), (), labels, cast(Any, None), Path(), seed=3)


def measured(dataset: Drawings, least: int, **options: Any) -> dict[str, Any]:
    about = {"name": "box", "sha256": "0", "note": ""}
    return measure_utility(context(dataset), detector=(BoxDetector(least), about), **options)


def test_precision_is_kept_where_the_detector_still_sees_the_box(tmp_path: Path) -> None:
    out = measured(Drawings(tmp_path), least=120)
    rows = {row["variant"]: row for row in out["retention"]}
    assert list(rows) == ["original", "solid", "anonymized"]
    assert rows["original"]["boxes"]["ap"].value == pytest.approx(1.0)
    assert rows["anonymized"]["boxes"]["ap"].value == pytest.approx(1.0)
    assert rows["anonymized"]["box_iou"].value == rows["anonymized"]["mask_iou"].value == pytest.approx(1.0)
    assert rows["solid"]["boxes"]["ap_drop"].value == pytest.approx(1.0)
    assert rows["solid"]["found"].value == 0
    assert rows["solid"]["box_iou"].value is None


def test_crops_of_originals_are_no_distance_from_themselves(tmp_path: Path) -> None:
    out = measured(Drawings(tmp_path, count=24), least=120)
    distance = {row["variant"]: row["estimate"] for row in out["kid"]}
    assert distance["original"].low < 0.05 * distance["solid"].value
    assert distance["solid"].low > distance["original"].high
    assert distance["solid"].count == 24


def test_lossless_pictures_are_compared_exactly(tmp_path: Path) -> None:
    clean, stray = tmp_path / "clean", tmp_path / "stray"
    clean.mkdir()
    stray.mkdir()
    own, other = measured(Drawings(clean), least=120), measured(Drawings(stray, stray=True), least=120)
    assert own["outside"]["lossless"]["changed_pixels"] == 0
    assert own["outside"]["lossless"]["pictures"] == 10
    assert own["outside"]["lossy"]["psnr_db"] is None
    assert other["outside"]["lossless"]["changed_pixels"] == 10
    assert other["outside"]["lossless"]["pictures_with_changes"] == 10


def test_lossy_pictures_are_compared_beside_encoding_alone(tmp_path: Path) -> None:
    dataset = Drawings(tmp_path, count=1, suffix=".jpg")
    (pair, one), outside = dataset.made[0], BackgroundFidelity()
    original, released = dataset.original(pair), dataset.anonymized(pair)
    treated = anonymized_mask([as_instance(one)], SIZE)
    outside.add(pair, original, released, treated)
    lossy = outside.summary()["lossy"]
    apart = (original.astype(float) - released)[~treated]
    assert lossy["psnr_db"] == pytest.approx(10 * np.log10(255**2 / (apart**2).mean()), abs=1e-9)
    assert lossy["changed_share"] == pytest.approx((apart != 0).any(axis=1).mean())
    assert (lossy["pictures"], lossy["identical"]) == (1, 0)
    assert lossy["lowest_psnr_db"] == lossy["median_psnr_db"] == lossy["psnr_db"]
    assert lossy["encoding_alone_psnr_db"] > 30


def test_error_is_the_mean_square_outside() -> None:
    outside = BackgroundFidelity()
    original = np.full((8, 8, 3), 100, np.uint8)
    changed = original.copy()
    changed[0, 0] = 110
    treated = np.zeros((8, 8), bool)
    treated[4:] = True
    changed[5, 5] = 0
    pair = Pair("p.png", Path("o.png"), Path("a.png"))
    outside.add(pair, original, changed, treated)
    assert outside.summary()["lossless"] == {
        "pictures": 1,
        "changed_pixels": 1,
        "pixels": 32,
        "pictures_with_changes": 1,
    }


def test_unknown_regions_are_counted_not_measured(tmp_path: Path) -> None:
    document = tmp_path / "annotations.json"
    document.write_text('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]}')
    out = measured(Drawings(tmp_path, count=3), least=120, regions=RunRegions(document))["outside"]
    assert out["unknown"] == 3
    assert out["lossless"]["changed_pixels"] is None


def test_regions_of_a_run_are_its_masks_grown(tmp_path: Path) -> None:
    document = tmp_path / "annotations.json"
    document.write_text(
        '{"images": [{"id": 1, "file_name": "p.png", "height": 64, "width": 96}], "annotations": [{"id": 1, '
        '"image_id": 1, "category_id": 1, "bbox": [20, 20, 10, 30]}], "categories": [{"id": 1, "name": "person"}]}'
    )
    pair = Pair("p.png", Path("o.png"), Path("a.png"))
    mask = RunRegions(document)(pair, SIZE)
    assert mask is not None
    assert mask[20:50, 20:30].all() and mask[18, 25] and not mask[10, 25]
    other = RunRegions(document)(Pair("p.jpg", Path("o.jpg"), Path("p.png")), SIZE)
    assert np.array_equal(mask, other)
    assert np.array_equal(mask, anonymized_mask([as_instance(subject("p", (20, 20, 30, 50)))], SIZE))


def test_a_sample_is_spread_and_said(tmp_path: Path) -> None:
    dataset = Drawings(tmp_path)
    out = measured(dataset, least=120, limit=4)
    assert (out["pictures"], out["of"]) == (4, 10)
    assert dataset.read == [f"p{n}.png" for n in (0, 3, 6, 9)]
    assert evenly(dataset.pairs, 100) == dataset.pairs


def test_masks_are_only_judged_where_they_are_known() -> None:
    retention = LabelConsistency("person", ("original",))
    box = (10, 10, 30, 40)
    retention.add([subject("p", box, mask=False)], {"original": [as_instance(subject("p", box))]}, SIZE)
    (row,) = retention.rows(np.random.default_rng(0), 5)
    assert row["boxes"]["ap"].value == pytest.approx(1.0)
    assert row["masks"]["ap"].value is None
    assert row["mask_iou"].value is None


def test_a_detection_stands_for_one_instance_only() -> None:
    retention = LabelConsistency("person", ("original",))
    twins = [subject("p", (10, 10, 30, 40), 0), subject("p", (11, 10, 31, 40), 1)]
    retention.add(twins, {"original": [as_instance(twins[0])]}, SIZE)
    (row,) = retention.rows(np.random.default_rng(0), 5)
    assert row["found"].value == 0.5
    assert row["box_iou"].value == pytest.approx(1.0)


def test_features_say_what_they_are_and_tell_crops_apart() -> None:
    network = CropFeatures()
    rng = np.random.default_rng(0)
    flat, noise = np.full((80, 80, 3), 128, np.uint8), rng.integers(0, 255, (80, 80, 3), dtype=np.uint8)
    box = np.array([10, 10, 60, 70], np.float32)
    one, other = network.describe(flat, box), network.describe(noise, box)
    assert one.shape == other.shape and one.dtype == np.float32
    assert np.abs(one - other).max() > 0.05
    assert np.array_equal(one, network.describe(flat, box))
    assert "embedded detector" in network.name and len(network.sha256) == 64


def test_a_network_of_another_layout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features_module, "LAYER", "/nowhere")
    with pytest.raises(ModelError, match="/nowhere"):
        CropFeatures()


def test_regions_of_categories_that_a_run_was_told_count_and_untreated_ones_do_not(tmp_path: Path) -> None:
    records = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 20, 10, 30], "action": "redrawn"},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [60, 20, 10, 30]},
    ]
    content = {
        "images": [{"id": 1, "file_name": "p.png", "height": 64, "width": 96}],
        "categories": [{"id": 1, "name": "person on screen"}, {"id": 2, "name": "plate"}, {"id": 3, "name": "fork"}],
        "annotations": records,
    }
    document = tmp_path / "annotations.json"
    document.write_text(json.dumps(content))
    mask = RunRegions(document)(Pair("p.png", Path("o.png"), Path("a.png")), SIZE)
    assert mask is not None
    assert mask[20:50, 20:30].all() and not mask[:, 50:].any()
