"""One picture on its way through the pipeline: one record per instance, the fill under all, and questions about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anonymizer.condition.depth import far_to_near
from anonymizer.core.geometry import box_iou, mask_iou, outline_box, outlined
from anonymizer.core.records import Action, Image, Instance, Mask, Rendering, Treatment, Verdict
from anonymizer.detect.left import inside, unlike
from anonymizer.detect.regions import coverage
from anonymizer.redraw.avatars import face_as, pedals, shown_as
from anonymizer.redraw.crops import anonymized_mask
from anonymizer.redraw.redrawer import Patch
from anonymizer.verify.verifier import SOME_FACE, Evidence

__all__ = ["Target", "Work", "floating", "half_filled", "riders"]

#: Least coverage of a face by a person's mask that makes it the person's.
ON = 0.5
#: What is ridden, as detectors call it.
RIDDEN = ("bicycle", "motorcycle")
#: Least proportion of a cycle's width that its rider's box covers, and how far above the ground, as a proportion of the
#: cycle's height, the rider ends.
ASTRIDE, RAISED = 0.15, 0.02
#: Sets the chance that decides on fills apart from all other under one seed.
FILL_DRAW = 3


@dataclass(slots=True, eq=False)
class Target:
    """One instance on its way.

    Args:
        found: As it was found: its mask decides what is filled.
        shown: As it stands in the result: with the outline of its avatar, if it has one.
        action: What is done with it.
        attempts: Redraws so far.
        rendering: The avatar in its place.
        patch: What is laid over the fill for it; None: the fill, or its person's avatar, shows.
        stuck: Whether it failed although it was redacted.
        method: How it is obscured in place of a redraw or a fill; None: it is not.
        late: Whether the second pass found it.
    """

    found: Instance
    shown: Instance
    action: Action
    attempts: int = 0
    rendering: Rendering | None = None
    patch: Patch | None = None
    stuck: bool = False
    method: str | None = None
    late: bool = False

    @property
    def id(self) -> int:
        """Id of the instance."""
        return self.found.id

    @property
    def redrawn(self) -> bool:
        """Whether something is painted in its place."""
        return self.action == "redrawn"

    @property
    def mask_iou(self) -> float | None:
        """IoU of the outline of a person as found with that of its avatar, None without an avatar."""
        if self.rendering is None or not self.redrawn:
            return None
        return mask_iou(outlined(self.found), outlined(self.shown))

    @property
    def treatment(self) -> Treatment:
        """What was done to it."""
        before = outline_box(self.found)
        x1, y1, x2, y2 = (float(value) for value in before)
        found = None if np.array_equal(before, self.shown.box) else (x1, y1, x2, y2)
        return Treatment(self.id, self.action, self.attempts, self.mask_iou, self.method, self.late, found)

    def redact(self) -> None:
        """Leave its place to the fill."""
        self.action, self.rendering, self.patch, self.shown = "redacted", None, None, self.found


@dataclass(slots=True, eq=False)
class Work:
    """One picture on its way; lives for one call only.

    Args:
        image: The original, RGB uint8 (H, W, 3).
        targets: One record per instance, by ascending id.
        depth: float32 (H, W) of the original, for the order of instances.
        evidence: What the original showed.
        entropy: What decides on chance.
        scenery: Vehicles that are not anonymized.
        excluded: bool (H, W), the area that is left out; None: nowhere.
        consented: Who agreed to be shown.
        base: The original with the fill laid over everything anonymized, RGB uint8 (H, W, 3); None: to be filled.
        scene: The base with the avatars' shadows, RGB uint8 (H, W, 3).
        treated: bool (H, W), where the fill lies, rims included.
        shadows: bool (H, W), where shadows lie.
        fills: How often the picture was filled.
        view: What the artist took from the base; None: not looked at.
        drawn: What all whom the artist has drawn look like: nobody else looks the same, though the picture be filled
            anew.
        left: What a reviewer wants left as it is.
    """

    image: Image
    targets: list[Target]
    depth: np.ndarray
    evidence: Evidence
    entropy: tuple[int, ...]
    scenery: tuple[Instance, ...] = ()
    excluded: Mask | None = None
    consented: tuple[Instance, ...] = ()
    base: Image | None = None
    scene: Image | None = None
    treated: Mask | None = None
    shadows: Mask | None = None
    fills: int = 0
    view: Any = None
    drawn: set[str] = field(default_factory=set)
    left: tuple[Instance, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def shown(self) -> tuple[Instance, ...]:
        """The instances as they stand in the result."""
        return tuple(t.shown for t in self.targets)

    def ordered(self) -> list[Target]:
        """Return the records in the order in which their patches are laid: far to near."""
        records = {t.id: t for t in self.targets}
        return [records[i.id] for i in far_to_near(self.depth, [t.found for t in self.targets])]

    def hidden(self, targets: Iterable[Target] | None = None) -> Mask:
        """Return all that may change for some instances as they were found, all if None: bool (H, W)."""
        return anonymized_mask([t.found for t in (self.targets if targets is None else targets)], self.size)

    def concerned(self, leaks: Iterable[Instance]) -> tuple[Instance, ...]:
        """Return what the second pass found, without what is left as it is on purpose."""
        return unlike((i for i in leaks if not inside(i, self.excluded)), self.consented)

    def outline(self) -> None:
        """Give redrawn persons with an avatar the outline of what shows of it, and their faces the place of its face.

        An avatar has one face. Others of the person, and that of an avatar which shows none, are redacted: the avatar
        stands in their place.
        """
        standing = [t for t in self.ordered() if t.redrawn and t.rendering is not None]
        for place, target in enumerate(standing):
            nearer = [t.rendering for t in standing[place + 1 :] if t.rendering is not None]
            if target.rendering is None:
                continue
            target.shown = shown_as(target.found, target.rendering, nearer)
            faces = sorted(self.faces_of(target), key=lambda t: -t.found.score)
            shown = face_as(faces[0].found, target.rendering, nearer) if faces else None
            for number, face in enumerate(faces):
                if number or shown is None:
                    face.redact()
                else:
                    face.shown = shown

    def faces_of(self, person: Target) -> list[Target]:
        """Return a person's redrawn faces."""
        return [t for t in self.targets if t.found.label == "face" and t.redrawn and t.found.parent == person.id]

    def rng(self, target: Target) -> np.random.Generator:
        """Return the source of chance for an instance's present attempt."""
        return np.random.default_rng((*self.entropy, target.id, target.attempts))

    def fill_rng(self) -> np.random.Generator:
        """Return the source of chance for the present fill."""
        return np.random.default_rng((*self.entropy, FILL_DRAW, self.fills))


