"""Fit of a body to a person: a plausible stance, then scale and place.

Of the person only directions of limbs and head, one scale and the place enter, never lengths of limbs. What is not
seen takes a plausible stance, and does not count for scale and place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.bicycle import Bicycle
from anonymizer.avatar.body import HEAD_PART, Body, Shape, owners
from anonymizer.avatar.noise import JointNoise
from anonymizer.avatar.prior import PosePrior, stepped
from anonymizer.avatar.riding import Mounted, heading_of, mount
from anonymizer.avatar.stance import (
    ACROSS_HIPS,
    ACROSS_SHOULDERS,
    ANKLES,
    EARS,
    ELBOWS,
    HEAD_LEFT,
    HEELS,
    HIPS,
    KNEES,
    NOSE,
    ROWS,
    SHOULDERS,
    TOES,
    WRISTS,
    Stance,
    facing,
    read_stance,
    rotations,
    trust_of,
)
from anonymizer.core.geometry import integer_box, outline_box
from anonymizer.core.records import Instance

__all__ = ["Fit", "Fitter", "placed"]

Floats = NDArray[np.float32]

#: Joints that place the body: landmarks, the bones whose heads they are, and their weight. Ends of the body count most:
#: what is between has lengths of its own.
PLACED = (
    *((SHOULDERS, "upperarm01", 1.0), (ELBOWS, "lowerarm01", 0.4), (WRISTS, "wrist", 0.3)),
    *((HIPS, "upperleg01", 1.0), (KNEES, "lowerleg01", 0.6), (ANKLES, "foot", 1.0)),
)
#: Weight of nose and ears, and COCO's numbers of them.
HEAD_WEIGHT, HEAD_JOINTS = 1.0, (0, 3, 4)
#: Weight of the rows of crown and soles at the ends of the person's outline, and of chin and crown at a face's box.
END_WEIGHT, FACE_WEIGHT = 1.5, 1.0
#: Height of a head, hair not counted, in heights of a face's box, and of the hair above the crown in metres.
HEAD, HAIR = 1.05, 0.02
#: Least summed weight and number of seen joints of a fit, and least span of them in metres.
LEAST_WEIGHT, LEAST_JOINTS, LEAST_SPAN = 2.0, 4, 0.1
#: Largest root mean square distance of seen joints, in metres of the body, and in pixels for small persons.
WORST, BLUR = 0.16, 3.0
#: Steps of reweighting, and the distance in metres from which a joint counts less (Huber).
STEPS, HUBER = 4, 0.08
#: Longer side in pixels at which the body's outline is compared with the person's.
SIDE = 64
#: Room beside an outline in which a body counts, in widths of the outline.
AROUND = 0.25
#: How far beside a foot's landmarks its outline is looked for, and how far below them it may end, in heights of the
#: person.
BESIDE, BELOW = 0.02, 0.08
#: Distance in pixels from the picture's border at which an outline counts as cut off.
BORDER = 2
#: Least IoU of body and person; all of a person who is known as a box, of which the body fills a part.
LEAST_IOU, BOX_IOU = 0.25, 0.2
#: IoU from which no plainer fit is tried, from each presence of a person in the view on. Of people cut by the border or
#: seated far away landmarks are often right though the presence is low.
SURE = ((0.9, 0.35), (0.3, 0.45), (0.0, 0.55))
#: How much more of a leg's landmark must count where guesses are believed for that to be tried.
GUESSES = 0.2
#: Residual in metres beyond which legs are not where the rest of the body says, though the outline fits.
LOOSE = 0.1
#: Score, score of the face and height in pixels from which somebody stands there though no landmark fits. Of six finds
#: below all of these on 56 held-out pictures one was a person, cut by the border; the others were lamps, clothes in a
#: shop window and the blur of a crowd.
CERTAIN, FACED, NEARBY = 0.65, 0.7, 100
#: Share of the outline that a body covers and of the body that lies in it, below which it counts this much less.
COVER, INSIDE, LEFT_OUT = 0.5, 0.55, 0.3
#: How much better a fit to the upper body must be to be taken, one of somebody who stands, and of somebody who stands
#: and is cut off where no border of the picture cuts.
BETTER, STANDING, CUT = 0.06, 0.08, 0.12
#: Heights of a standing body that is tried on an outline, in heights of the outline: it may be cut off; the last ones
#: only where a border cuts, for the outline of a crowd is no giant's.
TIMES, GIANT = (1.0, 1.3, 1.7, 2.2, 3.0), 2.0
#: Factor up to which that height may be off the one that a face tells.
LIKE = 1.4
#: How far landmarks that are good for nothing else are trusted to tell where somebody faces.
FACING = 0.5
#: Score of a face from which riders are believed to face the camera: BlazePose takes small ones from behind for that.
#: Of 14 who do faces score 0.39 to 0.88, of 6 who were taken for it up to 0.27.
AHEAD = 0.38
#: Trust in an elbow or a wrist from which arms are taken as they were seen where nothing else fits.
ARMED = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A pose in a picture, seen from far away.

    Args:
        stance: Directions of trunk, head and limbs.
        transforms: float32 (B, 3, 4), see ``Body.transforms``.
        scale: Pixels per metre.
        shift: float32 (2,): a point (x, y, z) of the body lies at ``scale * (x, -z) + shift`` in the picture.
        residual: Root mean square distance of the seen joints in metres of the body; 0 where none was used.
        seen: Share of the joints' weight that was seen, in [0, 1].
    """

    stance: Stance
    transforms: Floats
    scale: float
    shift: Floats
    residual: float
    seen: float

    def project(self, points: Floats) -> Floats:
        """Return points (N, 3) in the picture, float32 (N, 2)."""
        return np.asarray(points[:, [0, 2]] * np.array([self.scale, -self.scale], np.float32) + self.shift, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Points of a body in metres and where they are seen: float32 (N, 2) each, weights by x and y too."""

    points: Floats
    targets: Floats
    weights: Floats

    def __add__(self, other: _Rows) -> _Rows:
        pairs = ((self.points, other.points), (self.targets, other.targets), (self.weights, other.weights))
        return _Rows(*(np.concatenate(pair) for pair in pairs))


def placed(stance: Stance, body: Body, shape: Shape, foot: tuple[float, float], scale: float) -> Fit:
    """Return a stance whose lowest point stands at a place.

    Args:
        stance: Directions.
        body: The body.
        shape: Its shape.
        foot: x, y in pixels.
        scale: Pixels per metre.
    """
    transforms = body.transforms(shape, rotations(stance, body, shape))
    points = body.pose(shape, transforms)
    middle, lowest = (points[:, 0].min() + points[:, 0].max()) / 2, points[:, 2].min()
    shift = np.array([foot[0] - scale * middle, foot[1] + scale * lowest], np.float32)
    return Fit(stance, transforms, scale, shift, 0.0, 1.0)


class Fitter:
    """Poses bodies as people stood.

    Args:
        body: A body; the coarse one does.
        prior: Plausible stances.
        noise: Hides the stance, size and place; None: they are as they were seen.
        bank: Whether only stances of the prior's bank are used.
    """

    def __init__(self, body: Body, prior: PosePrior, noise: JointNoise | None = None, bank: bool = False) -> None:
        self._body = body
        self._prior = prior
        self._noise = noise
        self._bank = bank
        bones = owners(body)
        ends = {
            side: {body.number(b) for b in body.bones if b.startswith(("foot", "toe")) and b[-1] == side}
            for side in "LR"
        }
        self._feet = [np.isin(bones, list(ends[side])) for side in "LR"]
        self._head = body.parts == HEAD_PART

    def stance(self, number: int, turn: float) -> Stance:
        """Return a stance of the prior by number, turned to the person's left by an angle in radians."""
        c, s = float(np.cos(turn)), float(np.sin(turn))
        rows = self._prior.stances[number] @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], np.float32)
        return Stance(rows.astype(np.float32), np.ones(len(rows), np.float32))

    def fit(
        self,
        person: Instance,
        shape: Shape,
        size: tuple[int, int],
        rng: np.random.Generator,
        face: Instance | None = None,
    ) -> Fit | None:
        """Return the pose of a body that stands where a person stood, or None where none covers the person.

        Args:
            person: With its ``body``, as far as known.
            shape: A shape of the fitter's body, drawn without regard to the person.
            size: Height and width of the picture; landmarks beyond it are guesses and do not count.
            rng: Source of the noise.
            face: The person's face, if it was found.
        """
        target = _Target(person, size)
        least, sure = LEAST_IOU - LEFT_OUT, BOX_IOU
        if person.boxed:
            least = BOX_IOU
        else:
            presence = 1.0 if person.body is None else person.body.presence
            sure = next(iou for known, iou in SURE if presence >= known)
        best = self._by_landmarks(person, shape, size, face, target, sure)
        if (best is None or best[0] < LEAST_IOU) and _doubtful(person, face):
            return None
        if best is None or best[0] < sure:
            for fit, vertices, margin in self._upright(person, shape, size, face):
                best = _better(best, target.score(vertices, fit, self._body), fit, margin)
        if best is None or best[0] < least:
            return None
        return self._veiled(best[1], shape, rng) if self._bank or self._noise is not None else best[1]

    def ride(
        self,
        person: Instance,
        shape: Shape,
        size: tuple[int, int],
        rng: np.random.Generator,
        face: Instance | None,
        bicycle: Bicycle,
        box: Floats,
        pitch: float,
    ) -> tuple[Fit, Mounted] | None:
        """Return the pose of a body that rides a bicycle where a person rode one, or None where it cannot be placed.

        Args:
            person: With its ``body``.
            shape: A shape of the fitter's body.
            size: Height and width of the picture.
            rng: Source of the noise.
            face: The person's face, if it was found.
            bicycle: What it rides.
            box: float32 (4,) xyxy, of what the person rode: it gives heading, size and place with what is seen of the
                person.
            pitch: Sine of the angle by which the camera looks down.
        """
        view = person.body
        if view is None:
            return None
        trust = trust_of(view, size)
        seen = read_stance(view, trust, face)
        if self._noise is not None:
            seen = self._noise.stance(seen, rng)
        turn = facing(seen)
        if turn[0, 0] > 0 and (face is None or face.score < AHEAD):
            # From behind, as far to the same side; of the head nothing is known then.
            turn = turn * np.array([[-1, 1, 1], [1, -1, 1], [1, 1, 1]], np.float32)
            seen = replace(seen, trust=np.zeros_like(seen.trust))
        left, top, right, bottom = (float(v) for v in box)
        cut_aside, cut_below = left <= BORDER or right >= size[1] - BORDER, bottom >= size[0] - BORDER
        if self._bank:
            turn = stepped(turn)
        elif self._noise is None and not cut_aside and not cut_below:
            turn = heading_of(turn, right - left, bottom - top, pitch)
        mounted = mount(self._body, shape, bicycle, seen, turn, pitch)
        # Legs pedal by chance.
        trust[[*KNEES, *ANKLES]] = 0
        joints = self._joints(shape, mounted.transforms, trust, view.landmarks)
        if not joints.weights.any():
            return None
        points, ridden = _flat(self._body.pose(shape, mounted.transforms)), _flat(mounted.vertices)
        _, y1, _, y2 = (float(v) for v in outline_box(person))
        middle = (ridden[:, 0].min() + ridden[:, 0].max()) / 2
        ends = _face_rows(points[self._head], face)
        if y1 > BORDER:
            ends.append((0.0, float(points[:, 1].min()) - HAIR, 0.0, y1, 0.0, END_WEIGHT))
        if not cut_below:
            ends.append((0.0, float(ridden[:, 1].max()), 0.0, max(bottom, y2), 0.0, 2 * END_WEIGHT))
        if not cut_aside:
            ends.append((middle, 0.0, (left + right) / 2, 0.0, END_WEIGHT, 0.0))
        placed = _place(joints + _ends_of(ends), len(joints.points))
        if placed is None:
            return None
        scale, shift, residual = placed
        if self._noise is not None:
            scale = self._noise.scale(scale, rng)
            shift = self._noise.place(shift, scale * float(np.ptp(shape.vertices[:, 2])), rng)
        full = sum(2 * weight for *_, weight in PLACED) + 3 * HEAD_WEIGHT
        seen_share = float(joints.weights[:, 0].sum() / full)
        return Fit(mounted.stance, mounted.transforms, scale, shift, residual, seen_share), mounted

    def _by_landmarks(
        self,
        person: Instance,
        shape: Shape,
        size: tuple[int, int],
        face: Instance | None,
        target: _Target,
        sure: float,
    ) -> tuple[float, Fit] | None:
        """Return the best fit to landmarks and its score: to those seen, to guesses too, to the upper body alone."""
        if person.body is None:
            return None
        trust, believed = (trust_of(person.body, size, guesses) for guesses in (False, True))
        legs = [*KNEES, *ANKLES]
        upper = _upper(trust)
        best: tuple[float, Fit] | None = None
        for chosen in (trust, believed, upper):
            if chosen is believed and (believed - trust)[legs].max() < GUESSES:
                continue
            if chosen is upper and best is not None and best[0] >= sure and best[1].residual <= LOOSE:
                continue
            made = self._seen(person, chosen, shape, size, face)
            if made is None or made[0].residual > max(WORST, BLUR / made[0].scale):
                continue
            # A decimetre that seen and guessed joints are off counts as much as a tenth of the outline.
            margin = 0.0 if best is None else made[0].residual - best[1].residual
            margin += BETTER if chosen is upper else 0.0
            best = _better(best, target.score(made[1], made[0], self._body), made[0], margin)
        return best

    def _veiled(self, fit: Fit, shape: Shape, rng: np.random.Generator) -> Fit:
        """Return a fit with noise, or with a stance of the bank, or both; its lowest point stays as low."""
        stance, scale, shift, noise = fit.stance, fit.scale, fit.shift, self._noise
        low = float(_flat(self._body.pose(shape, fit.transforms))[:, 1].max())
        if noise is not None:
            stance, scale = noise.stance(stance, rng), noise.scale(scale, rng)
            stance = stance if self._bank else self._prior.complete(stance)
        if self._bank:
            stance = self._prior.nearest(stance)
        transforms = self._body.transforms(shape, rotations(stance, self._body, shape))
        points = _flat(self._body.pose(shape, transforms))
        below = np.array([0, fit.scale * low - scale * float(points[:, 1].max())], np.float32)
        shift = shift + below
        if noise is not None:
            shift = noise.place(shift, scale * float(np.ptp(shape.vertices[:, 2])), rng)
        return replace(fit, stance=stance, transforms=transforms, scale=scale, shift=shift)

    def _upright(
        self, person: Instance, shape: Shape, size: tuple[int, int], face: Instance | None
    ) -> Iterator[tuple[Fit, Floats, float]]:
        """Yield fits of somebody who stands, to face and outline, with their vertices and margins.

        First with trunk and arms as they were seen: their directions may be right where their sizes are not, as of
        somebody who leans towards the camera.
        """
        rows = np.tile(np.array([0, 0, 1], np.float32), (len(ROWS), 1))
        rows[[ACROSS_HIPS, ACROSS_SHOULDERS, HEAD_LEFT]] = 1, 0, 0
        known = np.zeros(len(ROWS), np.float32)
        stances = []
        if person.body is not None:
            # Landmarks that fit nothing else still tell where somebody faces.
            none = np.zeros(len(person.body.visibility), np.float32)
            read = read_stance(person.body, none, face)
            rows, known = read.rows, read.trust
            known[[ACROSS_HIPS, ACROSS_SHOULDERS]] = FACING
            upper = _upper(trust_of(person.body, size))
            if upper[[*ELBOWS, *WRISTS]].max() >= ARMED:
                stances.append(read_stance(person.body, upper, face))
        for stance in (*stances, Stance(rows, known)):
            stance = self._prior.complete(stance)
            transforms = self._body.transforms(shape, rotations(stance, self._body, shape))
            vertices = self._body.pose(shape, transforms)
            for scale, shift, margin in _upright_places(_flat(vertices), self._head, person, size, face):
                yield Fit(stance, transforms, scale, shift, 0.0, 0.0), vertices, margin

    def _seen(
        self, person: Instance, trust: Floats, shape: Shape, size: tuple[int, int], face: Instance | None
    ) -> tuple[Fit, Floats] | None:
        """Return the fit to what was seen, whatever its residual, and its vertices; None where too little was seen."""
        view = person.body
        if view is None:
            return None
        stance = self._prior.complete(read_stance(view, trust, face))
        transforms = self._body.transforms(shape, rotations(stance, self._body, shape))
        joints = self._joints(shape, transforms, trust, view.landmarks)
        if joints.weights[:, 0].sum() < LEAST_WEIGHT or (joints.weights[:, 0] > 0.1).sum() < LEAST_JOINTS:
            return None
        vertices = self._body.pose(shape, transforms)
        rows = joints + self._ends(vertices, trust, person, size, face)
        placed = _place(rows, len(joints.points))
        if placed is None:
            return None
        full = sum(2 * weight for *_, weight in PLACED) + 3 * HEAD_WEIGHT
        return Fit(stance, transforms, *placed, float(joints.weights[:, 0].sum() / full)), vertices

    def _joints(self, shape: Shape, transforms: Floats, trust: Floats, landmarks: Floats) -> _Rows:
        heads = np.einsum("bij,bj->bi", transforms[:, :, :3], shape.heads) + transforms[:, :, 3]
        rows = [
            (mark[k], heads[self._body.number(f"{bone}.{side}")], weight)
            for mark, bone, weight in PLACED
            for k, side in enumerate("LR")
        ]
        # These move with the head alone.
        head, joints = transforms[self._body.number("head")], self._body.joints(shape)
        rows += [
            (mark, head[:, :3] @ joints[number] + head[:, 3], HEAD_WEIGHT)
            for mark, number in zip((NOSE, *EARS), HEAD_JOINTS, strict=True)
        ]
        marks = [row[0] for row in rows]
        weights = np.array([row[2] for row in rows], np.float32) * trust[marks]
        return _Rows(_flat(np.stack([row[1] for row in rows])), landmarks[marks, :2], np.stack([weights, weights], 1))

    def _ends(
        self, posed: Floats, trust: Floats, person: Instance, size: tuple[int, int], face: Instance | None
    ) -> _Rows:
        """Return crown and chin at the face's box, and soles at the lower end of the outline, with their rows."""
        points = _flat(posed)
        ends = _face_rows(points[self._head], face)
        if person.body is not None:
            for k, feet in enumerate(self._feet):
                row = _sole_row(person, person.body.landmarks[[ANKLES[k], HEELS[k], TOES[k]], :2], size)
                if row is not None and trust[ANKLES[k]] > 0:
                    sole = points[feet]
                    x, y = (float(v) for v in sole[sole[:, 1].argmax()])
                    ends.append((x, y, 0.0, row, 0.0, END_WEIGHT * float(trust[ANKLES[k]])))
        return _ends_of(ends)


