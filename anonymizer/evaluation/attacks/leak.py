"""Leak rate: sensitive content that is still there, untouched, in released pictures.

Counted are the known subjects whose pixels did not change, and everything that detectors find in the released picture,
with its original's texture, where no subject was known. The second needs nobody's annotations; but what the detectors
of the run itself did not find then, they will hardly find now, so that only others can judge. How much those would
find is measured beside it: their recall of the known subjects in the untouched originals, by size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anonymizer.core.geometry import box_iou
from anonymizer.core.records import Floats, Image, Instance
from anonymizer.evaluation.detectors import LeakDetector
from anonymizer.evaluation.intervals import proportion
from anonymizer.evaluation.records import Context, Estimate, Finding, Skipped, Subject
from anonymizer.evaluation.screening import unchanged, untouched
from anonymizer.evaluation.variants import ANONYMIZED

__all__ = ["run"]

NAME = "leak"
#: Shorter side in pixels from which each size bin runs.
BINS = (0, 16, 32, 64, 128)
#: IoU from which a detection is a known subject.
SAME_PLACE = 0.3
#: Pictures named for a human to look at.
NAMED = 10
#: Variants looked at: blur, mosaic and solid fill treat every known subject, so they say nothing of their own.
VARIANTS = ("deface", "anonymized")


@dataclass(slots=True)
class _Item:
    """One sensitive thing: class, shorter side, number of the picture, whether still there, known, or who found it."""

    label: str
    side: float
    picture: int
    leaked: bool
    known: bool
    finder: str = ""
    group: str | None = None


@dataclass(slots=True)
class _Known:
    """A known subject of an original: class, shorter side, number of the picture, who of the independent found it."""

    label: str
    side: float
    picture: int
    finders: frozenset[str]
    group: str | None


def run(context: Context) -> list[Finding | Skipped]:
    """Count what is still there, per class and size, and what independent detectors would have found."""
    out: list[Finding | Skipped] = []
    seen = [known for number, (_, original, subjects) in enumerate(context.walk())
            for known in _known(original, subjects, context.detectors, number)]  # fmt: skip
    for variant in VARIANTS:
        if variant not in context.variants:
            continue
        items: list[_Item] = []
        names: dict[str, list[str]] = {}
        for number, (pair, original, subjects) in enumerate(context.walk()):
            treated = context.variants[variant](pair, original, subjects)
            for item in _items(original, treated, subjects, context.detectors, context.labels, number):
                items.append(item)
                if item.leaked and pair.name not in names.setdefault(item.label, []):
                    names[item.label].append(pair.name)
        for label in context.labels:
            chosen = [item for item in items if item.label == label]
            if chosen:
                found = [known for known in seen if known.label == label]
                out.append(_finding(context, label, variant, chosen, found, names.get(label, [])))
            else:
                out.append(Skipped(NAME, label, "nothing of this class is known or found", variant=variant))
    return out


def _known(
    original: Image, subjects: Sequence[Subject], detectors: Sequence[LeakDetector], number: int
) -> list[_Known]:
    """Return the picture's known subjects with the independent detectors that find them in the original."""
    labels = {subject.label for subject in subjects}
    finders: list[set[str]] = [set() for _ in subjects]
    for detector in detectors:
        wanted = labels & set(detector.independent)
        found = [one for one in detector.backend.detect(original) if one.label in wanted] if wanted else []
        for subject, by in zip(subjects, finders, strict=True):
            boxes = [one.box for one in found if one.label == subject.label]
            if boxes and float(box_iou(subject.box[None], np.stack(boxes)).max()) >= SAME_PLACE:
                by.add(detector.name)
    return [
        _Known(subject.label, _side(subject.box), number, frozenset(by), subject.group)
        for subject, by in zip(subjects, finders, strict=True)
    ]


