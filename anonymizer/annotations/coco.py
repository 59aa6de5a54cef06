"""COCO annotations in and out: boxes, polygons, run lengths and keypoints."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, cast

from anonymizer.annotations.categories import Meanings
from anonymizer.annotations.fields import ANNOTATION, CATEGORY, COCO_HEAD, IMAGE, Each, identifier
from anonymizer.annotations.fields import number as is_number
from anonymizer.annotations.matching import Index, Placement, key_of
from anonymizer.annotations.records import Given, Head, Page, Record, Remark, added_record, free_id, mark, read_json
from anonymizer.annotations.regions import instance_from
from anonymizer.annotations.rendered import joint_names, placed_joints, unlabelled, with_joints
from anonymizer.annotations.scrubbing import Scrubber, identities, name_parts, without_keypoints
from anonymizer.annotations.shapes import scaled_record
from anonymizer.core.errors import InputError
from anonymizer.core.files import to_json
from anonymizer.core.records import CLASSES, Instance
from anonymizer.images.release import Release

__all__ = ["CocoAnnotations", "coco_from", "read_coco"]

_FIELDS = {**COCO_HEAD, "images": IMAGE, "annotations": Each(ANNOTATION), "categories": Each(CATEGORY)}


@dataclass(frozen=True, slots=True, eq=False)
class CocoAnnotations:
    """A checked COCO file.

    Args:
        path: Where it was read from.
        head: Every other field of the document; ``info`` and ``licenses`` are always there.
        categories: Category records as given, by id.
        images: Image records as given, but for ids that stand twice.
        by_image: Annotation records by the image's place among ``images``, ids unique.
        index: Names of ``images``, to be matched with pictures.
        unclear: Reason by the place of each image whose annotations may belong to another one.
        notes: Remarks on annotations by the image's place.
        remarks: Remarks on records of no image.
        meanings: What category names mean.
        placement: Place of the image that each picture belongs to, None before :meth:`placed`.
    """

    format: ClassVar[str] = "coco"

    path: Path
    head: Record
    categories: Mapping[Any, Record]
    images: tuple[Record, ...]
    by_image: Mapping[int, tuple[Record, ...]]
    index: Index
    unclear: Mapping[int, str] = field(default_factory=dict)
    notes: Mapping[int, tuple[Remark, ...]] = field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()
    meanings: Meanings = field(default_factory=Meanings)
    placement: Placement | None = None

    @property
    def left_alone(self) -> tuple[str, ...]:
        """Names of categories in use that mean none of our classes."""
        used = {record["category_id"] for records in self.by_image.values() for record in records}
        return self.meanings.left_alone(str(self.categories[number]["name"]) for number in used)

    def label(self, category: str) -> str | None:
        """Return the class that a category name means, None if it is left alone."""
        return self.meanings.label(category)

    def image(self, name: str) -> Record | None:
        """Return the image record of a picture, None if there is none.

        Raises:
            InputError: Several fit.
        """
        place = self._place(name)
        return None if place is None else self.images[place]

    def placed(self, names: Iterable[str], released: Callable[[str], str] = str) -> CocoAnnotations:
        """Return these annotations with every picture of a run matched.

        Raises:
            InputError: They fit none of the pictures.
        """
        found = self.index.place(names)
        if not found.keys and not found.held:
            raise InputError(
                f"{self.path}: none of its {len(self.images)} images is among the pictures given; "
                "file_name must end as the path of the picture does"
            )
        unclear = {n: self.unclear[place] for n, key in found.keys.items() if (place := cast(int, key)) in self.unclear}
        keys = {name: key for name, key in found.keys.items() if name not in unclear}
        return replace(self, placement=replace(found, keys=keys, held={**found.held, **unclear}))

    def instances(self, name: str, size: tuple[int, int]) -> Given | None:
        """Return the annotated instances of the classes we know, ids from 1.

        Args:
            name: Relative name of the picture.
            size: Its (height, width) after decoding.

        Returns:
            The instances, maybe none, and remarks; None if the annotations do not know the picture.

        Raises:
            InputError: The image is stated to have another size, or several fit.
        """
        place = self._place(name)
        if place is None:
            return None
        image = self.images[place]
        stated = tuple(whole(image.get(side)) or actual for side, actual in zip(("height", "width"), size, strict=True))
        if stated != size:
            raise InputError(
                f"{self.path}: image {image['file_name']!r} is stated as {stated[1]}x{stated[0]}, the picture is "
                f"{size[1]}x{size[0]} upright; annotate the picture as it is shown"
            )
        out: list[Instance] = []
        remarks = list(self.notes.get(place, ()))
        for number, record in enumerate(self.by_image.get(place, ()), start=1):
            label = self.label(str(self.categories[record["category_id"]]["name"]))
            if label is None:
                continue
            instance, notes = instance_from(len(out) + 1, label, record, size)
            out += [instance] if instance is not None else []
            where = (
                f"annotation {record['id']}" if isinstance(record["id"], int) else f"annotation {number} of the image"
            )
            remarks += [Remark(where, note) for note in notes]
        return Given(tuple(out), tuple(remarks))

    def records(self, name: str) -> tuple[tuple[str, Record], ...]:
        """Return (category name, record) of each of a picture's annotations, as given."""
        place = self._place(name)
        records = () if place is None else self.by_image.get(place, ())
        return tuple((str(self.categories[record["category_id"]]["name"]), record) for record in records)

    def identities(self, name: str, texts: Iterable[str], keep: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the plates and names that a picture's annotations tell, and those of ``texts`` worth comparing."""
        records = [record for _, record in self.records(name)]
        told = {"images": self.image(name) or {}, "annotations": records, "categories": list(self.categories.values())}
        return identities([told], texts, fields=_FIELDS, keep=keep)

    def digest(self, name: str) -> str | None:
        """Return a sha256 of all that is known about a picture, None if nothing is."""
        place = self._place(name)
        if place is None:
            return None
        records = self.by_image.get(place, ())
        names = [self.categories[record["category_id"]]["name"] for record in records]
        told = sorted((key, label or "") for key, label in self.meanings.told.items())
        known = [self.images[place], records, names, *([told] if told else [])]
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()

    def only(self, name: str) -> CocoAnnotations:
        """Return the annotations cut down to one picture: what a worker needs, however large the whole file is."""
        place = self._place(name)
        nobody = replace(self, head={}, images=(), by_image={}, index=Index({}), unclear={}, notes={}, remarks=())
        if place is None:
            return replace(nobody, placement=Placement())
        return replace(
            nobody,
            images=(self.images[place],),
            by_image={0: self.by_image.get(place, ())},
            notes={0: self.notes.get(place, ())},
            placement=Placement({name: 0}),
        )

    @property
    def scales(self) -> bool:
        """Whether the geometry can be scaled with the pictures."""
        return True

    def scaled(self, name: str, before: tuple[int, int], after: tuple[int, int]) -> CocoAnnotations:
        """Return the annotations of one picture, scaled from a (height, width) to another."""
        own = self.only(name)
        if not own.images:
            return own
        image = dict(own.images[0])
        image |= {side: n for side, n in (("height", after[0]), ("width", after[1])) if image.get(side) is not None}
        records = tuple(scaled_record(record, before, after) for record in own.by_image[0])
        return replace(own, images=(image,), by_image={0: records})

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
        numbers = self._category_ids()
        treated = {pair[0].record["id"]: pair for pair in page.treated if pair[0].record is not None}
        out = []
        for _, record in self.records(page.name):
            # What an earlier run noted holds for an object that was not treated again.
            public = scrubber.record(record, ANNOTATION, "annotations")
            if record["id"] in treated:
                instance, treatment = treated[record["id"]]
                shown = without_keypoints(public)
                if instance.id in page.joints:
                    names = joint_names(self.categories[record["category_id"]])
                    shown |= added_record(instance, page.size) | placed_joints(page.joints[instance.id], names)
                for key in public.keys() - shown.keys():
                    scrubber.left_out(f"annotations.{key}")
                public = shown | {"anonymizer": mark(instance, treatment)}
            out.append(public | {"category_id": numbers[record["category_id"]]})
        for instance, treatment in page.treated:
            if instance.record is None:
                marked = {"category": instance.label, "anonymizer": mark(instance, treatment)}
                joints = placed_joints(page.joints[instance.id]) if instance.id in page.joints else {}
                out.append(added_record(instance, page.size) | joints | marked)
        return {"image": image, "annotations": out, "removed": scrubber.removed}

    def files(self, exports: Iterable[dict[str, Any]], release: Release) -> Iterator[tuple[str, bytes]]:
        """Yield the released annotation file: under the name of the given one, or a plain one if names are hidden."""
        images, annotations = [], []
        head = self.public_head(release)
        categories = head.categories
        by_label: dict[str, Any] = {}
        for given, public in zip(self.categories.values(), categories, strict=True):
            name = str(given["name"])
            by_label.setdefault(self.label(name) or name, public["id"])
        free_image = free_id(image for image in self.images if identifier(image.get("id")))
        free = 1 + max((_highest(records) for records in self.by_image.values()), default=0)
        for export in exports:
            image = export["image"]
            if "id" not in image:
                image = {"id": free_image} | image
                free_image = free_id([image])
            images.append(image)
            for record in export["annotations"]:
                label = record.pop("category", None)
                if label is not None and label not in by_label:
                    by_label[label] = free_id(categories)
                    categories.append({"id": by_label[label], "name": label})
                if "id" not in record:
                    record, free = {"id": free, **record}, free + 1
                # A text is no id to release: it may be the picture's name.
                ids = {"image_id": image["id"]} | ({} if label is None else {"category_id": by_label[label]})
                annotations.append({"id": record["id"], **ids} | record | ids)
        posed = {r["category_id"]: len(r["keypoints"]) // 3 for r in annotations if "keypoints" in r}
        joints = with_joints(categories, posed)
        annotations = [unlabelled(record, joints) for record in annotations]
        document = {**head.fields, "images": images, "annotations": annotations, "categories": categories}
        name = "coco.json" if release.rename else self.path.name
        yield name, json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"

    def public_head(self, release: Release) -> Head:
        """Return the document's other fields and its categories; ``info`` and ``licenses``, which tools expect, too."""
        hidden = [part for image in self.images if release.rename for part in name_parts(image["file_name"], "")]
        records = [record for several in self.by_image.values() for record in several]
        told = {"images": list(self.images), "annotations": records, "categories": list(self.categories.values())}
        known = identities([{**self.head, **told}], hidden, fields=_FIELDS, keep=release.keep_fields)
        scrubber = Scrubber(known, release.keep_fields)
        head: dict[str, Any] = {"info": {}, "licenses": []}
        head |= scrubber.record(json.loads(to_json(self.head)), COCO_HEAD)
        numbers = self._category_ids()
        categories = [
            {"id": numbers[key]}
            | scrubber.record({k: v for k, v in record.items() if k != "id"}, CATEGORY, "categories")
            for key, record in self.categories.items()
        ]
        return Head(head, categories, scrubber.removed)

    def _category_ids(self) -> dict[Any, Any]:
        """Return the released id of each category: its own, or a free one in place of a text that is no number."""
        records = [record for key, record in self.categories.items() if identifier(key)]
        out: dict[Any, Any] = {}
        for key in self.categories:
            out[key] = key if identifier(key) else free_id([*records, *({"id": own} for own in out.values())])
        return out

    def _place(self, name: str) -> int | None:
        key = key_of(self.index, self.placement, name)
        if key in self.unclear:
            raise InputError(f"{name}: {self.unclear[cast(int, key)]}")
        return cast(int | None, key)


def read_coco(path: Path, meanings: Meanings | None = None) -> CocoAnnotations:
    """Read and check a COCO file.

    Args:
        path: The JSON file, or a folder with ``annotations.json``.
        meanings: What category names mean; common names if None.

    Raises:
        InputError: Unreadable, no JSON, no lists of images, annotations and categories, no category of a class we
            know, or one that may mean a class and is not known.
    """
    file = path / "annotations.json" if path.is_dir() else path
    return coco_from(read_json(file), file, meanings)


def coco_from(document: object, file: Path, meanings: Meanings | None = None) -> CocoAnnotations:
    """Check a COCO document that was read from a file. One odd record costs at most itself.

    Raises:
        InputError: As for :func:`read_coco`.
    """
    if not isinstance(document, dict):
        raise InputError(f"annotations {file}: expected a JSON object with images, annotations and categories")
    meanings = meanings or Meanings()
    remarks: list[Remark] = []
    categories = _categories(_items(document, "categories", file), file, remarks)
    names = [str(item["name"]) for item in categories.values()]
    meanings.check(names, f"annotations {file}", all_known=True)
    if not any(meanings.label(name) for name in names):
        listed = ", ".join(sorted(names))[:200]
        raise InputError(
            f"annotations {file}: categories {listed or 'none'}, expected one of {', '.join(CLASSES)}; "
            "say what they mean with --map NAME=CLASS"
        )
    images = _images(_items(document, "images", file), remarks)
    sharing: dict[Any, list[int]] = defaultdict(list)
    for place, image in enumerate(images):
        if "id" in image:
            sharing[image["id"]].append(place)
    of_image, of_category = _Lookup(sharing), _Lookup({key: key for key in categories})
    grouped: dict[int, list[Record]] = defaultdict(list)
    notes: dict[int, list[Remark]] = defaultdict(list)
    unclear: dict[int, str] = {}
    given = _items(document, "annotations", file)
    free = 1 + _highest(item for item in given if isinstance(item, dict))
    seen: set[Any] = set()
    for number, item in enumerate(given, start=1):
        number_or_id = item.get("id") if isinstance(item, dict) and _is_id(item.get("id")) else None
        where = f"annotation {number_or_id}" if isinstance(number_or_id, int) else f"annotation at place {number}"
        places = of_image(item.get("image_id")) if isinstance(item, dict) else None
        if places is None:
            what = "its image is not among the images" if isinstance(item, dict) else "no record"
            remarks.append(Remark(where, f"{what}, left out"))
            continue
        category = of_category(item.get("category_id"))
        if category is None:
            notes[places[0]].append(Remark(where, "its category is not among the categories, left out"))
            continue
        record = dict(item) | {"image_id": images[places[0]]["id"], "category_id": category}
        flat = record.get("segmentation")
        if isinstance(flat, list) and flat and all(map(is_number, flat)):
            record["segmentation"] = [flat]  # Released as tools expect it.
        if number_or_id is None or number_or_id in seen:
            record["id"], free = free, free + 1
            notes[places[0]].append(Remark(where, f"without an id of its own, now {record['id']}"))
        seen.add(record["id"])
        grouped[places[0]].append(record)
        if len(places) > 1:
            reason = f"given regions cannot be placed: {len(places)} images share the id of this one; give each its own"
            unclear |= dict.fromkeys(places, reason)
    others = {key: document[key] for key in document if key not in ("images", "annotations", "categories")}
    return CocoAnnotations(
        path=file,
        # Readers such as pycocotools expect these two to be there.
        head=others | {"info": others.get("info") or {}, "licenses": others.get("licenses") or []},
        categories=categories,
        images=_unique(images, remarks),
        by_image={key: tuple(records) for key, records in grouped.items()},
        index=Index({place: image["file_name"] for place, image in enumerate(images)}),
        unclear=unclear,
        notes={place: tuple(own) for place, own in notes.items()},
        remarks=tuple(remarks),
        meanings=meanings,
    )


class _Lookup:
    """Finds by id, exactly or, where tools write ids as texts, by the same number."""

    def __init__(self, known: Mapping[Any, Any]) -> None:
        self._known = known
        self._by_text: dict[str, Any] = {}
        for key in known:
            text = _text(key)
            self._by_text[text] = None if text in self._by_text else known[key]

    def __call__(self, key: object) -> Any:
        if not _is_id(key):
            return None
        return self._known[key] if key in self._known else self._by_text.get(_text(key))


def _items(document: dict[str, Any], key: str, file: Path) -> list[Any]:
    items = document.get(key)
    if not isinstance(items, list):
        raise InputError(f"annotations {file}: expected a list {key!r}, got {type(items).__name__}; export it again")
    return items


def _categories(items: list[Any], file: Path, remarks: list[Remark]) -> dict[Any, Record]:
    out: dict[Any, Record] = {}
    for number, item in enumerate(items, start=1):
        if not isinstance(item, dict) or not _is_id(item.get("id")) or not isinstance(item.get("name"), str):
            remarks.append(Remark(f"category at place {number}", "without id or name, left out"))
            continue
        if out.setdefault(item["id"], item)["name"] != item["name"]:
            raise InputError(
                f"annotations {file}: categories[{number - 1}]: id {item['id']!r} stands twice, with different names; "
                "ids must differ"
            )
    return out


def _images(items: list[Any], remarks: list[Remark]) -> list[Record]:
    out: list[Record] = []
    for number, item in enumerate(items, start=1):
        if not isinstance(item, dict) or not isinstance(item.get("file_name"), str) or not item["file_name"]:
            remarks.append(Remark(f"image at place {number}", "without file_name, left out"))
            continue
        sides = [item[side] for side in ("width", "height") if item.get(side) is not None]
        if not all(whole(value) for value in sides):
            remarks.append(Remark(f"image at place {number}", "width or height that is no whole number, not used"))
        out.append(item if _is_id(item.get("id")) else {key: item[key] for key in item if key != "id"})
    return out


def _unique(images: list[Record], remarks: list[Remark]) -> tuple[Record, ...]:
    """Return image records without the ids that an earlier one has: they get new ones when they are released."""
    seen: set[Any] = set()
    out: list[Record] = []
    for image in images:
        if "id" not in image or image["id"] in seen:
            remarks.append(
                Remark(f"image {len(out) + 1} of {len(images)}", "without an id of its own, released under a new one")
            )
        out.append({k: image[k] for k in image if k != "id"} if image.get("id") in seen else image)
        if "id" in image:
            seen.add(image["id"])
    return tuple(out)


def _highest(records: Iterable[Record]) -> int:
    """Return the highest id that is a whole number, at least 0."""
    return max((record["id"] for record in records if type(record.get("id")) is int), default=0)


def whole(value: object) -> int | None:
    """Return a length in pixels as a whole number from 1, None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < 1e9:
        return None
    return int(value) if value == int(value) else None


def _is_id(value: object) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool) and value == value


def _text(key: object) -> str:
    return str(int(key)) if isinstance(key, float) and key.is_integer() else str(key)
