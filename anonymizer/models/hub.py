"""Downloads weights from the Hugging Face hub, once and on request: the only module that uses the network.

The first fetch pins commit and hashes in a lock file; a later fetch asks for that commit and refuses anything else.
A download that breaks off goes on where it was when the command is given again.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from anonymizer.core.errors import InputError, ModelError
from anonymizer.models.convert import CONVERTERS
from anonymizer.models.third_party import extra
from anonymizer.models.weights import (
    SAFE_SUFFIXES,
    FileRecord,
    Lock,
    Weight,
    cache_root,
    entry,
    file_sha256,
    lock,
    write_lock,
)

__all__ = ["Offer", "fetch", "offer"]

#: Second copies of the same weights in other precisions.
UNWANTED = ("*.fp16.*", "*non_ema*")
#: Files that hold parameters; a repository without any has nothing to load.
TENSORS = (".safetensors", ".onnx")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a download would bring.

    Args:
        weight: The weight.
        commit: Commit of the repository.
        files: Per file its path, its size in bytes and its sha256 if the hub names it.
        licence: What the hub says the licence is today, or ``""``.
    """

    weight: Weight
    commit: str
    files: tuple[tuple[str, int, str | None], ...]
    licence: str = ""

    @property
    def bytes(self) -> int:
        """Size of the download in bytes."""
        return sum(size for _, size, _ in self.files)


def offer(weight_id: str) -> Offer:
    """Ask the hub what a download would bring.

    Raises:
        InputError: There is no such weight, or it ships with a package and is not fetched.
        ModelError: The hub cannot be reached, wants its terms accepted first, or has no loadable file; or the extra
            ``hub`` is not installed.
    """
    weight = entry(weight_id)
    if weight.source != "hub":
        shipper = weight.revision if weight.source == "package" else "anonymizer"
        raise InputError(f"model {weight_id}: ships with {shipper}, there is nothing to fetch")
    with extra("hub", f"models fetch {weight_id}"):
        from huggingface_hub import HfApi
        from huggingface_hub.errors import GatedRepoError

    earlier = lock(weight_id)
    revision = weight.revision if earlier is None else earlier.revision
    try:
        info = HfApi().model_info(weight.path, revision=revision, files_metadata=True)
    except GatedRepoError as error:
        raise ModelError(
            f"model {weight_id}: accept the terms on the page of {weight.path} on the hub, then run 'hf auth login'"
        ) from error
    except Exception as error:
        raise ModelError(f"model {weight_id}: {weight.path} cannot be read from the hub ({error})") from error
    files = tuple(_described(sibling) for sibling in info.siblings or () if _wanted(sibling.rfilename, weight))
    if not info.sha or not any(name.endswith(TENSORS) or weight.convert for name, _, _ in files):
        raise ModelError(f"model {weight_id}: {weight.path} at {revision} holds no safetensors or ONNX file to load")
    card = info.card_data
    return Offer(weight, info.sha, files, str(card.license or "") if card else "")


def fetch(offered: Offer) -> Path:
    """Download what was offered into the user's cache, check it, pin its hashes, and return its folder.

    Raises:
        ModelError: There is no room, the download broke off, or it does not have the hash that the hub promised or
            that the first fetch recorded.
    """
    from huggingface_hub import snapshot_download

    weight, root = offered.weight, cache_root()
    root.mkdir(parents=True, exist_ok=True)
    partial = root / f".{weight.id}.partial"
    free = shutil.disk_usage(root).free
    if free < offered.bytes:
        raise ModelError(
            f"model {weight.id}: needs {offered.bytes / 1e9:.2f} GB, {root} has {free / 1e9:.2f} GB free; make room "
            "or set XDG_CACHE_HOME"
        )
    names = [name for name, _, _ in offered.files]
    try:
        snapshot_download(weight.path, revision=offered.commit, allow_patterns=names, local_dir=partial)
    except Exception as error:
        raise ModelError(
            f"model {weight.id}: download from {weight.path} broke off ({error}); the same command goes on with it"
        ) from error
    try:
        recorded = _check(offered, partial)
        shutil.rmtree(partial / ".cache", ignore_errors=True)
        folder = root / weight.id
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        # What failed a check must not be taken for the good part of a broken download.
        shutil.rmtree(partial, ignore_errors=True)
    write_lock(weight.id, recorded)
    return folder


def _check(offered: Offer, folder: Path) -> Lock:
    """Check what was delivered, convert it where needed, and return what to pin."""
    weight = offered.weight
    delivered = tuple(_record(weight, folder, name, expected) for name, _, expected in offered.files)
    earlier = lock(weight.id)
    if earlier is not None:
        _compare(weight, earlier.delivered or earlier.files, delivered)
    if not weight.convert:
        return Lock(offered.commit, delivered)
    source = folder / delivered[0].path
    CONVERTERS[weight.convert](source, folder / weight.entry)
    source.unlink()
    return Lock(offered.commit, (_record(weight, folder, weight.entry, None),), delivered)


def _compare(weight: Weight, earlier: Sequence[FileRecord], delivered: Sequence[FileRecord]) -> None:
    before = {record.path: record.sha256 for record in earlier}
    changed = [record.path for record in delivered if before.get(record.path) != record.sha256]
    if changed or len(before) != len(delivered):
        raise ModelError(
            f"model {weight.id}: {', '.join(changed) or 'the set of files'} is not what the first fetch recorded; "
            f"if that is wanted, delete {cache_root() / weight.id}.lock.json and fetch again"
        )


def _wanted(name: str, weight: Weight) -> bool:
    if not any(fnmatch(name, pattern) for pattern in weight.allow):
        return False
    if weight.convert:
        return True
    if PurePosixPath(name).suffix not in SAFE_SUFFIXES:
        return False
    if weight.variant:
        return not name.endswith(TENSORS) or f".{weight.variant}." in name
    return not any(fnmatch(name, pattern) for pattern in UNWANTED)


def _described(sibling: Any) -> tuple[str, int, str | None]:
    return sibling.rfilename, sibling.size or 0, sibling.lfs.sha256 if sibling.lfs else None


def _record(weight: Weight, folder: Path, name: str, expected: str | None) -> FileRecord:
    file = folder / name
    if not file.is_file():
        raise ModelError(f"model {weight.id}: the hub did not deliver {name}; try again")
    found = file_sha256(file)
    if expected is not None and found != expected:
        raise ModelError(f"model {weight.id}: {name} has sha256 {found}, the hub promised {expected}; try again")
    return FileRecord(name, found, file.stat().st_size)
