"""Ablation of the diffusion core: each part of the way from a person to its redraw left out alone.

    python benchmarks/ablation.py --data DATA --judges JUDGES --out DIR --cache CACHE [--full] [--pack NAME]...
                                  [--only NAME]...

Every variant draws the persons of the quick part of the avatar benchmark's list (``--full``: of all of it) with the
same seed and is measured as in ``avatars.py``. Measured is what was drawn first: verification, which would draw those
anew or fill them who fail, is left out, so that a variant shows what the inpainter does. The difference in kernel
distance to the whole way has an interval by bootstrap over the pictures that both share. ``DIR`` gets a folder for each
variant and ``ablation.md``. A variant that the preset cannot run is named with the error. ``CACHE`` keeps what variants
share: finds, what judges say of originals, fills and avatars; delete it when the code has changed.

==============  ========================================================================================================
variant         left out
==============  ========================================================================================================
whole           nothing
no rendering    the start: denoising begins with pure noise, held by the avatar's depth and edges
no depth        the depth ControlNet
no edges        the edge ControlNet
no text         the words of the prompt
no fill         the fill under the avatars: a mean colour of the surroundings is there instead
no light        the light estimated from the scene: every avatar is lit the same, without noise matched to the picture
no denoising    the diffusion core: the rendering as it is
==============  ========================================================================================================
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import avatar_run
import avatars
import cv2
import numpy as np
from avatar_run import Judged, Kept
from markdown_table import table

import anonymizer
from anonymizer import Anonymizer
from anonymizer.avatar import artist
from anonymizer.avatar.render import Light
from anonymizer.config import factory
from anonymizer.core.errors import AnonymizerError
from anonymizer.core.records import Verdict
from anonymizer.flow import pipeline
from anonymizer.models.third_party import offline
from anonymizer.redraw.diffusion import DiffusionInpainter, InpaintJob
from anonymizer.redraw.redrawer import SOFTENED
from anonymizer.verify.verifier import Evidence, Verifier

#: Columns of the table, as ``avatars.measures`` names them.
COLUMNS = (
    "found again at 0.3",
    "found again at 0.5",
    "pose found again",
    "joints within 10 % of the height",
    "kernel distance",
    "told apart from real ones",
)
#: A sun from the upper left and behind the camera, as bright as the sky, on neutral ground.
PLAIN_LIGHT = Light(
    np.array([-0.5, -0.5, 0.7071], np.float32),
    *(np.full(3, value, np.float32) for value in (0.5, 0.4, 0.2)),
)


@contextmanager
def replaced(place: Any, name: str, value: Any) -> Iterator[None]:
    """Put something else in the place of an attribute for a while."""
    kept = getattr(place, name)
    setattr(place, name, value)
    try:
        yield
    finally:
        setattr(place, name, kept)


@contextmanager
def unverified() -> Iterator[None]:
    """Let everything pass that is drawn."""

    def passed(_: Verifier, evidence: Evidence, *__: Any) -> tuple[Verdict, ...]:
        ids = [None, *(instance.id for instance in evidence.instances)]
        return tuple(Verdict("none", True, 0.0, 0.0, number, "not verified") for number in ids)

    with (
        replaced(Verifier, "examine", lambda _, image, found, known=None: Evidence(image, tuple(found), {}, {})),
        replaced(Verifier, "find", lambda *_: ()),
        replaced(Verifier, "leaks", lambda *_: ()),
        replaced(Verifier, "keeps", lambda *_: True),
        replaced(Verifier, "check", passed),
    ):
        yield


@contextmanager
def shared(kept: Kept, light: str) -> Iterator[None]:
    """Keep fills and avatars, which most variants have in common; avatars by the light that they stand in.

    They depend on the code of the package as well.
    """
    fill, draw = pipeline.redact, pipeline.draw_avatars
    files = sorted(Path(anonymizer.__file__).parent.rglob("*.py"))
    code = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()

    def filled(image: Any, hidden: Any, rng: Any, **named: Any) -> Any:
        return kept.get(lambda: fill(image, hidden, rng, **named), "fill", code, _hash(image), _hash(hidden))

    def drawn(by: Any, image: Any, persons: Any, everyone: Any, seeds: Any, *rest: Any) -> Any:
        asked = "avatars", code, light, _hash(image), sorted(seeds.items())
        return kept.get(lambda: draw(by, image, persons, everyone, seeds, *rest), *asked)

    with replaced(pipeline, "redact", filled), replaced(pipeline, "draw_avatars", drawn):
        yield


def _hash(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def painted(change: Callable[[InpaintJob], InpaintJob]) -> Any:
    """Return a context in which the inpainter gets other jobs."""
    paint = DiffusionInpainter.inpaint

    def changed(self: DiffusionInpainter, jobs: Any) -> Any:
        return paint(self, [change(job) for job in jobs])

    return replaced(DiffusionInpainter, "inpaint", changed)


def undenoised() -> Any:
    """Return a context in which a redraw ends as it started: as soft as a model that changes nothing leaves it."""
    paint = DiffusionInpainter.inpaint

    def started(self: DiffusionInpainter, jobs: Any) -> Any:
        bare = [job for job in jobs if job.start is None]
        made = iter(paint(self, bare)) if bare else iter(())
        return [next(made) if job.start is None else cv2.GaussianBlur(job.start, (0, 0), SOFTENED) for job in jobs]

    return replaced(DiffusionInpainter, "inpaint", started)


def mean_filled() -> Any:
    """Return a context in which fills are the mean colour of what is left of the picture."""

    def filled(image: Any, hidden: Any, *_: Any, **__: Any) -> Any:
        rest = image[~hidden] if (~hidden).any() else np.full((1, 3), 127, np.uint8)
        out = image.copy()
        out[hidden] = np.rint(rest.mean(axis=0)).astype(np.uint8)
        return out

    return replaced(pipeline, "redact", filled)


@contextmanager
def plainly_lit() -> Iterator[None]:
    """Light every avatar the same, without noise."""
    with (
        replaced(artist, "estimate_light", lambda *_, **__: PLAIN_LIGHT),
        replaced(artist, "noise_level", lambda *_, **__: 0.0),
    ):
        yield


@contextmanager
def unchanged() -> Iterator[None]:
    """Change nothing."""
    yield


#: Context of each variant.
VARIANTS: dict[str, Callable[[], Any]] = {
    "whole": unchanged,
    "no rendering": lambda: painted(lambda job: replace(job, start=None, strength=1.0)),
    "no depth": lambda: painted(lambda job: replace(job, scales=(0.0, 1.0))),
    "no edges": lambda: painted(lambda job: replace(job, scales=(1.0, 0.0))),
    "no text": lambda: painted(lambda job: replace(job, prompt="")),
    "no fill": mean_filled,
    "no light": plainly_lit,
    "no denoising": undenoised,
}


def main() -> None:
    """Measure what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "judges", "out", "cache"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--full", action="store_true", help="the whole list")
    parser.add_argument("--pack", action="append", help="persons of this pack alone; repeatable")
    parser.add_argument("--only", action="append", choices=[*VARIANTS], help="some variants; measured ones are kept")
    arguments = parser.parse_args()
    # Variants change jobs of diffusers' pipeline; the graphs for ONNX Runtime know no other prompts.
    with offline(), replaced(factory, "runs_exported", lambda *_: False), unverified():
        kept = Kept(arguments.cache)
        anonymizer = avatars.build(avatars.parsed([f"--{n}={arguments.out}" for n in ("data", "judges", "out")]))
        for name in arguments.only or VARIANTS:
            measure(name, anonymizer, kept, arguments)
    text = shown(arguments)
    (arguments.out / "ablation.md").write_text(text, encoding="utf-8")
    print(text)


