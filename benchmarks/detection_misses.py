"""A page of what the detector missed and of what it found without reason: crops with their figures."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from detection_runs import Runs
from detection_tables import PLATELESS, PictureFinds, Subject
from numpy.typing import NDArray
from packs import read

from anonymizer.core.geometry import full_mask, integer_box, outline_box
from anonymizer.core.records import Image

#: Context around what is shown, as a share of its longer side, and at least so many pixels; longer side of a crop.
CONTEXT, LEAST_CONTEXT, CROP = 0.75, 24, 320
#: Colours, RGB: what is annotated, what was found; what is anonymized is tinted with the third.
ANNOTATED, FINDS, TINT = (255, 220, 0), (0, 220, 255), (255, 0, 160)
STRENGTH = 0.35
STYLE = "body{font:14px sans-serif}figure{display:inline-block;margin:6px;vertical-align:top;width:330px}"


def page(runs: Runs, missed: Sequence[Subject], counts: Iterable[PictureFinds]) -> str:
    """Return one HTML page, pictures included.

    Args:
        runs: Detections.
        missed: Persons that no find shows.
        counts: Finds of plates in pictures without plates.
    """
    parts = [
        f"<!doctype html><meta charset=utf-8><title>Missed persons</title><style>{STYLE}</style>",
        f"<p>Yellow: annotated; blue: found persons (in the second part: plates); tinted: anonymized. "
        f"{len(missed)} persons are missed.",
    ]
    for pack in dict.fromkeys(s.pack for s in missed):
        here = sorted((s for s in missed if s.pack == pack), key=lambda s: -s.side)
        parts.append(f"<h2>{html.escape(pack)}: {len(here)}</h2>")
        parts += [_figure(_crop(runs, s.picture, s.box, True), caption(s)) for s in here]
    parts.append("<h2>Plates found in packs without plates</h2>")
    for count in counts:
        if count.pack in PLATELESS and count.false_redrawn + count.false_filled:
            found = runs.found("shipped", count.picture)
            redrawn = runs.detectors.redrawn(read(count.picture), found)
            for plate in (instance for instance in found if instance.label == "license_plate"):
                signs = ", ".join(f"{name} {score:.2f}" for name, score in plate.signs.items())
                action = "redrawn" if plate.id in redrawn else "filled"
                text = f"{count.pack}/{count.picture.name}, {action}: {signs}"
                parts.append(_figure(_crop(runs, count.picture, plate.box, False), text))
    return "\n".join(parts) + "\n"


def caption(subject: Subject) -> str:
    """Return size, IoU, score and coverage of a missed person in words."""
    covered = "no mask" if subject.covered is None else f"covered {100 * subject.covered:.0f} %"
    best = "no find" if not subject.score else f"best find: IoU {subject.iou:.2f}, score {subject.score:.2f}"
    return f"{subject.pack}/{subject.picture.name}, {subject.side:.0f} px high, {covered}, {best}"


def _figure(crop: Image, text: str) -> str:
    data = base64.b64encode(cv2.imencode(".jpg", crop[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]).decode()
    return f'<figure><img src="data:image/jpeg;base64,{data}"><figcaption>{html.escape(text)}</figcaption></figure>'


def _crop(runs: Runs, path: Path, box: NDArray[np.float32], persons: bool) -> Image:
    """Return what lies around a box: plain at the left, with boxes and what is anonymized at the right."""
    image = read(path)
    size = image.shape[0], image.shape[1]
    marked = image.copy()
    label = "person" if persons else "license_plate"
    found = runs.found("shipped", path)
    for instance in found:
        mask = full_mask(instance, size)
        marked[mask] = ((1 - STRENGTH) * marked[mask] + STRENGTH * np.array(TINT)).astype(np.uint8)
    for instance in found:
        if instance.label == label:
            _outline(marked, outline_box(instance), FINDS)
    if persons:
        _outline(marked, box, ANNOTATED)
    pad = max(CONTEXT * float(max(box[2:] - box[:2])), LEAST_CONTEXT)
    x1, y1, x2, y2 = integer_box(np.asarray(box + np.array([-pad, -pad, pad, pad]), np.float32))
    window = slice(max(y1, 0), min(y2, size[0])), slice(max(x1, 0), min(x2, size[1]))
    both = np.concatenate([image[window], marked[window]], axis=1)
    scale = CROP / max(both.shape[0], both.shape[1])
    width, height = max(round(both.shape[1] * scale), 1), max(round(both.shape[0] * scale), 1)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(both, (width, height), interpolation=method), np.uint8)


def _outline(image: Image, box: NDArray[np.float32], colour: tuple[int, int, int]) -> None:
    x1, y1, x2, y2 = integer_box(box)
    cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), colour, 1)
