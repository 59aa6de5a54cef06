"""Artist: one person of a picture to a rendering of somebody else in the same place and pose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.appearance import EVERYBODY, Appearance, Population, draw_appearance, helmeted, seated
from anonymizer.avatar.bicycle import bicycle_paint, draw_bicycle
from anonymizer.avatar.body import Body, Shape, once, owners, skin
from anonymizer.avatar.cloth import Place, cloth_paint, press
from anonymizer.avatar.faces import Faces, face_part, places
from anonymizer.avatar.fit import Fit, Fitter, placed
from anonymizer.avatar.garment import Garment
from anonymizer.avatar.hair import HAIR, Scalp, rounded, skull
from anonymizer.avatar.hands import free_hands
from anonymizer.avatar.light import (
    GAMMA,
    Scene,
    crisp,
    developed,
    estimate_light,
    exposed,
    look,
    noise_level,
)
from anonymizer.avatar.mesh import normals
from anonymizer.avatar.noise import JointNoise
from anonymizer.avatar.paint import bumped, embossed, hair_paint, skin_paint
from anonymizer.avatar.prior import PosePrior
from anonymizer.avatar.render import Camera, Hits, Light, Mesh, Tracer, averaged, reflected
from anonymizer.avatar.riding import Mounted
from anonymizer.avatar.shadow import Foot, cast
from anonymizer.avatar.stature import children
from anonymizer.avatar.tailor import Measures
from anonymizer.avatar.wardrobe import dress
from anonymizer.avatar.words import describe
from anonymizer.core.geometry import IntBox, integer_box, paste_window
from anonymizer.core.records import Instance, Rendering

__all__ = ["AvatarArtist"]

Floats = NDArray[np.float32]

#: Height in pixels below which the coarse mesh is as good, and up to which each pixel gets 2 by 2 rays.
SMALL, FINE = 120, 280
#: Pixels of larger pictures get one ray each, but those with hair, an outline or a step of brightness this high: these
#: get 3 by 3, or 2 by 2 from so many pixels a metre on, as a strand is wider than a pixel there.
STEEP, DENSE, NEAR = 0.08, (3, 2), 1000.0
#: Longer side in pixels from which an avatar is rendered smaller and enlarged: bounds time and memory.
LARGEST = 1200
#: Rays of ambient occlusion per hit that is asked: with 2 their noise left stains on cloth, a third as strong with 12.
RAYS = 12
#: Height of a thigh's direction from which somebody sits, crouches or climbs: 35 degrees and more from straight down.
RAISED = -0.82
#: Height in metres of somebody whose height in pixels is given.
UPRIGHT = 1.7
#: Smallest height of a box that is rendered.
LEAST = 24
#: Number of the foot among the parts of the body.
FOOT = 9
#: Pixels around the body, and room for shadows beside its feet and before them, in metres.
PAD, SHADOWED = 3, (0.35, 0.25)
#: A joint deeper than this below the visible surface, in metres, is hidden by something else.
DEEP = 0.16
#: Least proportion of a face that looks towards the camera where there is one: in profile it is a half.
LEAST_FACE = 0.3
#: How far boxes that detectors draw around a face reach above and below the part of it that has a face's texture, in
#: heights of that: medians of 40 faces of avatars.
FACE_MORE = (0.15, 0.05)
#: How far light on hair is that of all hair of a head.
TRANSLUCENT = np.float32(0.6)
#: Share of the picture's height from which somebody is what it is of, and greatest blur of them in pixels.
LARGE, FOCUSED = 0.75, 1.0
#: Depth step in metres and step of brightness that are full edges.
EDGE_DEPTH, EDGE_LIGHT = 0.12, 0.5
#: Standard deviation in pixels of the blur that the rays of a pixel are averaged over, and the limits of what is added
#: to make a rendering as soft as its picture.
SAMPLED, SOFT = 0.35, (0.3, 2.0)


@dataclass(frozen=True, slots=True, eq=False)
class Coat:
    """Paint where N rays meet surfaces.

    Args:
        colours: float32 (N, 3).
        normals: float32 (N, 3), with relief.
        part: uint8 (N,), parts of the body.
        skin: float32 (N,), 1 on skin.
    """

    colours: Floats
    normals: Floats
    part: NDArray[np.uint8]
    skin: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Posed:
    """A dressed body in its pose: garments beside their vertices, the body's faces that show, and what it rides."""

    vertices: Floats
    faces: NDArray[np.int32]
    garments: tuple[tuple[Garment, Floats], ...]
    mounted: Mounted | None

    @property
    def points(self) -> Floats:
        """All vertices, float32 (N, 3)."""
        ridden = () if self.mounted is None else (self.mounted.vertices,)
        return np.concatenate((self.vertices, *(points for _, points in self.garments), *ridden))


