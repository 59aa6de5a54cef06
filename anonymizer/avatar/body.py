"""Body model: rest shapes of random phenotypes, linear blend skinning and joints, in NumPy.

Coordinates in metres: x to the person's left, y backwards, z up. The body faces -y, which is also where the camera is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError, ModelError

__all__ = ["HEAD_PART", "PHENOTYPES", "Body", "Shape", "once", "owners", "skin"]

Floats = NDArray[np.float32]
Faces = NDArray[np.int32]
Made = TypeVar("Made")

#: What varies between bodies, each in [0, 1]; gender 0 is male, age 0 is a toddler and 2/3 a young adult.
PHENOTYPES = ("gender", "age", "muscle", "weight", "height", "proportions")
#: Number of the head among the parts of the body.
HEAD_PART = 1
#: Phenotype in the middle: a young adult.
MIDDLE = (0.5, 0.6, 0.5, 0.5, 0.5, 0.5)
TENSORS = (
    *("mean", "components", "components_bytes", "base", "onto", "levels", "anchors", "heads", "head_shapes", "parents"),
    *("skin_bones", "skin_weights", "faces", "parts", "joint_vertices", "joint_weights"),
    *("coarse_vertices", "coarse_faces"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One body at rest, arms held away from the trunk.

    Args:
        vertices: float32 (V, 3).
        heads: float32 (B, 3), where each bone begins.
        marks: float32 (S, 3), the points from which joints are averaged.
    """

    vertices: Floats
    heads: Floats
    marks: Floats


