"""Condition leak: recognise faces and persons, and read plates, from the maps alone that steer a redraw.

A redraw follows depth and edge maps of the original. Whatever these show, the new picture may show as well, so they
are attacked themselves: as they are found (guard 0) and as the guard leaves them (1 default, 2 strict), at several
conditioning scales. A map at a scale is the map times the scale in 256 levels of grey. That is an upper bound: a
generator that is told to follow a map weakly also follows what it shows weakly.

Faces and persons are described by every recogniser of photographs, looking at the map as a picture, and by the map's
own oriented gradients, which need no photograph. Against: the maps of other pictures of the same identities, made and
guarded in the same way; the unguarded map of the same picture (can a guarded map be traced to its photograph); and
photographs. The mask alone is attacked by the silhouette descriptor: it reaches the redraw whatever the guard does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from anonymizer.condition.guard import DEFAULT, OFF, STRICT, guard
from anonymizer.core.geometry import integer_box, take
from anonymizer.core.records import Conditions, DepthEstimator, EdgeDetector, Floats, Image, Instance, Mask, OCRReader
from anonymizer.detect.regions import ellipse
from anonymizer.evaluation.attacks.plate import Plate, enhance, fold, measure
from anonymizer.evaluation.matching import has_repeats
from anonymizer.evaluation.protocols import finding
from anonymizer.evaluation.records import Context, Embeddings, Finding, Recognizer, Skipped, Subject
from anonymizer.models import weights
from anonymizer.recognize.body import ColourShapeEmbedder, SilhouetteEmbedder, hog

__all__ = ["LEVELS", "SCALES", "MapShape", "attack", "conditions_of", "render", "run"]

NAME, VARIANT = "condition", "conditions"
LEVELS = {OFF: "guard off", DEFAULT: "guard 1 (default)", STRICT: "guard 2 (strict)"}
#: Conditioning scales: the published settings for edges (0.1 for people, 0.2 for cars) and depth (0.7), and up to the
#: full map, which is what small models are given.
SCALES = {"edges": (0.1, 0.2, 0.5, 1.0), "depth": (0.7, 1.0)}
#: Most subjects of a class and most plates, drawn by identity: each is described many times.
MOST_SUBJECTS, MOST_PLATES = 120, 30
#: Surroundings of a box that are rendered, as a proportion of its longer side; recognisers look at up to half.
AROUND = 0.6

#: Map, guard level, scale.
Setting = tuple[str, int, float]


@dataclass(frozen=True, slots=True)
class MapShape:
    """Describes a subject by the oriented gradients of a map; see ``records.Recognizer``."""

    label: str
    name: str = "HOG of the map"
    sha256: str = field(default=hashlib.sha256(b"HOG of the map 1").hexdigest())
    licence: str = "AGPL-3.0-or-later"
    judge: bool = True

    def embed(self, image: Image, box: Floats, landmarks: Floats | None, mask: Mask | None) -> Floats:
        """Return a unit-length float32 (D,) description; all equal where the map is flat there.

        Args:
            image: The rendered map, RGB uint8 (H, W, 3).
            box: float (4,) xyxy in pixels.
            landmarks: Ignored.
            mask: Ignored.
        """
        import cv2

        del landmarks, mask
        size = (64, 64) if self.label == "face" else (64, 128)
        crop = np.asarray(cv2.resize(take(image[..., 0], integer_box(box)), size, interpolation=cv2.INTER_AREA))
        vector = hog(np.asarray(crop, np.float32) / np.float32(255))
        # A flat map says nothing: the same direction for everybody leaves the ranking to the lot.
        return vector if vector.any() else np.full_like(vector, 1 / np.sqrt(vector.size))


def render(values: Floats, scale: float) -> Image:
    """Return a map (H, W) in [0, 1] times a scale as a grey picture, RGB uint8 (H, W, 3)."""
    grey = np.rint(np.clip(values * scale, 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def conditions_of(
    image: Image, subjects: Sequence[Subject], depth: DepthEstimator, edges: EdgeDetector
) -> dict[int, Conditions]:
    """Return a picture's depth and edges by guard level, as the redraw gets them.

    Args:
        image: RGB uint8 (H, W, 3).
        subjects: Everything in it; where no mask is known, a face is the ellipse in its box, anything else the box.
        depth: Estimates depth.
        edges: Finds edges.
    """
    instances = tuple(
        Instance(
            id=number,
            label=subject.label,
            box=subject.box,
            mask=_mask(subject),
            landmarks=subject.landmarks,
        )
        for number, subject in enumerate(subjects, start=1)
    )
    raw = Conditions(depth.estimate(image, instances), edges.detect(image))
    return {level: guard(raw, instances, level) for level in LEVELS}


def run(context: Context) -> list[Finding | Skipped]:
    """Attack the maps of the embedded preset; see ``attack``.

    Raises:
        ModelError: The edge network's or the reader's weights are missing or others than listed.
    """
    from anonymizer.condition.depth import GroundPlaneDepth
    from anonymizer.condition.edges import EdgeNet
    from anonymizer.recognize.ocr import RapidOcrReader

    ocr = RapidOcrReader(weights.path("ppocr"), text_score=0.0) if "license_plate" in context.labels else None
    return attack(context, GroundPlaneDepth(), EdgeNet(weights.path("edges")), ocr)


def attack(
    context: Context, depth: DepthEstimator, edges: EdgeDetector, ocr: OCRReader | None
) -> list[Finding | Skipped]:
    """Recognise subjects from their depth and edge maps at every guard level and scale.

    Args:
        context: Pictures and recognisers.
        depth: Estimates depth.
        edges: Finds edges.
        ocr: Reads plates, or None to leave them out.
    """
    chosen = {label: _choose(context, label) for label in context.labels if label in ("face", "person")}
    plates = _choose(context, "license_plate") if ocr is not None and "license_plate" in context.labels else {}
    views = {label: _View(label, context) for label in chosen}
    readings: dict[Setting, list[Plate]] = {}
    wanted = {key for keys in (*chosen.values(), plates) for key in keys}
    for pair in context.dataset.pairs:
        subjects = context.dataset.subjects(pair)
        here = [s for s in subjects if s.key in wanted]
        if not here:
            continue
        levels = conditions_of(context.dataset.original(pair), subjects, depth, edges)
        for subject in here:
            for setting, crop, shift in _views(levels, subject):
                if subject.label in views:
                    views[subject.label].add(setting, crop, shift, subject)
                elif ocr is not None and subject.text and setting[0] == "edges":
                    lines = [fold(line.text) for line in ocr.read(enhance(crop))]
                    read = tuple(line for line in (*lines, "".join(lines)) if line)
                    readings.setdefault(setting, []).append(Plate(fold(subject.text), subject.who, read))
    out: list[Finding | Skipped] = []
    for label, view in views.items():
        out += view.findings() if chosen[label] else [Skipped(NAME, label, "no subject of this class")]
    if "license_plate" in context.labels:
        out += _plates(context, readings)
    return out


class _View:
    """Descriptions of one class's subjects in every setting, and the findings from them."""

    def __init__(self, label: str, context: Context) -> None:
        self._context = context
        photographs = [r for r in context.of(label) if not isinstance(r, ColourShapeEmbedder | SilhouetteEmbedder)]
        self._describers: list[Recognizer] = [MapShape(label), *photographs]
        self._photographs = photographs
        self._silhouette = SilhouetteEmbedder() if label == "person" else None
        self._subjects: list[Subject] = []
        self._vectors: dict[tuple[str, Setting], list[Floats]] = {}
        self._outlines: list[Floats] = []

    def add(self, setting: Setting, crop: Image, shift: Floats, subject: Subject) -> None:
        """Describe a subject in a rendered map whose upper left corner is ``shift`` (2,) of the picture."""
        if not self._subjects or self._subjects[-1].key != subject.key:
            self._subjects.append(subject)
            if self._silhouette is not None:
                self._outlines.append(self._silhouette.embed(crop, subject.box, None, subject.mask))
        box = subject.box - np.tile(shift, 2)
        landmarks = None if subject.landmarks is None else subject.landmarks - shift
        for describer in self._describers:
            vector = describer.embed(crop, box, landmarks, subject.mask)
            self._vectors.setdefault((describer.name, setting), []).append(vector)

    def findings(self) -> list[Finding | Skipped]:
        """Compare the descriptions; see the module."""
        out: list[Finding | Skipped] = []
        for describer in self._describers:
            raw = {name: self._embeddings((describer.name, (name, OFF, 1.0))) for name in SCALES}
            for name, scales in SCALES.items():
                for level in LEVELS:
                    for scale in scales:
                        probe = self._embeddings((describer.name, (name, level, scale)))
                        what = f"{name} map, {LEVELS[level]}, scale {scale:g}"
                        if has_repeats(probe):
                            protocol = f"{what}; gallery of the same maps of other pictures"
                            out.append(self._finding(describer, probe, probe, "other", protocol))
                        if level != OFF and scale == 1.0:
                            protocol = f"{what}; gallery of unguarded maps, the same picture's among them"
                            out.append(self._finding(describer, probe, raw[name], "own", protocol))
                        if describer in self._photographs and scale == 1.0:
                            out.append(self._against_photographs(describer, probe, what))
        if self._outlines:
            out.append(self._mask_alone())
        return out

    def _against_photographs(self, describer: Recognizer, probe: Embeddings, what: str) -> Finding:
        known = self._context.store.embeddings("original", describer)
        if has_repeats(known):
            protocol = f"{what}; gallery of photographs, its own picture left out"
            return self._finding(describer, probe, known, "other", protocol)
        return self._finding(describer, probe, known, "own", f"{what}; gallery of photographs, its own among them")

    def _mask_alone(self) -> Finding | Skipped:
        outlines = self._as_embeddings(np.stack(self._outlines))
        silhouette = SilhouetteEmbedder()
        if not has_repeats(outlines):
            reason = "the mask alone needs identities in two pictures: against its own picture it is always the same"
            return Skipped(NAME, silhouette.label, reason, VARIANT, silhouette.name)
        protocol = "mask alone, whatever the guard; gallery of masks of other pictures"
        return self._finding(silhouette, outlines, outlines, "other", protocol)

    def _finding(
        self, describer: Recognizer, probe: Embeddings, gallery: Embeddings, mode: str, protocol: str
    ) -> Finding:
        notes = [f"{len(self._subjects)} subjects, drawn by identity"] if len(self._subjects) == MOST_SUBJECTS else []
        notes.append("maps of the embedded preset; another preset's maps may show more")
        return finding(
            self._context,
            NAME,
            describer,
            VARIANT,
            probe,
            gallery,
            "other" if mode == "other" else "own",
            protocol,
            notes,
        )

    def _embeddings(self, key: tuple[str, Setting]) -> Embeddings:
        return self._as_embeddings(np.stack(self._vectors[key]))

    def _as_embeddings(self, vectors: Floats) -> Embeddings:
        keys, who, where = zip(*((s.key, s.who, s.picture) for s in self._subjects), strict=True)
        return Embeddings(keys, who, where, vectors.astype(np.float32), np.ones(len(keys), dtype=np.bool_))


