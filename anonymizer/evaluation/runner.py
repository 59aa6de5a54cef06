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
from anonymizer.core.errors import InputError, ModelError
from anonymizer.core.stages import timed
from anonymizer.evaluation.attacks import ATTACKS
from anonymizer.evaluation.background_fidelity import RunRegions
from anonymizer.evaluation.cache import EmbeddingStore
from anonymizer.evaluation.control import Control, Resaved, controls
from anonymizer.evaluation.dataset import PictureDataset
from anonymizer.evaluation.detectors import LeakDetector, choose_detectors, embedded_detector, outline_detector
from anonymizer.evaluation.grouping import group
from anonymizer.evaluation.judges import Judges, judges_folder
from anonymizer.evaluation.networks import AttributePredictor
from anonymizer.evaluation.ocr import PlateOCR, choose_ocr
from anonymizer.evaluation.pairing import Pairing, Rule, find_pairs
from anonymizer.evaluation.recognizers import Unavailable, choose, choose_person
from anonymizer.evaluation.records import Context, Finding, Recognizer, Skipped, Variant
from anonymizer.evaluation.regions import ON_REGION, MaskFolder, OnRegion, Regions
from anonymizer.evaluation.standard import Tools
from anonymizer.evaluation.subjects import CLASSES, FaceFinder, SubjectSource
from anonymizer.evaluation.utility import measure_utility
from anonymizer.evaluation.variants import AGAIN, ANONYMIZED, BASELINES, CONTROL, Released, baseline
from anonymizer.models.third_party import check_extra
from anonymizer.recognize.body import ColourShapeEmbedder, SilhouetteEmbedder

__all__ = ["ALL_BASELINES", "Evaluation", "Progress", "Settings", "evaluate"]

#: Everything that can be compared with the released pictures, and what is unless asked otherwise.
ALL_BASELINES = (*BASELINES, *ON_REGION)
DEFAULT_BASELINES = (*(name for name in BASELINES if name != "original"), "solid-region")

#: Detectors whose recall stands beside that of the embedded one: those that find, quickly, and take part in no run.
UTILITY_DETECTORS = ("nanodet", "dlib-frontal")
REGION_UNKNOWN = "it is not known what was treated; give masks with --regions"