def _items(
    original: Image,
    treated: Image,
    subjects: Sequence[Subject],
    detectors: Sequence[LeakDetector],
    labels: Sequence[str],
    number: int,
) -> list[_Item]:
    """Return the picture's known subjects, and untouched detections that are none of them."""
    items = [
        _Item(s.label, _side(s.box), number, untouched(original, treated, s), True, group=s.group) for s in subjects
    ]
    boxes: dict[str, list[Floats]] = {label: [s.box for s in subjects if s.label == label] for label in labels}
    found: list[tuple[str, Instance]] = [
        (detector.name, instance)
        for detector in detectors
        if set(detector.labels) & set(labels)
        for instance in detector.backend.detect(treated)
    ]
    # Stable: of equal scores the detector that was named first keeps the detection.
    for finder, instance in sorted(found, key=lambda pair: -pair[1].score):
        if instance.label not in boxes:
            continue
        known = boxes[instance.label]
        if known and float(box_iou(instance.box[None], np.stack(known)).max()) >= SAME_PLACE:
            continue
        if unchanged(original, treated, instance.box, instance.mask):
            known.append(instance.box)
            items.append(_Item(instance.label, _side(instance.box), number, True, False, finder))
    return items


def _finding(
    context: Context, label: str, variant: str, items: list[_Item], seen: list[_Known], names: list[str]
) -> Finding:
    def rate(chosen: list[_Item], reason: str) -> Estimate:
        if not chosen:
            return Estimate(None, reason=reason)
        leaked = np.array([item.leaked for item in chosen], dtype=np.float64)
        pictures = np.array([item.picture for item in chosen], dtype=np.int64)
        return proportion(leaked, pictures)

    def recall(chosen: list[_Known], finders: Sequence[str]) -> Estimate:
        if not chosen or not finders:
            return Estimate(None, reason="nobody known" if finders else "no independent detector of this class")
        hit = np.array([bool(known.finders & set(finders)) for known in chosen], dtype=np.float64)
        return proportion(hit, np.array([known.picture for known in chosen], dtype=np.int64))

    detectors = [w for w in context.detectors if label in w.labels]
    independent = [w.name for w in detectors if label in w.independent]
    estimates = {
        "leak_rate": rate(items, "nothing there"),
        "known_leak_rate": rate([item for item in items if item.known], "no subject of this class is known"),
    }
    for low, high in zip(BINS, (*BINS[1:], None), strict=True):
        name = f"leak_rate_{low}-{high}px" if high else f"leak_rate_from_{low}px"
        chosen = [item for item in items if item.side >= low and (high is None or item.side < high)]
        estimates[name] = rate(chosen, "nothing of this size")
        there = [known for known in seen if known.side >= low and (high is None or known.side < high)]
        estimates[name.replace("leak_rate", "recall")] = recall(there, independent)
    estimates["recall"] = recall(seen, independent)
    estimates |= {f"recall_of_{name}": recall(seen, [name]) for name in independent}
    notes = ["intervals resample pictures; detections that are false alarms count as leaks, so look at them"]
    if independent:
        notes.append(f"independent of the run: {', '.join(independent)}")
        notes.append("recall: of the known subjects, how many these find in the untouched originals (IoU 0.3)")
    elif variant == ANONYMIZED:
        notes.append("no detector that is independent of the run looked for this class: what it missed may stay missed")
    notes += [f"{detector.name} {detector.known}" for detector in detectors if detector.known]
    if names:
        shown = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        notes.append(f"pictures to look at: {shown}")
    return Finding(
        attack=NAME,
        label=label,
        variant=variant,
        recognizer=" + ".join(w.name if label in w.independent else f"{w.name} (part of the run)" for w in detectors),
        protocol="known subjects with unchanged pixels, and untouched detections in the treated picture",
        estimates=estimates,
        counts={
            "known": sum(item.known for item in items),
            "known_leaked": sum(item.known and item.leaked for item in items),
            "detected_leaked": sum(not item.known for item in items),
            **{f"detected_leaked_by_{w.name}": sum(item.finder == w.name for item in items) for w in detectors},
        },
        notes=tuple(notes),
        judge=bool(independent) or variant != ANONYMIZED,
        groups=_by_group(items, seen, rate, lambda chosen: recall(chosen, independent)),
    )


def _by_group(
    items: list[_Item],
    seen: list[_Known],
    rate: Callable[[list[_Item], str], Estimate],
    recall: Callable[[list[_Known]], Estimate],
) -> Mapping[str, Mapping[str, Estimate]]:
    """Return leak rate and recall of the known subjects of each group."""
    groups = sorted({known.group for known in seen if known.group is not None})
    return {
        group: {
            "leak_rate": rate([item for item in items if item.group == group], "nobody known"),
            "recall": recall([known for known in seen if known.group == group]),
        }
        for group in groups
    }


def _side(box: Floats) -> float:
    return float(min(box[2] - box[0], box[3] - box[1]))
