"""Redraw of every instance: persons on the filled picture, then faces at their own scale, then plates with new text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import IntBox, blend, dilate, feather, integer_box, mask_box, take
from anonymizer.core.records import BODIES, Conditions, Instance, Rendering
from anonymizer.redraw.avatars import pasted, shape_of
from anonymizer.redraw.batching import SharedInpainter
from anonymizer.redraw.crops import (
    Crop,
    anonymized_region,
    crop_box,
    paint_region,
    paint_size,
    safe_radius,
)
from anonymizer.redraw.diffusion import InpaintJob
from anonymizer.redraw.direction import Director
from anonymizer.redraw.plates import redraw_plate
from anonymizer.redraw.prompts import prompt, random_clothes
from anonymizer.redraw.prototypes import FaceBank
from anonymizer.redraw.surroundings import Surroundings, describe_surroundings

__all__ = ["AvatarPainting", "Inpainter", "Patch", "Redrawer", "changed", "compose", "region_patch"]

Done = TypeVar("Done")

#: How the embedded autoencoder softens a picture: like a Gaussian of this many pixels at the model's size.
SOFTENED = 0.8
#: Width of the Gaussian, as a share of a crop's height, over which brightness stays that of a rendering: half a head.
WIDE = 0.035
#: Pixels to a metre of the body at the model's size up to which what it changed counts fully: people seen whole, whom
#: it was trained on, have 100 or 200. Nearer ones it stains: folds and features of that size it has never seen.
KNOWN = 200.0
#: Steepness in levels a pixel of a rendering from which what the model changed there counts fully, the blur in pixels
#: at which it is measured, and how far it counts where nothing is: on plain skin and cloth it makes clouds.
STEEP, AROUND, PLAIN = 3.0, 2.0, 0.35
#: Sets the chance that decides on grain apart from all other under one seed.
GRAIN_DRAW = 4
#: Standard deviation in pixels of the blur of grain: a camera's noise has passed through demosaicing and JPEG.
GRAIN_BLUR = 0.5


class Inpainter(Protocol):
    """Paints crops; see ``diffusion.DiffusionInpainter``."""

    def inpaint(self, jobs: Sequence[InpaintJob]) -> list[NDArray[np.uint8]]:
        """Return the painted crops in the order of the jobs."""
        ...


@dataclass(frozen=True, slots=True)
class AvatarPainting:
    """Painting of avatars: what it starts from, and what of it counts.

    Args:
        start: ``rendering``, noised as far as ``strength`` says, or ``noise``, held to the avatar's depth and edges.
        shading: Whether of what the model makes of a rendering only fine shading is laid over it, see ``changed``;
            else the model's pixels show where the avatar is.
        beyond: Pixels at the model's size by which more than the avatar is painted: two cells of its latent space.
    """

    start: str = "rendering"
    shading: bool = True
    beyond: int = 8


#: How the embedded model paints avatars.
EMBEDDED = AvatarPainting()


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """New pixels for one instance.

    Args:
        box: Integer xyxy inside the picture.
        pixels: RGB uint8 (h, w, 3).
        alpha: float32 (h, w) in [0, 1]; above 0 exactly where the picture may change.
    """

    box: IntBox
    pixels: NDArray[np.uint8]
    alpha: NDArray[np.float32]


def region_patch(image: NDArray[np.uint8], instance: Instance) -> Patch:
    """Return a patch over an instance's treated region that holds the pixels of ``image``.

    The rim that the mask grew by is the feather: alpha is 1 wherever the instance itself lies.
    """
    box, mask = anonymized_region(instance, (image.shape[0], image.shape[1]))
    x1, y1, x2, y2 = box
    height, width = image.shape[:2]
    # The box ends with the mask: show where that is a rim and where only the picture ends.
    pad = ((int(y1 > 0), int(y2 < height)), (int(x1 > 0), int(x2 < width)))
    alpha = feather(np.pad(mask, pad), safe_radius(instance) - 1)
    inner = alpha[pad[0][0] : alpha.shape[0] - pad[0][1], pad[1][0] : alpha.shape[1] - pad[1][1]]
    # At corners a mask grows less than at its sides, and the rim would reach into the instance.
    left, top, right, bottom = integer_box(instance.box)
    inner[top - y1 : bottom - y1, left - x1 : right - x1][instance.mask] = 1
    return Patch(box, image[y1:y2, x1:x2], inner)


def compose(image: NDArray[np.uint8], patches: Sequence[Patch]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Lay patches over a picture, the first one lowest.

    Given far to near, a nearer instance comes to lie on a farther one: the same as taking the nearer mask away from
    the farther (arXiv 2406.08249, eq. 2), but without a rim of original pixels between the two.

    Returns:
        The picture RGB uint8 (H, W, 3), equal to the given one outside the patches, and bool (H, W) where it may
        differ.
    """
    out, treated = image.copy(), np.zeros(image.shape[:2], dtype=bool)
    for patch in patches:
        x1, y1, x2, y2 = patch.box
        out[y1:y2, x1:x2] = blend(out[y1:y2, x1:x2], patch.pixels, patch.alpha)
        treated[y1:y2, x1:x2] |= patch.alpha > 0
    return out, treated


