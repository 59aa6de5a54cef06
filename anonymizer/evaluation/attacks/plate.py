"""Plate attack: read the plates with OCR, as they are and after super-resolution, and compare character by character.

Every plate whose text is known, from the annotations or else from reading the original, is read in every variant.
The attacker is given the best of everything read at that place: of all lines and of all lines joined, the one nearest
to the truth counts. The chance floor is measured with the same advantage: what is nearest to the texts of the *other*
plates. Characters that OCR confuses (0 and O, 1 and I, ...) count as equal.

The second reading enlarges three times (Lanczos), stretches the contrast of the plate and sharpens: what a person
with a picture editor would try. A third finding gives the attacker the better of both. This is no learned
super-resolution; a network trained on plates can do better.

Every reader on this machine reads, see ``readers``. Which of them can judge is decided by the originals: one that reads
less than half of their characters is called weak.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError
from anonymizer.core.geometry import integer_box, take
from anonymizer.core.readings import edits
from anonymizer.core.records import Image, OCRReader
from anonymizer.evaluation.deals import Null, deal
from anonymizer.evaluation.intervals import proportion
from anonymizer.evaluation.metrics import bootstrap_mean
from anonymizer.evaluation.ocr import PlateOCR
from anonymizer.evaluation.records import Context, Estimate, Finding, Skipped, Subject

__all__ = ["READINGS", "Plate", "attack", "by_chance", "character_error", "enhance", "fold", "measure", "run"]

NAME, LABEL = "plate", "license_plate"
#: Most plates read, drawn at random where there are more: each is read twice per variant.
MOST_PLATES = 100
#: Context around a plate, as a proportion of its longer side.
MARGIN = 0.1
#: A reading of the original counts as its text from this score and this number of characters.
LEAST_SCORE, LEAST_TEXT = 0.6, 4
#: A reader that gets a smaller proportion of the originals' characters right is a weak judge.
WEAK = 0.5
#: Enlargement, and percentiles of brightness that become black and white.
ENLARGE, STRETCH = 3, (2.0, 98.0)
#: Blur in pixels of the enlarged picture and strength of the unsharp mask.
SHARPEN_SIGMA, SHARPEN = 3.0, 1.0
#: Long side in pixels up to which a plate is enlarged.
LONGEST = 1200

#: Characters that OCR confuses. Coarser than what verification folds (Q is O too): an attacker guesses generously.
_FOLD = str.maketrans("OIBSZGQ", "0185260")


@dataclass(frozen=True, slots=True)
class Plate:
    """A plate's text and what was read at its place.

    Args:
        text: The original's text, folded.
        who: Identity of the plate.
        readings: Everything read in the treated picture, folded; may be empty.
    """

    text: str
    who: str
    readings: tuple[str, ...]


def fold(text: str) -> str:
    """Return upper-case letters and digits alone, with characters that OCR confuses made equal."""
    return "".join(c for c in text.upper() if c.isalnum()).translate(_FOLD)


def character_error(readings: Sequence[str], text: str) -> int:
    """Return the least number of edits from any reading to a text, at most its length: all wrong, or nothing read.

    Raises:
        InputError: The text is empty.
    """
    if not text:
        raise InputError("text: expected at least one letter or digit, got none")
    return min(len(text), *(edits(reading, text) for reading in readings)) if readings else len(text)


def enhance(crop: Image) -> Image:
    """Return a crop enlarged three times by Lanczos, contrast stretched and sharpened: uint8 (3 h, 3 w, 3).

    Args:
        crop: RGB uint8 (h, w, 3). Less enlarged where its long side would pass 1200 pixels, never shrunk.
    """
    import cv2

    scale = max(min(float(ENLARGE), LONGEST / max(crop.shape[:2])), 1.0)
    size = max(round(crop.shape[1] * scale), 1), max(round(crop.shape[0] * scale), 1)
    large = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_LANCZOS4), np.float32)
    low, high = np.percentile(large.mean(axis=2), STRETCH)
    large = (large - low) * np.float32(255.0 / max(high - low, 1.0))
    large += SHARPEN * (large - np.asarray(cv2.GaussianBlur(large, (0, 0), SHARPEN_SIGMA), np.float32))
    return np.clip(np.rint(large), 0, 255).astype(np.uint8)


def _as_is(crop: Image) -> Image:
    return crop


BOTH = "both ways, the better reading"
#: Ways to prepare a crop before it is read, by name.
READINGS: Mapping[str, Callable[[Image], Image]] = {
    "as it is": _as_is,
    "super-resolved (Lanczos x3, contrast stretch, unsharp mask)": enhance,
}


def measure(plates: Sequence[Plate], rng: np.random.Generator, resamples: int) -> dict[str, Estimate]:
    """Measure how much of the plates' texts was read.

    Args:
        plates: Plates with what was read.
        rng: Draws the bootstrap.
        resamples: How often.

    Returns:
        ``exact_read`` (share read without an error), ``character_accuracy`` (one less the edits per character of the
        text, in [0, 1]), ``edit_distance`` (characters), each with ``_chance``: the same against the texts of other
        plates; ``lift`` values of the first two; and ``any_read``, the share at whose place anything was read.
    """
    who = np.unique([plate.who for plate in plates], return_inverse=True)[1].astype(np.int64)
    own = np.array([_metrics(plate.readings, plate.text) for plate in plates]).reshape(-1, 3)
    chance = np.full_like(own, np.nan)
    for row, plate in enumerate(plates):
        others = [other.text for other in plates if other.who != plate.who and other.text != plate.text]
        if others:
            chance[row] = np.mean([_metrics(plate.readings, text) for text in others], axis=0)
    out: dict[str, Estimate] = {}
    for column, name in enumerate(("exact_read", "character_accuracy", "edit_distance")):
        if name == "edit_distance":
            out[name] = bootstrap_mean(own[:, column], who, rng, resamples)
        else:
            out[name] = proportion(own[:, column], who)
        floor = bootstrap_mean(chance[:, column], who, rng, resamples)
        out[f"{name}_chance"] = (
            floor if floor.value is not None else Estimate(None, reason="needs two plates of different texts")
        )
    for name in ("exact_read", "character_accuracy"):
        value, floor_value = out[name].value, out[f"{name}_chance"].value
        lift = value / floor_value if value is not None and floor_value else None
        out[f"{name}_lift"] = Estimate(lift, count=len(plates), reason="" if lift is not None else "no floor above 0")
    read = np.array([float(any(plate.readings)) for plate in plates])
    out["any_read"] = proportion(read, who)
    return out


def by_chance(plates: Sequence[Plate], rng: np.random.Generator) -> dict[str, Null]:
    """Return ``exact_read`` and ``character_accuracy`` where every plate is dealt another one's text.

    Args:
        plates: Plates with what was read.
        rng: Deals.

    Returns:
        By name; empty where there are not two plates of different texts.
    """
    texts = list(dict.fromkeys(plate.text for plate in plates))
    place = {text: row for row, text in enumerate(texts)}
    table = np.array([[_metrics(plate.readings, text)[:2] for text in texts] for plate in plates])  # (P, T, 2)
    dealt, possible = deal(len(texts), rng)
    own = np.array([place[plate.text] for plate in plates], np.int64)
    rows = np.arange(len(plates))
    value = table[rows, own].mean(axis=0)
    draws = np.array([table[rows, row[own]].mean(axis=0) for row in dealt])
    if not len(draws):
        return {}
    nulls = {
        name: Null.of(float(value[column]), draws[:, column], possible, len(texts))
        for column, name in enumerate(("exact_read", "character_accuracy"))
    }
    return {name: null for name, null in nulls.items() if null is not None}


def run(context: Context) -> list[Finding | Skipped]:
    """Read plates in every variant with every reader of the context; see ``attack``."""
    if LABEL not in context.labels:
        return [Skipped(NAME, LABEL, "plates were not asked for")]
    return attack(context, context.ocrs)


def attack(context: Context, ocrs: Sequence[PlateOCR]) -> list[Finding | Skipped]:
    """Read every plate of known text in every variant, as it is and super-resolved, with every reader.

    Args:
        context: Pictures and variants.
        ocrs: At least one. The first also reads texts that nobody annotated from the originals, for all.

    Raises:
        ModelError: A reader failed.
    """
    chosen, total = _choose(context)
    if not total:
        return [Skipped(NAME, LABEL, "no plates among the subjects", recognizer=ocr.name) for ocr in ocrs]
    found: dict[tuple[str, str, str], list[Plate]] = {
        (ocr.name, v, r): [] for ocr in ocrs for v in context.variants for r in (*READINGS, BOTH)
    }
    given = unread = 0
    for pair in context.dataset.pairs:
        # Every subject is treated, so that a baseline is the same picture in every attack.
        every = context.dataset.subjects(pair)
        plates = [s for s in every if s.key in chosen]
        if not plates:
            continue
        original = context.dataset.original(pair)
        texts = {s.key: fold(s.text or "") or _read_original(ocrs[0].ocr, original, s) for s in plates}
        given += sum(bool(fold(s.text or "")) for s in plates)
        plates = [s for s in plates if texts[s.key]]
        unread += sum(not text for text in texts.values())
        if not plates:
            continue
        for variant, treat in context.variants.items():
            treated = treat(pair, original, every)
            for subject in plates:
                crop = _crop(treated, subject)
                prepared = {reading: prepare(crop) for reading, prepare in READINGS.items()}
                for ocr in ocrs:
                    read = {reading: _read(ocr.ocr, view) for reading, view in prepared.items()}
                    read[BOTH] = tuple(text for texts_read in read.values() for text in texts_read)
                    for reading, texts_read in read.items():
                        plate = Plate(texts[subject.key], subject.who, texts_read)
                        found[ocr.name, variant, reading].append(plate)
    counts = {"plates": total, "texts_annotated": given, "texts_unknown": unread}
    return [result for ocr in ocrs for result in _findings(context, ocr, found, counts)]


def _findings(
    context: Context,
    ocr: PlateOCR,
    found: Mapping[tuple[str, str, str], Sequence[Plate]],
    counts: Mapping[str, int],
) -> list[Finding | Skipped]:
    """Return a reader's findings, variant by variant and reading by reading."""
    out: list[Finding | Skipped] = []
    own = {(variant, reading): plates for (name, variant, reading), plates in found.items() if name == ocr.name}
    on_originals = _share(own["original", BOTH])
    for (variant, reading), plates in own.items():
        if not plates:
            reason = "no plate has a text: none annotated, none legible in the originals"
            out.append(Skipped(NAME, LABEL, reason, variant, ocr.name))
            continue
        out.append(
            Finding(
                attack=NAME,
                label=LABEL,
                variant=variant,
                recognizer=ocr.name,
                protocol=f"OCR {reading}, against the original's text",
                estimates=measure(plates, context.rng(NAME, variant, reading), context.bootstrap),
                counts={**counts, "plates_read": len(plates), "identities": len({plate.who for plate in plates})},
                null={
                    name: null.plain()
                    for name, null in by_chance(plates, context.rng(NAME, "deals", variant, reading)).items()
                },
                notes=_notes(counts["plates"], counts["texts_annotated"], len(plates), ocr, on_originals),
                # The package's own runs are verified with the same network, so its silence there proves little.
                judge=ocr.judge or variant != "anonymized",
            )
        )
    return out


