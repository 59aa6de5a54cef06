"""Judge fills: person-shaped holes where nobody stands, in held-out pictures, whose truth is known.

    python benchmarks/fill.py --data DATA --engines present,telea --sheet sheet.png

Holes are outlines of annotated persons of other pictures, grown like a safe mask and set with their feet on the lower
half of the picture, beside what is annotated. What is annotated as person, face or plate may be neither read nor shown.
Per engine, over all holes: PSNR; the energy of gradients as a proportion of the truth's (1 is right); texture, the mean
absolute difference of local contrast in five octaves of a Laplacian pyramid, in bits (0 is right); the jump at the
hole's border as a proportion of the truth's (1 is right); seconds of processor time per megapixel of hole and per
picture. ``shiftmap`` and ``fsr`` need opencv-contrib-python, ``pypatchmatch`` the package of that name; an engine whose
package is missing ends the run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from markdown_table import table
from numpy.typing import NDArray
from packs import pictures, read

from anonymizer.core.geometry import dilate
from anonymizer.fill import redact
from anonymizer.fill.migan import MiGan
from anonymizer.fill.smooth import push_pull
from anonymizer.models import weights

SEED = 3
#: Packs with places where nobody stands, and how many pictures of each.
PLACES = {
    "street": 2,
    "pennfudan": 5,
    "ccp": 6,
    "camvid": 4,
    "coco100": 5,
    "humanseg": 4,
    "plates_ro": 3,
    "openalpr": 3,
}
#: Packs whose outlines make holes.
SHAPES = ("pennfudan", "ccp", "humanseg")
#: Longest side of a picture, in pixels.
LONGEST = 1280
#: Octaves that texture is compared in.
OCTAVES = 5

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Engine = Callable[[Image, Mask, Mask], Image]


@dataclass(frozen=True)
class Case:
    """A picture RGB uint8 (H, W, 3), the hole bool (H, W), and what besides may not be read, bool (H, W)."""

    name: str
    image: Image
    hole: Mask
    hidden: Mask


def outlines(data: Path) -> list[Mask]:
    """Return outlines of annotated persons, cut to their boxes."""
    out = []
    for pack in SHAPES:
        for _, truths in pictures(data, pack, "val"):
            for truth in truths:
                mask = truth.mask
                x1, y1, x2, y2 = (round(float(v)) for v in truth.box)
                if truth.label == "person" and mask is not None and y2 - y1 >= 120 and y2 - y1 > 1.3 * (x2 - x1):
                    out.append(mask[max(y1, 0) : y2, max(x1, 0) : x2])
    return out


def cases(data: Path, limit: int | None = None) -> list[Case]:
    """Return the cases, the same ones each time."""
    rng, shapes, out = np.random.default_rng(SEED), outlines(data), []
    for pack, count in PLACES.items():
        chosen = pictures(data, pack, "val")
        order = rng.permutation(len(chosen))
        made = 0
        for at in order:
            path, truths = chosen[int(at)]
            image = read(path)
            size = image.shape[0], image.shape[1]
            hidden = np.zeros(size, bool)
            for truth in truths:
                x1, y1, x2, y2 = (round(float(v)) for v in truth.box)
                mask = truth.mask
                if mask is None:
                    hidden[max(y1, 0) : y2, max(x1, 0) : x2] = True
                else:
                    hidden |= mask
            hidden = dilate(hidden, max(round(0.01 * max(size)), 2))
            hole = _hole(hidden, shapes, rng)
            if hole is None:
                continue
            out.append(Case(f"{pack}/{path.stem}", image, hole, hidden & ~hole))
            made += 1
            if made == count:
                break
    return out if limit is None else out[:: max(len(out) // limit, 1)][:limit]


def _hole(hidden: Mask, shapes: list[Mask], rng: np.random.Generator) -> Mask | None:
    """Return one or two persons' outlines where nothing is hidden, grown; None where there is no place."""
    height, width = hidden.shape
    out = np.zeros(hidden.shape, bool)
    for _ in range(60):
        shape = shapes[int(rng.integers(len(shapes)))]
        tall = round(height * rng.uniform(0.3, 0.75))
        wide = max(round(tall * shape.shape[1] / shape.shape[0]), 2)
        if wide >= 0.6 * width:
            continue
        top = int(rng.integers(max(round(0.55 * height) - tall, 0), height - tall + 1))
        left = int(rng.integers(0, width - wide))
        placed = np.zeros(hidden.shape, bool)
        shape = cv2.resize(shape.astype(np.uint8), (wide, tall), interpolation=cv2.INTER_NEAREST) > 0
        placed[top : top + tall, left : left + wide] = shape
        placed = dilate(placed, int(np.clip(round(0.025 * tall), 2, 12)))
        if not (placed & (hidden | out)).any():
            out |= placed
            if rng.random() < 0.6:
                break
    return out if out.any() else None


