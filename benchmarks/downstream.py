"""Whether treated pictures still teach: a small detector trained on each variant, tested on untouched pictures.

This is a small-scale check: a network of some hundred thousand parameters, trained from scratch for a few hundred
steps on pictures of 128 pixels. It ranks treatments that differ much; the drop of a full detector needs a GPU and
the ``steps``, ``limit`` and ``long_side`` to match.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from centers import GREY, detect, train
from numpy.typing import NDArray

from anonymizer.core.errors import InputError
from anonymizer.core.geometry import box_iou
from anonymizer.core.records import Floats, Image, Instance
from anonymizer.evaluation.average_precision import Precision
from anonymizer.evaluation.label_consistency import as_instance
from anonymizer.evaluation.records import Context, Estimate, Pair, Subject
from anonymizer.evaluation.utility import evenly

__all__ = ["STEPS", "downstream_check"]

#: Optimiser steps of each training, 20 to 30 seconds on two cores, and trainings on each variant from different seeds:
#: of one variant they differ by up to 0.1 in AP.
STEPS, SEEDS = 400, 3
#: Most pictures, and the proportion of them that is only tested on.
LIMIT, TEST_SHARE = 400, 0.3
#: Long side of the pictures that are trained on, in pixels, and the least side of an instance there.
LONG_SIDE, LEAST_SIDE = 128, 4
#: Fewest instances to train and to test on.
LEAST_TRAIN, LEAST_TEST = 40, 15
AGAIN = "original, other seeds"
#: The released pictures with the labels that were released with them, and the IoU from which one of these is the same.
RELEASED, SAME = "anonymized, released labels", 0.5
#: Draws behind an interval.
DRAWS = 200


def downstream_check(
    context: Context,
    *,
    variants: Sequence[str] = ("original", "blur", "anonymized"),
    label: str | None = None,
    steps: int = STEPS,
    limit: int = LIMIT,
    long_side: int = LONG_SIDE,
    device: str = "cpu",
    seeds: int = SEEDS,
    released: Callable[[Pair, str], Floats] | None = None,
) -> dict[str, Any]:
    """Train a small detector on each variant of some pictures and test all on the originals of others.

    All are trained with the labels of the originals; if those of the release are given, the anonymized pictures are
    trained on with these as well. The detector is trained on the originals twice over, from different seeds: the
    difference between those two is what chance does, and no smaller drop means anything.

    Args:
        context: Pictures, variants, classes and seed.
        variants: What to train on; ``original`` is the reference and always among them.
        label: Class to find; the one with most instances if None.
        steps: Optimiser steps of each training.
        limit: Most pictures, evenly spaced; their small copies are held in memory.
        long_side: Long side of the pictures as the network sees them, in pixels, a multiple of 8.
        device: Where to train: ``cpu``, ``cuda`` or ``cuda:N``.
        seeds: Trainings on each variant.
        released: Boxes float32 (N, 4) xyxy of a class in a released picture; those that meet an annotated one are it,
            an annotated one that meets none is left out.

    Returns:
        Plain data and estimates: ``rows`` (``trained_on``, ``ap``, ``ap50``, ``ar``, ``ap_drop``; means over trainings
        with intervals by bootstrap over test pictures and trainings), ``label``, counts, and what was trained for how
        long; or, where there is too little to train or test on, ``reason``.

    Raises:
        InputError: A variant, class or number that cannot be used.
    """
    unknown = sorted(set(variants) - set(context.variants) - {"original"})
    if unknown or min(steps, seeds) < 1 or long_side < 32 or long_side % 8:
        raise InputError(
            f"downstream: expected variants among {', '.join(context.variants)}, steps and seeds from 1 and a long "
            f"side that is a multiple of 8 from 32, got {', '.join(unknown) or 'no unknown variant'}, {steps}, {seeds} "
            f"and {long_side}"
        )
    names = ("original", *(name for name in variants if name != "original"))
    rng = context.rng("downstream")
    pairs = evenly(context.dataset.pairs, limit)
    testing = set(rng.permutation(len(pairs))[: round(len(pairs) * TEST_SHARE)].tolist())
    counts = Counter(s.label for pair in pairs for s in context.dataset.subjects(pair) if s.label in context.labels)
    label = label or (counts.most_common(1)[0][0] if counts else "person")
    pictures: dict[str, list[Image]] = {name: [] for name in names}
    boxes: list[Floats] = []
    own: list[Floats] = []
    tests: list[tuple[Image, list[Instance]]] = []
    for number, pair in enumerate(pairs):
        original = context.dataset.original(pair)
        subjects = context.dataset.subjects(pair)
        size = original.shape[0], original.shape[1]
        scale = long_side / max(size)
        mine, small = _boxes(subjects, label, scale), _shrink(original, long_side)
        if number in testing:
            tests.append((small, [_instance(n, label, box) for n, box in enumerate(mine, start=1)]))
            continue
        boxes.append(mine)
        if released is not None:
            own.append(_same(mine, np.asarray(released(pair, label), np.float32).reshape(-1, 4) * np.float32(scale)))
        wanted = tuple(s for s in subjects if s.label in context.labels)
        for name in names:
            treated = original if name == "original" else context.variants[name](pair, original, wanted)
            pictures[name].append(small if name == "original" else _shrink(treated, long_side))
    trained, tested = sum(map(len, boxes)), sum(len(truths) for _, truths in tests)
    about: dict[str, Any] = {
        "label": label,
        "steps": steps,
        "long_side": long_side,
        "train_pictures": len(boxes),
        "train_instances": trained,
        "test_pictures": len(tests),
        "test_instances": tested,
        "small_scale": True,
    }
    if trained < LEAST_TRAIN or tested < LEAST_TEST:
        return about | {
            "reason": f"{trained} instances to train and {tested} to test on, at least {LEAST_TRAIN} and {LEAST_TEST} "
            "are needed"
        }
    kinds: dict[str, tuple[str, list[Floats]]] = {name: (name, boxes) for name in names}
    if released is not None and "anonymized" in names:
        kinds[RELEASED] = "anonymized", own
    kinds[AGAIN] = "original", boxes
    sides: dict[str, list[Precision]] = {}
    for name, (variant, known) in kinds.items():
        chance = context.rng("downstream", "again" if name == AGAIN else "first")
        source = np.stack(pictures[variant])
        sides[name] = []
        for seed in chance.integers(2**31, size=seeds).tolist():
            network = train(source, known, steps=steps, seed=seed, device=device)
            measured = Precision("bbox")
            for image, truths in tests:
                places, scores = detect(network, image)
                found = [
                    _instance(n, label, box, float(score))
                    for n, (box, score) in enumerate(zip(places, scores, strict=True), start=1)
                ]
                measured.add(truths, found, (long_side, long_side))
            sides[name].append(measured)
    return about | {
        "network": f"centre points, {sum(p.numel() for p in network.parameters())} parameters, from scratch",
        "rows": [{"trained_on": name} | row for name, row in _estimated(sides, rng).items()],
    }


def _estimated(sides: Mapping[str, Sequence[Precision]], rng: np.random.Generator) -> dict[str, dict[str, Estimate]]:
    """Return means over trainings, and over draws of test pictures and trainings their 95 % intervals."""
    first = next(iter(sides.values()))
    count, instances = first[0].pictures, first[0].instances
    names = ("ap", "ap50", "ar", "ap_drop")

    def table(weights: NDArray[np.integer] | None) -> NDArray[np.float64]:
        out = []
        for measured in sides.values():
            chosen = range(len(measured)) if weights is None else rng.integers(0, len(measured), len(measured))
            scores = [measured[n].scores(weights) for n in chosen]
            out.append(np.mean([(s.ap, s.ap50, s.ar) for s in scores], axis=0))
        means = np.array(out)
        return np.concatenate([means, means[:1, :1] - means[:, :1]], axis=1)

    values = table(None)
    draws = np.stack([table(np.bincount(rng.integers(0, count, count), minlength=count)) for _ in range(DRAWS)])
    # A draw may hold no annotation at all; it says nothing. (draws, sides, 4) -> (sides, 4)
    low, high = np.nanpercentile(draws, [2.5, 97.5], axis=0)
    return {
        side: {
            name: Estimate(float(values[s, n]), float(low[s, n]), float(high[s, n]), instances)
            for n, name in enumerate(names)
        }
        for s, side in enumerate(sides)
    }


def _same(known: Floats, released: Floats) -> Floats:
    """Return of released boxes (N, 4) those that are a known one (M, 4), float32 (K, 4), K at most M."""
    if not len(known) or not len(released):
        return released[:0]
    overlap = box_iou(known, released)
    return np.asarray(released[overlap.argmax(1)[overlap.max(1) >= SAME]], np.float32)


def _shrink(image: Image, long_side: int) -> Image:
    """Return the picture in the top left corner of a grey square, uint8 (S, S, 3)."""
    import cv2

    height, width = image.shape[:2]
    scale = long_side / max(height, width)
    small = max(round(width * scale), 1), max(round(height * scale), 1)
    out = np.full((long_side, long_side, 3), GREY, np.uint8)
    out[: small[1], : small[0]] = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return out


def _boxes(subjects: Sequence[Subject], label: str, scale: float) -> Floats:
    """Return the boxes of a class in the shrunken picture, float32 (N, 4) xyxy, without those too small to see."""
    boxes = np.array([as_instance(s).box for s in subjects if s.label == label], np.float32).reshape(-1, 4) * scale
    sides: NDArray[np.float32] = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    return np.asarray(boxes[sides >= LEAST_SIDE], np.float32)


def _instance(number: int, label: str, box: Floats, score: float = 1.0) -> Instance:
    x1, y1 = np.floor(box[:2]).astype(int)
    x2, y2 = np.ceil(box[2:]).astype(int)
    return Instance(number, label, box, np.ones((y2 - y1, x2 - x1), bool), score)
