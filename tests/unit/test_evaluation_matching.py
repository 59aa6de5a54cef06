"""Who is compared with whom, and what chance gives."""

from __future__ import annotations

import numpy as np
import pytest

from anonymizer.evaluation import matching
from anonymizer.evaluation.matching import compare, has_repeats, pair_scores
from anonymizer.evaluation.records import Embeddings


def embeddings(vectors: np.ndarray, identities: list[str], pictures: list[str] | None = None) -> Embeddings:
    count = len(vectors)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return Embeddings(
        keys=tuple(f"p{n}#0" for n in range(count)),
        identities=tuple(identities),
        pictures=tuple(pictures or [f"p{n}" for n in range(count)]),
        vectors=unit.astype(np.float32),
        found=np.ones(count, dtype=np.bool_),
    )


def people(count: int = 30, each: int = 3, noise: float = 0.1, seed: int = 0) -> Embeddings:
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.normal(size=(count, 64)), each, axis=0)
    names = [f"id{n // each}" for n in range(count * each)]
    return embeddings(centres + noise * rng.normal(size=centres.shape), names)


def noise(like: Embeddings, seed: int = 9) -> Embeddings:
    rng = np.random.default_rng(seed)
    made = embeddings(rng.normal(size=like.vectors.shape), list(like.identities))
    return Embeddings(like.keys, like.identities, like.pictures, made.vectors, made.found)


def test_the_same_people_are_found_and_noise_is_chance() -> None:
    known = people()
    rng = np.random.default_rng(0)
    good = compare(known, known, "other", rng, 200)
    assert good.estimates["rank1"].value == 1.0 and good.estimates["auc"].value == pytest.approx(1.0, abs=1e-4)
    assert good.estimates["rank1_chance"].value == pytest.approx(1 / 30, abs=0.012)  # one of 30 people
    lift = good.estimates["rank1_lift"].value
    assert lift is not None and lift > 20
    assert good.counts["probes"] == 90 and good.counts["identities"] == 30
    # Each pair of pictures once: 30 people x 3 pairs.
    assert good.counts["same_pairs"] == 90 and good.counts["different_pairs"] == 90 * 89 // 2 - 90
    for mode in ("own", "other"):
        bad = compare(noise(known), known, mode, rng, 200)  # type: ignore[arg-type]
        rank1, chance, auc = (bad.estimates[name] for name in ("rank1", "rank1_chance", "auc"))
        assert rank1.low is not None and chance.value is not None and rank1.low <= chance.value + 0.01
        assert rank1.value is not None and rank1.value < 0.1
        assert auc.low is not None and auc.high is not None and auc.low <= 0.5 <= auc.high + 0.02


def test_all_faces_equal_is_chance_exactly() -> None:
    known = people()
    flat = embeddings(np.ones((90, 64)), list(known.identities))
    found = compare(flat, known, "own", np.random.default_rng(0), 50)
    assert found.estimates["auc"].value is not None
    # All probes rank the gallery alike: the pictures of one person come first, and each is found once the person's
    # other pictures are left out. The floor knows that: it is the same 3 of 90.
    assert found.estimates["rank1"].value == pytest.approx(3 / 90, abs=1e-9)
    assert found.estimates["rank1_chance"].value == pytest.approx(3 / 90, abs=0.01)
    same = compare(flat, flat, "other", np.random.default_rng(0), 50)
    assert same.estimates["rank1"].value == pytest.approx(2 / 89, abs=1e-6)
    assert same.estimates["auc"].value == pytest.approx(0.5, abs=1e-6)


def test_a_probe_is_not_found_in_its_own_picture() -> None:
    # Every picture is its own nearest neighbour and shows two people; only other pictures may count.
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(8, 16))
    names, pictures = ["a", "b"] * 4, [f"q{n // 2}" for n in range(8)]
    both = embeddings(vectors, names, pictures)
    sides = matching._numbered(both, both, "other", rng)
    match, valid = sides.rules(np.arange(8))
    for row in range(8):
        assert [c for c in range(8) if not valid[row, c]] == [row - row % 2, row - row % 2 + 1]
        assert match[row].sum() == 3
    own, allowed = matching._numbered(both, both, "own", rng).rules(np.arange(8))
    assert (own == np.eye(8, dtype=bool)).all() and allowed[0].tolist() == [True, True, False, True] + [False, True] * 2


def test_probes_that_were_not_found_are_ranked_by_lot_and_never_accepted() -> None:
    known = people()
    half = np.arange(90) % 2 == 0
    vectors = np.where(half[:, None], known.vectors, 0).astype(np.float32)
    probe = Embeddings(known.keys, known.identities, known.pictures, vectors, half)
    found = compare(probe, known, "own", np.random.default_rng(0), 100)
    assert found.counts["not_found"] == 45 and any("45 of 90" in note for note in found.notes)
    assert found.estimates["found"].value == 0.5
    assert found.estimates["rank1"].value == pytest.approx(0.5 + 0.5 / 88, abs=1e-9)
    assert found.estimates["tar_at_far_1e-2"].value is None or found.estimates["tar_at_far_1e-2"].value <= 0.5


