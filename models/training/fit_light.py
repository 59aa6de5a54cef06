"""Fit how bright annotated persons are by what surrounds them: the constants of ``anonymizer/avatar/light.py``.

    python models/training/fit_light.py DATA

Of ``train`` pictures of packs with masks, the mean light inside each mask is explained by the picture outside of all
masks, as the product sees it: the brightest tenth around the person that is not burnt out beside that of the picture,
and the median around. Printed are the powers, and how much of the variance of the logarithm they explain in other
pictures (five folds) and in a pack that is left out, for them and for the median alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from packs import Label, Picture, read_pack

from anonymizer.avatar.light import ALL, AROUND, BURNT, GAMMA, LEAST, TENTH, USUAL, look
from anonymizer.core.geometry import paste_window

Array = NDArray[np.float64]

PACKS = ("pennfudan", "ccp", "camvid", "humanseg", "coco100", "coco256")
#: Pictures with persons of each pack, drawn by chance, and persons of each.
PICTURES, PERSONS = 110, 4
#: Least height of a person in pixels; room around masks that is not read, in longer sides of the picture; share of the
#: height that is left out inside a mask, and least pixels left.
TALL, ROOM, EDGE, PIXELS = 48, 0.01, 0.03, 60
FOLDS = 5


def main() -> None:
    """Measure, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data: Path = parser.parse_args().data
    rng = np.random.default_rng(0)
    rows: list[tuple[float, float, float, float]] = []
    packs: list[str] = []
    names: list[str] = []
    for pack in PACKS:
        pictures = [p for p in read_pack(data, pack, teacher=False) if p.split == "train"]
        used = 0
        for number in rng.permutation(len(pictures)):
            found = list(measured(pictures[number]))
            rows += found
            packs += [pack] * len(found)
            names += [str(pictures[number].path)] * len(found)
            used += bool(found)
            if used == PICTURES:
                break
    table = np.log(np.maximum(np.array(rows), LEAST))
    light, here, front, whole = table.T
    folds = np.unique(names, return_inverse=True)[1] % FOLDS
    left_out = np.unique(packs, return_inverse=True)[1]
    print(f"{len(rows)} persons of {len(set(names))} pictures")
    for title, parts in (("tenth and median", (here - whole, front)), ("median alone", (front,))):
        features = np.stack([*parts, np.ones(len(light))], 1)
        powers = np.linalg.lstsq(features, light, rcond=None)[0]
        shares = [1 - residuals(features, light, groups).var() / light.var() for groups in (folds, left_out)]
        shown = ", ".join(f"{power:.2f}" for power in powers[:-1])
        print(f"{title}: powers {shown}; explained {shares[0]:.0%} in other pictures, {shares[1]:.0%} in other packs")


def measured(picture: Picture) -> Iterator[tuple[float, float, float, float]]:
    """Yield of each person the light inside, the brightest tenth and the median around, and the picture's tenth."""
    image = picture.read()
    masks = [label.mask for label in picture.labels if label.mask is not None]
    persons = [label for label in picture.labels if usable(label)]
    if not persons:
        return
    room = 2 * max(3, round(ROOM * max(image.shape[:2]))) + 1
    hidden = cv2.dilate(np.any(masks, axis=0).astype(np.uint8), np.ones((room, room), np.uint8)) > 0
    scene = look(image, hidden, (), image.shape[0] / 2)
    everything = scene.linear[scene.open].mean(1)
    if not len(everything):
        return
    linear = np.power(image.astype(np.float32) / 255, GAMMA).mean(2)
    for person in persons[:PERSONS]:
        if person.mask is None:
            continue
        edge = 2 * max(1, round(EDGE * (person.box[3] - person.box[1]))) + 1
        inside = cv2.erode(person.mask.astype(np.uint8), np.ones((edge, edge), np.uint8)) > 0
        if inside.sum() < PIXELS:
            continue
        x1, y1, x2, y2 = person.box
        pad = AROUND * max(x2 - x1, y2 - y1)
        box = tuple(round(v * scene.scale) for v in (x1 - pad, y1 - pad, x2 + pad, y2 + pad))
        window, _ = paste_window((box[0], box[1], box[2], box[3]), scene.open.shape)
        near = scene.linear[window][scene.open[window]].mean(1)
        dull = near[near <= BURNT]
        told = len(near) and len(dull) > (1 - ALL) * len(near)
        here, front = np.percentile(dull, (TENTH, 50)) if told else (BURNT, USUAL)
        yield float(linear[inside].mean()), float(here), float(front), float(np.percentile(everything, TENTH))


def usable(label: Label) -> bool:
    """Return whether a label is one person with a mask, tall enough."""
    tall = label.box[3] - label.box[1] >= TALL
    return label.name == "person" and label.mask is not None and not label.crowd and not label.approximate and tall


def residuals(features: Array, target: Array, groups: NDArray[np.integer]) -> Array:
    """Return what a linear fit on the other groups leaves of each row (N,)."""
    out = np.zeros(len(target))
    for group in np.unique(groups):
        test = groups == group
        out[test] = target[test] - features[test] @ np.linalg.lstsq(features[~test], target[~test], rcond=None)[0]
    return out


if __name__ == "__main__":
    main()
