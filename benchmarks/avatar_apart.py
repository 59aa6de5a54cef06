"""What tells redrawn persons from real ones: their surroundings or themselves, colours, detail, light.

    python benchmarks/avatar_apart.py --data DATA --judges JUDGES --run DIR

``DIR`` is the folder of a run of ``avatars.py``; what is listed and not among its pictures, as after ``--quick``, is
left out and counted. First the accuracy of its classifier on variants of the same crops: the real person with the
redrawn surroundings and the other way round, both sides grey, both at few pixels of height. Then what the pixels inside
annotated masks say, real and redrawn, medians over persons: lightness (CIELAB), its spread, its 2nd and 98th
percentile, chroma, and detail of one to sixteen pixels.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from avatar_measures import told_apart
from avatar_run import LIST
from markdown_table import table
from numpy.typing import NDArray
from packs import Truth, pictures, read

from anonymizer.core.geometry import IntBox, integer_box
from anonymizer.core.records import Floats, Image
from anonymizer.evaluation.networks import ImageFeatures

#: Surroundings of a person that are cut out with it, in heights of the person.
AROUND = 0.6
#: Standard deviation in pixels of the edge between a person and other surroundings.
SOFT = 1.0
#: Heights in pixels to which both sides are reduced.
FEW = (96, 48, 24)
#: Share of a person's height that is left out inside its outline where pixels are measured, and octaves of detail.
EDGE, OCTAVES = 0.03, 5
#: Fewest pixels inside that edge; with fewer, all of the mask count.
LEAST = 50


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--judges", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    arguments = parser.parse_args()
    judge = ImageFeatures(arguments.judges / "efficientnet-lite2.onnx")
    features: dict[str, tuple[list[Floats], list[Floats]]] = defaultdict(lambda: ([], []))
    pixels: dict[str, list[list[list[float]]]] = defaultdict(list)
    groups: list[str] = []
    left = 0
    for pack, picture, truths in listed(arguments.data):
        released = (arguments.run / "pictures" / pack / picture).with_suffix(".png")
        if not released.is_file():
            left += len(truths)
            continue
        before, after = read(arguments.data / pack / "images" / picture), read(released)
        cover = np.zeros(before.shape[:2], np.float32)
        for truth in truths:
            if truth.mask is not None:
                cover = np.maximum(cover, cv2.GaussianBlur(truth.mask.astype(np.float32), (0, 0), SOFT))
        for truth in truths:
            window, box = surroundings(truth, cover.shape)
            real, redrawn = (np.ascontiguousarray(image[window]) for image in (before, after))
            for name, sides in variants(real, redrawn, cover[window], truth.side).items():
                for described, side in zip(features[name], sides, strict=True):
                    described.append(judge.describe(side, box[None]))
            if truth.mask is not None:
                both = [measured(side, truth.mask[window], truth.side) for side in (real, redrawn)]
                pixels[pack].append(both)
                pixels["all"].append(both)
            groups.append(f"{pack}/{picture}")
    rows: list[dict[str, Any]] = []
    for name, (first, second) in features.items():
        found = told_apart(np.concatenate(first), np.concatenate(second), (groups, groups))
        rows.append({"variant": name, "told apart": f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}]"})
    print(f"{len(groups)} persons, {left} left out\n\n{table(rows)}\n")
    names = ("lightness", "spread", "2 %", "98 %", "chroma", *(f"{2**k} px" for k in range(OCTAVES)))
    rows = []
    for pack, persons in pixels.items():
        for kind, values in zip(("real", "redrawn"), np.median(np.array(persons), axis=0), strict=True):
            numbers = {name: round(float(value), 2) for name, value in zip(names, values, strict=True)}
            rows.append({"pack": pack, "side": kind} | numbers)
    print(table(rows))


def listed(data: Path) -> list[tuple[str, str, list[Truth]]]:
    """Return the pictures of the list of persons, with their packs and annotations."""
    chosen: dict[tuple[str, str], list[int]] = defaultdict(list)
    for person in json.loads(LIST.read_text(encoding="utf-8"))["persons"]:
        chosen[person["pack"], person["picture"]].append(person["annotation"])
    truths = {
        pack: {truth.record["id"]: truth for _, found in pictures(data, pack, "val") for truth in found}
        for pack in {pack for pack, _ in chosen}
    }
    return [(pack, picture, [truths[pack][n] for n in numbers]) for (pack, picture), numbers in chosen.items()]


def surroundings(truth: Truth, size: tuple[int, ...]) -> tuple[tuple[slice, slice], Floats]:
    """Return a window around a person, and its box float32 (4,) xyxy in it."""
    pad = round(AROUND * truth.side)
    x1, y1, x2, y2 = integer_box(truth.box)
    outer: IntBox = max(x1 - pad, 0), max(y1 - pad, 0), min(x2 + pad, size[1]), min(y2 + pad, size[0])
    box = truth.box - np.array([*outer[:2], *outer[:2]], np.float32)
    return (slice(outer[1], outer[3]), slice(outer[0], outer[2])), np.asarray(box, np.float32)


def variants(real: Image, redrawn: Image, cover: Floats, tall: float) -> dict[str, tuple[Image, Image]]:
    """Return pairs of crops RGB uint8 (h, w, 3) that a classifier is to tell apart, by name.

    Args:
        real: RGB uint8 (h, w, 3).
        redrawn: RGB uint8 (h, w, 3).
        cover: float32 (h, w) in [0, 1], the annotated persons.
        tall: Height of the person in pixels.
    """
    out = {
        "redrawn": (real, redrawn),
        "real person, redrawn surroundings": (real, mixed(real, redrawn, cover)),
        "redrawn person, real surroundings": (real, mixed(redrawn, real, cover)),
        "both grey": (grey(real), grey(redrawn)),
    }
    for few in FEW:
        out[f"both at {few} pixels of height"] = (reduced(real, few / tall), reduced(redrawn, few / tall))
    out[f"both grey at {FEW[1]} pixels of height"] = (
        reduced(grey(real), FEW[1] / tall),
        reduced(grey(redrawn), FEW[1] / tall),
    )
    return out


def mixed(inner: Image, outer: Image, cover: Floats) -> Image:
    """Return one crop where the cover is, the other elsewhere."""
    share = cover[..., None]
    return np.rint(inner * share + outer * (1 - share)).astype(np.uint8)


def grey(image: Image) -> Image:
    """Return a crop without colour, RGB uint8 (h, w, 3)."""
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)


def reduced(image: Image, scale: float) -> Image:
    """Return a crop without detail that is lost at a scale, at its own size."""
    if scale >= 1:
        return image
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def measured(image: Image, mask: NDArray[np.bool_], tall: float) -> list[float]:
    """Return lightness, its spread, two percentiles, chroma, and detail by octaves, inside a mask bool (h, w)."""
    edge = max(1, round(EDGE * tall))
    inside = cv2.erode(mask.astype(np.uint8), np.ones((2 * edge + 1, 2 * edge + 1), np.uint8)) > 0
    if inside.sum() < LEAST:
        inside = mask
    lab: Any = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    light, chroma = lab[..., 0], np.hypot(lab[..., 1], lab[..., 2])
    detail, finer = [], light
    for octave in range(OCTAVES):
        coarser = cv2.GaussianBlur(light, (0, 0), 0.7 * 2**octave)
        detail.append(float(np.abs(finer - coarser)[inside].mean()))
        finer = coarser
    own = light[inside]
    ends = np.percentile(own, (2, 98))
    return [float(own.mean()), float(own.std()), float(ends[0]), float(ends[1]), float(chroma[inside].mean()), *detail]


if __name__ == "__main__":
    main()
