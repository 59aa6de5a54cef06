"""Where a person's joints are, by a small network in ONNX: how limbs lie, and nothing of what the person looks like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.errors import ModelError
from anonymizer.geometry import context_box, integer_box, paste_window, take
from anonymizer.sessions import open_session
from anonymizer.types import Image, Instance, Pose

__all__ = ["CROP", "MARGIN", "PoseNet"]

#: Width and height in pixels at which the network looks at a person, and the room around the box as a share of its
#: longer side.
CROP, MARGIN = (144, 192), 0.1
#: Persons looked at in one run; bounds memory in a crowd.
BATCH = 8


class PoseNet:
    """Finds the joints of persons.

    Args:
        path: ONNX file with input ``person`` float32 (N, 4, 192, 144), RGB and mask in [0, 1], and outputs ``places``
            float32 (N, J, h, w), how likely a joint is in a cell (each map sums to 1), and ``visible`` float32 (N, J)
            in [0, 1].
        device: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ModelError: The file cannot be loaded or its input or outputs have other names.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._session = open_session(path, "pose", device)
        names = [i.name for i in self._session.get_inputs()], [o.name for o in self._session.get_outputs()]
        if names != (["person"], ["places", "visible"]):
            raise ModelError(
                f"pose: expected input 'person' and outputs 'places', 'visible' in {path}, got {names[0]} and "
                f"{names[1]}; fetch the weights again"
            )

    def estimate(self, image: Image, persons: Sequence[Instance]) -> tuple[Pose, ...]:
        """Return the pose of each person, in the same order.

        Args:
            image: RGB uint8 (H, W, 3).
            persons: Instances of class ``person``.
        """
        out: list[Pose] = []
        for first in range(0, len(persons), BATCH):
            group = persons[first : first + BATCH]
            windows = [context_box(person.box, MARGIN, CROP[1] / CROP[0]) for person in group]
            batch = np.stack([_seen(image, person, window) for person, window in zip(group, windows, strict=True)])
            places, visible = self._session.run(["places", "visible"], {"person": batch})
            for maps, scores, (x1, y1, x2, y2) in zip(places, visible, windows, strict=True):
                points = peaks(maps) * (x2 - x1, y2 - y1) + (x1, y1)
                out.append(Pose(points.astype(np.float32), np.clip(scores, 0, 1).astype(np.float32)))
        return tuple(out)


def peaks(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return where maps (J, h, w) are highest, as shares of width and height, (J, 2) x, y.

    The mean over the five by five cells around the highest one: finer than a cell, and another joint's peak elsewhere
    does not draw it away.
    """
    count, height, width = maps.shape
    highest = maps.reshape(count, -1).argmax(axis=1)
    rows, columns = np.mgrid[:height, :width]
    near = (np.abs(rows - (highest // width)[:, None, None]) <= 2) & (
        np.abs(columns - (highest % width)[:, None, None]) <= 2
    )
    weight = maps.astype(np.float64) * near
    total = np.maximum(weight.sum(axis=(1, 2)), 1e-12)
    x, y = (weight * (columns + 0.5)).sum(axis=(1, 2)) / total, (weight * (rows + 0.5)).sum(axis=(1, 2)) / total
    return np.stack([x / width, y / height], axis=1)


def _seen(image: Image, person: Instance, window: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Return what the network sees of a person, float32 (4, 192, 144)."""
    x1, y1, x2, y2 = integer_box(person.box)
    mask = np.zeros((window[3] - window[1], window[2] - window[0]), np.uint8)
    inside, local = paste_window((x1 - window[0], y1 - window[1], x2 - window[0], y2 - window[1]), mask.shape)
    mask[inside] = person.outline[local].astype(np.uint8) * 255
    layers = [cv2.resize(layer, CROP, interpolation=cv2.INTER_AREA) for layer in (take(image, window), mask)]
    whole = np.concatenate([layers[0], layers[1][..., None]], axis=2).astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(whole.transpose(2, 0, 1))
