"""OUTPUT in object storage: results as whole objects, what cannot be done there in a folder on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from anonymizer.core.errors import InputError
from anonymizer.core.files import to_json, write_atomic
from anonymizer.images.release import KEY_BYTES
from anonymizer.images.storage import Store, check_name
from anonymizer.models.weights import cache_root
from anonymizer.run.decisions import REVIEW, Reviews
from anonymizer.run.ledger import Ledger
from anonymizer.run.output import ANNOTATIONS, DOCUMENTS, LABELS, LEDGER, SEAL, SIDES, OutputFolder
from anonymizer.run.place import FolderPlace, StorePlace, place_at

__all__ = ["CHECKPOINT_S", "StoredOutput", "open_output"]

#: Least seconds between two copies of an unfinished ledger into the store.
CHECKPOINT_S = 30.0
#: They take at most this share of a run's time, however long the ledger.
_SHARE = 0.05

_LOCK = ".state/lock.json"
_KEY = ".state/rename.key"
_SIDE = re.compile(rf"{re.escape(SIDES)}/[0-9a-f]{{64}}\.json")
#: Most bytes read of lock and key.
_MOST = 4096


def open_output(output: Path | str) -> OutputFolder:
    """Return the OUTPUT that a path or a URL names.

    Raises:
        InputError: A URL that results cannot be written to.
    """
    place = place_at(output, writing=True)
    return StoredOutput(place.store) if isinstance(place, StorePlace) else OutputFolder(place.path)


class StoredOutput(OutputFolder):
    """An OUTPUT in object storage, held by one run at a time; use it as a context manager.

    Objects appear whole. Of each released picture, first the picture and then its annotations are written to the
    store, then its line to a local ledger. The store gets a copy of the ledger every half minute or so, and at the
    end ledger, documents and seal, in this order. So, whenever the run is killed, only whole verified pictures are in
    the store. The next run on this machine goes on from the local ledger; one elsewhere from the last copy, and makes
    the pictures anew that this one does not know.

    The local folder lies in the user's cache. It holds no pictures and may be removed whenever no run works.

    An object stands for the lock. Nothing drops it when a run is killed: the next run from the same local folder takes
    it over, any other is refused until a person removes it.

    Args:
        store: Where results go.
        work: The local folder; one of the user's cache, named by the URL's hash, if None.

    Raises:
        InputError: The store cannot be used, holds something else, or another run works there.
    """

    remedy = "check the connection, the credentials and the permissions"

    def __init__(self, store: Store, work: Path | None = None) -> None:
        self._store = store
        self._objects = StorePlace(store)
        named = hashlib.sha256(store.url.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        super().__init__(work or cache_root().parent / "outputs" / named, self._objects)
        self._local = FolderPlace(self.path)
        self._owner = ""
        self._held = False
        self._due = 0.0

    def __enter__(self) -> StoredOutput:
        with self.writing():
            taken, top = self._store.size() is not None, self._store.top()
        if taken:
            raise InputError(f"OUTPUT {self._store} is an object, expected a folder; choose another URL")
        if top and LEDGER not in top and ".state" not in top:
            raise InputError(f"OUTPUT {self._store} holds other objects; choose a new or empty folder")
        with self.writing():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        super().__enter__()
        try:
            with self.writing():
                self._hold()
                # Only now: whoever held it before may have written until then.
                self._objects.refresh()
                self._fetch()
                self._due = time.monotonic() + CHECKPOINT_S
                if not self.place.is_file(LEDGER):
                    self._copy_ledger()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # One that stays because the connection is lost is ours, and the next run here takes it over.
            with suppress(OSError):
                if self._held:
                    self._store.remove(_LOCK)
        finally:
            self._held = False
            super().__exit__(kind, error, trace)

    @property
    def ignores_case(self) -> bool:
        """Whether two names that differ only in case are one object."""
        return False

    def check_names(self, names: Iterable[str]) -> None:
        """Refuse names that objects cannot have; see ``storage.check_name``."""
        for name in names:
            check_name(name)

    def clear(self) -> None:
        """Remove every result of earlier runs; an empty ledger says whose folder this is."""
        with self.writing():
            self._local.remove_below(SIDES)
        super().clear()
        with self.writing():
            self._copy_ledger()

    @contextmanager
    def shown(self, names: Sequence[str]) -> Iterator[Path]:
        """Give a folder in which these released pictures lie, to be shown in the report."""
        folder = self.staging / "shown"
        try:
            with self.writing():
                for name in names:
                    write_atomic(folder / name, self._store.read(f"images/{name}"), staging=self.staging)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def remove_documents(self) -> None:
        """Remove the closing documents: they stand for a finished run."""
        super().remove_documents()
        for name in (SEAL, *DOCUMENTS):
            self._local.remove(name)
        for folder in (ANNOTATIONS, LABELS):
            self._local.remove_below(folder)

    def release(
        self, name: str, released: str, data: bytes, side: dict[str, Any], maps: Mapping[str, bytes] | None = None
    ) -> None:
        """Write a verified picture, under the name it is released by, and its annotations, each whole or not at all."""
        with self.writing():
            if (self.path / _KEY).exists() and not self.place.is_file(_KEY):
                # Whoever goes on elsewhere must give the same names.
                self._objects.put(_KEY, self.path / _KEY)
        super().release(name, released, data, side, maps)
        with self.writing():
            self.place.put(self.side(name), to_json(side))

    def recorded(self) -> None:
        """Copy the ledger into the store from time to time."""
        if time.monotonic() >= self._due:
            with self.writing():
                self._copy_ledger()

    def finish(
        self, documents: Iterable[tuple[str, Iterable[bytes]]], ledger: Ledger, reviews: Reviews | None = None
    ) -> None:
        """Write ledger, closing documents and seal to the store, in this order."""
        super().finish(documents, ledger, reviews)
        names = json.loads((self.path / SEAL).read_bytes())["documents"]
        with self.writing():
            self._copy_ledger()
            for name in names:
                self._objects.put(name, self.path / name)
            self._check_held()
            self._objects.put(SEAL, self.path / SEAL)

    @property
    def _copied(self) -> Path:
        """File with the hex sha256 of the ledger that was last in the store as far as this folder knows."""
        return self.state / "copied"

    def _hold(self) -> None:
        mine = self.state / "owner"
        if not mine.exists():
            write_atomic(mine, secrets.token_hex(16).encode(), staging=self.staging)
        self._owner = mine.read_text(encoding="ascii")
        lock = {"owner": self._owner, "host": platform.node(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
        if not self._store.create(_LOCK, to_json(lock)):
            other = self._read_lock()
            if other.get("owner") != self._owner:
                raise InputError(
                    f"OUTPUT {self._store} is in use by a run on {other.get('host')!a} since {other.get('since')!a}; "
                    f"wait for it or choose another. If that run is no more, remove {self.address(_LOCK)} and run the "
                    "same command again"
                )
        self._held = True

    def _check_held(self) -> None:
        """Stop before anything is written over what another run wrote."""
        if self._read_lock().get("owner") != self._owner:
            self._held = False
            raise InputError(
                f"OUTPUT {self._store}: {_LOCK} was removed or taken over while this run was at work; end whatever "
                "else writes there and run the same command again, finished pictures are kept"
            )

    def _read_lock(self) -> dict[str, Any]:
        try:
            lock = json.loads(self._store.read(_LOCK, _MOST))
        except (FileNotFoundError, ValueError):
            return {}
        return lock if isinstance(lock, dict) else {}

    def _fetch(self) -> None:
        """Take ledger, annotations and key from the store, where they are not those that this folder left there."""
        if self.place.is_file(REVIEW):
            raise InputError(
                f"{self.address(REVIEW)}: decisions of a review are followed in folders on this machine only; copy "
                "OUTPUT here and run there"
            )
        if self.place.is_file(_KEY):
            key = self._store.read(_KEY, _MOST)
            if len(key) != KEY_BYTES:
                raise InputError(
                    f"{self.address(_KEY)}: expected a key of {KEY_BYTES} bytes, got {len(key)}; remove it and run "
                    "again with overwrite"
                )
            _write_private(self.path / _KEY, key)
        fetched, digest = self.staging / LEDGER, ""
        if self.place.is_file(LEDGER):
            self._store.fetch(LEDGER, fetched)
            digest = _digest(fetched)
        if digest == (self._copied.read_text(encoding="ascii") if self._copied.exists() else ""):
            # Nobody else worked there since: the local ledger is the same or ahead.
            return
        self._local.remove(LEDGER)
        self._local.remove_below(SIDES)
        if not digest:
            self._copied.unlink()
            return
        names = [name for name in self.place.below(SIDES) if _SIDE.fullmatch(name)]
        for name, content in self._store.read_all(names):
            self._local.put(name, content)
        fetched.replace(self.path / LEDGER)
        write_atomic(self._copied, digest.encode(), staging=self.staging)

    def _copy_ledger(self) -> None:
        """Write the local ledger to the store, if only an empty one: it says whose folder that is."""
        self._check_held()
        started = time.monotonic()
        ledger = self.path / LEDGER
        ledger.touch()
        self._objects.put(LEDGER, ledger)
        write_atomic(self._copied, _digest(ledger).encode(), staging=self.staging)
        ended = time.monotonic()
        self._due = ended + max(CHECKPOINT_S, (ended - started) / _SHARE)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_private(path: Path, data: bytes) -> None:
    """Write a secret: whole in the end, and never readable by others."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
