"""Residue attack: what the released files carry besides the picture, and what of the original's pixels is left.

Two findings. *Files* (the released ones only): metadata, previews, bytes behind the format's end, names that carry a
plate, an identity or coordinates, times copied from the original, and JPEG ghosts. *Pixels* (every variant and
class): does the original's fine texture shine through inside the masks, and is the picture untouched just outside.

A JPEG ghost tells *where* a picture was treated, not who stood there: saved once more with the original's
quantization tables, blocks that already went through them change less than new ones. The value is how well that
change sorts treated from untreated blocks (0.5 not at all, 1 perfectly), beside the same value on the original, where
it can only come from what is shown.
"""

from __future__ import annotations

import io
import re
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import dilate, integer_box, paste_window
from anonymizer.core.records import Image, Mask
from anonymizer.evaluation.attacks.plate import fold
from anonymizer.evaluation.container import inspect
from anonymizer.evaluation.intervals import proportion
from anonymizer.evaluation.metrics import auc, bootstrap_mean
from anonymizer.evaluation.records import Context, Estimate, Finding, Pair, Skipped, Subject
from anonymizer.images.decode import Decoded, decode_image, read_bytes

__all__ = ["file_figures", "ghost", "name_figures", "pixel_figures", "run"]

NAME = "residue"
#: Most pictures whose pixels are compared; drawn at random where there are more. Files are all looked at.
MOST_PICTURES = 200
#: Shortest text whose appearance in a name is no accident.
LEAST_TEXT = 4
#: Latitude and longitude with at least four decimals (11 metres) side by side.
COORDINATES = re.compile(r"[NS]?-?\d{1,2}[.,]\d{4,}[NS]?[^0-9]{1,6}[EW]?-?\d{1,3}[.,]\d{4,}", re.IGNORECASE)
#: Modification times nearer than this were copied.
SAME_TIME_S = 1e-3
#: Width of the ring outside a mask, and the room left for the rim by which masks grow before treatment: proportion of
#: the longer side, and least and most pixels.
RING, GROW = 4, (0.025, 2, 12)
#: Difference per channel up to which a pixel counts as unchanged: what a second JPEG compression does.
SAME = 8
#: Blur in pixels whose difference to the picture is its fine texture; least pixels for a correlation.
SIGMA, LEAST_PIXELS = 2.0, 64
#: Correlation with the original's texture from which it shines through, as the anonymizer's own check has it.
SHINES = 0.5


def run(context: Context) -> list[Finding | Skipped]:
    """Look at released files, and compare pixels in every variant."""
    if not context.dataset.pairs:
        return [Skipped(NAME, "picture", "no pictures")]
    return [_files(context), *_pixels(context)]


def name_figures(pair: Pair, subjects: tuple[Subject, ...]) -> tuple[float, float, float]:
    """Return whether a released name carries a plate's text, an identity, coordinates: 1 or 0, NaN if none is known."""
    # Folders above the released one are not part of the release.
    released = pair.name if pair.anonymized.as_posix().endswith(f"/{pair.name}") else pair.anonymized.name
    folded = fold(released)
    found = []
    for known in ([s.text for s in subjects], [s.identity for s in subjects]):
        marks = [fold(mark) for mark in known if mark is not None and len(fold(mark)) >= LEAST_TEXT]
        found.append(float(any(mark in folded for mark in marks)) if marks else float("nan"))
    return found[0], found[1], float(COORDINATES.search(released) is not None)


