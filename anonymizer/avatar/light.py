"""Light and camera of a scene from what surrounds its persons: sun, sky and ground, sharpness, noise, perspective.

No pixel inside a mask is read. Light is linear: a picture's values are its root (``GAMMA``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.render import Light
from anonymizer.core.geometry import IntBox, paste_window
from anonymizer.core.records import Instance

__all__ = ["GAMMA", "Scene", "crisp", "developed", "estimate_light", "exposed", "look", "noise_level", "sun_of"]

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

#: A picture's values are this root of light.
GAMMA = np.float32(2.2)
#: Longer side in pixels at which a picture is looked at for its light.
SIDE = 480
#: Height of a person in metres, and focal length in longer sides of the picture, where nothing else is known.
HEIGHT, FOCAL = 1.68, 1.0
#: Pitch of the camera as the sine of its angle, between these: what is level ground further away, and a steep view.
PITCH = (0.06, 0.5)
#: Surroundings of a person that are looked at, as a share of the longer side of its box on each side.
AROUND = 0.6
#: Light (linear) of ordinary surroundings, and the least that counts.
USUAL, LEAST = 0.16, 1e-3
#: Light from which a picture is burnt out: a sky, a door or a white wall behind somebody lights their back, and tells
#: nothing of the light on them. Where more than this share of the surroundings is, no more does what is left, as the
#: fill of what stood there.
BURNT, ALL = 0.8, 0.8
#: The light on people follows with these powers how bright the brightest tenth around them that is not burnt out is
#: beside the brightest tenth of the picture, and the median around them, within limits: a camera exposes for all of a
#: picture, and who walks in its shade is darker than who stands in its sun. About what ``models/training/fit_light.py``
#: finds on 804 annotated persons of 6 packs, ``train`` pictures (0.88 and 0.23): it explains 41 % of the variance of
#: the logarithm of their light in other pictures, and 24 % in a pack that is left out; the median alone 29 % and
#: nothing.
TENTH, POWERS, LIMITS = 90, (0.85, 0.25), (0.06, 1.3)
#: Most light in that of the brightest tenth around: no picture that is dark as a whole was among these.
MOST = 2.0
#: Share of the surroundings' cast in the light, and the norm by which their colours are averaged.
CAST, NORM = 0.6, 6
#: What a white surface that faces the light sends back where a picture is brightest: all together, and the ground's
#: part of what comes from above. Chosen so that avatars are about as light as 142 annotated persons (31 and 29 in
#: CIELAB, medians).
FULL, GROUND = 1.9, 0.3
#: Value from which a camera compresses highlights.
KNEE = np.float32(0.7)
#: Contrast of a camera's picture: the spread of lightness within a person is 0.57 of its mean, of avatars as they are
#: lit 0.44 (142 persons, ``val`` pictures).
CONTRAST = 1.3
#: Gains of detail of one, two and four pixels in tall avatars, less 1; cameras and what is done to their pictures
#: sharpen. Without, detail of persons of 500 pixels and more is 2.7, 2.2 and 1.7 times that of avatars, contrast
#: included. Heights in pixels from which it is strengthened, from which in full, and from which less again, for what is
#: fine on a body is then wider; and the blur of a picture in pixels up to which it is sharp.
DETAIL, CRISP, SHARP = (0.8, 0.6, 0.25), (150.0, 500.0, 700.0), 0.5
#: Standard deviation in pixels of the blur that takes detail of one pixel away.
FINEST = 0.7
#: Part of the sun in the light where no shadow tells it, by contrast (standard deviation of values) of surroundings
#: under clouds and in sun; and its limits where shadows do.
CLOUDY, SUNNY, DIFFUSE = 0.12, 0.28, (0.1, 0.4)
DIRECT = (0.35, 0.75)
#: Directions of the sun that are tried: azimuths, and cotangents of its height: lengths of shadows in heights.
AZIMUTHS, LENGTHS = 24, (0.4, 0.8, 1.5)
#: Where shadows are sampled, in metres: from the foot on, at this step, half their width, and how far beside them.
FROM, STEP, HALF, BESIDE = 0.3, 0.08, 0.12, (0.5, 0.75)
#: By how much a cast shadow is darker at least, in logarithms of values, to be believed (in sun it takes half of the
#: light and more, 0.3; what stands close to others in overcast light reaches 0.2), and how much clearer it is than the
#: second best direction that is not its neighbour.
DARKER, CLEARER = 0.25, 1.25
#: Least height of a person in pixels whose shadow is looked for, and least share of samples that are seen.
TALL, SEEN = 40, 0.5
#: Variance in pixels of the blur of Sobel's operator, and the blur of a picture without an edge.
SOBEL, BLUR = 0.6, 0.7
#: Height of the sun where no shadow tells it.
USUAL_SUN = np.array([0.45, -0.6, 0.9], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture as an artist sees it.

    Args:
        linear: float32 (h, w, 3), its light at ``SIDE`` pixels.
        open: bool (h, w), what nothing anonymized covers.
        scale: Pixels of ``linear`` per pixel of the picture.
        pitch: Sine of the angle by which the camera looks down.
        sun: float32 (3,), direction to the sun (x right, y away on level ground, z up); None where no shadow tells it.
        direct: Part of the sun in the light where ``sun`` is known, in [0, 1].
        blur: Standard deviation in pixels of the picture's sharpest edges.
    """

    linear: Floats
    open: Mask
    scale: float
    pitch: float
    sun: Floats | None
    direct: float
    blur: float


