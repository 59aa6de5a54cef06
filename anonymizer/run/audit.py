"""Audit: a finished OUTPUT folder checked again against its ledger, a gate before pictures leave the house.

What it proves: nobody changed, removed, added or moved a picture, a ledger line or a closing document since the run
without also making chain and seal anew. Chain and seal hold no secret, so whoever can write to the folder could do
that; it shows only to whoever kept the seal's head, which ``anonymizer verify`` prints, somewhere else.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anonymizer.core.errors import InputError
from anonymizer.images.release import MAPS, map_name
from anonymizer.run.decisions import REVIEW, Reviews, opened
from anonymizer.run.ledger import SCHEMA_VERSION, START, Record, read_lines, refuse_newer
from anonymizer.run.output import ANNOTATIONS, DOCUMENTS, DRY_RUN, LABELS, LEDGER, SEAL
from anonymizer.run.place import Place, place_at

__all__ = ["LEDGER", "Audit", "Finding", "audit"]

_KNOWN = frozenset({"images", ".state", DRY_RUN, LEDGER, REVIEW, SEAL, ANNOTATIONS, LABELS, *DOCUMENTS, *MAPS})
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as the run left it.

    Args:
        kind: ``missing``, ``extra``, ``tampered``, ``ledger``, ``annotations``, ``review`` or ``unfinished``.
        name: The file, relative to OUTPUT.
        detail: What was expected and what was found.
    """

    kind: str
    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class Audit:
    """What a check of an OUTPUT folder found.

    Args:
        pictures: Released pictures that were checked.
        withheld: Pictures that were quarantined or failed.
        head: Hex sha256 of the ledger's last line; keep it elsewhere to recognise this very state again.
        findings: What is wrong; empty if the folder is as the run left it.
        not_in_input: Names of released pictures that the last run no longer found in INPUT.
        withdrawn: Pictures that a run withdrew.
        decisions: Decisions of reviewers.
        review_head: Hex sha256 of the last of them, as ``head``; empty where there are none.
        unsigned: Names of released pictures that no reviewer has signed as they are; empty where nothing was reviewed.
    """

    pictures: int
    withheld: int
    head: str
    findings: tuple[Finding, ...]
    not_in_input: tuple[str, ...] = ()
    withdrawn: int = 0
    decisions: int = 0
    review_head: str = ""
    unsigned: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def to_json(self) -> str:
        """Return the result as one line of JSON."""
        return json.dumps({"clean": self.clean, **asdict(self)})


def audit(output: Path | str) -> Audit:
    """Check every file of a finished OUTPUT folder, here or in object storage; nothing is changed.

    Args:
        output: The folder's path or URL.

    Raises:
        InputError: It is no OUTPUT folder, cannot be read, or was written by a later release.
    """
    tree = place_at(output)
    try:
        if not tree.is_file(LEDGER) and not {".state", DRY_RUN} & set(tree.top()):
            raise InputError(f"OUTPUT {output}: expected the folder of a run with its ledger.jsonl; check the path")
        return _audit(tree)
    except OSError as error:
        raise InputError(f"OUTPUT {output}: {tree.unreadable(error)}") from error


def _audit(tree: Place) -> Audit:
    findings: list[Finding] = []
    newest, head, lines = _read_ledger(tree, findings)
    released = {str(record["released_name"]): record for record in newest.values() if record["status"] == "released"}
    sealed: set[str] = set()
    reviews = _read_review(tree, findings)
    findings += _check_seal(tree, head, lines, reviews, sealed)
    findings += _check_open(newest, reviews)
    for name, record in released.items():
        if opened(record, reviews[record["name"]]) and tree.is_file(f"images/{name}") is None:
            continue  # Held back by the review, which has told.
        findings += _check_file(tree, f"images/{name}", record["output_sha256"])
        findings += _check_maps(tree, name, record["maps"])
    findings += _extra(tree, released, sealed)
    findings += _check_annotations(tree, released)
    withdrawn = sum(record["status"] == "withdrawn" for record in newest.values())
    gone = tuple(name for name, record in released.items() if not record["in_input"])
    unsigned = [
        str(record["released_name"])
        for name, record in newest.items()
        if record["status"] == "released" and reviews[name].signed_by(record["output_sha256"]) is None
    ]
    return Audit(
        len(released),
        len(newest) - len(released) - withdrawn,
        head,
        tuple(findings),
        tuple(sorted(gone)),
        withdrawn,
        reviews.lines,
        reviews.head if reviews.lines else "",
        tuple(sorted(unsigned)) if reviews.lines else (),
    )


