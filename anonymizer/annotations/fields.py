"""Fields of annotations that stay: an allow-list of names, each with the kind of value it may hold.

Whatever is not listed is left out, in every record, as nobody can list the names under which a plate, a person or a
place may stand. ``docs/fields.md`` says the same for people.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from anonymizer.annotations.rle import is_rle

__all__ = [
    "ANNOTATION",
    "ATTRIBUTES",
    "CATEGORY",
    "CITYSCAPES",
    "COCO_HEAD",
    "CVAT_HEAD",
    "CVAT_IMAGE",
    "IMAGE",
    "LABELME",
    "MARK",
    "NAME",
    "OPEN_IMAGES",
    "VIA_PICTURE",
    "VOC",
    "YOLO",
    "Attributes",
    "Each",
    "Field",
    "Text",
    "flag",
    "identifier",
    "number",
    "numeral",
]

#: Longest description and longest name that stay, in characters: room for a paragraph and for a term.
_LONG, _SHORT = 1000, 60
# A number as formats without types write it; nothing has more digits.
_NUMERAL = re.compile(r"\s*[+-]?(?:\d{1,12}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][+-]?\d{1,3})?\s*", re.ASCII)
_VERSION = re.compile(r"[vV]?\d{1,4}(?:\.\d{1,4}){0,3}", re.ASCII)
_DATE = re.compile(
    r"\d{4}[-/]\d{1,2}[-/]\d{1,2}(?:[ T]\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?:Z|[+-]\d{2}:?\d{2})?)?", re.ASCII
)
_LICENCE = re.compile(r"https?://(?:www\.)?creativecommons\.org/(?:licenses|publicdomain)/[a-z0-9./-]{1,40}", re.ASCII)
# Names of networks and of what else finds instances.
_SOURCE = re.compile(r"[a-z][a-z_+-]{0,30}", re.ASCII)

Check = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Text:
    """A free text, which stays unless it tells who or where.

    Args:
        longest: Characters it may have.
        needed: Whether the format needs it: one that tells is replaced, where others are left out.
    """

    longest: int
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Each:
    """A list of values of one kind; items of another kind are left out."""

    field: Field


@dataclass(frozen=True, slots=True)
class Attributes:
    """Attributes by name, as an object or as a list of ``{"name": ..., "value": ...}``; see ``ATTRIBUTES``."""


#: What a field may hold: a checked value, a text, a list, attributes or further fields.
Field = Check | Text | Each | Attributes | Mapping[str, Any]


def number(value: object) -> bool:
    """Return whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def count(value: object) -> bool:
    """Return whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def identifier(value: object) -> bool:
    """Return whether a value is a whole number or a text of digits: no name."""
    return count(value) or (isinstance(value, str) and value.isdecimal() and value.isascii() and len(value) < 16)


def numeral(value: object) -> bool:
    """Return whether a value is a number or a text that is one."""
    return number(value) or (isinstance(value, str) and _NUMERAL.fullmatch(value) is not None)


def flag(value: object) -> bool:
    """Return whether a value says yes or no."""
    return isinstance(value, bool) or (count(value) and value in (0, 1)) or _word(value) in _FLAGS


def points(value: object) -> bool:
    """Return whether a value is a list of points of finite numbers."""
    return isinstance(value, list) and all(isinstance(p, list) and 2 <= len(p) <= 3 and _numbers(p) for p in value)


def one_of(*words: str) -> Check:
    """Return the check for one of a few words, without regard to case."""
    return lambda value: _word(value) in words


_FLAGS = frozenset({"true", "false", "yes", "no", "0", "1"})


def _word(value: object) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def _numbers(value: object) -> bool:
    return isinstance(value, list) and all(number(item) for item in value)


def _box(value: object) -> bool:
    return isinstance(value, list) and len(value) == 4 and _numbers(value)


def _segmentation(value: object) -> bool:
    return is_rle(value) or (isinstance(value, list) and all(_numbers(item) for item in value))


def _pairs(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(p, list) and len(p) == 2 and all(map(count, p)) for p in value)


def _year(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1900 <= value <= 2200


def _level(value: object) -> bool:
    """Return whether a value is a degree: 0 to 1, or a step up to 10."""
    if not numeral(value):
        return False
    level = float(value)  # type: ignore[arg-type]
    return 0 <= level <= 1 or level in range(2, 11)


def _matches(pattern: re.Pattern[str]) -> Check:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _either(*checks: Check) -> Check:
    return lambda value: any(check(value) for check in checks)


#: What this package notes about an instance.
MARK: Mapping[str, Check] = {
    "action": one_of("redrawn", "redacted"),
    "method": one_of("blur", "mosaic", "solid", "blank"),
    "attempts": numeral,
    "source": _matches(_SOURCE),
    "score": numeral,
}
#: A term: the name of a category and the like.
NAME = Text(_SHORT, needed=True)
_DEGREE = _either(flag, _level, one_of("none", "partial", "partially", "partly", "full", "fully", "mostly", "heavy"))
_SIDES = (
    "unspecified", "unknown", "none", "left", "right", "front", "frontal", "rear", "back", "side", "profile",
    "front_left", "front_right", "rear_left", "rear_right", "up", "down", "top", "bottom",
)  # fmt: skip
_POSES = ("standing", "sitting", "walking", "running", "lying", "crouching", "bending", "riding", "squatting")
#: Attributes that stay, by their names in lower case with ``_``; of others neither name nor value does.
ATTRIBUTES: Mapping[str, Check] = {
    **dict.fromkeys(("occluded", "truncated", "difficult", "crowd", "blurred", "reflection", "depiction"), _DEGREE),
    **dict.fromkeys(("is_crowd", "iscrowd", "is_group", "is_occluded", "is_truncated", "is_depiction"), flag),
    **dict.fromkeys(("occlusion", "truncation", "visibility", "blur", "difficulty"), _DEGREE),
    **dict.fromkeys(("moving", "parked", "ignore", "rider", "helmet", "consent"), flag),
    "age_group": one_of("child", "teenager", "adult", "elderly", "unknown"),
    "uniform": _either(
        flag, one_of("none", "police", "firefighter", "medical", "construction", "military", "school", "delivery")
    ),
    **dict.fromkeys(("pose", "posture", "orientation", "view", "viewpoint"), one_of(*_SIDES, *_POSES)),
    "size": one_of("tiny", "small", "medium", "large"),
    "weather": one_of("clear", "sunny", "cloudy", "overcast", "partly cloudy", "rain", "rainy", "snow", "snowy",
                      "fog", "foggy", "undefined", "unknown"),
    **dict.fromkeys(("timeofday", "time_of_day"), one_of("day", "daytime", "night", "dawn/dusk", "dawn", "dusk",
                                                         "undefined", "unknown")),
    # In formats without fields of ours, attributes say what was done.
    **{f"anonymizer_{name}": check for name, check in MARK.items()},
}  # fmt: skip

_VIDEO: Mapping[str, Field] = dict.fromkeys(("id", "width", "height", "length", "fps"), number)
#: Fields of a COCO document beside its images, annotations and categories.
COCO_HEAD: Mapping[str, Field] = {
    "info": {
        "description": Text(_LONG),
        "version": _either(number, _matches(_VERSION)),
        "year": _year,
        "date_created": _matches(_DATE),
    },
    "licenses": Each({"id": count, "name": Text(_SHORT), "url": _matches(_LICENCE)}),
    "type": one_of("instances"),
    "videos": Each(_VIDEO),
}
#: Fields of a COCO image; ``file_name`` becomes the released name.
IMAGE: Mapping[str, Field] = {
    "id": identifier,
    **dict.fromkeys(("width", "height", "license", "video_id", "frame_id"), count),
    "attributes": Attributes(),
    **{name: ATTRIBUTES[name] for name in ("weather", "timeofday")},
}
_PARTS = ("face", "lefthand", "righthand", "foot")
#: Fields of a COCO annotation.
ANNOTATION: Mapping[str, Field] = {
    **dict.fromkeys(("id", "image_id", "category_id"), identifier),
    "num_keypoints": count,
    "bbox": _box,
    "segmentation": _segmentation,
    "area": number,
    "iscrowd": flag,
    "keypoints": _numbers,
    **{f"{part}_kpts": _numbers for part in _PARTS},
    **{f"{part}_box": _box for part in _PARTS},
    **{f"{part}_valid": flag for part in _PARTS},
    "treated": is_rle,
    "score": _level,
    **{name: ATTRIBUTES[name] for name in ("ignore", "occluded", "truncated", "difficult", "visibility", "consent")},
    "attributes": Attributes(),
    "anonymizer": MARK,
}
#: Fields of a COCO category.
CATEGORY: Mapping[str, Field] = {
    "id": count,
    "name": NAME,
    "supercategory": Text(_SHORT),
    "keypoints": Each(NAME),
    "skeleton": _pairs,
    "isthing": flag,
    "color": _numbers,
    "frequency": one_of("f", "c", "r"),
}
#: Fields of a Cityscapes file.
CITYSCAPES: Mapping[str, Field] = {
    "imgHeight": count,
    "imgWidth": count,
    "objects": Each(
        {
            "label": NAME,
            "polygon": points,
            "id": count,
            **dict.fromkeys(("deleted", "verified", "draw"), flag),
            "bbox": _box,
            "bboxVis": _box,
            "attributes": Attributes(),
            "anonymizer": MARK,
        }
    ),
}
_EDGES: Mapping[str, Field] = dict.fromkeys(("xmin", "ymin", "xmax", "ymax"), numeral)
#: Elements of a Pascal VOC file, attributes after ``@``; names and folders become the released ones.
VOC: Mapping[str, Field] = {
    "@verified": flag,
    **dict.fromkeys(("folder", "filename", "path"), lambda value: value is not None),
    "size": dict.fromkeys(("width", "height", "depth"), numeral),
    "segmented": flag,
    "object": {
        "name": NAME,
        "pose": ATTRIBUTES["pose"],
        **dict.fromkeys(("truncated", "difficult", "occluded"), _DEGREE),
        "bndbox": _EDGES,
        "polygon": {f"{axis}{number}": numeral for number in range(1, 1001) for axis in "xy"},
        "part": {"name": NAME, "bndbox": _EDGES},
        "attributes": {"attribute": Attributes()},
        "anonymizer": MARK,
    },
}
#: Fields of a YOLO data set's YAML file beside its paths and names, which are written anew.
YOLO: Mapping[str, Field] = {
    "nc": count,
    "channels": count,
    "kpt_shape": _numbers,
    "flip_idx": _numbers,
}
# Texts of numbers: points as CVAT writes them, and run lengths.
_POINTS = re.compile(r"[\d.,;eE+\- ]*", re.ASCII)
_COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}", re.ASCII)
_ORIGIN = one_of("manual", "auto", "semi-auto", "file", "consensus")
_CVAT_SHAPE: Mapping[str, Field] = {
    "@label": NAME,
    "@source": _ORIGIN,
    **{f"@{name}": flag for name in ("occluded", "outside", "keyframe")},
    **{f"@{name}": numeral for name in (
        "xtl", "ytl", "xbr", "ybr", "cx", "cy", "rx", "ry", "left", "top", "width", "height", "rotation", "z_order",
        "group_id", *(f"{axis}{side}{corner}" for axis in "xy" for side in ("tl", "bl", "tr", "br") for corner in "12"),
    )},
    **{f"@{name}": _matches(_POINTS) for name in ("points", "rle")},
    "attribute": Attributes(),
}  # fmt: skip
#: Elements of an image in "CVAT for images"; its name becomes the released one.
CVAT_IMAGE: Mapping[str, Field] = {
    **{f"@{name}": numeral for name in ("id", "width", "height")},
    "@subset": one_of("train", "training", "val", "validation", "test", "testing", "default"),
    **dict.fromkeys(("box", "polygon", "polyline", "points", "ellipse", "mask", "cuboid"), _CVAT_SHAPE),
    "skeleton": {**_CVAT_SHAPE, "points": _CVAT_SHAPE},
    "tag": {"@label": NAME, "@source": _ORIGIN, "attribute": Attributes()},
}
_CVAT_LABELS: Mapping[str, Field] = {
    "labels": {"label": {"name": NAME, "color": _matches(_COLOUR), "type": one_of(
        "any", "rectangle", "polygon", "polyline", "points", "ellipse", "cuboid", "mask", "skeleton", "tag"
    )}}
}  # fmt: skip
#: Elements of such a file beside its images.
CVAT_HEAD: Mapping[str, Field] = {
    "version": _matches(_VERSION),
    "meta": {**dict.fromkeys(("task", "job", "project"), _CVAT_LABELS), **_CVAT_LABELS},
}
#: Fields of a LabelMe file; the picture's place is written anew, the picture itself is left out.
LABELME: Mapping[str, Field] = {
    "version": _matches(_VERSION),
    "flags": Attributes(),
    "imageHeight": count,
    "imageWidth": count,
    "shapes": Each(
        {
            "label": NAME,
            "points": points,
            "shape_type": one_of(
                "polygon", "rectangle", "circle", "line", "linestrip", "point", "points", "mask", "oriented_rectangle"
            ),
            "group_id": count,
            "flags": Attributes(),
            "anonymizer": MARK,
        }
    ),
}
_VIA_SHAPE: Mapping[str, Field] = {
    "name": one_of("rect", "circle", "ellipse", "polygon", "polyline", "point"),
    **dict.fromkeys(("x", "y", "width", "height", "cx", "cy", "r", "rx", "ry", "theta"), numeral),
    **dict.fromkeys(("all_points_x", "all_points_y"), _numbers),
}
#: Fields of a picture in VIA 2; its name becomes the released one.
VIA_PICTURE: Mapping[str, Field] = {
    "regions": Each({"shape_attributes": _VIA_SHAPE, "region_attributes": Attributes()}),
    "file_attributes": Attributes(),
}
#: Columns of Open Images; ``ImageID`` becomes the released name.
OPEN_IMAGES: Mapping[str, Field] = {
    "Source": one_of("", "xclick", "activemil", "freeform", "verification", "crowdsource-verification", "machine"),
    "LabelName": NAME,
    **dict.fromkeys(("Confidence", "XMin", "XMax", "YMin", "YMax"), numeral),
    **dict.fromkeys(("IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside"), numeral),
    **{f"XClick{number}{axis}": numeral for number in range(1, 5) for axis in "XY"},
    **{f"Anonymizer{name.capitalize()}": check for name, check in MARK.items()},
}
