"""Corners of a license plate: a quadrilateral fitted to the network's mask and refined on the picture's edges."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.geometry import IntBox, box_iou, clip_box, integer_box, take
from anonymizer.core.records import Instance

__all__ = ["plate_quad", "stands_out"]

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: Least fit of corners to a view's box and to their contour, see ``_fit``; below it, the box is the better guess.
LEAST_FIT = 0.5
#: Least fit of the mask's corners, see ``_fit``: a mask that shows half of a plate, or runs out, fits less.
MASK_FIT = 0.7
#: Gaps closed when a plate's corners are looked for, as parts of its height: characters that meet its rim, and so
#: little that what lies beside a large plate stays apart from it.
CLOSED = (3, 12)
#: Width by height below which a plate's short sides are believed to be slanted.
SHORT = 2.5
#: Proportion of a side that its line is fitted to: plates and masks have round corners.
STRAIGHT = (0.12, 0.88)
#: Reach of the search for a side's edge to both sides, as a proportion of the plate's height, and its limits in pixels.
REACH, REACH_LIMITS = 0.16, (1.5, 12.0)
#: Step of that search in pixels, places along a side at which it looks, and shifts of each of the side's ends.
STEP, PLACES = 0.5, 32
#: Steepest gradient that counts, in levels per pixel: one bright speck is no side.
STEEP = 24.0
#: Part of a plate in whose middle its ground is measured, and gaps closed there by characters, by the plate's height.
WITHIN, CHARACTER_GAP = 0.6, 5
#: Least fit of corners to the plate's own ground, its least area by theirs, and the tilt in degrees by which it has to
#: differ from theirs to be believed: frames are of another colour, but lie as the plate does. Short plates often have
#: a band on top, which is no part of the ground.
GROUND_FIT, GROUND_AREA, OTHER_TILT = 0.93, 0.35, 4.0
#: Standard deviation in pixels of the blur against noise before colours are compared, and the fewest pixels that tell
#: anything of a plate: 3 by 4.
SOFTENED, FEWEST = 0.7, 12
#: Least mean gradient along a side that moves it, in levels per pixel: above noise of small and blurred plates.
LEAST_EDGE = 2.0


def plate_quad(image: Image, instance: Instance) -> Floats:
    """Return the plate's four corners float32 (4, 2) x, y, clockwise from top left, in the picture's pixels.

    They come from the network's mask where that looks like a plate, else from a four-cornered region in the box that
    stands out from its surroundings, else from the box. Sides move to the strongest straight edge beside them. Where
    a long plate's ground lies at another tilt, as in a mask that was united from boxes, corners are the ground's.

    Args:
        image: RGB uint8 (H, W, 3).
        instance: The plate.
    """
    box = integer_box(clip_box(instance.box, image.shape[:2]))
    quad = _from_mask(instance)
    free = quad is not None
    if quad is None:
        quad = _from_contrast(image, instance, box)
    if quad is not None:
        refined = _refined(image, quad)
        quad = refined if _plausible(refined, free) else quad
        tilted = _from_ground(image, quad)
        quad = quad if tilted is None else tilted
    else:
        left, top, right, bottom = (float(v) for v in box)
        quad = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    return np.clip(quad, [0, 0], [image.shape[1], image.shape[0]]).astype(np.float32)


def stands_out(image: Image, instance: Instance) -> bool:
    """Return whether an instance holds a four-cornered region that stands out: text on a plate, not on bare metal."""
    return _from_contrast(image, instance, integer_box(clip_box(instance.box, image.shape[:2]))) is not None


def _from_mask(instance: Instance) -> Floats | None:
    """Return the corners of the instance's outline, or None where it has none of its own or none like a plate's."""
    shape = instance.outline
    if shape.mean() > 0.97:  # A box.
        return None
    count, labels, stats, _ = cv2.connectedComponentsWithStats(shape.astype(np.uint8), connectivity=4)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    padded = np.pad((labels == largest).astype(np.uint8), 1)
    contours, _ = cv2.findContours(padded, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = max(contours, key=cv2.contourArea)
    if cv2.contourArea(contour) < FEWEST:
        return None
    origin = np.array(integer_box(instance.box)[:2], np.float32)
    # Centres of the pixels along the rim, moved out by half a pixel below; the padding goes away here.
    points = cv2.convexHull(contour)[:, 0].astype(np.float32)
    rim = contour[:, 0].astype(np.float32)
    tight = _four_corners(points[:, None].astype(np.int32))
    # Short sides of a small mask may lean any way: then its tightest rectangle is the better guess.
    candidates = [
        (corners, _grown(corners, 0.5) + origin - 0.5) for corners in (*(_fitted(rim, c) for c in tight), *tight)
    ]
    likely = [(_overlap(own, contour), placed) for own, placed in candidates if _plausible(placed, True)]
    if not likely:
        return None
    overlap, corners = max(likely, key=lambda pair: pair[0])
    return corners if overlap * _agreement(corners, instance.seen) >= MASK_FIT else None


def _fitted(rim: Floats, corners: Floats) -> Floats:
    """Return corners (4, 2) whose sides are lines through the rim's points (N, 2) nearest to each, ends left out."""
    for _ in range(3):
        ends = np.roll(corners, -1, axis=0)
        along = ends - corners  # (4, 2)
        length = np.maximum(np.linalg.norm(along, axis=1), 1e-6)
        unit = along / length[:, None]
        normal = np.stack([unit[:, 1], -unit[:, 0]], axis=1)
        offset = rim[:, None] - corners[None]  # (N, 4, 2)
        place = (offset * unit).sum(axis=2) / length  # (N, 4)
        away = np.abs((offset * normal).sum(axis=2))
        nearest = np.argmin(np.where((place >= 0) & (place <= 1), away, np.inf), axis=1)
        lines = []
        for side in range(4):
            mine = (nearest == side) & (place[:, side] > STRAIGHT[0]) & (place[:, side] < STRAIGHT[1])
            points = rim[mine]
            if len(points) < 3:
                lines.append((corners[side], unit[side]))
                continue
            vx, vy, x, y = cv2.fitLine(points, cv2.DIST_HUBER, 0, 0.01, 0.01).ravel()
            lines.append((np.array([x, y], np.float32), np.array([vx, vy], np.float32)))
        crossed = _crossings(lines)
        if crossed is None:
            break
        corners = crossed
    return corners