def _read_review(tree: Place, findings: list[Finding]) -> Reviews:
    """Return the decisions of reviewers; none where they cannot be trusted, which is a finding."""
    if tree.is_file(REVIEW) is None:
        return Reviews()
    try:
        with tree.open(REVIEW) as file:
            reviews = Reviews.read(file, REVIEW)
            if file.seek(0, os.SEEK_END) != reviews.end:
                findings.append(Finding("unfinished", REVIEW, "the last line is not whole"))
    except InputError as error:
        findings.append(Finding("review", REVIEW, str(error)))
        return Reviews()
    return reviews


def _check_open(newest: dict[str, Record], reviews: Reviews) -> Iterator[Finding]:
    """Yield every released picture of which reviewers ask what no run has done yet."""
    for name, record in newest.items():
        if record["status"] == "released" and opened(record, reviews[name]):
            detail = "; ".join(reviews[name].instructions.notes) or "was made for decisions that no longer stand"
            if reviews[name].instructions.rejected is not None:
                detail = "rejected in review"
            yield Finding("review", f"images/{record['released_name']}", f"{detail}: not done yet, run again")


def _read_ledger(tree: Place, findings: list[Finding]) -> tuple[dict[str, Record], str, int]:
    """Return what later checks need of each picture's newest line, the hash of the last line and their number."""
    newest: dict[str, Record] = {}
    head, lines, end = START, 0, 0
    if not tree.is_file(LEDGER):
        findings.append(Finding("missing", LEDGER, "expected the ledger"))
        return newest, head, lines
    with tree.open(LEDGER) as file:
        for lines, (place, line, record) in enumerate(read_lines(file), start=1):
            end = place + len(line)
            if record is None:
                findings.append(Finding("ledger", LEDGER, f"line {lines} is no record"))
            else:
                refuse_newer(record, f"{LEDGER}, line {lines}", SCHEMA_VERSION)
                if record.get("previous") != head:
                    detail = f"line {lines} does not follow the line before it: changed, removed, added or moved"
                    findings.append(Finding("ledger", LEDGER, detail))
                newest[record["name"]] = _digest_of(record, findings)
            head = hashlib.sha256(line.removesuffix(b"\n")).hexdigest()
        if file.seek(0, os.SEEK_END) != end:
            findings.append(Finding("unfinished", LEDGER, "the last line is not whole"))
    return newest, head, lines


def _digest_of(record: Record, findings: list[Finding]) -> Record:
    """Return the few fields needed later: a ledger of millions of lines must fit in memory."""
    name, instances = record["name"], record.get("instances", [])
    verdicts = [*record.get("verdicts", []), *(verdict for item in instances for verdict in item["verdicts"])]
    if record["status"] == "released" and not (verdicts and all(verdict["passed"] is True for verdict in verdicts)):
        findings.append(Finding("ledger", f"images/{name}", "released without having passed every check"))
    return {
        "name": name,
        "status": record["status"],
        "released_name": record.get("released_name", name),
        "output_sha256": record.get("output_sha256"),
        "maps": record.get("maps", {}),
        "size": record.get("size"),
        "review_sha256": record.get("review_sha256"),
        "instances": len(instances),
        "in_input": record.get("in_input", True),
    }


def _check_seal(tree: Place, head: str, lines: int, reviews: Reviews, sealed: set[str]) -> Iterator[Finding]:
    """Hold ledger, decisions and documents to the seal; names of documents it vouches for go into ``sealed``."""
    try:
        seal = json.loads(_read(tree, SEAL))
        sealed_head, sealed_lines = seal["ledger"]["head"], seal["ledger"]["lines"]
        documents = {name: seal["documents"][name] for name in DOCUMENTS} | dict(seal["documents"])
    except FileNotFoundError:
        yield Finding("unfinished", SEAL, "expected the seal of a finished run; run the same command again")
        return
    except (ValueError, KeyError, TypeError, RecursionError):
        yield Finding("tampered", SEAL, "is no seal")
        return
    if (head, lines) != (sealed_head, sealed_lines):
        detail = (
            f"sealed with {sealed_lines} lines, found {lines}" if lines != sealed_lines else "differs from the seal"
        )
        yield Finding("ledger", LEDGER, detail)
    told = seal.get("review")
    if told != (reviews.seal if reviews.lines else None):
        yield Finding("review", REVIEW, "differs from the seal" if told else "the seal does not vouch for it")
    for name, expected in documents.items():
        if ".." in Path(name).parts or Path(name).is_absolute():
            yield Finding("tampered", SEAL, "a name leads out of the folder")
            continue
        sealed.add(name)
        yield from _check_file(tree, name, expected)


