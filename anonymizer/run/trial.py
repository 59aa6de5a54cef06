"""Trial of a run: what would be found, how long it would take, and how a few pictures would look; nothing is released.

A dry run detects on every picture and writes ``OUTPUT/dry-run`` and nothing else. A preview anonymizes a few pictures,
evenly spaced, and lays them beside their originals on one sheet, outside of INPUT and OUTPUT.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from anonymizer.annotations.areas import Areas
from anonymizer.annotations.reading import annotations_at
from anonymizer.annotations.records import Annotations
from anonymizer.core.errors import InputError
from anonymizer.core.files import to_json, write_atomic
from anonymizer.core.records import CLASSES
from anonymizer.images.decode import decode_image, read_bytes
from anonymizer.images.release import KEY_BYTES, Release
from anonymizer.images.storage import locate
from anonymizer.run.inputs import Found, Inputs, find_inputs
from anonymizer.run.output import DRY_RUN, is_output
from anonymizer.run.picture import Outcome
from anonymizer.run.report import printable
from anonymizer.run.request import Executor, Request, Task
from anonymizer.run.runner import check_scaling, held_back
from anonymizer.run.summary import Progress

__all__ = ["MOST", "SUFFIXES", "WARNING", "Pair", "Trial", "check_preview", "draw_sheet", "evenly", "trial"]

#: Pictures that a dry run anonymizes, and forgets, to learn how long one takes.
TIMED = 3
#: Most pictures of a preview: a sheet of them is still one that can be opened.
MOST = 50
#: Suffixes of a sheet, with Pillow's name of the format.
SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
WARNING = "HOLDS ORIGINALS: not anonymized, not for release"
#: Longer side of a picture on the sheet, in pixels: a face of 40 pixels in a picture of 4000 is still one of 8.
SIDE = 800
#: Pixels around pictures, height of a line of text, height of the warning.
GAP, LINE, HEAD = 16, 26, 56
#: Colours of ground, text, warning.
GROUND, INK, RED = (245, 243, 238), (30, 30, 30), (170, 25, 25)


@dataclass(frozen=True, slots=True)
class Trial:
    """Findings of a trial.

    Args:
        pictures: Pictures in INPUT.
        looked_at: On how many of them was detected.
        failed: Reason by picture that could not be read.
        held: Pictures that a run would hold back for what the annotations say of them.
        found: Instances that would be anonymized, by class.
        excluded: Instances in areas that are left out, by class.
        consented: Instances who agreed to be shown, by class.
        with_instances: Pictures with at least one that would be anonymized.
        seconds: Estimated seconds of the whole run with these settings; None where nothing says.
        sampled: Names of the pictures that were anonymized for it or for the preview, by what became of each.
        paths: Where the results lie.
    """

    pictures: int
    looked_at: int
    failed: Mapping[str, str]
    held: tuple[str, ...]
    found: Mapping[str, int]
    excluded: Mapping[str, int]
    consented: Mapping[str, int]
    with_instances: int
    seconds: float | None
    sampled: Mapping[str, str]
    paths: Mapping[str, str]

    @property
    def withheld(self) -> bool:
        """Whether some pictures cannot be read, or a run would not release them."""
        return bool(self.failed or self.held) or any(status != "released" for status in self.sampled.values())

    def to_json(self) -> str:
        """Return the findings as one line of JSON."""
        return json.dumps({"trial": True, **asdict(self)})


def trial(
    executor: Executor,
    request: Request,
    on_progress: Callable[[Progress], None] | None = None,
    *,
    dry_run: bool = True,
    preview: int = 0,
    sheet: Path | None = None,
    workers: int = 1,
) -> Trial:
    """Try a run without releasing anything.

    Args:
        executor: Detects and anonymizes.
        request: What the run to come will be asked. A dry run writes into the folder ``dry-run`` of its OUTPUT and
            nowhere else, a preview alone writes nothing there.
        on_progress: Called after each picture.
        dry_run: Whether to detect on every picture.
        preview: Pictures to anonymize and show beside their originals; 0: none.
        sheet: Where to write these, a ``.jpg`` or ``.png`` outside of INPUT and OUTPUT.
        workers: Pictures that the executor works on at once, for the estimate.

    Raises:
        InputError: Input, output, annotations or sheet cannot be used.
        ModelError: The models cannot be used.
    """
    if isinstance(request.annotations, str | Path):
        with annotations_at(request.annotations) as given:
            asked = replace(request, annotations=given)
            options: dict[str, Any] = {"dry_run": dry_run, "preview": preview, "sheet": sheet, "workers": workers}
            return trial(executor, asked, on_progress, **options)
    output, areas = request.output, request.areas
    inputs = find_inputs(request.source, output)
    check_scaling(request.release, request.annotations)
    areas.check(file.name for file in inputs.files)
    target = sheet if preview else None
    if preview:
        check_preview(preview, sheet, inputs, output)
    if dry_run:
        _check_output(output)
    held: Mapping[str, str] = {}
    annotations = request.annotations
    if annotations is not None:
        annotations = annotations.placed(file.name for file in inputs.files)
        held = held_back(annotations, request.require_annotations)
    chosen = request.release
    if chosen.keyed:  # Of this trial alone: a run draws one for each OUTPUT.
        chosen = replace(chosen, key=os.urandom(KEY_BYTES))
    files = [file for file in inputs.files if file.name not in held]
    work = _Work(executor, annotations, chosen, areas, on_progress)
    paths: dict[str, str] = {}
    if dry_run:
        paths |= work.look(files, Path(output), len(files) + (preview or TIMED))
        files = [file for file in files if work.counts.get(file.name)]
    samples = evenly(files, preview or TIMED)
    pairs, took = work.anonymize(samples, show=target is not None)
    if target is not None:
        write_atomic(target, draw_sheet(pairs, target.suffix.lower()))
        paths["preview"] = str(target)
    return Trial(
        pictures=len(inputs.files),
        looked_at=len(work.counts),
        failed=work.failed,
        held=tuple(held),
        found=dict(sorted(work.found.items())),
        excluded=dict(sorted(work.left["excluded"].items())),
        consented=dict(sorted(work.left["consented"].items())),
        with_instances=sum(count > 0 for count in work.counts.values()),
        seconds=work.estimate(samples, took, workers) if dry_run else None,
        sampled={pair.name: pair.status for pair in pairs},
        paths=paths,
    )


def evenly(files: Sequence[Found], count: int) -> list[Found]:
    """Return so many of some pictures at even distances, the middle of each stretch; all where there are no more."""
    if count >= len(files):
        return list(files)
    return [files[(2 * n + 1) * len(files) // (2 * count)] for n in range(count)]


def check_preview(count: int, sheet: Path | None, inputs: Inputs, output: Path | str) -> None:
    """Refuse a preview that nobody asked for in full, or a sheet where it may be released by mistake.

    Raises:
        InputError: It is.
    """
    if not 1 <= count <= MOST:
        raise InputError(f"preview: expected 1 to {MOST} pictures, got {count}")
    if sheet is None or sheet.suffix.lower() not in SUFFIXES:
        got = "none" if sheet is None else str(sheet)
        raise InputError(f"preview sheet: expected the path of a {' or '.join(SUFFIXES)} file, got {got}")
    place, target = sheet.resolve(), locate(output)
    if isinstance(target, Path) and place.is_relative_to(target.resolve()):
        raise InputError(f"preview sheet {sheet} lies in OUTPUT {output} and holds originals; choose another place")
    if any(isinstance(f.path, Path) and place == f.path.resolve() for f in inputs.files):
        raise InputError(f"preview sheet {sheet} is a picture of INPUT; choose another place")
    if not place.parent.is_dir():
        raise InputError(f"preview sheet {sheet}: its folder does not exist; make it or choose another place")


def _check_output(output: Path | str) -> None:
    place = locate(output)
    if not isinstance(place, Path):
        raise InputError(f"OUTPUT {output}: a dry run writes into a folder on this machine, got a URL; give a folder")
    if place.exists() and not place.is_dir():
        raise InputError(f"OUTPUT {place} is a file, expected a folder; choose another path")
    if place.is_dir() and any(place.iterdir()) and not is_output(place):
        raise InputError(f"OUTPUT {place} holds other files; choose a new or empty folder")


@dataclass(slots=True, eq=False)
class _Work:
    """Sends pictures to the executor and gathers what comes of them."""

    executor: Executor
    annotations: Annotations | None
    release: Release
    areas: Areas
    on_progress: Callable[[Progress], None] | None
    counts: dict[str, int] = field(default_factory=dict)
    found: Counter[str] = field(default_factory=Counter)
    left: dict[str, Counter[str]] = field(default_factory=lambda: {"excluded": Counter(), "consented": Counter()})
    failed: dict[str, str] = field(default_factory=dict)
    #: Seconds that reading and detection took, by picture.
    taken: dict[str, float] = field(default_factory=dict)
    done: int = 0
    total: int = 0

    def look(self, files: Sequence[Found], output: Path, total: int) -> dict[str, str]:
        """Detect on pictures and write what was found as COCO annotations; return the paths."""
        self.total = total
        images: list[dict[str, Any]] = []
        with tempfile.TemporaryFile() as spooled:
            number = 0
            for task, outcome in self.executor.results(self._tasks(files, dry_run=True)):
                if outcome.side is None:
                    self.failed[task.name] = outcome.record["reason"]
                    self._tell(task.name, "failed", outcome.record["reason"])
                    continue
                height, width = outcome.record["size"]
                image = {"id": len(images) + 1, "file_name": task.name, "width": width, "height": height}
                images.append(image)
                records = outcome.side["instances"]
                for record in records:
                    number += 1
                    label = record.pop("category")
                    ids = {"id": number, "image_id": image["id"], "category_id": CLASSES.index(label) + 1}
                    self.found[label] += 1
                    spooled.write(to_json(ids | record) + b"\n")
                for kind, labels in self.left.items():
                    labels.update(record["label"] for record in outcome.record.get(kind, ()))
                self.counts[task.name] = len(records)
                self.taken[task.name] = sum(outcome.record["timings_s"].values())
                self._tell(task.name, f"{len(records)} found")
            place = output / DRY_RUN / "annotations.json"
            write_atomic(place, _coco(images, spooled))
        return {"annotations": str(place)}

    def anonymize(self, files: Sequence[Found], *, show: bool) -> tuple[list[Pair], float]:
        """Anonymize pictures, keeping of them what a sheet shows; return these in order and the seconds it took."""
        self.total = max(self.total, self.done + len(files))
        started = time.monotonic()
        pairs: dict[str, Pair] = {}
        for task, outcome in self.executor.results(self._tasks(files)):
            pairs[task.name] = Pair.of(task.name, task.content, outcome, show=show)
            self._tell(task.name, outcome.record["status"], str(outcome.record.get("reason", "")))
        took = time.monotonic() - started
        return [pairs[file.name] for file in files if file.name in pairs], took

    def estimate(self, samples: Sequence[Found], took: float, workers: int) -> float | None:
        """Return the seconds of a whole run: detection twice on every picture, and so much for each instance.

        Args:
            samples: Pictures with instances that were anonymized.
            took: Seconds that took.
            workers: Pictures worked on at once.
        """
        detection = 2 * sum(self.taken.values()) / workers
        instances = sum(self.counts.values())
        if not instances:
            return round(detection, 1) if self.taken else None
        sampled = sum(self.counts[file.name] for file in samples)
        twice = 2 * sum(self.taken[file.name] for file in samples)
        alongside = max(min(workers, len(samples)), 1)
        each = max(took * alongside - twice, 0.0) / sampled
        return round(detection + each * instances / workers, 1)

    def _tasks(self, files: Sequence[Found], *, dry_run: bool = False) -> Iterator[Task]:
        for file in files:
            try:
                content = read_bytes(file.path)
            except InputError as error:
                self.failed[file.name] = str(error)
                self._tell(file.name, "failed", str(error))
                continue
            given = None if self.annotations is None else self.annotations.only(file.name)
            sha256, areas = hashlib.sha256(content).hexdigest(), self.areas.of(file.name)
            yield Task(file.name, content, given, sha256, None, self.release, dry_run=dry_run, areas=areas)

    def _tell(self, name: str, status: str, reason: str = "") -> None:
        self.done += 1
        if self.on_progress is not None:
            self.on_progress(Progress(self.done, max(self.total, self.done), name, status, False, reason))


def _coco(images: Sequence[Mapping[str, Any]], lines: IO[bytes]) -> Iterator[bytes]:
    """Yield a COCO document whose annotations lie one on a line in a file."""
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    info = {"description": "dry run: what would be anonymized; positions of people, not for release"}
    head = {"info": info, "licenses": [], "categories": categories, "images": images}
    yield to_json(head)[:-1] + b', "annotations": ['
    lines.seek(0)
    for number, line in enumerate(lines):
        yield (b",\n" if number else b"\n") + line.rstrip(b"\n")
    yield b"\n]}\n"


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One picture of a preview.

    Args:
        name: Its relative name.
        status: What became of it.
        reason: Why it would be held back.
        before: The original, reduced, RGB uint8 (h, w, 3); None where it cannot be read or is not to be shown.
        after: What would be released, reduced; None where nothing would.
    """

    name: str
    status: str
    reason: str
    before: NDArray[np.uint8] | None
    after: NDArray[np.uint8] | None

    @classmethod
    def of(cls, name: str, content: bytes, outcome: Outcome, *, show: bool) -> Pair:
        """Make the pair of a picture's file and what became of it.

        Args:
            name: Relative name.
            content: Content of the original's file.
            outcome: What became of it.
            show: Whether pictures are kept at all.
        """
        status, reason = outcome.record["status"], str(outcome.record.get("reason", ""))
        if not show:
            return cls(name, status, reason, None, None)
        after = None if outcome.data is None else _reduced(outcome.data, name)
        return cls(name, status, reason, _reduced(content, name), after)


