"""Measure safe masks: how much of annotated persons they leave out, and how much else they take.

    python benchmarks/safe_mask.py --data DATA --limit 14

Persons from 60 px with an annotated mask, half of which lies in the masks found: who is missed is another matter, see
``detection.py``. *Left out* is the mean proportion of a person's annotated pixels outside of all safe masks of the
picture; *with rim* the same of the mask grown by 1.5 % of the person's height, for hair and fringes of colour; *over
2 %* the proportion of persons of whom more than that is left out; *area* that of all safe masks of persons to all
annotated ones. ``wide`` are masks as they were found, grown as for anybody; ``safe`` those of the product.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from markdown_table import table
from packs import pictures, read

from anonymizer import Instance
from anonymizer.config import presets
from anonymizer.core.geometry import dilate, full_mask
from anonymizer.detect import outlines
from anonymizer.redraw.crops import anonymized_mask, grow_radius

PACKS = ("pennfudan", "ccp", "humanseg")
#: Least height of a person in pixels, rim as a share of it, least proportion that was found, and what is much.
LEAST, RIM, FOUND, MUCH = 60, 0.015, 0.5, 0.02


def wide(persons: list[Instance], size: tuple[int, int]) -> np.ndarray:
    """Return the masks grown as for anybody, bool (H, W)."""
    out = np.zeros(size, bool)
    for person in persons:
        out |= dilate(full_mask(person, size), grow_radius(person.box))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=14, help="pictures of each pack")
    args = parser.parse_args()
    detect = presets.build("embedded", seed=7)._detector.detect
    narrowed = outlines.narrowed
    found: list[tuple[str, Any, list[Instance], list[Instance]]] = []
    for pack in PACKS:
        with_mask = [
            (path, [t for t in truths if t.label == "person" and t.mask is not None])
            for path, truths in pictures(args.data, pack, "val")
        ]
        chosen = [pair for pair in with_mask if pair[1]]
        for path, truths in chosen[:: max(len(chosen) // args.limit, 1)][: args.limit]:
            outlines.narrowed = lambda person: person  # Masks as they were found.
            persons = [i for i in detect(read(path)) if i.label == "person"]
            outlines.narrowed = narrowed
            found.append((pack, truths, persons, [narrowed(i) for i in persons]))
    rows = []
    ways: dict[str, Callable[[list[Instance], tuple[int, int]], np.ndarray]] = {"wide": wide, "safe": anonymized_mask}
    for pack in ("all", *PACKS):
        for name, way in ways.items():
            out, rims, taken, annotated = [], [], 0, 0
            for own, truths, before, after in found:
                if pack not in ("all", own):
                    continue
                size = truths[0].mask.shape
                safe, reached = way(before if name == "wide" else after, size), wide(before, size)
                taken += int(safe.sum())
                for truth in truths:
                    mask, height = truth.mask, truth.side
                    annotated += int(mask.sum())
                    if height < LEAST or (mask & reached).sum() < FOUND * mask.sum():
                        continue
                    far = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
                    rim = far <= max(RIM * height, 1)
                    out.append(float((mask & ~safe).sum() / mask.sum()))
                    rims.append(float((rim & ~safe).sum() / rim.sum()))
            rows.append(
                {
                    "pack": pack,
                    "masks": name,
                    "persons": len(out),
                    "left_out_%": 100 * float(np.mean(out)),
                    "with_rim_%": 100 * float(np.mean(rims)),
                    "over_2_%": 100 * float(np.mean(np.array(out) > MUCH)),
                    "area": taken / annotated,
                }
            )
    print(table(rows))


if __name__ == "__main__":
    main()
