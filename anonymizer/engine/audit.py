"""Re-checking a finished OUTPUT folder against its ledger, as a gate before pictures leave the house.

What it proves: nobody changed, removed, added or moved a picture, a ledger line or a closing document since the run
without also making chain and seal anew. Chain and seal hold no secret, so whoever can write to the folder could do
that; it shows only to whoever kept the seal's head, which ``anonymizer verify`` prints, somewhere else.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anonymizer.dataset.ledger import START, Record, read_lines
from anonymizer.engine.output import ANNOTATIONS, DOCUMENTS, SEAL, is_output
from anonymizer.errors import InputError

__all__ = ["Audit", "Finding", "audit"]

_KNOWN = frozenset({"images", ".state", "ledger.jsonl", SEAL, ANNOTATIONS, *DOCUMENTS})
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as the run left it.

    Args:
        kind: ``missing``, ``extra``, ``tampered``, ``ledger``, ``annotations`` or ``unfinished``.
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
    """

    pictures: int
    withheld: int
    head: str
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def to_json(self) -> str:
        """Return the result as one line of JSON."""
        return json.dumps({"clean": self.clean, **asdict(self)})


def audit(output: Path) -> Audit:
    """Check every file of a finished OUTPUT folder; nothing is changed.

    Raises:
        InputError: The path is no OUTPUT folder, or cannot be read.
    """
    if not output.is_dir() or not is_output(output):
        raise InputError(f"OUTPUT {output}: expected the folder of a run with its ledger.jsonl; check the path")
    try:
        return _audit(output)
    except OSError as error:
        raise InputError(
            f"OUTPUT {output}: {error.filename} cannot be read ({error.strerror}); change its permissions"
        ) from error


def _audit(output: Path) -> Audit:
    findings: list[Finding] = []
    newest, head, lines = _read_ledger(output / "ledger.jsonl", findings)
    released = {str(record["released_name"]): record for record in newest.values() if record["status"] == "released"}
    sealed: set[str] = set()
    findings += _check_seal(output, head, lines, sealed)
    for name, record in released.items():
        findings += _check_file(output / "images" / name, f"images/{name}", record["output_sha256"])
    findings += _extra(output, released, sealed)
    findings += _check_annotations(output / "annotations.json", released)
    return Audit(len(released), len(newest) - len(released), head, tuple(findings))


def _read_ledger(path: Path, findings: list[Finding]) -> tuple[dict[str, Record], str, int]:
    """Return what later checks need of each picture's newest line, the hash of the last line and their number."""
    newest: dict[str, Record] = {}
    head, lines, end = START, 0, 0
    if not path.is_file():
        findings.append(Finding("missing", path.name, "expected the ledger"))
        return newest, head, lines
    with path.open("rb") as file:
        for lines, (place, line, record) in enumerate(read_lines(file), start=1):
            end = place + len(line)
            if record is None:
                findings.append(Finding("ledger", path.name, f"line {lines} is no record"))
            else:
                if record.get("previous") != head:
                    detail = f"line {lines} does not follow the line before it: changed, removed, added or moved"
                    findings.append(Finding("ledger", path.name, detail))
                newest[record["name"]] = _digest_of(record, findings)
            head = hashlib.sha256(line.removesuffix(b"\n")).hexdigest()
    if end != path.stat().st_size:
        findings.append(Finding("unfinished", path.name, "the last line is not whole"))
    return newest, head, lines


def _digest_of(record: Record, findings: list[Finding]) -> Record:
    """Return the few fields needed later: a ledger of millions of lines must fit in memory."""
    name, instances = record["name"], record.get("instances", [])
    verdicts = [*record.get("verdicts", []), *(verdict for item in instances for verdict in item["verdicts"])]
    if record["status"] == "released" and not (verdicts and all(verdict["passed"] is True for verdict in verdicts)):
        findings.append(Finding("ledger", f"images/{name}", "released without having passed every check"))
    return {
        "status": record["status"],
        "released_name": record.get("released_name", name),
        "output_sha256": record.get("output_sha256"),
        "size": record.get("size"),
        "instances": len(instances),
    }


def _check_seal(output: Path, head: str, lines: int, sealed: set[str]) -> Iterator[Finding]:
    """Hold ledger and documents to the seal; the names of the documents it vouches for go into ``sealed``."""
    try:
        seal = json.loads((output / SEAL).read_bytes())
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
        yield Finding("ledger", "ledger.jsonl", detail)
    for name, expected in documents.items():
        if ".." in Path(name).parts or Path(name).is_absolute():
            yield Finding("tampered", SEAL, "a name leads out of the folder")
            continue
        sealed.add(name)
        yield from _check_file(output / name, name, expected)


def _check_file(path: Path, shown: str, expected: object) -> Iterator[Finding]:
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        yield Finding("missing", shown, "expected a file, found none")
        return
    if not stat.S_ISREG(status.st_mode):
        yield Finding("tampered", shown, "expected a file, found a link, folder or device")
        return
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != expected:
        yield Finding("tampered", shown, f"expected sha256 {expected}, found {digest.hexdigest()}")


def _extra(output: Path, released: dict[str, Record], sealed: set[str]) -> Iterator[Finding]:
    """Yield every file and link that no line of the ledger vouches for."""
    for path in sorted(output.iterdir()):
        if path.name not in _KNOWN:
            yield Finding("extra", path.name, "no part of a run's output")
    images = output / "images"
    if images.is_symlink():
        yield Finding("tampered", "images", "expected a folder, found a link")
        return
    for path in sorted(images.rglob("*")):
        name = path.relative_to(images).as_posix()
        if name not in released and (path.is_symlink() or not path.is_dir()):
            yield Finding("extra", f"images/{name}", "the ledger did not release it")
    annotations = output / ANNOTATIONS
    for path in sorted(annotations.rglob("*")) if not annotations.is_symlink() else [annotations]:
        shown = path.relative_to(output).as_posix()
        if shown not in sealed and (path.is_symlink() or not path.is_dir()):
            yield Finding("extra", shown, "the seal does not vouch for it")
    unfinished = output / ".state" / "unfinished"
    for path in sorted(unfinished.iterdir()) if unfinished.is_dir() else ():
        yield Finding("unfinished", f".state/unfinished/{path.name}", "left by a run that was killed; run it again")


def _check_annotations(path: Path, released: dict[str, Record]) -> Iterator[Finding]:
    """Hold annotations to the ledger: the same pictures, sizes and numbers of treated instances."""

    def wrong(detail: str) -> Finding:
        return Finding("annotations", path.name, detail)

    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
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
