"""Outlines of persons by networks in ONNX that see one person at a time; pose and the surface of faces on the way."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import ModelError
from anonymizer.core.geometry import IntBox, context_box, integer_box, mask_box, outline_box, paste_window, take
from anonymizer.core.records import FREE, Detector, Floats, Image, Instance, Mask, PersonView, check_image
from anonymizer.detect.blazepose import MARGIN as POSE_MARGIN
from anonymizer.detect.blazepose import BlazePose, square_windows
from anonymizer.detect.facemesh import FaceMesh
from anonymizer.detect.masks import narrowed
from anonymizer.detect.regions import OUTLINE, ellipse, grow, is_sketch, overlap, widen
from anonymizer.detect.safe_mask import refine
from anonymizer.models.onnx import open_session

__all__ = ["CROP", "MARGIN", "OutlineDetector"]

#: Width and height in pixels at which our network looks at a person, and the room around the outline found before as a
#: share of its longer side.
CROP, MARGIN = (144, 192), 0.12
#: Persons looked at in one run; bounds memory in a crowd.
BATCH = 8
#: IoU with the outline found before from which the network shows the same person.
SAME = 0.5
#: How far off the network's outline may lie, as a share of the window's longer side: less than a vote of coarse looks.
RADIUS = 0.02
#: Least proportion of a box that the outline of a person has in it who was found as a box alone. Annotated persons
#: have 0.25 and more of their boxes.
LEAST = 0.15
#: BlazePose draws better from this presence, height in pixels and IoU with the other outline on: mean mask IoU rises
#: from 0.81 to 0.86 (Penn-Fudan) and 0.91 to 0.93 (CCP); below, it falls from 0.77 to 0.68 (CamVid).
PRESENT, TALL, ALIKE = 0.8, 80, 0.6
#: BlazePose learned whole people: of those of whom a box shows fewer than ``SHORT`` heights of the face it guesses
#: legs into the box. They are seen again in a box of ``WHOLE`` heights of the face, half as wide.
SHORT, WHOLE = 6.0, 7.5
#: Presence or score of a face from which its size is known.
FACED = 0.5
#: Share of a person's box that others fill from which BlazePose may mean one of them: the person is seen again alone,
#: all else at this value.
CROWDED, GREY = 0.12, 127
#: Nose, shoulders and hips among the landmarks: if all lie in the outline, the right person was seen.
TRUNK = [0, 11, 12, 23, 24]
#: Presence below which a person is seen again in a box this many times as large: of 40 persons 40 to 110 pixels high
#: the share with a presence above 0.3 rises from 0.42 to 0.70, and bodies fitted to these cover as much of them.
DOUBTFUL, WIDER = 0.5, 1.6


class OutlineDetector:
    """Runs a detector and draws the outlines of its persons anew; also draws persons inside given boxes.

    A finer outline that misses a hand must not release it: what is anonymized grows by the outline, and is drawn in
    only around persons who are seen well, see ``narrow``. Where the two outlines disagree on who is meant, the
    detector's stays.

    Args:
        inner: Detector to run.
        path: ONNX file with input ``person`` float32 (N, 4, 192, 144), RGB and the outline found before in [0, 1], and
            output ``outline`` float32 (N, h, w) in [0, 1]; None: outlines stay the detector's where BlazePose has no
            better ones.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        pose: Sees persons once each: the better outline of those seen well, and pose and presence of all; None: nobody
            gets any of these.
        mesh: Sees faces once each; None: none gets surface points.

    Raises:
        ModelError: The file cannot be loaded or its input or output has another name.
    """

    def __init__(
        self,
        inner: Detector,
        path: Path | None,
        device: str = "cpu",
        pose: BlazePose | None = None,
        mesh: FaceMesh | None = None,
    ) -> None:
        self._inner = inner
        self._pose = pose
        self._mesh = mesh
        self._twice = True
        self._session = None if path is None else open_session(path, "outlines", device)
        if self._session is None:
            return
        names = [i.name for i in self._session.get_inputs()], [o.name for o in self._session.get_outputs()]
        if names != (["person"], ["outline"]):
            raise ModelError(
                f"outlines: expected input 'person' and output 'outline' in {path}, got {names[0]} and {names[1]}; "
                "fetch the weights again"
            )

    def once(self) -> OutlineDetector:
        """Return the same detector without second views of persons: boxes and masks are the same, poses may be worse.

        Verification asks where somebody is, not in which pose.
        """
        other = copy.copy(self)
        other._twice = False
        return other

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return the inner detector's instances in RGB uint8 (H, W, 3), persons with finer outlines."""
        check_image(image)
        found = self._inner.detect(image)
        persons = [instance for instance in found if instance.label == "person"]
        finer = {person.id: person for person, _ in self._finer(image, persons)}
        faces = [instance for instance in found if instance.label == "face"]
        if self._mesh is not None and faces:
            views = self._mesh.look(image, np.stack([face.box for face in faces]))
            finer |= {face.id: replace(face, face=view) for face, view in zip(faces, views, strict=True)}
        out = [narrowed(finer.get(instance.id, instance)) for instance in found]
        if self._pose is None or not persons or not self._twice:
            return tuple(out)
        people = [instance for instance in out if instance.label == "person"]
        best = {face.parent: face for face in sorted(out, key=lambda i: i.score) if face.label == "face"}
        boxes = np.stack([person.box for person in people])
        again = {person.id: self._again(image, person, people, boxes, best.get(person.id)) for person in people}
        return tuple(again.get(instance.id, instance) for instance in out)

    def _again(
        self, image: Image, person: Instance, people: Sequence[Instance], boxes: Floats, face: Instance | None
    ) -> Instance:
        """Return a person as seen once more: as a whole, alone, or from farther away, where that helps.

        Args:
            image: RGB uint8 (H, W, 3).
            person: Somebody who was seen once.
            people: Everybody in the picture.
            boxes: float32 (N, 4) xyxy, their boxes.
            face: The person's face, if it was found.
        """
        pose, best = self._pose, person.body
        if pose is None or best is None:
            return person
        box, whole = outline_box(person), None if face is None else _whole_box(person, face)
        around = grow(box if whole is None else whole, 0.5, 0.5, 0.5, 0.5)
        near = [people[int(n)] for n in np.flatnonzero(overlap(around, boxes)) if people[int(n)].id != person.id]
        crowded = _strays(person) and float(_covered(near, person, integer_box(person.box)).mean()) >= CROWDED
        if whole is not None or crowded:
            view = _alone(pose, image, person, box if whole is None else whole, near)
            best = view if view.presence >= best.presence / 2 else best
        if best.presence < DOUBTFUL:
            share = (WIDER - 1) / 2
            view = _alone(pose, image, person, grow(box, share, share, share, share), near if crowded else ())
            best = view if view.presence > best.presence else best
        return person if best is person.body else replace(person, body=best)

    def segment(self, image: Image, boxes: Floats) -> tuple[Instance | None, ...]:
        """Return the person in each box (N, 4) xyxy inside RGB uint8 (H, W, 3), None where no outline is seen."""
        check_image(image)
        sketches = [Instance(n, "person", box, ellipse(box), 1.0, "box") for n, box in enumerate(boxes, start=1)]
        return tuple(narrowed(person) if drawn else None for person, drawn in self._finer(image, sketches))

    def _finer(self, image: Image, persons: Sequence[Instance]) -> list[tuple[Instance, bool]]:
        """Return persons and whether an outline is known of each."""
        out: list[tuple[Instance, bool]] = []
        for first in range(0, len(persons), BATCH):
            group = persons[first : first + BATCH]
            if self._session is None:
                out += [(person, not is_sketch(person)) for person in group]
                continue
            windows = [context_box(outline_box(person), MARGIN, CROP[1] / CROP[0]) for person in group]
            batch = np.stack([_seen(image, person, window) for person, window in zip(group, windows, strict=True)])
            (likely,) = self._session.run(["outline"], {"person": batch})
            for person, window, share in zip(group, windows, likely, strict=True):
                sketch = is_sketch(person)
                drawn = _drawn(image, person, window, share, None if sketch else SAME)
                out.append((person if drawn is None else drawn, drawn is not None or not sketch))
        if self._pose is None or not out:
            return out
        views = self._pose.look(image, np.stack([outline_box(person) for person, _ in out]))
        return [_posed(image, *each, view) for each, view in zip(out, views, strict=True)]


