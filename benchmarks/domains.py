"""Second domain: the diffusion core on objects that it was not trained on.

    python benchmarks/domains.py --data DATA --judges JUDGES --out DIR [--domain NAME]... [--limit N]

``vehicles`` are cars, buses, trucks and motorcycles on ``val`` pictures, compared with ``train`` ones; ``things`` are
COCO's other classes, as animals, food and furniture, on every second picture, compared with the others. CenterNet finds
them, GrabCut cuts them out. Each gets another colour and lightness at random in Lab and is denoised by the shipped
inpainter at several strengths, held to depth and edges of the recoloured picture; or it is filled and painted from
noise, held to the same maps. *Shading*: the fine shading alone is taken over, as for avatars. Measured as in
``avatars.py``, and whether CenterNet and NanoDet find one of the class again. An object keeps its shape: nobody and
nothing is anonymized. ``DIR`` gets ``NAME.md`` and a sheet, its columns in the table's order; pictures done before are
read from it.
"""

from __future__ import annotations

import argparse
import dataclasses
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from avatar_measures import Distance, proportion, told_apart
from avatar_run import Kept
from avatars import cell
from markdown_table import table
from numpy.typing import NDArray
from packs import pictures, read, some

from anonymizer import Instance
from anonymizer.condition.depth import GroundPlaneDepth
from anonymizer.condition.edges import EdgeNet
from anonymizer.core.geometry import IntBox, blend, box_iou, context_box, dilate, feather, paste_window, take
from anonymizer.detect.centernet import CenterNetDetector
from anonymizer.evaluation.networks import ImageFeatures, NanoDet
from anonymizer.fill import redact
from anonymizer.fill.migan import MiGan
from anonymizer.models import weights
from anonymizer.models.third_party import offline
from anonymizer.redraw.crops import CropSetting, crop_box, paint_size
from anonymizer.redraw.diffusion import DiffusionSettings, InpaintJob
from anonymizer.redraw.exported import ExportedInpainter
from anonymizer.redraw.redrawer import changed

Image, Mask, Floats = NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32]

#: Packs by domain and COCO's numbers of its classes.
VEHICLES = (2, 3, 5, 7)
DOMAINS = {
    "vehicles": (("camvid", "openalpr", "plates_br", "plates_ro", "plates_mix"), VEHICLES),
    "things": (("coco100", "coco256"), tuple(n for n in range(2, 80) if n not in VEHICLES)),
}
#: Crops of objects: between those of persons and of plates, which the inpainter was trained on.
CROP = CropSetting(height=128, width=192, margin=0.15)
STRENGTHS, STEPS, SCALES = (0.1, 0.2, 0.3), 10, (1.0, 1.0)
#: Least score and side in pixels of an object, most objects of a picture, and least part of its box that it fills.
SURE, LEAST_SIDE, MOST, LEAST_PART = 0.4, 64, 2, 0.25
#: Surroundings of an object in its window as a proportion of its longer side, and the window's longest side in pixels.
AROUND, SIDE = 0.4, 384
#: Score and IoU from which an object is found again; rounds of GrabCut; pixels over which a new object blends.
FOUND, SAME, ROUNDS, RIM = 0.3, 0.5, 3, 2
#: How far an object's middle colour may lie from grey, in units of Lab, and the powers that lightness is raised to.
CHROMA, POWERS = 45.0, (0.6, 1.7)
#: Objects on a sheet, width and height of each in pixels; pictures to compare with for each that is treated.
ROWS, TILE, REFERENCE = 16, (192, 128), 4


@dataclass(slots=True)
class Object:
    """An object: its class, picture, window and box there; by variant features, finds by both judges, and a tile."""

    number: int
    picture: str
    image: Image
    box: Floats
    features: dict[str, Any]
    found: dict[str, tuple[bool, bool]]
    tiles: dict[str, Image]


