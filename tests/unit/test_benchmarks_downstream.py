"""The training check of the benchmarks: it finds where there is something to learn, and says where there is not."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.core.records import Image
from anonymizer.evaluation.records import Context, Pair, Subject

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def training() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("downstream")
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in ("downstream", "centers"):
            sys.modules.pop(name, None)


def subject(picture: str, box: Sequence[float]) -> Subject:
    return Subject(picture, 0, "person", np.array(box, np.float32))


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


class Blobs:
    """Pictures with bright squares on noise, as arrays: 80 of them, or as many as asked for."""

    def __init__(self, count: int = 80) -> None:
        self.pairs = tuple(Pair(f"{n}.png", Path(), Path()) for n in range(count))

    def subjects(self, pair: Pair) -> tuple[Subject, ...]:
        rng = np.random.default_rng(int(pair.name.removesuffix(".png")))
        x, y, side = rng.integers(4, 30), rng.integers(4, 30), rng.integers(14, 26)
        return (subject(pair.name, (x, y, x + side, y + side)),)

    def original(self, pair: Pair) -> Image:
        out = np.random.default_rng(7).integers(40, 90, (64, 64, 3), dtype=np.uint8)
        x1, y1, x2, y2 = self.subjects(pair)[0].box.astype(int)
        out[y1:y2, x1:x2] = 230
        return out

    def anonymized(self, pair: Pair) -> Image:
        return self.original(pair)


def test_what_is_trained_on_originals_finds_and_what_is_trained_on_black_does_not(training: ModuleType) -> None:
    out = training.downstream_check(context(Blobs()), variants=("original", "solid"), steps=40, long_side=64, seeds=1)
    rows = {row["trained_on"]: row for row in out["rows"]}
    assert list(rows) == ["original", "solid", training.AGAIN]
    assert rows["original"]["ap50"].value > 0.5
    assert rows["solid"]["ap_drop"].low > 0.1
    assert rows["original"]["ap_drop"].value == 0
    assert out["small_scale"] is True
    assert (out["train_pictures"], out["test_pictures"]) == (56, 24)


def test_released_labels_are_trained_on_beside_the_original_ones(training: ModuleType) -> None:
    blobs = Blobs()

    def released(pair: Pair, label: str) -> Any:
        assert label == "person"
        # Another size about the same middle, and a box of nobody: half of the area is not the same object.
        x1, y1, x2, y2 = blobs.subjects(pair)[0].box
        fourth = 0.15 * (x2 - x1)
        return np.array([[x1 + fourth, y1 + fourth, x2 - fourth, y2 - fourth], [0, 0, 3, 3]], np.float32)

    options = {"variants": ("original", "anonymized"), "steps": 30, "long_side": 64, "seeds": 1}
    out = training.downstream_check(context(blobs), released=released, **options)
    rows = {row["trained_on"]: row for row in out["rows"]}
    assert list(rows) == ["original", "anonymized", training.RELEASED, training.AGAIN]
    assert rows[training.RELEASED]["ap"].value < rows["anonymized"]["ap"].value
    assert rows["original"]["ap"].low <= rows["original"]["ap"].value <= rows["original"]["ap"].high


def test_too_little_to_train_on_is_said(training: ModuleType) -> None:
    out = training.downstream_check(context(Blobs(20)), steps=1, variants=("solid",), long_side=64)
    assert "14 instances to train" in out["reason"]
    assert "rows" not in out


@pytest.mark.parametrize("options", [{"variants": ("nothing",)}, {"steps": 0}, {"seeds": 0}, {"long_side": 50}])
def test_wrong_options_are_refused(training: ModuleType, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="downstream"):
        training.downstream_check(context(SimpleNamespace(pairs=())), **options)