class AvatarArtist:
    """Draws avatars.

    Args:
        body: The embedded body, ``weights.path("body")``.
        faces: The embedded average faces.
        poses: The embedded pose prior, ``weights.path("poses")``.
        joint_noise: Epsilon of the noise on joints, see ``noise.JointNoise``; None: none.
        pose_bank: Whether each pose is the nearest of the prior's bank.
        population: Who avatars are drawn from.

    Raises:
        ModelError: A file holds something else.
        InputError: An epsilon that is not above 0.
    """

    def __init__(
        self,
        body: Path,
        faces: Path,
        poses: Path,
        joint_noise: float | None = None,
        pose_bank: bool = False,
        population: Population = EVERYBODY,
    ) -> None:
        self._fine, self._coarse = Body.load(body)
        self._faces = Faces.load(faces)
        self._population = population
        noise = None if joint_noise is None else JointNoise(joint_noise)
        self._fitter = Fitter(self._coarse, PosePrior.load(poses), noise, pose_bank)

    def look(
        self,
        image: NDArray[np.uint8],
        hidden: NDArray[np.bool_],
        persons: Sequence[Instance],
        horizon: float,
        drawn: set[str] | None = None,
    ) -> tuple[Scene, NDArray[np.bool_], set[str], frozenset[int]]:
        """Return light, perspective and sharpness of a picture, what is not read of it, who was drawn in it, children.

        See ``light.look`` and ``stature.children``.

        Args:
            image: RGB uint8 (H, W, 3) with everything anonymized filled.
            hidden: bool (H, W), what was filled.
            persons: The picture's persons.
            horizon: Row of the horizon in pixels.
            drawn: Marks (``Appearance.marks``) of those who were drawn in the picture so far; whoever is drawn adds
                theirs. None: nobody was.
        """
        young = children(persons, (image.shape[0], image.shape[1]), horizon)
        return look(image, hidden, persons, horizon), hidden, set() if drawn is None else drawn, young

    def begin(
        self,
        image: NDArray[np.uint8],
        person: Instance,
        rng: np.random.Generator,
        face: Instance | None = None,
        scene: tuple[Scene, NDArray[np.bool_], set[str], frozenset[int]] | None = None,
        rides: str | None = None,
        ridden: Floats | None = None,
    ) -> Callable[[], Rendering | None] | None:
        """Return what renders somebody else, or None where too little of the person was seen to pose a body.

        Who it is is decided now, by whom the scene knows; the rendering, to be called once, may run in any thread.

        Args:
            image: RGB uint8 (H, W, 3) with everything anonymized filled: it gives the light.
            person: Whose place is taken, with its ``body``.
            rng: Source of all that the rendering does not take from the person's pose.
            face: The person's face, if it was found: it gives place and size of the head.
            scene: What ``look`` returned for the picture; None: it is looked at now, with this person's box alone
                hidden and the horizon in the middle. Who is begun is added to it, and nobody is drawn twice.
            rides: ``bicycle`` or ``motorcycle``, if the person rides one: some wear helmets.
            ridden: float32 (4,) xyxy, the box of a bicycle that is gone with the person: another is drawn. None: what
                is ridden stays in the picture.
        """
        size = image.shape[0], image.shape[1]
        height = float(person.box[3] - person.box[1])
        if height < LEAST:
            return None
        body = self._coarse if height < SMALL else self._fine
        if scene is None:
            rows, columns = paste_window(integer_box(person.box), size)[0]
            covered = np.zeros(size, np.bool_)
            covered[rows, columns] = True
            scene = self.look(image, covered, [person], size[0] / 2)
        _, _, taken, young = scene
        # Who is linked looks the same whoever else is in the picture.
        others = taken if person.link is None else ()
        outer = draw_appearance(self._faces, rng, others, person.id in young, self._population)
        if rides is not None:
            outer = helmeted(outer, rides, rng)
        shape = body.rest(outer.phenotype)
        coarse = shape if body is self._coarse else self._coarse.rest(outer.phenotype)
        if ridden is not None:
            bicycle = draw_bicycle(rng)
            on = self._fitter.ride(person, coarse, size, rng, face, bicycle, ridden, scene[0].pitch)
            if on is not None:
                return self._begun(image, body, shape, outer, on[0], scene, rng, on[1])
        pose = self._fitter.fit(person, coarse, size, rng, face)
        return None if pose is None else self._begun(image, body, shape, outer, pose, scene, rng)

    def stand(
        self,
        image: NDArray[np.uint8],
        stance: int,
        foot: tuple[float, float],
        height: float,
        rng: np.random.Generator,
        scene: tuple[Scene, NDArray[np.bool_], set[str], frozenset[int]],
        turn: float = 0.0,
    ) -> Rendering | None:
        """Return a rendering of somebody at a place of one's own choosing: for scenes that are rendered as a whole.

        Args:
            image: RGB uint8 (H, W, 3): it gives the light.
            stance: Number of a stance of the pose prior.
            foot: x, y in pixels, where the lower foot stands.
            height: Height of a person of 1.7 m in pixels.
            rng: Source of all else.
            scene: What ``look`` returned for the picture.
            turn: Angle in radians by which the person turns to their left from facing the camera.
        """
        body = self._coarse if height < SMALL else self._fine
        outer = draw_appearance(self._faces, rng, scene[2], False, self._population)
        shape = body.rest(outer.phenotype)
        pose = placed(self._fitter.stance(stance, turn), body, shape, foot, height / UPRIGHT)
        return self._begun(image, body, shape, outer, pose, scene, rng)()

    def _begun(
        self,
        image: NDArray[np.uint8],
        body: Body,
        shape: Shape,
        outer: Appearance,
        pose: Fit,
        scene: tuple[Scene, NDArray[np.bool_], set[str], frozenset[int]],
        rng: np.random.Generator,
        mounted: Mounted | None = None,
    ) -> Callable[[], Rendering | None]:
        """Return what renders a posed body, who is now known to the scene."""
        if _sits(body, shape, pose):
            outer = seated(outer, rng)
        scene[2].update(outer.marks)
        return partial(self._drawn, image, body, shape, outer, pose, scene, rng, mounted)

    def _drawn(
        self,
        image: NDArray[np.uint8],
        body: Body,
        shape: Shape,
        outer: Appearance,
        pose: Fit,
        scene: tuple[Scene, NDArray[np.bool_], set[str], frozenset[int]],
        rng: np.random.Generator,
        mounted: Mounted | None,
    ) -> Rendering | None:
        """Return the rendering of a posed body, None where nothing of it lies in the picture."""
        size = image.shape[0], image.shape[1]
        around, hidden, _, _ = scene
        measures = Measures.of(body, shape)
        pose, posed = _dressed(body, shape, measures, outer, pose, rng, mounted)
        box = _frame(posed, pose, size)
        if box is None:
            return None
        light = estimate_light(around, box, rng)
        share = min(1.0, LARGEST / max(box[2] - box[0], box[3] - box[1]))
        corner = np.array(box[:2], np.float32)
        # Rendered in the frame of its box, smaller where that is huge.
        inner = replace(pose, scale=pose.scale * share, shift=(pose.shift - corner) * np.float32(share))
        frame = 0, 0, max(round((box[2] - box[0]) * share), 1), max(round((box[3] - box[1]) * share), 1)
        # Whoever fills the picture is in focus, though what lies behind is not.
        blur = min(around.blur, FOCUSED) if box[3] - box[1] > LARGE * size[0] else around.blur
        soft = float(np.clip(np.sqrt(max((blur * share) ** 2 - SAMPLED**2, 0)), *SOFT))
        words = (*describe(outer), *(() if mounted is None else ("riding a bicycle",)))
        made = _render(body, shape, measures, outer, inner, posed, frame, light, around.pitch, soft, rng)
        return (
            None
            if made is None
            else _placed(replace(made, grain=noise_level(image, hidden, box), words=words), box, share)
        )