def _crossings(lines: list[tuple[Floats, Floats]]) -> Floats | None:
    """Return where each line (point, direction) meets the one before it, (4, 2); None where two are parallel."""
    out = np.empty((4, 2), np.float32)
    for n in range(4):
        (p, u), (q, v) = lines[n - 1], lines[n]
        across = float(u[0] * v[1] - u[1] * v[0])
        if abs(across) < 0.2 * float(np.linalg.norm(u) * np.linalg.norm(v)):
            return None
        step = float((q[0] - p[0]) * v[1] - (q[1] - p[1]) * v[0]) / across
        out[n] = p + step * u
    return out


def _grown(corners: Floats, distance: float) -> Floats:
    """Return corners (4, 2) with each side moved outwards by a distance in pixels."""
    return _moved(corners, np.full((4, 2), distance, np.float32))


def _moved(corners: Floats, shifts: Floats) -> Floats:
    """Return corners with the two ends of each side moved outwards by ``shifts`` (4, 2) in pixels."""
    lines = []
    for n in range(4):
        first, second = corners[n], corners[(n + 1) % 4]
        unit = (second - first) / max(float(np.linalg.norm(second - first)), 1e-6)
        normal = np.array([unit[1], -unit[0]], np.float32)  # Outwards, for corners run clockwise on the screen.
        start, end = first + shifts[n, 0] * normal, second + shifts[n, 1] * normal
        lines.append((start, end - start))
    crossed = _crossings(lines)
    return corners if crossed is None else crossed


