from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from anonymizer.annotations.rle import encode_rle
from anonymizer.core.errors import InputError
from anonymizer.core.geometry import integer_box
from anonymizer.core.records import Instance
from anonymizer.evaluation.average_precision import Precision, resample

SIZE = (100, 100)
Picture = tuple[list[Instance], list[Instance]]


def instance(number: int, box: Sequence[float], rng: np.random.Generator, score: float = 1.0) -> Instance:
    edges = np.array(box, np.float32)
    x1, y1, x2, y2 = integer_box(edges)
    return Instance(number, "person", edges, rng.random((y2 - y1, x2 - x1)) < 0.9, score)


def pictures(count: int = 30) -> list[Picture]:
    """Return pictures with annotations, detections near them with tied scores, and false ones."""
    rng = np.random.default_rng(0)

    def anywhere() -> np.ndarray:
        corner, side = rng.uniform(0, 60, 2), rng.uniform(6, 35, 2)
        return np.concatenate([corner, corner + side])

    out = []
    for _ in range(count):
        truths = [instance(n, anywhere(), rng) for n in range(1, 1 + int(rng.integers(0, 4)))]
        found: list[Instance] = []
        for truth in truths:
            moved = np.clip(truth.box + rng.normal(0, 1.5, 4), 0, 100)
            if rng.random() < 0.8 and (moved[2:] - moved[:2]).min() > 1:
                found.append(instance(len(found) + 1, moved, rng, round(float(rng.random()), 1)))
        for _ in range(int(rng.integers(0, 3))):
            found.append(instance(len(found) + 1, anywhere(), rng, round(float(rng.random()), 1)))
        out.append((truths, found))
    return out


def reference(data: list[Picture], kind: str) -> np.ndarray:
    """Return the statistics of pycocotools on the whole set."""
    truth: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    detections: dict[str, Any] = {**truth, "annotations": []}
    for number, sides in enumerate(data, start=1):
        truth["images"].append({"id": number, "height": SIZE[0], "width": SIZE[1]})
        for instances, document in zip(sides, (truth, detections), strict=True):
            for one in instances:
                x1, y1, x2, y2 = (float(v) for v in one.box)
                document["annotations"].append(
                    {
                        "id": len(document["annotations"]) + 1,
                        "image_id": number,
                        "category_id": 1,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": 1000,
                        "iscrowd": 0,
                        "score": one.score,
                        "segmentation": encode_rle(one.mask, integer_box(one.box), SIZE),
                    }
                )
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for document in (truth, detections):
            coco = COCO()
            coco.dataset = document
            coco.createIndex()
            sides.append(coco)
        evaluation = COCOeval(*sides, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def gathered(data: list[Picture], kind: Any = "bbox") -> Precision:
    precision = Precision(kind)
    for truths, found in data:
        precision.add(truths, found, SIZE)
    return precision


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_average_precision_equals_pycocotools_on_the_whole_set(kind: str) -> None:
    data = pictures()
    stats, scores = reference(data, kind), gathered(data, kind).scores()
    assert 0.05 < scores.ap < 0.95
    assert scores.ap == pytest.approx(stats[0], abs=1e-12)
    assert scores.ap50 == pytest.approx(stats[1], abs=1e-12)
    assert scores.ar == pytest.approx(stats[8], abs=1e-12)


def test_weights_stand_for_repeated_pictures() -> None:
    data = pictures(6)
    counts = [0, 2, 1, 3, 0, 1]
    repeated = [picture for picture, count in zip(data, counts, strict=True) for _ in range(count)]
    weighted, plain = gathered(data).scores(np.array(counts)), gathered(repeated).scores()
    assert weighted.ap == pytest.approx(plain.ap, abs=1e-12)
    assert weighted.ar == pytest.approx(plain.ar, abs=1e-12)


def test_the_drop_is_measured_on_the_same_pictures() -> None:
    data = pictures()
    half = [(truths, found[::2]) for truths, found in data]
    own, worse = resample([gathered(data), gathered(half)], np.random.default_rng(0), 50)
    assert own["ap_drop"].value == own["ap_drop"].low == own["ap_drop"].high == 0
    assert worse["ap_drop"].value == pytest.approx(own["ap"].value - worse["ap"].value)
    assert worse["ap_drop"].low is not None and worse["ap_drop"].low > 0
    assert own["ap"].count == sum(len(truths) for truths, _ in data)


def test_nothing_annotated_gives_no_figure_rather_than_zero() -> None:
    found = pictures()[0][1] or pictures()[1][1]
    (side,) = resample([gathered([([], found)])], np.random.default_rng(0), 5)
    assert side["ap"].value is None
    assert "annotated" in side["ap"].reason


def test_nothing_found_is_zero() -> None:
    truths = next(truths for truths, _ in pictures() if truths)
    scores = gathered([(truths, [])]).scores()
    assert (scores.ap, scores.ar) == (0.0, 0.0)


def test_different_pictures_are_refused() -> None:
    with pytest.raises(InputError, match="same pictures"):
        resample([gathered(pictures(3)), gathered(pictures(4))], np.random.default_rng(0))
    with pytest.raises(InputError, match="3 pictures"):
        gathered(pictures(3)).scores(np.ones(2, int))
