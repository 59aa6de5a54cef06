"""Triangle meshes: normals, smoothing, cuts along level sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cut", "about", "areas", "averaging", "border", "cut", "dot", "even", "normals", "outward", "unit"]

Floats = NDArray[np.float32]
Faces = NDArray[np.int32]

#: Shortest length that is not taken for zero, in metres.
TINY = np.float32(1e-9)


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """The part of a mesh where a field is positive.

    Args:
        first, second: int64 (M,), the vertices between which each vertex lies; the same one twice where it is kept.
        share: float32 (M,), how far from the first to the second.
        faces: int32 (F, 3) of the new vertices.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    share: Floats
    faces: Faces

    def of(self, values: Floats) -> Floats:
        """Return values (N, K) or (N,) of the whole mesh at the cut's vertices."""
        share = self.share.reshape(-1, *(1,) * (values.ndim - 1))
        return np.asarray(values[self.first] + (values[self.second] - values[self.first]) * share, np.float32)


def unit(vectors: Floats) -> Floats:
    """Return vectors (..., 3), or of another number of components, at length 1."""
    # Component by component: NumPy's sums along an axis of three take four times as long.
    squares = sum(vectors[..., k] * vectors[..., k] for k in range(vectors.shape[-1]))
    return np.asarray(vectors / (np.sqrt(squares) + TINY)[..., None], np.float32)


def dot(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Return the scalar products (N,) of vectors (N, 3)."""
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2]


def about(axis: Floats, angle: float) -> Floats:
    """Return the rotation about a unit axis by an angle in radians."""
    x, y, z = (float(v) for v in axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k, np.float32)


def normals(vertices: Floats, faces: Faces) -> Floats:
    """Return unit normals float32 (V, 3) of vertices, faces weighted by area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    flat = np.cross(b - a, c - a)
    # bincount is several times faster than add.at
    corners = faces.ravel()
    spread = np.repeat(flat, 3, axis=0)
    out = np.stack([np.bincount(corners, spread[:, k], len(vertices)) for k in range(3)], 1)
    return unit(out.astype(np.float32))


def areas(vertices: Floats, faces: Faces) -> Floats:
    """Return the area of each face, float32 (F,)."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.asarray(np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2, np.float32)


def averaging(count: int, faces: Faces) -> Any:
    """Return the sparse matrix (V, V) that gives each vertex the average of its neighbours."""
    import scipy.sparse as sparse

    a, b = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    # Faces of two corners name one of them twice.
    a, b = a[a != b], b[a != b]
    ones = np.ones(2 * len(a), np.float32)
    near = sparse.coo_matrix((ones, (np.r_[a, b], np.r_[b, a])), shape=(count, count)).tocsr()
    neighbours = np.diff(near.indptr)
    share = (1 / np.maximum(neighbours.astype(np.float32), 1)).astype(np.float32)
    near.data = np.repeat(share, neighbours)
    return near


def border(faces: Faces) -> NDArray[np.int32]:
    """Return the edges (E, 2) that belong to one face only."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    # One number an edge: unique rows are slow.
    size = int(faces.max()) + 1
    found, count = np.unique(edges[:, 0].astype(np.int64) * size + edges[:, 1], return_counts=True)
    return np.stack([found[count == 1] // size, found[count == 1] % size], 1).astype(np.int32)


def even(points: Floats, edges: NDArray[np.int32], steps: int) -> Floats:
    """Return points (N, 3) of which those on a border, given by its edges (E, 2), lie on a smooth curve."""
    where, local = np.unique(edges, return_inverse=True)
    pairs = local.reshape(edges.shape)
    # As faces of two corners: neighbours along the border only.
    around = averaging(len(where), np.concatenate([pairs, pairs[:, :1]], 1).astype(np.int32))
    curve = points[where]
    for step in range(2 * steps):
        # Taubin's steps to and fro: the curve does not shrink.
        curve = curve + np.float32(0.5 if step % 2 == 0 else -0.52) * ((around @ curve) - curve)
    out = points.copy()
    out[where] = curve
    return out


def outward(points: Floats, faces: NDArray[Any]) -> Faces:
    """Return the faces of a closed mesh, all turned so that their outside is the mesh's."""
    a, b, c = (points[faces[:, k]].astype(np.float64) for k in range(3))
    volume = float((a * np.cross(b, c)).sum())
    return np.asarray(faces if volume > 0 else faces[:, ::-1], np.int32)


def cut(faces: Faces, field: Floats) -> Cut:
    """Return what lies where a field (V,) of a mesh is positive, with straight borders through its triangles."""
    up = field > 0
    count = up[faces].sum(1)
    whole = faces[count == 3]
    rows, pairs = [np.stack([whole, whole], 2)], []
    for inside in (1, 2):
        some = faces[count == inside]
        # Turned so that the odd one of the three corners comes first.
        odd = (up[some] == (inside == 1)).argmax(1)
        turned = np.take_along_axis(some, (odd[:, None] + np.arange(3)) % 3, 1)
        a, b, c = turned.T
        ab, ac = np.stack([a, b], 1), np.stack([a, c], 1)
        aa, bb, cc = (np.stack([v, v], 1) for v in (a, b, c))
        triangles = [(aa, ab, ac)] if inside == 1 else [(ab, bb, cc), (ab, cc, ac)]
        pairs += [np.stack(triangle, 1) for triangle in triangles]
    corners = np.concatenate(rows + pairs).reshape(-1, 2).astype(np.int64)
    corners.sort(axis=1)
    keys, inverse = np.unique(corners[:, 0] * len(field) + corners[:, 1], return_inverse=True)
    first, second = keys // len(field), keys % len(field)
    gap = field[first] - field[second]
    share = np.where(first == second, 0, field[first] / np.where(gap == 0, 1, gap))
    return Cut(first, second, share.astype(np.float32), inverse.reshape(-1, 3).astype(np.int32))
