"""Ray tracing of meshes seen from far away: sun with soft shadows, sky, ground and ambient occlusion; deterministic.

Coordinates in metres: x right in the picture, y away from the camera, z up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.mesh import normals, unit
from anonymizer.core.geometry import IntBox

__all__ = ["Camera", "Hits", "Light", "Mesh", "Tracer", "averaged", "reflected"]

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]

#: Distance in metres of rays' starts from the surface and before the nearest point.
OFF, BEFORE = 2e-3, 1.0
#: How much more of the light of the sky comes from the left or right, where the sun stands, than straight from above: a
#: clear sky and one of thin clouds are brightest there, and so is a room beside its window. Light from before or behind
#: is not told from a darker or brighter day.
SIDED = np.float32(1.0)
#: Radius of the sun's disc for soft shadows, as a share of the distance: wider than the sun, hazy sky around it.
DISC = 0.04
#: Light that reaches what is closed in on all sides, as a share: it comes back from other surfaces.
BOUNCED = 0.25
#: How far light goes on in skin beyond the edge of the light, red, green and blue, as a share of the sphere's radius:
#: scattered below the surface, red farthest.
SCATTERED = np.array((0.3, 0.12, 0.06), np.float32)
#: Share of the light that comes back from closed in skin by colour: between fingers it is red.
FLUSHED = np.array((1.35, 0.9, 0.8), np.float32)
#: Rays on each side over which shadow and ambient occlusion are averaged, at least and at most, and as a share of the
#: picture's height; every how many rays along rows and columns they are traced.
NEAR, NEAR_SHARE, SPARSE = (3, 7), 0.005, 2


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """A surface: vertices float32 (V, 3) and faces int32 (F, 3), counter-clockwise from outside."""

    vertices: Floats
    faces: Numbers


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """A view along y: a point (x, y, z) lies at ``scale * (x, -z) + shift`` in the picture, in pixels."""

    scale: float
    shift: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """Sun and surroundings.

    Args:
        sun: float32 (3,), direction to the sun.
        sunlight, sky, ground: float32 (3,) RGB, what a white surface sends back that faces the sun, the sky or the
            ground, in [0, 1].
    """

    sun: Floats
    sunlight: Floats
    sky: Floats
    ground: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Where primary rays meet surfaces; N of the H·W rays do.

    Args:
        size: Height and width of the grid of rays.
        ray: int64 (N,), which rays.
        mesh, face: int32 (N,), what they meet.
        shares: float32 (N, 3), weights of the face's corners.
        points, normals: float32 (N, 3), normals of smooth surfaces, towards the camera.
    """

    size: tuple[int, int]
    ray: NDArray[np.int64]
    mesh: Numbers
    face: Numbers
    shares: Floats
    points: Floats
    normals: Floats

    def mixed(self, own: NDArray[np.bool_], faces: Numbers, values: Floats) -> Floats:
        """Return values (V, K) of a mesh's vertices at the hits ``own`` (N,), all on that mesh: float32 (M, K)."""
        corners = faces[self.face[own]]
        shares = self.shares[own]
        out = values.take(corners[:, 0], axis=0) * shares[:, :1]
        for k in (1, 2):
            out += values.take(corners[:, k], axis=0) * shares[:, k : k + 1]
        return np.asarray(out, np.float32)


