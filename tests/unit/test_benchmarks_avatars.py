"""Measures of the avatar benchmark against values counted by hand, and its list of persons."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from anonymizer.core.records import Instance
from anonymizer.evaluation.distances import polynomial_mmd

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def scripts() -> Iterator[SimpleNamespace]:
    names = ("avatar_measures", "avatar_run", "avatars", "packs", "markdown_table")
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in names:
            sys.modules.pop(name, None)


def features(seed: int, count: int, shift: float = 0.0) -> Any:
    return np.random.default_rng(seed).normal(shift, 1, (count, 6))


def names(count: int, pack: str = "p", each: int = 1) -> list[str]:
    return [f"{pack}/{number // each}" for number in range(count)]


def test_one_person_a_picture_gives_the_known_distance(scripts: SimpleNamespace) -> None:
    real, other = features(0, 30), features(1, 20, 0.5)
    distance = scripts.avatar_measures.Distance(real, names(30, "r"), ["p"] * 30)
    found = distance(other, names(20), ["p"] * 20)
    sides = [(side - real.mean(axis=0)) / real.std(axis=0) for side in (real, other)]
    assert found.value == pytest.approx(polynomial_mmd(*sides))
    assert found.low < found.value < found.high


def test_persons_of_one_picture_are_not_compared_with_each_other(scripts: SimpleNamespace) -> None:
    real, other = features(0, 30), features(1, 20)
    twice = np.repeat(other, 2, axis=0)
    distance = scripts.avatar_measures.Distance(real, names(30, "r"), ["p"] * 30)
    once = distance(other, names(20), ["p"] * 20)
    doubled = distance(twice, names(40, each=2), ["p"] * 40)
    assert doubled.value == pytest.approx(once.value)


def test_packs_weigh_as_on_the_other_side(scripts: SimpleNamespace) -> None:
    real = np.concatenate([features(0, 20), features(1, 40, 3.0)])
    packs = ["a"] * 20 + ["b"] * 40
    distance = scripts.avatar_measures.Distance(real, names(60, "r"), packs)
    other = features(2, 25)
    alone = polynomial_mmd(*((side - real.mean(axis=0)) / real.std(axis=0) for side in (real[:20], other)))
    assert distance(other, names(25), ["a"] * 25).value == pytest.approx(alone)
    with pytest.raises(ValueError, match="no real person of c"):
        distance(other, names(25), ["c"] * 25)


def test_proportion_has_an_interval_over_pictures(scripts: SimpleNamespace) -> None:
    hits = [1, 1, 1, 1, 0, 0, 0, 0]
    apart = scripts.avatar_measures.proportion(hits, names(8))
    grouped = scripts.avatar_measures.proportion(hits, names(8, each=4))
    assert apart.value == grouped.value == 0.5
    assert (grouped.low, grouped.high) == (0, 1)
    assert 0 < apart.low < apart.high < 1
    assert scripts.avatar_measures.proportion([], []).value is None


def test_classifier_tells_what_differs_and_guesses_what_does_not(scripts: SimpleNamespace) -> None:
    groups = names(60)
    far = scripts.avatar_measures.told_apart(features(0, 60), features(1, 60, 2.0), (groups, groups))
    same = scripts.avatar_measures.told_apart(features(0, 60), features(1, 60), (groups, groups))
    assert far.value > 0.95
    assert 0.3 < same.value < 0.7
    assert scripts.avatar_measures.told_apart(features(0, 8), features(1, 8), (groups[:8], groups[:8])).value is None


def test_finds_count_at_their_place_alone(scripts: SimpleNamespace) -> None:
    place = np.array([10, 10, 30, 50], np.float32)
    found = np.array([[10, 10, 30, 48, 0.4], [11, 10, 30, 50, 0.3], [100, 100, 120, 140, 0.9]], np.float32)
    score, overlap = scripts.avatar_run.best(found, place)
    assert score == pytest.approx(0.4)
    assert overlap == pytest.approx(38 / 40)
    assert scripts.avatar_run.best(found[2:], place) == (0.0, 0.0)


def test_joints_count_where_they_are_visible(scripts: SimpleNamespace) -> None:
    known = np.zeros((17, 3), np.float32)
    known[:3, 2] = 1
    found = known.copy()
    found[0, :2] = 9, 0
    found[1, :2] = 11, 0
    found[5, :2] = 50, 50
    assert scripts.avatar_run.within(found, known, 100) == (2, 3)


def test_annotated_persons_get_one_instance_each(scripts: SimpleNamespace) -> None:
    def truth(*box: float) -> Any:
        return scripts.packs.Truth("person", np.array(box, np.float32), {})

    instance = Instance(1, "person", np.array([0, 0, 20, 40], np.float32))
    face = Instance(2, "face", np.array([40, 0, 60, 40], np.float32))
    result = SimpleNamespace(instances=(instance, face))
    truths = [truth(0, 0, 20, 38), truth(0, 0, 20, 40), truth(40, 0, 60, 40)]
    assert scripts.avatar_run.matched(truths, result) == [None, instance, None]


def test_settings_are_changed_by_their_path(scripts: SimpleNamespace) -> None:
    import tomllib

    table = {"redraw": {"steps": 10, "avatar": "body"}, "detect": {"sizes": [1, 2], "network": 'a"b'}, "on": True}
    made = scripts.avatars.changed(table, ["redraw.steps=4", 'redraw.mode="x"'], ["redraw.avatar"])
    assert made["redraw"] == {"steps": 4, "mode": "x"}
    assert table["redraw"]["steps"] == 10
    assert tomllib.loads(scripts.avatars.toml("variant", made)) == {"variant": made}
    with pytest.raises(SystemExit, match="no such setting"):
        scripts.avatars.changed(table, [], ["redraw.other"])


def test_the_list_names_persons_once_and_apart_from_the_reference() -> None:
    document = json.loads((BENCHMARKS / "avatar_instances.json").read_text())
    keys = [[(p["pack"], p["annotation"]) for p in document[part]] for part in ("persons", "reference")]
    assert all(len(set(part)) == len(part) for part in keys)
    pictures = [{(p["pack"], p["picture"]) for p in document[part]} for part in ("persons", "reference")]
    assert not pictures[0] & pictures[1]
    assert all(p["box"][3] - p["box"][1] >= 48 for part in ("persons", "reference") for p in document[part])
    assert 30 <= sum(p["quick"] for p in document["persons"]) <= 45