def _refined(image: Image, corners: Floats) -> Floats:
    """Return corners (4, 2) with each side on the strongest straight edge near it, weaker the farther it lies."""
    height = min(float(np.linalg.norm(corners[3] - corners[0])), float(np.linalg.norm(corners[2] - corners[1])))
    reach = float(np.clip(REACH * height, *REACH_LIMITS))
    offsets = np.arange(-reach, reach + STEP / 2, STEP, dtype=np.float32)  # (D,)
    places = np.linspace(*STRAIGHT, PLACES, dtype=np.float32)  # (T,)
    low = np.floor(corners.min(axis=0) - reach - 3).astype(int)
    high = np.ceil(corners.max(axis=0) + reach + 3).astype(int)
    crop = take(image, (int(low[0]), int(low[1]), int(high[0]), int(high[1]))).astype(np.float32)
    soft = cv2.GaussianBlur(crop, (0, 0), SOFTENED)
    shifts = np.zeros((4, 2), np.float32)
    tried = offsets[::2]
    starts, ends = np.meshgrid(tried, tried, indexing="ij")  # (S, S)
    nearness = np.exp(-(starts**2 + ends**2) / (2 * (0.6 * reach) ** 2))
    for n in range(4):
        first, second = corners[n], corners[(n + 1) % 4]
        unit = (second - first) / max(float(np.linalg.norm(second - first)), 1e-6)
        normal = np.array([unit[1], -unit[0]], np.float32)
        base = first + places[:, None] * (second - first) - low.astype(np.float32) - 0.5  # (T, 2)
        where = base[:, None] + offsets[None, :, None] * normal  # (T, D, 2)
        values = cv2.remap(
            soft, where[..., 0].astype(np.float32), where[..., 1].astype(np.float32), cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        steep = np.clip(np.gradient(values, STEP, axis=1), -STEEP, STEEP)  # (T, D, 3)
        at = starts[..., None] + (ends - starts)[..., None] * places  # (S, S, T)
        index = np.clip(np.rint((at + reach) / STEP).astype(int), 0, len(offsets) - 1)
        along = steep[np.arange(PLACES), index]  # (S, S, T, 3)
        # Characters end at different heights, and specks have either sign: a side is one edge all along.
        score = np.linalg.norm(along.mean(axis=2), axis=2) / np.sqrt(3) * nearness
        best = np.unravel_index(int(np.argmax(score)), score.shape)
        if score[best] >= LEAST_EDGE:
            shifts[n] = starts[best], ends[best]
    return _moved(corners, shifts)


def _from_ground(image: Image, quad: Floats) -> Floats | None:
    """Return the corners of the plate's ground within others' (4, 2) where it lies at another tilt than these."""
    height = max(float(np.linalg.norm(quad[3] - quad[0])), float(np.linalg.norm(quad[2] - quad[1])))
    low, high = np.floor(quad.min(axis=0)).astype(int), np.ceil(quad.max(axis=0)).astype(int)
    crop = take(image, (int(low[0]), int(low[1]), int(high[0]), int(high[1])))
    soft = cv2.GaussianBlur(crop, (0, 0), SOFTENED)
    own = quad - low
    inner, outer = (np.zeros(crop.shape[:2], np.uint8) for _ in range(2))
    cv2.fillConvexPoly(inner, np.rint(own.mean(axis=0) + WITHIN * (own - own.mean(axis=0))).astype(np.int32), 1)
    cv2.fillConvexPoly(outer, np.rint(own).astype(np.int32), 1)
    pixels = soft[inner > 0].astype(np.float32)
    if len(pixels) < FEWEST:
        return None
    grey = np.rint(pixels.mean(axis=1)).astype(np.uint8)
    split, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    light = grey > split
    if light.all() or not light.any():
        return None
    sides = np.median(pixels[light], axis=0), np.median(pixels[~light], axis=0)
    ground, ink = sides if light.mean() >= 0.5 else sides[::-1]
    like = np.linalg.norm(soft - ground, axis=2) < 0.5 * np.linalg.norm(ground - ink)
    room = max(3, round(height / CHARACTER_GAP)) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (room, room))
    closed = cv2.morphologyEx(np.pad((like & (outer > 0)).astype(np.uint8), room), cv2.MORPH_CLOSE, kernel)
    closed = cv2.morphologyEx(closed, cv2.MORPH_OPEN, kernel)
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = max(contours, key=cv2.contourArea, default=None)
    if contour is None or cv2.contourArea(contour) < GROUND_AREA * cv2.contourArea(quad):
        return None
    likely = []
    for tight in _four_corners(contour):
        for corners in (_fitted(contour[:, 0].astype(np.float32), tight), tight):
            placed = _grown(corners, 0.5) + low.astype(np.float32) - room + 0.5
            if _plausible(placed, True):
                likely.append((_overlap(corners, contour), placed))
    fit, best = max(likely, key=lambda pair: pair[0], default=(0.0, quad))
    wide, high = (float(np.linalg.norm(best[n] - best[0])) for n in (1, 3))
    other = abs(_tilt(best) - _tilt(quad)) >= OTHER_TILT
    return best if fit >= GROUND_FIT and other and wide >= SHORT * high else None


def _tilt(corners: Floats) -> float:
    """Return the tilt of corners (4, 2) in degrees: that of their long sides."""
    along = corners[1] - corners[0] + corners[2] - corners[3]
    return float(np.degrees(np.arctan2(along[1], along[0])))


