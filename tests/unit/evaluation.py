"""Pictures of coloured people for tests of the evaluator: what they wear tells who they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

SIZE = 96


def picture(who: int, view: int) -> np.ndarray:
    """Return RGB uint8 (96, 96, 3): a grey scene, and a person in 16..80 x 24..72 with stripes of their own colours."""
    rng, own = np.random.default_rng([7, who, view]), np.random.default_rng([3, who])
    image = np.repeat(rng.integers(90, 160, (12, 12, 1)), 3, axis=2).repeat(8, axis=0).repeat(8, axis=1)
    image[16:80, 24:72] = own.integers(0, 256, (8, 1, 3)).repeat(8, axis=0)
    noise = rng.integers(-12, 13, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def album(root: Path, people: int = 8, views: int = 2, label: str = "person") -> tuple[Path, Path, Path]:
    """Write originals, the same with people painted over, and annotations with identities; return the three paths."""
    originals, released = root / "originals", root / "released"
    originals.mkdir(parents=True)
    released.mkdir()
    images, annotations = [], []
    for number, (who, view) in enumerate(everybody(people, views), start=1):
        name = f"p{who}_{view}.png"
        pixels = picture(who, view)
        Pillow.fromarray(pixels).save(originals / name)
        painted = pixels.copy()
        painted[16:80, 24:72] = 128
        Pillow.fromarray(painted).save(released / name)
        images.append({"id": number, "file_name": name, "width": SIZE, "height": SIZE})
        box = {"id": number, "image_id": number, "category_id": 1, "bbox": [24, 16, 48, 64], "iscrowd": 0}
        annotations.append({**box, "identity": f"person {who}"})
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": label}]}
    (root / "annotations.json").write_text(json.dumps(coco))
    return originals, released, root / "annotations.json"


def everybody(people: int, views: int) -> Iterator[tuple[int, int]]:
    return ((who, view) for who in range(people) for view in range(views))
