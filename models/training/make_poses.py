"""Make the pose prior of avatars: stances of the training people as BlazePose sees them, in clusters.

    python models/training/make_poses.py --data ../shared/data --out runs/poses

Persons of the `train` pictures from 60 pixels on, whose limbs were mostly seen, and their mirror images; besides them
made stances of people who pedal, of whom the pictures show few. Writes ``views.npz`` (what BlazePose saw; read again
when it is there) and ``poses.safetensors``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from packs import read_pack
from safetensors.numpy import save_file

from anonymizer.avatar.mesh import unit
from anonymizer.avatar.stance import ROWS, facing, read_stance, trust_of
from anonymizer.detect.blazepose import BlazePose
from anonymizer.models import weights

PACKS = ("pennfudan", "humanseg", "coco256", "coco100", "street", "pedstreet", "camvid", "ccp", "facemask")
#: Least height of a person in pixels, presence in the view, and trust in its limbs: of the mean and of the legs alone.
TALL, PRESENT, LIMBS, LEGS = 60, 0.7, 0.6, 0.5
#: Clusters, rounds of k-means, and the least number of people in a cluster: none is the stance of one person.
CLUSTERS, ROUNDS, LEAST = 160, 40, 3
#: Least standard deviation of a direction within clusters, in radians.
FLOOR = 0.06
#: How often somebody pedals, and how far the trunk then leans, in radians; eight positions of the crank.
PEDALS, LEANS, CRANKS = 0.03, (0.1, 0.45, 0.8), 8


def seen(data: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows (17, 3) turned to face the camera, and their trust (17,), of each person of the training pictures."""
    network = BlazePose(weights.path("blazepose"))
    for pack in PACKS:
        for picture in read_pack(data, pack, teacher=False):
            boxes = [
                label.box
                for label in picture.labels
                if label.name == "person" and not label.crowd and not label.approximate
                if label.box[3] - label.box[1] >= TALL
            ]
            if picture.split != "train" or not boxes:
                continue
            for view in network.look(picture.read(), np.array(boxes, np.float32)):
                if view.presence >= PRESENT:
                    stance = read_stance(view, trust_of(view, (picture.height, picture.width)))
                    yield stance.rows @ facing(stance), stance.trust


def mirrored(rows: np.ndarray) -> np.ndarray:
    """Return stances (N, 17, 3) in a mirror: left and right change places."""
    swap = [ROWS.index(n.replace(".L", ".?").replace(".R", ".L").replace(".?", ".R")) for n in ROWS]
    out = rows[:, swap] * np.array([-1, 1, 1], np.float32)
    across = [ROWS.index(name) for name in ("hips", "shoulders", "head_left")]
    out[:, across] *= -1
    return out


def pedalling() -> np.ndarray:
    """Return stances (24, 17, 3) of somebody who pedals: hands at the bars, feet on the cranks."""
    out = []
    for lean in LEANS:
        for step in range(CRANKS):
            out.append(_pedalling(lean, 2 * np.pi * step / CRANKS))
    return unit(np.stack(out).astype(np.float32))


def _pedalling(lean: float, crank: float) -> np.ndarray:
    # In metres, facing -y: saddle at the origin, cranks of 0.17 m around an axle below and before it.
    rows = dict.fromkeys(ROWS, (0.0, 0.0, 1.0))
    up = np.array([0, -np.sin(lean), np.cos(lean)])
    rows |= {"trunk_up": up, "hips": (1, 0, 0), "shoulders": (1, 0, 0), "head_left": (1, 0, 0)}
    rows["head_up"] = (0, -np.sin(0.3 * lean), np.cos(0.3 * lean))
    for side, sign, angle in (("L", 1, crank), ("R", -1, crank + np.pi)):
        pedal = np.array([0, -0.2 - 0.17 * np.sin(angle), -0.68 + 0.17 * np.cos(angle)])
        knee = _bent(np.zeros(3), pedal, 0.43, 0.43, np.array([0, -1.0, 0.3]))
        rows[f"upperleg.{side}"], rows[f"lowerleg.{side}"] = knee, pedal - knee
        rows[f"foot.{side}"] = (0.1 * sign, -1, -0.15)
        shoulder, bar = 0.5 * up, np.array([0.05 * sign, -0.55, 0.2])
        elbow = _bent(shoulder, bar, 0.3, 0.27, np.array([0.6 * sign, 0.3, -1.0]))
        rows[f"upperarm.{side}"], rows[f"lowerarm.{side}"] = elbow - shoulder, bar - elbow
        rows[f"hand.{side}"] = (0.1 * sign, -1, -0.2)
    return np.array([rows[name] for name in ROWS])


