"""Attributes of originals are read off treated faces only where treated faces hold them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from anonymizer.core.records import Floats, Image, Mask
from anonymizer.evaluation import control, intervals
from anonymizer.evaluation.attacks import attributes
from anonymizer.evaluation.attacks.attributes import Trait, agreement, probe
from anonymizer.evaluation.records import Context, Embeddings, Finding, Skipped, Subject, plain
from anonymizer.evaluation.variants import CONTROL
from anonymizer.evaluation.verdict import judge

from .attack_fakes import Eye, Scene, Way

PEOPLE, VIEWS = 60, 3
Treat = Callable[[Image, Sequence[Subject]], Image]


def described(kept: float, seed: int = 0) -> tuple[Embeddings, Trait]:
    """Return descriptions of people of whom ``kept`` of the true class is in one direction, beside their own."""
    rng = np.random.default_rng(seed)
    people = np.repeat(np.arange(PEOPLE), VIEWS)
    classes = rng.integers(0, 2, PEOPLE)[people]
    own = rng.normal(size=(PEOPLE, 24))[people]
    vectors = own + 0.3 * rng.normal(size=(len(people), 24))
    vectors[:, 0] += kept * (2 * classes - 1)
    keys = tuple(f"p{n}" for n in range(len(people)))
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    names = tuple(f"person {who}" for who in people)
    found = np.ones(len(people), bool)
    return Embeddings(keys, names, keys, vectors.astype(np.float32), found), Trait("sex", classes, found)


def beyond(found: attributes._Found) -> float:
    null = found.null
    assert null is not None
    return intervals.tail(null.value, null.mean, null.deviation, null.skew, null.possible)


def test_a_probe_reads_what_is_there() -> None:
    found = probe(*described(3.0), np.random.default_rng(0))
    assert found.estimate.value is not None and found.estimate.value > 0.85 and beyond(found) < 1e-3
    assert found.people == PEOPLE and found.estimate.count == PEOPLE * VIEWS


def test_a_probe_is_taught_on_other_people_and_raises_few_false_alarms() -> None:
    """Pictures of one person are much alike: with a person on both sides nearly all would be right."""
    found = [probe(*described(0.0, seed), np.random.default_rng(seed)) for seed in range(20)]
    assert np.mean([f.estimate.value for f in found]) < 0.56
    assert sum(beyond(f) < 0.05 for f in found) <= 4  # 1 expected; more than 4 happen once in 400


@pytest.mark.parametrize("proportion", [0.0, 0.4])
def test_answers_that_agree_by_chance_are_told_from_others(proportion: float) -> None:
    rng = np.random.default_rng(3)
    people = np.repeat(np.arange(100), 2)
    # Nine of ten are of one class: most answers would be right without looking.
    first = (rng.random(100) < 0.9)[people].astype(np.int64)
    second = np.where(rng.random(200) < proportion, first, (rng.random(200) < 0.9).astype(np.int64))
    found = agreement(first, second, people, np.ones(200, bool), rng)
    assert found.estimate.value is not None and found.estimate.value > 0.75
    assert (beyond(found) < 0.01) is (proportion > 0)


def test_few_people_and_one_class_give_no_value() -> None:
    ones, known = np.ones(6, np.int64), np.ones(6, bool)
    few = agreement(ones, ones, np.arange(6), known, np.random.default_rng(0))
    assert few.estimate.value is None and "20 people" in few.estimate.reason
    ones, known = np.ones(40, np.int64), np.ones(40, bool)
    same = agreement(ones, ones, np.arange(40), known, np.random.default_rng(0))
    assert same.estimate.value is None and "one class" in same.estimate.reason


class Bright:
    """Takes bright faces for one class and dark ones for the other."""

    name, label, sha256, licence, judge, attribute = "bright (sex)", "face", "b" * 64, "none", True, "sex"

    def embed(self, image: Image, box: Floats, landmarks: Floats | None, mask: Mask | None) -> Floats:
        x1, y1, x2, y2 = (int(v) for v in box)
        return np.array([image[y1:y2, x1:x2].mean() / 255], np.float32)

    def read(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        return (outputs[:, 0] > 0.5).astype(np.float64)


def faces(folder: Path, treat: Treat) -> Context:
    scene = Scene()
    rng = np.random.default_rng(0)
    for who in range(40):
        image = np.full((40, 40, 3), 40 + 170 * (who % 2), np.uint8) + rng.integers(0, 30, (40, 40, 3), dtype=np.uint8)
        box = np.array([5, 5, 35, 35], np.float32)
        scene.add(f"{who}.png", image, Subject(f"{who}.png", 0, "face", box, identity=str(who)))
    context = scene.context(folder, ("face",), treat, (Eye(lambda crop: crop.mean(axis=(0, 1)) + 1.0),))
    context.store.variants[CONTROL] = Way(CONTROL, lambda image, _: image)  # type: ignore[attr-defined]
    return replace(context, predictors=(Bright(),))  # type: ignore[arg-type]


def dimmed(image: Image, subjects: Sequence[Subject]) -> Image:
    return image // 2 + 60


def black(image: Image, subjects: Sequence[Subject]) -> Image:
    return np.zeros_like(image)


@pytest.mark.parametrize(("treat", "state"), [(dimmed, "more"), (black, "chance")])
def test_the_light_of_inference_follows(tmp_path: Path, treat: Treat, state: str) -> None:
    context = faces(tmp_path, treat)
    findings = [f for f in attributes.run(context) if isinstance(f, Finding)]
    controls = [asdict(c) for c in control._predictors(context)]
    assert {c["judge"]: c["able"] for c in controls}["bright (sex)"]
    survey = {"subjects": {"face": 40}, "untouched": {}, "identical": (), "problems": {}, "counts": {}, "extra": 0}
    verdict = judge(plain(findings), controls, survey)
    light = next(light for light in verdict["lights"] if light["question"] == "infer")
    assert light["state"] == state and light["attacks"] == ["attributes"]


def test_without_a_predictor_the_attack_says_what_to_make(tmp_path: Path) -> None:
    (skipped,) = attributes.run(replace(faces(tmp_path, black), predictors=()))
    assert isinstance(skipped, Skipped) and "make_judges.py" in skipped.reason