def _face_rows(head: Floats, face: Instance | None) -> list[tuple[float, float, float, float, float, float]]:
    """Return chin and crown of a head, float32 (N, 2), at a face's box, as ``_ends_of`` takes them."""
    if face is None:
        return []
    _, top, _, bottom = (float(v) for v in face.box)
    weight = FACE_WEIGHT * face.score
    ends = ((head[head[:, 1].argmax()], bottom), (head[head[:, 1].argmin()], bottom - HEAD * (bottom - top)))
    return [(float(point[0]), float(point[1]), 0.0, row, 0.0, weight) for point, row in ends]


def _ends_of(ends: list[tuple[float, float, float, float, float, float]]) -> _Rows:
    """Return rows of points x, y in metres, where they are seen, and their weights by x and y."""
    table = np.array(ends, np.float32).reshape(-1, 6)
    return _Rows(table[:, :2], table[:, 2:4], table[:, 4:])


class _Target:
    """A person's outline at low resolution, with which a body's is compared."""

    def __init__(self, person: Instance, size: tuple[int, int]) -> None:
        x1, y1, x2, y2 = (float(v) for v in outline_box(person))
        self.boxed = person.boxed
        self.share = SIDE / max(x2 - x1, y2 - y1)
        left, right = max(x1 - AROUND * (x2 - x1), 0.0), min(x2 + AROUND * (x2 - x1), float(size[1]))
        self.corner = np.array([left, y1], np.float32)
        self.size = max(round((y2 - y1) * self.share), 1), max(round((right - left) * self.share), 1)
        # From the frame of the person's mask to this one.
        x, y = (np.array(integer_box(person.box)[:2]) - self.corner) * self.share
        matrix = np.array([[self.share, 0, x], [0, self.share, y]])
        self.mask = cv2.warpAffine(person.outline.astype(np.uint8) * 255, matrix, self.size[::-1]) > 127

    def score(self, vertices: Floats, fit: Fit, body: Body) -> float:
        """Return the IoU of a body with the outline, inside the picture and the outline's rows.

        What covers little of the outline or lies mostly beside it is left out of a redraw: it counts ``LEFT_OUT`` less.
        """
        points = np.rint((fit.project(vertices) - self.corner) * (self.share * 16)).astype(np.int32)
        triangles = points[body.faces]
        (a, b), (c, d) = (triangles[:, 1] - triangles[:, 0]).T, (triangles[:, 2] - triangles[:, 0]).T
        drawn = np.zeros(self.size, np.uint8)
        # Those that face away lie behind others.
        for triangle in triangles[a * d > b * c]:
            cv2.fillConvexPoly(drawn, triangle, 1, shift=4)
        inside = drawn > 0
        both, either = float((inside & self.mask).sum()), float((inside | self.mask).sum())
        shows = both >= COVER * float(self.mask.sum()) and both >= INSIDE * float(inside.sum())
        return both / max(either, 1.0) - (0.0 if shows or self.boxed else LEFT_OUT)


