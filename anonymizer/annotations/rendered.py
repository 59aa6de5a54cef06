"""Labels out of a rendering: visible outlines, COCO's joints, and maps of instances, body parts and depth.

What a nearer instance covers counts as hidden. A face of a redrawn person is a part of that person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import StageError
from anonymizer.core.geometry import integer_box, paste_window
from anonymizer.core.records import Floats, Instance, Result

__all__ = [
    "COCO_JOINTS",
    "SKELETON",
    "instance_map",
    "joint_names",
    "joints_of",
    "label_maps",
    "placed_joints",
    "unlabelled",
    "visible",
    "with_joints",
]

#: COCO's joints in their order; left and right are the person's own.
COCO_JOINTS = (
    "nose",
    *(
        f"{side}_{name}"
        for name in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        for side in ("left", "right")
    ),
)
#: COCO's limbs as pairs of joints, numbered from 1.
SKELETON = (
    *((16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9), (8, 10), (9, 11)),
    *((2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7)),
)
#: Largest value of a map of 16 bits.
MOST = 65535
#: How visible a joint is in COCO: not in the picture, hidden, visible.
ABSENT, HIDDEN, SEEN = 0, 1, 2


def instance_map(result: Result) -> NDArray[np.uint16]:
    """Return the id of the redrawn instance that each pixel of a released picture shows, uint16 (H, W), else 0.

    Raises:
        StageError: The result does not tell the order of its instances, or an id does not fit.
    """
    actions = {t.instance_id: t.action for t in result.treatments}
    shown = {i.id: i for i in result.instances if actions[i.id] == "redrawn"}
    if set(result.order) != {i.id for i in result.instances} or max(shown, default=0) > MOST:
        raise StageError("write", f"maps: expected the order of {len(result.instances)} instances, ids up to {MOST}")
    size = result.image.shape[0], result.image.shape[1]
    out = np.zeros(size, np.uint16)
    for instance in (shown[i] for i in result.order if i in shown):
        if instance.label == "face" and instance.parent in shown:
            continue
        inside, local = paste_window(integer_box(instance.box), size)
        out[inside][instance.outline[local]] = instance.id
    return out


def visible(result: Result, ids: NDArray[np.uint16]) -> tuple[Instance, ...]:
    """Return the instances, those with an avatar with the part of it that shows as their outline.

    An avatar that nearer ones cover wholly keeps its outline.

    Args:
        result: A verified picture.
        ids: Its ``instance_map``.
    """
    out = []
    for instance in result.instances:
        if instance.id in result.renderings:
            core = np.zeros_like(instance.mask)
            inside, local = paste_window(integer_box(instance.box), ids.shape)
            core[local] = ids[inside] == instance.id
            instance = replace(instance, core=core) if core.any() else instance
        out.append(instance)
    return tuple(out)


def joints_of(result: Result, ids: NDArray[np.uint16]) -> dict[int, Floats]:
    """Return COCO's joints of each person with an avatar, by id: float32 (17, 3) x, y in pixels and 0, 1 or 2.

    Visibility is 2 where the joint shows, 1 where it is hidden by the body itself, by something nearer, or by what
    stood before the person, and 0, with x and y, where it lies outside of the picture.

    Args:
        result: A verified picture.
        ids: Its ``instance_map``.
    """
    height, width = ids.shape
    out = {}
    for number, drawn in result.renderings.items():
        joints = drawn.joints.copy()
        columns, rows = np.floor(joints[:, :2]).astype(int).T
        inside = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
        own = np.zeros(len(joints), np.bool_)
        own[inside] = ids[rows[inside], columns[inside]] == number
        joints[:, 2] = np.where(own & (joints[:, 2] > 0), SEEN, HIDDEN)
        joints[~inside] = ABSENT
        out[number] = joints.astype(np.float32)
    return out


def placed_joints(joints: Floats, names: Iterable[str] = COCO_JOINTS) -> dict[str, Any]:
    """Return COCO's ``keypoints`` and ``num_keypoints``.

    Args:
        joints: float32 (17, 3) as of ``joints_of``.
        names: Joints wanted, in their order; those that are not COCO's stay unlabelled.
    """
    known = dict(zip(COCO_JOINTS, joints.tolist(), strict=True))
    rows = [known.get(name, [0.0, 0.0, float(ABSENT)]) for name in names]
    values = [value for x, y, v in rows for value in (round(x, 2), round(y, 2), int(v))]
    return {"keypoints": values, "num_keypoints": sum(v > ABSENT for _, _, v in rows)}


def joint_names(category: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the joints that a category's annotations have, COCO's where it names none."""
    named = (category or {}).get("keypoints")
    return tuple(map(str, named)) if isinstance(named, list) and named else COCO_JOINTS


