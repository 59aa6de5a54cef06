"""Completion of what is hidden: smoothly, or by patches of what is not, coarse to fine, so that texture goes on."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

__all__ = ["ANYTHING", "OBJECT", "ONCE", "Mosaic", "mosaic", "push_pull"]

Mask = NDArray[np.bool_]
Kinds = NDArray[np.uint8]
Floats = NDArray[np.float32]
Places = NDArray[np.int32]
#: Kinds of places: what may be repeated anywhere; an object, repeated only inside of objects, such as a car; what comes
#: once and is not repeated, such as lettering.
ANYTHING, OBJECT, ONCE = 0, 1, 2
#: Half side of a patch in pixels of a level.
HALF = 3
SIDE = 2 * HALF + 1
#: Side of the middle of a patch that is laid in the end, in pixels of a level.
CORE = 3
#: Longest side in pixels of the coarsest level, where every patch is compared with every other.
COARSEST = 64
#: There is a patch every so many-th of a level's longest side.
STRIDE = 112
#: What a patch costs from another height of the picture, or from far to the side, per square of the longest side, in
#: squared levels of 0 to 255: walls and ground go on to the side.
UPWARDS, SIDEWAYS = 6000.0, 300.0
#: What a patch of an object costs outside of objects, in squared levels: as much as white in place of black, so that it
#: lies there only where there is nothing else.
MISPLACED = 255.0**2
#: How far from its own a patch tries other places, in pixels of a level.
NEARBY = 4
#: How many times finer than the finest level steepness is measured at most.
DETAIL = 4
#: Worth of mean steepness beside colours.
STEEP = 2.0
#: Most patches to choose from where all are compared.
MOST = 1000
#: Least weight of a pixel that is hidden and only guessed, where known pixels weigh 1, and the loss per pixel inwards.
GUESSED, INWARDS = 0.15, 0.9
#: Weight of what is only expected so far, spread from the sides, while patches grow from the border inwards.
BEYOND = 0.8
#: How much worse a patch may be that carries on another's, as a factor and in squared levels: few large pieces look
#: better than many small ones.
CARRY, SLACK = 1.12, 40.0
#: From how many patches away pieces are carried on, in turn; tries of places near one's own.
JUMPS, TRIES = (4, 1), 2
#: Weight of each pixel of a patch in a vote: the middle of a patch fits best.
NEAR = np.exp(-(np.add.outer(np.arange(-HALF, HALF + 1) ** 2, np.arange(-HALF, HALF + 1) ** 2)) / (2 * 1.5**2))
NEAR = NEAR.astype(np.float32).ravel()


@dataclass(frozen=True, slots=True, eq=False)
class Mosaic:
    """Patches that cover what is hidden.

    Args:
        here: Rows and columns of the middles of patches, int32 (N, 2), on a grid of ``stride`` pixels.
        there: Row and column of the pixel that each repeats, int32 (N, 2).
        worth: How well each fits, float32 (N,) in (0, 1].
        size: Height and width of the finest level.
        stride: Pixels from one patch to the next.
    """

    here: Places
    there: Places
    worth: Floats
    size: tuple[int, int]
    stride: int


@dataclass(slots=True, eq=False)
class _Level:
    """A reduced crop: features (h, w, C), what is known, what is to be filled, middles of sources, objects."""

    features: Floats
    known: Mask
    wanted: Mask
    sources: Mask
    objects: Mask


def mosaic(
    crop: NDArray[np.uint8],
    known: Mask,
    wanted: Mask,
    longest: int,
    rng: np.random.Generator,
    kinds: Kinds | None = None,
) -> Mosaic | None:
    """Find patches for what is wanted, or return None where nothing that is known is as large as a patch.

    Args:
        crop: RGB uint8 (h, w, 3); only what is known is read.
        known: bool (h, w).
        wanted: bool (h, w), what to fill; nothing of it is known.
        longest: Longest side in pixels at which patches are fitted.
        rng: Chooses places to try.
        kinds: uint8 (h, w), ``ANYTHING``, ``OBJECT`` or ``ONCE``; None: anything. What comes once is repeated only
            where nothing else is as large as a patch.

    Source:
        Wexler, Shechtman, Irani: Space-Time Completion of Video, 2007 (rounds of matching and voting, coarse to fine);
        Barnes et al.: PatchMatch, 2009 (neighbours carry patches on); Newson et al.: Video Inpainting of Complex
        Scenes, 2014 (steepness beside colours, from the border inwards at the coarsest level).
    """
    field: Places | None = None
    above: _Level | None = None
    for level in _levels(crop, known, wanted, longest, kinds):
        if not level.sources.any() or not level.wanted.any():
            continue
        exact = field is None
        patches = _Patches(level, 1 if exact else max(round(max(level.known.shape) / STRIDE), 1))
        if exact:
            patches.gather(rng)
        if field is None or above is None:
            patches.from_border()
        else:
            patches.start(field, above.known.shape)
        patches.vote()
        if exact:
            patches.match_all()
            patches.carry()
        else:
            patches.improve(rng)
        field, above = patches.field(), level
        last = patches
    if field is None:
        return None
    return Mosaic(last.here, last.there, last.worth(), last.size, last.stride)


def _levels(crop: NDArray[np.uint8], known: Mask, wanted: Mask, longest: int, kinds: Kinds | None) -> list[_Level]:
    """Return the crop at growing sizes, colours and mean steepness beside each other."""
    height, width = known.shape
    finest = min(longest, max(height, width))
    weight = known.astype(np.float32)
    colours = np.where(known[..., None], crop, 0).astype(np.float32)
    times = max(height, width) / (DETAIL * finest)
    if times > 1:  # Memory for huge crops stays in bounds.
        size = max(round(width / times), 1), max(round(height / times), 1)
        weight, colours = _area(weight, size), _area(colours, size)
    grey = colours @ np.array([0.299, 0.587, 0.114], np.float32)
    down, across = np.zeros_like(grey), np.zeros_like(grey)
    # Steepness counts where both pixels are known: the border of what is hidden is none.
    down[:-1] = np.abs(np.diff(grey, axis=0)) * (weight[1:] * weight[:-1])
    across[:, :-1] = np.abs(np.diff(grey, axis=1)) * (weight[:, 1:] * weight[:, :-1])
    whole = np.dstack([colours, STEEP * (down + across)])
    plain = np.zeros_like(known, np.uint8) if kinds is None else kinds
    objects, once = ((plain == kind).astype(np.float32) for kind in (OBJECT, ONCE))
    hole, sizes = wanted.astype(np.float32), [finest]
    while sizes[-1] > COARSEST:
        sizes.append((sizes[-1] + 1) // 2)
    levels = []
    for side in sizes:
        scale = side / max(height, width)
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        weight, hole, objects, once = (_area(values, size) for values in (weight, hole, objects, once))
        whole = _area(whole, size).reshape(size[1], size[0], 4)
        sure = weight > 0.999
        features = push_pull(whole, weight) if weight.any() else whole
        if side <= COARSEST:
            features = _across(features, sure)
        inner = cv2.erode(sure.view(np.uint8), np.ones((SIDE, SIDE), np.uint8), borderValue=0) > 0
        # Laid is the middle of a patch alone: what comes once may lie at its rim.
        free = inner & ~(cv2.dilate(once, np.ones((CORE, CORE), np.uint8)) > 0)
        sources = free if free.any() else inner
        features = np.ascontiguousarray(features, np.float32)
        levels.append(_Level(features, sure, (hole > 0) & ~sure, sources, objects > 0.5))
    return levels[::-1]


def _area(values: Floats, size: tuple[int, int]) -> Floats:
    """Return values (h, w) or (h, w, C) averaged to ``size`` (width, height)."""
    if values.shape[1::-1] == size:
        return values
    out = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)
    return out.reshape(size[1], size[0], *values.shape[2:])


def _across(features: Floats, sure: Mask) -> Floats:
    """Return features (h, w, C) that span what lies between known pixels of a row: the world is level."""
    width = sure.shape[1]
    at = np.broadcast_to(np.arange(width), sure.shape)
    left = np.maximum.accumulate(np.where(sure, at, -1), axis=1)
    right = np.minimum.accumulate(np.where(sure, at, width)[:, ::-1], axis=1)[:, ::-1]
    rows, columns = np.nonzero(~sure & (left >= 0) & (right < width))
    left, right = left[rows, columns], right[rows, columns]
    share = ((columns - left) / (right - left)).astype(np.float32)[:, None]
    out = features.copy()
    out[rows, columns] = (1 - share) * features[rows, left] + share * features[rows, right]
    return out


class _Patches:
    """Patches over what is wanted at one level, and what each of them repeats."""

    def __init__(self, level: _Level, stride: int) -> None:
        self.level, self.stride = level, stride
        self.size = level.known.shape[0], level.known.shape[1]
        near = cv2.dilate(level.wanted.view(np.uint8), np.ones((SIDE, SIDE), np.uint8)) > 0
        grid = np.zeros_like(near)
        grid[::stride, ::stride] = True
        self.here = np.argwhere(near & grid).astype(np.int32)
        self.there = self.here.copy()
        self.cost = np.full(len(self.here), np.inf, np.float32)
        self._number = np.full(self.size, -1, np.int32)
        self._number[self.here[:, 0], self.here[:, 1]] = np.arange(len(self.here))
        self._nearest = _nearest(level.sources)
        self._padded = np.pad(level.features, ((HALF, HALF), (HALF, HALF), (0, 0)), mode="edge")
        deep = cv2.distanceTransform(np.pad(level.wanted, 1).view(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
        trust = np.maximum(np.float32(INWARDS) ** deep, np.float32(GUESSED))
        # What is hidden and not filled here says nothing.
        self._trust = np.where(level.known, np.float32(1), np.where(level.wanted, trust, np.float32(0)))
        self._rows = np.arange(SIDE)
        self._weigh(self._trust)

    def _weigh(self, trust: Floats) -> None:
        weight = _windows(np.pad(trust, HALF)[..., None])[self.here[:, 0], self.here[:, 1]]
        weight = weight.reshape(len(self.here), SIDE, SIDE)
        total = np.maximum(weight.sum(axis=(1, 2), keepdims=True), 1e-3)
        share = weight / (total * self.level.features.shape[2])
        self._weight = np.repeat(share, self.level.features.shape[2], axis=2)

    def field(self) -> Places:
        """Return what each pixel of the level repeats, int32 (h, w, 2), filled in between the patches."""
        marked = self._number >= 0
        _, labels = cv2.distanceTransformWithLabels(
            (~marked).view(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
        )
        near = np.zeros(int(labels.max()) + 1, np.int32)
        near[labels[marked]] = self._number[marked]
        number = near[labels]
        away = self.there - self.here
        own = np.moveaxis(np.indices(self.size, np.int32), 0, 2)
        return own + away[number]

    def start(self, field: Places, size: tuple[int, ...]) -> None:
        """Take over what the coarser level repeats."""
        scale = np.array(self.size, np.float32) / np.array(size, np.float32)
        at = np.minimum(((self.here + 0.5) / scale).astype(np.int32), np.array(size, np.int32) - 1)
        away = (field[at[:, 0], at[:, 1]] - at) * scale
        self.there = self._valid(self.here + np.rint(away).astype(np.int32))
        self.cost[:] = 0

    def _valid(self, places: Places) -> Places:
        """Return places, each one that is no source replaced by the source nearest to it."""
        inside = np.clip(places, 0, np.array(self.size, np.int32) - 1)
        return self._nearest[inside[:, 0], inside[:, 1]]

    def _costs(self, own: Floats, there: Places, at: NDArray[np.intp]) -> Floats:
        """Return what it costs that patches, whose numbers are ``at``, repeat places (N, 2)."""
        off = _windows(self._padded)[there[:, 0], there[:, 1]]
        off -= own
        off *= off
        away = ((there - self.here[at]).astype(np.float32) / np.float32(max(self.size))) ** 2
        far = away[:, 0] * np.float32(UPWARDS) + away[:, 1] * np.float32(SIDEWAYS)
        far += np.float32(MISPLACED) * (self._objects(there) & ~self._objects(self.here[at]))
        return np.asarray(np.einsum("nij,nij->n", off, self._weight[at], dtype=np.float32) + far, np.float32)

    def _objects(self, places: Places) -> Mask:
        """Return which places (N, 2) lie on objects, bool (N,)."""
        return self.level.objects[places[:, 0], places[:, 1]]

    def from_border(self) -> None:
        """Match patches from the border inwards, each with what is known or filled by then."""
        level = self.level
        done = ~level.wanted
        while True:
            layer = ~done & (cv2.dilate((done & (self._trust > 0)).view(np.uint8), np.ones((3, 3), np.uint8)) > 0)
            if not layer.any():
                break
            seen = np.where(done, self._trust, np.float32(BEYOND) * (self._trust > 0))
            self._weigh(seen.astype(np.float32))
            self.match_all(layer)
            at = self._number[layer]
            fresh = self.there[at]
            inner = self._padded[HALF : HALF + self.size[0], HALF : HALF + self.size[1]]
            inner[layer] = inner[fresh[:, 0], fresh[:, 1]]
            done |= layer
        self._weigh(self._trust)
        self.match_all()

    def match_all(self, only: Mask | None = None) -> None:
        """Give each patch, or those in the middle of ``only``, the one of all sources that is most like it."""
        chosen = np.arange(len(self.here)) if only is None else self._number[only]
        here, places = self.here[chosen], self._places
        own = _windows(self._padded)[here[:, 0], here[:, 1]].reshape(len(chosen), -1)
        weight = self._weight[chosen].reshape(len(chosen), -1)
        scale = np.sqrt(np.array([UPWARDS, SIDEWAYS], np.float32)) / np.float32(max(self.size))
        a = here.astype(np.float32) * scale
        wanted = np.concatenate([weight, weight * own, a, np.ones((len(a), 1), np.float32)], axis=1)
        cost = wanted.astype(np.float32) @ self._given
        if self.level.objects.any():
            cost += np.float32(MISPLACED) * (self._objects(places)[None] & ~self._objects(here)[:, None])
        best = cost.argmin(axis=1)
        self.there[chosen] = places[best]
        same = (weight * own * own).sum(axis=1) + (a**2).sum(axis=1)
        self.cost[chosen] = np.maximum(cost[np.arange(len(chosen)), best] + same, 0)
        self._least = self.cost.copy()

    def gather(self, rng: np.random.Generator) -> None:
        """Take the patches that all others are compared with."""
        places = np.argwhere(self.level.sources).astype(np.int32)
        if len(places) > MOST:
            places = places[np.sort(rng.choice(len(places), MOST, replace=False))]
        self._places = places
        pieces = _windows(self._padded)[places[:, 0], places[:, 1]].reshape(len(places), -1)
        at = places.astype(np.float32) * (
            np.sqrt(np.array([UPWARDS, SIDEWAYS], np.float32)) / np.float32(max(self.size))
        )
        # One product of matrices gives all costs: squares multiplied out, less what is the same for all.
        given = np.concatenate([pieces * pieces, -2 * pieces, -2 * at, (at**2).sum(axis=1)[:, None]], axis=1)
        self._given = np.ascontiguousarray(given.T, np.float32)

    def improve(self, rng: np.random.Generator) -> None:
        """Try what patches beside it repeat, carried on, and places around one's own."""
        own = _windows(self._padded)[self.here[:, 0], self.here[:, 1]]
        self.cost = self._costs(own, self.there, np.arange(len(self.here)))
        self._least = self.cost.copy()
        every = np.ones(len(self.here), np.bool_)
        for _ in range(TRIES):
            moved = self.there + rng.integers(-NEARBY, NEARBY + 1, self.there.shape).astype(np.int32)
            self._try(own, moved, every, every)
        self.carry(own)

    def carry(self, own: Floats | None = None) -> None:
        """Carry on what patches beside it repeat: where it fits better, or as well and more patches do so already."""
        if own is None:
            own = _windows(self._padded)[self.here[:, 0], self.here[:, 1]]
        for jump in JUMPS:
            for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                away = jump * self.stride * np.array(step, np.int32)
                beside = self.here + away
                inside = self._inside(beside)
                number = self._number[np.where(inside, beside[:, 0], 0), np.where(inside, beside[:, 1], 0)]
                moved = self.there - self.here
                _, kind, count = np.unique(moved[:, 0] * 65536 + moved[:, 1], return_inverse=True, return_counts=True)
                # Ties go one way only: two patches must not take over from each other at once.
                rank = count[kind] * len(count) + kind
                self._try(own, self.there[number] - away, inside & (number >= 0), rank[number] <= rank)

    def _inside(self, places: Places) -> Mask:
        return np.asarray(((places >= 0) & (places < np.array(self.size, np.int32))).all(axis=1))

    def _try(self, own: Floats, there: Places, ok: Mask, strict: Mask) -> None:
        """Repeat other places where that costs less, or, if not ``strict``, about as little as the least so far."""
        ok = ok & self._inside(there) & (there != self.there).any(axis=1)
        at = np.flatnonzero(ok)
        at = at[self.level.sources[there[at, 0], there[at, 1]]]
        if not at.size:
            return
        cost, least = self._costs(own[at], there[at], at), self._least[at]
        better = np.where(strict[at], cost < (least - SLACK) / CARRY, cost < CARRY * least + SLACK)
        self.there[at[better]], self.cost[at[better]] = there[at[better]], cost[better]
        self._least[at] = np.minimum(least, cost)

    def worth(self) -> Floats:
        """Return how well each patch fits, float32 (N,) in (0, 1]."""
        scale = max(float(np.percentile(self.cost, 75)), 25.0)
        return np.maximum(np.exp(-self.cost / scale), 1e-3).astype(np.float32)

    def vote(self) -> None:
        """Make each wanted pixel the mean of what the patches over it want there."""
        height, width = self.size
        across = width + 2 * HALF
        worth = self.worth() if np.isfinite(self.cost).all() else np.ones(len(self.here), np.float32)
        shift = (self._rows[:, None] * across + self._rows[None]).ravel()
        to = (self.here[:, 0] * across + self.here[:, 1])[:, None] + shift
        of = (self.there[:, 0] * across + self.there[:, 1])[:, None] + shift
        weight = worth[:, None] * NEAR[None]  # (N, SIDE * SIDE)
        values = self._padded.reshape(-1, self._padded.shape[2])[of.ravel()] * weight.reshape(-1, 1)
        flat, count = to.ravel(), (height + 2 * HALF) * across
        sums = [np.bincount(flat, v, count) for v in (*values.T, weight.ravel())]
        total = np.stack(sums, axis=1).astype(np.float32).reshape(height + 2 * HALF, across, -1)
        inner = total[HALF : HALF + height, HALF : HALF + width]
        made = inner[..., :-1] / np.maximum(inner[..., -1:], 1e-9)
        change = self.level.wanted & (inner[..., -1] > 0)
        self._padded[HALF : HALF + height, HALF : HALF + width][change] = made[change]


