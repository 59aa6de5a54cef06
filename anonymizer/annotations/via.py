"""VGG Image Annotator 2: one JSON file for many pictures, as a project or plain."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anonymizer.annotations.categories import Meanings
from anonymizer.annotations.fields import ATTRIBUTES, NAME, VIA_PICTURE, Each
from anonymizer.annotations.files import Entry, Read, SharedFile, shared_file
from anonymizer.annotations.records import Page, Record, Remark, mark, parse_json
from anonymizer.annotations.scrubbing import Scrubber, attribute_name
from anonymizer.annotations.shapes import ellipse, finite, outline, polygon, rectangle
from anonymizer.core.errors import InputError
from anonymizer.core.files import to_json
from anonymizer.images.release import Release

__all__ = ["Via", "is_via", "via_from"]

_PICTURES, _SETTINGS, _ATTRIBUTES = "_via_img_metadata", "_via_settings", "_via_attributes"
#: Settings of VIA 2.0.12, without which it opens no project; those given hold paths and a project's name.
_DEFAULTS: Mapping[str, Any] = {
    "ui": {
        "annotation_editor_height": 25,
        "annotation_editor_fontsize": 0.8,
        "leftsidebar_width": 18,
        "image_grid": {
            "img_height": 80,
            "rshape_fill": "none",
            "rshape_fill_opacity": 0.3,
            "rshape_stroke": "yellow",
            "rshape_stroke_width": 2,
            "show_region_shape": True,
            "show_image_policy": "all",
        },
        "image": {
            "region_label": "__via_region_id__",
            "region_color": "__via_default_region_color__",
            "region_label_font": "10px Sans",
            "on_image_annotation_editor_placement": "NEAR_REGION",
        },
    },
    "core": {"buffer_size": 18, "filepath": {}, "default_filepath": ""},
    "project": {"name": "anonymized"},
}


@dataclass(frozen=True, slots=True, eq=False)
class Via:
    """VIA 2. What was done to a region stands in its attributes ``anonymizer_action`` and the like.

    Args:
        category: The region attribute that names the class.
        attributes: What the project says of its attributes; None in a plain file.
        meanings: What names of classes mean.
    """

    category: str
    attributes: Mapping[str, Any] | None
    meanings: Meanings

    @property
    def format(self) -> str:
        """``via``."""
        return "via"

    @property
    def categories(self) -> Mapping[int, Record]:
        """None: regions carry names."""
        return {}

    @property
    def fields(self) -> Mapping[str, Any]:
        """Fields that stay, and the names of classes."""
        return {"classes": Each(NAME), **VIA_PICTURE}

    def place(self, released: str) -> str:
        """Return the picture's own name: its part has no file."""
        return released

    def file_name(self, given: str, release: Release) -> str:
        """Return the released file's name."""
        return "via.json" if release.rename else given

    def read(self, content: bytes, size: tuple[int, int] | None, what: str) -> Read:
        """Return the regions of a picture; ``id`` is the region's place among all, from 1.

        Raises:
            InputError: No picture of VIA.
        """
        entries, remarks = [], []
        for number, region in enumerate(_regions(content, what), start=1):
            name = self._class(region)
            geometry = _geometry(region)
            if isinstance(geometry, str):
                if self.meanings.label(name) is not None:
                    remarks.append(Remark(f"region {number}", geometry))
                else:
                    entries.append(Entry(name, {"id": number}))
                continue
            attributes = {key: value for key, value in region["region_attributes"].items() if key != self.category}
            entries.append(Entry(name, geometry | {"id": number, "attributes": attributes}))
        return Read(tuple(entries), tuple(remarks))

    def told(self, content: bytes, what: str) -> Record:
        """Return a picture's own attributes and those of its regions, but for the classes."""
        picture, regions = _picture(content, what), _regions(content, what)
        others = {key: value for key, value in picture.items() if key not in ("filename", "size", "regions")}
        plain = [
            {
                **region,
                "region_attributes": {
                    k: v for k, v in _object(region, "region_attributes").items() if k != self.category
                },
            }
            for region in regions
        ]
        return others | {"regions": plain, "classes": [self._class(region) for region in regions]}

    def write(self, content: bytes | None, page: Page, scrubber: Scrubber) -> bytes:
        """Return the picture's part with what was done, and a polygon for each added instance."""
        picture: dict[str, Any] = {} if content is None else _picture(content, page.name)
        treated = {i.record["id"]: (i, t) for i, t in page.treated if i.record is not None}
        regions: list[dict[str, Any]] = []
        used: dict[str | None, str] = {}
        for number, region in enumerate([] if content is None else _regions(content, page.name), start=1):
            name = self._class(region)
            plain = {k: v for k, v in _object(region, "region_attributes").items() if k != self.category}
            for kept in scrubber.record({"regions": [{**region, "region_attributes": plain}]}, VIA_PICTURE)["regions"]:
                attributes = {k: v for k, v in _object(kept, "region_attributes").items() if not _is_mark(k)}
                if name:
                    named = scrubber.record({self.category: name}, {self.category: NAME}, "region_attributes")
                    attributes = named | attributes
                    used.setdefault(self.meanings.label(name), name)
                attributes |= _marks(*treated[number]) if number in treated else {}
                regions.append(kept | {"region_attributes": attributes})
        for instance, treatment in page.treated:
            if instance.record is None:
                points = outline(instance).round(1)
                shape = {
                    "name": "polygon",
                    "all_points_x": points[:, 0].tolist(),
                    "all_points_y": points[:, 1].tolist(),
                }
                named = {self.category: used.get(instance.label, instance.label)}
                regions.append({"shape_attributes": shape, "region_attributes": named | _marks(instance, treatment)})
        head = {k: v for k, v in picture.items() if k not in ("filename", "size", "regions")}
        # The file's size in bytes is that of the original; -1 stands for a size that is not known.
        whole = {"filename": page.released, "size": -1, "regions": regions, "file_attributes": {}}
        return to_json(whole | scrubber.record(head, VIA_PICTURE))

    def joined(self, parts: Iterable[str], scrubber: Scrubber) -> bytes:
        """Return the released file, a project where one was given."""
        pictures = {f"{part['filename']}-1": part for part in map(json.loads, parts)}
        if self.attributes is None:
            return json.dumps(pictures, indent=1).encode() + b"\n"
        scrubber.left_out(_SETTINGS)
        attributes = {
            kind: {
                name: _described(spec, scrubber)
                for name, spec in _object(self.attributes, kind).items()
                if (kind == "region" and name == self.category) or self._stays(name, scrubber)
            }
            for kind in ("region", "file")
        }
        document = {
            _SETTINGS: _DEFAULTS,
            _PICTURES: pictures,
            _ATTRIBUTES: attributes,
            "_via_data_format_version": "2.0.10",
            "_via_image_id_list": list(pictures),
        }
        return json.dumps(document, indent=1).encode() + b"\n"

    def _class(self, region: Mapping[str, Any]) -> str:
        return _value(_object(region, "region_attributes").get(self.category))

    def _stays(self, name: str, scrubber: Scrubber) -> bool:
        stays = attribute_name(name) in ATTRIBUTES
        if not stays:
            scrubber.left_out(f"{_ATTRIBUTES}.{name}")
        return stays


