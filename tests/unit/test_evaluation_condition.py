"""The condition leak: what maps carry with and without the guard."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from anonymizer.condition.depth import GroundPlaneDepth
from anonymizer.core.errors import InputError
from anonymizer.core.records import Floats, Image, TextLine
from anonymizer.evaluation.attacks.condition import LEVELS, SCALES, MapShape, attack, conditions_of, render
from anonymizer.evaluation.records import Finding, Skipped, Subject

from .attack_fakes import Eye, Scene

FACE = np.array([40, 30, 104, 104], np.float32)


class Grey:
    """An edge detector that shows the picture itself."""

    def detect(self, image: Image) -> Floats:
        return np.asarray(image[..., 0], np.float32) / np.float32(255)


class Reader:
    """Reads a text wherever anything stands in the middle."""

    def read(self, image: Image) -> tuple[TextLine, ...]:
        height, width = image.shape[:2]
        seen = image[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3]
        return (TextLine(np.zeros((4, 2), np.float32), "ABC123", 0.9),) if seen.std() > 20 else ()


def drawn(seed: int) -> Image:
    """Lines that belong to a person, in a face's place."""
    rng = np.random.default_rng(seed)
    image = np.zeros((140, 150, 3), np.uint8)
    for _ in range(6):
        ends = rng.integers([44, 34], [100, 100], (2, 2))
        cv2.line(image, tuple(map(int, ends[0])), tuple(map(int, ends[1])), (255, 255, 255), 2)
    return image


def people(label: str, count: int = 12) -> Scene:
    scene = Scene()
    mask = None if label == "face" else np.ones((74, 64), bool)
    for number in range(count):
        for take in "ab":
            name = f"{number:02d}{take}.png"
            scene.add(name, drawn(number), Subject(name, 0, label, FACE, mask=mask, identity=f"p{number}"))
    return scene


def test_maps_are_scaled_in_grey() -> None:
    values = np.array([[0.0, 0.5, 1.0]], np.float32)
    assert render(values, 0.5)[0, :, 0].tolist() == [0, 64, 128]
    assert render(values, 1.0).shape == (1, 3, 3)


def test_every_guard_level_is_made_from_the_same_maps() -> None:
    subject = Subject("a", 0, "face", FACE)
    levels = conditions_of(drawn(0), [subject], GroundPlaneDepth(), Grey())
    assert set(levels) == set(LEVELS)
    assert np.array_equal(levels[0].edges, drawn(0)[..., 0] / np.float32(255))
    assert not np.array_equal(levels[1].edges, levels[0].edges)


def test_flat_maps_describe_nobody() -> None:
    shape = MapShape("face")
    flat = [shape.embed(np.full((140, 150, 3), level, np.uint8), FACE, None, None) for level in (0, 90)]
    assert np.array_equal(flat[0], flat[1])
    assert float(np.linalg.norm(flat[0])) == pytest.approx(1, abs=1e-5)


def test_the_guard_takes_faces_out_of_edge_maps(tmp_path: Path) -> None:
    eye = Eye(lambda crop: crop.astype(np.float32).ravel() + 1)
    context = people("face").context(tmp_path, ("face",), lambda image, _: image, (eye,), bootstrap=20)
    found = [f for f in attack(context, GroundPlaneDepth(), Grey(), None) if isinstance(f, Finding)]

    def rank1(recognizer: str, protocol: str) -> float:
        (finding,) = (f for f in found if f.recognizer == recognizer and f.protocol.startswith(protocol))
        value = finding.estimates["rank1"].value
        assert value is not None
        return value

    for scale in SCALES["edges"]:
        same = "gallery of the same maps"
        assert rank1("HOG of the map", f"edges map, guard off, scale {scale:g}; {same}") == 1
        # 12 identities, all with the same outline.
        assert rank1("HOG of the map", f"edges map, guard 1 (default), scale {scale:g}; {same}") < 0.2
        assert rank1("HOG of the map", f"edges map, guard 2 (strict), scale {scale:g}; {same}") < 0.2
    assert rank1("eye", "edges map, guard off, scale 1; gallery of photographs") == 1
    assert rank1("HOG of the map", "edges map, guard 1 (default), scale 1; gallery of unguarded") < 0.2
    assert {f.variant for f in found} == {"conditions"}
    assert all("embedded preset" in " ".join(f.notes) for f in found)


def test_persons_keep_their_silhouette_whatever_the_guard(tmp_path: Path) -> None:
    context = people("person").context(tmp_path, ("person",), lambda image, _: image, bootstrap=20)
    found = attack(context, GroundPlaneDepth(), Grey(), None)
    (outline,) = (f for f in found if f.protocol.startswith("mask alone"))
    assert isinstance(outline, Finding)
    assert outline.recognizer == "silhouette (mask alone)"
    assert outline.counts["probes"] == 24


def test_plates_are_read_in_edge_maps_only_without_the_guard(tmp_path: Path) -> None:
    scene = Scene()
    for number, text in enumerate(("ABC123", "ZZZ999")):
        image = np.zeros((80, 160, 3), np.uint8)
        image[34:46, 50:110:6] = 255
        name = f"{number}.png"
        scene.add(name, image, Subject(name, 0, "license_plate", np.array([40, 28, 120, 52], np.float32), text=text))
    context = scene.context(tmp_path, ("license_plate",), lambda image, _: image, bootstrap=20)
    found = attack(context, GroundPlaneDepth(), Grey(), Reader())
    by_level = {
        level: [f for f in found if isinstance(f, Finding) and name in f.protocol] for level, name in LEVELS.items()
    }
    assert all(f.estimates["exact_read"].value == 0.5 for f in by_level[0])
    assert all(f.estimates["exact_read"].value == 0 for f in by_level[1] + by_level[2])
    assert len(by_level[0]) == len(SCALES["edges"])


def test_nothing_there_is_said(tmp_path: Path) -> None:
    scene = Scene()
    scene.add("a.png", drawn(0), Subject("a.png", 0, "license_plate", FACE))
    context = scene.context(tmp_path, ("face", "license_plate"), lambda image, _: image)
    found = attack(context, GroundPlaneDepth(), Grey(), Reader())
    assert [type(f) for f in found] == [Skipped, Skipped]
    assert "annotated text" in found[1].reason


def test_boxes_outside_are_refused() -> None:
    with pytest.raises(InputError):
        conditions_of(drawn(0)[..., :1], [], GroundPlaneDepth(), Grey())