def riders(instances: Iterable[Instance], scenery: Iterable[Instance]) -> dict[int, Instance]:
    """Return the bicycle or motorcycle that a person rides, by the person's id.

    A rider's middle lies above the vehicle's box, the rider's lower end between its ends, and the rider's box holds a
    part of it: who stands beside a bicycle reaches as low as its wheels do or lower. Who pedals (``pedals``) rides,
    too: outlines may hold the bicycle. A vehicle has one rider: whoever's mask holds most of it.

    Args:
        instances: Persons among others.
        scenery: Vehicles among others, with what the detector calls them in their source.
    """
    cycles = [i for i in scenery if i.label == "vehicle" and i.source.rpartition(":")[2] in RIDDEN]
    persons = [i for i in instances if i.label == "person"]
    out: dict[int, Instance] = {}
    for cycle in sorted(cycles, key=lambda c: -c.score):
        on = [person for person in persons if person.id not in out and _astride(person, cycle)]
        if on:
            out[max(on, key=lambda person: coverage(cycle, person)).id] = cycle
    return out


def _astride(person: Instance, cycle: Instance) -> bool:
    """Return whether a person sits above a cycle."""
    x1, y1, x2, y2 = (float(v) for v in outline_box(person))
    left, top, right, bottom = (float(v) for v in cycle.box)
    if not (left < (x1 + x2) / 2 < right and y1 < top < y2):
        return False
    across = max(min(x2, right) - max(x1, left), 0.0) / (right - left)
    return (across >= ASTRIDE and y2 <= bottom - RAISED * (bottom - top)) or pedals(person, cycle)


def floating(work: Work, avatars: bool) -> list[Target]:
    """Return redrawn faces that would hang in a fill, without a redrawn person to carry them.

    Args:
        work: The picture.
        avatars: Whether persons become avatars: each carries its own face and no other.
    """
    persons = [t for t in work.targets if t.found.label == "person"]
    carried = {t.id for t in persons if t.redrawn}

    def on(face: Target, redrawn: bool) -> bool:
        return any(t.redrawn == redrawn and coverage(face.found, t.found) >= ON for t in persons)

    def hangs(face: Target) -> bool:
        if face.found.parent in carried:
            return False
        owned = any(t.id == face.found.parent for t in persons) or on(face, False)
        return owned or on(face, True) if avatars else owned and not on(face, True)

    return [t for t in work.targets if t.found.label == "face" and t.redrawn and hangs(t)]


def half_filled(work: Work, verdicts: Iterable[Verdict], found: Sequence[Instance]) -> Iterator[Instance]:
    """Yield the faces found where a redacted face is still too similar: its fill did not reach all of it."""
    failing = {v.instance_id for v in verdicts if v.check == "face_distance" and not v.passed}
    boxes = [t.found.box for t in work.targets if t.id in failing and not t.redrawn]
    if boxes:
        for face in found:
            if face.label == "face" and box_iou(face.box[None], np.stack(boxes)).max() >= SOME_FACE:
                yield face
