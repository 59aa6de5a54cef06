"""Sheets of the wardrobe: each garment, pair of shoes, hair style and accessory on three bodies in four poses.

    python models/training/wardrobe_sheet.py --out sheets [--only tops] [--height 260]

Writes ``tops.png``, ``bottoms.png``, ``full.png``, ``shoes.png``, ``hair.png`` and ``accessories.png``: a row a piece.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from anonymizer.avatar import artist
from anonymizer.avatar.accessories import BAGS, GLASSES, HATS
from anonymizer.avatar.appearance import Appearance, draw_appearance, worn_as
from anonymizer.avatar.body import Body, Shape
from anonymizer.avatar.faces import Faces
from anonymizer.avatar.fit import Fit
from anonymizer.avatar.hair import HAIR
from anonymizer.avatar.render import Light
from anonymizer.avatar.shoes import SHOES
from anonymizer.avatar.stance import Stance, girdle
from anonymizer.avatar.tailor import Measures
from anonymizer.avatar.wardrobe import BOTTOMS, FULL, TOPS, Outfit
from anonymizer.models import weights

#: Phenotypes of the three bodies.
BODIES = ((0.95, 0.6, 0.45, 0.35, 0.45, 0.6), (0.05, 0.65, 0.6, 0.55, 0.6, 0.5), (0.1, 0.85, 0.4, 0.85, 0.45, 0.4))
#: By pose: turn of the body, and directions of upper and lower arm, upper and lower leg, left and right, x outwards.
DOWN = (0.0, 0.0, -1.0)
STAND = ((0.16, 0.05, -1.0), (0.08, -0.2, -1.0), (0.06, 0.0, -1.0), DOWN)
POSES = {
    "ahead": (0.0, STAND, STAND),
    "walking": (
        0.7,
        ((0.1, 0.5, -1.0), (0.05, 0.2, -1.0), (0.05, -0.5, -1.0), (0.0, -0.1, -1.0)),
        ((0.1, -0.5, -1.0), (0.0, -0.9, -0.6), (0.05, 0.3, -1.0), (0.0, 0.7, -0.8)),
    ),
    "sitting": (-0.5, *(((0.2, -0.3, -1.0), (-0.2, -1.0, -0.1), (0.25, -1.0, -0.1), DOWN),) * 2),
    "behind": (2.7, ((0.6, -0.1, 1.0), (0.0, -0.2, 1.0), *STAND[2:]), STAND),
}
WHITE = np.ones(3, np.float32)
LIGHT = Light(np.array([0.5, -0.65, 0.8], np.float32), 0.6 * WHITE, 0.6 * WHITE, 0.26 * WHITE)


def turned(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the smallest rotation between two directions that are not opposite."""
    a, b = start / np.linalg.norm(start), end / np.linalg.norm(end)
    v = np.cross(a, b)
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + k + k @ k / (1 + a @ b)


def posed(body: Body, shape: Shape, name: str, scale: float) -> Fit:
    """Return one of ``POSES``."""
    yaw, *sides = POSES[name]
    rotations = np.tile(np.eye(3), (len(body.bones), 1, 1))

    def rest(bone: str) -> np.ndarray:
        return shape.heads[body.number(bone)]

    for side, sign, (arm, forearm, thigh, shin) in zip("LR", (1, -1), sides, strict=True):
        for upper, lower, end, ways, ends in (
            ("upperarm", "lowerarm", "wrist", (arm, forearm), ("wrist", "finger", "metacarpal")),
            ("upperleg", "lowerleg", "foot", (thigh, shin), ()),
        ):
            first, second = (np.array(way) * [sign, 1, 1] for way in ways)
            high = turned(rest(f"{lower}01.{side}") - rest(f"{upper}01.{side}"), first)
            low = turned(high @ (rest(f"{end}.{side}") - rest(f"{lower}01.{side}")), second) @ high
            if upper == "upperarm":
                arm = (rest(f"{lower}01.{side}") - rest(f"{upper}01.{side}")).astype(np.float32)
                way = (first / np.linalg.norm(first)).astype(np.float32)
                for bone in ("clavicle", "shoulder01"):
                    rotations[body.number(f"{bone}.{side}")] = girdle(arm, way, np.eye(3, dtype=np.float32))
            for number, bone in enumerate(body.bones):
                if bone.endswith(f".{side}") and bone.startswith((upper, lower, *ends)):
                    rotations[number] = high if bone.startswith(upper) else low
    c, s = np.cos(yaw), np.sin(yaw)
    whole = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ rotations
    unknown = Stance(np.zeros((17, 3), np.float32), np.zeros(17, np.float32))
    return Fit(unknown, body.transforms(shape, whole.astype(np.float32)), scale, np.zeros(2, np.float32), 0.0, 1.0)


