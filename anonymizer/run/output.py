"""OUTPUT of a run: whose it is, what lies in it, and how results get there."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

from anonymizer.annotations.export import side_path
from anonymizer.core.errors import InputError
from anonymizer.core.files import remove_leftovers, to_json, write_atomic
from anonymizer.images.release import MAPS, map_name
from anonymizer.run.decisions import Reviews, opened
from anonymizer.run.inputs import Found, check_collisions
from anonymizer.run.ledger import Ledger, Record
from anonymizer.run.place import STAGING, FolderPlace, Place

__all__ = [
    "ANNOTATIONS",
    "DOCUMENTS",
    "DRY_RUN",
    "LABELS",
    "LEDGER",
    "SEAL",
    "SIDES",
    "OutputFolder",
    "hold_back",
    "is_label_copy",
    "is_output",
]

#: What closes a finished run. The seal is written last and vouches for the ledger and the others.
DOCUMENTS = ("annotations.json", "report.html", "quarantine.txt")
SEAL = "seal.json"
LEDGER = "ledger.jsonl"
#: Folder with what annotations say of each released picture.
SIDES = ".state/annotations"
#: Folder with released pictures that a review holds back.
HELD = ".state/held"
#: Folder with annotations in the format that was given; as closing documents, they are under the seal.
ANNOTATIONS = "annotations"
#: Folder beside ``images`` in which training tools look for YOLO labels; below ``images`` where pictures lie in one
#: of that name themselves. As closing documents, they are under the seal.
LABELS = "labels"
#: Folder with what a dry run found: where people are in the originals, so it is as internal as the ledger. Runs leave
#: it alone.
DRY_RUN = "dry-run"


class OutputFolder:
    """An OUTPUT held by one run at a time; use it as a context manager.

    ``images`` holds released pictures only, ``masks``, ``parts`` and ``depth`` maps of them, ``.state`` what is needed
    to resume: unfinished files, the annotations of each released picture, and the lock. Ledger, documents and
    ``.state`` are written to a folder on this machine, pictures and maps to the place of results, which is that folder
    unless ``object_store.StoredOutput`` says otherwise.

    Args:
        path: The folder; made if missing.
        place: Where results lie; the folder if None.

    Raises:
        InputError: It is a file, holds something else, or another run works in it.
    """

    #: What to do when it cannot be written, other than freeing space.
    remedy = "make it writable"

    def __init__(self, path: Path, place: Place | None = None) -> None:
        self.path = path
        self.place = FolderPlace(path) if place is None else place
        self.images = path / "images"
        self.state = path / ".state"
        self._staging = path / STAGING
        self._lock = -1

    def __enter__(self) -> OutputFolder:
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"OUTPUT {self.path} is a file, expected a folder; choose another path")
        if self.path.is_dir() and any(self.path.iterdir()) and not is_output(self.path):
            raise InputError(f"OUTPUT {self.path} holds other files; choose a new or empty folder")
        if self.images.is_symlink() or self.state.is_symlink():
            raise InputError(f"OUTPUT {self.path}: images and .state must be folders, found a link; remove it")
        with self.writing():
            self.state.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.state / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            # The kernel drops this lock when the process ends, however it ends.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise InputError(
                f"OUTPUT {self.address()} is in use by another run; wait for it or choose another"
            ) from error
        with self.writing():
            self.images.mkdir(exist_ok=True)
            self._staging.mkdir(exist_ok=True)
            remove_leftovers(self._staging)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def address(self, name: str = "") -> str:
        """Return where a result lies, or all of them do, for people."""
        return self.place.address(name)

    @property
    def ignores_case(self) -> bool:
        """Whether two names that differ only in case are one file here."""
        return (self.state / "LOCK").exists()

    def check_names(self, names: Iterable[str]) -> None:
        """Refuse names that pictures cannot be released under here.

        Raises:
            InputError: There are such.
        """
        if self.ignores_case:
            check_collisions(Found(self.image(name), name) for name in names)

    def clear(self) -> None:
        """Remove every result of earlier runs; the ledger last, as it says whose folder this is."""
        with self.writing():
            self.remove_documents()
            for folder in ("images", SIDES, HELD, *MAPS):
                self.place.remove_below(folder)
            self.images.mkdir(exist_ok=True)
            (self.path / LEDGER).unlink(missing_ok=True)

    def refuse_strays(self, known: set[str]) -> None:
        """Refuse to go on while ``images`` or maps are there that no run wrote: they would pass for verified ones.

        Raises:
            InputError: There are such files.
        """
        strays = sorted(name for name in self.pictures() if name not in known and not is_label_copy(f"images/{name}"))
        mapped = {map_name(kind, name) for name in known for kind in MAPS}
        extra = sorted(name for name in self.maps() if name not in mapped)
        if extra:
            raise InputError(
                f"{self.address()} holds {len(extra)} maps that belong to no recorded picture, e.g. {extra[0]}; move "
                "them away or run with overwrite"
            )
        if strays:
            raise InputError(
                f"{self.address('images')} holds {len(strays)} files that no recorded run released, e.g. {strays[0]}; "
                "move them away or run with overwrite"
            )

    def pictures(self) -> Iterator[str]:
        """Yield the name of everything that lies in ``images``."""
        return (name.removeprefix("images/") for name in self.place.below("images"))

    def maps(self) -> Iterator[str]:
        """Yield the name relative to OUTPUT of everything that lies in the folders of maps."""
        return (name for kind in MAPS for name in self.place.below(kind))

    def image(self, name: str) -> Path:
        """Return where a released picture lies."""
        return self.images / name

    def held(self, name: str = "") -> Path:
        """Return where a picture lies that a review holds back, or all of them do."""
        return self.path / HELD / name

    def hold(self, name: str) -> None:
        """Take a released picture out of ``images``; it stays apart for reviewers to see."""
        with self.writing():
            self.held(name).parent.mkdir(parents=True, exist_ok=True)
            self.image(name).replace(self.held(name))

    def put_back(self, name: str, sha256: str) -> None:
        """Release a picture again that was held back, if it is still the one with this hex digest."""
        held = self.held(name)
        with self.writing():
            if not held.is_symlink() and hashlib.sha256(held.read_bytes()).hexdigest() == sha256:
                self.image(name).parent.mkdir(parents=True, exist_ok=True)
                held.replace(self.image(name))

    def has_picture(self, name: str) -> bool:
        """Return whether something lies under the name of a released picture."""
        return self.place.is_file(f"images/{name}") is not None

    def read_picture(self, name: str) -> bytes | None:
        """Return a released picture's content, None if it is no longer there."""
        return self.read_map(f"images/{name}")

    def read_map(self, name: str) -> bytes | None:
        """Return the content of a map by its name relative to OUTPUT, None if it is no longer there."""
        with self.writing():
            return self.place.read(name)

    @contextmanager
    def shown(self, names: Sequence[str]) -> Iterator[Path]:
        """Give a folder in which these released pictures lie, to be shown in the report."""
        yield self.images

    def remove_picture(self, name: str, *released: str) -> None:
        """Remove what an earlier run released of a picture, under whatever name, before it is decided anew."""
        with self.writing():
            for target in released:
                for place in (f"images/{target}", f"{HELD}/{target}", *(map_name(kind, target) for kind in MAPS)):
                    self.place.remove(place)
            self.place.remove(self.side(name))
            side_path(self.state, name).unlink(missing_ok=True)

    def remove_documents(self) -> None:
        """Remove the closing documents: they stand for a finished run."""
        for name in (SEAL, *DOCUMENTS):
            self.place.remove(name)
        for folder in (ANNOTATIONS, LABELS):
            self.place.remove_below(folder)
        for name in self.place.below("images"):
            if is_label_copy(name):
                self.place.remove(name)

    def release(
        self, name: str, released: str, data: bytes, side: dict[str, Any], maps: Mapping[str, bytes] | None = None
    ) -> None:
        """Write a verified picture, under the name it is released by, and its annotations, each whole or not at all.

        Args:
            name: The picture's recorded name.
            released: Relative name that it is released under.
            data: The picture.
            side: What annotations say of it.
            maps: Maps of it by their name relative to OUTPUT.
        """
        with self.writing():
            for target, content in (maps or {}).items():
                self.place.put(target, content)
            self.place.put(f"images/{released}", data)
        self.write(side_path(self.state, name), to_json(side))

    def recorded(self) -> None:
        """Take note that the ledger has a new line."""

    def finish(
        self, documents: Iterable[tuple[str, Iterable[bytes]]], ledger: Ledger, reviews: Reviews | None = None
    ) -> None:
        """Write the closing documents and the seal, which holds their hashes and the head of the ledger's chain.

        Args:
            documents: Relative name and content of each, the content in parts.
            ledger: The finished ledger.
            reviews: Decisions of reviewers, where there are any.
        """
        hashes = {}
        for name, parts in documents:
            digest = hashlib.sha256()
            self.write(self.path / name, _hashed(parts, digest))
            hashes[name] = digest.hexdigest()
        seal: dict[str, Any] = {"ledger": {"lines": ledger.lines, "head": ledger.head}, "documents": hashes}
        if reviews is not None and reviews.lines:
            seal["review"] = reviews.seal
        self.write(self.path / SEAL, to_json(seal) + b"\n")

    def seal_review(self, reviews: Reviews) -> None:
        """Have the seal vouch for decisions made since; where there is none, the next run makes one.

        Raises:
            InputError: The seal is none.
        """
        path = self.path / SEAL
        if not path.exists():
            return
        try:
            seal = json.loads(path.read_bytes())
            seal["review"] = reviews.seal
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(f"{path}: is no seal; run anonymizer verify on the folder") from error
        self.write(path, to_json(seal) + b"\n")

    def side(self, name: str) -> str:
        """Return the name relative to OUTPUT of the annotations of a released picture."""
        return f"{SIDES}/{side_path(self.state, name).name}"

    def has_side(self, name: str) -> bool:
        """Return whether the annotations of a released picture are there."""
        return side_path(self.state, name).is_file()

    def write(self, path: Path, data: bytes | Iterable[bytes]) -> None:
        """Write one file, whole or not at all; it is unfinished outside of ``images``."""
        with self.writing():
            write_atomic(path, data, staging=self._staging)

    @property
    def staging(self) -> Path:
        """Folder for unfinished files, on the same file system."""
        return self._staging

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn what stops a run from writing into a message that says how to go on.

        Raises:
            InputError: The disk is full, or OUTPUT cannot be written.
        """
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            remedy = "free space" if full else self.remedy
            raise InputError(
                f"OUTPUT {self.address()}: cannot write ({error.strerror or error}); {remedy} and run the same command "
                "again, finished pictures are kept"
            ) from error


def _hashed(parts: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for part in parts:
        digest.update(part)
        yield part


def is_label_copy(name: str) -> bool:
    """Return whether a name relative to OUTPUT is that of YOLO labels at the place where training tools look."""
    path = PurePosixPath(name)
    beside = path.parts[0] == LABELS
    return path.suffix == ".txt" and (beside or (path.parts[0] == "images" and LABELS in path.parts[1:-1]))


def hold_back(folder: OutputFolder, record: Record, reviews: Reviews) -> None:
    """Move a picture to where its decisions say: out of ``images`` while they ask for anything that is not done.

    Args:
        folder: OUTPUT, held by the caller.
        record: Its newest line of the ledger.
        reviews: All decisions.
    """
    if record["status"] != "released":
        return
    name = record["released_name"]
    if not opened(record, reviews[record["name"]]):
        if folder.held(name).exists():
            folder.put_back(name, record["output_sha256"])
    elif folder.has_picture(name):
        folder.hold(name)


def is_output(path: Path) -> bool:
    """Return whether a folder is the OUTPUT of a run, finished or not, or of a dry run."""
    return (path / "ledger.jsonl").is_file() or (path / ".state").is_dir() or (path / DRY_RUN).is_dir()