#: Called with what is being done and (done, total) of it.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How to evaluate.

    Args:
        attacks: Names, of ``attacks.ATTACKS``.
        baselines: Names, of ``ALL_BASELINES``; the original is always there.
        recognizers: Face recognisers: ``dlib``, pack names, ONNX files; empty takes all on this machine.
        accept_noncommercial: Whether licences that forbid commercial use are accepted.
        utility: Whether to measure what the pictures are still good for.
        keep_embeddings: Folder to keep embeddings in, or None to delete them at the end.
        seed: Decides all randomness.
        limit: Evaluate the first so many pairs only; None for all.
        bootstrap: Resamples behind each interval.
        resize: Whether released pictures of another size are resized to their originals'.
        rule: How released pictures of another tool are named, or None.
        regions: Folder of masks that say what was treated; None takes what a run wrote, if anything.
        rows: Whether findings hold a row for each person, and the result one for each subject.
        group_by: Annotated attribute that findings are split by, or "".
        judges: Folder of judges, or None for the user's own, see ``judges``.

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
    resize: bool = False
    rule: Rule | None = None
    regions: Path | None = None
    rows: bool = False
    group_by: str = ""
    judges: Path | None = None

    def __post_init__(self) -> None:
        for what, names, known in (("attacks", self.attacks, ATTACKS), ("baselines", self.baselines, ALL_BASELINES)):
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
        dataset: The pictures, with the survey of what is in them. Its folder is gone.
        recognizers: Everyone who took part.
        unavailable: Who could not.
        variants: Name and strength of each treatment.
        findings: By attack, class, recogniser and variant.
        skipped: What was not done, and why.
        utility: What the pictures are still good for, as plain data, or None.
        warnings: What a reader must know before any value.
        timings_s: Seconds by stage.
        ocrs: Everyone who read plates.
        detectors: Detectors that looked for what was missed.
        controls: How every judge did where it had to do well.
        predictors: Predictors of attributes.
        subjects: A row for each subject, where asked for: ``key``, ``label``, ``identity``, ``source``, ``untouched``.
    """

    settings: Settings
    pairing: Pairing
    dataset: PictureDataset
    recognizers: tuple[Recognizer, ...]
    unavailable: tuple[Unavailable, ...]
    variants: Mapping[str, str]
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...]
    utility: Mapping[str, Any] | None
    warnings: tuple[str, ...]
    timings_s: Mapping[str, float] = field(default_factory=dict)
    ocrs: tuple[PlateOCR, ...] = ()
    detectors: tuple[LeakDetector, ...] = ()
    controls: tuple[Control, ...] = ()
    predictors: tuple[AttributePredictor, ...] = ()
    subjects: tuple[Mapping[str, Any], ...] = ()


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
        ModelError: Weights that were asked for are missing, or their licence was not accepted; or a package of the
            extra ``evaluate`` is missing.
    """
    # Of what runs last; what is missing is said at once.
    check_extra("evaluate", "evaluate", "sklearn", "torch")
    timings: dict[str, float] = {}
    given = None if annotations is None else read_annotations(annotations, mapping)
    pairing = find_pairs(originals, anonymized, out, again, rule=settings.rule)
    if settings.limit is not None:
        pairing = replace(pairing, pairs=pairing.pairs[: settings.limit])
    if given is not None:
        given = given.placed(pair.name for pair in pairing.pairs)
        for name, reason in (given.placement or Placement()).held.items():
            raise InputError(f"{name}: {reason}")
    judges = Judges(judges_folder(settings.judges))
    faces_at_hand, unavailable = choose(
        settings.recognizers, {} if pairing.run is None else pairing.run.models, settings.accept_noncommercial
    )
    features, outlines = judges.features(), outline_detector()
    silhouette = judges.silhouette(outlines)
    trained, untrained = choose_person()
    recognizers: tuple[Recognizer, ...] = (
        *faces_at_hand,
        # Who names recognisers is taken at his word; else everybody at hand judges.
        *(() if settings.recognizers else judges.faces()),
        *trained,
        *(() if features is None else (features,)),
        ColourShapeEmbedder(),
        SilhouetteEmbedder(outlines),
        *(() if silhouette is None else (silhouette,)),
    )
    variants, not_made = _variants(settings.baselines)
    if settings.keep_embeddings is not None:
        settings.keep_embeddings.mkdir(mode=0o700, parents=True, exist_ok=True)  # biometric data: nobody else's
    finder = FaceFinder()
    regions = _regions(settings, anonymized, out)
    detector = embedded_detector() if given is None or _partial(given, pairing) else None
    with TemporaryDirectory(prefix="anonymizer-evaluate-") as temporary:
        folder = Path(temporary)
        with timed(timings, "survey"):
            source = SubjectSource(given, detector, finder, settings.group_by)
            dataset = PictureDataset(
                pairing,
                source,
                folder,
                lambda done, total: on_progress("survey", done, total),
                regions=regions,
                resize=settings.resize,
            )
        for name in (name for name in settings.baselines if name in ON_REGION):
            unknown = [pair.name for pair in dataset.pairs if regions is None or not regions.knows(pair)]
            if regions is None or unknown:
                not_made.append(Skipped("baseline", "any", f"{REGION_UNKNOWN} (first: {unknown[0]})", variant=name))
            else:
                variants[name] = OnRegion(name, regions)
        variants[ANONYMIZED] = variants.pop(ANONYMIZED)  # last in every table
        labels = tuple(label for label in CLASSES if dataset.survey.subjects.get(label))
        predictors = judges.predictors() if _wanted("attributes", settings, "face" in labels) else ()
        second = None if again is None else Released(AGAIN, "the second run")
        everything = {**variants, CONTROL: Resaved()} | ({} if second is None else {AGAIN: second})
        store = EmbeddingStore(
            dataset,
            everything,
            recognizers,
            finder,
            folder / "embeddings" if settings.keep_embeddings is None else settings.keep_embeddings,
            (
                *(("found",) if "naive" in settings.attacks else ()),
                *(("box",) if {"parrot", "seed", "informed"} & set(settings.attacks) else ()),
            ),
            lambda variant, done, total: on_progress(f"describe {variant}", done, total),
            predictors,
        )
        ocrs, no_ocr = choose_ocr() if _wanted("plate", settings, "license_plate" in labels) else ((), ())
        detectors, no_detectors = (
            choose_detectors(None if pairing.run is None else pairing.run.models, judges)
            if _wanted("leak", settings, bool(labels))
            else ((), ())
        )
        context = Context(
            dataset,
            variants,
            recognizers,
            labels,
            store,
            folder,
            settings.seed,
            settings.bootstrap,
            second,
            ocrs,
            detectors,
            settings.rows,
            predictors,
            settings.group_by,
            _groups(settings.group_by, dataset),
        )
        known: tuple[Control, ...] = ()
        grouped = None
        if labels:
            with timed(timings, "control"):
                known = controls(context)
                grouped = group(context, known)
                if grouped is not None and grouped.names:
                    dataset.name_subjects(grouped.names)
                    store.renamed()
                    known = controls(context)
        results: list[Finding | Skipped] = list(not_made)
        if not labels:
            reason = "no person, face or license plate is known or was found in the originals"
            results += [Skipped(name, "any", reason) for name in settings.attacks]
        if "person" in labels and "aligned" in settings.attacks:
            results += [
                Skipped("aligned", "person", f"not measured: {one.reason}", recognizer=one.name) for one in untrained
            ]
        for number, name in enumerate(settings.attacks if labels else ()):
            on_progress(f"attack {name}", number, len(settings.attacks))
            with timed(timings, name):
                results += importlib.import_module(f"anonymizer.evaluation.attacks.{name}").run(context)
        rows = _rows(dataset) if settings.rows else ()
        utility = None
        if settings.utility and labels:
            with timed(timings, "utility"):
                utility = measure_utility(
                    context,
                    regions=regions,
                    tools=Tools(
                        finder,
                        judges.pose() if "person" in labels else None,
                        tuple(one for one in detectors if one.name in UTILITY_DETECTORS),
                        judges.inception(),
                        judges.lpips(),
                    ),
                    on_progress=lambda done, total: on_progress("utility", done, total),
                )
    return Evaluation(
        settings=settings,
        pairing=pairing,
        dataset=dataset,
        recognizers=recognizers,
        unavailable=(*unavailable, *untrained, *no_ocr, *no_detectors, *judges.unavailable),
        variants={name: str(getattr(variant, "strength", "")) for name, variant in variants.items()},
        findings=tuple(result for result in results if isinstance(result, Finding)),
        skipped=tuple(result for result in results if isinstance(result, Skipped)),
        utility=utility,
        warnings=(*([grouped.said] if grouped is not None else []), *_warnings(pairing, dataset, context)),
        timings_s={stage: round(seconds, 2) for stage, seconds in timings.items()},
        ocrs=ocrs,
        detectors=detectors,
        controls=known,
        predictors=predictors,
        subjects=rows,
    )


