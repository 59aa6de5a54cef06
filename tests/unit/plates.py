"""Pictures of plates for tests."""

import cv2
import numpy as np

from anonymizer.core.records import Instance
from anonymizer.redraw.plate_render import Band, render_plate

FRONTAL = [(110, 90), (290, 90), (290, 128), (110, 128)]
TILTED = [(110, 80), (290, 108), (288, 148), (108, 120)]


def street(
    quad: list[tuple[int, int]],
    text: str = "KR 58 WTX",
    noise: float = 0.0,
    wider: int = 3,
    size: tuple[int, int] = (110, 520),
    colours: tuple[tuple[int, int, int], tuple[int, int, int]] = ((240, 240, 236), (24, 24, 30)),
    bands: tuple[Band, ...] = (),
) -> tuple[np.ndarray, Instance]:
    """Return a dark car with a plate at a quad, and the plate's upright box, a little wider, with a full mask."""
    image = np.full((240, 400, 3), (70, 30, 34), np.uint8)
    flat = render_plate(text, size, *colours, bands)
    height, width = size
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, np.array(quad, np.float32))
    cover = cv2.warpPerspective(np.full(size, 255, np.uint8), matrix, (400, 240)) > 127
    image[cover] = cv2.warpPerspective(flat, matrix, (400, 240), flags=cv2.INTER_AREA)[cover]
    if noise:
        grain = np.random.default_rng(1).normal(0, noise, image.shape)
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
    corners = np.array(quad)
    x1, y1, x2, y2 = *(corners.min(0) - wider), *(corners.max(0) + wider)
    box = np.array([x1, y1, x2, y2], np.float32)
    return image, Instance(1, "license_plate", box, np.ones((y2 - y1, x2 - x1), bool))


def masked(plate: Instance, quad: list[tuple[int, int]], shift: float = 0.0, keep: float = 1.0) -> Instance:
    """Return the plate as a network sees it that draws a mask, a few pixels off, or only a part of it."""
    x1, y1 = plate.box[:2].astype(int)
    core = np.zeros(plate.mask.shape, np.uint8)
    corners = np.array(quad, np.float32) - [x1, y1] + shift
    cv2.fillConvexPoly(core, np.rint(corners).astype(np.int32), 1)
    core[:, round(keep * core.shape[1]) :] = 0
    return Instance(1, "license_plate", plate.box, plate.mask, core=core > 0, views=plate.box[None])
