"""The network behind the fill, as shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anonymizer.core.errors import ModelError
from anonymizer.fill import redact
from anonymizer.fill.migan import MiGan
from anonymizer.models import weights


@pytest.fixture(scope="module")
def filler() -> MiGan:
    return MiGan(weights.path("fill"))


def street(height: int = 300, width: int = 420) -> np.ndarray:
    """Return a grey ground below a blue sky, with a darker stripe across both."""
    image = np.full((height, width, 3), 110, np.uint8)
    image[: height // 2] = (90, 140, 220)
    image[:, width // 2 - 20 : width // 2 + 20] //= 2
    return np.clip(image + np.random.default_rng(1).normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def hole(image: np.ndarray) -> np.ndarray:
    mask = np.zeros(image.shape[:2], bool)
    height, width = mask.shape
    mask[height // 4 : 3 * height // 4, width // 8 : 3 * width // 8] = True
    return mask


@pytest.mark.parametrize("size", [(300, 420), (90, 64), (1000, 1300)])
def test_sky_and_ground_go_on(filler: MiGan, size: tuple[int, int]) -> None:
    image = street(*size)
    mask = hole(image)
    out = redact(image, mask, np.random.default_rng(0), filler)
    assert np.array_equal(out[~mask], image[~mask])
    height, width = size
    off = np.abs(out.astype(float) - image)
    near = max(height // 20, 3)
    assert off[height // 4 : height // 2 - near, width // 8 : 3 * width // 8].mean() < 12
    assert off[height // 2 + near : 3 * height // 4, width // 8 : 3 * width // 8].mean() < 12


def test_hidden_pixels_have_no_influence(filler: MiGan) -> None:
    image = street()
    mask, other = hole(image), np.roll(hole(image), 200, axis=1)
    noise = np.random.default_rng(5).integers(0, 256, image.shape, dtype=np.uint8)
    changed = np.where((mask | other)[..., None], noise, image)
    first, second = (
        redact(i, mask, np.random.default_rng(0), filler, sensitive=mask | other) for i in (image, changed)
    )
    assert np.array_equal(first[mask], second[mask])


def test_the_same_hole_is_filled_alike_each_time(filler: MiGan) -> None:
    image = street()
    first, second = (redact(image, hole(image), np.random.default_rng(seed), filler) for seed in (1, 2))
    assert np.array_equal(first, second)


def test_another_network_is_refused() -> None:
    with pytest.raises(ModelError, match="expected input 'seen' and output 'picture'"):
        MiGan(weights.path("edges"))
    with pytest.raises(ModelError, match="fill"):
        MiGan(Path("nowhere.onnx"))
