"""Delivery: all that may leave of a finished OUTPUT, in a folder of its own with a data sheet and checksums.

Pictures, maps and annotations are copied and hashed on the way; each hash must be the one in ledger or seal. Ledger,
report, review and state stay where they are: they hold names, hashes and reasons that are nobody else's business.
Where credentials are given, each copied picture is signed; its pixels stay.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anonymizer import __version__
from anonymizer.core.errors import InputError
from anonymizer.core.files import PREFIX, write_atomic
from anonymizer.images.decode import read_bytes
from anonymizer.images.storage import is_url
from anonymizer.run.audit import LEDGER, Audit, audit
from anonymizer.run.credentials import Credentials, carries_credentials
from anonymizer.run.decisions import REVIEW, WISHES, Reviews
from anonymizer.run.ledger import Record, read_lines
from anonymizer.run.output import ANNOTATIONS, LABELS, SEAL

__all__ = ["CHECKSUMS", "COPY_FIRST", "SHEET", "Delivery", "deliver"]

#: Data sheet, for whoever gets the pictures.
SHEET = "DATASHEET.md"
#: Hash of every other file, as ``sha256sum --check`` reads it.
CHECKSUMS = "SHA256SUMS"
#: What helps where OUTPUT is a URL.
COPY_FIRST = "expected a folder on this machine, got a URL; copy OUTPUT with its .state into a folder first"
#: Bytes hashed at a time.
BLOCK = 1 << 20

LIMITS = """\
- Detectors miss things. Every picture was looked over a second time by the same detectors; what both passes miss is
  left as it was. Look at the pictures before you publish them.
- Avatars keep place, height, pose and order of the people they replace. Place, time, company and gait can still tell
  who somebody was to those who know them.