class Bench:
    """Finds, changes and judges objects of one domain."""

    def __init__(self, domain: str, judges: Path) -> None:
        self._packs, self._numbers = DOMAINS[domain]
        self._vehicles = domain == "vehicles"
        self._centernet = CenterNetDetector(weights.path("centernet"), {"vehicle": FOUND})
        self._nanodet = NanoDet(judges / "nanodet.onnx")
        self._wanted, run = self._numbers, self._nanodet._session.run
        self._nanodet._session = SimpleNamespace(run=lambda *a: [heeding(p, self._wanted) for p in run(*a)])
        self._describe = ImageFeatures(judges / "efficientnet-lite2.onnx")
        self._depth, self._edges = GroundPlaneDepth(), EdgeNet(weights.path("edges"))
        self._filler = MiGan(weights.path("fill"))
        self._inpainter = ExportedInpainter(weights.path("inpaint"), DiffusionSettings(STEPS, 1.0, SCALES))

    def paths(self, data: Path, treated: bool, limit: int) -> list[Path]:
        """Return the pictures of all packs that are treated, or that these are compared with."""
        split = ("val" if treated else "train") if self._vehicles else "all"
        packs = [[path for path, _ in pictures(data, pack, split)] for pack in self._packs]
        halves = [pack if self._vehicles else pack[int(treated) :: 2] for pack in packs]
        return [path for pack in halves for path in some(pack, limit)]

    def objects(self, path: Path, treated: bool) -> list[Object]:
        """Return the largest objects of a picture with what the judges say of them, in all variants if treated."""
        image = read(path)
        sure = [r for r in self._centernet._look(image) if int(r[5]) in self._numbers and r[4] >= SURE]
        sides = sorted(((float(min(r[2] - r[0], r[3] - r[1])), n) for n, r in enumerate(sure)), reverse=True)
        rows = [sure[n] for side, n in sides[:MOST] if side >= LEAST_SIDE]
        out = [_windowed(image, row, f"{path.parent.parent.name}/{path.name}") for row in rows]
        for thing in out:
            thing.features["real"] = self._describe.describe(thing.image, thing.box[None])[0]
        return [thing for thing in out if self._treat(thing)] if treated else out

    def _treat(self, thing: Object) -> bool:
        """Make and judge all variants of an object; False where its outline is not seen."""
        image, box = thing.image, thing.box
        mask = cut_out(image, box)
        if mask is None:
            return False
        rng = np.random.default_rng((7, zlib.crc32(thing.picture.encode()), int(box[0])))
        coloured, filled = recoloured(image, mask, rng), redact(image, dilate(mask, 2), rng, self._filler)
        whole = np.array([0, 0, *image.shape[1::-1]], np.float32)
        depth = self._depth.estimate(image, (Instance(1, "vehicle", whole, mask),))
        window = crop_box(box, CROP, (image.shape[0], image.shape[1]))
        paint, extent = paint_size(window, CROP), (window[2] - window[0], window[3] - window[1])
        small = _resized(take(coloured, window), paint)
        maps = [np.clip(_resized(take(p, window), paint), 0, 1) for p in (depth, self._edges.detect(coloured))]
        inside = dilate(_resized(take(mask.astype(np.float32), window), paint) > 0.01, 8)
        job = InpaintJob(small, inside, maps[0], maps[1], "a vehicle", int(rng.integers(2**62)), small)
        jobs = {f"denoised at {s}": replace(job, strength=s) for s in STRENGTHS}
        jobs["from noise"] = replace(job, image=_resized(take(filled, window), paint), start=None)
        painted = dict(zip(jobs, self._inpainter.inpaint(list(jobs.values())), strict=True))
        alpha, least = feather(mask, RIM), f"denoised at {STRENGTHS[0]}"
        shaded = changed(take(coloured, window), small, painted[least], inside)
        variants = {"real": image, "fill": filled, "recoloured": coloured}
        variants[f"{least}, shading"] = blend(coloured, _laid(coloured, window, shaded), alpha)
        for variant, pixels in painted.items():
            base = coloured if jobs[variant].start is not None else filled
            variants[variant] = blend(base, _laid(base, window, _resized(pixels, extent)), alpha)
        self._wanted = numbers = self._numbers if self._vehicles else (thing.number,)
        for variant, pixels in variants.items():
            thing.features[variant] = self._describe.describe(pixels, box[None])[0]
            rows = [r for r in self._centernet._look(pixels) if int(r[5]) in numbers]
            thing.found[variant] = again(rows, box), again([*self._nanodet.find(pixels, box)], box)
            thing.tiles[variant] = np.asarray(_resized(take(pixels, context_box(box, 0.1, 2 / 3)), TILE), np.uint8)
        return True


def _windowed(image: Image, row: Floats, picture: str) -> Object:
    box = np.clip(row[:4], 0, np.array(image.shape[1::-1] * 2, np.float32))
    margin = AROUND * max(box[2] - box[0], box[3] - box[1])
    x1, y1 = (max(int(v - margin), 0) for v in box[:2])
    part = image[y1 : int(box[3] + margin), x1 : int(box[2] + margin)]
    scale = min(SIDE / max(part.shape[:2]), 1.0)
    small = np.ascontiguousarray(_resized(part, (round(part.shape[1] * scale), round(part.shape[0] * scale))))
    return Object(int(row[5]), picture, small, (box - np.array([x1, y1] * 2, "f4")) * np.float32(scale), {}, {}, {})