class Redrawer:
    """Turns instances into patches.

    Args:
        inpainter: Paints crops.
        crops: How crops are cut, by class.
        faces: Average faces that faces start from, or None to start from pure noise.
        strength: Share of the noise schedule that a start passes through, in (0, 1], of avatars (``person``) and
            average faces (``face``).
        director: Words, guidance and strengths for a large model, or None for the embedded model's few words.
        avatars: How avatars are painted.
    """

    def __init__(
        self,
        inpainter: Inpainter,
        crops: Mapping[str, Crop],
        faces: FaceBank | None = None,
        strength: Mapping[str, float] | None = None,
        director: Director | None = None,
        avatars: AvatarPainting = EMBEDDED,
    ) -> None:
        self._inpainter = SharedInpainter(inpainter)
        self._crops = dict(crops)
        self._faces = faces
        self._strength = dict(strength or {})
        self._director = director
        self._avatars = avatars

    def together(self, tasks: Sequence[Callable[[], Done]]) -> list[Done | Exception]:
        """Run tasks that call ``redraw`` so that their crops share batches; see ``packing.SharedInpainter``."""
        return self._inpainter.together(tasks)

    def redraw(
        self,
        image: NDArray[np.uint8],
        scene: NDArray[np.uint8],
        instances: Sequence[Instance],
        conditions: Conditions,
        seeds: Mapping[int, int],
        texts: Mapping[int, tuple[str, ...]],
        under: Sequence[Patch] = (),
        renderings: Mapping[int, Rendering] | None = None,
    ) -> dict[int, Patch]:
        """Return a patch per instance, by id; none for faces that an avatar carries.

        Persons and vehicles are painted on the filled picture. Faces are painted and plates drawn on top of what is
        already redrawn, so that a new face meets its new body and never the old hair.

        Args:
            image: The original, RGB uint8 (H, W, 3), other hidden things filled: plates take their colours and
                sharpness from it.
            scene: The same with everything anonymized filled.
            instances: What to redraw as it was found, far to near.
            conditions: Guarded depth and edges of the picture.
            seeds: Seed by instance id.
            texts: What OCR read on plates and signs, by instance id; kept out of the result, only its layout is used.
            under: Patches of persons and vehicles besides those made here, far to near.
            renderings: Avatars by person.
        """
        avatars = renderings or {}
        bodies = [i for i in instances if i.label in BODIES]
        faces = {i.parent: i for i in instances if i.label == "face" and i.parent is not None}
        around = describe_surroundings(scene, instances) if self._director else None
        patches = self._paint(scene, bodies, conditions, seeds, faces, around, avatars)
        base, _ = compose(scene, [*under, *(patches[i.id] for i in bodies)])
        small = [i for i in instances if i.label not in BODIES and not (i.label == "face" and i.parent in avatars)]
        painted = [i for i in small if i.label != "license_plate"]
        patches |= self._paint(base, painted, conditions, seeds, {}, around, {})
        read = tuple(line for lines in texts.values() for line in lines)
        for plate in (i for i in small if i.label == "license_plate"):
            rng = np.random.default_rng(seeds[plate.id])
            pixels = redraw_plate(image, plate, texts.get(plate.id, ()), rng, base, read)
            patches[plate.id] = replace(region_patch(base, plate), pixels=pixels)
        return patches

    def _paint(
        self,
        image: NDArray[np.uint8],
        instances: Sequence[Instance],
        conditions: Conditions,
        seeds: Mapping[int, int],
        faces: Mapping[int, Instance],
        around: Surroundings | None,
        avatars: Mapping[int, Rendering],
    ) -> dict[int, Patch]:
        whole = image.shape[0], image.shape[1]
        empty = {i.id: _empty(image, i, avatars.get(i.id)) for i in instances}
        boxes = [np.array(empty[i.id].box, np.float32) if i.id in avatars else i.box for i in instances]
        windows = [crop_box(box, self._crops[i.label], whole) for i, box in zip(instances, boxes, strict=True)]
        jobs = [
            self._job(image, i, window, conditions, seeds[i.id], faces.get(i.id), around, avatars.get(i.id))
            for i, window in zip(instances, windows, strict=True)
        ]
        out = {}
        for instance, window, job, painted in zip(instances, windows, jobs, self._inpainter.inpaint(jobs), strict=True):
            size = window[2] - window[0], window[3] - window[1]
            drawn = avatars.get(instance.id)
            if drawn is None or not self._avatars.shading:
                full = _resize(painted, size)
            else:
                crop = pasted(take(image, window), window, drawn, hard=True)
                full = changed(crop, job.image, painted, job.mask, drawn.scale)
            patch = empty[instance.id]
            x1, y1, x2, y2 = patch.box
            pixels = np.ascontiguousarray(full[y1 - window[1] : y2 - window[1], x1 - window[0] : x2 - window[0]])
            if drawn is not None:
                pixels = _grained(pixels, drawn.grain, np.random.default_rng((seeds[instance.id], GRAIN_DRAW)))
            out[instance.id] = replace(patch, pixels=pixels)
        return out

    def _job(
        self,
        image: NDArray[np.uint8],
        instance: Instance,
        window: IntBox,
        conditions: Conditions,
        seed: int,
        face: Instance | None,
        around: Surroundings | None,
        avatar: Rendering | None,
    ) -> InpaintJob:
        """Return a crop to paint."""
        setting = self._crops[instance.label]
        size, whole = paint_size(window, setting), (image.shape[0], image.shape[1])
        crop = take(image, window)
        if avatar is None:
            mask = _any(paint_region(instance, window, whole, setting).astype(np.uint8), size)
        else:
            crop = pasted(crop, window, avatar, hard=True)
            # The model mixes what lies on both sides of a mask's border, in cells of its latent space: it paints a
            # little beyond the avatar, and only the part inside is used.
            mask = dilate(_any(shape_of(avatar, window), size), self._avatars.beyond)
        rng = np.random.default_rng(seed)
        clothes = random_clothes(rng) if instance.label == "person" and avatar is None else None
        job = InpaintJob(
            image=_resize(crop, size),
            mask=mask,
            depth=np.clip(_resize(take(conditions.depth, window), size), 0, 1),
            edges=np.clip(_resize(take(conditions.edges, window), size), 0, 1),
            prompt=prompt(instance.label, *(clothes or ())),
            seed=seed,
        )
        if self._director is not None and around is not None:
            job = self._director.direct(job, instance, face, around, whole, clothes, avatar.words if avatar else ())
        if avatar is not None and self._avatars.start == "rendering":
            return replace(job, start=job.image, strength=self._strength["person"])
        if avatar is None and instance.label == "face" and self._faces is not None:
            return self._faces.begin(job, instance, window, rng, self._strength["face"])
        return job


