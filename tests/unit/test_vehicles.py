"""Vehicles: found by COCO's names, redrawn whole, with their plates on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from anonymizer.condition.guard import guard
from anonymizer.core.records import BODIES, CLASSES, Conditions, Instance
from anonymizer.detect.merge import associate, merge
from anonymizer.redraw.crops import CropSetting
from anonymizer.redraw.diffusion import InpaintJob
from anonymizer.redraw.direction import Direction, Director
from anonymizer.redraw.redrawer import Redrawer
from anonymizer.verify.checks import LEAST_IOU


def instance(number: int, label: str, box: tuple[int, int, int, int], score: float = 1.0) -> Instance:
    x1, y1, x2, y2 = box
    return Instance(number, label, np.array(box, np.float32), np.ones((y2 - y1, x2 - x1), bool), score)


def test_every_class_has_a_limit_for_being_found_again() -> None:
    assert set(LEAST_IOU) == set(CLASSES) and set(BODIES) <= set(CLASSES)


def test_a_plate_belongs_to_the_smallest_vehicle_around_it_and_a_face_to_a_person() -> None:
    found = associate(
        (
            instance(1, "vehicle", (0, 0, 200, 100)),
            instance(2, "vehicle", (50, 20, 120, 80)),
            instance(3, "license_plate", (60, 60, 90, 70)),
            instance(4, "license_plate", (300, 60, 330, 70)),
            instance(5, "face", (60, 30, 70, 40)),
        )
    )
    assert [i.parent for i in found] == [None, None, 2, None, None]


def test_one_vehicle_under_two_names_is_one() -> None:
    car, truck = instance(1, "vehicle", (10, 10, 100, 60), 0.9), instance(2, "vehicle", (12, 10, 101, 62), 0.4)
    (one,) = merge([car, truck], (200, 200))
    assert one.score == pytest.approx(0.9)


def test_the_guard_coarsens_edges_inside_a_vehicle_and_keeps_the_rest() -> None:
    rng = np.random.default_rng(0)
    edges = rng.random((80, 120), dtype=np.float32)
    maps = Conditions(np.zeros((80, 120), np.float32), edges)
    guarded = guard(maps, [instance(1, "vehicle", (20, 20, 100, 60))])
    inside = np.zeros((80, 120), bool)
    inside[20:60, 20:100] = True
    assert np.array_equal(guarded.edges[~inside], edges[~inside])
    assert len(np.unique(guarded.edges[inside])) <= 5


class Shades:
    """Paints each job in a shade of its own and remembers what it was shown."""

    def __init__(self) -> None:
        self.jobs: list[InpaintJob] = []

    def inpaint(self, jobs: Sequence[InpaintJob]) -> list[np.ndarray]:
        self.jobs += jobs
        return [np.full_like(job.image, 40 * (1 + len(job.prompt) % 5)) for job in jobs]


def test_a_plate_is_drawn_on_the_redrawn_vehicle() -> None:
    inpainter = Shades()
    crops = {"vehicle": CropSetting(64, 64, 0.1), "license_plate": CropSetting(32, 64, 0.2)}
    redrawer = Redrawer(inpainter, crops, director=Director(Direction(scales={"vehicle": (0.7, 0.2)})))
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    flat = Conditions(np.zeros((120, 160), np.float32), np.zeros((120, 160), np.float32))
    core = np.zeros((26, 60), bool)
    core[8:18, 10:50] = True
    car, plate = instance(1, "vehicle", (20, 20, 140, 100)), instance(2, "license_plate", (55, 62, 115, 88))
    seen = np.array([[65, 70, 105, 80]], np.float32)
    plate = replace(plate, core=core, views=seen)
    patches = redrawer.redraw(image, image, [car, plate], flat, {1: 1, 2: 2}, {2: ("AB 123 C",)})
    assert set(patches) == {1, 2}
    (job,) = inpainter.jobs  # Plates are drawn, not painted.
    assert job.scales == (0.7, 0.2) and "vehicle" in job.prompt
    # Around the plate lies the flat shade of the new vehicle, not the noisy original.
    shade = patches[1].pixels[40, 60].astype(int)
    rim = patches[2].pixels[0].astype(int)
    assert np.abs(rim - shade).mean() < 8 < image[60, 53:117].astype(int).std()
