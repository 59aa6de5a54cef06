"""YOLO labels: one text file per picture, one object per line, coordinates as shares of the picture's sides."""

from __future__ import annotations

import codecs
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, cast

from anonymizer.annotations.categories import Meanings
from anonymizer.annotations.fields import NAME, YOLO
from anonymizer.annotations.files import Entry, FileAnnotations, Read
from anonymizer.annotations.matching import Placement
from anonymizer.annotations.records import Page, Record, Remark, read_annotation_bytes
from anonymizer.annotations.scrubbing import Scrubber
from anonymizer.annotations.shapes import outline
from anonymizer.core.errors import InputError
from anonymizer.core.geometry import outline_box
from anonymizer.core.records import CLASSES, Floats, Instance
from anonymizer.images.release import Release

__all__ = ["NAME_FILES", "Yolo", "YoloAnnotations", "has_names", "is_label_file", "read_names", "with_style"]

#: Plain lists of class names, one a line.
NAME_FILES = ("classes.txt", "obj.names")
#: Largest share of a picture's side that is taken for one: what is farther out is in pixels or broken.
_FARTHEST = 2.0
#: Folder with all released pictures, as seen from ``annotations``.
_ALL = "../images"
_SPLITS = ("train", "val", "test")
# Fields that lead away from the released set: folders of the source, and scripts that would fetch the originals.
_ELSEWHERE = frozenset({"path", "download", "masks_dir", "yaml_file", *_SPLITS})
#: Files asked whether they hold boxes or outlines; a data set has one style, strays must not decide.
_MOST_VOTES = 100
#: Largest text file that is looked at to tell whether it holds labels, in bytes.
_MAX_TEXT = 64 * 1024**2
_MAX_YAML = 1024**2
_DEEPEST = 20
_MOST_TOKENS = 50_000