def _empty(image: NDArray[np.uint8], instance: Instance, avatar: Rendering | None) -> Patch:
    """Return an instance's patch before anything is painted: where the avatar shows, or the safe mask."""
    tight = None if avatar is None else mask_box(avatar.alpha > 0)
    if avatar is None or tight is None:
        return region_patch(image, instance)
    left, top = avatar.box[:2]
    x1, y1, x2, y2 = tight
    box = left + x1, top + y1, left + x2, top + y2
    return Patch(box, image[box[1] : box[3], box[0] : box[2]], avatar.alpha[y1:y2, x1:x2])


def changed(
    drawn: NDArray[np.uint8],
    start: NDArray[np.uint8],
    painted: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    scale: float = 0.0,
) -> NDArray[np.uint8]:
    """Return a rendering with what the model changed in it: at the model's size, an eye is a few pixels.

    What it changed in brightness is folds and features; colours, and brightness over wide parts, stay those of the
    rendering: it is lit like the scene, and the model greys what is coloured and blotches what is plain. So it counts
    where the rendering has features or folds, and little between them; and less the nearer somebody stands.

    Args:
        drawn: A crop with an avatar at the picture's size, RGB uint8 (H, W, 3).
        start: The same at the model's size, RGB uint8 (h, w, 3).
        painted: What the model made of that, RGB uint8 (h, w, 3).
        mask: bool (h, w), what it painted.
        scale: Pixels of ``drawn`` to a metre of the avatar; 0 where unknown.
    """
    inside = mask.astype(np.float32)
    soft = cv2.GaussianBlur(start, (0, 0), SOFTENED)
    change = (painted.astype(np.float32) - soft).mean(axis=2) * inside
    # Magnified, what is fine at the model's size is wide in the picture: stains on plain cloth.
    larger = drawn.shape[0] / mask.shape[0]
    sigma = WIDE * mask.shape[0] / max(larger, 1.0)
    wide = cv2.GaussianBlur(np.dstack([change, inside]), (0, 0), sigma)
    fine = change - wide[..., 0] / np.maximum(wide[..., 1], np.float32(1e-6)) * inside
    grey = soft.mean(axis=2, dtype=np.float32)
    x, y = (cv2.Sobel(grey, cv2.CV_32F, *way, ksize=3) / 8 for way in ((1, 0), (0, 1)))
    steep = cv2.GaussianBlur(cv2.magnitude(x, y), (0, 0), AROUND)
    near = min(1.0, KNOWN * larger / scale) ** 2 if scale else 1.0
    fine *= np.float32(near) * np.clip(steep / STEEP, PLAIN, 1)
    full = _resize(fine, (drawn.shape[1], drawn.shape[0]))[..., None]
    return np.clip(np.rint(drawn + full), 0, 255).astype(np.uint8)


def _grained(pixels: NDArray[np.uint8], grain: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return pixels RGB uint8 (h, w, 3) with grey noise of a standard deviation in [0, 1] of the range."""
    noise = cv2.GaussianBlur(rng.standard_normal(pixels.shape[:2]).astype(np.float32), (0, 0), GRAIN_BLUR)
    noise *= 255 * grain / max(float(noise.std()), 1e-6)
    return np.clip(np.rint(pixels + noise[..., None]), 0, 255).astype(np.uint8)


def _any(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Resize a mask (h, w) of 0 and 1 to ``size`` (width, height).

    Any share of a pixel under the mask is painted: nothing of the original may seep in at the rim.
    """
    method = cv2.INTER_AREA if frame.shape[0] > size[1] else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(frame, size, interpolation=method) > 0)


def _resize(array: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize (h, w) or (h, w, 3) to ``size`` (width, height), without aliasing when it shrinks."""
    shrinks = array.shape[0] > size[1]
    return np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC))