def cut_out(image: Image, box: Floats) -> Mask | None:
    """Return an object's mask, bool (H, W), by GrabCut; None where it fills too little of its box."""
    x1, y1 = (max(int(v), 1) for v in box[:2])
    x2, y2 = min(int(box[2]), image.shape[1] - 1), min(int(box[3]), image.shape[0] - 1)
    labels, place = np.zeros(image.shape[:2], np.uint8), (x1, y1, x2 - x1, y2 - y1)
    cv2.setRNGSeed(7)
    cv2.grabCut(image, labels, place, np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_RECT)
    mask = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return mask if mask[y1:y2, x1:x2].mean() >= LEAST_PART else None


def recoloured(image: Image, mask: Mask, rng: np.random.Generator) -> Image:
    """Return a picture with what lies under a mask in another colour and lightness."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    inside, turn, reach = lab[mask], rng.uniform(0, 2 * np.pi), CHROMA * np.sqrt(rng.uniform())
    # Neither lamps and glare nor tyres and shadows are painted.
    paint = np.clip(np.minimum(inside[:, 0] - 10, 95 - inside[:, 0]) / 20, 0, 1)[:, None]
    target = reach * np.array([np.cos(turn), np.sin(turn)], np.float32)
    inside[:, 1:] += paint * (target - np.median(inside[:, 1:], axis=0))
    inside[:, 0] = 100 * (inside[:, 0] / 100) ** rng.uniform(*POWERS)
    lab[mask] = inside
    new = np.clip(np.rint(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255), 0, 255).astype(np.uint8)
    return blend(image, new, feather(mask, RIM))


def heeding(output: Floats, numbers: Sequence[int]) -> Floats:
    """Return an output of NanoDet whose first class, if it has scores, is the surest of several."""
    if output.shape[2] == 80:
        output[..., 0] = output[..., list(numbers)].max(axis=2)
    return output


def again(found: Sequence[Floats], box: Floats) -> bool:
    """Return whether finds, xyxy and score each, hold a sure one at a box."""
    return any(row[4] >= FOUND and box_iou(box[None], row[None, :4])[0, 0] >= SAME for row in found)


def _resized(array: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    method = cv2.INTER_AREA if array.shape[0] > size[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(array, size, interpolation=method))


def _laid(image: Image, window: IntBox, crop: Image) -> Image:
    """Return a picture with a crop in its window, which may reach beyond it."""
    out, (inside, local) = image.copy(), paste_window(window, (image.shape[0], image.shape[1]))
    out[inside] = crop[local]
    return out


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "judges", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--domain", action="append", choices=[*DOMAINS])
    parser.add_argument("--limit", type=int, default=10, help="treated pictures of a pack")
    arguments = parser.parse_args()
    for domain in arguments.domain or DOMAINS:
        kept, sides = Kept(arguments.out / "done"), {False: list[Object](), True: list[Object]()}
        with offline():
            bench = Bench(domain, arguments.judges)
            for treated, found in sides.items():
                for path in bench.paths(arguments.data, treated, arguments.limit * (1 if treated else REFERENCE)):
                    found += kept.get(partial(bench.objects, path, treated), domain, treated, path)
        report(domain, sides[True], sides[False], arguments.out)


def report(domain: str, objects: Sequence[Object], real: Sequence[Object], out: Path) -> None:
    """Write and print what was measured in a domain."""
    names, others = ([o.picture for o in side] for side in (objects, real))
    packs, other_packs = ([name.partition("/")[0] for name in side] for side in (names, others))
    sides = {v: np.stack([o.features[v] for o in objects]) for v in objects[0].features}
    distance, shown = Distance(np.stack([o.features["real"] for o in real]), others, other_packs), []
    for (variant, features), far in zip(sides.items(), distance.several([*sides.values()], names, packs), strict=True):
        row = {"kernel distance": far, "told apart": told_apart(sides["real"], features, (names, names))}
        for n, judge in enumerate(("CenterNet", "NanoDet")):
            known = [o for o in objects if o.found["real"][n]]
            row[f"found by {judge}"] = proportion([o.found[variant][n] for o in known], [o.picture for o in known])
        shown.append({"variant": variant} | {name: cell(name, dataclasses.asdict(m)) for name, m in row.items()})
    text = f"{domain}: {len(objects)} objects of {len(set(names))} pictures, {len(real)} real ones of others\n\n"
    (out / f"{domain}.md").write_text(text + table(shown) + "\n", encoding="utf-8")
    lines = [np.concatenate([*o.tiles.values()], axis=1)[..., ::-1] for o in some(list(objects), ROWS)]
    cv2.imwrite(str(out / f"{domain}.png"), np.concatenate(lines))
    print(text + table(shown), flush=True)


if __name__ == "__main__":
    main()