@dataclass(frozen=True, slots=True)
class Yolo:
    """YOLO labels: boxes (5 numbers a line), segments (7 and more, odd) or poses; a confidence may follow.

    Given lines that can be read stay as they are, digit by digit, as far as training tools take them: a confidence is
    left out, places beyond the picture are cut, boxes among outlines become outlines of four corners, a person with an
    avatar has the avatar's box or outline and, where they are COCO's 17, joints, and keypoints of other treated objects
    are set to 0.
    The format has no place for marks: which line was redrawn or redacted stands in ``annotations.json`` (``line``),
    and lines that were added follow the given ones.

    Args:
        names: Class names as given, by index.
        data: The YAML document they came from, empty for a plain list.
        keypoints: Keypoints per object and numbers per keypoint (2 or 3), None if there are none.
        segments: Whether most objects are outlined; added ones follow suit where their file has no others.
        meanings: What class names mean.
    """

    names: tuple[str, ...]
    data: Mapping[str, Any]
    keypoints: tuple[int, int] | None = None
    segments: bool = False
    meanings: Meanings = field(default_factory=Meanings)

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
            InputError: It is no text.
        """
        # Without a size the places are of no interest, but must not vanish in rounding.
        height, width = size or (10_000, 10_000)
        entries: list[Entry] = []
        remarks: list[Remark] = []
        for number, line in _lines(content, what):
            parsed = self._parse(line)
            if isinstance(parsed, str):
                remarks.append(Remark(f"line {number}", f"{parsed}, left out"))
            else:
                entries.append(self._entry(number, *parsed, (height, width)))
        return Read(tuple(entries), tuple(remarks))

    def write(self, content: bytes | None, page: Page, scrubber: Scrubber) -> bytes:
        """Return the given lines and one for each added object; lines that cannot be read are left out."""
        treated = {i.record["id"]: (i, t) for i, t in page.treated if i.record is not None}
        lines = [] if content is None else list(_lines(content, page.name))
        given = [(number, line, parsed) for number, line in lines if not isinstance(parsed := self._parse(line), str)]
        outlined = any(is_outline for _, _, (_, _, is_outline) in given)
        out = []
        for number, line, (index, values, is_outline) in given:
            words = line.split()[: 1 + len(values)]
            pair = treated.get(number)
            if pair is not None and pair[0].id in page.joints:
                out.append(self._added(pair[0], page, outlined, index))
                continue
            if self.keypoints is not None and pair is not None:
                words[5:] = ["0"] * len(words[5:])
            places = values if is_outline else values[:4]
            if not all(0 <= value <= 1 for value in places) or is_outline != outlined:
                corners = _corners(values, is_outline)
                if any(len({corner[axis] for corner in corners}) == 1 for axis in (0, 1)):
                    continue  # Nothing of it is in the picture.
                words = _words(index, corners, outlined) + words[5 if not is_outline else len(words) :]
            out.append(" ".join(words) if words != line.split() else line)
        added = outlined if given else self.segments
        out += [self._added(i, page, added) for i, _ in page.treated if i.record is None]
        return "".join(f"{line}\n" for line in out).encode()

    @property
    def fields(self) -> Mapping[str, Any]:
        """None: a label file holds numbers alone."""
        return {}

    def told(self, content: bytes, what: str) -> Record:
        """Return nothing: there are no texts."""
        return {}

    def document(self, folders: Mapping[str, str], scrubber: Scrubber) -> bytes:
        """Return ``data.yaml`` for pictures in ``images`` beside the folder it lies in.

        Args:
            folders: Released folder by folder among the inputs, of every released picture and of all folders above.
            scrubber: Leaves out what no list names, and counts it.
        """
        import yaml

        names = [scrubber.record({"names": name}, {"names": NAME})["names"] for name in self._all_names()]
        given = {key: value for key, value in self.data.items() if key not in ("names", *_ELSEWHERE)}
        data = scrubber.record(given, YOLO)
        splits = {key: _released(self.data.get(key), folders) for key in _SPLITS}
        data |= {key: found[0] if len(found) == 1 else found for key, found in splits.items() if found}
        for key in ("train", "val"):  # Both must be there and lead to pictures.
            data.setdefault(key, _ALL)
        data["names"] = dict(enumerate(names))
        if "nc" in data:
            data["nc"] = len(names)
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode()

    def _all_names(self) -> tuple[str, ...]:
        known = {self.meanings.label(name) for name in self.names}
        return (*self.names, *(label for label in CLASSES if label not in known))

    def _parse(self, line: str) -> tuple[int, list[float], bool] | str:
        """Return class, numbers without a confidence and whether they are an outline; else what is wrong."""
        try:
            numbers = [float(part) for part in line.split()]
        except ValueError:
            return "not numbers alone"
        if not all(math.isfinite(number) for number in numbers):
            return "numbers that are not finite"
        if not numbers[0].is_integer():
            return "class that is no whole number"
        index, values = int(numbers[0]), numbers[1:]
        if not 0 <= index < len(self.names):
            return f"class that is not among the {len(self.names)} names"
        posed = 0 if self.keypoints is None else self.keypoints[0] * self.keypoints[1]
        if len(values) in (4 + posed, 5 + posed):
            values, outlined = values[: 4 + posed], False
        elif not posed and len(values) >= 6:
            values, outlined = values[: len(values) // 2 * 2], True
        else:
            return f"{len(values)} numbers after the class, expected 4, or 6 and more in pairs"
        places = values if outlined else values[:4]
        if max(map(abs, places)) > _FARTHEST:
            return "places that are no shares of the picture from 0 to 1"
        if not outlined and min(values[2:4]) <= 0:
            return "box without area"
        return index, values, outlined

    def _entry(self, number: int, index: int, values: list[float], outlined: bool, size: tuple[int, int]) -> Entry:
        height, width = size
        record: dict[str, Any] = {"id": number}
        if outlined:
            xs = [round(x * width, 2) for x in values[0::2]]
            ys = [round(y * height, 2) for y in values[1::2]]
            record["segmentation"] = [[v for pair in zip(xs, ys, strict=True) for v in pair]]
        else:
            x, y, w, h = values[0] * width, values[1] * height, values[2] * width, values[3] * height
            # Shares have few digits; a hundredth of a pixel keeps what was a whole number one.
            x1, y1, x2, y2 = (round(edge, 2) for edge in (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
            record["bbox"] = [x1, y1, x2 - x1, y2 - y1]
        return Entry(self.names[index], record)

    def _added(self, instance: Instance, page: Page, outlined: bool, given: int | None = None) -> str:
        height, width = page.size
        names = enumerate(self._all_names())
        index = next(n for n, name in names if self.meanings.label(name) == instance.label) if given is None else given
        x1, y1, x2, y2 = (float(value) for value in outline_box(instance))
        if outlined and self.keypoints is None:
            shares = [share for x, y in outline(instance) for share in (x / width, y / height)]
        else:
            shares = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
        posed = self._posed(page.joints.get(instance.id), page.size)
        return " ".join([str(index), *(f"{min(max(share, 0.0), 1.0):.6f}" for share in shares), *posed])

    def _posed(self, joints: Floats | None, size: tuple[int, int]) -> list[str]:
        """Return the numbers of an object's keypoints; 0 where none are known or they are not COCO's 17 joints."""
        if self.keypoints is None:
            return []
        count, width = self.keypoints
        if joints is None or count != len(joints) or width > 3:
            return ["0"] * (count * width)
        return [
            part
            for x, y, seen in joints.tolist()
            for part in (f"{x / size[1]:.6f}", f"{y / size[0]:.6f}", f"{int(seen)}")[:width]
        ]


@dataclass(frozen=True, slots=True, eq=False)
class YoloAnnotations(FileAnnotations):
    """YOLO labels, released so that training tools load them.

    These look for a picture's labels at its own path with ``labels`` in place of the last ``images``, and the suffix
    ``.txt``; there a second copy of each label file is written. Pictures that would share one are held back.
    """

    def placed(self, names: Iterable[str], released: Callable[[str], str] = str) -> YoloAnnotations:
        """Return these annotations with every picture of a run matched; texts that are no labels fit no picture.

        Raises:
            InputError: They fit none of the pictures.
        """
        every = tuple(names)
        found = FileAnnotations.placed(self, every, released)
        placement = found.placement or Placement()
        unplaced = tuple(name for name in placement.unplaced if is_label_file(self.places[name]))
        sharing: dict[str, list[str]] = defaultdict(list)
        for name in every:
            sharing[self.codec.place(released(name)).casefold()].append(name)
        held = dict(placement.held)
        for pictures in sharing.values():
            for name in pictures if len(pictures) > 1 else ():
                other = next(other for other in pictures if other != name)
                held.setdefault(name, f"shares its label file with {other}; rename one of them, or add --rename hash")
        keys = {name: key for name, key in placement.keys.items() if name not in held}
        bare = tuple(name for name in placement.bare if name not in held)
        placement = Placement(keys, held, bare, unplaced)
        return replace(self, placement=placement, left_alone=found.left_alone)

    def _count_shared(self, scrubber: Scrubber) -> None:
        cast(Yolo, self.codec).document({}, scrubber)

    def files(self, exports: Iterable[dict[str, Any]], release: Release) -> Iterator[tuple[str, bytes]]:
        """Yield every label file twice, and ``data.yaml``; names are relative to ``annotations``."""
        shown: set[str] = set()

        def noted() -> Iterator[dict[str, Any]]:
            for export in exports:
                shown.add(export["released"])
                yield export

        for path, content in FileAnnotations.files(self, noted(), release):
            yield path, content
            picture = f"/images/{path.removeprefix('labels/')}"
            yield "..{}/labels/{}".format(*picture.rsplit("/images/", 1)), content
        # The names of inputs come from the matching: what is stored of a picture does not tell its own.
        placement = self.placement or Placement()
        folders: dict[str, str] = {"": ""}
        for name in (*placement.keys, *placement.bare):
            target = release.name(name)
            if target in shown:
                given, released = PurePosixPath(name).parent.parts, PurePosixPath(target).parent.parts
                for depth in range(1, len(released) + 1):
                    folders["/".join(given[:depth])] = "/".join(released[:depth])
        yield "data.yaml", cast(Yolo, self.codec).document(folders, Scrubber((), release.keep_fields))


def read_names(file: Path, meanings: Meanings | None = None) -> Yolo:
    """Read class names from a data set's YAML file or from a plain list.

    Raises:
        InputError: Unreadable, no names, none of a class we know, or one that may mean a class and is not known.
    """
    meanings = meanings or Meanings()
    content = read_annotation_bytes(file, _MAX_YAML)
    data: dict[str, Any] = {}
    keypoints = None
    if file.suffix.lower() in (".yaml", ".yml"):
        data, names = _yaml(content, file)
        keypoints = _keypoint_shape(data.get("kpt_shape"), file)
    else:
        names = tuple(line.strip() for line in _decode(content, str(file)).splitlines() if line.strip())
    meanings.check(names, f"annotations {file}", all_known=True)
    if not any(meanings.label(name) for name in names):
        listed = ", ".join(names)[:200] or "none"
        raise InputError(
            f"annotations {file}: class names {listed}, expected one of {', '.join(CLASSES)}; "
            "say what they mean with --map NAME=CLASS"
        )
    return Yolo(names, data, keypoints, meanings=meanings)


def has_names(file: Path) -> bool:
    """Return whether a YAML file has class names."""
    try:
        return "names" in _document(read_annotation_bytes(file, _MAX_YAML), file)
    except InputError:
        return False


def is_label_file(file: Path) -> bool:
    """Return whether every line of a text is numbers alone; so is that of an empty one."""
    try:
        lines = [line for _, line in _lines(read_annotation_bytes(file, _MAX_TEXT), str(file))]
        return all(len([float(word) for word in line.split()]) >= 5 for line in lines)
    except (InputError, ValueError):
        return False


def with_style(codec: Yolo, files: Iterable[Path]) -> Yolo:
    """Return the labels' settings with ``segments`` as in most of the first files that have objects.

    Tools refuse data sets that mix boxes and outlines, so what is added must be like what is there.
    """
    votes: list[bool] = []
    for file in files:
        try:
            lines = _lines(read_annotation_bytes(file, _MAX_TEXT), str(file))
            parsed = (codec._parse(line) for _, line in lines)
            votes += [next(found[2] for found in parsed if not isinstance(found, str))]
        except (InputError, StopIteration):
            continue  # Nothing in it, or it is refused, by name, when its picture's turn comes.
        if len(votes) == _MOST_VOTES:
            break
    return replace(codec, segments=sum(votes) * 2 > len(votes))


def _corners(values: list[float], outlined: bool) -> list[tuple[float, float]]:
    """Return the corners of a box or an outline, cut at the picture's border, as shares of its sides."""
    if outlined:
        corners = list(zip(values[0::2], values[1::2], strict=True))
    else:
        x, y, w, h = values[:4]
        corners = [(x + i * w / 2, y + j * h / 2) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return [(min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)) for x, y in corners]


