"""COCO annotations in and out: boxes, polygons, run lengths and keypoints."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from anonymizer.annotations.fields import ANNOTATION, CATEGORY, COCO_HEAD, IMAGE, Each
from anonymizer.annotations.records import Given, Head, Page, Record, added_record, label_of, mark, read_json
from anonymizer.annotations.rle import decode_rle
from anonymizer.annotations.scrubbing import Scrubber, identities, name_parts, without_keypoints
from anonymizer.dataset.ledger import to_json
from anonymizer.dataset.release import Release
from anonymizer.errors import InputError
from anonymizer.geometry import IntBox, clip_box, integer_box
from anonymizer.types import CLASSES, Instance

__all__ = ["CocoAnnotations", "coco_from", "instance_from", "read_coco"]

#: Categories of COCO and its kin that are vehicles here.
VEHICLES = ("car", "motorcycle", "bus", "truck", "van")
#: Pixels by which a box or polygon may leave the picture, as rounded annotations do; it is cut off there.
TOLERANCE = 2.0
_FIELDS = {**COCO_HEAD, "images": IMAGE, "annotations": Each(ANNOTATION), "categories": Each(CATEGORY)}


@dataclass(frozen=True, slots=True, eq=False)
class CocoAnnotations:
    """A checked COCO file.

    Args:
        path: Where it was read from.
        head: Every other field of the document as given, ``info`` and ``licenses`` among them.
        categories: Category records as given, by id.
        images: Image records as given, by ``file_name``.
        by_image: Annotation records as given, by image id.
        basenames: ``file_name`` by its last part, None where several share it.
    """

    format: ClassVar[str] = "coco"

    path: Path
    head: Record
    categories: Mapping[int, Record]
    images: Mapping[str, Record]
    by_image: Mapping[Any, tuple[Record, ...]]
    basenames: Mapping[str, str | None]

    def image(self, name: str) -> Record | None:
        """Return the image record of a picture: by its relative name, else by the last part if only one has it."""
        if name in self.images:
            return self.images[name]
        file_name = self.basenames.get(name.rsplit("/", 1)[-1])
        return None if file_name is None else self.images[file_name]

    def check_names(self, names: Iterable[str]) -> None:
        """Refuse annotations that fit none of the pictures, or of which one record fits several.

        Raises:
            InputError: As said.
        """
        taken: dict[Any, str] = {}
        for name in names:
            record = self.image(name)
            if record is None:
                continue
            other = taken.setdefault(record["id"], name)
            if other != name:
                raise InputError(
                    f"{self.path}: image {record['file_name']!r} fits both {other} and {name}; "
                    "give file_name with its folder"
                )
        if not taken:
            raise InputError(
                f"{self.path}: none of its {len(self.images)} images is among the pictures given; "
                "file_name must be the path relative to INPUT, or the file's own name"
            )

    def instances(self, name: str, size: tuple[int, int]) -> Given | None:
        """Return the annotated instances of the classes we know, ids from 1.

        A box without segmentation stands for the whole box, of a face for the ellipse in it. Where a segmentation
        reaches beyond its box, the box grows: no annotated pixel is left out.

        Args:
            name: Relative name of the picture.
            size: Its (height, width) after decoding.

        Returns:
            The instances, maybe none; None if the annotations do not know the picture.

        Raises:
            InputError: An annotation does not fit the picture.
        """
        image = self.image(name)
        if image is None:
            return None
        stated = (image.get("height", size[0]), image.get("width", size[1]))
        if stated != size:
            raise InputError(
                f"{self.path}: image {image['file_name']!r} is stated as {stated[1]}x{stated[0]}, the picture is "
                f"{size[1]}x{size[0]} upright; annotate the picture as it is shown"
            )
        out: list[Instance] = []
        for record in self.by_image.get(image["id"], ()):
            label = label_of(self.categories[record["category_id"]]["name"])
            if label is not None:
                out.append(instance_from(len(out) + 1, label, record, size, self._what(record)))
        return Given(tuple(out))

    def records(self, name: str) -> tuple[tuple[str, Record], ...]:
        """Return (category name, record) of each of a picture's annotations, as given."""
        image = self.image(name)
        records = () if image is None else self.by_image.get(image["id"], ())
        return tuple((str(self.categories[record["category_id"]]["name"]), record) for record in records)

    def identities(self, name: str, texts: Iterable[str], keep: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the plates and names that a picture's annotations tell, and those of ``texts`` worth comparing."""
        records = [record for _, record in self.records(name)]
        told = {"images": self.image(name) or {}, "annotations": records, "categories": list(self.categories.values())}
        return identities([told], texts, fields=_FIELDS, keep=keep)

    def known(self, texts: Iterable[str] = (), keep: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the plates and names that the whole file tells, and those of ``texts`` worth comparing."""
        images = list(self.images.values())
        records = [record for several in self.by_image.values() for record in several]
        told = {"images": images, "annotations": records, "categories": list(self.categories.values())}
        return identities([{**self.head, **told}], texts, fields=_FIELDS, keep=keep)

    def digest(self, name: str) -> str | None:
        """Return a sha256 of all that is known about a picture, None if nothing is."""
        image = self.image(name)
        if image is None:
            return None
        records = self.by_image.get(image["id"], ())
        names = [self.categories[record["category_id"]]["name"] for record in records]
        return hashlib.sha256(json.dumps([image, records, names], sort_keys=True).encode()).hexdigest()

    def only(self, name: str) -> CocoAnnotations:
        """Return the annotations cut down to one picture: what a worker needs, however large the whole file is."""
        image = self.image(name)
        if image is None:
            return replace(self, head={}, images={}, by_image={}, basenames={})
        mine = {image["id"]: self.by_image.get(image["id"], ())}
        return replace(self, head={}, images={name: image}, by_image=mine, basenames={})

    def export(self, page: Page) -> dict[str, Any]:
        """Return what the released annotation file will say about a picture.

        Given records keep what ``fields`` lists, geometry included; what was done to each stands under ``anonymizer``.
        """
        texts = (*page.texts, *name_parts(page.name, page.released))
        scrubber = Scrubber(self.identities(page.name, texts, page.keep), page.keep)
        height, width = page.size
        given = self.image(page.name)
        new = {"width": width, "height": height} if given is None else {}
        plain = {key: value for key, value in (given or {}).items() if key != "file_name"}
        image = scrubber.record(plain, IMAGE, "images") | {"file_name": page.released} | new
        treated = {pair[0].record["id"]: pair for pair in page.treated if pair[0].record is not None}
        out = []
        for _, record in self.records(page.name):
            # What an earlier run noted holds for an object that was not treated again.
            public = scrubber.record(record, ANNOTATION, "annotations")
            if record["id"] in treated:
                instance, treatment = treated[record["id"]]
                pose_kept = instance.label == "person" and treatment.action == "redrawn"
                shown = without_keypoints(public, pose_kept=pose_kept)
                for key in public.keys() - shown.keys():
                    scrubber.left_out(f"annotations.{key}")
                public = shown | {"anonymizer": mark(instance, treatment)}
            out.append(public)
        for instance, treatment in page.treated:
            if instance.record is None:
                marked = {"category": instance.label, "anonymizer": mark(instance, treatment)}
                out.append(added_record(instance, page.size) | marked)
        return {"image": image, "annotations": out, "removed": scrubber.removed}

    def files(self, exports: Iterable[dict[str, Any]], release: Release) -> Iterator[tuple[str, bytes]]:
        """Yield the released annotation file: under the name of the given one, or a plain one if names are hidden."""
        images, annotations = [], []
        head = self.public_head(release)
        categories = head.categories
        by_label = {
            label_of(record["name"]) or record["name"]: record["id"]
            for record in reversed(list(self.categories.values()))
        }
        free_image = 1 + max((i["id"] for i in self.images.values() if isinstance(i["id"], int)), default=0)
        free = 1 + max((record["id"] for records in self.by_image.values() for record in records), default=0)
        for export in exports:
            image = export["image"]
            if "id" not in image:
                image, free_image = {"id": free_image} | image, free_image + 1
            images.append(image)
            for record in export["annotations"]:
                if "category" in record and "id" not in record:
                    label = record.pop("category")
                    if label not in by_label:
                        by_label[label] = max((item["id"] for item in categories), default=0) + 1
                        categories.append({"id": by_label[label], "name": label})
                    ids = {"id": free, "image_id": image["id"], "category_id": by_label[label]}
                    record, free = ids | record, free + 1
                # A text is no id to release: it may be the picture's name.
                annotations.append(record | {"image_id": image["id"]})
        document = {**head.fields, "images": images, "annotations": annotations, "categories": categories}
        name = "coco.json" if release.rename else self.path.name
        yield name, json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"

    def public_head(self, release: Release) -> Head:
        """Return the document's other fields and its categories; ``info`` and ``licenses``, which tools expect, too."""
        hidden = [part for name in self.images if release.rename for part in name_parts(name, "")]
        scrubber = Scrubber(self.known(hidden, release.keep_fields), release.keep_fields)
        head: dict[str, Any] = {"info": {}, "licenses": []}
        head |= scrubber.record(json.loads(to_json(self.head)), COCO_HEAD)
        categories = [scrubber.record(record, CATEGORY, "categories") for record in self.categories.values()]
        return Head(head, categories, scrubber.removed)

    def _what(self, record: Record) -> str:
        return f"{self.path}: annotation {record['id']}"


def read_coco(path: Path) -> CocoAnnotations:
    """Read and check a COCO file.

    Args:
        path: The JSON file, or a folder with ``annotations.json``.

    Raises:
        InputError: Unreadable, no JSON, keys missing, references that lead nowhere, boxes that are not finite or
            outside of their picture, or no category of a class we know.
    """
    file = path / "annotations.json" if path.is_dir() else path
    return coco_from(read_json(file), file)


def coco_from(document: object, file: Path) -> CocoAnnotations:
    """Check a COCO document that was read from a file.

    Raises:
        InputError: As for :func:`read_coco`.
    """
    if not isinstance(document, dict):
        raise InputError(f"annotations {file}: expected a JSON object with images, annotations and categories")
    categories = {item["id"]: item for item in _items(document, "categories", {"id": int, "name": str}, file)}
    if not any(label_of(item["name"]) for item in categories.values()):
        names = ", ".join(sorted(item["name"] for item in categories.values()))[:200]
        raise InputError(f"annotations {file}: categories {names or 'none'}, expected one of {', '.join(CLASSES)}")
    images = _items(document, "images", {"id": (int, str), "file_name": str}, file)
    by_name: dict[str, Record] = {}
    basenames: dict[str, str | None] = {}
    for image in images:
        name = image["file_name"].replace("\\", "/").removeprefix("./")
        if name in by_name:
            raise InputError(f"annotations {file}: file_name {name!r} stands in two images; merge them")
        by_name[name] = image
        base = name.rsplit("/", 1)[-1]
        basenames[base] = None if base in basenames else name
    annotations = _items(document, "annotations", {"id": int, "image_id": (int, str), "category_id": int}, file)
    by_id = {image["id"]: image for image in images}
    grouped: dict[Any, list[Record]] = {}
    for record in annotations:
        what = f"{file}: annotation {record['id']}"
        if record["image_id"] not in by_id:
            raise InputError(f"{what}: image_id {record['image_id']!r} is not among the images; export the file again")
        if record["category_id"] not in categories:
            raise InputError(f"{what}: category_id {record['category_id']} is not among the categories; add it there")
        if label_of(categories[record["category_id"]]["name"]) is not None:
            image = by_id[record["image_id"]]
            _box(record, (image.get("height"), image.get("width")), what)
        grouped.setdefault(record["image_id"], []).append(record)
    return CocoAnnotations(
        path=file,
        head={key: document[key] for key in document if key not in ("images", "annotations", "categories")},
        categories=categories,
        images=by_name,
        by_image={key: tuple(records) for key, records in grouped.items()},
        basenames=basenames,
    )


def _items(document: dict[str, Any], key: str, fields: dict[str, Any], file: Path) -> list[dict[str, Any]]:
    """Return a list of records after checking their fields and that their ids differ."""
    items = document.get(key)
    if not isinstance(items, list):
        raise InputError(f"annotations {file}: expected a list {key!r}, got {type(items).__name__}; export it again")
    seen: set[Any] = set()
    for index, item in enumerate(items):
        for field, kind in fields.items():
            value = item.get(field) if isinstance(item, dict) else None
            if not isinstance(value, kind) or isinstance(value, bool):
                raise InputError(
                    f"annotations {file}: {key}[{index}]: {field!r} missing or of the wrong type: {value!r}"
                )
        for field in ("width", "height"):
            value = item.get(field, 1)
            if key == "images" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise InputError(f"annotations {file}: images[{index}]: {field!r} must be a whole number from 1")
        if item["id"] in seen:
            raise InputError(f"annotations {file}: {key}[{index}]: id {item['id']!r} stands twice; ids must differ")
        seen.add(item["id"])
    return items


def _box(record: Record, size: tuple[int | None, int | None], what: str) -> NDArray[np.float32] | None:
    """Return the box as float32 (4,) xyxy, unclipped; None where only a segmentation is given."""
    box = record.get("bbox")
    if box is None and record.get("segmentation"):
        return None
    if not isinstance(box, list) or len(box) != 4 or not all(_finite(value) for value in box):
        raise InputError(f"{what}: bbox {box!r}, expected four finite numbers [x, y, width, height]")
    x, y, width, height = (float(value) for value in box)
    if width <= 0 or height <= 0:
        raise InputError(f"{what}: bbox {box}, expected a width and height above 0")
    edges = (x, y, x + width, y + height)
    _check_inside(edges, size, f"{what}: bbox {box}")
    return np.array(edges, dtype=np.float32)


def _check_inside(edges: tuple[float, float, float, float], size: tuple[int | None, int | None], what: str) -> None:
    """Refuse what leaves the picture by more than the tolerance, or lies in that rim altogether."""
    high, wide = (math.inf if value is None else value for value in size)
    x1, y1, x2, y2 = edges
    if min(x1, y1) < -TOLERANCE or x2 > wide + TOLERANCE or y2 > high + TOLERANCE:
        raise InputError(f"{what} lies outside the picture of {wide}x{high} pixels; correct it")
    if x1 >= wide or y1 >= high or x2 <= 0 or y2 <= 0:
        raise InputError(f"{what} lies outside the picture of {wide}x{high} pixels; correct it")


def instance_from(number: int, label: str, record: Record, size: tuple[int, int], what: str) -> Instance:
    """Return the instance that a COCO-like record describes.

    Args:
        number: Its id within the picture.
        label: Its class.
        record: ``bbox`` (x, y, width, height) and maybe ``segmentation``; it is carried along.
        size: Picture (height, width).
        what: What to call the record in messages.

    Raises:
        InputError: The geometry is malformed or does not fit the picture.
    """
    box = _box(record, size, what)
    cut = _segmentation(record.get("segmentation"), size, what)
    # Files that this package wrote say where more than the object itself was treated; others may mean something else.
    treated = record.get("treated")
    runs = isinstance(treated, dict) and {"size", "counts"} <= treated.keys()
    wide = _segmentation(treated, size, what) if runs else None
    core = None
    if box is not None:
        box = clip_box(box, size)
    if box is not None and cut is None:
        x1, y1, x2, y2 = integer_box(box)
        mask = _ellipse((y2 - y1, x2 - x1)) if label == "face" else np.ones((y2 - y1, x2 - x1), dtype=bool)
    elif cut is not None:
        edges = np.array([part[0] for part in (cut, wide) if part is not None], dtype=np.float32)
        edges = edges if box is None else np.concatenate([edges, box[None]])
        box = np.concatenate([edges[:, :2].min(axis=0), edges[:, 2:].max(axis=0)])
        mask = _framed(cut, integer_box(box))
        if wide is not None:
            core, mask = mask, mask | _framed(wide, integer_box(box))
    else:
        raise InputError(f"{what}: neither bbox nor any pixel in its segmentation; give one")
    return Instance(number, label, box, mask, score=1.0, source="given", record=record, core=core)


def _framed(part: tuple[IntBox, NDArray[np.bool_]], frame: IntBox) -> NDArray[np.bool_]:
    """Return a mask with its tight box as bool (h, w) in the frame of a box around it."""
    (x1, y1, x2, y2), inner = part
    out = np.zeros((frame[3] - frame[1], frame[2] - frame[0]), dtype=bool)
    out[y1 - frame[1] : y2 - frame[1], x1 - frame[0] : x2 - frame[0]] = inner
    return out


def _segmentation(segmentation: object, size: tuple[int, int], what: str) -> tuple[IntBox, NDArray[np.bool_]] | None:
    """Return tight box and mask of a COCO segmentation, None if it is absent or covers no pixel."""
    if segmentation is None or segmentation == [] or segmentation == {}:
        return None
    if isinstance(segmentation, dict):
        return decode_rle(segmentation, size, what)
    if not isinstance(segmentation, list):
        raise InputError(f"{what}: segmentation must be polygons or RLE, got {type(segmentation).__name__}")
    edges = [_polygon_edges(polygon, size, what) for polygon in segmentation]
    whole = np.array(edges, dtype=np.float64)
    outer = np.concatenate([whole[:, :2].min(axis=0), whole[:, 2:].max(axis=0)]).astype(np.float32)
    frame = integer_box(clip_box(outer, size))
    height, width = frame[3] - frame[1], frame[2] - frame[0]
    from pycocotools import mask as coco

    # COCO's own rasteriser decides which pixels a polygon covers; what it makes is read by our own decoder.
    shifted = [(np.asarray(p, dtype=np.float64).reshape(-1, 2) - frame[:2]).ravel().tolist() for p in segmentation]
    runs = coco.merge(coco.frPyObjects(shifted, height, width))
    cut = decode_rle({"size": [height, width], "counts": runs["counts"].decode("ascii")}, (height, width), what)
    if cut is None:
        return None
    (x1, y1, x2, y2), mask = cut
    return (x1 + frame[0], y1 + frame[1], x2 + frame[0], y2 + frame[1]), mask


def _polygon_edges(polygon: object, size: tuple[int, int], what: str) -> tuple[float, float, float, float]:
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2 or not all(_finite(v) for v in polygon):
        raise InputError(f"{what}: a polygon needs at least 3 points of finite numbers [x1, y1, x2, y2, ...]")
    edges = min(polygon[0::2]), min(polygon[1::2]), max(polygon[0::2]), max(polygon[1::2])
    _check_inside(edges, size, f"{what}: a polygon")
    return edges


def _ellipse(shape: tuple[int, int]) -> NDArray[np.bool_]:
    height, width = shape
    rows = (np.arange(height) + 0.5) / height * 2 - 1
    columns = (np.arange(width) + 0.5) / width * 2 - 1
    return rows[:, None] ** 2 + columns[None] ** 2 <= 1.0


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
