"""Add made-up training pictures to the detector's label file: other countries' plates, and persons in streets.

    python models/training/made_pictures.py --data ../shared/data --labels runs/labels.json

Writes ``made/*.jpg`` beside the label file and their labels into it. Regions that are unknown in the picture below stay
so, and on a pasted person the face is unknown.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from complete_labels import UPPER, encoded
from detector_scenes import pasted, persons
from packs import Label, Picture
from plate_scenes import replaced
from pycocotools import mask as coco_mask

SEED = 11
#: Pictures of each kind.
PLATES, PASTES = 260, 160
#: Packs with labelled plates, streets to paste into, and packs with clean masks of whole persons.
CARS = ("openalpr", "plates_br", "plates_ro", "plates_mix")
STREETS = ("camvid", "openalpr", "plates_ro")
PEOPLE = ("ccp", "pennfudan", "humanseg")


def font_files() -> list[str]:
    """Return bold sans and monospaced fonts of the DejaVu family, which matplotlib carries."""
    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    return [str(folder / f"DejaVu{name}.ttf") for name in ("Sans-Bold", "SansMono-Bold", "Sans")]


def picture(row: dict[str, Any], data: Path) -> Picture:
    """Return a row of the label file as a picture."""
    labels = tuple(
        Label(
            label["name"],
            tuple(label["box"]),
            None if label["rle"] is None else coco_mask.decode(label["rle"]).astype(bool),
        )
        for label in row["labels"]
    )
    return Picture(row["pack"], data / row["pack"] / "images" / row["file"], *row["size"], "train", labels, row)


def written(
    folder: Path, name: str, below: Picture, image: np.ndarray, labels: list[Label], unknown: list[Any]
) -> dict[str, Any]:
    """Write a picture and return its row."""
    cv2.imwrite(str(folder / f"{name}.jpg"), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    return {
        "pack": "made",
        "file": f"{name}.jpg",
        "size": [below.width, below.height],
        "labels": [
            {
                "name": label.name,
                "box": [round(float(v), 2) for v in label.box],
                "rle": None if label.mask is None else encoded(label.mask),
            }
            for label in labels
        ],
        "ignore": below.record["ignore"] + unknown,
    }


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--labels", type=Path, default=Path("runs/labels.json"))
    args = parser.parse_args()
    rng = np.random.default_rng(SEED)
    rows = [row for row in json.loads(args.labels.read_text()) if row["pack"] != "made"]
    folder = args.labels.parent / "made"
    folder.mkdir(exist_ok=True)
    cars = [row for row in rows if row["pack"] in CARS and any(e["name"] == "license_plate" for e in row["labels"])]
    streets = [row for row in rows if row["pack"] in STREETS]
    people = [row for row in rows if row["pack"] in PEOPLE and any(label["rle"] for label in row["labels"])]
    made = []
    for number in range(PLATES):
        below = picture(cars[int(rng.integers(len(cars)))], args.data)
        scene = replaced(below, font_files(), rng)
        if scene is not None:
            made.append(written(folder, f"plate_{number}", below, *scene, []))
    for number in range(PASTES):
        below = picture(streets[int(rng.integers(len(streets)))], args.data)
        sources = [picture(people[int(n)], args.data) for n in rng.integers(len(people), size=6)]
        sources = [source for source in sources if persons(source)]
        if not sources:
            continue
        image, labels = pasted(below, sources, rng)
        known = {label.box for label in below.labels}
        unknown = []
        for label in labels:
            if label.name == "person" and label.box not in known:
                x1, y1, x2, y2 = label.box
                unknown += [[name, [x1, y1, x2, y1 + UPPER * (y2 - y1)]] for name in ("face", "head")]
        made.append(written(folder, f"paste_{number}", below, image, list(labels), unknown))
    args.labels.write_text(json.dumps(rows + made))
    print(f"{len(rows)} pictures and {len(made)} made-up ones")


if __name__ == "__main__":
    main()
