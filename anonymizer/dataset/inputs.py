"""Which pictures a run is about."""

from __future__ import annotations

import glob
import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, overload

from anonymizer.dataset.images import SUFFIXES
from anonymizer.dataset.storage import Store, Stored, check_name, is_url, locate
from anonymizer.errors import InputError

__all__ = ["Found", "Inputs", "check_collisions", "find_inputs"]


#: A file, or an object in a store; who gives paths gets files.
Place = TypeVar("Place", bound=Path | Stored, covariant=True)


@dataclass(frozen=True, slots=True)
class Found(Generic[Place]):
    """A picture to work on: where it lies and its relative name, with forward slashes."""

    path: Place
    name: str


@dataclass(frozen=True, slots=True)
class Inputs(Generic[Place]):
    """The pictures found, ordered by name, and how many other files were passed over."""

    files: tuple[Found[Place], ...]
    ignored: int = 0


@overload
def find_inputs(source: Path, output: Path) -> Inputs[Path]: ...


@overload
def find_inputs(source: Path | str, output: Path | str) -> Inputs[Path | Stored]: ...


def find_inputs(source: Path | str, output: Path | str) -> Inputs[Path | Stored]:
    """Find the pictures that a file, a folder or a glob pattern names, here or in object storage.

    A folder is searched with its subfolders; hidden files and folders are skipped, links to folders are not followed.
    A file named explicitly is always taken; from folders and patterns only files with a picture's suffix are.

    Args:
        source: A file, a folder, or a pattern with ``*``, ``?``, ``[`` or ``**``; a path or a URL.
        output: Where results will go, a path or a URL; it need not exist.

    Returns:
        At least one picture. Names are relative to the folder, or to the pattern's longest part without wildcards.

    Raises:
        InputError: Nothing there, no pictures, an unreadable folder or store, an object whose name is no relative
            path, or input and output that overlap.
    """
    target = locate(output, writing=True)
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


def _refuse_inside(output: Path | Store, folder: Path) -> None:
    if isinstance(output, Path) and output.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"OUTPUT {output} lies inside INPUT {folder}; choose an OUTPUT outside of INPUT")


def _objects(source: Store, output: Path | Store) -> Inputs[Stored]:
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
    shown = {name: size for name, size in sizes.items() if not _hidden_object(name)}
    pictures = {name: size for name, size in shown.items() if Path(name).suffix.lower() in SUFFIXES}
    _check_tree(pictures)
    _refuse_overlap(source, output, pictures, deep=deep)
    files = [Found(Stored(source, name, size), name) for name, size in pictures.items()]
    return _checked(files, len(shown) - len(files), url)


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


def _refuse_overlap(source: Store, output: Path | Store, names: Iterable[str], *, deep: bool) -> None:
    if not isinstance(output, Store):
        return
    if deep and source.holds(output):
        raise InputError(f"OUTPUT {output} lies inside INPUT {source}; choose an OUTPUT outside of INPUT")
    for name in names:
        if output.holds(source, name):
            raise InputError(
                f"INPUT {source.address(name)} lies inside OUTPUT {output}; choose an OUTPUT outside of INPUT"
            )


def _folder(folder: Path) -> Inputs[Path]:
    files: list[Found[Path]] = []
    ignored = 0
    for place, folders, names in os.walk(folder, onerror=_unreadable):
        ignored += sum(not _hidden(name) and Path(place, name).is_symlink() for name in folders)
        folders[:] = sorted(name for name in folders if not _hidden(name))
        for name in names:
            path = Path(place, name)
            if _hidden(name):
                continue
            if path.suffix.lower() in SUFFIXES:
                files.append(Found(path, path.relative_to(folder).as_posix()))
            else:
                ignored += 1
    return _checked(files, ignored, str(folder))


def _pattern(pattern: str, output: Path | Store) -> Inputs[Path]:
    parts = Path(pattern).parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    base = Path(*parts[:first])
    if "**" in parts:
        _refuse_inside(output, base)
    files: list[Found[Path]] = []
    ignored = 0
    for match in glob.glob(pattern, recursive=True):  # noqa: PTH207  pathlib cannot match an absolute pattern.
        path = Path(match)
        name = path.relative_to(base).as_posix()
        if path.is_dir() or any(_hidden(part) for part in name.split("/")):
            continue
        if path.suffix.lower() in SUFFIXES:
            files.append(Found(path, name))
        else:
            ignored += 1
    return _checked(files, ignored, pattern)


def _checked(files: list[Found[Place]], ignored: int, what: str) -> Inputs[Place]:
    if not files:
        raise InputError(
            f"INPUT {what}: no pictures among {ignored} files, expected at least one of {', '.join(SUFFIXES)}; "
            "check the path"
        )
    return Inputs(tuple(sorted(set(files), key=lambda file: file.name)), ignored)


def _hidden(name: str) -> bool:
    return name.startswith(".")


def _unreadable(error: OSError) -> None:
    raise InputError(
        f"INPUT folder {error.filename} cannot be read ({error.strerror}); expected a readable folder, "
        "change its permissions"
    ) from error
