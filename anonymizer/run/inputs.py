"""Inputs: the pictures that a run is about."""

from __future__ import annotations

import glob
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar, overload

from anonymizer.core.errors import InputError
from anonymizer.images.formats import SUFFIXES, has_raw, is_raw
from anonymizer.images.storage import Store, Stored, check_name, is_url, locate

__all__ = ["Found", "Inputs", "Source", "check_collisions", "find_inputs"]

#: INPUT: a file, a folder or a pattern, here or in object storage; or several files and folders, here.
Source = Path | str | Sequence[Path | str]
#: Longest suffix that is told by itself, in characters: longer ones are parts of names.
_SUFFIX = 12
#: Most kinds of files told one by one; the rest is told as ``other files``.
_KINDS = 20
_HIDDEN, _HIDDEN_FOLDER, _LINKED, _BARE, _REST = (
    "hidden files",
    "hidden folders",
    "linked folders",
    "files without a suffix",
    "other files",
)

#: A file, or an object in a store; who gives paths gets files.
Place = TypeVar("Place", bound=Path | Stored, covariant=True)


@dataclass(frozen=True, slots=True)
class Found(Generic[Place]):
    """A picture to work on: where it lies and its relative name, with forward slashes."""

    path: Place
    name: str


@dataclass(frozen=True, slots=True)
class Inputs(Generic[Place]):
    """The pictures found, ordered by name, and what was passed over: how many of each suffix or kind."""

    files: tuple[Found[Place], ...]
    passed_over: Mapping[str, int] = field(default_factory=dict)

    @property
    def ignored(self) -> int:
        """Number of files and folders that were passed over."""
        return sum(self.passed_over.values())


@overload
def find_inputs(source: Path, output: Path) -> Inputs[Path]: ...


@overload
def find_inputs(source: Source, output: Path | str | None) -> Inputs[Path | Stored]: ...


def find_inputs(source: Source, output: Path | str | None) -> Inputs[Path | Stored]:
    """Find the pictures that a file, a folder or a glob pattern names, here or in object storage.

    A folder is searched with its subfolders; hidden files and folders are skipped, links to folders are not followed.
    A single file named explicitly is always taken; of folders, patterns and several files only those with a picture's
    suffix are. Whatever is passed over is counted.

    Args:
        source: A file, a folder, or a pattern with ``*``, ``?``, ``[`` or ``**``; a path or a URL. Or several files
            and folders, as a shell makes of a pattern; paths only.
        output: Where results will go, a path or a URL; it need not exist. None: nowhere.

    Returns:
        At least one picture. Names are relative to the folder, to the pattern's longest part without wildcards, or to
        the folder that holds all of several.

    Raises:
        InputError: Nothing there, no pictures, an unreadable folder or store, an object whose name is no relative
            path, or input and output that overlap.
    """
    target = None if output is None else locate(output, writing=True)
    if not isinstance(source, Path | str):
        if len(source) != 1:
            return _outside(_several(source, target), target, output)
        source = source[0]
    origin = locate(source)
    if isinstance(origin, Store):
        return _objects(origin, target)
    path, source = origin, str(origin if is_url(source) else source)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:  # A parent folder is closed to us, or the name is too long.
        raise InputError(
            f"INPUT {source} cannot be read ({error.strerror}); check the path and its permissions"
        ) from error
    if is_folder:
        _refuse_inside(target, path)
        found: Inputs[Path] = _folder(path)
    elif exists:
        found = Inputs((Found(path, path.name),))
    elif glob.has_magic(source):
        found = _pattern(source, target)
    else:
        raise InputError(f"INPUT {source}: expected a file, a folder or a pattern, found nothing; check the path")
    return _outside(found, target, output)


