"""Measures what the embedded preset makes of whole pictures: what is found again, who is recognised, how it looks."""

from __future__ import annotations

import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from packs import Truth, pictures, read, some

from anonymizer import Anonymizer, Instance, Result, VerificationFailed
from anonymizer.core.geometry import box_iou, context_box, take
from anonymizer.detect.faces import CenterFaceDetector
from anonymizer.evaluation.distances import CropFeatures, kid
from anonymizer.evaluation.records import Pair, Subject
from anonymizer.evaluation.variants import Blur, Mosaic, Solid
from anonymizer.models import weights
from anonymizer.recognize.faces import ArcFaceEmbedder
from anonymizer.verify.checks import text_similarity

PACKS = {"pennfudan": "val", "ccp": "val", "camvid": "val", "openalpr": "val", "portraits": "all", "lfw": "val"}
SAME_FACE = 0.35
#: Least height of faces judged by the recogniser, and of those that must be found again, in pixels.
JUDGED, FOUND_AGAIN = 64, 32
#: Least height of persons handed to the independent judge, in pixels.
PERSON = 64
LABELS = ("person", "face", "license_plate")


@dataclass
class Tally:
    """What is gathered over the pictures of a pack."""

    count: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    before: list[NDArray[np.float32]] = field(default_factory=list)
    after: list[NDArray[np.float32]] = field(default_factory=list)
    texts: list[tuple[str, str, str]] = field(default_factory=list)