def _views(levels: dict[int, Conditions], subject: Subject) -> Iterator[tuple[Setting, Image, Floats]]:
    """Yield every setting with the rendered map around a subject, and that part's corner x, y in the picture."""
    x1, y1, x2, y2 = integer_box(subject.box)
    pad = int(np.ceil(AROUND * max(x2 - x1, y2 - y1)))
    shift = np.array([x1 - pad, y1 - pad], np.float32)
    window = x1 - pad, y1 - pad, x2 + pad, y2 + pad
    if subject.label == "license_plate":
        window = x1 - pad // 4, y1 - pad // 4, x2 + pad // 4, y2 + pad // 4
    for name, scales in SCALES.items():
        for level, maps in levels.items():
            part = take(maps.edges if name == "edges" else maps.depth, window)
            for scale in scales:
                yield (name, level, scale), render(part, scale), shift


def _plates(context: Context, readings: dict[Setting, list[Plate]]) -> list[Finding | Skipped]:
    if not readings:
        return [Skipped(NAME, "license_plate", "no plate has an annotated text", VARIANT)]
    out: list[Finding | Skipped] = []
    for (name, level, scale), plates in readings.items():
        protocol = f"OCR of the {name} map, {LEVELS[level]}, scale {scale:g}, enlarged and sharpened"
        rng = context.rng(NAME, protocol)
        out.append(
            Finding(
                attack=NAME,
                label="license_plate",
                variant=VARIANT,
                recognizer="rapidocr (ppocr)",
                protocol=protocol,
                estimates=measure(plates, rng, context.bootstrap),
                counts={"plates_read": len(plates)},
                notes=("OCR is made for photographs, not for edge maps",),
            )
        )
    return out


def _choose(context: Context, label: str) -> dict[str, None]:
    """Return keys of the subjects to look at: identity by identity, those in several pictures first."""
    of: dict[str, list[str]] = {}
    for pair in context.dataset.pairs:
        for subject in context.dataset.subjects(pair):
            if subject.label == label and (label != "license_plate" or subject.text):
                of.setdefault(subject.who, []).append(subject.key)
    names = sorted(of)
    order = context.rng(NAME, label, "choose").permutation(len(names))
    several_first = sorted((names[i] for i in order), key=lambda who: len(of[who]) == 1)
    keys = [key for who in several_first for key in of[who]]
    return dict.fromkeys(keys[: MOST_PLATES if label == "license_plate" else MOST_SUBJECTS])


def _mask(subject: Subject) -> Mask:
    if subject.mask is not None:
        return subject.mask
    x1, y1, x2, y2 = integer_box(subject.box)
    return ellipse(subject.box) if subject.label == "face" else np.ones((y2 - y1, x2 - x1), dtype=bool)
