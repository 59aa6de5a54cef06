"""Measures how plates are redrawn: which are, where their corners lie, what can be read on them, and how long it takes.

python benchmarks/plates.py --data DATA [--limit N] [--sheets DIR] [--json FILE]

Annotated plates from 24 pixels of width on the ``val`` pictures of five packs, anonymized as a whole with plates as the
only class. Corners marked by hand for some of them stand in ``plate_corners.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from packs import Truth, pictures, read, some

from anonymizer import Anonymizer, Instance, Result, VerificationFailed
from anonymizer.core.geometry import box_iou, context_box, integer_box, outline_box, take
from anonymizer.core.readings import text_similarity
from anonymizer.redraw.plate_corners import plate_quad
from anonymizer.redraw.plate_text import plate_reading
from anonymizer.redraw.plates import redraw_plate

PACKS = ("openalpr", "plates_br", "plates_ro", "plates_eg", "plates_mix")
#: PP-OCR reads no Arabic script: what it makes of these plates is no text of theirs.
UNREADABLE = ("plates_eg",)
#: Least width of plates in pixels.
WIDTH = 24
#: IoU with an annotation from which an instance is that plate.
SAME = 0.3
#: Similarity from which two readings are the same text.
ALIKE = 0.5


@dataclass
class Tally:
    """What is gathered over the plates of a pack."""

    count: Counter[str] = field(default_factory=Counter)
    corners: list[float] = field(default_factory=list)
    places: list[float] = field(default_factory=list)
    times_ms: list[float] = field(default_factory=list)

    def __add__(self, other: Tally) -> Tally:
        lists = (getattr(self, name) + getattr(other, name) for name in ("corners", "places", "times_ms"))
        return Tally(self.count + other.count, *lists)


class Bench:
    """Runs the preset over packs and keeps score.

    Args:
        anonymizer: The preset, with plates as its only class.
        marked: Corners float32 (N, 4, 2) by pack and file name.
        sheets: Folder for plates before and after; None writes none.
    """

    def __init__(
        self, anonymizer: Anonymizer, marked: dict[tuple[str, str], NDArray[np.float32]], sheets: Path | None
    ) -> None:
        self._anonymizer, self._marked, self._sheets = anonymizer, marked, sheets

    def pack(self, data: Path, name: str, limit: int) -> Tally:
        """Anonymize some pictures of a pack and return what was counted."""
        tally, tiles = Tally(), []
        for path, truths in some(pictures(data, name, "val"), limit):
            plates = [t for t in truths if t.label == "license_plate" and t.side >= WIDTH]
            tally.count["plates"] += len(plates)
            image = read(path)
            try:
                result = self._anonymizer(image, key=path.name)
            except VerificationFailed:
                tally.count["quarantined"] += len(plates)
                continue
            before, after = (self._readings(picture, result) for picture in (image, result.image))
            for truth in plates:
                self._plate(name, path, image, result, truth, before, after, tally)
                if self._sheets is not None:
                    tiles.append(_tile(image, result.image, truth))
        if tiles and self._sheets is not None:
            self._sheets.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(self._sheets / f"{name}.png"), _sheet(tiles)[..., ::-1])
        return tally

    def _readings(self, picture: NDArray[np.uint8], result: Result) -> dict[int, tuple[str, ...]]:
        return dict(self._anonymizer._verifier.examine(picture, result.instances).texts)

    def _plate(
        self,
        pack: str,
        path: Path,
        image: NDArray[np.uint8],
        result: Result,
        truth: Truth,
        before: dict[int, tuple[str, ...]],
        after: dict[int, tuple[str, ...]],
        tally: Tally,
    ) -> None:
        instance = max(result.instances, key=lambda i: _iou(i, truth), default=None)
        if instance is None or _iou(instance, truth) < SAME:
            return
        tally.count["found"] += 1
        start = time.process_time()
        redraw_plate(image, instance, before[instance.id], np.random.default_rng(0), image)
        tally.times_ms.append(1000 * (time.process_time() - start))
        quad = plate_quad(image, instance)
        for corners in self._marked.get((pack, path.name), ()):
            upright = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
            if box_iou(upright[None], truth.box[None])[0, 0] >= SAME:
                width = (np.linalg.norm(corners[1] - corners[0]) + np.linalg.norm(corners[2] - corners[3])) / 2
                tally.corners.append(float(np.linalg.norm(quad - corners, axis=1).mean() / width))
        actions = {t.instance_id: t.action for t in result.treatments}
        redrawn = actions[instance.id] == "redrawn"
        # Verification lets a redraw stand only where the detector finds a plate again at IoU 0.5.
        tally.count["redrawn"] += redrawn
        known = str(truth.record.get("text") or "")
        aspect = float(np.linalg.norm(quad[1] - quad[0]) / max(np.linalg.norm(quad[3] - quad[0]), 1.0))
        seen = plate_reading(before[instance.id], aspect) or ""
        text = known or seen
        # Whoever reads it now, by the annotated text as by what OCR made of it.
        alike = [text_similarity(old, new) for old in (known, seen) if old for new in after[instance.id]]
        tally.count["compared"] += bool(known or seen)
        tally.count["still_read"] += bool(alike) and max(alike) >= ALIKE
        if redrawn and pack not in UNREADABLE and seen and abs(_length(seen) - _length(text)) <= 1:
            tally.count["readable"] += 1
            tally.count["right_length"] += any(abs(_length(new) - _length(text)) <= 1 for new in after[instance.id])
            best = max(after[instance.id], key=lambda new: -abs(_length(new) - _length(text)), default="")
            pairs = list(zip(_plain(text), _plain(best), strict=False))
            tally.places.append(sum(a == b for a, b in pairs) / _length(text))


def _iou(instance: Instance, truth: Truth) -> float:
    boxes = np.concatenate([instance.seen, outline_box(instance)[None], instance.box[None]])
    return float(box_iou(truth.box[None], boxes).max()) if instance.label == "license_plate" else 0.0


def _plain(text: str) -> str:
    return "".join(c for c in text.upper() if c.isalnum())


def _length(text: str) -> int:
    return len(_plain(text))


def _tile(image: NDArray[np.uint8], result: NDArray[np.uint8], truth: Truth) -> NDArray[np.uint8]:
    """Return a plate with its surroundings before and, below it, after: RGB uint8 (320, 240, 3)."""
    window = integer_box(context_box(truth.box, 0.5, 2 / 3))
    parts = [
        cv2.resize(np.ascontiguousarray(take(p, window)), (240, 160), interpolation=cv2.INTER_AREA)
        for p in (image, result)
    ]
    return np.concatenate(parts)


def _sheet(tiles: list[NDArray[np.uint8]], columns: int = 6) -> NDArray[np.uint8]:
    empty = [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [*tiles, *empty]
    return np.concatenate([np.concatenate(rows[n : n + columns], axis=1) for n in range(0, len(rows), columns)])


def row(name: str, tally: Tally) -> dict[str, Any]:
    """Return a pack's row of the table."""
    count = tally.count

    def of(part: str, whole: str) -> str:
        return f"{count[part]} of {count[whole]}" + (f" ({count[part] / count[whole]:.0%})" if count[whole] else "")

    return {
        "pack": name,
        "found": of("found", "plates"),
        "redrawn and found again": of("redrawn", "plates"),
        "quarantined": count["quarantined"],
        "text of the right length": of("right_length", "readable"),
        "characters in place": f"{statistics.mean(tally.places):.1%}" if tally.places else "",
        "original text read": of("still_read", "compared"),
        "corner error": f"{statistics.mean(tally.corners):.1%} of {len(tally.corners)}" if tally.corners else "",
        "ms per plate": f"{statistics.median(tally.times_ms):.0f}" if tally.times_ms else "",
    }


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--packs", nargs="+", default=PACKS)
    parser.add_argument("--limit", type=int, default=1000, help="pictures per pack")
    parser.add_argument("--sheets", type=Path, help="folder for plates before and after")
    parser.add_argument("--json", type=Path, help="file for the table")
    arguments = parser.parse_args()
    marked: dict[tuple[str, str], list[Any]] = {}
    for plate in json.loads(Path(__file__).with_name("plate_corners.json").read_text())["plates"]:
        marked.setdefault((plate["pack"], plate["file"]), []).append(plate["corners"])
    arrays = {key: np.asarray(corners, np.float32) for key, corners in marked.items()}
    anonymizer = Anonymizer.from_preset("embedded", seed=7, classes=("license_plate",))
    bench = Bench(anonymizer, arrays, arguments.sheets)
    tallies = {name: bench.pack(arguments.data, name, arguments.limit) for name in arguments.packs}
    rows = [row(name, tally) for name, tally in tallies.items()]
    rows.append(row("all", sum(tallies.values(), Tally())))
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for each in rows:
        print("| " + " | ".join(str(value) for value in each.values()) + " |")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
