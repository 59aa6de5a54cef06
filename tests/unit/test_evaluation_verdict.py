"""Verdicts from plain findings, grouping of unknown faces, and pairs by rule."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.evaluation.control import Control, Resaved
from anonymizer.evaluation.grouping import group
from anonymizer.evaluation.pairing import Rule
from anonymizer.evaluation.records import Estimate, Finding, Pair, Subject, plain
from anonymizer.evaluation.verdict import STATES, fails

from . import evaluation_document as made
from .attack_fakes import Eye, Scene

BOX = np.array([0, 0, 8, 8], np.float32)


def finding(value: float, **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "attack": "aligned",
        "label": "face",
        "variant": "anonymized",
        "recognizer": "r",
        "protocol": "p",
        "estimates": {"rank1": Estimate(value), "rank1_chance": Estimate(0.05)},
        "counts": {"identities": 60},
        "null": {"rank1": made.null(value, 0.05, 0.02)},
        "mode": "own",
    }
    return dict(plain(Finding(**(fields | changes))))


def state(*found: dict[str, Any], **survey: Any) -> str:
    return str(made.verdict(list(found), {"face": 60}, **survey)["state"])


def test_stop_rules_go_before_every_rate() -> None:
    fine = finding(0.05)
    assert state(fine) == "chance" and state(finding(0.9)) == "more"
    assert state(fine, untouched={"face": ["a#0"]}) == "stop"
    assert state(fine, identical=["a.png"]) == "stop" and state(fine, extra=1) == "stop"
    assert state(fine, problems={"different sizes": ["a"]}, counts={"different sizes": 1}) == "stop"
    leaks = finding(0.05, attack="leak", counts={"detected_leaked_by_embedded": 1}, null={})
    assert state(fine, leaks) == "stop"
    weak = finding(0.05, attack="leak", counts={"detected_leaked_by_opencv-hog": 1}, null={})
    assert state(fine, weak) == "chance"


def test_a_leak_seen_by_a_judge_that_failed_its_control_counts_and_its_silence_does_not() -> None:
    assert state(finding(0.9, recognizer="unknown")) == "more"
    assert state(finding(0.05, recognizer="unknown")) == "unable"
    assert state(finding(0.9, judge=False)) == "unable"


def test_many_comparisons_are_corrected_for_their_number() -> None:
    lucky = finding(0.05 + 2 * 0.02)  # 2 of 100 by chance
    assert state(lucky) == "more"
    assert state(lucky, *[finding(0.05, protocol=f"p{n}") for n in range(9)]) == "chance"


def test_the_maximum_over_judges_is_reported_with_its_correction_and_every_judge_beside_it() -> None:
    names = [f"judge {n}" for n in range(5)]
    found = [finding(0.05 + 0.01 * n, recognizer=name) for n, name in enumerate(names)]
    found.append(finding(0.06, recognizer="judge 4", protocol="weaker"))
    (part,) = made.verdict(found, {"face": 60})["classes"]
    assert [one["recognizer"] for one in part["judges"]] == names[::-1]
    first = part["judges"][0]
    assert first == part["strongest"] and first["value"] == 0.09 and first["protocol"] == "p"
    # Two deviations: 1 of 44 for a single judge, which six comparisons make 1 of 7.
    assert first["probability"] < 0.03 and first["corrected"] == pytest.approx(6 * first["probability"])
    assert part["state"] == "unable"  # judges without a positive control can accuse, and here none does


def test_levels_fail_on_what_is_worse_too() -> None:
    for level, failing in (("leak", 1), ("more-than-chance", 2), ("too-few", 4)):
        assert [fails(name, level) for name in STATES] == [n < failing for n in range(len(STATES))]
    assert fails("nothing", "too-few") and not fails("nothing", "leak")


def test_lights_rest_on_their_own_attacks() -> None:
    verdict = made.verdict([finding(0.9), finding(0.05, attack="parrot")], {"face": 60})
    lights = {light["question"]: light["state"] for light in verdict["lights"]}
    assert lights == {"single out": "more", "link": "chance", "infer": "unmeasured"}


def test_an_original_saved_anew_differs_everywhere_and_looks_the_same() -> None:
    rng = np.random.default_rng(0)
    image = np.repeat(np.repeat(rng.integers(0, 256, (8, 8, 3), np.uint8), 12, axis=0), 12, axis=1)
    saved = Resaved()(Pair("a", Path("a"), Path("a")), image, ())
    assert saved.shape == image.shape and saved.dtype == np.uint8
    moved = np.roll(image, (1, 2), axis=(0, 1))[2:, 3:]
    assert np.abs(saved[2:, 3:].astype(int) - moved).mean() < 12 < np.abs(saved.astype(int) - image).mean()


def faces(threshold: float, tmp_path: Path) -> Any:
    """A context of three people in two pictures each, of nobody known, and a judge with a threshold of its own."""
    scene = Scene()
    for who in range(3):
        for view in range(2):
            image = np.zeros((8, 8, 3), np.uint8)
            image[..., who] = 200 + 5 * view
            name = f"{who}{view}.png"
            inside = np.array([1, 1, 5, 5], np.float32)
            scene.add(name, image, Subject(name, 0, "face", inside), Subject(name, 1, "person", BOX))
    judge = Eye(lambda crop: crop.reshape(-1, 3).mean(axis=0) + 1.0)
    judge.embedder = SimpleNamespace(threshold=threshold)  # type: ignore[attr-defined]
    return scene.context(tmp_path, ("face", "person"), lambda image, _: image, (judge,))


def test_faces_of_nobody_known_are_grouped_by_an_able_judge_and_persons_follow(tmp_path: Path) -> None:
    able = (Control("eye", "face", "own", 1.0, 0.1, True),)
    found = group(faces(0.9, tmp_path), able)
    assert found is not None and "grouped them into 3 people" in found.said and "own threshold" in found.said
    by_name: dict[str, set[str]] = {}
    for key, name in found.names.items():
        by_name.setdefault(name, set()).add(key)
    assert sorted(map(sorted, by_name.values())) == [
        sorted(f"{who}{view}.png#{number}" for view in range(2) for number in range(2)) for who in range(3)
    ]
    none = group(faces(0.0, tmp_path), able)
    assert none is not None and not none.names and "has no threshold of its own" in none.said
    assert group(faces(0.9, tmp_path), (Control("eye", "face", "own", 0.1, 0.1, False, "no"),)) is None


def test_released_names_follow_a_rule(tmp_path: Path) -> None:
    assert Rule("_x")("deep/a.jpg") == "deep/a_x.jpg" and Rule()("a.jpg") == "a.jpg"
    table = tmp_path / "pairs.csv"
    table.write_text("a.jpg,one.png\n\nb.jpg,two.png\n")
    rule = Rule.read(table)
    assert (rule("a.jpg"), rule("c.jpg")) == ("one.png", None)
    for text, message in (
        ("a.jpg\n", "expected original,released"),
        ("a.jpg,x\na.jpg,y\n", "named before"),
        ("a.jpg,x\nb.jpg,x\n", "named before"),
    ):
        table.write_text(text)
        with pytest.raises(InputError, match=message):
            Rule.read(table)
    with pytest.raises(InputError, match="readable CSV"):
        Rule.read(tmp_path / "nothing.csv")
