"""Finer outlines of persons by a small network in ONNX that looks at one person at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.detect.core import refine
from anonymizer.detect.regions import widen
from anonymizer.errors import ModelError
from anonymizer.geometry import IntBox, context_box, integer_box, mask_box, outline_box, paste_window, take
from anonymizer.sessions import open_session
from anonymizer.types import Detector, Floats, Image, Instance, Mask, check_image

__all__ = ["CROP", "MARGIN", "OutlineDetector"]

#: Width and height in pixels at which the network looks at a person, and the room around the outline found before as a
#: share of its longer side.
CROP, MARGIN = (144, 192), 0.12
#: Persons looked at in one run; bounds memory in a crowd.
BATCH = 8
#: IoU with the outline found before from which the network shows the same person.
SAME = 0.5
#: How far off the network's outline may lie, as a share of the window's longer side: less than a vote of coarse looks.
RADIUS = 0.02


class OutlineDetector:
    """Runs a detector and draws the outlines of its persons anew.

    What is treated only grows: a finer outline that misses a hand must not release it. Where the two outlines disagree
    on who is meant, the detector's stays.

    Args:
        inner: Detector to run.
        path: ONNX file with input ``person`` float32 (N, 4, 192, 144), RGB and the outline found before in [0, 1], and
            output ``outline`` float32 (N, h, w) in [0, 1].
        device: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ModelError: The file cannot be loaded or its input or output has another name.
    """

    def __init__(self, inner: Detector, path: Path, device: str = "cpu") -> None:
        self._inner = inner
        self._session = open_session(path, "outlines", device)
        names = [i.name for i in self._session.get_inputs()], [o.name for o in self._session.get_outputs()]
        if names != (["person"], ["outline"]):
            raise ModelError(
                f"outlines: expected input 'person' and output 'outline' in {path}, got {names[0]} and {names[1]}; "
                "fetch the weights again"
            )

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return the inner detector's instances in RGB uint8 (H, W, 3), persons with finer outlines."""
        check_image(image)
        found = self._inner.detect(image)
        persons = [instance for instance in found if instance.label == "person"]
        finer = dict(zip((p.id for p in persons), self._finer(image, persons), strict=True))
        return tuple(finer.get(instance.id, instance) for instance in found)

    def _finer(self, image: Image, persons: Sequence[Instance]) -> list[Instance]:
        out = []
        for first in range(0, len(persons), BATCH):
            group = persons[first : first + BATCH]
            windows = [context_box(outline_box(person), MARGIN, CROP[1] / CROP[0]) for person in group]
            batch = np.stack([_seen(image, person, window) for person, window in zip(group, windows, strict=True)])
            (likely,) = self._session.run(["outline"], {"person": batch})
            out += [_drawn(image, *each) for each in zip(group, windows, likely, strict=True)]
        return out


def _seen(image: Image, person: Instance, window: IntBox) -> NDArray[np.float32]:
    """Return what the network sees of a person, float32 (4, 192, 144)."""
    method = cv2.INTER_AREA if window[2] - window[0] > CROP[0] else cv2.INTER_LINEAR
    crop = cv2.resize(take(image, window), CROP, interpolation=method)
    outline = cv2.resize(_moved(person.outline, person, window), CROP, interpolation=method)
    whole = np.dstack([crop.astype(np.float32) / np.float32(255), outline])
    return np.ascontiguousarray(whole.transpose(2, 0, 1))


def _moved(mask: Mask, person: Instance, window: IntBox) -> NDArray[np.float32]:
    """Return a mask in a person's frame in that of a window, float32 (h, w)."""
    x1, y1, x2, y2 = integer_box(person.box)
    out = np.zeros((window[3] - window[1], window[2] - window[0]), np.float32)
    inside, local = paste_window((x1 - window[0], y1 - window[1], x2 - window[0], y2 - window[1]), out.shape)
    out[inside] = mask[local]
    return out


def _drawn(image: Image, person: Instance, window: IntBox, likely: Floats) -> Instance:
    """Return a person with the outline that likelihoods (h, w) in a window and the picture's edges agree on."""
    (rows, columns), _ = paste_window(window, (image.shape[0], image.shape[1]))
    frame = columns.start, rows.start, columns.stop, rows.stop
    x1, y1, x2, y2 = window
    share = cv2.resize(likely, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)
    share = share[rows.start - y1 : rows.stop - y1, columns.start - x1 : columns.stop - x1]
    inside = np.array(frame, np.float32)
    new = refine(image, inside, share, np.ones(share.shape, np.bool_), RADIUS)
    tight = mask_box(new)
    old = _moved(person.outline, person, frame) > 0
    if tight is None or np.count_nonzero(new & old) < SAME * np.count_nonzero(new | old):
        return person
    box = np.array(tight, np.float32) + inside[[0, 1, 0, 1]]
    drawn = Instance(person.id, "person", box, new[tight[1] : tight[3], tight[0] : tight[2]], 0.0, "outline")
    return widen(replace(person, core=np.zeros_like(person.mask)), drawn)