def _sits(body: Body, shape: Shape, pose: Fit) -> bool:
    """Return whether a thigh is raised."""
    thighs = [
        (pose.transforms[body.number(f"upperleg01.{side}"), :, :3])
        @ (shape.heads[body.number(f"lowerleg01.{side}")] - shape.heads[body.number(f"upperleg01.{side}")])
        for side in "LR"
    ]
    return max(float(thigh[2] / np.linalg.norm(thigh)) for thigh in thighs) > RAISED


def _dressed(
    body: Body,
    shape: Shape,
    measures: Measures,
    look: Appearance,
    pose: Fit,
    rng: np.random.Generator,
    mounted: Mounted | None,
) -> tuple[Fit, Posed]:
    """Return a dressed body and its pose, with hands beside what is worn and not inside of it, or at their grips."""
    garments, bare = dress(body, shape, measures, look.outfit, pose.scale, rng)

    def moved() -> tuple[Floats, list[Floats]]:
        return body.pose(shape, pose.transforms), [skin(g.vertices, g.weights, pose.transforms) for g in garments]

    points, worn = moved()
    freed = None if mounted else free_hands(body, shape, points, garments, worn, pose.transforms)
    if freed is not None:
        pose = replace(pose, transforms=freed)
        points, worn = moved()
    faces = body.faces[(bare[body.faces] > 0).any(1)]
    return pose, Posed(points, faces, tuple(zip(garments, worn, strict=True)), mounted)


