"""Which pictures a run is about."""

from __future__ import annotations

import glob
import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from anonymizer.dataset.images import SUFFIXES
from anonymizer.errors import InputError

__all__ = ["Found", "Inputs", "check_collisions", "find_inputs"]


@dataclass(frozen=True, slots=True)
class Found:
    """A picture to work on: where it lies and its relative name, with forward slashes."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """The pictures found, ordered by name, and how many other files were passed over."""

    files: tuple[Found, ...]
    ignored: int = 0


def find_inputs(source: Path | str, output: Path) -> Inputs:
    """Find the pictures that a file, a folder or a glob pattern names.

    A folder is searched with its subfolders; hidden files and folders are skipped, links to folders are not followed.
    A file named explicitly is always taken; from folders and patterns only files with a picture's suffix are.

    Args:
        source: A file, a folder, or a pattern with ``*``, ``?``, ``[`` or ``**``.
        output: Where results will go; it need not exist.

    Returns:
        At least one picture. Names are relative to the folder, or to the pattern's longest part without wildcards.

    Raises:
        InputError: Nothing there, no pictures, an unreadable folder, or input and output that overlap.
    """
    path = Path(source)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:  # A parent folder is closed to us, or the name is too long.
        raise InputError(
            f"INPUT {source} cannot be read ({error.strerror}); check the path and its permissions"
        ) from error
    if is_folder:
        _refuse_inside(output, path)
        found = _folder(path)
    elif exists:
        found = Inputs((Found(path, path.name),))
    elif glob.has_magic(str(source)):
        found = _pattern(str(source), output)
    else:
        raise InputError(f"INPUT {source}: expected a file, a folder or a pattern, found nothing; check the path")
    inside = output.resolve()
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


def _refuse_inside(output: Path, folder: Path) -> None:
    if output.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"OUTPUT {output} lies inside INPUT {folder}; choose an OUTPUT outside of INPUT")


def _folder(folder: Path) -> Inputs:
    files: list[Found] = []
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


def _pattern(pattern: str, output: Path) -> Inputs:
    parts = Path(pattern).parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    base = Path(*parts[:first])
    if "**" in parts:
        _refuse_inside(output, base)
    files: list[Found] = []
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


def _checked(files: list[Found], ignored: int, what: str) -> Inputs:
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