class Tracer:
    """Meshes that rays can meet.

    Args:
        meshes: At least one, none of them empty.
    """

    def __init__(self, meshes: Sequence[Mesh]) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self._meshes = tuple(meshes)
        self._smooth: dict[int, Floats] = {}
        self._scene: Any = EmbreeScene()
        for mesh in self._meshes:
            TriangleMesh(self._scene, mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32))

    def depths(self) -> tuple[float, float]:
        """Return the least and the greatest distance y of the meshes."""
        y = np.concatenate([mesh.vertices[:, 1] for mesh in self._meshes])
        return float(y.min()), float(y.max())

    def primary(self, camera: Camera, box: IntBox, samples: int, only: NDArray[np.bool_] | None = None) -> Hits:
        """Return what rays meet first.

        Args:
            camera: The view.
            box: Integer xyxy in the picture.
            samples: Rows and columns of rays in a pixel.
            only: bool (h, w), pixels of the box that get rays; None: all.
        """
        x1, y1, x2, y2 = box
        size = (y2 - y1) * samples, (x2 - x1) * samples
        x = (np.arange(size[1], dtype=np.float32) + 0.5) / samples + x1
        y = (np.arange(size[0], dtype=np.float32) + 0.5) / samples + y1
        x = (x - camera.shift[0]) / np.float32(camera.scale)
        z = -(y - camera.shift[1]) / np.float32(camera.scale)
        points = np.concatenate([mesh.vertices for mesh in self._meshes])
        (left, near, low), (right, _, high) = points.min(0), points.max(0)
        # Beside and above the meshes there is nothing to meet.
        columns, rows = np.flatnonzero((x >= left) & (x <= right)), np.flatnonzero((z >= low) & (z <= high))
        if only is None:
            row, column = np.repeat(rows, len(columns)), np.tile(columns, len(rows))
        else:
            one, other = (side.ravel() for side in np.indices((samples, samples)))
            row, column = (
                (place[:, None] * samples + step).ravel()
                for place, step in zip(np.nonzero(only), (one, other), strict=True)
            )
        flat = np.stack([x[column], np.full(len(row), near - BEFORE, np.float32), z[row]], 1).astype(np.float32)
        away = np.array([0, 1, 0], np.float32)
        found = self._scene.run(flat, np.broadcast_to(away, flat.shape).copy(), output=True)
        met = np.flatnonzero(found["primID"] >= 0)
        ray = row[met] * size[1] + column[met]
        found = {name: values[met] for name, values in found.items()}
        flat = flat[met]
        mesh, face = found["geomID"].astype(np.int32), found["primID"].astype(np.int32)
        u, v = found["u"], found["v"]
        hits = Hits(
            size=size,
            ray=ray,
            mesh=mesh,
            face=face,
            shares=np.stack([1 - u - v, u, v], 1).astype(np.float32),
            points=(flat + away * found["tfar"][:, None]).astype(np.float32),
            normals=np.zeros((len(ray), 3), np.float32),
        )
        for number, surface in enumerate(self._meshes):
            own = mesh == number
            if own.any():
                if number not in self._smooth:
                    self._smooth[number] = normals(surface.vertices, surface.faces)
                hits.normals[own] = facing(unit(hits.mixed(own, surface.faces, self._smooth[number])))
        return hits

    def shade(
        self,
        hits: Hits,
        bumped: Floats,
        light: Light,
        rays: int,
        rng: np.random.Generator,
        skin: Floats | None = None,
    ) -> Floats:
        """Return the light that white surfaces send back, float32 (N, 3).

        Args:
            hits: From ``primary``.
            bumped: float32 (N, 3), unit normals with what is finer than the mesh.
            light: Sun and surroundings.
            rays: Rays of ambient occlusion per hit.
            rng: Directions of rays.
            skin: float32 (N,), 1 where a surface scatters light as skin does, 0 where it does not; None: nowhere.
        """
        near, said = self.open(hits, bumped, light, rays, rng, skin)
        return reflected(near.mean(said), bumped, light, skin)

    def open(
        self,
        hits: Hits,
        bumped: Floats,
        light: Light,
        rays: int,
        rng: np.random.Generator,
        skin: Floats | None = None,
    ) -> tuple[Neighbours, Floats]:
        """Return which hits were asked how open they lie, and what they said; arguments as for ``shade``.

        Returns:
            The hits with their neighbours, and float32 (M, 5) of those asked: whether the sun is seen, seen and all of
            the sky, seen and all of the ground.
        """
        near = Neighbours(hits)
        asked = near.asked
        count = len(asked)
        base = (hits.points[asked] + hits.normals[asked] * OFF).astype(np.float32)
        sun = unit(unit(light.sun) + DISC * rng.standard_normal((count, 3)).astype(np.float32))
        facing_sun = _facing_sun(bumped[asked], light, None if skin is None else skin[asked])
        lit = np.zeros(count, np.float32)
        towards = np.flatnonzero(facing_sun.max(1) > 0)
        lit[towards] = self.free(base[towards], sun[towards])
        # Seen and all of the sky and of the ground: their ratio holds no noise where nothing is closed in.
        said = np.zeros((5, count), np.float32)
        said[0] = lit
        normal = bumped[asked]
        for _ in range(rays):
            # Normal plus a point on the unit sphere: directions as dense as the cosine.
            way = unit(normal + 0.98 * unit(rng.standard_normal((count, 3)).astype(np.float32)))
            free = self.free(base, way)
            up = np.clip(way[:, 2] * 2 + 0.5, 0, 1)
            down = 1 - up
            said[2] += up
            said[4] += down
            said[1] += free * up
            said[3] += free * down
        return near, said.T

    def free(self, start: Floats, way: Floats) -> NDArray[np.bool_]:
        """Return which rays, float32 (N, 3) start and direction, meet nothing: bool (N,)."""
        if not len(start):
            return np.zeros(0, np.bool_)
        return np.asarray(self._scene.run(start, way.astype(np.float32), query="OCCLUDED")) < 0


