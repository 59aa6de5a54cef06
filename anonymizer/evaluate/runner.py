"""One evaluation from folders to findings."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from anonymizer.annotations.matching import Placement
from anonymizer.annotations.reading import read_annotations
from anonymizer.annotations.records import Annotations
from anonymizer.errors import InputError, ModelError
from anonymizer.evaluate.attacks import ATTACKS
from anonymizer.evaluate.baselines import BASELINES, baseline
from anonymizer.evaluate.cache import EmbeddingStore
from anonymizer.evaluate.detectors import Watcher, choose_watchers, embedded_detector, outline_detector
from anonymizer.evaluate.material import PictureMaterial
from anonymizer.evaluate.pairing import Pairing, find_pairs
from anonymizer.evaluate.readers import PlateReader, choose_readers
from anonymizer.evaluate.recognizers import Unavailable, choose
from anonymizer.evaluate.records import Context, Finding, Recognizer, Skipped, Variant
from anonymizer.evaluate.subjects import CLASSES, FaceFinder, SubjectSource
from anonymizer.evaluate.utility import measure_utility
from anonymizer.evaluate.variants import AGAIN, ANONYMIZED, Released
from anonymizer.recognize.body import ColourShapeEmbedder, SilhouetteEmbedder
from anonymizer.stages import timed

__all__ = ["Evaluation", "Progress", "Settings", "evaluate"]

#: What is compared with the released pictures unless asked otherwise.
DEFAULT_BASELINES = tuple(name for name in BASELINES if name != "original")

#: Called with what is being done and (done, total) of it.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How to evaluate.

    Args:
        attacks: Names, of ``attacks.ATTACKS``.
        baselines: Names, of ``baselines.BASELINES``; the original is always there.
        recognizers: Face recognisers: ``dlib``, pack names, ONNX files; empty takes all on this machine.
        accept_noncommercial: Whether licences that forbid commercial use are accepted.
        utility: Whether to measure what the pictures are still good for.
        keep_embeddings: Folder to keep embeddings in, or None to delete them at the end.
        seed: Decides all randomness.
        limit: Evaluate the first so many pairs only; None for all.
        bootstrap: Resamples behind each interval.

    Raises:
        InputError: An unknown name or a number out of range.
    """

    attacks: tuple[str, ...] = ATTACKS
    baselines: tuple[str, ...] = DEFAULT_BASELINES
    recognizers: tuple[str, ...] = ()
    accept_noncommercial: bool = False
    utility: bool = True
    keep_embeddings: Path | None = None
    seed: int = 0
    limit: int | None = None
    bootstrap: int = 500

    def __post_init__(self) -> None:
        for what, names, known in (("attacks", self.attacks, ATTACKS), ("baselines", self.baselines, BASELINES)):
            unknown = [name for name in names if name not in known]
            if unknown:
                raise InputError(f"{what}: {', '.join(unknown)} unknown; expected some of {', '.join(known)}")
        if self.seed < 0:
            raise InputError(f"seed: expected a whole number from 0, got {self.seed}")
        if self.limit is not None and self.limit < 2:
            raise InputError(f"limit: expected at least 2 pictures, as fewer allow no comparison, got {self.limit}")


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Everything found.

    Args:
        settings: How it was evaluated.
        pairing: Which pictures were paired, and the run's ledger.
        material: The pictures, with the survey of what is in them. Its folder is gone.
        recognizers: Everyone who took part.
        unavailable: Who could not.
        variants: Name and strength of each treatment.
        findings: By attack, class, recogniser and variant.
        skipped: What was not done, and why.
        utility: What the pictures are still good for, as plain data, or None.
        warnings: What a reader must know before any figure.
        timings_s: Seconds by stage.
        readers: Everyone who read plates.
        watchers: Detectors that looked for what was missed.
    """

    settings: Settings
    pairing: Pairing
    material: PictureMaterial
    recognizers: tuple[Recognizer, ...]
    unavailable: tuple[Unavailable, ...]
    variants: Mapping[str, str]
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...]
    utility: Mapping[str, Any] | None
    warnings: tuple[str, ...]
    timings_s: Mapping[str, float] = field(default_factory=dict)
    readers: tuple[PlateReader, ...] = ()
    watchers: tuple[Watcher, ...] = ()


def evaluate(
    originals: Path,
    anonymized: Path,
    out: Path,
    settings: Settings,
    *,
    annotations: Path | None = None,
    mapping: Mapping[str, str | None] | None = None,
    again: Path | None = None,
    on_progress: Progress = lambda stage, done, total: None,
) -> Evaluation:
    """Attack released pictures and measure what they give away; nothing is written but temporary files.

    Args:
        originals: Folder of originals, only read.
        anonymized: OUTPUT of a run or a folder of released pictures, only read.
        out: Where the results will go, to refuse places inside the pictures' folders.
        settings: What to do.
        annotations: Annotations of the originals; None detects. Of COCO also landmarks, identities and texts are read.
        mapping: Class by category name of the annotations, beside the common names; None leaves one alone.
        again: The same originals anonymized a second time, or None.
        on_progress: Called as the work goes on.

    Raises:
        InputError: Pictures or annotations that cannot be used.
        ModelError: Weights that were asked for are missing, or their licence was not accepted.
    """
    timings: dict[str, float] = {}
    given = None if annotations is None else read_annotations(annotations, mapping)
    pairing = find_pairs(originals, anonymized, out, again)
    if settings.limit is not None:
        pairing = replace(pairing, pairs=pairing.pairs[: settings.limit])
    if given is not None:
        given = given.placed(pair.name for pair in pairing.pairs)
        for name, reason in (given.placement or Placement()).held.items():
            raise InputError(f"{name}: {reason}")
    faces_at_hand, unavailable = choose(
        settings.recognizers, {} if pairing.run is None else pairing.run.models, settings.accept_noncommercial
    )
    recognizers: tuple[Recognizer, ...] = (
        *faces_at_hand,
        ColourShapeEmbedder(),
        SilhouetteEmbedder(outline_detector()),
    )
    variants, not_made = _variants(settings.baselines)
    if settings.keep_embeddings is not None:
        settings.keep_embeddings.mkdir(mode=0o700, parents=True, exist_ok=True)  # biometric data: nobody else's
    finder = FaceFinder()
    detector = embedded_detector() if given is None or _partial(given, pairing) else None
    with TemporaryDirectory(prefix="anonymizer-evaluate-") as temporary:
        folder = Path(temporary)
        with timed(timings, "survey"):
            source = SubjectSource(given, detector, finder)
            material = PictureMaterial(pairing, source, folder, lambda done, total: on_progress("survey", done, total))
        labels = tuple(label for label in CLASSES if material.survey.subjects.get(label))
        second = None if again is None else Released(AGAIN, "the second run")
        everything = variants if second is None else {**variants, AGAIN: second}
        store = EmbeddingStore(
            material,
            everything,
            recognizers,
            finder,
            folder / "embeddings" if settings.keep_embeddings is None else settings.keep_embeddings,
            "naive" in settings.attacks,
            lambda variant, done, total: on_progress(f"describe {variant}", done, total),
        )
        readers, no_readers = choose_readers() if _wanted("plate", settings, "license_plate" in labels) else ((), ())
        watchers, no_watchers = (
            choose_watchers(None if pairing.run is None else pairing.run.models)
            if _wanted("leak", settings, bool(labels))
            else ((), ())
        )
        context = Context(
            material,
            variants,
            recognizers,
            labels,
            store,
            folder,
            settings.seed,
            settings.bootstrap,
            second,
            readers,
            watchers,
        )
        results: list[Finding | Skipped] = list(not_made)
        if not labels:
            reason = "no person, face or license plate is known or was found in the originals"
            results += [Skipped(name, "any", reason) for name in settings.attacks]
        for number, name in enumerate(settings.attacks if labels else ()):
            on_progress(f"attack {name}", number, len(settings.attacks))
            with timed(timings, name):
                results += importlib.import_module(f"anonymizer.evaluate.attacks.{name}").run(context)
        utility = None
        if settings.utility and labels:
            with timed(timings, "utility"):
                utility = measure_utility(
                    context,
                    run_annotations=_run_annotations(anonymized),
                    on_progress=lambda done, total: on_progress("utility", done, total),
                )
    return Evaluation(
        settings=settings,
        pairing=pairing,
        material=material,
        recognizers=recognizers,
        unavailable=(*unavailable, *no_readers, *no_watchers),
        variants={name: str(getattr(variant, "strength", "")) for name, variant in variants.items()},
        findings=tuple(result for result in results if isinstance(result, Finding)),
        skipped=tuple(result for result in results if isinstance(result, Skipped)),
        utility=utility,
        warnings=tuple(_warnings(pairing, material, context)),
        timings_s={stage: round(seconds, 2) for stage, seconds in timings.items()},
        readers=readers,
        watchers=watchers,
    )


def _wanted(attack: str, settings: Settings, there: bool) -> bool:
    """Return whether an attack will be carried out, so that who takes part in it has to be loaded."""
    return there and attack in settings.attacks


def _variants(names: Sequence[str]) -> tuple[dict[str, Variant], list[Skipped]]:
    """Return originals, baselines that can be made, and the released pictures; and what cannot be made."""
    out: dict[str, Variant] = {"original": baseline("original")}
    missing: list[Skipped] = []
    for name in names:
        try:
            out.setdefault(name, baseline(name))
        except (ModelError, ImportError) as error:
            missing.append(Skipped("baseline", "any", str(error), variant=name))
    return {**out, ANONYMIZED: Released()}, missing


def _partial(given: Annotations, pairing: Pairing) -> bool:
    """Return whether some picture is not annotated and has to be given to a detector."""
    return any(given.image(pair.name) is None for pair in pairing.pairs)


def _run_annotations(anonymized: Path) -> Path | None:
    path = anonymized / "annotations.json"
    return path if path.is_file() and (anonymized / "ledger.jsonl").is_file() else None


def _warnings(pairing: Pairing, material: PictureMaterial, context: Context) -> Iterator[str]:
    """Yield what a reader must know before any figure."""
    survey = material.survey
    for label in ("face", "person"):
        if label in context.labels and not any(recognizer.judge for recognizer in context.of(label)):
            yield (
                f"NO INDEPENDENT JUDGE for class {label}: the only recogniser at hand verified this run, "
                "so its figures prove nothing; give another one with --recognizer"
            )
    if context.readers and not any(reader.judge for reader in context.readers):
        yield (
            "NO INDEPENDENT JUDGE for class license_plate: the only reader at hand also verifies plates, so its "
            "figures on this package's output prove nothing; install tesseract-ocr or ddddocr"
        )
    if pairing.run is None:
        yield (
            "ANONYMIZED has no ledger: it is unknown which recogniser verified it, so every recogniser counts as a "
            "judge; make sure that yours had no part in it"
        )
    if pairing.missing:
        yield (
            f"{len(pairing.missing)} originals have no released picture and no entry that they were withheld "
            f"(first: {pairing.missing[0]}); they are not evaluated"
        )
    if pairing.withheld:
        yield f"{len(pairing.withheld)} originals were quarantined or failed, so nothing of them was released"
    if pairing.extra:
        yield f"{len(pairing.extra)} released pictures have no original (first: {pairing.extra[0]}): NOT EVALUATED"
    for problem, count in survey.counts.items():
        fate = "kept, but look at them" if problem == "another scene" else "not evaluated"
        yield f"{count} pairs have {problem} ({fate}; first: {survey.problems[problem][0]})"
    for label in context.labels:
        if label != "license_plate" and survey.identified.get(label, 0) < survey.subjects[label]:
            unknown = survey.subjects[label] - survey.identified.get(label, 0)
            yield f"{unknown} of {survey.subjects[label]} subjects of class {label} have no known identity"
    if len(survey.pairs) < 50:
        yield f"only {len(survey.pairs)} pairs: intervals are wide, and small risks cannot be seen"