def drawn(body: Body, person: Appearance, pose: str, height: int) -> np.ndarray:
    """Return a picture of somebody, RGB uint8."""
    rng = np.random.default_rng(1)
    shape = body.rest(person.phenotype)
    fit = posed(body, shape, pose, height / 1.8)
    measures = Measures.of(body, shape)
    fit, dressed = artist._dressed(body, shape, measures, person, fit, rng)
    points = fit.project(np.concatenate([dressed.vertices, *(p for _, p in dressed.garments)]))
    low = points.min(0) - 4
    size = np.ceil(points.max(0) - low + 4).astype(int)
    fit = replace(fit, shift=fit.shift - low)
    box = (0, 0, int(size[0]), int(size[1]))
    made = artist._render(body, shape, measures, person, fit, dressed, box, LIGHT, 0.2, 0.4, rng)
    if made is None:
        raise RuntimeError("expected a body in its box")
    alpha = made.alpha[..., None]
    return np.rint(made.rgb * alpha + 150 * (1 - alpha)).astype(np.uint8)


def outfits(kind: str) -> list[tuple[str, Outfit]]:
    """Return one outfit a piece of a kind."""
    plain = Outfit(("t-shirt",), "trousers", None, "sneakers", "crop")
    if kind == "tops":
        return [(n, replace(plain, tops=("t-shirt", n) if top.outer else (n,))) for n, top in TOPS.items()]
    if kind == "bottoms":
        return [(n, replace(plain, bottom=n)) for n in BOTTOMS]
    if kind == "full":
        return [
            (n, replace(plain, full=n) if below is None else replace(plain, tops=(), bottom=None, full=n))
            for n, (_, below) in FULL.items()
        ]
    if kind == "shoes":
        return [(n, replace(plain, bottom="cropped trousers", shoes=n)) for n in SHOES]
    if kind == "hair":
        return [(n, replace(plain, hair=n)) for n in HAIR]
    return [
        *((n, replace(plain, hat=n)) for n in HATS),
        *((n, replace(plain, bag=n)) for n in BAGS),
        *((n, replace(plain, glasses=n)) for n in GLASSES),
        ("beard", replace(plain, beard=True)),
        ("mask", replace(plain, mask=True)),
    ]


def main() -> None:
    """Write the sheets."""
    kinds = ("tops", "bottoms", "full", "shoes", "hair", "accessories")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=kinds, action="append")
    parser.add_argument("--height", type=int, default=260, help="pixels of a standing person")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    body, _ = Body.load(weights.path("body"))
    faces = Faces.load(weights.path("prototypes") / "textures.safetensors")
    for kind in args.only or kinds:
        rows = []
        for number, (name, outfit) in enumerate(outfits(kind)):
            cells = []
            for k, phenotype in enumerate(BODIES):
                rng = np.random.default_rng((number, k))
                person = worn_as(draw_appearance(faces, rng), outfit, rng)
                person = replace(person, phenotype=np.array(phenotype, np.float32))
                cells += [drawn(body, person, pose, args.height) for pose in POSES]
            wide, high = int(0.75 * args.height), int(1.2 * args.height)
            row = np.full((high, wide * len(cells), 3), 150, np.uint8)
            for k, cell in enumerate(cells):
                part = cell[:high, :wide]
                left = k * wide + (wide - part.shape[1]) // 2
                row[: len(part), left : left + part.shape[1]] = part
            cv2.putText(row, name, (6, high - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (20, 20, 20), 1, cv2.LINE_AA)
            rows.append(row)
        cv2.imwrite(str(args.out / f"{kind}.png"), np.concatenate(rows)[..., ::-1])


if __name__ == "__main__":
    main()
