"""Redraw every instance: persons from the original, then faces at their own scale, then plates with new text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.blend import blend, feather
from anonymizer.geometry import IntBox, dilate, paste_window, take
from anonymizer.redraw.avatars import cover, pasted
from anonymizer.redraw.crops import (
    Crop,
    crop_box,
    grow_radius,
    paint_region,
    paint_size,
    silhouette,
    treated_mask,
    treated_region,
)
from anonymizer.redraw.diffusion import PaintJob
from anonymizer.redraw.direction import Director
from anonymizer.redraw.heads import Head
from anonymizer.redraw.packing import SharedPainter
from anonymizer.redraw.plates import redraw_plate
from anonymizer.redraw.prompts import prompt, random_clothes
from anonymizer.redraw.prototypes import Prototypes
from anonymizer.redraw.surroundings import Surroundings, describe_surroundings
from anonymizer.types import BODIES, Conditions, Instance, Rendering

__all__ = ["Painter", "Patch", "Redrawer", "compose", "region_patch", "uncovered"]

Done = TypeVar("Done")

#: Prototypes are drawn at up to this many times the model's size, so that what it loses of them can be given back.
FINER = 2.0
#: Sets the chance that decides on heads apart from all other under one seed.
HEAD_DRAW = 1
#: Two cells of the embedded model's latent space in pixels.
BEYOND = 8
#: How the embedded autoencoder softens a picture: like a Gaussian of this many pixels at the model's size.
SOFTENED = 0.8


class Painter(Protocol):
    """Paints crops; see ``diffusion.DiffusionInpainter``."""

    def paint(self, jobs: Sequence[PaintJob]) -> list[NDArray[np.uint8]]:
        """Return the painted crops in the order of the jobs."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """New pixels for one instance.

    Args:
        box: Integer xyxy inside the picture.
        pixels: RGB uint8 (h, w, 3).
        alpha: float32 (h, w) in [0, 1]; above 0 exactly where the picture may change.
        core: float32 (h, w) in [0, 1], where the object itself was painted, if that is less than ``alpha``: the rim
            around it shows background and comes to lie under every object.
    """

    box: IntBox
    pixels: NDArray[np.uint8]
    alpha: NDArray[np.float32]
    core: NDArray[np.float32] | None = None


def region_patch(image: NDArray[np.uint8], instance: Instance) -> Patch:
    """Return a patch over an instance's treated region that holds the pixels of ``image``.

    The rim that the mask grew by is the feather: alpha is 1 wherever the instance itself lies.
    """
    box, mask = treated_region(instance, (image.shape[0], image.shape[1]))
    x1, y1, x2, y2 = box
    height, width = image.shape[:2]
    # The box ends with the mask: show where that is a rim and where only the picture ends.
    pad = ((int(y1 > 0), int(y2 < height)), (int(x1 > 0), int(x2 < width)))
    alpha = feather(np.pad(mask, pad), grow_radius(instance.box) - 1)
    inner = alpha[pad[0][0] : alpha.shape[0] - pad[0][1], pad[1][0] : alpha.shape[1] - pad[1][1]]
    return Patch(box, image[y1:y2, x1:x2], inner)


def compose(image: NDArray[np.uint8], patches: Sequence[Patch]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Lay patches over the original, the first one lowest.

    Given far to near, a nearer instance comes to lie on a farther one: the same as taking the nearer mask away from
    the farther (arXiv 2406.08249, eq. 2), but without a rim of original pixels between the two. Rims that show
    background go under all of them.

    Returns:
        The picture RGB uint8 (H, W, 3), equal to the original outside the patches, and bool (H, W) where it may differ.
    """
    out, treated = image.copy(), np.zeros(image.shape[:2], dtype=bool)
    rims = [(patch, patch.alpha) for patch in patches if patch.core is not None]
    objects = [(patch, patch.alpha if patch.core is None else patch.core) for patch in patches]
    for patch, alpha in (*rims, *objects):
        x1, y1, x2, y2 = patch.box
        out[y1:y2, x1:x2] = blend(out[y1:y2, x1:x2], patch.pixels, alpha)
        treated[y1:y2, x1:x2] |= alpha > 0
    return out, treated


def uncovered(patch: Patch, over: Sequence[Patch], image: NDArray[np.uint8]) -> Patch:
    """Return a patch with the pixels of ``image`` wherever one of ``over`` covers the original wholly.

    Args:
        patch: What would be laid there otherwise.
        over: Patches that are already part of ``image``.
        image: RGB uint8 (H, W, 3).
    """
    x1, y1, x2, y2 = patch.box
    size = y2 - y1, x2 - x1
    covered = np.zeros(size, np.bool_)
    for other in over:
        left, top, right, bottom = other.box
        inside, local = paste_window((left - x1, top - y1, right - x1, bottom - y1), size)
        covered[inside] |= other.alpha[local] == 1
    return replace(patch, pixels=np.where(covered[..., None], image[y1:y2, x1:x2], patch.pixels))


