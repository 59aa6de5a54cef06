"""Run of the avatar benchmark: listed persons through a preset, and what the judges say of each before and after."""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from packs import Truth, pictures, read

from anonymizer import Anonymizer, Instance, Result, VerificationFailed, detect
from anonymizer.core import records as types
from anonymizer.core.errors import InputError, StageError
from anonymizer.core.geometry import box_iou, context_box, integer_box, outline_box, take
from anonymizer.core.records import Floats, Image
from anonymizer.evaluation.detectors import outline_detector
from anonymizer.evaluation.networks import ImageFeatures, MoveNet, NanoDet
from anonymizer.evaluation.records import Pair, Subject
from anonymizer.evaluation.variants import Blur
from anonymizer.recognize.body import SilhouetteEmbedder

LIST = Path(__file__).with_name("avatar_instances.json")
#: IoU from which an instance is the annotated person, and from which a find is the person that labels describe.
SAME = 0.5
#: Proportion of an annotated mask below which a person counts as untouched.
TOUCHED = 0.5
#: Least score of NanoDet that counts as found, from low to high; mean score of MoveNet's joints from which there is a
#: pose (the default of the package that it comes from).
SCORES, POSE_SCORE = (0.3, 0.5), 0.3
#: The pack on which bodies are linked to their originals.
LINKED = "pennfudan"
#: Height in pixels of a crop on a sheet.
SHEET = 256


@dataclass(slots=True)
class Person:
    """A listed person, and what was measured of it.

    Args:
        pack, picture, annotation: Where it is annotated.
        box: float32 (4,) xyxy of the annotation.
        action: ``redrawn``, ``redacted``, ``missed`` (no instance at its box) or ``withheld`` (no picture).
        score: NanoDet's score before and after, 0 where nobody is found.
        posed: MoveNet's mean score before and after.
        joints: How many visible exported joints MoveNet places within a tenth of the height, and how many there are.
        label_iou: IoU of the annotated mask with the exported one; None where either is missing.
        find_iou: IoU of NanoDet's find with the exported box; None where it finds nobody.
        touched: Proportion of the annotated mask or box that was anonymized.
        features: Features of the crop by variant: ``real``, ``redrawn``, ``blur``.
        silhouettes: Descriptions of the outline that a detector finds before and after, None where it finds nobody;
            of Penn-Fudan alone.
    """

    pack: str
    picture: str
    annotation: int
    box: Floats
    action: str
    score: tuple[float, float]
    posed: tuple[float, float]
    joints: tuple[int, int]
    label_iou: float | None
    find_iou: float | None
    touched: float
    features: dict[str, Floats]
    silhouettes: tuple[Floats | None, Floats | None] | None

    @property
    def group(self) -> str:
        """The picture, within which persons depend on each other."""
        return f"{self.pack}/{self.picture}"


class Kept:
    """Results that do not depend on the variant, kept in files: detections, and what judges say of originals.

    Args:
        folder: Where they are kept; None: nothing is.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def get(self, make: Callable[[], Any], *key: object) -> Any:
        """Return what ``make`` returned when it was first asked for under this key."""
        if self._folder is None:
            return make()
        path = self._folder / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}.pickle"
        if path.is_file():
            return pickle.loads(path.read_bytes())
        made = make()
        part = path.with_suffix(f".{time.time_ns()}")
        part.write_bytes(pickle.dumps(made))
        part.replace(path)
        return made


class KeptDetector:
    """A detector whose finds are kept by picture."""

    def __init__(self, detector: Any, kept: Kept, settings: str) -> None:
        self._detector, self._kept, self._settings = detector, kept, settings

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return what the detector finds in a picture."""
        digest = hashlib.sha256(image.tobytes()).hexdigest()
        return self._kept.get(lambda: self._detector.detect(image), "detect", self._settings, image.shape, digest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._detector, name)