def _upright_places(
    points: Floats, heads: NDArray[np.bool_], person: Instance, size: tuple[int, int], face: Instance | None
) -> Iterator[tuple[float, Floats, float]]:
    """Yield scales, shifts and margins at which somebody who stands may fill a person's outline.

    Args:
        points: float32 (V, 2), the body as seen, in metres.
        heads: bool (V,), which of them are of the head.
        person: The person.
        size: Height and width of the picture.
        face: The person's face, if it was found.
    """
    _, y1, _, y2 = (float(v) for v in outline_box(person))
    low, high = float(points[:, 1].min()) - HAIR, float(points[:, 1].max())
    columns = np.nonzero(person.outline)[1]
    middle = float(np.median(columns)) + integer_box(person.box)[0]
    whole = (y2 - y1) / (high - low)
    cut_above, cut_below = y1 <= BORDER, y2 >= size[0] - BORDER
    scales = tuple(times * whole for times in TIMES)
    if face is not None:
        head = points[heads]
        scale = HEAD * float(face.box[3] - face.box[1]) / float(np.ptp(head[:, 1]))
        across = float(face.box[0] + face.box[2] - scale * (head[:, 0].min() + head[:, 0].max())) / 2
        yield scale, np.array([across, face.box[3] - scale * float(head[:, 1].max())], np.float32), BETTER
        scales = tuple(other for other in scales if scale / LIKE <= other <= scale * LIKE)
    elif person.boxed:
        # The outline of somebody of whom a box is known says nothing of how much of them it holds.
        scales = scales[:1]
    for scale in scales:
        for row, end, cut in ((y1, low, cut_below), (y2, high, cut_above)):
            if (scale > whole or end == low) and (scale < GIANT * whole or cut or face is not None):
                margin = STANDING if scale == whole else BETTER if cut else CUT
                across = middle - scale * float(np.median(points[:, 0]))
                yield scale, np.array([across, row - scale * end], np.float32), margin