def _frame(posed: Posed, pose: Fit, size: tuple[int, int]) -> IntBox | None:
    """Return the box around the body inside the picture, or None where they do not meet."""
    points = pose.project(posed.points)
    beside, before = (round(room * pose.scale) for room in SHADOWED)
    left, top = (int(v) for v in np.floor(points.min(0)))
    right, bottom = (int(v) for v in np.ceil(points.max(0)))
    x1, y1 = max(left - PAD - beside, 0), max(top - PAD, 0)
    box = x1, y1, min(right + PAD + beside, size[1]), min(bottom + PAD + before, size[0])
    return box if box[2] > box[0] and box[3] > box[1] else None


def _render(
    body: Body,
    shape: Shape,
    measures: Measures,
    look: Appearance,
    pose: Fit,
    posed: Posed,
    box: IntBox,
    light: Light,
    pitch: float,
    soft: float,
    rng: np.random.Generator,
) -> Rendering | None:
    samples = 2 if box[3] - box[1] <= FINE else 1
    meshes = [Mesh(posed.vertices, posed.faces), *(Mesh(points, g.faces) for g, points in posed.garments)]
    if posed.mounted is not None:
        meshes.append(Mesh(posed.mounted.vertices, posed.mounted.bicycle.frame.drawn(pose.scale)))
    tracer = Tracer(meshes)
    camera = Camera(pose.scale, pose.shift)
    hits = tracer.primary(camera, box, samples)
    if not len(hits.ray):
        return None
    hair = np.zeros(len(meshes), np.bool_)
    hair[1 : 1 + len(posed.garments)] = [garment.kind == "hair" for garment, _ in posed.garments]
    seeds = [int(seed) for seed in rng.integers(2**31, size=len(posed.garments))]
    strands = {
        number: skin(garment.vertices + garment.coords[:, :3], garment.weights, pose.transforms) - points
        for number, (garment, points) in enumerate(posed.garments, 1)
        if garment.kind == "hair"
    }
    paint = partial(_painted, body, shape, measures, look, pose, posed, strands, light=light, seeds=seeds)
    coat = paint(hits)
    near, said = tracer.open(hits, coat.normals, light, RAYS, rng, coat.skin)
    shade = reflected(near.mean(said), coat.normals, light, coat.skin)
    # Light goes on between strands: none is as dark as it were behind boards, and no loose end as bright.
    means = {number: shade[hits.mesh == number].mean(0) for number in np.unique(hits.mesh[hair[hits.mesh]])}
    values = _sent(hits, coat, shade, means)
    # One for all rays of a person: what is seen again with more rays is not exposed for itself.
    middle = float(values.max(1).mean())
    colour = _kept(hits, values, middle, samples)
    if samples == 1:
        # Spokes are as thin as strands.
        thin = hair.copy()
        thin[1 + len(posed.garments) :] = True
        busy = _busy(hits, thin, colour)
        dense = DENSE[int(pose.scale >= NEAR)]
        finer = tracer.primary(camera, box, dense, busy)
        if len(finer.ray):
            more = paint(finer)
            shade = reflected(near.mean(said, finer), more.normals, light, more.skin)
            colour[busy] = _kept(finer, _sent(finer, more, shade, means), middle, dense, busy)
    colour = crisp(np.asarray(cv2.GaussianBlur(colour, (0, 0), soft), np.float32), pose.scale * UPRIGHT, soft)
    alpha = np.clip(colour[..., 3], 0, 1)
    rgb = np.asarray(np.clip(colour[..., :3] / np.maximum(colour[..., 3:], np.float32(1e-4)), 0, 1), np.float32)
    away = hits.points[:, 1:2]
    count = averaged(hits, np.ones_like(away), samples)
    depth = np.divide(averaged(hits, away, samples), count, out=np.zeros_like(count), where=count > 0)[..., 0]
    seen = count[..., 0] > 0
    parts = np.zeros(hits.size, np.uint8).ravel()
    parts[hits.ray] = coat.part
    rows, columns = hits.size
    return Rendering(
        box=box,
        rgb=np.rint(rgb * 255).astype(np.uint8),
        alpha=alpha.astype(np.float32),
        depth=_nearness(depth, seen),
        edges=_edges(depth, seen, rgb),
        joints=_joints(body.joints(shape, pose.transforms), pose, depth, seen, box),
        parts=parts.reshape(rows // samples, samples, columns // samples, samples)[:, 0, :, 0].copy(),
        residual=pose.residual,
        shadow=cast(tracer, _feet(body, posed), pitch, camera, box, light, rng),
        face=_face_box(body, posed, pose),
        scale=pose.scale,
        ridden=_ridden(posed, hits, count, samples),
    )


def _ridden(posed: Posed, hits: Hits, count: Floats, samples: int) -> Floats:
    """Return the share of what is drawn in each pixel that is of a bicycle, float32 (h, w)."""
    if posed.mounted is None:
        return np.zeros(count.shape[:2], np.float32)
    own = (hits.mesh == len(posed.garments) + 1).astype(np.float32)
    return np.asarray((averaged(hits, own[:, None], samples) / np.maximum(count, 1e-6))[..., 0], np.float32)


def _sent(hits: Hits, coat: Coat, shade: Floats, means: dict[int, Floats]) -> Floats:
    """Return the values float32 (N, 3) of what hits send back; ``shade`` of hair changes in place.

    Args:
        hits: What rays met.
        coat: Its paint.
        shade: float32 (N, 3), the light it sends back.
        means: The light float32 (3,) that the hair of each mesh of hair sends back on average.
    """
    for number, mean in means.items():
        own = hits.mesh == number
        shade[own] += TRANSLUCENT * (mean - shade[own])
    return np.asarray(coat.colours * cv2.pow(shade, float(1 / GAMMA)), np.float32)


def _kept(hits: Hits, values: Floats, middle: float, samples: int, only: NDArray[np.bool_] | None = None) -> Floats:
    """Return the colours and the coverage of pixels, float32 (h, w, 4), or (P, 4) of those that had rays.

    Args:
        hits: What rays met.
        values: float32 (N, 3), what it sends back.
        middle: The value around which a camera adds contrast.
        samples: Rows and columns of rays in a pixel.
        only: bool (h, w), which pixels had rays; None: all.
    """
    lit = exposed(developed(values, middle))
    return averaged(hits, np.concatenate([lit, np.ones((len(lit), 1), np.float32)], 1), samples, only)


def _busy(hits: Hits, thin: NDArray[np.bool_], colour: Floats) -> NDArray[np.bool_]:
    """Return pixels for which one ray is too few, bool (h, w).

    Args:
        hits: Of one ray a pixel.
        thin: Which meshes are finer than pixels: what lies within two pixels of them is busy.
        colour: float32 (h, w, 4), with coverage.
    """
    meshes = np.full(hits.size[0] * hits.size[1], -1, np.int32)
    meshes[hits.ray] = hits.mesh
    meshes = meshes.reshape(hits.size)
    near = np.append(thin, False)[meshes].astype(np.uint8)
    grey = colour[..., :3].mean(2)
    steps = np.zeros(hits.size, np.uint8)
    for after, before in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        step = (meshes[after] != meshes[before]) | (np.abs(grey[after] - grey[before]) > STEEP)
        steps[after] |= step
        steps[before] |= step
    return np.asarray((cv2.dilate(near, np.ones((5, 5), np.uint8)) | steps) > 0)


def _face_box(body: Body, posed: Posed, pose: Fit) -> Floats | None:
    """Return the box (4,) xyxy of the part of a face that looks towards the camera, None where too little does."""
    front = face_part(body)
    seen = front & (normals(posed.vertices, body.faces)[:, 1] < 0)
    if seen.sum() < LEAST_FACE * front.sum():
        return None
    points = pose.project(posed.vertices[seen])
    (left, top), (right, bottom) = points.min(0), points.max(0)
    above, below = (share * (bottom - top) for share in FACE_MORE)
    return np.array([left, top - above, right, bottom + below], np.float32)


def _feet(body: Body, posed: Posed) -> list[Foot]:
    """Return where a body's feet stand, soles of shoes where it wears some, or the wheels of what it rides."""
    sides = np.array([bone.rpartition(".")[2] for bone in body.bones])[owners(body)]
    if posed.mounted is not None:
        tyres = (posed.mounted.vertices[own] for own in posed.mounted.bicycle.frame.wheels)
        return [Foot(float(tyre[:, 2].min()), float(tyre[tyre[:, 2].argmin(), 1])) for tyre in tyres]
    lowest = float(posed.points[:, 2].min())
    bare = posed.vertices[body.parts == FOOT]
    sole = float(bare[:, 2].min()) - lowest
    feet = [posed.vertices[(body.parts == FOOT) & (sides == side)] for side in "LR"]
    return [Foot(float(foot[:, 2].min()) - sole, float(foot[:, 1].min())) for foot in feet if len(foot)]


def _placed(made: Rendering, box: IntBox, share: float) -> Rendering:
    """Return a rendering of a frame of its own in a box of the picture that is 1 / ``share`` times as large."""
    size = box[2] - box[0], box[3] - box[1]

    def large(array: NDArray[Any], method: int = cv2.INTER_LINEAR) -> NDArray[Any]:
        return array if share == 1 else np.asarray(cv2.resize(array, size, interpolation=method))

    corner = np.array(box[:2], np.float32)
    joints = made.joints.copy()
    joints[:, :2] = joints[:, :2] / np.float32(share) + corner
    return replace(
        made,
        box=box,
        face=None if made.face is None else made.face / np.float32(share) + np.tile(corner, 2),
        rgb=large(made.rgb),
        alpha=large(made.alpha),
        depth=large(made.depth),
        edges=large(made.edges),
        joints=joints,
        parts=large(made.parts, cv2.INTER_NEAREST),
        shadow=large(made.shadow),
        ridden=large(made.ridden),
        scale=made.scale / share,
    )


def _painted(
    body: Body,
    shape: Shape,
    measures: Measures,
    look: Appearance,
    pose: Fit,
    posed: Posed,
    strands: dict[int, Floats],
    hits: Hits,
    light: Light,
    seeds: Sequence[int],
) -> Coat:
    """Return the paint of hits.

    Args:
        body: The model.
        shape: Its shape.
        measures: Its measures.
        look: Who is painted.
        pose: The pose.
        posed: The dressed body in it.
        strands: Directions float32 (M, 3) of hair at its vertices, by the number of its mesh.
        hits: Where.
        light: What lights it.
        seeds: Of the folds of each garment.
    """
    count = len(hits.ray)
    albedo, relief = np.zeros((count, 3), np.float32), np.zeros((count, 3), np.float32)
    height, part = np.zeros(count, np.float32), np.zeros(count, np.uint8)
    own = hits.mesh == 0
    if own.any():
        eyes = body.share("eye")
        scalp = Scalp.of(body, HAIR[look.outfit.hair].recede).field
        table = np.concatenate([shape.vertices, places(body), eyes[:, None], scalp[:, None]], 1).astype(np.float32)
        values = hits.mixed(own, posed.faces, table)
        at = values[:, :3]
        pupils = np.stack([shape.heads[body.number(f"eye.{side}")] for side in "LR"])[:, [0, 2]]
        apart = at[:, None, [0, 2]] - pupils
        nearest = apart[np.arange(len(at)), np.linalg.norm(apart, axis=2).argmin(1)]
        albedo[own] = skin_paint(
            look, at, values[:, 3:6], hits.normals[own], values[:, 6], nearest, values[:, 7], light, pose.scale
        )
        part[own] = body.parts[posed.faces[hits.face[own], 0]]
    table_of_parts = _part_table(body)
    turned = pose.transforms[body.number("head")]
    middle = turned[:, :3] @ skull(body, shape, measures) + turned[:, 3]
    smooth = hits.normals.copy()
    for number, (garment, points) in enumerate(posed.garments, 1):
        own = hits.mesh == number
        if not own.any():
            continue
        if garment.kind == "hair":
            coords = hits.mixed(own, garment.faces, np.concatenate([strands[number], garment.coords[:, 3:]], 1))
            smooth[own] = rounded(hits.points[own], hits.normals[own], middle)
            albedo[own], relief[own] = hair_paint(look.hair, coords, smooth[own], light)
        else:
            table = np.concatenate([garment.body, garment.coords, press(garment, points)[:, None]], 1)
            at, coords, pressed = np.split(hits.mixed(own, garment.faces, table), [3, 9], 1)
            place = Place(at, coords, pressed, hits.normals[own], pose.scale)
            cloth = look.cloths[garment.name]
            albedo[own], height[own] = cloth_paint(garment, cloth, place, measures, light, seeds[number - 1])
        # Rows of weights are long, and few vertices of hair are met.
        first = garment.faces[hits.face[own], 0]
        met = np.unique(first)
        parts = np.zeros(len(garment.vertices), np.uint8)
        parts[met] = table_of_parts[garment.weights[met].argmax(1)]
        part[own] = parts[first]
    own = hits.mesh > len(posed.garments)
    if posed.mounted is not None and own.any():
        albedo[own] = bicycle_paint(posed.mounted.bicycle, hits.face[own], hits.normals[own], light)
    return Coat(
        albedo,
        bumped(embossed(replace(hits, normals=smooth), height), relief),
        part,
        (hits.mesh == 0).astype(np.float32),
    )


@once
def _part_table(body: Body) -> NDArray[np.uint8]:
    """Return the part of the body that each bone moves most, uint8 (B,)."""
    table = np.zeros((len(body.bones), len(body.part_names) + 1), np.float32)
    for number in range(1, len(body.part_names) + 1):
        table[:, number] = body.weights[body.parts == number].sum(0)
    return table.argmax(1).astype(np.uint8)


def _nearness(depth: Floats, seen: NDArray[np.bool_]) -> Floats:
    """Return metres away from the camera as float32 in [0, 1], 1 nearest of the body, 0 where it is not."""
    out = np.zeros(depth.shape, np.float32)
    if seen.any():
        near, far = float(depth[seen].min()), float(depth[seen].max())
        out[seen] = 1 - 0.9 * (depth[seen] - near) / max(far - near, 1e-3)
    return out


def _edges(depth: Floats, seen: NDArray[np.bool_], rgb: Floats) -> Floats:
    """Return edges float32 in [0, 1]: the outline, steps of depth, and steps of brightness."""
    # What is not the body lies a full step behind it.
    far = np.where(seen, depth, (depth[seen].max() if seen.any() else 0) + EDGE_DEPTH).astype(np.float32)
    grey = np.where(seen, rgb.mean(2), 0).astype(np.float32)

    def steps(values: Floats) -> Floats:
        x, y = (
            cv2.Sobel(values, cv2.CV_32F, *way, ksize=3, borderType=cv2.BORDER_REPLICATE) / 4
            for way in ((1, 0), (0, 1))
        )
        return np.hypot(x, y)

    inner = cv2.erode(seen.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
    strength = np.maximum(steps(far) / EDGE_DEPTH, steps(grey) / EDGE_LIGHT * inner)
    return np.clip(strength, 0, 1).astype(np.float32)


def _joints(points: Floats, pose: Fit, depth: Floats, seen: NDArray[np.bool_], box: IntBox) -> Floats:
    """Return COCO's joints, float32 (17, 3): x, y in the picture's pixels and whether they are visible, 0 or 1."""
    out = np.concatenate([pose.project(points), np.zeros((len(points), 1), np.float32)], 1)
    x, y = np.floor(out[:, 0]).astype(int) - box[0], np.floor(out[:, 1]).astype(int) - box[1]
    inside = (x >= 0) & (y >= 0) & (x < depth.shape[1]) & (y < depth.shape[0])
    for number in np.flatnonzero(inside):
        at = y[number], x[number]
        out[number, 2] = float(seen[at] and points[number, 1] - depth[at] < DEEP)
    return out.astype(np.float32)
