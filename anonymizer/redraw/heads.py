"""Head and neck of a person's prototype: hair and skin in colours drawn by chance.

An average of whole persons has no hair to speak of: hair styles average to a grey hood around the face. So where the
person's face is known, hair and neck are drawn around the place where the new face comes to lie. Only the face's box
decides where; colours, length and strands are chance, and skin is that of an average face.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Look", "random_look", "with_head"]

Floats = NDArray[np.float32]

#: Natural colours of hair, RGB, and how often they are drawn.
HAIR = (((34, 29, 27), 3.0), ((62, 44, 34), 4.0), ((96, 70, 50), 3.0), ((158, 128, 90), 1.5), ((128, 124, 120), 1.0))
#: How often hair reaches the shoulders.
LONG = 0.35
#: The head around the face: half width and half height of its ellipse and where its middle lies, as shares of the
#: face's width and height from its middle and top. It is wide: the person's outline cuts it.
HEAD = (0.95, 0.95, 0.45)
#: Where short and long hair end and the neck begins and ends, as shares of the face's height from its top; half widths
#: of the neck and of what hangs down beside it, as shares of the face's width.
SHORT_END, LONG_END, NECK, NECK_HALF, HANGING_HALF = 0.72, 1.45, (0.85, 1.32), 0.36, 0.72
#: Half width of what shows of the neck beside the chin, as a share of the face's width.
JAW_HALF = 0.46
#: The place of the face with its forehead, likewise: half width, half height and middle.
FACE = (0.46, 0.48, 0.53)
#: Softness of borders, as a share of the face's height; depth of strands; how dark the neck is under the chin.
SOFT, STRANDS, SHADOW = 0.05, 0.15, 0.72
#: Neutral features of a face that is not painted itself: middle, half width and half height as shares of the face's
#: width and height, and how dark. Brows, eyes, nose, mouth.
FEATURES = (
    *((side * 0.2, 0.33, 0.11, 0.025, 0.35) for side in (-1, 1)),
    *((side * 0.2, 0.41, 0.075, 0.03, 0.6) for side in (-1, 1)),
    (0.0, 0.60, 0.08, 0.03, 0.3),
    (0.0, 0.77, 0.15, 0.025, 0.45),
)
#: Strands around the head.
COUNT = 90


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """How a head looks: colours RGB float32 (3,), hair's length, and the brightness of its strands (COUNT,)."""

    hair: Floats
    skin: Floats
    long: bool
    strands: Floats


def random_look(rng: np.random.Generator, skin: Floats) -> Look:
    """Return a look drawn at random, independent of the original.

    Args:
        rng: Source of chance.
        skin: RGB float32 (3,).
    """
    weights = np.array([weight for _, weight in HAIR])
    hair = np.array(HAIR[rng.choice(len(HAIR), p=weights / weights.sum())][0], np.float32)
    strands = 1 + STRANDS * rng.uniform(-1, 1, COUNT).astype(np.float32)
    return Look(hair * np.float32(rng.uniform(0.85, 1.15)), skin, bool(rng.random() < LONG), strands)


def with_head(content: Floats, face: Floats, look: Look) -> Floats:
    """Return a person's prototype with hair around a face and a neck below it.

    Args:
        content: RGB float32 (h, w, 3), 0 to 255.
        face: Box (4,) xyxy of the face in it.
        look: How the head looks.
    """
    x1, y1, x2, y2 = (float(v) for v in face)
    width, height = max(x2 - x1, 1.0), max(y2 - y1, 1.0)
    rows, columns = np.mgrid[: content.shape[0], : content.shape[1]].astype(np.float32)
    across, down = (columns + 0.5 - (x1 + x2) / 2) / width, (rows + 0.5 - y1) / height

    def inside(distance: Floats) -> Floats:
        """Return 1 where a signed distance (negative inside) is clearly below 0, 0 where it is above, soft between."""
        return np.clip(0.5 - distance / (2 * SOFT), 0, 1)

    def ellipse(half_width: float, half_height: float, middle: float) -> Floats:
        radius = np.hypot(across / half_width, (down - middle) / half_height)
        return np.asarray((radius - 1) * min(half_width, half_height), np.float32)

    side = np.abs(across)
    head = ellipse(*HEAD)
    neck = np.maximum(np.maximum(side - NECK_HALF, NECK[0] - down), down + side**2 - NECK[1])
    end = LONG_END if look.long else SHORT_END
    hair = np.maximum(head, down - end)
    if look.long:
        hair = np.minimum(hair, np.maximum(np.maximum(side - HANGING_HALF, down - end), HEAD[2] - down))
    # Below the ears and beside the chin of a short-haired head comes the neck, not the collar.
    jaw = np.maximum(np.maximum(head, down - 1.05), side - JAW_HALF)
    shade = SHADOW + (1 - SHADOW) * np.clip((down - 1.0) / 0.3, 0, 1)
    layers = (
        (jaw, look.skin * shade[..., None]),
        (hair, _combed(across, down, look)),
        (neck, look.skin * shade[..., None]),
        (ellipse(*FACE), np.broadcast_to(look.skin, content.shape)),
    )
    out = content
    for distance, colour in layers:
        weight = inside(np.asarray(distance, np.float32))[..., None]
        out = out + weight * (colour - out)
    return np.asarray(out * _features(across, down)[..., None], np.float32)


def _features(across: Floats, down: Floats) -> Floats:
    """Return how bright the same neutral features for everyone leave each pixel of a face, float32 (h, w) in [0, 1]."""
    out = np.ones(across.shape, np.float32)
    for x, y, half_width, half_height, dark in FEATURES:
        radius = ((across - x) / half_width) ** 2 + ((down - y) / half_height) ** 2
        out *= 1 - dark * np.exp(-radius)
    return out


def _combed(across: Floats, down: Floats, look: Look) -> Floats:
    """Return the hair's colour for each pixel: strands that run from the crown, lit from above."""
    angle = np.arctan2(across, down + 0.2)  # 0 straight down from the crown
    where = (angle / (2 * np.pi) + 0.5) * COUNT
    # Strands are looked up along their number; the last one meets the first.
    table = np.concatenate([look.strands, look.strands[:1]])[None]
    strand = cv2.remap(table, where.astype(np.float32), np.zeros_like(where, np.float32), cv2.INTER_LINEAR)
    light = 1.12 - 0.25 * np.clip(down + 0.2, 0, 1)
    return np.asarray(look.hair * (strand * light)[..., None], np.float32)
