"""Make the pairs the inpainter learns persons from: an avatar in a person's place, and that person's photograph.

    python models/training/avatar_pairs.py --data ../shared/data --split train

Goes the product's way: everybody in a picture is filled, avatars are fitted, drawn and laid over the fill, depth and
edges come from that. Then, for training only, the avatar takes on the photograph's coarse colours, so that what is left
to learn is what a photograph has and a rendering lacks. Only pairs are kept whose avatar covers its person well and is
much the same picture when both are blurred. The target is the avatar's crop with the photograph wherever both show the
person.

Writes one ``.npz`` for every few pictures of a pack; those that exist are not made again.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from packs import Label, Picture, read_pack

from anonymizer.avatar import AvatarArtist
from anonymizer.condition.depth import GroundPlaneDepth, estimate_horizon
from anonymizer.condition.edges import EdgeNet
from anonymizer.core.geometry import clip_box, dilate, full_mask, paste_window, take
from anonymizer.core.records import Conditions, Image, Instance, Rendering
from anonymizer.detect.blazepose import BlazePose
from anonymizer.detect.outlines import OutlineDetector
from anonymizer.fill import redact
from anonymizer.fill.migan import MiGan
from anonymizer.models import weights
from anonymizer.redraw.avatars import draw_avatars, pasted, seen_by, shaded, shown_as
from anonymizer.redraw.crops import CropSetting, anonymized_mask, crop_box

SEED = 41
PACKS = ("pennfudan", "ccp", "humanseg", "coco100", "coco256", "pedstreet", "facemask", "camvid", "street")
#: As in the preset; crops this many times as high as painted are painted at twice the size.
SETTING = CropSetting(192, 96, 0.1, 1.3)
#: Least height of a person in pixels: photographs of smaller ones are no sharper than what the model makes now.
LEAST = 110
#: Height in pixels to which larger persons are reduced with their picture: more than is painted would only cost time.
MOST_HEIGHT = 400
#: Least IoU of avatar and outline, and greatest root mean square difference of the blurred crops inside, of 255.
ALIKE, DIFFERENT = 0.5, 40.0
#: Sigma of the blur over which colours are taken over, as shares of the person's height, and of the comparison.
COARSE, COMPARED = (0.03, 0.12), 0.02
#: Sigma in pixels at which blurred colours are computed.
SMALL_SIGMA = 3.0
#: Added to both sides of a ratio of colours, of 255, and the range of that ratio.
LIFT, RATIO = 14.0, (0.25, 3.5)
#: Pixels by which the mask to paint grows beyond the avatar at the model's size, as in the redrawer.
BEYOND = 8
#: Persons of one picture, and pictures in one file.
MOST, CHUNK = 6, 20


class Nothing:
    """Stands for the detector, which is not needed to draw persons inside given boxes."""

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return no instances."""
        return ()


@dataclass
class Studio:
    """What the product makes avatars with."""

    artist: AvatarArtist
    outlines: OutlineDetector
    depth: GroundPlaneDepth
    edges: EdgeNet
    filler: MiGan

    @classmethod
    def open(cls) -> Studio:
        """Load everything."""
        textures = weights.path("prototypes") / "textures.safetensors"
        artist = AvatarArtist(weights.path("body"), textures, weights.path("poses"))
        pose = BlazePose(weights.path("blazepose"))
        outlines = OutlineDetector(Nothing(), weights.path("outlines"), "cpu", pose)
        return cls(artist, outlines, GroundPlaneDepth(), EdgeNet(weights.path("edges")), MiGan(weights.path("fill")))