def _alone(pose: BlazePose, image: Image, person: Instance, box: Floats, others: Sequence[Instance]) -> PersonView:
    """Return what BlazePose sees of a person in a box (4,) xyxy where others are grey."""
    # Only the part of the picture that the network sees is copied.
    (rows, columns), _ = paste_window(square_windows(box[None], POSE_MARGIN)[0], (image.shape[0], image.shape[1]))
    x, y = columns.start, rows.start
    hidden = _covered(others, person, (x, y, columns.stop, rows.stop))
    part = np.where(hidden[..., None], np.uint8(GREY), image[rows, columns])
    (view,) = pose.look(part, (box - np.array([x, y, x, y], np.float32))[None])
    left, top, right, bottom = view.window
    landmarks = view.landmarks + np.array([x, y, 0], np.float32)
    return replace(view, landmarks=landmarks, window=(left + x, top + y, right + x, bottom + y))


def _strays(person: Instance) -> bool:
    """Return whether trunk and head that BlazePose saw lie elsewhere than the person."""
    if person.body is None:
        return False
    x1, y1, x2, y2 = integer_box(person.box)
    x, y = (person.body.landmarks[TRUNK, k].astype(int) - corner for k, corner in ((0, x1), (1, y1)))
    inside = (x >= 0) & (y >= 0) & (x < x2 - x1) & (y < y2 - y1)
    return int(person.outline[y[inside], x[inside]].sum()) < len(TRUNK)


