"""Measure what encoding a JPEG anew changes outside of the treated regions.

    python benchmarks/encoding.py FOLDER [FOLDER ...] [--limit 120]

FOLDER holds pictures and their annotations (any format that ``--annotations`` takes). Every annotated instance, grown
by four pixels, is filled with a random colour, the hardest case for the blocks it cuts; then the picture is written in
two ways: from RGB, and from the samples that the source stores. No model is needed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from anonymizer.annotations.reading import read_annotations
from anonymizer.core.geometry import full_mask
from anonymizer.core.records import Image, Instance, Mask
from anonymizer.images.decode import Decoded, decode_image, read_image
from anonymizer.images.encode import encode_image
from anonymizer.run.inputs import find_inputs


def region(instances: tuple[Instance, ...], size: tuple[int, int]) -> Mask:
    """Return the instances' masks, grown by four pixels."""
    mask = np.zeros(size, dtype=np.uint8)
    for instance in instances:
        mask |= full_mask(instance, size).astype(np.uint8)
    return cv2.dilate(mask, np.ones((9, 9), np.uint8)).astype(bool)


def away(treated: Mask) -> Mask:
    """Return pixels whose 16x16 block, and the two pixels beside it, are untreated."""
    blocks = cv2.dilate(treated.astype(np.uint8), np.ones((3, 3), np.uint8))
    for top in range(0, treated.shape[0], 16):
        for left in range(0, treated.shape[1], 16):
            block = blocks[top : top + 16, left : left + 16]
            block[:] = block.any()
    return ~cv2.dilate(blocks, np.ones((5, 5), np.uint8)).astype(bool)


def measure(decoded: Decoded, treated: Mask, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Return mean squared error and share of equal pixels: outside and away, from RGB and from stored samples."""
    result = decoded.pixels.copy()
    result[treated] = rng.integers(0, 256, 3)
    out = []
    for mask in (None, treated):
        again = decode_image(encode_image(result, decoded, ".jpg", treated=mask), "again").pixels
        out += [compare(decoded.pixels, again, where) for where in (~treated, away(treated))]
    return out


def compare(a: Image, b: Image, where: Mask) -> tuple[float, float]:
    """Return mean squared error and share of equal pixels; NaN where there is nothing to compare."""
    if not where.any():
        return np.nan, np.nan
    difference = a[where].astype(float) - b[where]
    return float((difference**2).mean()), float((difference == 0).all(axis=1).mean())


def main() -> None:
    """Print a line per folder and way of writing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--limit", type=int, default=120)
    args = parser.parse_args()
    print("folder, pictures, written from, where: PSNR of the mean error in dB, worst picture, equal pixels")
    for folder in args.folders:
        annotations = read_annotations(folder)
        rng = np.random.default_rng(0)
        rows = []
        for file in find_inputs(folder, folder.parent / "no-output").files[: args.limit]:
            decoded = read_image(file.path)
            given = annotations.instances(file.name, decoded.size)
            if decoded.format == "JPEG" and given is not None and given.instances:
                rows.append(measure(decoded, region(given.instances, decoded.size), rng))
        figures = np.array(rows)  # (pictures, 4, 2)
        for index, label in enumerate(("RGB, outside", "RGB, away", "samples, outside", "samples, away")):
            errors, equal = figures[:, index].T
            decibel = 10 * np.log10(255**2 / np.array([np.nanmean(errors), np.nanmax(errors)]))
            print(f"{folder.name}, {len(rows)}, {label}: {decibel[0]:.1f}, {decibel[1]:.1f}, {np.nanmean(equal):.2%}")


if __name__ == "__main__":
    main()
