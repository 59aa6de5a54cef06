"""Intervals, bounds and tests against textbooks, and against people who are drawn anew."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.evaluation import intervals
from anonymizer.evaluation.deals import Deals, _dealt, _ways, by_lot, deal, lot_precision


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "audit_statistics.py"
    spec = importlib.util.spec_from_file_location("audit_statistics", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["audit_statistics"] = module
    spec.loader.exec_module(module)
    return module


def test_nobody_of_thirty_fits_up_to_twelve_in_a_hundred() -> None:
    none = intervals.proportion(np.zeros(30), np.arange(30))
    assert (none.value, none.low) == (0.0, 0.0) and none.high == pytest.approx(0.1157, abs=1e-4)
    # Ten pictures each of three people are three tries, not thirty.
    few = intervals.proportion(np.zeros(30), np.repeat(np.arange(3), 10))
    assert few.high == pytest.approx(1 - 0.025 ** (1 / 3), abs=1e-9)
    assert intervals.proportion(np.ones(1), np.zeros(1, np.int64)).low is None
    assert intervals.proportion(np.array([np.nan]), np.zeros(1, np.int64)).value is None
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        intervals.proportion(np.array([0.0, 2.0]), np.arange(2))


def test_four_of_four_are_no_certainty() -> None:
    found = intervals.proportion(np.ones(4), np.arange(4))
    assert found.high == 1.0 and found.low is not None and found.low < 0.5


def test_independent_answers_have_nearly_the_exact_binomial_interval() -> None:
    found = intervals.proportion(np.repeat([1.0, 0.0], [20, 80]), np.arange(100))
    # Clopper and Pearson, 20 of 100: 0.127 to 0.292.
    assert found.low == pytest.approx(0.127, abs=0.003) and found.high == pytest.approx(0.292, abs=0.003)


def test_what_the_lot_decides_widens_the_interval() -> None:
    proportions, who = np.full(40, 0.5), np.arange(40)
    sure = intervals.proportion(proportions, who, np.zeros(40))
    drawn = intervals.proportion(proportions, who, np.full(40, 0.25))
    assert drawn.low is not None and drawn.high is not None and sure.high is not None and sure.low is not None
    assert drawn.high - drawn.low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 40), rel=0.1)


def test_bounds_on_all_people() -> None:
    assert intervals.most_of_all(0, 100) == pytest.approx(1 - 0.05 ** (1 / 100), abs=1e-9)  # the rule of three
    assert intervals.most_of_all(5, 5) == 1.0
    assert intervals.most_of_all(0, 100, 0.001) > intervals.most_of_all(0, 100)


def test_holm_by_hand() -> None:
    assert intervals.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert intervals.holm([]) == [] and intervals.holm([0.6, 0.7]) == [1.0, 1.0]


def test_few_ways_to_deal_prove_nothing() -> None:
    assert intervals.tail(1.0, 0.3, 0.01, 0.0, possible=3) == 0.25
    assert intervals.tail(0.3, 0.3, 0.0, 0.0, possible=10**9) == 1.0
    assert intervals.tail(1.645, 0.0, 1.0, 0.0, possible=10**9) == pytest.approx(0.05, abs=1e-3)


def test_a_rate_that_is_stated_as_visible_is_seen_in_eight_of_ten() -> None:
    mean, deviation, people, level = 1 / 30, 0.03, 30, 0.01
    rate = intervals.detectable(mean, deviation, 0.0, people, level)
    rng = np.random.default_rng(0)
    seen = [
        intervals.tail(rng.binomial(people, rate) / people, mean, deviation, 0.0, 10**9) <= level for _ in range(4000)
    ]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.03)


def test_nobody_is_dealt_his_own_name() -> None:
    rng = np.random.default_rng(0)
    for people in (2, 3, 7):
        dealt, possible = deal(people, rng, 50)
        assert (dealt != np.arange(people)).all() and possible == {2: 1, 3: 2, 7: 1854}[people]
    swapped = _dealt(5, 50, True, rng)
    for row in swapped:
        assert (row == -1).sum() == 1
        kept = np.flatnonzero(row >= 0)
        assert (row[row[kept]] == kept).all()
    assert (_ways(1, False), _ways(4, False), _ways(4, True), _ways(5, True)) == (0, 9, 3, 15)
    assert len(deal(1, rng)[0]) == 0


def test_a_lot_by_hand() -> None:
    assert by_lot(10, 2)[0] == pytest.approx(0.2) and by_lot(4, 1, 4)[0] == pytest.approx(1.0)
    assert by_lot(5, 2, 2)[0] == pytest.approx(1 - (3 / 5) * (2 / 4))
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(20_000):
        places = np.sort(rng.permutation(12)[:3]) + 1
        drawn.append(np.mean(np.arange(1, 4) / places))
    assert lot_precision(12, 3) == pytest.approx(np.mean(drawn), abs=0.005)


def test_a_probe_looks_for_as_many_entries_as_it_really_has() -> None:
    who, pictures = np.repeat(np.arange(6), 3), np.arange(18)
    for mode, wanted in (("own", 1), ("other", 2)):
        deals = Deals(who, pictures, np.arange(6), mode, False, np.random.default_rng(0))  # type: ignore[arg-type]
        columns, views, _, leaves = deals.targets(2, 1)  # type: ignore[misc]
        assert (views.sum(axis=1) == wanted).all() and (leaves.sum(axis=1) == 3 - wanted).all()
        assert not (who[columns[views]] == 2).any()


@pytest.mark.parametrize(("people", "each", "rounds"), [(7, 5, 60), (25, 4, 25)])
@pytest.mark.parametrize("mode", ["own", "other"])
def test_intervals_hold_the_truth(simulation: ModuleType, people: int, each: int, rounds: int, mode: str) -> None:
    row = simulation.simulate(people, each, mode, 0.4, 1.0, rounds, 0, 60)
    assert min(row.coverage.values()) >= 0.9, row
    assert row.together > 0.9, row


def test_chance_alone_is_seldom_called_more(simulation: ModuleType) -> None:
    row = simulation.simulate(12, 2, "other", 0.0, 2.0, 80, 1, 20)
    assert row.together <= 0.125, row  # 5 % expected; 10 of 80 and more come up in 1 of 200 seeds


def test_all_three_figures_see_what_rank_1_alone_does_not(simulation: ModuleType) -> None:
    row = simulation.simulate(25, 4, "other", 0.15, 0.0, 20, 0, 20)
    assert row.power["auc"] >= row.power["rank1"] and row.together >= 0.9, row
