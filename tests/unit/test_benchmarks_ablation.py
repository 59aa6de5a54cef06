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

from anonymizer.avatar import artist
from anonymizer.config import presets, read_preset
from anonymizer.flow import pipeline
from anonymizer.redraw.diffusion import DiffusionInpainter, InpaintJob

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
    with ablation.VARIANTS["no rendering"][1]():
        assert [(j.start, j.strength) for j in inpaint(jobs)] == [(None, 1.0)] * 2
    with ablation.VARIANTS["no text"][1]():
        assert [j.prompt for j in inpaint(jobs)] == ["", ""]
    with ablation.VARIANTS["no denoising"][1]():
        first, second = inpaint(jobs)
        assert np.array_equal(first, jobs[0].start) and second is jobs[1]
    with ablation.VARIANTS["whole"][1]():
        assert inpaint(jobs) == list(jobs)
    assert inpaint(jobs) == list(jobs)


def test_fill_and_light_are_replaced_for_a_while(ablation: ModuleType) -> None:
    image, hidden = np.full((4, 4, 3), 50, np.uint8), np.zeros((4, 4), bool)
    image[0, 0], hidden[0, 0] = 255, True
    kept = pipeline.redact, artist.estimate_light, artist.noise_level
    with ablation.VARIANTS["no fill"][1]():
        assert (pipeline.redact(image, hidden, None, plain=None) == 50).all()
    with ablation.VARIANTS["no light"][1]():
        assert artist.estimate_light(None, (0, 0, 1, 1), None) is ablation.PLAIN_LIGHT
        assert artist.noise_level(image, hidden, (0, 0, 1, 1)) == 0
    assert (pipeline.redact, artist.estimate_light, artist.noise_level) == kept


def test_every_variant_is_a_preset_of_its_own(ablation: ModuleType) -> None:
    whole = presets.tables()["embedded"]
    for settings, _ in ablation.VARIANTS.values():
        changed = ablation.avatars.changed(whole, settings, ())
        read_preset("variant", changed)
        assert (changed != whole) is bool(settings)
