"""Request: what a run was asked, the tasks it falls into, and whoever takes those to their outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from anonymizer.annotations.areas import Areas
from anonymizer.annotations.records import Annotations
from anonymizer.images.release import Release
from anonymizer.run.decisions import Instructions
from anonymizer.run.inputs import Source
from anonymizer.run.picture import Outcome

__all__ = ["Executor", "Request", "Task"]


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What a run was asked: pictures from a file, a folder, a glob pattern or several, into an OUTPUT.

    INPUT and OUTPUT may be URLs of object storage, which the process that runs alone reads and writes.

    Args:
        source: What to anonymize; never modified.
        output: Where results go: a new folder, an empty one, or one of an earlier run.
        annotations: Instances to use as given, see ``annotations.reading``; what is found besides is added.
        release: Format, metadata and names of what is released; as in the source by itself.
        areas: Areas of pictures that are left as they are, or to which the run is limited.
        require_annotations: Hold back pictures of which the annotations know nothing.
        overwrite: Remove the results of earlier runs first.
        prune: Withdraw pictures that INPUT no longer holds; otherwise they stay in OUTPUT and are named.
    """

    source: Source
    output: Path | str
    annotations: Path | str | Annotations | None = None
    release: Release = field(default_factory=Release)
    areas: Areas = field(default_factory=Areas)
    require_annotations: bool = False
    overwrite: bool = False
    prune: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A picture to anonymize.

    Args:
        name: Relative name.
        content: The file's content.
        annotations: What is given about this picture, or None.
        input_sha256: Hex digest of ``content``.
        annotations_sha256: Hex digest of what is given about it, or None.
        release: How it is released.
        instructions: What reviewers ask for.
        dry_run: Whether it is only looked for what would be anonymized.
        areas: What of it is left out.
    """

    name: str
    content: bytes
    annotations: Annotations | None
    input_sha256: str
    annotations_sha256: str | None
    release: Release = field(default_factory=Release)
    instructions: Instructions = field(default_factory=Instructions)
    dry_run: bool = False
    areas: Areas = field(default_factory=Areas)


class Executor(Protocol):
    """Takes pictures to their outcomes, somewhere."""

    @property
    def settings_hash(self) -> str:
        """Hex digest of every setting and weight that decides the pixels."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return preset, models with hashes, and versions as plain JSON data, without seeds."""
        ...

    def results(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Yield each task once with its outcome, in any order; a bounded number of tasks is taken ahead.

        Raises:
            ModelError: The models cannot be used.
        """
        ...
