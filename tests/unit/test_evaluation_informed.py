"""The informed attack: what varies within people is learnt from others, and several pictures say more than one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from anonymizer.evaluation.attacks.informed import LEAST_IDENTITIES, fused, run, whitening
from anonymizer.evaluation.matching import compare
from anonymizer.evaluation.records import Embeddings, Finding, Skipped

from .attack_fakes import Eye, Scene
from .test_evaluation_adaptive import Given, described

SIZE = 12


def people(count: int, each: int, loud: float, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Return descriptions of people in which two directions vary loudly within each person."""
    rng = np.random.default_rng(seed)
    own = np.repeat(rng.normal(size=(count, SIZE)), each, axis=0)
    noise = 0.5 * rng.normal(size=own.shape)
    noise[:, :2] += loud * rng.normal(size=(len(own), 2))
    return own + noise, [f"p{n // each}" for n in range(count * each)]


def rank1(probe: Embeddings, gallery: Embeddings) -> float:
    value = compare(probe, gallery, "other", np.random.default_rng(2), 20).estimates["rank1"].value
    assert value is not None
    return value


def test_whitening_makes_what_varies_within_people_equal() -> None:
    vectors, _ = people(400, 3, 8.0)
    numbers = np.repeat(np.arange(400), 3)
    turned = vectors @ whitening(vectors, numbers)
    apart = turned - turned.reshape(400, 3, SIZE).mean(axis=1).repeat(3, axis=0)
    spread = apart.var(axis=0)
    assert spread.max() / spread.min() < 1.6
    loud = (vectors - vectors.reshape(400, 3, SIZE).mean(axis=1).repeat(3, axis=0)).var(axis=0)
    assert loud.max() / loud.min() > 50


def test_loud_directions_hide_people_from_who_does_not_learn(tmp_path: Path) -> None:
    vectors, who = people(60, 4, 8.0)
    tables = {"original": described(vectors, who), "anonymized": described(vectors[:, ::1], who)}
    base = Scene().context(tmp_path, ("face",), lambda image, _: image, (Eye(lambda crop: np.ones(3)),))
    found = [f for f in run(replace(base, store=Given(tables), bootstrap=20)) if isinstance(f, Finding)]
    assert {f.attack for f in found} == {"informed", "parrot"}
    plain = rank1(tables["anonymized"], tables["original"])
    other = next(f for f in found if f.variant == "anonymized" and f.mode == "other" and "left out" in f.protocol)
    value = other.estimates["rank1"].value
    assert value is not None and value > plain + 0.2
    assert other.counts["people"] == 30  # the other half taught


def test_several_pictures_say_more_than_one() -> None:
    vectors, who = people(40, 6, 2.0)
    side = described(vectors, who)
    both = fused(side, side)
    assert both is not None and both[0].identities == both[1].identities and len(both[0].keys) == 40
    assert rank1(*both) > rank1(side, side)
    assert fused(described(vectors[::6], [f"p{n}" for n in range(40)]), side) is None


def test_few_identities_teach_nothing_and_it_is_said(tmp_path: Path) -> None:
    vectors, who = people(LEAST_IDENTITIES - 1, 2, 1.0)
    tables = {"original": described(vectors, who), "anonymized": described(vectors, who)}
    base = Scene().context(tmp_path, ("face",), lambda image, _: image, (Eye(lambda crop: np.ones(3)),))
    (skipped,) = run(replace(base, store=Given(tables)))
    assert isinstance(skipped, Skipped) and "20 identities" in skipped.reason