class Redrawer:
    """Turns instances into patches.

    Args:
        painter: Paints crops.
        crops: How crops are cut, by class.
        prototypes: What denoising starts from, or None to start from pure noise.
        director: Words, guidance and strengths for a large model, or None for the embedded model's few words.
        avatar_strength: Share of the noise schedule that an avatar passes through, in (0, 1].
    """

    def __init__(
        self,
        painter: Painter,
        crops: Mapping[str, Crop],
        prototypes: Prototypes | None = None,
        director: Director | None = None,
        avatar_strength: float = 0.0,
    ) -> None:
        self._painter = SharedPainter(painter)
        self._crops = dict(crops)
        self._prototypes = prototypes
        self._director = director
        self._avatar_strength = avatar_strength

    @property
    def outlines(self) -> bool:
        """Whether persons and vehicles are painted within their outlines, onto a cleaned picture.

        So it is where painting starts from prototypes: a small model does not invent the background beside a person.
        """
        return self._prototypes is not None

    def together(self, tasks: Sequence[Callable[[], Done]]) -> list[Done | Exception]:
        """Run tasks that call ``redraw`` so that their crops share batches; see ``packing.SharedPainter``."""
        return self._painter.together(tasks)

    def redraw(
        self,
        image: NDArray[np.uint8],
        instances: Sequence[Instance],
        conditions: Conditions,
        seeds: Mapping[int, int],
        texts: Mapping[int, tuple[str, ...]],
        under: Sequence[Patch] = (),
        clean: NDArray[np.uint8] | None = None,
        renderings: Mapping[int, Rendering] | None = None,
    ) -> dict[int, Patch]:
        """Return a patch per instance, by id.

        Persons and vehicles are painted from the original. Faces are painted and plates drawn on top of what is already
        redrawn, so that a new face meets its new body and never the old hair.

        Args:
            image: The original, RGB uint8 (H, W, 3).
            instances: What to redraw, far to near.
            conditions: Guarded depth and edges of the picture, and poses of persons.
            seeds: Seed by instance id.
            texts: What OCR read on plates and signs, by instance id; kept out of the result, only its layout is used.
            under: Patches that lie under faces and plates besides those made here, far to near.
            clean: The picture with every treated region filled from around it, RGB uint8 (H, W, 3), to paint
                persons and vehicles onto within their outlines; None: they fill all that is treated.
            renderings: Avatars by person; those whose persons are painted here have the face that was rendered.
        """
        bodies = [i for i in instances if i.label in BODIES]
        faces = {i.parent: i for i in instances if i.label == "face" and i.parent is not None}
        around = describe_surroundings(image, instances) if self._director else None
        avatars = renderings or {}
        below = image if clean is None or not bodies else clean
        heads = self._heads([i for i in bodies if i.id not in avatars], faces, seeds)
        patches = self._paint(below, bodies, conditions, seeds, faces, heads, around, clean is not None, avatars)
        laid = [*under, *(patches[i.id] for i in bodies)]
        rendered = [i for i in instances if i.label == "face" and i.parent in avatars]
        if rendered and clean is not None:
            # Nothing of the original lies under them: what the avatar leaves free of a face is the fill.
            filled, _ = compose(clean, laid)
            patches |= {i.id: region_patch(filled, i) for i in rendered}
        base, _ = compose(image, laid)
        small = [i for i in instances if i.label not in BODIES and i.id not in patches]
        own = {i.id: heads[i.parent] for i in small if i.label == "face" and i.parent in heads}
        painted = [i for i in small if i.label != "license_plate"]
        patches |= self._paint(base, painted, conditions, seeds, {}, own, around, False, {})
        read = tuple(line for lines in texts.values() for line in lines)
        hidden = treated_mask(small, (image.shape[0], image.shape[1]))
        for plate in (i for i in small if i.label == "license_plate"):
            rng = np.random.default_rng(seeds[plate.id])
            pixels = redraw_plate(image, plate, texts.get(plate.id, ()), rng, read, base, hidden)
            patches[plate.id] = replace(region_patch(base, plate), pixels=pixels)
        return patches

    def _heads(
        self, bodies: Sequence[Instance], faces: Mapping[int, Instance], seeds: Mapping[int, int]
    ) -> dict[int, Head]:
        """Return each person's new head, by id; the face painted on it later shows the same one."""
        if self._prototypes is None:
            return {}
        return {
            i.id: self._prototypes.head(i, faces.get(i.id), np.random.default_rng((seeds[i.id], HEAD_DRAW)))
            for i in bodies
            if i.label == "person"
        }

    def _paint(
        self,
        image: NDArray[np.uint8],
        instances: Sequence[Instance],
        conditions: Conditions,
        seeds: Mapping[int, int],
        faces: Mapping[int, Instance],
        heads: Mapping[int, Head],
        around: Surroundings | None,
        outlined: bool,
        avatars: Mapping[int, Rendering],
    ) -> dict[int, Patch]:
        whole = image.shape[0], image.shape[1]
        windows = [crop_box(i.box, self._crops[i.label], whole) for i in instances]

        def shape(instance: Instance) -> NDArray[np.float32]:
            drawn = avatars.get(instance.id)
            return silhouette(instance, whole) if drawn is None else cover(instance, drawn, whole)

        cores = [shape(i) if outlined else None for i in instances]
        jobs = [
            self._job(image, i, window, conditions, seeds[i.id], faces.get(i.id), heads.get(i.id), around, core, avatar)
            for i, window, core in zip(instances, windows, cores, strict=True)
            for avatar in [avatars.get(i.id)]
        ]
        out = {}
        made = self._painter.paint([job for job, _ in jobs])
        for instance, window, core, painted, (_, detail) in zip(instances, windows, cores, made, jobs, strict=True):
            empty = region_patch(image, instance)
            size = window[2] - window[0], window[3] - window[1]
            full = _resize(painted, size)
            if detail is not None:
                full = np.clip(np.rint(full + _resize(detail, size)), 0, 255).astype(np.uint8)
            x1, y1, x2, y2 = empty.box
            pixels = full[y1 - window[1] : y2 - window[1], x1 - window[0] : x2 - window[0]]
            mixed = np.ascontiguousarray(pixels) if core is None else blend(empty.pixels, pixels, core)
            out[instance.id] = replace(empty, pixels=mixed, core=core)
        return out

    def _job(
        self,
        image: NDArray[np.uint8],
        instance: Instance,
        window: IntBox,
        conditions: Conditions,
        seed: int,
        face: Instance | None,
        head: Head | None,
        around: Surroundings | None,
        core: NDArray[np.float32] | None,
        avatar: Rendering | None,
    ) -> tuple[PaintJob, NDArray[np.float32] | None]:
        """Return a crop to paint, and what the model will lose of its prototype, float32 (h, w, 3), if it has one."""
        setting = self._crops[instance.label]
        size, whole = paint_size(window, setting), (image.shape[0], image.shape[1])
        frame = paint_region(instance, window, whole, setting, core).astype(np.uint8)
        rng = np.random.default_rng(seed)
        clothes = random_clothes(rng) if instance.label == "person" else None

        def view(size: tuple[int, int]) -> PaintJob:
            return PaintJob(
                image=_resize(take(image, window), size),
                mask=_any(frame, size),
                depth=np.clip(_resize(take(conditions.depth, window), size), 0, 1),
                edges=np.clip(_resize(take(conditions.edges, window), size), 0, 1),
                prompt=prompt(instance.label, *(clothes or ())),
                seed=seed,
            )

        job = view(size)
        if self._director is not None and around is not None:
            job = self._director.direct(job, instance, face, around, whole, clothes)
        if self._prototypes is None:
            return job, None
        times = min(FINER, max(frame.shape[0] / size[1], 1.0))
        finer = view((round(times * size[0]), round(times * size[1]))) if times > 1 else job
        # The model mixes what lies on both sides of a mask's border, in cells of its latent space: an object that is
        # painted within its outline goes on beyond it, and only the part inside is used.
        wider = round(times * BEYOND) if core is not None else 0
        if avatar is None:
            pose = conditions.poses.get(instance.id)
            begun = self._prototypes.begin(finer, instance, face, pose, window, clothes, rng, wider, head)
        else:
            shown = _resize(pasted(take(image, window), window, avatar), (finer.image.shape[1], finer.image.shape[0]))
            grown = dilate(finer.mask, wider)
            begun = replace(finer, mask=grown, start=shown, strength=self._avatar_strength)
        if begun.start is None:
            return job, None
        mask = _any(begun.mask.astype(np.uint8), size)
        start = job.image.copy()
        start[mask] = _resize(begun.start, size)[mask]
        detail = lost(begun.start, begun.mask, start, mask)
        return replace(job, mask=mask, start=start, strength=begun.strength), detail