def _sole_row(person: Instance, marks: Floats, size: tuple[int, int]) -> float | None:
    """Return the row in the picture on which a foot stands; None where the outline does not tell.

    Args:
        person: Its outline ends there.
        marks: float32 (3, 2), ankle, heel and toes.
        size: Height and width of the picture.
    """
    left, top, *_ = integer_box(person.box)
    height = float(np.diff(outline_box(person)[[1, 3]])[0])
    first, last = (int(v) - left for v in (marks[:, 0].min() - BESIDE * height, marks[:, 0].max() + BESIDE * height))
    rows = np.flatnonzero(person.outline[:, max(first, 0) : max(last + 1, 0)].any(1))
    if not len(rows):
        return None
    row = float(top + rows[-1] + 1)
    # An outline that goes on far below the foot is that of something else; one that is cut tells nothing.
    known = row < size[0] - BORDER and abs(row - float(marks[:, 1].max())) < BELOW * height
    return row if known else None


def _upper(trust: Floats) -> Floats:
    """Return how far landmarks count, float32 (33,), without those from the hips down."""
    out = trust.copy()
    out[[*HIPS, *KNEES, *ANKLES, *HEELS, *TOES]] = 0
    return out


def _doubtful(person: Instance, face: Instance | None) -> bool:
    """Return whether somebody is there at all only if landmarks say so: found at a low score, and large enough."""
    if person.given or person.wish is not None or person.score >= CERTAIN:
        return False
    return (face is None or face.score < FACED) and float(person.box[3] - person.box[1]) >= NEARBY


