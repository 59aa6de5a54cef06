"""Reading of given annotations: their format is told from their content."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from anonymizer.annotations.categories import Meanings
from anonymizer.annotations.cityscapes import ENDINGS, Cityscapes
from anonymizer.annotations.coco import CocoAnnotations, coco_from, read_coco
from anonymizer.annotations.cvat import cvat_from, is_cvat
from anonymizer.annotations.files import Codec, FileAnnotations
from anonymizer.annotations.labelme import LabelMe, is_labelme
from anonymizer.annotations.open_images import is_open_images, open_images_from
from anonymizer.annotations.records import MAX_BYTES, Annotations, read_annotation_bytes, read_json
from anonymizer.annotations.via import is_via, via_from
from anonymizer.annotations.voc import Voc
from anonymizer.annotations.yolo import NAME_FILES, YoloAnnotations, has_names, read_names, with_style
from anonymizer.core.errors import InputError
from anonymizer.images.storage import Store, locate

__all__ = ["FORMATS", "annotations_at", "read_annotations"]

#: What is understood, for messages.
FORMATS = (
    "COCO (one .json), YOLO (.txt labels beside data.yaml or classes.txt), Pascal VOC (.xml), Cityscapes "
    "(*_polygons.json), LabelMe (.json), CVAT for images (one .xml), VIA (one .json) or Open Images (one .csv)"
)
_YAML = (".yaml", ".yml")
#: Bytes at the start of a file that tell its format.
_GLANCE = 4096
#: Largest CVAT file, in bytes: as elements in memory it takes several times as much.
MAX_XML_BYTES = 1024**3


@contextmanager
def annotations_at(place: Path | str, mapping: Mapping[str, str | None] | None = None) -> Iterator[Annotations]:
    """Read annotations as ``read_annotations`` does, from a path or from a URL that fsspec can read.

    What a URL holds, one file or everything below a folder, is copied into a temporary folder that lives as long as
    the block. A YOLO data set is given by its folder.

    Raises:
        InputError: As there; the store cannot be read, or holds more than 4 GiB there.
    """
    found = locate(place)
    if isinstance(found, Path):
        yield read_annotations(found, mapping)
        return
    with TemporaryDirectory(prefix="anonymizer-annotations-") as temporary:
        try:
            local = _copied(found, Path(temporary))
        except OSError as error:
            raise InputError(f"annotations {found}: cannot be read ({error}); check connection and credentials") from (
                error
            )
        try:
            given = read_annotations(local, mapping)
        except InputError as error:
            raise InputError(str(error).replace(str(local), str(found))) from error
        if isinstance(given, FileAnnotations):
            yield replace(given, copied=(str(local), str(found)))
        else:  # The whole file has been read; its path is for messages, and its name for what is released.
            yield replace(given, path=Path(str(found), given.path.name) if local.is_dir() else Path(str(found)))


def _copied(store: Store, folder: Path) -> Path:
    """Copy what a store holds into a folder; return the file or folder to be read."""
    size = store.size()
    sizes = {"": size} if size is not None else store.sizes()
    if not sizes:
        raise InputError(f"annotations {store}: expected a file or folder, found nothing; check the URL")
    if sum(sizes.values()) > MAX_BYTES:
        raise InputError(f"annotations {store}: {sum(sizes.values())} bytes, expected at most {MAX_BYTES}; split them")
    if size is not None:
        file = folder / PurePosixPath(store.url).name
        store.fetch("", file)
        return file
    for name, content in store.read_all(sorted(sizes)):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def read_annotations(path: Path, mapping: Mapping[str, str | None] | None = None) -> FileAnnotations | CocoAnnotations:
    """Read annotations of any format we know.

    COCO is checked as a whole; of the formats with a file per picture only the names of files are gathered and, for
    YOLO, the classes.

    Args:
        path: A COCO file; a YOLO data set's YAML file; one VOC or Cityscapes file; or a folder with files of one of
            these formats. A folder's own ``annotations.json`` is taken before anything else.
        mapping: Class by category name, beside the common names; None leaves a category alone on purpose.

    Raises:
        InputError: Nothing there, no format we know, several at once, a malformed file, or a category name that may
            mean a class and is not known.
    """
    meanings = Meanings(mapping or {})
    if path.is_dir():
        if (path / "annotations.json").is_file():
            return read_coco(path, meanings)
        return _folder(path, meanings)
    kind = path.suffix.lower()
    if kind in _YAML or path.name in NAME_FILES:
        return _yolo(path, path.parent, _listing(path.parent), meanings)
    if kind == ".xml" and path.is_file():
        return _xml(path, meanings)
    if kind == ".json":
        return _json(path, meanings)
    if kind == ".csv" and path.is_file():
        return _csv(path, meanings)
    if path.exists():
        raise InputError(f"annotations {path}: expected {FORMATS}; got {path.name}")
    raise InputError(f"annotations {path}: expected a file or folder, found nothing; check the path")


def _json(path: Path, meanings: Meanings) -> FileAnnotations | CocoAnnotations:
    document = read_json(path)
    if isinstance(document, dict) and "objects" in document and "images" not in document:
        return _files(path, Cityscapes(meanings), path.parent, [path], ENDINGS, meanings)
    if is_labelme(document):
        return _files(path, LabelMe(meanings), path.parent, [path], (".json", ".JSON"), meanings)
    if is_via(document):
        return via_from(document, path, meanings)
    return coco_from(document, path, meanings)


def _xml(path: Path, meanings: Meanings) -> FileAnnotations:
    if is_cvat(_start(path)):
        return cvat_from(read_annotation_bytes(path, MAX_XML_BYTES), path, meanings)
    return _files(path, Voc(), path.parent, [path], (".xml", ".XML"), meanings)


def _csv(path: Path, meanings: Meanings) -> FileAnnotations:
    content = read_annotation_bytes(path)
    if not is_open_images(content):
        raise InputError(f"annotations {path}: expected {FORMATS}; got a CSV file without the columns of Open Images")
    return open_images_from(content, path, meanings)


def _folder(folder: Path, meanings: Meanings) -> FileAnnotations | CocoAnnotations:
    files = _listing(folder)
    polygons = [file for file in files if file.name.endswith(ENDINGS)]
    others = [file for file in files if file.suffix.lower() == ".json" and file not in set(polygons)]
    boxes = [file for file in files if file.suffix.lower() == ".xml"]
    shapes = [file for file in others if _is_labelme(file)]
    others = [file for file in others if file not in set(shapes)]
    names = _name_files(files)
    if names or boxes or polygons:  # Tools lay notes of their own beside labels.
        others = [file for file in others if _may_be_given(file)]
    tables = [file for file in files if file.suffix.lower() == ".csv" and is_open_images(_start(file))]
    shared = [file for file in boxes if is_cvat(_start(file))]
    boxes = [file for file in boxes if file not in set(shared)]
    found = {
        "COCO": others,
        "Pascal VOC": boxes,
        "Cityscapes": polygons,
        "YOLO": names,
        "LabelMe": shapes,
        "CVAT": shared,
        "Open Images": tables,
    }
    kinds = [kind for kind, matching in found.items() if matching]
    if len(kinds) > 1:
        raise InputError(
            f"annotations {folder}: holds files of {' and '.join(kinds)}; give the file or the folder of one format"
        )
    for kind, several in (("CVAT", shared), ("Open Images", tables)):
        if len(several) > 1:
            listed = ", ".join(sorted(file.name for file in several)[:3])
            raise InputError(f"annotations {folder}: holds {len(several)} files of {kind} ({listed}); give one")
    if shared:
        return _xml(shared[0], meanings)
    if tables:
        return _csv(tables[0], meanings)
    if shapes:
        return _files(folder, LabelMe(meanings), folder, shapes, (".json", ".JSON"), meanings)
    if boxes:
        return _files(folder, Voc(), folder, boxes, (".xml", ".XML"), meanings)
    if polygons:
        return _files(folder, Cityscapes(meanings), folder, polygons, ENDINGS, meanings)
    if names:
        # Of several lists the one nearest to the top, YAML before plain ones, as it says more.
        nearest = min(names, key=lambda file: (len(file.parts), file.suffix.lower() not in _YAML, file.name))
        same = [file.name for file in names if (len(file.parts), file.suffix) == (len(nearest.parts), nearest.suffix)]
        if len(same) > 1:
            raise InputError(f"annotations {folder}: class names in {' and '.join(sorted(same))}; give the one file")
        return _yolo(nearest, folder, files, meanings)
    if len(others) == 1:
        return _json(others[0], meanings)
    if others:
        listed = ", ".join(sorted(file.name for file in others)[:3])
        raise InputError(f"annotations {folder}: holds {len(others)} JSON files ({listed}); give the one that is meant")
    texts = sum(file.suffix.lower() == ".txt" for file in files)
    hint = f"; {texts} .txt files, but neither data.yaml nor classes.txt with the class names" if texts else ""
    raise InputError(f"annotations {folder}: expected {FORMATS}, found none{hint}")


def _is_labelme(file: Path) -> bool:
    """Return whether a JSON file is one of LabelMe; a damaged one is, and costs its picture only."""
    start = _start(file)
    if b'"shapes"' in start and b'"flags"' in start:
        return True
    if b'"shapes"' not in start and b'"imageData"' not in start and b'"imagePath"' not in start:
        return False
    try:
        return is_labelme(read_json(file))
    except InputError:
        return True


def _start(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_GLANCE)
    except OSError as error:
        raise InputError(f"annotations {file}: cannot be read ({error.strerror}); check its permissions") from error


def _name_files(files: list[Path]) -> list[Path]:
    """Return the files with class names; of YAML files those with ``names``, or all where none has them."""
    plain = [file for file in files if file.name in NAME_FILES]
    every = [file for file in files if file.suffix.lower() in _YAML]
    return plain + ([file for file in every if has_names(file)] or every)


def _may_be_given(file: Path) -> bool:
    """Return whether a JSON file is of COCO or VIA, or cannot be read: its reader will say so by name."""
    try:
        document = read_json(file)
    except InputError:
        return True
    return (isinstance(document, dict) and "images" in document) or is_via(document)


def _yolo(names: Path, folder: Path, files: list[Path], meanings: Meanings) -> FileAnnotations:
    labels = [file for file in files if file.suffix.lower() == ".txt" and file.name not in NAME_FILES]
    codec = with_style(read_names(names, meanings), labels)
    return YoloAnnotations(names, codec, _places(folder, labels, (".txt", ".TXT"), names), meanings)


def _files(
    path: Path, codec: Codec, folder: Path, files: list[Path], endings: tuple[str, ...], meanings: Meanings
) -> FileAnnotations:
    return FileAnnotations(path, codec, _places(folder, files, endings, path), meanings)


def _places(folder: Path, files: list[Path], endings: tuple[str, ...], path: Path) -> dict[str, Path]:
    """Return files by the name they give their picture, relative to the folder."""
    places: dict[str, Path] = {}
    for file in files:
        ending = next((ending for ending in endings if file.name.endswith(ending)), file.suffix)
        name = file.relative_to(folder).as_posix().removesuffix(ending)
        if name in places:
            raise InputError(f"annotations {folder}: {places[name]} and {file} belong to the same picture; remove one")
        places[name] = file
    if not places:
        raise InputError(f"annotations {path}: no annotation files beside it; expected {FORMATS}")
    return places


def _listing(folder: Path) -> list[Path]:
    """Return every file below a folder, ordered, hidden ones left out; links to folders are not followed.

    Raises:
        InputError: A folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"annotations folder {error.filename} cannot be read ({error.strerror})") from error

    out = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        out += [Path(place, name) for name in sorted(names) if not name.startswith(".")]
    return out