def file_figures(pair: Pair) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return values of one released file, 1 or 0 each, and the kinds of metadata in it.

    Raises:
        InputError: A file cannot be read.
    """
    data = read_bytes(pair.anonymized)
    residue = inspect(data)
    apart = abs(pair.anonymized.stat().st_mtime_ns - pair.original.stat().st_mtime_ns) / 1e9
    return {
        "metadata": float(bool(residue.items)),
        "trailing_bytes": float(residue.trailing > 0),
        "time_copied": float(apart < SAME_TIME_S),
        "file_unchanged": float(data == read_bytes(pair.original)),
    }, residue.items


def ghost(released: Image, like: Decoded, treated: Mask) -> float | None:
    """Return how well saving once more with the original's tables tells treated from untreated blocks.

    Args:
        released: RGB uint8 (H, W, 3).
        like: The original's file; its quantization tables are used.
        treated: bool (H, W).

    Returns:
        Area under the ROC curve, folded to [0.5, 1]; None where the original is no JPEG, was turned upright (its
        blocks no longer lie on the grid), or either kind of block is missing.
    """
    if like.format != "JPEG" or like.quantization is None or "EXIF orientation applied" in like.notes:
        return None
    change = ((_saved_again(released, like).astype(np.float64) - released) ** 2).mean(axis=2)
    rows, columns = (side // 8 * 8 for side in change.shape)
    blocks = change[:rows, :columns].reshape(rows // 8, 8, columns // 8, 8).mean(axis=(1, 3))
    proportion = treated[:rows, :columns].reshape(rows // 8, 8, columns // 8, 8).mean(axis=(1, 3))
    inside, outside = blocks[proportion == 1], blocks[proportion == 0]
    if inside.size < 4 or outside.size < 4:
        return None
    area = auc(inside, outside)
    return max(area, 1.0 - area)


def pixel_figures(original: Image, treated: Image, subject: Subject, others: Mask) -> NDArray[np.float64]:
    """Return values of one subject: correlation of fine texture, its floor, unchanged proportions inside and around.

    Args:
        original: RGB uint8 (H, W, 3).
        treated: RGB uint8 (H, W, 3).
        subject: Where to look.
        others: bool (H, W), where other subjects were treated; left out of the ring.

    Returns:
        float64 (4,): correlation of the high-pass inside the mask with the original's, in [-1, 1]; the same with the
        original mirrored, which is what equally textured but other content gives; proportion of pixels inside that are
        equal within a level of 2; proportion of pixels in the ring around that are equal within ``SAME`` levels. NaN
        where there is nothing to measure.
    """
    size = original.shape[0], original.shape[1]
    x1, y1, x2, y2 = integer_box(subject.box)
    grow = int(np.clip(round(GROW[0] * max(x2 - x1, y2 - y1)), GROW[1], GROW[2])) + 1
    reach = grow + RING
    mask = np.ones((y2 - y1, x2 - x1), dtype=bool) if subject.mask is None else subject.mask
    (rows, columns), local = paste_window((x1 - reach, y1 - reach, x2 + reach, y2 + reach), size)
    wide = np.pad(mask, reach)
    near, ring = dilate(wide, grow), dilate(wide, reach)
    ring = (ring & ~near)[local] & ~others[rows, columns]
    inside = wide[local]
    before, after = original[rows, columns], treated[rows, columns]
    apart = np.abs(before.astype(np.int16) - after).max(axis=2)
    first, second = _high_pass(before), _high_pass(after)
    return np.array(
        [
            _correlation(first[inside], second[inside]),
            _correlation(first[:, ::-1][inside], second[inside]),
            float((apart[inside] <= 2).mean()) if inside.any() else np.nan,
            float((apart[ring] <= SAME).mean()) if ring.any() else np.nan,
        ]
    )


def _files(context: Context) -> Finding:
    metrics: dict[str, list[float]] = {}
    kinds: Counter[str] = Counter()
    ghosts: list[tuple[float, float]] = []
    chosen = _chosen(context)
    for pair in context.dataset.pairs:
        subjects = context.dataset.subjects(pair)
        one, items = file_figures(pair)
        kinds.update(items)
        plate, identity, place = name_figures(pair, subjects)
        one |= {"plate_in_name": plate, "identity_in_name": identity, "coordinates_in_name": place}
        for name, value in one.items():
            metrics.setdefault(name, []).append(value)
        if pair.name in chosen and subjects:
            ghosts.append(_ghosts(context, pair, subjects))
    rng = context.rng(NAME, "files")
    missing = {
        "plate_in_name": "no plate texts are known",
        "identity_in_name": "no identities are known",
    }
    estimates = {}
    for name, values in metrics.items():
        found = proportion(np.asarray(values, np.float64), np.arange(len(values)))
        estimates[name] = found if found.value is not None else Estimate(None, reason=missing[name])
    reason = "no original is an upright JPEG with treated and untreated blocks"
    estimates["ghost_auc"] = _mean([pair[0] for pair in ghosts], rng, context.bootstrap, reason)
    estimates["ghost_auc_chance"] = _mean([pair[1] for pair in ghosts], rng, context.bootstrap, reason)
    notes = ["a ghost tells where a picture was treated, not who was there; ICC profiles are not counted as metadata"]
    if kinds:
        notes.append("found: " + ", ".join(f"{kind} in {count}" for kind, count in sorted(kinds.items())))
    return Finding(
        attack=NAME,
        label="picture",
        variant="anonymized",
        recognizer="",
        protocol="released files",
        estimates=estimates,
        counts={"files": len(context.dataset.pairs), "ghost_pictures": len(ghosts)},
        notes=tuple(notes),
    )


def _ghosts(context: Context, pair: Pair, subjects: tuple[Subject, ...]) -> tuple[float, float]:
    """Return the ghost's value on the released picture and on the original; NaN where there is none."""
    like = decode_image(read_bytes(pair.original), pair.name)
    region = _region(subjects, like.size)
    values = (ghost(image, like, region) for image in (context.dataset.anonymized(pair), like.pixels))
    first, second = (float("nan") if value is None else value for value in values)
    return first, second