def _facing_sun(bumped: Floats, light: Light, skin: Floats | None) -> Floats:
    """Return how far normals (N, 3) face the sun, float32 (N, 3) by colour, 0 where they do not."""
    wrap = np.zeros((len(bumped), 3), np.float32) if skin is None else skin[:, None] * SCATTERED
    return np.asarray(np.clip((bumped @ unit(light.sun))[:, None] + wrap, 0, None) / (1 + wrap), np.float32)


def reflected(openness: Floats, bumped: Floats, light: Light, skin: Floats | None = None) -> Floats:
    """Return the light that white surfaces send back, float32 (N, 3).

    Args:
        openness: float32 (N, 5), means of what ``Tracer.open`` returns.
        bumped: float32 (N, 3), unit normals.
        light: Sun and surroundings.
        skin: float32 (N,), what scatters light as skin does; None: nothing.
    """
    lit, *parts = openness.T
    # What is closed in gets a share of the light that its normal would see.
    share = 0.5 + 0.5 * (bumped @ unit(np.array([SIDED * unit(light.sun)[0], 0, 1], np.float32)))
    back = BOUNCED * (1 if skin is None else 1 + skin[:, None] * (FLUSHED - 1))
    above, below = (
        (usual * open_)[:, None] + back * (usual * (1 - open_))[:, None]
        for open_, usual in (
            (parts[0] / np.maximum(parts[1], 1e-6), share),
            (parts[2] / np.maximum(parts[3], 1e-6), 1 - share),
        )
    )
    out = _facing_sun(bumped, light, skin) * lit[:, None] * light.sunlight + above * light.sky + below * light.ground
    return np.asarray(out, np.float32)


def facing(vectors: Floats) -> Floats:
    """Return unit normals (N, 3) turned so that none points away from the camera: smooth ones may at the rim."""
    away = vectors[:, 1:2] > 0
    return unit(np.where(away, vectors * np.array([1, 0, 1], np.float32), vectors))