def persons_of(studio: Studio, image: Image, picture: Picture) -> list[tuple[Instance, Label]]:
    """Return persons with outline and pose, and their labels."""
    size = image.shape[0], image.shape[1]
    labels = [label for label in picture.labels if label.name == "person" and not label.crowd]
    boxes = [clip_box(np.array(label.box, np.float32), size) for label in labels]
    kept = [(b, la) for b, la in zip(boxes, labels, strict=True) if min(b[2] - b[0], b[3] - b[1]) >= 8]
    if not kept:
        return []
    found = studio.outlines.segment(image, np.stack([box for box, _ in kept]))
    pairs = [(i, label) for i, (_, label) in zip(found, kept, strict=True) if i is not None]
    return [(replace(i, id=n), label) for n, (i, label) in enumerate(pairs, start=1)]


def faces_of(picture: Picture, persons: Sequence[Instance]) -> dict[int, Instance]:
    """Return the face in the upper half of each person, by the person's id."""
    out: dict[int, Instance] = {}
    for label in picture.labels:
        if label.name != "face":
            continue
        x, y = (label.box[0] + label.box[2]) / 2, (label.box[1] + label.box[3]) / 2
        for person in persons:
            x1, y1, x2, y2 = person.box
            if x1 <= x <= x2 and y1 <= y <= (y1 + y2) / 2 and person.id not in out:
                box = clip_box(np.array(label.box, np.float32), (picture.height, picture.width))
                out[person.id] = replace(_face(box), id=len(persons) + len(out) + 1, parent=person.id)
    return out


def _face(box: np.ndarray) -> Instance:
    width, height = (max(int(np.ceil(b)) - int(np.floor(a)), 1) for a, b in (box[[0, 2]], box[[1, 3]]))
    return Instance(1, "face", box, np.ones((height, width), bool))


def recoloured(drawn: Rendering, image: Image, same: np.ndarray, sigma: float) -> Rendering:
    """Return a rendering with the coarse colours of a photograph, part of the body by part.

    Args:
        drawn: The rendering.
        image: RGB uint8 (H, W, 3), the photograph.
        same: bool (h, w) in the rendering's frame, where the photograph shows the person as well.
        sigma: Of the blur in pixels.
    """
    own = drawn.rgb.astype(np.float32)
    out = own.copy()
    both = np.dstack([take(image, drawn.box).astype(np.float32), own, np.ones(same.shape, np.float32)])
    # What is as smooth as this needs no more than a few pixels to a sigma.
    times = max(sigma / SMALL_SIGMA, 1.0)
    small = max(round(same.shape[1] / times), 1), max(round(same.shape[0] / times), 1)

    def smooth(weight: np.ndarray, sigma: float) -> np.ndarray:
        inner = both * weight[..., None].astype(np.float32)
        # OpenCV resizes four channels at most.
        less = [cv2.resize(part, small, interpolation=cv2.INTER_AREA) for part in (inner[..., :4], inner[..., 4:])]
        return cv2.GaussianBlur(np.dstack(less), (0, 0), sigma / times)

    wide = smooth(same, 4 * sigma)
    for part in np.unique(drawn.parts):
        region = drawn.parts == part
        # Where a part shows nowhere near in the photograph, its neighbours tell.
        table = smooth(region & same, sigma) + wide * np.float32(0.02)
        count = np.maximum(table[..., 6:], 1e-6)
        ratio = np.clip((table[..., :3] / count + LIFT) / (table[..., 3:6] / count + LIFT), *RATIO)
        # Where no photograph is near at all, the rendering stays as it is.
        change = 1 + (ratio - 1) * np.clip(table[..., 6:] / 1e-3, 0, 1)
        changed = (own + LIFT) * cv2.resize(change, same.shape[::-1], interpolation=cv2.INTER_LINEAR) - LIFT
        out[region] = changed[region]
    return replace(drawn, rgb=np.rint(np.clip(out, 0, 255)).astype(np.uint8))