def _saved_again(pixels: Image, like: Decoded) -> Image:
    """Return a picture after one more JPEG compression with another file's tables."""
    from PIL import Image as Pictures

    buffer = io.BytesIO()
    tables = [list(table) for table in like.quantization or ()]
    Pictures.fromarray(pixels).save(buffer, "JPEG", qtables=tables, subsampling=like.subsampling or 0)
    with Pictures.open(buffer) as saved:
        return np.asarray(saved.convert("RGB"))


def _pixels(context: Context) -> list[Finding | Skipped]:
    chosen = _chosen(context)
    rows: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
    who: dict[tuple[str, str], list[str]] = {}
    for pair in context.dataset.pairs:
        every = context.dataset.subjects(pair)
        subjects = [subject for subject in every if subject.label in context.labels]
        if pair.name not in chosen or not subjects:
            continue
        original = context.dataset.original(pair)
        size = original.shape[0], original.shape[1]
        # How many subjects lie on each pixel: one map, however crowded the picture.
        crowd = np.zeros(size, dtype=np.uint16)
        for subject in every:
            crowd += _region((subject,), size)
        for variant, treat in context.variants.items():
            # Every subject is treated, so that a baseline is the same picture in every attack.
            treated = treat(pair, original, every)
            for subject in subjects:
                others = crowd > _region((subject,), size)
                rows.setdefault((variant, subject.label), []).append(pixel_figures(original, treated, subject, others))
                who.setdefault((variant, subject.label), []).append(subject.who)
    out: list[Finding | Skipped] = []
    for label in context.labels:
        for variant in context.variants:
            values = rows.get((variant, label))
            if values is None:
                out.append(Skipped(NAME, label, "no subject of this class", variant))
                continue
            out.append(_pixel_finding(context, label, variant, np.stack(values), who[variant, label]))
    return out


def _pixel_finding(context: Context, label: str, variant: str, values: NDArray[np.float64], who: list[str]) -> Finding:
    numbers = np.unique(who, return_inverse=True)[1].astype(np.int64)
    rng = context.rng(NAME, label, variant)
    shines = np.where(np.isfinite(values[:, :2]), values[:, :2] > SHINES, np.nan)
    columns = {
        "texture_correlation": values[:, 0],
        "texture_correlation_chance": values[:, 1],
        "texture_shines_through": shines[:, 0],
        "texture_shines_through_chance": shines[:, 1],
        "inside_unchanged": values[:, 2],
        "ring_unchanged": values[:, 3],
    }
    return Finding(
        attack=NAME,
        label=label,
        variant=variant,
        recognizer="",
        protocol="pixels inside the mask and in a ring around it, against the original",
        estimates={
            name: bootstrap_mean(column, numbers, rng, context.bootstrap)
            if name.startswith("texture_correlation")
            else proportion(column, numbers)
            for name, column in columns.items()
        },
        counts={"subjects": len(values), "pictures": min(len(context.dataset.pairs), MOST_PICTURES)},
        notes=() if len(context.dataset.pairs) <= MOST_PICTURES else (f"{MOST_PICTURES} pictures, drawn at random",),
    )


def _chosen(context: Context) -> frozenset[str]:
    names = [pair.name for pair in context.dataset.pairs]
    if len(names) <= MOST_PICTURES:
        return frozenset(names)
    drawn = context.rng(NAME, "choose").choice(len(names), MOST_PICTURES, replace=False)
    return frozenset(names[i] for i in drawn)


def _region(subjects: tuple[Subject, ...], size: tuple[int, int]) -> Mask:
    """Return where subjects lie, with the rim by which masks grow: bool (H, W)."""
    out = np.zeros(size, dtype=bool)
    for subject in subjects:
        x1, y1, x2, y2 = integer_box(subject.box)
        grow = int(np.clip(round(GROW[0] * max(x2 - x1, y2 - y1)), GROW[1], GROW[2]))
        mask = np.ones((y2 - y1, x2 - x1), dtype=bool) if subject.mask is None else subject.mask
        picture, local = paste_window((x1 - grow, y1 - grow, x2 + grow, y2 + grow), size)
        out[picture] |= dilate(np.pad(mask, grow), grow)[local]
    return out


def _mean(values: list[float], rng: np.random.Generator, resamples: int, reason: str) -> Estimate:
    found = bootstrap_mean(np.asarray(values, np.float64), np.arange(len(values)), rng, resamples)
    return found if found.value is not None else Estimate(None, reason=reason)


def _high_pass(image: Image) -> NDArray[np.float64]:
    import cv2

    grey = np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), np.float64)
    return grey - np.asarray(cv2.GaussianBlur(grey, (0, 0), SIGMA), np.float64)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the correlation of two samples; 0 where one is flat, NaN where there are too few pixels."""
    if a.size < LEAST_PIXELS:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else 0.0
