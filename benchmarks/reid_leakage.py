"""Anonymize pictures, attack what came out, and print one table: what is left of identity, and of use.

    python benchmarks/reid_leakage.py DATA... OUT [--limit N] [--preset NAME|FILE] [--recognizer NAME|FILE ...]
                                      [--judges DIR] [--attacks LIST] [--accept-noncommercial] [--again] [--train]
                                      [--seed N] [--released DIR [--suffix TEXT | --pairs FILE] [--regions DIR]
                                      [--resize-to-original]]

``DATA`` is a folder of pictures, or a pack: ``DATA/images`` with COCO annotations in ``DATA/annotations.json``, whose
``identity`` and ``text`` fields say who and what is shown. Of a pack with a ``split`` only ``val`` pictures are taken.
With ``--limit`` whole identities are taken first, those with most pictures before others, since one picture of a
person allows no comparison with another.

Everything lies under ``OUT`` (of several ``DATA`` under ``OUT/NAME``) and the same command again goes on where it was:
``originals`` (links), ``run`` and, with ``--again``, ``run-again`` (a second run from another seed), ``evaluation``
(evaluation.json, report.html), ``table.md``. With ``--released`` nothing is anonymized: the outputs of another tool are
judged, made of the pictures in ``OUT/originals``, which the first call only links. ``--train`` adds the training check,
one to two minutes more on two cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np

from anonymizer.annotations.coco import read_coco
from anonymizer.config import presets
from anonymizer.core.records import Floats
from anonymizer.evaluation import document as documents
from anonymizer.evaluation import report, runner, summary
from anonymizer.evaluation.attacks import ATTACKS
from anonymizer.evaluation.dataset import PictureDataset
from anonymizer.evaluation.detectors import embedded_detector
from anonymizer.evaluation.pairing import Rule
from anonymizer.evaluation.records import Context, Pair, Store, plain
from anonymizer.evaluation.subjects import CLASSES, FaceFinder, SubjectSource
from anonymizer.evaluation.variants import ANONYMIZED, Released, baseline
from anonymizer.images.formats import SUFFIXES
from anonymizer.models.third_party import offline
from anonymizer.run import local
from anonymizer.run.request import Request

Record = Mapping[str, Any]

#: Value that stands for an attack, where it is not the class's own; and values that are no proportions.
METRICS = {"residue": "texture_shines_through", "seed": "auc", "attributes": "agreement", "leak": "leak_rate"}
PLAIN = ("auc",)
#: Rows that hold the condition attack's values, by what its protocols say.
GUARDS = {"original": "guard off", "anonymized": "(default)"}


def choose(data: Path, limit: int | None) -> tuple[list[Path], Path | None]:
    """Return the pictures to take and the annotations, None for a plain folder."""
    annotations = data / "annotations.json"
    if not annotations.is_file():
        files = sorted(path for path in data.rglob("*") if path.suffix.lower() in SUFFIXES)
        return files[:limit], None
    document = json.loads(annotations.read_bytes())
    images = [image for image in document["images"] if image.get("split", "val") == "val"]
    kept = {image["id"]: image["file_name"] for image in images}
    groups: dict[str, list[str]] = defaultdict(list)
    named = set()
    for record in document["annotations"]:
        name = kept.get(record["image_id"])
        if name is not None and name not in named:
            named.add(name)
            groups[record.get("identity") or f"nobody {name}"].append(name)
    order = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    names = [name for _, group in order for name in sorted(group)]
    return [data / "images" / name for name in names[:limit]], annotations


def link(files: Sequence[Path], root: Path, folder: Path) -> None:
    """Put links to the pictures into a folder, under their names relative to ``root``."""
    wanted = {file.relative_to(root): file.resolve() for file in files}
    present = {path.relative_to(folder) for path in folder.rglob("*") if path.is_symlink()}
    if present - set(wanted):
        raise SystemExit(f"{folder} holds {len(present - set(wanted))} other pictures; use another OUT")
    for name, file in wanted.items():
        if name not in present:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(file)


def train(evaluation: runner.Evaluation, annotations: Path | None, run: Path) -> dict[str, Any]:
    """Return the training check on the pictures of a finished evaluation."""
    from downstream import downstream_check

    variants: dict[str, Any] = {"original": baseline("original"), "blur": baseline("blur"), ANONYMIZED: Released()}
    with TemporaryDirectory() as folder:
        given = None if annotations is None else read_coco(annotations)
        detector = embedded_detector() if given is None else None
        source = SubjectSource(given, detector, FaceFinder())
        dataset = PictureDataset(evaluation.pairing, source, Path(folder))
        labels = tuple(label for label in CLASSES if dataset.survey.subjects.get(label))
        seed = evaluation.settings.seed
        context = Context(dataset, variants, (), labels, cast(Store, None), Path(folder), seed)
        return dict(plain(downstream_check(context, released=labels_of(run))))


def labels_of(run: Path) -> Callable[[Pair, str], Floats] | None:
    """Return what gives the boxes that a run released, float32 (N, 4) xyxy, None where it released no labels."""
    file = run / "annotations.json"
    if not file.is_file():
        return None
    document = json.loads(file.read_text(encoding="utf-8"))
    names = {record["id"]: record["name"] for record in document["categories"]}
    pictures = {record["id"]: record["file_name"] for record in document["images"]}
    boxes: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for record in document["annotations"]:
        x, y, width, height = record["bbox"]
        boxes[pictures[record["image_id"]], names[record["category_id"]]].append([x, y, x + width, y + height])
    return lambda pair, label: np.array(boxes[pair.anonymized.name, label], np.float32)


def best(findings: Sequence[Record], attack: str, label: str, variant: str, name: str) -> Record | None:
    """Return the finding of an independent judge in which a value is furthest above its chance."""
    known = [
        f
        for f in findings
        if (f["attack"], f["label"], f["variant"]) == (attack, label, variant)
        and f["judge"]
        and f["estimates"].get(name, {}).get("value") is not None
    ]

    def above(finding: Record) -> float:
        chance = finding["estimates"].get(f"{name}_chance", {}).get("value") or 0.0
        return (finding["estimates"][name]["value"] - chance) / max(1 - chance, 1e-9)

    return max(known, key=above, default=None)


def cell(findings: Sequence[Record], attack: str, label: str, variant: str) -> str:
    """Return an attack's headline value with its chance floor."""
    if attack == "condition":
        # The maps are not released; what they hold with and without the guard stands in these two rows.
        guard = GUARDS.get(variant)
        findings = [f for f in findings if f["attack"] == attack and guard and guard in f["protocol"]]
        variant = "conditions"
    name = METRICS.get(attack) or (summary.HEADLINE[label] if attack in summary.ON_PICTURES else "rank1")
    finding = best(findings, attack, label, variant, name)
    if finding is None:
        return "–"
    metrics = finding["estimates"]
    chance = metrics.get(f"{name}_chance")
    if name in PLAIN:
        low, high = metrics[name]["low"], metrics[name]["high"]
        return f"{metrics[name]['value']:.2f}" + ("" if low is None or high is None else f" [{low:.2f}, {high:.2f}]")
    floor = "" if chance is None or chance["value"] is None else f" / {summary.percent(chance['value'])}"
    low, high = metrics[name]["low"], metrics[name]["high"]
    spread = "" if low is None or high is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
    recall = metrics.get("recall", {}).get("value") if attack == "leak" else None
    beside = "" if recall is None else f", recall {summary.percent(recall)}"
    return summary.percent(metrics[name]["value"]) + spread + floor + beside