def _any(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Resize a mask (h, w) of 0 and 1 to ``size`` (width, height).

    Any share of a pixel under the mask is painted: nothing of the original may seep in at the rim.
    """
    method = cv2.INTER_AREA if frame.shape[0] > size[1] else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(frame, size, interpolation=method) > 0)


def lost(
    finer: NDArray[np.uint8], finer_mask: NDArray[np.bool_], start: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return what a model's autoencoder and its size lose of a prototype, float32 (H, W, 3), to add to what it painted.

    Nothing outside of the masks is read: what lies there may be an original that is still to be treated.

    Args:
        finer: A crop with the prototype under the mask, RGB uint8 (H, W, 3).
        finer_mask: bool (H, W); beyond it nothing is lost.
        start: The same at the model's size, RGB uint8 (h, w, 3).
        mask: bool (h, w).
    """
    size = finer.shape[1], finer.shape[0]
    weighted = np.dstack([start, np.ones(mask.shape, np.uint8)]).astype(np.float32) * mask[..., None]
    kept = cv2.resize(cv2.GaussianBlur(weighted, (0, 0), SOFTENED), size, interpolation=cv2.INTER_LINEAR)
    detail = finer - kept[..., :3] / np.maximum(kept[..., 3:], np.float32(1e-6))
    return np.where(finer_mask[..., None] & (kept[..., 3:] > 0), detail, np.float32(0)).astype(np.float32)


def _resize(array: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize (h, w) or (h, w, 3) to ``size`` (width, height), without aliasing when it shrinks."""
    shrinks = array.shape[0] > size[1]
    return np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC))
