"""What the denoising starts from: pictures that hold nothing of the original.

A small model that starts from pure noise has to invent everything. Here it starts from a noised *prototype* and adds
the detail: for a body a clothed figure in the same pose, for a head an average of k other people's, its hair fitted to
the outline. A prototype is made from

- the mask, box, joints of a person, five landmarks of a face, and the guarded edges: where things are, which the
  redraw keeps on purpose,
- the brightness of what surrounds the mask, which the model sees anyway,
- chance, and averages over at least k training pictures.

No pixel under the mask is read. A person whose joints were not found starts from an average of k whole persons fitted
to the mask row by row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from anonymizer.geometry import IntBox, dilate, integer_box, outline_box
from anonymizer.redraw.diffusion import PaintJob
from anonymizer.redraw.figure import draw_figure, random_hair, random_outfit
from anonymizer.redraw.galleries import FaceGallery, PersonGallery, light, put_head, under
from anonymizer.redraw.heads import Head, hair_colour, skin_colour
from anonymizer.redraw.prompts import COLOURS
from anonymizer.redraw.skeleton import skeleton
from anonymizer.types import Instance, Pose

__all__ = ["Prototypes", "usual_landmarks"]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

#: Where a face's five landmarks (eyes, nose, corners of the mouth) lie in its box, as shares: the mean over LFW.
USUAL_LANDMARKS = np.array([[0.30, 0.40], [0.70, 0.40], [0.50, 0.58], [0.34, 0.77], [0.66, 0.77]], np.float32)
#: Width in the picture's pixels from which a face that shows is found: no other is drawn on larger persons than the one
#: that was.
HIDDEN_FACE = 20
#: How much guarded edges darken a person: folds and contours.
FOLDS = 0.35


class Prototypes:
    """Gives paint jobs a start.

    Args:
        faces: Average faces.
        persons: Average persons.
        strength: Per class, the share of the noise schedule the prototype passes through, in (0, 1]. Classes left
            out start from pure noise.
    """

    def __init__(self, faces: FaceGallery, persons: PersonGallery, strength: Mapping[str, float]) -> None:
        self._faces = faces
        self._persons = persons
        self._strength = dict(strength)

    def begin(
        self,
        job: PaintJob,
        instance: Instance,
        face: Instance | None,
        pose: Pose | None,
        window: IntBox,
        clothes: tuple[str, str] | None,
        rng: np.random.Generator,
        wider: int = 0,
        head: Head | None = None,
    ) -> PaintJob:
        """Return the job with a prototype under its mask.

        Args:
            job: One crop to paint.
            instance: What it shows.
            face: The face of a person, if one is known.
            pose: The joints of a person in the picture's pixels, if they are known.
            window: Integer xyxy in the picture that the crop shows.
            clothes: Colour words of a person's upper and lower clothes; None for other classes.
            rng: Source of chance.
            wider: By how many of the crop's pixels the mask is grown, with the prototype going on beyond it.
            head: A person's head, or that of the person whose face this is; None: any.
        """
        strength = self._strength.get(instance.label)
        if strength is None:
            return job
        scale = np.array(job.mask.shape[::-1], np.float32) / (window[2] - window[0], window[3] - window[1])
        corner = np.array(window[:2], np.float32)

        def inside(points: Floats) -> Floats:
            return np.asarray((points.reshape(-1, 2) - corner) * scale, np.float32)

        shape, job = job.mask, replace(job, mask=dilate(job.mask, wider))
        if clothes is not None:
            marks = None if face is None else inside(_landmarks(face))
            box = None if face is None else inside(face.box).ravel()
            joints = None if pose is None else Pose(inside(pose.points), pose.visible)
            chosen = self._faces.any(rng) if head is None else head
            whole = inside(outline_box(instance)).ravel()
            guessed = float(HIDDEN_FACE * scale[0])
            start = self._person(job, shape, whole, box, marks, joints, clothes, chosen, guessed, rng)
        else:
            start = self._faces.draw(job.image, job.mask, inside(_landmarks(instance)), rng, head)
        return replace(job, start=start, strength=strength)

    def head(self, person: Instance, face: Instance | None, rng: np.random.Generator) -> Head:
        """Return the head that a person is to have: drawn by chance, its hair fitted to the outline around the face.

        Args:
            person: Whom it is for.
            face: The person's face, if it is known.
            rng: Source of chance.
        """
        if face is None:
            return self._faces.any(rng)
        x1, y1, *_ = integer_box(person.box)
        return self._faces.fitting(person.outline, _landmarks(face) - np.array([x1, y1], np.float32), rng)

    def _person(
        self,
        job: PaintJob,
        shape: Mask,
        box: Floats,
        face: Floats | None,
        marks: Floats | None,
        pose: Pose | None,
        clothes: tuple[str, str],
        head: Head,
        largest_guess: float,
        rng: np.random.Generator,
    ) -> Image:
        """Return a crop with a person of this shape; boxes, landmarks and joints in the crop's pixels."""
        body = None if pose is None else skeleton(pose, box, face)
        if body is None:
            chosen = int(rng.integers(len(self._persons.persons)))
            content = self._persons.draw(shape, box, face, chosen, clothes)
            content = content * (1 - FOLDS * np.clip(job.edges, 0, 1))[..., None]
        else:
            outfit = random_outfit(rng, COLOURS[clothes[0]][0], COLOURS[clothes[1]][0])
            guess = body.face() if marks is None else None
            if guess is not None and guess[2] - guess[0] < largest_guess:
                marks = usual_landmarks(guess)
            hair = random_hair(rng) if marks is None else hair_colour(head)
            content = draw_figure(shape, body, outfit, skin_colour(head), hair)
        if marks is not None:
            content = put_head(content, marks, head)
        return under(job.image, job.mask, np.asarray(content * np.float32(light(job.image, job.mask)), np.float32))


def _landmarks(face: Instance) -> Floats:
    """Return a face's landmarks, float32 (5, 2) in the picture's pixels, or where they usually lie."""
    return usual_landmarks(face.box) if face.landmarks is None else face.landmarks


def usual_landmarks(box: Floats) -> Floats:
    """Return where the landmarks of a face with this box (4,) xyxy usually lie, float32 (5, 2)."""
    return (box[:2] + USUAL_LANDMARKS * (box[2:] - box[:2])).astype(np.float32)