class Body:
    """A mesh with shapes, bones and joints.

    Args:
        tensors: Arrays by name as ``models/training/export_body.py`` writes them.
        metadata: Names of bones, levels, parts and joints, separated by blanks.
        coarse: Whether the mesh with few vertices is used, for small persons.

    Attributes:
        bones: Names, ``.L`` and ``.R`` are the person's own left and right.
        parents: Number of each bone's parent, -1 for the root; parents come first.
        faces: int32 (F, 3), counter-clockwise from outside.
        weights: float32 (V, B), rows sum to 1.
        parts: uint8 (V,), the part of the body from 1 in the order of ``part_names``.
        joint_names: COCO's 17.
        middle: The shape in the middle of all phenotypes, by whose places faces and hair lie on every head.
    """

    def __init__(self, tensors: dict[str, NDArray[Any]], metadata: dict[str, str], coarse: bool = False) -> None:
        self.bones = tuple(metadata["bones"].split())
        self.part_names = tuple(metadata["parts"].split())
        self.joint_names = tuple(metadata["joints"].split())
        self.parents = tuple(int(p) for p in tensors["parents"])
        self._numbers = {name: number for number, name in enumerate(self.bones)}
        names = metadata["levels"].split()
        self._spans = [[i for i, name in enumerate(names) if name.startswith(f"{key}:")] for key in PHENOTYPES]
        self._levels, self._anchors = tensors["levels"], tensors["anchors"]
        self._base, self._onto = tensors["base"], tensors["onto"]
        self._heads, self._head_shapes = tensors["heads"], tensors["head_shapes"]
        every = np.arange(len(tensors["mean"]))
        chosen = tensors["coarse_vertices"].astype(np.int64) if coarse else every
        self.faces: Faces = tensors["coarse_faces" if coarse else "faces"].astype(np.int32)
        # Joints are averages of vertices of the fine mesh, whichever mesh is drawn.
        support, places = np.unique(tensors["joint_vertices"], return_inverse=True)
        self._joints = np.zeros((len(self.joint_names), len(support)), np.float32)
        rows = np.arange(len(self.joint_names))[:, None]
        np.add.at(self._joints, (rows, places.reshape(tensors["joint_vertices"].shape)), tensors["joint_weights"])
        # Vertices inside of eyes and mouth are not part of the mesh; what is left of an average is one again.
        self._joints /= self._joints.sum(1, keepdims=True)
        points = np.concatenate([chosen, support])
        self._count = len(chosen)
        self._mean = tensors["mean"][points].ravel()
        fine, rest = tensors["components"][:, points], tensors["components_bytes"][:, points]
        self._components = np.concatenate([fine.astype(np.float32), rest.astype(np.float32)]).reshape(
            len(self._base), -1
        )
        weights = np.zeros((len(points), len(self.bones)), np.float32)
        values = tensors["skin_weights"][points].astype(np.float32)
        np.add.at(weights, (np.arange(len(points))[:, None], tensors["skin_bones"][points]), values)
        weights /= weights.sum(1, keepdims=True)
        self.weights: Floats = weights[: self._count]
        self._mark_weights = weights[self._count :]
        self.parts: NDArray[np.uint8] = tensors["parts"][chosen]
        self._shares: dict[tuple[str, ...], Floats] = {}
        self.middle = self.rest(np.array(MIDDLE, np.float32))

    @classmethod
    def load(cls, path: Path) -> tuple[Body, Body]:
        """Return the fine and the coarse body of a safetensors file.

        Raises:
            ModelError: The file does not hold a body.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="numpy") as file:
                tensors = {name: file.get_tensor(name) for name in TENSORS}
                metadata = file.metadata() or {}
            return cls(tensors, metadata), cls(tensors, metadata, coarse=True)
        except (OSError, SafetensorError, KeyError, IndexError, ValueError) as error:
            raise ModelError(f"{path}: expected a body as models/training/export_body.py writes it: {error}") from error

    def number(self, bone: str) -> int:
        """Return a bone's number."""
        return self._numbers[bone]

    def share(self, *starts: str) -> Floats:
        """Return how far bones whose names begin so move each vertex, float32 (V,), read-only."""
        if starts not in self._shares:
            made = np.asarray(self.weights[:, [bone.startswith(starts) for bone in self.bones]].sum(1), np.float32)
            made.flags.writeable = False
            self._shares[starts] = made
        return self._shares[starts]

    def rest(self, phenotype: Floats) -> Shape:
        """Return the body of a phenotype (6,) in [0, 1], in the order of ``PHENOTYPES``.

        Raises:
            InputError: Another shape, or values outside of [0, 1].
        """
        values = np.asarray(phenotype, np.float32)
        if values.shape != (len(PHENOTYPES),) or not ((values >= 0) & (values <= 1)).all():
            raise InputError(f"phenotype: expected {', '.join(PHENOTYPES)} in [0, 1], got {phenotype}")
        table = np.zeros(len(self._anchors), np.float32)
        for value, span in zip(values, self._spans, strict=True):
            for k, level in enumerate(span):
                table[level] = np.interp(value, self._anchors[span], np.eye(len(span))[k])
        products = np.where(self._levels, table, np.float32(1)).prod(1).astype(np.float32)
        points = (self._mean + (products @ self._onto + self._base) @ self._components).reshape(-1, 3)
        heads = self._heads + np.einsum("k,kbx->bx", products, self._head_shapes)
        return Shape(points[: self._count], heads.astype(np.float32), points[self._count :])

    def transforms(self, shape: Shape, rotations: Floats, root: Floats | None = None) -> Floats:
        """Return how each bone moves what hangs on it, float32 (B, 3, 4): a rotation and then a shift.

        Args:
            shape: The body at rest.
            rotations: float32 (B, 3, 3), of each bone from rest, in the body's coordinates (not its parent's).
            root: Where the root goes, float32 (3,); None: where it is at rest.
        """
        heads = np.zeros_like(shape.heads)
        for bone, parent in enumerate(self.parents):
            if parent < 0:
                heads[bone] = shape.heads[bone] if root is None else root
            else:
                heads[bone] = heads[parent] + rotations[parent] @ (shape.heads[bone] - shape.heads[parent])
        shift = heads - np.einsum("bij,bj->bi", rotations, shape.heads)
        return np.concatenate([rotations, shift[:, :, None]], axis=2).astype(np.float32)

    def pose(self, shape: Shape, transforms: Floats) -> Floats:
        """Return the posed vertices, float32 (V, 3)."""
        return skin(shape.vertices, self.weights, transforms)

    def joints(self, shape: Shape, transforms: Floats | None = None) -> Floats:
        """Return COCO's 17 joints, float32 (17, 3), posed, or at rest without transforms."""
        marks = shape.marks if transforms is None else skin(shape.marks, self._mark_weights, transforms)
        return np.asarray(self._joints @ marks, np.float32)


def once(make: Callable[[Body], Made]) -> Callable[[Body], Made]:
    """Return a function of a body that is worked out once for each body; nobody may change what it returns."""
    known: WeakKeyDictionary[Body, Made] = WeakKeyDictionary()

    @wraps(make)
    def made(body: Body) -> Made:
        if body not in known:
            known[body] = make(body)
        return known[body]

    return made


@once
def owners(body: Body) -> NDArray[np.int64]:
    """Return the bone that moves each vertex most, int64 (V,)."""
    return np.asarray(body.weights.argmax(1), np.int64)


def skin(points: Floats, weights: Floats, transforms: Floats) -> Floats:
    """Return points (N, 3) moved by bones: weights float32 (N, B), transforms float32 (B, 3, 4)."""
    blend = (weights @ transforms.reshape(len(transforms), 12)).reshape(-1, 3, 4)
    return np.asarray(np.einsum("nij,nj->ni", blend[:, :, :3], points) + blend[:, :, 3], np.float32)
