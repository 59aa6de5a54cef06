from __future__ import annotations

import cv2
import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.core.records import Instance, Mask
from anonymizer.detect import safe_mask as core
from anonymizer.detect.regions import unite
from anonymizer.detect.safe_mask import refine, vote

BOX = np.array([20, 30, 100, 190], np.float32)


def look(mask: Mask, score: float) -> Instance:
    return Instance(1, "person", BOX, mask, score, "fake")


def scene(left: int, right: int) -> np.ndarray:
    image = np.full((220, 160, 3), 200, np.uint8)
    image[30:190, left:right] = (40, 60, 90)
    return image


def test_votes_weigh_looks_by_their_score() -> None:
    one, two = np.zeros((160, 80), bool), np.zeros((160, 80), bool)
    one[:, :40], two[:, 20:60] = True, True
    looks = [look(one, 0.75), look(two, 0.25)]
    share = vote(looks, unite(looks))
    assert share[80, [10, 30, 50, 70]] == pytest.approx([0.75, 1.0, 0.25, 0.0])


def test_the_outline_snaps_to_the_edges_of_the_picture() -> None:
    truth = np.zeros((160, 80), bool)
    truth[:, 20:56] = True
    rough = np.zeros((160, 80), bool)
    rough[:, 16:60] = True  # Four pixels too wide on both sides.
    refined = refine(scene(40, 76), BOX, rough.astype(np.float32), np.ones_like(rough))

    def iou(mask: Mask) -> float:
        return float((mask & truth).sum() / (mask | truth).sum())

    assert iou(rough) < 0.85
    assert iou(refined) > 0.9


def test_the_outline_never_leaves_the_mask_and_is_never_empty() -> None:
    limit = np.zeros((160, 80), bool)
    limit[:, 30:50] = True
    assert not (refine(scene(40, 76), BOX, np.ones((160, 80), np.float32), limit) & ~limit).any()
    assert (refine(scene(40, 76), BOX, np.zeros((160, 80), np.float32), limit) == limit).all()


def test_a_core_that_leaves_its_mask_is_refused() -> None:
    mask = np.zeros((160, 80), bool)
    mask[:, 10:70] = True
    with pytest.raises(InputError, match="core must be bool"):
        Instance(1, "person", BOX, mask, core=np.ones_like(mask))


def test_large_objects_are_refined_at_a_reduced_size() -> None:
    image = np.full((1300, 900, 3), 200, np.uint8)
    image[100:1200, 300:600] = 30
    box = np.array([250, 80, 650, 1250], np.float32)
    share = np.zeros((1170, 400), np.float32)
    share[10:1130, 40:360] = 1
    refined = refine(image, box, share, np.ones((1170, 400), bool))
    truth = np.zeros((1170, 400), bool)
    truth[20:1120, 50:350] = True
    assert (refined & truth).sum() / (refined | truth).sum() > 0.97


@pytest.mark.parametrize("grey", [False, True])
def test_the_filters_model_is_the_local_least_squares_fit(grey: bool) -> None:
    rng = np.random.default_rng(3)
    guide = cv2.GaussianBlur(rng.random((40, 30, 3)).astype(np.float32), (0, 0), 2)
    guide = np.repeat(guide[..., :1], 3, axis=2) if grey else guide
    target = np.zeros((40, 30), np.float32)
    target[10:25, 8:20] = 1

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.blur(values.astype(np.float64), (7, 7)))

    middle = mean(guide)
    products = mean((guide[..., :, None] * guide[..., None, :]).reshape(40, 30, 9)).reshape(40, 30, 3, 3)
    system = products - middle[..., :, None] * middle[..., None, :] + core.SMOOTHNESS * np.eye(3)
    cross = mean(guide * target[..., None]) - middle * mean(target)[..., None]
    expected = np.linalg.solve(system, cross[..., None])[..., 0]
    slope, offset = core._coefficients(guide, target, 3)
    np.testing.assert_allclose(slope, mean(expected), atol=1e-3)
    np.testing.assert_allclose(offset, mean(mean(target) - (expected * middle).sum(axis=2)), atol=1e-3)
