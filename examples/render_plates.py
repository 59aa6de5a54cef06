"""Render a street with simple vehicles that carry license plates, for trying out plate handling without photos.

Usage: ``python examples/render_plates.py FILE.png [--seed N]``. The same seed gives the same picture.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.redraw.plates import render_plate

__all__ = ["PLATES", "Vehicle", "render_street", "save"]

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

#: (height, width) of the picture.
SIZE = (720, 1280)
HORIZON = 300


@dataclass(frozen=True, slots=True)
class Vehicle:
    """A car seen from behind.

    Args:
        corners: Quad x, y of the car's back in the picture, clockwise from top left.
        paint: RGB of the body.
        text: Text on the plate.
        plate: RGB of the plate's background.
        wide: Whether the plate is wide and low, as in Europe, or short and high, as in America.
    """

    corners: tuple[tuple[int, int], ...]
    paint: Colour
    text: str
    plate: Colour
    wide: bool


VEHICLES = (
    Vehicle(((90, 262), (438, 250), (446, 590), (86, 574)), (150, 32, 36), "KR 58 WTX", (244, 244, 238), True),
    Vehicle(((560, 268), (760, 268), (764, 456), (556, 456)), (58, 84, 120), "7LMD493", (240, 240, 246), False),
    Vehicle(((862, 236), (1204, 262), (1192, 612), (852, 556)), (196, 198, 202), "HB 274 CN", (250, 206, 66), True),
)

#: Texts in the picture, left to right.
PLATES = tuple(vehicle.text for vehicle in VEHICLES)


def render_street(seed: int = 7) -> Image:
    """Return the street, RGB uint8 (720, 1280, 3)."""
    rng = np.random.default_rng(seed)
    scene = _backdrop(rng)
    for vehicle in VEHICLES:
        _place(scene, vehicle)
    soft = cv2.GaussianBlur(scene, (0, 0), 0.6).astype(np.float32)
    grain = rng.normal(0.0, 2.5, (*SIZE, 1))
    return np.clip(np.rint(soft + grain), 0, 255).astype(np.uint8)


def save(image: Image, path: Path) -> None:
    """Write an RGB picture, format by the name's ending.

    Raises:
        OSError: The file cannot be written.
    """
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
        raise OSError(f"cannot write {path}")


def _backdrop(rng: np.random.Generator) -> Image:
    """Return sky, houses, pavement and road."""
    height, width = SIZE
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    sky = np.array([168, 196, 226]) * (1 - down) + np.array([228, 232, 236]) * down
    scene = np.broadcast_to(sky, (height, width, 3)).astype(np.uint8).copy()
    x = 0
    while x < width:
        wide, top = int(rng.integers(110, 210)), int(rng.integers(30, 150))
        wall = tuple(int(v) for v in rng.integers(120, 205, 3) * np.array([1.0, 0.93, 0.84]))
        cv2.rectangle(scene, (x, top), (x + wide - 4, HORIZON + 20), wall, cv2.FILLED)
        for row in range(top + 22, HORIZON - 30, 56):
            for column in range(x + 16, x + wide - 34, 44):
                cv2.rectangle(scene, (column, row), (column + 22, row + 32), (70, 84, 100), cv2.FILLED)
                cv2.rectangle(scene, (column, row), (column + 22, row + 32), (226, 222, 212), 2)
        x += wide
    cv2.rectangle(scene, (0, HORIZON), (width, HORIZON + 60), (168, 164, 158), cv2.FILLED)
    cv2.rectangle(scene, (0, HORIZON + 60), (width, height), (92, 93, 96), cv2.FILLED)
    for start in range(-60, width, 260):
        dash = np.array([[start, 664], [start + 140, 664], [start + 128, 682], [start - 16, 682]], np.int32)
        cv2.fillConvexPoly(scene, dash, (214, 214, 208))
    speckle = rng.normal(0, 5, (height - HORIZON, width, 1))
    scene[HORIZON:] = np.clip(scene[HORIZON:] + speckle, 0, 255).astype(np.uint8)
    return scene


def _place(scene: Image, vehicle: Vehicle) -> None:
    """Draw a vehicle flat, then warp it into the scene, in place."""
    side = 720
    flat, cover = np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.uint8)
    _draw_back(flat, cover, vehicle)
    source = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    corners = np.array(vehicle.corners, np.float32)
    shadow = corners[[3, 2]].mean(axis=0)
    span = float(corners[2, 0] - corners[3, 0])
    dark = scene.copy()
    centre, axes = (int(shadow[0]), int(shadow[1]) - 4), (int(span * 0.54), int(span * 0.07))
    cv2.ellipse(dark, centre, axes, 0, 0, 360, (38, 38, 40), cv2.FILLED)
    scene[:] = cv2.addWeighted(scene, 0.25, dark, 0.75, 0)
    matrix = cv2.getPerspectiveTransform(source, corners)
    size = (SIZE[1] * 2, SIZE[0] * 2)
    twice = np.diag([2.0, 2.0, 1.0]) @ matrix
    warped = cv2.resize(cv2.warpPerspective(flat, twice, size), (SIZE[1], SIZE[0]), interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(cv2.warpPerspective(cover, twice, size), (SIZE[1], SIZE[0]), interpolation=cv2.INTER_AREA)
    weight = (alpha.astype(np.float32) / 255)[..., None]
    scene[:] = np.clip(np.rint(warped * weight + scene * (1 - weight)), 0, 255).astype(np.uint8)


def _draw_back(flat: Image, cover: NDArray[np.uint8], vehicle: Vehicle) -> None:
    """Draw a car's back and its outline on a square of 720, in place."""
    paint = np.array(vehicle.paint, np.float32)

    def shade(factor: float) -> Colour:
        red, green, blue = (int(min(v * factor, 255)) for v in paint)
        return red, green, blue

    def shape(points: list[tuple[int, int]], colour: Colour) -> None:
        polygon = np.array(points, np.int32)
        cv2.fillPoly(flat, [polygon], colour, cv2.LINE_AA)
        cv2.fillPoly(cover, [polygon], 255)

    for left in (70, 540):
        shape([(left, 560), (left + 110, 560), (left + 110, 716), (left, 716)], (26, 26, 28))
    shape([(150, 30), (570, 30), (650, 280), (70, 280)], shade(0.82))
    shape([(184, 62), (536, 62), (592, 262), (128, 262)], (44, 54, 64))
    cv2.fillPoly(flat, [np.array([(210, 70), (330, 70), (270, 255), (150, 255)], np.int32)], (74, 88, 100), cv2.LINE_AA)
    shape([(40, 270), (680, 270), (700, 420), (700, 560), (20, 560), (20, 420)], shade(1.0))
    shape([(10, 540), (710, 540), (700, 650), (20, 650)], shade(0.7))
    cv2.line(flat, (30, 300), (690, 300), shade(1.25), 5, cv2.LINE_AA)
    for left in (34, 576):
        shape([(left, 322), (left + 110, 322), (left + 110, 408), (left, 408)], (176, 22, 24))
        cv2.rectangle(flat, (left + 8, 372), (left + 102, 400), (236, 150, 60), cv2.FILLED)
    height, width = (84, 380) if vehicle.wide else (130, 250)
    left, top = 360 - width // 2, 440 - height // 2
    cv2.rectangle(flat, (left - 16, top - 14), (left + width + 16, top + height + 14), shade(0.55), cv2.FILLED)
    flat[top : top + height, left : left + width] = render_plate(
        vehicle.text, (height, width), vehicle.plate, (28, 30, 40)
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Render a street with license plates.")
    parser.add_argument("file", type=Path, metavar="FILE", help="picture to write, e.g. street.png")
    parser.add_argument("--seed", type=int, default=7, help="seed of houses and grain (default 7)")
    arguments = parser.parse_args()
    save(render_street(arguments.seed), arguments.file)
    print(f"{arguments.file}  plates: {', '.join(PLATES)}")
