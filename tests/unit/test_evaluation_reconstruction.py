"""The reconstruction attack undoes what can be undone, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.core.records import Floats, Image
from anonymizer.evaluation.attacks.reconstruction import SIDE, Settings, face_crop, run, train, unet
from anonymizer.evaluation.records import Finding, Skipped, Subject
from anonymizer.recognize.align import ARCFACE_TEMPLATE

from .attack_fakes import Eye, Scene

BOX = np.array([20, 10, 92, 102], np.float32)
SMALL = Settings(steps=80, rounds=2, batch=8, width=8, rate=0.02, least_identities=10)


def people(count: int) -> Scene:
    """Pictures whose middle has the colours of its person, two of each."""
    rng = np.random.default_rng(0)
    scene = Scene()
    for number in range(count):
        colours = rng.integers(60, 196, (4, 4, 3))
        for take in range(2):
            lit = np.clip(colours + rng.integers(-12, 13, (4, 4, 3)), 0, 255).astype(np.uint8)
            image = cv2.resize(lit, (112, 112), interpolation=cv2.INTER_NEAREST)
            name = f"{number:02d}{'ab'[take]}.png"
            scene.add(name, image, Subject(name, 0, "face", BOX, landmarks=ARCFACE_TEMPLATE, identity=f"p{number}"))
    return scene


def grid(crop: Image) -> Floats:
    small = cv2.resize(np.ascontiguousarray(crop), (4, 4), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32).ravel() - 128


def inverted(image: Image, subjects: Sequence[Subject]) -> Image:
    return 255 - image


def black(image: Image, subjects: Sequence[Subject]) -> Image:
    return np.zeros_like(image)


def test_the_network_is_as_small_as_it_says_and_starts_from_its_input() -> None:
    torch = pytest.importorskip("torch")
    net = unet(Settings().width)
    assert sum(p.numel() for p in net.parameters()) <= 300_000
    image = torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        assert torch.allclose(net(image), image)


def test_training_repeats_and_learns() -> None:
    rng = np.random.default_rng(0)
    faces = np.stack([np.full((SIDE, SIDE, 3), level, np.uint8) for level in rng.integers(60, 196, 24)])
    settings = Settings(steps=40, batch=8, width=8, rate=0.02)
    who = [f"p{number}" for number in range(24)]
    trained = train(255 - faces, faces, who, settings, 3)
    again = train(255 - faces, faces, who, settings, 3)
    assert trained.error == again.error
    assert trained.error < 40
    assert 2 <= trained.rounds <= 5
    restored = trained.undo(255 - faces)
    assert np.array_equal(restored, again.undo(255 - faces))
    before = np.abs(255 - faces.astype(int) - faces).mean()
    assert np.abs(restored.astype(int) - faces).mean() < before / 2
    assert trained.parameters < 300_000
    assert len(trained.undo(faces[:0])) == 0
    with pytest.raises(InputError, match="hold one out"):
        train(faces, faces, ["p"] * 24, settings, 3)


def test_what_is_undone_is_recognised_and_what_is_gone_is_not(tmp_path: Path) -> None:
    scene = people(14)
    context = scene.context(tmp_path, ("face",), black, (Eye(grid),), invert=inverted)
    found = {(f.variant, "left out" in f.protocol): f for f in run(context, SMALL) if isinstance(f, Finding)}
    assert set(found) == {(v, o) for v in ("invert", "anonymized") for o in (True, False)}
    undone, gone = found["invert", True], found["anonymized", True]
    assert undone.estimates["rank1_not_restored"].value is not None
    assert undone.estimates["rank1"].value is not None
    assert undone.estimates["rank1_not_restored"].value < 0.2
    assert undone.estimates["rank1"].value > 0.6
    # Black faces are all alike: whoever is guessed, it is one of 28 pictures.
    assert gone.estimates["rank1"].value is not None
    assert gone.estimates["rank1"].value < 0.2
    assert undone.counts["probes"] == 14
    assert "80 steps" in undone.notes[0]
    assert "parameters" in undone.notes[0]
    assert "falling" in undone.notes[0].lower()


def test_too_few_people_and_bodies_are_skipped(tmp_path: Path) -> None:
    context = people(4).context(tmp_path, ("face", "person"), black, (Eye(grid),))
    found = run(context, SMALL)
    assert [f.label for f in found] == ["person", "face"]
    assert all(isinstance(f, Skipped) for f in found)
    nobody = people(4).context(tmp_path, ("face",), black)
    (only,) = run(nobody, SMALL)
    assert isinstance(only, Skipped)
    assert "recogniser" in only.reason


def test_crops_are_aligned() -> None:
    image = np.zeros((300, 300, 3), np.uint8)
    points = ARCFACE_TEMPLATE * 2 + 30
    cv2.circle(image, tuple(int(v) for v in points[2]), 6, (255, 0, 0), -1)
    subject = Subject("a", 0, "face", np.array([60, 60, 220, 260], np.float32), landmarks=points)
    crop = face_crop(image, subject)
    rows, columns = np.nonzero(crop[..., 0] > 128)
    assert (columns.mean(), rows.mean()) == pytest.approx(tuple(ARCFACE_TEMPLATE[2]), abs=1.0)