def _covered(others: Sequence[Instance], person: Instance, frame: IntBox) -> Mask:
    """Return where others lie and a person does not, bool in the frame of an integer xyxy."""
    out = np.zeros((frame[3] - frame[1], frame[2] - frame[0]), np.bool_)
    for other in others:
        if not other.boxed:
            inside, local = _meet(other, frame)
            out[inside] |= other.outline[local]
    inside, local = _meet(person, frame)
    out[inside] &= ~person.outline[local]
    return out


def _meet(person: Instance, frame: IntBox) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return slices of an integer xyxy frame and of a person's mask where the two meet."""
    x1, y1, x2, y2 = integer_box(person.box)
    left, top, right, bottom = frame
    return paste_window((x1 - left, y1 - top, x2 - left, y2 - top), (bottom - top, right - left))


def _whole_box(person: Instance, face: Instance) -> Floats | None:
    """Return the box (4,) xyxy that all of a person would fill by the size of the face; None where it mostly shows."""
    if max(face.score, face.face.confidence if face.face is not None else 0.0) < FACED:
        return None
    x1, y1, x2, y2 = outline_box(person)
    height, top = float(face.box[3] - face.box[1]), min(float(face.box[1]), float(y1))
    if y2 - top >= SHORT * height:
        return None
    middle, half = float(face.box[0] + face.box[2] + x1 + x2) / 4, WHOLE * height / 4
    return np.array([middle - half, top, middle + half, top + WHOLE * height], np.float32)


def _posed(image: Image, person: Instance, outlined: bool, view: PersonView) -> tuple[Instance, bool]:
    """Return a person with what BlazePose sees, with its outline where that is the better one or the only one."""
    known = replace(person, body=view)
    height = float(np.diff(outline_box(person)[[1, 3]])[0])
    if view.presence < PRESENT or (outlined and height < TALL):
        return known, outlined
    drawn = _drawn(image, known, view.window, view.mask, ALIKE if outlined else None)
    return (known, outlined) if drawn is None else (drawn, True)


def _seen(image: Image, person: Instance, window: IntBox) -> NDArray[np.float32]:
    """Return what the network sees of a person, float32 (4, 192, 144)."""
    method = cv2.INTER_AREA if window[2] - window[0] > CROP[0] else cv2.INTER_LINEAR
    crop = cv2.resize(take(image, window), CROP, interpolation=method)
    outline = cv2.resize(_moved(person.outline, person, window), CROP, interpolation=method)
    whole = np.dstack([crop.astype(np.float32) / np.float32(255), outline])
    return np.ascontiguousarray(whole.transpose(2, 0, 1))


def _moved(mask: Mask, person: Instance, window: IntBox) -> NDArray[np.float32]:
    """Return a mask in a person's frame in that of a window, float32 (h, w)."""
    out = np.zeros((window[3] - window[1], window[2] - window[0]), np.float32)
    inside, local = _meet(person, window)
    out[inside] = mask[local]
    return out


def _drawn(image: Image, person: Instance, window: IntBox, likely: Floats, alike: float | None) -> Instance | None:
    """Return a person with the outline that likelihoods (h, w) in a window and the picture's edges agree on.

    Args:
        image: RGB uint8 (H, W, 3).
        person: A person with an outline, or known as a box alone.
        window: Integer xyxy of the window.
        likely: float32 (h, w) in [0, 1].
        alike: Least IoU with the person's outline. None if there is none: the new one lies in the box and has to fill
            a part of it.

    Returns:
        The person, None where the outline is not theirs.
    """
    (rows, columns), _ = paste_window(window, (image.shape[0], image.shape[1]))
    frame = columns.start, rows.start, columns.stop, rows.stop
    x1, y1, x2, y2 = window
    share = cv2.resize(likely, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)
    share = share[rows.start - y1 : rows.stop - y1, columns.start - x1 : columns.stop - x1]
    if not (share >= 0.5).any():  # Nobody is seen; the filter below would take all of the window.
        return None
    inside = np.array(frame, np.float32)
    new = refine(image, inside, share, np.ones(share.shape, np.bool_), RADIUS)
    if alike is None:
        box = _moved(np.ones_like(person.mask), person, frame) > 0
        new &= box
        theirs = LEAST <= float(new.sum()) / max(float(box.sum()), 1.0) <= 1 - FREE
    else:
        old = _moved(person.outline, person, frame) > 0
        theirs = float((new & old).sum()) >= alike * float((new | old).sum())
    tight = mask_box(new)
    if tight is None or not theirs:
        return None
    around = np.array(tight, np.float32) + inside[[0, 1, 0, 1]]
    outline = Instance(person.id, "person", around, new[tight[1] : tight[3], tight[0] : tight[2]], 0.0, "outline")
    # From now on it is no mere sketch: an outline was seen in it.
    evidence = {**person.signs, OUTLINE: float(np.count_nonzero(new)) / new.size}
    return widen(replace(person, core=np.zeros_like(person.mask), evidence=evidence), outline)
