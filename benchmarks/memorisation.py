"""Do the average faces, or redrawn ones, look like somebody in the training pictures?

    python benchmarks/memorisation.py --data DATA --judge arcface.onnx

For each average face of the gallery, and for each redrawn face of LFW ``val`` pictures, the cosine of the nearest of
all training faces, beside the same figure for real ``val`` faces, who are other people: what chance gives.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from packs import pictures, read, some

from anonymizer import VerificationFailed
from anonymizer.config import presets
from anonymizer.models import weights
from anonymizer.models.third_party import offline
from anonymizer.recognize.faces import ArcFaceEmbedder
from anonymizer.redraw.prototypes import FaceBank


def real_faces(judge: ArcFaceEmbedder, data: Path, split: str, limit: int) -> np.ndarray:
    """Return unit embeddings (N, D) of the main face of LFW pictures."""
    out = []
    for path, truths in some(pictures(data, "lfw", split), limit):
        named = [t for t in truths if t.record.get("identity") and t.record.get("keypoints")]
        if named:
            marks = np.array(named[0].record["keypoints"], np.float32).reshape(5, -1)[:, :2]
            out.append(judge.embed(read(path), named[0].box, marks))
    return np.stack(out)


def averages(judge: ArcFaceEmbedder) -> np.ndarray:
    """Return unit embeddings of the gallery's average faces."""
    gallery = FaceBank.load(weights.path("prototypes") / "faces.safetensors")
    side = float(gallery.faces.shape[1])
    frame = np.array([0, 0, side, side], np.float32)
    pairs = zip(gallery.faces, gallery.landmarks, strict=True)
    return np.stack([judge.embed(np.ascontiguousarray(face[..., :3]), frame, marks) for face, marks in pairs])


def redrawn(judge: ArcFaceEmbedder, data: Path, limit: int) -> np.ndarray:
    """Return unit embeddings of redrawn faces of LFW ``val`` pictures."""
    anonymizer, out = presets.build("embedded", seed=7), []
    for path, _ in some(pictures(data, "lfw", "val"), limit):
        try:
            result = anonymizer(read(path), key=path.name)
        except VerificationFailed:
            continue
        actions = {t.instance_id: t.action for t in result.treatments}
        for face in result.instances:
            if face.label == "face" and face.landmarks is not None and actions[face.id] == "redrawn":
                out.append(judge.embed(result.image, face.box, face.landmarks))
    return np.stack(out)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=40, help="LFW pictures redrawn")
    args = parser.parse_args()
    judge = ArcFaceEmbedder(args.judge, 0.35)
    with offline():
        train = real_faces(judge, args.data, "train", 10_000)
        groups = {
            "real faces of other people (val)": real_faces(judge, args.data, "val", 400),
            "average faces of the gallery": averages(judge),
            "redrawn faces": redrawn(judge, args.data, args.limit),
        }
    print("| faces | count | nearest training face, median cosine | 95th percentile | highest | share over 0.5 |")
    print("|---|---|---|---|---|---|")
    for name, faces in groups.items():
        nearest = (faces @ train.T).max(axis=1)
        print(
            f"| {name} | {len(faces)} | {np.median(nearest):.3f} | {np.percentile(nearest, 95):.3f} "
            f"| {nearest.max():.3f} | {(nearest > 0.5).mean():.3f} |"
        )


if __name__ == "__main__":
    main()