class Bench:
    """Runs the preset over packs and keeps score.

    Args:
        anonymizer: The preset.
        judge: Face recogniser that took no part in training or verification.
        crops: Folder for crops of persons before and after, for ``pose_judge.py``; None writes none.
        sheets: Folder for pictures before and after; None writes none.
        most_sheets: How many pictures get a sheet.
    """

    def __init__(
        self,
        anonymizer: Anonymizer,
        judge: ArcFaceEmbedder,
        crops: Path | None,
        sheets: Path | None,
        most_sheets: int = 30,
    ) -> None:
        self._anonymizer = anonymizer
        self._judge = judge
        self._faces = CenterFaceDetector(weights.path("centerface"), threshold=0.35)
        self._crops, self._sheets, self._most_sheets = crops, sheets, most_sheets
        self._describe = CropFeatures()
        self._features: dict[tuple[str, str], list[NDArray[np.float32]]] = defaultdict(list)
        self._baselines = (Blur(), Mosaic(), Solid())
        self._written = 0

    def pack(self, data: Path, name: str, limit: int) -> dict[str, Any]:
        """Anonymize some pictures of a pack and return its row."""
        tally = Tally()
        for path, truths in some(pictures(data, name, PACKS[name]), limit):
            image = read(path)
            start = time.perf_counter()
            try:
                result = self._anonymizer(image, key=path.name)
            except VerificationFailed:
                tally.count["quarantined"] += 1
                continue
            tally.times.append(time.perf_counter() - start)
            tally.count["released"] += 1
            tally.count["pixels_changed_outside"] += int((result.image != image).any(axis=2)[~result.treated].sum())
            self._picture(f"{name}-{path.stem}", image, result, truths, tally)
        return {"pack": name, **self._row(tally)}

    def _picture(
        self, name: str, image: NDArray[np.uint8], result: Result, truths: Sequence[Truth], tally: Tally
    ) -> None:
        plates = [t for t in truths if t.label == "license_plate"]
        persons = [t for t in truths if t.label == "person" and t.side >= PERSON]
        texts = {str(t.record["text"]).upper() for t in plates if t.record.get("text")}
        found = self._anonymizer._verifier.find(result.image)
        again = self._faces.detect(result.image)
        for instance, action in _treated(result):
            tally.count[f"{instance.label}_{action}"] += 1
            if instance.label == "person" and _hit(instance, persons):
                tally.count["person_annotated"] += 1
                tally.count["person_annotated_redrawn"] += action == "redrawn"
            if instance.label == "face" and instance.landmarks is not None:
                self._face(image, result, instance, action, again, tally)
            if action == "redrawn":
                if instance.label == "license_plate":
                    again_found = _hit(instance, [i for i in found if i.label == "license_plate"])
                    # Lettering and lamps are taken for plates, too: whether annotated ones are found counts by itself.
                    annotated = _hit(instance, plates)
                    tally.count["plate_found"] += again_found
                    tally.count["plate_annotated"] += annotated
                    tally.count["plate_annotated_found"] += annotated and again_found
                    self._plate(image, result, instance, texts, tally)
                self._look(image, result, instance)
        if self._crops is not None:
            self._write_crops(name, image, result)
        if self._sheets is not None and self._written < self._most_sheets and result.instances:
            self._sheets.mkdir(parents=True, exist_ok=True)
            pair = np.concatenate([image, result.image], axis=1)
            scale = min(1.0, 1600 / pair.shape[1])
            cv2.imwrite(
                str(self._sheets / f"{name}.png"),
                cv2.resize(pair, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[..., ::-1],
            )
            self._written += 1

    def _face(
        self,
        image: NDArray[np.uint8],
        result: Result,
        face: Instance,
        action: str,
        again: tuple[Instance, ...],
        tally: Tally,
    ) -> None:
        height = float(face.box[3] - face.box[1])
        if height >= JUDGED:
            tally.before.append(self._judge.embed(image, face.box, face.landmarks))
            tally.after.append(self._judge.embed(result.image, face.box, face.landmarks))
        # Only what CenterFace itself had found before can be asked to be found again by it.
        if height >= FOUND_AGAIN and "centerface" in face.source:
            tally.count["face_large"] += 1
            tally.count["face_large_redrawn"] += action == "redrawn"
            tally.count["face_found"] += action == "redrawn" and _hit(face, again, 0.4)

    def _plate(self, image: NDArray[np.uint8], result: Result, plate: Instance, texts: set[str], tally: Tally) -> None:
        before, after = (self._read(pixels, plate) for pixels in (image, result.image))
        # The annotated text is the truth where it is what the plate shows.
        known = max(texts, key=lambda t: text_similarity(t, before), default="")
        if known and text_similarity(known, before) >= 0.7:
            tally.texts.append((known, before, after))

    def _read(self, image: NDArray[np.uint8], plate: Instance) -> str:
        x1, y1, x2, y2 = plate.box
        crop = take(image, context_box(plate.box, 0.1, float((y2 - y1) / (x2 - x1))))
        crop = cv2.resize(crop, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
        lines = self._anonymizer._verifier.ocr.read(np.ascontiguousarray(crop))
        return "".join(c for line in lines for c in line.text.upper() if c.isalnum())

    def _look(self, image: NDArray[np.uint8], result: Result, instance: Instance) -> None:
        """Keep features of the crop as it was, as it is, and as other tools would leave it."""
        if len(self._features[instance.label, "real"]) >= 400:
            return
        subject = Subject("x", 0, instance.label, instance.box, mask=instance.mask)
        variants = {"real": image, "redrawn": result.image}
        for baseline in self._baselines:
            variants[baseline.name] = baseline(Pair("x", Path(), Path()), image, [subject])
        for name, pixels in variants.items():
            self._features[instance.label, name].append(self._describe.describe(pixels, instance.box))

    def kids(self) -> list[dict[str, Any]]:
        """Return the kernel distance of each way of treatment to real crops, per class."""
        rows = []
        for label in LABELS:
            real = self._features[label, "real"]
            if len(real) < 20:
                continue
            row: dict[str, Any] = {"class": label, "crops": len(real)}
            for name in ("redrawn", "blur", "mosaic", "solid"):
                other = np.stack(self._features[label, name])
                row[name] = kid(np.stack(real), other, np.random.default_rng(0), paired=True).value
            rows.append(row)
        return rows

    @property
    def features(self) -> str:
        """Name of the feature net."""
        return self._describe.name

    def _write_crops(self, name: str, image: NDArray[np.uint8], result: Result) -> None:
        for instance, action in _treated(result):
            if instance.label != "person" or instance.box[3] - instance.box[1] < PERSON:
                continue
            window = context_box(instance.box, 0.12, 1.4)
            for folder, pixels in (("before", image), ("after", result.image)):
                target = self._crops / action / folder
                target.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(target / f"{name}-{instance.id}.png"), take(pixels, window)[..., ::-1])

    @staticmethod
    def _row(tally: Tally) -> dict[str, Any]:
        count = tally.count
        row: dict[str, Any] = {
            "pictures": count["released"] + count["quarantined"],
            "quarantined": count["quarantined"],
            "seconds": statistics.median(tally.times) if tally.times else None,
            "pixels_changed_outside": count["pixels_changed_outside"],
        }
        for label in LABELS:
            total = count[f"{label}_redrawn"] + count[f"{label}_redacted"]
            row[f"{label}s"] = total
            row[f"{label}s_redrawn"] = count[f"{label}_redrawn"] / total if total else None
        if tally.before:
            cosines = np.stack(tally.after) @ np.stack(tally.before).T
            own, other = np.diag(cosines), cosines[~np.eye(len(cosines), dtype=bool)]
            row |= {
                "faces_judged": len(own),
                "over_035": float((own > SAME_FACE).mean()),
                "over_035_chance": float((other > SAME_FACE).mean()) if other.size else None,
                "rank1": float((cosines.argmax(axis=1) == np.arange(len(own))).mean()),
                "rank1_chance": 1 / len(own),
            }
        if count["person_annotated"]:
            row["persons_annotated"] = count["person_annotated"]
            row["persons_annotated_redrawn"] = count["person_annotated_redrawn"] / count["person_annotated"]
        if count["face_large"]:
            row |= {
                "faces_from_32": count["face_large"],
                "faces_from_32_redrawn": count["face_large_redrawn"],
                "faces_from_32_found_again": count["face_found"] / max(count["face_large_redrawn"], 1),
            }
        if count["license_plate_redrawn"]:
            row["plates_found_again"] = count["plate_found"] / count["license_plate_redrawn"]
            row["plates_annotated_redrawn"] = count["plate_annotated"]
            row["plates_annotated_found_again"] = count["plate_annotated_found"]
        if tally.texts:
            row |= _text_figures(tally.texts)
        return row


def _text_figures(texts: list[tuple[str, str, str]]) -> dict[str, Any]:
    """Return how plates read: length kept, characters in place, beside other plates' characters as chance."""
    same_length = [abs(len(after) - len(known)) <= 1 for known, _, after in texts]
    own = [_in_place(known, after) for known, _, after in texts]
    chance = [_in_place(texts[m][0], texts[n][2]) for n in range(len(texts)) for m in range(len(texts)) if m != n]
    return {
        "plates_known": len(texts),
        "text_of_right_length": float(np.mean(same_length)),
        "characters_in_place": float(np.mean(own)),
        "characters_in_place_chance": float(np.mean(chance)) if chance else None,
        "plates_still_read": sum(known in after for known, _, after in texts),
    }


def _in_place(known: str, read_: str) -> float:
    return sum(a == b for a, b in zip(known, read_, strict=False)) / max(len(known), 1)


def _treated(result: Result) -> Iterator[tuple[Instance, str]]:
    actions = {t.instance_id: t.action for t in result.treatments}
    return ((instance, actions[instance.id]) for instance in result.instances)


def _hit(instance: Instance, found: Any, least: float = 0.5) -> bool:
    boxes = np.array([i.box for i in found], np.float32).reshape(-1, 4)
    return bool(box_iou(instance.box[None], boxes).max(initial=0) >= least)


def two_seeds(first: Anonymizer, second: Anonymizer, images: list[NDArray[np.uint8]]) -> dict[str, Any]:
    """Return how much the redraws of two seeds differ, in mean levels of 255 inside the masks redrawn by both."""
    differences = []
    for image in images:
        results = []
        for anonymizer in (first, second):
            try:
                results.append(anonymizer(image, key="seeds"))
            except VerificationFailed:
                break
        if len(results) < 2:
            continue
        inside = results[0].treated & results[1].treated
        if inside.any():
            levels = np.abs(results[0].image.astype(np.int16) - results[1].image).mean(axis=2)
            differences.append(float(levels[inside].mean()))
    return {"pictures": len(differences), "mean_difference": float(np.mean(differences)) if differences else None}
