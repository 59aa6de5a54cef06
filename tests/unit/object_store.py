"""A store on the disk for tests: a local fsspec file system whose files appear whole, as objects do, and can fail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from anonymizer.images import storage


class ObjectFolder(LocalFileSystem):
    """Objects below a folder: written whole, and never over one another where that is asked for."""

    protocol = "objects"
    #: Writes and removals so far, and what happens at one of them: (number, error, whether it was done before).
    count: ClassVar[int] = 0
    fault: ClassVar[tuple[int, BaseException, bool] | None] = None
    #: Names of what was written, in order.
    written: ClassVar[list[str]] = []

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(item) for item in path]
        return "/" + str(path).removeprefix("objects://").strip("/")

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        for _moment in self._change(path):
            self.written.append(path)
            if mode == "create":
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                with open(path, "xb") as file:  # noqa: PTH123
                    file.write(value)
            else:
                unfinished = Path(path.partition("/bucket/")[0], "unfinished")
                unfinished.write_bytes(value)
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                unfinished.replace(path)

    def put_file(self, lpath: str, rpath: str, *_: Any, **__: Any) -> None:
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def rm_file(self, path: str) -> None:
        for _moment in self._change(path):
            os.unlink(path)  # noqa: PTH108

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        for name in self.find(path):
            self.rm_file(name)

    def _change(self, path: str) -> Iterator[None]:
        ObjectFolder.count += 1
        at, error, done = self.fault or (0, OSError(), False)
        if self.count == at and not done:
            raise error
        yield
        if self.count == at:
            raise error

    @classmethod
    def fail(cls, at: int, error: BaseException, *, done: bool = False) -> None:
        """Fail at a change to come, counted from 1; ``done``: after it was made, as when the answer is lost."""
        cls.count, cls.fault = 0, (at, error, done)

    @classmethod
    def heal(cls) -> None:
        cls.count, cls.fault = 0, None
        cls.written.clear()


def register() -> None:
    """Make ``objects://`` known, and known for whole objects."""
    fsspec.register_implementation("objects", ObjectFolder, clobber=True)
    storage.WHOLE.add("objects")
    ObjectFolder.heal()


def contents(url: str) -> dict[str, bytes]:
    """Return every object below a URL."""
    store = storage.Store(url)
    return {name: store.read(name) for name in store.sizes()}


@pytest.fixture
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of an empty store, with a cache of its own for local folders."""
    register()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield f"objects://{tmp_path}/bucket"
    ObjectFolder.heal()
    storage.WHOLE.discard("objects")
