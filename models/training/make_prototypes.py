"""Average training faces into the bank that redraws and avatars start from.

    python models/training/make_prototypes.py --data ../shared/data

k-same: every average holds ``K`` people, and nobody is in two averages. Faces are aligned by a least-squares affine map
of their five landmarks and grouped by likeness, turned heads apart, so that an average is not all blur. How far each
pixel belongs to the person is averaged with them, from the outlines that the product's own detector draws. ``train``
pictures only, one photo a person.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from packs import Picture, read_pack
from safetensors.numpy import save_file

from anonymizer import Anonymizer
from anonymizer.core.geometry import integer_box
from anonymizer.core.records import Detector
from anonymizer.redraw.prototypes import Head, affine, skin_colour, turn

SEED = 5
K = 12
SIDE = 128
#: Landmarks in an upright frontal face of SIDE pixels.
FRONTAL = np.array([[50, 57], [78, 57], [64, 73], [53, 87], [75, 87]], np.float32)
#: Rows and columns by which faces are grouped: the head with its hair.
LIKE = np.s_[24:108, 30:98]
FRONTAL_GROUPS, TURNED_GROUPS = 32, 16
#: Groups made beyond those wanted, since some wear caps.
SPARE = 6
#: Scales in pixels at which averages get back the contrast of a single picture.
SCALES = (8.0, 2.0)
#: Turn of the head from which a face is not frontal.
TURNED = 0.10
#: Share by which a forehead is darker than the skin from which an average wears a cap.
CAPPED = 0.42


def aligned(data: Path) -> tuple[np.ndarray, np.ndarray, list[Callable[[Detector], np.ndarray]]]:
    """Return aligned training faces, float32 (N, SIDE, SIDE, 3), their turns (N,), and what makes their mattes."""
    faces, turns, mattes = [], [], []
    for picture in read_pack(data, "lfw"):
        if picture.split != "train":
            continue
        marks = [label for label in picture.labels if label.name == "face" and label.landmarks]
        if not marks:
            continue
        # The face nearest the middle is the one the picture is of: one face a person.
        middle = np.array([picture.width, picture.height]) / 2
        face = min(marks, key=lambda m: np.abs((np.array(m.box[:2]) + m.box[2:]) / 2 - middle).sum())
        points = np.array(face.landmarks, np.float32).reshape(5, -1)[:, :2]
        turned = turn(points)
        if abs(turned) > 0.32:
            continue
        matrix, mirrored = affine(points, placed(turned)), turned <= -TURNED
        image = cv2.warpAffine(picture.read(), matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
        # Turned heads are all brought to one side; half of their averages are mirrored back.
        faces.append((image[:, ::-1] if mirrored else image).astype(np.float32))
        turns.append(turned)
        mattes.append(partial(matte, picture, points, matrix, mirrored))
    return np.stack(faces), np.array(turns), mattes


def matte(picture: Picture, points: np.ndarray, matrix: np.ndarray, mirrored: bool, detector: Detector) -> np.ndarray:
    """Return how far each pixel of an aligned face belongs to its person, float32 (SIDE, SIDE) in [0, 1]; NaN: unknown.

    Beyond the photo's border what lies at the border goes on.
    """
    image = picture.read()
    nose = points[2]
    around = [
        person
        for person in detector.detect(image)
        if person.label == "person" and (person.box[:2] <= nose).all() and (nose < person.box[2:]).all()
    ]
    whole = np.full(image.shape[:2], np.nan, np.float32)
    if around:
        person = max(around, key=lambda i: i.score)
        x1, y1, x2, y2 = integer_box(person.box)
        whole[:] = 0
        whole[y1:y2, x1:x2] = person.outline
    out = cv2.warpAffine(whole, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    return out[:, ::-1] if mirrored else out


def placed(turn: float) -> np.ndarray:
    """Return where landmarks of a head with this turn are put."""
    side = 0 if abs(turn) < TURNED else np.sign(turn)
    return FRONTAL + np.array([[0, 0], [0, 0], [6, 0], [2.5, 0], [2.5, 0]], np.float32) * side


def groups(
    images: np.ndarray, wanted: int, rng: np.random.Generator, size: tuple[int, int] = (10, 12)
) -> list[np.ndarray]:
    """Return ``wanted`` disjoint groups of K alike images, compared at ``size`` (width, height)."""
    small = np.stack([cv2.resize(image, size, interpolation=cv2.INTER_AREA).ravel() for image in images])
    free, out = np.ones(len(images), bool), []
    for _ in range(wanted):
        seed = rng.choice(np.nonzero(free)[0])
        distance = ((small - small[seed]) ** 2).sum(axis=1)
        distance[~free] = np.inf
        members = np.argsort(distance)[:K]
        free[members] = False
        out.append(members)
    return out


def average(faces: np.ndarray) -> np.ndarray:
    """Return the mean image with the contrast of a single one, at the scales at which averaging takes it away."""
    mean = faces.mean(axis=0)
    for sigma in SCALES:
        single = np.mean([(face - cv2.GaussianBlur(face, (0, 0), sigma)).std() for face in faces])
        fine = mean - cv2.GaussianBlur(mean, (0, 0), sigma)
        mean = mean + fine * np.clip(0.8 * single / fine.std() - 1, 0, 1.2)
    return np.clip(np.rint(mean), 0, 255).astype(np.uint8)


def capped(head: np.ndarray, landmarks: np.ndarray) -> bool:
    """Return whether an average (SIDE, SIDE, 4) with landmarks (5, 2) wears something dark on its forehead."""
    (x, y), apart = landmarks[:2].mean(axis=0).astype(int), int(np.ptp(landmarks[:2, 0]))
    forehead = head[y - int(0.9 * apart) : y - int(0.55 * apart), x - apart // 2 : x + apart // 2, :3]
    skin = skin_colour(Head(head, landmarks))
    return bool((skin - np.median(forehead.reshape(-1, 3), axis=0)).max() > CAPPED * skin.max())


def main() -> None:
    """Write the bank."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("models/embedded/prototypes"))
    parser.add_argument("--sheet", type=Path, help="also write all averages as one picture")
    args = parser.parse_args()
    rng = np.random.default_rng(SEED)
    faces, turns, mattes = aligned(args.data)
    detector = Anonymizer.from_preset("embedded")._detector

    def blended(where: np.ndarray) -> np.ndarray:
        """Return the average of some faces with its matte, uint8 (SIDE, SIDE, 4)."""
        own = np.nanmean([mattes[n](detector) for n in where], axis=0)
        face = average(faces[where])
        return np.dstack([face, np.rint(255 * own).astype(np.uint8)])

    def bareheaded(indices: np.ndarray, wanted: int, turn: float) -> list[np.ndarray]:
        """Return averages of ``wanted`` groups of some faces, leaving out those with caps."""
        more = groups(faces[indices][(slice(None), *LIKE)], wanted + SPARE, rng)
        heads = (blended(indices[members]) for members in more)
        return list(islice((head for head in heads if not capped(head, placed(turn))), wanted))

    front, turned = np.nonzero(np.abs(turns) < TURNED)[0], np.nonzero(np.abs(turns) >= TURNED)[0]
    chosen = bareheaded(front, FRONTAL_GROUPS, 0.0)
    marks = [placed(0.0)] * FRONTAL_GROUPS
    for number, face in enumerate(bareheaded(turned, TURNED_GROUPS, 1.0)):
        chosen.append(face[:, ::-1] if number % 2 else face)
        marks.append(placed(-1.0 if number % 2 else 1.0))
    print(f"{len(faces)} faces, {len(chosen)} averages; k = {K}")
    args.out.mkdir(parents=True, exist_ok=True)
    k = np.array([K])
    arrays = {"faces": np.stack(chosen), "landmarks": np.stack(marks).astype(np.float32), "k": k}
    save_file(arrays, args.out / "faces.safetensors")
    if args.sheet:
        shown = [np.where(face[..., 3:] > 127, face[..., :3], 128).astype(np.uint8) for face in chosen]
        rows = [np.concatenate(shown[i : i + 12], axis=1) for i in range(0, len(shown) - 11, 12)]
        cv2.imwrite(str(args.sheet), np.concatenate(rows)[..., ::-1])


if __name__ == "__main__":
    main()
