"""One picture on its way through the pipeline: what was found, what was made of it so far, and questions about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from anonymizer.condition.order import far_to_near
from anonymizer.detect.regions import coverage
from anonymizer.fill import redact
from anonymizer.geometry import box_iou
from anonymizer.redraw.avatars import shown_as
from anonymizer.redraw.crops import treated_mask
from anonymizer.redraw.redrawer import Patch
from anonymizer.types import BODIES, Action, Conditions, Image, Instance, Rendering, Verdict
from anonymizer.verify.verifier import SOME_FACE, Evidence

__all__ = ["Work", "cleaned", "floating", "half_filled", "unmade"]


@dataclass(slots=True)
class Work:
    """One picture on its way; lives for one call only."""

    image: Image
    instances: tuple[Instance, ...]
    raw: Conditions
    evidence: Evidence
    entropy: tuple[int, ...]
    actions: dict[int, Action] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    patches: dict[int, Patch] = field(default_factory=dict)
    renderings: dict[int, Rendering] = field(default_factory=dict)
    persons: dict[int, Instance] = field(default_factory=dict)
    stuck: set[int] = field(default_factory=set)

    def show(self, renderings: Mapping[int, Rendering], persons: Iterable[int]) -> None:
        """Give persons new avatars: their outlines become those of the avatars, or again their own without one."""
        chosen = set(persons)
        for person in self.instances:
            if person.id in chosen:
                self.persons.setdefault(person.id, person)
        self.renderings = {i: r for i, r in self.renderings.items() if i not in chosen} | dict(renderings)
        self.instances = tuple(
            shown_as(self.persons[i.id], renderings[i.id])
            if i.id in renderings
            else self.persons[i.id]
            if i.id in chosen
            else i
            for i in self.instances
        )
        self.evidence = replace(self.evidence, instances=self.instances)

    def ordered(self) -> tuple[Instance, ...]:
        """Return the instances in the order in which their patches are laid, the lowest first.

        Far to near, but redacted persons and vehicles lowest: a fill laid over a redrawn neighbour would spoil it,
        and a redraw laid over a fill shows as little of the original as the fill.
        """
        order = far_to_near(self.raw.depth, self.instances)
        filled = {i.id for i in order if i.label in BODIES and self.actions.get(i.id) == "redacted"}
        return (*(i for i in order if i.id in filled), *(i for i in order if i.id not in filled))

    def rng(self, instance_id: int) -> np.random.Generator:
        """Return the source of chance for an instance's present attempt."""
        return np.random.default_rng((*self.entropy, instance_id, self.attempts[instance_id], len(self.stuck)))


def cleaned(work: Work, rng: np.random.Generator) -> Image:
    """Return the original with all that is treated filled. Made when needed: it is as large as the picture."""
    return redact(work.image, treated_mask(work.instances, (work.image.shape[0], work.image.shape[1])), rng)


def floating(work: Work) -> list[int]:
    """Return redrawn faces that would hang in the fill of a redacted person, without a redrawn one to carry them."""
    persons = {i.id: i for i in work.instances if i.label == "person"}
    carried = {i for i in persons if work.actions[i] == "redrawn"}
    return [
        face.id
        for face in work.instances
        if face.label == "face"
        and work.actions[face.id] == "redrawn"
        and face.parent not in carried
        and any(coverage(face, persons[i]) >= 0.5 for i in persons.keys() - carried)
        and not any(coverage(face, persons[i]) >= 0.5 for i in carried)
    ]


def half_filled(work: Work, verdicts: Iterable[Verdict], found: Sequence[Instance]) -> Iterator[Instance]:
    """Yield the faces found where a redacted face is still too similar: its fill did not reach all of it."""
    failing = {v.instance_id for v in verdicts if v.check == "face_distance" and not v.passed}
    boxes = [i.box for i in work.instances if i.id in failing and work.actions[i.id] == "redacted"]
    if boxes:
        for face in found:
            if face.label == "face" and box_iou(face.box[None], np.stack(boxes)).max() >= SOME_FACE:
                yield face


def unmade(work: Work) -> set[int]:
    """Return the ids of instances without a patch so far."""
    return {i.id for i in work.instances if i.id not in work.patches}