def draw_sheet(pairs: Sequence[Pair], suffix: str) -> bytes:
    """Return the sheet as a file: a row for each picture, the original at the left.

    Args:
        pairs: The pictures.
        suffix: One of ``SUFFIXES``.
    """
    rows = [max((p.shape[0] for p in (pair.before, pair.after) if p is not None), default=4 * LINE) for pair in pairs]
    width = 2 * SIDE + 3 * GAP
    height = HEAD + GAP + sum(row + LINE + GAP for row in rows)
    sheet = Image.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(28), ImageFont.load_default(18)
    draw.rectangle((0, 0, width, HEAD), RED)
    draw.text((GAP, HEAD // 2), WARNING, "white", large, anchor="lm")
    top = HEAD + GAP
    for pair, row in zip(pairs, rows, strict=True):
        draw.text((GAP, top + LINE // 2), f"{_plain(pair.name)}, original", INK, small, anchor="lm")
        draw.text((2 * GAP + SIDE, top + LINE // 2), pair.status, INK, small, anchor="lm")
        top += LINE
        for left, pixels, lacking in ((GAP, pair.before, "cannot be read"), (2 * GAP + SIDE, pair.after, pair.reason)):
            if pixels is None:
                draw.multiline_text((left, top + LINE), _wrapped(lacking), RED, small)
            else:
                sheet.paste(Image.fromarray(pixels), (left, top))
        top += row + GAP
    buffer = io.BytesIO()
    options = {"quality": 92} if SUFFIXES[suffix] == "JPEG" else {}
    sheet.save(buffer, SUFFIXES[suffix], **options)
    return buffer.getvalue()


def _reduced(content: bytes, name: str) -> NDArray[np.uint8] | None:
    try:
        picture = Image.fromarray(decode_image(content, name).pixels)
    except InputError:
        return None  # The sheet says so in its place.
    picture.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(picture)


def _plain(text: str) -> str:
    """Return a text as the font has it: it knows no more than Latin letters."""
    return printable(text).encode("latin-1", "backslashreplace").decode("latin-1")


def _wrapped(text: str, columns: int = 80) -> str:
    plain = _plain(text)
    return "\n".join(plain[at : at + columns] for at in range(0, len(plain), columns))
