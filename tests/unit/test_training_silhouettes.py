"""The script that trains the judge of silhouettes: masks as COCO writes them, and versions as they might be found."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

#: Of pycocotools' own arrays under NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parents[2] / "models/judges/train_silhouettes.py"
    spec = importlib.util.spec_from_file_location("train_silhouettes", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_masks_are_read_in_every_form_that_coco_has(script: ModuleType) -> None:
    image = {"height": 60, "width": 40}
    mask = np.zeros((60, 40), np.bool_)
    mask[5:55, 10:30] = True
    run = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    plain = [10 * 60 + 5, *[50, 10] * 19, 50, 5 + 10 * 60]
    for written in (
        [[10, 5, 30, 5, 30, 55, 10, 55]],
        {"size": [60, 40], "counts": run["counts"].decode()},
        {"size": [60, 40], "counts": plain},
    ):
        assert np.array_equal(script.decoded(written, image), mask)
    assert script.decoded([], image) is None


def test_only_tall_persons_of_training_pictures_count(script: ModuleType, tmp_path: Path) -> None:
    tall, small = [[10, 5, 30, 5, 30, 55, 10, 55]], [[10, 5, 30, 5, 30, 15, 10, 15]]
    images = [{"id": n, "height": 60, "width": 40, "split": "train" if n else "val"} for n in range(400)]
    annotations = [
        {"image_id": n, "category_id": 1 + (n == 1), "segmentation": small if n == 2 else tall, "iscrowd": int(n == 3)}
        for n in range(400)
    ]
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "face"}]
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    frames, pictures = script.masks([file])
    assert pictures.tolist() == list(range(4, 400)) and frames.shape == (396, 1, 64, 48)
    file.write_text(json.dumps({"images": images, "annotations": annotations[:100], "categories": categories}))
    with pytest.raises(SystemExit, match="give more annotations"):
        script.masks([file])


def test_versions_differ_and_stay_the_same_outline(script: ModuleType) -> None:
    frames = torch.zeros(40, 1, 64, 48)
    frames[:20, :, 4:60, 18:30] = 1
    frames[20:, :, 20:44, 2:46] = 1
    generator = torch.Generator().manual_seed(1)
    one, two = script.version(frames, generator), script.version(frames, generator)
    assert one.shape == frames.shape and one.min() >= 0 and one.max() <= 1
    assert (one - two).abs().mean(dim=(1, 2, 3)).min() > 0.01
    # Nearer to its own outline than to the other one.
    own = (one - frames).abs().mean(dim=(1, 2, 3))
    other = (one - frames.roll(20, 0)).abs().mean(dim=(1, 2, 3))
    assert (own < other).all()


def test_the_network_gives_unit_vectors_and_rank_1_counts_the_nearest(script: ModuleType) -> None:
    out = script.Network().eval()(torch.rand(3, 1, 64, 48)).detach()
    assert out.shape == (3, script.WIDTH) and out.norm(dim=1).numpy() == pytest.approx([1, 1, 1], abs=1e-5)
    assert script.rank1(np.eye(4), np.eye(4)) == 1 and script.rank1(np.eye(4), np.roll(np.eye(4), 1, axis=0)) == 0
