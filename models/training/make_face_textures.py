"""Average faces as textures of the avatar's head: shape taken out, k people in each.

    python models/training/make_face_textures.py --data ../shared/data

k-same: every texture averages ``K`` people of LFW's ``train`` pictures, one picture a person, and nobody is in two.
FaceMesh finds 468 points of each face; a warp, linear in each triangle between them, brings the photograph onto the
points that FaceMesh finds on a rendering of the avatar's own middle head. So eyes, brows and lips lie on each other
and stay sharp, and no shape of a face is kept. What is kept is each colour as a ratio of the face's skin, with the
light's side taken out by halves of the mirrored image.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from packs import read_pack
from safetensors.numpy import save_file
from scipy.spatial import Delaunay

from anonymizer.avatar.body import Body
from anonymizer.avatar.faces import CHEEKS, NEUTRAL, SIDE, WIDTH, texel
from anonymizer.avatar.render import Camera, Light, Mesh, Tracer, averaged
from anonymizer.detect.facemesh import FaceMesh
from anonymizer.models import weights

SEED, K = 11, 12
#: Most averages made.
GROUPS = 96
#: By eye: averages that show glasses, a fringe or coloured or burnt-out light, and those that look like women.
DROPPED = frozenset((6, 12, 16, 23, 24, 26, 42, 45, 48, 54, 56, 57, 58, 62, 63, 66, 67, 68, 70, 73, 74))
FEMALE = frozenset((8, 9, 13, 32, 34, 39, 46, 49, 51, 59, 64, 65))
#: Vertices of FaceMesh's mesh without the irises.
POINTS = 468
#: Nose tip and sides of the face among them; how far the nose may lie off their middle, as a share of the width.
NOSE, SIDES, TURN = 1, (234, 454), 0.09
#: Pixels a metre of the rendering on which the avatar's points are found.
SCALE = 3000
#: Blur in texels beyond which light, not the face, makes differences.
BROAD = 14.0
#: Blur in texels beyond which colour is a cast.
CAST = 18.0
#: Scales in texels at which averages get back the contrast of a single picture, and most of what is given back.
SCALES, MOST = (8.0, 2.5, 1.2), 1.3


def avatar_points(mesh: FaceMesh) -> np.ndarray:
    """Return FaceMesh's points of the avatar's middle head in texels, float32 (468, 2)."""
    body, _ = Body.load(weights.path("body"))
    shape = body.middle
    head = shape.vertices[body.parts == 1]
    low, high = head.min(0), head.max(0)
    box = 0, 0, int((high[0] - low[0] + 0.06) * SCALE), int((high[2] - low[2] + 0.06) * SCALE)
    shift = np.array([-(low[0] - 0.03) * SCALE, (high[2] + 0.03) * SCALE], np.float32)
    tracer = Tracer([Mesh(shape.vertices, body.faces)])
    hits = tracer.primary(Camera(SCALE, shift), box, 1)
    white = np.ones(3, np.float32)
    light = Light(np.array([0.4, -0.7, 0.7], np.float32), 0.7 * white, 0.4 * white, 0.2 * white)
    shade = tracer.shade(hits, hits.normals, light, 4, np.random.default_rng(0))
    picture = averaged(hits, shade ** np.float32(1 / 2.2) * np.array([0.82, 0.66, 0.56], np.float32), 1)
    eye = shape.heads[body.number("eye.L")]
    around = (np.array([[-0.078, eye[2] + 0.09, 0.078, eye[2] - 0.12]]) * SCALE * [1, -1, 1, -1] + [*shift, *shift])[0]
    view = mesh.look(np.clip(picture * 255, 0, 255).astype(np.uint8), around[None].astype(np.float32))[0]
    found = (view.points[:POINTS, :2] - shift) / SCALE * [1, -1]
    return texel(found[:, 0], found[:, 1] - eye[2]).astype(np.float32)


def warp(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each texel the three points around it, int (H, W, 3), their shares (H, W, 3), and what is inside."""
    net = Delaunay(points)
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(SIDE))
    texels = np.stack([x, y], -1).astype(np.float64)
    inside = net.find_simplex(texels) >= 0
    # Beyond the face the triangle of the nearest texel inside goes on.
    _, labels = cv2.distanceTransformWithLabels(
        (~inside).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    source = np.zeros(labels.max() + 1, int)
    source[labels[inside]] = net.find_simplex(texels)[inside]
    number = source[labels]
    part = net.transform[number]
    first = np.einsum("hwij,hwj->hwi", part[..., :2, :], texels - part[..., 2, :])
    return net.simplices[number], np.dstack([first, 1 - first.sum(-1)]), inside


def textures(data: Path, mesh: FaceMesh, limit: int) -> np.ndarray:
    """Return training faces as ratios of their skin, float16 (N, SIDE, WIDTH, 3), from dark to bright."""
    corners, shares, _ = warp(avatar_points(mesh))
    out = []
    for picture in read_pack(data, "lfw"):
        faces = [label for label in picture.labels if label.name == "face"]
        if picture.split != "train" or not faces or len(out) >= limit:
            continue
        middle = np.array([picture.width, picture.height]) / 2
        face = min(faces, key=lambda m: np.abs((np.array(m.box[:2]) + m.box[2:]) / 2 - middle).sum())
        image = picture.read()
        view = mesh.look(image, np.array([face.box], np.float32))[0]
        points = view.points[:POINTS, :2]
        left, right = points[SIDES[0]], points[SIDES[1]]
        width = float(np.linalg.norm(right - left))
        off = float((points[NOSE] - (left + right) / 2) @ (right - left)) / max(width, 1) ** 2
        if view.confidence < 0.8 or width < 70 or abs(off) > TURN:
            continue
        at = np.einsum("hwk,hwkx->hwx", shares, points[corners]).astype(np.float32)
        flat = cv2.remap(image, at[..., 0], at[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        made = ratio(flat.astype(np.float32))
        if made is not None:
            out.append(made.astype(np.float16))
    return ordered(np.stack(out))


def ordered(faces: np.ndarray) -> np.ndarray:
    """Return faces from dark to bright: groups then do not hang on the order of files."""
    return faces[np.argsort(faces.astype(np.float32).mean(axis=(1, 2, 3)), kind="stable")]


def ratio(face: np.ndarray) -> np.ndarray | None:
    """Return a face as ratios of its skin without the light's side; None where a fringe or a cap is on the forehead."""
    rows, *columns = CHEEKS
    cheeks = np.concatenate([face[rows, across].reshape(-1, 3) for across in columns])
    skin = np.median(cheeks, axis=0)
    forehead = np.median(face[12:30, 30:82].reshape(-1, 3), axis=0)
    if skin.max() < 45 or (forehead / skin).mean() < 0.72 or (forehead / skin).mean() > 1.6:
        return None
    out = face / skin
    broad = cv2.GaussianBlur(out, (0, 0), BROAD)
    even = (broad + broad[:, ::-1]) / 2
    return np.asarray(out * even / np.maximum(broad, 0.1), np.float32)


def grouped(faces: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Return disjoint groups of K alike faces."""
    small = np.stack(
        [cv2.resize(face.astype(np.float32), (14, 16), interpolation=cv2.INTER_AREA).ravel() for face in faces]
    )
    free, out = np.ones(len(faces), bool), []
    for _ in range(min(GROUPS, len(faces) // K)):
        seed = rng.choice(np.flatnonzero(free))
        distance = ((small - small[seed]) ** 2).sum(axis=1)
        distance[~free] = np.inf
        members = np.argsort(distance)[:K]
        free[members] = False
        out.append(members)
    return out


def average(faces: np.ndarray) -> np.ndarray:
    """Return the mean of faces, half of them mirrored, with the contrast of a single one; uint8 (SIDE, WIDTH, 3)."""
    faces = np.stack([face[:, ::-1] if n % 2 else face for n, face in enumerate(faces)]).astype(np.float32)
    mean = faces.mean(axis=0)
    # The cast of lamps goes, as far as it is broader than lips.
    broad = cv2.GaussianBlur(mean, (0, 0), CAST)
    mean = mean * (broad.mean(axis=2, keepdims=True) / broad) ** 0.7
    for sigma in SCALES:
        single = np.mean([(face - cv2.GaussianBlur(face, (0, 0), sigma)).std() for face in faces])
        fine = mean - cv2.GaussianBlur(mean, (0, 0), sigma)
        mean = mean + fine * np.clip(0.85 * single / fine.std() - 1, 0, MOST)
    return np.clip(np.rint(mean * NEUTRAL), 0, 255).astype(np.uint8)


def main() -> None:
    """Write the textures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("models/embedded/prototypes/textures.safetensors"))
    parser.add_argument("--sheet", type=Path, help="also write all textures, numbered, as one picture")
    parser.add_argument("--limit", type=int, default=10**6, help="faces read at most")
    args = parser.parse_args()
    rng = np.random.default_rng(SEED)
    mesh = FaceMesh(weights.path("facemesh"))
    faces = textures(args.data, mesh, args.limit)
    made = [average(faces[members]) for members in grouped(faces, rng)]
    kept = [number for number in range(len(made)) if number not in DROPPED]
    female = np.array([number in FEMALE for number in kept])
    print(f"{len(faces)} faces, {len(made)} averages, {len(kept)} kept, {int(female.sum())} of women; k = {K}")
    arrays = {"textures": np.stack([made[n] for n in kept]), "female": female.astype(np.uint8), "k": np.array([K])}
    save_file(arrays, args.out)
    if args.sheet:
        tone = np.array([205, 160, 135], np.float32) / NEUTRAL
        shown = [np.clip(face * tone, 0, 255).astype(np.uint8)[..., ::-1].copy() for face in made]
        for number, face in enumerate(shown):
            cv2.putText(face, str(number), (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (0, 0, 255), 1)
        shown += [np.zeros_like(shown[0])] * (-len(shown) % 12)
        cv2.imwrite(
            str(args.sheet), np.concatenate([np.concatenate(shown[i : i + 12], 1) for i in range(0, len(shown), 12)])
        )


if __name__ == "__main__":
    main()