def measure(name: str, anonymizer: Anonymizer, kept: Kept, arguments: argparse.Namespace) -> None:
    """Run one variant and write its folder."""
    out = arguments.out / name.replace(" ", "-")
    out.mkdir(parents=True, exist_ok=True)
    try:
        # Outlines are the avatars' and tell nothing of the inpainter.
        with shared(kept, name if name == "no light" else ""), VARIANTS[name](), replaced(avatar_run, "LINKED", None):
            judged = Judged(anonymizer, arguments.judges, kept, out)
            persons = judged.run(arguments.data, not arguments.full, arguments.pack)
            real = judged.reference(arguments.data)
            avatars.save(out, persons, avatars.measures(persons, real, judged))
            (out / "against.txt").write_text(
                "" if name == "whole" else avatars.against(out, arguments.out / "whole", real), encoding="utf-8"
            )
    except AnonymizerError as error:
        (out / "against.txt").write_text(f"cannot be run: {error}", encoding="utf-8")
    print(name, flush=True)


def shown(arguments: argparse.Namespace) -> str:
    """Return the table of all variants measured so far."""
    rows, notes = [], []
    for name in VARIANTS:
        out = arguments.out / name.replace(" ", "-")
        if (out / "avatars.json").is_file():
            measured = json.loads((out / "avatars.json").read_text())["measures"]
            cells = {column: avatars.cell(column, measured[column]) for column in COLUMNS if column in measured}
            rows.append({"variant": name, **cells})
        if (out / "against.txt").is_file():
            notes.append(f"{name}: {(out / 'against.txt').read_text().strip()}")
    return table(rows) + "\n\n" + "\n".join(note for note in notes if not note.endswith(": ")) + "\n"


if __name__ == "__main__":
    main()