def with_joints(categories: Iterable[dict[str, Any]], posed: Mapping[Any, int]) -> dict[Any, int]:
    """Name the joints of categories that have annotations with joints, and return their number by category id.

    Args:
        categories: Category records; those that name no joints and have annotations with 17 are given COCO's names.
        posed: Number of joints of some annotation by category id.
    """
    out = {}
    for category in categories:
        number = category["id"]
        if not category.get("keypoints") and posed.get(number) == len(COCO_JOINTS):
            category |= {"keypoints": list(COCO_JOINTS), "skeleton": [list(limb) for limb in SKELETON]}
        if number in posed and category.get("keypoints"):
            out[number] = len(category["keypoints"])
    return out


def unlabelled(record: dict[str, Any], joints: Mapping[Any, int]) -> dict[str, Any]:
    """Return an annotation; one without joints in a category with some has all unlabelled, which COCO's tools need.

    Args:
        record: The annotation, with ``category_id``.
        joints: Number of joints by category id.
    """
    count = joints.get(record["category_id"])
    if count is None or "keypoints" in record:
        return record
    return record | {"keypoints": [0] * (3 * count), "num_keypoints": 0}


def label_maps(
    result: Result, ids: NDArray[np.uint16], wanted: Iterable[str], size: tuple[int, int] | None = None
) -> Mapping[str, bytes]:
    """Return maps of a released picture as PNG files, by name.

    ``masks`` holds instance ids in 16 bits, ``parts`` the parts of the avatars' bodies in 8 bits (see ``Rendering``),
    ``depth`` the depth in 16 bits, 65535 nearest.

    Args:
        result: A verified picture.
        ids: Its ``instance_map``.
        wanted: Some of ``images.release.MAPS``.
        size: (height, width) of the released picture, where it was scaled: the nearest values are taken.

    Raises:
        StageError: The result holds no depth, or a map cannot be encoded.
    """
    made: dict[str, NDArray[Any]] = {}
    for name in wanted:
        if name == "masks":
            made[name] = ids
        elif name == "parts":
            made[name] = _parts(result, ids)
        elif result.depth is None:
            raise StageError("write", "depth: expected a result with depth; build with depth_map")
        else:
            made[name] = np.rint(result.depth * np.float32(MOST)).astype(np.uint16)
    return {name: _png(name, _nearest(values, size or ids.shape)) for name, values in made.items()}


def _nearest(values: NDArray[Any], size: tuple[int, ...]) -> NDArray[Any]:
    """Return an array (H, W) at another size, each pixel with the value at its middle."""
    rows, columns = (((np.arange(n) + 0.5) * of / n).astype(int) for n, of in zip(size, values.shape, strict=True))
    return values[np.ix_(rows, columns)]


def _parts(result: Result, ids: NDArray[np.uint16]) -> NDArray[np.uint8]:
    import cv2

    out = np.zeros(ids.shape, np.uint8)
    for number, drawn in result.renderings.items():
        inside, local = paste_window(drawn.box, ids.shape)
        # The rim of the mask lies half a pixel beyond what the rays met.
        grown = np.where(drawn.parts > 0, drawn.parts, cv2.dilate(drawn.parts, np.ones((3, 3), np.uint8)))
        out[inside] = np.where(ids[inside] == number, grown[local], out[inside])
    return out


def _png(name: str, values: NDArray[Any]) -> bytes:
    import cv2

    done, data = cv2.imencode(".png", values)
    content = data.tobytes() if done else b""
    again = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if done else None
    if again is None or not np.array_equal(again, values):
        raise StageError("write", f"{name}: the encoded map does not hold its values")
    return content