@pytest.mark.parametrize(
    ("probe", "gallery", "mode", "reason"),
    [
        (people(5, 1), people(5, 1), "other", "two pictures"),
        (people(1, 1), people(1, 1), "own", "one entry"),
        (embeddings(np.zeros((0, 1)), []), people(2, 1), "own", "both sets"),
    ],
)
def test_nothing_to_compare_is_an_empty_result_never_a_zero(
    probe: Embeddings, gallery: Embeddings, mode: str, reason: str
) -> None:
    found = compare(probe, gallery, mode, np.random.default_rng(0), 10)  # type: ignore[arg-type]
    assert {"rank1", "rank5", "map", "auc", "eer"} <= found.estimates.keys()
    assert all(estimate.value is None and reason in estimate.reason for estimate in found.estimates.values())
    assert not found.curves and not found.histograms


def test_nobody_found_is_an_empty_result() -> None:
    known = people(5, 2)
    none = Embeddings(known.keys, known.identities, known.pictures, known.vectors * 0, np.zeros(10, dtype=np.bool_))
    found = compare(none, known, "own", np.random.default_rng(0), 10)
    assert found.estimates["rank1"].value is None and found.counts["not_found"] == 10


def test_large_galleries_are_worked_on_in_blocks_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    known, probe = people(), people(noise=1.5, seed=0)
    whole = compare(probe, known, "own", np.random.default_rng(0), 50)
    monkeypatch.setattr(matching, "BLOCK", 200)
    blocks = compare(probe, known, "own", np.random.default_rng(0), 50)
    for name in ("rank1", "rank5", "map", "auc", "eer"):
        assert blocks.estimates[name].value == pytest.approx(whole.estimates[name].value, abs=1e-9)
    monkeypatch.setattr(matching, "MOST_DIFFERENT", 500)
    monkeypatch.setattr(matching, "MOST_PROBES", 40)
    sampled = compare(probe, known, "own", np.random.default_rng(0), 50)
    assert sampled.counts["probes"] == 40 and 300 <= sampled.counts["different_pairs"] <= 500
    assert any("sample" in note for note in sampled.notes)


def test_scores_of_pairs_leave_out_what_was_not_found() -> None:
    known = people(4, 2)
    found = np.ones(8, dtype=np.bool_)
    found[0] = False
    partly = Embeddings(known.keys, known.identities, known.pictures, known.vectors, found)
    scores = pair_scores(partly, partly, "other", np.random.default_rng(0))
    assert len(scores.same) == 3 and len(scores.different) == 24 - 6
    assert scores.same.min() > 0.8 > scores.different.max()


def test_repeats_mean_several_pictures() -> None:
    assert has_repeats(people(2, 2))
    assert not has_repeats(people(4, 1))
    assert not has_repeats(embeddings(np.ones((2, 4)), ["a", "a"], ["p", "p"]))


def test_an_open_set_misses_nobody_who_is_clear_and_everybody_who_is_noise() -> None:
    known = people(60, 4)
    rng = np.random.default_rng(0)
    clear = compare(known, known, "other", rng, 20, threshold=0.5).estimates
    assert clear["fnir_at_fpir_1e-1"].value == 0.0 and clear["accepted_as_original"].value == 1.0
    assert clear["fnir_at_fpir_1e-2"].value is None and "1000 searches" in clear["fnir_at_fpir_1e-2"].reason
    gone = compare(noise(known), known, "other", rng, 20, threshold=0.9).estimates
    missed = gone["fnir_at_fpir_1e-1"].value
    assert missed is not None and missed > 0.9 and gone["accepted_as_original"].value == 0.0
    flat = embeddings(np.ones((240, 64)), list(known.identities))
    assert compare(flat, flat, "other", rng, 20).estimates["fnir_at_fpir_1e-1"].value == 1.0


def test_people_are_recognised_one_by_one() -> None:
    known = people(30, 2)
    half = np.arange(60) < 20
    other = noise(known).vectors
    probe = Embeddings(
        known.keys, known.identities, known.pictures, np.where(half[:, None], known.vectors, other), known.found
    )
    found = compare(probe, known, "own", np.random.default_rng(0), 20)
    assert found.counts["people"] == 30 and found.counts["recognised"] == 10
    assert [row[0] for row in found.people if row[1]] == [f"id{n}" for n in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)]
    worst, chance = found.estimates["rank1_worst"].value, found.estimates["rank1_worst_chance"].value
    assert worst == 1.0 and chance is not None and chance < 0.7
    by_chance = found.estimates["people_recognised_chance"].value
    assert by_chance is not None and by_chance < 0.05


def test_the_floor_is_not_raised_by_the_truth_where_people_are_few() -> None:
    # Two people: dealing names anew at random would deal the true ones half of the time.
    known = people(2, 4)
    found = compare(known, known, "own", np.random.default_rng(0), 20)
    assert found.estimates["rank1"].value == 1.0
    chance = found.estimates["rank1_chance"].value
    assert chance is not None and chance < 0.4
    assert found.null["rank1"]["possible"] == 1