def resized(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize to (width, height) as the redrawer does."""
    shrinks = array.shape[0] > size[1]
    return cv2.resize(array, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def pair(
    image: Image,
    clean: Image,
    person: Instance,
    label: Label,
    drawn: Rendering,
    maps: Conditions,
) -> dict[str, np.ndarray] | None:
    """Return the arrays of one pair at the largest size the product would paint it at, None where it fits badly."""
    whole = image.shape[0], image.shape[1]
    window = crop_box(person.box, SETTING, whole)
    times = 2 if window[3] - window[1] >= SETTING.double_from * SETTING.height else 1
    size = times * SETTING.width, times * SETTING.height
    shown = np.zeros(whole, np.float32)
    shown[drawn.box[1] : drawn.box[3], drawn.box[0] : drawn.box[2]] = drawn.alpha
    seen = full_mask(replace(person, mask=person.outline, core=None), whole)
    if label.mask is not None and not label.approximate:
        seen &= label.mask
    both = (shown >= 0.5) & seen
    union = float(((shown >= 0.5) | seen).sum())
    if both.sum() < ALIKE * union:
        return None
    # The photograph, with soft rims, where both show the person.
    matte = cv2.GaussianBlur(cv2.erode(both.astype(np.float32), np.ones((3, 3))), (0, 0), 0.8)

    def view(array: np.ndarray) -> np.ndarray:
        x, y = np.arange(window[0], window[2]), np.arange(window[1], window[3])
        within = ((y >= 0) & (y < whole[0]))[:, None] & ((x >= 0) & (x < whole[1]))
        return take(array, window) * within

    start = pasted(take(clean, window), window, drawn)
    # Beyond the person's mask the avatar does not show, but it is there for the model.
    alpha = view(matte)[..., None]
    target = start * (1 - alpha) + take(image, window) * alpha
    frame = (view(shown) > 0).astype(np.float32)
    shrinks = frame.shape[0] > size[1]
    rough = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST) > 0
    out = {
        "start": resized(start, size),
        "image": np.clip(np.rint(resized(target.astype(np.float32), size)), 0, 255).astype(np.uint8),
        "clean": resized(take(clean, window), size),
        "mask": dilate(rough, BEYOND),
        "core": rough,
        "same": resized(view(matte).astype(np.float32), size) >= 0.9,
        "depth": np.rint(np.clip(resized(take(maps.depth, window), size), 0, 1) * 255).astype(np.uint8),
        "edges": np.rint(np.clip(resized(take(maps.edges, window), size), 0, 1) * 255).astype(np.uint8),
    }
    blur = COMPARED * size[1]
    near = [cv2.GaussianBlur(out[k].astype(np.float32), (0, 0), blur) for k in ("start", "image")]
    inside = out["same"]
    if not inside.any():
        return None
    apart = float(np.sqrt(((near[0] - near[1])[inside] ** 2).mean()))
    if apart > DIFFERENT:
        return None
    return {**out, "apart": np.float32(apart), "alike": np.float32(both.sum() / union)}


def pairs_of(studio: Studio, picture: Picture) -> list[dict[str, np.ndarray]]:
    """Return the pairs of one picture."""
    image, picture = reduced(picture)
    known = persons_of(studio, image, picture)
    tall = [(i, label) for i, label in known if i.box[3] - i.box[1] >= LEAST]
    if not tall:
        return []
    whole = image.shape[0], image.shape[1]
    number = int(picture.record["id"])
    rng = np.random.default_rng((SEED, number))
    everybody = [i for i, _ in known]
    clean = redact(image, anonymized_mask(everybody, whole), rng, studio.filler)
    chosen = sorted(tall, key=lambda one: -float(one[0].box[3] - one[0].box[1]))[:MOST]
    seeds = {i.id: int(rng.integers(2**31)) for i, _ in chosen}
    faces = faces_of(picture, everybody)
    everyone = [*everybody, *faces.values()]
    view = seen_by(studio.artist, clean, everyone, estimate_horizon(everyone, whole))
    renderings = draw_avatars(studio.artist, clean, [i for i, _ in chosen], everyone, seeds, view)
    for person, _ in chosen:
        if person.id in renderings:
            renderings[person.id] = _coloured(renderings[person.id], image, person, rng)
    drawn = [shown_as(i, renderings[i.id]) for i, _ in chosen if i.id in renderings]
    if not drawn:
        return []
    scene, _ = shaded(clean, renderings.values())
    for rendering in renderings.values():
        scene = pasted(scene, (0, 0, whole[1], whole[0]), rendering)
    bodies = tuple(replace(i, mask=i.outline, core=None) for i in drawn)
    maps = Conditions(studio.depth.estimate(scene, bodies), studio.edges.detect(scene))
    made = [
        pair(image, clean, person, label, renderings[person.id], maps)
        for person, label in chosen
        if person.id in renderings
    ]
    return [m for m in made if m is not None]


def _coloured(drawn: Rendering, image: Image, person: Instance, rng: np.random.Generator) -> Rendering:
    height = float(person.box[3] - person.box[1])
    seen = full_mask(replace(person, mask=person.outline, core=None), (image.shape[0], image.shape[1]))
    inside, local = paste_window(drawn.box, (image.shape[0], image.shape[1]))
    same = np.zeros(drawn.alpha.shape, bool)
    same[local] = seen[inside]
    return recoloured(drawn, image, same & (drawn.alpha >= 0.5), height * rng.uniform(*COARSE))


def main() -> None:
    """Make the pairs of one split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--split", choices=("train", "val"), default="train")
    parser.add_argument("--packs", nargs="+", default=PACKS)
    parser.add_argument("--chunks", type=int, default=10**6, help="files of each pack at most")
    parser.add_argument("--out", type=Path, default=Path("runs/inpaint/pairs"))
    args = parser.parse_args()
    cv2.setNumThreads(1)
    studio = Studio.open()
    folder = args.out / args.split
    folder.mkdir(parents=True, exist_ok=True)
    for pack in args.packs:
        pictures = [p for p in read_pack(args.data, pack) if p.split == args.split and any_person(p)]
        random.Random(SEED).shuffle(pictures)
        for chunk in range(min(args.chunks, -(-len(pictures) // CHUNK))):
            path = folder / f"{pack}-{chunk:03d}.npz"
            if path.exists():
                continue
            found = [one for p in pictures[chunk * CHUNK : (chunk + 1) * CHUNK] for one in pairs_of(studio, p)]
            arrays = {f"{n}/{key}": value for n, one in enumerate(found) for key, value in one.items()}
            partial = path.with_suffix(".part.npz")
            np.savez_compressed(partial, count=np.array(len(found)), **arrays)
            partial.rename(path)
            print(pack, chunk, len(found), flush=True)


def reduced(picture: Picture) -> tuple[Image, Picture]:
    """Return a picture whose largest person is no higher than ``MOST_HEIGHT``, and its labels for that size."""
    image = picture.read()
    tallest = max(la.box[3] - la.box[1] for la in picture.labels if la.name == "person" and not la.crowd)
    share = min(1.0, MOST_HEIGHT / tallest)
    if share == 1.0:
        return image, picture
    size = round(picture.width * share), round(picture.height * share)
    x, y = size[0] / picture.width, size[1] / picture.height

    def less(label: Label) -> Label:
        mask = None if label.mask is None else cv2.resize(label.mask.astype(np.uint8), size) > 0
        box = label.box[0] * x, label.box[1] * y, label.box[2] * x, label.box[3] * y
        return replace(label, box=box, mask=mask)

    small = replace(picture, width=size[0], height=size[1], labels=tuple(less(la) for la in picture.labels))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), small


def any_person(picture: Picture) -> bool:
    """Return whether a picture has a person who is tall enough."""
    return any(la.name == "person" and not la.crowd and la.box[3] - la.box[1] >= LEAST for la in picture.labels)


if __name__ == "__main__":
    main()
