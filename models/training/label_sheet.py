"""Draw contact sheets of what ``complete_labels.py`` added and of what it left unknown.

python models/training/label_sheet.py --data ../shared/data --labels runs/labels.json --out runs/sheet.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

#: Side of a tile in pixels, tiles in a line, lines for each class and kind.
TILE, ACROSS, LINES = 96, 16, 2
COLOURS = {"label": (0, 255, 0), "unknown": (255, 160, 0)}


def tile(image: np.ndarray, box: list[float], colour: tuple[int, int, int]) -> np.ndarray:
    """Return one object with its surroundings."""
    x1, y1, x2, y2 = box
    side = 1.7 * max(x2 - x1, y2 - y1, 12)
    scale = TILE / side
    shift = np.array([(x1 + x2) / 2 - side / 2, (y1 + y2) / 2 - side / 2])
    if scale < 0.7:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        matrix = np.array([[1, 0, -scale * shift[0]], [0, 1, -scale * shift[1]]])
    else:
        matrix = np.array([[scale, 0, -scale * shift[0]], [0, scale, -scale * shift[1]]])
    out = cv2.warpAffine(image, matrix, (TILE, TILE), flags=cv2.INTER_LINEAR)
    low, high = (((np.array(corner) - shift) * scale).astype(int).tolist() for corner in (box[:2], box[2:]))
    cv2.rectangle(out, low, high, colour, 1)
    return out


def main() -> None:
    """Draw one sheet: for each class what was added (green), then what is unknown (orange)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--labels", type=Path, default=Path("runs/labels.json"))
    parser.add_argument("--out", type=Path, default=Path("runs/sheet.png"))
    args = parser.parse_args()
    lines = []
    rows = [row for row in json.loads(args.labels.read_text()) if row["pack"] != "made"]
    for name in ("person", "face", "license_plate"):
        for kind, colour in COLOURS.items():
            found = []
            for row in rows:
                entries = [e["box"] for e in row["labels"] if e["name"] == name and e.get("added")]
                if kind == "unknown":
                    entries = [box for other, box in row["ignore"] if other == name and box[2:] != row["size"]]
                found += [(row, box) for box in entries]
            chosen = [found[int(n)] for n in np.linspace(0, len(found) - 1, min(len(found), ACROSS * LINES))]
            tiles = []
            for row, box in chosen:
                image = cv2.imread(str(args.data / row["pack"] / "images" / row["file"]), cv2.IMREAD_COLOR)
                tiles.append(tile(image, box, colour[::-1]))
            tiles += [np.zeros((TILE, TILE, 3), np.uint8)] * (ACROSS * LINES - len(tiles))
            lines += [np.concatenate(tiles[n : n + ACROSS], axis=1) for n in range(0, ACROSS * LINES, ACROSS)]
    cv2.imwrite(str(args.out), np.concatenate(lines))


if __name__ == "__main__":
    main()