def is_via(document: object) -> bool:
    """Return whether a JSON document is a file of VIA 2, a project or plain."""
    if not isinstance(document, dict) or not document:
        return False
    if _PICTURES in document:
        return True
    return all(isinstance(item, dict) and {"filename", "regions"} <= item.keys() for item in document.values())


def via_from(document: Any, path: Path, meanings: Meanings) -> SharedFile:
    """Take a file of VIA apart.

    Raises:
        InputError: Not as VIA writes it, or no region attribute that names classes we know.
    """
    project = _PICTURES in document
    pictures = document[_PICTURES] if project else document
    if not isinstance(pictures, dict):
        raise InputError(f"annotations {path}: expected pictures by key under {_PICTURES}; export the project again")
    found: Counter[str] = Counter()
    parts = []
    for number, picture in enumerate(pictures.values(), start=1):
        name = picture.get("filename") if isinstance(picture, dict) else None
        if not isinstance(name, str) or not name:
            raise InputError(f"annotations {path}: picture {number} has no filename; export the project again")
        content = json.dumps(picture).encode()
        for region in _regions(content, f"annotations {path}: picture {number}"):
            attributes = _object(region, "region_attributes")
            found.update(key for key, value in attributes.items() if meanings.label(_value(value)) is not None)
        parts.append((name, content))
    if not found:
        raise InputError(
            f"annotations {path}: no region attribute names a class such as person, face or license plate; rename the "
            "options of the one that means the class"
        )
    described = _object(document, _ATTRIBUTES) if project else None
    return shared_file(path, Via(found.most_common(1)[0][0], described, meanings), parts, meanings)


