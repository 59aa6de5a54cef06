"""Distances between two kinds of pictures as a network sees them: features of crops, kernel and Fréchet distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError, ModelError
from anonymizer.core.geometry import context_box, take
from anonymizer.core.records import Floats, Image, check_image
from anonymizer.evaluation.records import Estimate
from anonymizer.models import weights
from anonymizer.models.onnx import open_session

__all__ = ["LEAST", "CropFeatures", "frechet", "kid", "polynomial_mmd"]

#: Last map of the backbone (pyramid pooling), 32 input pixels to a cell.
LAYER = "/model.9/cv2/act/Mul_output_0"
#: Side of the square that a crop is resized to, and the context around it, as a proportion of its longer side.
CROP_SIDE = 128
CROP_MARGIN = 0.1
#: Fewest instances a distance is given for: with fewer, each subset would hold only a handful.
LEAST = 10
#: Subsets drawn, and the most features in each, as published.
SUBSETS, SUBSET_SIZE = 100, 1000


class CropFeatures:
    """Describes crops by the mean and the spread of the embedded detector's last backbone map.

    The network was trained to find persons, faces and plates, from ImageNet weights; its features tell such crops
    apart in detail, but distances in them cannot be compared with those of Inception or another network. Released
    pictures have passed a check by this very detector, which may make them look slightly nearer than they are.

    Raises:
        ModelError: The detector's file is missing, corrupt or has another layout.
    """

    def __init__(self) -> None:
        import onnx

        path = weights.path("detector")
        model = onnx.load(str(path))
        if not any(LAYER in node.output for node in model.graph.node):
            raise ModelError(f"features: layer {LAYER} not found in {path}; reinstall anonymizer")
        del model.graph.output[:]
        model.graph.output.append(onnx.helper.make_tensor_value_info(LAYER, onnx.TensorProto.FLOAT, None))
        self._session = open_session(model.SerializeToString(), "features")
        self._input = self._session.get_inputs()[0].name
        self.name = (
            f"embedded detector, layer {LAYER}, mean and standard deviation over the map, crops at {CROP_SIDE} px"
        )
        self.sha256 = weights.digest("detector")

    def describe(self, image: Image, box: Floats) -> Floats:
        """Return the features of one instance and a little of its surroundings.

        Args:
            image: RGB uint8 (H, W, 3).
            box: float32 (4,) xyxy in pixels.

        Returns:
            float32 (D,).

        Raises:
            InputError: The picture has another shape or dtype.
        """
        import cv2

        crop = take(check_image(image), context_box(box, CROP_MARGIN, 1.0))
        method = cv2.INTER_AREA if crop.shape[0] > CROP_SIDE else cv2.INTER_LINEAR
        square = cv2.resize(crop, (CROP_SIDE, CROP_SIDE), interpolation=method)
        blob = (
            np.ascontiguousarray(square.transpose(2, 0, 1)[None], dtype=np.float32) / 255
        )  # (h, w, 3) -> (1, 3, h, w)
        cells = self._session.run(None, {self._input: blob})[0][0]
        cells = cells.reshape(cells.shape[0], -1)  # (C, h, w) -> (C, h w)
        return np.concatenate([cells.mean(axis=1), cells.std(axis=1)]).astype(np.float32)


def polynomial_mmd(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    """Return the unbiased squared MMD of two samples under the kernel (x·y / d + 1)³.

    Args:
        x: Features (m, d), one a row, m ≥ 2.
        y: Features (n, d), n ≥ 2.

    Returns:
        The estimate; 0 in expectation where both come from one distribution, so it may be slightly negative.

    Raises:
        InputError: Other shapes, fewer than two rows, or features that are not finite.

    Source:
        Bińkowski et al., Demystifying MMD GANs, ICLR 2018, section 4; Gretton et al., JMLR 2012, equation 3.
    """
    from sklearn.metrics.pairwise import polynomial_kernel

    x, y = _checked("x", x), _checked("y", y)
    if x.shape[1] != y.shape[1]:
        raise InputError(f"features: expected the same length on both sides, got {x.shape[1]} and {y.shape[1]}")
    m, n = len(x), len(y)
    # The kernel of KID: (x . y / d + 1)^3.
    within_x, within_y, across = (
        polynomial_kernel(*pair, degree=3, gamma=1 / x.shape[1], coef0=1) for pair in ((x, x), (y, y), (x, y))
    )
    np.fill_diagonal(within_x, 0.0)
    np.fill_diagonal(within_y, 0.0)
    return float(within_x.sum() / (m * (m - 1)) + within_y.sum() / (n * (n - 1)) - 2 * across.mean())


def kid(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    rng: np.random.Generator,
    *,
    paired: bool = False,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
) -> Estimate:
    """Return the kernel inception distance: the mean of ``polynomial_mmd`` over random subsets.

    Args:
        x: Features (m, d).
        y: Features (n, d).
        rng: Draws the subsets.
        paired: Row k of both shows the same instance. The two sides of a subset then never hold the same instance:
            samples that depend on each other would look nearer than they are.
        subsets: How many subsets.
        subset_size: Most rows of each side in a subset.

    Returns:
        The mean, with the 2.5th and 97.5th percentile over subsets, and the smaller side's number of rows; without
        a value where that is below ``LEAST``. The spread over subsets is wider than the error of the mean.

    Raises:
        InputError: Shapes do not fit.
    """
    if paired and len(x) != len(y):
        raise InputError(f"paired features: expected as many rows on both sides, got {len(x)} and {len(y)}")
    count = min(len(x), len(y))
    if count < LEAST:
        return Estimate(None, count=count, reason=f"{count} instances, a distance needs at least {LEAST}")
    size = min(count // 2 if paired else count, subset_size)
    values = []
    for _ in range(subsets):
        if paired:
            order = rng.permutation(count)
            rows, columns = order[:size], order[size : 2 * size]
        else:
            rows, columns = (rng.choice(len(side), size, replace=False) for side in (x, y))
        values.append(polynomial_mmd(x[rows], y[columns]))
    low, high = np.percentile(values, [2.5, 97.5])
    return Estimate(float(np.mean(values)), float(low), float(high), count)


def frechet(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    """Return the Fréchet distance between normal distributions fitted to features (m, d) and (n, d).

    It is biased upward where rows are fewer than some thousands: compare only values of equally many.
    """
    from scipy.linalg import sqrtm

    first, second = (np.atleast_2d(np.cov(side, rowvar=False)) for side in (x, y))
    # Numerical noise gives the root of a singular product an imaginary part, which is none.
    root = np.real(sqrtm(first @ second))
    apart = np.asarray(x.mean(axis=0) - y.mean(axis=0), np.float64)
    return max(float(apart @ apart + np.trace(first + second - 2 * root)), 0.0)


def _checked(name: str, features: NDArray[np.floating]) -> NDArray[np.float64]:
    array = np.asarray(features, dtype=np.float64)
    if array.ndim != 2 or len(array) < 2 or not array.shape[1]:
        raise InputError(f"features {name}: expected (n, d) with n of at least 2, got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"features {name}: expected finite numbers; look for a network that gave NaN")
    return array