def _regions(settings: Settings, anonymized: Path, out: Path) -> Regions | None:
    """Return what knows the treated regions: masks that were given, or what a run wrote; None where nothing does."""
    if settings.regions is not None:
        return MaskFolder(settings.regions, out)
    written = _run_annotations(anonymized)
    return None if written is None else RunRegions(written)


def _groups(group_by: str, dataset: PictureDataset) -> dict[str, str]:
    """Return the group of each subject by its key, where it is annotated.

    Raises:
        InputError: A group was asked for and nobody has one.
    """
    if not group_by:
        return {}
    subjects = (subject for pair in dataset.pairs for subject in dataset.subjects(pair))
    groups = {subject.key: subject.group for subject in subjects if subject.group is not None}
    if not groups:
        raise InputError(
            f"group-by {group_by!r}: expected annotations with this attribute, found none; "
            "give it in `attributes` of the annotations"
        )
    return groups


def _rows(dataset: PictureDataset) -> tuple[dict[str, Any], ...]:
    """Return a row for each subject."""
    untouched = {key for keys in dataset.survey.untouched.values() for key in keys}
    return tuple(
        {
            "key": subject.key,
            "label": subject.label,
            "identity": subject.identity,
            "source": subject.source,
            "untouched": subject.key in untouched,
        }
        for pair in dataset.pairs
        for subject in dataset.subjects(pair)
    )


def _wanted(attack: str, settings: Settings, there: bool) -> bool:
    """Return whether an attack will be carried out, so that who takes part in it has to be loaded."""
    return there and attack in settings.attacks


def _variants(names: Sequence[str]) -> tuple[dict[str, Variant], list[Skipped]]:
    """Return originals, baselines that can be made, and the released pictures; and what cannot be made."""
    out: dict[str, Variant] = {"original": baseline("original")}
    missing: list[Skipped] = []
    for name in names:
        if name in ON_REGION:
            continue  # made once it is known what was treated
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


def _warnings(pairing: Pairing, dataset: PictureDataset, context: Context) -> Iterator[str]:
    """Yield what a reader must know before any value."""
    survey = dataset.survey
    for label in ("face", "person"):
        if label in context.labels and not any(recognizer.judge for recognizer in context.of(label)):
            yield (
                f"NO INDEPENDENT JUDGE for class {label}: the only recogniser at hand verified this run, "
                "so its values prove nothing; give another one with --recognizer"
            )
    if context.ocrs and not any(ocr.judge for ocr in context.ocrs):
        yield (
            "NO INDEPENDENT JUDGE for class license_plate: the only reader at hand also verifies plates, so its "
            "values on this package's output prove nothing; install tesseract-ocr or ddddocr"
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
        yield f"{count} pairs NOT EVALUATED: {problem} (first: {survey.problems[problem][0]})"
    if survey.resized:
        yield f"{survey.resized} released pictures have another size and were resized to their originals', as asked for"
    for label in context.labels:
        if label != "license_plate" and survey.identified.get(label, 0) < survey.subjects[label]:
            unknown = survey.subjects[label] - survey.identified.get(label, 0)
            yield f"{unknown} of {survey.subjects[label]} subjects of class {label} have no known identity"
    if len(survey.pairs) < 50:
        yield f"only {len(survey.pairs)} pairs: intervals are wide, and small risks cannot be seen"
