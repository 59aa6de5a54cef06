"""Positive control: a judge that does not know an original again when it is merely saved anew is no judge.

The originals are made smaller and large again, moved by a few pixels and saved as JPEG. A judge has to find them among
the untouched originals, or its silence about released pictures says nothing. To look for people in *other* pictures it
must also do so between untouched originals. What judges see of a leak counts in any case; only their silence does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from anonymizer.core.records import Image
from anonymizer.evaluation import intervals
from anonymizer.evaluation.matching import Mode, compare, has_repeats
from anonymizer.evaluation.records import Context, Finding, Pair, Subject
from anonymizer.evaluation.variants import CONTROL

__all__ = ["ABLE", "ABLE_READER", "Control", "Resaved", "controls"]

#: Rank 1 among untouched originals from which a judge knows them again. On 24 portraits dlib and colours reach 1.0, the
#: silhouette network 0.96.
ABLE = 0.8
#: Proportion of characters of re-saved plates from which a reader can judge.
ABLE_READER = 0.5
#: How the originals are saved anew: size, shift (down, across) in pixels, JPEG quality. What a messenger does to them.
SCALE, SHIFT, QUALITY = 0.9, (1, 2), 85
#: Level of the test that a judge tells people apart between untouched pictures.
LEVEL = 0.05
#: Resamples of intervals, which are not looked at here.
RESAMPLES = 20


@dataclass(frozen=True, slots=True)
class Control:
    """How a judge did where it had to do well.

    Args:
        judge: Its name.
        label: Its class.
        mode: ``own``, ``other``, or ``""`` for OCR of plates.
        value: Rank 1, or proportion of characters right; None where nothing could be compared.
        chance: The same by chance, or None.
        able: Whether its silence counts.
        reason: Why not; "" where it does.
    """

    judge: str
    label: str
    mode: str
    value: float | None
    chance: float | None
    able: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Resaved:
    """Originals saved anew, see ``records.Variant``."""

    name: str = CONTROL
    strength: str = f"originals at {SCALE:.0%} of their size and back, moved by {SHIFT}, JPEG of quality {QUALITY}"

    def __call__(self, pair: Pair, original: Image, subjects: Sequence[Subject]) -> Image:
        """Return the original, RGB uint8 (H, W, 3), saved anew."""
        import cv2

        del pair, subjects
        height, width = original.shape[:2]
        small = cv2.resize(
            original, (max(round(width * SCALE), 1), max(round(height * SCALE), 1)), interpolation=cv2.INTER_AREA
        )
        back = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
        down, across = min(SHIFT[0], height - 1), min(SHIFT[1], width - 1)
        moved = np.pad(back, ((down, 0), (across, 0), (0, 0)), mode="edge")[:height, :width]
        _, data = cv2.imencode(".jpg", np.ascontiguousarray(moved[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


def controls(context: Context) -> tuple[Control, ...]:
    """Return how every judge of the context did, one record per judge, class and mode.

    Args:
        context: Its store knows the variant ``control``.
    """
    out: list[Control] = []
    for recognizer in context.recognizers:
        if recognizer.label not in context.labels:
            continue
        known = context.store.embeddings("original", recognizer)
        saved = context.store.embeddings(CONTROL, recognizer)
        rng = context.rng("control", recognizer.name)
        again = compare(saved, known, "own", rng, RESAMPLES)
        rank1, chance = again.estimates["rank1"], again.estimates.get("rank1_chance")
        able = rank1.value is not None and rank1.value >= ABLE
        reason = "" if able else rank1.reason or (
            f"it finds {rank1.value:.0%} of originals that were only saved anew, at least {ABLE:.0%} are needed"
        )  # fmt: skip
        out.append(
            Control(
                recognizer.name,
                recognizer.label,
                "own",
                rank1.value,
                None if chance is None else chance.value,
                able,
                reason,
            )
        )
        if has_repeats(known):
            out.append(_other(context, recognizer.name, recognizer.label, able))
    if "face" in context.labels and context.predictors:
        out += _predictors(context)
    if "license_plate" in context.labels and context.ocrs:
        out += _readers(context)
    return tuple(out)


def _other(context: Context, name: str, label: str, able: bool) -> Control:
    """Return how a judge tells people apart between untouched pictures."""
    recognizer = next(one for one in context.of(label) if one.name == name)
    known = context.store.embeddings("original", recognizer)
    mode: Mode = "other"
    found = compare(known, known, mode, context.rng("control", name, mode), RESAMPLES)
    rank1, chance = found.estimates["rank1"], found.estimates.get("rank1_chance")
    tests = [
        intervals.tail(null["value"], null["mean"], null["deviation"], null["skew"], int(null["possible"]))
        for metric, null in found.null.items()
        if metric in ("rank1", "map", "auc")
    ]
    apart = bool(tests) and min(intervals.holm(tests)) < LEVEL
    few = bool(found.null) and min(null["possible"] for null in found.null.values()) + 1 < len(tests) / LEVEL
    if not able:
        reason = "it does not know originals again that were only saved anew"
    elif few:
        reason = ""  # So few people prove nothing about a judge either: the verdict says that they are too few.
    elif not apart:
        reason = "it does not tell these people apart even between untouched pictures"
    else:
        reason = ""
    return Control(name, label, mode, rank1.value, None if chance is None else chance.value, not reason, reason)


def _predictors(context: Context) -> list[Control]:
    """Return how often predictors of attributes say of re-saved faces what they say of the originals.

    A probe is able where it reads its attribute off the untouched originals themselves.
    """
    from anonymizer.evaluation.attacks.attributes import compared, probed

    out = []
    for finding in (*compared(context, CONTROL), *probed(context, "original")):
        name, value = finding.recognizer, finding.estimates["agreement"].value
        chance, null = finding.estimates["agreement_chance"].value, finding.null.get("agreement")
        if finding.variant == CONTROL:
            able = value is not None and value >= ABLE
            reason = "" if able else (
                finding.estimates["agreement"].reason
                or f"it says the same of {value or 0.0:.0%} of faces that were only saved anew, {ABLE:.0%} are needed"
            )  # fmt: skip
        else:
            moments = null and (null["value"], null["mean"], null["deviation"], null["skew"], int(null["possible"]))
            able = moments is not None and intervals.tail(*moments) < LEVEL
            reason = "" if able else (
                finding.estimates["agreement"].reason or "it reads no attribute off untouched faces either"
            )  # fmt: skip
        out.append(Control(name, "face", "", value, chance, able, reason))
    return out


def _readers(context: Context) -> list[Control]:
    """Return how much of re-saved plates each reader reads."""
    from anonymizer.evaluation.attacks.plate import BOTH, attack

    variants = {"original": context.variants["original"], CONTROL: Resaved()}
    out = []
    for found in attack(replace(context, variants=variants), context.ocrs):
        if not isinstance(found, Finding) or found.variant != CONTROL or BOTH not in found.protocol:
            continue
        value = found.estimates["character_accuracy"].value
        able = value is not None and value >= ABLE_READER
        reason = "" if able else f"it reads {value or 0.0:.0%} of the characters of plates that were only saved anew"
        chance = found.estimates["character_accuracy_chance"].value
        out.append(Control(found.recognizer, "license_plate", "", value, chance, able, reason))
    return out
