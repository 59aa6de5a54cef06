"""The identity guard: what the maps that steer a redraw may still say about who or what was there.

An edge map of a face shows the face, one of a plate its characters. The guard removes that before the maps reach the
generator:

===========  =====================================  ===================  ==========================================
level        faces and plates                       persons              vehicles
===========  =====================================  ===================  ==========================================
0 OFF        as found                               as found             as found
1 DEFAULT    outline and neutral features; depth a  the mask's rim       edges coarsened: blurred, quantised,
             plane                                                       soft-thresholded
2 STRICT     as level 1                             the mask's rim       the mask's rim
===========  =====================================  ===================  ==========================================

Persons who are redrawn over an avatar do not come here: their maps are the avatar's.

Rims are drawn from boxes and masks alone, so nothing of the pixels inside enters them. Where a face's five landmarks
are known, eyes, nose and mouth are drawn as the same neutral marks for everyone: they keep pose and gaze, which users
of the pictures need, and of identity only where those five points lie.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError
from anonymizer.core.geometry import IntBox, integer_box, paste_window
from anonymizer.core.records import BODIES, Conditions, Instance

__all__ = ["DEFAULT", "OFF", "STRICT", "GuardSettings", "guard"]

Floats = NDArray[np.float32]

OFF, DEFAULT, STRICT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """How strongly the guard works.

    Args:
        face_margin: Growth of a face box on each side, as a share of its width and height.
        sigma: Blur of edges inside a vehicle, as a share of the vehicle's height.
        steps: Number of edge strengths above zero that remain inside a vehicle.
        threshold: Edge strength that soft thresholding takes away inside a vehicle, in [0, 1).
        rim: Edge strength of drawn outlines, in [0, 1].
        rim_width: Thickness of drawn outlines, as a share of the instance's shorter side; at least one pixel.
    """

    face_margin: float = 0.2
    sigma: float = 0.015
    steps: int = 4
    threshold: float = 0.2
    rim: float = 0.7
    rim_width: float = 0.02


def guard(
    conditions: Conditions,
    instances: Iterable[Instance],
    level: int = DEFAULT,
    settings: GuardSettings | None = None,
) -> Conditions:
    """Return conditions that carry less identity.

    Args:
        conditions: Depth and edges of the whole picture.
        instances: Instances in its pixels.
        level: ``OFF``, ``DEFAULT`` or ``STRICT``.
        settings: How strongly; ``GuardSettings()`` if None.

    Returns:
        New conditions; the same object at level ``OFF``.

    Raises:
        InputError: An unknown level.
    """
    if level not in (OFF, DEFAULT, STRICT):
        raise InputError(f"guard level: expected 0 (off), 1 (default) or 2 (strict), got {level}")
    if level == OFF:
        return conditions
    chosen = settings or GuardSettings()
    depth, edges = conditions.depth.copy(), conditions.edges.copy()
    every = tuple(instances)
    for instance in every:
        if instance.label in BODIES:
            _guard_body(edges, conditions.edges, instance, level, chosen)
    # After persons: a face's rim must not be coarsened with its person.
    for instance in every:
        if instance.label not in BODIES:
            _guard_small(depth, edges, instance, chosen)
    # Nobody else holds these two: frozen here, they need not be copied.
    depth.flags.writeable = edges.flags.writeable = False
    return replace(conditions, depth=depth, edges=edges)


def _guard_body(edges: Floats, original: Floats, instance: Instance, level: int, settings: GuardSettings) -> None:
    """Coarsen or drop edges inside a mask, in place; reads only ``original``, so order does not matter."""
    box = integer_box(instance.box)
    picture, local = paste_window(box, (edges.shape[0], edges.shape[1]))
    mask = instance.mask[local]
    if not mask.any():
        return
    if level == STRICT or instance.label == "person":
        kept = _rim(mask, _thickness(box, settings)).astype(np.float32) * np.float32(settings.rim)
    else:
        found = np.where(mask, original[picture], np.float32(0))
        kept = _coarsen(found, settings.sigma * (box[3] - box[1]), settings)
    edges[picture][mask] = kept[mask]


def _coarsen(found: Floats, sigma: float, settings: GuardSettings) -> Floats:
    """Return edges (h, w) blurred, stretched back to their strength, soft-thresholded and quantised."""
    strongest = float(found.max())
    blurred = np.asarray(cv2.GaussianBlur(found, (0, 0), max(sigma, 0.8)), np.float32)
    peak = float(blurred.max())
    if peak <= 0:
        return np.zeros_like(found)
    # Blurring thins out lines; the strongest one keeps its strength, or small people would lose all their edges.
    stretched = blurred * (strongest / peak)
    soft = np.clip((stretched - settings.threshold) / (1 - settings.threshold), 0, 1)
    return (np.rint(soft * settings.steps) / settings.steps).astype(np.float32)


def _guard_small(depth: Floats, edges: Floats, instance: Instance, settings: GuardSettings) -> None:
    """Leave only the rim of a face, plate or text, and a plane of depth, in place."""
    size = edges.shape[0], edges.shape[1]
    box = integer_box(instance.box)
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    face = instance.label == "face"
    margin = settings.face_margin if face else 0.0
    # One pixel more than the box: an edge on the border's far side still shows where characters end.
    pad_x, pad_y = int(np.ceil(margin * width)) + 1, int(np.ceil(margin * height)) + 1
    grown = x1 - pad_x, y1 - pad_y, x2 + pad_x, y2 + pad_y
    picture, local = paste_window(grown, size)
    edges[picture] = 0.0
    frame = np.zeros((height + 2 * pad_y, width + 2 * pad_x), np.uint8)
    thickness = _thickness(box, settings)
    if face:
        centre = pad_x + width // 2, pad_y + height // 2
        axes = max(width // 2 - 1, 1), max(height // 2 - 1, 1)
        cv2.ellipse(frame, centre, axes, 0, 0, 360, 1, thickness)
        inside = np.zeros_like(frame)
        cv2.ellipse(inside, centre, axes, 0, 0, 360, 1, cv2.FILLED)
        flat = inside[local] > 0
    else:
        cv2.rectangle(frame, (pad_x, pad_y), (pad_x + width - 1, pad_y + height - 1), 1, thickness)
        flat = np.ones_like(frame[local], dtype=bool)
    if face and instance.landmarks is not None:
        _draw_features(frame, instance.landmarks - np.array(grown[:2], np.float32), settings)
    edges[picture][frame[local] > 0] = settings.rim
    _flatten(depth[picture], flat)


def _draw_features(frame: NDArray[np.uint8], landmarks: Floats, settings: GuardSettings) -> None:
    """Draw neutral eyes, nose and mouth into a frame (h, w), in place; landmarks (5, 2) x, y in its pixels."""
    eyes, nose, mouth = landmarks[:2], landmarks[2], landmarks[3:]
    across = eyes[1] - eyes[0]
    # In profile the eyes fall together: the face's height is then the better measure.
    length = max(float(np.hypot(*across)), 0.6 * float(np.hypot(*(mouth.mean(axis=0) - eyes.mean(axis=0)))))
    angle = float(np.degrees(np.arctan2(across[1], across[0])))
    thickness = max(1, round(2 * settings.rim_width * length))

    def mark(centre: Floats, width: float, height: float, start: int, stop: int) -> None:
        axes = max(round(width * length), 1), max(round(height * length), 1)
        cv2.ellipse(frame, np.rint(centre).astype(int).tolist(), axes, angle, start, stop, 1, thickness)

    for eye in eyes:
        mark(eye, 0.2, 0.09, 0, 360)
    mark(nose, 0.16, 0.1, 0, 180)
    first, second = np.rint(mouth).astype(int).tolist()
    cv2.line(frame, first, second, 1, thickness)


def _flatten(depth: Floats, region: NDArray[np.bool_]) -> None:
    """Replace depth (h, w) in a region by the plane that fits it best, in place."""
    rows, columns = np.nonzero(region)
    if not rows.size:
        return
    design = np.stack([rows, columns, np.ones_like(rows)], axis=1).astype(np.float64)
    plane, *_ = np.linalg.lstsq(design, depth[region].astype(np.float64), rcond=None)
    depth[region] = np.clip(design @ plane, 0.0, 1.0)


def _rim(mask: NDArray[np.bool_], thickness: int) -> NDArray[np.bool_]:
    """Return the pixels of a mask within ``thickness`` of its outside."""
    padded = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    return np.asarray(mask & (distance <= thickness), dtype=np.bool_)


def _thickness(box: IntBox, settings: GuardSettings) -> int:
    return max(1, round(settings.rim_width * min(box[2] - box[0], box[3] - box[1])))
