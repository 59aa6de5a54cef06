"""Cosines of dlib's descriptor between faces in profile of different people, and of one face stored anew.

    python benchmarks/profiles.py --data DATA [--packs NAME ...]

A face is in profile as verification sees it: by how far apart CenterFace's landmarks of the eyes are. Faces at the
border are left out, where half a face looks like one, and so are those beside the black that some packs fill pictures
with. Pairs are of different pictures and of different people, as far as the packs know them. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from packs import pictures, read

from anonymizer.core.geometry import eyes_apart
from anonymizer.core.records import Instance
from anonymizer.detect.faces import CenterFaceDetector
from anonymizer.models import weights
from anonymizer.models.third_party import offline
from anonymizer.recognize.faces import DlibFaceEmbedder
from anonymizer.verify.verifier import PROFILE

PACKS = ("pennfudan", "ccp", "coco256", "portraits")
#: Least score and height in pixels of a face.
SURE, LEAST = 0.5, 20
#: Least distance from the picture's left and right border, in heights of the face.
AWAY = 0.15
#: Level of 255 up to which a pixel is black, and the proportion of a face's surroundings that may be.
BLACK, FILLED = 5, 0.03
#: Proportion of pairs of different people that a threshold may take for one person, and rounds of the bootstrap.
ACCEPTED, ROUNDS = 1e-3, 1000
#: Quality at which a picture is stored anew.
QUALITY = 40


def in_profile(face: Instance, image: NDArray[np.uint8]) -> bool:
    """Return whether a face in RGB uint8 (H, W, 3) is seen in profile and whole."""
    apart = eyes_apart(face)
    x1, y1, x2, y2 = (float(v) for v in face.box)
    room = AWAY * (y2 - y1)
    if apart is None or apart >= PROFILE or y2 - y1 < LEAST:
        return False
    if x1 < room or x2 > image.shape[1] - room or y1 <= 0 or y2 >= image.shape[0]:
        return False
    around = image[int(y1) : int(y2), int(x1 - room) : int(x2 + room)]
    return float((around.max(axis=2) <= BLACK).mean()) <= FILLED


def quantile(cosines: NDArray[np.float64], different: NDArray[np.bool_], chosen: NDArray[np.intp]) -> float:
    """Return the cosine that the accepted proportion of pairs of chosen faces lies above, each pair once."""
    part = np.ix_(chosen, chosen)
    above = np.triu(different[part], 1)
    return float(np.quantile(cosines[part][above], 1 - ACCEPTED))


def measure(data: Path, packs: list[str]) -> dict[str, Any]:
    """Return counts, cosines of strangers and of the same picture stored anew, and the threshold with its interval."""
    finder = CenterFaceDetector(weights.path("centerface"), threshold=SURE)
    embedder = DlibFaceEmbedder(weights.path("dlib-face"), weights.path("dlib-landmarks"))
    vectors, again, where = [], [], []
    for pack in packs:
        for path, _ in pictures(data, pack, "all"):
            image = read(path)
            faces = [face for face in finder.detect(image) if in_profile(face, image)]
            if not faces:
                continue
            _, stored = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            other = np.ascontiguousarray(cv2.imdecode(stored, cv2.IMREAD_COLOR)[..., ::-1])
            for face in faces:
                vectors.append(embedder.embed(image, face.box, face.landmarks))
                again.append(float(vectors[-1] @ embedder.embed(other, face.box, face.landmarks)))
                where.append(path)
    table = np.stack(vectors).astype(np.float64)
    cosines = table @ table.T
    different = np.array([[a != b for b in where] for a in where])
    rng = np.random.default_rng(0)
    every = np.arange(len(table))
    rounds = [quantile(cosines, different, rng.integers(len(table), size=len(table))) for _ in range(ROUNDS)]
    strangers = cosines[np.triu(different, 1)]
    return {
        "faces": Counter(path.parent.parent.name for path in where),
        "pairs": len(strangers),
        "mean": float(strangers.mean()),
        "greatest": float(strangers.max()),
        "above_usual_threshold": float((strangers > embedder.threshold).mean()),
        "above_profile_threshold": float((strangers > embedder.profile_threshold).mean()),
        "threshold": quantile(cosines, different, every),
        "threshold_95": np.percentile(rounds, [2.5, 97.5]).tolist(),
        "stored_anew_above_profile_threshold": float((np.array(again) >= embedder.profile_threshold).mean()),
        "stored_anew_median": float(np.median(again)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--packs", nargs="+", default=list(PACKS))
    args = parser.parse_args()
    with offline():
        print(json.dumps(measure(args.data, args.packs), indent=1))


if __name__ == "__main__":
    main()