def table(document: Record) -> str:
    """Return the table: a row for each class and treatment, a column for each attack, then utility."""
    findings, utility = document["findings"], document["utility"] or {"retention": [], "kid": []}
    shown = {f["attack"] for f in findings if f["label"] in summary.HEADLINE}
    attacks = [name for name in document["settings"]["attacks"] if name in shown]
    precision = {(r["label"], r["variant"]): r["boxes"]["ap"]["value"] for r in utility["retention"]}
    distance = {(r["label"], r["variant"]): r["estimate"]["value"] for r in utility["kid"]}
    trained = {r["trained_on"]: r["ap"]["value"] for r in (utility.get("downstream") or {}).get("rows", [])}
    taught = (utility.get("downstream") or {}).get("label")
    heads = ["class", "treatment", *attacks, "AP", "kernel distance", *(["AP trained on it"] if trained else [])]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for label in summary.HEADLINE:
        for variant in (item["name"] for item in document["variants"]):
            cells = [cell(findings, attack, label, variant) for attack in attacks]
            cells += [number(precision.get((label, variant))), number(distance.get((label, variant)))]
            cells += [number(trained.get(variant) if label == taught else None)] if trained else []
            if any(text != "–" for text in cells):
                lines.append(f"| {label} | {variant} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def verdict(document: Record) -> str:
    """Return the verdict, one line for each class."""
    return "\n".join(line for line in summary.verdict_lines(document["verdict"]))


def number(value: float | None) -> str:
    """Return a value for the table."""
    return "–" if value is None else f"{value:.3f}"


def legend(document: Record) -> str:
    """Return what the table's cells mean."""
    judges = [item["name"] for item in document["recognizers"] if item["judge"]]
    return (
        f"{document['inputs']['pairs']} pairs; independent recognisers: {', '.join(judges) or 'NONE'}. Cells: the "
        "value furthest from chance, its 95 % interval, and chance. naive to reconstruction: rank 1; condition: rank "
        "1 from depth or edge maps alone, guard off (original) and on (anonymized); plate: characters right; residue: "
        "instances whose texture shines through; seed: AUC; attributes: the "
        "attribute read right; leak: untouched, and the recall of independent detectors on the originals.\n"
    )


def anonymize(originals: Path, output: Path, preset: str, seed: int | None) -> None:
    """Anonymize what is not anonymized yet."""
    summary = local.run(
        presets.build(preset, seed=seed),
        Request(originals, output),
        on_progress=lambda at: print(f"{output.name}: {at.done} of {at.total}", file=sys.stderr),
    )
    print(f"{output}: {summary}", file=sys.stderr)


def judged(data: Path, out: Path, args: argparse.Namespace) -> str:
    """Anonymize and evaluate one folder or pack, and return its verdict and table; files go under ``out``."""
    files, annotations = choose(data, args.limit)
    if not files:
        raise SystemExit(f"{data}: no pictures")
    originals, run = out / "originals", args.released or out / "run"
    link(files, data / "images" if annotations else data, originals)
    if args.released is not None and not args.released.is_dir():
        raise SystemExit(f"{args.released}: run the other tool over {originals} into this folder, then call again")
    rule = Rule.read(args.pairs) if args.pairs else Rule(args.suffix) if args.suffix else None
    with offline():
        # Detections, not annotations, decide what is treated: that is how the product is used.
        if args.released is None:
            anonymize(originals, run, args.preset, args.seed)
        again = out / "run-again" if args.again else None
        if again is not None:
            anonymize(originals, again, args.preset, None if args.seed is None else args.seed + 1)
        settings = runner.Settings(
            attacks=ATTACKS if args.attacks is None else tuple(args.attacks.split(",")),
            recognizers=tuple(args.recognizer),
            accept_noncommercial=args.accept_noncommercial,
            seed=args.seed or 0,
            resize=args.resize_to_original,
            rule=rule,
            regions=args.regions,
            judges=args.judges,
        )
        evaluation = runner.evaluate(
            originals,
            run,
            out / "evaluation",
            settings,
            annotations=annotations,
            again=again,
            on_progress=lambda stage, done, total: print(f"{stage}: {done} of {total}", file=sys.stderr),
        )
        document = documents.build(evaluation, originals, run)
        if args.train and document["utility"] is not None:
            document["utility"]["downstream"] = train(evaluation, annotations, run)
    (out / "evaluation").mkdir(parents=True, exist_ok=True)
    documents.write(document, out / "evaluation")
    report.write(document, out / "evaluation")
    text = f"{verdict(document)}\n\n{table(document)}\n{legend(document)}"
    (out / "table.md").write_text(text, encoding="utf-8")
    return text


def main() -> None:
    """Anonymize, evaluate, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+", help="folders of pictures, or packs")
    parser.add_argument("out", type=Path, help="of several, each has a folder of its name in here")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--preset", default="embedded")
    parser.add_argument("--recognizer", action="append", default=[])
    parser.add_argument("--judges", type=Path, help="folder of judges, see models/judges")
    parser.add_argument("--attacks", metavar="LIST", help="by comma; all if left out")
    parser.add_argument("--accept-noncommercial", action="store_true")
    parser.add_argument("--again", action="store_true", help="anonymize twice, for the seed attack")
    parser.add_argument("--train", action="store_true", help="also train on the pictures")
    parser.add_argument("--seed", type=int, help="of the run; fresh noise without one")
    parser.add_argument("--released", type=Path, help="outputs of another tool, judged in place of a run of ours")
    parser.add_argument("--suffix", help="what released names have behind the originals'")
    parser.add_argument("--pairs", type=Path, help="CSV of original,released")
    parser.add_argument("--regions", type=Path, help="masks of what was treated")
    parser.add_argument("--resize-to-original", action="store_true")
    args = parser.parse_args()
    if args.released is not None and (args.again or len(args.data) > 1):
        raise SystemExit("--released takes one folder of originals, and no second run of ours: leave out --again")
    started = time.monotonic()
    for data in args.data:
        text = judged(data, args.out if len(args.data) == 1 else args.out / data.name, args)
        print(f"{data.name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
        print(f"### {data.name}\n\n{text}" if len(args.data) > 1 else text, flush=True)


if __name__ == "__main__":
    main()