def _windows(padded: Floats) -> Floats:
    """Return a view of all patches, float32 (h, w, SIDE, SIDE * C), of an array that is padded by ``HALF``."""
    height, width, channels = padded.shape
    down, across, _ = padded.strides
    shape = height - 2 * HALF, width - 2 * HALF, SIDE, SIDE * channels
    return as_strided(padded, shape, (down, across, down, padded.itemsize), writeable=False)


def _nearest(sources: Mask) -> Places:
    """Return for each pixel the source nearest to it, int32 (h, w, 2)."""
    _, labels = cv2.distanceTransformWithLabels(
        (~sources).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    out = np.zeros((int(labels.max()) + 1, 2), np.int32)
    out[labels[sources]] = np.argwhere(sources)
    return out[labels]


def push_pull(colours: Floats, weights: Floats) -> Floats:
    """Return colours spread into where weights are zero, coarse to fine.

    Args:
        colours: float32 (h, w, C), C at most 4, already multiplied by the weights.
        weights: float32 (h, w) in [0, 1], not all zero.

    Returns:
        float32 (h, w, C), equal to the known colour where the weight is 1.

    Source:
        Gortler et al., The Lumigraph, SIGGRAPH 1996, section 3.4 (push-pull; four thin pixels make a full one).
    """
    height, width = weights.shape
    known = colours / np.maximum(weights, 1e-6)[..., None]
    if max(height, width) == 1 or float(weights.min()) > 0.99:
        return np.asarray(known, np.float32)
    half = (width + 1) // 2, (height + 1) // 2
    mean = np.asarray(cv2.resize(colours, half, interpolation=cv2.INTER_AREA), np.float32).reshape(*half[::-1], -1)
    share = np.asarray(cv2.resize(weights, half, interpolation=cv2.INTER_AREA), np.float32).reshape(*half[::-1])
    full = np.minimum(4 * share, np.float32(1))
    thick = np.asarray(mean * (full / np.maximum(share, 1e-6))[..., None], np.float32)
    coarse = push_pull(thick, np.asarray(full, np.float32))
    spread = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    part = np.minimum(weights, 1.0)[..., None]
    return np.asarray(part * known + (1 - part) * spread.reshape(known.shape), np.float32)