def _words(index: int, corners: list[tuple[float, float]], outlined: bool) -> list[str]:
    if outlined:
        shares = [share for corner in corners for share in corner]
    else:
        (x1, y1), (x2, y2) = corners[0], corners[2]
        shares = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
    return [str(index), *(f"{share:.6f}" for share in shares)]


def _released(value: object, folders: Mapping[str, str]) -> list[str]:
    """Return the released folders that a split's paths lead to, relative to ``annotations``; none where none do."""
    out: list[str] = []
    for path in value if isinstance(value, list) else [value]:
        parts = [part for part in str(path or "").replace("\\", "/").split("/") if part not in ("", ".", "..")]
        tails = ("/".join(parts[first:]) for first in range(len(parts)))
        found = next((folders[tail] for tail in tails if tail in folders), None)
        out += [f"{_ALL}/{found}"] if found else []
    return list(dict.fromkeys(out))


def _yaml(content: bytes, file: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the document and its class names; these as written, as YAML takes ``no`` and ``on`` for truth values."""
    import yaml

    data = _document(content, file)
    written = yaml.BaseLoader(content).get_single_data()  # It makes nothing but texts, lists and mappings.
    return data, _names(written.get("names") if isinstance(written, dict) else None, file)


def _document(content: bytes, file: Path) -> dict[str, Any]:
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
    """Return class names by index, from a list or from a mapping; gaps get names that mean nothing."""
    if isinstance(names, dict) and names and all(key.isdecimal() and len(key) < 6 for key in names):
        by_index = {int(key): name for key, name in names.items()}
        names = [by_index.get(index, f"class_{index}") for index in range(max(by_index) + 1)]
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
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{what}: expected text in UTF-8; export it again") from error
