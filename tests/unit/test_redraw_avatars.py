"""Redraws that start from an avatar: inside the person's region only, and nothing of the original in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anonymizer.redraw.avatars import cover, steered
from anonymizer.redraw.crops import CropSetting, treated_region
from anonymizer.redraw.diffusion import PaintJob
from anonymizer.redraw.redrawer import Redrawer, compose
from anonymizer.types import Conditions, Instance, Rendering

SIZE = 200, 160
BOX = (60, 40, 100, 160)


def person() -> Instance:
    mask = np.zeros((120, 40), np.bool_)
    mask[:, 5:35] = True
    return Instance(1, "person", np.array(BOX, np.float32), mask)


def rendering(box: tuple[int, int, int, int] = (50, 30, 110, 170), alpha: float = 1.0) -> Rendering:
    size = box[3] - box[1], box[2] - box[0]
    cover = np.zeros(size, np.float32)
    cover[5:-5, 10:-10] = alpha
    return Rendering(
        box=box,
        rgb=np.full((*size, 3), (200, 40, 40), np.uint8),
        alpha=cover,
        depth=cover,
        edges=np.full(size, 0.5, np.float32),
        joints=np.zeros((17, 3), np.float32),
        parts=(cover > 0).astype(np.uint8),
        residual=0.05,
    )


class Copy:
    """Paints what it starts from."""

    def __init__(self) -> None:
        self.jobs: list[PaintJob] = []

    def paint(self, jobs: Sequence[PaintJob]) -> list[np.ndarray]:
        self.jobs += jobs
        return [job.image if job.start is None else job.start for job in jobs]


class Figures:
    """Prototypes that are all green."""

    def strength(self, label: str) -> float:
        return 0.2

    def head(self, *rest: object) -> None:
        """Nobody here needs one."""

    def begin(self, job: PaintJob, *rest: object) -> PaintJob:
        return replace(job, start=np.full_like(job.image, (0, 200, 0)), strength=0.2)


class Artist:
    def __init__(self, made: Rendering | None) -> None:
        self.made = made
        self.seen: list[np.ndarray] = []

    def draw(self, image: np.ndarray, person: Instance, rng: np.random.Generator) -> Rendering | None:
        self.seen.append(image)
        return self.made


def flat(edges: float = 0.0) -> Conditions:
    return Conditions(np.full(SIZE, 0.3, np.float32), np.full(SIZE, edges, np.float32))


def redrawn(made: Rendering | None) -> tuple[np.ndarray, np.ndarray, Copy, Artist]:
    painter, artist = Copy(), Artist(made)
    redrawer = Redrawer(painter, {"person": CropSetting(96, 48, 0.1)}, Figures(), artist=artist)  # type: ignore[arg-type]
    original, filled = np.full((*SIZE, 3), 255, np.uint8), np.full((*SIZE, 3), 90, np.uint8)
    patch = redrawer.redraw(original, [person()], flat(), {1: 1}, {}, clean=lambda: filled)[1]
    return *compose(original, [patch]), painter, artist


def test_an_avatar_stands_in_the_persons_place_and_the_fill_around_it() -> None:
    out, treated, painter, artist = redrawn(rendering())
    assert np.abs(out[100, 75:85].astype(int) - (200, 40, 40)).max() < 12
    assert (artist.seen[0] == 90).all(), "it sees the filled picture"
    assert painter.jobs[0].strength == 0.2
    (x1, y1, x2, y2), region = treated_region(person(), SIZE)
    assert (treated[y1:y2, x1:x2] == region).all()
    assert (out[~treated] == 255).all()


def test_it_never_shows_outside_of_the_persons_region() -> None:
    wide = cover(person(), rendering(), SIZE)
    _, region = treated_region(person(), SIZE)
    assert wide is not None and (wide[~region] == 0).all() and wide[region].max() == 1


def test_without_an_avatar_a_figure_is_drawn() -> None:
    for made in (None, rendering((50, 130, 110, 170))):
        out, *_ = redrawn(made)
        assert np.abs(out[100, 75:85].astype(int) - (0, 200, 0)).max() < 12


def test_a_face_on_an_avatar_is_the_avatars() -> None:
    painter, settings = Copy(), {"person": CropSetting(96, 48, 0.1), "face": CropSetting(32, 32, 0.3)}
    redrawer = Redrawer(painter, settings, Figures(), artist=Artist(rendering()))  # type: ignore[arg-type]
    original, filled = np.full((*SIZE, 3), 255, np.uint8), np.full((*SIZE, 3), 90, np.uint8)
    face = Instance(2, "face", np.array([70, 45, 90, 65], np.float32), parent=1)
    patches = redrawer.redraw(original, [person(), face], flat(), {1: 1, 2: 2}, {}, clean=lambda: filled)
    assert np.abs(patches[2].pixels[4:-4, 4:-4].astype(int) - (200, 40, 40)).max() < 12
    assert painter.jobs[1].image.max() < 210, "nothing of the original around it"
    elsewhere = Instance(2, "face", np.array([100, 2, 120, 22], np.float32), parent=1)
    patches = redrawer.redraw(original, [person(), elsewhere], flat(), {1: 1, 2: 2}, {}, clean=lambda: filled)
    assert np.abs(patches[2].pixels[4:-4, 4:-4].astype(int) - (0, 200, 0)).max() < 12


def test_edges_and_depth_of_the_original_are_not_used_in_the_region() -> None:
    (x1, y1, x2, y2), region = treated_region(person(), SIZE)
    edges, depth = np.zeros(SIZE, np.float32), np.full(SIZE, 0.3, np.float32)
    edges[y1:y2, x1:x2][region] = 1
    rows = np.linspace(0.5, 0.7, y2 - y1, dtype=np.float32)[:, None]
    depth[y1:y2, x1:x2] = np.where(region, rows, depth[y1:y2, x1:x2])
    window = (40, 20, 120, 180)
    got_depth, got_edges = steered(Conditions(depth, edges), person(), rendering(), window)
    inside = np.zeros((160, 80), np.bool_)
    inside[y1 - 20 : y2 - 20, x1 - 40 : x2 - 40] = region
    assert np.allclose(got_edges[inside], 0.5) and (got_edges[~inside] == 0).all()
    assert np.unique(got_depth[inside].round(3)).size == 1, "one depth for the whole body"
    assert abs(float(got_depth[inside][0]) - 0.6) < 0.02 and np.allclose(got_depth[~inside], 0.3)


def test_what_the_avatar_leaves_free_is_as_deep_as_its_surroundings() -> None:
    depth = np.full(SIZE, 0.3, np.float32)
    depth[40:160, 60:100] = 0.8
    got, _ = steered(Conditions(depth, np.zeros(SIZE, np.float32)), person(), rendering(alpha=0), (40, 20, 120, 180))
    (x1, y1, x2, y2), region = treated_region(person(), SIZE)
    free = got[y1 - 20 : y2 - 20, x1 - 40 : x2 - 40][region]
    assert set(np.unique(free.round(2))) <= {np.float32(0.3), np.float32(0.8)}
