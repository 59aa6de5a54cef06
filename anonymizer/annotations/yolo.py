"""YOLO labels: one text file per picture, one object per line, coordinates as shares of the picture's sides."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from anonymizer.annotations.fields import NAME, YOLO, numeral
from anonymizer.annotations.outline import outline
from anonymizer.annotations.per_file import Entry, Read
from anonymizer.annotations.records import Page, Record, label_of, read_annotation_bytes
from anonymizer.annotations.scrubbing import Scrubber
from anonymizer.errors import InputError
from anonymizer.geometry import outline_box
from anonymizer.types import CLASSES, Instance

__all__ = ["NAME_FILES", "Yolo", "read_names", "with_style"]

#: Plain lists of class names, one a line.
NAME_FILES = ("classes.txt", "obj.names")
#: Shares may leave [0, 1] by this much, as rounded ones do; the pixel tolerance of all boxes applies besides.
_SLACK = 0.01
#: Parts of the data set that a YAML file points to.
_SPLITS = ("train", "val", "test")
# Folders and lists that are named for what they hold.
_PLAIN_PART = re.compile(
    r"\.\.?|(?:images?|imgs?|labels?|data|datasets?|(?:train|val|valid|validation|test|dev|trainval)[-_]?\d{0,4})(?:\.txt)?",
    re.ASCII | re.IGNORECASE,
)
_MAX_YAML = 1024**2
_DEEPEST = 20
_MOST_TOKENS = 50_000


@dataclass(frozen=True, slots=True)
class Yolo:
    """YOLO labels, boxes (5 numbers a line), segments (7 and more, odd) or poses.

    Given lines of numbers stay as they are, digit by digit; only the keypoints of bodies that were not kept are set
    to 0. The format has no place for marks: which line was redrawn or redacted stands in ``annotations.json``
    (``line``), and lines that were added follow the given ones.

    Args:
        names: Class names as given, by index.
        data: The YAML document they came from, empty for a plain list.
        keypoints: Keypoints per object and numbers per keypoint (2 or 3), None if there are none.
        segments: Whether objects are outlined; added ones follow suit.
    """

    names: tuple[str, ...]
    data: Mapping[str, Any]
    keypoints: tuple[int, int] | None = None
    segments: bool = False

    @property
    def format(self) -> str:
        """``yolo``."""
        return "yolo"

    @property
    def categories(self) -> Mapping[int, Record]:
        """The class names by index, those included that added objects may need."""
        return {index: {"id": index, "name": name} for index, name in enumerate(self._all_names())}

    def place(self, released: str) -> str:
        """Return ``labels/<name>.txt``."""
        return f"labels/{PurePosixPath(released).with_suffix('.txt')}"

    def read(self, content: bytes, size: tuple[int, int] | None, what: str) -> Read:
        """Return the objects of a label file; ``id`` is the line's number.

        Raises:
            InputError: A line is malformed, or names a class that is not listed.
        """
        # Without a size the places are of no interest, but must not vanish in rounding.
        height, width = size or (10_000, 10_000)
        return Read(tuple(self._entry(number, line, (height, width), what) for number, line in _lines(content, what)))

    def write(self, content: bytes | None, page: Page, scrubber: Scrubber) -> bytes:
        """Return the given lines and one for each added object."""
        treated = {i.record["id"]: (i, t) for i, t in page.treated if i.record is not None}
        out = []
        text = "" if content is None else content.decode("utf-8-sig")
        for number, line in enumerate(text.splitlines(), start=1):
            if not all(numeral(part) for part in line.split()):
                scrubber.left_out("lines")
                line = ""  # The numbers of the others stay.
            pair = treated.get(number)
            if self.keypoints is not None and pair is not None:
                instance, treatment = pair
                if instance.label != "person" or treatment.action != "redrawn":
                    line = " ".join([*line.split()[:5], *("0" for _ in line.split()[5:])])
            out.append(line)
        out += [self._added(i, page.size) for i, _ in page.treated if i.record is None]
        return "".join(f"{line}\n" for line in out).encode()

    @property
    def fields(self) -> Mapping[str, Any]:
        """None: a label file holds numbers alone."""
        return {}

    def told(self, content: bytes, what: str) -> Record:
        """Return nothing: there are no texts."""
        return {}

    def shared(self, scrubber: Scrubber) -> Iterator[tuple[str, bytes]]:
        """Yield ``data.yaml`` with every class name; paths keep those parts that name a split."""
        import yaml

        names = [scrubber.record({"name": name}, {"name": NAME}, "names")["name"] for name in self._all_names()]
        given = {key: value for key, value in self.data.items() if key not in ("path", "names", *_SPLITS)}
        data = scrubber.record(given, YOLO)
        data |= {key: _split(self.data[key], key, scrubber) for key in _SPLITS if self.data.get(key) is not None}
        data |= {"path": ".", "names": dict(enumerate(names))}
        if "nc" in data:
            data["nc"] = len(names)
        yield "data.yaml", yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode()

    def _all_names(self) -> tuple[str, ...]:
        known = {label_of(name) for name in self.names}
        return (*self.names, *(label for label in CLASSES if label not in known))

    def _entry(self, number: int, line: str, size: tuple[int, int], what: str) -> Entry:
        height, width = size
        where = f"{what}, line {number}"
        parts = line.split()
        try:
            index, values = int(parts[0]), [float(part) for part in parts[1:]]
        except ValueError as error:
            raise InputError(f"{where}: expected a class number and shares from 0 to 1, got {line[:60]!r}") from error
        if not 0 <= index < len(self.names):
            raise InputError(f"{where}: class {index} is not among the {len(self.names)} names listed; add it there")
        posed = 0 if self.keypoints is None else self.keypoints[0] * self.keypoints[1]
        outlined = not posed and len(values) >= 6 and len(values) % 2 == 0
        if not (outlined or len(values) == 4 + posed):
            raise InputError(f"{where}: {len(values)} numbers after the class, expected 4, or 6 and more in pairs")
        places = values if outlined else values[:4]
        if not all(math.isfinite(value) and -_SLACK <= value <= 1 + _SLACK for value in places):
            raise InputError(f"{where}: coordinates must be shares of the picture from 0 to 1, got {line[:60]!r}")
        record: dict[str, Any] = {"id": number}
        if outlined:
            xs = [round(x * width, 2) for x in values[0::2]]
            ys = [round(y * height, 2) for y in values[1::2]]
            record["segmentation"] = [[v for pair in zip(xs, ys, strict=True) for v in pair]]
            x1, y1, x2, y2 = min(xs), min(ys), max(xs), max(ys)
        else:
            x, y, w, h = values[0] * width, values[1] * height, values[2] * width, values[3] * height
            # Shares have few digits; a hundredth of a pixel keeps what was a whole number one.
            x1, y1, x2, y2 = (round(edge, 2) for edge in (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
        record["bbox"] = [x1, y1, x2 - x1, y2 - y1]
        return Entry(self.names[index], record)

    def _added(self, instance: Instance, size: tuple[int, int]) -> str:
        height, width = size
        index = next(n for n, name in enumerate(self._all_names()) if label_of(name) == instance.label)
        x1, y1, x2, y2 = (float(value) for value in outline_box(instance))
        if self.segments and self.keypoints is None:
            shares = [share for x, y in outline(instance) for share in (x / width, y / height)]
        else:
            shares = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
        posed = [] if self.keypoints is None else ["0"] * (self.keypoints[0] * self.keypoints[1])
        return " ".join([str(index), *(f"{min(max(share, 0.0), 1.0):.6f}" for share in shares), *posed])


def read_names(file: Path) -> Yolo:
    """Read class names from a data set's YAML file or from a plain list.

    Raises:
        InputError: Unreadable, no names, or none of a class we know.
    """
    content = read_annotation_bytes(file, _MAX_YAML)
    data: dict[str, Any] = {}
    keypoints = None
    if file.suffix.lower() in (".yaml", ".yml"):
        data = _yaml(content, file)
        names = _names(data.get("names"), file)
        keypoints = _keypoint_shape(data.get("kpt_shape"), file)
    else:
        names = tuple(line.strip() for line in _decode(content, str(file)).splitlines() if line.strip())
    if not any(label_of(name) for name in names):
        listed = ", ".join(names)[:200] or "none"
        raise InputError(f"annotations {file}: class names {listed}, expected one of {', '.join(CLASSES)}")
    return Yolo(names, data, keypoints)


def with_style(codec: Yolo, files: Iterable[Path]) -> Yolo:
    """Return the labels' settings with ``segments`` as in the first file that has objects.

    Tools refuse data sets that mix boxes and outlines, so what is added must be like what is there.
    """
    for file in files:
        try:
            first = next(_lines(read_annotation_bytes(file, _MAX_YAML), str(file)), None)
        except InputError:
            continue  # It is refused, by name, when its picture's turn comes.
        if first is not None:
            count = len(first[1].split()) - 1
            return replace(codec, segments=codec.keypoints is None and count >= 6 and count % 2 == 0)
    return codec


def _yaml(content: bytes, file: Path) -> dict[str, Any]:
    import yaml

    try:
        _check_tokens(yaml.scan(content, Loader=yaml.SafeLoader), file)
        data = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(f"annotations {file}: expected YAML, got {reason}; export it again") from error
    if not isinstance(data, dict):
        raise InputError(f"annotations {file}: expected YAML with names, got {type(data).__name__}")
    return data


def _check_tokens(tokens: Iterator[Any], file: Path) -> None:
    """Refuse YAML that takes long to read: deep nesting, and aliases, which make a small file huge."""
    depth = 0
    for count, token in enumerate(tokens):
        kind = type(token).__name__
        depth += kind.endswith("StartToken") and not kind.startswith(("Stream", "Document"))
        depth -= kind.endswith("EndToken") and not kind.startswith(("Stream", "Document"))
        if kind == "AliasToken":
            raise InputError(f"annotations {file}: expected YAML without aliases (*name); write the values out")
        if depth > _DEEPEST or count > _MOST_TOKENS:
            raise InputError(f"annotations {file}: expected a YAML file with names, got one far deeper or longer")


def _names(names: object, file: Path) -> tuple[str, ...]:
    if isinstance(names, dict) and all(isinstance(key, int) for key in names):
        if sorted(names) != list(range(len(names))):
            raise InputError(f"annotations {file}: names must be numbered from 0 without gaps")
        names = [names[key] for key in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"annotations {file}: expected names, a list of class names; add it")
    return tuple(names)


def _keypoint_shape(shape: object, file: Path) -> tuple[int, int] | None:
    if shape is None:
        return None
    if not isinstance(shape, list) or len(shape) != 2 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise InputError(f"annotations {file}: kpt_shape {shape!r}, expected [keypoints, 2 or 3]")
    return shape[0], shape[1]


def _lines(content: bytes, what: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(_decode(content, what).splitlines(), start=1):
        if line.strip():
            yield number, line


def _decode(content: bytes, what: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{what}: expected text in UTF-8; export it again") from error


def _split(value: object, key: str, scrubber: Scrubber) -> str | list[str]:
    """Return where a split's pictures lie, without folders whose names say more than that."""
    if isinstance(value, list):
        return [place for item in value for place in [_split(item, key, scrubber)] if isinstance(place, str)]
    parts = PurePosixPath(value.replace("\\", "/")).parts if isinstance(value, str) else ()
    kept = [part for part in parts if _PLAIN_PART.fullmatch(part)]
    if len(kept) < len(parts) or not parts:
        scrubber.left_out(f"{key}.folders")
    return "/".join(kept) or "images"
