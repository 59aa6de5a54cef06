"""Fills what is hidden with pieces of what is not: texture and structure go on where a smooth fill would be a void."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

__all__ = ["Exemplar", "exemplar"]

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]
Places = NDArray[np.int32]

#: Half side of a patch, and the longest side of the coarsest picture, where every patch is compared with every other.
HALF, COARSEST = 2, 64
#: Rounds of matching and averaging at the coarsest size and at each finer one.
COARSE_ROUNDS, FINE_ROUNDS = 1, 1
#: What a piece costs that comes from another height of the picture, or from far to the side, per square of the longest
#: side, in squared levels of 0 to 255 per value: walls and ground go on to the side.
UPWARDS, SIDEWAYS = 6000.0, 600.0
#: Most candidates for the pieces at the coarsest size.
MOST = 1500
#: Neighbours whose piece a pixel tries to carry on, and steps it tries from its own; how much worse a piece may be that
#: carries on a neighbour's, since large pieces look better than many small ones.
AROUND = ((0, 1), (1, 0), (0, -1), (-1, 0))
CARRY = 1.1


@dataclass(frozen=True, slots=True, eq=False)
class Exemplar:
    """A filled picture and where its pieces come from.

    Args:
        colours: float32 (h, w, 3).
            places: Row and column of the pixel that each pixel repeats, int32 (h, w, 2); its own outside of what was
            hidden.
    """

    colours: Floats
    places: Places


def exemplar(picture: Floats, known: Mask, rng: np.random.Generator) -> Exemplar | None:
    """Fill a small picture, or return None where nothing that is known is as large as a patch.

    Args:
        picture: float32 (h, w, 3), filled smoothly where it is hidden.
        known: bool (h, w), what is not hidden.
        rng: Chooses among too many candidates.

    Source:
        Wexler, Shechtman, Irani: Space-Time Completion of Video, 2007 (rounds of matching and averaging, coarse to
        fine); Barnes et al.: PatchMatch, 2009 (neighbours carry pieces on); Criminisi, Perez, Toyama: Region Filling
        and Object Removal by Exemplar-Based Inpainting, 2004 (from the border inwards, here at the coarsest size).
    """
    levels = [(picture, known)]
    while max(levels[-1][1].shape) > COARSEST:
        levels.append(_halved(*levels[-1]))
    found: Places | None = None
    out = picture
    for out, sure in reversed(levels):
        sources = _sources(sure)
        if not sources.any():
            found = None
        elif found is None:
            out, found = _from_border(out, sure, sources, rng)
        else:
            found = _doubled(found, sure, sources)
            for _ in range(FINE_ROUNDS):
                out = _averaged(out, sure, found)
                found = _improved(out, sure, sources, found)
            out = _averaged(out, sure, found)
    return None if found is None else Exemplar(out, found)


def _halved(picture: Floats, known: Mask) -> tuple[Floats, Mask]:
    """Return a picture of half the size, made of known pixels where there are any, and what of it is wholly known."""
    size = (known.shape[1] + 1) // 2, (known.shape[0] + 1) // 2
    weight = known.astype(np.float32)
    share = np.asarray(cv2.resize(weight, size, interpolation=cv2.INTER_AREA), np.float32)
    mean = cv2.resize(picture * weight[..., None], size, interpolation=cv2.INTER_AREA)
    rest = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    out = np.where(share[..., None] > 0.999, mean / np.maximum(share, 1e-6)[..., None], rest)
    return out.astype(np.float32), share > 0.999


def _sources(known: Mask) -> Mask:
    """Return the middles of patches that are known as a whole, bool (h, w)."""
    out = cv2.erode(known.view(np.uint8), np.ones((2 * HALF + 1, 2 * HALF + 1), np.uint8), borderValue=0)
    return np.asarray(out > 0)


def _patches(values: Floats) -> Floats:
    """Return the patch around each pixel, float32 (h, w, ...) as a view; beyond the picture its rim goes on."""
    side = 2 * HALF + 1
    pad = ((HALF, HALF), (HALF, HALF), *((0, 0),) * (values.ndim - 2))
    return np.asarray(sliding_window_view(np.pad(values, pad, mode="edge"), (side, side), axis=(0, 1)))


def _far(here: Places, places: Places, size: tuple[int, ...]) -> Floats:
    """Return what it costs to repeat a place elsewhere, for pairs of (..., 2)."""
    away = ((places - here) / np.float32(max(size))) ** 2
    return np.asarray(away[..., 0] * np.float32(UPWARDS) + away[..., 1] * np.float32(SIDEWAYS), np.float32)


def _from_border(picture: Floats, known: Mask, sources: Mask, rng: np.random.Generator) -> tuple[Floats, Places]:
    """Fill from the border inwards, then match all patches again; every patch is compared with every other."""
    places = np.argwhere(sources).astype(np.int32)
    if len(places) > MOST:
        places = places[np.sort(rng.choice(len(places), MOST, replace=False))]
    found = _itself(known)
    pieces = _patches(picture)[places[:, 0], places[:, 1]].reshape(len(places), -1)
    scale = np.sqrt(np.array([UPWARDS, SIDEWAYS], np.float32)) / np.float32(max(known.shape))
    there = places * scale
    # One product of matrices gives all costs: the squares of what lies apart, multiplied out.
    table = np.concatenate([pieces**2, pieces, there, (there**2).sum(axis=1, keepdims=True)], axis=1).T

    def match(hidden: Mask, weight: Floats) -> None:
        """Give each hidden pixel the piece that is most like it where ``weight`` says."""
        here = np.argwhere(hidden).astype(np.int32)
        own = _patches(picture)[here[:, 0], here[:, 1]].reshape(len(here), pieces.shape[1])
        seen = _patches(np.repeat(weight[..., None], 3, axis=2))[here[:, 0], here[:, 1]].reshape(own.shape)
        seen = seen / np.maximum(seen.sum(axis=1, keepdims=True), 1)
        # What is the same for all pieces is left out.
        wanted = [seen, -2 * seen * own, -2 * here * scale, np.ones((len(here), 1), np.float32)]
        cost = np.concatenate(wanted, axis=1).astype(np.float32) @ table
        found[here[:, 0], here[:, 1]] = places[cost.argmin(axis=1)]

    filled = known.copy()
    while not filled.all():
        layer = ~filled & (cv2.dilate(filled.view(np.uint8), np.ones((3, 3), np.uint8)) > 0)
        match(layer, filled.astype(np.float32))
        picture = picture.copy()
        picture[layer] = picture[found[layer][:, 0], found[layer][:, 1]]
        filled |= layer
    for _ in range(COARSE_ROUNDS):
        picture = _averaged(picture, known, found)
        match(~known, filled.astype(np.float32))
    return _averaged(picture, known, found), found


def _itself(known: Mask) -> Places:
    """Return each pixel's own place, int32 (h, w, 2)."""
    return np.moveaxis(np.indices(known.shape, np.int32), 0, 2).copy()


