"""Add labels of heads, from whatever side they are seen, to the label file of ``complete_labels.py``.

    python models/training/head_labels.py --data ../shared/data --labels runs/labels.json --sheet runs/heads.png

No pack annotates heads. Two sources are sure enough: a face, whose box is extended to the head's, and for persons
without a face the joints of BlazePose: the head reaches from the top of the person's mask down to a stated share of
the way to the shoulders. Where neither is sure, the upper part of the person is a region that costs nothing.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from pycocotools import mask as coco_mask

#: By how much a head reaches beyond its face (left, top, right, bottom), as shares of the face's width and height.
BEYOND = (0.14, 0.32, 0.14, 0.04)
#: Share of the way from the top of the head to the shoulders at which the chin is.
CHIN = 0.74
#: Least height in pixels of a person whose joints are asked for, and of a head.
LEAST_PERSON, LEAST_HEAD = 56, 8
#: Crop around a person, as a multiple of its longer side, and the network's input.
ROOM, SIDE = 1.25, 256
#: Least probability of a person, of a joint's visibility, and of a pixel of the mask.
PRESENT, SEEN, PIXEL = 0.6, 0.6, 0.5
#: Plausible widths of a head as shares of its height.
ASPECT = (0.55, 1.15)
#: Upper part of a person that may hold a head nobody has placed.
UPPER = 0.45
NOSE, EARS, SHOULDERS = 0, (7, 8), (11, 12)

Box = list[float]


def of_face(face: Box, size: tuple[int, int]) -> Box:
    """Return the box of a face's head, within a picture of ``size`` (width, height)."""
    x1, y1, x2, y2 = face
    w, h = x2 - x1, y2 - y1
    out = [x1 - BEYOND[0] * w, y1 - BEYOND[1] * h, x2 + BEYOND[2] * w, y2 + BEYOND[3] * h]
    return np.clip(out, 0, [*size, *size]).round(2).tolist()


def of_person(session: ort.InferenceSession, image: np.ndarray, box: Box, mask: np.ndarray | None) -> Box | None:
    """Return the head of a person in RGB uint8 (H, W, 3), None where it is not sure."""
    x1, y1, x2, y2 = box
    side = ROOM * max(x2 - x1, y2 - y1)
    scale = SIDE / side
    shift = np.array([(x1 + x2) / 2 - side / 2, (y1 + y2) / 2 - side / 2])
    matrix = np.array([[scale, 0, -scale * shift[0]], [0, scale, -scale * shift[1]]])
    source = image
    if scale < 0.6:
        source = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        matrix[:, :2] /= scale
    crop = cv2.warpAffine(source, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR).astype(np.float32) / 255
    outputs = ["presence", "landmarks", "mask"]
    present, marks, drawn = session.run(outputs, {session.get_inputs()[0].name: crop[None]})
    if float(present.ravel()[0]) < PRESENT:
        return None
    joints = marks.reshape(39, 5)
    visible = 1 / (1 + np.exp(-joints[:, 3]))
    points = joints[:, :2] / scale + shift
    if visible[list(SHOULDERS)].min() < SEEN or max(visible[NOSE], *visible[list(EARS)]) < SEEN:
        return None
    shoulders = points[list(SHOULDERS)].mean(axis=0)
    ears = points[list(EARS)].mean(axis=0)
    if mask is None:
        logits = drawn[0, ..., 0]
        share = 1 / (1 + np.exp(-logits)) if logits.min() < 0 or logits.max() > 1 else logits
        back = np.array([[1 / scale, 0, shift[0]], [0, 1 / scale, shift[1]]])
        mask = cv2.warpAffine(share, back, image.shape[1::-1], flags=cv2.INTER_LINEAR) > PIXEL
    span = max(abs(points[SHOULDERS[0], 0] - points[SHOULDERS[1], 0]), 0.16 * (y2 - y1))
    left, right = (int(np.clip(ears[0] + turn * 0.6 * span, 0, image.shape[1])) for turn in (-1, 1))
    rows = np.flatnonzero(mask[: max(int(shoulders[1]), 0), left:right].any(axis=1))
    if not len(rows):
        return None
    top = float(rows[0])
    bottom = top + CHIN * (shoulders[1] - top)
    height = bottom - top
    # The ears lie in the middle of the head; a raised arm or a hat far above spoils the top.
    if height < LEAST_HEAD or not 0.3 < (ears[1] - top) / height < 0.85 or abs(top - y1) > 0.15 * (y2 - y1):
        return None
    middle = slice(int(top + 0.1 * height), max(int(top + 0.75 * height), int(top + 0.1 * height) + 1))
    columns = np.flatnonzero(mask[middle, left:right].mean(axis=0) > 0.25)
    if not len(columns):
        return None
    a, b = left + float(columns[0]), left + float(columns[-1]) + 1
    if not ASPECT[0] <= (b - a) / height <= ASPECT[1]:
        return None
    return [round(v, 2) for v in (a, top, b, bottom)]