class Neighbours:
    """Hits and those near them on the same mesh.

    Light changes slowly: only one hit in four is asked for shadow and sky, and each takes the mean of those near it,
    which also takes away the noise of few rays.

    Args:
        hits: From ``primary``.
    """

    def __init__(self, hits: Hits) -> None:
        self._hits = hits
        self._window = 2 * int(np.clip(hits.size[0] * NEAR_SHARE, *NEAR)) + 1
        rows, columns = np.divmod(hits.ray, hits.size[1])
        chosen = (rows % SPARSE == 0) & (columns % SPARSE == 0)
        alone = self._spread(np.flatnonzero(chosen), np.zeros((int(chosen.sum()), 0), np.float32))[:, -1] == 0
        #: Which hits are asked: int64 (M,).
        self.asked = np.flatnonzero(chosen | alone)

    def mean(self, values: Floats, finer: Hits | None = None) -> Floats:
        """Return the mean of what the asked hits near each hit said: float32 (M, K) to (N, K).

        Args:
            values: float32 (M, K).
            finer: Hits of more rays a pixel to tell it for; None: the hits themselves. Where none of their mesh was
                asked near by, it is the mean of the mesh.
        """
        spread = self._spread(self.asked, values, finer)
        if finer is not None:
            for number in np.unique(finer.mesh[spread[:, -1] == 0]):
                said = values[self._hits.mesh[self.asked] == number]
                alone = (finer.mesh == number) & (spread[:, -1] == 0)
                spread[alone] = np.append((said if len(said) else values).mean(0), 1)
        return np.asarray(spread[:, :-1] / np.maximum(spread[:, -1:], 1e-6), np.float32)

    def _spread(self, asked: NDArray[np.int64], values: Floats, finer: Hits | None = None) -> Floats:
        """Return sums over the window around each hit of values (M, K), and how many there are, float32 (N, K + 1)."""
        hits, width = self._hits, values.shape[1] + 1
        wanted = hits if finer is None else finer
        samples = wanted.size[0] // hits.size[0]
        out = np.zeros((len(wanted.ray), width), np.float32)
        for number in np.unique(hits.mesh):
            own = hits.mesh == number
            rows, columns = np.divmod(hits.ray[own], hits.size[1])
            top, left = int(rows.min()), int(columns.min())
            grid = np.zeros((int(rows.max()) - top + 1, int(columns.max()) - left + 1, width), np.float32)
            here = hits.mesh[asked] == number
            y, x = np.divmod(hits.ray[asked[here]], hits.size[1])
            grid[y - top, x - left, :-1], grid[y - top, x - left, -1] = values[here], 1
            blurred = cv2.blur(grid, (self._window, self._window), borderType=cv2.BORDER_CONSTANT).reshape(*grid.shape)
            if finer is not None:
                own = finer.mesh == number
                rows, columns = (place // samples for place in np.divmod(finer.ray[own], finer.size[1]))
            inside = np.clip(rows - top, 0, len(grid) - 1), np.clip(columns - left, 0, grid.shape[1] - 1)
            out[own] = blurred[inside]
        # The running sums of a blur leave dust where there was nothing.
        out[np.abs(out[:, -1]) < 0.5 / self._window**2, -1] = 0
        return out


def averaged(hits: Hits, values: Floats, samples: int, only: NDArray[np.bool_] | None = None) -> Floats:
    """Return values (N, K) of hits averaged over each pixel; rays that meet nothing count as 0.

    Args:
        hits: What rays met.
        values: float32 (N, K).
        samples: Rows and columns of rays in a pixel.
        only: bool (h, w), which pixels had rays; None: all.

    Returns:
        float32 (h, w, K), or (P, K) of the P pixels that had rays.
    """
    height, width = (side // samples for side in hits.size)
    row, column = np.divmod(hits.ray, hits.size[1])
    pixel = (row // samples) * width + column // samples
    count = height * width
    if only is not None:
        pixel, count = (np.cumsum(only) - 1)[pixel], int(only.sum())
    if samples == 1:
        out = np.zeros((count, values.shape[1]), np.float32)
        out[pixel] = values
    else:
        sums = [np.bincount(pixel, values[:, k], count) for k in range(values.shape[1])]
        out = (np.stack(sums, 1) / samples**2).astype(np.float32)
    return out if only is not None else out.reshape(height, width, -1)