class Judged:
    """Runs a preset over the list and has every person judged.

    Args:
        anonymizer: The preset.
        judges: Folder of the judges.
        kept: What does not depend on the variant.
        out: Folder that gets ``sheets`` before and after, and the released ``pictures``.
    """

    def __init__(self, anonymizer: Anonymizer, judges: Path, kept: Kept, out: Path) -> None:
        self._anonymizer = anonymizer
        described = anonymizer.describe()
        # Finds depend on the code as well.
        files = [*sorted(Path(detect.__file__).parent.rglob("*.py")), Path(types.__file__)]
        code = b"".join(path.read_bytes() for path in files)
        decides = {"detect": described["preset_settings"]["detect"], "models": described["models"]}
        decides["code"] = hashlib.sha256(code).hexdigest()
        if not isinstance(anonymizer._detector, KeptDetector):
            settings = json.dumps(decides, sort_keys=True)
            anonymizer._detector = KeptDetector(anonymizer._detector, kept, settings)
        self._find, self._pose, self._describe = (
            NanoDet(judges / "nanodet.onnx"),
            MoveNet(judges / "movenet.onnx"),
            ImageFeatures(judges / "efficientnet-lite2.onnx"),
        )
        self._outline = SilhouetteEmbedder(outline_detector())
        self._blur, self._kept, self._out = Blur(), kept, out
        #: Seconds of the clock and of the processor by picture, and per avatar with its height in pixels.
        self.pictures: list[tuple[float, float]] = []
        self.avatars: list[tuple[float, float]] = []
        self._drawn: list[tuple[float, float]] = []
        self._done = Kept(out / "done")
        self._settings = anonymizer.settings_hash, anonymizer.settings.seed
        self._time_avatars()

    def run(
        self, data: Path, quick: bool, packs: Sequence[str] | None = None, most_s: float = float("inf")
    ) -> list[Person]:
        """Return the listed persons with what was measured; pictures that were done before are read from ``out``.

        Args:
            data: Folder of the packs.
            quick: The quick part of the list alone.
            packs: Persons of these packs alone.
            most_s: Seconds after which no further picture is begun; those of the quick part come first.
        """
        begun = time.monotonic()
        by_picture: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for person in json.loads(LIST.read_text())["persons"]:
            if (person["quick"] or not quick) and (packs is None or person["pack"] in packs):
                by_picture[person["pack"], person["picture"]].append(person)
        truths = {pack: _annotations(data, pack, "val") for pack in {pack for pack, _ in by_picture}}
        out: list[Person] = []
        for (pack, picture), listed in sorted(by_picture.items(), key=lambda item: not item[1][0]["quick"]):
            if time.monotonic() - begun > most_s:
                break
            image = read(data / pack / "images" / picture)
            known = [truths[pack][person["annotation"]] for person in listed]
            persons, seconds, avatars = self._done.get(
                partial(self._timed_picture, pack, picture, image, known), self._settings, pack, picture
            )
            out += persons
            self.pictures.append(seconds)
            self.avatars += avatars
        return out

    def reference(self, data: Path) -> tuple[Floats, list[str], list[str]]:
        """Return features (M, D) of the real persons of other pictures, their pictures and packs."""
        persons = json.loads(LIST.read_text())["reference"]

        def make() -> Floats:
            parts = [
                self._describe.describe(read(data / p["pack"] / "images" / p["picture"]), np.array([p["box"]], "f4"))
                for p in persons
            ]
            return np.concatenate(parts)

        features = self._kept.get(make, "reference", self._describe.sha256, LIST.read_bytes())
        return features, [f"{p['pack']}/{p['picture']}" for p in persons], [p["pack"] for p in persons]

    def _timed_picture(self, *what: Any) -> tuple[list[Person], tuple[float, float], list[tuple[float, float]]]:
        self._drawn.clear()
        persons, seconds = self._picture(*what)
        return persons, seconds, list(self._drawn)

    def _picture(
        self, pack: str, picture: str, image: Image, truths: Sequence[Truth]
    ) -> tuple[list[Person], tuple[float, float]]:
        begun, worked = time.perf_counter(), time.process_time()
        try:
            result: Result | None = self._anonymizer(image, key=picture)
        except (VerificationFailed, StageError) as error:
            print(f"{pack}/{picture}: {error}", file=sys.stderr, flush=True)
            result = None
        seconds = time.perf_counter() - begun, time.process_time() - worked
        boxes = np.stack([truth.box for truth in truths])
        before = self._kept.get(
            lambda: self._before(pack, picture, image, truths),
            "before",
            self._find.sha256,
            pack,
            picture,
            boxes.tolist(),
        )
        after = image if result is None else result.image
        if result is not None:
            target = self._out / "pictures" / pack / Path(picture).with_suffix(".png")
            target.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(target), after[..., ::-1])
        features = self._describe.describe(after, boxes)
        places = matched(truths, result)
        out = []
        linked = self._silhouettes(after, truths) if pack == LINKED else [None] * len(truths)
        for number, (truth, instance) in enumerate(zip(truths, places, strict=True)):
            action = "withheld" if result is None else "missed"
            if instance is not None and result is not None:
                action = next(t.action for t in result.treatments if t.instance_id == instance.id)
            shown = instance if action == "redrawn" else None
            place = truth.box if shown is None else outline_box(shown)
            found = self._find.find(after, place)
            score, overlap = best(found, place)
            joints = self._pose.find(after, truth.box)
            known = None if result is None else _joints(result, shown)
            person = Person(
                pack=pack,
                picture=picture,
                annotation=truth.record["id"],
                box=truth.box,
                action=action,
                score=(before["score"][number], score if shown is not None else 0.0),
                posed=(before["posed"][number], float(joints[:, 2].mean()) if shown is not None else 0.0),
                joints=(0, 0) if known is None else within(joints, known, truth.side),
                label_iou=None if shown is None else truth.mask_iou(shown),
                find_iou=overlap if shown is not None and score >= SCORES[0] else None,
                touched=0.0 if result is None else touched(truth, result.treated),
                features={name: rows[number] for name, rows in before["features"].items()}
                | {"redrawn": features[number]},
                silhouettes=(before["silhouettes"][number], linked[number]) if pack == LINKED else None,
            )
            out.append(person)
            self._sheet(person, image, after)
        return out, seconds

    def _silhouettes(self, image: Image, truths: Sequence[Truth]) -> list[Floats | None]:
        """Return the description of the outline found at each annotated place, None where nobody is found."""
        out: list[Floats | None] = []
        for truth in truths:
            try:
                out.append(self._outline.embed(image, truth.box, None, None))
            except InputError:  # nobody is found there, which is a result
                out.append(None)
        return out

    def _before(self, pack: str, picture: str, image: Image, truths: Sequence[Truth]) -> dict[str, Any]:
        """Return what the judges say of the originals, and of their persons blurred."""
        boxes = np.stack([truth.box for truth in truths])
        subjects = [Subject(picture, n, "person", t.box, mask=cut(t)) for n, t in enumerate(truths)]
        blurred = self._blur(Pair(picture, Path(), Path()), image, subjects)
        return {
            "score": [best(self._find.find(image, box), box)[0] for box in boxes],
            "posed": [float(self._pose.find(image, box)[:, 2].mean()) for box in boxes],
            "silhouettes": self._silhouettes(image, truths) if pack == LINKED else [None] * len(truths),
            "features": {
                "real": self._describe.describe(image, boxes),
                "blur": self._describe.describe(blurred, boxes),
            },
        }

    def _time_avatars(self) -> None:
        """Have the artist's time taken for each avatar that it draws."""
        artist = getattr(self._anonymizer, "_artist", None)
        if artist is None:
            return
        begin = artist.begin

        def timed(image: Image, person: Instance, *rest: Any, **named: Any) -> Any:
            # Of the thread: two avatars are rendered beside each other.
            started = time.thread_time()
            drawing = begin(image, person, *rest, **named)
            begun = time.thread_time() - started
            if drawing is None:
                return None

            def drawn() -> Any:
                started = time.thread_time()
                made = drawing()
                if made is not None:
                    self._drawn.append((float(person.box[3] - person.box[1]), begun + time.thread_time() - started))
                return made

            return drawn

        artist.begin = timed

    def _sheet(self, person: Person, before: Image, after: Image) -> None:
        window = context_box(person.box, 0.15, 1.2)
        pair = np.concatenate([take(before, window), take(after, window)], axis=1)
        scale = SHEET / pair.shape[0]
        size = max(round(pair.shape[1] * scale), 1), SHEET
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        sheets = self._out / "sheets"
        sheets.mkdir(parents=True, exist_ok=True)
        name = f"{person.pack}-{Path(person.picture).stem}-{person.annotation}-{person.action}.png"
        cv2.imwrite(str(sheets / name), cv2.resize(pair, size, interpolation=method)[..., ::-1])


