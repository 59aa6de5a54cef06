"""Annotations of the released pictures: one side file per picture, put together when a run ends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from anonymizer.annotations.fields import ANNOTATION, IMAGE
from anonymizer.annotations.records import Annotations, Head, Page, added_record, free_id, label_of
from anonymizer.annotations.rendered import joint_names, placed_joints, unlabelled, with_joints
from anonymizer.annotations.scrubbing import Scrubber, name_parts, without_keypoints
from anonymizer.core.errors import InputError
from anonymizer.core.files import to_json
from anonymizer.core.records import CLASSES
from anonymizer.images.release import Release

__all__ = ["SCHEMA", "annotation_files", "coco_out", "released_record", "side_fits", "side_path"]

#: Version of ``annotations.json`` and of the side files: 2 since fields stay by an allow-list.
SCHEMA = 2
# The category's name travels beside the fields that were given, under a name that none of them has.
_CATEGORY = "anonymizer/category"


def side_path(state: Path, name: str) -> Path:
    """Return where the side file of a picture lies; hashed, so that any relative name fits in one flat folder."""
    return state / "annotations" / f"{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()}.json"


def released_record(page: Page, annotations: Annotations | None) -> dict[str, Any]:
    """Return what the annotations will say about a released picture, as plain JSON data.

    Args:
        page: What became of the picture; masks are written as treated.
        annotations: What was given, to carry fields and further categories through, or None.

    Returns:
        ``image``, ``instances`` and ``others`` for ``annotations.json``; ``export`` for the annotations in the format
        that was given, None where nothing was, and ``made_for``, that format; ``removed``, how often each field was
        left out.
    """
    height, width = page.size
    given = None if annotations is None else annotations.image(page.name)
    records = () if annotations is None else annotations.records(page.name)
    texts = (*page.texts, *name_parts(page.name, page.released))
    known = texts if annotations is None else annotations.identities(page.name, texts, page.keep)
    # In the format that was given, the same fields are left out, and counted.
    scrubber = Scrubber(known, page.keep)
    categories = {record["id"]: category for category, record in records}
    names = {} if annotations is None else {str(r["name"]): r for r in annotations.categories.values()}
    instances = []
    treated = set()
    for instance, treatment in page.treated:
        record: dict[str, Any] = {}
        category = instance.label
        if instance.record is not None:
            number = instance.record["id"]
            treated.add(number)
            category = categories.get(number, category)
            public = scrubber.record(instance.record, ANNOTATION, "annotations")
            record = without_keypoints(public)
            record.pop("anonymizer", None)
            if number not in categories:  # Its place in a file of its own, not an id among all.
                lines = annotations is not None and annotations.format == "yolo"
                record["line" if lines else "place"] = record.pop("id", number)
        record |= added_record(instance, page.size) | {"iscrowd": record.get("iscrowd", 0)}
        record |= {
            _CATEGORY: category,
            "instance": instance.id,
            "score": round(float(instance.score), 4),
            "source": instance.source,
            "action": treatment.action,
            "attempts": treatment.attempts,
        }
        record |= {} if treatment.method is None else {"method": treatment.method}
        if instance.id in page.joints:
            record |= placed_joints(page.joints[instance.id], joint_names(names.get(category)))
        instances.append(record)
    others = [
        scrubber.record(record, ANNOTATION, "annotations") | {_CATEGORY: category}
        for category, record in records
        if record["id"] not in treated
    ]
    image = scrubber.record({key: value for key, value in (given or {}).items() if key != "file_name"}, IMAGE, "images")
    export = None if annotations is None else annotations.export(page)
    return {
        "schema": SCHEMA,
        "made_for": _made_for(annotations),
        "image": image | {"file_name": page.released, "width": width, "height": height},
        "instances": instances,
        "others": others,
        "removed": {} if export is None else export.pop("removed"),
        "export": export,
    }


def side_fits(state: Path, name: str, annotations: Annotations | None) -> bool:
    """Return whether the side file of a picture can be used again: readable, and made for annotations of this kind."""
    try:
        side = _read_side(state, name)
    except InputError:
        return False
    return annotations is None or side.get("made_for") == _made_for(annotations)


def annotation_files(
    names: Iterable[str], state: Path, annotations: Annotations, release: Release
) -> Iterator[tuple[str, bytes]]:
    """Yield the released annotations in the format that was given: relative name and content of each file.

    Args:
        names: Relative names (among the inputs) of every released picture.
        state: Folder with the side files.
        annotations: What was given.
        release: How it is released.

    Raises:
        InputError: A side file is missing, damaged or of a run without these annotations.
    """

    def exports() -> Iterator[dict[str, Any]]:
        for name in sorted(names):
            export = _read_side(state, name).get("export")
            if not isinstance(export, dict) or not side_fits(state, name, annotations):
                raise InputError(
                    f"{side_path(state, name)}: released picture {name} was made without these annotations; run again "
                    "with overwrite"
                )
            yield export

    return annotations.files(exports(), release)


def coco_out(
    names: Iterable[str], state: Path, annotations: Annotations | None, release: Release | None = None
) -> Iterator[bytes]:
    """Yield the content of ``annotations.json`` for the released pictures, in parts.

    Ids that were given are kept where they are still unique; others follow the highest one, in the order of names.
    Side files are read once for each list of the document, so that they need not fit in memory together.

    Args:
        names: Relative names (among the inputs) of every released picture.
        state: Folder with the side files.
        annotations: What was given, for its categories and head, or None.
        release: How it is released; plainly if None.

    Raises:
        InputError: A side file is missing or damaged.
    """
    ordered = sorted(names)
    used: set[str] = set()
    posed: dict[str, int] = {}
    highest, texts = [0, 0], False
    for name in ordered:
        side = _read_side(state, name)
        for record in _records(side):
            used.add(record[_CATEGORY])
            posed |= {record[_CATEGORY]: len(record["keypoints"]) // 3} if "keypoints" in record else {}
            highest[1] = max(highest[1], _number(record))
        highest[0] = max(highest[0], _number(side["image"]))
        texts |= isinstance(side["image"].get("id"), str)  # Tools sort ids, so they are all numbers or all texts.
    public = Head({}, [], {}) if annotations is None else annotations.public_head(release or Release())
    given = () if annotations is None else annotations.categories.values()
    named = {own["id"]: str(record["name"]) for record, own in zip(given, public.categories, strict=True)}
    label = label_of if annotations is None else annotations.label
    by_name, categories = _categories(used, named, public.categories, label)
    joints = with_joints(categories, {by_name[name]: count for name, count in posed.items()})
    info = public.fields.get("info", {}) | {"anonymizer_schema": SCHEMA}
    head = {"info": info, "licenses": public.fields.get("licenses", [])}
    opening = b"".join(json.dumps(key).encode() + b": " + to_json(value) + b",\n" for key, value in head.items())
    yield b"{\n" + opening + b'"categories": ' + to_json(categories) + b',\n"images": ['
    image_ids: list[Any] = []
    number = _Numbering(highest[0], texts)
    for index, name in enumerate(ordered):
        image = number(dict(_read_side(state, name)["image"]))
        image_ids.append(image["id"])
        yield (b",\n" if index else b"\n") + to_json(image)
    yield b'\n],\n"annotations": ['
    number, first = _Numbering(highest[1]), True
    for index, name in enumerate(ordered):
        for record in _records(_read_side(state, name)):
            ids = {"image_id": image_ids[index], "category_id": by_name[record.pop(_CATEGORY)]}
            yield (b"\n" if first else b",\n") + to_json(number(unlabelled(record | ids, joints)))
            first = False
    yield b"\n]\n}\n"


def _made_for(annotations: Annotations | None) -> str | None:
    """Return the format of given annotations, and where records have numbers of classes for names, a digest of these.

    What is stored of a picture without a record is made for them as well.
    """
    if annotations is None:
        return None
    if annotations.format == "coco" or not annotations.categories:  # These name classes.
        return annotations.format
    names = repr(sorted(annotations.categories.items()))
    return f"{annotations.format} {hashlib.sha256(names.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def _records(side: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*side["instances"], *side["others"]]


def _read_side(state: Path, name: str) -> dict[str, Any]:
    path = side_path(state, name)
    try:
        side = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: the record of released picture {name} is missing or damaged; run again with overwrite"
        ) from error
    if not isinstance(side, dict) or side.get("schema") != SCHEMA:
        raise InputError(f"{path}: made by another version, for picture {name}; run again with overwrite")
    return side


def _categories(
    names: set[str], given: Mapping[Any, str], public: Iterable[Mapping[str, Any]], label: Callable[[str], str | None]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return category ids by name and the category records: those given first, then ours, then others in use.

    Args:
        names: Category names in use.
        given: Names as given, by id.
        public: The records of those, as they are released.
        label: Class that a category name means.
    """
    records = [dict(record) for record in public]
    by_name: dict[str, Any] = {}
    for number, name in given.items():
        by_name.setdefault(name, number)
    for number, name in given.items():
        by_name.setdefault(label(name) or name, number)
    for name in (*CLASSES, *sorted(names)):
        if name not in by_name:
            by_name[name] = free_id(records)
            records.append({"id": by_name[name], "name": name})
    return by_name, records


def _number(record: Mapping[str, Any]) -> int:
    value = record.get("id")
    if isinstance(value, str) and value.isdecimal() and len(value) < 16:
        return int(value)
    return value if isinstance(value, int) else 0


class _Numbering:
    """Gives each record an id: the one it has if no earlier record has it, else the next free one."""

    def __init__(self, highest: int, texts: bool = False) -> None:
        self._free = highest + 1
        self._texts = texts
        self._seen: set[Any] = set()

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        if "id" not in record or record["id"] in self._seen:
            record["id"] = str(self._free) if self._texts else self._free
            self._free += 1
        self._seen.add(record["id"])
        return record
