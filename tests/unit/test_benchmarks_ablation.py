"""Variants of the ablation: each changes what it says for as long as it lasts, and nothing else."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from anonymizer import Instance
from anonymizer.avatar import artist
from anonymizer.flow import pipeline
from anonymizer.redraw.diffusion import DiffusionInpainter, InpaintJob
from anonymizer.verify.verifier import Verifier

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def ablation() -> Iterator[ModuleType]:
    names = ("ablation", "avatars", "avatar_measures", "avatar_run", "packs", "markdown_table")
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("ablation")
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> tuple[InpaintJob, InpaintJob]:
    """Two jobs, the second without a start; an inpainter answers with what it was given."""
    flat = np.zeros((8, 8), np.float32)
    job = InpaintJob(
        np.zeros((8, 8, 3), np.uint8), flat > 1, flat, flat, "a person", 1, np.full((8, 8, 3), 9, np.uint8), 0.1
    )
    monkeypatch.setattr(DiffusionInpainter, "inpaint", lambda self, jobs: list(jobs))
    return job, replace(job, start=None, strength=1.0)


def inpaint(jobs: Any) -> Any:
    return DiffusionInpainter.inpaint(None, jobs)  # type: ignore[arg-type]


def test_variants_change_the_jobs_and_end(ablation: ModuleType, jobs: tuple[InpaintJob, InpaintJob]) -> None:
    with ablation.VARIANTS["no rendering"]():
        assert [(j.start, j.strength) for j in inpaint(jobs)] == [(None, 1.0)] * 2
    with ablation.VARIANTS["no depth"]():
        assert [j.scales for j in inpaint(jobs)] == [(0.0, 1.0)] * 2
    with ablation.VARIANTS["no edges"]():
        assert [j.scales for j in inpaint(jobs)] == [(1.0, 0.0)] * 2
    with ablation.VARIANTS["no text"]():
        assert [j.prompt for j in inpaint(jobs)] == ["", ""]
    with ablation.VARIANTS["no denoising"]():
        first, second = inpaint(jobs)
        assert np.array_equal(first, jobs[0].start) and second is jobs[1]
    with ablation.VARIANTS["whole"]():
        assert inpaint(jobs) == list(jobs)
    assert inpaint(jobs) == list(jobs)


def test_fill_and_light_are_replaced_for_a_while(ablation: ModuleType) -> None:
    image, hidden = np.full((4, 4, 3), 50, np.uint8), np.zeros((4, 4), bool)
    image[0, 0], hidden[0, 0] = 255, True
    kept = pipeline.redact, artist.estimate_light, artist.noise_level
    with ablation.VARIANTS["no fill"]():
        assert (pipeline.redact(image, hidden, None, plain=None) == 50).all()
    with ablation.VARIANTS["no light"]():
        assert artist.estimate_light(None, (0, 0, 1, 1), None) is ablation.PLAIN_LIGHT
        assert artist.noise_level(image, hidden, (0, 0, 1, 1)) == 0
    assert (pipeline.redact, artist.estimate_light, artist.noise_level) == kept


def test_all_passes_unverified_and_nothing_is_looked_at(ablation: ModuleType) -> None:
    image, whole = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), bool)
    face = Instance(3, "face", np.array([0, 0, 8, 8], np.float32), whole)
    verifier = Verifier(Blind())
    with ablation.unverified():
        evidence = verifier.examine(image, [face])
        assert verifier.find(image) == () and verifier.keeps(face, ()) and verifier.leaks(whole, [face]) == ()
        # Unchanged pixels fail otherwise.
        verdicts = verifier.check(evidence, image, whole, {3: "redrawn"})
    assert {v.instance_id for v in verdicts if v.passed} == {None, 3}
    assert not all(v.passed for v in verifier.check(evidence, image, whole, {3: "redrawn"}, ()))


def test_variants_share_fills_and_avatars_by_light(
    ablation: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(pipeline, "redact", lambda *_, **__: made.append("fill"))
    monkeypatch.setattr(pipeline, "draw_avatars", lambda *_, **__: made.append("avatars"))
    kept, image = ablation.Kept(tmp_path), np.zeros((4, 4, 3), np.uint8)
    for light in ("", "", "no light"):
        with ablation.shared(kept, light):
            pipeline.redact(image, image[..., 0] > 0, None, plain=None)
            pipeline.draw_avatars(None, image, [], [], {1: 2}, None, {})
    assert made == ["fill", "avatars", "avatars"]


class Blind:
    def detect(self, image: object) -> tuple[Instance, ...]:
        return ()