def look(image: Image, hidden: Mask, persons: Sequence[Instance], horizon: float) -> Scene:
    """Return what a picture says about light and camera.

    Args:
        image: RGB uint8 (H, W, 3).
        hidden: bool (H, W), what is anonymized; nothing of it enters.
        persons: Where persons stand: shadows on the ground begin at their feet.
        horizon: Row of the horizon in pixels.
    """
    height, width = hidden.shape
    scale = min(1.0, SIDE / max(height, width))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    covered = cv2.resize(hidden.astype(np.float32), size, interpolation=cv2.INTER_AREA) if scale < 1 else hidden
    seen = np.asarray(covered == 0)
    linear = np.power(small.astype(np.float32) / 255, GAMMA).astype(np.float32)
    boxes = np.array([i.box for i in persons], np.float32).reshape(-1, 4)
    feet = float(boxes[:, 3].max()) if len(boxes) else float(height)
    pitch = float(np.clip((feet - horizon) / (FOCAL * max(height, width)), *PITCH))
    sun, direct = sun_of(linear, seen, boxes[boxes[:, 3] < height - 2] * np.float32(scale), pitch)
    return Scene(linear, seen, scale, pitch, sun, direct, sharpness(image, hidden))


def sun_of(linear: Floats, seen: Mask, boxes: Floats, pitch: float) -> tuple[Floats | None, float]:
    """Return the direction to the sun by the shadows that persons cast, and its part in the light.

    For each direction and length, the ground where a shadow would lie is compared with the ground on both sides of it.
    All persons have the same sun.

    Args:
        linear: float32 (h, w, 3), light.
        seen: bool (h, w), what may be read.
        boxes: float32 (N, 4), persons whose feet are in the picture.
        pitch: Sine of the angle by which the camera looks down.

    Returns:
        float32 (3,) of length 1 or None, and the part in [0, 1].
    """
    values = np.log(np.maximum(linear.mean(2), 1e-3)) / GAMMA
    score = np.zeros((AZIMUTHS, len(LENGTHS)), np.float32)
    weight = np.zeros_like(score)
    for box in boxes:
        tall = float(box[3] - box[1])
        if tall < TALL * 0.5:
            continue
        metre = tall / HEIGHT
        foot = np.array([(box[0] + box[2]) / 2, box[3] - 0.03 * tall], np.float32)
        for n, length in enumerate(LENGTHS):
            found = _contrast(values, seen, foot, metre * np.array([1, pitch], np.float32), length * HEIGHT)
            score[:, n] += np.nan_to_num(found) * tall
            weight[:, n] += ~np.isnan(found) * tall
    mean = np.divide(score, weight, out=np.zeros_like(score), where=weight > 0)
    k, n = divmod(int(mean.argmax()), len(LENGTHS))
    best = float(mean[k, n])
    apart = np.abs((np.arange(AZIMUTHS) - k + AZIMUTHS // 2) % AZIMUTHS - AZIMUTHS // 2)
    second = float(mean[apart > AZIMUTHS // 6].max())
    if best < DARKER or best < CLEARER * second:
        return None, 0.0
    # Where a shadow lies there is the sky alone.
    direct = float(np.clip(1 - np.exp(-best * GAMMA), *DIRECT))
    angle = 2 * np.pi * k / AZIMUTHS
    up = np.array([-np.sin(angle) * LENGTHS[n], -np.cos(angle) * LENGTHS[n], 1], np.float32)
    return (up / np.linalg.norm(up)).astype(np.float32), direct


def _contrast(values: Floats, seen: Mask, foot: Floats, metre: Floats, length: float) -> Floats:
    """Return by how much the ground is darker where a shadow would lie than around it.

    Args:
        values: float32 (h, w), logarithms of a picture's values.
        seen: bool (h, w), what may be read.
        foot: float32 (2,), x and y in pixels of where the shadow begins.
        metre: float32 (2,), pixels of a metre of ground to the right and away.
        length: Of the shadow in metres.

    Returns:
        float32 (AZIMUTHS,), NaN where too little of the ground is seen.
    """
    angle = 2 * np.pi * np.arange(AZIMUTHS, dtype=np.float32) / AZIMUTHS
    along = np.stack([np.sin(angle), np.cos(angle)], 1)  # of the shadow: x right, y away
    across = np.stack([along[:, 1], -along[:, 0]], 1)

    def read(distance: Floats, sides: Sequence[float]) -> Floats:
        """Return values at distances (N,) and sides (S,) of each direction, float32 (AZIMUTHS, S * N), NaN unseen."""
        beside = np.array(sides, np.float32)[None, :, None, None] * across[:, None, None]
        ground = (distance[None, None, :, None] * along[:, None, None] + beside).reshape(AZIMUTHS, -1, 2)
        x, y = (np.rint(foot[k] + sign * metre[k] * ground[..., k]).astype(int) for k, sign in ((0, 1), (1, -1)))
        inside = (x >= 0) & (y >= 0) & (x < values.shape[1]) & (y < values.shape[0])
        x, y = np.clip(x, 0, values.shape[1] - 1), np.clip(y, 0, values.shape[0] - 1)
        return np.where(inside & seen[y, x], values[y, x], np.float32(np.nan))

    t = np.arange(FROM, length, STEP, dtype=np.float32)
    dark = read(t, (-HALF, 0.0, HALF))
    flanks = [read(t, [sign * side for side in BESIDE]) for sign in (-1, 1)]
    enough = [(~np.isnan(part)).mean(1) >= SEEN for part in (dark, *flanks)]
    out = np.full(AZIMUTHS, np.nan, np.float32)
    usable = np.logical_and.reduce(enough)
    if usable.any():
        shade, left, right = (np.nanmedian(part[usable], axis=1) for part in (dark, *flanks))
        # A shadow is darker than the ground on either side; a kerb or a wall than that on one.
        out[usable] = np.minimum(left, right) - shade
    return out


def estimate_light(scene: Scene, box: IntBox, rng: np.random.Generator) -> Light:
    """Return the light on a person.

    Args:
        scene: The picture.
        box: Integer xyxy of the person in it.
        rng: From which side the sun comes where no shadow tells it.
    """
    pad = AROUND * max(box[2] - box[0], box[3] - box[1])
    x1, y1, x2, y2 = (round(v * scene.scale) for v in (box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad))
    inside, _ = paste_window((x1, y1, x2, y2), scene.open.shape)
    near, seen = scene.linear[inside], scene.open[inside]
    if not seen.any():
        near, seen = scene.linear, scene.open
    pixels = near[seen] if seen.any() else np.full((1, 3), USUAL, np.float32)
    everything = scene.linear[scene.open] if scene.open.any() else pixels
    grey = pixels.mean(1)
    dull = grey[grey <= BURNT]
    told = len(dull) > (1 - ALL) * len(grey)
    here, front = (max(float(v), LEAST) for v in (np.percentile(dull, (TENTH, 50)) if told else (BURNT, USUAL)))
    whole = max(float(np.percentile(everything.mean(1), TENTH)), LEAST)
    lit = float(np.clip((here / whole) ** POWERS[0] * (front / USUAL) ** POWERS[1], *LIMITS))
    bright = FULL * min(lit, MOST * here)
    tint = _tint(everything)
    half = seen.copy()
    half[: len(half) // 2] = False
    # What the ground sends back has the ground's own colour as well.
    floor = _tint(near[half]) if half.any() else tint
    if scene.sun is None:
        contrast = float(np.power(grey, 1 / GAMMA).std())
        low, high = DIFFUSE
        direct = low + (high - low) * float(np.clip((contrast - CLOUDY) / (SUNNY - CLOUDY), 0, 1))
        sun = USUAL_SUN * np.array([1 if rng.random() < 0.5 else -1, 1, 1], np.float32)
    else:
        direct, sun = scene.direct, scene.sun
    above = bright * (1 - direct) * tint
    return Light(
        sun=sun,
        sunlight=(bright * direct * tint * np.array([1.03, 1, 0.95], np.float32)).astype(np.float32),
        sky=above.astype(np.float32),
        ground=(np.float32(bright * GROUND) * floor).astype(np.float32),
    )


def exposed(colours: Floats) -> Floats:
    """Return colours as a camera keeps them: what is too bright approaches white slowly, its hue stays.

    Args:
        colours: float32 (N, 3), a picture's values, 0 and above.
    """
    most = colours.max(1, keepdims=True)
    over = np.maximum(most - KNEE, 0) / (1 - KNEE)
    kept = np.minimum(most, KNEE) + (1 - KNEE) * (1 - np.exp(-over))
    return np.asarray(colours * (kept / np.maximum(most, np.float32(1e-6))), np.float32)


def developed(colours: Floats, middle: float) -> Floats:
    """Return colours with the contrast that cameras give pictures.

    Args:
        colours: float32 (N, 3), a picture's values, 0 and above.
        middle: Of the person as a whole: the value that stays as it is.
    """
    most = np.maximum(colours.max(1, keepdims=True), np.float32(1e-4))
    return np.asarray(colours * (most / np.float32(max(middle, 1e-4))) ** np.float32(CONTRAST - 1), np.float32)


def crisp(colour: Floats, tall: float, blur: float) -> Floats:
    """Return an avatar with its detail strengthened as a camera does, the more the taller it is.

    Args:
        colour: float32 (h, w, 4), values times coverage, and coverage in [0, 1].
        tall: Its height in pixels.
        blur: Standard deviation in pixels of the picture's sharpest edges.
    """
    low, full, high = CRISP
    share = float(np.clip((tall - low) / (full - low), 0, 1)) * min(1.0, high / tall) * min(1.0, SHARP / blur)
    if not share:
        return colour
    cover = np.maximum(colour[..., 3:], np.float32(1e-4))
    finer = values = colour[..., :3] / cover
    added = np.zeros_like(values)
    for octave, gain in enumerate(DETAIL):
        # Only what the avatar covers counts, so that its outline gets no rim.
        around = cv2.GaussianBlur(colour, (0, 0), FINEST * 2**octave)
        coarser = around[..., :3] / np.maximum(around[..., 3:], np.float32(1e-4))
        # The same change of all three channels: detail of lightness, not of hue.
        added += np.float32(share * gain) * (finer - coarser).mean(2, keepdims=True)
        finer = coarser
    return np.asarray(np.concatenate([np.clip(values + added, 0, 1) * cover, colour[..., 3:]], 2), np.float32)


def _tint(pixels: Floats) -> Floats:
    """Return the colour of the light that falls on what sends back light (N, 3), float32 (3,), about 1 in the mean.

    By shades of grey (Finlayson and Trezzi, 2004): bright things count more than dark ones, and are seldom coloured.
    """
    values = np.power(np.clip(pixels, 0, 1), 1 / GAMMA)
    norm = np.power(np.power(values, NORM).mean(0), 1 / NORM)
    ratio = np.clip(norm / max(float(norm.mean()), 0.02), 0.6, 1.5)
    return np.power(1 + CAST * (ratio - 1), GAMMA).astype(np.float32)


def sharpness(image: Image, hidden: Mask) -> float:
    """Return the standard deviation in pixels of the blur of a picture's sharpest edges.

    An edge that is blurred again loses the more of its slope the sharper it was (Zhuo and Sim, 2011).

    Args:
        image: RGB uint8 (H, W, 3).
        hidden: bool (H, W), what is not read.
    """
    again = 1.0
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)

    def slope(values: Floats) -> Floats:
        x, y = (cv2.Sobel(values, cv2.CV_32F, *way, ksize=3) for way in ((1, 0), (0, 1)))
        return cv2.magnitude(x, y)

    first, second = slope(grey), slope(cv2.GaussianBlur(grey, (0, 0), again))
    far = cv2.dilate(hidden.astype(np.uint8), np.ones((7, 7), np.uint8)) == 0
    far &= first == cv2.dilate(first, np.ones((3, 3), np.uint8))
    strong = first[far]
    if strong.size < 50:
        return BLUR
    chosen = far & (first >= max(float(np.percentile(strong, 95)), 40.0))
    ratio = first[chosen] / np.maximum(second[chosen], 1e-3)
    ratio = ratio[ratio > 1.01]
    if ratio.size < 20:
        return BLUR
    found = float(np.median(again / np.sqrt(ratio**2 - 1)))
    return float(np.clip(np.sqrt(max(found**2 - SOBEL, 0)), 0.3, 3.0))


def noise_level(image: Image, hidden: Mask, box: IntBox) -> float:
    """Return the standard deviation of a picture's noise around a box, in [0, 1], from its smoothest places.

    Args:
        image: RGB uint8 (H, W, 3).
        hidden: bool (H, W), what is not read.
        box: Integer xyxy; a frame of half its longer side around it is looked at.
    """
    pad = max(box[2] - box[0], box[3] - box[1]) // 2
    inside, _ = paste_window((box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad), hidden.shape)
    grey, covered = image[inside].astype(np.float32).mean(2) / 255, hidden[inside]
    if min(grey.shape) < 8:
        return 0.0
    # Immerkaer, 1996: a kernel that sees neither slopes nor edges' first order.
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(grey, -1, kernel))[1:-1, 1:-1]
    usable = cv2.dilate(covered.astype(np.uint8), np.ones((3, 3), np.uint8))[1:-1, 1:-1] == 0
    # What is burnt out or black has no noise.
    usable &= (grey > 0.04)[1:-1, 1:-1] & (grey < 0.96)[1:-1, 1:-1]
    return float(np.percentile(response[usable], 35) / 0.45 / 6) if usable.sum() >= 64 else 0.0