def _picture(content: bytes, what: str) -> dict[str, Any]:
    document = parse_json(content, Path(what.removeprefix("annotations ")))
    if not isinstance(document, dict):
        raise InputError(f"{what}: expected an object with filename and regions; export it again")
    return document


def _regions(content: bytes, what: str) -> list[dict[str, Any]]:
    """Return a picture's regions, in VIA 1 an object by number; what is no region is an empty one."""
    regions = _picture(content, what).get("regions") or []
    regions = list(regions.values()) if isinstance(regions, dict) else regions
    if not isinstance(regions, list):
        raise InputError(f"{what}: regions must be a list; export the project again")
    empty: dict[str, Any] = {"shape_attributes": {}, "region_attributes": {}}
    return [
        {**region, **{key: _object(region, key) for key in empty}} if isinstance(region, dict) else empty
        for region in regions
    ]


def _object(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _value(value: object) -> str:
    """Return what an attribute says: a text, or the one option of a checkbox that is set."""
    if isinstance(value, dict):
        chosen = [key for key, is_set in value.items() if is_set is True]
        return str(chosen[0]) if len(chosen) == 1 else ""
    return value.strip() if isinstance(value, str) else ""


def _geometry(region: Mapping[str, Any]) -> dict[str, Any] | str:
    """Return the geometry of a region, or why it has none."""
    shape = region["shape_attributes"]
    kind = shape.get("name")
    if kind == "point":
        return "a point without area, left alone"
    if kind in ("polygon", "polyline"):
        xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
        if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys) or len(xs) < 3:
            return "fewer than 3 points, or not as many x as y, left out"
        points = [(finite(x), finite(y)) for x, y in zip(xs, ys, strict=True)]
        odd = any(math.isnan(number) for point in points for number in point)
        return "coordinates are not finite numbers, left out" if odd else polygon(points)
    names = {
        "rect": ("x", "y", "width", "height"),
        "circle": ("cx", "cy", "r", "r"),
        "ellipse": ("cx", "cy", "rx", "ry"),
    }.get(kind if isinstance(kind, str) else "")
    if names is None:
        return "not a shape of VIA, left out"
    a, b, c, d = (finite(shape.get(name)) for name in names)
    turned = finite(shape.get("theta", 0.0))
    if any(map(math.isnan, (a, b, c, d, turned))):
        return "coordinates are not finite numbers, left out"
    # VIA counts the angle of an ellipse in radians.
    return rectangle(a, b, a + c, b + d) if kind == "rect" else ellipse(a, b, c, d, math.degrees(turned))


def _is_mark(name: str) -> bool:
    return name.startswith("anonymizer_")


def _marks(*pair: Any) -> dict[str, str]:
    return {f"anonymizer_{key}": str(value) for key, value in mark(*pair).items()}


def _described(spec: object, scrubber: Scrubber) -> dict[str, Any]:
    """Return what a project says of an attribute: its kind and its options, without descriptions."""
    given = spec if isinstance(spec, dict) else {}
    kind = given.get("type")
    options = [
        scrubber.record({"name": str(name)}, {"name": NAME}, "options")["name"] for name in _object(given, "options")
    ]
    return {
        "type": kind if kind in ("text", "dropdown", "radio", "checkbox") else "text",
        "description": "",
        "options": dict.fromkeys(options, ""),
        "default_options": {},
    }