def _choose(context: Context) -> tuple[frozenset[str], int]:
    """Return the keys of the plates to read, and how many plates there are."""
    keys = [s.key for pair in context.dataset.pairs for s in context.dataset.subjects(pair) if s.label == LABEL]
    if len(keys) <= MOST_PLATES:
        return frozenset(keys), len(keys)
    drawn = context.rng(NAME, "choose").choice(len(keys), MOST_PLATES, replace=False)
    return frozenset(keys[i] for i in drawn), len(keys)


def _notes(total: int, given: int, read: int, ocr: PlateOCR, on_originals: float) -> tuple[str, ...]:
    notes = ["super-resolution here is interpolation and sharpening, not a network trained on plates"]
    if total > MOST_PLATES:
        notes.append(f"{MOST_PLATES} of {total} plates, drawn at random")
    if given < read:
        notes.append(f"{read - given} texts were read from the originals, not annotated")
    if not ocr.judge:
        notes.append(f"{ocr.name} also checks plates when this package anonymizes: of its output it is no judge")
    if on_originals < WEAK:
        notes.append(
            f"WEAK JUDGE: of the originals' characters {ocr.name} reads {100 * on_originals:.0f} %, so that what it "
            "cannot read elsewhere proves little"
        )
    return tuple(notes)