def _bent(start: np.ndarray, end: np.ndarray, first: float, second: float, towards: np.ndarray) -> np.ndarray:
    """Return where a joint lies between two ends, for two lengths; it points as far ``towards`` as it can."""
    line = end - start
    length = min(float(np.linalg.norm(line)), 0.99 * (first + second))
    along = line / np.linalg.norm(line)
    part = (first**2 - second**2 + length**2) / (2 * length)
    across = towards - along * (towards @ along)
    off = np.sqrt(max(first**2 - part**2, 0))
    return np.asarray(start + part * along + off * across / np.linalg.norm(across))


def clusters(rows: np.ndarray, trust: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return middles (K, 17, 3) and each stance's number (N,), by k-means that weighs directions by their trust."""
    rng = np.random.default_rng(seed)
    middles = rows[rng.choice(len(rows), CLUSTERS, replace=False)]
    weight = trust + 1e-3
    for _ in range(ROUNDS):
        # |r - m|^2 of unit vectors is 2 - 2 r.m
        near = np.einsum("nj,njx,kjx->nk", weight, rows, middles, optimize=True)
        number = near.argmax(1)
        middles = np.stack([_middle(rows, weight, number == k, middles[k]) for k in range(len(middles))])
    many = np.bincount(number, minlength=len(middles)) >= LEAST
    middles = middles[many]
    near = np.einsum("nj,njx,kjx->nk", weight, rows, middles, optimize=True)
    return middles, near.argmax(1)


def _middle(rows: np.ndarray, weight: np.ndarray, own: np.ndarray, old: np.ndarray) -> np.ndarray:
    if not own.any():
        return old
    return unit((rows[own] * weight[own][..., None]).sum(0))


def main() -> None:
    """Make the prior."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "views.npz"
    if not file.exists():
        rows, trust = (np.stack(each) for each in zip(*seen(options.data), strict=True))
        np.savez(file, rows=rows, trust=trust)
    stored = np.load(file)
    rows, trust = stored["rows"], stored["trust"]
    legs = [ROWS.index(f"{name}.{side}") for name in ("upperleg", "lowerleg") for side in "LR"]
    whole = (trust[:, 5:].mean(1) >= LIMBS) & (trust[:, legs].mean(1) >= LEGS)
    rows, trust = rows[whole], trust[whole]
    people = len(rows)
    rows, trust = np.concatenate([rows, mirrored(rows)]), np.concatenate([trust, trust])
    middles, number = clusters(rows, trust, options.seed)
    away = ((rows - middles[number]) * np.sqrt(trust)[..., None]).reshape(len(rows), -1)
    covariance = away.T @ away / len(rows) + FLOOR**2 * np.eye(away.shape[1])
    shares = np.bincount(number, minlength=len(middles)) / len(rows)
    made = pedalling()
    shares = np.concatenate([(1 - PEDALS) * shares, np.full(len(made), PEDALS / len(made))])
    tensors = {
        "stances": np.concatenate([middles, made]).astype(np.float16),
        "shares": shares.astype(np.float32),
        "covariance": covariance.astype(np.float32),
    }
    save_file(tensors, options.out / "poses.safetensors")
    spread = np.sqrt(np.diag(covariance).reshape(-1, 3).sum(1))
    print(f"{people} people, {len(middles)} clusters and {len(made)} made stances")
    print("spread within clusters in radians:", dict(zip(ROWS, spread.round(2).tolist(), strict=True)))


if __name__ == "__main__":
    main()