def _averaged(picture: Floats, known: Mask, found: Places) -> Floats:
    """Return the picture with each hidden pixel the mean of what the patches over it want there."""
    height, width = known.shape
    total, count = np.zeros((height + 2 * HALF, width + 2 * HALF, 3), np.float32), np.zeros(known.shape, np.float32)
    here, there = np.argwhere(~known), found[~known]
    count = np.zeros(total.shape[:2], np.float32)
    for y in range(-HALF, HALF + 1):
        for x in range(-HALF, HALF + 1):
            # The middle of a patch fits best: it counts more than its rim.
            weight = np.float32(np.exp(-(x * x + y * y) / 2))
            to = here[:, 0] + y + HALF, here[:, 1] + x + HALF
            total[to] += weight * picture[there[:, 0] + y, there[:, 1] + x]
            count[to] += weight
    inner = np.s_[HALF : HALF + height, HALF : HALF + width]
    return np.where(known[..., None], picture, total[inner] / np.maximum(count[inner], 1e-6)[..., None])


def _doubled(found: Places, known: Mask, sources: Mask) -> Places:
    """Return the places for a picture of twice the size; for one that is no source, the source nearest to it."""
    own = _itself(known)
    at = 2 * found[own[..., 0] // 2, own[..., 1] // 2] + own % 2
    at = np.minimum(at, np.array(known.shape, np.int32) - 1)
    _, labels = cv2.distanceTransformWithLabels(
        (~sources).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros((int(labels.max()) + 1, 2), np.int32)
    nearest[labels[sources]] = np.argwhere(sources)
    return np.where(known[..., None], own, nearest[labels[at[..., 0], at[..., 1]]])


def _improved(picture: Floats, known: Mask, sources: Mask, found: Places) -> Places:
    """Return better places: what neighbours repeat, carried on, and what lies beside one's own."""
    here = np.argwhere(~known).astype(np.int32)
    last = np.array(known.shape, np.int32) - 1
    views = _patches(picture)
    own = views[here[:, 0], here[:, 1]]

    def apart(at: NDArray[np.int64], places: Places) -> Floats:
        off = views[places[:, 0], places[:, 1]]
        off = ((off - own[at]) ** 2).mean(axis=(1, 2, 3))
        return np.asarray(off + _far(here[at], places, known.shape), np.float32)

    out = found.copy()
    best = found[here[:, 0], here[:, 1]]
    least = apart(np.arange(len(here)), best)
    for step in AROUND:
        beside = np.clip(here + step, 0, last)
        for tried, slack in ((out[beside[:, 0], beside[:, 1]] - step, CARRY), (best + step, 1.0)):
            places = np.clip(tried, 0, last).astype(np.int32)
            at = np.flatnonzero(sources[places[:, 0], places[:, 1]] & (places != best).any(axis=1))
            cost = apart(at, places[at])
            better = cost < slack * least[at]
            least[at[better]], best[at[better]] = cost[better], places[at[better]]
            out[here[:, 0], here[:, 1]] = best
    return out