def matched(truths: Sequence[Truth], result: Result | None) -> list[Instance | None]:
    """Return the instance of each annotated person: pairs of boxes by falling IoU, each instance once."""
    persons = [] if result is None else [i for i in result.instances if i.label == "person"]
    out: list[Instance | None] = [None] * len(truths)
    if not persons:
        return out
    overlaps = box_iou(np.stack([t.box for t in truths]), np.stack([p.box for p in persons]))
    for flat in np.argsort(-overlaps, axis=None):
        row, column = divmod(int(flat), len(persons))
        if overlaps[row, column] >= SAME and out[row] is None:
            out[row] = persons[column]
            overlaps[:, column] = -1.0
    return out


def best(found: Floats, place: Floats) -> tuple[float, float]:
    """Return the highest score of finds (N, 5) at a place, and the IoU of that find; 0 and 0 where there is none."""
    overlaps = box_iou(np.asarray(place, np.float32)[None], found[:, :4])[0] if len(found) else np.zeros(0)
    here = np.flatnonzero(overlaps >= SAME)
    if not len(here):
        return 0.0, 0.0
    top = here[found[here, 4].argmax()]
    return float(found[top, 4]), float(overlaps[top])


def within(found: Floats, known: Floats, height: float) -> tuple[int, int]:
    """Return how many visible joints (17, 3) a judge (17, 3) places within a tenth of the height, and how many are."""
    seen = known[:, 2] > 0
    near = np.hypot(*(found[:, :2] - known[:, :2]).T) <= 0.1 * height
    return int((near & seen).sum()), int(seen.sum())


def touched(truth: Truth, treated: NDArray[np.bool_]) -> float:
    """Return the proportion of an annotated mask, or box, that was anonymized."""
    mask = truth.mask
    if mask is None:
        x1, y1, x2, y2 = integer_box(truth.box)
        return float(treated[max(y1, 0) : y2, max(x1, 0) : x2].mean())
    return float(treated[mask].mean())


def _annotations(data: Path, pack: str, split: str) -> dict[int, Truth]:
    return {truth.record["id"]: truth for _, truths in pictures(data, pack, split) for truth in truths}


def _joints(result: Result, shown: Instance | None) -> Floats | None:
    renderings: Mapping[int, Any] = getattr(result, "renderings", {})
    return renderings[shown.id].joints if shown is not None and shown.id in renderings else None


def cut(truth: Truth) -> NDArray[np.bool_] | None:
    """Return an annotated mask in the frame of its box, or None where there is none."""
    mask = truth.mask
    if mask is None:
        return None
    cut = np.ascontiguousarray(take(mask, integer_box(truth.box)))
    return cut if cut.any() else None