def _from_contrast(image: Image, instance: Instance, box: IntBox) -> Floats | None:
    """Return the corners of a region in the box that stands out, brighter or darker; None where there is none."""
    height = box[3] - box[1]
    pad = max(3, round(0.2 * height))
    frame = box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad
    grey = cv2.cvtColor(np.ascontiguousarray(take(image, frame)), cv2.COLOR_RGB2GRAY)
    # Every view of it may be the one that shows the plate; their union is what has to be anonymized.
    expected = np.concatenate([instance.seen, instance.box[None]]) - np.array(frame[:2] * 2, np.float32)
    best, best_fit = None, LEAST_FIT
    for mode, part in product((cv2.THRESH_BINARY, cv2.THRESH_BINARY_INV), CLOSED):
        _, standing_out = cv2.threshold(grey, 0, 255, mode | cv2.THRESH_OTSU)
        # Characters are holes in the plate: close them along the line of text.
        kernel = np.ones((max(3, height // (2 * part)) | 1, max(3, height // part) | 1), np.uint8)
        # Room around the crop, or closing would draw everything near its border out to it.
        room = kernel.shape[0]
        roomy = np.pad(standing_out, room)
        closed = cv2.morphologyEx(roomy, cv2.MORPH_CLOSE, kernel)[room:-room, room:-room]
        contours, _ = cv2.findContours(np.ascontiguousarray(closed), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        for contour in contours:
            x, y, across, down = cv2.boundingRect(contour)
            touching = (x == 0) + (y == 0) + (x + across == grey.shape[1]) + (y + down == grey.shape[0])
            if touching > 2:  # What surrounds the plate.
                continue
            for corners in _four_corners(contour):
                fit = _overlap(corners, contour) * _agreement(corners, expected)
                if fit > best_fit and _plausible(corners):
                    best, best_fit = corners, fit
    return None if best is None else best + np.array(frame[:2], np.float32)


def _four_corners(contour: NDArray[np.int32]) -> list[Floats]:
    """Return candidate corners (4, 2), ordered: the contour's own four if it has them, then its tightest rectangle."""
    hull = cv2.convexHull(contour)
    found = []
    perimeter = cv2.arcLength(hull, True)
    for tolerance in (0.02, 0.04, 0.06):
        corners = cv2.approxPolyDP(hull, tolerance * perimeter, True)
        if len(corners) == 4:
            found.append(_ordered(corners.reshape(4, 2).astype(np.float32)))
            break
    found.append(_ordered(np.asarray(cv2.boxPoints(cv2.minAreaRect(hull)), np.float32)))
    return found


def _ordered(corners: Floats) -> Floats:
    """Return corners (4, 2) clockwise from top left, for plates tilted by less than 45 degrees."""
    centre = corners.mean(axis=0)
    angle = np.arctan2(corners[:, 1] - centre[1], corners[:, 0] - centre[0])
    turned = corners[np.argsort(angle)]  # Clockwise on the screen, for y points down.
    start = int(np.argmin(turned.sum(axis=1)))
    return np.roll(turned, -start, axis=0)


def _plausible(corners: Floats, free: bool = False) -> bool:
    """Return whether corners (4, 2) can be a plate: about a parallelogram, at least 4 pixels high, tilt up to 35°.

    Args:
        corners: Clockwise from top left.
        free: Whether more is known than corners: then tilt and sides as of a plate seen from beside are possible, too.
    """
    if not cv2.isContourConvex(corners.astype(np.float32)):
        return False
    edges = np.roll(corners, -1, axis=0) - corners
    lengths = np.linalg.norm(edges, axis=1)
    if lengths.min() < 4:
        return False
    wide, high = (lengths[0] + lengths[2]) / 2, (lengths[1] + lengths[3]) / 2
    if max(lengths[0], lengths[2]) >= (1.6 if free else 1.4) * min(lengths[0], lengths[2]):
        return False
    if max(lengths[1], lengths[3]) >= (1.8 if free else 1.6) * min(lengths[1], lengths[3]):
        return False
    tilt = np.degrees(np.abs(np.arctan2(edges[0, 1], edges[0, 0])))
    # Sides lean by as much as the plate is rolled; more than that is a corner found wrongly, and italic text.
    lean = np.degrees(np.arctan2(np.abs(edges[[1, 3], 0]), np.abs(edges[[1, 3], 1]))).max()
    # Seen from beside, short plates are slanted; of long ones the short sides are too short to tell.
    slanted = 44.0 if wide < SHORT * high else tilt + 15
    most = (44.0, slanted, 0.5) if free else (35.0, tilt + 5, 0.8)
    return bool(tilt <= most[0] and lean <= most[1] and most[2] <= wide / high <= 8)


def _overlap(corners: Floats, contour: NDArray[np.int32]) -> float:
    """Return the IoU in [0, 1] of the quadrilateral with a contour."""
    left, top, across, down = cv2.boundingRect(np.concatenate([contour[:, 0], np.rint(corners).astype(np.int32)]))
    frames = []
    for points in (contour[:, 0], np.rint(corners).astype(np.int32)):
        frame = np.zeros((down, across), np.uint8)
        cv2.fillPoly(frame, [(points - [left, top]).astype(np.int32)], 1)
        frames.append(frame > 0)
    return float((frames[0] & frames[1]).sum() / max((frames[0] | frames[1]).sum(), 1))


def _agreement(corners: Floats, expected: Floats) -> float:
    """Return the highest IoU in [0, 1] of the corners' upright box with one of the boxes (N, 4) expected."""
    upright = np.concatenate([corners.min(axis=0), corners.max(axis=0)]).astype(np.float32)
    return float(box_iou(upright[None], expected).max())