def _outside(found: Inputs[Path], target: Path | Store | None, output: Path | str | None) -> Inputs[Path]:
    """Return what was found, or refuse pictures that lie in OUTPUT."""
    if isinstance(target, Path):
        inside = target.resolve()
        for file in found.files:
            # Not Path.resolve: it raises on a link that leads to itself, which is one unreadable file and no more.
            if Path(os.path.realpath(file.path)).is_relative_to(inside):
                raise InputError(f"INPUT {file.path} lies inside OUTPUT {output}; choose an OUTPUT outside of INPUT")
    return found


def check_collisions(files: Iterable[Found]) -> None:
    """Refuse names that are one and the same where case and Unicode form do not count.

    Raises:
        InputError: Two pictures would be written to the same file.
    """
    seen: dict[str, str] = {}
    for file in files:
        key = unicodedata.normalize("NFC", file.name).casefold()
        if key in seen:
            raise InputError(
                f"{seen[key]} and {file.name} would be written to the same file, as OUTPUT's file system ignores "
                "case; rename one or use another OUTPUT"
            )
        seen[key] = file.name


def _refuse_inside(output: Path | Store | None, folder: Path) -> None:
    if isinstance(output, Path) and output.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"OUTPUT {output} lies inside INPUT {folder}; choose an OUTPUT outside of INPUT")


def _objects(source: Store, output: Path | Store | None) -> Inputs[Stored]:
    """Return the pictures that the URL of an object, a folder or a pattern names."""
    url = source.url
    deep = True
    try:
        size = source.size()
        if size is not None:
            name = url.rpartition("/")[2]
            check_name(name)
            _refuse_overlap(source, output, [""], deep=False)
            return Inputs((Found(Stored(source, "", size), name),))
        sizes = source.sizes()
        if not sizes and glob.has_magic(url):
            source, sizes = source.matches()
            deep = "**" in url.split("/")
    except OSError as error:
        raise InputError(f"INPUT {error}; check the URL, the connection and the credentials") from error
    if not sizes:
        raise InputError(f"INPUT {url}: expected an object, a folder or a pattern, found nothing; check the URL")
    pictures: dict[str, int] = {}
    passed: Counter[str] = Counter()
    for name, size in sizes.items():
        if _hidden_object(name):
            passed[_HIDDEN] += 1
        elif _is_picture(name):
            pictures[name] = size
        else:
            passed[_kind(name)] += 1
    _check_tree(pictures)
    _refuse_overlap(source, output, pictures, deep=deep)
    files = [Found(Stored(source, name, size), name) for name, size in pictures.items()]
    return _checked(files, passed, url)


def _hidden_object(name: str) -> bool:
    # "." and ".." hide nothing: pictures behind them are refused, not passed over.
    return any(_hidden(part) and part not in (".", "..") for part in name.split("/"))


def _check_tree(names: Mapping[str, int]) -> None:
    """Refuse names that could not lie in a folder together."""
    for name in names:
        check_name(name)
        above = name
        while above := above.rpartition("/")[0]:
            if above in names:
                raise InputError(f"INPUT holds an object {above} and a folder of that name, with {name}; rename one")


def _refuse_overlap(source: Store, output: Path | Store | None, names: Iterable[str], *, deep: bool) -> None:
    if not isinstance(output, Store):
        return
    if deep and source.holds(output):
        raise InputError(f"OUTPUT {output} lies inside INPUT {source}; choose an OUTPUT outside of INPUT")
    for name in names:
        if output.holds(source, name):
            raise InputError(
                f"INPUT {source.address(name)} lies inside OUTPUT {output}; choose an OUTPUT outside of INPUT"
            )


def _is_picture(name: str) -> bool:
    """Return whether a file is taken for a picture by its suffix; camera RAW only where it can be read.

    RAW lies beside JPEG of the same picture as a rule, and is passed over as long as nobody installed what reads it.
    """
    return Path(name).suffix.lower() in SUFFIXES and (not is_raw(name) or has_raw())


def _kind(name: str) -> str:
    """Return the suffix by which a file that was passed over is told."""
    suffix = Path(name).suffix.lower()
    return suffix if 0 < len(suffix) <= _SUFFIX else _REST if suffix else _BARE