def _check_file(tree: Place, name: str, expected: object) -> Iterator[Finding]:
    found = tree.is_file(name)
    if found is None:
        yield Finding("missing", name, "expected a file, found none")
        return
    if not found:
        yield Finding("tampered", name, "expected a file, found a link, folder or device")
        return
    digest = hashlib.sha256()
    with tree.open(name) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != expected:
        yield Finding("tampered", name, f"expected sha256 {expected}, found {digest.hexdigest()}")


def _check_maps(tree: Place, released: str, maps: object) -> Iterator[Finding]:
    """Hold the maps of a released picture to its line of the ledger."""
    places = {map_name(kind, released) for kind in MAPS}
    if not isinstance(maps, dict) or not maps.keys() <= places:
        yield Finding("ledger", f"images/{released}", "the ledger names maps that cannot be those of the picture")
        return
    for name, expected in maps.items():
        yield from _check_file(tree, name, expected)


def _read(tree: Place, name: str) -> bytes:
    if tree.is_file(name) is None:
        raise FileNotFoundError(name)
    with tree.open(name) as file:
        return file.read()


def _extra(tree: Place, released: dict[str, Record], sealed: set[str]) -> Iterator[Finding]:
    """Yield every file and link that no line of the ledger vouches for."""
    for name in tree.top():
        if name not in _KNOWN:
            yield Finding("extra", name, "no part of a run's output")
    for name in tree.below("images"):
        if name == "images":
            yield Finding("tampered", name, "expected a folder, found a link")
            return
        if name.removeprefix("images/") not in released and name not in sealed:
            yield Finding("extra", name, "the ledger did not release it")
    vouched = {name for record in released.values() if isinstance(record["maps"], dict) for name in record["maps"]}
    for name in [name for kind in MAPS for name in tree.below(kind)]:
        if name not in vouched:
            yield Finding("extra", name, "the ledger did not release it")
    for name in [*tree.below(ANNOTATIONS), *tree.below(LABELS)]:
        if name not in sealed:
            yield Finding("extra", name, "the seal does not vouch for it")
    for name in tree.below(".state/unfinished"):
        yield Finding("unfinished", name, "left by a run that was killed; run it again")


def _check_annotations(tree: Place, released: dict[str, Record]) -> Iterator[Finding]:
    """Hold annotations to the ledger: the same pictures, sizes and numbers of treated instances."""

    def wrong(detail: str) -> Finding:
        return Finding("annotations", "annotations.json", detail)

    try:
        document: dict[str, Any] = json.loads(_read(tree, "annotations.json"))
        images = {image["id"]: image for image in document["images"]}
        treated = dict.fromkeys(images, 0)
        lost = 0
        for record in document["annotations"]:
            if record["image_id"] not in images:
                lost += 1
            elif "action" in record:
                treated[record["image_id"]] += 1
        names = {image["file_name"]: image for image in images.values()}
    except FileNotFoundError:
        return  # The seal has already told.
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        yield wrong(f"is not COCO: {type(error).__name__} {error}")
        return
    if lost:
        yield wrong(f"{lost} annotations belong to no picture")
    for name in sorted(released.keys() - names.keys()):
        yield wrong(f"lacks the released picture {name}")
    for name in sorted(names.keys() - released.keys()):
        yield wrong(f"names {name}, which was not released")
    for name in sorted(released.keys() & names.keys()):
        image, record = names[name], released[name]
        if [image.get("height"), image.get("width")] != record["size"]:
            yield wrong(f"{name} is stated as another size than {record['size']}")
        if treated[image["id"]] != record["instances"]:
            yield wrong(f"{name}: {treated[image['id']]} treated instances, the ledger says {record['instances']}")
