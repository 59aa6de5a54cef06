"""The adaptive attack against treatments whose effect on descriptions is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.evaluation.attacks.adaptive import LEAST_IDENTITIES, centred, fit, folds, run, translate
from anonymizer.evaluation.matching import compare
from anonymizer.evaluation.records import Embeddings, Finding, Place, Recognizer, Skipped

from .attack_fakes import Eye, Scene

SIZE = 12


def described(vectors: np.ndarray, identities: list[str]) -> Embeddings:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    names = tuple(f"{i}.png" for i in range(len(unit)))
    return Embeddings(
        tuple(f"{n}#0" for n in names), tuple(identities), names, unit.astype(np.float32), np.ones(len(unit), bool)
    )


def people(count: int = 60, pictures: int = 2) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(0)
    who = np.repeat(rng.normal(size=(count, SIZE)), pictures, axis=0)
    return who + 0.1 * rng.normal(size=who.shape), [f"p{i // pictures}" for i in range(count * pictures)]


def rotated(vectors: np.ndarray) -> np.ndarray:
    return vectors @ np.linalg.qr(np.random.default_rng(1).normal(size=(SIZE, SIZE)))[0]


def rank1(probe: Embeddings, gallery: Embeddings) -> float:
    value = compare(probe, gallery, "other", np.random.default_rng(2), 20).estimates["rank1"].value
    assert value is not None
    return value


def test_ridge_is_the_textbook_formula() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=(30, 4))
    head = fit(x, y, 0.5)
    apart = x - x.mean(axis=0)
    strength = 0.5 * np.trace(apart.T @ apart) / 4 + 1e-9
    wanted = np.linalg.inv(apart.T @ apart + strength * np.eye(4)) @ apart.T @ y
    assert head(x) == pytest.approx(apart @ wanted, abs=1e-9)
    assert fit(x, y, None)(x) == pytest.approx(apart)
    with pytest.raises(InputError, match="shapes"):
        fit(x, y[:3], 0.5)


def test_identities_are_never_in_two_folds() -> None:
    names = [f"p{i % 23}" for i in range(100)]
    dealt = folds(names, 5, np.random.default_rng(0))
    for who in set(names):
        assert len({int(f) for f, name in zip(dealt, names, strict=True) if name == who}) == 1
    assert set(dealt.tolist()) == set(range(5))


def test_a_rotation_hides_from_the_naive_but_not_from_who_learns() -> None:
    vectors, who = people()
    gallery, probe = centred(described(vectors, who)), described(rotated(vectors), who)
    assert rank1(probe, gallery) < 0.15
    translated, penalties = translate(probe, gallery, "other", np.random.default_rng(0))
    assert len(penalties) == 5
    assert None not in penalties
    assert rank1(translated, gallery) > 0.9


def test_what_holds_nothing_gives_nothing() -> None:
    vectors, who = people()
    noise = np.random.default_rng(5).normal(size=vectors.shape)
    gallery = centred(described(vectors, who))
    translated, _ = translate(described(noise, who), gallery, "other", np.random.default_rng(0))
    # 60 identities: chance is near 1/60.
    assert rank1(translated, gallery) < 0.1


def test_an_open_door_is_not_closed_by_learning() -> None:
    vectors, who = people()
    same = described(vectors, who)
    translated, _ = translate(same, centred(same), "other", np.random.default_rng(0))
    assert rank1(translated, centred(same)) > 0.95


@dataclass
class Given:
    """A store of embeddings made elsewhere."""

    tables: dict[str, Embeddings]

    def embeddings(self, variant: str, recognizer: Recognizer, *, place: Place = "known") -> Embeddings:
        return self.tables[variant]


def test_run_reports_every_variant_or_says_why_not(tmp_path: Path) -> None:
    vectors, who = people(LEAST_IDENTITIES + 5)
    tables = {"original": described(vectors, who), "anonymized": described(rotated(vectors), who)}
    eye = Eye(lambda crop: np.ones(3))
    base = Scene().context(tmp_path, ("face",), lambda image, _: image, (eye,))
    context = type(base)(
        dataset=base.dataset,
        variants=base.variants,
        recognizers=base.recognizers,
        labels=base.labels,
        store=Given(tables),
        folder=tmp_path,
        bootstrap=20,
    )
    found = [f for f in run(context) if isinstance(f, Finding)]
    assert [(f.variant, "left out" in f.protocol) for f in found] == [
        ("original", True),
        ("anonymized", True),
        ("anonymized", False),
    ]
    for finding in found:
        assert finding.estimates["rank1_chance"].value is not None
        assert finding.estimates["rank1"].low is not None
        assert "folds" in finding.notes[0] or "learning did not help" in finding.notes[0]
    few = people(LEAST_IDENTITIES - 1)
    tables |= {"original": described(*few), "anonymized": described(*few)}
    skipped = run(context)
    assert all(isinstance(f, Skipped) and f"{LEAST_IDENTITIES - 1} identities" in f.reason for f in skipped)


def test_few_rows_of_long_descriptors_give_the_ridge_solution() -> None:
    rng = np.random.default_rng(0)
    treated, targets = rng.normal(size=(8, 30)), rng.normal(size=(8, 30))
    head = fit(treated, targets, 0.3)
    apart = treated - treated.mean(axis=0)
    scatter = apart.T @ apart
    strength = 0.3 * np.trace(scatter) / 30 + 1e-9
    wanted = np.linalg.solve(scatter + strength * np.eye(30), apart.T @ targets)
    assert np.allclose(head(treated), apart @ wanted, atol=1e-9)


def test_the_adaptive_attack_is_never_weaker_than_the_aligned_one(tmp_path: Path) -> None:
    vectors, who = people(LEAST_IDENTITIES + 4)
    rng = np.random.default_rng(3)
    # Half of the treated descriptions are other people's noise: a head learns little that holds.
    treated = np.where(np.arange(len(vectors))[:, None] % 2 == 0, vectors, rng.normal(size=vectors.shape))
    tables = {"original": described(vectors, who), "anonymized": described(treated, who)}
    base = Scene().context(tmp_path, ("face",), lambda image, _: image, (Eye(lambda crop: np.ones(3)),))
    context = replace(base, store=Given(tables), bootstrap=20)
    for found in run(context):
        assert isinstance(found, Finding)
        aligned = compare(tables[found.variant], tables["original"], found.mode, np.random.default_rng(0), 20)  # type: ignore[arg-type]
        learnt, plain = found.estimates["rank1"].value, aligned.estimates["rank1"].value
        assert learnt is not None and plain is not None and learnt >= plain
