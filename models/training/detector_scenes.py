"""Made-up training pictures for the detector: close-ups cut from whole persons, and persons pasted into streets.

The packs hold hardly any labelled close-up of head and shoulders, and few streets with labelled persons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from packs import Label, Picture

#: Share of a standing person's height that a close-up shows.
SHOWN = (0.18, 0.5)
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


def close_up(picture: Picture, rng: np.random.Generator) -> Scene | None:
    """Cut a picture down to the upper part of one of its persons; every label is cut with it."""
    chosen = persons(picture)
    if not chosen:
        return None
    x1, y1, x2, y2 = chosen[rng.integers(len(chosen))].box
    height = (y2 - y1) * rng.uniform(*SHOWN)
    aspect = rng.uniform(0.75, 1.5)
    top = y1 - height * rng.uniform(0.05, 0.4)
    width = max(height * 1.25 * aspect, 48)
    middle = (x1 + x2) / 2 + width * rng.uniform(-0.2, 0.2)
    window = [middle - width / 2, top, middle + width / 2, y1 + height]
    left, low, right, high = (
        int(np.clip(v, 0, limit)) for v, limit in zip(window, (picture.width, picture.height) * 2, strict=True)
    )
    if right - left < 40 or high - low < 40:
        return None
    image = picture.read()[low:high, left:right]
    labels = [kept for label in picture.labels if (kept := _cut(label, (left, low, right, high))) is not None]
    scale = 352 / max(image.shape[:2])
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    resized = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    return resized, [_scaled(label, scale, size) for label in labels]


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


def scenes(pictures: Sequence[Picture], close_ups: int, pastes: int, seed: int) -> Iterator[tuple[str, Scene]]:
    """Yield named scenes made from training pictures."""
    rng = np.random.default_rng(seed)
    sources = [p for p in pictures if p.pack in ("ccp", "pennfudan") and persons(p)]
    streets = [p for p in pictures if p.pack in ("camvid", "openalpr")]
    for number in range(close_ups):
        made = close_up(sources[rng.integers(len(sources))], rng)
        if made is not None and made[1]:
            yield f"close_{number}", made
    for number in range(pastes):
        yield f"paste_{number}", pasted(streets[rng.integers(len(streets))], sources, rng)


def _cut(label: Label, window: tuple[int, int, int, int]) -> Label | None:
    left, top, right, bottom = window
    x1, y1, x2, y2 = label.box
    area = (x2 - x1) * (y2 - y1)
    x1, x2 = (float(np.clip(v, left, right)) - left for v in (x1, x2))
    y1, y2 = (float(np.clip(v, top, bottom)) - top for v in (y1, y2))
    seen = (x2 - x1) * (y2 - y1)
    if min(x2 - x1, y2 - y1) < 5 or (label.name != "person" and seen < 0.6 * area):
        return None
    mask = None if label.mask is None else label.mask[top:bottom, left:right]
    if mask is not None:
        ys, xs = np.nonzero(mask)
        if len(xs) < 60:
            return None
        x1, y1, x2, y2 = float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)
    return Label(label.name, (x1, y1, x2, y2), mask, label.crowd)


def _scaled(label: Label, scale: float, size: tuple[int, int]) -> Label:
    x1, y1, x2, y2 = (v * scale for v in label.box)
    mask = None
    if label.mask is not None:
        mask = cv2.resize(label.mask.astype(np.uint8), size, interpolation=cv2.INTER_LINEAR) > 0
    return Label(label.name, (x1, y1, x2, y2), mask, label.crowd)


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