def add(row: dict[str, Any], image: np.ndarray, session: ort.InferenceSession) -> Counter[str]:
    """Add heads and the regions where one may be to one picture's labels, in place."""
    size = row["size"][0], row["size"][1]
    whole = [0, 0, *size]
    ignore = [entry for entry in row["ignore"] if entry[0] != "head"]
    counts: Counter[str] = Counter()
    labels = [label for label in row["labels"] if label["name"] != "head"]
    faces = [label["box"] for label in labels if label["name"] == "face"]
    heads = [of_face(face, size) for face in faces]
    counts["from faces"] = len(heads)
    unknown: list[Box] = []
    for label in labels:
        if label["name"] != "person":
            continue
        x1, y1, x2, y2 = label["box"]
        upper = [x1, y1 - 0.03 * (y2 - y1), x2, y1 + UPPER * (y2 - y1)]
        if any(x1 <= (f[0] + f[2]) / 2 <= x2 and upper[1] <= (f[1] + f[3]) / 2 <= upper[3] for f in faces):
            continue
        mask = None if label["rle"] is None else coco_mask.decode(label["rle"]).astype(bool)
        found = of_person(session, image, label["box"], mask) if y2 - y1 >= LEAST_PERSON else None
        if found is None:
            unknown.append(upper)
            counts["unknown"] += 1
        else:
            heads.append(found)
            counts["from joints"] += 1
    for name, box in ignore:
        if name == "face" or (name == "person" and box != whole):
            unknown.append(box)
    if whole in [box for name, box in ignore if name in ("person", "face")]:
        unknown = [whole]
    row["labels"] = labels + [{"name": "head", "box": box, "rle": None} for box in heads]
    row["ignore"] = ignore + [["head", [round(float(v), 2) for v in box]] for box in unknown]
    return counts


def main() -> None:
    """Rewrite the label file and draw a sheet of heads by joints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--labels", type=Path, default=Path("runs/labels.json"))
    parser.add_argument("--pose", type=Path, default=Path("models/embedded/blazepose/blazepose.onnx"))
    parser.add_argument("--out", type=Path, help="another file to write to")
    parser.add_argument("--sheet", type=Path, help="contact sheet to draw")
    parser.add_argument("--every", type=int, default=1, help="only every so many pictures, for a look")
    args = parser.parse_args()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(args.pose), options, providers=["CPUExecutionProvider"])
    rows = json.loads(args.labels.read_text())[:: args.every]
    counts: dict[str, Counter[str]] = {}
    tiles: list[np.ndarray] = []
    for row in rows:
        folder = args.labels.parent / "made" if row["pack"] == "made" else args.data / row["pack"] / "images"
        image = np.ascontiguousarray(cv2.imread(str(folder / row["file"]))[..., ::-1])
        counts.setdefault(row["pack"], Counter()).update(add(row, image, session))
        if args.sheet:
            tiles += looked_at(row, image)
    for pack, number in counts.items():
        print(pack, dict(number))
    if args.sheet:
        chosen = [tiles[n] for n in np.linspace(0, len(tiles) - 1, min(len(tiles), 112)).astype(int)]
        lines = [np.concatenate(chosen[n : n + 16], axis=1) for n in range(0, len(chosen) - 15, 16)]
        cv2.imwrite(str(args.sheet), np.concatenate(lines)[..., ::-1])
    (args.out or args.labels).write_text(json.dumps(rows))


def looked_at(row: dict[str, Any], image: np.ndarray) -> list[np.ndarray]:
    """Return tiles of 96 by 96 pixels with each head drawn that was placed by joints."""
    out = []
    heads = [label for label in row["labels"] if label["name"] == "head"]
    for label in heads[sum(label["name"] == "face" for label in row["labels"]) :]:
        x1, y1, x2, y2 = label["box"]
        side = 2.4 * max(y2 - y1, x2 - x1)
        scale = 96 / side
        shift = [(x1 + x2) / 2 - side / 2, (y1 + y2) / 2 - side / 2]
        matrix = np.array([[scale, 0, -scale * shift[0]], [0, scale, -scale * shift[1]]])
        tile = cv2.warpAffine(image, matrix, (96, 96), flags=cv2.INTER_AREA)
        corners = ((np.array([[x1, y1], [x2, y2]]) - shift) * scale).astype(int)
        cv2.rectangle(tile, tuple(corners[0].tolist()), tuple(corners[1].tolist()), (255, 255, 0), 1)
        out.append(tile)
    return out


if __name__ == "__main__":
    main()