def _share(plates: Sequence[Plate]) -> float:
    """Return the mean proportion of characters read, in [0, 1]; 0 of no plates."""
    return float(np.mean([_metrics(plate.readings, plate.text)[1] for plate in plates])) if plates else 0.0


def _crop(image: Image, subject: Subject) -> Image:
    x1, y1, x2, y2 = integer_box(subject.box)
    pad = max(round(MARGIN * max(x2 - x1, y2 - y1)), 2)
    height, width = image.shape[:2]
    box = max(x1 - pad, 0), max(y1 - pad, 0), min(x2 + pad, width), min(y2 + pad, height)
    return np.ascontiguousarray(take(image, box))


def _read(ocr: OCRReader, crop: Image) -> tuple[str, ...]:
    """Return every line read and, of several, also all joined, folded."""
    lines = [fold(line.text) for line in ocr.read(crop)]
    joined = ["".join(lines)] if len(lines) > 1 else []
    return tuple(text for text in (*lines, *joined) if text)


def _read_original(ocr: OCRReader, original: Image, subject: Subject) -> str:
    """Return the longest line that is read with confidence on the original, folded; empty if there is none."""
    for prepare in READINGS.values():
        lines = [line for line in ocr.read(prepare(_crop(original, subject))) if line.score >= LEAST_SCORE]
        best = max((fold(line.text) for line in lines), key=len, default="")
        if len(best) >= LEAST_TEXT:
            return best
    return ""


def _metrics(readings: Sequence[str], text: str) -> NDArray[np.float64]:
    """Return whether a text was read exactly, the proportion of its characters, and the edits that are missing."""
    wrong = character_error(readings, text)
    return np.array([float(wrong == 0), 1.0 - wrong / len(text), float(wrong)])