def _better(best: tuple[float, Fit] | None, score: float, fit: Fit, margin: float) -> tuple[float, Fit]:
    """Return the better of two fits; a later one must be so by a margin."""
    return (score, fit) if best is None or score > best[0] + margin else best


def _flat(points: Floats) -> Floats:
    """Return points (N, 3) of a body as seen: float32 (N, 2), x right and y down, in metres."""
    return np.asarray(points[:, [0, 2]] * np.array([1, -1], np.float32), np.float32)


def _place(rows: _Rows, joints: int) -> tuple[float, Floats, float] | None:
    """Return scale, shift (2,) and the residual of the first ``joints`` rows; None where they span too little."""
    robust, scale, shift = rows.weights, 0.0, np.zeros(2, np.float32)
    distance = np.zeros(rows.points.shape, np.float32)
    for _ in range(STEPS):
        total = robust.sum(0)
        if (total <= 0).any():
            return None
        share = robust / total
        middle, target = (share * rows.points).sum(0), (share * rows.targets).sum(0)
        # Each axis has its own middle and weights, and both have one scale.
        spread = float((robust * (rows.points - middle) ** 2).sum())
        if spread / total.max() < (LEAST_SPAN / 2) ** 2:
            return None
        scale = float((robust * (rows.points - middle) * (rows.targets - target)).sum()) / spread
        if scale <= 0:
            return None
        shift = (target - scale * middle).astype(np.float32)
        distance = (scale * rows.points + shift - rows.targets) / scale
        far = np.sqrt(((rows.weights > 0) * distance**2).sum(1, keepdims=True))
        robust = rows.weights * np.minimum(1, HUBER / np.maximum(far, 1e-6)).astype(np.float32)
    weights = rows.weights[:joints]
    squares = (weights * distance[:joints] ** 2).sum() / weights[:, 0].sum()
    return scale, shift, float(np.sqrt(squares))
