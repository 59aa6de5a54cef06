"""Made-up training pictures for the detector: persons pasted into streets, of which few have labelled persons."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from packs import Label, Picture

#: Height of a pasted person as a share of the picture's height.
PASTED = (0.14, 0.62)

Scene = tuple[np.ndarray, list[Label]]


def persons(picture: Picture) -> list[Label]:
    """Return the persons of a picture that have a mask and are seen nearly whole."""
    out = []
    for label in picture.labels:
        x1, y1, x2, y2 = label.box
        whole = 1.8 <= (y2 - y1) / max(x2 - x1, 1) <= 4.5 and y2 - y1 >= 120
        if label.name == "person" and label.mask is not None and whole and not label.crowd:
            out.append(label)
    return out


def pasted(street: Picture, sources: Sequence[Picture], rng: np.random.Generator) -> Scene:
    """Paste one to four persons with their masks into a street, feet lower where they are larger."""
    image, labels = street.read().copy(), list(street.labels)
    heights = sorted(rng.uniform(*PASTED, size=rng.integers(1, 5)) * street.height)
    for height in heights:
        source = sources[rng.integers(len(sources))]
        chosen = persons(source)
        if not chosen:
            continue
        label = chosen[rng.integers(len(chosen))]
        x1, y1, x2, y2 = (int(v) for v in label.box)
        scale = height / (y2 - y1)
        size = max(round((x2 - x1) * scale), 4), max(round(height), 8)
        cut = cv2.resize(source.read()[y1:y2, x1:x2], size, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(label.mask[y1:y2, x1:x2].astype(np.float32), size, interpolation=cv2.INTER_AREA)
        if rng.random() < 0.5:
            cut, mask = cut[:, ::-1], mask[:, ::-1]
        # Larger means nearer means lower; a nearer person may be cut by the lower border.
        feet = street.height * (0.55 + 0.5 * height / street.height * rng.uniform(0.8, 1.3))
        left, top = int(rng.uniform(-0.2, 1.0) * (street.width - size[0] / 2)), int(feet - size[1])
        labels = _paste(image, labels, cut, mask, (left, top))
    return image, labels


def _paste(
    image: np.ndarray, labels: list[Label], cut: np.ndarray, mask: np.ndarray, corner: tuple[int, int]
) -> list[Label]:
    """Lay a cut-out over a picture, in place, and take it from the masks it covers."""
    height, width = image.shape[:2]
    left, top = corner
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + cut.shape[1], width), min(top + cut.shape[0], height)
    if x2 - x1 < 6 or y2 - y1 < 12:
        return labels
    alpha = mask[y1 - top : y2 - top, x1 - left : x2 - left]
    piece = cut[y1 - top : y2 - top, x1 - left : x2 - left]
    image[y1:y2, x1:x2] = np.rint(image[y1:y2, x1:x2] * (1 - alpha[..., None]) + piece * alpha[..., None])
    whole = np.zeros((height, width), bool)
    whole[y1:y2, x1:x2] = alpha > 0.5
    if whole.sum() < 60:
        return labels
    kept = []
    for label in labels:
        a, b, c, d = (int(v) for v in label.box)
        covered = (
            whole[b:d, a:c].mean() if label.mask is None else (whole & label.mask).sum() / max(label.mask.sum(), 1)
        )
        if covered > 0.6:
            continue
        kept.append(label if label.mask is None else Label(label.name, label.box, label.mask & ~whole, label.crowd))
    ys, xs = np.nonzero(whole)
    return [*kept, Label("person", (float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)), whole)]