- Nothing outside of the anonymized regions was changed: shop signs, addresses and cars can tell where and when."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Counts of a delivery.

    Args:
        path: The folder.
        pictures: Pictures in it.
        files: Files in it, data sheet and checksums included.
        bytes: Their size in all.
        signed: Pictures that a reviewer has signed as they are.
        credentials: Pictures that carry C2PA credentials.
    """

    path: str
    pictures: int
    files: int
    bytes: int
    signed: int
    credentials: int = 0

    def to_json(self) -> str:
        """Return the counts as one line of JSON."""
        return json.dumps(asdict(self))


def deliver(
    output: Path | str,
    destination: Path | str,
    *,
    require_review: bool = False,
    credentials: Credentials | None = None,
) -> Delivery:
    """Copy what may leave of a finished OUTPUT, whole or not at all; OUTPUT is only read.

    Args:
        output: Folder of a finished run.
        destination: Folder to make, outside of OUTPUT; new or empty.
        require_review: Whether every picture must be signed by a reviewer.
        credentials: What signs the copied pictures (C2PA); None leaves them byte for byte.

    Raises:
        InputError: OUTPUT is not as its run left it, a signature is missing, the destination cannot be used, or a
            picture cannot be signed.
        OSError: Something cannot be read or written.
    """
    if is_url(str(output)) or is_url(str(destination)):
        where = output if is_url(str(output)) else destination
        raise InputError(f"{where}: {COPY_FIRST}, release there, and copy DEST to where it is to be")
    source, target = Path(output), Path(destination)
    _check_place(source, target)
    found = audit(source)
    _check(source, found, require_review)
    records = _newest(source)
    wanted = _wanted(source, records)
    pictures = _pictures(records)
    if credentials is not None:
        _check_signable(pictures)
    staging = target.resolve().parent / f"{PREFIX}{secrets.token_hex(6)}"
    try:
        sums = {}
        for name, digest in sorted(wanted.items()):
            if credentials is None or name not in pictures:
                sums[name] = _copied(source / name, staging / name, digest)
            else:
                sums[name] = _signed(source / name, staging / name, digest, credentials, pictures[name])
        sheet = data_sheet(records, found, _false_finds(source, records), credentials is not None).encode()
        write_atomic(staging / SHEET, sheet)
        sums[SHEET] = hashlib.sha256(sheet).hexdigest()
        write_atomic(staging / CHECKSUMS, "".join(_line(name, sums[name]) for name in sorted(sums)).encode())
        files = [path for path in staging.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    signed = found.pictures - len(found.unsigned) if found.decisions else 0
    marked = 0 if credentials is None else len(pictures)
    return Delivery(str(target), found.pictures, len(files), size, signed, marked)


def data_sheet(
    records: Mapping[str, Record], found: Audit, false_finds: Counter[str], credentials: bool = False
) -> str:
    """Data sheet in Markdown: counts, how it was made, what was left, and known limits; no name of any picture.

    Args:
        records: The newest ledger line of each picture, by recorded name.
        found: What the audit says of OUTPUT.
        false_finds: How many finds of each class reviewers took back.
        credentials: Whether the copies carry C2PA credentials.
    """
    released = [record for record in records.values() if record["status"] == "released"]
    done: dict[str, Counter[str]] = {}
    for instance in (item for record in released for item in record["instances"]):
        how = instance.get("method") or ("redrawn" if instance["action"] == "redrawn" else "filled")
        done.setdefault(instance["label"], Counter())[how] += 1
    ways = sorted({how for counts in done.values() for how in counts})
    checks = sorted({v["check"] for record in released for item in record["instances"] for v in item["verdicts"]})
    made = [record.get("provenance", {}) for record in released]
    presets = sorted({str(one.get("preset")) for one in made})
    versions = sorted({str(one.get("versions", {}).get("anonymizer")) for one in made})
    models = sorted({(name, digest) for one in made for name, digest in one.get("models", {}).items()})
    left = {
        "in areas that were left out": Counter(i["label"] for r in released for i in r.get("excluded", ())),
        "with consent": Counter(i["label"] for r in released for i in r.get("consented", ())),
        "as false finds, by reviewers": false_finds,
    }
    kept = sorted({tag for record in released for tag in record.get("metadata_kept", ())})
    lines = ["# Data sheet", "", f"{len(released)} pictures, anonymized by anonymizer {', '.join(versions)} with the"]
    lines[-1] += f" preset {', '.join(presets)}; {found.withheld} more were withheld."
    if found.decisions:
        signed = found.pictures - len(found.unsigned)
        lines += ["", f"{signed} of {found.pictures} were looked at and signed by people."]
    else:
        lines += ["", "Nobody has signed them in a review."]
    if credentials:
        lines += ["", "Each carries C2PA credentials, which say what was done to it; its pixels are those of the run."]
    lines += ["", "## What was done", "", f"| class | {' | '.join(ways)} |", f"|---|{'---|' * len(ways)}"]
    lines += [f"| {label} | {' | '.join(str(done[label][how]) for how in ways)} |" for label in sorted(done)]
    lines += ["", f"Each passed: {', '.join(checks) or 'no check, as nothing was found'}."]
    lines += ["", "## What was left as it is", ""]
    for why, counts in left.items():
        told = ", ".join(f"{count} {label}" for label, count in sorted(counts.items())) or "none"
        lines.append(f"- {why}: {told}")
    lines += [f"- pictures of which an area was left out: {sum('areas' in record for record in released)}"]
    lines += [f"- metadata: {', '.join(kept) or 'none'}"]
    lines += ["", "## Known limits", "", LIMITS, "", "## Made with", ""]
    lines += [f"- {name}, sha256 {digest}" for name, digest in models]
    lines += ["", f"Data sheet by anonymizer {__version__}. Ledger head {found.head}."]
    return "\n".join(lines) + "\n"


def _false_finds(source: Path, records: Mapping[str, Record]) -> Counter[str]:
    """Return by class how many finds in released pictures reviewers had left as they are."""
    path = source / REVIEW
    if not path.is_file():
        return Counter()
    with path.open("rb") as file:
        reviews = Reviews.read(file, str(path))
    released = (name for name, record in records.items() if record["status"] == "released")
    wishes = (wish for name in released for wish in reviews[name].instructions.wishes)
    return Counter(wish["label"] for wish in wishes if wish["wish"] == WISHES["false_find"])


def _check_place(source: Path, target: Path) -> None:
    inner, outer = target.resolve(), source.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise InputError(f"release: DEST {target} and OUTPUT {source} lie in each other; choose another folder")
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise InputError(f"release: DEST {target} exists and is no empty folder; choose a new one")


def _check(source: Path, found: Audit, require_review: bool) -> None:
    if not found.clean:
        first = found.findings[0]
        raise InputError(
            f"OUTPUT {source} is not as its run left it: {first.name}: {first.detail}; "
            f"{len(found.findings)} findings in all, see anonymizer verify"
        )
    if not found.pictures:
        raise InputError(f"OUTPUT {source}: nothing was released; see its quarantine.txt")
    if require_review and not found.decisions:
        raise InputError(f"OUTPUT {source}: nobody has reviewed it; see anonymizer review")
    if require_review and found.unsigned:
        count = len(found.unsigned)
        raise InputError(f"OUTPUT {source}: {count} pictures are not signed (first: {found.unsigned[0]}); review them")


def _newest(source: Path) -> dict[str, Record]:
    """Return the newest ledger line of each picture."""
    newest: dict[str, Record] = {}
    with (source / LEDGER).open("rb") as file:
        for _, _, record in read_lines(file):
            if record is not None:
                newest[record["name"]] = record
    return newest


def _pictures(records: Mapping[str, Record]) -> dict[str, Record]:
    """Return the record of each released picture by the name of its file, relative to OUTPUT."""
    released = ((name, record) for name, record in records.items() if record["status"] == "released")
    return {f"images/{record.get('released_name', name)}": record for name, record in released}


def _check_signable(names: Iterable[str]) -> None:
    unsignable = sorted(name for name in names if not carries_credentials(name))
    if unsignable:
        raise InputError(
            f"{unsignable[0]}: its format has no place for C2PA credentials ({len(unsignable)} such pictures); run "
            "with --format png, or release without --c2pa-certificate"
        )


def _wanted(source: Path, records: Mapping[str, Record]) -> dict[str, str]:
    """Return the files that may leave, relative to OUTPUT, with the sha256 that ledger or seal vouch for."""
    out: dict[str, str] = {}
    for name, record in _pictures(records).items():
        out[name] = record["output_sha256"]
        out |= record.get("maps", {})
    documents: dict[str, Any] = json.loads((source / SEAL).read_bytes())["documents"]
    for name, digest in documents.items():
        if name == "annotations.json" or name.split("/")[0] in (ANNOTATIONS, LABELS, "images"):
            out[name] = digest
    return out


def _line(name: str, digest: str) -> str:
    """Return a file's line among checksums; names with line ends or backslashes are escaped as ``sha256sum`` does."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "\\" if escaped != name else ""
    return f"{mark}{digest}  {escaped}\n"


def _copied(source: Path, target: Path, expected: str) -> str:
    """Copy a file and return its sha256, which must be the expected one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source.open("rb") as file, target.open("xb") as copy:
        while block := file.read(BLOCK):
            digest.update(block)
            copy.write(block)
    if digest.hexdigest() != expected:
        raise _changed(source)
    return expected


def _signed(source: Path, target: Path, expected: str, credentials: Credentials, record: Record) -> str:
    """Write a signed copy of a picture with the expected sha256, and return the copy's."""
    content = read_bytes(source)
    if hashlib.sha256(content).hexdigest() != expected:
        raise _changed(source)
    signed = credentials.signed(content, str(record.get("released_name", record["name"])), record)
    write_atomic(target, signed)
    return hashlib.sha256(signed).hexdigest()


def _changed(source: Path) -> InputError:
    return InputError(f"{source}: changed while it was copied; run anonymizer verify")
