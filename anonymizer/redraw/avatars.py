"""Avatars in a redraw: who stands where a person stood, what of it shows, and what steers the denoising there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from anonymizer.geometry import IntBox, integer_box, paste_window
from anonymizer.redraw.crops import treated_mask, treated_region
from anonymizer.types import AvatarArtist, Conditions, DepthEstimator, EdgeDetector, Instance, Rendering

__all__ = ["cover", "draw_avatars", "pasted", "rendered_conditions", "shown_as"]

#: Greatest proportion of an avatar that the person's safe mask may cut off: beyond it, it is no longer somebody.
MOST_CUT = 0.4
#: Least proportion of a person's outline that the avatar covers: below it, the body was posed badly.
LEAST_COVER = 0.5
#: Coverage of a pixel from which it belongs to the avatar.
HALF = 0.5
#: Sets the chance that decides on avatars apart from all other under one seed.
AVATAR_DRAW = 2


def draw_avatars(
    artist: AvatarArtist,
    image: NDArray[np.uint8],
    persons: Iterable[Instance],
    seeds: Mapping[int, int],
    faces: Mapping[int, Instance],
) -> dict[int, Rendering]:
    """Return a rendering for each person whose pose is known well enough, by id.

    Args:
        artist: Draws avatars.
        image: RGB uint8 (H, W, 3) with all that is anonymized filled.
        persons: Persons to redraw.
        seeds: Seed by instance id.
        faces: Best face by the id of its person.
    """
    size = image.shape[0], image.shape[1]
    out: dict[int, Rendering] = {}
    for person in persons:
        # Who is linked looks the same in every picture and attempt.
        rng = np.random.default_rng((seeds[person.id] if person.link is None else person.link, AVATAR_DRAW))
        drawn = artist.draw(image, person, rng, faces.get(person.id))
        if drawn is None:
            continue
        # What lies beyond the person's box, as legs behind a table do, was not seen of the person either.
        y1, y2 = (int(v) for v in (person.box[1], np.ceil(person.box[3])))
        whole = float((drawn.alpha[max(y1 - drawn.box[1], 0) : max(y2 - drawn.box[1], 0)] >= HALF).sum())
        shown = shown_as(person, drawn)
        if not whole or float((cover(person, drawn, size) >= HALF).sum()) < (1 - MOST_CUT) * whole:
            continue
        if float((shown.outline & person.outline).sum()) >= LEAST_COVER * float(person.outline.sum()):
            out[person.id] = drawn
    return out


def cover(person: Instance, drawn: Rendering, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return how much of each pixel of a person's safe mask the avatar covers.

    Args:
        person: Whose place the avatar takes.
        drawn: The avatar.
        size: Picture (height, width).

    Returns:
        float32 (h, w) in [0, 1] in the frame of ``crops.treated_region``'s box, 0 outside of its mask.
    """
    box, mask = treated_region(person, size)
    out = np.zeros(mask.shape, np.float32)
    inside, local = _window(drawn.box, box, mask.shape)
    out[inside] = drawn.alpha[local]
    return np.where(mask, out, np.float32(0))


def shown_as(person: Instance, drawn: Rendering) -> Instance:
    """Return a person whose outline is that of the avatar inside the person's mask."""
    frame = integer_box(person.box)
    core = np.zeros_like(person.mask)
    inside, local = _window(drawn.box, frame, core.shape)
    core[inside] = drawn.alpha[local] >= HALF
    core &= person.mask
    return replace(person, core=core) if core.any() else person


def pasted(crop: NDArray[np.uint8], window: IntBox, drawn: Rendering) -> NDArray[np.uint8]:
    """Return a crop RGB uint8 (h, w, 3) of a picture, integer xyxy ``window``, with an avatar laid over it."""
    out = crop.copy()
    inside, local = _window(drawn.box, window, (crop.shape[0], crop.shape[1]))
    alpha = drawn.alpha[local][..., None]
    out[inside] = np.rint(out[inside] * (1 - alpha) + drawn.rgb[local] * alpha).astype(np.uint8)
    return out


def rendered_conditions(
    image: NDArray[np.uint8],
    persons: Sequence[Instance],
    renderings: Mapping[int, Rendering],
    conditions: Conditions,
    depth: DepthEstimator,
    edges: EdgeDetector,
) -> Conditions:
    """Return conditions that hold nothing of persons with an avatar: inside their masks, those of the avatars.

    Args:
        image: RGB uint8 (H, W, 3) with all that is anonymized filled.
        persons: Persons with an avatar, far to near, with the avatars' outlines.
        renderings: Avatars by id.
        conditions: Conditions of the rest.
        depth: Estimates depth.
        edges: Finds edges.
    """
    size = image.shape[0], image.shape[1]
    scene = image
    for person in persons:
        scene = pasted(scene, (0, 0, size[1], size[0]), renderings[person.id])
    inside = treated_mask(persons, size)
    avatars = tuple(replace(person, mask=person.outline, core=None) for person in persons)
    near, lines = depth.estimate(scene, avatars), edges.detect(scene)
    return Conditions(
        np.where(inside, near, conditions.depth).astype(np.float32),
        np.where(inside, lines, conditions.edges).astype(np.float32),
        conditions.poses,
    )


def _window(box: IntBox, frame: IntBox, size: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return slices of a frame of ``size`` and of a box, both integer xyxy, where the two meet."""
    moved = box[0] - frame[0], box[1] - frame[1], box[2] - frame[0], box[3] - frame[1]
    return paste_window(moved, (size[0], size[1]))