def _walk(folder: Path, base: Path, files: list[Found[Path]], passed: Counter[str]) -> None:
    """Add the pictures below a folder, named relative to a base, and count what is passed over."""
    for place, folders, names in os.walk(folder, onerror=_unreadable):
        for name in folders:
            if _hidden(name):
                passed[_HIDDEN_FOLDER] += 1
            elif Path(place, name).is_symlink():
                passed[_LINKED] += 1
        folders[:] = sorted(name for name in folders if not _hidden(name))
        for name in names:
            _add(Path(place, name), base, files, passed)


def _add(path: Path, base: Path, files: list[Found[Path]], passed: Counter[str]) -> None:
    if _hidden(path.name):
        passed[_HIDDEN] += 1
    elif _is_picture(path.name):
        files.append(Found(path, path.relative_to(base).as_posix()))
    else:
        passed[_kind(path.name)] += 1


def _folder(folder: Path) -> Inputs[Path]:
    files: list[Found[Path]] = []
    passed: Counter[str] = Counter()
    _walk(folder, folder, files, passed)
    return _checked(files, passed, str(folder))


def _several(sources: Sequence[Path | str], output: Path | Store | None) -> Inputs[Path]:
    """Return the pictures of several files and folders; those that are no pictures by their suffix are counted."""
    paths = []
    for source in sources:
        if is_url(source):
            raise InputError(f"INPUT {source}: expected one URL or several paths; give a URL or a pattern by itself")
        locate(source)  # Refuses an empty text, which would be the current folder.
        # Made absolute, but with links as they are: a file is named as it was given.
        path = Path(os.path.abspath(source))  # noqa: PTH100  Path.absolute leaves ".." in names.
        if not path.exists() and not path.is_symlink():
            raise InputError(f"INPUT {source}: expected a file or a folder, found nothing; check the path")
        paths.append(path)
    if not paths:
        raise InputError("INPUT: expected a file, a folder or a pattern, got none")
    base = Path(os.path.commonpath([path.parent for path in paths]))
    files: list[Found[Path]] = []
    passed: Counter[str] = Counter()
    for path in dict.fromkeys(paths):
        if path.is_dir():
            _refuse_inside(output, path)
            _walk(path, base, files, passed)
        else:
            _add(path, base, files, passed)
    return _checked(files, passed, f"{sources[0]} and {len(sources) - 1} more")


def _pattern(pattern: str, output: Path | Store | None) -> Inputs[Path]:
    parts = Path(pattern).parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    base = Path(*parts[:first])
    if "**" in parts:
        _refuse_inside(output, base)
    files: list[Found[Path]] = []
    passed: Counter[str] = Counter()
    for match in glob.glob(pattern, recursive=True):  # noqa: PTH207  pathlib cannot match an absolute pattern.
        path = Path(match)
        if path.is_dir():
            continue
        if any(_hidden(part) for part in path.relative_to(base).parts):
            passed[_HIDDEN] += 1
        else:
            _add(path, base, files, passed)
    return _checked(files, passed, pattern)


def _checked(files: list[Found[Place]], passed: Counter[str], what: str) -> Inputs[Place]:
    told = dict(passed.most_common(_KINDS))
    rest = passed.total() - sum(told.values())
    if rest:
        told[_REST] = told.get(_REST, 0) + rest
    if not files:
        among = ", ".join(f"{count} {kind}" for kind, count in told.items()) or "no files"
        raise InputError(
            f"INPUT {what}: no pictures among {among}, expected at least one of {', '.join(SUFFIXES)}; check the path"
        )
    return Inputs(tuple(sorted(set(files), key=lambda file: file.name)), told)


def _hidden(name: str) -> bool:
    return name.startswith(".")


def _unreadable(error: OSError) -> None:
    raise InputError(
        f"INPUT folder {error.filename} cannot be read ({error.strerror}); expected a readable folder, "
        "change its permissions"
    ) from error
