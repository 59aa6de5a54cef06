"""Avatars in a redraw: who stands where a person stood, what of it shows, and what steers the denoising there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import IntBox, feather, integer_box, mask_box, outline_box, paste_window
from anonymizer.core.records import AvatarArtist, Instance, Rendering
from anonymizer.redraw.crops import anonymized_mask

__all__ = [
    "confined",
    "draw_avatars",
    "face_as",
    "pasted",
    "pedals",
    "room",
    "seen_by",
    "shaded",
    "shape_of",
    "shown_as",
]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

#: Greatest proportion of an avatar that the safe masks may cut off: beyond it, it is no longer somebody.
MOST_CUT = 0.4
#: Least proportion of a person's outline that the avatar covers: below it, the body was posed badly.
LEAST_COVER = 0.5
#: Coverage of a pixel from which it belongs to the avatar.
HALF = 0.5
#: Share of a person's longer side by which an avatar may reach beyond the safe masks, and its limits in pixels: hair,
#: sleeves and hems of somebody else, and no more than a hand's breadth of what may stand in front.
MARGIN, MARGIN_LIMITS = 0.03, (2, 24)
#: How far an avatar may reach below a person's outline, in heights of the outline: feet and their shadow; and one that
#: goes on below: a mask that is wider on the safe side may hold the table that somebody sits at.
BELOW, BEHIND = 0.1, 0.03
#: Share of a person's longer side over which a shadow fades at the edge of its room, beyond which none may lie.
SHADOW_RIM = 0.025
#: Pixels over which an avatar fades where the safe masks cut it.
CUT_RIM = 2
#: Least proportion of a bicycle's box that the safe masks hold for the bicycle to be gone with its rider, without the
#: box's rim, a proportion of its sides, for boxes are loose: of 44 riders, most from CamVid, found or given, 39 have
#: 0.87 and more; of the others, at 0.34 to 0.82, wheels stay.
GONE, RIM = 0.85, 0.12
#: Of somebody who pedals, seen from before or behind: least proportion of the bicycle's width that the outline covers,
#: limits of the height from crown to ground, and least height of both ankles above the ground, in heights of the
#: bicycle. Of 24 riders 0.81, 1.5 to 2.2 and 0.2; ankles of who stands before or beside a bicycle on the same ground
#: lie at 0.1.
COVERS, TALL, PEDALLING = 0.8, (1.4, 2.4), 0.18
#: BlazePose's ankles.
ANKLES = [27, 28]
#: Sets the chance that decides on avatars apart from all other under one seed.
AVATAR_DRAW = 2
#: Avatars that are rendered beside each other: a third would wait for Python's lock, and takes memory.
BESIDE = 2


def seen_by(
    artist: AvatarArtist,
    image: Image,
    everyone: Sequence[Instance],
    horizon: float,
    drawn: set[str] | None = None,
) -> Any:
    """Return what an artist takes from a filled picture once for all its persons.

    Args:
        artist: Draws avatars.
        image: RGB uint8 (H, W, 3) with all that is anonymized filled.
        everyone: All instances of the picture, as they were found.
        horizon: Row of the horizon in pixels.
        drawn: What those look like who were drawn in the picture so far; whoever is drawn is added.
    """
    hidden = anonymized_mask(everyone, (image.shape[0], image.shape[1]))
    return artist.look(image, hidden, [i for i in everyone if i.label == "person"], horizon, drawn)


def draw_avatars(
    artist: AvatarArtist,
    image: Image,
    persons: Iterable[Instance],
    everyone: Sequence[Instance],
    seeds: Mapping[int, int],
    view: Any,
    rides: Mapping[int, Instance] = MappingProxyType({}),
) -> dict[int, Rendering]:
    """Return a rendering for each person whose pose is known well enough, by id, cut to where avatars may show.

    Args:
        artist: Draws avatars.
        image: RGB uint8 (H, W, 3) with all that is anonymized filled.
        persons: Persons to redraw, as they were found.
        everyone: All instances of the picture, as they were found.
        seeds: Seed by instance id.
        view: What ``seen_by`` returned for the picture; nobody whom it knows is drawn again.
        rides: The bicycle or motorcycle that a person rides, by the person's id. Where a bicycle is gone with its
            rider, another is drawn, if there is room for it.
    """
    size = image.shape[0], image.shape[1]
    free = anonymized_mask([i for i in everyone if i.label == "person"], size)
    kept = anonymized_mask([i for i in everyone if i.label not in ("person", "face")], size) & ~free
    faces = {i.parent: i for i in sorted(everyone, key=lambda i: i.score) if i.label == "face"}
    persons = list(persons)
    gone = {p.id: rides[p.id].box for p in persons if p.id in rides and _gone(p, rides[p.id], free)}

    def begin(person: Instance, ridden: Floats | None) -> Callable[[], Rendering | None] | None:
        # Who is linked looks the same in every picture and attempt.
        rng = np.random.default_rng((seeds[person.id] if person.link is None else person.link, AVATAR_DRAW))
        kind = rides[person.id].source.rpartition(":")[2] if person.id in rides else None
        return artist.begin(image, person, rng, faces.get(person.id), view, kind, ridden)

    begun = [(person, begin(person, gone.get(person.id))) for person in persons]
    with ThreadPoolExecutor(BESIDE) as pool:
        rendered = list(pool.map(lambda each: (each[0], None if each[1] is None else each[1]()), begun))
    out: dict[int, Rendering] = {}
    for person, whole in rendered:
        if whole is None:
            continue
        ridden = gone.get(person.id)
        drawn = confined(whole, person, free, kept, ridden)
        if ridden is not None and _cut(whole, drawn) > MOST_CUT:
            # No room for a bicycle: somebody stands there.
            ridden, drawing = None, begin(person, None)
            whole = None if drawing is None else drawing()
            if whole is None:
                continue
            drawn = confined(whole, person, free, kept)
        # What lies beyond the person's box, as legs behind a table do, was not seen of the person either.
        rows = int(person.box[1]), min(int(np.ceil(person.box[3])), _lowest(person, whole, ridden))
        inside = np.s_[max(rows[0] - drawn.box[1], 0) : max(rows[1] - drawn.box[1], 0)]
        could, does = (float(_body(part)[inside].sum()) for part in (whole, drawn))
        if not could or does < (1 - MOST_CUT) * could:
            continue
        covered = _within(drawn.alpha >= HALF, drawn.box, integer_box(person.box)) & person.outline
        if float(covered.sum()) >= LEAST_COVER * float(person.outline.sum()):
            out[person.id] = replace(drawn, cut=1 - does / could)
    return out


def pedals(person: Instance, cycle: Instance) -> bool:
    """Return whether a person who was found above a bicycle has the feet on its pedals, by where the ankles are."""
    if person.body is None:
        return False
    x1, y1, x2, _ = (float(v) for v in outline_box(person))
    left, top, right, bottom = (float(v) for v in cycle.box)
    height = bottom - top
    lowest = float(person.body.landmarks[ANKLES, 1].max())
    covers = min(x2, right) - max(x1, left) >= COVERS * (right - left)
    return covers and TALL[0] <= (bottom - y1) / height <= TALL[1] and top < lowest <= bottom - PEDALLING * height


def _gone(person: Instance, cycle: Instance, free: Mask) -> bool:
    """Return whether a vehicle is a bicycle that is anonymized with the person who rides it."""
    x1, y1, x2, y2 = (float(v) for v in cycle.box)
    aside, below = RIM * (x2 - x1), RIM * (y2 - y1)
    x1, y1, x2, y2 = integer_box(np.array([x1 + aside, y1, x2 - aside, y2 - below]))
    hidden = float(free[y1:y2, x1:x2].mean()) >= GONE
    return hidden and cycle.source.rpartition(":")[2] == "bicycle" and pedals(person, cycle)


def _body(drawn: Rendering) -> Mask:
    """Return where somebody shows, without what they ride: bool (h, w)."""
    return drawn.alpha * (1 - drawn.ridden) >= HALF


def _cut(whole: Rendering, drawn: Rendering) -> float:
    """Return the proportion of a bicycle that is cut off, in [0, 1]."""
    could, does = (float((part.alpha * part.ridden).sum()) for part in (whole, drawn))
    return 1 - does / could if could else 0.0


def room(person: Instance, drawn: Rendering, free: Mask, kept: Mask, ridden: Floats | None = None) -> Mask:
    """Return where an avatar may show in its box: the persons' safe masks grown by ``MARGIN``, less what is kept.

    It ends a little below the person's outline, or below what they rode.

    Args:
        person: Whose place the avatar takes.
        drawn: The avatar.
        free: bool (H, W), safe masks of all persons: what an avatar of one leaves free another may take.
        kept: bool (H, W), safe masks of everything else but faces.
        ridden: float32 (4,) xyxy, the box of a bicycle that is gone with the person.
    """
    side = max(float(person.box[2] - person.box[0]), float(person.box[3] - person.box[1]))
    radius = int(np.clip(round(MARGIN * side), *MARGIN_LIMITS))
    x1, y1, x2, y2 = drawn.box
    left, top = max(x1 - radius, 0), max(y1 - radius, 0)
    around = free[top : y2 + radius, left : x2 + radius]
    if not around.any():
        return np.zeros((y2 - y1, x2 - x1), np.bool_)
    away = cv2.distanceTransform((~around).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    grown = away <= radius
    grown[max(_lowest(person, drawn, ridden) - top, 0) :] = False
    return grown[y1 - top : y2 - top, x1 - left : x2 - left] & ~kept[y1:y2, x1:x2]


def _lowest(person: Instance, drawn: Rendering, ridden: Floats | None) -> int:
    """Return the row in the picture below which nothing of an avatar shows."""
    box = outline_box(person)
    if ridden is not None:
        # The wheels stand lower than the person does.
        end = float(max(box[3], ridden[3]))
        return int(np.ceil(end + BELOW * (end - box[1])))
    feet, behind = (int(np.ceil(box[3] + share * (box[3] - box[1]))) for share in (BELOW, BEHIND))
    return behind if (drawn.alpha[max(feet - drawn.box[1], 0) :] >= HALF).any() else feet


def confined(drawn: Rendering, person: Instance, free: Mask, kept: Mask, ridden: Floats | None = None) -> Rendering:
    """Return a rendering cut with its shadow to its ``room``, both with soft edges."""
    x1, y1, x2, y2 = drawn.box
    size = free.shape
    # Where the picture ends, nothing is cut.
    pad = ((int(y1 > 0), int(y2 < size[0])), (int(x1 > 0), int(x2 < size[1])))

    def soft(mask: Mask, width: int) -> Floats:
        alpha = feather(np.pad(mask, pad), width)
        return alpha[pad[0][0] : alpha.shape[0] - pad[0][1], pad[1][0] : alpha.shape[1] - pad[1][1]]

    inside = room(person, drawn, free, kept, ridden)
    alpha = drawn.alpha * soft(inside, CUT_RIM)
    rim = max(round(SHADOW_RIM * max(float(person.box[2] - person.box[0]), float(person.box[3] - person.box[1]))), 1)
    shadow = drawn.shadow * soft(inside, rim)
    return replace(drawn, alpha=alpha.astype(np.float32), shadow=shadow.astype(np.float32))


def shown_as(person: Instance, drawn: Rendering, nearer: Iterable[Rendering] = ()) -> Instance:
    """Return a person as the avatar stands there: its outline for an outline, and a mask that holds that too.

    Args:
        person: As it was found.
        drawn: The avatar, cut to its room.
        nearer: Avatars that stand in front of it.
    """
    alpha = drawn.alpha.copy()
    for other in nearer:
        alpha[_within(other.alpha >= HALF, other.box, drawn.box)] = 0
    tight = mask_box(alpha > 0)
    if tight is None or not (alpha >= HALF).any():
        return person
    corner = np.array([*drawn.box[:2], *drawn.box[:2]], np.float32)
    around = np.array(tight, np.float32) + corner
    box = np.concatenate([np.minimum(person.box[:2], around[:2]), np.maximum(person.box[2:], around[2:])])
    frame = integer_box(box)
    mask = _within(person.mask, integer_box(person.box), frame) | _within(alpha > 0, drawn.box, frame)
    core = alpha >= HALF
    own = core & (drawn.ridden < HALF)
    if own.any() and not _labelled(person, drawn, core & ~own):
        core = own
    return replace(person, box=box, mask=mask, core=_within(core, drawn.box, frame))


def _labelled(person: Instance, drawn: Rendering, cycle: Mask) -> bool:
    """Return whether a given outline holds what the person rides, as labels of cyclists do: then it stays so."""
    there = _within(person.outline, integer_box(person.box), drawn.box)
    return person.given and float((there & cycle).sum()) >= LEAST_COVER * float(cycle.sum())


def face_as(face: Instance, drawn: Rendering, nearer: Iterable[Rendering] = ()) -> Instance | None:
    """Return a person's face as the avatar shows it, with a mask that holds both; None where it shows none.

    Args:
        face: As it was found.
        drawn: The avatar of its person, cut to its room.
        nearer: Avatars that stand in front of it.
    """
    if drawn.face is None:
        return None
    left, top, right, bottom = drawn.box
    low, high = np.array([left, top], np.float32), np.array([right, bottom], np.float32)
    place = np.concatenate([np.clip(drawn.face[:2], low, high), np.clip(drawn.face[2:], low, high)])
    if min(place[2] - place[0], place[3] - place[1]) <= 0:
        return None
    inner = integer_box(place)
    shows = _within(drawn.alpha >= HALF, drawn.box, inner)
    for other in nearer:
        shows &= ~_within(other.alpha >= HALF, other.box, inner)
    if float(shows.mean()) < LEAST_COVER:
        return None
    box = np.concatenate([np.minimum(face.box[:2], place[:2]), np.maximum(face.box[2:], place[2:])])
    frame = integer_box(box)
    core = _within(shows, inner, frame)
    # The original's landmarks say nothing of this face.
    return replace(
        face, box=box, mask=_within(face.mask, integer_box(face.box), frame) | core, core=core, landmarks=None
    )


def shaded(image: Image, renderings: Iterable[Rendering]) -> tuple[Image, Mask]:
    """Return a picture RGB uint8 (H, W, 3) with the shadows of avatars on it, and bool (H, W) where they lie."""
    out, where = image.copy(), np.zeros(image.shape[:2], np.bool_)
    for drawn in renderings:
        x1, y1, x2, y2 = drawn.box
        part = out[y1:y2, x1:x2]
        dark = drawn.shadow > 0
        part[dark] = np.rint(part[dark] * (1 - drawn.shadow[dark][:, None])).astype(np.uint8)
        where[y1:y2, x1:x2] |= dark
    return out, where


def pasted(crop: Image, window: IntBox, drawn: Rendering, hard: bool = False) -> Image:
    """Return a crop RGB uint8 (h, w, 3) of a picture with an avatar laid over it.

    Args:
        crop: What the picture shows there.
        window: Integer xyxy of the crop.
        drawn: The avatar.
        hard: Whether its rim is laid as if it covered whole pixels: for a crop that goes through its alpha later.
    """
    out = crop.copy()
    inside, local = _window(drawn.box, window, (crop.shape[0], crop.shape[1]))
    alpha = drawn.alpha[local][..., None]
    if hard:
        alpha = (alpha > 0).astype(np.float32)
    out[inside] = np.rint(out[inside] * (1 - alpha) + drawn.rgb[local] * alpha).astype(np.uint8)
    return out


def shape_of(drawn: Rendering, window: IntBox) -> NDArray[np.uint8]:
    """Return where an avatar shows at all in a window, integer xyxy: uint8 (h, w), 0 or 1."""
    return _within(drawn.alpha > 0, drawn.box, window).astype(np.uint8)


def _within(mask: Mask, box: IntBox, frame: IntBox) -> Mask:
    """Return a mask of one box in the frame of another, both integer xyxy."""
    out = np.zeros((frame[3] - frame[1], frame[2] - frame[0]), np.bool_)
    inside, local = _window(box, frame, out.shape)
    out[inside] = mask[local]
    return out


def _window(box: IntBox, frame: IntBox, size: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return slices of a frame of ``size`` and of a box, both integer xyxy, where the two meet."""
    moved = box[0] - frame[0], box[1] - frame[1], box[2] - frame[0], box[3] - frame[1]
    return paste_window(moved, (size[0], size[1]))