def _laplacian(image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    out = []
    for _ in range(OCTAVES):
        low = cv2.pyrDown(image)
        out.append(image - cv2.pyrUp(low, dstsize=(image.shape[1], image.shape[0])))
        image = low
    return out


def measures(case: Case, made: Image) -> dict[str, float]:
    """Return what the fill of a case is worth."""
    hole = case.hole
    if not np.array_equal(made[~hole], case.image[~hole]):
        raise AssertionError(f"{case.name}: pixels outside of the hole changed")
    off = (made[hole].astype(np.float32) - case.image[hole]) ** 2
    out = {"psnr": float(10 * np.log10(255**2 / max(float(off.mean()), 1e-3)))}
    grey, true = (cv2.cvtColor(i, cv2.COLOR_RGB2GRAY).astype(np.float32) for i in (made, case.image))
    inner = cv2.erode(hole.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0

    def steep(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.abs(cv2.Sobel(values, cv2.CV_32F, 1, 0)) + np.abs(cv2.Sobel(values, cv2.CV_32F, 0, 1))

    mine, theirs = steep(grey), steep(true)
    out["gradients"] = float(mine[inner].mean() / max(float(theirs[inner].mean()), 1.0))
    rim = cv2.dilate(hole.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    rim &= ~inner & ~case.hidden
    out["border"] = float(mine[rim].mean() / max(float(theirs[rim].mean()), 1.0))
    bits, share = [], hole.astype(np.float32)
    for a, b in zip(_laplacian(grey), _laplacian(true), strict=True):
        area = cv2.resize(share, (a.shape[1], a.shape[0]), interpolation=cv2.INTER_AREA) > 0.5
        if area.any():
            local = [np.sqrt(cv2.GaussianBlur(v * v, (0, 0), 4.0) + 1.0) for v in (a, b)]
            bits.append(float(np.abs(np.log2(local[0] / local[1]))[area].mean()))
    out["texture"] = float(np.mean(bits))
    return out


def _opencv(method: int) -> Engine:
    def fill(image: Image, hole: Mask, hidden: Mask) -> Image:
        done = cv2.inpaint(image, (hole | hidden).astype(np.uint8), 5, method)
        return np.where(hole[..., None], done, image)

    return fill


def _xphoto(name: str) -> Engine:
    def fill(image: Image, hole: Mask, hidden: Mask) -> Image:
        known = np.where(hole | hidden, 0, 255).astype(np.uint8)
        done = image.copy()
        if name == "SHIFTMAP":
            cv2.xphoto.inpaint(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), known, done, cv2.xphoto.INPAINT_SHIFTMAP)
            done = cv2.cvtColor(done, cv2.COLOR_LAB2RGB)
        else:
            cv2.xphoto.inpaint(image, known, done, getattr(cv2.xphoto, f"INPAINT_{name}"))
        return np.where(hole[..., None], done, image)

    return fill


def _pypatchmatch() -> Engine:
    from patchmatch import patch_match

    def fill(image: Image, hole: Mask, hidden: Mask) -> Image:
        done = patch_match.inpaint(image, (hole | hidden).astype(np.uint8) * 255, patch_size=5)
        return np.where(hole[..., None], done, image)

    return fill


def _present() -> Engine:
    filler = MiGan(weights.path("fill"))

    def fill(image: Image, hole: Mask, hidden: Mask) -> Image:
        return redact(image, hole, np.random.default_rng(SEED), filler, hole | hidden)

    return fill


def _smooth(image: Image, hole: Mask, hidden: Mask) -> Image:
    known = (~(hole | hidden)).astype(np.float32)
    done = np.clip(np.rint(push_pull(image * known[..., None], known)), 0, 255).astype(np.uint8)
    return np.where(hole[..., None], done, image)


def engine(name: str) -> Engine:
    """Return an engine by name."""
    known: dict[str, Callable[[], Engine]] = {
        "present": _present,
        "smooth": lambda: _smooth,
        "telea": lambda: _opencv(cv2.INPAINT_TELEA),
        "navier_stokes": lambda: _opencv(cv2.INPAINT_NS),
        "shiftmap": lambda: _xphoto("SHIFTMAP"),
        "fsr": lambda: _xphoto("FSR_FAST"),
        "pypatchmatch": _pypatchmatch,
    }
    if name not in known:
        raise SystemExit(f"--engines: expected some of {', '.join(known)}, got {name!r}")
    return known[name]()


def sheet(made: list[tuple[Case, dict[str, Image]]], path: Path, height: int = 360) -> None:
    """Write a picture of all cases: the hole, the truth, and what each engine made."""
    rows = []
    for case, results in made:
        holed = case.image.copy()
        holed[case.hole], holed[case.hidden] = (255, 0, 255), (0, 255, 255)
        rows.append(np.hstack([_high(_near(i, case.hole), height) for i in (holed, case.image, *results.values())]))
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0))) for row in rows]
    cv2.imwrite(str(path), np.vstack(rows)[:, :, ::-1])


def _near(image: Image, hole: Mask) -> Image:
    """Return the surroundings of the hole."""
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    pad = 30 + (int(rows[-1]) - int(rows[0])) // 3
    window = slice(max(rows[0] - pad, 0), rows[-1] + pad), slice(max(columns[0] - pad, 0), columns[-1] + pad)
    return image[window]


def _high(image: Image, height: int) -> Image:
    size = round(image.shape[1] * height / image.shape[0]), height
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--engines", default="present,smooth,telea,navier_stokes")
    parser.add_argument("--limit", type=int, help="cases at most, spread over all")
    parser.add_argument("--sheet", type=Path, help="PNG with all cases")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    every = cases(args.data, args.limit)
    made: list[tuple[Case, dict[str, Image]]] = [(case, {}) for case in every]
    rows = []
    for name in args.engines.split(","):
        fill, values, spent = engine(name), [], 0.0
        for case, results in made:
            started = time.process_time()
            results[name] = fill(case.image, case.hole, case.hidden)
            spent += time.process_time() - started
            values.append(measures(case, results[name]))
        means = {key: float(np.mean([value[key] for value in values])) for key in values[0]}
        area = sum(int(case.hole.sum()) for case in every)
        means |= {"s_per_megapixel": 1e6 * spent / area, "s_per_picture": spent / len(every)}
        rows.append({"engine": name, **means})
        print(json.dumps(rows[-1]), flush=True)
    print(f"\n{len(every)} pictures\n\n{table(rows)}")
    if args.sheet is not None:
        sheet(made, args.sheet)


if __name__ == "__main__":
    main()
