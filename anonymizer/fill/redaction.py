"""Safe redaction: a fill made of pieces of its surroundings, into which nothing sensitive enters."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError
from anonymizer.core.geometry import IntBox, paste_window
from anonymizer.core.records import check_image
from anonymizer.fill.patches import Mosaic, mosaic, push_pull

__all__ = ["redact", "safe_fill"]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

#: Longest side of the surroundings in pixels at which patches are fitted; more would only cost time.
WORK_SIDE = 224
#: Longest side at which colours are spread smoothly.
SMOOTH_SIDE = 128
#: Standard deviation of the noise in levels of 0 to 255. Constant: an estimate could carry something over.
NOISE = 6.0
#: Fill where nothing outside can be seen.
GREY = 128.0
#: Width in pixels of the rim outside of a hole where patches are compared with what is there.
RIM = 3
#: Standard deviation in levels of 0 to 255 of what counts as a difference in light alone.
LIGHT = 30.0
#: Standard deviation, in distances of patches, of how far a patch reaches.
SOFT = 0.6
#: How deep what is no difference in light reaches, in pixels of the level of the patches.
FADE = 4.0
#: Pixels laid at once; bounds memory for large masks.
BLOCK = 500_000
#: Pixels to a row of the tables that OpenCV looks colours up by.
WIDE = 4096
#: Power that the weights of patches are raised to: how clearly the better of two wins.
SHARP = 1.5


def redact(
    image: Image,
    mask: Mask,
    rng: np.random.Generator,
    sensitive: Mask | None = None,
    plain: Mask | None = None,
    kinds: NDArray[np.uint8] | None = None,
) -> Image:
    """Return the picture with a mask filled safely.

    Each connected part is filled on its own from a ring around it. Colours come only from pixels outside the mask
    and outside everything sensitive; where there are none, the fill is grey.

    Args:
        image: RGB uint8 (H, W, 3).
        mask: bool (H, W), pixels to fill.
        rng: Source of the noise.
        sensitive: bool (H, W), union of all sensitive masks, or None if ``mask`` is all there is.
        plain: bool (H, W), where the fill gets noise instead of texture, or None for nowhere.
        kinds: uint8 (H, W), what may be repeated where, see ``patches.mosaic``; None: anything anywhere.

    Returns:
        RGB uint8 (H, W, 3), bit for bit the input outside the mask.

    Raises:
        InputError: The image is no RGB uint8 (H, W, 3) or a mask has another size.
    """
    check_image(image)
    for name, array, dtype in (
        ("mask", mask, np.bool_),
        ("sensitive", sensitive, np.bool_),
        ("plain", plain, np.bool_),
        ("kinds", kinds, np.uint8),
    ):
        if array is not None and (array.dtype != dtype or array.shape != image.shape[:2]):
            expected = f"{np.dtype(dtype).name} {image.shape[:2]}"
            raise InputError(f"{name}: expected {expected}, got {array.dtype} {array.shape}")
    avoid = mask if sensitive is None else mask | sensitive
    out = image.copy()
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    for part in range(1, count):
        x, y, width, height = (int(v) for v in stats[part, :4])
        window = slice(y, y + height), slice(x, x + width)
        inside = labels[window] == part
        box = x, y, x + width, y + height
        out[window][inside] = safe_fill(image, avoid, box, rng, plain, inside, kinds)[inside]
    return out


def safe_fill(
    image: Image,
    sensitive: Mask,
    box: IntBox,
    rng: np.random.Generator,
    plain: Mask | None = None,
    inside: Mask | None = None,
    kinds: NDArray[np.uint8] | None = None,
) -> Image:
    """Return a fill for a box, made of pieces of what is not sensitive around it.

    Args:
        image: RGB uint8 (H, W, 3).
        sensitive: bool (H, W), union of all sensitive masks, the one to fill among them.
        box: Integer xyxy within the picture.
        rng: Source of the noise.
        plain: bool (H, W), where colours stay smooth with noise in any case, or None for nowhere.
        inside: bool (h, w), which pixels of the box are wanted; None for all that are sensitive.
        kinds: uint8 (H, W), what may be repeated where, see ``patches.mosaic``; None: anything anywhere.

    Returns:
        RGB uint8 (h, w, 3) for the box; no pixel under ``sensitive`` has any influence on it.
    """
    x1, y1, x2, y2 = box
    height, width = image.shape[:2]
    ring = max(16, (x2 - x1) // 2, (y2 - y1) // 2)
    while True:
        wide = x1 - ring, y1 - ring, x2 + ring, y2 + ring
        (rows, columns), _ = paste_window(wide, (height, width))
        known = ~sensitive[rows, columns]
        whole = rows == slice(0, height) and columns == slice(0, width)
        if whole or known.mean() > 0.05:
            break
        ring *= 2
    crop = image[rows, columns]
    own = slice(y1 - rows.start, y2 - rows.start), slice(x1 - columns.start, x2 - columns.start)
    wanted = np.zeros_like(known)
    wanted[own] = ~known[own] if inside is None else inside & ~known[own]
    out = _smooth(crop, known)[own]
    out += rng.normal(0.0, NOISE, out.shape).astype(np.float32)
    found = mosaic(crop, known, wanted, WORK_SIDE, rng, None if kinds is None else kinds[rows, columns])
    if found is not None:
        at, colours = _laid(crop, known, wanted, found)
        at -= np.array([own[0].start, own[1].start], np.int32)
        if plain is not None:
            textured = ~plain[y1:y2, x1:x2][at[:, 0], at[:, 1]]
            at, colours = at[textured], colours[textured]
        out[at[:, 0], at[:, 1]] = colours
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def _laid(crop: Image, known: Mask, wanted: Mask, found: Mosaic) -> tuple[NDArray[np.int32], Floats]:
    """Lay patches at the crop's own size and level their light with the border's.

    Returns:
        Rows and columns of wanted pixels over which patches lie, int32 (N, 2), and their colours, float32 (N, 3).
    """
    near = cv2.dilate(wanted.view(np.uint8), np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8)) > 0
    at = np.argwhere(near & (wanted | known)).astype(np.int32)  # (N, 2)
    made, sure = np.empty((len(at), 3), np.float32), np.empty(len(at), np.bool_)
    for start in range(0, len(at), BLOCK):
        part = slice(start, start + BLOCK)
        made[part], sure[part] = _mixed(crop, known, at[part], found)
    at, made = at[sure], made[sure]
    rim = known[at[:, 0], at[:, 1]]
    inner = at[~rim]
    if rim.any():
        off = crop[at[rim, 0], at[rim, 1]] - made[rim]
        made = made[~rim]
        deep = cv2.distanceTransform(wanted.view(np.uint8), cv2.DIST_L2, 5)
        for start in range(0, len(inner), BLOCK):
            part = slice(start, start + BLOCK)
            made[part] += _levelled(at[rim], off, inner[part], deep, known.shape, found)
    return inner, made


def _mixed(crop: Image, known: Mask, at: NDArray[np.int32], found: Mosaic) -> tuple[Floats, Mask]:
    """Return what the patches around pixels (N, 2) show there, float32 (N, 3), and where any of them shows something.

    The four patches around a pixel are mixed, the better and the nearer one more.
    """
    size, stride = known.shape, found.stride
    scale = np.array(size, np.float32) / np.array(found.size, np.float32)
    rows, columns = (length // stride + 3 for length in found.size)
    number = np.full((rows, columns), -1, np.int32)
    number[found.here[:, 0] // stride, found.here[:, 1] // stride] = np.arange(len(found.here))
    away = np.rint((found.there - found.here) * scale).astype(np.int32)
    # Where each pixel lies on the grid of the patches.
    grid = ((at.astype(np.float32) + np.float32(0.5)) / scale - np.float32(0.5)) / np.float32(stride)
    base = np.floor(grid).astype(np.int32)
    total, weight = np.zeros((len(at), 3), np.float32), np.zeros(len(at), np.float32)
    colours, shown = crop.reshape(-1, 3), known.ravel()
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        cell = base + np.array(corner, np.int32)
        patch = number[cell[:, 0], cell[:, 1]]
        y, x = (at + away[patch]).T
        ok = (patch >= 0) & (y >= 0) & (x >= 0) & (y < size[0]) & (x < size[1])
        flat = np.where(ok, y * size[1] + x, 0)
        ok &= shown[flat]
        off = grid - cell.astype(np.float32)
        share = ok * (found.worth[patch] * np.exp(-(off * off).sum(axis=1) / np.float32(2 * SOFT**2))) ** SHARP
        total += share[:, None] * colours[flat]
        weight += share
    return np.asarray(total / np.maximum(weight, np.float32(1e-30))[:, None], np.float32), weight > 0


def _levelled(
    rim: NDArray[np.int32],
    off: Floats,
    at: NDArray[np.int32],
    deep: Floats,
    size: tuple[int, ...],
    found: Mosaic,
) -> Floats:
    """Return what to add at pixels (N, 2) so that patches go on where the picture ends, float32 (N, 3).

    A little off at the border is another light, which holds all the way inwards. Far off is another thing: it ends near
    the border.

    Args:
        rim: Rows and columns of known pixels beside what is filled, int32 (M, 2).
        off: How far the patches there are off, float32 (M, 3).
        at: Rows and columns of pixels.
        deep: float32 (h, w), distance to the border.
        size: Height and width of the crop.
        found: The patches.
    """
    scale = min(1.0, SMOOTH_SIDE / max(size))
    small = max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)
    cell = (rim[:, 0] * small[0] // size[0]) * small[1] + rim[:, 1] * small[1] // size[1]
    count = np.bincount(cell, minlength=small[0] * small[1]).astype(np.float32).reshape(small)
    sums = [np.bincount(cell, off[:, n], small[0] * small[1]).reshape(small) for n in range(3)]
    mean = np.stack(sums, axis=2).astype(np.float32) / np.maximum(count, 1)[..., None]
    weights = (count > 0).astype(np.float32)
    light = np.exp(-(mean**2).mean(axis=2, keepdims=True) / np.float32(2 * LIGHT**2))
    y, x = (
        (at[:, n].astype(np.float32) + np.float32(0.5)) * np.float32(small[n] / size[n]) - np.float32(0.5)
        for n in (0, 1)
    )
    fade = np.exp(-deep[at[:, 0], at[:, 1]] / np.float32(FADE * max(size) / max(found.size)))
    out = np.zeros((len(at), 3), np.float32)
    for values, share in ((mean * light, np.ones_like(fade)), (mean - mean * light, fade)):
        spread = push_pull(values, weights)
        out += share[:, None] * _sampled(spread, y, x)
    return out


def _sampled(values: Floats, y: Floats, x: Floats) -> Floats:
    """Return values (h, w, 3) between pixels, at rows and columns (N,): float32 (N, 3)."""
    # More rows than OpenCV's tables take are split over columns.
    lines = -(-len(y) // WIDE)
    pad = lines * WIDE - len(y)
    across, down = (np.pad(v.astype(np.float32), (0, pad)).reshape(lines, WIDE) for v in (x, y))
    out = cv2.remap(values, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.float32).reshape(-1, 3)[: len(y)]


def _smooth(crop: Image, known: Mask) -> Floats:
    """Return float32 (h, w, 3) that follows the crop where it is known and spans the rest."""
    if not known.any():
        return np.full(crop.shape, GREY, np.float32)
    height, width = known.shape
    scale = min(1.0, SMOOTH_SIDE / max(height, width))
    small = max(round(width * scale), 1), max(round(height * scale), 1)
    # Colours are multiplied by their weight before any averaging, so what is sensitive enters as zero times nothing.
    whole = np.where(known[..., None], crop, 0).astype(np.float32)
    colours = np.asarray(cv2.resize(whole, small, interpolation=cv2.INTER_AREA), np.float32)
    share = np.asarray(cv2.resize(known.astype(np.float32), small, interpolation=cv2.INTER_AREA), np.float32)
    spread = push_pull(colours.reshape(*small[::-1], 3), share.reshape(*small[::-1]))
    out = np.asarray(cv2.resize(spread, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return out.reshape(height, width, 3)
