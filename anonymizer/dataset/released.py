"""COCO annotations of the released pictures: one side file per picture, put together when a run ends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from anonymizer.dataset.annotations import Annotations, label_of
from anonymizer.dataset.rle import encode_rle
from anonymizer.errors import InputError
from anonymizer.geometry import integer_box
from anonymizer.types import CLASSES, Result

__all__ = ["coco_out", "released_record", "side_path"]

#: Fields of given records that tell who or what the original showed or where to find it; they are not passed on for
#: treated instances, nor for pictures.
IDENTIFYING = frozenset(
    {
        "caption",
        "embedding",
        "gps",
        "identity",
        "identity_id",
        "latitude",
        "location",
        "longitude",
        "name",
        "person_id",
        "plate",
        "plate_number",
        "text",
        "transcription",
        "utf8_string",
        "vehicle_id",
    }
)


def side_path(state: Path, name: str) -> Path:
    """Return where the side file of a picture lies; hashed, so that any relative name fits in one flat folder."""
    return state / "annotations" / f"{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()}.json"


def released_record(name: str, result: Result, annotations: Annotations | None) -> dict[str, Any]:
    """Return what the annotations will say about a released picture, as plain JSON data.

    Args:
        name: Relative name of the picture.
        result: The verified result; masks are written as treated.
        annotations: What was given, to carry fields and further categories through, or None.
    """
    height, width = result.image.shape[:2]
    given = None if annotations is None else annotations.image(name)
    image = {} if given is None else _public(given)
    instances = []
    for instance, treatment in zip(result.instances, result.treatments, strict=True):
        x1, y1, x2, y2 = (round(float(value), 2) for value in instance.box)
        record = {} if instance.record is None else _public(instance.record)
        record |= {
            "category": instance.label,
            "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
            "area": int(instance.mask.sum()),
            "segmentation": encode_rle(instance.mask, integer_box(instance.box), (height, width)),
            "iscrowd": record.get("iscrowd", 0),
            "score": round(float(instance.score), 4),
            "source": instance.source,
            "action": treatment.action,
            "attempts": treatment.attempts,
        }
        instances.append(record)
    others = () if annotations is None else annotations.others(name)
    return {
        "image": image | {"file_name": name, "width": width, "height": height},
        "instances": instances,
        "others": [dict(record) | {"category": category} for category, record in others],
    }


def coco_out(names: Iterable[str], state: Path, annotations: Annotations | None) -> bytes:
    """Return the content of ``annotations.json`` for the released pictures.

    Ids that were given are kept where they are still unique; others follow the highest one, in the order of names.

    Args:
        names: Relative names of every released picture.
        state: Folder with the side files.
        annotations: What was given, for its categories and head, or None.

    Raises:
        InputError: A side file is missing or damaged.
    """
    sides = [_read_side(state, name) for name in sorted(names)]
    records = [record for side in sides for record in side["instances"] + side["others"]]
    by_name, categories = _categories({record["category"] for record in records}, annotations)
    images = [dict(side["image"]) for side in sides]
    _number(images)
    for side, image in zip(sides, images, strict=True):
        for record in side["instances"] + side["others"]:
            record["image_id"] = image["id"]
            record["category_id"] = by_name[record.pop("category")]
    _number(records)
    head = {} if annotations is None else dict(annotations.head)
    document = head | {"images": images, "annotations": records, "categories": categories}
    return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"


def _public(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key.lower() not in IDENTIFYING and "url" not in key.lower()}


def _read_side(state: Path, name: str) -> dict[str, Any]:
    path = side_path(state, name)
    try:
        side = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: the record of released picture {name} is missing or damaged; run again with overwrite"
        ) from error
    return dict(side)


def _categories(names: set[str], annotations: Annotations | None) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Return category ids by name and the category records: those given first, then ours, then others in use."""
    records = [] if annotations is None else [dict(record) for record in annotations.categories.values()]
    by_name: dict[str, int] = {}
    for record in records:
        by_name.setdefault(label_of(record["name"]) or record["name"], record["id"])
        by_name.setdefault(record["name"], record["id"])
    for name in (*CLASSES, *sorted(names)):
        if name not in by_name:
            by_name[name] = max((record["id"] for record in records), default=0) + 1
            records.append({"id": by_name[name], "name": name})
    return by_name, records


def _number(records: list[dict[str, Any]]) -> None:
    """Give each record an id: the one it has if no earlier record has it, else the next free one."""
    free = max((record["id"] for record in records if isinstance(record.get("id"), int)), default=0) + 1
    seen: set[Any] = set()
    for record in records:
        if "id" not in record or record["id"] in seen:
            record["id"], free = free, free + 1
        seen.add(record["id"])
